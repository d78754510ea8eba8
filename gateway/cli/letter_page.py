"""Whether the page that letters lead to is one that the gateway's rules let people open with a certificate.

Rules that ask for a certificate count from anywhere, rules that let in without one only from outside: a letter must
lead to a page that opens where the certificate is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from shlex import quote
from typing import Final

import typer

from gateway.commands import quoted
from gateway.config.load import load
from gateway.config.model import Config
from gateway.config.problems import ConfigErrors
from gateway.errors import RequestError, UsageError
from gateway.facts import Action, Address, Decision, Request
from gateway.pki.names import check_path
from gateway.policy.engine import Engine
from gateway.policy.hosts import SiteIndex
from gateway.policy.networks import NetworkSet
from gateway.policy.uri import normalise, parse_pattern

SHOWN_PATHS: Final = 5  # a remedy is one line


def check_page(file: Path, host: str, path: str, now: datetime) -> None:
    """Raises `UsageError` if the rules in the configuration refuse the page.

    What stops the comparison is told as a note: the file may be for another machine, or not be complete yet.
    """
    try:
        config = load(file, now=now, reads_keys=False)
    except ConfigErrors:
        cause = f"{file} has errors, so --path was not checked against its rules"
        command = quoted(f"gateway check -c {quote(str(file))}")
        typer.echo(f"note: {cause}; {command} lists them", err=True)
        return
    if SiteIndex([(name, site) for site in config.sites for name in site.hosts]).find(host) is None:
        cause = f"{file} has no site for {host}, so --path was not checked against its rules"
        typer.echo(f"note: {cause}; check the spelling of --host", err=True)
        return
    page = _Pages(config, host, now)
    if (refusal := page.refusal(path)) is None:
        return
    rule = "no rule lets in" if refusal.rule is None else f"the rule '{refusal.rule}' (line {refusal.line}) refuses"
    cause = f"--path: {rule} https://{host}{path} from outside, even with a certificate ({file})"
    paths = list(page.open_paths())
    remedy = f"List the paths that are open with a certificate: gateway check --who -c {quote(str(file))}"
    if paths:
        shown = " or --path ".join(map(quote, paths[:SHOWN_PATHS]))
        remedy = f"Give a path that is open with a certificate: --path {shown}"
    raise UsageError(cause, remedy)


class _Pages:
    """The pages of a host, as the rules decide about them."""

    def __init__(self, config: Config, host: str, now: datetime) -> None:
        self._rules = config.rules
        self._host = host
        self._engine = Engine(config.rules, config.networks, now.timestamp())
        # Addresses of one entry are not told apart by any rule, so one of them stands for all.
        entries = [entry for of_host in self._engine.overview((host,)) for entry in of_host.addresses]
        has_outside = not all(entry.is_inside for entry in entries)
        self._origins = [(entry.is_inside and has_outside, _an_address(entry.addresses)) for entry in entries]

    def refusal(self, path: str) -> Decision | None:
        """What refuses the page; None if it is open from somewhere."""
        try:
            target = normalise(path.encode())
        except RequestError as error:
            raise UsageError(f"--path: the gateway refuses the path: {error.cause}", "Give another one.") from error
        refusals = []
        for is_inside, address in self._origins:
            request = Request(address, self._host, "GET", target.match)
            decisions = [self._engine.decide(replace(request, path=each)) for each in (target.match, *target.readings)]
            refusal = next((each for each in decisions if each.action is Action.DENY), None)
            if refusal is None and not (is_inside and decisions[0].action is Action.ALLOW):
                return None
            refusals.append((is_inside, refusal or decisions[0]))
        return min(refusals, key=lambda found: found[0])[1]

    def open_paths(self) -> Iterator[str]:
        """The paths that rules name and that are open, in the order of the rules."""
        every = (parse_pattern("/"),)
        named = (uri for rule in self._rules if rule.action is not Action.DENY for uri in rule.uris or every)
        for pattern in dict.fromkeys(named):
            if pattern.kind == "regex":
                continue
            try:
                path = check_path(pattern.text.removeprefix("=") or "/")
            except UsageError:
                continue
            if self.refusal(path) is None:
                yield path


def _an_address(addresses: NetworkSet) -> Address:
    return IPv4Address(addresses.v4[0][0]) if addresses.v4 else IPv6Address(addresses.v6[0][0])
