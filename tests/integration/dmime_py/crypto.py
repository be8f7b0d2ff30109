"""Keys of chunks, payloads, padding, compression, signatures: one function per rule."""

import hashlib
import zlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import (Ed25519PrivateKey,
                                                               Ed25519PublicKey)
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from . import message as m

FLAG_PADDING, FLAG_ALTERNATE, FLAG_GZIP, FLAG_MORE = 1, 2, 4, 128
FLAGS = FLAG_PADDING | FLAG_ALTERNATE | FLAG_GZIP | FLAG_MORE
FIXED = 69
MEBI = 1 << 20
MESSAGE_LIMIT = 64 * MEBI  # D-124
GZIP_RATIO = 200  # D-122


class Corrupt(Exception):
    """One chunk, or one span. The text is for people: every reason is the same one (DM-50)."""


class ZeroLength(Corrupt):
    """A data length of 0, which rejects the whole message."""


# Primitives


def sha512(octets):
    return hashlib.sha512(octets).digest()


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


def cbc_encrypt(key, iv, plain):
    e = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return e.update(plain) + e.finalize()


def cbc_decrypt(key, iv, cipher):
    d = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    return d.update(cipher) + d.finalize()


def sign(seed, octets):
    return Ed25519PrivateKey.from_private_bytes(seed).sign(octets)


def verifies(public, signature, octets):
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, octets)
        return True
    except InvalidSignature:
        return False


def ed25519_public(seed):
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(
        Encoding.Raw, PublicFormat.Raw)


def secp256k1_private(scalar):
    return ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256K1())


def secp256k1_public(scalar):
    """Compressed, 33 octets."""
    return secp256k1_private(scalar).public_key().public_bytes(
        Encoding.X962, PublicFormat.CompressedPoint)


def point(octets):
    """A public key of 33 octets. Raises Bad, as it is the ephemeral chunk's."""
    if len(octets) != 33 or octets[0] not in (2, 3):
        raise m.Bad("not a compressed point")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), octets)
    except ValueError:
        raise m.Bad("a point that is not on the curve") from None


# Keys of actors and chunks


@dataclass
class Kek:
    z: bytes
    iv: bytes
    key: bytes


def kek(scalar, public):
    """D-093: one side's scalar, the other's compressed point; z is the x coordinate."""
    z = secp256k1_private(scalar).exchange(ec.ECDH(), point(public))
    h = sha512(z)
    return Kek(z, xor(h[0:16], h[16:32]), h[32:64])


def slot_seal(actor, random, iv, key):
    """D-095; the KEK's IV serves all slots of an actor (D-094), so `random` never repeats."""
    return cbc_encrypt(actor.key, actor.iv, random + xor(random, iv) + key)


def slot_open(actor, slot):
    """random, iv, key; nothing tells whether they are right"""
    plain = cbc_decrypt(actor.key, actor.iv, slot)
    return plain[:16], xor(plain[:16], plain[16:32]), plain[32:]


# Payloads


@dataclass
class Payload:
    signature: bytes
    length: int
    flags: int
    pad: int
    rest: bytes  # data and padding
    signed: bytes  # all after the signature (D-099)

    @property
    def data(self):
        return self.rest[:self.length]

    @property
    def padding(self):
        return self.rest[self.length:]


def payload_split(plain):
    return Payload(plain[:64], int.from_bytes(plain[64:67], "big"), plain[67], plain[68],
                   plain[69:], plain[64:])


def payload_check(p, author=None):
    """Whether an opened payload is as it must be; `author` is the public key of who made it,
    None where the reader cannot know. The signature first: nothing else means anything
    before. Raises Corrupt."""
    if author is not None and not verifies(author, p.signature, p.signed):
        raise Corrupt("chunk signature")
    if p.length == 0:
        raise ZeroLength("data length 0")
    if p.length > len(p.rest):
        raise Corrupt("data length %d, %d octets are there" % (p.length, len(p.rest)))
    if p.flags & ~FLAGS:
        raise Corrupt("reserved flags in %d" % p.flags)
    if not padding_fits(p):
        raise Corrupt("padding of %d octets, pad octet %d" % (len(p.padding), p.pad))


