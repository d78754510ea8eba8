"""Explains why a text is not valid YAML, and what to write instead.

The parser reports what it expected. An admin wants to know which character is wrong and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.config.braces import expanded
from gateway.config.problems import Mark, quote
from gateway.config.yaml_text import as_quoted, as_yaml, as_yaml_list

_SPACES: Final = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_INVISIBLE: Final = "\u00ad\u200b-\u200f\u2060\ufeff"
_CURLY: Final = "\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb\u2039\u203a"
_ODD: Final = re.compile(f"[{_SPACES}{_INVISIBLE}{_CURLY}]")
_COMMENT: Final = re.compile(r"(?:^|\s)#.*")
_BLANKS: Final = f"[{_SPACES}{_INVISIBLE}]"
_ODD_BLANK: Final = re.compile(f"^{_BLANKS}|{_BLANKS}$|^-{_BLANKS}|^[A-Za-z_]+:{_BLANKS}")
# Where spaces and quotes have a meaning in YAML; in other places they may be part of a name.
_ODD_PLACED: Final = re.compile(f"(?:^|(?<=[ \\[{{,:-]))[{_SPACES}{_INVISIBLE}{_CURLY}]|{_BLANKS}(?=[A-Za-z_]+:|$)")
_IN_CURLY: Final = re.compile(f"[{_CURLY}](.*)[{_CURLY}]", re.DOTALL)
_LINE_START: Final = re.compile(r"[ \t]*(?:- +)*")
_NO_SPACE: Final = re.compile(r"[ ]*(?:- +)?([A-Za-z_]+):([^\s/:][^\s]*)")
_NO_COLON: Final = re.compile(r"[ ]*(?:- +)?([A-Za-z_]+)(?:(?: *[=;] *| +)([^\s:=;]+))?")
# A line in which a value begins with a quote that is not closed there.
_FOREIGN_COMMENT: Final = re.compile(r"[ ]*(//+|/\*+|<!--|;+)\s*(.*?)\s*(?:\*+/|-->)?")
_HAS_VALUE: Final = re.compile(r"[ ]*(?:- +)*[^\s:]+:\s+(\S)")
_OPEN_QUOTE: Final = re.compile(r"""[ ]*(?:- +)*(?:[^\s:'"]+:\s+)?(["'])(?:(?!\1).)*""")
_QUOTED: Final = re.compile(r"""(?:"([^"]*)"|'([^']*)')""")
_QUOTED_VALUES: Final = re.compile(rf"{_QUOTED.pattern}(?:(?:\s*,\s*|\s+){_QUOTED.pattern})+")
_TOKEN_START: Final = re.compile(r"(?:.*[\s\[{,])?", re.DOTALL)
_VALUE_START: Final = re.compile(r".*(?:[:,]\s+|[{\[])")
# A value in brackets that contains a '#', followed by the closing bracket.
_IN_COMMENT: Final = re.compile(r"""[\[{](?:[^"'#]*[,:\[{])?\s*([^"'#,:\[{]*\s\#[^,\]}]*)[,\]}].*""")
_CLOSING: Final = {"[": "]", "{": "}"}
_LONG_DASH: Final = re.compile(r"\s*([\u2010-\u2015\u2212])\s")
_IPV6_AND_PORT: Final = re.compile(r"""(?<!["'\w])\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\]:[0-9]+""")


