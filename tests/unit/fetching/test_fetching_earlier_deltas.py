"""Fetched delta lists: which may follow which, and what of the earlier ones stays."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from support.pki import NOW, Ca
from support.scopes import delta, issuing_point

from gateway.errors import ConfigError
from gateway.facts import Reason
from gateway.fetching import earlier_deltas as module
from gateway.fetching.earlier_deltas import bytes_to_keep, newest_of_each_kind
from gateway.fetching.list_store import check_successor
from gateway.tls.client_cert import judge
from gateway.tls.trust import make_trust
from gateway.x509.revocation_list import parse_lists

ROOT, OTHER = Ca.make(), Ca.make("CN=Other")
ANCHORS = (ROOT.certificate, OTHER.certificate)
ALICE, BOB = ROOT.issue("CN=alice"), ROOT.issue("CN=bob")
URL = "http://a/delta.crl"
HOUR = timedelta(hours=1)
USERS, CAS = issuing_point(only_contains_user_certs=True), issuing_point(only_contains_ca_certs=True)


def fetched(data, stored=None):
    """What is on disk after `data` came."""
    return bytes_to_keep(URL, data, check_successor(URL, data, stored, ANCHORS, NOW), stored, ANCHORS)


def titles(data):
    return [entry.title.partition(" ")[2] for entry in parse_lists(data, URL)]


def refused(words, data, stored):
    with pytest.raises(ConfigError, match=words):
        fetched(data, stored)


def test_a_delta_list_follows_an_older_one_and_never_the_other_way_round():
    old, new = delta(ROOT, 5, 6), delta(ROOT, 5, 7)
    assert fetched(new, old) == new
    refused("older than the one that was fetched before", old, new)


def test_a_complete_list_never_gives_way_to_a_delta_list():
    both = ROOT.crl(number=5) + delta(ROOT, 5, 6)
    refused("no longer contains a revocation list of 'CN=Test Root'", delta(ROOT, 5, 6), ROOT.crl(number=5))
    refused("no longer contains a revocation list", delta(ROOT, 5, 7), both)
    assert fetched(both, ROOT.crl(number=5)) == both


def test_a_delta_list_gives_way_to_a_complete_list_that_is_as_new():
    old = delta(ROOT, 5, 6, scope=USERS)
    new = ROOT.crl(number=6, extensions=[USERS])
    assert fetched(new, old) == new
    whole = ROOT.crl(number=1)
    assert fetched(whole, old) == whole
    refused("is older", ROOT.crl(number=5, extensions=[USERS]), old)
    refused("no longer contains a delta list of 'CN=Test Root'", ROOT.crl(number=9, extensions=[CAS]), old)
    refused("no longer contains a delta list", delta(ROOT, 5, 7), old)


def test_a_delta_list_with_changes_that_its_successor_lacks_stays():
    first, second, third = delta(ROOT, 5, 6), delta(ROOT, 6, 7), delta(ROOT, 6, 8)
    stored = fetched(second, first)
    assert titles(stored) == ["(delta number 7)", "(delta number 6)"]
    assert fetched(second, stored) == stored
    stored = fetched(third, stored)
    assert titles(stored) == ["(delta number 8)", "(delta number 6)"]
    assert titles(fetched(delta(ROOT, 5, 9), stored)) == ["(delta number 9)"]
    assert titles(fetched(ROOT.crl(number=8), stored)) == ["(number 8)"]


def test_what_was_revoked_stays_out_whichever_list_comes_first():
    stored = fetched(delta(ROOT, 6, 7), delta(ROOT, 5, 6, named=[ALICE]))

    def reason(leaf, complete):
        lists = [*parse_lists(complete, "a.crl"), *parse_lists(stored, URL)]
        return judge(leaf.certificate, (), make_trust([ROOT.certificate], lists, "require"), NOW).reason

    assert reason(ALICE, ROOT.crl(number=5)) is Reason.CERTIFICATE_REVOKED
    assert reason(BOB, ROOT.crl(number=5)) is None
    assert reason(ALICE, ROOT.crl(number=6)) is None


def test_each_ca_and_scope_by_itself():
    old = delta(ROOT, 5, 6, scope=USERS) + delta(ROOT, 5, 6) + delta(OTHER, 5, 6)
    new = delta(ROOT, 6, 7, scope=USERS) + delta(ROOT, 5, 7) + delta(OTHER, 5, 6)
    assert titles(fetched(new, old)) == ["(delta number 7)", "(delta number 7)", "(delta number 6)", "(delta number 6)"]


def test_a_list_in_der_with_an_earlier_one_behind_it():
    (entry,) = parse_lists(delta(ROOT, 6, 7), URL)
    stored = fetched(entry.crl.public_bytes(Encoding.DER), delta(ROOT, 5, 6))
    assert titles(stored) == ["(delta number 7)", "(delta number 6)"]


@pytest.mark.parametrize("bound", ["MAX_EARLIER_DELTAS", "MAX_EARLIER_BYTES"])
def test_the_oldest_go_where_there_are_too_many(monkeypatch, bound):
    monkeypatch.setattr(
        module, bound, {"MAX_EARLIER_DELTAS": 2, "MAX_EARLIER_BYTES": 2 * len(delta(ROOT, 1, 2)) + 9}[bound]
    )
    stored = delta(ROOT, 1, 2)
    for number in (2, 3):
        stored = fetched(delta(ROOT, number, number + 1), stored)
    assert titles(stored) == ["(delta number 4)", "(delta number 3)", "(delta number 2)"]
    stored = fetched(delta(ROOT, 4, 5), stored)
    assert titles(stored) == ["(delta number 5)", "(delta number 4)", "(delta number 3)"]


def test_the_newest_of_each_kind():
    lists = parse_lists(
        ROOT.crl(number=4) + ROOT.crl(number=5) + delta(ROOT, 5, 7) + delta(ROOT, 5, 6) + OTHER.crl(number=1), "a.crl"
    )
    assert {entry.title for entry in newest_of_each_kind(lists)} == {
        "a.crl (number 5)",
        "a.crl (delta number 7)",
        "a.crl (number 1)",
    }
