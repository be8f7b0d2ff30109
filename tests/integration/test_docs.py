#!/usr/bin/env python3
"""Documents that cannot go stale unnoticed.

  test_docs.py SOURCE_DIR BIN_DIR
  test_docs.py --self-test

Links in every README and in PROTOCOL.md lead somewhere (files, and headings after '#');
every command that the first page tells a newcomer to give exists, with the options it
names; every program that was built has a manual page of its own, which is installed
and in which options and name agree with the program; pages that a page refers to are
there; every line the vault can log is explained. Exit 1 with what is wrong."""

import os
import re
import subprocess
import sys
import tempfile

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"^sh ((?:provisioning|tests)/\S+\.sh)", re.M)
PAGES = ("keyd/man", "client/man", "pkcs11/man", "provisioning/man")
# Pages of others that ours refer to.
OTHERS = {"nsswitch.conf", "seccomp", "sqlite3", "sysexits", "systemd-journald", "systemd.exec",
          "systemd.socket"}
# Only the supervisor starts these, and its page describes them.
ROLES = {"keyd-gate": "dime-keyd", "keyd-gate-tls": "dime-keyd", "keyd-vault": "dime-keyd",
         "keyd-ledger": "dime-keyd", "keyd-p11": "dime-keyd"}


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def anchors(text):
    """As the usual viewers make them of headings."""
    found = set()
    for line in re.findall(r"^#+ +(.*)$", text, re.M):
        plain = re.sub(r"[^\w\- ]", "", line.strip().lower())
        found.add(plain.replace(" ", "-"))
    return found


def documents(source):
    for root, dirs, files in os.walk(source):
        dirs[:] = [d for d in dirs if d not in ("build", ".git", "vectors", "corpus")]
        for name in files:
            if name.endswith(".md"):
                yield os.path.join(root, name)


def check_links(source):
    n = 0
    for path in documents(source):
        text = read(path)
        here = os.path.relpath(path, source)
        for target in LINK.findall(re.sub(r"```.*?```", "", text, flags=re.S)):
            if re.match(r"[a-z]+:", target):
                continue
            n += 1
            name, _, anchor = target.partition("#")
            at = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
            if not os.path.exists(at):
                yield "%s: no such file: %s" % (here, target)
            elif anchor and anchor not in anchors(read(at)):
                yield "%s: no such heading: %s" % (here, target)
    if n == 0:
        yield "no links were found"


def check_commands(source):
    text = read(os.path.join(source, "README.md"))
    commands = COMMAND.findall(text)
    for want in ("provisioning/quickstart.sh", "tests/run.sh"):
        if want not in commands:
            yield "README.md does not give the command sh %s" % want
    for name in commands:
        path = os.path.join(source, name)
        if not os.path.exists(path):
            yield "README.md: no such script: %s" % name
            continue
        if subprocess.run(["sh", "-n", path], capture_output=True).returncode != 0:
            yield "%s is not a shell script" % name
    for name, option in (("provisioning/quickstart.sh", "--keep"), ("tests/run.sh", "--quick")):
        path = os.path.join(source, name)
        if option not in text:
            yield "README.md does not name %s" % option
        elif os.path.exists(path) and option + ")" not in read(path):
            yield "README.md names %s, which %s does not know" % (option, name)


def pages(source):
    found = {}
    for folder in PAGES:
        full = os.path.join(source, folder)
        for name in sorted(os.listdir(full)) if os.path.isdir(full) else []:
            title, _, section = name.rpartition(".")
            found[title] = (section, os.path.join(full, name))
    return found


def cmake_text(source):
    return "\n".join(read(os.path.join(source, d, "CMakeLists.txt"))
                     for d in ("keyd", "client", "pkcs11", "provisioning")
                     if os.path.exists(os.path.join(source, d, "CMakeLists.txt")))


