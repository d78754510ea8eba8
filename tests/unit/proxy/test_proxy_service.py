"""What connections share: limits, the sweep, reloads, and the contexts towards upstreams."""

import pytest
from cryptography.hazmat.primitives import hashes
from support import pki
from support.dialogue import OUTSIDE, UPSTREAM, get, header, response, status

from gateway.errors import ConfigError
from gateway.facts import parse_address
from gateway.proxy.connections import JUDGED_AT_ONCE, REFUSED_CONNECTIONS
from gateway.proxy.limits.shared_counts import SharedCounts
from gateway.proxy.upstream import pools

HERE, THERE = parse_address("10.0.0.9"), parse_address("10.0.0.10")


class Open:
    """A connection as the service sees it."""

    def __init__(self, deadline=float("inf")):
        self.deadline = deadline
        self.heard = []

    def on_deadline(self):
        self.heard.append("deadline")

    def drain(self):
        self.heard.append("drain")

    def cut(self):
        self.heard.append("cut")

    def adopt(self, snapshot):
        self.heard.append(snapshot)


class Broken(Open):
    def on_deadline(self):
        super().on_deadline()
        raise RuntimeError("broken")

    def adopt(self, snapshot):
        super().adopt(snapshot)
        raise RuntimeError("broken")


@pytest.fixture
def small(make_world):
    return make_world(limits={"connections": 5, "connections_per_ip": 2}).service


def test_an_address_may_have_so_many_connections_then_pages_then_nothing(small):
    opened = []

    def open_one():
        opened.append(Open())
        small.connections.opened(opened[-1], HERE)

    for _ in range(2):
        assert small.connections.admit(HERE, small.snapshot.config.limits) is True
        open_one()
    assert small.connections.admit(THERE, small.snapshot.config.limits) is True
    for _ in range(REFUSED_CONNECTIONS):
        assert small.connections.admit(HERE, small.snapshot.config.limits) is False
        open_one()
    assert small.connections.admit(HERE, small.snapshot.config.limits) is None
    small.connections.closed(opened.pop(), HERE)
    assert small.connections.admit(HERE, small.snapshot.config.limits) is False


@pytest.mark.parametrize("connection_counts", [None, SharedCounts(1)], ids=["alone", "with others"])
def test_an_ipv6_client_is_its_64(small, connection_counts):
    small.connections._connection_counts = connection_counts
    first = parse_address("2001:db8:0:1::1")
    opened = []
    for number in range(2):
        assert small.connections.admit(first + number, small.snapshot.config.limits) is True
        opened.append((Open(), first + number))
        small.connections.opened(*opened[-1])
    assert small.connections.admit(first + 2**63, small.snapshot.config.limits) is False
    assert small.connections.admit(first + 2**64, small.snapshot.config.limits) is True
    small.connections.closed(*opened.pop(0))
    assert small.connections.admit(first + 2**63, small.snapshot.config.limits) is True
    small.connections.closed(*opened.pop())
    assert small.connections._per_address == {}


@pytest.mark.parametrize("connection_counts", [None, SharedCounts(1)], ids=["alone", "with others"])
def test_requests_beside_others_are_counted_with_the_connections(small, connection_counts):
    """Of the client, and of all."""
    connections, limits = small.connections, small.snapshot.config.limits
    connections._connection_counts = connection_counts
    opened = [(Open(), parse_address(f"10.0.1.{number}")) for number in range(3)]
    for each in opened:
        connections.opened(*each)
    first, second, third = (address for _, address in opened)
    assert connections.admit_beside(first, limits)
    assert not connections.admit_beside(first, limits)
    assert connections.admit(first, limits) is False
    assert connections.admit_beside(second, limits)
    assert not connections.admit_beside(third, limits)
    assert connections.admit(HERE, limits) is False
    connections.end_beside(first, 1)
    assert connections.admit_beside(third, limits)
    connections.end_beside(second, 1)
    connections.end_beside(third, 1)
    for each in opened:
        connections.closed(*each)
    assert connections.admit(first, limits) is True


def test_all_together_may_have_so_many_connections_then_pages_then_nothing(small):
    for number in range(5):
        address = parse_address(f"10.0.1.{number}")
        assert small.connections.admit(address, small.snapshot.config.limits) is True
        small.connections.opened(Open(), address)
    assert small.connections.admit(THERE, small.snapshot.config.limits) is False
    assert small.connections.admit(None, small.snapshot.config.limits) is False
    for number in range(REFUSED_CONNECTIONS):
        small.connections.opened(Open(), parse_address(f"10.0.2.{number}"))
    assert small.connections.admit(THERE, small.snapshot.config.limits) is None


