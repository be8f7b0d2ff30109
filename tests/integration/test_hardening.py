#!/usr/bin/env python3
"""Reads what was built and says whether it is hardened as keyd/README.md promises.

  test_hardening.py BUILD_DIR       every ELF program, library and object in it
  test_hardening.py --self-test CC  builds one bad program per rule and sees it found

Flags in a build file prove nothing: one option in the wrong order switches FORTIFY off
without a word. So the binaries are read, with readelf (binutils)."""

import json
import os
import re
import subprocess
import sys
import tempfile

# What no program of ours may import. FORTIFY renames some, so those count too.
BANNED = {
    "cbor_load": "allocates what its input says",
    "system": "runs a shell",
    "popen": "runs a shell",
    "gets": "no bound",
    "strcpy": "no bound",
    "strcat": "no bound",
    "stpcpy": "no bound",
    "sprintf": "no bound",
    "vsprintf": "no bound",
    "mktemp": "races",
    "tmpnam": "races",
    "tempnam": "races",
}

# Roles that read other people's octets: nothing from the environment, no new code, no
# new processes, even before their filter.
ROLE_BANNED = {
    name: "not in a sandboxed role"
    for name in (
        "getenv secure_getenv dlopen dlmopen fork vfork execv execve execvp execvpe execl "
        "execlp execle fexecve posix_spawn posix_spawnp ptrace"
    ).split()
}

# Each role links what its list of calls was written for, and nothing that parses what it
# never sees.
LINKS = {
    "keyd-vault": "libprotobuf-c libssl libsqlite3 libevent libz libgmime libpq libcurl libconfuse",
    "keyd-gate": "libssl libsqlite3 libpq libconfuse libp11-kit",
    "keyd-gate-tls": "libsqlite3 libpq libconfuse libp11-kit",
    "keyd-ledger": "libprotobuf-c libssl libevent libconfuse libp11-kit",
    "dime-keyd": "libprotobuf-c libssl libsqlite3 libz libpq",
}
SANDBOXED = ("keyd-vault", "keyd-gate", "keyd-gate-tls", "keyd-ledger")

FORTIFIED = re.compile(r"__\w+_chk$")


def readelf(*args):
    env = dict(os.environ, LC_ALL="C")
    return subprocess.run(
        ["readelf", "-W", *args], check=True, capture_output=True, text=True, env=env
    ).stdout


def is_elf(path):
    with open(path, "rb") as f:
        return f.read(4) == b"\x7fELF"


class Elf:
    """What readelf says of one file, cut into what the rules ask for."""

    def __init__(self, path):
        self.path = path
        self.name = os.path.basename(path)
        header = readelf("-h", path)
        self.type = re.search(r"Type:\s+(\S+)", header).group(1)
        segments = readelf("-l", path)
        # name, then offset, two addresses, two sizes, flags, alignment
        self.segments = re.findall(
            r"^\s+([A-Z_0-9]+)\s+(?:0x[0-9a-f]+\s+){5}([RWE ]{3})\s", segments, re.M
        )
        self.is_program = any(name == "INTERP" for name, _ in self.segments)
        self.dynamic = re.findall(r"^\s*0x[0-9a-f]+ \((\w+)\)\s+(.*)$", readelf("-d", path), re.M)
        self.needed = [
            re.search(r"\[(.*)\]", v).group(1) for k, v in self.dynamic if k == "NEEDED"
        ]
        self.imports = set()
        for line in readelf("--dyn-syms", path).splitlines():
            f = line.split()
            if len(f) >= 8 and f[6] == "UND":
                self.imports.add(f[7].split("@")[0])

    def flags(self, key):
        return " ".join(v for k, v in self.dynamic if k == key)


def check_layout(elf):
    if elf.type != "DYN":
        yield "not position independent"
    elif elf.is_program and "PIE" not in elf.flags("FLAGS_1"):
        yield "a program that is not marked PIE"
    if not any(name == "GNU_RELRO" for name, _ in elf.segments):
        yield "no RELRO"
    if "BIND_NOW" not in elf.flags("FLAGS") and "NOW" not in elf.flags("FLAGS_1").split():
        yield "lazy binding, so RELRO is partial"
    stack = [flags for name, flags in elf.segments if name == "GNU_STACK"]
    if not stack or any("E" in flags for flags in stack):
        yield "executable stack"
    if any(name == "LOAD" and "W" in flags and "E" in flags for name, flags in elf.segments):
        yield "a segment both writable and executable"
    if any(k in ("RPATH", "RUNPATH") for k, _ in elf.dynamic):
        yield "search path for libraries built in"
    if any(k == "TEXTREL" for k, _ in elf.dynamic):
        yield "relocations in the code"


