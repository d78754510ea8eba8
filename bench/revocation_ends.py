"""The ends of `bench.revocation`: a mail server with Pings that wait, people's connections, and what is in the way."""

from __future__ import annotations

import contextlib
import http.client
import os
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from bench.certificates import HOST
from gateway.tls.client_context import client_context
from gateway.x509.loading import load_certificates

WEBMAIL = "/webmail"
PING = "/Microsoft-Server-ActiveSync?Cmd=Ping"
BETWEEN_SECONDS = 0.005  # two requests of a connection that asks again and again
WAIT_SECONDS = 30.0
PING_SECONDS = 600.0  # longer than any case
# Of a flood: more than a worker may have open, from enough addresses that no limit for one address keeps it out.
FLOOD_CONNECTIONS = 1_000
FLOOD_ADDRESSES = 20
# A gateway without a file left for a connection to the mail server answers 502, after it let the client in.
_LET_IN = (HTTPStatus.OK, HTTPStatus.BAD_GATEWAY)
_UTF8_STRING, _BIT_STRING = b"\x0c", b"\x03"


class MailServer(BaseHTTPRequestHandler):
    """Answers webmail at once, and a Ping when the measurement is over."""

    protocol_version = "HTTP/1.1"
    over = threading.Event()

    def do_GET(self) -> None:
        if self.path == PING:
            self.over.wait(PING_SECONDS)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing."""


class MailServers(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """The gateway hangs up on a Ping whose client is out; that is what is measured."""


class Connection:
    """A person's connection; the time when it was refused, once it was."""

    def __init__(self, folder: Path, person: str, port: int) -> None:
        own = folder / person
        context = client_context(load_certificates(folder / "ca.pem"))
        password = (own / f"{person}@example.com.password").read_text().strip()
        context.load_cert_chain(own / f"{person}@example.com.crt", own / f"{person}@example.com.key", password)
        self.http = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=PING_SECONDS)
        self.http.sock = context.wrap_socket(
            socket.create_connection(("127.0.0.1", port), PING_SECONDS), server_hostname=HOST
        )
        self.refused = 0.0

    def ask(self, path: str) -> int:
        self.http.request("GET", path, headers={"Host": HOST})
        answer = self.http.getresponse()
        answer.read()
        return answer.status

    def ask_until_refused(self, path: str) -> None:
        """Note the time of the refusal. A connection that ends otherwise was not refused."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            while (status := self.ask(path)) in _LET_IN:
                time.sleep(BETWEEN_SECONDS)
            if status == HTTPStatus.FORBIDDEN:
                self.refused = time.time()


class _Poison(BaseHTTPRequestHandler):
    """Serves a revocation list whose issuer's name is typed as a BIT STRING."""

    body = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing."""


@contextlib.contextmanager
def poisoned_url() -> Iterator[str]:
    """A URL whose list no reader of names survives unprepared."""
    now = datetime.now(UTC)
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Poison")])
    made = x509.CertificateRevocationListBuilder(issuer, now, now + timedelta(days=1))
    der = made.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.DER)
    _Poison.body = der.replace(_UTF8_STRING + b"\x06Poison", _BIT_STRING + b"\x06Poison")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Poison) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/poison.crl"
        server.shutdown()


@contextlib.contextmanager
def flood(port: int) -> Iterator[None]:
    """As many connections as there can be, each opened again when it is closed."""
    is_over = threading.Event()
    thread = threading.Thread(target=_flood, args=(port, is_over))
    thread.start()
    try:
        time.sleep(1.0)  # until all are there
        yield
    finally:
        is_over.set()
        thread.join()


def _flood(port: int, is_over: threading.Event) -> None:
    with selectors.DefaultSelector() as selector:
        opened = 0
        while not is_over.is_set():
            while len(selector.get_map()) < FLOOD_CONNECTIONS:
                connection = socket.socket()
                connection.bind((f"127.0.9.{opened % FLOOD_ADDRESSES + 1}", 0))
                connection.setblocking(False)
                connection.connect_ex(("127.0.0.1", port))
                selector.register(connection, selectors.EVENT_READ)
                opened += 1
            for key, _ in selector.select(0.05):
                with contextlib.suppress(OSError):
                    if os.read(key.fd, 4096):
                        continue
                selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
        for key in list(selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
