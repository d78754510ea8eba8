"""Connections to mail servers between two requests: closed as the next one comes, or with bytes that nobody asked for.

What is safe is sent once more, and the client notices nothing. All else is answered 502, or left to the client where
the connection was its own: clients ask again by themselves where a kept connection closes without an answer.
"""

from __future__ import annotations

import ssl
import threading
from pathlib import Path

import pytest
from support.client import Client
from support.gateway import HOST, INSIDE, settings_for
from support.mail import MailServer
from support.programs import run
from support.waiting import PATIENCE_SECONDS
from support.wire import WIRES_BY_VERSION

pytestmark = pytest.mark.e2e

SHARED, OWN, SECURE = HOST, f"own.{HOST}", f"secure.{HOST}"


@pytest.fixture(scope="module")
def secure_mail(credentials):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(credentials.folder / "mailhost.crt", credentials.folder / "mailhost.key")
    server = MailServer(context)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def gateway(start, credentials, mail, secure_mail):
    """One site shares its connections to the mail server, two keep one for each client."""
    settings = settings_for(credentials.site, mail.url)
    own = {"servers": [mail.url], "connections": "per_client"}
    tls = {"ca": str(credentials.folder / "serverCA.crt"), "server_name": "mail.internal"}
    settings["upstreams"] |= {"own": own, "secure": own | {"servers": [secure_mail.url], "tls": tls}}
    settings["sites"] += [
        {"hosts": [OWN], "upstream": "own", **credentials.site},
        {"hosts": [SECURE], "upstream": "secure", **credentials.site},
    ]
    return start(settings)


# HTTP/2 is not offered where connections to the mail server are one client's.
WAYS = [
    (wire, site) for wire in WIRES_BY_VERSION for site in (SHARED, OWN, SECURE) if site == SHARED or not wire.is_http2
]


@pytest.fixture(params=WAYS, ids=lambda way: f"{way[0]}, {way[1]}")
def way(request):
    return request.param


@pytest.fixture
def wire(way):
    return way[0]


@pytest.fixture
def site(way):
    return way[1]


@pytest.fixture
def server(site, mail, secure_mail):
    """The site's mail server; below /webmail/dies it closes each connection that has served before."""
    server = secure_mail if site == SECURE else mail

    def die(dialogue):
        number = dialogue.request.connection
        if sum(each.connection == number for each in server.received) > 1:
            dialogue.reset() if dialogue.request.target.endswith(b"reset") else dialogue.close()
        else:
            dialogue.answer(dialogue.request.method + b" " + dialogue.read_body())

    server.answer("/webmail/dies", die)
    yield server
    secure_mail.forget()


REPEATED = {
    "GET": ("GET", (), b""),
    "a conditional GET": ("GET", ('If-None-Match: "1"',), b""),
    "PROPFIND": ("PROPFIND", ("Depth: 1",), b"<propfind/>"),
    "REPORT": ("REPORT", (), b"<report/>"),
    "PUT": ("PUT", ("Content-Type: text/calendar",), b"BEGIN:VCALENDAR"),
    "a long PUT": ("PUT", (), bytes(64 * 1024)),
    "DELETE": ("DELETE", (), b""),
}


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("asked", REPEATED.values(), ids=REPEATED)
def test_what_is_safe_is_sent_once_more(gateway, site, server, wire, end, asked):
    method, fields, body = asked
    with wire.client(gateway.port, server_name=site) as client:
        assert client.ask("GET", "/webmail").status == 200
        answer = client.ask(method, f"/webmail/dies/{end}", *fields, body=body)
        assert (answer.status, answer.body) == (200, method.encode() + b" " + body)
        assert client.ask("GET", "/webmail").status == 200
    first, second, third, fourth = server.received
    assert first.connection == second.connection != third.connection == fourth.connection
    assert second.head == third.head
    record = gateway.log.of(third.request_id)
    assert (record["status"], record["bytes_in"]) == (200, len(body))


