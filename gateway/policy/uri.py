"""The one spelling of a request's path, which the rules judge and the upstream gets.

Keeps true: `normalise` doesn't change a path that it has normalised. A path that is malformed, or that the
gateway itself could read in two ways, is refused and never repaired. A careless upstream may decode the path again,
fold its case, cut `;parameters`, merge slashes or turn backslashes; still it reads no path that the rules have not
judged. If servers differ, `Target.readings` has what each of them reads.
docs/rules.md lists the refused spellings for admins.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import unquote, unquote_to_bytes

import re2

from gateway.errors import PatternError
from gateway.policy.characters import fold, objection
from gateway.policy.readings import UriRejected, cut_readings, has_cuts, is_odd, plain_form, readings, reject

__all__ = ["PatternError", "Target", "UriPattern", "UriRejected", "normalise", "parse_pattern"]


class Target(NamedTuple):
    """A request target in its one spelling, without control characters. A tuple takes half the time of a dataclass."""

    path: str  # the normalised spelling, ASCII, forwarded byte for byte
    query: str | None  # as the client sent it, without "?" and with bytes above 0x7f as %XX; None if there is none
    match: str  # path, the rest decoded once, `;parameters` cut, case folded: what rules look at
    readings: tuple[str, ...] = ()  # other paths, in the same form, that some servers read: rules must let in each one


# Matches nearly every target: unreserved characters and harmless delimiters (RFC 3986, 2.2 and 2.3), no empty segment,
# and no segment that ends in a dot. Possessive, so that the time is linear in the length.
_ORDINARY: Final = re.compile(r"((?:/[A-Za-z0-9._~!$&')*,=@-]++(?<!\.))*+/?+)(?:\?([!-\"$-~]*+))?+")
_FORBIDDEN_ANYWHERE: Final = re.compile(rb"[\x00-\x20\x7f#]")
_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_FORBIDDEN_ESCAPE: Final = re.compile(rb"%(?:[01][0-9A-Fa-f]|7[Ff]|2[Ff]|5[Cc])")
# An escape, or a byte that RFC 3986 3.3 doesn't allow unescaped in a path.
_RESPELLED: Final = re.compile(rb"%..|[^A-Za-z0-9._~!$&'()*+,;=:@/-]")
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_NOT_ASCII: Final = re.compile(rb"[\x80-\xff]")
_RANGE_BYTES: Final = 8  # of the range of a regex's matches that are computed: enough to see its first letter


EVERY_PATH_REGEXES: Final = frozenset({"~.*", "~/.*"})  # as rules are written


def normalise(target: bytes) -> Target:
    """The one spelling of an origin-form target, `/path` or `/path?query` (RFC 9112, 3.2.1; RFC 3986, 6.2.2).

    Raises `UriRejected`, with a detail of one line, for every target that could be read in two ways.
    """
    ordinary = _ORDINARY.fullmatch(target.decode("latin-1"))
    if ordinary is None or not (path := ordinary[1]):
        return _normalise_unusual(target)
    return tuple.__new__(Target, (path, ordinary[2], path.lower(), ()))


def _normalise_unusual(target: bytes) -> Target:
    raw_path, mark, raw_query = target.partition(b"?")
    if (found := _FORBIDDEN_ANYWHERE.search(target)) is not None:
        reject(f"byte {found[0][0]:#04x} at {found.start()}: control characters, spaces and '#' are not allowed")
    if not raw_path.startswith(b"/"):
        reject("the path does not begin with '/'")
    _check_escapes(raw_path)
    spelled = _RESPELLED.sub(_respell, raw_path)
    text = _decode(spelled)
    if (why := objection(text)) is not None:
        reject(why)
    kept = _walk(spelled.decode("ascii").split("/"), text.split("/"))
    query = _NOT_ASCII.sub(_respell, raw_query).decode("ascii") if mark else None
    text = "/" + "/".join(name for _, name in kept)
    match = plain_form(text)
    others: tuple[str, ...] = ()
    if is_odd(text):
        others = readings(text)
    elif has_cuts(text):
        others = cut_readings(text)
    others = tuple(reading for reading in others if reading != match)
    return Target("/" + "/".join(spelling for spelling, _ in kept), query, match, others)


def _check_escapes(path: bytes) -> None:
    if b"\\" in path:
        reject("some servers read a backslash as a slash")
    if (broken := _BROKEN_ESCAPE.search(path)) is not None:
        reject(f"'%' at {broken.start()} is not followed by two hex digits")
    if (forbidden := _FORBIDDEN_ESCAPE.search(path)) is not None:
        reject(
            f"{forbidden[0].decode('ascii')} at {forbidden.start()} is an encoded slash, backslash or control character"
        )


def _decode(path: bytes) -> str:
    try:
        return unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UriRejected("the path is not UTF-8, or not in its shortest form") from error


def _walk(spellings: list[str], names: list[str]) -> list[tuple[str, str]]:
    """The remaining segments, each as it is forwarded and decoded; without the empty one before the first "/"."""
    last = len(names) - 1
    has_cuts = any(";" in name for name in names) or any("?" in name or "#" in name for name in names[:last])
    has_empty = "" in names[1:last]
    kept: list[tuple[str, str]] = []
    for index in range(1, last + 1):
        name = names[index]
        if name in {".", ".."}:
            if has_cuts or (has_empty and name == ".."):
                reject(
                    "servers differ in how they read a dot segment in a path with ';', '?' or '#', or '..' beside '//'"
                )
            if name == "..":
                _go_up(kept)
            if index == last:
                kept.append(("", ""))
        elif name or index == last:
            kept.append((spellings[index], name))
    return kept


def _go_up(kept: list[tuple[str, str]]) -> None:
    if not kept:
        reject("'..' leads above the root")
    kept.pop()


def _spellings() -> dict[bytes, bytes]:
    """The one spelling of each byte that must be escaped in a path, and of each escape with digits in either case."""
    table = {bytes((value,)): b"%%%02X" % value for value in range(256)}
    for high in _HEX_DIGITS:
        for low in _HEX_DIGITS:
            value = int(high + low, 16)
            spelled = bytes((value,)) if value in _UNRESERVED else b"%%%02X" % value
            table[f"%{high}{low}".encode("ascii")] = spelled
    return table


_HEX_DIGITS: Final = "0123456789abcdefABCDEF"
_SPELLING: Final = _spellings()  # a table, because a client may send a path with nothing but escapes


def _respell(found: re.Match[bytes]) -> bytes:
    return _SPELLING[found[0]]


@dataclass(frozen=True, slots=True)
class UriPattern:
    """A rule's `uri`, parsed, to be compared with `Target.match`. All three kinds ignore case."""

    kind: Literal["prefix", "exact", "regex"]
    text: str  # as written
    folded: str  # what a prefix (without a slash at its end, so "" is every path) or exact pattern is compared with
    regex: Any = field(default=None, compare=False)  # a compiled re2 pattern; only for regexes

    def matches(self, path: str) -> bool:
        """Whether the pattern matches the match form of a path (`Target.match`)."""
        if self.kind == "prefix":
            return path.startswith(self.folded) and path[len(self.folded) :][:1] in {"", "/"}
        if self.kind == "exact":
            return path == self.folded
        return self.regex.fullmatch(path) is not None


