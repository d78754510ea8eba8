"""Roundcube behind the gateway: a person reads a mail with a large attachment, and sends one, in a browser.

All of it comes from outside, so all of it needs alice's certificate, and her password for Roundcube as well.
"""

from __future__ import annotations

import random
import re
from email.message import EmailMessage
from hashlib import sha256
from urllib.parse import urlencode

import pytest
from support.browser import Browser, chooses_certificate
from support.client import Client
from support.credentials import P12_PASSWORD
from support.gateway import HOST, INSIDE, OUTSIDE, settings_for
from support.roundcube import PASSWORD, Roundcube
from support.waiting import until

pytestmark = pytest.mark.e2e

USER, OTHER = "alice", "bob"
SUBJECT = "emailAddress=alice@example.com,CN=alice,O=Example Ltd,C=DE"
RULES = [
    {
        "name": "Never its own files",
        "uri": ["/roundcube/config", "/roundcube/temp", "/roundcube/logs"],
        "action": "deny",
    },
    {"name": "Roundcube", "from": "external", "uri": ["/roundcube"], "action": "require_certificate"},
    {"name": "Everything else", "action": "deny"},
]
ATTACHED_BYTES = 20 * 2**20
SECONDS = 60.0
# The shown mailbox makes these two requests by itself. Each saves the person's session when it ends, over a compose
# session begun meanwhile: "Requested compose session not found".
MAILBOX_IS_LOADED = """['list', 'getunread'].every(
  action => performance.getEntriesByType('resource').some(({name}) => name.includes(`_action=${action}&`)))"""


@pytest.fixture(scope="module")
def roundcube():
    with Roundcube.started() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(start, credentials, roundcube):
    """Nobody is inside: the browser's 127.0.0.1 isn't either. Unused connections to nginx are closed soon."""
    networks = {"internal": ["127.0.0.9/32"]}
    settings = settings_for(
        credentials.site, roundcube.url, rules=RULES, networks=networks, pages={"contact": "helpdesk@example.com"}
    )
    settings["upstreams"]["mail"]["timeouts"] = {"idle": "1s"}
    return start(settings)


@pytest.fixture(scope="module")
def _chooses():
    with chooses_certificate():
        yield


@pytest.fixture
def browse(gateway, credentials, tmp_path, _chooses):
    """Starts a browser with these certificates."""
    browsers = []

    def started(*p12s) -> Browser:
        browsers.append(Browser.start(tmp_path, gateway.port, trusted=credentials.server_ca, p12s=p12s))
        return browsers[-1]

    yield started
    for browser in browsers:
        browser.stop()


@pytest.fixture
def webmail(browse, credentials):
    """alice's browser, logged in."""
    browser = browse((credentials.p12, P12_PASSWORD))
    browser.open(f"https://{HOST}/roundcube/")
    browser.type_into("#rcmloginuser", USER)
    browser.type_into("#rcmloginpwd", PASSWORD)
    browser.keep_picture("roundcube-login")
    browser.click("#rcmloginsubmit")
    browser.wait_for("location.search.includes('_task=mail') && document.querySelector('#messagelist') !== null")
    browser.wait_for(MAILBOX_IS_LOADED)
    return browser


def large(seed: int) -> bytes:
    """An attachment that nothing makes shorter."""
    return random.Random(seed).randbytes(ATTACHED_BYTES)


def records_of(gateway, **wanted) -> list[dict]:
    """The access log's lines that have these values; `uri` is a part of it."""
    uri = wanted.pop("uri")
    found = [record for record in gateway.log.records() if uri in (record["uri"] or "")]
    return [record for record in found if wanted.items() <= record.items()]


def test_a_mail_with_a_large_attachment_is_read_and_saved(gateway, roundcube, webmail, tmp_path):
    figures = large(1)
    mail = EmailMessage()
    mail["From"], mail["To"] = "Bob Example <bob@example.com>", "alice@example.com"
    mail["Subject"], mail["Date"] = "Quarterly figures", "Tue, 24 Nov 2026 09:00:00 +0000"
    mail.set_content("They are attached.\n")
    mail.add_attachment(figures, maintype="application", subtype="octet-stream", filename="figures.bin")
    roundcube.dovecot.deliver(USER, mail.as_bytes())

    webmail.open(f"https://{HOST}/roundcube/?_task=mail&_mbox=INBOX")
    webmail.wait_for("document.querySelector('tr.message .subject a')?.innerText.includes('Quarterly figures')")
    webmail.keep_picture("roundcube-inbox")
    webmail.click("tr.message .subject a")
    webmail.wait_until_seen("#messagebody", frame="#messagecontframe")
    webmail.keep_picture("roundcube-message")
    webmail.save_downloads(tmp_path)
    webmail.click("#attachment-list a.filename", frame="#messagecontframe")

    saved = tmp_path / "figures.bin"
    until(saved.exists, "the attachment is saved", seconds=SECONDS)
    assert sha256(saved.read_bytes()).digest() == sha256(figures).digest()
    (record,) = until(lambda: records_of(gateway, uri="_download=1"), "the download is logged")
    assert (record["status"], record["rule"], record["cert_subject"]) == (200, "Roundcube", SUBJECT)
    assert record["bytes_out"] == ATTACHED_BYTES


