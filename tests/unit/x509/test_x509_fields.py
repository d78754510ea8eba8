"""Names in TeletexStrings are read as Latin-1, wherever they stand."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPResponderEncoding
from support.ocsp import response
from support.pki import NOW, UPN_OID, Ca, Leaf, build_crl
from support.teletex import latin1, name

from gateway.facts import Reason
from gateway.tls.client_cert import judge
from gateway.tls.trust import is_ca, make_trust
from gateway.x509.der import element
from gateway.x509.fields import (
    MAX_DEPTH,
    MAX_ELEMENTS,
    extensions_of,
    issuer_of,
    latin1_copy,
    subject_bytes,
    subject_of,
)
from gateway.x509.names import IdentityError, identity_of, load_certificate
from gateway.x509.ocsp import OcspError, verify_response
from gateway.x509.revocation_list import parse_lists
from gateway.x509.status import Status

DRAFT = Ca.make(name())  # with `~` for the letter
ISSUER = Ca(x509.load_der_x509_certificate(latin1(DRAFT.der, DRAFT.key)), DRAFT.key)
AROUND_EXTENSIONS = 6  # certificate, its signed part, [3], extensions, one of them, its content
NAME = x509.Name.from_rfc4514_string("O=Börse AG")


def leaf(letter=None, **options):
    draft = DRAFT.issue("CN=alice", **options)
    return x509.load_der_x509_certificate(latin1(draft.der, DRAFT.key, *filter(None, [letter])))


def crl(revoked=(), **options):
    made = build_crl(DRAFT, revoked, **options).public_bytes(Encoding.DER)
    return x509.load_der_x509_crl(latin1(made, DRAFT.key))


def test_subject_and_issuer():
    """They equal the name in a UTF8String, as they do to OpenSSL."""
    assert subject_of(ISSUER.certificate) == issuer_of(ISSUER.certificate) == issuer_of(leaf()) == NAME
    assert issuer_of(crl()) == NAME
    assert b"\x14\x08B\xf6rse AG" in subject_bytes(ISSUER.certificate)
    assert is_ca(ISSUER.certificate)


def test_a_request():
    draft = x509.CertificateSigningRequestBuilder().subject_name(name()).sign(DRAFT.key, hashes.SHA256())
    request = x509.load_der_x509_csr(latin1(draft.public_bytes(Encoding.DER), DRAFT.key))
    assert subject_of(request) == NAME


def test_whom_it_issued_is_let_in_until_it_is_revoked():
    good, bad = leaf(), leaf()
    trust = make_trust([ISSUER.certificate], parse_lists(crl([bad]).public_bytes(Encoding.DER), "a.crl"), "require")
    judgement = judge(good, (), trust, NOW)
    assert judgement.identity.issuer == "O=Börse AG"
    assert (judgement.reason, judgement.detail) == (None, "issued by O=Börse AG")
    assert judge(bad, (), trust, NOW).reason is Reason.CERTIFICATE_REVOKED


def test_intermediates_that_a_client_sends():
    """Of two CAs of one name each counts for its own."""
    draft = DRAFT.issue_ca(name("M~ller"))
    between = x509.load_der_x509_certificate(latin1(draft.der, DRAFT.key))
    twin = Ca.make(name("M~ller"))
    alice = x509.load_der_x509_certificate(latin1(draft.issue("CN=alice").der, draft.key))
    trust = make_trust([x509.load_der_x509_certificate(latin1(twin.der, twin.key)), ISSUER.certificate])
    assert judge(alice, (between,), trust, NOW).reason is None


def test_the_issuers_name_in_extensions():
    """`authorityKeyIdentifier=keyid,issuer:always`, in certificates and lists."""
    identifier = (x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(name())], 5), False)
    alice = leaf(extensions=[identifier])
    listed = crl([alice], extensions=[identifier])
    for each in (alice, listed):
        found = extensions_of(each).get_extension_for_class(x509.AuthorityKeyIdentifier).value
        assert found.authority_cert_issuer == [x509.DirectoryName(NAME)]
    (entry,) = parse_lists(listed.public_bytes(Encoding.DER), "a.crl")
    assert entry.issuer == NAME
    assert entry.serials == {alice.serial_number}
    assert identity_of(alice).issuer == "O=Börse AG"


def test_a_list_without_entries_or_number():
    assert not list(extensions_of(crl(number=None)))


@pytest.mark.parametrize("by", OCSPResponderEncoding)
def test_an_ocsp_answer(by):
    alice = Leaf(leaf(), None)
    answer = response(alice, ISSUER, by=by)
    assert verify_response(answer, alice.certificate, ISSUER.certificate, NOW).status is Status.GOOD


def test_an_ocsp_answer_in_another_name():
    alice = Leaf(leaf(), None)
    other = Ca(x509.load_der_x509_certificate(latin1(DRAFT.der, DRAFT.key, b"\xe4")), DRAFT.key)
    answer = response(alice, ISSUER, signer=other, by=OCSPResponderEncoding.NAME)
    with pytest.raises(OcspError, match="signed neither by the CA"):
        verify_response(answer, alice.certificate, ISSUER.certificate, NOW)


def test_a_name_that_could_be_utf8():
    """OpenSSL reads two letters in what would be one."""
    draft = DRAFT.issue(name("B+~rse"))
    alice = x509.load_der_x509_certificate(latin1(draft.der.replace(b"B+~", b"B\xc3~"), DRAFT.key, b"\xb6"))
    assert identity_of(alice).subject == "O=BÃ¶rse"


def test_control_characters_are_refused():
    draft = Ca.make(name())
    with pytest.raises(IdentityError, match="control character"):
        identity_of(load_certificate(latin1(draft.der, draft.key, b"\x85")))


def test_only_names_are_read_so():
    """A user principal name is a UTF8String or nothing."""
    upn = x509.OtherName(UPN_OID, element(0x14, b"m~ller@example.com"))
    alice = leaf(extensions=[(x509.SubjectAlternativeName([upn, x509.DirectoryName(name())]), False)])
    with pytest.raises(IdentityError, match="not a UTF8String"):
        identity_of(alice)


def test_what_looks_like_a_teletex_string_and_is_none():
    looks = b"\x06\x01\x2a\x14\x7f"  # a header that promises more than there is
    alice = Ca.make("CN=Root").issue("CN=alice", extensions=[unknown(looks)]).certificate
    copy = latin1_copy(alice)
    assert copy is not alice
    assert copy.public_bytes(Encoding.DER) == alice.public_bytes(Encoding.DER)


def unknown(content):
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), content), False


def test_as_many_elements_as_are_visited_and_one_more():
    def is_read(number):
        alice = leaf(extensions=[unknown(element(0x05, b"") * number + element(0x06, b"\x2a") + element(0x14, b""))])
        try:
            return issuer_of(alice) == NAME
        except ValueError:
            return False

    most = max(number for number in range(MAX_ELEMENTS - 100, MAX_ELEMENTS) if is_read(number))
    assert most < MAX_ELEMENTS - 10
    with pytest.raises(ValueError, match=f"more than {MAX_ELEMENTS} elements"):
        issuer_of(leaf(extensions=[unknown(element(0x05, b"") * MAX_ELEMENTS + b"\x06\x01\x2a\x14\x00")]))


def test_as_deep_as_names_are_looked_for():
    def is_read(depth):
        content = element(0x30, element(0x06, b"\x2a") + element(0x14, b"~rse"))
        for _ in range(depth):
            content = element(0x30, content)
        copy = latin1_copy(leaf(extensions=[unknown(content)]))
        return "ö".encode() in extensions_of(copy).get_extension_for_oid(unknown(b"")[0].oid).value.value

    assert [is_read(depth) for depth in range(MAX_DEPTH)].count(True) == MAX_DEPTH - AROUND_EXTENSIONS
