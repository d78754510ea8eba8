"""A request that waits, in the place of its exchange: for its certificate's status, or since its client asks too often.

What this module keeps true: while it waits, what the client sends on is held up to the connection's bound, and
everybody else is served; it ends by what it waits for, by the client's leaving or by its deadline, whichever is first.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from gateway import clock
from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http.http1 import RequestHead
from gateway.logs.record import AccessRecord
from gateway.proxy.rate import Requests

if TYPE_CHECKING:
    from gateway.proxy.connection import ClientConnection

# The question has its own, shorter limit; this one holds whatever becomes of it.
WAIT_SECONDS: Final = 15.0


class Wait:
    """Stands where the exchange will be."""

    __slots__ = ("_client", "_is_over", "head", "record")

    takes_body = False
    bytes_out = 0

    def __init__(self, client: ClientConnection, head: RequestHead, record: AccessRecord) -> None:
        self._client = client
        self._is_over = False
        self.head = head
        self.record = record

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.record.method} {self.record.uri!r}>"

    def go_on(self) -> None:
        """What it waited for is there."""
        if not self._is_over:
            self._client.catch_up()  # which may end the wait with a refusal
        if self._leave():
            self._client.waited(self)

    def request_data(self, data: bytes) -> bytes:
        """All of the client's bytes are still to be read."""
        return data

    def client_eof(self) -> bool:
        """The client has said all, and may wait for the answer."""
        return True

    def _leave(self) -> bool:
        """True where it was still waiting."""
        was_over, self._is_over = self._is_over, True
        return not was_over

    def fail(self, error: RequestError) -> None:
        """Refuse the request."""
        if self._leave():
            self._client.refuse_exchange(error, self.head, self.record)

    def client_gone(self) -> None:
        """The client doesn't wait any more."""
        if self._leave():
            self._client.log(self.record)

    def on_deadline(self) -> None:
        """It took too long."""
        raise NotImplementedError

    def pause_response(self) -> None:
        """There is no answer yet that could be too fast."""

    def resume_response(self) -> None:
        """The same."""


class StatusWait(Wait):
    """For the status of the client's certificate. The question goes on where the client leaves, for the next time."""

    __slots__ = ()

    def start(self, question: asyncio.Task[None]) -> None:
        """Wait for the question's end."""
        self._client.deadline = clock.monotonic_seconds() + WAIT_SECONDS
        question.add_done_callback(lambda _: self.go_on())

    def on_deadline(self) -> None:
        """The answer did not come."""
        self.fail(RequestError(Reason.REVOCATION_UNKNOWN, f"no answer about the certificate within {WAIT_SECONDS:g} s"))


class RateWait(Wait):
    """For the time when the client's rate of requests lets this one through (`limits.requests_per_second_per_ip`)."""

    __slots__ = ("_requests", "_timer")

    def start(self, loop: asyncio.AbstractEventLoop, requests: Requests, seconds: float) -> None:
        """Wait so long. One request of each of a client's connections waits, so their number bounds the time.

        `requests`: what has counted this one. If the client leaves before, it counts no more: else a client that asks
        and leaves again and again would make its neighbours behind the same address wait ever longer.
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
        """The client's own deadline was set anew by something else; the timer goes on."""
