"""One exercise for every operation: it does the operation against a real daemon and looks
at what came of it. They run in the order they stand in, as one story.

To add an operation: write a function here and put @exercise("its name in the oneof") above
it. `s` is the Story below: s.admin, s.submission and s.mta are connections, s.check(what,
holds) counts, s.key() is a new idempotency key; leave on `s` what later ones need."""

import os
import struct
import subprocess
import zlib

from .client import Connection, Refused

EXERCISES = []
DOMAIN = b"example.com"


def exercise(operation):
    def register(function):
        EXERCISES.append((operation, function))
        return function
    return register


class Story:
    def __init__(self, pb, directory, bin_directory, vectors, check):
        self.pb, self.dir, self.bin, self.vectors = pb, directory, bin_directory, vectors
        self.check = check
        self.opened = []
        self.admin = self.connect("admin")
        self.submission = self.connect("submission")
        self.mta = self.connect("mta")
        with open(self.path("port"), encoding="ascii") as f:
            port = int(f.read())
        self.tls = Connection.over_tls(pb, "127.0.0.1", port, self.path("mx1.pem"),
                                       self.path("mx1.key"), self.path("ca.pem"), "localhost")
        self.opened.append(self.tls)
        self.tls.greet()

    def path(self, name):
        return os.path.join(self.dir, name)

    def socket(self, name):
        return self.path("run/admin/admin.sock" if name == "admin" else "run/%s.sock" % name)

    def connect(self, name, greet=True):
        c = Connection.unix(self.pb, self.socket(name))
        self.opened.append(c)
        return c.greet() if greet else c

    def close(self):
        for c in self.opened:
            c.close()

    @staticmethod
    def key():
        return os.urandom(16)

    def read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def dime(self, *args):
        subprocess.run([os.path.join(self.bin, "dime"), *args], check=True,
                       capture_output=True, timeout=60)

    def ssr(self, name, previous=None):
        """A new signing request, in binary; its keys stay for the next one."""
        keys, ssr = self.path(name + ".keys"), self.path(name + ".ssr")
        self.dime("keys", "new", "-o", keys)
        more = ["--prev", self.path(previous + ".keys")] if previous else []
        self.dime("ssr", "new", "--keys", keys, *more, "-o", ssr)
        self.dime("signet", "dearmor", ssr, "-o", ssr + ".bin")
        return self.read(name + ".ssr.bin")

    def refused(self, status, what, *args, on=None, **more):
        """Asks and expects that status."""
        try:
            (on or self.admin).ask(*args, **more)
        except Refused as e:
            return self.check("%s: %s" % (what, e), e.status == status)
        return self.check("%s: was done" % what, False)


def png(size):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(
            ">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" +
            chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)) +
            chunk(b"tEXt", b"Comment\0" + b"x" * size) +
            chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b""))


@exercise("hello")
def hello(s):
    for name in ("admin", "submission", "mta"):
        with Connection.unix(s.pb, s.socket(name)).greet() as c:
            s.check("class", c.hello.class_name == name.encode())
            s.check("version", c.hello.version == 1)
            s.check("limits", 4096 <= c.hello.max_frame <= 65536 and c.hello.max_in_flight >= 1)


@exercise("token_init")
def token_init(s):
    s.secret = s.read("credential")
    r = s.admin.ask("token_init", {"slot_kind": s.pb.SLOT_KIND_CREDENTIAL}, obj=s.secret,
                    key=s.key())
    s.check("the first slot", r.slot == 0)
    s.refused(s.pb.STATUS_CONFLICT, "a second store", "token_init",
              {"slot_kind": s.pb.SLOT_KIND_CREDENTIAL}, obj=s.secret, key=s.key())


@exercise("add_unseal_slot")
def add_unseal_slot(s):
    r = s.admin.ask("add_unseal_slot", {"slot_kind": s.pb.SLOT_KIND_PASSPHRASE},
                    obj=b"correct horse battery", key=s.key(), deadline_ms=60000)
    s.check("the second slot", r.slot == 1)


@exercise("seal")
def seal(s):
    s.check("sealed", s.admin.ask("seal").state == s.pb.SERVICE_STATE_SEALED)
    s.refused(s.pb.STATUS_SEALED, "no keys while sealed", "generate_key",
              {"role": s.pb.KEY_ROLE_SOK, "algorithm": s.pb.KEY_ALGORITHM_ED25519,
               "domain": DOMAIN, "permissions": 3}, key=s.key())


