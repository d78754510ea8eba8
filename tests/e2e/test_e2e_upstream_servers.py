"""Several upstream servers: who is asked, who is passed over, and what a client notices of it."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest
from support.client import Client, ask
from support.gateway import INSIDE, free_port, settings_for
from support.mail import MailServer
from support.waiting import until

pytestmark = pytest.mark.e2e

HEALTH = {"path": "/health", "interval": "1s", "timeout": "1s", "rise": 2, "fall": 2}


@pytest.fixture
def other():
    server = MailServer()
    yield server
    server.stop()


def with_servers(credentials, *urls, **upstream):
    settings = settings_for(credentials.site, urls[0])
    settings["upstreams"]["mail"] = {"servers": list(urls), **upstream}
    return settings


def requests_of(server):
    return [request for request in server.received if request.target != b"/health"]


def test_round_robin_asks_one_after_the_other(start, credentials, mail, other):
    """Clients one by one are spread evenly."""
    gateway = start(with_servers(credentials, mail.url, other.url, balance="round_robin"))
    mail.forget()
    for _ in range(6):
        assert ask(gateway.port, "/webmail").status == 200
    assert (len(mail.received), len(other.received)) == (3, 3)


def test_client_ip_keeps_a_client_at_its_server(start, credentials, mail, other):
    """An address meets one server, and different addresses meet both."""
    gateway = start(with_servers(credentials, mail.url, other.url, balance="client_ip"))
    gateway_rules = [f"127.0.9.{number}" for number in range(1, 17)]
    mail.forget()
    seen = set()
    for source in gateway_rules:
        before = len(mail.received), len(other.received)
        for _ in range(2):
            ask(gateway.port, "/webmail", source=source, identity=credentials["alice"])
        after = len(mail.received), len(other.received)
        gained = after[0] - before[0], after[1] - before[1]
        assert gained in ((2, 0), (0, 2))
        seen.add(gained)
    assert len(seen) == 2


def test_client_ip_looks_behind_trusted_proxies(start, credentials, mail, other):
    """A proxy in front has one address and many clients, who are spread all the same."""
    settings = with_servers(credentials, mail.url, other.url, balance="client_ip")
    gateway = start({**settings, "trusted_proxies": [f"{INSIDE}/32"], "networks": {"internal": ["127.0.0.0/8"]}})
    mail.forget()
    servers = {}
    with Client(gateway.port) as proxy:
        for number in [*range(1, 17)] * 2:
            before = len(mail.received)
            assert proxy.ask("GET", "/webmail", f"X-Forwarded-For: 127.0.9.{number}").status == 200
            servers.setdefault(number, set()).add(len(mail.received) > before)
    assert all(len(each) == 1 for each in servers.values())
    assert set.union(*servers.values()) == {True, False}


def test_least_connections_avoids_the_busy_one(start, credentials, mail, other):
    """A server that holds a long poll gets the fewer new requests."""
    gateway = start(with_servers(credentials, mail.url, other.url))
    for server in (mail, other):
        server.answer("/webmail/poll", lambda dialogue: dialogue.wait_closed())
    with Client(gateway.port) as poll:
        poll.send(poll.request("GET", "/webmail/poll"))
        until(lambda: len(mail.received) + len(other.received) >= 1, "the poll has arrived")
        idle = other if any(request.target == b"/webmail/poll" for request in mail.received) else mail
        before = len(idle.received)
        for _ in range(4):
            assert ask(gateway.port, "/webmail").status == 200
        assert len(idle.received) == before + 4


def test_a_server_that_refuses_connections_costs_nobody_an_error(start, credentials, mail):
    """Nothing was sent yet, so another server is asked."""
    gateway = start(with_servers(credentials, f"http://{INSIDE}:{free_port()}", mail.url, balance="round_robin"))
    assert [ask(gateway.port, "/webmail").status for _ in range(6)] == [200] * 6


def test_a_server_that_cannot_be_reached_is_told_of_once_and_comes_back_by_itself(start, credentials, mail):
    """Clients notice nothing of either, so the log is where it is found out; this needs no checks."""
    port = free_port()
    url = f"http://{INSIDE}:{port}"
    gateway = start(with_servers(credentials, url, mail.url, balance="round_robin"))
    for _ in range(8):
        assert ask(gateway.port, "/webmail").status == 200
    told = f"{url} can't be reached: "
    assert gateway.errors.count(told) == 1
    late = MailServer(port=port)
    try:
        until(lambda: ask(gateway.port, "/webmail").status == 200 and late.received, "it is asked again")
        until(lambda: f"{url} can be reached again" in gateway.errors, "that is told")
        assert gateway.errors.count(told) == 1
    finally:
        late.stop()


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("last_word", [b"", b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"])
def test_a_server_that_closes_whatever_connects_keeps_nobody_waiting(start, credentials, mail, scheme, last_word):
    """As balancers do whose own servers are away."""
    with closing_at_once(last_word) as port:
        closing = f"{scheme}://{INSIDE}:{port}"
        alone = start(with_servers(credentials, closing))
        answers = {ask(alone.port, "/webmail").verdict for _ in range(20)}
        assert answers <= {(502, "upstream_unreachable"), (503, None)}
        if scheme == "https":  # nothing is asked before TLS is finished, so another server can be
            beside = start(with_servers(credentials, closing, mail.url, balance="round_robin"))
            assert [ask(beside.port, "/webmail").status for _ in range(20)] == [200] * 20


@contextlib.contextmanager
def closing_at_once(last_word):
    """A port whose server speaks before it is asked, or not at all, and closes."""
    with socket.create_server((INSIDE, 0)) as listening:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.sendall(last_word)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_health_checks_take_a_server_out_and_bring_it_back(start, credentials, mail, other):
    """What the checks say decides, not what clients suffer."""
    is_well = True

    def health(dialogue):
        dialogue.answer(b"", status=b"200 OK" if is_well else b"500 Broken")

    mail.answer("/health", health)
    gateway = start(with_servers(credentials, mail.url, other.url, balance="round_robin", health=HEALTH))
    gateway.expected_errors.append(r"is down: ")  # the other one too, once its test is over
    is_well = False
    until(lambda: f"{mail.url} is down: status 500" in gateway.errors, "the server is found out")
    before = len(requests_of(mail))
    assert [ask(gateway.port, "/webmail").status for _ in range(4)] == [200] * 4
    assert len(requests_of(mail)) == before
    is_well = True
    until(lambda: f"{mail.url} is up again" in gateway.errors, "the server is believed again")
    for _ in range(4):
        assert ask(gateway.port, "/webmail").status == 200
    assert len(requests_of(mail)) == before + 2
    mail.forget()


def test_with_no_healthy_server_the_answer_says_so(start, credentials):
    """503, at once, with the reason in the log."""
    url = f"http://{INSIDE}:{free_port()}"
    gateway = start(with_servers(credentials, url, health=HEALTH))
    gateway.expected_errors.append(r"is down: ")
    until(lambda: f"{url} is down" in gateway.errors, "the server is found out")
    answer = ask(gateway.port, "/webmail")
    assert answer.verdict == (503, "no_healthy_upstream")


def test_names_are_resolved_and_addresses_tried_until_one_answers(start, credentials, mail):
    """`localhost` may be ::1 first, where nobody listens."""
    gateway = start(with_servers(credentials, f"http://localhost:{mail.port}"))
    assert ask(gateway.port, "/webmail").status == 200
