"""Logins that belong to a connection: an upstream connection on which one user logged in serves nobody else.

The mail server here behaves as Exchange with NTLM does: whoever logged in on a connection is the user of everything
that follows on it, until it closes (CVE-2026-88007 was a proxy that shared such connections).
"""

from __future__ import annotations

import threading

import pytest
from support.client import Client
from support.connection_logins import ConnectionAuthenticator
from support.gateway import settings_for
from support.waiting import until

pytestmark = pytest.mark.e2e

REQUESTS = 5000
BODY_BYTES = 2 * 1024 * 1024


@pytest.fixture
def server(mail):
    authenticator = ConnectionAuthenticator()
    mail.answer("/webmail", authenticator)
    return authenticator


def log_in(client: Client, user: str) -> None:
    assert client.ask("GET", "/webmail").status == 401
    assert client.ask("GET", "/webmail", "Authorization: NTLM negotiate").get("WWW-Authenticate") == "NTLM challenge"
    assert client.ask("GET", "/webmail", f"Authorization: NTLM {user}").body == user.encode()


@pytest.mark.usefixtures("server")
def test_two_users_at_once_never_see_each_others_mail(gateway):
    """Ten thousand requests of two users, and each answer is the asking user's."""
    wrong: list[tuple[str, bytes]] = []

    def work(user: str) -> None:
        with Client(gateway.port) as client:
            log_in(client, user)
            for _ in range(REQUESTS):
                body = client.ask("GET", "/webmail").body
                if body != user.encode():
                    wrong.append((user, body))

    threads = [threading.Thread(target=work, args=(user,)) for user in ("alice", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.usefixtures("server")
def test_a_connection_is_not_handed_on_when_its_user_has_gone(gateway, mail):
    """The next client has to log in itself."""
    with Client(gateway.port) as client:
        log_in(client, "alice")
    until(lambda: not mail.open_connections, "alice's connection to the mail server is closed with hers")
    with Client(gateway.port) as client:
        assert client.ask("GET", "/webmail").status == 401


@pytest.mark.usefixtures("server")
def test_credentials_sent_unasked_bind_too(gateway, mail):
    """A pre-authenticated request needs no challenge before it."""
    with Client(gateway.port) as client:
        assert client.ask("GET", "/webmail", "Authorization: NTLM alice").body == b"alice"
        assert client.ask("GET", "/webmail").body == b"alice"
        assert len({request.connection for request in mail.received}) == 1
    with Client(gateway.port) as client:
        assert client.ask("GET", "/webmail").status == 401


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("expect", [(), ("Expect: 100-continue",)])
def test_a_login_that_is_answered_before_its_request_is_whole(gateway, mail, expect):
    """The server says who it wants at once, and reads the body to its end, as Exchange does."""

    def answer_first(dialogue):
        dialogue.answer(b"", b"WWW-Authenticate: NTLM", status=b"401 Unauthorized")
        dialogue.read_body()

    mail.answer("/webmail/send", answer_first)
    body = bytes(BODY_BYTES)
    with Client(gateway.port) as client:
        client.send(client.request("POST", "/webmail/send", f"Content-Length: {len(body)}", *expect) + body[:1000])
        got = client.answer()
        assert (got.status, got.interim, got.get("Connection")) == (401, [], None)
        client.send(body[1000:])
        log_in(client, "alice")
        assert client.ask("POST", "/webmail", body=body).body == b"alice"
    assert len({request.connection for request in mail.received}) == 1
    assert mail.received[0].body == body
    (request_id,) = mail.received[0].values(b"X-Request-Id")
    assert gateway.log.of(request_id.decode())["bytes_in"] == len(body)


def test_both_sides_close_together_and_nothing_is_retried_elsewhere(gateway, mail, server):
    """When the mail server drops the user's connection the client must log in anew, on a new one of its own."""
    with Client(gateway.port) as client:
        log_in(client, "alice")
        number = mail.received[-1].connection
        mail.answer("/webmail/drop", lambda dialogue: dialogue.reset())
        client.send(client.request("GET", "/webmail/drop"))
        assert client.is_at_end()
    assert [request.connection for request in mail.received].count(number) == 4
    assert list(server.users.values()) == ["alice"]
    record = gateway.log.of(mail.received[-1].request_id)
    assert (record["status"], record["reason"]) == (None, "upstream_unreachable")


@pytest.mark.usefixtures("server")
def test_an_idle_users_connection_closes_when_the_mail_server_closes_it(gateway, mail):
    """A browser that asks on must not find itself logged out on a connection that looks alive."""
    with Client(gateway.port) as client:
        log_in(client, "alice")
        mail.hang_up()
        assert client.is_at_end()


def test_basic_logins_share_connections(gateway, mail):
    """Only what must be kept apart is."""
    for _ in range(3):
        with Client(gateway.port) as client:
            assert client.ask("GET", "/webmail", "Authorization: Basic YTpi").status == 200
    assert len({request.connection for request in mail.received}) == 1


def test_per_client_pins_from_the_start(start, credentials, mail):
    """`connections: per_client`: one upstream connection for each client connection, logged in or not."""
    settings = settings_for(credentials.site, mail.url)
    settings["upstreams"]["mail"]["connections"] = "per_client"
    gateway = start(settings)
    with Client(gateway.port) as one, Client(gateway.port) as other:
        for _ in range(3):
            assert one.ask("GET", "/webmail").status == 200
            assert other.ask("GET", "/webmail").status == 200
        assert [request.connection for request in mail.received] == [
            number for _ in range(3) for number in (mail.received[0].connection, mail.received[1].connection)
        ]
    until(lambda: not mail.open_connections, "both end with their clients")
