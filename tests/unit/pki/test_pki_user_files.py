"""Lists of users as programs export them: all are read, or refused with what to do."""

from __future__ import annotations

import io
import zipfile
from datetime import date, datetime, time

import openpyxl
import pytest
from support.user_files import CZECH, EXPORTS, GOOGLE, workbook

from gateway.pki import csv_users
from gateway.pki.user_files import columns, csv_text
from gateway.pki.user_files import workbook as reader
from gateway.pki.user_files.columns import MAX_TITLE_LINES
from gateway.pki.user_files.dialect import ANY_LANGUAGE, Dialect, Encoding
from gateway.pki.words import CodePage

EXCEL = ["E-Mail", "Name"]
ALICE = ["a@example.com", "Alice"]


def _parse(data, code_page=None):
    return csv_users.parse(data, "users", lambda _row: (), code_page)


def _refused(data):
    with pytest.raises(csv_users.CsvError) as refused:
        _parse(data)
    return [(problem.line, problem.column) for problem in refused.value.problems], refused.value.cause


@pytest.mark.parametrize("program", EXPORTS)
def test_what_programs_export_is_read(program):
    export = EXPORTS[program]
    rows = _parse(export.data).rows
    assert tuple(row.name for row in rows) == export.names
    assert [row.email for row in rows] == ["j@example.com", "z@example.com"]


@pytest.mark.parametrize(
    ("program", "dialect"),
    [
        ("Excel, CSV UTF-8", Dialect(";", Encoding.UTF_8_MARKED)),
        ("Excel, CSV, German", Dialect(";", Encoding.UTF_8_MARKED)),
        ("Excel, Unicode text", ANY_LANGUAGE),
        ("Excel, sep=", ANY_LANGUAGE),
        ("a list in German", Dialect(";", Encoding.UTF_8)),
        ("Google Workspace", Dialect(",", Encoding.UTF_8)),
        ("Get-ADUser | Export-Csv -Delimiter", Dialect(";", Encoding.UTF_8_MARKED)),
        ("a workbook", ANY_LANGUAGE),
    ],
)
def test_the_desks_own_lists_are_written_as_the_program_wrote(program, dialect):
    assert _parse(EXPORTS[program].data).dialect == dialect


def test_fields_come_from_their_columns():
    first, second = _parse(EXPORTS["a workbook"].data).rows
    assert (first.days, second.days, first.line, second.line) == (90, None, 3, 5)
    assert _parse(EXPORTS["Outlook, German"].data).rows[0].department == "Vertrieb"
    assert _parse(EXPORTS["Outlook, Czech"].data).rows[0].department == "Účtárna"
    assert _parse(EXPORTS["Google Workspace"].data).rows[0].department == "Sales"
    first, second = _parse(EXPORTS["Get-ADUser | Export-Csv"].data).rows
    assert (first.line, first.upn, second.upn) == (3, "j@example.com", None)


def test_columns_that_are_not_used_are_named():
    [note] = _parse(EXPORTS["Google Workspace"].data).notes
    assert note == ("columns that were not used: Password [Required], Org Unit Path [Required], Recovery Email")
    assert _parse(b"email,name,,\na@b.c,A\n").notes == ()
    many = ",".join(f"x{number}" for number in range(20))
    [note] = _parse(f"email,name,\x1b[31m,{many}\na@b.c,A\n".encode()).notes
    assert note.endswith(f"x{columns.MAX_SHOWN_COLUMNS - 2} and 9 more")
    assert "\x1b" not in note


@pytest.mark.parametrize("name", ["day", "dayz", "dais", "xdays", "divice", "p12formt"])
def test_a_typo_in_what_narrows_a_certificate_is_a_mistake(name):
    places, cause = _refused(f"email,name,{name}\na@b.c,A,1\n".encode())
    assert places == [(1, 3)]
    assert "looks like a mistyped" in cause


def test_names_are_put_together_and_the_best_column_counts():
    def name(header, row):
        return _parse(f"email,{header}\na@b.c,{row}\n".encode()).rows[0].name

    assert name("Surname,GivenName", "Example,Alice") == "Alice Example"
    assert name("Name,GivenName", "Alice Example,Alice") == "Alice Example"
    assert name("Name,Vorname", "Example,Alice") == "Alice Example"
    assert name("CN,DisplayName", "aexample,Alice Example") == "Alice Example"
    assert name("CN,DisplayName", "aexample,") == "aexample"
    assert name("DisplayName,sn", ",Example") == "Example"
    assert _refused(b"email,sn,givenName\na@b.c,,\n")[0] == [(2, 3)]
    assert _refused(b"email,sn\na@b.c,\n")[0] == [(2, 2)]


