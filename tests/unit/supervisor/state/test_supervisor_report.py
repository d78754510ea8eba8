"""The state that the master tells: about what serves, whatever became of the workers."""

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import yaml
from support.openssl_ca import put
from support.pki import Ca, server

from gateway import clock
from gateway.facts import Action
from gateway.supervisor.helpers.keeper_role import KeeperRole
from gateway.supervisor.reload.revision import read_revision
from gateway.supervisor.revocation_lists.sender import ListSender
from gateway.supervisor.state.report import Reloads, Reporter
from gateway.supervisor.state.warnings import WarningLog
from gateway.supervisor.state.worker_reports import WorkerReports

WORKERS = object()


class Helper(NamedTuple):
    name: str


class FakeChildren:
    def __init__(self):
        self.workers = [SimpleNamespace(pid=pid, started=1795514400.0) for pid in (11, 12)]
        self.helpers = []
        self.replaced = defaultdict(int, {WORKERS: 3})

    def of(self, role):
        return self.workers if role is WORKERS else self.helpers


@pytest.fixture(scope="module")
def revision(tmp_path_factory):
    folder = tmp_path_factory.mktemp("state")
    server(folder)
    now = clock.now()
    ca = Ca.make(not_before=now - timedelta(days=1), not_after=now + timedelta(days=99))
    ca.write(folder, "ca")
    put(folder / "ca.crl", ca.crl(last_update=now - timedelta(days=9), next_update=now + timedelta(days=1)))
    site = {"certificate": "server.crt", "key": "server.key", "client_ca": ["ca.crt"], "crl": ["ca.crl"]}
    settings = {
        "listen": [{"address": "127.0.0.1:0"}],
        "sites": [
            {"hosts": ["mail.example.com"], "upstream": "mail", **site},
            {"hosts": ["*"], "upstream": "mail", "certificate": "server.crt", "key": "server.key"},
        ],
        "upstreams": {"mail": {"servers": ["http://127.0.0.1:1", "http://127.0.0.1:2"]}},
        "rules": [{"name": "all", "action": "deny"}],
        "workers": 2,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    return read_revision(folder / "config.yaml")


class World:
    def __init__(self, revision, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(clock, "monotonic_seconds", lambda: self.now)
        self.children = FakeChildren()
        self.worker_reports = WorkerReports(self.children)
        self.reloads = Reloads()
        warning_log = WarningLog()
        warning_log.follow(revision.snapshot)
        self.revision = revision
        kept = {"reloads": self.reloads, "warning_log": warning_log, "keeper": KeeperRole(self.children)}
        self.list_sender = ListSender(self.children, WORKERS, lambda: self.revision.lists)
        self.silent = set()
        watchdog = SimpleNamespace(is_silent=lambda child: child.pid in self.silent)
        told = {"list_sender": self.list_sender, "watchdog": watchdog}
        self.reporter = Reporter(self.children, self.worker_reports, WORKERS, **kept, **told)

    def report(self, index, server="http://127.0.0.1:1", **more):
        status = {
            "connections": 5,
            "tasks": 2,
            "open_files": 25,
            "open_files_limit": 1024,
            "is_draining": False,
            "dropped_log_lines": 1,
            "counters": {
                "answers": [[200, None, 2], [403, "no_rule", 1]],
                "observed": [["outside", "certificate_missing", 4]],
                "bytes": {"in": 10, "out": 20},
                "handshakes": {"full": 3, "resumed": 2, "failed": 1},
            },
            "upstreams": {
                "mail": [
                    {"server": server, "addresses": ["10.0.0.5"], "busy": 1, "idle": 2, "is_up": True, "cause": None}
                ]
            },
            **more,
        }
        self.worker_reports.hear(self.children.workers[index], {"is": "status", **status})

    def state(self, asked=1000.0):
        return self.reporter.state(self.revision, asked, [])


def test_which_lists_a_worker_has(world):
    state = world.state()
    assert state["lists_generation"] == 1
    assert [worker["lists_generation"] for worker in state["workers"]] == [0, 0]
    world.list_sender.started(world.children.workers[0])
    (one, _) = world.state()["workers"]
    assert (one["lists_generation"], one["lists_behind_seconds"], one["lists_error"]) == (1, 0.0, None)


@pytest.fixture
def world(revision, monkeypatch):
    return World(revision, monkeypatch)


def test_before_anybody_has_reported(world):
    state = world.state()
    assert (state["is_serving"], state["connections"], state["answers"]) == (False, 0, [])
    assert [worker["report_age_seconds"] for worker in state["workers"]] == [None, None]
    assert [worker["open_files_limit"] for worker in state["workers"]] == [0, 0]
    assert [server["workers"] for server in state["upstreams"]["mail"]] == [0, 0]
    assert (state["workers_wanted"], state["worker_restarts"], state["registry"]) == (2, 3, None)
    assert state["workers"][0]["started"] == "2026-11-24T10:00:00.000Z"


def test_what_all_workers_report_is_added_up(world):
    world.report(0)
    world.report(1)
    world.worker_reports.ended.add(world.worker_reports.of(world.children.workers[0]).status)
    state = world.state()
    assert state["answers"] == [
        {"status": 200, "reason": None, "count": 6},
        {"status": 403, "reason": "no_rule", "count": 3},
    ]
    assert state["handshakes"] == {"full": 9, "resumed": 6, "failed": 3}
    assert state["bytes"] == {"received": 30, "sent": 60}
    assert state["observed"] == [{"rule": "outside", "reason": "certificate_missing", "count": 12}]
    assert (state["connections"], state["dropped_log_lines"], state["is_serving"]) == (10, 3, True)
    for worker in state["workers"]:
        assert (worker["tasks"], worker["open_files"], worker["open_files_limit"]) == (2, 25, 1024)
    first, second = state["upstreams"]["mail"]
    assert first == {
        "server": "http://127.0.0.1:1",
        "addresses": ["10.0.0.5"],
        "busy": 2,
        "idle": 4,
        "up_in": 2,
        "workers": 2,
        "cause": None,
    }
    assert (second["server"], second["workers"]) == ("http://127.0.0.1:2", 0)


def test_a_server_that_one_worker_finds_down(world):
    world.report(0)
    down = [
        {
            "server": "http://127.0.0.1:1",
            "addresses": ["10.0.0.5", "10.0.0.6"],
            "busy": 0,
            "idle": 0,
            "is_up": False,
            "cause": "refused",
        }
    ]
    world.report(1, upstreams={"mail": down})
    server = world.state()["upstreams"]["mail"][0]
    assert (server["up_in"], server["workers"], server["cause"]) == (1, 2, "refused")
    assert server["addresses"] == ["10.0.0.5", "10.0.0.6"]  # workers ask for themselves


def test_servers_of_the_configuration_before_are_left_out(world):
    world.report(0, "http://127.0.0.1:9")
    world.report(1, upstreams={"gone": [{"server": "http://127.0.0.1:1", "busy": 1}]})
    assert sum(server["workers"] for server in world.state()["upstreams"]["mail"]) == 0


def test_an_old_report_counts_and_says_how_old_it_is(world):
    world.report(0)
    world.report(1)
    world.now += 12
    world.report(1)
    workers = world.state(asked=1012.0)["workers"]
    assert [worker["is_answering"] for worker in workers] == [False, True]
    assert [worker["report_age_seconds"] for worker in workers] == [12.0, 0.0]
    assert world.state(asked=1012.0)["connections"] == 10


def test_who_only_drains_or_does_not_answer_serves_nobody(world):
    world.report(0, is_draining=True)
    assert not world.state()["is_serving"]
    world.report(1)
    assert world.state()["is_serving"]
    world.reporter.is_stopping = True
    assert (world.state()["is_serving"], world.state()["is_stopping"]) == (False, True)


def test_certificates_and_lists_are_those_that_serve(world, revision):
    site, other = world.state()["sites"]
    revision.config.sites[0].certificate.path.rename(revision.config.sites[0].certificate.path.with_suffix(".old"))
    try:
        assert world.state()["sites"][0]["certificate"]["name"] == site["certificate"]["name"]
    finally:
        revision.config.sites[0].certificate.path.with_suffix(".old").rename(revision.config.sites[0].certificate.path)
    assert (site["name"], site["hosts"], site["upstream"]) == ("mail.example.com", ["mail.example.com"], "mail")
    (authority,) = site["client_cas"]
    assert 98 * 86400 < authority["seconds_left"] < 99 * 86400
    (entry,) = site["crls"]
    assert entry["name"].endswith("/ca.crl")
    assert 86000 < entry["seconds_left"] < 86400
    assert (other["client_cas"], other["crls"]) == ([], [])
    assert any("the revocation list expires" in line for line in world.state()["warnings"])
    assert world.state()["outages"] == []


def test_nothing_of_a_key_is_told(world, revision):
    key = revision.config.sites[0].key.path.read_text()
    secret = key.splitlines()[2]
    assert secret not in repr(world.state())
    assert "server.key" not in repr(world.state())


def test_reloads_are_counted_and_a_refusal_is_forgotten_by_the_next_success(world):
    assert world.state()["reload"]["error"] is None
    world.reloads.refuse("line 3")
    told = world.state()["reload"]
    assert (told["refused"], told["succeeded"], told["error"]) == (1, 0, "line 3")
    assert told["refused_at"].endswith("Z")
    world.reloads.succeed()
    told = world.state()["reload"]
    assert (told["refused"], told["succeeded"], told["error"], told["refused_at"]) == (1, 1, None, None)


def test_processes_beside_the_workers_are_told_as_they_are(world):
    assert world.state()["helpers"] == []
    world.reporter.helpers.append(Helper("the publisher"))
    assert world.state()["helpers"] == [
        {"name": "publisher", "pid": None, "started": None, "is_answering": False, "restarts": 0}
    ]
    world.children.helpers = [SimpleNamespace(pid=13, started=1795514400.0)]
    (helper,) = world.state()["helpers"]
    assert (helper["pid"], helper["started"]) == (13, "2026-11-24T10:00:00.000Z")
    assert helper["is_answering"]
    world.silent.add(13)
    assert not world.state()["helpers"][0]["is_answering"]


def test_rules_in_observation_and_what_they_have_let_in(world, revision, monkeypatch):
    rules = (
        replace(revision.config.rules[0], name="outside", action=Action.REQUIRE_CERTIFICATE, enforce=date(2027, 3, 1)),
        replace(revision.config.rules[0], name="later", action=Action.REQUIRE_CERTIFICATE, enforce=False),
        revision.config.rules[0],
    )
    world.revision = replace(revision, config=replace(revision.config, rules=rules))
    world.report(0)
    world.report(1)
    monkeypatch.setattr(clock, "now", lambda: datetime(2027, 2, 28, 23, 59, 59, tzinfo=UTC))
    first, second = world.state()["observation"]
    assert first == {
        "rule": "outside",
        "line": revision.config.rules[0].line,
        "refuses_from": "2027-03-01T00:00:00.000Z",
        "outlook": "from 1 March 2027 on (00:00 UTC), requests without a certificate are refused",
        "count": 8,
    }
    assert (second["rule"], second["refuses_from"], second["count"]) == ("later", None, 0)
    monkeypatch.setattr(clock, "now", lambda: datetime(2027, 3, 1, tzinfo=UTC))
    assert [rule["rule"] for rule in world.state()["observation"]] == ["later"]
