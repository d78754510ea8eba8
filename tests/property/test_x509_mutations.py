"""Certificates, lists, OCSP answers, requests and keys with faults in them: an answer, or the package's own error.

The originals are those of `cryptography`'s own tests and some with everything in them. Half of the mutations of ours
are signed anew, so that what is behind the signature is reached too. `make soak` tries others.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import cryptography_vectors
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from support.desk import PASSPHRASE, make_authority, open_desk
from support.mutations import Mutator, signed_again, tree
from support.ocsp import response
from support.pki import NOW, Ca, Leaf, build_crl, upn
from support.teletex import name as teletex_name

from gateway.config.certificates import Material
from gateway.config.list_check import ListCheck
from gateway.config.problems import START, Place, Problems
from gateway.config.reading import Value
from gateway.errors import ConfigError, GatewayError, UsageError
from gateway.facts import Reason
from gateway.fetching.list_store import check_successor
from gateway.pki import intake, pkcs8, requests
from gateway.pki.ocsp import respond
from gateway.tls.client_cert import examine
from gateway.tls.trust import load_anchors, make_trust
from gateway.x509.authorities import descends, is_constrained
from gateway.x509.ca_names import named_in_request
from gateway.x509.host_names import uncovered_hosts
from gateway.x509.loading import load_private_key, parse_certificates
from gateway.x509.ocsp import OcspError, request_for, responder_url, verify_response
from gateway.x509.revocation_list import parse_lists
from gateway.x509.strength import weakness_of_signature
from gateway.x509.unreadable import UNREADABLE

# Of names and serials that are odd `cryptography` warns, which every program of the gateway ignores.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

VECTORS = Path(cryptography_vectors.__file__).parent
SEEDS = [int(seed) for seed in os.environ.get("SOAK_SEEDS", "1").split()]
ROUNDS = 1200  # for each kind of input; 10 seconds together
MAX_ORIGINAL_BYTES = 16 * 1024
KEYS = [ec.derive_private_key(number + 2**200, ec.SECP256R1()) for number in range(3)]


ROOT, MIDDLE, LEAF = range(3)
ROOT_NAME = x509.Name.from_rfc4514_string("C=DE,O=Example Ltd,CN=Root")


def originals(*folders: str) -> list[bytes]:
    """The files of `cryptography`'s tests in these folders, as DER; what is no PEM and no DER is left out."""
    found = []
    for folder in folders:
        for path in sorted((VECTORS / folder).iterdir()):
            if path.suffix in {".pem", ".der", ".crt"} and path.stat().st_size < MAX_ORIGINAL_BYTES:
                found += ders(path.read_bytes())
    return list(filter(is_whole, found))


def is_whole(der: bytes) -> bool:
    try:
        tree(der)
    except ValueError:
        return False
    return True


def ders(data: bytes) -> list[bytes]:
    if b"-----BEGIN" not in data:
        return [data] if data[:1] == b"0" else []
    blocks = data.split(b"-----BEGIN ")[1:]
    return [
        base64.b64decode(block.partition(b"-----\n")[2].partition(b"-----END")[0])
        for block in blocks[:1]
        if b":" not in block
    ]


def identifiers(key, issuer_key, serial):
    """`serial` is the issuer's own, in the root's name."""
    digest = x509.SubjectKeyIdentifier.from_public_key(issuer_key.public_key()).digest
    return [
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier(digest, [x509.DirectoryName(ROOT_NAME)], serial), False),
    ]


def usage(**wanted):
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign"
        " encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: wanted.get(name, False) for name in names.split()}), True


def points():
    where = x509.UniformResourceIdentifier("http://pki.example.com/a.crl")
    reasons = frozenset({x509.ReasonFlags.key_compromise})
    relative = x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, "a")])
    return [
        x509.DistributionPoint([where], None, None, None),
        x509.DistributionPoint(None, relative, reasons, [x509.DirectoryName(teletex_name())]),
    ]


def policies(*oids):
    notice = x509.UserNotice(x509.NoticeReference("Example", [1, 2]), "read this")
    return [
        (
            x509.CertificatePolicies(
                [x509.PolicyInformation(ObjectIdentifier(oid), ["http://a/", notice]) for oid in oids]
            ),
            False,
        )
    ]


