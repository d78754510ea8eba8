"""SOGo behind the gateway: its webmail in a browser, a phone's ActiveSync, and calendars and contacts over DAV.

All of it comes from outside, so all of it needs alice's certificate, and her password for SOGo as well.
"""

from __future__ import annotations

import pytest
from support.activesync import Phone
from support.browser import Browser, chooses_certificate
from support.credentials import P12_PASSWORD
from support.gateway import HOST, OUTSIDE, settings_for
from support.groupware import PASSWORD, USER, Groupware

pytestmark = pytest.mark.e2e

RULES = [
    {
        "name": "SOGo and phones",
        "from": "external",
        "uri": ["/SOGo", "/SOGo.woa", "/Microsoft-Server-ActiveSync", "/.well-known"],
        "action": "require_certificate",
    },
    {"name": "Everything else", "action": "deny"},
]
HELD_SECONDS = 1.0
MAX_SYNCS = 5
SUBJECT = "emailAddress=alice@example.com,CN=alice,O=Example Ltd,C=DE"
INBOX_TYPE = "2"
HAS_CHANGED = "2"
NO_POLICY = "2"
EVENT = """\
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Example//Tests//EN
BEGIN:VEVENT
UID:meeting-1
DTSTAMP:20261124T090000Z
DTSTART:20261201T090000Z
DTEND:20261201T100000Z
SUMMARY:Quarterly figures
END:VEVENT
END:VCALENDAR
""".replace("\n", "\r\n").encode()
CARD = """\
BEGIN:VCARD
VERSION:3.0
UID:card-1
FN:Bob Example
N:Example;Bob;;;
EMAIL:bob@example.com
END:VCARD
""".replace("\n", "\r\n").encode()


def mail(subject: str, text: str) -> bytes:
    """One from Bob."""
    date = "Tue, 24 Nov 2026 09:00:00 +0000"
    return f"From: Bob <bob@example.com>\r\nDate: {date}\r\nSubject: {subject}\r\n\r\n{text}\r\n".encode()


@pytest.fixture(scope="module")
def groupware():
    with Groupware.started() as running:
        running.dovecot.deliver(USER, mail("Quarterly figures", "They are fine."))
        yield running


@pytest.fixture(scope="module")
def gateway(start, credentials, groupware):
    """Nobody is inside: the browser's 127.0.0.1 isn't either. Unused connections to SOGo are closed soon."""
    networks = {"internal": ["127.0.0.9/32"]}
    settings = settings_for(credentials.site, groupware.url, rules=RULES, networks=networks)
    settings["upstreams"]["mail"]["timeouts"] = {"idle": "1s"}
    return start(settings)


@pytest.fixture
def phone(gateway, credentials, wire):
    with Phone(wire, gateway.port, USER, PASSWORD, source=OUTSIDE, identity=credentials["alice"]) as made:
        yield made


@pytest.fixture
def dav(phone):
    """Sends one DAV request; its answer."""

    def ask(method, path, body=b"", *fields):
        return phone.client.ask(method, path, phone.login, *fields, body=body)

    return ask


def test_webmail_in_a_browser_from_the_login_to_the_inbox(gateway, credentials, tmp_path):
    with (
        chooses_certificate(),
        Browser.start(
            tmp_path, gateway.port, trusted=credentials.server_ca, p12s=((credentials.p12, P12_PASSWORD),)
        ) as browser,
    ):
        browser.open(f"https://{HOST}/SOGo/")
        browser.wait_until_seen("input[type=password]")
        browser.keep_picture("sogo-login")
        browser.type_into("input[type=text]", USER)
        browser.type_into("input[type=password]", PASSWORD)
        browser.press_enter()
        browser.wait_for("document.body.innerText.includes('Quarterly figures')")
        assert browser.evaluate("location.pathname").startswith(f"/SOGo/so/{USER}/Mail")
        browser.keep_picture("sogo-inbox")
    records = [record for record in gateway.log.records() if record["site"] and record["method"]]
    assert {record["cert_subject"] for record in records} == {SUBJECT}
    assert not [record["uri"] for record in records if record["status"] >= 500]


def test_without_a_certificate_nothing_of_it_can_be_reached(gateway, wire):
    with Phone(wire, gateway.port, USER, PASSWORD, source=OUTSIDE) as phone:
        assert phone.options().verdict == (403, "certificate_missing")
    with wire.client(gateway.port, source=OUTSIDE) as client:
        assert client.ask("GET", "/SOGo/").verdict == (403, "certificate_missing")


def test_nobody_gets_past_sogos_own_login_with_a_header(gateway, credentials, wire):
    with wire.client(gateway.port, source=OUTSIDE, identity=credentials["alice"]) as client:
        answer = client.ask("PROPFIND", f"/SOGo/dav/{USER}/", f"x-webobjects-remote-user: {USER}", "Depth: 0")
        assert answer.status == 401
        assert answer.get("WWW-Authenticate").startswith("basic ")


