"""A certificate with several paths: the first that counts lets it in, in whatever order CAs are configured or sent."""

import gc
import weakref
from itertools import permutations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from OpenSSL import crypto
from support.pki import DAY, NOW, SERVER_AUTH, Ca, build, ca_extensions, dsa_key, ec_key, rsa_key

from gateway.facts import Reason
from gateway.tls.client_cert import judge
from gateway.tls.trust import make_trust
from gateway.x509 import paths
from gateway.x509.names import fingerprint_of
from gateway.x509.paths import Paths
from gateway.x509.revocation_list import parse_lists

NAME = "CN=Example Issuing CA"
FOR_SERVERS = (x509.ExtendedKeyUsage(SERVER_AUTH), False)
UNREADABLE = (
    x509.UnrecognizedExtension(x509.ExtensionOID.SUBJECT_ALTERNATIVE_NAME, bytes.fromhex("3004a3023000")),
    False,
)


def names(value):
    return (x509.SubjectAlternativeName([x509.DNSName(value)]), False)


def constraints(permitted=None, excluded=None):
    return (x509.NameConstraints(permitted and [permitted], excluded and [excluded]), True)


def mail_only(domain):
    return constraints(x509.RFC822Name(domain))


def judgements(leaf, anchors, chain, crls=()):
    """By each order of the anchors and of the chain."""
    lists = [entry for crl in crls for entry in parse_lists(crl, "a.crl")]
    return [
        judge(
            leaf.certificate,
            [ca.certificate for ca in sent],
            make_trust([ca.certificate for ca in configured], lists, "require" if crls else None),
            NOW,
        )
        for configured in permutations(anchors)
        for sent in permutations(chain)
    ]


def reasons(leaf, anchors, chain=(), crls=()):
    return {judgement.reason for judgement in judgements(leaf, anchors, chain, crls)}


@pytest.fixture
def two():
    """Two roots, and what makes a CA of one name and key below each: `two(of_first, of_second)` takes options."""
    roots = Ca.make("CN=Root A"), Ca.make("CN=Root B")

    def certify(*options):
        key = ec_key()
        return roots, [root.issue_ca(NAME, key=key, **more) for root, more in zip(roots, options, strict=True)]

    return certify


