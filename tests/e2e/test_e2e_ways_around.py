"""Ways around a gateway that others had open, each tried by a real client over both TLS versions: names and handshakes.

Every rule set here ends in `allow`, so that whatever slips past the rule for /secret is served and shows itself.
Sessions on other sites, ClientHellos in pieces and names without a site are tried with the sites, spellings of paths
with the paths, forged headers with the headers. docs/security.md lists them all.
"""

from __future__ import annotations

import socket
import subprocess
from base64 import b64decode, b64encode
from contextlib import closing

import pytest
from support.client import TLS_1_2, TLS_1_3, VERSIONS, Client, context_for, parse_head
from support.credentials import OPEN_HOST, OTHER_HOST, Identity
from support.gateway import HOST, INSIDE, OUTSIDE, free_port, settings_for
from support.programs import need
from support.waiting import PATIENCE_SECONDS, until
from support.wire import WIRES_BY_VERSION
from support.wire_http2 import StreamResetError

pytestmark = pytest.mark.e2e

by_version = pytest.mark.parametrize("wire", WIRES_BY_VERSION, ids=str)
both_versions = pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])
VERSION_FLAGS = {TLS_1_2: "-tls1_2", TLS_1_3: "-tls1_3"}

SERVED = (200, None)
MISSING = (403, "certificate_missing")
MISDIRECTED = (421, "host_mismatch")
IDN, IDN_A = "bücher.example.com", "xn--bcher-kva.example.com"
SECRET = "/secret/mail"
RULES = [
    {"name": "Anybody", "hosts": [OPEN_HOST], "action": "allow"},
    {"name": "Inside", "from": "internal", "action": "allow"},
    {"name": "Secret", "hosts": [HOST, f"*.{HOST}", IDN], "uri": ["/secret"], "action": "require_certificate"},
    {"name": "Others", "hosts": [OTHER_HOST], "action": "require_certificate"},
    {"name": "All the rest", "action": "allow"},
]


@pytest.fixture(scope="module")
def gateway(start, credentials, mail):
    sites = [
        {"hosts": [HOST, f"*.{HOST}", IDN], "upstream": "mail", **credentials.site},
        {"hosts": [OTHER_HOST], "upstream": "mail", **credentials.other_site},
        {"hosts": [OPEN_HOST], "upstream": "mail", **credentials.server},
    ]
    settings = {**settings_for({}, mail.url, rules=RULES), "sites": sites}
    # Every address, IPv6 and IPv4 in one socket: IPv4 clients come as ::ffff:127.0.0.1.
    return start({**settings, "listen": [{"address": f"{INSIDE}:{free_port()}"}, {"address": f":{free_port()}"}]})


# names


@by_version
@pytest.mark.parametrize(
    ("server_name", "host", "name"),
    [
        (OPEN_HOST, HOST, None),
        (OPEN_HOST, OTHER_HOST, None),
        (OTHER_HOST, HOST, "stranger"),
        (HOST, OTHER_HOST, "alice"),
        (HOST, OPEN_HOST, "alice"),
        (OPEN_HOST, f"a.{HOST}", None),
        (OPEN_HOST, IDN_A, None),
    ],
)
@pytest.mark.parametrize("form", ["origin", "absolute"])
def test_a_handshake_for_one_site_opens_no_other(  # noqa: PLR0917
    gateway, mail, credentials, server_name, host, name, form, wire
):
    """The certificate was judged for the server name's site; CVE-2025-23048 and its like took the Host's rules."""
    if wire.is_http2 and form == "absolute":
        pytest.skip("HTTP/2 has no absolute-form")
    target = SECRET if form == "origin" else f"https://{host}{SECRET}"
    identity = name and credentials[name]
    with wire.client(gateway.port, source=OUTSIDE, server_name=server_name, identity=identity) as client:
        assert client.ask("GET", target, host=host).verdict == MISDIRECTED
    assert not mail.received


