"""The six requests of the demo: the expected answer of each, how it is sent, and its curl command.

They are real: Python's own TLS and HTTP clients, from 127.0.0.1 (inside) or 127.0.0.2 (outside).
"""

from __future__ import annotations

import http.client
import shlex
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.errors import OperationError
from gateway.facts import Reason
from gateway.tls.client_context import client_context
from gateway.x509.loading import load_certificates

HOST: Final = "mail.example.com"
INSIDE: Final = "127.0.0.1"
OUTSIDE: Final = "127.0.0.2"
LISTEN: Final = "127.0.0.1"
# Loopback answers within milliseconds; busy machines need longer.
ANSWER_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, received or expected."""

    status: int
    reason: str | None = None

    def __str__(self) -> str:
        """The status, and the reason if there is one."""
        return f"{self.status} {self.reason}" if self.reason else str(self.status)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request and its expected answer."""

    title: str
    source: str
    path: str
    expected: Answer
    method: str = "GET"
    holder: str | None = None  # whose certificate is sent


ALICE: Final = "alice"
STRANGER: Final = "stranger"
_OK: Final = Answer(200)
ATTEMPTS: Final = (
    Attempt("Webmail from inside, no certificate", INSIDE, "/webmail", _OK),
    Attempt("Webmail from outside, no certificate", OUTSIDE, "/webmail", Answer(403, Reason.CERTIFICATE_MISSING)),
    Attempt("Webmail from outside, alice's certificate", OUTSIDE, "/webmail", _OK, holder=ALICE),
    Attempt(
        "ActiveSync from outside, alice's certificate",
        OUTSIDE,
        "/Microsoft-Server-ActiveSync",
        _OK,
        method="OPTIONS",
        holder=ALICE,
    ),
    Attempt(
        "Webmail from outside, another CA's certificate",
        OUTSIDE,
        "/webmail",
        Answer(403, Reason.CERTIFICATE_UNTRUSTED),
        holder=STRANGER,
    ),
    Attempt(
        "Another path from outside, alice's certificate",
        OUTSIDE,
        "/admin",
        Answer(403, Reason.DENIED_BY_RULE),
        holder=ALICE,
    ),
)


@dataclass(frozen=True, slots=True)
class Place:
    """The demo's folder, the gateway's port and the password of the .p12 files."""

    folder: Path
    port: int
    password: str  # of the .p12 files

    @property
    def ca(self) -> Path:
        """The authority that signed the gateway's own certificate."""
        return self.folder / "ca.pem"

    @property
    def config(self) -> Path:
        """The gateway's configuration."""
        return self.folder / "config.yaml"

    @property
    def log(self) -> Path:
        """The gateway's standard output and error."""
        return self.folder / "gateway.log"

    def p12(self, holder: str) -> Path:
        """A holder's certificate and key as one file."""
        return self.folder / f"{holder}.p12"

    def pem(self, holder: str) -> tuple[Path, Path]:
        """A holder's certificate and key."""
        return self.folder / f"{holder}.pem", self.folder / f"{holder}-key.pem"


def ask(attempt: Attempt, place: Place) -> Answer:
    """Send one request on a new connection. Raises `OperationError` if no answer comes."""
    context = client_context(load_certificates(place.ca))
    if attempt.holder:
        certificate, key = place.pem(attempt.holder)
        context.load_cert_chain(certificate, key)
    try:
        raw = socket.create_connection((LISTEN, place.port), ANSWER_SECONDS, source_address=(attempt.source, 0))
        with raw, context.wrap_socket(raw, server_hostname=HOST) as tls:
            connection = http.client.HTTPConnection(HOST, place.port)
            connection.sock = tls
            connection.request(attempt.method, attempt.path)
            answer = connection.getresponse()
            answer.read()
            return Answer(answer.status, answer.getheader("X-Gateway-Reason"))
    except (OSError, http.client.HTTPException) as error:
        raise OperationError(
            f"{attempt.title}: no answer from the gateway on {LISTEN}:{place.port}: {error}",
            f"Read the gateway's log: {place.log}",
        ) from error


def curl_line(attempt: Attempt, place: Place) -> str:
    """The same request for a shell."""
    words = ["curl", "-i", "--interface", attempt.source, "--resolve", f"{HOST}:{place.port}:{LISTEN}"]
    words += ["--cacert", str(place.ca)]
    if attempt.holder:
        words += ["--cert-type", "P12", "--cert", f"{place.p12(attempt.holder)}:{place.password}"]
    if attempt.method != "GET":
        words += ["--request", attempt.method]
    return shlex.join([*words, f"https://{HOST}:{place.port}{attempt.path}"])