@dataclass(frozen=True, slots=True)
class Hint:
    """A place in the file, with the cause and the remedy."""

    mark: Mark
    cause: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Where the parser stopped, and its message."""

    lines: list[str]
    at: Mark
    problem: str
    begun: Mark | None  # where the list, mapping or value that it was reading began

    @property
    def line(self) -> str:
        """The line where it stopped; empty after the last line."""
        return self.lines[self.at.line - 1] if self.at.line <= len(self.lines) else ""

    @property
    def above(self) -> int:
        """The number of the last line above that is not empty; 0 if there is none."""
        numbers = range(min(self.at.line - 1, len(self.lines)), 0, -1)
        return next((number for number in numbers if _content(self.lines[number - 1]).strip()), 0)

    @property
    def rest(self) -> str:
        """The line from the place on where it stopped."""
        return self.line[self.at.column - 1 :]


def explain(stop: Stop) -> Hint | None:
    """The first explanation that fits; None if no explanation fits."""
    return next((hint for look in _LOOKS if (hint := look(stop)) is not None), None)


def odd_scalar(text: str, *, is_key: bool) -> tuple[str, str] | None:
    """Cause and remedy for an unquoted value with characters that only look like quotes or spaces; otherwise None."""
    if (found := _IN_CURLY.fullmatch(text)) is not None:
        return "curly quotes are ordinary characters to YAML", f"write {as_quoted(found[1])}"
    odd = _ODD.search(text) if is_key else _ODD_BLANK.search(text)
    if odd is None:
        return None
    character = next(each for each in text if _ODD.match(each))
    return f"{quote(text)} contains {_name(character)}", f"write {clean(text)}"


def clean(text: str) -> str:
    """The text with ordinary spaces, and without invisible characters and curly quotes."""
    text = re.sub(f"[{_SPACES}]", " ", text)
    return re.sub(f"[{_INVISIBLE}{_CURLY}]", "", text).strip()


def _name(character: str) -> str:
    code = f"(U+{ord(character):04X})"
    if re.match(f"[{_SPACES}]", character):
        return f"a no-break space {code}" if character in "\u00a0\u202f" else f"an unusual space {code}"
    return f"an invisible character {code}" if re.match(f"[{_INVISIBLE}]", character) else f"a curly quote {code}"


def _content(line: str) -> str:
    return _COMMENT.sub("", line)


def _conflict(stop: Stop) -> Hint | None:
    for number, line in enumerate(stop.lines, start=1):
        if line.startswith(("<<<<<<< ", ">>>>>>> ")):
            return Hint(Mark(number, 1), "this is the marker of a merge conflict", "resolve the conflict")
    return None


def _character(stop: Stop) -> Hint | None:
    """A tab, an odd space or quote on the line where it stopped, or on the one above."""
    for number in (stop.above, stop.at.line):
        line = _content(stop.lines[number - 1]) if 0 < number <= len(stop.lines) else ""
        tab = re.match(r"[ ]*(?:- *)?\t", line)
        if tab is not None:
            return Hint(Mark(number, tab.end()), "the indentation has a tab", "write spaces instead")
        if (dash := _LONG_DASH.match(line)) is not None:
            cause = f"this is a long dash (U+{ord(dash[1]):04X})"
            return Hint(Mark(number, dash.start(1) + 1), cause, "write an ordinary '-'")
        odd = _ODD_PLACED.search(line)
        if odd is None:
            continue
        straight = 'write straight quotes: "…"' if re.match(f"[{_CURLY}]", odd[0]) else "write an ordinary space"
        remedy = "remove it" if re.match(f"[{_INVISIBLE}]", odd[0]) else straight
        return Hint(Mark(number, odd.start() + 1), f"this is {_name(odd[0])}", remedy)
    return None


def _escape(stop: Stop) -> Hint | None:
    """A backslash in double quotes that doesn't begin an escape."""
    if "escape" not in stop.problem and "hexdecimal" not in stop.problem:
        return None
    for found in re.finditer(r'"([^"]*)"', stop.line):
        if not found.start() < stop.at.column <= found.end() or "'" in found[1]:
            continue
        raw = found[1]
        is_path = re.match(r"[A-Za-z]:\\|\\\\", raw) is not None
        other = f", or {raw.replace(chr(92), '/')}" if is_path else ""
        cause = "a backslash in double quotes begins an escape"
        return Hint(Mark(stop.at.line, found.start() + 1), cause, f"write '{raw}'{other}")
    return None


