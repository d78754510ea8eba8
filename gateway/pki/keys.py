"""Private and public keys: which kinds are made, and which are good enough to be signed.

RSA from 2,048 bits and the NIST curves are what mail programs, phones and browsers take; Ed25519 isn't for browsers.
"""

from __future__ import annotations

from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import PublicKeyAlgorithmOID

from gateway.errors import UsageError
from gateway.pki.words import KeyKind
from gateway.x509.strength import MIN_RSA_BITS, weakness_of

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

MAX_RSA_BITS: Final = 8192  # beyond it a handshake costs the server tens of milliseconds
_MIN_RSA_EXPONENT: Final = 65537
_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


def make(kind: KeyKind) -> PrivateKey:
    """A new key; RSA takes 0.1 to 2 seconds of a core."""
    match kind:
        case KeyKind.ECDSA_P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyKind.ECDSA_P384:
            return ec.generate_private_key(ec.SECP384R1())
        case _:
            return rsa.generate_private_key(_MIN_RSA_EXPONENT, int(kind.removeprefix("rsa-")))


def check(key: Any, place: str) -> PublicKey:
    """The public key, if it is one we sign. Raises `UsageError` that names `place`."""
    remedy = f"Use RSA of {MIN_RSA_BITS} to {MAX_RSA_BITS} bits or an EC key on P-256, P-384 or P-521."
    if not isinstance(key, PublicKey):
        raise UsageError(f"{place}: this kind of key is not used", remedy)
    if weakness := weakness_of(key):
        raise UsageError(f"{place}: {weakness}, is not used", remedy)
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size > MAX_RSA_BITS:
            raise UsageError(f"{place}: an RSA key of {key.key_size} bits, above {MAX_RSA_BITS}, is not used", remedy)
        if key.public_numbers().e < _MIN_RSA_EXPONENT:
            raise UsageError(f"{place}: the RSA key's exponent {key.public_numbers().e} is too small", remedy)
    return key


def check_signer(certificate: x509.Certificate, place: str) -> None:
    """Refuse an authority whose key is bound to RSA-PSS (RFC 4055 section 1.2). Raises `UsageError`.

    What we sign with RSA is PKCS#1 v1.5, which no verifier takes from such a key.
    """
    if certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
        raise UsageError(
            f"{place} has a key for RSA-PSS only, with which nothing is signed here",
            "Make a new one with 'gateway ca init'. Certificates that the old one signed with RSA-PSS stay valid as "
            "long as its certificate stays in client_ca.",
        )


def describe(key: Any) -> str:
    """`RSA 2048` or `EC P-256`."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    return f"EC {_CURVES.get(key.curve.name, key.curve.name)}"


def kind_of(key: PublicKey) -> KeyKind:
    """The kind of a key's successor: as strong, as far as such keys are made."""
    if isinstance(key, rsa.RSAPublicKey):
        kinds = (KeyKind.RSA_2048, KeyKind.RSA_3072)
        return next((kind for kind in kinds if key.key_size <= int(kind.removeprefix("rsa-"))), KeyKind.RSA_4096)
    return KeyKind.ECDSA_P256 if key.curve.key_size <= 256 else KeyKind.ECDSA_P384


def signature_hash(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512:
    """The hash that belongs to a signing key's strength."""
    if isinstance(key, rsa.RSAPrivateKey) or key.curve.key_size <= 256:
        return hashes.SHA256()
    return hashes.SHA384() if key.curve.key_size <= 384 else hashes.SHA512()


def spki_bits(key: Any) -> bytes:
    """The public key's own bits, over which OCSP's issuerKeyHash goes (RFC 6960 section 4.1.1)."""
    if isinstance(key, rsa.RSAPublicKey):
        return key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    data: bytes = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return data
