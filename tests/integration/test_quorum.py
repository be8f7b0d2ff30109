#!/usr/bin/env python3
"""Operators at their terminals: keydctl approve, operator and quorum against a daemon, and
signatures made by another program.

usage: test_quorum.py BIN_DIR

Needs root, as each role of the daemon becomes a user of its own; exit status 77 without."""

import base64
import hashlib
import json
import os
import select
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
import story  # noqa: E402
from story import KEYDCTL, Daemon, admin_socket, check, path, read, write  # noqa: E402

OK, NO, USAGE, DATA, NOUSER, TEMPFAIL, NOPERM, PROTOCOL = 0, 1, 64, 65, 67, 75, 77, 76
DOMAIN = "orga.example"
PASS = b"a passphrase of twelve words"

OPS = ('"TokenInit", "AddUnsealSlot", "Unseal", "Seal", "GenerateKey", "RetireKey", "ImportKey", '
       '"IssueOrgSignet", "AuditRead", "AuditHead", "LookupSignet", "SetQuorum", "ApprovalList", '
       '"ApprovalShow", "ApprovalSign"')
CONF = """
state-directory = "{t}/state"
run-directory = "{t}/run"
hardening = strict
user-gate = "61001"
user-vault = "61002"
user-ledger = "61003"
group = "61000"
domain "orga.example" {{
}}
principal "ann" {{
    uid = 0
    class = "admin"
    operations = {{ {ops} }}
    domains = {{ "orga.example" }}
}}
"""

def keydctl(code, *args, stdin=b"", socket=True):
    more = admin_socket() if socket else []
    p = subprocess.run([KEYDCTL, *args, *more], input=stdin, capture_output=True, timeout=60,
                       env={"PATH": "/usr/bin:/bin"})
    p.out, p.err = p.stdout.decode(), p.stderr.decode()
    if not check("keydctl %s: %d, not %d" % (" ".join(args), p.returncode, code),
                 p.returncode == code):
        print(p.err)
    return p


def openssl(*args):
    return subprocess.run(["openssl", *args], check=True, capture_output=True).stdout


# --- operators' keys ----------------------------------------------------------------------

def keys():
    """Three by keydctl, one by openssl; each program reads the other's."""
    for name in ("ann", "bea", "cem"):
        r = keydctl(OK, "operator", "new-key", "-o", path(name), "--passphrase-file", path("pass"),
                    "--json", socket=False)
        raw = openssl("pkey", "-pubin", "-in", path(name + ".pub"), "-outform", "DER", "-pubout")[-32:]
        j = json.loads(r.out)
        check("public key of %s" % name,
              base64.b64decode(j["public_key"] + "=") == raw)
        check("SHA-256 of it",
              j["sha256"].replace(" ", "") == hashlib.sha256(raw).hexdigest())
        check("mode of the private key", os.stat(path(name)).st_mode & 0o777 == 0o600)
        text = read(name)
        check("it is encrypted", b"BEGIN ENCRYPTED PRIVATE KEY" in text)
        info = openssl("asn1parse", "-in", path(name)).decode()
        check("by scrypt and AES-256", "scrypt" in info and "aes-256-cbc" in info)
    keydctl(73, "operator", "new-key", "-o", path("ann"), "--passphrase-file", path("pass"),
            socket=False)
    keydctl(USAGE, "operator", "new-key", "-o", path("short"), "--passphrase-file", path("shortpass"),
            socket=False)
    keydctl(USAGE, "operator", "new-key", socket=False)
    check("nothing half made", not os.path.exists(path("short")))
    openssl("genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "file:" + path("pass"),
            "-out", path("dee"))
    write("dee.pub", openssl("pkey", "-in", path("dee"), "-passin", "file:" + path("pass"), "-pubout"))
    openssl("genpkey", "-algorithm", "ed25519", "-out", path("plain"))
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path("rsa"))
    write("rsa.pub", openssl("pkey", "-in", path("rsa"), "-pubout"))


ENROLL = []


