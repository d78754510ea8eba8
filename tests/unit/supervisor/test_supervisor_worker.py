"""A worker in this very process, with its clients and its master in a thread beside it."""

import asyncio
import errno
import json
import logging
import os
import select
import signal
import socket
import threading
from ipaddress import ip_network

import pytest
import yaml
from support import pki

from gateway.config.model import Listener
from gateway.errors import ConfigError
from gateway.logs.writer import AccessLogWriter
from gateway.supervisor import worker
from gateway.supervisor.channel import Channel
from gateway.supervisor.reload import read_revision
from gateway.supervisor.sockets import open_listener
from gateway.tls.client_context import client_context
from gateway.tls.proxy_protocol import LOCAL_HEADER
from gateway.x509.loading import load_certificates

SECONDS = 60.0  # a hang ends then; nothing else waits as long
ALLOW = {"name": "all", "action": "allow"}
GET = b"GET /%b HTTP/1.1\r\nHost: mail.example.com\r\nConnection: close\r\n\r\n"


@pytest.fixture
def config(tmp_path):
    """Writes the file and returns its source."""
    pki.server(tmp_path)

    def write(**more):
        settings = {
            "listen": [{"address": "127.0.0.1:443"}],
            "sites": [{"hosts": ["mail.example.com"], "certificate": "server.crt", "key": "server.key"}],
            "upstreams": {"mail": {"servers": ["http://127.0.0.1:1"]}},
            "rules": [ALLOW],
        }
        settings["sites"][0]["upstream"] = "mail"
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings | more))
        return tmp_path / "config.yaml"

    return write


class Dialogue:
    """What the thread does beside the worker."""

    def __init__(self, folder, channel, ports):
        self.folder = folder
        self.channel = channel
        self._messages = []
        self.has_ended = threading.Event()
        self.ports = ports

    def connect(self, number=0):
        return socket.create_connection(("127.0.0.1", self.ports[number]), timeout=SECONDS)

    def ask(self, path=b"x", number=0, before=b""):
        """The whole answer to a request over TLS."""
        context = client_context(load_certificates(self.folder / "server.crt"))
        plain = self.connect(number)
        plain.sendall(before)
        with context.wrap_socket(plain, server_hostname="mail.example.com") as client:
            client.sendall(GET % path)
            data = b""
            while piece := client.recv(65536):
                data += piece
        return data

    def tell(self, **message):
        self.channel.send(message)

    def hears(self):
        """The next message from the worker."""
        while not self._messages:
            assert select.select([self.channel], [], [], SECONDS)[0]
            self._messages += self.channel.receive()
        return self._messages.pop(0)


@pytest.fixture
def serve(tmp_path, config):
    """Run a worker while `talk` goes on; it ends when the talk is over and its master gone."""

    def run(talk, *listeners, settings=None):
        revision = read_revision(config(**(settings or {})))
        listeners = listeners or (Listener("127.0.0.1:443", "127.0.0.1", 0),)
        listening = [(each, open_listener(each)) for each in listeners]
        log = AccessLogWriter(tmp_path / "access.jsonl")
        ours, theirs = Channel.pair()
        dialogue = Dialogue(tmp_path, ours, [each.getsockname()[1] for _, each in listening])
        failures = []

        def beside():
            try:
                talk(dialogue)
            except BaseException as error:  # noqa: BLE001 - raised again in the test's own thread
                failures.append(error)
            finally:
                ours.close()

        thread = threading.Thread(target=beside)
        thread.start()
        try:
            worker.serve(revision, listening, log, theirs, worker.Shared(publisher=tmp_path / "publisher"))
        finally:
            dialogue.has_ended.set()
            thread.join(SECONDS)
            theirs.close()
            asyncio.set_event_loop(None)
            for _, each in listening:
                each.close()
        if failures:
            raise failures[0]
        return [json.loads(line) for line in (tmp_path / "access.jsonl").read_bytes().splitlines()]

    return run


def test_it_serves_and_leaves_with_its_log_written(serve):
    def talk(dialogue):
        assert dialogue.ask().startswith(b"HTTP/1.1 502 ")

    (record,) = serve(talk)
    assert record["reason"] == "upstream_unreachable"


def test_it_tells_how_it_is(serve):
    def talk(dialogue):
        dialogue.tell(do="status")
        status = dialogue.hears()
        assert (status["is"], status["pid"], status["connections"]) == ("status", os.getpid(), 0)
        assert status["tasks"] == 1
        assert 0 < status["open_files"] < status["open_files_limit"]

    assert serve(talk) == []


