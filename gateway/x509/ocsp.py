"""Makes OCSP requests and verifies OCSP answers, as bytes.

Keeps true: an answer is accepted only if the certificate's issuer signed it, or a responder that this
issuer certified for OCSP; if it is about exactly this certificate; and if it is current. Anything else is an
`OcspError`, never "good". If the responder says that it doesn't know the certificate, that is an answer, but not
"good".

No nonce is sent: responders that sign answers in advance can't return it, and a nonce that may be missing proves
nothing. As with a revocation list, an attacker can replay an old answer until its nextUpdate.

Sources: RFC 6960 sections 2.4, 3.2, 4.1 and 4.2; RFC 5019 section 2; RFC 5280 section 4.2.2.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, SignatureAlgorithmOID

from gateway.errors import GatewayError
from gateway.x509.der import SEQUENCE, content_of, elements
from gateway.x509.fields import extensions_of, subject_bytes, subject_of
from gateway.x509.keys import has_issued
from gateway.x509.loading import tolerated_serials
from gateway.x509.status import Status
from gateway.x509.strength import weakness_of, weakness_of_digest, weakness_of_signature
from gateway.x509.unreadable import UNREADABLE, in_words

# A signed answer with the responder's certificate has 2 KiB; with a post-quantum signature 20.
MAX_RESPONSE_BYTES: Final = 64 * 1024
# Certificates in an answer that are read; the responder's own is enough.
MAX_RESPONDER_CERTIFICATES: Final = 4
MAX_URL_CHARACTERS: Final = 2048
# Responders' clocks may be wrong; that must not lock out users.
CLOCK_SKEW_SECONDS: Final = 300.0
# Maximum age of an answer without nextUpdate: such a responder says that newer information is always available.
MAX_AGE_SECONDS: Final = 3600.0
# A revocation must be noticed within an hour, even if answers are valid for longer.
MAX_REMEMBERED_SECONDS: Final = 3600.0
# An answer without nextUpdate is valid only now, but asking for each request would be too much.
UNDATED_REMEMBERED_SECONDS: Final = 60.0

# In a CertID the digests only name the issuer, so SHA-1 is good enough.
_ID_DIGESTS: Final = (hashes.SHA1, hashes.SHA256, hashes.SHA384, hashes.SHA512)
_BY_NAME: Final = 0xA1  # the ResponderID that is a name
_STATUSES: Final = {
    ocsp.OCSPCertStatus.GOOD: Status.GOOD,
    ocsp.OCSPCertStatus.REVOKED: Status.REVOKED,
    ocsp.OCSPCertStatus.UNKNOWN: Status.UNKNOWN,
}


class OcspError(GatewayError):
    """There is no valid answer."""


@dataclass(frozen=True, slots=True)
class OcspAnswer:
    """What a responder said about one certificate."""

    status: Status
    detail: str
    this_update: datetime  # the time of the status; the newer of two answers is used
    until: datetime  # when to ask again
    is_on_hold: bool = False  # revoked, and may be released again


def request_for(
    leaf: x509.Certificate, issuer: x509.Certificate, digest: hashes.SHA1 | hashes.SHA256 | None = None
) -> bytes:
    """A request for one certificate; by default with SHA-1 in the CertID, as some responders need (RFC 5019)."""
    try:
        with tolerated_serials():
            builder = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, digest or hashes.SHA1())  # noqa: S303
            return builder.build().public_bytes(Encoding.DER)
    except UNREADABLE as error:
        raise OcspError(f"no request can be made for this certificate ({in_words(error)})") from error


def responder_url(leaf: x509.Certificate) -> str:
    """The http(s) responder that the certificate names. Raises `OcspError` if it names none."""
    try:
        for description in extensions_of(leaf).get_extension_for_class(x509.AuthorityInformationAccess).value:
            location = description.access_location
            if description.access_method == AuthorityInformationAccessOID.OCSP and _is_usable(location):
                return str(location.value)
    except UNREADABLE:
        pass
    raise OcspError("the certificate names no OCSP responder", "write ocsp: {responder: http://…}")


def _is_usable(location: x509.GeneralName) -> bool:
    if not isinstance(location, x509.UniformResourceIdentifier) or len(location.value) > MAX_URL_CHARACTERS:
        return False
    try:
        parts = urlsplit(location.value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:
        return False


def verify_response(der: bytes, leaf: x509.Certificate, issuer: x509.Certificate, now: datetime) -> OcspAnswer:
    """What an answer says about `leaf`, issued by `issuer`, at `now`. Raises `OcspError` if it isn't valid."""
    if len(der) > MAX_RESPONSE_BYTES:
        raise OcspError(f"the answer is longer than {MAX_RESPONSE_BYTES} bytes")
    try:
        with tolerated_serials():
            return _verify(der, leaf, issuer, now)
    except InvalidSignature as error:
        raise OcspError("the answer's signature is not that of the responder it names") from error
    except UNREADABLE as error:
        raise OcspError("the answer is not readable") from error


def _verify(der: bytes, leaf: x509.Certificate, issuer: x509.Certificate, now: datetime) -> OcspAnswer:
    response = ocsp.load_der_ocsp_response(der)
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise OcspError(f"the responder answered {response.response_status.name.lower()}")
    _check_signature(response, issuer, now)
    if any(extension.critical for extension in response.extensions):
        raise OcspError("the answer has a critical extension that is not supported")
    return _worst(response.responses, leaf, issuer, now)


