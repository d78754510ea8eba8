"""Behind a proxy that ends TLS: whom it names counts, and a request for which it names nobody is of no network.

The proxies' own addresses are inside; what comes through them must not profit from that.
"""

from __future__ import annotations

import socket

import pytest
from support.balancer import Balancer, Listen
from support.client import TLS_1_2, TLS_1_3, Client, Stream, ask
from support.gateway import HOST, INSIDE, OUTSIDE, RULES, settings_for
from support.waiting import until

pytestmark = pytest.mark.e2e

PROXY, EDGE = "127.0.0.9", "127.0.0.10"
CHECKS = {"name": "The proxy's checks", "from": [PROXY], "uri": ["=/health"], "action": "allow"}
SERVED, MISSING, BAD = (200, None), (403, "certificate_missing"), (400, "bad_request")
NOBODY = (403, "denied_by_rule")  # the last rule's; the rule for the inside stands before it
both_versions = pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["TLS 1.2", "TLS 1.3"])


def settings(credentials, mail, trusted):
    networks = {"internal": [INSIDE, PROXY, EDGE], "proxies": [PROXY, EDGE]}
    by_name = {"name": "The name of a network is no address", "from": "proxies", "action": "allow"}
    rules = [RULES[0], by_name, *RULES[1:-1], CHECKS, RULES[-1]]
    return settings_for(credentials.site, mail.url, networks=networks, rules=rules, trusted_proxies=trusted)


@pytest.fixture(scope="module")
def gateway(start, credentials, mail):
    return start(settings(credentials, mail, [PROXY, EDGE]))


@pytest.fixture(scope="module")
def reading_forwarded(start, credentials, mail):
    return start(settings(credentials, mail, {"from": [PROXY, EDGE], "header": "forwarded"}))


def verdict(gateway, version, *fields, path="/webmail", source=PROXY):
    with Client(gateway.port, source=source, version=version) as client:
        return client.ask("GET", path, *fields).verdict


NAMING = [
    ((), NOBODY),
    ((f"X-Forwarded-For: {INSIDE}",), SERVED),
    ((f"X-Forwarded-For: {OUTSIDE}",), MISSING),
    ((f"X-Forwarded-For: {INSIDE}", f"X-Forwarded-For: {OUTSIDE}"), MISSING),  # one list, in its order
    ((f"X-Forwarded-For: {OUTSIDE}", f"X-Forwarded-For: {INSIDE}"), SERVED),
    ((f"X-Forwarded-For: {OUTSIDE}, {EDGE}",), MISSING),
    ((f"X-Forwarded-For: {EDGE}",), NOBODY),  # the first proxy names nobody
    ((f"X-Forwarded-For: {PROXY}",), NOBODY),
    ((f"Forwarded: for={INSIDE}",), NOBODY),  # not the header that counts: the client may have sent it
    (("X-Forwarded-For:",), BAD),
    (("X-Forwarded-For: unknown",), BAD),
    ((f"X-Forwarded-For: {INSIDE}", f"Forwarded: for={INSIDE}"), SERVED),
    ((f"X-Forwarded-For: {INSIDE}", "Forwarded: for=unknown"), SERVED),
    ((f"X-Forwarded-For: {INSIDE}", f"Forwarded: for={OUTSIDE}"), BAD),
    ((f"X-Forwarded-For: {INSIDE}", "Forwarded: nonsense"), BAD),
]
NAMING_FORWARDED = [
    ((), NOBODY),
    ((f"Forwarded: for={INSIDE};proto=https",), SERVED),
    ((f'Forwarded: for="{INSIDE}:4711"',), SERVED),
    ((f"Forwarded: for={OUTSIDE}",), MISSING),
    (('Forwarded: for="[2001:db8::1]:443"',), MISSING),
    ((f"Forwarded: for={INSIDE}", f"Forwarded: for={OUTSIDE};by={PROXY}"), MISSING),
    ((f"Forwarded: for={OUTSIDE}, for={INSIDE}", f"Forwarded: for={EDGE}"), SERVED),
    ((f"Forwarded: for={EDGE}",), NOBODY),
    (("Forwarded: for=unknown",), NOBODY),
    ((f"Forwarded: for={INSIDE}, for=_hidden",), NOBODY),
    (("Forwarded: proto=https",), NOBODY),
    ((f"X-Forwarded-For: {INSIDE}",), NOBODY),
    ((f"X-Forwarded-For: {OUTSIDE}", f"Forwarded: for={INSIDE}"), BAD),
    ((f'Forwarded: for={OUTSIDE};by=", for={INSIDE}',), BAD),
    ((f'Forwarded: for="{INSIDE}', f"Forwarded: for={OUTSIDE}"), BAD),
    *(
        ((f"Forwarded: {value}",), BAD)
        for value in ("", ",", "for", f"for={INSIDE}:80", f"for={INSIDE}; proto=https", "for=[2001:db8::1]", "for=\xff")
    ),
]


@both_versions
@pytest.mark.parametrize(("fields", "expected"), NAMING, ids=lambda value: " + ".join(map(str, value)) or "nothing")
def test_only_a_named_client_is_in_a_network(gateway, fields, expected, version):
    assert verdict(gateway, version, *fields) == expected


