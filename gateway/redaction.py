"""URLs as messages show them: without what may be a password or a token.

Keeps true: only a URL's scheme, host, port and path are shown. User names, passwords, queries and fragments are not,
wherever in a text the URL is. If the host can't be told from a password, only the scheme is shown.
"""

from __future__ import annotations

import re
from typing import Final

# The signs at the end belong to the text around the URL.
_URL: Final = re.compile(
    r"""(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)(?P<authority>[^\s/?#\\]*)(?P<path>[^\s?#]*)"""
    r"""(?P<secret>[?#]\S*?)?(?P<tail>[:,;.'")\]>]*)(?=\s|$)"""
)
# An IPv6 address without its brackets is a mistake that a message has to show.
_HOST: Final = re.compile(
    r"""(?:(?:\[[^\]@]*\]|[^:@\[\]]*)(?::[0-9]*)?|[0-9a-fA-F]*(?::[0-9a-fA-F]*){2,})[:,;.'")\]>]*"""
)


def without_secrets(text: str) -> str:
    """`text` without the secrets of the URLs in it, for a log, a page or a terminal."""
    return _URL.sub(_shown, text)


def _shown(match: re.Match[str]) -> str:
    scheme, authority, path, secret, tail = match.group("scheme", "authority", "path", "secret", "tail")
    host = authority.rpartition("@")[2]
    if not _HOST.fullmatch(host):
        return f"{scheme}…{tail}"  # a password with a slash, say
    hidden = "…@" if "@" in authority else ""
    return f"{scheme}{hidden}{host}{path}{secret[0] + '…' if secret else ''}{tail}"
