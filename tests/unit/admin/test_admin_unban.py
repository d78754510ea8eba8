"""Lifting a lockout: what a program on this machine may, and no web page."""

import asyncio
import json

import pytest
from aiohttp import ClientSession, TCPConnector
from aiohttp.test_utils import TestServer
from support.admin_state import a_state
from support.waiting import PATIENCE_SECONDS

from gateway.admin import unban
from gateway.admin.api import make_app
from gateway.admin.unban import MAX_ADDRESS_CHARACTERS, MAX_NAME_CHARACTERS
from gateway.errors import OperationError

BODY = {"address": "203.0.113.9", "by": "root"}
PROGRAM = {"X-Gateway-Command": "unban", "Content-Type": "application/json"}
HOST = "127.0.0.1:9444"


class Master:
    """Notes what it was asked to do."""

    def __init__(self, outcome="lifted"):
        self.outcome = outcome
        self.lifted = []
        self.asked = 0

    async def state(self):
        self.asked += 1
        return a_state()

    async def lift(self, address, asked_by):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        self.lifted.append((address, asked_by))
        return {"address": address, "outcome": self.outcome}


def run(dialogue, master, host="127.0.0.1", source="127.0.0.1"):
    async def both():
        server = TestServer(make_app(host, master.state, master.lift), host=host)
        async with server, ClientSession(connector=TCPConnector(local_addr=(source, 0))) as session:
            return await dialogue(session, server)

    return asyncio.run(asyncio.wait_for(both(), PATIENCE_SECONDS))


def post(master, body=BODY, *, headers=PROGRAM, method="POST", host="127.0.0.1", source="127.0.0.1", **more):
    """(status, body, headers) of the answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def dialogue(session, server):
        fields = {"Host": HOST.replace("127.0.0.1", host), **headers, **more}
        async with session.request(method, server.make_url("/unban"), data=data, headers=fields) as answer:
            return answer.status, await answer.text(), answer.headers

    return run(dialogue, master, host, source)


def test_a_program_on_this_machine_lets_an_address_in():
    master = Master()
    status, body, _ = post(master)
    assert (status, json.loads(body)) == (200, {"address": "203.0.113.9", "outcome": "lifted"})
    assert master.lifted == [("203.0.113.9", "'root' at 127.0.0.1")]


@pytest.mark.parametrize(("outcome", "status"), [("not_locked_out", 404), ("off", 404), ("no_address", 400)])
def test_what_could_not_be_done_is_said(outcome, status):
    found, body, _ = post(Master(outcome))
    assert (found, json.loads(body)["outcome"]) == (status, outcome)


def test_a_master_that_says_nothing_is_503():
    status, body, _ = post(Master(OperationError("the master hangs", "restart it")))
    assert (status, body) == (503, "the master hangs; restart it\n")


def test_who_looks_next_sees_what_was_done():
    master = Master()

    async def dialogue(session, server):
        for _ in range(2):
            async with session.get(server.make_url("/status"), headers={"Host": HOST}) as answer:
                assert answer.status == 200
            url = server.make_url("/unban")
            async with session.post(url, json=BODY, headers={**PROGRAM, "Host": HOST}) as answer:
                assert answer.status == 200

    run(dialogue, master)
    assert master.asked == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        {"address": "203.0.113.9"},
        {"address": 9, "by": "root"},
        {"address": "203.0.113.9", "by": None},
        {**BODY, "more": 1},
        {"address": "9" * (MAX_ADDRESS_CHARACTERS + 1), "by": "root"},
    ],
)
def test_what_is_no_request_is_refused(body):
    master = Master()
    assert post(master, body)[0] == 400
    assert master.lifted == []


def test_a_body_that_is_too_long_is_not_read():
    master = Master()
    assert post(master, {**BODY, "by": "x" * 2000})[0] == 413
    assert master.lifted == []


def test_a_name_is_for_the_log_and_bounded():
    master = Master()
    post(master, {**BODY, "by": "line\nbreak" + "x" * 100})
    ((_, asked_by),) = master.lifted
    assert asked_by == f"{('line' + chr(10) + 'break' + 'x' * 100)[:MAX_NAME_CHARACTERS]!r} at 127.0.0.1"
    assert "\n" not in asked_by


# web pages


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        # What forms and "no-cors" requests of any page can send.
        ({"Content-Type": "application/x-www-form-urlencoded"}, 403),
        ({"Content-Type": "text/plain"}, 403),
        ({"Content-Type": "application/json"}, 403),
        ({**PROGRAM, "Content-Type": "text/plain"}, 415),
        ({**PROGRAM, "X-Gateway-Command": "other"}, 403),
        # What a browser says of where a request comes from, should it ever let one with our headers out.
        ({**PROGRAM, "Origin": "https://evil.example"}, 403),
        ({**PROGRAM, "Origin": "null"}, 403),
        ({**PROGRAM, "Origin": f"https://{HOST}"}, 403),
        ({**PROGRAM, "Origin": "http://127.0.0.1:9445"}, 403),
        ({**PROGRAM, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}, 403),
        ({**PROGRAM, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403),
        ({**PROGRAM, "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        # DNS rebinding: to the browser it is the same origin.
        ({**PROGRAM, "Host": "evil.example:9444", "Origin": "http://evil.example:9444"}, 403),
    ],
)
def test_no_web_page_can(headers, status):
    master = Master()
    assert post(master, headers=headers)[0] == status
    assert master.lifted == []


def test_a_page_that_asks_whether_it_may_gets_no_permission():
    """The preflight that a browser sends before a request with such headers."""
    asking = {
        "Origin": "https://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-gateway-command",
    }
    status, _, headers = post(Master(), b"", method="OPTIONS", headers=asking)
    assert status == 405
    assert not [name for name in headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_only_a_post_changes_anything(method):
    master = Master()
    assert post(master, b"", method=method)[0] == 405
    assert master.lifted == []


# whoever comes over the network


class FakeTransport:
    def __init__(self, peer, ours):
        self._names = {"peername": peer, "sockname": ours}

    def get_extra_info(self, name):
        return self._names[name]


@pytest.mark.parametrize(
    ("peer", "ours", "is_local"),
    [
        (("127.0.0.9", 1), ("127.0.0.1", 9444), True),
        (("::1", 1, 0, 0), ("::1", 9444, 0, 0), True),
        (("::ffff:127.0.0.1", 1, 0, 0), ("::ffff:127.0.0.1", 9444, 0, 0), True),
        (("10.0.0.2", 1), ("10.0.0.2", 9444), True),
        (("10.0.0.3", 1), ("10.0.0.2", 9444), False),
        (("fd00::3", 1, 0, 0), ("fd00::2", 9444, 0, 0), False),
    ],
)
def test_both_ends_are_on_this_machine(peer, ours, is_local):
    class Request:
        transport = FakeTransport(peer, ours)

    assert unban._is_local(Request()) is is_local


def test_who_has_gone_is_nowhere():
    class Request:
        transport = None

    assert not unban._is_local(Request())


def test_from_elsewhere_it_can_only_be_read(monkeypatch):
    monkeypatch.setattr(unban, "_is_local", lambda _: False)
    master = Master()
    status, body, _ = post(master)
    assert status == 403
    assert body.startswith("only the gateway's own machine may change this; ")
    assert master.lifted == []
