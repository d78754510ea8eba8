"""What refuses all certificates of a CA is an outage, and only that: each case is held against the judge's own word."""

from datetime import timedelta

import pytest
from cryptography import x509
from support.loaded import certificate_file
from support.pki import DAY, NOW, Ca, server
from support.scopes import distribution_points, issuing_point, point

from gateway.facts import Reason
from gateway.tls import outages as module
from gateway.tls.client_cert import judge
from gateway.tls.outages import of_site_certificate
from gateway.tls.trust import make_trust
from gateway.x509.revocation_list import parse_lists

HOUR = timedelta(hours=1)
ROOT = Ca.make()
OTHER = Ca.make("CN=Other")
ALICE = ROOT.issue("CN=alice")
ENDED = {"last_update": NOW - 9 * DAY, "next_update": NOW - DAY}
USERS, CAS, ATTRIBUTES = (
    issuing_point(only_contains_user_certs=True),
    issuing_point(only_contains_ca_certs=True),
    issuing_point(only_contains_attribute_certs=True),
)
ONE = issuing_point("http://a.example/1.crl")


def trust(*crls, anchors=(ROOT,), policy="require"):
    lists = [entry for number, data in enumerate(crls) for entry in parse_lists(data, f"{number}.crl")]
    return make_trust([ca.certificate for ca in anchors], lists, policy)


def crl(*scope, ca=ROOT, **options):
    return ca.crl(extensions=[*scope], **options)


def told(known, now=NOW):
    """The outages; none of them is a warning as well."""
    lines = tuple(map(str, known.outages(now)))
    assert not set(lines) & set(known.warnings(now))
    return lines


def reason(known, leaf=ALICE, now=NOW):
    return judge(leaf.certificate, leaf.chain, known, now).reason


def test_a_list_that_has_ended_refuses_everybody_of_its_ca():
    known = trust(ROOT.crl(last_update=NOW, next_update=NOW + DAY))
    assert (told(known, NOW + DAY), reason(known, now=NOW + DAY)) == ((), None)
    later = NOW + DAY + HOUR
    (line,) = told(known, later)
    assert line == (
        "0.crl: the revocation list expired 2026-11-25 12:00 UTC: all certificates of 'CN=Test Root' are "
        "refused; publish a new one"
    )
    assert reason(known, now=later) is Reason.REVOCATION_UNKNOWN
    assert [finding.source for finding in known.outages(later)] == ["0.crl"]


def test_under_if_present_it_refuses_nobody_and_is_a_warning():
    known = trust(crl(**ENDED), policy="if_present")
    assert (told(known), reason(known)) == ((), None)
    assert len(known.warnings(NOW)) == 1


def test_a_list_that_has_not_begun():
    known = trust(ROOT.crl(last_update=NOW + HOUR))
    (line,) = told(known)
    assert line == (
        "0.crl: the revocation list is not valid before 2026-11-24 13:00 UTC: all certificates of "
        "'CN=Test Root' are refused; correct this machine's clock if it is wrong, or wait"
    )
    assert reason(known) is Reason.REVOCATION_UNKNOWN
    assert told(known, NOW + HOUR) == ()


def test_a_missing_list_is_an_outage_of_its_ca_alone():
    known = trust(OTHER.crl(), anchors=(ROOT, OTHER))
    assert told(known) == (
        "no revocation list of 'CN=Test Root': all its certificates are refused; name the CA's list in crl",
    )
    assert reason(known) is Reason.REVOCATION_UNKNOWN
    assert reason(known, OTHER.issue()) is None


def test_the_root_above_a_ca_in_client_ca_needs_no_list():
    middle = ROOT.issue_ca("CN=Middle")
    known = trust(middle.crl(), anchors=(ROOT, middle))
    assert (told(known), reason(known, middle.issue())) == ((), None)
    assert known.warnings(NOW)[0].startswith("no revocation list of 'CN=Test Root'")


