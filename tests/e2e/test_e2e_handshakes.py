"""What a TLS handshake itself refuses or reveals, on every kind of listener and site, by ClientHellos written by hand.

Every kind: a site that asks for a certificate and one that doesn't, one without `client_ca`, the site for every other
name; directly and behind a balancer that speaks the PROXY protocol.
"""

from __future__ import annotations

import re
import socket

import pytest
from support.client import TLS_1_2, TLS_1_3, Client, context_for, curl, s_client
from support.credentials import OPEN_HOST, OTHER_HOST, Identity
from support.first_flight import one_byte_records
from support.gateway import HOST, INSIDE, OUTSIDE, free_port, settings_for
from support.pki import Ca, rsa_with_exponent
from support.raw_hello import (
    DHE_SUITES_1_2,
    FALLBACK_SCSV,
    FFDHE_2048,
    FFDHE_3072,
    HANDSHAKE_FAILURE,
    ILLEGAL_PARAMETER,
    INAPPROPRIATE_FALLBACK,
    NO_APPLICATION_PROTOCOL,
    P_256,
    P_384,
    P_521,
    SECP256K1,
    SM2,
    SUITES_1_2,
    SUITES_1_3,
    X448,
    X25519,
    ask_raw,
    raw_hello,
)
from support.waiting import PATIENCE_SECONDS, until

from gateway.tls.client_hello import MAX_CLIENT_HELLO_BYTES
from gateway.tls.contexts import SESSION_SECONDS

pytestmark = pytest.mark.e2e

SERVED = (200, None)
ANYTHING = "nowhere.example.com"
RULES = [
    {"name": "Everybody may look", "hosts": [OPEN_HOST], "action": "allow"},
    {"name": "Inside", "from": "internal", "action": "allow"},
    {"name": "Members", "action": "require_certificate"},
]
V1 = "PROXY TCP4 {} 192.0.2.1 51234 443\r\n"
# (server name, where the client is): each is another TLS context, or reached on another way
KINDS = {
    "asking": (HOST, OUTSIDE),
    "silent": (HOST, INSIDE),
    "without client_ca": (OPEN_HOST, OUTSIDE),
    "fallback, asking": (ANYTHING, OUTSIDE),
    "fallback, silent": (ANYTHING, INSIDE),
    "no server name": (None, OUTSIDE),
}
every_kind = pytest.mark.parametrize(("server_name", "source"), KINDS.values(), ids=KINDS)
both_ways_in = pytest.mark.parametrize("is_proxied", [False, True], ids=["directly", "PROXY protocol"])


@pytest.fixture(scope="module")
def gateway(start, credentials, mail):
    sites = [
        {"hosts": [HOST], "upstream": "mail", **credentials.site},
        {"hosts": [OTHER_HOST, "*"], "upstream": "mail", **credentials.other_site},
        {"hosts": [OPEN_HOST], "upstream": "mail", **credentials.server},
    ]
    listen = [
        {"address": f"{INSIDE}:{free_port()}"},
        {"address": f"{INSIDE}:{free_port()}", "proxy_protocol_from": [f"{INSIDE}/32"]},
    ]
    return start({**settings_for({}, mail.url, rules=RULES, listen=listen), "sites": sites})


@pytest.fixture
def say(gateway):
    """Sends a ClientHello, directly or as a balancer would for its client; the answer."""

    def said(hello, source, *, is_proxied):
        if is_proxied:
            return ask_raw(gateway.ports[1], hello, source=INSIDE, header=V1.format(source).encode())
        return ask_raw(gateway.port, hello, source=source)

    return said


# an attacker who turns the version down, to read the client's certificate on its way


@both_ways_in
@every_kind
@pytest.mark.parametrize("versions", [None, (0x0303,)], ids=["no supported_versions", "supported_versions"])
def test_a_client_turned_down_to_tls_1_2_is_told(say, server_name, source, is_proxied, versions):
    hello = raw_hello(server_name=server_name, versions=versions)
    assert say(hello, source, is_proxied=is_proxied).has_sentinel


