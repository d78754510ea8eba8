"""The names of columns in lists of users, as programs write them in English, German and Czech.

Sources, besides the gateway's own names:

- Excel has no fixed names; people write those of the lists below.
- Outlook, File > Open & Export > Import/Export > CSV. English: `First Name`, `Last Name`, `E-mail Address`,
  `Department`. German: `Vorname`, `Nachname`, `E-Mail-Adresse`, `Abteilung`, and Thunderbird's `Anzeigename` and
  `Primäre E-Mail-Adresse` (github.com/roundcube/roundcubemail, program/localization/de_DE/csv2vcard.inc). Czech:
  `Jméno`, `Příjmení`, `E-mailová adresa`, `Oddělení`. `E-mail Display Name` is left out: it has the address in it.
- Active Directory. Get-ADUser: `Name`, `DisplayName`, `GivenName`, `Surname`, `EmailAddress`, `UserPrincipalName`
  (learn.microsoft.com/archive/technet-wiki/12037.active-directory-get-aduser-default-and-extended-properties).
  csvde writes the directory's own attributes: `cn`, `sn`, `givenName`, `mail`, `department`
  (learn.microsoft.com/windows/win32/adschema). Exchange's Get-Mailbox: `PrimarySmtpAddress`.
- Google Workspace, "Download users": `First Name [Required]`, `Last Name [Required]`, `Email Address [Required]`,
  `Department` (support.google.com/a/answer/40057). Google Contacts: `E-mail 1 - Value`, `Organization Department`.
- Microsoft 365: `User principal name`, German `Benutzerprinzipalname`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from types import MappingProxyType
from typing import Final

from gateway.pki.user_files.records import Problem, Record, UnreadableError, shown, uncalculated

MAX_SHOWN_COLUMNS: Final = 12  # Outlook has ninety
MAX_TITLE_LINES: Final = 10  # a title, the date and some blank lines
GIVEN, FAMILY = "given", "family"

# The best name first: if a file has several of these columns, the first one whose cell is not empty counts.
_SYNONYMS: Final = MappingProxyType(
    {
        "email": (
            *("email", "emailaddress", "mail", "mailaddress", "primarysmtpaddress", "email1value"),
            *("emailadresse", "mailadresse", "primareemailadresse", "primaereemailadresse"),
            *("emailovaadresa", "adresaelektronickeposty"),
        ),
        "name": (
            *("displayname", "fullname", "name", "commonname", "cn"),
            *("anzeigename", "vollstandigername", "vollstaendigername", "vorundnachname"),
            *("celejmeno", "zobrazovanejmeno", "jmenoaprijmeni", "prijmeniajmeno"),
        ),
        GIVEN: ("givenname", "firstname", "vorname", "rufname", "krestnijmeno"),
        FAMILY: ("surname", "lastname", "familyname", "sn", "nachname", "familienname", "zuname", "prijmeni"),
        "department": (
            *("department", "dept", "organizationalunit", "ou", "organizationdepartment"),
            *("abteilung", "oddeleni", "utvar"),
        ),
        "upn": ("upn", "userprincipalname", "benutzerprinzipalname", "hlavninazevuzivatele"),
        "days": (
            *("days", "validity", "validitydays", "tage", "gultigkeit", "gueltigkeit", "gultigkeitstage"),
            *("dny", "platnost", "platnostdny"),
        ),
        "p12_format": ("p12format", "format", "p12"),
        # Of the account: Get-ADUser's `Enabled`, Entra's `accountEnabled`, Google's `Status [READ ONLY]`.
        "state": ("enabled", "accountenabled", "status"),
        "device": ("device", "devicename", "gerat", "geraet", "zarizeni"),
    }
)
_FIELD_OF: Final = MappingProxyType({name: field for field, names in _SYNONYMS.items() for name in names})
_RANK: Final = MappingProxyType({name: rank for names in _SYNONYMS.values() for rank, name in enumerate(names)})
# These columns limit a certificate. A typo in such a name must not make certificates that are valid for too long.
_NARROWING: Final = ("days", "validity", "validitydays", "p12format", "device")
_ONCE: Final = ("days", "p12_format", "device")
# If there is a column with one of these names, a column `Name` has the family name.
_GIVEN_BESIDE_FAMILY: Final = ("vorname", "rufname", "krestnijmeno")
_CZECH_NAME: Final = "jmeno"  # the first name if there is a column with the family name, else the full name


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of each field of a user, the best one first, and the names of the columns that are not used."""

    places: MappingProxyType[str, tuple[int, ...]]
    count: int
    unused: tuple[str, ...]

    def number(self, field: str) -> int:
        """The column of a field, counted from 1, for messages."""
        if field == "name" and field not in self.places:
            field = GIVEN if GIVEN in self.places else FAMILY
        return self.places.get(field, (0,))[0] + 1

    @property
    def note(self) -> str | None:
        """A note that names the columns that are not used; None if all are used."""
        if not self.unused:
            return None
        names = ", ".join(self.unused[:MAX_SHOWN_COLUMNS])
        more = len(self.unused) - MAX_SHOWN_COLUMNS
        return f"columns that were not used: {names}" + (f" and {more} more" if more > 0 else "")