def test_the_list_of_an_intermediate_that_clients_send():
    middle = ROOT.issue_ca("CN=Middle")
    known = trust(ROOT.crl(), middle.crl(**ENDED))
    (line,) = told(known)
    assert line.endswith(": all certificates of 'CN=Middle' are refused; publish a new one")
    assert (reason(known, middle.issue()), reason(known)) == (Reason.REVOCATION_UNKNOWN, None)


@pytest.mark.parametrize(
    ("crls", "outages"),
    [
        ((crl(USERS, **ENDED), crl(CAS)), 1),
        ((crl(USERS, **ENDED), crl()), 0),  # the complete one covers the same certificates
        ((crl(USERS, **ENDED), crl(CAS, **ENDED)), 2),
        ((crl(), crl(ATTRIBUTES, **ENDED)), 0),
        ((crl(ONE, **ENDED), crl(USERS), crl(CAS)), 0),
        ((crl(ONE, **ENDED), crl(ONE, number=9)), 0),
    ],
)
def test_lists_of_several_scopes(crls, outages):
    at_one = ROOT.issue("CN=one", extensions=[distribution_points(point("http://a.example/1.crl"))])
    known = trust(*crls)
    assert len(told(known)) == outages
    assert (reason(known, at_one) is None) is (outages == 0)


@pytest.mark.parametrize(
    ("crls", "which"),
    [
        ((crl(USERS, **ENDED), crl(CAS)), "only certificates of users"),
        ((crl(**ENDED), crl(USERS)), "only certificates of CAs"),
        ((crl(**ENDED), crl(CAS)), "only certificates of users"),
        (
            (crl(ONE, **ENDED), crl(USERS)),
            "only certificates of CAs whose crlDistributionPoints name 'http://a.example/1.crl'",
        ),
    ],
)
def test_an_outage_tells_which_certificates_no_list_covers(crls, which):
    (line,) = told(trust(*crls))
    assert f": certificates of 'CN=Test Root' are refused ({which}); " in line
    assert (reason(trust(*crls)) is None) is ("users" not in which)


def test_a_ca_that_may_not_sign_lists():
    usage = x509.KeyUsage(*[False] * 5, True, *[False] * 3)  # keyCertSign alone
    ca = Ca.make("CN=No lists", extensions=[(x509.BasicConstraints(ca=True, path_length=None), True), (usage, True)])
    known = trust(ca.crl(), anchors=(ca,))
    (line,) = told(known)
    assert line == (
        "'CN=No lists' may not sign revocation lists (no cRLSign in its key usage): all its certificates are refused; "
        "issue the CA's certificate again with cRLSign, or write crl_policy: if_present"
    )
    assert reason(known, ca.issue()) is Reason.REVOCATION_UNKNOWN


def test_a_key_that_the_ca_certified_for_its_lists():
    usage = x509.KeyUsage(*[False] * 6, True, *[False] * 2)  # cRLSign alone
    signer = ROOT.issue_ca(
        "CN=Test Root", extensions=[(x509.BasicConstraints(ca=True, path_length=None), True), (usage, True)]
    )
    known = trust(crl(CAS), crl(USERS, **ENDED), crl(USERS, ca=signer), anchors=(ROOT, signer))
    assert (told(known), reason(known)) == ((), None)
    known = trust(crl(CAS, **ENDED), crl(USERS, **ENDED), crl(USERS, ca=signer), anchors=(ROOT, signer))
    assert len(told(known)) == 2
    assert reason(known) is Reason.REVOCATION_UNKNOWN


def test_a_ca_that_has_ended_and_the_only_one():
    ending = Ca.make("CN=Ending", not_after=NOW + DAY)
    later = NOW + DAY + HOUR
    known = trust(anchors=(ending, OTHER), policy=None)
    assert told(known) == ()
    (line,) = told(known, later)
    assert line == (
        "the CA 'CN=Ending' expired 2026-11-25 12:00 UTC: all its certificates are refused; "
        "name the CA's new certificate in client_ca instead"
    )
    assert reason(known, ending.issue(), later) is Reason.CERTIFICATE_UNTRUSTED
    assert told(trust(anchors=(ending,), policy=None), later)[0] == (
        "no CA in client_ca is valid now: every client certificate is refused; "
        "renew a CA, or correct this machine's clock"
    )


