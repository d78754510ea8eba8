"""Files are whole or not there, and secrets are their owner's alone whatever the umask."""

from __future__ import annotations

import os
import stat

import pytest

from gateway.errors import OperationError, UsageError
from gateway.pki import files


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777])
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("umask")
def test_modes_do_not_depend_on_the_umask(tmp_path):
    files.write_private(tmp_path / "a.key", b"secret")
    files.append_private(tmp_path / "b.csv", b"secret")
    files.write_public(tmp_path / "c.crt", b"public")
    files.make_folder(tmp_path / "d")
    files.make_folder(tmp_path / "e", 0o700)
    assert [_mode(tmp_path / name) for name in ("a.key", "b.csv", "c.crt", "d", "e")] == [
        *(0o600, 0o600, 0o644, 0o755, 0o700)
    ]


def test_a_new_secret_takes_no_files_place(tmp_path):
    path = tmp_path / "a.key"
    files.write_new_private(path, b"first")
    assert _mode(path) == 0o600
    with pytest.raises(OperationError, match="File exists"):
        files.write_new_private(path, b"second")
    assert path.read_bytes() == b"first"


def test_a_new_secret_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", no_space)
    with pytest.raises(OperationError, match="No space left"):
        files.write_new_private(tmp_path / "a.key", b"secret")
    assert list(tmp_path.iterdir()) == []


def test_a_secret_takes_a_public_files_place(tmp_path):
    path = tmp_path / "a"
    files.write_public(path, b"public")
    files.write_private(path, b"secret")
    assert (path.read_bytes(), _mode(path)) == (b"secret", 0o600)
    path.chmod(0o666)
    files.append_private(path, b"s")
    assert (path.read_bytes(), _mode(path)) == (b"secrets", 0o600)


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").touch()
    with pytest.raises(OperationError, match="folder: cannot be written"):
        files.write_private(tmp_path / "folder", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_places_that_are_not_there(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OperationError, match="cannot be written: No such file"):
        files.write_private(tmp_path / "none" / "x", b"")
    with pytest.raises(OperationError, match="cannot be written"):
        files.append_private(tmp_path / "none" / "x", b"")
    with pytest.raises(OperationError, match="cannot be made"):
        files.make_folder(tmp_path / "file" / "x")
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        files.read(tmp_path / "none")


def test_a_link_is_not_followed_when_secrets_are_appended(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OperationError):
        files.append_private(tmp_path / "link", b"secret")
    assert not (tmp_path / "elsewhere").exists()


def test_a_link_is_replaced_not_followed(tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"before")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    files.write_private(tmp_path / "link", b"secret")
    assert (tmp_path / "elsewhere").read_bytes() == b"before"


def test_a_fifo_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for read in (files.read, files.read_secret):
        with pytest.raises(UsageError, match="cannot be read: not a regular file"):
            read(tmp_path / "fifo")


def test_a_file_may_have_so_many_bytes(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(files.MAX_FILE_BYTES)
    assert len(files.read(path)) == files.MAX_FILE_BYTES
    with path.open("wb") as file:
        file.truncate(files.MAX_FILE_BYTES + 1)
    with pytest.raises(UsageError, match="is larger than"):
        files.read(path)


@pytest.mark.parametrize("written", [b"hush hush", b"hush hush\n", b"\xef\xbb\xbfhush hush\r\nsecond line\n"])
def test_a_secret_is_the_first_line(tmp_path, written):
    path = tmp_path / "passphrase"
    path.write_bytes(written)
    assert files.read_secret(path) == "hush hush"


def test_a_secret_that_is_no_text_is_not_quoted(tmp_path):
    path = tmp_path / "passphrase"
    path.write_bytes(b"hush\xff")
    with pytest.raises(UsageError, match="is not UTF-8") as refused:
        files.read_secret(path)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_an_empty_secret_is_none(tmp_path):
    path = tmp_path / "passphrase"
    path.write_bytes(b"\nsecond line")
    with pytest.raises(UsageError, match="first line is empty"):
        files.read_secret(path)


def test_whether_a_folder_or_a_place_can_be_written_is_known_beforehand(tmp_path, monkeypatch):
    files.check_folder(tmp_path / "new" / "below")
    files.check_place(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    for check, place in ((files.check_folder, "file"), (files.check_folder, "file/new"), (files.check_place, "new/x")):
        with pytest.raises(OperationError, match=f"{place}: cannot be written"):
            check(tmp_path / place)
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)  # root may write everywhere
    with pytest.raises(OperationError, match="Permission denied"):
        files.check_folder(tmp_path / "new")
