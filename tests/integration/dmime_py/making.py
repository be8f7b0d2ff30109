"""A message from a description, right or wrong in any way asked for. The description is
explained in __init__.py."""

import base64
import hashlib
import os

from . import crypto, keys, opening, texts
from . import message as m

LETTER_NAMES = {"A": "author", "O": "origin", "D": "destination", "R": "recipient"}
ORDER = (2, 4, 5, 33, 34, "parts", 225, 226, 248, 249, 255)


class BadSpec(Exception):
    pass


class Rng:
    """SHA-512 over seed and counter; without a seed the system's."""

    def __init__(self, seed=None):
        self.seed = None if seed is None else str(seed).encode()
        self.counter, self.pool = 0, b""

    def octets(self, n):
        if self.seed is None:
            return os.urandom(n)
        while len(self.pool) < n:
            block = self.counter.to_bytes(8, "big") + self.seed
            self.pool += hashlib.sha512(block).digest()
            self.counter += 1
        out, self.pool = self.pool[:n], self.pool[n:]
        return out

    def below(self, n):
        return int.from_bytes(self.octets(8), "big") % n


class Maker:
    def __init__(self, spec, directory=".", seed=None):
        self.spec, self.directory = spec, directory
        self.rng = Rng(spec.get("seed") if seed is None else seed)
        self.read_people()
        scalar = spec.get("ephemeral")
        self.scalar = bytes.fromhex(scalar) if scalar else self.fresh_scalar()
        self.public = crypto.secp256k1_public(self.scalar)
        self.keks = {letter: crypto.kek(self.scalar, self.people[name]["signet"].encryption)
                     for letter, name in LETTER_NAMES.items()}
        for letter, name in LETTER_NAMES.items():
            if name in spec.get("keks", {}):
                given = spec["keks"][name]
                self.keks[letter] = crypto.Kek(None, bytes.fromhex(given["iv"]),
                                               bytes.fromhex(given["key"]))

    def fresh_scalar(self):
        """One bit short of the group's order, so always below it, and never 0."""
        value = int.from_bytes(self.rng.octets(32), "big") >> 1
        return (value or 1).to_bytes(32, "big")

    # Keys

    def path(self, name):
        return os.path.join(self.directory, name)

    def read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def key(self, given):
        if isinstance(given, str):
            return keys.key_read(self.read(given))
        return keys.Key(*(bytes.fromhex(given[n]) if n in given else None
                          for n in ("seed", "scalar")))

    def signet(self, given):
        if isinstance(given, str):
            return keys.signet_read(self.read(given))
        return keys.Signet(given.get("kind", "user"), bytes.fromhex(given["signing"]),
                           bytes.fromhex(given["encryption"]), name=given.get("name"))

    def read_people(self):
        """role -> signet, name, print, and the key where it signs"""
        self.people = {}
        for role in LETTER_NAMES.values():
            given = self.spec[role]
            signet = self.signet(given["signet"])
            split = "core" if signet.kind == "user" else "full"  # D-111
            shown = given.get("print", split)
            self.people[role] = {
                "signet": signet, "name": given.get("name", signet.name),
                "print": signet.prints.get(shown, shown),
                "key": self.key(given["key"]) if "key" in given else None}

    def signer(self, entry, role):
        if "signer" in entry:
            return self.key(entry["signer"])
        if role == "origin" and "signer" in self.spec:
            return self.key(self.spec["signer"])
        return self.people[role]["key"]

    # Octets

    def octets(self, given):
        """text, base64, hex, file or fill, if one of them is there"""
        if "text" in given:
            return given["text"].encode()
        if "base64" in given:
            return texts.unbase64(given["base64"])
        if "hex" in given:
            return bytes.fromhex(given["hex"])
        if "file" in given:
            return self.read(given["file"])
        if "fill" in given:
            return bytes([given["fill"].get("octet", 97)]) * given["fill"]["size"]
        return None

    def default_data(self, kind):
        people = self.people
        if kind in (m.ORIGIN, m.DESTINATION):
            first, second = (("author", "destination") if kind == m.ORIGIN
                             else ("recipient", "origin"))
            a, b = people[first], people[second]
            return texts.envelope(kind, a["name"], a["print"], b["name"], b["print"])
        if kind == m.COMMON:
            values = {"Date": "Thu, 1 Jan 1970 00:00:00 +0000",
                      "To": "<%s>" % people["recipient"]["name"],
                      "From": "<%s>" % people["author"]["name"], "Subject": "test"}
            values.update(self.spec.get("common", {}))
            return texts.common({k: v for k, v in values.items() if v is not None})
        if kind == m.HEADERS:
            return self.spec.get("headers", "MIME-Version: 1.0\r\n").encode()
        raise BadSpec("a chunk of type %d needs data" % kind)

    # Chunks

    def make(self):
        self.entries = []
        for entry in self.listed():
            self.entries += self.pieces(entry)
        self.chunks = [None] * len(self.entries)
        for at, entry in enumerate(self.entries):
            if entry["type"] not in m.SIGNATURES or "payload" in entry:
                self.chunks[at] = self.chunk(entry)
        self.sign((m.TREE, m.AUTHOR))
        self.edit("author")
        self.sign((m.META_BOUNCE, m.DISPLAY_BOUNCE, m.ORG))
        self.edit("end")
        return self.serialize()

    def listed(self):
        if "chunks" in self.spec:
            return self.spec["chunks"]
        out = []
        for kind in ORDER:
            if kind == "parts":
                out += self.spec.get("parts", [{"type": 67, "text": "Hello.\r\n"}])
            else:
                out.append({"type": kind})
        for removed in self.spec.get("without", []):
            out = [entry for entry in out if entry["type"] != removed]
        return [self.spec.get("with", {}).get(str(e["type"]), {}) | e for e in out]

    def pieces(self, entry):
        """An entry for every chunk: compressed, then split (D-122)."""
        kind = entry["type"]
        if kind in m.SIGNATURES or kind in m.CLEAR or "payload" in entry or "plain" in entry:
            return [dict(entry)]
        data = self.octets(entry)
        if data is None:
            data = self.default_data(kind)
        flags = entry.get("flags", 0)
        packed = crypto.gzip(data) if entry.get("gzip") else data
        if entry.get("gzip") is True or (entry.get("gzip") and len(packed) < len(data)):
            data, flags = packed, flags | crypto.FLAG_GZIP
        if entry.get("padding", {}).get("alternate"):
            flags |= crypto.FLAG_PADDING
        sizes = entry.get("pieces") or self.sizes(len(data))
        if sum(sizes) != len(data):
            raise BadSpec("pieces of %d octets in all, of %d" % (sum(sizes), len(data)))
        out, at = [], 0
        for number, size in enumerate(sizes):
            more = crypto.FLAG_MORE if number + 1 < len(sizes) else 0
            piece = dict(entry, data=data[at:at + size], flags=flags | more)
            piece.update(entry.get("on_piece", {}).get(str(number), {}))
            out.append(piece)
            at += size
        return out

    @staticmethod
    def sizes(n):
        """The fewest pieces; one for no octets too."""
        return [min(m.MAX_DATA, n - at) for at in range(0, n, m.MAX_DATA)] or [0]

    def chunk(self, entry):
        kind = entry["type"]
        if kind in m.CLEAR or "payload" in entry:
            payload = self.octets(entry.get("payload", entry))
            if payload is None:
                payload = self.public if kind == m.EPHEMERAL else b""
            slots = [self.rng.octets(m.SLOT) for _ in range(self.slots(entry))]
            return m.Chunk(kind, payload, slots, entry.get("declared"))
        if "plain" in entry:
            return self.seal(entry, self.octets(entry["plain"]))
        return self.seal(entry, self.plain(entry))

    @staticmethod
    def slots(entry):
        if "slots" in entry:
            return entry["slots"]
        return len(m.TYPES[entry["type"]][1]) if entry["type"] in m.TYPES else 0

    def plain(self, entry):
        """The payload before encryption: signature, length, flags, pad octet, data, padding."""
        data, flags = entry["data"], entry.get("flags_exactly", entry["flags"])
        padding = entry.get("padding", {})
        if "total" in padding:
            total = padding["total"]
        elif padding.get("alternate"):
            total = crypto.align(len(data)) + 16 * padding.get("blocks", 0)
        else:
            total = crypto.padding_total(len(data), entry["type"], self.rng)
        octet = crypto.pad_octet(len(data), total, flags) % 256
        octet = entry.get("pad", octet)
        fill = bytearray([padding.get("octet", octet)]) * total
        for at in padding.get("wrong_at", []):
            fill[at] ^= 1
        signed = (entry.get("length", len(data)).to_bytes(3, "big") + bytes([flags, octet]) +
                  data + bytes(fill))
        return self.signature(entry, "author", signed) + signed

    def signature(self, entry, role, signed):
        """By whom and how the entry says."""
        how = entry.get("signature", "good")
        if how == "placeholder":
            return bytes(64)
        if isinstance(how, dict):
            return self.octets(how)
        signer = self.signer(entry, role)
        if signer is None:
            raise BadSpec("no key of the %s" % role)
        made = crypto.sign(signer.seed, signed)
        if how == "bad":
            made = bytes([made[0] ^ 1]) + made[1:]
        elif how != "good":
            raise BadSpec("signature: %s" % how)
        return made

    def seal(self, entry, plain):
        """Encrypted under a key of its own, with a keyslot for everybody the type grants."""
        iv, key = (bytes.fromhex(entry[n]) if n in entry else self.rng.octets(size)
                   for n, size in (("iv", 16), ("key", 32)))
        whole = len(plain) // 16 * 16
        payload = crypto.cbc_encrypt(key, iv, plain[:whole]) + plain[whole:]
        access = m.TYPES[entry["type"]][1] if entry["type"] in m.TYPES else "AR"
        slots = []
        for number, letter in enumerate((access + "R" * 4)[:entry.get("slots", len(access))]):
            random = entry.get("randoms", {}).get(LETTER_NAMES[letter])
            random = bytes.fromhex(random) if random else self.rng.octets(16)
            if number in entry.get("dead_slots", []):
                slots.append(self.rng.octets(m.SLOT))
            else:
                slots.append(crypto.slot_seal(self.keks[letter], random, iv, key))
        return m.Chunk(entry["type"], payload, slots, entry.get("declared"))

    # Signatures

    def sign(self, kinds):
        for kind in kinds:
            for at, entry in enumerate(self.entries):
                if entry["type"] == kind and self.chunks[at] is None:
                    self.chunks[at] = self.seal(entry, self.signed(entry))

    def signed(self, entry):
        made = [c for c in self.chunks if c is not None]
        kind = entry["type"]
        if kind == m.TREE:
            variant = entry.get("variant", self.spec.get("tree", "correct"))
            signed = crypto.tree_input(made, variant)
        else:
            signed = crypto.signature_input(made, kind)
        role = "author" if kind in (m.TREE, m.AUTHOR) else "origin"
        out = self.signature(entry, role, signed)
        return out + bytes(entry.get("extra", 0))

    # Edits

    def edit(self, when):
        """Those of `when` that concern chunks."""
        for step in self.spec.get("edits", []):
            if step.get("when", "end") == when and step["op"] in EDITS:
                EDITS[step["op"]](self, step)

    def serialize(self):
        tracing = self.octets(self.spec["tracing"]) if "tracing" in self.spec else None
        whole = m.Message(self.chunks, tracing)
        out = whole.octets(self.spec.get("magic", m.MAGIC), self.spec.get("length_wrong_by", 0))
        for step in self.spec.get("edits", []):
            if step["op"] == "append":
                out += self.octets(step)
            elif step["op"] == "truncate":
                out = out[:step["size"]]
            elif step["op"] == "flip" and "chunk" not in step:
                out = flipped(out, step)
        if self.spec.get("armor"):
            how = {} if self.spec["armor"] is True else self.spec["armor"]
            return texts.armor(out, **how).encode()
        return out


