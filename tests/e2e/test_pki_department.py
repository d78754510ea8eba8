"""A department of forty from a workbook: certificates, kits, letters and lists, each right for its person.

The numbers are small, the properties those of two hundred people with four hundred kits.
"""

from __future__ import annotations

import csv
import io
import itertools
import plistlib
import re
import stat
import subprocess
import zipfile

import pytest
from support.desk_command import DeskFolder
from support.programs import need
from support.user_files import workbook

pytestmark = pytest.mark.e2e

FIRST = ("Jürgen", "Zoë", "Šárka", "Jiří", "Ångström", "François", "Ștefan", "Mary Ann")
FAMILY = ("Müller-Weiß", "Křížová", "O'Brien", "Łukasiewicz", "Nuñez")
PEOPLE = {
    f"p{number}@example.com": f"{first} {family}"
    for number, (first, family) in enumerate(itertools.product(FIRST, FAMILY))
}
DEVICES = {"p3@example.com": "Phone", "p4@example.com": "Tablet"}
KINDS = ("ios", "windows")
COMMAND = ("cert", "import", "staff.xlsx", "--ca", "corp", "--out", "staff", "--key", "ecdsa-p256")
KITS = ("--kind", ",".join(KINDS), "--host", "mail.example.com", "--path", "/webmail", "--language", "de")


def common_name(email):
    return f"{PEOPLE[email]} ({DEVICES[email]})" if email in DEVICES else PEOPLE[email]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder in which everything was made once."""
    need("openssl")
    desk = DeskFolder(tmp_path_factory.mktemp("desk"))
    desk.run("ca", "init", "corp", "--key", "ecdsa-p256")
    rows = [[email, *name.rsplit(" ", 1), DEVICES.get(email)] for email, name in PEOPLE.items()]
    (desk.path / "staff.xlsx").write_bytes(workbook([["E-Mail", "Vorname", "Nachname", "Gerät"], *rows]))
    assert desk.run(*COMMAND, *KITS).startswith(f"{len(PEOPLE)} issued")
    return desk


def listed(desk, name):
    """The lines of a list, as Excel reads it: UTF-16 with tabs, after a workbook."""
    text = (desk.path / "staff" / name).read_bytes().decode("utf-16")
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter="\t"))


def opened(p12, password):
    """What openssl reads in a p12 file: the person's certificate, as text; None where the password does not open it."""
    done = subprocess.run(
        ["openssl", "pkcs12", "-legacy", "-in", p12, "-passin", "stdin", "-nokeys", "-clcerts"],
        input=f"{password}\n".encode(),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        return None
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-subject", "-email", "-serial", "-nameopt", "utf8,sep_multiline"],
        input=done.stdout,
        capture_output=True,
        check=True,
    )
    return shown.stdout.decode()


def test_each_p12_file_opens_with_its_own_password_and_is_its_persons(desk):
    lines = listed(desk, "passwords.csv")
    assert {line["email"]: line["name"] for line in lines} == {email: common_name(email) for email in PEOPLE}
    assert len(lines) == len({line["password"] for line in lines}) == len({line["file"] for line in lines})
    for line, other in zip(lines, [*lines[1:], lines[0]], strict=True):
        text = opened(desk.path / "staff" / line["file"], line["password"])
        assert re.search(rf"^\s*CN ?= ?{re.escape(common_name(line['email']))}$", text, re.MULTILINE), text
        assert line["email"] in text.splitlines()
        assert f"serial={line['serial']}" in text
        if line["email"] in ("p0@example.com", *DEVICES):
            assert opened(desk.path / "staff" / line["file"], other["password"]) is None


def test_the_list_for_the_mail_merge_has_each_person_once_for_each_kind(desk):
    lines, serials = listed(desk, "mail-merge.csv"), {}
    for line in listed(desk, "passwords.csv"):
        serials[line["email"]] = line["serial"]
    assert sorted((line["email"], line["kind"]) for line in lines) == sorted(itertools.product(PEOPLE, KINDS))
    for line in lines:
        assert (line["name"], line["serial"]) == (common_name(line["email"]), serials[line["email"]])
    files = {path.relative_to(desk.path / "staff").as_posix() for path in (desk.path / "staff").glob("*/*")}
    assert files == {line[what] for line in lines for what in ("kit", "letter")}
    assert len(files) == 2 * len(lines)


def test_each_letter_and_kit_is_for_its_person(desk):
    p12 = {line["email"]: (desk.path / "staff" / line["file"]).read_bytes() for line in listed(desk, "passwords.csv")}
    passwords = [line["password"] for line in listed(desk, "passwords.csv")]
    for line in listed(desk, "mail-merge.csv"):
        letter = (desk.path / "staff" / line["letter"]).read_text(encoding="utf-8")
        named = {email for email in PEOPLE if f"<dd>{email}</dd>" in letter}
        assert named == {line["email"]}
        assert common_name(line["email"]).replace("'", "&#x27;") in letter
        assert "https://mail.example.com/webmail" in letter
        kit = (desk.path / "staff" / line["kit"]).read_bytes()
        if line["kind"] == "ios":
            held = [part.get("PayloadContent") for part in plistlib.loads(kit)["PayloadContent"]]
        else:
            with zipfile.ZipFile(io.BytesIO(kit)) as archive:
                held = [archive.read(name) for name in archive.namelist()]
        assert p12[line["email"]] in held
        assert not any(password.encode() in data for password in passwords for data in (kit, letter.encode()))


def test_what_is_written_is_the_owners_alone(desk):
    modes = {
        path: stat.S_IMODE(path.stat().st_mode) for path in [desk.path / "staff", *(desk.path / "staff").rglob("*")]
    }
    assert {path: mode for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)} == {}


def test_a_second_run_issues_nothing_and_changes_nothing(desk):
    before = {path: path.read_bytes() for path in (desk.path / "staff").rglob("*") if path.is_file()}
    assert desk.run(*COMMAND, *KITS).startswith("0 issued in ")
    assert {path: path.read_bytes() for path in (desk.path / "staff").rglob("*") if path.is_file()} == before
    live = desk.json("cert", "list")
    assert sorted((entry["email"], entry["state"]) for entry in live) == sorted((email, "live") for email in PEOPLE)
