"""From lines of a real log to mails at a real mail server: once each, whatever fails or restarts in between."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest
from support.desk import DAY, NOW
from support.log_lines import BEGIN, identity_of, line_of

from gateway.config.model import Alerts as Settings
from gateway.errors import OperationError
from gateway.keeper import alerting as alerting_module
from gateway.keeper import log_reading
from gateway.keeper.alert_letters import NAMED, of_many
from gateway.keeper.alert_state import Event
from gateway.keeper.alerting import CATCH_UP_SECONDS, SAVE_SECONDS, WHAT, Alerting
from gateway.keeper.alerts import MAILS_AN_HOUR
from gateway.keeper.plan import AlertPlan
from gateway.keeper.troubles import Troubles
from gateway.keeper.watch import Watch

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
HOME, ROAD = "203.0.113.9", "198.51.100.7"
LIMIT = MAILS_AN_HOUR["refusals"]
ADMINS = "admin@example.com, boss@example.com"
EXPIRED = {"reason": "certificate_expired", "detail": "x", "status": 403}


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "access.jsonl").touch()
    settings = Settings(new_place=True, refusals=3)
    return AlertPlan(settings=settings, log=tmp_path / "access.jsonl", state=tmp_path / "state" / "alerts.json")


class Node:
    """A keeper's alerts, with a log that a test writes."""

    def __init__(self, plan, mail):
        self.plan, self.troubles = plan, Troubles()
        self.alerting = Alerting(plan, mail, "helpdesk@example.com", self.troubles)

    def write(self, now, *, name="alice", client_ip=HOME, **values):
        identity = identity_of(name, email=f"{name}@example.com")
        seconds = (now - BEGIN).total_seconds()
        usual = {"decision": "require_certificate", "client_ip": client_ip, "identity": identity}
        with self.plan.log.open("ab") as file:
            file.write(line_of(seconds, **{**usual, **values}))

    def run(self, now):
        self.alerting.look(now)
        asyncio.run(self.alerting.mail(now))


@pytest.fixture
def make_node(plan, mail):
    made = []

    def make(**changes) -> Node:
        made.append(Node(plan, replace(mail, **changes)))
        return made[-1]

    yield make
    for node in made:
        node.alerting.close()


@pytest.fixture
def node(make_node):
    """Learning is over, and Alice was at home."""
    made = make_node()
    made.run(NOW - DAY - MINUTE)
    made.write(NOW - DAY)
    made.run(NOW - DAY)
    return made


def test_a_holder_is_told_of_a_new_place_once(node, post):
    node.write(NOW, client_ip=ROAD, device_id="Appl1\x1b[2J")
    node.run(NOW)
    (mail,) = post.mails
    assert (mail["To"], mail["Subject"]) == ("alice@example.com", "Your mail certificate was used at a new place")
    text = mail.get_content().replace("\r\n", "\n")
    assert "  2026-11-24 12:00 UTC  from 198.51.100.7, in the network 198.51.100.0/24\n" in text
    assert "on the device Appl1?[2J, from 198.51.100.7\n" in text
    assert "  helpdesk@example.com\n" in text
    assert "  name:        alice\n" in text
    node.write(NOW + MINUTE, client_ip=ROAD)
    node.run(NOW + MINUTE)
    node.run(NOW + 3 * HOUR)
    assert (len(post.mails), node.alerting.sent) == (1, 1)


def test_administrators_are_told_of_refusals(node, post):
    for second in range(4):
        node.write(NOW + timedelta(seconds=second), **EXPIRED)
    node.run(NOW + MINUTE)
    (mail,) = post.mails
    assert (mail["To"], mail["Subject"]) == (ADMINS, "Mail gateway: many refusals of one person")
    text = mail.get_content().replace("\r\n", "\n")
    assert "  who:        alice@example.com\n" in text
    assert "  how often:  4 times from 2026-11-24 12:00 UTC to 2026-11-24 12:00 UTC\n" in text
    assert "  reasons:    certificate_expired (4)\n" in text
    assert f"  addresses:  {HOME}\n" in text
    assert "\n  gateway logs --why alice@example.com\n" in text


