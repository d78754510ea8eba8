"""What checking a signature costs, by the key."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from support.pki import dsa_key, ec_key

from gateway.x509.keys import units_of_check


class PublicRsa:
    """An RSA key of so many bits, without its private half, which would take seconds to make."""

    def __init__(self, bits: int) -> None:
        self._numbers = rsa.RSAPublicNumbers(65537, (1 << (bits - 1)) + 1)

    def public_key(self) -> rsa.RSAPublicKey:
        return self._numbers.public_key()


@pytest.mark.parametrize(
    ("key", "units"),
    [
        (ec_key(), 1),
        (ec_key(ec.SECP384R1()), 7),
        (ec_key(ec.BrainpoolP256R1()), 7),
        (PublicRsa(2048), 1),
        (PublicRsa(4096), 1),
        (PublicRsa(8192), 4),
        (ed25519.Ed25519PrivateKey.generate(), 2),
        (ed448.Ed448PrivateKey.generate(), 3),
        (dsa_key(), 0),
    ],
)
def test_the_units_of_a_key(key, units):
    assert units_of_check(key.public_key()) == units
