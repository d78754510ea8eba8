"""Which server is asked, which connection is used, and when an idle one ends."""

import ssl
from collections import Counter

import pytest
from support.dialogue import get, header, response

from gateway.proxy.upstream.dial import ExhaustedError
from gateway.proxy.upstream.health import PASSIVE_FALL, PASSIVE_SECONDS
from gateway.proxy.upstream.pool import MAX_IDLE_CONNECTIONS

SERVERS = ["http://10.0.0.5:8080", "http://10.0.0.6:8080", "http://10.0.0.7:8080"]


def three(make_world, balance, **more):
    return make_world(upstreams={"mail": {"servers": SERVERS, "balance": balance, **more}})


def test_round_robin_gives_every_server_its_turn_on_new_connections(make_world):
    world = three(make_world, "round_robin")
    for _ in range(6):
        world.client().says(get())
    assert Counter(dial.server.host for dial in world.dials) == {"10.0.0.5": 2, "10.0.0.6": 2, "10.0.0.7": 2}


def test_round_robin_gives_every_server_its_turn_on_idle_connections(make_world):
    world = three(make_world, "round_robin")
    servers = []
    for _ in range(3):
        world.client().says(get())
        servers.append(world.accepts())
        servers[-1].hears()
    for server in servers:
        server.says(response())
    client = world.client()
    order = []
    for _ in range(6):
        client.says(get())
        (busy,) = [server for server in servers if server.heard]
        order.append(busy.server.host)
        busy.hears()
        busy.says(response())
    assert order == ["10.0.0.5", "10.0.0.6", "10.0.0.7"] * 2
    assert world.dials == []


def test_round_robin_over_two_servers_uses_the_connections_that_it_made(make_world):
    world = make_world(upstreams={"mail": {"servers": SERVERS[:2], "balance": "round_robin"}})
    client = world.client()
    for _ in range(2):
        client.says(get())
        world.accepts().says(response())
    client.says(get())
    assert world.dials == []
    assert sum(world.busy(), ()) == (1, 0, 0, 1)


def test_least_connections_asks_the_server_with_the_fewest(make_world):
    world = three(make_world, "least_connections")
    for _ in range(3):
        world.client().says(get())
        world.accepts()
    assert world.busy() == [(1, 0)] * 3


def test_servers_that_have_as_few_take_turns(make_world):
    """One request after the other: none is the first for ever."""
    world = three(make_world, "least_connections")
    client = world.client()
    for _ in SERVERS:
        client.says(get())
        world.accepts().says(response())
    assert world.busy() == [(0, 1)] * 3


def test_a_client_keeps_its_server(make_world):
    world = three(make_world, "client_ip")
    hosts = {}
    for last in range(1, 30):
        for _ in range(2):
            client = world.client(f"10.0.0.{last}")
            client.says(get())
            hosts.setdefault(last, set()).add(world.accepts().server.host)
    assert all(len(each) == 1 for each in hosts.values())
    assert len(set.union(*hosts.values())) == 3


def test_behind_a_trusted_proxy_it_is_the_client_that_keeps_its_server(make_world):
    """One connection of the proxy carries the requests of many."""
    upstream = {"servers": SERVERS, "balance": "client_ip"}
    world = make_world(upstreams={"mail": upstream}, trusted_proxies=["10.0.0.9"])
    hosts = {}
    client = world.client("10.0.0.9")
    for last in [*range(1, 30)] * 2:
        client.says(get("/webmail", f"X-Forwarded-For: 10.1.0.{last}"))
        if world.dials:
            world.accepts()
        (server,) = [end for end in world.ends if end.hears()]
        server.says(response())
        hosts.setdefault(last, set()).add(server.server.host)
    assert all(len(each) == 1 for each in hosts.values())
    assert len(set.union(*hosts.values())) == 3
    assert len(world.ends) == 3


@pytest.mark.parametrize("error", [TimeoutError(), RuntimeError("File descriptor 9 is used by transport")])
def test_a_server_that_cannot_be_reached_hands_on_to_the_next(make_world, error):
    world = three(make_world, "least_connections")
    client = world.client()
    client.says(get())
    world.refuses()
    world.refuses(error)
    server = world.accepts()
    assert server.server.host == "10.0.0.7"
    server.says(response(body=b"third"))
    assert client.hears().endswith(b"third")
    assert world.record["upstream"] == SERVERS[2]
    assert world.busy() == [(0, 0), (0, 0), (0, 1)]


