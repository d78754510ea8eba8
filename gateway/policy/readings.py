r"""All ways in which servers may read one path: decoded again, folded, trimmed, cut, and all of that combined.

Most servers read a file name such as `100%25.pdf` or `Foto (S(1)).pdf` in one way, and a few in another. A request for
it is let in only if the rules let in each reading. Keeps true: the readings are closed under the steps,
so no order and no repetition of steps leads to a path that is not listed. A path is refused if a reading has a control
character, an encoded slash or backslash, or a dot segment. The work is bounded.
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

# Limits on the work for one request: at worst some 5 ms, as much as a few handshakes. Real paths have less than 300
# characters, and the most unusual real names have eight to twenty readings.
MAX_CHARACTERS: Final = 1024
MAX_READINGS: Final = 64
MAX_CHARACTERS_READ: Final = 8 * 1024  # of all readings together

# ASCII text that some servers read in another way: escapes within the decoded path, ends of segments in dots or blanks,
# segments that are cut to nothing, ASP.NET's sessions, NTFS streams ("::" may begin one), and a plus sign, which is a
# space in forms.
_ODD: Final = re.compile(r"%|\+|[.\s](?=[/;?#]|\Z)|/[;?#]|\([A-Za-z]\(|:[:$]")
_FORBIDDEN_ESCAPE: Final = re.compile(r"%(?:[01][0-9A-Fa-f]|7[Ff]|2[Ff]|5[Cc]|u[0-9A-Fa-f]{4})")
_STREAM: Final = re.compile(r":\$")
_SESSION_START: Final = re.compile(r"\([A-Za-z]\(")
_SESSION: Final = r"\((?:[A-Za-z]\([^()]*+\))++\)"
# IIS and ASP.NET differ in which slash goes with a session (CVE-2023-36899).
_SESSIONS: Final = tuple(map(re.compile, (_SESSION, "/" + _SESSION, _SESSION + "/")))
# "::" is for Windows, which may read "a::b" as the file or folder "a".
_CUTS: Final = tuple(map(re.compile, (";[^/]*", "::[^/]*", ";.*", "[?#][^/]*", "[?#].*", "[;?#][^/]*")))
_SLASHES: Final = re.compile("/+")
# Bytes that careless decoders read as a character in more bytes than it needs. Valid UTF-8 has none of them.
_OVERLONG: Final = re.compile(
    rb"[\xc0\xc1\xf5-\xfd]|\xe0(?![\xa0-\xbf])|\xed[\xa0-\xbf]|\xf0(?![\x90-\xbf])|\xf4[\x90-\xbf]"
)
# Python's surrogates for bytes that are not UTF-8, and how Windows reads these bytes.
_WESTERN: Final = {0xDC00 + byte: bytes((byte,)).decode("cp1252", "replace") for byte in range(0x80, 0x100)}


class UriRejected(RequestError):  # noqa: N818  # named for what happened, as the reason code is
    """The path or query is ambiguous or broken; answered with 400 `uri_rejected` before any rule is tried."""

    def __init__(self, detail: str) -> None:
        super().__init__(Reason.URI_REJECTED, detail)


def reject(detail: str) -> Never:
    """Refuse the path; `detail` is one line."""
    raise UriRejected(detail)


def is_odd(text: str) -> bool:
    """Whether a server could read a decoded path in another way. Characters at which it is cut are not odd."""
    return _ODD.search(text) is not None or has_twins(text)


def plain_form(text: str) -> str:
    """A decoded path as rules see it: without parameters and doubled slashes, case folded."""
    if has_cuts(text):
        text = _merged(_CUTS[-1].sub("", text))
    return fold(text)


def has_cuts(text: str) -> bool:
    """Whether a decoded path has a character at which some servers cut it, or one of its segments."""
    return ";" in text or "?" in text or "#" in text


def cut_readings(text: str) -> tuple[str, ...]:
    """What a path that `has_cuts`, and is not odd, is to servers, in the form that rules see."""
    found = dict.fromkeys((text, *_cut(text)))
    for cut in tuple(found):
        if cut is not text and has_cuts(cut):
            found.update(dict.fromkeys(_cut(cut)))
    return tuple(dict.fromkeys(fold(_merged(each)) for each in found))


def readings(text: str) -> tuple[str, ...]:
    """All readings of an odd path, in the form that rules see. Raises `UriRejected`."""
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
    return _SLASHES.sub("/", "/" + text) if "//" in text or text[:1] != "/" else text


def _check(reading: str) -> None:
    """Raises `UriRejected` if a reading contains something that is never allowed."""
    if (found := _FORBIDDEN_ESCAPE.search(reading)) is not None:
        reject(f"when the path is decoded, {found[0]} is left: an encoded slash, backslash or control character")
    if (why := objection(reading)) is not None:
        reject(why)
    if _STREAM.search(reading) is not None:
        reject("':$' names a stream of a file on Windows")
    if any(segment and not segment.strip(BLANKS) for segment in reading.split("/")):
        reject("a segment has only dots or spaces, and some servers read it as a dot segment")
    if _SESSION_START.search(reading) is not None and _SESSIONS[0].search(reading) is None:
        reject("the path has an ASP.NET session without its end")


def _others(text: str) -> Iterator[str]:
    """The results of each single step; the path itself if a step changes nothing."""
    for step in _STEPS:
        yield from step(text)


def _spaced(text: str) -> Iterable[str]:
    """As a decoder of forms reads it. Windows drops a name of spaces alone."""
    if "+" not in text:
        return ()
    return ("/".join(name.replace("+", " ") if name.strip("+") else "" for name in text.split("/")),)


def _decoded(text: str) -> Iterable[str]:
    if "%" not in text:
        return ()
    data = unquote_to_bytes(text)
    if _OVERLONG.search(data) is not None:
        reject("the path is not UTF-8 when it is decoded once more, or not in its shortest form")
    try:
        return (data.decode("utf-8"),)
    except UnicodeDecodeError:  # "100%dead.pdf": servers differ in how they read it
        western = data.decode("utf-8", "surrogateescape").translate(_WESTERN)
        return data.decode("utf-8", "replace"), data.decode("utf-8", "ignore"), western


def _cut(text: str) -> Iterable[str]:
    return (cut.sub("", text) for cut in _CUTS)


def _without_sessions(text: str) -> Iterable[str]:
    """Without the first session: servers that look for one session leave the next one in the path."""
    return () if _SESSION_START.search(text) is None else (session.sub("", text, count=1) for session in _SESSIONS)


def _trimmed(text: str) -> Iterable[str]:
    """Trims the first segments, one more each time, or only the end: Windows trims folders and names differently."""
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


_STEPS: Final[tuple[Callable[[str], Iterable[str]], ...]] = (
    _decoded,
    _spaced,
    _respelt,
    _cut,
    _without_sessions,
    _trimmed,
)