@both_versions
@pytest.mark.parametrize(
    ("fields", "expected"), NAMING_FORWARDED, ids=lambda value: " + ".join(map(str, value)) or "nothing"
)
def test_the_same_of_forwarded_where_that_counts(reading_forwarded, fields, expected, version):
    assert verdict(reading_forwarded, version, *fields) == expected


@both_versions
def test_a_rule_for_the_proxys_own_address_lets_its_checks_in_and_nothing_else(gateway, mail, version):
    assert verdict(gateway, version, path="/health") == SERVED
    assert mail.only().values(b"X-Forwarded-For") == [PROXY.encode()]
    assert verdict(gateway, version, f"X-Forwarded-For: {OUTSIDE}", path="/health") == NOBODY
    assert verdict(gateway, version, path="/health", source=EDGE) == NOBODY
    assert verdict(gateway, version, path="/health", source=OUTSIDE) == NOBODY


def test_the_log_says_that_no_client_was_named(gateway):
    answer = ask(gateway.port, "/webmail", source=PROXY)
    record = gateway.log.of(answer.get("X-Request-Id"))
    assert (record["client_ip"], record["rule"]) == (PROXY, "Everything else")
    why = (
        f"the trusted proxy {PROXY} named no client, so only a rule whose "
        "from lists its own address lets the request in"
    )
    assert record["detail"] == f"denied by the rule; {why}"


def test_the_upstream_hears_of_the_client_that_counted(reading_forwarded, mail):
    with Client(reading_forwarded.port, source=PROXY) as client:
        fields = [f"Forwarded: for=6.6.6.6;host=evil, for={INSIDE}", f"X-Forwarded-For: 6.6.6.6, {INSIDE}"]
        assert client.ask("GET", "/webmail", *fields).verdict == SERVED
    request = mail.only()
    assert request.values(b"X-Forwarded-For") == [f"{INSIDE}, {PROXY}".encode()]
    assert request.values(b"Forwarded") == [f"for={INSIDE};host=mail.example.com;proto=https".encode()]


@both_versions
def test_a_proxy_with_a_certificate_shows_it_for_its_clients(gateway, credentials, version):
    """It may name clients from outside, so it is asked, wherever it is itself."""
    with Client(gateway.port, source=PROXY, identity=credentials["alice"], version=version) as client:
        assert client.ask("GET", "/webmail", f"X-Forwarded-For: {OUTSIDE}").verdict == SERVED
        assert client.ask("GET", "/webmail").verdict == NOBODY


# a real HAProxy


@pytest.fixture(scope="module")
def haproxy(gateway, tmp_path_factory):
    """It reads HTTP, and passes Forwarded on as it came; `silent` names no client."""
    server = f"{INSIDE}:{gateway.port} ssl verify none sni str({HOST}) source {PROXY}"
    http = [
        "mode http",
        "option httpclose",
        "http-reuse never",
    ]  # a kept connection would look like one that was forgotten
    checks = ["option httpchk", f"http-check send meth OPTIONS uri /health ver HTTP/1.1 hdr Host {HOST}"]
    servers = {
        "naming": Listen(server, lines=[*http, "option forwardfor"]),
        "silent": Listen(server, lines=http),
        "checking": Listen(
            f"{server} check inter 30s fall 1 check-sni {HOST}", lines=[*http, "option forwardfor", *checks]
        ),
    }
    balancer = Balancer.start(tmp_path_factory.mktemp("haproxy"), servers)
    yield balancer
    balancer.stop()


def through(haproxy, name, source, *fields):
    """The verdict on one request that came through it."""
    with socket.create_connection((INSIDE, haproxy.ports[name]), 15, source_address=(source, 0)) as client:
        lines = ["GET /webmail HTTP/1.1", f"Host: {HOST}", *fields, "", ""]
        client.sendall("\r\n".join(lines).encode())
        return Stream(client).answer().verdict


@pytest.mark.parametrize(
    ("name", "source", "fields", "expected"),
    [
        ("naming", INSIDE, (), SERVED),
        ("naming", OUTSIDE, (), MISSING),
        ("naming", OUTSIDE, (f"X-Forwarded-For: {INSIDE}",), MISSING),
        ("naming", OUTSIDE, (f"Forwarded: for={INSIDE}",), BAD),
        ("naming", OUTSIDE, (f"Forwarded: for={OUTSIDE}",), MISSING),
        ("silent", INSIDE, (), NOBODY),
        ("silent", OUTSIDE, (), NOBODY),
        ("silent", OUTSIDE, (f"Forwarded: for={INSIDE}",), NOBODY),
    ],
)
def test_whom_a_real_proxy_names(haproxy, name, source, fields, expected):
    assert through(haproxy, name, source, *fields) == expected


def test_the_checks_of_a_real_proxy_get_in(gateway, haproxy):
    """Were they refused, it would call the gateway down and answer 503 itself."""

    def checks():
        return [record for record in gateway.log.records() if record["method"] == "OPTIONS"]

    record = until(checks, "HAProxy has asked")[0]
    assert (record["client_ip"], record["rule"], record["status"]) == (PROXY, CHECKS["name"], 200)
    assert through(haproxy, "checking", INSIDE) == SERVED
