"""The four people of a message, with their keys and signets in files that both programs read."""

import hashlib
import os
from dataclasses import dataclass, field

from dmime_py import texts

ROLES = ("author", "origin", "destination", "recipient")
KEY_LABELS = {1952: "ORGANIZATIONAL KEY", 2013: "USER KEY"}
KEY_OF_ORG, KEY_OF_USER = KEY_LABELS


@dataclass
class World:
    name: str
    signets: dict  # role: path
    keys: dict  # role: path
    # Seeds of keys other than the POK that may sign messages of the origin, and of those that
    # are in its signet for something else.
    may_sign: list = field(default_factory=list)
    may_not_sign: list = field(default_factory=list)

    def people(self):
        """The part of a description that says who is who."""
        return {role: {"signet": self.signets[role], "key": self.keys[role]} for role in ROLES}


def of_libdime(name, vectors, people, **more):
    def path(person, suffix):
        return os.path.join(vectors, "libdime", "signets", person + suffix)

    return World(name, {r: path(p, ".signet") for r, p in zip(ROLES, people)},
                 {r: path(p, ".key") for r, p in zip(ROLES, people)}, **more)


def soks_of_orgb(vectors):
    """permissions: seed"""
    with open(os.path.join(vectors, "libdime", "signets", "orgb.soks.txt"),
              encoding="ascii") as f:
        lines = [dict(word.split("=") for word in line.split() if "=" in word)
                 for line in f if line.startswith("sok")]
    return {int(line["perm"]): line["seed"] for line in lines}


def key_text(magic, seed, scalar):
    second = 3 if magic == KEY_OF_ORG else 2
    body = b"\1\x20" + seed + bytes([second]) + b"\0\x20" + scalar
    octets = magic.to_bytes(2, "big") + len(body).to_bytes(3, "big") + body
    return texts.armor(octets, KEY_LABELS[magic], padding=True, crc=True)


def write(directory, name, octets):
    path = os.path.join(directory, name)
    with open(path, "wb") as f:
        f.write(octets)
    return path


def h256(text):
    return hashlib.sha256(text.encode()).digest()


# Of the conformance cases' appendix A: its object, magic of the key, seed, text of the scalar
APPENDIX = {
    "author": ("USER1", KEY_OF_USER, "c5aa8df43f9f837bedb7442f31dcb7b1"
                                     "66d38535076f094b85ce3a2e0b4458f7", "alice enc"),
    "origin": ("ORG2", KEY_OF_ORG, "9d61b19deffd5a60ba844af492ec2cc4"
                                   "4449c5697b326919703bac031cae7f60", "origin enc"),
    "destination": ("DEST", KEY_OF_ORG, h256("keyd-test example.org pok").hex(),
                    "destination enc"),
    "recipient": ("BOB", KEY_OF_USER, h256("keyd-test bob signing").hex(), "bob enc")}
APPENDIX_SOK = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"


def of_appendix(vectors, directory):
    signets, keys = {}, {}
    for role, (name, magic, seed, scalar) in APPENDIX.items():
        with open(os.path.join(vectors, "appendix", name + ".b64"), encoding="ascii") as f:
            octets = texts.unbase64(f.read().replace("\n", ""))
        signets[role] = write(directory, name + ".signet.bin", octets)
        text = key_text(magic, bytes.fromhex(seed), h256("keyd-test " + scalar))
        keys[role] = write(directory, name + ".key", text.encode())
    return World("appendix", signets, keys, may_sign=[APPENDIX_SOK])


def make_all(vectors, directory):
    """Two organizations, both ways; one organization; one person who writes to herself; signets
    in another layout. directory is for those files that are not there yet."""
    soks = soks_of_orgb(vectors)
    return [
        of_libdime("there", vectors, ("alice", "orga", "orgb", "bob")),
        of_libdime("back", vectors, ("bob", "orgb", "orga", "alice"),
                   may_sign=[soks[2], soks[15]], may_not_sign=[soks[1], soks[17]]),
        of_libdime("within", vectors, ("alice", "orga", "orga", "alice")),
        of_appendix(vectors, directory),
    ]
