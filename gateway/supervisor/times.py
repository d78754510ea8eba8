"""Times as the state has them: RFC 3339, UTC, milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(time: datetime | float) -> str:
    """A time, aware and in UTC, or in Unix seconds."""
    aware = time if isinstance(time, datetime) else datetime.fromtimestamp(time, UTC)
    return aware.isoformat(timespec="milliseconds").replace("+00:00", "Z")
