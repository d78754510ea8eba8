"""A request that waits before its exchange: for its certificate's OCSP status, or because of the request rate.

Keeps true: meanwhile, data from the client is held up to the connection's limit, and other clients are
served. The wait ends with the awaited event, when the client leaves, or at its deadline, whichever is first.
"""

from __future__ import annotations

import asyncio
from typing import Final

from gateway import clock
from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http.fields import Fields
from gateway.http.http1 import RequestHead
from gateway.logs.record import AccessRecord
from gateway.proxy.limits.rates import Requests
from gateway.proxy.ports import Downstream
from gateway.proxy.upstream.connection import UpstreamConnection

# The OCSP request has its own, shorter limit; this one always applies.
WAIT_SECONDS: Final = 15.0


class Wait:
    """A waiting request, in the place of its exchange."""

    __slots__ = ("_client", "_is_over", "head", "record")

    takes_body = False
    bytes_out = 0

    def __init__(self, client: Downstream[UpstreamConnection], head: RequestHead, record: AccessRecord) -> None:
        self._client = client
        self._is_over = False
        self.head = head
        self.record = record

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.record.method} {self.record.uri!r}>"

    def go_on(self) -> None:
        """End the wait and judge the request."""
        if not self._is_over:
            self._client.catch_up()  # this may refuse the request and so end the wait
        if self._leave():
            self._client.waited(self)

    def request_data(self, data: bytes) -> bytes:
        """Take no bytes: return them all."""
        return data

    def request_end(self, trailers: Fields) -> None:
        """Do nothing: the work that takes the body is told."""

    def client_eof(self) -> bool:
        """The client sends no more, but waits for the answer."""
        return True

    def _leave(self) -> bool:
        """End the wait; True if it was still waiting."""
        was_over, self._is_over = self._is_over, True
        return not was_over

    def fail(self, error: RequestError) -> None:
        """End the wait and refuse the request."""
        if self._leave():
            self._client.refuse_exchange(error, self.head, self.record)

    def client_gone(self) -> None:
        """The client left: end the wait and log the request."""
        if self._leave():
            self._client.log(self.record)

    def on_deadline(self) -> None:
        """The deadline has passed."""
        raise NotImplementedError

    def pause_response(self) -> None:
        """Do nothing: there is no answer yet."""

    def resume_response(self) -> None:
        """Do nothing: there is no answer yet."""


class StatusWait(Wait):
    """Waits for the OCSP status of the client's certificate. The OCSP request continues if the client leaves."""

    __slots__ = ()

    def start(self, question: asyncio.Task[None]) -> None:
        """Wait until the OCSP request has ended."""
        self._client.deadline = clock.monotonic_seconds() + WAIT_SECONDS
        question.add_done_callback(lambda _: self.go_on())

    def on_deadline(self) -> None:
        """Refuse the request: the OCSP answer did not arrive in time."""
        self.fail(RequestError(Reason.REVOCATION_UNKNOWN, f"no answer about the certificate within {WAIT_SECONDS:g} s"))


class RateWait(Wait):
    """Waits until the client's request rate allows this request (`limits.requests_per_second_per_ip`)."""

    __slots__ = ("_requests", "_timer")

    def start(self, loop: asyncio.AbstractEventLoop, requests: Requests, seconds: float) -> None:
        """Wait for `seconds`. Each connection has at most one waiting request, which limits their number.

        `requests`: the bucket that counted this request. If the client leaves, the request is withdrawn from it:
        otherwise clients that leave repeatedly would make others behind the same address wait longer and longer.
        """
        self._client.deadline = float("inf")
        self._requests: Requests | None = requests
        self._timer = loop.call_later(seconds, self._pass)

    def _pass(self) -> None:
        self._requests = None
        self.go_on()

    def _leave(self) -> bool:
        self._timer.cancel()
        if self._requests is not None:
            self._requests.withdraw()
            self._requests = None
        return super()._leave()

    def on_deadline(self) -> None:
        """Do nothing: the deadline was set by other code, and the timer continues."""
