"""What is known about one refusal, put together for the verdict: from the log, the registry and the gateway."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from gateway.cli.why.changes import Change, changes_between
from gateway.cli.why.commands import Known
from gateway.cli.why.history import Episode, Person
from gateway.cli.why.lines import More, code_of, detail_of, more_of
from gateway.cli.why.live import Inside, Live
from gateway.cli.why.registry import Certificate, Registry
from gateway.logs.reader import Hit

_LOCKED_CERTIFICATE: Final = re.compile(r"too many failed attempts from \S+ with the certificate ([0-9a-f]{8,64})")


@dataclass(slots=True)
class Sources:
    """What there is to ask, beside the log."""

    now: datetime
    inside: Inside
    registry: Registry
    live: Live
    config: Path | None = None
    store: str | None = None
    files: tuple[Path, ...] = ()
    outlooks: Mapping[str, str] = field(default_factory=dict)
    searched: frozenset[str] | None = None  # certificates whose lines were all read, by fingerprint; None: all

    def outlook(self, rule: str | None) -> str | None:
        """What a rule in observation will do, by the running gateway, else by the configuration."""
        return self.live.outlook(rule) or self.outlooks.get(rule or "")


@dataclass(slots=True)
class Case:
    """One person's refusals. Without an episode, nothing was refused after the last success."""

    person: Person
    who: str  # as it is said: "alice@example.com", "a client at 203.0.113.9"
    sources: Sources
    episode: Episode | None = None
    asked: Hit | None = None  # the line with the request number
    is_likely: bool = False  # the refusals have no name; address or program are hers
    changes: list[Change] = field(default_factory=list)
    is_name: bool = True
    success: Hit | None = None  # the last one before, where the episode has none of its own

    def __post_init__(self) -> None:
        if self.episode is not None and self.before is not None:
            self.changes = changes_between(self.before, self.shown, self.sources.inside)

    @property
    def before(self) -> Hit | None:
        """The last success before the refusals; without refusals, the last one."""
        if self.episode is None:
            return self.person.success
        return self.success or self.episode.before

    @property
    def shown(self) -> Hit:
        """The refusal to explain: the one that was asked for, else the first."""
        if self.asked is not None:
            return self.asked
        return self._episode.first

    @property
    def _episode(self) -> Episode:
        if self.episode is None:
            raise LookupError
        return self.episode

    @property
    def newest(self) -> Hit:
        """The refusal whose cause counts: the newest, unless one line was asked for."""
        return self.asked if self.asked is not None else self._episode.last

    @property
    def code(self) -> str:
        """The code of the refusal that counts."""
        return code_of(self.newest) or ""

    @property
    def detail(self) -> str:
        """Its detail."""
        return detail_of(self.newest)

    @property
    def more(self) -> More:
        """The rest of its line."""
        return more_of(self.newest)

    @property
    def holder(self) -> str:
        """The name in the refused certificate."""
        entry = self.newest.entry
        known = self.sources.registry.certificate(entry.cert_fingerprint)
        named = entry.cert_email or entry.common_name or (known and (known.email or known.name))
        if named:
            return named
        if entry.cert_fingerprint is not None:
            return f"the holder (fingerprint {entry.cert_fingerprint[:16]}…)"
        return self.who

    @property
    def certificate(self) -> Certificate | None:
        """The refused certificate in the registry."""
        return self.sources.registry.certificate(self.newest.entry.cert_fingerprint)

    @property
    def successor(self) -> Certificate | None:
        """Its renewal, if that is valid."""
        certificate = self.certificate
        return None if certificate is None else self.sources.registry.successor(certificate)

    @property
    def renewal(self) -> Certificate | None:
        """Its renewal, valid or not."""
        certificate = self.certificate
        return None if certificate is None else self.sources.registry.renewal(certificate)

    def is_unseen(self, certificate: Certificate) -> bool:
        """Whether no line of the files has this certificate. Of some, only a part of the lines was read."""
        searched = self.sources.searched
        is_read = searched is None or certificate.fingerprint in searched
        return is_read and certificate.fingerprint not in self.person.certificates

    def waiting(self, old: Certificate) -> Certificate | None:
        """A newer valid certificate of the same person that no line has, so that it waits to be installed."""
        found = [each for each in self.sources.registry.usable() if each.holder == old.holder]
        newer = [each for each in found if each.created > old.created and self.is_unseen(each)]
        return newer[-1] if newer else None

    def changed(self, what: str) -> Change | None:
        """The change of this kind."""
        return next((each for each in self.changes if each.what == what), None)

    def known(self) -> Known:
        """For commands."""
        registry, entry = self.sources.registry, self.newest.entry
        certificate = self.certificate
        if certificate is None and entry.cert_fingerprint is None and registry.certificates:
            usable = registry.usable()
            certificate = (usable or registry.certificates)[-1]
        issuer = registry.authority_of(self.more.cert_issuer)
        lockout = self.sources.live.lockout(entry.client_ip, entry.cert_fingerprint, entry.cert_email)
        locked_out = None if lockout is None else lockout["certificate"] or lockout["address"]
        if locked_out is None and (found := _LOCKED_CERTIFICATE.search(self.detail)) is not None:
            locked_out = found[1]
        authority = None if issuer is None else issuer.name
        if certificate is not None and entry.cert_fingerprint is not None:
            authority = certificate.authority
        return Known(
            entry=entry,
            who=self.person.name,
            registry=registry,
            certificate=certificate,
            successor=self.successor,
            config=self.sources.config,
            store=self.sources.store,
            files=self.sources.files,
            locked_out=locked_out,
            authority=authority,
        )
