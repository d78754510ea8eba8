"""The OCSP responder: what openssl asks, and what nobody should."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp as codec
from sqlalchemy import text
from support.desk import DAY, NOW, PASSPHRASE, Files, issue_to, make_authority
from support.pki import Ca

from gateway.errors import UsageError
from gateway.pki import authority, files, issue, lifecycle, ocsp, ocsp_signer, pkcs8
from gateway.pki.keys import make
from gateway.pki.profiles import BACKDATE
from gateway.pki.registry import certificates
from gateway.pki.registry.records import Purpose, RevocationReason
from gateway.pki.words import KeyKind

Status = codec.OCSPResponseStatus
Cert = codec.OCSPCertStatus
SHA1 = hashes.SHA1()  # noqa: S303 - what clients ask with


@pytest.fixture
def signer(desk, corp):
    return ocsp_signer.make_signer(desk, corp, NOW)


@pytest.fixture
def ask(desk, corp, signer):
    """Ask about a certificate; the parsed response."""

    def ask(certificate, *, now=NOW, nonce=None, issuer=None, algorithm=None, signers=lambda _name: signer):
        builder = codec.OCSPRequestBuilder()
        builder = builder.add_certificate(certificate, issuer or corp.certificate, algorithm or SHA1)
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        request = builder.build().public_bytes(Encoding.DER)
        return codec.load_der_ocsp_response(ocsp.respond(request, desk.registry, signers, now).der)

    return ask


@pytest.mark.parametrize("algorithm", [SHA1, hashes.SHA256()])
def test_a_live_certificate_is_good(desk, corp, signer, ask, algorithm):
    made = issue_to(desk, corp)
    answer = ask(made.certificate, algorithm=algorithm)
    assert (answer.response_status, answer.certificate_status) == (Status.SUCCESSFUL, Cert.GOOD)
    assert answer.serial_number == made.certificate.serial_number
    assert answer.certificates == [signer.certificate]
    assert answer.this_update_utc <= NOW < answer.next_update_utc
    key = signer.certificate.public_key()
    key.verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(answer.signature_hash_algorithm))


def test_states_are_told(desk, corp, ask):
    made = issue_to(desk, corp)
    lifecycle.hold(desk, corp, [made.record], NOW)
    answer = ask(made.certificate)
    assert (answer.certificate_status, answer.revocation_reason) == (
        Cert.REVOKED,
        x509.ReasonFlags.certificate_hold,
    )
    with desk.registry.reading() as connection:
        held = certificates.get(connection, "corp", made.record.serial)
    lifecycle.release(desk, corp, [held], NOW)
    assert ask(made.certificate).certificate_status is Cert.GOOD
    lifecycle.revoke(desk, corp, [made.record], RevocationReason.UNSPECIFIED, NOW)
    answer = ask(made.certificate)
    assert (answer.certificate_status, answer.revocation_reason) == (Cert.REVOKED, None)
    assert answer.revocation_time_utc == NOW


def test_a_renewed_one_is_revoked_from_the_minute_its_overlap_ends(desk, corp, ask):
    made = issue_to(desk, corp)
    key = make(KeyKind.ECDSA_P256)
    lifecycle.renew(desk, corp, made.record, lifecycle.Renewal(key=key, overlap=DAY), NOW, Files())
    last = ask(made.certificate, now=NOW + DAY - timedelta(seconds=1))
    assert (last.certificate_status, last.next_update_utc) == (Cert.GOOD, NOW + DAY)
    late = ask(made.certificate, now=NOW + DAY)
    assert (late.certificate_status, late.revocation_reason) == (Cert.REVOKED, x509.ReasonFlags.superseded)


def test_never_issued_and_never_handed_out_are_unknown(desk, corp, ask):
    stranger = issue.sign(corp, issue.Order.of_person("x@example.com"), make(KeyKind.ECDSA_P256), NOW)
    assert ask(stranger).certificate_status is Cert.UNKNOWN
    new = certificates.NewCertificate(certificate=stranger, common_name="x", purpose=Purpose.CLIENT)
    with desk.registry.writing() as connection:
        certificates.add_pending(connection, corp.record, new, NOW, "tester")
    assert ask(stranger).certificate_status is Cert.UNKNOWN


def test_an_authority_below_is_good_until_it_is_revoked(desk, corp, ask):
    below = make_authority(desk, "sales", parent=corp)
    make_authority(desk, "apart")
    assert ask(below.certificate).certificate_status is Cert.GOOD
    assert ask(corp.certificate).certificate_status is Cert.UNKNOWN
    serial = certificates.serial_text(below.certificate.serial_number)
    lifecycle.revoke(desk, corp, [], RevocationReason.CESSATION_OF_OPERATION, NOW, [serial])
    assert ask(below.certificate).certificate_status is Cert.REVOKED


def test_a_foreign_serial_that_was_revoked(desk, corp, ask):
    stranger = issue.sign(corp, issue.Order.of_person("x@example.com"), make(KeyKind.ECDSA_P256), NOW)
    other = issue.sign(corp, issue.Order.of_person("y@example.com"), make(KeyKind.ECDSA_P256), NOW)
    for day, certificate in enumerate((other, stranger)):
        serial = certificates.serial_text(certificate.serial_number)
        lifecycle.revoke(desk, corp, [], RevocationReason.KEY_COMPROMISE, NOW + day * DAY, [serial])
    answer = ask(stranger)
    assert (answer.certificate_status, answer.revocation_reason) == (Cert.REVOKED, x509.ReasonFlags.key_compromise)


@pytest.mark.parametrize("size", [1, 32, ocsp.MAX_NONCE_BYTES])
def test_a_nonce_comes_back(desk, corp, ask, size):
    made = issue_to(desk, corp)
    answer = ask(made.certificate, nonce=b"n" * size)
    assert answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"n" * size
    assert not list(ask(made.certificate).extensions)


@pytest.mark.parametrize("size", [0, ocsp.MAX_NONCE_BYTES + 1])
def test_nonces_of_other_sizes_are_malformed(desk, corp, ask, size):
    assert ask(issue_to(desk, corp).certificate, nonce=b"n" * size).response_status is Status.MALFORMED_REQUEST


def test_other_authorities_are_none_of_ours(desk, corp, ask):
    made = issue_to(desk, corp)
    stranger = Ca.make(corp.certificate.subject)
    assert ask(made.certificate, issuer=stranger.certificate).response_status is Status.UNAUTHORIZED
    assert ask(made.certificate, issuer=Ca.make("CN=X").certificate).response_status is Status.UNAUTHORIZED
    assert ask(made.certificate, signers=lambda _name: None).response_status is Status.UNAUTHORIZED


def test_an_expired_signer_and_a_registry_that_is_broken_ask_for_patience(desk, corp, ask):
    made = issue_to(desk, corp)
    for now in (NOW + ocsp_signer.DAYS * DAY + timedelta(seconds=1), NOW - DAY):
        assert ask(made.certificate, now=now).response_status is Status.TRY_LATER
    with desk.registry.writing() as connection:
        connection.execute(text("ALTER TABLE certificates RENAME TO gone"))
    assert ask(made.certificate).response_status is Status.TRY_LATER


def _malformed(desk, data):
    answer = codec.load_der_ocsp_response(ocsp.respond(data, desk.registry, lambda _name: None, NOW).der)
    return answer.response_status is Status.MALFORMED_REQUEST


def test_noise_is_malformed(desk, corp):
    assert _malformed(desk, b"")
    assert _malformed(desk, b"\x30\x82\xff\xff" + b"\x00" * 50)
    assert _malformed(desk, b"\x30" * ocsp.MAX_REQUEST_BYTES)
    assert _malformed(desk, b"\x30" * (ocsp.MAX_REQUEST_BYTES + 1))
    certificate = issue_to(desk, corp).certificate
    twice = codec.OCSPRequestBuilder().add_certificate(certificate, corp.certificate, SHA1)
    for oid in ("1.2.3.1", "1.2.3.2"):
        twice = twice.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), b"\x05\x00"), critical=False)
    assert _malformed(desk, twice.build().public_bytes(Encoding.DER).replace(b"\x2a\x03\x02", b"\x2a\x03\x01"))
    sha512 = codec.OCSPRequestBuilder().add_certificate(certificate, corp.certificate, hashes.SHA512()).build()
    assert _malformed(desk, sha512.public_bytes(Encoding.DER))


@pytest.mark.usefixtures("corp")
def test_several_certificates_in_one_request_are_not_answered(desk, tmp_path):
    """RFC 5019 section 2.1.1: a client asks for one."""
    arguments = [
        "-reqout",
        str(tmp_path / "req"),
        "-issuer",
        str(desk.file("corp", "crt")),
        "-serial",
        "1",
        "-serial",
        "2",
    ]
    subprocess.run(["openssl", "ocsp", *arguments], check=True, capture_output=True)
    assert _malformed(desk, (tmp_path / "req").read_bytes())


def test_openssl_agrees(tmp_path, desk):
    """A request of `openssl ocsp` and its verdict on our answer: chain, delegation, nonce and dates."""
    now = datetime.now(UTC).replace(microsecond=0)
    corp = make_authority(desk, now=now)
    signer = ocsp_signer.make_signer(desk, corp, now)
    good, bad = issue_to(desk, corp, now=now), issue_to(desk, corp, "bob@example.com", now=now)
    lifecycle.revoke(desk, corp, [bad.record], RevocationReason.KEY_COMPROMISE, now)
    ca = str(desk.file("corp", "crt"))
    for issued, verdict in ((good, "good"), (bad, "revoked")):
        (tmp_path / "leaf").write_bytes(issued.certificate.public_bytes(Encoding.PEM))
        common = ["openssl", "ocsp", "-issuer", ca, "-cert", str(tmp_path / "leaf"), "-nonce"]
        subprocess.run([*common, "-reqout", str(tmp_path / "req")], check=True, capture_output=True)
        answer = ocsp.respond((tmp_path / "req").read_bytes(), desk.registry, lambda _n: signer, now)
        (tmp_path / "resp").write_bytes(answer.der)
        done = subprocess.run(
            [
                *("openssl", "ocsp", "-issuer", ca, "-cert", str(tmp_path / "leaf"), "-CAfile", ca),
                *("-respin", str(tmp_path / "resp"), "-reqin", str(tmp_path / "req"), "-no_nonce"),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        assert "Response verify OK" in done.stderr
        assert f"leaf: {verdict}" in done.stdout
        assert "WARNING" not in done.stdout + done.stderr


def test_signers_come_from_their_files(desk, corp):
    assert ocsp_signer.load_signer(desk, "corp") is None
    assert ocsp_signer.is_due(None, NOW)
    made = ocsp_signer.make_signer(desk, corp, NOW)
    found = ocsp_signer.load_signer(desk, "corp")
    assert (found.certificate, found.issuer) == (made.certificate, corp.certificate)
    assert "key=" not in repr(found)
    assert desk.file("corp", "ocsp.key").stat().st_mode & 0o777 == 0o600
    end = made.certificate.not_valid_after_utc
    assert not ocsp_signer.is_due(found, end - ocsp_signer.RENEW_BEFORE - timedelta(seconds=1))
    assert ocsp_signer.is_due(found, end - ocsp_signer.RENEW_BEFORE)
    again = ocsp_signer.make_signer(desk, corp, NOW)
    assert again.certificate != made.certificate


def test_signer_files_that_do_not_fit(desk, corp):
    ocsp_signer.make_signer(desk, corp, NOW)
    files.write_private(desk.file("corp", "ocsp.key"), pkcs8.plain_pem(make(KeyKind.ECDSA_P256)))
    with pytest.raises(UsageError, match="is not the key of"):
        ocsp_signer.load_signer(desk, "corp")
    desk.file("corp", "ocsp.key").unlink()
    with pytest.raises(UsageError, match=r"ocsp\.key: cannot be read") as refused:
        ocsp_signer.load_signer(desk, "corp")
    assert refused.value.remedy == "Run 'gateway ca ocsp corp' as the gateway's user."
    whole = desk.file("corp", "ocsp.crt").read_bytes()
    for data in (b"nothing", whole[:-40], whole + whole[:40]):
        files.write_public(desk.file("corp", "ocsp.crt"), data)
        with pytest.raises(UsageError, match="is not a certificate"):
            ocsp_signer.load_signer(desk, "corp")


def test_an_rsa_authority_answers_too(desk):
    plan = authority.Plan(name="rsa", kind=KeyKind.RSA_2048)
    made = authority.create(desk, plan, PASSPHRASE, NOW)
    signer = ocsp_signer.make_signer(desk, made, NOW)
    issued = issue_to(desk, made)
    request = codec.OCSPRequestBuilder().add_certificate(issued.certificate, made.certificate, hashes.SHA256()).build()
    data = ocsp.respond(request.public_bytes(Encoding.DER), desk.registry, lambda _name: signer, NOW)
    assert codec.load_der_ocsp_response(data.der).certificate_status is Cert.GOOD


def test_signers_are_read_again_when_their_files_change(desk, corp, monkeypatch, caplog):
    signers = ocsp_signer.SignerFiles(desk)
    assert signers("corp") is None
    made = ocsp_signer.make_signer(desk, corp, NOW)
    assert signers("corp").certificate == made.certificate
    with monkeypatch.context() as patch:
        patch.setattr(ocsp_signer, "load_signer", None)
        assert signers("corp").certificate == made.certificate
    again = ocsp_signer.make_signer(desk, corp, NOW)
    assert signers("corp").certificate == again.certificate
    files.write_private(desk.file("corp", "ocsp.key"), pkcs8.plain_pem(make(KeyKind.ECDSA_P256)))
    for _ in range(3):  # with every question
        assert signers("corp").certificate == again.certificate
    assert caplog.text.count("The former signer of 'corp' stays in use") == 1
    files.write_private(desk.file("corp", "ocsp.key"), b"nothing")
    assert signers("corp").certificate == again.certificate
    assert caplog.text.count("The former signer of 'corp' stays in use") == 2
    desk.file("corp", "ocsp.crt").unlink()
    assert signers("corp") is None


def test_signer_files_that_never_fitted_are_no_signer(desk, corp):
    ocsp_signer.make_signer(desk, corp, NOW)
    files.write_public(desk.file("corp", "ocsp.crt"), b"nothing")
    signers = ocsp_signer.SignerFiles(desk)
    with pytest.raises(UsageError, match="is not a certificate"):
        signers("corp")


def test_only_what_answers_everybody_may_be_kept(desk, corp, signer):
    made = issue_to(desk, corp)
    stranger = issue.sign(corp, issue.Order.of_person("x@example.com"), make(KeyKind.ECDSA_P256), NOW)

    def respond(certificate, nonce=None):
        builder = codec.OCSPRequestBuilder().add_certificate(certificate, corp.certificate, SHA1)
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        request = builder.build().public_bytes(Encoding.DER)
        return ocsp.respond(request, desk.registry, lambda _name: signer, NOW)

    kept = respond(made.certificate)
    assert (kept.this_update, kept.next_update) == (NOW - BACKDATE, NOW + ocsp.LIFETIME)
    assert respond(made.certificate, b"n").next_update is None
    assert respond(stranger).next_update is None
    assert ocsp.respond(b"", desk.registry, lambda _name: signer, NOW).next_update is None
    later = ocsp.try_later()
    assert codec.load_der_ocsp_response(later.der).response_status is Status.TRY_LATER
    assert later.next_update is None
