"""The master in this very process, with real workers: its dialogue goes on in a timer's signal, between its turns."""

import json
import logging
import os
import selectors
import signal
import socket
import socketserver
import ssl
import tempfile
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from support import pki
from support.openssl_ca import put
from support.waiting import PATIENCE_SECONDS

from gateway import clock
from gateway.errors import ConfigError, OperationError
from gateway.proxy.ocsp.statuses import Statuses
from gateway.supervisor import master as master_module
from gateway.supervisor.master import Master
from gateway.supervisor.processes import open_files, watchdog
from gateway.supervisor.reload.revision import read_revision
from gateway.supervisor.state import warnings

HOUR = timedelta(hours=1)
TICK_SECONDS = 0.02
SECONDS = 20.0
MANY_LOOKS = 40  # of half a second
ALLOW = {"name": "all", "action": "allow"}
DENY = {"name": "nobody", "action": "deny"}
HANDLED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM)


class Dialogue:
    """What is done to the master, and seen of it, while it runs."""

    def __init__(self, folder):
        self.folder = folder
        self.path = folder / "config.yaml"
        pki.server(folder)
        self.write()
        self.master: Master

    def write(self, **more):
        settings = {
            "listen": [{"address": "127.0.0.1:0"}],
            "sites": [{"hosts": ["mail.example.com"], "certificate": "server.crt", "key": "server.key"}],
            "upstreams": {"mail": {"servers": ["http://127.0.0.1:1"]}},
            "rules": [ALLOW],
            "access_log": {"path": "access.jsonl"},
            "workers": 1,
        }
        settings["sites"][0]["upstream"] = "mail"
        self.path.write_text(yaml.safe_dump(settings | more))

    def ask(self):
        """(status of an answer, DER of the certificate that was shown); None while nobody answers."""
        port = self.master._listening[0][1].getsockname()[1]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with (
                socket.create_connection(("127.0.0.1", port), timeout=0.5) as plain,
                context.wrap_socket(plain, server_hostname="mail.example.com") as client,
            ):
                client.sendall(
                    b"GET / HTTP/1.1\r\nHost: mail.example.com\r\nAuthorization: Basic eA==\r\n"
                    b"Connection: close\r\n\r\n"
                )
                return int(client.recv(65536).split(b" ")[1]), client.getpeercert(binary_form=True)
        except OSError:
            return None

    def answered(self):
        """As `ask`, of a worker that serves already: a busy machine may need more than one look."""
        return next(filter(None, (self.ask() for _ in range(MANY_LOOKS))))

    def status(self):
        answer = self.ask()
        return answer and answer[0]

    def workers(self):
        return [child.pid for child in self.master._children.of(self.master._workers)]

    def signal(self, number):
        os.kill(os.getpid(), number)

    def records(self):
        path = self.folder / "access.jsonl"
        return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def until(holds):
    """Goes on when it holds; one look at each tick."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        yield


def close(master):
    """What the end of its process closes."""
    for child in master._children:
        os.kill(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
        child.channel.close()
    for each in (master._selector, master._signals, master._wakeup):
        each.close()


@pytest.fixture
def run(tmp_path):
    """Run a master while `talk`, a generator, goes on; returns its exit code."""
    before = {number: signal.getsignal(number) for number in HANDLED}
    dialogue = Dialogue(tmp_path)

    def run(talk, **settings):
        dialogue.write(**settings)
        failures = []

        def steps():
            # A worker may answer before the master has come back from forking it.
            yield from until(lambda: len(dialogue.workers()) == settings.get("workers", 1))
            yield from until(dialogue.status)
            yield from talk(dialogue)

        talking = steps()

        def tick(_number, frame):
            if (frame.f_code.co_filename, frame.f_code.co_name) != (selectors.__file__, "select"):
                # In the middle of something, which might lock itself out: cryptography's lazy values would.
                signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS)
                return
            try:
                next(talking)
            except StopIteration:
                dialogue.signal(signal.SIGTERM)
            except BaseException as error:  # noqa: BLE001 - raised again when the master has ended
                failures.append(error)
                dialogue.signal(signal.SIGTERM)
            else:
                signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS)

        dialogue.master = Master(read_revision(dialogue.path))
        signal.signal(signal.SIGALRM, tick)
        signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS)
        try:
            code = dialogue.master.run()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.set_wakeup_fd(-1)
            close(dialogue.master)
        if failures:
            raise failures[0]
        return code, dialogue

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)


def test_it_serves_until_it_is_told_to_stop(run):
    def talk(dialogue):
        assert len(dialogue.workers()) == 2
        assert dialogue.answered()[0] == 502
        yield from until(dialogue.records)

    code, dialogue = run(talk, workers=2)
    assert code == 0
    assert dialogue.workers() == []
    assert dialogue.master._listening[0][1].fileno() == -1
    # On a busy machine a look before may have given up during its handshake.
    assert {record["reason"] for record in dialogue.records() if record["method"]} == {"upstream_unreachable"}


def test_it_says_at_the_start_that_so_many_connections_would_run_out_of_files(run, caplog, monkeypatch):
    monkeypatch.setattr(open_files, "limit", lambda: 1024)

    def talk(dialogue):
        yield from until(lambda: dialogue.status() == 502)

    run(talk)
    assert "a worker may open 1,024 files, but 10,000 connections" in caplog.text
    caplog.clear()
    run(talk, limits={"connections": 100})
    assert "files" not in caplog.text


def test_a_hangup_brings_in_the_file_and_a_broken_one_changes_nothing(run, caplog):
    caplog.set_level(logging.INFO)

    def talk(dialogue):
        dialogue.write(rules=[DENY])
        dialogue.signal(signal.SIGHUP)
        yield from until(lambda: dialogue.status() == 403)
        dialogue.path.write_text("rules: nonsense")
        dialogue.signal(signal.SIGHUP)
        yield from until(lambda: "reload refused, the old configuration stays" in caplog.text)
        assert dialogue.answered()[0] == 403
        dialogue.write(workers=2)
        dialogue.signal(signal.SIGHUP)
        yield from until(lambda: "workers cannot change" in caplog.text)
        assert dialogue.answered()[0] == 403

    run(talk)
    assert "reloaded: 1 site(s), 1 rule(s)" in caplog.text


def test_a_warning_is_told_at_every_reload(run, caplog):
    def talk(dialogue):
        dialogue.write(rules=[ALLOW, DENY])  # the second can never match
        dialogue.signal(signal.SIGHUP)
        yield from until(lambda: "rules[1]" in caplog.text)

    run(talk)


def _with_responder(folder, monkeypatch, mode):
    """A site with OCSP in this mode. A file says that its responder is silent, another one that a worker was asked."""

    def silent_sites(_statuses):
        (folder / "asked").touch()
        return ["mail.example.com"] if (folder / "silent").exists() else []

    monkeypatch.setattr(Statuses, "silent_sites", silent_sites)
    monkeypatch.setattr(warnings, "CHECK_SECONDS", 0.0)
    (folder / "silent").touch()
    (site,) = Pki(folder).sites
    return {"sites": [{**site, "ocsp": {"mode": mode, "responder": "http://127.0.0.1:1/"}}]}


def test_a_responder_that_a_site_depends_on_and_that_is_silent_is_told_until_it_answers(
    run, tmp_path, caplog, monkeypatch
):
    caplog.set_level(logging.INFO)

    def talk(_dialogue):
        yield from until(lambda: "no valid OCSP answer has come" in caplog.text)
        assert "no longer a problem" not in caplog.text
        (tmp_path / "silent").unlink()
        yield from until(lambda: "no longer a problem: mail.example.com: no valid OCSP answer" in caplog.text)

    run(talk, workers=2, **_with_responder(tmp_path, monkeypatch, "hard"))
    told = [record for record in caplog.records if "no valid OCSP answer has come" in record.getMessage()]
    assert [record.levelname for record in told] == ["ERROR", "INFO"], "once, although both workers report it"


def test_workers_are_not_asked_about_responders_that_no_site_depends_on(run, tmp_path, monkeypatch, caplog):
    looks = []
    monkeypatch.setattr(warnings, "warnings_of", lambda *_: looks.append(1) or ())

    def talk(_dialogue):
        yield from until(lambda: len(looks) >= 3)

    run(talk, **_with_responder(tmp_path, monkeypatch, "soft"))
    assert not (tmp_path / "asked").exists()
    assert "no valid OCSP answer has come" not in caplog.text


def test_a_certificate_that_changes_on_disk_is_brought_in_and_a_half_edited_file_is_not(run, caplog):
    caplog.set_level(logging.INFO)

    def talk(dialogue):
        before = dialogue.answered()[1]
        dialogue.path.write_text("being edited: [")
        pki.server(dialogue.folder)
        yield from until(lambda: (answer := dialogue.ask()) and answer[1] != before)
        assert dialogue.answered()[0] == 502

    run(talk)
    assert "changed on disk: " in caplog.text


def test_a_worker_that_dies_is_replaced(run, caplog):
    def talk(dialogue):
        (before,) = dialogue.workers()
        os.kill(before, signal.SIGKILL)
        yield from until(lambda: dialogue.workers() not in ([], [before]))
        yield from until(dialogue.status)

    run(talk)
    assert "ended (signal SIGKILL); a new one starts in 0.1 s" in caplog.text


def test_a_worker_that_hangs_is_replaced(run, caplog, monkeypatch):
    monkeypatch.setattr(watchdog, "HUNG_SECONDS", SECONDS)
    monkeypatch.setattr(watchdog, "PING_SECONDS", 0.1)

    def talk(dialogue):
        (before,) = dialogue.workers()
        os.kill(before, signal.SIGSTOP)
        monkeypatch.setattr(watchdog, "HUNG_SECONDS", 0.3)
        yield from until(lambda: before not in dialogue.workers())
        # On a busy machine a worker that starts doesn't answer for as long.
        monkeypatch.setattr(watchdog, "HUNG_SECONDS", SECONDS)
        yield from until(dialogue.status)
        assert before not in dialogue.workers()

    run(talk)
    assert "has not answered for" in caplog.text


def test_a_process_beside_the_workers_that_hangs_is_told_and_replaced(run, caplog, monkeypatch):
    monkeypatch.setattr(watchdog, "HUNG_HELPER_SECONDS", SECONDS)
    monkeypatch.setattr(watchdog, "SILENT_SECONDS", 0.3)
    monkeypatch.setattr(watchdog, "PING_SECONDS", 0.1)

    def helper(dialogue):
        return dialogue.master._describe(0.0)["helpers"][0]

    def talk(dialogue):
        yield from until(lambda: helper(dialogue)["pid"])
        yield from until(lambda: Path(f"/proc/{helper(dialogue)['pid']}/comm").read_text() == "gateway-publish\n")
        started = dialogue.master._watchdog._started
        yield from until(lambda: helper(dialogue)["pid"] in {child.pid for child in started})
        before = helper(dialogue)["pid"]
        os.kill(before, signal.SIGSTOP)
        yield from until(lambda: not helper(dialogue)["is_answering"])
        assert helper(dialogue)["pid"] == before
        monkeypatch.setattr(watchdog, "HUNG_HELPER_SECONDS", 0.5)
        yield from until(lambda: helper(dialogue)["pid"] not in (None, before))
        monkeypatch.setattr(watchdog, "HUNG_HELPER_SECONDS", SECONDS)
        yield from until(lambda: Path(f"/proc/{helper(dialogue)['pid']}/comm").read_text() == "gateway-publish\n")
        yield from until(lambda: helper(dialogue)["is_answering"])

    listen = [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "pki": True}]
    run(talk, listen=listen, pki={"store": "sqlite:///pki/registry.db"})
    assert "the publisher" in caplog.text
    assert "has not answered for" in caplog.text


def test_a_replaced_worker_serves_what_was_reloaded_before(run):
    def talk(dialogue):
        dialogue.write(rules=[DENY])
        dialogue.signal(signal.SIGHUP)
        yield from until(lambda: dialogue.status() == 403)
        os.kill(dialogue.workers()[0], signal.SIGKILL)
        yield from until(lambda: dialogue.status() == 403)

    run(talk)


def test_the_access_log_is_opened_anew_by_all(run):
    def talk(dialogue):
        log, moved = dialogue.folder / "access.jsonl", dialogue.folder / "access.jsonl.1"
        log.rename(moved)
        dialogue.signal(signal.SIGUSR1)
        yield from until(log.exists)
        yield from until(dialogue.status)
        yield from until(dialogue.records)

    run(talk)


def test_a_full_access_log_is_rotated_and_packed(run, caplog):
    caplog.set_level(logging.INFO)
    line = b'{"time":"2026-11-24T10:00:00.123Z","uri":"/%b"}\n' % (b"x" * 65536)

    def talk(dialogue):
        log = dialogue.folder / "access.jsonl"
        with log.open("ab") as file:
            file.write(line)
        yield from until(lambda: "access log" in caplog.text and "rotated to access-" in caplog.text)
        yield from until(lambda: list(dialogue.folder.glob("access-*.jsonl.zst")))
        yield from until(lambda: not list(dialogue.folder.glob("access-*.jsonl")))
        yield from until(dialogue.status)
        yield from until(dialogue.records)
        with log.open("ab") as file:  # the master ends while this one waits to be packed
            file.write(line)
        yield from until(lambda: list(dialogue.folder.glob("access-*.jsonl")))

    run(talk, access_log={"path": "access.jsonl", "rotate": {"size": "64KiB"}})
    assert "Traceback" not in caplog.text


def test_failed_logins_are_counted_together_and_told_to_all(run, caplog):
    def talk(dialogue):
        dialogue.master._bans.count({"127.0.0.1": 1})
        assert dialogue.answered()[0] == 502
        dialogue.master._bans.count({"127.0.0.1": 1})
        yield from until(lambda: dialogue.status() == 429)
        os.kill(dialogue.workers()[0], signal.SIGKILL)  # its successor is told
        yield from until(lambda: dialogue.status() == 429)
        dialogue.write()  # without any lockout
        dialogue.signal(signal.SIGHUP)
        yield from until(lambda: dialogue.status() == 502)
        dialogue.master._bans.count({"127.0.0.1": 100})
        assert dialogue.answered()[0] == 502
        dialogue.write(lockout={"failures": 3})
        dialogue.signal(signal.SIGHUP)
        yield from until(lambda: dialogue.master._bans.settings is not None)

    run(talk, lockout={"failures": 2})
    assert "locked out for 900 s after too many failures: 127.0.0.1" in caplog.text


class Unauthorized(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(65536)
        self.request.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def test_workers_report_failures(run):
    def talk(dialogue):
        yield from until(lambda: dialogue.status() == 429)

    with socketserver.TCPServer(("127.0.0.1", 0), Unauthorized) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        run(talk, upstreams={"mail": {"servers": [url]}}, lockout={"failures": 2})
        server.shutdown()
        thread.join()


def test_a_second_request_to_stop_waits_for_nobody(run):
    def talk(dialogue):
        os.kill(dialogue.workers()[0], signal.SIGSTOP)  # it will not drain
        dialogue.signal(signal.SIGTERM)
        yield from until(lambda: dialogue.master._children._is_ending)
        yield

    code, dialogue = run(talk)
    assert code == 0
    assert dialogue.workers() == []


def test_a_worker_that_does_not_end_in_time_is_killed(run, monkeypatch):
    monkeypatch.setattr(master_module, "KILL_AFTER_SECONDS", 0.2)

    def talk(dialogue):
        os.kill(dialogue.workers()[0], signal.SIGSTOP)
        yield

    assert run(talk)[0] == 0


def test_a_worker_that_cannot_be_told_does_not_serve_on(run):
    def talk(dialogue):
        (child,) = dialogue.master._children.of(dialogue.master._workers)
        child.channel._socket.shutdown(socket.SHUT_RDWR)
        dialogue.master._say({"do": "ban", "bans": {}})
        yield from until(lambda: dialogue.workers() not in ([], [child.pid]))
        yield from until(dialogue.status)

    run(talk)


def test_an_address_that_is_taken_is_said_before_anything_is_forked(tmp_path):
    dialogue = Dialogue(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dialogue.write(listen=[{"address": f"127.0.0.1:{taken.getsockname()[1]}"}])
        with pytest.raises(OperationError, match="already in use"):
            Master(read_revision(dialogue.path))


def test_a_log_that_cannot_be_written_is_said_before_anything_is_forked(tmp_path):
    dialogue = Dialogue(tmp_path)
    (tmp_path / "folder").mkdir()
    dialogue.write(access_log={"path": "folder"})
    with pytest.raises(ConfigError):
        Master(read_revision(dialogue.path))


def test_the_publisher_is_started_replaced_and_cleaned_up_after(run, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    paths = []

    def helpers(dialogue):
        return dialogue.master._describe(0.0)["helpers"]

    def ask(dialogue):
        port = dialogue.master._listening[1][1].getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as plain:
            plain.sendall(b"GET /.well-known/gateway/crl/corp.crl HTTP/1.1\r\nHost: x\r\n\r\n")
            return plain.recv(65536).split(b" ")[1]

    def talk(dialogue):
        paths.append(dialogue.master._publisher.path)
        yield from until(lambda: helpers(dialogue)[0]["pid"])
        (before,) = helpers(dialogue)
        assert (before["name"], before["restarts"]) == ("publisher", 0)
        os.kill(before["pid"], signal.SIGKILL)
        yield from until(lambda: helpers(dialogue)[0]["pid"] not in (None, before["pid"]))
        assert helpers(dialogue)[0]["restarts"] == 1
        yield from until(lambda: Path(f"/proc/{helpers(dialogue)[0]['pid']}/comm").read_text() == "gateway-publish\n")
        assert ask(dialogue) == b"503"  # there is no registry

    listen = [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "pki": True}]
    code, dialogue = run(talk, listen=listen, pki={"store": "sqlite:///pki/registry.db"})
    assert code == 0
    assert not dialogue.master._children.of(dialogue.master._publisher.role)
    assert not paths[0].parent.exists()
    assert not (tmp_path / "pki").exists()


# revocation lists


class Pki:
    """A CA and its list, as files of the configuration."""

    def __init__(self, folder):
        self.folder = folder
        self.make()
        site = {"hosts": ["mail.example.com"], "certificate": "server.crt", "key": "server.key", "upstream": "mail"}
        self.sites = [{**site, "client_ca": ["ca.crt"], "crl": ["ca.crl"]}]

    def make(self):
        """A new CA under the same name."""
        now = clock.now()
        self.ca = pki.Ca.make(not_before=now - HOUR, not_after=now + 999 * HOUR)
        self.write_ca()
        self.publish(1)

    def write_ca(self):
        put(self.folder / "ca.crt", self.ca.pem)

    def publish(self, number):
        now = clock.now()
        put(self.folder / "ca.crl", self.ca.crl(number=number, last_update=now - HOUR, next_update=now + HOUR))


def lists_of(master):
    """(numbers of the lists that serve, generation, and that of each worker)."""
    (state,) = master._revision.snapshot.states
    recipients = [master._list_sender.of(child).generation for child in master._children.of(master._workers)]
    return [entry.number for entry in state.tls.trust.lists], master._lists.current.generation, recipients


def test_a_changed_list_reaches_the_workers_without_a_reload_and_successors_have_it(run, tmp_path, caplog):
    authority = Pki(tmp_path)
    caplog.set_level(logging.INFO)

    def talk(dialogue):
        master = dialogue.master
        assert lists_of(master) == ([1], 1, [1, 1])
        dialogue.path.write_text("being edited: [")
        authority.publish(2)
        yield from until(lambda: lists_of(master) == ([2], 2, [2, 2]))
        put(tmp_path / "ca.crl", b"half of a li")
        yield from until(lambda: "the last good list stays" in caplog.text)
        assert lists_of(master) == ([2], 2, [2, 2])
        assert any("ca.crl" in line for line in master._describe(0.0)["warnings"])
        os.kill(dialogue.workers()[0], signal.SIGKILL)
        yield from until(lambda: lists_of(master)[2] == [2, 2])

    run(talk, workers=2, sites=authority.sites)
    assert "reloaded" not in caplog.text
    assert "the revocation list" in caplog.text


def test_a_ca_and_its_list_may_be_made_anew_in_any_order(run, tmp_path, caplog):
    authority = Pki(tmp_path)
    caplog.set_level(logging.INFO)

    def talk(dialogue):
        master = dialogue.master
        old = authority.ca
        authority.make()
        list_first, new = (tmp_path / "ca.crl").read_bytes(), authority.ca
        put(tmp_path / "ca.crt", old.pem)
        yield from until(lambda: "the last good list stays" in caplog.text)
        authority.write_ca()
        yield from until(lambda: lists_of(master)[2] == [2])
        (state,) = master._revision.snapshot.states
        assert state.tls.trust.lists[0].is_signed_by(new.certificate)

        caplog.clear()
        authority.make()
        put(tmp_path / "ca.crl", list_first)  # the CA comes first
        yield from until(lambda: "reload refused" in caplog.text)
        authority.publish(2)
        yield from until(lambda: lists_of(master) == ([2], 3, [3]))

    run(talk, sites=authority.sites)


def test_a_reload_that_fails_in_a_way_that_was_not_foreseen_does_not_end_the_master(run, monkeypatch, caplog):
    def talk(dialogue):
        with monkeypatch.context() as patch:
            patch.setattr(master_module, "read_revision", lambda *_: 1 // 0)
            dialogue.signal(signal.SIGHUP)
            yield from until(lambda: "reload refused, the old configuration stays: ZeroDivisionError" in caplog.text)
        assert dialogue.answered()[0] == 502

    run(talk)