def parse_pattern(text: str) -> UriPattern:
    """A rule's `uri` pattern: `/prefix`, `=/exact` or `~regex`. Raises `PatternError` with the remedy."""
    if text.startswith("~"):
        return UriPattern("regex", text, "", _compile(text[1:]))
    is_exact = text.startswith("=")
    folded = _pattern_path(text, text[1:] if is_exact else text)
    return UriPattern("exact", text, folded) if is_exact else UriPattern("prefix", text, folded.rstrip("/"))


def _pattern_path(text: str, path: str) -> str:
    if not path.startswith("/"):
        raise PatternError(f"{text!r} is not a path", "write /prefix, =/exact or ~regex")
    try:
        spelled = _NOT_ASCII.sub(_respell, path.encode("utf-8", "surrogatepass"))
        target = normalise(spelled)
    except UriRejected as error:
        raise PatternError(f"no request has the path {text!r}: {error.cause}", "write the path without that") from error
    if target.query is not None or ";" in path or fold(unquote(target.path)) != target.match:
        raise PatternError(
            f"{text!r} contains '?', '#' or ';'", "write only the path: rules do not see what follows it"
        )
    if target.path.encode("ascii") != spelled:
        raise PatternError(f"rules never see the spelling {text!r}", f"write {target.path}")
    if target.readings:
        cause = f"some servers read {text!r} as {target.readings[0]!r}"
        raise PatternError(cause, "write the folder above it")
    return target.match


def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    try:
        regex = re2.compile(pattern, options)
    except UnicodeEncodeError as error:
        raise PatternError(f"{pattern!r} is not Unicode text", "write it in UTF-8") from error
    except re2.error as error:
        told = error.args[0]  # bytes here, but text in other places of re2
        cause = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)
        raise PatternError(f"{pattern!r} is not a regular expression: {cause}", "write it in RE2 syntax") from error
    if not _can_match_a_path(regex):
        raise PatternError(
            f"the regular expression {pattern!r} can't match any path",
            "begin it with / or .*, because it must match the whole path",
        )
    return regex


def _can_match_a_path(regex: Any) -> bool:
    try:
        lowest, highest = regex.possiblematchrange(_RANGE_BYTES)
    except re2.error:  # the range has no bounds
        return True
    return bool(lowest < b"0" and highest >= b"/")  # "0" comes after "/"
