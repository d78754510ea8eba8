"""pkilint, which judges public authorities' certificates by the RFCs and the CA/Browser Forum's rules, agrees with what
the desk makes. What it finds all the same is named here, each with the reason why it stays.
"""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPRequestBuilder
from support.desk import Files, issue_to, make_authority, open_desk

from gateway.pki import crl, issue, keys, lifecycle, ocsp, ocsp_signer
from gateway.pki.registry.records import Purpose, RevocationReason
from gateway.pki.words import KeyKind, Signs

# pkilint leaves the files that it was given open.
pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")]

URLS = {
    "crl_url": "http://pki.example.com/corp.crl",
    "ocsp_url": "http://pki.example.com/ocsp",
    "issuer_url": "http://pki.example.com/corp.cer",
}
# The reserved policy identifiers (2.23.140.1.5.…) say that an authority is audited after the S/MIME requirements. A
# private one isn't, and one that claims to be would lie.
POLICIES = ("cabf.smime.certificate_policies_extension_missing", None)
# "Sponsored" certificates name the organization's number in a register, and given name and surname apart, each checked
# by the authority. The desk has one name for a person, as an address book has it, and no register.
SPONSORED = {
    ("cabf.smime.missing_required_attribute", "Missing required attribute: 2.5.4.97"),
    ("cabf.smime.missing_required_attribute", "Missing one of these required attributes: 2.5.4.4, 2.5.4.42, 2.5.4.65"),
    ("cabf.smime.common_name_value_unknown_source", 'Unknown CN value source: "Alice Example"'),
}
# Ten days are asked of lists for public web servers. A private list lives longer (`--crl-lifetime`), so that a desk
# that nobody sits at over the holidays locks nobody out.
# Public lists know no hold either; here a lost phone may be found again (`gateway cert hold`).
LISTS = {"cabf.crl_invalid_validity_period", "cabf.crl_prohibited_reason_code"}
ROOTS = [KeyKind.ECDSA_P256, KeyKind.RSA_2048]
MAIL = [Purpose.CLIENT, Purpose.SMIME, Purpose.SMIME_SIGNING, Purpose.SMIME_ENCRYPTION]


def lint(linter, *arguments):
    """(code, message) of everything that pkilint finds worth a note."""
    program = import_module(f"pkilint.bin.lint_{linter}")  # it takes a second, and every process imports this file
    written = io.StringIO()
    with redirect_stdout(written):
        code = program.main(["lint", "-f", "JSON", "-s", "NOTICE", *map(str, arguments)])
    results = json.loads(written.getvalue())["results"]
    found = [(each["code"], each["message"]) for result in results for each in result["finding_descriptions"]]
    assert code == len(found)
    return set(found)


class House:
    """A root and an authority below it, bound to a domain, with every pointer; and files of what they sign."""

    def __init__(self, folder, kind):
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.desk = open_desk(folder)
        self.kind = kind
        options = {"now": self.now, "kind": kind, **URLS}
        subject = {"organization": "Example Ltd", "country": "DE", "domain": "example.com"}
        self.root = make_authority(self.desk, "root", **subject, **options)
        below = {"parent": self.root, "days": 999}
        self.corp = make_authority(self.desk, "corp", signs=Signs.PEOPLE, **below, **subject, **options)
        self.servers = make_authority(self.desk, "servers", signs=Signs.SERVERS, **below, **subject, **options)
        self.plain = make_authority(self.desk, "plain", **options)
        self._folder = folder

    def issue(self, signer, email="alice@example.com", name=None, **options):
        return issue_to(self.desk, signer, email, name, key=keys.make(self.kind), now=self.now, **options)

    def write(self, certificate):
        path = self._folder / f"{certificate.serial_number:x}.pem"
        path.write_bytes(certificate.public_bytes(Encoding.PEM))
        return path


@pytest.fixture(scope="module", params=ROOTS)
def house(request, tmp_path_factory):
    house = House(tmp_path_factory.mktemp("lint"), request.param)
    yield house
    house.desk.registry.close()


def test_authorities(house):
    root = house.write(house.root.certificate)
    assert lint("pkix_cert", root) == set()
    for below in map(house.write, (house.corp.certificate, house.servers.certificate)):
        assert lint("pkix_cert", below) == set()
        assert lint("pkix_signer_signee_cert_chain", root, below) == set()


