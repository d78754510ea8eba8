"""Whether the certificates, keys and revocation lists a file names can do what they are named for.

Expired and ill-fitting material is an error before it meets a client; what will bite soon is a warning.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.config.files import (
    fingerprint_of,
    is_readable_by_all,
    load_certificates,
    load_private_key,
    load_revocation_lists,
)
from gateway.config.permissions import Permissions
from gateway.config.problems import Place, Problems, quote
from gateway.config.reading import Value
from gateway.errors import ConfigError
from gateway.x509.fields import extensions_of, issuer_of, subject_of
from gateway.x509.unreadable import UNREADABLE

EXPIRY_WARNING_DAYS: Final = 30  # a month is enough for every CA's paperwork
RSA_MINIMUM_BITS: Final = 2048  # what OpenSSL takes at its default security level 2
_WEAK_HASHES: Final = (hashes.SHA1, hashes.MD5)
_LIST_SIGNERS: Final = (
    rsa.RSAPublicKey,
    ec.EllipticCurvePublicKey,
    ed25519.Ed25519PublicKey,
    ed448.Ed448PublicKey,
)

Certificates = tuple[x509.Certificate, ...]


class Material:
    """Reads the files that a configuration names, relative to its folder, and judges them at `now`."""

    def __init__(self, folder: Path, now: datetime, problems: Problems) -> None:
        self.folder = folder
        self._now = now
        self._problems = problems
        self.permissions = Permissions(problems)

    def path(self, value: Value) -> Path:
        """The absolute path of a file name; a warning where others can write there."""
        path = self.folder / str(value.data)
        self.permissions.check(path, value.place)
        return path

    def certificates(self, value: Value) -> Certificates | None:
        """Every certificate of a PEM file; None (and reported) where there is none to be had."""
        try:
            return load_certificates(self.path(value))
        except ConfigError as error:
            self._problems.error(value.place, error.cause, error.remedy)
            return None

    def authorities(self, value: Value) -> Certificates | None:
        """The CA certificates of a file that are trust anchors."""
        found = self.certificates(value)
        for certificate in found or ():
            if not is_authority(certificate):
                self._problems.error(
                    value.place,
                    f"{name_of(certificate)} is not a CA certificate",
                    "name the certificate of the CA that issued the clients' certificates",
                )
            elif (cause := self._outdated(certificate)) is not None:
                self._problems.outdated(value.place, f"the CA {name_of(certificate)} {cause}", "replace or remove it")
            elif weakness_of_key(certificate) is not None:
                self._problems.warning(
                    value.place,
                    f"the CA {name_of(certificate)} has {weakness_of_key(certificate)}: what it issued is not trusted",
                    "make a new CA with RSA-2048, P-256 or better",
                )
        return found

    def identity(
        self, certificate: Value, key: Value | None, password: str | None, *, may_be_encrypted: bool = True
    ) -> Certificates | None:
        """A certificate with its key, as shown in a TLS handshake; None (and reported) where they don't fit."""
        chain = self.certificates(certificate)
        public_key = self._public_key(key, password, may_be_encrypted=may_be_encrypted) if key is not None else None
        if chain is None:
            return None
        if key is None or public_key is None or public_key == _spki(chain[0]):
            self._leaf(chain, certificate.place)
            return chain
        if any(public_key == _spki(other) for other in chain[1:]):
            cause = "the key's certificate is not the first in its file"
            self._problems.error(certificate.place, cause, "put the leaf first, its intermediates after it")
        else:
            remedy = "name the key with which the certificate was requested"
            self._problems.error(key.place, f"the key does not fit {quote(certificate.written)}", remedy)
        return None

    def revocation_lists(self, value: Value, anchors: Certificates) -> tuple[x509.CertificateRevocationList, ...]:
        """The current lists of a file; `anchors` are the CAs whose signature can be checked."""
        try:
            found = load_revocation_lists(self.path(value))
        except ConfigError as error:
            self._problems.error(value.place, error.cause, error.remedy)
            return ()
        for crl in found:
            end = crl.next_update_utc
            if end is not None and end <= self._now:
                cause = f"the list of {quote(issuer_of(crl).rfc4514_string())} expired {_date(end)}"
                self._problems.outdated(value.place, cause, "fetch or issue a new one")
            elif crl.last_update_utc > self._now:
                cause = f"the list of {quote(issuer_of(crl).rfc4514_string())} begins {_date(crl.last_update_utc)}"
                self._problems.outdated(value.place, cause, "check the clock, or fetch the current one")
            issuers = [anchor for anchor in anchors if subject_of(anchor) == issuer_of(crl)]
            if issuers and not any(_signed(crl, issuer) for issuer in issuers):
                cause = f"the list is not signed by the key of {name_of(issuers[0])}"
                self._problems.error(value.place, cause, "fetch or issue it again")
        return found

    def _leaf(self, chain: Certificates, place: Place) -> None:
        leaf = chain[0]
        renewed = "renew it"
        if (cause := self._outdated(leaf)) is not None:
            self._problems.outdated(place, f"the certificate {cause}", renewed)
        elif leaf.not_valid_after_utc - self._now < timedelta(days=EXPIRY_WARNING_DAYS):
            self._problems.warning(place, f"the certificate expires {_date(leaf.not_valid_after_utc)}", renewed)
        weakness = weakness_of_key(leaf)
        if weakness is None and is_weakly_signed(leaf):
            weakness = "a SHA-1, MD5 or unknown signature"
        if weakness is not None:
            self._problems.error(place, f"the certificate has {weakness}", "issue it anew: RSA-2048 or P-256, SHA-256")
        for issued, issuer in pairwise(chain):
            if issuer_of(issued) != subject_of(issuer):
                cause = f"{name_of(issuer)} did not issue {name_of(issued)}, which stands before it"
                self._problems.warning(place, cause, "put the leaf first and every issuer after what it issued")

    def _public_key(self, value: Value, password: str | None, *, may_be_encrypted: bool) -> bytes | None:
        path = self.path(value)
        try:
            key = load_private_key(path, password, may_be_encrypted=may_be_encrypted)
        except ConfigError as error:
            self._problems.error(value.place, error.cause, error.remedy)
            return None
        if is_readable_by_all(path):
            self._problems.warning(value.place, f"{path} is readable by everybody", f"chmod o= {path.name}")
        return _key_bytes(key.public_key())

    def _outdated(self, certificate: x509.Certificate) -> str | None:
        if certificate.not_valid_after_utc < self._now:
            return f"expired {_date(certificate.not_valid_after_utc)}"
        if certificate.not_valid_before_utc > self._now:
            return f"is not valid before {_date(certificate.not_valid_before_utc)}"
        return None