@exercise("unseal")
def unseal(s):
    s.refused(s.pb.STATUS_DENIED, "another passphrase", "unseal",
              {"slot_kind": s.pb.SLOT_KIND_PASSPHRASE}, obj=b"incorrect horse",
              deadline_ms=60000)
    r = s.admin.ask("unseal", {"slot_kind": s.pb.SLOT_KIND_CREDENTIAL}, obj=s.secret)
    s.check("open", r.shares_missing == 0 and r.state in (s.pb.SERVICE_STATE_OPERATIONAL,
                                                          s.pb.SERVICE_STATE_DEGRADED))


@exercise("generate_key")
def generate_key(s):
    for role, algorithm, permissions in (("POK", "ED25519", 0), ("SOK", "ED25519", 3),
                                         ("ENC", "SECP256K1", 0)):
        key = s.key()
        fields = {"role": getattr(s.pb, "KEY_ROLE_" + role),
                  "algorithm": getattr(s.pb, "KEY_ALGORITHM_" + algorithm),
                  "domain": DOMAIN, "permissions": permissions}
        k = s.admin.ask("generate_key", fields, key=key).key
        s.check("a key of the domain", k.domain == DOMAIN and len(k.id) == 16)
        s.check("the same key again", s.admin.ask("generate_key", fields, key=key).key.id == k.id)
        fields["permissions"] ^= 1
        s.refused(s.pb.STATUS_INVALID, "another request under that key", "generate_key", fields,
                  key=key)
        setattr(s, role.lower(), k.id)


@exercise("public_keys")
def public_keys(s):
    found, after = [], b""
    while True:
        page = s.mta.ask("public_keys", {"domain": DOMAIN, "after_id": after})
        found += [k.id for k in page.keys]
        after = page.next
        if not after:
            break
    s.check("each key once", sorted(found) == sorted([s.pok, s.sok, s.enc]))


@exercise("issue_org_signet")
def issue_org_signet(s):
    r = s.admin.ask("issue_org_signet", {"domain": DOMAIN, "pok_id": s.pok, "sok_ids": [s.sok],
                                         "encryption_id": s.enc}, key=s.key())
    s.check("a signet of an organization", not r.core_fp and len(r.full_fp) == 64 and r.signet)
    s.org_fp = r.full_fp


@exercise("issue_user_signet")
def issue_user_signet(s):
    s.alice = b"alice@example.com"
    request = {"address": s.alice, "ssr": s.ssr("alice"),
               "account_mode": s.pb.ACCOUNT_MODE_TRUSTFUL}
    first = s.submission.ask("issue_user_signet", request, key=s.key())
    s.check("the root of a chain", first.seq == 1 and not first.replayed)
    again = s.submission.ask("issue_user_signet", request, key=s.key())
    s.check("the same request again", again.replayed and again.signet == first.signet)
    s.first_fp = first.core_fp

    s.picture = png(200000)
    request["ssr"] = s.ssr("alice2", "alice")
    request["image_fd"] = True
    request["profile"] = [s.pb.ProfileField(type=16, value=b"Alice")]
    second = s.submission.ask("issue_user_signet", request, obj=s.picture, key=s.key())
    s.check("with a picture", second.seq == 2 and s.picture in second.signet)
    s.second = second
    request["ssr"] = s.ssr("stray")
    s.refused(s.pb.STATUS_INVALID, "without custody", "issue_user_signet", request,
              obj=s.picture, key=s.key(), on=s.submission)
    request["ssr"] = s.ssr("late", "alice")
    s.refused(s.pb.STATUS_INVALID, "the chain went on", "issue_user_signet", request,
              obj=s.picture, key=s.key(), on=s.submission)

    # Two at once for one place: one has it.
    race = [s.submission.request("issue_user_signet",
                                 {"address": b"bob@example.com", "ssr": s.ssr("bob%d" % i),
                                  "account_mode": s.pb.ACCOUNT_MODE_TRUSTFUL}, key=s.key())
            for i in range(2)]
    sent = [s.submission.send(r) for r in race]
    statuses = [s.submission.wait(i)[0].status for i in sent]
    s.check("one of two: %r" % statuses, statuses.count(s.pb.STATUS_OK) == 1 and
            set(statuses) <= {s.pb.STATUS_OK, s.pb.STATUS_CONFLICT, s.pb.STATUS_INVALID})


@exercise("lookup_signet")
def lookup_signet(s):
    r = s.mta.ask("lookup_signet", {"name": s.alice})
    s.check("current, by descriptor", r.current and r.signet == s.second.signet and
            r.signet_fd_size > 200000)
    r = s.mta.ask("lookup_signet", {"name": s.alice, "fingerprint": s.first_fp})
    s.check("an older one", not r.current and r.core_fp == s.first_fp and not r.signet_fd_size)
    r = s.mta.ask("lookup_signet", {"name": DOMAIN})
    s.check("of the domain", r.full_fp == s.org_fp and not r.core_fp)
    s.refused(s.pb.STATUS_NOT_FOUND, "nobody", "lookup_signet",
              {"name": b"nobody@example.com"}, on=s.mta)


