"""From `gateway init` to a request with a certificate: the commands that it prints, followed to the letter.

The README's commands are run as they stand there, too.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from support.client import ask, curl
from support.desk_command import COMMAND, PASSPHRASE, DeskFolder
from support.gateway import HOST, INSIDE, OUTSIDE, STOP_SECONDS, free_port
from support.openssl_ca import OpensslCa
from support.pki import openssl
from support.programs import need
from support.terminal import Terminal
from support.waiting import until

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SECONDS = 120.0


class Ports:
    """The options that keep a test's gateway on ports of its own, and make keys that cost little."""

    def __init__(self):
        self.https, self.admin = free_port(), free_port()

    @property
    def options(self):
        listen = ("--listen", f"{INSIDE}:{self.https}", "--admin", f"{INSIDE}:{self.admin}")
        return (*listen, "--inside", f"{INSIDE}/32", "--key-kind", "ecdsa-p256")


def shell(command, folder):
    """Run a line as a shell does; what it printed."""
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def serving(command, folder):
    """While it runs, `command` serves; it must end well."""
    log = folder / "stderr.txt"
    with log.open("w") as errors:
        process = subprocess.Popen(shlex.split(command), cwd=folder, stdout=errors, stderr=errors)
    try:
        until(lambda: process.poll() is not None or "serving on" in log.read_text(), "it serves")
        assert process.poll() is None, log.read_text()
        yield process, log
    finally:
        process.terminate()
        code = process.wait(STOP_SECONDS)
    assert code == 0, log.read_text()
    assert " ERROR " not in log.read_text()


def next_commands(printed):
    """The three commands under "Next:"."""
    found = printed.split("\nNext:\n")[1].split("\n\n")[0].splitlines()
    assert len(found) == 3
    return [line.strip() for line in found]


def test_the_printed_commands_lead_to_a_request_with_a_certificate(tmp_path, mail):
    ports, folder = Ports(), tmp_path / "etc"
    command = ("init", "-c", "etc/config.yaml", "--yes", "--host", HOST, "--mail-server", mail.url)
    check, issue, run = next_commands(DeskFolder(tmp_path).run(*command, *ports.options))

    said = shell(check, "/")
    assert re.search(r"config\.yaml: good: 1 site, 3 rules, 1 listener$", said, flags=re.MULTILINE)
    assert re.search(r"/webmail +with a certificate", said)
    assert "alice@example.com.p12" in shell(issue, "/")
    issued = folder / "issued"
    password = (issued / "alice@example.com.password").read_text().strip()
    stem = issued / "alice@example.com"
    person = ("--cert", f"{stem}.crt", "--key", f"{stem}.key", "--pass", password)
    with serving(run, tmp_path) as (process, log):
        ca = folder / "test-certificate.crt"
        assert curl(ports.https, "/webmail/", ca=ca, source=INSIDE).status == 200
        assert curl(ports.https, "/webmail/", ca=ca, source=OUTSIDE).verdict == (403, "certificate_missing")
        shown = curl(ports.https, "/webmail/", *person, ca=ca, source=OUTSIDE)
        assert shown.status == 200
        assert curl(ports.https, "/admin", *person, ca=ca, source=OUTSIDE).status == 403
        asked = shlex.join((*COMMAND, "status", "-c", str(folder / "config.yaml")))
        until(lambda: "renewed by the gateway" in shell(asked, tmp_path), "the keeper has looked")
        check_reload(folder, process.pid, log)


def check_reload(folder, pid, log):
    """The unit's commands for a reload, one after the other until one fails, as systemd runs them."""
    commands = re.findall("^ExecReload=(.*)", (folder / "gateway.service").read_text(), flags=re.MULTILINE)

    def reload():
        for command in commands:
            arguments = shlex.split(command.replace("$MAINPID", str(pid)))
            if code := subprocess.run(arguments, capture_output=True, check=False).returncode:
                return code
        return 0

    good = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(good.replace("action: allow", "action: permit"))
    assert reload() == 2
    (folder / "config.yaml").write_text(good)
    assert reload() == 0
    until(lambda: " reloaded: " in log.read_text(), "the reload")
    assert "reload refused" not in log.read_text()


