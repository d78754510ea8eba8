"""Reads the logs for `gateway explain --log`, and ends with its exit code.

0: no verdict changes. 1: some change, or may change because the log lacks something. 2: an option, a file or the
configuration is unusable, a file could not be read to its end, or no line has a request on which rules decided.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import typer

from gateway import clock
from gateway.cli.logs_output import tell_skipped
from gateway.cli.replay import report
from gateway.cli.replay.verdicts import Replay
from gateway.config.load import load
from gateway.errors import UsageError
from gateway.logs.files import STANDARD_INPUT, begin_since, open_logs, reading, standard_input
from gateway.logs.filters import Asked, filters_of
from gateway.logs.reader import Reader

_CHANGES: Final = 1
_UNUSABLE: Final = 2


def replay(files: Sequence[Path], config: Path, since: str | None, *, as_json: bool) -> None:
    """Replay these files, print what was found, and exit."""
    now = clock.now()
    found = Replay(load(config, reads_keys=False), now)
    filters = filters_of(Asked(since=since), now)
    reader = Reader(filters.matches(), filters.finder)
    logs = open_logs([path for path in files if path != STANDARD_INPUT])
    if STANDARD_INPUT in files:
        logs.append(standard_input())
    for log in logs:
        is_inside = filters.since is not None and log.is_plain and begin_since(log, filters.since)
        with reading(log, reader.skipped) as source:
            found.take(hit.entry for hit in reader.read(source, begins_inside_line=is_inside))
    tell_skipped(reader.skipped)
    if not found.requests and not reader.skipped.problems:
        raise UsageError("no line has a request on which rules decided", "name the access log, or an earlier --since")
    if as_json:
        typer.echo(json.dumps(report.document(found), indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join(report.lines(found)))
    if reader.skipped.problems:
        raise typer.Exit(_UNUSABLE)
    raise typer.Exit(_CHANGES if found.changed or found.cannot_tell else 0)
