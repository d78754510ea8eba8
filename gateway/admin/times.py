"""Times in the format of the state: RFC 3339, UTC, with milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(time: datetime | float) -> str:
    """The text for a time: an aware `datetime` in UTC, or Unix seconds."""
    aware = time if isinstance(time, datetime) else datetime.fromtimestamp(time, UTC)
    return aware.isoformat(timespec="milliseconds").replace("+00:00", "Z")
