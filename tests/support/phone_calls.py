"""More staged incidents: what callers meet, where two causes look alike or where the first guess is wrong."""

from __future__ import annotations

from datetime import timedelta

from support.desk import DAY, NOW, make_authority, open_desk
from support.incidents import ALICE, EAS, HOUR, INSIDE, OTHER, OUTSIDE, UNTRUSTED, Incident, Stage, shown

from gateway.pki.registry.records import RevocationReason

OUTLOOK = "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17328; Pro)"
PUBLIC_OFFICE = "192.0.2.10"
MISSING = "the client sent no certificate"
BOBS_PHONE = EAS.replace("PHONE1", "PHONE2").replace("alice", "bob")
ENDED = NOW - timedelta(hours=4)


def outlook_on_the_laptop(stage: Stage) -> None:
    stage.registry()
    alice = stage.issue()
    stage.phone(0, alice)
    stage.refused(
        HOUR,
        "certificate_missing",
        MISSING,
        client_ip=OTHER,
        user="alice",
        login="basic",
        uri="/EWS/Exchange.asmx",
        method="POST",
        user_agent=OUTLOOK,
    )
    stage.phone(2 * HOUR, alice)


def one_certificate_for_two(stage: Stage) -> None:
    stage.registry()
    alice = stage.issue()
    stage.issue("bob@example.com")
    stage.phone(0, alice)
    detail = "the login 'bob' does not belong to the certificate (email)"
    stage.refused_phone(
        HOUR, "user_mismatch", detail, identity=alice, user="bob", device_id="PHONE2", client_ip=OTHER, uri=BOBS_PHONE
    )
    stage.phone(2 * HOUR, alice)


def another_site(stage: Stage) -> None:
    stage.registry()
    alice = stage.issue()
    stage.line(0, identity=alice)
    partner = {"site": "partner.example.com", "host": "partner.example.com", "rule": "Partners"}
    detail = f"{UNTRUSTED} (issuer {alice.issuer})"
    stage.refused(HOUR, "certificate_untrusted", detail, identity=alice, **partner)


def ca_removed(stage: Stage) -> None:
    stage.registry()
    alice = stage.issue()
    stage.line(0, identity=alice)
    detail = f"{UNTRUSTED} (issuer {alice.issuer})"
    stage.refused(HOUR, "certificate_untrusted", detail, identity=alice, config="22222222")


def intermediate_not_sent(stage: Stage) -> None:
    of_intermediate(stage)
    alice = stage.issue()
    stage.line(0, identity=alice, user_agent="Old phone")
    detail = f"{UNTRUSTED} (issuer {alice.issuer})"
    stage.refused(HOUR, "certificate_untrusted", detail, identity=alice, user_agent="New phone")


def intermediate_or_root(stage: Stage) -> None:
    of_intermediate(stage)
    alice = stage.issue()
    stage.refused(HOUR, "certificate_untrusted", f"{UNTRUSTED} (issuer {alice.issuer})", identity=alice)


def of_intermediate(stage: Stage) -> None:
    stage.desk = open_desk(stage.folder)
    root = make_authority(stage.desk, "root", now=NOW - 300 * DAY)
    stage.signer = make_authority(stage.desk, "users", now=NOW - 300 * DAY, parent=root)


def new_address_of_the_office(stage: Stage) -> None:
    stage.registry()
    stage.line(0, client_ip=PUBLIC_OFFICE, user=ALICE, login="basic", rule="Office")
    stage.refused(HOUR, "certificate_missing", MISSING, user=ALICE, login="basic", client_ip=OTHER)


def exception_below_a_path(stage: Stage) -> None:
    stage.line(0, identity=shown(), uri="/owa/")
    values = {"uri": "/owa/auth/options.aspx", "rule": "No options page"}
    stage.refused(HOUR, "denied_by_rule", "denied by the rule", identity=shown(), **values)


def host_of_another_site(stage: Stage) -> None:
    stage.line(0, identity=shown())
    detail = "the host belongs to another site than the TLS handshake"
    values = {"host": "autodiscover.example.com", "rule": None, "config": "22222222"}
    stage.refused(HOUR, "host_mismatch", detail, 421, identity=shown(), **values)


