"""When names are asked for, how long an answer counts, and what becomes of the connections that it led to."""

import logging

import pytest
import uvloop
from support.dialogue import get, header, response, status
from support.dns_server import DnsServer

from gateway.config.model import NameServer
from gateway.proxy.upstream.hosts_file import HostsFile
from gateway.proxy.upstream.names import (
    LOG_SECONDS,
    MAX_TTL_SECONDS,
    NEGATIVE_SECONDS,
    RETRY_SECONDS,
    STALE_SECONDS,
    Names,
    Records,
)

HOST = "mail.lan"
OLD, NEW = "10.0.0.5", "10.0.0.6"


@pytest.fixture
def named(make_world):
    """Makes a world whose one server is given by name; nothing was asked before the first step."""

    def make(*addresses, ttl=60.0, **settings):
        upstream = {"servers": [f"http://{HOST}:8080"], **settings}
        world = make_world(upstreams={"mail": upstream}, is_started=False)
        if addresses:
            world.dns.says(HOST, *addresses, ttl=ttl)
        world.starts()
        return world

    return make


def name_of(world):
    return world.service.pools.by_name["mail"].servers[0].name


def answered(world, client):
    """The server that a request of this client reaches."""
    client.says(get())
    server = world.accepts()
    server.says(response())
    return server


# when DNS is asked


def test_an_address_is_never_asked_for(world):
    answered(world, world.client())
    assert world.dns.asked == []
    assert world.service.pools.by_name["mail"].servers[0].name is None


def test_a_name_is_asked_for_before_the_first_request_and_again_when_its_time_ends(named):
    world = named(OLD, ttl=60)
    assert world.dns.asked == [HOST]
    for _ in range(3):
        world.client().says(get())
    assert len(world.dials) == 3
    world.passes(59)
    assert world.dns.asked == [HOST]
    world.passes(1)
    assert world.dns.asked == [HOST] * 2


@pytest.mark.parametrize(("ttl", "seconds"), [(0, 1), (1, 1), (86400, MAX_TTL_SECONDS)])
def test_a_time_to_live_has_a_floor_and_a_ceiling(named, ttl, seconds):
    world = named(OLD, ttl=ttl)
    world.passes(seconds - 0.5)
    assert len(world.dns.asked) == 1
    world.passes(0.5)
    assert len(world.dns.asked) == 2


def test_the_shorter_time_of_ipv6_and_ipv4_counts(named):
    world = named()
    world.dns._found[HOST] = Records(("fd00::5",), 30), Records((OLD,), 90)
    world.passes(NEGATIVE_SECONDS)
    assert len(world.dns.asked) == 2
    world.passes(30)
    assert len(world.dns.asked) == 3


def test_two_upstreams_share_a_name_until_the_last_has_left(named, files):
    world = named(OLD)
    settings = {"mail": {"servers": [f"http://{HOST}:8080"]}, "more": {"servers": [f"http://{HOST}:9090"]}}
    world.does(world.service.adopt, files.snapshot(upstreams=settings))
    assert world.dns.asked == [HOST]
    assert len(name_of(world).listeners) == 2
    settings.pop("more")
    world.does(world.service.adopt, files.snapshot(upstreams=settings))
    world.passes(60)
    assert len(world.dns.asked) == 2
    world.does(world.service.adopt, files.snapshot())
    world.passes(600)
    assert len(world.dns.asked) == 2


def test_other_servers_are_asked_at_once(named, files):
    world = named(OLD)
    asked = []

    async def other(host):
        asked.append(host)
        return Records(), Records((NEW,), 60)

    settings = {"upstreams": {"mail": {"servers": [f"http://{HOST}:8080"]}}, "resolver": {"servers": ["10.0.0.53"]}}
    snapshot = files.snapshot(**settings)

    def adopt():
        world.service.adopt(snapshot)
        world.service.pools.names._look_up = other

    world.does(adopt)
    assert world.service.pools.names._servers == (NameServer("10.0.0.53", 53),)
    assert asked == [HOST]
    assert name_of(world).addresses == (NEW,)
    world.does(world.service.adopt, snapshot)
    assert asked == [HOST]


