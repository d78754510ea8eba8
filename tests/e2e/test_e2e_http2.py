"""What only HTTP/2 has: requests that share a connection, without one of them holding up or ending another."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
import yaml
from support.client import Client, context_for
from support.connection_logins import ConnectionAuthenticator
from support.gateway import HOST, OUTSIDE, settings_for
from support.openssl_ca import OpensslCa
from support.programs import run
from support.waiting import AT_ONCE_SECONDS, PATIENCE_SECONDS, until
from support.wire import CUT_SHORT, EVERY_WIRE, HTTP2
from support.wire_http2 import StreamResetError

pytestmark = pytest.mark.e2e

KIB, MIB = 1024, 1024 * 1024
POLL, DOWNLOAD, SOCKET = "/webmail/poll", "/webmail/download", "/webmail/socket"
NO_MORE_STREAM = (1 << 31) - 1  # the last stream of a GOAWAY that names none
# More than a worker may hold for one connection: its windows, and what the kernel and TLS have in their buffers.
MOST_BYTES = 16 * MIB


class Held:
    """Answers that wait for the test: those at POLL have not begun, those at DOWNLOAD have, and SOCKET echoes."""

    def __init__(self, mail):
        self.may_answer = threading.Event()
        self.waiting = []
        mail.answer(POLL, self._poll)
        mail.answer(DOWNLOAD, self._download)
        mail.answer(SOCKET, self._socket)

    def _poll(self, dialogue):
        self.waiting.append(dialogue)
        assert self.may_answer.wait(PATIENCE_SECONDS)
        dialogue.answer(b"news")

    def _download(self, dialogue):
        dialogue.send(b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nbeginning")
        self.waiting.append(dialogue)
        assert self.may_answer.wait(PATIENCE_SECONDS)
        dialogue.send(b" end.")

    @staticmethod
    def _socket(dialogue):
        dialogue.switch()
        while data := dialogue.read(4):
            dialogue.send(data)
        dialogue.close()


@pytest.fixture
def held(mail):
    made = Held(mail)
    yield made
    made.may_answer.set()


@pytest.fixture
def client(gateway):
    with HTTP2.client(gateway.port) as made:
        yield made


# clients


@pytest.mark.parametrize("wire", [wire for wire in EVERY_WIRE if wire.is_http2], ids=str)
def test_curl_is_served_and_logged_with_the_protocol(gateway, mail, credentials, wire):
    answer = wire.curl(gateway.port, "/webmail", ca=credentials.server_ca)
    assert (answer.status, answer.body) == (200, b"mail\n")
    record = gateway.log.of(mail.only().request_id)
    assert (record["protocol"], record["status"]) == ("HTTP/2.0", 200)
    assert record["tls_version"] == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[wire.version.name]
    assert mail.only().line == b"GET /webmail HTTP/1.1"


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(["h2", "http/1.1"], "h2"), (["http/1.1", "h2"], "h2"), (["http/1.1"], "http/1.1"), ([], None)],
)
def test_the_protocol_is_what_both_sides_speak(gateway, offered, chosen):
    context = context_for()
    if offered:
        context.set_alpn_protocols(offered)
    with Client(gateway.port, context=context) as client:
        assert client.socket.selected_alpn_protocol() == chosen


def test_where_connections_are_one_clients_http2_is_not_offered(start, credentials, mail):
    settings = settings_for(credentials.site, mail.url)
    settings["upstreams"]["mail"]["connections"] = "per_client"
    context = context_for()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with Client(start(settings).port, context=context) as client:
        assert client.socket.selected_alpn_protocol() == "http/1.1"
        assert client.ask("GET", "/webmail").status == 200


# requests at once


def test_a_slow_request_holds_up_no_other(client, held):
    poll, download = client.start("GET", POLL), client.start("GET", DOWNLOAD)
    assert download.read(9) == b"beginning"
    until(lambda: len(held.waiting) == 2, "both wait")
    for number in range(20):
        assert client.ask("POST", f"/webmail/{number}", body=b"x" * 1000).body == b"mail\n"
    assert poll.is_silent(0)
    held.may_answer.set()
    assert (poll.answer().body, download.answer().body) == (b"news", b" end.")


def test_a_hundred_requests_at_once_get_their_own_answers(mail, client):
    are_there = threading.Barrier(100)

    def answer(dialogue):
        body = dialogue.read_body()
        are_there.wait(PATIENCE_SECONDS)
        dialogue.answer(dialogue.request.target + b" " + body)

    mail.answer("/webmail", answer)
    exchanges = [client.start("POST", f"/webmail/{number}", body=b"%d" % number) for number in range(100)]
    for number, exchange in enumerate(exchanges):
        assert exchange.answer().body == b"/webmail/%d %d" % (number, number)


def test_a_websocket_shares_the_connection_with_requests(gateway, mail, client, held):
    socket = client.open(SOCKET)
    poll = client.start("GET", POLL)
    for number in range(10):
        socket.send(b"%04d" % number)
        assert client.ask("GET", "/webmail").status == 200
        assert socket.read(4) == b"%04d" % number
    socket.finish()
    assert socket.answer().body == b""
    held.may_answer.set()
    assert poll.answer().body == b"news"
    (request,) = [each for each in mail.received if each.target == SOCKET.encode()]
    assert (request.method, request.values(b"Upgrade")) == (b"GET", [b"websocket"])
    record = gateway.log.of(request.request_id)
    assert (record["method"], record["bytes_in"], record["bytes_out"]) == ("GET", 40, 40)


def test_what_a_client_cancels_ends_at_the_mail_server_and_nothing_else_does(gateway, mail, client, held):
    ends = []
    mail.answer("/webmail/cancelled", lambda dialogue: ends.append(dialogue.wait_closed()))
    poll, cancelled = client.start("GET", POLL), client.start("GET", "/webmail/cancelled")
    until(lambda: len(mail.received) == 2, "both have arrived")
    cancelled.abandon()
    until(lambda: ends, "the mail server's connection is closed", seconds=AT_ONCE_SECONDS)
    held.may_answer.set()
    assert poll.answer().body == b"news"
    ids = {request.target: request.request_id for request in mail.received}
    assert gateway.log.of(ids[b"/webmail/cancelled"])["status"] is None


# flow control


def test_64_mib_arrive_whole_both_ways_at_once(mail, client):
    size = 64 * MIB
    piece = os.urandom(MIB)
    received = []

    def answer(dialogue):
        dialogue.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // MIB):
            received.append(dialogue.read_some(MIB) == piece)
            dialogue.send(piece)

    mail.answer("/webmail", answer)
    exchange = client.start("POST", "/webmail", length=size)
    for _ in range(size // MIB):
        exchange.send(piece)
        assert exchange.read(MIB) == piece
    assert exchange.answer().body == b""
    assert received == [True] * (size // MIB)


def test_an_answer_that_is_not_read_takes_no_memory_and_holds_up_no_other(gateway, mail, client):
    """The gateway reads from the mail server no faster than the client takes it."""
    size = 64 * MIB
    body = os.urandom(size)
    mail.answer(DOWNLOAD, lambda dialogue: dialogue.answer(body))
    assert client.ask("GET", "/webmail").status == 200
    before = gateway.resident_bytes()
    download = client.start("GET", DOWNLOAD)
    assert download.read(KIB) == body[:KIB]
    begun = time.monotonic()
    while time.monotonic() - begun < 1:
        assert client.ask("GET", "/webmail").status == 200
    assert gateway.resident_bytes() - before < MOST_BYTES
    assert download.answer().body == body[KIB:]
    assert gateway.resident_bytes() - before < MOST_BYTES


def test_an_upload_that_is_not_read_is_stopped_and_holds_up_no_other(gateway, mail, client):
    may_read = threading.Event()
    got = []

    def answer(dialogue):
        assert may_read.wait(PATIENCE_SECONDS)
        got.append(dialogue.read_body())
        dialogue.answer(b"done")

    mail.answer("/webmail/upload", answer)
    before = gateway.resident_bytes()
    upload = client.start("POST", "/webmail/upload", is_streamed=True)
    sent = upload.stuff(0.5)
    assert sent < 32 * MIB  # the window, and what the kernel holds for the mail server
    assert client.ask("POST", "/webmail", body=bytes(100 * KIB)).status == 200
    assert gateway.resident_bytes() - before < MOST_BYTES
    may_read.set()
    upload.finish()
    assert upload.answer().body == b"done"
    assert got[0].count(b"\0") >= sent


# what a request consists of


def test_a_request_is_written_anew_as_http_1_1(mail, client):
    fields = ("Cookie: a=1", "Cookie: b=2", "TE: trailers", "X-Odd: \xe4", "Priority: u=1")
    assert client.ask("GET", "/webmail?q", *fields).status == 200
    request = mail.only()
    assert request.line == b"GET /webmail?q HTTP/1.1"
    assert request.values(b"Host") == [HOST.encode()]
    assert request.values(b"Cookie") == [b"a=1; b=2"]
    assert request.values(b"X-Odd") == [b"\xe4"]
    assert not [name for name, _ in request.fields if name.startswith(b":") or name.lower() == b"te"]


MALFORMED = {
    "a connection field": [("connection", "close")],
    "a coding": [("transfer-encoding", "chunked")],
    "an upgrade": [("upgrade", "websocket")],
    "upper case": [("X-Upper", "a")],
    "a space in a name": [("x a", "b")],
    "a line end": [("x-a", "b\r\nx-client-verified: SUCCESS")],
    "a NUL": [("x-a", "b\0")],
    "white space at an end": [("x-a", " b")],
    "a late pseudo-header": [("x-a", "b"), (":path", "/webmail/admin")],
    "an unknown pseudo-header": [(":status", "200")],
    "two lengths": [("content-length", "1"), ("content-length", "2")],
    "a length without a body": [("content-length", "1")],
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_request_ends_its_stream_and_no_other(mail, client, held, fields):
    poll = client.start("GET", POLL)
    until(lambda: held.waiting, "the poll waits")
    head = [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/webmail")]
    is_pseudo = fields[0][0].startswith(":")
    exchange = client.start_raw([*fields, *head] if is_pseudo else [*head, *fields])
    with pytest.raises(StreamResetError, match="PROTOCOL_ERROR"):
        exchange.answer()
    held.may_answer.set()
    assert poll.answer().body == b"news"
    assert len(mail.received) == 1


# logins that belong to a connection


def test_a_login_of_the_connection_is_sent_to_http_1_1(gateway, mail, client, held):
    poll = client.start("GET", POLL)
    for scheme in ("NTLM TlRMTVNTUAABAAAA", "Negotiate YIIB"):
        with pytest.raises(StreamResetError, match="HTTP_1_1_REQUIRED"):
            client.ask("GET", "/webmail", f"Authorization: {scheme}")
    held.may_answer.set()
    assert poll.answer().body == b"news"
    assert [request.target for request in mail.received] == [POLL.encode()]

    def logins():
        return [record["login"] for record in gateway.log.records() if record["reason"] == "http_1_1_required"]

    until(lambda: logins() == ["connection"] * 2, "both have their lines")


def test_curl_logs_in_with_ntlm_over_http_1_1_by_itself(gateway, mail, credentials):
    server = ConnectionAuthenticator()
    mail.answer("/EWS", server)
    code, output = run(
        "curl",
        [
            *("-q", "--silent", "--show-error", "--http2", "--max-time", "30", "--ntlm", "--user", "bob:secret"),
            *("--resolve", f"{HOST}:{gateway.port}:127.0.0.1", "--cacert", str(credentials.server_ca)),
            *("--write-out", " %{http_code} %{http_version}", f"https://{HOST}:{gateway.port}/EWS"),
        ],
    )
    assert code == 0, output
    assert output.decode().endswith(" 1.1")


@pytest.mark.parametrize("offers", [("NTLM", 'Basic realm="mail"'), ('Basic realm="mail"', "Negotiate", "NTLM")])
def test_challenges_that_need_http_1_1_are_left_out_where_there_is_basic(mail, client, offers):
    challenges = [b"WWW-Authenticate: %b" % each.encode() for each in offers]
    mail.answer("/webmail", lambda dialogue: dialogue.answer(b"who?", *challenges, status=b"401 Unauthorized"))
    answer = client.ask("GET", "/webmail")
    assert (answer.status, answer.body) == (401, b"who?")
    assert answer.get("WWW-Authenticate") == 'Basic realm="mail"'


# ends


def test_a_stale_connection_to_the_mail_server_ends_one_stream_only(mail, client, held):
    mail.answer("/webmail/dies", lambda dialogue: dialogue.close())
    poll = client.start("GET", POLL)
    until(lambda: held.waiting, "the poll waits")
    assert client.ask("GET", "/webmail").status == 200
    assert client.ask("POST", "/webmail/dies", body=b"x").verdict == (502, "upstream_unreachable")
    mail.answer("/webmail/breaks", lambda dialogue: (dialogue.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal"),
                                                     dialogue.close()))  # fmt: skip
    with pytest.raises(StreamResetError):
        client.ask("GET", "/webmail/breaks")
    held.may_answer.set()
    assert poll.answer().body == b"news"
    assert not client.goaways


def test_a_stop_waits_for_the_requests_under_way(start, credentials, mail, held):
    """The client is told first that no more are served, and then which was the last one."""
    gateway = start(settings_for(credentials.site, mail.url))
    with HTTP2.client(gateway.port) as client, HTTP2.client(gateway.port) as idle:
        assert idle.ask("GET", "/webmail").status == 200
        poll, download = client.start("GET", POLL), client.start("GET", DOWNLOAD)
        upload = client.start("POST", "/webmail", length=9)
        upload.send(b"first")
        assert download.read(9) == b"beginning"
        until(lambda: len(held.waiting) == 2, "both wait")
        gateway.signal(signal.SIGTERM)
        assert client.wait(lambda: client.goaways, PATIENCE_SECONDS)
        assert (client.goaways[0].code, client.goaways[0].last_stream_id) == (0, NO_MORE_STREAM)
        assert idle.is_at_end()
        upload.send(b"last")
        assert upload.answer().status == 200
        held.may_answer.set()
        assert (poll.answer().body, download.answer().body) == (b"news", b" end.")
        assert client.is_at_end()
        assert (client.goaways[-1].code, client.goaways[-1].last_stream_id) == (0, upload.stream_id)
    assert gateway.process.wait(PATIENCE_SECONDS) == 0


def test_a_reload_asks_for_a_new_connection_and_loses_no_request(start, credentials, mail, held):
    gateway = start(settings_for(credentials.site, mail.url))
    with HTTP2.client(gateway.port) as client:
        poll = client.start("GET", POLL)
        until(lambda: held.waiting, "the poll waits")
        gateway.config.write_text(yaml.safe_dump({**gateway.settings, "pages": {"contact": "Ask in room 1"}}))
        gateway.signal(signal.SIGHUP)
        # Until it has read of the end, a client asks on, and is served.
        with client.lock:
            late = [client.start("POST", f"/webmail/{number}", body=b"x") for number in range(10)]
        assert [exchange.answer().status for exchange in late] == [200] * 10
        assert client.wait(lambda: client.goaways, PATIENCE_SECONDS)
        assert poll.is_silent(0)
        held.may_answer.set()
        assert poll.answer().body == b"news"
        assert client.is_at_end()
    with HTTP2.client(gateway.port) as client:
        assert client.ask("GET", "/webmail").status == 200
        assert not client.goaways


def test_a_revoked_certificate_ends_what_is_under_way_each_in_its_way(start, credentials, mail, held, tmp_path_factory):
    """An answer where none has begun, a reset where one has; and the other certificate's streams go on."""
    ca = OpensslCa.make(tmp_path_factory.mktemp("revoking"), "Revoking CA")
    crl = ca.folder / "list.crl"
    ca.publish(crl)
    site = {**credentials.server, "client_ca": [str(ca.certificate)], "crl": [str(crl)], "crl_policy": "require"}
    gateway = start(settings_for(site, mail.url))
    victim, other = ca.issue("victim"), ca.issue("other")
    with (
        HTTP2.client(gateway.port, source=OUTSIDE, identity=victim) as client,
        HTTP2.client(gateway.port, source=OUTSIDE, identity=other) as bystander,
    ):
        poll, download, socket = client.start("GET", POLL), client.start("GET", DOWNLOAD), client.open(SOCKET)
        upload = client.start("POST", "/webmail", length=9)
        upload.send(b"first")
        others = bystander.start("GET", POLL)
        assert download.read(9) == b"beginning"
        until(lambda: len(held.waiting) == 3, "all wait")
        ca.revoke(victim, "keyCompromise")
        ca.publish(crl)
        published = time.monotonic()
        for exchange in (poll, upload):
            assert exchange.answer().verdict == (403, "certificate_revoked")
            assert exchange.is_over()
        for exchange in (download, socket):
            with pytest.raises(CUT_SHORT):
                exchange.read(1)
        assert client.is_at_end()
        assert time.monotonic() - published < AT_ONCE_SECONDS
        held.may_answer.set()
        assert others.answer().body == b"news"
    reasons = {record["uri"]: record["reason"] for record in gateway.log.records()}
    assert reasons[DOWNLOAD] == reasons[SOCKET] == reasons["/webmail"] == "certificate_revoked"


def test_a_host_that_is_another_sites_is_sent_elsewhere_and_the_connection_goes_on(gateway, mail, client):
    """A browser that finds two names at one address may ask for both on one connection (RFC 9113 9.1.1)."""
    answer = client.ask("GET", "/webmail", host="other.example.com")
    assert answer.verdict == (421, "host_mismatch")
    assert client.ask("GET", "/webmail").status == 200
    assert len(mail.received) == 1
    assert gateway.log.of(answer.get("X-Request-Id"))["host"] == "other.example.com"