def test_a_ca_that_has_ended_needs_no_list():
    ending = Ca.make("CN=Ending", not_after=NOW + DAY)
    known = trust(OTHER.crl(), anchors=(ending, OTHER))
    assert ["expired" in line for line in told(known, NOW + DAY + HOUR)] == [True]


def test_a_ca_whose_certificate_was_renewed():
    old = Ca.make("CN=Renewed", not_after=NOW + DAY)
    new = Ca.make("CN=Renewed", key=old.key)
    known = trust(anchors=(old, new), policy=None)
    later = NOW + DAY + HOUR
    assert (told(known, later), reason(known, old.issue(), later)) == ((), None)
    assert known.warnings(later) == ("the CA 'CN=Renewed' expired 2026-11-25 12:00 UTC; renew it",)


def test_a_successor_of_the_same_name_with_another_key_is_another_ca():
    old, new = Ca.make("CN=Same", not_after=NOW + DAY), Ca.make("CN=Same")
    later = NOW + DAY + HOUR
    known = trust(anchors=(old, new), policy=None)
    assert len(told(known, later)) == 1
    assert reason(known, old.issue(), later) is Reason.CERTIFICATE_UNTRUSTED


def test_a_root_that_has_ended_above_a_ca_that_has_not():
    root = Ca.make("CN=Old root", not_after=NOW + DAY)
    middle = root.issue_ca("CN=Middle")
    known = trust(anchors=(root, middle), policy=None)
    later = NOW + DAY + HOUR
    assert (told(known, later), reason(known, middle.issue(), later)) == ((), None)


def test_a_key_that_cannot_be_read_is_no_other_ca_s():
    class Odd:
        subject = ROOT.certificate.subject

        def public_key(self):
            raise ValueError

    assert not module._is_same_ca(ROOT.certificate, Odd())


def test_a_clock_before_every_ca_is_told_and_a_ca_of_tomorrow_is_none():
    early = NOW - 4000 * DAY
    lines = told(trust(anchors=(ROOT, OTHER), policy=None), early)
    assert len(lines) == 3
    assert lines[0].endswith("; renew a CA, or correct this machine's clock")
    assert lines[1].endswith("are refused; correct this machine's clock if it is wrong, or wait")
    tomorrow = Ca.make("CN=Tomorrow", not_before=NOW + DAY)
    known = trust(anchors=(ROOT, tomorrow), policy=None)
    assert told(known) == ()
    assert known.warnings(NOW)[0].startswith("the CA 'CN=Tomorrow' is not valid before 2026-11-25 12:00 UTC: ")


def test_a_site_without_cas_has_none():
    assert told(trust(anchors=(), policy=None)) == ()


def test_the_certificate_of_a_site(tmp_path):
    certificate = certificate_file(server(tmp_path)[0]).certificates[0]
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc

    def found(now):
        return of_site_certificate("mail.crt", certificate, "mail.example.com", now)

    assert found(end - 60 * DAY) is None
    assert (found(end - DAY).is_outage, found(end).is_outage) == (False, False)
    ended, early = found(end + timedelta(seconds=1)), found(begin - timedelta(seconds=1))
    assert ended.is_outage
    assert early.is_outage
    assert str(ended) == (
        f"mail.crt: the certificate 'CN=mail.example.com' expired {end:%Y-%m-%d %H:%M} UTC: browsers and mail programs "
        "refuse mail.example.com; renew it"
    )
    assert str(early) == (
        f"mail.crt: the certificate 'CN=mail.example.com' is not valid before {begin:%Y-%m-%d %H:%M} UTC: browsers and "
        "mail programs refuse mail.example.com; correct this machine's clock if it is wrong, or wait"
    )