def chain() -> tuple[Ca, Ca, Leaf]:
    """A root, an intermediate and a leaf that is trusted, with every extension that is read."""
    names = [x509.RFC822Name("example.com"), x509.DNSName("example.com"), x509.IPAddress(ip_network("10.0.0.0/8"))]
    root_key, middle_key, key = KEYS
    about = [(x509.BasicConstraints(ca=True, path_length=3), True), usage(key_cert_sign=True, crl_sign=True)]
    root = Ca.make(ROOT_NAME, key=root_key, serial=1, extensions=[*about, *identifiers(root_key, root_key, 1)])
    mapping = x509.UnrecognizedExtension(ObjectIdentifier("2.5.29.33"), bytes.fromhex("300c300a06032a030406032a0304"))
    middle = root.issue_ca(
        teletex_name("Middle"),
        key=middle_key,
        serial=2,
        extensions=[
            *about,
            *identifiers(middle_key, root_key, 1),
            *policies("1.2.3.4"),
            (
                x509.NameConstraints(names, [x509.DNSName("bad.example.com"), x509.IPAddress(ip_network("fd00::/8"))]),
                True,
            ),
            (x509.PolicyConstraints(0, 3), True),
            (x509.InhibitAnyPolicy(2), True),
            (mapping, False),
            (x509.CRLDistributionPoints(points()), False),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),
        ],
    )
    holder = [
        x509.RFC822Name("alice@example.com"),
        x509.DNSName("alice.example.com"),
        x509.IPAddress(ip_address("10.1.2.3")),
        x509.UniformResourceIdentifier("http://alice.example.com/"),
        x509.RegisteredID(ObjectIdentifier("1.2.3")),
        upn("alice@example.com"),
        x509.DirectoryName(teletex_name()),
    ]
    responder = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://a/"))
    leaf = middle.issue(
        "C=DE,O=Example Ltd,CN=alice,1.2.840.113549.1.9.1=alice@example.com",
        key=key,
        serial=3,
        extensions=[
            (x509.BasicConstraints(ca=False, path_length=None), True),
            usage(digital_signature=True),
            *identifiers(key, middle_key, 2),
            *policies("1.2.3.4"),
            (x509.SubjectAlternativeName(holder), False),
            (x509.CRLDistributionPoints(points()), False),
            (x509.AuthorityInformationAccess([responder]), False),
        ],
    )
    return root, middle, leaf


def lists(root: Ca, middle: Ca) -> tuple[bytes, bytes, bytes]:
    """Of the root, of the intermediate with everything in it, and what has changed in that one."""
    more = [
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(KEYS[MIDDLE].public_key()), False),
        (x509.IssuerAlternativeName([x509.RFC822Name("ca@example.com")]), False),
        (x509.FreshestCRL(points()), False),
        (
            x509.IssuingDistributionPoint(
                [x509.UniformResourceIdentifier("http://pki.example.com/a.crl")], None, True, False, None, False, False
            ),
            True,
        ),
    ]
    entries = [5, 6, 7]
    delta = (x509.DeltaCRLIndicator(1), True)
    reason = x509.ReasonFlags.key_compromise
    made = (
        build_crl(root, entries),
        build_crl(middle, entries, extensions=more, reason=reason),
        build_crl(middle, [8], number=2, extensions=[*more, delta], reason=x509.ReasonFlags.remove_from_crl),
    )
    root_list, middle_list, changes = (crl.public_bytes(Encoding.DER) for crl in made)
    return (
        signed_again(root_list, KEYS[ROOT]),
        signed_again(middle_list, KEYS[MIDDLE]),
        signed_again(changes, KEYS[MIDDLE]),
    )


CHAIN = chain()
DERS = [signed_again(each.der, key) for each, key in zip(CHAIN, (KEYS[ROOT], KEYS[ROOT], KEYS[MIDDLE]), strict=True)]
*LISTS, DELTA = lists(*CHAIN[:2])
CERTIFICATES = originals("x509", "x509/custom", "x509/ed25519", "x509/ed448")
STRANGERS = [x509.load_der_x509_certificate(der) for der in DERS]


def mutate(mutator: Mutator, der: bytes, key=None) -> bytes:
    """`der` with faults; with a key, half of them are signed anew."""
    data = mutator.mutated(der)
    if key is not None and mutator.choose((True, False)):
        try:
            return signed_again(data, key)
        except (ValueError, IndexError):  # too broken for that
            return data
    return data


