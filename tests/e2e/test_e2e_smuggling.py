"""No payload makes a server see a request that the gateway did not log: before nginx, Apache httpd and aiohttp.

The servers' own logs say what they saw. Each request there has to be one in the gateway's log, by its id, method and
target; and whoever comes next on the same connection to the server gets the answer to what they asked.
"""

from __future__ import annotations

import contextlib
import ssl

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.client import Client, context_for
from support.gateway import HOST, settings_for
from support.http1_stream import Stream, golden, written
from support.http2_client import SETTINGS
from support.http2_downgrade import translated
from support.http2_wire import Wire, h2_context
from support.logging_servers import LoggingApache, LoggingNginx, LoggingPython, Seen
from support.naive_proxy import NaiveProxy
from support.smuggling import DENIED, Attacker, Payload, is_denied, unaccounted
from support.waiting import until

from gateway.http.http2_frames import DATA, END_STREAM, GOAWAY, MAX_FRAME_BYTES, frame, window_update_frame

pytestmark = pytest.mark.e2e

PAYLOADS = [
    *(Payload(name, written(text), outcome) for name, outcome, text in golden("smuggling_requests.txt", 3)),
    *(Payload(name, written(text), outcome) for name, _, outcome, text in golden("smuggling_published.txt", 4)),
]
SMUGGLED = f"GET {DENIED} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
RULES = [
    {"name": "What is smuggled", "uri": [DENIED], "action": "deny"},
    {"name": "Everything else", "action": "allow"},
]
EXAMPLES = 100  # mutated payloads, for each server
SERVERS = {"nginx": LoggingNginx, "Apache": LoggingApache, "Python": LoggingPython}


