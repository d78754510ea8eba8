"""Certificate policies: what a CA requires of those below it, by the algorithm of RFC 5280 section 6.1."""

import pytest
from cryptography import x509
from cryptography.x509.oid import ObjectIdentifier
from support.pki import NOW, Ca, Leaf, build, ca_extensions

from gateway.facts import Reason
from gateway.tls.client_cert import judge
from gateway.tls.trust import make_trust
from gateway.x509.policies import ANY, check_policies

ONE, TWO, THREE = (ObjectIdentifier(f"2.16.840.1.101.3.2.1.48.{number}") for number in (1, 2, 3))
ROOT = Ca.make()


def policies(*oids):
    return (x509.CertificatePolicies([x509.PolicyInformation(oid, None) for oid in oids]), False)


def constraints(explicit=None, mapping=None):
    return (x509.PolicyConstraints(explicit, mapping), True)


def inhibit_any(skip):
    return (x509.InhibitAnyPolicy(skip), True)


def oid_der(oid):
    arcs = [int(arc) for arc in oid.dotted_string.split(".")]
    body = bytearray([arcs[0] * 40 + arcs[1]])
    for arc in arcs[2:]:
        digits = [arc & 0x7F]
        while arc := arc >> 7:
            digits.append(0x80 | arc & 0x7F)
        body += bytes(reversed(digits))
    return bytes((6, len(body))) + bytes(body)


def sequence(content):
    length = len(content)
    return b"\x30" + (bytes((length,)) if length < 128 else bytes((0x81, length))) + content


def mappings(*pairs):
    der = sequence(b"".join(sequence(oid_der(one) + oid_der(other)) for one, other in pairs))
    return (x509.UnrecognizedExtension(ObjectIdentifier("2.5.29.33"), der), True)


def path(*levels, leaf=()):
    """A leaf under CAs with these extensions, the highest first: (leaf, its issuer … the root)."""
    ca, above = ROOT, [ROOT.certificate]
    for number, extensions in enumerate(levels):
        ca = ca.issue_ca(f"CN=CA {number}", extensions=[*ca_extensions(), *extensions])
        above.insert(0, ca.certificate)
    return ca.issue(extensions=leaf).certificate, above


def is_fine(*levels, leaf=()):
    certificate, above = path(*levels, leaf=leaf)
    problem = check_policies(certificate, above)
    judgement = judge(certificate, above, make_trust([ROOT.certificate]), NOW)
    assert judgement.is_trusted == (problem is None), judgement
    if problem is not None:
        assert (judgement.reason, judgement.detail) == (Reason.CERTIFICATE_UNTRUSTED, problem)
    return problem is None


def test_where_no_ca_asks_nothing_is_asked():
    assert is_fine()
    assert is_fine([], leaf=[policies(ONE)])
    assert is_fine([policies(ONE)], leaf=[policies(TWO)])
    assert is_fine([constraints(mapping=0), inhibit_any(0)])


@pytest.mark.parametrize(
    ("leaf", "is_good"),
    [([policies(ONE)], True), ([policies(ANY)], True), ([policies(TWO)], False), ([], False)],
)
def test_a_required_policy_must_be_there(leaf, is_good):
    assert is_fine([constraints(0), policies(ONE)], leaf=leaf) == is_good
    assert is_fine([constraints(0), policies(ANY)], leaf=leaf) == bool(leaf)


def test_a_policy_is_required_only_so_many_certificates_further_down():
    assert is_fine([constraints(3)], [], leaf=[])
    assert not is_fine([constraints(2)], [], leaf=[])
    assert is_fine([constraints(4)], [], [], leaf=[])
    assert not is_fine([constraints(1)], [], [], leaf=[])
    assert is_fine([constraints(5)], [constraints(4)], leaf=[])
    assert not is_fine([constraints(5)], [constraints(0)], leaf=[])


def test_a_ca_in_the_middle_must_have_it_too():
    certificate, above = path([constraints(0), policies(ONE)], [policies(TWO)], leaf=[policies(ONE)])
    assert (
        check_policies(certificate, above) == "the CA 'CN=CA 1' has no certificate policy that a CA above it requires"
    )
    assert is_fine([constraints(0), policies(ONE, TWO)], [policies(TWO)], leaf=[policies(TWO)])
    assert not is_fine([constraints(0), policies(ONE, TWO)], [policies(TWO)], leaf=[policies(ONE)])


def test_a_leaf_may_require_its_own():
    assert is_fine([policies(ONE)], leaf=[policies(ONE), constraints(0)])
    assert not is_fine([], leaf=[policies(ONE), constraints(0)])
    assert is_fine([], leaf=[constraints(1)])
    assert is_fine([], leaf=[constraints(mapping=0)])


