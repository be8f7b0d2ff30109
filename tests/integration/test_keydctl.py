#!/usr/bin/env python3
"""keydctl against a daemon of its own: every verb, exit statuses, JSON, refusals.

usage: test_keydctl.py BIN_DIR VECTORS

TOKEN=softhsm in the environment: keys are made and taken into a token of SoftHSM.
Needs root, as each role of the daemon becomes a user of its own; exit status 77 without."""

import base64
import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import zlib

sys.dont_write_bytecode = True
import softhsm  # noqa: E402
import story  # noqa: E402
from dmime_py import making  # noqa: E402
from story import BIN, KEYDCTL, Daemon, admin_socket, check, path, read, write  # noqa: E402

VECTORS = sys.argv[2]
DIME = os.path.join(BIN, "dime")
SIGNETS = os.path.join(VECTORS, "libdime/signets")
DOMAIN = "orga.example"
ALICE = "alice@orga.example"
STRANGER = 61004  # no principal

OK, NO, UNREADABLE, USAGE, DATA, NOINPUT, NOUSER = 0, 1, 2, 64, 65, 66, 67
WARNING, CRITICAL = 1, 2  # health
UNAVAILABLE, CANTCREAT, TEMPFAIL, NOPERM = 69, 73, 75, 77

CONF = """
state-directory = "{t}/state"
run-directory = "{t}/run"
hardening = strict
single-operator = yes
user-gate = "61001"
user-vault = "61002"
user-ledger = "61003"
group = "61000"
audit-checkpoint-interval = 10
domain "orga.example" {{
    issue-profile-fields = {{ 16, 21, 251, 252 }}
}}
domain "other.example" {{
}}
principal "operator" {{
    uid = 0
    class = "admin"
    operations = {{
        "TokenInit", "AddUnsealSlot", "Unseal", "Seal", "GenerateKey", "RetireKey",
        "ImportKey", "IssueOrgSignet", "LookupSignet", "LookupHistory", "VerifyCurrent",
        "AuditRead", "AuditHead", "FreezeAddress", "ResetAddress", "StopPrincipal",
        "PolicyExplain", "TokenList", "TokenDoctor", "TokenAdopt",
    }}
    domains = {{ "orga.example" }}
}}
principal "submitd" {{
    uid = 0
    class = "submission"
    operations = {{ "IssueUserSignet" }}
    domains = {{ "orga.example" }}
    keys = {{ "sok" }}
    quotas = {{ "IssueUserSignet 1000/s burst 5000", "* in-flight 500" }}
}}
principal "dmtpd" {{
    uid = 0
    class = "mta"
    operations = {{ "LookupSignet", "OpenEnvelope" }}
    domains = {{ "orga.example" }}
    keys = {{ "enc" }}
    quotas = {{ "OpenEnvelope 200/s burst 400" }}
}}
"""

class Result:
    def __init__(self, args, code, out, err):
        self.args, self.code, self.out, self.err = args, code, out, err

    @property
    def json(self):
        return json.loads(self.out)

    def says(self, text):
        check("%s says %r: %r" % (" ".join(self.args), text, self.err), text in self.err)
        return self


def socket_of(args):
    if list(args[:2]) in (["signet", "issue"], ["ssr", "sign"]):
        return ["--socket", path("run/submission.sock")]
    if list(args[:1]) == ["unwrap"]:
        return ["--socket", path("run/mta.sock")]
    return admin_socket()


def on_terminal(args, answers, **more):
    return story.on_terminal([*args, *socket_of(args)], answers, **more)


def in_token(code, args):
    """Where keys are to be; after an unsealing the token takes a moment."""
    if not softhsm.WANTED or code != OK or args[0] not in ("key", "signet", "unwrap"):
        return args
    check("the token is in use", softhsm.wait_for((KEYDCTL, admin_socket()), "ready", "sealed"))
    makes = args[:2] in (["key", "generate"], ["key", "import"]) and "--token" not in args
    return args + ["--token", softhsm.NAME] if makes else args


def run(code, *args, stdin=b"", socket=True, user=None):
    """Runs keydctl and expects an exit status. Output with --json must be JSON."""
    args = in_token(code, list(args)) if socket else list(args)
    more = socket_of(args) if socket else []
    p = subprocess.run([KEYDCTL, *args, *more], input=stdin, capture_output=True, timeout=60,
                       user=user, env={"PATH": "/usr/bin:/bin"})
    r = Result(args, p.returncode, p.stdout.decode(), p.stderr.decode())
    if not check("keydctl %s: %d, not %d" % (" ".join(args), r.code, code), r.code == code):
        print(r.err)
    if "--json" in args and r.out and args[:2] != ["audit", "tail"]:
        try:
            json.loads(r.out)
        except ValueError as e:
            check("JSON of %s: %s" % (" ".join(args), e), False)
    return r


def dime(*args):
    return subprocess.run([DIME, *args], capture_output=True, text=True)


def letter(file, recipient=None, size=100, **more):
    """A message from bob@orgb.example to alice, made and signed by another implementation."""
    to = {"signet": recipient or path("alice.now"), **more}
    octets = making.make({
        "author": {"signet": SIGNETS + "/bob.signet", "key": SIGNETS + "/bob.key"},
        "origin": {"signet": SIGNETS + "/orgb.signet", "key": SIGNETS + "/orgb.key"},
        "destination": {"signet": path("org")}, "recipient": to,
        "parts": [{"type": 67, "fill": {"size": size, "octet": 65}}]})
    write(file, octets, 0o644)
    return octets


# --- the story ----------------------------------------------------------------------------

