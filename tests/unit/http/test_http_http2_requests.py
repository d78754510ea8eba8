"""Field lists: which are requests and trailers, and which are malformed."""

import pytest

from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http.headers import MAX_CACHED_NAME_BYTES, MAX_CACHED_NAMES
from gateway.http.http1 import MAX_LENGTH_DIGITS
from gateway.http.http2_requests import MalformedError, Request, read_request, read_trailers

GET = {b":method": b"GET", b":scheme": b"https", b":authority": b"mail.example", b":path": b"/a?b"}


def read(listed, *, has_body=False, uri_bytes=100):
    return read_request(1, listed, has_body=has_body, uri_bytes=uri_bytes)


def request(*fields, has_body=False, uri_bytes=100, **pseudo):
    """A GET with these fields, and pseudo-header fields changed or, with None, left out."""
    values = GET | {b":" + name.encode(): value for name, value in pseudo.items()}
    listed = [(name, value) for name, value in values.items() if value is not None]
    return read([*listed, *fields], has_body=has_body, uri_bytes=uri_bytes)


def malformed(*fields, **options):
    with pytest.raises(MalformedError) as caught:
        request(*fields, **options)
    return caught.value.cause


def refused(*fields, **options):
    with pytest.raises(RequestError) as caught:
        request(*fields, **options)
    return caught.value.reason


def test_an_ordinary_request():
    fields = [(b"accept", b"*/*"), (b"x-empty", b""), (b"x-odd", b"a\tb c\xff"), (b"te", b"Trailers")]
    assert request(*fields) == Request(1, b"GET", b"mail.example", b"/a?b", None, fields, None, False)
    assert request(method=b"POST", has_body=True).has_body


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b"Accept",
        b"x y",
        b"x\x00",
        b"x\n",
        b"x:",
        b"x\xe4",
        b":x",
        b" x",
        b"x ",
        b"x@",
        b'x"',
        b"(x)",
        b"x/y",
        b"x{",
    ],
)
def test_names(name):
    assert request((b"!#$%&'*+-.^_`|~09az", b"1")).fields
    assert malformed((b"a", b"b"), (name, b"1")) == "a field name is not a token in lower case"


@pytest.mark.parametrize("value", [b"\x00", b"a\rb", b"a\nb", b"a\r\nb", b"\n", b"a\x1fb", b"a\x7f", b"\x0b", b"a\n"])
def test_control_characters_in_values(value):
    assert malformed((b"a", value)) == "a field value has control characters"
    assert malformed((b"a", b""), (b"b", value), (b"c", b"")) == "a field value has control characters"
    assert malformed(path=b"/" + value) == "a field value has control characters"


@pytest.mark.parametrize("value", [b" a", b"a ", b"\ta", b"a\t", b" ", b"\t"])
def test_white_space_around_values(value):
    cause = "a field value begins or ends with white space"
    assert malformed((b"a", value)) == malformed((b"a", value), (b"b", b"c")) == cause