@both_ways_in
@every_kind
def test_a_client_of_tls_1_3_is_told_nothing(say, server_name, source, is_proxied):
    answer = say(raw_hello(server_name=server_name), source, is_proxied=is_proxied)
    assert len(answer.random) == 32
    assert not answer.has_sentinel


@both_ways_in
@every_kind
def test_a_client_that_fell_back_to_tls_1_2_is_refused(say, server_name, source, is_proxied):
    suites = [*SUITES_1_2, FALLBACK_SCSV]
    answer = say(raw_hello(server_name=server_name, versions=None, suites=suites), source, is_proxied=is_proxied)
    assert answer.alert == INAPPROPRIATE_FALLBACK


@every_kind
def test_the_same_mark_in_a_hello_for_tls_1_3_says_nothing(say, server_name, source):
    suites = [*SUITES_1_3, *SUITES_1_2, FALLBACK_SCSV]
    assert say(raw_hello(server_name=server_name, suites=suites), source, is_proxied=False).alert is None


@pytest.mark.parametrize("source", [OUTSIDE, INSIDE])
def test_openssls_client_that_falls_back(gateway, credentials, source):
    alice = credentials["alice"]
    arguments = ["-tls1_2", "-cert", str(alice.certificate), "-key", str(alice.key)]
    assert "HTTP/1.1 200" in s_client(gateway.port, "/webmail", *arguments, source=source)
    assert "inappropriate fallback" in s_client(gateway.port, "/webmail", *arguments, "-fallback_scsv", source=source)


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["TLS 1.2", "TLS 1.3"])
def test_a_client_that_speaks_one_version_alone_is_served(gateway, credentials, version):
    context = context_for(None, credentials["alice"], version)
    with Client(gateway.port, source=OUTSIDE, context=context) as client:
        assert client.ask("GET", "/webmail").verdict == SERVED


# a client of another protocol


@both_ways_in
@every_kind
@pytest.mark.parametrize("versions", [None, (0x0304,)], ids=["TLS 1.2", "TLS 1.3"])
def test_a_client_of_another_protocol_is_told_that_none_is_served(say, server_name, source, is_proxied, versions):
    hello = raw_hello(server_name=server_name, versions=versions, alpn=[b"imap", b"h3"])
    assert say(hello, source, is_proxied=is_proxied).alert == NO_APPLICATION_PROTOCOL


def test_the_access_log_says_what_the_client_did_not_offer(gateway, outside):
    assert ask_raw(gateway.port, raw_hello(alpn=[b"h3"]), source=outside).alert == NO_APPLICATION_PROTOCOL
    (record,) = gateway.log.of_address(outside)
    assert record["method"] is None
    assert record["reason"] == "handshake_failed: no application protocol"


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["TLS 1.2", "TLS 1.3"])
@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(["h3", "http/1.1"], "http/1.1"), (["http/1.0"], "http/1.0"), (["http/1.0", "http/1.1"], "http/1.1"), ([], None)],
)
def test_a_client_of_http_1_or_of_no_protocol_in_particular_is_served(gateway, credentials, version, offered, chosen):
    context = context_for(None, credentials["alice"], version)
    if offered:
        context.set_alpn_protocols(offered)
    with Client(gateway.port, source=OUTSIDE, context=context) as client:
        assert client.socket.selected_alpn_protocol() == chosen
        assert client.ask("GET", "/webmail").verdict == SERVED


@pytest.mark.parametrize("flag", ["--http1.0", "--http1.1", "--http2", "--no-alpn"])
def test_curl_with_the_protocols_that_it_offers(gateway, credentials, flag):
    assert curl(gateway.port, "/webmail", flag, ca=credentials.server_ca).verdict == SERVED


# key exchanges that cost the server much more than the client


