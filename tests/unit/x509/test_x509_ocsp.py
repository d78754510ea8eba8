"""What an OCSP answer proves: about this certificate, by who may say so, and of now; everything else is no answer."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from support.ocsp import GOOD, MINUTE, OCSP_SIGNING, REVOKED, UNKNOWN, named, response
from support.pki import DAY, NOW, Ca, Leaf, build, dsa_key, ec_key, openssl, openssl_leaf, openssl_root, rsa_key

from gateway import clock
from gateway.x509 import ocsp as module
from gateway.x509.loading import load_certificates
from gateway.x509.ocsp import OcspError, request_for, responder_url, verify_response
from gateway.x509.status import Status

ROOT = Ca.make()
OTHER = Ca.make("CN=Other")
ALICE = ROOT.issue("CN=alice")
RESPONDER = ROOT.issue("CN=responder", eku=OCSP_SIGNING)
BY_NAME = ocsp.OCSPResponderEncoding.NAME
SKEW = timedelta(seconds=module.CLOCK_SKEW_SECONDS)


def verify(der, leaf=ALICE, issuer=ROOT, now=NOW):
    return verify_response(der, leaf.certificate, issuer.certificate, now)


def refused(der, words, **options):
    with pytest.raises(OcspError, match=words):
        verify(der, **options)


def test_a_request_is_one_that_openssl_answers_and_its_answer_is_read(tmp_path):
    root = openssl_root(tmp_path)
    alice, _key = openssl_leaf(tmp_path)
    leaf, issuer = load_certificates(alice)[0], load_certificates(root)[0]
    (tmp_path / "request.der").write_bytes(request_for(leaf, issuer))
    serial = f"{leaf.serial_number:X}"
    serial = serial.zfill(len(serial) + len(serial) % 2)
    for letter, when, status in (("V", "", Status.GOOD), ("R", "250101000000Z", Status.REVOKED)):
        (tmp_path / "index.txt").write_text(f"{letter}\t400101000000Z\t{when}\t{serial}\tunknown\t/CN=alice\n")
        openssl(
            *("ocsp", "-index", "index.txt", "-CA", "rootCA.pem", "-rsigner", "rootCA.pem", "-rkey", "rootCA.key"),
            *("-reqin", "request.der", "-respout", "response.der", "-ndays", "1"),
            cwd=tmp_path,
        )
        answer = verify_response((tmp_path / "response.der").read_bytes(), leaf, issuer, clock.now())
        assert answer.status is status


@pytest.mark.parametrize("digest", [hashes.SHA1(), hashes.SHA256()])  # noqa: S303 - names, proves nothing
def test_the_request_names_the_certificate_by_serial_and_issuer(digest):
    request = ocsp.load_der_ocsp_request(request_for(ALICE.certificate, ROOT.certificate, digest))
    assert request.serial_number == ALICE.certificate.serial_number
    assert request.hash_algorithm.name == digest.name


def test_no_request_for_an_issuer_whose_key_cannot_be_read():
    class Odd:
        subject = ROOT.certificate.subject

    with pytest.raises(OcspError, match="no request can be made"):
        request_for(ALICE.certificate, Odd())


def test_a_certificate_on_hold_is_revoked_and_told_to_be_on_hold():
    answer = verify(response(ALICE, ROOT, REVOKED, reason=x509.ReasonFlags.certificate_hold))
    assert (answer.status, answer.is_on_hold) == (Status.REVOKED, True)
    assert answer.detail.startswith("put on hold 20")
    assert not verify(response(ALICE, ROOT, REVOKED)).is_on_hold
    assert not verify(response(ALICE, ROOT)).is_on_hold


def test_good_revoked_and_unknown():
    assert verify(response(ALICE, ROOT)).status is Status.GOOD
    revoked = verify(response(ALICE, ROOT, REVOKED))
    assert (revoked.status, revoked.detail) == (
        Status.REVOKED,
        "revoked 2026-11-24 11:59:00 UTC, according to the OCSP responder",
    )
    unknown = verify(response(ALICE, ROOT, UNKNOWN))
    assert (unknown.status, unknown.detail) == (Status.UNKNOWN, "the OCSP responder does not know the certificate")
    assert verify(response(ALICE, ROOT, digest=hashes.SHA256())).status is Status.GOOD


@pytest.mark.parametrize("by", list(ocsp.OCSPResponderEncoding))
def test_the_ca_itself_or_a_responder_that_it_certified_may_answer(by):
    assert verify(response(ALICE, ROOT, by=by)).status is Status.GOOD
    delegated = response(ALICE, ROOT, REVOKED, signer=RESPONDER, certificates=(RESPONDER.certificate,), by=by)
    assert verify(delegated).status is Status.REVOKED


@pytest.mark.parametrize(
    "key", [rsa_key(), ed25519.Ed25519PrivateKey.generate(), ec_key()], ids=["RSA", "Ed25519", "EC"]
)
def test_keys_of_responders(key):
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    root = Ca.make(key=key, algorithm=digest)
    alice = Leaf(build("CN=a", ec_key().public_key(), "CN=Test Root", key, algorithm=digest), ec_key())
    assert verify(response(alice, root, signed_with=digest), alice, root).status is Status.GOOD


NOT_OURS = "signed neither by the CA nor by a responder that the CA certified"


def delegate(signer):
    return response(ALICE, ROOT, signer=signer, certificates=(signer.certificate,))


@pytest.mark.parametrize(
    ("signer", "who"),
    [
        (OTHER, "another CA"),
        (OTHER.issue("CN=responder", eku=OCSP_SIGNING), "another CA's responder"),
        (ROOT.issue("CN=bob"), "a client of the same CA"),
        (ROOT.issue("CN=bob", eku=()), "a certificate without extended key usage"),
        (ROOT.issue("CN=old", eku=OCSP_SIGNING, not_after=NOW - MINUTE), "an expired responder"),
        (ROOT.issue("CN=early", eku=OCSP_SIGNING, not_before=NOW + MINUTE), "a responder of tomorrow"),
        (ROOT.issue("CN=any", eku=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)), "one for any usage"),
        (ROOT.issue_ca().issue("CN=deep", eku=OCSP_SIGNING), "a responder of a CA below"),
        (ROOT.issue("CN=weak", eku=OCSP_SIGNING, algorithm=hashes.SHA384()), None),
    ],
)
def test_nobody_else_may(signer, who):
    if who is None:
        assert verify(delegate(signer)).status is Status.GOOD
    else:
        refused(delegate(signer), NOT_OURS)


def test_a_responder_whose_certificate_is_signed_with_a_weak_digest_may_not(tmp_path):
    openssl_root(tmp_path)
    for name, digest in (("weak", "-sha1"), ("strong", "-sha256")):
        (tmp_path / "eku.cnf").write_text("extendedKeyUsage=OCSPSigning\n")
        openssl("genrsa", "-out", f"{name}.key", "2048", cwd=tmp_path)
        openssl("req", "-new", "-key", f"{name}.key", "-subj", f"/CN={name}", "-out", "x.csr", cwd=tmp_path)
        openssl(
            *("x509", "-req", "-in", "x.csr", "-CA", "rootCA.pem", "-CAkey", "rootCA.key", "-CAcreateserial"),
            *(digest, "-days", "9", "-extfile", "eku.cnf", "-out", f"{name}.crt"),
            cwd=tmp_path,
        )
    issuer = load_certificates(tmp_path / "rootCA.pem")[0]
    (tmp_path / "index.txt").touch()
    for name in ("weak", "strong"):
        openssl(
            *("ocsp", "-index", "index.txt", "-CA", "rootCA.pem", "-rsigner", f"{name}.crt", "-rkey", f"{name}.key"),
            *("-issuer", "rootCA.pem", "-serial", "5", "-respout", f"{name}.der", "-ndays", "1"),
            cwd=tmp_path,
        )
    leaf = Leaf(build("CN=a", ec_key().public_key(), issuer.subject, ec_key(), serial=5), None)
    strong = verify_response((tmp_path / "strong.der").read_bytes(), leaf.certificate, issuer, clock.now())
    assert strong.status is Status.UNKNOWN
    with pytest.raises(OcspError, match=NOT_OURS):
        verify_response((tmp_path / "weak.der").read_bytes(), leaf.certificate, issuer, clock.now())


def test_an_answer_that_only_names_the_ca_is_a_forgery():
    namesake = Ca.make()
    refused(response(ALICE, ROOT, signer=namesake, by=BY_NAME), "signature is not that of")
    refused(response(ALICE, ROOT, signer=namesake), NOT_OURS)


def test_the_signature_covers_every_byte_of_what_is_said():
    der = bytearray(response(ALICE, ROOT, REVOKED))
    at = der.index(b"20261124115900Z")
    der[at + 13] ^= 1
    refused(bytes(der), "signature is not that of")


def test_a_responder_among_too_many_certificates_is_not_found():
    others = tuple(ROOT.issue(f"CN={number}").certificate for number in range(module.MAX_RESPONDER_CERTIFICATES))
    last = response(ALICE, ROOT, signer=RESPONDER, certificates=(*others[1:], RESPONDER.certificate))
    assert verify(last).status is Status.GOOD
    refused(response(ALICE, ROOT, signer=RESPONDER, certificates=(*others, RESPONDER.certificate)), NOT_OURS)


def test_keys_and_digests_that_can_be_forged_are_refused():
    small = Ca.make(key=rsa_key(1024))
    refused(response(ALICE, small), "the responder has an RSA key of 1024 bits, below 2048", issuer=small)
    odd = Ca.make(key=ec_key())

    class Dsa:
        """An issuer whose key no CA of ours has."""

        subject = odd.certificate.subject

        def public_key(self):
            return dsa_key().public_key()

    class Response:
        signature_hash_algorithm = hashes.SHA1()  # noqa: S303 - refused
        signature = tbs_response_bytes = b""

    with pytest.raises(OcspError, match="a digest that is too weak"):
        module._check_key(Response(), odd.certificate)
    Response.signature_hash_algorithm = hashes.SHA256()
    with pytest.raises(OcspError, match="neither RSA, EC nor Ed25519"):
        module._check_key(Response(), Dsa())
    Response.signature_hash_algorithm = None
    with pytest.raises(OcspError, match="of a kind that is not supported"):
        module._check_key(Response(), odd.certificate)


def test_an_answer_about_somebody_else_is_none():
    bob = ROOT.issue("CN=bob")
    refused(response(bob, ROOT), "about another certificate")
    twin = OTHER.issue("CN=twin", serial=ALICE.certificate.serial_number)
    refused(response(twin, OTHER, signer=RESPONDER, certificates=(RESPONDER.certificate,)), "about another certificate")
    renamed = Ca.make("CN=Renamed", key=ROOT.key)
    twin = renamed.issue("CN=twin", serial=ALICE.certificate.serial_number)
    refused(response(twin, renamed, signer=ROOT), "about another certificate")
    refused(response(ALICE, ROOT, digest=hashes.SHA224()), "about another certificate")


def test_of_several_answers_about_one_certificate_the_worst_counts():
    class Single:
        """As `cryptography` reads one; it writes only one."""

        this_update_utc, next_update_utc, revocation_time_utc = NOW, NOW + DAY, None
        serial_number = ALICE.certificate.serial_number
        hash_algorithm = hashes.SHA256()

        def __init__(self, status, reason=None):
            self._reason = reason
            asked = ocsp.load_der_ocsp_request(request_for(ALICE.certificate, ROOT.certificate, hashes.SHA256()))
            self.issuer_name_hash, self.issuer_key_hash = asked.issuer_name_hash, asked.issuer_key_hash
            self.certificate_status = status

        @property
        def revocation_reason(self):
            if self._reason == "unreadable":
                raise ValueError("reason")
            return self._reason

    def answer(*singles):
        return module._worst(singles, ALICE.certificate, ROOT.certificate, NOW)

    def worst(*statuses):
        return answer(*map(Single, statuses)).status

    assert worst(GOOD, REVOKED, UNKNOWN) is Status.REVOKED
    assert worst(UNKNOWN, GOOD) is Status.UNKNOWN
    assert worst(GOOD, GOOD) is Status.GOOD
    held, for_good = Single(REVOKED, x509.ReasonFlags.certificate_hold), Single(REVOKED)
    assert answer(held, Single(UNKNOWN)).is_on_hold
    for both in ((held, for_good), (for_good, held)):
        assert not answer(*both).is_on_hold
    unreadable = answer(Single(REVOKED, "unreadable"))
    assert (unreadable.status, unreadable.is_on_hold) == (Status.REVOKED, False)


def test_an_answer_counts_between_its_dates_with_some_skew():
    der = response(ALICE, ROOT, this_update=NOW, next_update=NOW + DAY)
    for now in (NOW - SKEW, NOW, NOW + DAY, NOW + DAY + SKEW):
        assert verify(der, now=now).status is Status.GOOD
    refused(der, "not valid before 2026-11-24 12:00:00 UTC", now=NOW - SKEW - timedelta(seconds=1))
    refused(der, "expired 2026-11-25 12:00:00 UTC", now=NOW + DAY + SKEW + timedelta(seconds=1))


def test_how_long_an_answer_is_remembered():
    hour, minute = timedelta(hours=1), MINUTE
    lasting = response(ALICE, ROOT, this_update=NOW, next_update=NOW + DAY)
    assert verify(lasting).until == NOW + hour
    assert verify(lasting, now=NOW + DAY - 2 * minute).until == NOW + DAY
    assert verify(lasting, now=NOW + DAY + minute).until == NOW + DAY + 2 * minute
    undated = response(ALICE, ROOT, this_update=NOW, next_update=None)
    assert verify(undated).until == NOW + minute
    last = NOW + timedelta(seconds=module.MAX_AGE_SECONDS) + SKEW
    assert verify(undated, now=last).until == last + minute
    refused(undated, "expired", now=last + timedelta(seconds=1))


@pytest.mark.parametrize("status", [each for each in ocsp.OCSPResponseStatus if each.value])
def test_a_responder_that_says_it_cannot_answer_has_not(status):
    der = ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(module.Encoding.DER)
    refused(der, f"answered {status.name.lower()}")


@pytest.mark.parametrize(
    "der", [b"", b"rubbish", b"\x30\x03\x0a\x01\x00", b"<html></html>", response(ALICE, ROOT)[:-9]]
)
def test_what_is_no_answer_is_none(der):
    refused(der, "the answer")


def test_the_longest_answer_and_one_byte_more(monkeypatch):
    der = response(ALICE, ROOT)
    monkeypatch.setattr(module, "MAX_RESPONSE_BYTES", len(der))
    assert verify(der).status is Status.GOOD
    monkeypatch.setattr(module, "MAX_RESPONSE_BYTES", len(der) - 1)
    refused(der, "longer than")


def test_a_critical_extension_that_nobody_knows():
    def extended(is_critical):
        return response(ALICE, ROOT, extensions=((x509.OCSPNonce(b"12345678"), is_critical),))

    assert verify(extended(False)).status is Status.GOOD
    refused(extended(True), "critical extension")


def test_the_responder_that_a_certificate_names():
    def url_of(*urls):
        return responder_url(ROOT.issue(extensions=[named(*urls)]).certificate)

    assert url_of("ldap://ldap.example.com/", "http://ocsp.example.com/a?b") == "http://ocsp.example.com/a?b"
    for urls in (
        (),
        ("ftp://a/",),
        ("http:///a",),
        ("http://a:0/",),
        ("http://u:p@a/",),
        ("http://a:x/",),
        ("file:///a",),
    ):
        with pytest.raises(OcspError, match="names no OCSP responder"):
            url_of(*urls) if urls else responder_url(ALICE.certificate)
    longest = "http://a/" + "x" * (module.MAX_URL_CHARACTERS - 9)
    assert url_of(longest) == longest
    with pytest.raises(OcspError):
        url_of(longest + "x")


def test_other_ways_to_information_are_no_responder():
    issuers = x509.AccessDescription(
        AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("http://a/ca.crt")
    )
    by_name = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.DNSName("ocsp.example.com"))
    leaf = ROOT.issue(extensions=[(x509.AuthorityInformationAccess([issuers, by_name]), False)])
    with pytest.raises(OcspError, match="names no OCSP responder"):
        responder_url(leaf.certificate)