def test_an_authority_of_openssl_is_imported_or_trusted_as_it_is(tmp_path):
    """The commands that follow fit each of the two."""
    authority = OpensslCa.make(tmp_path, "ca")
    authority.publish(tmp_path / "ca.crl")
    encrypting = ("-aes256", "-passout", "pass:hunter2")
    openssl("pkey", "-in", "ca.key", *encrypting, "-out", "locked.key", cwd=authority.folder)
    host = ("--yes", "--host", HOST, "--mail-server", "http://10.0.0.5", *Ports().options)
    desk = DeskFolder(tmp_path)
    (tmp_path / "chosen.txt").write_text(f"{PASSPHRASE}\n")
    (tmp_path / "old.txt").write_text("hunter2\n")
    files = ("--ca", "ca/ca.crt", "--ca-crl", "ca.crl")
    imports = ("--ca-key", "ca/locked.key", "--ca-key-passphrase-file", "old.txt", "--passphrase-file", "chosen.txt")

    commands = next_commands(desk.run("init", "-c", "imports/config.yaml", *host, *files, *imports))
    for command in commands[:2]:
        shell(command, "/")
    assert (tmp_path / "imports" / "corp.passphrase").read_text() == f"{PASSPHRASE}\n"
    assert (tmp_path / "imports" / "issued" / "alice@example.com.p12").exists()

    commands = next_commands(desk.run("init", "-c", "trusts/config.yaml", *host, *files))
    shell(commands[0], "/")
    assert "certificate: the client is asked for one" in shell(commands[1], "/")
    assert not (tmp_path / "trusts" / "pki").exists()


def blocks(heading, kind):
    """The code blocks of a kind in a section of the README."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{kind}\n(.*?)```", section, flags=re.DOTALL)


def arguments_of(line):
    """What stands behind `.venv/bin/gateway` in a line of the README."""
    program, *arguments = shlex.split(line.removeprefix("$ "))
    assert program == ".venv/bin/gateway", line
    return arguments


def test_the_readmes_commands_work_as_they_stand_there(tmp_path):
    dialogue, commands = blocks("Use it", "console")
    asked, *questions = dialogue.splitlines()
    ports = Ports()
    terminal = Terminal(tmp_path, *arguments_of(asked), *ports.options)
    for line in questions:
        question, _, answer = (line, "", "") if line.endswith(":") else line.rpartition(" ")
        terminal.expect(question)
        terminal.type(answer)
    assert terminal.end() == 0, terminal.shown
    printed = next_commands(terminal.shown.replace("\r", ""))

    config = yaml.safe_load((tmp_path / "mail/config.yaml").read_text())
    (shown,) = map(yaml.safe_load, blocks("Use it", "yaml"))
    assert {key: config[key] for key in shown} == shown

    lines = commands.splitlines()
    for line, other in zip(lines, printed, strict=True):
        assert arguments_of(line)[0] == shlex.split(other)[len(COMMAND)]
    *first, run = (shlex.join((*COMMAND, *arguments_of(line))) for line in lines)
    for command in first:
        shell(command, tmp_path)
    assert (tmp_path / "mail/issued/alice@example.com.p12").exists()
    with serving(run, tmp_path):
        assert ask(ports.https, "/SOGo", source=OUTSIDE).verdict == (403, "certificate_missing")


def test_the_demo_of_the_readme_runs():
    """`make demo`, with the packages that are installed."""
    (line,) = blocks("Try it", "console")
    assert line == "$ make demo\n"
    environment = Path(sys.prefix)
    installed = f"{environment}/.run"
    done = subprocess.run(
        [need("make"), "-o", installed, "demo", f"VENV={environment}", "ARGS=--once"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