def _unquoted(stop: Stop) -> Hint | None:
    """A value that needs quotes because of its first character, or of one with a special meaning in brackets."""
    if (address := _IPV6_AND_PORT.search(stop.line)) is not None:
        return _needs_quotes(stop, address.start(), address[0], "'[' begins a list in YAML")
    before = stop.line[: stop.at.column - 1]
    if "alphabetic or numeric" in stop.problem and before[-1:] in {"*", "&"}:
        what = "an alias" if before[-1] == "*" else "an anchor"
        return _token(stop, len(before) - 1, f"{before[-1]!r} begins {what} in YAML")
    if "cannot start any token" in stop.problem and stop.rest[:1] in {"@", "`", "%"}:
        return _token(stop, len(before), f"a value in YAML can't begin with {stop.rest[0]!r}")
    is_colon = stop.rest.startswith(":") and ("node content" in stop.problem or "unexpected ':'" in stop.problem)
    if is_colon:
        return _token(stop, len(_start_of_token(before)), "':' has a special meaning in brackets")
    if "',' or" not in stop.problem or stop.begun is None:
        return None
    if stop.rest[:1] in {"{", "["}:
        return _token(stop, len(_start_of_token(before)), f"{stop.rest[0]!r} has a special meaning in brackets")
    if before.endswith("}") and "{" in before and re.match(r"[^\s,\]}]", stop.rest):
        return _token(stop, before.rindex("{"), "'{' has a special meaning in brackets")
    return None


def _start_of_token(before: str) -> str:
    found = _TOKEN_START.match(before)
    return found[0] if found is not None else ""


def _token(stop: Stop, start: int, cause: str) -> Hint:
    """A hint for the word that begins at `start`."""
    word = _word(stop.line[start:])
    if (names := expanded(word)) is None:
        return _needs_quotes(stop, start, word, cause)
    is_in_list = stop.line[:start].count("[") > stop.line[:start].count("]")
    shown = ", ".join(map(as_yaml, names)) if is_in_list else as_yaml_list(names)
    return Hint(Mark(stop.at.line, start + 1), f"{cause}, and braces list no names", f"write {shown}")


def _word(text: str) -> str:
    """The word at the start of `text`. It ends at a comma or space outside its own brackets."""
    closing: list[str] = []
    for index, letter in enumerate(text):
        if letter in _CLOSING:
            closing.append(_CLOSING[letter])
        elif closing and letter == closing[-1]:
            closing.pop()
        elif not closing and (letter.isspace() or letter in {",", "]", "}"}):
            return text[:index]
    return text if not closing else re.split(r"[\s,]", text)[0]


def _needs_quotes(stop: Stop, start: int, word: str, cause: str) -> Hint:
    return Hint(Mark(stop.at.line, start + 1), cause, f"put the value in quotes: {as_quoted(word)}")


def _colon(stop: Stop) -> Hint | None:
    """No space after a colon, a second colon, or a line that is indented too far."""
    is_simple_key = "expected ':'" in stop.problem
    if "mapping values are not allowed" not in stop.problem and not is_simple_key:
        return None
    numbers = [stop.above, stop.at.line] if not is_simple_key else [stop.begun.line if stop.begun else 0, stop.above]
    for number in numbers:
        line = stop.lines[number - 1] if 0 < number <= len(stop.lines) else ""
        if is_simple_key and (found := _FOREIGN_COMMENT.fullmatch(line)) is not None:
            cause = f"{found[1]!r} doesn't begin a comment in YAML"
            return Hint(Mark(number, found.start(1) + 1), cause, f"write # {found[2]}")
        if (found := _NO_SPACE.fullmatch(_content(line).rstrip())) is not None:
            remedy = f"write {found[1]}: {found[2]}"
            return Hint(Mark(number, found.end(1) + 1), "a space is missing after the colon", remedy)
        if is_simple_key and (found := _NO_COLON.fullmatch(_content(line).rstrip())) is not None:
            return Hint(
                Mark(number, found.start(1) + 1),
                "this line has no colon",
                f"write {found[1]}: {found[2] or ''}".rstrip(),
            )
    if is_simple_key:
        return None
    text = _content(stop.line)
    second = re.fullmatch(r"[ ]*(?:- +)*[^\s:]+:\s+(\S.*:(?:\s.*)?)", text.rstrip())
    if second is not None:
        cause = "this line has a second colon"
        return Hint(Mark(stop.at.line, second.start(1) + 1), cause, f"put the value in quotes: {as_quoted(second[1])}")
    return _indentation(stop)


