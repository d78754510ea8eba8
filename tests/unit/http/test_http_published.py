"""What is published is named in one way; base64 is read with its slashes, and nothing leads out of the folder."""

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http.published import (
    MAX_OCSP_REQUEST_BYTES,
    PREFIX,
    Kind,
    MethodNotAllowed,
    Wanted,
    addresses,
    check_body_type,
    is_unchanged,
    read_target,
)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
# Their base64 holds two slashes in a row, a plus, and both kinds of padding.
REQUESTS = (b"0\xff\xff\xfe\xfb\xef\xbe", b"0\x03\x02\x01\x05", b"0\x00", bytes(range(48, 90)))


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_lists_and_certificates_have_names(method):
    assert read_target(method, PREFIX + b"crl/corp.crl") == Wanted(Kind.LIST, "corp")
    assert read_target(method, PREFIX + b"ca/a.b_c-1.crt") == Wanted(Kind.CERTIFICATE, "a.b_c-1")
    assert read_target(method, PREFIX + b"crl/" + b"x" * 63 + b".crl") == Wanted(Kind.LIST, "x" * 63)


@pytest.mark.parametrize("request_der", REQUESTS)
@pytest.mark.parametrize("spell", [lambda text: text, lambda text: quote(text, safe=""), lambda text: "/" + text])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_question_stands_in_the_target(method, request_der, spell):
    text = spell(base64.b64encode(request_der).decode())
    assert read_target(method, PREFIX + b"ocsp/" + text.encode()) == Wanted(Kind.OCSP, request=request_der)


def test_every_escape_is_read_once():
    target = PREFIX + b"ocsp/" + b"".join(b"%%%02x" % byte for byte in base64.b64encode(REQUESTS[0]))
    assert read_target(b"GET", target) == Wanted(Kind.OCSP, request=REQUESTS[0])


@pytest.mark.parametrize("target", [b"ocsp", b"ocsp/"])
def test_a_question_is_posted(target):
    assert read_target(b"POST", PREFIX + target) == Wanted(Kind.OCSP)


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"/webmail",
        b"/.well-known/gateway",
        b"/.well-known/GATEWAY/crl/corp.crl",
        b"/%2ewell-known/gateway/ocsp",
        b"*",
    ],
)
def test_other_targets_are_somebody_elses(target):
    assert read_target(b"GET", target) is None


@pytest.mark.parametrize(
    "rest",
    [
        *(b"", b"crl/", b"crl", b"crl/corp", b"crl/corp.crt", b"ca/corp.crl", b"ca/corp.key", b"ca/corp.crt/"),
        *(b"crl/../corp.crl", b"crl/..%2fcorp.crl", b"crl/%2e%2e/corp.crl", b"crl/corp%2ecrl", b"crl/.corp.crl"),
        *(b"crl/-corp.crl", b"crl/Corp.crl", b"crl/corp.crl?x", b"crl/corp.crl#x", b"crl//corp.crl", b"crl/co\\rp.crl"),
        *(
            b"crl/" + b"x" * 64 + b".crl",
            b"crl/\xc3\xa4.crl",
            b"../crl/corp.crl",
            b"ocspx",
            b"ocsp?x",
            b"OCSP",
            b"crl/corp.crl\x80",
        ),
        *(b"key/corp.key", b"ca/corp/corp.key", b"ca/corp.ocsp.key", b"registry.db"),
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_what_is_not_written_so_names_nothing(method, rest):
    with pytest.raises(RequestError) as raised:
        read_target(method, PREFIX + rest)
    assert raised.value.reason is Reason.NOT_FOUND


@pytest.mark.parametrize(
    ("method", "rest", "allow"),
    [
        (b"POST", b"crl/corp.crl", b"GET, HEAD"),
        (b"DELETE", b"ca/corp.crt", b"GET, HEAD"),
        (b"GET", b"ocsp", b"POST"),
        (b"HEAD", b"ocsp/", b"POST"),
        (b"POST", b"ocsp/MAA=", b"GET, HEAD"),
        (b"OPTIONS", b"ocsp", b"POST"),
        (b"GE", b"crl/corp.crl", b"GET, HEAD"),
    ],
)
def test_other_methods_are_told_which_there_are(method, rest, allow):
    with pytest.raises(MethodNotAllowed) as raised:
        read_target(method, PREFIX + rest)
    assert (raised.value.status, raised.value.allow) == (405, allow)


@pytest.mark.parametrize(
    "text",
    [
        *(b"MA", b"MAA", b"MAA==", b"M===", b"MA==MA==", b"M A=", b"MAA=?x", b"MAA=#x", b"-_A=", b"=", b"//MAA="),
        *(b"%", b"%4", b"%ZZ", b"%254D", b"%00", b"..", b"%2e%2e", b"\xff"),
    ],
)
def test_what_is_no_base64_is_refused(text):
    with pytest.raises(RequestError) as raised:
        read_target(b"GET", PREFIX + b"ocsp/" + text)
    assert raised.value.reason is Reason.BAD_REQUEST


def test_a_question_has_an_end():
    longest = base64.b64encode(b"0" * MAX_OCSP_REQUEST_BYTES)
    assert read_target(b"GET", PREFIX + b"ocsp/" + longest) is not None
    with pytest.raises(RequestError) as raised:
        read_target(b"GET", PREFIX + b"ocsp/" + base64.b64encode(b"0" * (MAX_OCSP_REQUEST_BYTES + 1)))
    assert raised.value.reason is Reason.URI_TOO_LONG


def test_a_body_is_a_question_or_does_not_say_what_it_is():
    for value in (None, b"application/ocsp-request", b" Application/OCSP-Request ; x=y"):
        check_body_type(value)
    for value in (b"", b"text/plain", b"application/ocsp-response"):
        with pytest.raises(RequestError) as raised:
            check_body_type(value)
        assert raised.value.reason is Reason.BAD_REQUEST


def test_who_has_it_already_is_told_so():
    since = b"Tue, 24 Nov 2026 12:00:00 GMT"
    for value in (b"*", b'"a"', b'W/"a"', b'"b" , "a"'):
        assert is_unchanged(b'"a"', None, value, None), value
    for value in (None, b"", b'"b"', b"a", b'W/"b", "aa"'):
        assert not is_unchanged(b'"a"', None, value, None), value
    assert is_unchanged(b'"a"', NOON, None, since)
    assert not is_unchanged(b'"a"', NOON, b'"b"', since), "a date counts only where no tag is given"
    assert not is_unchanged(b'"a"', None, None, since)
    assert not is_unchanged(b'"a"', NOON + timedelta(seconds=1), None, since)
    for value in (b"", b"yesterday", b"\xff", b"Tue, 24 Nov 2026 12:00:00 -0000", b"Tue, 99 Nov 2026 12:00:00 GMT"):
        assert not is_unchanged(b'"a"', NOON, None, value), value


@pytest.mark.parametrize("base", ["http://pki.example.com", "http://pki.example.com/"])
def test_addresses_lead_back(base):
    urls = addresses(base, "corp")
    assert urls == (
        "http://pki.example.com/.well-known/gateway/crl/corp.crl",
        "http://pki.example.com/.well-known/gateway/ocsp",
        "http://pki.example.com/.well-known/gateway/ca/corp.crt",
    )
    targets = [url.removeprefix("http://pki.example.com").encode() for url in urls]
    found = [read_target(method, target) for method, target in zip((b"GET", b"POST", b"GET"), targets, strict=True)]
    assert found == [Wanted(Kind.LIST, "corp"), Wanted(Kind.OCSP), Wanted(Kind.CERTIFICATE, "corp")]
