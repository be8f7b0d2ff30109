#!/usr/bin/env python3
"""The tool `dime message` and dmime_py, each reading what the other wrote, right and wrong.

usage: test_dmime_cross.py DIME VECTORS [unittest's arguments]

KEYD_TEST_SCALE (default 1) is how many tenths of the random messages are made. Every message
has a number, which a failure names: --message right:N or wrong:N after VECTORS crosses that one
alone and leaves it in the directory that it prints.

Exit status 77 without python3-cryptography."""

import os
import random
import shutil
import sys
import tempfile
import unittest

try:
    import cryptography  # noqa: F401, only whether it is there
except ImportError:
    print("skipped: python3-cryptography is needed")
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

from dmime_cross import judge, mails, right, tool, worlds, wrong  # noqa: E402, the path is above
from dmime_py import keys, making, opening, texts  # noqa: E402
from dmime_py import message as m  # noqa: E402

DIME = VECTORS = None  # from the command line
RIGHT, WRONG = 400, 10 * len(wrong.FAULTS)  # in the whole
LARGE = 20 << 20  # two chunks
ROLES = worlds.ROLES


def scale():
    """As tests/support/scale.h has it."""
    text = os.environ.get("KEYD_TEST_SCALE", "")
    return int(text) if text.isdecimal() and 0 < int(text) <= 1000 else 1


