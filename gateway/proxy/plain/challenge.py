"""Answers for a listener with `acme_webroot`: the challenges of an ACME client such as certbot.

Keeps true: only GET and HEAD of `/.well-known/acme-challenge/TOKEN` read a file. The worker does not wait for the disk:
if the file is not read in time, the answer is 503.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gateway import clock
from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http.acme import no_challenge, read_token
from gateway.http.date import date_field
from gateway.http.events import END, Data, Head, field
from gateway.http.http1 import RequestHead
from gateway.proxy.plain.acme_webroot import ChallengeReader
from gateway.proxy.plain.connection import PlainConnection

# A local disk answers within milliseconds; Let's Encrypt gives up after ten seconds.
READ_SECONDS: Final = 5.0


class Challenges:
    """Answers requests for challenges."""

    def __init__(self, reader: ChallengeReader, webroot: Path) -> None:
        self._reader = reader
        self._webroot = webroot

    def respond(self, connection: PlainConnection, head: RequestHead, rest: bytes) -> bool:  # noqa: ARG002 - it has no body
        """Start reading the challenge. Raises `RequestError`."""
        token = read_token(head.method, head.target)
        if token is None:
            return False
        ChallengeAnswer(connection, is_head=head.method == b"HEAD").start(self._reader, self._webroot, token)
        return True


class ChallengeAnswer:
    """The answer to a request whose file is being read."""

    __slots__ = ("_connection", "_is_head", "_reading", "_record")

    takes_body = False
    is_due = True

    def __init__(self, connection: PlainConnection, *, is_head: bool) -> None:
        self._connection = connection
        self._is_head = is_head

    def start(self, reader: ChallengeReader, webroot: Path, token: str) -> None:
        """Start reading. Raises `RequestError`."""
        self._reading = reader.read(webroot, token, self)
        self._record = self._connection.wait_for(self)
        self._connection.deadline = clock.monotonic_seconds() + READ_SECONDS

    def on_challenge(self, data: bytes | None) -> None:
        """Answer with the file's content; None: the challenge does not exist."""
        connection, record = self._connection, self._record
        if data is None:
            connection.refuse(no_challenge())
            return
        record.status = 200
        body = b"" if self._is_head else data
        record.bytes_out = len(body)
        fields = (
            *date_field(clock.unix_seconds()),
            *field(b"Content-Type", b"application/octet-stream"),
            *field(b"X-Content-Type-Options", b"nosniff"),
            *field(b"Cache-Control", b"no-store"),
            *field(b"Content-Length", b"%d" % len(data)),
            *field(b"X-Request-Id", f"{record.request_id}".encode("ascii")),
        )
        connection.send((Head(200, None, fields, is_sized=True, may_keep_alive=False), Data(body), END))
        connection.end(record)

    def on_data(self, data: bytes) -> None:
        """Do nothing: such a request has no body."""

    def on_resumed(self) -> None:
        """Do nothing: the answer is short."""

    def on_deadline(self) -> None:
        """Refuse: the file was not read in time."""
        self.drop()
        cause = f"the challenge could not be read within {READ_SECONDS:g} s"
        self._connection.refuse(RequestError(Reason.NO_HEALTHY_UPSTREAM, cause))

    def drop(self) -> None:
        """Ignore what is read: the connection has ended."""
        self._reading.drop()
