"""The memory of judgements: as long as they hold, never longer, and only of those that are trusted."""

from datetime import timedelta

from support.pki import DAY, NOW, Ca

from gateway.facts import Reason
from gateway.tls.judgements import MAX_REMEMBERED_JUDGEMENTS, JudgementCache
from gateway.tls.trust import make_trust
from gateway.x509.revocation_list import parse_lists

ROOT = Ca.make()
SECOND = timedelta(seconds=1)


def cache(*crls):
    lists = [entry for crl in crls for entry in parse_lists(crl, "test.crl")]
    return JudgementCache(make_trust([ROOT.certificate], lists, "require" if crls else None))


def judge(judgements, *arguments):
    return judgements.examine(*arguments).judgement


def test_a_trusted_certificate_is_judged_once():
    judgements, alice = cache(), ROOT.issue()
    first = judge(judgements, alice.der, (), NOW)
    assert first.is_trusted
    assert judge(judgements, alice.der, (), NOW + DAY) is first
    assert "1 trusted" in repr(judgements)


def test_it_ends_with_the_certificate():
    judgements, alice = cache(), ROOT.issue(not_after=NOW + DAY)
    assert judge(judgements, alice.der, (), NOW).is_trusted
    assert judge(judgements, alice.der, (), NOW + DAY).is_trusted
    assert judge(judgements, alice.der, (), NOW + DAY + SECOND).reason is Reason.CERTIFICATE_EXPIRED


def test_it_ends_with_a_ca():
    middle = ROOT.issue_ca(not_after=NOW + DAY)
    judgements, alice = cache(), middle.issue()
    assert judge(judgements, alice.der, alice.chain_der, NOW).is_trusted
    assert judge(judgements, alice.der, alice.chain_der, NOW + DAY + SECOND).reason is Reason.CERTIFICATE_UNTRUSTED


def test_it_ends_with_a_revocation_list():
    judgements, alice = cache(ROOT.crl(next_update=NOW + DAY)), ROOT.issue()
    assert judge(judgements, alice.der, (), NOW).is_trusted
    assert judge(judgements, alice.der, (), NOW + DAY + SECOND).reason is Reason.REVOCATION_UNKNOWN


def test_it_ends_when_the_clock_steps_back():
    judgements, alice = cache(), ROOT.issue(not_before=NOW)
    assert judge(judgements, alice.der, (), NOW).is_trusted
    assert judge(judgements, alice.der, (), NOW - SECOND).reason is Reason.CERTIFICATE_NOT_YET_VALID


def test_another_ca_that_is_sent_along_is_looked_at_and_fewer_are_not():
    middle = ROOT.issue_ca()
    twin = ROOT.issue_ca(key=middle.key)
    judgements, alice = cache(), middle.issue()
    first = judge(judgements, alice.der, (middle.der,), NOW)
    both = judge(judgements, alice.der, (twin.der, middle.der), NOW)
    assert first.identity.path_fingerprints < both.identity.path_fingerprints
    for fewer in ((middle.der, twin.der), (twin.der,), ()):
        assert judge(judgements, alice.der, fewer, NOW) is both


def test_a_refusal_is_not_remembered():
    middle = ROOT.issue_ca()
    judgements, alice = cache(), middle.issue()
    assert judge(judgements, alice.der, (), NOW).reason is Reason.CERTIFICATE_UNTRUSTED
    assert "0 trusted" in repr(judgements)
    assert judge(judgements, alice.der, alice.chain_der, NOW).is_trusted


def test_a_remembered_path_holds_for_the_leaf_alone_in_the_same_process():
    alice = ROOT.issue_ca().issue()
    judgements = cache()
    full = judge(judgements, alice.der, alice.chain_der, NOW)
    assert judge(judgements, alice.der, (), NOW) is full


def test_only_a_leaf_that_needs_nothing_from_the_client_is_trusted_alone():
    alice, carol = ROOT.issue(), ROOT.issue_ca().issue()
    judgements = cache()
    assert judgements.examine(alice.der, (), NOW).is_alone
    assert not judgements.examine(carol.der, (), NOW).is_alone
    assert judge(judgements, carol.der, carol.chain_der, NOW).is_trusted
    assert not judgements.examine(carol.der, (), NOW).is_alone  # though remembered
    assert not judgements.examine(Ca.make("CN=x").issue().der, (), NOW).is_alone


def test_an_intermediate_among_the_anchors_needs_nothing_from_the_client():
    middle = ROOT.issue_ca()
    carol = middle.issue()
    judgements = JudgementCache(make_trust([ROOT.certificate, middle.certificate]))
    assert judgements.examine(carol.der, (), NOW).is_alone


def test_the_least_recently_used_is_forgotten_first():
    judgements = cache()
    first, second = ROOT.issue("CN=1"), ROOT.issue("CN=2")
    kept = [judge(judgements, leaf.der, (), NOW) for leaf in (first, second)]
    entry = judgements._entries[first.der]
    for number in range(MAX_REMEMBERED_JUDGEMENTS - 2):
        judgements._entries[b"%d" % number] = entry
    assert judge(judgements, first.der, (), NOW) is kept[0]  # used again: now the second is the oldest

    assert judge(judgements, ROOT.issue("CN=3").der, (), NOW).is_trusted

    assert len(judgements._entries) == MAX_REMEMBERED_JUDGEMENTS
    assert judge(judgements, first.der, (), NOW) is kept[0]
    assert second.der not in judgements._entries
