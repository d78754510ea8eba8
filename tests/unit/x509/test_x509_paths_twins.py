"""CAs of one name and different keys: each counts for its own users, in whatever order they stand or come."""

import base64
from itertools import permutations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from support.pki import DAY, NOW, Ca, build, ca_extensions, ec_key, of_version_six

from gateway.facts import Reason
from gateway.tls.client_cert import judge
from gateway.tls.trust import make_trust
from gateway.x509 import path_search
from gateway.x509.path_search import ForgedError, PathError
from gateway.x509.paths import Paths

NAME = "CN=Example Root CA,O=Example Ltd"
MIDDLE = "CN=Example Issuing CA"


def mail_only(domain):
    return [*ca_extensions(), (x509.NameConstraints([x509.RFC822Name(domain)], None), True)]


def anchors_of(*authorities):
    return [authority.certificate for authority in authorities]


def find(anchors, leaf, chain=None):
    """The first path for each order of the anchors and of the chain; it is the same for all."""
    sent = leaf.chain if chain is None else chain
    chain_der = [certificate.public_bytes(Encoding.DER) for certificate in sent]
    found = {
        tuple(way.path for way in Paths(order).find(leaf.der, list(sending)))
        for order in permutations(anchors)
        for sending in permutations(chain_der)
    }
    assert len(found) == 1
    return found.pop()[0]


def reasons(anchors, leaf, chain=None):
    """The reasons for which the leaf is refused, over each order of the anchors and of the chain; None: trusted."""
    sent = leaf.chain if chain is None else chain
    return {
        judge(leaf.certificate, sending, make_trust(order), NOW).reason
        for order in permutations(anchors)
        for sending in permutations(sent)
    }


def test_the_users_of_two_roots_without_key_identifiers():
    old, new = Ca.make(NAME), Ca.make(NAME)
    for root in (old, new):
        assert find(anchors_of(old, new), root.issue()) == (root.certificate,)
        assert reasons(anchors_of(old, new), root.issue()) == {None}


def test_a_stranger_of_the_same_name_is_refused_in_each_order():
    roots = anchors_of(Ca.make(NAME), Ca.make(NAME))
    assert reasons(roots, Ca.make(NAME).issue()) == {Reason.CERTIFICATE_UNTRUSTED}
    stranger = Ca.make(NAME).issue_ca(MIDDLE)
    assert reasons(roots, stranger.issue(), (*stranger.chain, roots[0])) == {Reason.CERTIFICATE_UNTRUSTED}


def test_names_that_differ_in_case_only_are_one_to_openssl():
    lower, upper = Ca.make("CN=example root"), Ca.make("CN=EXAMPLE ROOT")
    for root in (lower, upper):
        assert find(anchors_of(lower, upper), root.issue()) == (root.certificate,)


def test_intermediates_that_the_client_sends():
    root = Ca.make(NAME)
    one, other = root.issue_ca(MIDDLE), root.issue_ca(MIDDLE)
    for middle in (one, other):
        path = find(anchors_of(root), middle.issue(), (one.certificate, other.certificate))
        assert path == (middle.certificate, root.certificate)


def test_intermediates_of_one_name_below_roots_of_one_name():
    roots = Ca.make(NAME), Ca.make(NAME)
    middles = [root.issue_ca(MIDDLE) for root in roots]
    for root, middle in zip(roots, middles, strict=True):
        path = find(anchors_of(*roots), middle.issue(), anchors_of(*middles))
        assert path == (middle.certificate, root.certificate)


def test_one_that_is_configured_beside_one_that_is_sent():
    root = Ca.make(NAME)
    configured, sent = root.issue_ca(MIDDLE), root.issue_ca(MIDDLE)
    anchors = anchors_of(root, configured)
    both = (configured.certificate, sent.certificate)
    assert find(anchors, sent.issue()) == (sent.certificate, root.certificate)
    assert find(anchors, sent.issue(), both) == (sent.certificate, root.certificate)
    assert find(anchors, configured.issue(), ()) == (configured.certificate,)
    assert find(anchors, configured.issue(), both) == (configured.certificate,)


def test_an_intermediate_that_two_roots_of_one_name_certified():
    roots = Ca.make(NAME), Ca.make(NAME)
    key = ec_key()
    ended = roots[0].issue_ca(MIDDLE, key=key, not_before=NOW - 3 * DAY, not_after=NOW - DAY)
    valid = roots[1].issue_ca(MIDDLE, key=key)
    leaf = valid.issue()
    for sending in permutations((ended, valid)):
        judgement = judge(leaf.certificate, anchors_of(*sending), make_trust(anchors_of(*roots)), NOW)
        assert judgement.identity.chain_der == (valid.der, roots[1].der)


