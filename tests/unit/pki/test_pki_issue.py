"""What is issued says what the profile says, and counts only when it is delivered."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from support.desk import DAY, NOW, Files, issue_to, make_authority, reload
from support.pki import openssl, rsa_key

from gateway.errors import OperationError, UsageError
from gateway.pki import issue, keys, profiles
from gateway.pki.registry import audit, certificates
from gateway.pki.registry.claims import NameTakenError
from gateway.pki.registry.records import Purpose, RevocationReason, State
from gateway.pki.words import KeyKind

BITS = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)


def _extension(certificate, kind):
    return certificate.extensions.get_extension_for_class(kind)


def _usage(certificate):
    found = _extension(certificate, x509.KeyUsage)
    assert found.critical
    return {bit for bit in BITS if getattr(found.value, bit)}


EC, RSA = ec.generate_private_key(ec.SECP256R1()), rsa_key()
SIGN, ENCIPHER, AGREE = "digital_signature", "key_encipherment", "key_agreement"


@pytest.mark.parametrize(
    ("purpose", "key", "usage", "extended"),
    [
        (Purpose.CLIENT, RSA, {SIGN, ENCIPHER}, {Eku.CLIENT_AUTH, Eku.EMAIL_PROTECTION}),
        (Purpose.CLIENT, EC, {SIGN, AGREE}, {Eku.CLIENT_AUTH, Eku.EMAIL_PROTECTION}),
        (Purpose.AUTH, RSA, {SIGN}, {Eku.CLIENT_AUTH}),
        (Purpose.SMIME, RSA, {SIGN, ENCIPHER}, {Eku.EMAIL_PROTECTION}),
        (Purpose.SMIME_SIGNING, EC, {SIGN}, {Eku.EMAIL_PROTECTION}),
        (Purpose.SMIME_ENCRYPTION, RSA, {ENCIPHER}, {Eku.EMAIL_PROTECTION}),
        (Purpose.SMIME_ENCRYPTION, EC, {AGREE}, {Eku.EMAIL_PROTECTION}),
        (Purpose.SERVER, RSA, {SIGN, ENCIPHER}, {Eku.SERVER_AUTH}),
        (Purpose.SERVER, EC, {SIGN}, {Eku.SERVER_AUTH}),
        (Purpose.OCSP, EC, {SIGN}, {Eku.OCSP_SIGNING}),
    ],
)
def test_uses_follow_from_purpose_and_key(corp, purpose, key, usage, extended):
    order = issue.Order(email=None, common_name="x", purpose=purpose)
    certificate = issue.sign(corp, order, key, NOW)
    assert _usage(certificate) == usage
    assert set(_extension(certificate, x509.ExtendedKeyUsage).value) == extended
    basic = _extension(certificate, x509.BasicConstraints)
    assert (basic.critical, basic.value.ca) == (True, False)


def test_a_persons_certificate(desk):
    signer = make_authority(
        desk,
        organization="Example Ltd",
        crl_url="http://pki.example.com/corp.crl",
        ocsp_url="http://pki.example.com/ocsp",
        issuer_url="http://pki.example.com/corp.crt",
    )
    made = issue_to(desk, signer, "Alice@Example.com", "Alice", upn="alice@example.com", department="Sales")
    certificate = made.certificate
    assert certificate.subject.rfc4514_string() == "CN=Alice,OU=Sales,O=Example Ltd"
    names = _extension(certificate, x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.RFC822Name) == ["Alice@example.com"]
    upn = names.get_values_for_type(x509.OtherName)[0]
    assert (upn.type_id, upn.value) == (profiles.UPN_OID, b"\x0c\x11alice@example.com")
    identifier = _extension(signer.certificate, x509.SubjectKeyIdentifier).value.digest
    assert _extension(certificate, x509.AuthorityKeyIdentifier).value.key_identifier == identifier
    assert _extension(certificate, x509.CRLDistributionPoints).value[0].full_name[0].value.endswith("/corp.crl")
    access = {
        entry.access_method._name: entry.access_location.value
        for entry in _extension(certificate, x509.AuthorityInformationAccess).value
    }
    assert access == {"OCSP": "http://pki.example.com/ocsp", "caIssuers": "http://pki.example.com/corp.crt"}
    assert certificate.not_valid_after_utc == NOW + 397 * DAY
    assert certificate.not_valid_before_utc == NOW - profiles.BACKDATE


def test_an_ocsp_signer_is_not_asked_about(corp):
    certificate = issue.sign(corp, issue.Order(email=None, common_name="x", purpose=Purpose.OCSP), EC, NOW)
    assert _extension(certificate, x509.OCSPNoCheck)
    assert not [e for e in certificate.extensions if e.oid._name in ("cRLDistributionPoints", "authorityInfoAccess")]


def test_serials_are_159_random_bits(corp):
    order = issue.Order(email=None, common_name="x")
    made = [issue.sign(corp, order, EC, NOW).serial_number for _ in range(64)]
    assert len(set(made)) == 64
    assert max(made).bit_length() in (158, 159)
    assert min(made) > 0


def test_days(desk):
    signer = make_authority(desk, days=200)
    assert issue_to(desk, signer).certificate.not_valid_after_utc == NOW + 200 * DAY
    assert issue_to(desk, signer, "bob@example.com", days=200).record.state is State.LIVE
    for days in (201, 0, -1):
        with pytest.raises(
            UsageError, match=f"cannot be valid for {days} days: the authority 'corp' expires in 200 days"
        ):
            issue_to(desk, signer, "carol@example.com", days=days)
    with pytest.raises(UsageError, match="expires today or has expired"):
        issue_to(desk, signer, "carol@example.com", now=NOW + 200 * DAY)


def test_nobody_is_older_than_the_authority(desk):
    signer = make_authority(desk)
    early = NOW - profiles.BACKDATE
    assert issue.validity(signer, 1, early).not_before == signer.certificate.not_valid_before_utc


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"email": "nobody"}, "is not a valid e-mail address"),
        ({"name": " x"}, "begins or ends with a space"),
        ({"upn": "nobody"}, "is not a valid user principal name"),
        ({"department": "x" * 65}, "department .* longer than 64"),
        ({"device": "\x00"}, "device .* control character"),
    ],
)
def test_orders_that_are_refused_leave_nothing(desk, corp, options, cause):
    with pytest.raises(UsageError, match=cause):
        issue_to(desk, corp, **options)
    with desk.registry.reading() as connection:
        assert certificates.find(connection) == []


def test_what_is_not_delivered_is_revoked_and_its_name_is_free(desk, corp):
    def refuse(_issued):
        raise OperationError("the disk is full")

    order = issue.Order.of_person("alice@example.com")
    with pytest.raises(OperationError, match="the disk is full"):
        issue.issue(desk, corp, order, EC, NOW, refuse)
    with desk.registry.reading() as connection:
        [left] = certificates.find(connection)
        assert [entry.action for entry in audit.entries(connection, serial=left.serial)] == ["signed", "abandoned"]
    assert (left.state, left.reason) == (State.REVOKED, RevocationReason.CESSATION_OF_OPERATION)
    published = x509.load_pem_x509_crl(desk.file("corp", "crl").read_bytes())
    assert published.get_revoked_certificate_by_serial_number(int(left.serial, 16)) is not None
    assert issue_to(desk, corp).record.state is State.LIVE


def test_an_interrupt_after_the_last_commit_leaves_a_live_certificate(desk, corp, monkeypatch):
    writing = type(desk.registry).writing

    @contextmanager
    def interrupted(registry):
        with writing(registry) as connection:
            yield connection
        with registry.reading() as connection:
            if any(record.state is State.LIVE for record in certificates.find(connection)):
                raise KeyboardInterrupt

    monkeypatch.setattr(type(desk.registry), "writing", interrupted)
    files = Files()
    with pytest.raises(KeyboardInterrupt):
        issue.issue(desk, corp, issue.Order.of_person("alice@example.com"), EC, NOW, files)
    assert reload(desk, files.issued[0].record).state is State.LIVE


def test_a_pending_certificate_is_nobodys(desk, corp):
    seen = []
    issue.issue(
        desk,
        corp,
        issue.Order.of_person("alice@example.com"),
        EC,
        NOW,
        lambda issued: seen.append((reload(desk, issued.record).state, issued.record.is_usable(NOW))),
    )
    assert seen == [(State.PENDING, False)]


def test_the_same_import_takes_a_name_back_at_once(desk, corp):
    order = issue.Order.of_person("alice@example.com", run="one")
    certificate = issue.sign(corp, order, EC, NOW)
    new = certificates.NewCertificate(
        certificate=certificate, common_name=order.common_name, purpose=order.purpose, email=order.email, run="one"
    )
    with desk.registry.writing() as connection:
        certificates.add_pending(connection, corp.record, new, NOW, "killed")
    with pytest.raises(NameTakenError):
        issue_to(desk, corp, run="two")
    assert issue_to(desk, corp, run="one").record.state is State.LIVE


def test_a_key_is_kept_only_when_asked(desk, corp):
    assert issue_to(desk, corp).record.escrow is None
    kept = issue_to(desk, corp, "bob@example.com", escrow="passphrase of corp").record
    assert kept.escrow.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert "escrow" not in repr(kept)
    order = issue.Order.of_person("carol@example.com", escrow="passphrase of corp")
    with pytest.raises(UsageError, match="made elsewhere cannot be kept"):
        issue.issue(desk, corp, order, EC.public_key(), NOW, Files())


def test_a_servers_certificate(desk, corp, tmp_path):
    hosts = (x509.DNSName("mail.example.com"), x509.DNSName("*.example.com"))
    order = issue.Order(email=None, common_name="mail.example.com", purpose=Purpose.SERVER, hosts=hosts)
    made = issue.issue(desk, corp, order, keys.make(KeyKind.ECDSA_P256), NOW, Files())
    (tmp_path / "s.pem").write_bytes(made.certificate.public_bytes(Encoding.PEM))
    when = str(int((NOW + DAY).timestamp()))
    openssl(
        *("verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "www.example.com"),
        *("-attime", when, "-CAfile", str(desk.file("corp", "crt")), "s.pem"),
        cwd=tmp_path,
    )
