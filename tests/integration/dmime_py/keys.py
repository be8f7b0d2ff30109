"""Key files and signets, as far as keys and fingerprints need. Nothing here validates a signet
beyond the self-signature that tells one layout from another."""

from dataclasses import dataclass, field

from . import crypto, texts

KEY_KINDS = {1952: "org", 2013: "user"}
SIGNET_KINDS = {1776: "org", 1789: "user"}
CORE = {"org": 4, "user": 6}
ENCRYPTION = {"org": 3, "user": 2}
SELF_SIGNATURE = {"org": 4, "user": 5}
SOK_MESSAGES = 2  # permission to sign messages
SOK_KNOWN = 15


class BadKey(Exception):
    pass


@dataclass
class Key:
    seed: bytes = None
    scalar: bytes = None

    @property
    def signing_public(self):
        return crypto.ed25519_public(self.seed)

    @property
    def encryption_public(self):
        return crypto.secp256k1_public(self.scalar)


@dataclass
class Signet:
    kind: str
    signing: bytes
    encryption: bytes
    soks: list = field(default_factory=list)  # (permissions, public key)
    name: str = None  # field 254
    prints: dict = field(default_factory=dict)  # core, full, id

    def message_keys(self):
        """Who may sign a message for the organization: the POK and SOKs with permission; a
        SOK with a reserved bit is ignored."""
        return [self.signing] + [k for perm, k in self.soks
                                 if perm & SOK_MESSAGES and not perm & ~SOK_KNOWN]


def header(octets, kinds):
    if len(octets) < 5:
        raise BadKey("%d octets" % len(octets))
    magic, size = int.from_bytes(octets[:2], "big"), int.from_bytes(octets[2:5], "big")
    if magic not in kinds or size != len(octets) - 5:
        raise BadKey("magic number %d, length %d of %d" % (magic, size, len(octets) - 5))
    return kinds[magic], octets[5:]


def key_read(octets):
    """A private key, armored or binary; the length of the second field has one octet or two."""
    kind, body = header(texts.binary(octets), KEY_KINDS)
    second = bytes([ENCRYPTION[kind]])
    for mark in (second + b"\0\x20", second + b"\x20"):
        if (body[:2] == b"\1\x20" and body[34:34 + len(mark)] == mark and
                len(body) == 34 + len(mark) + 32):
            return Key(body[2:34], body[-32:])
    raise BadKey("a key file of another layout")


# layout: octets of length before the signing key, the SOK, the encryption key and the
# identifier, and whether Ed25519 keys have a format octet
LAYOUTS = {"L": (1, 1, 2, 1, True), "M": (1, 1, 1, 1, True), "P": (1, 1, 1, 1, False),
           "S33": (0, 0, 0, 2, False)}


def length_width(kind, number, layout):
    """Octets of length, or minus the fixed size."""
    signing, sok, encryption, identifier, _ = LAYOUTS[layout]
    if number == 1:
        return signing or -32
    if number == 2 and kind == "org":
        return sok or -33
    if number == ENCRYPTION[kind]:
        return encryption or -33
    if number in (4, 253, 255) or (kind == "user" and number in (5, 6)):
        return -64
    if number == 3:
        return 2 if layout == "L" else 1
    if number == 254:
        return identifier
    if 16 <= number <= 159:
        return 1
    if 160 <= number <= 250:
        return 2
    if number == 252:
        return 3
    raise BadKey("field %d" % number)


def fields(kind, body, layout):
    """[(number, value, encoding)]"""
    out, at = [], 0

    def take(n):
        nonlocal at
        if n > len(body) - at:
            raise BadKey("a field that does not end")
        at += n
        return body[at - n:at]

    while at < len(body):
        start = at
        number = take(1)[0]
        if number == 251:
            value = take(take(1)[0]) + b"=" + take(int.from_bytes(take(2), "big"))
        else:
            width = length_width(kind, number, layout)
            value = take(-width if width < 0 else int.from_bytes(take(width), "big"))
        if out and out[-1][0] > number:
            raise BadKey("fields out of order")
        out.append((number, value, body[start:at]))
    return out


def ed25519_value(value, formatted):
    if formatted:
        if value[:1] != b"\x40":
            raise BadKey("format octet of a key")
        value = value[1:]
    if len(value) != 32:
        raise BadKey("a signing key of %d octets" % len(value))
    return value


def upto(split, last):
    return b"".join(encoding for number, _, encoding in split if number <= last)


def signet_build(kind, split, layout):
    formatted = LAYOUTS[layout][4]
    values = {number: value for number, value, _ in split}
    if 1 not in values or ENCRYPTION[kind] not in values:
        raise BadKey("a signet without keys")
    s = Signet(kind, ed25519_value(values[1], formatted), values[ENCRYPTION[kind]])
    crypto.point(s.encryption)
    own = SELF_SIGNATURE[kind]
    if own in values and not crypto.verifies(s.signing, values[own], upto(split, own - 1)):
        raise BadKey("a self-signature that does not verify")
    if kind == "org":
        s.soks = [(v[0], ed25519_value(v[1:], formatted)) for number, v, _ in split
                  if number == 2]
    if 254 in values:
        s.name = values[254].decode("ascii")
    for name, last in (("core", CORE[kind]), ("full", 253), ("id", 255)):
        s.prints[name] = texts.base64_bare(crypto.sha512(upto(split, last)))
    return s


def signet_read(octets):
    """In the first layout that fits all of it and whose self-signature verifies."""
    kind, body = header(texts.binary(octets), SIGNET_KINDS)
    for layout in LAYOUTS:
        try:
            return signet_build(kind, fields(kind, body, layout), layout)
        except (BadKey, crypto.m.Bad, UnicodeDecodeError):
            continue
    raise BadKey("a signet of no known layout")
