"""What checking a signature costs, by the key."""

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519
from support.pki import ec_key, rsa_key

from gateway.x509.keys import units_of_check


@pytest.mark.parametrize(
    ("key", "units"),
    [
        (ec_key(), 1),
        (ec_key(ec.SECP384R1()), 7),
        (ec_key(ec.BrainpoolP256R1()), 7),
        (rsa_key(2048), 1),
        (rsa_key(4096), 1),
        (rsa_key(8192), 4),
        (ed25519.Ed25519PrivateKey.generate(), 2),
        (ed448.Ed448PrivateKey.generate(), 3),
        (dsa.generate_private_key(2048), 0),
    ],
)
def test_the_units_of_a_key(key, units):
    assert units_of_check(key.public_key()) == units