def usage():
    run(USAGE, socket=False)
    run(USAGE, "token", socket=False)
    run(USAGE, "token", "burn", socket=False)
    run(USAGE, "status", "extra")
    run(USAGE, "status", "--no-such")
    run(USAGE, "status", "--domain", DOMAIN)
    run(USAGE, "status", "--timeout", "0")
    run(USAGE, "status", "--timeout", "601")
    run(USAGE, "status", "--timeout", "1s")
    run(USAGE, "status", "--timeout", "5", "--timeout", "5")
    run(USAGE, "status", "--idempotency-key", "00" * 16)
    run(USAGE, "key", "retire", "00" * 16, "--idempotency-key", "00" * 15)
    run(USAGE, "key", "retire", "zz" * 16)
    run(USAGE, "key", "show", "00")
    run(USAGE, "key", "generate", "--domain", DOMAIN)
    run(USAGE, "key", "generate", "--role", "audit", "--domain", DOMAIN)
    run(USAGE, "key", "generate", "--role", "pok")
    run(USAGE, "key", "generate", "--role", "pok", "--domain", ALICE)
    run(USAGE, "key", "generate", "--role", "sok", "--domain", DOMAIN,
        "--permissions", "users,everything")
    r = run(USAGE, "key", "generate", "--role", "sok", "--domain", DOMAIN,
            "--token", "alpha", "--token", "beta")
    check("two tokens want --sealed", "two only with --sealed" in r.err)
    r = run(USAGE, "key", "generate", "--role", "sok", "--domain", DOMAIN,
            "--token", "alpha", "--token", "alpha", "--sealed")
    check("one token is not two", "the same token twice" in r.err)
    r = run(USAGE, "token", "lst", socket=False)
    check("what verbs there are of a noun", "lst: no such verb" in r.err and
          "token list" in r.err and "key generate" not in r.err)
    run(USAGE, "key", "import", "x", "--domain", DOMAIN, "--as", "dkim")
    run(USAGE, "key", "import", "x", "--domain", DOMAIN, "--as", "none")
    run(USAGE, "token", "init", "--new")
    run(USAGE, "token", "init", "--passphrase-file", "a", "--credential-file", "b")
    run(USAGE, "signet", "issue-org")
    run(USAGE, "signet", "issue", ALICE)
    run(USAGE, "signet", "issue", DOMAIN, "x")
    run(USAGE, "signet", "issue", ALICE, "x", "--mode", "lazy")
    run(USAGE, "signet", "show", "no name")
    run(USAGE, "signet", "show", ALICE, "--fingerprint", "short")
    run(USAGE, "signet", "history", DOMAIN)
    run(USAGE, "signet", "verify", ALICE, "A" * 85)
    run(USAGE, "unwrap", "x", "--domain", DOMAIN)
    run(USAGE, "unwrap", "x", "--origin", "y")
    run(USAGE, "unwrap", "--domain", DOMAIN, "--origin", "y")
    run(USAGE, "unwrap", "x", "--domain", ALICE, "--origin", "y")
    run(USAGE, "unwrap", "x", "--domain", DOMAIN, "--origin", "y", "--fingerprint", "short")
    run(USAGE, "account", "freeze", ALICE)
    run(USAGE, "account", "freeze", ALICE, "--reason", "whim")
    run(USAGE, "account", "attest", ALICE, "--level", "sa")
    run(USAGE, "account", "show", DOMAIN)
    run(USAGE, "reset", "request", DOMAIN)
    run(USAGE, "principal", "stop")
    run(USAGE, "ticket", "new", ALICE, "x", "-o", "y", socket=False)
    run(USAGE, "publish", "show")
    run(USAGE, "publish", "show", "--domain", DOMAIN, "--policy", "loose")
    run(USAGE, "audit", "tail", "-n", "x")
    run(USAGE, "audit", "verify", "--from", "0")
    run(USAGE, "audit", "verify", "--from", "18446744073709551616")
    run(USAGE, "audit", "verify", "--from", "1", "--file", "x")
    run(USAGE, "audit", "verify", "--file", "x")
    run(USAGE, "audit", "verify", "--file", "x", "--audit-key", "A" * 42)
    run(USAGE, "audit", "export")
    r = run(OK, "--help", socket=False)
    for later in ("reissue", "bench"):
        check("%s is not listed" % later, later not in r.out)
    check("version", run(OK, "--version", socket=False).out.startswith("keydctl "))


def endpoints():
    """Several places to ask, of which one works."""
    nobody, here = "unix:" + path("nobody"), "unix:" + path("run/admin/admin.sock")

    def run_with(code, env, *args):
        p = subprocess.run([KEYDCTL, *args, "--json"], capture_output=True, timeout=60,
                           env={"PATH": "/usr/bin:/bin", **env})
        check("endpoints %r %r: %d, not %d" % (env, args, p.returncode, code),
              p.returncode == code)
        return p
    for args in (["--endpoint", nobody, "--endpoint", here], ["--endpoint", nobody + "," + here]):
        p = run_with(OK, {}, "status", *args)
        check("the one that works answers",
              json.loads(p.stdout)["state"] in ("operational", "degraded"))
    run_with(OK, {"KEYD_ENDPOINTS": nobody + " " + here}, "status")
    run_with(OK, {"KEYD_ENDPOINTS": nobody}, "status", "--endpoint", here)
    run_with(OK, {"KEYD_ENDPOINTS": nobody}, "status", *socket_of([]))
    run_with(OK, {"KEYD_ENDPOINTS": nobody}, "key", "list", *socket_of([]))
    p = run_with(UNAVAILABLE, {}, "status", "--endpoint", nobody)
    check("why", b"[connection-refused]" in p.stderr)
    run_with(UNREADABLE, {}, "health", "--endpoint", nobody)
    run_with(USAGE, {}, "status", "--endpoint", "nowhere")
    run_with(USAGE, {}, "status", "--endpoint", "tls:localhost:1")
    run_with(NOINPUT, {"KEYD_TLS": path()}, "status", "--endpoint", "tls:localhost:1")
    run_with(USAGE, {}, "status", "--endpoint", here, *socket_of([]))
    run_with(USAGE, {}, "key", "list", "--endpoint", here)


def no_daemon():
    """Every verb that needs one says so, and takes no secret and makes no file first."""
    for args in (["status"], ["seal"], ["key", "list"], ["audit", "head"],
                 ["audit", "verify"], ["audit", "tail"], ["key", "show", "00" * 16],
                 ["publish", "show", "--domain", DOMAIN],
                 ["signet", "show", ALICE], ["signet", "history", ALICE],
                 ["unseal"], ["key", "retire", "00" * 16],
                 ["signet", "issue", ALICE, SIGNETS + "/alice.ssr"],
                 ["token", "init", "--credential-file", path("never"), "--new"],
                 ["unwrap", SIGNETS + "/alice.ssr", "--domain", DOMAIN, "--origin",
                  SIGNETS + "/orgb.signet"],
                 ["audit", "export", "-o", path("never")]):
        run(UNAVAILABLE, *args, stdin=b"a passphrase").says("no keyd answers there")
    check("nothing was made", not os.path.exists(path("never")))
    check("in JSON too", run(UNAVAILABLE, "status", "--json").json["status"] == "unavailable")
    run(CRITICAL, "health")
    run(CRITICAL, "health", "--json")


def unprovisioned():
    r = run(OK, "status", "--json").json
    check("state", r["state"] == "unprovisioned" and not r["probe_ok"])
    check("processes", {p["role"] for p in r["processes"]} ==
          {"supervisor", "gate", "vault", "ledger"} | ({"p11"} if softhsm.WANTED else set()))
    check("who holds keys", {p["role"] for p in r["processes"] if p["holds_keys"]} == {"vault"})
    check("single operator", r["single_operator"] is True)
    check("text", "unprovisioned" in run(OK, "status").out)
    run(CRITICAL, "health")
    run(UNAVAILABLE, "key", "list").says("[not-initialised]")
    run(UNAVAILABLE, "key", "generate", "--role", "pok", "--domain", DOMAIN) \
        .says("not done (sealed): there is no key store yet [not-initialised]")
    run(UNAVAILABLE, "unseal", stdin=b"some passphrase").says("[not-initialised]")
    # Nobody but the daemon's own users gets as far as the admin socket.
    run(NOPERM, "status", user=STRANGER).says("not for this user")


