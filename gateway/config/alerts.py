"""Reads `pki.alerts`: which mails the gateway sends about what the access log shows."""

from __future__ import annotations

from typing import Final

from gateway.config.log_target import STDOUT
from gateway.config.model import AccessLog, Alerts, Mail
from gateway.config.problems import Problems
from gateway.config.reading import Value
from gateway.config.upstreams import given

_KEYS: Final = {"new_place": "new_place", "refusals": "refusals"}


def build_alerts(section: Value | None) -> Alerts | None:
    """The alerts that are on; None if there are none."""
    if section is None:
        return None
    alerts = Alerts(**given(section, _KEYS))
    return alerts if alerts.new_place or alerts.refusals is not None else None


def check_alerts(root: Value, mail: Mail | None, access_log: AccessLog, problems: Problems) -> None:
    """Report alerts that could not be sent, or that have no log to look at."""
    pki = root.section("pki")
    section = pki.get("alerts")
    alerts = build_alerts(section)
    if section is None or alerts is None:
        return
    place = section.place
    if "mail" not in pki.keys:
        problems.error(place, "alerts are sent by mail, and pki.mail is missing", "add pki.mail, or remove alerts")
    if mail is not None and alerts.new_place and not mail.to_users:
        cause = "new_place sends mails to holders, and to_users is false"
        problems.error(section.at("new_place"), cause, "remove one of the two")
    if mail is not None and alerts.refusals is not None and not mail.admins:
        cause = "refusals sends mails to administrators, and pki.mail.admin is empty"
        problems.error(section.at("refusals"), cause, "add pki.mail.admin, or remove refusals")
    log = root.section("access_log")
    if access_log.is_stdout and ("path" in log.keys and log.plain("path", None) != STDOUT):
        return  # a path that can't be used is reported
    if access_log.path is None:
        where = "standard output" if access_log.is_stdout else "another program"
        cause = f"alerts are made from the access log's file, and the access log goes to {where}"
        problems.error(place, cause, "write a file's name into access_log.path, or remove alerts")
    elif access_log.format != "json":
        cause = f"alerts need certificates and reasons, which the format {access_log.format} doesn't have"
        problems.error(log.at("format"), cause, "write json, or remove pki.alerts")
