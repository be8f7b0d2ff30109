#!/usr/bin/env python3
"""What dmime_py says of the shared messages and of its own: as a judge of the C library it has
to be right itself.

usage: test_dmime_py.py VECTORS [unittest's arguments]

Exit status 77 without python3-cryptography."""

import base64
import copy
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
import zlib

try:
    import cryptography  # noqa: F401, only whether it is there
except ImportError:
    print("skipped: python3-cryptography is needed")
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

from dmime_py import crypto, keys, making, naked, opening, texts  # noqa: E402, the path is above
from dmime_py import message as m  # noqa: E402

VECTORS = None  # from the command line
ROLES = ("author", "origin", "destination", "recipient")
HOLDER = dict(zip(ROLES, ("alice", "orga", "orgb", "bob")))


def load(*names):
    with open(os.path.join(VECTORS, *names), "rb") as f:
        return f.read()


def names(*directory):
    return sorted(n[:-4] for n in os.listdir(os.path.join(VECTORS, *directory))
                  if n.endswith(".bin"))


def libdime_signet(name):
    return keys.signet_read(load("libdime", "signets", name + ".signet"))


def libdime_key(name):
    return keys.key_read(load("libdime", "signets", name + ".key"))


def libdime_view(role, **more):
    people = {"author": "alice", "org": "orga", "destination": "orgb", "recipient": "bob"}
    return opening.View(role, libdime_key(HOLDER[role]),
                        **{who: libdime_signet(name) for who, name in people.items()} | more)


def libdime_open(octets, role, **more):
    return opening.open_message(octets, libdime_view(role, **more))


def signets_path(name):
    return os.path.join(VECTORS, "libdime", "signets", name)


def libdime_spec(**more):
    return {"author": {"signet": signets_path("alice.signet"), "key": signets_path("alice.key")},
            "origin": {"signet": signets_path("orga.signet"), "key": signets_path("orga.key")},
            "destination": {"signet": signets_path("orgb.signet")},
            "recipient": {"signet": signets_path("bob.signet")}, "seed": "tests"} | more


def made(**more):
    return making.make(libdime_spec(**more))


def standard(*parts):
    """The whole list of chunks, for what `parts` and `with` cannot say."""
    return ([{"type": t} for t in (2, 4, 5, 33, 34)] +
            list(parts or [{"type": 67, "text": "Hello."}]) +
            [{"type": t} for t in (225, 226, 248, 249, 255)])


def summary(opened):
    """A accepted, a the same with corrupt parts, R refused for its signatures, C corrupt"""
    if opened.state != "ok":
        return {"corrupt": "C", "magic": "M", "unsigned": "U", "too-large": "L"}[opened.state]
    if not opened.accepted:
        return "R"
    return "A" if all(p.state == "ok" for p in opened.parts) else "a"


def summaries(octets):
    return "".join(summary(libdime_open(octets, role)) for role in ROLES)


def states(octets, role="recipient", **more):
    """Of the content parts."""
    opened = libdime_open(octets, role, **more)
    if opened.state != "ok":
        return opened.state
    return [p.state for p in opened.parts if p.type in m.CONTENT]


def content(octets, role="recipient", **more):
    return [p.data for p in libdime_open(octets, role, **more).parts if p.type in m.CONTENT]


# What every actor is to make of the shared messages, by the specification and its decisions;
# author, origin, destination, recipient.

WELL_FORMED = {
    "m1.author": "AARR", "m1.flags0": "AAAA", "m1.flags1": "AAAA", "m1.flags2": "AAAA",
    "m1.nobounce": "AAAA", "m1.signed": "AAAA", "m1.traced": "AAAA", "m2.author": "AARR",
    "m2.signed": "AAAA", "m3.author": "AARR", "m3.signed": "AAAA", "m4.author": "AARR",
    "m4.signed": "AAAA"}
INDEPENDENT = {"i1.minimal": "AAAA", "i2.nobounce": "AAAA", "i6.minpad": "AAAA",
               "i8.gzip": "AAAA", "i10.reserved-flag": "aAAa"}
MALFORMED = {
    "magic": "MMMM",
    "size-plus1": "CCCC", "size-minus1": "CCCC", "trailing": "CCCC", "empty": "CCCC",
    "short4": "CCCC", "missing-ephemeral": "CCCC", "missing-origin": "CCCC",
    "missing-destination": "CCCC", "missing-display": "CCCC", "missing-tree": "CCCC",
    "unknown-chunk6": "CCCC", "order-swap-meta": "CCCC", "order-sig-first": "CCCC",
    "dup-orgsig": "CCCC", "chunk-len-unaligned": "CCCC", "eph-32": "CCCC",
    "eph-badpoint": "CCCC", "eph-prefix4": "CCCC", "eph-infinity": "CCCC",
    # 34 may be absent, but here it was signed
    "missing-headers": "RRRR",
    # the origin has no eyes for 5 and the destination none for 4, but for signatures over them
    "flip-origin-payload": "CCRC", "flip-destination-payload": "CRCC",
    "flip-display-payload": "RRRR", "flip-display-recipient-slot": "RRRR",
    "flip-tree-payload": "RRRR", "flip-orgsig-payload": "AARR",
    "flip-orgsig-destination-slot": "AARA",
    "in-padbyte": "aAAa", "in-datalen-zero": "CAAC", "in-chunksig": "aAAa",
    "env-short-origin": "CCAC",
    # fingerprints of four characters in chunk 5 (D-110)
    "env-wrongfp": "CACC", "env-wrongorigin": "CACC",
    "common-nosubject": "AAAA", "common-dup": "CAAC", "common-unknown": "CAAC",
    "dos-display-count": "AAAA", "dos-envelope-oob": "CACC"}


class SharedMessages(unittest.TestCase):
    def check(self, table, *directory):
        self.assertEqual(names(*directory), sorted(
            table if "malformed" in directory else
            list(table) + [n for n in names(*directory) if n.startswith(("attach", "display"))]))
        for name, wanted in table.items():
            with self.subTest(name):
                self.assertEqual(summaries(load(*directory, name + ".bin")), wanted)

    def test_those_of_libdime_are_judged_as_the_specification_asks(self):
        self.check(WELL_FORMED, "libdime", "messages")

    def test_those_of_the_independent_writer_too(self):
        self.check(INDEPENDENT, "libdime", "independent")

    def test_the_malformed_ones_too(self):
        self.check(MALFORMED, "libdime", "malformed", "messages")

    def test_their_texts_are_those_that_went_in(self):
        want = {"m1.signed": ["display1.txt"], "m2.signed": ["display1.txt", "display2.txt",
                                                             "attach1.bin"],
                "m3.signed": ["display1.txt", "display3.txt", "attach1.bin", "attach2.bin"],
                "m4.signed": ["display_pad.txt"]}
        for name, files in want.items():
            with self.subTest(name):
                opened = libdime_open(load("libdime", "messages", name + ".bin"), "recipient")
                self.assertEqual([p.data for p in opened.parts if p.type in m.CONTENT],
                                 [load("libdime", "messages", f) for f in files])
                headers = next(p for p in opened.parts if p.type == m.HEADERS)
                self.assertEqual(headers.data, load("libdime", "messages", "headers.txt"))
                self.assertEqual(opened.texts[m.COMMON]["Subject"],
                                 "Mr. Watson - come here")

    def test_the_compressed_one_is_decompressed(self):
        octets = load("libdime", "independent", "i8.gzip.bin")
        self.assertEqual(content(octets), [b"compressed text\r\n" * 20])
        packed = load("libdime", "messages", "display_gzip.bin")
        self.assertEqual(crypto.gunzip(packed), b"one\n")

    def test_the_pad_octet_of_the_256_octets_is_zero(self):
        opened = libdime_open(load("libdime", "messages", "m4.signed.bin"), "recipient")
        seen = next(s for s in opened.seen if s.chunk.type == 67)
        self.assertEqual((seen.payload.pad, len(seen.payload.padding)), (0, 256))

    def test_tracing_is_kept_apart(self):
        opened = libdime_open(load("libdime", "messages", "m1.traced.bin"), "recipient")
        self.assertEqual(opened.message.tracing, load("libdime", "messages", "tracing.txt"))

    def test_both_armors_hold_the_binary(self):
        binary = load("libdime", "messages", "m1.signed.bin")
        for form in ("spec", "crc"):
            text = load("libdime", "messages", "m1.signed.%s.asc" % form)
            self.assertEqual(texts.binary(text), binary)

    def test_all_of_libdime_have_its_form_of_the_tree(self):
        for name in WELL_FORMED:
            opened = libdime_open(load("libdime", "messages", name + ".bin"), "recipient")
            self.assertEqual(opened.signatures[m.TREE].variant, "libdime", name)

    def test_zero_bounce_signatures_are_placeholders(self):
        zeros = {"m1.author": (248, 249, 255), "m1.flags0": (249,), "m1.flags1": (249,),
                 "m1.flags2": (), "m1.signed": ()}
        for name, kinds in zeros.items():
            opened = libdime_open(load("libdime", "messages", name + ".bin"), "destination")
            self.assertEqual(tuple(k for k, v in opened.signatures.items()
                                   if v.state == "placeholder"), kinds, name)