def test_code_pages_are_guessed_where_there_is_one_reading():
    notes = _parse(EXPORTS["Excel, CSV, German"].data).notes
    assert notes == ("not UTF-8, so it was read as Windows-1252; check that the names are right",)
    assert "Windows-1250" in _parse(EXPORTS["Outlook, Czech"].data).notes[0]
    czech = f"email;name\na@b.c;{CZECH[0]}\n".encode("cp1250")
    places, cause = _refused(czech)
    assert places == [(2, 2)]
    assert "--encoding windows-1252 or windows-1250" in cause
    [row] = _parse(czech, CodePage.CENTRAL).rows
    assert row.name == CZECH[0]
    [row] = _parse("email;name\na@b.c;Søren\n".encode("cp1252"), CodePage.WESTERN).rows
    assert row.name == "Søren"
    assert _refused(b"Jm\xe9no,P\xf8\xedjmen\xed,E-mail\n\x81,x,a@b.c\n")[0] == [(1, 1)], "no letter of Windows-1250"
    assert _refused("email,name\na@b.c,Straße §ü\n".encode("cp1252"))[0] == [(2, 2)], "not letters alone"


def test_a_file_that_is_utf_16_of_the_other_order_is_read():
    [row] = _parse(b"\xfe\xff" + "email\tname\na@b.c\tÄ\n".encode("utf-16-be")).rows
    assert row.name == "Ä"


def test_a_code_page_that_does_not_fit_is_told():
    with pytest.raises(csv_users.CsvError, match="is not valid windows-1252"):
        _parse(b"email,name\na@b.c,\x81\n", CodePage.WESTERN)


@pytest.mark.parametrize("begin", [b"sep=;", b"#TYPE x", b"sep=;\n#TYPE x\n", b"#TYPE x\nsep=;\n", b"sep=;\nsep=,\nx"])
def test_lines_before_the_columns_are_no_columns(begin):
    places, cause = _refused(begin)
    assert places[0][0] <= 3
    assert "first line is empty" in cause or "there is no column" in cause


def test_the_longest_field_of_a_column_that_is_not_used():
    longest = "x" * csv_text.MAX_ANY_FIELD_CHARACTERS
    assert len(_parse(f"email,name,notes\na@b.c,A,{longest}\n".encode()).rows) == 1
    places, cause = _refused(f"email,name,notes\na@b.c,A,{longest}x\n".encode())
    assert places == [(2, 1)]
    assert "more than 131072 characters" in cause


def test_a_workbooks_first_sheet_that_is_shown_is_read():
    data = workbook([["old"]], others=("Neu", "Alt"), states=("hidden",))
    book = openpyxl.load_workbook(io.BytesIO(data))
    for row in (EXCEL, ALICE):
        book["Neu"].append(row)
    written = io.BytesIO()
    book.save(written)
    users = _parse(written.getvalue())
    assert [row.email for row in users.rows] == [ALICE[0]]
    assert users.notes == ("only the sheet 'Neu' was read, not 'Alt'",)


TITLE = [["Staff list 2026"], [], [None, "30 November"]]


def test_a_title_may_stand_above_the_names_of_the_columns():
    found = ("the names of the columns were found on line 4",)
    users = _parse(workbook([*TITLE, EXCEL, ALICE]))
    assert ([row.email for row in users.rows], users.rows[0].line, users.notes) == ([ALICE[0]], 5, found)
    lines = [["Staff list 2026", ""], ["", ""], ["", ""], *[list(map(str, row)) for row in (EXCEL, ALICE)]]
    users = _parse("\r\n".join(map(";".join, lines)).encode())
    assert ([row.email for row in users.rows], users.rows[0].line, users.notes) == ([ALICE[0]], 5, found)


def test_a_title_of_more_lines_than_are_looked_at_is_refused():
    line = [["Staff", "list"]]
    assert _parse(workbook([*line * MAX_TITLE_LINES, EXCEL, ALICE])).rows
    places, cause = _refused(workbook([*line * (MAX_TITLE_LINES + 1), EXCEL, ALICE]))
    assert places == [(1, 2), (1, 2)]
    assert "there is no column email" in cause


