#!/usr/bin/env python3
"""keydctl(1) against keydctl: test_keydctl_page.py KEYDCTL PAGE [MANDOC]

Every verb that --help lists has its entry, with every option of it in the page, and the
page has no verb and no option that keydctl does not know. mandoc finds nothing wrong."""

import re
import subprocess
import sys

keydctl, page = sys.argv[1:3]
wrong = []

with open(page, encoding="utf-8") as f:
    text = f.read()
usage = subprocess.run([keydctl, "--help"], check=True, capture_output=True, text=True).stdout

lines = re.findall(r"^(?:usage:|      ) keydctl (.*)$", usage, re.M)
verbs, options = set(), set(re.findall(r"--[a-z-]+", usage))
for line in lines:
    words = re.match(r"[a-z-]+(?: [a-z][a-z-]*)?(?= |$)", line).group(0)
    verbs.add(words)
    options |= {"-" + o for o in re.findall(r" \[?-([a-z])\b", line)}
if len(verbs) < 20 or len(verbs) != len(lines):
    wrong.append("the verbs of --help are not understood: %r" % sorted(verbs))

entries = set(re.findall(r"^\.It Cm ([a-z -]+)$", text, re.M))
synopsis = text[text.index(".Sh SYNOPSIS"):text.index(".Sh DESCRIPTION")]
shown = set()
for line in re.findall(r"^\.Cm ([a-z].*)$", synopsis, re.M):
    shown |= {v.strip() for v in line.split("|")}
ALIASES = {"ssr sign": "signet issue"}
for v in sorted(verbs):
    if v not in shown:
        wrong.append("the synopsis lacks %s" % v)
    if ALIASES.get(v, v) not in entries:
        wrong.append("no entry for %s" % v)
for v in sorted((entries | shown) - verbs):
    wrong.append("keydctl does not know %s" % v)

described = {"-" + o for o in re.findall(r"\bFl (-?[a-z-]+)", text)}
for o in sorted(options - described):
    wrong.append("%s is not described" % o)
# Long names of short options, and these two, stand in the page alone.
for o in sorted(described - options - {"--help", "--version", "--lines", "--follow", "--output"}):
    wrong.append("keydctl does not know %s" % o)

if len(sys.argv) > 3:
    lint = subprocess.run([sys.argv[3], "-T", "lint", "-W", "warning", page],
                          capture_output=True, text=True)
    if lint.returncode != 0:
        wrong.append(lint.stdout + lint.stderr)
for w in wrong:
    print(w)
print("%d verbs, %d options, %d faults" % (len(verbs), len(options), len(wrong)))
sys.exit(1 if wrong else 0)
