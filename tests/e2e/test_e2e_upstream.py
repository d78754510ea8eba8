"""Mail servers that fail: the client doesn't notice, or is told so, and never takes half an answer for a whole one."""

from __future__ import annotations

import ssl
import threading
import time

import pytest
from support.client import Client, ask
from support.gateway import HOST, free_port, settings_for
from support.mail import MailServer
from support.waiting import AT_ONCE_SECONDS, PATIENCE_SECONDS, until
from support.wire import CUT_SHORT

from gateway.proxy.lingering import LINGER_IDLE_SECONDS

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def gateway(start, credentials, mail):
    """Impatient, but not so much that a mail server on a busy machine is too late with any answer."""
    settings = settings_for(credentials.site, mail.url)
    settings["upstreams"]["mail"]["timeouts"] = {"response": "3s"}
    return start(settings)


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize(
    "head", [b"Content-Length: 100\r\n\r\nhalf of it", b"Transfer-Encoding: chunked\r\n\r\na\r\nhalf of it\r\n"]
)
def test_an_answer_that_was_cut_short_is_cut_short_for_the_client(gateway, mail, head, end, wire):
    def answer(dialogue):
        dialogue.send(b"HTTP/1.1 200 OK\r\n" + head)
        until(lambda: half_arrived, "the client has the first half")
        getattr(dialogue, end)()

    half_arrived = []
    mail.answer("/webmail", answer)
    with wire.client(gateway.port) as client:
        exchange = client.start("GET", "/webmail")
        assert exchange.read(10) == b"half of it"
        half_arrived.append(True)
        with pytest.raises(CUT_SHORT):
            exchange.answer()
    record = gateway.log.of(mail.only().request_id)
    assert (record["status"], record["reason"]) == (200, "upstream_bad_response")


def test_a_connection_that_died_idle_costs_a_get_nothing(gateway, mail, wire):
    """The mail server closes a kept connection just as the next request comes: it is sent once more, on a new one."""
    mail.answer(
        "/webmail/dies", lambda dialogue: dialogue.close() if len(mail.received) == 2 else dialogue.answer(b"x")
    )
    with wire.client(gateway.port) as client:
        assert client.ask("GET", "/webmail").status == 200
        assert client.ask("GET", "/webmail/dies").body == b"x"
    first, second, third = mail.received
    assert first.connection == second.connection != third.connection
    assert second.head == third.head
    assert gateway.log.of(third.request_id)["status"] == 200


@pytest.mark.parametrize(
    ("method", "fields", "body"),
    [("POST", [], b"x"), ("POST", ["Content-Length: 0"], b""), ("PUT", ['If-Match: "1"'], b"x")],
)
def test_what_may_have_had_an_effect_is_never_sent_twice(gateway, mail, method, fields, body, wire):
    mail.answer("/webmail/dies", lambda dialogue: dialogue.close())
    with wire.client(gateway.port) as client:
        assert client.ask("GET", "/webmail").status == 200
        assert client.ask(method, "/webmail/dies", *fields, body=body).verdict == (502, "upstream_unreachable")
    assert [request.target for request in mail.received] == [b"/webmail", b"/webmail/dies"]


def test_a_get_is_sent_again_once_and_no_more(gateway, mail, wire):
    mail.answer("/webmail/dies", lambda dialogue: dialogue.reset())
    with wire.client(gateway.port) as client:
        assert client.ask("GET", "/webmail").status == 200
        assert client.ask("GET", "/webmail/dies").verdict == (502, "upstream_unreachable")
        assert client.ask("GET", "/webmail").status == 200
    assert len(mail.received) == 4


def test_a_new_connection_that_dies_is_an_error_at_once(gateway, mail, wire):
    mail.answer("/webmail", lambda dialogue: dialogue.close())
    assert wire.ask(gateway.port, "/webmail").verdict == (502, "upstream_unreachable")
    assert len(mail.received) == 1


