"""Other people's programs import what the desk makes: openssl, NSS (Firefox, Chromium, Thunderbird) and Java."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from support.desk import Files, make_authority, open_desk

from gateway.pki import hosts, issue, passwords, pkcs12, profiles
from gateway.pki.keys import make
from gateway.pki.registry.records import Purpose
from gateway.pki.words import KeyKind, P12Format, Signs

pytestmark = pytest.mark.e2e


def _needs(program):
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def _run(*command, cwd):
    # openssl prints names in Latin-1, whatever the locale.
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(params=[(kind, form) for kind in (KeyKind.RSA_2048, KeyKind.ECDSA_P256) for form in P12Format])
def p12(request, tmp_path):
    """alice.p12 with its root in the chain, and its password in `pw`."""
    kind, form = request.param
    desk = open_desk(tmp_path)
    now = datetime.now(UTC).replace(microsecond=0)
    root = make_authority(desk, "root", now=now, organization="Example Ltd")
    signer = make_authority(desk, "between", now=now, parent=root, days=999)
    key = make(kind)
    order = issue.Order.of_person("alice@example.com", "Älice Example")
    made = issue.issue(desk, signer, order, key, now, Files())
    password = passwords.make()
    data = pkcs12.build(
        key=key, certificate=made.certificate, chain=made.chain, name="Älice Example", password=password, format_=form
    )
    (tmp_path / "alice.p12").write_bytes(data)
    (tmp_path / "pw").write_text(password)
    (tmp_path / "leaf.pem").write_bytes(made.certificate.public_bytes(Encoding.PEM))
    desk.registry.close()
    return tmp_path, form


def test_openssl_reads_key_chain_and_name(p12):
    folder, form = p12
    legacy = ("-legacy",) if form is P12Format.COMPAT else ()
    text = _run("openssl", "pkcs12", "-in", "alice.p12", "-passin", "file:pw", "-nodes", *legacy, cwd=folder)
    assert text.count("BEGIN CERTIFICATE") == 3
    assert text.count("BEGIN PRIVATE KEY") == 1
    assert "friendlyName: \ufffdlice Example" in text
    info = _run("openssl", "pkcs12", "-in", "alice.p12", "-passin", "file:pw", "-info", "-noout", *legacy, cwd=folder)
    wanted = ("pbeWithSHA1And3-KeyTripleDES-CBC", "sha1") if legacy else ("AES-256-CBC", "sha256")
    assert all(word in info for word in wanted), info


@_needs("pk12util")
@_needs("certutil")
def test_nss_imports_it_and_trusts_the_path(p12):
    folder, _ = p12
    (folder / "empty").write_text("")
    _run("certutil", "-N", "-d", "sql:.", "--empty-password", cwd=folder)
    _run("pk12util", "-i", "alice.p12", "-d", "sql:.", "-w", "pw", "-k", "empty", cwd=folder)
    _run("certutil", "-A", "-d", "sql:.", "-n", "root", "-t", "CT,C,C", "-i", "pki/root/root.crt", cwd=folder)
    listed = _run("certutil", "-L", "-d", "sql:.", cwd=folder)
    assert "Älice Example" in listed
    assert "u,u,u" in listed
    for usage in ("C", "S", "R"):  # TLS client, e-mail signer, e-mail recipient
        verdict = _run("certutil", "-V", "-d", "sql:.", "-n", "Älice Example", "-u", usage, cwd=folder)
        assert "certificate is valid" in verdict, usage


@_needs("keytool")
def test_java_imports_it(p12):
    folder, _ = p12
    listed = _run(
        *("keytool", "-list", "-v", "-storetype", "PKCS12", "-keystore", "alice.p12", "-storepass:file", "pw"),
        cwd=folder,
    )
    assert "PrivateKeyEntry" in listed
    assert "Certificate chain length: 3" in listed


OWN_SERVERS = {"own-host": "mail.example.com", "own-address": "10.0.0.5"}
FOREIGN_SERVERS = {
    "foreign-host": "www.bank.example",
    "foreign-address": "192.0.2.1",
    "foreign-address6": "2001:db8::1",
}
SERVERS = OWN_SERVERS | FOREIGN_SERVERS


@pytest.fixture
def bound(tmp_path):
    """An authority for one domain, and what a thief of its key signs for people and servers everywhere."""
    desk = open_desk(tmp_path)
    now = datetime.now(UTC).replace(microsecond=0)
    signer = make_authority(desk, "corp", now=now, domain="example.com", servers=("10.0.0.0/8",))
    desk.registry.close()
    wanted = {
        name: (Purpose.CLIENT, profiles.Names(common_name=name, email=f"{name}@{domain}"))
        for name, domain in (("own", "example.com"), ("foreign", "example.org"), ("below", "sub.example.com"))
    }
    wanted["dotted"] = Purpose.CLIENT, profiles.Names(common_name="alice.smith", email="alice@example.com")
    for name, host in SERVERS.items():
        wanted[name] = Purpose.SERVER, profiles.Names(common_name=f"server {name}", hosts=tuple(hosts.check([host])))
    for name, (purpose, names) in wanted.items():
        key = make(KeyKind.ECDSA_P256)
        certificate = profiles.leaf_certificate(
            purpose=purpose,
            names=names,
            public_key=key.public_key(),
            validity=profiles.Validity.of_days(now, 30),
            issuer=signer.issuer,
        )
        (tmp_path / f"{name}.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    return tmp_path


def test_openssl_refuses_addresses_of_other_domains(bound):
    verify = ("openssl", "verify", "-CAfile", "pki/corp/corp.crt")
    assert "own.crt: OK" in _run(*verify, "own.crt", cwd=bound)
    for name in ("foreign.crt", "below.crt"):
        with pytest.raises(AssertionError, match="permitted subtree violation"):
            _run(*verify, name, cwd=bound)


def test_openssl_refuses_servers_elsewhere_and_common_names_that_read_as_such(bound):
    verify = ("openssl", "verify", "-CAfile", "pki/corp/corp.crt", "-purpose", "sslserver")
    for name in OWN_SERVERS:
        _run(*verify, f"{name}.crt", cwd=bound)
    for name in FOREIGN_SERVERS:
        with pytest.raises(AssertionError, match=r"permitted subtree violation|excluded subtree violation"):
            _run(*verify, f"{name}.crt", cwd=bound)
    with pytest.raises(AssertionError, match="permitted subtree violation"):
        _run(*verify[:-1], "sslclient", "dotted.crt", cwd=bound)


def test_the_gateway_refuses_addresses_of_other_domains(bound):
    verify = (sys.executable, "-m", "gateway", "cert", "verify", "--ca", "pki/corp/corp.crt")
    _run(*verify, "own.crt", cwd=bound)
    for name in ("foreign.crt", "below.crt"):
        with pytest.raises(AssertionError, match="certificate_untrusted"):
            _run(*verify, name, cwd=bound)


@_needs("certutil")
def test_nss_refuses_addresses_and_servers_of_other_domains(bound):
    _run("certutil", "-N", "-d", "sql:.", "--empty-password", cwd=bound)
    _run("certutil", "-A", "-d", "sql:.", "-n", "root", "-t", "CT,C,C", "-i", "pki/corp/corp.crt", cwd=bound)
    for name in ("own", "foreign", "below", *SERVERS):
        _run("certutil", "-A", "-d", "sql:.", "-n", name, "-t", ",,", "-i", f"{name}.crt", cwd=bound)
    verify = ("certutil", "-V", "-d", "sql:.", "-u", "S", "-n")
    assert "certificate is valid" in _run(*verify, "own", cwd=bound)
    for name in ("foreign", "below"):
        with pytest.raises(AssertionError, match="not permitted to issue a certificate with this name"):
            _run(*verify, name, cwd=bound)
    of_server = ("certutil", "-V", "-d", "sql:.", "-u", "V", "-n")
    for name in OWN_SERVERS:
        assert "certificate is valid" in _run(*of_server, name, cwd=bound)
    for name in FOREIGN_SERVERS:
        with pytest.raises(AssertionError, match="not permitted to issue a certificate with this name"):
            _run(*of_server, name, cwd=bound)


@pytest.fixture
def limited(tmp_path):
    """A root, authorities for people and for servers, and what a thief of either signs: `people-server` and so on."""
    desk = open_desk(tmp_path)
    now = datetime.now(UTC).replace(microsecond=0)
    root = make_authority(desk, "root", now=now, domain="example.com")
    for signs in (Signs.PEOPLE, Signs.SERVERS):
        signer = make_authority(desk, signs.value, now=now, parent=root, signs=signs, days=999)
        for purpose, names in (
            (Purpose.CLIENT, profiles.Names(common_name="Alice", email="alice@example.com")),
            (Purpose.SERVER, profiles.Names(common_name="mail", hosts=(x509.DNSName("mail.example.com"),))),
        ):
            certificate = profiles.leaf_certificate(
                purpose=purpose,
                names=names,
                public_key=make(KeyKind.ECDSA_P256).public_key(),
                validity=profiles.Validity.of_days(now, 30),
                issuer=signer.issuer,
            )
            (tmp_path / f"{signs}-{purpose}.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    desk.registry.close()
    return tmp_path


ALLOWED = [("people", "client"), ("servers", "server")]
NOT_ALLOWED = [("people", "server"), ("servers", "client")]


def test_openssl_and_the_gateway_keep_an_authority_to_its_use(limited):
    for (signs, purpose), is_allowed in ((pair, pair in ALLOWED) for pair in ALLOWED + NOT_ALLOWED):
        verify = ("openssl", "verify", "-CAfile", "pki/root/root.crt", "-untrusted", f"pki/{signs}/{signs}.crt")
        command = (*verify, "-purpose", f"ssl{purpose}", f"{signs}-{purpose}.crt")
        if is_allowed:
            _run(*command, cwd=limited)
        else:
            with pytest.raises(AssertionError, match="unsuitable certificate purpose"):
                _run(*command, cwd=limited)
    for signs in ("people", "servers"):
        for path in (f"pki/{signs}/{signs}.crt", "pki/root/root.crt"):
            command = (sys.executable, "-m", "gateway", "cert", "verify", "--ca", path, f"{signs}-client.crt")
            if signs == "people":
                _run(*command, f"pki/{signs}/{signs}.crt", cwd=limited)
            else:
                with pytest.raises(AssertionError, match="certificate_wrong_usage"):
                    _run(*command, f"pki/{signs}/{signs}.crt", cwd=limited)