@exercise("freeze_address")
def freeze_address(s):
    def act(action, **more):
        return s.admin.ask("freeze_address", {"address": s.alice, "action": getattr(
            s.pb, "ACCOUNT_ACTION_" + action), **more}, key=s.key())
    s.check("nothing yet", act("SHOW").state == s.pb.ACCOUNT_STATE_OPEN)
    r = act("FREEZE", reason=s.pb.FREEZE_REASON_ABUSE)
    s.check("frozen", r.changed and r.state == s.pb.ACCOUNT_STATE_FROZEN)
    s.refused(s.pb.STATUS_DENIED, "frozen: no signet", "issue_user_signet",
              {"address": s.alice, "ssr": s.ssr("frozen", "alice2"),
               "account_mode": s.pb.ACCOUNT_MODE_TRUSTFUL}, key=s.key(), on=s.submission)
    s.check("look-ups go on", s.mta.ask("lookup_signet", {"name": s.alice}).current)
    s.check("thawed", act("THAW").state == s.pb.ACCOUNT_STATE_OPEN)


@exercise("reset_address")
def reset_address(s):
    def act(action):
        return s.admin.ask("reset_address", {"address": b"bob@example.com", "action": getattr(
            s.pb, "RESET_ACTION_" + action)}, key=s.key())
    r = act("REQUEST")
    s.check("pending", r.changed and [x.address for x in r.resets] == [b"bob@example.com"])
    s.check("not at once", r.resets[0].generation == 2 and r.resets[0].remaining_ms > 0)
    s.refused(s.pb.STATUS_DENIED, "not yet", "issue_user_signet",
              {"address": b"bob@example.com", "ssr": s.ssr("bobnew"),
               "account_mode": s.pb.ACCOUNT_MODE_TRUSTFUL}, key=s.key(), on=s.submission)
    s.check("given up", act("CANCEL").changed)
    s.refused(s.pb.STATUS_NOT_FOUND, "there is none", "reset_address",
              {"address": b"bob@example.com", "action": s.pb.RESET_ACTION_CANCEL}, key=s.key())


@exercise("stop_principal")
def stop_principal(s):
    def act(action, name=b""):
        r = s.admin.ask("stop_principal", {"action": getattr(s.pb, "STOP_ACTION_" + action),
                                           "name": name}, key=s.key())
        return [x.name for x in r.stopped]
    s.check("nobody", act("LIST") == [])
    s.check("stopped", act("STOP", b"dmtpd") == [b"dmtpd"])
    s.check("allowed again", act("ALLOW", b"dmtpd") == [])


@exercise("lookup_history")
def lookup_history(s):
    cores, page = [], b""
    while True:
        r = s.mta.ask("lookup_history", {"address": s.alice, "limit": 1, "page": page})
        cores += r.cores
        page = r.next
        if not page:
            break
    s.check("both links, oldest first", len(cores) == 2 and cores[0] != cores[1])


@exercise("verify_current")
def verify_current(s):
    for fp, verdict in ((s.second.core_fp, s.pb.VERDICT_CURRENT),
                        (s.first_fp, s.pb.VERDICT_UPDATE),
                        (b"\0" * 64, s.pb.VERDICT_UNKNOWN)):
        r = s.mta.ask("verify_current", {"name": s.alice, "fingerprint": fp})
        s.check("verdict", r.verdict == verdict and r.current_fp == s.second.core_fp)


@exercise("import_key")
def import_key(s):
    with open(os.path.join(s.vectors, "libdime/signets/orga.key"), "rb") as f:
        key_file = f.read()
    r = s.admin.ask("import_key", {"signing_role": s.pb.KEY_ROLE_SOK, "domain": DOMAIN,
                                   "permissions": 2}, obj=key_file, key=s.key())
    s.check("one key", len(r.keys) == 1 and r.keys[0].role == s.pb.KEY_ROLE_SOK)
    s.imported = r.keys[0].id
    s.refused(s.pb.STATUS_INVALID, "no key file", "import_key",
              {"signing_role": s.pb.KEY_ROLE_SOK, "domain": DOMAIN}, obj=b"nonsense",
              key=s.key())


@exercise("retire_key")
def retire_key(s):
    r = s.admin.ask("retire_key", {"id": s.imported}, key=s.key())
    s.check("retained", r.key.id == s.imported and r.key.state == s.pb.KEY_STATE_RETAINED)
    s.refused(s.pb.STATUS_NOT_FOUND, "no such key", "retire_key", {"id": b"\0" * 16}, key=s.key())


