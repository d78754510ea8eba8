"""A registry that was restored from a backup: what was revoked since is refused again, and never gets in in between."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import delete, insert, select, update
from support.desk import DAY, MINUTE, NOW, issue_to, make_authority, reload
from support.pki import build_crl

from gateway.errors import OperationError, UsageError
from gateway.pki import crl, lifecycle, restoring
from gateway.pki.registry import audit, authorities, certificates
from gateway.pki.registry.records import RevocationReason, State
from gateway.pki.registry.tables import AUTHORITIES, CERTIFICATES, FOREIGN_REVOCATIONS, NAME_CLAIMS

COMPROMISED, GONE = RevocationReason.KEY_COMPROMISE, RevocationReason.AFFILIATION_CHANGED
LATER = NOW + 3 * DAY


@pytest.fixture
def backup(desk):
    """Returns what brings the registry back to what it is now; the audit trail stays, nothing is taken out of it."""

    def backup():
        tables = (AUTHORITIES, CERTIFICATES, NAME_CLAIMS, FOREIGN_REVOCATIONS)
        with desk.registry.reading() as connection:
            rows = {table: [dict(row) for row in connection.execute(select(table)).mappings()] for table in tables}

        def restore():
            with desk.registry.writing() as connection:
                for table in (NAME_CLAIMS, FOREIGN_REVOCATIONS):
                    connection.execute(delete(table))
                    if rows[table]:
                        connection.execute(insert(table), rows[table])
                for table in (AUTHORITIES, CERTIFICATES):
                    for row in rows[table]:
                        values = {name: value for name, value in row.items() if name != "id"}
                        connection.execute(update(table).where(table.c.id == row["id"]).values(values))

        return restore

    return backup


def _listed(desk):
    published = x509.load_pem_x509_crl(desk.file("corp", "crl").read_bytes())
    found = {}
    for entry in published:
        reasons = [extension.value.reason.value for extension in entry.extensions]
        found[certificates.serial_text(entry.serial_number)] = (reasons[0] if reasons else None, entry)
    return found


def _people(desk, corp, *names):
    return [issue_to(desk, corp, f"{name}@example.com").record for name in names]


def test_what_was_revoked_since_the_backup_is_revoked_again(desk, corp, backup):
    ann, bob, held, eve, old = _people(desk, corp, "ann", "bob", "held", "eve", "old")
    lifecycle.hold(desk, corp, [held, eve], NOW, ["0A", "0B", "0D"])
    lifecycle.revoke(desk, corp, [old], GONE, NOW, ["0E"])
    restore = backup()
    since = NOW + DAY
    lifecycle.revoke(desk, corp, [ann], COMPROMISED, since, ["0C"])
    lifecycle.hold(desk, corp, [bob], since)
    lifecycle.release(desk, corp, [reload(desk, held)], since, ["0A"])
    lifecycle.revoke(desk, corp, [reload(desk, eve)], GONE, since, ["0B"])
    before, newest = _listed(desk), desk.file("corp", "crl").read_bytes()
    restore()
    assert reload(desk, ann).state is State.LIVE
    taken = restoring.take_over(desk, corp, newest, LATER)
    assert taken.number == 7
    assert {entry.serial for entry in taken.entries} == {ann.serial, bob.serial, eve.serial, "0B", "0C"}
    assert taken.still_held == tuple(sorted((held.serial, "0A")))
    after = _listed(desk)
    assert set(after) == {*before, held.serial, "0A"}
    for serial, (reason, entry) in before.items():
        assert after[serial][0] == reason
        assert after[serial][1].revocation_date_utc == entry.revocation_date_utc
    states = [reload(desk, each).state for each in (ann, bob, held, eve, old)]
    assert states == [State.REVOKED, State.HELD, State.HELD, State.REVOKED, State.REVOKED]
    with desk.registry.reading() as connection:
        assert authorities.get(connection, "corp").crl_number == 8
        last = audit.entries(connection, serial=ann.serial)[-1]
        assert (last.action, last.detail[:29]) == ("revoked", "from list 7; key-compromise: ")
        assert audit.entries(connection, serial="0C")[-1].detail == "not in the registry; from list 7; key-compromise"
    assert issue_to(desk, corp, "ann@example.com").record, "a revoked one lets go of its name"
    lifecycle.release(desk, corp, [reload(desk, held)], LATER, ["0A"])
    assert restoring.take_over(desk, corp, newest, LATER).entries == (), "again, nothing is left to do"
    assert set(_listed(desk)) == set(before)


def test_a_restored_registry_never_publishes_a_list_that_frees_somebody(desk, corp, backup):
    """Its numbers pass that of the newest list after a few changes: the list's number alone doesn't tell."""
    ann, bob, carl = _people(desk, corp, "ann", "bob", "carl")
    restore = backup()
    lifecycle.revoke(desk, corp, [ann], COMPROMISED, NOW)
    newest = desk.file("corp", "crl").read_bytes()
    restore()
    with desk.registry.writing() as connection:
        connection.execute(update(AUTHORITIES).values(crl_number=50))
    told = f"the list names {ann.serial}, and the registry doesn't know that it was revoked"
    with pytest.raises(OperationError, match=told) as refused:
        lifecycle.revoke(desk, corp, [bob], GONE, LATER)
    assert refused.value.remedy.startswith("Run 'gateway ca crl corp --from ")
    assert desk.file("corp", "crl").read_bytes() == newest
    restoring.take_over(desk, corp, newest, LATER)
    assert set(_listed(desk)) == {ann.serial, bob.serial}
    lifecycle.revoke(desk, corp, [carl], GONE, LATER)


def test_released_and_expired_ones_leave_the_list_as_ever(desk, corp):
    [ann, bob] = _people(desk, corp, "ann", "bob")
    brief = issue_to(desk, corp, "brief@example.com", days=1).record
    lifecycle.hold(desk, corp, [ann], NOW, ["0A"])
    lifecycle.release(desk, corp, [reload(desk, ann)], NOW, ["0A"])
    lifecycle.revoke(desk, corp, [brief, bob], GONE, NOW)
    assert set(_listed(desk)) == {brief.serial, bob.serial}
    for day in (2, 3):
        crl.renew(desk, corp, NOW + day * DAY)
    assert set(_listed(desk)) == {bob.serial}


def test_one_that_was_held_again_after_its_release_and_the_backup_counts_as_lost(desk, corp, backup):
    [ann] = _people(desk, corp, "ann")
    lifecycle.hold(desk, corp, [ann], NOW)
    lifecycle.release(desk, corp, [reload(desk, ann)], NOW + MINUTE)
    restore = backup()
    lifecycle.hold(desk, corp, [reload(desk, ann)], NOW + 2 * MINUTE)
    restore()
    with desk.registry.writing() as connection:
        connection.execute(update(AUTHORITIES).values(crl_number=50))
    with pytest.raises(OperationError, match=f"the list names {ann.serial}"):
        crl.renew(desk, corp, LATER)


def test_a_file_that_is_not_the_authoritys_list_is_replaced(desk, corp):
    other = make_authority(desk, "other")
    lifecycle.revoke(desk, other, [], GONE, NOW, ["0A"])
    for data in (desk.file("other", "crl").read_bytes(), b"no list", b""):
        desk.file("corp", "crl").write_bytes(data)
        with desk.registry.writing() as connection:
            connection.execute(update(AUTHORITIES).values(crl_number=50))
        crl.renew(desk, corp, NOW)
        assert _listed(desk) == {}


def test_only_a_whole_list_of_the_authority_is_taken_over(desk, corp):
    make_authority(desk, "other")
    for data, cause in (
        (desk.file("other", "crl").read_bytes(), "was not signed by this authority"),
        (b"no list", "revocation list"),
    ):
        with pytest.raises(UsageError, match=cause):
            restoring.take_over(desk, corp, data, LATER)


def test_the_next_list_is_later_than_the_one_that_was_taken_over(desk, corp):
    """A list that was made in another program's name may be dated later than ours."""
    theirs = build_crl(corp, [0x0A], number=9, last_update=NOW + timedelta(hours=1), next_update=NOW + DAY)
    restoring.take_over(desk, corp, theirs.public_bytes(Encoding.DER), NOW + timedelta(hours=1, seconds=9))
    with desk.registry.reading() as connection:
        record = authorities.get(connection, "corp")
    assert record.crl_number == 10
    assert record.crl_this_update > NOW + timedelta(hours=1)
    without_a_list = make_authority(desk, "fresh")
    with desk.registry.writing() as connection:
        connection.execute(update(AUTHORITIES).where(AUTHORITIES.c.name == "fresh").values(crl_this_update=None))
    restoring.take_over(desk, without_a_list, desk.file("fresh", "crl").read_bytes(), LATER)