NOT_REPEATED = {
    "POST": ("POST", (), b"x"),
    "an empty POST": ("POST", ("Content-Length: 0",), b""),
    "PATCH": ("PATCH", (), b"x"),
    "a PUT of what it knows": ("PUT", ('If-Match: "1"',), b"x"),
    "a PUT of what is new": ("PUT", ("If-None-Match: *",), b"x"),
    "a PUT that is too long": ("PUT", (), bytes(64 * 1024 + 1)),
    "a DELETE of what it knows": ("DELETE", ('If-Match: "1"',), b""),
}


def is_closed_upon(client, method, fields, body):
    """True where the connection closes without an answer; a client that is still sending then is told so by a reset."""
    try:
        client.start(method, "/webmail/dies", *fields, body=body)
        return client.is_at_end()
    except (ConnectionError, ssl.SSLError):
        return True


@pytest.mark.parametrize("asked", NOT_REPEATED.values(), ids=NOT_REPEATED)
def test_what_is_not_safe_is_left_to_the_client(gateway, site, server, wire, asked):
    """A shared connection was not the client's: it is told so."""
    method, fields, body = asked
    with wire.client(gateway.port, server_name=site) as client:
        assert client.ask("GET", "/webmail").status == 200
        if site == SHARED:
            assert client.ask(method, "/webmail/dies", *fields, body=body).verdict == (502, "upstream_unreachable")
        else:
            assert is_closed_upon(client, method, fields, body)
    assert [request.target for request in server.received] == [b"/webmail", b"/webmail/dies"]
    record = gateway.log.of(server.received[1].request_id)
    assert (record["status"], record["reason"]) == (502 if site == SHARED else None, "upstream_unreachable")
    assert record["detail"].startswith("the upstream closed the connection: ")
    gateway.says("the upstream closed the connection: ")  # what repeats is folded there


@pytest.mark.parametrize("site", [OWN, SECURE])
@pytest.mark.parametrize("before", [(), ("Authorization: NTLM TlRMTVNTUAAB",)], ids=["first", "later"])
@pytest.mark.parametrize("after", [(), ("Authorization: Negotiate YIIG",)], ids=["none", "token"])
def test_a_login_that_belongs_to_the_connection_is_lost_with_it(gateway, site, server, before, after):
    """Neither are its words said to another connection, nor is what follows asked there under no login."""
    with Client(gateway.port, server_name=site) as client:
        assert client.ask("GET", "/webmail", *before).status == 200
        client.send(client.request("GET", "/webmail/dies", *after))
        if before or after:
            assert client.is_at_end()
        else:
            assert client.answer().status == 200
    assert len(server.received) == (2 if before or after else 3)


def test_a_client_does_not_notice_that_an_idle_connection_was_closed(gateway, site, server, wire):
    """The gateway has seen the end of it, or has not yet, when the next request comes."""
    with wire.client(gateway.port, server_name=site) as client:
        for _ in range(20):
            assert client.ask("GET", "/webmail").status == 200
            server.hang_up()
            assert client.ask("PUT", "/webmail", body=b"x").status == 200


def test_a_connection_that_was_never_answered_on_gets_a_page(gateway, site, server, wire):
    server.answer("/webmail/ends", lambda dialogue: dialogue.close())
    with wire.client(gateway.port, server_name=site) as client:
        assert client.ask("GET", "/webmail/ends").verdict == (502, "upstream_unreachable")
        assert site == SHARED or client.is_at_end()
    assert len(server.received) == 1


@pytest.mark.parametrize("version", ["--tls-max=1.2", "--tlsv1.3"])
def test_curl_asks_again_by_itself(gateway, mail, version):
    """A POST, which nobody but the client may send twice: it sees its kept connection close, and makes another."""

    def die(dialogue):
        if len(mail.received) == 2:
            dialogue.close()
        else:
            dialogue.answer(dialogue.read_body())

    mail.answer("/webmail/dies", die)
    tls = version.split("=")
    common = ["--silent", "--show-error", "--http1.1", "--max-time", "30", *tls, "--insecure"]
    common += ["--resolve", f"{OWN}:{gateway.port}:{INSIDE}", "--write-out", " %{http_code} %{num_connects}\n"]
    url = f"https://{OWN}:{gateway.port}/webmail"
    code, output = run("curl", ["-q", *common, url, "--next", *common, "--data", "letter", f"{url}/dies"])
    assert code == 0, output
    assert output.decode().split("\n")[-2] == "letter 200 1"
    assert [request.method for request in mail.received] == [b"GET", b"POST", b"POST"]