def rounds(whole):
    return max(1, whole // 10 * scale())


def read(path):
    with open(path, "rb") as f:
        return f.read()


class Crossing(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="dmime-cross-")
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        cls.tool = tool.Tool(DIME)
        cls.worlds = worlds.make_all(VECTORS, cls.directory)
        cls.views = {(w.name, role): tool.view(w, role) for w in cls.worlds for role in ROLES}

    def path(self, name):
        return os.path.join(self.directory, name)

    def open(self, world, role, message=None):
        """What the tool says and leaves; the message is the one that was put last."""
        out = self.path("opened")
        shutil.rmtree(out, ignore_errors=True)
        return self.tool.open(message or self.path("message"), world, role, out)

    def put(self, octets):
        return worlds.write(self.directory, "message", octets)

    def differences(self, octets, world):
        """Of both readings in all roles; what one role may not know is not there."""
        self.put(octets)
        out = []
        for role in ROLES:
            python = judge.of_python(octets, self.views[world.name, role])
            report, files = self.open(world, role)
            found = judge.differences(python, judge.of_tool(report, files))
            if "mail.eml" in files and not python["complete"]:
                found.append("a mail of what is not complete")
            if files and not report["valid"]:
                found.append("files of a message that is refused: %s" % sorted(files))
            if report.get("reason") is None and not report["valid"]:
                found.append("refused without a reason")
            out += ["%s, %s: %s" % (world.name, role, line) for line in found]
        return out

    def accepted_by_all(self, octets, world):
        """The tool's reports by role, after both agree."""
        self.assertEqual(self.differences(octets, world), [])
        reports = {role: self.open(world, role)[0] for role in ROLES}
        self.assertEqual([r for r in ROLES if not reports[r]["valid"]], [])
        return reports


def random_right(number, all_worlds):
    rng = random.Random("right %d" % number)
    world = all_worlds[number % len(all_worlds)]
    return world, right.describe(rng, world), None


def random_wrong(number, all_worlds):
    """Every fault once, then every fault in another message."""
    rng = random.Random("wrong %d" % number)
    world = rng.choice(all_worlds)
    name = list(wrong.FAULTS)[number % len(wrong.FAULTS)]
    return world, wrong.inject(name, right.describe(rng, world), rng), name


RANDOM = {"right": random_right, "wrong": random_wrong}


class Random(Crossing):
    def cross(self, kind, number):
        """How many roles accept it; differences are failures."""
        world, spec, name = RANDOM[kind](number, self.worlds)
        octets = wrong.make(spec)
        found = self.differences(octets, world)
        if found:
            self.fail("message %s:%d%s\n%s" % (kind, number, "" if name is None else ", " + name,
                                               "\n".join(found)))
        return sum(judge.of_python(octets, self.views[world.name, role])["accepted"]
                   for role in ROLES)

    def test_both_see_the_same_in_every_message_that_is_right(self):
        for number in range(rounds(RIGHT)):
            with self.subTest(number):
                self.assertGreaterEqual(self.cross("right", number), 2)  # of author and origin

    def test_both_find_the_same_wrong_with_every_message_that_is_wrong(self):
        accepted = dict.fromkeys(range(5), 0)
        for number in range(rounds(WRONG)):
            with self.subTest(number):
                accepted[self.cross("wrong", number)] += 1
        # A corrupt part alone is nobody's reason to refuse, a bit on the way only somebody's.
        for roles, n in accepted.items():
            self.assertGreater(n, 0, "accepted by %d" % roles)


class Shared(Crossing):
    """The messages of the authors' library and of the independent writer."""

    def test_both_judge_them_alike(self):
        seen = 0
        for directory in ("messages", "independent", "malformed/messages"):
            where = os.path.join(VECTORS, "libdime", directory)
            for name in sorted(os.listdir(where)):
                if not name.endswith((".bin", ".asc")) or name.startswith(("attach", "display")):
                    continue
                with self.subTest(name):
                    octets = read(os.path.join(where, name))
                    self.assertEqual(self.differences(octets, self.worlds[0]), [])
                seen += 1
        self.assertGreater(seen, 55)

    def test_of_the_appendix_all_is_accepted(self):
        octets = texts.unbase64(read(os.path.join(VECTORS, "appendix", "MSG.b64"))
                                .decode().replace("\n", ""))
        self.accepted_by_all(octets, self.worlds[3])


class FromTheTool(Crossing):
    def new(self, mail, world, *more):
        """As the author leaves it."""
        source, out = self.path("mail"), self.path("new")
        worlds.write(self.directory, "mail", mail)
        self.tool.new(source, world, out, *more)
        return texts.binary(read(out))

    def sign(self, octets, world, bounce=(m.META_BOUNCE, m.DISPLAY_BOUNCE)):
        key = keys.key_read(read(world.keys["origin"]))
        return making.origin_sign(octets, key, bounce=bounce)

    def content(self, octets, world):
        """What dmime_py's recipient finds in it: values of 33, text of 34, parts."""
        opened = opening.open_message(octets, self.views[world.name, "recipient"])
        self.assertEqual((opened.state, opened.accepted), ("ok", True))
        self.assertEqual([p.why for p in opened.parts if p.state != "ok"], [])
        headers = next(p.data for p in opened.parts if p.type == m.HEADERS)
        return (opened.texts[m.COMMON], headers,
                [(p.type, p.data) for p in opened.parts if p.type in m.CONTENT])

    def there_and_back(self, mail, world, *more):
        made = self.new(mail, world, *more)
        if b"\r\n" not in mail:  # a text file of Unix is given the line ends of mail
            mail = mail.replace(b"\n", b"\r\n")
        self.assertEqual([judge.of_python(made, self.views[world.name, role])["accepted"]
                          for role in ROLES], [True, True, False, False])  # not signed yet
        self.assertEqual(self.differences(made, world), [])
        signed = self.sign(made, world)
        reports = self.accepted_by_all(signed, world)
        self.assertEqual(reports["recipient"]["agrees"], {
            "author": "core", "origin": "full", "destination": "full", "recipient": "core"})
        for role in ("author", "recipient"):
            self.assertEqual(self.open(world, role)[1]["mail.eml"], mail)
        self.assertEqual(mails.rebuilt(*self.content(signed, world)), mail)
        return signed

    def corpus(self):
        where = os.path.join(VECTORS, "mime")
        return {name: read(os.path.join(where, name)) for name in sorted(os.listdir(where))
                if name.endswith(".eml")}

    def test_every_mail_comes_back_from_both(self):
        mail_of = self.corpus()
        self.assertGreater(len(mail_of), 100)
        for number, (name, mail) in enumerate(mail_of.items()):
            if scale() < 10 and number % 5 not in (0, 2):
                continue
            more = (("--no-gzip",), ("--armor",), ("--binary", "--display-bounce"))[number % 3]
            with self.subTest(name):
                self.there_and_back(mail, self.worlds[number % len(self.worlds)], *more)

    def test_a_large_mail_is_continued(self):
        rng = random.Random("large")
        lines = b"".join(b"%s\r\n" % rng.randbytes(38).hex().encode() for _ in range(LARGE // 78))
        head = (b"From: Alice <alice@orga.example>\r\nTo: bob@orgb.example\r\nSubject: large\r\n"
                b"Date: Mon, 2 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n"
                b"Content-Type: text/plain\r\n\r\n")
        signed = self.there_and_back(head + lines, self.worlds[0], "--no-gzip")
        kinds = [c.type for c in m.parse(signed).chunks]
        self.assertEqual(kinds.count(67), 2)
        packed = self.there_and_back(head + lines, self.worlds[0])
        self.assertLess(len(packed), len(signed) * 3 // 4)

    def test_bounce_signatures_are_made_only_where_there_are_chunks_for_them(self):
        mail = self.corpus()["plain.eml"]
        world = self.worlds[0]
        for more, wanted in (((), "absent"), (("--display-bounce",), "good")):
            reports = self.accepted_by_all(self.sign(self.new(mail, world, *more), world), world)
            for report in reports.values():
                self.assertEqual(report["signatures"]["248"], {"state": "good"})
                self.assertEqual(report["signatures"]["249"], {"state": wanted})

    def test_what_another_signs_for_the_origin_is_refused(self):
        world = self.worlds[0]
        made = self.new(self.corpus()["plain.eml"], world)
        key = keys.key_read(read(world.keys["origin"]))
        other = keys.key_read(read(world.keys["destination"]))
        signed = making.origin_sign(made, key, signer=other)
        self.assertEqual(self.differences(signed, world), [])
        self.assertFalse(self.open(world, "destination")[0]["valid"])

    def test_who_has_another_key_opens_nothing(self):
        world = self.worlds[0]
        self.put(self.sign(self.new(self.corpus()["plain.eml"], world), world))
        stranger = worlds.World(world.name, world.signets, dict(
            world.keys, recipient=os.path.join(VECTORS, "libdime", "signets", "carol.key")))
        report, files = self.open(stranger, "recipient")
        self.assertEqual((report["valid"], report["parts"], files), (False, [], {}))


class Forms(Crossing):
    """show, armor, dearmor: what needs no key."""

    def test_show_lists_the_chunks_that_are_there(self):
        for number in range(rounds(100)):
            _, spec, _ = random_right(number, self.worlds)
            octets = wrong.make(spec)
            report = self.tool.json("show", self.put(octets))
            message = m.parse(texts.binary(octets))
            self.assertEqual(
                [(c["number"], c["type"], c["at"], c["size"], c["slots"])
                 for c in report["chunks"]],
                [(number, *chunk[:3], [ROLES["AODR".index(a)] for a in m.TYPES[chunk[0]][1]])
                 for number, chunk in enumerate(judge.chunks(message))])

    def test_armor_is_that_of_the_decision_and_comes_off_again(self):
        octets = wrong.make(random_right(1, self.worlds)[1] | {"armor": False})
        source, text, back = self.put(octets), self.path("text"), self.path("back")
        self.tool.run("armor", source, "-o", text)
        self.assertEqual(read(text), texts.armor(octets).encode())
        self.tool.run("dearmor", text, "-o", back)
        self.assertEqual(read(back), octets)
        for how in ({"width": 1}, {"padding": True, "crc": True}, {"end": "\r\n"}):
            worlds.write(self.directory, "text", texts.armor(octets, **how).encode())
            self.tool.run("dearmor", text, "-o", back)
            self.assertEqual(read(back), octets)


def one(kind, number):
    """One message alone, for who looks for the reason of a failure."""
    directory = tempfile.mkdtemp(prefix="dmime-cross-")
    world, spec, name = RANDOM[kind](number, worlds.make_all(VECTORS, directory))
    print(worlds.write(directory, "message", wrong.make(spec)), world.name, name)
    print(*tool.Tool.people(world, "recipient"))
    print(spec)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    DIME, VECTORS = (os.path.abspath(sys.argv.pop(1)) for _ in range(2))
    if sys.argv[1:2] == ["--message"]:
        which, _, which_number = sys.argv[2].partition(":")
        one(which, int(which_number))
    else:
        unittest.main()
