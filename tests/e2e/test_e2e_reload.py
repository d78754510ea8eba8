"""Reload is all or nothing: SIGHUP brings in the file, a file that is broken changes nothing and says where.

Sessions live on where a site's settings did not change, and on no account where its CA did (CVE-2025-68121).
"""

from __future__ import annotations

import re
import signal
import threading
import time
from copy import deepcopy
from itertools import count
from pathlib import Path

import pytest
import yaml
from support.client import VERSIONS, Client, ask, context_for
from support.credentials import OTHER_HOST
from support.gateway import HOST, INSIDE, OUTSIDE, settings_for
from support.openssl_ca import put
from support.waiting import AT_ONCE_SECONDS, until
from support.wire import WIRES_BY_VERSION

pytestmark = [pytest.mark.e2e, pytest.mark.measured]

by_version = pytest.mark.parametrize("wire", WIRES_BY_VERSION, ids=str)
both_versions = pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])

SERVED = (200, None)
DENIED = (403, "denied_by_rule")
UNTRUSTED = (403, "certificate_untrusted")
# Reading the file takes a tenth of it; the machine may be busy.
CLIENTS, RELOADS = 4 * len(WIRES_BY_VERSION), 12
# Workers → answers in a row; with two, one of them is left out once in a thousand times.
IN_A_ROW = {1: 1, 2: 11}
RULES = [
    {"name": "Closed", "uri": ["/closed"], "action": "deny"},
    {"name": "Inside", "from": "internal", "action": "allow"},
    {"name": "Members", "action": "require_certificate"},
]
CONTACT = "Ask in room ÄÖÜ"
REFUSED = "reload refused, the old configuration stays: "


_marks = count()


