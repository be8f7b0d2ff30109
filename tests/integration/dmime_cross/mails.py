"""A mail from what a message holds, by the words of dime/mime.h and nothing else: what the C
library writes can be turned into the same octets by whoever reads that page."""

import re

from dmime_py import texts

COMMON = ("Date", "To", "CC", "From", "Organization", "Subject")
MULTIPARTS = (65, 66, 129, 130)
RAW = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\n"
FIELD = re.compile(rb"[!-9;-~]+:")


class Wrong(AssertionError):
    """It does not add up."""


def must(holds, what):
    if not holds:
        raise Wrong(what)


def fields_of(octets):
    """[(name, the field with its folds and ends)]"""
    out = []
    for line in re.findall(rb".*?\r\n", octets, re.S):
        if line[:1] in b" \t":
            must(out, "a fold in front")
            out[-1] = (out[-1][0], out[-1][1] + line)
        else:
            must(FIELD.match(line), "no field: %r" % line[:60])
            out.append((line.split(b":")[0].decode(), line))
    must(b"".join(f for _, f in out) == octets, "fields that do not end")
    return out


def value(field):
    return b"".join(field.split(b":", 1)[1].split(b"\r\n")).strip(b" \t")


def split(octets):
    """header, body; None if there is no empty line"""
    if octets.startswith(b"\r\n"):
        return b"", octets[2:]
    head, end, body = octets.partition(b"\r\n\r\n")
    return (head + b"\r\n", body) if end else None


class Entry:
    """A chunk of the content: a multipart or a part."""

    def __init__(self, kind, data):
        self.position = None
        self.multipart = kind in MULTIPARTS
        if self.multipart:
            self.read_multipart(data)
        else:
            self.read_part(data)

    def read_multipart(self, data):
        head, rest = split(data)
        told = {name: int(value(f)) for name, f in fields_of(head)}
        must({"Children", "Preamble", "Epilogue"} <= set(told) <=
             {"Children", "Preamble", "Epilogue", "Position"}, "head of a multipart")
        own, rest = split(rest)
        self.fields = fields_of(own)
        self.children, self.position = told["Children"], told.get("Position")
        must(len(rest) == told["Preamble"] + told["Epilogue"], "preamble and epilogue")
        self.preamble, self.epilogue = rest[:told["Preamble"]], rest[told["Preamble"]:]

    def read_part(self, data):
        halves = split(data) if FIELD.match(data) else None
        if halves is None:  # D-113
            self.fields, self.body = [], data
            return
        self.fields, self.body = fields_of(halves[0]), halves[1]
        if self.fields and self.fields[0][0] == "X-Dime-Position":
            self.position = int(value(self.fields.pop(0)[1]))


def in_order(parts):
    entries = [Entry(*part) for part in parts]
    numbers = list(range(1, len(entries) + 1))
    told = [e.position for e in entries]
    if None not in told:
        must(sorted(told) == numbers, "positions %s" % told)
        return sorted(entries, key=lambda e: e.position)
    must(all(p in (None, n) for p, n in zip(told, numbers)), "positions %s" % told)
    return entries


def boundary(fields):
    """Of the one Content-Type: a token or a quoted string, among comments that do not nest."""
    head = b"".join(value(f) for name, f in fields if name.lower() == "content-type")
    head = re.sub(rb'("(?:[^"\\]|\\.)*")|\([^()]*\)', lambda found: found[1] or b"", head)
    found = re.search(rb';\s*boundary\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', head, re.I)
    must(found, "no boundary in %r" % head)
    return re.sub(rb"\\(.)", rb"\1", found[1]) if found[1] is not None else found[2]


def multipart(fields, preamble, epilogue, children):
    mark = b"--" + boundary(fields)
    return (preamble + b"".join(mark + b"\r\n" + child + b"\r\n" for child in children) +
            mark + b"--" + epilogue)


def body_of(entry, rest):
    """Behind the empty line; takes children from the front of rest."""
    if not entry.multipart:
        return entry.body
    children = [whole(rest) for _ in range(entry.children)]
    return multipart(entry.fields, entry.preamble, entry.epilogue, children)


def whole(rest):
    must(rest, "a child is missing")
    entry = rest.pop(0)
    return b"".join(f for _, f in entry.fields) + b"\r\n" + body_of(entry, rest)


def common_field(name, common):
    shown = common[next(c for c in COMMON if c.lower() == name.lower())].encode()
    return b"%s: %s\r\n" % (name.encode(), shown) if shown else name.encode() + b":\r\n"


def header(fields, common, moved):
    """The mail's, and what 34 says about the rest."""
    out, told, absent = [], {}, []
    moved = list(moved)
    for name, field in fields:
        if name == "X-Dime-Here":
            for place in re.split(r", *", value(field).decode()):
                if place.lower().startswith("content-"):
                    must(moved and moved[0][0] == place, "%s is not there" % place)
                    out.append(moved.pop(0))
                else:
                    out.append((place, common_field(place, common)))
        elif name.startswith("X-Dime-Original-"):
            bare = name[len("X-Dime-Original-"):]
            shown = common[next(c for c in COMMON if c.lower() == bare.lower())].encode()
            must(value(field) == shown, "%s is another" % name)
            out.append((bare, field[len("X-Dime-Original-"):]))
        elif name == "X-Dime-Absent":
            absent += re.split(r", *", value(field).decode())
        elif name.startswith("X-Dime-"):
            told[name] = value(field)
        else:
            out.append((name, field))
    must(not moved, "fields of the part have no place")
    if "MIME-Version" in absent:
        out = [(name, field) for name, field in out if name != "MIME-Version"]
    return out, told


def around(told, name, usual):
    """Base 64 in lines, without padding."""
    if name not in told:
        return usual
    return texts.unbase64(re.sub(rb"[ \t]", b"", told[name]).decode())


def rebuilt(common, headers, parts):
    """common: name -> text of chunk 33; headers: the octets of 34; parts: (type, octets)"""
    fields = fields_of(headers)
    if any(name == "X-Dime-Raw" for name, _ in fields):
        must(len(parts) == 1 and parts[0][0] == 67 and parts[0][1].startswith(RAW), "raw")
        return parts[0][1][len(RAW):]
    rest = in_order(parts)
    mixed = any(name.lower() == "content-type" and value(f).lower().startswith(b"multipart/")
                for name, f in fields)
    if mixed:
        head, told = header(fields, common, ())
        children = []
        while rest:
            children.append(whole(rest))
        body = multipart(head, around(told, "X-Dime-Preamble", b""),
                         around(told, "X-Dime-Epilogue", b"\r\n"), children)
    else:
        entry = rest.pop(0)
        head, _ = header(fields, common, entry.fields)
        body = body_of(entry, rest)
    must(not rest, "parts that belong nowhere")
    return b"".join(f for _, f in head) + b"\r\n" + body
