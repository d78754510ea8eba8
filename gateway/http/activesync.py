"""Reads user and device from the query of an ActiveSync request (MS-ASHTTP 2.2.1.1.1).

A query has one of two forms: `Cmd=…&User=…&DeviceId=…&DeviceType=…`, or one base64 field.

Keeps true: a query that servers could read in two ways is an error, because rules bind the user and device read here to
a certificate. The command is only for logs: servers look at the body too.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from gateway.errors import GatewayError

MAX_QUERY_CHARACTERS: Final = 4096  # the base64 form has less than 2,700, real queries less than 300
MAX_PARAMETERS: Final = 32  # clients send four to seven

# MS-ASHTTP 2.2.1.1.1.2.3; 5 to 8 are of version 1.
COMMANDS: Final = {
    0: "Sync",
    1: "SendMail",
    2: "SmartForward",
    3: "SmartReply",
    4: "GetAttachment",
    5: "GetHierarchy",
    6: "CreateCollection",
    7: "DeleteCollection",
    8: "MoveCollection",
    9: "FolderSync",
    10: "FolderCreate",
    11: "FolderDelete",
    12: "FolderUpdate",
    13: "MoveItems",
    14: "GetItemEstimate",
    15: "MeetingResponse",
    16: "Search",
    17: "Settings",
    18: "Ping",
    19: "ItemOperations",
    20: "Provision",
    21: "ResolveRecipients",
    22: "ValidateCert",
}
_FIXED_BYTES: Final = 4  # version, command, locale
_POLICY_KEY_BYTES: Final = (0, 4)
_USER_TAG: Final = 8
_TAGS: Final = frozenset(range(9))

_PLAIN_NAMES: Final = {"cmd": "Cmd", "user": "User", "deviceid": "DeviceId", "devicetype": "DeviceType"}
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}")
_ESCAPES: Final = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*+")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}|[A-Za-z0-9_-]+={0,2}")


class EasQueryError(GatewayError):
    """The query can't be read, or servers could read it in two ways."""


@dataclass(frozen=True, slots=True)
class EasQuery:
    """The values in the query; None if missing or empty."""

    command: str | None
    user: str | None
    device_id: str | None
    device_type: str | None


def parse_query(query: str) -> EasQuery:
    """Parse a query of either form, without the "?". Raises `EasQueryError`."""
    if len(query) > MAX_QUERY_CHARACTERS:
        raise EasQueryError(f"the ActiveSync query is longer than {MAX_QUERY_CHARACTERS} characters")
    # In the base64 form only padding may follow the letters. Some servers unescape it first, others don't, so escapes
    # are refused like everything else that is not base64.
    if "=" in query.rstrip("=") or "&" in query or ";" in query:
        return _parse_plain(query)
    return _parse_base64(query)


def _parse_plain(query: str) -> EasQuery:
    if ";" in query:
        raise EasQueryError("';' in the ActiveSync query separates parameters for some servers only")
    parameters = query.split("&", MAX_PARAMETERS)
    if len(parameters) > MAX_PARAMETERS:
        raise EasQueryError(f"more than {MAX_PARAMETERS} parameters in the ActiveSync query")
    found: dict[str, str] = {}
    for parameter in parameters:
        raw_name, equals, raw_value = parameter.partition("=")
        name = _name(raw_name, has_value=bool(equals))
        if name not in _PLAIN_NAMES:
            continue
        if name in found:
            raise EasQueryError(f"{_PLAIN_NAMES[name]} appears twice in the ActiveSync query")
        if "+" in raw_value:
            raise EasQueryError(f"'+' in {_PLAIN_NAMES[name]} is a space to some servers only; write %20 or %2B")
        found[name] = _text(_unquoted(raw_value), _PLAIN_NAMES[name])
    if not found:
        raise EasQueryError("the ActiveSync query has neither form of MS-ASHTTP")
    command, user, device_id, device_type = (found.get(name) or None for name in _PLAIN_NAMES)
    return EasQuery(command, user, device_id, device_type)


def _name(raw: str, *, has_value: bool) -> str:
    # PHP cuts a name at "[" and drops leading spaces, others decode twice or fold Unicode's case: only plain names.
    text = _unquoted(raw).decode("ascii", "replace")
    if not has_value or _NAME.fullmatch(text) is None:
        raise EasQueryError("the ActiveSync query has a parameter without a plain name, or mixes its two forms")
    return text.lower()


def _unquoted(raw: str) -> bytes:
    if "%" not in raw and raw.isascii():
        return raw.encode("ascii")
    if not raw.isascii() or _ESCAPES.fullmatch(raw) is None:
        raise EasQueryError("the ActiveSync query has a broken percent escape or bytes that are not ASCII")
    return unquote_to_bytes(raw)


def _text(value: bytes, name: str) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise EasQueryError(f"{name} in the ActiveSync query is not UTF-8") from error
    if has_controls(text):
        raise EasQueryError(f"{name} in the ActiveSync query holds control characters")
    return text


def has_controls(text: str) -> bool:
    """True if a name contains control characters, C0 or C1."""
    return not text.isprintable() and any(unicodedata.category(character) == "Cc" for character in text)


def _parse_base64(text: str) -> EasQuery:
    if _BASE64.fullmatch(text) is None:
        raise EasQueryError("the ActiveSync query has neither form of MS-ASHTTP")
    standard = text.replace("-", "+").replace("_", "/")
    try:
        data = base64.b64decode(standard, validate=True)
    except binascii.Error as error:
        raise EasQueryError("the ActiveSync query is broken base64") from error
    if base64.b64encode(data).decode("ascii") != standard:
        raise EasQueryError("the ActiveSync query is not canonical base64")
    return _parse_fields(data)


def _parse_fields(data: bytes) -> EasQuery:
    if len(data) < _FIXED_BYTES:
        raise EasQueryError("the ActiveSync query ends before its device id")
    code = data[1]
    device, position = _counted(data, _FIXED_BYTES, "device id")
    key, position = _counted(data, position, "policy key")
    if len(key) not in _POLICY_KEY_BYTES:
        raise EasQueryError("the policy key in the ActiveSync query has a length other than 0 or 4")
    kind, position = _counted(data, position, "device type")
    user = _tagged(data, position).get(_USER_TAG)
    return EasQuery(
        command=COMMANDS.get(code, f"command {code}"),
        user=(_text(user, "User") or None) if user is not None else None,
        device_id=_device_id(device) or None,
        device_type=_text(kind, "DeviceType") or None,
    )


def _tagged(data: bytes, position: int) -> dict[int, bytes]:
    """The values by tag, from the tag, length, value triples at the end (MS-ASHTTP 2.2.1.1.1.1.1)."""
    found: dict[int, bytes] = {}
    while position < len(data):
        tag = data[position]
        if tag not in _TAGS or tag in found:
            raise EasQueryError(f"tag {tag} in the ActiveSync query is unknown or appears twice")
        found[tag], position = _counted(data, position + 1, f"value of tag {tag}")
    return found


def _counted(data: bytes, position: int, what: str) -> tuple[bytes, int]:
    """(the bytes after a length byte, where the next field begins)."""
    if position >= len(data) or (end := position + 1 + data[position]) > len(data):
        raise EasQueryError(f"the ActiveSync query ends within the {what}")
    return data[position + 1 : end], end


def _device_id(value: bytes) -> str:
    """A device id as text. Raw bytes, as some clients send a GUID, become hex, as servers store it."""
    if value.isascii() and value.decode("ascii").isprintable():
        return value.decode("ascii")
    return value.hex()
