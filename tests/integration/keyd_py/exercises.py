"""One exercise for every operation: it does the operation against a real daemon and looks
at what came of it. They run in the order they stand in, as one story.

To add an operation: write a function here and put @exercise("its name in the oneof") above
it. `s` is the Story below: s.admin, s.submission and s.mta are connections, s.check(what,
holds) counts, s.key() is a new idempotency key; leave on `s` what later ones need."""

import hashlib
import os
import ssl
import struct
import subprocess
import time
import zlib

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from dmime_py import keys, making, naked

from .client import Connection, Ended, Refused

EXERCISES = []
DOMAIN = b"example.com"


def exercise(operation):
    def register(function):
        EXERCISES.append((operation, function))
        return function
    return register


class Story:
    def __init__(self, pb, daemon, bin_directory, vectors, check):
        self.pb, self.daemon, self.dir = pb, daemon, daemon.dir
        self.bin, self.vectors, self.check = bin_directory, vectors, check
        self.opened = []
        self.connect_all()

    def connect_all(self):
        self.admin = self.connect("admin")
        self.submission = self.connect("submission")
        self.mta = self.connect("mta")
        with open(self.path("port"), encoding="ascii") as f:
            port = int(f.read())
        self.tls = Connection.over_tls(self.pb, "127.0.0.1", port, self.path("mx1.pem"),
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
        self.opened = []

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

    def refused(self, status, what, *args, on=None, word=None, **more):
        """Asks and expects that status, and that word where one is promised."""
        try:
            (on or self.admin).ask(*args, **more)
        except Refused as e:
            self.check("%s: %s" % (what, e),
                       e.status == status and word in (None, e.detail))
            return e.response
        return self.check("%s: was done" % what, False)

    def for_operators_only(self, *args, key=None):
        """Neither mail transfer agents nor anybody over TLS is served that."""
        for c in (self.mta, self.submission, self.tls):
            self.refused(self.pb.STATUS_UNSUPPORTED, "not on %s" % c.hello.class_name.decode(),
                         *args, key=key, on=c, word="operation-not-served")

    def restart(self, meanwhile=lambda: None):
        """Another run of the daemon, until it says where it stands."""
        self.close()
        self.daemon.tell(b"stop")
        meanwhile()
        self.daemon.tell(b"start")
        until = time.monotonic() + 60
        state = self.pb.SERVICE_STATE_STARTING
        while state in (self.pb.SERVICE_STATE_STARTING, self.pb.SERVICE_STATE_SEALED):
            if time.monotonic() > until:
                raise TimeoutError("it does not start")
            time.sleep(0.05)
            try:
                with Connection.unix(self.pb, self.socket("admin")).greet() as c:
                    state = c.ask("service_status").state
            except (OSError, Ended, Refused):
                pass
        self.connect_all()
        return state


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
                  key=key, word="idempotency-key-used")
        setattr(s, role.lower(), k.id)
        fields["permissions"] ^= 1
        s.first_done = ("generate_key", fields), key


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


@exercise("sign_tls_record")
def sign_tls_record(s):
    x509 = ssl.PEM_cert_to_DER_cert(s.read("mx1.pem").decode())
    request = {"domain": DOMAIN, "pok_id": s.pok, "certificate": x509}
    r = s.admin.ask("sign_tls_record", request, key=s.key())
    keys_of = {k.id: k.public_key for k in s.admin.ask("public_keys", {"domain": DOMAIN}).keys}
    pok = Ed25519PublicKey.from_public_bytes(keys_of[s.pok])
    pok.verify(r.of_hash, hashlib.sha512(x509).digest())
    pok.verify(r.of_der, x509)
    s.check("both forms", r.of_hash != r.of_der)
    s.refused(s.pb.STATUS_INVALID, "a certificate and more", "sign_tls_record",
              {**request, "certificate": x509 + b"\0"}, key=s.key(), word="bad-certificate")
    s.refused(s.pb.STATUS_INVALID, "a secondary key", "sign_tls_record",
              {**request, "pok_id": s.sok}, key=s.key(), word="key-spec")
    s.for_operators_only("sign_tls_record", request, key=s.key())


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


