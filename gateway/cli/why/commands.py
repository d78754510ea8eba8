"""The commands that help, ready to be copied into a shell. Each builder returns None if it doesn't know enough.

Names from certificates and clients go into a command only if a shell reads them as they are; a serial number, a
fingerprint or an address stands for others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from types import MappingProxyType
from typing import Final

from gateway.cli.why.lines import login_of, path_of
from gateway.cli.why.registry import Certificate, Registry
from gateway.facts import parse_address
from gateway.logs.entry import Entry
from gateway.policy.binding import is_address
from gateway.request_number import short_number

_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+=-]*")
_PATH: Final = re.compile(r"/[A-Za-z0-9/._~-]*")
_HEX: Final = re.compile(r"[0-9A-Fa-f]+")
_HOST: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")


@dataclass(frozen=True, slots=True)
class Known:
    """What a command may need."""

    entry: Entry  # the refusal
    who: str
    registry: Registry
    certificate: Certificate | None = None  # the refused one, or the person's
    successor: Certificate | None = None
    config: Path | None = None
    store: str | None = None
    files: tuple[Path, ...] = ()
    locked_out: str | None = None  # the address or fingerprint that is locked out
    authority: str | None = None  # whose list has ended
    address: str | None = field(default=None)

    @property
    def desk(self) -> str:
        """The options of `gateway cert` and `gateway ca` for the registry that was read."""
        if self.config is not None:
            return f" -c {quote(str(self.config))}"
        return "" if self.store is None or "@" in self.store else f" --store {quote(self.store)}"

    @property
    def service(self) -> str:
        """The option for the configuration."""
        return "" if self.config is None else f" -c {quote(str(self.config))}"

    @property
    def log(self) -> str:
        """The files that were read."""
        if not self.files:
            return self.service
        return "".join(f" {quote(str(file))}" for file in self.files)


def _plain(text: str | None) -> str | None:
    return text if text is not None and _PLAIN.fullmatch(text) else None


def _address(known: Known) -> str | None:
    try:
        return str(parse_address(known.entry.client_ip or ""))
    except ValueError:
        return None


def _fingerprint(known: Known) -> str | None:
    text = known.entry.cert_fingerprint
    return text if text is not None and _HEX.fullmatch(text) else None


def _person(known: Known) -> str | None:
    certificate = known.certificate
    names = (certificate.email if certificate else None, known.entry.cert_email, known.who, login_of(known.entry))
    return next((name for name in names if name and is_address(name) and _plain(name)), None)


def _show(known: Known) -> str | None:
    return None if known.certificate is None else f"gateway cert{known.desk} show {known.certificate.serial}"


def _show_new(known: Known) -> str | None:
    return None if known.successor is None else f"gateway cert{known.desk} show {known.successor.serial}"


def _renew(known: Known) -> str | None:
    certificate = known.certificate
    if certificate is None or certificate.superseded is not None or certificate.status not in {"live", "expired"}:
        return None
    return f"gateway cert{known.desk} renew {certificate.serial}"


def _issue(known: Known) -> str | None:
    person = _person(known)
    names = [each.name for each in known.registry.authorities if not each.is_revoked]
    if person is None or not names or (known.certificate is not None and known.certificate.status == "live"):
        return None
    return f"gateway cert{known.desk} issue {person} --ca {quote(_authority(known) or names[0])}"


def _reissue(known: Known) -> str | None:
    if known.certificate is None or known.registry.problem is not None:
        return None
    name = known.certificate.email
    if name is None or not is_address(name) or not _plain(name):
        return None
    return f"gateway cert{known.desk} issue {name} --ca {quote(known.certificate.authority)}"


def _authority(known: Known) -> str | None:
    return known.certificate.authority if known.certificate is not None else None


def _unhold(known: Known) -> str | None:
    if known.certificate is None or known.certificate.status != "held":
        return None
    return f"gateway cert{known.desk} unhold {known.certificate.serial}"


def _certificates(known: Known) -> str | None:
    person = _person(known) or _plain(known.who) or _plain(login_of(known.entry)) or _plain(known.entry.common_name)
    if known.registry.problem is not None or person is None:
        return None
    return f"gateway cert{known.desk} list --user {person}"


def _authorities(known: Known) -> str | None:
    return None if known.registry.problem is not None else f"gateway ca{known.desk} list"


def _crl(known: Known) -> str | None:
    return None if known.authority is None else f"gateway ca{known.desk} crl {quote(known.authority)}"


def _unban(known: Known) -> str | None:
    who = known.locked_out or _address(known)
    return None if who is None else f"gateway status{known.service} --unban {quote(who)}"


def _explain(known: Known) -> str | None:
    host, path, address = known.entry.host or known.entry.site, path_of(known.entry), _address(known)
    host = (host or "").partition(":")[0]
    if known.config is None or address is None or not _HOST.fullmatch(host) or not _PATH.fullmatch(path):
        return None
    method = known.entry.method or "GET"
    options = "" if method == "GET" or not method.isalpha() else f" -X {method}"
    user = _plain(known.entry.user)
    options += "" if user is None else f" --user {user}"
    return f"gateway explain{known.service} https://{host}{path} --ip {address}{options}"


def _rule(known: Known) -> str | None:
    rule = known.entry.rule
    if rule is None or not rule.isprintable() or rule.startswith("-"):
        return None
    return f"gateway logs --rule {quote(rule)}{known.log}"


def _device(known: Known) -> str | None:
    device = _plain(known.entry.device_id)
    return None if device is None else f"gateway logs --device {device}{known.log}"


def _certificate_lines(known: Known) -> str | None:
    fingerprint = _fingerprint(known)
    return None if fingerprint is None else f"gateway logs --cert {fingerprint}{known.log}"


def _wrong_passwords(known: Known) -> str | None:
    login = _plain(known.entry.user) or _plain(login_of(known.entry))
    if login is not None:
        return f"gateway logs --user {login} --status 401{known.log}"
    address = _address(known)
    return None if address is None else f"gateway logs --ip {address} --status 401{known.log}"


def _address_lines(known: Known) -> str | None:
    address = _address(known)
    return None if address is None else f"gateway logs --ip {address} --all{known.log}"


def _server_lines(known: Known) -> str | None:
    return f"gateway logs --status 5xx --since 1h{known.log}"


def _line(known: Known) -> str | None:
    number = known.entry.request_id
    if number is None or not _HEX.fullmatch(number):
        return _address_lines(known)
    return f"gateway logs --request {short_number(number)} --json{known.log}"


def _status(known: Known) -> str | None:
    return None if known.config is None else f"gateway status{known.service}"


def _check(known: Known) -> str | None:
    return None if known.config is None else f"gateway check{known.service}"


def _clock(_: Known) -> str | None:
    return "date -u"


Builder = Callable[[Known], str | None]

COMMANDS: Final[Mapping[str, Builder]] = MappingProxyType(
    {
        "show": _show,
        "show_new": _show_new,
        "renew": _renew,
        "issue": _issue,
        "reissue": _reissue,
        "unhold": _unhold,
        "certificates": _certificates,
        "authorities": _authorities,
        "crl": _crl,
        "unban": _unban,
        "explain": _explain,
        "rule": _rule,
        "device": _device,
        "certificate_lines": _certificate_lines,
        "wrong_passwords": _wrong_passwords,
        "address_lines": _address_lines,
        "server_lines": _server_lines,
        "line": _line,
        "status": _status,
        "check": _check,
        "clock": _clock,
    }
)


def command_of(names: tuple[str, ...], known: Known) -> str | None:
    """The first command that can be written."""
    return next((command for name in names if (command := COMMANDS[name](known)) is not None), None)
