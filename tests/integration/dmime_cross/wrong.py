"""One fault in a description that is right. Every signature made after it is good, so that the
fault alone decides; where the outer signature is to be good over ciphertext that somebody
changed on the way to the origin, "when" is "author".

FAULTS names them all; inject(name, ...) puts one in. A fault is in its message for sure: what
the description has no place for (a fifth piece, an attachment) is added first."""

import copy

from dmime_py import crypto, making
from dmime_py import message as m

PRIME = 2 ** 256 - 2 ** 32 - 977
MALLORY = {"seed": "11" * 32}
REQUIRED = (m.EPHEMERAL, m.ORIGIN, m.DESTINATION, m.COMMON, m.TREE, m.AUTHOR, m.ORG)
TEXTS = (m.ORIGIN, m.DESTINATION, m.COMMON, m.HEADERS)
FAULTS = {}


def fault(*cases):
    """Registers a function (spec, rng, case) for every case, or one without."""
    def register(function):
        name = function.__name__
        for case in cases or (None,):
            full = name if case is None else "%s %s" % (name, case)
            FAULTS[full] = (function, case)
        return function
    return register


def inject(name, spec, rng):
    """A copy with the fault."""
    function, case = FAULTS[name]
    out = copy.deepcopy(spec)
    function(out, rng, case)
    return out


def entry_of(spec, kind):
    """The entry of that type, made if there is none."""
    found = next((e for e in spec["chunks"] if e["type"] == kind), None)
    if found is None:
        found = {"type": kind}
        at = next(i for i, e in enumerate(spec["chunks"]) if e["type"] > kind)
        spec["chunks"].insert(at, found)
    return found


def replace(entry, new):
    """Another entry in its place, of the same type."""
    kind = entry["type"]
    entry.clear()
    entry.update({"type": kind} | new)


def content(spec, rng):
    """An entry of the content."""
    return rng.choice([e for e in spec["chunks"] if e["type"] in m.CONTENT])


def plainly(spec, rng, data=b"eleven octs", **more):
    """One entry of the content with small data of its own."""
    entry = content(spec, rng)
    replace(entry, {"hex": data.hex()} | more)
    return entry


def insert_behind(spec, entry, new):
    at = next(i for i, e in enumerate(spec["chunks"]) if e is entry)
    spec["chunks"].insert(at + 1, new)


def types(spec):
    """Of the chunks that will be there."""
    maker = making.Maker(spec)
    return [e["type"] for entry in maker.listed() for e in maker.pieces(entry)]


def number_of(spec, rng, wanted):
    """The number of one of the chunks of these types."""
    return rng.choice([i for i, kind in enumerate(types(spec)) if kind in wanted])


def edit(spec, **step):
    spec.setdefault("edits", []).append(step)


def finished_size(spec):
    return len(making.make(spec | {"armor": False}))


# The header, and the octets as a whole


@fault(1846, 1848, 0, 1837, 47911)
def magic(spec, _, number):
    spec["magic"] = number


@fault(1, -1, 256, -600)
def length_wrong_by(spec, _, n):
    spec["length_wrong_by"] = n


@fault("early", "late", "anywhere", "header")
def truncated(spec, rng, where):
    size = finished_size(spec)
    edit(spec, op="truncate", size={"early": 60, "late": size - 1, "header": rng.randrange(6),
                                    "anywhere": rng.randrange(size)}[where])


@fault()
def truncated_and_told(spec, rng, _):
    size = finished_size(spec)
    cut = rng.randrange(1, size - 6)
    edit(spec, op="truncate", size=size - cut)
    spec["length_wrong_by"] = -cut


@fault()
def appended(spec, *_):
    edit(spec, op="append", hex="00")


@fault(*range(4))
def bit_flipped_anywhere(spec, rng, _):
    edit(spec, op="flip", at=rng.randrange(finished_size(spec)), bit=rng.randrange(8))


# Structure


@fault(*REQUIRED, "display")
def missing(spec, _, kind):
    gone = m.DISPLAY if kind == "display" else (kind,)
    spec["chunks"] = [e for e in spec["chunks"] if e["type"] not in gone]


