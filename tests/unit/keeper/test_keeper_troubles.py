"""What fails is tried again ever more slowly, and told once for all that time."""

from __future__ import annotations

import logging
from datetime import timedelta

from gateway.errors import OperationError
from gateway.keeper.troubles import Troubles

ERROR = OperationError("the disk is full", "Free it.")


def _after(now, seconds):
    return now + timedelta(seconds=seconds)


def test_what_fails_is_tried_again_ever_more_slowly(now):
    troubles = Troubles()
    for seconds in (60, 120, 240, 480, 960, 1800, 1800):
        assert troubles.may_try("it", now)
        troubles.failed("it", ERROR, now)
        assert not troubles.may_try("it", _after(now, seconds - 1))
        now = _after(now, seconds)
    assert troubles.may_try("other", now)


def test_a_command_in_a_remedy_names_the_configuration(now, caplog):
    troubles = Troubles(" -c /etc/gateway.yaml")
    troubles.failed("the list", OperationError("it is older", "Run 'gateway ca crl corp'."), now)
    (trouble,) = troubles
    assert trouble.remedy == "Run 'gateway ca -c /etc/gateway.yaml crl corp'."
    assert "it is older; run 'gateway ca -c /etc/gateway.yaml crl corp'" in caplog.text


def test_some_things_are_tried_every_minute(now):
    troubles = Troubles()
    for _ in range(4):
        troubles.failed("it", ERROR, now, max_seconds=60)
        now = _after(now, 60)
        assert troubles.may_try("it", now)


def test_a_trouble_lasts_from_its_first_failure_until_it_works(now):
    troubles = Troubles()
    troubles.failed("it", ERROR, now)
    troubles.failed("it", OperationError("the disk is slow", "Wait."), _after(now, 60))
    (trouble,) = troubles
    assert (trouble.cause, trouble.since, trouble.attempts) == ("the disk is slow", now, 2)
    troubles.works("it")
    troubles.works("it")
    assert list(troubles) == []


def test_somebody_who_has_mended_it_need_not_wait(now):
    troubles = Troubles()
    for _ in range(6):
        troubles.failed("it", ERROR, now)
    troubles.retry()
    assert troubles.may_try("it", now)
    (trouble,) = troubles
    assert trouble.attempts == 6


def test_the_log_tells_the_first_time_another_cause_and_then_ever_more_rarely(now, caplog):
    caplog.set_level(logging.INFO)
    troubles = Troubles()
    for _ in range(20):
        troubles.failed("it", ERROR, now)
    assert len(caplog.records) == 5  # 1, 2, 4, 8, 16
    troubles.failed("it", OperationError("the disk is gone", "Buy one."), now)
    troubles.works("it")
    assert [record.getMessage() for record in caplog.records[-2:]] == [
        "it: the disk is gone; buy one",
        "it: works again",
    ]
