"""Bytes from responders and list servers, broken in any way: they are believed as they were signed, or not at all."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ocsp import OCSP_SIGNING, REVOKED, response
from support.pki import NOW, Ca, build_crl
from support.scopes import issuing_point

from gateway.errors import ConfigError
from gateway.fetching.list_store import check_successor
from gateway.tls.trust import make_trust
from gateway.x509.ocsp import OcspError, verify_response
from gateway.x509.status import Status

# The same bytes in every run, so that the same examples break them in the same places: keys of known primes, whose
# signatures have no chance in them, and serial numbers that are given.
PRIMES = """
f3203c73831f639e39567f354ae1d184abf6e7b8784f243653d0c09fe8d8afe84eaa208ace9ec833e4ab92fee60bc8146796c920c72228af
48b8cb736bafe74ecc4679b1b6088259befa4aade8a23d37fed8f53c896bb888606fd07aae3c7f833843834e636a4fa0bd6125875c922529
7baf47548f680b8497f4f33ccdd4782f
,
d0e0387e8f66dab9eb994cd64e1826981c1e2d003bb1baa1303fba6a36cf0af7fbf46e8eb2ed70fc9090ec88fcd268659b04a7a256e86841
514d4ca713db8e5fcba0789697ba3615d41095be98823cb4665c29fae91aa458bc0afb1cabb1ee6a8fa4d01036c4f59e652a250a9513304f
7a437416c47c75178b7738049e2b4219
,
db464dec503a5b7a399dda3d292963db3172a60beaa55e026d9c02b44573b97e1072214797819191f079f98f997155167fd7829a7d1564eb
d4dee738172b955ede381fe8b96361d63c99c954eb81fb6435f967f2219915b854cd48f319d76be3f901c6bdfa4a95710085cb8d37f67214
d8e073775ecf899b84057284cf79e237
"""


def key(first, second):
    first, second = (int(PRIMES.split(",")[each].replace("\n", ""), 16) for each in (first, second))
    public = rsa.RSAPublicNumbers(65537, first * second)
    private = rsa.rsa_recover_private_exponent(65537, first, second)
    parts = (rsa.rsa_crt_dmp1(private, first), rsa.rsa_crt_dmq1(private, second), rsa.rsa_crt_iqmp(first, second))
    return rsa.RSAPrivateNumbers(first, second, private, *parts, public).private_key()


ROOT = Ca.make(key=key(0, 1), serial=1)
ALICE = ROOT.issue("CN=alice", key=key(1, 2), serial=0xA11CE)
RESPONDER = ROOT.issue("CN=responder", key=key(0, 2), serial=3, eku=OCSP_SIGNING)
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


PARTS = tuple(
    extension.public_bytes()
    for extension, _ in (
        issuing_point("http://a.example/1.crl", only_contains_user_certs=True),
        issuing_point(full_name=[x509.DirectoryName(ROOT.certificate.subject)], indirect_crl=True),
        issuing_point(relative_name=x509.RelativeDistinguishedName(ROOT.certificate.subject)),
        (x509.DeltaCRLIndicator(4), True),
    )
)


@settings(max_examples=300, deadline=None)
@given(broken(PARTS) | st.binary(max_size=64), st.sampled_from(("2.5.29.28", "2.5.29.27")), st.booleans())
def test_a_signed_list_with_any_bytes_for_its_scope_is_refused_or_revokes_what_it_names(part, oid, is_critical):
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), part)
    made = build_crl(ROOT, [ALICE.certificate], number=5, extensions=[(extension, is_critical)])
    try:
        found = check_successor("http://a/", made.public_bytes(Encoding.DER), None, (ROOT.certificate,), NOW)
    except ConfigError:
        return
    trust = make_trust((ROOT.certificate,), found, "require")
    assert trust.revocation.status(ALICE.certificate, ROOT.certificate, NOW).status is Status.REVOKED
    assert trust.revocation.status(RESPONDER.certificate, ROOT.certificate, NOW).status is not Status.REVOKED
    trust.warnings(NOW)


def test_the_bytes_that_are_broken_have_no_chance_in_them():
    """But for producedAt in an answer, which is of now, and so its signature."""
    assert len(response(ALICE, ROOT, REVOKED)) == len(ANSWERS[0])
    assert build_crl(ROOT, [ALICE.certificate], number=5).public_bytes(Encoding.DER) == LISTS[0]


def test_the_whole_ones_are_believed():
    for der in ANSWERS:
        assert verify_response(der, ALICE.certificate, ROOT.certificate, NOW).status is Status.REVOKED
    for data in LISTS:
        assert check_successor("http://a/", data, LISTS[1], (ROOT.certificate,), NOW)
    with pytest.raises(ConfigError):
        check_successor("http://a/", b"", None, (ROOT.certificate,), NOW)