def test_of_several_sheets_the_one_that_names_mail_addresses_is_read():
    data = workbook([["Overview"]], others=("Staff", "Old"))
    book = openpyxl.load_workbook(io.BytesIO(data))
    for sheet, address in (("Staff", "new@example.com"), ("Old", "old@example.com")):
        for row in (*TITLE, EXCEL, [address, *ALICE[1:]]):
            book[sheet].append(row)
    book.save(saved := io.BytesIO())
    users = _parse(saved.getvalue())
    assert [row.email for row in users.rows] == ["new@example.com"]
    assert users.notes[0] == "only the sheet 'Staff' was read, not 'Mitarbeiter', 'Old'"


def test_a_refusal_names_the_sheet_that_was_read():
    _, cause = _refused(workbook([["Overview"]], others=("Staff",)))
    assert "users: only the sheet 'Mitarbeiter' was read, not 'Staff'" in cause


def test_cells_of_a_workbook_are_text():
    row = ["=1+1", "=HYPERLINK(1)", datetime(2026, 1, 2), date(2026, 1, 2), time(3), 1.5, 2.0, True]  # noqa: DTZ001
    data = workbook([["E-Mail", "Name", *"abcdef"], row])
    places, cause = _refused(data)
    assert places == [(2, 1), (2, 2)]
    assert "1+1" not in cause
    records = list(reader.table(workbook([row])).records)
    assert records[0].fields == ["", "", "2026-01-02T00:00:00", "2026-01-02T00:00:00", "03:00:00", "1.5", "2", "True"]


NO_RESULT = "users:2:{}: the formula in cell {} has no result; open the workbook in Excel and save it"


@pytest.mark.parametrize("cell", ["A2", "B2", "C2", "D2", "E2", "F2", "G2"])
def test_a_formula_without_a_result_is_named_by_its_cell(cell):
    """In each column that is used: an empty cell there means a user with no limit, or an account that is in use."""
    sheet = [["E-Mail", "Name", "Tage", "Enabled", "Gerät", "Abteilung", "upn", "Raum"], [*ALICE, 90, True, None, "x"]]
    formula = '=IF(1,"x","y")'
    row = [*sheet[1], *[None] * 2]
    row[ord(cell[0]) - ord("A")] = formula
    number = ord(cell[0]) - ord("A") + 1
    _, cause = _refused(workbook([sheet[0], row]))
    assert cause.startswith(NO_RESULT.format(number, cell)), cause
    assert "\n" not in cause, "this is all that is wrong"


def test_formulas_without_results_in_parts_of_a_name_and_in_names_of_columns():
    _, cause = _refused(workbook([["E-Mail", "Vorname", "Nachname"], ["a@example.com", "Alice", "=A1"]]))
    assert cause.startswith(NO_RESULT.format(3, "C2")), "no certificate for 'Alice'"
    assert _refused(workbook([["E-Mail", '="Name"'], ALICE])) == (
        [(1, 2)],
        "users:1:2: the formula in cell B1 has no result; open the workbook in Excel and save it, or import a CSV file",
    )
    places, _ = _refused(workbook([[], EXCEL, ALICE, ["=A3", "=B3"]]))
    assert places == [(4, 1), (4, 2)], "this line is not a blank one"


ZERO = "users:2:2: the formula in cell B2 has the result 0, or was never calculated; open the workbook in Excel, write"


def test_a_formula_with_the_result_zero_may_never_have_been_calculated():
    """XlsxWriter saves 0 for each formula: nobody is called 0, and a disabled account must not look like one in use."""
    rows = [["E-Mail", "Name", "Enabled"], ["a@example.com", '=A2&"x"', True]]
    data = _patched(workbook(rows), SHEET, lambda content: content.replace(b"</f><v />", b"</f><v>0</v>"))
    _, cause = _refused(data)
    assert cause.startswith(ZERO), cause
    assert "\n" not in cause, "this is all that is wrong"
    rows[1][2] = "=1=1"
    data = _patched(workbook(rows), SHEET, lambda content: content.replace(b"</f><v />", b"</f><v>0</v>"))
    assert _refused(data)[0] == [(2, 2), (2, 3)]
    rows[1][2] = True
    rows[1][1] = "Alice"  # the remedy
    assert [row.name for row in _parse(workbook(rows)).rows] == ["Alice"]


def test_a_zero_that_is_not_a_formula_is_a_number():
    [row] = _parse(workbook([["E-Mail", "Name", "Tage"], [*ALICE, 0]])).rows
    assert row.days == 0


