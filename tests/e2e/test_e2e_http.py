"""HTTP both ways, on both wires: messages arrive as they were meant, in order, and end where they say."""

from __future__ import annotations

import os
import threading

import pytest
from support.client import Client, ask, curl
from support.gateway import HOST
from support.waiting import PATIENCE_SECONDS, until
from support.wire import WIRES_BY_VERSION

pytestmark = pytest.mark.e2e

MIB = 1024 * 1024
HEAD = f"Host: {HOST}\r\n".encode()


def echo_target(dialogue):
    dialogue.read_body()
    dialogue.answer(dialogue.request.target)


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return chunks + b"0\r\n" + trailers + b"\r\n"


def unchunked(framed: bytes) -> tuple[bytes, bytes]:
    """(payload, trailers)."""
    payload = b""
    while True:
        size, _, framed = framed.partition(b"\r\n")
        count = int(size, 16)
        if not count:
            return payload, framed.removesuffix(b"\r\n")
        payload += framed[:count]
        assert framed[count : count + 2] == b"\r\n"
        framed = framed[count + 2 :]


# connections


def test_one_connection_carries_many_requests_over_one_connection_upstream(gateway, mail, wire):
    mail.answer("/", echo_target)
    with wire.client(gateway.port) as client:
        bodies = [client.ask("GET", f"/{number}").body for number in range(20)]

    assert bodies == [b"/%d" % number for number in range(20)]
    assert {request.connection for request in mail.received} == {mail.received[0].connection}


def test_pipelined_requests_are_answered_in_order_refusals_too(gateway, mail):
    mail.answer("/", echo_target)
    targets = ["/1", "/webmail/admin", "/2", "/%2e%2e/x", "/3", "/4"]
    with Client(gateway.port) as client:
        client.send(b"".join(client.request("GET", target) for target in targets))
        answers = [client.answer() for _ in targets]

    assert [answer.status for answer in answers] == [200, 403, 200, 400, 200, 200]
    assert [answer.body for answer in answers if answer.status == 200] == [b"/1", b"/2", b"/3", b"/4"]
    assert [request.target for request in mail.received] == [b"/1", b"/2", b"/3", b"/4"]


def test_a_pipelined_request_waits_for_the_body_before_it(gateway, mail):
    mail.answer("/", echo_target)
    with Client(gateway.port) as client:
        client.send(
            client.request("POST", "/upload", body=b"GET /smuggled HTTP/1.1\r\n\r\n") + client.request("GET", "/2")
        )
        assert [client.answer().body, client.answer().body] == [b"/upload", b"/2"]
    assert [request.method for request in mail.received] == [b"POST", b"GET"]
    assert mail.received[0].body == b"GET /smuggled HTTP/1.1\r\n\r\n"


def test_a_request_in_single_bytes_is_one_request(gateway, mail):
    with Client(gateway.port) as client:
        for byte in client.request("POST", "/webmail", body=b"hello"):
            client.send(bytes((byte,)))
        assert client.answer().status == 200
    assert mail.only().body == b"hello"


def test_empty_lines_before_a_request_are_skipped(gateway, mail):
    with Client(gateway.port) as client:
        client.send(b"\r\n\r\n" + client.request("GET", "/webmail"))
        assert client.answer().status == 200
    assert mail.only().line == b"GET /webmail HTTP/1.1"


def test_connection_close_is_kept_to(gateway, mail):
    with Client(gateway.port) as client:
        answer = client.ask("GET", "/webmail", "Connection: close")
        assert client.is_at_end()
    assert answer.get("Connection") == "close"
    assert not mail.only().values(b"Connection")


def test_every_client_and_answer_may_end_its_connection(gateway, mail):
    """However many did before: each with a body whose length is given."""

    def answer(dialogue):
        dialogue.answer(dialogue.read_body(), b"Connection: close")
        dialogue.close()

    mail.answer("/webmail", answer)
    body = os.urandom(65536)
    for _ in range(10):
        with Client(gateway.port) as client:
            got = client.ask("POST", "/webmail", "Connection: close", body=body)
            assert (got.status, got.body == body) == (200, True)


def test_many_clients_at_once_get_their_own_answers(gateway, mail, wire):
    mail.answer("/", echo_target)
    wrong = []

    def visit(number):
        with wire.client(gateway.port) as client:
            for turn in range(10):
                target = f"/{number}/{turn}"
                if client.ask("POST", target, body=os.urandom(3000)).body != target.encode():
                    wrong.append(target)

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(mail.received) == 80


