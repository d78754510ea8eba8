"""The counters of one worker for `gateway status` and the metrics; they only grow.

Keeps true: an answer costs one dictionary access and two additions. Keys are statuses, reason codes and rules, so
clients can't create many.
"""

from __future__ import annotations

from gateway.facts import Reason
from gateway.logs.record import AccessRecord


class Counters:
    """Counts since the worker started."""

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "handshakes_failed",
        "handshakes_full",
        "handshakes_resumed",
        "observed",
        "passed",
        "refused",
    )

    def __init__(self) -> None:
        self.passed: dict[int | None, int] = {}  # by status; None: the client left before the answer
        self.refused: dict[tuple[int | None, str], int] = {}  # by status and reason code
        # By rule and reason: requests that rules in observation let in and would have refused.
        self.observed: dict[tuple[str, str], int] = {}
        self.bytes_in = 0  # of request bodies
        self.bytes_out = 0  # of answers' bodies
        self.handshakes_full = 0
        self.handshakes_resumed = 0
        self.handshakes_failed = 0  # logged connections that ended before the handshake was finished

    def note(self, record: AccessRecord) -> None:
        """Count an access record."""
        if record.reason is not None:
            self._note_refusal(record, record.reason)
            return
        try:
            self.passed[record.status] += 1
        except KeyError:
            self.passed[record.status] = 1
        if count := record.bytes_in:
            self.bytes_in += count
        if count := record.bytes_out:
            self.bytes_out += count

    def _note_refusal(self, record: AccessRecord, reason: str) -> None:
        if not isinstance(reason, Reason):  # a sentence about a handshake, which may contain client text
            self.handshakes_failed += 1
            return
        key = record.status, str(reason)
        self.refused[key] = self.refused.get(key, 0) + 1
        self.bytes_in += record.bytes_in or 0
        self.bytes_out += record.bytes_out or 0

    def note_observed(self, record: AccessRecord) -> None:
        """Count a request that a rule in observation lets in and would have refused."""
        key = str(record.rule), str(record.observed)
        self.observed[key] = self.observed.get(key, 0) + 1

    def handshake_done(self, *, is_resumed: bool) -> None:
        """Count a finished TLS handshake."""
        if is_resumed:
            self.handshakes_resumed += 1
        else:
            self.handshakes_full += 1

    def as_dict(self) -> dict[str, object]:
        """The counts for a status report. Each entry of `answers`: status, reason code or null, count; of `observed`:
        rule, reason code, count.
        """
        return {
            "answers": [
                *([status, None, count] for status, count in self.passed.items()),
                *([status, reason, count] for (status, reason), count in self.refused.items()),
            ],
            "observed": [[rule, reason, count] for (rule, reason), count in self.observed.items()],
            "bytes": {"in": self.bytes_in, "out": self.bytes_out},
            "handshakes": {
                "full": self.handshakes_full,
                "resumed": self.handshakes_resumed,
                "failed": self.handshakes_failed,
            },
        }
