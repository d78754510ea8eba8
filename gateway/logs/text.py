"""Makes client text safe for a log line: limited in length, without special characters and secrets in queries.

Whatever bytes a client sends, the result is text that can be encoded as UTF-8. JSON and the combined format escape
quotes and ASCII control characters; this module escapes what they don't: C1 controls (terminals act on U+009B), line
separators, bidirectional overrides and lone surrogates.

Secrets don't belong in a query, but programs put them there. The values of the parameters in `SECRET_PARAMETERS` are
replaced, and so is the user information of an absolute URI. This prevents accidental leaks, not a client that wants its
own password in the log.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_plus

MAX_URI_CHARACTERS: Final = (
    8192  # `limits.uri_bytes` has this default; a longer target is refused with 414 and logged cut
)
MAX_VALUE_CHARACTERS: Final = 1024  # browsers' User-Agent has less than 300; long Referers are cut
MAX_REMEMBERED: Final = 4096  # hosts, browsers and pages that a worker sees again; at most 2 MiB
MAX_REMEMBERED_CHARACTERS: Final = 256  # nearly every User-Agent and target; longer ones are not cached
CUT_MARK: Final = "…"
REDACTED: Final = "[redacted]"

# Lower case. Names that begin with underscores (Roundcube's `_pass`, `_token`) count as the bare name.
SECRET_PARAMETERS: Final = frozenset(
    {
        *("password", "passwd", "passwort", "pass", "passphrase", "pwd", "newpassword", "oldpassword"),
        *("token", "access_token", "id_token", "refresh_token", "csrf_token", "xsrf_token", "authtoken", "zauthtoken"),
        *("secret", "client_secret", "auth", "authorization", "x-owa-canary", "x-amz-security-token", "ticket"),
    }
)
_ACTING: Final = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_PARAMETER: Final = re.compile(r"([?&;#])([^=?&;#]*)=([^&;#]*)")
_USER_INFORMATION: Final = re.compile(r"\A([A-Za-z][A-Za-z0-9+.\-]*:)?//[^/?#]*@")


# Recent results of `fit`, without those that contained a secret. Most requests repeat earlier values, and a look-up
# costs a fifth of the work.
remembered: Final[dict[str | bytes, str]] = {}


def text_of(value: str | bytes, limit: int = MAX_VALUE_CHARACTERS) -> str:
    r"""Log text for a client's value: at most `limit` characters, special characters escaped.

    Bytes that are not UTF-8 are written as `\xNN`.
    """
    return _cut(_harmless(value, limit), limit)


def fit(value: str | bytes, limit: int = MAX_VALUE_CHARACTERS) -> str:
    """As `text_of`, and with the values of secret parameters replaced. Safe text is returned unchanged."""
    text = _harmless(value, limit)
    if "?" in text or "#" in text:
        lower = text.lower()
        if "%" in lower or _has_stem(lower):
            text = _PARAMETER.sub(_redacted, text)
    if "@" in text and "//" in text:
        text = _USER_INFORMATION.sub(rf"\g<1>//{REDACTED}@", text)
    text = _cut(text, limit)
    if len(value) <= MAX_REMEMBERED_CHARACTERS and REDACTED not in text:
        if len(remembered) >= MAX_REMEMBERED:
            remembered.clear()
        remembered[value] = text
    return text


def _harmless(value: str | bytes, limit: int) -> str:
    if len(value) > limit:
        value = value[: limit + 1]  # one more than the limit, so that `_cut` notices that it is too long
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
    return text if text.isascii() and "\x7f" not in text else _ACTING.sub(_escaped, text)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + CUT_MARK


def _has_stem(lower: str) -> bool:
    # Each name in SECRET_PARAMETERS contains one of these; most queries contain none and needn't be parsed. Written
    # out, because a generator would cost four times as much for every request with a query.
    return (
        "pass" in lower
        or "token" in lower
        or "auth" in lower
        or "secret" in lower
        or "pwd" in lower
        or "ticket" in lower
        or "canary" in lower
    )


def _redacted(match: re.Match[str]) -> str:
    mark, name, value = match.groups()
    if not value or unquote_plus(name).strip().lower().lstrip("_") not in SECRET_PARAMETERS:
        return match.group()
    return f"{mark}{name}={REDACTED}"


def _escaped(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
