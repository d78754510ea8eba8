"""`/healthz`, `/status` and `/metrics`, over real sockets."""

import asyncio
import json

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families
from support.admin_state import a_state
from support.waiting import PATIENCE_SECONDS

from gateway.admin.api import FRESH_SECONDS, PROBLEMS_SHOWN, StateDesk, make_app
from gateway.errors import OperationError


async def never(address, asked_by):
    raise AssertionError(address, asked_by)


def ask(path, state):
    async def source():
        if isinstance(state, Exception):
            raise state
        return state

    async def dialogue():
        async with TestClient(TestServer(make_app("127.0.0.1", source, never))) as client:
            answer = await client.get(path)
            return answer.status, answer.headers["Content-Type"], await answer.text()

    return asyncio.run(asyncio.wait_for(dialogue(), PATIENCE_SECONDS))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (200, "ok\n")),
        (
            {"outages": ["mail: a.crl has ended; publish a new one", "b\x1b[2J\nc"]},
            (200, "ok\nproblem: mail: a.crl has ended; publish a new one\nproblem: b?[2J?c\n"),
        ),
        ({"is_serving": False, "outages": ["a"]}, (503, "no worker answers\n")),
        ({"is_serving": False, "is_stopping": True}, (503, "the gateway is stopping\n")),
    ],
)
def test_health_is_whether_somebody_serves(changes, expected):
    status, _, body = ask("/healthz", a_state(**changes))
    assert (status, body) == expected


def test_health_names_only_so_many_problems():
    _, _, body = ask("/healthz", a_state(outages=[f"list {number}" for number in range(PROBLEMS_SHOWN + 1)]))
    lines = body.splitlines()
    assert len(lines) == 1 + PROBLEMS_SHOWN + 1
    assert lines[-1] == "problem: 1 more; /status lists all"


def test_status_is_the_state_as_json():
    status, content_type, body = ask("/status", a_state())
    assert (status, content_type) == (200, "application/json")
    assert json.loads(body) == a_state()


def test_metrics_are_what_prometheus_reads():
    status, content_type, body = ask("/metrics", a_state())
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "gateway_requests" in {family.name for family in text_string_to_metric_families(body)}


@pytest.mark.parametrize("path", ["/healthz", "/status", "/metrics"])
def test_a_master_that_does_not_answer_is_503_with_the_cause(path):
    status, _, body = ask(path, OperationError("the master hangs", "restart it"))
    assert (status, body) == (503, "the master hangs; restart it\n")


class Master:
    """Answers when told to, and counts how often it was asked."""

    def __init__(self, outcome):
        self.outcome = outcome
        self.asked = 0
        self.answers = asyncio.Event()

    async def state(self):
        self.asked += 1
        await self.answers.wait()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def test_all_who_wait_share_one_question_and_soon_after_nobody_asks_again():
    async def dialogue():
        now = [100.0]
        master = Master(a_state())
        desk = StateDesk(master.state, lambda: now[0])
        waiting = [asyncio.ensure_future(desk.state()) for _ in range(50)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        master.answers.set()
        assert await asyncio.gather(*waiting) == [a_state()] * 50
        assert master.asked == 1
        now[0] += FRESH_SECONDS * 0.99
        await desk.state()
        assert master.asked == 1
        now[0] += FRESH_SECONDS * 0.02
        await desk.state()
        assert master.asked == 2

    asyncio.run(asyncio.wait_for(dialogue(), PATIENCE_SECONDS))


def test_a_failure_is_shared_too_and_forgotten_as_soon():
    async def dialogue():
        now = [100.0]
        master = Master(OperationError("no", "wait"))
        desk = StateDesk(master.state, lambda: now[0])
        master.answers.set()
        outcomes = await asyncio.gather(*(desk.state() for _ in range(3)), return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["no"] * 3
        assert master.asked == 1
        master.outcome = a_state()
        now[0] += FRESH_SECONDS
        assert await desk.state() == a_state()

    asyncio.run(asyncio.wait_for(dialogue(), PATIENCE_SECONDS))


def test_one_who_goes_away_takes_the_answer_from_nobody():
    async def dialogue():
        master = Master(a_state())
        desk = StateDesk(master.state)
        first, second = asyncio.ensure_future(desk.state()), asyncio.ensure_future(desk.state())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        master.answers.set()
        assert await second == a_state()
        assert (first.cancelled(), master.asked) == (True, 1)

    asyncio.run(asyncio.wait_for(dialogue(), PATIENCE_SECONDS))
