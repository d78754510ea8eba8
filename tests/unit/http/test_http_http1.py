"""Heads: understood one way or refused, and what of them goes on."""

import pytest

from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http import http1
from gateway.http.headers import (
    ACCEPT,
    AUTHORIZATION,
    FORWARDED,
    FORWARDED_FOR,
    USER_AGENT,
    RequestClassifier,
    ResponseClassifier,
)
from gateway.http.http1 import END_OF_HEAD, MAX_LENGTH_DIGITS, check_unfinished, parse_request, parse_response

LIMITS = {"uri_bytes": 100, "header_bytes": 400}
CLASSIFY = RequestClassifier(frozenset({b"x-client-email"}))


def request(data, *, headers=20, **limits):
    return parse_request(data, data.index(END_OF_HEAD), CLASSIFY, headers=headers, **(LIMITS | limits))


def get(*lines, start=b"GET /x HTTP/1.1"):
    return request(b"\r\n".join([start, *lines, b"", b""]))


def response(data):
    return parse_response(data, data.index(END_OF_HEAD), ResponseClassifier())


def fields(head):
    return [(head.passing[at], head.passing[at + 2]) for at in range(0, len(head.passing), 4)]


def refused(reason, call, *arguments, **options):
    with pytest.raises(RequestError) as caught:
        call(*arguments, **options)
    assert caught.value.reason is reason
    return str(caught.value)


def bad(*lines, start=b"GET /x HTTP/1.1"):
    return refused(Reason.BAD_REQUEST, get, *lines, start=start)


def test_an_ordinary_request():
    head = get(b"Host: a", b"Accept: x", b"accept: y", b"Cookie: c", b"Authorization: Basic YQ==", b"User-Agent: u")
    assert (head.method, head.target, head.version, head.host) == (b"GET", b"/x", 1, b"a")
    assert fields(head) == [
        (b"Accept", b"x"),
        (b"accept", b"y"),
        (b"Cookie", b"c"),
        (b"Authorization", b"Basic YQ=="),
        (b"User-Agent", b"u"),
    ]
    assert head.values[ACCEPT] == b"x, y"
    assert head.values[AUTHORIZATION] == b"Basic YQ=="
    assert head.values[USER_AGENT] == b"u"
    assert head.is_keep_alive
    assert not head.has_body
    assert (head.content_length, head.is_chunked, head.expects_continue, head.upgrade) == (None, False, False, None)


def test_bodies():
    assert not get(b"Host: a", b"Content-Length: 0").has_body
    assert get(b"Host: a", b"Content-Length: 5").has_body
    assert get(b"Host: a", b"Transfer-Encoding: chunked").has_body


@pytest.mark.parametrize(
    ("version", "value", "is_kept"),
    [
        (b"1", None, True),
        (b"1", b"close", False),
        (b"1", b"keep-alive, close", False),
        (b"1", b"keep-alive", True),
        (b"1", b"x-a", True),
        (b"0", None, False),
        (b"0", b"Keep-Alive", True),
        (b"0", b"keep-alive, CLOSE", False),
        (b"0", b"x-a", False),
    ],
)
def test_keep_alive(version, value, is_kept):
    lines = [b"Host: a"] + ([b"Connection: " + value] if value else [])
    assert get(*lines, start=b"GET / HTTP/1." + version).is_keep_alive is is_kept
    lines = [b"Content-Length: 0"] + ([b"Connection: " + value] if value else [])
    assert response(b"\r\n".join([b"HTTP/1.%b 200 OK" % version, *lines, b"", b""])).is_keep_alive is is_kept


def test_what_connection_names_ends_here_but_not_what_the_message_says():
    head = get(
        b"Host: a",
        b"Connection: close, X-A, x-b, Host, Cookie, Authorization, Content-Type, X-Client-Email",
        b"x-a: 1",
        b"X-B: 2",
        b"X-C: 3",
        b"Cookie: c",
        b"Authorization: d",
        b"Content-Type: e",
        b"X-Client-Email: root@example.com",
    )
    assert fields(head) == [(b"X-C", b"3"), (b"Cookie", b"c"), (b"Authorization", b"d"), (b"Content-Type", b"e")]
    assert head.host == b"a"


def test_the_framing_counts_where_connection_names_it():
    assert get(b"Host: a", b"Connection: content-length", b"Content-Length: 5").content_length == 5
    assert get(b"Host: a", b"Connection: transfer-encoding", b"Transfer-Encoding: chunked").is_chunked


