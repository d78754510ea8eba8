"""Every kind of mistake in a CSV of users: its bytes, where it is (line, column), and what is said of it."""

from __future__ import annotations

HEADER = b"email,name\n"
BAD = {
    "nothing": (b"", [(1, 1)], "the first line is empty"),
    "blank header": (b"  ,\nalice@example.com,Alice\n", [(1, 1)], "the first line is empty"),
    "no users": (HEADER, [(2, 1)], "there are no users"),
    "no name column": (b"email\nalice@example.com\n", [(1, 1)], "there is no column name"),
    "unknown columns": (b"email,name,dayz,color\nx,y,z,w\n", [(1, 3), (1, 4)], "'dayz' is no column"),
    "column twice": (b"email,name,Mail\nx,y,z\n", [(1, 3)], "'Mail' is a second column for email"),
    "utf-16": ("email,name\n".encode("utf-16"), [(1, 1)], "the file is UTF-16"),
    "latin-1": (HEADER + "bob@example.com,Bob\na@example.com,Jürgen\n".encode("latin-1"), [(3, 2)], "not UTF-8"),
    "nul": (HEADER + b"alice@example.com,Ali\x00ce\n", [(2, 2)], "a control character"),
    "open quote": (HEADER + b'alice@example.com,"Alice\nbob@example.com,Bob\n', [(2, 1)], "cannot be read"),
    "stray quote": (HEADER + b'alice@example.com,"Al"ice\n', [(2, 1)], "cannot be read"),
    "too few fields": (HEADER + b"alice@example.com\n", [(2, 2)], "1 fields where the first line names 2"),
    "too many fields": (HEADER + b"alice@example.com,Example, Alice\n", [(2, 3)], "3 fields where"),
    "no address": (HEADER + b"alice,Alice\n", [(2, 1)], "'alice' is no e-mail address"),
    "empty address": (HEADER + b",Alice\n", [(2, 1)], "'' is no e-mail address"),
    "empty name": (HEADER + b"alice@example.com,\n", [(2, 2)], "the name is empty"),
    "long name": (HEADER + b"alice@example.com," + b"x" * 65 + b"\n", [(2, 2)], "longer than 64"),
    "formula": (HEADER + b"alice@example.com,=1+1\n", [(2, 2)], "begins with '='"),
    "two mistakes in a row": (HEADER + b"alice,=x\n", [(2, 1), (2, 2)], "is no e-mail address"),
    "bad upn": (b"email,name,upn\na@b.c,A,nobody\n", [(2, 3)], "is no user principal name"),
    "days in words": (b"email,name,days\na@b.c,A,a year\n", [(2, 3)], "'a year' is no number of days"),
    "negative days": (b"email,name,days\na@b.c,A,-1\n", [(2, 3)], "'-1' is no number"),
    "too many digits": (b"email,name,days\na@b.c,A,100000\n", [(2, 3)], "is no number"),
    "p12 format": (b"email,name,format\na@b.c,A,pfx\n", [(2, 3)], "'pfx' is no p12 format"),
    "address twice": (HEADER + b"a@b.c,A\n\nA@b.c,B\n", [(4, 1)], "is on line 2 too"),
    "name twice": (HEADER + b"a@b.c,Alice\nb@b.c,ALICE\n", [(3, 2)], "the name 'ALICE' is on line 2 too"),
    "after a quoted line end": (HEADER + b'a@b.c,"A\nB"\nx,C\n', [(2, 2), (4, 1)], "control character"),
}
