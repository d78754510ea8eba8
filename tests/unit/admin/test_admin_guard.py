"""Whom the admin pages answer: nobody else's web page, whatever name it found for us."""

import asyncio

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from support.admin_state import a_state
from support.waiting import PATIENCE_SECONDS

from gateway.admin.api import make_app
from gateway.admin.guard import is_our_host


@pytest.mark.parametrize(
    ("header", "bound"),
    [
        ("127.0.0.1:9444", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("localhost:9444", "127.0.0.1"),
        ("LocalHost", "::1"),
        ("[::1]:9444", "::1"),
        ("127.0.0.9:1", "127.0.0.1"),
        ("10.0.0.2:9444", "10.0.0.2"),
        ("127.0.0.1:80", "10.0.0.2"),
        ("10.9.9.9", ""),
        ("10.9.9.9", "0.0.0.0"),
        ("[fd00::1]:9444", "::"),
    ],
)
def test_our_own_addresses_are_ours(header, bound):
    assert is_our_host(header, bound)


@pytest.mark.parametrize(
    ("header", "bound"),
    [
        ("evil.example", "127.0.0.1"),
        ("evil.example:9444", ""),
        ("localhost.evil.example", "127.0.0.1"),
        ("127.0.0.1.evil.example", "127.0.0.1"),
        ("10.0.0.3", "10.0.0.2"),
        ("10.0.0.3", "127.0.0.1"),
        ("[localhost]", "127.0.0.1"),
        ("127.0.0.1@evil.example", "127.0.0.1"),
        ("evil.example#@127.0.0.1", "127.0.0.1"),
        ("127.0.0.1:9444:1", "127.0.0.1"),
        ("127.0.0.1, evil.example", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("[::1", "::1"),
        ("[::1%25eth0]", "::1"),
        ("", "127.0.0.1"),
        ("١٢٧.0.0.1", "127.0.0.1"),
    ],
)
def test_no_other_name_is(header, bound):
    assert not is_our_host(header, bound)


async def _source():
    return a_state()


async def _never(address, asked_by):
    raise AssertionError(address, asked_by)


def ask(method="GET", path="/status", host="127.0.0.1:9444", **headers):
    """(status, headers, body) of one request to a real server."""

    async def dialogue():
        async with TestServer(make_app("127.0.0.1", _source, _never)) as server, ClientSession() as session:
            request = session.request(method, server.make_url(path), headers={"Host": host, **headers})
            async with request as answer:
                return answer.status, answer.headers, await answer.text()

    return asyncio.run(asyncio.wait_for(dialogue(), PATIENCE_SECONDS))


@pytest.mark.parametrize("path", ["/status", "/metrics", "/healthz", "/nothing"])
def test_a_name_that_somebody_pointed_at_us_gets_nothing(path):
    """DNS rebinding: the browser connects here and believes to be at evil.example."""
    status, _, body = ask(path=path, host="evil.example")
    assert (status, body) == (403, "this name is not the gateway's; use its IP address or localhost\n")


def test_a_request_without_host_gets_nothing():
    async def dialogue():
        async with TestServer(make_app("127.0.0.1", _source, _never)) as server:
            reader, writer = await asyncio.open_connection(server.host, server.port)
            writer.write(b"GET /status HTTP/1.0\r\n\r\n")
            answer = await reader.read()
            writer.close()
            return answer

    assert asyncio.run(asyncio.wait_for(dialogue(), PATIENCE_SECONDS)).startswith(b"HTTP/1.0 403 ")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_sites_page_gets_nothing(site):
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
    assert ask(**headers)[0] == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ],
)
def test_who_opens_the_page_or_follows_a_link_gets_it(headers):
    assert ask(**headers)[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_reading_is_possible(method):
    status, headers, _ = ask(method)
    assert (status, set(headers["Allow"].split(","))) == (405, {"GET", "HEAD"})


@pytest.mark.parametrize(
    ("method", "path", "host"),
    [
        ("GET", "/status", "127.0.0.1"),
        ("GET", "/nothing", "127.0.0.1"),
        ("POST", "/status", "127.0.0.1"),
        ("GET", "/status", "evil.example"),
    ],
)
def test_every_answer_is_closed_to_other_origins(method, path, host):
    _, headers, _ = ask(method, path, host, Origin="https://evil.example")
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; frame-ancestors 'none'")
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Server"] == "gateway"
    assert not [name for name in headers if name.startswith("Access-Control-")]
