"""Replaces what a line of an access log tells about people, devices and networks.

Keeps true: what is not known to be harmless is replaced or left out, and so are keys that are not known. A line's own
names, such as its login, are replaced wherever they stand in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import unquote

import msgspec
import orjson

from gateway.facts import Action
from gateway.logs.anonymous import words
from gateway.logs.anonymous.pseudonyms import Pseudonyms
from gateway.logs.entry import CombinedEntry, Entry
from gateway.logs.filters import REASONS
from gateway.logs.record import KEYS, rfc3339
from gateway.logs.text import REDACTED

REPLACED: Final = "…"
_MIN_NAME: Final = 3  # of a line's own names that are looked for in words
_CONFIG: Final = re.compile(r"[0-9a-f]{8}")
_URL: Final = re.compile(r"(https?)://([^/]*)")
_ORIGIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_PRODUCT: Final = r"[A-Za-z][A-Za-z0-9+-]{0,40}/[0-9][0-9A-Za-z._]{0,30}"
_AGENT_TOKEN: Final = re.compile(rf"({_PRODUCT})(?![^\s();,])|[^\s();,:/\"]+")
_V6_ADDRESS: Final = re.compile(r"[0-9A-Fa-f.]*(?::[0-9A-Fa-f.]*){2,}")
_SHORT_NUMBER: Final = re.compile(r"[0-9]{1,4}")  # in versions, and no name
_VERSION: Final = re.compile(r"[0-9]{1,5}(?:[._][0-9]{1,5}){0,2}", re.ASCII)
_SEPARATORS: Final = re.compile(r"[\s.@]+")
_NUMBERS: Final = frozenset({"status", "bytes_in", "bytes_out", "duration_ms", "upstream_status", "upstream_ms"})

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class Anonymiser:
    """Writes lines anew, under one key."""

    def __init__(self, key: bytes) -> None:
        self._as = Pseudonyms(key)
        self._makers: dict[str, Callable[[str, frozenset[str]], str | None]] = {
            "request_id": lambda text, _: self._as.digits_once("request", text, 32),
            "client_ip": lambda text, _: self._as.address(text) or self._as.host(text),
            "listener": lambda text, _: _listener(text) or self._as.host(text),
            "site": lambda text, _: self._as.host(text),
            "host": lambda text, _: self._as.host(text),
            "method": lambda text, _: _known(text, words.METHODS) or "OTHER",
            "uri": self._uri,
            "protocol": lambda text, _: _known(text, words.PROTOCOLS),
            "reason": lambda text, _: self._reason(text),
            "detail": lambda text, _: self._detail(text),
            "observed": lambda text, _: _known(text, REASONS),
            "rule": lambda text, _: f"rule-{self._as.digits('rule', text)}",
            "decision": lambda text, _: _known(text, [action.value for action in Action]),
            "upstream": lambda text, _: self._upstream(text),
            "tls_version": lambda text, _: _known(text, words.TLS_VERSIONS),
            "tls_cipher": lambda text, _: text if words.CIPHER_PARTS.issuperset(re.split("[-_]", text)) else None,
            "tls_group": lambda text, _: text if text.lower() in words.TLS_GROUPS else None,
            "cert_issuer": lambda text, _: f"CN=authority-{self._as.digits('authority', text)}",
            "cert_serial": lambda text, _: self._as.digits("serial", text.lstrip("0"), 16).upper(),
            "cert_fingerprint": lambda text, _: self._as.digits("fingerprint", text, 64),
            "cert_email": lambda text, _: self._as.person(text),
            "login": lambda text, _: _known(text, words.LOGINS),
            "user": lambda text, _: self._as.person(text),
            "device_id": lambda text, _: self._device(text),
            "user_agent": self._user_agent,
            "referer": self._uri,
            "config": lambda text, _: text if _CONFIG.fullmatch(text) else None,
        }

    def line(self, line: bytes, entry: Entry) -> bytes | None:
        """The line, replaced, without a newline; in JSON, also for the combined format. None: it can't be read."""
        try:
            given = msgspec.structs.asdict(entry) if type(entry) is CombinedEntry else _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        own = _own_names(entry)
        made: dict[str, Any] = {}
        for key in KEYS:
            if key not in given:
                continue
            value, maker = given[key], self._makers.get(key)
            if maker is not None and isinstance(value, str):
                made[key] = maker(value, own)
            elif key in _NUMBERS and isinstance(value, int | float):
                made[key] = value
            else:
                made[key] = None
        made["time"] = rfc3339(entry.time.timestamp())
        self._add_others(made, given, entry)
        return orjson.dumps(made)

    def _add_others(self, made: dict[str, Any], given: dict[str, Any], entry: Entry) -> None:
        """What is no text, or is made from other values."""
        if isinstance(given.get("tls_resumed"), bool):
            made["tls_resumed"] = given["tls_resumed"]
        if entry.client_port is not None:
            made["client_port"] = int(self._as.digits_once("port", f"{entry.client_ip} {entry.client_port}", 4), 16)
        if entry.cert_subject is not None:
            name = entry.common_name
            subject = self._as.name(entry.cert_subject) if name is None else self._as.person(name)
            made["cert_subject"] = f"CN={subject}".replace("\\", "\\\\")

    def _device(self, text: str) -> str:
        return f"device-{self._as.digits('device', text)}"

    def _reason(self, text: str) -> str:
        code, colon, rest = text.partition(": ")
        if code not in REASONS:
            return self._detail(text)
        return f"{code}: {self._detail(rest)}" if colon else code

    def _detail(self, text: str) -> str:
        known = max((each for each in words.DETAILS if text.startswith(each)), key=len, default="")
        return known if text == known else f"{known} {REPLACED}".strip()

    def _upstream(self, text: str) -> str:
        found = _URL.fullmatch(text)
        return self._as.name(text) if found is None else f"{found[1]}://{self._as.host(found[2])}"

    def _uri(self, text: str, own: frozenset[str]) -> str:
        path, mark, query = _ORIGIN.sub("", text, count=1).partition("?")
        path = path.partition("#")[0]
        clean = "/".join(self._segment(segment, own) for segment in path.split("/"))
        return f"{clean}?{self._query(query, own)}" if mark else clean

    def _segment(self, segment: str, own: frozenset[str]) -> str:
        text = unquote(segment)
        if text in {"", "*"}:
            return text
        if _folded(text) in own:
            return self._as.person(text)
        if text.lower() in words.PATH_WORDS:
            return text
        if "@" in text:
            return self._as.person(text)
        stem, dot, end = text.rpartition(".")
        suffix = f"{dot}{end}".lower()
        return self._as.name(stem) + suffix if stem and suffix in words.SUFFIXES else self._as.name(text)

    def _query(self, query: str, own: frozenset[str]) -> str:
        if "=" not in query.rstrip("="):
            return self._as.name(query) if query else ""  # ActiveSync's in base64, which names user and device
        return "&".join(self._parameter(part, own) for part in query.split("&"))

    def _parameter(self, part: str, own: frozenset[str]) -> str:
        name, equals, value = part.partition("=")
        known = name.lower() in words.QUERY_NAMES and name.lower() not in own
        shown = name if known else self._as.name(unquote(name))
        return f"{shown}{equals}{self._value(name.lower(), unquote(value), own)}"

    def _value(self, name: str, text: str, own: frozenset[str]) -> str:
        if text in {"", REDACTED}:
            return text
        if name == "deviceid":
            return self._device(text)
        if name in {"user", "email"} or "@" in text or _folded(text) in own:
            return self._as.person(text)
        return text if text.lower() in words.QUERY_VALUES else self._as.name(text)

    def _user_agent(self, text: str, own: frozenset[str]) -> str:
        """Products with versions and known words are kept, unless one of the line's own names is in them."""

        def shown(found: re.Match[str]) -> str:
            token, folded = found[0], _folded(found[0])
            if any(name in folded for name in own if len(name) >= _MIN_NAME and not _SHORT_NUMBER.fullmatch(name)):
                return REPLACED
            is_kept = found[1] is not None or folded in words.AGENT_WORDS or _VERSION.fullmatch(token) is not None
            return token if is_kept else REPLACED

        return _AGENT_TOKEN.sub(shown, _V6_ADDRESS.sub(REPLACED, text))


def _known(text: str, allowed: Iterable[str]) -> str | None:
    return text if text in allowed else None


def _listener(text: str) -> str | None:
    """A listener on all addresses of the machine tells nothing; None for others."""
    host, colon, port = text.rpartition(":")
    return text if colon and port.isdecimal() and host in {"0.0.0.0", "[::]", "*", ""} else None


def _folded(text: str) -> str:
    return text.lower()


def _own_names(entry: Entry) -> frozenset[str]:
    """The names of its person, device and address, and their parts."""
    found = {entry.client_ip or "", entry.device_id or ""}
    for text in (entry.user, entry.cert_email, entry.common_name):
        bare = (text or "").rpartition("\\")[2]
        found |= {text or "", bare, *bare.split("@"), *_SEPARATORS.split(bare.partition("@")[0])}
    return frozenset(_folded(each) for each in found if each)
