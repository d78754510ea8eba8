"""The refusal pages in Czech."""

from __future__ import annotations

from typing import Final

from gateway.facts import Reason
from gateway.http.translations import Language

CZECH: Final = Language(
    code="cs",
    reasons={
        Reason.BAD_REQUEST: ("Chybný požadavek", "Váš program poslal požadavek, který neodpovídá protokolu HTTP."),
        Reason.URI_REJECTED: ("Adresa odmítnuta", "Adresu lze vyložit více způsoby, a proto byla odmítnuta."),
        Reason.CERTIFICATE_MISSING: (
            "Je potřeba certifikát",
            "Zvenčí lze tuto stránku otevřít jen s osobním certifikátem. Vaše zařízení žádný nepředložilo.",
        ),
        Reason.CERTIFICATE_EXPIRED: (
            "Platnost vašeho certifikátu skončila",
            "Certifikát, který vaše zařízení předložilo, už neplatí.",
        ),
        Reason.CERTIFICATE_NOT_YET_VALID: (
            "Váš certifikát ještě neplatí",
            "Certifikát, který vaše zařízení předložilo, začne platit až později.",
        ),
        Reason.CERTIFICATE_UNTRUSTED: (
            "Tento certifikát se neuznává",
            "Certifikát, který vaše zařízení předložilo, nevydala autorita, které se zde důvěřuje.",
        ),
        Reason.CERTIFICATE_REVOKED: (
            "Váš certifikát byl zneplatněn",
            "Certifikát, který vaše zařízení předložilo, byl zneplatněn a už neplatí.",
        ),
        Reason.CERTIFICATE_WRONG_USAGE: (
            "Tento certifikát je určen k jinému účelu",
            "Certifikát, který vaše zařízení předložilo, nebyl vydán pro přihlašování.",
        ),
        Reason.CERTIFICATE_NOT_ALLOWED: (
            "Přístup s tímto certifikátem není povolen",
            "Váš certifikát je platný, ale k přístupu na tuto stránku neopravňuje.",
        ),
        Reason.USER_MISMATCH: (
            "Certifikát a přihlášení se neshodují",
            "Uživatelské jméno z přihlášení nepatří k certifikátu, který vaše zařízení předložilo.",
        ),
        Reason.DENIED_BY_RULE: (
            "Přístup odepřen",
            "Z místa, odkud se připojujete, není přístup na tuto stránku povolen.",
        ),
        Reason.NO_RULE: ("Přístup odepřen", "Z místa, odkud se připojujete, není tato stránka přístupná."),
        Reason.REVOCATION_UNKNOWN: (
            "Váš certifikát nelze ověřit",
            "V tuto chvíli nelze zjistit, zda váš certifikát stále platí.",
        ),
        Reason.NOT_FOUND: ("Nenalezeno", "Na této adrese nic není."),
        Reason.METHOD_NOT_ALLOWED: ("Nepodporovaný požadavek", "Tuto adresu nelze tímto způsobem načíst."),
        Reason.REQUEST_TIMEOUT: ("Příliš pomalý požadavek", "Váš požadavek nedorazil včas."),
        Reason.BODY_TOO_LARGE: ("Příliš mnoho dat", "Odeslaná data jsou větší, než je zde povoleno."),
        Reason.URI_TOO_LONG: ("Příliš dlouhá adresa", "Adresa je delší, než je zde povoleno."),
        Reason.EXPECTATION_FAILED: ("Nepodporováno", "Váš program očekává něco, co zde není podporováno."),
        Reason.HEADERS_TOO_LARGE: (
            "Příliš velký požadavek",
            "Váš prohlížeč poslal v hlavičkách více dat, než je zde povoleno.",
        ),
        Reason.HOST_MISMATCH: (
            "Nesprávné spojení",
            "Váš program si přes spojení s jedním webem vyžádal jiný web.",
        ),
        Reason.LOCKED_OUT: ("Dočasně zablokováno", "Z vaší síťové adresy přišlo příliš mnoho neúspěšných pokusů."),
        Reason.TOO_MANY_CONNECTIONS: (
            "Příliš mnoho spojení",
            "Z vaší síťové adresy je otevřeno příliš mnoho spojení.",
        ),
        Reason.UPSTREAM_UNREACHABLE: (
            "Poštovní server je nedostupný",
            "K serveru, který tuto stránku poskytuje, se nelze připojit.",
        ),
        Reason.UPSTREAM_BAD_RESPONSE: (
            "Chyba poštovního serveru",
            "Server, který tuto stránku poskytuje, neposlal použitelnou odpověď.",
        ),
        Reason.NO_HEALTHY_UPSTREAM: (
            "Služba není dostupná",
            "V tuto chvíli není v provozu žádný server, který tuto stránku poskytuje.",
        ),
        Reason.UPSTREAM_TIMEOUT: (
            "Poštovní server je příliš pomalý",
            "Server, který tuto stránku poskytuje, neodpověděl včas.",
        ),
    },
    on_hold=(
        "Váš certifikát je pozastaven",
        "Certifikát, který vaše zařízení předložilo, je dočasně pozastaven. Jeho platnost lze obnovit.",
        "Požádejte o obnovení jeho platnosti. Nový certifikát nepotřebujete.",
    ),
    advice={
        "report": "Zkuste to znovu. Pokud se to opakuje, nahlaste to s číslem požadavku uvedeným níže.",
        "address": "Začněte na úvodní stránce. Pokud vás sem přivedl odkaz nebo soubor, nahlaste to "
        "s číslem požadavku uvedeným níže.",
        "install": "Nainstalujte si na toto zařízení svůj osobní certifikát, zavřete všechna okna prohlížeče, otevřete "
        "stránku znovu a na výzvu certifikát vyberte. Pokud žádný nemáte, požádejte o něj.",
        "renew": "Požádejte o nový certifikát, nainstalujte jej na toto zařízení a před dalším pokusem zavřete všechna "
        "okna prohlížeče.",
        "clock": "Zkontrolujte datum a čas na svém zařízení. Pokud jsou správné, počkejte, až certifikát začne platit.",
        "choose": "Pokud máte jiný certifikát, zavřete všechna okna prohlížeče a vyberte jej. Jinak o nový požádejte.",
        "own": "Přihlaste se uživatelským jménem, pro které byl váš certifikát vydán, nebo vyberte jiný certifikát.",
        "ask": "Pokud tuto stránku potřebujete, požádejte o přístup a uveďte číslo požadavku uvedené níže.",
        "later": "Zkuste to znovu za několik minut. Pokud potíže přetrvávají, nahlaste je s číslem požadavku "
        "uvedeným níže.",
        "again": "Načtěte stránku znovu.",
        "smaller": "Pošlete méně dat, například méně příloh nebo menší přílohy.",
        "cookies": "Smažte v prohlížeči soubory cookie tohoto webu a zkuste to znovu.",
        "wait": "Počkejte několik minut a zkuste to znovu.",
    },
    labels={
        "contact": "Pomoc",
        "request": "Číslo požadavku",
        "whole": "Úplné číslo",
        "reason": "Důvod",
        "certificate": "Certifikát",
        "issuer": "Vydal",
        "from": "Platí od",
        "until": "Platí do",
        "detail": "Podrobnosti",
        "unnamed": "(bez jména)",
    },
    details={
        "expired": "Platnost skončila {when}",
        "not_yet_valid": "Platí až od {when}",
        "ca_ended": "Platnost certifikační autority {ca} skončila {when}",
        "ca_not_yet_valid": "Certifikační autorita {ca} platí až od {when}",
        "not_issued_by": "Nevydala jej autorita, které tento web důvěřuje, nebo nebyl odeslán mezilehlý certifikát "
        "(vydavatel {ca})",
        "not_issued": "Nevydala jej autorita, které tento web důvěřuje, nebo nebyl odeslán mezilehlý certifikát",
        "no_path": "K autoritě, které tento web důvěřuje, nevede platná cesta",
        "weak_ca": "Klíč nebo podpis certifikační autority {ca} je příliš slabý",
        "weak": "Klíč nebo podpis certifikátu je příliš slabý",
        "unreadable": "Certifikát nelze přečíst",
        "ca_may_not_name": "Certifikační autorita {ca} nesmí vydávat certifikáty pro uživatele {user}",
        "policy": "Certifikační politika, kterou autorita vyžaduje, chybí nebo je chybná",
        "issuer_is_no_ca": "Tento certifikát vydal {ca}, což není certifikační autorita",
        "no_client_ca": "Tento web nedůvěřuje žádné certifikační autoritě",
        "is_a_ca": "Certifikát certifikační autority neslouží k přihlašování",
        "no_client_auth": "Rozšířené použití klíče neobsahuje clientAuth",
        "no_signature": "Použití klíče neobsahuje digitalSignature",
        "ca_of_other_use": "Certifikační autorita {ca} nesmí vydávat certifikáty k přihlašování",
        "ca_revoked": "Certifikační autorita {ca} byla zneplatněna",
        "held_when": "Podle služby OCSP pozastaven {when}",
        "held": "Pozastavila jej autorita {ca}",
        "revoked_when": "Podle služby OCSP zneplatněn {when}",
        "revoked": "Zneplatnila jej autorita {ca}",
        "list_missing": "Chybí seznam zneplatněných certifikátů autority {ca} pro tento certifikát",
        "list_outdated": "Platnost seznamu zneplatněných certifikátů autority {ca} skončila {when}",
        "list_not_yet_valid": "Seznam zneplatněných certifikátů autority {ca} platí až od {when}",
        "list_incomplete": "Chybí úplný seznam zneplatněných certifikátů autority {ca}",
        "ca_signs_no_lists": "{ca} nesmí podepisovat seznamy zneplatněných certifikátů",
        "list_key": "Klíč, kterým jsou podepsány seznamy autority {ca}, nelze ověřit",
        "responder_knows_not": "Služba OCSP tento certifikát nezná",
        "responder": "Služba OCSP neposlala použitelnou odpověď",
        "condition_ca": "Zde jsou povoleny jen certifikáty jiné certifikační autority",
        "condition_subject": "Ve jménu certifikátu chybí {name} odpovídající {value}",
        "condition_email": "Žádná e-mailová adresa z certifikátu zde není povolena",
        "condition_fingerprint": "Otisk certifikátu zde není povolen",
        "condition_device": "Zařízení {device} zde není povoleno",
        "condition_no_device": "Požadavek ActiveSync neuvádí zařízení",
        "login_differs": "Uživatelské jméno {user} k certifikátu nepatří",
        "login_unreadable": "Uživatelské jméno z přihlášení nelze přečíst",
        "login_hidden": "Dřívější přihlášení na tomto spojení neuvádí uživatelské jméno; nové spojení začíná bez "
        "přihlášení",
        "denied": "Zakazuje to pravidlo",
        "no_rule": "Žádné pravidlo to nepovoluje",
        "body_bytes": "Data jsou delší než {number} bajtů",
        "uri_bytes": "Adresa je delší než {number} bajtů",
        "header_bytes": "Hlavičky jsou dohromady delší než {number} bajtů",
        "header_fields": "Více než {number} hlaviček",
        "request_seconds": "Požadavek nebyl úplný do {number} s",
        "locked_out": "Příliš mnoho neúspěšných pokusů z této adresy",
        "connections": "Příliš mnoho spojení",
        "other_host": "Jméno serveru nepatří k tomuto spojení",
        "not_published": "Pod tímto názvem zde není nic zveřejněno",
        "expectation": "Expect s jinou hodnotou než 100-continue",
        "destination": "Cíl (Destination): {detail}",
    },
)