def test_one_that_ended_beside_a_valid_one():
    ended, valid = Ca.make(NAME, not_before=NOW - 3 * DAY, not_after=NOW - DAY), Ca.make(NAME)
    anchors = anchors_of(ended, valid)
    assert find(anchors, valid.issue()) == (valid.certificate,)
    assert reasons(anchors, valid.issue()) == {None}
    assert find(anchors, ended.issue()) == (ended.certificate,)
    assert reasons(anchors, ended.issue()) == {Reason.CERTIFICATE_UNTRUSTED}
    late = valid.issue(not_before=NOW - 3 * DAY, not_after=NOW - DAY)
    assert reasons(anchors, late) == {Reason.CERTIFICATE_EXPIRED}


def test_what_openssl_heeds_of_one_does_not_bind_the_others_users():
    short, free = Ca.make(NAME, extensions=ca_extensions(path_length=0)), Ca.make(NAME)
    anchors = anchors_of(short, free)
    assert reasons(anchors, free.issue_ca(MIDDLE).issue()) == {None}
    assert reasons(anchors, short.issue_ca(MIDDLE).issue()) == {Reason.CERTIFICATE_UNTRUSTED}
    assert reasons(anchors, short.issue()) == {None}


@pytest.mark.parametrize("as_anchor", [False, True])
def test_name_constraints_bind_the_users_of_the_ca_that_has_them_and_no_others(as_anchor):
    bound, free = Ca.make(NAME, extensions=mail_only("example.com")), Ca.make(NAME)
    below = {root: root.issue_ca(MIDDLE) for root in (bound, free)}
    anchors = anchors_of(bound, free, *(below.values() if as_anchor else ()))
    for root, middle in below.items():
        for issuer in (root, middle):
            assert reasons(anchors, issuer.issue("CN=a", email="a@example.com")) == {None}
            foreign = {Reason.CERTIFICATE_UNTRUSTED} if root is bound else {None}
            assert reasons(anchors, issuer.issue("CN=b", email="b@other.example")) == foreign


def test_where_names_lead_one_way_the_signatures_are_left_to_openssl(monkeypatch):
    monkeypatch.setattr(path_search, "MAX_SIGNATURE_CHECKS", -1)
    root = Ca.make(NAME)
    assert find(anchors_of(root), root.issue()) == (root.certificate,)
    with pytest.raises(ForgedError, match="signature failure"):
        list(Paths(anchors_of(root)).find(Ca.make(NAME).issue().der, []))
    with pytest.raises(PathError, match="more than -1 signatures"):
        list(Paths(anchors_of(root, Ca.make(NAME, key=root.key))).find(root.issue().der, []))


def test_as_many_signatures_as_may_be_checked_and_one_more(monkeypatch):
    roots = [Ca.make(NAME) for _ in range(3)]
    leaf = roots[2].issue()
    monkeypatch.setattr(path_search, "MAX_SIGNATURE_CHECKS", 3)
    assert find(anchors_of(*roots), leaf) == (roots[2].certificate,)
    monkeypatch.setattr(path_search, "MAX_SIGNATURE_CHECKS", 2)
    with pytest.raises(PathError, match="more than 2 signatures"):
        list(Paths(anchors_of(*roots)).find(leaf.der, []))


@pytest.mark.parametrize(("curve", "most"), [(ec.SECP256R1(), 43), (ec.SECP384R1(), 7)])
def test_as_many_cas_of_one_name_as_there_may_be_and_one_more(curve, most):
    """So many that each is found whatever failed before."""
    roots = [Ca.make(NAME, key=ec_key(curve)) for _ in range(most + 1)]
    built = Paths(anchors_of(*roots[:most]))
    for root in (roots[0], roots[most - 1]):
        assert next(built.find(root.issue().der, [])).path == (root.certificate,)
    with pytest.raises(PathError, match="at most 42 wrong signatures"):
        list(Paths(anchors_of(*roots)).find(roots[0].issue().der, []))


def test_what_failed_checks_may_cost_ends_the_search():
    roots = [Ca.make(NAME, key=ec_key(ec.SECP384R1())) for _ in range(3)]
    sent = [Ca.make(NAME).der for _ in range(3)]
    built = Paths(anchors_of(*roots))
    stranger = Ca.make(NAME).issue()
    with pytest.raises(ForgedError):
        list(built.find(stranger.der, sent[:1]))
    with pytest.raises(PathError, match="too many CAs have the issuer's name"):
        list(built.find(stranger.der, sent))
    below = [root.issue_ca(MIDDLE, key=ec_key(ec.SECP384R1())) for root in roots[1:]]
    assert find(anchors_of(*roots), below[1].issue(), [ca.certificate for ca in below])


def test_a_ca_that_certified_itself_again_and_again_makes_no_loop():
    roots = [Ca.make(NAME), Ca.make(NAME)]
    sub = roots[1].issue_ca(MIDDLE)
    again = [build(MIDDLE, sub.key.public_key(), MIDDLE, sub.key, extensions=ca_extensions()) for _ in range(2)]
    leaf = sub.issue()
    assert find(anchors_of(*roots), leaf, [*sub.chain, *again]) == (sub.certificate, roots[1].certificate)


