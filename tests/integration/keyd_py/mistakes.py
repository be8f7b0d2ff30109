"""What a stranger might do by mistake, and what PROTOCOL.md promises for each: a status and
the connection goes on, or the connection ends."""

import fcntl
import os
import socket
import struct
import tempfile

from .client import SEALS, Ended, frame, sealed

MISTAKES = []


def mistake(function):
    MISTAKES.append(function)
    return function


def varint(n):
    out = b""
    while True:
        out += bytes([n & 0x7f | (0x80 if n > 0x7f else 0)])
        n >>= 7
        if not n:
            return out


def field(number, value):
    """An int as a varint, octets with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


class Line:
    """A greeted connection, and the two ways it may go."""

    def __init__(self, s, name="mta", greet=True):
        self.s, self.pb = s, s.pb
        self.c = s.connect(name, greet)

    def ends(self, what, *parts):
        """The octets end the connection: with a last response, or without."""
        try:
            for octets, fds in parts:
                self.c.send_octets(octets, fds)
                for fd in fds:
                    os.close(fd)
            while True:
                self.c.receive()
        except (Ended, ConnectionError, BrokenPipeError) as e:
            word = getattr(e, "farewell", None)
            self.s.check(what + (" says so" if word else ""), word is None or
                         word.status != self.pb.STATUS_OK)
        except TimeoutError:
            self.s.check(what + ": it goes on", False)
        finally:
            self.c.close()

    def answered(self, what, status, octets, fds=()):
        """The octets are one request, answered like that; then others are."""
        try:
            self.c.send_octets(octets, fds)
            for fd in fds:
                os.close(fd)
            response, _ = self.c.receive()
            self.s.check("%s: %s %s" % (what, self.pb.Status.Name(response.status),
                                        response.detail.decode()), response.status == status)
            self.c.ask("service_status")
        except Ended as e:
            self.s.check("%s: %s" % (what, e), False)


def raw(*parts):
    return frame(b"".join(parts))


LOOKUP = field(108, field(1, b"example.com"))
STATUS = field(102, b"")


@mistake
def frames(s):
    Line(s).ends("an empty frame", (struct.pack(">I", 0), ()))
    Line(s).ends("a frame too long", (struct.pack(">I", 65537), ()))
    Line(s).ends("HTTP", (b"GET / HTTP/1.0\r\n\r\n", ()))
    Line(s, greet=False).ends("HTTP at once", (b"GET / HTTP/1.0\r\n\r\n", ()))
    line = Line(s)
    line.c.send_octets(frame(field(1, 9) + STATUS)[:-1])
    line.c.sock.shutdown(socket.SHUT_WR)
    line.ends("a frame that stops short")


@mistake
def slowly(s):
    """Octet by octet is no mistake."""
    c = s.connect("mta", greet=False)
    for octet in frame(field(1, 1) + field(101, field(1, 1) + field(2, 1))):
        c.send_octets(bytes([octet]))
    response, _ = c.receive()
    s.check("a slow Hello", response.status == s.pb.STATUS_OK)


@mistake
def hello(s):
    Line(s, greet=False).ends("something else first", (raw(field(1, 1), STATUS), ()))
    Line(s).ends("a second Hello", (raw(field(1, 9), field(101, field(1, 1) + field(2, 1))), ()))
    for low, high, status in ((2, 9, s.pb.STATUS_UNSUPPORTED), (3, 2, s.pb.STATUS_INVALID),
                              (0, 1, s.pb.STATUS_INVALID), (1, 65536, s.pb.STATUS_INVALID)):
        line = Line(s, greet=False)
        r = s.pb.Request(id=5)
        r.hello.min_version, r.hello.max_version = low, high
        line.c.send_octets(frame(r.SerializeToString()))
        response, _ = line.c.receive()
        s.check("versions %d to %d" % (low, high), response.status == status)
    line = Line(s, greet=False)
    line.c.greet(1, 65535)
    s.check("a later client is met half way", line.c.hello.version == 1)


@mistake
def encodings(s):
    """Whatever is not the one encoding ends the connection."""
    for what, message in (
            ("an unknown field", field(1, 9) + field(99, 1) + STATUS),
            ("an unknown operation", field(1, 9) + field(199, b"")),
            ("a field twice", field(1, 9) + field(1, 9) + STATUS),
            ("two operations", field(1, 9) + STATUS + field(103, b"")),
            ("fields out of order", STATUS + field(1, 9)),
            ("a default that is sent", field(1, 9) + field(2, 0) + STATUS),
            ("an empty field that is sent", field(1, 9) + field(3, b"") + STATUS),
            ("a long number", b"\x08\x89\x00" + STATUS),
            ("a boolean of 2", field(1, 9) + field(4, 2) + STATUS),
            ("another wire type", field(1, b"9") + STATUS),
            ("a length beyond the end", field(1, 9) + b"\xb2\x06\x05x"),
            ("a group", field(1, 9) + b"\x0b\x0c" + STATUS),
            ("noise", bytes(range(1, 60)))):
        Line(s).ends(what, (frame(message), ()))


@mistake
def requests(s):
    """What is well encoded and wrong is answered, and the connection goes on."""
    line, wrong = Line(s), s.pb.STATUS_INVALID
    line.answered("no operation", wrong, raw(field(1, 9)))
    line.answered("a deadline too far", wrong, raw(field(1, 9), field(2, 600001), STATUS))
    line.answered("a key that is not wanted", wrong, raw(field(1, 9), field(3, b"k" * 16), LOOKUP))
    line.answered("a name too long", wrong, raw(field(1, 9), field(108, field(1, b"x" * 255))))
    line.answered("no name", wrong, raw(field(1, 9), field(108, b"")))
    line.answered("a short fingerprint", wrong,
                  raw(field(1, 9), field(108, field(1, b"example.com") + field(2, b"x" * 63))))
    line.answered("an operation of another socket", s.pb.STATUS_UNSUPPORTED,
                  raw(field(1, 9), field(3, b"k" * 16), field(137, field(1, b"i" * 16))))
    line.answered("a name nobody has", s.pb.STATUS_NOT_FOUND,
                  raw(field(1, 9), field(108, field(1, b"nobody@example.com"))))
    line.answered("a domain of others", s.pb.STATUS_DENIED,
                  raw(field(1, 9), field(108, field(1, b"x@elsewhere.example"))))
    line.answered("a limit too large", wrong,
                  raw(field(1, 9), field(109, field(1, b"a@example.com") + field(5, 49))))
    admin = Line(s, "admin")
    sok = field(1, 2) + field(2, 1) + field(3, b"example.com") + field(4, 3)
    admin.answered("no key", wrong, raw(field(1, 9), field(136, sok)))
    admin.answered("a short key", wrong, raw(field(1, 9), field(3, b"k" * 15), field(136, sok)))
    admin.answered("a role that is none", wrong,
                   raw(field(1, 9), field(3, b"k" * 16), field(136, field(1, 77) + field(2, 1))))
    admin.answered("permissions too many", wrong,
                   raw(field(1, 9), field(3, b"k" * 16), field(136, sok[:-1] + b"\x10")))
    # Without an id there is nobody to answer.
    Line(s).ends("no id", (frame(STATUS), ()))


@mistake
def ids(s):
    """An id that is under way is refused; one that was answered is free again."""
    c = s.connect("admin")
    both = b""
    for _ in range(2):
        both += raw(field(1, 7), field(3, s.key()),
                    field(136, field(1, 2) + field(2, 1) + field(3, b"example.com") + field(4, 3)))
    c.send_octets(both)
    statuses = sorted(c.receive()[0].status for _ in range(2))
    s.check("the same id twice", statuses == [s.pb.STATUS_OK, s.pb.STATUS_INVALID])
    for _ in range(2):
        c.send_octets(raw(field(1, 7), STATUS))
        s.check("an id again", c.receive()[0].status == s.pb.STATUS_OK)
    c.send_octets(raw(field(1, 2**64 - 1), STATUS))
    s.check("the largest id", c.receive()[0].id == 2**64 - 1)


@mistake
def descriptors(s):
    def issue(*more):
        return (field(1, 9) + field(3, s.key()) + b"".join(more) +
                field(116, field(1, b"d@example.com") + field(2, b"x") + field(3, 1) + field(5, 1)))

    wrong, takes = s.pb.STATUS_INVALID, field(4, 1)
    line = Line(s, "submission")
    line.answered("takes_fd without F", wrong, frame(issue(takes)))
    line.answered("F without takes_fd", wrong, frame(issue(), True), [sealed(b"x")])
    line.answered("a descriptor with what takes none", wrong,
                  frame(field(1, 9) + takes + STATUS, True), [sealed(b"x")])
    line.answered("no seals", wrong, frame(issue(takes), True), [sealed(b"x", 0)])
    line.answered("three of the seals", wrong, frame(issue(takes), True),
                  [sealed(b"x", SEALS & ~fcntl.F_SEAL_WRITE)])
    with tempfile.TemporaryFile() as f:
        f.write(b"x")
        f.flush()
        line.answered("a file", wrong, frame(issue(takes), True), [os.dup(f.fileno())])
    read, write = os.pipe()
    os.close(write)
    line.answered("a pipe", wrong, frame(issue(takes), True), [read])
    line.answered("an empty one", wrong, frame(issue(takes), True), [sealed(b"")])
    line.answered("no picture", wrong, frame(issue(takes), True), [sealed(b"no picture")])
    whole = frame(issue(takes), True)
    Line(s, "submission").ends("F without a descriptor", (whole, ()))
    Line(s, "submission").ends("a descriptor without F", (frame(issue()), [sealed(b"x")]))
    Line(s, "submission").ends("two at once", (whole, [sealed(b"x"), sealed(b"x")]))
    Line(s, "submission").ends("two for one frame", (whole[:10], [sealed(b"x")]),
                               (whole[10:], [sealed(b"x")]))
    # With any octets of its own frame it is in time.
    line.c.send_octets(whole[:10])
    fd = sealed(b"no picture")
    line.answered("with the later octets", wrong, whole[10:], [fd])


@mistake
def pipelining(s):
    """As many as the Hello allows, in whatever order; one more is busy or waits."""
    c = s.connect("mta")
    n = c.hello.max_in_flight
    wanted = [c.request("lookup_signet", {"name": s.alice if i % 3 else b"example.com"})
              for i in range(n)]
    c.send_octets(b"".join(frame(r.SerializeToString()) for r in wanted))
    for r in reversed(wanted):
        response, fd = c.wait(r.id)
        s.check("each is answered", response.status == s.pb.STATUS_OK and
                (fd is not None) == (response.lookup_signet.signet_fd_size != 0))
        if fd is not None:
            os.close(fd)
    many = [c.request("verify_current", {"name": s.alice, "fingerprint": s.first_fp})
            for _ in range(4 * n)]
    c.send_octets(b"".join(frame(r.SerializeToString()) for r in many))
    statuses = [c.wait(r.id)[0].status for r in many]
    s.check("too many are busy or wait", statuses[0] == s.pb.STATUS_OK and
            set(statuses) <= {s.pb.STATUS_OK, s.pb.STATUS_BUSY})


@mistake
def leaving(s):
    """A client that goes in the middle of all that leaves the others alone."""
    for name in ("mta", "submission", "admin"):
        c = s.connect(name)
        for _ in range(8):
            c.send(c.request("service_status"))
        c.close()
    s.check("others are served", s.mta.ask("lookup_signet", {"name": b"example.com"}).current)
