#!/usr/bin/env python3
"""Which conformance cases have a test, by group.

  coverage_cases.py [--require GROUP]... [--missing] [TESTS_DIR]

A case T-SG-9 counts as tested where a .c, .h, .sh or .py file under TESTS_DIR names it,
as T-SG-9 in a comment or string or as T_SG_9 in a function's name. Of a range only the
IDs written out count.
--require GROUP: exit 1 if a case of the group has neither a test nor a line in
conformance/later.txt. --missing: name the untested cases.
Exit 1 as well for IDs that do not exist."""

import argparse
import fnmatch
import os
import re
import sys

ID = re.compile(r"(?<![A-Za-z0-9])T[-_](MR|SG|DM|TR|RS|OP|DA|GW|DK|SEC)[-_](\d+)(?![0-9])")
SELF = os.path.basename(__file__)


def order(case):
    group, number = case[2:].rsplit("-", 1)
    return group, int(number)


def read_cases(path):
    """In the file's order, which is that of the groups."""
    with open(path, encoding="utf-8") as f:
        return [line.strip() for line in f if line.startswith("T-")]


def read_later(path):
    later = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            if line.startswith("T-"):
                case, reason = line.split(None, 1)
                later[case] = reason.strip()
    return later


def find_tested(directory):
    """case -> the files that name it."""
    tested = {}
    for root, _, names in os.walk(directory):
        for name in sorted(names):
            if not name.endswith((".c", ".h", ".sh", ".py")) or name == SELF:
                continue
            path = os.path.join(root, name)
            with open(path, encoding="utf-8", errors="replace") as f:
                for group, number in ID.findall(f.read()):
                    tested.setdefault("T-%s-%d" % (group, int(number)), set()).add(path)
    return tested


def later_reason(case, later):
    for pattern, reason in later.items():
        if fnmatch.fnmatchcase(case, pattern):
            return reason
    return None


def report(cases, tested, later, required, missing):
    bad = False
    groups = list(dict.fromkeys(order(c)[0] for c in cases))
    print("%-4s %6s %6s %6s %6s" % ("", "cases", "tested", "later", "open"))
    for group in groups:
        mine = [c for c in cases if order(c)[0] == group]
        untested = [c for c in mine if c not in tested]
        opened = [c for c in untested if later_reason(c, later) is None]
        print("%-4s %6d %6d %6d %6d" % (group, len(mine), len(mine) - len(untested),
                                       len(untested) - len(opened), len(opened)))
        if missing or group in required:
            for case in untested:
                reason = later_reason(case, later)
                print("       %-9s %s" % (case, "no test" if reason is None else reason))
        bad |= group in required and bool(opened)
    return bad


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--require", action="append", default=[], metavar="GROUP")
    parser.add_argument("--missing", action="store_true")
    parser.add_argument("tests", nargs="?", default=here)
    args = parser.parse_args()

    cases = read_cases(os.path.join(args.tests, "conformance", "cases.txt"))
    later = read_later(os.path.join(args.tests, "conformance", "later.txt"))
    tested = find_tested(args.tests)
    unknown = sorted((set(tested) | {c for c in later if "*" not in c}) - set(cases), key=order)
    groups = {order(c)[0] for c in cases}
    for group in args.require:
        if group not in groups:
            parser.error("no group %s" % group)

    bad = report(cases, tested, later, args.require, args.missing)
    for case in unknown:
        print("no such case: %s in %s" % (case, ", ".join(sorted(tested.get(case, ["later.txt"])))))
    return 1 if bad or unknown else 0


if __name__ == "__main__":
    sys.exit(main())