# what a request sees


def test_a_request_waits_for_the_first_answer_only(named):
    world = named(OLD, ttl=10)
    world.dns.is_silent()
    world.passes(10)  # the second question stays open
    client = world.client()
    answered(world, client)
    assert status(client.hears()) == 200


def test_the_first_request_waits_until_somebody_has_answered(make_world):
    world = make_world(upstreams={"mail": {"servers": [f"http://{HOST}:8080"]}}, is_started=False)
    world.dns.says(HOST, OLD)
    world.dns.is_silent()
    world.starts()
    client = world.client()
    client.says(get())
    assert world.dials == []
    world.does(world.dns.speaks)
    assert world.dials[0].addresses == (OLD,)
    world.accepts().says(response(body=b"here"))
    assert client.hears().endswith(b"here")


def test_a_request_does_not_wait_again_where_nobody_could_tell(make_world):
    """A server that says nothing is asked half of the time."""
    world = make_world(upstreams={"mail": {"servers": [f"http://{HOST}:8080"]}}, is_started=False)
    world.dns.fails(HOST, "no answer in time")
    world.starts()
    world.dns.is_silent()
    world.passes(RETRY_SECONDS)
    assert len(world.dns.asked) == 2
    client = world.client()
    client.says(get())
    assert header(client.hears(), "X-Gateway-Reason") == "upstream_unreachable"
    assert world.service.pools.by_name["mail"].servers[0].condition.cause == f"{HOST}: no answer in time"


def test_a_request_waits_for_other_servers_answer(make_world):
    upstreams = {"mail": {"servers": [f"http://{HOST}:8080"]}}
    world = make_world(upstreams=upstreams, is_started=False)
    world.dns.fails(HOST)
    world.starts()
    name_of(world).ask_now()
    world.dns.says(HOST, OLD)
    world.dns.is_silent()
    client = world.client()
    client.says(get())
    assert world.dials == []
    world.does(world.dns.speaks)
    world.accepts().says(response(body=b"here"))
    assert client.hears().endswith(b"here")


def test_a_name_that_leads_nowhere_is_an_unreachable_server(named):
    world = named()
    client = world.client()
    client.says(get())
    assert header(client.hears(), "X-Gateway-Reason") == "upstream_unreachable"
    cause = world.service.pools.by_name["mail"].servers[0].condition.cause
    assert cause == f"{HOST}: the name does not exist"
    assert repr(name_of(world)) == f"<Name {HOST} the name does not exist>"


def test_another_server_is_asked_where_a_name_leads_nowhere(make_world):
    world = make_world(upstreams={"mail": {"servers": [f"http://{HOST}:8080", "http://10.0.0.9:8080"]}})
    answered(world, world.client())
    assert world.record["upstream"] == "http://10.0.0.9:8080"


def test_ipv6_and_ipv4_are_both_tried(named):
    world = named("fd00::5", "fd00::6", OLD)
    world.client().says(get())
    assert world.dials[0].addresses == ("fd00::5", "fd00::6", OLD)
    assert repr(name_of(world)) == f"<Name {HOST} fd00::5 fd00::6 {OLD}>"


def test_health_checks_go_where_the_name_leads(named):
    world = named(OLD, ttl=5, health={"path": "/alive", "interval": "10s"})
    assert world.dials[0].addresses == (OLD,)
    world.accepts().says(response())
    world.dns.says(HOST, NEW)
    world.passes(10)
    assert world.dials[0].addresses == (NEW,)


