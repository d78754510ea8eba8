"""Replaces the upstream's own name in its answers by the public name.

This is needed if the upstream gets another Host than the client sent (`host:` is not `preserve`): its redirects, its
cookies and ActiveSync's X-MS-Location would send clients to a name that they can't reach. With `preserve` only one
thing is changed: a server that is contacted by plain HTTP redirects to `http://` and the public name, but clients use
https.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping
from typing import Final
from urllib.parse import urlsplit

from gateway.config.model import Upstream

# RFC 9110 10.2.2 and 8.7; MS-ASHTTP 2.2.2.1.1.4 (451 with X-MS-Location); RFC 5842/4918 use Location too.
_LOCATIONS: Final = frozenset({b"location", b"content-location", b"x-ms-location"})
_DOMAIN: Final = re.compile(rb";[ \t]*domain=[ \t]*\.?([^;]*)", re.IGNORECASE)
_PORT: Final = re.compile(r":[0-9]*$")
_HTTP_PORT: Final = 80
# Answers that lead to another address (RFC 9110 15.3.2 and 15.4; MS-ASHTTP 2.2.2.1.1.4). With `preserve` only these are
# checked, so that others cost nothing.
_LEADING: Final = frozenset({201, 301, 302, 303, 307, 308, 451})
_EVERY_STATUS: Final = range(1000)
_SECURE: Final = re.compile(rb";[ \t]*secure[ \t]*(?=;|$)", re.IGNORECASE)


def rewriter_for(upstream: Upstream, public_host: str) -> Rewriter | None:
    """A rewriter; None if the configuration disables rewriting."""
    return None if upstream.rewrite_location is False else Rewriter(upstream, public_host)


class Rewriter:
    """Rewrites answers of one upstream for one public host."""

    __slots__ = ("_names", "_own_name", "_own_ports", "_public", "_public_host", "_values", "statuses")

    def __init__(self, upstream: Upstream, public_host: str) -> None:
        own = urlsplit(f"//{public_host}")
        self._own_name = own.hostname or ""
        self._public = f"https://{public_host}"
        self._public_host = _PORT.sub("", public_host).encode("ascii")
        self._own_ports = {None, _HTTP_PORT, own.port, *(server.port for server in upstream.servers)}
        names = {server.host.lower() for server in upstream.servers}
        if upstream.host != "preserve":
            names.add(urlsplit(f"//{upstream.host}").hostname or "")
        is_renamed = upstream.host != "preserve" or bool(upstream.rewrite_location)
        self._names = names - {""} if is_renamed else set[str]()
        # The statuses of the answers that are checked.
        self.statuses: Container[int] = _EVERY_STATUS if is_renamed else _LEADING
        self._values: Mapping[bytes, Callable[[bytes], bytes]] = dict.fromkeys(_LOCATIONS, self.location)
        if is_renamed:
            self._values = {**self._values, b"set-cookie": self.cookie}

    def response(self, passing: list[bytes]) -> list[bytes]:
        """The fields of an answer (as `ResponseHead.passing`) with the public name for the upstream's."""
        return _replaced(passing, self._values)

    def location(self, value: bytes) -> bytes:
        """The public URL for a URL of the upstream, or for plain HTTP on the public host; other values unchanged."""
        try:
            parts = urlsplit(value.decode("ascii"))
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            return value
        if parts.scheme not in ("http", "https", "") or not parts.netloc:
            return value
        is_own = parts.scheme == "http" and host == self._own_name and port in self._own_ports
        if not is_own and host not in self._names:
            return value
        rest = value.decode("ascii").partition("//")[2]
        if not rest.startswith(parts.netloc):  # `urlsplit` ignores tabs, so the host may differ from the text
            return value
        return (self._public + rest[len(parts.netloc) :]).encode("ascii")

    def cookie(self, value: bytes) -> bytes:
        """A cookie with the public host for the upstream's domain, and with `Secure`, because clients use https."""

        def replaced(found: re.Match[bytes]) -> bytes:
            domain = found[1].strip().lower().decode("latin-1")
            is_upstreams = any(name == domain or name.endswith("." + domain) for name in self._names)
            return b"; Domain=" + self._public_host if is_upstreams else found[0]

        value = _DOMAIN.sub(replaced, value)
        return value if _SECURE.search(value) else value + b"; Secure"


def _replaced(passing: list[bytes], by_name: Mapping[bytes, Callable[[bytes], bytes]]) -> list[bytes]:
    """A copy with the new values; the list itself if nothing changes."""
    result = passing
    for at in range(0, len(passing), 4):
        rewrite = by_name.get(passing[at].lower())
        if rewrite is not None:
            result = list(passing) if result is passing else result
            result[at + 2] = rewrite(passing[at + 2])
    return result
