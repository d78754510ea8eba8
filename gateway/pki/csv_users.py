"""The CSV of users: all of it is checked, and every mistake named by line and column, before a key is made.

Columns are found by their names (`E-Mail`, `email address`, `Mail` are one). An unknown column is a mistake: the typo
in `dayz` would otherwise make certificates that last too long.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from gateway.errors import UsageError
from gateway.pki.csv_reading import CsvProblem, CsvRecord, UnreadableError, records
from gateway.pki.logins import Logins, check_own
from gateway.pki.names import check_email, check_text, name_key
from gateway.pki.words import P12Format

MAX_ROWS: Final = 50_000  # an hour of RSA keys on one core
MAX_PROBLEMS: Final = 100  # a file in the wrong format has one on every line; a hundred show which

_ALIASES: Final = MappingProxyType(
    {
        "email": ("email", "mail", "emailaddress", "mailaddress", "primarysmtpaddress"),
        "name": ("name", "commonname", "cn", "fullname", "displayname"),
        "department": ("department", "dept", "ou", "organizationalunit", "abteilung"),
        "upn": ("upn", "userprincipalname"),
        "days": ("days", "validity", "validitydays"),
        "p12_format": ("p12format", "format", "p12"),
        "device": ("device", "devicename"),
    }
)
_COLUMN_OF: Final = MappingProxyType({alias: column for column, aliases in _ALIASES.items() for alias in aliases})
_REQUIRED: Final = ("email", "name")


class CsvError(UsageError):
    """Every mistake of a file, a line each: `users.csv:12:1: 'alice' is no e-mail address; …`."""

    def __init__(self, file: str, problems: Sequence[CsvProblem]) -> None:
        shown = [f"{file}:{p.line}:{p.column}: {p.cause}; {_clause(p.remedy)}" for p in problems[:MAX_PROBLEMS]]
        if len(problems) > MAX_PROBLEMS:
            shown.append(f"{file}: and {len(problems) - MAX_PROBLEMS} more")
        super().__init__("\n".join(shown), "Nothing was issued. Correct the file and run this again.")
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRow:
    """A user, checked. `line` is where the row begins."""

    line: int
    email: str
    name: str
    department: str | None = None
    upn: str | None = None
    days: int | None = None
    p12_format: P12Format | None = None
    device: str | None = None

    @property
    def common_name(self) -> str:
        """The name that the certificate will have."""
        return f"{self.name} ({self.device})" if self.device else self.name


# Says what else is wrong with a row, each with the column it is in.
RowCheck = Callable[[UserRow], Iterable[tuple[str, UsageError]]]


def parse(data: bytes, file: str, check: RowCheck) -> list[UserRow]:
    """The users in a CSV file. Raises `CsvError` with all that is wrong with it."""
    problems: list[CsvProblem] = []
    rows: list[UserRow] = []
    columns: list[str] = []
    try:
        lines = records(data)
        columns = _header(next(lines, None))
        for record in _bounded(record for record in lines if not record.is_blank):
            _read_row(record, columns, rows, problems, check)
    except UnreadableError as error:
        problems += error.problems
    problems += _duplicates(rows, columns)
    problems += _logins_of_others(rows, columns)
    if not (rows or problems):
        problems.append(CsvProblem(2, 1, "there are no users", "write one on each line after the header"))
    if problems:
        raise CsvError(file, sorted(problems, key=lambda problem: (problem.line, problem.column)))
    return rows


def _bounded(found: Iterable[CsvRecord]) -> Iterator[CsvRecord]:
    for number, record in enumerate(found):
        if number == MAX_ROWS:
            raise UnreadableError(CsvProblem(record.line, 1, f"more than {MAX_ROWS} users", "split the file"))
        yield record


def _header(first: CsvRecord | None) -> list[str]:
    if first is None or first.is_blank:
        raise UnreadableError(CsvProblem(1, 1, "the first line is empty", "name the columns there: email,name"))
    columns: list[str] = []
    problems: list[CsvProblem] = []
    for number, field in enumerate(first.fields, 1):
        column = _COLUMN_OF.get(re.sub(r"[^a-z0-9]", "", field.casefold()))
        if column is None:
            remedy = f"take it out, or call it one of {', '.join(_ALIASES)}"
            problems.append(CsvProblem(1, number, f"'{field[:60]}' is no column that is known", remedy))
        elif column in columns:
            problems.append(CsvProblem(1, number, f"'{field[:60]}' is a second column for {column}", "keep one"))
        else:
            columns.append(column)
    absent = (required for required in _REQUIRED if required not in columns)
    problems += (CsvProblem(1, len(first.fields), f"there is no column {column}", "add it") for column in absent)
    if problems:
        raise UnreadableError(*problems)
    return columns


def _read_row(
    record: CsvRecord, columns: list[str], rows: list[UserRow], problems: list[CsvProblem], check: RowCheck
) -> None:
    fields = [field.strip() for field in record.fields]
    if len(fields) < len(columns) or any(fields[len(columns) :]):
        cause = f"{len(fields)} fields where the first line names {len(columns)}"
        number = min(len(fields), len(columns)) + 1
        problems.append(CsvProblem(record.line, number, cause, "quote a field that holds the separator"))
        return
    values: dict[str, object] = {}
    found = len(problems)
    for number, (column, text) in enumerate(zip(columns, fields, strict=False), 1):
        try:
            values[column] = _value(column, text)
        except UsageError as error:
            problems.append(CsvProblem(record.line, number, error.cause, error.remedy))
    if len(problems) > found:
        return
    row = UserRow(line=record.line, **values)  # type: ignore[arg-type]
    rows.append(row)
    problems += (
        CsvProblem(record.line, _number(columns, column), wrong.cause, wrong.remedy)
        for column, wrong in (*_foreign(row), *check(row))
    )


def _value(column: str, text: str) -> object:
    match column:
        case "email":
            return check_email(text)
        case "name":
            return check_text(text, "name")
        case _ if not text:
            return None
        case "upn":
            return check_email(text, "user principal name")
        case "days":
            if not (text.isascii() and text.isdigit() and 0 < len(text) <= 5):
                raise UsageError(f"'{text[:60]}' is no number of days", "Write a whole number, such as 397.")
            return int(text)
        case "p12_format":
            if text.lower() not in list(P12Format):
                raise UsageError(f"'{text[:60]}' is no p12 format", "Write compat or modern.")
            return P12Format(text.lower())
        case _:
            return check_text(text, column)


def _foreign(row: UserRow) -> Iterator[tuple[str, UsageError]]:
    """Addresses and logins in a row that are not its user's own."""
    for column, text in (("name", row.name), ("device", row.device), ("department", row.department)):
        try:
            check_own(text or "", column, email=row.email, upn=row.upn)
        except UsageError as error:
            yield column, error


