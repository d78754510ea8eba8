"""Ways around through headers: nobody but the gateway says who somebody is or where he comes from.

CVE-2022-31813 and CVE-2024-45410 (named in `Connection`), CVE-2026-39858, CVE-2025-64484 and GHSA-7r4p-vjf4-gxv4 (`_`
and `.`).
"""

from __future__ import annotations

import re

import pytest
from support.client import VERSIONS, Client, context_for
from support.gateway import INSIDE, OUTSIDE, settings_for
from support.wire import WIRES_BY_VERSION

pytestmark = pytest.mark.e2e

by_version = pytest.mark.parametrize("wire", WIRES_BY_VERSION, ids=str)
both_versions = pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])

PROXY, OTHER_PROXY = "127.0.9.9", "127.0.9.10"
SERVED = (200, None)
MISSING = (403, "certificate_missing")
FORGED = "forged"
IDENTITY = [
    *("Client-Cert", "Client-Cert-Chain", "X-Client-Subject", "X-Client-Email", "X-Client-Serial"),
    *("X-Client-Fingerprint", "X-Client-Verified"),
]
# What some server or framework takes for the same name, and every other character that a name may hold.
SEPARATORS = "_.~!#$%&'*+^`|"
OTHERS = [
    *("Remote-User", "REMOTE_USER", "X-Remote-User", "SSL_CLIENT_VERIFY", "Ssl-Client-S-Dn", "X-SSL-Client-Cert"),
    *("X-ARR-ClientCert", "X_Forwarded_User", "X.Original.URL", "X-Rewrite-URL", "X_HTTP_Method_Override"),
    *("x-webobjects-remote-user", "X_WebObjects_Remote_User", "Proxy", "Forwarded", "X-Real-IP", "X_Real_IP"),
    *("X-CommonAccessToken", "X-Auth-Request-User", "X_WEBAUTH_USER", "Cf_Access_Jwt_Assertion", "X-authentik-uid"),
    *("X-Amzn-Oidc-Data", "X-Goog-IAP-JWT-Assertion", "X-MS-CLIENT-PRINCIPAL-NAME", "REMOTE_GROUPS", "Shib-Session-ID"),
    *("SM_USER", "iv-user", "OIDC_CLAIM_sub", "X-Vouch-User", "X-Consumer-Username", "Impersonate-User"),
    *("Fly-Client-IP", "X-Azure-SocketIP"),
    *("X-Request-Id", "x_request_id", "True-Client-IP", "Content_Length", "Transfer_Encoding", "Host_", "X-Host"),
]
# They name nobody to anybody, and pass.
HARMLESS = {"Host_", "X-Host"}
RULES = [
    {"name": "Inside", "from": "internal", "action": "allow"},
    {"name": "Mail", "from": "external", "uri": ["/webmail"], "action": "require_certificate"},
    {"name": "Open", "uri": ["/open"], "action": "allow"},
]


@pytest.fixture(scope="module")
def gateway(start, credentials, mail):
    settings = settings_for(credentials.site, mail.url, rules=RULES)
    return start({**settings, "trusted_proxies": [f"{PROXY}/32", f"{OTHER_PROXY}/32"]})


def aliases(name):
    """Spellings of a header name."""
    yield from (name, name.lower(), name.upper())
    for separator in SEPARATORS:
        yield name.replace("-", separator)
    yield name.replace("-", "_", 1)
    yield name.lower().replace("-", "_").replace("_", "-", 1)


def folded(name):
    return re.sub(rb"[^a-z0-9]", b"-", name.lower())


@by_version
@pytest.mark.parametrize("who", [None, "alice"])
@pytest.mark.parametrize("name", IDENTITY)
def test_no_spelling_of_an_identity_header_passes(gateway, mail, credentials, name, who, wire):
    path = "/open" if who is None else "/webmail"
    identity = who and credentials[who]
    with wire.client(gateway.port, source=OUTSIDE, identity=identity) as client:
        answer = client.ask("GET", path, *(f"{alias}: {FORGED}" for alias in aliases(name)))
    assert answer.verdict == SERVED
    check_identity(mail, who)


