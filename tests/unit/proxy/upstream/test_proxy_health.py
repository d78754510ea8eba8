"""Which servers are asked: what the checks say, and what connecting has taught."""

import pytest
from support.dialogue import get, header, response

from gateway.config.model import Health
from gateway.proxy.upstream.dial import ExhaustedError
from gateway.proxy.upstream.health import MAX_STATUS_LINE_BYTES, PASSIVE_FALL, PASSIVE_SECONDS, Condition

HEALTH = Health(path="/alive", interval_seconds=10, timeout_seconds=3, rise=2, fall=3)
CHECKED = {"servers": ["http://10.0.0.5:8080"], "health": {"path": "/alive"}}


# what is known of one server


def test_a_server_is_believed_in_until_it_failed_often_enough():
    condition = Condition()
    assert [condition.checked("no", HEALTH) for _ in range(3)] == [False, False, True]
    assert not condition.may_be_asked(0)
    assert repr(condition) == "<Condition down: no>"


def test_it_comes_back_when_it_passed_often_enough():
    condition = Condition()
    for _ in range(3):
        condition.checked("no", HEALTH)
    assert [condition.checked(None, HEALTH) for _ in range(2)] == [False, True]
    assert condition.cause is None
    assert condition.may_be_asked(0)


def test_failures_and_passes_count_in_a_row():
    condition = Condition()
    for cause in ("no", "no", None, "no", "no"):
        assert condition.checked(cause, HEALTH) is False
    assert condition.checked("no", HEALTH) is True
    for cause in (None, "no", None):
        assert condition.checked(cause, HEALTH) is False
    assert condition.checked(None, HEALTH) is True


@pytest.mark.parametrize("is_checked", [False, True])
def test_connecting_teaches(is_checked):
    condition = Condition()
    if is_checked:
        condition.checked(None, HEALTH)
    for _ in range(PASSIVE_FALL - 1):
        assert not condition.unreachable(100.0, "refused")
        assert condition.may_be_asked(100.0)
    assert condition.unreachable(100.0, "refused")
    assert not condition.unreachable(100.0, "refused")  # that was known
    assert not condition.may_be_asked(100.0 + PASSIVE_SECONDS - 0.1)
    assert condition.may_be_asked(100.0 + PASSIVE_SECONDS)
    assert condition.connected()
    assert not condition.connected()
    assert condition.may_be_asked(100.0)
    assert condition.cause == ("refused" if is_checked else None)  # the checks will say more
    condition.checked(None, HEALTH)
    condition.checked(None, HEALTH)
    assert condition.cause is None


def test_one_request_tries_a_server_that_was_passed_over():
    condition = Condition()
    condition.tried(100.0)
    assert condition.may_be_asked(100.0)  # nothing speaks against it
    for _ in range(PASSIVE_FALL):
        condition.unreachable(100.0, "refused")
    later = 100.0 + PASSIVE_SECONDS
    condition.tried(later)
    assert not condition.may_be_asked(later)
    assert condition.may_be_asked(later + PASSIVE_SECONDS)  # whoever tried has gone, perhaps


def test_what_connecting_has_taught_is_forgotten_when_the_checks_bring_it_back():
    condition = Condition()
    for _ in range(PASSIVE_FALL):
        condition.unreachable(100.0, "refused")
    for _ in range(HEALTH.rise):
        condition.checked(None, HEALTH)
    assert not condition.may_be_asked(100.0)
    assert condition.cause == "refused"  # for the status: why it is passed over
    for _ in range(HEALTH.fall):
        condition.checked("no", HEALTH)
    for _ in range(HEALTH.rise):
        condition.checked(None, HEALTH)
    assert condition.may_be_asked(100.0)
    assert condition.cause is None


# asking


@pytest.fixture
def checked(make_world):
    return make_world(upstreams={"mail": CHECKED})


def answer(world, data):
    """Answer one check; what the gateway has asked."""
    end = world.accepts()
    asked = end.hears()
    end.says(data)
    assert end.is_lost
    world.passes(10)
    return asked


def condition(world):
    return world.service.pools.by_name["mail"].servers[0].condition


def test_what_is_asked(checked):
    assert answer(checked, b"HTTP/1.1 200 OK\r\n") == (
        b"GET /alive HTTP/1.1\r\nHost: 10.0.0.5:8080\r\nUser-Agent: gateway-health\r\nConnection: close\r\n\r\n"
    )
    assert condition(checked).is_checked
    assert len(checked.dials) == 1  # the next one, ten seconds later


