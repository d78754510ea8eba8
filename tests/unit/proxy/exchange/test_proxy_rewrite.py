"""The upstream's own name, exchanged for the public one."""

import pytest

from gateway.config.model import Server, Upstream
from gateway.proxy.exchange.rewrite import rewriter_for

UPSTREAM = Upstream("mail", (Server("https", "ex1.internal", 443),), host="exchange.internal")


def rewriter(upstream=UPSTREAM, host="mail.example.com"):
    made = rewriter_for(upstream, host)
    assert made is not None
    return made


PRESERVED = Upstream("m", (Server("http", "10.0.0.5", 8080),))


@pytest.mark.parametrize(
    ("upstream", "is_on"),
    [
        (PRESERVED, True),
        (Upstream("m", (Server("http", "a", 80),), rewrite_location=False), False),
        (Upstream("m", (Server("http", "a", 80),), rewrite_location=True), True),
        (UPSTREAM, True),
        (Upstream("m", (Server("http", "a", 80),), host="b", rewrite_location=False), False),
    ],
)
def test_it_is_on_unless_said_otherwise(upstream, is_on):
    assert (rewriter_for(upstream, "mail.example.com") is not None) is is_on


@pytest.mark.parametrize(
    ("location", "ours"),
    [
        (b"https://exchange.internal/owa/?a=b#c", b"https://mail.example.com/owa/?a=b#c"),
        (b"http://EX1.internal:444/owa", b"https://mail.example.com/owa"),
        (b"https://exchange.internal", b"https://mail.example.com"),
        (b"//exchange.internal/x", b"https://mail.example.com/x"),
        (b"/owa/", b"/owa/"),
        (b"https://login.example.net/", b"https://login.example.net/"),
        (b"https://exchange.internal.evil.example/", b"https://exchange.internal.evil.example/"),
        (b"ms-outlook://exchange.internal/", b"ms-outlook://exchange.internal/"),
        (b"https://[broken/", b"https://[broken/"),
        (b"https://exchange.int\ternal/x", b"https://exchange.int\ternal/x"),
        (b"/caf\xe9", b"/caf\xe9"),
    ],
)
def test_only_the_upstreams_own_urls_become_ours(location, ours):
    assert rewriter().location(location) == ours


@pytest.mark.parametrize(
    ("cookie", "ours"),
    [
        (b"a=b; Domain=.exchange.internal; Path=/", b"a=b; Domain=mail.example.com; Path=/; Secure"),
        (b"a=b; domain=internal; secure", b"a=b; Domain=mail.example.com; secure"),
        (b"a=b; Domain=other.example; Secure; HttpOnly", b"a=b; Domain=other.example; Secure; HttpOnly"),
        (b"a=secure", b"a=secure; Secure"),
    ],
)
def test_cookies_are_for_our_host_and_secure(cookie, ours):
    assert rewriter().cookie(cookie) == ours


@pytest.mark.parametrize(
    ("host", "domain"),
    [("mail.example.com:8443", b"mail.example.com"), ("[2001:db8::1]:8443", b"[2001:db8::1]"), ("[::1]", b"[::1]")],
)
def test_a_cookies_domain_has_no_port(host, domain):
    assert rewriter(host=host).cookie(b"a=b; Domain=exchange.internal") == b"a=b; Domain=" + domain + b"; Secure"


def test_a_port_that_the_client_used_is_in_urls():
    ours = rewriter(host="mail.example.com:8443")
    assert ours.location(b"https://exchange.internal/x") == b"https://mail.example.com:8443/x"


def test_fields_that_need_nothing_are_the_same_list_and_others_a_copy():
    plain = [b"Content-Type", b": ", b"text/html", b"\r\n"]
    assert rewriter().response(plain) is plain
    moved = [*plain, b"X-MS-Location", b": ", b"https://exchange.internal/x", b"\r\n"]
    assert rewriter().response(moved)[6] == b"https://mail.example.com/x"
    assert moved[6] == b"https://exchange.internal/x"


@pytest.mark.parametrize(
    ("location", "ours"),
    [
        (b"http://mail.example.com/SOGo/?a=b#c", b"https://mail.example.com:8443/SOGo/?a=b#c"),
        (b"http://MAIL.example.com", b"https://mail.example.com:8443"),
        (b"http://mail.example.com:80/x", b"https://mail.example.com:8443/x"),
        (b"http://mail.example.com:8080/x", b"https://mail.example.com:8443/x"),
        (b"http://mail.example.com:8443/x", b"https://mail.example.com:8443/x"),
        # another service of that machine, another name, or https already
        (b"http://mail.example.com:9000/x", b"http://mail.example.com:9000/x"),
        (b"http://mail.example.com:99999/x", b"http://mail.example.com:99999/x"),
        (b"http://mail.example.com.evil.example/x", b"http://mail.example.com.evil.example/x"),
        (b"http://mail.example.com@evil.example/x", b"http://mail.example.com@evil.example/x"),
        (b"https://mail.example.com/x", b"https://mail.example.com/x"),
        (b"//mail.example.com/x", b"//mail.example.com/x"),
        (b"http://10.0.0.5:8080/x", b"http://10.0.0.5:8080/x"),
        (b"/x", b"/x"),
    ],
)
def test_where_the_host_is_preserved_only_plain_http_to_it_becomes_https(location, ours):
    assert rewriter(PRESERVED, "mail.example.com:8443").location(location) == ours


def test_where_the_host_is_preserved_only_answers_that_lead_elsewhere_are_looked_at():
    made = rewriter(PRESERVED)
    assert [status for status in (200, 201, 204, 302, 304, 307, 403, 451) if status in made.statuses] == [
        201,
        302,
        307,
        451,
    ]
    cookie = [b"Set-Cookie", b": ", b"a=b", b"\r\n"]
    assert made.response(cookie) is cookie
    assert all(status in rewriter().statuses for status in (200, 304))
