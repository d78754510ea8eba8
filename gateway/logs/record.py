"""The access record: one for each exchange, refused connection and failed handshake; each is one line of the log.

The keys and their order are an interface. A record has no field for passwords, cookies or Authorization values, so they
can't reach a log. Whatever the client sent, the record is one line and valid JSON.

This code runs for every request. So the values that a connection's requests share are rendered once
(`ConnectionFields`), and a record's attributes, which are set in the order of the keys, are serialised directly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from gateway.facts import Address, Identity, Peer
from gateway.logs.text import MAX_URI_CHARACTERS, fit, remembered, text_of

KEYS: Final = (
    *("time", "request_id", "client_ip", "client_port", "listener", "site", "method", "host", "uri", "protocol"),
    *("status", "reason", "detail", "observed", "rule", "decision", "bytes_in", "bytes_out", "duration_ms"),
    *("upstream", "upstream_status", "upstream_ms", "tls_version", "tls_cipher", "tls_group", "tls_resumed"),
    *("cert_subject", "cert_issuer", "cert_serial", "cert_fingerprint", "cert_email"),
    *("login", "user", "device_id", "user_agent", "referer", "config"),
)
_HEAD: Final = ("client_ip", "client_port", "listener", "site")
_TAIL: Final = (
    *("tls_version", "tls_cipher", "tls_group", "tls_resumed"),
    *("cert_subject", "cert_issuer", "cert_serial", "cert_fingerprint", "cert_email"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionFields:
    """The fields that the records of one connection share. Changed only by a copy (`dataclasses.replace`)."""

    client_ip: str | None = None
    client_port: int | None = None
    listener: str | None = None
    site: str | None = None
    tls_version: str | None = None  # "TLSv1.3"
    tls_cipher: str | None = None
    tls_group: str | None = None
    tls_resumed: bool | None = None
    identity: Identity | None = None  # of the client's certificate, trusted or not
    fingerprint: str | None = None  # of the client's certificate if it can't be read and has no identity
    config: str | None = None  # first eight hex digits of the configuration's digest
    head: orjson.Fragment = field(init=False, repr=False, compare=False)
    tail: orjson.Fragment = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        values = self.as_dict()
        object.__setattr__(self, "head", _fragment(values, _HEAD))
        object.__setattr__(self, "tail", _fragment(values, _TAIL))

    @classmethod
    def of_peer(cls, peer: Peer, config: str | None = None) -> ConnectionFields:
        """The fields of a connection that has just been accepted."""
        return cls(client_ip=str(peer.address), client_port=peer.port, listener=peer.listener, config=config)

    def with_client(self, address: Address) -> ConnectionFields:
        """The same fields for a client that a trusted proxy names; its port is unknown."""
        return replace(self, client_ip=str(address), client_port=None)

    def as_dict(self) -> dict[str, str | int | bool | None]:
        """The values under the log's keys, in the log's order."""
        identity = self.identity
        return {
            "client_ip": self.client_ip,
            "client_port": self.client_port,
            "listener": self.listener,
            "site": _clean(self.site),
            "tls_version": self.tls_version,
            "tls_cipher": self.tls_cipher,
            "tls_group": self.tls_group,
            "tls_resumed": self.tls_resumed,
            "cert_subject": _clean(identity.subject) if identity else None,
            "cert_issuer": _clean(identity.issuer) if identity else None,
            "cert_serial": identity.serial if identity else None,
            "cert_fingerprint": identity.fingerprint if identity else self.fingerprint,
            "cert_email": _clean(identity.emails[0]) if identity and identity.emails else None,
            "config": self.config,
        }


def _clean(value: str | bytes | None) -> str | None:
    return None if value is None else text_of(value)


def _fragment(values: dict[str, Any], keys: tuple[str, ...]) -> orjson.Fragment:
    # The value of the first key, then the other keys with their values: `"10.0.0.9","client_port":51234,…`. The
    # line's dictionary has this under the first key, so the keys are written in order.
    whole = orjson.dumps({key: values[key] for key in keys})
    return orjson.Fragment(whole[len(f'{{"{keys[0]}":') : -1])


_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNQUOTABLE: Final = re.compile(r'[\x00-\x1f"\\]')
_rendered: tuple[int, int, str] = (-1, -1, "")  # milliseconds, second and text; in a busy worker often needed again


def rfc3339(now: float) -> str:
    """Unix seconds as RFC 3339, UTC, with milliseconds: `2026-11-24T10:00:00.123Z`."""
    global _rendered  # noqa: PLW0603  # a cache with one entry
    milliseconds = int(now * 1000)
    if milliseconds == _rendered[0]:
        return _rendered[2]
    second, millisecond = divmod(milliseconds, 1000)
    if second == _rendered[1]:
        text = f"{_rendered[2][:20]}{millisecond:03d}Z"
    else:
        text = f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.{millisecond:03d}Z"
    _rendered = (milliseconds, second, text)
    return text


def _quoted(value: str | bytes | None) -> str:
    # For text inside quotes in the combined format, as Apache's ap_escape_logitem does.
    if not value:  # also for empty text, so that the number of columns stays the same
        return "-"
    return _UNQUOTABLE.sub(_escaped, text_of(value))


def _escaped(match: re.Match[str]) -> str:
    character = match.group()
    return f"\\x{ord(character):02x}" if character < " " else "\\" + character


class _Aside:
    """The attributes of a record that are not log keys: in slots, so that its `__dict__` has only the keys."""

    __slots__ = ("_connection", "now")


class AccessRecord(_Aside):
    """The record of one exchange, filled while it goes on. Unset fields are None, and null in the log.

    `host`, `uri`, `user_agent` and `referer` may be bytes as received. `now` is in Unix seconds, the start of
    the exchange; `duration_ms` and `upstream_ms` are milliseconds, written with three decimals. `connection`
    can be replaced until the line is made.
    """

    def __init__(self, connection: ConnectionFields, now: float, request_id: str | None) -> None:
        self._connection = connection
        self.now = now
        self.time = rfc3339(now)
        self.request_id = request_id
        self.client_ip = connection.head  # and client_port, listener, site
        self.method: str | None = None
        self.host: str | bytes | None = None
        self.uri: str | bytes | None = None
        self.protocol: str | None = None
        self.status: int | None = None
        self.reason: str | None = None
        self.detail: str | None = None
        self.observed: str | None = None
        self.rule: str | None = None
        self.decision: str | None = None
        self.bytes_in: int | None = None
        self.bytes_out: int | None = None
        self.duration_ms: float | None = None
        self.upstream: str | None = None
        self.upstream_status: int | None = None
        self.upstream_ms: float | None = None
        self.tls_version = connection.tail  # and the rest of TLS and certificate
        self.login: str | None = None
        self.user: str | None = None
        self.device_id: str | None = None
        self.user_agent: str | bytes | None = None
        self.referer: str | bytes | None = None
        self.config = connection.config

    @property
    def connection(self) -> ConnectionFields:
        """The fields shared with the other records of the connection."""
        return self._connection

    @connection.setter
    def connection(self, connection: ConnectionFields) -> None:
        self._connection = connection
        self.client_ip = connection.head
        self.tls_version = connection.tail
        self.config = connection.config

    def refused(self, reason: str, detail: str) -> None:
        """Set reason code and detail; client text in them is shortened and escaped."""
        self.reason = text_of(reason)
        self.detail = fit(detail)

    def to_json_line(self) -> bytes:
        """One JSON object with all keys of the log in order, and a newline. Client text is escaped in the record."""
        self._make_fit()
        try:
            return orjson.dumps(self.__dict__, None, orjson.OPT_APPEND_NEWLINE)
        except TypeError:  # a lone surrogate in a field that isn't expected to contain client text
            values = {key: text_of(value) if isinstance(value, str) else value for key, value in self.__dict__.items()}
            return orjson.dumps(values, None, orjson.OPT_APPEND_NEWLINE)

    def as_dict(self) -> dict[str, str | int | float | bool | None]:
        """The values under the log's keys, in the log's order."""
        self._make_fit()
        return dict.fromkeys(KEYS) | self.__dict__ | self._connection.as_dict()

    def _make_fit(self) -> None:
        seen = remembered
        if (text := self.host) is not None:
            self.host = seen[text] if text in seen else fit(text)
        if (text := self.uri) is not None:
            self.uri = seen[text] if text in seen else fit(text, MAX_URI_CHARACTERS)
        if (text := self.user_agent) is not None:
            self.user_agent = seen[text] if text in seen else fit(text)
        if (text := self.referer) is not None:
            self.referer = seen[text] if text in seen else fit(text, MAX_URI_CHARACTERS)
        if (text := self.user) is not None:
            self.user = seen[text] if text in seen else fit(text)
        if (text := self.device_id) is not None:
            self.device_id = seen[text] if text in seen else fit(text)
        if (ms := self.duration_ms) is not None:
            self.duration_ms = int(ms * 1000) / 1000
        if (ms := self.upstream_ms) is not None:
            self.upstream_ms = int(ms * 1000) / 1000

    def to_combined_line(self) -> bytes:
        r"""One line of Apache's combined format; special characters are escaped as `\xNN`, `\"` and `\\`."""
        self._make_fit()
        request = "-" if self.method is None else f"{_quoted(self.method)} {_quoted(self.uri)} {_quoted(self.protocol)}"
        user = _quoted(self.user).replace(" ", "\\x20")
        when = datetime.fromtimestamp(self.now, UTC)
        stamp = f"{when.day:02d}/{_MONTHS[when.month - 1]}/{when.year:04d}:{when:%H:%M:%S} +0000"
        status = "-" if self.status is None else self.status
        return (
            f"{self._connection.client_ip or '-'} - {user} [{stamp}] "
            f'"{request}" {status} {self.bytes_out or "-"} "{_quoted(self.referer)}" "{_quoted(self.user_agent)}"\n'
        ).encode()
