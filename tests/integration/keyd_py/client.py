"""Frames, descriptors, the conversation: what PROTOCOL.md describes, in its order."""

import array
import fcntl
import importlib
import os
import socket
import ssl
import struct
import subprocess
import sys
import tempfile

MAX_FRAME = 65536
FLAG = 0x80000000
INLINE = 48 * 1024  # what is larger travels as a descriptor, or in parts
SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def load(proto):
    """The messages of keyd.proto, as a module; protoc makes it on the spot."""
    with tempfile.TemporaryDirectory() as made:
        subprocess.run(["protoc", "-I", os.path.dirname(proto), "--python_out", made, proto],
                       check=True)
        sys.path.insert(0, made)
        try:
            return importlib.import_module("keyd_pb2")
        finally:
            sys.path.remove(made)


class Ended(Exception):
    """The server ended the connection; with the response that said why, if one came."""

    def __init__(self, farewell=None):
        super().__init__("the connection ended" + (
            ": " + farewell.detail.decode() if farewell else ""))
        self.farewell = farewell


class Refused(Exception):
    """A response without a result."""

    def __init__(self, response, name):
        super().__init__("%s (%s)" % (name, response.detail.decode()))
        self.response = response
        self.status = response.status
        self.detail = response.detail.decode()


def sealed(octets, seals=SEALS):
    fd = os.memfd_create("keyd", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(os.dup(fd), "wb") as f:
        f.write(octets)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def unsealed(fd, size):
    """The octets of a descriptor the server sent, looked at before they are believed."""
    try:
        if fcntl.fcntl(fd, fcntl.F_GET_SEALS) & SEALS != SEALS:
            raise ValueError("a descriptor without seals")
        if os.fstat(fd).st_size != size:
            raise ValueError("a descriptor of another size")
        return os.pread(fd, size, 0)
    finally:
        os.close(fd)


def frame(message, flagged=False):
    return struct.pack(">I", len(message) | (FLAG if flagged else 0)) + message


class Connection:
    """One connection. `ask` is all that most need; tests of what is forbidden use
    `send_octets` and `receive`."""

    def __init__(self, pb, sock, tls=False):
        self.pb, self.sock, self.tls = pb, sock, tls
        self.kept = b""
        self.fds = []
        self.answers = {}  # by id, of requests that were not waited for yet
        self.last_id = 0
        self.hello = None

    @classmethod
    def unix(cls, pb, path, timeout=30):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        sock.connect(path)
        return cls(pb, sock)

    @classmethod
    def over_tls(cls, pb, host, port, certificate, key, ca, server_name, timeout=30):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(ca)
        context.load_cert_chain(certificate, key)
        sock = socket.create_connection((host, port), timeout=timeout)
        return cls(pb, context.wrap_socket(sock, server_hostname=server_name), tls=True)

    def close(self):
        self.sock.close()
        for fd in self.fds:
            os.close(fd)
        self.fds = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # --- frames

    def send_octets(self, octets, fds=()):
        if fds:
            control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            sent = self.sock.sendmsg([octets], control)
            octets = octets[sent:]
        self.sock.sendall(octets)

    def _more(self):
        if self.tls:
            octets = self.sock.recv(65536)
        else:
            octets, control, _, _ = self.sock.recvmsg(
                65536, socket.CMSG_SPACE(16), socket.MSG_CMSG_CLOEXEC)
            for level, kind, data in control:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    received = array.array("i")
                    received.frombytes(data[:len(data) - len(data) % received.itemsize])
                    self.fds.extend(received)
        if not octets:
            raise Ended()
        self.kept += octets

    def _take(self, n):
        while len(self.kept) < n:
            self._more()
        octets, self.kept = self.kept[:n], self.kept[n:]
        return octets

    def receive(self):
        """The next response, and the descriptor that came with it or None. A response about
        the connection itself is Ended."""
        try:
            (header,) = struct.unpack(">I", self._take(4))
            message = self._take(header & ~FLAG)
        except (ConnectionError, BrokenPipeError):
            raise Ended() from None
        response = self.pb.Response.FromString(message)
        if response.SerializeToString(deterministic=True) != message:
            raise ValueError("not the one encoding: %s" % message.hex())
        fd = self.fds.pop(0) if header & FLAG else None
        if response.id == 0:
            raise Ended(response)
        return response, fd

    # --- the conversation

    def greet(self, low=1, high=1, name=b"keyd_py"):
        request = self.pb.Request(id=self.next_id())
        request.hello.min_version = low
        request.hello.max_version = high
        request.hello.client_name = name
        self.send_octets(frame(request.SerializeToString()))
        response, _ = self.receive()
        self.checked(response)
        self.hello = response.hello
        return self

    def next_id(self):
        self.last_id += 1
        return self.last_id

    def checked(self, response):
        ok = response.status == self.pb.STATUS_OK
        if ok != (response.WhichOneof("result") is not None):
            raise ValueError("a result exactly when the status is OK: %r" % response)
        if not ok:
            raise Refused(response, self.pb.Status.Name(response.status))
        return response

    def request(self, operation, fields=None, key=None, deadline_ms=0):
        """A request with the operation of that name; fields: of its message."""
        r = self.pb.Request(id=self.next_id(), deadline_ms=deadline_ms)
        if key is not None:
            r.idempotency_key = key
        member = getattr(r, operation)
        member.SetInParent()
        for name, value in (fields or {}).items():
            if isinstance(value, list):
                getattr(member, name).extend(value)
            elif isinstance(value, dict):
                for inner, octets in value.items():
                    setattr(getattr(member, name), inner, octets)
            else:
                setattr(member, name, value)
        return r

    def send(self, r, obj=None):
        """Sends a request with the object that goes with it: as a descriptor, or over TLS in
        parts before it."""
        if obj is None:
            self.send_octets(frame(r.SerializeToString()))
        elif self.tls:
            r.upload_id = self.upload(obj)
            self.send_octets(frame(r.SerializeToString()))
        else:
            r.takes_fd = True
            fd = sealed(obj)
            self.send_octets(frame(r.SerializeToString(), True), [fd])
            os.close(fd)
        return r.id

    def wait(self, wanted):
        """The answer to one of the requests sent; others that come first are kept."""
        while wanted not in self.answers:
            response, fd = self.receive()
            self.answers[response.id] = (response, fd)
        response, fd = self.answers.pop(wanted)
        return response, fd

    def ask(self, operation, fields=None, obj=None, key=None, deadline_ms=0):
        """One operation. The result; where it has an object, that is put where it would stand
        if it were smaller."""
        r = self.request(operation, fields, key, deadline_ms)
        response, fd = self.wait(self.send(r, obj))
        self.checked(response)
        if response.WhichOneof("result") != operation:
            raise ValueError("the result of another operation")
        result = getattr(response, operation)
        large = "bounce" if operation == "make_bounce" else "signet"
        size = getattr(result, large + "_fd_size", 0)
        if (size != 0) != (fd is not None or response.object_id != b""):
            raise ValueError("an object without its size, or the reverse")
        if fd is not None:
            setattr(result, large, unsealed(fd, size))
        elif size:
            setattr(result, large, self.fetch(response.object_id, size))
        return result

    # --- objects in parts

    def upload(self, octets, part=INLINE):
        upload_id = os.urandom(16)
        sent = []
        for at in range(0, len(octets), part):
            r = self.request("upload_part", {"upload_id": upload_id, "offset": at,
                                             "total": len(octets),
                                             "data": octets[at:at + part]})
            sent.append((self.send(r), min(at + part, len(octets))))
        for wanted, received in sent:
            response, _ = self.wait(wanted)
            if self.checked(response).upload_part.received != received:
                raise ValueError("another count of what was received")
        return upload_id

    def fetch(self, object_id, size):
        octets = b""
        while len(octets) < size:
            data = self.ask("fetch_part", {"object_id": object_id, "offset": len(octets),
                                           "limit": min(INLINE, size - len(octets))}).data
            if not data:
                raise ValueError("an empty part")
            octets += data
        return octets