def test_a_check_of_a_name_that_leads_nowhere_fails(named):
    world = named(health={"path": "/alive", "interval": "1s", "fall": 1})
    world.errors.found.clear()  # "is down", as it should
    client = world.client()
    client.says(get())
    assert header(client.hears(), "X-Gateway-Reason") == "no_healthy_upstream"
    assert world.service.pools.by_name["mail"].servers[0].condition.cause == f"{HOST}: the name does not exist"


# when nobody can tell, and when somebody says no


def test_the_last_answer_counts_so_long_when_nobody_can_tell(named):
    world = named(OLD, ttl=60)
    world.dns.fails(HOST)
    world.passes(60 + STALE_SECONDS - RETRY_SECONDS)
    assert name_of(world).addresses == (OLD,)
    client = world.client()
    answered(world, client)
    assert status(client.hears()) == 200
    world.passes(2 * RETRY_SECONDS)
    client.says(get())
    assert header(client.hears(), "X-Gateway-Reason") == "upstream_unreachable"


def test_whoever_could_not_tell_is_asked_again_soon(named):
    world = named(OLD, ttl=60)
    world.dns.fails(HOST)
    world.passes(60)
    world.passes(2 * RETRY_SECONDS)
    assert len(world.dns.asked) == 4
    world.dns.says(HOST, NEW)
    world.passes(RETRY_SECONDS)
    assert name_of(world).addresses == (NEW,)


def test_a_failure_is_told_once_a_minute_and_its_end(named, caplog):
    caplog.set_level(logging.INFO, "gateway.names")
    world = named(OLD, ttl=60)
    assert caplog.messages == [f"{HOST} now has the addresses {OLD}"]
    caplog.clear()
    world.dns.fails(HOST, "SERVFAIL from 10.0.0.53")
    world.passes(60)
    told = f"{HOST} can't be resolved, the last answer ({OLD}) is still used: SERVFAIL from 10.0.0.53"
    assert caplog.messages == [told]
    world.passes(LOG_SECONDS - RETRY_SECONDS)
    assert caplog.messages == [told]
    world.passes(RETRY_SECONDS)
    assert caplog.messages == [told] * 2
    world.dns.says(HOST, OLD)
    world.passes(RETRY_SECONDS)
    assert caplog.messages[2:] == [f"{HOST} can be resolved again"]


def test_a_name_that_never_existed_is_told(named, caplog):
    world = named()
    told = f"{HOST} can't be resolved: the name does not exist"
    assert caplog.messages == [told]
    world.passes(LOG_SECONDS)
    assert caplog.messages == [told] * 2


def test_a_failure_without_any_answer_says_that_the_name_leads_nowhere(make_world, caplog):
    world = make_world(upstreams={"mail": {"servers": [f"http://{HOST}:8080"]}}, is_started=False)
    world.dns.fails(HOST)
    world.starts()
    assert caplog.messages == [f"{HOST} can't be resolved: SERVFAIL"]


def test_a_no_counts_at_once_and_is_asked_again_soon(named, caplog):
    world = named(OLD, ttl=60)
    server = answered(world, world.client())
    world.dns._found.clear()
    world.passes(60)
    assert name_of(world).addresses == ()
    assert server.is_lost
    assert f"{HOST} can't be resolved: the name does not exist" in caplog.messages
    world.dns.says(HOST, OLD)
    world.passes(NEGATIVE_SECONDS)
    assert name_of(world).addresses == (OLD,)


def test_what_is_known_of_ipv6_does_not_depend_on_ipv4(named):
    world = named("fd00::5", OLD, ttl=60)
    world.dns.fails(HOST, six=Records(("fd00::6",), 60))
    world.passes(60)
    assert name_of(world).addresses == ("fd00::6", OLD)
    world.passes(RETRY_SECONDS)
    assert len(world.dns.asked) == 3  # while an old answer is in use
    world.passes(STALE_SECONDS + 60)
    assert name_of(world).addresses == ("fd00::6",)
    before = len(world.dns.asked)
    world.passes(59)
    assert len(world.dns.asked) <= before + 1


