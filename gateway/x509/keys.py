"""Compares keys: whether two are the same, and whether one made a certificate's signature."""

from __future__ import annotations

from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.x509.unreadable import UNREADABLE

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

# The cost of checking a signature; the unit is a check with P-256, which takes 70 µs (OpenSSL 4.0). P-384 takes 490 µs,
# Ed25519 105 µs, Ed448 200 µs, RSA 2048 22 µs, and RSA 4096 68 µs, growing with the square of the size.
_UNITS_OF_CURVE: Final = {"secp256r1": 1}
_UNITS_OF_OTHER_CURVE: Final = 7
_UNITS_OF_ED25519: Final = 2
_UNITS_OF_ED448: Final = 3
_RSA_BITS_OF_A_UNIT: Final = 4096


def units_of_check(key: Any) -> int:
    """The cost of checking a signature with this key, valid or not: 1 for P-256, 7 for P-384."""
    match key:
        case rsa.RSAPublicKey():
            return max(1, round((key.key_size / _RSA_BITS_OF_A_UNIT) ** 2))
        case ec.EllipticCurvePublicKey():
            return _UNITS_OF_CURVE.get(key.curve.name, _UNITS_OF_OTHER_CURVE)
        case ed25519.Ed25519PublicKey():
            return _UNITS_OF_ED25519
        case ed448.Ed448PublicKey():
            return _UNITS_OF_ED448
        case _:
            return 0  # see `has_signed`


def spki(key: Any) -> bytes:
    """A public key's SubjectPublicKeyInfo, DER (RFC 5280 section 4.1.2.7)."""
    data: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return data


def are_equal(one: Any, other: Any) -> bool:
    """True if two public keys are the same."""
    return spki(one) == spki(other)


def fits(key: Any, certificate: x509.Certificate) -> bool:
    """True if the private key belongs to the certificate; False if the certificate's key can't be read."""
    try:
        return are_equal(key.public_key(), certificate.public_key())
    except UNREADABLE:
        return False


def has_issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    """True if the certificate names the issuer and the issuer's key made its signature."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except UNREADABLE:
        return False
    return True


def has_signed(key: Any, certificate: x509.Certificate) -> bool:
    """True if this public key made the certificate's signature; names aren't compared. False for DSA keys."""
    try:
        signature, signed = certificate.signature, certificate.tbs_certificate_bytes
        parameters: Any = certificate.signature_algorithm_parameters  # `verify` refuses those of another kind of key
        digest: Any = certificate.signature_hash_algorithm
        match key:
            case rsa.RSAPublicKey():
                key.verify(signature, signed, parameters, digest)
            case ec.EllipticCurvePublicKey():
                key.verify(signature, signed, parameters)
            case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
                key.verify(signature, signed)
            case _:
                return False
    except UNREADABLE:
        return False
    return True
