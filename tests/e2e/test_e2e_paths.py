"""Spellings of a path against rules for /webmail: each gets the strictest verdict or 400; none goes on unjudged."""

from __future__ import annotations

import pytest
from support.client import Client
from support.gateway import INSIDE, OUTSIDE
from support.wire_http2 import StreamResetError

pytestmark = pytest.mark.e2e

# What came → what the mail server must see. The rule for /webmail decides, so a certificate opens them.
WEBMAIL = {
    b"/webmail": b"/webmail",
    b"/webmail/": b"/webmail/",
    b"/WebMail": b"/WebMail",
    b"/WEBMAIL/x": b"/WEBMAIL/x",
    b"/%77ebmail": b"/webmail",
    b"/%57ebmail": b"/Webmail",
    b"/web%6d%61il": b"/webmail",
    b"/%77%65%62%6D%61%69%6C": b"/webmail",
    b"//webmail": b"/webmail",
    b"///webmail//x": b"/webmail/x",
    b"/./webmail": b"/webmail",
    b"/webmail/.": b"/webmail/",
    b"/%2e/webmail": b"/webmail",
    b"/x/../webmail": b"/webmail",
    b"/x/%2e%2e/webmail": b"/webmail",
    b"/x/y/../../webmail/z": b"/webmail/z",
    b"/webmail/x/..": b"/webmail/",
    b"/webmail?x": b"/webmail?x",
    b"/webmail?/../other": b"/webmail?/../other",
    b"/webmail?a=%00": b"/webmail?a=%00",
    b"/webmail/a%20b": b"/webmail/a%20b",
    b"/webmail/%c3%a9": b"/webmail/%C3%A9",
    b"/webmail/\xc3\xa9": b"/webmail/%C3%A9",
    b"/webmail/;jsessionid=0A1B": b"/webmail/;jsessionid=0A1B",
    b"/webmail/x;a=b/y": b"/webmail/x;a=b/y",
    b"/webmail/C++.pdf": b"/webmail/C++.pdf",
    b"/webmail/a%2bb": b"/webmail/a%2Bb",
    b"/webmail/+/x": b"/webmail/+/x",
    b"/webmail/x;y": b"/webmail/x;y",
    b"/webmail/a%3fx": b"/webmail/a%3Fx",
    b"/webmail/.hidden": b"/webmail/.hidden",
    # names that servers read in several ways, none of which leads to another rule
    b"/webmail/100%25.pdf": b"/webmail/100%25.pdf",
    b"/webmail/100%2525.pdf": b"/webmail/100%2525.pdf",
    b"/webmail/Bericht%e2%80%a6.pdf": b"/webmail/Bericht%E2%80%A6.pdf",
    b"/webmail/Foto%20(S(1)).pdf": b"/webmail/Foto%20(S(1)).pdf",
    b"/webmail/%c4%b1.": b"/webmail/%C4%B1.",
    b"/webmail/%e0%a4%95%e0%a5%8d%e2%80%8d%e0%a4%b7%20": b"/webmail/%E0%A4%95%E0%A5%8D%E2%80%8D%E0%A4%B7%20",
    b"/webmail/C%23/;x": b"/webmail/C%23/;x",
    b"/webmail/%3Fx": b"/webmail/%3Fx",
    b"/webmail/a..b": b"/webmail/a..b",
    b"http://mail.example.com/webmail": b"/webmail",
    b"https://MAIL.example.com/x/../webmail?q": b"/webmail?q",
    b"/microsoft-server-activesync?Cmd=Ping": b"/microsoft-server-activesync?Cmd=Ping",
}
# Neither /webmail nor anything else that is open: the deny rules' verdict, whatever is shown.
DENIED = [
    b"/",
    b"/webmailx",
    b"/webmail-admin",
    b"/web/mail",
    b"/x/webmail",
    b"/webmail/../x",
    b"/webmail/%2e%2e/x",
    b"/webmail/x/../../y",
    b"/?/webmail",
    b"/x?/../webmail",
    b"/%78/webmail",
    b"/webmail/admin",
    b"/webmail/ADMIN/",
    b"/WebMail/%61dmin",
    b"/webmail//admin",
    b"/webmail/./admin",
    b"/webmail/x/../admin",
    b"/webmail/admin;x",
    b"/webmail;x/admin",
    b"/webmail/adm%69n?x",
    b"/%2577ebmail",
    b"/webmail.",
    b"/webmail%20/",
    b"/web%e2%80%8bmail",
    b"http://mail.example.com",
    b"http://mail.example.com/webmail/admin",
]
# Below /webmail, but some servers read a path that a certificate doesn't open: what they read.
READ_AS_CLOSED = {
    b"/webmail/admin.": "/webmail/admin",
    b"/webmail/admin%20": "/webmail/admin",
    b"/webmail/admin.%20/x": "/webmail/admin/x",
    b"/webmail/(S(x))/admin": "/webmail/admin",
    b"/webmail/(S(x))admin": "/webmail/admin",
    b"/webmail/%2561dmin": "/webmail/admin",
    b"/webmail/adm%25ffin": "/webmail/admin",
    b"/webmail/adm%c4%b1n": "/webmail/admin",
    b"/webmail/adm%e2%80%8din": "/webmail/admin",
    b"/webmail/%ef%bd%81dmin": "/webmail/admin",
    b"/webmail/%ef%bc%85ef%25bd%2581dm%c4%b1n.": "/webmail/admin",
    b"/webmail/admin+": "/webmail/admin",
    b"/;/webmail": "/;/webmail",
    b"/webmail;a=b": "/webmail;a=b",
    b"/webmail;a=b/x": "/webmail;a=b/x",
    b"/webmail%3Fx": "/webmail?x",
}
# Read differently by different servers: refused before any rule is asked.
REFUSED = [
    b"/webmail\\x",
    b"\\webmail",
    b"/x\\..\\webmail",
    b"/webmail%5cx",
    b"/webmail%5C..%5Cx",
    b"/%2fwebmail",
    b"/webmail%2f..%2fx",
    b"/webmail%2Fadmin",
    b"/webmail%252fadmin",
    b"/webmail%",
    b"/webmail%4",
    b"/webmail%zz",
    b"/webmail%u002fadmin",
    b"/webmail%00",
    b"/webmail%00/admin",
    b"/webmail%0d%0aX-Client-Verified:%20SUCCESS",
    b"/webmail%7f",
    b"/webmail/%c0%af",
    b"/webmail%c0%ae%c0%ae/",
    b"/webmail/%e0%80%af",
    b"/webmail/\xff",
    b"/webmail/%ff",
    b"/..",
    b"/../webmail",
    b"/%2e%2e/webmail",
    b"/webmail/../../webmail",
    b"/webmail;/../admin",
    b"/webmail/..;/admin",
    b"/webmail/.;/admin",
    b"/webmail#",
    b"/webmail#/../admin",
    b"/webmail?x#y",
    b"/webmail::$DATA",
    b"/webmail%23/../admin",
    b"*",
    b"webmail",
    b"mail.example.com:443",
    b"http://user@mail.example.com/webmail",
    b"http://other.example.com/webmail",
    b"http:///webmail",
    b"ftp://mail.example.com/webmail",
]


