"""A connection to a listener with `acme_webroot`: serves challenges of an ACME client such as certbot, and redirects.

Keeps true: only GET and HEAD of `/.well-known/acme-challenge/TOKEN` read a file. The worker does not wait for the disk:
if the file is not read in time, the answer is 503.
"""

from __future__ import annotations

from typing import Final, cast

from gateway import clock
from gateway.config.model import Listener
from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http.acme import no_challenge, read_token
from gateway.http.date import date_field
from gateway.http.events import END, Data, Head, field
from gateway.http.http1 import RequestHead
from gateway.logs.record import AccessRecord
from gateway.proxy.plain.acme_webroot import Reading
from gateway.proxy.plain.redirect import RedirectConnection
from gateway.proxy.records import finish_record
from gateway.proxy.service import Service

# A local disk answers within milliseconds; Let's Encrypt gives up after ten seconds.
READ_SECONDS: Final = 5.0


class ChallengeConnection(RedirectConnection):
    """One plain HTTP connection with one answer, which may be sent later."""

    __slots__ = ("_head", "_reading", "_record")

    def __init__(self, service: Service, listener: Listener) -> None:
        super().__init__(service, listener)
        self._head: RequestHead
        self._record: AccessRecord | None = None  # of a request that is not answered yet
        self._reading: Reading | None = None

    def on_request(self, head: RequestHead, rest: bytes) -> None:
        """Answer the request, or start reading the challenge. Raises `RequestError`."""
        webroot = self._listener.acme_webroot
        token = None if webroot is None else read_token(head.method, head.target)
        if webroot is None or token is None:
            super().on_request(head, rest)
            return
        self._reading = self._service.challenges.read(webroot, token, self)
        self._head = head
        self._record = self.begin(head)
        self.deadline = clock.monotonic_seconds() + READ_SECONDS

    def on_challenge(self, data: bytes | None) -> None:
        """Answer with the file's content; None: the challenge does not exist."""
        self._reading = None
        if data is None:
            self.refuse(self._head, no_challenge())
            return
        record, self._record = cast("AccessRecord", self._record), None
        record.status = 200
        body = b"" if self._head.method == b"HEAD" else data
        record.bytes_out = len(body)
        fields = (
            *date_field(clock.unix_seconds()),
            *field(b"Content-Type", b"application/octet-stream"),
            *field(b"X-Content-Type-Options", b"nosniff"),
            *field(b"Cache-Control", b"no-store"),
            *field(b"Content-Length", b"%d" % len(data)),
            *field(b"X-Request-Id", f"{record.request_id}".encode("ascii")),
        )
        self.send((Head(200, None, fields, is_sized=True, may_keep_alive=False), Data(body), END))
        self.end(record)

    def refuse(self, head: RequestHead | None, error: RequestError, record: AccessRecord | None = None) -> None:
        """Answer with a refusal."""
        record, self._record = record or self._record, None
        super().refuse(head, error, record)

    # the end

    def on_deadline(self) -> None:
        """End the connection: request or file did not arrive in time, or the client did not read the answer."""
        if self._reading is None:
            super().on_deadline()
            return
        self._drop_reading()
        cause = f"the challenge could not be read within {READ_SECONDS:g} s"
        self.refuse(self._head, RequestError(Reason.NO_HEALTHY_UPSTREAM, cause))

    def eof_received(self) -> bool:
        """The client sends no more; True if an answer is still due."""
        return self._reading is not None

    def connection_lost(self, exc: Exception | None) -> None:
        """The client's connection is closed."""
        self._drop_reading()
        record, self._record = self._record, None
        if record is not None:
            finish_record(record)
            self._service.log(record)
        super().connection_lost(exc)

    def _drop_reading(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.drop()

    def drain(self) -> None:
        """Close, unless an answer is still due."""
        if self._record is None:
            super().drain()
