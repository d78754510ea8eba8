"""What a certificate that no CA of ours signed may cost, whatever it holds: counted in calls, not in time."""

import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID, ObjectIdentifier
from support.pki import NOW, Ca, Leaf, build, ca_extensions, ec_key, rsa_key, rsa_with_exponent

from gateway.errors import ConfigError
from gateway.facts import Reason
from gateway.tls.client_cert import examine
from gateway.tls.trust import make_trust
from gateway.x509 import path_search
from gateway.x509.keys import units_of_check
from gateway.x509.names import MAX_CERTIFICATE_BYTES, MAX_STRANGERS_BYTES, MAX_STRANGERS_PARTS
from gateway.x509.path_search import MAX_CHAIN_CERTIFICATES, MAX_EXTENSIONS, MAX_FAILED_UNITS
from gateway.x509.paths import Paths
from gateway.x509.raw_names import MAX_NAME_ATTRIBUTES

NAME = "CN=Example Root CA,O=Example Ltd"
ROOT = Ca.make(NAME, key=rsa_key())
TWINS = (ROOT, Ca.make(NAME, key=rsa_key(3072)))
# Whose signatures are made with another key: the costlier kind of a stranger, for a signature has to be checked.
FAKE = Ca.make(NAME)
TIMES_A_PLAIN_ONE = 3


def short(count):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")] * count)


def names(*values):
    return (x509.SubjectAlternativeName(values), False)


def oids(count):
    return [ObjectIdentifier(f"1.2.3.{number}") for number in range(count)]


def urls(count):
    return [x509.UniformResourceIdentifier(f"http://a/{number}") for number in range(count)]


def unknown(count):
    return [(x509.UnrecognizedExtension(oid, b"\x05\0"), False) for oid in oids(count)]


DIRECTORIES = names(*[x509.DirectoryName(short(140))] * 13)
POLICIES = (x509.CertificatePolicies([x509.PolicyInformation(oid, None) for oid in oids(1500)]), False)
POINTS = (x509.CRLDistributionPoints([x509.DistributionPoint([url], None, None, None) for url in urls(900)]), False)
CONSTRAINTS = (x509.NameConstraints([x509.DNSName(f"a{number}.x") for number in range(1800)], None), True)
MANY_DNS = names(*[x509.DNSName(f"{number}.x") for number in range(2000)])


def self_signed(subject="CN=x", *extensions, key=None):
    key = key or ec_key()
    return Leaf(build(subject, key.public_key(), subject, key, extensions=extensions), key)


def below(top, *extensions, count=MAX_CHAIN_CERTIFICATES - 1, key=None):
    """A leaf below so many CAs that the client sends, with these extensions each."""
    for number in range(count):
        top = top.issue_ca(f"CN=c{number}", extensions=[*ca_extensions(), *extensions], key=key)
    return top.issue()


def all_named(ca_name, count=MAX_CHAIN_CERTIFICATES, key=None):
    """A leaf with so many CAs of its issuer's name."""
    authorities = [Ca.make(ca_name, key=key) for _ in range(count)]
    return Leaf(authorities[0].issue().certificate, None, tuple(ca.certificate for ca in authorities))


def sent_with(leaf, *others):
    return Leaf(leaf.certificate, leaf.key, tuple(other.certificate for other in others))


HOSTILE = {
    "13 directoryNames of 140 attributes": self_signed("CN=x", DIRECTORIES),
    "the same in our CA's name": FAKE.issue(extensions=[DIRECTORIES]),
    "2000 DNS names": FAKE.issue(extensions=[MANY_DNS]),
    "4000 registered ids": self_signed("CN=x", names(*[x509.RegisteredID(ObjectIdentifier("1.2.3"))] * 4000)),
    "subject and issuer of 1100 attributes": self_signed(short(1100)),
    "subject of 2000 attributes": FAKE.issue(short(2000)),
    "issuer of 2000 attributes": Ca.make(short(2000)).issue(),
    "one RDN of 1500 attributes": FAKE.issue(
        x509.Name(
            [x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, f"{n}") for n in range(1500)])]
        )
    ),
    "1500 policies": FAKE.issue(extensions=[POLICIES]),
    "900 distribution points": FAKE.issue(extensions=[POINTS]),
    "3000 extended usages": FAKE.issue(eku=oids(3000)),
    "1200 extensions": FAKE.issue(extensions=unknown(1200)),
    "1800 name constraints": FAKE.issue(extensions=[CONSTRAINTS]),
    "900 places of the issuer's": FAKE.issue(
        extensions=[
            (
                x509.AuthorityInformationAccess(
                    [x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, url) for url in urls(900)]
                ),
                False,
            )
        ]
    ),
    "9 CAs sent": below(FAKE),
    "9 CAs sent, with constraints": below(FAKE, CONSTRAINTS),
    "9 CAs sent, with policies and points": below(FAKE, POLICIES),
    "10 of one name and key": all_named("CN=loop", key=ec_key()),
    "10 of one name": all_named("CN=loop"),
    "9 CAs of RSA 4096": below(Ca.make("CN=big", key=rsa_key(4096)), key=rsa_key(4096)),
    "a CA of RSA 4096 in our CA's name": FAKE.issue_ca("CN=middle", key=rsa_key(4096)).issue(),
    "a CA with an exponent of 2000 bits": below(
        Ca.make("CN=odd", key=(odd := rsa_with_exponent(2048, 2000))), count=2, key=odd
    ),
    "10 others sent of 20 KiB": sent_with(
        Ca.make("CN=stranger").issue(), *[FAKE.issue(f"CN=x{number}", extensions=[MANY_DNS]) for number in range(10)]
    ),
}