class Letter:
    """A message from alice to clara, made by another implementation (dmime_py), and what a
    server knows about it beside."""

    def __init__(self, s, size=100):
        people = {"author": (s.second.signet, "alice2.keys"), "origin": (s.org_signet, None),
                  "destination": (s.org_signet, None), "recipient": (s.clara_signet, None)}
        spec = {"with": {kind: {"signature": "placeholder"} for kind in ("248", "249", "255")},
                "parts": [{"type": 67, "fill": {"size": size, "octet": 65}}]}
        for role, (signet, keys) in people.items():
            with open(s.path(role + ".signet.bin"), "wb") as f:
                f.write(signet)
            spec[role] = {"signet": role + ".signet.bin"}
            if keys is not None:
                spec[role]["key"] = keys
        spec["origin"]["key"] = {"seed": "11" * 32, "scalar": "22" * 32}  # signs nothing
        self.octets = making.make(spec, s.dir)
        self.inbound = {"origin": DOMAIN, "origin_fp": s.org_fp, "domain": DOMAIN,
                        "domain_fp": s.org_fp}
        self.signet = s.org_signet

    def with_signatures(self, result):
        """The finished payloads in their places, which are those of the last chunks."""
        octets, end = bytearray(self.octets), len(self.octets)
        for payload in (result.organization, result.display_bounce, result.metadata_bounce):
            at = end - 64 - 4 * 64
            octets[at:at + 64] = payload
            end = at - 4
        self.octets = bytes(octets)
        return self

    def small(self):
        return {**self.inbound, "origin_signet": self.signet, "message": self.octets}

    def large(self):
        return {**self.inbound, "message_object_size": len(self.octets)}


@exercise("sign_outbound")
def sign_outbound(s):
    s.clara = b"clara@example.com"
    s.clara_signet = s.submission.ask(
        "issue_user_signet", {"address": s.clara, "ssr": s.ssr("clara"),
                              "account_mode": s.pb.ACCOUNT_MODE_TRUSTFUL}, key=s.key()).signet
    s.org_signet = s.mta.ask("lookup_signet", {"name": DOMAIN}).signet
    letter = Letter(s)
    request = {"account": s.alice, "destination": DOMAIN, "message": letter.octets}
    r = s.submission.ask("sign_outbound", request)
    s.check("three signatures", {len(x) for x in (r.metadata_bounce, r.display_bounce,
                                                  r.organization)} == {64})
    s.check("for whom the author meant it", r.destination_fp == s.org_fp)
    s.letter = letter.with_signatures(r)
    long = Letter(s, 200000)
    r = s.submission.ask("sign_outbound", {"account": s.alice, "destination": DOMAIN,
                                           "message_object_size": len(long.octets)},
                         obj=long.octets)
    s.long_letter = long.with_signatures(r)
    s.refused(s.pb.STATUS_INVALID, "of somebody else", "sign_outbound",
              {**request, "account": s.clara}, on=s.submission, word="message-refused")
    s.refused(s.pb.STATUS_INVALID, "for another domain", "sign_outbound",
              {**request, "destination": b"example.org"}, on=s.submission,
              word="message-refused")
    s.refused(s.pb.STATUS_INVALID, "signed already", "sign_outbound",
              {**request, "message": s.letter.octets}, on=s.submission, word="message-refused")
    s.refused(s.pb.STATUS_INVALID, "no message", "sign_outbound",
              {**request, "message": letter.octets[:-1]}, on=s.submission,
              word="message-corrupt")