def is_authority(certificate: x509.Certificate) -> bool:
    """True for a CA's certificate. X.509v1 has no mark for that: its self-issued ones count, as old roots are."""
    if certificate.version is x509.Version.v1:
        return issuer_of(certificate) == subject_of(certificate)
    try:
        extensions = extensions_of(certificate)
        if not extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
    except UNREADABLE:
        return False
    try:
        return extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


def is_constrained(certificate: x509.Certificate) -> bool:
    """True for a CA with name constraints of any kind."""
    try:
        extensions_of(certificate).get_extension_for_class(x509.NameConstraints)
    except UNREADABLE:
        return False
    return True


def weakness_of_key(certificate: x509.Certificate) -> str | None:
    """Why TLS refuses the certificate's key; None where it doesn't."""
    try:
        key = certificate.public_key()
    except UNREADABLE:
        return "a key that cannot be read"
    match key:
        case rsa.RSAPublicKey() if key.key_size < RSA_MINIMUM_BITS:
            return f"an RSA key of {key.key_size} bits"
        case ec.EllipticCurvePublicKey() if not isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1):
            return f"a key on the curve {key.curve.name}"
        case rsa.RSAPublicKey() | ec.EllipticCurvePublicKey() | ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            return None
        case _:
            return "a key of a kind that TLS does not use"


def is_weakly_signed(certificate: x509.Certificate) -> bool:
    """True for a SHA-1 or MD5 signature, or an unknown one, that matters: not that of a self-signed certificate."""
    if issuer_of(certificate) == subject_of(certificate):
        return False
    try:
        return isinstance(certificate.signature_hash_algorithm, _WEAK_HASHES)
    except UNREADABLE:
        return True


def uncovered_hosts(certificate: x509.Certificate, hosts: tuple[str, ...]) -> tuple[str, ...]:
    """Those of a site's hosts for which browsers would not accept the certificate (RFC 9525); never `*`."""
    try:
        san = extensions_of(certificate).get_extension_for_class(x509.SubjectAlternativeName).value
        names = {name.lower() for name in san.get_values_for_type(x509.DNSName)}
        addresses = {str(address) for address in san.get_values_for_type(x509.IPAddress)}
    except UNREADABLE:
        names, addresses = set(), set()

    def is_covered(host: str) -> bool:
        if host == "*" or host in names:
            return True
        if _is_address(bare := host.strip("[]")):
            return bare in addresses
        return not host.startswith("*.") and f"*.{host.partition('.')[2]}" in names

    return tuple(host for host in hosts if not is_covered(host))


def descends(certificate: x509.Certificate, authorities: Certificates) -> bool:
    """True where `certificate` is one of `authorities`, or signed by one."""
    return any(
        fingerprint_of(certificate) == fingerprint_of(authority) or _issued(certificate, authority)
        for authority in authorities
    )


def name_of(certificate: x509.Certificate) -> str:
    """A certificate for a message: its subject."""
    return quote(subject_of(certificate).rfc4514_string() or "(no subject)")


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except UNREADABLE:
        return False
    return True


def _signed(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    try:
        key = issuer.public_key()
        return isinstance(key, _LIST_SIGNERS) and crl.is_signature_valid(key)
    except UNREADABLE:
        return False


def _spki(certificate: x509.Certificate) -> bytes | None:
    try:
        return _key_bytes(certificate.public_key())
    except UNREADABLE:
        return None


def _key_bytes(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _date(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
