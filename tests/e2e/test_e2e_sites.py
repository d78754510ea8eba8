"""Several sites on one listener, served by two workers: names lead to sites, and no session leads to another site."""

from __future__ import annotations

import socket
import ssl
from itertools import permutations

import pytest
from support.client import TLS_1_2, TLS_1_3, VERSIONS, Client, ask, context_for
from support.credentials import OPEN_HOST, OTHER_HOST
from support.first_flight import (
    SplitClient,
    client_hello,
    cut_records,
    cut_segments,
    one_byte_records,
    one_byte_segments,
)
from support.gateway import HOST, INSIDE, OUTSIDE, settings_for
from support.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.e2e

both_versions = pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])
# Enough connections that both workers have served some, but for one time in 500.
TRIES = 10
# A ticket holds the client's certificate.
SMALLEST_TICKET_BYTES = 200
SERVED = (200, None)
# Who is let in where.
MEMBERS = {HOST: "alice", OTHER_HOST: "stranger", OPEN_HOST: None}


def sites(credentials):
    return [
        {"hosts": [HOST, f"*.{HOST}"], "upstream": "mail", **credentials.site},
        {"hosts": [OTHER_HOST], "upstream": "mail", **credentials.other_site},
        {"hosts": [OPEN_HOST], "upstream": "mail", **credentials.server},
    ]


RULES = [
    {"name": "Everybody may look", "hosts": [OPEN_HOST], "action": "allow"},
    {"name": "Inside", "from": "internal", "action": "allow"},
    {"name": "Members", "action": "require_certificate"},
]


@pytest.fixture(scope="module")
def gateway(start, credentials, mail):
    settings = settings_for({}, mail.url, rules=RULES, workers=2)
    return start({**settings, "sites": sites(credentials)})


@pytest.fixture(scope="module")
def with_fallback(start, credentials, mail):
    """The same with the second site for every name that nobody else has."""
    settings = settings_for({}, mail.url, rules=RULES)
    mail_site, other, open_site = sites(credentials)
    return start({**settings, "sites": [mail_site, {**other, "hosts": [OTHER_HOST, "*"]}, open_site]})


def visit(gateway, host, context, session=None):
    """(verdict, whether the session was resumed, the session to come again with)."""
    with Client(gateway.port, source=OUTSIDE, server_name=host, context=context, session=session) as client:
        answer = client.ask("GET", "/webmail")
        session, is_resumed = client.socket.session, client.socket.session_reused
        if answer.status == 200:
            client.socket.unwrap()  # over TLS 1.2 a session counts once its connection ended well
    return answer.verdict, is_resumed, session


def context_of(credentials, host, version):
    return context_for(None, MEMBERS[host] and credentials[MEMBERS[host]], version)


@both_versions
@pytest.mark.parametrize("host", MEMBERS)
def test_a_session_resumes_where_it_was_made_with_the_same_verdict(gateway, credentials, host, version):
    context = context_of(credentials, host, version)
    verdict, _, session = visit(gateway, host, context)
    again = [visit(gateway, host, context, session) for _ in range(TRIES)]

    assert verdict == SERVED
    assert {verdict for verdict, _, _ in again} == {SERVED}
    assert any(is_resumed for _, is_resumed, _ in again)
    if version == TLS_1_3:  # tickets work in every worker
        assert all(is_resumed for _, is_resumed, _ in again)


@both_versions
@pytest.mark.parametrize("name", [None, "alice", "chained", "stranger", "expired"])
def test_no_worker_sees_a_returning_client_differently(gateway, credentials, name, version):
    """An intermediate that the client sends is not in its session; so it makes full handshakes, in every worker."""
    context = context_for(None, name and credentials[name], version)
    verdict, _, session = visit(gateway, HOST, context)
    for _ in range(TRIES):
        again, _, session = visit(gateway, HOST, context, session)
        assert again == verdict


@both_versions
@pytest.mark.parametrize(("here", "there"), list(permutations(MEMBERS, 2)))
def test_a_session_of_one_site_never_resumes_on_another(gateway, credentials, here, there, version):
    stranger = (403, "certificate_missing" if MEMBERS[here] is None else "certificate_untrusted")
    context = context_of(credentials, here, version)
    _, _, session = visit(gateway, here, context)
    for _ in range(TRIES):
        verdict, is_resumed, _ = visit(gateway, there, context, session)
        assert not is_resumed
        assert verdict == (SERVED if there == OPEN_HOST else stranger)


def test_the_foreign_session_was_really_offered(gateway, credentials):
    """Else the tests above would show nothing: this client sends its ticket to whatever name it is told."""
    context = context_of(credentials, HOST, TLS_1_3)
    _, _, session = visit(gateway, HOST, context)
    without, offering = (client_hello(context, server_name=OTHER_HOST, session=each) for each in (None, session))
    assert len(offering) > len(without) + SMALLEST_TICKET_BYTES
    context = context_of(credentials, HOST, TLS_1_2)
    _, _, session = visit(gateway, HOST, context)
    assert session.id
    assert session.id in client_hello(context, server_name=OTHER_HOST, session=session)


