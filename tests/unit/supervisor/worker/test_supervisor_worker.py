"""A worker in this very process, with its clients and its master in a thread beside it."""

import asyncio
import builtins
import errno
import io
import json
import logging
import os
import select
import signal
import socket
import threading
from base64 import b64encode
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
import yaml
from support import pki

from gateway import clock
from gateway.config.model import Listener
from gateway.errors import ConfigError
from gateway.logs.writer import AccessLogWriter
from gateway.supervisor.processes.channel import Channel
from gateway.supervisor.reload.revision import read_revision
from gateway.supervisor.sockets import open_listener
from gateway.supervisor.worker import process as worker
from gateway.supervisor.worker import updates
from gateway.tls.client_context import client_context
from gateway.tls.proxy_protocol import LOCAL_HEADER
from gateway.x509.loading import load_certificates

HOUR = timedelta(hours=1)
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

    def reload(self, source, lists=0, variables=None):
        """A configuration, and the generation of the lists that it needs."""
        self.tell(do="reload", source=source, variables=variables or {}, lists=lists)

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
        dialogue.reload(denied)
        assert dialogue.hears() == {"is": "reloaded", "error": None}
        assert dialogue.ask().startswith(b"HTTP/1.1 403 ")
        dialogue.reload("rules: nonsense")
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
        dialogue.reload(source, variables={"REASON": "told"})
        assert dialogue.hears() == {"is": "reloaded", "error": None}
        dialogue.ask()

    assert [record["rule"] for record in serve(talk)] == ["told"]


def test_of_reloads_that_come_while_one_is_read_the_last_one_counts(serve, config, monkeypatch):
    real, read = updates.read_with_known_lists, []
    has_begun, goes_on = threading.Event(), threading.Event()

    def slowly(path, source, *more):
        read.append(source)
        has_begun.set()
        assert goes_on.wait(SECONDS)
        return real(path, source, *more)

    monkeypatch.setattr(updates, "read_with_known_lists", slowly)

    def talk(dialogue):
        for name in ("one", "two", "three"):
            dialogue.reload(config(rules=[{"name": name, "action": "deny"}]).read_text())
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
    real = updates.read_with_known_lists
    failures = [OSError(errno.EMFILE, "Too many open files")] * 2

    def read(*arguments):
        if failures:
            raise failures.pop()
        return real(*arguments)

    monkeypatch.setattr(updates, "read_with_known_lists", read)
    monkeypatch.setattr(updates, "FIRST_RETRY_SECONDS", 0.01)

    def talk(dialogue):
        dialogue.reload(config(rules=[{"name": "new", "action": "deny"}]).read_text())
        for _ in range(2):
            assert "Too many open files" in dialogue.hears()["error"]
        assert dialogue.hears() == {"is": "reloaded", "error": None}
        dialogue.ask()

    assert [record["rule"] for record in serve(talk)] == ["new"]


def test_a_reload_that_fails_in_a_way_nobody_thought_of_is_not_the_last(serve, config, monkeypatch, caplog):
    real = updates.read_with_known_lists
    failures = [OSError("disk on fire")]

    def read(*arguments):
        if failures:
            raise failures.pop()
        return real(*arguments)

    monkeypatch.setattr(updates, "read_with_known_lists", read)

    def talk(dialogue):
        source = config(rules=[{"name": "nobody", "action": "deny"}]).read_text()
        dialogue.reload(source)
        assert "disk on fire" in dialogue.hears()["error"]
        dialogue.reload(source)
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
            dialogue.reload(config().read_text())
            assert dialogue.hears() == {"is": "reloaded", "error": error}

    assert serve(talk) == []


