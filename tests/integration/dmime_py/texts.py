"""Text in messages: the envelope chunks 4 and 5, the common headers 33, armor."""

import base64
import re

from .crypto import Corrupt

# Names are spelt one way (D-052), and so is a fingerprint: the last character has two bits of
# its octet and four that are 0.
HOST_LABEL = rb"(?!-)[a-z0-9-]{1,63}(?<!-)"
DOMAIN = rb"(?=.{1,253}>)(?:" + HOST_LABEL + rb"\.)*(?![0-9]+>)" + HOST_LABEL
ATOM = rb"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
ADDRESS = rb"(?=.{1,254}>)(?=[^@]{1,64}@)" + ATOM + rb"(?:\." + ATOM + rb")*@" + DOMAIN
PRINT = rb"[A-Za-z0-9+/]{85}[AQgw]"
FIELDS = {4: ("Author", "Destination"), 5: ("Recipient", "Origin")}
COMMON = ("Date", "To", "CC", "From", "Organization", "Subject")
NEEDED = ("Date", "To", "From", "Subject")
LABEL = "ENCRYPTED MESSAGE"
LABELS = ("USER SIGNET", "ORGANIZATIONAL SIGNET", "USER KEY", "ORGANIZATIONAL KEY", LABEL,
          "SIGNET SIGNING REQUEST", "ENCRYPTED USER KEY", "ENCRYPTED ORGANIZATIONAL KEY")


class BadArmor(Exception):
    pass


def envelope(kind, first, first_print, second, second_print):
    """Chunk 4 or 5 (D-110)."""
    a, b = FIELDS[kind]
    return ("%s: <%s>\r\n%s-Signet: [%s]\r\n%s: <%s>\r\n%s-Signet: [%s]\r\n" %
            (a, first, a, first_print, b, second, b, second_print)).encode()


def envelope_read(kind, octets):
    """name -> value of the four lines. Four lines in this order, nothing more."""
    a, b = (name.encode() for name in FIELDS[kind])
    lines = re.fullmatch(
        a + rb": <(" + ADDRESS + rb")>\r\n" + a + rb"-Signet: \[(" + PRINT + rb")\]\r\n" +
        b + rb": <(" + DOMAIN + rb")>\r\n" + b + rb"-Signet: \[(" + PRINT + rb")\]\r\n",
        octets)
    if not lines:
        raise Corrupt("text of chunk %d" % kind)
    names = [n.decode() for n in (a, a + b"-Signet", b, b + b"-Signet")]
    return dict(zip(names, (g.decode() for g in lines.groups())))


def common(values):
    """Chunk 33 (D-112): in this order, the four that are needed even if empty."""
    unknown = set(values) - set(COMMON)
    if unknown:
        raise ValueError("no common header: %s" % ", ".join(sorted(unknown)))
    return "".join("%s: %s\r\n" % (name, values.get(name, "")) for name in COMMON
                   if name in values or name in NEEDED).encode()


def common_read(octets):
    """name -> value. Any order and number of the six names, each once and on one line, in
    UTF-8. RFC 5322 still reads control characters, but for those that end lines, NUL and what
    RFC 6532 leaves out."""
    values = {}
    if not octets.endswith(b"\r\n"):
        raise Corrupt("common headers: no end of line at the end")
    for line in octets[:-2].split(b"\r\n"):
        try:
            name, colon, value = line.decode().partition(": ")
        except UnicodeDecodeError:
            raise Corrupt("common headers: not UTF-8") from None
        if not colon or name not in COMMON or name in values:
            raise Corrupt("common headers: unknown, or twice")
        if re.search(r"[\x00\r\n\x7f]", value):
            raise Corrupt("common headers: control character")
        values[name] = value
    return values


# Armor


def crc24_of(octet):
    crc = octet << 16
    for _ in range(8):
        crc <<= 1
        if crc & 0x1000000:
            crc ^= 0x1864CFB
    return crc


CRC24 = [crc24_of(octet) for octet in range(256)]


def crc24(octets):
    """OpenPGP's."""
    crc = 0xB704CE
    for octet in octets:
        crc = (crc << 8 & 0xFFFFFF) ^ CRC24[crc >> 16 ^ octet]
    return crc


def unbase64(text):
    """Padding may be there or not (D-127)."""
    body = text.rstrip("=")
    pads = len(text) - len(body)
    if not re.fullmatch(r"[A-Za-z0-9+/]*", body) or len(body) % 4 == 1:
        raise BadArmor("not base 64")
    if pads and pads != -len(body) % 4:
        raise BadArmor("base 64 with the wrong padding")
    octets = base64.b64decode(body + "=" * (-len(body) % 4))
    if base64_bare(octets) != body:
        raise BadArmor("base 64 with bits behind the last octet")
    return octets


def base64_bare(octets):
    return base64.b64encode(octets).decode().rstrip("=")


def armor(octets, label=LABEL, width=64, padding=False, crc=False, end="\n"):
    """As D-127 writes unless told otherwise."""
    body = base64.b64encode(octets).decode()
    if not padding:
        body = body.rstrip("=")
    lines = ["-----BEGIN %s-----" % label]
    lines += [body[at:at + width] for at in range(0, len(body), width)]
    if crc:
        lines.append("=" + base64.b64encode(crc24(octets).to_bytes(3, "big")).decode())
    lines.append("-----END %s-----" % label)
    return end.join(lines) + end


def unarmor(text):
    """label, octets. One block, any width, LF or CRLF, padding or none, a CRC line or none; a
    CRC that is there must be right (D-053). Text around it is nothing."""
    found = re.search(r"^-----BEGIN ([A-Z ]+)-----\r?\n(.*?)^-----END \1-----\r?$", text,
                      re.S | re.M)
    if not found or len(re.findall(r"^-----(?:BEGIN|END) ", text, re.M)) != 2:
        raise BadArmor("no armor, or more than one")
    label, body = found.groups()
    if label not in LABELS:
        raise BadArmor("label %s" % label)
    lines = [line.rstrip("\r") for line in body.split("\n")[:-1]]
    if not lines or not all(lines):
        raise BadArmor("no lines, or empty ones")
    crc = None
    if lines and re.fullmatch(r"=[A-Za-z0-9+/]{4}", lines[-1]):
        crc = int.from_bytes(base64.b64decode(lines.pop()[1:]), "big")
    octets = unbase64("".join(lines))
    if crc is not None and crc != crc24(octets):
        raise BadArmor("the CRC is another")
    return label, octets


def armored(octets):
    """No binary object begins as text does."""
    return octets[:1] > b"\x08" and re.search(rb"^-----(BEGIN|END) ", octets, re.M) is not None


def binary(octets):
    """Of any object that may be armored or not. Its magic number says what it is, not its label
    (D-054)."""
    return unarmor(octets.decode("latin-1"))[1] if armored(octets) else octets