def init():
    write("short", b"1234567\n")
    write("empty", b"\n")
    write("huge", b"x" * 5000)
    run(DATA, "token", "init", "--passphrase-file", path("short")).says("[secret-size]")
    run(DATA, "token", "init", "--passphrase-file", path("empty")).says("empty")
    run(DATA, "token", "init", "--passphrase-file", path("huge")).says("too large")
    run(DATA, "token", "init", "--credential-file", path("huge")).says("too large")
    run(NOINPUT, "token", "init", "--passphrase-file", path("none"))
    run(NOINPUT, "token", "init", "--passphrase-file", path())
    run(CANTCREAT, "token", "init", "--credential-file", path("short"), "--new")
    os.symlink(path("elsewhere"), path("link"))
    run(CANTCREAT, "token", "init", "--credential-file", path("link"), "--new")
    check("no link is followed", not os.path.exists(path("elsewhere")))
    key = "00112233445566778899aabbccddeeff"
    r = run(OK, "token", "init", "--credential-file", path("credential"), "--new", "--json",
            "--idempotency-key", key).json
    check("slot", r["slot"] == 0)
    st = os.stat(path("credential"))
    check("credential file", st.st_mode & 0o777 == 0o400 and st.st_size == 32)
    audit_key = r["audit_key"]
    check("audit key", len(audit_key) == 43)
    run(DATA, "token", "init", "--credential-file", path("second"), "--new") \
        .says("refused (conflict): there is a key store already [already-initialised]")
    check("a credential of no use is removed", not os.path.exists(path("second")))
    check("the same request again is done already",
          run(OK, "token", "init", "--credential-file", path("credential"),
              "--idempotency-key", key, "--json").json["slot"] == 0)
    if softhsm.WANTED:
        check("a token is seen", softhsm.wait_for((KEYDCTL, admin_socket()), "new"))
        run(OK, "token", "init", "--token", softhsm.NAME)
    check("health", "org-signet-missing" in run(WARNING, "health").out)
    r = run(WARNING, "health", "--json").json
    check("health, JSON", not r["healthy"] and r["state"] == "degraded" and
          r["reasons"] == ["org-signet-missing"] and r["probe_ok"])
    check("because", "because          org-signet-missing: a domain" in run(OK, "status").out)
    return audit_key


def keys():
    made = {}
    for role, algorithm in (("pok", "ed25519"), ("sok", "ed25519"), ("enc", "secp256k1"),
                            ("dkim", "ed25519")):
        j = run(OK, "key", "generate", "--role", role, "--domain", DOMAIN, "--json").json
        check("key", j["role"] == role and j["algorithm"] == algorithm and
              j["state"] == "active" and j["domain"] == DOMAIN and len(j["id"]) == 32)
        made[role] = j
    check("what a SOK signs", made["sok"]["permissions"] == ["users", "messages"])
    check("what others sign", made["pok"]["permissions"] == [])
    second = run(OK, "key", "generate", "--role", "sok", "--domain", "ORGA.example",
                 "--permissions", "messages,certificates", "--json").json
    check("permissions", second["permissions"] == ["messages", "certificates"])
    made["sok2"] = second
    run(DATA, "key", "generate", "--role", "enc", "--domain", DOMAIN, "--permissions",
        "users").says("[key-spec]")
    run(DATA, "key", "generate", "--role", "sok", "--domain", DOMAIN, "--permissions",
        "none").says("[key-spec]")
    run(NOPERM, "key", "generate", "--role", "pok", "--domain", "other.example") \
        .says("refused (denied): policy does not permit this to the caller [not-permitted]")

    repeat = ["key", "generate", "--role", "dkim", "--domain", DOMAIN, "--json",
              "--idempotency-key", "ab" * 16]
    first = run(OK, *repeat).json
    check("the same key again", run(OK, *repeat).json == first)
    repeat[3] = "sok"
    r = run(DATA, *repeat).says("[idempotency-key-used]")
    check("refusals are JSON too", r.json["status"] == "invalid" and
          r.json["detail"] == "idempotency-key-used" and r.json["reason"] != "")

    listed = run(OK, "key", "list", "--json").json["keys"]
    check("list", {k["id"] for k in listed} >= {k["id"] for k in made.values()})
    check("audit key is listed", [k["role"] for k in listed].count("audit") == 1)
    check("list of a domain", all(k["domain"] == DOMAIN for k in
          run(OK, "key", "list", "--domain", DOMAIN, "--json").json["keys"]))
    text = run(OK, "key", "list").out
    check("list as text", all(k["id"] in text for k in made.values()))
    check("show", run(OK, "key", "show", made["enc"]["id"], "--json").json == made["enc"])
    check("show as text", made["enc"]["public_key"] in
          run(OK, "key", "show", made["enc"]["id"].upper()).out)
    run(NOUSER, "key", "show", "00" * 16)
    run(NOUSER, "key", "retire", "00" * 16).says("[no-such-key]")
    return made


def png(size):
    """A valid PNG of about that many octets."""
    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data +
                struct.pack(">I", zlib.crc32(kind + data)))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)) +
            chunk(b"tEXt", b"Comment\0" + b"x" * size) +
            chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b""))


def org_signet(made):
    r = run(UNAVAILABLE, "signet", "issue", ALICE, SIGNETS + "/alice.ssr", "--json")
    r.says("[no-org-signet]").says("repeat it with --idempotency-key " +
                                   r.json["idempotency_key"])
    for bad in ("Name", "=x", "Nmae=x", "15=x", "253=x", "Name=", "Image=x", "251=x", "16:x=y",
                "Website=nothing", "Name=" + "x" * 256, "Supported-Codecs=x", "251: =x"):
        run(USAGE, "signet", "issue-org", "--domain", DOMAIN, "--field", bad)
    run(DATA, "signet", "issue-org", "--domain", DOMAIN, "--image", SIGNETS + "/alice.ssr") \
        .says("not a valid PNG")
    run(DATA, "signet", "issue-org", "--domain", DOMAIN, "--field", "Name=a", "--field",
        "16=b").says("[signet-")
    run(USAGE, "signet", "issue-org", "--domain", DOMAIN, "--sok", "00")
    run(NOUSER, "signet", "issue-org", "--domain", DOMAIN, "--sok", "00" * 16)
    run(DATA, "signet", "issue-org", "--domain", DOMAIN, "--pok", made["sok"]["id"])
    issue = ["signet", "issue-org", "--domain", DOMAIN, "--field", "251:Zweck=Post",
             "--field", "Contact-Abuse=abuse@orga.example", "--field", "name=Orga",
             "--field", "Phone=5551;Office", "--field", "Phone=5552;Home"]
    j = run(OK, *issue, "-o", path("org1"), "--json", "--idempotency-key", "cd" * 16).json
    check("org signet", j["identifier"] == DOMAIN and j["seq"] == 1 and not j["replayed"])
    again = run(OK, *issue, "--json", "--idempotency-key", "cd" * 16).json
    check("the same org signet", again["replayed"] and again["signet"] == j["signet"])
    r = dime("signet", "verify", path("org1"), "--pok", made["pok"]["public_key"], "--json")
    check("its key signed it", r.returncode == 0 and json.loads(r.stdout)["anchored"])
    fields = [(f["type"], f["label"], f["value"]) for f in json.loads(r.stdout)["fields"]]
    check("its secondary keys", {v for t, _, v in fields if t == 2} ==
          {made["sok"]["public_key"], made["sok2"]["public_key"]})
    check("its fields", [f[1:] for f in fields if 16 <= f[0] <= 251] ==
          [("Name", "Orga"), ("Office", "5551"), ("Home", "5552"),
           ("Contact-Abuse", "abuse@orga.example"), ("Zweck", "Post")])
    check("fingerprint", dime("signet", "fingerprint", path("org1")).stdout.strip() ==
          j["fingerprints"]["full"])

    # Large enough to travel in a descriptor, both ways.
    write("image", png(200000))
    r = run(OK, "signet", "issue-org", "--domain", DOMAIN, "--image", path("image"), "--sok",
            made["sok"]["id"], "--field", "Name=Orga", "-o", "-")
    write("org2", r.out.encode())
    check("armour alone on standard output", r.out.startswith("-----BEGIN ORGANIZATIONAL"))
    j = run(OK, "signet", "show", DOMAIN, "--json", "-o", path("org2.again")).json
    check("second version", j["current"] and j["seq"] == 2 and
          [f["type"] for f in j["fields"]].count(2) == 1 and
          [f["type"] for f in j["fields"]].count(252) == 1)
    check("what is shown is what was issued", read("org2") == read("org2.again"))
    run(OK, "signet", "issue-org", "--domain", DOMAIN, "--sok", "none", "--json")
    check("no secondary keys", 2 not in [f["type"] for f in
          run(OK, "signet", "show", DOMAIN, "--json").json["fields"]])
    run(OK, "signet", "issue-org", "--domain", DOMAIN, "-o", path("org"))
    run(CANTCREAT, "signet", "show", DOMAIN, "-o", path("none/x"))


