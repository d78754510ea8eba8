"""A page for the person: what to do with the files, step by step, and the address as a QR code. Prints on one sheet."""

from __future__ import annotations

import io
from html import escape
from types import MappingProxyType
from typing import Final

import segno

from gateway.pki.kits.kit import KitFile, Person
from gateway.pki.words import KitKind
from gateway.x509.serials import serial_text

_BY_HAND: Final = "Type the password that you were given separately."
_OPEN: Final = "Open https://{host}/ and choose your certificate."
_STEPS: Final = MappingProxyType(
    {
        KitKind.IOS: (
            "Open {stem_for_kind}.mobileconfig on the iPhone or iPad, from Files, Safari or a message.",
            "In Settings, tap “Profile Downloaded”, then Install.",
            "{password}",
            "{trust}",
            "{ready}",
        ),
        KitKind.MACOS: (
            "Open {stem_for_kind}.mobileconfig, then System Settings, “Profiles”, and install it.",
            "{password}",
            "{ready}",
        ),
        KitKind.WINDOWS: (
            "Put all files into one folder.",
            "Right-click {stem}.ps1 and choose “Run with PowerShell”.",
            "Answer Yes when Windows asks about the root certificate.",
            "{password}",
            "{ready}",
        ),
        KitKind.ANDROID: (
            "Copy {p12} and root.cer to the phone.",
            "In Settings, search for “Install a certificate”. Install root.cer as CA certificate.",
            "Then install {p12} as “VPN &amp; app user certificate”.",
            "{password}",
            "In the mail app add an Exchange account for {email}, server {host}, and choose the certificate.",
        ),
        KitKind.FIREFOX: (
            "Firefox: Settings, Privacy &amp; Security, “View Certificates”, Authorities, Import: root.crt.",
            "In the same window, Your Certificates, Import: {p12}.",
            "{password}",
            _OPEN,
        ),
        KitKind.CHROME: (
            "Chrome: Settings, Privacy and security, Security, “Manage certificates”. Import root.crt as an authority.",
            "Under Your certificates import {p12}.",
            "{password}",
            _OPEN,
        ),
        KitKind.THUNDERBIRD: (
            "Thunderbird: Settings, Privacy &amp; Security, “Manage Certificates”, Authorities, Import: root.crt.",
            "In the same window, Your Certificates, Import: {p12}.",
            "{password}",
            "In the account’s settings, End-To-End Encryption, choose the certificate for signing and encrypting.",
        ),
    }
)
_TRUST: Final = "In General, About, Certificate Trust Settings, switch the root certificate on."
# The last step, where it depends on what the certificate is for.
_LOGGED_IN: Final = MappingProxyType(
    {
        KitKind.IOS: "Open Mail. The account is there; it asks for the password of your mailbox once.",
        KitKind.MACOS: "Open Mail, or https://{host}/ in Safari.",
        KitKind.WINDOWS: "Open https://{host}/ in Edge or Chrome and choose your certificate.",
    }
)
_MAIL_ALONE: Final = MappingProxyType(
    {
        KitKind.IOS: "In Settings, open your mail account, Advanced, and choose the certificate under S/MIME.",
        KitKind.MACOS: "Open Mail and write a message: beside the subject you can sign and encrypt it.",
        KitKind.WINDOWS: "In Outlook: File, Options, Trust Center, Email Security, and choose the certificate.",
    }
)

_PAGE: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="referrer" content="no-referrer">
<title>Certificate for {name}</title>
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
<h1>Your certificate for {host}</h1>
<figure>{code}<figcaption>{url}</figcaption></figure>
<p>{name}, {purpose}</p>
<ol>
{steps}
</ol>
<dl>
<dt>Address</dt><dd>{email}</dd>
<dt>Valid until</dt><dd>{until}</dd>
<dt>Serial number</dt><dd><code>{serial}</code></dd>
</dl>
<p>Keep file and password to yourself. Where a device is lost, tell the help desk the serial number at once.</p>
</html>
"""


def letter(person: Person, kind: KitKind, *, has_root: bool = True) -> KitFile:
    """The page. With a password in it, it is a secret. `has_root`: an Apple profile brings the root along."""
    url = f"https://{person.host}/"
    page = _PAGE.format(
        name=escape(person.name),
        host=escape(person.host),
        email=escape(person.email),
        url=escape(url),
        purpose=_purpose(person, escape(url)),
        code=_qr(url),
        steps="\n".join(f"<li>{step}</li>" for step in _steps(person, kind, has_root=has_root)),
        until=f"{person.certificate.not_valid_after_utc:%Y-%m-%d}",
        serial=serial_text(person.certificate.serial_number),
    )
    return KitFile(f"{person.stem_for(kind)}.html", page.encode(), person.password is not None)


def _purpose(person: Person, url: str) -> str:
    if not person.is_for_login:
        return "with this certificate you sign mail, and read what others have encrypted for you."
    return f'with this certificate you reach your mail from outside at <a href="{url}">{url}</a>.'


def _steps(person: Person, kind: KitKind, *, has_root: bool) -> list[str]:
    """What to do, as HTML."""
    ready = (_LOGGED_IN if person.is_for_login else _MAIL_ALONE).get(kind, "")
    words = {
        "stem": escape(person.stem),
        "stem_for_kind": escape(person.stem_for(kind)),
        "p12": escape(person.p12_name),
        "host": escape(person.host),
        "email": escape(person.email),
        "password": _BY_HAND if person.password is None else f"The password is <code>{escape(person.password)}</code>.",
        "trust": _TRUST if has_root else "",
    }
    words["ready"] = ready.format(**words)
    return [step for step in (template.format(**words) for template in _STEPS[kind]) if step]


def _qr(url: str) -> str:
    buffer = io.BytesIO()
    segno.make(url, error="m", micro=False).save(buffer, kind="svg", scale=4, xmldecl=False, title=url)
    return buffer.getvalue().decode()