def test_a_command_in_a_mail_runs_nothing_that_a_client_wrote(node, post):
    """An administrator copies it into a shell."""
    for second in range(3):
        node.write(NOW + timedelta(seconds=second), identity=None, user="$(reboot)\n;x", **EXPIRED)
    node.run(NOW + MINUTE)
    text = post.mails[0].get_content().replace("\r\n", "\n")
    assert "\n  gateway logs --why '$(reboot)?;x'\n" in text


def test_the_rest_of_a_flood_comes_in_one_mail(node, post):
    for number in range(LIMIT + 1):
        for second in range(3):
            node.write(NOW + timedelta(seconds=second), name=f"user{number}", **EXPIRED)
    node.run(NOW + MINUTE)
    assert len(post.mails) == LIMIT
    many = post.mails[-1]
    assert (many["To"], many["Subject"]) == (ADMINS, "Mail gateway: many alerts")
    shown = [line for line in many.get_content().splitlines() if line.startswith("- ")]
    assert shown == [
        f"- user{number}@example.com: refused 3 times since 2026-11-24 12:00 UTC" for number in (LIMIT - 1, LIMIT)
    ]


def test_a_mail_of_many_names_some():
    events = [Event("place", f"{number}@example.com", 0, 0, 1, ["x"]) for number in range(NAMED + 1)]

    def lines(*args) -> list[str]:
        made = of_many(*args, ("admin@example.com",), "gateway@example.com", NOW)
        assert isinstance(made, EmailMessage)
        return made.get_content().splitlines()

    shown = lines(events, 4)
    assert "- 49@example.com: certificate used at a new place, x" in shown
    assert "  and 5 more" in shown
    assert "- 7 alerts" in lines([], 7)


def test_after_a_restart_nothing_is_told_twice_and_nothing_is_missed(node, make_node, post):
    node.write(NOW, client_ip=ROAD)
    node.run(NOW)
    node.alerting.close()
    node.write(NOW + MINUTE, client_ip=ROAD)
    node.write(NOW + MINUTE, client_ip="192.0.2.1")
    again = make_node()
    again.run(NOW + 2 * HOUR)
    assert len(post.mails) == 1  # more than an hour ago: what the log says of then is left out
    again.write(NOW + 2 * HOUR, client_ip="192.0.2.1")
    again.run(NOW + 2 * HOUR)
    assert len(post.mails) == 2
    third = make_node()
    third.run(NOW + 2 * HOUR + MINUTE)
    assert len(post.mails) == 2


def test_a_mail_server_that_is_away_loses_nothing(node, post):
    post.stop()
    node.write(NOW, client_ip=ROAD)
    node.run(NOW)
    assert [trouble.what for trouble in node.troubles] == ["e-mail"]
    post.start()
    node.run(NOW + timedelta(seconds=1))  # not yet
    node.run(NOW + 2 * MINUTE)
    assert len(post.mails) == 1
    assert list(node.troubles) == []


def test_a_mail_that_the_server_refuses_is_not_sent_again(node, post, caplog):
    post.refuses["alice@example.com"] = "550 no such user"
    node.write(NOW, client_ip=ROAD)
    node.run(NOW)
    node.run(NOW + 2 * HOUR)
    assert (post.mails, node.alerting.refused) == ([], 1)
    assert "an alert to alice@example.com was refused: 550 no such user" in caplog.text


def test_at_the_end_no_further_mail_is_begun(node, post):
    node.write(NOW, client_ip=ROAD)
    node.alerting.is_ending = True
    node.run(NOW)
    assert post.mails == []


def test_a_log_that_is_missing_is_a_trouble_until_it_is_there(plan, make_node, post):
    plan.log.unlink()
    node = make_node()
    node.run(NOW)
    (trouble,) = node.troubles
    assert (trouble.what, str(plan.log) in trouble.cause) == (WHAT, True)
    plan.log.touch()
    node.run(NOW + timedelta(seconds=1))  # not yet
    assert list(node.troubles) != []
    node.run(NOW + 2 * MINUTE)
    assert list(node.troubles) == []
    assert post.mails == []


