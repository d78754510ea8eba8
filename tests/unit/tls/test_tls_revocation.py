"""Revocation lists: which are believed, what they say, and what a missing or outdated one means."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from support.pki import DAY, NOW, Ca, build_crl, crowd, ec_key, large_crl, openssl, openssl_leaf, openssl_root
from support.scopes import issuing_point

from gateway.clock import now as real_now
from gateway.errors import ConfigError
from gateway.facts import Reason
from gateway.tls import revocation
from gateway.tls.client_cert import examine, judge
from gateway.tls.outages import expiry_line
from gateway.tls.revocation import MAX_REMEMBERED_CAS, Revocation
from gateway.tls.trust import Trust, load_anchors, load_lists, make_trust
from gateway.x509.ca_names import MAX_CA_NAMES_BYTES
from gateway.x509.loading import load_certificates
from gateway.x509.revocation_list import RevocationList, parse_lists
from gateway.x509.status import Status

ROOT = Ca.make()
DER = build_crl(ROOT).public_bytes(Encoding.DER)
ALICE = ROOT.issue("CN=alice")
HOUR = timedelta(hours=1)


def lists(*crls):
    return [entry for crl in crls for entry in parse_lists(crl, "test.crl")]


def verdict(leaf, *crls, policy="require", now=NOW, anchors=(ROOT,)):
    trust = make_trust([ca.certificate for ca in anchors], lists(*crls), policy)
    return judge(leaf.certificate, leaf.chain, trust, now)


@pytest.mark.parametrize("policy", ["require", "if_present"])
def test_a_revoked_certificate_is_out_and_its_neighbour_is_in(policy):
    crl = ROOT.crl([ALICE.certificate])
    judgement = verdict(ALICE, crl, policy=policy)
    assert judgement.reason is Reason.CERTIFICATE_REVOKED
    assert judgement.detail == "revoked by 'CN=Test Root'"
    assert judgement.identity.common_name == "alice"
    assert verdict(ROOT.issue("CN=bob"), crl, policy=policy).is_trusted


HOLD = x509.ReasonFlags.certificate_hold


@pytest.mark.parametrize("reason", [HOLD, x509.ReasonFlags.remove_from_crl, None])
def test_every_entry_counts_whatever_its_reason(reason):
    judgement = verdict(ALICE, ROOT.crl([ALICE.certificate], reason=reason))
    assert judgement.reason is Reason.CERTIFICATE_REVOKED
    assert judgement.is_on_hold == (reason is HOLD)
    assert judgement.detail == f"{'put on hold' if reason is HOLD else 'revoked'} by 'CN=Test Root'"


def test_a_ca_on_hold_is_told_and_one_that_is_revoked_for_good_comes_first():
    middle = ROOT.issue_ca("CN=Middle")
    carol = middle.issue("CN=carol")
    held = ROOT.crl([middle.certificate], reason=HOLD)
    judgement = verdict(carol, held, middle.crl())
    assert (judgement.reason, judgement.is_on_hold) == (Reason.CERTIFICATE_REVOKED, True)
    assert judgement.detail == "the CA 'CN=Middle' is put on hold by 'CN=Test Root'"
    assert not verdict(carol, held, middle.crl([carol.certificate])).is_on_hold
    users = ROOT.crl([ALICE.certificate], extensions=[issuing_point(only_contains_user_certs=True)])
    for both in (
        (users, ROOT.crl([ALICE.certificate], reason=HOLD)),
        (ROOT.crl([ALICE.certificate], reason=HOLD), users),
    ):
        assert not verdict(ALICE, *both).is_on_hold, "one list revokes it for good"


def test_a_list_is_searched_once_for_a_held_certificate(monkeypatch):
    bob = ROOT.issue("CN=bob")
    searched = []

    def holds(self, serial, search=RevocationList.holds):
        searched.append(serial)
        return search(self, serial)

    monkeypatch.setattr(RevocationList, "holds", holds)
    monkeypatch.setattr(revocation, "MAX_REMEMBERED_HOLDS", 1)
    crl = ROOT.crl([ALICE.certificate, bob.certificate], reason=HOLD)
    trust = make_trust([ROOT.certificate], lists(crl), "require")
    for leaf in (ALICE, ALICE, bob, ALICE):
        assert judge(leaf.certificate, leaf.chain, trust, NOW).is_on_hold
    serials = [leaf.certificate.serial_number for leaf in (ALICE, bob, ALICE)]
    assert searched == serials, "remembered, until there are more than fit"


def test_a_serial_that_no_list_can_name_is_not_on_hold():
    [entry] = lists(ROOT.crl([ALICE.certificate], reason=HOLD))
    assert entry.holds(ALICE.certificate.serial_number)
    assert not entry.holds(ALICE.certificate.serial_number + 1)
    assert not entry.holds(-5)


def test_a_list_made_by_openssl_revokes_a_certificate_made_by_openssl(tmp_path):
    root = openssl_root(tmp_path)
    alice, _key = openssl_leaf(tmp_path)
    bob, _key = openssl_leaf(tmp_path, "bob")
    (tmp_path / "index.txt").touch()
    (tmp_path / "crlnumber").write_text("01\n")
    (tmp_path / "ca.cnf").write_text(
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=crlnumber\ndefault_md=sha256\ndefault_crl_days=30\n"
    )
    common = ["-config", "ca.cnf", "-keyfile", "rootCA.key", "-cert", "rootCA.pem"]
    openssl("ca", *common, "-revoke", "alice.crt", cwd=tmp_path)
    openssl("ca", *common, "-gencrl", "-out", "ca.crl", cwd=tmp_path)
    anchors = load_anchors([root])
    found, problems = load_lists([str(tmp_path / "ca.crl")], {}, anchors)
    trust = Trust(anchors, Revocation(found, "require"))

    assert problems == ()
    assert judge(load_certificates(alice)[0], (), trust, real_now()).reason is Reason.CERTIFICATE_REVOKED
    assert judge(load_certificates(bob)[0], (), trust, real_now()).is_trusted


def test_without_a_list_require_refuses_and_if_present_does_not():
    judgement = verdict(ALICE)
    assert judgement.reason is Reason.REVOCATION_UNKNOWN
    assert judgement.detail == "no revocation list of 'CN=Test Root'"
    assert verdict(ALICE, policy="if_present").is_trusted


def test_without_a_policy_nothing_is_asked():
    assert judge(ALICE.certificate, (), make_trust([ROOT.certificate]), NOW).is_trusted


def test_an_outdated_list_refuses_under_require_and_still_revokes_under_if_present():
    crl = ROOT.crl([ALICE.certificate], next_update=NOW)
    bob = ROOT.issue("CN=bob")
    late = NOW + timedelta(seconds=1)

    assert verdict(bob, crl, now=NOW).is_trusted
    judgement = verdict(bob, crl, now=late)
    assert judgement.reason is Reason.REVOCATION_UNKNOWN
    assert "expired 2026-11-24 12:00 UTC" in judgement.detail
    assert verdict(bob, crl, policy="if_present", now=late).is_trusted
    for policy in ("require", "if_present"):
        assert verdict(ALICE, crl, policy=policy, now=late).reason is Reason.CERTIFICATE_REVOKED


def test_the_newest_list_counts_by_number_then_by_date():
    revoked = [ALICE.certificate]
    old, new = ROOT.crl(revoked, number=4), ROOT.crl([], number=5, last_update=NOW - 2 * DAY)
    assert verdict(ALICE, old, new).is_trusted
    assert verdict(ALICE, new, old).is_trusted
    early, late = ROOT.crl([], number=7, last_update=NOW - 2 * DAY), ROOT.crl(revoked, number=7)
    assert verdict(ALICE, early, late).reason is Reason.CERTIFICATE_REVOKED
    assert verdict(ALICE, late, early).reason is Reason.CERTIFICATE_REVOKED
    assert verdict(ALICE, ROOT.crl(revoked, number=None), ROOT.crl([], number=0)).is_trusted


def test_a_list_that_has_not_begun_does_not_count_yet():
    now_in, next_in = ROOT.crl([], number=1), ROOT.crl([ALICE.certificate], number=2, last_update=NOW + HOUR)
    assert verdict(ALICE, now_in, next_in).is_trusted
    assert verdict(ALICE, now_in, next_in, now=NOW + HOUR).reason is Reason.CERTIFICATE_REVOKED
    assert verdict(ALICE, next_in).reason is Reason.REVOCATION_UNKNOWN
    trust = make_trust([ROOT.certificate], lists(now_in, next_in), "require")
    assert examine(ALICE.der, (), trust, NOW).until == NOW + HOUR


def test_a_list_that_another_key_signed_does_not_count():
    forged = build_crl(ROOT, [], key=ec_key()).public_bytes(Encoding.PEM)
    assert verdict(ALICE, forged).reason is Reason.REVOCATION_UNKNOWN
    framed = build_crl(ROOT, [ALICE.certificate], key=ec_key(), number=99).public_bytes(Encoding.PEM)
    assert verdict(ALICE, framed, ROOT.crl()).is_trusted


def test_every_ca_of_the_path_has_to_be_covered():
    middle = ROOT.issue_ca("CN=Middle")
    carol = middle.issue("CN=carol")

    assert verdict(carol, middle.crl()).detail == "no revocation list of 'CN=Test Root'"
    assert verdict(carol, ROOT.crl()).detail == "no revocation list of 'CN=Middle'"
    assert verdict(carol, ROOT.crl(), middle.crl()).is_trusted
    judgement = verdict(carol, ROOT.crl([middle.certificate]), middle.crl())
    assert judgement.reason is Reason.CERTIFICATE_REVOKED
    assert judgement.detail == "the CA 'CN=Middle' is revoked by 'CN=Test Root'"
    assert verdict(carol, middle.crl(), anchors=(middle,)).is_trusted  # an anchor is trusted by configuration


def test_an_expired_certificate_is_expired_before_it_is_revoked():
    old = ROOT.issue(not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    assert verdict(old, ROOT.crl([old.certificate])).reason is Reason.CERTIFICATE_EXPIRED


def test_pem_der_and_several_lists_in_one_file():
    other = Ca.make("CN=Other")
    pem = b"a comment\n" + ROOT.crl() + b"text between\n" + other.crl([1])
    der = build_crl(ROOT, []).public_bytes(Encoding.DER)
    assert [entry.crl.issuer for entry in parse_lists(pem, "x")] == [
        ROOT.certificate.subject,
        other.certificate.subject,
    ]
    assert len(parse_lists(der, "x")) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"rubbish",
        b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
        b"-----BEGIN X509 CRL-----\nAAAA\n",
        ROOT.pem,
        ROOT.crl()[:-40],
        DER.replace(b"\x0c\x09Test Root", b"\x03\x09Test Root"),  # the issuer's name as a BIT STRING
        DER.replace(b"\x02\x01\x01", b"\x02\x01\x07", 1),  # version 8
    ],
)
def test_what_is_no_list_is_a_configuration_error(data):
    with pytest.raises(
        ConfigError, match=r"^test\.crl: (not a readable revocation list|line 1: the X509 CRL block .* has no END)"
    ):
        lists(data)


@pytest.mark.parametrize(
    "extension",
    [
        issuing_point(indirect_crl=True),
        issuing_point(only_some_reasons=frozenset([x509.ReasonFlags.key_compromise])),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),
    ],
)
def test_a_list_of_a_kind_that_is_not_read_is_refused(extension):
    with pytest.raises(ConfigError, match=r"^test\.crl: the list "):
        lists(ROOT.crl(extensions=[extension]))


def test_harmless_extensions_are_fine():
    key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(ROOT.certificate.public_key())
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    assert verdict(ALICE, ROOT.crl(extensions=[(key_id, True), (odd, False)])).is_trusted


@pytest.mark.parametrize("digest", ["sha1", "sha224"])
def test_a_list_without_an_end_or_with_a_weak_digest_is_refused(tmp_path, digest):
    openssl_root(tmp_path)
    (tmp_path / "index.txt").touch()
    (tmp_path / "ca.cnf").write_text(f"[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ndefault_md={digest}\n")
    openssl(
        *("ca", "-config", "ca.cnf", "-keyfile", "rootCA.key", "-cert", "rootCA.pem", "-gencrl"),
        *("-crldays", "30", "-out", "ca.crl"),
        cwd=tmp_path,
    )
    with pytest.raises(ConfigError, match="a digest that is too weak"):
        parse_lists((tmp_path / "ca.crl").read_bytes(), "weak.crl")
    der = build_crl(ROOT, [], number=None).public_bytes(Encoding.DER)
    # thisUpdate and nextUpdate are two UTCTimes of 15 bytes; without the second, three lengths shrink.
    end = der.index(b"\x17\x0d", der.index(b"\x17\x0d") + 1)
    body = der[:end] + der[end + 15 :]
    assert body[:2] == b"\x30\x81"
    inner = body[3:]
    shorter = b"\x30" + bytes([inner[1] - 15]) + inner[2:]
    without_end = b"\x30\x81" + bytes([body[2] - 15]) + shorter
    with pytest.raises(ConfigError, match="no nextUpdate"):
        parse_lists(without_end, "endless.crl")


def test_a_hundred_thousand_entries_are_looked_up_at_once():
    serials = [ALICE.certificate.serial_number, *range(1, 100_000)]
    (entry,) = parse_lists(large_crl(ROOT, serials), "large.crl")
    revocation = Revocation([entry], "require")
    assert len(entry.serials) == 100_000
    assert revocation.status(ALICE.certificate, ROOT.certificate, NOW).status is Status.REVOKED
    assert revocation.status(ROOT.issue().certificate, ROOT.certificate, NOW).status is Status.GOOD


def test_the_memory_of_cas_is_bounded():
    revocation = Revocation(lists(ROOT.crl()), "require")
    for number in range(MAX_REMEMBERED_CAS):
        assert revocation.of_ca(ROOT.issue_ca(f"CN={number}").certificate) == ()
    assert len(revocation._by_ca) == MAX_REMEMBERED_CAS
    assert len(revocation.of_ca(ROOT.certificate)) == 1
    assert len(revocation._by_ca) == 1


def test_a_ca_whose_key_cannot_check_signatures_signed_nothing():
    class Odd:
        def public_key(self):
            raise ValueError

    (entry,) = lists(ROOT.crl())
    assert not entry.is_signed_by(Odd())


def test_a_list_warns_in_its_last_fifth_and_when_it_is_over():
    crl = ROOT.crl(last_update=NOW, next_update=NOW + 10 * DAY)
    trust = make_trust([ROOT.certificate], lists(crl), "require")

    assert trust.warnings(NOW + 8 * DAY) == ()
    (soon,) = trust.warnings(NOW + 8 * DAY + HOUR)
    assert soon == "test.crl: the revocation list expires 2026-12-04 12:00 UTC; publish a new one"
    (over,) = trust.outages(NOW + 10 * DAY + HOUR)
    assert over.cause.startswith("test.crl: the revocation list expired 2026-12-04 12:00 UTC: ")


def test_more_cas_than_a_client_can_be_told_of_are_warned_about():
    fitting, more = (
        make_trust([ca.certificate for ca in crowd(size)]) for size in (MAX_CA_NAMES_BYTES, MAX_CA_NAMES_BYTES + 1)
    )
    assert fitting.warnings(NOW) == ()
    (line,) = more.warnings(NOW)
    assert line.endswith("; remove CAs that are no longer used from client_ca")


def test_an_uncovered_ca_and_an_ending_one_are_warned_about():
    ending = Ca.make("CN=Ending", not_after=NOW + 29 * DAY)
    trust = make_trust([ending.certificate], [], "require")
    assert trust.warnings(NOW) == ("the CA 'CN=Ending' expires 2026-12-23 12:00 UTC, within 30 days; renew it",)
    (missing,) = trust.outages(NOW)
    assert missing.cause == "no revocation list of 'CN=Ending': all its certificates are refused"
    assert make_trust([ending.certificate], [], "if_present").warnings(NOW - DAY) == ()
    over = make_trust([ending.certificate]).outages(NOW + 30 * DAY)
    assert over[1].cause == "the CA 'CN=Ending' expired 2026-12-23 12:00 UTC: all its certificates are refused"


@pytest.mark.parametrize(("left", "within"), [(30, "30 days"), (7, "7 days"), (1, "1 day")])
def test_an_end_is_told_a_month_a_week_and_a_day_before(left, within):
    ending = Ca.make("CN=Ending").certificate
    end = ending.not_valid_after_utc
    line = expiry_line("the CA", ending, end - left * DAY + HOUR)
    assert line == f"the CA 'CN=Ending' expires {end:%Y-%m-%d %H:%M} UTC, within {within}; renew it"
    assert expiry_line("the CA", ending, end - left * DAY) != line
    assert expiry_line("the CA", ending, end - 30 * DAY) is None


@pytest.mark.parametrize("policy", ["require", "if_present"])
def test_the_newest_list_of_a_ca_that_is_no_anchor_warns_too(policy):
    middle = ROOT.issue_ca()
    old = middle.crl(number=1, last_update=NOW - 9 * DAY, next_update=NOW - 2 * DAY)
    new = middle.crl(number=2, last_update=NOW - 8 * DAY, next_update=NOW - DAY)
    trust = make_trust([ROOT.certificate], lists(ROOT.crl(), old, new), policy)
    (line,) = trust.outages(NOW) if policy == "require" else trust.warnings(NOW)
    assert str(line).startswith("test.crl: the revocation list expired 2026-11-23 12:00 UTC")


def test_replacing_a_trust_makes_a_new_generation():
    trust = make_trust([ROOT.certificate])
    assert replace(trust, generation=trust.generation + 1).generation == trust.generation + 1
    assert make_trust([ROOT.certificate]).generation > trust.generation
