"""Reads the section of the certificate registry: where it is, and what the gateway does for it automatically.

The commands for certificates read this section too. The files that it names are checked only for serving.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from shlex import quote as for_shell
from types import MappingProxyType
from typing import Any, Final

from gateway.access import exists
from gateway.config.addresses import Unreadable, parse_mail_server
from gateway.config.alerts import build_alerts
from gateway.config.certificates import Material
from gateway.config.model import KeptAuthority, Mail, Pki
from gateway.config.problems import Place, Problems, quote
from gateway.config.reading import Value
from gateway.config.upstreams import given
from gateway.config.yaml_text import as_yaml_list
from gateway.errors import ConfigError
from gateway.x509.loading import is_readable_by_all, read_file
from gateway.x509.revocation_list import RevocationList

ListFile = tuple[Place, Path, tuple[RevocationList, ...]]
SQLITE: Final = "sqlite:///"
DEFAULT_FOLDER: Final = "pki"
_WATCHED: Final = ("authorities", "warn", "mail")  # with one of these the gateway watches the registry
_PORTS: Final = MappingProxyType({"starttls": 587, "implicit": 465, "none": 25})


def build_pki(root: Value, folder: Path, problems: Problems) -> Pki | None:
    """The registry's settings, None without such a section. Relative paths are relative to `folder`."""
    section = root.get("pki")
    store = None if section is None else section.get("store")
    if section is None or store is None:  # a faulty one is reported
        return None
    url = absolute_store(str(store.data), folder)
    files = section.plain("folder", None)
    before = {item.data for item in section.section("warn").items("before")}
    warn: dict[str, Any] = {"warn_before_seconds": tuple(sorted(before, reverse=True))} if before else {}
    return Pki(
        store=url,
        folder=default_folder(url, folder) if files is None else folder / str(files),
        authorities=tuple(
            KeptAuthority(name, folder / str(file.data), value.place.mark.line)
            for name, value in section.section("authorities").data.items()
            if (file := value.get("passphrase_file")) is not None
        ),
        mail=_mail(section.get("mail"), folder, problems),
        alerts=build_alerts(section.get("alerts")),
        is_watched=any(section.get(key) is not None for key in _WATCHED),
        **warn,
    )


def check_pki(root: Value, material: Material, problems: Problems) -> None:
    """Report the files of the section that can't be used."""
    section = root.section("pki")
    for value in section.section("authorities").data.values():
        if material.reads_keys and (file := value.get("passphrase_file")) is not None:
            _check_passphrase(file, material.path(file), problems)
    if (ca := section.section("mail").get("ca")) is not None:
        material.certificates(ca)
    if (folder := section.get("folder")) is not None:
        material.path(folder)
    if (store := section.get("store")) is not None and str(store.data).startswith(SQLITE):
        material.permissions.check(material.folder / str(store.data).removeprefix(SQLITE), store.place)


def warn_of_lists(root: Value, files: Iterable[ListFile], folder: Path, problems: Problems) -> None:
    """Warn of lists that the gateway doesn't renew, because their authority is not in `pki.authorities`.

    If `pki.authorities` has entries, only lists in the registry's folder are checked. Others come from elsewhere.
    """
    pki = build_pki(root, folder, Problems(problems.file))
    if pki is None:
        return
    kept = {authority.name for authority in pki.authorities}
    for place, path, lists in files:
        owner = path.parent.name if path.parent.parent == pki.folder else None
        if not lists or owner in kept or (kept and owner is None):
            continue
        end = min(entry.next_update for entry in lists)
        cause = f"the gateway doesn't renew this list, which ends {end:%Y-%m-%d %H:%M:%S} UTC"
        where = "under pki.authorities, with its passphrase_file"
        remedy = f"write {owner} {where}" if owner else f"write its authority {where}, or write the list's URL here"
        problems.warning(place, cause, remedy)


def warn_of_unchecked(root: Value, folder: Path, problems: Problems) -> None:
    """Warn of a site that trusts an authority of the registry without its list: revoked certificates are let in."""
    pki = build_pki(root, folder, Problems(problems.file))
    if pki is None:
        return
    for site in root.items("sites"):
        if "crl" in site.keys or site.section("ocsp").plain("mode", "off") != "off":
            continue
        for item in site.items("client_ca"):
            path = folder / str(item.data)
            own = path.with_suffix(".crl")
            if path.parent.parent == pki.folder and path.stem == path.parent.name and exists(own):
                cause = f"no revocation list is used here, so certificates that {quote(path.stem)} revokes are let in"
                written = str(Path(str(item.data)).with_suffix(".crl"))
                problems.warning(item.place, cause, f"add crl: {as_yaml_list([written])} to this site")


def _check_passphrase(value: Value, path: Path, problems: Problems) -> None:
    try:
        read_file(path)
    except ConfigError as error:
        problems.error(value.place, error.cause, error.remedy)
        return
    if is_readable_by_all(path):
        cause = f"every user of this machine can read {path}, and could sign with it and the authority's key"
        problems.error(value.place, cause, f"run: chmod o= {for_shell(str(path))}")


def _mail(section: Value | None, folder: Path, problems: Problems) -> Mail | None:
    server = None if section is None else section.get("server")
    sender = None if section is None else section.get("from")
    if section is None or server is None:
        return None
    try:
        host, port = parse_mail_server(str(server.data))
    except Unreadable as error:
        problems.error(server.place, error.cause, error.remedy)
        return None
    if sender is None:
        return None
    ca = section.get("ca")
    mail = Mail(
        host=host,
        port=port or _PORTS[section.plain("tls", "starttls")],
        sender=str(sender.data),
        ca=None if ca is None else folder / str(ca.data),
        admins=tuple(dict.fromkeys(str(item.data) for item in section.items("admin"))),
        **given(section, {"tls": "tls", "username": "username", "password": "password", "to_users": "to_users"}),
    )
    _check_mail(section, mail, problems)
    return mail


def _check_mail(section: Value, mail: Mail, problems: Problems) -> None:
    faulty = {key for key in ("username", "password") if key in section.keys and key not in section.data}
    if (mail.username is None) != (mail.password is None) and not faulty:
        given_one, missing = ("username", "password") if mail.password is None else ("password", "username")
        problems.error(section.at(given_one), f"{given_one} has no {missing}", f"add {missing}, or remove {given_one}")
    if not mail.to_users and not mail.admins:
        problems.error(
            section.place,
            "no mail would be sent: admin is empty, and to_users is false",
            "add admin, or remove to_users: false",
        )
    if mail.tls != "none":
        return
    if mail.ca is not None:
        problems.warning(section.at("ca"), "ca has no effect without TLS", "remove ca, or tls: none")
    if _is_this_machine(mail.host):
        return
    if mail.password is not None:
        cause = f"the password would be sent to {mail.host} unencrypted"
        problems.error(section.at("tls"), cause, "write starttls or implicit")
    else:
        problems.warning(section.at("tls"), f"mails are sent to {mail.host} unencrypted", "write starttls or implicit")


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def absolute_store(store: str, folder: Path) -> str:
    """The registry's URL with a relative SQLite file put into `folder`."""
    if store.startswith(SQLITE):
        return f"{SQLITE}{folder / store.removeprefix(SQLITE)}"
    return store


def default_folder(store: str, folder: Path) -> Path:
    """The default folder of the authorities' files: that of a SQLite registry, otherwise `pki` in `folder`."""
    if store.startswith(SQLITE):
        return (folder / store.removeprefix(SQLITE)).parent
    return folder / DEFAULT_FOLDER