def _worst(
    singles: Iterable[ocsp.OCSPSingleResponse], leaf: x509.Certificate, issuer: x509.Certificate, now: datetime
) -> OcspAnswer:
    """The answer about `leaf`; if there are several, which is unusual, the worst one."""
    answers = [_answer(single, now) for single in singles if _is_about(single, leaf, issuer)]
    if not answers:
        raise OcspError("the answer is about another certificate")
    return max(answers, key=_badness)


def _badness(answer: OcspAnswer) -> tuple[bool, bool, bool]:
    return answer.status is Status.REVOKED, not answer.is_on_hold, answer.status is Status.UNKNOWN


def _check_signature(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: datetime) -> None:
    for signer in _signers(response, issuer, now):
        if _is_named(response, signer):
            _check_key(response, signer)
            return
    raise OcspError("the answer was signed neither by the CA nor by a responder that the CA certified")


def _signers(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: datetime) -> Iterator[x509.Certificate]:
    """Who may sign: the issuer itself, and responders it certified with id-kp-OCSPSigning (RFC 6960 4.2.2.2)."""
    yield issuer
    for certificate in response.certificates[:MAX_RESPONDER_CERTIFICATES]:
        if not has_issued(issuer, certificate):
            continue
        try:
            usages = extensions_of(certificate).get_extension_for_class(x509.ExtendedKeyUsage).value
        except UNREADABLE:
            continue
        is_valid = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
        if is_valid and ExtendedKeyUsageOID.OCSP_SIGNING in usages and weakness_of_signature(certificate) is None:
            yield certificate


def _is_named(response: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    """True if the ResponderID is the signer's subject or the SHA-1 of its key (RFC 6960 section 4.2.1)."""
    if response.responder_key_hash is not None:
        return response.responder_key_hash == x509.SubjectKeyIdentifier.from_public_key(signer.public_key()).digest
    try:
        return response.responder_name == subject_of(signer)
    except UNREADABLE:  # a TeletexString
        parts = elements(content_of(response.tbs_response_bytes, SEQUENCE))
        return [content for tag, content, _ in parts if tag == _BY_NAME] == [subject_bytes(signer)]


def _check_key(response: ocsp.OCSPResponse, signer: x509.Certificate) -> None:
    """Raises `OcspError` for a weak key or digest, and `InvalidSignature`."""
    key, digest = signer.public_key(), response.signature_hash_algorithm
    signature, signed = response.signature, response.tbs_response_bytes
    if weakness_of_digest(digest) is not None:
        raise OcspError("the answer is signed with a digest that is too weak", "let the responder use SHA-256")
    if weakness := weakness_of(key):
        raise OcspError(f"the responder has {weakness}", "give the responder an RSA key of 2048 bits or a P-256 key")
    match key:
        case rsa.RSAPublicKey() if (
            digest is not None and response.signature_algorithm_oid != SignatureAlgorithmOID.RSASSA_PSS
        ):
            key.verify(signature, signed, padding.PKCS1v15(), digest)
        case ec.EllipticCurvePublicKey() if digest is not None:
            key.verify(signature, signed, ec.ECDSA(digest))
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            key.verify(signature, signed)
        case _:
            raise OcspError("the responder's key or its signature is of a kind that is not supported")


def _is_about(single: ocsp.OCSPSingleResponse, leaf: x509.Certificate, issuer: x509.Certificate) -> bool:
    """True if the CertID is this certificate's (RFC 6960 section 4.1.1)."""
    digest = single.hash_algorithm
    if single.serial_number != leaf.serial_number or not isinstance(digest, _ID_DIGESTS):
        return False
    asked = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, digest).build()
    return single.issuer_name_hash == asked.issuer_name_hash and single.issuer_key_hash == asked.issuer_key_hash


def _answer(single: ocsp.OCSPSingleResponse, now: datetime) -> OcspAnswer:
    skew = timedelta(seconds=CLOCK_SKEW_SECONDS)
    since, end = single.this_update_utc, single.next_update_utc
    if since > now + skew:
        raise OcspError(f"the answer is not valid before {since:%Y-%m-%d %H:%M:%S} UTC")
    if end is None:
        last, remembered = since + timedelta(seconds=MAX_AGE_SECONDS), UNDATED_REMEMBERED_SECONDS
    else:
        last, remembered = end, MAX_REMEMBERED_SECONDS
    if now > last + skew:
        raise OcspError(f"the answer expired {last:%Y-%m-%d %H:%M:%S} UTC")
    until = now + timedelta(seconds=remembered)
    if end is not None:
        # An answer that ended less than the skew ago is remembered too, or every request would ask again.
        until = min(until, max(end, now + timedelta(seconds=UNDATED_REMEMBERED_SECONDS)))
    status = _STATUSES[single.certificate_status]
    is_on_hold = status is Status.REVOKED and _is_on_hold(single)
    return OcspAnswer(status, _words(status, single, is_on_hold=is_on_hold), since, until, is_on_hold)


def _is_on_hold(single: ocsp.OCSPSingleResponse) -> bool:
    """False if the reason can't be read: then the certificate is revoked."""
    try:
        return single.revocation_reason is x509.ReasonFlags.certificate_hold
    except UNREADABLE:
        return False


def _words(status: Status, single: ocsp.OCSPSingleResponse, *, is_on_hold: bool) -> str:
    match status:
        case Status.REVOKED if single.revocation_time_utc is not None:
            what = "put on hold" if is_on_hold else "revoked"
            return f"{what} {single.revocation_time_utc:%Y-%m-%d %H:%M:%S} UTC, according to the OCSP responder"
        case Status.UNKNOWN:
            return "the OCSP responder does not know the certificate"
        case _:
            return "good, according to the OCSP responder"
