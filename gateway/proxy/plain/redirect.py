"""Answers for a listener with `redirect_to_https`: 308, or 302 as configured.

Keeps true: it redirects only to hosts of the sites (no open redirect), and only to the normalised path.
"""

from __future__ import annotations

from gateway import clock
from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.http.date import date_field
from gateway.http.events import END, Head, field
from gateway.http.http1 import RequestHead
from gateway.policy.hosts import normalise_host
from gateway.policy.uri import normalise
from gateway.proxy.plain.connection import PlainConnection
from gateway.proxy.snapshot import Snapshot


class Redirects:
    """Redirects every request."""

    def __init__(self, status: int) -> None:
        self._status = status

    def respond(self, connection: PlainConnection, head: RequestHead, rest: bytes) -> bool:  # noqa: ARG002 - a body changes nothing
        """Answer with a redirect. Raises `RequestError`."""
        location = location_of(connection.service.snapshot, head)
        record = connection.begin()
        record.status = self._status
        fields = (
            *date_field(clock.unix_seconds()),
            *field(b"Location", location.encode("latin-1")),
            *field(b"X-Request-Id", f"{record.request_id}".encode("ascii")),
            *field(b"Content-Length", b"0"),
        )
        connection.send((Head(self._status, None, fields, is_sized=True, may_keep_alive=False), END))
        connection.end(record)
        return True


def location_of(snapshot: Snapshot, head: RequestHead) -> str:
    """The same address over https. Raises `RequestError` for a host that no site has."""
    host = normalise_host((head.host or b"").decode("latin-1"))
    if snapshot.sites.find(host) is None:
        raise RequestError(Reason.HOST_MISMATCH, f"there is no site {host}")
    target = normalise(head.target)
    return f"https://{host}{target.path}{'' if target.query is None else '?' + target.query}"