# bodies


@pytest.mark.parametrize("wire", WIRES_BY_VERSION, ids=str)
@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 2 * MIB])
def test_bodies_of_a_known_length_arrive_whole_both_ways(gateway, mail, size, wire):
    sent, received = os.urandom(size), os.urandom(size)

    def answer(dialogue):
        dialogue.read_body()
        dialogue.answer(received)

    mail.answer("/webmail", answer)
    with wire.client(gateway.port) as client:
        got = client.ask("POST", "/webmail", *(["Content-Length: 0"] if not size else []), body=sent)

    assert got.body == received
    assert got.get("Content-Length") == str(size)
    request = mail.only()
    assert request.body == sent
    assert request.values(b"Content-Length") == [b"%d" % size]
    assert not request.values(b"Transfer-Encoding")


def test_chunked_bodies_and_trailers_arrive_both_ways(gateway, mail, wire):
    pieces = [os.urandom(size) for size in (1, 5000, 70000, 16)]
    trailers = ["X-Checksum: 1", "X-Forwarded-For: 10.9.8.7", "X_Client_Email: eve@example.com"]

    def answer(dialogue):
        dialogue.read_body()
        dialogue.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
        dialogue.send(chunked(*pieces, trailers=b"X-Sum: 2\r\nTransfer-Encoding: x\r\n"))

    mail.answer("/webmail", answer)
    with wire.client(gateway.port) as client:
        exchange = client.start("POST", "/webmail", is_streamed=True)
        for piece in pieces:
            exchange.send(piece)
        exchange.finish(*trailers)
        got = exchange.answer()
        assert client.ask("GET", "/webmail/x").status == 200

    assert got.body == b"".join(pieces)
    assert [(name.lower(), value) for name, value in got.trailers] == [("x-sum", "2")]
    request = mail.received[0]
    assert request.values(b"Transfer-Encoding") == [b"chunked"]
    assert not request.values(b"Content-Length")
    payload, passed = unchunked(bytes(request.body))
    assert (payload, passed.lower()) == (b"".join(pieces), b"x-checksum: 1\r\n")


def test_chunk_extensions_and_odd_cuts_do_not_change_the_body(gateway, mail):
    framed = b'5;a=b;c="d;\\"e"\r\nhello\r\n1 ; x\r\n!\r\n000\r\n\r\n'
    with Client(gateway.port) as client:
        client.send(client.request("POST", "/webmail", "Transfer-Encoding: chunked"))
        for byte in framed:
            client.send(bytes((byte,)))
        assert client.answer().status == 200
    assert unchunked(bytes(mail.only().body)) == (b"hello!", b"")
    assert b";" not in mail.only().body


def test_an_answer_that_ends_with_its_connection_is_chunked_for_the_client(gateway, mail, wire):
    def answer(dialogue):
        dialogue.send(b"HTTP/1.0 200 OK\r\n\r\nhello, ")
        dialogue.send(b"world")
        dialogue.close()

    mail.answer("/webmail", answer)
    with wire.client(gateway.port) as client:
        got = client.ask("GET", "/webmail")
        assert client.ask("GET", "/x").status == 200
    assert (got.body, got.get("Transfer-Encoding")) == (b"hello, world", None if wire.is_http2 else "chunked")


def test_a_stream_reaches_the_client_piece_by_piece(gateway, mail, wire):
    """A long poll's or event stream's bytes are not held back until there are more."""
    goes_on = threading.Event()

    def answer(dialogue):
        dialogue.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        assert goes_on.wait(PATIENCE_SECONDS)
        dialogue.send(b"4\r\nlast\r\n0\r\n\r\n")

    mail.answer("/webmail", answer)
    with wire.client(gateway.port) as client:
        exchange = client.start("GET", "/webmail")
        assert exchange.read(5) == b"first"
        goes_on.set()
        assert exchange.answer().body == b"last"


