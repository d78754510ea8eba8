"""When a certificate, its CA, a revocation list or an OCSP answer ends, so does what is under way by it."""

from datetime import timedelta

import pytest
from support.dialogue import INSIDE, OUTSIDE, get, header, request, response, status
from support.pki import NOW
from support.websocket import SWITCH, upgraded

from gateway.proxy.client.http1 import Http1Connection
from gateway.proxy.connections import JUDGED_AT_ONCE

LIFE_SECONDS = 30
END = NOW + timedelta(seconds=LIFE_SECONDS)
# A certificate is valid to the end of its last second, and the sweep comes once a second.
LATE_SECONDS = 3
EXPIRED = "certificate_expired"
PASS_ALL = [
    {"name": "Anybody", "uri": ["/open"], "action": "allow"},
    {"name": "Members", "action": "require_certificate"},
]


@pytest.fixture
def ending(files):
    return files.ca.issue("CN=ending", not_after=END)


def poll(world, leaf, address=OUTSIDE, path="/webmail"):
    """A request that waits for its answer."""
    client = world.client(address, leaf)
    client.says(get(path))
    server = world.accepts()
    assert server.hears()
    return client, server


def half(world, leaf, address=OUTSIDE, path="/webmail"):
    """A download that has begun."""
    client, server = poll(world, leaf, address, path)
    server.says(response("200 OK", "Content-Length: 100", body=b"half"))
    assert client.hears().endswith(b"half")
    return client, server


def test_a_request_without_an_answer_yet_is_refused(world, ending):
    client, server = poll(world, ending)
    world.passes(LIFE_SECONDS)
    assert client.hears() == b""
    world.passes(LATE_SECONDS)
    answer = client.hears()
    assert (status(answer), header(answer, "X-Gateway-Reason")) == (403, EXPIRED)
    assert not client.is_open
    assert server.is_lost
    assert (world.record["status"], world.record["reason"]) == (403, EXPIRED)
    assert world.record["detail"].startswith("expired 2")


def test_an_answer_that_has_begun_is_cut_short(world, ending):
    client, server = half(world, ending)
    world.passes(LIFE_SECONDS)
    assert not client.was_aborted
    world.passes(LATE_SECONDS)
    assert client.was_aborted
    assert server.is_lost
    assert (world.record["status"], world.record["reason"]) == (200, EXPIRED)


def test_an_upload_is_refused(world, ending):
    client = world.client(OUTSIDE, ending)
    client.says(request("POST", "/webmail", "Content-Length: 100", body=b"half"))
    server = world.accepts()
    for _ in range(LIFE_SECONDS + LATE_SECONDS):
        world.passes(1)
        if client.is_open:
            client.says(b".")
    assert header(client.hears(), "X-Gateway-Reason") == EXPIRED
    assert server.is_lost
    assert world.record["reason"] == EXPIRED
    assert LIFE_SECONDS <= world.record["bytes_in"] - len("half") <= LIFE_SECONDS + LATE_SECONDS


def test_a_tunnel_is_cut_although_both_sides_talk(world, ending):
    client, server = upgraded(world, world.client(OUTSIDE, ending))
    for _ in range(LIFE_SECONDS):
        world.passes(1)
        client.says(b"hi")
        assert server.hears() == b"hi"
    world.passes(LATE_SECONDS)
    assert client.was_aborted
    assert server.is_lost
    assert (world.record["status"], world.record["reason"]) == (101, EXPIRED)


def test_a_request_that_needed_no_certificate_goes_on(make_world, ending):
    world = make_world(rules=PASS_ALL)
    client, server = half(world, ending, path="/open")
    tunnel = world.client(OUTSIDE, ending)
    tunnel.says(get("/open/socket", "Connection: Upgrade", "Upgrade: websocket"))
    other = world.accepts()
    other.says(SWITCH)
    tunnel.hears()
    world.passes(LIFE_SECONDS + LATE_SECONDS)
    server.says(b"x" * 96)
    assert client.hears() == b"x" * 96
    other.says(b"still here")
    assert tunnel.hears() == b"still here"
    client.says(get("/webmail"))
    assert header(client.hears(), "X-Gateway-Reason") == EXPIRED


def test_inside_where_no_rule_needs_it_nothing_ends(world, ending):
    client, server = half(world, ending, INSIDE)
    world.passes(LIFE_SECONDS + LATE_SECONDS)
    server.says(b"x" * 96)
    assert client.hears() == b"x" * 96


def test_a_connection_at_rest_stays_open_and_its_next_request_is_refused(world, ending):
    client, server = half(world, ending)
    server.says(b"x" * 96)
    client.hears()
    world.passes(LIFE_SECONDS + LATE_SECONDS)
    assert client.is_open
    client.says(get())
    assert header(client.hears(), "X-Gateway-Reason") == EXPIRED


