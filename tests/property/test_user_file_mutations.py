"""Lists of users that are nearly right: whatever bytes come, rows or the desk's own error with line and column.

The files are those that programs export, with one to three faults in their bytes, or in the parts of a workbook. The
same ones are made in every run.
"""

from __future__ import annotations

import io
import random
import zipfile

import pytest
from support.user_files import EXPORTS, workbook

from gateway.pki import csv_users

SEED = 11
FILES = 60  # of each export
WORKBOOKS = 150
MAX_FAULTS = 3
SIGNS = (
    b"",
    b"\0",
    b'"',
    b'""',
    b"\r",
    b"\n",
    b";",
    b",",
    b"\t",
    b"=",
    b"\xff",
    b"\xfe",
    b"\x80",
    b"\xc3",
    b"sep=",
    b"#TYPE",
)
XML = (
    *(b"", b"<", b">", b"&", b"&a;", b'"', b"0", b"-1", b"99999999999999999999", b"1e999", b"nan", b"XFD", b"AAAA1"),
    *(b"<!DOCTYPE a [<!ENTITY a 'b'>]>", b"<row/>", b"</row>", b"<c/>", b"\xff", b' t="s"', b' t="d"', b' t="e"'),
)


def _faulty(chance, data, pieces):
    """The bytes with a few places overwritten, put in, left out or doubled."""
    found = bytearray(data)
    for _ in range(chance.randint(1, MAX_FAULTS)):
        begin = chance.randrange(len(found) + 1)
        end = min(len(found), begin + chance.choice((0, 0, 1, 1, 2, 20)))
        kept = bytes(found[begin:end]) * chance.choice((0, 0, 1, 2))
        found[begin:end] = chance.choice(pieces) + kept
    return bytes(found)


def _faulty_workbook(chance, data):
    """The workbook with faults in one of its parts, so that what is around them stays whole."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(written, "w") as new:
        names = old.namelist()
        chosen = chance.choice(names)
        for name in names:
            content = old.read(name)
            new.writestr(name, _faulty(chance, content, XML) if name == chosen else content)
    return written.getvalue()


def _check(data):
    """Whether it is users; otherwise mistakes, each with its place."""
    try:
        users = csv_users.parse(data, "users", lambda _row: ())
    except csv_users.CsvError as error:
        wrong = error.problems
    else:
        wrong = ()
    if wrong:
        assert all(problem.line >= 1 and problem.column >= 1 for problem in wrong)
        return False
    assert users.rows
    assert all(note.isprintable() for note in users.notes)
    return True


@pytest.mark.parametrize("program", EXPORTS)
def test_exports_with_faults_are_users_or_mistakes(program):
    chance = random.Random(f"{SEED} {program}")
    data = EXPORTS[program].data
    found = {_check(_faulty(chance, data, SIGNS)) for _ in range(FILES)}
    assert False in found, "faults that do nothing show nothing"


def test_workbooks_with_faults_in_their_parts_are_users_or_mistakes():
    chance = random.Random(SEED)
    data = workbook([["E-Mail", "Name", "Tage"], ["a@example.com", "Alice", 9], ["b@example.com", "Bob", None]])
    assert {_check(_faulty_workbook(chance, data)) for _ in range(WORKBOOKS)} == {True, False}