def test_an_upload_reaches_the_mail_server_piece_by_piece(gateway, mail, wire):
    seen = threading.Event()

    def answer(dialogue):
        assert dialogue.read(5) == b"first"
        seen.set()
        dialogue.read(4)
        dialogue.answer()

    mail.answer("/webmail", answer)
    with wire.client(gateway.port) as client:
        exchange = client.start("POST", "/webmail", length=9)
        exchange.send(b"first")
        assert seen.wait(PATIENCE_SECONDS)
        exchange.send(b"last")
        assert exchange.answer().status == 200
    assert mail.only().body == b"firstlast"


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: x\r\n\r\n"),
        ("OPTIONS", b"HTTP/1.1 204 No Content\r\nAllow: OPTIONS, POST\r\n\r\n"),
    ],
)
def test_an_answer_without_a_body_ends_with_its_head(gateway, mail, method, head, wire):
    mail.answer("/webmail", lambda dialogue: dialogue.send(head))
    mail.answer("/next", echo_target)
    with wire.client(gateway.port) as client:
        got = client.ask(method, "/webmail")
        assert client.ask("GET", "/next").body == b"/next"
    assert got.status == int(head.split()[1])
    assert got.get("Content-Length") == ("1000" if b"1000" in head else None)
    # What might come behind it must not be taken for the next answer.
    assert mail.received[0].connection != mail.received[1].connection


@pytest.mark.parametrize("method", ["RPC_IN_DATA", "PROPFIND", "MKCALENDAR", "X-ODD", "PATCH"])
def test_methods_that_nobody_listed_pass(gateway, mail, method, wire):
    with wire.client(gateway.port) as client:
        assert client.ask(method, "/webmail").status == 200
    assert mail.only().method == method.encode()


# interim answers


def test_a_client_that_waits_for_100_is_told_to_go_on_by_the_mail_server(gateway, mail, wire):
    def answer(dialogue):
        assert dialogue.request.values(b"Expect") == [b"100-continue"]
        dialogue.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        dialogue.read_body()
        dialogue.answer(bytes(dialogue.request.body))

    mail.answer("/webmail", answer)
    with wire.client(gateway.port) as client:
        exchange = client.start("POST", "/webmail", "Expect: 100-continue", length=5)
        assert exchange.next_head().status == 100
        exchange.send(b"hello")
        assert exchange.answer().body == b"hello"


def test_a_client_that_waits_for_100_may_be_refused_by_the_mail_server(gateway, mail, wire):
    mail.answer("/webmail", lambda dialogue: dialogue.answer(b"no", status=b"401 Unauthorized"))
    with wire.client(gateway.port) as client:
        exchange = client.start("POST", "/webmail", "Expect: 100-continue", length=5)
        got = exchange.answer()
        assert exchange.is_over()  # over HTTP/1.1, whether the body or another request came next could not be told
    assert (got.status, got.interim, got.get("Connection")) == (401, [], wire.close)


def test_a_client_that_waits_for_100_is_told_to_go_on_by_us_where_the_mail_server_says_nothing(gateway, mail, wire):
    """An HTTP/1.0 server never will; once it is known to be one, nobody waits for it."""
    head = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n"
    mail.answer("/webmail", lambda dialogue: dialogue.send(head + dialogue.read_body()))
    with wire.client(gateway.port) as client:
        for _ in range(3):
            exchange = client.start("POST", "/webmail", "Expect: 100-continue", length=5)
            assert exchange.next_head().status == 100
            exchange.send(b"hello")
            assert exchange.answer().body == b"hello"


def test_only_one_100_is_heard_where_the_mail_server_was_merely_slow(gateway, mail, wire):
    is_told = threading.Event()

    def answer(dialogue):
        assert is_told.wait(PATIENCE_SECONDS)
        dialogue.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        dialogue.answer(dialogue.read_body())

    mail.answer("/webmail", answer)
    with wire.client(gateway.port) as client:
        exchange = client.start("POST", "/webmail", "Expect: 100-continue", length=5)
        assert exchange.next_head().status == 100
        is_told.set()
        exchange.send(b"hello")
        got = exchange.answer()
    assert (got.status, got.interim, got.body) == (200, [100], b"hello")


def test_curl_uploads_with_expect(gateway, mail, credentials, tmp_path):
    upload = tmp_path / "upload"
    upload.write_bytes(os.urandom(2 * MIB))

    def answer(dialogue):
        dialogue.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        dialogue.read_body()
        dialogue.answer(b"done")

    mail.answer("/webmail", answer)
    got = curl(gateway.port, "/webmail", "-T", str(upload), "-H", "Expect: 100-continue", ca=credentials.server_ca)
    assert got.status == 100
    assert got.body.endswith(b"\r\n\r\ndone")
    assert mail.only().body == upload.read_bytes()