BAD = {
    "for servers only": {"extensions": [*ca_extensions(), FOR_SERVERS]},
    "ended": {"not_before": NOW - 3 * DAY, "not_after": NOW - DAY},
    "not begun": {"not_before": NOW + DAY},
    "no CA": {"extensions": [(x509.BasicConstraints(ca=False, path_length=None), True)]},
    "of another domain": {"extensions": [*ca_extensions(), mail_only("example.org")]},
    "unreadable": {"extensions": [*ca_extensions(), UNREADABLE]},
    "with an unknown critical extension": {
        "extensions": [*ca_extensions(), (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\5\0"), True)]
    },
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("is_anchor", [False, True])
def test_a_path_that_does_not_count_hides_none_that_does(two, bad, is_anchor):
    roots, (wrong, right) = two(BAD[bad], {})
    leaf = right.issue(email="alice@example.com")
    if is_anchor:
        assert reasons(leaf, (wrong, right)) == {None}
    else:
        assert reasons(leaf, roots, (wrong, right)) == {None}
        assert reasons(leaf, roots[:1], (wrong, right)) != {None}


def test_a_revoked_certificate_of_a_ca_hides_no_other(two):
    roots, (revoked, good) = two({}, {})
    leaf, other = good.issue(), good.issue("CN=bob")
    crls = roots[0].crl([revoked.certificate]), roots[1].crl(), good.crl([other.certificate])
    assert reasons(leaf, roots, (revoked, good), crls) == {None}
    assert reasons(leaf, roots[:1], (revoked, good), crls) == {Reason.CERTIFICATE_REVOKED}
    assert reasons(other, roots, (revoked, good), crls) == {Reason.CERTIFICATE_REVOKED}


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("ended", "for servers only", Reason.CERTIFICATE_WRONG_USAGE),
        ("unreadable", "for servers only", Reason.CERTIFICATE_WRONG_USAGE),
        ("unreadable", "with an unknown critical extension", Reason.CERTIFICATE_UNTRUSTED),
        ("ended", "of another domain", Reason.CERTIFICATE_UNTRUSTED),
    ],
)
def test_without_any_that_counts_the_most_useful_refusal_is_told(two, first, second, reason):
    roots, cas = two(BAD[first], BAD[second])
    leaf = cas[0].issue(email="alice@example.com")
    found = judgements(leaf, roots, cas)
    assert {judgement.reason for judgement in found} == {reason}
    assert len({judgement.detail for judgement in found}) == 1
    assert found[0].identity.emails == ("alice@example.com",)


def test_a_leaf_that_ended_has_ended_by_each_path(two):
    roots, cas = two({}, BAD["for servers only"])
    late = cas[0].issue(not_before=NOW - 3 * DAY, not_after=NOW - DAY)
    assert reasons(late, roots, cas) == {Reason.CERTIFICATE_EXPIRED}


@pytest.mark.parametrize("is_anchor", [False, True])
def test_cas_of_one_name_and_key_with_constraints_and_without(two, is_anchor):
    roots, (bound, free) = two({"extensions": [*ca_extensions(), mail_only("example.com")]}, {})
    both = ((bound, free), ()) if is_anchor else (roots, (bound, free))
    for domain in ("example.com", "example.org"):
        leaf = free.issue(email=f"bob@{domain}")
        assert reasons(leaf, *both) == {None}
    only = ((bound,), ()) if is_anchor else (roots[:1], (bound, free))
    assert reasons(leaf, *only) == {Reason.CERTIFICATE_UNTRUSTED}


def test_each_of_two_constraints_on_one_name_and_key_counts_for_its_own_domain(two):
    roots, cas = two(
        {"extensions": [*ca_extensions(), mail_only("example.com")]},
        {"extensions": [*ca_extensions(), mail_only("example.org")]},
    )
    for domain, expected in (("example.com", None), ("example.org", None), ("x.example", Reason.CERTIFICATE_UNTRUSTED)):
        leaf = cas[0].issue(email=f"bob@{domain}")
        assert reasons(leaf, roots, cas) == reasons(leaf, cas) == {expected}
        # A name that OpenSSL knows no constraint for.
        assert reasons(cas[0].issue(upn_name=f"bob@{domain}"), roots, cas) == {expected}
    found = judgements(cas[0].issue(email="bob@example.org"), roots, cas)
    assert all(judgement.identity.is_constrained for judgement in found)


def test_a_name_that_one_path_forbids_to_a_ca_of_the_same_chain():
    """As nc-forbids-same-chain-ica of x509-limbo."""
    root_a, root_b = Ca.make("CN=Root A"), Ca.make("CN=Root B")
    forbidding = constraints(excluded=x509.DNSName("forbidden.example.com"))
    ca_a = root_a.issue_ca("CN=Intermediate A", extensions=[*ca_extensions(), forbidding])
    first = ca_a.issue_ca(NAME, extensions=[*ca_extensions(), names("forbidden.example.com")])
    extensions = [*ca_extensions(), names("unconstrained-ica.example.com")]
    second = root_b.issue_ca(NAME, key=first.key, extensions=extensions)
    leaf = first.issue("CN=unconstrained.example.com", dns="unconstrained.example.com")
    assert reasons(leaf, (root_a, root_b), (ca_a, first, second)) == {None}
    assert reasons(leaf, (root_a,), (ca_a, first, second)) == {Reason.CERTIFICATE_UNTRUSTED}


def test_a_path_to_a_root_that_is_not_trusted_hides_none_to_one_that_is():
    """As nc-forbids-alternate-chain-ica of x509-limbo."""
    discarded, trusted = Ca.make("CN=Discarded"), Ca.make("CN=Trusted")
    constraint = constraints(x509.DNSName("permitted.example.com"), x509.DNSName("forbidden.example.com"))
    ca_a = trusted.issue_ca("CN=Intermediate A", extensions=[*ca_extensions(), constraint])
    first = discarded.issue_ca(NAME, extensions=[*ca_extensions(), names("forbidden.example.com")])
    second = ca_a.issue_ca(NAME, key=first.key)
    leaf = first.issue("CN=permitted.example.com", dns="permitted.example.com")
    assert reasons(leaf, (trusted,), (ca_a, first, second)) == {None}
    assert reasons(first.issue(dns="forbidden.example.com"), (trusted,), (ca_a, first, second)) == {
        Reason.CERTIFICATE_UNTRUSTED
    }


@pytest.fixture
def bound():
    return Ca.make("CN=Bound Root", extensions=[*ca_extensions(), mail_only("example.com")])


def spelled(issuer, name):
    """A CA below `issuer`, whose name it spells in another way."""
    key = ec_key()
    certificate = build("CN=Issuing", key.public_key(), name, issuer.key, extensions=ca_extensions())
    return Ca(certificate, key, (certificate,))


@pytest.mark.parametrize("name", ["CN=BOUND root", "CN=Bound  Root"])
def test_an_anchor_does_not_escape_constraints_by_a_spelling(bound, name):
    issuing = spelled(bound, name)
    anchors = bound, issuing
    assert reasons(issuing.issue(email="a@example.com"), anchors) == {None}
    assert reasons(issuing.issue(email="a@example.org"), anchors) == {Reason.CERTIFICATE_UNTRUSTED}
    sent = spelled(bound, name)
    assert reasons(sent.issue(email="a@example.com"), (bound,), (sent,)) == {None}
    assert reasons(sent.issue(email="a@example.org"), (bound,), (sent,)) == {Reason.CERTIFICATE_UNTRUSTED}


def test_an_anchor_below_one_with_constraints_and_one_without(bound):
    free = Ca.make("CN=Free Root")
    issuing = bound.issue_ca(NAME)
    also = free.issue_ca(NAME, key=issuing.key)
    leaf = issuing.issue(email="a@example.org")
    assert reasons(leaf, (bound, free, issuing)) == {Reason.CERTIFICATE_UNTRUSTED}
    assert reasons(leaf, (bound, free, issuing, also)) == {None}
    assert reasons(leaf, (bound, free), (issuing, also)) == {None}


def test_an_anchor_that_has_too_many_ways_up_lets_nobody_in(bound, monkeypatch):
    middles = [bound.issue_ca("CN=Middle", key=ec_key()) for _ in range(2)]
    key = ec_key()
    issuing = [middle.issue_ca(NAME, key=key) for middle in middles]
    anchors = bound, *middles, issuing[0]
    leaf = issuing[0].issue(email="a@example.com")
    assert reasons(leaf, anchors) == {None}
    monkeypatch.setattr(paths, "MAX_WAYS", 2)
    assert reasons(leaf, anchors) == {Reason.CERTIFICATE_UNTRUSTED}


def certified_by_each_other(root):
    """(a CA below `root`, that CA's key certified by one which it certified itself, this one)."""
    first = root.issue_ca("CN=First")
    second = first.issue_ca("CN=Second")
    return first, second.issue_ca("CN=First", key=first.key), second


def test_cas_that_certify_each_other_make_no_endless_path():
    root = Ca.make()
    cas = certified_by_each_other(root)
    leaf = cas[0].issue()
    assert reasons(leaf, (root,), cas) == {None}
    assert reasons(leaf, (Ca.make("CN=Other"),), cas) == {Reason.CERTIFICATE_UNTRUSTED}
    identifier = x509.AuthorityKeyIdentifier(
        None, [x509.DirectoryName(root.certificate.subject)], cas[0].certificate.serial_number
    )
    by_serial = cas[0].issue(extensions=[(identifier, False)])  # OpenSSL goes the short way only
    found = judgements(by_serial, (root,), cas)
    assert {judgement.identity.chain_der for judgement in found} == {(cas[0].der, root.der)}
    also = Paths([root.certificate]).find(by_serial.der, [ca.der for ca in cas])
    assert [len(way.path) for way in also] == [2]


@pytest.mark.parametrize(
    ("key", "algorithm", "reason"),
    [
        (ed25519.Ed25519PrivateKey.generate(), None, None),
        (ed448.Ed448PrivateKey.generate(), None, None),
        (ec_key(ec.SECP384R1()), "default", None),
        (rsa_key(3072), "default", None),
        (dsa_key(), "default", Reason.CERTIFICATE_UNTRUSTED),
    ],
    ids=["ed25519", "ed448", "p384", "rsa", "dsa"],
)
def test_kinds_of_keys_among_cas_of_one_name(key, algorithm, reason):
    ca, other = Ca.make(NAME, key=key, algorithm=algorithm), Ca.make(NAME)
    assert reasons(ca.issue(algorithm=algorithm), (ca, other)) == {reason}
    assert reasons(other.issue(), (ca, other)) == {None}


def renewed_by(root):
    """A new key that the old one certified. OpenSSL takes it for self-signed unless it names another key."""
    key = ec_key()
    identifiers = [
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(root.key.public_key()), False),
    ]
    return root.issue_ca("CN=Example Ltd", key=key, extensions=[*ca_extensions(), *identifiers])


