"""Changes of files are told once they rest."""

from pathlib import Path

import pytest

from gateway.supervisor.reload import file_watch
from gateway.supervisor.reload.file_watch import MAX_LOOKS, FileWatch

CERTIFICATE, KEY = Path("/server.crt"), Path("/server.key")


@pytest.fixture
def files(monkeypatch):
    """path → its stamp."""
    made = {CERTIFICATE: (1, 1, 1, 1), KEY: (2, 1, 1, 1)}
    monkeypatch.setattr(file_watch, "stamp_of", made.get)
    return made


@pytest.fixture
def watch(files):
    return FileWatch(files)


def test_nothing_has_changed(watch):
    assert [watch.look() for _ in range(2 * MAX_LOOKS)] == [()] * 2 * MAX_LOOKS


def test_a_change_is_told_once_when_it_rests(watch, files):
    files[CERTIFICATE] = (1, 2, 2, 2)
    assert watch.look() == ()
    files[CERTIFICATE] = (1, 3, 3, 3)
    assert watch.look() == ()
    assert watch.look() == (CERTIFICATE,)
    assert watch.look() == ()


def test_files_that_change_one_after_the_other_are_told_together(watch, files):
    files[CERTIFICATE] = None
    watch.look()
    files[CERTIFICATE], files[KEY] = (3, 1, 1, 1), (4, 1, 1, 1)
    assert watch.look() == ()
    assert watch.look() == (CERTIFICATE, KEY)


def test_a_file_that_never_rests_is_told_all_the_same(watch, files):
    for number in range(1, MAX_LOOKS):
        files[KEY] = (2, number, number, number + 1)
        assert watch.look() == ()
    files[KEY] = (2, 9, 9, 9)
    assert watch.look() == (KEY,)


def test_a_change_that_is_taken_back_is_none(watch, files):
    for _ in range(2 * MAX_LOOKS):
        files[KEY] = (2, 2, 2, 2)
        assert watch.look() == ()
        files[KEY] = (2, 1, 1, 1)
        assert watch.look() == ()


def test_what_was_read_anew_meanwhile_is_not_told(watch, files):
    files[KEY] = (2, 2, 2, 2)
    watch.look()
    watch.follow(files)
    assert [watch.look() for _ in range(3)] == [()] * 3
