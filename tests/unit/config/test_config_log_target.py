"""Where the access log goes, and what nearly names such a place."""

from pathlib import Path

import pytest
from support.config_files import BASE, NOW

from gateway.config import log_target
from gateway.config.addresses import Unreadable
from gateway.config.load import load, load_with_warnings, read_log_place
from gateway.config.log_target import UNIX_PATH_BYTES, parse_log_target, read_log_target
from gateway.config.model import AccessLog, SyslogServer
from gateway.config.problems import ConfigErrors, Mark, Place, Problems
from gateway.config.reading import Value

FOLDER = Path("/etc/gateway")
LONGEST = "/" + "x" * (UNIX_PATH_BYTES - 1)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("-", "stdout"),
        ("journald", "journald"),
        ("./journald", FOLDER / "journald"),
        ("logs/access.jsonl", FOLDER / "logs/access.jsonl"),
        ("/var/log/syslog", Path("/var/log/syslog")),
        ("syslog:10.0.0.5", SyslogServer("udp", "10.0.0.5", 514)),
        ("syslog:10.0.0.5:5140", SyslogServer("udp", "10.0.0.5", 5140)),
        ("syslog:udp://logs.example.com:514/", SyslogServer("udp", "logs.example.com", 514)),
        ("Syslog:TCP://Logs.Example.com", SyslogServer("tcp", "logs.example.com", 514)),
        ("syslog:tls://[fd00::5]", SyslogServer("tls", "fd00::5", 6514)),
        ("syslog:/dev/log", SyslogServer("unix", "/dev/log")),
        ("syslog:unix:///run/log.sock", SyslogServer("unix", "/run/log.sock")),
        (f"syslog:{LONGEST}", SyslogServer("unix", LONGEST)),
        ("syslog:tcp://10.0.0.5:65535", SyslogServer("tcp", "10.0.0.5", 65535)),
    ],
)
def test_a_place(text, target):
    assert parse_log_target(text, FOLDER) == target


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("Journald", "write journald, or ./Journald for a file"),
        ("syslog", "; or ./syslog for a file"),
        ("syslog:", 'write "syslog:udp://10.0.0.5:514"'),
        ("syslog://10.0.0.5:514", 'write "syslog:udp://10.0.0.5:514"'),
        ("syslog:fd00::5", 'write an IPv6 address in brackets: "syslog:udp://[fd00::5]:514"'),
        ("syslog:tls://fd00::5", 'write an IPv6 address in brackets: "syslog:tls://[fd00::5]:6514"'),
        ("syslog:tls:10.0.0.5:6514", 'write "syslog:tls://10.0.0.5:6514"'),
        ("syslog:ssl://logs.example.com", 'write "syslog:tls://logs.example.com"'),
        ("syslog:ftp://logs.example.com", 'write "syslog:udp://10.0.0.5:514"'),
        ("tcp://10.0.0.5:514", 'write "syslog:tcp://10.0.0.5:514"'),
        ("udp://", 'write "syslog:udp://10.0.0.5:514"'),
        ("syslog:tcp://10.0.0.5:0", "write a port up to 65535"),
        ("syslog:tcp://10.0.0.5:65536", "write a port up to 65535"),
        ("syslog:tcp://someone@10.0.0.5", 'write "syslog:udp://10.0.0.5:514"'),
        ("syslog:tcp://10.0.0.5/path", 'write "syslog:udp://10.0.0.5:514"'),
        ("syslog:*", "write its name without '*'"),
        ("syslog:unix://run/log", "write one such as syslog:/dev/log"),
        ("syslog:/run/a\x00b", "write a path such as /dev/log"),
        (f"syslog:{LONGEST}x", "write a shorter one such as /dev/log"),
    ],
)
def test_what_is_nearly_a_place(text, remedy):
    with pytest.raises(Unreadable) as raised:
        parse_log_target(text, FOLDER)
    assert remedy in raised.value.remedy
    assert raised.value.cause


