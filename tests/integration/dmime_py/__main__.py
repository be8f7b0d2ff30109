"""The command line; see __init__.py."""

import argparse
import json
import os
import sys

from . import crypto, keys, making, opening, texts
from . import message as m

VERDICTS = ("role", "state", "why", "accepted", "complete", "signatures", "authentic_by",
            "agrees")
SIGNETS = ("author", "org", "destination", "recipient")


def read(name):
    if name == "-":
        return sys.stdin.buffer.read()
    with open(name, "rb") as f:
        return f.read()


def write(name, octets):
    if name == "-":
        sys.stdout.buffer.write(octets)
        return
    with open(name, "wb") as f:
        f.write(octets)


def key(text):
    if text.lstrip().startswith("{"):
        given = json.loads(text)
        return keys.Key(*(bytes.fromhex(given[n]) if n in given else None
                          for n in ("seed", "scalar")))
    return keys.key_read(read(text))


def tell(report):
    print(json.dumps(report, sort_keys=True, separators=(",", ":")))


def message_of(name):
    """Octets of a message; armor that is not right makes them those of no message."""
    octets = read(name)
    try:
        return texts.binary(octets)
    except texts.BadArmor as e:
        raise m.Bad("armor: %s" % e) from None


def show(args):
    try:
        octets = message_of(args.message)
        message = m.split(octets)
    except m.Bad as e:
        tell({"state": e.state, "why": str(e)})
        return 1
    out = {"state": "ok", "why": None, "chunks": opening.structure(message),
           "tracing": opening.text64(message.tracing)}
    try:
        m.parse(octets)
        crypto.point(message.find(m.EPHEMERAL).payload)
    except m.Bad as e:
        out.update(state=e.state, why=str(e))
    tell(out)
    return 0 if out["state"] == "ok" else 1


def open_or_verify(args):
    signets = {name: keys.signet_read(read(given)) for name in SIGNETS
               if (given := getattr(args, name + "_signet")) is not None}
    view = opening.View(args.role, key(args.key), limit=args.limit, **signets)
    try:
        opened = opening.open_message(message_of(args.message), view)
    except m.Bad as e:
        opened = opening.Opened(state=e.state, why=str(e))
    report = opening.report(opened, view, args.trace)
    if args.command == "verify":
        report = {name: report[name] for name in VERDICTS if name in report}
    tell(report)
    return 0 if opened.accepted else 1


def new(args):
    directory = "." if args.spec == "-" else os.path.dirname(args.spec) or "."
    try:
        made = making.make(json.loads(read(args.spec)), directory, args.seed)
    except (TypeError, AttributeError) as e:  # JSON of another shape
        raise making.BadSpec(str(e)) from e
    write(args.out, made)
    return 0


def sign(args):
    gone = [int(n) for n in args.without.split(",") if n]
    bounce = [k for k in (m.META_BOUNCE, m.DISPLAY_BOUNCE) if k not in gone]
    write(args.out, making.origin_sign(message_of(args.message), key(args.key),
                                       key(args.signer) if args.signer else None, bounce))
    return 0


def arguments():
    top = argparse.ArgumentParser(prog="dmime_py")
    commands = top.add_subparsers(dest="command", required=True)
    p = commands.add_parser("show")
    p.add_argument("message")
    p.set_defaults(run=show)
    for name in ("open", "verify"):
        p = commands.add_parser(name)
        p.add_argument("message")
        p.add_argument("--as", dest="role", required=True, choices=opening.LETTERS)
        p.add_argument("--key", required=True)
        for who in SIGNETS:
            p.add_argument("--%s-signet" % who)
        p.add_argument("--trace", action="store_true")
        p.add_argument("--limit", type=int, default=crypto.MESSAGE_LIMIT)
        p.set_defaults(run=open_or_verify)
    p = commands.add_parser("new")
    p.add_argument("--spec", required=True)
    p.add_argument("--seed")
    p.add_argument("out")
    p.set_defaults(run=new)
    p = commands.add_parser("sign")
    p.add_argument("message")
    p.add_argument("out")
    p.add_argument("--key", required=True)
    p.add_argument("--signer")
    p.add_argument("--without", default="")
    p.set_defaults(run=sign)
    return top


def main():
    args = arguments().parse_args()
    try:
        return args.run(args)
    except (OSError, ValueError, KeyError, IndexError, m.Bad, keys.BadKey, making.BadSpec,
            texts.BadArmor) as e:
        print("dmime_py: %s: %s" % (type(e).__name__, e), file=sys.stderr)
        return 2


sys.exit(main())
