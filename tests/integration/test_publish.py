#!/usr/bin/env python3
"""keydctl publish show: what is put into a zone, read again by another program.

usage: test_publish.py BIN_DIR

Needs root, as each role of the daemon becomes a user of its own; exit status 77 without."""

import base64
import datetime
import hashlib
import json
import os
import re
import subprocess
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

sys.dont_write_bytecode = True
import story  # noqa: E402
from story import BIN, KEYDCTL, Daemon, admin_socket, check, path, write  # noqa: E402

OK, USAGE, DATA, NOINPUT = 0, 64, 65, 66
DOMAIN = "example.com"
DIME = os.path.join(BIN, "dime")

CONF = """
state-directory = "{t}/state"
run-directory = "{t}/run"
hardening = strict
single-operator = yes
user-gate = "61001"
user-vault = "61002"
user-ledger = "61003"
group = "61000"
domain "example.com" {{
    server-certificates = {{ {certificates} }}
}}
domain "other.example" {{
}}
principal "operator" {{
    uid = 0
    class = "admin"
    operations = {{ "TokenInit", "GenerateKey", "RetireKey", "IssueOrgSignet", "LookupSignet",
                    "SignTlsRecord", "AuditRead", "AuditHead" }}
    domains = {{ "example.com", "other.example" }}
}}
"""


def unpadded(text):
    return base64.b64decode(text + "=" * (-len(text) % 4))


def run(code, *args, env=None):
    p = subprocess.run([KEYDCTL, *args, *admin_socket()], capture_output=True, text=True,
                       timeout=60, env={"PATH": "/usr/bin:/bin", **(env or {})})
    if not check("keydctl %s: %d, not %d" % (" ".join(args), p.returncode, code),
                 p.returncode == code):
        print(p.stderr)
    return p


def show(code=OK, *args, domain=DOMAIN, conf=True):
    more = ["--config", path("keyd.conf")] if conf else []
    return run(code, "publish", "show", "--domain", domain, *more, *args)


def record(*args, **more):
    """The text that readers get, of JSON; both owners have the same."""
    j = json.loads(show(OK, "--json", *args, **more).stdout)
    texts = {"".join(r["strings"]) for r in j["records"]}
    check("one text", len(texts) == 1 and len(j["records"]) == 2)
    for r in j["records"]:
        for s in r["strings"]:
            check("a string of a record", 0 < len(s) <= 255 and s.endswith(" "))
    text = texts.pop()
    check("its size is told", j["octets"] == len(text))
    return text


def values(text, name):
    return [f.split("=", 1)[1] for f in text.split() if f.startswith(name + "=")]


def openssl(*args):
    return subprocess.run(["openssl", *args], check=True, capture_output=True).stdout


def certificate(name, *more, key="rsa:2048", days="90"):
    args = ["req", "-x509", "-newkey", key, "-nodes", "-keyout", path(name + ".key"),
            "-out", path(name), "-subj", "/CN=" + name, "-days", days, *more]
    openssl(*args)
    os.chmod(path(name), 0o644)
    return path(name)


def expired(name):
    key = rsa.generate_private_key(65537, 2048)
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (x509.CertificateBuilder().subject_name(who).issuer_name(who)
            .public_key(key.public_key()).serial_number(7)
            .not_valid_before(now - datetime.timedelta(days=9))
            .not_valid_after(now - datetime.timedelta(days=1)).sign(key, hashes.SHA256()))
    write(name, made.public_bytes(serialization.Encoding.PEM), 0o644)


def der_of(name):
    return openssl("x509", "-in", path(name), "-outform", "DER")


# --- what is in it ------------------------------------------------------------------------

def lint(text):
    p = subprocess.run([DIME, "record", "lint", "-", "--json"], input=text, text=True,
                       capture_output=True)
    return p.returncode, json.loads(p.stdout)


