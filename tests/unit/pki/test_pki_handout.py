"""Kits, letters and a list for a mail merge, for everybody in a list of users; passwords stay where they were."""

from __future__ import annotations

import csv
import io
import plistlib
import stat
import zipfile
from dataclasses import replace

import pytest
from sqlalchemy import update
from support.desk import DAY, MINUTE, NOW, import_users, make_authority, open_desk
from support.user_files import EXPORTS, workbook

from gateway.errors import OperationError, UsageError
from gateway.pki import batch, handout, pkcs12
from gateway.pki.kits.kit import KitFile
from gateway.pki.password_list import PasswordList
from gateway.pki.registry import certificates
from gateway.pki.registry.tables import CERTIFICATES
from gateway.pki.user_files.dialect import text_of
from gateway.pki.words import KeyKind, KitKind, Language

KITS = handout.Kits(
    kinds=(KitKind.IOS, KitKind.WINDOWS), host="mail.example.com", path="/webmail", contact="help@example.com"
)


@pytest.fixture
def desk(tmp_path):
    """One database is enough: nothing here asks it for more than imports do."""
    desk = open_desk(tmp_path)
    yield desk
    desk.registry.close()


@pytest.fixture
def run(desk, tmp_path):
    """Import bytes into a folder."""
    corp = make_authority(desk)

    def run(data, *, kits=KITS, out="out"):
        (tmp_path / "users").write_bytes(data)
        wanted = batch.Batch(csv_file=tmp_path / "users", out=tmp_path / out, kind=KeyKind.ECDSA_P256, kits=kits)
        return import_users(desk, corp, wanted, lambda: NOW, lambda _done, _total: None)

    return run


def _listed(out, delimiter="\t"):
    return list(csv.DictReader(io.StringIO(text_of((out / handout.LIST_FILE).read_bytes())), delimiter=delimiter))


def _without(outcome):
    return [record.email for record in outcome.handed_out.without]


def test_everybody_gets_a_kit_and_a_letter_of_each_kind(run, tmp_path):
    outcome = run(EXPORTS["a workbook"].data)
    assert (outcome.issued, outcome.handed_out.kits, outcome.handed_out.without) == (2, 4, [])
    out = tmp_path / "out"
    listed = _listed(out)
    assert [(row["email"], row["name"], row["kind"]) for row in listed] == [
        ("j@example.com", "Jürgen Müller", "ios"),
        ("j@example.com", "Jürgen Müller", "windows"),
        ("z@example.com", "Zoë Weiß", "ios"),
        ("z@example.com", "Zoë Weiß", "windows"),
    ]
    passwords = PasswordList(out / batch.PASSWORDS_FILE).lines()
    assert [line.name for line in passwords] == ["Jürgen Müller", "Zoë Weiß"]
    profile = plistlib.loads((out / listed[0]["kit"]).read_bytes())
    [p12] = [part["PayloadContent"] for part in profile["PayloadContent"] if part["PayloadType"].endswith("pkcs12")]
    assert pkcs12.open_(p12, passwords[0].password, "kit")[1].serial_number == int(passwords[0].serial, 16)
    with zipfile.ZipFile(out / listed[3]["kit"]) as archive:
        assert archive.namelist() == ["z@example.com.ps1", "z@example.com.p12", "root.cer"]
        assert archive.read("z@example.com.p12") == (out / passwords[1].file).read_bytes()
    for row in listed:
        letter = (out / row["letter"]).read_text()
        assert "https://mail.example.com/webmail" in letter
        assert "help@example.com" in letter
    for path in out.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
        if path.is_file() and path.name != batch.PASSWORDS_FILE:
            assert not any(line.password.encode() in path.read_bytes() for line in passwords), path


def test_a_list_begins_no_formula_and_is_in_the_files_own_dialect(run, tmp_path):
    run(b"\xef\xbb\xbfE-Mail;Name\r\na@example.com;Ann,=1+1\r\n")
    data = (tmp_path / "out" / handout.LIST_FILE).read_bytes()
    assert data.startswith(b"\xef\xbb\xbfemail;name;kind;kit;letter;serial\na@example.com;Ann,'=1+1;ios;")
    assert (tmp_path / "out" / batch.PASSWORDS_FILE).read_bytes().startswith(b"\xef\xbb\xbfemail;name;file;")


def test_kits_can_be_made_later_for_those_whose_files_are_there(run, tmp_path):
    """Also where the second list of users is in another dialect, in which the passwords are written then."""
    first = b"email,name,device\na@example.com,Ann,Phone\na@example.com,Ann,Tablet\nb@example.com,Bob,\n"
    assert run(first, kits=None).handed_out == handout.Made()
    out = tmp_path / "out"
    assert not (out / handout.LIST_FILE).exists()
    (out / "b@example.com.p12").unlink()
    rows = [["email", "name", "device"], *(line.split(",") for line in first.decode().splitlines()[1:])]
    again = run(workbook([*rows, ["c@example.com", "Carol", None]]))
    assert (again.issued, again.present) == (1, 3)
    assert (again.handed_out.kits, _without(again)) == (6, ["b@example.com"])
    assert len({row["kit"] for row in _listed(out)} | {row["letter"] for row in _listed(out)}) == 12
    assert len(PasswordList(out / batch.PASSWORDS_FILE).lines()) == 4
    assert _without(run(first, out="other")) == ["a@example.com", "a@example.com", "b@example.com"]


ANN, BOB = "email,name\na@example.com,Änn\n", "email,name\nb@example.com,Bob\n"