def calls(leaf, trust):
    """How many functions a refusal calls, Python's and C's; steps of a generator count."""
    leaf_der, chain_der, count = leaf.der, list(leaf.chain_der), 0

    def on_event(_frame, event, _argument):
        nonlocal count
        count += event in {"call", "c_call"}

    previous = sys.getprofile()
    sys.setprofile(on_event)
    try:
        found = examine(leaf_der, chain_der, trust, NOW)
    finally:
        sys.setprofile(previous)
    assert found.judgement.reason is Reason.CERTIFICATE_UNTRUSTED
    return count


@pytest.fixture(scope="module", params=["one CA", "two of one name"])
def trust(request):
    roots = TWINS if request.param == "two of one name" else TWINS[:1]
    return make_trust([root.certificate for root in roots])


@pytest.mark.parametrize("shape", HOSTILE)
def test_a_stranger_costs_at_most_three_times_a_plain_one(trust, shape):
    assert all(len(der) <= MAX_CERTIFICATE_BYTES for der in (HOSTILE[shape].der, *HOSTILE[shape].chain_der))
    plain = calls(FAKE.issue(email="alice@example.com"), trust)
    assert calls(HOSTILE[shape], trust) <= TIMES_A_PLAIN_ONE * plain


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
@pytest.mark.parametrize("roots", [2, 3, 6])
def test_the_signatures_of_a_stranger_are_checked_up_to_what_42_of_p256_cost(roots, curve, monkeypatch):
    """The calls above don't tell this: a check with P-384 is one call too, and costs seven times as much."""
    units = []
    real = path_search.has_signed
    trust = make_trust([Ca.make(NAME, key=ec_key(curve)).certificate for _ in range(roots)])
    monkeypatch.setattr(path_search, "has_signed", lambda key, of: units.append(units_of_check(key)) or real(key, of))
    leaf = all_named(NAME)
    assert examine(leaf.der, leaf.chain_der, trust, NOW).judgement.reason is Reason.CERTIFICATE_UNTRUSTED
    assert sum(units) <= MAX_FAILED_UNITS + max(units)


@pytest.mark.parametrize("shape", HOSTILE)
def test_openssl_is_not_asked_about_large_certificates_of_strangers(trust, shape, monkeypatch):
    """It reads all extensions of a path before it checks the first signature."""
    asked = []
    real = Paths._is_valid
    monkeypatch.setattr(Paths, "_is_valid", lambda *given: asked.append(given[1:]) or real(*given))
    leaf = HOSTILE[shape]
    examine(leaf.der, leaf.chain_der, trust, NOW)
    for start, way in asked:
        assert len(start.der) + sum(len(ca.der) for ca in way[:-1]) <= 2 * 1024


def test_a_large_certificate_of_ours_is_read():
    extensions = [POLICIES, POINTS, *unknown(MAX_EXTENSIONS - 4)]  # with its usage and names
    leaf = ROOT.issue(extensions=extensions, email="alice@example.com")
    judgement = examine(leaf.der, (), make_trust([ROOT.certificate]), NOW).judgement
    assert judgement.is_trusted, judgement.detail
    more = ROOT.issue(extensions=[*extensions, *unknown(MAX_EXTENSIONS)[-1:]], email="alice@example.com")
    assert not examine(more.der, (), make_trust([ROOT.certificate]), NOW).judgement.is_trusted


@pytest.mark.parametrize(("attributes", "is_trusted"), [(MAX_NAME_ATTRIBUTES, True), (MAX_NAME_ATTRIBUTES + 1, False)])
def test_a_name_of_the_most_attributes_and_one_more(attributes, is_trusted):
    leaf = ROOT.issue(short(attributes))
    assert examine(leaf.der, (), make_trust([ROOT.certificate]), NOW).judgement.is_trusted is is_trusted


def test_the_names_of_a_stranger_are_told_as_long_as_that_is_no_work():
    trust = make_trust([ROOT.certificate])
    stranger = Ca.make("CN=Stranger")
    # The issuer's name, the subject's, two extensions and the alternative names.
    few = stranger.issue(extensions=[names(*[x509.DNSName("a.x")] * (MAX_STRANGERS_PARTS - 4))])
    judgement = examine(few.der, (), trust, NOW).judgement
    assert judgement.identity.common_name == "alice"
    assert judgement.detail.endswith("(issuer CN=Stranger)")
    many = stranger.issue(extensions=[names(*[x509.DNSName("a.x")] * (MAX_STRANGERS_PARTS - 3))])
    large = stranger.issue(extensions=[(x509.UnrecognizedExtension(oids(1)[0], bytes(MAX_STRANGERS_BYTES)), False)])
    for leaf in (many, large):
        judgement = examine(leaf.der, (), trust, NOW).judgement
        assert judgement.identity is None
        why = f"its names are not logged: it has too many, or is too large with {len(leaf.der)} bytes"
        assert judgement.detail.endswith(f"({why})")


def test_an_anchor_with_a_name_that_no_real_one_has_is_a_configuration_error():
    with pytest.raises(ConfigError, match=f"more than {MAX_NAME_ATTRIBUTES} attributes"):
        make_trust([Ca.make(short(MAX_NAME_ATTRIBUTES + 1)).certificate])