@exercise("open_envelope")
def open_envelope(s):
    r = s.mta.ask("open_envelope", {"inbound": s.letter.small()})
    s.check("for clara", r.verdict == s.pb.ENVELOPE_CURRENT and r.recipient == s.clara)
    s.check("bounces can be made", (r.metadata_bounce, r.display_bounce) ==
            (s.pb.BOUNCE_SIGNATURE_GOOD,) * 2)
    for on in (s.mta, s.tls):
        r = on.ask("open_envelope", {"inbound": s.long_letter.large()},
                   obj=s.long_letter.octets + s.long_letter.signet)
        s.check("a large one", r.recipient == s.clara)
    broken = bytearray(s.letter.octets)
    broken[500] ^= 1
    s.refused(s.pb.STATUS_INVALID, "changed on the way", "open_envelope",
              {"inbound": {**s.letter.small(), "message": bytes(broken)}}, on=s.mta,
              word="message-refused")
    s.refused(s.pb.STATUS_NOT_FOUND, "to a signet we never had", "open_envelope",
              {"inbound": {**s.letter.small(), "domain_fp": bytes(64)}}, on=s.mta,
              word="no-such-recipient-key")
    s.refused(s.pb.STATUS_INVALID, "another signet than the one named", "open_envelope",
              {"inbound": {**s.letter.small(), "origin_fp": bytes(64)}}, on=s.mta,
              word="bad-origin-signet")


@exercise("make_bounce")
def make_bounce(s):
    code = {"klass": 5, "subject": 2, "detail": 2}
    r = s.mta.ask("make_bounce", {"inbound": s.letter.small(), **code,
                                  "part": s.pb.RETURNED_METADATA})
    s.check("object 1931", r.bounce[:2] == (1931).to_bytes(2, "big"))
    s.bounce = r.bounce
    for on in (s.tls, s.mta):
        r = on.ask("make_bounce", {"inbound": s.long_letter.large(), **code,
                                   "part": s.pb.RETURNED_MESSAGE},
                   obj=s.long_letter.octets + s.long_letter.signet)
        s.check("with all of a large one", len(r.bounce) == r.bounce_fd_size > 200000)
    s.long_bounce = r.bounce


@exercise("open_bounce")
def open_bounce(s):
    r = s.mta.ask("open_bounce", {"inbound": {**s.letter.small(), "message": s.bounce}})
    s.check("to alice", r.author == s.alice and r.part == s.pb.RETURNED_METADATA)
    s.check("why", (r.klass, r.subject, r.detail) == (5, 2, 2) and r.time_s > 0)
    s.check("of that message", r.message_id == hashlib.sha512(s.letter.octets).digest())
    for on in (s.mta, s.tls):
        r = on.ask("open_bounce", {"inbound": {
            **s.letter.inbound, "message_object_size": len(s.long_bounce)}},
            obj=s.long_bounce + s.letter.signet)
        s.check("the large one", r.author == s.alice and r.part == s.pb.RETURNED_MESSAGE)
    s.refused(s.pb.STATUS_INVALID, "a message is no bounce", "open_bounce",
              {"inbound": s.letter.small()}, on=s.mta, word="message-corrupt")


class NakedMail:
    """Mail to alice, encrypted to her current signet as a gateway does it (dmime_py); read with
    her key and the domain's once it is sealed."""

    def __init__(self, s, size):
        self.parts = [(67, b"Content-Type: text/plain\r\n\r\n" + b"n" * size), (131, b"attached")]
        to = keys.signet_read(s.mta.ask("lookup_signet", {"name": s.alice}).signet)
        self.octets = naked.make(to.encryption, self.parts, {"Subject": "from elsewhere"})
        self.domain = keys.signet_read(s.org_signet).message_keys()
        self.alice = keys.key_read(s.read("alice2.keys"))

    def opened(self, signature):
        return naked.open_naked(naked.with_signature(self.octets, signature), self.alice,
                                self.domain)


