"""What is found in the registry, what is warned of, and what the log says once."""

from __future__ import annotations

import logging

import pytest
from support.desk import DAY, issue_to, make_authority

from gateway.errors import OperationError
from gateway.keeper import letters
from gateway.keeper.announcer import Announcer
from gateway.keeper.findings import SITES_SHOWN, look
from gateway.keeper.plan import canonical
from gateway.keeper.report import SHOWN, report
from gateway.keeper.troubles import Troubles
from gateway.pki import authority, lifecycle, ocsp_signer
from gateway.pki.authority import DEFAULT_CRL_LIFETIME
from gateway.pki.registry import notices
from gateway.pki.registry.notices import Kind, Notice
from gateway.pki.registry.records import RevocationReason
from gateway.x509.names import fingerprint_of
from gateway.x509.serials import serial_text

SOON = DEFAULT_CRL_LIFETIME * 3 / 4


def test_a_look_counts_and_names_what_ends(desk, corp, make_plan, now):
    issue_to(desk, corp, days=5)
    issue_to(desk, corp, "bob@example.com", days=20)
    issue_to(desk, corp, "carol@example.com")
    found = look(desk, make_plan(), now)
    assert found.counts == {("corp", "live"): 3}
    assert found.ending == ((30 * DAY, 2), (7 * DAY, 1), (DAY, 0))
    assert [record.email for record in found.next] == ["alice@example.com", "bob@example.com"]
    assert (found.warnings, found.undelivered) == ((), ())
    (one,) = found.authorities
    assert (one.name, one.list_ends, one.list_number, one.is_kept) == ("corp", now + DEFAULT_CRL_LIFETIME, 1, True)


def test_a_list_and_a_signer_that_nobody_renews_are_warned_of(desk, corp, make_plan, now):
    ocsp_signer.make_signer(desk, corp, now)
    plan = make_plan(passphrase_files={})
    assert look(desk, plan, now).warnings == ()
    lines = look(desk, plan, now + SOON).warnings
    keep_it = "or write `corp: {passphrase_file: FILE}` under pki.authorities so that the gateway renews it"
    end = "2026-12-24 12:00 UTC"
    assert lines == (
        f"the revocation list of authority 'corp' expires {end}; run 'gateway ca crl corp', {keep_it}",
        f"the OCSP signer of authority 'corp' expires {end}; run 'gateway ca ocsp corp', {keep_it}",
    )
    later = look(desk, plan, now + SOON + 30 * DAY).warnings
    assert [f"expired {end}; " in line for line in later] == [True, True]
    assert look(desk, make_plan(), now + SOON).warnings == ()  # the gateway renews them
    watched = make_plan(passphrase_files={}, watched=frozenset({canonical(desk.file("corp", "crl"))}))
    assert look(desk, watched, now + SOON).warnings == lines[1:]  # the gateway itself warns of a site's list


def test_an_authority_without_a_list_is_warned_of(desk, make_plan, now):
    authority.create(desk, authority.Plan(name="new", kind="ecdsa-p256"), "long enough", now)
    (line,) = look(desk, make_plan(), now).warnings
    assert line.startswith("authority 'new' has no revocation list yet; run 'gateway ca crl new', or write `new: ")


@pytest.mark.parametrize(("left", "within"), [(31, None), (30, "30d"), (8, "30d"), (7, "7d"), (1, "1d"), (0, None)])
def test_an_authority_that_ends_is_warned_of_once_for_each_threshold(desk, make_plan, left, within):
    made = make_authority(desk, days=100)
    later = made.record.not_after - left * DAY
    lines = look(desk, make_plan(), later).warnings
    assert len(lines) == (within is not None)
    if within is not None:
        assert lines[0].endswith(f", within {within}; run 'gateway ca init NEW-NAME' to make its successor")
    watched = make_plan(watched=frozenset({canonical(desk.file("corp", "crt"))}))
    assert look(desk, watched, later).warnings == ()


@pytest.mark.parametrize("reason", ["revoked", "held"])
def test_a_revoked_authority_that_sites_trust_is_a_problem(desk, make_plan, now, reason):
    """A CA in client_ca is trusted whatever the list of the one above it says; one on hold may come back."""
    root = make_authority(desk, "root")
    below = make_authority(desk, "below", parent=root)
    sites = tuple(f"{number}.example.com" for number in range(SITES_SHOWN + 1))
    trusting = {fingerprint_of(root.certificate): sites, fingerprint_of(below.certificate): sites}
    assert look(desk, make_plan(trusting=trusting), now).problems == ()
    serial = serial_text(below.certificate.serial_number)
    if reason == "revoked":
        lifecycle.revoke(desk, root, [], RevocationReason.KEY_COMPROMISE, now, [serial])
    else:
        lifecycle.hold(desk, root, [], now, [serial])
    assert look(desk, make_plan(), now).problems == ()  # no site trusts it
    found = look(desk, make_plan(trusting=trusting), now)
    of_one = look(desk, make_plan(trusting={fingerprint_of(below.certificate): ("mail.example.com",)}), now)
    if reason == "held":
        assert (found.problems, of_one.problems) == ((), ())
        return
    what = "was revoked, and certificates that it issued are still let in: it is in client_ca of"
    remedy = "replace it there by another authority's certificate, and reload"
    shown = "0.example.com, 1.example.com, 2.example.com, 3.example.com, 4.example.com and 1 more site"
    assert found.problems == (f"the authority 'below' {what} {shown}; {remedy}",)
    assert of_one.problems == (f"the authority 'below' {what} mail.example.com; {remedy}",)
    assert report(found, (), sent=0, refused=0, notifications=None)["problems"] == list(found.problems)
    assert letters.is_worth_a_summary(found, ())
    mail = letters.to_admins(
        found, (), Notice(Kind.SUMMARY, "2026-11-24", "a@example.com"), ("a@example.com",), "g@a.example"
    )
    assert found.problems[0] in mail.get_content()