GARBAGE = {
    "no HTTP": b"SSH-2.0-OpenSSH\r\n\r\n",
    "another version": b"HTTP/2.0 200 OK\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "a long status": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a status of 600": b"HTTP/1.1 600 OK\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "another coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "a bad length": b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    "a bad field": b"HTTP/1.1 200 OK\r\nX A: b\r\n\r\n",
    "the same length twice": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
    "a list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na",
    "a signed length": b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
    "chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\na",
    "an empty name": b"HTTP/1.1 200 OK\r\n: b\r\n\r\n",
    "a line without a colon": b"HTTP/1.1 200 OK\r\nNothing\r\n\r\n",
    "a NUL": b"HTTP/1.1 200 OK\r\nX-A: b\x00c\r\n\r\n",
    "a bare carriage return": b"HTTP/1.1 200 OK\r\nX-A: b\rX-B: c\r\n\r\n",
    "a bare line feed in the fields": b"HTTP/1.1 200 OK\r\nX-A: b\nX-B: c\r\n\r\n",
    "a negative chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    "a chunk of 2^64 bytes": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n",
    "a bad chunk extension": b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a="\r\nx\r\n',
    "an endless chunk extension": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"a" * 300 + b"\r\n",
    "a chunk size that ends in a line feed": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\r\n",
    "a folded field": b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\n\r\n",
    "a bare line feed": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n\r\n\r\n",
    "a switch that nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "an endless head": b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 140_000,
    "a bad first chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_what_is_no_answer_becomes_a_page(gateway, mail, garbage, wire):
    def answer(dialogue):
        dialogue.send(garbage)
        dialogue.wait_closed()

    mail.answer("/webmail", answer)
    with wire.client(gateway.port) as client:
        assert client.ask("GET", "/webmail").verdict == (502, "upstream_bad_response")
        assert client.ask("GET", "/x").status == 200
    assert mail.received[0].connection != mail.received[1].connection


BROKEN_LATER = {
    "a bad size": b"xyz\r\n",
    "a chunk without its end": b"5\r\nwholeX",
    "a bad extension": b"5;=\r\nwhole\r\n",
    "an endless trailer": b"0\r\nX-A: " + b"a" * 9000,
    "a bad trailer": b"0\r\nX A: b\r\n\r\n",
}


@pytest.mark.parametrize("broken", BROKEN_LATER.values(), ids=BROKEN_LATER)
def test_what_is_no_answer_any_more_is_cut_short_and_nothing_behind_it_is_read(gateway, mail, broken, wire):
    may_break = threading.Event()

    def answer(dialogue):
        dialogue.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n")
        assert may_break.wait(PATIENCE_SECONDS)
        dialogue.send(broken + b"0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        dialogue.wait_closed()

    mail.answer("/webmail/breaks", answer)
    with wire.client(gateway.port) as client:
        exchange = client.start("GET", "/webmail/breaks")
        assert exchange.read(5) == b"whole"
        may_break.set()
        with pytest.raises(CUT_SHORT):
            exchange.answer()
    assert wire.ask(gateway.port, "/webmail").body == b"mail\n"
    assert mail.received[0].connection != mail.received[1].connection
    record = gateway.log.of(mail.received[0].request_id)
    assert (record["status"], record["reason"]) == (200, "upstream_bad_response")


def test_bytes_behind_an_answer_never_become_the_next_ones_answer(gateway, mail, wire):
    def answer(dialogue):
        dialogue.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx" + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
        )
        dialogue.wait_closed()

    mail.answer("/webmail/splits", answer)
    with wire.client(gateway.port) as client:
        assert client.ask("GET", "/webmail/splits").body == b"x"
        assert client.ask("GET", "/webmail").body == b"mail\n"


def test_a_mail_server_that_says_nothing_runs_out_of_time(gateway, mail, wire):
    """So does one that stops in the middle; the client of the first can ask again on its connection."""

    def stops(dialogue):
        dialogue.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        dialogue.wait_closed()

    mail.answer("/webmail/silent", lambda dialogue: dialogue.wait_closed())
    mail.answer("/webmail/stops", stops)
    with wire.client(gateway.port) as silent, wire.client(gateway.port) as stopped:
        waiting, cut = silent.start("GET", "/webmail/silent"), stopped.start("GET", "/webmail/stops")
        assert waiting.answer().verdict == (504, "upstream_timeout")
        assert silent.ask("GET", "/webmail").status == 200
        with pytest.raises(CUT_SHORT):
            cut.answer()


def test_a_client_that_goes_away_frees_the_mail_servers_connection(gateway, mail, wire):
    ends = []
    mail.answer("/webmail", lambda dialogue: ends.append(dialogue.wait_closed()))
    client = wire.client(gateway.port)
    client.start("GET", "/webmail")
    until(lambda: mail.received, "the request arrives")
    client.close()
    until(lambda: ends, "the mail server's connection is closed", seconds=AT_ONCE_SECONDS)
    record = gateway.log.of(mail.only().request_id)
    assert (record["status"], record["bytes_out"]) == (None, 0)


def test_a_client_that_goes_away_while_sending_is_gone_upstream_too(gateway, mail, wire):
    bodies = []
    mail.answer("/webmail", lambda dialogue: bodies.append(dialogue.read_body()))
    client = wire.client(gateway.port)
    client.start("POST", "/webmail", length=1000).send(b"not all")
    until(lambda: mail.received, "the head arrives")
    client.close()
    assert until(lambda: bodies, "the mail server's connection is closed") == [b"not all"]


def test_an_answer_before_a_body_that_was_stopped_leaves_the_connection_in_use(gateway, mail, wire):
    """The mail server reads nothing, so the client is stopped; when the answer comes it must not stay so."""
    is_stopped = threading.Event()

    def answer(dialogue):
        assert is_stopped.wait(PATIENCE_SECONDS)
        dialogue.answer(b"enough", status=b"403 Forbidden")
        dialogue.wait_closed()

    mail.answer("/webmail/full", answer)
    with wire.client(gateway.port) as client:
        exchange = client.start("POST", "/webmail/full", length=100_000_000)
        sent = exchange.stuff(0.2)
        is_stopped.set()
        assert exchange.answer().body == b"enough"
        assert sent < 100_000_000
    assert wire.ask(gateway.port, "/webmail").status == 200


# several upstreams


def test_a_server_that_is_down_is_a_page_and_the_next_server_is_asked(start, credentials, mail):
    free = free_port()
    down = f"http://127.0.0.1:{free}"
    settings = settings_for(credentials.site, mail.url)
    settings["upstreams"] = {"mail": {"servers": [down]}, "pair": {"servers": [down, mail.url]}}
    settings["sites"].append({"hosts": [f"pair.{HOST}"], "upstream": "pair", **credentials.site})
    gateway = start(settings)

    with Client(gateway.port) as client:
        assert client.ask("GET", "/webmail").verdict == (502, "upstream_unreachable")
        answer = client.ask("POST", "/webmail", body=b"x")
        assert answer.verdict == (502, "upstream_unreachable")
        assert str(free) not in answer.body.decode()
    record = gateway.log.of(answer.get("X-Request-Id"))
    assert (record["status"], record["decision"], record["upstream_status"]) == (502, "allow", None)
    gateway.says(f"request {record['request_id']}: {down}")
    with Client(gateway.port, server_name=f"pair.{HOST}") as client:
        for _ in range(3):
            assert client.ask("POST", "/webmail", body=b"x").status == 200


def test_servers_take_turns(start, credentials, mail):
    second = MailServer()
    settings = settings_for(credentials.site, mail.url)
    settings["upstreams"]["mail"] = {"servers": [mail.url, second.url], "balance": "round_robin"}
    gateway = start(settings)
    try:
        for _ in range(6):
            assert ask(gateway.port, "/webmail").status == 200
        assert (len(mail.received), len(second.received)) == (3, 3)
    finally:
        second.stop()


# https towards the mail server

CASES = {
    "good": ({"ca": "serverCA", "server_name": "mail.internal"}, (200, None)),
    "wrong-ca": ({"ca": "otherCA", "server_name": "mail.internal"}, (502, "upstream_unreachable")),
    "wrong-name": ({"ca": "serverCA", "server_name": "other.internal"}, (502, "upstream_unreachable")),
    "no-name": ({"ca": "serverCA"}, (502, "upstream_unreachable")),
    "system-store": ({"server_name": "mail.internal"}, (502, "upstream_unreachable")),
    "unverified": ({"verify": False}, (200, None)),
    "shows-certificate": ({"ca": "serverCA", "server_name": "mail.internal", "identity": "alice"}, (200, None)),
}


@pytest.fixture(scope="module")
def secure_mail(credentials):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(credentials.folder / "mailhost.crt", credentials.folder / "mailhost.key")
    context.load_verify_locations(credentials.root)
    context.verify_mode = ssl.CERT_OPTIONAL
    server = MailServer(context)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def many_sites(start, credentials, secure_mail):
    """A site and an upstream for each case."""
    settings = settings_for(credentials.site, secure_mail.url)
    settings["sites"], settings["upstreams"] = [], {}
    for name, (tls, _) in CASES.items():
        options = dict(tls)
        if "ca" in options:
            options["ca"] = str(credentials.folder / f"{options['ca']}.crt")
        if identity := options.pop("identity", None):
            files = credentials[identity]
            options |= {"certificate": str(files.certificate), "key": str(files.key)}
        settings["upstreams"][name] = {"servers": [secure_mail.url], "tls": options}
        settings["sites"].append({"hosts": [f"{name}.{HOST}"], "upstream": name, **credentials.site})
    return start(settings)


@pytest.mark.parametrize(("name", "expected"), [(name, expected) for name, (_, expected) in CASES.items()])
def test_a_mail_server_over_https_must_be_the_one_that_is_meant(many_sites, secure_mail, name, expected):
    secure_mail.forget()
    with Client(many_sites.port, server_name=f"{name}.{HOST}") as client:
        assert client.ask("GET", "/webmail").verdict == expected
        assert client.ask("POST", "/webmail", body=b"x" * 100_000).verdict == expected
    assert len(secure_mail.received) == (2 if expected[0] == 200 else 0)
    secure_mail.forget()


@pytest.mark.parametrize("size", [100_000, 4_000_000])
def test_a_client_in_the_middle_of_an_upload_is_told_when_it_fails(many_sites, size, wire):
    """It sends more than the gateway takes in before anybody wants it; the page still arrives, and at once."""
    with wire.client(many_sites.port, server_name=f"wrong-name.{HOST}") as client:
        exchange = client.start("POST", "/webmail", length=size)
        exchange.send(bytes(size))
        assert exchange.answer().verdict == (502, "upstream_unreachable")
        begun = time.monotonic()
        assert exchange.is_over()
    assert time.monotonic() - begun < LINGER_IDLE_SECONDS  # a client that is not read from is waited for
    many_sites.check_open_files()