@every_kind
@pytest.mark.parametrize("versions", [None, (0x0304,)], ids=["TLS 1.2", "TLS 1.3"])
@pytest.mark.parametrize("group", [FFDHE_2048, FFDHE_3072, P_521, X448, SECP256K1, SM2])
def test_a_hello_cannot_choose_an_expensive_key_exchange(say, server_name, source, versions, group):
    shares = [group] if group in (FFDHE_2048, FFDHE_3072, P_521) else []
    hello = raw_hello(server_name=server_name, versions=versions, groups=[group], shares=shares)
    assert say(hello, source, is_proxied=False).alert == HANDSHAKE_FAILURE


@every_kind
def test_no_finite_field_in_tls_1_2(say, server_name, source):
    hello = raw_hello(server_name=server_name, versions=None, suites=DHE_SUITES_1_2, groups=[P_256, FFDHE_2048])
    assert say(hello, source, is_proxied=False).alert == HANDSHAKE_FAILURE


@every_kind
@pytest.mark.parametrize(("groups", "share"), [([FFDHE_3072, X25519], FFDHE_3072), ([P_384, P_256], P_384)])
def test_a_client_with_a_cheaper_group_is_asked_for_it(say, server_name, source, groups, share):
    hello = raw_hello(server_name=server_name, versions=(0x0304,), groups=groups, shares=[share])
    assert say(hello, source, is_proxied=False).is_retry


@pytest.mark.parametrize(("groups", "chosen"), [("P-384:X25519", "x25519"), ("P-521:P-384", "secp384r1")])
def test_openssls_client_after_a_hello_retry_request(gateway, outside, credentials, groups, chosen):
    alice = credentials["alice"]
    arguments = ["-groups", groups, "-cert", str(alice.certificate), "-key", str(alice.key)]
    assert "HTTP/1.1 200" in s_client(gateway.port, "/webmail", *arguments, source=outside)
    (record,) = gateway.log.of_address(outside)
    assert record["tls_group"] == chosen


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["TLS 1.2", "TLS 1.3"])
def test_a_client_key_that_is_absurdly_large_ends_the_handshake(gateway, outside, tmp_path, version):
    """Anybody can make such a certificate; to check its proof would take six times as long as a whole handshake."""
    key = rsa_with_exponent(3072, 3071)
    certificate, path = Ca.make("CN=absurd").issue("CN=absurd", key=key).write(tmp_path, "absurd")
    context = context_for(None, Identity(certificate, path), version)
    with pytest.raises(OSError), Client(gateway.port, source=outside, context=context) as client:
        client.ask("GET", "/webmail")
    (record,) = gateway.log.of_address(outside)
    assert record["method"] is None
    assert record["reason"] == "handshake_failed: certificate verify failed"


# hellos and handshakes that end with an alert while the client is still sending


def big_hello(count, **options):
    """A ClientHello of more than so many bytes."""
    more = {60_000 + number: bytes(min(30_000, count - start)) for number, start in enumerate(range(0, count, 30_000))}
    return raw_hello(more=more, **options)


@both_ways_in
@every_kind
@pytest.mark.parametrize("versions", [None, (0x0304,)], ids=["TLS 1.2", "TLS 1.3"])
def test_a_hello_above_the_limit_gets_its_alert(say, server_name, source, is_proxied, versions):
    hello = big_hello(MAX_CLIENT_HELLO_BYTES, server_name=server_name, versions=versions)
    assert say(hello, source, is_proxied=is_proxied).alert == ILLEGAL_PARAMETER


