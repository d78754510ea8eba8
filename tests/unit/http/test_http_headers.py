"""Which fields pass: what an upstream could take for ours never does, in any spelling."""

import re
from pathlib import Path

import pytest

from gateway.config.model import IdentityHeaders
from gateway.http import headers
from gateway.http.headers import (
    DROP,
    MAX_CACHED_NAME_BYTES,
    MAX_CACHED_NAMES,
    PASS,
    Classifier,
    RequestClassifier,
    ResponseClassifier,
    connection_options,
    fold,
)
from gateway.http.identity_headers import IdentityHeaderWriter

PAGE = Path(__file__).parents[3] / "docs" / "pages.md"
OURS = frozenset({b"x-client-email", b"client-cert"})


@pytest.mark.parametrize(
    "name",
    [
        *(b"Keep-Alive", b"Proxy-Connection", b"Proxy-Authorization", b"TE"),
        *(b"X.Real.IP", b"X-Forwarded-For_", b"X_Forwarded_For", b"X.Forwarded.For", b"X-Forwarded-Anything"),
        *(b"X-FORWARDED-HOST", b"x_forwarded-Proto", b"X-Forwarded", b"X-Real-IP", b"X-Request-Id", b"True-Client-IP"),
        *(b"Client-IP", b"X-Cluster-Client-Ip", b"CF-Connecting-IP", b"X-Originating-IP", b"X-Remote-Addr"),
        *(b"X-Envoy-External-Address", b"x_envoy_external_address", b"X-Azure-ClientIP", b"X-Azure-SocketIP"),
        *(b"Fly-Client-IP", b"FLY_CLIENT_IP", b"iv-remote-address", b"IV_REMOTE_ADDRESS_IPV6"),
        *(b"OIDC_CLAIM_sub", b"OIDC_access_token", b"OIDC-CLAIM-email", b"SM-User", b"Impersonate-Extra-scopes"),
        *(b"X-Original-URL", b"X_Rewrite_URL", b"X-HTTP-Method-Override", b"X-Webobjects-Remote-User"),
        *(b"Proxy", b"PROXY", b"Remote-User", b"REMOTE_USER", b"X-Remote-User", b"X-SSL-Client-S-DN"),
        *(b"SSL_CLIENT_VERIFY", b"X-Client-Cert", b"X-ARR-ClientCert", b"X-Authenticated-User"),
        *(b"X-CommonAccessToken", b"x_auth_request_user", b"X-Auth-Request-Email", b"X-WebAuth-User"),
        *(
            b"X-Client-Email",
            b"x_client_email",
            b"X.Client.Email",
            b"X-CLIENT_EMAIL",
            b"x~client!email",
            b"Client_Cert",
        ),
        *(b"Content_Length", b"Content.Length", b"Transfer_Encoding", b"User_Agent", b"X!Forwarded!For"),
    ],
)
def test_what_could_be_taken_for_ours_or_for_the_framing_is_dropped(name):
    assert RequestClassifier(OURS)[name] == DROP


@pytest.mark.parametrize(
    "name",
    [b"Cookie", b"X-MS-PolicyKey", b"MS-ASProtocolVersion", b"Content-Type", b"Origin", b"X-RequestId", b"Depth"],
)
def test_the_rest_passes(name):
    assert RequestClassifier(OURS)[name] == PASS


