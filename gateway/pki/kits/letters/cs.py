"""The letter in Czech."""

from __future__ import annotations

from typing import Final

from gateway.pki.kits.letters.wording import Wording
from gateway.pki.words import KitKind

CZECH: Final = Wording(
    title="Certifikát pro {name}",
    heading="Váš certifikát pro {host}",
    purpose='{name}: s tímto certifikátem se zvenku dostanete ke své poště na adrese <a href="{url}">{url}</a>.',
    purpose_mail="{name}: tímto certifikátem podepisujete poštu a čtete, co pro vás ostatní zašifrovali.",
    by_hand="Zadejte heslo, které jste dostali zvlášť.",
    password="Heslo je <code>{password}</code>.",  # noqa: S106 - a template
    trust="V části Obecné, Informace, Nastavení důvěryhodnosti certifikátů zapněte kořenový certifikát.",
    open_page="Otevřete {url} a vyberte svůj certifikát.",
    keep="Soubor ani heslo nikomu nepředávejte. Ztratíte-li zařízení, ihned sdělte podpoře sériové číslo.",
    address="Adresa",
    until="Platí do",
    date="{date.day}. {date.month}. {date.year}",
    serial="Sériové číslo",
    help="Pomoc",
    steps={
        KitKind.IOS: (
            "Otevřete {stem_for_kind}.mobileconfig na iPhonu nebo iPadu, v Souborech, Safari nebo ve zprávě.",
            "V Nastavení klepněte na stažený profil a pak na Instalovat.",
            "{password}",
            "{trust}",
            "{ready}",
        ),
        KitKind.MACOS: (
            "Otevřete {stem_for_kind}.mobileconfig, pak Nastavení systému, „Profily“, a nainstalujte jej.",
            "{password}",
            "{ready}",
        ),
        KitKind.WINDOWS: (
            "Uložte všechny soubory do jedné složky. Pokud přišly v archivu ZIP, rozbalte jej.",
            "Klikněte pravým tlačítkem na {stem}.ps1 a zvolte „Spustit pomocí prostředí PowerShell“.",
            "Až se systém Windows zeptá na kořenový certifikát, odpovězte Ano.",
            "{password}",
            "{ready}",
        ),
        KitKind.ANDROID: (
            "Zkopírujte {p12} a root.cer do telefonu.",
            "V Nastavení vyhledejte „Nainstalovat certifikát“. Soubor root.cer nainstalujte jako certifikát CA.",
            "Pak nainstalujte {p12} jako „Certifikát uživatele VPN a aplikací“.",
            "{password}",
            "V poštovní aplikaci přidejte účet Exchange pro {email}, server {host}, a vyberte certifikát.",
        ),
        KitKind.FIREFOX: (
            "Firefox: Nastavení, Soukromí a zabezpečení, „Zobrazit certifikáty“, Autority, Importovat: root.crt.",
            "Ve stejném okně: Osobní, Importovat: {p12}.",
            "{password}",
            "{open}",
        ),
        KitKind.CHROME: (
            (
                "Chrome: Nastavení, Ochrana soukromí a zabezpečení, Zabezpečení, „Spravovat certifikáty“. "
                "Importujte root.crt jako autoritu."
            ),
            "V části Vaše certifikáty importujte {p12}.",
            "{password}",
            "{open}",
        ),
        KitKind.THUNDERBIRD: (
            "Thunderbird: Nastavení, Soukromí a zabezpečení, „Správa certifikátů“, Autority, Importovat: root.crt.",
            "Ve stejném okně: Osobní, Importovat: {p12}.",
            "{password}",
            "V nastavení účtu, Koncové šifrování, vyberte certifikát pro podepisování a šifrování.",
        ),
    },
    logged_in={
        KitKind.IOS: "Otevřete Mail. Účet je tam; jednou se zeptá na heslo vaší schránky.",
        KitKind.MACOS: "Otevřete Mail, nebo {url} v Safari.",
        KitKind.WINDOWS: "Otevřete {url} v prohlížeči Edge nebo Chrome a vyberte svůj certifikát.",
    },
    mail_only={
        KitKind.IOS: "V Nastavení otevřete svůj poštovní účet, Pokročilé, a v části S/MIME vyberte certifikát.",
        KitKind.MACOS: "Otevřete Mail a napište zprávu: vedle předmětu ji můžete podepsat a zašifrovat.",
        KitKind.WINDOWS: "V Outlooku: Soubor, Možnosti, Centrum zabezpečení, Zabezpečení e-mailu; vyberte certifikát.",
    },
)