def test_a_request_just_before_the_end_of_a_connection_at_rest_ends_too(world, ending):
    client, server = half(world, ending)
    server.says(b"x" * 96)
    client.hears()
    world.passes(LIFE_SECONDS - 1)
    client.says(get())
    world.passes(1 + LATE_SECONDS)
    assert header(client.hears(), "X-Gateway-Reason") == EXPIRED


def test_a_request_after_the_end_is_judged_however_lately_the_certificate_was(world, ending):
    """Within a second of the last look, which came before the end."""
    client = world.client(OUTSIDE, ending)
    world.clock.seconds = LIFE_SECONDS + 0.9
    client.says(get())
    server = world.accepts()
    server.says(response())
    assert status(client.hears()) == 200
    world.clock.seconds = LIFE_SECONDS + 1.0
    client.says(get())
    assert header(client.hears(), "X-Gateway-Reason") == EXPIRED


def test_the_end_of_a_revocation_list_ends_what_requires_one(files, make_world):
    (files.folder / "brief.crl").write_bytes(files.ca.crl(next_update=END))
    strict = make_world(sites=[files.site(crl=["brief.crl"])])
    alice = files.ca.issue("CN=alice")
    client, _ = half(strict, alice)
    waiting, _ = poll(strict, alice)
    strict.passes(LIFE_SECONDS)
    assert not client.was_aborted
    strict.passes(LATE_SECONDS)
    assert client.was_aborted
    assert header(waiting.hears(), "X-Gateway-Reason") == "revocation_unknown"
    assert {record["reason"] for record in strict.records} == {"revocation_unknown"}
    assert all(" expired " in record["detail"] for record in strict.records)


def test_the_end_of_a_revocation_list_ends_nothing_where_it_need_not_be_there(files, make_world):
    (files.folder / "brief.crl").write_bytes(files.ca.crl(next_update=END))
    lenient = make_world(sites=[files.site(crl=["brief.crl"], crl_policy="if_present")])
    client, server = half(lenient, files.ca.issue("CN=alice"))
    lenient.passes(LIFE_SECONDS + LATE_SECONDS)
    server.says(b"x" * 96)
    assert client.hears() == b"x" * 96


def test_a_list_renewed_in_time_ends_nothing(files, make_world):
    path = files.folder / "brief.crl"
    path.write_bytes(files.ca.crl(next_update=END))
    sites = [files.site(crl=["brief.crl"])]
    world = make_world(sites=sites)
    client, server = half(world, files.ca.issue("CN=alice"))
    world.passes(LIFE_SECONDS / 2)
    path.write_bytes(files.ca.crl(number=2, next_update=END + timedelta(days=1)))
    world.does(world.service.adopt, files.snapshot(sites=sites))
    world.passes(LIFE_SECONDS)
    server.says(b"x" * 96)
    assert client.hears() == b"x" * 96


def test_the_end_of_an_intermediate_ends_what_it_vouched_for(files, world):
    middle = files.ca.issue_ca("CN=Middle", not_after=END)
    client, _ = half(world, middle.issue("CN=carol"))
    world.passes(LIFE_SECONDS + LATE_SECONDS)
    assert client.was_aborted
    assert world.record["reason"] == "certificate_untrusted"


def test_many_are_judged_some_at_a_time(world, ending):
    """What a list's end costs is spread over turns of the loop, so that others are served in between."""
    polls = [poll(world, ending)[0] for _ in range(JUDGED_AT_ONCE + 1)]
    world.clock.seconds = LIFE_SECONDS + 2
    turns = []

    def count():
        turns.append(sum(not each.is_open for each in polls))

    world.loop.call_soon(world.service._sweep)
    for _ in range(2):
        world.loop.call_soon(count)
    world.settles()
    count()
    assert turns[0] == JUDGED_AT_ONCE
    assert turns[-1] == len(polls)
    assert len(world.log) == len(polls)


def test_one_that_cannot_be_judged_ends_and_the_others_are_judged(world, ending, monkeypatch):
    (broken, _), (client, _) = half(world, ending), half(world, ending)
    on_trust_end = Http1Connection.on_trust_end

    def fail(connection):
        if connection is broken.application:
            raise RuntimeError("broken")
        on_trust_end(connection)

    monkeypatch.setattr(Http1Connection, "on_trust_end", fail)
    world.passes(LIFE_SECONDS + LATE_SECONDS)
    assert broken.was_aborted
    assert client.was_aborted
    assert "judging" in world.errors.found[0]
    world.errors.found.clear()


def test_nothing_is_left_of_a_connection_that_ended_before_its_certificate(world, ending):
    client, _ = half(world, ending)
    assert client.application in world.service.connections.certified
    client.goes()
    assert not world.service.connections.certified