@both_versions
@pytest.mark.parametrize(
    ("target_host", "host"), [(OPEN_HOST, HOST), (HOST, OPEN_HOST), (f"a.{HOST}", HOST), (HOST, f"a.{HOST}")]
)
def test_an_absolute_form_that_names_another_host_than_host_is_refused(gateway, mail, target_host, host, version):
    """Which of the two an upstream believes is its own choice (RFC 9112, 3.2.2)."""
    with Client(gateway.port, source=OUTSIDE, server_name=host, version=version) as client:
        answer = client.ask("GET", f"http://{target_host}{SECRET}", host=host)
    assert answer.status in (400, 421)
    assert not mail.received


def server_name_for(host):
    return host.lower().partition(":")[0].removesuffix(".")


@by_version
@pytest.mark.parametrize(
    "host",
    [
        HOST,
        HOST.upper(),
        "mAiL.eXaMpLe.cOm",
        f"{HOST}.",
        f"{HOST}:443",
        f"{HOST.upper()}.:443",
        f"{HOST}:1",
        f"x.{HOST}",
        f"X.{HOST.upper()}.",
        f"secret.{HOST}:443",
        IDN_A,
        IDN_A.upper(),
        f"{IDN_A}.:443",
    ],
)
def test_every_spelling_of_a_protected_name_is_protected(gateway, mail, credentials, host, wire):
    # Over HTTP/2 the connection belongs to one name.
    options = {"source": OUTSIDE, "server_name": server_name_for(host) if wire.is_http2 else HOST}
    assert wire.ask(gateway.port, SECRET, host=host, **options).verdict == MISSING
    assert not mail.received
    answer = wire.ask(gateway.port, SECRET, host=host, identity=credentials["alice"], **options)
    assert answer.verdict == SERVED
    assert mail.only().values(b"Host") == [server_name_for(host).encode()]


@by_version
@pytest.mark.parametrize(
    "host",
    [
        "",
        " ",
        f"{HOST}..",
        f".{HOST}",
        f"{HOST}:",
        f"{HOST}:x",
        f"{HOST}:443:443",
        f"{HOST}@{OPEN_HOST}",
        f"user@{HOST}",
        f"{HOST}/x",
        f"{HOST}#x",
        f"{HOST}?x",
        f"{HOST}\\x",
        f"{HOST},{OPEN_HOST}",
        f"{HOST} {OPEN_HOST}",
        f"{HOST}%00",
        "%6dail.example.com",
        "xn--mail.example.com",
        "bücher.example.com",
        f"x.y.{HOST}",
        "*.mail.example.com",
        "nowhere.example.com",
        INSIDE,
        f"[::ffff:{INSIDE}]",
        "2130706433",
    ],
)
def test_what_is_no_name_of_the_site_reaches_nobody(gateway, mail, host, wire):
    with wire.client(gateway.port, source=OUTSIDE, server_name=HOST) as client:
        if wire.is_http2:
            verdict = verdict_on_authority(client, host)
        else:
            client.send(f"GET {SECRET} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            verdict = client.answer().verdict
    # 403: a spelling of the name that is allowed, and then judged as the name.
    assert verdict in {(400, "bad_request"), MISDIRECTED, MISSING}
    assert not mail.received


def verdict_on_authority(client, host):
    pairs = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", host.encode().decode("latin-1")),
        (":path", SECRET),
    ]
    try:
        return client.start_raw(pairs).answer().verdict
    except StreamResetError:  # it is malformed
        return 400, "bad_request"


