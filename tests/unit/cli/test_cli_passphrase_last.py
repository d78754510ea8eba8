"""What a command can refuse without an authority's key, it refuses before it asks for the passphrase."""

from __future__ import annotations

import io
import re
import sys

import pytest
from support.desk import DAY, MINUTE, NOW, Files, issue_to, make_authority, open_desk
from support.pki import Ca
from typer.main import get_command

from gateway import clock
from gateway.cli.app import build_app, run
from gateway.pki import hosts, issue, lifecycle, pkcs12
from gateway.pki.keys import make
from gateway.pki.registry.records import Purpose, RevocationReason
from gateway.pki.words import KeyKind, P12Format, Signs
from gateway.x509.serials import serial_text

ISSUE = "cert issue dora@example.com --ca corp"
IMPORT = "cert import users.csv --ca corp --out out"
KITS = f"{IMPORT} --kind ios --host mail.example.com"
RENEW = "cert renew alice@example.com"
SAME_KEY = f"{RENEW} --same-key --p12 other.p12 --password-file good.txt"
# A command that works, and the same with mistakes and what is said of each.
COMMANDS = {
    ISSUE: {
        f"{ISSUE} --ca nobody": "no authority 'nobody'",
        f"{ISSUE} --ca keyless": "the key of authority 'keyless' is missing",
        f"{ISSUE} --ca servers": "may sign for servers only",
        f"{ISSUE} --ca below": "is on the list of",
        f"{ISSUE} --days 9000": "9000 days",
        f"{ISSUE} --password-file weak.txt": "fewer than 8 characters",
        f"{ISSUE} --password-file none.txt": "none.txt: cannot be read",
        f"{ISSUE} --csr users.csv": "users.csv: ",
        f"{ISSUE} --csr none.csr": "none.csr: cannot be read",
        f"{ISSUE} --out users.csv": "users.csv: cannot be written to",
        f"{ISSUE} --out users.csv/sub/folder": "users.csv/sub/folder: cannot be written to",
        f"{ISSUE} --upn bob@example.org": "example.org",
        f"{ISSUE} --name alice@example.com": "alice@example.com",
        f"{ISSUE} --name Alice": "the common name 'Alice' is in use",
        "cert issue dora@example.org --ca corp": "example.org",
        "cert issue dora --ca corp": "'dora'",
    },
    "cert server mail.example.com --ca servers": {
        "cert server a_b --ca servers": "'a_b'",
        "cert server mail.example.com --ca nobody": "no authority 'nobody'",
        "cert server mail.example.com --ca servers --days 9000": "9000 days",
        "cert server imap.example.com --ca servers": "the common name 'imap.example.com' is in use",
        "cert server mail.example.com --ca servers --out users.csv": "users.csv: cannot be written to",
    },
    IMPORT: {
        f"{IMPORT} --ca servers": "may sign for servers only",
        f"{IMPORT} --ca below": "is on the list of",
        f"{IMPORT} --out users.csv": "users.csv",
        IMPORT.replace("users.csv", "none.csv"): "none.csv: cannot be read",
        IMPORT.replace("users.csv", "bad.csv"): "bad.csv:2:1: ",
        IMPORT.replace("users.csv", "taken.csv"): "taken.csv:2:2: the name 'Alice' is in use",
        f"{IMPORT} --out foreign": "passwords.csv: is not a list that this program wrote",
        f"{KITS} --out foreign": "passwords.csv: is not a list that this program wrote",
        f"{KITS} --sign-cert other.crt": "--sign-key",
        f"{KITS} --sign-cert other.crt --sign-key none.key": "none.key: cannot be read",
        f"{KITS} --sign-cert pki/corp/corp.crt --sign-key other.key": "other.key: ",
    },
    RENEW: {
        "cert renew nobody@example.com": "nobody@example.com",
        "cert renew bob@example.com": "is revoked",
        "cert renew held@example.com": "is held",
        "cert renew below@example.com": "is on the list of",
        f"{RENEW} --days 9000": "9000 days",
        f"{RENEW} --overlap soon": "--overlap",
        f"{RENEW} --password-file weak.txt": "fewer than 8 characters",
        f"{RENEW} --out users.csv": "users.csv: cannot be written to",
        f"{RENEW} --same-key --escrow": "--escrow needs the key",
        f"{RENEW} --same-key --p12 other.p12": "needs its password",
        f"{RENEW} --p12 other.p12": "--p12 needs --same-key",
        f"{SAME_KEY} --p12 none.p12": "none.p12: cannot be read",
        SAME_KEY: "other.p12: holds another certificate's key",
    },
    "cert revoke alice@example.com": {
        "cert revoke nobody@example.com": "nobody@example.com",
        "cert revoke bob@example.com": "is revoked",
        "cert revoke alice@example.com --reason certificate-hold": "certificate-hold is not a valid revocation reason",
        "cert revoke alice@example.com keyless@example.com": "the key of authority 'keyless' is missing",
    },
    "cert hold alice@example.com": {"cert hold bob@example.com": "is revoked"},
    "cert unhold held@example.com": {"cert unhold alice@example.com": "is live"},
    "cert export kept@example.com --format key --out k": {
        "cert export alice@example.com --format key --out k": "no key is kept",
        "cert export kept@example.com --format key --out none/k": "none/k: cannot be written",
        "cert export kept@example.com --format key --out users.csv/k": "users.csv: cannot be written to",
        "cert export kept@example.com --format key": "--out",
    },
    "ca crl corp servers": {
        "ca crl corp nobody": "no authority 'nobody'",
        "ca crl corp keyless": "the key of authority 'keyless' is missing",
    },
    "ca crl corp --from pki/corp/corp.crl": {
        "ca crl corp --from pki/servers/servers.crl": "was not signed by this authority",
        "ca crl corp --from users.csv": "revocation list",
        "ca crl corp servers --from pki/corp/corp.crl": "--from takes the list of one authority",
    },
    "ca ocsp corp": {
        "ca ocsp nobody": "no authority 'nobody'",
        "ca ocsp keyless": "the key of authority 'keyless' is missing",
        "ca ocsp ended": "'ended' expires today or has expired",
    },
    # With its mistakes in tests/e2e/test_pki_cli.py.
    "ca init new": {"ca init corp": "the authority 'corp' already exists"},
    "ca import old --cert other.crt --key other.key": {"ca import old --cert users.csv --key other.key": "certificate"},
}
MISTAKES = [(mistake, cause) for mistakes in COMMANDS.values() for mistake, cause in mistakes.items()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Authorities of every kind, people of every kind, and files that are wrong in one way each."""
    folder = tmp_path_factory.mktemp("desk")
    desk = open_desk(folder)
    corp = make_authority(desk, domain="example.com")
    make_authority(desk, "ended", now=NOW - 30 * DAY, days=30)
    servers = make_authority(desk, "servers", signs=Signs.SERVERS)
    root = make_authority(desk, "root", signs=Signs.ALL)
    below = make_authority(desk, "below", parent=root)
    keyless = make_authority(desk, "keyless")
    issue_to(desk, corp, "alice@example.com", "Alice")
    issue_to(desk, corp, "kept@example.com", escrow="correct horse battery")
    issue_to(desk, below, "below@example.com")
    issue_to(desk, keyless, "keyless@example.com")
    bob, held = (issue_to(desk, corp, f"{name}@example.com").record for name in ("bob", "held"))
    lifecycle.revoke(desk, corp, [bob], RevocationReason.SUPERSEDED, NOW)
    lifecycle.hold(desk, corp, [held], NOW)
    lifecycle.revoke(desk, root, [], RevocationReason.UNSPECIFIED, NOW, [serial_text(below.certificate.serial_number)])
    desk.file("keyless", "key").unlink()
    imap = tuple(hosts.check(["imap.example.com"]))
    order = issue.Order(email=None, common_name="imap.example.com", purpose=Purpose.SERVER, hosts=imap)
    issue.issue(desk, servers, order, make(KeyKind.ECDSA_P256), NOW, Files())
    desk.registry.close()
    other = Ca.make("CN=Other")
    other.write(folder, "other")
    for name, text in {
        "users.csv": "email,name\ndora@example.com,Dora\n",
        "bad.csv": "email,name\ndora,Dora\n",
        "taken.csv": "email,name\ndora@example.com,Alice\n",
        "foreign/passwords.csv": "site,password\n",
        "weak.txt": "secret\n",
        "good.txt": "correct horse\n",
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    p12 = pkcs12.build(
        key=other.key,
        certificate=other.certificate,
        chain=(),
        name="other",
        password="correct horse",
        format_=P12Format.MODERN,
    )
    (folder / "other.p12").write_bytes(p12)
    return folder


@pytest.fixture
def say(folder, monkeypatch, capsys):
    """What a command says with nobody at the keyboard and no passphrase in the environment."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(clock, "now", lambda: NOW + MINUTE)
    monkeypatch.delenv("GATEWAY_CA_PASSPHRASE", raising=False)

    def say(line):
        assert run(line.split()) in (1, 2), line
        return capsys.readouterr().err

    return say


def _path_and_options(command, path=()):
    if hasattr(command, "commands"):
        for name, below in command.commands.items():
            yield from _path_and_options(below, (*path, name))
    else:
        yield " ".join(path), {option for parameter in command.params for option in parameter.opts}


def test_every_command_that_asks_for_a_passphrase_is_looked_at():
    asking = {
        path
        for path, options in _path_and_options(get_command(build_app()))
        if "--passphrase-file" in options and path != "init"  # it writes a new one into a file
    }
    assert asking == {" ".join(command.split()[:2]) for command in COMMANDS}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_would_work_asks_for_the_passphrase(say, command):
    assert re.search(r"the passphrase of .*authority '\S+'.* is", say(command)), command


@pytest.mark.parametrize(("command", "cause"), MISTAKES, ids=[mistake for mistake, _ in MISTAKES])
def test_a_mistake_is_reported_before_that(say, command, cause):
    told = say(command)
    assert cause in told
    assert "passphrase" not in told