def test_a_log_that_cannot_be_read_is_read_again_later(node, post):
    def fail():
        raise OSError(5, "Input/output error")
        yield

    node.alerting._log._hits = fail()
    node.alerting.look(NOW)
    assert "Input/output error" in next(iter(node.troubles)).cause
    node.write(NOW, client_ip=ROAD)
    node.run(NOW + 2 * MINUTE)
    assert len(post.mails) == 1


def test_a_rotated_log_is_followed_and_read_to_its_end_and_closed(node, plan, post):
    old = plan.log.with_name("access.jsonl.1")
    plan.log.rename(old)
    plan.log.touch()
    node.write(NOW, client_ip=ROAD)
    node.run(NOW)
    assert len(post.mails) == 1
    late = Node(replace(plan, log=old), node.alerting._mail)
    for second in range(3):
        late.write(NOW + timedelta(seconds=second), **EXPIRED)  # by a worker that had not opened the new file yet
    node.run(NOW + MINUTE)
    assert len(post.mails) == 2
    assert str(old) not in {str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.exists()}


def test_one_look_reads_so_much_and_the_next_one_the_rest(node, monkeypatch, post):
    monkeypatch.setattr(log_reading, "MAX_LINES", 2)
    for second in range(3):
        node.write(NOW + timedelta(seconds=second), **EXPIRED)
    node.run(NOW + MINUTE)
    assert post.mails == []
    node.run(NOW + 2 * MINUTE)
    assert len(post.mails) == 1


def test_the_state_is_written_when_it_has_changed_and_now_and_then(node, plan):
    node.run(NOW)
    before = plan.state.read_bytes()
    node.run(NOW + MINUTE)
    assert plan.state.read_bytes() == before
    node.write(NOW + MINUTE, device_id="Appl1")
    node.run(NOW + 2 * MINUTE)
    assert b"Appl1" in plan.state.read_bytes()
    before = plan.state.read_bytes()
    node.run(NOW + 2 * MINUTE + timedelta(seconds=SAVE_SECONDS))
    assert plan.state.read_bytes() != before


def test_a_state_that_cannot_be_written_is_a_trouble_and_no_second_mail(node, monkeypatch, post, caplog):
    def fail(*_):
        raise OperationError("alerts.json: No space left on device", "Free some.")

    node.write(NOW, client_ip=ROAD)
    node.alerting.look(NOW)
    monkeypatch.setattr(alerting_module.alert_state, "save", fail)
    asyncio.run(node.alerting.mail(NOW))
    assert [trouble.what for trouble in node.troubles] == [WHAT]
    node.run(NOW + 2 * HOUR)
    assert len(post.mails) == 1
    node.alerting.close()
    assert "may be mailed again" in caplog.text
    monkeypatch.undo()


def test_before_the_first_look_there_is_nothing_to_mail(make_node, post):
    node = make_node()
    asyncio.run(node.alerting.mail(NOW))
    assert post.mails == []


def test_the_log_is_not_read_from_long_ago(make_node, post):
    """A log of years is not gone through: only what the bursts of now need."""
    node = make_node()
    for number in range(3):
        node.write(NOW - timedelta(seconds=CATCH_UP_SECONDS + number), **EXPIRED)
    node.run(NOW)
    assert post.mails == []


def test_the_watch_looks_and_mails_and_counts(make_plan, plan, mail, post, corp):
    watch = Watch(make_plan(mail=mail, alerts=plan))
    writer = Node(plan, mail)
    watch.round(NOW)
    for second in range(3):
        writer.write(NOW + timedelta(seconds=second), **EXPIRED)
    watch.round(NOW + MINUTE)
    asyncio.run(watch.mail(NOW + MINUTE))
    assert [mail["Subject"] for mail in post.mails] == ["Mail gateway: many refusals of one person"]
    assert watch.report()["mails"] == {"sent": 1, "refused": 0}
    watch.end()
    watch.close()
    assert corp.record.name == "corp"