@both_versions
@pytest.mark.parametrize("server_name", [HOST.upper(), "Mail.Example.Com", f"X.{HOST.upper()}", IDN_A.upper()])
def test_a_server_name_in_other_case_is_asked_for_a_certificate(gateway, mail, server_name, version):
    """Whether to ask is decided by this name, before there is a Host."""
    with SClient(gateway.port, VERSION_FLAGS[version], "-servername", server_name, "-msg") as client:
        client.type(f"GET {SECRET} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
        output = client.read_until("X-Gateway-Reason: certificate_missing")
    assert "CertificateRequest" in output
    assert not mail.received


@by_version
@pytest.mark.parametrize(
    "target",
    [
        "/Secret/mail",
        "/%73ecret/mail",
        "//secret/mail",
        "/./secret/mail",
        "/x/../secret/mail",
        "/x/%2e%2e/secret/mail",
        "/secret;x/mail",
        "/secret/",
        "/secret?x=/",
        f"https://{HOST}/secret/mail",
        # CVE-2019-9901, CVE-2021-29492, CVE-2021-32779, CVE-2025-66490
        "/%2fsecret/mail",
        "/x%2f..%2fsecret/mail",
        "/x/..%5csecret/mail",
        "/x\\..\\secret/mail",
        "/#/../secret/mail",
        "/x#/../secret/mail",
        "/..;/secret/mail",
        "/%c0%afsecret/mail",
        "/%2573ecret/mail",
        "/%u0073ecret/mail",
        "/secret./mail",
        "/secret%20/mail",
        "/s%C4%B1cret/../%EF%BD%93ecret/mail",
        "/(S(x))/secret/mail",
        "/sec%E2%80%8Dret/mail",
        "/secret%00/mail",
    ],
)
def test_no_spelling_of_a_protected_path_gets_through(gateway, mail, target, wire):
    if wire.is_http2 and target[0] != "/":
        pytest.skip("HTTP/2 has no absolute-form")
    with wire.client(gateway.port, source=OUTSIDE) as client:
        answer = client.ask("GET", target)
    assert answer.verdict in {MISSING, (400, "uri_rejected"), (400, "bad_request")}
    assert not mail.received


# addresses


@by_version
def test_an_ipv4_client_of_an_ipv6_socket_is_judged_by_its_ipv4_address(gateway, mail, wire):
    port = gateway.ports[1]
    assert wire.ask(port, SECRET, source=INSIDE).verdict == SERVED
    assert mail.only().values(b"X-Forwarded-For") == [INSIDE.encode()]
    mail.forget()
    answer = wire.ask(port, SECRET, source=OUTSIDE)
    assert answer.verdict == MISSING
    assert gateway.log.of(answer.get("X-Request-Id"))["client_ip"] == OUTSIDE


@both_versions
def test_an_ipv6_client_is_not_taken_for_an_inside_ipv4_one(gateway, mail, version):
    """Only 127.0.0.1 is inside here: ::1 is another address, though the same machine."""
    with closing(socket.create_connection(("::1", gateway.ports[1]), timeout=PATIENCE_SECONDS)) as plain:
        wrapped = context_for(None, None, version).wrap_socket(plain, server_hostname=HOST)
        wrapped.sendall(f"GET {SECRET} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        answer = parse_head(wrapped.recv(65536).partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        wrapped.close()
    assert answer.verdict == MISSING
    assert gateway.log.of(answer.get("X-Request-Id"))["client_ip"] == "::1"
    assert not mail.received


@pytest.mark.parametrize(
    "header",
    [
        f"PROXY TCP4 {INSIDE} {INSIDE} 1234 443\r\n".encode(),
        b"PROXY UNKNOWN\r\n",
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01\x04\xd2\x01\xbb",
    ],
)
@both_versions
def test_a_proxy_header_from_somebody_who_is_not_listed_is_no_handshake(gateway, mail, outside, header, version):
    with closing(
        socket.create_connection((INSIDE, gateway.port), timeout=PATIENCE_SECONDS, source_address=(outside, 0))
    ) as plain:
        plain.sendall(header)
        with pytest.raises(OSError):  # noqa: PT012 - where it fails is the client's matter
            wrapped = context_for(None, None, version).wrap_socket(plain, server_hostname=HOST)
            wrapped.close()
    (record,) = gateway.log.of_address(outside)
    assert record["method"] is None
    assert "PROXY" in record["reason"]
    assert not mail.received


# certificates


@pytest.fixture(scope="module")
def stuffed(credentials):
    """Chains that hold somebody else's certificate too."""
    people = {"alice+v3": ("alice", "v3"), "v3+alice": ("v3", "alice"), "stranger+alice": ("stranger", "alice")}
    made = {}
    for name, (own, other) in people.items():
        path = credentials.folder / f"{name}.pem"
        path.write_bytes(credentials[own].certificate.read_bytes() + credentials[other].certificate.read_bytes())
        made[name] = Identity(path, credentials[own].key)
    return made


@by_version
@pytest.mark.parametrize(
    ("name", "subject"),
    [("alice+v3", "emailAddress=alice@example.com,CN=alice"), ("v3+alice", "CN=bob,O=Example Ltd")],
)
def test_a_chain_stuffed_with_another_users_certificate_names_the_one_with_the_key(
    gateway, mail, stuffed, name, subject, wire
):
    """CVE-2023-2422: the identity is the leaf's whose key the handshake proved."""
    assert wire.ask(gateway.port, SECRET, source=OUTSIDE, identity=stuffed[name]).verdict == SERVED
    (shown,) = mail.only().values(b"X-Client-Subject")
    assert shown.decode().startswith(subject)
    other = b"alice" if name.startswith("v3") else b"bob"
    assert other not in mail.only().head


@by_version
def test_a_good_certificate_in_the_chain_does_not_help_a_strange_leaf(gateway, mail, stuffed, wire):
    answer = wire.ask(gateway.port, SECRET, source=OUTSIDE, identity=stuffed["stranger+alice"])
    assert answer.verdict == (403, "certificate_untrusted")
    assert gateway.log.of(answer.get("X-Request-Id"))["cert_subject"] == "CN=stranger"
    assert not mail.received


# what TLS lets a client ask for


class SClient:
    """`openssl s_client` as a person uses it: lines are typed, also its own commands."""

    def __init__(self, port, *arguments, source=OUTSIDE):
        self.process = subprocess.Popen(
            [need("openssl"), "s_client", "-connect", f"{INSIDE}:{port}", "-bind", f"{source}:0", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._seen = ""
        self._waited = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def type(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def read_until(self, words):
        """Everything printed so far, once these words came after those that were waited for before."""
        while (at := self._seen.find(words, self._waited)) < 0:
            data = self.process.stdout.read1(65536)
            assert data, self._seen
            self._seen += data.decode("latin-1")
        self._waited = at + len(words)
        return self._seen

    def read_all(self):
        """Everything printed until it ended, by itself or since the gateway closed."""
        while data := self.process.stdout.read1(65536):
            self._seen += data.decode("latin-1")
        return self._seen


@pytest.mark.parametrize("source", [INSIDE, OUTSIDE])
def test_renegotiation_is_refused(gateway, mail, source):
    """A second handshake inside the first could change who somebody is, after it was decided; and it costs us most."""
    with SClient(gateway.port, "-tls1_2", "-servername", HOST, source=source) as client:
        client.read_until("---\n")
        client.type(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
        client.read_until("mail\n")
        client.type("R\n")
        output = client.read_all()
    assert "RENEGOTIATING" in output
    assert "no renegotiation" in output
    assert len(mail.received) == 1


@pytest.mark.parametrize("command", ["k", "K"])
def test_new_keys_on_request_change_nothing_else(gateway, mail, command):
    """TLS 1.3's key update is all that is left of renegotiation; with `K` the client wants ours to be new as well."""
    with SClient(gateway.port, "-tls1_3", "-servername", HOST) as client:
        client.read_until("---\n")
        for number in range(1, 4):
            client.type(f"{command}\n")
            client.read_until("KEYUPDATE")
            client.type(f"GET /{number} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
            until(lambda number=number: len(mail.received) == number, "the request arrives")
        client.type(f"GET {SECRET} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
        client.read_until("X-Gateway-Reason: certificate_missing")


@both_versions
def test_who_offers_post_handshake_authentication_is_asked_in_the_handshake_or_never(gateway, credentials, version):
    alice = credentials["alice"]
    files = ("-cert", str(alice.certificate), "-key", str(alice.key))
    common = (VERSION_FLAGS[version], "-enable_pha", "-servername", HOST, "-msg")
    with SClient(gateway.port, *common, *files) as client:
        client.type(f"GET {SECRET} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
        output = client.read_until("HTTP/1.1 200 OK")
    assert output.count("CertificateRequest") == 1
    with SClient(gateway.port, *common) as client:
        client.type(f"GET {SECRET} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
        output = client.read_until("X-Gateway-Reason: certificate_missing")
    assert output.count("CertificateRequest") == 1


def promising_early_data(pem):
    """The client's saved session, as if the gateway had said that it takes 16 KiB early: [15] of OpenSSL's format."""
    first, *lines, last = pem.strip().splitlines()
    der = b64decode("".join(lines))
    at = 4  # behind SEQUENCE and its length, 0x82 and two bytes
    assert der[:2] == b"\x30\x82"
    while at < len(der) and der[at] < 0xB0:  # [16] and what follows
        count = der[at + 1] & 0x7F if der[at + 1] & 0x80 else 0
        length = int.from_bytes(der[at + 2 : at + 2 + count]) if count else der[at + 1]
        at += 2 + count + length
    content = der[4:at] + b"\xaf\x04\x02\x02\x40\x00" + der[at:]
    text = b64encode(b"\x30\x82" + len(content).to_bytes(2) + content).decode()
    return "\n".join([first, *(text[start : start + 64] for start in range(0, len(text), 64)), last, ""])


@pytest.mark.parametrize("source", [INSIDE, OUTSIDE])
def test_early_data_is_not_taken(gateway, mail, credentials, tmp_path, source):
    """It could be replayed, and comes before the certificate is judged."""
    alice, session, early = credentials["alice"], tmp_path / "session.pem", tmp_path / "early.txt"
    early.write_text(f"GET {SECRET} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
    common = ("-tls1_3", "-servername", HOST, "-cert", str(alice.certificate), "-key", str(alice.key))
    with SClient(gateway.port, *common, "-sess_out", str(session), source=source) as client:
        client.type(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n")
        output = client.read_all()
    assert "Max Early Data: 0" in output
    mail.forget()
    session.write_text(promising_early_data(session.read_text()))
    with SClient(
        gateway.port, *common, "-sess_in", str(session), "-early_data", str(early), "-msg", source=source
    ) as client:
        client.type(f"GET /after HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n")
        output = client.read_all()
    assert "Reused, TLSv1.3" in output
    assert "Early data was rejected" in output
    assert [each.target for each in mail.received] == [b"/after"]


# many rules


@pytest.fixture(scope="module")
def with_many_hosts(start, credentials, mail):
    """Above 100 hosts Caddy's matcher turned case-sensitive (CVE-2026-27588); ours turns to an index early on."""
    hosts = [f"Host{number}.{'Example' if number % 2 else 'example'}.com" for number in range(150)]
    rules = [
        {"name": f"Rule {host}", "hosts": [host], "uri": ["/secret"], "action": "require_certificate"} for host in hosts
    ]
    rules.append({"name": "The rest", "action": "allow"})
    site = {"hosts": ["*.example.com"], **credentials.site}
    return start(settings_for(site, mail.url, rules=rules))


@by_version
@pytest.mark.parametrize("number", [0, 1, 74, 99, 100, 101, 148, 149])
def test_beyond_a_hundred_hosts_every_spelling_still_meets_its_rule(with_many_hosts, mail, number, wire):
    name = f"host{number}.example.com"
    for host in (name, name.upper(), f"Host{number}.EXAMPLE.com", f"{name}.", f"{name.upper()}:443"):
        options = {"source": OUTSIDE, "server_name": name}
        answer = wire.ask(with_many_hosts.port, "/SECRET", host=host, **options)
        assert answer.verdict == MISSING
        rule = with_many_hosts.log.of(answer.get("X-Request-Id"))["rule"]
        assert rule.lower() == f"rule {name}"
    assert not mail.received
    assert wire.ask(with_many_hosts.port, "/open", host=name, **options).verdict == SERVED
