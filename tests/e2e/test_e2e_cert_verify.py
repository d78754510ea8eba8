"""Path validation through `gateway cert verify`, numbered as NIST's PKITS numbers its cases, with our own certificates.

PKITS itself is in `test_tls_pkits`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID, ObjectIdentifier
from support.pki import DAY, NOW, SERVER_AUTH, Ca, Leaf, build, ca_extensions, ec_key, openssl, rsa_key
from support.scopes import delta, distribution_points, issuing_point, point

from gateway.cli.app import run

pytestmark = pytest.mark.e2e

TRUSTED = None
UNTRUSTED, EXPIRED, EARLY = "certificate_untrusted", "certificate_expired", "certificate_not_yet_valid"
REVOKED, UNKNOWN, WRONG = "certificate_revoked", "revocation_unknown", "certificate_wrong_usage"
ONE, TWO = (ObjectIdentifier(f"2.16.840.1.101.3.2.1.48.{number}") for number in (1, 2))
PAST = {"not_before": NOW - 20 * DAY, "not_after": NOW - 10 * DAY}
FUTURE = {"not_before": NOW + 10 * DAY, "not_after": NOW + 20 * DAY}

ROOT = Ca.make("CN=Trust Anchor")
GOOD = ROOT.issue_ca("CN=Good CA")
ALICE = GOOD.issue("CN=alice", email="alice@example.com")


@dataclass(frozen=True)
class Case:
    """What is shown and configured, and the verdict."""

    leaf: Leaf
    reason: str | None
    crls: tuple[bytes, ...] = ()
    anchors: tuple[Ca, ...] = (ROOT,)


def usage(**wanted):
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign"
        " encipher_only decipher_only"
    )
    return (x509.KeyUsage(**{name: wanted.get(name, False) for name in names.split()}), True)


def basic(path_length=None, *, is_ca=True):
    return (x509.BasicConstraints(ca=is_ca, path_length=path_length if is_ca else None), True)


def names(permitted=(), excluded=()):
    return (x509.NameConstraints(list(permitted) or None, list(excluded) or None), True)


def directory(text):
    return x509.DirectoryName(x509.Name.from_rfc4514_string(text))


def policies(*oids):
    return (x509.CertificatePolicies([x509.PolicyInformation(oid, None) for oid in oids]), False)


def under(*extensions, leaf="CN=alice", ca=ROOT, subject="CN=Special CA", dates=None, **options):
    """A leaf under an intermediate that has exactly these extensions."""
    return ca.issue_ca(subject, extensions=list(extensions), **(dates or {})).issue(leaf, **options)


def tampered(leaf):
    """The same with another bit in the signature."""
    der = bytearray(leaf.der)
    der[-1] ^= 1
    return replace(leaf, certificate=x509.load_der_x509_certificate(bytes(der)))


def forged_ca():
    """An intermediate that says it is the anchor's and is signed by somebody else."""
    key, stranger = ec_key(), ec_key()
    certificate = build("CN=Good CA", key.public_key(), "CN=Trust Anchor", stranger, extensions=ca_extensions())
    return Ca(certificate, key, (certificate,))


def respelled(text):
    """A leaf whose issuer is spelled in another way than its CA spells itself."""
    key = ec_key()
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
    return Leaf(build("CN=alice", key.public_key(), issuer, GOOD.key), key, GOOD.chain)


def rollover():
    """A CA's new key, certified by its old one."""
    key = ec_key()
    identifiers = [
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(GOOD.key.public_key()), False),
    ]
    return GOOD.issue_ca("CN=Good CA", key=key, extensions=[*ca_extensions(), *identifiers])


def no_list_signer():
    return ROOT.issue_ca("CN=No lists", extensions=[*ca_extensions(), usage(key_cert_sign=True)])


def part(uri, *revoked):
    return GOOD.crl([leaf.certificate for leaf in revoked], extensions=[issuing_point(uri)])


UNKNOWN_EXTENSION = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")
LISTS = (ROOT.crl(), GOOD.crl())
NEW = rollover()
NEW_ALICE = NEW.issue("CN=alice")
UNNAMED = GOOD.issue_ca("CN=Good CA")
NO_LISTS = no_list_signer()
EXPLICIT = (x509.PolicyConstraints(0, None), True)

LIST_KEY = ROOT.issue_ca("CN=Good CA", extensions=[usage(crl_sign=True)])
WITH_LIST_KEY = replace(ALICE, chain=(*ALICE.chain, LIST_KEY.certificate))
POINT = "http://a.example/1.crl"
AT_POINT = GOOD.issue(extensions=[distribution_points(point(POINT))])
USERS = issuing_point(only_contains_user_certs=True)
CAS = issuing_point(only_contains_ca_certs=True)
ATTRIBUTES = issuing_point(only_contains_attribute_certs=True)
HOLD = GOOD.crl([ALICE.certificate], reason=x509.ReasonFlags.certificate_hold)
OUTDATED = GOOD.crl(last_update=NOW - 9 * DAY, next_update=NOW - DAY)

