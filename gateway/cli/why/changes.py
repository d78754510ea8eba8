"""What differs between the last success and the first refusal after it."""

from __future__ import annotations

from typing import NamedTuple

from gateway.cli.why.lines import login_of, more_of, path_of
from gateway.cli.why.live import Inside
from gateway.logs.entry import CombinedEntry, Entry
from gateway.logs.filters import fold
from gateway.logs.reader import Hit

ADDRESS, NETWORK, CERTIFICATE, RULE, CONFIG = "address", "network", "certificate", "rule", "configuration"
LOGIN, DEVICE, PROTOCOL, PATH, PROGRAM = "login", "device", "protocol", "path", "program"
NONE = "none"


class Change(NamedTuple):
    """One difference."""

    what: str
    before: str
    after: str


def certificate_name(entry: Entry) -> str:
    """A certificate in a word or two."""
    if entry.cert_serial is None:
        return NONE if entry.cert_fingerprint is None else f"fingerprint {entry.cert_fingerprint[:16]}…"
    holder = entry.cert_email or entry.common_name
    return f"{entry.cert_serial} of {holder}" if holder else entry.cert_serial


def changes_between(before: Hit, after: Hit, inside: Inside) -> list[Change]:
    """The differences, the ones that matter most first. What a line doesn't say is no difference."""
    old, new, old_more, new_more = before.entry, after.entry, more_of(before), more_of(after)
    found: list[Change] = []

    def note(what: str, was: str | None, is_now: str | None, *, missing: str | None = None) -> None:
        was, is_now = was or missing, is_now or missing
        if was is not None and is_now is not None and fold(was) != fold(is_now):
            found.append(Change(what, was, is_now))

    is_request = new.method is not None
    note(NETWORK, inside.word(old.client_ip), inside.word(new.client_ip))
    note(ADDRESS, old.client_ip, new.client_ip)
    is_said = not isinstance(new, CombinedEntry) and (is_request or new.cert_fingerprint is not None)
    if is_said and old.cert_fingerprint != new.cert_fingerprint:
        note(CERTIFICATE, certificate_name(old), certificate_name(new))
    if not is_request:
        return found
    note(LOGIN, login_of(old), login_of(new), missing=NONE)
    note(DEVICE, old.device_id, new.device_id, missing=NONE)
    note(RULE, old.rule, new.rule, missing=NONE)
    note(CONFIG, old_more.config, new_more.config)
    note(PATH, _place(old), _place(new))
    note(PROTOCOL, old_more.tls_version, new_more.tls_version)
    note(PROGRAM, old_more.user_agent, new_more.user_agent)
    return found


def is_same_request(before: Hit, after: Hit) -> bool:
    """Whether rules can't tell the two by what they ask for: method, host and path."""
    old, new = before.entry, after.entry
    return (old.method, fold(old.host or ""), path_of(old)) == (new.method, fold(new.host or ""), path_of(new))


def has_same_configuration(before: Hit, after: Hit) -> bool:
    """Whether both lines say that the same configuration judged them."""
    config = more_of(before).config
    return config is not None and config == more_of(after).config


def _place(entry: Entry) -> str:
    part = path_of(entry).lstrip("/").partition("/")[0]
    return f"{entry.site or entry.host or ''}/{part}"
