#!/usr/bin/env python3
"""dime message from outside: every verb, exit statuses, JSON, what is written and what is not.

usage: test_dime_message.py DIME VECTORS MAIL_OBJECTS
"""
import base64
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
import zlib

sys.dont_write_bytecode = True
try:
    from dmime_py import making
except ImportError:  # without python3-cryptography
    making = None

DIME, V, MAIL_OBJECTS = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
S = V / "libdime" / "signets"
M = V / "libdime" / "messages"
ROLES = {"author": "alice", "origin": "orga", "destination": "orgb", "recipient": "bob"}

def pok(hexa):
    return base64.b64encode(bytes.fromhex(hexa)).decode()[:43]


POK_A = pok("e73c8624309431aef4079675df2b2dc11bbfe3c1a51bda2840803ccdeffabc03")
POK_B = pok("3143051ea4a0f80ac7c030f78a053c36adad4a39b73515e049362149472cf8dc")
ANCHOR = ["--pok", "orga.example=" + POK_A]
BELIEVED = ["--author", S / "alice.signet", "--origin", S / "orga.signet", *ANCHOR]
FROM = ["--from", f"{S}/alice.key,{S}/alice.signet", "--to", S / "bob.signet",
        "--origin", S / "orga.signet", "--destination", S / "orgb.signet"]
MAIL = (b"Date: Mon, 2 Nov 2026 10:00:00 +0000\r\nTo: bob@orgb.example\r\n"
        b"From: Alice <alice@orga.example>\r\nSubject: hello\r\n\r\nHello, Bob.\r\n")


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="keyd-test-"))
        self.addCleanup(shutil.rmtree, self.dir)

    def dime(self, status, *args, stdin=b"", **more):
        p = subprocess.run([DIME, "message", *map(str, args)], input=stdin, timeout=120,
                           capture_output=True, check=False, **more)
        self.assertEqual(p.returncode, status, (args, p.stdout[-2000:], p.stderr[-2000:]))
        self.out, self.err = p.stdout, p.stderr.decode()
        return p

    def json(self, status, *args, **more):
        j = json.loads(self.dime(status, *args, "--json", **more).stdout)
        self.assertEqual(j["valid"], status == 0)
        if status != 0:
            self.assertTrue(j["reason"])
            self.assertIn(j["reason"], self.err)
        return j

    def read(self, status, verb, file, role, *args, believed=BELIEVED):
        return self.json(status, verb, file, "--as", role, "--keys",
                         S / (ROLES[role] + ".key"), *believed, *args)

    def write(self, name, octets):
        path = self.dir / name
        path.write_bytes(octets)
        return path

    def new(self, mail, *args, status=0):
        path = self.write("mail", mail)
        out = self.dir / "made.bin"
        self.dime(status, "new", *FROM, path, "-o", out, *args)
        return out


class Usage(Case):
    def test_what_is_missing_or_twice_or_unknown_is_refused(self):
        m = M / "m1.signed.bin"
        for args in (["show"], ["show", m, m], ["show", "--as", "author", m],
                     ["verify", m], ["verify", m, "--as", "author"],
                     ["verify", m, "--keys", S / "bob.key"],
                     ["verify", m, "--as", "reader", "--keys", S / "bob.key"],
                     ["verify", m, "--as", "author", "--as", "author", "--keys", S / "bob.key"],
                     ["verify", m, "--as", "recipient", "--keys", S / "bob.key", "-o", "x"],
                     ["new", m], ["new", *FROM[:6], m], ["new", *FROM, m, "--armor", "--binary"],
                     ["new", "--from", S / "alice.key", *FROM[2:], m],
                     ["armor", m], ["dearmor", m], ["open", "no-such-file", "--as", "author",
                                                    "--keys", S / "bob.key"]):
            self.dime(2, *args)

    def test_help_names_all_verbs(self):
        p = subprocess.run([DIME, "--help"], capture_output=True, check=True)
        for verb in ("show", "verify", "open", "new", "armor", "dearmor"):
            self.assertIn(f"dime message {verb} ".encode(), p.stdout)


