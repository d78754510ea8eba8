"""What is trusted, what is refused, and with which reason."""

import warnings
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from support.pki import (
    DAY,
    NOW,
    SERVER_AUTH,
    Ca,
    Leaf,
    build,
    ca_extensions,
    dsa_key,
    ec_key,
    openssl,
    openssl_leaf,
    openssl_root,
    rsa_key,
)

from gateway.clock import now as real_now
from gateway.errors import GatewayError
from gateway.facts import Judgement, Reason
from gateway.tls.client_cert import _check_authorities, judge
from gateway.tls.trust import Trust, load_anchors, make_trust
from gateway.x509.loading import load_certificates
from gateway.x509.path_search import MAX_CHAIN_CERTIFICATES
from gateway.x509.strength import weakness_of_signature

ROOT = Ca.make()


def usage(**wanted):
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign"
        " encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: wanted.get(name, False) for name in names.split()})


def verdict(leaf: Leaf, *anchors: Ca, now=NOW) -> Judgement:
    return judge(leaf.certificate, leaf.chain, make_trust([ca.certificate for ca in anchors or (ROOT,)]), now)


def test_a_good_certificate_is_trusted_and_names_its_holder_and_path():
    alice = ROOT.issue("O=Example Ltd,CN=alice", email="alice@example.com")

    judgement = verdict(alice)

    assert judgement.is_trusted
    assert judgement.identity.emails == ("alice@example.com",)
    assert judgement.identity.chain_der == (ROOT.der,)
    assert judgement.identity.path_fingerprints == {ROOT.certificate.fingerprint(hashes.SHA256()).hex()}


def test_bytes_and_objects_get_the_same_verdict():
    alice = ROOT.issue()
    trust = make_trust([ROOT.certificate])
    assert judge(alice.der, (), trust, NOW) == judge(alice.certificate, (), trust, NOW)


@pytest.mark.parametrize("password", [None, "secret"])
def test_certificates_made_as_in_every_tutorial_are_trusted(tmp_path, password):
    root = openssl_root(tmp_path, password=password)
    certificate, _key = openssl_leaf(tmp_path, password=password)
    trust = Trust(load_anchors([root]))

    judgement = judge(load_certificates(certificate)[0], (), trust, real_now())

    assert load_certificates(certificate)[0].version is x509.Version.v1
    assert judgement.is_trusted, judgement.detail
    assert judgement.identity.emails == ("alice@example.com",)
    assert judgement.identity.rdns[0] == ("C", "DE")


def test_a_v1_certificate_of_1024_bits_is_untrusted(tmp_path):
    root = openssl_root(tmp_path)
    certificate, _key = openssl_leaf(tmp_path, bits=1024)

    judgement = judge(load_certificates(certificate)[0], (), Trust(load_anchors([root])), real_now())

    assert judgement.reason is Reason.CERTIFICATE_UNTRUSTED
    assert judgement.detail == "the certificate has an RSA key of 1024 bits, below 2048"


def test_a_v1_root_is_an_anchor_and_a_v1_intermediate_is_no_ca(tmp_path):
    openssl("genrsa", "-out", "rootCA.key", "2048", cwd=tmp_path)
    openssl("req", "-new", "-key", "rootCA.key", "-out", "root.csr", "-subj", "/CN=v1 root", cwd=tmp_path)
    openssl(
        *("x509", "-req", "-in", "root.csr", "-signkey", "rootCA.key", "-out", "rootCA.pem", "-days", "900"),
        cwd=tmp_path,
    )
    trust = Trust(load_anchors([tmp_path / "rootCA.pem"]))
    alice, _key = openssl_leaf(tmp_path)
    middle, middle_key = openssl_leaf(tmp_path, "middle")
    key = ec_key()
    middle_certificate = load_certificates(middle)[0]
    signing_key = serialization.load_pem_private_key(middle_key.read_bytes(), None)
    eve = build("CN=eve", key.public_key(), middle_certificate.subject, signing_key, not_after=NOW + 2000 * DAY)

    assert judge(load_certificates(alice)[0], (), trust, real_now()).is_trusted
    judgement = judge(eve, [middle_certificate], trust, real_now())
    assert judgement.reason is Reason.CERTIFICATE_UNTRUSTED
    assert judgement.identity.common_name == "eve"


