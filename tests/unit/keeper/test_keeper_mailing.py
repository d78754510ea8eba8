"""Everybody is told once, whatever fails in between; a real mail server takes the mails."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event
from support.desk import DAY, issue_to

from gateway.errors import OperationError
from gateway.keeper import letters
from gateway.keeper import mailing as mailing_module
from gateway.keeper.findings import look
from gateway.keeper.mailing import Mailing
from gateway.keeper.troubles import Troubles
from gateway.pki.registry import notices
from gateway.pki.registry.notices import Kind, Notice

MINUTE = timedelta(minutes=1)


class Node:
    """A keeper's mailing, one of several over the same registry."""

    def __init__(self, desk, plan, mail):
        self.desk, self.plan, self.troubles = desk, plan, Troubles()
        self.mailing = Mailing(plan, mail, self.troubles)

    def run(self, now, *outages):
        asyncio.run(self.mailing.run(self.desk.registry, look(self.desk, self.plan, now), now, outages))


@pytest.fixture
def people(desk, corp):
    return {
        name: issue_to(desk, corp, f"{name}@example.com", days=days).record
        for name, days in (("alice", 40), ("bob", 40), ("carol", 300))
    }


@pytest.fixture
def make_node(desk, make_plan, mail):
    def make(**changes) -> Node:
        changed = replace(mail, **changes)
        return Node(desk, make_plan(mail=changed), changed)

    return make


@pytest.fixture
def soon(people):
    """Two holders are to be told."""
    return people["alice"].not_after - 7 * DAY


def _sent(post):
    return sorted(str(mail["To"]) for mail in post.mails)


ADMINS = "admin@example.com, boss@example.com"


def test_everybody_is_told_once_for_each_threshold_and_admins_once_a_day(make_node, post, soon):
    node = make_node()
    node.run(soon)
    assert _sent(post) == [ADMINS, "alice@example.com", "bob@example.com"]
    node.run(soon + MINUTE)
    make_node().run(soon + MINUTE)  # after a restart
    assert (len(post.mails), node.mailing.sent) == (3, 3)
    node.run(soon + DAY)
    assert _sent(post)[:2] == [ADMINS, ADMINS]
    assert len(post.mails) == 4
    node.run(soon + 6 * DAY)
    assert _sent(post).count("alice@example.com") == 2


def test_administrators_hear_at_once_of_what_refuses_clients_and_once_a_day_while_it_lasts(make_node, post, now):
    node = make_node()
    node.run(now, "a.crl has ended")
    (mail,) = post.mails
    assert (mail["To"], mail["Subject"]) == (ADMINS, "Mail gateway: clients are refused")
    assert "- a.crl has ended" in mail.get_content().splitlines()
    node.run(now + MINUTE, "a.crl has ended")
    make_node().run(now + MINUTE, "a.crl has ended")  # after a restart, or on another machine
    assert len(post.mails) == 1
    node.run(now + MINUTE, "b.crl has ended", "a.crl has ended")
    node.run(now + MINUTE, "a.crl has ended", "b.crl has ended")
    assert len(post.mails) == 2
    node.run(now + 2 * MINUTE)
    node.run(now + DAY, "a.crl has ended")
    assert len(post.mails) == 3
    make_node(admins=()).run(now + 2 * DAY, "a.crl has ended")
    assert len(post.mails) == 3


def test_a_mail_of_many_outages_names_some(make_node, post, now):
    make_node().run(now, *(f"{number}.crl\x1b has ended" for number in range(letters.OUTAGES_NAMED + 2)))
    lines = post.mails[0].get_content().splitlines()
    shown = lines.index("- 49.crl? has ended")
    assert lines[shown + 1] == "  and 2 more; run 'gateway status' to see them"


def test_nothing_to_tell_needs_no_mail_server(make_node, people, now):
    node = make_node(port=1)
    node.run(now)
    assert list(node.troubles) == []
    assert len(people) == 3


def test_users_or_administrators_can_be_left_out(make_node, post, soon):
    make_node(admins=()).run(soon)
    assert _sent(post) == ["alice@example.com", "bob@example.com"]
    make_node(to_users=False).run(soon + DAY)
    assert _sent(post)[0] == ADMINS
    assert len(post.mails) == 3


def test_a_mail_server_that_is_away_is_told_and_tried_again_later(make_node, post, soon):
    node = make_node()
    post.stop()
    node.run(soon)
    (trouble,) = node.troubles
    assert trouble.what == "e-mail"
    post.start()
    node.run(soon)  # not yet
    assert post.mails == []
    node.run(soon + MINUTE)
    assert _sent(post) == [ADMINS, "alice@example.com", "bob@example.com"]
    assert list(node.troubles) == []


