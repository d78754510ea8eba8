"""A file is replaced as a whole or not at all, and is closed to others before its mode is set."""

import errno
import os
import stat
from pathlib import Path

import pytest

from gateway.atomic_write import replace_file


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "list.crl"
    path.write_bytes(b"old")
    return path


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_the_mode_does_not_depend_on_the_umask_or_the_old_file(target, mode):
    target.chmod(0o660)
    before = os.umask(0o077)
    try:
        replace_file(target, b"new", mode)
    finally:
        os.umask(before)
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == mode


def test_until_it_is_complete_the_new_file_has_another_name_and_only_its_owner_can_read_it(target, monkeypatch):
    real, seen = os.fchmod, []

    def note(descriptor, mode):
        (beside,) = (path for path in target.parent.iterdir() if path != target)
        seen.append((beside.name.startswith("."), stat.S_IMODE(beside.stat().st_mode), target.read_bytes()))
        real(descriptor, mode)

    monkeypatch.setattr(os, "fchmod", note)
    before = os.umask(0)
    try:
        replace_file(target, b"new", 0o644)
    finally:
        os.umask(before)
    assert seen == [(True, 0o600, b"old")]
    assert names(target.parent) == ["list.crl"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_beside_it(target, monkeypatch, step):
    def fails(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), fails)
    with pytest.raises(OSError, match="No space left"):
        replace_file(target, b"new", 0o600)
    assert target.read_bytes() == b"old"
    assert names(target.parent) == ["list.crl"]


def test_an_interruption_leaves_nothing_beside_it_either(target, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replace_file(target, b"new", 0o600)
    assert names(target.parent) == ["list.crl"]


def test_the_folder_is_flushed_after_the_new_name_is_in_it(target, monkeypatch):
    real, flushed = os.fsync, []

    def note(descriptor):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        flushed.append("folder" if is_folder else "file")
        assert (target.read_bytes() == b"new") is is_folder
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    replace_file(target, b"new", 0o600)
    assert flushed == ["file", "folder"]
