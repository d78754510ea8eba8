"""Each command that the desk prints works when it is pasted: in any folder, with `-c FILE`, quoted for a shell."""

from __future__ import annotations

import re
import shlex
import shutil

import pytest
from support.config_files import BASE, fill
from support.desk import DAY, MINUTE, NOW, PASSPHRASE, issue_to, make_authority, open_desk
from support.pki import Ca

from gateway import clock
from gateway.cli.app import run
from gateway.pki import keys, lifecycle, pkcs8
from gateway.pki.registry import certificates
from gateway.pki.registry.records import Purpose, RevocationReason
from gateway.pki.words import KeyKind

FOREIGN = "0ABC"
COMMAND = re.compile(r"""`(gateway [^`]+)`|'(gateway [^']+)'""")


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A registry beside a configuration whose folder has a space in its name, and an admin in another folder."""
    folder = tmp_path / "my gateway"
    folder.mkdir()
    fill(folder)
    (folder / "gateway.yaml").write_text(f'{BASE}pki: {{store: "sqlite:///pki/registry.db"}}\n')
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(clock, "now", lambda: NOW + MINUTE)
    monkeypatch.setenv("GATEWAY_CA_PASSPHRASE", PASSPHRASE)
    monkeypatch.setattr(pkcs8, "SCRYPT_COST", 2**4)
    make = keys.make
    monkeypatch.setattr(keys, "make", lambda _: make(KeyKind.ECDSA_P256))  # quick
    opened = open_desk(folder)
    yield opened
    opened.registry.close()


@pytest.fixture
def corp(desk):
    return make_authority(desk)


@pytest.fixture
def told(desk, capsys):
    """Runs a command with `-c`; what it says on standard error."""
    config = desk.folder.parent / "gateway.yaml"

    def told(group, *arguments, code):
        capsys.readouterr()
        assert run([group, "-c", str(config), *map(str, arguments)]) == code
        return capsys.readouterr().err

    return told


def commands(text):
    """The commands in a message, as a shell reads them."""
    return [shlex.split(found[1] or found[2])[1:] for found in COMMAND.finditer(text)]


def follow(text, number=0):
    """Paste one of a message's commands."""
    assert run(commands(text)[number]) == 0, text


@pytest.mark.usefixtures("corp")
def test_a_serial_that_is_not_in_the_registry_is_revoked_with_its_authority(told):
    said = told("cert", "revoke", FOREIGN, code=2)
    assert f" revoke {FOREIGN} --ca corp`." in said
    follow(said, 1)
    assert told("cert", "revoke", FOREIGN, "--ca", "corp", code=2).startswith(f"gateway: {FOREIGN} is revoked")


@pytest.mark.usefixtures("corp")
@pytest.mark.parametrize(("command", "before"), [("hold", None), ("unhold", "hold")])
def test_a_serial_that_is_not_in_the_registry_is_held_and_released(told, command, before):
    if before is not None:
        told("cert", before, FOREIGN, "--ca", "corp", code=0)
    follow(told("cert", command, FOREIGN, code=2), 1)


@pytest.mark.usefixtures("corp")
def test_of_several_authorities_the_one_whose_list_names_the_serial_is_named(desk, told):
    make_authority(desk, "other")
    said = told("cert", "hold", FOREIGN, code=2)
    assert f" hold {FOREIGN} --ca NAME`, where NAME is one of corp, other." in said
    told("cert", "hold", FOREIGN, "--ca", "other", code=0)
    follow(told("cert", "unhold", FOREIGN, code=2), 1)


def test_a_serial_without_any_authority(told):
    assert "--ca" not in told("cert", "revoke", FOREIGN, code=2)


def test_a_name_that_is_in_use(desk, corp, told):
    issue_to(desk, corp, now=NOW)
    said = told("cert", "issue", "alice@example.com", "--ca", "corp", code=1)
    follow(said, 1)  # revokes
    assert run(["cert", *commands(said)[0][1:3], "issue", "alice@example.com", "--ca", "corp"]) == 0