def test_counting_addresses_leaves_nothing_behind(world):
    service = world.service
    before = Open()
    service.connections.opened(before, HERE)
    after = Open()
    service.connections.replaced(before, after)
    other = Open()
    service.connections.opened(other, HERE)
    nobody = Open()
    service.connections.opened(nobody, None)
    assert service.connections._per_address == {HERE: 2}
    for connection, address in ((after, HERE), (other, HERE), (nobody, None)):
        service.connections.closed(connection, address)
    assert service.connections._per_address == {}
    assert service.connections.open == set()


def test_asking_for_an_address_that_has_no_connection_leaves_nothing_behind(world):
    world.service.connections.admit(THERE, world.service.snapshot.config.limits)
    assert world.service.connections._per_address == {}


def test_deadlines_are_seen_within_a_second_and_a_broken_connection_stops_nobody(world):
    now = world.clock.monotonic_seconds()
    early, broken, late = Open(now + 1), Broken(now + 1), Open(now + 5)
    world.service.connections.open.update((early, broken, late))
    world.passes(3)
    assert early.heard
    assert broken.heard
    assert late.heard == []
    assert "at its deadline failed" in world.errors.found[0]
    world.errors.found.clear()
    world.service.connections.open.clear()


def test_every_connection_is_judged_anew_some_at_a_time(files, world):
    connections = [Open() for _ in range(JUDGED_AT_ONCE + 1)]
    world.service.connections.open.update(connections)
    gone = connections[0]
    new = files.snapshot()
    turns = []
    world.loop.call_soon(
        lambda: (world.service.adopt(new), turns.append(sum(bool(each.heard) for each in connections)))
    )
    world.loop.call_soon(lambda: turns.append(sum(bool(each.heard) for each in connections)))
    world.settles()
    assert turns == [JUDGED_AT_ONCE, JUDGED_AT_ONCE]
    assert all(each.heard == [new] for each in connections if each is not gone)
    world.service.connections.open.clear()


def test_a_newer_snapshot_takes_over_and_a_lost_connection_is_left_out(files, world):
    connections = [Open() for _ in range(2 * JUDGED_AT_ONCE + 1)]
    world.service.connections.open.update(connections)
    first, second = files.snapshot(), files.snapshot()
    lost = []

    def adopt_twice():
        world.service.adopt(first)
        world.service.adopt(second)
        lost.extend(each for each in connections if second not in each.heard)
        world.service.connections.open.discard(lost[0])

    world.does(adopt_twice)
    assert all(each.heard[-1] is second for each in connections if each is not lost[0])
    assert second not in lost[0].heard
    assert sum(first in each.heard for each in connections) == JUDGED_AT_ONCE
    world.service.connections.open.clear()


def test_a_connection_that_cannot_be_judged_anew_ends_and_the_others_are_judged(files, world):
    broken, whole = Broken(), Open()
    world.service.connections.open.update((broken, whole))
    world.does(world.service.adopt, files.snapshot())
    assert len(whole.heard) == 1
    world.passes(2)
    assert "deadline" in broken.heard
    assert "judging" in world.errors.found[0]
    world.errors.found.clear()
    world.service.connections.open.clear()


def test_a_request_before_its_connection_was_judged_anew_is_judged_by_the_new_rules(files, world):
    """Between two turns of a reload: the old snapshot's upstream is gone already."""
    client = world.client()
    moved = files.snapshot(upstreams={"other": {"servers": [UPSTREAM]}}, sites=[files.site(upstream="other")])

    def reload_and_ask():
        world.service.connections.open.discard(client.application)  # as if its turn came later
        world.service.adopt(moved)
        world.service.connections.open.add(client.application)
        client.application.data_received(get())

    world.does(reload_and_ask)
    world.accepts().says(response(body=b"moved"))
    assert client.hears().endswith(b"moved")


def test_a_request_for_a_site_that_has_just_gone_is_not_answered(files, world):
    client = world.client()
    client.says(get())
    world.accepts().says(response())
    client.hears()

    def reload_and_ask():
        world.service.connections.open.discard(client.application)
        world.service.adopt(files.snapshot(sites=[files.site("other.example.com")]))
        world.service.connections.open.add(client.application)
        client.application.data_received(get())

    world.does(reload_and_ask)
    assert client.hears() == b""
    assert not client.is_open