def test_the_chain_of_proxies_is_read_in_order_and_does_not_pass():
    head = get(b"Host: a", b"X-Forwarded-For: 1.2.3.4", b"X_Forwarded_For: 6.6.6.6", b"x-forwarded-for: 5.6.7.8")
    assert head.values[FORWARDED_FOR] == b"1.2.3.4, 5.6.7.8"
    assert head.passing == []
    head = get(b"Host: a", b"Forwarded: for=1.2.3.4", b"FORWARDED: for=5.6.7.8")
    assert head.values[FORWARDED] == b"for=1.2.3.4, for=5.6.7.8"
    assert head.passing == []


@pytest.mark.parametrize("name", [b"Host", b"Authorization", b"Expect", b"Transfer-Encoding", b"Content-Length"])
def test_twice_is_once_too_many(name):
    value = {b"Expect": b"100-continue", b"Transfer-Encoding": b"chunked"}.get(name, b"1")
    lines = [] if name == b"Host" else [b"Host: a"]
    bad(*lines, name + b": " + value, name.lower() + b": " + value)


@pytest.mark.parametrize("host", [b"", b"a", b"a:443", b"[::1]:443"])
def test_host_is_kept_as_sent(host):
    assert get(b"Host: " + host + b" \t").host == host


def test_host_is_ascii():
    bad(b"Host: \xc3\xa4")
    bad(start=b"GET http://\xc3\xa4/ HTTP/1.0")


def test_only_http_1_0_may_name_no_host():
    bad(b"X: y")
    bad()
    assert get(start=b"GET / HTTP/1.0").host is None


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"http://a/x?y", b"/x?y"),
        (b"HTTPS://A", b"/"),
        (b"http://a?y", b"/?y"),
        (b"http://a/?http://b/", b"/?http://b/"),
    ],
)
def test_the_absolute_form_is_split(target, expected):
    head = get(b"Host: a", start=b"GET " + target + b" HTTP/1.1")
    assert (head.host.lower(), head.target) == (b"a", expected)


@pytest.mark.parametrize("target", [b"*", b"a:443", b"http:/a/", b"ftp://a/", b"http://u@a/", b"http://a\\b/", b"?x"])
def test_other_forms_are_left_to_the_policy_as_they_are(target):
    assert get(b"Host: a", start=b"GET " + target + b" HTTP/1.1").target == target


def test_the_absolute_form_names_the_host():
    bad(b"Host: a", start=b"GET http://b/ HTTP/1.1")
    bad(b"Host: a", start=b"GET http://a:443/ HTTP/1.1")
    assert get(start=b"GET http://b/ HTTP/1.0").host == b"b"


@pytest.mark.parametrize("method", [b"GET", b"RPC_IN_DATA", b"M-SEARCH", b"X9", b"A" * 32, b"CONNECTED"])
def test_methods(method):
    assert get(b"Host: a", start=method + b" / HTTP/1.1").method == method


@pytest.mark.parametrize(
    "method", [b"get", b"Get", b"GET ", b"9GET", b"_GET", b"GE.T", b"GE!T", b"A" * 33, b"", b"CONNECT", b"G\xc9T"]
)
def test_no_methods(method):
    bad(b"Host: a", start=method + b" /x HTTP/1.1")


@pytest.mark.parametrize("value", [b"+5", b"0x5", b"5 5", b"5,5", b"", b"-0", b"\xb2", b"9" * (MAX_LENGTH_DIGITS + 1)])
def test_no_lengths(value):
    bad(b"Host: a", b"Content-Length: " + value)


@pytest.mark.parametrize(("value", "length"), [(b"0", 0), (b"007 ", 7), (b"9" * MAX_LENGTH_DIGITS, 10**18 - 1)])
def test_lengths(value, length):
    assert get(b"Host: a", b"Content-Length: " + value).content_length == length


@pytest.mark.parametrize("value", [b"gzip", b"gzip, chunked", b"chunked, chunked", b"identity", b"chunked;q=1"])
def test_no_codings(value):
    bad(b"Host: a", b"Transfer-Encoding: " + value)


