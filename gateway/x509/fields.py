"""Names and extensions of certificates, revocation lists and requests, with each TeletexString read as Latin-1.

Keeps true: a name in a TeletexString is read as OpenSSL, nginx and the programs that write it read it.
The certificate's bytes, and so its fingerprint, signature and serial, are not changed.

`cryptography` reads a TeletexString as UTF-8 and raises `ValueError` if it is not. Then a copy is made in which it is a
UTF8String, and the copy is read instead. The copy of a revocation list has no entries.

Sources: RFC 5280 appendix B on TeletexString; `ASN1_STRING_to_UTF8` of OpenSSL, which reads it byte by byte.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice
from typing import Final, overload

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.x509.der import SEQUENCE, content_of, element, elements
from gateway.x509.unreadable import UNREADABLE

# Elements visited for a copy. A certificate with twenty names has 200; visiting 2,000 takes 3 ms.
MAX_ELEMENTS: Final = 2000
# The deepest name that is read, in a distribution point, is 16 elements down.
MAX_DEPTH: Final = 24
# Copies that are kept: those of a site's CAs are needed in each handshake.
MAX_COPIES: Final = 64

_OCTET_STRING: Final = 0x04
_OBJECT_IDENTIFIER: Final = 0x06
_UTF8_STRING: Final = 0x0C
_TELETEX_STRING: Final = 0x14
_TIMES: Final = (0x17, 0x18)
_VERSION: Final = 0xA0  # left out in X.509v1
_SUBJECT: Final = 4  # after serial, algorithm, issuer and dates
_CONSTRUCTED: Final = 0x20
# An object identifier of any length followed by a TeletexString; few certificates have such bytes by chance.
_TELETEX: Final = re.compile(
    b"\\x06(?:" + b"|".join(b"\\x%02x.{%d}" % (length, length) for length in range(1, 0x80)) + b")\\x14", re.DOTALL
)


def subject_of(holder: x509.Certificate | x509.CertificateSigningRequest) -> x509.Name:
    """The subject's name. Raises one of `UNREADABLE`."""
    try:
        return holder.subject
    except UNREADABLE:
        return latin1_copy(holder).subject


def subject_bytes(certificate: x509.Certificate) -> bytes:
    """The bytes of the subject, as OpenSSL sends them; `cryptography` would re-encode them."""
    fields = list(elements(content_of(certificate.tbs_certificate_bytes, SEQUENCE)))
    if fields[0][0] == _VERSION:
        del fields[0]
    return fields[_SUBJECT][2]


def issuer_of(issued: x509.Certificate | x509.CertificateRevocationList) -> x509.Name:
    """The issuer's name. Raises one of `UNREADABLE`."""
    try:
        return issued.issuer
    except UNREADABLE:
        return latin1_copy(issued).issuer


def extensions_of(
    holder: x509.Certificate | x509.CertificateRevocationList | x509.CertificateSigningRequest,
) -> x509.Extensions:
    """The extensions, which may have names in them. Raises one of `UNREADABLE`."""
    try:
        return holder.extensions
    except UNREADABLE:
        return latin1_copy(holder).extensions


@overload
def latin1_copy(original: x509.Certificate) -> x509.Certificate: ...
@overload
def latin1_copy(original: x509.CertificateRevocationList) -> x509.CertificateRevocationList: ...
@overload
def latin1_copy(original: x509.CertificateSigningRequest) -> x509.CertificateSigningRequest: ...
def latin1_copy(
    original: x509.Certificate | x509.CertificateRevocationList | x509.CertificateSigningRequest,
) -> x509.Certificate | x509.CertificateRevocationList | x509.CertificateSigningRequest:
    """A copy to read names and extensions from; the original if it contains no TeletexString.

    The copy differs from the original even if the TeletexString is valid UTF-8. Raises one of `UNREADABLE`.
    """
    if isinstance(original, x509.Certificate):
        if not _TELETEX.search(original.tbs_certificate_bytes):
            return original
        return _certificate(original.public_bytes(Encoding.DER))
    if isinstance(original, x509.CertificateRevocationList):
        return x509.load_der_x509_crl(_rewritten(_without_entries(original)))
    return x509.load_der_x509_csr(_rewritten(original.public_bytes(Encoding.DER)))


@lru_cache(MAX_COPIES)
def _certificate(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(_rewritten(der))


def _without_entries(crl: x509.CertificateRevocationList) -> bytes:
    """The list without revokedCertificates: the SEQUENCE after its times (RFC 5280 section 5.1)."""
    signed, *rest = elements(content_of(crl.public_bytes(Encoding.DER), SEQUENCE))
    kept, last = b"", 0
    for tag, _, whole in elements(signed[1]):
        if not (tag == SEQUENCE and last in _TIMES):
            kept += whole
        last = tag
    return element(SEQUENCE, element(SEQUENCE, kept) + b"".join(whole for _, _, whole in rest))


def _rewritten(der: bytes) -> bytes:
    """The data with TeletexStrings replaced by UTF8Strings. Raises `ValueError` above `MAX_ELEMENTS`."""
    left = MAX_ELEMENTS

    def rewritten(data: bytes, around: int, depth: int) -> bytes:
        nonlocal left
        if depth > MAX_DEPTH or not _TELETEX.search(data):
            return data
        try:
            found = list(islice(elements(data), left + 1))
        except ValueError:
            return data  # an OCTET STRING that holds something else
        left -= len(found)
        if left < 0:
            raise ValueError(f"more than {MAX_ELEMENTS} elements around a TeletexString")
        if around == SEQUENCE and [tag for tag, _, _ in found] == [_OBJECT_IDENTIFIER, _TELETEX_STRING]:
            text = found[1][1].decode("latin-1")
            return found[0][2] + element(_UTF8_STRING, text.encode())
        return b"".join(
            element(tag, rewritten(content, tag, depth + 1)) if tag & _CONSTRUCTED or tag == _OCTET_STRING else whole
            for tag, content, whole in found
        )

    return rewritten(der, 0, 0)