class Lists:
    """A CA, a user of it, and the dialogue of a master that sends its lists."""

    def __init__(self, folder):
        now = clock.now()
        self.folder = folder
        self.ca = pki.Ca.make(not_before=now - HOUR, not_after=now + 99 * HOUR)
        self.ca.write(folder, "ca")
        self.user = self.ca.issue("CN=user", not_before=now - HOUR, not_after=now + 9 * HOUR)
        self.user.write(folder, "user")
        self.path = folder / "ca.crl"
        self.path.write_bytes(self.make(1))
        site = {"hosts": ["mail.example.com"], "certificate": "server.crt", "key": "server.key", "upstream": "mail"}
        site |= {"client_ca": ["ca.crt"], "crl": ["ca.crl"]}
        rules = [{"name": "certificates", "action": "require_certificate"}]
        self.settings = {"sites": [site], "rules": rules}
        self.delivery = 0

    def make(self, number, *revoked):
        now = clock.now()
        return self.ca.crl(revoked, number=number, last_update=now - HOUR, next_update=now + 9 * HOUR)

    def tell(self, dialogue, data, generation, path=None, **changes):
        """The lists as the master sends them; what the worker says to each message."""
        return self.send(dialogue, data, generation, path, **changes), dialogue.hears()

    def send(self, dialogue, data, generation, path=None, **changes):
        """As `tell`, but what is said to the last message is yet to be heard."""
        self.delivery += 1
        place = {"delivery": self.delivery, "source": str(path or self.path)}
        said = []
        for piece, start in enumerate(range(0, len(data), 300)):
            text = b64encode(data[start : start + 300]).decode()
            dialogue.tell(**{"do": "list", "piece": piece, "part": 0, "data": text, **place} | changes)
            said.append(dialogue.hears())
        parts = {place["source"]: 1}
        end = {"do": "lists", "pieces": len(said), "generation": generation, "parts": parts}
        dialogue.tell(**end, delivery=self.delivery)
        return said

    def verdict(self, dialogue):
        context = client_context(load_certificates(self.folder / "server.crt"))
        context.load_cert_chain(self.folder / "user.crt", self.folder / "user.key")
        with context.wrap_socket(dialogue.connect(), server_hostname="mail.example.com") as client:
            client.sendall(GET % b"x")
            return int(client.recv(65536).split(b" ")[1])


@pytest.fixture
def lists(tmp_path):
    return Lists(tmp_path)


def is_done(told, delivery=1):
    pieces, end = told
    assert pieces == [{"is": "list", "delivery": delivery, "piece": number} for number in range(len(pieces))]
    return end == {"is": "lists", "delivery": delivery, "error": None}


def no_files(monkeypatch):
    """Nothing may be opened from now on, as where there is no free descriptor."""

    def refuse(*_arguments, **_options):
        raise OSError(errno.EMFILE, "Too many open files")

    for module, name in ((builtins, "open"), (io, "open"), (os, "open"), (Path, "open"), (Path, "read_bytes")):
        monkeypatch.setattr(module, name, refuse)


def test_lists_are_taken_up_without_opening_a_file(serve, lists, monkeypatch):
    def talk(dialogue):
        assert lists.verdict(dialogue) == 502
        revoking = lists.make(2, lists.user.certificate)
        with monkeypatch.context() as patched:
            no_files(patched)
            told = lists.tell(dialogue, revoking, 2)
        assert is_done(told)
        assert lists.verdict(dialogue) == 403

    assert [record["reason"] for record in serve(talk, settings=lists.settings)][-1] == "certificate_revoked"


def test_lists_that_cannot_be_read_leave_the_old_ones(serve, lists, caplog):
    def talk(dialogue):
        pieces, end = lists.tell(dialogue, b"rubbish", 2)
        assert len(pieces) == 1
        assert "not a readable revocation list" in end["error"]
        assert lists.verdict(dialogue) == 502
        assert is_done(lists.tell(dialogue, lists.make(2, lists.user.certificate), 2), 2)
        assert lists.verdict(dialogue) == 403

    serve(talk, settings=lists.settings)
    assert "keeps its old revocation lists" in caplog.text


def test_a_delivery_with_a_piece_missing_is_told_and_left(serve, lists):
    def talk(dialogue):
        data = lists.make(2, lists.user.certificate)
        said, end = lists.tell(dialogue, data, 2, piece=7)
        for message in (*said, end):
            assert message == {"is": "lists", "delivery": 1, "error": "a piece of a revocation list is missing"}
        assert lists.verdict(dialogue) == 502

    serve(talk, settings=lists.settings)


