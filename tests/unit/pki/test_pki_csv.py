"""The CSV of users: every mistake is named by line and column, in one run."""

from __future__ import annotations

import pytest
from support.bad_users import BAD, HEADER

from gateway.errors import UsageError
from gateway.pki import csv_users
from gateway.pki.words import P12Format


def _parse(data, check=lambda _row: ()):
    return csv_users.parse(data, "users.csv", check).rows


def _places(data, check=lambda _row: ()):
    with pytest.raises(csv_users.CsvError) as refused:
        _parse(data, check)
    return [(problem.line, problem.column) for problem in refused.value.problems], refused.value.cause


@pytest.mark.parametrize(
    "data",
    [
        b"email,name\nalice@example.com,Alice\n",
        b"\xef\xbb\xbfE-Mail;Name\r\nalice@example.com;Alice\r\n",
        b"Mail\tDisplay Name\ralice@example.com\tAlice",
        b'"EMAIL ADDRESS","full_name"\n"alice@example.com"," Alice "\n\n   \n',
        b"name,primarySmtpAddress\nAlice,alice@example.com,,\n",
        b"email,name,department,upn,days,p12 format,device\nalice@example.com,Alice,,,,,\n",
    ],
)
def test_forms_that_are_understood(data):
    [row] = _parse(data)
    assert (row.email, row.name, row.common_name) == ("alice@example.com", "Alice", "Alice")
    assert (row.department, row.upn, row.days, row.p12_format, row.device) == (None,) * 5


def test_every_column():
    data = 'E-Mail;Name;OU;UserPrincipalName;Validity;P12;Device\na@b.c;"Ä; B";Sales;u@b.c;30;Modern;"My\nPhone"\n'
    with pytest.raises(csv_users.CsvError, match=r"users.csv:2:7: the device .* control character"):
        _parse(data.encode())
    [row] = _parse(data.replace("My\nPhone", "My Phone").encode())
    assert (row.name, row.department, row.upn, row.days, row.p12_format, row.device, row.line) == (
        *("Ä; B", "Sales", "u@b.c", 30, P12Format.MODERN, "My Phone", 2),
    )
    assert row.common_name == "Ä; B (My Phone)"


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_name_line_and_column(kind):
    data, places, cause = BAD[kind]
    found, text = _places(data)
    assert found == places
    assert cause in text
    assert all(line.startswith("users.csv:") and "; " in line for line in text.split("\n"))


def test_at_least_twenty_kinds():
    assert len(BAD) >= 20


def test_the_same_person_on_two_devices_is_no_mistake():
    rows = _parse(b"email,name,device\na@b.c,Alice,Phone\na@b.c,Alice,Laptop\n")
    assert [row.common_name for row in rows] == ["Alice (Phone)", "Alice (Laptop)"]


def test_what_the_desk_knows_is_said_in_its_column():
    def check(row):
        yield "days", UsageError("too long", "Less.")
        yield "upn", UsageError(f"{row.name} has none", "None.")

    found, text = _places(b"days,email,name\n5,a@b.c,A\n", check)
    assert found == [(2, 1), (2, 1)]
    assert "users.csv:2:1: too long; less\n" in text


def test_a_field_has_a_thousand_characters():
    longest = b"x" * csv_users.MAX_FIELD_CHARACTERS
    assert _places(HEADER + b"a@b.c," + longest + b"\n")[0] == [(2, 2)]
    found, text = _places(HEADER + b"a@b.c," + longest + b"x\nbob@b.c,Bob\n")
    assert found == [(2, 2)]
    assert "more than 1000 characters" in text


def test_fifty_thousand_users(monkeypatch):
    monkeypatch.setattr(csv_users, "MAX_ROWS", 3)
    rows = b"".join(b"a%d@b.c,A%d\n" % (number, number) for number in range(4))
    assert len(_parse(HEADER + rows[: rows.rindex(b"a3")])) == 3
    found, text = _places(HEADER + rows)
    assert found == [(5, 1)]
    assert "more than 3 users; split the file" in text


def test_a_hundred_mistakes_are_shown():
    def of(count):
        return _places(HEADER + b"".join(b"x%d,A%d\n" % (n, n) for n in range(count)))[1].split("\n")

    assert len(of(csv_users.MAX_PROBLEMS)) == 100
    shown = of(csv_users.MAX_PROBLEMS + 1)
    assert len(shown) == 101
    assert shown[-1] == "users.csv: and 1 more"
