"""The upstream's own name in its answers, and the public one in requests, exchanged.

Needed where the upstream is asked under another Host than the client used (`host:` is not preserved): its
redirects, its cookies and ActiveSync's X-MS-Location would lead outside users to a name they can't reach. Where the
host is preserved only one thing is changed: a server that is asked by plain HTTP redirects to `http://` and the public
name, and clients speak https with us.
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
# Answers that lead to another address (RFC 9110 15.3.2 and 15.4; MS-ASHTTP 2.2.2.1.1.4): the only ones that are looked
# at where the host is preserved, so that others cost nothing.
_LEADING: Final = frozenset({201, 301, 302, 303, 307, 308, 451})
_EVERY_STATUS: Final = range(1000)
_SECURE: Final = re.compile(rb";[ \t]*secure[ \t]*(?=;|$)", re.IGNORECASE)


def rewriter_for(upstream: Upstream, public_host: str) -> Rewriter | None:
    """A rewriter, or None where the configuration says that nothing is rewritten."""
    return None if upstream.rewrite_location is False else Rewriter(upstream, public_host)


class Rewriter:
    """For one upstream and one public host."""

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
        # The statuses of the answers that are looked at.
        self.statuses: Container[int] = _EVERY_STATUS if is_renamed else _LEADING
        self._values: Mapping[bytes, Callable[[bytes], bytes]] = dict.fromkeys(_LOCATIONS, self.location)
        if is_renamed:
            self._values = {**self._values, b"set-cookie": self.cookie}

    def response(self, passing: list[bytes]) -> list[bytes]:
        """The fields of an answer, flattened as `ResponseHead.passing`, with our name for the upstream's."""
        return _replaced(passing, self._values)

    def location(self, value: bytes) -> bytes:
        """An absolute URL of the upstream, or by plain HTTP of our own, as ours; everything else as it is."""
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
        if not rest.startswith(parts.netloc):  # `urlsplit` passes over tabs; what is left of such a name is no path
            return value
        return (self._public + rest[len(parts.netloc) :]).encode("ascii")

    def cookie(self, value: bytes) -> bytes:
        """A cookie for the upstream's domain becomes one for our host, and `Secure`: clients speak https with us."""

        def replaced(found: re.Match[bytes]) -> bytes:
            domain = found[1].strip().lower().decode("latin-1")
            is_upstreams = any(name == domain or name.endswith("." + domain) for name in self._names)
            return b"; Domain=" + self._public_host if is_upstreams else found[0]

        value = _DOMAIN.sub(replaced, value)
        return value if _SECURE.search(value) else value + b"; Secure"


def _replaced(passing: list[bytes], by_name: Mapping[bytes, Callable[[bytes], bytes]]) -> list[bytes]:
    """A copy with new values where there are any; the list itself where there are none."""
    result = passing
    for at in range(0, len(passing), 4):
        rewrite = by_name.get(passing[at].lower())
        if rewrite is not None:
            result = list(passing) if result is passing else result
            result[at + 2] = rewrite(passing[at + 2])
    return result
