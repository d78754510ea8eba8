"""`Strict-Transport-Security` (RFC 6797): a browser that has seen it uses only https for the host.

Keeps true: a client gets only one such field. Browsers use the first (8.1), so the site's replaces the server's.
"""

from __future__ import annotations

from typing import Final

from gateway.http.events import FieldParts, field

_NAME: Final = b"strict-transport-security"


def hsts_field(max_age_seconds: float, *, includes_subdomains: bool, is_preloaded: bool) -> FieldParts:
    """The field that says this."""
    parts = [f"max-age={int(max_age_seconds)}"]
    parts += ["includeSubDomains"] if includes_subdomains else []
    parts += ["preload"] if is_preloaded else []
    return field(b"Strict-Transport-Security", "; ".join(parts).encode("ascii"))


def without_hsts(passing: list[bytes]) -> list[bytes]:
    """`passing` of a head without the server's field."""
    places = range(0, len(passing), 4)
    if not any(passing[at].lower() == _NAME for at in places):
        return passing
    return [part for at in places if passing[at].lower() != _NAME for part in passing[at : at + 4]]
