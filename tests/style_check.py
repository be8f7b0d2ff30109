#!/usr/bin/env python3
"""What a reviewer should not have to look for, over the files that git tracks.

  style_check.py [SOURCE_DIR]

Formatting of C as .clang-format says (skipped without clang-format), top-level entries,
no path of somebody's machine, no issue numbers, no leftovers, line ends."""

import os
import re
import shutil
import subprocess
import sys

# design: nothing else lies at the top level, dotfiles aside
TOP = {"keyd", "pkcs11", "proto", "client", "provisioning", "tests",
       "CMakeLists.txt", "CMakePresets.json", "README.md", "LICENSE"}

# Others' octets: what they contain is what they are.
DATA = ("tests/vectors/", "tests/fuzz/corpus/", "tests/fuzz/dict/", "tests/fixtures/",
        "LICENSE")

# Written in pieces, so that this file does not find itself.
RULES = [
    ("path of a machine",
     re.compile(r"(?<![A-Za-z0-9_.~-])/(?:work|farm|tmp/w" + r"t|root|home/[a-z]\w*)(?:/|\b)")),
    ("issue number", re.compile(r"(?<![A-Za-z0-9&/'\"])#\d+\b|\bissues?[ /]#?\d+")),
    ("leftover", re.compile(r"(?<![-\w])(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)(?![-\w])")),
    ("merge conflict", re.compile(r"^(?:<{7} |={7}$|>{7} )")),
    ("space at the end of a line", re.compile(r"[ \t]+$")),
    ("carriage return", re.compile("\r")),
]
C_RULES = [("tab", re.compile("\t"))]


def tracked(source):
    """Of a source archive without git: everything but the build."""
    try:
        out = subprocess.run(["git", "-C", source, "ls-files", "-z", "--cached", "--others",
                              "--exclude-standard"], check=True, capture_output=True)
        names = out.stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        names = []
        for root, dirs, files in os.walk(source):
            dirs[:] = [d for d in dirs if d not in (".git", "build")]
            names += [os.path.relpath(os.path.join(root, f), source) for f in files]
    return sorted(n for n in names if n and os.path.isfile(os.path.join(source, n)))


def check_top(names):
    here = {n.split("/")[0] for n in names}
    for name in sorted(here - TOP):
        if not name.startswith("."):
            yield "%s: no place at the top level" % name
    for name in sorted(TOP - here):
        print("not there yet: %s" % name)


def check_text(source, names):
    for name in names:
        if name.startswith(DATA):
            continue
        with open(os.path.join(source, name), "rb") as f:
            octets = f.read()
        if b"\0" in octets:
            yield "%s: not a text" % name
            continue
        if octets and not octets.endswith(b"\n"):
            yield "%s: no newline at the end" % name
        rules = RULES + (C_RULES if name.endswith((".c", ".h", ".def")) else [])
        for number, line in enumerate(octets.decode("utf-8", "replace").split("\n"), 1):
            for what, rule in rules:
                if rule.search(line):
                    yield "%s:%d: %s: %s" % (name, number, what, line.strip()[:90])


def check_format(source, names):
    tool = shutil.which("clang-format")
    files = [n for n in names if n.endswith((".c", ".h")) and not n.startswith(DATA)]
    if tool is None:
        print("clang-format is not installed: formatting not checked")
        return
    for at in range(0, len(files), 50):
        out = subprocess.run([tool, "--dry-run", "-Werror", *files[at:at + 50]], cwd=source,
                             capture_output=True, text=True)
        bad = {line.split(":")[0] for line in out.stderr.split("\n") if "error:" in line}
        yield from ("%s: not as clang-format -i leaves it" % name for name in sorted(bad))


def main(args):
    source = args[0] if args else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    names = tracked(source)
    if not names:
        print("%s: no files" % source)
        return 1
    findings = [*check_top(names), *check_text(source, names), *check_format(source, names)]
    for f in findings:
        print(f)
    print("%d files, %d findings" % (len(names), len(findings)))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