def flipped(octets, step):
    out = bytearray(octets)
    out[step["at"]] ^= 1 << step.get("bit", 0)
    return bytes(out)


def edit_flip(maker, step):
    if "chunk" in step:
        chunk = maker.chunks[step["chunk"]]
        chunk.raw = flipped(chunk.octets(), step)


def edit_swap(maker, step):
    a, b = step["chunks"]
    for each in (maker.chunks, maker.entries):
        each[a], each[b] = each[b], each[a]


def edit_swap_payloads(maker, step):
    a, b = (maker.chunks[i] for i in step["chunks"])
    if a.raw is not None or b.raw is not None:
        raise BadSpec("payloads of chunks that were changed octet by octet")
    a.payload, b.payload = b.payload, a.payload


def edit_drop(maker, step):
    for each in (maker.chunks, maker.entries):
        del each[step["chunk"]]


def edit_repeat(maker, step):
    for each in (maker.chunks, maker.entries):
        each.insert(step["chunk"], each[step["chunk"]])


EDITS = {"flip": edit_flip, "swap": edit_swap, "swap-payloads": edit_swap_payloads,
         "drop": edit_drop, "repeat": edit_repeat}


def make(spec, directory=".", seed=None):
    return Maker(spec, directory, seed).make()


# The origin's part with a message that an author made (D-119)