def test_formulas_that_do_not_count_stop_nothing():
    """One in a column that is not used, beside a name that is whole, and one whose result is an empty text."""
    data = workbook([["Raum", "E-Mail", "Anzeigename", "Vorname", "Tage"], ["=1+1", *ALICE, "=A1", '=""']])
    blank = b'<c r="E2" t="str">'
    [row] = _parse(_patched(data, SHEET, lambda content: content.replace(b'<c r="E2">', blank))).rows
    assert (row.name, row.days) == ("Alice", None)


def test_an_error_of_a_spreadsheet_is_no_account_that_is_in_use():
    places, cause = _refused(b"email,name,Enabled\na@b.c,A,#N/A\n")
    assert places == [(2, 3)]
    assert "'#N/A' is an error message of a spreadsheet" in cause


def _patched(data, name, change):
    """The workbook with a part changed, left out (None) or put in."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.namelist():
            content = old.read(part)
            if part == name:
                content = change(content)
            if content is not None:
                new.writestr(part, content)
    return written.getvalue()


SHEET = "xl/worksheets/sheet1.xml"


def test_a_whole_number_is_one_however_it_is_written():
    data = workbook([[*EXCEL, "Tage"], [*ALICE, 90]])
    for number in (b"90", b"90.0", b"9E1"):
        [row] = _parse(
            _patched(data, SHEET, lambda content, number=number: content.replace(b"<v>90<", b"<v>%s<" % number))
        ).rows
        assert row.days == 90


def test_hostile_workbooks_are_refused(monkeypatch):
    good = workbook([EXCEL, ALICE])
    laughs = (
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
        b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData><row r="1">'
        b'<c r="A1" t="inlineStr"><is><t>&b;</t></is></c></row></sheetData></worksheet>'
    )
    for broken in (
        good[:-30],
        b"PK\x03\x04",
        _patched(good, SHEET, lambda _: laughs),
        _patched(good, SHEET, lambda _: None),
        _patched(good, SHEET, lambda content: content[:-20]),
        _patched(good, "xl/workbook.xml", lambda _: None),
        _patched(good, "xl/workbook.xml", lambda content: content.replace(b'state="visible"', b'state="hidden"')),
        _patched(good, SHEET, lambda content: content.replace(b'<row r="2"', b'<row r="999999999"')),
        _patched(good, SHEET, lambda content: content.replace(b'r="B2"', b'r="ZZZ2"')),
    ):
        places, cause = _refused(broken)
        assert places[0][1] == 1
        assert "; " in cause
    monkeypatch.setattr(openpyxl, "DEFUSEDXML", False)
    assert "OPENPYXL_DEFUSEDXML" in _refused(good)[1]


def test_a_workbook_says_nothing_of_its_size_that_counts():
    good = workbook([EXCEL, ALICE])
    lying = _patched(good, SHEET, lambda content: content.replace(b'ref="A1:B2"', b'ref="A1:XFD1048576"'))
    assert lying != good
    assert len(_parse(lying).rows) == 1


def test_what_a_workbook_may_unpack_to(monkeypatch):
    good = workbook([EXCEL, ALICE])
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        parts = archive.infolist()
    size = sum(part.file_size for part in parts)
    monkeypatch.setattr(reader, "MAX_UNPACKED_BYTES", size)
    monkeypatch.setattr(reader, "MAX_PARTS", len(parts))
    assert len(_parse(good).rows) == 1
    monkeypatch.setattr(reader, "MAX_UNPACKED_BYTES", size - 1)
    assert "unpacks to more than" in _refused(good)[1]
    monkeypatch.setattr(reader, "MAX_UNPACKED_BYTES", size)
    monkeypatch.setattr(reader, "MAX_PARTS", len(parts) - 1)
    assert "unpacks to more than" in _refused(good)[1]


def test_how_long_and_wide_a_sheet_may_be(monkeypatch):
    monkeypatch.setattr(reader, "MAX_LINES", 2)
    monkeypatch.setattr(reader, "MAX_COLUMNS", 2)
    assert len(_parse(workbook([EXCEL, ALICE])).rows) == 1
    assert _refused(workbook([EXCEL, [], ALICE]))[0] == [(3, 1)]
    assert _refused(workbook([[*EXCEL, "x"], ALICE]))[0] == [(1, 1)]


def test_google_names_with_brackets_alone_are_not_known():
    assert _refused(f"{GOOGLE}\n".encode())[1].startswith("users:2:1: there are no users")