def check_code(elf):
    if "__stack_chk_fail" not in elf.imports:
        yield "no stack protector"


def check_object(path):
    """Control-flow protection. The start files of Debian 12's libc carry no mark, so no
    linked program can; that our part was compiled with it is seen in the objects."""
    notes = readelf("-n", path)
    for feature in ("IBT", "SHSTK"):
        if not re.search(r"x86 feature:.*\b%s\b" % feature, notes):
            yield "not marked for %s" % feature


def check_imports(elf, banned):
    for symbol in sorted(elf.imports):
        plain = re.sub(r"^__(.*)_chk$", r"\1", symbol)
        plain = re.sub(r"^__isoc99_", "", plain)
        if plain in banned:
            yield "imports %s: %s" % (symbol, banned[plain])


def check_links(elf, forbidden):
    for library in elf.needed:
        if any(library == f + ".so" or library.startswith((f + ".so.", f + "-", f + "_"))
               for f in forbidden):
            yield "links %s" % library


def check_any(elf):
    yield from check_layout(elf)
    yield from check_code(elf)


def check_installed(elf):
    """What is shipped: the above, and what it may import and link."""
    yield from check_any(elf)
    yield from check_imports(elf, BANNED)
    if elf.name in LINKS:
        yield from check_links(elf, LINKS[elf.name].split())
    if elf.name in SANDBOXED:
        yield from check_imports(elf, ROLE_BANNED)
        if "seccomp_export_bpf" not in elf.imports:
            yield "never loads a filter"


def check_commands(path):
    """FORTIFY as the compiler will have seen it: of each kind the last one counts."""
    with open(path) as f:
        commands = json.load(f)
    for c in commands:
        words = c.get("command", "").split() or c.get("arguments", [])
        seen = [w for w in words if re.match(r"-[DU]_FORTIFY_SOURCE", w)]
        if not seen or seen[-1] != "-D_FORTIFY_SOURCE=3" or "-U_FORTIFY_SOURCE" not in seen:
            yield "%s: compiled without _FORTIFY_SOURCE=3" % c["file"]


def elf_files(build):
    """Linked files: programs and shared libraries, wherever the build puts them."""
    for root, dirs, names in os.walk(build):
        dirs[:] = [d for d in dirs if d != "CMakeFiles"]
        for name in sorted(names):
            path = os.path.join(root, name)
            if os.path.islink(path) or name.endswith((".o", ".a")):
                continue
            if os.path.isfile(path) and is_elf(path):
                yield path


def is_shipped(build, path):
    """Test programs, fuzz targets and benchmarks lie in directories of their own."""
    first = os.path.relpath(path, build).split(os.sep)[0]
    return first not in ("tests", "fuzz", "bench")


def objects(build):
    for root, _, names in os.walk(build):
        yield from (os.path.join(root, n) for n in sorted(names) if n.endswith(".o"))


def check_build(build):
    findings, shipped, tests, fortified = [], 0, 0, 0
    for path in elf_files(build):
        elf = Elf(path)
        is_test = not is_shipped(build, path)
        check = check_any if is_test else check_installed
        findings += ["%s: %s" % (path, what) for what in check(elf)]
        fortified += any(FORTIFIED.match(s) for s in elf.imports)
        shipped += not is_test
        tests += is_test
    for path in objects(build):
        findings += ["%s: %s" % (path, what) for what in check_object(path)]
    findings += check_commands(os.path.join(build, "compile_commands.json"))
    if shipped + tests == 0:
        findings.append("%s: nothing was built" % build)
    elif fortified == 0:
        findings.append("%s: no program calls a fortified function" % build)
    for f in findings:
        print(f)
    print("%d programs and libraries, %d test programs, %d with fortified calls, %d findings"
          % (shipped, tests, fortified, len(findings)))
    return 1 if findings else 0


# --- self-test ---------------------------------------------------------------------------

GOOD = """-O2 -fPIE -pie -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong
-fcf-protection=full -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed -w""".split()