def test_mails_that_were_refused_in_the_last_day_are_found(desk, corp, make_plan, now):
    notice = Notice(Kind.HOLDER, "ab", "alice@example.com", DAY)
    with desk.registry.writing() as connection:
        notices.claim(connection, notice, now)
        notices.refused(connection, notice, "550 no such user", now)
    assert [each.recipient for each in look(desk, make_plan(), now).undelivered] == ["alice@example.com"]
    assert look(desk, make_plan(), now + 2 * DAY).undelivered == ()
    assert corp.name == "corp"


def test_the_log_names_each_certificate_once_for_each_threshold(desk, corp, make_plan, caplog, now):
    caplog.set_level(logging.INFO)
    alice = issue_to(desk, corp, days=60).record
    issue_to(desk, corp, "bob@example.com", days=20)
    announcer, end = Announcer(), alice.not_after
    for left in (31, 30, 29, 7, 6, 1):
        announcer.tell(look(desk, make_plan(), end - left * DAY))
    lines = [record.getMessage() for record in caplog.records]
    told = [line for line in lines if alice.serial in line]
    assert [line.partition("within ")[2].partition(";")[0] for line in told] == ["30d", "7d", "1d"]
    assert f"certificate {alice.serial} of alice@example.com, issued by 'corp', expires " in told[0]
    assert now < end


def test_a_restart_says_in_one_line_what_was_said_before(desk, corp, make_plan, caplog, now):
    caplog.set_level(logging.INFO)
    Announcer().tell(look(desk, make_plan(), now))
    assert caplog.records == []
    for name in "abc":
        issue_to(desk, corp, f"{name}@example.com", days=5)
    Announcer().tell(look(desk, make_plan(), now))
    assert [record.getMessage() for record in caplog.records] == [
        "certificates that expire soon: 3 within 30d, 3 within 7d; run 'gateway cert list --expiring 30d' to see them"
    ]


def test_commands_name_the_configuration(desk, corp, make_plan, caplog, now):
    """The admin reads them in a log, a mail or a status, in whatever folder."""
    issue_to(desk, corp, days=5)
    found = look(desk, make_plan(passphrase_files={}, options=" -c '/etc/my gateway.yaml'"), now + SOON)
    (line,) = found.warnings
    assert "; run `gateway ca -c '/etc/my gateway.yaml' crl corp`, or write " in line
    found = look(desk, make_plan(options=" -c /etc/gateway.yaml"), now)
    announcer = Announcer()
    announcer.tell(found)
    assert "; run 'gateway cert -c /etc/gateway.yaml list --expiring 30d' to see them" in caplog.text
    alice = issue_to(desk, corp, "bob@example.com", days=5).record
    announcer.tell(look(desk, make_plan(options=" -c /etc/gateway.yaml"), now))
    assert f"; run 'gateway cert -c /etc/gateway.yaml renew {alice.serial}'" in caplog.text


def test_the_report_is_plain_and_short(desk, corp, make_plan, now):
    for number in range(SHOWN + 1):
        issue_to(desk, corp, f"user{number}@example.com", days=5)
    make_authority(desk, "other")
    troubles = Troubles()
    troubles.failed("it", OperationError("broke", "Mend it."), now)
    told = report(look(desk, make_plan(), now), troubles, sent=3, refused=1, notifications=None)
    assert told["looked"] == now.timestamp()
    assert [each["certificates"] for each in told["authorities"]] == [{"live": SHOWN + 1}, {}]
    assert told["ending"][0] == (30 * 86400.0, SHOWN + 1)
    assert len(told["next"]) == SHOWN
    assert told["next"][0]["email"] == "user0@example.com"
    assert told["troubles"][0]["retry_at"] == now.timestamp() + 60
    assert told["mails"] == {"sent": 3, "refused": 1}
    nothing = report(None, (), sent=0, refused=0, notifications=None)
    assert (nothing["looked"], nothing["authorities"], nothing["next"]) == (None, [], [])