def test_a_reload_keeps_the_connections_of_an_upstream_that_stayed(files, world):
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(response())
    world.does(world.service.adopt, files.snapshot())
    client.says(get())
    assert server.hears().count(b"GET ") == 2


def test_a_reload_keeps_https_connections_while_their_files_hold_the_same(files, make_world):
    ca = files.folder / "upstream-ca.pem"
    ca.write_bytes(files.ca.pem)
    settings = {"mail": {"servers": ["https://10.0.0.5"], "tls": {"ca": ca.name}}}
    world = make_world(upstreams=settings)
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(response())
    ca.write_bytes(files.ca.pem)
    world.does(world.service.adopt, files.snapshot(upstreams=settings))
    client.says(get())
    server.says(response())
    ca.write_bytes(pki.Ca.make().pem)
    world.does(world.service.adopt, files.snapshot(upstreams=settings))
    assert server.is_lost
    client.says(get())
    assert world.accepts().options["ssl"].get_ca_certs() != server.options["ssl"].get_ca_certs()


def test_where_an_upstream_stands_in_the_file_does_not_matter(files, world):
    before = world.service.pools.by_name["mail"]
    more = {"aaa": {"servers": ["http://10.0.0.9"]}, "mail": {"servers": [UPSTREAM]}}
    config = files.config(upstreams=more)
    assert next(each for each in config.upstreams if each.name == "mail").line != before.upstream.line
    world.does(world.service.adopt, files.snapshot(upstreams=more))
    assert world.service.pools.by_name["mail"] is before


def test_a_reload_closes_the_connections_of_an_upstream_that_changed(files, world):
    idle, busy = world.client(), world.client()
    idle.says(get())
    busy.says(get())
    first, second = world.accepts(), world.accepts()
    first.says(response())
    other = {"mail": {"servers": ["http://10.0.0.6:8080"]}}
    world.does(world.service.adopt, files.snapshot(upstreams=other))
    assert first.is_lost
    assert not second.is_lost
    second.says(response(body=b"finished"))
    assert busy.hears().endswith(b"finished")
    assert second.is_lost  # nobody would ever sweep it
    busy.says(get())
    assert world.dials[0].server.host == "10.0.0.6"


def test_a_clients_own_upstream_connection_does_not_outlive_a_reload_that_leads_elsewhere(files, make_world):
    own = {"connections": "per_client"}
    world = make_world(upstreams={"mail": {"servers": [UPSTREAM], **own}})
    client = world.client()
    client.says(get())
    old = world.accepts()
    old.says(response())
    moved = files.snapshot(upstreams={"mail": {"servers": ["http://10.0.0.6:8080"], **own}})
    world.does(world.service.adopt, moved)
    client.hears()
    client.says(get())
    assert old.is_lost
    new = world.accepts()
    assert new.server.host == "10.0.0.6"
    new.says(response(body=b"moved"))
    assert client.hears().endswith(b"moved")


def test_a_reload_to_connections_of_their_own_holds_for_open_clients_too(files, world):
    client = world.client()
    own = {"mail": {"servers": [UPSTREAM], "connections": "per_client"}}
    world.does(world.service.adopt, files.snapshot(upstreams=own))
    client.says(get())
    server = world.accepts()
    server.says(response())
    assert world.busy() == [(1, 0)]  # kept for this client, not pooled
    client.goes()
    assert server.is_lost


def test_a_reload_that_changes_limits_counts_handshakes_anew(files, world):
    before = world.service.handshakes
    world.does(world.service.adopt, files.snapshot())
    assert world.service.handshakes is before
    world.does(world.service.adopt, files.snapshot(limits={"connections": 7}))
    assert world.service.handshakes is not before


def test_a_reload_whose_upstream_cannot_be_set_up_changes_nothing(files, world, monkeypatch):
    """As where the system's store, which alone is read now, is gone."""
    snapshot = files.snapshot(upstreams={"mail": {"servers": ["https://10.0.0.5"]}})

    def fails(*_arguments):
        raise ConfigError("upstreams.mail.tls: no store")

    monkeypatch.setattr(pools, "upstream_tls", fails)
    before = world.service.snapshot
    with pytest.raises(ConfigError, match=r"upstreams\.mail\.tls"):
        world.does(world.service.adopt, snapshot)
    assert world.service.snapshot is before
    client = world.client()
    client.says(get())
    world.accepts().says(response())
    assert status(client.hears()) == 200