class Editor:
    """Changes the file of a running gateway, and always puts it back."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.good = gateway.config.read_text()

    def settings(self):
        return deepcopy(self.gateway.settings)

    def reload(self, settings):
        """Put these settings into the file, send SIGHUP and wait until they count; what the gateway says about it."""
        settings = deepcopy(settings)
        mark = f"/mark-{next(_marks)}"
        settings["rules"].insert(0, {"name": "Reloaded", "uri": [f"={mark}"], "action": "deny"})
        said = self.reload_text(yaml.safe_dump(settings, sort_keys=False))
        assert REFUSED not in said, said
        self._wait_for(lambda: ask(self.gateway.port, mark).verdict == DENIED)
        return said

    def restore(self):
        """The file as it was at the start."""
        marks = re.findall(r"/mark-[0-9]+", self.gateway.config.read_text())
        assert REFUSED not in self.reload_text(self.good)
        for mark in marks:
            self._wait_for(lambda mark=mark: ask(self.gateway.port, mark).verdict == SERVED)

    def _wait_for(self, holds):
        # Every worker takes it in by itself; so many answers in a row come from all of them.
        until(lambda: all(holds() for _ in range(IN_A_ROW[self.gateway.settings["workers"]])), "all workers know")

    def reload_text(self, text):
        """Put this text into the file and send SIGHUP; what the gateway says about it."""
        self.gateway.config.write_text(text)
        seen = len(self.gateway.errors)
        self.gateway.signal(signal.SIGHUP)
        said = until(lambda: self._said(seen), "a word about the reload", seconds=AT_ONCE_SECONDS)
        if REFUSED in said:
            self.gateway.expected_errors += [re.escape(line[24:]) for line in said.splitlines() if REFUSED in line]
        return said

    def _said(self, seen):
        text = self.gateway.errors[seen:]
        return text if text.endswith("\n") and (REFUSED in text or " reloaded: " in text) else None


@pytest.fixture(scope="module")
def gateway(start, credentials, mail):
    """Its file names a variable of the environment, which the workers need at each reload and don't have."""
    sites = [
        {"hosts": [HOST], "upstream": "mail", **credentials.site},
        {"hosts": [OTHER_HOST], "upstream": "mail", **credentials.other_site},
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUPPORT", CONTACT)
        patch.setenv("UNRELATED", CONTACT)
        pages = {"contact": "${SUPPORT}"}
        return start({**settings_for({}, mail.url, rules=RULES, pages=pages), "sites": sites})


@pytest.fixture
def editor(gateway):
    made = Editor(gateway)
    yield made
    if gateway.config.read_text() != made.good:
        made.restore()


def session_of(gateway, context, server_name=HOST):
    with Client(gateway.port, source=OUTSIDE, server_name=server_name, context=context) as client:
        assert client.ask("GET", "/webmail").verdict == SERVED
        session = client.socket.session
        client.socket.unwrap()
    return session


def again(gateway, context, session, server_name=HOST):
    """(verdict, whether the session was resumed)."""
    options = {"source": OUTSIDE, "server_name": server_name, "context": context, "session": session}
    with Client(gateway.port, **options) as client:
        verdict, is_resumed = client.ask("GET", "/webmail").verdict, client.socket.session_reused
        if verdict == SERVED:
            client.socket.unwrap()  # over TLS 1.2 a session counts once its connection ended well
    return verdict, is_resumed


BROKEN = {
    "no YAML": (lambda text: text + "\nrules: [}\n", r"config\.yaml:[0-9]+:[0-9]+: "),
    "unknown key": (lambda text: text + "rulez: []\n", r"config\.yaml:[0-9]+:1: rulez: "),
    "unknown action": (
        lambda text: text.replace("action: deny", "action: permit"),
        r"config\.yaml:[0-9]+:[0-9]+: rules\[0\]\.action: 'permit' is not an action; write allow,",
    ),
    "missing CA": (
        lambda text: text.replace("rootCA.pem", "gone.pem"),
        r"config\.yaml:[0-9]+:[0-9]+: sites\[0\]\.client_ca\[0\]: .*gone\.pem does not exist",
    ),
    "empty": (lambda _: "", r"config\.yaml"),
    "only new at a start": (
        lambda text: text.replace("workers: 1", "workers: 2"),
        r"config\.yaml: workers cannot change while the gateway runs; .*\(systemctl restart gateway\)",
    ),
}


def test_workers_have_no_secret_in_their_environment_and_reload_all_the_same(gateway, editor):
    assert CONTACT.encode() in Path(f"/proc/{gateway.process.pid}/environ").read_bytes()
    for pid in gateway.workers():
        variables = Path(f"/proc/{pid}/environ").read_bytes()
        assert CONTACT.encode() not in variables
        assert b"SUPPORT" not in variables
    editor.reload(editor.settings())
    refused = ask(gateway.port, "/closed")
    assert refused.verdict == DENIED
    assert CONTACT.encode() in refused.body


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_changes_nothing_and_the_log_says_where_and_what(gateway, editor, credentials, mail, name):
    break_it, words = BROKEN[name]
    with Client(gateway.port, source=OUTSIDE, identity=credentials["alice"]) as client:
        assert client.ask("GET", "/webmail").verdict == SERVED
        said = editor.reload_text(break_it(editor.good))
        assert REFUSED in said
        assert re.search(REFUSED + ".*" + words, said), said
        assert client.ask("GET", "/webmail").verdict == SERVED
        assert client.ask("GET", "/closed").verdict == DENIED
    assert ask(gateway.port, "/webmail", source=OUTSIDE, identity=credentials["alice"]).verdict == SERVED
    assert len(mail.received) == 3


def test_all_mistakes_of_a_file_are_told_at_once(gateway, editor):
    seen = len(gateway.errors)

    def told():
        return [line[24:] for line in gateway.errors[seen:].splitlines(keepends=True) if REFUSED in line]

    broken = editor.good.replace("action: deny", "action: permit") + "rulez: []\n"
    editor.reload_text(broken.replace("from: internal", "from: nowhere"))
    until(lambda: len(told()) == 3 and told()[-1].endswith("\n"), "every mistake is told")
    gateway.expected_errors += [re.escape(line.rstrip()) for line in told()]


def test_a_file_that_is_gone_changes_nothing(gateway, editor, credentials):
    gateway.config.unlink()
    try:
        seen = len(gateway.errors)
        gateway.signal(signal.SIGHUP)
        until(lambda: "No such file" in gateway.errors[seen:], "a word about the file", seconds=AT_ONCE_SECONDS)
        gateway.expected_errors.append(r"config\.yaml: No such file")
        assert ask(gateway.port, "/webmail", source=OUTSIDE, identity=credentials["alice"]).verdict == SERVED
    finally:
        gateway.config.write_text(editor.good)


@by_version
def test_new_rules_count_at_once_on_open_connections_and_running_requests(gateway, editor, credentials, mail, wire):
    mail.answer("/webmail/poll", lambda dialogue: dialogue.wait_closed())
    options = {"source": OUTSIDE, "identity": credentials["alice"]}
    with wire.client(gateway.port, **options) as idle, wire.client(gateway.port, **options) as polling:
        assert idle.ask("GET", "/webmail").verdict == SERVED
        poll = polling.start("GET", "/webmail/poll")
        until(lambda: len(mail.received) == 2, "the poll runs")
        settings = editor.settings()
        settings["rules"].insert(0, {"name": "Nothing any more", "uri": ["/webmail"], "action": "deny"})
        editor.reload(settings)
        answer = poll.answer()
        assert answer.verdict == DENIED
        record = gateway.log.of(answer.get("X-Request-Id"))
        assert (record["uri"], record["status"], record["reason"]) == ("/webmail/poll", *DENIED)
        # Over HTTP/2 the client was asked to make a new connection.
        refused = wire.ask(gateway.port, "/webmail", **options) if wire.is_http2 else idle.ask("GET", "/webmail")
        assert refused.verdict == DENIED
        assert gateway.log.of(refused.get("X-Request-Id"))["rule"] == "Nothing any more"


def test_an_edited_file_is_not_read_before_it_is_asked_for(gateway, editor, credentials):
    """A certificate that changes on disk must not bring in a YAML that somebody is still writing."""
    settings = editor.settings()
    settings["rules"].insert(0, {"name": "Not yet", "uri": ["/webmail"], "action": "deny"})
    gateway.config.write_text(yaml.safe_dump(settings))
    seen = len(gateway.errors)
    put(credentials.root, credentials.root.read_bytes())
    until(lambda: " reloaded: " in gateway.errors[seen:], "the CA's file was seen", seconds=AT_ONCE_SECONDS)
    assert ask(gateway.port, "/webmail", source=OUTSIDE, identity=credentials["alice"]).verdict == SERVED


@both_versions
def test_sessions_resume_after_a_reload_where_nothing_of_tls_changed(gateway, editor, credentials, version):
    context = context_for(None, credentials["alice"], version)
    session = session_of(gateway, context)
    settings = editor.settings()
    settings["rules"][0]["uri"] = ["/closed", "/closed2"]
    editor.reload(settings)
    assert again(gateway, context, session) == (SERVED, True)
    # The other site's CA changes: this one's sessions live on.
    settings["sites"][1]["client_ca"] = settings["sites"][0]["client_ca"]
    editor.reload(settings)
    assert again(gateway, context, session) == (SERVED, True)


@both_versions
@pytest.mark.parametrize("back", [False, True], ids=["the CA is gone", "another CA more"])
def test_sessions_never_resume_under_another_set_of_cas(gateway, editor, credentials, back, version):
    context = context_for(None, credentials["stranger"], version)
    session = session_of(gateway, context, OTHER_HOST)
    assert again(gateway, context, session, OTHER_HOST) == (SERVED, True)
    session = session_of(gateway, context, OTHER_HOST)
    settings = editor.settings()
    own = settings["sites"][1]["client_ca"] if back else []
    settings["sites"][1]["client_ca"] = [*own, *settings["sites"][0]["client_ca"]]
    with Client(gateway.port, source=OUTSIDE, server_name=OTHER_HOST, context=context) as client:
        assert client.ask("GET", "/webmail").verdict == SERVED
        editor.reload(settings)
        verdict = SERVED if back else UNTRUSTED
        assert client.ask("GET", "/webmail").verdict == verdict
    assert again(gateway, context, session, OTHER_HOST) == (verdict, False)


@both_versions
def test_a_ca_file_that_changes_on_disk_counts_without_a_signal(gateway, credentials, version):
    """And what it vouched for before is out, on open connections and with sessions from before."""
    path = credentials.folder / "otherCA.crt"
    good = path.read_bytes()
    context = context_for(None, credentials["stranger"], version)
    session = session_of(gateway, context, OTHER_HOST)
    options = {"source": OUTSIDE, "server_name": OTHER_HOST, "context": context}
    with Client(gateway.port, **options) as client:
        assert client.ask("GET", "/webmail").verdict == SERVED
        put(path, credentials.root.read_bytes())
        try:
            until(
                lambda: client.ask("GET", "/webmail").verdict == UNTRUSTED, "the new CA counts", seconds=AT_ONCE_SECONDS
            )
            assert again(gateway, context, session, OTHER_HOST) == (UNTRUSTED, False)
        finally:
            put(path, good)
    until(
        lambda: ask(gateway.port, "/webmail", **options).verdict == SERVED,
        "the old CA is back",
        seconds=AT_ONCE_SECONDS,
    )


@pytest.mark.parametrize("content", [None, b"", b"\n\n", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_broken_ca_file_on_disk_lets_nobody_else_in_and_nobody_out(gateway, credentials, content):
    """CVE-2026-27586: a missing CA file must never mean that another set of CAs counts."""
    path = credentials.folder / "otherCA.crt"
    good = path.read_bytes()
    gateway.expected_errors.append(re.escape(REFUSED) + r".*otherCA\.crt[ :]")
    # Where the file breaks between the master's reading and the worker's.
    gateway.expected_errors.append(r"the worker [0-9]+ keeps its old configuration: .*otherCA\.crt")
    seen = len(gateway.errors)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    try:
        until(lambda: REFUSED in gateway.errors[seen:], "the file is refused", seconds=AT_ONCE_SECONDS)
        assert re.search(r"config\.yaml:[0-9]+:[0-9]+: sites\[1\]\.client_ca\[0\]: ", gateway.errors[seen:])
        options = {"source": OUTSIDE, "server_name": OTHER_HOST}
        for name, verdict in (("stranger", SERVED), ("alice", UNTRUSTED), (None, (403, "certificate_missing"))):
            context = context_for(None, name and credentials[name])
            assert ask(gateway.port, "/webmail", context=context, **options).verdict == verdict
    finally:
        path.write_bytes(good)
    until(lambda: " reloaded: " in gateway.errors[seen:], "the good file is back", seconds=AT_ONCE_SECONDS)


# under load


@pytest.fixture(scope="module")
def busy(start, credentials, mail):
    return start(settings_for(credentials.site, mail.url, rules=RULES, workers=2))


def test_no_request_is_lost_while_reloads_come(busy, credentials, mail):
    """Keep-alive connections on each wire through both workers, while rules and certificates are read anew."""
    editor, asked, failures = Editor(busy), [0] * CLIENTS, []
    has_ended = threading.Event()

    def ask_on(number):
        name = ("alice", None)[number % 2]
        wire = WIRES_BY_VERSION[number // 2 % len(WIRES_BY_VERSION)]
        options = {"source": (OUTSIDE, INSIDE)[number % 2], "identity": name and credentials[name]}
        try:
            while not has_ended.is_set():
                with wire.client(busy.port, **options) as client:
                    while not (has_ended.is_set() or client.is_going_away):
                        answer = client.ask("POST", "/webmail", body=b"x" * 1000)
                        assert answer.verdict == SERVED, answer
                        asked[number] += 1
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append((number, error))

    threads = [threading.Thread(target=ask_on, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        for number in range(RELOADS):
            settings = editor.settings()
            settings["rules"][0]["uri"] = ["/closed", f"/closed{number}"]
            editor.reload(settings)
            before = list(asked)
            until(lambda before=before: failures or all(map(int.__gt__, asked, before)), "all of them go on")
    finally:
        has_ended.set()
        for thread in threads:
            thread.join()
        editor.restore()
    assert not failures
    assert min(asked) >= RELOADS
    assert sum(asked) == sum(each.target == b"/webmail" for each in mail.received)


@both_versions
def test_both_workers_take_a_reload_in(busy, credentials, version):
    editor = Editor(busy)
    settings = editor.settings()
    settings["rules"].insert(0, {"name": "Shut", "uri": ["/webmail"], "action": "deny"})
    options = {"source": OUTSIDE, "identity": credentials["alice"], "version": version}
    clients = [Client(busy.port, **options) for _ in range(16)]
    try:
        assert {client.ask("GET", "/webmail").verdict for client in clients} == {SERVED}
        said = time.monotonic()
        editor.reload(settings)
        for client in clients:
            until(
                lambda client=client: client.ask("GET", "/webmail").verdict == DENIED, "shut", seconds=AT_ONCE_SECONDS
            )
        assert time.monotonic() - said < AT_ONCE_SECONDS
    finally:
        for client in clients:
            client.close()
        editor.restore()
