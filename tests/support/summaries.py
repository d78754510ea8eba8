"""Summaries of lines, as `gateway logs --summary` makes them."""

from __future__ import annotations

import io

from support.log_lines import BEGIN

from gateway.cli.logs_summary import activesync_command
from gateway.logs.filters import Asked, filters_of
from gateway.logs.summary.batches import Batches
from gateway.logs.summary.collect import Collector
from gateway.logs.summary.report import Lines, Report, report_of
from gateway.logs.summary.tables import Tables
from gateway.logs.summary.text import Screen, text_of


def collected(*lines: bytes, since=None, shows_all: bool = False, **asked) -> tuple[Batches, Tables]:
    batches = Batches(filters_of(Asked(**asked), BEGIN))
    found = Collector(since, shows_all=shows_all, command_of=activesync_command)
    for batch in batches.read(io.BytesIO(b"".join(lines))):
        found.add(batch)
    return batches, found.finish()


def summary_of(*lines: bytes, until=None, **options) -> Report:
    batches, found = collected(*lines, **options)
    skipped = batches.skipped
    counts = (batches.lines, found.counted, found.earlier, skipped.unreadable, skipped.too_long, skipped.combined)
    return report_of(found, Lines(*counts), until)


def text_lines(*lines: bytes, columns: int = 100, has_colour: bool = False, **options) -> list[str]:
    return text_of(summary_of(*lines, **options), Screen(columns, has_colour)).splitlines()