def check_identity(mail, who):
    """What the upstream may read of identities: the gateway's own words, once each."""
    request = mail.only()
    assert FORGED.encode() not in request.head
    names = [folded(key) for key, _ in request.fields]
    assert len(names) == len(set(names)), names
    if who is None:
        assert request.values(b"X-Client-Verified") == [b"NONE"]
        assert not request.values(b"Client-Cert")
        assert not request.values(b"X-Client-Email")
    else:
        assert request.values(b"X-Client-Verified") == [b"SUCCESS"]
        assert request.values(b"X-Client-Email") == [f"{who}@example.com".encode()]
        assert len(request.values(b"Client-Cert")) == len(request.values(b"Client-Cert-Chain")) == 1


@by_version
@pytest.mark.parametrize("who", [None, "alice"])
def test_nothing_that_another_gateway_would_have_said_passes(gateway, mail, credentials, who, wire):
    path = "/open" if who is None else "/webmail"
    identity = who and credentials[who]
    with wire.client(gateway.port, source=OUTSIDE, identity=identity) as client:
        fields = [f"{name}: {FORGED}" for name in OTHERS if name not in HARMLESS]
        assert client.ask("GET", path, *fields).verdict == SERVED
    check_identity(mail, who)


@both_versions
@pytest.mark.parametrize("who", [None, "alice"])
@pytest.mark.parametrize(
    "connection",
    [
        "X-Client-Email",
        "close, X-Client-Verified, Client-Cert, Client-Cert-Chain, X-Client-Email, X-Client-Subject",
        "X_Client_Email, x-client-verified, X-Forwarded-For, X-Request-Id, Forwarded",
        "keep-alive, Host, Content-Length, Authorization",
    ],
)
def test_connection_takes_no_identity_away(gateway, mail, credentials, who, connection, version):
    path = "/open" if who is None else "/webmail"
    context = context_for(None, who and credentials[who], version)
    fields = (f"Connection: {connection}", f"X-Client-Email: {FORGED}", "Authorization: Basic YTpi")
    with Client(gateway.port, source=OUTSIDE, context=context) as client:
        assert client.ask("GET", path, *fields).verdict == SERVED
    check_identity(mail, who)
    request = mail.only()
    assert request.values(b"X-Forwarded-For") == [OUTSIDE.encode()]
    assert request.values(b"Authorization") == [b"Basic YTpi"]
    assert (
        len(request.values(b"Host")) == len(request.values(b"X-Request-Id")) == len(request.values(b"Forwarded")) == 1
    )


@both_versions
def test_what_connection_names_of_the_clients_own_ends_here(gateway, mail, version):
    with Client(gateway.port, source=OUTSIDE, version=version) as client:
        answer = client.ask("GET", "/open", "Connection: X-Own, close", "X-Own: 1", "X-Kept: 1")
    assert answer.verdict == SERVED
    assert not mail.only().values(b"X-Own")
    assert mail.only().values(b"X-Kept") == [b"1"]


@by_version
def test_trailers_name_nobody(gateway, mail, credentials, wire):
    """A field behind the body is a field to some servers."""
    trailers = [f"{alias}: {FORGED}" for name in IDENTITY for alias in list(aliases(name))[:6]]
    with wire.client(gateway.port, source=OUTSIDE, identity=credentials["alice"]) as client:
        exchange = client.start("POST", "/webmail", "Trailer: X-Client-Email", is_streamed=True)
        exchange.send(b"body")
        exchange.finish(*trailers, "X-Checksum: 1")
        assert exchange.answer().verdict == SERVED
    check_identity(mail, "alice")
    assert FORGED.encode() not in mail.only().body


@by_version
@pytest.mark.parametrize("who", [None, "stranger", "expired"])
def test_where_no_certificate_is_required_a_bad_one_names_nobody(gateway, mail, credentials, who, wire):
    identity = who and credentials[who]
    assert wire.ask(gateway.port, "/open", source=OUTSIDE, identity=identity).verdict == SERVED
    request = mail.only()
    verified = {None: b"NONE", "stranger": b"FAILED:certificate_untrusted", "expired": b"FAILED:certificate_expired"}
    assert request.values(b"X-Client-Verified") == [verified[who]]
    assert {name for name in IDENTITY if request.values(name.encode())} == {"X-Client-Verified"}


