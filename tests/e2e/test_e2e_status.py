"""`gateway status`, health and metrics of a running gateway, and what they say when something goes wrong."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest
from support.client import Client, ask, context_for
from support.gateway import HOST, INSIDE, OUTSIDE, free_port, settings_for
from support.openssl_ca import OpensslCa, put
from support.waiting import until
from support.watched import Watched

pytestmark = [pytest.mark.e2e, pytest.mark.measured]

SECRET = "correct horse"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return OpensslCa.make(tmp_path_factory.mktemp("ca"), "root")


@pytest.fixture(scope="module")
def launch(tmp_path_factory, credentials, mail, root):
    launched = []

    def start(**more) -> Watched:
        folder = tmp_path_factory.mktemp("gateway")
        root.publish(folder / "root.crl")
        site = {**credentials.server, "client_ca": [str(root.certificate)], "crl": ["root.crl"]}
        settings = {"workers": 2, "admin": {"address": f"{INSIDE}:{free_port()}"}, **more}
        launched.append(Watched.start(folder, settings_for(site, mail.url, **settings)))
        return launched[-1]

    yield start
    for gateway in launched:
        assert gateway.stop() == 0
        gateway.check_errors()


@pytest.fixture(scope="module")
def gateway(launch) -> Watched:
    """Every test leaves it as well as it was."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAIL_KEY_PASSWORD", SECRET)
        return launch()


@pytest.fixture(autouse=True)
def _well_again(request):
    yield
    if "gateway" in request.fixturenames:
        gateway = request.getfixturevalue("gateway")
        until(lambda: not (state := gateway.state())["reload"]["error"] and _is_well(state), "all is well again")


def _is_well(state):
    return [worker["is_answering"] for worker in state["workers"]] == [True, True]


def test_all_is_well_after_the_start(gateway):
    state = gateway.state()
    assert any("runs as root" in line for line in state["warnings"]) == (os.geteuid() == 0)
    assert ("the gateway runs as root" in gateway.errors) == (os.geteuid() == 0)
    assert [worker["is_answering"] for worker in state["workers"]] == [True, True]
    assert {worker["pid"] for worker in state["workers"]} == set(gateway.workers())
    assert state["pid"] == gateway.process.pid
    assert state["reload"]["error"] is None
    (site,) = state["sites"]
    assert (site["name"], len(site["client_cas"])) == (HOST, 1)
    assert [Path(entry["name"]).name for entry in site["crls"]] == ["root.crl"]
    assert 6 * 86400 < site["crls"][0]["seconds_left"] < 8 * 86400

    told = gateway.ask_status()
    assert (told.returncode, told.stderr) == (0, "")
    assert "2 of 2 answer" in told.stdout
    assert f"{HOST} to mail" in told.stdout
    assert "problems" not in told.stdout
    assert "\x1b" not in told.stdout
    assert json.loads(gateway.ask_status("--json").stdout)["problems"] == []
    assert gateway.get("/healthz") == (200, "ok\n")
    assert gateway.ask_status("--health").stdout == "ok\n"


def test_what_was_asked_refused_and_broken_off_is_counted(gateway, credentials):
    context = context_for(credentials.server_ca)
    with Client(gateway.port, context=context) as client:
        for _ in range(3):
            assert client.ask("GET", "/webmail").status == 200
    assert ask(gateway.port, "/webmail", source=OUTSIDE, context=context).verdict == (403, "certificate_missing")

    until(lambda: gateway.metric("gateway_requests_total", status="2xx", reason="") == 3, "three answers")
    refused = {"status": "4xx", "reason": "certificate_missing"}  # perhaps by the other worker, which reports later
    until(lambda: gateway.metric("gateway_requests_total", **refused) == 1, "one refusal")
    until(lambda: gateway.metric("gateway_handshakes_total", result="full") == 2, "two handshakes")
    assert gateway.metric("gateway_handshakes_total", result="failed") >= 1  # the start's own probes
    assert gateway.metric("gateway_body_bytes_total", direction="sent") > 0
    until(lambda: gateway.metric("gateway_workers", state="answering") == 2, "both workers answer")


def test_a_broken_yaml_is_refused_and_named_with_its_line(gateway):
    """The file on disk can't even be parsed, and still it says where to ask."""
    gateway.expected_errors.append("reload refused, .*: not valid YAML")
    good = gateway.config.read_text()
    gateway.config.write_text(good + "rules: [}\n")
    gateway.signal(signal.SIGHUP)
    until(lambda: gateway.state()["reload"]["error"], "the refusal")

    told = gateway.ask_status()
    line = good.count("\n") + 1
    assert told.returncode == 1
    assert "the newest reload was refused" in told.stdout
    assert f"{gateway.config}:{line}:9: not valid YAML" in told.stdout
    assert gateway.metric("gateway_config_current") == 0
    assert gateway.get("/healthz")[0] == 200

    gateway.config.write_text(good)
    gateway.signal(signal.SIGHUP)
    until(lambda: gateway.state()["reload"]["error"] is None, "the good file is taken")
    reload = gateway.state()["reload"]
    assert (reload["succeeded"], reload["refused"], reload["refused_at"]) == (1, 1, None)


def test_every_problem_of_a_wrong_file_is_told(gateway):
    gateway.expected_errors.append("reload refused, .*(rulez|workers): ")
    gateway.rewrite(rulez=[], workers=2000)
    until(lambda: gateway.state()["reload"]["error"], "the refusal")
    told = gateway.ask_status("--json")
    problems = json.loads(told.stdout)["problems"]
    assert told.returncode == 1
    assert len([line for line in problems if f"{gateway.config}:" in line]) == 2
    assert any("rulez: unknown key" in line for line in problems)
    gateway.rewrite()


