"""Delta lists: each counts with the complete list that it changes, and never lets a revoked certificate in without."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from support.pki import DAY, NOW, Ca, build_crl
from support.scopes import delta, issuing_point

from gateway.errors import ConfigError
from gateway.facts import Reason
from gateway.tls.client_cert import examine, judge
from gateway.tls.trust import make_trust
from gateway.x509.revocation_list import parse_lists

ROOT = Ca.make()
ALICE, BOB = ROOT.issue("CN=alice"), ROOT.issue("CN=bob")
HOUR = timedelta(hours=1)
USERS, CAS = issuing_point(only_contains_user_certs=True), issuing_point(only_contains_ca_certs=True)
REVOKED, UNKNOWN = Reason.CERTIFICATE_REVOKED, Reason.REVOCATION_UNKNOWN

both_policies = pytest.mark.parametrize("policy", ["require", "if_present"])


def complete(number, *revoked, scope=None, **options):
    extensions = [] if scope is None else [scope]
    return ROOT.crl([leaf.certificate for leaf in revoked], number=number, extensions=extensions, **options)


def trust(*crls, policy="require"):
    lists = [entry for number, data in enumerate(crls) for entry in parse_lists(data, f"{number}.crl")]
    return make_trust([ROOT.certificate], lists, policy)


def verdict(leaf, *crls, policy="require", now=NOW):
    return judge(leaf.certificate, leaf.chain, trust(*crls, policy=policy), now)


def reason(leaf, *crls, **options):
    return verdict(leaf, *crls, **options).reason


@both_policies
def test_a_delta_list_revokes_and_takes_off_hold(policy):
    lists = complete(5, BOB), delta(ROOT, 5, 6, named=[ALICE], removed=[BOB])
    for some in (lists, lists[::-1]):
        assert reason(ALICE, *some, policy=policy) is REVOKED
        assert reason(BOB, *some, policy=policy) is None
        assert verdict(ALICE, *some, policy=policy).is_on_hold  # as the delta list says
    assert not verdict(BOB, lists[0], policy=policy).is_on_hold
    assert reason(BOB, lists[0], policy=policy) is REVOKED


@pytest.mark.parametrize(
    ("base", "number", "is_off"),
    [(5, 6, True), (4, 6, True), (0, 6, True), (6, 7, False), (5, 5, False), (4, 5, False), (3, 4, False)],
)
def test_a_delta_list_counts_on_a_list_at_or_above_its_base_and_below_its_own_number(base, number, is_off):
    assert reason(BOB, complete(5, BOB), delta(ROOT, base, number, removed=[BOB])) is (None if is_off else REVOKED)


@both_policies
def test_a_delta_list_whose_complete_list_is_missing_refuses_what_it_names_and_covers_nothing(policy):
    alone = delta(ROOT, 6, 7, named=[ALICE], removed=[BOB])
    assert reason(ALICE, alone, policy=policy) is REVOKED
    assert reason(BOB, alone, policy=policy) is (UNKNOWN if policy == "require" else None)
    assert reason(ALICE, complete(5), alone, policy=policy) is REVOKED
    assert reason(BOB, complete(5, BOB), alone, policy=policy) is REVOKED
    assert reason(ROOT.issue(), complete(5), alone, policy=policy) is None


def test_what_is_missing_is_told():
    judgement = verdict(BOB, delta(ROOT, 6, 7))
    assert judgement.detail == (
        "0.crl is a delta list of 'CN=Test Root'; "
        "the complete list with number 6 or above, which it changes, is missing"
    )


@pytest.mark.parametrize("number", [None, 3])
def test_a_complete_list_below_the_base_or_without_a_number_is_no_base(number):
    crls = complete(number, BOB), delta(ROOT, 4, 6, removed=[BOB])
    assert reason(BOB, *crls) is REVOKED
    assert reason(BOB, complete(number, BOB), delta(ROOT, 0, 6, removed=[BOB])) is (None if number else REVOKED)


def test_a_newer_complete_list_replaces_a_delta_list():
    older = delta(ROOT, 5, 6, named=[ALICE], removed=[BOB])
    assert reason(ALICE, complete(5), complete(6), older) is None
    assert reason(BOB, complete(6, BOB), older) is REVOKED


def test_of_several_delta_lists_the_newest_counts():
    first, second = delta(ROOT, 5, 6, named=[ALICE]), delta(ROOT, 5, 7)
    assert reason(ALICE, complete(5), first, second) is None
    held, released = delta(ROOT, 5, 6, removed=[BOB]), delta(ROOT, 5, 7)
    assert reason(BOB, complete(5, BOB), held, released) is REVOKED


def test_an_earlier_delta_list_counts_until_the_complete_list_of_the_newer_one_is_there():
    earlier, newer = delta(ROOT, 5, 6, named=[ALICE], removed=[BOB]), delta(ROOT, 6, 7)
    assert reason(ALICE, complete(5, BOB), earlier, newer) is REVOKED
    assert reason(BOB, complete(5, BOB), earlier, newer) is None
    assert reason(BOB, complete(5, BOB), earlier, delta(ROOT, 6, 7, named=[BOB])) is REVOKED
    assert reason(ALICE, complete(6, ALICE), earlier, newer) is REVOKED
    assert reason(ALICE, complete(7), earlier, newer) is None


def test_a_delta_list_counts_only_for_its_scope_and_key():
    users = complete(5, BOB, scope=USERS)
    assert reason(BOB, users, delta(ROOT, 5, 6, removed=[BOB], scope=USERS)) is None
    assert reason(BOB, users, delta(ROOT, 5, 6, removed=[BOB])) is REVOKED
    assert reason(BOB, users, delta(ROOT, 5, 6, removed=[BOB], scope=CAS)) is REVOKED
    assert reason(ALICE, users, delta(ROOT, 5, 6, named=[ALICE], scope=CAS)) is REVOKED
    again = Ca.make()
    assert reason(BOB, users, delta(again, 5, 6, removed=[BOB], scope=USERS)) is REVOKED


def test_an_outdated_delta_list_takes_nothing_off_and_refuses_what_it_names():
    crls = complete(5, BOB), delta(ROOT, 5, 6, named=[ALICE], removed=[BOB], next_update=NOW + HOUR)
    late = NOW + HOUR + timedelta(seconds=1)
    assert examine(BOB.der, (), trust(*crls), NOW).until == NOW + HOUR
    assert reason(BOB, *crls, now=NOW + HOUR) is None
    assert reason(BOB, *crls, now=late) is REVOKED
    assert reason(ALICE, *crls, now=late) is REVOKED
    assert reason(ROOT.issue(), *crls, now=late) is None


def test_a_current_delta_list_renews_an_outdated_complete_one():
    old = complete(5, last_update=NOW - 9 * DAY, next_update=NOW - DAY)
    fresh = delta(ROOT, 5, 6, named=[ALICE])
    assert reason(BOB, old, fresh) is None
    assert reason(ALICE, old, fresh) is REVOKED
    assert reason(BOB, old, delta(ROOT, 6, 7)) is UNKNOWN
    assert reason(BOB, old, fresh, now=NOW + 2 * DAY) is UNKNOWN
    assert "expired 2026-11-25 12:00 UTC" in verdict(BOB, old, fresh, now=NOW + 2 * DAY).detail


def test_a_delta_list_of_tomorrow_counts_tomorrow():
    crls = complete(5, BOB), delta(ROOT, 5, 6, named=[ALICE], removed=[BOB], last_update=NOW + HOUR)
    assert (reason(ALICE, *crls), reason(BOB, *crls)) == (None, REVOKED)
    assert (reason(ALICE, *crls, now=NOW + HOUR), reason(BOB, *crls, now=NOW + HOUR)) == (REVOKED, None)
    assert examine(ALICE.der, (), trust(*crls), NOW).until == NOW + HOUR


def test_in_a_complete_list_a_removal_is_an_entry_like_any_other():
    crl = build_crl(ROOT, [BOB.certificate], reason=x509.ReasonFlags.remove_from_crl).public_bytes(Encoding.PEM)
    assert reason(BOB, crl) is REVOKED


def test_a_certificate_that_a_delta_list_names_and_takes_off_is_named():
    assert reason(BOB, complete(5), delta(ROOT, 5, 6, named=[BOB], removed=[BOB])) is REVOKED


def test_a_delta_list_without_a_number_is_refused():
    with pytest.raises(ConfigError, match=r"a\.crl: the delta list has no CRL number"):
        parse_lists(delta(ROOT, 5, None), "a.crl")


def test_entries_without_a_reason_revoke():
    extensions = [(x509.DeltaCRLIndicator(5), False)]
    crl = build_crl(ROOT, [ALICE.certificate], number=6, extensions=extensions).public_bytes(Encoding.PEM)
    assert reason(ALICE, complete(5), crl) is REVOKED


def test_the_lists_that_cover_are_the_complete_one_and_the_delta_that_changes_it():
    known = trust(complete(5), delta(ROOT, 5, 6), delta(ROOT, 6, 7))
    answer = known.revocation.status(BOB.certificate, ROOT.certificate, NOW)
    assert [entry.title for entry in answer.lists] == ["0.crl (number 5)", "1.crl (delta number 6)"]


def test_warnings_name_the_list_that_is_missing_or_ends():
    missing = "1.crl: the delta list changes a complete list with number 6 or above, which is missing; "
    for crls in ((complete(5), delta(ROOT, 6, 7)), (complete(5, scope=CAS), delta(ROOT, 6, 7))):
        assert trust(*crls, policy="if_present").warnings(NOW) == (missing + "name that complete list in crl as well",)
    outdated = delta(ROOT, 5, 6, next_update=NOW - HOUR)
    (line,) = trust(complete(5), outdated).warnings(NOW)
    assert line == "1.crl: the delta list expired 2026-11-24 11:00 UTC; publish a new one"
    ending = {"last_update": NOW - 9 * DAY, "next_update": NOW + HOUR}
    assert len(trust(complete(5, **ending)).warnings(NOW)) == 1
    assert trust(complete(5, **ending), delta(ROOT, 5, 6)).warnings(NOW) == ()
    (line,) = trust(delta(ROOT, 5, 6, last_update=NOW + HOUR), policy="if_present").warnings(NOW)
    assert line == "0.crl: the delta list is not valid before 2026-11-24 13:00 UTC"