@pytest.mark.parametrize("purpose", MAIL)
def test_people_at_an_organization(house, purpose):
    upn = "alice@example.com" if purpose is Purpose.CLIENT else None
    email = f"alice.{purpose}@example.com"
    issued = house.issue(house.corp, email, "Alice Example", purpose=purpose, device=None, upn=upn)
    certificate = house.write(issued.certificate)
    assert lint("pkix_cert", certificate) == set()
    assert lint("pkix_signer_signee_cert_chain", house.write(house.corp.certificate), certificate) == set()
    assert lint("cabf_smime_cert", "-t", "SPONSORED-MULTIPURPOSE", certificate) == {POLICIES, *SPONSORED}
    lifecycle.revoke(house.desk, house.corp, [issued.record], RevocationReason.UNSPECIFIED, house.now)


@pytest.mark.parametrize("purpose", MAIL)
def test_an_address_alone(house, purpose):
    """A mailbox-validated certificate names the address and nothing else: only the claim is missing."""
    issued = house.issue(house.plain, f"{purpose}@example.com", purpose=purpose)
    certificate = house.write(issued.certificate)
    assert lint("cabf_smime_cert", "-t", "MAILBOX-MULTIPURPOSE", certificate) == {POLICIES}


def test_a_login_a_server_and_an_ocsp_signer(house):
    login = house.issue(house.corp, "login@example.com", purpose=Purpose.AUTH)
    order = issue.Order(
        email=None, common_name="imap.example.com", purpose=Purpose.SERVER, hosts=(x509.DNSName("imap.example.com"),)
    )
    server = issue.issue(house.desk, house.servers, order, keys.make(house.kind), house.now, Files())
    signer = ocsp_signer.make_signer(house.desk, house.corp, house.now)
    made = ((house.corp, login.certificate), (house.servers, server.certificate), (house.corp, signer.certificate))
    for authority, certificate in made:
        path = house.write(certificate)
        assert lint("pkix_cert", path) == set()
        assert lint("pkix_signer_signee_cert_chain", house.write(authority.certificate), path) == set()


def test_lists_with_every_reason(house):
    for number, reason in enumerate(RevocationReason):
        record = house.issue(house.corp, f"gone{number}@example.com").record
        if reason is RevocationReason.CERTIFICATE_HOLD:
            lifecycle.hold(house.desk, house.corp, [record], house.now)
        else:
            lifecycle.revoke(house.desk, house.corp, [record], reason, house.now + timedelta(seconds=number))
    path = house.desk.file("corp", "crl")
    assert len(list(x509.load_pem_x509_crl(path.read_bytes()))) >= len(RevocationReason)
    assert lint("crl", "-t", "CRL", "-p", "PKIX", path) == set()
    empty = house.desk.file("root", "crl")
    assert lint("crl", "-t", "ARL", "-p", "PKIX", empty) == set()
    assert {code for code, _ in lint("crl", "-t", "CRL", "-p", "BR", path)} == LISTS
    short = crl.build(house.corp, [], number=1, this_update=house.now, lifetime=timedelta(days=9))
    path.with_suffix(".short").write_bytes(short.public_bytes(Encoding.PEM))
    assert lint("crl", "-t", "CRL", "-p", "BR", path.with_suffix(".short")) == set()


def test_ocsp_answers(house):
    signer = ocsp_signer.make_signer(house.desk, house.corp, house.now)
    good, gone = house.issue(house.corp, "good@example.com"), house.issue(house.corp, "bad@example.com")
    lifecycle.revoke(house.desk, house.corp, [gone.record], RevocationReason.KEY_COMPROMISE, house.now)
    unknown = house.issue(house.plain, "unknown@example.com")
    for issued in (good, gone, unknown):
        builder = OCSPRequestBuilder().add_certificate(issued.certificate, house.corp.certificate, hashes.SHA256())
        request = builder.add_extension(x509.OCSPNonce(b"n" * 32), critical=False).build()
        answer = ocsp.respond(request.public_bytes(Encoding.DER), house.desk.registry, lambda _name: signer, house.now)
        path = house.desk.folder / "answer.der"
        path.write_bytes(answer.der)
        assert lint("ocsp_response", path) == set()
