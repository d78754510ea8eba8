"""Whatever stands in a CSV, a request or a name, the desk answers with its own errors or with what holds."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.x509 import ocsp as codec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.desk import NOW

from gateway.errors import UsageError
from gateway.pki import csv_users, file_names, names, ocsp, password_list, requests
from gateway.pki.registry.certificates import MAX_SERIAL_BITS, parse_serial
from gateway.x509.serials import serial_text

TEXT = st.text(max_size=40)
FIELDS = st.lists(TEXT, min_size=1, max_size=4)
PLACE = re.compile(r"users\.csv:[0-9]+:[0-9]+: .+; .+")
NOTE = re.compile(r"users\.csv: (?:not UTF-8, so it was read as|the names of the columns were found on line) ")


def _parse(data):
    return csv_users.parse(data, "users.csv", lambda _row: ()).rows


def _try(function, *arguments, **options):
    """What it gives, or the error of ours it raises; any other exception is a failure."""
    try:
        return function(*arguments, **options)
    except UsageError as error:
        return error


@given(st.binary(max_size=200) | st.builds(lambda rows: b"email,name\n" + rows, st.binary(max_size=200)))
@settings(max_examples=300)
def test_bytes_are_users_or_mistakes_with_their_places(data):
    found = _try(_parse, data)
    if isinstance(found, list):
        assert found
        return
    assert found.problems
    lines = data.count(b"\n") + data.count(b"\r") + 2
    assert all(1 <= problem.line <= lines and problem.column >= 1 for problem in found.problems)
    told = found.cause.split("\n")
    noted = told[len(found.problems) :]
    assert all(PLACE.match(line) for line in told[: len(found.problems)])
    assert all(NOTE.match(line) for line in noted)


@given(
    st.lists(st.tuples(st.from_regex(r"[a-z]{1,8}@[a-z]{1,8}\.org", fullmatch=True), TEXT), min_size=1, max_size=6),
    st.sampled_from(",;\t"),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
)
@settings(max_examples=200)
def test_a_spreadsheets_own_files_come_back(users, delimiter, line_end, has_mark):
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=line_end)
    writer.writerow(("name", "email"))
    writer.writerows((name, email) for email, name in users)
    try:
        rows = _parse(text.getvalue().encode("utf-8-sig" if has_mark else "utf-8"))
    except csv_users.CsvError:
        return
    assert [row.email for row in rows] == [email for email, _ in users]
    assert [row.name for row in rows] == [names.check_text(name.strip(), "name") for _, name in users]


CELL = st.text(st.sampled_from("ab,;\t \"'=+-@＝−"), max_size=12)
STARTS = tuple("=+-@＝−")


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=3))
@example([("a@b.org", "Ann;=HYPERLINK(1)")])
@example([("a@b.org", 'Ann\t"=1')])
@example([("a@b.org", "'=1")])
@settings(max_examples=100, deadline=None)
def test_no_cell_of_the_password_list_begins_a_formula_and_all_come_back(cells):
    with TemporaryDirectory() as folder:
        list_ = password_list.PasswordList(Path(folder) / "passwords.csv")
        lines = [password_list.PasswordLine(email, name, "x.p12", "secret", "0A") for email, name in cells]
        list_.begin(())
        for line in lines:
            list_.add(line)
        assert list_.lines() == lines
        text = list_.path.read_text()
    for separator in ",;\t":
        for row in (*csv.reader(io.StringIO(text), delimiter=separator), *(re.split(separator, text),)):
            assert not [cell for cell in row if cell.strip().lstrip('"\n ').startswith(STARTS)]


@given(TEXT)
def test_an_address_is_clean_or_refused(text):
    email = _try(names.check_email, text)
    if isinstance(email, UsageError):
        assert email.cause.isprintable()
        return
    assert names.check_email(email) == email
    assert email.isascii()
    assert not re.search(r"[\s,;\"<>]", email)


@given(TEXT, TEXT | st.none(), st.sampled_from((None, *file_names.USES)))
def test_a_file_name_never_leaves_its_folder(name, device, use):
    stem = file_names.file_stem(name, device, use)
    assert re.fullmatch(r"[A-Za-z0-9@_+][A-Za-z0-9@._+-]*", stem)


@given(st.integers(min_value=1, max_value=2**MAX_SERIAL_BITS - 1))
def test_serials_are_read_as_they_are_written(number):
    text = serial_text(number)
    assert parse_serial(text) == text
    assert parse_serial(f"0x{number:x}") == text
    assert parse_serial(":".join(re.findall("..", text)).lower()) == text
    assert len(text) % 2 == 0


@given(st.binary(max_size=150))
def test_noise_is_no_request(data):
    answer = ocsp.respond(data, None, lambda _name: None, NOW)
    assert codec.load_der_ocsp_response(answer.der).response_status is codec.OCSPResponseStatus.MALFORMED_REQUEST
    assert _try(requests.read, data, email=None, place="x").cause.startswith("x: ")