def test_a_server_that_gives_up_in_the_middle_gets_the_rest_later(make_node, post, soon):
    node = make_node(admins=())
    post.on_data = lambda: "421 4.3.2 closing" if post.taken else None
    node.run(soon)
    assert (len(post.mails), node.mailing.sent) == (1, 1)
    post.on_data = lambda: None
    make_node(admins=()).run(soon + timedelta(seconds=1))  # another node may at once
    assert _sent(post) == ["alice@example.com", "bob@example.com"]


def test_a_refused_mail_is_tried_again_and_never_marked_as_sent(make_node, post, soon, caplog):
    caplog.set_level(logging.INFO)
    node = make_node(admins=())
    post.refuses["alice@example.com"] = "450 4.2.2 mailbox full"
    node.run(soon)
    assert _sent(post) == ["bob@example.com"]
    assert (node.mailing.sent, node.mailing.refused) == (1, 1)
    assert list(node.troubles) == []
    assert "a mail to alice@example.com was refused: 450 4.2.2 mailbox full" in caplog.text
    post.refuses.clear()
    node.run(soon + timedelta(seconds=59))
    assert len(post.mails) == 1
    node.run(soon + MINUTE)
    assert _sent(post) == ["alice@example.com", "bob@example.com"]


def test_administrators_hear_of_mails_that_are_refused(make_node, post, soon):
    post.refuses["alice@example.com"] = "550 no such user"
    post.refuses["boss@example.com"] = "550 no such boss"
    node = make_node()
    node.run(soon)
    node.run(soon + DAY - MINUTE)
    summary = post.to("admin@example.com")[-1]
    assert "alice@example.com: 550 no such user" in summary.get_content()


def test_who_is_killed_between_claim_and_answer_leaves_the_mail_to_the_next(make_node, desk, people, post, soon):
    notice = Notice(Kind.HOLDER, people["alice"].fingerprint, "alice@example.com", 7 * DAY)
    with desk.registry.writing() as connection:
        assert notices.claim(connection, notice, soon)  # and no more is heard
    node = make_node(admins=())
    node.run(soon + MINUTE)
    assert _sent(post) == ["bob@example.com"]
    node.run(soon + timedelta(seconds=notices.CLAIM_SECONDS))
    assert _sent(post) == ["alice@example.com", "bob@example.com"]


def test_many_are_told_in_rounds(make_node, post, soon, monkeypatch):
    monkeypatch.setattr(mailing_module, "BATCH", 1)
    node = make_node(admins=())
    node.run(soon)
    assert len(post.mails) == 1
    node.run(soon + MINUTE)
    assert _sent(post) == ["alice@example.com", "bob@example.com"]


def test_no_mail_is_begun_after_a_rounds_time_or_the_end(make_node, post, soon, monkeypatch):
    ending = make_node()
    ending.mailing.is_ending = True
    ending.run(soon)
    monkeypatch.setattr(mailing_module, "BATCH_SECONDS", 0.0)
    make_node().run(soon)
    assert post.mails == []


def test_an_address_that_cannot_be_written_to_stops_nobody(make_node, desk, people, post, soon):
    with desk.registry.writing() as connection:
        connection.exec_driver_sql("UPDATE certificates SET email = 'a b' WHERE email = 'alice@example.com'")
    node = make_node(admins=())
    node.run(soon)
    assert _sent(post) == ["bob@example.com"]
    assert node.mailing.refused == 1
    assert people


def test_what_was_sent_and_could_not_be_written_down_is_not_sent_again(make_node, desk, post, soon):
    """The registry goes away in the moment in which the mail server has the mail."""
    node = make_node(admins=())
    is_down = []

    def refuse(_connection, _cursor, statement, *_):
        if is_down and statement.startswith("UPDATE notices SET sent_at"):
            raise OperationError("the disk is full", "Free it.")

    event.listen(desk.registry._engine, "before_cursor_execute", refuse)
    is_down.append(True)
    node.run(soon)
    assert len(post.mails) == 1
    assert [trouble.cause for trouble in node.troubles] == ["the disk is full"]
    with pytest.raises(OperationError, match="the disk is full"):
        node.run(soon + timedelta(seconds=notices.CLAIM_SECONDS))
    assert len(post.mails) == 1
    is_down.clear()
    node.run(soon + timedelta(seconds=notices.CLAIM_SECONDS))
    node.run(soon + DAY)
    assert _sent(post) == ["alice@example.com", "bob@example.com"]