def test_when_all_fail_each_is_named(make_world):
    world = three(make_world, "least_connections")
    client = world.client()
    client.says(get())
    for _ in SERVERS:
        world.refuses()
    assert header(client.hears(), "X-Gateway-Reason") == "upstream_unreachable"
    causes = [state.condition.cause for state in world.service.pools.by_name["mail"].servers]
    assert causes == ["Connection refused"] * 3


def test_having_no_socket_left_counts_against_no_server(make_world):
    """The next server is not tried either: it would take a socket too."""
    world = three(make_world, "round_robin")
    for _ in range(3 * PASSIVE_FALL):
        client = world.client()
        client.says(get())
        world.refuses(ExhaustedError("no socket is left"))
        assert header(client.hears(), "X-Gateway-Reason") == "upstream_unreachable"
        assert client.is_open
    assert world.dials == []
    assert world.busy() == [(0, 0)] * 3
    assert {first_choice(world) for _ in range(3)} == {"10.0.0.5", "10.0.0.6", "10.0.0.7"}


def first_choice(world):
    """The server that a request begins with; it is answered by whoever takes it, and no connection is kept."""
    client = world.client()
    client.says(get())
    host = world.dials[0].server.host
    if host == "10.0.0.5":
        world.refuses()
    world.accepts().says(response())
    client.goes()
    for pool in world.service.pools.by_name.values():
        pool.sweep(float("inf"))
    world.settles()
    return host


@pytest.mark.parametrize("balance", ["least_connections", "round_robin"])
def test_a_server_that_keeps_failing_is_left_alone_for_a_while(make_world, balance):
    world = three(make_world, balance)
    failed = 0
    while failed < PASSIVE_FALL:
        failed += first_choice(world) == "10.0.0.5"
    assert {first_choice(world) for _ in range(6)} == {"10.0.0.6", "10.0.0.7"}
    world.passes(PASSIVE_SECONDS)
    assert "10.0.0.5" in {first_choice(world) for _ in range(3)}


def miss(world, host):
    """Requests fail to reach this server until it is passed over."""
    (state,) = [state for state in world.service.pools.by_name["mail"].servers if state.server.host == host]
    for _ in range(PASSIVE_FALL):
        state.condition.unreachable(world.clock.monotonic_seconds(), "refused")


def test_one_request_alone_tries_a_server_that_was_left_alone(make_world):
    """It may take the whole of the connect timeout; the others do not wait with it."""
    world = three(make_world, "round_robin")
    miss(world, "10.0.0.5")
    world.passes(PASSIVE_SECONDS)
    for _ in range(9):
        world.client().says(get())
    assert [dial.server.host for dial in world.dials].count("10.0.0.5") == 1


def test_after_a_failure_those_that_could_not_be_reached_lately_come_last(make_world):
    world = three(make_world, "round_robin")
    miss(world, "10.0.0.5")
    client = world.client()
    client.says(get())
    asked = []
    for _ in SERVERS:
        asked.append(world.dials[0].server.host)
        world.refuses()
    assert sorted(asked[:2]) == ["10.0.0.6", "10.0.0.7"]
    assert asked[2] == "10.0.0.5"
    assert header(client.hears(), "X-Gateway-Reason") == "upstream_unreachable"


def test_it_is_said_once_that_a_server_cannot_be_reached_and_once_that_it_can_again(world, caplog):
    client = world.client()
    for _ in range(PASSIVE_FALL + 2):
        client.says(get())
        world.refuses()
    for _ in range(2):
        client.says(get())
        world.accepts().says(response("200 OK", "Connection: close"))
    told = [record.getMessage() for record in caplog.records if record.name == "gateway.health"]
    assert told == [
        "http://10.0.0.5:8080 can't be reached: Connection refused",
        "http://10.0.0.5:8080 can be reached again",
    ]


def test_when_every_server_is_left_alone_they_are_asked_all_the_same(make_world):
    world = three(make_world, "least_connections")
    for state in world.service.pools.by_name["mail"].servers:
        state.condition._until_seconds = float("inf")
    world.client().says(get())
    assert len(world.dials) == 1


