"""What the mail server is told of the client: all that the gateway found out, and nothing that the client made up."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from support.client import Client
from support.gateway import HOST, INSIDE, OUTSIDE, settings_for

pytestmark = pytest.mark.e2e

LIE = "spoofed"
OURS = [
    *("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Server"),
    *("X-Forwarded-Prefix", "Forwarded", "X-Request-Id", "X-Real-IP", "X-Client-IP", "True-Client-IP"),
    *("Client-Cert", "Client-Cert-Chain"),
    *("X-Client-Subject", "X-Client-Email", "X-Client-Serial", "X-Client-Fingerprint", "X-Client-Verified"),
]
# They make a server act on another path, method or user than the one that was judged.
OVERRIDES = ["X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method", "X-HTTP-Method-Override", "X-WebObjects-Remote-User"]
CREDENTIALS = ["Proxy-Authorization", "Proxy-Authenticate"]  # for a proxy, which this one is not
HOP_BY_HOP = ["Keep-Alive", "Proxy-Connection", *CREDENTIALS, "TE"]  # HTTP/2 has none
SPELLINGS = {
    "as it is": lambda name: name,
    "lower": str.lower,
    "upper": str.upper,
    "underscores": lambda name: name.replace("-", "_"),
    "dots": lambda name: name.replace("-", "."),
    "mixed": lambda name: name.replace("-", "_", 1).lower(),
}


def der_of(certificate):
    return certificate.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("source", [INSIDE, OUTSIDE])
def test_no_lie_of_the_client_reaches_the_mail_server(gateway, mail, credentials, source, spelling, wire):
    names = [spelling(name) for name in (*OURS, *OVERRIDES)] + (CREDENTIALS if wire.is_http2 else HOP_BY_HOP)
    fields = [f"{name}: {LIE}" for name in names]
    with wire.client(gateway.port, source=source, identity=credentials["alice"]) as client:
        assert client.ask("GET", "/webmail", *fields, "X-Harmless: passes").status == 200
    request = mail.only()
    assert LIE.encode() not in request.head
    assert request.values(b"X-Harmless") == [b"passes"]


def test_the_mail_server_learns_who_came_and_how(gateway, mail, credentials, wire):
    certificate = x509.load_pem_x509_certificate(credentials["alice"].certificate.read_bytes())
    root = x509.load_pem_x509_certificate(credentials.root.read_bytes())
    with wire.client(gateway.port, source=OUTSIDE, identity=credentials["alice"]) as client:
        client.ask("GET", "/webmail", "User-Agent: test", "Accept: */*", host=f"{HOST}:{gateway.port}")
    request = mail.only()
    # HTTP/2 has names in lower case, and those of the client are passed on as they are.
    names = (b"User-Agent", b"Accept")
    agent, accept = (name.lower() for name in names) if wire.is_http2 else names
    encoded = [b":" + base64.b64encode(der_of(each)) + b":" for each in (certificate, root)]
    assert sorted(request.fields) == sorted(
        [
            (b"Host", f"{HOST}:{gateway.port}".encode()),
            (agent, b"test"),
            (accept, b"*/*"),
            (b"X-Forwarded-For", OUTSIDE.encode()),
            (b"X-Forwarded-Proto", b"https"),
            (b"X-Forwarded-Host", HOST.encode()),
            (b"X-Forwarded-Port", str(gateway.port).encode()),
            (b"Forwarded", f"for={OUTSIDE};host={HOST};proto=https".encode()),
            (b"X-Request-Id", request.request_id.encode()),
            (b"Client-Cert", encoded[0]),
            (b"Client-Cert-Chain", encoded[1]),
            (b"X-Client-Verified", b"SUCCESS"),
            (b"X-Client-Subject", b"emailAddress=alice@example.com,CN=alice,O=Example Ltd,C=DE"),
            (b"X-Client-Email", b"alice@example.com"),
            (b"X-Client-Serial", _hex(certificate.serial_number)),
            (b"X-Client-Fingerprint", certificate.fingerprint(hashes.SHA256()).hex().encode()),
        ]
    )


def test_a_port_that_is_not_the_listeners_goes_no_further(gateway, mail, wire):
    wire.ask(gateway.port, "/webmail", host=f"{HOST.upper()}.:9999")
    assert mail.only().values(b"Host") == [HOST.encode()]


def _hex(serial: int) -> bytes:
    digits = f"{serial:X}"
    return ("0" * (len(digits) % 2) + digits).encode()


def test_a_chain_is_the_verified_path_without_the_leaf(gateway, mail, credentials, wire):
    wire.ask(gateway.port, "/webmail", source=OUTSIDE, identity=credentials["chained"])
    issuing = x509.load_pem_x509_certificates(credentials["issuing_ca"].certificate.read_bytes())[0]
    root = x509.load_pem_x509_certificate(credentials.root.read_bytes())
    (chain,) = mail.only().values(b"Client-Cert-Chain")
    assert chain == b", ".join(b":" + base64.b64encode(der_of(each)) + b":" for each in (issuing, root))


def test_what_connection_names_stays_here_and_what_matters_does_not(gateway, mail):
    """`Connection: Authorization` must not log anybody out, nor an identity header's name take that header away."""
    named = "Connection: X-Private, Authorization, Host, X-Client-Verified, X-Forwarded-For, keep-alive"
    with Client(gateway.port) as client:
        client.ask("GET", "/webmail", named, "X-Private: a", "Authorization: Basic YTpi", "X-Public: b")
    request = mail.only()
    assert not request.values(b"X-Private")
    assert not request.values(b"Connection")
    assert request.values(b"Authorization") == [b"Basic YTpi"]
    assert request.values(b"X-Public") == [b"b"]
    assert request.values(b"X-Client-Verified") == [b"NONE"]
    assert request.values(b"X-Forwarded-For") == [INSIDE.encode()]


