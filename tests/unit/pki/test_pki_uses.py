"""What an authority may sign: people, servers or all; also one that was made elsewhere."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from support.pki import build, ca_extensions

from gateway.errors import UsageError
from gateway.pki import uses
from gateway.pki.registry.records import Purpose
from gateway.pki.words import Signs

MAIL = (Purpose.SMIME, Purpose.SMIME_SIGNING, Purpose.SMIME_ENCRYPTION)
PEOPLE = {Purpose.CLIENT, Purpose.AUTH, *MAIL}


def _authority(*found):
    key = ec.generate_private_key(ec.SECP256R1())
    limit = [(x509.ExtendedKeyUsage(found), False)] if found else []
    return build("CN=Corp", key.public_key(), "CN=Corp", key, extensions=[*ca_extensions(), *limit])


def _limited(signs):
    limit = uses.limit(signs)
    return _authority(*(limit or ()))


@pytest.mark.parametrize(
    ("authority", "word", "allowed"),
    [
        (_limited(Signs.PEOPLE), "people", PEOPLE),
        (_limited(Signs.SERVERS), "servers", {Purpose.SERVER}),
        (_limited(Signs.ALL), "all", set(Purpose)),
        (_authority(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE), "all", set(Purpose)),
        (_authority(ExtendedKeyUsageOID.CLIENT_AUTH), "clientAuth", PEOPLE - set(MAIL)),
        (
            _authority(ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
            "clientAuth, serverAuth",
            {Purpose.CLIENT, Purpose.AUTH, Purpose.SERVER},
        ),
    ],
)
def test_what_an_authority_may_sign(authority, word, allowed):
    assert uses.described(authority) == word
    for purpose in Purpose:
        assert uses.allows(authority, purpose) is (purpose in allowed or purpose is Purpose.OCSP)
        if not uses.allows(authority, purpose):
            with pytest.raises(UsageError, match=f"CN=Corp may sign for {word} only"):
                uses.check([_authority(), authority], purpose, None)
        else:
            uses.check([_authority(), authority], purpose, None)


def test_the_remedy_makes_an_authority_beside_it():
    for limited, purpose, command in (
        (Signs.PEOPLE, Purpose.SERVER, "gateway ca init servers --parent root --signs servers"),
        (Signs.SERVERS, Purpose.SMIME, "gateway ca init people --parent root --signs people"),
    ):
        with pytest.raises(UsageError) as refused:
            uses.check([_limited(limited)], purpose, "root")
        assert f"'{command}'" in refused.value.remedy