@pytest.fixture(scope="module", params=SERVERS)
def server(request, tmp_path_factory):
    made = SERVERS[request.param](tmp_path_factory.mktemp("server"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def gateway(start, credentials, server):
    more = {
        "sites": [{"hosts": ["*"], "upstream": "mail", **credentials.site}],
        "upstreams": {"mail": {"servers": [server.url], "timeouts": {"idle": "1s"}}},
        "rules": RULES,
        "limits": {"handshakes_per_second_per_ip": 1_000_000},
    }
    return start(settings_for(credentials.site, server.url, **more))


def check(server, gateway, attacker):
    """The logs agree, as soon as both are written; and nobody got an answer that was another's."""
    found: list[str] = []

    def agree() -> bool:
        found[:] = unaccounted(server.seen(), gateway.log.records())
        return not found

    try:
        until(agree, "the server's log and the gateway's agree")
    except AssertionError as error:
        raise AssertionError("\n".join(found)) from error
    assert not attacker.problems


@pytest.mark.parametrize("name", SERVERS)
def test_what_is_smuggled_is_seen(tmp_path, credentials, name):
    """Behind a proxy that believes Content-Length and forwards Transfer-Encoding the same comparison finds it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(credentials.server["certificate"], credentials.server["key"])
    payload = next(each for each in PAYLOADS if each.name == "CL.TE, a whole request left over")
    server = SERVERS[name](tmp_path)
    try:
        proxy = NaiveProxy(context, server.url)
        try:
            with Attacker(proxy.port) as attacker:
                attacker.send(Payload(payload.name, payload.data, "POST /x length=37"))
                assert attacker.problems == [f"{payload.name}: the next client got 200 for {DENIED}"]
        finally:
            proxy.stop()
        until(lambda: len(server.seen()) == 3, "the server has logged what it saw")
        smuggled = Seen("", "GET", DENIED, 200)
        assert unaccounted(server.seen(), proxy.records()) == [f"smuggled: {smuggled}, not None", f"denied: {smuggled}"]
    finally:
        server.stop()


# Requests in more than one step: what stands behind a pause was answered, or given up, before it came.
# (first part, whether an answer to it is waited for, second part)
EARLY = "POST /early HTTP/1.1\r\nHost: a\r\n"
STEPS = {
    "a body behind the answer": (f"{EARLY}Content-Length: 32\r\n\r\n", True, SMUGGLED),
    "a body behind the answer, and a request": (f"{EARLY}Content-Length: 5\r\n\r\n", True, b"hello" + SMUGGLED),
    "half a body, and a request behind the answer": (f"{EARLY}Content-Length: 40\r\n\r\n12345678", True, SMUGGLED),
    "chunks behind the answer": (
        f"{EARLY}Transfer-Encoding: chunked\r\n\r\n",
        True,
        b"20\r\n" + SMUGGLED + b"\r\n0\r\n\r\n",
    ),
    "the last chunk behind the answer, and a request": (
        f"{EARLY}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        True,
        b"0\r\n\r\n" + SMUGGLED,
    ),
    "what is no chunk behind the answer": (f"{EARLY}Transfer-Encoding: chunked\r\n\r\n", True, SMUGGLED),
    "a body that is expected, behind the answer": (
        f"{EARLY}Expect: 100-continue\r\nContent-Length: 32\r\n\r\n",
        True,
        SMUGGLED,
    ),
    "a body that is expected, at once": (
        f"{EARLY}Expect: 100-continue\r\nContent-Length: 32\r\n\r\n",
        False,
        SMUGGLED,
    ),
    "a body in GET behind the answer": ("GET /early HTTP/1.1\r\nHost: a\r\nContent-Length: 32\r\n\r\n", True, SMUGGLED),
    "two requests in the place of one body": (
        f"{EARLY}Content-Length: 70\r\n\r\n",
        True,
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 32\r\n" + SMUGGLED * 2,
    ),
    "a request in two parts": ("GET /early HTTP/1.1\r\nHost: a\r\nX: y", False, b"\r\n\r\n" + SMUGGLED),
}
# In a login that belongs to the connection the rest of the body still goes to the server that has answered.
STEPS |= {
    f"{name}, in a login": (STEPS[name][0].replace(EARLY, f"{EARLY}Authorization: NTLM AAAA\r\n"), *STEPS[name][1:])
    for name in (
        "a body behind the answer, and a request",
        "half a body, and a request behind the answer",
        "the last chunk behind the answer, and a request",
        "a body that is expected, behind the answer",
    )
}


@pytest.mark.parametrize("step", STEPS)
def test_what_comes_after_a_pause(server, gateway, step):
    """Pause-based, 0.CL and double desync: the server has answered and still waits for a body, or has given it up."""
    first, is_answered, second = STEPS[step]
    with Attacker(gateway.port) as attacker:
        with Client(gateway.port) as client:
            client.send(first.encode())
            if is_answered:
                assert client.answer().get("X-Seen") == "/early"
            attacker.ask_as_victim("in the pause")
            client.send(second)
            attacker.ask_as_victim("after the pause")
        attacker.ask_as_victim("after its end")
        check(server, gateway, attacker)


_INSERTED = st.sampled_from(
    [
        *(
            b"\r\n",
            b"\n",
            b"\r",
            b" ",
            b"\t",
            b"\x00",
            b"\x0b",
            b"\x0c",
            b"\x85",
            b"\xa0",
            b"\xff",
            b":",
            b",",
            b";",
            b"0",
        ),
        *(
            b"\r\n\r\n",
            b"0\r\n\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Content-Length: 5\r\n",
            b"Expect: 100-continue\r\n",
        ),
        *(b"Connection: close\r\n", b"Host: a\r\n", SMUGGLED),
    ]
)


@st.composite
def mutated(draw):
    """A payload, or the beginning of one and the end of another, with bytes put in, taken out and doubled."""
    short = [each.data for each in PAYLOADS if len(each.data) < 1000]
    data = draw(st.sampled_from(short))
    if draw(st.booleans()):
        other = draw(st.sampled_from(short))
        data = data[: draw(st.integers(0, len(data)))] + other[draw(st.integers(0, len(other))) :]
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        until_at = min(len(data), at + draw(st.integers(0, 8)))
        match draw(st.sampled_from(["put in", "take out", "double"])):
            case "put in":
                data = data[:at] + draw(_INSERTED) + data[at:]
            case "take out":
                data = data[:at] + data[until_at:]
            case "double":
                data = data[:until_at] + data[at:]
    return data


def test_payloads_that_nobody_has_published(server, gateway):
    """What the gateway makes of them is what the reading side alone makes of the same bytes."""
    with Attacker(gateway.port) as attacker:

        @settings(max_examples=EXAMPLES, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
        @given(mutated())
        def send(data):
            stream = Stream()
            stream.feed(data)
            attacker.send(Payload(repr(data), data, stream.outcome))
            check(server, gateway, attacker)

        send()


class Asker:
    """Asks over HTTP/2, on a new connection where the gateway has ended the last one, as after ten refusals."""

    def __init__(self, port):
        self._port = port
        self._context = h2_context(context_for())
        self._first = SETTINGS + window_update_frame(0, 2**30)
        self._connect()

    def _connect(self):
        self._wire = Wire(self._port, context=self._context, first=self._first)
        self._last_id = -1

    def ask(self, listed, body):
        """(status, what the server says that it was asked for)"""
        try:
            return self._ask(listed, body)
        except (EOFError, OSError):
            assert any(one.type == GOAWAY for one in self._wire.seen)
            self._wire.close()
            self._connect()
            return self._ask(listed, body)

    def _ask(self, listed, body):
        wire = self._wire
        self._last_id += 2
        wire.send(wire.headers(self._last_id, listed, is_last=not body))
        if body:
            wire.send(frame(DATA, END_STREAM, self._last_id, body))
        status, fields, _ = wire.answer(self._last_id)
        return status, fields.get("x-seen")

    def close(self):
        self._wire.close()


def test_the_corpus_in_http_2(server, gateway):
    """What the payloads consist of becomes requests of HTTP/2, their bodies too; the servers read HTTP/1.1."""
    passed = 0
    asker = Asker(gateway.port)
    with Attacker(gateway.port) as attacker, contextlib.closing(asker):
        for payload in PAYLOADS:
            for listed, body in translated(payload.data, HOST.encode()):
                if max(len(body), sum(len(name) + len(value) + 8 for name, value in listed)) <= MAX_FRAME_BYTES:
                    status, seen = asker.ask(listed, body)
                    assert seen is None or not is_denied(seen), payload.name
                    passed += seen is not None and status < 400
            attacker.ask_as_victim(payload.name)
    assert passed > 500
    check(server, gateway, attacker)


# The last, since it makes the logs long that each check reads.
def test_the_corpus(server, gateway):
    """Every payload at one go, then somebody else's request, which would meet what was left behind."""
    assert len(PAYLOADS) >= 700
    with Attacker(gateway.port) as attacker:
        for payload in PAYLOADS:
            attacker.send(payload)
    check(server, gateway, attacker)