def test_a_phone_finds_its_inbox_reads_a_mail_and_is_told_of_a_new_one(groupware, phone, wire):
    answer = phone.options()
    assert answer.status == 200
    assert "14.1" in answer.get("MS-ASProtocolVersions").split(",")

    policy = phone.command("Provision", PROVISION)
    assert policy.findtext("Status") == "1"
    assert policy.findtext("Policies/Policy/Status") == NO_POLICY

    folders = phone.command("FolderSync", '<FolderSync xmlns="FolderHierarchy:"><SyncKey>0</SyncKey></FolderSync>')
    assert folders.findtext("Status") == "1"
    (inbox,) = [each.findtext("ServerId") for each in folders.iter("Add") if each.findtext("Type") == INBOX_TYPE]

    key, subjects = synced(phone, "0", inbox)
    assert "Quarterly figures" in subjects

    phone.send("Ping", PING.format(inbox))
    assert phone.exchange.is_silent(HELD_SECONDS)  # nothing new: the answer waits
    groupware.dovecot.deliver(USER, mail(f"One more over {wire}", "See above."))
    pinged = phone.receive()
    assert pinged.findtext("Status") == HAS_CHANGED
    assert [each.text for each in pinged.iter("Folder")] == [inbox]
    _, subjects = synced(phone, key, inbox)
    assert subjects == [f"One more over {wire}"]


def synced(phone: Phone, key: str, folder: str) -> tuple[str, list[str]]:
    """The next key and the subjects of all mails that are new since `key`."""
    subjects = []
    for _ in range(MAX_SYNCS):
        if (news := phone.command("Sync", sync(key, folder))) is None:
            return key, subjects
        key = news.findtext("Collections/Collection/SyncKey")
        subjects += [each.text for each in news.iter("Subject")]
    pytest.fail("there was always something new")


PROVISION = (
    '<Provision xmlns="Provision:"><Policies><Policy><PolicyType>MS-EAS-Provisioning-WBXML</PolicyType></Policy>'
    "</Policies></Provision>"
)
PING = (
    '<Ping xmlns="Ping:"><HeartbeatInterval>60</HeartbeatInterval>'
    "<Folders><Folder><Id>{}</Id><Class>Email</Class></Folder></Folders></Ping>"
)


def sync(key: str, folder: str) -> str:
    """A Sync of one folder: the first time with key 0, which brings no mails yet."""
    wanted = "" if key == "0" else "<GetChanges>1</GetChanges><WindowSize>10</WindowSize>"
    return (
        f'<Sync xmlns="AirSync:"><Collections><Collection><SyncKey>{key}</SyncKey>'
        f"<CollectionId>{folder}</CollectionId>{wanted}</Collection></Collections></Sync>"
    )


def test_a_calendar_is_listed_written_and_asked(dav, wire):
    home = f"/SOGo/dav/{USER}/Calendar/"
    found = dav("PROPFIND", home, b"", "Depth: 1")
    assert found.status == 207
    assert f"{home}personal/".encode() in found.body

    event = f"{home}personal/meeting-1.ics"
    assert dav("PUT", event, EVENT, "Content-Type: text/calendar; charset=utf-8", "If-None-Match: *").status == 201

    query = (
        b'<?xml version="1.0"?><c:calendar-query xmlns:c="urn:ietf:params:xml:ns:caldav" xmlns:d="DAV:">'
        b"<d:prop><d:getetag/><c:calendar-data/></d:prop>"
        b'<c:filter><c:comp-filter name="VCALENDAR"><c:comp-filter name="VEVENT"/></c:comp-filter></c:filter>'
        b"</c:calendar-query>"
    )
    asked = dav("REPORT", f"{home}personal/", query, "Depth: 1", "Content-Type: application/xml")
    assert asked.status == 207
    assert event.encode() in asked.body
    assert b"SUMMARY:Quarterly figures" in asked.body

    moved = f"{home}projects-{wire.protocol[5]}/meeting-1.ics"
    assert dav("MKCALENDAR", f"{home}projects-{wire.protocol[5]}/").status == 201
    assert dav("MOVE", event, b"", f"Destination: https://{HOST}{moved}").status in (201, 204)
    assert dav("GET", event).status == 404
    assert b"SUMMARY:Quarterly figures" in dav("GET", moved).body
    assert dav("DELETE", moved).status == 204
    assert dav("GET", moved).status == 404


def test_contacts_are_written_and_asked(dav, wire):
    home = f"/SOGo/dav/{USER}/Contacts/personal/"
    card = f"{home}card-{wire.protocol[5]}.vcf"
    assert dav("PUT", card, CARD, "Content-Type: text/vcard; charset=utf-8").status == 201
    query = (
        b'<?xml version="1.0"?><c:addressbook-multiget xmlns:c="urn:ietf:params:xml:ns:carddav" xmlns:d="DAV:">'
        b"<d:prop><d:getetag/><c:address-data/></d:prop><d:href>" + card.encode() + b"</d:href>"
        b"</c:addressbook-multiget>"
    )
    asked = dav("REPORT", home, query, "Depth: 1", "Content-Type: application/xml")
    assert asked.status == 207
    assert b"FN:Bob Example" in asked.body
