"""A PowerShell script that imports the certificate into the user's store, and the root as a trusted one.

It imports the authorities between them as intermediate ones.
"""

from __future__ import annotations

import re
from typing import Final

from cryptography.hazmat.primitives import hashes

from gateway.pki.kits.kit import KitFile, Person, authority_files, p12_file, root_file

# PowerShell treats typographic quotes like the straight one (language specification, section 2.3.5.2).
_QUOTES: Final = re.compile("['‘’‚‛]")

_SCRIPT: Final = """\
# Run this as {person}: right-click, 'Run with PowerShell'. You don't need to be an administrator.
$ErrorActionPreference = 'Stop'
# The window closes when the script ends, so an error has to wait until it was read.
trap {{
    Write-Host $_ -ForegroundColor Red
    Read-Host 'It did not work. Press Enter to close' | Out-Null
    exit 1
}}
Set-Location -LiteralPath $PSScriptRoot

# Windows asks whether to trust the root certificate. Compare the thumbprint: {thumbprint}
Import-Certificate -FilePath {root} -CertStoreLocation Cert:\\CurrentUser\\Root | Out-Null
{between}
$password = {password}
$found = Import-PfxCertificate -FilePath {p12} -CertStoreLocation Cert:\\CurrentUser\\My -Password $password
Write-Host 'Imported:' ($found | Where-Object HasPrivateKey).Subject
Write-Host {ready}
Read-Host 'Press Enter to close' | Out-Null
"""
# Intermediates are not trusted by themselves. Programs send them, to complete the path to the root.
_BETWEEN: Final = "Import-Certificate -FilePath {file} -CertStoreLocation Cert:\\CurrentUser\\CA | Out-Null\n"
_READY: Final = "Open {url} in Edge or Chrome and choose this certificate."
_READY_FOR_MAIL: Final = "In Outlook: File, Options, Trust Center, Email Security, and choose this certificate."


def kit(person: Person) -> list[KitFile]:
    """The script, the certificate, the root and the authorities between."""
    root, between = root_file(person, is_pem=False), authority_files(person)
    asked = "Read-Host -AsSecureString 'Password of the certificate'"
    if person.password is not None:
        asked = f"ConvertTo-SecureString -AsPlainText -Force -String {_quoted(person.password)}"
    text = _SCRIPT.format(
        person=person.email,
        thumbprint=person.root.fingerprint(hashes.SHA1()).hex().upper(),  # noqa: S303 - what Windows shows
        root=_quoted(f".\\{root.name}"),
        between="".join(_BETWEEN.format(file=_quoted(f".\\{file.name}")) for file in between),
        p12=_quoted(f".\\{person.p12_name}"),
        password=asked,
        ready=_quoted((_READY if person.is_for_login else _READY_FOR_MAIL).format(url=person.url)),
    )
    # With a byte order mark: without it, Windows PowerShell 5 reads the script in the local code page.
    script = KitFile(
        f"{person.stem}.ps1", ("\ufeff" + text.replace("\n", "\r\n")).encode(), person.password is not None
    )
    return [script, p12_file(person), root, *between]


def _quoted(text: str) -> str:
    return "'" + _QUOTES.sub(lambda found: found.group() * 2, text) + "'"
