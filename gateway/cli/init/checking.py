"""`gateway check` of the folder that `gateway init` made, before it is put in place.

The file does not exist yet, so its errors name the option or answer that caused them, not a line.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gateway.cli.init.answers import Answers
from gateway.cli.init.configuration import option_for
from gateway.config.networks import FOR_TOO_MANY_INSIDE
from gateway.errors import OperationError, UsageError

_CHECK_SECONDS: Final = 120  # a check takes a second or two; a machine that is busy is no reason to give up

# By the remedy of `gateway check`, which tells how to edit the file: what to do before `gateway init` has written it.
_REMEDIES: Final = {
    FOR_TOO_MANY_INSIDE: (
        "give only your own networks, such as --inside 10.0.4.0/24. If all clients are to come in without a "
        "certificate, run gateway init without --inside, then write networks: {internal: [0.0.0.0/0]} and "
        "allow_everyone_inside: true into its configuration"
    )
}


def check(folder: Path, answers: Answers) -> None:
    """Run `gateway check` on it, as the gateway's user. Raises `UsageError`, `OperationError`."""
    settings = answers.settings
    # "-P": no module of the current folder is imported in place of the gateway's.
    command = [sys.executable, "-P", "-m", "gateway", "check", "--json", "-c", str(folder / settings.config.name)]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=_CHECK_SECONDS, check=False)  # noqa: S603 - our own
    except (OSError, subprocess.TimeoutExpired) as error:
        cause = f"gateway check can't be run, so nothing was written: {error}"
        raise OperationError(cause, "Install Python and the gateway where this user can run them.") from error
    if told.returncode:
        lines = "\n".join(_lines(told, answers)).replace(str(folder), str(settings.config.parent))
        trial = "" if settings.user is None else f" To try it as root instead of {settings.user}, add --user root."
        raise UsageError(
            f"with these answers the configuration would be refused, so nothing was written:\n{lines}",
            f"Correct this and run gateway init again.{trial}",
        )


def _lines(told: subprocess.CompletedProcess[str], answers: Answers) -> Iterator[str]:
    """A line for each error; everything that was printed, if no list of errors was."""
    try:
        errors = json.loads(told.stdout)["errors"]
    except (ValueError, KeyError):
        yield f"{told.stdout}{told.stderr}".strip()
        return
    for error in errors:
        yield _line(error, answers)


def _line(error: dict[str, Any], answers: Answers) -> str:
    place = option_for(error["path"], answers) or error["path"]
    parts = [f"{place}:"] if place else []
    remedy = _REMEDIES.get(error["remedy"], error["remedy"])
    parts.append(f"{error['problem']}; {remedy}" if remedy else error["problem"])
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in " ".join(parts))
