"""The upstream's own name in its answers, and the public one in requests, exchanged.

Needed where the upstream is asked under another Host than the client used (`host:` is not preserved): its
redirects, its cookies and ActiveSync's X-MS-Location would lead outside users to a name they can't reach.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from gateway.config.model import Upstream

# RFC 9110 10.2.2 and 8.7; MS-ASHTTP 2.2.2.1.1.4 (451 with X-MS-Location); RFC 5842/4918 use Location too.
_LOCATIONS: Final = frozenset({b"location", b"content-location", b"x-ms-location"})
_DOMAIN: Final = re.compile(rb";[ \t]*domain=[ \t]*\.?([^;]*)", re.IGNORECASE)
_PORT: Final = re.compile(r":[0-9]*$")
_SECURE: Final = re.compile(rb";[ \t]*secure[ \t]*(?=;|$)", re.IGNORECASE)


def rewriter_for(upstream: Upstream, public_host: str) -> Rewriter | None:
    """A rewriter where the upstream's answers need one, else None."""
    is_on = upstream.host != "preserve" if upstream.rewrite_location is None else upstream.rewrite_location
    return Rewriter(upstream, public_host) if is_on else None


class Rewriter:
    """For one upstream and one public host."""

    __slots__ = ("_names", "_public", "_public_host", "base")

    def __init__(self, upstream: Upstream, public_host: str) -> None:
        names = {server.host.lower() for server in upstream.servers}
        if upstream.host != "preserve":
            names.add(urlsplit(f"//{upstream.host}").hostname or "")
        self._names = names - {""}
        self._public = f"https://{public_host}"
        self._public_host = _PORT.sub("", public_host).encode("ascii")
        scheme = upstream.servers[0].scheme
        # How the upstream knows itself; None where it is asked under the public name.
        self.base = f"{scheme}://{upstream.host}".encode("ascii") if upstream.host != "preserve" else None

    def response(self, passing: list[bytes]) -> list[bytes]:
        """The fields of an answer, flattened as `ResponseHead.passing`, with our name for the upstream's."""
        return _replaced(passing, self._of_response)

    @property
    def _of_response(self) -> Mapping[bytes, Callable[[bytes], bytes]]:
        return dict.fromkeys(_LOCATIONS, self.location) | {b"set-cookie": self.cookie}

    def location(self, value: bytes) -> bytes:
        """An absolute URL of the upstream as ours; everything else as it is."""
        try:
            parts = urlsplit(value.decode("ascii"))
            host = (parts.hostname or "").lower()
        except ValueError:
            return value
        if parts.scheme not in ("http", "https", "") or not parts.netloc or host not in self._names:
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
