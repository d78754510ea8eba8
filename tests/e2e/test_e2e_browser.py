"""What a person sees: Chromium from outside, with alice's certificate in its store and without one.

Pictures of it are left in artefacts/.
"""

from __future__ import annotations

import pytest
from support.browser import Browser, chooses_certificate
from support.credentials import P12_PASSWORD
from support.gateway import HOST, INSIDE, settings_for
from support.pki import openssl
from support.waiting import until

pytestmark = pytest.mark.e2e

SITE = f"https://{HOST}"
PICTURE = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"><rect width="40" height="30" fill="teal"/></svg>'
)
PAGE = b"""<!DOCTYPE html><html lang="en"><head><title>Webmail</title></head><body><h1>Inbox</h1>
<img src="/webmail/logo.svg" alt=""><p id="new">?</p>
<script>fetch("/webmail/new").then(r => r.text()).then(t => document.querySelector("#new").textContent = t)</script>
</body></html>"""


@pytest.fixture(scope="module")
def gateway(start, credentials, mail):
    """A browser can't choose its address, so here its 127.0.0.1 is outside."""
    settings = settings_for(
        credentials.site,
        mail.url,
        networks={"internal": ["127.0.0.9/32"]},
        pages={"contact": "helpdesk@example.com"},
    )
    return start(settings)


@pytest.fixture(scope="module")
def _chooses():
    with chooses_certificate():
        yield


@pytest.fixture
def browse(gateway, credentials, tmp_path, _chooses):
    """Starts a browser with these certificates."""
    browsers = []

    def started(*p12s, **options) -> Browser:
        browser = Browser.start(tmp_path, gateway.port, trusted=credentials.server_ca, p12s=p12s, **options)
        browsers.append(browser)
        return browser

    yield started
    for browser in browsers:
        browser.stop()


def answered(gateway) -> dict[str, tuple]:
    """URI → (status, reason, subject) of whatever was asked for; the last one, for a URI asked twice."""
    return {
        record["uri"]: (record["status"], record["reason"], record["cert_subject"])
        for record in gateway.log.records()
        if record["method"] is not None and record["client_ip"] == INSIDE
    }


def test_a_certificate_opens_the_webmail_and_all_that_its_page_loads(gateway, credentials, mail, browse):
    mail.answer("/webmail", lambda dialogue: dialogue.answer(PAGE, b"Content-Type: text/html; charset=utf-8"))
    mail.answer("/webmail/logo.svg", lambda dialogue: dialogue.answer(PICTURE, b"Content-Type: image/svg+xml"))
    mail.answer("/webmail/new", lambda dialogue: dialogue.answer(b"2 new messages", b"Content-Type: text/plain"))
    # Somebody else's certificate is in the store as well: the CA names in the handshake keep it out of the choice.
    stranger = credentials["stranger"]
    files = ("-in", str(stranger.certificate), "-inkey", str(stranger.key), "-out", "stranger.p12")
    openssl("pkcs12", "-export", *files, "-passout", "pass:other", cwd=credentials.folder)
    browser = browse((credentials.folder / "stranger.p12", "other"), (credentials.p12, P12_PASSWORD))

    browser.open(f"{SITE}/webmail")
    browser.wait_for("document.querySelector('#new').textContent === '2 new messages'")

    assert browser.evaluate("document.title") == "Webmail"
    assert browser.evaluate("document.querySelector('img').naturalWidth") == 40
    assert browser.keep_picture("webmail").startswith(b"\x89PNG")
    subject = "emailAddress=alice@example.com,CN=alice,O=Example Ltd,C=DE"
    asked = {"/webmail", "/webmail/logo.svg", "/webmail/new"}
    until(lambda: asked <= answered(gateway).keys(), "all that the page loads is logged")
    assert {answered(gateway)[uri] for uri in asked} == {(200, None, subject)}


def test_without_a_certificate_a_german_reads_in_german_what_is_missing(gateway, mail, browse):
    browser = browse(languages="de-DE,de")

    browser.open(f"{SITE}/webmail")

    assert browser.evaluate("document.documentElement.lang") == "de"
    text = browser.evaluate("document.body.innerText")
    assert "Zertifikat" in text
    assert "certificate_missing" in text
    assert browser.evaluate("document.querySelector('a').href") == "mailto:helpdesk@example.com"
    assert browser.keep_picture("refusal").startswith(b"\x89PNG")
    refused = (403, "certificate_missing", None)
    until(lambda: answered(gateway).get("/webmail") == refused, "the refusal is logged, behind what others asked for")
    assert not mail.received


def test_the_page_fits_a_phone_and_has_its_own_style(browse):
    browser = browse(languages="de-DE,de")
    browser.be_a_phone()

    browser.open(f"{SITE}/webmail")

    # The page's policy lets exactly its own style in; were the hash wrong, the text would stand there bare.
    assert browser.evaluate("getComputedStyle(document.querySelector('main')).paddingLeft") == "20px"
    assert browser.evaluate("document.documentElement.scrollWidth") == browser.evaluate("innerWidth")
    assert browser.keep_picture("refusal-phone").startswith(b"\x89PNG")
    browser.be_dark()
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 21, 27)"
    browser.keep_picture("refusal-phone-dark")