@pytest.mark.parametrize(
    ("url", "host"),
    [("http://mail.lan", b"mail.lan"), ("http://[fd00::5]", b"[fd00::5]"), ("http://[::1]:8", b"[::1]:8")],
)
def test_a_server_is_asked_under_its_own_name(make_world, url, host):
    """Brackets, and a port that is not the scheme's, as RFC 9110 7.2 has them."""
    world = make_world(upstreams={"mail": CHECKED | {"servers": [url]}}, is_started=False)
    world.dns.says("mail.lan", "10.0.0.5")
    world.starts()
    assert b"\r\nHost: %b\r\n" % host in answer(world, b"HTTP/1.1 200 OK\r\n")


def test_the_upstreams_own_host_is_asked_for(make_world):
    world = make_world(upstreams={"mail": CHECKED | {"host": "mail.internal"}})
    assert b"Host: mail.internal\r\n" in answer(world, b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"HTTP/1.1 200 OK\r\n", None),
        (b"HTTP/1.0 401 Unauthorized\r\n", None),
        (b"HTTP/1.1 499 \r\n", None),
        (b"HTTP/1.1 500 Internal Server Error\r\n", "status 500"),
        (b"HTTP/1.1 503\r\n", "status 503"),
        (b"220 mail ESMTP\r\n", "the answer is not HTTP/1.1"),
        (b"HTTP/2 200\r\n", "the answer is not HTTP/1.1"),
        (b"\n", "the answer is not HTTP/1.1"),
    ],
)
def test_anything_below_500_is_well(checked, data, cause):
    answer(checked, data)
    assert condition(checked).cause == cause


def test_an_answer_without_end_is_ill(checked):
    longest = b"HTTP/1.1 200 " + b"x" * (MAX_STATUS_LINE_BYTES - 13)
    answer(checked, longest + b"\n")
    assert condition(checked).cause is None
    end = checked.accepts()
    end.says(longest + b"x")
    assert end.is_lost
    assert condition(checked).cause == f"the answer's first line is longer than {MAX_STATUS_LINE_BYTES} bytes"


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 2"])
def test_an_answer_that_breaks_off_is_ill(checked, said):
    end = checked.accepts()
    end.says(said)
    end.closes()
    assert condition(checked).cause == "the server closed the connection before it answered"


def test_a_server_that_is_silent_is_ill(checked):
    end = checked.accepts()
    checked.passes(4)
    assert end.is_lost
    assert condition(checked).cause == "no answer within 3 s"


def test_whatever_fails_the_next_check_is_made(checked):
    checked.refuses(RuntimeError("File descriptor 9 is used by transport"))
    assert condition(checked).cause == "File descriptor 9 is used by transport"
    checked.passes(10)
    answer(checked, b"HTTP/1.1 200 OK\r\n")
    assert condition(checked).is_up


def test_a_check_that_had_no_socket_says_nothing_of_the_server(checked):
    for _ in range(3):
        checked.refuses(ExhaustedError("no socket is left"))
        checked.passes(10)
    assert not condition(checked).is_checked
    answer(checked, b"HTTP/1.1 200 OK\r\n")
    assert condition(checked).is_up


def test_a_server_that_goes_down_and_comes_back(checked):
    for _ in range(3):
        checked.refuses()
        checked.passes(10)
    assert checked.errors.found == ["http://10.0.0.5:8080 is down: Connection refused"]
    checked.errors.found.clear()
    client = checked.client()
    client.says(get())
    assert header(client.hears(), "X-Gateway-Reason") == "no_healthy_upstream"
    answer(checked, b"HTTP/1.1 200 OK\r\n")
    answer(checked, b"HTTP/1.1 200 OK\r\n")
    check = checked.dials.pop(0)
    client.says(get())
    checked.accepts().says(response(body=b"back"))
    assert client.hears().endswith(b"back")
    check.answer.cancel()


def test_a_handshake_that_fails_is_ill_and_closes_the_socket(checked, monkeypatch):
    async def fail(*_, **__):
        raise ConnectionResetError("handshake")

    dial = checked.dials[0]
    closed = []
    dial.close = lambda: closed.append(dial)
    monkeypatch.setattr(checked.loop, "create_connection", fail)
    checked.does(dial.answer.set_result, None)
    assert condition(checked).cause == "handshake"
    assert closed == [dial]


def test_an_upstream_that_takes_the_proxy_protocol_is_checked_in_it(make_world):
    world = make_world(upstreams={"mail": CHECKED | {"proxy_protocol": True}})
    assert world.dials[0].header.startswith(b"\r\n\r\n\x00\r\nQUIT\n\x20")


def test_a_reload_ends_the_old_checks_and_begins_its_own(files, checked):
    other = {"mail": CHECKED | {"servers": ["http://10.0.0.6:8080"]}}
    checked.does(checked.service.adopt, files.snapshot(upstreams=other))
    assert [dial.server.host for dial in checked.dials] == ["10.0.0.6"]