class Show(Case):
    def test_the_structure_of_a_message(self):
        j = self.json(0, "show", M / "m1.signed.bin")
        self.assertEqual(j["type"], "message")
        self.assertEqual([c["type"] for c in j["chunks"]],
                         [2, 4, 5, 33, 34, 67, 225, 226, 248, 249, 255])
        self.assertEqual(j["chunks"][1]["slots"], ["author", "origin", "recipient"])
        self.dime(0, "show", M / "m1.signed.bin")
        self.assertIn(b"Display-Content", self.out)

    def test_armour_and_tracing_are_read(self):
        plain = self.json(0, "show", M / "m1.signed.bin")
        for name in ("m1.signed.crc.asc", "m1.signed.spec.asc"):
            self.assertEqual(self.json(0, "show", M / name), plain)
        traced = self.json(0, "show", M / "m1.traced.bin")
        self.assertGreater(traced["tracing"], 0)
        self.assertEqual(traced["chunks"], plain["chunks"])

    def test_standard_input(self):
        j = self.json(0, "show", "-", stdin=(M / "m2.signed.bin").read_bytes())
        self.assertEqual(j["type"], "message")

    def test_what_is_no_message_has_one_reason(self):
        good = (M / "m1.signed.bin").read_bytes()
        for octets, flaw in ((b"", None), (good[:-1], "LENGTH"), (good + b"x", "LENGTH"),
                             (good[:2], None), (b"\x06\xf4" + good[2:], "MAGIC")):
            j = self.json(1, "show", self.write("bad", octets))
            if flaw:
                self.assertEqual(j["flaw"], flaw)
        self.json(1, "show", S / "alice.signet")

    def test_every_malformed_vector_is_answered(self):
        files = sorted((V / "libdime/malformed/messages").glob("*.bin"))
        self.assertGreater(len(files), 30)
        for f in files:
            for args in (["show", f], ["verify", f, "--as", "recipient", "--keys",
                                       S / "bob.key", *BELIEVED]):
                p = subprocess.run([DIME, "message", *map(str, args)], capture_output=True,
                                   timeout=60, check=False)
                self.assertIn(p.returncode, (0, 1), (f.name, p.stderr))
                if args[0] == "verify":
                    self.assertEqual(p.returncode == 0, b"message holds" in p.stdout, f.name)


