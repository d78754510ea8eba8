"""Requests and refusals over time, as a drawing in SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.logs.summary import words
from gateway.logs.summary.report import Bar

WIDTH, HEIGHT = 1120, 220
_LEFT, _BOTTOM, _TOP = 56, 24, 8
_LINES: Final = 4  # for reading off a height
_LABELS: Final = 8  # at most, below the bars
_DAY: Final = 86400


def timeline_chart(bars: Sequence[Bar], step: int) -> str:
    """A bar for each step: refusals below, all other requests above."""
    highest = _round_up(max(bar.requests for bar in bars))
    height = HEIGHT - _BOTTOM - _TOP
    pitch = (WIDTH - _LEFT) / len(bars)
    parts = []
    for line in range(_LINES + 1):
        y = _TOP + height * (1 - line / _LINES)
        parts.append(
            f'<line x1="{_LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{highest * line // _LINES:,}</text>\n'
        )
    every = -(-len(bars) // _LABELS)
    for at, bar in enumerate(bars):
        x = _LEFT + at * pitch
        refused = height * bar.refusals / highest
        others = height * (bar.requests - bar.refusals) / highest
        floor = _TOP + height
        parts.append(
            f"<g><title>{words.local(bar.begin)}: {words.plural(bar.requests, 'request')}, "
            f"{bar.refusals:,} refused</title>"
            f"{_rect('requests', x, floor - refused - others, pitch, others)}"
            f"{_rect('refused', x, floor - refused, pitch, refused)}</g>\n"
        )
        if at % every == 0:
            form = "%d %b %Y" if step >= _DAY else "%d %b %H:%M"
            label = bar.begin.astimezone().strftime(form)
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 6}">{label}</text>\n')
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Requests and refusals over time">\n'
        f"{''.join(parts)}</svg>\n"
        f"<p>{_key('requests')}not refused &nbsp; {_key('refused')}refused</p>\n"
    )


def _rect(kind: str, x: float, y: float, pitch: float, height: float) -> str:
    if not height:
        return ""
    return (
        f'<rect class="{kind}" x="{x + pitch * 0.1:.2f}" y="{y:.2f}" width="{pitch * 0.8:.2f}" height="{height:.2f}"/>'
    )


def _key(kind: str) -> str:
    return (
        f'<svg class="key" viewBox="0 0 10 10" aria-hidden="true"><rect class="{kind}" width="10" height="10"/></svg>'
    )


def _round_up(value: int) -> int:
    """The next number that can be divided by `_LINES` and is easy to read."""
    unit = 1
    while True:
        for factor in (4, 8, 12, 20, 40):
            if factor * unit >= value:
                return factor * unit
        unit *= 10
