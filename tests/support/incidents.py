"""Staged incidents: the lines that the gateway's own records make, and a registry beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from support.desk import DAY, NOW, Files, issue_to, make_authority, open_desk
from support.log_lines import line_of

from gateway.facts import Identity
from gateway.pki import lifecycle
from gateway.pki.desk import Desk
from gateway.pki.keys import make
from gateway.pki.registry.records import CertificateRecord, RevocationReason
from gateway.pki.words import KeyKind

HOUR = 3600.0  # the lines' seconds count from 07:00; NOW is 12:00
INSIDE, OUTSIDE, OTHER = "10.0.0.5", "203.0.113.9", "198.51.100.7"
RULE = "Webmail and ActiveSync from outside"
EAS = "/Microsoft-Server-ActiveSync?Cmd=Sync&User=alice&DeviceId=PHONE1"
UNTRUSTED = "not issued by a CA that this site trusts, or the intermediate certificate was not sent"
LOCKED = "too many failed attempts from"


@dataclass
class Stage:
    """A log that grows by a minute a line, and a registry with the authority `corp`."""

    folder: Path
    lines: list[bytes] = field(default_factory=list)
    issued: dict[str, CertificateRecord] = field(default_factory=dict)
    desk: Desk | None = None
    _numbers: int = 0

    def registry(self) -> Desk:
        self.desk = open_desk(self.folder)
        self.signer = make_authority(self.desk, now=NOW - 300 * DAY)
        return self.desk

    def issue(self, email: str = "alice@example.com", *, at: datetime = NOW - 200 * DAY, **options: Any) -> Identity:
        issued = issue_to(self.desk, self.signer, email, now=at, **options)
        return self.identity(issued.record)

    def renew(self, identity: Identity, *, at: datetime, overlap: timedelta = 14 * DAY) -> Identity:
        renewal = lifecycle.Renewal(key=make(KeyKind.ECDSA_P256), overlap=overlap)
        old = self.issued[identity.serial]
        return self.identity(lifecycle.renew(self.desk, self.signer, old, renewal, at, Files()).record)

    def revoke(self, identity: Identity, reason: RevocationReason, at: datetime = NOW - timedelta(hours=4)) -> None:
        lifecycle.revoke(self.desk, self.signer, [self.issued[identity.serial]], reason, at, [])

    def hold(self, identity: Identity, at: datetime = NOW - timedelta(hours=4)) -> None:
        lifecycle.hold(self.desk, self.signer, [self.issued[identity.serial]], at, [])

    def identity(self, record: CertificateRecord) -> Identity:
        self.issued[record.serial] = record
        return shown(
            record.common_name,
            email=record.email,
            serial=record.serial,
            fingerprint=record.fingerprint,
            issuer=self.signer.path[0].subject.rfc4514_string(),
        )

    def line(self, seconds: float, **values: Any) -> str:
        """Add a line; returns its request number."""
        self._numbers += 1
        number = f"{self._numbers:032x}"
        usual = {"client_ip": OUTSIDE, "rule": RULE, "request_id": number, "config": "11111111"}
        self.lines.append(line_of(seconds, **(usual | values)))
        return number

    def phone(self, seconds: float, identity: Identity | None = None, **values: Any) -> str:
        usual = {"uri": EAS, "method": "POST", "user": "alice", "device_id": "PHONE1", "login": "basic"}
        return self.line(seconds, identity=identity, **(usual | values))

    def refused(self, seconds: float, reason: str, detail: str, status: int | None = 403, **values: Any) -> str:
        return self.line(seconds, status=status, reason=reason, detail=detail, **values)

    def refused_phone(self, seconds: float, reason: str, detail: str, status: int | None = 403, **values: Any) -> str:
        return self.phone(seconds, status=status, reason=reason, detail=detail, **values)

    def handshake(self, seconds: float, cause: str, **values: Any) -> None:
        empty = dict.fromkeys(("method", "host", "uri", "protocol", "status", "rule", "request_id"))
        self.line(seconds, reason=f"handshake_failed: {cause}", detail=cause, **(empty | values))

    def write(self) -> Path:
        path = self.folder / "access.jsonl"
        path.write_bytes(b"".join(self.lines))
        if self.desk is not None:
            self.desk.registry.close()
        return path


def shown(
    name: str = "Alice Example",
    *,
    email: str | None = "alice@example.com",
    serial: str = "0A11CE",
    fingerprint: str = "a1" * 32,
    issuer: str = "CN=corp",
) -> Identity:
    """The identity of a certificate, as a handshake finds it."""
    moment = NOW - 200 * DAY
    return Identity(
        fingerprint=fingerprint,
        serial=serial,
        subject=f"CN={name},O=Example Ltd",
        issuer=issuer,
        rdns=(("CN", name),),
        common_name=name,
        emails=() if email is None else (email,),
        upns=(),
        dns_names=(),
        uris=(),
        not_before=moment,
        not_after=moment + timedelta(days=397),
        der=b"",
        chain_der=(),
        path_fingerprints=frozenset(),
    )


@dataclass(frozen=True)
class Incident:
    """What is asked, what is staged, and what the verdict must be."""

    name: str
    who: str
    cause: str
    stage: Callable[[Stage], None]
    words: tuple[str, ...] = ()
    command: str = ""


def expired(stage: Stage) -> None:
    stage.registry()
    alice = stage.issue(at=NOW - 250 * DAY, days=250)
    stage.phone(0, alice)
    stage.phone(HOUR, alice)
    for minute in range(3):
        stage.refused_phone(
            5 * HOUR + 60 * minute, "certificate_expired", f"expired {NOW:%Y-%m-%d %H:%M:%S} UTC", identity=alice
        )


def revoked(stage: Stage) -> None:
    stage.registry()
    alice = stage.issue()
    stage.phone(0, alice)
    stage.revoke(alice, RevocationReason.KEY_COMPROMISE)
    stage.refused_phone(HOUR + 60, "certificate_revoked", "revoked by 'corp'", identity=alice)


def renewed_but_old_in_use(stage: Stage) -> None:
    stage.registry()
    alice = stage.issue(at=NOW - 250 * DAY, days=250)
    stage.renew(alice, at=NOW - 20 * DAY, overlap=30 * DAY)
    stage.phone(0, alice)
    stage.refused_phone(5 * HOUR + 1, "certificate_expired", f"expired {NOW:%Y-%m-%d %H:%M:%S} UTC", identity=alice)


def renewed_and_superseded(stage: Stage) -> None:
    stage.registry()
    alice = stage.issue()
    stage.renew(alice, at=NOW - 15 * DAY, overlap=timedelta(0))
    stage.refused_phone(HOUR, "certificate_revoked", "revoked by 'corp'", identity=alice)


def wrong_ca(stage: Stage) -> None:
    stage.registry()
    alice = stage.issue()
    other = shown("Alice Example", serial="77", fingerprint="77" * 32, issuer="CN=Other CA,O=Somewhere")
    stage.line(0, identity=alice)
    stage.refused(HOUR, "certificate_untrusted", f"{UNTRUSTED} (issuer {other.issuer})", identity=other)


def other_network(stage: Stage) -> None:
    stage.line(0, client_ip=INSIDE, user="alice", login="basic", rule="From inside")
    stage.refused(HOUR, "certificate_missing", "the client sent no certificate", user="alice", login="basic")


def lockout(stage: Stage) -> None:
    alice = shown()
    stage.phone(0, alice)
    for number in range(10):
        stage.phone(HOUR + number, alice, status=401)
    stage.refused_phone(
        HOUR + 20,
        "locked_out",
        f"{LOCKED} {OUTSIDE} with the certificate a1a1a1a1a1a1a1a1 of alice@example.com; otherwise "
        "it would have been let in",
        status=429,
        identity=alice,
    )


def list_ended(stage: Stage) -> None:
    stage.registry()
    alice = stage.issue()
    stage.phone(0, alice)
    stage.refused_phone(
        HOUR, "revocation_unknown", "the revocation list of 'corp' expired 2026-11-24 07:30 UTC", identity=alice
    )


def rule_edited(stage: Stage) -> None:
    alice = shown()
    stage.line(0, identity=alice)
    stage.refused(HOUR, "denied_by_rule", "denied by the rule", identity=alice, rule="No webmail", config="22222222")


def closed_by_a_rule(stage: Stage) -> None:
    """No rule requires a certificate any more, so the handshake asks for none and the line has no name."""
    stage.line(0, identity=shown())
    stage.refused(HOUR, "denied_by_rule", "denied by the rule", rule="Closed today", config="22222222")


def wrong_login(stage: Stage) -> None:
    alice = shown()
    stage.phone(0, alice)
    detail = "the login 'bob' does not belong to the certificate (email)"
    stage.refused_phone(HOUR, "user_mismatch", detail, identity=alice, user="bob")


def other_device(stage: Stage) -> None:
    alice = shown()
    stage.phone(0, alice)
    uri = EAS.replace("PHONE1", "TABLET2")
    detail = "the device 'TABLET2' is not in this rule's list"
    stage.refused_phone(HOUR, "certificate_not_allowed", detail, identity=alice, device_id="TABLET2", uri=uri)
    stage.phone(HOUR + 60, alice)


def upstream_down(stage: Stage) -> None:
    alice = shown()
    stage.phone(0, alice, upstream="https://10.0.0.5:443", upstream_status=200)
    detail = "https://10.0.0.5:443: connection refused"
    for number in range(4):
        stage.refused_phone(HOUR + number, "upstream_unreachable", detail, status=502, identity=alice)


def clock_behind(stage: Stage) -> None:
    stage.registry()
    alice = stage.issue(at=NOW)
    stage.refused_phone(
        HOUR, "certificate_not_yet_valid", f"not valid before {NOW:%Y-%m-%d %H:%M:%S} UTC", identity=alice
    )


def clock_ahead(stage: Stage) -> None:
    alice = shown()
    stage.phone(0, alice)
    stage.refused_phone(HOUR, "certificate_expired", "expired 2027-06-01 00:00:00 UTC", identity=alice)


def never_installed(stage: Stage) -> None:
    stage.registry()
    stage.issue()
    stage.refused(
        HOUR, "certificate_missing", "the client sent no certificate", user="alice@example.com", login="basic"
    )


def never_issued(stage: Stage) -> None:
    stage.registry()
    stage.refused(HOUR, "certificate_missing", "the client sent no certificate", user="bob@example.com", login="basic")


def not_sent(stage: Stage) -> None:
    stage.line(0, identity=shown(), user_agent="Firefox")
    stage.refused(HOUR, "certificate_missing", "the client sent no certificate", user_agent="Firefox")


def on_hold(stage: Stage) -> None:
    stage.registry()
    alice = stage.issue()
    stage.phone(0, alice)
    stage.hold(alice)
    stage.refused_phone(HOUR + 60, "certificate_revoked", "put on hold by 'corp'", identity=alice)


def observation_ended(stage: Stage) -> None:
    stage.line(0, user="alice", login="basic", observed="certificate_missing")
    stage.refused(HOUR, "certificate_missing", "the client sent no certificate", user="alice", login="basic")


def in_observation(stage: Stage) -> None:
    stage.line(0, user="alice", login="basic", observed="certificate_missing")


def tls_too_old(stage: Stage) -> None:
    for number in range(3):
        stage.handshake(HOUR + number, "unsupported protocol")


def site_certificate(stage: Stage) -> None:
    stage.line(0, identity=shown())
    stage.handshake(HOUR, "ssl/tls alert certificate expired")


def weak_key(stage: Stage) -> None:
    detail = "the certificate has an RSA key of 1024 bits; at least 2048 are required"
    stage.refused(HOUR, "certificate_untrusted", detail, identity=shown())


def path_denied(stage: Stage) -> None:
    alice = shown()
    stage.line(0, identity=alice)
    stage.refused(HOUR, "denied_by_rule", "denied by the rule", identity=alice, uri="/ecp/", rule="Admin pages")
    stage.line(HOUR + 60, identity=alice)


def body_too_large(stage: Stage) -> None:
    alice = shown()
    stage.line(0, identity=alice)
    stage.refused(HOUR, "body_too_large", "the body is longer than 1000 bytes", 413, identity=alice, method="POST")


def too_many(stage: Stage) -> None:
    stage.refused(
        HOUR, "too_many_connections", "too many connections", 429, method=None, uri=None, host=None, rule=None
    )


def without_email(stage: Stage) -> None:
    nameless = shown("phone-7", email=None)
    detail = "the login 'alice' does not belong to the certificate (email)"
    stage.refused_phone(HOUR, "user_mismatch", detail, identity=nameless)


def behind_nat(stage: Stage) -> None:
    bob = shown("Bob", email="bob@example.com", serial="B0B0", fingerprint="b0" * 32)
    stage.line(0, identity=shown())
    stage.line(30, identity=bob)
    stage.refused(HOUR, "certificate_revoked", "revoked by 'corp'", identity=bob)
    stage.line(HOUR + 60, identity=shown())


def webmail_but_no_phone(stage: Stage) -> None:
    alice = shown()
    stage.line(0, identity=alice)
    stage.refused_phone(HOUR, "certificate_missing", "the client sent no certificate")
    stage.line(HOUR + 60, identity=alice)


def wrong_password(stage: Stage) -> None:
    alice = shown()
    stage.phone(0, alice, upstream_status=200)
    for number in range(5):
        stage.phone(HOUR + number, alice, status=401, upstream_status=401)


def ca_revoked(stage: Stage) -> None:
    stage.refused_phone(HOUR, "certificate_revoked", "the CA 'corp' is revoked by 'Root'", identity=shown())


def ca_ended(stage: Stage) -> None:
    alice = shown()
    stage.phone(0, alice)
    detail = "the CA 'corp' expired 2026-11-24 07:30:00 UTC"
    stage.refused_phone(HOUR, "certificate_untrusted", detail, identity=alice)


def list_not_fetched(stage: Stage) -> None:
    stage.refused_phone(HOUR, "revocation_unknown", "no revocation list of 'corp'", identity=shown())


def only_redirected(stage: Stage) -> None:
    for number in range(3):
        stage.line(HOUR + number, status=308, rule=None)


def timeout(stage: Stage) -> None:
    alice = shown()
    stage.phone(0, alice)
    stage.refused_phone(HOUR, "upstream_timeout", "https://10.0.0.5:443: no answer within 60 s", 504, identity=alice)


def works_again(stage: Stage) -> None:
    alice = shown()
    stage.phone(0, alice)
    stage.refused_phone(HOUR, "upstream_unreachable", "https://10.0.0.5:443: connection refused", 502, identity=alice)
    stage.phone(HOUR + 60, alice)


def swapped_device(stage: Stage) -> None:
    bob = shown("Bob", email="bob@example.com", serial="B0B0", fingerprint="b0" * 32)
    stage.phone(0, shown())
    detail = "the login 'alice' does not belong to the certificate (email)"
    stage.refused_phone(HOUR, "user_mismatch", detail, identity=bob)


def missing_intermediate(stage: Stage) -> None:
    stage.registry()
    alice = stage.issue()
    stage.refused(HOUR, "certificate_untrusted", f"{UNTRUSTED} (issuer {alice.issuer})", identity=alice)


def intermediate_is_gone(stage: Stage) -> None:
    alice = shown(issuer="CN=Issuing CA")
    stage.line(0, identity=alice)
    stage.refused(HOUR, "certificate_untrusted", f"{UNTRUSTED} (issuer {alice.issuer})", identity=alice)


def revoked_and_not_seen_since(stage: Stage) -> None:
    stage.registry()
    alice = stage.issue()
    stage.line(0, identity=alice)
    stage.revoke(alice, RevocationReason.KEY_COMPROMISE)


def held_and_not_seen_since(stage: Stage) -> None:
    stage.registry()
    alice = stage.issue()
    stage.line(0, identity=alice)
    stage.hold(alice)


def expired_and_not_seen_since(stage: Stage) -> None:
    stage.registry()
    alice = stage.issue(at=NOW - 250 * DAY, days=249)
    stage.line(-30 * HOUR, identity=alice)


def replaced_and_not_seen_since(stage: Stage) -> None:
    stage.registry()
    alice = stage.issue()
    stage.line(0, identity=alice)
    stage.renew(alice, at=NOW - timedelta(hours=2), overlap=timedelta(hours=1))


def renewed_and_waiting(stage: Stage) -> None:
    stage.registry()
    alice = stage.issue()
    stage.renew(alice, at=NOW - 2 * DAY)
    stage.line(0, identity=alice)


def revoked_and_never_seen(stage: Stage) -> None:
    stage.registry()
    stage.revoke(stage.issue(), RevocationReason.UNSPECIFIED)


def locked_out_by_others(stage: Stage) -> None:
    stage.phone(0, shown())
    for number in range(5):
        stage.phone(HOUR + number, None, user="bob", status=401)
    stage.refused_phone(HOUR + 20, "locked_out", f"{LOCKED} {OUTSIDE}; otherwise it would have been let in", 429)


NUMBER_OF_THE_FIRST = "0" * 31 + "1"
ALICE = "alice@example.com"
INCIDENTS = (
    Incident("expired", ALICE, "certificate_expired", expired, ("expired 2026-11-24 12:00:00",), "renew"),
    Incident(
        "revoked", ALICE, "certificate_revoked", revoked, ("by tester", "key-compromise"), "issue alice@example.com"
    ),
    Incident("renewed-old-in-use", ALICE, "renewed_old_in_use", renewed_but_old_in_use, ("It was renewed",), "show"),
    Incident("renewed-superseded", ALICE, "renewed_old_in_use", renewed_and_superseded, ("It was renewed",), "show"),
    Incident("wrong-ca", ALICE, "wrong_ca", wrong_ca, ("CN=Other CA", "use that one"), "list --user"),
    Incident("other-network", "alice", "other_network", other_network, ("10.0.0.5", OUTSIDE)),
    Incident("lockout", ALICE, "locked_out", lockout, ("wrong_password ×10",), "--unban"),
    Incident("list-ended", ALICE, "list_ended", list_ended, ("ended 2026-11-24 07:30",), "ca crl corp"),
    Incident("rule-edited", ALICE, "configuration_changed", rule_edited, ("11111111 → 22222222", "No webmail")),
    Incident("closed-by-a-rule", ALICE, "configuration_changed", closed_by_a_rule, ("22222222", "Closed today")),
    Incident("wrong-login", ALICE, "wrong_login", wrong_login, ("The login bob", ALICE), "--cert"),
    Incident("wrong-login-of-bob", "bob", "wrong_login", wrong_login, ("The login bob", ALICE), "--cert"),
    Incident("other-device", ALICE, "device_not_listed", other_device, ("TABLET2",), "--device TABLET2"),
    Incident("upstream-down", ALICE, "upstream_unreachable", upstream_down, ("connection refused",), "--status 5xx"),
    Incident("clock-behind", ALICE, "clock", clock_behind, ("the clock was behind",), "date -u"),
    Incident("clock-ahead", ALICE, "clock", clock_ahead, ("clock was ahead",), "date -u"),
    Incident("never-installed", ALICE, "never_installed", never_installed, ("not installed",), "show"),
    Incident(
        "never-issued",
        "bob@example.com",
        "never_issued",
        never_issued,
        ("has no certificate",),
        "issue bob@example.com --ca corp",
    ),
    Incident("not-sent", ALICE, "certificate_not_sent", not_sent, ("0A11CE",)),
    Incident("on-hold", ALICE, "on_hold", on_hold, ("by tester",), "unhold"),
    Incident("observation-ended", "alice", "observation_ended", observation_ended, ("was in observation",)),
    Incident("in-observation", "alice", "observed", in_observation, ("in observation",)),
    Incident("tls-too-old", OUTSIDE, "tls_too_old", tls_too_old, ("too old",)),
    Incident(
        "site-certificate", OUTSIDE, "server_certificate_expired", site_certificate, ("clock of the device is wrong",)
    ),
    Incident("weak-key", ALICE, "weak_certificate", weak_key, ("1024 bits",)),
    Incident("path-denied", ALICE, "denied_by_rule", path_denied, ("GET /ecp/",)),
    Incident("body-too-large", ALICE, "body_too_large", body_too_large, ("1000 bytes",)),
    Incident("too-many-connections", OUTSIDE, "too_many_connections", too_many, (OUTSIDE,)),
    Incident("certificate-without-email", "alice", "certificate_without_email", without_email, ("no e-mail address",)),
    Incident("shared-address", OUTSIDE, "certificate_revoked", behind_nat, ("bob@example.com",)),
    Incident("webmail-but-no-phone", ALICE, "certificate_not_sent", webmail_but_no_phone, ("sent no certificate",)),
    Incident("wrong-password", ALICE, "wrong_password", wrong_password, ("401",), "--status 401"),
    Incident("ca-revoked", ALICE, "ca_revoked", ca_revoked, ("'corp'",)),
    Incident("ca-ended", ALICE, "ca_ended", ca_ended, ("'corp'",)),
    Incident("list-not-fetched", ALICE, "list_missing", list_not_fetched, ("no revocation list of 'corp'",)),
    Incident("only-redirected", OUTSIDE, "only_redirected", only_redirected, ("sent on to https",)),
    Incident("timeout", ALICE, "upstream_timeout", timeout, ("did not answer in time",)),
    Incident("works-again", ALICE, "works_again", works_again, ("gets in again",)),
    Incident("swapped-device", "PHONE1", "wrong_login", swapped_device, ("bob@example.com",)),
    Incident(
        "missing-intermediate", ALICE, "ca_not_in_client_ca", missing_intermediate, ("'corp'", "missing in client_ca")
    ),
    Incident("intermediate-is-gone", ALICE, "intermediate_missing", intermediate_is_gone, ("was let in at",)),
    Incident("revoked-not-seen", ALICE, "certificate_revoked", revoked_and_not_seen_since, ("revoked since",), "issue"),
    Incident("held-not-seen", ALICE, "on_hold", held_and_not_seen_since, ("on hold since",), "unhold"),
    Incident("expired-not-seen", ALICE, "certificate_expired", expired_and_not_seen_since, ("expired since",), "renew"),
    Incident("replaced-not-seen", ALICE, "renewed_old_in_use", replaced_and_not_seen_since, ("replaced",), "show"),
    Incident("renewed-waiting", ALICE, "let_in", renewed_and_waiting, ("install it before",), "show"),
    Incident("revoked-never-seen", ALICE, "no_valid_certificate", revoked_and_never_seen, ("revoked since",), "show"),
    Incident("locked-out-by-others", ALICE, "locked_out", locked_out_by_others, ("others at this address",), "--unban"),
    Incident("by-number", NUMBER_OF_THE_FIRST, "list_missing", list_not_fetched),
    Incident("by-time", "08:02", "list_missing", list_not_fetched),
    Incident("by-serial", "0a:11:ce", "ca_ended", ca_ended),
    Incident("by-fingerprint", "A1" * 32, "ca_ended", ca_ended),
    Incident("by-device", "phone1", "ca_ended", ca_ended),
    Incident("by-name", "alice example", "ca_ended", ca_ended),
)
