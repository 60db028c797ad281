"""A proxy before PostgreSQL that loses connections where it hurts: around COMMIT, in the middle of COPY, or in silence.

It reads the client's messages (length and type, as the protocol frames them), so a COMMIT is recognised whether it is
sent as a simple query or parsed, and however the bytes were cut into packets. Faults, each for one connection:

    before_commit   COMMIT is not forwarded; both sides are closed
    after_commit    COMMIT is forwarded, its answer awaited and thrown away; both sides are closed
    at_commit       COMMIT is forwarded and both sides are closed at once: whether it committed, nobody knows
    silent_commit   COMMIT is forwarded, and nothing comes back: the connection stays open and silent
    lost_commit     COMMIT is swallowed: open and silent
    cut             both sides are closed after `count` bytes from the client
    silent          nothing is forwarded after `count` bytes from the client: open and silent
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import Literal

Fault = Literal["before_commit", "after_commit", "at_commit", "silent_commit", "lost_commit", "cut", "silent"]
COMMIT_FAULTS: tuple[Fault, ...] = ("before_commit", "after_commit", "at_commit", "silent_commit", "lost_commit")
COPY_DATA = b"d"


@dataclass
class Messages:
    """The client's stream, cut into messages. The first ones (SSL request, start-up) have no type."""

    held: bytes = b""
    started: bool = False

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Complete messages: (type, all of its bytes); an incomplete one waits for the rest."""
        self.held += data
        found = []
        while True:
            head = 5 if self.started else 4
            if len(self.held) < head:
                return found
            size = struct.unpack("!I", self.held[head - 4 : head])[0] + (1 if self.started else 0)
            if len(self.held) < size:
                return found
            message, self.held = self.held[:size], self.held[size:]
            if self.started:
                found.append((message[:1], message))
            else:
                version = struct.unpack("!I", message[4:8])[0]
                self.started = version >> 16 == 3  # SSL, GSS and cancel requests have the number 1234
                found.append((b"", message))


def is_commit(kind: bytes, message: bytes) -> bool:
    """Whether the message asks for a commit, as a simple query or as one that is parsed first."""
    if kind == b"Q":
        text = message[5:]
    elif kind == b"P":
        text = message[5:].split(b"\0", 1)[1]
    else:
        return False
    return text.split(b"\0", 1)[0].strip().rstrip(b";").upper() in (b"COMMIT", b"END", b"COMMIT TRANSACTION")


@dataclass
class Proxy:
    """Listens on a port of its own for a server on the loopback; `faults` are used up, one a connection, in order.

    A fault that counts bytes counts those of COPY data if `in_copy`, else all.
    """

    server: int
    faults: list[tuple[Fault, int]] = field(default_factory=list)
    in_copy: bool = True
    happened: list[Fault] = field(default_factory=list)
    port: int = 0
    _sockets: list[socket.socket] = field(default_factory=list)
    _listener: socket.socket | None = None

    def __enter__(self) -> Proxy:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        assert self._listener is not None
        for one in [self._listener, *self._sockets]:
            _close(one)

    def _accept(self) -> None:
        assert self._listener is not None
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.server))
            except OSError:  # the server is down: so are we
                _close(client)
                continue
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [client, server]
            link = _Link(self, client, server, *(self.faults.pop(0) if self.faults else (None, 0)))
            for target in (link.upstream, link.downstream):
                threading.Thread(target=target, daemon=True).start()


@dataclass
class _Link:
    """One connection through the proxy and the fault that awaits it."""

    proxy: Proxy
    client: socket.socket
    server: socket.socket
    fault: Fault | None
    count: int
    answers: Literal["forward", "discard", "swallow"] = "forward"

    def upstream(self) -> None:
        messages, counted = Messages(), 0
        while data := _read(self.client):
            for kind, message in messages.feed(data):
                counted += len(message) if kind == COPY_DATA or not self.proxy.in_copy else 0
                if self.fault in ("cut", "silent") and counted > self.count:
                    self._happen()
                    return
                if is_commit(kind, message) and self.fault in COMMIT_FAULTS:
                    self._commit(message)
                    return
                if not _send(self.server, message):
                    _close(self.client)
                    return
        _close(self.server)

    def downstream(self) -> None:
        while data := _read(self.server):
            if self.answers == "discard":  # the server has committed: this is its answer
                self._close()
                return
            if self.answers == "forward" and not _send(self.client, data):
                break
        if self.answers != "swallow":
            _close(self.client)

    def _commit(self, message: bytes) -> None:
        if self.fault == "after_commit":
            self.answers = "discard"
        if self.fault == "silent_commit":
            self.answers = "swallow"
        if self.fault not in ("before_commit", "lost_commit"):
            _send(self.server, message)
        self._happen()

    def _happen(self) -> None:
        assert self.fault is not None
        self.proxy.happened.append(self.fault)
        if self.fault in ("before_commit", "at_commit", "cut"):
            self._close()
        elif self.fault in ("lost_commit", "silent"):
            self.answers = "swallow"

    def _close(self) -> None:
        _close(self.server)
        _close(self.client)


def _read(one: socket.socket) -> bytes:
    try:
        return one.recv(65536)
    except OSError:
        return b""


def _send(one: socket.socket, data: bytes) -> bool:
    try:
        one.sendall(data)
    except OSError:
        return False
    return True


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