def check_pages(source, programs):
    found = pages(source)
    installed = cmake_text(source)
    for program in programs:
        title = ROLES.get(program, program)
        if title not in found:
            yield "%s has no manual page" % program
        elif program not in read(found[title][1]):
            yield "%s is not described in %s" % (program, title)
    for title, (section, path) in found.items():
        text = read(path)
        if not re.search(r"^\.Dt %s %s$" % (re.escape(title.upper()), section), text, re.M):
            yield "%s: .Dt is not %s %s" % (title, title.upper(), section)
        if "man/%s.%s " % (title, section) not in installed:
            yield "%s.%s is not installed" % (title, section)
        for name, number in re.findall(r"^\.Xr (\S+) (\d)", text, re.M):
            if name not in OTHERS and (name not in found or found[name][0] != number):
                yield "%s refers to %s(%s), which is not there" % (title, name, number)


def check_options(source, bin_dir):
    """dime-keyd's page and its usage name the same options."""
    usage = subprocess.run([os.path.join(bin_dir, "dime-keyd"), "-h"],
                           capture_output=True, text=True)
    told = set(re.findall(r"^\s+-(\w)\b", usage.stdout, re.M))
    page = set(re.findall(r"^\.It Fl (\w)\b", read(pages(source)["dime-keyd"][1]), re.M))
    if usage.returncode != 0 or not told:
        yield "dime-keyd -h does not tell its options"
    for option in sorted(told ^ page):
        yield "dime-keyd(8) and dime-keyd -h differ in -%s" % option


def check_events(source):
    """Each text of events.def stands in the page, up to its first number or colon."""
    page = re.sub(r"\s+", " ", read(pages(source)["dime-keyd"][1]))
    events = re.findall(r'^KD_EVENT\(\w+, \w+,\s*"([^"]*)"\)',
                        read(os.path.join(source, "keyd/include/keyd/events.def")), re.M)
    if not events:
        yield "events.def has no events"
    for text in events:
        start = re.split(r" ?%(?:llu|name|op)|: error|,| \(", text)[0]
        if start not in page:
            yield "dime-keyd(8) does not explain: %s" % text


def self_test():
    """Each check finds what it is there for."""
    with tempfile.TemporaryDirectory() as d:
        def put(name, text):
            path = os.path.join(d, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)

        put("README.md", "# A\n[x](gone.md) [y](#b) [z](#a) [w](keyd/README.md#some-thing)\n"
                         "```\nsh tests/run.sh\n```\n--keep --quick\n")
        put("keyd/README.md", "## Some thing\n")
        put("tests/run.sh", "case $1 in\n--fast) ;;\n")
        put("keyd/CMakeLists.txt", "install(FILES man/a.8 DESTINATION x)\n")
        put("keyd/man/a.8", ".Dt A 8\n.Xr b 1\n.Xr seccomp 2\n")
        put("keyd/man/dime-keyd.8", ".Dt DIME-KEYD 1\n.It known thing\n")
        put("keyd/include/keyd/events.def",
            'KD_EVENT(A, KD_INFO, "known thing: error %llu")\nKD_EVENT(B, KD_WARN, "new %llu")\n')
        links = list(check_links(d))
        assert len(links) == 2 and "gone.md" in links[0] and "#b" in links[1], links
        commands = " ".join(check_commands(d))
        assert "does not give the command sh provisioning/quickstart.sh" in commands
        assert "tests/run.sh is not a shell script" in commands
        assert "names --quick, which tests/run.sh does not know" in commands
        found = " ".join(check_pages(d, ["a", "c", "keyd-gate"]))
        for want in ("c has no manual page", "a refers to b(1)", "dime-keyd: .Dt is not",
                     "dime-keyd.8 is not installed", "keyd-gate is not described"):
            assert want in found, (want, found)
        assert list(check_events(d)) == ["dime-keyd(8) does not explain: new %llu"]
    print("self test: every check finds what it is there for")
    return 0


def main(argv):
    if argv[1:] == ["--self-test"]:
        return self_test()
    source, bin_dir = argv[1:]
    programs = sorted(n for n in os.listdir(bin_dir) if os.access(os.path.join(bin_dir, n), os.X_OK))
    if not programs:
        print("no programs in %s" % bin_dir)
        return 1
    wrong = [*check_links(source), *check_commands(source), *check_pages(source, programs),
             *check_options(source, bin_dir), *check_events(source)]
    for line in wrong:
        print(line)
    print("%d programs, %d manual pages, %d problems"
          % (len(programs), len(pages(source)), len(wrong)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
