"""Nobody is told twice about a certificate that ends, whoever sends, in SQLite and in PostgreSQL alike."""

from __future__ import annotations

import threading
from datetime import timedelta

from support.desk import DAY, MINUTE, NOW, Files, issue_to, make_authority

from gateway.pki import issue, lifecycle
from gateway.pki.keys import make
from gateway.pki.registry import notices
from gateway.pki.registry.notices import Kind, Notice
from gateway.pki.registry.records import Purpose, RevocationReason
from gateway.pki.words import KeyKind

BEFORE = (30 * DAY, 7 * DAY, DAY)
SECOND = timedelta(seconds=1)
CLAIM = timedelta(seconds=notices.CLAIM_SECONDS)
NOTICE = Notice(Kind.HOLDER, "ab" * 32, "alice@example.com", 7 * DAY)


def _claim(desk, notice=NOTICE, now=NOW):
    with desk.registry.writing() as connection:
        return notices.claim(connection, notice, now)


def _due(desk, now, limit=10):
    with desk.registry.reading() as connection:
        return [
            (record.email, notice.threshold) for record, notice in notices.holders_due(connection, BEFORE, now, limit)
        ]


def test_a_notice_is_claimed_once_until_the_claim_ends(desk):
    with desk.registry.reading() as connection:
        assert notices.is_due(connection, NOTICE, NOW)
    assert _claim(desk)
    assert not _claim(desk)
    with desk.registry.reading() as connection:
        assert not notices.is_due(connection, NOTICE, NOW)
        assert notices.is_due(connection, NOTICE, NOW + CLAIM)
    assert not _claim(desk, now=NOW + CLAIM - SECOND)
    assert _claim(desk, now=NOW + CLAIM)
    assert _claim(desk, Notice(Kind.HOLDER, NOTICE.topic, NOTICE.recipient, DAY))
    assert _claim(desk, Notice(Kind.SUMMARY, "2026-11-24", "admin@example.com"))


def test_what_was_sent_is_never_claimed_again(desk):
    assert _claim(desk)
    with desk.registry.writing() as connection:
        notices.sent(connection, NOTICE, NOW)
        notices.put_back(connection, NOTICE, NOW)  # of one who thought that it could not be sent
        assert not notices.is_due(connection, NOTICE, NOW + 100 * DAY)
    assert not _claim(desk, now=NOW + 100 * DAY)


def test_of_many_at_once_one_gets_it(desk):
    got = []
    threads = [threading.Thread(target=lambda: got.append(_claim(desk))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False, False, False, True]


def test_what_could_not_be_tried_is_free_at_once(desk):
    _claim(desk)
    with desk.registry.writing() as connection:
        notices.put_back(connection, NOTICE, NOW)
    assert _claim(desk)


def test_a_refused_mail_is_tried_ever_more_slowly_and_shown(desk):
    now = NOW
    for seconds in (60, 120, 240, 480, 960, 1920, 3840, 7680, 15360, 21600, 21600):
        assert _claim(desk, now=now)
        with desk.registry.writing() as connection:
            notices.refused(connection, NOTICE, f"550 no such user {'x' * 300}", now)
        tried, now = now, now + timedelta(seconds=seconds)
        assert not _claim(desk, now=now - SECOND)
    with desk.registry.reading() as connection:
        (refused,) = notices.undelivered(connection, tried, 10)
        assert refused.recipient == "alice@example.com"
        assert (refused.failure[:16], len(refused.failure)) == ("550 no such user", notices.FAILURE_CHARACTERS)
        assert notices.undelivered(connection, now, 10) == []
    _claim(desk, now=now)
    with desk.registry.writing() as connection:
        notices.sent(connection, NOTICE, now)
        assert notices.undelivered(connection, NOW, 10) == []


def test_each_holder_is_told_once_for_each_threshold(desk):
    corp = make_authority(desk)
    alice = issue_to(desk, corp, days=90).record
    end = alice.not_after
    assert _due(desk, end - 30 * DAY - SECOND) == []
    for threshold in BEFORE:
        now = end - threshold
        assert _due(desk, now) == [("alice@example.com", threshold)]
        with desk.registry.reading() as connection:
            ((_, notice),) = notices.holders_due(connection, BEFORE, now, 10)
        assert _claim(desk, notice, now)
        assert _due(desk, now) == []  # somebody is at it
        assert _due(desk, now + CLAIM) == [("alice@example.com", threshold)]
        with desk.registry.writing() as connection:
            notices.sent(connection, notice, now)
        assert _due(desk, now + CLAIM) == []
    assert _due(desk, end) == []


def test_of_several_thresholds_that_are_reached_the_last_one_counts(desk, corp):
    alice = issue_to(desk, corp, days=90).record
    assert _due(desk, alice.not_after - 2 * DAY) == [("alice@example.com", 7 * DAY)]


def test_a_threshold_within_the_whole_life_tells_nobody_anything(desk, corp):
    alice = issue_to(desk, corp, days=20).record
    assert _due(desk, NOW + MINUTE) == []
    assert _due(desk, alice.not_after - 7 * DAY) == [("alice@example.com", 7 * DAY)]


def test_those_who_need_nothing_are_told_nothing(desk, corp):
    now = NOW + 80 * DAY
    renewed, revoked, held = (issue_to(desk, corp, f"{name}@example.com", days=90).record for name in "abc")
    renewal = lifecycle.Renewal(key=make(KeyKind.ECDSA_P256), days=300)
    lifecycle.renew(desk, corp, renewed, renewal, NOW + 79 * DAY, Files())
    lifecycle.revoke(desk, corp, [revoked], RevocationReason.UNSPECIFIED, NOW)
    lifecycle.hold(desk, corp, [held], NOW)
    for purpose in (Purpose.SERVER, Purpose.OCSP):
        order = issue.Order(email=None, common_name="mail.example.com", purpose=purpose, days=90)
        issue.issue(desk, corp, order, make(KeyKind.ECDSA_P256), NOW, Files())
    assert _due(desk, now) == []


def test_the_most_urgent_come_first_and_never_more_than_asked_for(desk, corp):
    days = {"late": 95, "soon": 81, "sooner": 80, "next": 86}
    for name, count in days.items():
        issue_to(desk, corp, f"{name}@example.com", days=count)
    now = NOW + 79 * DAY + MINUTE
    names = ["sooner@example.com", "soon@example.com", "next@example.com", "late@example.com"]
    assert [email for email, _ in _due(desk, now)] == names
    assert [email for email, _ in _due(desk, now, limit=2)] == names[:2]
