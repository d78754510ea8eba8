"""Device kits in real browsers and a real mail program: what the desk makes, where the guide says, opens the mail."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from support.browser import Browser, chooses_certificate
from support.desk import open_desk
from support.desk_command import PASSPHRASE, DeskFolder
from support.gateway import HOST, settings_for
from support.mozilla import FIREFOX, THUNDERBIRD, Mozilla, policies_of
from support.waiting import until

from gateway.pki import authority, keys, pkcs8, profiles
from gateway.pki.registry.records import Purpose
from gateway.pki.words import KeyKind

pytestmark = pytest.mark.e2e

ALICE = "alice@example.com"
PATIENCE_SECONDS = 60.0  # policies are applied while it starts
SUBJECT = "CN=Alice Example,O=Example Ltd"
PAGE = b"<!DOCTYPE html><html lang=en><title>Webmail</title><h1>Inbox</h1></html>"


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """An authority, the gateway's certificate from it, alice's certificate, and a stranger's of another authority."""
    desk = DeskFolder(tmp_path_factory.mktemp("desk"))
    for name, organization in (("corp", "Example Ltd"), ("other", "Other Ltd")):
        desk.run("ca", "init", name, "--organization", organization, "--key", "ecdsa-p256")
    desk.run("cert", "server", HOST, "--ca", "corp")
    desk.run("cert", "issue", ALICE, "--ca", "corp", "--name", "Alice Example")
    desk.run("cert", "issue", "mallory@example.net", "--ca", "other")
    return desk


@pytest.fixture(scope="module")
def gateway(start, desk, mail):
    """A browser can't choose its address, so here its 127.0.0.1 is outside."""
    pki = desk.path / "pki/corp"
    site = {
        "certificate": str(desk.path / f"{HOST}.crt"),
        "key": str(desk.path / f"{HOST}.key"),
        "client_ca": [str(pki / "corp.crt")],
        "crl": [str(pki / "corp.crl")],
    }
    return start(settings_for(site, mail.url, networks={"internal": ["127.0.0.9/32"]}))


@pytest.fixture
def kit(desk, tmp_path):
    """Makes alice's kit of a kind; its folder."""

    def made(kind):
        files = ("--p12", f"{ALICE}.p12", "--password-file", f"{ALICE}.password", "--out", tmp_path / "kit")
        desk.run("cert", "profile", ALICE, "--kind", kind, "--host", HOST, *files)
        return tmp_path / "kit"

    return made


@pytest.fixture(autouse=True)
def _page(mail):
    mail.answer("/webmail", lambda dialogue: dialogue.answer(PAGE, b"Content-Type: text/html; charset=utf-8"))


def subjects(gateway):
    return {
        (record["status"], record["reason"], record["cert_subject"])
        for record in gateway.log.records()
        if record["uri"] == "/webmail"
    }


def test_firefox_with_a_kits_policies_and_certificate_opens_the_mail(gateway, desk, kit, tmp_path):
    """The root is trusted and the certificate chosen by the policies alone: nobody clicks, nothing is asked."""
    folder = kit("firefox")
    p12 = folder / f"{ALICE}.p12", desk.secret(f"{ALICE}.password")

    with policies_of(folder, FIREFOX), Mozilla.start(tmp_path, FIREFOX, p12=p12) as firefox:
        firefox.open(f"https://{HOST}:{gateway.port}/webmail")

        assert firefox.evaluate("document.title") == "Webmail"
        assert firefox.keep_picture("webmail-firefox").startswith(b"\x89PNG")
    until(lambda: (200, None, SUBJECT) in subjects(gateway), "alice's request is logged")


def test_firefox_without_a_certificate_is_told_so(gateway, kit, mail, tmp_path):
    with policies_of(kit("firefox"), FIREFOX), Mozilla.start(tmp_path, FIREFOX) as firefox:
        firefox.open(f"https://{HOST}:{gateway.port}/webmail")

        assert "certificate_missing" in firefox.evaluate("document.body.innerText")
        firefox.keep_picture("refusal-firefox")
    assert not mail.received


