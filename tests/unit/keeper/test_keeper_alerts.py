"""What is worth an alert, and what is not: places of accepted certificates, bursts of refusals, and no floods."""

from __future__ import annotations

import pytest
from support.log_lines import BEGIN, FINGERPRINT

from gateway.config.model import Alerts as Settings
from gateway.keeper.alert_state import (
    FORGET_SECONDS,
    MAX_DEVICES,
    MAX_NETWORKS,
    MAX_PENDING,
    MAX_PEOPLE,
    Person,
    State,
    load,
    save,
)
from gateway.keeper.alerts import (
    ADDRESSES,
    LEARN_SECONDS,
    LINES,
    MAILS_AN_HOUR,
    MAX_REFUSED,
    PENDING_SECONDS,
    PLACE_PAUSE_SECONDS,
    REFUSALS_PAUSE_SECONDS,
    REFUSALS_SECONDS,
    Alerts,
    network_of,
)
from gateway.logs.entry import Entry

PLACES_AN_HOUR, REFUSALS_AN_HOUR = MAILS_AN_HOUR["place"], MAILS_AN_HOUR["refusals"]
START = BEGIN.timestamp()
HOUR = 3600.0
ALICE = "alice@example.com"
HOME, ROAD = "203.0.113.9", "198.51.100.7"


def used(at=0.0, email=ALICE, client_ip=HOME, **values) -> Entry:
    """A request with an accepted certificate, so many seconds after the beginning."""
    usual = {"decision": "require_certificate", "cert_fingerprint": FINGERPRINT, "cert_subject": "CN=Alice,O=Example"}
    time = BEGIN.fromtimestamp(START + at, BEGIN.tzinfo)
    return Entry(time=time, client_ip=client_ip, cert_email=email, **{**usual, "cert_serial": "0A", **values})


def refused(at=0.0, reason="certificate_expired", **values) -> Entry:
    return used(at, reason=reason, **values)


@pytest.fixture
def alerts():
    """The day of learning is over, and Alice was at home."""
    made = Alerts(Settings(new_place=True, refusals=3), State(began=START - LEARN_SECONDS))
    made.note(used())
    return made


def pending(alerts):
    return [(event.kind, event.person, event.count) for event in alerts.state.pending.values()]


def test_the_first_day_only_learns():
    alerts = Alerts(Settings(new_place=True), State(began=START))
    alerts.note(used(0))
    alerts.note(used(LEARN_SECONDS - 1, client_ip=ROAD))
    assert pending(alerts) == []
    alerts.note(used(LEARN_SECONDS, client_ip=ROAD))
    assert pending(alerts) == []
    alerts.note(used(LEARN_SECONDS, client_ip="192.0.2.1"))
    assert pending(alerts) == [("place", ALICE, 1)]


def test_a_new_network_and_a_new_device_are_alerted_of_once(alerts):
    for _ in range(3):
        alerts.note(used(60, client_ip=ROAD, device_id="Appl1"))
    assert pending(alerts) == [("place", ALICE, 2)]
    (event,) = alerts.state.pending.values()
    assert event.lines == [
        "2026-11-24 07:01 UTC  from 198.51.100.7, in the network 198.51.100.0/24",
        "2026-11-24 07:01 UTC  on the device Appl1, from 198.51.100.7",
    ]
    assert (event.name, event.serial) == ("Alice", "0A")


def test_the_place_where_a_person_is_seen_first_is_learnt(alerts):
    alerts.note(used(60, email="bob@example.com", device_id="Appl1"))
    assert pending(alerts) == []
    alerts.note(used(60, email="BOB@example.com", device_id="Appl2"))
    assert pending(alerts) == [("place", "bob@example.com", 1)]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "203.0.113.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("x", None),
        ("", None),
        (None, None),
    ],
)
def test_addresses_of_one_network_are_one_place(address, network):
    assert network_of(address) == network


def test_neighbours_in_a_network_are_known(alerts):
    alerts.note(used(60, client_ip="203.0.113.255"))
    assert pending(alerts) == []
    alerts.note(used(60, client_ip="203.0.114.0"))
    assert pending(alerts) == [("place", ALICE, 1)]


@pytest.mark.parametrize(
    "values",
    [
        {"decision": "allow"},
        {"observed": "certificate_untrusted"},
        {"reason": "certificate_untrusted"},
        {"cert_fingerprint": None},
        {"email": None},
        {"client_ip": None},
    ],
)
def test_a_certificate_that_no_rule_accepted_says_nothing_about_its_holder(alerts, values):
    """A stranger can put any name into a certificate: neither a mail nor a known place may come of it."""
    alerts.note(used(60, **{"client_ip": ROAD, **values}))
    assert [kind for kind, _, _ in pending(alerts)] == []
    assert alerts.state.people[ALICE].networks == ["203.0.113.0/24"]


