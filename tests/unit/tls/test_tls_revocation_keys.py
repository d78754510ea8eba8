"""Whose lists count: a CA with two keys, one that may not sign lists, one whose name is spelled in two ways."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from support.pki import NOW, Ca, build_crl, ca_extensions, ec_key

from gateway.facts import Reason
from gateway.tls.client_cert import judge
from gateway.tls.trust import check_signer, make_trust
from gateway.x509.revocation_list import parse_lists


def usage(*, crl_sign):
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement encipher_only"
        " decipher_only"
    )
    unused = dict.fromkeys(names.split(), False)
    return (x509.KeyUsage(key_cert_sign=True, crl_sign=crl_sign, **unused), True)


def reason(leaf, anchor, *crls, policy="require"):
    lists = [entry for crl in crls for entry in parse_lists(crl, "a.crl")]
    return judge(leaf.certificate, leaf.chain, make_trust([anchor.certificate], lists, policy), NOW).reason


@pytest.mark.parametrize(("policy", "otherwise"), [("require", Reason.REVOCATION_UNKNOWN), ("if_present", None)])
def test_a_ca_that_may_not_sign_lists_clears_nobody(policy, otherwise):
    ca = Ca.make(extensions=[*ca_extensions(), usage(crl_sign=False)])
    alice, bob = ca.issue(), ca.issue("CN=bob")
    crl = ca.crl([alice.certificate])
    assert reason(alice, ca, crl, policy=policy) is Reason.CERTIFICATE_REVOKED
    assert reason(bob, ca, crl, policy=policy) is otherwise


def test_a_ca_that_may_sign_lists_clears_who_is_not_on_them():
    ca = Ca.make(extensions=[*ca_extensions(), usage(crl_sign=True)])
    assert reason(ca.issue(), ca, ca.crl()) is None


@pytest.fixture
def rollover():
    """(root, the CA's old key, its new key certified by the old one)."""
    root = Ca.make()
    old = root.issue_ca("CN=Rolling CA")
    key = ec_key()
    # Without them OpenSSL takes a certificate with one name twice for a self-signed one.
    identifiers = [
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(old.key.public_key()), False),
    ]
    return root, old, old.issue_ca("CN=Rolling CA", key=key, extensions=[*ca_extensions(), *identifiers])


def test_a_list_by_either_key_of_a_ca_counts(rollover):
    root, old, new = rollover
    alice = new.issue()
    for signer in (old, new):
        assert (
            reason(alice, root, root.crl(), old.crl(), signer.crl([alice.certificate], number=2))
            is Reason.CERTIFICATE_REVOKED
        )
        assert reason(alice, root, root.crl(), old.crl([1]), signer.crl([2], number=2)) is None


def test_a_list_of_the_other_key_that_begins_later_ends_what_is_remembered(rollover):
    root, old, new = rollover
    alice = new.issue()
    later = NOW + timedelta(hours=1)
    for signer in (old, new):
        crls = root.crl(), old.crl(), new.crl(), signer.crl([alice.certificate], number=9, last_update=later)
        lists = [entry for crl in crls for entry in parse_lists(crl, "a.crl")]
        trust = make_trust([root.certificate], lists, "require")
        above = new.certificate, old.certificate, root.certificate
        assert trust.revocation.status_on_path(alice.certificate, above, NOW).until == later
        assert judge(alice.certificate, alice.chain, trust, later).reason is Reason.CERTIFICATE_REVOKED


def test_one_key_revokes_even_where_the_other_says_nothing(rollover):
    root, old, new = rollover
    alice = new.issue()
    crls = root.crl(), new.crl(number=9), old.crl([alice.certificate], number=1)
    assert reason(alice, root, *crls) is Reason.CERTIFICATE_REVOKED