def test_when_the_checks_say_that_none_is_well_none_is_asked(make_world):
    world = three(make_world, "least_connections")
    client = world.client()
    for state in world.service.pools.by_name["mail"].servers:
        state.condition.is_up = False
    client.says(get())
    assert header(client.hears(), "X-Gateway-Reason") == "no_healthy_upstream"
    assert world.dials == []
    assert client.is_open


def test_a_server_that_falls_ill_while_a_connection_was_begun(world):
    client = world.client()

    def ask_and_fall_ill():
        client.application.data_received(get())
        world.service.pools.by_name["mail"].servers[0].condition.is_up = False

    world.does(ask_and_fall_ill)
    assert header(client.hears(), "X-Gateway-Reason") == "no_healthy_upstream"


# idle connections


def test_the_last_connection_that_came_back_is_used_first(world):
    clients = [world.client() for _ in range(2)]
    for client in clients:
        client.says(get())
    first, second = world.accepts(), world.accepts()
    first.says(response())
    second.says(response())
    second.hears()
    clients[0].says(get())
    assert second.heard


def test_an_idle_connection_ends_after_its_time(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(response())
    world.passes(59)
    assert not server.is_lost
    world.passes(3)
    assert server.is_lost
    assert world.busy() == [(0, 0)]


def test_so_many_idle_connections_are_kept_and_no_more(world):
    clients = [world.client(f"10.1.0.{number % 250}") for number in range(MAX_IDLE_CONNECTIONS + 1)]
    for client in clients:
        client.says(get())
    servers = [world.accepts() for _ in clients]
    for server in servers:
        server.says(response())
    assert world.busy() == [(0, MAX_IDLE_CONNECTIONS)]
    assert [server.is_lost for server in servers] == [False] * MAX_IDLE_CONNECTIONS + [True]


def test_stopping_closes_what_is_idle(world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(response())
    world.does(world.service.stop)
    assert server.is_lost


def test_an_upstream_that_takes_the_proxy_protocol_has_a_connection_for_each_client(make_world):
    world = make_world(upstreams={"mail": {"servers": SERVERS[:1], "proxy_protocol": True}})
    client = world.client()
    client.says(get())
    assert world.dials[0].header.startswith(b"\r\n\r\n\x00\r\nQUIT\n\x21\x11")
    server = world.accepts()
    server.says(response())
    other = world.client()
    other.says(get())
    assert len(world.dials) == 1
    client.says(get())
    assert server.hears().count(b"GET ") == 2


def test_a_pool_says_what_it_holds(world):
    text = repr(world.service.pools.by_name["mail"])
    assert text == "<Pool mail [<ServerState http://10.0.0.5:8080 busy=0 idle=0 <Condition up>>]>"


# towards the socket


def test_https_servers_are_asked_under_their_name(files, make_world):
    tls = {"ca": str(files.folder / "ca.pem")}
    world = make_world(upstreams={"mail": {"servers": ["https://10.0.0.5"], "tls": tls}})
    world.client().says(get())
    options = world.accepts().options
    assert options["server_hostname"] == "10.0.0.5"
    assert options["ssl"] is world.service.pools.by_name["mail"].tls.context
    named = make_world(upstreams={"mail": {"servers": ["https://10.0.0.5"], "tls": tls | {"server_name": "mail.lan"}}})
    named.client().says(get())
    assert named.accepts().options["server_hostname"] == "mail.lan"


def test_a_tls_handshake_that_fails_closes_the_connection(make_world, monkeypatch):
    world = make_world(upstreams={"mail": {"servers": ["https://10.0.0.5"]}})

    async def fail(*_, **__):
        raise ssl.SSLError("handshake")

    client = world.client()
    client.says(get())
    monkeypatch.setattr(world.loop, "start_tls", fail)
    end = world.accepts()
    assert header(client.hears(), "X-Gateway-Reason") == "upstream_unreachable"
    assert end.is_lost
    assert world.busy() == [(0, 0)]


def test_a_socket_that_can_t_be_used_is_closed(world, monkeypatch):
    closed = []

    async def fail(*_, **__):
        raise ConnectionResetError("gone")

    client = world.client()
    client.says(get())
    dial = world.dials[0]
    dial.close = lambda: closed.append(dial)
    monkeypatch.setattr(world.loop, "create_connection", fail)
    world.does(dial.answer.set_result, None)
    assert header(client.hears(), "X-Gateway-Reason") == "upstream_unreachable"
    assert closed == [dial]
