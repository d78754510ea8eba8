"""What is read whole, and what isn't read at all."""

import errno
import os
from pathlib import Path

import pytest

from gateway.regular_files import NotRegularError, TooLargeError, read_regular


def test_a_file_up_to_its_bound_also_by_a_link(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 10)
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", 10) == b"x" * 10
    with pytest.raises(TooLargeError, match="larger than 9 bytes"):
        read_regular(tmp_path / "file", 9)


def test_what_would_not_end_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(NotRegularError):
            read_regular(path, 10)
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path, 10)
    with pytest.raises(OSError, match="not a file name") as raised:
        read_regular(tmp_path / "a\0b", 10)
    assert raised.value.errno == errno.EINVAL


def open_descriptors():
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_no_descriptor_is_left_open(tmp_path):
    before = open_descriptors()
    for path in (tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match=r"directory|regular"):
            read_regular(path, 10)
    assert open_descriptors() == before


def test_a_pipe_that_the_process_was_given_is_read(tmp_path):
    """As a shell's `<(command)` gives it."""
    reader, writer = os.pipe()
    try:
        os.write(writer, b"secret\n")
        os.close(writer)
        assert read_regular(Path(f"/dev/fd/{reader}"), 100) == b"secret\n"
        assert read_regular(Path(f"/proc/self/fd/{reader}"), 100) == b""
    finally:
        os.close(reader)
    for given, error in ((tmp_path, IsADirectoryError), (Path("/dev/zero"), NotRegularError)):
        descriptor = os.open(given, os.O_RDONLY)
        try:
            with pytest.raises(error):
                read_regular(Path(f"/dev/fd/{descriptor}"), 100)
        finally:
            os.close(descriptor)
