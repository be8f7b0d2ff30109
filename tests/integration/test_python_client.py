#!/usr/bin/env python3
"""A client in another language, written from the protocol's two pages alone, does every
operation and every mistake it can think of against a real daemon.

usage: test_python_client.py BUILD_DIR SOURCE_DIR

Exit status 77 without python3-cryptography, python3-protobuf or protoc."""

import os
import shutil
import subprocess
import sys

try:
    import cryptography  # noqa: F401, only whether they are there
    import google.protobuf  # noqa: F401
except ImportError:
    google = None
if google is None or shutil.which("protoc") is None:
    print("skipped: python3-cryptography, python3-protobuf and protobuf-compiler are needed")
    sys.exit(77)

BUILD, SOURCE = (os.path.abspath(a) for a in sys.argv[1:3])
sys.path.insert(0, os.path.join(SOURCE, "tests/integration"))
sys.dont_write_bytecode = True

from keyd_py import client, exercises, mistakes  # noqa: E402, the path is above

failed = checks = 0


def check(what, holds):
    global failed, checks
    checks += 1
    if not holds:
        failed += 1
        print("FAILED: %s" % what)
    return holds


class Daemon:
    """keyd-run without keys: all is left to the client."""

    def __enter__(self):
        self.process = subprocess.Popen([os.path.join(BUILD, "tests/keyd-run"), "-n", "-t", "-c"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.dir = self.process.stdout.readline().decode().strip()
        if not self.dir:
            sys.exit("the daemon does not start")
        return self

    def tell(self, word):
        """stop or start"""
        self.process.stdin.write(word + b"\n")
        self.process.stdin.flush()
        if self.process.stdout.readline() != word + b"\n":
            raise RuntimeError("the daemon does not %s" % word.decode())

    def __exit__(self, *_):
        self.process.stdin.close()
        check("the daemon ends in order", self.process.wait(timeout=60) == 0)


def operations(pb):
    """The members of the oneof, which are all operations there are."""
    request = pb.DESCRIPTOR.message_types_by_name["Request"].oneofs_by_name["op"]
    return {f.name for f in request.fields}


def play(what, function, *args):
    try:
        function(*args)
    except Exception as e:  # one that fails must not hide the others
        check("%s: %s: %s" % (what, type(e).__name__, e), False)


def main():
    pb = client.load(os.path.join(SOURCE, "proto/keyd.proto"))
    have = {name for name, _ in exercises.EXERCISES}
    for name in sorted(operations(pb) ^ have):
        check("%s: %s" % (name, "no exercise" if name not in have else "no operation"), False)
    with Daemon() as d:
        story = exercises.Story(pb, d, os.path.join(BUILD, "bin"),
                                os.path.join(SOURCE, "tests/vectors"), check)
        for name, function in exercises.EXERCISES:
            play(name, function, story)
        for function in mistakes.MISTAKES:
            play(function.__name__, function, story)
        story.close()
    print("%d checks, %d failed" % (checks, failed))
    return 1 if failed else 0


sys.exit(main())
