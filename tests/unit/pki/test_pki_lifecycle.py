"""Renewing, revoking, holding; and the lists that tell the world."""

from __future__ import annotations

import threading
from datetime import timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import update
from support.desk import DAY, MINUTE, NOW, Files, issue_to, make_authority, reload
from support.pki import openssl

from gateway.errors import OperationError, UsageError
from gateway.pki import authority, crl, issue, lifecycle, ocsp_signer, profiles, restoring
from gateway.pki.registry import audit, authorities, certificates
from gateway.pki.registry.claims import NameTakenError
from gateway.pki.registry.records import Purpose, RevocationReason, State
from gateway.pki.registry.tables import AUTHORITIES

KEY = ec.generate_private_key(ec.SECP256R1())
SECOND = timedelta(seconds=1)


def _listed(desk, name="corp"):
    """Serial to reason, as the published file has it."""
    published = x509.load_pem_x509_crl(desk.file(name, "crl").read_bytes())
    found = {}
    for entry in published:
        reasons = [e.value.reason.value for e in entry.extensions]
        found[certificates.serial_text(entry.serial_number)] = reasons[0] if reasons else None
    return found


def _trail(desk, record):
    with desk.registry.reading() as connection:
        return [(entry.action, entry.actor, entry.at) for entry in audit.entries(connection, serial=record.serial)]


def _number(desk, name="corp"):
    published = x509.load_pem_x509_crl(desk.file(name, "crl").read_bytes())
    return published.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


@pytest.mark.parametrize(
    ("reason", "written"),
    [
        (RevocationReason.UNSPECIFIED, None),
        (RevocationReason.KEY_COMPROMISE, "keyCompromise"),
        (RevocationReason.AFFILIATION_CHANGED, "affiliationChanged"),
        (RevocationReason.SUPERSEDED, "superseded"),
        (RevocationReason.CESSATION_OF_OPERATION, "cessationOfOperation"),
        (RevocationReason.PRIVILEGE_WITHDRAWN, "privilegeWithdrawn"),
    ],
)
def test_a_revoked_certificate_is_on_the_list_at_once(desk, reason, written):
    signer = make_authority(desk)
    record = issue_to(desk, signer).record
    assert _listed(desk) == {}
    lifecycle.revoke(desk, signer, [record], reason, NOW + MINUTE)
    assert _listed(desk) == {record.serial: written}
    after = reload(desk, record)
    assert (after.state, after.reason, after.revoked_at) == (State.REVOKED, reason, NOW + MINUTE)
    assert issue_to(desk, signer).record.state is State.LIVE


def test_openssl_refuses_the_revoked_and_accepts_the_other(desk, corp, tmp_path):
    bad, good = issue_to(desk, corp), issue_to(desk, corp, "bob@example.com")
    for name, issued in (("bad", bad), ("good", good)):
        (tmp_path / name).write_bytes(issued.certificate.public_bytes(Encoding.PEM))
    lifecycle.revoke(desk, corp, [bad.record], RevocationReason.KEY_COMPROMISE, NOW)
    arguments = (
        *("verify", "-x509_strict", "-crl_check", "-purpose", "sslclient", "-attime", str(int(NOW.timestamp()))),
        *("-CAfile", str(desk.file("corp", "crt")), "-CRLfile", str(desk.file("corp", "crl"))),
    )
    openssl(*arguments, "good", cwd=tmp_path)
    with pytest.raises(AssertionError, match="certificate revoked"):
        openssl(*arguments, "bad", cwd=tmp_path)