CASES = {
    "4.1.1 valid path": Case(ALICE, TRUSTED),
    "4.1.2 CA's signature": Case(forged_ca().issue(), UNTRUSTED),
    "4.1.3 leaf's signature": Case(tampered(ALICE), UNTRUSTED),
    "4.2.1 CA not yet valid": Case(under(basic(), dates=FUTURE), UNTRUSTED),
    "4.2.2 leaf not yet valid": Case(GOOD.issue(**FUTURE), EARLY),
    "4.2.5 CA expired": Case(under(basic(), dates=PAST), UNTRUSTED),
    "4.2.6 leaf expired": Case(GOOD.issue(**PAST), EXPIRED),
    "4.3.1 issuer's name": Case(replace(forged_ca().issue(), chain=GOOD.chain), UNTRUSTED),
    "4.3.3 issuer's name, white space": Case(respelled(" Good   CA "), TRUSTED, LISTS),
    "4.3.5 issuer's name, case": Case(respelled("GOOD CA"), TRUSTED, LISTS),
    "4.4.1 no list of the issuer": Case(ALICE, UNKNOWN, (ROOT.crl(),)),
    "4.4.2 revoked CA": Case(ALICE, REVOKED, (ROOT.crl([GOOD.certificate]), GOOD.crl())),
    "4.4.3 revoked leaf": Case(ALICE, REVOKED, (ROOT.crl(), GOOD.crl([ALICE.certificate]))),
    "4.4.4 list's signature": Case(ALICE, UNKNOWN, (ROOT.crl(), GOOD.crl(key=ec_key()))),
    "4.4.6 somebody else's list": Case(ALICE, UNKNOWN, (ROOT.crl(), Ca.make("CN=Other").crl())),
    "4.4.7 two lists": Case(ALICE, REVOKED, (*LISTS, GOOD.crl([ALICE.certificate], number=2))),
    "4.4.11 list outdated": Case(
        ALICE, UNKNOWN, (ROOT.crl(), GOOD.crl(last_update=NOW - 9 * DAY, next_update=NOW - DAY))
    ),
    "4.4.16 long serial": Case(GOOD.issue(serial=(1 << 159) - 1), REVOKED, (ROOT.crl(), GOOD.crl([(1 << 159) - 1]))),
    "4.4.19 key for lists only": Case(WITH_LIST_KEY, TRUSTED, (ROOT.crl(), LIST_KEY.crl())),
    "4.4.20 key for lists only, revoked": Case(WITH_LIST_KEY, REVOKED, (ROOT.crl(), LIST_KEY.crl([ALICE.certificate]))),
    "4.4.21 key for lists that is revoked": Case(
        WITH_LIST_KEY, UNKNOWN, (ROOT.crl([LIST_KEY.certificate]), LIST_KEY.crl())
    ),
    "4.5.1 new key certified by old": Case(NEW_ALICE, TRUSTED, (ROOT.crl(), GOOD.crl(), NEW.crl(number=2))),
    "new key certified by old, which it doesn't name": Case(
        UNNAMED.issue("CN=alice"), TRUSTED, (ROOT.crl(), GOOD.crl(), UNNAMED.crl(number=2))
    ),
    "4.5.2 revoked by the old key": Case(NEW_ALICE, REVOKED, (ROOT.crl(), GOOD.crl([NEW_ALICE.certificate]))),
    "4.6.1 no basicConstraints": Case(under(usage(key_cert_sign=True)), UNTRUSTED),
    "4.6.2 cA false": Case(under(basic(is_ca=False)), UNTRUSTED),
    "4.6.4 basicConstraints not critical": Case(under((basic()[0], False)), TRUSTED),
    "4.6.5 path length": Case(ROOT.issue_ca("CN=Zero", extensions=[basic(0)]).issue_ca("CN=Sub").issue(), UNTRUSTED),
    "4.6.7 path length enough": Case(under(basic(0)), TRUSTED),
    "4.6.15 path length, self-issued": Case(replace(NEW_ALICE), TRUSTED),
    "4.7.1 no keyCertSign": Case(under(basic(), usage(crl_sign=True)), UNTRUSTED),
    "4.7.4 no cRLSign": Case(NO_LISTS.issue(), UNKNOWN, (ROOT.crl(), NO_LISTS.crl())),
    "4.8.1 no policy needed": Case(under(basic(), policies(ONE)), TRUSTED),
    "4.9.3 explicit policy missing": Case(under(basic(), EXPLICIT, policies(ONE)), UNTRUSTED),
    "4.9.4 explicit policy there": Case(under(basic(), EXPLICIT, policies(ONE), extensions=[policies(ONE)]), TRUSTED),
    "4.9.5 another policy": Case(under(basic(), EXPLICIT, policies(ONE), extensions=[policies(TWO)]), UNTRUSTED),
    "4.13.2 name not permitted": Case(under(basic(), names([directory("O=Example")]), leaf="O=Other"), UNTRUSTED),
    "4.13.4 name permitted": Case(under(basic(), names([directory("O=Example")]), leaf="CN=a,O=Example"), TRUSTED),
    "4.13.8 name excluded": Case(
        under(basic(), names(excluded=[directory("O=Example")]), leaf="CN=a,O=Example"), UNTRUSTED
    ),
    "4.13.21 mail permitted": Case(
        under(basic(), names([x509.RFC822Name("example.com")]), email="alice@example.com"), TRUSTED
    ),
    "4.13.22 mail not permitted": Case(
        under(basic(), names([x509.RFC822Name("example.com")]), email="alice@example.net"), UNTRUSTED
    ),
    "4.13.24 mail of a host below": Case(
        under(basic(), names([x509.RFC822Name("example.com")]), email="alice@sub.example.com"), UNTRUSTED
    ),
    "4.13.26 mail excluded": Case(
        under(basic(), names(excluded=[x509.RFC822Name("example.com")]), email="alice@example.com"), UNTRUSTED
    ),
    "4.13.31 DNS not permitted": Case(under(basic(), names([x509.DNSName("example.com")]), dns="a.net"), UNTRUSTED),
    "4.13.33 UPN of another domain": Case(
        under(basic(), names([x509.RFC822Name("example.com")]), upn_name="alice@example.net"), UNTRUSTED
    ),
    "4.14.1 list of a point": Case(AT_POINT, TRUSTED, (ROOT.crl(), part(POINT))),
    "4.14.2 list of a point, revoked": Case(AT_POINT, REVOKED, (ROOT.crl(), part(POINT, AT_POINT))),
    "4.14.3 list of another point": Case(AT_POINT, UNKNOWN, (ROOT.crl(), part("http://a.example/2.crl"))),
    "4.14.10 list of everything": Case(AT_POINT, TRUSTED, LISTS),
    "4.14.11 users' list for a CA": Case(ALICE, UNKNOWN, (ROOT.crl(extensions=[USERS]), GOOD.crl())),
    "4.14.12 CAs' list for a user": Case(ALICE, UNKNOWN, (ROOT.crl(), GOOD.crl(extensions=[CAS]))),
    "4.14.13 CAs' list for a CA": Case(ALICE, TRUSTED, (ROOT.crl(extensions=[CAS]), GOOD.crl(extensions=[USERS]))),
    "4.14.14 attribute certificates' list": Case(ALICE, UNKNOWN, (ROOT.crl(), GOOD.crl(extensions=[ATTRIBUTES]))),
    "4.15.1 delta without a base": Case(ALICE, UNKNOWN, (ROOT.crl(), delta(GOOD, 1, 5))),
    "4.15.2 delta": Case(ALICE, TRUSTED, (*LISTS, delta(GOOD, 1, 5))),
    "4.15.3 revoked in the base": Case(ALICE, REVOKED, (ROOT.crl(), HOLD, delta(GOOD, 1, 5))),
    "4.15.4 revoked in the delta": Case(ALICE, REVOKED, (*LISTS, delta(GOOD, 1, 5, named=[ALICE]))),
    "4.15.5 taken off hold": Case(ALICE, TRUSTED, (ROOT.crl(), HOLD, delta(GOOD, 1, 5, removed=[ALICE]))),
    "4.15.9 revoked in both": Case(ALICE, REVOKED, (ROOT.crl(), HOLD, delta(GOOD, 1, 5, named=[ALICE]))),
    "4.15.10 base too old": Case(ALICE, UNKNOWN, (ROOT.crl(), OUTDATED, delta(GOOD, 2, 5))),
    "4.16.1 unknown extension": Case(GOOD.issue(extensions=[(UNKNOWN_EXTENSION, False)]), TRUSTED),
    "4.16.2 unknown critical extension": Case(GOOD.issue(extensions=[(UNKNOWN_EXTENSION, True)]), UNTRUSTED),
    "4.16.2 the same in the CA": Case(under(basic(), (UNKNOWN_EXTENSION, True)), UNTRUSTED),
    "no path at all": Case(replace(ALICE, chain=()), UNTRUSTED),
    "another anchor": Case(ALICE, UNTRUSTED, anchors=(Ca.make("CN=Trust Anchor"),)),
    "an intermediate as the anchor": Case(replace(ALICE, chain=()), TRUSTED, anchors=(GOOD,)),
    "a CA as a client": Case(GOOD, WRONG),
    "a server as a client": Case(GOOD.issue(eku=SERVER_AUTH), WRONG),
    "a CA for servers alone": Case(under(basic(), (x509.ExtendedKeyUsage(SERVER_AUTH), False)), WRONG),
    "a leaf that may not sign": Case(GOOD.issue(extensions=[usage(key_encipherment=True)]), WRONG),
    "a short key": Case(GOOD.issue(key=rsa_key(1024)), UNTRUSTED),
    "a weak digest": Case(GOOD.issue(algorithm=hashes.SHA224()), UNTRUSTED),
    "self-signed": Case(Ca.make("CN=me", extensions=[]), UNTRUSTED),
}