class Read(Case):
    def test_every_role_takes_what_the_original_tools_made(self):
        for m in ("m1", "m2", "m3", "m4"):
            for role in ROLES:
                j = self.read(0, "verify", M / (m + ".signed.bin"), role)
                self.assertEqual(j["role"], role)
                self.assertEqual(j["signatures"]["255"]["state"], "good")
                tree = {"destination": "closed"}.get(role, "legacy")
                self.assertEqual(j["signatures"]["225"]["state"], tree)
        self.assertEqual(j["envelope"]["origin"]["author"], "alice@orga.example")
        self.assertEqual(j["envelope"]["destination"]["recipient"], "bob@orgb.example")

    def test_each_sees_his_part_alone(self):
        seen = {role: self.read(0, "open", M / "m1.signed.bin", role) for role in ROLES}
        self.assertIsNone(seen["origin"]["envelope"]["destination"])
        self.assertIsNone(seen["destination"]["envelope"]["origin"])
        for role in ("origin", "destination"):
            self.assertIsNone(seen[role]["common"])
            self.assertEqual(seen[role]["parts"], [])
        for role in ("author", "recipient"):
            self.assertEqual(seen[role]["common"]["Subject"], "Mr. Watson - come here")
            self.assertEqual(len(seen[role]["parts"]), 1)

    def test_nothing_is_shown_of_an_author_who_is_not_known(self):
        for args in ([], ["-o", self.dir / "out"]):
            j = self.read(1, "open", M / "m1.signed.bin", "recipient", *args, believed=[])
            self.assertEqual(j["parts"], [])
            self.assertIsNone(j["common"])
        self.assertFalse((self.dir / "out").exists())

    def test_another_authors_signet_shows_nothing(self):
        believed = ["--author", S / "alice2.signet"]
        j = self.read(1, "open", M / "m1.signed.bin", "recipient", "-o", self.dir / "out",
                      believed=believed)
        self.assertEqual(j["signatures"]["226"]["state"], "bad")
        self.assertEqual(j["parts"], [])
        self.assertFalse((self.dir / "out").exists())

    def test_signets_are_checked_before_they_are_believed(self):
        bad = V / "libdime/malformed/signets"
        self.read(1, "verify", M / "m1.signed.bin", "recipient",
                  believed=["--author", bad / "sig255-flip.signet", *BELIEVED[2:]])
        self.read(1, "verify", M / "m1.signed.bin", "recipient",
                  believed=["--author", S / "orga.signet"])
        j = self.read(1, "verify", M / "m1.signed.bin", "recipient",
                      believed=[*BELIEVED[:2], "--origin", S / "orgb.signet"])
        self.assertIn("alice.signet: ", j["reason"])

    def test_a_domain_is_anchored_by_its_own_keys_alone(self):
        m, signets = M / "m1.signed.bin", BELIEVED[:4]
        for key, status, warned in (("orga.example=" + POK_A, 0, False), (POK_A, 0, False),
                                    ("orga.example=" + POK_A + "=", 0, False),
                                    ("orgb.example=" + POK_B, 0, True),
                                    ("orga.example=" + POK_B, 1, False), (POK_B, 1, False)):
            j = self.read(status, "verify", m, "recipient", "--pok", key, believed=signets)
            self.assertEqual(warned, any("not anchored" in w for w in j.get("warnings", [])))
        # One domain's key must not anchor the other's signet.
        both = [*signets, "--destination", S / "orgb.signet"]
        self.dime(2, "verify", m, "--as", "recipient", "--keys", S / "bob.key", *both,
                  "--pok", POK_A)
        self.read(1, "verify", m, "recipient", "--pok", "orga.example=" + POK_B, "--pok",
                  "orgb.example=" + POK_A, believed=both)
        j = self.read(0, "verify", m, "recipient", "--pok", "orga.example=" + POK_A, "--pok",
                      "orgb.example=" + POK_B, believed=both)
        self.assertFalse(any("not anchored" in w for w in j["warnings"]))

    def test_a_wrong_key_opens_nothing(self):
        j = self.json(1, "open", M / "m1.signed.bin", "--as", "recipient", "--keys",
                      S / "carol.key", *BELIEVED)
        self.assertEqual(j["parts"], [])
        self.assertIn("other keys or signets", j["reason"])
        j = self.read(1, "verify", M / "m1.signed.bin", "recipient",
                      believed=["--author", S / "alice2.signet", *BELIEVED[2:]])
        self.assertIn("other keys or signets", j["reason"])

    def test_every_octet_changed_is_refused_and_leaves_nothing(self):
        good = (M / "m1.signed.bin").read_bytes()
        out = self.dir / "out"
        slots = 4 * 64  # of 255 itself: nobody signs those
        for at in range(6, len(good) - slots, 97):
            bad = self.write("bad", good[:at] + bytes([good[at] ^ 1]) + good[at + 1:])
            self.read(1, "open", bad, "recipient", "-o", out)
            self.assertFalse(out.exists(), at)

    def test_a_directory_gets_the_mail_and_its_parts(self):
        out = self.dir / "out"
        j = self.read(0, "open", M / "m1.signed.bin", "recipient", "-o", out)
        self.assertTrue(j["mail"])
        self.assertEqual(os.stat(out).st_mode & 0o777, 0o700)
        for file in out.iterdir():
            self.assertEqual(file.stat().st_mode & 0o777, 0o600, file)
        self.assertEqual(sorted(os.listdir(out)),
                         ["common.txt", "envelope-destination.txt", "envelope-origin.txt",
                          "headers.txt", "mail.eml", "part-1.bin"])
        self.assertEqual((out / "part-1.bin").read_bytes(), (M / "display1.txt").read_bytes())
        self.assertIn(b"Subject: Mr. Watson - come here\r\n", (out / "mail.eml").read_bytes())
        before = sorted(os.listdir(out))
        self.dime(2, "open", M / "m1.signed.bin", "--as", "recipient", "--keys",
                  S / "bob.key", *BELIEVED, "-o", out)
        self.assertEqual(sorted(os.listdir(out)), before)

    def test_a_full_disk_leaves_nothing(self):
        big = self.new(MAIL + os.urandom(40000).hex().encode(), "--no-gzip")
        out = self.dir / "out"
        def small():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))
        p = subprocess.run([DIME, "message", "open", big, "--as", "author", "--keys",
                            S / "alice.key", "-o", out], capture_output=True,
                           preexec_fn=small, timeout=60, check=False,
                           env={**os.environ, "LC_ALL": "C"})
        self.assertEqual(p.returncode, 2, p.stderr)
        self.assertFalse(out.exists())

    def test_terminals_are_not_controlled(self):
        made = self.new(MAIL.replace(b"hello", b"\xc2\x9b2Jhello"))
        self.dime(0, "open", made, "--as", "author", "--keys", S / "alice.key")
        self.assertNotIn(b"\x9b", self.out)
        self.assertIn(b"Subject      \\u{9b}2Jhello", self.out)
        j = self.read(0, "open", made, "author")
        self.assertEqual(j["common"]["Subject"], "\x9b2Jhello")
        self.assertTrue(self.out.isascii())


