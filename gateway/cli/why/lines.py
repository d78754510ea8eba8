"""What one line of the log means for the question: a success, a refusal, or nothing; and whose it is.

A success is a request that the gateway let in and that the mail server did not refuse. Some refusals are not the
gateway's: a wrong password (401 from the server), the server's own 403, and its errors. They have codes of their own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any, Final

import msgspec

from gateway.facts import counted_text, parse_address
from gateway.logs.entry import CombinedEntry, Entry, parse
from gateway.logs.filters import REASONS, fold
from gateway.logs.reader import Hit
from gateway.logs.render import is_harmless
from gateway.policy.hosts import HostRejected, normalise_host

# Beside the reason codes of the gateway.
CONNECTION_FAILED: Final = "connection_failed"  # before a handshake: the log's reason is a sentence
WRONG_PASSWORD: Final = "wrong_password"  # noqa: S105 - a code
REFUSED_BY_SERVER: Final = "refused_by_server"
SERVER_ERROR: Final = "server_error"
NO_REASON: Final = "no_reason"  # of a line in the combined format
OTHER_CODES: Final = (CONNECTION_FAILED, WRONG_PASSWORD, REFUSED_BY_SERVER, SERVER_ERROR, NO_REASON)

MAX_KEPT_BYTES: Final = 8 * 1024  # of a line that is kept: longer ones are kept with shorter texts
_MAX_KEPT_CHARACTERS: Final = 256  # of a text in them
_SUCCESS: Final = ""
_MIN_NAME_CHARACTERS: Final = 3
_WORD: Final = re.compile(r"[^\W_]+")

_CODES: Final = frozenset(REASONS)
_LOGINS: Final = frozenset({"basic", "digest", "bearer", "connection"})


class More(msgspec.Struct, frozen=True, gc=False):
    """What the filters of `gateway logs` don't need of a line."""

    protocol: str | None = None
    decision: str | None = None
    upstream: str | None = None
    upstream_status: int | None = None
    tls_version: str | None = None
    cert_issuer: str | None = None
    login: str | None = None
    user_agent: str | None = None
    config: str | None = None


_decode: Final[Callable[[bytes], More]] = msgspec.json.Decoder(More).decode
_NOTHING: Final = More()


def more_of(hit: Hit) -> More:
    """The rest of a line. In the combined format there is none."""
    try:
        return _decode(hit.line) if type(hit.entry) is Entry else _NOTHING
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _NOTHING


def kept(hit: Hit) -> Hit:
    """The line with texts that are short enough to keep many of them."""
    if len(hit.line) <= MAX_KEPT_BYTES:
        return hit
    if type(hit.entry) is not Entry:
        return Hit(b"", _short_combined(hit.entry))
    keys = (*Entry.__struct_fields__, *More.__struct_fields__)
    values = msgspec.json.decode(hit.line)
    short = {key: _short(values[key]) for key in keys if key in values}
    line = msgspec.json.encode(short)
    entry = parse(line)
    return hit if entry is None else Hit(line, entry)


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _MAX_KEPT_CHARACTERS else f"{value[: _MAX_KEPT_CHARACTERS - 1]}…"
    return value if value is None or isinstance(value, int | float) else None


def _short_combined(entry: Entry) -> CombinedEntry:
    return CombinedEntry(
        time=entry.time,
        client_ip=_short(entry.client_ip),
        method=_short(entry.method),
        uri=_short(entry.uri),
        status=entry.status,
        user=_short(entry.user),
    )


def code_of(hit: Hit) -> str | None:
    """The code of a refusal; empty for a success; None for a line that says nothing about getting in."""
    entry = hit.entry
    if entry.reason is not None:
        if is_harmless(entry):
            return None
        code = entry.reason.partition(": ")[0]
        return code if code in _CODES else CONNECTION_FAILED
    status = entry.status
    if status is None:
        return None  # the client went away
    if status < 400:
        return None if 300 <= status < 400 and is_redirect(hit) else _SUCCESS
    if type(entry) is CombinedEntry:
        return NO_REASON if status in {403, 429} or status >= 500 or (status == 401 and entry.user) else None
    if status == 401:
        login = more_of(hit).login
        has_login = login in _LOGINS if login is not None else entry.user is not None
        return WRONG_PASSWORD if has_login else None  # a client asks once without a login
    if status == 403:
        return REFUSED_BY_SERVER
    return SERVER_ERROR if status >= 500 else _SUCCESS


def is_redirect(hit: Hit) -> bool:
    """Whether the gateway itself sent the client from http to https."""
    more = more_of(hit)
    return type(hit.entry) is Entry and more.tls_version is None and more.upstream is None


def is_success(code: str | None) -> bool:
    """Whether it is the code of a success."""
    return code == _SUCCESS


def detail_of(hit: Hit) -> str:
    """Why, in the words of the log."""
    entry = hit.entry
    if entry.detail:
        return entry.detail
    code, _, rest = (entry.reason or "").partition(": ")
    return rest or ("" if code in _CODES else code)


def path_of(entry: Entry) -> str:
    """The path without its query."""
    return (entry.uri or "").partition("?")[0]


def counted_address(text: str) -> str:
    """The address under which a client is counted: of IPv6 the /64, in which a phone changes its address every day."""
    try:
        return counted_text(parse_address(text))
    except ValueError:
        return text


def plain_name(text: str) -> str:
    """A name for comparing: lower case, one form of each letter, single spaces, and the domain as in DNS (`xn--…`)."""
    if text.isascii():
        return fold(text) if "  " not in text else " ".join(fold(text).split())
    name = fold(" ".join(unicodedata.normalize("NFC", text).split()))
    local, at, domain = name.rpartition("@")
    if not at or domain.isascii():
        return name
    try:
        return f"{local}@{normalise_host(domain)}"
    except HostRejected:
        return name


def words_of(name: str) -> set[str]:
    """The words of a name, without the domain; none of a name that is too short to tell people apart."""
    local = plain_name(name).rpartition("\\")[2].partition("@")[0]
    return set(_WORD.findall(local)) if len(local) >= _MIN_NAME_CHARACTERS else set()


def login_of(entry: Entry) -> str | None:
    r"""The mail login without a domain before it (`EXAMPLE\alice`), as `plain_name` has it."""
    return plain_name(entry.user.rpartition("\\")[2]) if entry.user else None


def holder_of(entry: Entry) -> str | None:
    """The name of the certificate's holder, as `plain_name` has it."""
    name = entry.cert_email or entry.common_name
    return plain_name(name) if name else None