def test_what_is_off_is_not_looked_at():
    alerts = Alerts(Settings(refusals=3), State(began=START - LEARN_SECONDS))
    alerts.note(used())
    alerts.note(used(client_ip=ROAD))
    assert (pending(alerts), alerts.state.people) == ([], {})
    alerts = Alerts(Settings(new_place=True), State(began=START - LEARN_SECONDS))
    for _ in range(5):
        alerts.note(refused())
    assert pending(alerts) == []


def test_so_many_refusals_in_ten_minutes_are_a_burst(alerts):
    alerts.note(refused(0))
    alerts.note(refused(1))
    alerts.note(refused(REFUSALS_SECONDS + 0.1))
    assert pending(alerts) == []
    alerts.note(refused(REFUSALS_SECONDS + 1, client_ip=ROAD))
    alerts.note(refused(2 * REFUSALS_SECONDS, reason="locked_out"))
    assert pending(alerts) == [("refusals", ALICE, 3)]
    (event,) = alerts.state.pending.values()
    assert event.reasons == {"certificate_expired": 2, "locked_out": 1}
    assert event.addresses == [HOME, ROAD]
    assert (event.first, event.last) == (START + REFUSALS_SECONDS + 0.1, START + 2 * REFUSALS_SECONDS)


def test_a_burst_names_some_addresses(alerts):
    for number in range(ADDRESSES + 3):
        alerts.note(refused(client_ip=f"192.0.2.{number}"))
    (event,) = alerts.state.pending.values()
    assert (event.count, len(event.addresses)) == (ADDRESSES + 3, ADDRESSES)


@pytest.mark.parametrize("values", [{"email": None, "user": "Alice@example.com"}, {"user": "other"}])
def test_a_person_is_the_certificates_or_else_the_logins(alerts, values):
    for _ in range(3):
        alerts.note(refused(**values))
    assert pending(alerts) == [("refusals", ALICE, 3)]


@pytest.mark.parametrize("reason", ["upstream_timeout", "no_healthy_upstream", "handshake_failed: x", "?"])
def test_faults_of_servers_and_of_no_person_are_no_refusals(alerts, reason):
    for _ in range(9):
        alerts.note(refused(reason=reason))
    assert pending(alerts) == []
    for _ in range(9):
        alerts.note(refused(email=None))
    assert pending(alerts) == []


def told(alerts, at, *, has_admins=True):
    """What is mailed at a time: kind and person of each mail, and how many are folded into one more."""
    single, folded = alerts.due(START + at, has_admins=has_admins)
    for event in single:
        alerts.done([event], START + at)
    if folded is not None:
        alerts.done(folded, START + at, is_folded=True)
    return [event.person for event in single], len(folded or ())


def test_a_holder_gets_at_most_one_mail_an_hour_and_nothing_is_lost(alerts):
    alerts.note(used(1, client_ip=ROAD))
    assert told(alerts, 2) == ([ALICE], 0)
    alerts.note(used(3, client_ip="192.0.2.1"))
    alerts.note(used(4, client_ip="192.0.3.1"))
    assert told(alerts, PLACE_PAUSE_SECONDS + 1) == ([], 0)
    assert pending(alerts) == [("place", ALICE, 2)]
    assert told(alerts, PLACE_PAUSE_SECONDS + 2) == ([ALICE], 0)
    assert told(alerts, 9 * HOUR) == ([], 0)


def test_a_phone_that_tries_again_for_weeks_causes_one_mail_a_day(alerts):
    for minute in range(60 * 24):
        alerts.note(refused(minute * 60))
    mails = [told(alerts, minute * 60)[0] for minute in (3, 60, 1000)]
    assert mails == [[ALICE], [], []]
    at = REFUSALS_PAUSE_SECONDS + 3 * 60
    for second in range(4):
        alerts.note(refused(at + second))
    assert told(alerts, at + 4)[0] == [ALICE]


def test_what_comes_while_a_mail_is_sent_stays_due(alerts):
    alerts.note(used(1, client_ip=ROAD))
    (event,), _ = alerts.due(START + 2, has_admins=True)
    alerts.note(used(3, client_ip="192.0.2.1"))
    assert event.count == 1
    alerts.done([event], START + 4)
    assert pending(alerts) == [("place", ALICE, 1)]
    assert "192.0.2.1" in alerts.state.pending[f"place {ALICE}"].lines[0]


def crowd(alerts, count):
    for number in range(count):
        for address in (HOME, ROAD):
            alerts.note(used(email=f"{number}@example.com", client_ip=address))