def test_a_new_key_does_not_escape_the_constraints_of_the_old_one_that_certified_it():
    first = ec_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(first.public_key()), False
    old = Ca.make("CN=Example Ltd", key=first, extensions=[*ca_extensions(), mail_only("example.com"), identifier])
    new = renewed_by(old)
    key = x509.AuthorityKeyIdentifier.from_issuer_public_key(new.key.public_key()), False
    assert reasons(new.issue(email="a@example.com", extensions=[key]), (old, new)) == {None}
    other = new.issue(email="a@example.org", extensions=[key])
    assert reasons(other, (old, new)) == {Reason.CERTIFICATE_UNTRUSTED}
    root = Ca.make("CN=Example Ltd", key=new.key)  # one that has no CA above it
    assert reasons(other, (old, root)) == {None}


@pytest.mark.parametrize("between", [0, 1])
def test_a_ca_below_another_of_its_name(between):
    """A new key that the old one certified; or a root and an issuing CA named alike. The leaves name no key."""
    root = Ca.make("CN=Example Ltd")
    above = root.issue_ca("CN=Policy CA") if between else root
    issuing = above.issue_ca("CN=Example Ltd") if between else renewed_by(root)
    cas = issuing, *((above,) if between else ())
    assert reasons(issuing.issue(), (root,), cas) == {None}
    assert reasons(root.issue(), (root,), cas) == {None}
    assert reasons(issuing.issue(), (Ca.make("CN=Example Ltd"),), cas) == {Reason.CERTIFICATE_UNTRUSTED}
    assert reasons(issuing.issue(), (root, issuing), cas[1:]) == {None}