@exercise("seal_naked")
def seal_naked(s):
    milter = s.connect("milter")
    for on, size in ((milter, 100), (s.tls, 100), (milter, 300000), (s.tls, 300000)):
        mail = NakedMail(s, size)
        where = "%s, %d octets" % (on.hello.class_name.decode(), size)
        if size > 40960:
            fields, more = {"message_object_size": len(mail.octets)}, {"obj": mail.octets}
        else:
            fields, more = {"message": mail.octets}, {}
        request = {"recipient": s.alice, **fields}
        r = on.ask("seal_naked", request, **more)
        o = mail.opened(r.signature)
        s.check("sealed, and good for alice: " + where, o.accepted)
        s.check("all of it: " + where, o.parts[2:] == mail.parts and
                o.common["Subject"] == "from elsewhere")
        s.check("not before: " + where, not mail.opened(bytes(64)).accepted)
        s.check("nor by another octet: " + where, not mail.opened(
            r.signature[:40] + bytes([r.signature[40] ^ 1]) + r.signature[41:]).accepted)
        s.check("the same again: " + where,
                on.ask("seal_naked", request, **more).signature == r.signature)
    mail = NakedMail(s, 10)
    request = {"recipient": s.alice, "message": mail.octets}
    sealed = naked.with_signature(mail.octets, milter.ask("seal_naked", request).signature)
    s.refused(s.pb.STATUS_INVALID, "sealed already", "seal_naked",
              {**request, "message": sealed}, on=milter, word="message-refused")
    s.refused(s.pb.STATUS_NOT_FOUND, "for nobody", "seal_naked",
              {**request, "recipient": b"nobody@example.com"}, on=milter, word="no-signet")
    s.refused(s.pb.STATUS_INVALID, "a one-time key that is alice's", "seal_naked",
              {**request, "message": mail.octets[:43] + mail.alice.signing_public +
               mail.octets[75:]}, on=milter, word="one-time-key-known")
    request = {"recipient": s.alice, "message": s.letter.octets}
    s.refused(s.pb.STATUS_INVALID, "a message is no naked mail", "seal_naked", request,
              on=s.tls, word="message-corrupt")
    s.refused(s.pb.STATUS_UNSUPPORTED, "not of mail transfer agents", "seal_naked", request,
              on=s.mta, word="operation-not-served")


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


@exercise("token_list")
def token_list(s):
    s.check("none are configured", not s.admin.ask("token_list").tokens)
    s.for_operators_only("token_list")
    mine = [k for k in s.admin.ask("public_keys").keys]
    s.check("where keys are", all(k.holding == s.pb.KEY_HOLDING_STORE and not k.tokens and
                                  not k.attested and not k.away for k in mine))
    s.check("for operators only", all(k.holding == s.pb.KEY_HOLDING_NONE
                                      for k in s.mta.ask("public_keys").keys))


@exercise("token_doctor")
def token_doctor(s):
    s.check("nothing to find", not s.admin.ask("token_doctor").findings)
    s.refused(s.pb.STATUS_NOT_FOUND, "no such token", "token_doctor", {"name": b"alpha"},
              word="no-such-token")
    s.for_operators_only("token_doctor")


@exercise("token_adopt")
def token_adopt(s):
    s.refused(s.pb.STATUS_NOT_FOUND, "no such token", "token_adopt",
              {"name": b"alpha", "serial": b"1"}, key=s.key(), word="no-such-token")
    s.for_operators_only("token_adopt", {"name": b"alpha"}, key=s.key())
    s.refused(s.pb.STATUS_NOT_FOUND, "no key in it", "generate_key",
              {"role": s.pb.KEY_ROLE_SOK, "algorithm": s.pb.KEY_ALGORITHM_ED25519,
               "domain": DOMAIN, "permissions": 2, "tokens": [b"alpha"]}, key=s.key(),
              word="no-such-token")


@exercise("attach_key")
def attach_key(s):
    s.refused(s.pb.STATUS_NOT_FOUND, "no such key", "attach_key",
              {"id": bytes(16), "token": b"alpha"}, key=s.key(), word="no-such-key")
    s.for_operators_only("attach_key", {"id": bytes(16), "token": b"alpha"}, key=s.key())


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


# --- the quorum. The operators are principals of the daemon's configuration; the one who asks
# here is caller-admin, and the signatures of the others are brought by the same connection.

ME, OTHERS = b"caller-admin", (b"auditor", b"dmtpd", b"submitd")

# What SetQuorum may mark, by PROTOCOL.md.
MARKS = sum(1 << n for n in (18, 33, 36, 37, 38, 39, 42, 51, 52, 55, 56, 57))
SET_QUORUM = 1 << 42


def operators(s):
    return [s.pb.Operator(name=name, public_key=s.operator_keys[name].public_key().public_bytes(
        serialization.Encoding.Raw, serialization.PublicFormat.Raw))
        for name in sorted(s.operator_keys)]