class Naked(unittest.TestCase):
    """Object 1908: its own, and what the C library made and made wrong."""

    PARTS = [(67, b"Content-Type: text/plain\r\n\r\nHello.\r\n"), (131, b"attached" * 999)]
    COMMON = {"Subject": "not protected", "From": "x@legacy.example"}
    KEY = keys.Key(scalar=hashlib.sha256(b"keyd-test bob enc").digest())
    OTHER = keys.Key(scalar=hashlib.sha256(b"keyd-test alice enc").digest())
    DOMAIN = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")

    def made(self):
        return naked.make(self.KEY.encryption_public, self.PARTS, self.COMMON, seed="naked")

    def signed(self):
        octets = self.made()
        covered = crypto.signature_input(naked.parse(octets).chunks, m.ORG)
        return naked.with_signature(octets, crypto.sign(self.DOMAIN, covered))

    def open(self, octets, key=None):
        return naked.open_naked(octets, key or self.KEY, [crypto.ed25519_public(self.DOMAIN)])

    def test_its_recipient_reads_it(self):
        o = self.open(self.signed())
        self.assertTrue(o.accepted)
        self.assertEqual([p for p in o.parts if p[0] in m.CONTENT], self.PARTS)
        self.assertEqual(o.common["Subject"], "not protected")
        self.assertEqual(o.signatures, {225: "good", 226: "good", 255: "good"})

    def test_until_the_domain_signs_it_is_not_accepted(self):
        o = self.open(self.made())
        self.assertEqual(o.signatures, {225: "good", 226: "good", 255: "placeholder"})
        self.assertFalse(o.accepted)

    def test_others_read_nothing(self):
        o = self.open(self.signed(), self.OTHER)
        self.assertEqual(o.signatures, {225: "bad", 226: "bad", 255: "good"})
        self.assertEqual({data for _, data in o.parts}, {None})

    def test_no_octet_can_be_another(self):
        octets = self.signed()
        for at in range(0, len(octets), 37):
            changed = bytearray(octets)
            changed[at] ^= 1
            try:
                self.assertFalse(self.open(bytes(changed)).accepted, at)
            except (m.Bad, crypto.Corrupt):
                pass

    def corpus(self, name):
        with open(os.path.join(HERE, "../fuzz/corpus/naked", name), "rb") as f:
            return f.read()

    def test_what_the_c_library_made_is_read(self):
        o = self.open(self.corpus("signed"))
        self.assertTrue(o.accepted)
        self.assertEqual(self.open(self.corpus("unsigned")).signatures[255], "placeholder")
        o = self.open(self.corpus("two-and-two"))
        self.assertEqual([kind for kind, _ in o.parts], [33, 34, 67, 67, 131, 131])
        self.assertNotIn(None, [data for _, data in o.parts])

    def test_what_it_made_wrong_is_not(self):
        for name in ("cut-in-slot", "cut-in-slot-true-length", "ephemeral-prefix-4",
                     "header-only", "huge-payload", "magic-of-message", "multipart-chunk",
                     "without-255", "without-display"):
            with self.subTest(name), self.assertRaises(m.Bad):
                naked.parse(self.corpus(name))
        self.assertFalse(self.open(self.corpus("payload-flipped")).accepted)
        naked.parse(self.corpus("without-34"))


class Traces(unittest.TestCase):
    """KEK, chunk keys and plaintexts as libdime itself printed them."""

    LINE = re.compile(r"chunk type=(\d+) payload=(\d+) serial=(\d+)")

    def parse(self, text):
        actors = {}
        for line in text.splitlines():
            word, _, rest = line.strip().partition(": ")
            if word == "actor":
                actor = actors[rest] = {"chunks": []}
            elif word.startswith("kek-"):
                actor[word] = rest
            elif found := self.LINE.match(line):
                actor["chunks"].append({"size": tuple(int(n) for n in found.groups())})
            elif word == "slot":
                number, _, iv, _, key = rest.split()
                actor["chunks"][-1].update(slot=int(number), iv=iv, key=key)
            else:
                self.assertIn(word, ("payload", "plaintext"))
                actor["chunks"][-1][word] = rest
        return actors

    def test_every_octet_of_every_trace_is_reproduced(self):
        directory = os.path.join(VECTORS, "libdime/messages/traces")
        plaintexts = 0
        for file in sorted(os.listdir(directory)):
            name = file.replace(".trace.txt", ".bin")
            where = "independent" if name.startswith("i") else "messages"
            octets = load("libdime", where, name)
            actors = self.parse(load("libdime/messages/traces", file).decode())
            self.assertEqual(tuple(actors), ROLES)
            for role, trace in actors.items():
                with self.subTest(file, role=role):
                    opened = libdime_open(octets, role)
                    self.assertEqual(opened.kek.iv.hex(), trace["kek-iv"])
                    self.assertEqual(opened.kek.key.hex(), trace["kek-key"])
                    self.assertEqual([self.of(s) for s in opened.seen], trace["chunks"])
                    plaintexts += sum("plaintext" in c for c in trace["chunks"])
        self.assertGreater(plaintexts, 500)

    @staticmethod
    def of(seen):
        c = seen.chunk
        out = {"size": (c.type, len(c.payload), len(c.octets()))}
        if seen.state == "clear":
            out["payload"] = c.payload.hex()
        if seen.plain is not None:
            out.update(slot=seen.slot + 1, iv=seen.iv.hex(), key=seen.key.hex(),
                       plaintext=seen.plain.hex())
        return out


# From appendix A of the conformance cases

def h256(text):
    return hashlib.sha256(text.encode()).digest()