def test_an_unknown_expectation_is_refused(gateway, mail, wire):
    with wire.client(gateway.port) as client:
        assert client.ask("POST", "/webmail", "Expect: magic", body=b"x").verdict == (417, "expectation_failed")
    assert not mail.received


@pytest.mark.parametrize("field", ["Expect:", "Expect: ", "Expect: ,"])
def test_an_empty_expectation_expects_nothing(gateway, mail, field, wire):
    with wire.client(gateway.port) as client:
        answer = client.ask("POST", "/webmail", field, body=b"hello")
    assert (answer.status, answer.interim) == (200, [])
    assert mail.only().body == b"hello"
    assert not mail.only().values(b"Expect")


def test_early_hints_pass(gateway, mail, wire):
    def answer(dialogue):
        dialogue.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
        dialogue.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        dialogue.answer(b"page")

    mail.answer("/webmail", answer)
    with wire.client(gateway.port) as client:
        exchange = client.start("GET", "/webmail")
        hints = exchange.next_head()
        assert (hints.status, len(hints.fields), hints.get("Link")) == (103, 1, "</a.css>; rel=preload")
        got = exchange.answer()
    assert (got.status, got.interim, got.body) == (200, [103, 102], b"page")


def test_an_answer_may_come_before_the_body_is_sent(gateway, mail, wire):
    """What is still to come of it is read and thrown away, or the connection ends: it is never taken for a request."""
    mail.answer("/webmail", lambda dialogue: dialogue.answer(b"enough", status=b"403 Forbidden"))
    mail.answer("/next", echo_target)
    with wire.client(gateway.port) as client:
        exchange = client.start("POST", "/webmail", length=40)
        exchange.send(b"GET /smuggled")
        assert exchange.answer().body == b"enough"
        exchange.send(b" HTTP/1.1\r\nHost: x\r\n\r\n    ")
        assert client.ask("GET", "/next").body == b"/next"
    assert [request.target for request in mail.received] == [b"/webmail", b"/next"]
    assert mail.received[0].connection != mail.received[1].connection


def test_a_long_body_that_nobody_wants_is_not_read_after_the_answer(gateway, mail, wire):
    mail.answer("/webmail", lambda dialogue: dialogue.answer(b"enough", status=b"403 Forbidden"))
    with wire.client(gateway.port) as client:
        exchange = client.start("POST", "/webmail", length=100 * MIB)
        assert exchange.answer().body == b"enough"
        if wire.is_http2:
            assert exchange.is_over()
            assert client.ask("GET", "/x").status == 200
        else:
            with pytest.raises((OSError, EOFError)):
                push(client, 100 * MIB)


def push(client, size):
    """Send so much, and read on."""
    client.send(bytes(size))
    client.read(1)


# HTTP/1.0 and absolute-form


def test_an_http_1_0_client_is_answered_and_let_go(gateway, mail):
    with Client(gateway.port) as client:
        client.send(b"GET /webmail HTTP/1.0\r\n" + HEAD + b"\r\n")
        got = client.answer()
        assert client.is_at_end()
    assert got.body == b"mail\n"
    assert got.get("Connection") == "close"
    assert mail.only().line == b"GET /webmail HTTP/1.1"


def test_an_http_1_0_client_may_keep_its_connection(gateway, mail):
    with Client(gateway.port) as client:
        for _ in range(3):
            client.send(b"GET /webmail HTTP/1.0\r\nConnection: keep-alive\r\n" + HEAD + b"\r\n")
            assert client.answer().get("Connection") == "keep-alive"
    assert len(mail.received) == 3