def test_cas_that_certified_one_another_make_no_loop():
    """CVE-2024-0567: A, B and C certified one another, and A is also the root."""
    subjects = [f"CN=Example Root {letter}" for letter in "ABC"]
    cas = [Ca.make(subject) for subject in subjects]
    crossed = [
        build(subject, ca.key.public_key(), other.certificate.subject, other.key, extensions=ca_extensions())
        for subject, ca in zip(subjects, cas, strict=True)
        for other in cas
        if other is not ca
    ]
    issuing = cas[0].issue_ca(MIDDLE)
    chain_der = [each.public_bytes(Encoding.DER) for each in (issuing.certificate, *crossed)]
    leaf = issuing.issue()
    for sent in (chain_der, chain_der[::-1]):
        first = next(iter(Paths(anchors_of(cas[0])).find(leaf.der, sent))).path
        assert first == (issuing.certificate, cas[0].certificate)


def test_many_ways_end_at_their_bound(monkeypatch):
    parent, chain = Ca.make(NAME), []
    root = parent
    for level in range(5):  # each certified twice by the one above: 32 paths
        below = parent.issue_ca(f"{MIDDLE} {level}")
        key, name = below.key.public_key(), parent.certificate.subject
        chain += [
            below.certificate,
            build(f"{MIDDLE} {level}", key, name, parent.key, extensions=ca_extensions(), serial=level + 1),
        ]
        parent = below
    chain_der = [each.public_bytes(Encoding.DER) for each in chain]
    with pytest.raises(PathError, match=f"more than {path_search.MAX_WAYS} paths"):
        list(Paths(anchors_of(root)).find(parent.issue().der, chain_der))
    roots = [Ca.make(NAME), Ca.make(NAME)]
    sub = roots[1].issue_ca(MIDDLE)
    monkeypatch.setattr(path_search, "MAX_WAYS", 3)
    leaf = sub.issue()
    assert find(anchors_of(*roots), leaf) == (sub.certificate, roots[1].certificate)
    monkeypatch.setattr(path_search, "MAX_WAYS", 2)
    with pytest.raises(PathError, match="more than 2 paths"):
        list(Paths(anchors_of(roots[0], roots[1])).find(leaf.der, leaf.chain_der))


def test_a_key_that_only_the_client_vouches_for_checks_no_signature(monkeypatch):
    checked = []
    real = path_search.has_signed
    roots = [Ca.make(NAME), Ca.make(NAME)]
    built = Paths(anchors_of(*roots))
    monkeypatch.setattr(path_search, "has_signed", lambda key, child: checked.append(key) or real(key, child))
    stranger = Ca.make(NAME).issue_ca(MIDDLE)
    with pytest.raises(PathError):
        list(built.find(stranger.issue().der, stranger.chain_der))
    assert len(checked) == len(roots)
    assert all(key in [root.key.public_key() for root in roots] for key in checked)


def test_a_name_that_openssl_cannot_read_is_told_in_words():
    root = Ca.make(NAME)
    visible_string = x509.NameAttribute(NameOID.COMMON_NAME, "alice", _ASN1Type.VisibleString)
    with pytest.raises(PathError, match=r"^OpenSSL can't read the certificate, or one above it$"):
        find(anchors_of(root), root.issue(x509.Name([visible_string])))


def test_junk_in_the_chain_leads_nowhere():
    roots = [Ca.make(NAME), Ca.make(NAME)]
    middle = roots[0].issue_ca(MIDDLE)
    point = middle.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    curve = bytes.fromhex("06082a8648ce3d030107")  # P-256
    assert curve in point
    unknown_key = middle.der.replace(curve, bytes.fromhex("06082a8648ce3d03017f"))
    unknown_version = _der(of_version_six(middle.certificate))
    name = MIDDLE.removeprefix("CN=").encode()
    typed_as_bits = middle.der.replace(
        b"\x0c" + bytes([len(name)]) + name, b"\x03" + bytes([len(name)]) + b"\0" + name[1:]
    )
    assert len({middle.der, unknown_key, unknown_version, typed_as_bits}) == 4
    junk = [unknown_key, unknown_version, typed_as_bits, b"junk"]
    for order in (roots, roots[::-1]):
        found = next(Paths(anchors_of(*order)).find(middle.issue().der, [*junk, middle.der]))
        assert found.path == (middle.certificate, roots[0].certificate)


def test_a_ca_whose_key_cannot_be_read_has_signed_nothing():
    root, other = Ca.make(NAME), Ca.make(NAME)
    curve = bytes.fromhex("06082a8648ce3d030107")  # P-256
    unknown_key = x509.load_der_x509_certificate(other.der.replace(curve, bytes.fromhex("06082a8648ce3d03017f")))
    assert find([root.certificate, unknown_key], root.issue()) == (root.certificate,)
    with pytest.raises(ForgedError):
        list(Paths([root.certificate, unknown_key]).find(other.issue().der, []))


def _der(pem):
    return base64.b64decode(b"".join(pem.splitlines()[1:-1]))