def test_a_revocation_list_that_broke_on_disk_is_told_and_the_last_good_one_stays(gateway, root):
    def warnings():
        return [line for line in gateway.state()["warnings"] if str(crl) in line]

    crl = gateway.folder / "root.crl"
    gateway.expected_errors.append(rf"{re.escape(str(crl))}: .*the last good list")
    put(crl, b"half a list")
    until(warnings, "the warning")
    told = gateway.ask_status()
    assert told.returncode == 1
    assert f"{crl}: " in told.stdout
    assert "until then the last good list is used" in told.stdout
    assert gateway.state()["is_serving"]
    root.publish(crl)
    until(lambda: not warnings(), "the new one counts")


def test_killed_workers_are_replaced_and_their_counts_stay(gateway, credentials):
    before = gateway.metric("gateway_requests_total", status="2xx", reason="")
    context = context_for(credentials.server_ca)
    for _ in range(5):
        assert ask(gateway.port, "/webmail", context=context).status == 200
    after = before + 5
    until(lambda: gateway.metric("gateway_requests_total", status="2xx", reason="") == after, "five answers")

    victims = gateway.workers()
    gateway.expected_errors += [rf"worker {victim} ended \(signal SIGKILL\)" for victim in victims]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    until(lambda: (state := gateway.state())["worker_restarts"] == 2 and _is_well(state), "new workers")
    assert gateway.ask_status().returncode == 0
    assert not set(victims) & {worker["pid"] for worker in gateway.state()["workers"]}
    assert gateway.metric("gateway_requests_total", status="2xx", reason="") == after


def test_a_worker_that_hangs_is_shown_with_the_age_of_its_last_word(gateway):
    gateway.state()
    hung = gateway.workers()[0]
    os.kill(hung, signal.SIGSTOP)
    try:
        until(lambda: gateway.metric("gateway_workers", state="answering") == 1, "one doesn't answer")
        told = gateway.ask_status(is_hung=True)
        assert told.returncode == 1
        assert f"worker {hung} does not answer (its last report is " in told.stdout
        assert gateway.get("/healthz")[0] == 200
    finally:
        os.kill(hung, signal.SIGCONT)


def test_without_any_worker_that_answers_health_is_bad(gateway):
    workers = gateway.workers()
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: gateway.get("/healthz") == (503, "no worker answers\n"), "nobody serves")
        told = gateway.ask_status("--health")
        assert (told.returncode, told.stdout) == (1, "")
        assert "no worker answers" in told.stderr
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)


def test_a_killed_admin_process_comes_back(gateway):
    (first,) = until(lambda: gateway.helpers("gateway-admin"), "the admin process")
    gateway.expected_errors.append(rf"the admin process {first} ended \(signal SIGKILL\)")
    os.kill(first, signal.SIGKILL)
    (second,) = until(lambda: [pid for pid in gateway.helpers("gateway-admin") if pid != first], "a new one")
    assert gateway.get("/healthz") == (200, "ok\n")
    assert second != first


def test_the_admin_process_has_no_key_no_password_and_no_site_of_ours(gateway):
    """It is a program of its own: whatever the master read is not in it."""
    assert gateway.get("/healthz")[0] == 200
    (pid,) = gateway.helpers("gateway-admin")
    process = Path(f"/proc/{pid}")

    assert SECRET.encode() in Path(f"/proc/{gateway.process.pid}/environ").read_bytes()
    assert SECRET.encode() not in (process / "environ").read_bytes()
    assert "cryptography" not in (process / "maps").read_text()
    assert "cryptography" in Path(f"/proc/{gateway.process.pid}/maps").read_text()
    listening = {
        line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
    }
    ours = set()
    for link in (process / "fd").iterdir():
        target = str(link.readlink())
        if target.startswith("socket:["):
            ours.add(target[8:-1])
    assert len(listening & ours) == 1


def test_the_admin_port_answers_no_name_that_was_pointed_at_it(gateway):
    assert gateway.get("/status", host="evil.example")[0] == 403
    assert gateway.get("/status", host=f"localhost:{gateway.admin_port}")[0] == 200


def test_without_an_admin_section_no_port_is_opened(launch):
    gateway = launch(admin=None)
    assert gateway.helpers("gateway-admin") == []
    told = gateway.ask_status()
    assert told.returncode == 2
    assert "there is no `admin` section" in told.stderr
    assert 'admin: {address: "127.0.0.1:9444"}' in told.stderr
    assert gateway.ask_status("--health").stdout == "ok\n"


def test_while_it_drains_it_says_so_and_then_it_is_not_reached(launch, credentials):
    """What is under way may finish; a load balancer must send nothing new."""
    gateway = launch()
    with Client(gateway.port, context=context_for(credentials.server_ca)) as client:
        client.send(client.request("POST", "/webmail", "Content-Length: 5") + b"ab")
        until(lambda: gateway.state()["connections"] == 1, "the request is under way")
        gateway.signal(signal.SIGTERM)
        until(lambda: gateway.get("/healthz") == (503, "the gateway is stopping\n"), "it says that it is stopping")
        assert any(worker["is_draining"] for worker in gateway.state()["workers"])
        client.send(b"cde")
        assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert gateway.stop() == 0

    for options in ((), ("--health",)):
        told = gateway.ask_status(*options)
        assert (told.returncode, told.stdout) == (1, "")
        assert told.stderr.startswith(f"gateway: no gateway answers on {INSIDE}:{gateway.admin_port}: ")
        assert "Start it with 'gateway run'" in told.stderr