def test_a_body_whose_beginning_was_lost_goes_on_behind_it(gateway, mail):
    """The client is in the middle of its PUT when the mail server turns out to be gone."""

    def die(dialogue):
        if len(mail.received) == 2:
            dialogue.read(5)
            dialogue.close()
        else:
            dialogue.read(5)
            client.send(b"world")
            dialogue.read(5)
            dialogue.answer(bytes(dialogue.request.body))

    mail.answer("/webmail/dies", die)
    with Client(gateway.port, server_name=OWN) as client:
        assert client.ask("GET", "/webmail").status == 200
        client.send(client.request("PUT", "/webmail/dies", "Content-Length: 10") + b"hello")
        assert client.answer().body == b"helloworld"
    assert mail.received[1].connection != mail.received[2].connection


@pytest.mark.parametrize("site", [SHARED, OWN])
def test_a_connection_that_is_about_to_be_closed_is_not_used(gateway, mail, site):
    """The mail server says for how many seconds it keeps a connection."""
    for seconds in (0, 3600):
        hint = b"Keep-Alive: timeout=%d" % seconds
        mail.answer(f"/webmail/{seconds}", lambda dialogue, hint=hint: dialogue.answer(b"", hint, b"X-Hint: yes"))
    with Client(gateway.port, server_name=site) as client:
        for seconds in (0, 3600):
            answer = client.ask("GET", f"/webmail/{seconds}")
            assert (answer.get("X-Hint"), answer.get("Keep-Alive")) == ("yes", None)
        assert client.ask("POST", "/webmail", body=b"x").status == 200
    first, second, third = mail.received
    assert first.connection != second.connection == third.connection


EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
BODILESS = {
    "HEAD": ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(EVIL)),
    "HEAD in chunks": ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "HEAD of no length": ("HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
    "204": ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
    "204 with a length": ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: %d\r\n\r\n" % len(EVIL)),
    "204 in chunks": ("GET", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "304 with a length": ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: %d\r\n\r\n" % len(EVIL)),
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("asked", BODILESS.values(), ids=BODILESS)
def test_a_body_that_should_not_be_there_is_nobodys_answer(gateway, site, server, wire, when, asked):
    """The mail server sends it late: before the next request reaches the gateway, or after."""
    method, head = asked
    may_go_on, is_sent = threading.Event(), threading.Event()

    def answer(dialogue):
        dialogue.send(head)
        assert may_go_on.wait(PATIENCE_SECONDS)
        try:
            dialogue.send(EVIL)
        finally:  # the gateway may have closed by then
            is_sent.set()

    server.answer("/webmail/evil", answer)
    with (
        wire.client(gateway.port, server_name=site) as client,
        wire.client(gateway.port, server_name=site) as other,
    ):
        assert client.ask(method, "/webmail/evil").status == int(head.split()[1])
        if when == "before":
            may_go_on.set()
            assert is_sent.wait(PATIENCE_SECONDS)
        exchanges = [each.start("GET", "/webmail") for each in (other, client)]
        may_go_on.set()
        assert is_sent.wait(PATIENCE_SECONDS)
        assert [exchange.answer().body for exchange in exchanges] == [b"mail\n", b"mail\n"]
        assert client.ask("GET", "/webmail").body == b"mail\n"


def waiting_ports(server):
    """How many ports wait for late packets of a connection to this server (TIME_WAIT)."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[2].endswith(f":{server.port:04X}") and line.split()[3] == "06" for line in lines)


def test_many_such_answers_use_up_no_ports(gateway, site, server, wire):
    """Each costs a connection, and would hold its port for a minute."""
    before = waiting_ports(server)
    with wire.client(gateway.port, server_name=site) as client:
        for _ in range(50):
            assert client.ask("HEAD", "/webmail").status == 200
    assert len({request.connection for request in server.received}) == 50
    assert waiting_ports(server) - before < 10
