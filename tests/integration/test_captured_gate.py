#!/usr/bin/env python3
"""A gate that is not itself any more, and the supervisor: what it says there ends it, and the
other listeners do not notice.

usage: test_captured_gate.py BIN_DIR

Needs root, as each role of the daemon becomes a user of its own; exit status 77 without."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BIN = os.path.realpath(sys.argv[1])

CONF = """
state-directory = "{t}/state"
run-directory = "{t}/run"
libexec-directory = "{t}/libexec"
hardening = relaxed
user-gate = "61001"
user-vault = "61002"
user-ledger = "61003"
group = "61000"
domain "orga.example" {{
}}
principal "front" {{
    uid = 61050
    class = "mta"
    operations = {{ "LookupSignet" }}
    domains = {{ "orga.example" }}
}}
principal "ann" {{
    uid = 0
    class = "admin"
    operations = {{ "AuditHead" }}
}}
"""

# In the place of keyd-gate: that of the other listeners becomes what it should be. The frame
# is base/chan's, the type that of ctl_ready in job/messages.def.
GATE = """#!/usr/bin/python3
import os, select, socket, struct
ctl = socket.socket(fileno=os.dup(3))
select.select([ctl], [], [])
if b"front" not in ctl.recv(65536, socket.MSG_PEEK):
    os.execv("{bin}/keyd-gate", ["{bin}/keyd-gate"])
READY = 6
try:
    for _ in range(2):
        ctl.send(struct.pack(">IHHBB", 2, READY, 0, 0, 0))
    while ctl.recv(65536):
        pass
except OSError:
    pass
"""


def main():
    if os.geteuid() != 0:
        print("skipped: needs root")
        return 77
    t = tempfile.mkdtemp(prefix="keyd-captured-")
    log = os.path.join(t, "log")
    daemon = None
    try:
        os.chmod(t, 0o755)
        os.mkdir(os.path.join(t, "libexec"))
        os.chmod(os.path.join(t, "libexec"), 0o755)
        for name in ("keyd-vault", "keyd-ledger"):
            os.symlink(os.path.join(BIN, name), os.path.join(t, "libexec", name))
        for name, text in (("keyd.conf", CONF.format(t=t)),
                           ("libexec/keyd-gate", GATE.format(bin=BIN))):
            with open(os.path.join(t, name), "w") as f:
                f.write(text)
            os.chmod(os.path.join(t, name), 0o755 if "gate" in name else 0o644)
        with open(log, "wb") as f:
            daemon = subprocess.Popen(
                [os.path.join(BIN, "dime-keyd"), "-c", os.path.join(t, "keyd.conf")],
                stdout=f, stderr=f)
        ended = False
        for _ in range(200):
            with open(log) as f:
                ended = any("keyd-gate mta 1" in line and "signal 9" in line for line in f)
            if ended:
                break
            time.sleep(0.05)
        p = subprocess.run([os.path.join(BIN, "keydctl"), "status", "--socket",
                            os.path.join(t, "run/admin/admin.sock")], capture_output=True)
        with open(log) as f:
            print(f.read()[-2000:])
        print("ended: %s, status of the others: %d" % (ended, p.returncode))
        return 0 if ended and p.returncode == 0 else 1
    finally:
        if daemon is not None:
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(timeout=30)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(t)


sys.exit(main())
