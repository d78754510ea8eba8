"""What to run so that a user may read or write: each command is right for the first thing that is closed."""

import os
import pwd
import re
from pathlib import Path

import pytest

from gateway import access


@pytest.fixture
def closed(monkeypatch):
    """Folders that the user, who has neither name nor named group, can't enter."""
    folders = set()
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    monkeypatch.setattr(os, "getegid", lambda: 54322)
    monkeypatch.setattr(os, "access", lambda path, _mode: path not in folders)
    return folders


@pytest.mark.usefixtures("closed")
def test_a_file_is_opened_to_the_users_group():
    remedy = "let the user 54321 read it: chgrp 54322 '/etc/a b.key' && chmod g+r '/etc/a b.key'"
    assert access.to_read(Path("/etc/a b.key")) == remedy


def test_the_first_closed_folder_comes_first(closed):
    closed |= {Path("/srv/a"), Path("/srv/a/b")}
    assert access.to_read(Path("/srv/a/b/c")).endswith("chgrp 54322 /srv/a && chmod g+x /srv/a")
    assert access.to_write(Path("/srv/a/b/c")).endswith("chgrp 54322 /srv/a && chmod g+x /srv/a")


@pytest.mark.usefixtures("closed")
def test_to_write_into_a_folder_takes_more_than_to_write_to_a_file(tmp_path):
    file = tmp_path / "log"
    file.touch()
    assert access.to_write(file).endswith(f"chmod g+rw {file}")
    assert access.to_write(tmp_path).endswith(f"chmod g+rwx {tmp_path}")


def test_users_and_groups_are_named():
    root = pwd.getpwuid(os.geteuid()).pw_name
    assert access.to_read(Path("/x")).startswith(f"let the user {root} read it: chgrp ")


@pytest.mark.parametrize("ask", [access.exists, access.is_file])
def test_what_is_behind_a_closed_folder_is_not_there_and_no_error(monkeypatch, tmp_path, ask):
    """`Path.exists` and `Path.is_file` raise there."""
    path = tmp_path / "file"
    assert not ask(path)
    path.touch()
    assert ask(path)

    def closed(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", closed)
    assert not ask(path)


@pytest.mark.parametrize("package", ["pki", "cli"])
def test_commands_ask_for_files_in_no_other_way(package):
    """They are called by people who may not enter every folder, with any path."""
    asking = re.compile(r"\.(?:exists|is_file)\(\)")
    sources = (Path(access.__file__).parent / package).rglob("*.py")
    found = [f"{source.name}: {line}" for source in sources for line in source.read_text().splitlines()]
    assert [line for line in found if asking.search(line) and "script.is_file" not in line] == []
