r"""Lines of an access log for people: columns on a terminal, tab-separated text in a pipe.

Keeps true: no character of a log moves a cursor, changes colours, turns text around or breaks a line. What isn't
printable is escaped as `\x1b` or `\u202e`. Columns are measured in the cells that a terminal draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from gateway.facts import HTTP_1_1_REQUIRED
from gateway.logs.entry import Entry
from gateway.logs.filters import HANDSHAKE_FAILED

LONG_TIME: Final = "2026-11-24 07:00:00"
SHORT_TIME: Final = LONG_TIME[5:]  # on narrow terminals
_LONG_TIME_COLUMNS: Final = 120
PIPE_COLUMNS: Final = ("time", "address", "status", "reason", "detail", "rule", "who", "device", "method", "uri")
MAX_COUNT: Final = 9999
_GAP: Final = " "
_CUT: Final = "…"
_NONE: Final = "-"

# A browser that opened a connection in advance closes it when it is asked for a certificate (docs/servers.md). A client
# that was told to use HTTP/1.1 does so at once.
_HARMLESS: Final = frozenset(
    {
        f"{HANDSHAKE_FAILED}: the client closed the connection during the handshake",
        f"{HANDSHAKE_FAILED}: the client went away during the handshake",
        HTTP_1_1_REQUIRED,
    }
)

_RED, _YELLOW, _CYAN, _DIM, _RESET = "\x1b[31m", "\x1b[33m", "\x1b[36m", "\x1b[2m", "\x1b[0m"
_MIN_SERVER_ERROR: Final = 500


def is_harmless(entry: Entry) -> bool:
    """Whether nobody is hindered: a connection that a browser didn't need, or a client that was sent to HTTP/1.1."""
    return is_harmless_reason(entry.reason)


def is_harmless_reason(reason: str | None) -> bool:
    """Whether a line with this reason is such a line."""
    return reason in _HARMLESS


def shown(text: str) -> str:
    """The text, with escapes for characters that could control a terminal."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def shown_json(line: bytes) -> str:
    """A line of the log for a terminal: what isn't printable becomes an escape that JSON has too."""
    text = line.decode("utf-8", "backslashreplace").rstrip("\r").replace("\t", " ")  # between tokens, not inside them
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _json_escape(letter) for letter in text)


def _json_escape(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))


def who_of(entry: Entry) -> str:
    """The login, and the certificate's holder if it is another name."""
    holder = entry.cert_email or entry.common_name or ""
    if not entry.user:
        return holder
    name, same = entry.user.rpartition("\\")[2].lower(), holder.lower()
    is_same = not holder or name in {same, same.partition("@")[0]}
    return entry.user if is_same else f"{entry.user} (certificate {holder})"


def plain_line(entry: Entry) -> str:
    """The columns of `PIPE_COLUMNS`, separated by tabs, `-` for a missing value."""
    reason = None if entry.reason is None else entry.reason.partition(": ")[0]
    if reason is None and entry.observed is not None:
        reason = f"observed:{entry.observed}"
    parts = (
        entry.time.astimezone().isoformat(timespec="milliseconds"),
        entry.client_ip,
        None if entry.status is None else str(entry.status),
        reason,
        entry.detail,
        entry.rule,
        who_of(entry),
        entry.device_id,
        entry.method,
        entry.uri,
    )
    return "\t".join(shown(part) if part else _NONE for part in parts)


class Row(NamedTuple):
    """What a line says on a terminal, beside its time. Rows that are the same are folded into one."""

    address: str
    status: str
    reason: str  # and detail
    rule: str
    who: str
    device: str
    request: str  # method and path, without the query
    is_observed: bool


def row_of(entry: Entry) -> Row:
    """The row of an entry."""
    if entry.reason is not None:
        code, _, rest = entry.reason.partition(": ")
        detail = entry.detail or rest
        reason = f"{code}: {detail}" if detail else code
    else:
        reason = f"would be {entry.observed}" if entry.observed else ""
    path = (entry.uri or "").partition("?")[0]
    return Row(
        shown(entry.client_ip or _NONE),
        _NONE if entry.status is None else str(entry.status),
        shown(reason),
        shown(entry.rule or ""),
        shown(who_of(entry)),
        shown(entry.device_id or ""),
        shown(f"{entry.method} {path}" if entry.method else path or _NONE),
        entry.observed is not None,
    )


class Widths(NamedTuple):
    """Cells of the columns that share what is left of a terminal's width; 0 leaves a column out."""

    reason: int
    rule: int
    who: int
    device: int
    request: int