def enroll():
    global ENROLL
    ENROLL = [x for n in ("ann", "bea", "cem", "dee")
              for x in ("--operator", "%s=%s" % (n, path(n + ".pub")))]
    marks = [x for m in ("GenerateKey", "AddUnsealSlot", "ImportKey", "IssueOrgSignet")
             for x in ("--mark", m)]
    keydctl(USAGE, "quorum", "set", *ENROLL)
    keydctl(USAGE, "quorum", "set", "--k", "4", *ENROLL, *marks)
    keydctl(USAGE, "quorum", "set", "--k", "1", *ENROLL, *marks)
    keydctl(USAGE, "quorum", "set", "--k", "2", *ENROLL, "--mark", "Status")
    keydctl(USAGE, "quorum", "set", "--k", "2", *ENROLL[:4], *marks)
    keydctl(USAGE, "quorum", "set", "--k", "2", *ENROLL, "--operator", "bea=" + path("cem.pub"))
    keydctl(DATA, "quorum", "set", "--k", "2", *ENROLL, "--operator", "eli=" + path("rsa.pub"))
    keydctl(DATA, "quorum", "set", "--k", "2", *ENROLL, "--operator", "eli=" + path("ann"))
    keydctl(66, "quorum", "set", "--k", "2", *ENROLL, "--operator", "eli=" + path("none"))
    check("no operators yet", "no operators" in keydctl(OK, "quorum", "show").out)
    r = keydctl(NOPERM, "key", "generate", "--role", "pok", "--domain", DOMAIN)
    check("refused without operators", "needs-quorum" in r.err)
    keydctl(OK, "quorum", "set", "--k", "2", *ENROLL, *marks)
    j = json.loads(keydctl(OK, "quorum", "show", "--json").out)
    check("the quorum is shown", j["k"] == 2 and [o["name"] for o in j["operators"]] ==
          ["ann", "bea", "cem", "dee"] and j["marks"] ==
          ["AddUnsealSlot", "GenerateKey", "ImportKey", "IssueOrgSignet", "SetQuorum"])
    shown = keydctl(OK, "quorum", "show").out
    check("in words", "2 approvals of 4 operators" in shown and "  GenerateKey\n" in shown)
    check("operators", keydctl(OK, "operator", "list").out.count("\n") == 4)


# --- approving ----------------------------------------------------------------------------

def ask(*args):
    """A request that waits: (id, idempotency key)."""
    r = keydctl(TEMPFAIL, *args, "--json")
    j = json.loads(r.out)
    check("%s waits" % " ".join(args), j["detail"] == "approvals-needed" and j["missing"] == 2)
    check("and says how to go on", "keydctl approve sign " + j["approval"] in r.err and
          "--idempotency-key " + j["idempotency_key"] in r.err)
    return j["approval"], j["idempotency_key"]


def digest_of(request):
    return json.loads(keydctl(OK, "approve", "show", request, "--json").out)["sha256"]


def sign(code, request, name, *more):
    return keydctl(code, "approve", "sign", request, "--key", path(name), "--passphrase-file",
                   path("pass"), *more)


