"""Reads a rule's `uri`. Patterns in the syntax of other programs are refused, with the spelling to write here.

A prefix with a `*`, or a regular expression without `~`, is a path that no request has, so a `deny` rule with it
protects nothing. The same is true of a regular expression for text that rules never see.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from gateway.config.yaml_text import as_yaml, as_yaml_list
from gateway.errors import PatternError
from gateway.policy.uri import UriPattern, parse_pattern

_NGINX: Final = re.compile(r"(\^~|=|~\*|~)\s+(?=[/^\\.(])|~\*(?=[/^\\.(])")  # the modifiers of nginx's `location`
# The path, and a wildcard at its end, with or without a slash before it.
_LAST_STAR: Final = re.compile(r"(?P<base>/?[^*]*?)(?P<slash>/)?(?:\.?\*+)")
_EXPRESSION: Final = re.compile(r"[|\\^\[\]{}]|\.[*+]|\(\?|\)[?+*]|\$$")
_BRACES: Final = re.compile(r"\{([^{}]*[^{}0-9,][^{}]*)\}")  # {owa,ecp}, {id}; {1,3} repeats
_EXPRESSION_BRACES: Final = re.compile(r"(?<!\\[pPx])(?<![\\\[])" + _BRACES.pattern)
_METHOD: Final = re.compile(r"[A-Z]{3,10} (?=/)")
_DELIMITED: Final = re.compile(r"/(\^.+)/[imsux]*")  # as in JavaScript and Perl
_BACKSLASHES: Final = re.compile(r"/[^|^\[\]{}()*+?$\\]*(?:\\[A-Za-z]{2,}[^|^\[\]{}()*+?$\\]*)+")
_LITERAL: Final = re.compile(r"[^|\\^\[\]{}()*+?$]*")
_OPEN_END: Final = re.compile(r".*(?:\.[*+]|\)[?*+]|\$)", re.DOTALL)
_ESCAPES: Final = re.compile(r"(?:%[0-9A-Fa-f]{2})+")  # together: a letter beyond ASCII has several
_SLASH_STAR: Final = re.compile(r"/\*(?=/|$|[)|])")
_LOOKAROUND: Final = re.compile(r"\(\?(?:[=!]|<[=!])")


@dataclass(frozen=True, slots=True)
class ReadPattern:
    """A pattern, and a warning about it: cause and remedy."""

    pattern: UriPattern
    warning: tuple[str, str] | None = None


def read_pattern(text: str, *, denies: bool = False) -> ReadPattern:
    """The pattern in `text`. Raises `PatternError` with the remedy.

    `denies`: the rule denies, so what lies below a file counts, too: servers run `/a.php` for `/a.php/x`.
    """
    if (found := _NGINX.match(text)) is not None:
        _refuse_nginx(text, found[0].strip(), text[found.end() :])
    if text.startswith("~"):
        return _read_expression(text, denies=denies)
    _refuse_list(text)
    _refuse_wildcard(text)
    _refuse_expression(text)
    try:
        return ReadPattern(parse_pattern(text))
    except PatternError as error:
        if (nearest := _nearest_path(text)) is None:
            raise
        raise PatternError(error.cause, _write(nearest)) from error


def _refuse_nginx(text: str, modifier: str, rest: str) -> None:
    if modifier in {"^~", "="}:
        raise PatternError(f"{text!r} has the syntax of nginx", _write(modifier.strip("^~") + rest))
    searched = ("" if rest.startswith("^") else ".*") + rest + ("" if rest.endswith("$") else ".*")
    cause = f"{text!r} has the syntax of nginx, but here an expression must match the whole path, and ignores case"
    raise PatternError(cause, _write(f"~{searched}"))


def _read_expression(text: str, *, denies: bool) -> ReadPattern:
    if _LOOKAROUND.search(text):
        remedy = "write a separate rule above this one for the paths that it leaves out"
        raise PatternError(f"{text[1:]!r} looks ahead or behind, which RE2 doesn't support", remedy)
    if _ESCAPES.search(text):
        decoded = _ESCAPES.sub(lambda found: re.escape(unquote(found[0])), text)
        remedy = "write the letters themselves, in UTF-8" if "\ufffd" in decoded else _write(decoded)
        raise PatternError(f"{text!r} has a '%', but regular expressions see the decoded path", remedy)
    if (braces := _EXPRESSION_BRACES.search(text)) is not None:
        meant = _EXPRESSION_BRACES.sub(_meant_by_braces, text)
        meant = meant if _OPEN_END.fullmatch(meant) else _with_all_below(meant)
        raise PatternError(f"in a regular expression {braces[0]!r} is not a choice", _write(meant))
    if _SLASH_STAR.search(text):
        meant = _SLASH_STAR.sub("/.*", text)
        raise PatternError(f"in {text!r} '*' repeats the '/' before it", _write(meant))
    if "\\?" in text:
        raise PatternError("rules don't see a '?' and what follows it", _write(text.partition("\\?")[0] + "$"))
    pattern = parse_pattern(text)
    is_for_files = "." in text.rstrip("/").rpartition("/")[2] and not denies
    if text == "~/" or _OPEN_END.fullmatch(text) or is_for_files:
        return ReadPattern(pattern)
    cause = f"{text!r} must match the whole path, so it doesn't match paths below it"
    wide, narrow = _with_all_below(text), as_yaml(f"{_grouped(text)}$")
    remedy = f"write {as_yaml(wide)} for everything below it too, or {narrow} for only this path"
    return ReadPattern(pattern, (cause, remedy))


def _refuse_list(text: str) -> None:
    paths = text.split()
    if len(paths) > 1 and all(path.startswith(("/", "=/", "~")) for path in paths):
        raise PatternError(f"{text!r} is {len(paths)} paths, not one", f"write uri: {as_yaml_list(paths)}")


def _refuse_wildcard(text: str) -> None:
    path = text.removeprefix("=")
    if "*" not in path:
        return
    last = _LAST_STAR.fullmatch(path)
    if last is None or _EXPRESSION.search(last["base"]):
        if _EXPRESSION.search(path):
            return
        cause = f"'*' is an ordinary character in a path, so {text!r} matches only a path with a '*' in it"
        raise PatternError(cause, f"{_write(_expression_of(path))}, or %2A for the character itself")
    prefix = as_yaml(f"/{last['base'].lstrip('/')}")
    cause = f"'*' is an ordinary character in a path, and {prefix} already covers everything below it"
    expression = as_yaml(_expression_of(path))
    raise PatternError(cause, f"write {prefix}, or {expression} as a regular expression")


def _expression_of(path: str) -> str:
    """The regular expression that a path with wildcards probably means.

    `*.php` and `**/admin` mean these names in every folder.
    """
    path = path if path.startswith(("/", "*")) else f"/{path}"
    head = path.rstrip("*").removesuffix(".")
    parts = re.split(r"(/?\*\*+/|\*+)", head)  # each second part is a wildcard
    for index, part in enumerate(parts):
        if index % 2 == 0:
            parts[index] = re.escape(unquote(part))
        elif part.endswith("/"):
            parts[index] = "/(.*/)?" if part.startswith("/") or index == 1 else ".*/"
        else:
            is_any = part.startswith("**") or (index == 1 and not parts[0])
            parts[index] = ".*" if is_any else "[^/]*"
    expression = "~" + "".join(parts)
    return f"{expression}.*" if len(head) < len(path) else _with_all_below(expression)


def _refuse_expression(text: str) -> None:
    is_exact = text.startswith("=")
    path = text.removeprefix("=")
    if not _EXPRESSION.search(path) or not path.startswith(("/", "^", "(", "\\/", ".")):
        return
    if _BACKSLASHES.fullmatch(path):
        raise PatternError(f"{text!r} has a backslash", _write(text.replace("\\", "/")))
    if (delimited := _DELIMITED.fullmatch(path)) is not None:
        path = delimited[1].replace("\\/", "/")
    has_braces = _BRACES.search(path) is not None
    path = _BRACES.sub(_meant_by_braces, path)
    inner = path.removeprefix("^").removesuffix("$")
    if inner.startswith("/") and _LITERAL.fullmatch(inner):  # only anchors
        meant = f"={inner}" if is_exact or path.endswith("$") else inner
    elif is_exact:
        meant = f"~{_grouped(path.removesuffix('$'))}$"
    else:
        meant = f"~{path}" if _OPEN_END.fullmatch(path) else _with_all_below(f"~{path}")
    try:
        parse_pattern(meant)
    except PatternError:
        return
    if has_braces:
        raise PatternError(f"braces have no meaning in the path {text!r}", _write(meant))
    raise PatternError(f"{text!r} looks like a regular expression, but without '~' it is a plain path", _write(meant))


def _meant_by_braces(found: re.Match[str]) -> str:
    """An alternation of the names in braces; for a single name, any segment."""
    names = [name.strip() for name in found[1].split(",")]
    return f"({'|'.join(names)})" if len(names) > 1 else "[^/]+"


def _with_all_below(expression: str) -> str:
    return f"{_grouped(expression.rstrip('/'))}(/.*)?"


def _grouped(expression: str) -> str:
    """The expression, in parentheses if it is an alternation, so that an addition applies to every part."""
    if "|" not in re.sub(r"\([^()]*\)", "", expression):
        return expression
    return f"~({expression.removeprefix('~')})" if expression.startswith("~") else f"({expression})"


def _nearest_path(text: str) -> str | None:
    """The path that was probably meant; None if no request could have it."""
    is_exact = text.startswith("=")
    if not is_exact and not text.startswith(("/", ".", "\\")) and "#" in text:
        return None
    path = re.split(r"[?#;]", _METHOD.sub("", text.lstrip("=").removeprefix(".").strip()))[0].replace(" ", "%20")
    path = re.sub(r"^https?://[^/]*", "", path, flags=re.IGNORECASE) or "/"
    path = re.sub("%2[Ff]", "/", path).replace("\\", "/")
    nearest = ("=" if is_exact else "") + (path if path.startswith("/") else f"/{path}")
    try:
        parse_pattern(nearest)
    except PatternError:
        return None
    return nearest


def _write(pattern: str) -> str:
    return f"write {as_yaml(pattern)}"