@pytest.mark.parametrize(
    ("email", "options"),
    [
        ("alice@example.com", {}),
        ("alice@example.com", {"name": "Alice O'Neil", "device": "Alice's phone", "purpose": Purpose.AUTH}),
        ("bob@example.com", {"upn": "bob@corp.example.com", "purpose": Purpose.SMIME}),
    ],
)
def test_what_is_revoked_is_issued_again(desk, corp, told, email, options):
    old = issue_to(desk, corp, email, options.pop("name", None), now=NOW, **options).record
    lifecycle.revoke(desk, corp, [old], RevocationReason.UNSPECIFIED, NOW)
    follow(told("cert", "renew", old.serial, code=2))
    with desk.registry.reading() as connection:
        made = certificates.matching(connection, email)[-1]
    for name in ("email", "common_name", "device", "upn", "purpose"):
        assert getattr(made, name) == getattr(old, name), name


def test_what_is_held_is_released_and_renewed(desk, corp, told):
    old = issue_to(desk, corp, now=NOW).record
    lifecycle.hold(desk, corp, [old], NOW)
    follow(told("cert", "renew", old.serial, code=2))
    told("cert", "renew", old.serial, code=0)


def test_an_authority_that_does_not_exist_is_made(told):
    follow(told("cert", "issue", "alice@example.com", "--ca", "corp", code=2))
    told("cert", "issue", "alice@example.com", "--ca", "corp", code=0)


def test_a_registry_that_was_restored_takes_over_the_newer_list(desk, corp, told):
    shutil.copy(desk.folder / "registry.db", desk.folder / "backup.db")
    old = issue_to(desk, corp, now=NOW).record
    lifecycle.revoke(desk, corp, [old], RevocationReason.KEY_COMPROMISE, NOW)
    desk.registry.close()
    shutil.copy(desk.folder / "backup.db", desk.folder / "registry.db")
    follow(told("ca", "crl", "corp", code=1))
    told("ca", "crl", "corp", code=0)


def test_an_import_without_its_list_names_the_command_that_revokes(told, tmp_path):
    ca = Ca.make(not_before=NOW - DAY)
    certificate, key = ca.write(tmp_path, "old")
    said = told("ca", "import", "old", "--cert", certificate, "--key", key, code=0)
    (line,) = (line for line in said.splitlines() if "let in until" in line)
    words = shlex.split(line.partition("revoke them here: ")[2])
    assert run([FOREIGN if word == "SERIAL" else word for word in words[1:]]) == 0


def test_a_word_that_an_option_does_not_take_is_told_in_our_words(capsys):
    profile = ("cert", "profile", "a@example.com", "--kind", "ios", "--host", "a.example", "--p12", "a.p12")
    assert run([*profile, "--language", "xx"]) == 2
    assert capsys.readouterr().err == (
        "gateway: --language: 'xx' is not a word that it takes\n  Give en (English), de (German) or cs (Czech).\n"
    )
    assert run([*profile, "--kind", "nokia"]) == 2
    assert "  Give ios, macos, windows, android, firefox, chrome or thunderbird.\n" in capsys.readouterr().err


@pytest.mark.usefixtures("corp")
def test_kits_that_could_not_be_made_are_a_failure(told, tmp_path):
    (tmp_path / "users.csv").write_text("email,name\na@example.com,Ann\nb@example.com,Bob\n")
    words = ("import", tmp_path / "users.csv", "--ca", "corp", "--key", "ecdsa-p256")
    told("cert", *words, "--out", "first", code=0)
    kits = ("--kind", "ios", "--host", "mail.example.com")
    said = told("cert", *words, *kits, "--out", "second", code=1)
    assert "a@example.com: no kit for certificate " in said
    assert "gateway: 2 certificates have no kit: their p12 file or password is not in second\n" in said
    command = commands(said)[0]
    assert run(["first/a@example.com.p12" if word == "FILE" else word for word in command]) == 0
    told("cert", *words, *kits, "--out", "first", code=0)
