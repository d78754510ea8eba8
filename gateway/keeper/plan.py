"""The keeper's task. The master sends it over the channel, because arguments of processes are visible to all users.

Keeps true: this module imports only what workers may hold, because the master imports it and workers are its forks.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from gateway.commands import options_for
from gateway.config.list_folder import list_folder
from gateway.config.model import Alerts, Config, Mail, Pki
from gateway.x509.names import fingerprint_of

# A revocation list has hours or days left when it is due, and warnings come at least a day ahead.
ROUND_SECONDS: Final = 60.0
ALERTS_FILE: Final = "alerts.json"  # in the folder of the gateway's state


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertPlan:
    """What is alerted of, by what the access log shows."""

    settings: Alerts
    log: Path
    state: Path  # the file in which the keeper remembers what it has seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The part of the configuration that concerns the keeper."""

    store: str = field(repr=False)
    folder: Path
    passphrase_files: dict[str, Path]  # by name, of the authorities whose lists the keeper renews
    before: tuple[timedelta, ...]  # how long before an end there is a warning, longest first
    mail: Mail | None
    contact: str | None
    watched: frozenset[Path]  # files of CAs and lists that sites name; the master warns about those
    trusting: dict[str, tuple[str, ...]]  # fingerprint of a CA in client_ca → the sites that trust it
    alerts: AlertPlan | None = None
    options: str = ""  # with which `gateway ca` and `gateway cert` find the registry

    @property
    def horizon(self) -> timedelta:
        """How long before an end the first warning comes."""
        return self.before[0]


def plan_of(config: Config) -> Plan | None:
    """The plan for a configuration; None if the keeper has nothing to do."""
    pki = config.pki
    if pki is None or not pki.is_watched:
        return None
    files = [path for site in config.sites for path in (*(file.path for file in site.client_ca), *map(Path, site.crl))]
    return Plan(
        store=pki.store,
        folder=pki.folder,
        passphrase_files={kept.name: kept.passphrase_file for kept in pki.authorities},
        before=tuple(timedelta(seconds=seconds) for seconds in pki.warn_before_seconds),
        mail=pki.mail,
        contact=config.pages.contact,
        watched=frozenset(map(canonical, files)),
        trusting=_trusting(config),
        alerts=_alerts(config, pki),
        options=options_for(config.path),
    )


def _alerts(config: Config, pki: Pki) -> AlertPlan | None:
    log = config.access_log.path
    if pki.alerts is None or log is None:
        return None
    state = list_folder(config.path.parent).parent / ALERTS_FILE
    return AlertPlan(settings=pki.alerts, log=log, state=state)


def _trusting(config: Config) -> dict[str, tuple[str, ...]]:
    found: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for site in config.sites:
        for fingerprint in (fingerprint_of(ca) for file in site.client_ca for ca in file.certificates):
            found[fingerprint][site.name] = None
    return {fingerprint: tuple(sites) for fingerprint, sites in found.items()}


def canonical(path: Path) -> Path:
    """The path without symbolic links, so that two paths of one file are equal."""
    return Path(os.path.realpath(path))


def to_keep(name: str) -> str:
    """The remedy that makes the gateway renew an authority's list and OCSP signer."""
    return f"write `{name}: {{passphrase_file: FILE}}` under pki.authorities so that the gateway renews it"


def to_message(plan: Plan) -> dict[str, Any]:
    """The plan as a message for the channel."""
    mail = None if plan.mail is None else asdict(plan.mail)
    if mail is not None:
        mail["ca"] = None if mail["ca"] is None else str(mail["ca"])
    return {
        "store": plan.store,
        "folder": str(plan.folder),
        "passphrase_files": {name: str(path) for name, path in plan.passphrase_files.items()},
        "before": [each.total_seconds() for each in plan.before],
        "mail": mail,
        "contact": plan.contact,
        "watched": sorted(map(str, plan.watched)),
        "trusting": {fingerprint: list(sites) for fingerprint, sites in plan.trusting.items()},
        "alerts": None if plan.alerts is None else _alerts_to_message(plan.alerts),
        "options": plan.options,
    }


def _alerts_to_message(alerts: AlertPlan) -> dict[str, Any]:
    return {"settings": asdict(alerts.settings), "log": str(alerts.log), "state": str(alerts.state)}


def _alerts_from_message(message: dict[str, Any]) -> AlertPlan:
    return AlertPlan(settings=Alerts(**message["settings"]), log=Path(message["log"]), state=Path(message["state"]))


def from_message(message: dict[str, Any]) -> Plan:
    """The plan in a message from the channel."""
    mail = message["mail"]
    if mail is not None:
        ca = mail["ca"]
        mail = Mail(**{**mail, "ca": None if ca is None else Path(ca), "admins": tuple(mail["admins"])})
    return Plan(
        store=message["store"],
        folder=Path(message["folder"]),
        passphrase_files={name: Path(path) for name, path in message["passphrase_files"].items()},
        before=tuple(timedelta(seconds=seconds) for seconds in message["before"]),
        mail=mail,
        contact=message["contact"],
        watched=frozenset(map(Path, message["watched"])),
        trusting={fingerprint: tuple(sites) for fingerprint, sites in message["trusting"].items()},
        alerts=None if message["alerts"] is None else _alerts_from_message(message["alerts"]),
        options=message["options"],
    )