@pytest.mark.parametrize(
    ("count", "has_admins", "expected"),
    [
        (PLACES_AN_HOUR, True, (PLACES_AN_HOUR, 0)),
        (PLACES_AN_HOUR + 1, True, (PLACES_AN_HOUR - 1, 2)),
        (PLACES_AN_HOUR + 1, False, (PLACES_AN_HOUR, 0)),
    ],
)
def test_so_many_mails_an_hour_and_the_rest_in_one(alerts, count, has_admins, expected):
    crowd(alerts, count)
    people, folded = told(alerts, 1, has_admins=has_admins)
    assert (len(people), folded) == expected
    assert len(alerts.state.sent["place"]) == PLACES_AN_HOUR
    alerts.note(used(2, client_ip=ROAD))
    assert told(alerts, 3, has_admins=has_admins) == ([], 0)
    people, folded = told(alerts, HOUR + 1, has_admins=has_admins)
    assert ALICE in people
    assert folded == 0
    assert alerts.state.pending == {}


def test_refusals_that_strangers_cause_keep_no_holder_from_a_mail(alerts):
    """However many names they send: mails, places among what waits, and the list in the mail of the rest."""
    for number in range(MAX_PENDING + 1):
        for _ in range(3):
            alerts.note(refused(email=None, user=f"{number}"))
    people, folded = told(alerts, 1)
    assert (len(people), folded) == (REFUSALS_AN_HOUR - 1, MAX_PENDING - REFUSALS_AN_HOUR + 1)
    for _ in range(3):
        alerts.note(refused(2, email=None, user="another"))
    alerts.note(used(2, client_ip=ROAD))
    assert told(alerts, 3) == ([ALICE], 0)
    assert pending(alerts) == [("refusals", "another", 3)]


def test_what_could_not_be_mailed_for_days_is_dropped(alerts):
    alerts.note(used(1, client_ip=ROAD))
    assert told(alerts, 1 + PENDING_SECONDS) == ([], 0)
    assert alerts.state.pending == {}


def test_everything_that_is_kept_has_a_limit(alerts):
    for number in range(MAX_NETWORKS + 9):
        alerts.note(used(client_ip=f"10.0.{number}.1", device_id=f"{number}-{'x' * 1000}"))
    person = alerts.state.people[ALICE]
    assert (len(person.networks), len(person.devices)) == (MAX_NETWORKS, MAX_DEVICES)
    assert len(person.devices[0]) == 254
    (event,) = alerts.state.pending.values()
    assert (len(event.lines), event.count > 50) == (LINES, True)

    alerts.state.people = {f"{number}@example.com": Person() for number in range(MAX_PEOPLE)}
    alerts.note(used(email="new@example.com"))
    assert len(alerts.state.people) == MAX_PEOPLE
    assert "0@example.com" not in alerts.state.people
    assert "new@example.com" in alerts.state.people

    for number in range(MAX_REFUSED + 1):
        alerts.note(refused(email=f"{number}@example.com"))
    alerts.note(refused(email="0@example.com"))
    alerts.note(refused(email="0@example.com"))
    assert [kind for kind, _, _ in pending(alerts)] == ["place"]


def test_of_more_events_than_can_wait_only_the_number_is_known(alerts):
    crowd(alerts, MAX_PENDING + 5)
    assert (len(alerts.state.pending), alerts.state.unlisted) == (MAX_PENDING, 5)
    assert told(alerts, 1, has_admins=False)[1] == 0
    assert alerts.state.unlisted == 5
    assert told(alerts, 2 * HOUR)[1] == MAX_PENDING - PLACES_AN_HOUR - (PLACES_AN_HOUR - 1)
    assert alerts.state.unlisted == 0
    alerts.state.unlisted = 1
    assert alerts.due(START + 9 * HOUR, has_admins=True) == ([], [])
    alerts.state.sent = {"refusals": [START + 9 * HOUR] * (REFUSALS_AN_HOUR - 1)}
    for _ in range(3):
        alerts.note(refused(9 * HOUR))
    assert told(alerts, 9 * HOUR) == ([ALICE], 0)
    assert alerts.state.unlisted == 1
    alerts.state.sent = {"refusals": [START + 9 * HOUR] * REFUSALS_AN_HOUR}
    assert alerts.due(START + 9 * HOUR, has_admins=True) == ([], None)


def test_the_state_survives_a_restart(alerts, tmp_path):
    alerts.note(used(1, client_ip=ROAD))
    alerts.state.seen_until = START
    file = tmp_path / "state" / "alerts.json"
    save(file, alerts.state)
    assert load(file, START + 60) == alerts.state
    assert load(file, START + FORGET_SECONDS + 1) == State(began=START + FORGET_SECONDS + 1)
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"people":[]}', b"\xff"])
def test_a_state_that_is_not_usable_means_learning_again(tmp_path, content, caplog):
    file = tmp_path / "alerts.json"
    if content is not None:
        file.write_bytes(content)
    assert load(file, 7.0) == State(began=7.0)
    assert ("learnt again" in caplog.text) == (content is not None)
