"""Device kits in real browsers and a real mail program: what the desk makes, where the guide says, opens the mail."""

from __future__ import annotations

import pytest
from support.browser import Browser, chooses_certificate
from support.desk_command import DeskFolder
from support.gateway import HOST, settings_for
from support.mozilla import FIREFOX, THUNDERBIRD, Mozilla, policies_of
from support.waiting import until

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
            lambda: ["corp CA", True, True] in thunderbird.evaluate_inside(TRUST),
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
