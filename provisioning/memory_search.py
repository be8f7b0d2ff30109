#!/usr/bin/env python3
"""Searches the memory of running processes for secrets, as root could.

  memory_search.py SECRETFILE... -- PID...
  memory_search.py --control SECRETFILE...

SECRETFILE: a private key file of libdime's form (armour or binary), of which the seed,
the scalar and the expanded Ed25519 key are searched for, or any other file, whose
octets are. Each is looked for as it is, in hexadecimal and in base64, by halves of 16
octets, so that a part that is left over is found as well.

One line a process: its id, how many octets were read, what was found. Exit 0: all were
read and nothing was found; 1: something was found; 2: a process or most of its memory
could not be read, which proves nothing.

--control searches a process of its own that holds the secrets, and no list of what to
look for; what that does not find is not found elsewhere either."""

import base64
import hashlib
import os
import re
import subprocess
import sys

PIECE = 16  # octets: enough not to be there by chance
BLOCK = 1 << 20
ORG_KEYS, USER_KEYS = 1952, 2013


def secrets_of(path):
    """Pairs of a name and the octets."""
    with open(path, "rb") as f:
        octets = f.read()
    armour = re.search(rb"-----BEGIN [A-Z ]*KEY-----\s(.*?)(?:\n=....)?\s-----END", octets, re.S)
    key = base64.b64decode(armour.group(1)) if armour else octets
    if len(key) > 70 and int.from_bytes(key[:2], "big") in (ORG_KEYS, USER_KEYS):
        seed, scalar = key[7:39], key[-32:]
        expanded = bytearray(hashlib.sha512(seed).digest())
        expanded[0] &= 248
        expanded[31] = expanded[31] & 63 | 64
        return [("signing seed", seed), ("encryption scalar", scalar),
                ("expanded signing key", bytes(expanded))]
    return [(os.path.basename(path), octets)]


def forms_of(piece):
    """Every way in which the piece may be written."""
    yield piece
    yield piece.hex().encode()
    yield piece.hex().upper().encode()
    for shift in range(3):  # base64 of a longer text has it at any of three places
        text = base64.b64encode(bytes(shift) + piece)
        # Without what the octets beside it have a say in.
        yield text[(0, 2, 3)[shift]:len(text) // 4 * 4 - 4]


def needles_of(paths):
    found = {}
    for path in paths:
        for name, octets in secrets_of(path):
            if len(octets) < PIECE:
                sys.exit("memory_search.py: %s: too short to be told from chance" % path)
            for at in range(0, len(octets) - PIECE + 1, PIECE):
                for form in forms_of(octets[at:at + PIECE]):
                    found[form] = name
    return found


def regions(pid):
    with open("/proc/%d/maps" % pid, encoding="ascii", errors="replace") as f:
        for line in f:
            span, rights, _ = line.split(None, 2)
            start, end = (int(x, 16) for x in span.split("-"))
            # The kernel's own pages, the same for everybody and not all readable.
            if not line.rstrip().endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                yield start, end, rights


def search(pid, needles):
    """Octets read, octets that are there but would not be read, needles found."""
    size, hidden, found = 0, 0, set()
    with open("/proc/%d/mem" % pid, "rb", buffering=0) as mem:
        for start, end, rights in regions(pid):
            at, left_over = start, b""
            while at < end:
                try:
                    mem.seek(at)
                    block = mem.read(min(BLOCK, end - at))
                except OSError:
                    block = b""
                if not block:
                    # Guard pages may refuse; what the process itself reads should not.
                    hidden += end - at if rights[0] == "r" else 0
                    break
                text = left_over + block
                found |= {n for n in needles if n in text}
                left_over = text[-128:]
                size += len(block)
                at += len(block)
    return size, hidden, found


def tell(pid, needles):
    try:
        size, hidden, found = search(pid, needles)
    except OSError as e:
        print("%d: cannot be read: %s" % (pid, e.strerror))
        return 2
    names = {needles[n] for n in found}
    print("%d: %d octets read, %d hidden: %s"
          % (pid, size, hidden, ", ".join(sorted(names)) if names else "nothing"))
    if names:
        return 1
    return 0 if size > hidden and size > 100000 else 2


def control(paths):
    """The other process is given the octets alone, and says when it holds every form."""
    octets = b"".join(o for p in paths for _, o in secrets_of(p))
    hold = ("import base64, sys; b = sys.stdin.buffer.read(%d);"
            "k = [b.hex().encode(), b.hex().upper().encode()];"
            "k += [base64.b64encode(bytes(i) + b) for i in range(3)];"
            "print(len(k), flush=True); sys.stdin.buffer.read()" % len(octets))
    needles = needles_of(paths)
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as p:
        p.stdin.write(octets)
        p.stdin.flush()
        p.stdout.readline()
        _, _, found = search(p.pid, needles)
        p.stdin.close()
    print("control: %d of %d forms of %s found"
          % (len(found), len(needles), ", ".join(sorted(set(needles.values())))))
    return 0 if len(found) == len(needles) else 1


def main(argv):
    if len(argv) > 1 and argv[0] == "--control":
        return control(argv[1:])
    if "--" not in argv or argv[0] == "--" or argv[-1] == "--":
        print(__doc__, file=sys.stderr)
        return 64
    at = argv.index("--")
    needles = needles_of(argv[:at])
    # The most telling of all.
    statuses = [tell(int(pid), needles) for pid in argv[at + 1:]]
    return 1 if 1 in statuses else max(statuses)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
