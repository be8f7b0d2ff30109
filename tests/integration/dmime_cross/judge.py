"""What both programs say of a message in one role, in the same words.

An answer is a dictionary:

  accepted    whether the role goes on with the message, and no name in the envelope is another
              than that of the signet given for it
  flaw        of the structure, which needs no key: None, "magic", "unsigned", "large", "other";
              "armor" if there is no binary. With one there is nothing more.
  corrupt     whether something behind the encryption refuses the whole message; then what is
              behind it is not compared, as nobody may use it
  chunks      (type, where, size of the payload, number of keyslots); without tracing
  signatures  type: good, legacy, bad, placeholder, closed, absent, unchecked; None: not asked
  envelope    type: its four values
  agrees      role: core, full, none
  common      the values, or None
  texts       type: octets; none of a message that is not accepted
  complete    whether a mail can be made of it: nothing corrupt, nothing for another key
  parts       (type, numbers of chunks, state, octets or None) of the content; None where
              nothing is shown, since no signature of the author is good or the role has no
              key. Octets of good parts of a message that is accepted.
"""

from dmime_py import crypto, opening, texts
from dmime_py import message as m

READERS = ("author", "recipient")
# The tool's names of fields and files
ENVELOPE = {m.ORIGIN: ("origin", ("author", "author-signet", "destination",
                                  "destination-signet")),
            m.DESTINATION: ("destination", ("recipient", "recipient-signet", "origin",
                                            "origin-signet"))}
FILES = {m.ORIGIN: "envelope-origin.txt", m.DESTINATION: "envelope-destination.txt",
         m.COMMON: "common.txt", m.HEADERS: "headers.txt"}
FLAWS = {"MAGIC": "magic", "UNSIGNED": "unsigned", "TOO_LARGE": "large"}
STATES = {m.MAGIC_BAD: "magic", m.UNSIGNED: "unsigned", m.TOO_LARGE: "large"}


# dmime_py


def flaw(octets):
    try:
        crypto.point(m.parse(octets).find(m.EPHEMERAL).payload)
        return None
    except m.Bad as e:
        return STATES.get(e.state, "other")


def chunks(message):
    out = []
    at = 0
    for c in message.chunks:
        if c.type != m.TRACING:
            out.append((c.type, at, len(c.payload), len(c.slots)))
            at += len(c.octets())
    return out


def verdict(v):
    if v.state == "ok":
        return "legacy" if v.variant == "libdime" else "good"
    return v.state


def role_reads(opened, role):
    """Whether the role has a key to content, and somebody vouches for it."""
    return role in READERS and bool(opened.authentic_by) and opened.state == "ok"


def shown(opened, role, accepted):
    """The parts of the content."""
    if not role_reads(opened, role):
        return None
    first = sum(c.type == m.TRACING for c in opened.message.chunks)
    return [(p.type, [n - first for n in p.chunks], "good" if p.state == "ok" else p.state,
             p.data if accepted else None) for p in opened.parts if p.type in m.CONTENT]


def of_python(file, view):
    try:
        octets = texts.binary(file)
    except texts.BadArmor:
        return {"accepted": False, "flaw": "armor"}
    found = flaw(octets)
    if found is not None:
        return {"accepted": False, "flaw": found}
    opened = opening.open_message(octets, view)
    agrees = {}
    for kind in (m.ORIGIN, m.DESTINATION):
        agrees |= opening.agrees(view, opened.texts.get(kind, {}))
    accepted = opened.accepted and False not in agrees.values()
    return {
        "accepted": accepted, "flaw": None,
        "corrupt": opened.state != "ok",
        "chunks": chunks(opened.message),
        "signatures": {k: verdict(v) for k, v in opened.signatures.items()} or None,
        "envelope": {k: list(v.values()) for k, v in opened.texts.items() if k in ENVELOPE},
        "agrees": {name[:-len("-Signet")].lower(): value or "none"
                   for name, value in agrees.items() if name.endswith("-Signet")},
        "common": opened.texts.get(m.COMMON) if opened.authentic_by else None,
        "texts": {p.type: p.data for p in opened.parts
                  if accepted and p.type in FILES and p.state == "ok"},
        "complete": role_reads(opened, view.role) and all(
            p.state == "ok" for p in opened.parts if p.type >= m.COMMON),
        "parts": shown(opened, view.role, accepted),
    }


# the tool


def of_tool(report, files):
    if report.get("flaw") is not None:
        return {"accepted": report["valid"], "flaw": FLAWS.get(report["flaw"], "other")}
    if "chunks" not in report:
        return {"accepted": report["valid"], "flaw": "armor"}
    parts = [(p["type"], p["chunks"], p["state"], files.get(p.get("file")))
             for p in report["parts"]]
    envelope = report["envelope"]
    return {
        "accepted": report["valid"], "flaw": None,
        "chunks": [(c["type"], c["at"], c["size"], len(c["slots"])) for c in report["chunks"]],
        "signatures": {int(k): v["state"] for k, v in report["signatures"].items()},
        "envelope": {kind: [envelope[name][f] for f in fields]
                     for kind, (name, fields) in ENVELOPE.items() if envelope[name]},
        "agrees": report["agrees"],
        "common": report["common"],
        "texts": {kind: files[name] for kind, name in FILES.items() if name in files},
        "complete": report["complete"],
        "parts": parts or None,
    }


# both


def brief(value):
    text = repr(value)
    return text if len(text) < 600 else text[:600] + "..."


def compared(python):
    names = ["accepted", "flaw"]
    if python["flaw"] is not None:
        return names
    names.append("chunks")
    if python["signatures"] is not None:
        names.append("signatures")
    if not python["corrupt"]:
        names += ["envelope", "agrees", "common", "texts", "complete", "parts"]
    return names


def differences(python, tool):
    """Of two answers, in words; none if they are one."""
    if python["flaw"] != tool["flaw"]:
        return ["flaw: dmime_py %s, tool %s" % (python["flaw"], tool["flaw"])]
    return ["%s: dmime_py %s, tool %s" % (name, brief(python[name]), brief(tool[name]))
            for name in compared(python) if python[name] != tool[name]]
