"""A connection whose certificate is asked about online: its requests wait, everybody else's don't."""

import asyncio

import pytest
from support.dialogue import OUTSIDE, get, header, request, response, status
from support.ocsp import GOOD, MINUTE, REVOKED, named
from support.ocsp import response as ocsp_response

from gateway.proxy.client.receive_buffer import MAX_HELD_BYTES
from gateway.proxy.connections import Connections
from gateway.proxy.exchange.waiting import WAIT_SECONDS
from gateway.proxy.ocsp.statuses import Statuses
from gateway.x509.ocsp import OcspError

URL = "http://ocsp.example.com/"


class Responder:
    """Says nothing until `answers` is called."""

    def __init__(self, world, files):
        self.world = world
        self.files = files
        self.waiting = []
        world.service.statuses = Statuses(self.ask)

    async def ask(self, _url, _request):
        question = asyncio.get_running_loop().create_future()
        self.waiting.append(question)
        return await question

    def answers(self, leaf, says=GOOD, lasts=5 * MINUTE):
        self.world.does(self.waiting.pop(0).set_result, self.says(leaf, says, lasts))

    def says(self, leaf, says=GOOD, lasts=5 * MINUTE):
        now = self.world.clock.now()
        return ocsp_response(leaf, self.files.ca, says, this_update=now, next_update=now + lasts)

    def fails(self):
        self.world.does(self.waiting.pop(0).set_exception, OcspError("it is down"))


@pytest.fixture
def sites(files):
    return [files.site(ocsp={"mode": "hard"})]


@pytest.fixture
def world(make_world, sites):
    return make_world(sites=sites)


@pytest.fixture
def responder(world, files):
    return Responder(world, files)


@pytest.fixture
def bob(files):
    return files.ca.issue("CN=bob", extensions=[named(URL)])


def test_the_question_begins_with_the_handshake_and_the_request_waits_for_its_end(world, responder, bob):
    client = world.client(OUTSIDE, bob)
    assert len(responder.waiting) == 1
    client.says(get())
    assert not world.dials
    responder.answers(bob)
    server = world.accepts()
    assert header(server.hears(), "X-Client-Verified") == "SUCCESS"
    server.says(response())
    assert status(client.hears()) == 200
    client.says(get())
    assert server.hears()
    assert responder.waiting == []


def test_an_answer_before_the_first_request_makes_nobody_wait(world, responder, bob):
    client = world.client(OUTSIDE, bob)
    responder.answers(bob)
    client.says(get())
    world.accepts()


def test_a_revoked_certificate_is_refused_and_so_is_one_nobody_knows_of(world, responder, bob):
    client, other = world.client(OUTSIDE, bob), world.client(OUTSIDE, bob)
    client.says(get())
    other.says(get())
    responder.answers(bob, REVOKED)
    for each in (client, other):
        answer = each.hears()
        assert header(answer, "X-Gateway-Reason") == "certificate_revoked"
        assert not each.is_open
    assert [record["reason"] for record in world.records] == ["certificate_revoked"] * 2


def test_without_an_answer_hard_refuses(world, responder, bob):
    client = world.client(OUTSIDE, bob)
    client.says(get())
    responder.fails()
    assert header(client.hears(), "X-Gateway-Reason") == "revocation_unknown"


def test_others_are_served_meanwhile(world, responder, files, bob):
    waiting = world.client(OUTSIDE, bob)
    waiting.says(get())
    dave = files.ca.issue("CN=dave", extensions=[named(URL)])
    client, inside = world.client(OUTSIDE, dave), world.client()
    responder.waiting.reverse()
    responder.answers(dave)
    client.says(get())
    server = world.accepts()
    server.says(response())
    inside.says(get())
    server.says(response())
    assert [status(each.hears()) for each in (client, inside)] == [200, 200]
    assert waiting.hears() == b""