def test_draining_an_empty_service_ends_at_once(world):
    emptied = []
    world.service.connections.on_empty = lambda: emptied.append(True)
    world.does(world.service.connections.drain)
    assert emptied == [True]


def test_cutting_ends_everything_at_once_and_on_record(world):
    idle, busy = world.client(), world.client()
    busy.says(get())
    server = world.accepts()
    emptied = []
    world.service.connections.on_empty = lambda: emptied.append(True)
    world.does(world.service.connections.drain)
    world.does(world.service.connections.cut)
    assert idle.is_lost
    assert busy.was_aborted
    assert server.is_lost
    assert emptied == [True]
    assert (world.record["uri"], world.record["status"]) == ("/webmail", None)


def test_draining_and_losing_connections_needs_no_listener(world):
    client = world.client()
    world.does(world.service.connections.drain)
    assert client.is_lost


def test_a_service_that_was_never_started_can_be_stopped(world):
    world.service._tick.cancel()
    world.service._tick = None
    world.does(world.service.stop)


def test_the_status_tells_of_connections_and_servers(world):
    client = world.client()
    client.says(get())
    world.accepts().says(response())
    shown = world.service.status()
    assert (shown["connections"], shown["is_draining"], shown["dropped_log_lines"]) == (1, False, 0)
    (server,) = shown["upstreams"]["mail"]
    assert server == {"server": UPSTREAM, "addresses": [], "busy": 0, "idle": 1, "is_up": True, "cause": None}


def test_combined_lines_where_they_are_asked_for(make_world):
    world = make_world(access_log={"path": "-", "format": "combined"})
    client = world.client()
    client.says(get())
    world.accepts().says(response(body=b"hi"))
    assert world.log[0].startswith(b'10.0.0.9 - - [24/Nov/2026:12:00:00 +0000] "GET /webmail HTTP/1.1" 200 2')


# lockout


@pytest.fixture
def counting(make_world):
    """A world that counts, and what it has reported."""

    def make(**settings):
        world = make_world(**settings)
        reports = []
        world.service.lockout.on_failures = reports.append
        return world, reports

    return make


def test_failures_are_reported_together_and_only_where_somebody_counts(counting):
    world, reports = counting(lockout={"failures": 3})
    for key in ("10.0.0.9", "2001:db8::/64", "10.0.0.9", "2001:db8::/64"):
        world.does(world.service.lockout.note, world.service.snapshot.config.lockout, key, "login")
        world.does(
            world.service.lockout.note, world.service.snapshot.config.lockout, key, "certificate"
        )  # is not configured
    world.passes(2)
    assert reports == [{"10.0.0.9": 2, "2001:db8::/64": 2}]
    world.service.lockout.on_failures = None
    world.does(world.service.lockout.note, world.service.snapshot.config.lockout, "10.0.0.9", "login")  # nobody listens
    world.does(world.service.lockout._report)
    assert len(reports) == 1


def test_without_lockout_nothing_is_counted(counting):
    world, reports = counting()
    world.does(world.service.lockout.note, world.service.snapshot.config.lockout, "10.0.0.9", "login")
    world.passes(2)
    assert reports == []


LOGIN = "Authorization: Basic YWxpY2U6eA=="


def test_a_failed_login_at_the_upstream_counts(counting):
    world, reports = counting(lockout={"failures": 3})
    client = world.client()
    client.says(get("/webmail", LOGIN))
    world.accepts().says(response("401 Unauthorized", "WWW-Authenticate: Basic"))
    world.passes(2)
    assert reports == [{"10.0.0.9": 1}]


def test_a_trusted_certificate_is_counted_beside_its_address(counting, files):
    world, reports = counting(lockout={"failures": 3}, rules=[{"name": "Open to all", "action": "allow"}])
    alice = files.ca.issue("CN=Alice", email="alice@example.com")
    server = None
    for leaf in (alice, None):
        world.client(OUTSIDE, leaf).says(get("/webmail", LOGIN))
        server = server or world.accepts()
        server.says(response("401 Unauthorized", "WWW-Authenticate: Basic"))
    world.passes(2)
    fingerprint = alice.certificate.fingerprint(hashes.SHA256()).hex()
    assert reports == [{f"{OUTSIDE} {fingerprint} alice@example.com": 1, OUTSIDE: 1}]


