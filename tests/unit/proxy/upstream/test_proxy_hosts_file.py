"""Names that are in the hosts file, and `localhost`."""

import pytest

from gateway.proxy.upstream.hosts_file import MAX_HOSTS_BYTES, HostsFile, read_hosts

FILE = """\
# comment
127.0.0.1   localhost
10.0.0.5    mail.lan Mail mail.lan.   # the old one
fd00::5\tmail.lan
10.0.0.6 mail.lan
fe80::1%eth0 link.lan
10.0.0.300 wrong.lan
alone.lan
10.0.0.7
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "hosts"
    file.write_text(FILE)
    return file


def test_all_lines_of_a_name_count_ipv6_first(path):
    hosts = HostsFile(path)
    assert hosts.find("mail.lan") == ("fd00::5", "10.0.0.5", "10.0.0.6")
    assert hosts.find("mail") == ("10.0.0.5",)
    assert hosts.find("link.lan") == ("fe80::1%eth0",)


@pytest.mark.parametrize("name", ["wrong.lan", "alone.lan", "other.lan", ""])
def test_what_is_not_there_is_for_dns(path, name):
    assert HostsFile(path).find(name) == ()


def test_a_change_counts_at_the_next_look(path):
    hosts = HostsFile(path)
    assert hosts.find("new.lan") == ()
    path.write_text("10.0.0.9 new.lan\n")
    assert hosts.find("new.lan") == ("10.0.0.9",)
    path.unlink()
    assert hosts.find("new.lan") == ()
    path.write_text("10.0.0.9 new.lan\n")
    assert hosts.find("new.lan") == ("10.0.0.9",)


def test_localhost_is_this_machine_whatever_the_file_lacks(path, tmp_path):
    assert HostsFile(path).find("localhost") == ("127.0.0.1",)
    assert HostsFile(path).find("mail.localhost") == ("::1", "127.0.0.1")
    assert HostsFile(tmp_path / "missing").find("localhost") == ("::1", "127.0.0.1")


def test_so_much_of_the_file_is_read_and_no_more(path):
    line = b"10.0.0.5 inside.lan\n"
    path.write_bytes(line + b"#" * (MAX_HOSTS_BYTES - 2 * len(line) - 1) + b"\n" + line.replace(b"in", b"en") + line)
    assert HostsFile(path).find("enside.lan") == ("10.0.0.5",)
    path.write_bytes(b"#" * MAX_HOSTS_BYTES + b"\n" + line)
    assert HostsFile(path).find("inside.lan") == ()


def test_bytes_that_are_no_text_name_nobody():
    assert read_hosts(b"\xff\xfe 10.0.0.5\n10.0.0.6 \xff fine.lan\r\n")["fine.lan"] == ("10.0.0.6",)
