"""Logs warnings, about what ends soon, and outages, which already cause clients to be refused.

Keeps true: a new line is logged within a minute, and right after a start or a reload; while it holds, it is repeated
every hour, so that it is in every part of the log, and not more often. When an outage is over, this is logged once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from gateway import clock
from gateway.commands import at_desk, options_for
from gateway.config.model import Config, Site
from gateway.config.observation import is_observed
from gateway.config.problems import listing
from gateway.keeper.plan import canonical, to_keep
from gateway.policy.hosts import HostPattern, parse_host_pattern
from gateway.policy.rules import Rule
from gateway.proxy.snapshot import Snapshot
from gateway.tls.outages import Finding, expiry_line, of_site_certificate

REPEAT_SECONDS: Final = 3600.0
CHECK_SECONDS: Final = 60.0
# A list that is fetched after the start, or a file that is being replaced, must not cause a mail.
MAILED_AFTER_SECONDS: Final = 60.0
SHOWN_RULES: Final = 3

_log = logging.getLogger("gateway.warnings")


@dataclass(frozen=True, slots=True)
class ServerChain:
    """The certificates in one file of a site."""

    source: str
    certificates: tuple[x509.Certificate, ...]  # the site's own is first
    hosts: str  # the sites that use it, in words


class WarningLog:
    """Logs the warnings and outages of the current snapshot, and the warnings of other parts."""

    def __init__(
        self,
        others: Callable[[], tuple[str, ...]] = tuple,
        silent_sites: Callable[[], set[str]] = set,
        problems: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        """`others` returns more warnings; `problems` lines that are as serious as outages but refuse no clients.

        `silent_sites` returns the sites whose OCSP responder does not answer the workers.
        """
        self._others = others
        self._problems = problems
        self._silent_sites = silent_sites
        self._snapshot: Snapshot | None = None
        self._chains: tuple[ServerChain, ...] = ()
        self._told: dict[str, float] = {}  # line → when it was last logged, monotonic seconds
        self._outages: dict[str, float] = {}  # line → when it was found first, monotonic seconds
        self._check_at = 0.0

    def follow(self, snapshot: Snapshot) -> None:
        """Use another snapshot, and check it now."""
        self._snapshot = snapshot
        self._chains = tuple(_server_chains(snapshot))
        self._check_at = 0.0
        self.tick()

    def tick(self) -> None:
        """Check the snapshot, once every `CHECK_SECONDS`."""
        now = clock.monotonic_seconds()
        if self._snapshot is None or now < self._check_at:
            return
        self._check_at = now + CHECK_SECONDS
        outages, warnings = self.outages(clock.now()), self.lines(clock.now())
        for line in self._outages:
            if line not in outages:
                _log.info("no longer a problem: %s", line)
        self._outages = {line: self._outages.get(line, now) for line in outages}
        problems = self._problems()
        for line in self.due(outages + problems + warnings, now):
            is_grave = line in self._outages or line in problems
            _log.log(logging.ERROR if is_grave else logging.WARNING, "%s", line)

    def lines(self, now: datetime) -> tuple[str, ...]:
        """All warnings at `now`; they don't cause clients to be refused yet."""
        own = () if self._snapshot is None else warnings_of(self._snapshot, self._chains, now)
        return own + self._others()

    def outages(self, now: datetime) -> tuple[str, ...]:
        """All outages at `now`: lines that say why clients are refused."""
        if self._snapshot is None:
            return ()
        return outages_of(self._snapshot, self._chains, now) + silences_of(self._snapshot, self._silent_sites(), now)

    @property
    def lasting(self) -> tuple[str, ...]:
        """The outages that have lasted long enough for a mail, as of the last check."""
        now = clock.monotonic_seconds()
        return tuple(line for line, since in self._outages.items() if now - since >= MAILED_AFTER_SECONDS)

    def due(self, lines: tuple[str, ...], now: float) -> tuple[str, ...]:
        """Those of `lines` that must be logged at `now`, in monotonic seconds."""
        due = tuple(line for line in lines if now - self._told.get(line, -REPEAT_SECONDS) >= REPEAT_SECONDS)
        self._told = {line: now if line in due else self._told[line] for line in lines}
        return due


