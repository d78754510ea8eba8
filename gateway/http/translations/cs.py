"""Czech."""

from __future__ import annotations

from typing import Final

from gateway.facts import Reason
from gateway.http.translations import Language

CZECH: Final = Language(
    code="cs",
    reasons={
        Reason.BAD_REQUEST: ("Chybný požadavek", "Váš program poslal požadavek, který neodpovídá protokolu HTTP."),
        Reason.URI_REJECTED: ("Adresa odmítnuta", "Adresu lze číst více způsoby, a proto byla odmítnuta."),
        Reason.CERTIFICATE_MISSING: (
            "Je potřeba certifikát",
            "Zvenčí se tato stránka otevře jen s osobním certifikátem a vaše zařízení žádný nepředložilo.",
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
            "Certifikát, který vaše zařízení předložilo, byl odvolán a už neplatí.",
        ),
        Reason.CERTIFICATE_WRONG_USAGE: (
            "Tento certifikát slouží k něčemu jinému",
            "Certifikát, který vaše zařízení předložilo, nebyl vydán pro přihlašování.",
        ),
        Reason.CERTIFICATE_NOT_ALLOWED: (
            "S tímto certifikátem to není dovoleno",
            "Váš certifikát je platný, ale tuto stránku neotevírá.",
        ),
        Reason.USER_MISMATCH: (
            "Certifikát a přihlášení se neshodují",
            "Uživatelské jméno vašeho přihlášení nepatří k certifikátu, který vaše zařízení předložilo.",
        ),
        Reason.DENIED_BY_RULE: ("Přístup odepřen", "Přístup na tuto stránku není z vašeho místa dovolen."),
        Reason.NO_RULE: ("Přístup odepřen", "Tato stránka není z vašeho místa nikomu přístupná."),
        Reason.REVOCATION_UNKNOWN: (
            "Váš certifikát nelze ověřit",
            "V tuto chvíli nelze zjistit, zda váš certifikát stále platí.",
        ),
        Reason.NOT_FOUND: ("Nenalezeno", "Na této adrese nic není."),
        Reason.METHOD_NOT_ALLOWED: ("To nejde", "To, co je na této adrese, nelze takto získat."),
        Reason.REQUEST_TIMEOUT: ("Příliš pomalé", "Váš požadavek nedorazil včas."),
        Reason.BODY_TOO_LARGE: ("Příliš velké", "To, co jste poslali, je větší, než je zde dovoleno."),
        Reason.URI_TOO_LONG: ("Příliš dlouhá adresa", "Adresa je delší, než je zde dovoleno."),
        Reason.EXPECTATION_FAILED: ("Nepodporováno", "Váš program očekává něco, co zde není podporováno."),
        Reason.HEADERS_TOO_LARGE: (
            "Příliš velký požadavek",
            "Váš prohlížeč poslal více údajů v hlavičkách, než je zde dovoleno.",
        ),
        Reason.HOST_MISMATCH: (
            "Nesprávné spojení",
            "Váš program se na spojení s jedním webem ptal na jiný.",
        ),
        Reason.LOCKED_OUT: ("Dočasně zablokováno", "Z vaší síťové adresy přišlo příliš mnoho neúspěšných pokusů."),
        Reason.TOO_MANY_CONNECTIONS: (
            "Příliš mnoho spojení",
            "Z vaší síťové adresy je otevřeno příliš mnoho spojení.",
        ),
        Reason.UPSTREAM_UNREACHABLE: ("Poštovní server je nedostupný", "Server za touto stránkou není dosažitelný."),
        Reason.UPSTREAM_BAD_RESPONSE: (
            "Chyba poštovního serveru",
            "Server za touto stránkou nedal použitelnou odpověď.",
        ),
        Reason.NO_HEALTHY_UPSTREAM: ("Služba není dostupná", "V tuto chvíli za touto stránkou nepracuje žádný server."),
        Reason.UPSTREAM_TIMEOUT: ("Poštovní server je příliš pomalý", "Server za touto stránkou neodpověděl včas."),
    },
    on_hold=(
        "Váš certifikát je pozastaven",
        "Certifikát, který vaše zařízení předložilo, teď dočasně neplatí. Může být znovu uvolněn.",
        "Požádejte o jeho uvolnění. Nový certifikát k tomu nepotřebujete.",
    ),
    advice={
        "report": "Zkuste to znovu. Pokud se to opakuje, nahlaste to s číslem požadavku uvedeným níže.",
        "address": "Začněte na úvodní stránce. Pokud vás sem přivedl odkaz nebo soubor, nahlaste to "
        "s číslem požadavku níže.",
        "install": "Nainstalujte si na toto zařízení svůj osobní certifikát, zavřete všechna okna prohlížeče, otevřete "
        "stránku znovu a na výzvu certifikát vyberte. Pokud žádný nemáte, požádejte o něj.",
        "renew": "Požádejte o nový certifikát, nainstalujte jej na toto zařízení a před dalším pokusem zavřete všechna "
        "okna prohlížeče.",
        "clock": "Zkontrolujte datum a čas na svém zařízení. Jsou-li správné, počkejte, až certifikát začne platit.",
        "choose": "Máte-li jiný certifikát, zavřete všechna okna prohlížeče a vyberte jej. Jinak o něj požádejte.",
        "own": "Přihlaste se uživatelským jménem, pro které byl váš certifikát vydán, nebo vyberte jiný certifikát.",
        "ask": "Pokud tuto stránku potřebujete, požádejte o přístup a uveďte číslo požadavku uvedené níže.",
        "later": "Zkuste to znovu za několik minut. Pokud to trvá, nahlaste to s číslem požadavku uvedeným níže.",
        "again": "Načtěte stránku znovu.",
        "smaller": "Pošlete něco menšího, například méně příloh nebo menší přílohy.",
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
        "detail": "Podrobnost",
        "unnamed": "(bez jména)",
    },
    details={
        "expired": "platnost skončila {when}",
        "not_yet_valid": "platí až od {when}",
        "ca_ended": "Certifikační autorita {ca} platila do {when}",
        "ca_not_yet_valid": "Certifikační autorita {ca} platí až od {when}",
        "not_issued_by": "nevydala jej autorita, které tento web důvěřuje, nebo nebyl odeslán mezilehlý certifikát "
        "(vydavatel {ca})",
        "not_issued": "nevydala jej autorita, které tento web důvěřuje, nebo nebyl odeslán mezilehlý certifikát",
        "no_path": "k autoritě, které tento web důvěřuje, nevede platná cesta",
        "weak_ca": "klíč nebo podpis certifikační autority {ca} je příliš slabý",
        "weak": "klíč nebo podpis certifikátu je příliš slabý",
        "unreadable": "certifikát nelze přečíst",
        "ca_may_not_name": "Certifikační autorita {ca} nesmí vydávat pro uživatele {user}",
        "policy": "certifikační politika, kterou autorita vyžaduje, chybí nebo je chybná",
        "issuer_is_no_ca": "{ca} vydala tento certifikát a není certifikační autorita",
        "no_client_ca": "tento web nedůvěřuje žádné certifikační autoritě",
        "is_a_ca": "certifikát certifikační autority neslouží k přihlašování",
        "no_client_auth": "rozšířené použití klíče neobsahuje clientAuth",
        "no_signature": "použití klíče neobsahuje digitalSignature",
        "ca_of_other_use": "Certifikační autorita {ca} nevydává certifikáty k přihlašování",
        "ca_revoked": "Certifikační autorita {ca} byla zneplatněna",
        "held_when": "podle služby OCSP pozastaven {when}",
        "held": "pozastavila jej autorita {ca}",
        "revoked_when": "podle služby OCSP zneplatněn {when}",
        "revoked": "zneplatnila jej autorita {ca}",
        "list_missing": "chybí seznam zneplatněných certifikátů autority {ca} pro tento certifikát",
        "list_outdated": "seznam zneplatněných certifikátů autority {ca} přestal platit {when}",
        "list_not_yet_valid": "seznam zneplatněných certifikátů autority {ca} platí až od {when}",
        "list_incomplete": "chybí úplný seznam zneplatněných certifikátů autority {ca}",
        "ca_signs_no_lists": "{ca} nesmí podepisovat seznamy zneplatněných certifikátů",
        "list_key": "klíč, který podepisuje seznamy autority {ca}, nelze ověřit",
        "responder_knows_not": "služba OCSP tento certifikát nezná",
        "responder": "služba OCSP nedala použitelnou odpověď",
        "condition_ca": "zde platí certifikáty jiné certifikační autority",
        "condition_subject": "ve jménu certifikátu chybí {name} jako {value}",
        "condition_email": "žádná e-mailová adresa certifikátu zde není povolena",
        "condition_fingerprint": "otisk certifikátu zde není povolen",
        "condition_device": "zařízení {device} zde není povoleno",
        "condition_no_device": "požadavek ActiveSync neuvádí zařízení",
        "login_differs": "uživatelské jméno {user} k certifikátu nepatří",
        "login_unreadable": "uživatelské jméno přihlášení nelze přečíst",
        "login_hidden": "dřívější přihlášení na tomto spojení neuvádí uživatelské jméno; nové spojení začíná bez "
        "přihlášení",
        "denied": "zakazuje to pravidlo",
        "no_rule": "žádné pravidlo to nepovoluje",
        "body_bytes": "data jsou delší než {number} bajtů",
        "uri_bytes": "adresa je delší než {number} bajtů",
        "header_bytes": "hlavičky jsou delší než {number} bajtů",
        "header_fields": "více než {number} hlaviček",
        "request_seconds": "požadavek nebyl úplný do {number} s",
        "locked_out": "příliš mnoho neúspěšných pokusů z této adresy",
        "connections": "příliš mnoho spojení",
        "other_host": "jméno serveru nepatří k tomuto spojení",
        "not_published": "pod tímto jménem zde není nic zveřejněno",
        "expectation": "jiné Expect než 100-continue",
        "destination": "cíl (Destination): {detail}",
    },
)
