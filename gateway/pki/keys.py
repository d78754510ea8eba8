"""Private and public keys: which kinds the desk makes, and which are strong enough to be signed.

Mail programs, phones and browsers accept RSA from 2,048 bits and the NIST curves. Browsers don't accept Ed25519.
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
MAKE_ANEW: Final = "Make a new authority with 'gateway ca init NAME'."  # the remedy where an old one can't sign
_MIN_RSA_EXPONENT: Final = 65537
_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


def make(kind: KeyKind) -> PrivateKey:
    """A new key. An RSA key takes a core 0.1 to 2 seconds."""
    match kind:
        case KeyKind.ECDSA_P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyKind.ECDSA_P384:
            return ec.generate_private_key(ec.SECP384R1())
        case _:
            return rsa.generate_private_key(_MIN_RSA_EXPONENT, int(kind.removeprefix("rsa-")))


def check(key: Any, place: str) -> PublicKey:
    """The public key, if the desk signs keys of its kind and strength. Raises `UsageError` that names `place`."""
    remedy = f"Use RSA of {MIN_RSA_BITS} to {MAX_RSA_BITS} bits or an EC key on P-256, P-384 or P-521."
    if not isinstance(key, PublicKey):
        raise UsageError(f"{place}: this kind of key is not supported", remedy)
    if weakness := weakness_of(key):
        raise UsageError(f"{place}: the key is too weak: {weakness}", remedy)
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size > MAX_RSA_BITS:
            raise UsageError(
                f"{place}: the key is too large: an RSA key of {key.key_size} bits, above {MAX_RSA_BITS}", remedy
            )
        if key.public_numbers().e < _MIN_RSA_EXPONENT:
            raise UsageError(f"{place}: the RSA key's exponent {key.public_numbers().e} is too small", remedy)
    return key


def check_signer(certificate: x509.Certificate, place: str, making: str = MAKE_ANEW) -> None:
    """Refuse an authority whose key may sign only with RSA-PSS (RFC 4055 section 1.2). Raises `UsageError`.

    The desk's RSA signatures are PKCS#1 v1.5, which every verifier refuses from such a key. `making`: the remedy, how
    to make a new authority.
    """
    if certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
        raise UsageError(
            f"{place} has a key that can sign only with RSA-PSS, which the gateway does not do",
            f"{making} Certificates that the old one signed with RSA-PSS stay valid as long as its certificate stays "
            "in client_ca.",
        )


def describe(key: Any) -> str:
    """`RSA 2048` or `EC P-256`."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    return f"EC {_CURVES.get(key.curve.name, key.curve.name)}"


def kind_of(key: PublicKey) -> KeyKind:
    """The kind of key for a renewal: as strong as this one, or the strongest of its type that the desk makes."""
    if isinstance(key, rsa.RSAPublicKey):
        kinds = (KeyKind.RSA_2048, KeyKind.RSA_3072)
        return next((kind for kind in kinds if key.key_size <= int(kind.removeprefix("rsa-"))), KeyKind.RSA_4096)
    return KeyKind.ECDSA_P256 if key.curve.key_size <= 256 else KeyKind.ECDSA_P384


def signature_hash(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512:
    """The hash for a signing key's strength."""
    if isinstance(key, rsa.RSAPrivateKey) or key.curve.key_size <= 256:
        return hashes.SHA256()
    return hashes.SHA384() if key.curve.key_size <= 384 else hashes.SHA512()


def spki_bits(key: Any) -> bytes:
    """The public key's own bits; OCSP's issuerKeyHash is their hash (RFC 6960 section 4.1.1)."""
    if isinstance(key, rsa.RSAPublicKey):
        return key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    data: bytes = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return data