def test_hop_by_hop_fields_of_the_answer_stay_upstream(gateway, mail, wire):
    fields = [b"Connection: keep-alive, X-Private", b"Keep-Alive: timeout=5", b"X-Private: a", b"Set-Cookie: a=b"]
    mail.answer("/webmail", lambda dialogue: dialogue.answer(b"x", *fields, b"Set-Cookie: c=d", b"X-Public: b"))
    answer = wire.ask(gateway.port, "/webmail")
    fields = [(name.lower(), value) for name, value in answer.fields]
    assert [field for field in fields if field[0] not in ("date", "x-request-id")] == [
        ("set-cookie", "a=b"),
        ("set-cookie", "c=d"),
        ("x-public", "b"),
        ("content-length", "1"),
    ]


def test_only_a_trusted_proxy_names_the_client(start, credentials, mail, wire):
    proxy, second = "127.0.0.9", "127.0.0.10"
    trusted = [f"{proxy}/32", f"{second}/32"]
    gateway = start(settings_for(credentials.site, mail.url, trusted_proxies=trusted))

    def verdict(source, forwarded_for):
        with wire.client(gateway.port, source=source) as client:
            return client.ask("GET", "/webmail", f"X-Forwarded-For: {forwarded_for}").verdict

    served, missing = (200, None), (403, "certificate_missing")
    assert verdict(OUTSIDE, INSIDE) == missing  # a lie
    assert verdict(INSIDE, OUTSIDE) == served  # a lie that helps nobody
    assert verdict(proxy, INSIDE) == served
    assert verdict(proxy, OUTSIDE) == missing
    assert verdict(proxy, f"{INSIDE}, {OUTSIDE}") == missing  # the left one is the client's own word
    assert verdict(proxy, f"{OUTSIDE}, {INSIDE}, {second}") == served
    assert verdict(proxy, "unknown") == (400, "bad_request")
    seen = [request.values(b"X-Forwarded-For") for request in mail.received]
    assert seen == [
        [INSIDE.encode()],
        [f"{INSIDE}, {proxy}".encode()],
        [f"{OUTSIDE}, {INSIDE}, {second}, {proxy}".encode()],
    ]
