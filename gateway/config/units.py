"""Durations and sizes as people write them: `500ms`, `10s`, `5m`, `1h`, `14d`; `32KiB`, `2GiB`, `10MB`, `4096`."""

from __future__ import annotations

import re
from typing import Final

SECONDS_PER_UNIT: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
BYTES_PER_UNIT: Final = {
    "": 1,
    "B": 1,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
}
# 15 digits are more than any limit allows and stay exact in a float.
DURATION_PATTERN: Final = r"[0-9]{1,15}(?:\.[0-9]{1,6})?(?:ms|s|m|h|d)"
SIZE_PATTERN: Final = r"[0-9]{1,15}(?:B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?"

_DURATION: Final = re.compile(r"([0-9.]+)([a-z]+)")
_SIZE: Final = re.compile(r"([0-9]+)([A-Za-z]*)")


def parse_duration(text: str) -> float | None:
    """Seconds; None if `text` is not a duration."""
    if not re.fullmatch(DURATION_PATTERN, text) or not (found := _DURATION.fullmatch(text)):
        return None
    return float(found[1]) * SECONDS_PER_UNIT[found[2]]


def parse_size(text: str) -> int | None:
    """Bytes; None if `text` is not a size."""
    if not re.fullmatch(SIZE_PATTERN, text) or not (found := _SIZE.fullmatch(text)):
        return None
    return int(found[1]) * BYTES_PER_UNIT[found[2]]


def format_duration(seconds: float) -> str:
    """The shortest exact spelling of some seconds: 60.0 is `1m`, 5400.0 is `90m`."""
    for unit in ("d", "h", "m", "s"):
        if seconds and seconds % SECONDS_PER_UNIT[unit] == 0:
            return f"{int(seconds / SECONDS_PER_UNIT[unit])}{unit}"
    return f"{seconds * 1000:g}ms" if seconds else "0s"


def format_size(size_bytes: int) -> str:
    """The shortest exact spelling of some bytes in binary units: 2147483648 is `2GiB`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size_bytes and size_bytes % BYTES_PER_UNIT[unit] == 0:
            return f"{size_bytes // BYTES_PER_UNIT[unit]}{unit}"
    return str(size_bytes)