@fault(*TEXTS, *m.SIGNATURES, m.EPHEMERAL, "content")
def repeated(spec, rng, kind):
    wanted = m.CONTENT if kind == "content" else (kind,)
    if kind != "content":
        entry_of(spec, kind)
    edit(spec, op="repeat", chunk=number_of(spec, rng, wanted))


@fault(*TEXTS, *m.SIGNATURES, "content")
def dropped(spec, rng, kind):
    """After the author has signed."""
    wanted = m.CONTENT if kind == "content" else (kind,)
    if kind != "content":
        entry_of(spec, kind)
    edit(spec, op="drop", chunk=number_of(spec, rng, wanted), when="author")


@fault("end", "author")
def swapped(spec, rng, when):
    numbers = rng.sample(range(len(types(spec))), 2)
    edit(spec, op="swap", chunks=numbers, when=when)


@fault()
def swapped_neighbours(spec, rng, _):
    at = rng.randrange(len(types(spec)) - 1)
    edit(spec, op="swap", chunks=[at, at + 1])


@fault("end", "author")
def payloads_swapped(spec, rng, when):
    insert_behind(spec, content(spec, rng), {"type": 67, "text": "another"})
    kinds = types(spec)
    early = when == "author"  # later signatures are not made by then
    able = [i for i, kind in enumerate(kinds)
            if kind not in m.CLEAR and not (early and kind in m.SIGNATURES)]
    edit(spec, op="swap-payloads", chunks=rng.sample(able, 2), when=when)


@fault(1, 32, 64, 128, 224, 6, 7, 35, 63, 68, 132, 200, 227, 247, 250, 254)
def unknown_type(spec, rng, kind):
    at = next(i for i, e in enumerate(spec["chunks"]) if e["type"] > kind)
    spec["chunks"].insert(at, {"type": kind, "slots": rng.randrange(4), "text": "x"})


@fault("twice", "last", "second")
def tracing(spec, _, how):
    trace = {"type": m.TRACING, "text": "t"}
    chunks = [e for e in spec["chunks"] if e["type"] != m.TRACING]
    spec["chunks"] = {"twice": [trace, dict(trace)] + chunks, "last": chunks + [trace],
                      "second": chunks[:1] + [trace] + chunks[1:]}[how]