def documented():
    """Every name in the table of other proxies' headers, `*` as it stands there."""
    section = PAGE.read_text(encoding="utf-8").split("## Whose headers end at the gateway\n")[1].split("\n# ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[2])]


@pytest.mark.parametrize("name", sorted(set(documented())))
def test_no_documented_header_of_another_proxy_passes_in_any_spelling(name):
    nothing_sent = IdentityHeaders(rfc9440=False, subject=None, email=None, serial=None, fingerprint=None)
    classify = RequestClassifier(IdentityHeaderWriter(nothing_sent).names)
    for ending in ("Id", "-Id", "x") if name.endswith("*") else ("",):
        plain = name.removesuffix("*") + ending
        for spelling in (plain, *(plain.replace("-", mark) for mark in "_.~"), plain.replace("-", "_", 1)):
            for cased in (spelling, spelling.lower(), spelling.upper(), spelling.swapcase()):
                assert classify[cased.encode()] == DROP, cased


def test_every_name_of_another_proxy_is_documented():
    names = {name.lower().replace("_", "-").encode() for name in documented()}
    assert names >= headers.IDENTITIES
    assert names >= {prefix + b"*" for prefix in headers.IDENTITY_PREFIXES}


@pytest.mark.parametrize(
    "name",
    [
        *(b"X-User-Identity", b"X-AnchorMailbox", b"X-MS-PolicyKey", b"X-MS-ASProtocolVersion", b"X-ClientInfo"),
        *(b"X-OWA-CANARY", b"X-OWA-UrlPostData", b"X-OWA-ActionName", b"X-OWA-CorrelationId", b"X-OWA-ClientBegin"),
        *(b"X-Credential", b"X-Consumer", b"SM-Realm", b"SMTP-User", b"X-OIDC", b"X-Azure-Ref", b"X-Envoy-Decorator"),
        *(b"X-ClientApplication", b"X-ClientId", b"X-Client-Version", b"X-MS-Diagnostics", b"X-MS-WL", b"X-Authority"),
    ],
)
def test_what_mail_programs_send_passes_beside_them(name):
    for spelling in (name, name.lower(), name.upper()):
        assert RequestClassifier(OURS)[spelling] == PASS


@pytest.mark.parametrize("name", [b"Authorization", b"User-Agent", b"Referer", b"Accept", b"Accept-Language"])
def test_what_is_read_on_the_way_passes_too(name):
    for spelling in (name, name.lower(), name.upper()):
        assert PASS < RequestClassifier()[spelling] <= headers.LAST_PASSING


@pytest.mark.parametrize(
    "name", [b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Expect", b"Upgrade"]
)
def test_what_is_written_anew_does_not_pass(name):
    for spelling in (name, name.lower(), name.upper()):
        assert DROP < RequestClassifier()[spelling] < headers.KINDS


def test_hop_by_hop_fields_of_answers_end_here():
    classify = ResponseClassifier()
    for name in (b"Proxy-Authenticate", b"TE", b"Proxy-Connection"):
        assert classify[name] == DROP
    for name in (b"Set-Cookie", b"Location", b"X-Powered-By", b"WWW-Authenticate"):
        assert classify[name] <= headers.LAST_PASSING
    for name in (b"Content-Length", b"transfer-encoding", b"Connection", b"Upgrade", b"Keep-Alive"):
        assert classify[name] > DROP


def test_folding_is_what_the_most_careless_server_does():
    assert fold(b"X_Client.Email~9") == b"x-client-email-9"


def test_one_name_too_many_begins_the_cache_anew():
    classify = RequestClassifier()
    for number in range(MAX_CACHED_NAMES):
        assert classify[b"X-%d" % number] == PASS
    assert len(classify) == MAX_CACHED_NAMES
    assert classify[b"Host"] == headers.HOST
    assert list(classify) == [b"Host"]


def test_a_name_one_byte_too_long_is_not_kept():
    classify = RequestClassifier()
    assert classify[b"x" * MAX_CACHED_NAME_BYTES] == PASS
    assert classify[b"x" * (MAX_CACHED_NAME_BYTES + 1)] == PASS
    assert list(classify) == [b"x" * MAX_CACHED_NAME_BYTES]


def test_a_classifier_has_to_say_how():
    with pytest.raises(NotImplementedError):
        Classifier()[b"X"]


@pytest.mark.parametrize(
    ("value", "options"),
    [
        (b"close", {b"close"}),
        (b"Keep-Alive", {b"keep-alive"}),
        (b"Upgrade", {b"upgrade"}),
        (b" close , ,X-A\t,x-a,", {b"close", b"x-a"}),
        (b"", set()),
        (b",", set()),
    ],
)
def test_connection_options(value, options):
    assert connection_options(value) == options


@pytest.mark.parametrize(
    "name", [b"X-Request-Id", b"x_request_id", b"X-Gateway-Reason", b"X-GATEWAY-Anything", b"x.gateway.y"]
)
def test_an_upstream_does_not_speak_in_the_gateways_name(name):
    assert ResponseClassifier()[name] == headers.DROP


@pytest.mark.parametrize("name", [b"X-Gateway", b"X-Gatewayed", b"My-X-Gateway-Reason", b"X-Request-Identity"])
def test_an_upstreams_other_names_pass(name):
    assert ResponseClassifier()[name] == PASS
