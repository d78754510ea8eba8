"""Serves `/healthz`, `/status` and `/metrics`, and `/unban`, which is the only one that changes anything.

Keeps true: reading changes nothing; no answer is older than `FRESH_SECONDS`; the master is asked only once at a time,
however many clients ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

import orjson
from aiohttp import web

from gateway import clock, tasks
from gateway.admin import metrics
from gateway.admin.guard import guard
from gateway.admin.state import Lift, LiftAnswer, State, StateSource
from gateway.admin.unban import unban
from gateway.errors import OperationError

# Requests within this time get the same answer: a loop around curl must not keep the workers from their work.
FRESH_SECONDS: Final = 0.2
# Enough for an address and a name; only `/unban` takes a body.
MAX_BODY_BYTES: Final = 1024
# With many sites, one expired list makes many lines.
PROBLEMS_SHOWN: Final = 20
_NOT_SERVING: Final = 503


def make_app(bound_host: str, source: StateSource, lift: Lift) -> web.Application:
    """The application that listens on `bound_host` (an address; empty for every one)."""
    desk = StateDesk(source)
    app = web.Application(middlewares=[guard(bound_host)], client_max_size=MAX_BODY_BYTES)
    app.router.add_get("/healthz", _with_state(desk, _health))
    app.router.add_get("/status", _with_state(desk, _status))
    app.router.add_get("/metrics", _with_state(desk, _metrics))

    async def lift_and_forget(address: str, asked_by: str) -> LiftAnswer:
        answer = await lift(address, asked_by)
        desk.forget()  # the next request for the state shows the change
        return answer

    app.router.add_post("/unban", unban(lift_and_forget))
    return app


class StateDesk:
    """Gets the state from the master, with one question at a time; all waiting requests share its answer or failure."""

    def __init__(self, source: StateSource, monotonic_seconds: Callable[[], float] = clock.monotonic_seconds) -> None:
        self._source = source
        self._monotonic_seconds = monotonic_seconds
        self._question: asyncio.Task[State | OperationError] | None = None
        self._until_seconds = 0.0

    async def state(self) -> State:
        """The state. Raises `OperationError` if the master does not answer."""
        question = self._question
        if question is None or (question.done() and self._monotonic_seconds() >= self._until_seconds):
            self._question = question = tasks.spawn(self._ask(), name="ask the master")
        outcome = await asyncio.shield(question)  # a client that disconnects doesn't cancel it for the others
        if isinstance(outcome, OperationError):
            raise OperationError(outcome.cause, outcome.remedy) from outcome
        return outcome

    def forget(self) -> None:
        """Drop the answer, because the state has changed; the next request gets a new one."""
        self._question = None

    async def _ask(self) -> State | OperationError:
        outcome: State | OperationError
        try:
            outcome = await self._source()
        except OperationError as error:
            outcome = error
        self._until_seconds = self._monotonic_seconds() + FRESH_SECONDS
        return outcome


def _with_state(
    desk: StateDesk, answer: Callable[[State], web.Response]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(_request: web.Request) -> web.Response:
        try:
            state = await desk.state()
        except OperationError as error:
            return web.Response(status=_NOT_SERVING, text=f"{error.cause}; {error.remedy}\n")
        return answer(state)

    return handle


def _health(state: State) -> web.Response:
    """200 while a worker serves: for load balancers and orchestrators.

    Outages are listed, but don't change the status: they are the same on all nodes, so a balancer would remove every
    node, and would cut off the clients that need no certificate too.
    """
    if state["is_serving"]:
        return web.Response(text="".join(f"{line}\n" for line in ("ok", *_problems(state["outages"]))))
    cause = "the gateway is stopping" if state["is_stopping"] else "no worker answers"
    return web.Response(status=_NOT_SERVING, text=f"{cause}\n")


def _problems(outages: Sequence[str]) -> Iterator[str]:
    """One line each; characters that aren't printable are replaced."""
    for outage in outages[:PROBLEMS_SHOWN]:
        yield "problem: " + "".join(letter if letter.isprintable() else "?" for letter in outage)
    if (more := len(outages) - PROBLEMS_SHOWN) > 0:
        yield f"problem: {more:,} more; /status lists all"


def _status(state: State) -> web.Response:
    return web.Response(body=orjson.dumps(state), content_type="application/json")


def _metrics(state: State) -> web.Response:
    return web.Response(body=metrics.render(state), headers={"Content-Type": metrics.CONTENT_TYPE})
