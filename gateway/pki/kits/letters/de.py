"""The letter in German."""

from __future__ import annotations

from typing import Final

from gateway.pki.kits.letters.wording import Wording
from gateway.pki.words import KitKind

GERMAN: Final = Wording(
    title="Zertifikat für {name}",
    heading="Ihr Zertifikat für {host}",
    purpose='{name}, mit diesem Zertifikat erreichen Sie Ihre E-Mail von außen unter <a href="{url}">{url}</a>.',
    purpose_mail="{name}, mit diesem Zertifikat signieren Sie E-Mails und lesen für Sie verschlüsselte.",
    by_hand="Geben Sie das Passwort ein, das Sie getrennt erhalten haben.",
    password="Das Passwort ist <code>{password}</code>.",  # noqa: S106 - a template
    trust="Schalten Sie unter Allgemein, Info, Zertifikatsvertrauenseinstellungen das Stammzertifikat ein.",
    open_page="Öffnen Sie {url} und wählen Sie Ihr Zertifikat aus.",
    keep="Geben Sie Datei und Passwort nicht weiter. Geht ein Gerät verloren, melden Sie sofort die Seriennummer.",
    address="Adresse",
    until="Gültig bis",
    date="{date:%d.%m.%Y}",
    serial="Seriennummer",
    help="Hilfe",
    steps={
        KitKind.IOS: (
            "Öffnen Sie {stem_for_kind}.mobileconfig auf dem iPhone oder iPad (Dateien, Safari, Nachricht).",
            "Tippen Sie in den Einstellungen auf „Profil geladen“, dann auf Installieren.",
            "{password}",
            "{trust}",
            "{ready}",
        ),
        KitKind.MACOS: (
            "Öffnen Sie {stem_for_kind}.mobileconfig, dann Systemeinstellungen, „Profile“, und installieren Sie es.",
            "{password}",
            "{ready}",
        ),
        KitKind.WINDOWS: (
            "Legen Sie alle Dateien in einen Ordner. Kamen sie in einem ZIP-Archiv, entpacken Sie es.",
            "Klicken Sie mit der rechten Maustaste auf {stem}.ps1 und wählen Sie „Mit PowerShell ausführen“.",
            "Antworten Sie mit Ja, wenn Windows nach dem Stammzertifikat fragt.",
            "{password}",
            "{ready}",
        ),
        KitKind.ANDROID: (
            "Kopieren Sie {p12} und root.cer auf das Telefon.",
            "Suchen Sie in Einstellungen „Zertifikat installieren“. Installieren Sie root.cer als CA-Zertifikat.",
            "Installieren Sie dann {p12} als „VPN- und App-Nutzerzertifikat“.",
            "{password}",
            "In der Mail-App: neues Exchange-Konto für {email}, Server {host}; wählen Sie das Zertifikat aus.",
        ),
        KitKind.FIREFOX: (
            (
                "Firefox: Einstellungen, Datenschutz &amp; Sicherheit, „Zertifikate anzeigen“, Zertifizierungsstellen, "
                "Importieren: root.crt."
            ),
            "Im selben Fenster: Ihre Zertifikate, Importieren: {p12}.",
            "{password}",
            "{open}",
        ),
        KitKind.CHROME: (
            (
                "Chrome: Einstellungen, Datenschutz und Sicherheit, Sicherheit, „Zertifikate verwalten“. "
                "Importieren Sie root.crt als Zertifizierungsstelle."
            ),
            "Importieren Sie {p12} unter Ihre Zertifikate.",
            "{password}",
            "{open}",
        ),
        KitKind.THUNDERBIRD: (
            (
                "Thunderbird: Einstellungen, Datenschutz &amp; Sicherheit, „Zertifikate verwalten“, "
                "Zertifizierungsstellen, Importieren: root.crt."
            ),
            "Im selben Fenster: Ihre Zertifikate, Importieren: {p12}.",
            "{password}",
            (
                "Wählen Sie in den Konten-Einstellungen unter Ende-zu-Ende-Verschlüsselung das Zertifikat zum "
                "Signieren und Verschlüsseln."
            ),
        ),
    },
    logged_in={
        KitKind.IOS: "Öffnen Sie Mail. Das Konto ist da; es fragt einmal nach dem Passwort Ihres Postfachs.",
        KitKind.MACOS: "Öffnen Sie Mail, oder {url} in Safari.",
        KitKind.WINDOWS: "Öffnen Sie {url} in Edge oder Chrome und wählen Sie Ihr Zertifikat aus.",
    },
    mail_only={
        KitKind.IOS: "In Einstellungen: Ihr Mail-Konto, Erweitert; wählen Sie unter S/MIME das Zertifikat.",
        KitKind.MACOS: "In Mail lässt sich eine neue Nachricht neben dem Betreff signieren und verschlüsseln.",
        KitKind.WINDOWS: "In Outlook: Datei, Optionen, Trust Center, E-Mail-Sicherheit; wählen Sie das Zertifikat.",
    },
)