def verdict(folder, case, capsys, *options):
    """(exit code, the answer as JSON)."""
    leaf, _ = replace(case.leaf, chain=()).write(folder, "leaf")
    files = []
    for number, certificate in enumerate(case.leaf.chain):
        files.append(folder / f"chain-{number}.der")
        files[-1].write_bytes(certificate.public_bytes(Encoding.DER))
    anchors, lists = [], []
    for number, anchor in enumerate(case.anchors):
        path = folder / f"anchor-{number}.pem"
        path.write_bytes(anchor.certificate.public_bytes(Encoding.PEM))
        anchors += ["--ca", path]
    for number, data in enumerate(case.crls):
        (folder / f"list-{number}.crl").write_bytes(data)
        lists += ["--crl", folder / f"list-{number}.crl"]
    at = ("--at", NOW.isoformat())
    code = run(["cert", "verify", "--json", *map(str, (*anchors, *lists, *at, *options, leaf, *files))])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", CASES)
def test_the_verdict_and_its_exit_code(tmp_path, capsys, name):
    case = CASES[name]
    code, answer = verdict(tmp_path, case, capsys)
    assert (answer["trusted"], answer["reason"]) == (case.reason is None, case.reason), answer["detail"]
    assert code == (0 if case.reason is None else 1)
    assert answer["detail"]


