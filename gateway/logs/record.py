"""The access record: one for each exchange, refused connection and failed handshake; one line of the log each.

The keys and their order are an interface. A record has no field that could hold a password, a cookie or
an Authorization value, so none reaches a log. Whatever the client sent, a line is one line and valid JSON.

This is on every request's way, so what does not change between the requests of a connection is rendered once
(`ConnectionFields`), and a line is the same dictionary filled again: its keys are in order from the start.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson

from gateway.facts import Address, Identity, Peer
from gateway.logs.text import text_of, uri_of

KEYS: Final = (
    *("time", "request_id", "client_ip", "client_port", "listener", "site", "method", "host", "uri", "protocol"),
    *("status", "reason", "rule", "decision", "bytes_in", "bytes_out", "duration_ms"),
    *("upstream", "upstream_status", "upstream_ms", "tls_version", "tls_cipher", "tls_group", "tls_resumed"),
    *("cert_subject", "cert_issuer", "cert_serial", "cert_fingerprint", "cert_email"),
    *("user", "device_id", "user_agent", "referer"),
)
_HEAD: Final = ("client_ip", "client_port", "listener", "site")
_TAIL: Final = (
    *("tls_version", "tls_cipher", "tls_group", "tls_resumed"),
    *("cert_subject", "cert_issuer", "cert_serial", "cert_fingerprint", "cert_email"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionFields:
    """What the records of one connection have in common. A change makes a new one (`dataclasses.replace`)."""

    client_ip: str | None = None
    client_port: int | None = None
    listener: str | None = None
    site: str | None = None
    tls_version: str | None = None  # "TLSv1.3"
    tls_cipher: str | None = None
    tls_group: str | None = None
    tls_resumed: bool | None = None
    identity: Identity | None = None  # the certificate that was shown, trusted or not
    head: orjson.Fragment = field(init=False, repr=False, compare=False)
    tail: orjson.Fragment = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        values = self.as_dict()
        object.__setattr__(self, "head", _fragment(values, _HEAD))
        object.__setattr__(self, "tail", _fragment(values, _TAIL))

    @classmethod
    def of_peer(cls, peer: Peer) -> ConnectionFields:
        """The fields of a connection that has only just been accepted."""
        return cls(client_ip=str(peer.address), client_port=peer.port, listener=peer.listener)

    def with_client(self, address: Address) -> ConnectionFields:
        """The same for a client that a trusted proxy names; its port is unknown."""
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
            "cert_fingerprint": identity.fingerprint if identity else None,
            "cert_email": _clean(identity.emails[0]) if identity and identity.emails else None,
        }


def _clean(value: str | bytes | None) -> str | None:
    return None if value is None else text_of(value)


def _fragment(values: dict[str, Any], keys: tuple[str, ...]) -> orjson.Fragment:
    # The value of the first key, then the other keys with theirs: `"10.0.0.9","client_port":51234,…`.
    # It stands in the line's dictionary under the first key, so the keys come out in order.
    first, *others = keys
    return orjson.Fragment(
        orjson.dumps(values[first]) + b"".join(b"," + orjson.dumps({key: values[key]})[1:-1] for key in others)
    )


_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNQUOTABLE: Final = re.compile(r'[\x00-\x1f"\\]')
_MILLISECONDS: Final = tuple(f".{millisecond:03d}Z" for millisecond in range(1000))
_second: tuple[int, str] = (
    -1,
    "",
)  # the last second that was written out; a busy worker asks for it thousands of times


def rfc3339(now: float) -> str:
    """Unix seconds as RFC 3339, UTC, with milliseconds: `2026-11-24T10:00:00.123Z`."""
    global _second  # noqa: PLW0603  # a cache of one entry, replaced whole
    milliseconds = int(now * 1000)
    second = milliseconds // 1000
    if second != _second[0]:
        _second = (second, datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    return _second[1] + _MILLISECONDS[milliseconds % 1000]


def _quoted(value: str | bytes | None) -> str:
    # For the inside of a combined line's quotes, as Apache's ap_escape_logitem does.
    if value is None:
        return "-"
    return _UNQUOTABLE.sub(_escaped, text_of(value))


def _escaped(match: re.Match[str]) -> str:
    character = match.group()
    return f"\\x{ord(character):02x}" if character < " " else "\\" + character


# The line's dictionary. It is filled and serialised in one synchronous step, so one serves all records.
_LINE: Final[dict[str, Any]] = dict.fromkeys(
    key for key in KEYS if key not in {*_HEAD, *_TAIL} or key in {_HEAD[0], _TAIL[0]}
)


class AccessRecord:
    """What is known of one exchange, filled while it goes on. Unset fields are None, and null in the log.

    `host`, `uri`, `user_agent` and `referer` may be bytes as they came. `now` is in Unix seconds;
    `duration_ms` and `upstream_ms` are milliseconds, written with three decimals.
    """

    __slots__ = (
        *("connection", "now", "request_id", "method", "host", "uri", "protocol", "status", "reason", "rule"),
        *("decision", "bytes_in", "bytes_out", "duration_ms", "upstream", "upstream_status", "upstream_ms"),
        *("user", "device_id", "user_agent", "referer"),
    )

    def __init__(self, connection: ConnectionFields, now: float, request_id: str | None) -> None:
        self.connection = connection
        self.now = now
        self.request_id = request_id
        self.method: str | None = None
        self.host: str | bytes | None = None
        self.uri: str | bytes | None = None
        self.protocol: str | None = None
        self.status: int | None = None
        self.reason: str | None = None
        self.rule: str | None = None
        self.decision: str | None = None
        self.bytes_in: int | None = None
        self.bytes_out: int | None = None
        self.duration_ms: float | None = None
        self.upstream: str | None = None
        self.upstream_status: int | None = None
        self.upstream_ms: float | None = None
        self.user: str | None = None
        self.device_id: str | None = None
        self.user_agent: str | bytes | None = None
        self.referer: str | bytes | None = None

    def to_line(self, log_format: Literal["json", "combined"]) -> bytes:
        """One line, newline included, in the configured format."""
        return self.to_json_line() if log_format == "json" else self.to_combined_line()

    def to_json_line(self) -> bytes:
        """One JSON object with every key of the log in its order, and a newline."""
        line = _LINE
        connection = self.connection
        line["client_ip"] = connection.head
        line["tls_version"] = connection.tail
        self._fill(line)
        try:
            return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
        except TypeError:  # a lone surrogate: text that came by another way than as bytes
            values = {key: _clean(value) if isinstance(value, str) else value for key, value in line.items()}
            return orjson.dumps(values, option=orjson.OPT_APPEND_NEWLINE)

    def as_dict(self) -> dict[str, str | int | float | bool | None]:
        """The values under the log's keys, in the log's order."""
        values: dict[str, Any] = dict.fromkeys(KEYS)
        values.update(self.connection.as_dict())
        self._fill(values)
        return {
            key: _clean(value) if isinstance(value, str) and key != "uri" else value for key, value in values.items()
        }

    def _fill(self, line: dict[str, Any]) -> None:
        line["time"] = rfc3339(self.now)
        line["request_id"] = self.request_id
        line["method"] = self.method
        line["host"] = None if (host := self.host) is None else text_of(host)
        line["uri"] = None if (uri := self.uri) is None else uri_of(uri)
        line["protocol"] = self.protocol
        line["status"] = self.status
        line["reason"] = self.reason
        line["rule"] = self.rule
        line["decision"] = self.decision
        line["bytes_in"] = self.bytes_in
        line["bytes_out"] = self.bytes_out
        line["duration_ms"] = None if (ms := self.duration_ms) is None else int(ms * 1000) / 1000
        line["upstream"] = self.upstream
        line["upstream_status"] = self.upstream_status
        line["upstream_ms"] = None if (ms := self.upstream_ms) is None else int(ms * 1000) / 1000
        line["user"] = None if (user := self.user) is None else text_of(user)
        line["device_id"] = None if (device := self.device_id) is None else text_of(device)
        line["user_agent"] = None if (agent := self.user_agent) is None else text_of(agent)
        line["referer"] = None if (referer := self.referer) is None else uri_of(referer)

    def to_combined_line(self) -> bytes:
        r"""One line of Apache's combined format; what could break it is escaped as `\xNN`, `\"` and `\\`."""
        uri = "-" if self.uri is None else _quoted(uri_of(self.uri))
        referer = "-" if self.referer is None else _quoted(uri_of(self.referer))
        request = "-" if self.method is None else f"{_quoted(self.method)} {uri} {_quoted(self.protocol)}"
        user = _quoted(self.user).replace(" ", "\\x20")
        when = datetime.fromtimestamp(self.now, UTC)
        stamp = f"{when.day:02d}/{_MONTHS[when.month - 1]}/{when.year:04d}:{when:%H:%M:%S} +0000"
        status = "-" if self.status is None else self.status
        return (
            f"{self.connection.client_ip or '-'} - {user} [{stamp}] "
            f'"{request}" {status} {self.bytes_out or "-"} "{referer}" "{_quoted(self.user_agent)}"\n'
        ).encode()