def publish(made):
    j = run(OK, "publish", "show", "--domain", DOMAIN, "--json").json
    check("owners", [r["owner"] for r in j["records"]] ==
          ["_dime.orga.example.", "_dx.orga.example."])
    want = "ver=1 pok=%s pol=mixed " % made["pok"]["public_key"]
    check("record", all("".join(r["strings"]) == want for r in j["records"]))
    text = run(OK, "publish", "show", "--domain", DOMAIN, "--policy", "strict").out
    check("record as text", text.splitlines()[0] ==
          '_dime.orga.example. 3600 IN TXT "ver=1 pok=%s pol=strict "' % made["pok"]["public_key"])
    run(DATA, "publish", "show", "--domain", "other.example").says("no active primary key")


def lint():
    ssr = SIGNETS + "/alice.ssr"
    check("good", "starts a chain" in run(OK, "ssr", "lint", ssr, socket=False).out)
    j = run(OK, "ssr", "lint", "--json", SIGNETS + "/alice2.ssr", socket=False).json
    check("custody", j["type"] == "ssr" and j["valid"] and j["custody"])
    octets = bytearray(base64.b64decode("".join(
        line for line in open(ssr).read().splitlines() if line[:1] not in "-=")))
    octets[-1] ^= 1
    r = run(NO, "ssr", "lint", write("bad.ssr", octets), "--json", socket=False)
    check("reason", not r.json["valid"] and "signature" in r.json["reason"])
    octets[7] ^= 0xff
    run(NO, "ssr", "lint", write("point.ssr", octets), socket=False)
    run(NO, "ssr", "lint", write("cut.ssr", octets[:-1]), socket=False)
    check("type", run(NO, "ssr", "lint", SIGNETS + "/alice.signet", "--json",
                      socket=False).json["type"] == "user-signet")
    run(NO, "ssr", "lint", SIGNETS + "/alice.key", socket=False).says("private key file")
    run(UNREADABLE, "ssr", "lint", path("none"), socket=False)
    run(UNREADABLE, "ssr", "lint", socket=False)
    run(UNREADABLE, "ssr", "lint", "a", "b", socket=False)


def user_signets():
    run(NOUSER, "signet", "show", ALICE)
    run(NO, "signet", "verify", ALICE, "A" * 86)
    run(NOUSER, "signet", "history", ALICE)
    run(DATA, "signet", "issue", ALICE, SIGNETS + "/alice.signet").says("not a signing request")
    run(DATA, "signet", "issue", ALICE, SIGNETS + "/alice.key").says("private key file")
    run(NOINPUT, "signet", "issue", ALICE, path("none"))
    run(DATA, "signet", "issue", ALICE, path("bad.ssr")).says("[signet-bad-user-signature]")
    run(DATA, "signet", "issue", ALICE, SIGNETS + "/alice2.ssr").says("[no-predecessor]")
    run(NOPERM, "signet", "issue", "alice@other.example", SIGNETS + "/alice.ssr")
    issue = ["signet", "issue", "Alice@ORGA.example", SIGNETS + "/alice.ssr",
             "--field", "Name=Alice", "--field", "251:Nickname=Al", "--field", "Country=NL"]
    r = run(OK, *issue, "-o", path("alice"), "--json").says("field 19: warning: not in the signet")
    first = r.json
    check("first signet", first["identifier"] == ALICE and first["generation"] == 1 and
          first["seq"] == 1 and not first["replayed"])
    r = dime("signet", "verify", path("alice"), "--org", path("org"), "--json")
    check("verifies", r.returncode == 0 and json.loads(r.stdout)["bound"])
    check("its fields", [(f["label"], f["value"]) for f in json.loads(r.stdout)["fields"]
                         if 16 <= f["type"] <= 251] == [("Name", "Alice"), ("Nickname", "Al")])
    check("profile", "Country" not in r.stdout)
    again = run(OK, "ssr", "sign", *issue[2:], "--json").json
    check("the same request, the same signet", again["replayed"] and
          again["signet"] == first["signet"])
    run(DATA, *issue[:4], "--field", "Name=Mallory").says("[rotation-required]")
    run(DATA, "signet", "issue", ALICE, SIGNETS + "/bob.ssr").says("[custody-missing]")
    run(DATA, "signet", "issue", "eve@orga.example", SIGNETS + "/alice.ssr").says("[key-reused]")

    second = run(OK, "signet", "issue", ALICE, SIGNETS + "/alice2.ssr", "--mode", "paranoid",
                 "--json").json
    check("rotation", second["seq"] == 2 and second["generation"] == 1)
    j = run(OK, "signet", "show", ALICE, "--json").json
    check("current", j["current"] and j["fingerprints"] == dict(second["fingerprints"],
          ssr=j["fingerprints"]["ssr"]))
    for part in ("core", "full"):
        j = run(OK, "signet", "show", ALICE, "--fingerprint", first["fingerprints"][part],
                "--json", "-o", path("alice.old")).json
        check("superseded", not j["current"] and j["seq"] == 1)
        check("the very one", read("alice.old") == read("alice"))
    run(NOUSER, "signet", "show", ALICE, "--fingerprint", "A" * 86)
    check("show as text", "superseded, generation 1, seq 1" in
          run(OK, "signet", "show", ALICE, "--fingerprint", first["fingerprints"]["core"]).out)

    core = [s["fingerprints"]["core"] for s in (first, second)]
    j = run(OK, "signet", "history", ALICE, "--json").json
    check("history", [(x["fingerprint"], x["custody"]) for x in j["links"]] ==
          [(core[0], False), (core[1], True)])
    check("history as text", [x.split()[1:] for x in run(OK, "signet", "history", ALICE)
                              .out.splitlines()] == [[core[0], "root"], [core[1], "custody"]])
    check("current verdict", run(OK, "signet", "verify", ALICE, core[1], "--json")
          .json["verdict"] == "current")
    j = run(NO, "signet", "verify", ALICE, core[0], "--json").json
    check("update", j["verdict"] == "update" and j["current"] == core[1] and not j["valid"])
    check("unknown", "unknown" in run(NO, "signet", "verify", ALICE, "A" * 86).out)
    full = run(OK, "signet", "show", DOMAIN, "--json").json["fingerprints"]["full"]
    run(OK, "signet", "verify", DOMAIN, full)

    # A long chain: more than one page of history.
    os.makedirs(path("chain"))
    old = None
    for i in range(60):
        new = path("chain/%d.key" % i)
        dime("keys", "new", "-o", new)
        dime("ssr", "new", "--keys", new, *(["--prev", old] if old else []),
             "-o", path("chain/ssr"))
        run(OK, "signet", "issue", "carol@orga.example", path("chain/ssr"))
        old = new
    check("pages", len(run(OK, "signet", "history", "carol@orga.example", "--json")
                       .json["links"]) == 60)
    write("face", png(60000))
    j = run(OK, "signet", "issue", "dave@orga.example", SIGNETS + "/bob.ssr", "--image",
            path("face"), "--json").json
    check("a user's image", len(j["signet"]) > 60000)