def align(n):
    """Octets from a data length to the next payload that is a multiple of 16."""
    return -(FIXED + n) % 16


def padding_fits(p):
    if p.padding != bytes([p.pad]) * len(p.padding):
        return False
    if p.flags & FLAG_PADDING:  # D-102: the octet counts blocks beyond alignment
        aligned = align(p.length)
        counted = aligned + 16 * p.pad
        return len(p.padding) == counted or (aligned == 0 and len(p.padding) == 16 + counted)
    return len(p.padding) == p.pad or (p.pad == 0 and len(p.padding) == 256)  # D-101


def pad_octet(n, total, flags):
    """The octet that says `total` octets of padding after n of data."""
    if flags & FLAG_PADDING:
        return (total - align(n)) // 16 % 256
    return total % 256


def padding_total(n, kind, rng):
    """How much padding to add, D-103, by the default algorithm."""
    size = FIXED + n
    if kind in (m.ORIGIN, m.DESTINATION):
        least = max(512, -(-size // 256) * 256)
    else:
        least = max(256, size + align(n))
    total = least - size
    if kind not in (m.ORIGIN, m.DESTINATION):
        total += 16 * rng.below((255 - total) // 16 + 1)
    return total


# Spans and compression


def span_check(pieces):
    """`pieces`: the payloads of one span in their order. D-121."""
    if pieces[-1].flags & FLAG_MORE:
        raise Corrupt("the last piece is missing")
    if len({p.flags & ~FLAG_MORE for p in pieces}) != 1:
        raise Corrupt("pieces of different flags")
    if len(pieces) > 4 and sum(p.length for p in pieces) <= m.MAX_FOUR:
        raise Corrupt("%d pieces without need" % len(pieces))


def gunzip(octets, limit=MESSAGE_LIMIT):
    """One member, nothing after it, not too large (D-122)."""
    if limit > MEBI:
        limit = min(limit, max(MEBI, GZIP_RATIO * len(octets)))
    z = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        out = z.decompress(octets, limit + 1)
    except zlib.error as e:
        raise Corrupt("gzip: %s" % e) from None
    if len(out) > limit:
        raise Corrupt("gzip: more than %d octets" % limit)
    if not z.eof or z.unused_data or z.unconsumed_tail:
        raise Corrupt("gzip: it ends too early, or does not end where it should")
    return out


def gzip(octets):
    """Without time or name: the same octets for the same octets."""
    z = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return z.compress(octets) + z.flush()


# What the signature chunks sign


def tree_input(chunks, variant="correct"):
    """D-115: the SHA-512 of every chunk before 225. The libdime form leaves the destination's
    out and has 64 zero octets at the end instead."""
    covered = [c for c in chunks if m.EPHEMERAL <= c.type < m.TREE]
    if variant == "correct":
        return b"".join(sha512(c.octets()) for c in covered)
    return b"".join(sha512(c.octets()) for c in covered if c.type != m.DESTINATION) + bytes(64)


# signature: up to which type the chunks themselves are signed, D-116 to D-118
LAST_SIGNED = {m.AUTHOR: m.TREE, m.META_BOUNCE: 63, m.DISPLAY_BOUNCE: 127,
               m.ORG: m.DISPLAY_BOUNCE}


def signature_input(chunks, kind):
    """Tracing is never part of it."""
    return b"".join(c.octets() for c in chunks
                    if m.EPHEMERAL <= c.type <= LAST_SIGNED[kind])


def tree_variant(chunks, signature, author):
    """correct, libdime, or None if it is neither"""
    for variant in ("correct", "libdime"):
        if verifies(author, signature, tree_input(chunks, variant)):
            return variant
    return None