def approving():
    generate = ("key", "generate", "--role", "pok", "--domain", DOMAIN)
    request, key = ask(*generate)
    listed = json.loads(keydctl(OK, "approve", "list", "--json").out)["approvals"]
    check("it is listed", len(listed) == 1 and listed[0]["id"] == request and
          listed[0]["operation"] == "GenerateKey" and listed[0]["requester"] == "ann")
    check("on a line", request in keydctl(OK, "approve", "list").out)
    text = json.loads(keydctl(OK, "approve", "show", request, "--json").out)["text"]
    check("the text", text.startswith("keyd approval 1\n") and "\nrole pok\n" in text)
    digest = digest_of(request)
    check("its digest", digest == hashlib.sha256(text.encode()).hexdigest())
    shown = keydctl(OK, "approve", "show", request, "-o", path("text")).out
    check("to be read over the telephone", " ".join(
        digest[i:i + 4] for i in range(0, 64, 4)) in shown)
    check("the octets to sign", read("text") == text.encode())
    # What signs has shown, and has been told.
    r = sign(USAGE, request, "bea")
    check("without a terminal a digest is needed", "yes-digest" in r.err and text in r.out)
    sign(DATA, request, "bea", "--yes-digest", "00000000")
    sign(DATA, request, "bea", "--yes-digest", digest[:7])
    r = sign(OK, request, "bea", "--yes-digest", digest[:4] + " " + digest[4:8])
    check("it shows what it signs", text in r.out and "approved by bea: 1 of 2" in r.out)
    check("not twice", "approved-before" in sign(DATA, request, "bea", "--yes-digest", digest).err)
    check("not one's own", "own-request" in sign(NOPERM, request, "ann", "--yes-digest", digest).err)
    check("not by anybody", "no operator" in sign(NOPERM, request, "plain", "--yes-digest", digest).err)
    sign(DATA, request, "rsa", "--yes-digest", digest)
    sign(DATA, request, "bea.pub", "--yes-digest", digest)
    keydctl(DATA, "approve", "sign", request, "--key", path("cem"), "--passphrase-file",
            path("shortpass"), "--yes-digest", digest)
    keydctl(USAGE, "approve", "sign", request)
    keydctl(USAGE, "approve", "sign", "12", "--key", path("cem"))
    keydctl(NOUSER, "approve", "show", "00" * 16)
    r = keydctl(TEMPFAIL, *generate, "--idempotency-key", key)
    check("one more", "waiting for 1 approval:" in r.err)
    r = sign(OK, request, "dee", "--yes-digest", digest, "--json")
    check("openssl's key signs here", json.loads(r.out)["given"] == 2)
    j = json.loads(keydctl(OK, *generate, "--idempotency-key", key, "--json").out)
    again = json.loads(keydctl(OK, *generate, "--idempotency-key", key, "--json").out)
    check("done once", j["id"] == again["id"] and j["role"] == "pok")
    check("nothing waits", keydctl(OK, "approve", "list").out == "")


def raw_signature():
    """A signature made by the openssl tool over the file, brought by whoever."""
    request, key = ask("key", "generate", "--role", "enc", "--domain", DOMAIN)
    keydctl(OK, "approve", "show", request, "-o", path("text"))
    check("a false one does not", approval_sign(request, "bea", bytes(64)) == "bad-signature")
    for name in ("bea", "cem"):
        sig = openssl("pkeyutl", "-sign", "-rawin", "-inkey", path(name), "-passin",
                      "file:" + path("pass"), "-in", path("text"))
        check("64 octets", len(sig) == 64)
        answer = approval_sign(request, name, sig)
        check("openssl's signature of %s counts" % name, answer == "")
    keydctl(OK, "key", "generate", "--role", "enc", "--domain", DOMAIN, "--idempotency-key", key)


def varint(n):
    out = b""
    while n > 0x7f:
        out += bytes([n & 0x7f | 0x80])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def approval_sign(request, name, sig):
    """ApprovalSign without libkeyd: the frames of PROTOCOL.md by hand; the detail."""
    import socket as s
    c = s.socket(s.AF_UNIX, s.SOCK_STREAM)
    c.connect(path("run/admin/admin.sock"))

    def call(message):
        c.sendall(len(message).to_bytes(4, "big") + message)
        got = b""
        while len(got) < 4 or len(got) < 4 + int.from_bytes(got[:4], "big"):
            got += c.recv(65536)
        return got[4:]
    call(field(1, 1) + field(101, field(1, 1) + field(2, 1)))
    body = field(1, bytes.fromhex(request)) + field(2, name.encode()) + field(3, sig)
    answer = call(field(1, 2) + field(145, body))
    c.close()
    fields = parse(answer)
    check("a result or a reason", (145 in fields) != (3 in fields))
    return fields.get(3, b"").decode()


def parse(message):
    """{number: value} of a message's fields."""
    out, at = {}, 0

    def number():
        nonlocal at
        v = shift = 0
        while True:
            octet = message[at]
            at += 1
            v |= (octet & 0x7f) << shift
            shift += 7
            if octet < 0x80:
                return v
    while at < len(message):
        tag = number()
        value = number()
        if tag & 7 == 2:
            value, at = message[at:at + value], at + value
        out[tag >> 3] = value
    return out


def at_terminal(request, answer, *socket):
    return story.on_terminal(["approve", "sign", request, "--key", path("bea"),
                              "--passphrase-file", path("pass"), *socket],
                             [(b"Type yes: ", answer)])


