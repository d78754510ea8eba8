"""Makes refusals: status, fields and page."""

from __future__ import annotations

import logging
from typing import Final

from gateway import clock
from gateway.errors import RequestError
from gateway.facts import ANOTHER_CERTIFICATE_COULD_HELP, STATUS_OF_REASON, Judgement, Reason
from gateway.http.date import date_field
from gateway.http.events import END, Data, Event, FieldParts, Head, field, fields
from gateway.http.headers import ACCEPT, ACCEPT_LANGUAGE
from gateway.http.http1 import RequestHead
from gateway.http.pages import Pages
from gateway.http.published import MethodNotAllowed
from gateway.logs.record import AccessRecord
from gateway.proxy.limits.lockout import LockedOut

# After these the connection ends: the next request would be refused too, or can't be found in the data.
_ALWAYS_CLOSES: Final = ANOTHER_CERTIFICATE_COULD_HELP | {
    Reason.BAD_REQUEST,
    Reason.HOST_MISMATCH,
    Reason.TOO_MANY_CONNECTIONS,
    Reason.REQUEST_TIMEOUT,
}
# A connection ends after this many refusals in a row. If a page's forty files are all refused, a browser asks for six
# or seven of them on each of its six connections; a client that continues longer only fills the log.
MAX_REFUSALS_IN_A_ROW: Final = 10

# Errors of upstreams, whose details contain servers' addresses: only for the log, not for clients.
_OURS_TO_KNOW: Final = frozenset({502, 503, 504})

_log = logging.getLogger("gateway.proxy")


def closes(reason: Reason, head: RequestHead) -> bool:
    """True if the connection must end after this refusal: an unread body would be read as a request."""
    return head.has_body or reason in _ALWAYS_CLOSES


def counts(reason: Reason) -> bool:
    """True for a refusal caused by the client, not by the upstream."""
    return STATUS_OF_REASON[reason] not in _OURS_TO_KNOW


def refusal_events(  # noqa: PLR0913 - keyword-only, each a fact of one answer
    pages: Pages,
    error: RequestError,
    head: RequestHead | None,
    judgement: Judgement,
    record: AccessRecord,
    *,
    is_closing: bool,
    hsts: FieldParts = (),
) -> list[Event]:
    """The complete answer; status, reason and length are set in the record. `hsts`: the site's field, empty for
    plain HTTP (RFC 6797 7.2).
    """
    status = STATUS_OF_REASON[error.reason]
    headers, body = pages.render(
        error.reason,
        request_id=record.request_id or "",
        accept=None if head is None else head.values[ACCEPT],
        accept_language=None if head is None else head.values[ACCEPT_LANGUAGE],
        judgement=judgement,
        detail=None if status in _OURS_TO_KNOW else error.cause,
    )
    if status in _OURS_TO_KNOW:
        _log.warning("request %s: %s", record.request_id, error)
    has_body = head is None or head.method != b"HEAD"
    record.status = status
    record.refused(error.reason, error.for_log if isinstance(error, LockedOut) else error.cause)
    record.bytes_out = len(body) if has_body else 0
    parts = [*date_field(clock.unix_seconds()), *fields(headers), *hsts]
    if isinstance(error, LockedOut):
        parts += field(b"Retry-After", b"%d" % error.retry_after_seconds)
    elif isinstance(error, MethodNotAllowed):
        parts += field(b"Allow", error.allow)
    events: list[Event] = [Head(status, None, parts, is_sized=True, may_keep_alive=not is_closing)]
    if has_body:
        events.append(Data(body))
    return [*events, END]


def note_unanswered(error: RequestError, record: AccessRecord) -> None:
    """Note a request that gets no answer, so that the client retries; the record then has no status."""
    record.refused(error.reason, error.cause)
    _log.warning("request %s: %s; the client's connection is closed without an answer", record.request_id, error)
