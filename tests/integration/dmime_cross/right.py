"""Random descriptions of messages that are right: everything the specification and its
decisions let a writer do, also what our own writer never does."""

import base64
import json

from dmime_py import crypto
from dmime_py import message as m

DISPLAY_TYPES = (67, 67, 67, 67, 65, 66)
ATTACHMENT_TYPES = (131, 131, 131, 129, 130)
# Around what one chunk of 256 octets holds, one block, and several reads
SIZES = (1, 2, 10, 11, 12, 27, 100, 186, 187, 188, 203, 500, 1000, 4027, 4096, 20_000, 65_467,
         65_536, 70_000)
SUBJECTS = ("test", "", "Gr\u00fc\u00dfe aus K\u00f6ln", "a: b: c", " two  spaces ",
            "tab\there", "\u65e5\u672c\u8a9e", "x" * 900)


def chance(rng, percent):
    return rng.randrange(100) < percent


def base64_of(octets):
    return {"base64": base64.b64encode(octets).decode()}


def octets(rng):
    """Text, what looks like an entity, what does not shrink, what shrinks much."""
    size = rng.choice(SIZES)
    kind = rng.randrange(5)
    if kind == 0:
        return rng.randbytes(size)
    if kind == 1:
        return (b"Content-Type: text/plain\r\n\r\n" + b"word " * size)[:max(size, 30)]
    if kind == 2:
        return bytes([rng.randrange(256)]) * size
    if kind == 3:
        return ("\u00fc" * size).encode()
    return b"".join(b"line %d\r\n" % n for n in range(size // 8 + 1))


def padding(rng, n):
    """A way to pad a chunk of n octets of data that is not the usual one."""
    least = crypto.align(n)
    kind = rng.randrange(5)
    if kind == 0:
        return {"padding": {"alternate": True, "blocks": rng.choice((0, 1, 2, 5, 16, 17))}}
    if kind == 1:
        return {"padding": {"alternate": True, "blocks": 255}}
    if kind == 2 and least == 0:  # one octet says 0 and there are 256 (D-101)
        return {"padding": {"total": 256}}
    if kind == 3 and least == 0:  # libdime's block too many (D-102)
        blocks = rng.randrange(20)
        return {"padding": {"alternate": True, "blocks": blocks + 1}, "pad": blocks}
    return {"padding": {"total": rng.randrange(least, 256, 16)}}


def pieces(rng, n):
    """Up to four, of n octets, none of them empty."""
    cuts = sorted(rng.sample(range(1, n), min(n - 1, rng.randrange(1, 4)))) if n > 1 else []
    return [b - a for a, b in zip([0] + cuts, cuts + [n])]


def part(rng, types):
    data = octets(rng)
    entry = {"type": rng.choice(types)} | base64_of(data)
    carried = len(data)
    if chance(rng, 35):
        packed = crypto.gzip(data)
        entry["gzip"] = rng.choice((True, "if-smaller"))
        if entry["gzip"] is True or len(packed) < len(data):
            carried = len(packed)
    if len(data) > crypto.GZIP_RATIO * carried and len(data) > crypto.MEBI:
        del entry["gzip"]
    if chance(rng, 25):
        entry["pieces"] = pieces(rng, carried)
    elif chance(rng, 50):
        entry |= padding(rng, carried)
    if chance(rng, 5):
        entry["flags"] = crypto.FLAG_ALTERNATE
    return entry


def common(rng):
    """Chunk 33, in any order and of as many of the six as there are."""
    values = {"Date": "Mon, 1 Jan 2024 00:00:00 +0000", "To": "Bob <bob@example.org>",
              "From": "Alice <alice@example.com>", "Subject": rng.choice(SUBJECTS)}
    for name in ("CC", "Organization"):
        if chance(rng, 30):
            values[name] = rng.choice(SUBJECTS)
    if chance(rng, 20):
        del values[rng.choice(list(values))]
    names = list(values)
    rng.shuffle(names)
    return {"text": "".join("%s: %s\r\n" % (n, values[n]) for n in names)}


def headers(rng):
    text = "MIME-Version: 1.0\r\n" + "X-Field: value\r\n" * rng.choice((0, 0, 1, 20, 300))
    return {"text": text} | ({"gzip": rng.choice((True, "if-smaller"))} if chance(rng, 20)
                             else {})


def texts_of(rng):
    out = [{"type": m.ORIGIN}, {"type": m.DESTINATION}, {"type": m.COMMON}, {"type": m.HEADERS}]
    if chance(rng, 50):
        out[2] |= common(rng)
    if chance(rng, 50):
        out[3] |= headers(rng)
    if chance(rng, 15):
        del out[3]
    for entry in out:
        if chance(rng, 10) and "gzip" not in entry:
            entry["padding"] = {"alternate": True, "blocks": rng.randrange(30)}
    return out


def signatures(rng, world):
    out = [{"type": kind} for kind in (m.TREE, m.AUTHOR, m.META_BOUNCE, m.DISPLAY_BOUNCE, m.ORG)]
    if chance(rng, 25):
        out[0]["variant"] = "libdime"
    if chance(rng, 15):  # not yet signed by the origin
        for entry in out[2:]:
            entry["signature"] = "placeholder"
    elif world.may_sign and chance(rng, 50):
        for entry in out[2:]:
            entry["signer"] = {"seed": rng.choice(world.may_sign)}
    if chance(rng, 20):
        out[3]["signature"] = "placeholder"  # as libdime leaves it
    for kind in (m.DISPLAY_BOUNCE, m.META_BOUNCE):
        if chance(rng, 20):
            out = [entry for entry in out if entry["type"] != kind]
    return out


def contents(rng):
    out = [part(rng, DISPLAY_TYPES) for _ in range(rng.choice((1, 1, 1, 2, 3, 6)))]
    return out + [part(rng, ATTACHMENT_TYPES) for _ in range(rng.choice((0, 0, 1, 2, 4)))]


def armor(rng):
    if chance(rng, 60):
        return {}
    if chance(rng, 30):
        return {"armor": True}
    return {"armor": {"width": rng.choice((4, 60, 64, 76, 1000)), "padding": chance(rng, 50),
                      "crc": chance(rng, 50), "end": rng.choice(("\n", "\r\n"))}}


def people(rng, world):
    out = json.loads(json.dumps(world.people()))
    for person in out.values():
        if chance(rng, 20):
            person["print"] = rng.choice(("core", "full"))
    return out


def describe(rng, world):
    """What dmime_py's `new` reads."""
    front = [{"type": m.EPHEMERAL}]
    if chance(rng, 10):
        front.insert(0, {"type": m.TRACING, "text": "seen " * rng.randrange(20)})
    if chance(rng, 10):
        front.append({"type": m.ALTERNATE} | base64_of(rng.randbytes(rng.choice((56, 133)))))
    spec = people(rng, world) | armor(rng) | {
        "chunks": front + texts_of(rng) + contents(rng) + signatures(rng, world),
        "seed": str(rng.random())}
    if chance(rng, 10):
        spec["tracing"] = {"text": "t" * rng.choice((0, 1, 500))}
    return spec