def test_a_new_key_that_names_no_other_and_that_the_old_one_certified():
    """OpenSSL takes it for self-signed."""
    root = Ca.make("CN=Example Ltd")
    renewed = root.issue_ca("CN=Example Ltd")
    again = renewed.issue_ca("CN=Example Ltd")
    stranger = Ca.make("CN=Example Ltd")
    assert reasons(renewed.issue(), (root,), (renewed,)) == {None}
    assert reasons(root.issue(), (root,), (renewed,)) == {None}
    assert reasons(again.issue(), (root,), (renewed, again)) == {None}
    assert reasons(again.issue(), (root, renewed), (again,)) == {None}
    assert reasons(renewed.issue(), (root, renewed)) == {None}
    assert reasons(stranger.issue(), (root,), (renewed,)) == {Reason.CERTIFICATE_UNTRUSTED}
    assert reasons(renewed.issue(), (stranger,), (renewed,)) == {Reason.CERTIFICATE_UNTRUSTED}
    configured = judgements(renewed.issue(), (root, renewed), ())
    assert {judgement.identity.path_fingerprints >= {fingerprint_of(root.certificate)} for judgement in configured} == {
        True
    }


def test_two_issuing_cas_of_one_name_where_one_certified_the_other():
    root = Ca.make()
    first = root.issue_ca(NAME)
    second = first.issue_ca(NAME)
    for issuing in (first, second):
        assert reasons(issuing.issue(), (root,), (first, second)) == {None}
        assert reasons(issuing.issue(), (root, first), (second,)) == {None}


@pytest.mark.parametrize("where", ["root", "renewed", "again"])
@pytest.mark.parametrize(
    "extension", [mail_only("example.com"), BAD["with an unknown critical extension"]["extensions"][1]]
)
def test_what_could_be_overlooked_above_a_new_key_is_refused(extension, where):
    def extensions(of):
        return [*ca_extensions(), *([extension] if of == where else [])]

    root = Ca.make("CN=Example Ltd", extensions=extensions("root"))
    renewed = root.issue_ca("CN=Example Ltd", extensions=extensions("renewed"))
    again = renewed.issue_ca("CN=Example Ltd", extensions=extensions("again"))
    leaf = again.issue(email="a@example.org")
    assert reasons(leaf, (root,), (renewed, again)) == {Reason.CERTIFICATE_UNTRUSTED}


def test_a_client_named_as_the_ca_that_signed_it():
    root = Ca.make("CN=Example Ltd")
    renewed = root.issue_ca("CN=Example Ltd")
    critical = BAD["with an unknown critical extension"]["extensions"][1]
    leaf = renewed.issue("CN=Example Ltd", extensions=[critical])
    assert reasons(leaf, (root,), (renewed,)) == {Reason.CERTIFICATE_UNTRUSTED}