def _indentation(stop: Stop) -> Hint | None:
    """A line that begins in another column than the lines above."""
    if stop.above == 0 or (stop.line[: stop.at.column - 1].strip(" -") and "mapping values" not in stop.problem):
        return None
    is_item = stop.line.lstrip().startswith("- ")
    own = _column(stop.line)
    columns: list[int] = []
    for line in reversed(stop.lines[: stop.above]):
        if not _content(line).strip():
            continue
        if not is_item:
            columns.append(_first_column(line))
        elif line.lstrip().startswith("- "):
            columns.append(_column(line))
        if _column(line) < own:  # what is above it is not in the same list or mapping
            break
    nearest = min(columns, key=lambda column: abs(column - own), default=own)
    if nearest == own:
        return None
    above = _HAS_VALUE.match(stop.lines[stop.above - 1])
    if above is not None and not is_item and own > nearest + 1:
        cause = "this key has a value, but the line below it is indented"
        remedy = f"remove the value, or begin the line below it in column {nearest}"
        return Hint(Mark(stop.above, above.start(1) + 1), cause, remedy)
    return Hint(
        Mark(stop.at.line, own),
        "the indentation of this line matches no line above it",
        f"begin it in column {nearest}",
    )


def _column(line: str) -> int:
    return len(line) - len(line.lstrip()) + 1


def _item_in_mapping(stop: Stop) -> Hint | None:
    """An entry with a dash below entries that have none."""
    if not re.match(r"\s*- ", stop.line) or not ("expected key" in stop.problem or "block end" in stop.problem):
        return None
    indent = len(stop.line) - len(stop.line.lstrip())
    above = [(number, _content(line)) for number, line in enumerate(stop.lines[: stop.at.line - 1], start=1)]
    number, line = next(
        (each for each in reversed(above) if each[1].strip() and len(each[1]) - len(each[1].lstrip()) <= indent),
        (0, ""),
    )
    if number == 0 or len(line) - len(line.lstrip()) != indent or line.lstrip().startswith("- "):
        return None
    cause = "this entry has no '- ', and a later one has"
    return Hint(Mark(number, indent + 1), cause, "begin each entry of a list with '- '")


def _first_column(line: str) -> int:
    found = _LINE_START.match(line)
    return (found.end() if found is not None else 0) + 1


def _value_in_brackets(stop: Stop) -> Hint | None:
    """A value in brackets that needs quotes because of a `#` or a second colon."""
    if stop.begun is None or "',' or" not in stop.problem:
        return None
    if stop.begun.line < stop.at.line:
        found = _IN_COMMENT.fullmatch(stop.lines[stop.begun.line - 1], stop.begun.column - 1)
        if found is None:
            return None
        line, start, value = stop.begun.line, found.start(1), found[1].strip()
        cause = "'#' after a space begins a comment that takes the rest of the line"
    elif stop.rest.startswith(": ") and (begins := _VALUE_START.match(stop.line[: stop.at.column - 1])) is not None:
        line, start = stop.at.line, begins.end()
        value = re.split(r"[,{}\[\]]", stop.line[start:])[0].strip()
        cause = "this value has a second colon"
    else:
        return None
    bare = value.partition(" #")[0].rstrip()
    if bare != value and re.fullmatch(r"/\S*|[0-9A-Fa-f.:]+(?:/[0-9]+)?", bare):
        return Hint(Mark(line, start + 1), cause, "move the comment behind the closing bracket")
    return Hint(Mark(line, start + 1), cause, f"put the value in quotes: {as_quoted(value)}")


