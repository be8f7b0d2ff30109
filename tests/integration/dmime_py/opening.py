"""A message as one of the four actors sees it."""

import base64
from dataclasses import dataclass, field

from . import crypto, texts
from . import message as m

LETTERS = {"author": "A", "origin": "O", "destination": "D", "recipient": "R"}


@dataclass
class View:
    """What an actor has: its key, and the signets it knows of the four."""

    role: str
    key: object
    author: object = None
    org: object = None  # the origin's
    destination: object = None
    recipient: object = None
    limit: int = crypto.MESSAGE_LIMIT

    @property
    def author_key(self):
        """Of who made the chunks. The destination cannot know it, so it does not get it."""
        if self.role == "destination":
            return None
        if self.author is not None:
            return self.author.signing
        return self.key.signing_public if self.role == "author" else None

    @property
    def org_keys(self):
        if self.org is not None:
            return self.org.message_keys()
        return [self.key.signing_public] if self.role == "origin" else None


@dataclass
class Seen:
    """One chunk."""

    chunk: m.Chunk
    state: str = "closed"  # clear, closed, ok, corrupt, alternate
    why: str = None
    slot: int = None
    slot_random: bytes = None
    iv: bytes = None
    key: bytes = None
    plain: bytes = None
    payload: crypto.Payload = None
    signed: str = None  # the chunk signature: ok, bad, unchecked


@dataclass
class Part:
    """The chunks of one span, joined and decompressed."""

    type: int
    chunks: list
    state: str = "ok"  # ok, corrupt, alternate
    why: str = None
    data: bytes = None


@dataclass
class Opened:
    message: m.Message = None
    state: str = "ok"
    why: str = None
    kek: crypto.Kek = None
    seen: list = field(default_factory=list)
    parts: list = field(default_factory=list)
    signatures: dict = field(default_factory=dict)  # type -> Verdict
    texts: dict = field(default_factory=dict)  # type -> {name: value}
    authentic_by: list = field(default_factory=list)
    accepted: bool = False


@dataclass
class Verdict:
    """ok, bad, placeholder (64 zero octets), closed (no keyslot), unchecked (no signet),
    absent"""

    state: str
    variant: str = None  # of 225: correct or libdime
    signature: bytes = None


def open_message(octets, view):
    o = Opened()
    try:
        if len(octets) > view.limit:
            raise m.Bad("%d octets" % len(octets), m.TOO_LARGE)
        o.message = m.parse(octets)
        o.kek = crypto.kek(view.key.scalar, o.message.find(m.EPHEMERAL).payload)
        for c in o.message.chunks:
            o.seen.append(open_chunk(c, o.kek, view))
        join_parts(o, view.limit)
        o.signatures = {kind: verdict(o, kind, view) for kind in m.SIGNATURES}
        settle_tree(o.signatures)
        o.authentic_by = [kind for kind in (m.TREE, m.AUTHOR)
                          if o.signatures[kind].state == "ok"]
        read_texts(o)
        o.accepted = accepted(o, view.role)
    except m.Bad as e:
        o.state, o.why = e.state, str(e)
    return o


def open_chunk(c, actor, view):
    s = Seen(c)
    if c.type in m.CLEAR:
        s.state = "clear"
        return s
    letter = LETTERS[view.role]
    if letter not in c.access:
        return s
    s.slot = c.access.index(letter)
    s.slot_random, s.iv, s.key = crypto.slot_open(actor, c.slots[s.slot])
    s.plain = crypto.cbc_decrypt(s.key, s.iv, c.payload)
    s.state = "ok"
    if c.type in m.SIGNATURES:
        return s
    s.payload = crypto.payload_split(s.plain)
    author = view.author_key
    s.signed = "unchecked"
    if author is not None:
        good = crypto.verifies(author, s.payload.signature, s.payload.signed)
        s.signed = "ok" if good else "bad"
    try:
        crypto.payload_check(s.payload, author)
        if s.payload.flags & crypto.FLAG_ALTERNATE:
            s.state = "alternate"  # D-123
    except crypto.ZeroLength as e:
        raise m.Bad("chunk %d: %s" % (c.type, e)) from None
    except crypto.Corrupt as e:
        s.state, s.why = "corrupt", str(e)
    return s


def join_parts(o, limit):
    """Spans, DM-47 to DM-51. The continuation flag of a corrupt piece counts as it stands:
    what is shown needs 225 verified, and then the author wrote it."""
    at = 0
    while at < len(o.seen):
        first = o.seen[at]
        end = at + 1
        if first.payload is not None:
            while (o.seen[end - 1].payload.flags & crypto.FLAG_MORE and end < len(o.seen) and
                   o.seen[end].chunk.type == first.chunk.type):
                end += 1
            o.parts.append(join(o, list(range(at, end)), limit))
        at = end


def join(o, numbers, limit):
    pieces = [o.seen[i] for i in numbers]
    part = Part(pieces[0].chunk.type, numbers)
    try:
        for p in pieces:
            if p.state == "corrupt":
                raise crypto.Corrupt(p.why)
        payloads = [p.payload for p in pieces]
        crypto.span_check(payloads)
        if payloads[0].flags & crypto.FLAG_GZIP and part.type < m.COMMON:
            raise crypto.Corrupt("a compressed envelope (D-122)")
        if pieces[0].state == "alternate":
            if part.type in (m.ORIGIN, m.DESTINATION):
                raise crypto.Corrupt("an envelope for the alternate key of a user")
            part.state = "alternate"
            return part
        part.data = b"".join(p.data for p in payloads)
        if payloads[0].flags & crypto.FLAG_GZIP:
            part.data = crypto.gunzip(part.data, limit)
    except crypto.Corrupt as e:
        part.state, part.why, part.data = "corrupt", str(e), None
        for p in pieces:
            p.state, p.why = "corrupt", p.why or str(e)
    return part