def secrets():
    write("passphrase", b"correct horse\n")
    j = run(OK, "token", "add-slot", "--passphrase-file", path("passphrase"), "--json").json
    check("second slot", j["slot"] == 1 and "audit_key" not in j)
    check("third slot", run(OK, "token", "add-slot", "--credential-file", path("cred2"), "--new",
                            "--json").json["slot"] == 2)
    run(DATA, "unseal", "--passphrase-file", path("passphrase")).says("[already-unsealed]")
    check("sealed", run(OK, "seal", "--json").json["state"] == "sealed")
    run(UNAVAILABLE, "seal").says("[sealed]")
    run(CRITICAL, "health")
    check("status", run(OK, "status", "--json").json["state"] == "sealed")
    run(UNAVAILABLE, "signet", "issue", ALICE, SIGNETS + "/alice2.ssr").says("[sealed]")
    run(UNAVAILABLE, "key", "list").says("[sealed]")
    run(OK, "signet", "show", ALICE)
    run(NOPERM, "unseal", stdin=b"wrong horse").says("[wrong-secret]")
    run(NOPERM, "unseal", "--credential-file", write("other", b"y" * 32)).says("[wrong-secret]")
    # Only one newline is no part of it.
    run(NOPERM, "unseal", stdin=b"correct horse\n\n").says("[wrong-secret]")
    check("unsealed", run(OK, "unseal", stdin=b"correct horse\n").out == "operational\n")
    run(OK, "seal")
    run(OK, "unseal", "--passphrase-file", "-", stdin=b"correct horse")
    run(OK, "seal")
    r = run(OK, "unseal", "--credential-file",
            write("loose", read("cred2"), 0o644)).says("that others can read")
    run(OK, "seal")
    run(OK, "unseal", "--credential-file", path("credential"))


def terminal():
    run(OK, "seal")
    code, shown = on_terminal(["unseal"], [b"wrong horse\n"])
    check("wrong passphrase on the terminal: %d %r" % (code, shown), code == NOPERM)
    check("no echo", b"wrong horse" not in shown)
    code, shown = on_terminal(["unseal"], [b"correct horse\n"])
    check("passphrase from the terminal: %d %r" % (code, shown), code == OK)
    check("no echo either", b"correct" not in shown and b"operational" in shown)
    code, shown = on_terminal(["token", "add-slot"],
                              [b"battery staple\n", (b"Again: ", b"battery stable\n")])
    check("the two must agree: %r" % shown, code == DATA and b"differ" in shown)
    code, shown = on_terminal(["token", "add-slot"],
                              [b"battery staple\n", (b"Again: ", b"battery staple\n")])
    check("a new passphrase from the terminal: %r" % shown, code == OK)
    code, shown = on_terminal(["token", "add-slot"], [b""], interrupt=True)
    check("an interrupt ends it: %d" % code, code == -signal.SIGINT)
    # What the terminal was like is restored: stty of the same terminal says so.
    script = "stty -a >%s; (%s token add-slot %s); stty -a >%s" % (
        path("before"), KEYDCTL, " ".join(socket_of([])), path("after"))
    pid, fd = pty.fork()
    if pid == 0:
        os.execv("/bin/sh", ["sh", "-c", "trap : INT; " + script])
    shown = b""
    while b"passphrase: " not in shown:
        shown += os.read(fd, 4096)
    os.write(fd, b"\x03")
    try:
        while os.read(fd, 4096):
            pass
    except OSError:
        pass
    os.waitpid(pid, 0)
    os.close(fd)
    check("the terminal is as it was", read("before") == read("after") and b" echo " in
          read("after"))


def imports(made):
    key = SIGNETS + "/orga.key"
    run(DATA, "key", "import", SIGNETS + "/alice.key", "--domain", DOMAIN).says("[user-key-file]")
    run(DATA, "key", "import", SIGNETS + "/alice.signet", "--domain", DOMAIN) \
        .says("[bad-key-file]")
    run(NOINPUT, "key", "import", path("none"), "--domain", DOMAIN)
    run(NOPERM, "key", "import", key, "--domain", "other.example")
    j = run(OK, "key", "import", key, "--domain", DOMAIN, "--with-encryption", "--json").json
    check("both keys", sorted(k["role"] for k in j["keys"]) == ["enc", "pok"])
    pok = [k for k in j["keys"] if k["role"] == "pok"][0]
    check("the key in the file", base64.b64decode(pok["public_key"] + "=").hex() ==
          "e73c8624309431aef4079675df2b2dc11bbfe3c1a51bda2840803ccdeffabc03")
    run(DATA, "key", "import", key, "--domain", DOMAIN).says("[key-exists]")
    run(DATA, "signet", "issue-org", "--domain", DOMAIN).says("several active keys")
    # With both published, the new primary key can take over.
    record = "".join(run(OK, "publish", "show", "--domain", DOMAIN, "--json")
                     .json["records"][0]["strings"])
    check("both are published", record.count("pok=") == 2)
    j = run(OK, "key", "import", SIGNETS + "/orgb.key", "--domain", DOMAIN, "--as", "sok",
            "--permissions", "messages", "--json").json
    check("as a secondary key", j["role"] == "sok" and j["permissions"] == ["messages"])
    j = run(OK, "key", "retire", made["pok"]["id"], "--json").json
    check("retired", j["state"] == "retained")
    run(DATA, "key", "retire", made["pok"]["id"]).says("[key-state]")
    strings = [r["strings"] for r in
               run(OK, "publish", "show", "--domain", DOMAIN, "--json").json["records"]]
    check("a retired key is not published", made["pok"]["public_key"] not in str(strings))
    strings = [r["strings"] for r in run(OK, "publish", "show", "--domain", DOMAIN, "--retained",
                                         "--json").json["records"]]
    check("unless asked for", made["pok"]["public_key"] in str(strings))
    run(DATA, "signet", "issue-org", "--domain", DOMAIN, "--pok", made["pok"]["id"], "--enc",
        made["enc"]["id"]).says("[key-state]")


# --- the audit log ------------------------------------------------------------------------

def items(octets):
    """An export taken apart: a list of (type, octets)."""
    tag = b"keyd audit export 1\n"
    assert octets.startswith(tag)
    at, found = len(tag), []
    while at < len(octets):
        kind, n = struct.unpack_from(">BI", octets, at)
        found.append((kind, octets[at + 5:at + 5 + n]))
        at += 5 + n
    return found


def joined(parts):
    n = sum(1 for kind, _ in parts if kind == 1)
    return b"keyd audit export 1\n" + b"".join(
        struct.pack(">BI", kind, len(o)) + o for kind, o in parts if kind != 3) + \
        struct.pack(">BIQ", 3, 8, n)