def sign(s, name, text, approval_id):
    """What an operator's program does: look whether it is such a text and the request that
    was meant, then sign these very octets."""
    lines = text.decode("ascii").splitlines()
    if lines[0] != "keyd approval 1" or "id " + approval_id.hex() not in lines:
        raise ValueError("not the text of that request")
    return {"id": approval_id, "operator_name": name,
            "signature": s.operator_keys[name].sign(text)}


def generate_sok(s):
    return "generate_key", {"role": s.pb.KEY_ROLE_SOK, "algorithm": s.pb.KEY_ALGORITHM_ED25519,
                            "domain": DOMAIN, "permissions": 2}


def needed(s, what, missing, *args, key):
    """It waits; under which id."""
    r = s.refused(s.pb.STATUS_APPROVAL_NEEDED, what, *args, key=key, word="approvals-needed")
    s.check("%s: how many" % what, r.approvals_missing == missing and len(r.approval_id) == 16)
    return r.approval_id


@exercise("set_quorum")
def set_quorum(s):
    s.operator_keys = {name: Ed25519PrivateKey.generate() for name in (ME,) + OTHERS}
    all_four = operators(s)

    def ask(k, marks, who):
        return "set_quorum", {"k": k, "marks": marks, "operators": who}

    def wrong(what, *args):
        s.refused(s.pb.STATUS_INVALID, what, *ask(*args), key=s.key(), word="quorum-spec")

    wrong("as many approvals as operators", 4, SET_QUORUM, all_four)
    wrong("one approval", 1, SET_QUORUM, all_four)
    wrong("two operators", 2, SET_QUORUM, all_four[:2])
    wrong("not by name", 2, SET_QUORUM, all_four[::-1])
    wrong("the same key twice", 2, SET_QUORUM, all_four[:2] + [
        s.pb.Operator(name=b"zoe", public_key=all_four[0].public_key)])
    wrong("a key of small order", 2, SET_QUORUM, all_four[:2] + [
        s.pb.Operator(name=b"zoe", public_key=b"\1" + bytes(31))])
    wrong("SetQuorum itself not marked", 2, 1 << 36, all_four)
    for n in range(1, 63):
        if not MARKS >> n & 1:
            wrong("mark %d" % n, 2, SET_QUORUM | 1 << n, all_four)
    s.refused(s.pb.STATUS_INVALID, "marks for nobody", *ask(0, SET_QUORUM, []), key=s.key())
    s.for_operators_only(*ask(2, MARKS, all_four), key=s.key())

    s.check("a site of one operator", s.admin.ask("service_status").single_operator)
    key = s.key()
    r = s.admin.ask(*ask(2, MARKS, all_four), key=key)
    s.check("recorded", r.generation > 0)
    s.check("not any more", not s.admin.ask("service_status").single_operator)
    s.check("the same again", s.admin.ask(*ask(2, MARKS, all_four), key=key).generation ==
            r.generation)
    needed(s, "others only with approvals", 2, *ask(2, MARKS, all_four[:3]), key=s.key())


@exercise("approval_list")
def approval_list(s):
    s.waiting_key = s.key()
    s.waiting = needed(s, "a key", 2, *generate_sok(s), key=s.waiting_key)
    s.check("the same again waits under the same id", s.waiting == needed(
        s, "again", 2, *generate_sok(s), key=s.waiting_key))
    other = generate_sok(s)
    other[1]["permissions"] = 4
    s.refused(s.pb.STATUS_INVALID, "another request under that key", *other, key=s.waiting_key,
              word="idempotency-key-used")
    r = s.admin.ask("approval_list")
    s.check("who and what", r.k == 2 and r.marks == MARKS and list(r.operators) == operators(s))
    mine = [a for a in r.approvals if a.id == s.waiting]
    s.check("it is listed", len(mine) == 1 and mine[0].operation == 36 and
            mine[0].requester == ME and mine[0].needed == 2 and not mine[0].approved_by and
            mine[0].made_ms < mine[0].not_after_ms)
    s.for_operators_only("approval_list")


