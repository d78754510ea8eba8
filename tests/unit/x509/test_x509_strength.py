"""Which keys and signatures prove something."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from support.certificates_by_hand import certificate
from support.pki import dsa_key

from gateway.x509.strength import weakness_of_key, weakness_of_signature


@pytest.mark.parametrize(
    ("make", "weakness"),
    [
        (lambda: rsa.generate_private_key(65537, 2048), None),
        (lambda: ec.generate_private_key(ec.SECP384R1()), None),
        (ed25519.Ed25519PrivateKey.generate, None),
        (lambda: ec.generate_private_key(ec.SECP224R1()), "a key on the curve secp224r1"),
        (lambda: rsa.generate_private_key(65537, 2047), "an RSA key of 2047 bits, below 2048"),  # noqa: S505
        (x25519.X25519PrivateKey.generate, "a key that is neither RSA, EC nor Ed25519"),
        (dsa_key, "a key that is neither RSA, EC nor Ed25519"),
    ],
)
def test_keys_that_tls_refuses(make, weakness):
    assert weakness_of_key(certificate(make())) == weakness


def test_a_key_that_cannot_be_read_is_a_weakness():
    der = certificate(ec.generate_private_key(ec.SECP256R1())).public_bytes(serialization.Encoding.DER)
    oid = bytes.fromhex("06082a8648ce3d030107")  # prime256v1, made into a curve that nobody knows
    broken = x509.load_der_x509_certificate(der.replace(oid, bytes.fromhex("06082a8648ce3d03017f")))
    assert weakness_of_key(broken) == "a key of an unknown kind"


def test_an_unknown_signature_algorithm_is_weak():
    der = certificate(ec.generate_private_key(ec.SECP256R1()), issuer="b").public_bytes(serialization.Encoding.DER)
    oid = bytes.fromhex("06082a8648ce3d040302")  # ecdsa-with-SHA256, made into one that nobody knows
    broken = x509.load_der_x509_certificate(der.replace(oid, bytes.fromhex("06082a8648ce3d04037f")))
    assert weakness_of_signature(broken) == "an unknown algorithm"
