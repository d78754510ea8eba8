"""The table of `gateway check --who`, for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Final

from gateway.cli.status_report import Line
from gateway.cli.who import ACCESS, PROTOCOL, Origin, Row, SiteAccess, count_in_words, inside, inside_in_words
from gateway.facts import Action

if TYPE_CHECKING:
    from gateway.config.model import Config

_COLOURS: Final = {Action.ALLOW: "yellow", Action.REQUIRE_CERTIFICATE: "green", Action.DENY: None}
_PATH_MOST: Final = 40  # a longer path has a line of its own
_GAP: Final = "  "
_INSIDE_MOST: Final = 20  # networks that are listed; the default has nine


def lines_of(config: Config, found: Sequence[SiteAccess], warnings: Sequence[str], width: int) -> Iterator[Line]:
    """`width` in columns; lines are longer where words can't be broken."""
    here = f"{count_in_words(inside(config))}: {inside_in_words(config, most=_INSIDE_MOST)}"
    yield Line("Inside", is_heading=True)
    yield from map(Line, _indented(here, width))
    for site in found:
        yield Line("")
        yield Line(f"{', '.join(site.hosts)} ({PROTOCOL})", is_heading=True)
        for origin in site.origins:
            yield from _origin_lines(origin, width)
    if warnings:
        yield Line("")
    for warning in warnings:
        yield Line(f"warning: {warning}", "yellow")


def _indented(text: str, width: int) -> list[str]:
    return wrap(
        text, width, initial_indent="  ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def _origin_lines(origin: Origin, width: int) -> Iterator[Line]:
    yield Line(f"  from {origin.name}")
    for words in _in_words(origin) if len(origin.rows) > 1 else ():
        yield from (Line(f"  {line}") for line in _indented(words, width - 2))
    paths = [_path(row) for row in origin.rows]
    path_width = min(max(map(len, paths)), _PATH_MOST)
    method_width = max(len(row.methods) for row in origin.rows)
    access_width = max(len(row.access) for row in origin.rows)
    for path, row in zip(paths, origin.rows, strict=True):
        is_long = len(path) > path_width
        if is_long:
            yield Line(f"    {path}", _COLOURS[row.action])
        start = f"    {'' if is_long else path:{path_width}}{_GAP}"
        if method_width:
            start += f"{row.methods:{method_width}}{_GAP}"
        yield from _wrapped(start + f"{row.access:{access_width}}{_GAP}", row, width)


def _wrapped(start: str, row: Row, width: int) -> Iterator[Line]:
    """The rule behind the rest, or below it."""
    colour = _COLOURS[row.action]
    told = [row.rule]
    if row.observation:
        told.append(f"in observation: {row.observation}")
    if row.conditions:
        told.append(f"asks for: {row.conditions}")
    if len(start) + max(map(len, told)) <= width:
        yield Line(f"{start}{told[0]}", colour)
        yield from (Line(f"{'':{len(start)}}{each}", colour) for each in told[1:])
    else:
        yield Line(start.rstrip(), colour)
        for each in told:
            yield from (Line(f"      {line}", colour) for line in _indented(each, width - 6))


def _path(row: Row) -> str:
    return f"  {row.path}" if row.is_exception else row.path


def _in_words(origin: Origin) -> Iterator[str]:
    """`with a certificate: /a, /b`."""
    for access in ACCESS.values():
        paths: dict[str, dict[str, None]] = {"": {}}
        for row in origin.rows:
            if row.access == access:
                paths.setdefault(row.of_methods, {})[row.in_words] = None
        told = [f"{methods} of {', '.join(of)}" if methods else ", ".join(of) for methods, of in paths.items() if of]
        if told:
            yield f"{access}: {'; '.join(told)}"