@pytest.mark.parametrize(
    "key",
    [rsa_key(2048), rsa_key(4096), ec_key(), ec_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()],
    ids=["rsa2048", "rsa4096", "p256", "p384", "ed25519"],
)
def test_key_kinds_that_are_trusted_in_leaf_and_ca(key):
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else "default"
    ca = Ca.make(key=key, algorithm=algorithm)
    assert verdict(ca.issue(algorithm=algorithm), ca).is_trusted
    assert verdict(ROOT.issue(key=key)).is_trusted


@pytest.mark.parametrize(
    ("key", "detail"),
    [
        (rsa_key(1024), "an RSA key of 1024 bits, below 2048"),
        (ec_key(ec.SECP256K1()), "a key on the curve secp256k1"),
        (ec_key(ec.SECP192R1()), "a key on the curve secp192r1"),
        (dsa_key(), "a key that is neither RSA, EC nor Ed25519"),
    ],
    ids=["rsa1024", "k256", "p192", "dsa"],
)
def test_keys_that_are_too_weak_or_odd_are_untrusted(key, detail):
    judgement = verdict(ROOT.issue(key=key))
    assert (judgement.reason, judgement.detail) == (Reason.CERTIFICATE_UNTRUSTED, f"the certificate has {detail}")


def test_a_weak_ca_key_is_named_even_when_it_is_the_anchors():
    ca = Ca.make(key=rsa_key(1024))
    judgement = verdict(ca.issue(), ca)
    assert judgement.reason is Reason.CERTIFICATE_UNTRUSTED
    assert judgement.detail == "the CA 'CN=Test Root' has an RSA key of 1024 bits, below 2048"


@pytest.mark.parametrize("digest", ["sha1", "md5"])
def test_forgeable_digests_are_untrusted_on_the_leaf(tmp_path, digest):
    root = openssl_root(tmp_path)
    openssl("genrsa", "-out", "a.key", "2048", cwd=tmp_path)
    openssl("req", "-new", "-key", "a.key", "-out", "a.csr", "-subj", "/CN=a", cwd=tmp_path)
    openssl(
        *("x509", "-req", f"-{digest}", "-in", "a.csr", "-CA", "rootCA.pem", "-CAkey", "rootCA.key"),
        *("-CAcreateserial", "-out", "a.crt"),
        cwd=tmp_path,
    )
    judgement = judge(load_certificates(tmp_path / "a.crt")[0], (), Trust(load_anchors([root])), real_now())
    assert judgement.reason is Reason.CERTIFICATE_UNTRUSTED
    assert judgement.detail == f"the certificate is signed with {digest.upper()}, which is too weak"


def test_an_anchors_own_sha1_signature_does_not_matter_and_an_intermediates_does(tmp_path):
    openssl("genrsa", "-out", "rootCA.key", "2048", cwd=tmp_path)
    openssl(
        *("req", "-x509", "-sha1", "-new", "-key", "rootCA.key", "-days", "900", "-subj", "/CN=Old Root"),
        *("-out", "rootCA.pem"),
        cwd=tmp_path,
    )
    alice, _key = openssl_leaf(tmp_path)
    (tmp_path / "ca.ext").write_text("basicConstraints=critical,CA:TRUE")
    openssl("genrsa", "-out", "weak.key", "2048", cwd=tmp_path)
    openssl("req", "-new", "-key", "weak.key", "-out", "weak.csr", "-subj", "/CN=Weak", cwd=tmp_path)
    openssl(
        *("x509", "-req", "-sha1", "-in", "weak.csr", "-CA", "rootCA.pem", "-CAkey", "rootCA.key", "-out", "weak.crt"),
        *("-extfile", "ca.ext", "-set_serial", "7"),
        cwd=tmp_path,
    )
    weak_key = serialization.load_pem_private_key((tmp_path / "weak.key").read_bytes(), None)
    weak = Ca(load_certificates(tmp_path / "weak.crt")[0], weak_key)
    bob = weak.issue("CN=bob", not_after=NOW + 2000 * DAY)
    trust = Trust(load_anchors([tmp_path / "rootCA.pem"]))

    assert trust.anchors[0].signature_hash_algorithm.name == "sha1"
    assert judge(load_certificates(alice)[0], (), trust, real_now()).is_trusted
    judgement = judge(bob.certificate, [weak.certificate], trust, real_now())
    assert judgement.reason is Reason.CERTIFICATE_UNTRUSTED
    assert "'CN=Weak' is signed with SHA1" in judgement.detail


