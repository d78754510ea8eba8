"""The refusal pages in German."""

from __future__ import annotations

from typing import Final

from gateway.facts import Reason
from gateway.http.translations import Language

GERMAN: Final = Language(
    code="de",
    reasons={
        Reason.BAD_REQUEST: (
            "Fehlerhafte Anfrage",
            "Ihr Programm hat eine Anfrage gesendet, die kein korrektes HTTP ist.",
        ),
        Reason.URI_REJECTED: ("Adresse abgelehnt", "Die Adresse ist mehrdeutig und wurde deshalb abgelehnt."),
        Reason.CERTIFICATE_MISSING: (
            "Zertifikat erforderlich",
            "Von außerhalb brauchen Sie für diese Seite ein persönliches Zertifikat. Ihr Gerät hat keines vorgelegt.",
        ),
        Reason.CERTIFICATE_EXPIRED: (
            "Ihr Zertifikat ist abgelaufen",
            "Das Zertifikat, das Ihr Gerät vorgelegt hat, ist nicht mehr gültig.",
        ),
        Reason.CERTIFICATE_NOT_YET_VALID: (
            "Ihr Zertifikat ist noch nicht gültig",
            "Das Zertifikat, das Ihr Gerät vorgelegt hat, wird erst später gültig.",
        ),
        Reason.CERTIFICATE_UNTRUSTED: (
            "Dieses Zertifikat wird nicht anerkannt",
            "Das Zertifikat, das Ihr Gerät vorgelegt hat, stammt nicht von einer Stelle, der hier vertraut wird.",
        ),
        Reason.CERTIFICATE_REVOKED: (
            "Ihr Zertifikat wurde gesperrt",
            "Das Zertifikat, das Ihr Gerät vorgelegt hat, wurde widerrufen und ist nicht mehr gültig.",
        ),
        Reason.CERTIFICATE_WRONG_USAGE: (
            "Dieses Zertifikat ist für einen anderen Zweck bestimmt",
            "Das Zertifikat, das Ihr Gerät vorgelegt hat, wurde nicht für die Anmeldung ausgestellt.",
        ),
        Reason.CERTIFICATE_NOT_ALLOWED: (
            "Kein Zugriff mit diesem Zertifikat",
            "Ihr Zertifikat ist gültig, berechtigt aber nicht zum Zugriff auf diese Seite.",
        ),
        Reason.USER_MISMATCH: (
            "Zertifikat und Anmeldung passen nicht zusammen",
            "Der Benutzername Ihrer Anmeldung gehört nicht zu dem Zertifikat, das Ihr Gerät vorgelegt hat.",
        ),
        Reason.DENIED_BY_RULE: (
            "Zugriff verweigert",
            "Der Zugriff auf diese Seite ist von Ihrem Standort aus nicht erlaubt.",
        ),
        Reason.NO_RULE: ("Zugriff verweigert", "Diese Seite ist von Ihrem Standort aus nicht zugänglich."),
        Reason.REVOCATION_UNKNOWN: (
            "Ihr Zertifikat kann nicht geprüft werden",
            "Zurzeit lässt sich nicht feststellen, ob Ihr Zertifikat noch gültig ist.",
        ),
        Reason.NOT_FOUND: ("Nicht gefunden", "Diese Adresse gibt es hier nicht."),
        Reason.METHOD_NOT_ALLOWED: (
            "Nicht unterstützte Anfrage",
            "Diese Adresse lässt sich auf diese Weise nicht abrufen.",
        ),
        Reason.REQUEST_TIMEOUT: ("Zu langsam", "Ihre Anfrage ist nicht rechtzeitig angekommen."),
        Reason.BODY_TOO_LARGE: ("Zu groß", "Die gesendeten Daten sind größer als hier erlaubt."),
        Reason.URI_TOO_LONG: ("Adresse zu lang", "Die Adresse ist länger als hier erlaubt."),
        Reason.EXPECTATION_FAILED: (
            "Nicht unterstützt",
            "Ihr Programm erwartet etwas, das hier nicht unterstützt wird.",
        ),
        Reason.HEADERS_TOO_LARGE: (
            "Anfrage zu groß",
            "Ihr Browser hat mehr Daten in den Kopfzeilen gesendet, als hier erlaubt sind.",
        ),
        Reason.HOST_MISMATCH: (
            "Falsche Verbindung",
            "Ihr Programm hat über die Verbindung zu einer Website eine andere Website angefragt.",
        ),
        Reason.LOCKED_OUT: (
            "Vorübergehend gesperrt",
            "Von Ihrer Netzwerkadresse kamen zu viele fehlgeschlagene Versuche.",
        ),
        Reason.TOO_MANY_CONNECTIONS: (
            "Zu viele Verbindungen",
            "Von Ihrer Netzwerkadresse sind zu viele Verbindungen geöffnet.",
        ),
        Reason.UPSTREAM_UNREACHABLE: (
            "Mailserver nicht erreichbar",
            "Der Server hinter dieser Seite ist nicht erreichbar.",
        ),
        Reason.UPSTREAM_BAD_RESPONSE: (
            "Fehler des Mailservers",
            "Der Server hinter dieser Seite hat keine verwertbare Antwort gesendet.",
        ),
        Reason.NO_HEALTHY_UPSTREAM: (
            "Dienst nicht verfügbar",
            "Zurzeit ist kein Server hinter dieser Seite in Betrieb.",
        ),
        Reason.UPSTREAM_TIMEOUT: (
            "Mailserver zu langsam",
            "Der Server hinter dieser Seite hat nicht rechtzeitig geantwortet.",
        ),
    },
    on_hold=(
        "Ihr Zertifikat ist vorläufig gesperrt",
        "Das Zertifikat, das Ihr Gerät vorgelegt hat, ist zurzeit ausgesetzt. Es kann wieder freigegeben werden.",
        "Bitten Sie um die Freigabe. Ein neues Zertifikat brauchen Sie nicht.",
    ),
    advice={
        "report": "Versuchen Sie es noch einmal. Wenn der Fehler wieder auftritt, melden Sie ihn mit der Anfragenummer "
        "unten.",
        "address": "Beginnen Sie auf der Startseite. Wenn Sie über einen Link oder eine Datei hierher gelangt sind, "
        "melden Sie das mit der Anfragenummer unten.",
        "install": "Installieren Sie Ihr persönliches Zertifikat auf diesem Gerät, schließen Sie alle Browserfenster, "
        "öffnen Sie die Seite erneut und wählen Sie das Zertifikat aus, wenn Sie gefragt werden. Wenn Sie "
        "keines haben, fordern Sie eines an.",
        "renew": "Fordern Sie ein neues Zertifikat an, installieren Sie es auf diesem Gerät und schließen Sie alle "
        "Browserfenster, bevor Sie es erneut versuchen.",
        "clock": "Prüfen Sie Datum und Uhrzeit Ihres Geräts. Wenn beides stimmt, warten Sie, bis das "
        "Zertifikat gültig wird.",
        "choose": "Wenn Sie ein anderes Zertifikat haben, schließen Sie alle Browserfenster und wählen Sie es aus. "
        "Andernfalls fordern Sie eines an.",
        "own": "Melden Sie sich mit dem Benutzernamen an, für den Ihr Zertifikat ausgestellt wurde, oder wählen Sie "
        "ein anderes Zertifikat.",
        "ask": "Wenn Sie diese Seite brauchen, bitten Sie um Zugriff und nennen Sie die Anfragenummer unten.",
        "later": "Versuchen Sie es in einigen Minuten erneut. Wenn das Problem bestehen bleibt, melden Sie es mit der "
        "Anfragenummer unten.",
        "again": "Laden Sie die Seite neu.",
        "smaller": "Senden Sie weniger Daten, zum Beispiel weniger oder kleinere Anhänge.",
        "cookies": "Löschen Sie die Cookies dieser Website in Ihrem Browser und versuchen Sie es erneut.",
        "wait": "Warten Sie einige Minuten und versuchen Sie es erneut.",
    },
    labels={
        "contact": "Hilfe",
        "request": "Anfragenummer",
        "whole": "Vollständige Nummer",
        "reason": "Grund",
        "certificate": "Zertifikat",
        "issuer": "Ausgestellt von",
        "from": "Gültig ab",
        "until": "Gültig bis",
        "detail": "Details",
        "unnamed": "(ohne Namen)",
    },
    details={
        "expired": "Abgelaufen am {when}",
        "not_yet_valid": "Erst ab {when} gültig",
        "ca_ended": "Die Zertifizierungsstelle {ca} ist am {when} abgelaufen",
        "ca_not_yet_valid": "Die Zertifizierungsstelle {ca} ist erst ab {when} gültig",
        "not_issued_by": "Nicht von einer Stelle ausgestellt, der diese Website vertraut, oder das Zwischenzertifikat "
        "wurde nicht gesendet (Aussteller {ca})",
        "not_issued": "Nicht von einer Stelle ausgestellt, der diese Website vertraut, oder das Zwischenzertifikat "
        "wurde nicht gesendet",
        "no_path": "Kein gültiger Pfad zu einer Zertifizierungsstelle, der diese Website vertraut",
        "weak_ca": "Schlüssel oder Signatur der Zertifizierungsstelle {ca} ist zu schwach",
        "weak": "Schlüssel oder Signatur des Zertifikats ist zu schwach",
        "unreadable": "Das Zertifikat lässt sich nicht lesen",
        "ca_may_not_name": "Die Zertifizierungsstelle {ca} darf keine Zertifikate für den Benutzer {user} ausstellen",
        "policy": "Eine Zertifikatsrichtlinie, die eine Zertifizierungsstelle verlangt, fehlt oder ist falsch",
        "issuer_is_no_ca": "{ca} hat dieses Zertifikat ausgestellt, ist aber keine Zertifizierungsstelle",
        "no_client_ca": "Diese Website vertraut keiner Zertifizierungsstelle",
        "is_a_ca": "Das Zertifikat einer Zertifizierungsstelle dient nicht zur Anmeldung",
        "no_client_auth": "Die erweiterte Schlüsselverwendung enthält clientAuth nicht",
        "no_signature": "Die Schlüsselverwendung enthält digitalSignature nicht",
        "ca_of_other_use": "Die Zertifizierungsstelle {ca} darf keine Zertifikate zur Anmeldung ausstellen",
        "ca_revoked": "Die Zertifizierungsstelle {ca} wurde gesperrt",
        "held_when": "Laut OCSP-Dienst am {when} vorläufig gesperrt",
        "held": "Von {ca} vorläufig gesperrt",
        "revoked_when": "Laut OCSP-Dienst am {when} gesperrt",
        "revoked": "Von {ca} gesperrt",
        "list_missing": "Eine Sperrliste von {ca} für dieses Zertifikat fehlt",
        "list_outdated": "Die Sperrliste von {ca} ist am {when} abgelaufen",
        "list_not_yet_valid": "Die Sperrliste von {ca} ist erst ab {when} gültig",
        "list_incomplete": "Die vollständige Sperrliste von {ca} fehlt",
        "ca_signs_no_lists": "{ca} darf keine Sperrlisten signieren",
        "list_key": "Der Schlüssel, mit dem die Sperrlisten von {ca} signiert sind, lässt sich nicht prüfen",
        "responder_knows_not": "Der OCSP-Dienst kennt das Zertifikat nicht",
        "responder": "Der OCSP-Dienst hat keine verwertbare Antwort gesendet",
        "condition_ca": "Hier sind nur Zertifikate einer anderen Zertifizierungsstelle zugelassen",
        "condition_subject": "Im Namen des Zertifikats passt kein {name} zu {value}",
        "condition_email": "Keine der E-Mail-Adressen des Zertifikats ist hier zugelassen",
        "condition_fingerprint": "Der Fingerabdruck des Zertifikats ist hier nicht zugelassen",
        "condition_device": "Das Gerät {device} ist hier nicht zugelassen",
        "condition_no_device": "Die ActiveSync-Anfrage nennt kein Gerät",
        "login_differs": "Der Benutzername {user} gehört nicht zum Zertifikat",
        "login_unreadable": "Der Benutzername der Anmeldung lässt sich nicht lesen",
        "login_hidden": "Eine frühere Anmeldung auf dieser Verbindung nennt ihren Benutzernamen nicht; eine neue "
        "Verbindung beginnt ohne Anmeldung",
        "denied": "Durch eine Regel verboten",
        "no_rule": "Keine Regel erlaubt es",
        "body_bytes": "Die Daten sind länger als {number} Bytes",
        "uri_bytes": "Die Adresse ist länger als {number} Bytes",
        "header_bytes": "Die Kopfzeilen sind zusammen länger als {number} Bytes",
        "header_fields": "Mehr als {number} Kopfzeilen",
        "request_seconds": "Die Anfrage war nicht innerhalb von {number} s vollständig",
        "locked_out": "Zu viele fehlgeschlagene Versuche von dieser Adresse",
        "connections": "Zu viele Verbindungen",
        "other_host": "Der Hostname gehört nicht zu dieser Verbindung",
        "not_published": "Unter diesem Namen ist hier nichts veröffentlicht",
        "expectation": "Expect mit einem anderen Wert als 100-continue",
        "destination": "Ziel (Destination): {detail}",
    },
)
