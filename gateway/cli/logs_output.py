"""What `gateway logs` prints: a table on a terminal; columns or the lines themselves in a pipe; notes at the end."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, Protocol

from gateway.errors import UsageError
from gateway.logs.entry import Entry
from gateway.logs.filters import Filters
from gateway.logs.reader import MAX_LINE_BYTES, Hit, Skipped
from gateway.logs.render import Table, is_harmless, plain_line, shown, shown_json

_KEY_BYTES: Final = 32
_MAX_KEY_BYTES: Final = 4096


class Printer(Protocol):
    """A form of output."""

    def add(self, line: bytes, entry: Entry) -> None:
        """Show a line."""

    def flush(self) -> None:
        """Show what is held back."""


class _Json:
    """The lines, byte for byte."""

    def add(self, line: bytes, entry: Entry) -> None:  # noqa: ARG002 - as the others
        sys.stdout.buffer.write(line + b"\n")

    def flush(self) -> None:
        pass


class _JsonOnTerminal(_Json):
    """The lines. Characters that could control the terminal are escaped."""

    def add(self, line: bytes, entry: Entry) -> None:  # noqa: ARG002 - as the others
        sys.stdout.write(f"{shown_json(line)}\n")


class _Plain(_Json):
    """Columns separated by tabs."""

    def add(self, line: bytes, entry: Entry) -> None:  # noqa: ARG002 - as the others
        sys.stdout.write(f"{plain_line(entry)}\n")


class _OnTerminal:
    """A table."""

    def __init__(self) -> None:
        has_colour = "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        columns = shutil.get_terminal_size().columns
        self._table = Table(sys.stdout.write, columns, has_colour=has_colour)

    def add(self, line: bytes, entry: Entry) -> None:  # noqa: ARG002 - as the others
        self._table.add(entry)

    def flush(self) -> None:
        self._table.flush()


def printer_for(*, as_json: bool) -> Printer:
    """The form for what standard output is."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stdout.isatty():
        return _JsonOnTerminal() if as_json else _OnTerminal()
    return _Json() if as_json else _Plain()


class _Anonymous(_Json):
    """JSON in which people and addresses are replaced. A line that can't be read so is counted and left out."""

    def __init__(self, key: bytes, skipped: Skipped) -> None:
        from gateway.logs.anonymous.lines import Anonymiser  # noqa: PLC0415 - only for this form

        self._line = Anonymiser(key).line
        self._skipped = skipped
        self._is_terminal = sys.stdout.isatty()

    def add(self, line: bytes, entry: Entry) -> None:
        replaced = self._line(line, entry)
        if replaced is None:
            self._skipped.unreadable += 1
        elif self._is_terminal:
            sys.stdout.write(f"{shown_json(replaced)}\n")
        else:
            sys.stdout.buffer.write(replaced + b"\n")


def anonymous_printer(key_file: Path | None, skipped: Skipped) -> Printer:
    """Raises `UsageError` for a key file that can't be used."""
    from secrets import token_bytes  # noqa: PLC0415 - slow to import, and only for this form

    return _Anonymous(token_bytes(_KEY_BYTES) if key_file is None else _key_in(key_file), skipped)


def _key_in(path: Path) -> bytes:
    remedy = f"make one that only you may read: (umask 077; openssl rand -hex 32 >{path})"
    try:
        with path.open("rb") as file:
            key = file.read(_MAX_KEY_BYTES + 1).strip()
    except OSError as error:
        raise UsageError(f"--key-file: {path}: {error.strerror}", remedy) from error
    if not _KEY_BYTES <= len(key) <= _MAX_KEY_BYTES:
        raise UsageError(f"--key-file: {path}: a key has from {_KEY_BYTES} to {_MAX_KEY_BYTES} bytes", remedy)
    return key


class Output:
    """Shows hits, and counts what it hides."""

    def __init__(self, printer: Printer, *, hides_harmless: bool) -> None:
        self._printer = printer
        self._is_hidden: Callable[[Entry], bool] = is_harmless if hides_harmless else lambda _: False
        self.count = 0
        self.hidden = 0

    def take(self, hits: Iterable[Hit | None]) -> None:
        """Show them. None: there are no more yet."""
        add, is_hidden = self._printer.add, self._is_hidden
        for hit in hits:
            if hit is None:
                self.flush()
                continue
            self.count += 1
            if is_hidden(hit.entry):
                self.hidden += 1
            else:
                add(hit.line, hit.entry)
        self.flush()

    def flush(self) -> None:
        """Show what is held back."""
        self._printer.flush()
        sys.stdout.flush()


def tell(skipped: Skipped, filters: Filters, output: Output) -> None:
    """Say on standard error what the output doesn't show."""
    if output.hidden:
        _note(f"{_lines(output.hidden)} of connections that browsers opened and didn't need: --all shows them")
    tell_skipped(skipped, filters.not_in_combined)


def tell_skipped(skipped: Skipped, not_in_combined: Sequence[str] = ()) -> None:
    """Say on standard error what was not read, and which of the options no line in the combined format passes."""
    if skipped.unreadable:
        _note(f"{_lines(skipped.unreadable)} skipped: torn, or not of an access log")
    if skipped.too_long:
        _note(f"{_lines(skipped.too_long)} skipped: longer than {MAX_LINE_BYTES // 1024} KiB")
    if skipped.combined and not_in_combined:
        options = ", ".join(not_in_combined)
        _note(f"{_lines(skipped.combined)} in the combined format, which has nothing that {options} could find")
    for problem in skipped.problems:
        _note(shown(problem))


def _note(text: str) -> None:
    sys.stderr.write(f"gateway: {text}\n")


def _lines(count: int) -> str:
    return f"{count:,} line{'' if count == 1 else 's'}"