def test_a_fault_of_our_own_is_reported_and_asked_over(named):
    world = named(OLD, ttl=10)
    look_up = world.service.pools.names._look_up

    async def fail(host):
        raise LookupError(host)

    world.service.pools.names._look_up = fail
    world.passes(10)
    (report,) = world.errors.found
    assert "LookupError" in report
    world.errors.found.clear()
    assert name_of(world).addresses == (OLD,)
    assert name_of(world).cause == f"LookupError: {HOST}"
    world.service.pools.names._look_up = look_up
    world.dns.says(HOST, NEW)
    world.passes(RETRY_SECONDS)
    assert name_of(world).addresses == (NEW,)


# when a name moves


def moves(world, *addresses):
    world.dns.says(HOST, *addresses)
    world.passes(10)


def test_idle_connections_to_an_address_that_is_gone_are_closed(named):
    world = named(OLD, "10.0.0.7", ttl=10)
    client = world.client()
    server = answered(world, client)
    moves(world, "10.0.0.7", NEW)
    assert server.is_lost
    assert world.busy() == [(0, 0)]
    client.says(get())
    assert world.dials[0].addresses == ("10.0.0.7", NEW)


def test_idle_connections_to_an_address_that_stayed_are_kept(named):
    world = named(OLD, ttl=10)
    client = world.client()
    server = answered(world, client)
    server.hears()
    moves(world, NEW, OLD)
    client.says(get())
    assert world.dials == []
    assert server.hears()


def test_a_busy_connection_ends_with_its_exchange(named):
    world = named(OLD, ttl=10)
    client = world.client()
    client.says(get())
    server = world.accepts()
    moves(world, NEW)
    assert not server.is_lost
    server.says(response(body=b"late"))
    assert client.hears().endswith(b"late")
    assert server.is_lost
    assert world.busy() == [(0, 0)]
    client.says(get())
    assert world.dials[0].addresses == (NEW,)


def test_a_clients_own_connection_is_not_used_again_either(named):
    world = named(OLD, ttl=10, connections="per_client")
    client = world.client()
    server = answered(world, client)
    moves(world, NEW)
    assert not server.is_lost  # it is this client's, until the client asks again
    client.says(get())
    assert server.is_lost
    assert world.dials[0].addresses == (NEW,)
    world.accepts().says(response(body=b"moved"))
    assert client.hears().endswith(b"moved")


def test_the_status_says_where_the_name_leads(named):
    world = named("fd00::5", OLD)
    (server,) = world.service.status()["upstreams"]["mail"]
    assert server["addresses"] == ("fd00::5", OLD)


def test_stopping_ends_the_questions(named):
    world = named(OLD, ttl=10)
    world.does(world.service.stop)
    world.passes(100)
    assert world.dns.asked == [HOST]


# where to look


def test_the_hosts_file_comes_first(named, tmp_path):
    world = named(OLD)
    hosts = tmp_path / "hosts"
    hosts.write_text(f"fd00::9 {HOST}\n10.0.0.9 {HOST}\n")
    names = world.service.pools.names
    names._hosts._path = hosts
    world.does(name_of(world).ask_now)
    assert name_of(world).addresses == ("fd00::9", "10.0.0.9")
    assert world.dns.asked == [HOST]
    hosts.write_text("")
    world.passes(1)
    assert name_of(world).addresses == (OLD,)


def test_without_another_way_dns_is_asked(tmp_path):
    async def find(server):
        names = Names([NameServer(server.host, server.port)], hosts=HostsFile(tmp_path / "hosts"))
        assert names.use("10.0.0.5", print) is names.use("fd00::5", print) is None
        name = names.use(HOST, print)
        found = await name.usable()
        names.leave(name, print)
        return found

    with DnsServer() as server:
        server.says(HOST, OLD, "fd00::5")
        assert uvloop.run(find(server)) == ("fd00::5", OLD)
