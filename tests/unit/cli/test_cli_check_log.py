"""`gateway check` looks up the name of the server that takes the access log."""

from __future__ import annotations

import socket

import pytest
from support.config_files import BASE, NOW, fill

from gateway.cli.check_log import log_problems
from gateway.config.load import load_with_warnings


def problems(tmp_path, place, look_up):
    fill(tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text(BASE + f"access_log: {{path: '{place}'}}\n")
    return log_problems(load_with_warnings(path, now=NOW, environ={}), "config.yaml", look_up)


def unknown(host, port):
    assert (host, port) == ("logs.example.com", 6514)
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_a_name_that_is_not_found_is_a_warning(tmp_path):
    (problem,) = problems(tmp_path, "syslog:tls://logs.example.com", unknown)
    assert problem.is_warning
    assert str(problem).endswith(
        "warning: access_log.path: the name logs.example.com is not found: Name or service not known; "
        "correct it, or write the server's IP address"
    )


@pytest.mark.parametrize("place", ["-", "access.jsonl", "syslog:/dev/log"])
def test_what_has_no_name_is_not_looked_up(tmp_path, place):
    assert problems(tmp_path, place, unknown) == ()


def test_a_name_that_is_found_is_good(tmp_path):
    assert problems(tmp_path, "syslog:tls://logs.example.com", lambda _host, _port: []) == ()
