"""A gateway that root starts and that serves as another user: its rights, its files, and what it says to do."""

from __future__ import annotations

import grp
import os
import pwd
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from support.client import ask
from support.gateway import HOST, INSIDE, Gateway, free_port, settings_for
from support.reachable_python import is_reachable, reachable_python
from support.waiting import AT_ONCE_SECONDS, PATIENCE_SECONDS, until

import gateway as package

USER, GROUP = 54321, 54322  # no system has these; the gateway needs no entry in /etc/passwd for them
NAMED_USER = "nobody"  # every system has this one
LOW_PORTS = range(600, 1024)
SECRET = b"of another service"
ROOT_WARNING = "the gateway runs as root"


pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
    pytest.mark.skipif(not is_reachable(package.__file__), reason="others can't reach this clone"),
]


@pytest.fixture(scope="module", autouse=True)
def _python():
    """Programs that tests start run on a Python that the gateway's user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="gateway-python-"))
    folder.chmod(0o755)
    program, variables = reachable_python(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", program)
        patch.setenv("UNRELATED", SECRET.decode())
        patch.setenv("GATEWAY_DUMPABLE", "0")  # as it is in service
        for name, value in variables.items():
            patch.setenv(name, value)
        yield
    shutil.rmtree(folder)


def low_port() -> int:
    for port in random.sample(LOW_PORTS, len(LOW_PORTS)):  # another run of the tests may want one too
        with socket.socket() as probe:
            try:
                probe.bind((INSIDE, port))
            except OSError:
                continue
        return port
    pytest.fail("no port below 1024 is free")


@pytest.fixture
def home():
    """A folder that every user can reach, unlike those of pytest; the gateway's user may write to it."""
    folder = Path(tempfile.mkdtemp(prefix="gateway-user-"))
    folder.chmod(0o755)
    os.chown(folder, USER, GROUP)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def settings(home, credentials, mail):
    site = {"certificate": "mail.crt", "key": "mail.key", "client_ca": ["ca.pem"]}
    shutil.copy(credentials.server["certificate"], home / "mail.crt")
    shutil.copy(credentials.root, home / "ca.pem")
    key = home / "mail.key"
    shutil.copy(credentials.server["key"], key)
    os.chown(key, 0, GROUP)
    key.chmod(0o640)
    listen = [{"address": f"{INSIDE}:{low_port()}"}]
    admin = {"address": f"{INSIDE}:{free_port()}"}
    return settings_for(site, mail.url, listen=listen, admin=admin, user=f"{USER}:{GROUP}", workers=2)


@pytest.fixture
def gateway(home, settings):
    started = Gateway.start(home, settings)
    yield started
    assert started.stop() == 0
    started.check_errors()


def rights_of(pid) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: " ".join(text.split()) for name, _, text in (line.partition(":") for line in lines)}


def children_of(pid) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def run_in_shell(command: str) -> None:
    subprocess.run(["/bin/sh", "-c", command], check=True, timeout=PATIENCE_SECONDS)


def reload(gateway) -> str:
    seen = len(gateway.errors)
    gateway.signal(signal.SIGHUP)
    return until(
        lambda: found if re.search(r"reload refused|reloaded: ", found := gateway.errors[seen:]) else None,
        "a word about the reload",
        seconds=AT_ONCE_SECONDS,
    )


