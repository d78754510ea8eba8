"""Finds weak keys and digests, which can be forged: for certificates of clients, servers and CAs, and for OCSP.

Sources: NIST SP 800-131A; OpenSSL's security level 2; CA/Browser Forum requirements 6.1.5.
"""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from gateway.x509.unreadable import UNREADABLE

MIN_RSA_BITS: Final = 2048  # 112 bits of security, the minimum at OpenSSL's default level
CURVES: Final = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_DIGESTS: Final = frozenset({"sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512"})


def weakness_of_key(certificate: x509.Certificate) -> str | None:
    """Why the certificate's key is too weak; None if it is strong enough."""
    try:
        key = certificate.public_key()
    except UNREADABLE:
        return "a key of an unknown kind"
    return weakness_of(key)


def weakness_of(key: object) -> str | None:
    """Why a public key is too weak; None if it is strong enough."""
    match key:
        case rsa.RSAPublicKey():
            return None if key.key_size >= MIN_RSA_BITS else f"an RSA key of {key.key_size} bits, below {MIN_RSA_BITS}"
        case ec.EllipticCurvePublicKey():
            return None if key.curve.name in CURVES else f"a key on the curve {key.curve.name}"
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            return None
        case _:
            return "a key that is neither RSA, EC nor Ed25519"


def weakness_of_signature(certificate: x509.Certificate) -> str | None:
    """Why the signature on the certificate is too weak; None if it is strong enough."""
    try:
        return weakness_of_digest(certificate.signature_hash_algorithm)
    except UNREADABLE:
        return "an unknown algorithm"


def weakness_of_digest(digest: hashes.HashAlgorithm | None) -> str | None:
    """Why the digest of a signature is too weak; None if it is strong enough, or the algorithm has its own digest."""
    if digest is None or digest.name in _DIGESTS:
        return None
    return f"{digest.name.upper()}, which is too weak"