@pytest.mark.parametrize(
    ("server", "url"),
    [
        (SyslogServer("tls", "fd00::5", 6514), "syslog:tls://[fd00::5]:6514"),
        (SyslogServer("unix", "/run/a:b"), "syslog:unix:///run/a:b"),
    ],
)
def test_a_server_is_named_as_it_can_be_written(server, url):
    assert server.url == url
    assert parse_log_target(url, FOLDER) == server


def test_a_server_with_its_ca(write, folder):
    config = load(write(BASE + "access_log: {path: 'syslog:tls://10.0.0.5', ca: ca.pem}\n"), now=NOW, environ={})
    assert config.access_log == AccessLog(syslog=SyslogServer("tls", "10.0.0.5", 6514, folder / "ca.pem"))
    assert not config.access_log.is_stdout


def said(write, text):
    try:
        return [str(each) for each in load_with_warnings(write(BASE + text), now=NOW, environ={}).warnings]
    except ConfigErrors as errors:
        return [str(each) for each in errors.problems]


@pytest.mark.parametrize("path", ["logs/access.jsonl", "syslog:udp://10.0.0.5"])
def test_a_ca_is_only_for_tls(write, path):
    (line,) = said(write, f"access_log: {{path: '{path}', ca: ca.pem}}\n")
    assert "access_log.ca: ca is for a syslog server with TLS; remove it" in line


def test_a_ca_that_is_missing(write):
    (line,) = said(write, "access_log: {path: 'syslog:tls://10.0.0.5', ca: nowhere.pem}\n")
    assert "access_log.ca:" in line


@pytest.mark.parametrize(
    ("server", "is_exposed"),
    [("udp://8.8.8.8", True), ("tcp://[2600::1]:99", True), ("tls://8.8.8.8", False), ("udp://10.0.0.5", False)],
)
def test_lines_that_cross_the_internet_unencrypted_are_warned_of(write, server, is_exposed):
    lines = said(write, f"access_log: {{path: 'syslog:{server}'}}\n")
    assert ["unencrypted" in line for line in lines] == [True] * is_exposed
    if is_exposed:
        remedy = lines[0].partition("; write ")[2]
        assert said(write, f"access_log: {{path: {remedy}}}\n") == []


@pytest.mark.parametrize("is_there", [True, False])
def test_a_journal_that_is_missing_is_an_error(write, monkeypatch, tmp_path, is_there):
    socket = tmp_path / "socket"
    monkeypatch.setattr(log_target, "JOURNAL_SOCKET", socket)
    if is_there:
        socket.touch()
    lines = said(write, "access_log: {path: journald}\n")
    assert ["systemd-journald is not running here" in line for line in lines] == [True] * (not is_there)


@pytest.mark.parametrize(
    ("path", "is_wrong"), [("access.jsonl", False), ("-", True), ("journald", True), ("syslog:10.0.0.5", True)]
)
def test_only_a_file_is_rotated(monkeypatch, tmp_path, path, is_wrong):
    monkeypatch.setattr(log_target, "JOURNAL_SOCKET", tmp_path)
    problems = Problems("config.yaml")
    rotate = Value({}, Place(Mark(3, 1), "access_log.rotate"))
    section = Value({"path": Value(path, Place(Mark(2, 1))), "rotate": rotate}, Place())
    read_log_target(section, tmp_path, problems)
    found = [(str(each.place.path), each.cause) for each in problems.errors]
    assert found == [("access_log.rotate", "rotate is for a file, and this log goes elsewhere")] * is_wrong


def test_the_place_is_read_without_the_files_that_are_named(write):
    path = write("access_log: {path: 'syslog:10.0.0.5'}\n" + BASE)
    assert read_log_place(path, environ={}) == SyslogServer("udp", "10.0.0.5", 514)
    assert read_log_place(write(BASE), environ={}) == "stdout"
    with pytest.raises(ConfigErrors, match="not a syslog server"):
        read_log_place(write("access_log: {path: 'syslog:'}\n" + BASE), environ={})