class New(Case):
    def test_mail_comes_back_octet_for_octet(self):
        out = self.dir / "out"
        for mail in (MAIL, MAIL.replace(b"Hello", b"Hello" * 10000), MAIL + b"\x00\xff\r\n"):
            made = self.new(mail)
            j = self.read(0, "open", made, "author", "-o", out, believed=[])
            self.assertEqual((out / "mail.eml").read_bytes(), mail)
            self.assertEqual(j["signatures"]["255"]["state"], "placeholder")
            self.assertEqual(j["signatures"]["249"]["state"], "absent")
            shutil.rmtree(out)

    def test_lines_of_unix_become_those_of_mail(self):
        out = self.dir / "out"
        made = self.new(MAIL.replace(b"\r\n", b"\n"))
        self.read(0, "open", made, "author", "-o", out, believed=[])
        self.assertEqual((out / "mail.eml").read_bytes(), MAIL)

    def test_the_origin_takes_it_and_the_destination_does_not_yet(self):
        made = self.new(MAIL, "--display-bounce")
        j = self.read(0, "verify", made, "origin")
        self.assertEqual(j["agrees"], {"author": "core"})
        self.assertEqual(j["signatures"]["249"]["state"], "placeholder")
        j = self.read(1, "verify", made, "destination")
        self.assertEqual(j["signatures"]["255"]["state"], "placeholder")
        j = self.read(1, "verify", made, "recipient")
        self.assertIn("has not signed it yet", j["reason"])

    def test_private_keys_are_never_written_over(self):
        key = self.write("own.key", (S / "alice.key").read_bytes())
        binary = self.write("own.bin", (V / "prime/org.key.bin").read_bytes())
        mail = self.write("mail", MAIL)
        for target in (key, binary):
            before = target.read_bytes()
            self.dime(2, "new", *FROM, mail, "-o", target)
            self.dime(2, "armor", M / "m1.signed.bin", "-o", target)
            self.assertIn("private keys", self.err)
            self.assertEqual(target.read_bytes(), before)
        p = subprocess.run([DIME, "ssr", "new", "--keys", key, "-o", key], check=False,
                           capture_output=True, timeout=60)
        self.assertEqual((p.returncode, key.read_bytes()), (2, (S / "alice.key").read_bytes()))

    def test_a_file_is_replaced_whole_or_not_at_all(self):
        mail, old = self.write("mail", MAIL), self.write("old", b"old")
        os.chmod(old, 0o640)

        def small():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        before = sorted(os.listdir(self.dir))
        self.dime(2, "new", *FROM, mail, "-o", old, preexec_fn=small)
        self.assertEqual(old.read_bytes(), b"old")
        self.assertEqual(sorted(os.listdir(self.dir)), before)
        link = self.dir / "link"
        link.symlink_to(old)
        self.dime(0, "new", *FROM, mail, "-o", link)
        self.assertTrue(link.is_symlink())
        self.assertEqual(old.read_bytes()[:2], b"\x07\x37")
        self.assertEqual(os.stat(old).st_mode & 0o777, 0o640)
        self.dime(0, "new", *FROM, mail, "-o", "/dev/null")
        self.dime(2, "new", *FROM, mail, "-o", self.dir)

    def test_compression_can_be_refused(self):
        mail = MAIL + b"the same line again and again\r\n" * 1000
        compressed, plain = self.new(mail).stat().st_size, self.new(mail, "--no-gzip").stat().st_size
        self.assertLess(compressed, plain / 4)

    # T-DM-28
    def test_T_DM_28_a_file_stores_binary_and_an_unknown_channel_gets_armour(self):
        mail = self.write("mail", MAIL)
        stored = self.new(MAIL).read_bytes()
        self.assertEqual(stored[:2], b"\x07\x37")
        for args in ([], ["-o", "-"], ["--armor"]):
            self.dime(0, "new", *FROM, mail, *args)
            lines = self.out.decode("ascii").splitlines()
            self.assertEqual(lines[0], "-----BEGIN ENCRYPTED MESSAGE-----")
            self.assertEqual(lines[-1], "-----END ENCRYPTED MESSAGE-----")
            self.assertTrue(all(len(l) == 64 for l in lines[1:-2]))
        self.dime(0, "new", *FROM, mail, "--binary")
        self.assertEqual(self.out[:2], b"\x07\x37")
        self.dime(0, "armor", self.dir / "made.bin", "-o", self.dir / "armoured")
        self.dime(0, "dearmor", self.dir / "armoured", "-o", self.dir / "again")
        self.assertEqual((self.dir / "again").read_bytes(), stored)
        self.dime(0, "armor", M / "m1.signed.bin", "-o", "-")
        want = (M / "m1.signed.spec.asc").read_bytes().replace(b"\r\n", b"\n").rstrip(b"\n")
        self.assertEqual(b"".join(self.out.split()), b"".join(want.split()))

    def test_signets_must_fit_and_say_whose_they_are(self):
        mail = self.write("mail", MAIL)
        for i, other in ((1, f"{S}/bob.key,{S}/alice.signet"),
                         (1, f"{S}/alice.key,{S}/alice.core.signet"),
                         (3, S / "bob.full.signet"), (3, S / "alice.signet"),
                         (3, S / "orgb.signet"), (5, S / "orgb.signet"),
                         (7, S / "orgb.core.signet"), (7, S / "bob.signet")):
            args = list(FROM)
            args[i] = other
            self.dime(1, "new", *args, mail, "-o", self.dir / "nothing")
            self.assertFalse((self.dir / "nothing").exists(), other)

    def test_a_mail_that_is_too_large_is_refused(self):
        big = self.dir / "big"
        with open(big, "wb") as f:
            f.truncate((64 << 20) + 1)
        self.dime(1, "new", *FROM, big, "-o", self.dir / "nothing")
        self.assertFalse((self.dir / "nothing").exists())

    def test_a_strange_sender_is_warned_of(self):
        made = self.new(MAIL.replace(b"alice@", b"mallory@"))
        self.assertIn("From does not name the author", self.err)
        j = self.read(0, "open", made, "author")
        self.assertIn("From does not name the author", j["warnings"])
        j = self.read(0, "open", self.new(MAIL), "author")
        self.assertEqual(j["warnings"], [])

    def test_a_large_message_is_read_within_its_own_size(self):
        if b"__asan_init" in pathlib.Path(DIME).read_bytes():
            self.skipTest("sanitizers need more")
        noise = base64.b64encode(os.urandom(40 << 20))
        body = b"\r\n".join(noise[i:i + 76] for i in range(0, len(noise), 76))
        made = self.new(MAIL + body + b"\r\n", "--no-gzip")
        size = made.stat().st_size

        def peak(*args):
            p = subprocess.run(["/usr/bin/env", "python3", "-c", """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
""", DIME, "message", *map(str, args)], capture_output=True, check=True, timeout=120)
            return int(p.stdout)

        own = peak("show", M / "m1.signed.bin")
        used = peak("verify", made, "--as", "author", "--keys", S / "alice.key")
        print(f"# {size >> 20} MiB verified and opened in {used / size:.2f} times its size, "
              f"{own >> 10} KiB of it the program", file=sys.stderr)
        self.assertLess(used - own, 1.2 * size)


    def test_what_its_reader_could_not_decompress_is_not_made(self):
        limit = 64 << 20
        out = self.dir / "nothing"
        raw = b"no field\r\n" + b"a" * (limit - 10)
        self.dime(1, "new", *FROM, self.write("raw", raw), "-o", out)
        self.assertIn("larger than the limit", self.err)
        self.assertFalse(out.exists())
        made = self.new(MAIL + b"\r\n" + b"a" * (limit - len(MAIL) - 2))
        self.assertTrue(self.read(0, "open", made, "author")["complete"])

    def test_a_blind_copy_is_warned_of(self):
        for field in (b"Bcc: carol@orgb.example\r\n", b"Resent-BCC: c\r\n", b"bcc : c\r\n"):
            self.new(field + MAIL)
            self.assertIn("the recipient will read the field Bcc", self.err)
        self.new(MAIL + b"Bcc: not in the header\r\n")
        self.assertNotIn("Bcc", self.err)