def origin_sign(octets, key, signer=None, bounce=(m.META_BOUNCE, m.DISPLAY_BOUNCE)):
    """The placeholders 248, 249 and 255 replaced under the keys and IVs they have; a bounce
    chunk that is not in `bounce` is removed."""
    message = m.parse(octets)
    actor = crypto.kek(key.scalar, message.find(m.EPHEMERAL).payload)
    seed = (signer or key).seed
    message.chunks = [c for c in message.chunks
                      if c.type not in (m.META_BOUNCE, m.DISPLAY_BOUNCE) or c.type in bounce]
    for c in message.chunks:
        if c.type in (m.META_BOUNCE, m.DISPLAY_BOUNCE, m.ORG):
            slot = c.slots[c.access.index(opening.LETTERS["origin"])]
            _, iv, chunk_key = crypto.slot_open(actor, slot)
            made = crypto.sign(seed, crypto.signature_input(message.chunks, c.type))
            c.payload = crypto.cbc_encrypt(chunk_key, iv, made)
    return message.octets()


def describe(views):
    """What of a description makes a message again, octet for octet, from what all four actors
    see of it; the keys and people are the caller's."""
    chunks = []
    whole = next(iter(views.values())).message
    for number, c in enumerate(whole.chunks):
        entry = {"type": c.type}
        if c.type in m.CLEAR:
            entry["payload"] = {"hex": c.payload.hex()}
        for role, view in views.items():
            seen = view.seen[number]
            if seen.plain is None:
                continue
            entry.update(iv=seen.iv.hex(), key=seen.key.hex())
            entry.setdefault("randoms", {})[role] = seen.slot_random.hex()
            if seen.payload is not None:
                p = seen.payload
                entry.update(flags_exactly=p.flags, base64=base64.b64encode(p.data).decode(),
                             padding={"total": len(p.padding)})
            elif seen.plain == bytes(64):
                entry["signature"] = "placeholder"
        chunks.append(entry)
    keks = {role: {"iv": view.kek.iv.hex(), "key": view.kek.key.hex()}
            for role, view in views.items()}
    return {"chunks": chunks, "keks": keks}
