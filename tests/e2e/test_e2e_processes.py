"""A gateway as a service: workers that die, a stop that waits for answers, a log that moves, starts that fail."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from support.client import Client, ask
from support.gateway import INSIDE, Gateway, settings_for
from support.waiting import PATIENCE_SECONDS, until

pytestmark = [pytest.mark.e2e, pytest.mark.measured]


@pytest.fixture
def start_one(tmp_path):
    """Starts a gateway that the test itself ends."""
    started = []

    def start(settings) -> Gateway:
        started.append(Gateway.start(tmp_path, settings))
        return started[-1]

    yield start
    for gateway in started:
        if gateway.process.poll() is None:
            gateway.kill()
    for gateway in started:
        gateway.check_errors()


def is_served(gateway) -> bool:
    with contextlib.suppress(OSError, EOFError):
        return ask(gateway.port, "/webmail").status == 200
    return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_dies_is_replaced_and_nobody_else_notices(start_one, credentials, mail, number):
    gateway = start_one(settings_for(credentials.site, mail.url, workers=2))
    before = set(gateway.workers())
    gateway.expected_errors.append(rf"worker \d+ ended \(signal {number.name}\)")
    for victim in before:
        os.kill(victim, number)
    until(lambda: len(set(gateway.workers()) - before) == len(before), "as many others have taken their place")
    until(lambda: is_served(gateway), "requests are served")
    assert gateway.errors.count(f"(signal {number.name})") == len(before)
    assert gateway.stop() == 0


def test_workers_may_have_as_many_files_open_as_the_system_allows(start_one, credentials, mail):
    """Started from a shell with the usual 1,024, they would serve no more than 500 long polls."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))  # the gateway inherits it
    try:
        gateway = start_one(settings_for(credentials.site, mail.url, workers=2))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for pid in gateway.workers():
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (hard, hard)
        assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
    assert gateway.stop() == 0


def test_a_stop_waits_for_the_answer_that_is_under_way(start_one, credentials, mail):
    gateway = start_one(settings_for(credentials.site, mail.url, workers=2))
    goes_on = threading.Event()

    def answer(dialogue):
        dialogue.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        assert goes_on.wait(PATIENCE_SECONDS)
        dialogue.send(b"-last")

    mail.answer("/webmail/slow", answer)
    with Client(gateway.port) as busy, Client(gateway.port) as idle:
        assert idle.ask("GET", "/webmail").status == 200
        busy.send(busy.request("GET", "/webmail/slow"))
        busy.read_until(b"first")
        gateway.signal(signal.SIGTERM)
        assert idle.is_at_end()
        until(lambda: not _accepts(gateway.port), "nobody new is let in")
        assert gateway.process.poll() is None
        goes_on.set()
        assert busy.read(5) == b"-last"
        assert busy.is_at_end()
    assert gateway.process.wait(PATIENCE_SECONDS) == 0
    (record,) = [record for record in gateway.log.records() if record["uri"] == "/webmail/slow"]
    assert (record["status"], record["reason"], record["bytes_out"]) == (200, None, 10)


def _accepts(port):
    with contextlib.suppress(ConnectionRefusedError):
        socket.create_connection((INSIDE, port), timeout=PATIENCE_SECONDS).close()
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_gateway_stops_at_once(start_one, credentials, mail, number):
    gateway = start_one(settings_for(credentials.site, mail.url, workers=2))
    gateway.signal(number)
    assert gateway.process.wait(PATIENCE_SECONDS) == 0


