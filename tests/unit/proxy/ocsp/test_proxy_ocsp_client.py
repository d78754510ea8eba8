"""Asking a responder over HTTP: what counts as an answer, and what is given up."""

import asyncio
import contextlib
import socket
import threading
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest
from cryptography.x509 import IPAddress, SubjectAlternativeName
from support.gateway import free_port
from support.pki import SERVER_AUTH, Ca
from support.waiting import PATIENCE_SECONDS
from support.web import Page, WebServer

from gateway.proxy.ocsp import client as module
from gateway.proxy.ocsp.client import OcspClient
from gateway.proxy.ocsp.statuses import Statuses
from gateway.x509.ocsp import MAX_RESPONSE_BYTES, OcspError

ALWAYS = {"not_before": datetime(2020, 1, 1, tzinfo=UTC), "not_after": datetime(2099, 1, 1, tzinfo=UTC)}


@pytest.fixture
def web():
    with WebServer() as server:
        yield server


def ask(url, request=b"question"):
    async def main():
        client = OcspClient()
        try:
            return await client.ask(url, request)
        finally:
            await client.close()

    return asyncio.run(main())


def test_the_question_is_posted_and_the_answer_comes_as_it_is(web):
    web.answers["/"] = Page(b"answer", headers={"Content-Encoding": "gzip"})
    assert ask(web.url("/")) == b"answer"
    (seen,) = web.requests
    assert (seen.method, seen.body) == ("POST", b"question")
    assert seen.headers["Content-Type"] == "application/ocsp-request"
    assert "Cookie" not in seen.headers


def test_a_responder_with_tls_is_known_by_its_certificate(tmp_path, monkeypatch):
    """One without key identifiers will do, as `openssl x509 -req` makes it."""
    ours, stranger = (Ca.make("CN=Root", **ALWAYS) for _ in range(2))
    name = SubjectAlternativeName([IPAddress(ip_address("127.0.0.1"))])
    leaf = ours.issue("CN=responder", eku=SERVER_AUTH, extensions=[(name, False)], **ALWAYS)
    with WebServer(*leaf.write(tmp_path, "server")) as web:
        web.answers["/"] = Page(b"answer")
        monkeypatch.setenv("SSL_CERT_FILE", str(ours.write(tmp_path, "ours")[0]))
        assert ask(web.url("/")) == b"answer"
        monkeypatch.setenv("SSL_CERT_FILE", str(stranger.write(tmp_path, "stranger")[0]))
        with pytest.raises(OcspError, match="CERTIFICATE_VERIFY_FAILED"):
            ask(web.url("/"))


def test_the_longest_answer_and_one_byte_more(web):
    web.answers["/"] = Page(b"x" * MAX_RESPONSE_BYTES, has_length=False)
    assert len(ask(web.url("/"))) == MAX_RESPONSE_BYTES
    web.answers["/"] = Page(b"x" * (MAX_RESPONSE_BYTES + 1), has_length=False)
    with pytest.raises(OcspError, match="more than 65536 bytes"):
        ask(web.url("/"))


@pytest.mark.parametrize("status", [204, 302, 404, 500])
def test_other_statuses_are_no_answer_and_redirects_are_not_followed(web, status):
    web.answers["/"] = Page(status=status, headers={"Location": web.url("/other")})
    with pytest.raises(OcspError, match=f"status {status}"):
        ask(web.url("/"))
    assert len(web.requests) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/", "http://[::1/", "http://nobody.invalid/", "ftp://a/"])
def test_who_cannot_be_reached(url):
    with pytest.raises(OcspError, match="cannot be reached"):
        ask(url.format(port=free_port()))


def test_a_responder_that_drips_is_given_up(web, monkeypatch):
    monkeypatch.setattr(module, "TIME_LIMIT_SECONDS", 0.2)
    goes_on = threading.Event()
    web.answers["/"] = Page(b"answer", goes_on=goes_on)
    with pytest.raises(OcspError, match=r"did not answer within 0\.2 s"):
        ask(web.url("/"))
    goes_on.set()


def test_silent_responders_and_name_servers_hold_up_no_other_responder(web, monkeypatch):
    monkeypatch.setattr(module, "TIME_LIMIT_SECONDS", PATIENCE_SECONDS)
    goes_on, real = threading.Event(), socket.getaddrinfo

    def look_up(host, *more, **options):
        if host.startswith("silent"):
            goes_on.wait(PATIENCE_SECONDS)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return real(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    web.answers["/"] = Page(b"answer")
    good = web.url("/").replace("127.0.0.1", "localhost")

    async def main(places):
        client = OcspClient()
        urls = [f"http://127.0.0.1:{port}/" for port in places] * module.MAX_CONNECTIONS_PER_RESPONDER
        urls += [f"http://silent-{number}.example/" for number in range(20)]
        waiting = [asyncio.ensure_future(client.ask(url, b"question")) for url in urls]
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_SECONDS / 2):
            answer = await client.ask(good, b"question")
        goes_on.set()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await client.close()
        return answer

    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(4)]
        assert asyncio.run(main([server.getsockname()[1] for server in silent])) == b"answer"


def test_no_proxy_from_the_environment(web, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    web.answers["/"] = Page(b"answer")
    assert ask(web.url("/")) == b"answer"


def test_a_worker_asks_over_http_and_closes_its_session(web):
    web.answers["/"] = Page(b"answer")

    async def main():
        statuses = Statuses()
        answers = [await statuses._http()(web.url("/"), b"question") for _ in range(2)]
        await statuses.close()
        return answers

    assert asyncio.run(main()) == [b"answer"] * 2
