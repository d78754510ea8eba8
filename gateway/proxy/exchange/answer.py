"""Turns the bytes of an upstream's answer into the events for the client. Does no I/O.

Keeps true: the events don't tell how the upstream framed the answer (RFC 9112 6.3). An answer is complete only when
its framing says so, and then nothing more is read from its connection. Some servers send a body after an answer that
has none (to HEAD, 204, 304), perhaps when the next request is already under way: after such answers no other client
gets the connection.
"""

from __future__ import annotations

from typing import Final

from gateway import clock
from gateway.errors import RequestError, UpstreamError
from gateway.facts import Reason
from gateway.http.body import (
    BodyError,
    BodyReader,
    ChunkedReader,
    CloseReader,
    LengthReader,
)
from gateway.http.date import date_field
from gateway.http.events import END, Data, End, Event, FieldParts, Head, Interim, Upgrade
from gateway.http.fields import Fields
from gateway.http.headers import LAST_PASSING, NEVER_IN_TRAILERS, Classifier, ResponseClassifier, fold
from gateway.http.hsts import without_hsts
from gateway.http.http1 import END_OF_HEAD, RequestHead, ResponseHead, has_bare_lf, parse_response
from gateway.proxy.exchange.connection_logins import binds_connection, continues_login
from gateway.proxy.exchange.rewrite import Rewriter

# An upstream is trusted more than a client, but must not fill the memory.
MAX_RESPONSE_HEAD_BYTES: Final = 128 * 1024
# Interim answers (RFC 9110 15.2) before the final one; more means a broken server.
MAX_INTERIM_ANSWERS: Final = 32

_CONTINUE: Final = 100
_SWITCHING_PROTOCOLS: Final = 101
_FIRST_FINAL: Final = 200
_NO_CONTENT: Final = 204
_NOT_MODIFIED: Final = 304
_BODILESS: Final = frozenset({_NO_CONTENT, _NOT_MODIFIED})

_classify: Final = ResponseClassifier()
_new: Final = tuple.__new__  # takes half the time of a call of the class


