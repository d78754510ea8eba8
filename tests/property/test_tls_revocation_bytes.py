"""Bytes from responders and list servers, broken in any way: they are believed as they were signed, or not at all."""

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ocsp import OCSP_SIGNING, REVOKED, response
from support.pki import NOW, Ca, build_crl

from gateway.errors import ConfigError
from gateway.supervisor.lists import check_successor
from gateway.tls.ocsp import OcspError, verify_response
from gateway.tls.revocation import Status

ROOT = Ca.make()
ALICE = ROOT.issue("CN=alice")
RESPONDER = ROOT.issue("CN=responder", eku=OCSP_SIGNING)
ANSWERS = (
    response(ALICE, ROOT, REVOKED),
    response(ALICE, ROOT, REVOKED, signer=RESPONDER, certificates=(RESPONDER.certificate,)),
)
LIST = build_crl(ROOT, [ALICE.certificate], number=5)
LISTS = (LIST.public_bytes(Encoding.DER), LIST.public_bytes(Encoding.PEM))


@st.composite
def broken(draw, whole):
    """One of `whole` with some bytes changed, put in, left out, or cut off."""
    data = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1))
        match draw(st.sampled_from(("change", "insert", "remove", "cut"))):
            case "change":
                data[at] = draw(st.integers(0, 255))
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=4))
            case "remove":
                del data[at : at + draw(st.integers(1, 4))]
            case "cut":
                del data[at + 1 :]
        if not data:
            break
    return bytes(data)


@settings(max_examples=600, deadline=None)
@given(broken(ANSWERS) | st.binary(max_size=64))
def test_a_broken_answer_never_makes_a_revoked_certificate_good(der):
    try:
        answer = verify_response(der, ALICE.certificate, ROOT.certificate, NOW)
    except OcspError:
        return
    assert answer.status is Status.REVOKED


@settings(max_examples=600, deadline=None)
@given(broken(LISTS) | st.binary(max_size=64))
def test_a_broken_list_is_refused_or_says_what_was_signed(data):
    try:
        found = check_successor("http://a/", data, LISTS[0], (ROOT.certificate,), NOW)
    except ConfigError:
        return
    assert [entry.serials for entry in found] == [frozenset({ALICE.certificate.serial_number})]


def test_the_whole_ones_are_believed():
    for der in ANSWERS:
        assert verify_response(der, ALICE.certificate, ROOT.certificate, NOW).status is Status.REVOKED
    for data in LISTS:
        assert check_successor("http://a/", data, LISTS[1], (ROOT.certificate,), NOW)
    with pytest.raises(ConfigError):
        check_successor("http://a/", b"", None, (ROOT.certificate,), NOW)