@exercise("approval_show")
def approval_show(s):
    r = s.admin.ask("approval_show", {"id": s.waiting})
    lines = r.text.decode("ascii").split("\n")
    s.check("whole lines", lines.pop() == "" and lines[0] == "keyd approval 1" and
            all(line.isprintable() and " " in line for line in lines))
    said = dict(line.split(" ", 1) for line in lines)
    s.check("which", said["id"] == s.waiting.hex() and
            said["idempotency-key"] == s.waiting_key.hex())
    s.check("what", said["operation"] == "GenerateKey" and said["requester"] == ME.decode() and
            said["approvals"] == "2 of 4" and said["domain"] == '"example.com"')
    s.check("the head comes first", [line.split(" ")[0] for line in lines[1:11]] == [
        "instance", "epoch", "id", "operation", "requester", "idempotency-key", "made-at",
        "not-after", "approvals", "quorum"])
    s.check("as listed", r.approval.id == s.waiting and
            r.approval.digest == hashlib.sha256(r.text).digest())
    s.refused(s.pb.STATUS_NOT_FOUND, "no such request", "approval_show", {"id": b"\0" * 16},
              word="no-such-approval")
    s.for_operators_only("approval_show", {"id": s.waiting})
    s.text = r.text


@exercise("approval_sign")
def approval_sign(s):
    def refuse(status, what, fields, word, **more):
        s.refused(status, what, "approval_sign", {**fields, **more}, word=word)

    one, two, three = (sign(s, name, s.text, s.waiting) for name in OTHERS)
    refuse(s.pb.STATUS_INVALID, "by another", one, "bad-signature", operator_name=OTHERS[1])
    refuse(s.pb.STATUS_INVALID, "over another text", one, "bad-signature",
           signature=s.operator_keys[OTHERS[0]].sign(s.text + b"\n"))
    refuse(s.pb.STATUS_NOT_FOUND, "by nobody", one, "no-such-operator", operator_name=b"zoe")
    refuse(s.pb.STATUS_DENIED, "one's own", sign(s, ME, s.text, s.waiting), "own-request")
    s.for_operators_only("approval_sign", one)
    r = s.admin.ask("approval_sign", one)
    s.check("one of two", (r.given, r.needed) == (1, 2))
    refuse(s.pb.STATUS_CONFLICT, "the same signature again", one, "approved-before")
    s.check("not yet", needed(s, "one is missing", 1, *generate_sok(s), key=s.waiting_key) ==
            s.waiting)
    r = s.admin.ask("approval_sign", two)
    s.check("two of two", (r.given, r.needed) == (2, 2))
    s.check("by whom", list(s.admin.ask("approval_show", {"id": s.waiting}).approval.approved_by)
            == sorted(OTHERS[:2]))
    done = s.admin.ask(*generate_sok(s), key=s.waiting_key).key
    s.check("done", done.domain == DOMAIN and done.role == s.pb.KEY_ROLE_SOK)
    s.check("once: after that from what is stored",
            s.admin.ask(*generate_sok(s), key=s.waiting_key).key.id == done.id)
    refuse(s.pb.STATUS_NOT_FOUND, "a signature more", three, "no-such-approval")

    # What approved one request approves no other, though it asks for the same.
    other = needed(s, "the next key", 2, *generate_sok(s), key=s.key())
    refuse(s.pb.STATUS_INVALID, "a signature of before", one, "bad-signature", id=other)

    # Nobody is an operator any more, which makes void what waited.
    key, none = s.key(), ("set_quorum", {})
    last = needed(s, "no operators", 2, *none, key=key)
    text = s.admin.ask("approval_show", {"id": last}).text
    for name in OTHERS[1:]:
        s.admin.ask("approval_sign", sign(s, name, text, last))
    s.admin.ask(*none, key=key)
    r = s.admin.ask("approval_list")
    s.check("none", r.k == 0 and r.marks == 0 and not r.operators and not r.approvals)
    s.check("one does without", s.admin.ask(*generate_sok(s), key=s.key()).key.domain == DOMAIN)


