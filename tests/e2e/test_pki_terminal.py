"""The desk at a terminal: passphrases are asked for and not shown, and a bar tells how far an import is."""

from __future__ import annotations

import os
import shlex
import subprocess
import time

import pytest
from support.desk_command import COMMAND, PASSPHRASE, DeskFolder
from support.programs import need

pytestmark = pytest.mark.e2e

ANSWER_SECONDS = 60.0


class Terminal:
    """A command on a terminal of its own, which `script` makes, and what it has shown so far."""

    def __init__(self, folder, *arguments):
        command = shlex.join((*COMMAND, *arguments))
        environment = {name: value for name, value in os.environ.items() if name != "GATEWAY_CA_PASSPHRASE"}
        self.shown = ""
        self._process = subprocess.Popen(
            [need("script"), "--quiet", "--return", "--echo", "never", "--command", command, "/dev/null"],
            cwd=folder,
            env={**environment, "TERM": "xterm", "COLUMNS": "100"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        os.set_blocking(self._process.stdout.fileno(), False)

    def expect(self, text):
        """Wait until it shows this; returns what it has shown since it was last asked."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while text not in self.shown:
            assert time.monotonic() < deadline, self.shown
            self.shown += (self._process.stdout.read() or b"").decode(errors="replace")
            time.sleep(0.01)
        found, self.shown = self.shown, ""
        return found

    def type(self, text):
        self._process.stdin.write(f"{text}\n".encode())
        self._process.stdin.flush()

    def end(self):
        """Its exit code, after all that it showed."""
        os.set_blocking(self._process.stdout.fileno(), True)
        rest, _ = self._process.communicate(timeout=ANSWER_SECONDS)
        self.shown += rest.decode(errors="replace")
        return self._process.returncode


def test_a_new_passphrase_is_asked_for_twice_and_never_shown(tmp_path):
    terminal = Terminal(tmp_path, "ca", "init", "corp", "--key", "ecdsa-p256")
    shown = terminal.expect("Passphrase of the new authority 'corp': ")
    terminal.type(PASSPHRASE)
    shown += terminal.expect("Once more: ")
    terminal.type(PASSPHRASE)
    assert terminal.end() == 0
    assert PASSPHRASE not in shown + terminal.shown
    assert (tmp_path / "pki/corp/corp.key").exists()


def test_two_passphrases_that_differ_make_nothing(tmp_path):
    terminal = Terminal(tmp_path, "ca", "init", "corp", "--key", "ecdsa-p256")
    terminal.expect("Passphrase of the new authority 'corp': ")
    terminal.type(PASSPHRASE)
    terminal.expect("Once more: ")
    terminal.type("another one")
    assert terminal.end() == 2
    assert "the two passphrases differ" in terminal.shown
    assert not (tmp_path / "pki/corp").exists()


def test_an_import_asks_first_and_then_tells_how_far_it_is(tmp_path):
    DeskFolder(tmp_path).run("ca", "init", "corp", "--key", "ecdsa-p256")
    (tmp_path / "users.csv").write_text("email,name\na@example.com,Ann\nb@example.com,Bob\n")
    command = ("cert", "import", "users.csv", "--ca", "corp", "--out", "out", "--key", "ecdsa-p256")
    terminal = Terminal(tmp_path, *command)
    shown = terminal.expect("Passphrase of authority 'corp': ")
    assert "━" not in shown, "the bar isn't drawn over the question"
    terminal.type(PASSPHRASE)
    assert terminal.end() == 0
    assert "━" in terminal.shown
    assert "2/2" in terminal.shown
    assert "2 issued in" in terminal.shown
    assert PASSPHRASE not in terminal.shown