def _logins_of_others(rows: list[UserRow], columns: list[str]) -> Iterator[CsvProblem]:
    """Names and principal names that are the login of another row's user."""
    known = Logins((row.email, row.upn) for row in rows)
    for row in rows:
        try:
            column = "name"
            known.check_name(row.common_name, email=row.email, upn=row.upn)
            column = "upn"
            known.check_upn(row.upn, email=row.email)
        except UsageError as error:
            yield CsvProblem(row.line, _number(columns, column), error.cause, error.remedy)


def _duplicates(rows: list[UserRow], columns: list[str]) -> Iterator[CsvProblem]:
    """Rows that would make a second certificate for the same person, or for one with the same name."""
    addresses: dict[tuple[str, str], int] = {}
    names: dict[str, int] = {}
    for row in rows:
        address = (row.email.lower(), name_key(row.device or ""))
        name = name_key(row.common_name)
        if (line := addresses.setdefault(address, row.line)) != row.line:
            remedy = "keep one, or tell them apart in a column 'device'"
            yield CsvProblem(row.line, _number(columns, "email"), f"'{row.email}' is on line {line} too", remedy)
        elif (line := names.setdefault(name, row.line)) != row.line:
            remedy = "tell the two apart, for example by their department"
            yield CsvProblem(row.line, _number(columns, "name"), f"the name '{row.name}' is on line {line} too", remedy)


def _clause(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].removesuffix(".")


def _number(columns: list[str], column: str) -> int:
    return columns.index(column) + 1 if column in columns else 1
