"""Lists that are signed by a key which is not on the path: one that only signs lists, or a CA's newer one."""

from datetime import timedelta

import pytest
from cryptography import x509
from support.pki import DAY, NOW, Ca, ca_extensions, ec_key, rsa_key
from support.scopes import distribution_points, issuing_point, point

from gateway.facts import Reason
from gateway.tls.client_cert import examine, judge
from gateway.tls.trust import make_trust
from gateway.x509.revocation_list import parse_lists

REVOKED, UNKNOWN = Reason.CERTIFICATE_REVOKED, Reason.REVOCATION_UNKNOWN
USAGES = [
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("encipher_only", "decipher_only", "key_cert_sign", "crl_sign"),
]
ROOT = Ca.make("CN=Root")
MIDDLE = ROOT.issue_ca("CN=Middle")
ALICE = MIDDLE.issue("CN=alice")


def usage(*names):
    return x509.KeyUsage(**{name: name in names for name in USAGES}), True


FOR_LISTS = usage("crl_sign")


def signer(issuer=MIDDLE, *extensions, name="CN=Middle", **options):
    """A further key of Middle, by default one that only signs lists and that Middle certified."""
    return issuer.issue_ca(name, extensions=extensions or [FOR_LISTS], **options)


def verdict(*crls, known=(), anchors=(), leaf=ALICE, policy="require", now=NOW):
    lists = [entry for crl in crls for entry in parse_lists(crl, "a.crl")]
    trust = make_trust([ROOT.certificate, *(anchor.certificate for anchor in anchors)], lists, policy)
    chain = (*leaf.chain, *(each.certificate for each in known))
    return judge(leaf.certificate, chain, trust, now)


def reason(*crls, **options):
    return verdict(*crls, **options).reason


def test_a_key_that_the_ca_above_certified_signs_its_lists():
    key = signer(ROOT)
    assert reason(ROOT.crl(), key.crl(), known=[key]) is None
    assert reason(ROOT.crl(), key.crl([ALICE.certificate]), known=[key]) is REVOKED
    assert reason(ROOT.crl(), key.crl()) is UNKNOWN


def test_a_key_that_the_ca_itself_certified_signs_its_lists():
    uri = "http://a.example/keys.crl"
    key = signer(MIDDLE, FOR_LISTS, distribution_points(point(uri)))
    of_keys = MIDDLE.crl(extensions=[issuing_point(uri)])
    assert reason(ROOT.crl(), of_keys, key.crl(), known=[key]) is None
    assert reason(ROOT.crl(), of_keys, key.crl([ALICE.certificate]), known=[key]) is REVOKED
    assert reason(ROOT.crl(), MIDDLE.crl(), key.crl([ALICE.certificate]), known=[key]) is REVOKED
    assert reason(ROOT.crl(), key.crl(), known=[key]) is UNKNOWN


def test_the_new_key_of_a_ca_signs_the_list_of_what_its_old_key_issued():
    new = ROOT.issue_ca("CN=Middle", key=ec_key())
    assert reason(ROOT.crl(), new.crl(), anchors=[new]) is None
    assert reason(ROOT.crl(), new.crl([ALICE.certificate]), anchors=[new]) is REVOKED
    assert reason(ROOT.crl(), new.crl([ALICE.certificate]), MIDDLE.crl(), anchors=[new]) is REVOKED


REFUSED = {
    "a user's usage": lambda: signer(ROOT, usage("digital_signature")),
    "no key usage, and no CA": lambda: signer(ROOT, (x509.BasicConstraints(ca=False, path_length=None), True)),
    "another name": lambda: signer(ROOT, name="CN=Other"),
    "of another root": lambda: signer(Ca.make("CN=Root")),
    "by the CA's own user": lambda: signer(Ca(ALICE.certificate, ALICE.key)),
    "ended": lambda: signer(ROOT, not_before=NOW - 9 * DAY, not_after=NOW - DAY),
    "not begun": lambda: signer(ROOT, not_before=NOW + DAY, not_after=NOW + 9 * DAY),
    "a weak key": lambda: signer(ROOT, key=rsa_key(1024)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_any_other_key_signs_no_list_of_the_ca(what):
    key = REFUSED[what]()
    crl = Ca(MIDDLE.certificate, MIDDLE.key).crl(key=key.key)
    assert reason(ROOT.crl(), crl, known=[key]) is UNKNOWN
    assert reason(
        ROOT.crl(), Ca(MIDDLE.certificate, MIDDLE.key).crl([ALICE.certificate], key=key.key), known=[key]
    ) is (UNKNOWN)


def test_a_ca_without_a_key_usage_signs_lists():
    key = signer(ROOT, *ca_extensions())
    assert reason(ROOT.crl(), key.crl(), known=[key]) is None


def test_a_key_that_was_revoked_or_is_not_covered_signs_nothing():
    key = signer(ROOT)
    assert reason(ROOT.crl([key.certificate]), key.crl(), known=[key]) is UNKNOWN
    assert reason(ROOT.crl([key.certificate]), key.crl([ALICE.certificate]), known=[key]) is UNKNOWN
    own = signer(MIDDLE)  # which Middle has no list for: it would clear itself
    assert reason(ROOT.crl(), own.crl(), known=[own]) is UNKNOWN
    assert reason(ROOT.crl(), own.crl(), known=[own], policy="if_present") is None


def test_the_word_of_such_a_key_ends_when_it_does():
    key = signer(ROOT, not_after=NOW + timedelta(hours=1))
    lists = [entry for crl in (ROOT.crl(), key.crl()) for entry in parse_lists(crl, "a.crl")]
    trust = make_trust([ROOT.certificate], lists, "require")
    chain = [*ALICE.chain_der, key.der, b"rubbish"]
    assert examine(ALICE.der, chain, trust, NOW).until == NOW + timedelta(hours=1)


def test_a_certificate_whose_name_cannot_be_read_signs_nothing():
    key = signer(ROOT)
    lists = [entry for crl in (ROOT.crl(), key.crl()) for entry in parse_lists(crl, "a.crl")]
    trust = make_trust([ROOT.certificate], lists, "require")
    broken = key.der.replace(b"\x0c\x06Middle", b"\x03\x06Middle")
    judgement = judge(ALICE.certificate, [*ALICE.chain_der, broken], trust, NOW)
    assert judgement.reason is UNKNOWN


def test_a_certificate_that_is_work_to_read_signs_nothing():
    names = x509.SubjectAlternativeName([x509.DNSName(f"{number}.example.com") for number in range(1000)])
    key = signer(ROOT, FOR_LISTS, (names, False))
    assert reason(ROOT.crl(), key.crl(), known=[key]) is UNKNOWN