SEEDS = {
    "POK": (bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"),
    "SOK": (bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"),
    "USER1": (bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7"),
              "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"),
    "USER0": (h256("keyd-test alice previous signing"),
              "156275907c4f7f54ddd96320090a8c1653089e37225b502264fbf3a66edb7c0d"),
    "DEST": (h256("keyd-test example.org pok"),
             "b1742100f644c84d6fe74f3bbc5f4267afe6b4453dfcdd5e7b504a33ebf8daec"),
    "BOB": (h256("keyd-test bob signing"),
            "da333b752736021f71202acb638d444ce2cbb9a50f31c59350cfd8d4947ad992")}
SCALARS = {
    "origin": "034c92b01e0bd438a43719785accec66574f1c7cb11f2337d4ea8cf8f10f43799b",
    "destination": "03a2932c2a04628a42e10166917b246e46918b2793b60f5868e94ffa200f35ce65",
    "author": "032d80e714728fd6890f4cdde6c87c7cd0163823880a6e6b31d31020f3dfc1e520",
    "recipient": "0282681a8ed02815926f415ffa3f24cdd88f202060136fded1eab9935cc3375494",
    "ephemeral": "02ffc273627c02a609e4a7cc697ef51730213e29126a780d73eb0eef2fe42a191d"}
SCALAR_TEXTS = {"author": "alice enc", "recipient": "bob enc", "origin": "origin enc",
                "destination": "destination enc", "ephemeral": "ephemeral"}
MSG_KEKS = {
    "author": ("aa1f1afe272d2f94f435c4453bcdb9d67688539c3b103c2368713d6f804e8d55",
               "b894ae5ed21d4550a3cae93cf8fc53b5",
               "bdd874f0ae6a5acbdac64decbbcd1914a95018ec934ae354e2c87ce15f37524d"),
    "origin": ("829754494b3f35446748efe7bd9cc394b1fd707be854875207de24379a062d2c",
               "fd6b500c805da731e3ab49a360fce3ce",
               "adb1c7b86a88e5d3f7035563923063466e2d363ff10099cfc50db23869b3bd8a"),
    "destination": ("018a16025e3324e3c2bed32727f215a846d359d137e2c7f4a02d593db6b26cd4",
                    "05b9f998638775ea53428ff79252cb2b",
                    "0618a97405d71dd554af871a8a215208c348d3133fa5564285a7d29345ed74d5"),
    "recipient": ("a2c2bea70c61b986c5245421c71a542ef53975b3874f1df2548ccf271b9f9cf7",
                  "24dff17e468ed41107dba01de2b15c0d",
                  "9994ea60ca6b70a9cf1f3b59024f44d95962fc6bc573b44a911e74a42129497c")}
MSG_ID = "pHYQF1IrjqpYfaVMecpSsjDBQRMpGpLmwvPdP2hNsleJzjXgCAs2q1Aq7RkNIcR+QWKeLDc8eHQF9oinDQylYQ"
MSG_DATA = {
    33: "Date: Mon, 1 Jan 2024 00:00:00 +0000\r\nTo: Bob <bob@example.org>\r\n"
        "From: Alice <alice@example.com>\r\nSubject: Test vector\r\n",
    34: "MIME-Version: 1.0\r\n",
    67: "Content-Type: text/plain; charset=utf-8\r\n\r\nHello, Bob.\r\n"}
ENVELOPE = {
    4: {"Author": "alice@example.com",
        "Author-Signet": "EWbuI1AgxvKJrMIc8NU/zjR4zl4PtrmITSWLeycvuSWWW7mMcDY60EZQdpf1rpLkj/QJ"
                         "Oj/ViQ9h4UN73ipV6g",
        "Destination": "example.org",
        "Destination-Signet": "yWLf0Wu7vkidYS9f+bIkDfGFOUu0thmC9+tUnjmz6VNfPF8rrE85lzgqUpm+5d45"
                              "HV8551aJssAXgG+s+5lc5g"},
    5: {"Recipient": "bob@example.org",
        "Recipient-Signet": "r7jvjk+xzInR66tkV5Dx39b0u1D/l3hBlX0KKs5GOf7u/0qI/pU8dIYFA8r7cqAWdVsx"
                            "i7fYi2lx6LCMEqi/OA",
        "Origin": "example.com",
        "Origin-Signet": "a5telvkSzl2HSShNKl7L/844o+ZRZlfbZguWbXmBJihXHlsBiwSbqpjsjvwRte0NXD9g"
                         "PbbtfL1PtUIgMV0qVg"}}
MSG_SIZES = {2: 33, 4: 512, 5: 512, 33: 256, 34: 256, 67: 256, 225: 64, 226: 64, 248: 64,
             249: 64, 255: 64}
MSG_ACCESS = {"author": set(MSG_SIZES) - {5} | {5}, "origin": {2, 4, 225, 226, 248, 249, 255},
              "destination": {2, 5, 248, 249, 255}, "recipient": set(MSG_SIZES)}


def appendix(name):
    return texts.unbase64(load("appendix", name + ".b64").decode().replace("\n", ""))


def scalar(role):
    return h256("keyd-test " + SCALAR_TEXTS[role])


def appendix_key(role):
    seeds = {"author": "USER1", "origin": "POK", "destination": "DEST", "recipient": "BOB"}
    return keys.Key(SEEDS[seeds[role]][0], scalar(role))


def appendix_open(octets, role):
    view = opening.View(role, appendix_key(role), keys.signet_read(appendix("USER1")),
                        keys.signet_read(appendix("ORG2")),
                        keys.signet_read(appendix("DEST")), keys.signet_read(appendix("BOB")))
    return opening.open_message(octets, view)


class Appendix(unittest.TestCase):
    def test_public_keys(self):
        for name, (seed, public) in SEEDS.items():
            self.assertEqual(crypto.ed25519_public(seed).hex(), public, name)
        for role, public in SCALARS.items():
            self.assertEqual(crypto.secp256k1_public(scalar(role)).hex(), public, role)

    def test_signets_in_every_layout(self):
        for name, public in (("ORG1", "POK"), ("ORG1-P", "POK"), ("ORG1-S33", "POK"),
                             ("USER0", "USER0")):
            self.assertEqual(keys.signet_read(appendix(name)).signing.hex(), SEEDS[public][1])
        self.assertEqual(keys.signet_read(appendix("ORG2")).message_keys(),
                         [crypto.ed25519_public(SEEDS[k][0]) for k in ("POK", "SOK")])

    def test_fingerprints(self):
        self.assertEqual(keys.signet_read(appendix("USER1")).prints["core"],
                         ENVELOPE[4]["Author-Signet"])
        self.assertEqual(keys.signet_read(appendix("DEST")).prints["full"],
                         ENVELOPE[4]["Destination-Signet"])
        self.assertEqual(keys.signet_read(appendix("BOB")).prints["core"],
                         ENVELOPE[5]["Recipient-Signet"])
        self.assertEqual(keys.signet_read(appendix("ORG2")).prints["full"],
                         ENVELOPE[5]["Origin-Signet"])

    def test_keks_from_both_sides(self):
        for role, (z, iv, key) in MSG_KEKS.items():
            for one, other in ((scalar("ephemeral"), SCALARS[role]),
                               (scalar(role), SCALARS["ephemeral"])):
                kek = crypto.kek(one, bytes.fromhex(other))
                self.assertEqual((kek.z.hex(), kek.iv.hex(), kek.key.hex()), (z, iv, key))

    def test_keyslot(self):
        kek = crypto.kek(scalar("origin"), bytes.fromhex(SCALARS["ephemeral"]))
        random, iv, key = bytes(range(16)), bytes(range(240, 256)), bytes(range(32, 64))
        slot = crypto.slot_seal(kek, random, iv, key)
        self.assertEqual(slot.hex(),
                         "4c7215151e0772e7c59d01b3e5cbff2e81f12cdac95d5a1a7e3ad1711898b466"
                         "3a0c6999652b1ccc35cf2c27d1b122c7655e9e19a2b80dccfb6d47ffbf100b18")
        self.assertEqual(crypto.slot_open(kek, slot), (random, iv, key))

    def test_msg_has_the_chunks_and_identifier_listed(self):
        octets = appendix("MSG")
        self.assertEqual(len(octets), 4115)
        self.assertEqual(texts.base64_bare(crypto.sha512(octets)), MSG_ID)
        message = m.parse(octets)
        self.assertEqual({c.type: len(c.payload) for c in message.chunks}, MSG_SIZES)

    def test_msg_opens_for_all_four_and_only_as_far_as_granted(self):
        for role in ROLES:
            with self.subTest(role):
                opened = appendix_open(appendix("MSG"), role)
                self.assertEqual(summary(opened), "A")
                self.assertEqual({s.chunk.type for s in opened.seen if s.state != "closed"},
                                 MSG_ACCESS[role])
                for part in opened.parts:
                    if part.type in MSG_DATA:
                        self.assertEqual(part.data.decode(), MSG_DATA[part.type])
                    else:
                        self.assertEqual(opened.texts[part.type], ENVELOPE[part.type])
                        self.assertEqual(part.data, texts.envelope(
                            part.type, *ENVELOPE[part.type].values()))

    def test_msg_has_the_correct_tree_and_the_signature_of_a_sok(self):
        opened = appendix_open(appendix("MSG"), "recipient")
        self.assertEqual(opened.signatures[m.TREE].variant, "correct")
        signed = crypto.signature_input(opened.message.chunks, m.ORG)
        signature = opened.signatures[m.ORG].signature
        self.assertTrue(crypto.verifies(bytes.fromhex(SEEDS["SOK"][1]), signature, signed))
        self.assertFalse(crypto.verifies(bytes.fromhex(SEEDS["POK"][1]), signature, signed))

    def test_msg_is_made_again_octet_for_octet(self):
        octets = appendix("MSG")
        views = {role: appendix_open(octets, role) for role in ROLES}
        people = {role: {"signet": {"signing": "00" * 32, "encryption": SCALARS[role]},
                         "name": "x", "print": "x"} for role in ROLES}
        people["author"]["key"] = {"seed": SEEDS["USER1"][0].hex()}
        spec = people | {"signer": {"seed": SEEDS["SOK"][0].hex()},
                         "ephemeral": scalar("ephemeral").hex(),
                         "chunks": making.describe(views)["chunks"], "armor": True}
        armored = making.make(spec).decode()
        self.assertEqual(texts.unarmor(armored), (texts.LABEL, octets))
        self.assertEqual(armored.splitlines()[1:-1],
                         load("appendix", "MSG.b64").decode().splitlines())


class Signets(unittest.TestCase):
    def test_prints_and_keys_are_those_of_the_index(self):
        text = load("INDEX.md").decode()
        checked = 0
        for name, *prints in re.findall(
                r"^\| (\S+\.signet) \| `(\S{86})` \| `(\S{86})` \| `(\S{86})` \|", text, re.M):
            signet = keys.signet_read(load("libdime/signets", name))
            self.assertEqual([signet.prints[k] for k in ("core", "full", "id")], prints, name)
            checked += 1
        for name, signing, encryption in re.findall(
                r"^\| (\S+) \| `([0-9a-f]{64})` \| `([0-9a-f]{66})` \|$", text, re.M):
            signet = libdime_signet(name)
            self.assertEqual((signet.signing.hex(), signet.encryption.hex()),
                             (signing, encryption))
            if "." not in name:
                key = libdime_key(name)
                self.assertEqual((key.signing_public.hex(), key.encryption_public.hex()),
                                 (signing, encryption))
            checked += 1
        self.assertGreater(checked, 20)

    def test_only_soks_that_may_sign_messages_do(self):
        """Permissions 1, 2, 15 and 17: the last has a reserved bit."""
        orgb = libdime_signet("orgb")
        self.assertEqual([perm for perm, _ in orgb.soks], [1, 2, 15, 17])
        self.assertEqual(orgb.message_keys(),
                         [orgb.signing, orgb.soks[1][1], orgb.soks[2][1]])
        orgb.soks = [(2 | 16, bytes(32))]
        self.assertEqual(orgb.message_keys(), [orgb.signing])

    def test_a_key_of_prime_is_read(self):
        key = keys.key_read(load("prime/org.key"))
        signet = keys.signet_read(load("prime/org.signet"))
        self.assertEqual((key.signing_public, key.encryption_public),
                         (signet.signing, signet.encryption))

    def test_other_things_are_no_keys_and_no_signets(self):
        for octets in (b"", b"\x07", load("libdime/signets/alice.signet.bin"), bytes(80)):
            self.assertRaises(keys.BadKey, keys.key_read, octets)
        alice = load("libdime/signets/alice.signet.bin")
        for octets in (b"", bytes(80), alice[:-1], alice + b"\0",
                       alice[:10] + bytes([alice[10] ^ 1]) + alice[11:]):
            self.assertRaises(keys.BadKey, keys.signet_read, octets)


class MadeAgain(unittest.TestCase):
    def test_every_shared_message_from_what_the_actors_see_of_it(self):
        """Keyslots, padding, chunk signatures, tree form, all of them: nothing is left that is
        not understood."""
        for where, table in (("messages", WELL_FORMED), ("independent", INDEPENDENT)):
            for name in table:
                with self.subTest(name):
                    octets = load("libdime", where, name + ".bin")
                    views = {role: libdime_open(octets, role) for role in ROLES}
                    spec = libdime_spec(tree="libdime", **making.describe(views))
                    tracing = views["author"].message.tracing
                    if tracing is not None:
                        spec["tracing"] = {"hex": tracing.hex()}
                    self.assertEqual(making.make(spec), octets)

    def test_the_origin_signs_as_libdime_does(self):
        key = libdime_key("orga")
        for name, bounce in (("m1.signed", (248, 249)), ("m2.signed", (248, 249)),
                             ("m3.signed", (248, 249)), ("m4.signed", (248, 249)),
                             ("m1.nobounce", ()), ("m1.flags2", (249,))):
            authors = load("libdime/messages", name.split(".")[0] + ".author.bin")
            self.assertEqual(making.origin_sign(authors, key, bounce=bounce),
                             load("libdime/messages", name + ".bin"), name)


class Made(unittest.TestCase):
    """Messages of our own."""

    def test_every_kind_of_part_opens_for_all_four(self):
        parts = [{"type": 65, "text": "Children: 1\r\n\r\n"},
                 {"type": 67, "text": "first"}, {"type": 66, "text": "Children: 1\r\n\r\n"},
                 {"type": 67, "fill": {"size": 5000}, "gzip": True},
                 {"type": 67, "hex": "00ff" * 300, "pieces": [1, 597, 1, 1]},
                 {"type": 129, "text": "Children: 1\r\n\r\n"}, {"type": 131, "base64": "AAAA"},
                 {"type": 130, "text": "Children: 1\r\n\r\n"},
                 {"type": 131, "text": "alternate",
                  "padding": {"alternate": True, "blocks": 4}},
                 {"type": 131, "fill": {"size": 9000, "octet": 7}, "gzip": "if-smaller"},
                 {"type": 131, "text": "ab", "gzip": "if-smaller"}]
        octets = made(parts=parts)
        self.assertEqual(summaries(octets), "AAAA")
        self.assertEqual(content(octets), [
            b"Children: 1\r\n\r\n", b"first", b"Children: 1\r\n\r\n", b"a" * 5000,
            b"\0\xff" * 300, b"Children: 1\r\n\r\n", bytes(3), b"Children: 1\r\n\r\n",
            b"alternate", b"\7" * 9000, b"ab"])
        flags = [s.payload.flags for s in libdime_open(octets, "author").seen
                 if s.chunk.type in m.CONTENT]
        self.assertEqual(flags, [0, 0, 0, 4, 128, 128, 128, 0, 0, 0, 0, 1, 4, 0])

    def test_the_default_is_what_the_decisions_ask(self):
        opened = libdime_open(made(), "author")
        self.assertEqual([c.type for c in opened.message.chunks],
                         [2, 4, 5, 33, 34, 67, 225, 226, 248, 249, 255])
        sizes = {s.chunk.type: len(s.chunk.payload) for s in opened.seen}
        self.assertEqual((sizes[4], sizes[5]), (512, 512))
        self.assertEqual(opened.signatures[m.TREE].variant, "correct")
        view = libdime_view("author")
        agrees = opening.report(opened, view)["agrees"]
        self.assertEqual(agrees["Author-Signet"], "core")
        self.assertEqual(agrees["Destination-Signet"], "full")

    def test_the_same_seed_gives_the_same_octets(self):
        self.assertEqual(made(), made())
        self.assertNotEqual(made(), made(seed="other"))
        self.assertEqual(made(seed="other"), making.make(libdime_spec(), seed="other"))
        self.assertNotEqual(made(seed=None), made(seed=None))

    def test_what_the_envelope_says_is_compared_with_the_signets(self):
        spec = libdime_spec()
        spec["recipient"].update(name="mallory@other.example", print="A" * 86)
        spec["origin"].update(name="other.example", print="core")
        view = libdime_view("destination")
        opened = opening.open_message(making.make(spec), view)
        self.assertTrue(opened.accepted)
        self.assertEqual(opening.report(opened, view)["agrees"], {
            "Recipient": False, "Recipient-Signet": None, "Origin": False,
            "Origin-Signet": "core"})

    def test_nothing_random_repeats(self):
        seen = []
        for n in range(20):
            octets = made(seed=n)
            for role in ("author", "recipient"):
                for s in libdime_open(octets, role).seen:
                    if s.slot_random is not None:
                        seen.append(s.slot_random)
                        if role == "author":
                            seen += [s.iv, s.key]
            seen.append(m.parse(octets).find(m.EPHEMERAL).payload)
        self.assertEqual(len(seen), len(set(seen)))

    def test_padding_of_small_data_differs_in_amount_and_is_enough(self):
        sizes = set()
        for n in range(60):
            part = {"type": 67, "fill": {"size": 200}}
            for c in m.parse(made(seed=n, parts=[part])).chunks:
                if c.type == 67:
                    sizes.add(len(c.payload))
        self.assertGreater(len(sizes), 5)
        self.assertGreaterEqual(min(sizes), 272)
        self.assertLessEqual(max(sizes), 69 + 200 + 255)

    def test_absent_chunks_that_may_be_absent(self):
        for without in ([34], [248], [249], [248, 249], [34, 248, 249]):
            self.assertEqual(summaries(made(without=without)), "AAAA", without)

    def test_tracing_of_either_form_and_both(self):
        chunk = [{"type": 0, "text": "seen at noon"}] + standard()
        for octets in (made(tracing={"text": "a"}), made(chunks=chunk),
                       made(tracing={"text": ""}, chunks=chunk)):
            self.assertEqual(summaries(octets), "AAAA")

    def test_an_alternate_chunk_is_kept_and_counts(self):
        chunks = standard()
        chunks.insert(1, {"type": 3, "text": "another key"})
        self.assertEqual(summaries(made(chunks=chunks)), "AAAA")
        edits = [{"op": "flip", "chunk": 1, "at": 40}]
        self.assertEqual(summaries(made(chunks=chunks, edits=edits))[2], "R")

    def test_an_alternate_chunk_is_never_compressed_or_continued(self):
        for flags, expected in ((2, "aAAa"), (4, "CAAC"), (6, "CAAC"), (130, "CAAC")):
            chunks = standard()
            chunks.insert(1, {"type": 3, "text": "another key", "flags": flags})
            self.assertEqual(summaries(made(chunks=chunks)), expected, flags)

    def test_the_sok_that_may_sign_messages_signs(self):
        seeds = dict(re.findall(r"perm=(\d+) seed=(\w+)",
                                load("libdime/signets/orgb.soks.txt").decode()))
        for perm, wanted in (("1", "R"), ("2", "A"), ("15", "A"), ("17", "R")):
            spec = libdime_spec(signer={"seed": seeds[perm]})
            spec["origin"]["signet"] = signets_path("orgb.signet")
            spec["origin"]["key"] = signets_path("orgb.key")
            opened = libdime_open(making.make(spec), "destination",
                                  org=libdime_signet("orgb"))
            self.assertEqual(summary(opened), wanted, perm)

    def test_one_organization_as_origin_and_destination(self):
        spec = libdime_spec()
        spec["destination"] = {"signet": signets_path("orga.signet")}
        octets = making.make(spec)
        self.assertEqual(summaries(octets)[:2], "AA")
        view = libdime_view("destination")
        view.key = libdime_key("orga")
        self.assertEqual(summary(opening.open_message(octets, view)), "A")


class Tree(unittest.TestCase):
    def verdict(self, octets, role="recipient"):
        tree = libdime_open(octets, role).signatures[m.TREE]
        return tree.state, tree.variant

    def test_both_readings_with_a_good_226(self):
        for variant in ("correct", "libdime"):
            octets = made(tree=variant)
            for role in ("author", "origin", "recipient"):
                self.assertEqual(self.verdict(octets, role), ("ok", variant))
            self.assertEqual(summaries(octets), "AAAA")

    def test_the_libdime_form_counts_for_nothing_with_a_bad_226(self):
        octets = made(tree="libdime", **{"with": {"226": {"signature": "bad"}}})
        self.assertEqual(self.verdict(octets), ("bad", "libdime"))
        self.assertEqual(summaries(octets), "RRAR")

    def test_the_correct_form_holds_with_a_bad_226(self):
        octets = made(**{"with": {"226": {"signature": "bad"}}})
        self.assertEqual(self.verdict(octets), ("ok", "correct"))
        self.assertEqual(libdime_open(octets, "recipient").authentic_by, [m.TREE])
        self.assertEqual(summaries(octets), "ARAA")

    def test_the_libdime_form_does_not_see_chunk_5_and_the_correct_one_does(self):
        for variant, wanted in (("libdime", "libdime"), ("correct", None)):
            octets = made(tree=variant, edits=[{"op": "flip", "chunk": 2, "at": -1}])
            opened = libdime_open(octets, "origin")
            signature = opened.signatures[m.TREE].signature
            self.assertEqual(crypto.tree_variant(opened.message.chunks, signature,
                                                 libdime_signet("alice").signing), wanted)
            self.assertEqual(opened.signatures[m.TREE].state, "bad")

    def test_the_form_is_what_the_interoperability_page_says(self):
        chunks = m.parse(made(parts=[{"type": 67, "text": "a"}, {"type": 131, "text": "b"}]))
        digest = {c.type: hashlib.sha512(c.octets()).digest() for c in chunks.chunks}
        order = (2, 4, 33, 34, 67, 131)
        self.assertEqual(crypto.tree_input(chunks.chunks, "libdime"),
                         b"".join(digest[t] for t in order) + bytes(64))
        self.assertEqual(crypto.tree_input(chunks.chunks),
                         b"".join(digest[t] for t in (2, 4, 5, 33, 34, 67, 131)))

    def test_exchanged_ciphertexts_break_both_but_not_255(self):
        parts = [{"type": 67, "text": "a", "padding": {"total": 186}},
                 {"type": 67, "text": "b", "padding": {"total": 186}}]
        octets = made(parts=parts, edits=[{"op": "swap-payloads", "chunks": [5, 6],
                                           "when": "author"}])
        opened = libdime_open(octets, "recipient")
        self.assertEqual([opened.signatures[k].state for k in (225, 226, 255)],
                         ["bad", "bad", "ok"])
        self.assertEqual(summaries(octets), "RRAR")

    def test_a_chunk_of_another_message_has_a_good_signature_and_proves_nothing(self):
        first = libdime_open(made(parts=[{"type": 67, "text": "yes"}]), "recipient")
        lifted = next(s for s in first.seen if s.chunk.type == 67)
        chunks = standard({"type": 67, "plain": {"hex": lifted.plain.hex()}})
        mallory = {"seed": "11" * 32}
        for entry in chunks:
            if entry["type"] in (225, 226):
                entry["signer"] = mallory
        opened = libdime_open(made(chunks=chunks), "recipient")
        seen = next(s for s in opened.seen if s.chunk.type == 67)
        self.assertEqual((seen.signed, opened.authentic_by), ("ok", []))
        self.assertEqual(summary(opened), "R")


class Structure(unittest.TestCase):
    """With good signatures over what is there, so that structure alone decides."""

    def moved(self, *types):
        chunks = standard({"type": 67, "text": "a"}, {"type": 131, "text": "b"})
        by = {c["type"]: c for c in chunks}
        rest = [c for c in chunks if c["type"] not in types]
        at = next(i for i, c in enumerate(chunks) if c["type"] in types)
        return rest[:at] + [by[t] for t in types] + rest[at:]

    def test_the_order_that_is_asked_for(self):
        self.assertEqual(summaries(made(chunks=self.moved(4, 5))), "AAAA")
        for types in ((5, 4), (34, 33), (226, 225), (249, 248), (255, 249), (131, 67),
                      (4, 2), (67, 33, 34), (225, 67)):
            self.assertEqual(summaries(made(chunks=self.moved(*types))), "CCCC", types)

    def test_nothing_but_content_is_repeated(self):
        for entry in standard():
            chunks = standard()
            chunks.insert(chunks.index(entry), copy.deepcopy(entry))
            wanted = "AAAA" if entry["type"] == 67 else "CCCC"
            self.assertEqual(summaries(made(chunks=chunks)), wanted, entry)

    def test_what_is_required_is_missed(self):
        for kind in (2, 4, 5, 33, 67, 225, 226):
            self.assertEqual(summaries(made(without=[kind])), "CCCC", kind)
        attachment = [{"type": 131, "text": "a"}]
        self.assertEqual(summaries(made(parts=attachment)), "CCCC")
        self.assertEqual(summaries(made(without=[255])), "UUUU")
        self.assertEqual(summaries(made(without=[255, 226])), "CCCC")

    def test_headings_and_unknown_types(self):
        for kind in (1, 32, 64, 128, 224, 6, 35, 68, 200, 250):
            chunks = sorted(standard() + [{"type": kind, "slots": 2, "text": "x", "flags": 0}],
                            key=lambda c: c["type"])
            self.assertEqual(summaries(made(chunks=chunks)), "CCCC", kind)

    def test_tracing_elsewhere_or_twice(self):
        trace = {"type": 0, "text": "t"}
        self.assertEqual(summaries(made(chunks=[trace, trace] + standard())), "CCCC")
        self.assertEqual(summaries(made(chunks=standard() + [trace])), "CCCC")

    def test_lengths(self):
        plain = {"fill": {"size": 250}}
        for entry in ({"plain": plain}, {"declared": 16_777_215, "text": "a"},
                      {"declared": 16_777_200, "text": "a"},
                      {"plain": {"fill": {"size": 64}}}, {"plain": {"text": ""}}):
            octets = made(parts=[{"type": 67} | entry])
            self.assertEqual(summaries(octets), "CCCC", entry)
        for kind in ("225", "226", "248", "249", "255"):
            octets = made(**{"with": {kind: {"extra": 16}}})
            self.assertEqual(summaries(octets), "CCCC", kind)

    def test_header(self):
        self.assertEqual(summaries(made(magic=1846)), "MMMM")
        self.assertEqual(summaries(made(magic=1908)), "MMMM")
        self.assertEqual(summaries(made(length_wrong_by=1)), "CCCC")
        self.assertEqual(summaries(made(length_wrong_by=-1)), "CCCC")

    def test_ephemeral_keys(self):
        good = crypto.secp256k1_public(bytes(31) + b"\7")
        off = next(bytes([2]) + x.to_bytes(32, "big") for x in range(1, 99)
                   if pow(x ** 3 + 7, (PRIME - 1) // 2, PRIME) != 1)
        for octets in (good[:-1], good + b"\0", b"\4" + good[1:], b"\4" + bytes(64), off,
                       b"\2" + PRIME.to_bytes(32, "big"), bytes(33), b""):
            spec = {"2": {"payload": {"hex": octets.hex()}}}
            self.assertEqual(summaries(made(**{"with": spec})), "CCCC", octets.hex())

    def test_truncated_anywhere(self):
        octets = appendix("MSG")
        for size in range(len(octets)):
            self.assertRaises(m.Bad, m.parse, octets[:size])
            if size > 5:
                told = octets[:2] + (size - 6).to_bytes(4, "big") + octets[6:size]
                self.assertRaises(m.Bad, m.parse, told)

    def test_a_bit_flipped_anywhere(self):
        """Only keyslots in 255 for somebody else are nobody's concern."""
        octets = appendix("MSG")
        last = len(octets) - 64 * 4
        for at in list(range(0, len(octets), 7)):
            opened = appendix_open(octets[:at] + bytes([octets[at] ^ 1 << at % 8]) +
                                   octets[at + 1:], "recipient")
            elsewhere = last <= at < len(octets) - 64
            self.assertEqual(opened.state == "ok" and opened.accepted and
                             opened.signatures[m.ORG].state == "ok", elsewhere, at)

    def test_too_large_for_the_limit(self):
        octets = made()
        self.assertEqual(summary(libdime_open(octets, "author", limit=len(octets))), "A")
        self.assertEqual(summary(libdime_open(octets, "author", limit=len(octets) - 1)), "L")


PRIME = 2 ** 256 - 2 ** 32 - 977


class Payloads(unittest.TestCase):
    def one(self, **entry):
        return states(made(parts=[{"type": 67, "text": "good"},
                                  {"type": 67, "text": "hello"} | entry]))

    def test_every_padding_that_aligns(self):
        maker = making.Maker(libdime_spec())
        for total in range(257):
            size = 640 - crypto.FIXED - total
            part = {"type": 67, "fill": {"size": size}, "padding": {"total": total}}
            p = crypto.payload_split(maker.plain(maker.pieces(part)[0]))
            crypto.payload_check(p, libdime_signet("alice").signing)
            self.assertEqual((len(p.padding), p.pad), (total, total % 256))

    def test_more_than_the_octet_says(self):
        for entry in ({"padding": {"total": 272 + 6}}, {"padding": {"total": 16 * 18 + 6 - 16},
                                                        "pad": 0}):
            self.assertEqual(self.one(**entry), ["ok", "corrupt"], entry)

    def test_the_alternate_padding(self):
        def padded(size, total, octet, flags=1):
            p = crypto.Payload(b"", size, flags, octet, b"d" * size + bytes([octet]) * total, b"")
            try:
                crypto.payload_check(p)
                return True
            except crypto.Corrupt:
                return False

        self.assertTrue(padded(6, 5 + 48, 3))  # 69 + 6 = 75
        self.assertFalse(padded(6, 5 + 48, 3, 0))
        self.assertFalse(padded(6, 5 + 32, 3))
        self.assertFalse(padded(6, 5 + 64, 3))
        self.assertTrue(padded(6, 5, 0))
        self.assertTrue(padded(6, 5 + 4080, 255))
        self.assertTrue(padded(11, 0, 0))  # 80
        self.assertTrue(padded(11, 16, 0))  # libdime adds 16 then
        self.assertTrue(padded(11, 64, 3))
        self.assertTrue(padded(11, 48, 3))
        self.assertFalse(padded(11, 80, 3))

    def test_faults_of_one_chunk_leave_the_others(self):
        for entry in ({"signature": "bad"}, {"signature": "placeholder"},
                      {"signer": {"seed": "22" * 32}},
                      {"length": 16_000_000}, {"length": 6}, {"length": 4},
                      {"text": "eleven octs", "padding": {"total": 0}, "length": 12},
                      {"flags": 8}, {"flags": 16}, {"flags": 32}, {"flags": 64},
                      {"padding": {"total": 182, "wrong_at": [0]}},
                      {"padding": {"total": 182, "wrong_at": [-1]}},
                      {"padding": {"total": 182, "octet": 3}},
                      {"padding": {"total": 6}, "pad": 5},
                      {"dead_slots": [1]}):
            self.assertEqual(self.one(**entry), ["ok", "corrupt"], entry)
        self.assertEqual(self.one(), ["ok", "ok"])
        self.assertEqual(self.one(text="eleven octs", padding={"total": 0}), ["ok", "ok"])
        self.assertEqual(self.one(dead_slots=[0]), ["ok", "ok"])

    def test_length_zero_is_the_end_of_the_whole_message(self):
        self.assertEqual(self.one(length=0), "corrupt")
        self.assertEqual(summaries(made(parts=[{"type": 67, "text": ""}])), "CAAC")
        octets = made(parts=[{"type": 67, "text": "a", "length": 0, "signature": "bad"}])
        self.assertEqual(states(octets), ["corrupt"])

    def test_the_alternate_key_is_waited_for(self):
        octets = made(parts=[{"type": 67, "text": "a"}, {"type": 67, "text": "b", "flags": 2}])
        self.assertEqual(states(octets), ["ok", "alternate"])
        self.assertTrue(libdime_open(octets, "recipient").accepted)

    def test_gzip(self):
        text = b"some text " * 30
        packed = zlib.compressobj(9, zlib.DEFLATED, 31)
        packed = packed.compress(text) + packed.flush()

        def entry(octets):
            octets = made(parts=[{"type": 67, "hex": octets.hex(), "flags": 4}])
            return states(octets)

        self.assertEqual(entry(packed), ["ok"])
        for bad in (text, packed[:-1], packed[:-9], packed + b"\0", packed + packed,
                    packed[:-4] + bytes(4), packed[:-8] + bytes(8), zlib.compress(text)):
            self.assertEqual(entry(bad), ["corrupt"])

    def test_gzip_has_a_limit(self):
        bomb = crypto.gzip(bytes(8 << 20))
        self.assertRaises(crypto.Corrupt, crypto.gunzip, bomb)  # 1000:1
        for size in (1 << 20, (1 << 20) - 1):
            self.assertEqual(len(crypto.gunzip(crypto.gzip(bytes(size)))), size)
        self.assertRaises(crypto.Corrupt, crypto.gunzip, crypto.gzip(bytes((1 << 20) + 1)))
        self.assertEqual(crypto.gunzip(crypto.gzip(b"ab"), 2), b"ab")
        self.assertRaises(crypto.Corrupt, crypto.gunzip, crypto.gzip(b"abc"), 2)

    def test_faults_of_the_envelope_are_the_messages(self):
        for kind, wanted in (("4", "CCAC"), ("5", "CACC"), ("33", "CAAC"), ("34", "CAAC")):
            for entry in ({"signature": "bad"}, {"flags": 8}, {"flags": 128}):
                octets = made(**{"with": {kind: entry}})
                ours = wanted
                if kind == "5" and "signature" in entry:
                    ours = "CAAC"  # the destination does not know whose it is
                self.assertEqual(summaries(octets), ours, (kind, entry))


class Spans(unittest.TestCase):
    def pieces(self, *flags):
        return [{"type": 67, "text": "piece%d" % i, "flags_exactly": f}
                for i, f in enumerate(flags)]

    def test_joined_in_order(self):
        octets = made(parts=self.pieces(128, 128, 128, 0) + self.pieces(0))
        self.assertEqual(content(octets), [b"piece0piece1piece2piece3", b"piece0"])

    def test_more_pieces_than_needed(self):
        self.assertEqual(states(made(parts=self.pieces(128, 128, 128, 128, 0))), ["corrupt"])

    def test_more_pieces_than_four_if_they_are_large(self):
        def pieces(n, size):
            return [crypto.Payload(b"", size, 128 if i + 1 < n else 0, 0, b"", b"")
                    for i in range(n)]

        crypto.span_check(pieces(4, 1))
        crypto.span_check(pieces(5, 14_000_000))
        self.assertRaises(crypto.Corrupt, crypto.span_check, pieces(6, 3_500_000))
        exact = pieces(5, m.MAX_DATA)
        exact[4].length = 0
        self.assertRaises(crypto.Corrupt, crypto.span_check, exact)  # 67,108,524
        exact[4].length = 1
        crypto.span_check(exact)

    def test_the_last_piece_is_missing(self):
        self.assertEqual(states(made(parts=self.pieces(0, 128))), ["ok", "corrupt"])
        attachment = {"type": 131, "text": "a"}
        self.assertEqual(states(made(parts=self.pieces(128) + [attachment])),
                         ["corrupt", "ok"])

    def test_other_flags_in_one_piece(self):
        self.assertEqual(states(made(parts=self.pieces(128 | 4, 0))), ["corrupt"])
        self.assertEqual(states(made(parts=self.pieces(128, 2))), ["corrupt"])

    def test_one_corrupt_piece_takes_the_others_with_it(self):
        for number in range(3):
            part = {"type": 67, "fill": {"size": 300}, "pieces": [100, 100, 100],
                    "on_piece": {str(number): {"signature": "bad"}}}
            octets = made(parts=[{"type": 67, "text": "a"}, part, {"type": 67, "text": "b"}])
            self.assertEqual(states(octets), ["ok", "corrupt", "ok"])
            corrupt = [s.state for s in libdime_open(octets, "author").seen
                       if s.chunk.type == 67]
            self.assertEqual(corrupt, ["ok"] + ["corrupt"] * 3 + ["ok"])

    def test_compressed_then_split(self):
        data = b"".join(hashlib.sha512(bytes([n])).digest() for n in range(64))
        packed = len(crypto.gzip(data))
        part = {"type": 67, "base64": base64.b64encode(data).decode(), "gzip": True,
                "pieces": [1000, 7, packed - 1007]}
        self.assertEqual(content(made(parts=[part])), [data])

    def test_data_one_octet_too_large_for_a_chunk_is_split(self):
        for size, chunks in ((m.MAX_DATA, 1), (m.MAX_DATA + 1, 2)):
            octets = made(parts=[{"type": 67, "fill": {"size": size}}], without=[248, 249])
            opened = libdime_open(octets, "recipient")
            self.assertEqual(summary(opened), "A")
            part = next(p for p in opened.parts if p.type == 67)
            self.assertEqual((len(part.chunks), len(part.data)), (chunks, size))


class Texts(unittest.TestCase):
    def test_the_envelope_is_exactly_so(self):
        fingerprint = "B" * 85 + "A"
        good = texts.envelope(4, "a@b", "A" * 86, "c", fingerprint)
        self.assertEqual(list(texts.envelope_read(4, good).values()),
                         ["a@b", "A" * 86, "c", fingerprint])
        lines = good.split(b"\r\n")[:-1]
        for bad in (good + b"X: y\r\n", good.replace(b"\r\n", b"\n"), good[:-2], b"",
                    b"\r\n".join([lines[1], lines[0]] + lines[2:]) + b"\r\n",
                    good.replace(b"b>", b"b"), good.replace(b"A" * 86, b"A" * 85),
                    good.replace(b"A" * 86, b"A" * 87), good.replace(b"Author", b"author"),
                    good.replace(b"a@b", b"a\x80b"), good.replace(b"a@b", b"a\tb"),
                    good.replace(b"a@b", b""), good.replace(b"a@b", b"<a@b>"),
                    good.replace(fingerprint.encode(), b"B" * 86),
                    good.replace(b": ", b":"), good + b"\n"):
            self.assertRaises(crypto.Corrupt, texts.envelope_read, 4, bad)
        self.assertRaises(crypto.Corrupt, texts.envelope_read, 5, good)

    def test_names_in_the_envelope_are_spelt_one_way(self):
        longest = "aa." + ".".join(["b" * 61] * 4) + ".cc"
        for name, domain in (("a@b", "c"), ("a.b+c'd@x-y.example", "1.example"),
                             ("a" * 64 + "@" + "b" * 63, longest)):
            text = texts.envelope(5, name, "A" * 86, domain, "A" * 86)
            self.assertEqual(texts.envelope_read(5, text)["Origin"], domain)
        for name, domain in (("A@b", "c"), ("a@B", "c"), ("a@b", "C"), ("a", "c"), ("@b", "c"),
                             ("a@", "c"), ("a@b@c", "c"), (".a@b", "c"), ("a.@b", "c"),
                             ("a..b@c", "c"), ("a b@c", "c"), ('"a"@c', "c"), ("a@b", "c."),
                             ("a@b", ".c"), ("a@b", "c..d"), ("a@b", "-c"), ("a@b", "c-"),
                             ("a@b", "c_d"), ("a@b", "127.0.0.1"), ("a@b", "c" * 64),
                             ("a@b", "d@c"), ("a" * 65 + "@b", "c"), ("a@b", longest + "c"),
                             ("a@" + longest, "c")):
            text = texts.envelope(5, name, "A" * 86, domain, "A" * 86)
            self.assertRaises(crypto.Corrupt, texts.envelope_read, 5, text)

    def test_common_headers_in_any_order_but_once(self):
        values = {"Subject": "s", "Date": "d", "CC": "c", "From": "f", "To": "t"}
        self.assertEqual(texts.common(values),
                         b"Date: d\r\nTo: t\r\nCC: c\r\nFrom: f\r\nSubject: s\r\n")
        self.assertEqual(texts.common({}), b"Date: \r\nTo: \r\nFrom: \r\nSubject: \r\n")
        self.assertEqual(texts.common_read(b"Subject: s: \xc3\xa4\r\nTo: t\r\n"),
                         {"Subject": "s: \u00e4", "To": "t"})
        for bad in (b"", b"To: a\r\nTo: b\r\n", b"X-Foo: a\r\n", b"to: a\r\n", b"To: a",
                    b"To: a\n", b"To: a\r\n b\r\n", b"To: a\r\n\r\n", b"To: \xff\r\n",
                    b"To: a\rb\r\n", b"To: a\0\r\n"):
            self.assertRaises(crypto.Corrupt, texts.common_read, bad)

    def test_texts_that_are_wrong_make_the_message_corrupt(self):
        for kind, wanted in (("4", "CCAC"), ("5", "CACC"), ("33", "CAAC")):
            octets = made(**{"with": {kind: {"text": "X-Foo: <a>\r\n" + "y" * 300}}})
            self.assertEqual(summaries(octets), wanted, kind)


class Armor(unittest.TestCase):
    def test_any_form_is_read(self):
        for size in range(1, 70):
            octets = hashlib.sha512(bytes([size])).digest() * 2
            octets = octets[:size]
            for width in (1, 64, 76, 1000):
                for padding in (False, True):
                    for crc in (False, True):
                        for end in ("\n", "\r\n"):
                            text = texts.armor(octets, texts.LABEL, width, padding, crc, end)
                            self.assertEqual(texts.binary(text.encode()), octets)

    def test_what_is_written_has_64_columns_and_nothing_more(self):
        lines = texts.armor(bytes(100)).splitlines()
        self.assertEqual([len(line) for line in lines[1:-1]], [64, 64, 6])
        self.assertEqual(lines[0], "-----BEGIN ENCRYPTED MESSAGE-----")

    def test_text_around_it_and_the_label_say_nothing(self):
        text = "Dear B\u00f6b,\r\n\n" + texts.armor(bytes(100), "USER SIGNET") + "\nyours"
        self.assertEqual(texts.binary(text.encode()), bytes(100))

    def test_what_is_no_armor(self):
        good = texts.armor(bytes(100), crc=True)
        for bad in (good.replace("\n=", "\n=B", 1).replace("=BA", "=B"),
                    texts.armor(bytes(100), "PRIVATE KEY"), good.replace("AAAA\n", "AAA\n", 1),
                    good.replace("\n", "\n\n"), good + good, texts.armor(b""),
                    texts.armor(b"a").replace("YQ", "YR"),
                    good.replace("END ENC", "END UNENC"), texts.armor(b"abc").replace("YWJj", "Y"),
                    texts.armor(b"abc").replace("YWJj", "YWJjZ"),
                    texts.armor(b"abc").replace("YWJj", "YW Jj"),
                    texts.armor(b"a").replace("YQ", "YQ="), good[:-30]):
            self.assertRaises(texts.BadArmor, texts.binary, bad.encode())


class CommandLine(unittest.TestCase):
    def run_it(self, *args, text=None):
        done = subprocess.run([sys.executable, "-m", "dmime_py", *args], cwd=HERE, input=text,
                              capture_output=True, check=False,
                              env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"})
        return done.returncode, done.stdout, done.stderr

    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.out = os.path.join(self.dir.name, "out.bin")

    def opened(self, message, role, *more, command="open"):
        people = ("--author-signet", signets_path("alice.signet"), "--org-signet",
                  signets_path("orga.signet"))
        status, out, err = self.run_it(command, message, "--as", role, "--key",
                                       signets_path(HOLDER[role] + ".key"), *people, *more)
        self.assertEqual(err, b"")
        report = json.loads(out)
        canonical = json.dumps(report, sort_keys=True, separators=(",", ":")) + "\n"
        self.assertEqual(out.decode(), canonical)
        self.assertEqual(status, 0 if report["accepted"] else 1)
        return report

    def test_new_open_and_verify(self):
        spec = os.path.join(self.dir.name, "spec.json")
        with open(os.path.join(self.dir.name, "part.bin"), "wb") as f:
            f.write(b"from a file")
        with open(spec, "w", encoding="ascii") as f:
            json.dump(libdime_spec(parts=[{"type": 67, "file": "part.bin"}], armor=True), f)
        self.assertEqual(self.run_it("new", "--spec", spec, self.out), (0, b"", b""))
        report = self.opened(self.out, "recipient", "--trace")
        self.assertEqual(base64.b64decode(report["parts"][4]["data"]), b"from a file")
        self.assertEqual(report["envelope"]["5"]["Recipient"], "bob@orgb.example")
        self.assertEqual(report["signatures"]["225"]["variant"], "correct")
        self.assertEqual(len(bytes.fromhex(report["kek"]["key"])), 32)
        self.assertNotIn("kek", self.opened(self.out, "recipient"))
        report = self.opened(self.out, "destination", command="verify")
        self.assertEqual(report["signatures"]["255"], {"state": "ok"})
        self.assertNotIn("parts", report)

    def test_seed_of_the_command_line(self):
        text = json.dumps(libdime_spec()).encode()
        first = self.run_it("new", "--spec", "-", "--seed", "1", "-", text=text)
        self.assertEqual(first, self.run_it("new", "--spec", "-", "--seed", "1", "-", text=text))
        self.assertNotEqual(first, self.run_it("new", "--spec", "-", "-", text=text))
        self.assertEqual(first[1], making.make(libdime_spec(), seed="1"))

    def test_show_needs_no_key(self):
        status, out, _ = self.run_it("show", os.path.join(
            VECTORS, "libdime/messages/m1.traced.bin"))
        report = json.loads(out)
        self.assertEqual((status, report["state"], len(report["chunks"])), (0, "ok", 11))
        status, out, _ = self.run_it("show", os.path.join(
            VECTORS, "libdime/malformed/messages/dup-orgsig.bin"))
        report = json.loads(out)
        self.assertEqual((status, report["state"], len(report["chunks"])), (1, "corrupt", 12))

    def test_sign(self):
        source = os.path.join(VECTORS, "libdime/messages/m1.author.bin")
        for without, name in (("", "m1.signed"), ("248,249", "m1.nobounce")):
            done = self.run_it("sign", source, self.out, "--key", signets_path("orga.key"),
                               "--without", without)
            self.assertEqual(done, (0, b"", b""))
            with open(self.out, "rb") as f:
                self.assertEqual(f.read(), load("libdime/messages", name + ".bin"))

    def test_every_shared_message_gives_a_report_and_no_traceback(self):
        for directory in ("messages", "independent", "malformed/messages"):
            for name in names("libdime", directory)[::5]:
                self.opened(os.path.join(VECTORS, "libdime", directory, name + ".bin"),
                            "recipient", "--trace")

    def test_mistakes_of_the_caller(self):
        message = os.path.join(VECTORS, "libdime/messages/m1.signed.bin")
        for args in (("show", "/nowhere"), ("open", message, "--as", "recipient", "--key", message),
                     ("open", message, "--as", "nobody", "--key", message), (),
                     ("new", "--spec", message, self.out)):
            status, out, err = self.run_it(*args)
            self.assertEqual((status, out), (2, b""), args)
            self.assertNotIn(b"Traceback", err)
        early = [{"op": "flip", "chunk": 9, "at": 0, "when": "author"}]
        short = [{"type": 67, "text": "a", "pieces": [3]}]
        for text in (b"{}", b"[", b"[]", *(json.dumps(libdime_spec(**wrong)).encode()
                                           for wrong in ({"parts": 7}, {"edits": early},
                                                         {"parts": short}))):
            status, _, err = self.run_it("new", "--spec", "-", self.out, text=text)
            self.assertEqual(status, 2)
            self.assertNotIn(b"Traceback", err)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    VECTORS = os.path.abspath(sys.argv.pop(1))
    unittest.main()