def known_names(names: Iterable[str]) -> int:
    """How many of the names are known names of columns."""
    return sum(_key(name) in _FIELD_OF or _key(name) == _CZECH_NAME for name in names)


def after_title(records: Iterator[Record]) -> tuple[Iterator[Record], str | None]:
    """The records from the names of the columns on, and a note if a title or blank lines precede them."""
    first = list(islice(records, MAX_TITLE_LINES + 1))
    number = next((number for number, record in enumerate(first) if names_columns(record)), 0)
    rest = chain(first[number:], records)
    return rest, f"the names of the columns were found on line {first[number].line}" if number else None


def names_columns(record: Record) -> bool:
    """Whether a record names a column with mail addresses, and so is not a user or a title."""
    return any(_FIELD_OF.get(_key(name)) == "email" for name in record.fields)


def resolve(header: Record) -> Columns:
    """The columns that the first record names. Raises `UnreadableError` with all mistakes in it."""
    if header.uncalculated:
        raise UnreadableError(*(uncalculated(header, place) for place in header.uncalculated))
    keys = [_key(name) for name in header.fields]
    fields = list(_fields(keys, header))
    found: dict[str, list[int]] = {}
    for place, field in enumerate(fields):
        if field is not None:
            found.setdefault(field, []).append(place)
    problems = [*_mistyped(header, keys), *_twice(header, found), *_missing(header, found)]
    if problems:
        raise UnreadableError(*problems)
    places = {
        field: tuple(sorted(those, key=lambda place: _RANK.get(keys[place], 0))) for field, those in found.items()
    }
    unused = (shown(name.strip()) for name, field in zip(header.fields, fields, strict=True) if field is None)
    return Columns(MappingProxyType(places), len(keys), tuple(name for name in unused if name))


def _key(name: str) -> str:
    """A key for comparing names of columns, without accents, case, punctuation and Google's `[Required]`."""
    plain = unicodedata.normalize("NFKD", re.sub(r"\[[^\]]*\]\s*$", "", name)).casefold()
    return re.sub(r"[^a-z0-9]", "", plain)


def _fields(keys: list[str], header: Record) -> Iterator[str | None]:
    """The field of each column. Whether `Name` and `Jméno` are full names or parts depends on the other columns."""
    known = {_FIELD_OF.get(key) for key in keys}
    given = next((key for key in keys if _FIELD_OF.get(key) == GIVEN), None)
    for number, key in enumerate(keys, 1):
        if key == _CZECH_NAME:
            yield GIVEN if FAMILY in known else "name"
        elif key == "name" and FAMILY not in known and given in _GIVEN_BESIDE_FAMILY:
            yield FAMILY
        elif key == "name" and FAMILY not in known and given == "firstname":
            cause = f"'{shown(header.fields[number - 1])}' next to a first name may mean the last or the full name"
            raise UnreadableError(Problem(header.line, number, cause, "rename it to 'Last name' or 'Full name'"))
        else:
            yield _FIELD_OF.get(key)


def _mistyped(header: Record, keys: list[str]) -> Iterator[Problem]:
    for number, (name, key) in enumerate(zip(header.fields, keys, strict=True), 1):
        near = next((known for known in _NARROWING if key not in _FIELD_OF and _is_one_letter_off(key, known)), None)
        if near is not None:
            remedy = f"rename it to '{near}', or remove the column"
            yield Problem(header.line, number, f"'{shown(name)}' looks like a mistyped '{near}'", remedy)


def _is_one_letter_off(name: str, known: str) -> bool:
    """Whether the two differ by at most one letter that was left out, added or changed."""
    longer = max(len(name), len(known))
    same = 0
    while same < min(len(name), len(known)) and name[same] == known[same]:
        same += 1
    rest = (name[same:], known[same:])
    return abs(len(name) - len(known)) <= 1 and longer > 0 and _tail(*rest) >= longer - same - 1


def _tail(one: str, other: str) -> int:
    """How many letters at the end of both words are the same."""
    same = 0
    while same < min(len(one), len(other)) and one[-1 - same] == other[-1 - same]:
        same += 1
    return same


def _twice(header: Record, found: dict[str, list[int]]) -> Iterator[Problem]:
    for field in _ONCE:
        for place in found.get(field, [])[1:]:
            cause = f"'{shown(header.fields[place])}' is a second column for {field}"
            yield Problem(header.line, place + 1, cause, "remove one of the two")


def _missing(header: Record, found: dict[str, list[int]]) -> Iterator[Problem]:
    last = max(len(header.fields), 1)
    if "email" not in found:
        remedy = "name the column with the mail addresses 'E-Mail'"
        if "upn" in found:
            remedy = "if the user principal names are the mail addresses, copy that column and name the copy 'E-Mail'"
        yield Problem(header.line, last, "there is no column email", remedy)
    if not {"name", GIVEN, FAMILY} & set(found):
        yield Problem(header.line, last, "there is no column name", "name the column with the names 'Name'")
