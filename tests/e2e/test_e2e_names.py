"""An upstream server that is given by name: the gateway goes where the name leads now."""

from __future__ import annotations

import pytest
from support.client import Client, ask
from support.dns_server import DnsServer
from support.dnsmasq import Dnsmasq
from support.gateway import INSIDE, free_port, settings_for
from support.mail import MailServer
from support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.measured]

NAME = "mail.lan"
ELSEWHERE = "127.0.0.3"


@pytest.fixture(scope="module")
def port():
    """The same on both addresses: a name says nothing of ports."""
    return free_port()


@pytest.fixture(scope="module")
def old(port):
    server = MailServer(port=port)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def new(port):
    server = MailServer(host=ELSEWHERE, port=port)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def dns():
    with DnsServer() as server:
        server.says(NAME, INSIDE, ttl=1)
        yield server


@pytest.fixture(scope="module")
def following(start, credentials, dns, port):
    settings = settings_for(credentials.site, f"http://{NAME}:{port}")
    return start({**settings, "resolver": {"servers": [dns.address]}})


@pytest.fixture(autouse=True)
def _as_before(dns, old, new):
    dns.says(NAME, INSIDE, ttl=1)
    yield
    old.forget()
    new.forget()


def is_at(gateway, server):
    """True when a request reaches this server."""
    before = len(server.received)
    assert ask(gateway.port, "/webmail").status == 200
    return len(server.received) > before


def test_a_name_that_moves_is_followed_while_traffic_goes_on(following, dns, old, new):
    """A client on one connection notices nothing; the old server is left within the answer's time."""
    until(lambda: is_at(following, old), "the old server is asked")
    with Client(following.port) as client:
        assert client.ask("GET", "/webmail").status == 200
        assert old.open_connections == 1
        dns.says(NAME, ELSEWHERE, ttl=1)

        def has_moved():
            assert client.ask("GET", "/webmail").status == 200
            return new.received

        until(has_moved, "the new server is asked")
        until(lambda: not old.open_connections, "the old server is let go")
        before = len(old.received)
        for _ in range(5):
            assert client.ask("GET", "/webmail").status == 200
        assert len(old.received) == before
    following.says(f"{NAME} now has the addresses {ELSEWHERE}")


def test_what_is_under_way_ends_where_it_began(following, dns, old, new):
    """A long poll at the old server gets its answer, and then its connection ends."""
    until(lambda: is_at(following, old), "the old server is asked")

    def poll(dialogue):
        until(lambda: new.received, "the name has moved")
        dialogue.answer(b"late")

    old.answer("/webmail/poll", poll)
    with Client(following.port) as client:
        client.send(client.request("GET", "/webmail/poll"))
        until(lambda: any(each.target == b"/webmail/poll" for each in old.received), "the poll has arrived")
        dns.says(NAME, ELSEWHERE, ttl=1)
        until(lambda: is_at(following, new), "the new server is asked")
        answer = client.answer()
        assert (answer.status, answer.body) == (200, b"late")
    until(lambda: not old.open_connections, "the old server is let go")


def test_dns_may_fail_and_mail_goes_on(following, dns, old):
    """Nobody can tell, so the last answer counts, and the log says so."""
    until(lambda: is_at(following, old), "the old server is asked")
    dns.fails(NAME)
    told = f"{NAME} can't be resolved, the last answer ({INSIDE}) is still used"
    until(lambda: told in following.errors, "it is told")
    old.forget()  # its connections too
    assert is_at(following, old)
    dns.says(NAME, INSIDE, ttl=1)
    until(lambda: f"{NAME} can be resolved again" in following.errors, "it is told")


def test_a_name_that_is_taken_back_leads_nowhere_at_once(following, dns, old):
    """No such name is an answer: nothing is sent where the name led before."""
    until(lambda: is_at(following, old), "the old server is asked")
    dns.forgets(NAME)
    until(lambda: f"{NAME} can't be resolved: the name does not exist" in following.errors, "it is noticed")
    assert ask(following.port, "/webmail").verdict == (502, "upstream_unreachable")
    assert not old.open_connections
    dns.says(NAME, INSIDE, ttl=1)
    until(lambda: ask(following.port, "/webmail").status == 200, "the name is found again")


def test_without_any_answer_the_gateway_serves_and_refuses(start, credentials, dns, port):
    """A name that nobody knows keeps it neither from starting nor waiting."""
    settings = settings_for(credentials.site, f"http://nowhere.lan:{port}")
    gateway = start({**settings, "resolver": {"servers": [dns.address]}})
    assert ask(gateway.port, "/webmail").verdict == (502, "upstream_unreachable")
    gateway.says("nowhere.lan can't be resolved: the name does not exist")


def test_every_worker_follows_a_real_server(start, credentials, old, new, port, tmp_path_factory):
    """dnsmasq's answers count for a second; two workers each ask for themselves."""
    dnsmasq = Dnsmasq(tmp_path_factory.mktemp("dnsmasq"), ttl=1)
    try:
        dnsmasq.says(mail=INSIDE)
        settings = settings_for(credentials.site, f"http://{NAME}:{port}", workers=2)
        gateway = start({**settings, "resolver": {"servers": [dnsmasq.address]}})
        assert is_at(gateway, old)
        dnsmasq.says(mail=ELSEWHERE)
        told = f"{NAME} now has the addresses {ELSEWHERE}"
        until(lambda: gateway.errors.count(told) == 2, "both workers have noticed")
        until(lambda: not old.open_connections, "the old server is let go")
        assert all(is_at(gateway, new) for _ in range(8))
    finally:
        dnsmasq.stop()
