"""Syslog messages as RFC 5424 defines them, read strictly: what deviates in one byte is a failure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_MESSAGE = re.compile(
    rb"<(?P<priority>[1-9]?[0-9]|1[0-8][0-9]|19[01])>1 "
    rb"(?P<time>\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?"
    rb"(?:Z|[+-]\d\d:\d\d)) "
    rb"(?P<host>[\x21-\x7e]{1,255}) (?P<app>[\x21-\x7e]{1,48}) (?P<process>[\x21-\x7e]{1,128}) "
    rb"(?P<msgid>[\x21-\x7e]{1,32}) "
    rb'(?P<data>-|(?:\[[!#-<>-\\^-~]{1,32}(?: [!#-<>-\\^-~]{1,32}="(?:[^"\\\]]|\\["\\\]])*")*\])+)'
    rb"(?: (?P<text>.*))?",
    re.DOTALL,
)


@dataclass(frozen=True)
class Message:
    priority: int
    time: str
    host: str
    app: str
    process: str
    msgid: str
    data: str
    text: bytes


def parse(message: bytes) -> Message:
    found = _MESSAGE.fullmatch(message)
    assert found is not None, message
    found["data"].decode()
    names = ("time", "host", "app", "process", "msgid", "data")
    return Message(int(found["priority"]), *(found[name].decode() for name in names), found["text"])


def counted(stream: bytes) -> tuple[list[bytes], bytes]:
    """The messages of a stream with octet counting (RFC 6587, 3.4.1), and the beginning of one that is not whole."""
    messages = []
    while (found := re.match(rb"([1-9][0-9]*) ", stream)) is not None:
        end = found.end() + int(found[1])
        if end > len(stream):
            break
        messages.append(stream[found.end() : end])
        stream = stream[end:]
    assert found is not None or re.fullmatch(rb"[0-9]*", stream), stream[:80]
    return messages, stream