def test_it_says_that_it_is_alive(serve):
    def talk(dialogue):
        dialogue.tell(do="ping")
        assert dialogue.hears() == {"is": "pong"}

    assert serve(talk) == []


def test_it_reloads_what_it_is_given_and_keeps_the_old_where_that_is_wrong(serve, config, caplog):
    def talk(dialogue):
        denied = config(rules=[{"name": "nobody", "action": "deny"}]).read_text()
        dialogue.tell(do="reload", source=denied, variables={})
        assert dialogue.hears() == {"is": "reloaded", "error": None}
        assert dialogue.ask().startswith(b"HTTP/1.1 403 ")
        dialogue.tell(do="reload", source="rules: nonsense", variables={})
        message = dialogue.hears()
        assert message["is"] == "reloaded"
        assert "rules" in message["error"]
        assert dialogue.ask().startswith(b"HTTP/1.1 403 ")

    assert [record["rule"] for record in serve(talk)] == ["nobody", "nobody"]
    assert "keeps its old configuration" in caplog.text


def test_variables_that_the_file_names_come_with_it(serve, config, monkeypatch):
    monkeypatch.delenv("REASON", raising=False)

    def talk(dialogue):
        source = config(rules=[{"name": "${REASON}", "action": "deny"}]).read_text()
        dialogue.tell(do="reload", source=source, variables={"REASON": "told"})
        assert dialogue.hears() == {"is": "reloaded", "error": None}
        dialogue.ask()

    assert [record["rule"] for record in serve(talk)] == ["told"]


def test_of_reloads_that_come_while_one_is_read_the_last_one_counts(serve, config, monkeypatch):
    real, read = worker.read_revision, []
    has_begun, goes_on = threading.Event(), threading.Event()

    def slowly(path, source, *more):
        read.append(source)
        has_begun.set()
        assert goes_on.wait(SECONDS)
        return real(path, source, *more)

    monkeypatch.setattr(worker, "read_revision", slowly)

    def talk(dialogue):
        for name in ("one", "two", "three"):
            dialogue.tell(
                do="reload", source=config(rules=[{"name": name, "action": "deny"}]).read_text(), variables={}
            )
            assert has_begun.wait(SECONDS)  # all three at once would be one reload
        dialogue.tell(do="status")
        assert dialogue.hears()["is"] == "status"  # it hears while it reads
        goes_on.set()
        for _ in range(2):
            assert dialogue.hears() == {"is": "reloaded", "error": None}
        dialogue.ask()

    assert serve(talk)[-1]["rule"] == "three"
    assert [yaml.safe_load(source)["rules"][0]["name"] for source in read] == ["one", "three"]


def test_what_it_could_not_read_is_tried_again(serve, config, monkeypatch):
    """Without a free descriptor a worker kept its old lists for good."""
    real = worker.read_revision
    failures = [OSError(errno.EMFILE, "Too many open files")] * 2

    def read(*arguments):
        if failures:
            raise failures.pop()
        return real(*arguments)

    monkeypatch.setattr(worker, "read_revision", read)
    monkeypatch.setattr(worker, "FIRST_RETRY_SECONDS", 0.01)

    def talk(dialogue):
        dialogue.tell(do="reload", source=config(rules=[{"name": "new", "action": "deny"}]).read_text(), variables={})
        for _ in range(2):
            assert "Too many open files" in dialogue.hears()["error"]
        assert dialogue.hears() == {"is": "reloaded", "error": None}
        dialogue.ask()

    assert [record["rule"] for record in serve(talk)] == ["new"]


def test_a_reload_that_fails_in_a_way_nobody_thought_of_is_not_the_last(serve, config, monkeypatch, caplog):
    real = worker.read_revision
    failures = [OSError("disk on fire")]

    def read(*arguments):
        if failures:
            raise failures.pop()
        return real(*arguments)

    monkeypatch.setattr(worker, "read_revision", read)

    def talk(dialogue):
        source = config(rules=[{"name": "nobody", "action": "deny"}]).read_text()
        dialogue.tell(do="reload", source=source, variables={})
        assert "disk on fire" in dialogue.hears()["error"]
        dialogue.tell(do="reload", source=source, variables={})
        assert dialogue.hears()["error"] is None
        assert dialogue.ask().startswith(b"HTTP/1.1 403 ")

    assert len(serve(talk)) == 1
    assert "disk on fire" in caplog.text


