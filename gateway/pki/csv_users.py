"""Lists of users: before a key is made, the whole list is checked and every mistake is reported with line and column.

Columns are found by the names that common programs write. Other columns are reported and ignored. A typo in the name of
a column that limits a certificate (`dayz`) is an error: without that column, certificates would be valid for too long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.errors import UsageError, as_clause
from gateway.pki.logins import Logins, check_own
from gateway.pki.names import check_email, check_text, name_key
from gateway.pki.user_files import damage, reading
from gateway.pki.user_files.columns import FAMILY, GIVEN, Columns, after_title, resolve
from gateway.pki.user_files.dialect import PLAIN, Dialect
from gateway.pki.user_files.records import Problem, Record, UnreadableError, shown, uncalculated
from gateway.pki.words import CodePage, P12Format

MAX_ROWS: Final = 50_000  # an hour of RSA keys on one core
MAX_PROBLEMS: Final = 100  # a file in the wrong format has one on every line; a hundred are enough to see that
MAX_FIELD_CHARACTERS: Final = 1_000  # the fields that are used are names, addresses and numbers

_FIELDS: Final = ("email", "name", "department", "upn", "days", "p12_format", "device")
# The words with which Active Directory and Google mark disabled accounts.
_DISABLED: Final = frozenset(
    {
        "false",
        "falsch",
        "nepravda",
        "disabled",
        "suspended",
        "archived",
        "inactive",
        "deaktiviert",
        "gesperrt",
        "inaktiv",
    }
)
_SAME: Final = ("email", "upn")  # two columns with different values of these are an error


class CsvError(UsageError):
    """Every mistake in a file, a line each: `users.csv:12:1: 'alice' is not a valid e-mail address; …`."""

    def __init__(self, file: str, problems: Sequence[Problem], notes: Sequence[str] = ()) -> None:
        lines = [f"{file}:{p.line}:{p.column}: {p.cause}; {as_clause(p.remedy)}" for p in problems[:MAX_PROBLEMS]]
        if len(problems) > MAX_PROBLEMS:
            lines.append(f"{file}: and {len(problems) - MAX_PROBLEMS} more")
        lines += (f"{file}: {note}" for note in notes)
        super().__init__("\n".join(lines), "Nothing was issued. Correct the file and run this again.")
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRow:
    """A user whose row was checked."""

    line: int  # the line in the file on which the row begins
    email: str
    name: str
    department: str | None = None
    upn: str | None = None
    days: int | None = None
    p12_format: P12Format | None = None
    device: str | None = None

    @property
    def common_name(self) -> str:
        """The certificate's common name: the user's name, with the device in parentheses."""
        return f"{self.name} ({self.device})" if self.device else self.name


@dataclass(frozen=True, slots=True)
class Users:
    """The users in a file, its dialect, and notes for the admin about how it was read."""

    rows: list[UserRow]
    dialect: Dialect
    notes: tuple[str, ...] = ()


# Yields further mistakes in a row, each with the name of its column.
RowCheck = Callable[[UserRow], Iterable[tuple[str, UsageError]]]


def parse(data: bytes, file: str, check: RowCheck, code_page: CodePage | None = None) -> Users:
    """The users in a CSV file or an Excel workbook. Raises `CsvError` with all mistakes in the file."""
    reader = _Reader(check)
    dialect, notes = PLAIN, tuple[str, ...]()
    try:
        table = reading.table(data, code_page)
        dialect, notes = table.dialect, table.notes
        records, title = after_title(table.records)
        notes = (*notes, *filter(None, (title,)))
        reader.read(records)
    except UnreadableError as error:
        reader.problems += error.problems
    problems, table_notes = reader.problems, notes
    if reader.columns is not None:
        problems += _duplicates(reader.rows, reader.columns)
        problems += _logins_of_others(reader.rows, reader.columns)
        if not (reader.rows or problems):
            remedy = "write each user on a line below the names of the columns"
            problems.append(Problem(reader.header_line + 1, 1, "there are no users", remedy))
        notes = (*notes, *filter(None, (reader.columns.note,)))
    if problems:
        raise CsvError(file, sorted(problems, key=lambda problem: (problem.line, problem.column)), table_notes)
    return Users(reader.rows, dialect, notes)


class _Reader:
    """Reads records into rows and problems."""

    def __init__(self, check: RowCheck) -> None:
        self.rows: list[UserRow] = []
        self.problems: list[Problem] = []
        self.columns: Columns | None = None
        self.header_line = 1
        self._check = check

    def read(self, records: Iterator[Record]) -> None:
        """Read all records. Raises `UnreadableError` at the first one that can't be read."""
        first = next(records, None)
        if first is None or first.is_blank:
            line = 1 if first is None else first.line
            raise UnreadableError(Problem(line, 1, "the first line is empty", "name the columns there: email,name"))
        self.header_line = first.line
        columns = self.columns = resolve(first)
        for record in _bounded(record for record in records if not record.is_blank):
            self._read_row(record, columns)

    def _read_row(self, record: Record, columns: Columns) -> None:
        fields = [field.strip() for field in record.fields]
        if any(fields[columns.count :]):
            cause = f"the line has {len(fields)} fields, but the first line names {columns.count} columns"
            remedy = "put a field that contains the separator into double quotes"
            self.problems.append(Problem(record.line, columns.count + 1, cause, remedy))
            return
        # Excel omits separators at the end of a line.
        fields += [""] * (columns.count - len(fields))
        values: dict[str, object] = {}
        found = len(self.problems)
        for field in _FIELDS:
            number = columns.number(field)
            if missing := [place for place in _places(field, fields, columns) if place in record.uncalculated]:
                self.problems += (uncalculated(record, place) for place in missing)
                continue
            try:
                number, text = _cell(field, fields, columns)
                values[field] = _value(field, text)
            except UsageError as error:
                self.problems.append(Problem(record.line, number, error.cause, error.remedy))
        self.problems += _disabled(record, fields, columns)
        if len(self.problems) > found:
            return
        row = UserRow(line=record.line, **values)  # type: ignore[arg-type]
        self.rows.append(row)
        self.problems += (
            Problem(record.line, columns.number(field), wrong.cause, wrong.remedy)
            for field, wrong in (*_foreign(row), *self._check(row))
        )


