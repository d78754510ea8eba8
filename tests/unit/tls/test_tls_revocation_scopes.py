"""Lists that cover only some of their CA's certificates: side by side, and each for those that it includes."""

from datetime import timedelta

import pytest
from cryptography import x509
from support.pki import DAY, NOW, Ca, ca_extensions
from support.scopes import distribution_points, issuing_point, point

from gateway.facts import Reason
from gateway.tls.client_cert import examine, judge
from gateway.tls.trust import make_trust
from gateway.x509.revocation_list import parse_lists

ROOT = Ca.make()
HOUR = timedelta(hours=1)
ONE, TWO = "http://a.example/1.crl", "http://a.example/2.crl"
ALICE = ROOT.issue("CN=alice")
AT_ONE = ROOT.issue("CN=one", extensions=[distribution_points(point(ONE))])
AT_TWO = ROOT.issue("CN=two", extensions=[distribution_points(point(TWO))])
MIDDLE = ROOT.issue_ca("CN=Middle")
CAROL = MIDDLE.issue("CN=carol")

USERS = issuing_point(only_contains_user_certs=True)
CAS = issuing_point(only_contains_ca_certs=True)
ATTRIBUTES = issuing_point(only_contains_attribute_certs=True)


def crl(scope, revoked=(), ca=ROOT, **options):
    return ca.crl([leaf.certificate for leaf in revoked], extensions=[] if scope is None else [scope], **options)


def trust(*crls, policy="require", anchors=(ROOT,)):
    lists = [entry for number, data in enumerate(crls) for entry in parse_lists(data, f"{number}.crl")]
    return make_trust([ca.certificate for ca in anchors], lists, policy)


def verdict(leaf, *crls, policy="require", now=NOW):
    return judge(leaf.certificate, leaf.chain, trust(*crls, policy=policy), now)


def reason(leaf, *crls, **options):
    return verdict(leaf, *crls, **options).reason


def test_a_list_of_users_covers_a_user_as_step_ca_and_django_ca_write_it():
    assert reason(ALICE, crl(USERS)) is None
    assert reason(ALICE, crl(USERS, [ALICE])) is Reason.CERTIFICATE_REVOKED
    step_ca = issuing_point(ONE, only_contains_user_certs=True)
    assert reason(AT_ONE, crl(step_ca)) is None
    assert reason(AT_ONE, crl(step_ca, [AT_ONE])) is Reason.CERTIFICATE_REVOKED


def test_a_list_of_users_never_covers_an_intermediate():
    judgement = verdict(CAROL, crl(USERS), MIDDLE.crl())
    assert judgement.reason is Reason.REVOCATION_UNKNOWN
    assert judgement.detail == (
        "no revocation list of 'CN=Test Root' covers this certificate: 0.crl covers only certificates of users"
    )
    assert reason(CAROL, crl(USERS), crl(CAS), MIDDLE.crl()) is None
    assert reason(CAROL, crl(None), MIDDLE.crl()) is None


@pytest.mark.parametrize("scope", [CAS, ATTRIBUTES, issuing_point(ONE)])
def test_a_user_is_not_covered_by_a_list_of_something_else(scope):
    assert reason(ALICE, crl(scope)) is Reason.REVOCATION_UNKNOWN
    assert reason(ALICE, crl(scope), policy="if_present") is None
    assert reason(ALICE, crl(scope), crl(USERS)) is None


def test_lists_of_two_points_stand_side_by_side():
    both = crl(issuing_point(ONE), [AT_ONE], number=1), crl(issuing_point(TWO), number=99)
    assert reason(AT_ONE, *both) is Reason.CERTIFICATE_REVOKED
    assert reason(AT_TWO, *both) is None
    assert reason(AT_TWO, both[0]) is Reason.REVOCATION_UNKNOWN


def test_of_one_scope_the_newest_counts_and_of_another_none_is_replaced():
    users = crl(USERS, [ALICE], number=4)
    assert reason(ALICE, users, crl(USERS, number=5)) is None
    assert reason(ALICE, users, crl(None, number=5)) is Reason.CERTIFICATE_REVOKED
    assert reason(ALICE, users, crl(CAS, number=5)) is Reason.CERTIFICATE_REVOKED


@pytest.mark.parametrize("policy", ["require", "if_present"])
@pytest.mark.parametrize("scope", [CAS, ATTRIBUTES, issuing_point(TWO)])
def test_a_certificate_that_a_list_names_is_refused_even_if_the_list_does_not_include_it(scope, policy):
    assert reason(ALICE, crl(scope, [ALICE]), crl(USERS), policy=policy) is Reason.CERTIFICATE_REVOKED


def test_a_refusal_tells_of_a_list_that_does_not_include_the_certificate():
    judgement = verdict(ALICE, crl(CAS, [ALICE]), crl(USERS))
    assert judgement.detail == "revoked by 'CN=Test Root', in a list that covers only certificates of CAs"
    assert verdict(ALICE, crl(USERS, [ALICE])).detail == "revoked by 'CN=Test Root'"