def test_both_ends_of_a_life_belong_to_it(tmp_path, capsys):
    """RFC 5280, 4.1.2.5: inclusive, to the second."""
    begin, end = ALICE.certificate.not_valid_before_utc, ALICE.certificate.not_valid_after_utc
    second = timedelta(seconds=1)
    for at, reason in ((begin - second, EARLY), (begin, TRUSTED), (end, TRUSTED), (end + second, EXPIRED)):
        anchors = Case(replace(ALICE, chain=()), reason, anchors=(Ca.make("CN=Good CA", key=GOOD.key, **LONG),))
        _, answer = verdict(tmp_path, anchors, capsys, "--at", at.isoformat())
        assert answer["reason"] == reason, at


LONG = {"not_before": NOW - 1000 * DAY, "not_after": NOW + 1000 * DAY}


def test_openssls_own_verdicts_are_no_milder(tmp_path, capsys):
    """`openssl verify` with its strictest options, where the case is not about our own additions."""
    for name in (
        "4.1.1 valid path",
        "4.6.7 path length enough",
        "4.13.21 mail permitted",
        "4.9.4 explicit policy there",
    ):
        verdict(tmp_path, CASES[name], capsys)
        pem = b"".join(each.public_bytes(Encoding.PEM) for each in CASES[name].leaf.chain)
        (tmp_path / "chain.pem").write_bytes(pem)
        at = str(int(NOW.timestamp()))
        arguments = ("-CAfile", "anchor-0.pem", "-untrusted", "chain.pem", "-attime", at, "leaf.crt")
        assert "leaf.crt: OK" in openssl("verify", "-purpose", "sslclient", *arguments, cwd=tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [("leaf.crt", b""), ("leaf.crt", b"nothing"), ("anchor-0.pem", b""), ("list-0.crl", b"x"), ("chain-0.der", b"0")],
)
def test_a_file_that_cannot_be_used_is_no_verdict(tmp_path, capsys, name, content):
    """Exit code 2: neither trusted nor refused."""
    case = CASES["4.4.3 revoked leaf"]
    verdict(tmp_path, case, capsys)
    (tmp_path / name).write_bytes(content)
    files = [str(tmp_path / each) for each in ("leaf.crt", "chain-0.der")]
    lists = ["--crl", str(tmp_path / "list-0.crl"), "--crl", str(tmp_path / "list-1.crl")]
    assert run(["cert", "verify", "--ca", str(tmp_path / "anchor-0.pem"), *lists, *files]) == 2
    assert name in capsys.readouterr().err