def known(error: type[GatewayError], read: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """What `read` says; None for the one error that it may raise."""
    try:
        return read(*arguments, **named)
    except error:
        return None


def pem(der: bytes, label: str) -> bytes:
    return f"-----BEGIN {label}-----\n".encode() + base64.encodebytes(der) + f"-----END {label}-----\n".encode()


@pytest.mark.parametrize("seed", SEEDS)
def test_what_clients_show(seed):
    """A certificate and a chain, judged with lists."""
    mutator = Mutator(seed)
    found = tuple(entry for der in LISTS for entry in parse_lists(der, "a.crl"))
    trust = make_trust([STRANGERS[ROOT]], found, "if_present")
    assert examine(DERS[LEAF], [DERS[MIDDLE]], trust, NOW).judgement.reason is None
    reasons = set()
    for number in range(ROUNDS * 2):
        leaf, middle = DERS[LEAF], DERS[MIDDLE]
        match number % 4:
            case 0 | 1:
                leaf = mutate(mutator, leaf, KEYS[MIDDLE])
            case 2:
                middle = mutate(mutator, middle, KEYS[ROOT])
            case _:
                leaf, middle = mutate(mutator, mutator.choose(CERTIFICATES)), mutator.choose(CERTIFICATES)
        judgement = examine(leaf, [middle], trust, NOW).judgement
        assert judgement.detail
        reasons.add(judgement.reason)
    assert {None, Reason.CERTIFICATE_UNTRUSTED} <= reasons, "they go deep enough"


@pytest.mark.parametrize("seed", SEEDS)
def test_what_administrators_configure(seed, tmp_path):
    """A CA in client_ca, a site's certificate and its lists, as they are checked and as they are loaded."""
    mutator = Mutator(seed)
    places = {name: tmp_path / name for name in ("ca", "list", "key")}
    places["key"].write_bytes(KEYS[LEAF].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    for _ in range(ROUNDS):
        which = mutator.choose((ROOT, ROOT, MIDDLE, LEAF, None))
        der = mutator.choose(CERTIFICATES) if which is None else DERS[which]
        der = mutate(mutator, der, None if which is None else KEYS[max(0, which - 1)])
        places["ca"].write_bytes(pem(der, "CERTIFICATE"))
        places["list"].write_bytes(mutate(mutator, LISTS[ROOT], KEYS[ROOT]))
        check(places)
        serve(places, der)


def check(places: dict[str, Path]) -> None:
    problems = Problems("gateway.yaml")
    material = Material(Path("/"), NOW, problems)
    value = {name: Value(str(path), Place(START), str(path)) for name, path in places.items()}
    authorities = material.authorities(value["ca"])
    anchors = () if authorities is None else authorities.certificates
    material.identity(value["ca"], value["key"], None)
    lists = ListCheck(anchors, NOW, problems)
    lists.add(Place(START), material.revocation_lists(value["list"]))
    lists.check_dates()
    lists.check_coverage(Place(START))
    for anchor in anchors:
        is_constrained(anchor)
        weakness_of_signature(anchor)
        uncovered_hosts(anchor, ("mail.example.com", "[::1]"))
        descends(anchor, (STRANGERS[ROOT],))
    assert all(str(problem) for problem in (*problems.errors, *problems.warnings))


def serve(places: dict[str, Path], der: bytes) -> None:
    anchors = known(ConfigError, load_anchors, [places["ca"]])
    if anchors is None:
        return
    lists = known(ConfigError, parse_lists, places["list"].read_bytes(), "a.crl") or ()
    trust = known(ConfigError, make_trust, anchors, lists, "require")
    if trust is None:
        return
    trust.warnings(NOW)
    named_in_request(anchors)
    for leaf in (DERS[MIDDLE], DERS[LEAF], der):
        assert examine(leaf, [DERS[MIDDLE]], trust, NOW).judgement.detail


@pytest.mark.parametrize("seed", SEEDS)
def test_revocation_lists(seed):
    mutator = Mutator(seed)
    vectors = originals("x509/custom")
    given = [der for der in vectors if is_list(der)]
    whole = [entry for der in LISTS for entry in parse_lists(der, "a.crl")]
    for _ in range(ROUNDS):
        der, key = mutator.choose(
            (
                (LISTS[ROOT], KEYS[ROOT]),
                (LISTS[MIDDLE], KEYS[MIDDLE]),
                (DELTA, KEYS[MIDDLE]),
                (mutator.choose(given), None),
            )
        )
        der = mutate(mutator, der, key)
        data = mutator.choose((der, pem(der, "X509 CRL")))
        stored = mutator.choose((None, LISTS[MIDDLE], data))
        known(ConfigError, check_successor, "http://a/", data, stored, STRANGERS[:2], NOW)
        found = known(ConfigError, parse_lists, data, "a.crl") or ()
        trust = make_trust(STRANGERS[:2], (*found, *whole), mutator.choose(("require", "if_present")))
        trust.warnings(NOW)
        assert examine(DERS[LEAF], (), trust, NOW).judgement.detail


def is_list(der: bytes) -> bool:
    try:
        x509.load_der_x509_crl(der)
    except UNREADABLE:
        return False
    return True


@pytest.mark.parametrize("seed", SEEDS)
def test_ocsp_answers(seed):
    mutator = Mutator(seed)
    leaf, middle = (Leaf(STRANGERS[which], KEYS[which]) for which in (LEAF, MIDDLE))
    own = [
        response(leaf, middle, status, by=by, certificates=(STRANGERS[MIDDLE],))
        for status in (ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED)
        for by in ocsp.OCSPResponderEncoding
    ]
    answers = [*own, *(der for der in originals("x509/ocsp"))]
    about = [*STRANGERS, *filter(None, map(readable, CERTIFICATES))]
    for _ in range(ROUNDS):
        der = mutator.mutated(mutator.choose((mutator.choose(own), mutator.choose(answers))))
        issuer = mutator.choose((STRANGERS[MIDDLE], mutator.choose(about)))
        known(OcspError, verify_response, der, STRANGERS[LEAF], issuer, NOW)
        shown = readable(mutate(mutator, mutator.choose((DERS[LEAF], mutator.choose(CERTIFICATES)))))
        if shown is not None:
            known(OcspError, responder_url, shown)
            known(OcspError, request_for, shown, issuer)


def readable(der: bytes) -> x509.Certificate | None:
    try:
        return parse_certificates(der, "a certificate", takes_der=True)[0]
    except ConfigError:
        return None


@pytest.mark.parametrize("seed", SEEDS)
def test_private_keys(seed, tmp_path):
    mutator = Mutator(seed)
    kinds = ("PKCS8", "Traditional_OpenSSL_Serialization", "PEM_Serialization")
    given = [path.read_bytes() for kind in kinds for path in sorted((VECTORS / "asymmetric" / kind).glob("*.pem"))]
    given = [data for data in given if b"PRIVATE KEY" in data and b"ENCRYPTED" not in data]
    path = tmp_path / "key"
    for _ in range(ROUNDS // 2):
        original = mutator.choose(given)
        label = original.partition(b"-----BEGIN ")[2].partition(b"-----")[0].decode()
        data = pem(mutator.mutated(ders(original)[0]), label)
        path.write_bytes(data)
        password = mutator.choose((None, "secret"))
        known(ConfigError, load_private_key, path, password)
        known(UsageError, pkcs8.load, data, password, "the key")


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.setattr(pkcs8, "SCRYPT_COST", 2**4)
    desk = open_desk(tmp_path)
    make_authority(desk)
    yield desk
    desk.registry.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_what_the_desk_is_given(seed, desk):
    """Authorities to be taken in, with their lists; the name is taken, so that each ends there at the latest."""
    mutator = Mutator(seed)
    key = CHAIN[MIDDLE].key_pem()
    for number in range(ROUNDS // 2):
        certificates, crl = [*DERS[MIDDLE::-1]], LISTS[MIDDLE]
        if number % 2:
            crl = mutate(mutator, crl, KEYS[MIDDLE])
        else:
            which = mutator.choose((0, 0, 1))
            certificates[which] = mutate(mutator, certificates[which], KEYS[ROOT])
        together = b"".join(pem(der, "CERTIFICATE") for der in certificates)
        given = intake.Intake(name="corp", certificate_pem=together, key_pem=key, key_passphrase=None, crl=crl)
        with pytest.raises(GatewayError):
            intake.take_in(desk, given, PASSPHRASE, NOW)


@pytest.mark.parametrize("seed", SEEDS)
def test_requests(seed, desk):
    mutator = Mutator(seed)
    signing, asking = originals("x509/requests"), [der for der in originals("x509/ocsp") if is_request(der)]
    for _ in range(ROUNDS):
        known(UsageError, requests.read, mutator.mutated(mutator.choose(signing)), email="a@example.com", place="a.csr")
        assert respond(mutator.mutated(mutator.choose(asking)), desk.registry, lambda _: None, NOW).der


def is_request(der: bytes) -> bool:
    try:
        ocsp.load_der_ocsp_request(der)
    except (*UNREADABLE, NotImplementedError):
        return False
    return True