def test_one_current_list_is_enough_where_two_include_the_certificate():
    outdated = crl(None, last_update=NOW - 9 * DAY, next_update=NOW - DAY)
    assert reason(ALICE, outdated, crl(USERS)) is None
    judgement = verdict(ALICE, outdated, crl(USERS, last_update=NOW - 9 * DAY, next_update=NOW - HOUR))
    assert judgement.reason is Reason.REVOCATION_UNKNOWN
    assert "expired 2026-11-24 11:00 UTC" in judgement.detail


def test_a_list_of_another_scope_that_begins_ends_what_is_remembered():
    later = crl(CAS, [ALICE], last_update=NOW + HOUR)
    known = trust(crl(USERS), later)
    assert examine(ALICE.der, (), known, NOW).until == NOW + HOUR
    assert judge(ALICE.certificate, (), known, NOW + HOUR).reason is Reason.CERTIFICATE_REVOKED


@pytest.mark.parametrize("policy", ["require", "if_present"])
@pytest.mark.parametrize("scope", [None, USERS, issuing_point(ONE)])
def test_a_list_that_begins_in_the_future_does_not_replace_the_valid_one(scope, policy):
    now_valid, later = crl(scope, number=1), crl(scope, [AT_ONE], number=2, last_update=NOW + HOUR)
    assert reason(AT_ONE, now_valid, later, policy=policy) is None
    assert reason(AT_ONE, now_valid, later, policy=policy, now=NOW + HOUR) is Reason.CERTIFICATE_REVOKED
    revoking, clearing = crl(scope, [AT_ONE], number=1), crl(scope, number=2, last_update=NOW + HOUR)
    assert reason(AT_ONE, revoking, clearing, policy=policy) is Reason.CERTIFICATE_REVOKED
    assert reason(AT_ONE, revoking, clearing, policy=policy, now=NOW + HOUR) is None


def test_a_list_that_has_not_begun_is_named_with_its_begin():
    judgement = verdict(ALICE, crl(USERS, last_update=NOW + HOUR), crl(CAS))
    assert judgement.detail == "the revocation list of 'CN=Test Root' is not valid before 2026-11-24 13:00 UTC"
    assert reason(ALICE, crl(USERS, last_update=NOW + HOUR), policy="if_present") is None


def test_each_scope_warns_of_its_own_list():
    ending = {"last_update": NOW - 9 * DAY, "next_update": NOW - DAY}
    lists = crl(USERS, **ending), crl(CAS), crl(issuing_point(ONE), number=1), crl(issuing_point(TWO), **ending)
    known = trust(*lists, policy="if_present")
    assert [line.partition(":")[0] for line in known.warnings(NOW)] == ["0.crl", "3.crl"]
    of_intermediate = trust(
        crl(None), crl(USERS, ca=MIDDLE, **ending), crl(CAS, ca=MIDDLE, number=9), policy="if_present"
    )
    assert [line.partition(":")[0] for line in of_intermediate.warnings(NOW)] == ["1.crl"]


def test_a_list_of_tomorrow_hides_no_warning_of_the_one_that_counts():
    ending = crl(None, number=1, last_update=NOW - 9 * DAY, next_update=NOW + HOUR)
    tomorrow = crl(None, number=2, last_update=NOW + DAY)
    (line,) = trust(ending, tomorrow).warnings(NOW)
    assert line.startswith("0.crl: the revocation list expires 2026-11-24 13:00 UTC")
    (line,) = trust(tomorrow, policy="if_present").warnings(NOW)
    assert line == "0.crl: the revocation list is not valid before 2026-11-25 12:00 UTC"


def test_an_intermediate_with_a_point_of_its_own():
    middle = ROOT.issue_ca("CN=Part", extensions=[*ca_extensions(), distribution_points(point(ONE))])
    dave = middle.issue("CN=dave")
    cas_at_one = issuing_point(ONE, only_contains_ca_certs=True)
    assert reason(dave, crl(cas_at_one), middle.crl()) is None
    assert reason(dave, crl(cas_at_one, [middle]), middle.crl()) is Reason.CERTIFICATE_REVOKED
    assert reason(CAROL, crl(cas_at_one), MIDDLE.crl()) is Reason.REVOCATION_UNKNOWN


def test_intermediates_of_one_name_and_two_keys_warn_each():
    lists = []
    for days in (1, 2):
        again = ROOT.issue_ca("CN=Middle")
        key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(again.key.public_key())
        ending = {"last_update": NOW - 9 * DAY, "next_update": NOW - days * DAY}
        lists.append(again.crl(number=days, extensions=[(key_id, False)], **ending))
    assert [line.partition(":")[0] for line in trust(crl(None), *lists, policy="if_present").warnings(NOW)] == [
        "1.crl",
        "2.crl",
    ]