def audit(audit_key):
    head = run(OK, "audit", "head", "--json").json
    check("head", head["seq"] > 80 and len(head["hash"]) == 64 and head["checkpoint"]["seq"] > 0)
    check("head as text", head["hash"] in run(OK, "audit", "head").out)
    r = run(OK, "audit", "tail", "-n", "3", "--json")
    lines = [json.loads(line) for line in r.out.splitlines()]
    check("three lines", len(lines) == 3 and lines[2]["seq"] >= head["seq"])
    check("ten by default", len(run(OK, "audit", "tail").out.splitlines()) == 10)
    check("none", run(OK, "audit", "tail", "-n", "0").out == "")
    r = run(OK, "audit", "tail", "-n", "100000", "--json")
    records = [json.loads(line) for line in r.out.splitlines()]
    check("all of them", [x["seq"] for x in records] == list(range(1, len(records) + 1)))
    issued = [x for x in records if x["op"] == "issue-user-signet" and x["address"] == ALICE]
    check("what was issued", [(x["generation"], x["link_seq"]) for x in issued] ==
          [(1, 1), (1, 2)])
    check("by whom", all(x["principal"] == "uid:0" and x["class"] == "submission"
                         for x in issued))

    j = run(OK, "audit", "verify", "--json").json
    check("whole", j["valid"] and j["records"] == j["last"] >= head["seq"] and
          j["checkpoints"] > 0 and j["covered"] > 0)
    check("whole, as text", run(OK, "audit", "verify").out.startswith("whole\n"))
    j = run(OK, "audit", "verify", "--from", "40", "--json").json
    check("from", j["first"] == 40)
    run(DATA, "audit", "verify", "--from", "1000000000").says("beyond the last record")
    wrong = base64.b64encode(b"\1" * 32).decode()[:43]
    j = run(NO, "audit", "verify", "--audit-key", wrong, "--json").json
    check("another key", not j["valid"] and j["at"] > 0 and "did not sign" in j["reason"])
    run(OK, "audit", "verify", "--audit-key", wrong, "--audit-key", audit_key)
    kept = head["checkpoint"]["signed"]
    run(OK, "audit", "verify", "--checkpoint", kept)
    run(DATA, "audit", "verify", "--checkpoint", "A" + kept[1:])
    run(USAGE, "audit", "verify", "--checkpoint", "*")

    run(OK, "seal")
    run(UNAVAILABLE, "audit", "verify").says("give it with --audit-key")
    run(OK, "audit", "verify", "--audit-key", audit_key)
    run(OK, "unseal", "--credential-file", path("credential"))
    return kept


def follow():
    """What happens while audit tail -f runs comes out of it."""
    p = subprocess.Popen([KEYDCTL, "audit", "tail", "-f", "-n", "1", "--json", *socket_of([])],
                         stdout=subprocess.PIPE, text=True)
    first = json.loads(p.stdout.readline())
    run(OK, "key", "generate", "--role", "dkim", "--domain", DOMAIN)
    seen = []
    while "generate-key" not in seen and len(seen) < 10:
        seen.append(json.loads(p.stdout.readline())["op"])
    p.terminate()
    p.wait()
    p.stdout.close()
    check("followed from %d: %r" % (first["seq"], seen), "generate-key" in seen)


def traced(*args):
    """What keydctl has written to the disk, in order; nothing without strace."""
    if shutil.which("strace") is None:
        return []
    p = subprocess.run(["strace", "-o", path("calls"), "-e", "trace=fsync,fdatasync,rename,renameat,"
                        "renameat2", KEYDCTL, *args, *socket_of(args)], capture_output=True)
    if p.returncode != 0:
        return []
    lines = read("calls").decode().splitlines()
    return [line[:line.index("(")].rstrip("at2") for line in lines if "(" in line]


def exports(audit_key, kept):
    # What others have laid there does not become the export.
    write("export.part", b"")
    os.chmod(path("export.part"), 0o666)
    theirs = os.open(path("export.part"), os.O_RDONLY)
    run(OK, "audit", "export", "-o", path("export"), "--json")
    octets = read("export")
    check("mode", os.stat(path("export")).st_mode & 0o777 == 0o600)
    check("nobody else has it open", os.pread(theirs, 1, 0) == b"")
    os.close(theirs)
    os.unlink(path("export.part"))
    check("no part is left", not [f for f in os.listdir(path(".")) if f.startswith("export.")])
    calls = traced("audit", "export", "-o", path("export"))
    check("its name is on the disk: %r" % calls,
          not calls or calls[-3:] == ["fsync", "rename", "fsync"])
    parts = items(octets)
    check("both kinds", {kind for kind, _ in parts} == {1, 2, 3})
    check("put together again", joined(parts) == octets)
    run(CANTCREAT, "audit", "export", "-o", path("none/export"))

    def verify(code, octets, *more, n=[0]):
        n[0] += 1
        return run(code, "audit", "verify", "--file", write("copy", octets), "--audit-key",
                   audit_key, *more, socket=False)

    j = verify(OK, octets, "--json").json
    check("whole", j["valid"] and j["records"] == sum(1 for kind, _ in parts if kind == 1))
    verify(OK, octets, "--checkpoint", kept)
    r = subprocess.run([KEYDCTL, "audit", "verify", "--file", "-", "--audit-key", audit_key],
                       input=octets, capture_output=True)
    check("from standard input", r.returncode == 0)
    run(NOINPUT, "audit", "verify", "--file", path("none"), "--audit-key", audit_key)
    run(NOINPUT, "audit", "verify", "--file", path(), "--audit-key", audit_key)
    verify(NO, b"").says("not an audit export")
    verify(NO, b"keyd audit export 2\n" + octets[20:]).says("not an audit export")
    verify(OK, joined([]))

    point = [i for i, (kind, _) in enumerate(parts) if kind == 2]
    verify(NO, joined(parts[:point[0]] + parts[point[0] + 1:])) \
        .says("the checkpoint that this record is about is missing")
    verify(NO, joined([p for p in parts if p[0] != 2])).says("missing")
    verify(NO, joined(parts[1:] + parts[:1]))
    # A record that another follows at once.
    r = next(i for i in range(3, len(parts)) if parts[i][0] == parts[i + 1][0] == 1)
    verify(NO, joined(parts[:r] + parts[r + 1:]))
    verify(NO, joined(parts[:r] + [parts[r + 1], parts[r]] + parts[r + 2:]))
    verify(NO, joined(parts[:r] + [parts[r]] + parts[r:]))
    verify(NO, joined(parts[:point[0]] + [parts[point[1]]] + parts[point[0] + 1:]))
    verify(NO, octets + b"\0").says("cut or not in the format")
    verify(NO, octets[:-13]).says("cut or not in the format")
    verify(NO, octets[:-8] + struct.pack(">Q", len(parts)))
    early = joined(parts[:10])
    check("a log cut at a record holds by itself", verify(OK, early, "--json").json["valid"])
    verify(NO, early, "--checkpoint", kept).says("ends before the record of the kept checkpoint")

    # Where an octet is changed, and that it is: sampled over the first records.
    end = len(joined(parts[:14])) - 13
    for at in range(0, end, 3):
        changed = bytearray(octets)
        changed[at] ^= 1 << at % 8
        verify(NO, bytes(changed))
    for at in range(21, end, 7):
        verify(NO, octets[:at])

    run(OK, "audit", "export", "--from", "20", "-o", path("later"))
    j = verify(OK, read("later"), "--json").json
    check("a part", j["first"] == 20 and j["records"] == j["last"] - 19)


def restart(daemon):
    daemon.stop()
    run(UNAVAILABLE, "status")
    daemon.start()
    check("sealed after a start", run(OK, "status", "--json").json["state"] == "sealed")
    run(OK, "unseal", "--credential-file", path("credential"))


