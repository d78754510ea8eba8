"""Who gets in: every kind of client certificate, from inside and outside, over both TLS versions."""

from __future__ import annotations

import re
import ssl
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from support.client import VERSIONS, Client, ask, context_for, curl, s_client
from support.credentials import P12_PASSWORD
from support.gateway import INSIDE, OUTSIDE
from support.pki import Ca

pytestmark = pytest.mark.e2e

UNREADABLE = Path(__file__).parents[1] / "golden" / "certificates"
GOOD = ["alice", "v3", "rsa4096", "p256", "p384", "ec_ca", "ec_ca_new", "chained", "teletex"]
WEAK = ["rsa1024", "sha1"]
REFUSED = {
    "expired": "certificate_expired",
    "not_yet_valid": "certificate_not_yet_valid",
    "stranger": "certificate_untrusted",
    "self_signed": "certificate_untrusted",
    "server_only": "certificate_wrong_usage",
    "ca_as_leaf": "certificate_wrong_usage",
    "issuing_ca": "certificate_wrong_usage",
    "rsa1024": "certificate_untrusted",
    "sha1": "certificate_untrusted",
}
DETAILS = {
    None: "the client sent no certificate",
    "expired": r"expired 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC",
    "stranger": r".*\(issuer CN=Other CA\)",
    "server_only": "the extended key usage does not include clientAuth",
    "rsa1024": "the certificate has an RSA key of 1024 bits, below 2048",
    "unreadable": "the certificate's names, dates or extensions are not readable",
}
EVERYBODY = [None, *GOOD, *REFUSED]
VERSION_FLAGS = {version: "-tls1_2" if version is VERSIONS[0] else "-tls1_3" for version in VERSIONS}
both_versions = pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])


def verdict_of(name):
    if name is None:
        return 403, "certificate_missing"
    return (403, REFUSED[name]) if name in REFUSED else (200, None)


def context_of(credentials, name, version):
    identity = None if name is None else credentials[name]
    return context_for(credentials.server_ca, identity, version, is_weak=name in WEAK)


@both_versions
@pytest.mark.parametrize("path", ["/webmail", "/Microsoft-Server-ActiveSync?Cmd=Ping"])
@pytest.mark.parametrize("name", EVERYBODY)
def test_from_outside_only_a_good_certificate_opens_the_mail(gateway, mail, credentials, name, path, version):
    answer = ask(gateway.port, path, source=OUTSIDE, context=context_of(credentials, name, version))

    assert answer.verdict == verdict_of(name)
    assert len(mail.received) == (1 if answer.status == 200 else 0)
    if answer.status != 200:
        assert answer.get("Connection") == "close"
        record = gateway.log.of(answer.get("X-Request-Id"))
        assert (record["status"], record["reason"]) == answer.verdict
        assert record["decision"] == "require_certificate"
        assert (record["cert_subject"] is None) == (name is None)


@both_versions
@pytest.mark.parametrize("name", EVERYBODY)
def test_from_inside_nobody_needs_a_certificate(gateway, mail, credentials, name, version):
    answer = ask(gateway.port, "/webmail", source=INSIDE, context=context_of(credentials, name, version))

    assert answer.verdict == (200, None)
    assert mail.only().values(b"X-Client-Verified") == [b"NONE"]
    assert not mail.only().values(b"Client-Cert")


@both_versions
@pytest.mark.parametrize("name", [None, "alice", "stranger"])
def test_what_no_rule_opens_stays_closed_whatever_is_shown(gateway, mail, credentials, name, version):
    context = context_of(credentials, name, version)

    assert ask(gateway.port, "/", source=OUTSIDE, context=context).verdict == (403, "denied_by_rule")
    assert ask(gateway.port, "/webmail/admin", source=INSIDE, context=context).verdict == (403, "denied_by_rule")
    assert not mail.received