def test_held_and_released(desk):
    signer = make_authority(desk)
    record = issue_to(desk, signer).record
    lifecycle.hold(desk, signer, [record], NOW)
    assert _listed(desk) == {record.serial: "certificateHold"}
    held = reload(desk, record)
    assert not held.is_usable(NOW)
    with pytest.raises(NameTakenError):
        issue_to(desk, signer)
    with pytest.raises(UsageError, match="is held"):
        lifecycle.hold(desk, signer, [held], NOW)
    lifecycle.release(desk, signer, [held], NOW)
    assert _listed(desk) == {}
    assert reload(desk, record).is_usable(NOW)
    with pytest.raises(OperationError, match="is not held any more"):
        lifecycle.release(desk, signer, [held], NOW)
    lifecycle.hold(desk, signer, [reload(desk, record)], NOW)
    lifecycle.revoke(desk, signer, [reload(desk, record)], RevocationReason.KEY_COMPROMISE, NOW)
    assert _listed(desk) == {record.serial: "keyCompromise"}


def test_a_hold_is_no_revocation(desk, corp):
    record = issue_to(desk, corp).record
    with pytest.raises(UsageError, match="certificate-hold is not a valid revocation reason"):
        lifecycle.revoke(desk, corp, [record], RevocationReason.CERTIFICATE_HOLD, NOW)


def test_of_several_all_are_revoked_or_none(desk, corp):
    one, other = issue_to(desk, corp).record, issue_to(desk, corp, "bob@example.com").record
    lifecycle.hold(desk, corp, [other], NOW)
    with pytest.raises(OperationError, match="is not live any more"):
        lifecycle.revoke(desk, corp, [one, other], RevocationReason.UNSPECIFIED, NOW)
    assert reload(desk, one).state is State.LIVE


def test_a_renewal_takes_over_and_the_old_one_goes_when_the_overlap_ends(desk):
    signer = make_authority(desk)
    old = issue_to(desk, signer, name="Alice", upn="a@example.com", department="Sales", device="Phone").record
    issued = lifecycle.renew(desk, signer, old, lifecycle.Renewal(key=KEY, days=30), NOW + DAY, Files())
    new = issued.record
    before = x509.load_der_x509_certificate(old.der)
    assert issued.certificate.subject == before.subject
    san = x509.SubjectAlternativeName
    assert issued.certificate.extensions.get_extension_for_class(san) == before.extensions.get_extension_for_class(san)
    assert (new.renews, new.device, new.purpose) == (old.serial, "Phone", Purpose.CLIENT)
    old = reload(desk, old)
    assert old.supersede_at == NOW + 15 * DAY
    assert old.is_usable(NOW + 14 * DAY)
    assert new.is_usable(NOW + 14 * DAY)
    assert old.status(NOW + 15 * DAY) == "superseded"
    assert _listed(desk) == {}
    with desk.registry.reading() as connection:
        assert crl.due(connection, NOW + 15 * DAY - SECOND) == []
        assert crl.due(connection, NOW + 15 * DAY) == ["corp"]
    crl.renew(desk, signer, NOW + 15 * DAY)
    assert _listed(desk) == {old.serial: "superseded"}
    with desk.registry.reading() as connection:
        assert crl.due(connection, NOW + 15 * DAY) == []
    assert _trail(desk, old)[-1] == ("superseded", "tester", NOW + 15 * DAY)
    with pytest.raises(NameTakenError):
        issue_to(desk, signer, name="Alice", device="Phone")


def test_without_overlap_the_old_one_goes_at_once(desk, corp):
    old = issue_to(desk, corp).record
    lifecycle.renew(desk, corp, old, lifecycle.Renewal(key=KEY, overlap=timedelta(0)), NOW, Files())
    assert _listed(desk) == {old.serial: "superseded"}


