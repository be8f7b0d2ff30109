"""The structure of a message: header, tracing, chunks, keyslots, order. No keys here."""

from dataclasses import dataclass, field

MAGIC = 1847
MAGIC_TRACING = 1837
MAX_PAYLOAD = 16_777_200  # the largest multiple of 16 that three octets hold
MAX_DATA = 16_777_131  # that less the 69 octets before the data
MAX_FOUR = 4 * MAX_DATA  # what needs more than four pieces is larger than this
SLOT = 64
LEAST_PAYLOAD = 80  # 69 octets and one of data, aligned

TRACING, EPHEMERAL, ALTERNATE, ORIGIN, DESTINATION, COMMON, HEADERS = 0, 2, 3, 4, 5, 33, 34
TREE, AUTHOR, META_BOUNCE, DISPLAY_BOUNCE, ORG = 225, 226, 248, 249, 255

# type: name and who has a keyslot, in the order of the slots (D-096)
TYPES = {
    0: ("tracing", ""),
    2: ("ephemeral", ""),
    3: ("alternate", "AR"),
    4: ("origin", "AOR"),
    5: ("destination", "ADR"),
    33: ("common", "AR"),
    34: ("headers", "AR"),
    65: ("display-multipart", "AR"),
    66: ("display-alternative", "AR"),
    67: ("display-content", "AR"),
    129: ("attachments-multipart", "AR"),
    130: ("attachments-alternative", "AR"),
    131: ("attachments-content", "AR"),
    225: ("author-tree-signature", "AOR"),
    226: ("author-signature", "AOR"),
    248: ("metadata-bounce-signature", "AODR"),
    249: ("display-bounce-signature", "AODR"),
    255: ("organizational-signature", "AODR"),
}
CLEAR = (TRACING, EPHEMERAL)
DISPLAY = (65, 66, 67)
ATTACHMENT = (129, 130, 131)
CONTENT = DISPLAY + ATTACHMENT
SIGNATURES = (TREE, AUTHOR, META_BOUNCE, DISPLAY_BOUNCE, ORG)
REQUIRED = (EPHEMERAL, ORIGIN, DESTINATION, COMMON, TREE, AUTHOR)  # and a display chunk, and 255

MAGIC_BAD, CORRUPT, UNSIGNED, TOO_LARGE = "magic", "corrupt", "unsigned", "too-large"


class Bad(Exception):
    """The message as a whole is not usable. `state` is one of the four above, the text is for
    people."""

    def __init__(self, why, state=CORRUPT):
        super().__init__(why)
        self.state = state


@dataclass
class Chunk:
    """`declared` and `raw` are for messages that are wrong on purpose: a length that is not
    the payload's, and octets that took the place of the chunk's own."""

    type: int
    payload: bytes
    slots: list = field(default_factory=list)
    declared: int = None
    raw: bytes = None

    def octets(self):
        """As it is transmitted, hashed and signed."""
        if self.raw is not None:
            return self.raw
        size = len(self.payload) if self.declared is None else self.declared
        return (bytes([self.type]) + size.to_bytes(3, "big") + self.payload +
                b"".join(self.slots))

    @property
    def name(self):
        return TYPES[self.type][0] if self.type in TYPES else "unknown"

    @property
    def access(self):
        return TYPES[self.type][1]


@dataclass
class Message:
    chunks: list
    tracing: bytes = None  # of an object 1837 in front; a chunk of type 0 is in `chunks`

    def octets(self, magic=MAGIC, wrong_by=0):
        body = b"".join(c.octets() for c in self.chunks)
        head = magic.to_bytes(2, "big") + (len(body) + wrong_by).to_bytes(4, "big")
        front = b""
        if self.tracing is not None:
            front = (MAGIC_TRACING.to_bytes(2, "big") + len(self.tracing).to_bytes(2, "big") +
                     self.tracing)
        return front + head + body

    def find(self, kind):
        """The only chunk of a type that may not repeat, or None."""
        return next((c for c in self.chunks if c.type == kind), None)


class Cursor:
    def __init__(self, octets):
        self.octets, self.at = octets, 0

    def left(self):
        return len(self.octets) - self.at

    def take(self, n, what):
        if n > self.left():
            raise Bad("%s: %d octets wanted at %d, %d left" % (what, n, self.at, self.left()))
        self.at += n
        return self.octets[self.at - n:self.at]

    def number(self, width, what):
        return int.from_bytes(self.take(width, what), "big")


def parse(octets):
    """Message, checked in everything that needs no key but the point of the ephemeral chunk
    (crypto.point). Raises Bad."""
    message = split(octets)
    check_order(message.chunks)
    for c in message.chunks:
        check_payload(c)
    check_complete(message.chunks)
    return message


def split(octets):
    """Only as far as chunks can be told from each other."""
    cur = Cursor(octets)
    tracing = None
    magic = cur.number(2, "magic number")
    if magic == MAGIC_TRACING:
        tracing = cur.take(cur.number(2, "tracing length"), "tracing")
        magic = cur.number(2, "magic number")
    if magic != MAGIC:
        raise Bad("magic number %d" % magic, MAGIC_BAD)
    size = cur.number(4, "length")
    if size != cur.left():
        raise Bad("length %d, but %d octets follow (D-128)" % (size, cur.left()))
    chunks = []
    while cur.left():
        chunks.append(split_chunk(cur))
    return Message(chunks, tracing)


def split_chunk(cur):
    kind = cur.number(1, "chunk type")
    if kind not in TYPES:
        raise Bad("chunk type %d (D-104, D-107)" % kind)
    size = cur.number(3, "payload length")
    if size > MAX_PAYLOAD:
        raise Bad("payload of %d octets" % size)
    payload = cur.take(size, "payload of chunk %d" % kind)
    slots = [cur.take(SLOT, "keyslot of chunk %d" % kind) for _ in TYPES[kind][1]]
    return Chunk(kind, payload, slots)


def section(kind):
    """0 tracing, 1 envelope, 2 metadata, 3 display, 4 attachments, 5 signatures"""
    if kind == TRACING:
        return 0
    return 1 + sum(kind >= first for first in (32, 64, 128, 224))


def check_order(chunks):
    """D-106. Inside display and attachments any order and any number; elsewhere ascending,
    hence nothing twice."""
    for before, c in zip(chunks, chunks[1:]):
        here, there = section(before.type), section(c.type)
        if there < here:
            raise Bad("chunk %d after chunk %d" % (c.type, before.type))
        if here == there and c.type not in CONTENT and c.type <= before.type:
            raise Bad("chunk %d after chunk %d" % (c.type, before.type))


def check_complete(chunks):
    """A message without 255 is told apart from other damage: the destination has a reply of
    its own for it."""
    types = [c.type for c in chunks]
    for kind in REQUIRED:
        if kind not in types:
            raise Bad("no chunk %d" % kind)
    if not any(kind in DISPLAY for kind in types):
        raise Bad("no display chunk (D-108)")
    if ORG not in types:
        raise Bad("no chunk 255", UNSIGNED)


def check_payload(c):
    size = len(c.payload)
    if c.type == EPHEMERAL:
        if size != 33 or c.payload[0] not in (2, 3):
            raise Bad("ephemeral chunk of %d octets, or its first is not 2 or 3 (D-098)" % size)
    elif c.type in SIGNATURES:
        if size != 64:
            raise Bad("signature chunk %d of %d octets" % (c.type, size))
    elif c.type != TRACING and (size % 16 or size < LEAST_PAYLOAD):
        raise Bad("chunk %d: payload of %d octets" % (c.type, size))