def test_the_new_keys_own_certificate_needs_a_word_of_the_old_key(rollover):
    """Else whoever has the new key would clear it himself."""
    root, old, new = rollover
    alice = new.issue()
    assert reason(alice, root, root.crl(), new.crl()) is Reason.REVOCATION_UNKNOWN
    assert reason(alice, root, root.crl(), new.crl(), old.crl([new.certificate])) is Reason.CERTIFICATE_REVOKED


def test_a_ca_of_another_name_on_the_path_says_nothing():
    root = Ca.make()
    middle = root.issue_ca()
    assert reason(middle.issue(), root, root.crl()) is Reason.REVOCATION_UNKNOWN


def test_a_revoked_ca_is_revoked_though_nothing_is_known_of_the_leaf():
    """A CA that was revoked publishes no lists any more; its people should hear the real reason."""
    root = Ca.make()
    middle = root.issue_ca()
    assert reason(middle.issue(), root, root.crl([middle.certificate])) is Reason.CERTIFICATE_REVOKED


def name(common_name, *, bits=None):
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if bits is not None:
        attributes.append(x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, bits, x509.name._ASN1Type.BitString))
    return x509.Name(attributes)


@pytest.mark.parametrize(
    ("spelling", "is_same"), [("The  CA", True), ("the ca", True), (" THE CA ", True), ("The CA 2", False)]
)
def test_names_are_compared_without_case_and_white_space(spelling, is_same):
    ca = Ca.make("CN=The CA")
    alice = ca.issue()
    other = Ca.make(name(spelling), key=ca.key)
    assert reason(alice, ca, other.crl()) is (None if is_same else Reason.REVOCATION_UNKNOWN)


def test_names_of_bits_are_compared_as_they_are():
    key = ec_key()
    ca, same, other = (Ca.make(name("CA", bits=bits), key=key) for bits in (b"\x00A", b"\x00A", b"\x00a"))
    alice = ca.issue()
    assert reason(alice, ca, same.crl()) is None
    assert reason(alice, ca, other.crl()) is Reason.REVOCATION_UNKNOWN


def test_the_newest_list_of_each_key_is_asked():
    ca = Ca.make()
    alice = ca.issue()
    older = build_crl(ca, [alice.certificate], number=1).public_bytes(Encoding.PEM)
    assert reason(alice, ca, older, ca.crl(number=2)) is None


def test_a_ca_of_the_same_name_further_up_is_another_ca():
    """As a root and the issuing CA two below it, which were both named after the company."""
    root = Ca.make("CN=Example Ltd")
    middle = root.issue_ca("CN=Policy CA")
    issuing = middle.issue_ca("CN=Example Ltd")
    alice = issuing.issue(serial=7)
    of_root = root.crl([7])  # a certificate of its own with this serial
    assert reason(alice, root, of_root, middle.crl(), issuing.crl()) is None
    assert reason(alice, root, of_root, middle.crl(), issuing.crl([7])) is Reason.CERTIFICATE_REVOKED
    assert reason(alice, root, root.crl(), middle.crl()) is Reason.REVOCATION_UNKNOWN


@pytest.mark.parametrize("is_old_first", [False, True])
def test_the_list_of_each_of_two_roots_of_one_name_counts_for_its_own_users(is_old_first):
    old, new = Ca.make("CN=Root"), Ca.make("CN=Root")
    roots = [old, new] if is_old_first else [new, old]
    anchors = [root.certificate for root in roots]
    lists = [entry for crl in (old.crl([7]), new.crl([8])) for entry in parse_lists(crl, "a.crl")]
    for ca, serial, expected in (
        (old, 7, Reason.CERTIFICATE_REVOKED),
        (old, 8, None),
        (new, 7, None),
        (new, 8, Reason.CERTIFICATE_REVOKED),
    ):
        leaf = ca.issue(serial=serial)
        assert judge(leaf.certificate, (), make_trust(anchors, lists, "require"), NOW).reason is expected
    for entry in lists:
        check_signer(entry, anchors)