def test_what_is_sent_behind_the_waiting_request_is_held_to_the_bound_and_then_carried(world, responder, bob):
    client = world.client(OUTSIDE, bob)
    body = b"x" * (MAX_HELD_BYTES + 1)
    client.says(request("POST", "/webmail", f"Content-Length: {len(body)}", body=body[:-1]))
    assert not client.is_paused
    client.says(body[-1:] + get("/webmail/next"))
    assert client.is_paused
    responder.answers(bob)
    server = world.accepts()
    assert server.hears().endswith(b"\r\n\r\n" + body)
    server.says(response())
    assert not client.is_paused
    assert server.hears().startswith(b"GET /webmail/next ")


def test_what_stands_behind_a_request_that_no_rule_opens_is_read_when_it_is_refused(world, responder, bob):
    client = world.client(OUTSIDE, bob)
    client.says(get("/secret") + get("/webmail"))
    responder.answers(bob)
    assert header(client.hears(), "X-Gateway-Reason") == "denied_by_rule"
    world.accepts()


def test_a_client_that_leaves_while_it_waits_is_on_record_once(world, responder, bob):
    client = world.client(OUTSIDE, bob)
    client.says(get())
    client.goes()
    assert (world.record["uri"], world.record["status"]) == ("/webmail", None)
    responder.answers(bob)
    assert len(world.log) == 1
    assert not world.dials


def test_a_question_without_end_ends_the_wait_at_its_deadline(world, responder, bob):
    client = world.client(OUTSIDE, bob)
    client.says(get())
    world.passes(WAIT_SECONDS - 1)
    assert client.hears() == b""
    world.passes(3)
    assert header(client.hears(), "X-Gateway-Reason") == "revocation_unknown"
    responder.answers(bob)
    assert len(world.log) == 1


def test_when_the_answer_ends_the_next_request_waits_for_another(world, responder, bob):
    client = world.client(OUTSIDE, bob)
    client.says(get())
    responder.answers(bob)
    server = world.accepts()
    server.says(response())
    assert status(client.hears()) == 200
    for _ in range(6):  # a busy client: the connection stays open
        world.passes(55)
        server.hears()
        client.says(get())
        if responder.waiting:
            break
        server.says(response())
        assert status(client.hears()) == 200
    assert server.hears() == b""
    responder.answers(bob, REVOKED)
    assert header(client.hears(), "X-Gateway-Reason") == "certificate_revoked"


def test_a_reload_asks_anew_and_cuts_nothing_that_is_under_way(world, responder, files, sites, bob):
    client = world.client(OUTSIDE, bob)
    client.says(get())
    responder.answers(bob)
    server = world.accepts()
    server.hears()
    world.does(world.service.adopt, files.snapshot(sites=sites))
    assert len(responder.waiting) == 1
    server.says(response(body=b"long poll"))
    assert client.hears().endswith(b"long poll")
    client.says(get())
    assert server.hears() == b""
    responder.answers(bob, REVOKED)
    assert header(client.hears(), "X-Gateway-Reason") == "certificate_revoked"


def test_a_reload_whose_rules_refuse_ends_the_wait(world, responder, files, sites, bob):
    client = world.client(OUTSIDE, bob)
    client.says(get())
    world.does(world.service.adopt, files.snapshot(sites=sites, rules=[{"name": "Nobody", "action": "deny"}]))
    assert header(client.hears(), "X-Gateway-Reason") == "denied_by_rule"
    while responder.waiting:
        responder.answers(bob)
    assert len(world.log) == 1


def test_a_reload_during_the_wait_waits_for_the_newer_question_too(world, responder, files, sites, bob):
    client = world.client(OUTSIDE, bob)
    client.says(get())
    world.does(world.service.adopt, files.snapshot(sites=sites))
    while responder.waiting:
        assert not world.dials
        responder.answers(bob)
    world.accepts().says(response())
    assert status(client.hears()) == 200
    assert len(world.log) == 1


@pytest.fixture
def reload_and_answer(world, responder, files, bob, monkeypatch):
    """A reload, and the responder's answer before the connection's turn to be judged anew has come."""
    monkeypatch.setattr(Connections, "_adopt_some", lambda *_: None)

    def act(**settings):
        world.does(world.service.adopt, files.snapshot(**settings))
        while responder.waiting:
            responder.answers(bob)

    return act


