"""Lists of users as programs export them: the bytes, and what they say of two people."""

from __future__ import annotations

import io
from dataclasses import dataclass

from openpyxl import Workbook

OUTLOOK_DE = (
    '"Anrede","Vorname","Weitere Vornamen","Nachname","Suffix","Firma","Abteilung","Position","E-Mail-Adresse",'
    '"E-Mail-Typ","E-Mail: Angezeigter Name","Notizen"'
)
OUTLOOK_CS = (
    '"Titul","Jméno","2. křestní jméno","Příjmení","Za příjmením","Společnost","Oddělení","Funkce",'
    '"E-mailová adresa","Typ e-mailu","Zobrazované jméno e-mailu"'
)
GOOGLE = (
    "First Name [Required],Last Name [Required],Email Address [Required],Password [Required],"
    "Org Unit Path [Required],Recovery Email,Department,Status [READ ONLY]"
)
GET_ADUSER = (
    '"DistinguishedName","Enabled","GivenName","mail","EmailAddress","Name","ObjectClass","SamAccountName","SID",'
    '"Surname","UserPrincipalName"'
)


@dataclass(frozen=True)
class Export:
    """A file and the names in it."""

    data: bytes
    names: tuple[str, ...]


def workbook(rows, *, title="Mitarbeiter", others=(), states=()):
    """An Excel workbook."""
    book = Workbook()
    book.active.title = title
    for row in rows:
        book.active.append(row)
    for name in others:
        book.create_sheet(name)
    for sheet, state in zip(book.worksheets, states, strict=False):
        sheet.sheet_state = state
    written = io.BytesIO()
    book.save(written)
    return written.getvalue()


def _of(text, codec="utf-8", names=("Jürgen Müller", "Zoë Weiß")):
    return Export(text.encode(codec), names)


CZECH = ("Jiří Kovář", "Šárka Křížová")
_TWO = "j@example.com;Jürgen Müller\r\nz@example.com;Zoë Weiß\r\n"
_ADUSERS = (
    '"CN=Jürgen Müller,OU=Sales,DC=example,DC=com","True","Jürgen","j@example.com","j@example.com","Jürgen Müller",'
    '"user","jm","S-1-5-21-1","Müller","j@example.com"\r\n'
    '"CN=Zoë,DC=example,DC=com","True","Zoë","","z@example.com","Zoë Weiß","user","zw","S-1-5-21-2","Weiß",""\r\n'
)
EXPORTS = {
    "Excel, CSV UTF-8": _of("\ufeffE-Mail;Name;Gerät\r\nj@example.com;Jürgen Müller\r\nz@example.com;Zoë Weiß;\r\n"),
    "Excel, CSV, German": _of(
        "E-Mail;Name\r\nj@example.com;Jürgen Müller\r\nz@example.com;Zoé Weiß\r\n",
        "cp1252",
        ("Jürgen Müller", "Zoé Weiß"),
    ),
    "Excel, Unicode text": _of(f"E-Mail;Name\r\n{_TWO}".replace(";", "\t"), "utf-16"),
    "Excel, sep=": _of(f"sep=;\r\nE-Mail;Name\r\n{_TWO}"),
    "Excel, sep=| in quotes": _of(f'"sep=|"\r\nE-Mail;Name\r\n{_TWO}'.replace(";", "|")),
    "a list in German": _of("Name;Vorname;E-Mail\nMüller;Jürgen;j@example.com\nWeiß;Zoë;z@example.com\n"),
    "a list with commas in names of columns": _of(
        f'"E-Mail, dienstlich";"Name, Vorname";"Mail";"Name"\n;;{_TWO}'.replace("\r\nz@", "\r\n;;z@")
    ),
    "a list in Czech": _of("Jméno;E-mail\nJürgen Müller;j@example.com\nZoë Weiß;z@example.com\n"),
    "Outlook, German": _of(
        f'{OUTLOOK_DE}\r\n"","Jürgen","","Müller","","Example","Vertrieb","","j@example.com","SMTP",'
        f'"Jürgen (j@example.com)","Zeile ""1""\r\n\x0b"\r\n,"Zoë",,"Weiß",,,,,"z@example.com","SMTP"\r\n'
    ),
    "Outlook, Czech": _of(
        f'{OUTLOOK_CS}\r\n"","Jiří","","Kovář","","","Účtárna","","j@example.com"\r\n,"Šárka",,"Křížová",,,,,"z@example.com"\r\n',
        "cp1250",
        CZECH,
    ),
    "Get-ADUser | Export-Csv": _of(f"#TYPE Microsoft.ActiveDirectory.Management.ADUser\r\n{GET_ADUSER}\r\n{_ADUSERS}"),
    "Get-ADUser | Export-Csv -Delimiter": _of(f"\ufeff#TYPE X\r\n{GET_ADUSER}\r\n{_ADUSERS}".replace('","', '";"')),
    "csvde -u": _of(
        "DN,objectClass,cn,sn,givenName,displayName,memberOf,mail\r\n"
        '"CN=Jürgen Müller,DC=example,DC=com",user,Jürgen Müller,Müller,Jürgen,Jürgen Müller,'
        f'"CN=A,DC=x;{"B" * 2000}",j@example.com\r\n"CN=Zoë",user,Zoë Weiß,Weiß,Zoë,,,z@example.com\r\n',
        "utf-16",
    ),
    "Google Workspace": _of(
        f"{GOOGLE}\nJürgen,Müller,j@example.com,****,/,,Sales,Active\nZoë,Weiß,z@example.com,****,/,zoe@example.org,,Active\n"
    ),
    "a workbook": Export(
        workbook(
            [
                [],
                ["E-Mail", "Vorname", "Nachname", "Tage", "Personalnummer", "Eintritt"],
                ["j@example.com", "Jürgen", "Müller", 90, 17.0, None],
                [],
                ["z@example.com", "Zoë", "Weiß", None, 1.5, True],
            ]
        ),
        ("Jürgen Müller", "Zoë Weiß"),
    ),
}
