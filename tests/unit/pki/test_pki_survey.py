"""How many certificates there are in which state, and who needs somebody soon."""

from __future__ import annotations

from support.desk import DAY, NOW, Files, issue_to, make_authority

from gateway.pki import issue, lifecycle
from gateway.pki.keys import make
from gateway.pki.registry import certificates, survey
from gateway.pki.registry.records import Purpose, RevocationReason
from gateway.pki.registry.tables import CERTIFICATES
from gateway.pki.words import KeyKind


def _populate(desk):
    corp, other = make_authority(desk), make_authority(desk, "other")
    kept, renewed, revoked, held, short = (
        issue_to(desk, corp, f"{name}@example.com", days=days).record
        for name, days in (("kept", 40), ("renewed", 40), ("revoked", 40), ("held", 40), ("short", 5))
    )
    renewal = lifecycle.Renewal(key=make(KeyKind.ECDSA_P256), days=300, overlap=10 * DAY)
    lifecycle.renew(desk, corp, renewed, renewal, NOW, Files())
    lifecycle.revoke(desk, corp, [revoked], RevocationReason.UNSPECIFIED, NOW)
    lifecycle.hold(desk, corp, [held], NOW)
    issue_to(desk, other, days=20)
    order = issue.Order(email=None, common_name="corp OCSP", purpose=Purpose.OCSP, days=30)
    issue.issue(desk, corp, order, make(KeyKind.ECDSA_P256), NOW, Files())
    return kept, short


def test_counts_say_what_each_record_says_of_itself(desk):
    _populate(desk)
    for now in (NOW, NOW + 7 * DAY, NOW + 12 * DAY, NOW + 50 * DAY):
        with desk.registry.reading() as connection:
            expected = {}
            for record in certificates.find(connection):
                key = record.authority, record.status(now)
                expected[key] = expected.get(key, 0) + 1
            assert survey.counts(connection, now) == expected


def test_what_ends_is_named_soonest_first(desk):
    kept, short = _populate(desk)
    with desk.registry.reading() as connection:
        ending = survey.ending(connection, NOW + 60 * DAY, NOW, 10)
        assert [record.email for record in ending] == ["short@example.com", "alice@example.com", "kept@example.com"]
        assert survey.ending(connection, NOW + 60 * DAY, NOW, 1) == [short]
        assert survey.count_ending(connection, NOW + 60 * DAY, NOW) == 3
        assert survey.count_ending(connection, NOW + 30 * DAY, NOW) == 2
        assert survey.ending(connection, kept.not_after, short.not_after + DAY * 20, 10) == [kept]
        assert survey.count_ending(connection, kept.not_after, kept.not_after + DAY) == 0


def test_no_more_are_read_than_asked_for(desk, corp):
    for name in "abc":
        issue_to(desk, corp, f"{name}@example.com")
    with desk.registry.reading() as connection:
        newest = certificates.find(connection, CERTIFICATES.c.email.is_not(None), limit=2)
    assert [record.email for record in newest] == ["a@example.com", "b@example.com"]