def test_a_configuration_waits_for_the_lists_that_it_needs_and_reads_none(serve, lists, config):
    def talk(dialogue):
        new = lists.folder / "new.crl"  # it is not there: the master alone reads it
        sites = [{**lists.settings["sites"][0], "crl": ["new.crl"]}]
        source = config(**{**lists.settings, "sites": sites}).read_text()
        dialogue.reload(source, lists=2)
        dialogue.tell(do="ping")
        assert dialogue.hears() == {"is": "pong"}  # and no word about the reload
        assert is_done(lists.tell(dialogue, lists.make(1, lists.user.certificate), 2, new))
        assert dialogue.hears() == {"is": "reloaded", "error": None}
        assert lists.verdict(dialogue) == 403

    serve(talk, settings=lists.settings)


def test_a_configuration_whose_list_is_not_there_is_refused(serve, lists, config):
    def talk(dialogue):
        sites = [{**lists.settings["sites"][0], "crl": ["new.crl"]}]
        dialogue.reload(config(**{**lists.settings, "sites": sites}).read_text(), lists=1)
        assert "new.crl: the list has not come from the master yet" in dialogue.hears()["error"]

    serve(talk, settings=lists.settings)


def test_lists_do_not_wait_for_a_configuration_and_it_does_not_bring_back_older_ones(serve, lists, config, monkeypatch):
    real = updates.read_with_known_lists
    has_begun, goes_on = threading.Event(), threading.Event()

    def slowly(*arguments):
        snapshot = real(*arguments)
        has_begun.set()
        assert goes_on.wait(SECONDS)
        return snapshot

    monkeypatch.setattr(updates, "read_with_known_lists", slowly)

    def talk(dialogue):
        dialogue.reload(config(**lists.settings).read_text(), lists=1)
        assert has_begun.wait(SECONDS)
        assert is_done(lists.tell(dialogue, lists.make(2, lists.user.certificate), 2))
        assert lists.verdict(dialogue) == 403
        goes_on.set()
        assert dialogue.hears() == {"is": "reloaded", "error": None}
        assert lists.verdict(dialogue) == 403

    serve(talk, settings=lists.settings)


def test_a_configuration_taken_up_while_lists_are_read_gets_them_too(serve, lists, config, monkeypatch):
    real = updates.with_lists
    has_begun, goes_on = threading.Event(), threading.Event()

    def slowly(*arguments):
        snapshot = real(*arguments)
        has_begun.set()
        assert goes_on.wait(SECONDS)
        return snapshot

    monkeypatch.setattr(updates, "with_lists", slowly)

    def talk(dialogue):
        lists.send(dialogue, lists.make(2, lists.user.certificate), 2)
        assert has_begun.wait(SECONDS)
        rules = [{"name": "new", "action": "require_certificate"}]
        dialogue.reload(config(**{**lists.settings, "rules": rules}).read_text(), lists=1)
        assert dialogue.hears() == {"is": "reloaded", "error": None}
        goes_on.set()
        assert dialogue.hears() == {"is": "lists", "delivery": 1, "error": None}
        assert lists.verdict(dialogue) == 403
        dialogue.ask()

    records = serve(talk, settings=lists.settings)
    assert [(record["reason"], record["rule"]) for record in records] == [
        ("certificate_revoked", "new"),
        ("certificate_missing", "new"),
    ]


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
    assert "which a worker can't process" in caplog.text


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


def test_a_log_that_was_rotated_while_the_worker_started_is_opened_anew(serve, tmp_path, monkeypatch):
    log, moved = tmp_path / "access.jsonl", tmp_path / "access.jsonl.1"
    real = AccessLogWriter.start

    def rotated_meanwhile(writer, loop):
        log.rename(moved)
        real(writer, loop)

    monkeypatch.setattr(AccessLogWriter, "start", rotated_meanwhile)
    (record,) = serve(lambda dialogue: dialogue.ask(b"after"))
    assert record["uri"] == "/after"
    assert moved.read_bytes() == b""


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
