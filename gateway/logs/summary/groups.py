"""What the entries of an access log have in common: the values that are counted, and what they mean.

A log repeats itself: the same people come from the same addresses with the same devices. So entries are counted by the
tuple of these values first, without looking at them, and a tuple is looked at once for all of its entries.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address
from operator import attrgetter
from typing import Final, NamedTuple

from gateway.logs.entry import Entry, common_name
from gateway.logs.filters import fold
from gateway.logs.summary.batches import Brief

MAX_NAME_CHARACTERS: Final = 128  # of names, devices, paths: longer ones are cut, so that a table's memory is bounded
LOGIN_REFUSED: Final = "login_refused"  # the mail server answered 401 to a login; beside the log's reason codes
PING: Final = "Ping"  # ActiveSync's command that waits for new mail
_LOGINS: Final = frozenset({"basic", "digest", "bearer"})  # that a 401 is an answer to
UNAUTHORIZED: Final = 401
SWITCHING: Final = 101  # to WebSocket: the connection stays open
_CUT: Final = "…"
_IPV6_PREFIX_BITS: Final = 64
_ACTIVESYNC: Final = "/microsoft-server-activesync"


# The values by which entries are counted.
key_of: Final[Callable[[Entry | Brief], tuple[object, ...]]] = attrgetter(
    "user", "device_id", "cert_fingerprint", "reason", "status", "login", "observed"
)


def characters(key: tuple[object, ...]) -> int:
    """How much memory a key takes, about."""
    return sum(len(value) for value in key if isinstance(value, str))


class Group(NamedTuple):
    """What entries with one key mean."""

    login: str | None
    holder: str | None  # of the certificate that was shown
    device: str | None
    fingerprint: str | None
    reason: str | None  # the code
    is_let_in: bool
    is_observed: bool

    @property
    def person(self) -> str | None:
        """The login, or the holder of the certificate where the request names no login."""
        return self.login or self.holder


def group_of(entry: Entry | Brief) -> Group:
    """What entries with the key of this one are."""
    return Group(
        login=None if not entry.user else cut(fold(entry.user)),
        holder=_holder(entry),
        device=None if not entry.device_id else cut(entry.device_id),
        fingerprint=None if not entry.cert_fingerprint else cut(entry.cert_fingerprint),
        reason=reason_of(entry),
        is_let_in=entry.reason is None and entry.status is not None and entry.status != UNAUTHORIZED,
        is_observed=entry.observed is not None,
    )


def reason_of(entry: Entry | Brief) -> str | None:
    """The code with which the gateway refused the request, or the mail server its login."""
    if entry.reason is not None:
        return cut(entry.reason.partition(": ")[0])
    return LOGIN_REFUSED if entry.status == UNAUTHORIZED and entry.login in _LOGINS else None


def cut(text: str) -> str:
    """The text, cut where it is too long for a table."""
    return text if len(text) <= MAX_NAME_CHARACTERS else text[: MAX_NAME_CHARACTERS - 1] + _CUT


def path_of(uri: str, command_of: Callable[[str], str | None]) -> str | None:
    """The path without its query, and ActiveSync's command, as `command_of` reads it; None if that only waits."""
    path, _, query = uri.partition("?")
    command = command_of(query) if fold(path).rstrip("/") == _ACTIVESYNC else None
    if command == PING:
        return None
    return cut(f"{path} {command}" if command else path)


def _holder(entry: Entry | Brief) -> str | None:
    if entry.cert_email:
        return cut(fold(entry.cert_email))
    name = common_name(entry.cert_subject)
    return cut(name) if name else None


def address_of(client: str) -> str:
    """What an address is counted under: a client of IPv6 is its /64."""
    if ":" not in client:
        return cut(client)
    try:
        address = IPv6Address(client)
    except ValueError:
        return cut(client)
    if address.ipv4_mapped is not None:  # of other programs; the gateway never writes it so
        return str(address.ipv4_mapped)
    prefix = int(address) >> _IPV6_PREFIX_BITS << _IPV6_PREFIX_BITS
    return f"{IPv6Address(prefix)}/{_IPV6_PREFIX_BITS}"
