"""Certificates whose parts `cryptography` reads only when asked, and then can't: refused, never an exception."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from gateway.facts import Reason
from gateway.tls.client_cert import examine
from gateway.tls.trust import make_trust

CERTIFICATES = Path(__file__).parents[2] / "golden" / "certificates"
NOW = datetime(2026, 11, 30, tzinfo=UTC)


@pytest.mark.parametrize("name", ["bitstring", "nc-ip4"])
def test_they_are_refused(name):
    der = ssl.PEM_cert_to_DER_cert((CERTIFICATES / f"{name}.crt").read_text())
    anchor = x509.load_pem_x509_certificate((CERTIFICATES / "nc-ip4.crt").read_bytes())
    judgement = examine(der, (), make_trust([anchor]), NOW).judgement
    assert judgement.reason in {Reason.CERTIFICATE_UNTRUSTED, Reason.CERTIFICATE_WRONG_USAGE}
    assert judgement.detail


def test_an_anchor_with_constraints_that_cannot_be_read_lets_nobody_in():
    """The leaf is signed by nobody known: what counts is that a judgement comes back."""
    der = ssl.PEM_cert_to_DER_cert((CERTIFICATES / "bitstring.crt").read_text())
    judgement = examine(der, [der] * 3, make_trust([]), NOW).judgement
    assert judgement.reason is Reason.CERTIFICATE_UNTRUSTED