def test_a_mail_with_a_large_attachment_is_sent_and_arrives(gateway, roundcube, webmail, tmp_path):
    plans = tmp_path / "plans.bin"
    plans.write_bytes(large(2))

    webmail.open(f"https://{HOST}/roundcube/?_task=mail&_action=compose")
    webmail.wait_for("document.querySelector('#composebody') !== null")
    webmail.type_into("#compose_to .recipient-input input", "bob@example.com,")
    webmail.type_into("#compose-subject", "Our plans")
    webmail.type_into("#composebody", "See the attachment.")
    webmail.choose_files("#uploadform input[type=file]", plans)
    webmail.wait_for("document.querySelector('#attachment-list li:not(.uploading)')?.innerText.includes('plans.bin')")
    webmail.keep_picture("roundcube-compose")
    webmail.click("button.send")
    webmail.wait_for("document.querySelector('#messagestack')?.innerText.includes('Message sent successfully')")

    (kept,) = roundcube.dovecot.mails(USER, "Sent")
    (arrived,) = until(lambda: roundcube.dovecot.mails(OTHER), "bob has the mail", seconds=SECONDS)
    assert arrived["Message-ID"] == kept["Message-ID"]
    assert (arrived["Subject"], arrived["From"], arrived["To"]) == (
        "Our plans",
        "alice <alice@example.com>",
        "bob@example.com",
    )
    assert arrived.get_body().get_content().strip() == "See the attachment."
    (attached,) = arrived.iter_attachments()
    assert attached.get_filename() == "plans.bin"
    assert sha256(attached.get_content()).digest() == sha256(plans.read_bytes()).digest()
    (record,) = records_of(gateway, uri="_action=upload", method="POST")
    assert (record["status"], record["rule"], record["cert_subject"]) == (200, "Roundcube", SUBJECT)
    assert record["bytes_in"] > ATTACHED_BYTES


def test_without_a_certificate_a_page_says_what_is_missing(gateway, browse):
    browser = browse()
    browser.open(f"https://{HOST}/roundcube/")
    assert "certificate_missing" in browser.evaluate("document.body.innerText")
    assert browser.keep_picture("roundcube-refusal").startswith(b"\x89PNG")
    with Client(gateway.port, source=OUTSIDE) as client:
        assert client.ask("GET", "/roundcube/?_task=login").verdict == (403, "certificate_missing")


def test_its_own_files_are_not_shown_to_anybody(gateway, credentials):
    with Client(gateway.port, source=OUTSIDE, identity=credentials["alice"]) as client:
        for name in ("config/config.inc.php", "CONFIG/", "temp/x", "logs/errors.log"):
            assert client.ask("GET", f"/roundcube/{name}").verdict == (403, "denied_by_rule")
        assert client.ask("GET", "/roundcube/program/include/rcmail.php").status == 404


def test_roundcube_knows_the_client_and_that_its_connection_is_secure(gateway, roundcube, credentials):
    with Client(gateway.port, source=OUTSIDE, identity=credentials["alice"]) as client:
        page = client.ask("GET", "/roundcube/")
        (cookie,) = [value for name, value in page.fields if name == "Set-Cookie"]
        assert "secure" in cookie.split("; ")
        token = re.search(rb'name="_token" value="(\w+)"', page.body)[1].decode()
        form = {"_token": token, "_task": "login", "_action": "login", "_user": USER, "_pass": "wrong"}
        fields = (f"Cookie: {cookie.split(';')[0]}", "Content-Type: application/x-www-form-urlencoded")
        refused = client.ask("POST", "/roundcube/?_task=login", *fields, body=urlencode(form).encode())
    assert refused.status == 401
    assert f"Failed login for {USER} from {INSIDE} (X-Forwarded-For: {OUTSIDE})" in roundcube.log("userlogins")