@exercise("policy_explain")
def policy_explain(s):
    def explain(**fields):
        r = s.admin.ask("policy_explain", fields)
        return r, {d.operation: s.pb.PolicyVerdict.Name(d.verdict)[len("POLICY_VERDICT_"):]
                   for d in r.decisions}
    r, verdicts = explain(principal=b"dmtpd", domain=DOMAIN)
    s.check("who", r.principal == b"dmtpd" and r.class_name == b"mta" and not r.stopped)
    s.check("where it stands", 0 < r.section_line < r.operations_line and
            r.section_line < r.domains_line and r.domain_line > 0 and r.keys_line == 0)
    s.check("every operation of the class, in order",
            list(verdicts) == sorted(verdicts) == [1, 2, 3, 8, 9, 10, 20, 21, 22])
    s.check("all allowed", set(verdicts.values()) == {"ALLOWED"})
    r2, _ = explain(class_name=b"mta", uid=r.uid, domain=DOMAIN)
    s.check("the same by class and uid", r2.principal == b"dmtpd")
    for verdict, fields in (
            ("NO_DOMAIN", {"principal": b"dmtpd", "operation": 8}),
            ("OTHER_DOMAIN", {"principal": b"submitd", "operation": 16,
                              "domain": b"example.net"}),
            ("NOT_SERVED", {"principal": b"dmtpd", "operation": 36, "domain": DOMAIN}),
            ("NOT_PERMITTED", {"principal": b"auditor", "operation": 36, "domain": DOMAIN}),
            ("NO_PRINCIPAL", {"principal": b"nobody", "operation": 8, "domain": DOMAIN}),
            ("NO_PRINCIPAL", {"class_name": b"mta", "uid": 4294967294, "operation": 8})):
        s.check("%s: %r" % (verdict, fields), list(explain(**fields)[1].values()) == [verdict])
    for what, fields in (("name and class", {"principal": b"dmtpd", "class_name": b"mta"}),
                         ("neither", {}), ("no such class", {"class_name": b"smtp"}),
                         ("no such operation", {"principal": b"dmtpd", "operation": 63})):
        s.refused(s.pb.STATUS_INVALID, what, "policy_explain", fields)
    s.refused(s.pb.STATUS_INVALID, "out of range", "policy_explain",
              {"principal": b"dmtpd", "operation": 64}, word="field-range")
    s.for_operators_only("policy_explain", {"principal": b"dmtpd"})


@exercise("registry_backup")
def registry_backup(s):
    def ask(name, poll=False):
        return "registry_backup", {"name": name, "poll": poll}
    running = (s.pb.BACKUP_STATE_COPYING, s.pb.BACKUP_STATE_VERIFYING)
    s.refused(s.pb.STATUS_NOT_FOUND, "not begun", *ask(b"first", True), word="no-such-backup")
    for name in (b"../x", b".x", b"X"):
        s.refused(s.pb.STATUS_INVALID, "a bad name", *ask(name), word="bad-name")
    s.refused(s.pb.STATUS_INVALID, "it changes nothing: no key", *ask(b"first"), key=s.key(),
              word="idempotency-key-unwanted")
    s.for_operators_only(*ask(b"first"))
    before = s.admin.ask("audit_head")
    r = s.admin.ask(*ask(b"first"))
    until = time.monotonic() + 30
    while r.state in running and time.monotonic() < until:
        time.sleep(0.01)
        r = s.admin.ask(*ask(b"first", True))
    s.check("whole: %r" % r, r.state == s.pb.BACKUP_STATE_DONE and r.size > 0 and
            not r.reason)
    s.check("all that was there", r.seq >= before.seq and len(r.record_hash) == 32)
    s.refused(s.pb.STATUS_CONFLICT, "not written over", *ask(b"first"), word="backup-exists")