def warnings_of(snapshot: Snapshot, chains: tuple[ServerChain, ...], now: datetime) -> tuple[str, ...]:
    """A line for each certificate and list that ends soon or is missing; no line twice."""
    lines: dict[str, None] = {}
    for chain in chains:
        leaf, *above = chain.certificates
        finding = of_site_certificate(chain.source, leaf, chain.hosts, now)
        if finding is not None and not finding.is_outage:
            lines[str(finding)] = None
        for certificate in above:
            if line := expiry_line(f"{chain.source}: the certificate", certificate, now):
                lines[line] = None
    for state in snapshot.states:
        for line in state.tls.trust.warnings(now):
            lines[f"{state.site.name}: {line}"] = None
    return tuple(lines)


def outages_of(snapshot: Snapshot, chains: tuple[ServerChain, ...], now: datetime) -> tuple[str, ...]:
    """A line for each certificate and list that has ended, has not begun or is missing, so that clients are refused."""
    lines: dict[str, None] = {}
    for chain in chains:
        finding = of_site_certificate(chain.source, chain.certificates[0], chain.hosts, now)
        if finding is not None and finding.is_outage:
            lines[str(finding)] = None
    for state in snapshot.states:
        let_in = _let_in(state.site, snapshot.config, now)
        for finding in state.tls.trust.outages(now):
            remedy = _remedy(finding, snapshot.config)
            lines[f"{state.site.name}: {finding.cause}{let_in}; {remedy}"] = None
    return tuple(lines)


def silences_of(snapshot: Snapshot, silent_sites: set[str], now: datetime) -> tuple[str, ...]:
    """A line for each site that refuses certificates because its OCSP responder does not answer."""
    sites = (state.site for state in snapshot.states)
    return tuple(
        f"{site.name}: no valid OCSP answer has come for a minute or longer: certificates without an earlier answer "
        f"that is still valid are refused{_let_in(site, snapshot.config, now)}; "
        "repair the responder (see gateway.ocsp in the log), or write `ocsp: {mode: soft}`"
        for site in sites
        if site.ocsp.mode == "hard" and site.name in silent_sites
    )


def _let_in(site: Site, config: Config, now: datetime) -> str:
    """An addition to an outage's line if rules for this site are in observation, which let these clients in."""
    hosts = tuple(map(parse_host_pattern, site.hosts))
    names = [repr(rule.name) for rule in config.rules if is_observed(rule, now) and _is_for(rule, hosts)]
    if not names:
        return ""
    more = len(names) - SHOWN_RULES
    shown = listing(names if more <= 0 else [*names[:SHOWN_RULES], f"{more:,} more"], "and")
    which = (
        f"the rule {shown} is in observation: it lets"
        if len(names) == 1
        else f"the rules {shown} are in observation: they let"
    )
    return f", but {which} in these clients as clients without a certificate"


def _is_for(rule: Rule, hosts: Sequence[HostPattern]) -> bool:
    return rule.hosts is None or any(own.meets(host) for own in rule.hosts for host in hosts)


def _remedy(finding: Finding, config: Config) -> str:
    """The remedy; for the list of an authority of the registry, a command that works in any folder."""
    pki = config.pki
    if pki is None or finding.source is None:
        return finding.remedy
    path = Path(finding.source)
    name = path.stem
    if canonical(path) != canonical(pki.folder / name / f"{name}.crl"):
        return finding.remedy
    command = at_desk(f"gateway ca crl {name}", options_for(config.path))
    if any(kept.name == name for kept in pki.authorities):
        return f"run 'gateway status' to see why the keeper could not renew it, or run `{command}`"
    return f"run `{command}`, and {to_keep(name)}"


def _server_chains(snapshot: Snapshot) -> Iterator[ServerChain]:
    sites: dict[Path, list[str]] = {}
    for state in snapshot.states:
        sites.setdefault(state.site.certificate.path, []).append(state.site.name)
    for file in {state.site.certificate.path: state.site.certificate for state in snapshot.states}.values():
        name, *others = sites[file.path]
        hosts = f"{name} and {len(others)} more" if others else name
        yield ServerChain(str(file.path), file.certificates, hosts)