def test_an_answer_just_after_a_reload_is_used_by_what_counts_now(world, files, bob, reload_and_answer):
    client = world.client(OUTSIDE, bob)
    client.says(get())
    other = files.site(upstream="other", ocsp={"mode": "hard"})
    reload_and_answer(upstreams={"other": {"servers": ["http://10.0.0.7:8080"]}}, sites=[other])
    server = world.accepts()
    assert server.server.host == "10.0.0.7"
    server.says(response(body=b"mail"))
    assert client.hears().endswith(b"mail")
    assert len(world.log) == 1


def test_an_answer_just_after_its_site_is_gone_ends_the_wait_with_a_refusal(world, files, bob, reload_and_answer):
    client = world.client(OUTSIDE, bob)
    client.says(get())
    reload_and_answer(sites=[files.site("other.example.com")])
    assert header(client.hears(), "X-Gateway-Reason") == "host_mismatch"
    assert not client.is_open
    assert [record["reason"] for record in world.records] == ["host_mismatch"]


def test_a_list_still_cuts_at_once(world, responder, files, bob):
    (files.folder / "bob.crl").write_bytes(files.ca.crl([bob.certificate]))
    client = world.client(OUTSIDE, bob)
    client.says(get())
    responder.answers(bob)
    server = world.accepts()
    server.says(response("200 OK", "Content-Length: 100", body=b"half"))
    world.does(world.service.adopt, files.snapshot(sites=[files.site(crl=["bob.crl"], ocsp={"mode": "hard"})]))
    assert client.was_aborted
    assert world.record["reason"] == "certificate_revoked"


def begun(world, responder, bob):
    """A download that an answer of five minutes let in."""
    client = world.client(OUTSIDE, bob)
    client.says(get())
    responder.answers(bob)
    server = world.accepts()
    server.says(response("200 OK", "Content-Length: 1000", body=b"half"))
    client.hears()
    return client, server


def goes_on(world, client, server, seconds):
    """The download trickles."""
    for _ in range(seconds):
        world.passes(1)
        server.says(b".")
        assert client.hears() == b"."


def test_what_is_under_way_is_asked_about_again_when_the_answer_ends(world, responder, bob):
    client, server = begun(world, responder, bob)
    goes_on(world, client, server, 300)
    assert responder.waiting == []
    goes_on(world, client, server, 10)  # nothing is cut while the question is under way
    responder.answers(bob)
    goes_on(world, client, server, 290)
    assert responder.waiting == []
    goes_on(world, client, server, 20)
    responder.answers(bob, REVOKED)
    world.passes(2)
    assert client.was_aborted
    assert world.record["reason"] == "certificate_revoked"


def test_without_another_answer_hard_ends_what_is_under_way(world, responder, bob):
    client, server = begun(world, responder, bob)
    goes_on(world, client, server, 302)
    responder.fails()
    world.passes(2)
    assert client.was_aborted
    assert (world.record["reason"], world.record["detail"]) == ("revocation_unknown", "it is down")


def test_without_another_answer_soft_goes_on_and_asks_again(make_world, files, bob):
    world = make_world(sites=[files.site(ocsp={"mode": "soft"})])
    responder = Responder(world, files)
    client, server = begun(world, responder, bob)
    goes_on(world, client, server, 302)
    responder.fails()
    goes_on(world, client, server, 15)
    responder.answers(bob, REVOKED)
    world.passes(2)
    assert client.was_aborted
    assert world.record["reason"] == "certificate_revoked"


def test_a_request_that_a_reload_asked_about_anew_ends_with_the_answer(world, responder, files, sites, bob):
    client, server = begun(world, responder, bob)
    world.does(world.service.adopt, files.snapshot(sites=sites))
    goes_on(world, client, server, 5)
    responder.answers(bob, REVOKED)
    world.passes(2)
    assert client.was_aborted
    assert world.record["reason"] == "certificate_revoked"


def test_a_connection_at_rest_asks_nothing(world, responder, bob):
    client, server = begun(world, responder, bob)
    server.says(b"." * 996)
    assert client.hears()
    world.passes(50)
    assert client.is_open
    world.clock.seconds += 300
    world.passes(2)
    assert responder.waiting == []