@exercise("registry_restore")
def registry_restore(s):
    def ask(seq, record_hash):
        return "registry_restore", {"seq": seq, "record_hash": record_hash}
    head = s.admin.ask("audit_head")
    s.refused(s.pb.STATUS_CONFLICT, "all is well", *ask(head.seq, head.record_hash),
              key=s.key(), word="nothing-to-accept")
    s.for_operators_only(*ask(head.seq, head.record_hash), key=s.key())

    def lose():
        for name in os.listdir(s.path("outside")):
            os.unlink(os.path.join(s.path("outside"), name))
    s.check("failed", s.restart(lose) == s.pb.SERVICE_STATE_FAILED)
    s.check("says why", b"checkpoint-missing" in s.admin.ask("service_status").reasons)
    s.refused(s.pb.STATUS_UNAVAILABLE, "nothing is issued", "issue_user_signet",
              {"address": b"dan@example.com", "ssr": s.ssr("dan"),
               "account_mode": s.pb.ACCOUNT_MODE_TRUSTFUL}, key=s.key(), on=s.submission,
              word="checkpoint-missing")
    s.refused(s.pb.STATUS_UNAVAILABLE, "nor over TLS", "issue_user_signet",
              {"address": b"dan@example.com", "ssr": s.ssr("dan2"),
               "account_mode": s.pb.ACCOUNT_MODE_TRUSTFUL}, key=s.key(), on=s.tls,
              word="checkpoint-missing")
    for c in (s.mta, s.tls):
        s.check("look-ups go on", c.ask("lookup_signet", {"name": s.alice}).current)
    head = s.admin.ask("audit_head")
    for what, seq, record_hash in (("another hash", head.seq, bytes(32)),
                                   ("another record", head.seq - 1, head.record_hash)):
        s.refused(s.pb.STATUS_CONFLICT, what, *ask(seq, record_hash), key=s.key(),
                  word="other-head")
    key = s.key()
    r = s.admin.ask(*ask(head.seq, head.record_hash), key=key)
    s.check("taken", r.epoch > head.epoch and r.seq == head.seq + 1 and
            r.state in (s.pb.SERVICE_STATE_OPERATIONAL, s.pb.SERVICE_STATE_DEGRADED,
                        s.pb.SERVICE_STATE_SEALED, s.pb.SERVICE_STATE_STARTING))
    again = s.admin.ask(*ask(head.seq, head.record_hash), key=key)
    s.check("the same again", (again.epoch, again.seq) == (r.epoch, r.seq))


@exercise("audit_drop")
def audit_drop(s):
    def ask(seq, segment):
        return "audit_drop", {"through_seq": seq, "segment_hash": segment}

    def export():
        records, points, at = {}, [], s.admin.ask("audit_head").first_seq
        while at:
            page = s.admin.ask("audit_read", {"from_seq": at})
            records.update((r.seq, r.record) for r in page.records)
            points += [p.seq for p in page.checkpoints]
            at = page.next_seq
        return records, points

    def segment(first, through):
        h = bytes(32)
        for seq in range(first, through + 1):
            h = hashlib.sha256(b"\2" + h + records[seq]).digest()
        return h

    s.restart()  # with every run comes a checkpoint
    until = time.monotonic() + 30
    records, points = export()
    while len(points) < 3 and time.monotonic() < until:
        time.sleep(0.05)
        records, points = export()
    through, last = points[-2], points[-1]
    s.check("from the beginning", min(records) == 1 and len(records) == max(records))
    good = segment(1, through)
    s.refused(s.pb.STATUS_NOT_FOUND, "no checkpoint there", *ask(through + 1, good),
              key=s.key(), word="not-a-checkpoint")
    s.refused(s.pb.STATUS_CONFLICT, "up to the last one", *ask(last, segment(1, last)),
              key=s.key(), word="last-segment")
    s.refused(s.pb.STATUS_INVALID, "without having them", *ask(through, segment(2, through)),
              key=s.key(), word="segment-differs")
    s.for_operators_only(*ask(through, good), key=s.key())
    key = s.key()
    s.check("dropped", s.admin.ask(*ask(through, good), key=key).first_seq == through + 1)
    s.check("the same again", s.admin.ask(*ask(through, good), key=key).first_seq == through + 1)
    head = s.admin.ask("audit_head")
    s.check("where it begins", head.first_seq == through + 1 and head.base_checkpoint)
    s.refused(s.pb.STATUS_NOT_FOUND, "gone", "audit_read", {"from_seq": through})
    s.check("the rest is there", s.admin.ask("audit_read", {"from_seq": through + 1}
                                             ).records[0].record == records[through + 1])
    s.refused(s.pb.STATUS_CONFLICT, "done, and its record is gone", *s.first_done[0],
              key=s.first_done[1], word="record-dropped")