SOURCE = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
char *gets(char *);
int
main(int argc, char **argv)
{
    char text[64];
    snprintf(text, sizeof text, "%%d %%s", argc, argv[0]);
    %s;
    return puts(text);
}
"""

# name of the program, code, further options, what must be found; None: nothing
BAD = [
    ("good", "", [], None),
    ("fixed-address", "", ["-no-pie", "-fno-pie"], "not position independent"),
    ("no-relro", "", ["-Wl,-z,norelro"], "no RELRO"),
    ("lazy", "", ["-Wl,-z,lazy"], "lazy binding"),
    ("stack", "", ["-Wl,-z,execstack"], "executable stack"),
    ("rpath", "", ["-Wl,-rpath,/opt/lib"], "search path"),
    ("protector", "", ["-fno-stack-protector"], "no stack protector"),
    ("shell", "system(text)", [], "imports system"),
    ("pipe", "popen(text, text)", [], "imports popen"),
    ("unbounded", "gets(text)", [], "imports gets"),
    ("copy", "strcpy(text, argv[1])", [], "strcpy_chk"),
    ("format", "sprintf(text, argv[1])", [], "sprintf_chk"),
    ("copy-plain", "strcpy(argv[0], argv[1])", ["-U_FORTIFY_SOURCE"], "imports strcpy"),
    ("temporary", "mktemp(text)", [], "imports mktemp"),
    ("keyd-vault", "getenv(text)", [], "imports getenv"),
    ("keyd-gate", "fork()", [], "imports fork"),
    ("keyd-ledger", "", [], "never loads a filter"),
    ("keyd-vault", "", ["-Wl,--no-as-needed", "-lz"], "links libz.so"),
    ("keyd-vault", "", ["-Wl,--no-as-needed", "-lssl"], "links libssl.so"),
    ("keyd-gate", "", ["-Wl,--no-as-needed", "-lsqlite3"], "links libsqlite3.so"),
    ("keyd-ledger", "", ["-Wl,--no-as-needed", "-lprotobuf-c"], "links libprotobuf-c.so"),
    ("keyd-vault", "", ["-Wl,--no-as-needed", "-levent_core"], "links libevent_core"),
]

OBJECTS = [
    ("-fcf-protection=full", None),
    ("-fcf-protection=none", "IBT"),
    ("-fcf-protection=branch", "SHSTK"),
]

COMMANDS = [
    ("-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3", True),
    ("-D_FORTIFY_SOURCE=3 -U_FORTIFY_SOURCE", False),
    ("-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -D_FORTIFY_SOURCE=0", False),
    ("-O2", False),
]


def self_test_program(cc, directory, name, code, options, expected):
    source = os.path.join(directory, "source.c")
    program = os.path.join(directory, name)
    with open(source, "w") as f:
        f.write(SOURCE % code)
    # libraries come last or the linker drops them
    subprocess.run([cc, *GOOD, source, "-o", program, *options], check=True,
                   stderr=subprocess.DEVNULL)
    found = list(check_installed(Elf(program)))
    if expected is None:
        return not found
    return any(expected in f for f in found)


def self_test_object(cc, directory, option, expected):
    source = os.path.join(directory, "source.c")
    result = os.path.join(directory, "source.o")
    subprocess.run([cc, *GOOD[:2], option, "-w", "-c", source, "-o", result], check=True)
    found = list(check_object(result))
    return not found if expected is None else any(expected in f for f in found)


def self_test_commands(directory, flags):
    path = os.path.join(directory, "compile_commands.json")
    with open(path, "w") as f:
        json.dump([{"file": "x.c", "command": "cc %s -c x.c" % flags}], f)
    return not list(check_commands(path))


def self_test(cc):
    wrong = 0
    with tempfile.TemporaryDirectory() as directory:
        for name, code, options, expected in BAD:
            if not self_test_program(cc, directory, name, code, options, expected):
                print("not as expected: %s %s %s: %s" % (name, code, options, expected))
                wrong += 1
        for option, expected in OBJECTS:
            if not self_test_object(cc, directory, option, expected):
                print("not as expected: %s: %s" % (option, expected))
                wrong += 1
        for flags, good in COMMANDS:
            if self_test_commands(directory, flags) != good:
                print("not as expected: %s" % flags)
                wrong += 1
        empty = os.path.join(directory, "empty")
        os.makedirs(empty)
        with open(os.path.join(empty, "compile_commands.json"), "w") as f:
            f.write("[]")
        if check_build(empty) == 0:
            print("not as expected: an empty build passes")
            wrong += 1
    n = len(BAD) + len(OBJECTS) + len(COMMANDS) + 1
    print("%d of %d as expected" % (n - wrong, n))
    return 1 if wrong else 0


def main(args):
    if len(args) == 2 and args[0] == "--self-test":
        return self_test(args[1])
    if len(args) == 1 and os.path.isdir(args[0]):
        return check_build(args[0])
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
