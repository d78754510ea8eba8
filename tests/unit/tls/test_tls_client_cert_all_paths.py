"""A certificate with several paths that count: what rules ask of them doesn't depend on which one is found first."""

from itertools import permutations

import pytest
from cryptography import x509
from support.pki import DAY, NOW, SERVER_AUTH, Ca, build, ca_extensions, ec_key

from gateway.facts import Reason
from gateway.tls.client_cert import examine
from gateway.tls.trust import make_trust
from gateway.x509 import paths
from gateway.x509.names import fingerprint
from gateway.x509.revocation_list import parse_lists

NAME = "CN=Example Root CA"
MIDDLE = "CN=Example Issuing CA"
UNKNOWN = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\5\0"), True)
# By the length of their certificates CAs are sorted.
LONG = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\4\x7f" + bytes(0x7F)), False)
UNREADABLE = (
    x509.UnrecognizedExtension(x509.ExtensionOID.SUBJECT_ALTERNATIVE_NAME, bytes.fromhex("3004a3023000")),
    False,
)
BOUND = [*ca_extensions(), (x509.NameConstraints([x509.RFC822Name("example.com")], None), True)]


def found(leaf, anchors, sent=(), crls=(), at=NOW):
    """What is found, which is the same for each order of the anchors and of what was sent."""
    lists = [entry for crl in crls for entry in parse_lists(crl, "a.crl")]
    examinations = [
        examine(
            leaf.der,
            [ca.der for ca in sending],
            make_trust([ca.certificate for ca in order], lists, "require" if crls else None),
            at,
        )
        for order in permutations(anchors)
        for sending in permutations(sent)
    ]
    assert all(each == examinations[0] for each in examinations)
    return examinations[0]


def passes(leaf, anchors, sent=(), **more):
    """The fingerprints of the CAs that a rule may name."""
    examination = found(leaf, anchors, sent, **more)
    assert examination.judgement.is_trusted, examination.judgement.detail
    return examination.judgement.identity.path_fingerprints


def prints(*cas):
    return {fingerprint(ca.der) for ca in cas}


@pytest.mark.parametrize("longer", [0, 1])
def test_both_certificates_of_a_ca_that_was_renewed_with_its_key(longer):
    extensions = [ca_extensions(), [*ca_extensions(), LONG]]
    old = Ca.make(NAME, extensions=extensions[longer])
    new = Ca.make(NAME, key=old.key, not_after=NOW + 10 * DAY, extensions=extensions[not longer])
    leaf = new.issue(not_after=NOW + 20 * DAY)
    assert passes(leaf, (old, new)) == prints(old, new)
    examination = found(leaf, (old, new))
    assert examination.is_alone
    assert examination.until == new.certificate.not_valid_after_utc  # what is told of both doesn't hold any longer
    assert passes(leaf, (old, new), at=NOW + 11 * DAY) == prints(old)
    # The same with the CAs that a client sends.
    root = Ca.make()
    middles = root.issue_ca(MIDDLE), root.issue_ca(MIDDLE, not_after=NOW + 10 * DAY)
    twins = middles[0], root.issue_ca(MIDDLE, key=middles[0].key)
    assert passes(twins[0].issue(), (root,), (*twins, middles[1])) == prints(root, *twins)
    assert not found(twins[0].issue(), (root, twins[0]), twins[1:]).is_alone


def test_an_anchor_above_an_anchor():
    root = Ca.make(NAME)
    middle = root.issue_ca(MIDDLE)
    below = middle.issue_ca("CN=Below")
    for anchors in ((root, middle), (root, middle, below)):
        assert passes(middle.issue(), anchors) == prints(root, middle)
        examination = found(below.issue(), anchors, (below,))
        assert examination.judgement.identity.path_fingerprints == prints(root, middle, below)
        assert examination.is_alone is (below in anchors)
    assert passes(root.issue(), (root, middle, below)) == prints(root)
    assert passes(below.issue(), (root, below)) == prints(below)  # what is between the two is not known


def test_a_new_key_that_the_old_one_certified():
    old, key = Ca.make(NAME), ec_key()
    identifiers = [
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(old.key.public_key()), False),
    ]
    new = old.issue_ca(NAME, key=key, extensions=[*ca_extensions(), *identifiers])
    assert passes(new.issue(), (old, new)) == prints(old, new)