def test_a_key_of_a_kind_that_nobody_knows_is_untrusted(tmp_path):
    root = openssl_root(tmp_path)
    openssl_leaf(tmp_path)
    openssl("ecparam", "-genkey", "-name", "secp160r1", "-noout", "-out", "odd.key", cwd=tmp_path)
    openssl("ec", "-in", "odd.key", "-pubout", "-out", "odd.pub", cwd=tmp_path)
    openssl(
        *("x509", "-req", "-in", "alice.csr", "-CA", "rootCA.pem", "-CAkey", "rootCA.key", "-set_serial", "9"),
        *("-force_pubkey", "odd.pub", "-out", "odd.crt"),
        cwd=tmp_path,
    )
    judgement = judge(load_certificates(tmp_path / "odd.crt")[0], (), Trust(load_anchors([root])), real_now())
    assert judgement.reason is Reason.CERTIFICATE_UNTRUSTED
    assert judgement.detail == "the certificate has a key of an unknown kind"


def test_a_signature_algorithm_that_nobody_knows_is_a_problem():
    class Odd:
        @property
        def signature_hash_algorithm(self):
            raise UnsupportedAlgorithm("1.2.3")

    assert weakness_of_signature(Odd()) == "an unknown algorithm"
    assert weakness_of_signature(ROOT.certificate) is None