@both_versions
@pytest.mark.parametrize("name", [name for name in EVERYBODY if name not in WEAK])  # curl won't load a weak one
def test_curl_gets_the_same_verdicts(gateway, credentials, name, version):
    arguments = []
    if name is not None:
        identity = credentials[name]
        arguments = ["--cert", str(identity.certificate), "--key", str(identity.key)]
    for source in (INSIDE, OUTSIDE):
        answer = curl(gateway.port, "/webmail", *arguments, ca=credentials.server_ca, source=source, version=version)
        assert answer.verdict == ((200, None) if source == INSIDE else verdict_of(name))


@both_versions
def test_a_p12_as_people_import_it_opens_the_mail(gateway, mail, credentials, version):
    answer = curl(
        gateway.port,
        "/webmail",
        *("--cert-type", "P12", "--cert", f"{credentials.p12}:{P12_PASSWORD}"),
        ca=credentials.server_ca,
        source=OUTSIDE,
        version=version,
    )

    assert answer.verdict == (200, None)
    assert mail.only().values(b"X-Client-Email") == [b"alice@example.com"]


def ca_names(output):
    """The CA names that `openssl s_client` was sent; None where it was not asked for a certificate."""
    if "No client certificate CA names sent" in output:
        return None
    listed = re.search(
        r"Acceptable client certificate CA names\n(.*?)\n(?:Client Certificate Types|Requested)", output, re.DOTALL
    )
    assert listed, output
    return listed[1].split("\n")


@both_versions
def test_inside_no_certificate_is_asked_for_at_all(gateway, version):
    output = s_client(gateway.port, "/webmail", VERSION_FLAGS[version], "-msg", source=INSIDE)

    assert ca_names(output) is None
    assert "CertificateRequest" not in output
    assert "HTTP/1.1 200 OK" in output


@both_versions
def test_outside_a_certificate_of_exactly_the_sites_cas_is_asked_for(gateway, version):
    output = s_client(gateway.port, "/webmail", VERSION_FLAGS[version], "-msg", source=OUTSIDE)

    assert "CertificateRequest" in output
    assert sorted(ca_names(output)) == [
        "C = DE, O = Example Ltd, CN = Example Root CA",
        "CN = Elliptic CA",
        "O = B\\C3\\B6rse AG",
    ]
    assert "X-Gateway-Reason: certificate_missing" in output


@both_versions
@pytest.mark.parametrize("name", GOOD)
def test_s_client_gets_in_with_a_good_certificate(gateway, credentials, name, version):
    identity = credentials[name]
    output = s_client(
        gateway.port,
        "/webmail",
        *(VERSION_FLAGS[version], "-cert", str(identity.certificate), "-key", str(identity.key)),
        *("-cert_chain", str(identity.certificate), "-CAfile", str(credentials.server_ca)),
        source=OUTSIDE,
    )

    assert "HTTP/1.1 200 OK" in output
    assert "Verify return code: 0 (ok)" in output


@both_versions
@pytest.mark.parametrize("name", EVERYBODY)
def test_whoever_comes_again_with_a_session_gets_the_same_verdict(gateway, credentials, name, version):
    context = context_of(credentials, name, version)
    with Client(gateway.port, source=OUTSIDE, context=context) as client:
        first = client.ask("GET", "/webmail")
        session = client.socket.session
        if first.status == 200:
            client.socket.unwrap()  # over TLS 1.2 a session counts once its connection ended well
    with Client(gateway.port, source=OUTSIDE, context=context, session=session) as client:
        second = client.ask("GET", "/webmail")
        is_resumed = client.socket.session_reused

    assert first.verdict == second.verdict == verdict_of(name)
    assert is_resumed == (name in GOOD and name != "chained")


@both_versions
def test_from_inside_sessions_resume_and_open_nothing_outside(gateway, credentials, version):
    context = context_of(credentials, "stranger", version)
    with Client(gateway.port, source=INSIDE, context=context) as client:
        assert client.ask("GET", "/webmail").status == 200
        session = client.socket.session
        client.socket.unwrap()
    for source, verdict in ((INSIDE, (200, None)), (OUTSIDE, (403, "certificate_untrusted"))):
        with Client(gateway.port, source=source, context=context, session=session) as client:
            assert client.ask("GET", "/webmail").verdict == verdict
            assert client.socket.session_reused == (source == INSIDE)