@pytest.mark.parametrize(
    "options",
    [
        {"not_before": NOW - 3 * DAY, "not_after": NOW - DAY},
        {"extensions": ca_extensions(path_length=0)},
        {"extensions": [*ca_extensions(), UNKNOWN]},
        {"extensions": [*ca_extensions(), (x509.ExtendedKeyUsage(SERVER_AUTH), False)]},
    ],
    ids=["ended", "path length", "unknown extension", "for servers"],
)
def test_an_anchor_above_by_which_there_is_no_valid_path_is_none_of_its_cas(options):
    root = Ca.make(NAME, **options)
    middle = root.issue_ca(MIDDLE)
    below = middle.issue_ca("CN=Below")
    assert passes(below.issue(), (root, middle, below)) == prints(middle, below)
    assert passes(below.issue(), (root, middle), (below,)) == prints(middle, below)


def test_an_unreadable_ca_between_is_refused_as_such():
    root = Ca.make(NAME)
    middle = root.issue_ca(MIDDLE)
    below = middle.issue_ca("CN=Below", extensions=[*ca_extensions(), UNREADABLE])
    judgement = found(below.issue(), (root, middle), (below,)).judgement
    assert judgement.reason is Reason.CERTIFICATE_UNTRUSTED
    assert judgement.detail == "a certificate on the path to the CA is not readable"


def test_what_an_anchor_above_has_revoked_does_not_go_through_it():
    root = Ca.make(NAME)
    middle = root.issue_ca(MIDDLE)
    leaf = middle.issue()
    assert passes(leaf, (root, middle), crls=(root.crl(), middle.crl())) == prints(root, middle)
    assert passes(leaf, (root, middle), crls=(root.crl([middle.certificate]), middle.crl())) == prints(middle)
    ends = root.crl(next_update=NOW + DAY), middle.crl(next_update=NOW + 2 * DAY)
    assert found(leaf, (root, middle), crls=ends).until == NOW + DAY


@pytest.mark.parametrize("more", [(), (LONG,)])
@pytest.mark.parametrize("is_anchor", [False, True])
def test_one_path_without_name_constraints_is_enough_for_every_name(more, is_anchor):
    roots = Ca.make("CN=Root A"), Ca.make("CN=Root B")
    bound = roots[0].issue_ca(MIDDLE, extensions=BOUND)
    free = roots[1].issue_ca(MIDDLE, key=bound.key, extensions=[*ca_extensions(), *more])
    both = ((bound, free), ()) if is_anchor else (roots, (bound, free))
    for leaf in (bound.issue(email="alice@example.com"), bound.issue("CN=bob@example.org")):
        assert not found(leaf, *both).judgement.identity.is_constrained
    # The path that forbids the name doesn't count, so its CA is none of the certificate's.
    assert fingerprint(bound.der) not in passes(leaf, *both)
    alone = ((bound,), ()) if is_anchor else (roots[:1], (bound, free))
    assert found(bound.issue(email="alice@example.com"), *alone).judgement.identity.is_constrained


def test_the_only_path_is_checked_once(monkeypatch):
    asked = []
    real = paths.Paths._is_valid_as_a_whole
    root = Ca.make(NAME)
    middle = root.issue_ca(MIDDLE)
    trusts = make_trust([root.certificate]), make_trust([root.certificate, middle.certificate])
    monkeypatch.setattr(paths.Paths, "_is_valid_as_a_whole", lambda *given: asked.append(given) or real(*given))
    leaf = middle.issue()
    for trust in trusts:
        assert examine(leaf.der, [middle.der], trust, NOW).judgement.is_trusted
        assert len(asked) == 1
        asked.clear()


def test_anchors_that_certified_each_other():
    roots = Ca.make("CN=Root A"), Ca.make("CN=Root B")
    crossed = [
        Ca(build(name, ca.key.public_key(), by.certificate.subject, by.key, extensions=ca_extensions()), ca.key, ())
        for name, ca, by in (("CN=Root A", *roots), ("CN=Root B", *roots[::-1]))
    ]
    assert passes(roots[0].issue(), (*roots, *crossed)) == prints(*roots, *crossed)
