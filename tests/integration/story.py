"""What tests of keydctl share that tell a long story: checks that are counted, a folder, a
daemon in it and a terminal.

The first argument of the program is the directory of the programs under test."""

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BIN = sys.argv[1]
KEYDCTL = os.path.join(BIN, "keydctl")

# --- checks -------------------------------------------------------------------------------

checks = failed = 0


def check(what, holds):
    global failed, checks
    checks += 1
    if not holds:
        failed += 1
        print("FAILED: %s" % what)
    return holds


def tell(prefix, play):
    """Plays the story in a folder of its own; the exit status."""
    global folder
    if os.geteuid() != 0:
        print("skipped: needs root")
        return 77
    folder = tempfile.mkdtemp(prefix=prefix)
    try:
        os.chmod(folder, 0o755)
        play()
    finally:
        shutil.rmtree(folder)
    print("%d checks, %d failed" % (checks, failed))
    return 1 if failed else 0


# --- the folder ---------------------------------------------------------------------------

folder = None


def path(name=""):
    return os.path.join(folder, name) if name else folder


def write(name, octets, mode=0o600):
    with open(path(name), "wb") as f:
        f.write(octets)
    os.chmod(path(name), mode)
    return path(name)


def read(name):
    with open(path(name), "rb") as f:
        return f.read()


# --- the daemon ---------------------------------------------------------------------------

def admin_socket():
    return ["--socket", path("run/admin/admin.sock")]


class Daemon:
    """With the folder's keyd.conf."""

    def __enter__(self):
        self.start()
        return self

    def start(self):
        with open(path("log"), "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(BIN, "dime-keyd"), "-c", path("keyd.conf")],
                stdout=log, stderr=log)
        for _ in range(400):
            p = subprocess.run([KEYDCTL, "status", "--json", *admin_socket()],
                               capture_output=True)
            # What the vault's state is it knows when it has heard from the ledger.
            if p.returncode == 0 and json.loads(p.stdout)["state"] in ("unprovisioned",
                                                                       "sealed"):
                return
            time.sleep(0.05)
        sys.exit("the daemon does not start:\n" + read("log").decode())

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()


# --- a terminal ---------------------------------------------------------------------------

def on_terminal(args, answers, interrupt=False):
    """Runs keydctl on a terminal, answers its prompts; (exit status, what was shown)."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(KEYDCTL, [KEYDCTL, *args])
    shown = b""
    waiting = [a if isinstance(a, tuple) else (b": ", a) for a in answers]
    at = 0
    while True:
        if not select.select([fd], [], [], 30)[0]:
            os.kill(pid, signal.SIGKILL)
            break
        try:
            part = os.read(fd, 4096)
        except OSError:
            break
        if not part:
            break
        shown += part
        if waiting and waiting[0][0] in shown[at:]:
            at = len(shown)
            # Echo is off before the prompt is shown.
            if interrupt:
                os.kill(pid, signal.SIGINT)
            else:
                os.write(fd, waiting[0][1])
            waiting.pop(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(fd)
    return status, shown