def test_servers_are_renewed_with_their_names(desk, corp):
    hosts = (x509.DNSName("mail.example.com"),)
    order = issue.Order(email=None, common_name="mail.example.com", purpose=Purpose.SERVER, hosts=hosts)
    old = issue.issue(desk, corp, order, KEY, NOW, Files()).record
    new = lifecycle.renew(desk, corp, old, lifecycle.Renewal(key=KEY.public_key()), NOW, Files()).certificate
    assert list(new.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == list(hosts)


def test_a_certificate_without_alternative_names_is_renewed(desk, corp):
    order = issue.Order(email=None, common_name="just a name", purpose=Purpose.AUTH)
    old = issue.issue(desk, corp, order, KEY, NOW, Files()).record
    new = lifecycle.renew(desk, corp, old, lifecycle.Renewal(key=KEY), NOW, Files()).certificate
    assert new.subject.rfc4514_string() == "CN=just a name,O=Example Ltd"


def test_what_cannot_be_renewed(desk, corp):
    old = issue_to(desk, corp).record
    with pytest.raises(UsageError, match="overlap cannot be negative"):
        lifecycle.renew(desk, corp, old, lifecycle.Renewal(key=KEY, overlap=-DAY), NOW, Files())
    lifecycle.renew(desk, corp, old, lifecycle.Renewal(key=KEY), NOW, Files())
    with pytest.raises(UsageError, match="is already renewed") as refused:
        lifecycle.renew(desk, corp, reload(desk, old), lifecycle.Renewal(key=KEY), NOW, Files())
    assert refused.value.remedy.startswith("Renew the newer one")
    carol = issue_to(desk, corp, "carol@example.com").record
    lifecycle.hold(desk, corp, [carol], NOW)
    with pytest.raises(UsageError, match="is held") as refused:
        lifecycle.renew(desk, corp, reload(desk, carol), lifecycle.Renewal(key=KEY), NOW, Files())
    assert refused.value.remedy == f"Run 'gateway cert unhold {carol.serial}' first."
    bob = issue_to(desk, corp, "bob@example.com").record
    lifecycle.revoke(desk, corp, [bob], RevocationReason.UNSPECIFIED, NOW)
    with pytest.raises(UsageError, match="is revoked") as refused:
        lifecycle.renew(desk, corp, reload(desk, bob), lifecycle.Renewal(key=KEY), NOW, Files())
    assert refused.value.remedy == "Make a new one with 'gateway cert issue bob@example.com --ca corp'."


@pytest.mark.parametrize(
    ("order", "command"),
    [
        (
            issue.Order.of_person(
                "a@example.com", "Ann O'Neil", device="Phone", purpose=Purpose.SMIME, upn="a@b.example"
            ),
            """`gateway cert issue a@example.com --ca corp --smime-only --name 'Ann O'"'"'Neil' --device Phone """,
        ),
        (
            issue.Order(email=None, common_name="just a name", purpose=Purpose.AUTH),
            "`gateway cert issue EMAIL --ca corp ",
        ),
        (
            issue.Order(
                email=None,
                common_name="mail.example.com",
                purpose=Purpose.SERVER,
                hosts=(x509.DNSName("mail.example.com"), x509.IPAddress(ip_address("10.0.0.5"))),
            ),
            "'gateway cert server mail.example.com 10.0.0.5 --ca corp'",
        ),
        (issue.Order(email=None, common_name="corp OCSP", purpose=Purpose.OCSP), "'gateway ca ocsp corp'"),
    ],
)
def test_what_was_revoked_is_made_again_by_the_command_in_the_message(desk, corp, order, command):
    old = issue.issue(desk, corp, order, KEY, NOW, Files()).record
    lifecycle.revoke(desk, corp, [old], RevocationReason.UNSPECIFIED, NOW)
    with pytest.raises(UsageError, match="is revoked") as refused:
        lifecycle.renew(desk, corp, reload(desk, old), lifecycle.Renewal(key=KEY), NOW, Files())
    assert refused.value.remedy.startswith(f"Make a new one with {command}")


def test_an_authority_that_was_revoked_signs_nobody(desk, corp):
    below = make_authority(desk, "below", parent=corp)
    other = make_authority(desk, "other", parent=corp)
    alice = issue_to(desk, below).record
    serial = certificates.serial_text(below.certificate.serial_number)
    lifecycle.hold(desk, corp, [], NOW, [serial])
    with pytest.raises(UsageError, match=r"CN=below CA is revoked or on hold: it is on the list of CN=corp CA"):
        issue_to(desk, below, "bob@example.com")
    with pytest.raises(UsageError, match=r"CN=below CA is revoked or on hold: it is on the list of CN=corp CA"):
        lifecycle.renew(desk, below, alice, lifecycle.Renewal(key=KEY), NOW, Files())
    assert reload(desk, alice).supersede_at is None
    with pytest.raises(UsageError, match=r"CN=below CA is revoked or on hold: it is on the list of CN=corp CA"):
        authority.check(desk, authority.Plan(name="lowest"), NOW, below.record)
    assert issue_to(desk, other, "bob@example.com").record.authority == "other"
    ocsp_signer.make_signer(desk, below, NOW)  # it still tells who was revoked
    lifecycle.revoke(desk, below, [alice], RevocationReason.SUPERSEDED, NOW)
    lifecycle.release(desk, corp, [], NOW, [serial])
    assert issue_to(desk, below).record.authority == "below"


def test_of_two_renewals_at_once_one_loses_and_is_revoked(desk):
    signer = make_authority(desk)
    old = issue_to(desk, signer).record

    def faster(_issued):
        lifecycle.renew(desk, signer, old, lifecycle.Renewal(key=KEY), NOW, Files())

    with pytest.raises(OperationError, match="was renewed or revoked meanwhile"):
        lifecycle.renew(desk, signer, old, lifecycle.Renewal(key=KEY), NOW, faster)
    with desk.registry.reading() as connection:
        states = [record.state for record in certificates.find(connection)]
    assert states == [State.LIVE, State.REVOKED, State.LIVE]


def test_a_renewal_that_a_killed_desk_left_is_swept_onto_the_list(desk, corp):
    old = issue_to(desk, corp).record
    new = certificates.NewCertificate(
        certificate=issue.sign(corp, issue.Order.of_person("alice@example.com"), KEY, NOW),
        common_name=old.common_name,
        purpose=old.purpose,
        renews=old.serial,
    )
    with desk.registry.writing() as connection:
        left = certificates.add_pending(connection, corp.record, new, NOW, "killed")
    crl.renew(desk, corp, NOW + crl.PENDING_LEASE)
    assert _listed(desk) == {}
    crl.renew(desk, corp, NOW + crl.PENDING_LEASE + SECOND)
    assert _listed(desk) == {left.serial: "cessationOfOperation"}
    assert _trail(desk, left) == [("abandoned", "tester", NOW + crl.PENDING_LEASE + SECOND)]
    assert reload(desk, old).state is State.LIVE


def test_numbers_and_dates_strictly_increase(desk):
    signer = make_authority(desk)
    made = [crl.renew(desk, signer, NOW) for _ in range(5)]
    numbers = [one.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for one in made]
    assert numbers == [2, 3, 4, 5, 6]
    dates = [one.last_update_utc for one in made]
    assert dates == [NOW - profiles.BACKDATE + n * SECOND for n in range(1, 6)]
    assert _number(desk) == 6
    for one in made:
        assert one.next_update_utc - one.last_update_utc == authority.DEFAULT_CRL_LIFETIME + profiles.BACKDATE
        key_id = one.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        own = signer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        assert key_id == own


def test_a_list_is_never_dated_in_the_future(desk, corp):
    crl.renew(desk, corp, NOW + DAY)
    before = desk.file("corp", "crl").read_bytes()
    with pytest.raises(OperationError, match="is dated 2026-11-25 11:55:00 UTC, in the future"):
        crl.renew(desk, corp, NOW)
    assert desk.file("corp", "crl").read_bytes() == before
    latest = NOW + DAY - profiles.BACKDATE
    with pytest.raises(OperationError, match="in the future"):
        crl.renew(desk, corp, latest - SECOND)
    for moment in (
        latest,
        latest + SECOND,
        latest + SECOND,
    ):  # a list of this second is followed by another one at once
        assert crl.renew(desk, corp, moment).last_update_utc == moment


def test_lists_made_at_once_do_not_overtake_each_other(desk):
    signer = make_authority(desk)
    threads = [threading.Thread(target=crl.renew, args=(desk, signer, NOW)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _number(desk) == 5
    with desk.registry.reading() as connection:
        assert authorities.get(connection, "corp").crl_number == 5


def test_a_revoked_certificate_stays_until_a_list_has_shown_it_expired(desk, corp):
    record = issue_to(desk, corp, days=10).record
    lifecycle.revoke(desk, corp, [record], RevocationReason.UNSPECIFIED, NOW)
    crl.renew(desk, corp, NOW + 9 * DAY)
    assert set(_listed(desk)) == {record.serial}
    crl.renew(desk, corp, NOW + 11 * DAY)
    assert set(_listed(desk)) == {record.serial}
    crl.renew(desk, corp, NOW + 12 * DAY)
    assert _listed(desk) == {}


def test_lists_are_due_in_their_last_quarter(desk, corp):
    lifetime = authority.DEFAULT_CRL_LIFETIME
    with desk.registry.reading() as connection:
        assert crl.due(connection, NOW) == []
        assert crl.due(connection, NOW + lifetime * 3 / 4 - SECOND) == []
        assert crl.due(connection, NOW + lifetime * 3 / 4) == ["corp"]
        assert crl.due(connection, NOW + lifetime * 4) == ["corp"]
        assert crl.due(connection, corp.record.not_after) == []


def test_of_two_who_find_a_list_due_one_renews_it(desk, corp):
    now = NOW + authority.DEFAULT_CRL_LIFETIME * 3 / 4
    made = crl.renew_due(desk, corp, now)
    assert made is not None
    assert made.next_update_utc == now + authority.DEFAULT_CRL_LIFETIME
    before = desk.file("corp", "crl").read_bytes()
    assert crl.renew_due(desk, corp, now) is None
    assert desk.file("corp", "crl").read_bytes() == before


def test_an_authority_without_a_list_is_due(desk):
    authority.create(desk, authority.Plan(name="new", kind="ecdsa-p256"), "long enough", NOW)
    with desk.registry.reading() as connection:
        assert crl.due(connection, NOW) == ["new"]
    crl.publish(desk, "new")
    assert not desk.file("new", "crl").exists()


def test_where_the_file_cannot_be_written_the_registry_knows(desk, corp):
    record = issue_to(desk, corp).record
    desk.file("corp", "crl").unlink()
    desk.file("corp", "crl").mkdir()
    with pytest.raises(OperationError, match=r"corp.crl: cannot be written"):
        lifecycle.revoke(desk, corp, [record], RevocationReason.UNSPECIFIED, NOW)
    assert reload(desk, record).state is State.REVOKED
    desk.file("corp", "crl").rmdir()
    crl.publish(desk, "corp")
    assert set(_listed(desk)) == {record.serial}


def test_a_registry_from_a_backup_brings_no_older_list_back(desk, corp):
    """Whoever was revoked since would get in again."""
    with desk.registry.reading() as connection:
        before = {"crl_number": 1, "crl_der": authorities.get(connection, "corp").crl_der}
    for who in ("alice", "bob"):
        lifecycle.revoke(
            desk, corp, [issue_to(desk, corp, f"{who}@example.com").record], RevocationReason.KEY_COMPROMISE, NOW
        )
    published = desk.file("corp", "crl").read_bytes()
    with desk.registry.writing() as connection:
        connection.execute(update(AUTHORITIES).values(before))
    with pytest.raises(
        OperationError, match=r"number 3, the registry's newest is 2: the registry was restored"
    ) as told:
        crl.renew(desk, corp, NOW)
    assert f"Run 'gateway ca crl corp --from {desk.file('corp', 'crl')}' " in told.value.remedy
    assert desk.file("corp", "crl").read_bytes() == published
    restoring.take_over(desk, corp, published, NOW)  # the remedy
    assert _number(desk) == 4