def fields(pok):
    plain = show(OK, conf=False, domain="other.example")
    check("no certificate is a warning (T-MR-42)", "warning: no tls value" in plain.stderr)
    lines = plain.stdout.splitlines()
    check("a line for each owner", [line.split(" ")[:4] for line in lines] == [
        ["_dime.other.example.", "3600", "IN", "TXT"],
        ["_dx.other.example.", "3600", "IN", "TXT"]])

    text = record("--policy", "strict", "--dx", "MX1.Example.com.", "--dx", "mx2.example.com",
                  "--syn", "watch.example.org", "--expiry", "14", "--subdomains", "explicit")
    check("keys", values(text, "pok") == [pok])
    check("fields", values(text, "pol") == ["strict"] and values(text, "exp") == ["14"] and
          values(text, "sub") == ["explicit"] and values(text, "syn") == ["watch.example.org"])
    check("hosts in lower case", values(text, "dx") == ["mx1.example.com", "mx2.example.com"])
    check("version first", text.startswith("ver=1 "))
    default = record()
    check("what is the default is left away", "sub=" not in default and "exp=" not in default and
          "pol=mixed" in default)

    update = show(OK, "--format", "nsupdate", "--ttl", "60").stdout.splitlines()
    check("nsupdate", [re.sub(' ".*', "", line) for line in update] == [
        "update delete _dime.example.com. TXT", "update add _dime.example.com. 60 TXT",
        "update delete _dx.example.com. TXT", "update add _dx.example.com. 60 TXT", "send"])


def refusals():
    for args, words in (
            (["--policy", "loose"], "--policy"), (["--subdomains", "none"], "--subdomains"),
            (["--expiry", "0"], "--expiry"), (["--expiry", "366"], "--expiry"),
            (["--ttl", "x"], "--ttl"), (["--format", "bind"], "--format"),
            (["--format", "zone", "--json"], "--format"),
            (["--dx", "192.0.2.1"], "--dx"), (["--dx", "mx1.example.com:26"], "--dx"),
            (["--dx", "localhost"], "--dx"), (["--syn", "a_b.example"], "--syn"),
            (["--dx", "a.example.com", "--dx", "A.example.com."], "twice"),
            (["--pok", "12"], "--pok")):
        p = show(USAGE, *args)
        check("%s names its option" % args, words in p.stderr and p.stdout == "")
    p = show(USAGE, *[a for i in range(33) for a in ("--dx", "h%d.example.com" % i)])
    check("no more hosts than readers take", "at most 32" in p.stderr)
    # 32 hosts of some length: read by all, but long.
    p = show(OK, *[a for i in range(32) for a in ("--dx", "host-%d.example.com" % i)])
    check("a warning above 512 octets", "above 512 octets" in p.stderr and p.stdout != "")
    show(NOINPUT, "--certificate", path("none"))
    for name, octets in (("empty", b""), ("words", b"not a certificate"),
                         ("key.pem", open(path("mx1.pem.key"), "rb").read()),
                         ("twice", 2 * der_of("mx1.pem")), ("cut", der_of("mx1.pem")[:-1])):
        write(name, octets)
        p = show(DATA, "--partial", "--certificate", path(name))
        check("%s is no certificate" % name, path(name) in p.stderr and p.stdout == "")
    certificate("weak.pem", key="rsa:1024")
    check("too weak", "2048" in show(DATA, "--certificate", path("weak.pem")).stderr)
    certificate("ed.pem", key="ed25519")
    check("of no use", "none of this kind" in show(DATA, "--certificate",
                                                   path("ed.pem")).stderr)
    expired("old.pem")
    check("over", "expired" in show(DATA, "--partial", "--certificate",
                                           path("old.pem")).stderr)


# --- certificates -------------------------------------------------------------------------

def verify(pok, name, of_hash, of_der):
    key, der = Ed25519PublicKey.from_public_bytes(unpadded(pok)), der_of(name)
    key.verify(unpadded(of_hash), hashlib.sha512(der).digest())
    key.verify(unpadded(of_der), der)
    return check("values of %s" % name, len(of_hash) == len(of_der) == 86)


def T_MR_103_both_forms_of_each_the_hash_of_the_main_one_first(pok):
    tls = values(record(), "tls")
    check("two values of each configured one", len(tls) == 4)
    verify(pok, "mx1.pem", *tls[:2])
    verify(pok, "mx2.pem", *tls[2:])
    check("the same every time", values(record(), "tls") == tls)
    one = values(record("--partial", "--certificate", path("mx2.pem")), "tls")
    check("one", one == tls[2:])
    # DER, and a file with more in it, whose first certificate counts.
    write("mx1.der", der_of("mx1.pem"))
    write("chain.pem", b"some words\n" + open(path("mx2.pem"), "rb").read() +
          open(path("old.pem"), "rb").read())
    both = values(record("--certificate", path("mx1.der"), "--certificate",
                         path("chain.pem")), "tls")
    check("as they were given", both == tls)
    code, j = lint(show(OK, "--dx", "mx1.example.com").stdout)
    check("nothing for a reader to say but its length (%s)" % j, code == 0 and
          [n["code"] for n in j["notes"]] in ([], ["WIDE"]))


