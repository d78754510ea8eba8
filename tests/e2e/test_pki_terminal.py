"""The desk at a terminal: passphrases are asked for and not shown, and a bar tells how far an import is."""

from __future__ import annotations

import pytest
from support.desk_command import PASSPHRASE, DeskFolder
from support.pki import openssl_root
from support.terminal import Terminal

pytestmark = pytest.mark.e2e


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


def test_the_new_passphrase_of_an_imported_authority_is_asked_for_twice(tmp_path):
    openssl_root(tmp_path)
    terminal = Terminal(tmp_path, "ca", "import", "old", "--cert", "rootCA.pem", "--key", "rootCA.key")
    terminal.expect("Passphrase of authority 'old' (encrypts its key here): ")
    terminal.type(PASSPHRASE)
    terminal.expect("Once more: ")
    terminal.type("another one")
    assert terminal.end() == 2
    assert "the two passphrases differ" in terminal.shown
    assert not (tmp_path / "pki/old").exists()


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
