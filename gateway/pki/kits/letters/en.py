"""The letter in English."""

from __future__ import annotations

from typing import Final

from gateway.pki.kits.letters.wording import Wording
from gateway.pki.words import KitKind

ENGLISH: Final = Wording(
    title="Certificate for {name}",
    heading="Your certificate for {host}",
    purpose='{name}, with this certificate you reach your mail from outside at <a href="{url}">{url}</a>.',
    purpose_mail="{name}, with this certificate you sign mail and read mail that others have encrypted for you.",
    by_hand="Type the password that you were given separately.",
    password="The password is <code>{password}</code>.",  # noqa: S106 - a template
    trust="In Settings, General, About, Certificate Trust Settings, turn on the root certificate.",
    open_page="Open {url} and choose your certificate.",
    keep="Don't pass on the file or the password. If you lose a device, tell the help desk the serial number at once.",
    address="Address",
    until="Valid until",
    date="{date:%Y-%m-%d}",
    serial="Serial number",
    help="Help",
    steps={
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
            "Put all files into one folder. If they came in a ZIP archive, extract it.",
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
            "{open}",
        ),
        KitKind.CHROME: (
            "Chrome: Settings, Privacy and security, Security, “Manage certificates”. Import root.crt as an authority.",
            "Under Your certificates import {p12}.",
            "{password}",
            "{open}",
        ),
        KitKind.THUNDERBIRD: (
            "Thunderbird: Settings, Privacy &amp; Security, “Manage Certificates”, Authorities, Import: root.crt.",
            "In the same window, Your Certificates, Import: {p12}.",
            "{password}",
            "In the account’s settings, End-To-End Encryption, choose the certificate for signing and encrypting.",
        ),
    },
    logged_in={
        KitKind.IOS: "Open Mail. The account is there; it asks for the password of your mailbox once.",
        KitKind.MACOS: "Open Mail, or {url} in Safari.",
        KitKind.WINDOWS: "Open {url} in Edge or Chrome and choose your certificate.",
    },
    mail_only={
        KitKind.IOS: "In Settings, open your mail account, Advanced, and choose the certificate under S/MIME.",
        KitKind.MACOS: "Open Mail and write a message: beside the subject you can sign and encrypt it.",
        KitKind.WINDOWS: "In Outlook: File, Options, Trust Center, Email Security, and choose the certificate.",
    },
)