class Answer:
    """The answer to one request, processed as it arrives."""

    __slots__ = (
        "_body",
        "_has_let_continue",
        "_held",
        "_interim",
        "_own_fields",
        "_replaces_hsts",
        "_request",
        "_rewriter",
        "awaits_continue",
        "binds",
        "bytes_out",
        "goes_on_with_login",
        "is_clean",
        "is_complete",
        "is_upgraded",
        "left",
        "may_be_followed",
        "response",
    )

    def __init__(
        self, request: RequestHead, rewriter: Rewriter | None, request_id: bytes, hsts: FieldParts = ()
    ) -> None:
        """`hsts`: the site's field; empty if the server's field is forwarded."""
        self._request = request
        self._own_fields = (b"X-Request-Id", b": ", request_id, b"\r\n", *hsts)
        self._replaces_hsts = bool(hsts)
        self._rewriter = rewriter
        self._held = b""  # an unfinished head
        self._interim = 0
        self._body: BodyReader | None = None
        # True while the client may wait for a 100 before sending its body (RFC 9110 10.1.1).
        self.awaits_continue = request.expects_continue and request.has_body
        self._has_let_continue = False  # the gateway sent the 100
        self.response: ResponseHead | None = None  # the final one's head
        self.binds = False  # the answer asks for a login that belongs to the connection
        self.goes_on_with_login = False  # such a login has begun
        self.bytes_out = 0  # of the body, without framing
        self.left = b""  # unprocessed bytes, to be fed again after other clients were served
        self.is_complete = False
        self.is_clean = True  # no bytes came after the answer
        self.may_be_followed = False  # by a body that must not exist
        self.is_upgraded = False  # what follows is not HTTP

    @property
    def has_begun(self) -> bool:
        """True if any bytes of the answer arrived."""
        return self.response is not None or bool(self._held) or self._interim > 0

    def let_continue(self) -> Event:
        """A 100 in place of the upstream's, which is then not forwarded."""
        self.awaits_continue = False
        self._has_let_continue = True
        return Interim(_CONTINUE, b"Continue", ())

    def feed(self, data: bytes, *, may_keep_alive: bool, is_pinned: bool = False) -> list[Event]:
        """Process bytes from the upstream; returns events for the client. Raises `RequestError` if they are not HTTP.

        `is_pinned`: both connections belong to one login and end together.
        """
        if self._body is None:
            data = self._held + data if self._held else data
            return self._head(data, may_keep_alive=may_keep_alive, is_pinned=is_pinned)
        return self._pass_on([], data, self._body)

    def _head(self, data: bytes, *, may_keep_alive: bool, is_pinned: bool) -> list[Event]:
        events: list[Event] = []
        while True:
            end = data.find(END_OF_HEAD)
            if (len(data) if end < 0 else end) > MAX_RESPONSE_HEAD_BYTES:
                raise UpstreamError(Reason.UPSTREAM_BAD_RESPONSE, "the answer's header section is too long")
            if end < 0:
                if has_bare_lf(data):
                    raise UpstreamError(Reason.UPSTREAM_BAD_RESPONSE, "a line of the answer's head ends in a bare LF")
                self._held = data
                return events
            response = parse_response(data, end, _classify)
            data = data[end + 4 :]
            if response.status >= _FIRST_FINAL:
                break
            if response.status == _SWITCHING_PROTOCOLS:
                self._upgrade(response, data, events)
                return events
            self._pass_interim(response, events)
        self._held = b""
        self.response = response
        if response.challenge is not None or response.keeps_login:
            self._read_login(response)
        is_pinned = is_pinned or self.binds
        if self.awaits_continue:
            # Some clients now send the body, others the next request; the gateway can't tell which.
            may_keep_alive = may_keep_alive and is_pinned
            self.awaits_continue = False
        head, body = self._frame(response, may_keep_alive=may_keep_alive, is_pinned=is_pinned)
        self._body = body
        events.append(head)
        return self._pass_on(events, data, body)

    def _read_login(self, response: ResponseHead) -> None:
        if response.challenge is not None:
            self.binds = binds_connection(response.challenge)
            self.goes_on_with_login = continues_login(response.challenge)
        if response.keeps_login:
            self.binds = self.goes_on_with_login = True

    def _pass_interim(self, response: ResponseHead, events: list[Event]) -> None:
        self._interim += 1
        if self._interim > MAX_INTERIM_ANSWERS:
            raise UpstreamError(Reason.UPSTREAM_BAD_RESPONSE, "too many interim answers")
        if response.status == _CONTINUE:
            self.awaits_continue = False
            if self._has_let_continue:
                return
        events.append(Interim(response.status, response.reason, response.passing))

    def _check_upgrade(self, response: ResponseHead) -> bytes:
        """The protocol of a 101. Raises `UpstreamError` if the request did not ask for it."""
        asked = () if self._request.upgrade is None else self._request.upgrade.lower().split(b", ")
        if response.upgrade is None or response.upgrade.strip(b" \t").lower() not in asked:
            raise UpstreamError(Reason.UPSTREAM_BAD_RESPONSE, "the upstream switched protocols without being asked")
        return response.upgrade

    def _upgrade(self, response: ResponseHead, data: bytes, events: list[Event]) -> None:
        protocol = self._check_upgrade(response)
        self.response = response
        self.is_upgraded = True
        self.bytes_out = len(data)  # bytes of the new protocol
        events.append(Upgrade(response.reason, self._fields(response), protocol))
        if data:
            events.append(Data(data))

    def _fields(self, response: ResponseHead) -> list[bytes]:
        fields = [*self._passing(response), *self._own_fields]
        if not response.has_date:  # RFC 9110 6.6.1: added where an answer is forwarded
            fields += date_field(clock.unix_seconds())
        return fields

    def _passing(self, response: ResponseHead) -> list[bytes]:
        passing, rewriter = response.passing, self._rewriter
        if rewriter is not None and response.status in rewriter.statuses:
            passing = rewriter.response(passing)
        return without_hsts(passing) if self._replaces_hsts else passing

    def _frame(self, response: ResponseHead, *, may_keep_alive: bool, is_pinned: bool) -> tuple[Head, BodyReader]:
        """(head for the client, reader of the body)."""
        fields, length = self._fields(response), response.content_length
        if length is not None and response.status != _NO_CONTENT:  # RFC 9110 8.6
            fields += (b"Content-Length", b": ", b"%d" % length, b"\r\n")
        is_sized = True
        body: BodyReader
        if self._request.method == b"HEAD" or response.status in _BODILESS:
            body = LengthReader(0)
            is_plain_304 = response.status == _NOT_MODIFIED and length is None and not response.is_chunked
            self.may_be_followed = length != 0 and (self._request.method == b"HEAD" or not is_plain_304)
        elif length is not None:
            body = LengthReader(length)
        else:
            body = ChunkedReader() if response.is_chunked else CloseReader()
            is_sized = False
        if is_pinned and not (response.is_keep_alive and not isinstance(body, CloseReader)):
            may_keep_alive = False
        return _new(Head, (response.status, response.reason, fields, is_sized, may_keep_alive)), body

    def _pass_on(self, events: list[Event], data: bytes, body: BodyReader) -> list[Event]:
        if data and not body.is_complete:
            try:
                payload, data = body.feed(data)
            except BodyError as error:
                raise UpstreamError(Reason.UPSTREAM_BAD_RESPONSE, f"the answer's body: {error}") from error
            if payload:
                self.bytes_out += len(payload)
                events.append(_new(Data, (payload,)))
        if body.is_complete:
            self.is_complete = True
            self.is_clean = not data
            events.append(End(passing_trailers(body.trailers, _classify)) if body.trailers else END)
        else:
            self.left = data
        return events

    def end(self) -> list[Event] | None:
        """The upstream closed: the last events for the client if that completes the answer, else None."""
        body = self._body
        if not isinstance(body, CloseReader) or self.is_complete:
            return None
        body.is_complete = self.is_complete = True
        self.is_clean = False
        return [END]


def passing_trailers(trailers: Fields, classify: Classifier) -> Fields:
    """The trailer fields that may be forwarded: not those that belong in a head (RFC 9110 6.5.1)."""
    return [
        (name, value)
        for name, value in trailers
        if classify[name] <= LAST_PASSING and fold(name) not in NEVER_IN_TRAILERS
    ]


def unexpected(error: RequestError) -> UpstreamError:
    """The error as an `UpstreamError`, whichever parser raised it."""
    return error if isinstance(error, UpstreamError) else UpstreamError(Reason.UPSTREAM_BAD_RESPONSE, str(error))
