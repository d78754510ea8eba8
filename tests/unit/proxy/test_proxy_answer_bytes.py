"""Every kind of answer that the gateway writes, byte for byte, as `tests/golden/answers.txt` has it.

A block of the file is a case: `## name`, then a line for each line of the answer, escaped. Request numbers are ID, and
the text of a page is PAGE, LENGTH octets long.
"""

import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from support.dialogue import INSIDE, OUTSIDE, SocketEnd, get, request, response
from support.plain_http import plain_connection
from support.publisher_end import PublisherEnds
from support.waiting import PATIENCE_SECONDS

from gateway.config.model import Listener
from gateway.proxy.client.accepting import AcceptedConnection
from gateway.proxy.exchange.exchange import CONTINUE_SECONDS

GOLDEN = Path(__file__).parents[2] / "golden" / "answers.txt"
PLAIN = Listener("127.0.0.1:80", "127.0.0.1", 80, redirect_to_https=True)
HSTS = {"max_age": "90d"}
EXPECTING = request("POST", "/webmail", "Content-Length: 5", "Expect: 100-continue")
SOCKET = get("/webmail/socket", "Connection: Upgrade", "Upgrade: websocket")
LIST = "/.well-known/gateway/crl/corp.crl"
OCSP = "/.well-known/gateway/ocsp"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
DATED = "Date: Tue, 24 Nov 2026 09:00:00 GMT"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n3\r\nyou\r\n0\r\nX-Sum: 5\r\n\r\n"


def old(data):
    """The same request of an HTTP/1.0 client."""
    return data.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1)


def forwarded(make_world, ask, *answers, sites=None, **upstream):
    """What a client gets of a server's bytes."""
    settings = {} if sites is None else {"sites": sites}
    if upstream:
        settings["upstreams"] = {"mail": {"servers": ["http://10.0.0.5:8080"], **upstream}}
    world = make_world(**settings)
    client = world.client()
    client.says(ask)
    server = world.accepts()
    for data in answers:
        server.says(data)
    if not server.is_lost and answers[-1].endswith(b"to the end"):
        server.closes()
    return client.hears()