def _bounded(found: Iterable[Record]) -> Iterator[Record]:
    for number, record in enumerate(found):
        if number == MAX_ROWS:
            raise UnreadableError(Problem(record.line, 1, f"more than {MAX_ROWS} users", "split the file"))
        yield record


def _places(field: str, fields: list[str], columns: Columns) -> tuple[int, ...]:
    """The columns with a field of a user. Those with parts of a name count only if no column has the full name."""
    whole = columns.places.get(field, ())
    if field != "name" or any(fields[place] for place in whole):
        return whole
    return (*whole, *(place for part in (GIVEN, FAMILY) for place in columns.places.get(part, ())[:1]))


def _cell(field: str, fields: list[str], columns: Columns) -> tuple[int, str]:
    """A field of a user and its column: the first one that is not empty, if there are several. Raises `UsageError`."""
    filled = [place for place in columns.places.get(field, ()) if fields[place]]
    if not filled and field == "name":
        parts = [fields[place] for part in (GIVEN, FAMILY) for place in columns.places.get(part, ())[:1]]
        return columns.number(field), _bounded_text(" ".join(filter(None, parts)))
    if not filled:
        return columns.number(field), ""
    first, *others = filled
    for other in others:
        if field in _SAME and fields[other].casefold() != fields[first].casefold():
            cause = f"the row has two addresses, '{shown(fields[first])}' and '{shown(fields[other])}'"
            raise UsageError(cause, f"Clear the wrong one, in column {first + 1} or {other + 1}.")
    return first + 1, _bounded_text(fields[first])


def _disabled(record: Record, fields: list[str], columns: Columns) -> Iterator[Problem]:
    """Rows of disabled accounts. Exports contain them too, but a certificate would let the user in."""
    for place in columns.places.get("state", ()):
        if place in record.uncalculated:
            yield uncalculated(record, place)
        elif fields[place].startswith("#"):
            cause = f"'{shown(fields[place])}' is an error message of a spreadsheet"
            yield Problem(record.line, place + 1, cause, "correct the cell")
        elif fields[place].casefold() in _DISABLED:
            cause = f"the account is disabled ('{shown(fields[place])}')"
            yield Problem(record.line, place + 1, cause, "remove the row, or clear this field if the user may get in")


def _bounded_text(text: str) -> str:
    if len(text) > MAX_FIELD_CHARACTERS:
        cause = f"the field has more than {MAX_FIELD_CHARACTERS} characters"
        raise UsageError(cause, "Close the double quote that was left open, or shorten the field.")
    return text


def _value(column: str, text: str) -> object:
    match column:
        case "email" if not text:  # an export has service accounts and rooms too
            raise UsageError("the mail address is missing", "Fill it in, or remove the row.")
        case "email":
            return check_email(text)
        case "name":
            return _whole_text(text, "name")
        case _ if not text:
            return None
        case "upn":
            return check_email(text, "user principal name")
        case "days":
            if not (text.isascii() and text.isdigit() and 0 < len(text) <= 5):
                raise UsageError(f"'{text[:60]}' is not a number of days", "Write a whole number, such as 397.")
            return int(text)
        case "p12_format":
            if text.lower() not in list(P12Format):
                raise UsageError(f"'{text[:60]}' is not a p12 format", "Write compat or modern.")
            return P12Format(text.lower())
        case _:
            return _whole_text(text, column)


def _whole_text(text: str, what: str) -> str:
    damage.check(text, what)
    return check_text(text, what)


def _foreign(row: UserRow) -> Iterator[tuple[str, UsageError]]:
    """Names in a row that contain another person's address or login."""
    for column, text in (("name", row.name), ("device", row.device), ("department", row.department)):
        try:
            check_own(text or "", column, email=row.email, upn=row.upn)
        except UsageError as error:
            yield column, error


def _logins_of_others(rows: list[UserRow], columns: Columns) -> Iterator[Problem]:
    """Names and user principal names that are the login of the user in another row."""
    known = Logins((row.email, row.upn) for row in rows)
    for row in rows:
        try:
            column = "name"
            known.check_name(row.common_name, email=row.email, upn=row.upn)
            column = "upn"
            known.check_upn(row.upn, email=row.email)
        except UsageError as error:
            yield Problem(row.line, columns.number(column), error.cause, error.remedy)


def _duplicates(rows: list[UserRow], columns: Columns) -> Iterator[Problem]:
    """Rows that would make a second certificate for the same person, or for another with the same name."""
    addresses: dict[tuple[str, str], int] = {}
    names: dict[str, int] = {}
    for row in rows:
        address = (row.email.lower(), name_key(row.device or ""))
        name = name_key(row.common_name)
        if (line := addresses.setdefault(address, row.line)) != row.line:
            remedy = "remove one of the two, or name a different device for each in a column 'device'"
            yield Problem(row.line, columns.number("email"), f"'{row.email}' is on line {line} too", remedy)
        elif (line := names.setdefault(name, row.line)) != row.line:
            remedy = "make the two names different, for example with the department"
            yield Problem(row.line, columns.number("name"), f"the name '{row.name}' is on line {line} too", remedy)
