"""The guide to the certificate desk is true: every command in it runs as it stands there, and prints what it says."""

from __future__ import annotations

import re
import shlex
import shutil

import pytest
from support import warm_gateway
from support.desk_command import DeskFolder
from support.guide import CERTIFICATES, blocks
from support.pki import openssl, openssl_root

pytestmark = pytest.mark.e2e

SERIAL = re.compile(r"\b[0-9A-F]{40}\b")
# What differs from run to run: serials, dates, durations, and the folder.
VARYING = (
    (SERIAL, "SERIAL"),
    (re.compile(r"\d{4}-\d\d-\d\d"), "DATE"),
    (re.compile(r"\b\d+\.\d s\b"), "SECONDS"),
    (re.compile(r"(?<= )/\S*/(?=pki/)"), ""),
)
PROMPTS = ("Passphrase of", "Once more:")


BLOCKS = blocks()
# Those of the drill are run by test_pki_backup.
DRILL = {
    "Back up SQLite",
    "Back up PostgreSQL",
    "Restore SQLite",
    "Restore PostgreSQL",
    "What was revoked after the backup",
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder in which the authority of the first example is, and people who have certificates already."""
    desk = DeskFolder(tmp_path_factory.mktemp("base"))
    desk.run("ca", "init", "corp", "--domain", "example.com", "--organization", "Example Ltd", "--key", "ecdsa-p256")
    for name in ("Alice Example", "Bob Example"):
        email = f"{name.split()[0].lower()}@example.com"
        desk.run("cert", "issue", email, "--ca", "corp", "--name", name, "--key", "ecdsa-p256")
    return desk.path


@pytest.fixture
def desk(base, tmp_path):
    """Begins an example: with an empty folder, with the authority alone, or with people too."""

    def begun(what):
        if what == "people":
            shutil.copytree(base, tmp_path, dirs_exist_ok=True)
        desk = DeskFolder(tmp_path)
        if what == "authority":
            desk.run("ca", "init", "corp", "--domain", "example.com", "--organization", "Example Ltd")
        return desk

    return begun


def _alike(text):
    for pattern, word in VARYING:
        text = pattern.sub(word, text)
    return text


def _run(desk, block):
    """Run a block's commands; each must print the lines that stand below it, prompts aside."""
    for command, shown in block.steps:
        if command.startswith("cat "):
            (desk.path / command.split()[1]).write_text("".join(f"{line}\n" for line in shown))
            continue
        program, *arguments = shlex.split(_with_real_serial(desk, command), comments=True)
        assert program == "gateway", command
        printed = [_alike(line) for line in desk.run(*arguments).splitlines()]
        wanted = [_alike(line) for line in shown if not line.startswith(PROMPTS)]
        assert [line for line in wanted if line not in printed] == [], (command, printed)


def _with_real_serial(desk, command):
    if SERIAL.search(command) is None:
        return command
    serial = desk.json("cert", "list", "--user", "bob")[-1]["serial"]
    return SERIAL.sub(serial, command)


@pytest.mark.parametrize(
    ("heading", "begins_with"),
    [
        ("An authority in one command", "nothing"),
        ("One person", "authority"),
        ("Many people", "authority"),
        ("Kits for everybody", "authority"),
        ("Renewing, revoking", "people"),
        ("Device kits", "people"),
        ("Servers", "people"),
    ],
)
def test_an_example_runs_as_it_stands_there(desk, heading, begins_with):
    _run(desk(begins_with), BLOCKS[heading])


def test_an_authority_of_openssl_is_taken_in_as_it_stands_there(desk):
    own = desk("nothing")
    openssl_root(own.path, password="hunter2")
    (own.path / "old.txt").write_text("hunter2\n")
    (own.path / "index.txt").write_text("")
    (own.path / "ca.cnf").write_text(
        "[ca]\ndefault_ca=x\n[x]\ndatabase=index.txt\ndefault_md=sha256\ndefault_crl_days=30\n"
    )
    files = ("-config", "ca.cnf", "-cert", "rootCA.pem", "-keyfile", "rootCA.key", "-out", "rootCA.crl")
    openssl("ca", "-gencrl", *files, "-passin", "file:old.txt", cwd=own.path)

    _run(own, BLOCKS["One that openssl made"])
    own.run("cert", "revoke", "0A1B2C", "--ca", "corp")
    assert "0A1B2C" in openssl("crl", "-in", "pki/corp/corp.crl", "-noout", "-text", cwd=own.path)


def test_no_example_is_left_out():
    assert set(BLOCKS) - DRILL == {
        "An authority in one command",
        "One that openssl made",
        "One person",
        "Many people",
        "Kits for everybody",
        "Renewing, revoking",
        "Device kits",
        "Servers",
    }


def test_the_options_that_are_named_are_there():
    """Every option in the guide's text is one of a command's."""
    text = re.sub(r"```.*?```", "", CERTIFICATES.read_text(), flags=re.DOTALL)
    named = set(re.findall(r"`(--[a-z0-9-]+)", text))
    commands = (
        "ca init",
        "ca import",
        "ca export",
        "ca crl",
        "cert issue",
        "cert import",
        "cert renew",
        "cert profile",
        "cert list",
    )
    helped = "".join(_help(command) for command in (*commands, "ca", "cert"))
    assert named
    assert {option for option in named if option not in helped} == set()


def _help(command):
    return warm_gateway.run([*command.split(), "--help"]).stdout