def _quotes(stop: Stop) -> Hint | None:
    """A quote that is not closed, or that a quote in a later line closes."""
    begun = stop.begun
    if begun is None or begun.line > len(stop.lines):
        return None
    line = stop.lines[begun.line - 1]
    sign = line[begun.column - 1 : begun.column]
    if sign not in {"'", '"'}:
        return None
    if "end of stream" in stop.problem:
        is_at_key = not line[: begun.column - 1].strip(" -") and ": " in line
        remedy = "remove it" if is_at_key else f"write {sign} at its end"
        return Hint(begun, "the quote that begins here is not closed", remedy)
    if "expected ':'" in stop.problem and begun.line < stop.at.line:
        return Hint(begun, "the quote that begins here is not closed in this line", "remove it")
    return None


def _brackets(stop: Stop) -> Hint | None:
    """A bracket that is not closed, or one that is too many, and similar mistakes."""
    begun = stop.begun
    if begun is not None and "',' or" in stop.problem and begun.line < stop.at.line:
        closing = "]" if "']'" in stop.problem else "}"
        return Hint(begun, "the bracket that begins here is not closed", f"write {closing} at its end")
    if begun is not None and "',' or" in stop.problem and re.match(r"[\w\"'/~=]", stop.rest):
        return Hint(stop.at, "a comma is missing before this", "add it")
    is_after_value = any(each in stop.problem for each in ("expected key", "block end", "'-' indicator"))
    if stop.rest[:1] in {"]", "}"} and is_after_value:
        return Hint(stop.at, f"{stop.rest[0]!r} has no opening bracket", "remove it")
    before = stop.line[: stop.at.column - 1]
    if stop.rest.strip() == "," and is_after_value:
        return Hint(stop.at, "this line ends with a comma", "remove it")
    item = re.fullmatch(r"[ ]*(?:- +)*[^\s:]+:\s+- (\S+)", stop.line.rstrip())
    if "block sequence entries" in stop.problem and item is not None:
        return Hint(stop.at, "a list with dashes can't begin in the line of its key", f"write [{item[1]}]")
    if is_after_value and re.search(r"""["']\s*$""", before):
        if (opened := _opened_above(stop, before.rstrip()[-1])) is not None:
            return opened
        start = re.match(r"[ ]*(?:- +)*(?:[^\s:'\"]+:\s+)?", stop.line)
        value = stop.line[start.end() if start is not None else 0 :].strip()
        if _QUOTED_VALUES.fullmatch(value) is not None:
            texts = [double or single for double, single in _QUOTED.findall(value)]
            return Hint(stop.at, "several values are not a list without brackets", f"write {as_yaml_list(texts)}")
        inner = value[1:-1] if value[0] == value[-1] and len(value) > 1 else value
        remedy = f"put the value in other quotes: {as_quoted(inner)}"
        return Hint(stop.at, "there is text after the closing quote", remedy)
    return None


def _opened_above(stop: Stop, sign: str) -> Hint | None:
    """A quote that is open since a line above, so that the quote before the stop closes it and begins no value."""
    for number in range(stop.above, 0, -1):
        found = _OPEN_QUOTE.fullmatch(stop.lines[number - 1].rstrip())
        if found is not None and found[1] == sign:
            cause = "the quote that begins here is not closed in this line"
            return Hint(Mark(number, found.start(1) + 1), cause, f"write {sign} at the end of the value")
    return None


_LOOKS: Final[tuple[Callable[[Stop], Hint | None], ...]] = (
    _conflict,
    _character,
    _escape,
    _unquoted,
    _colon,
    _value_in_brackets,
    _quotes,
    _brackets,
    _indentation,
    _item_in_mapping,
)