@pytest.mark.parametrize(
    ("server_name", "host"),
    [(HOST, OTHER_HOST), (OTHER_HOST, HOST), (OPEN_HOST, HOST), (HOST, OPEN_HOST), (OPEN_HOST, "nowhere.example.com")],
)
def test_a_host_of_another_site_than_the_handshakes_is_misdirected(gateway, mail, credentials, server_name, host, wire):
    context = context_of(credentials, server_name, None)
    with wire.client(gateway.port, source=OUTSIDE, server_name=server_name, context=context) as client:
        answer = client.ask("GET", "/webmail", host=host)
        # Over HTTP/2 a browser that took the two names for one server's goes on with the right one.
        assert client.ask("GET", "/webmail").verdict == SERVED if wire.is_http2 else client.is_at_end()
    assert answer.verdict == (421, "host_mismatch")
    assert gateway.log.of(answer.get("X-Request-Id"))["site"] == server_name
    assert len(mail.received) == wire.is_http2


@pytest.mark.parametrize("host", [HOST.upper(), f"{HOST}.", f"{HOST}:443", f"a.{HOST}"])
def test_another_name_of_the_same_site_is_served(gateway, credentials, host, wire):
    context = context_of(credentials, HOST, None)
    answer = wire.ask(gateway.port, "/webmail", source=OUTSIDE, context=context, host=host)
    # Over HTTP/2 the connection belongs to the one name of its handshake, since another may need another certificate.
    is_other = wire.is_http2 and host == f"a.{HOST}"
    assert answer.verdict == ((421, "host_mismatch") if is_other else SERVED)


@both_versions
@pytest.mark.parametrize("server_name", [None, "nowhere.example.com", f"a.b.{HOST}"])
def test_a_name_without_a_site_ends_the_handshake_with_an_alert(gateway, outside, server_name, version):
    context = context_for(None, None, version)
    with pytest.raises(ssl.SSLError) as raised:
        ask(gateway.port, "/", source=outside, server_name=server_name, context=context)

    assert raised.value.reason == "TLSV1_UNRECOGNIZED_NAME"
    (record,) = gateway.log.of_address(outside)
    assert record["method"] is None
    assert record["site"] is None
    assert (server_name or "no server name") in record["reason"]


@both_versions
@pytest.mark.parametrize("server_name", [None, "nowhere.example.com"])
def test_a_name_without_a_site_gets_the_fallback(with_fallback, credentials, server_name, version):
    context = context_for(None, credentials["stranger"], version)
    options = {"source": OUTSIDE, "server_name": server_name, "context": context}

    assert ask(with_fallback.port, "/", host="nowhere.example.com", **options).verdict == SERVED
    assert ask(with_fallback.port, "/", host=OTHER_HOST, **options).verdict == SERVED
    assert ask(with_fallback.port, "/", host=HOST, **options).verdict == (421, "host_mismatch")


@both_versions
@pytest.mark.parametrize("server_name", [None, "nowhere.example.com", OTHER_HOST])
def test_http_1_0_without_a_host_gets_the_site_of_its_handshake(with_fallback, credentials, mail, server_name, version):
    options = {"source": OUTSIDE, "identity": credentials["stranger"], "version": version}
    with Client(with_fallback.port, server_name=server_name, **options) as client:
        client.send(b"GET /webmail HTTP/1.0\r\n\r\n")
        answer = client.answer()
        assert client.is_at_end()
    assert answer.verdict == SERVED
    request = mail.only()
    expected = (server_name or INSIDE).encode()
    assert request.line == b"GET /webmail HTTP/1.1"
    assert (request.values(b"Host"), request.values(b"X-Forwarded-Host")) == ([expected], [expected])
    assert with_fallback.log.of(request.request_id)["host"] is None


def test_http_1_1_without_a_host_is_refused_there_too(with_fallback, mail):
    with Client(with_fallback.port, server_name=None) as client:
        client.send(b"GET /webmail HTTP/1.1\r\n\r\n")
        assert client.answer().verdict == (400, "bad_request")
    assert not mail.received


@pytest.mark.parametrize("split", [cut_records, cut_segments])
@both_versions
def test_a_hello_cut_in_two_anywhere_chooses_the_same(gateway, version, split):
    """Cut at every byte, by turns outside, where a certificate is asked for, and inside, where none is."""
    context = context_for(None, None, version)
    length = len(client_hello(context))
    verdicts = {OUTSIDE: (403, "certificate_missing"), INSIDE: SERVED}
    for at in range(1, length - 5):
        source = (OUTSIDE, INSIDE)[at % 2]
        answer = SplitClient(gateway.port, split(at), context, source=source).ask("/webmail")
        assert answer.verdict == verdicts[source], at


@both_versions
@pytest.mark.parametrize("split", [one_byte_records, one_byte_segments])
@pytest.mark.parametrize("host", MEMBERS)
def test_a_hello_that_trickles_in_chooses_the_same(gateway, credentials, host, version, split):
    context = context_of(credentials, host, version)
    assert SplitClient(gateway.port, split, context, source=OUTSIDE, server_name=host).ask("/").verdict == SERVED


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x00\x00" * 3, b"\x16\x03\x01\xff\xff", b"\x17\x03\x03\x00\x01x",
                                  b"\x80\x2e\x01\x00\x02", b"\x16\x03\x01\x00\x05\x01\x00\xff\xff\xff"])  # fmt: skip
def test_what_is_no_hello_is_answered_with_an_alert_and_logged(gateway, outside, data):
    with socket.create_connection(
        (INSIDE, gateway.port), timeout=PATIENCE_SECONDS, source_address=(outside, 0)
    ) as plain:
        plain.sendall(data)
        assert plain.recv(100)[:1] in (b"\x15", b"")
    (record,) = gateway.log.of_address(outside)
    assert record["method"] is None
    assert record["reason"]