def bad_points():
    good = crypto.secp256k1_public(bytes(31) + b"\7")
    off = next(bytes([2]) + x.to_bytes(32, "big") for x in range(1, 99)
               if pow(x ** 3 + 7, (PRIME - 1) // 2, PRIME) != 1)
    return {"short": good[:-1], "long": good + b"\0", "4": b"\4" + good[1:],
            "6": b"\6" + good[1:], "uncompressed": b"\4" + bytes(64), "off": off,
            "field": b"\2" + PRIME.to_bytes(32, "big"), "zero": bytes(33), "empty": b"",
            "infinity": b"\0"}


@fault(*bad_points())
def ephemeral(spec, _, name):
    replace(entry_of(spec, m.EPHEMERAL), {"payload": {"hex": bad_points()[name].hex()}})


@fault(0, 16, 64, 79, 81, 250)
def payload_of(spec, rng, size):
    plainly(spec, rng, plain={"fill": {"size": size}})


@fault(0, 64, 16_777_200, 16_777_201, 16_777_215)
def payload_told(spec, rng, size):
    plainly(spec, rng, declared=size)


@fault(*m.SIGNATURES)
def signature_too_long(spec, _, kind):
    entry_of(spec, kind)["extra"] = 16


# Payloads


PAYLOADS = {
    "signature": {"signature": "bad"}, "no signature": {"signature": "placeholder"},
    "other signer": {"signer": MALLORY},
    "length beyond": {"length": 16_000_000}, "length one less": {"length": 10},
    "length one more": {"length": 12}, "length without room": {"padding": {"total": 0},
                                                               "length": 12},
    "length 0": {"length": 0}, "length 0 unsigned": {"length": 0, "signature": "bad"},
    "flag 8": {"flags": 8}, "flag 16": {"flags": 16}, "flag 32": {"flags": 32},
    "flag 64": {"flags": 64}, "all flags": {"flags": 255},
    "first octet of the padding": {"padding": {"total": 176, "wrong_at": [0]}},
    "last octet of the padding": {"padding": {"total": 176, "wrong_at": [-1]}},
    "every octet of the padding": {"padding": {"total": 176, "octet": 3}},
    "pad octet one more": {"padding": {"total": 176}, "pad": 177},
    "pad octet one less": {"padding": {"total": 176}, "pad": 175},
    "pad octet 0": {"padding": {"total": 176}, "pad": 0},
    "272 of 16": {"padding": {"total": 272}}, "512 of 0": {"padding": {"total": 512}},
    "alternate, one block less": {"padding": {"alternate": True, "blocks": 3}, "pad": 4},
    "alternate, two blocks more": {"padding": {"alternate": True, "blocks": 5}, "pad": 3},
    "alternate told, not meant": {"padding": {"total": 176}, "flags": 1, "pad": 176},
    "alternate meant, not told": {"padding": {"alternate": True, "blocks": 3},
                                  "flags_exactly": 0},
    "no keyslot of the author": {"dead_slots": [0]},
    "no keyslot of the recipient": {"dead_slots": [1]},
    "not compressed": {"flags": 4},
    "not compressed, alternate key": {"flags": 6},
}


@fault(*PAYLOADS)
def payload(spec, rng, name):
    plainly(spec, rng, **PAYLOADS[name])


@fault(*[n for n in PAYLOADS if not n.startswith(("no keyslot", "length one less"))])
def headers(spec, _, name):
    replace(entry_of(spec, m.HEADERS), {"text": "X-Field: 78"} | PAYLOADS[name])


def fits_any_text(name):
    """Whether the fault is one in data of whatever size."""
    return not (name.startswith(("no keyslot", "not compressed", "length one", "length without"))
                or "total" in PAYLOADS[name].get("padding", {}))


@fault(*filter(fits_any_text, PAYLOADS))
def of_text(spec, rng, name):
    """In the text that belongs there."""
    entry = entry_of(spec, rng.choice((m.ORIGIN, m.DESTINATION, m.COMMON)))
    entry.pop("gzip", None)
    entry.pop("padding", None)
    entry.update(PAYLOADS[name])


@fault("author", "author and recipient", "all")
def dead_slots(spec, rng, who):
    entry = entry_of(spec, rng.choice(TEXTS + m.SIGNATURES))
    entry["dead_slots"] = {"author": [0], "author and recipient": [0, 2, 3],
                           "all": [0, 1, 2, 3]}[who]


@fault("author", "origin", "destination", "recipient")
def another_kek(spec, rng, role):
    spec["keks"] = {role: {"iv": rng.randbytes(16).hex(), "key": rng.randbytes(32).hex()}}


# Spans and compression


def pieces_with(spec, rng, flags):
    """In place of one part, pieces with exactly these flags."""
    entry = content(spec, rng)
    at = next(i for i, e in enumerate(spec["chunks"]) if e is entry)
    spec["chunks"][at:at + 1] = [
        {"type": entry["type"], "text": "piece %d" % i, "flags_exactly": f}
        for i, f in enumerate(flags)]


SPANS = {"five": [128] * 4 + [0], "nine": [128] * 8 + [0], "no end": [128],
         "no end, more": [128, 128], "gzip then not": [132, 0], "not then gzip": [128, 4],
         "alternate then not": [130, 0], "padding then not": [129, 0], "reserved": [136, 8]}


@fault(*SPANS)
def span(spec, rng, name):
    pieces_with(spec, rng, SPANS[name])


@fault()
def span_of_two_types(spec, rng, _):
    entry = plainly(spec, rng, flags=128)
    insert_behind(spec, entry, {"type": 131 if entry["type"] > 128 else 67, "text": "a"})


@fault(*range(3))
def one_piece(spec, rng, number):
    how = rng.choice(({"signature": "bad"}, {"flags_exactly": 8}, {"pad": 1}, {"length": 17},
                      {"dead_slots": [rng.randrange(2)]}))
    entry = content(spec, rng)
    replace(entry, {"fill": {"size": 300}, "pieces": [100, 100, 100],
                    "on_piece": {str(number): how}})
    insert_behind(spec, entry, {"type": entry["type"], "text": "behind"})


def packed():
    good = crypto.gzip(b"some text " * 30)
    return {"cut": good[:-1], "no end": good[:-9], "octet behind": good + b"\0",
            "two members": good + good, "size": good[:-4] + bytes(4),
            "checksum": good[:-8] + bytes(8), "raw": good[10:-8],
            "zlib": b"\x78\x9c" + good[10:-8], "method": good[:2] + b"\7" + good[3:],
            "reserved flag": good[:3] + b"\x20" + good[4:], "two octets": good[:2],
            "bomb": crypto.gzip(bytes(8 << 20)),
            "one octet too much": crypto.gzip(bytes((1 << 20) + 1))}


# What is right all the same, though our writer does not make it
UNUSUAL = {
    "name": b"\x1f\x8b\x08\x08" + bytes(5) + b"\3name\0",
    "comment": b"\x1f\x8b\x08\x10" + bytes(5) + b"\3comment\0",
    "extra": b"\x1f\x8b\x08\x04" + bytes(5) + b"\3\2\0ab",
    "time": b"\x1f\x8b\x08\0\1\2\3\4\0\3"}


@fault(*packed())
def gzip(spec, rng, name):
    plainly(spec, rng, packed()[name], flags=crypto.FLAG_GZIP)


@fault(*UNUSUAL)
def gzip_header(spec, rng, name):
    octets = UNUSUAL[name] + crypto.gzip(b"text")[10:]
    plainly(spec, rng, octets, flags=crypto.FLAG_GZIP)


# Texts


PRINT = "A" * 86


def envelope_lines(kind):
    first, second = ("Author", "Destination") if kind == m.ORIGIN else ("Recipient", "Origin")
    return ["%s: <a@b.example>" % first, "%s-Signet: [%s]" % (first, PRINT),
            "%s: <b.example>" % second, "%s-Signet: [%s]" % (second, PRINT)]


LINES = {
    "other names": lambda lines: lines,
    "fifth line": lambda lines: lines + ["X: y"],
    "three lines": lambda lines: lines[:3],
    "lines swapped": lambda lines: [lines[1], lines[0]] + lines[2:],
    "halves swapped": lambda lines: lines[2:] + lines[:2],
    "no closing": lambda lines: [lines[0][:-1]] + lines[1:],
    "85 characters": lambda lines: [lines[0], lines[1].replace("A]", "]")] + lines[2:],
    "87 characters": lambda lines: [lines[0], lines[1].replace("A]", "AA]")] + lines[2:],
    "no base 64": lambda lines: [lines[0], lines[1].replace("A]", "-]")] + lines[2:],
    "bits behind the octets": lambda lines: [lines[0], lines[1].replace("A]", "B]")] + lines[2:],
    "lower case": lambda lines: [lines[0].lower()] + lines[1:],
    "no space": lambda lines: [lines[0].replace(": ", ":")] + lines[1:],
    "two spaces": lambda lines: [lines[0].replace(": ", ":  ")] + lines[1:],
    "no address": lambda lines: [lines[0].replace("a@b.example", "")] + lines[1:],
    "domain for an address": lambda lines: [lines[0].replace("a@", "")] + lines[1:],
    "address for a domain": lambda lines: lines[:2] + [lines[2].replace("<", "<a@"), lines[3]],
    "upper case": lambda lines: [lines[0].replace("a@b", "A@B")] + lines[1:],
    "spaces in the address": lambda lines: [lines[0].replace("a@b", "a @b")] + lines[1:],
    "control character": lambda lines: [lines[0].replace("a@b", "a\1@b")] + lines[1:],
    "not ASCII": lambda lines: [lines[0].replace("a@b", "\u00fc@b")] + lines[1:],
    "long address": lambda lines: [lines[0].replace("a@b", "a" * 64 + "@b")] + lines[1:],
    "very long address": lambda lines: [lines[0].replace("a@b", "a" * 300 + "@b")] + lines[1:],
}


@fault(*["%d %s" % (kind, name) for kind in (m.ORIGIN, m.DESTINATION) for name in LINES])
def envelope(spec, _, case):
    kind, name = case.split(" ", 1)
    lines = LINES[name](envelope_lines(int(kind)))
    replace(entry_of(spec, int(kind)), {"text": "".join(line + "\r\n" for line in lines)})


@fault(m.ORIGIN, m.DESTINATION)
def envelope_of_the_other(spec, _, kind):
    other = m.ORIGIN + m.DESTINATION - kind
    text = "".join(line + "\r\n" for line in envelope_lines(other))
    replace(entry_of(spec, kind), {"text": text})


@fault(m.ORIGIN, m.DESTINATION)
def envelope_in_lf(spec, _, kind):
    text = "".join(line + "\n" for line in envelope_lines(kind))
    replace(entry_of(spec, kind), {"text": text})


@fault("author", "origin", "destination", "recipient")
def another_name(spec, _, role):
    domain = role in ("origin", "destination")
    spec[role]["name"] = "other.example" if domain else "mallory@other.example"


@fault("author", "origin", "destination", "recipient")
def another_print(spec, _, role):
    spec[role]["print"] = "B" * 85 + "A"


COMMON = {
    "unknown": b"To: a\r\nX-Foo: b\r\n", "twice": b"To: a\r\nTo: b\r\n",
    "twice apart": b"To: a\r\nDate: d\r\nTo: b\r\n", "lower case": b"to: a\r\n",
    "no end": b"To: a", "LF": b"To: a\n", "LF once": b"To: a\nDate: b\r\n",
    "folded": b"To: a\r\n b\r\n", "blank line": b"To: a\r\n\r\n", "CR": b"To: a\rb\r\n",
    "NUL": b"To: a\0\r\n", "not UTF-8": b"To: \xff\r\n", "overlong": b"To: \xc0\xaf\r\n",
    "surrogate": b"To: \xed\xa0\x80\r\n", "beyond Unicode": b"To: \xf4\x90\x80\x80\r\n",
    "cut UTF-8": b"To: \xe2\x82\r\n", "no colon": b"To a\r\n", "no space": b"To:a\r\n",
    "space before the colon": b"To : a\r\n", "no name": b": a\r\n", "DEL": b"To: a\x7fb\r\n",
    "space before": b" To: a\r\n", "cc in lower case": b"Cc: a\r\n",
    # right
    "one": b"To: a\r\n", "empty value": b"To: \r\n", "tab": b"To: a\tb\r\n",
    "all": b"Subject: s\r\nOrganization: o\r\nFrom: f\r\nCC: c\r\nTo: t\r\nDate: d\r\n",
    "UTF-8 of every length": "To: a\u00fc\u20ac\U0001f600\r\n".encode(),
    "C1": "To: a\u0085\u009fb\r\n".encode(), "U+2028": "To: a\u2028b\r\n".encode(),
    "BOM": "To: \ufeffa\r\n".encode(), "noncharacter": "To: \uffff\r\n".encode(),
    # settled neither by the specification nor by a decision
    "control character": b"To: a\x01b\r\n", "ESC": b"To: a\x1b[0m\r\n", "VT": b"To: a\x0bb\r\n",
}


@fault(*COMMON)
def common(spec, _, name):
    replace(entry_of(spec, m.COMMON), {"hex": COMMON[name].hex()})


@fault(m.ORIGIN, m.DESTINATION, m.COMMON)
def compressed_text(spec, _, kind):
    entry = entry_of(spec, kind)
    entry.pop("padding", None)
    entry["gzip"] = True


@fault(*TEXTS, m.ALTERNATE)
def alternate_key_of(spec, _, kind):
    entry = entry_of(spec, kind)
    if kind == m.ALTERNATE:
        replace(entry, {"text": "another key"})
    entry.pop("gzip", None)
    entry["flags"] = crypto.FLAG_ALTERNATE


@fault(*TEXTS, m.ALTERNATE)
def continued_for_another_key(spec, _, kind):
    entry = entry_of(spec, kind)
    if kind == m.ALTERNATE:
        replace(entry, {"text": "another key"})
    entry.pop("gzip", None)
    entry["flags"] = crypto.FLAG_ALTERNATE | crypto.FLAG_MORE


@fault("signature", "no signature", "flag 8", "length beyond", "length 0",
       "last octet of the padding", "no keyslot of the recipient", "not compressed")
def alternate_chunk(spec, _, name):
    replace(entry_of(spec, m.ALTERNATE), {"text": "eleven octs"} | PAYLOADS[name])


# Signatures


@fault(*["%s %d" % (how, kind) for kind in m.SIGNATURES
         for how in ("bad", "placeholder", "mallory")])
def signature(spec, _, case):
    how, kind = case.split()
    entry = entry_of(spec, int(kind))
    entry.pop("signer", None)
    entry.pop("signature", None)
    entry.update({"signer": MALLORY} if how == "mallory" else {"signature": how})


@fault("bad", "placeholder")
def libdime_tree_with_226(spec, _, how):
    entry_of(spec, m.TREE)["variant"] = "libdime"
    entry_of(spec, m.AUTHOR)["signature"] = how


@fault(*TEXTS, *m.SIGNATURES, "content")
def flipped_on_the_way(spec, rng, kind):
    """Between author and origin."""
    wanted = m.CONTENT if kind == "content" else (kind,)
    if kind != "content":
        entry_of(spec, kind)
    late = kind in (m.META_BOUNCE, m.DISPLAY_BOUNCE, m.ORG)
    edit(spec, op="flip", chunk=number_of(spec, rng, wanted), at=-1 - rng.randrange(130),
         bit=rng.randrange(8), when="end" if late else "author")


@fault(*TEXTS, *m.SIGNATURES, "content")
def flipped_after_all(spec, rng, kind):
    wanted = m.CONTENT if kind == "content" else (kind,)
    if kind != "content":
        entry_of(spec, kind)
    edit(spec, op="flip", chunk=number_of(spec, rng, wanted), at=-1 - rng.randrange(130),
         bit=rng.randrange(8))


@fault()
def chunk_of_another_message(spec, rng, _):
    """Lifted with its good signature into a message that Mallory signs (D-100)."""
    plainly(spec, rng)
    for kind in (m.TREE, m.AUTHOR):
        entry_of(spec, kind)["signer"] = MALLORY


# Armor


def armored(spec, **how):
    spec["armor"] = how or True


@fault("USER SIGNET", "UNENCRYPTED MESSAGE", "encrypted message", "A")
def label(spec, _, text):
    armored(spec, label=text)


@fault(1, 2, 3, 5, 63, 65, 10_000)
def width(spec, _, n):
    armored(spec, width=n)


@fault()
def cut_armor(spec, rng, _):
    armored(spec)
    spec["cut"] = rng.randrange(1, 1000)


ARMOR_CHANGES = {
    "CRC": lambda t: t.replace(b"\n=", b"\n=A", 1)[:-1],
    "blank": lambda t: t[:100] + b" " + t[100:], "minus": lambda t: t[:100] + b"-" + t[101:],
    "equals sign": lambda t: t[:100] + b"=" + t[101:],
    "one character less": lambda t: t[:100] + t[101:],
    "one character more": lambda t: t[:100] + b"A" + t[100:],
    "no end": lambda t: t[:t.index(b"-----END")],
    "end of another": lambda t: t.replace(b"END ENC", b"END UNENC"),
    "octet above 127": lambda t: t[:100] + b"\xc3" + t[101:],
    "text in front": lambda t: b"Dear Bob,\n\n" + t, "text behind": lambda t: t + b"Yours\n",
    "CR in front of every LF": lambda t: t.replace(b"\n", b"\r\n"),
    "twice": lambda t: t + t, "empty line": lambda t: t[:99] + b"\n\n" + t[99:],
    "begins twice": lambda t: t[:t.index(b"\n") + 1] + t,
    "UTF-8 in front": lambda t: b"B\xc3\xb6b\n" + t,
}


@fault(*ARMOR_CHANGES)
def armor(spec, _, name):
    armored(spec, crc=True)
    spec["change"] = name


def make(spec):
    """The octets, with what the description cannot say about armor."""
    octets = making.make(spec)
    if "cut" in spec:
        octets = octets[:-spec["cut"]]
    if "change" in spec:
        octets = ARMOR_CHANGES[spec["change"]](octets)
    return octets
