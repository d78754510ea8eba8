"""Whatever clients, servers, reloads and the clock do in whatever order: the proxy's promises hold.

Each request that was begun has exactly one access record; no upstream connection serves two exchanges; nobody is
stopped from reading for ever; nothing is held beyond its bound; and no exception ever escapes.
"""

import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from support.dialogue import HIGH_WATER_BYTES, INSIDE, OUTSIDE, UPSTREAM, Files, World, get, request, response

from gateway.logs.request_id import new_request_id
from gateway.proxy import records
from gateway.proxy.client.receive_buffer import MAX_HELD_BYTES
from gateway.proxy.exchange.exchange import Exchange
from gateway.proxy.exchange.tunnel import Tunnel

LARGE = b"x" * (HIGH_WATER_BYTES + 1000)
UPGRADE = get("/webmail", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: AAAA")
# What most of a dialogue is made of, and what comes in between.
ASKS = [
    get(),
    get() * 3,
    get("/secret") + get(),
    request("HEAD"),
    request("POST", "/webmail", "Content-Length: 5", body=b"hello"),
    request("PUT", "/webmail", "Content-Length: 5", body=b"hello"),
    request("POST", "/webmail", f"Content-Length: {2 * len(LARGE)}", body=LARGE),
    get("/webmail", "Authorization: NTLM AAAA"),
    UPGRADE,
]
ODD_REQUESTS = [
    get("/webmail", "Connection: close"),
    get(host="other.example.com"),
    b"GET /webmail HTTP/1.0\r\nHost: mail.example.com\r\n\r\n",
    b"GET /web",
    b"mail HTTP/1.1\r\nHost: mail.example.com\r\n\r\n",
    b"nonsense\r\n\r\n",
    b"\r\n",
    request("POST", "/webmail", "Transfer-Encoding: chunked"),
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    LARGE,
]
ANSWERS = [
    response(body=b"ok"),
    response(body=LARGE),
    response("304 Not Modified"),
    response("200 OK", "Content-Length: 10", body=b"half "),
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
]
ODD_ANSWERS = [
    response("200 OK", "Connection: close", body=b"ok"),
    response("200 OK", "Keep-Alive: timeout=3", body=b"ok"),
    response("200 OK", "Transfer-Encoding: chunked", body=b"2\r\nok\r\n"),
    response("401 Unauthorized", "WWW-Authenticate: Negotiate"),
    b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 2",
    b"00 OK\r\nContent-Length: 0\r\n\r\n",
    b"0\r\n\r\n",
    b"nonsense\r\n\r\n",
    b"whole",
    LARGE,
]
LARGEST = max(map(len, ASKS + ODD_REQUESTS))


@cache
def prepared():
    """(files, the first snapshot, the snapshots of reloads). Made once: nothing in them changes."""
    files = Files(Path(tempfile.mkdtemp()))
    two = {"mail": {"servers": [UPSTREAM, "http://10.0.0.6:8080"], "balance": "round_robin"}}
    own = {"mail": {"servers": [UPSTREAM], "connections": "per_client"}}
    first = files.snapshot()
    reloads = (
        files.snapshot(),
        files.snapshot(rules=[{"name": "Nobody", "action": "deny"}]),
        files.snapshot(upstreams=two),
        files.snapshot(upstreams=own),
        files.snapshot(upstreams={"other": {"servers": [UPSTREAM]}}, sites=[files.site(upstream="other")]),
        files.snapshot(sites=[files.site("other.example.com")]),
    )
    return files, first, reloads


class Dialogues(RuleBasedStateMachine):
    """Several clients and servers at once."""

    def __init__(self):
        super().__init__()
        files, first, self.reloads = prepared()
        self.patch = pytest.MonkeyPatch()
        self.begun = Counter()
        self.patch.setattr(records, "new_request_id", self.new_request_id)
        self.world = World(files, self.patch, first)

    def new_request_id(self):
        made = new_request_id()
        self.begun[made] += 1
        return made

    def teardown(self):
        self.world.close()
        self.patch.undo()
        logged = Counter(record["request_id"] for record in self.world.records)
        logged.pop(None, None)  # handshakes
        assert logged == self.begun
        assert self.world.service.connections._per_address == {}
        assert self.world.service.connections.open == set()
        assert self.world.service.kept_bodies.kept_bytes == 0

    @property
    def clients(self):
        return [client for client in self.world.clients if not client.is_lost]

    @property
    def open_servers(self):
        return [server for server in self.world.ends if not server.is_lost]

    # clients

    @precondition(lambda self: len(self.clients) < 3 and self.world.service.snapshot.sites.find("mail.example.com"))
    @rule(address=st.sampled_from([INSIDE, INSIDE, "10.0.0.10", OUTSIDE]), is_slow=st.booleans())
    def connects(self, address, is_slow):
        self.world.client(address).is_slow = is_slow

    def say(self, data, said):
        client = data.draw(st.sampled_from(self.clients))
        if not client.is_paused:
            client.says(said)

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), said=st.sampled_from(ASKS))
    def client_asks(self, data, said):
        self.say(data, said)

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), said=st.sampled_from(ODD_REQUESTS))
    def client_says_something_odd(self, data, said):
        self.say(data, said)

    # servers

    @precondition(lambda self: self.world.dials)
    @rule(is_slow=st.booleans())
    def server_is_reached(self, is_slow):
        self.world.accepts(is_slow=is_slow)

    def reply(self, data, said):
        asked = [server for server in self.open_servers if server.protocol.exchange is not None]
        server = data.draw(st.sampled_from(asked or self.open_servers))
        if not server.is_paused:
            server.says(said)

    @precondition(lambda self: self.open_servers)
    @rule(data=st.data(), said=st.sampled_from(ANSWERS))
    def server_answers(self, data, said):
        self.reply(data, said)

    @precondition(lambda self: self.open_servers)
    @rule(data=st.data(), said=st.sampled_from(ODD_ANSWERS))
    def server_says_something_odd(self, data, said):
        self.reply(data, said)

    # everybody

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), what=st.sampled_from(["reads", "hears"]))
    def somebody_catches_up(self, data, what):
        getattr(data.draw(st.sampled_from(self.clients + self.open_servers)), what)()

    @rule(data=st.data(), what=st.sampled_from(["client", "server", "dial", "reload", "time"]))
    def something_happens(self, data, what):
        match what:
            case "client" if self.clients:
                client = data.draw(st.sampled_from(self.clients))
                if data.draw(st.booleans()):
                    client.goes()
                elif client.is_open and not self.world.does(client.application.eof_received):
                    self.world.does(client.close)
            case "server" if self.open_servers:
                server = data.draw(st.sampled_from(self.open_servers))
                how = data.draw(st.sampled_from(["goes", "breaks", "closes"]))
                if how == "breaks":
                    server.goes(ConnectionResetError("reset"))
                else:
                    getattr(server, how)()
            case "dial" if self.world.dials:
                self.world.refuses()
            case "reload":
                self.world.does(self.world.service.adopt, data.draw(st.sampled_from(self.reloads)))
            case "time":
                self.world.passes(data.draw(st.sampled_from([0.5, 3, 30, 70])))

    # what holds

    @invariant()
    def one_exchange_holds_one_connection(self):
        held = []
        for client in self.clients:
            under_way = client.application._exchange
            if isinstance(under_way, Exchange | Tunnel) and under_way._upstream is not None:
                held.append(under_way._upstream)
                assert under_way._upstream.exchange is under_way
            elif client.application.pinned is not None and client.application.pinned.exchange is None:
                held.append(client.application.pinned)
        assert len(held) == len(set(map(id, held)))
        for server in self.open_servers:
            assert (server.protocol in held) or server.protocol.exchange is None

    @invariant()
    def pools_count_right(self):
        for pool in self.world.service.pools.by_name.values():
            for state in pool.servers:
                assert state.busy >= 0
                for idle in state.idle:
                    assert idle.exchange is None
                    assert not idle.transport.is_paused
                    assert idle._pinned_to is None

    @invariant()
    def each_record_is_written_once(self):
        logged = Counter(record["request_id"] for record in self.world.records)
        assert all(count == 1 for request_id, count in logged.items() if request_id is not None)

    @invariant()
    def nobody_is_stopped_without_a_reason(self):
        for client in self.clients:
            if not client.is_open:
                continue
            application = client.application
            assert client.is_paused is (application._receive_buffer._is_full or application.is_read_paused)
            assert application._exchange is not None or not application.is_read_paused
            if application._receive_buffer._is_full:
                assert len(application._receive_buffer.held) > MAX_HELD_BYTES
                assert application._exchange is not None or application.is_write_paused
            assert len(application._receive_buffer.held) <= MAX_HELD_BYTES + LARGEST
            if application._exchange is None and not application.is_write_paused:
                assert b"\r\n\r\n" not in application._receive_buffer.held  # a whole request is not left lying
        for server in self.open_servers:
            if server.is_paused and not server.is_closing():
                assert server.protocol.exchange is not None
                assert server.protocol.exchange._client.is_write_paused

    @invariant()
    def nothing_was_reported(self):
        assert not self.world.failures
        assert not self.world.errors.found


def test_the_proxys_promises_hold_in_every_dialogue():
    run_state_machine_as_test(
        Dialogues,
        settings=settings(
            max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