def answer_to(wire, gateway, target, source, identity=None):
    """The answer to exactly this target, on a connection of its own."""
    return wire.ask(gateway.port, target, source=source, identity=identity)


def test_there_are_enough_spellings():
    assert len(WEBMAIL) + len(DENIED) + len(REFUSED) >= 100


@pytest.mark.parametrize(("target", "forwarded"), WEBMAIL.items())
def test_a_spelling_of_an_open_path_asks_for_a_certificate_and_goes_on_as_it_was_judged(
    gateway, mail, credentials, target, forwarded, wire
):
    if wire.is_http2 and target[:1] != b"/":
        pytest.skip("HTTP/2 has no absolute-form")
    assert answer_to(wire, gateway, target, OUTSIDE).verdict == (403, "certificate_missing")
    assert not mail.received
    assert answer_to(wire, gateway, target, OUTSIDE, credentials["alice"]).verdict == (200, None)
    assert mail.only().line == b"GET %b HTTP/1.1" % forwarded


@pytest.mark.parametrize("target", DENIED)
def test_a_spelling_of_a_closed_path_is_denied_with_a_certificate_too(gateway, mail, credentials, target, wire):
    if wire.is_http2 and target[:1] != b"/":
        pytest.skip("HTTP/2 has no absolute-form")
    for identity in (None, credentials["alice"]):
        assert answer_to(wire, gateway, target, OUTSIDE, identity).verdict == (403, "denied_by_rule")
    assert not mail.received


@pytest.mark.parametrize(("target", "read"), READ_AS_CLOSED.items())
def test_a_path_that_some_server_reads_as_a_closed_one_is_closed(gateway, mail, credentials, target, read, wire):
    assert answer_to(wire, gateway, target, OUTSIDE).verdict == (403, "certificate_missing")
    answer = answer_to(wire, gateway, target, OUTSIDE, credentials["alice"])
    assert answer.verdict == (403, "denied_by_rule")
    assert gateway.log.of(answer.get("X-Request-Id"))["detail"].endswith(f"; some servers read the path as {read}")
    assert not mail.received


@pytest.mark.parametrize("target", REFUSED)
def test_an_ambiguous_spelling_is_refused_for_everybody(gateway, mail, credentials, target, wire):
    for source, identity in ((INSIDE, None), (OUTSIDE, None), (OUTSIDE, credentials["alice"])):
        if wire.is_http2 and target[:1] != b"/":  # there the path alone is sent, so this is malformed
            with pytest.raises(StreamResetError, match="PROTOCOL_ERROR"):
                answer_to(wire, gateway, target, source, identity)
            continue
        answer = answer_to(wire, gateway, target, source, identity)
        assert answer.status == 400
        assert answer.reason in ("uri_rejected", "bad_request")
        assert gateway.log.of(answer.get("X-Request-Id"))["rule"] is None
    assert not mail.received


@pytest.mark.parametrize("line", [b"GET  /webmail HTTP/1.1", b"GET /webmail  HTTP/1.1", b"GET\t/webmail HTTP/1.1",
                                  b"GET /webmail x HTTP/1.1", b"GET /webmail HTTP/1.1 ", b"GET /webmail HTTP/2.0",
                                  b"GET /webmail http/1.1", b"GET /web\x00mail HTTP/1.1", b"GET /webmail",
                                  b"GET http://mail.example.com:443/webmail HTTP/1.1"])  # fmt: skip
def test_a_line_that_is_no_request_line_reaches_nobody(gateway, mail, line):
    with Client(gateway.port) as client:
        client.send(line + b"\r\nHost: mail.example.com\r\n\r\n")
        assert client.answer().verdict == (400, "bad_request")
        assert client.is_at_end()
    assert not mail.received