@pytest.mark.parametrize("name", [b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"])
def test_fields_of_an_http1_connection(name):
    assert malformed((name, b"close")).endswith("is about an HTTP/1.1 connection")
    with pytest.raises(MalformedError):
        read_trailers([(name, b"close")])


@pytest.mark.parametrize("value", [b"", b"gzip", b"trailers, gzip", b"trailers;q=1"])
def test_te_is_trailers_only(value):
    assert malformed((b"te", value)) == "te is not trailers"


@pytest.mark.parametrize("name", [b":method", b":scheme", b":authority", b":path", b":protocol"])
def test_pseudo_fields_come_first_and_once(name):
    extended = {b":method": b"CONNECT", b":protocol": b"websocket"}
    listed = list((GET | extended).items())
    assert read(listed).protocol == b"websocket"
    again = (name, (GET | extended)[name])
    with pytest.raises(MalformedError, match=f"^more than one {name.decode()}$"):
        read([*listed, again])
    for others in (
        [*listed, (b"a", b"b"), again],
        [field for field in listed if field != again] + [(b"a", b"b"), again],
    ):
        with pytest.raises(MalformedError, match="token in lower case"):
            read(others)


@pytest.mark.parametrize("name", [b":status", b":", b":Method", b":host", b":test"])
def test_unknown_pseudo_fields(name):
    with pytest.raises(MalformedError, match="unknown pseudo-header field"):
        read([(name, b"200"), *GET.items()])


@pytest.mark.parametrize("listed", [[], [(b"a", b"b")], [(b"", b"")]])
def test_without_pseudo_fields(listed):
    with pytest.raises(MalformedError):
        read(listed)


@pytest.mark.parametrize("method", [None, b"", b"GE T", b"GET/", b"G\xc4T"])
def test_invalid_methods(method):
    assert malformed(method=method) == "there is no valid :method"


@pytest.mark.parametrize("method", [b"get", b"TRACE", b"G!", b"A" * 33, b"-GET"])
def test_methods_that_http1_does_not_support_either_are_answered(method):
    assert refused(method=method) is Reason.BAD_REQUEST


@pytest.mark.parametrize("method", [b"PROPFIND", b"RPC_IN_DATA", b"TRACER", b"A" * 32, b"M-SEARCH"])
def test_other_methods(method):
    assert request(method=method).method == method


@pytest.mark.parametrize("scheme", [None, b"", b"ftp", b"HTTPS", b"https:"])
def test_schemes(scheme):
    assert request(scheme=b"http").target == b"/a?b"
    assert malformed(scheme=scheme) == "there is no :scheme of http or https"


@pytest.mark.parametrize("path", [None, b"", b"a", b"*", b"/a b", b"/a\tb", b"https://mail.example/", b"?a"])
def test_paths(path):
    assert malformed(path=path) == "there is no valid :path"


def test_a_path_for_the_whole_server():
    assert request(path=b"*", method=b"OPTIONS").target == b"*"
    assert malformed(path=b"**", method=b"OPTIONS") == "there is no valid :path"


def test_the_longest_path():
    assert len(request(path=b"/" * 100).target) == 100
    assert refused(path=b"/" * 101) is Reason.URI_TOO_LONG


@pytest.mark.parametrize(
    "authority",
    [b"", b"user@mail.example", b"mail.example/", b"a?b", b"a#b", b"a\\b", b"a b", b"a\tb", b"m\xc3\xa4il"],
)
def test_authorities(authority):
    cause = "there is no valid :authority or host"
    assert malformed(authority=authority) == cause
    assert malformed((b"host", authority), authority=None) == cause


def test_authority_and_host():
    assert malformed(authority=None) == "there is no valid :authority or host"
    assert malformed((b"host", b"mail.example"), (b"host", b"mail.example")) == "more than one host"
    # RFC 9113 8.3.1 calls the next ones malformed too, which ends the stream. An answer says more: with 421, the client
    # tries another connection.
    for other in (b"other.example", b"mail.example:443", b"", b"a@mail.example"):
        assert refused((b"host", other)) is Reason.HOST_MISMATCH
    assert malformed((b"host", b"other.example"), authority=b"a@b") == "there is no valid :authority or host"
    assert malformed((b"host", b"other.example"), (b"content-length", b"3")) == (
        "the request ends before its content-length"
    )
    agreed = request((b"host", b"Mail.Example"), (b"a", b"b"))
    assert (agreed.authority, agreed.fields) == (b"mail.example", [(b"a", b"b")])
    only = request((b"host", b"mail.example:443"), authority=None)
    assert (only.authority, only.fields) == (b"mail.example:443", [])
    assert request(authority=b"[2001:db8::1]:443").authority == b"[2001:db8::1]:443"


def test_the_parts_of_a_cookie_are_joined_where_the_first_was():
    alone = request((b"cookie", b"a=1"), (b"x", b"y"))
    assert alone.fields == [(b"cookie", b"a=1"), (b"x", b"y")]
    parts = request((b"w", b""), (b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2"), (b"cookie", b"c=3; d=4"))
    assert parts.fields == [(b"w", b""), (b"cookie", b"a=1; b=2; c=3; d=4"), (b"x", b"y")]


@pytest.mark.parametrize("value", [b"", b"-1", b"+1", b"1_0", b"1, 1", b"0x1", b"\xb2", b"1" * (MAX_LENGTH_DIGITS + 1)])
def test_malformed_lengths(value):
    assert malformed((b"content-length", value), has_body=True) == "a malformed content-length"


def test_lengths():
    longest = b"9" * MAX_LENGTH_DIGITS
    body = request((b"content-length", longest), has_body=True, method=b"POST")
    assert (body.content_length, body.fields) == (int(longest), [(b"content-length", longest)])
    assert (
        malformed((b"content-length", b"1"), (b"content-length", b"1"), has_body=True) == "more than one content-length"
    )
    assert request((b"content-length", b"0")).content_length == 0
    assert malformed((b"content-length", b"1")) == "the request ends before its content-length"


def test_connect_is_well_formed_without_scheme_and_path_but_not_supported():
    plain = {"method": b"CONNECT", "scheme": None, "path": None, "has_body": True}
    assert refused(**plain) is Reason.BAD_REQUEST
    cause = "a CONNECT has :scheme or :path, or no :authority"
    assert malformed(**plain | {"scheme": b"https"}) == malformed(**plain | {"path": b"/"}) == cause
    assert malformed((b"host", b"a"), authority=None, **plain) == cause


def test_extended_connect():
    tunnel = request(method=b"CONNECT", protocol=b"websocket", has_body=True)
    assert (tunnel.method, tunnel.protocol, tunnel.target) == (b"CONNECT", b"websocket", b"/a?b")
    assert malformed(method=b"CONNECT", protocol=b"websocket", scheme=None) == "there is no :scheme of http or https"
    assert malformed(method=b"CONNECT", protocol=b"websocket", path=None) == "there is no valid :path"
    cause = "a :protocol is no token, or the method is not CONNECT"
    assert malformed(protocol=b"websocket") == cause
    assert malformed(method=b"CONNECT", protocol=b"") == malformed(method=b"CONNECT", protocol=b"a b") == cause


def test_trailers():
    assert read_trailers([]) == []
    assert read_trailers([(b"x-sum", b"1"), (b"te", b"gzip")]) == [(b"x-sum", b"1"), (b"te", b"gzip")]
    for name, value in ((b"x", b"\n"), (b"x", b" a"), (b"X", b""), (b":path", b"/"), (b"host", b"a")):
        with pytest.raises(MalformedError):
            read_trailers([(name, value)])
    with pytest.raises(MalformedError, match=r"^content-length is in the trailers$"):
        read_trailers([(b"content-length", b"1")])


def test_names_are_remembered_up_to_a_number_and_a_length():
    """What is remembered makes no difference to what is read."""
    for at in range(MAX_CACHED_NAMES + 1):
        assert request((b"x-%d" % at, b"")).fields
    long = b"x" * (MAX_CACHED_NAME_BYTES + 1)
    for _ in range(2):
        assert request((long, b"")).fields == [(long, b"")]
        assert malformed((b"Upper", b""))
        assert malformed((b"upgrade", b"h2c"))