@pytest.mark.parametrize(
    ("count", "expected"),
    [(["login"], []), (["certificate"], [{OUTSIDE: 1}]), (["login", "certificate"], [{OUTSIDE: 1}])],
)
def test_refused_certificates_count_where_that_is_configured_and_missing_ones_never(counting, files, count, expected):
    world, reports = counting(lockout={"failures": 3, "count": count})
    expired = files.ca.issue("CN=Alice", not_after=pki.NOW - pki.DAY / 2)
    for leaf, reason in ((expired, "certificate_expired"), (None, "certificate_missing")):
        client = world.client(OUTSIDE, leaf)
        client.says(get("/webmail"))
        assert header(client.hears(), "X-Gateway-Reason") == reason
    client = world.client()
    client.says(get("/secret"))
    assert header(client.hears(), "X-Gateway-Reason") in {"denied_by_rule", "no_rule"}
    world.passes(2)
    assert reports == expected


@pytest.mark.parametrize("path", ["/webmail", "/secret"])
def test_behind_a_trusted_proxy_the_client_is_kept_out_and_not_the_proxy_nor_others(make_world, path):
    """Its own checks, say, were refused too often; and one connection carries the requests of many."""
    world = make_world(trusted_proxies=["10.0.0.9"])
    until = world.clock.unix_seconds() + 60
    client = world.client("10.0.0.9")
    world.service.lockout.bans = {"10.0.0.9": until, "10.1.0.1": until}
    for forwarded in [], ["X-Forwarded-For: 10.1.0.1"]:
        client.says(get(path, *forwarded))
        assert status(client.hears()) == 429
    assert [record["client_ip"] for record in world.records] == ["10.0.0.9", "10.1.0.1"]
    client.says(get(path, "X-Forwarded-For: 10.1.0.2"))
    if path == "/secret":
        assert status(client.hears()) == 403
    else:
        world.accepts().says(response())
        assert status(client.hears()) == 200
        client.says(get(path, "X-Forwarded-For: 10.1.0.1"))
        assert status(client.hears()) == 429


def test_who_shares_an_address_keeps_out_no_holder_of_a_certificate(make_world, files):
    world = make_world(rules=[{"name": "All", "action": "require_certificate"}])
    alice, bob = files.ca.issue("CN=Alice"), files.ca.issue("CN=Bob")
    until = world.clock.unix_seconds() + 60
    fingerprint = bob.certificate.fingerprint(hashes.SHA256()).hex()
    world.service.lockout.bans = {OUTSIDE: until, f"{OUTSIDE} {fingerprint} Bob": until}
    for address, leaf, code in (
        (OUTSIDE, None, 429),
        (OUTSIDE, bob, 429),
        ("203.0.113.77", bob, 502),
        (OUTSIDE, alice, 502),
    ):
        client = world.client(address, leaf)
        client.says(get())
        if code == 502:
            world.refuses()
        assert status(client.hears()) == code


@pytest.mark.parametrize(
    ("path", "address", "otherwise"),
    [
        ("/webmail", "10.0.0.9", "it would have been let in"),
        ("/secret", "10.0.0.9", "denied_by_rule: denied by the rule"),
        ("/webmail", OUTSIDE, "certificate_missing: the client sent no certificate"),
    ],
)
def test_the_log_keeps_the_reason_that_there_would_have_been(world, path, address, otherwise):
    world.service.lockout.bans = {address: world.clock.unix_seconds() + 60}
    client = world.client(address)
    client.says(get(path, LOGIN))
    answer = client.hears()
    assert status(answer) == 429
    record = world.record
    assert record["detail"] == f"too many failed attempts from {address}; otherwise {otherwise}"
    assert (record["reason"], record["rule"], record["decision"]) == ("locked_out", None, None)
    assert record["user"] == "alice"
    assert b"would" not in answer
    assert otherwise.encode() not in answer


def test_who_is_kept_out_hears_so_until_the_time_is_over(world):
    world.service.lockout.bans = {"10.0.0.9": world.clock.unix_seconds() + 60}
    client, other = world.client(), world.client("10.0.0.10")
    client.says(get())
    answer = client.hears()
    assert (status(answer), header(answer, "X-Gateway-Reason")) == (429, "locked_out")
    assert (header(answer, "Retry-After"), header(answer, "Connection")) == ("60", "close")
    assert not client.is_open
    other.says(get())
    assert len(world.dials) == 1
    world.accepts()
    world.passes(61)
    world.client().says(get())
    assert len(world.dials) == 1