_COUNT_CELLS, _STATUS_CELLS, _ADDRESS_CELLS = 5, 3, 15
_GAPS: Final = 6  # of the seven columns that are always there
# Least and ideal cells. What is left beyond the ideal goes to the reason and the request.
_SHARED: Final = {"reason": (15, 60), "who": (10, 28), "request": (12, 36), "rule": (0, 23), "device": (0, 17)}
_ALWAYS, _OPTIONAL = ("reason", "who", "request"), ("rule", "device")
_MIN_CELLS: Final = 3
_MIN_OPTIONAL_CELLS: Final = 8


def widths_for(columns: int, address_cells: int = _ADDRESS_CELLS) -> Widths:
    """The widths on a terminal of so many columns."""
    time = LONG_TIME if columns >= _LONG_TIME_COLUMNS else SHORT_TIME
    left = columns - len(time) - _COUNT_CELLS - _STATUS_CELLS - address_cells - _GAPS
    least_sum = sum(least for least, _ in _SHARED.values())
    if left < least_sum:
        return Widths(
            rule=0, device=0, **{name: max(_MIN_CELLS, left * _SHARED[name][0] // least_sum) for name in _ALWAYS}
        )
    part = min(1.0, (left - least_sum) / sum(ideal - least for least, ideal in _SHARED.values()))
    cells = {name: least + int((ideal - least) * part) for name, (least, ideal) in _SHARED.items()}
    for name in _OPTIONAL:
        cells[name] = 0 if cells[name] < _MIN_OPTIONAL_CELLS else cells[name]
    left -= sum(cells.values())
    for name in _OPTIONAL:
        cells[name] = max(0, cells[name] - len(_GAP))
    cells["reason"] += left // 2
    cells["request"] += left - left // 2
    return Widths(**cells)


class Table:
    """Rows on a terminal. Rows that repeat the one before are counted; they are shown when another one comes."""

    def __init__(self, write: Callable[[str], object], columns: int, *, has_colour: bool) -> None:
        self._write = write
        self._columns = columns
        self._time_format = "%Y-%m-%d %H:%M:%S" if columns >= _LONG_TIME_COLUMNS else "%m-%d %H:%M:%S"
        self._widths = widths_for(columns)
        self._has_colour = has_colour
        self._address_cells = _ADDRESS_CELLS
        self._row: Row | None = None
        self._time = ""
        self._count = 0

    def add(self, entry: Entry) -> None:
        """One more line of the log."""
        row = row_of(entry)
        if row != self._row:
            self.flush()
            self._row = row
            self._time = entry.time.astimezone().strftime(self._time_format)
        self._count += 1

    def flush(self) -> None:
        """Show what was not shown yet. A row that repeats it is shown again, with the number of those since."""
        if self._row is not None and self._count:
            self._write(self._line(self._row))
        self._count = 0
        self._row = None

    def _line(self, row: Row) -> str:
        if len(row.address) > self._address_cells:  # the others make way
            self._address_cells = len(row.address)
            self._widths = widths_for(self._columns, self._address_cells)
        widths = self._widths
        count = "" if self._count == 1 else f"×{min(self._count, MAX_COUNT)}"
        parts = [
            self._coloured(self._time, _DIM),
            fit(row.address, self._address_cells),
            self._coloured(fit(row.status, _STATUS_CELLS), _colour_of(row)),
            fit(count, _COUNT_CELLS),
            self._coloured(fit(row.reason, widths.reason), _colour_of(row)),
        ]
        parts += [fit(text, cells) for text, cells in ((row.rule, widths.rule), (row.who, widths.who)) if cells]
        if widths.device:
            parts.append(fit(row.device, widths.device))
        parts.append(self._coloured(fit(row.request, widths.request).rstrip(), _CYAN))
        return _GAP.join(parts) + "\n"

    def _coloured(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_RESET}" if self._has_colour and colour else text


def _colour_of(row: Row) -> str:
    if row.is_observed:
        return _YELLOW
    if row.reason:
        return _RED
    return _RED if row.status.isdecimal() and int(row.status) >= _MIN_SERVER_ERROR else ""


def fit(text: str, cells: int) -> str:
    """The text in exactly so many cells: padded, or cut with `…`."""
    if text.isascii():
        length = len(text)
        return text.ljust(cells) if length <= cells else text[: cells - 1] + _CUT
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415 - only for text that has wide characters

    length = cell_len(text)
    return text + " " * (cells - length) if length <= cells else set_cell_size(text, cells - 1) + _CUT


def cell_count(text: str) -> int:
    """How many cells of a terminal it takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 - only for text that has wide characters

    return cell_len(text)