@both_versions
@pytest.mark.parametrize(
    "fields",
    [
        ["Host: mail.example.com"],
        ["Host: mail.example.com", "Host: www.example.com"],
        ["Authorization: Basic YTpi", "Authorization: Basic Yzpk"],
        ["Content-Length: 0", "Content-Length: 0"],
        ["Content-Length: 0, 0"],
        ["Content-Length: 1", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Host : mail.example.com"],
    ],
)
def test_what_two_servers_read_in_two_ways_is_refused(gateway, mail, credentials, fields, version):
    with Client(gateway.port, source=OUTSIDE, identity=credentials["alice"], version=version) as client:
        assert client.ask("GET", "/webmail", *fields).verdict == (400, "bad_request")
        assert client.is_at_end()
    assert not mail.received


# addresses

FROM_INSIDE = [
    f"X-Forwarded-For: {INSIDE}",
    f"x-forwarded-for: {INSIDE}, {INSIDE}",
    f"X_Forwarded_For: {INSIDE}",
    f"Forwarded: for={INSIDE}",
    f"X-Real-IP: {INSIDE}",
    f"True-Client-IP: {INSIDE}",
    f"X-Envoy-External-Address: {INSIDE}",
    f"X-Azure-ClientIP: {INSIDE}",
    f"X-Forwarded-For: {INSIDE}\r\nX-Forwarded-For: {INSIDE}",
    f"X-Forwarded-For: ::ffff:{INSIDE}",
    f"X-Forwarded-For: {PROXY}",
]


@by_version
@pytest.mark.parametrize("field", FROM_INSIDE)
def test_nobody_gets_inside_by_saying_so(gateway, mail, field, wire):
    with wire.client(gateway.port, source=OUTSIDE) as client:
        answer = client.ask("GET", "/webmail", field)
    assert answer.verdict == MISSING
    assert gateway.log.of(answer.get("X-Request-Id"))["client_ip"] == OUTSIDE
    assert not mail.received


@by_version
@pytest.mark.parametrize("field", FROM_INSIDE)
def test_the_upstream_hears_only_where_somebody_really_comes_from(gateway, mail, field, wire):
    with wire.client(gateway.port, source=OUTSIDE) as client:
        assert client.ask("GET", "/open", field).verdict == SERVED
    assert INSIDE.encode() not in mail.only().head
    assert PROXY.encode() not in mail.only().head
    assert mail.only().values(b"X-Forwarded-For") == [OUTSIDE.encode()]


@by_version
@pytest.mark.parametrize(
    ("chain", "client_ip"),
    [
        (INSIDE, INSIDE),
        (f"{OUTSIDE}, {INSIDE}", INSIDE),
        (f"::ffff:{INSIDE}", INSIDE),
        (f"{INSIDE}:4711", INSIDE),
        (f"{INSIDE}, {OTHER_PROXY}", INSIDE),
        (OUTSIDE, OUTSIDE),
        (f"{INSIDE}, {OUTSIDE}", OUTSIDE),
        (f"{INSIDE}, {OUTSIDE}, {OTHER_PROXY}", OUTSIDE),
        (f"{INSIDE}\r\nX-Forwarded-For: {OUTSIDE}", OUTSIDE),
        (f"{INSIDE}, ::ffff:{OUTSIDE}", OUTSIDE),
        (PROXY, PROXY),
    ],
)
def test_a_trusted_proxy_names_the_client_by_its_last_untrusted_entry(gateway, mail, chain, client_ip, wire):
    with wire.client(gateway.port, source=PROXY) as client:
        answer = client.ask("GET", "/webmail", f"X-Forwarded-For: {chain}")
    assert answer.verdict == (SERVED if client_ip == INSIDE else MISSING)
    request_id = mail.only().request_id if client_ip == INSIDE else answer.get("X-Request-Id")
    assert gateway.log.of(request_id)["client_ip"] == client_ip


@by_version
@pytest.mark.parametrize(
    "chain", ["", "unknown", "_hidden", f"{INSIDE},", "127.0.0.01", "127.1", "2130706433", ", ".join([INSIDE] * 33)]
)
def test_a_chain_that_names_nobody_is_judged_as_nobody(gateway, mail, chain, wire):
    with wire.client(gateway.port, source=PROXY) as client:
        assert client.ask("GET", "/webmail", f"X-Forwarded-For: {chain}").verdict == (400, "bad_request")
    assert not mail.received
