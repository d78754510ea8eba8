"""The loop: a round at once, another when it is time or a plan changes, and nothing that fails stops it."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest
from support.desk import DAY, make_authority, open_desk
from support.waiting import PATIENCE_SECONDS

from gateway import clock
from gateway.errors import OperationError
from gateway.keeper import keeper as keeper_module
from gateway.keeper import watch as watch_module
from gateway.keeper.keeper import Keeper
from gateway.keeper.watch import Watch
from gateway.pki import crl
from gateway.pki.copies import Refreshed

HOUR = timedelta(hours=1)
STEP_SECONDS = 0.02


@pytest.fixture
def running(monkeypatch):
    """Runs a keeper and a dialogue with it; gives the reports."""
    monkeypatch.setattr(keeper_module, "REFRESH_SECONDS", STEP_SECONDS)

    def run(dialogue):
        reports = []

        async def both():
            keeper = Keeper(reports.append)
            work = asyncio.ensure_future(keeper.run())

            async def until(holds):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while not holds():  # noqa: ASYNC110 - of what threads do
                        await asyncio.sleep(STEP_SECONDS)

            try:
                await dialogue(keeper, reports, until)
            finally:
                keeper.stop()
                await work

        asyncio.run(both())
        return reports

    return run


@pytest.fixture
def stale(tmp_path):
    """A desk with an authority whose list is due, by the real clock."""
    desk = open_desk(tmp_path)
    now = clock.now()
    signer = make_authority(desk, now=now - DAY, crl_lifetime=HOUR)
    yield desk, signer
    desk.registry.close()


def _list_ends(report):
    return [authority["list_ends"] for authority in report["authorities"]]


@pytest.mark.usefixtures("stale")
def test_the_first_round_comes_at_once_and_renews_what_is_due(running, make_plan):
    async def dialogue(keeper, reports, until):
        keeper.follow(make_plan())
        await until(lambda: len(reports) >= 2)  # after the round, and after what there was to mail

    reports = running(dialogue)
    (ends,) = _list_ends(reports[0])
    assert ends > clock.unix_seconds()
    assert reports[0]["troubles"] == []


@pytest.mark.usefixtures("stale")
def test_rounds_follow_each_other(running, make_plan, monkeypatch):
    monkeypatch.setattr(keeper_module, "ROUND_SECONDS", STEP_SECONDS)

    async def dialogue(keeper, reports, until):
        keeper.follow(make_plan())
        await until(lambda: len(reports) >= 6)

    assert len({report["looked"] for report in running(dialogue)}) >= 2


def test_what_another_desk_did_is_in_this_machines_file_without_a_round(running, stale, make_plan):
    desk, signer = stale

    async def dialogue(keeper, reports, until):
        keeper.follow(make_plan())
        await until(lambda: len(reports) >= 2)
        before = desk.file("corp", "crl").read_bytes()
        desk.file("corp", "crl").unlink()
        await until(desk.file("corp", "crl").exists)
        assert desk.file("corp", "crl").read_bytes() == before
        with desk.registry.writing() as connection:
            crl.issue(connection, signer, "another desk", clock.now())  # as on another machine
        await until(lambda: desk.file("corp", "crl").read_bytes() != before)

    running(dialogue)


@pytest.mark.usefixtures("stale")
def test_another_plan_counts_at_once_and_none_ends_the_work(running, make_plan, tmp_path):
    async def dialogue(keeper, reports, until):
        keeper.follow(make_plan(store=f"sqlite:///{tmp_path}/nowhere.db"))
        await until(lambda: reports and reports[-1]["troubles"])
        assert reports[-1]["looked"] is None
        keeper.follow(make_plan())
        await until(lambda: reports[-1]["looked"])
        keeper.follow(None)
        count = len(reports)
        await asyncio.sleep(5 * STEP_SECONDS)
        assert len(reports) <= count + 1

    running(dialogue)
    assert not (tmp_path / "nowhere.db").exists()


@pytest.mark.usefixtures("stale")
def test_the_same_plan_again_tries_at_once_what_failed(running, make_plan, passphrase_file):
    good = passphrase_file.read_text()
    passphrase_file.write_text("wrong\n")

    async def dialogue(keeper, reports, until):
        keeper.follow(make_plan())
        await until(lambda: reports and reports[-1]["troubles"])
        passphrase_file.write_text(good)
        keeper.follow(make_plan())
        await until(lambda: not reports[-1]["troubles"])

    running(dialogue)


def test_mails_go_beside_the_rounds(running, stale, make_plan, mail, post):
    desk, _ = stale
    make_authority(desk, "other", now=clock.now(), days=5)  # something to tell of

    async def dialogue(keeper, reports, until):
        keeper.follow(make_plan(mail=mail))
        await until(lambda: reports and reports[-1]["mails"]["sent"] == 1)

    running(dialogue)
    assert "authority 'other'" in post.mails[0].get_content()


@pytest.mark.usefixtures("stale")
def test_what_refuses_clients_is_mailed_at_once(running, make_plan, mail, post):
    async def dialogue(keeper, reports, until):
        keeper.follow(make_plan(mail=mail))
        await until(lambda: len(reports) >= 2)
        assert post.mails == []
        keeper.hear_outages(("mail: a.crl has ended; publish a new one",))
        keeper.hear_outages(("mail: a.crl has ended; publish a new one",))
        await until(lambda: reports[-1]["mails"]["sent"] == 1)

    running(dialogue)
    assert "- mail: a.crl has ended; publish a new one" in post.mails[0].get_content()


def test_a_mail_that_is_under_way_is_waited_for_at_the_end(running, stale, make_plan, mail, post):
    desk, _ = stale
    make_authority(desk, "other", now=clock.now(), days=5)
    asked = []

    async def dialogue(keeper, _reports, until):
        post.on_data = lambda: asked.append(True)
        keeper.follow(make_plan(mail=mail))
        await until(lambda: asked)

    running(dialogue)
    assert len(post.mails) == 1


class Broken:
    """Renewals that fail as nobody has thought of."""

    def run(self, _desk, _now):
        raise RuntimeError("no one thought of this")


def test_a_defect_is_a_trouble_and_lists_are_copied_all_the_same(stale, make_plan, caplog):
    desk, _ = stale
    watch = Watch(make_plan())
    watch._renewal = Broken()
    now = clock.now()
    watch.round(now)
    (trouble,) = watch.report()["troubles"]
    assert trouble["cause"] == "RuntimeError: no one thought of this"
    assert "Traceback" in caplog.text
    desk.file("corp", "crl").unlink()
    watch.refresh(now)
    assert desk.file("corp", "crl").exists()
    watch._renewal = Watch(make_plan())._renewal
    watch.round(now)
    assert watch.report()["troubles"] == []
    watch.close()
    watch.close()


@pytest.mark.usefixtures("stale")
def test_a_file_that_cannot_be_written_is_a_trouble_of_its_own(make_plan, monkeypatch):
    watch, now = Watch(make_plan()), clock.now()
    watch.round(now)
    looks = []

    def refuse(_self, _always):
        looks.append(True)
        return Refreshed((), OperationError("the disk is full", "Free it."))

    monkeypatch.setattr(watch_module.Copies, "refresh", refuse)
    watch.refresh(now)
    (trouble,) = watch.report()["troubles"]
    assert (trouble["what"], trouble["cause"]) == ("the files of revocation lists", "the disk is full")
    watch.refresh(now + timedelta(seconds=5))
    assert len(looks) == 1
    watch.refresh(now + timedelta(seconds=60))
    assert len(looks) == 2
    watch.end()
    watch.close()


def test_a_registry_that_is_away_is_asked_every_minute(make_plan, tmp_path):
    watch = Watch(make_plan(store=f"sqlite:///{tmp_path}/nowhere.db"))
    now = clock.now()
    for minute in range(4):
        watch.round(now + timedelta(minutes=minute))
        (trouble,) = watch.report()["troubles"]
        assert "there is no registry" in trouble["cause"]
        assert trouble["retry_at"] == (now + timedelta(minutes=minute + 1)).timestamp()
    watch.refresh(now + timedelta(minutes=3))


@pytest.mark.usefixtures("stale")
def test_a_registry_that_goes_away_while_mails_are_due_is_told(make_plan, mail, monkeypatch):
    watch, now = Watch(make_plan(mail=mail)), clock.now()
    asyncio.run(watch.mail(now))  # nothing was found yet
    watch.round(now)

    async def fail(*_):
        raise OperationError("the registry is away", "Bring it back.")

    monkeypatch.setattr(watch._mailing, "run", fail)
    asyncio.run(watch.mail(now))
    assert watch.report()["troubles"][0]["cause"] == "the registry is away"
    monkeypatch.undo()
    asyncio.run(watch.mail(now + HOUR))  # by an old look nobody is told anything
    watch.end()
    watch.close()


def test_the_log_says_where_a_newer_list_was_written(stale, make_plan, caplog):
    caplog.set_level(logging.INFO)
    desk, _ = stale
    watch = Watch(make_plan())
    desk.file("corp", "crl").unlink()
    watch.refresh(clock.now())
    watch.close()
    assert f"authority 'corp': wrote the registry's newest revocation list to {desk.file('corp', 'crl')}" in caplog.text