def on_terminal():
    """The question, answered by a person."""
    request, _ = ask("key", "generate", "--role", "dkim", "--domain", DOMAIN)
    altered = between(b"\x0a\x03bea", b"\x0a\x03\x1b[A")
    status, shown = at_terminal(request, b"no\n", "--socket", altered)
    check("a name that moves the cursor is not shown", b"\x1b" not in shown)
    check("and nobody's: %d" % status, status == NOPERM)
    for answer, code in ((b"no\n", NO), (b"yes\n", OK)):
        status, shown = at_terminal(request, answer, *admin_socket())
        check("answered %r: %d" % (answer, status), status == code)
        check("the text came before the question",
              shown.find(b"keyd approval 1") in range(0, shown.find(b"Type yes: ")))


def between(what, by):
    """A socket that leads to keyd's, for one connection; what keyd says is altered."""
    import socket as s
    at = s.socket(s.AF_UNIX)
    at.bind(path("between"))
    at.listen(1)

    def carry():
        client = at.accept()[0]
        keyd = s.socket(s.AF_UNIX)
        keyd.connect(path("run/admin/admin.sock"))
        with at, client, keyd:
            while True:
                ready = select.select([client, keyd], [], [], 30)[0]
                octets = ready[0].recv(65536) if ready else b""
                if not octets:
                    return
                if ready[0] is keyd:
                    client.sendall(octets.replace(what, by))
                else:
                    keyd.sendall(octets)
    threading.Thread(target=carry, daemon=True).start()
    return path("between")


def waiting():
    """--wait finishes by itself, with an object and with a passphrase that it keeps."""
    for args in (("key", "generate", "--role", "sok", "--domain", DOMAIN),
                 ("token", "add-slot", "--passphrase-file", path("newpass"))):
        p = subprocess.Popen([KEYDCTL, *args, "--wait", "--socket", path("run/admin/admin.sock")],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        request = None
        for _ in range(200):
            listed = json.loads(keydctl(OK, "approve", "list", "--json").out)["approvals"]
            mine = [a for a in listed if a["requester"] == "ann" and
                    a["operation"] in ("AddUnsealSlot", "GenerateKey") and not a["approved_by"]]
            if mine:
                request = mine[-1]["id"]
                break
            time.sleep(0.05)
        digest = digest_of(request)
        for name in ("bea", "cem"):
            sign(OK, request, name, "--yes-digest", digest)
        out, err = p.communicate(timeout=30)
        check("--wait of %s: %d %s" % (" ".join(args), p.returncode, err), p.returncode == OK)
        check("it said what it waited for", "waiting for 2 approvals: keydctl approve sign " +
              request in err)
    keydctl(OK, "seal")
    keydctl(OK, "unseal", "--passphrase-file", path("newpass"))


def audit():
    records = [json.loads(x) for x in
               keydctl(OK, "audit", "tail", "-n", "1000", "--json").out.splitlines()]
    approved = [r for r in records if r["op"] == "approve"]
    done = [r for r in records if "approval" in r]
    check("approvals are in the log", len(approved) >= 8 and
          {r["principal"] for r in approved} == {"op:bea", "op:cem", "op:dee"})
    check("and what was done with them", len(done) == 4)
    for r in done:
        n = sum(a["digests"] == [r["approval"]] for a in approved)
        check("record %d has its two approvals" % r["seq"], n == 2 and "quorum" in r["notes"])
    text = keydctl(OK, "audit", "tail", "-n", "1000").out
    check("as text too", text.count("  approval " + done[0]["approval"]) == 3)
    keydctl(OK, "audit", "verify")
    log = read("log").decode()
    check("no passphrase in the log", PASS.decode() not in log and "new slot" not in log)


def play():
    write("keyd.conf", CONF.format(t=path(), ops=OPS).encode(), 0o644)
    write("pass", PASS + b"\n")
    write("shortpass", b"short\n")
    write("newpass", b"another passphrase for a new slot\n")
    with Daemon():
        keydctl(OK, "token", "init", "--passphrase-file", path("pass"))
        keys()
        enroll()
        approving()
        raw_signature()
        on_terminal()
        waiting()
        audit()


sys.exit(story.tell("keyd-quorum-", play))