def test_no_process_keeps_a_right_of_root(gateway, home):
    master = gateway.process.pid
    until(lambda: gateway.helpers("gateway-admin"), "the admin process")
    processes = [master, *children_of(master)]
    assert len(processes) == 4
    for pid in processes:
        rights = rights_of(pid)
        assert rights["Uid"] == " ".join([str(USER)] * 4)
        assert rights["Gid"] == " ".join([str(GROUP)] * 4)
        assert rights["Groups"] == str(GROUP)
        assert {rights[name] for name in ("CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
        assert (SECRET in Path(f"/proc/{pid}/environ").read_bytes()) == (pid == master)
    assert ask(gateway.port, "/webmail").status == 200
    assert ROOT_WARNING not in gateway.errors
    found = gateway.log.path.stat()
    assert (found.st_uid, found.st_gid) == (USER, GROUP)

    gateway.log.path.rename(home / "access.jsonl.1")
    gateway.signal(signal.SIGUSR1)
    until(gateway.log.path.exists, "a new log")
    assert gateway.log.path.stat().st_uid == USER


READS = "import sys; open('/proc/' + sys.argv[1] + '/' + sys.argv[2], 'rb').read(1)"


def test_another_process_of_that_user_reads_no_memory_and_no_environment(gateway):
    """Not the master's either, which has the environment's secrets: a worker could be such a process."""
    until(lambda: gateway.helpers("gateway-admin"), "the admin process")
    for pid in (str(gateway.process.pid), *children_of(gateway.process.pid)):
        for name in ("environ", "mem"):
            told = subprocess.run(
                [sys.executable, "-c", READS, pid, name],
                user=USER, group=GROUP, extra_groups=[], capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert "PermissionError" in told.stderr, (pid, name)


def test_reloads_read_as_that_user_and_say_what_to_do(gateway, home):
    key = home / "mail.key"
    assert " reloaded: " in reload(gateway)
    key.chmod(0o600)
    said = reload(gateway)
    (remedy,) = set(re.findall(rf"[Ll]et the user {USER} read it: (.*)", said))
    gateway.expected_errors.append("mail.key cannot be read: Permission denied")
    assert ask(gateway.port, "/webmail").status == 200
    run_in_shell(remedy)
    assert " reloaded: " in reload(gateway)


def gateway_command(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        **options,
    )


@pytest.mark.parametrize("command", ["check", "run"])
def test_what_that_user_may_not_read_is_said_before_the_start(home, settings, command):
    """Each remedy is followed to the letter, until nothing is left to say."""
    (home / "keys").mkdir(mode=0o700)
    (home / "mail.key").rename(home / "keys/mail.key")
    (home / "keys/mail.key").chmod(0o600)
    (home / "logs").mkdir(mode=0o700)
    (home / "logs/access.jsonl").touch(0o600)
    settings["sites"][0]["key"] = "keys/mail.key"
    settings["access_log"]["path"] = "logs/access.jsonl"
    config = home / "config.yaml"
    config.write_text(yaml.safe_dump(settings))
    config.chmod(0o600)
    for _ in range(5):
        told = gateway_command("check", "-c", str(config)) if command == "check" else first_words(config)
        remedies = re.findall(rf"[Ll]et the user {USER} (?:read|write to) it: (.*)", told.stderr)
        if not remedies:
            break
        assert told.returncode == 2
        assert HOST not in told.stdout
        for remedy in remedies:
            run_in_shell(remedy)
    assert told.returncode == 0, told.stderr
    assert (home / "keys").stat().st_mode & 0o777 == 0o710


def first_words(config) -> subprocess.CompletedProcess[str]:
    """`gateway run`, ended as soon as it serves."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen([sys.executable, "-m", "gateway", "run", "-c", str(config)], stderr=errors)

        def said() -> str:
            errors.seek(0)
            return errors.read()

        until(lambda: process.poll() is not None or "serving on" in said(), "it serves or refuses")
        if process.poll() is None:
            process.terminate()
        return subprocess.CompletedProcess((), process.wait(PATIENCE_SECONDS), "", said())


def test_only_root_can_become_another_user(home, settings):
    (home / "config.yaml").write_text(yaml.safe_dump(settings))
    told = gateway_command("run", "-c", str(home / "config.yaml"), user=USER + 5, group=GROUP)
    assert told.returncode == 1
    assert f"only root can become {USER}" in told.stderr
    assert "remove `user`" in told.stderr


def test_that_user_itself_starts_it_as_well(home, settings):
    settings["listen"] = [{"address": f"{INSIDE}:{free_port()}"}]
    (home / "config.yaml").write_text(yaml.safe_dump(settings))
    told = gateway_command("check", "-c", str(home / "config.yaml"), user=USER, group=GROUP, extra_groups=[])
    assert told.returncode == 0, told.stderr
    assert "good" in told.stdout


@pytest.fixture
def handed_over(home, mail):
    """(the folder that `gateway init` filled for another user, its next commands)."""
    folder = home / "etc"
    options = ("--listen", f"{INSIDE}:{low_port()}", "--admin", f"{INSIDE}:{free_port()}", "--inside", f"{INSIDE}/32")
    answers = ("--yes", "--host", HOST, "--mail-server", mail.url, "--key-kind", "ecdsa-p256", "--user", NAMED_USER)
    told = gateway_command("init", "-c", str(folder / "config.yaml"), *answers, *options)
    assert told.returncode == 0, told.stderr
    return folder, [line.strip() for line in told.stdout.split("\nNext:\n")[1].partition("\n\n")[0].splitlines()]


def test_what_init_writes_is_that_users_where_it_has_to_be(handed_over):
    """The user renews lists and issues certificates, and can neither change the configuration nor sign as the root."""
    folder, (check, issue, run) = handed_over
    owners = {
        str(path.relative_to(folder)): (path.owner(), oct(path.stat().st_mode & 0o777)) for path in folder.rglob("*")
    }
    assert owners["config.yaml"] == ("root", "0o640")
    assert owners["test-certificate.key"] == ("root", "0o640")
    assert owners["corp.passphrase"] == owners["pki/corp/corp.key"] == (NAMED_USER, "0o600")
    assert owners["corp-root.passphrase"] == owners["pki/corp-root/corp-root.key"] == ("root", "0o600")
    assert owners["pki"] == (NAMED_USER, "0o755")
    assert issue.startswith(f"runuser -u {NAMED_USER} -- ")
    for command in (check, issue):
        run_in_shell(command)
    assert (folder / "issued" / "alice@example.com.p12").owner() == NAMED_USER
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(shlex.split(run), stderr=errors)

        def said() -> str:
            errors.seek(0)
            return errors.read()

        until(lambda: process.poll() is not None or "serving on" in said(), "it serves or refuses")
        asked = ("status", "-c", str(folder / "config.yaml"))
        until(lambda: "renewed by the gateway" in gateway_command(*asked).stdout, "the keeper has looked")
        assert gateway_command(*asked).returncode == 0
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0, said()
        assert ROOT_WARNING not in said()


def test_the_units_commands_hand_over_what_root_has_made_for_itself(home, mail):
    """Where there was no user yet: all but making the user and starting the service."""
    folder = home / "own"
    options = ("--listen", f"{INSIDE}:{free_port()}", "--admin", f"{INSIDE}:{free_port()}", "--inside", f"{INSIDE}/32")
    answers = ("--yes", "--host", HOST, "--mail-server", mail.url, "--key-kind", "ecdsa-p256", "--user", "root")
    told = gateway_command("init", "-c", str(folder / "config.yaml"), *answers, *options)
    assert told.returncode == 0, told.stderr
    steps = re.findall("^#   (.*)", (folder / "gateway.service").read_text(), flags=re.MULTILINE)
    assert steps[0] == "useradd --system --no-create-home --shell /usr/sbin/nologin gateway"
    assert steps[-1] == f"systemctl enable --now {folder}/gateway.service"
    group = grp.getgrgid(pwd.getpwnam(NAMED_USER).pw_gid).gr_name
    for step in steps[1:-1]:
        run_in_shell(step.replace("gateway: ", f"{NAMED_USER}: ").replace("chgrp gateway", f"chgrp {group}"))
    assert (folder / "pki/corp-root/corp-root.key").owner() == (folder / "corp-root.passphrase").owner() == "root"
    told = gateway_command("check", "-c", str(folder / "config.yaml"), user=NAMED_USER, group=group, extra_groups=[])
    assert (told.returncode, told.stderr) == (0, "")


def test_who_may_not_read_the_sites_key_asks_and_issues_all_the_same(handed_over):
    folder, _ = handed_over
    config = str(folder / "config.yaml")
    (folder / "test-certificate.key").chmod(0o600)
    as_user = {"user": NAMED_USER, "group": Path(config).stat().st_gid, "extra_groups": []}
    refused = gateway_command("check", "-c", config, **as_user)
    assert refused.returncode == 2
    assert "test-certificate.key cannot be read" in refused.stderr
    for command in (
        ("check", "--no-keys", "-c", config),
        ("explain", f"https://{HOST}/webmail", "--ip", "203.0.113.9", "-c", config),
        ("ca", "-c", config, "show", "corp"),
        ("cert", "-c", config, "list"),
    ):
        told = gateway_command(*command, **as_user)
        assert (told.returncode, told.stderr) == (0, ""), command
