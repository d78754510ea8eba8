r"""Every way in which servers may read one path: decoded again, folded, trimmed, cut, and all of that combined.

A file name such as `100%25.pdf` or `Foto (S(1)).pdf` is one thing to most servers and another thing to a few. A request
for it is let in only where the rules let in each of its readings. Kept true here: the readings are closed under the
steps, so that no order of them and no repetition leads to a path that is not listed; what has a reading with a control
character, an encoded slash or backslash, or a dot segment is refused; and the work has a bound.
docs/adr/0027-readings-of-a-path.md has the reasons.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Never
from urllib.parse import unquote_to_bytes

from gateway.errors import RequestError
from gateway.facts import Reason
from gateway.policy.characters import (
    BLANKS,
    canonical,
    compatible,
    fold,
    fold_widely,
    has_twins,
    objection,
    with_plain_separators,
    without_invisible,
)

# Bounds on the work for one request: some 5 ms at worst, as much as a few handshakes. Real paths are below 300
# characters, and the oddest real names have eight to twenty readings.
MAX_CHARACTERS: Final = 1024
MAX_READINGS: Final = 64
MAX_CHARACTERS_READ: Final = 8 * 1024  # of all readings together

# ASCII that some servers read in another way: escapes within the decoded path, ends of segments in dots or blanks,
# segments that are cut to nothing, ASP.NET's sessions and NTFS streams.
_ODD: Final = re.compile(r"%|[.\s](?=[/;?#]|\Z)|/[;?#]|\([A-Za-z]\(|:[:$]")
_FORBIDDEN_ESCAPE: Final = re.compile(r"%(?:[01][0-9A-Fa-f]|7[Ff]|2[Ff]|5[Cc]|u[0-9A-Fa-f]{4})")
_STREAM: Final = re.compile(r":[:$]")
_SESSION_START: Final = re.compile(r"\([A-Za-z]\(")
_SESSION: Final = r"\((?:[A-Za-z]\([^()]*+\))++\)"
# IIS and ASP.NET differ in which slash goes with a session (CVE-2023-36899).
_SESSIONS: Final = tuple(map(re.compile, (_SESSION, "/" + _SESSION, _SESSION + "/")))
_CUTS: Final = tuple(map(re.compile, (";[^/]*", ";.*", "[?#][^/]*", "[?#].*", "[;?#][^/]*")))
_SLASHES: Final = re.compile("/+")
# What careless decoders take for a character in more bytes than it needs; none of it is in UTF-8.
_OVERLONG: Final = re.compile(
    rb"[\xc0\xc1\xf5-\xfd]|\xe0(?![\xa0-\xbf])|\xed[\xa0-\xbf]|\xf0(?![\x90-\xbf])|\xf4[\x90-\xbf]"
)
# Python's stand-ins for the bytes that are not UTF-8, as Windows reads these.
_WESTERN: Final = {0xDC00 + byte: bytes((byte,)).decode("cp1252", "replace") for byte in range(0x80, 0x100)}


class UriRejected(RequestError):  # noqa: N818  # named for what happened, as the reason code is
    """The path or query is ambiguous or broken; answered with 400 `uri_rejected` before any rule is asked."""

    def __init__(self, detail: str) -> None:
        super().__init__(Reason.URI_REJECTED, detail)


def reject(detail: str) -> Never:
    """Refuse the path; `detail` is one line."""
    raise UriRejected(detail)


def is_odd(text: str) -> bool:
    """Whether a decoded path has anything that a server could read in another way."""
    if _ODD.search(text) is not None or has_twins(text):
        return True
    folders = text[: text.rfind("/")]
    return "?" in folders or "#" in folders


def plain_form(text: str) -> str:
    """A decoded path as rules see it: without parameters and doubled slashes, case folded."""
    if ";" in text or "?" in text or "#" in text:
        text = _merged(_CUTS[-1].sub("", text))
    return fold(text)


def readings(text: str) -> tuple[str, ...]:
    """What an odd path is to servers, in the form that rules see. Raises `UriRejected`."""
    if len(text) > MAX_CHARACTERS:
        reject(f"a path that can be read in several ways is longer than {MAX_CHARACTERS} characters")
    seen, waiting, read_characters = {text: None}, [text], 0
    while waiting:
        reading = waiting.pop()
        _check(reading)
        for other in _others(reading):
            if other in seen:
                continue
            seen[other] = None
            waiting.append(other)
            read_characters += len(other)
            if len(seen) > MAX_READINGS or read_characters > MAX_CHARACTERS_READ:
                reject("the path can be read in too many ways")
    return tuple(dict.fromkeys(form for each in seen for form in _forms(_merged(each))))


def _forms(text: str) -> tuple[str, str]:
    return fold(text), fold_widely(text)


def _merged(text: str) -> str:
    return _SLASHES.sub("/", "/" + text)


def _check(reading: str) -> None:
    """What no reading may hold. Raises `UriRejected`."""
    if (found := _FORBIDDEN_ESCAPE.search(reading)) is not None:
        reject(f"{found[0]} is left when the path is decoded: an encoded slash, backslash or control character")
    if (why := objection(reading)) is not None:
        reject(why)
    if _STREAM.search(reading) is not None:
        reject("'::' or ':$' names a stream of a file on Windows")
    if any(segment and not segment.strip(BLANKS) for segment in reading.split("/")):
        reject("a segment of dots or spaces alone, which some servers take for a dot segment")
    if _SESSION_START.search(reading) is not None and _SESSIONS[0].search(reading) is None:
        reject("a session in the path that does not end, as ASP.NET reads it")


def _others(text: str) -> Iterator[str]:
    """What each single step makes of a path; the same again where a step changes nothing."""
    for step in _STEPS:
        yield from step(text)


def _decoded(text: str) -> Iterable[str]:
    if "%" not in text:
        return ()
    data = unquote_to_bytes(text)
    if _OVERLONG.search(data) is not None:
        reject("the path is not UTF-8 when it is decoded once more, or not in its shortest form")
    try:
        return (data.decode("utf-8"),)
    except UnicodeDecodeError:  # "100%dead.pdf": read by such a server as it likes
        western = data.decode("utf-8", "surrogateescape").translate(_WESTERN)
        return data.decode("utf-8", "replace"), data.decode("utf-8", "ignore"), western


def _cut(text: str) -> Iterable[str]:
    return (cut.sub("", text) for cut in _CUTS)


def _without_sessions(text: str) -> Iterable[str]:
    """Without the first one: servers that look for one session leave the next in the path."""
    return () if _SESSION_START.search(text) is None else (session.sub("", text, count=1) for session in _SESSIONS)


def _trimmed(text: str) -> Iterable[str]:
    """Each segment down to some depth, or the end of the path: Windows trims folders and the last name differently."""
    names = text.split("/")
    for index, name in enumerate(names):
        if (trimmed := name.rstrip(BLANKS)) != name:
            names[index] = trimmed
            yield "/".join(names)
    yield text.rstrip(BLANKS)


def _respelt(text: str) -> Iterable[str]:
    if text.isascii():
        return (with_plain_separators(text),)
    return with_plain_separators(text), canonical(text), compatible(text), without_invisible(text)


_STEPS: Final[tuple[Callable[[str], Iterable[str]], ...]] = (_decoded, _respelt, _cut, _without_sessions, _trimmed)
