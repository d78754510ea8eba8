"""Reads the `rules` section and checks that every condition can hold, names are known, and every rule can match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from gateway.config.certificates import Certificates, Material, name_of
from gateway.config.days import format_day
from gateway.config.methods import EVERY_METHOD, METHODS
from gateway.config.networks import Networks
from gateway.config.problems import Problems, did_you_mean, listing, quote
from gateway.config.reach import Reach
from gateway.config.reading import Value
from gateway.config.rule_order import RuleOrder
from gateway.config.sites import SiteView, read_host
from gateway.config.uri_patterns import read_pattern
from gateway.errors import PatternError
from gateway.facts import Action
from gateway.policy.hosts import HostPattern, parse_host_pattern
from gateway.policy.networks import Network, NetworkSet, named
from gateway.policy.rules import CertificateConditions, Rule
from gateway.policy.uri import UriPattern
from gateway.x509.authorities import descends, is_constrained
from gateway.x509.names import fingerprint_of

FAR_DAYS: Final = 366  # a day more than a year ahead is probably misspelt

_REQUIRE: Final = Action.REQUIRE_CERTIFICATE.value


@dataclass(frozen=True, slots=True)
class _Read:
    """A rule and the requests that it matches; None if a condition has an error."""

    rule: Rule
    reach: Reach | None


class Rules:
    """Reads the rules in their order."""

    def __init__(
        self,
        networks: Networks,
        sites: Sequence[SiteView],
        trusted_proxies: Sequence[Network],
        material: Material,
        problems: Problems,
    ) -> None:
        self._networks = networks
        self._sites = [(view, tuple(map(parse_host_pattern, view.hosts))) for view in sites]
        self._material = material
        self._problems = problems
        self._names: dict[str, int] = {}
        self._sets: dict[tuple[str, ...], NetworkSet] = {}
        self._order = RuleOrder(self._sites, trusted_proxies, self._network_set, problems)

    def read(self, section: Value | None) -> tuple[Rule, ...]:
        """Every rule that could be read; errors are reported."""
        found: list[Rule] = []
        for number, value in enumerate(section.data if section is not None else (), start=1):
            read = self._rule(number, value)
            if read is None:
                continue
            found.append(read.rule)
            if read.reach is not None:
                self._order.add(value, read.rule, read.reach)
        return tuple(found)

    def _rule(self, number: int, value: Value) -> _Read | None:
        name = self._name(number, value)
        networks, hosts = self._from(value), self._hosts(value)
        uris, methods = self._uris(value), self._methods(value)
        action = value.get("action")
        conditions = self._conditions(value, hosts)
        if action is None:
            return None
        rule = Rule(
            name=name,
            action=Action(action.data),
            line=value.place.mark.line,
            networks=networks,
            hosts=hosts,
            uris=uris,
            methods=methods,
            certificate=conditions,
            enforce=self._enforce(value),
        )
        # A condition that could not be read would otherwise look like one that is left out.
        parts = {"from": networks, "hosts": hosts, "uri": uris, "methods": methods}
        if value.has_unknown_keys or any(key in value.keys and part is None for key, part in parts.items()):
            return _Read(rule, None)
        network_set = self._network_set(networks)
        if network_set is None and networks is not None:
            return _Read(rule, None)
        return _Read(rule, Reach(network_set, hosts, uris, methods))

    def _name(self, number: int, value: Value) -> str:
        name = str(value.plain("name", f"rule {number}"))
        if (first := self._names.setdefault(name, number)) != number:
            cause = f"rule {first} has the same name, so logs can't tell them apart"
            self._problems.warning(value.at("name"), cause, "write another name")
        return name

    def _from(self, value: Value) -> tuple[str, ...] | None:
        if value.get("from") is None:
            return None
        found = [(item, self._networks.parse(item)) for item in value.items("from")]
        if any(parsed is None for _, parsed in found):
            return None
        return tuple(str(item.data) for item, _ in found) or None

    def _network_set(self, networks: tuple[str, ...] | None) -> NetworkSet | None:
        if networks is None:
            return None
        if networks not in self._sets:
            result = NetworkSet()
            for item in networks:
                try:
                    result = result.union(named(item, self._networks.resolved))
                except PatternError:  # a name with an error in its definition
                    return None
            self._sets[networks] = result
        return self._sets[networks]

    def _hosts(self, value: Value) -> tuple[HostPattern, ...] | None:
        if value.get("hosts") is None:
            return None
        found: list[HostPattern] = []
        items = value.items("hosts")
        for item in items:
            if (text := read_host(item, self._problems)) is None:
                continue
            pattern = parse_host_pattern(text)
            served = [host for _, hosts in self._sites for host in hosts]
            if served and not any(pattern.meets(host) for host in served):
                known = listing(host.text for host in served)
                self._problems.error(
                    item.place, f"no site has the host {quote(text)}", f"write one of the sites' hosts: {known}"
                )
                continue
            found.append(pattern)
        return tuple(found) if found and len(found) == len(items) else None

    def _uris(self, value: Value) -> tuple[UriPattern, ...] | None:
        found: list[UriPattern] = []
        items, denies = value.items("uri"), value.plain("action", "") == Action.DENY.value
        for item in items:
            try:
                read = read_pattern(str(item.data), denies=denies)
            except PatternError as error:
                self._problems.error(item.place, error.cause, error.remedy)
                continue
            found.append(read.pattern)
            if read.warning is not None:
                self._problems.warning(item.place, *read.warning)
        return tuple(found) if found and len(found) == len(items) else None

    def _methods(self, value: Value) -> frozenset[str] | None:
        items = value.items("methods")
        for item in items:
            text = str(item.data)
            if text.upper() in EVERY_METHOD:
                cause = f"no client sends the method {quote(text)}, so the rule never matches"
                self._problems.error(item.place, cause, "remove the key methods: a rule without it is for every method")
            elif text.startswith(("!", "^", "~", "-")):
                cause = f"{quote(text)}: methods can't be negated"
                self._problems.error(item.place, cause, "list the methods that the rule is for")
            elif text != text.upper():
                self._problems.error(
                    item.place,
                    f"{quote(text)} is not a method: methods are in capital letters",
                    f"write {text.upper()}"
                    if text.upper() in METHODS
                    else did_you_mean(text.upper(), METHODS, "list the methods that are meant, such as GET"),
                )
            elif text not in METHODS:
                remedy = did_you_mean(text, METHODS, "ignore this warning if your server uses this method")
                self._problems.warning(item.place, f"{quote(text)} is not a known method", remedy)
        return frozenset(str(item.data) for item in items) or None

    def _conditions(self, value: Value, hosts: tuple[HostPattern, ...] | None) -> CertificateConditions | None:
        section, action = value.get("certificate"), value.get("action")
        if section is None:
            return None
        if action is not None and action.data != _REQUIRE:
            cause = f"a rule with action {action.data} doesn't ask for a certificate"
            self._problems.error(section.place, cause, f"write action: {_REQUIRE}, or remove certificate")
        self._warn_of_constraints(section, hosts)
        fingerprints = (str(item.data) for item in section.items("fingerprint_sha256"))
        subject = section.section("subject").data.items()
        return CertificateConditions(
            ca_fingerprints=self._authorities(section, hosts),
            subject=tuple((name, str(pattern.data)) for name, pattern in subject),
            emails=tuple(str(item.data) for item in section.items("email")),
            fingerprints_sha256=frozenset(text.replace(":", "").lower() for text in fingerprints),
            bind_user=section.plain("bind_user", None),
            device_ids=frozenset(str(item.data) for item in section.items("device_ids")),
        )

    def _enforce(self, value: Value) -> bool | date:
        """Whether, or from which day on, the rule refuses; True if the value can't be read."""
        enforce, action = value.get("enforce"), value.get("action")
        if enforce is None:
            return True
        when: bool | date = enforce.data
        if action is not None and action.data != _REQUIRE:
            cause = f"enforce has no effect in a rule with action {action.data}"
            self._problems.error(enforce.place, cause, f"remove enforce, or write action: {_REQUIRE}")
        elif when is False:
            cause = "the rule is in observation with no end date: it lets in requests that it would refuse"
            self._problems.warning(enforce.place, cause, "write true, or the first day on which it refuses")
        elif when is not True and when - self._material.now.date() > timedelta(days=FAR_DAYS):
            cause = f"the rule is in observation for more than a year, until {format_day(when)}"
            self._problems.warning(enforce.place, cause, "check the year")
        return when

    def _warn_of_constraints(self, section: Value, hosts: tuple[HostPattern, ...] | None) -> None:
        """Warn of conditions on names that a CA may issue without limit, because its name constraints ignore them."""
        views = [view for view, site_hosts in self._sites if _meet(hosts, site_hosts)]
        anchors = {fingerprint_of(anchor): anchor for view in views for anchor in view.anchors or ()}
        bound = [anchor for anchor in anchors.values() if is_constrained(anchor)]
        if not bound:
            return
        bind, subject, name = section.get("bind_user"), section.get("subject"), name_of(bound[0])
        if bind is not None and bind.data in {"cn", "san"}:
            cause = (
                f"{name} has name constraints: in its certificates only mail addresses and user principal names count"
            )
            self._problems.warning(bind.place, cause, "write email or upn")
        if subject is not None and len(anchors) > len(bound) and not section.items("ca"):
            cause = f"the name constraints of {name} don't limit subjects: its certificates may have any subject"
            self._problems.warning(subject.place, cause, "write in ca which of the site's CAs this rule is for")

    def _authorities(self, section: Value, hosts: tuple[HostPattern, ...] | None) -> frozenset[str] | None:
        items = section.items("ca")
        if not items:
            return None
        views = [view for view, site_hosts in self._sites if _meet(hosts, site_hosts)]
        anchors = [anchor for view in views for anchor in view.anchors or ()]
        is_known = all(view.anchors is not None for view in views)
        found: list[str] = []
        for item in items:
            file = self._material.authorities(item)
            group = () if file is None else file.certificates
            found += map(fingerprint_of, group)
            strangers = _strangers(group, tuple(anchors)) if is_known and anchors else ()
            for stranger in strangers:
                cause = f"{name_of(stranger)} is not under any client_ca of the rule's sites"
                self._problems.error(item.place, cause, "add its root to the site's client_ca, or remove it here")
        return frozenset(found)


def _strangers(group: Certificates, anchors: Certificates) -> Certificates:
    """The certificates of a file that don't descend from `anchors`, directly or through others in the file."""
    known, left = anchors, group
    while reached := tuple(certificate for certificate in left if descends(certificate, known)):
        known += reached
        left = tuple(certificate for certificate in left if certificate not in reached)
    return left


def _meet(hosts: tuple[HostPattern, ...] | None, site_hosts: tuple[HostPattern, ...]) -> bool:
    return hosts is None or any(host.meets(own) for host in hosts for own in site_hosts)
