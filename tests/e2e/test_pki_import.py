"""A thousand users at once, two desks at once, both databases: never two certificates for one name, and none lost."""

from __future__ import annotations

import csv
import itertools
import signal

import psycopg
import pytest
from support import postgres
from support.desk_command import DeskFolder
from support.waiting import until

from gateway.pki import pkcs12

pytestmark = pytest.mark.e2e

USERS = 1_000
KILLED_AT = 500
RUN_SECONDS = 600.0  # a minute on two idle cores
QUICK = ("--key", "ecdsa-p256", "--p12-format", "modern")
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def postgres_url():
    with postgres.cluster() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request, tmp_path):
    """A desk with an authority, over each database."""
    desk = DeskFolder(tmp_path)
    if request.param == "postgresql":
        template = request.getfixturevalue("postgres_url")
        name = f"registry_{next(_numbers)}"
        url = template.format(database="postgres").replace("+psycopg", "")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        desk.environment["GATEWAY_PKI_STORE"] = template.format(database=name)
    desk.run("ca", "init", "corp", "--key", "ecdsa-p256")
    return desk


def write_users(desk, count):
    rows = (f"u{number}@example.com,User {number}\n" for number in range(count))
    (desk.path / "users.csv").write_text("email,name\n" + "".join(rows))
    return {f"u{number}@example.com" for number in range(count)}


def live(desk):
    """The live certificates; beside them there are none but revoked ones."""
    found = desk.json("cert", "list")
    assert {entry["state"] for entry in found} <= {"live", "revoked"}
    return [entry for entry in found if entry["state"] == "live"]


def check_handout(folder, certificates):
    """Each certificate has one line, one file that its password opens, and there is nothing else."""
    with (folder / "passwords.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert sorted(line["serial"] for line in lines) == sorted(entry["serial"] for entry in certificates)
    assert sorted(path.name for path in folder.glob("*.p12")) == sorted(line["file"] for line in lines)
    assert not list(folder.glob(".*.tmp"))
    assert len({line["password"] for line in lines}) == len(lines)
    for line in lines:
        _, certificate = pkcs12.open_((folder / line["file"]).read_bytes(), line["password"], line["file"])
        assert certificate.serial_number == int(line["serial"], 16)


@pytest.mark.parametrize("desk", ["sqlite"], indirect=True)
def test_a_thousand_users_killed_at_the_five_hundredth_are_a_thousand_in_the_end(desk):
    emails = write_users(desk, USERS)
    command = ("cert", "import", "users.csv", "--ca", "corp", "--out", "out", *QUICK)
    out = desk.path / "out"

    running = desk.start(*command)
    until(
        lambda: running.poll() is not None or sum(1 for _ in out.glob("*.p12")) >= KILLED_AT,
        "half of the files are there",
        seconds=RUN_SECONDS,
    )
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert running.returncode == -signal.SIGKILL, "it was in the middle of it"
    there = sum(1 for _ in out.glob("*.p12"))
    assert KILLED_AT <= there < USERS

    told = desk.run(*command, seconds=RUN_SECONDS)

    found = live(desk)
    assert len(found) == USERS
    assert {entry["email"] for entry in found} == emails
    check_handout(out, found)
    issued, present = (int(told.split()[number]) for number in (0, 5))
    assert issued + present == USERS
    assert present >= there - 1, "at most the one that was being made is made again"
    assert desk.run(*command, seconds=RUN_SECONDS).startswith("0 issued")


def test_two_imports_at_once_share_the_users(desk):
    """Two programs, the same file: whoever comes second to a name is told so, and none is issued twice."""
    emails = write_users(desk, 24)
    commands = [("cert", "import", "users.csv", "--ca", "corp", "--out", out, *QUICK) for out in ("one", "two")]
    running = [desk.start(*command) for command in commands]
    told = [process.communicate(timeout=RUN_SECONDS)[0].decode() for process in running]
    assert {process.returncode for process in running} <= {0, 1, 2}, told
    for process, text in zip(running, told, strict=True):
        assert process.returncode == 0 or "in use" in text or "is being made by another run" in text, text
    for command in commands:
        desk.run(*command)
    found = live(desk)
    assert sorted(entry["email"] for entry in found) == sorted(emails)
    assert len({entry["common_name"] for entry in found}) == len(emails)
    files = [path for out in ("one", "two") for path in (desk.path / out).glob("*.p12")]
    assert len(files) == len(emails)


def test_four_desks_that_want_the_same_name_at_once(desk):
    running = [
        desk.start("cert", "issue", "alice@example.com", "--ca", "corp", "--key", "ecdsa-p256", "--out", f"out{number}")
        for number in range(4)
    ]
    told = [process.communicate(timeout=RUN_SECONDS)[0].decode() for process in running]
    assert sorted(process.returncode for process in running) == [0, 1, 1, 1], told
    refused = [text for process, text in zip(running, told, strict=True) if process.returncode]
    assert all("the common name 'alice@example.com' is in use" in text for text in refused), told
    [alice] = live(desk)
    again = desk.run("cert", "issue", "alice@example.com", "--ca", "corp", code=1)
    assert f"'gateway cert renew {alice['serial']}'" in again
    assert f"'gateway cert revoke {alice['serial']}'" in again
    assert alice["email"] == "alice@example.com"
    assert len(list(desk.path.glob("out*/*.p12"))) == 1
