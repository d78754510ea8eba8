"""Which certificates a list with an issuingDistributionPoint covers."""

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from support.pki import Ca, ca_extensions
from support.scopes import distribution_points, issuing_point, point

from gateway.errors import ConfigError
from gateway.x509.revocation_list import parse_lists
from gateway.x509.scopes import MAX_SHOWN_POINTS, WHOLE, Holders, Scope, Traits, scope_of

ROOT = Ca.make("O=Example,CN=Root")
ISSUER = ROOT.certificate.subject
ONE, TWO = "http://a.example/1.crl", "http://a.example/2.crl"
PART = x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, "Part 1")])
FULL_PART = x509.Name([*ISSUER.rdns, PART])
SPELLED = x509.Name.from_rfc4514_string("CN=PART  1,O=EXAMPLE,CN=root")

USER, MIDDLE = ROOT.issue().certificate, ROOT.issue_ca().certificate
WITH_ONE = ROOT.issue(extensions=[distribution_points(point(ONE))]).certificate


def scope(**options):
    extension, _critical = issuing_point(**options)
    return scope_of(extension, ISSUER, "a.crl")


@pytest.mark.parametrize(
    ("options", "users", "cas"),
    [
        ({"only_contains_user_certs": True}, True, False),
        ({"only_contains_ca_certs": True}, False, True),
        ({"only_contains_attribute_certs": True}, False, False),
    ],
)
def test_a_list_of_one_kind_covers_no_other(options, users, cas):
    found = scope(**options)
    assert [found.covers(Traits(USER)), found.covers(Traits(MIDDLE))] == [users, cas]


def test_a_certificate_that_says_that_it_is_no_ca_is_a_users():
    leaf = ROOT.issue(extensions=[(x509.BasicConstraints(ca=False, path_length=None), True)]).certificate
    assert scope(only_contains_user_certs=True).covers(Traits(leaf))
    assert not scope(only_contains_ca_certs=True).covers(Traits(leaf))


def test_a_list_of_everything_covers_everything():
    assert WHOLE.covers(Traits(USER))
    assert WHOLE.covers(Traits(MIDDLE))


@pytest.mark.parametrize(
    ("of_certificate", "is_covered"),
    [
        ([point(ONE)], True),
        ([point(TWO)], False),
        ([point(TWO), point(ONE)], True),
        ([point(TWO, ONE)], True),
        ([point(ONE.upper())], False),
        ([point(ONE, reasons=frozenset([x509.ReasonFlags.key_compromise]))], False),
        ([point(ONE, crl_issuer=[x509.DirectoryName(ISSUER)])], False),
        ([], False),
    ],
)
def test_a_list_of_a_point_covers_what_names_that_point(of_certificate, is_covered):
    extensions = [distribution_points(*of_certificate)] if of_certificate else []
    leaf = ROOT.issue(extensions=extensions).certificate
    assert scope(full_name=[x509.UniformResourceIdentifier(ONE)]).covers(Traits(leaf)) is is_covered


def test_the_kind_and_the_point_both_have_to_fit():
    only_users = scope(full_name=[x509.UniformResourceIdentifier(ONE)], only_contains_user_certs=True)
    ca = ROOT.issue_ca(extensions=[*ca_extensions(), distribution_points(point(ONE))]).certificate
    assert only_users.covers(Traits(WITH_ONE))
    assert not only_users.covers(Traits(ca))
    assert not only_users.covers(Traits(USER))


def test_one_of_several_names_of_a_point_is_enough():
    both = scope(full_name=[x509.UniformResourceIdentifier(TWO), x509.UniformResourceIdentifier(ONE)])
    assert both.covers(Traits(WITH_ONE))


@pytest.mark.parametrize(
    ("of_list", "of_certificate"),
    [
        ({"relative_name": PART}, point(relative=PART)),
        ({"relative_name": PART}, point(directory=FULL_PART)),
        ({"full_name": [x509.DirectoryName(FULL_PART)]}, point(relative=PART)),
        ({"full_name": [x509.DirectoryName(SPELLED)]}, point(directory=FULL_PART)),
    ],
)
def test_a_name_relative_to_the_issuer_is_that_name_below_the_issuers(of_list, of_certificate):
    leaf = ROOT.issue(extensions=[distribution_points(of_certificate)]).certificate
    assert scope(**of_list).covers(Traits(leaf))
    assert not scope(**of_list).covers(Traits(WITH_ONE))


def test_the_issuers_own_name_is_a_point_of_every_certificate():
    assert scope(full_name=[x509.DirectoryName(ISSUER)]).covers(Traits(USER))


def test_names_of_two_types_are_never_the_same_point():
    leaf = ROOT.issue(extensions=[distribution_points(point(ONE))]).certificate
    assert not scope(full_name=[x509.DNSName(ONE)]).covers(Traits(leaf))
    registered = x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))
    other = ROOT.issue(extensions=[distribution_points(point(full=[registered]))]).certificate
    assert scope(full_name=[registered]).covers(Traits(other))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"indirect_crl": True}, r"certificates of other CAs too \(indirectCRL\)"),
        (
            {"only_some_reasons": frozenset([x509.ReasonFlags.key_compromise])},
            r"some revocation reasons \(onlySomeReasons\)",
        ),
    ],
)
def test_indirect_lists_and_lists_of_some_reasons_are_refused(options, words):
    with pytest.raises(ConfigError, match=rf"^a\.crl: the list .*{words}$"):
        scope(**options)


USERS, CAS = Scope(Holders.USERS), Scope(Holders.CAS)
AT_ONE = scope(full_name=[x509.UniformResourceIdentifier(ONE)])
AT_BOTH = scope(full_name=[x509.UniformResourceIdentifier(ONE), x509.UniformResourceIdentifier(TWO)])


@pytest.mark.parametrize(
    ("wide", "narrow", "is_within"),
    [
        (WHOLE, USERS, True),
        (WHOLE, AT_ONE, True),
        (USERS, USERS, True),
        (USERS, WHOLE, False),
        (USERS, CAS, False),
        (AT_BOTH, AT_ONE, True),
        (AT_ONE, AT_BOTH, False),
        (AT_ONE, WHOLE, False),
    ],
)
def test_which_scope_includes_which(wide, narrow, is_within):
    assert wide.includes(narrow) is is_within


def test_a_scope_in_words():
    assert str(WHOLE) == "all certificates"
    assert str(USERS) == "only certificates of users"
    assert str(AT_ONE) == f"all certificates whose crlDistributionPoints name '{ONE}'"
    assert str(scope(relative_name=PART)).endswith("name a directory name")
    names = [x509.UniformResourceIdentifier(f"http://a/{number}") for number in range(MAX_SHOWN_POINTS + 1)]
    assert str(scope(full_name=names)).endswith("name 'http://a/0' or 'http://a/1' or another")


def test_a_list_is_called_by_its_source_and_number():
    assert [parse_lists(ROOT.crl(number=number), "a.crl")[0].title for number in (7, None)] == [
        "a.crl (number 7)",
        "a.crl",
    ]


def test_which_scopes_may_have_certificates_of_users():
    attributes = scope(only_contains_attribute_certs=True)
    assert [found.may_cover_users for found in (WHOLE, USERS, AT_ONE, CAS, attributes)] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_many_points_of_one_certificate_are_read_once():
    many = distribution_points(*(point(f"http://a.example/{number}.crl") for number in range(500)))
    traits = Traits(ROOT.issue(extensions=[many]).certificate)
    assert AT_ONE.covers(traits)
    assert traits.points is traits.points
    assert len(traits.points) == 501
