"""Running `dime message`, and dmime_py's views of the same files."""

import json
import os
import subprocess

from dmime_py import keys, opening

SECONDS = 120
HOLDS, FAILS, TROUBLE = 0, 1, 2
SIGNETS = ("author", "origin", "destination", "recipient")


class Broken(AssertionError):
    """The tool did something it never may, whatever it is given."""


class Tool:
    def __init__(self, path):
        self.path = path

    def run(self, *args, statuses=(HOLDS,)):
        """status, standard output; Broken if the status is another."""
        done = subprocess.run([self.path, "message", *args], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=SECONDS, check=False)
        if done.returncode not in statuses:
            raise Broken("dime message %s: status %d\n%s" % (
                " ".join(args), done.returncode, done.stderr.decode(errors="replace")))
        return done.returncode, done.stdout

    def json(self, *args):
        """The report, whose `valid` the status is to agree with."""
        status, out = self.run(*args, "--json", statuses=(HOLDS, FAILS))
        report = json.loads(out)
        if report["valid"] != (status == HOLDS):
            raise Broken("dime message %s: valid %s, status %d" % (
                " ".join(args), report["valid"], status))
        return report

    @staticmethod
    def people(world, role):
        args = ["--as", role, "--keys", world.keys[role]]
        for who in SIGNETS:
            args += ["--" + who, world.signets[who]]
        return args

    def verify(self, message, world, role):
        return self.json("verify", message, *self.people(world, role))

    def open(self, message, world, role, directory):
        """Report, and the files that it left: name: octets"""
        report = self.json("open", message, *self.people(world, role), "-o", directory)
        files = {}
        if os.path.isdir(directory):
            for name in os.listdir(directory):
                with open(os.path.join(directory, name), "rb") as f:
                    files[name] = f.read()
        return report, files

    def new(self, mail, world, out, *more):
        self.run("new", "--from", world.keys["author"] + "," + world.signets["author"],
                 "--to", world.signets["recipient"], "--origin", world.signets["origin"],
                 "--destination", world.signets["destination"], mail, "-o", out, *more)


def view(world, role):
    """dmime_py's, of the same files."""
    def read(path):
        with open(path, "rb") as f:
            return f.read()

    signets = {who: keys.signet_read(read(world.signets[who])) for who in SIGNETS}
    signets["org"] = signets.pop("origin")
    return opening.View(role, keys.key_read(read(world.keys[role])), **signets)