def fingerprint_of(credentials, name):
    return None if name is None else sha256(credentials[name].der).hexdigest()


@both_versions
def test_a_certificate_without_its_key_ends_the_handshake(gateway, mail, credentials, outside, version):
    """Somebody who only saw a certificate can't prove that it is his: OpenSSL itself refuses."""
    context = context_for(None, credentials.stolen("p256"), version)
    with pytest.raises((ssl.SSLError, EOFError)):
        ask(gateway.port, "/webmail", source=outside, context=context)

    (record,) = gateway.log.of_address(outside)
    assert record["method"] is None
    assert record["reason"] == f"handshake_failed: {record['detail']}"
    assert record["cert_fingerprint"] == fingerprint_of(credentials, "p256")
    assert record["cert_subject"] is None, "the names of a holder that nobody proved to be"
    assert not mail.received


@both_versions
@pytest.mark.parametrize("name", [*GOOD, *DETAILS])
def test_the_log_has_the_judges_words_and_the_certificate(gateway, credentials, outside, name, version):
    """The words are there where it was refused, and only there; the certificate whenever one was shown."""
    with Client(gateway.port, source=outside, context=context_of(credentials, name, version)) as client:
        answer = client.ask("GET", "/webmail")
    (record,) = gateway.log.of_address(outside)
    assert record["cert_fingerprint"] == fingerprint_of(credentials, name)
    assert record["reason"] == answer.reason
    if answer.reason is None:
        assert record["detail"] is None
    else:
        assert re.fullmatch(DETAILS[name], record["detail"])
    assert (record["cert_subject"] is None) == (name in {None, "unreadable"})


@both_versions
@pytest.mark.parametrize("name", ["bitstring", "nc-ip4"])
def test_parts_that_cannot_be_read_get_a_page_and_a_line_in_the_log(gateway, mail, credentials, name, version):
    shown = SimpleNamespace(certificate=UNREADABLE / f"{name}.crt", key=UNREADABLE / f"{name}.key")

    answer = ask(gateway.port, "/webmail", source=OUTSIDE, context=context_for(credentials.server_ca, shown, version))

    assert answer.verdict == (403, "certificate_untrusted")
    assert not mail.received
    record = gateway.log.of(answer.get("X-Request-Id"))
    der = ssl.PEM_cert_to_DER_cert(shown.certificate.read_text())
    assert record["cert_fingerprint"] == sha256(der).hexdigest()
    assert record["detail"]
    assert "Traceback" not in gateway.errors


@both_versions
def test_a_stranger_of_many_names_is_told_by_fingerprint(gateway, mail, credentials, tmp_path, version):
    names = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")] * 140)
    many = x509.SubjectAlternativeName([x509.DirectoryName(names)] * 13)
    leaf = Ca.make("CN=Stranger", extensions=[(many, False)])
    certificate, key = leaf.write(tmp_path, "many")
    shown = SimpleNamespace(certificate=certificate, key=key)

    answer = ask(gateway.port, "/webmail", source=OUTSIDE, context=context_for(credentials.server_ca, shown, version))

    assert answer.verdict == (403, "certificate_untrusted")
    assert not mail.received
    record = gateway.log.of(answer.get("X-Request-Id"))
    assert record["cert_fingerprint"] == sha256(leaf.der).hexdigest()
    assert (record["cert_subject"], record["cert_email"]) == (None, None)
    assert "(its names are not logged" in record["detail"]


@pytest.mark.parametrize("ca", ["bitstring", "nc-ip4"])
@pytest.mark.parametrize("leaf", ["bitstring", "nc-ip4"])
def test_parts_that_cannot_be_read_get_a_verdict_from_the_command(ca, leaf):
    files = ("--ca", UNREADABLE / f"{ca}.crt", UNREADABLE / f"{leaf}.crt")
    command = [sys.executable, "-m", "gateway", "cert", "verify", *map(str, files)]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    assert done.returncode in (1, 2), done.stdout
    assert "Traceback" not in done.stderr
    assert done.stdout or done.stderr
