"""Caches trusted certificates, so that a returning client costs a look-up instead of a verification.

Keeps true: only trusted judgements are kept, each no longer than its path and revocation lists are
valid. They are dropped if the clock is set back, and a new `Trust` gets a new cache. Refusals are not kept: a client
that did not send an intermediate can send it later, and no client can fill the cache with certificates of unknown CAs.
Each connection remembers its own refusal.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from gateway.tls.client_cert import Examination, examine
from gateway.tls.trust import Trust
from gateway.x509.names import fingerprint

# A certificate and its path have 3 to 8 KiB: at most about 32 MiB for a site.
MAX_REMEMBERED_JUDGEMENTS: Final = 4096


class _Entry(NamedTuple):
    examination: Examination
    since: datetime
    sent: frozenset[str]  # fingerprints of the client's other certificates: with others there may be other paths


class JudgementCache:
    """`client_cert.examine` for one Trust, with a cache; the least recently used entry is dropped first."""

    __slots__ = ("_entries", "trust")

    def __init__(self, trust: Trust) -> None:
        self.trust = trust
        self._entries: dict[bytes, _Entry] = {}

    def __repr__(self) -> str:
        return f"<JudgementCache of generation {self.trust.generation}: {len(self._entries)} trusted>"

    def examine(self, leaf_der: bytes, chain_der: Sequence[bytes], now: datetime) -> Examination:
        """Whether the certificate is trusted at `now`, and until when; `chain_der`: the client's other certificates.

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
