"""A token of SoftHSM for a daemon under test (TOKEN=softhsm in the environment), and what
an operator does until it is in use."""

import glob
import json
import os
import subprocess
import time

NAME = "softhsm"
USER = 61010
PIN = "2468"
WANTED = os.environ.get("TOKEN") == NAME


def is_there():
    return bool(glob.glob("/usr/lib/softhsm/libsofthsm2.so")) and \
        os.access("/usr/bin/softhsm2-util", os.X_OK)


def make(folder):
    """The token, and its section of the configuration."""
    paths, conf, pin = (os.path.join(folder, n) for n in ("paths", "softhsm2.conf", "pin"))
    os.makedirs(os.path.join(paths, "tokens"), 0o700)
    for name in (paths, os.path.join(paths, "tokens")):
        os.chown(name, USER, USER)
    with open(conf, "w") as f:
        f.write("directories.tokendir = %s/tokens\nobjectstore.backend = file\n"
                "log.level = ERROR\n" % paths)
    with open(os.open(pin, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as f:
        f.write(PIN)
    subprocess.run(["softhsm2-util", "--init-token", "--free", "--label", NAME, "--pin", PIN,
                    "--so-pin", PIN], check=True, capture_output=True, user=USER, group=USER,
                   extra_groups=[], env={"SOFTHSM2_CONF": conf, "PATH": "/usr/bin:/bin"})
    return """
user-p11 = "%d"
token "%s" {
    module = "%s"
    label = "%s"
    pin-file = "%s"
    paths = { "%s" }
    environment = { "SOFTHSM2_CONF=%s" }
    timeout = 3000
    max-message = 67108864
}
""" % (USER, NAME, os.path.realpath("/usr/lib/softhsm/libsofthsm2.so"), NAME, pin, paths, conf)


def wait_for(keydctl, *states):
    """keydctl: a command up to where verbs come; what follows is its socket's."""
    command, socket = keydctl
    for _ in range(400):
        p = subprocess.run([command, "token", "list", "--json", *socket], capture_output=True)
        lines = json.loads(p.stdout)["tokens"] if p.returncode == 0 else []
        if any(t["state"] in states and t["serial"] for t in lines):
            return True
        time.sleep(0.05)
    return False
