"""Revocation bites now: a list rewritten on disk puts its people out within two seconds, whatever they have open.

Each test makes its own users, so that the one list of the one gateway only ever grows, as lists do.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Event

import pytest
from support.client import context_for
from support.gateway import HOST, INSIDE, OUTSIDE, settings_for
from support.openssl_ca import OpensslCa
from support.waiting import AT_ONCE_SECONDS, PATIENCE_SECONDS, until
from support.wire import CUT_SHORT, HTTP1, WIRES_BY_VERSION

pytestmark = pytest.mark.e2e

by_version = pytest.mark.parametrize("wire", WIRES_BY_VERSION, ids=str)
both_ways = pytest.mark.parametrize("in_place", [False, True], ids=["renamed", "in place"])

# From the moment the file is there; what the documentation promises.
SERVED = (200, None)
REVOKED = (403, "certificate_revoked")
POLL, PATIENT, SOCKET = "/webmail/poll", "/webmail/patient", "/webmail/socket"
HELLO = b"ping"


@dataclass
class House:
    """A gateway, its CA, and where the CA's list is read from."""

    gateway: object
    ca: OpensslCa
    crl: object

    def connect(self, wire, **options):
        return wire.client(self.gateway.port, source=OUTSIDE, **options)

    def session_of(self, wire, context):
        """A session that resumes, and counts as long as its certificate does."""
        with self.connect(wire, context=context) as client:
            assert client.ask("GET", "/webmail").verdict == SERVED
            session = client.socket.session
            client.say_goodbye()
        return session

    def again(self, wire, context, session):
        """(verdict, whether the session was taken)."""
        with self.connect(wire, context=context, session=session) as client:
            return client.ask("GET", "/webmail").verdict, client.socket.session_reused

    def revoke(self, identity, *, in_place=False, reason="keyCompromise"):
        """Returns when the list was there, on the monotonic clock."""
        self.ca.revoke(identity, reason)
        self.ca.publish(self.crl, in_place=in_place)
        return time.monotonic()


@pytest.fixture(scope="module")
def house(start, credentials, mail, tmp_path_factory):
    folder = tmp_path_factory.mktemp("revocation")
    ca = OpensslCa.make(folder, "Revoking CA")
    crl = folder / "list.crl"
    ca.publish(crl)
    site = {**credentials.server, "client_ca": [str(ca.certificate)], "crl": [str(crl)], "crl_policy": "require"}
    gateway = start(settings_for(site, mail.url))
    # A list that is being written in place may be seen half-way: then the old one stays for a moment.
    gateway.expected_errors.append(r"/list\.crl.*; the last good list stays")
    return House(gateway, ca, crl)


@pytest.fixture
def patience(mail):
    """Answers at POLL never come, those at PATIENT when this is set; SOCKET echoes."""
    may_answer = Event()

    def when_asked(dialogue):
        assert may_answer.wait(PATIENCE_SECONDS)
        dialogue.answer(b"patience\n")

    def echo(dialogue):
        dialogue.switch()
        while data := dialogue.read(len(HELLO)):
            dialogue.send(data)

    mail.answer(POLL, lambda dialogue: dialogue.wait_closed())
    mail.answer(PATIENT, when_asked)
    mail.answer(SOCKET, echo)
    yield may_answer
    may_answer.set()


def upgrade(client):
    exchange = client.open(SOCKET)
    assert talk(exchange) == HELLO
    return exchange


def talk(exchange):
    exchange.send(HELLO)
    return exchange.read(len(HELLO))


@both_ways
@by_version
def test_everything_of_a_revoked_certificate_ends_and_nothing_of_anybody_else(house, mail, patience, wire, in_place):
    victim, other = house.ca.issue("victim"), house.ca.issue("other")
    context, other_context = (context_for(None, each, wire.version) for each in (victim, other))
    session, other_session = house.session_of(wire, context), house.session_of(wire, other_context)
    idle, polling, socket, other_polling, other_socket = (
        house.connect(wire, identity=identity) for identity in (victim, victim, victim, other, other)
    )
    with idle, polling, socket, other_polling, other_socket:
        assert idle.ask("GET", "/webmail").verdict == SERVED
        cut, talking = upgrade(socket), upgrade(other_socket)
        poll = polling.start("GET", POLL)
        other_poll = other_polling.start("GET", PATIENT)
        until(lambda: {b"/webmail/poll", b"/webmail/patient"} <= {each.target for each in mail.received}, "polls run")

        published = house.revoke(victim, in_place=in_place)

        answer = poll.answer()
        assert answer.verdict == REVOKED
        assert poll.is_over()
        with pytest.raises(CUT_SHORT):
            cut.read(1)
        assert time.monotonic() - published < AT_ONCE_SECONDS
        refused = idle.ask("GET", "/webmail")
        assert refused.verdict == REVOKED
        assert refused.get("Connection") == wire.close
        assert house.again(wire, context, session) == (REVOKED, True)

        patience.set()
        assert other_poll.answer().verdict == SERVED
        assert talk(talking) == HELLO
        assert house.again(wire, other_context, other_session) == (SERVED, True)
    check_records(house.gateway.log, mail, answer)


