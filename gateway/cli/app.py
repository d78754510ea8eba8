"""The command `gateway`: its arguments, exit codes and error messages, without tracebacks.

A command is a module of this package with a `register(app: typer.Typer) -> None` that adds it; to add one, write the
module and put its name into `COMMANDS`. Modules are imported for `--help` too, so heavy ones (cryptography, asyncio,
the configuration loader) are imported inside the command's function.

Failures are `GatewayError`s: one line with the cause and one with the remedy on stderr, exit code 2 for unusable input
and 1 for everything else. Ctrl-C exits with 130. If the reader closes the pipe, the command ends without a message.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from gateway import __version__, garbage
from gateway.errors import GatewayError, UsageError, as_sentence, exit_code

# One name a line, in the order of `gateway --help`.
COMMANDS: Final = (
    "init",
    "check",
    "demo",
    "explain",
    "serve",
    "status",
    "logs",
    "schema",
    "ca",
    "cert",
)

_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it


class Commands(TyperGroup):
    """All commands. A wrong word for an option that takes one of several is reported like other mistakes."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Raises `GatewayError`."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            words = getattr(getattr(error.param, "type", None), "choices", None)
            if error.param is None or not words:
                raise
            written, is_told, _ = error.message.partition(" is not one of ")
            cause = f"{error.param.opts[0]}: {written if is_told else 'this'} is not a word that it takes"
            raise UsageError(cause, _one_of([str(getattr(word, "value", word)) for word in words])) from error


def _one_of(words: Sequence[str]) -> str:
    """The remedy that lists the words of an option; languages have their names."""
    from gateway.pki.words import Language  # noqa: PLC0415 - a process that serves must not load `gateway.pki`

    names = {each.value: f"{each.value} ({each.name.title()})" for each in Language}
    shown = [names[word] for word in words] if set(words) == set(names) else words
    return f"Give {', '.join(shown[:-1])} or {shown[-1]}."


def build_app(names: Sequence[str] = COMMANDS) -> typer.Typer:
    """The application with these commands."""
    app = typer.Typer(
        name="gateway",
        cls=Commands,
        no_args_is_help=True,
        rich_markup_mode=None,  # Rich takes longer to import than all the rest; the plain help is as good
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name in names:
        import_module(f"gateway.cli.{name}").register(app)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit. Without `arguments` it is the process's own, and sets up the whole process."""
    if arguments is not None:
        sys.exit(run(arguments))
    garbage.look_rarely()
    if not sys.warnoptions:
        # cryptography's warnings about clients' certificates name our code; the gateway reports these faults itself.
        warnings.filterwarnings("ignore", category=UserWarning)
    code = run(sys.argv[1:])
    garbage.look_no_more()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    try:
        code = _call(arguments)
        sys.stdout.flush()
    except GatewayError as error:
        report(error)
        return exit_code(error)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes stdout once more at exit, when the reader has gone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def report(error: GatewayError) -> None:
    """Print a failure on stderr: its cause, and its remedy on a second line; or one line for each problem of a file."""
    from gateway.config.problems import ConfigErrors  # noqa: PLC0415 - heavy, as above

    if isinstance(error, ConfigErrors):
        sys.stderr.write("".join(f"{problem}\n" for problem in (*error.problems, *error.warnings)))
        return
    sys.stderr.write(f"gateway: {error.cause}\n")
    if error.remedy:
        sys.stderr.write(f"  {as_sentence(error.remedy)}\n")


def _call(arguments: Sequence[str]) -> int:
    try:
        is_known = bool(arguments) and arguments[0] in COMMANDS
        build_app(arguments[:1] if is_known else COMMANDS)(list(arguments), prog_name="gateway")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    return 0


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"gateway {__version__}")
        raise typer.Exit


def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """A mutual-TLS access gateway in front of webmail and Exchange ActiveSync."""
