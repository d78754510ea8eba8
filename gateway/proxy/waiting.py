"""A request that waits for its certificate's status, in the place of its exchange.

What this module keeps true: while it waits, what the client sends on is held up to the connection's bound, and
everybody else is served; it ends by the answer, by the client's leaving or by its deadline, whichever is first.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from gateway import clock
from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http.http1 import RequestHead
from gateway.logs.record import AccessRecord

if TYPE_CHECKING:
    from gateway.proxy.connection import ClientConnection

# The question has its own, shorter limit; this one holds whatever becomes of it.
WAIT_SECONDS: Final = 15.0


class StatusWait:
    """Stands where the exchange will be."""

    __slots__ = ("_client", "_question", "head", "record")

    takes_body = False

    def __init__(
        self, client: ClientConnection, question: asyncio.Task[None], head: RequestHead, record: AccessRecord
    ) -> None:
        self._client = client
        self._question: asyncio.Task[None] | None = question
        self.head = head
        self.record = record

    def __repr__(self) -> str:
        return f"<StatusWait {self.record.method} {self.record.uri!r}>"

    def start(self) -> None:
        """Wait."""
        self._client.deadline = clock.monotonic_seconds() + WAIT_SECONDS
        if self._question is not None:
            self._question.add_done_callback(self._answered)

    def _answered(self, _: asyncio.Task[None]) -> None:
        if self._question is not None:
            self._client.catch_up()  # which may end the wait with a refusal
        if self._leave():
            self._client.status_known(self)

    def request_data(self, data: bytes) -> bytes:
        """All of the client's bytes are still to be read."""
        return data

    def client_eof(self) -> bool:
        """The client closed its side, and waits for nothing."""
        return False

    def _leave(self) -> bool:
        """True where it was still waiting."""
        question, self._question = self._question, None
        return question is not None

    def fail(self, error: RequestError) -> None:
        """Refuse the request."""
        if self._leave():
            self._client.refuse_exchange(error, self.head, self.record)

    def client_gone(self) -> None:
        """Nobody waits any more; the question goes on, for the next time."""
        if self._leave():
            self._client.log(self.record)

    def on_deadline(self) -> None:
        """The answer did not come."""
        self.fail(RequestError(Reason.REVOCATION_UNKNOWN, f"no answer on the certificate within {WAIT_SECONDS:g} s"))

    def pause_response(self) -> None:
        """There is no answer yet that could be too fast."""

    def resume_response(self) -> None:
        """The same."""
