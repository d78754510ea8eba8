"""One line of an access log, read: the gateway's JSON, of this and older versions, or the combined format.

Whatever a line holds, it is an `Entry` or nothing: torn lines and lines of other programs never end a command. JSON
keys that a line lacks are None, and so is what the combined format has no field for.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Final

import msgspec

_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"), 1
    )
}
# Possessive, so that no line takes longer than its length. nginx's user names may have spaces.
_QUOTED: Final = rb'"((?:[^"\\]++|\\.)*+)"'
_COMBINED: Final = re.compile(
    rb"(?P<address>\S++) \S++ (?P<user>[^\[\]]++)"
    rb"\[(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)\] "
    + _QUOTED
    + rb" (?P<status>\d{3}|-) (?:\d++|-)(?: .*+)?+",
    re.DOTALL,
)
_REQUEST: Final = re.compile(r"(\S++) (.*\S) (HTTP/\S++|-)", re.DOTALL)
_ESCAPE: Final = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_COMMON_NAME: Final = re.compile(r"(?:^|[,+])CN=((?:[^\\,+]|\\.)*+)", re.DOTALL)  # RFC 4514
_ESCAPED_IN_NAME: Final = re.compile(r"\\(.)", re.DOTALL)
FIRST_YEAR, LAST_YEAR = 1970, 9998  # every time zone can show them
_FIRST_KEY: Final = b'{"time":'  # inside a JSON string its quotes are escaped: where it stands, a line begins


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What a line says, under the log's keys (docs/logs.md). A line without a time isn't an access log's."""

    time: Annotated[datetime, msgspec.Meta(tz=True)]  # the start of the exchange; its line is written at the end
    request_id: str | None = None
    client_ip: str | None = None
    client_port: int | None = None
    site: str | None = None
    method: str | None = None
    host: str | None = None
    uri: str | None = None
    status: int | None = None
    reason: str | None = None
    detail: str | None = None
    observed: str | None = None
    rule: str | None = None
    decision: str | None = None
    duration_ms: float | None = None
    cert_subject: str | None = None
    cert_issuer: str | None = None
    cert_serial: str | None = None
    cert_fingerprint: str | None = None
    cert_email: str | None = None
    login: str | None = None
    user: str | None = None
    device_id: str | None = None

    @property
    def written(self) -> float:
        """When the line was written, in Unix seconds: lines stand in this order, give or take a moment."""
        return self.time.timestamp() + (self.duration_ms or 0.0) / 1000

    @property
    def common_name(self) -> str | None:
        """The first CN of the certificate's subject."""
        return common_name(self.cert_subject)


class CombinedEntry(Entry, frozen=True, gc=False):
    """A line of the combined format: reason, rule, certificate, device and duration are unknown."""


def common_name(subject: str | None) -> str | None:
    """The first CN of a certificate's subject (RFC 4514)."""
    found = _COMMON_NAME.search(subject or "")
    return None if found is None else _ESCAPED_IN_NAME.sub(r"\1", found[1])


_decode: Final = msgspec.json.Decoder(Entry).decode


def parse(line: bytes) -> Entry | None:
    """What a line says; None if it is no line of an access log."""
    if not line.startswith(b"{"):
        return _parse_combined(line)
    try:
        entry = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return entry if FIRST_YEAR <= entry.time.year <= LAST_YEAR else None


def parse_rest(line: bytes) -> tuple[bytes, Entry] | None:
    """The whole line at the end of one that doesn't parse: on a full disk, the head of a line may stand before it."""
    start = line.rfind(_FIRST_KEY, 1)
    if start < 0:
        return None
    entry = parse(line[start:])
    return None if entry is None else (line[start:], entry)


def _parse_combined(line: bytes) -> CombinedEntry | None:
    found = _COMBINED.match(line)
    if found is None:
        return None
    day, month, year, hour, minute, second, sign, hours, minutes, request = found.groups()[2:12]
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    try:
        zone = timezone(-offset if sign == b"-" else offset)
        time = datetime(
            int(year), _MONTHS[month], int(day), int(hour), int(minute), int(second), tzinfo=zone
        ).astimezone(UTC)
    except (ValueError, KeyError, OverflowError):
        return None
    if not FIRST_YEAR <= time.year <= LAST_YEAR:
        return None
    method, uri = _request_of(_text(request))
    user = _text(found["user"].strip())
    return CombinedEntry(
        time=time,
        client_ip=_text(found["address"]),
        method=method,
        uri=uri,
        status=None if found["status"] == b"-" else int(found["status"]),
        user=None if user in {"-", ""} else user,
    )


def _request_of(text: str) -> tuple[str | None, str | None]:
    found = _REQUEST.fullmatch(text)
    if found is None:
        return None, None if text in {"-", ""} else text
    return found[1], found[2]


def _text(value: bytes) -> str:
    if b"\\" in value:
        value = _ESCAPE.sub(lambda found: found[2] if found[1] is None else bytes.fromhex(found[1].decode()), value)
    return value.decode("utf-8", "backslashreplace")
