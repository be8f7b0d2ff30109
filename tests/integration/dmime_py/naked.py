"""Naked mail at rest (object 1908, D-173): made as a gateway makes it, and read by its
recipient. Chunks are those of messages, but with one keyslot, which is the recipient's; the
ephemeral chunk has the one-time signing key behind the point, and 255 is readable."""

from dataclasses import dataclass

from . import crypto, making, opening, texts
from . import message as m

MAGIC = 1908
TYPES = (2, 33, 34, 67, 131, 225, 226, 255)
CLEAR = (m.EPHEMERAL, m.ORG)  # without a keyslot
REQUIRED = (m.EPHEMERAL, m.COMMON, m.TREE, m.AUTHOR, m.ORG)
KEYS = 33 + 32  # of the ephemeral chunk


def one_slot(kind):
    return kind not in CLEAR


# As a gateway


def make(recipient, parts, common=None, headers=b"Received: from legacy.example\r\n", seed=None):
    """To an encryption key of 33 octets; `parts` is [(type, octets)]. 255 is 64 zero octets:
    the domain has yet to sign. The one-time key is forgotten here."""
    rng = making.Rng(seed)
    one_time, scalar = rng.octets(32), b"\0" + rng.octets(31)
    actor = crypto.kek(scalar, recipient)
    keys = crypto.secp256k1_public(scalar) + crypto.ed25519_public(one_time)
    chunks = [m.Chunk(m.EPHEMERAL, keys)]

    def put(kind, plain):
        iv, key = rng.octets(16), rng.octets(32)
        slot = crypto.slot_seal(actor, rng.octets(16), iv, key)
        chunks.append(m.Chunk(kind, crypto.cbc_encrypt(key, iv, plain), [slot]))

    for kind, data in [(m.COMMON, texts.common(common or {})), (m.HEADERS, headers), *parts]:
        total = crypto.padding_total(len(data), kind, rng)
        octet = crypto.pad_octet(len(data), total, 0)
        signed = len(data).to_bytes(3, "big") + bytes([0, octet]) + data + bytes([octet]) * total
        put(kind, crypto.sign(one_time, signed) + signed)
    put(m.TREE, crypto.sign(one_time, crypto.tree_input(chunks)))
    put(m.AUTHOR, crypto.sign(one_time, crypto.signature_input(chunks, m.AUTHOR)))
    chunks.append(m.Chunk(m.ORG, bytes(64)))
    return m.Message(chunks).octets(MAGIC)


def with_signature(octets, payload):
    """The domain's in its place, which is the end."""
    if octets[-68:-64] != bytes([m.ORG, 0, 0, 64]) or len(payload) != 64:
        raise m.Bad("no place for 64 octets")
    return octets[:-64] + payload


# As the recipient


def parse(octets):
    """Message, checked in all that needs no key. Raises Bad."""
    cur = m.Cursor(octets)
    magic = cur.number(2, "magic number")
    if magic != MAGIC:
        raise m.Bad("magic number %d" % magic, m.MAGIC_BAD)
    if cur.number(4, "length") != cur.left():
        raise m.Bad("another length than the object's")
    chunks = []
    while cur.left():
        kind = cur.number(1, "chunk type")
        if kind not in TYPES:
            raise m.Bad("chunk type %d" % kind)
        payload = cur.take(cur.number(3, "payload length"), "payload")
        slots = [cur.take(m.SLOT, "keyslot")] if one_slot(kind) else []
        chunks.append(m.Chunk(kind, payload, slots))
    m.check_order(chunks)
    check(chunks)
    return m.Message(chunks)


def check(chunks):
    types = [c.type for c in chunks]
    for kind in REQUIRED + (67,):
        if kind not in types:
            raise m.Bad("no chunk %d" % kind, m.UNSIGNED if kind == m.ORG else m.CORRUPT)
    for c in chunks:
        if c.type != m.EPHEMERAL:
            m.check_payload(c)
        elif len(c.payload) != KEYS:
            raise m.Bad("ephemeral chunk of %d octets" % len(c.payload))
    crypto.point(chunks[0].payload[:33])


@dataclass
class Naked:
    """`signatures` has good, bad or placeholder of 225, 226 and 255; `parts` are [(type,
    octets)], None for octets that are corrupt or by somebody else."""

    message: m.Message
    one_time: bytes
    signatures: dict
    parts: list
    common: dict = None

    @property
    def accepted(self):
        return set(self.signatures.values()) == {"good"} and None not in (
            data for _, data in self.parts)


def open_naked(octets, key, domain_keys):
    """With the recipient's key and the keys by which his domain signs messages."""
    message = parse(octets)
    keys = message.chunks[0].payload
    actor = crypto.kek(key.scalar, keys[:33])
    one_time = keys[33:]
    o = opening.Opened(message)
    signatures = {}
    for c in message.chunks:
        seen = opening.Seen(c)
        o.seen.append(seen)
        if not one_slot(c.type):
            seen.plain = c.payload
        else:
            seen.slot_random, seen.iv, seen.key = crypto.slot_open(actor, c.slots[0])
            seen.plain = crypto.cbc_decrypt(seen.key, seen.iv, c.payload)
        if c.type in m.SIGNATURES:
            by = domain_keys if c.type == m.ORG else [one_time]
            signatures[c.type] = judge(message.chunks, c.type, seen.plain, by)
        elif c.type != m.EPHEMERAL:
            open_payload(seen, one_time)
    opening.join_parts(o, crypto.MESSAGE_LIMIT)
    out = Naked(message, one_time, signatures, [(p.type, p.data) for p in o.parts])
    if out.parts[0][1] is not None:
        out.common = texts.common_read(out.parts[0][1])
    return out


def judge(chunks, kind, signature, keys):
    if signature == bytes(64):
        return "placeholder"
    signed = (crypto.tree_input(chunks) if kind == m.TREE
              else crypto.signature_input(chunks, kind))
    return "good" if any(crypto.verifies(k, signature, signed) for k in keys) else "bad"


def open_payload(seen, one_time):
    seen.state, seen.payload = "ok", crypto.payload_split(seen.plain)
    try:
        crypto.payload_check(seen.payload, one_time)
    except crypto.Corrupt as e:
        seen.state, seen.why = "corrupt", str(e)