def expired_and_locked_out(stage: Stage) -> None:
    stage.registry()
    alice = stage.issue(at=NOW - 250 * DAY, days=250 - 1 / 6)
    expired = f"expired {ENDED:%Y-%m-%d %H:%M:%S} UTC"
    stage.phone(0, alice)
    for number in range(3):
        stage.refused_phone(1.2 * HOUR + number, "certificate_expired", expired, identity=alice)
    detail = f"too many failed attempts from {OUTSIDE}; otherwise certificate_expired: {expired}"
    stage.refused_phone(1.3 * HOUR, "locked_out", detail, 429, identity=alice)


def denied_and_locked_out(stage: Stage) -> None:
    """The line of a lockout has no rule."""
    stage.phone(0, shown())
    for number in range(3):
        stage.phone(HOUR + number, shown(), status=401)
    detail = f"too many failed attempts from {OUTSIDE}; otherwise denied_by_rule: denied by the rule"
    stage.refused_phone(HOUR + 60, "locked_out", detail, 429, identity=shown(), rule=None)


def password_on_the_old_phone(stage: Stage) -> None:
    old = {"device_id": "OLDPHONE", "uri": EAS.replace("PHONE1", "OLDPHONE")}
    stage.phone(0, shown())
    for number in range(9):
        stage.phone(HOUR + 60 * number, shown(), status=401, **old)
    stage.phone(HOUR + 500, shown())
    detail = (
        f"too many failed attempts from {OUTSIDE} with the certificate a1a1a1a1a1a1a1a1 of alice@example.com; "
        "otherwise it would have been let in"
    )
    stage.refused_phone(HOUR + 600, "locked_out", detail, 429, identity=shown())


def renewal_revoked(stage: Stage) -> None:
    stage.registry()
    alice = stage.issue(at=NOW - 250 * DAY, days=250)
    new = stage.renew(alice, at=NOW - 20 * DAY, overlap=30 * DAY)
    stage.phone(0, alice)
    stage.revoke(new, RevocationReason.UNSPECIFIED)
    stage.refused_phone(5 * HOUR + 1, "certificate_expired", f"expired {NOW:%Y-%m-%d %H:%M:%S} UTC", identity=alice)


def renewal_revoked_and_not_seen_since(stage: Stage) -> None:
    stage.registry()
    alice = stage.issue()
    new = stage.renew(alice, at=NOW - 2 * DAY, overlap=DAY)
    stage.phone(-30 * HOUR, alice)
    stage.revoke(new, RevocationReason.KEY_COMPROMISE)


def new_certificate_not_installed(stage: Stage) -> None:
    """Not renewed, but issued anew."""
    stage.registry()
    lost = stage.issue()
    stage.phone(0, lost)
    stage.revoke(lost, RevocationReason.KEY_COMPROMISE)
    stage.issue(at=NOW - timedelta(hours=3), name="Alice (new phone)")
    stage.refused_phone(4.5 * HOUR, "certificate_revoked", "revoked by 'corp'", identity=lost)


def browser_drops_the_old_one(stage: Stage) -> None:
    stage.registry()
    alice = stage.issue(at=NOW - 250 * DAY, days=249)
    stage.renew(alice, at=NOW - 20 * DAY, overlap=30 * DAY)
    stage.line(-30 * HOUR, identity=alice)
    stage.refused(0, "certificate_missing", MISSING)


def one_phone_lost(stage: Stage) -> None:
    stage.registry()
    lost, other = stage.issue(device="phone"), stage.issue(device="tablet")
    stage.phone(0, lost)
    stage.revoke(lost, RevocationReason.KEY_COMPROMISE)
    stage.refused_phone(HOUR + 60, "certificate_revoked", "revoked by 'corp'", identity=lost)
    stage.phone(2 * HOUR, other, device_id="TABLET2", uri=EAS.replace("PHONE1", "TABLET2"))


def observed_with_an_expired_certificate(stage: Stage) -> None:
    stage.registry()
    alice = stage.issue(at=NOW - 250 * DAY, days=250 - 1 / 6)
    stage.phone(0, alice)
    stage.phone(2 * HOUR, alice, observed="certificate_expired")


def issued_by_a_clock_that_is_ahead(stage: Stage) -> None:
    stage.registry()
    alice = stage.issue(at=NOW + timedelta(hours=2))
    begin = NOW + timedelta(hours=1, minutes=55)
    stage.refused_phone(
        4 * HOUR, "certificate_not_yet_valid", f"not valid before {begin:%Y-%m-%d %H:%M:%S} UTC", identity=alice
    )


