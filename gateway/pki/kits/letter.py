"""A page for the person: what to do with the files, step by step, and the address as a QR code. Prints on one sheet."""

from __future__ import annotations

import io
from html import escape
from types import MappingProxyType
from typing import Final

import segno

from gateway.pki.kits.kit import KitFile, Person
from gateway.pki.words import KitKind

_BY_HAND: Final = "Type the password that you were given separately."
_STEPS: Final = MappingProxyType(
    {
        KitKind.IOS: (
            "Open {stem}.mobileconfig on the iPhone or iPad, from Files, Safari or a message.",
            "In Settings, tap “Profile Downloaded”, then Install.",
            "{password}",
            "In General, About, Certificate Trust Settings, switch the root certificate on.",
            "Open Mail. The account is there.",
        ),
        KitKind.MACOS: (
            "Open {stem}.mobileconfig, then System Settings, “Profiles”, and install it.",
            "{password}",
            "Open Mail, or https://{host}/ in Safari.",
        ),
        KitKind.WINDOWS: (
            "Put all files into one folder.",
            "Right-click {stem}.ps1 and choose “Run with PowerShell”.",
            "Answer Yes when Windows asks about the root certificate.",
            "{password}",
            "Open https://{host}/ in Edge or Chrome and choose your certificate.",
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
            "Open https://{host}/ and choose your certificate.",
        ),
        KitKind.CHROME: (
            "Chrome: Settings, Privacy and security, Security, “Manage certificates”. Import root.crt as an authority.",
            "Under Your certificates import {p12}.",
            "{password}",
            "Open https://{host}/ and choose your certificate.",
        ),
        KitKind.THUNDERBIRD: (
            "Thunderbird: Settings, Privacy &amp; Security, “Manage Certificates”, Authorities, Import: root.crt.",
            "In the same window, Your Certificates, Import: {p12}.",
            "{password}",
            "In the account’s settings, End-To-End Encryption, choose the certificate for signing and encrypting.",
        ),
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
svg {{ float: right; margin: 0 0 1rem 1rem; }}
code {{ font-size: 115%; }}
dt {{ font-weight: 600; }}
@page {{ size: A4; margin: 2cm; }}
</style>
<h1>Your certificate for {host}</h1>
{code}
<p>{name}, with this certificate you reach your mail from outside at <a href="{url}">{url}</a>.</p>
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


def letter(person: Person, kind: KitKind) -> KitFile:
    """The page. With a password in it, it is a secret."""
    password = _BY_HAND if person.password is None else f"The password is <code>{escape(person.password)}</code>."
    words = {
        "stem": escape(person.stem),
        "p12": escape(person.p12_name),
        "host": escape(person.host),
        "email": escape(person.email),
        "password": password,
    }
    url = f"https://{person.host}/"
    page = _PAGE.format(
        name=escape(person.name),
        host=words["host"],
        email=words["email"],
        url=escape(url),
        code=_qr(url),
        steps="\n".join(f"<li>{step.format(**words)}</li>" for step in _STEPS[kind]),
        until=f"{person.certificate.not_valid_after_utc:%Y-%m-%d}",
        serial=f"{person.certificate.serial_number:X}",
    )
    return KitFile(f"{person.stem}.html", page.encode(), person.password is not None)


def _qr(url: str) -> str:
    buffer = io.BytesIO()
    segno.make(url, error="m", micro=False).save(buffer, kind="svg", scale=4, xmldecl=False, title=url)
    return buffer.getvalue().decode()
