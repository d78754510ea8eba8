"""Remembers whom it trusted, so that a client that comes back costs a look-up instead of a verification.

What this module keeps true: only trusted judgements are kept, each no longer than its path and revocation lists are
valid, never beyond a step back of the clock, and never across a change of trust: a new `Trust` gets a new cache.
Refusals are not kept here, so that a client that lacked an intermediate can send it, and no client can fill the
cache with certificates that no CA issued. Each connection keeps its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from gateway.tls.client_cert import Examination, examine
from gateway.tls.trust import Trust
from gateway.x509.names import fingerprint

# A certificate and its path have 3 to 8 KiB: about 32 MiB for a site at the most.
MAX_REMEMBERED_JUDGEMENTS: Final = 4096


class _Entry(NamedTuple):
    examination: Examination
    since: datetime
    sent: frozenset[str]  # fingerprints of what the client sent along; with other CAs there may be other paths


class JudgementCache:
    """`client_cert.examine` for one Trust, with a memory; the least recently used is forgotten first."""

    __slots__ = ("_entries", "trust")

    def __init__(self, trust: Trust) -> None:
        self.trust = trust
        self._entries: dict[bytes, _Entry] = {}

    def __repr__(self) -> str:
        return f"<JudgementCache of generation {self.trust.generation}: {len(self._entries)} trusted>"

    def examine(self, leaf_der: bytes, chain_der: Sequence[bytes], now: datetime) -> Examination:
        """Whether the certificate counts at `now`, and until when; `chain_der` is whatever else the client sent.

        Never raises.
        """
        entry = self._entries.pop(leaf_der, None)
        sent = frozenset(map(fingerprint, chain_der))
        if entry is None or not sent <= entry.sent or not _holds(entry, now):
            examination = examine(leaf_der, chain_der, self.trust, now)
            if not examination.judgement.is_trusted:
                return examination
            entry = _Entry(examination, now, sent)
            if len(self._entries) >= MAX_REMEMBERED_JUDGEMENTS:
                del self._entries[next(iter(self._entries))]
        self._entries[leaf_der] = entry
        return entry.examination


def _holds(entry: _Entry, now: datetime) -> bool:
    until = entry.examination.until
    return until is not None and entry.since <= now <= until