FORWARDED = {
    "with a length": (get(), response("200 OK", "A: b", "A: c", body=b"hello")),
    "with a date": (get(), response("200 Fine", DATED, body=b"hello")),
    "without a phrase": (get(), b"HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n"),
    "in pieces": (get(), b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 5\r\n\r\nhe", b"llo"),
    "chunked with trailers": (get(), CHUNKED),
    "chunked in pieces": (get(), CHUNKED[:50], CHUNKED[50:54], CHUNKED[54:]),
    "chunked for HTTP/1.0": (old(get()), CHUNKED),
    "until the server closes": (get(), b"HTTP/1.0 200 OK\r\nA: b\r\n\r\nto the end"),
    "until the server closes, for HTTP/1.0": (old(get()), b"HTTP/1.0 200 OK\r\nA: b\r\n\r\nto the end"),
    "kept alive for HTTP/1.0": (old(get("/webmail", "Connection: keep-alive")), response(body=b"hello")),
    "closed for HTTP/1.0": (old(get()), response(body=b"hello")),
    "closed for the client": (get("/webmail", "Connection: close"), response(body=b"hello")),
    "to HEAD": (request("HEAD"), b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"),
    "to HEAD, chunked": (request("HEAD"), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "no content": (get(), b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
    "not modified": (get(), b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 7\r\n\r\n'),
    "early hints": (get(), HINTS + response(body=b"hello")),
    "early hints for HTTP/1.0": (
        old(get()),
        HINTS + response(body=b"hello"),
    ),
    "the server's 100": (EXPECTING, b"HTTP/1.1 100 Go on\r\nA: b\r\n\r\n"),
    "a final answer in place of a 100": (EXPECTING, response("413 Too Long", body=b"no")),
    "switching protocols": (
        SOCKET,
        b"HTTP/1.1 101 Switch\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nA: b\r\n\r\n\x81\x02hi",
    ),
    "switching protocols with a date": (
        SOCKET,
        f"HTTP/1.1 101 Switch\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{DATED}\r\n\r\n".encode(),
    ),
    "a login of the connection": (
        get("/webmail", "Authorization: NTLM AAAA"),
        response("401 Unauthorized", "WWW-Authenticate: NTLM BBBB", body=b"no"),
    ),
    "hop-by-hop fields": (get(), response("200 OK", "Connection: X-A", "X-A: b", "Keep-Alive: timeout=5", body=b"x")),
}


@pytest.mark.parametrize("name", FORWARDED)
def test_a_servers_answer(make_world, name):
    check(f"forwarded: {name}", forwarded(make_world, *FORWARDED[name]))


def test_the_sites_own_hsts(make_world, files):
    sites = [files.site(hsts=HSTS)]
    answer = response("200 OK", "Strict-Transport-Security: max-age=5", "A: b", body=b"x")
    check("forwarded: with the site's HSTS", forwarded(make_world, get(), answer, sites=sites))
    upgrade = FORWARDED["switching protocols"]
    check("forwarded: switching protocols with the site's HSTS", forwarded(make_world, *upgrade, sites=sites))


def test_a_rewritten_location(make_world):
    answer = response("302 Found", "Location: http://mail.internal/webmail/x", body=b"")
    found = forwarded(make_world, get(), answer, host="mail.internal", rewrite_location=True)
    check("forwarded: with a rewritten location", found)


def test_our_own_100(world):
    client = world.client()
    client.says(EXPECTING)
    server = world.accepts()
    world.passes(CONTINUE_SECONDS + 1)
    check("our own 100", client.hears())
    client.says(b"hello")
    server.says(response(body=b"thanks"))
    check("forwarded: after our own 100", client.hears())


REFUSED = {
    "by a rule": (INSIDE, get("/secret")),
    "by a rule, as HTML": (INSIDE, get("/secret", "Accept: text/html")),
    "by a rule, to HEAD": (INSIDE, request("HEAD", "/secret")),
    "by a rule, for HTTP/1.0": (INSIDE, old(get("/secret", "Connection: keep-alive"))),
    "by a rule, with a body": (INSIDE, request("POST", "/secret", "Content-Length: 5", body=b"hello")),
    "without a certificate": (OUTSIDE, get()),
    "for another host": (INSIDE, get(host="x.example.com")),
    "as no HTTP": (INSIDE, b"nonsense\r\n\r\n"),
    "as an unknown expectation": (INSIDE, get("/webmail", "Expect: wonders")),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("hsts", [None, HSTS], ids=["", "hsts"])
def test_a_refusal(make_world, files, name, hsts):
    world = make_world(**({} if hsts is None else {"sites": [files.site(hsts=hsts)]}))
    address, data = REFUSED[name]
    client = world.client(address)
    client.says(data)
    check(f"refused: {name}{'' if hsts is None else ', with HSTS'}", client.hears())


def test_a_refusal_after_the_server_failed(world):
    client = world.client()
    client.says(get())
    world.refuses()
    check("refused: no server can be reached", client.hears())


def test_a_refusal_of_a_client_that_is_locked_out(world):
    world.service.lockout.bans = {OUTSIDE: world.clock.unix_seconds() + 100}
    client = world.client(OUTSIDE)
    client.says(get())
    check("refused: locked out", client.hears())


def plain(world, listener, data):
    end = SocketEnd(world, plain_connection(world, listener), (INSIDE, 40000))
    end.says(data)
    return end


def test_a_redirect(world):
    check("redirected", plain(world, PLAIN, get("/webmail?a=b")).hears())
    found = replace(PLAIN, redirect_status=302)
    check("redirected with 302", plain(world, found, request("HEAD", "/")).hears())
    check("refused: not redirected", plain(world, PLAIN, get(host="evil.example")).hears())


def test_a_challenge(world, tmp_path):
    folder = tmp_path / ".well-known" / "acme-challenge"
    folder.mkdir(parents=True)
    (folder / "Ab-_09").write_bytes(b"Ab-_09.thumbprint")
    listener = replace(PLAIN, acme_webroot=tmp_path)
    for method in ("GET", "HEAD"):
        end = plain(world, listener, request(method, "/.well-known/acme-challenge/Ab-_09"))
        for thread in threading.enumerate():
            if thread.name == "acme-challenge":
                thread.join(PATIENCE_SECONDS)
        world.settles()
        check(f"challenge: {method}", end.hears())


def test_published_files(world):
    publisher, listener = PublisherEnds(world), replace(PLAIN, pki=True)
    fields = (("Content-Type", "application/pkix-crl"), ("ETag", '"a"'), ("Date", "Tue, 24 Nov 2026 09:00:00 GMT"))
    for name, method, status, body in (
        ("", "GET", 200, b"list"),
        (" to HEAD", "HEAD", 200, b""),
        (" not modified", "GET", 304, b""),
    ):
        end = plain(world, listener, request(method, LIST))
        publisher.end.answers(body, *fields, status=status)
        check(f"published{name}", end.hears())
    end = plain(world, listener, request("POST", LIST))
    check("refused: published, with another method", end.hears())


def test_a_question_with_an_expectation(world):
    PublisherEnds(world)
    ask = request("POST", OCSP, "Content-Type: application/ocsp-request", "Content-Length: 5", "Expect: 100-continue")
    check("published: our own 100", plain(world, replace(PLAIN, pki=True), ask).hears())


def test_plain_http_to_the_port_of_https(world):
    end = SocketEnd(
        world, AcceptedConnection(world.service, Listener("127.0.0.1:443", "127.0.0.1", 443)), (INSIDE, 40000)
    )
    end.says(get())
    check("plain HTTP to the port of HTTPS", end.hears())


# the file


def check(name, answer):
    assert told(answer) == blocks()[name]


def blocks():
    """(name → lines) of the golden file."""
    parts = GOLDEN.read_text(encoding="ascii").split("## ")[1:]
    return {name: body.rstrip("\n").split("\n") for name, _, body in (part.partition("\n") for part in parts)}


def told(answer):
    """The lines of an answer."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if b"\r\nContent-Security-Policy: " in head:
        length = re.search(rb"Content-Length: ([0-9]+)", head)
        assert len(body) in {0, int(length[1])}
        head = re.sub(rb"'sha256-[^']*'", b"'sha256-HASH'", head.replace(length[0], b"Content-Length: LENGTH"))
        body = b"PAGE" if body else b""
    data = re.sub(rb"\b[0-9a-f]{32}\b", b"ID", head + end + body).decode("latin-1")
    return [line.encode("unicode_escape").decode("ascii") for line in data.splitlines(keepends=True)]