def test_any_policy_can_be_inhibited():
    assert not is_fine([constraints(0), inhibit_any(0), policies(ONE)], leaf=[policies(ANY)])
    assert is_fine([constraints(0), inhibit_any(1), policies(ONE)], leaf=[policies(ANY)]) is True
    assert not is_fine([constraints(0), inhibit_any(1), policies(ONE)], [policies(ONE)], leaf=[policies(ANY)])


def test_a_ca_that_certifies_its_own_new_key_counts_as_one():
    """Self-issued certificates use up none of the counts, and may say anyPolicy."""
    old = ROOT.issue_ca(extensions=[*ca_extensions(), constraints(0), inhibit_any(0), policies(ONE)])
    new = old.issue_ca(extensions=[*ca_extensions(), policies(ANY)])
    leaf = new.issue(extensions=[policies(ONE)])
    assert check_policies(leaf.certificate, [new.certificate, old.certificate, ROOT.certificate]) is None
    other = old.issue_ca("CN=Other", extensions=[*ca_extensions(), policies(ANY)])
    leaf = other.issue(extensions=[policies(ONE)])
    assert check_policies(leaf.certificate, [other.certificate, old.certificate, ROOT.certificate]) is not None


def test_policies_are_mapped():
    one_is_two = [constraints(0), policies(ONE), mappings((ONE, TWO))]
    assert is_fine(one_is_two, leaf=[policies(TWO)])
    assert not is_fine(one_is_two, leaf=[policies(ONE)])
    assert not is_fine([constraints(0), policies(ONE), mappings((TWO, THREE))], leaf=[policies(THREE)])
    assert is_fine([constraints(0), policies(ANY), mappings((ONE, TWO))], leaf=[policies(THREE)])
    assert is_fine([constraints(0), policies(ANY), mappings((ONE, TWO))], [policies(TWO)], leaf=[policies(TWO)])
    many = mappings((ONE, TWO), (ONE, THREE), (TWO, THREE), (TWO, ONE), (THREE, ONE), (THREE, TWO), (ONE, TWO))
    assert is_fine([constraints(0), policies(ONE), many], leaf=[policies(THREE)])


def test_mapping_can_be_inhibited():
    first = [constraints(0, mapping=0), policies(ONE)]
    assert not is_fine(first, [policies(ONE), mappings((ONE, TWO))], leaf=[policies(TWO)])
    assert not is_fine(first, [policies(ONE), mappings((ONE, TWO))], leaf=[policies(ONE)])
    assert is_fine(first, [policies(ONE), mappings((TWO, THREE))], leaf=[policies(ONE)])


@pytest.mark.parametrize("pair", [(ANY, ONE), (ONE, ANY)])
def test_any_policy_is_never_mapped(pair):
    certificate, above = path([policies(ONE), mappings(pair)], leaf=[policies(ONE)])
    assert check_policies(certificate, above) == "the CA 'CN=CA 0' maps anyPolicy to another policy, or another to it"


@pytest.mark.parametrize("der", [b"", b"\x30\x00\x00", b"\x30\x02\x05\x00", b"\x04\x00", sequence(oid_der(ONE))])
def test_mappings_that_cannot_be_read_make_the_path_unreadable(der):
    broken = (x509.UnrecognizedExtension(ObjectIdentifier("2.5.29.33"), der), True)
    certificate, above = path([policies(ONE), broken], leaf=[policies(ONE)])
    assert judge(certificate, above, make_trust([ROOT.certificate]), NOW).reason is Reason.CERTIFICATE_UNTRUSTED


def test_the_anchors_own_extensions_are_not_asked():
    """Whoever configured it knows what it is for."""
    root = Ca.make(extensions=[*ca_extensions(), constraints(0)])
    leaf = root.issue()
    assert check_policies(leaf.certificate, [root.certificate]) is None


def test_thirty_levels_of_mappings_cost_nothing():
    """A tree would have a thousand million leaves (CVE-2023-0464)."""
    cross = mappings((ONE, ONE), (ONE, TWO), (TWO, ONE), (TWO, TWO))
    key = ROOT.key
    level = build(
        "CN=deep", key.public_key(), "CN=deeper", key, extensions=[*ca_extensions(), policies(ONE, TWO), cross]
    )
    leaf = Leaf(build("CN=leaf", key.public_key(), "CN=deep", key, extensions=[policies(TWO), constraints(0)]), key)
    assert check_policies(leaf.certificate, [level] * 30 + [ROOT.certificate]) is None