def after_restarts(audit_key, kept):
    j = run(OK, "audit", "verify", "--audit-key", audit_key, "--checkpoint", kept,
            "--json").json
    check("an epoch for each start", j["valid"] and j["epochs"] == 3)
    check("signets are there", run(OK, "signet", "show", ALICE, "--json").json["seq"] == 2)


def accounts():
    """Freezing, resets and the kill switch, as operators see them."""
    bob = "bob@orga.example"
    j = run(OK, "account", "show", bob, "--json").json
    check("nobody spoke of it", j["state"] == "open" and j["since"] is None)
    j = run(OK, "account", "freeze", bob, "--reason", "theft", "--json").json
    check("frozen", j["state"] == "frozen" and j["reason"] == "theft" and j["changed"])
    check("as it was", "as it was" in run(OK, "account", "freeze", bob, "--reason",
                                          "theft").out)
    dime("keys", "new", "-o", path("bob.key"))
    dime("ssr", "new", "--keys", path("bob.key"), "-o", path("bob.ssr"))
    run(NOPERM, "signet", "issue", bob, path("bob.ssr")).says("frozen")
    run(OK, "account", "thaw", bob)
    run(OK, "signet", "issue", bob, path("bob.ssr"), "-o", path("bob.signet"))
    j = run(OK, "account", "attest", bob, "--level", "eci", "--json").json
    check("attested", j["attested"])
    check("shown", "attested" in run(OK, "account", "show", bob).out)
    j = run(OK, "account", "revoke", bob, "--level", "eci", "--json").json
    check("revoked", not j["attested"])
    run(OK, "account", "close", "carol@orga.example")
    run(DATA, "account", "thaw", "carol@orga.example").says("for ever")
    run(NOPERM, "account", "freeze", "x@other.example", "--reason", "abuse")

    check("none", run(OK, "reset", "list", "--json").json["resets"] == [])
    run(NOUSER, "reset", "request", "nobody@orga.example").says("has no signet")
    run(NOUSER, "reset", "approve", bob).says("no reset is pending")
    j = run(OK, "reset", "request", bob, "--json").json
    check("72 hours", 259190000 < j["remaining_ms"] <= 259200000 and not j["approved"])
    check("counted", run(OK, "status", "--json").json["counters"]["resets-pending"] == 1)
    check("generation", j["generation"] == 2)
    check("approved", run(OK, "reset", "approve", bob, "--json").json["approved"])
    r = run(OK, "reset", "list")
    check("listed", bob in r.out and "d " in r.out and "yes" in r.out)
    dime("keys", "new", "-o", path("bob2.key"))
    dime("ssr", "new", "--keys", path("bob2.key"), "-o", path("bob2.ssr"))
    run(NOPERM, "signet", "issue", bob, path("bob2.ssr")).says("delay has not passed")
    run(OK, "reset", "cancel", bob)
    run(DATA, "signet", "issue", bob, path("bob2.ssr")).says("custody")

    run(NOUSER, "principal", "stop", "nobody").says("no principal")
    run(DATA, "principal", "stop", "operator").says("nobody stops himself")
    check("one", "submitd" in run(OK, "principal", "stop", "submitd").out)
    run(NOPERM, "signet", "issue", bob, path("bob2.ssr")).says("stopped")
    explain = ["policy", "explain", "submitd", "IssueUserSignet", "--domain", DOMAIN]
    check("explained", "denied: the principal is stopped" in run(NO, *explain).out)
    check("stopped", run(NO, *explain, "--json").json["stopped"])
    j = run(OK, "principal", "list", "--json").json
    check("listed", j["stopped"] == [{"class": "submission", "name": "submitd"}])
    check("allowed", run(OK, "principal", "allow", "submitd", "--json").json["stopped"] == [])
    run(DATA, "signet", "issue", bob, path("bob2.ssr")).says("custody")
    log = run(OK, "audit", "tail", "-n", "40").out
    check("the records say whom", "submission:submitd" in log and "theft" in log)


def line_of(text):
    """The line of keyd.conf that has it, counted from the last section of submitd."""
    lines = read("keyd.conf").decode().splitlines()
    section = lines.index('principal "submitd" {')
    return next(i + 1 for i in range(section, len(lines)) if text in lines[i])


def policy():
    """What policy decides, by the daemon and by the file, and what is odd about it."""
    ask = ["policy", "explain", "submitd", "IssueUserSignet", "--domain", DOMAIN]
    r = run(OK, *ask).out
    for text in ("allowed", "listed (line %d)" % line_of("operations"),
                 "%s is listed (line %d)" % (DOMAIN, line_of("domains")),
                 "of 5000 left", "of 500 in flight", "0 refused"):
        check("explain says %r" % text, text in r)
    live, file = (run(OK, *ask, "--json", *more, socket=s).json for more, s in
                  (([], True), (["--config", path("keyd.conf")], False)))
    check("levels", live["quotas"][1]["vault"]["left"] > 4000)
    for q in live["quotas"]:
        q.pop("vault", None), q.pop("gates", None)
    check("the daemon and the file agree", live == file)
    check("who", live["principal"] == "submitd" and live["class"] == "submission"
          and live["uid"] == 0 and live["section_line"] == line_of("principal"))
    check("by class and uid", run(OK, "policy", "explain", "submission/0", *ask[3:], "--json")
          .json["decisions"] == live["decisions"])
    check("its keys", "sok is listed" in run(OK, *ask, "--key", "sok").out)
    r = run(NO, *ask, "--key", "enc").out
    check("another key", "not among its keys" in r and '"enc" in its keys (line %d)' %
          line_of("keys") in r)
    sok = [k for k in run(OK, "key", "list", "--domain", DOMAIN, "--json").json["keys"]
           if k["role"] == "sok"][0]["id"]
    run(OK, *ask, "--key", sok)
    r = run(NO, "policy", "explain", "submitd", "IssueUserSignet", "--domain", "other.example").out
    check("another domain", '"other.example" in its domains' in r)
    r = run(NO, "policy", "explain", "submitd", "IssueUserSignet", "--domain", "x.example").out
    check("no domain", "a section domain" in r)
    check("none given", "--domain" in run(NO, *ask[:4]).out)
    check("another class", "is served to: admin" in run(NO, "policy", "explain", "submitd", "Seal").out)
    check("nobody", "no principal is" in run(NO, "policy", "explain", "nobody", "Seal").out)
    check("nobody here", "with this class and uid" in run(NO, "policy", "explain", "mta/7", "Status").out)
    r = run(OK, "policy", "explain", "submitd").out
    check("all", "allowed for its domains" in r and "not among its operations" in r
          and "every" not in r and r.count("\n") > 8)
    check("all of nobody", run(OK, "policy", "explain", "nobody", "--json").json["decisions"] == [])
    run(USAGE, "policy", "explain", "Not/a/name", "Seal")
    run(USAGE, "policy", "explain", "submitd", "Sael")
    run(USAGE, "policy", "explain", "submitd", "Seal", "--key", "12")
    run(USAGE, "policy", "explain")
    run(NOINPUT, *ask, "--config", path("absent"), socket=False)

    check_it = lambda code, text, *more: run(
        code, "policy", "check", write("draft", text.encode()), *more, socket=False)
    good = read("keyd.conf").decode()
    r = check_it(OK, good)
    check("one uid for both", "front-end \"submitd\" has admin rights" in r.out)
    check("nobody serves it", 'domain "other.example": no principal' in r.out)
    check_it(NO, good, "--strict")
    j = check_it(OK, good, "--json").json
    check("as JSON", j["valid"] and {p["severity"] for p in j["problems"]} == {"warning"}
          and all(p["line"] > 0 for p in j["problems"]))
    r = check_it(NO, good.replace('"* in-flight 500"', '"* 5/day"'))
    check("the line", ":%d: error: quotas:" % line_of("quotas") in r.out)
    check("not valid", not check_it(NO, good + "x = 1\n", "--json").json["valid"])
    run(UNREADABLE, "policy", "check", path("absent"), socket=False)
    run(UNREADABLE, "policy", "check", socket=False)


