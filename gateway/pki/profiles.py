"""The contents of each kind of certificate. Names and uses come from the desk, never from a signing request.

People's certificates follow the CA/Browser Forum's S/MIME requirements (version 1.0.16, section 7.1.2.3), servers'
and OCSP signers' RFC 5280 and RFC 6960. Serials are 159 random bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID, ObjectIdentifier

from gateway.pki import uses
from gateway.pki.keys import PrivateKey, PublicKey, signature_hash
from gateway.pki.registry.records import AuthorityRecord, Purpose
from gateway.x509.fields import extensions_of

UPN_OID: Final = ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
# A phone or server whose clock is a little slow must not read a new certificate or list as one that begins later.
BACKDATE: Final = timedelta(minutes=5)

Extensions = list[tuple[x509.ExtensionType, bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """The two dates of a certificate, aware UTC."""

    not_before: datetime
    not_after: datetime

    @classmethod
    def of_days(cls, now: datetime, days: int) -> Validity:
        """From `BACKDATE` before `now` until `days` after it."""
        start = now.replace(microsecond=0)
        return cls(not_before=start - BACKDATE, not_after=start + timedelta(days=days))


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The names in a certificate."""

    common_name: str
    organization: str | None = None
    department: str | None = None
    country: str | None = None
    email: str | None = None
    upn: str | None = None
    hosts: tuple[x509.GeneralName, ...] = ()

    @property
    def subject(self) -> x509.Name:
        """The distinguished name, most general first."""
        attributes = (
            (NameOID.COUNTRY_NAME, self.country),
            (NameOID.ORGANIZATION_NAME, self.organization),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, self.department),
            (NameOID.COMMON_NAME, self.common_name),
        )
        return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes if value is not None])

    @property
    def alternatives(self) -> list[x509.GeneralName]:
        """The subject alternative names."""
        names: list[x509.GeneralName] = list(self.hosts)
        if self.email is not None:
            names.append(x509.RFC822Name(self.email))
        if self.upn is not None:
            names.append(x509.OtherName(UPN_OID, asn1.encode_der(self.upn)))
        return names


def authority_certificate(
    *,
    subject: x509.Name,
    key: PrivateKey,
    validity: Validity,
    constraint: x509.NameConstraints | None,
    limit: x509.ExtendedKeyUsage | None,
    issuer: tuple[x509.Certificate, PrivateKey, AuthorityRecord] | None,
) -> x509.Certificate:
    """A self-signed root's certificate; or an intermediate's, which may not sign further authorities."""
    public = key.public_key()
    extensions: Extensions = [
        (x509.BasicConstraints(ca=True, path_length=None if issuer is None else 0), True),
        (_key_usage(key_cert_sign=True, crl_sign=True), True),
        (x509.SubjectKeyIdentifier.from_public_key(public), False),
    ]
    if constraint is not None:
        extensions.append((constraint, True))
    if limit is not None:
        extensions.append((limit, False))
    signer: PrivateKey = key
    issuer_name = subject
    if issuer is not None:
        certificate, signer, record = issuer
        issuer_name = certificate.subject
        extensions += [(authority_key_identifier(certificate), False), *_pointers(record)]
    return _sign(subject, public, issuer_name, signer, validity, extensions)


def leaf_certificate(
    *,
    purpose: Purpose,
    names: Names,
    public_key: PublicKey,
    validity: Validity,
    issuer: tuple[x509.Certificate, PrivateKey, AuthorityRecord],
) -> x509.Certificate:
    """A certificate for a person, a server or an OCSP signer."""
    certificate, signer, record = issuer
    extensions: Extensions = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (key_usage(purpose, public_key), True),
        (x509.ExtendedKeyUsage(uses.OF_PURPOSE[purpose]), False),
        (x509.SubjectKeyIdentifier.from_public_key(public_key), False),
        (authority_key_identifier(certificate), False),
    ]
    if names.alternatives:
        extensions.append((x509.SubjectAlternativeName(names.alternatives), False))
    # Clients never ask for an OCSP signer's own status (RFC 6960 section 4.2.2.2.1), so it is valid only for weeks.
    extensions += [(x509.OCSPNoCheck(), False)] if purpose is Purpose.OCSP else _pointers(record)
    return _sign(names.subject, public_key, certificate.subject, signer, validity, extensions)


def key_usage(purpose: Purpose, key: PublicKey) -> x509.KeyUsage:
    """The keyUsage for a use and a kind of key (S/MIME requirements, section 7.1.2.3 e)."""
    is_rsa = isinstance(key, rsa.RSAPublicKey)
    if purpose in (Purpose.AUTH, Purpose.SMIME_SIGNING, Purpose.OCSP):
        return _key_usage(digital_signature=True)
    if purpose is Purpose.SMIME_ENCRYPTION:
        return _key_usage(key_encipherment=is_rsa, key_agreement=not is_rsa)
    is_server_ec = purpose is Purpose.SERVER and not is_rsa  # a TLS server's EC key only signs key shares
    return _key_usage(digital_signature=True, key_encipherment=is_rsa, key_agreement=not is_rsa and not is_server_ec)


def authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """The key identifier in the issuer's certificate; if it has none, one that is derived from its key."""
    try:
        own = extensions_of(issuer).get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _pointers(issuer: AuthorityRecord) -> Extensions:
    """The extensions with the URLs of the issuer's revocation list, certificate and OCSP responder."""
    found: Extensions = []
    if issuer.crl_url is not None:
        point = x509.DistributionPoint(
            full_name=[x509.UniformResourceIdentifier(issuer.crl_url)],
            relative_name=None,
            reasons=None,
            crl_issuer=None,
        )
        found.append((x509.CRLDistributionPoints([point]), False))
    places = (
        (AuthorityInformationAccessOID.OCSP, issuer.ocsp_url),
        (AuthorityInformationAccessOID.CA_ISSUERS, issuer.issuer_url),
    )
    access = [x509.AccessDescription(oid, x509.UniformResourceIdentifier(url)) for oid, url in places if url]
    if access:
        found.append((x509.AuthorityInformationAccess(access), False))
    return found


def _key_usage(**wanted: bool) -> x509.KeyUsage:
    every = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: wanted.get(name, False) for name in every})


def _sign(
    subject: x509.Name,
    key: PublicKey,
    issuer: x509.Name,
    signer: PrivateKey,
    validity: Validity,
    extensions: Extensions,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.not_before)
        .not_valid_after(validity.not_after)
    )
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, critical=is_critical)
    return builder.sign(signer, signature_hash(signer))