def test_a_snapshot_that_cannot_be_adopted_is_not_what_the_next_is_built_on(serve, config, monkeypatch):
    real = worker.Service.adopt
    refused = []

    def adopt(service, snapshot):
        if not refused:
            refused.append(snapshot)
            raise ConfigError("its upstream's files are gone")
        assert snapshot not in refused
        real(service, snapshot)

    monkeypatch.setattr(worker.Service, "adopt", adopt)

    def talk(dialogue):
        for error in ("its upstream's files are gone", None):
            dialogue.tell(do="reload", source=config().read_text(), variables={})
            assert dialogue.hears() == {"is": "reloaded", "error": error}

    assert serve(talk) == []


def test_it_keeps_out_whom_the_master_says(serve):
    def talk(dialogue):
        dialogue.tell(do="ban", bans={"127.0.0.1": 4102444800.0})
        dialogue.tell(do="status")
        dialogue.hears()
        assert dialogue.ask().startswith(b"HTTP/1.1 429 ")
        dialogue.tell(do="ban", bans={})
        dialogue.tell(do="status")
        dialogue.hears()
        assert dialogue.ask().startswith(b"HTTP/1.1 502 ")

    assert [record["reason"] for record in serve(talk)] == ["locked_out", "upstream_unreachable"]


def test_what_the_master_says_that_means_nothing_is_told_and_left(serve, caplog):
    def talk(dialogue):
        dialogue.tell(do="dance")
        dialogue.tell(do="status")
        dialogue.hears()

    serve(talk)
    assert "which means nothing here" in caplog.text


def test_it_listens_as_each_listener_says(serve):
    balanced = (ip_network("127.0.0.1"),)

    def talk(dialogue):
        with dialogue.connect(0) as plain:
            plain.sendall(GET % b"x")
            assert plain.recv(65536).startswith(b"HTTP/1.1 308 ")
        assert dialogue.ask(number=1, before=LOCAL_HEADER).startswith(b"HTTP/1.1 502 ")
        with dialogue.connect(2) as plain:
            plain.sendall(GET % b".well-known/gateway/crl/corp.crl")
            assert plain.recv(65536).startswith(b"HTTP/1.1 503 ")

    records = serve(
        talk,
        Listener("127.0.0.1:80", "127.0.0.1", 0, redirect_to_https=True),
        Listener("127.0.0.1:8443", "127.0.0.1", 0, proxy_protocol_from=balanced),
        Listener("127.0.0.1:8080", "127.0.0.1", 0, pki=True),
    )
    assert [record["status"] for record in records] == [308, 502, 503]


def test_it_opens_its_log_anew(serve, tmp_path):
    log, moved = tmp_path / "access.jsonl", tmp_path / "access.jsonl.1"

    def talk(dialogue):
        dialogue.ask(b"before")
        log.rename(moved)
        dialogue.tell(do="status")
        dialogue.hears()
        os.kill(os.getpid(), signal.SIGUSR1)
        while not log.exists():
            dialogue.tell(do="status")
            dialogue.hears()
        dialogue.ask(b"after")

    (record,) = serve(talk)
    assert record["uri"] == "/after"
    assert json.loads(moved.read_bytes())["uri"] == "/before"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_it_is_asked_to_and_not_at_a_hangup(serve, number):
    def talk(dialogue):
        dialogue.tell(do="status")
        dialogue.hears()
        os.kill(os.getpid(), signal.SIGHUP)
        dialogue.tell(do="status")
        dialogue.hears()
        os.kill(os.getpid(), number)
        assert dialogue.has_ended.wait(SECONDS)

    serve(talk)


def test_what_does_not_end_in_time_is_cut(serve, monkeypatch, caplog):
    monkeypatch.setattr(worker, "DRAIN_SECONDS", 0.05)
    caplog.set_level(logging.WARNING)
    upstream = socket.create_server(("127.0.0.1", 0))
    silent = {"mail": {"servers": [f"http://127.0.0.1:{upstream.getsockname()[1]}"]}}
    kept = []

    def talk(dialogue):
        context = client_context(load_certificates(dialogue.folder / "server.crt"))
        client = context.wrap_socket(dialogue.connect(), server_hostname="mail.example.com")
        kept.append(client)
        client.sendall(GET % b"long-poll")
        upstream.settimeout(SECONDS)
        kept.append(upstream.accept()[0])
        assert kept[-1].recv(65536).startswith(b"GET /long-poll ")

    (record,) = serve(talk, settings={"upstreams": silent})
    for each in (*kept, upstream):
        each.close()
    assert (record["uri"], record["status"]) == ("/long-poll", None)  # it is on record all the same
    assert "1 connections were still open after 0.05 s and are cut" in caplog.text
