"""A mail server and a webhook for tests: real sockets on loopback that keep what they are given."""

from __future__ import annotations

import base64
import json
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


@dataclass
class Got:
    """What arrived, and what is answered: `codes` to the next deliveries, then yes.

    Mails are (envelope's receivers, the text as it was sent); posts are (headers, JSON).
    """

    mails: list[tuple[list[str], str]] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    posts: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)

    def next_code(self, yes: int) -> int:
        return self.codes.pop(0) if self.codes else yes


@contextmanager
def mail_server(port: int = 0, trust: ssl.SSLContext | None = None, password: str = "") -> Iterator[tuple[int, Got]]:
    """An SMTP server as far as a client needs one; with `trust` it offers STARTTLS and wants a login after it."""
    got = Got()

    class Session(socketserver.StreamRequestHandler):
        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

        def handle(self) -> None:
            receivers: list[str] = []
            self.say("220 here")
            while line := self.rfile.readline():
                word = line.decode().split(" ")[0].strip().upper()
                if word == "EHLO":
                    is_tls = isinstance(self.connection, ssl.SSLSocket)
                    more = ["250-AUTH PLAIN"] if is_tls else ["250-STARTTLS"] if trust else []
                    self.wfile.write("".join(f"{text}\r\n" for text in ["250-here", *more, "250 8BITMIME"]).encode())
                elif word == "STARTTLS" and trust:
                    self.say("220 go on")
                    self.connection = trust.wrap_socket(self.connection, server_side=True)
                    self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)
                elif word == "AUTH":
                    told = base64.b64decode(line.decode().split(" ")[2]).decode()
                    got.logins.append(told)
                    self.say("235 welcome" if told.endswith(f"\0{password}") else f"535 {told!r} is not known")
                elif word == "RCPT":
                    receivers.append(line.decode().partition("<")[2].partition(">")[0])
                    self.say("250 yes")
                elif word == "DATA":
                    self.say("354 go on")
                    text = b""
                    while (part := self.rfile.readline()) != b".\r\n":
                        text += part[1:] if part.startswith(b".") else part
                    code = got.next_code(250)
                    if code == 250:
                        got.mails.append((receivers, text.decode()))
                    receivers = []
                    self.say(f"{code} that is it")
                elif word == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 yes")

    with _serving(socketserver.ThreadingTCPServer, port, Session) as taken:
        yield taken, got


@contextmanager
def webhook(port: int = 0) -> Iterator[tuple[int, Got]]:
    """An address that takes JSON; of the codes it answers, 302 leads to itself."""
    got = Got()

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            code = got.next_code(204)
            if code == 204:
                got.posts.append((dict(self.headers), body))
            self.send_response(code)
            if code == 302:
                self.send_header("Location", f"http://127.0.0.1:{self.server.server_address[1]}/elsewhere")
            self.end_headers()

        def do_GET(self) -> None:
            got.posts.append((dict(self.headers), {"method": "GET"}))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *told: Any) -> None:
            """Nothing on standard error."""

    with _serving(HTTPServer, port, Answer) as taken:
        yield taken, got


@contextmanager
def _serving(kind: Any, port: int, handler: type) -> Iterator[int]:
    class Quiet(kind):  # type: ignore[misc]
        allow_reuse_address = True
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that hangs up, as one that does not trust us does, is no fault of ours."""

    with Quiet(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