def test_nothing_is_remembered_of_the_cas_that_clients_send():
    root = Ca.make("CN=Example Ltd")
    renewed = root.issue_ca("CN=Example Ltd")
    found = Paths([root.certificate])
    kept = set()
    for _ in range(3):
        assert list(found.find(renewed.issue().der, [renewed.der]))
        gc.collect()
        kept.add(sum(isinstance(each, crypto.X509Store) for each in gc.get_objects()))
    assert len(kept) == 1


@pytest.mark.parametrize(
    ("of_root", "of_middle", "of_issuing", "is_trusted"),
    [
        (2, None, None, True),
        (1, None, None, False),
        (None, 1, 0, True),
        (None, 0, None, False),
    ],
)
def test_path_lengths_count_where_a_name_comes_twice(of_root, of_middle, of_issuing, is_trusted):
    root = Ca.make("CN=Example Ltd", extensions=ca_extensions(of_root))
    middle = root.issue_ca("CN=Policy CA", extensions=ca_extensions(of_middle))
    issuing = middle.issue_ca("CN=Example Ltd", extensions=ca_extensions(of_issuing))
    expected = None if is_trusted else Reason.CERTIFICATE_UNTRUSTED
    assert reasons(issuing.issue(), (root,), (middle, issuing)) == {expected}


def test_a_self_issued_ca_is_not_counted_in_a_path_length():
    root = Ca.make("CN=Example Ltd", extensions=ca_extensions(0))
    renewed = renewed_by(root)
    assert reasons(renewed.issue(), (root,), (renewed,)) == {None}
    below = renewed.issue_ca("CN=Below")
    assert reasons(below.issue(), (root,), (renewed, below)) == {Reason.CERTIFICATE_UNTRUSTED}


@pytest.mark.parametrize(
    "extension", [mail_only("example.com"), BAD["with an unknown critical extension"]["extensions"][1]]
)
@pytest.mark.parametrize("where", ["root", "middle", "issuing"])
def test_what_could_be_overlooked_where_a_name_comes_twice_is_refused(extension, where):
    def extensions(of):
        return [*ca_extensions(), *([extension] if of == where else [])]

    root = Ca.make("CN=Example Ltd", extensions=extensions("root"))
    middle = root.issue_ca("CN=Policy CA", extensions=extensions("middle"))
    issuing = middle.issue_ca("CN=Example Ltd", extensions=extensions("issuing"))
    assert reasons(issuing.issue(email="a@example.org"), (root,), (middle, issuing)) == {Reason.CERTIFICATE_UNTRUSTED}


def test_the_constraints_of_the_issuer_count_where_a_name_comes_twice():
    root = Ca.make("CN=Example Ltd")
    middle = root.issue_ca("CN=Policy CA")
    issuing = middle.issue_ca("CN=Example Ltd", extensions=[*ca_extensions(), mail_only("example.com")])
    for domain, expected in (("example.com", None), ("example.org", Reason.CERTIFICATE_UNTRUSTED)):
        leaf = issuing.issue(email=f"a@{domain}")
        assert reasons(leaf, (root,), (middle, issuing)) == {expected}


def test_no_client_poses_as_the_ca_that_signed_it_where_a_name_comes_twice():
    root = Ca.make("CN=Example Ltd")
    alice = root.issue("CN=Example Ltd")
    key = ec_key()
    eve = build("CN=eve", key.public_key(), "CN=Example Ltd", alice.key)
    for chain in permutations((alice.certificate, root.certificate)):
        judgement = judge(eve, chain, make_trust([root.certificate]), NOW)
        assert judgement.reason is Reason.CERTIFICATE_UNTRUSTED


@pytest.mark.parametrize("bad", [None, *BAD])
def test_a_verdict_leaves_nothing_behind_that_only_the_garbage_collector_frees(two, bad):
    """A frame that lives on keeps the connection, whose TLS 1.2 session counts until it is freed."""
    roots, cas = two(BAD.get(bad, {}), BAD.get(bad, {}))
    trust = make_trust([root.certificate for root in roots])
    leaf, stranger = cas[0].issue(email="alice@example.com"), Ca.make("CN=Root A").issue()
    sent = [ca.der for ca in cas]

    class Caller:
        pass

    def ask(shown):
        caller = Caller()  # what a frame that lives on would keep
        freed = weakref.finalize(caller, lambda: None)
        judge(shown, sent, trust, NOW)
        return freed

    gc.collect()
    gc.disable()
    try:
        assert [ask(shown.der).alive for shown in (leaf, stranger)] == [False, False]
    finally:
        gc.enable()