def T_MR_42_all_certificates_in_use_or_none():
    p = show(DATA, "--certificate", path("mx1.pem"))
    check("one of two is refused", path("mx2.pem") in p.stderr and p.stdout == "" and
          "--partial" in p.stderr)
    p = show(OK, "--certificate", path("mx1.pem"), "--partial")
    check("unless it is meant", "warning" in p.stderr and path("mx2.pem") in p.stderr)
    p = show(OK, "--certificate", path("mx1.pem"), "--certificate", path("mx2.pem"))
    check("both are good", "mx1.pem" not in p.stderr and "mx2.pem" not in p.stderr)
    p = show(OK, "--certificate", path("mx1.pem"), conf=False)
    check("without a configuration nobody knows", "is not known" in p.stderr)
    p = show(OK, "--certificate", path("mx1.pem"), domain="other.example")
    check("where none is configured, as given", "not among" not in p.stderr)
    p = show(NOINPUT, "--config", path("none.conf"), conf=False)
    check("a configuration that is named is read", p.stdout == "")


def every_signature_is_recorded(n):
    log = [json.loads(line) for line in
           run(OK, "audit", "tail", "-n", "1000", "--json").stdout.splitlines()]
    mine = [r for r in log if r.get("operation", r.get("op")) == "sign-tls-record"]
    check("%d records of it" % len(mine), len(mine) >= n)


# --- reminders ----------------------------------------------------------------------------

def T_SG_84_who_takes_reports_of_abuse(issue):
    check("without field 200", "abuse@example.com must take mail" in show(OK).stderr)
    issue("--field", "Contact-Abuse=abuse@example.com")
    check("with it", "abuse@" not in show(OK).stderr)


def T_MR_40_both_keys_until_the_old_signet_ends(old, generate, issue):
    new = generate("pok")
    check("the new one beside the old",
          set(values(record(), "pok")) == {old["public_key"], new["public_key"]})
    tls = values(record(), "tls")
    verify(old["public_key"], "mx1.pem", *tls[:2])  # the key that signs the signet
    run(OK, "key", "retire", old["id"])
    issue("--pok", new["id"])
    p = show(OK)
    check("a key that is left out is told of", "--retained" in p.stderr)
    p = show(OK, "--retained")
    today = datetime.datetime.now(datetime.timezone.utc).date()
    days = {(today + datetime.timedelta(days=d)).isoformat() for d in (70, 71, 72)}
    found = set(re.findall(r"removed on (\d{4}-\d\d-\d\d)", p.stderr))
    check("the removal is dated: %s" % found, len(found) == 1 and found <= days)
    text = record("--retained")
    check("both", values(text, "pok") == [new["public_key"], old["public_key"]])
    verify(new["public_key"], "mx1.pem", *values(text, "tls")[:2])
    run(DATA, "publish", "show", "--domain", "foreign.example")


def play():
    os.mkdir(path("run"), 0o755)
    os.mkdir(path("state"), 0o700)
    os.chown(path("state"), 61003, -1)
    for name in ("mx1.pem", "mx2.pem"):
        certificate(name)
    write("keyd.conf", CONF.format(t=path(), certificates=", ".join(
        '"%s"' % path(n) for n in ("mx1.pem", "mx2.pem"))).encode(), 0o644)

    def generate(role, domain=DOMAIN):
        return json.loads(run(OK, "key", "generate", "--role", role, "--domain", domain,
                              "--json").stdout)

    def issue(*args, domain=DOMAIN):
        run(OK, "signet", "issue-org", "--domain", domain, *args)

    with Daemon():
        run(OK, "token", "init", "--credential-file", path("unseal"), "--new")
        keys = {role: generate(role) for role in ("pok", "sok", "enc")}
        generate("pok", "other.example")
        check("that there is no signet yet is told",
              "no organizational signet" in show(OK, conf=False, domain="other.example").stderr)
        issue()
        pok = keys["pok"]["public_key"]
        fields(pok)
        refusals()
        T_MR_103_both_forms_of_each_the_hash_of_the_main_one_first(pok)
        T_MR_42_all_certificates_in_use_or_none()
        T_SG_84_who_takes_reports_of_abuse(issue)
        T_MR_40_both_keys_until_the_old_signet_ends(keys["pok"], generate, issue)
        every_signature_is_recorded(10)


if __name__ == "__main__":
    sys.exit(story.tell("publish-", play))
