"""NIST's Public Key Interoperability Test Suite (2011), through the judge that serves.

Each of its S/MIME messages holds a path and the revocation lists for it. Its cases for other initial policies than
"any", which no setting asks for, aren't among them.
"""

from __future__ import annotations

import email
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography import x509

from gateway.errors import ConfigError
from gateway.facts import Reason
from gateway.tls.client_cert import judge
from gateway.tls.trust import make_trust
from gateway.x509.revocation_list import RevocationList, parse_lists

SUITE = Path(cryptography_vectors.__file__).parent / "x509" / "PKITS_data"
DIFFERENCES = Path(__file__).parents[2] / "golden" / "pkits_differences.txt"
NOW = datetime(2020, 1, 1, tzinfo=UTC)  # all but those about dates are valid from 2010 to 2030
CASES = sorted(path.stem.removeprefix("Signed") for path in (SUITE / "smime").iterdir())
# Invalid ones whose names don't say so: PKITS 4.4.1, 4.8.4, 4.8.5, 4.8.7 to 4.8.9 and 4.8.12.
INVALID = {"MissingCRLTest1", *(f"DifferentPoliciesTest{number}" for number in (4, 5, 7, 8, 9, 12))}


@cache
def files(kind: str) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted((SUITE / kind).iterdir())}


def signature(case: str) -> bytes:
    """The PKCS#7 structure of a message."""
    message = email.message_from_bytes((SUITE / "smime" / f"Signed{case}.eml").read_bytes())
    (part,) = (part for part in message.walk() if "pkcs7-signature" in part.get_content_type())
    found = part.get_payload(decode=True)
    assert isinstance(found, bytes)
    return found


def usable(ders: list[bytes]) -> list[RevocationList]:
    """As at URLs, a list that is refused is left out."""
    found: list[RevocationList] = []
    for der in ders:
        with suppress(ConfigError):
            found += parse_lists(der, "a list")
    return found


def verdict(case: str) -> Reason | None:
    inside = signature(case)
    path = {name: der for name, der in files("certs").items() if der in inside}
    (leaf,) = (name for name in path if name.endswith("EE"))
    lists = usable([der for der in files("crls").values() if der in inside])
    anchor = x509.load_der_x509_certificate(files("certs")["TrustAnchorRootCertificate"])
    chain = [der for name, der in path.items() if name != leaf]
    return judge(path[leaf], chain, make_trust([anchor], lists, "require"), NOW).reason


def is_valid(case: str) -> bool:
    return not case.startswith("Invalid") and case not in INVALID


def expected() -> dict[str, Reason]:
    lines = (line for line in DIFFERENCES.read_text().splitlines() if not line.startswith("#"))
    return {case: Reason(code) for case, code, _ in (line.split(" ", 2) for line in lines)}


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Reason | None]:
    return {case: verdict(case) for case in CASES}


def test_the_differences_are_those_that_are_known(verdicts):
    assert (len(CASES), sum(map(is_valid, CASES))) == (224, 103)
    found = {case: reason for case, reason in verdicts.items() if (reason is None) != is_valid(case)}
    assert found == expected()


def test_no_invalid_path_is_trusted(verdicts):
    assert not [case for case, reason in verdicts.items() if reason is None and not is_valid(case)]


def test_what_is_revoked_is_refused_for_that(verdicts):
    about = [
        case for case in CASES if case.startswith(("InvalidRevoked", "InvaliddeltaCRL", "InvaliddistributionPoint"))
    ]
    assert {verdicts[case] for case in about} <= {Reason.CERTIFICATE_REVOKED, Reason.REVOCATION_UNKNOWN}
    for case in (
        "InvalidRevokedCATest2",
        "InvalidRevokedEETest3",
        "InvaliddeltaCRLTest3",
        "InvaliddistributionPointTest2",
    ):
        assert verdicts[case] is Reason.CERTIFICATE_REVOKED
