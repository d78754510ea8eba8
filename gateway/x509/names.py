"""Reads the names of a client certificate's holder.

Keeps true: a name that reaches a rule, a header or a log line contains no control character and was
decoded in the only way that its DER allows. A certificate with any other name is refused as a whole with
`IdentityError`: if two programs read a name differently, a client can get another identity (CVE-2009-2408: a NUL in a
CN).

Sources: RFC 5280 (4.1.2, 4.2.1.6), RFC 4514, RFC 4985 and MS-WCCE for the user principal name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID, ObjectIdentifier

from gateway.errors import GatewayError
from gateway.facts import Identity
from gateway.x509.fields import extensions_of, latin1_copy
from gateway.x509.loading import tolerated_serials
from gateway.x509.raw_names import count_names, count_parts
from gateway.x509.serials import serial_text
from gateway.x509.unreadable import UNREADABLE

# A person's certificate has 1 to 3 KiB; a qualified one with policies and hashes of pictures may have 8.
MAX_CERTIFICATE_BYTES: Final = 32 * 1024
# Names in one certificate, subject and SAN together: each is matched against rules and may become a header. Each
# attribute of a directoryName counts as a name.
MAX_NAMES: Final = 256
# In smaller certificates, names are read before they are counted, which is quicker.
_FEW_NAMES_BYTES: Final = 1024
# Limits up to which a certificate of an unknown CA is read for the log, because that costs little.
MAX_STRANGERS_BYTES: Final = 3 * 1024
MAX_STRANGERS_PARTS: Final = 48  # names, attributes of the issuer, and extensions

_UPN: Final = ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
_UTF8_STRING: Final = 0x0C
# Short names as `openssl` prints them, in addition to those of RFC 4514 that `cryptography` knows.
_SHORT_NAMES: Final = {
    NameOID.EMAIL_ADDRESS: "emailAddress",
    NameOID.SERIAL_NUMBER: "serialNumber",
    NameOID.SURNAME: "SN",
    NameOID.GIVEN_NAME: "GN",
    NameOID.TITLE: "title",
    NameOID.INITIALS: "initials",
    NameOID.PSEUDONYM: "pseudonym",
    NameOID.DN_QUALIFIER: "dnQualifier",
    NameOID.GENERATION_QUALIFIER: "generationQualifier",
    NameOID.POSTAL_CODE: "postalCode",
    NameOID.BUSINESS_CATEGORY: "businessCategory",
    NameOID.ORGANIZATION_IDENTIFIER: "organizationIdentifier",
}
# C0, DEL and C1 controls, line and paragraph separators, and marks that change the direction of text.
_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_MAILBOX: Final = re.compile(r"[^@\s]+@[^@\s]+")


class IdentityError(GatewayError):
    """The certificate's names can't be read safely; the certificate is not trusted."""


def load_certificate(der: bytes) -> x509.Certificate:
    """A certificate from exactly these bytes. Raises `IdentityError`."""
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise IdentityError(f"a certificate of {len(der)} bytes; the limit is {MAX_CERTIFICATE_BYTES}")
    with tolerated_serials():
        try:
            return x509.load_der_x509_certificate(der)
        except UNREADABLE as error:
            raise IdentityError("the certificate is not readable DER") from error


def identity_of(
    certificate: x509.Certificate,
    chain_der: Sequence[bytes] = (),
    path_fingerprints: frozenset[str] = frozenset(),
) -> Identity:
    """The holder that `certificate` names; the last two arguments are copied into it. Raises `IdentityError`."""
    try:
        with tolerated_serials():
            return _identity(certificate, chain_der, path_fingerprints)
    except UNREADABLE as error:
        raise IdentityError("the certificate's names, dates or extensions are not readable") from error


def fingerprint_of(certificate: x509.Certificate) -> str:
    """As `fingerprint`, of a certificate object."""
    return fingerprint(certificate.public_bytes(Encoding.DER))


def is_quickly_read(der: bytes) -> bool:
    """True if reading the certificate's names is cheap, so that it may be done for an unknown CA's certificate."""
    try:
        return len(der) <= MAX_STRANGERS_BYTES and count_parts(der, MAX_STRANGERS_PARTS) <= MAX_STRANGERS_PARTS
    except ValueError:
        return True  # reading it fails with the cause


def fingerprint(der: bytes) -> str:
    """SHA-256 over the DER, lower-case hex."""
    return sha256(der).hexdigest()


def _identity(certificate: x509.Certificate, chain_der: Sequence[bytes], path_fingerprints: frozenset[str]) -> Identity:
    der = certificate.public_bytes(Encoding.DER)
    if len(der) > _FEW_NAMES_BYTES and count_names(der, MAX_NAMES) > MAX_NAMES:
        raise IdentityError(f"the certificate holds more than {MAX_NAMES} names")
    readable = latin1_copy(certificate)
    subject, issuer = readable.subject, readable.issuer
    rdns = tuple((_short_name(attribute), _value(attribute)) for attribute in subject)
    for attribute in issuer:
        _value(attribute)
    names = _alternative_names(readable)
    if len(rdns) + len(names) > MAX_NAMES:
        raise IdentityError(f"the certificate holds more than {MAX_NAMES} names")
    common_names = [value for name, value in rdns if name == "CN"]
    mails = [name.value for name in names if isinstance(name, x509.RFC822Name)]
    mails += [value for name, value in rdns if name == "emailAddress"]
    return Identity(
        fingerprint=fingerprint(der),
        serial=serial_text(certificate.serial_number),
        subject=subject.rfc4514_string(_SHORT_NAMES),
        issuer=issuer.rfc4514_string(_SHORT_NAMES),
        rdns=rdns,
        common_name=common_names[-1] if common_names else None,
        emails=_unique(mail for mail in mails if _MAILBOX.fullmatch(mail)),
        upns=_unique(_utf8_string(n.value) for n in names if isinstance(n, x509.OtherName) and n.type_id == _UPN),
        dns_names=_unique(name.value for name in names if isinstance(name, x509.DNSName)),
        uris=_unique(name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        der=der,
        chain_der=tuple(chain_der),
        path_fingerprints=path_fingerprints,
    )


def _short_name(attribute: x509.NameAttribute[str | bytes]) -> str:
    return _SHORT_NAMES.get(attribute.oid, attribute.rfc4514_attribute_name)


def _value(attribute: x509.NameAttribute[str | bytes]) -> str:
    value = attribute.value
    if isinstance(value, bytes):  # x500UniqueIdentifier, a bit string: RFC 4514 section 2.4 writes it so
        return "#" + value.hex()
    return _checked(value)


def _checked(text: str) -> str:
    if _UNSAFE.search(text):
        raise IdentityError("a name in the certificate holds a control character")
    return text


def _alternative_names(readable: x509.Certificate) -> list[x509.GeneralName]:
    """The names in the SAN; those that are text are checked (RFC 5280 section 4.2.1.6)."""
    try:
        names = list(extensions_of(readable).get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []
    for name in names:
        if isinstance(name, x509.RFC822Name | x509.DNSName | x509.UniformResourceIdentifier):
            _checked(name.value)
        elif isinstance(name, x509.DirectoryName):
            for attribute in name.value:
                _value(attribute)
    return names


def _utf8_string(der: bytes) -> str:
    """The text of a DER UTF8String; its length was checked when the otherName around it was parsed."""
    if der[0] != _UTF8_STRING:
        raise IdentityError("the certificate's user principal name is not a UTF8String")
    length_bytes = 1 if der[1] < 0x80 else 1 + (der[1] & 0x7F)  # X.690 section 8.1.3
    return _checked(der[1 + length_bytes :].decode("utf-8"))


def _unique(values: Iterator[str]) -> tuple[str, ...]:
    """Each value once, in the order of its first appearance."""
    return tuple(dict.fromkeys(values))