def name_with_umlauts(stage: Stage) -> None:
    stage.registry()
    mueller = stage.issue("anna@xn--bcher-kva.example", name="Jürgen Müller")
    stage.line(0, identity=mueller)
    stage.revoke(mueller, RevocationReason.UNSPECIFIED)
    stage.refused(HOUR + 60, "certificate_revoked", "revoked by 'corp'", identity=mueller)


def only_in_the_registry(stage: Stage) -> None:
    stage.registry()
    stage.issue("oezguer@example.com", name="Özgür Çelik")
    stage.line(0, client_ip=INSIDE)


CALLS = (
    Incident(
        "outlook-on-the-laptop",
        ALICE,
        "program_without_certificates",
        outlook_on_the_laptop,
        ("Outlook, which sends no client certificate",),
        "--ip 198.51.100.7",
    ),
    Incident(
        "one-certificate-for-two", "bob", "wrong_login", one_certificate_for_two, ("4C8A03 for bob@",), "show 4C8A03"
    ),
    Incident(
        "one-certificate-for-two-of-alice",
        ALICE,
        "wrong_login",
        one_certificate_for_two,
        ("4C8A03 for bob@",),
        "show 4C8A03",
    ),
    Incident("another-site", ALICE, "other_site", another_site, ("was let in on mail.example.com", "for partner.")),
    Incident("ca-removed", ALICE, "configuration_changed", ca_removed, ("it is missing in client_ca",)),
    Incident("intermediate-not-sent", ALICE, "intermediate_missing", intermediate_not_sent, ("'users'",), "show"),
    Incident("intermediate-or-root", ALICE, "ca_not_in_client_ca", intermediate_or_root, ("an intermediate CA",)),
    Incident(
        "new-address-of-the-office", ALICE, "other_network", new_address_of_the_office, (PUBLIC_OFFICE, OTHER), "issue"
    ),
    Incident("refused-at-an-address", OTHER, "program_without_certificates", outlook_on_the_laptop),
    Incident("exception-below-a-path", ALICE, "denied_by_rule", exception_below_a_path, ("GET /owa/auth/options",)),
    Incident("host-of-another-site", ALICE, "host_mismatch", host_of_another_site),
    Incident(
        "expired-and-locked-out", ALICE, "locked_out", expired_and_locked_out, ("refused too: The", "expired"), "renew"
    ),
    Incident("denied-and-locked-out", ALICE, "locked_out", denied_and_locked_out, ("wrong_password ×3",)),
    Incident(
        "password-on-the-old-phone",
        ALICE,
        "locked_out",
        password_on_the_old_phone,
        ("wrong_password ×9 (device OLDPHONE)", "would be let in"),
        "--unban",
    ),
    Incident("renewal-revoked", ALICE, "renewal_not_valid", renewal_revoked, ("not valid either",), "cert issue"),
    Incident(
        "renewal-revoked-not-seen",
        ALICE,
        "renewal_not_valid",
        renewal_revoked_and_not_seen_since,
        ("Its renewal 4C8A03 is revoked",),
        "cert issue",
    ),
    Incident(
        "new-not-installed",
        ALICE,
        "newer_not_installed",
        new_certificate_not_installed,
        ("4C8A03, was issued 2026-11-24 09:00:00",),
        "show 4C8A03",
    ),
    Incident(
        "browser-drops-the-old-one", ALICE, "newer_not_installed", browser_drops_the_old_one, ("4C8A03",), "show 4C8A03"
    ),
    Incident("one-phone-lost", ALICE, "certificate_revoked", one_phone_lost, ("4C8A03 (tablet)",), "cert issue"),
    Incident("one-phone-lost-by-device", "PHONE1", "certificate_revoked", one_phone_lost, ("4C8A03 (tablet)",)),
    Incident(
        "observed-with-expired",
        ALICE,
        "observed",
        observed_with_an_expired_certificate,
        ("in observation", "has expired"),
        "renew",
    ),
    Incident("issued-ahead", ALICE, "clock", issued_by_a_clock_that_is_ahead, ("still to come",), "date -u"),
    Incident("umlauts", "JÜRGEN  MU\u0308LLER", "certificate_revoked", name_with_umlauts),
    Incident("domain-with-umlauts", "Anna@Bücher.example", "certificate_revoked", name_with_umlauts),
    Incident("umlauts-in-the-registry", "özgür çelik", "never_seen", only_in_the_registry, ("4C8A02",), "show"),
)
