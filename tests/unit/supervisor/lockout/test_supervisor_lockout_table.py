"""The one table of failed logins."""

import pytest

from gateway.config.model import Lockout
from gateway.supervisor.lockout import table as module
from gateway.supervisor.lockout.table import LockoutTable

SETTINGS = Lockout(failures=3, window_seconds=60.0, ban_seconds=600.0)


def test_the_last_failure_within_the_window_begins_a_ban():
    table = LockoutTable(SETTINGS)
    assert table.failed("192.0.2.1", 1, 100.0) is None
    assert table.failed("192.0.2.1", 1, 130.0) is None
    assert table.failed("192.0.2.1", 1, 160.0) == 760.0
    assert table.bans(200.0) == {"192.0.2.1": 760.0}
    assert table.bans(760.0) == {}


def test_failures_outside_the_window_do_not_count():
    table = LockoutTable(SETTINGS)
    for now in (0.0, 61.0, 122.0, 183.0):
        assert table.failed("192.0.2.1", 1, now) is None
    assert table.bans(184.0) == {}


def test_others_are_not_counted_along():
    table = LockoutTable(SETTINGS)
    table.failed("192.0.2.1", 2, 0.0)
    assert table.failed("192.0.2.2", 1, 0.0) is None


@pytest.mark.parametrize("count", [3, 4, 10**9])
def test_a_batch_counts_as_its_number_and_takes_no_more_memory(count):
    table = LockoutTable(SETTINGS)
    assert table.failed("192.0.2.1", count, 0.0) == 600.0


def test_who_is_let_in_again_begins_anew():
    table = LockoutTable(SETTINGS)
    table.failed("192.0.2.1", 3, 0.0)
    assert table.lift("192.0.2.1")
    assert not table.lift("192.0.2.1")
    assert table.bans(1.0) == {}
    assert table.failed("192.0.2.1", 2, 1.0) is None


def test_who_was_out_before_stays_out_as_long():
    table = LockoutTable(SETTINGS, {"192.0.2.1": 50.0, "192.0.2.2": 700.0})
    assert table.bans(49.0) == {"192.0.2.1": 50.0, "192.0.2.2": 700.0}
    assert table.bans(51.0) == {"192.0.2.2": 700.0}


def test_a_flood_of_bans_is_bounded_and_the_first_to_end_goes(monkeypatch):
    monkeypatch.setattr(module, "MAX_BANS", 2)
    table = LockoutTable(SETTINGS)
    for number in (2, 0, 1):
        table.failed(f"192.0.2.{number}", 3, float(number))
    assert set(table.bans(3.0)) == {"192.0.2.1", "192.0.2.2"}


def test_a_flood_of_addresses_is_forgotten_from_its_oldest(monkeypatch):
    monkeypatch.setattr(module, "MAX_TRACKED_CLIENTS", 2)
    table = LockoutTable(SETTINGS)
    for number in range(3):
        table.failed(f"192.0.2.{number}", 2, 0.0)
    assert table.failed("192.0.2.0", 1, 0.0) is None, "forgotten"
    assert table.failed("192.0.2.2", 1, 0.0) is not None