def verdict(o, kind, view):
    seen = next((s for s in o.seen if s.chunk.type == kind), None)
    if seen is None:
        return Verdict("absent")
    if seen.plain is None:
        return Verdict("closed")
    signature = seen.plain
    if signature == bytes(64):
        return Verdict("placeholder", signature=signature)
    chunks = o.message.chunks
    if kind in (m.TREE, m.AUTHOR):
        if view.author_key is None:
            return Verdict("unchecked", signature=signature)
        if kind == m.TREE:
            variant = crypto.tree_variant(chunks, signature, view.author_key)
            return Verdict("ok" if variant else "bad", variant, signature)
        keys = [view.author_key]
    else:
        keys = view.org_keys
        if keys is None:
            return Verdict("unchecked", signature=signature)
    signed = crypto.signature_input(chunks, kind)
    good = any(crypto.verifies(k, signature, signed) for k in keys)
    return Verdict("ok" if good else "bad", signature=signature)


def settle_tree(signatures):
    """D-115: the libdime form counts only with a good 226."""
    tree = signatures[m.TREE]
    if tree.variant == "libdime" and signatures[m.AUTHOR].state != "ok":
        tree.state = "bad"


def read_texts(o):
    """D-125: one corrupt chunk of envelope or metadata, and the message is. Signature chunks
    have nothing that could be corrupt but the signature."""
    for part in o.parts:
        if part.type in m.CONTENT or part.state == "alternate":
            continue
        if part.state == "corrupt":
            raise m.Bad("chunk %d: %s" % (part.type, part.why))
        try:
            if part.type in (m.ORIGIN, m.DESTINATION):
                o.texts[part.type] = texts.envelope_read(part.type, part.data)
            elif part.type == m.COMMON:
                o.texts[part.type] = texts.common_read(part.data)
        except crypto.Corrupt as e:
            raise m.Bad(str(e)) from None


def accepted(o, role):
    """Whether this actor goes on with the message. The bounce signatures never decide
    (D-118)."""
    author = bool(o.authentic_by)  # D-100: 225 or 226
    org = o.signatures[m.ORG].state
    if role == "author":
        return author
    if role == "origin":  # its own signature comes later
        return o.signatures[m.TREE].state == o.signatures[m.AUTHOR].state == "ok"
    if role == "destination":
        return org == "ok"
    return author and org in ("ok", "unchecked")


# As JSON


def text64(octets):
    return None if octets is None else base64.b64encode(octets).decode()


def structure(message):
    """What is seen without a key."""
    out, at = [], 0
    for number, c in enumerate(message.chunks):
        size = len(c.octets())
        out.append({"number": number, "type": c.type, "name": c.name, "at": at, "size": size,
                    "payload_size": len(c.payload), "slots": len(c.slots),
                    "access": c.access})
        at += size
    return out


def agrees(view, values):
    """D-111: how the fingerprints of an envelope chunk fit the signets at hand."""
    out = {}
    for name, signet in (("Author", view.author), ("Origin", view.org),
                         ("Destination", view.destination), ("Recipient", view.recipient)):
        shown = values.get(name + "-Signet")
        if shown is None or signet is None:
            continue
        kinds = [k for k in ("core", "full") if signet.prints[k] == shown]
        out[name + "-Signet"] = kinds[0] if kinds else None
        if signet.name is not None:
            out[name] = signet.name == values[name]
    return out


def report(o, view, trace=False, data=True):
    out = {"role": view.role, "state": o.state, "why": o.why, "accepted": o.accepted}
    if o.message is None:
        return out
    out["tracing"] = text64(o.message.tracing)
    if trace and o.kek is not None:
        out["kek"] = {"z": o.kek.z.hex(), "iv": o.kek.iv.hex(), "key": o.kek.key.hex()}
    out["chunks"] = structure(o.message)
    for line, seen in zip(out["chunks"], o.seen):
        line.update(chunk_report(seen, trace))
    out["parts"] = [part_report(p, data) for p in o.parts]
    out["complete"] = bool(o.parts) and all(p.state == "ok" for p in o.parts)
    out["signatures"] = {}
    for kind, v in o.signatures.items():
        line = {"state": v.state}
        if v.variant:
            line["variant"] = v.variant
        if trace and v.signature is not None:
            line["signature"] = v.signature.hex()
        out["signatures"][str(kind)] = line
    out["authentic_by"] = o.authentic_by
    out["envelope"] = {str(k): v for k, v in o.texts.items() if k != m.COMMON}
    out["agrees"] = {}
    for kind in (m.ORIGIN, m.DESTINATION):
        out["agrees"].update(agrees(view, o.texts.get(kind, {})))
    out["common"] = o.texts.get(m.COMMON)
    return out


def chunk_report(s, trace):
    line = {"state": s.state, "why": s.why}
    if s.chunk.type == m.TRACING or s.chunk.type == m.EPHEMERAL:
        line["payload"] = text64(s.chunk.payload)
    if s.slot is not None:
        line["slot"] = s.slot
    if s.payload is not None:
        p = s.payload
        line.update(signature=s.signed, data_size=p.length, flags=p.flags, pad=p.pad,
                    padding_size=len(p.padding))
    if trace and s.plain is not None:
        line.update(iv=s.iv.hex(), key=s.key.hex(), random=s.slot_random.hex(),
                    plain=text64(s.plain))
    return line


def part_report(p, data):
    line = {"type": p.type, "chunks": p.chunks, "state": p.state, "why": p.why,
            "size": None if p.data is None else len(p.data)}
    if data:
        line["data"] = text64(p.data)
    return line