def check_records(log, mail, answer):
    """The requests that were cut have a record each, with the reason."""
    ids = {each.target: each.request_id for each in mail.received}
    assert answer.get("X-Request-Id") == ids[b"/webmail/poll"]
    record = log.of(ids[b"/webmail/poll"])
    assert (record["status"], record["reason"]) == REVOKED
    assert record["cert_subject"].startswith("CN=victim")
    sockets = [log.of(each.request_id) for each in mail.received if each.target == SOCKET.encode()]
    reasons = {record["cert_subject"].split("-")[0]: (record["status"], record["reason"]) for record in sockets}
    assert reasons == {"CN=victim": (101, "certificate_revoked"), "CN=other": (101, None)}


@by_version
def test_an_open_connection_needs_no_event_of_its_own(house, wire):
    """Asked without a pause, it is served until the list is seen, and refused from then on, in time."""
    victim = house.ca.issue("busy")
    with house.connect(wire, identity=victim) as client:
        assert client.ask("GET", "/webmail").verdict == SERVED
        published = house.revoke(victim)
        verdicts = [until(lambda: (v := client.ask("GET", "/webmail").verdict) != SERVED and v, "refused")]
        assert time.monotonic() - published < AT_ONCE_SECONDS
        assert wire.is_http2 or client.is_at_end()
    with house.connect(wire, identity=victim) as client:
        verdicts.append(client.ask("GET", "/webmail").verdict)
    assert verdicts == [REVOKED, REVOKED]


@by_version
def test_a_request_whose_answer_has_begun_is_cut_short(house, mail, wire):
    """There is no room for another status then: the client must see that the answer is not whole."""
    victim = house.ca.issue("reader")

    def begin(dialogue):
        dialogue.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbeginning")
        dialogue.wait_closed()

    mail.answer(POLL, begin)
    with house.connect(wire, identity=victim) as client:
        exchange = client.start("GET", POLL)
        assert (exchange.head().status, exchange.read(9)) == (200, b"beginning")
        house.revoke(victim)
        with pytest.raises(CUT_SHORT):
            exchange.read(1)
    record = house.gateway.log.of(mail.only().request_id)
    assert (record["status"], record["reason"]) == (200, "certificate_revoked")


@by_version
def test_a_certificate_that_comes_off_hold_is_served_again(house, wire):
    held = house.ca.issue("held")
    context = context_for(None, held, wire.version)
    session = house.session_of(wire, context)
    house.revoke(held, reason="certificateHold")
    until(lambda: house.again(wire, context, session)[0] == REVOKED, "on hold", seconds=AT_ONCE_SECONDS)
    with house.connect(wire, context=context, session=session) as client:
        answer = client.ask("GET", "/webmail")
    assert b"Your certificate is on hold" in answer.body
    assert "put on hold by" in house.gateway.log.of(answer.get("X-Request-Id"))["detail"]
    house.ca.unhold(held)
    house.ca.publish(house.crl)
    until(lambda: house.again(wire, context, session)[0] == SERVED, "served again", seconds=AT_ONCE_SECONDS)


@by_version
def test_inside_where_no_certificate_is_asked_for_revocation_matters_to_nobody(house, wire):
    victim = house.ca.issue("insider")
    house.revoke(victim)
    with wire.client(house.gateway.port, source=INSIDE, server_name=HOST, identity=victim) as client:
        assert client.ask("GET", "/webmail").verdict == SERVED


def test_a_list_that_is_gone_or_garbled_revokes_nobody_and_frees_nobody(house):
    """The last good list goes on counting, with a line that says what is wrong."""
    victim, other = house.ca.issue("out"), house.ca.issue("in")
    house.revoke(victim)
    contexts = {each: context_for(None, each) for each in (victim, other)}
    until(lambda: house.again(HTTP1, contexts[victim], None)[0] == REVOKED, "revoked", seconds=AT_ONCE_SECONDS)
    good = house.crl.read_bytes()
    for break_it, word in (
        (house.crl.unlink, " does not exist"),
        (lambda: house.crl.write_bytes(b""), " is empty"),
        (lambda: house.crl.write_bytes(good[:-200]), ": line 1: the X509 CRL block that begins here has no END"),
        (lambda: house.crl.write_bytes(b"soon"), ": not a readable revocation list"),
    ):
        seen = len(house.gateway.errors)
        break_it()
        until(lambda seen=seen: "list stays" in house.gateway.errors[seen:], "refused", seconds=AT_ONCE_SECONDS)
        assert f"list.crl{word}" in house.gateway.errors[seen:]
        assert house.again(HTTP1, contexts[victim], None)[0] == REVOKED
        assert house.again(HTTP1, contexts[other], None)[0] == SERVED
    house.crl.write_bytes(good)
    house.revoke(other)
    until(lambda: house.again(HTTP1, contexts[other], None)[0] == REVOKED, "revoked", seconds=AT_ONCE_SECONDS)