@unittest.skipUnless(making, "python3-cryptography is needed")
class Crafted(Case):
    def make(self, **more):
        spec = {"author": {"signet": "alice.signet", "key": "alice.key"},
                "origin": {"signet": "orga.signet", "key": "orga.key"},
                "destination": {"signet": "orgb.signet"},
                "recipient": {"signet": "bob.signet"}}
        return self.write("crafted", making.make({**spec, **more}, str(S), "seed"))

    def test_metadata_is_not_shown_under_chunk_signatures_alone(self):
        bad = {"signature": "bad"}
        for changed, shown in (({"225": bad, "226": bad}, False), ({"225": bad}, True),
                               ({"226": bad}, True)):
            j = self.read(0 if shown else 1, "open", self.make(**{"with": changed}), "recipient")
            self.assertEqual((j["common"] is not None, j["headers"], len(j["parts"])),
                             (shown, shown, int(shown)))

    def test_the_origin_wants_both_signatures_of_the_author(self):
        bad = {"signature": "bad"}
        self.read(0, "verify", self.make(), "origin")
        for changed in ({"225": bad}, {"226": bad}):
            self.read(1, "verify", self.make(**{"with": changed}), "origin")

    def test_a_thousand_parts_are_read_and_no_more(self):
        j = self.read(0, "open", self.make(parts=[{"type": 67, "text": "x"}] * 1000), "recipient")
        self.assertEqual((len(j["parts"]), j["complete"]), (1000, True))
        j = self.read(1, "open", self.make(parts=[{"type": 67, "text": "x"}] * 1001), "recipient",
                      "-o", self.dir / "out")
        self.assertIn("more parts", j["reason"])
        self.assertEqual((len(j["parts"]), j["complete"]), (1000, False))
        self.assertFalse((self.dir / "out").exists())

    def test_all_that_is_decompressed_counts(self):
        size = 40 << 20
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        data = packer.compress(bytes(size)) + packer.flush()
        head = b"\x1f\x8b\x08\x08" + bytes(4) + b"\x00\xff"
        name = b"x" * (size // 200) + b"\0"  # not more than 200 to 1
        tail = zlib.crc32(bytes(size)).to_bytes(4, "little") + size.to_bytes(4, "little")

        def part(end):
            octets = head + name + data + end
            return {"type": 67, "base64": base64.b64encode(octets).decode(), "flags": 4}

        good, bad = part(tail), part(bytes(8))
        for parts, states in (([good], ["good"]), ([bad], ["corrupt"]),
                              ([good, good], ["good", "corrupt"]),
                              ([bad, good], ["corrupt", "corrupt"])):
            j = self.read(0, "open", self.make(parts=parts), "recipient")
            self.assertEqual([p["state"] for p in j["parts"]], states)

    def test_signets_that_prove_nothing_are_warned_of(self):
        m = self.make()
        j = self.read(0, "verify", m, "recipient", believed=BELIEVED[:2])
        self.assertEqual(j["warnings"],
                         ["the author's signet is not verified: the origin's is needed"])
        j = self.read(0, "verify", m, "recipient", "--recipient", S / "bob.signet")
        self.assertEqual(j["warnings"],
                         ["the recipient's signet is not verified: the destination's is needed"])
        self.assertEqual(self.read(0, "verify", m, "recipient")["warnings"], [])

    def test_a_name_that_no_signet_says_is_warned_of(self):
        nameless = self.dir / "nameless"
        subprocess.run([DIME, "signet", "split", S / "alice.signet", "--full", "-o", nameless],
                       check=True, timeout=60)
        alice = {"signet": "alice.signet", "key": "alice.key", "name": "boss@orga.example"}
        m = self.make(author=alice)
        self.read(1, "verify", m, "recipient")
        j = self.read(0, "verify", m, "recipient",
                      believed=["--author", nameless, *BELIEVED[2:]])
        self.assertIn("the author's signet does not say whose it is", j["warnings"])

    def test_the_tree_of_libdime_needs_the_other_signature_at_every_size(self):
        for size in (10, 100000):  # small messages have their own way
            parts = [{"type": 67, "fill": {"size": size}}]
            j = self.read(0, "open", self.make(parts=parts, tree="libdime"), "recipient")
            self.assertEqual(j["signatures"]["225"]["state"], "legacy")
            m = self.make(parts=parts, tree="libdime", **{"with": {"226": {"signature": "bad"}}})
            j = self.read(1, "open", m, "recipient")
            self.assertEqual(j["signatures"]["225"]["state"], "bad")
            self.assertEqual(j["parts"], [])

    def test_256_octets_of_padding_are_zeros(self):
        for octet, state in ((0, "good"), (7, "corrupt"), (255, "corrupt")):
            part = {"type": 67, "fill": {"size": 11}, "pad": octet,
                    "padding": {"total": 256, "octet": octet}}
            j = self.read(0, "open", self.make(parts=[part]), "recipient")
            self.assertEqual([p["state"] for p in j["parts"]], [state])

    def test_the_alternate_chunk_is_never_compressed(self):
        types = [2, 3, 4, 5, 33, 34, 67, 225, 226, 255]
        for flags, status in ((0, 0), (2, 0), (4, 1), (2 | 4, 1), (2 | 128, 1)):
            texts = {3: {"text": "x", "flags": flags}, 67: {"text": "Hi.\r\n"}}
            m = self.make(chunks=[{"type": t, **texts.get(t, {})} for t in types])
            self.read(status, "verify", m, "recipient")


class OfServers(Case):
    def setUp(self):
        super().setUp()
        subprocess.run([MAIL_OBJECTS, V, self.dir], check=True, timeout=60)

    def test_bounces_are_shown_and_read_by_the_origin(self):
        j = self.json(0, "show", self.dir / "bounce.metadata.bin")
        self.assertEqual((j["type"], j["returns"]), ("bounce", "metadata"))
        self.assertEqual([c["type"] for c in j["chunks"]], [2, 6, 7, 255])
        self.assertEqual([c["type"] for c in j["returned"]], [2, 4, 5, 33, 34, 248])
        believed = ["--origin", S / "orga.signet", "--destination", S / "orgb.signet"]
        for part in ("metadata", "message"):
            j = self.read(0, "verify", self.dir / f"bounce.{part}.bin", "origin",
                          believed=believed)
            self.assertEqual(j["author"], "alice@orga.example")
            self.assertEqual((j["report"]["status"], j["report"]["returned"],
                              j["report"]["domain"]), ("5.2.2", part, "orgb.example"))
        self.dime(0, "open", self.dir / "bounce.message.bin", "--as", "origin", "--keys",
                  S / "orga.key", *believed)
        self.assertIn(b"alice@orga.example", self.out)

    def test_bounces_of_others_are_refused(self):
        good = ["--origin", S / "orga.signet", "--destination", S / "orgb.signet"]
        self.read(1, "verify", self.dir / "bounce.other.bin", "origin", believed=good)
        # rightly signed by a domain that the message did not go to
        j = self.read(1, "verify", self.dir / "bounce.stranger.bin", "origin",
                      believed=["--origin", S / "orga.signet", "--destination", S / "orga.signet"])
        self.assertTrue(j["by-domain"] and j["by-origin"])
        self.assertIn("another domain's", j["reason"])
        j = self.read(1, "verify", self.dir / "bounce.message.bin", "origin",
                      believed=["--origin", S / "orga.signet", "--destination", S / "orga.signet"])
        self.assertIsNone(j["author"])
        octets = (self.dir / "bounce.message.bin").read_bytes()
        for at in range(6, len(octets), 211):  # 255 is not encrypted, and has no slots
            bad = self.write("bad", octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1:])
            self.read(1, "verify", bad, "origin", believed=good)
        self.dime(2, "verify", self.dir / "bounce.message.bin", "--as", "recipient",
                  "--keys", S / "bob.key", *good)

    def test_naked_mail_is_read_by_its_recipient_alone(self):
        out = self.dir / "out"
        kept = ["--destination", S / "orgb.signet"]
        j = self.read(0, "open", self.dir / "naked.bin", "recipient", "-o", out, believed=kept)
        self.assertEqual(j["type"], "naked-message")
        self.assertEqual(j["signatures"]["255"]["state"], "good")
        self.assertEqual(j["common"]["From"], "eve@elsewhere.example")
        self.assertIn(b"Hello from the old world.\r\n", (out / "mail.eml").read_bytes())
        self.read(1, "open", self.dir / "naked.bin", "author", believed=kept)
        # the key of its author stands in it: without the domain's signature it is anybody's
        for believed in ([], BELIEVED, ["--destination", S / "orga.signet"]):
            j = self.read(1, "open", self.dir / "naked.bin", "recipient", "-o", self.dir / "no",
                          believed=believed)
            self.assertIsNone(j["common"])
            self.assertEqual(j["parts"], [])
            self.assertFalse((self.dir / "no").exists())
        self.read(1, "open", self.dir / "naked.bin", "recipient",
                  believed=["--destination", S / "orga.signet"])
        self.dime(1, "armor", self.dir / "naked.bin", "-o", self.dir / "nothing")
        self.assertFalse((self.dir / "nothing").exists())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
