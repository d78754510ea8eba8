"""What a TLS handshake itself refuses or reveals, on every kind of listener and site, by ClientHellos written by hand.

Every kind: a site that asks for a certificate and one that doesn't, one without `client_ca`, the site for every other
name; directly and behind a balancer that speaks the PROXY protocol.
"""

from __future__ import annotations

import subprocess

import pytest
from support.client import TLS_1_2, TLS_1_3, Client, context_for
from support.credentials import OPEN_HOST, OTHER_HOST
from support.gateway import HOST, INSIDE, OUTSIDE, free_port, settings_for
from support.programs import need
from support.raw_hello import FALLBACK_SCSV, INAPPROPRIATE_FALLBACK, SUITES_1_2, SUITES_1_3, ask_raw, raw_hello

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
    command = [need("openssl"), "s_client", "-connect", f"{INSIDE}:{gateway.port}", "-bind", f"{source}:0"]
    alice = credentials["alice"]
    command += ["-servername", HOST, "-tls1_2", "-cert", str(alice.certificate), "-key", str(alice.key)]
    plain, fallen = (
        subprocess.run([*command, *more], input=b"", capture_output=True, timeout=30, check=False)
        for more in ([], ["-fallback_scsv"])
    )
    assert b"Verify return code" in plain.stdout
    assert b"inappropriate fallback" in fallen.stderr


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["TLS 1.2", "TLS 1.3"])
def test_a_client_that_speaks_one_version_alone_is_served(gateway, credentials, version):
    context = context_for(None, credentials["alice"], version)
    with Client(gateway.port, source=OUTSIDE, context=context) as client:
        assert client.ask("GET", "/webmail").verdict == SERVED
