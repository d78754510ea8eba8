"""The mails say what ends, when, what then and what to do; and nobody writes their headers but we."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import default

import pytest
from support.desk import DAY, issue_to, make_authority

from gateway.errors import OperationError
from gateway.keeper import letters
from gateway.keeper.findings import NAMED, look
from gateway.keeper.letters import UndeliverableError
from gateway.keeper.troubles import Troubles
from gateway.pki.registry import notices
from gateway.pki.registry.notices import Kind, Notice
from gateway.pki.registry.records import Purpose

SENDER = "gateway@example.com"


def _notice(record, recipient=None, threshold=7 * DAY):
    return Notice(Kind.HOLDER, record.fingerprint, record.email if recipient is None else recipient, threshold)


def _read(message):
    """As a mail program reads it."""
    data = message.as_bytes()
    assert data.isascii()
    assert max(map(len, data.split(b"\r\n"))) <= 78
    return message_from_bytes(data, policy=default)


@pytest.fixture
def alice(desk, corp):
    return issue_to(desk, corp, name="Älice Example", device="iPhone", days=60).record


def test_a_holder_reads_what_to_do(alice):
    now = alice.not_after - 7 * DAY
    mail = _read(letters.to_holder(alice, _notice(alice), SENDER, "helpdesk@example.com", now))
    assert mail["From"] == "Mail gateway <gateway@example.com>"
    assert mail["To"] == "alice@example.com"
    assert mail["Subject"] == "Your certificate for your mail ends on 23 January 2027"
    assert mail["Date"].datetime == now
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["List-Id"] is None
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content_charset() == "utf-8"
    text = mail.get_content()
    for each in (
        "ends on 23 January 2027, in 7 days.",
        "you can no longer reach your mail from outside or sign mail with it.",
        "helpdesk@example.com",
        "Älice Example (iPhone)",
        alice.serial,
        "2027-01-23 12:00 UTC",
    ):
        assert each in text


@pytest.mark.parametrize(("left", "words"), [(1, "within two days"), (0.5, "within a day"), (2, "in 2 days")])
def test_the_time_left_is_in_words(alice, left, words):
    now = alice.not_after - left * DAY
    assert words in _read(letters.to_holder(alice, _notice(alice), SENDER, None, now)).get_content()


@pytest.mark.parametrize(
    ("purpose", "words"),
    [
        ("auth", "reach your mail from outside."),
        ("smime", "no longer sign mail"),
        ("smime-signing", "certificate for signing mail"),
        ("smime-encryption", "other people can no longer use it to encrypt mail for you."),
    ],
)
def test_each_use_has_its_words(desk, corp, purpose, words, now):
    record = issue_to(desk, corp, purpose=Purpose(purpose)).record
    text = _read(letters.to_holder(record, _notice(record), SENDER, None, now)).get_content()
    assert words in " ".join(text.split())
    assert "your administrator" in text


def test_the_same_notice_has_the_same_id_and_no_other_has_it(alice, now):
    def made(notice):
        return letters.to_holder(alice, notice, SENDER, None, now)["Message-ID"]

    assert made(_notice(alice)) == made(_notice(alice))
    assert made(_notice(alice)) != made(_notice(alice, threshold=DAY))
    assert made(_notice(alice)) != made(_notice(alice, "bob@example.com"))
    assert str(made(_notice(alice))).endswith("@example.com>")
    assert alice.serial.lower() not in str(made(_notice(alice))).lower()


@pytest.mark.parametrize(
    "address",
    [
        "alice@example.com\r\nBcc: everybody@example.com",
        "alice@example.com\nX: y",
        "alice@example.com, everybody@example.com",
        "<alice@example.com>",
        "no address",
        "alice@",
        "",
    ],
)
def test_no_address_smuggles_anything_into_a_header(alice, address, now):
    with pytest.raises(UndeliverableError, match="is not a valid mail address"):
        letters.to_holder(alice, _notice(alice, address), SENDER, None, now)


def test_the_summary_has_all_that_somebody_should_do(desk, corp, make_plan, now):
    record = issue_to(desk, corp, name="Evil\u2009Name", days=5).record
    notice = Notice(Kind.HOLDER, "ab", "bob@example.com", DAY)
    with desk.registry.writing() as connection:
        notices.claim(connection, notice, now)
        notices.refused(connection, notice, "550 no such user", now)
    make_authority(desk, "other", days=9)
    troubles = Troubles()
    troubles.failed("authority 'corp'", OperationError("the passphrase is wrong", "correct it"), now)
    admins = ("a@example.com", "b@example.com")
    found = look(desk, make_plan(options=" -c /etc/gateway.yaml"), now)
    summary = Notice(Kind.SUMMARY, "2026-11-24", ", ".join(admins))
    mail = _read(letters.to_admins(found, tuple(troubles), summary, admins, SENDER))
    assert mail["To"] == "a@example.com, b@example.com"
    assert mail["Subject"] == "Mail gateway: 1 certificate to renew"
    text = mail.get_content()
    for each in (
        "authority 'corp': the passphrase is wrong",
        "\r\n  Correct it.\r\n",
        "authority 'other'",
        record.serial,
        "alice@example.com",
        "'gateway cert -c /etc/gateway.yaml list --expiring 30d'",
        "'gateway cert -c /etc/gateway.yaml renew SERIAL'",
        "bob@example.com: 550 no such user",
    ):
        assert each in text
    assert "and 1 more" not in text


def test_a_long_summary_ends_and_one_without_certificates_says_so(desk, corp, make_plan, monkeypatch, now):
    admins = ("a@example.com",)
    summary = Notice(Kind.SUMMARY, "2026-11-24", "a@example.com")
    nothing = look(desk, make_plan(), now)
    assert not letters.is_worth_a_summary(nothing, ())
    troubles = Troubles()
    troubles.failed("it", OperationError("broke", "Mend it."), now)
    assert letters.is_worth_a_summary(nothing, tuple(troubles))
    mail = _read(letters.to_admins(nothing, tuple(troubles), summary, admins, SENDER))
    assert mail["Subject"] == "Mail gateway: the registry needs attention"
    monkeypatch.setattr("gateway.keeper.findings.NAMED", 2)
    for name in "abc":
        issue_to(desk, corp, f"{name}@example.com", days=5)
    mail = _read(letters.to_admins(look(desk, make_plan(), now), (), summary, admins, SENDER))
    assert mail["Subject"] == "Mail gateway: 3 certificates to renew"
    assert "and 1 more" in mail.get_content()
    assert NAMED >= 100