@exercise("audit_head")
def audit_head(s):
    s.head = s.admin.ask("audit_head")
    s.check("a head", s.head.seq > 0 and len(s.head.record_hash) == 32)


@exercise("audit_read")
def audit_read(s):
    seqs, at = [], 1
    while at and at <= s.head.seq:
        page = s.admin.ask("audit_read", {"from_seq": at, "limit": 5})
        seqs += [r.seq for r in page.records]
        at = page.next_seq
    s.check("every record once", seqs[:s.head.seq] == list(range(1, s.head.seq + 1)))


@exercise("service_status")
def service_status(s):
    r = s.mta.ask("service_status")
    s.check("at work", r.probe_ok and r.state in (s.pb.SERVICE_STATE_OPERATIONAL,
                                                  s.pb.SERVICE_STATE_DEGRADED))
    s.check("who holds keys",
            {p.role for p in r.processes if p.holds_keys} == {s.pb.PROCESS_ROLE_VAULT})


@exercise("reload")
def reload(s):
    first, second = s.admin.ask("reload"), s.admin.ask("reload")
    s.check("the same file again", len(first.digest) == 32 and first.digest == second.digest and
            second.serial == first.serial + 1)


@exercise("drain")
def drain(s):
    r = s.admin.ask("drain", {"action": s.pb.DRAIN_ACTION_BEGIN, "wait": True})
    s.check("draining", r.state == s.pb.SERVICE_STATE_DRAINING)
    s.refused(s.pb.STATUS_UNAVAILABLE, "nothing new", "lookup_signet", {"name": DOMAIN}, on=s.mta)
    r = s.admin.ask("drain", {"action": s.pb.DRAIN_ACTION_CANCEL})
    s.check("not any more", r.state != s.pb.SERVICE_STATE_DRAINING)
    s.check("served again", s.connect("mta").ask("lookup_signet", {"name": DOMAIN}).current)


@exercise("upload_part")
def upload_part(s):
    s.refused(s.pb.STATUS_UNSUPPORTED, "no parts on unix sockets", "upload_part",
              {"upload_id": b"u" * 16, "total": 1, "data": b"x"}, on=s.submission)
    request = {"address": b"carol@example.com", "ssr": s.ssr("carol"), "image_fd": True,
               "account_mode": s.pb.ACCOUNT_MODE_TRUSTFUL}
    for c in (s.submission, s.tls):
        r = c.request("issue_user_signet", request, key=s.key())
        r.upload_id = b"u" * 16
        response, _ = c.wait(c.send(r))
        s.check("no such upload", response.status == s.pb.STATUS_INVALID)

    # Out of order, beyond the end, and begun twice: each ends that upload.
    def part(upload_id, offset, data, total=100):
        return "upload_part", {"upload_id": upload_id, "offset": offset, "total": total,
                               "data": data}
    s.refused(s.pb.STATUS_INVALID, "a beginning in the middle", *part(b"1" * 16, 10, b"x"),
              on=s.tls)
    s.check("a part", s.tls.ask(*part(b"2" * 16, 0, b"x" * 60)).received == 60)
    s.refused(s.pb.STATUS_INVALID, "a gap", *part(b"2" * 16, 61, b"x"), on=s.tls)
    s.check("another part", s.tls.ask(*part(b"3" * 16, 0, b"x" * 60)).received == 60)
    s.refused(s.pb.STATUS_INVALID, "another total", *part(b"3" * 16, 60, b"x", 101), on=s.tls)
    s.refused(s.pb.STATUS_INVALID, "beyond the end", *part(b"4" * 16, 0, b"x" * 101), on=s.tls)

    r = s.tls.ask("issue_user_signet", request, obj=s.picture, key=s.key())
    s.check("with a picture that came in parts", s.picture in r.signet)
    s.remote = r


@exercise("fetch_part")
def fetch_part(s):
    s.refused(s.pb.STATUS_UNSUPPORTED, "nothing to fetch on unix sockets", "fetch_part",
              {"object_id": b"o" * 16, "limit": 1}, on=s.mta)
    s.refused(s.pb.STATUS_NOT_FOUND, "no such object", "fetch_part",
              {"object_id": b"o" * 16, "limit": 1}, on=s.tls)
    r = s.tls.ask("lookup_signet", {"name": b"carol@example.com"})
    s.check("in parts", r.signet == s.remote.signet and r.signet_fd_size > 200000)
    s.check("the same by descriptor",
            s.mta.ask("lookup_signet", {"name": b"carol@example.com"}).signet == r.signet)
