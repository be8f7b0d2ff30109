"""Compares what `dime signet show --json` and `dime signet fingerprint` say with the
tables of tests/vectors/INDEX.md. usage: check_index.py DIME VECTORS"""
import json
import re
import subprocess
import sys

dime, vectors = sys.argv[1:]
columns = ("core", "full", "id", "ssr")
row = re.compile(r"^\| (\S+\.(?:signet|ssr)) \|" + r" (\S+) \|" * 4 + "$")
kinds = re.compile(r"^\| (\S+\.(?:signet|ssr)) \| .* \| (org|user|ssr) \| ([\d ]+) \|$")
types = {"org": "org-signet", "user": "user-signet", "ssr": "ssr"}
shown = {}
n = 0


def show(name):
    if name not in shown:
        out = subprocess.run([dime, "signet", "show", "--json",
                              f"{vectors}/libdime/signets/{name}"],
                             check=True, capture_output=True)
        shown[name] = json.loads(out.stdout)
    return shown[name]


for line in open(f"{vectors}/INDEX.md", encoding="utf-8"):
    line = line.rstrip("\n")
    if m := kinds.match(line):
        name, kind, fields = m.groups()
        j = show(name)
        assert j["type"] == types[kind], name
        assert [f["type"] for f in j["fields"]] == [int(t) for t in fields.split()], name
        split = "identified"
        for part in ("core", "full"):
            split = part if f".{part}." in name else split
        assert kind == "ssr" or j["split"] == split, name
    elif m := row.match(line):
        name, *values = m.groups()
        want = {c: v.strip("`") for c, v in zip(columns, values) if v != "-"}
        assert show(name)["fingerprints"] == want, name
        for column, value in want.items():
            out = subprocess.run([dime, "signet", "fingerprint", f"--{column}",
                                  f"{vectors}/libdime/signets/{name}"],
                                 check=True, capture_output=True)
            assert out.stdout.decode() == value + "\n", (name, column)
        n += 1
assert n >= 20, "the table was not found"