@pytest.mark.parametrize(
    "hello",
    [
        big_hello(60_000) + bytes(2_000_000),
        b"\x16\x03\x01\x00\x10\x01\xff\xff\xff" + bytes(2_000_000),
        b"".join(one_byte_records(big_hello(30_000)[:16_000])),
        b"\x16\x03\x01\x00\x10\x02\x00\x00\x10" + bytes(200_000),
        b"not TLS at all" + bytes(200_000),
    ],
    ids=["two MB behind it", "one that says 16 MiB", "in records of one byte", "another message", "no TLS"],
)
def test_a_client_that_goes_on_sending_reads_its_alert_too(gateway, outside, hello):
    """An end with unread bytes would be a reset, which takes the alert along."""
    with socket.create_connection(
        (INSIDE, gateway.port), timeout=PATIENCE_SECONDS, source_address=(outside, 0)
    ) as plain:
        plain.sendall(hello)
        assert read_all(plain)[0] == 21
    (record,) = gateway.log.of_address(outside)
    assert record["method"] is None
    assert record["reason"]


def test_the_access_log_says_how_long_the_hello_was(gateway, outside):
    assert ask_raw(gateway.port, big_hello(40_000), source=outside).alert == ILLEGAL_PARAMETER
    (record,) = gateway.log.of_address(outside)
    assert re.fullmatch(r"a ClientHello of 40[0-9]{3} bytes; the limit is 32768", record["reason"])


@pytest.mark.parametrize(
    ("hello", "what"),
    [
        (raw_hello(alpn=[b"x"] * 15_000 + [b"http/1.1"]), "more than 64 application protocols"),
        (raw_hello(more=dict.fromkeys(range(1000, 8000), b"")), "more than 128 extensions"),
        (raw_hello(suites=[*SUITES_1_3, *SUITES_1_2] * 2000), "more than 1024 cipher suites"),
    ],
    ids=["protocols", "extensions", "suites"],
)
def test_a_hello_with_lists_that_take_long_to_read_is_refused(gateway, outside, hello, what):
    assert ask_raw(gateway.port, hello, source=outside).alert == ILLEGAL_PARAMETER
    (record,) = gateway.log.of_address(outside)
    assert record["reason"] == f"{what} in the ClientHello"


def test_a_hello_just_below_the_limit_is_answered(say):
    assert say(big_hello(MAX_CLIENT_HELLO_BYTES - 512), OUTSIDE, is_proxied=False).random


def test_a_handshake_that_fails_half_way_gets_its_alert_too(gateway, outside):
    """TLS 1.2, where it isn't encrypted: a ClientKeyExchange of rubbish, with much behind it."""
    with socket.create_connection(
        (INSIDE, gateway.port), timeout=PATIENCE_SECONDS, source_address=(outside, 0)
    ) as plain:
        plain.sendall(raw_hello(versions=None))
        assert plain.recv(1) == b"\x16"
        plain.sendall(b"\x16\x03\x03\x00\x05\x10\x00\x00\x01\x00" + bytes(2_000_000))
        assert read_all(plain)[-7:-2] == b"\x15\x03\x03\x00\x02"
    (record,) = gateway.log.of_address(outside)
    assert record["reason"].startswith("handshake_failed: ")


def read_all(plain):
    data = b""
    while more := plain.recv(65536):
        data += more
    return data


# coming back


@pytest.mark.parametrize("kind", ["asking", "silent", "fallback, silent"])
def test_a_client_that_keeps_coming_back_does_not_lengthen_its_session(gateway, credentials, kind):
    """Each ticket lives no longer than what is left of the first one's time, whatever OpenSSL would give it."""
    server_name, source = KINDS[kind]
    context = context_for(None, credentials["alice"], TLS_1_3)

    def visit(session):
        options = {"source": source, "server_name": server_name, "context": context, "session": session}
        with Client(gateway.port, **options) as client:
            assert client.ask("GET", "/webmail").verdict == SERVED
            assert client.socket.session_reused == (session is not None)
            return client.socket.session

    sessions = [visit(None)]
    assert sessions[0].ticket_lifetime_hint == SESSION_SECONDS

    def is_later():
        sessions.append(visit(sessions[-1]))
        return sessions[-1].ticket_lifetime_hint <= SESSION_SECONDS - 2

    until(is_later, "a ticket is told what is left")
    lifetimes = [session.ticket_lifetime_hint for session in sessions]
    assert lifetimes == sorted(lifetimes, reverse=True)