# What Thunderbird thinks of the certificates it has: name, and whether it is trusted for servers and for mail.
TRUST = """(() => {
    const found = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
    const {TRUSTED_SSL, TRUSTED_EMAIL} = Ci.nsIX509CertDB;
    const isTrusted = (each, use) => found.isCertTrusted(each, Ci.nsIX509Cert.CA_CERT, use);
    return found.getCerts().map(
        each => [each.commonName, isTrusted(each, TRUSTED_SSL), isTrusted(each, TRUSTED_EMAIL)]);
})()"""


def test_thunderbird_with_a_kits_policies_trusts_the_root_and_chooses_by_itself(desk, kit, tmp_path):
    folder = kit("thunderbird")
    p12 = folder / f"{ALICE}.p12", desk.secret(f"{ALICE}.password")

    with policies_of(folder, THUNDERBIRD), Mozilla.start(tmp_path, THUNDERBIRD, p12=p12) as thunderbird:
        choice = thunderbird.evaluate_inside('Services.prefs.getStringPref("security.default_personal_cert")')
        assert choice == "Select Automatically"
        until(
            lambda: ["corp Root CA", True, True] in thunderbird.evaluate_inside(TRUST),
            "the root is trusted",
            seconds=PATIENCE_SECONDS,
        )
        assert "Alice Example" in {name for name, *_ in thunderbird.evaluate_inside(TRUST)}


def test_chromium_with_a_kits_policy_and_certificate_opens_the_mail(gateway, desk, kit, tmp_path):
    """A stranger's certificate lies beside alice's; the policy takes the one of the kit's authority."""
    folder = kit("chrome")
    stranger = desk.path / "mallory@example.net.p12", desk.secret("mallory@example.net.password")
    p12s = stranger, (folder / f"{ALICE}.p12", desk.secret(f"{ALICE}.password"))

    with (
        chooses_certificate((folder / "chrome-policy.json").read_text()),
        Browser.start(tmp_path, gateway.port, trusted=folder / "root.crt", p12s=p12s) as browser,
    ):
        browser.open(f"https://{HOST}/webmail")

        assert browser.evaluate("document.title") == "Webmail"
    until(lambda: (200, None, SUBJECT) in subjects(gateway), "alice's request is logged")


@pytest.fixture(scope="module")
def forged(start, desk, mail):
    """A gateway whose certificate a thief has made, with the key of the authority that signs people."""
    own = open_desk(desk.path)
    signer = authority.unlock(own, "corp", PASSPHRASE)
    own.registry.close()
    key = keys.make(KeyKind.ECDSA_P256)
    certificate = profiles.leaf_certificate(
        purpose=Purpose.SERVER,
        names=profiles.Names(common_name=HOST, hosts=(x509.DNSName(HOST),)),
        public_key=key.public_key(),
        validity=profiles.Validity.of_days(datetime.now(UTC), 30),
        issuer=signer.issuer,
    )
    chain = b"".join(each.public_bytes(Encoding.PEM) for each in (certificate, signer.certificate))
    (desk.path / "forged.crt").write_bytes(chain)
    (desk.path / "forged.key").write_bytes(pkcs8.plain_pem(key))
    site = {"certificate": str(desk.path / "forged.crt"), "key": str(desk.path / "forged.key")}
    site["client_ca"] = [str(desk.path / "pki/corp/corp.crt")]
    return start(settings_for(site, mail.url, networks={"internal": ["127.0.0.0/8"]}))


def test_chromium_takes_no_servers_certificate_of_the_authority_for_people(forged, kit, tmp_path):
    """Its root is trusted, and the certificate names the host; the authority may not sign it."""
    folder = kit("chrome")
    with (
        Browser.start(tmp_path, forged.port, trusted=folder / "root.crt") as browser,
        pytest.raises(AssertionError, match="ERR_CERT_"),
    ):
        browser.open(f"https://{HOST}/webmail")


def test_firefox_takes_none_either(forged, kit, tmp_path):
    with (
        policies_of(kit("firefox"), FIREFOX),
        Mozilla.start(tmp_path, FIREFOX) as firefox,
        pytest.raises(AssertionError, match="insecure certificate"),
    ):
        firefox.open(f"https://{HOST}:{forged.port}/webmail")