def test_a_ca_that_only_openssl_can_read_is_untrusted():
    x400 = x509.UnrecognizedExtension(x509.ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x04\xa3\x02\x30\x00")
    middle = ROOT.issue_ca(extensions=[*ca_extensions(), (x400, False)])
    judgement = verdict(middle.issue())
    assert judgement.reason is Reason.CERTIFICATE_UNTRUSTED
    assert judgement.detail == "a certificate on the path to the CA is not readable"


def test_what_an_unreadable_anchor_says_of_names_is_not_guessed():
    x400 = x509.UnrecognizedExtension(x509.ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x04\xa3\x02\x30\x00")
    root = Ca.make("CN=Odd", extensions=[*ca_extensions(), (x400, False)])
    issuing = root.issue_ca("CN=Issuing")
    assert verdict(issuing.issue(), issuing).is_trusted
    assert verdict(issuing.issue(), issuing, root).reason is Reason.CERTIFICATE_UNTRUSTED


def test_a_forged_signature_under_an_expired_ca_is_untrusted():
    ca = Ca.make(not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    forged = Ca.make().issue()
    judgement = verdict(forged, ca)
    assert judgement.reason is Reason.CERTIFICATE_UNTRUSTED
    assert "signature failure" in judgement.detail


def test_a_huge_certificate_beside_the_leaf_is_passed_over():
    assert judge(ROOT.issue().der, [bytes(40_000)], make_trust([ROOT.certificate]), NOW).is_trusted


def test_the_validity_ends_and_begins_to_the_second():
    alice = ROOT.issue(not_before=NOW - 10 * DAY, not_after=NOW)
    second = timedelta(seconds=1)

    assert verdict(alice, now=NOW + timedelta(milliseconds=900)).is_trusted
    late = verdict(alice, now=NOW + second)
    assert (late.reason, late.detail) == (Reason.CERTIFICATE_EXPIRED, "expired 2026-11-24 12:00:00 UTC")
    young = ROOT.issue(not_before=NOW)
    early = verdict(young, now=NOW - second)
    assert early.reason is Reason.CERTIFICATE_NOT_YET_VALID
    assert early.detail == "not valid before 2026-11-24 12:00:00 UTC"
    assert verdict(young, now=NOW).is_trusted


def test_an_expired_intermediate_makes_untrusted_and_the_leafs_own_expiry_comes_first():
    middle = ROOT.issue_ca(not_before=NOW - 9 * DAY, not_after=NOW - DAY)

    assert verdict(middle.issue()).reason is Reason.CERTIFICATE_UNTRUSTED
    assert verdict(middle.issue()).detail == "the CA 'CN=Test Issuing CA' expired 2026-11-23 12:00:00 UTC"
    both = middle.issue(not_before=NOW - 8 * DAY, not_after=NOW - 2 * DAY)
    assert verdict(both).reason is Reason.CERTIFICATE_EXPIRED


def test_an_expired_anchor_makes_untrusted():
    ca = Ca.make(not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    assert verdict(ca.issue(), ca).reason is Reason.CERTIFICATE_UNTRUSTED


@pytest.mark.parametrize("is_old_first", [True, False])
def test_a_root_renewed_under_its_name_and_key_carries_on_while_both_are_configured(is_old_first):
    old = Ca.make(not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    new = Ca.make(key=old.key)
    anchors = (old, new) if is_old_first else (new, old)
    assert verdict(new.issue(), *anchors).is_trusted


def test_expired_certificates_of_strangers_are_untrusted_not_expired():
    stranger = Ca.make("CN=Stranger")
    judgement = verdict(stranger.issue(not_after=NOW - DAY, not_before=NOW - 2 * DAY))
    assert judgement.reason is Reason.CERTIFICATE_UNTRUSTED
    assert judgement.identity.common_name == "alice"  # named, for the log


def test_another_ca_with_the_same_name_is_another_ca():
    impostor = Ca.make("CN=Test Root")
    assert verdict(impostor.issue()).reason is Reason.CERTIFICATE_UNTRUSTED


def test_a_self_signed_certificate_is_untrusted():
    key = ec_key()
    alone = Leaf(build("CN=alice", key.public_key(), "CN=alice", key), key)
    judgement = verdict(alone)
    assert judgement.reason is Reason.CERTIFICATE_UNTRUSTED
    assert judgement.detail.startswith("a self-signed certificate")


def test_a_self_signed_certificate_that_says_it_is_from_our_ca_is_untrusted():
    key = ec_key()
    forged = Leaf(build("CN=alice", key.public_key(), ROOT.certificate.subject, key), key, (ROOT.certificate,))
    assert verdict(forged).reason is Reason.CERTIFICATE_UNTRUSTED


def test_without_anchors_nobody_is_trusted():
    judgement = judge(ROOT.issue().certificate, [ROOT.certificate], make_trust([]), NOW)
    assert (judgement.reason, judgement.detail) == (Reason.CERTIFICATE_UNTRUSTED, "this site has no client_ca")


def test_intermediates_come_from_the_client_in_any_order_and_amid_rubbish():
    one = ROOT.issue_ca("CN=One")
    two = one.issue_ca("CN=Two")
    alice = two.issue()
    stranger = Ca.make("CN=Stranger")

    shuffled = [b"rubbish", stranger.certificate, one.certificate, two.certificate, b"\x30\x03\x02\x01\x01"]
    judgement = judge(alice.certificate, shuffled, make_trust([ROOT.certificate]), NOW)

    assert judgement.is_trusted, judgement.detail
    assert judgement.identity.chain_der == (two.der, one.der, ROOT.der)
    assert judge(alice.certificate, (), make_trust([ROOT.certificate]), NOW).reason is Reason.CERTIFICATE_UNTRUSTED


def test_a_stuffed_chain_never_changes_whose_certificate_it_is():
    mallory = Ca.make("CN=Mallory CA").issue("CN=mallory")
    alice = ROOT.issue("CN=alice")
    judgement = judge(mallory.certificate, [alice.certificate, ROOT.certificate], make_trust([ROOT.certificate]), NOW)
    assert judgement.identity.common_name == "mallory"
    assert judgement.reason is Reason.CERTIFICATE_UNTRUSTED


def test_a_leaf_issued_by_a_leaf_is_untrusted():
    alice = ROOT.issue("CN=alice")
    key = ec_key()
    eve = Leaf(build("CN=eve", key.public_key(), alice.certificate.subject, alice.key), key, (alice.certificate,))
    assert verdict(eve).reason is Reason.CERTIFICATE_UNTRUSTED


def test_key_usage_alone_makes_no_ca():
    middle = ROOT.issue_ca("CN=No CA", extensions=[(usage(key_cert_sign=True), True)])
    judgement = verdict(middle.issue())
    assert judgement.reason is Reason.CERTIFICATE_UNTRUSTED
    with pytest.raises(
        GatewayError, match="'CN=No CA' issued this certificate but is not a CA"
    ):  # had OpenSSL let it pass
        _check_authorities((middle.certificate, ROOT.certificate))


def test_the_path_length_of_a_ca_is_kept():
    short = Ca.make("CN=Short", extensions=ca_extensions(path_length=0))
    assert verdict(short.issue(), short).is_trusted
    assert verdict(short.issue_ca("CN=Below").issue(), short).reason is Reason.CERTIFICATE_UNTRUSTED


def test_chain_certificates_beyond_the_limit_are_not_looked_at():
    middle = ROOT.issue_ca()
    alice = middle.issue()
    trust = make_trust([ROOT.certificate])
    padding = [ROOT.issue_ca(f"CN={number}").certificate for number in range(MAX_CHAIN_CERTIFICATES)]

    assert judge(alice.certificate, [*padding[1:], middle.certificate], trust, NOW).is_trusted
    assert not judge(alice.certificate, [*padding, middle.certificate], trust, NOW).is_trusted


def test_an_intermediate_can_be_the_anchor_and_its_root_is_not_trusted_then():
    middle = ROOT.issue_ca()
    assert verdict(middle.issue(), middle).is_trusted
    assert verdict(ROOT.issue(), middle).reason is Reason.CERTIFICATE_UNTRUSTED
    assert verdict(ROOT.issue_ca("CN=Sibling").issue(), middle).reason is Reason.CERTIFICATE_UNTRUSTED


def test_a_ca_used_as_a_client_has_the_wrong_usage():
    middle = ROOT.issue_ca()
    for leaf in (ROOT, Leaf(middle.certificate, middle.key)):
        assert verdict(leaf).reason is Reason.CERTIFICATE_WRONG_USAGE


@pytest.mark.parametrize(
    ("eku", "is_trusted"),
    [
        ((ExtendedKeyUsageOID.CLIENT_AUTH,), True),
        ((ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.CLIENT_AUTH), True),
        ((ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,), True),
        (None, True),
        (SERVER_AUTH, False),
        ((ExtendedKeyUsageOID.EMAIL_PROTECTION,), False),
    ],
)
def test_an_extended_key_usage_has_to_include_client_authentication(eku, is_trusted):
    judgement = verdict(ROOT.issue(eku=eku))
    assert judgement.is_trusted is is_trusted
    assert is_trusted or judgement.reason is Reason.CERTIFICATE_WRONG_USAGE


def test_an_intermediate_for_servers_only_issues_no_clients():
    middle = ROOT.issue_ca(extensions=[*ca_extensions(), (x509.ExtendedKeyUsage(SERVER_AUTH), False)])
    assert verdict(middle.issue()).reason is Reason.CERTIFICATE_WRONG_USAGE
    fine = ROOT.issue_ca(
        extensions=[*ca_extensions(), (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)]
    )
    assert verdict(fine.issue()).is_trusted


@pytest.mark.parametrize(
    ("key", "wanted", "is_trusted"),
    [
        (ec_key(), {"digital_signature": True}, True),
        (ec_key(), {"key_agreement": True}, True),
        (rsa_key(), {"key_agreement": True}, False),
        (rsa_key(), {"key_encipherment": True}, False),
        (ec_key(), {"content_commitment": True}, False),
    ],
)
def test_a_key_usage_has_to_allow_signing(key, wanted, is_trusted):
    judgement = verdict(ROOT.issue(key=key, extensions=[(usage(**wanted), True)]))
    assert judgement.is_trusted is is_trusted
    assert is_trusted or judgement.reason is Reason.CERTIFICATE_WRONG_USAGE


def test_an_unknown_critical_extension_makes_untrusted_and_an_uncritical_one_does_not():
    odd = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
    assert verdict(ROOT.issue(extensions=[(odd, False)])).is_trusted
    assert verdict(ROOT.issue(extensions=[(odd, True)])).reason is Reason.CERTIFICATE_UNTRUSTED
    middle = ROOT.issue_ca(extensions=[*ca_extensions(), (odd, True)])
    assert verdict(middle.issue()).reason is Reason.CERTIFICATE_UNTRUSTED


def mails(*trees, excluded=False):
    names = [x509.RFC822Name(tree) for tree in trees]
    return (x509.NameConstraints(None if excluded else names, names if excluded else None), True)


@pytest.mark.parametrize(
    ("constraint", "name", "is_trusted"),
    [
        (mails("example.com"), "alice@example.com", True),
        (mails("example.com"), "alice@EXAMPLE.com", True),
        (mails("example.com"), "alice@example.org", False),
        (mails("example.com"), "alice@x.example.com", False),
        (mails(".example.com"), "alice@x.example.com", True),
        (mails(".example.com"), "alice@example.com", False),
        (mails("alice@example.com"), "alice@example.com", True),
        (mails("alice@example.com"), "bob@example.com", False),
        (mails("example.com", excluded=True), "alice@example.com", False),
        (mails("example.com", excluded=True), "alice@example.org", True),
    ],
)
@pytest.mark.parametrize("kind", ["email", "upn_name"])
def test_a_constrained_ca_vouches_for_its_own_domain_only(constraint, name, is_trusted, kind):
    middle = ROOT.issue_ca(extensions=[*ca_extensions(), constraint])
    judgement = verdict(middle.issue("CN=x", **{kind: name}))
    assert judgement.is_trusted is is_trusted, judgement.detail
    assert is_trusted or judgement.reason is Reason.CERTIFICATE_UNTRUSTED


def test_a_mail_constraint_holds_for_the_address_in_the_subject_too():
    middle = ROOT.issue_ca(extensions=[*ca_extensions(), mails("example.com")])
    inside = middle.issue("1.2.840.113549.1.9.1=a@example.com,CN=a")
    outside = middle.issue("1.2.840.113549.1.9.1=a@example.org,CN=a")
    assert verdict(inside).is_trusted
    assert verdict(outside).reason is Reason.CERTIFICATE_UNTRUSTED


def test_a_user_without_a_domain_is_outside_every_permitted_domain():
    middle = ROOT.issue_ca(extensions=[*ca_extensions(), mails("example.com")])
    judgement = verdict(middle.issue("CN=x", upn_name="alice"))
    assert judgement.detail == "the CA 'CN=Test Issuing CA' may not issue for the user 'alice'"


def test_a_principal_name_of_two_domains_is_in_neither():
    middle = ROOT.issue_ca(extensions=[*ca_extensions(), mails("example.com")])
    judgement = verdict(middle.issue("CN=x", upn_name="bob@example.org@example.com"))
    assert judgement.reason is Reason.CERTIFICATE_UNTRUSTED


def test_a_user_without_a_domain_is_not_shown_to_be_outside_an_excluded_one():
    middle = ROOT.issue_ca(extensions=[*ca_extensions(), mails("example.com", excluded=True)])
    assert verdict(middle.issue("CN=x", upn_name="alice")).reason is Reason.CERTIFICATE_UNTRUSTED


@pytest.mark.parametrize("name", ["bob@\u017fales.example", "bo\u017f@sales.example", "bob@SALE\u017f.example"])
@pytest.mark.parametrize("trees", [("sales.example",), (".example",), ("bob@sales.example", "bos@sales.example")])
def test_an_excluded_name_is_known_in_every_spelling_that_names_a_login(name, trees):
    # U+017F is an s to whoever compares without regard to case, as `policy.binding` does.
    middle = ROOT.issue_ca(extensions=[*ca_extensions(), mails(*trees, excluded=True)])
    for leaf in (middle.issue(f"CN={name}"), middle.issue("CN=x", upn_name=name)):
        assert verdict(leaf).reason is Reason.CERTIFICATE_UNTRUSTED


def test_a_permitted_name_has_to_be_in_the_domain_by_every_reading():
    middle = ROOT.issue_ca(extensions=[*ca_extensions(), mails("strasse.example")])
    assert verdict(middle.issue("CN=bob@STRASSE.example")).is_trusted
    assert verdict(middle.issue("CN=bob@stra\u00dfe.example")).reason is Reason.CERTIFICATE_UNTRUSTED


@pytest.mark.parametrize(
    ("subject", "options", "is_trusted"),
    [
        ("CN=alice@example.com", {}, True),
        ("CN=alice@EXAMPLE.com", {}, True),
        ("CN=bob@example.org", {}, False),
        ("CN=alice@example.com,CN=bob@example.org", {}, False),
        ("CN=alice,UID=bob@example.org", {}, False),
        ("CN=alice", {"dns": "bob@example.org"}, False),
        ("CN=alice", {"dns": "pc.example.org"}, True),  # which names no user
        ("CN=Alice (bob@example.org) Example", {}, True),
        ("CN=alice,O=Example Ltd", {}, True),
    ],
)
def test_an_address_obeys_the_mail_constraint_wherever_it_stands(subject, options, is_trusted):
    middle = ROOT.issue_ca(extensions=[*ca_extensions(), mails("example.com")])
    judgement = verdict(middle.issue(subject, **options))
    assert judgement.is_trusted is is_trusted, judgement.detail
    if not is_trusted:
        assert judgement.detail == "the CA 'CN=Test Issuing CA' may not issue for the user 'bob@example.org'"
    assert verdict(ROOT.issue(subject, **options)).is_trusted


@pytest.mark.parametrize("where", ["root", "intermediate"])
@pytest.mark.parametrize(
    "constraint",
    [
        mails("example.com"),
        mails("example.org", excluded=True),
        (x509.NameConstraints([x509.DNSName("x.y")], None), True),
    ],
)
def test_a_constrained_ca_anywhere_on_the_path_is_told_of(where, constraint):
    extensions = [*ca_extensions(), constraint]
    root = Ca.make(extensions=extensions) if where == "root" else ROOT
    middle = root.issue_ca(extensions=extensions if where == "intermediate" else ca_extensions())
    leaf = middle.issue("CN=alice", email="alice@example.com")
    judgement = judge(leaf.der, leaf.chain_der, make_trust([root.certificate]), NOW)
    assert judgement.is_trusted, judgement.detail
    assert judgement.identity.is_constrained
    assert not verdict(ROOT.issue("CN=alice")).identity.is_constrained


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("subject", "options", "is_trusted"),
    [
        ("CN=alice", {"email": "alice@example.com"}, True),
        ("CN=bob", {"email": "bob@example.org"}, False),
        ("CN=bob@example.org", {}, False),
        ("CN=bob", {"upn_name": "bob@example.org"}, False),
        ("CN=bob", {"upn_name": "bob@example.com"}, True),
    ],
)
def test_an_anchor_does_not_escape_the_constraints_of_an_anchor_above_it(subject, options, is_trusted, order):
    """An intermediate is listed so that clients needn't send it, and its root beside it for the others."""
    root = Ca.make("CN=Bound", extensions=[*ca_extensions(), mails("example.com")])
    issuing = root.issue_ca("CN=Issuing").issue_ca("CN=Below")
    anchors = [root.certificate, *(ca.certificate for ca in (ROOT, issuing)), issuing.chain[1]][::order]
    leaf = issuing.issue(subject, **options)
    for chain in ((), leaf.chain):
        judgement = judge(leaf.certificate, chain, make_trust(anchors), NOW)
        assert judgement.is_trusted is is_trusted, judgement.detail
        if is_trusted:
            assert judgement.identity.is_constrained
            assert judgement.identity.chain_der == (issuing.der,)  # what it is trusted by stays the same
            assert len(judgement.identity.path_fingerprints) == 3
    free = ROOT.issue("CN=bob", email="bob@example.org")
    assert not judge(free.certificate, (), make_trust(anchors), NOW).identity.is_constrained
    alone = judge(leaf.certificate, leaf.chain, make_trust([issuing.certificate]), NOW)
    assert alone.is_trusted


def test_a_root_of_the_same_name_has_issued_nobody_elses_intermediate():
    """A renewed root, an impostor's, and one without constraints that also signed the intermediate's key."""
    root = Ca.make("CN=Bound", extensions=[*ca_extensions(), mails("example.com")])
    other = Ca.make("CN=Bound")
    issuing = other.issue_ca("CN=Issuing")
    leaf = issuing.issue("CN=bob", email="bob@example.org")
    trust = make_trust([root.certificate, other.certificate, issuing.certificate])
    assert verdict(leaf, root, other, issuing).is_trusted
    assert judge(leaf.certificate, (), trust, NOW).is_trusted


@pytest.mark.parametrize("der", [b"", b"\x30\x00", b"\x00" * 40_000, b"not a certificate"])
def test_what_is_no_certificate_is_untrusted_and_nobodys(der):
    judgement = judge(der, (), make_trust([ROOT.certificate]), NOW)
    assert (judgement.identity, judgement.reason) == (None, Reason.CERTIFICATE_UNTRUSTED)


def test_a_name_with_a_nul_is_untrusted_although_the_ca_signed_it():
    judgement = verdict(ROOT.issue("CN=alice\\00.example.org"))
    assert (judgement.identity, judgement.reason) == (None, Reason.CERTIFICATE_UNTRUSTED)
    assert judgement.detail == "a name in the certificate holds a control character"


def test_every_single_byte_change_is_refused_without_any_other_exception():
    alice = ROOT.issue("CN=alice", email="alice@example.com", upn_name="alice@corp")
    trust = make_trust([ROOT.certificate])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for position in range(len(alice.der)):
            broken = bytearray(alice.der)
            broken[position] ^= 0x01
            assert not judge(bytes(broken), (), trust, NOW).is_trusted, position
