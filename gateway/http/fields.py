"""Parses header fields: one strict parser for requests, responses and trailers.

Keeps true: a field section follows RFC 9112 section 5, or it is refused as a whole. The parser is llhttp (through
httptools) in strict mode: no folded lines, no bare LF or CR, no space before the colon, no control characters, no
Content-Length together with Transfer-Encoding, only one Content-Length. llhttp accepts only a fixed list of methods
(not `RPC_IN_DATA`) and its own syntax of request targets, so it gets a constant start line instead of the real one.
"""

from __future__ import annotations

from typing import Final

import httptools

from gateway.errors import GatewayError

Fields = list[tuple[bytes, bytes]]

# A 304 has no body whatever its fields say (RFC 9110 15.4.5), so the parser is ready again after every section.
_START_LINE: Final = b"HTTP/1.1 304 \r\n"


class FieldsError(GatewayError):
    """The field section is not HTTP."""


class _Collector:
    """llhttp's callbacks, which collect the fields."""

    __slots__ = ("begun", "ended", "fields", "is_kept", "parser")

    def __init__(self) -> None:
        self.fields: Fields = []
        self.begun = self.ended = 0  # messages begun and ended
        self.is_kept = True  # no "Connection: close" was seen
        self.parser = httptools.HttpResponseParser(self)
        # Without this, data after "Connection: close" is an error; the gateway checks the message itself.
        self.parser.set_dangerous_leniencies(lenient_keep_alive=True)

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_message_complete(self) -> None:
        self.ended += 1
        self.is_kept = self.parser.should_keep_alive()


_collector = _Collector()


def parse_fields(section: bytes) -> Fields:
    """The (name, value) pairs of a field section that ends in its empty line.

    Names keep their spelling; values may have trailing but no leading white space. Raises `FieldsError`; the parser
    is then replaced, so that the next section is not affected.
    """
    global _collector  # noqa: PLW0603 - replaced only after a malformed section
    collector = _collector
    fields: Fields = []
    collector.fields = fields
    collector.begun = collector.ended = 0
    try:
        collector.parser.feed_data(_START_LINE + section)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
        _collector = _Collector()
        raise FieldsError(str(error) or "malformed header fields") from error
    # For the parser, data after the end is another message, which would continue in the next section.
    if collector.begun != 1 or collector.ended != 1:
        _collector = _Collector()
        raise FieldsError("the field section does not end in its only empty line")
    # After "Connection: close" llhttp keeps that message's Content-Length, and would append the next message's digits
    # to it (llhttp 9, `llhttp__after_message_complete`).
    if not collector.is_kept:
        _collector = _Collector()
    return fields
