"""`gateway check`: everything that is wrong with a configuration, in one run."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from gateway.config.load import Loaded
    from gateway.config.problems import Problem

_UNUSABLE: Final = 2
_PIPE_COLUMNS: Final = 120

ConfigOption = Annotated[Path, typer.Option("-c", "--config", help="The configuration file.", metavar="FILE")]
DEFAULT_CONFIG: Final = Path("config.yaml")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check")(check)


def check(
    config: ConfigOption = DEFAULT_CONFIG,
    *,
    who: Annotated[
        bool, typer.Option("--who", help="Show what is open from where, without and with a certificate.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    skips_keys: Annotated[
        bool, typer.Option("--no-keys", help="Don't read private keys and passphrases: for users who may not.")
    ] = False,
) -> None:
    """Check the configuration and every file it names.

    Prints a line for each problem and exits with 2 if there is an error.
    """
    from gateway.config.load import Loaded, load_with_warnings, read_user  # noqa: PLC0415 - heavy, see app
    from gateway.config.problems import START, ConfigErrors, Place, Problem  # noqa: PLC0415 - the same
    from gateway.errors import ConfigError, OperationError, as_clause  # noqa: PLC0415 - the same
    from gateway.supervisor.privileges import ROOT, Privileges  # noqa: PLC0415 - the same

    loaded: Loaded | None = None
    readable: Loaded | None = None  # also if there are errors in it
    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()
    try:
        if os.geteuid() == ROOT:  # as the gateway's user, so that files which it may not read are found
            Privileges(read_user(config))
        loaded = readable = load_with_warnings(config, reads_keys=not skips_keys)
        warnings = loaded.warnings
    except ConfigErrors as found:
        errors, warnings = found.problems, found.warnings
        readable = found.partial if isinstance(found.partial, Loaded) else None
    except (ConfigError, OperationError) as found:
        errors = (Problem(str(config), Place(START), found.cause, as_clause(found.remedy)),)
    if readable is not None:
        more_errors, more_warnings, notes = _further(readable, config, errors, has_keys=not skips_keys)
        errors, warnings = _in_order(errors + more_errors), _in_order(warnings + more_warnings)
        loaded = None if errors else replace(readable, warnings=warnings)
    if as_json:
        document = _document(loaded, errors, warnings, notes)
        if who and loaded is not None:
            document["who"] = _who_document(loaded)
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        _tell(config, loaded, (*errors, *warnings, *notes))
        if who and loaded is not None:
            _tell_who(loaded)
    if loaded is None:
        raise typer.Exit(_UNUSABLE)


def _tell(config: Path, loaded: Loaded | None, problems: tuple[Problem, ...]) -> None:
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    if loaded is not None:
        typer.echo(f"{config}: {summary(loaded)}")


def _tell_who(loaded: Loaded) -> None:
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.cli import who, who_report, who_surprises  # noqa: PLC0415 - the same

    found = who.access_of(loaded.config, clock.now())
    warnings = tuple(who_surprises.surprises(loaded.config, found))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPE_COLUMNS
    typer.echo("")
    for line in who_report.lines_of(loaded.config, found, warnings, width):
        typer.secho(line.text, fg=line.colour, bold=line.is_heading)


def _who_document(loaded: Loaded) -> dict[str, Any]:
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.cli import who, who_surprises  # noqa: PLC0415 - the same

    found = who.access_of(loaded.config, clock.now())
    return who.document(loaded.config, found, tuple(who_surprises.surprises(loaded.config, found)))


def _further(
    readable: Loaded, config: Path, errors: tuple[Problem, ...], *, has_keys: bool
) -> tuple[tuple[Problem, ...], tuple[Problem, ...], tuple[Problem, ...]]:
    """What is found beyond the file and its certificates: more errors, warnings and notes."""
    from gateway.cli.check_log import log_problems  # noqa: PLC0415 - heavy, see app
    from gateway.cli.check_trial import trial_problems  # noqa: PLC0415 - the same
    from gateway.errors import ConfigError, OperationError, as_clause  # noqa: PLC0415 - the same

    try:
        found, warnings = _in_registry(readable, config) if has_keys else ((), ())
    except (ConfigError, OperationError) as error:
        from gateway.config.problems import START, Place, Problem  # noqa: PLC0415 - the same

        found, warnings = (Problem(str(config), Place(START), error.cause, as_clause(error.remedy)),), ()
    warnings += log_problems(readable, str(config))
    return trial_problems(readable, config, errors, has_keys=has_keys) + found, warnings, _notes(readable, config)


def _in_order(problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda problem: (problem.place.mark.line, problem.place.mark.column)))


def _in_registry(loaded: Loaded, config: Path) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """Errors and warnings about authorities: those whose lists the gateway renews, and revoked ones."""
    if loaded.config.pki is None:
        return (), ()
    from gateway.cli.check_registry import registry_problems  # noqa: PLC0415 - SQLAlchemy, only if there is a registry

    found = tuple(registry_problems(loaded.config.pki, loaded.config.sites, str(config)))
    return tuple(each for each in found if not each.is_warning), tuple(each for each in found if each.is_warning)


def summary(loaded: Loaded) -> str:
    """A summary of a usable file, in one line."""
    config = loaded.config
    counts = {"site": config.sites, "rule": config.rules, "listener": config.listen, "warning": loaded.warnings}
    parts = [f"{len(items)} {name}{'' if len(items) == 1 else 's'}" for name, items in counts.items() if items]
    return f"good: {', '.join(parts)}"


def _notes(loaded: Loaded, config: Path) -> tuple[Problem, ...]:
    """Notes: not wrong, but easily overlooked."""
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.config.container import note_of  # noqa: PLC0415 - the same
    from gateway.config.observation import notes_of  # noqa: PLC0415 - the same
    from gateway.config.problems import Mark, Place, Problem  # noqa: PLC0415 - the same
    from gateway.x509.same_names import cas_of_one_name  # noqa: PLC0415 - the same

    remedy = "each is used for the certificates that its own key signed; keep both until the older one has ended"
    own = note_of(replace(loaded.config, path=config))
    twins = [
        Problem(str(config), Place(Mark(site.line, 1), f"sites[{index}].client_ca"), cause, remedy, is_note=True)
        for index, site in enumerate(loaded.config.sites)
        for cause in cas_of_one_name(ca for file in site.client_ca for ca in file.certificates)
    ]
    rules = loaded.config.rules
    observed = [
        Problem(str(config), Place(Mark(rules[index].line, 1), f"rules[{index}].enforce"), cause, remedy, is_note=True)
        for index, cause, remedy in notes_of(rules, clock.now())
    ]
    return (*(() if own is None else (own,)), *twins, *observed)


def _document(
    loaded: Loaded | None, errors: tuple[Problem, ...], warnings: tuple[Problem, ...], notes: tuple[Problem, ...]
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "ok": loaded is not None,
        "errors": [_entry(problem) for problem in errors],
        "warnings": [_entry(problem) for problem in warnings],
        "notes": [_entry(problem) for problem in notes],
    }
    if loaded is not None:
        config = loaded.config
        document |= {"sites": len(config.sites), "rules": len(config.rules), "listeners": len(config.listen)}
    return document


def _entry(problem: Problem) -> dict[str, Any]:
    mark = problem.place.mark
    return {
        "file": problem.file,
        "line": mark.line,
        "column": mark.column,
        "path": problem.place.path,
        "problem": problem.cause,
        "remedy": problem.remedy,
    }
