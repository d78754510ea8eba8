"""`gateway logs`: reads access logs.

Exit code 0: lines were found. 1: no line was found, as with `grep`. 2: an option or a file is unusable, or a file could
not be read to its end; the lines of the other files are shown all the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gateway.access import exists
from gateway.cli.check import DEFAULT_CONFIG, ConfigOption
from gateway.errors import UsageError

if TYPE_CHECKING:
    from gateway.cli.logs_output import Output
    from gateway.logs.files import LogFile
    from gateway.logs.filters import Asked, Filters
    from gateway.logs.reader import Hit, Reader, Source

_NOTHING_FOUND: Final = 1
_UNUSABLE: Final = 2
LOGS_DIRECTORY: Final = {"LOGS_DIRECTORY": "/var/log/gateway"}  # as the unit of systemd sets it


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("logs")(logs)


def logs(  # noqa: PLR0913 - a parameter for each option
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Plain, .gz or .zst; - is standard input. Default: access_log.path and its rotated files.",
            metavar="FILE",
        ),
    ] = None,
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    denied: Annotated[bool, typer.Option("--denied", help="Only requests that were refused or failed.")] = False,
    reason: Annotated[str | None, typer.Option("--reason", help="Only this reason code.", metavar="CODE")] = None,
    user: Annotated[
        str | None,
        typer.Option("--user", help="Only this mail login; without a domain, in any domain.", metavar="NAME"),
    ] = None,
    cert: Annotated[
        str | None,
        typer.Option("--cert", help="Only this certificate: CN, e-mail, serial or fingerprint.", metavar="NAME"),
    ] = None,
    ip: Annotated[
        str | None, typer.Option("--ip", help="Only clients with this address or in this network.", metavar="CIDR")
    ] = None,
    site: Annotated[str | None, typer.Option("--site", help="Only this host name.", metavar="HOST")] = None,
    rule: Annotated[
        str | None, typer.Option("--rule", help="Only requests that this rule decided.", metavar="NAME")
    ] = None,
    uri: Annotated[
        str | None,
        typer.Option("--uri", help="Only these paths, as in rules: /owa, =/owa, ~/owa/.*", metavar="PATTERN"),
    ] = None,
    status: Annotated[
        str | None, typer.Option("--status", help="Only this status: 403, or 4xx.", metavar="STATUS")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="Only this ActiveSync device.", metavar="ID")] = None,
    request: Annotated[
        str | None,
        typer.Option("--request", help="Only the request with the number that a page shows.", metavar="NUMBER"),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help="Only from then on: 1h, 07:00, yesterday, 2026-11-24, RFC 3339.", metavar="TIME"),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", help="Only before then; written as for --since.", metavar="TIME")
    ] = None,
    slow: Annotated[
        str | None, typer.Option("--slow", help="Only requests that took at least this long: 2s.", metavar="TIME")
    ] = None,
    observed: Annotated[
        bool, typer.Option("--observed", help="Only requests that a rule in observation would have refused.")
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more lines as the log grows.")] = False,
    shows_all: Annotated[
        bool, typer.Option("--all", help="Also show connections that browsers opened and didn't need.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the lines as they are in the log.")] = False,
    anonymise: Annotated[
        bool, typer.Option("--anonymise", help="Print the lines as JSON in which people and addresses are replaced.")
    ] = False,
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--key-file",
            help="With --anonymise: its content is the key. Without it, each run has another one.",
            metavar="FILE",
        ),
    ] = None,
    summary: Annotated[
        bool, typer.Option("--summary", help="Count the lines instead of showing them; with --json, as one object.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="With --summary: write it to this file, as a page.", metavar="FILE")
    ] = None,
    why: Annotated[
        str | None,
        typer.Option(
            "--why",
            help="Explain why this person is refused: an address, login, certificate, device, request number or time.",
            metavar="WHO",
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option("--store", help="With --why: the registry's URL. [default: pki.store, or pki/registry.db]"),
    ] = None,
) -> None:
    """Find lines of the access log by person, address, reason or time, or count them.

    A line is shown if it passes all filters. Times are local. With --why, explain a person's refusals instead.
    """
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.cli.logs_output import Output, anonymous_printer, printer_for, tell  # noqa: PLC0415 - the same
    from gateway.logs import filters as known  # noqa: PLC0415 - the same
    from gateway.logs.reader import Reader  # noqa: PLC0415 - the same

    asked = known.Asked(
        denied=denied,
        observed=observed,
        reason=reason,
        user=user,
        cert=cert,
        ip=ip,
        site=site,
        rule=rule,
        uri=uri,
        status=status,
        device=device,
        request=request,
        slow=slow,
        since=since,
        until=until,
    )
    filters = known.filters_of(asked, clock.now())
    if why is not None:
        _check_why(asked, is_other=follow or shows_all or summary or anonymise or html is not None)
        _explain(why, files, config, store, filters, as_json=as_json)
        return
    if store is not None:
        raise UsageError("--store is only for --why", "remove it, or add --why WHO")
    if summary:
        if follow:
            raise UsageError("--summary needs the end of the log, and --follow has none", "Leave one of them out.")
        if anonymise:
            remedy = "Anonymise first: gateway logs --anonymise | gateway logs --summary -"
            raise UsageError("--anonymise replaces no names in a summary", remedy)
        counts_all = shows_all or reason is not None or request is not None
        _summarise(lambda: _opened(files, config), filters, html, as_json=as_json, shows_all=counts_all)
        return
    if html is not None:
        raise UsageError("--html: only a summary can be a page", "Add --summary.")
    reader = Reader(filters.matches(), filters.finder)
    if key_file is not None and not anonymise:
        raise UsageError("--key-file is for --anonymise", "add --anonymise, or leave out --key-file")
    printer = anonymous_printer(key_file, reader.skipped) if anonymise else printer_for(as_json=as_json)
    hides = not (shows_all or as_json or anonymise or reason is not None or request is not None)
    output = Output(printer, hides_harmless=hides)
    hits = (
        _followed(files, config, reader, filters, output) if follow else _hits(files, config, reader, filters, output)
    )
    output.take(hits)
    tell(reader.skipped, filters, output)
    if reader.skipped.problems:
        raise typer.Exit(_UNUSABLE)
    if not output.count:
        raise typer.Exit(_NOTHING_FOUND)


def _check_why(asked: Asked, *, is_other: bool) -> None:
    """Refuse options that would hide what an explanation needs, such as successes."""
    hiding = (asked.reason, asked.user, asked.cert, asked.rule, asked.status, asked.request, asked.slow)
    if is_other or asked.denied or asked.observed or any(each is not None for each in hiding):
        raise UsageError(
            "--why reads successes and refusals, and chooses by itself",
            "combine it only with --since, --until, --site, --uri, --ip, --device, --json, -c and --store",
        )


def _explain(
    who: str, files: list[Path] | None, config: Path, store: str | None, filters: Filters, *, as_json: bool
) -> None:
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.cli.logs_output import Output, printer_for, tell  # noqa: PLC0415 - the same
    from gateway.cli.why.answer import Asked, answer  # noqa: PLC0415 - the same

    output = Output(printer_for(as_json=as_json), hides_harmless=False)
    asked = Asked(who, config if exists(config) else None, tuple(files or ()), store, as_json)
    is_one, reader = answer(asked, filters, clock.now(), lambda reader: _hits(files, config, reader, filters, output))
    tell(reader.skipped, filters, output)
    if reader.skipped.problems:
        raise typer.Exit(_UNUSABLE)
    if not is_one:
        raise typer.Exit(_NOTHING_FOUND)


def _summarise(
    opened: Callable[[], list[LogFile]], filters: Filters, html: Path | None, *, as_json: bool, shows_all: bool
) -> None:
    from gateway.cli import logs_summary  # noqa: PLC0415 - heavy, see app

    if html is not None:
        logs_summary.check_place(html)
    report = logs_summary.collect(opened(), filters, shows_all=shows_all)
    logs_summary.show(report, html, as_json=as_json)
    if report.lines.problems:
        raise typer.Exit(_UNUSABLE)
    if not report.lines.counted:
        raise typer.Exit(_NOTHING_FOUND)


def _hits(
    files: list[Path] | None, config: Path, reader: Reader, filters: Filters, output: Output
) -> Iterator[Hit | None]:
    from gateway.logs.files import is_over_before  # noqa: PLC0415 - heavy, see app

    logs = _opened(files, config)
    for index, log in enumerate(logs):
        is_over = not files and filters.since is not None and index + 1 < len(logs)
        if is_over and filters.since is not None and is_over_before(logs[index + 1], filters.since):
            log.close()
            continue
        yield from _hits_in(log, reader, filters, output)


def _opened(files: list[Path] | None, config: Path) -> list[LogFile]:
    from gateway.logs.files import STANDARD_INPUT, open_logs, standard_input  # noqa: PLC0415 - heavy, see app

    named = files or []
    logs = open_logs([path for path in named if path != STANDARD_INPUT] if named else _configured(config))
    if STANDARD_INPUT in named:
        logs.append(standard_input())
    return logs


def _hits_in(log: LogFile, reader: Reader, filters: Filters, output: Output) -> Iterator[Hit]:
    from gateway.logs.files import begin_since, reading  # noqa: PLC0415 - heavy, see app

    is_inside = filters.since is not None and log.is_plain and begin_since(log, filters.since)
    with reading(log, reader.skipped) as source:
        each: Source = source if log.file.seekable() else _Eager(source, output.flush)
        yield from reader.read(each, begins_inside_line=is_inside)


def _followed(
    files: list[Path] | None, config: Path, reader: Reader, filters: Filters, output: Output
) -> Iterator[Hit | None]:
    from gateway.logs import follow  # noqa: PLC0415 - heavy, see app
    from gateway.logs.files import STANDARD_INPUT, begin_since, open_logs  # noqa: PLC0415 - the same

    if files == [STANDARD_INPUT]:  # is read as it comes anyway
        yield from _hits(files, config, reader, filters, output)
        return
    if files is not None and len(files) > 1:
        raise UsageError("--follow reads one file that grows", "name that one, without those it was rotated to")
    if files:
        logs, path = open_logs(files), files[0]
    else:
        path = _log_path(config)
        logs = open_logs(_configured(config) if filters.since is not None else [path])
    log = next((each for each in logs if each.path == path), logs[-1])
    for older in logs:
        if older is not log:
            yield from _hits_in(older, reader, filters, output)
    if not log.is_plain:
        log.close()
        raise UsageError(f"--follow: {log.path} is packed, or no file", "name the file that the gateway writes to")
    is_inside = follow.begin_near_end(log.file) if filters.since is None else begin_since(log, filters.since)
    yield from follow.follow(
        path, log.file, reader, lambda: time.sleep(follow.POLL_SECONDS), begins_inside_line=is_inside
    )


def _configured(config: Path) -> list[Path]:
    from gateway.logs.files import rotated  # noqa: PLC0415 - heavy, see app

    path = _log_path(config)
    found = rotated(path)
    if not found:
        raise UsageError(f"{path}: there is no access log", "name the file: gateway logs FILE")
    return found


def _log_path(config: Path) -> Path:
    """The configured file. The variable that systemd sets for the service is not set in an admin's shell."""
    from gateway.config.load import read_log_place  # noqa: PLC0415 - heavy, see app

    def of(environ: Mapping[str, str]) -> Path:
        place = read_log_place(config, environ=environ)
        if isinstance(place, Path):
            return place
        if place == "stdout":
            where, remedy = "standard output", "pipe it in, such as: journalctl -u gateway -o cat | gateway logs -"
        elif place == "journald":
            where, remedy = "the journal", "pipe it in: journalctl -t gateway-access -o cat | gateway logs -"
        else:
            where, remedy = place.url, "name the file that this server writes: gateway logs FILE"
        raise UsageError(f"{config}: the access log goes to {where}", remedy)

    services = of({**LOGS_DIRECTORY, **os.environ})
    return services if exists(services) else of(os.environ)


class _Eager:
    """A pipe. Lines that were found are shown before the next read, which may wait."""

    def __init__(self, source: Source, flush: Callable[[], None]) -> None:
        self._source = source
        self._flush = flush

    def readinto(self, into: memoryview, /) -> int | None:
        """As of `io.RawIOBase`."""
        self._flush()
        return self._source.readinto(into)