def test_an_http_1_0_client_gets_no_chunks_and_no_interim_answers(gateway, mail):
    def answer(dialogue):
        dialogue.send(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        dialogue.send(chunked(b"hello", b"world"))

    mail.answer("/webmail", answer)
    with Client(gateway.port) as client:
        client.send(b"GET /webmail HTTP/1.0\r\nConnection: keep-alive\r\n" + HEAD + b"\r\n")
        got = client.answer()
    assert (got.status, got.body, got.interim) == (200, b"helloworld", [])
    assert got.get("Transfer-Encoding") is None
    assert got.get("Connection") == "close"


@pytest.mark.parametrize("target", [b"https://mail.example.com/webmail?x", b"HTTP://MAIL.EXAMPLE.COM/webmail?x"])
def test_an_absolute_target_is_that_path_on_that_host(gateway, mail, target):
    with Client(gateway.port) as client:
        client.send(b"GET %b HTTP/1.1\r\nHost: mail.example.com\r\n\r\n" % target)
        assert client.answer().status == 200
    assert mail.only().line == b"GET /webmail?x HTTP/1.1"
    assert [host.lower() for host in mail.only().values(b"Host")] == [b"mail.example.com"]


# what could be read in two ways

SMUGGLING = {
    "Content-Length and chunked": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "chunked and Content-Length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n",
    "the same length twice": b"Content-Length: 5\r\nContent-Length: 5\r\n",
    "a list of lengths": b"Content-Length: 5, 5\r\n",
    "a signed length": b"Content-Length: +5\r\n",
    "a negative length": b"Content-Length: -1\r\n",
    "a length in hex": b"Content-Length: 0x5\r\n",
    "an empty length": b"Content-Length: \r\n",
    "an endless length": b"Content-Length: 99999999999999999999999\r\n",
    "another coding": b"Transfer-Encoding: gzip, chunked\r\n",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "an unknown coding": b"Transfer-Encoding: xchunked\r\n",
    "identity": b"Transfer-Encoding: identity\r\n",
    "a quoted coding": b'Transfer-Encoding: "chunked"\r\n',
    "a space before the colon": b"Content-Length : 5\r\n",
    "a folded line": b"X-A: b\r\n Content-Length: 5\r\n",
    "a bare line feed": b"X-A: b\nContent-Length: 5\r\n",
    "a bare carriage return": b"X-A: b\rContent-Length: 5\r\n",
    "a NUL": b"X-A: b\x00c\r\n",
    "a name with a space": b"X A: b\r\n",
    "a line without a colon": b"Nothing\r\n",
    "an empty name": b": b\r\n",
    "two hosts": b"Host: mail.example.com\r\n",
    "two logins": b"Authorization: Basic YTpi\r\nAuthorization: Basic Yzpk\r\n",
}


@pytest.mark.parametrize("fields", SMUGGLING.values(), ids=SMUGGLING)
def test_what_servers_read_differently_is_refused_and_ends_the_connection(gateway, mail, fields):
    with Client(gateway.port) as client:
        client.send(b"POST /webmail HTTP/1.1\r\n" + HEAD + fields + b"\r\n" + client.request("GET", "/smuggled"))
        assert client.answer().verdict == (400, "bad_request")
        assert client.is_at_end()
    assert not mail.received


@pytest.mark.parametrize("body", [b"5\nhello\r\n0\r\n\r\n", b"5\r\nhelloX\r\n0\r\n\r\n", b"-5\r\n", b"0x5\r\nhello\r\n",
                                  b"\r\n", b"5 5\r\nhello\r\n", b"fffffffffffffffff\r\n", b"5\r\nhello0\r\n\r\n",
                                  b"0\r\nX A: b\r\n\r\n", b"1;" + b"a" * 300 + b"\r\n", b'5;a="\r\nhello\r\n',
                                  b"5;=\r\nhello\r\n", b"5;\r\nhello\r\n", b"5;a\nhello\r\n0\r\n\r\n",
                                  b"5\r\nhello\r\n0\r\n b\r\n\r\n", b"0\r\nX: " + b"a" * 9000])  # fmt: skip
def test_a_broken_chunk_ends_the_request_and_the_connection(gateway, mail, body):
    mail.answer("/webmail", lambda dialogue: dialogue.wait_closed())
    with Client(gateway.port) as client:
        client.send(client.request("POST", "/webmail", "Transfer-Encoding: chunked"))
        until(lambda: mail.received, "the head is forwarded")
        client.send(body + client.request("GET", "/smuggled"))
        assert client.answer().verdict == (400, "bad_request")
        assert client.is_at_end()
    assert len(mail.received) == 1


def test_no_host_is_a_bad_request(gateway, mail):
    for head in (b"GET /webmail HTTP/1.1", b"GET /webmail HTTP/1.1\r\nHost:", b"GET /webmail HTTP/1.0\r\nHost:"):
        with Client(gateway.port) as client:
            client.send(head + b"\r\n\r\n")
            assert client.answer().verdict == (400, "bad_request")
    assert ask(gateway.port, "/webmail", host="mail example.com").verdict == (400, "bad_request")
    assert not mail.received