def tickets():
    j = run(OK, "ticket", "key", path("account.key"), "--new", "--json", socket=False).json
    again = run(OK, "ticket", "key", path("account.key"), "--json", socket=False).json
    check("the same key", j == again and len(j["account_key"]) == 43)
    run(CANTCREAT, "ticket", "key", path("account.key"), "--new", socket=False)
    run(DATA, "ticket", "key", path("bob.key"), socket=False).says("PEM")
    new = ["ticket", "new", ALICE, path("bob.ssr"), "--key", path("account.key")]
    run(OK, *new, "-o", path("ticket"), "--minutes", "5", socket=False)
    octets = read("ticket")
    check("its form", octets.startswith(b"keyd account ticket\n\xa6\x01\x01\x02")
          and len(octets) < 512)
    run(USAGE, *new, "-o", path("t"), "--for", "fun", socket=False)
    run(USAGE, *new, "-o", path("t"), "--minutes", "0", socket=False)
    run(DATA, "ticket", "new", ALICE, path("bob.signet"), "--key", path("account.key"),
        "-o", path("t"), socket=False)
    # The domain has no account key: a ticket is then by nobody's.
    issue = ["signet", "issue", ALICE, path("bob.ssr")]
    run(NOPERM, *issue, "--ticket", path("ticket")).says("no account key")
    write("bad", octets[:-1])
    run(DATA, *issue, "--ticket", path("bad")).says("not an account ticket")
    run(NOINPUT, *issue, "--ticket", path("absent"))


def unwrap():
    run(OK, "signet", "show", ALICE, "-o", path("alice.now"))
    shown = run(OK, "signet", "show", ALICE, "--json").json["fingerprints"]["core"]
    opts = ["--domain", "ORGA.example", "--origin", SIGNETS + "/orgb.signet"]
    octets = letter("letter")
    ask = ["unwrap", path("letter"), *opts]
    j = run(OK, *ask, "--json").json
    check("whom it is for", j == {
        "valid": True, "verdict": "current", "origin": "orgb.example", "domain": DOMAIN,
        "recipient": ALICE, "fingerprint": shown, "metadata_bounce": "good",
        "display_bounce": "good"})
    lines = dict(line.split("  ", 1) for line in run(OK, *ask).out.splitlines())
    check("as text", {k.strip(): v.strip() for k, v in lines.items()} == {
        "verdict": "current", "origin": "orgb.example", "recipient": ALICE,
        "fingerprint": shown, "metadata bounce": "good", "display bounce": "good"})
    last = json.loads(run(OK, "audit", "tail", "-n", "1", "--json").out)
    check("the use of the key is recorded", (last["op"], last["outcome"], last["class"]) ==
          ("open-envelope", "done", "mta") and len(last["digests"]) == 1)
    check("without names", ALICE not in json.dumps(last) and "orgb" not in json.dumps(last))

    dime("message", "armor", path("letter"), "-o", path("letter.asc"))
    r = run(OK, "unwrap", "-", *opts, "--json", stdin=read("letter.asc"))
    check("in armour, from standard input", r.json == j)
    old = run(OK, "signet", "show", DOMAIN, "--json").json["fingerprints"]["full"]
    check("by the fingerprint", run(OK, *ask, "--fingerprint", old, "--json").json == j)
    letter("long", size=200000)
    check("in a descriptor", run(OK, "unwrap", path("long"), *opts, "--json").json == j)

    letter("old", path("alice"))
    j = run(OK, "unwrap", path("old"), *opts, "--json").json
    check("for a signet superseded lately", j["verdict"] == "stale" and j["valid"] and
          j["recipient"] == ALICE and j["fingerprint"] != shown)
    for verdict, name in (("unknown", "nobody@orga.example"), ("elsewhere", "bob@orgb.example")):
        letter(verdict, name=name)
        r = run(NO, "unwrap", path(verdict), *opts, "--json")
        check(verdict, r.json["verdict"] == verdict and not r.json["valid"])
        check("names nobody", r.json["recipient"] is None and r.json["fingerprint"] is None and
              name not in r.out)
        r = run(NO, "unwrap", path(verdict), *opts)
        check("nor as text", name not in r.out and "recipient" not in r.out)

    bad = bytearray(octets)
    bad[500] ^= 1
    write("changed", bad)
    r = run(DATA, "unwrap", path("changed"), *opts, "--json").says("[message-refused]")
    check("nothing is shown of it", set(r.json) == {"status", "detail", "reason"})
    run(NOUSER, *ask, "--fingerprint", "A" * 86).says("[no-such-recipient-key]")
    run(DATA, "unwrap", path("letter"), *opts[:3], path("org")).says("[message-refused]")
    run(DATA, "unwrap", path("letter"), *opts[:3], SIGNETS + "/orgb.full.signet") \
        .says("not an organizational signet")
    run(DATA, "unwrap", path("letter"), *opts[:3], SIGNETS + "/bob.signet") \
        .says("not an organizational signet")
    run(NOINPUT, "unwrap", path("letter"), *opts[:3], path("absent"))
    run(NOINPUT, "unwrap", path("absent"), *opts)
    run(DATA, "unwrap", write("nothing", b""), *opts)
    run(DATA, "unwrap", write("cut", octets[:-1]), *opts).says("[message-corrupt]")
    run(DATA, "unwrap", SIGNETS + "/bob.signet", *opts).says("[message-corrupt]")
    run(NOPERM, "unwrap", path("letter"), "--domain", "other.example", *opts[2:])
    run(NOPERM, *ask, user=STRANGER)


def play():
    os.mkdir(path("run"), 0o755)
    os.mkdir(path("state"), 0o700)
    os.chown(path("state"), 61003, -1)
    token = softhsm.make(path("token")) if softhsm.WANTED else ""
    write("keyd.conf", (CONF.format(t=path()) + token).encode(), 0o644)
    usage()
    no_daemon()
    with Daemon() as daemon:
        unprovisioned()
        audit_key = init()
        made = keys()
        endpoints()
        org_signet(made)
        publish(made)
        lint()
        user_signets()
        unwrap()
        secrets()
        terminal()
        restart(daemon)  # a checkpoint is made soon after each
        imports(made)
        kept = audit(audit_key)
        follow()
        exports(audit_key, kept)
        restart(daemon)
        after_restarts(audit_key, kept)
        policy()
        accounts()
        tickets()
    no_daemon()
    log = read("log").decode()
    check("no sanitizer complains", "Sanitizer" not in log and "runtime error" not in log)
    check("no process was started again", "ended by signal" not in log)
    if story.failed:
        print(log)


if __name__ == "__main__":
    sys.exit(story.tell("keydctl-", play))
