"""Header fields out of bytes: one strict parser for requests, responses and trailers.

Keeps true: a field section either parses the way RFC 9112 section 5 writes it, or is refused whole. The
parser is llhttp (through httptools) in its strict mode: no folded lines, no bare LF or CR, no space
before the colon, no control characters, no Content-Length beside Transfer-Encoding, one Content-Length.
llhttp knows a closed list of methods (not `RPC_IN_DATA`) and a request target of its own, so it is
never shown the start line: a constant one stands in its place.
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
    """llhttp's callbacks."""

    __slots__ = ("begun", "ended", "fields", "is_kept", "parser")

    def __init__(self) -> None:
        self.fields: Fields = []
        self.begun = self.ended = 0  # messages
        self.is_kept = True  # there was no "Connection: close"
        self.parser = httptools.HttpResponseParser(self)
        # What follows "Connection: close" is an error to llhttp, and the message itself is judged by us.
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

    Names keep their spelling; values have no leading white space but may have trailing. Raises `FieldsError`, and
    then nothing of the section is in the parser that reads the next one.
    """
    global _collector  # noqa: PLW0603 - made anew only after a section it choked on
    collector = _collector
    fields: Fields = []
    collector.fields = fields
    collector.begun = collector.ended = 0
    try:
        collector.parser.feed_data(_START_LINE + section)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
        _collector = _Collector()
        raise FieldsError(str(error) or "malformed header fields") from error
    # What stood behind the end was another message to the parser, and would go on in the next section.
    if collector.begun != 1 or collector.ended != 1:
        _collector = _Collector()
        raise FieldsError("the field section does not end in its only empty line")
    # After "Connection: close" llhttp goes on, but with that message's Content-Length: the next one's digits would be
    # appended to it (llhttp 9, `llhttp__after_message_complete`).
    if not collector.is_kept:
        _collector = _Collector()
    return fields
