"""A page for the person, with the steps to install the files and the address as a QR code. It prints on one sheet."""

from __future__ import annotations

import io
from functools import lru_cache
from html import escape
from types import MappingProxyType
from typing import Final

import segno

from gateway.pki.kits.kit import KitFile, Person
from gateway.pki.kits.letters.cs import CZECH
from gateway.pki.kits.letters.de import GERMAN
from gateway.pki.kits.letters.en import ENGLISH
from gateway.pki.kits.letters.wording import Wording
from gateway.pki.words import KitKind, Language
from gateway.x509.serials import serial_text

WORDINGS: Final = MappingProxyType({Language.ENGLISH: ENGLISH, Language.GERMAN: GERMAN, Language.CZECH: CZECH})

_PAGE: Final = """\
<!doctype html>
<html lang="{language}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>
body {{ font: 12pt/1.5 system-ui, sans-serif; max-width: 42rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 150%; line-height: 1.25; overflow-wrap: anywhere; }}
figure {{ float: right; margin: 0 0 1rem 1.5rem; max-width: 14rem; text-align: center; font-size: 80%; }}
figcaption, p, li, dd {{ overflow-wrap: anywhere; }}
code {{ font-size: 115%; }}
dt {{ font-weight: 600; }}
@page {{ size: A4; margin: 2cm; }}
@media print {{ body {{ font-size: 11pt; max-width: none; margin: 0; padding: 0; }} }}
</style>
<h1>{heading}</h1>
<figure>{code}<figcaption>{url}</figcaption></figure>
<p>{purpose}</p>
<ol>
{steps}
</ol>
<dl>
{facts}
</dl>
<p>{keep}</p>
</html>
"""


def letter(person: Person, kind: KitKind, *, has_root: bool = True) -> KitFile:
    """The page. It is secret if it has the password. `has_root`: an Apple profile contains the root."""
    wording = WORDINGS[person.language]
    words = _words(person, kind, wording, has_root=has_root)
    page = _PAGE.format(
        language=person.language.value,
        title=wording.title.format(**words),
        heading=wording.heading.format(**words),
        url=words["url"],
        purpose=(wording.purpose if person.is_for_login else wording.purpose_mail).format(**words),
        code=_qr(person.url),
        steps="\n".join(f"<li>{step}</li>" for step in _steps(wording, kind, words)),
        facts="\n".join(f"<dt>{label}</dt><dd>{value}</dd>" for label, value in _facts(person, wording)),
        keep=wording.keep,
    )
    return KitFile(f"{person.stem_for(kind)}.html", page.encode(), person.password is not None)


def _words(person: Person, kind: KitKind, wording: Wording, *, has_root: bool) -> dict[str, str]:
    """The values for the templates, as HTML."""
    words = {
        "name": escape(person.name),
        "stem": escape(person.stem),
        "stem_for_kind": escape(person.stem_for(kind)),
        "p12": escape(person.p12_name),
        "host": escape(person.host),
        "url": escape(person.url),
        "email": escape(person.email),
        "password": wording.by_hand,
        "trust": wording.trust if has_root else "",
    }
    if person.password is not None:
        words["password"] = wording.password.format(password=escape(person.password))
    ready = (wording.logged_in if person.is_for_login else wording.mail_only).get(kind, "")
    return words | {"ready": ready.format(**words), "open": wording.open_page.format(**words)}


def _steps(wording: Wording, kind: KitKind, words: dict[str, str]) -> list[str]:
    """The steps, as HTML, without those that are empty for this person."""
    return [step for step in (template.format(**words) for template in wording.steps[kind]) if step]


def _facts(person: Person, wording: Wording) -> list[tuple[str, str]]:
    """Label and value of each line below the steps, as HTML."""
    facts = [
        (wording.address, escape(person.email)),
        (wording.until, wording.date.format(date=person.certificate.not_valid_after_utc)),
        (wording.serial, f"<code>{serial_text(person.certificate.serial_number)}</code>"),
    ]
    if person.contact is not None:
        facts.append((wording.help, escape(person.contact)))
    return facts


@lru_cache(maxsize=16)  # it is the same for all people in a list
def _qr(url: str) -> str:
    buffer = io.BytesIO()
    segno.make(url, error="m", micro=False).save(buffer, kind="svg", scale=4, xmldecl=False, title=url)
    return buffer.getvalue().decode()