def _kinds(out, delimiter=","):
    return [(row["name"], row["kind"]) for row in _listed(out, delimiter)]


def test_a_run_for_other_people_or_kinds_keeps_the_earlier_lines(run, tmp_path):
    """Also in another dialect, in which the whole list is written then. A kit that is made again has one line."""
    out = tmp_path / "out"
    run(ANN.encode())
    again = run(BOB.encode(), kits=replace(KITS, kinds=(KitKind.IOS,)))
    assert (again.handed_out.kits, again.handed_out.earlier) == (1, 2)
    assert _kinds(out) == [("Änn", "ios"), ("Änn", "windows"), ("Bob", "ios")]
    serials = {row["name"]: row["serial"] for row in _listed(out, ",")}
    assert {line.name: line.serial for line in PasswordList(out / batch.PASSWORDS_FILE).lines()} == serials
    wide = ANN.replace(",", "\t").encode("utf-16")
    assert run(wide, kits=replace(KITS, kinds=(KitKind.ANDROID,))).handed_out.earlier == 3
    run(workbook([["email", "name"], ["b@example.com", "Bob"]]), kits=replace(KITS, kinds=(KitKind.IOS,)))
    assert _kinds(out, "\t") == [("Änn", "ios"), ("Änn", "windows"), ("Änn", "android"), ("Bob", "ios")]


@pytest.mark.parametrize("what", ["revoked", "renewed", "held", "ended", "a kit that was removed"])
def test_a_line_stays_while_its_certificate_is_good_and_its_kit_is_there(run, desk, tmp_path, what):
    run(f"{ANN}b@example.com,Bob\n".encode())
    out, ios = tmp_path / "out", replace(KITS, kinds=(KitKind.IOS,))
    [row] = [row for row in _listed(out, ",") if row["name"] == "Änn" and row["kind"] == "ios"]
    values = {
        "revoked": {"state": "revoked", "reason": "unspecified", "revoked_at": NOW},
        "renewed": {"supersede_at": NOW + DAY},
        "held": {"state": "held", "reason": "certificate-hold", "revoked_at": NOW},
        "ended": {"not_after": NOW - MINUTE},
    }
    if what in values:
        with desk.registry.writing() as connection:
            chosen = CERTIFICATES.c.serial == row["serial"]
            connection.execute(update(CERTIFICATES).where(chosen).values(**values[what]))
    else:
        (out / row["kit"]).unlink()
    assert run(BOB.encode(), kits=ios).issued == 0
    left = [("Änn", "windows")] if what not in values else []
    assert _kinds(out) == [*left, ("Bob", "windows"), ("Bob", "ios")]


def test_a_list_of_another_program_or_authority_is_refused_before_anything_is_issued(run, desk, tmp_path):
    out = tmp_path / "out"
    run(ANN.encode())
    before = (out / handout.LIST_FILE).read_bytes()
    other = make_authority(desk, "other")
    (tmp_path / "users").write_text(ANN)
    wanted = batch.Batch(csv_file=tmp_path / "users", out=out, kind=KeyKind.ECDSA_P256, kits=KITS)
    with pytest.raises(OperationError, match=r"mail-merge\.csv: lists kits of the authority 'corp'") as refused:
        import_users(desk, other, wanted, lambda: NOW, lambda _done, _total: None)
    assert refused.value.remedy == "Name another --out folder."
    (out / handout.LIST_FILE).write_text("email,phone\n")
    with pytest.raises(UsageError, match="is not a list that this program wrote"):
        run(BOB.encode())
    with desk.registry.reading() as connection:
        assert [record.email for record in certificates.find(connection)] == ["a@example.com"]
    (out / handout.LIST_FILE).write_bytes(before)
    assert import_users(desk, other, replace(wanted, out=tmp_path / "more"), lambda: NOW, lambda *_: None).issued == 1


def test_a_p12_file_of_another_certificate_is_in_no_kit(run, tmp_path):
    users = b"email,name\na@example.com,Ann\n"
    run(users)
    out = tmp_path / "out"
    [line] = PasswordList(out / batch.PASSWORDS_FILE).lines()
    run(b"email,name\nb@example.com,Bob\n", out="other", kits=None)
    [other] = PasswordList(tmp_path / "other" / batch.PASSWORDS_FILE).lines()
    (out / line.file).write_bytes((tmp_path / "other" / other.file).read_bytes())
    text = (out / batch.PASSWORDS_FILE).read_text()
    (out / batch.PASSWORDS_FILE).write_text(text.replace(line.password, other.password))
    with pytest.raises(OperationError, match="does not have the certificate"):
        run(users)


def test_profiles_are_signed_where_that_is_wanted(run, tmp_path):
    def sign(files):
        return [KitFile("signed.mobileconfig", b"signed"), files[-1]]

    run(b"email,name\na@example.com,Ann\n", kits=handout.Kits(kinds=(KitKind.IOS,), host="a.example", sign=sign))
    [row] = _listed(tmp_path / "out", ",")
    assert (tmp_path / "out" / row["kit"]).read_bytes() == b"signed"


@pytest.mark.parametrize("language", list(Language))
def test_letters_are_in_the_language_that_is_asked_for(run, tmp_path, language):
    run(
        b"email,name\na@example.com,Ann\n", kits=handout.Kits(kinds=tuple(KitKind), host="a.example", language=language)
    )
    letters = list((tmp_path / "out" / handout.LETTERS_FOLDER).iterdir())
    assert len(letters) == len(KitKind)
    assert all(f'<html lang="{language}">' in letter.read_text() for letter in letters)