def test_workers_do_not_outlive_their_master(start_one, credentials, mail):
    gateway = start_one(settings_for(credentials.site, mail.url, workers=2))
    workers = gateway.workers()
    gateway.kill()
    until(lambda: not any(_is_running(pid) for pid in workers), "the workers are gone too")


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_access_log_is_opened_anew_on_demand(start_one, credentials, mail):
    """As logrotate does it: move the file away, then tell the gateway."""
    gateway = start_one(settings_for(credentials.site, mail.url, workers=2))
    old = gateway.folder / "access.jsonl.1"
    assert ask(gateway.port, "/webmail/1").status == 200
    until(lambda: "/webmail/1" in gateway.log.path.read_text(), "the first record")
    gateway.log.path.rename(old)
    gateway.signal(signal.SIGUSR1)
    until(gateway.log.path.exists, "a new file")

    def is_only_in_the_new_one():
        ask(gateway.port, "/webmail/2")
        return sum("/webmail/2" in str(record["uri"]) for record in gateway.log.records()) >= 4

    until(is_only_in_the_new_one, "every worker writes to the new file")
    size = old.stat().st_size
    for _ in range(6):
        ask(gateway.port, "/webmail/3")
    until(lambda: sum(record["uri"] == "/webmail/3" for record in gateway.log.records()) == 6, "all in the new file")
    assert old.stat().st_size == size
    assert gateway.stop() == 0


# starts that fail


def run(folder, settings) -> subprocess.CompletedProcess[str]:
    config = folder / "config.yaml"
    config.write_text(settings if isinstance(settings, str) else yaml.safe_dump(settings, sort_keys=False))
    return subprocess.run(
        [sys.executable, "-m", "gateway", "run", "-c", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def problems(done) -> list[str]:
    assert "Traceback" not in done.stderr
    assert not done.stdout
    return [line for line in done.stderr.splitlines() if ": warning: " not in line]


@pytest.mark.parametrize("what", ["missing", "garbled", "empty", "a folder"])
def test_a_start_without_its_files_fails_closed_and_names_each(tmp_path, what):
    """Above all a client CA that is gone must never mean: the system's CAs, or anybody."""
    path = tmp_path / "broken.pem"
    if what == "garbled":
        path.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    elif what == "empty":
        path.write_text("")
    elif what == "a folder":
        path.mkdir()
    settings = settings_for(
        {"certificate": str(path), "key": str(path), "client_ca": [str(path)]}, "http://127.0.0.1:1"
    )
    done = run(tmp_path, settings)
    assert done.returncode == 2
    found = problems(done)
    for key in ("certificate", "key", "client_ca"):
        (problem,) = [line for line in found if f": sites[0].{key}" in line]
        assert str(path) in problem


def test_everything_that_is_wrong_with_a_file_is_said_at_once(tmp_path, credentials):
    settings = settings_for({**credentials.site, "client_ca": [str(tmp_path / "gone.pem")]}, "ftp://127.0.0.1:1")
    settings["rules"] = [{"name": "x", "action": "permit"}]
    settings["workesr"] = 2
    done = run(tmp_path, settings)
    assert done.returncode == 2
    found = problems(done)
    assert len(found) == 4
    for part in ("sites[0].client_ca", "upstreams.mail.servers", "rules[0].action", "workesr"):
        assert sum(part in problem for problem in found) == 1
    assert all(problem.startswith(f"{tmp_path / 'config.yaml'}:") for problem in found)


@pytest.mark.parametrize("text", ["listen: [", "\x00", ""])
def test_a_file_that_is_none_is_one_problem(tmp_path, text):
    done = run(tmp_path, text)
    assert done.returncode == 2
    assert len(problems(done)) == 1


def test_a_port_in_use_is_said_with_its_remedy(tmp_path, credentials):
    with socket.create_server((INSIDE, 0)) as taken:
        settings = settings_for(credentials.site, "http://127.0.0.1:1")
        settings["listen"] = [{"address": f"{INSIDE}:{taken.getsockname()[1]}"}]
        done = run(tmp_path, settings)
    assert done.returncode == 1
    cause, remedy = [line for line in problems(done) if "WARNING" not in line]
    assert "Address already in use" in cause
    assert settings["listen"][0]["address"] in cause
    assert remedy.strip() == "Stop the other program that listens there, or write another port."