def test_chunks_belong_to_http_1_1():
    bad(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.0")


def test_expectations():
    assert get(b"Host: a", b"Expect: 100-Continue ").expects_continue
    assert not get(b"Expect: 100-continue", start=b"GET / HTTP/1.0").expects_continue
    for value in (b"x", b"100-continue, x", b"x, 100-continue", b"100-continue;q=1", b"100-continue, 100-continue"):
        refused(Reason.EXPECTATION_FAILED, get, b"Host: a", b"Expect: " + value)


@pytest.mark.parametrize("value", [b"100-continue,", b", 100-CONTINUE\t,"])
def test_an_expectation_may_stand_in_a_list(value):
    assert get(b"Host: a", b"Expect: " + value).expects_continue


@pytest.mark.parametrize("value", [b"", b" ", b",", b" , "])
def test_an_empty_expectation_expects_nothing(value):
    assert not get(b"Host: a", b"Expect:" + value).expects_continue


def test_http_1_0_has_no_expectations():
    assert not get(b"Expect: x", start=b"GET / HTTP/1.0").expects_continue


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((b"Connection: upgrade", b"Upgrade: WebSocket "), b"WebSocket"),
        ((b"Connection: upgrade", b"Upgrade: websocket,echo/1.0"), b"websocket, echo/1.0"),
        ((b"Connection: keep-alive, Upgrade", b"Upgrade: websocket"), b"websocket"),
        ((b"Connection: upgrade", b"Upgrade: websocket,"), b"websocket"),
        ((b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: 0"), b"websocket"),
        ((b"Upgrade: websocket",), None),
        ((b"Connection: close", b"Upgrade: websocket"), None),
        ((b"Connection: upgrade",), None),
        ((b"Connection: upgrade", b"Upgrade: websocket, h2c"), None),
        *(
            ((b"Connection: upgrade", b"Upgrade: " + protocol), None)
            for protocol in (
                *(b"h2c", b"H2C", b"h2", b"h2c-14", b"h2c/1", b"h3", b"HTTP/2.0", b"http2", b"SPDY/3.1", b"TLS/1.0"),
                *(b"tls", b"ssl", b"", b",", b"web socket", b"websocket;h2c", b"a/b/c", b"\x80"),
            )
        ),
        ((b"Connection: upgrade", b"Upgrade: websocket", b"Upgrade: h2c"), None),
        ((b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: 5"), None),
        ((b"Connection: upgrade", b"Upgrade: websocket", b"Transfer-Encoding: chunked"), None),
    ],
)
def test_what_switches_protocols_carries_no_requests_and_has_no_body(lines, expected):
    head = get(b"Host: a", *lines)
    assert head.upgrade == expected
    assert head.passing == []


def test_a_length_of_0_is_no_body_in_a_get_alone():
    """A WebSocket is opened with GET (RFC 6455 4.1); the same fields are read anew with another method."""
    fields = b"Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n"
    known = None
    for method, expected in [(b"POST", None), (b"GET", b"websocket"), (b"POST", None), (b"GET", b"websocket")]:
        known = request(method + b" / HTTP/1.1\r\n" + fields, known=known)
        assert known.upgrade == expected


@pytest.mark.parametrize(
    ("lines", "has_date"), [(b"", False), (b"date: x\r\n", True), (b"Connection: date\r\nDate: x\r\n", True)]
)
def test_an_answers_date_passes_whatever_it_says(lines, has_date):
    head = response(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n")
    assert head.has_date is has_date is (b"x" in head.passing)


def test_no_upgrade_from_http_1_0():
    assert get(b"Connection: upgrade", b"Upgrade: websocket", start=b"GET / HTTP/1.0").upgrade is None


def test_limits_take_what_they_name_and_nothing_more():
    def sized(target, fields):
        return b"GET /%b HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % (b"a" * (target - 1), b"y" * (fields - 12))

    assert request(sized(100, 400)).target == b"/" + b"a" * 99
    refused(Reason.URI_TOO_LONG, request, sized(101, 400))
    refused(Reason.URI_TOO_LONG, request, sized(200, 400))
    refused(Reason.HEADERS_TOO_LARGE, request, sized(100, 401))
    assert len(request(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 19 + b"\r\n").passing) == 19 * 4
    refused(Reason.HEADERS_TOO_LARGE, request, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 20 + b"\r\n")


def test_a_request_line_that_is_too_long_is_told_from_a_bad_one():
    refused(Reason.URI_TOO_LONG, request, b"GET /" + b"a" * 200 + b" HTTP/9\r\n\r\n")
    refused(Reason.BAD_REQUEST, request, b"GET / HTTP/9\r\n\r\n")


def unfinished(data):
    check_unfinished(data, **LIMITS)


@pytest.mark.parametrize(
    "whole",
    [
        b"GET /%b HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % (b"a" * 99, b"y" * 388),
        b"A" * 32 + b" /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"a" * 99),
        b"GET / HTTP/1.0\r\n\r\n",
    ],
)
def test_what_may_become_a_good_head_is_waited_for_at_every_byte(whole):
    request(whole)
    for length in range(len(whole)):
        unfinished(whole[:length])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET /" + b"a" * 200, Reason.URI_TOO_LONG),
        (b"GET /" + b"a" * 200 + b"\r\n", Reason.URI_TOO_LONG),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 401, Reason.HEADERS_TOO_LARGE),
        (b"GET / HTTP/1.1\n", Reason.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nHost: a\n\n", Reason.BAD_REQUEST),
        (b"GET /\r\n", Reason.BAD_REQUEST),
        (b"PRI * HTTP/2.0\r\n", Reason.BAD_REQUEST),
    ],
)
def test_what_can_become_none_is_refused_at_once(data, reason):
    refused(reason, unfinished, data)


def test_an_ordinary_answer():
    head = response(
        b"HTTP/1.1 200 Fine, thanks\r\nContent-Length: 5\r\nKeep-Alive: timeout=5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
        b"Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\r\n"
    )
    assert (head.status, head.reason, head.minor) == (200, b"Fine, thanks", 1)
    assert fields(head) == [(b"Set-Cookie", b"a"), (b"Set-Cookie", b"b")]
    assert (head.content_length, head.is_chunked, head.upgrade) == (5, False, None)
    assert head.keep_alive_seconds == 5


def test_answers_that_challenge_and_switch():
    head = response(
        b"HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM\r\nwww-authenticate: Basic\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert head.challenge == b"NTLM, Basic"
    assert head.is_chunked
    assert len(fields(head)) == 2
    assert head.keep_alive_seconds is None
    assert response(b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n").upgrade == b"websocket"


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        (b"Keep-Alive: max=3, TIMEOUT = 15\r\n", 15),
        (b'Keep-Alive: timeout="7"\r\n', 7),
        (b"Keep-Alive: max=3\r\nKeep-Alive: timeout=9\r\n", 9),
        (b"Keep-Alive: timeout=0\r\n", 0),
        (b"Keep-Alive: timeout=999999999\r\n", 999999999),
        (b"Keep-Alive: timeout=1000000000\r\n", None),
        (b"Keep-Alive: xtimeout=5\r\n", None),
        (b"Keep-Alive: 300\r\n", None),
    ],
)
def test_how_long_a_server_keeps_an_idle_connection(lines, seconds):
    assert response(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n").keep_alive_seconds == seconds


@pytest.mark.parametrize("reason", [b"", b" ", b" a\tb", b" \xff"])
def test_a_reason_may_be_empty_or_missing(reason):
    assert response(b"HTTP/1.0 599" + reason + b"\r\n\r\n").reason == reason[1:]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 600 X\r\n\r\n",
        b"HTTP/1.1 099 X\r\n\r\n",
        b"HTTP/1.1 2000 X\r\n\r\n",
        b"HTTP/2 200 X\r\n\r\n",
        b"HTTP/1.1 200 \x00\r\n\r\n",
        b"HTTP/1.1 200 X\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: 9999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.0 200 X\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_no_answers(data):
    refused(Reason.UPSTREAM_BAD_RESPONSE, response, data)


def test_status_lines_of_a_broken_server_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(http1, "_status_lines", lines := {})
    for number in range(http1.MAX_CACHED_STATUS_LINES + 10):
        data = b"HTTP/1.1 200 %d\r\n\r\n" % number
        head = http1.parse_response(data, data.find(b"\r\n\r\n"), ResponseClassifier())
        assert (head.status, head.reason) == (200, b"%d" % number)
    assert len(lines) == http1.MAX_CACHED_STATUS_LINES


SECTIONS = (
    b"Host: a\r\n",
    b"Host: b\r\n",
    b"Host: a\r\nContent-Length: 3\r\n",
    b"Host: a\r\nTransfer-Encoding: chunked\r\n",
    b"Host: a\r\nConnection: close, X-One\r\nX-One: 1\r\nExpect: 100-continue\r\nUpgrade: websocket\r\n",
    b"Host: a\r\nX-Long: " + b"x" * http1.MAX_KNOWN_SECTION_BYTES + b"\r\n",
)
LINES = (b"GET /a HTTP/1.1\r\n", b"POST /b?c HTTP/1.1\r\n", b"GET /a HTTP/1.0\r\n", b"GET http://a/b HTTP/1.1\r\n")


@pytest.mark.parametrize("earlier", [line + section for line in LINES for section in SECTIONS])
def test_a_head_means_the_same_whatever_came_before_it(earlier):
    """Fields that are known again are read as if they were new, and only where version and target's form allow it."""

    def read(data, known=None):
        data += b"\r\n"
        limits = {"uri_bytes": 100, "headers": 10, "header_bytes": 4096}
        try:
            return parse_request(data, data.index(END_OF_HEAD), RequestClassifier(), known=known, **limits)
        except RequestError as error:
            return error

    def meaning(head):
        if isinstance(head, RequestError):
            return str(head)
        return {name: getattr(head, name) for name in head.__slots__}

    known = read(earlier)
    for line in LINES:
        for section in SECTIONS:
            again = read(line + section, None if isinstance(known, RequestError) else known)
            assert meaning(again) == meaning(read(line + section))
