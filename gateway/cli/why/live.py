"""What the running gateway says: lockouts, problems, rules in observation. And which addresses are inside.

Both come from the configuration: `admin` names the port to ask, `networks.internal` the addresses inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from gateway.cli.why.words import first_line
from gateway.errors import GatewayError
from gateway.facts import counted_text, parse_address

if TYPE_CHECKING:
    from gateway.admin.state import LockoutState, State
    from gateway.policy.networks import NetworkSet


@dataclass(slots=True)
class Live:
    """The gateway's state; `problem`: why it could not be asked."""

    state: State | None = None
    problem: str | None = None

    def lockout(self, address: str | None, fingerprint: str | None, holder: str | None) -> LockoutState | None:
        """The lockout of this address, or of this certificate anywhere."""
        if self.state is None:
            return None
        counted = _counted(address)
        found = [each for each in self.state["lockouts"] if _is_of(each, counted, fingerprint, holder)]
        found.sort(key=lambda each: each["certificate"] is None)  # the person's own first
        return found[0] if found else None

    def problems(self) -> list[str]:
        """Why clients are refused now, and lists that can't be used."""
        if self.state is None:
            return []
        return [*self.state.get("outages", []), *self.state.get("list_problems", [])]

    def outlook(self, rule: str | None) -> str | None:
        """What will happen to requests that a rule in observation would refuse."""
        if self.state is None or rule is None:
            return None
        return next((each["outlook"] for each in self.state.get("observation", []) if each["rule"] == rule), None)


def _is_of(lockout: LockoutState, counted: str | None, fingerprint: str | None, holder: str | None) -> bool:
    if lockout["certificate"] is None:
        return counted is not None and lockout["address"] == counted
    return lockout["certificate"] == fingerprint or (
        holder is not None and (lockout["holder"] or "").lower() == holder.lower()
    )


def _counted(address: str | None) -> str | None:
    try:
        return None if address is None else counted_text(parse_address(address))
    except ValueError:
        return None


def ask(config: Path | None) -> Live:
    """The state of the gateway with this configuration."""
    from gateway.cli import status_client  # noqa: PLC0415 - heavy, see app

    if config is None:
        return Live(problem="no configuration was given (-c FILE)")
    try:
        return Live(status_client.fetch(status_client.admin_address(config, None)))
    except GatewayError as error:
        return Live(problem=first_line(error))


class Configured(NamedTuple):
    """What the configuration says, even if something else in it is wrong."""

    inside: Inside
    outlooks: Mapping[str, str] = MappingProxyType({})  # of the rules in observation, by name

    @classmethod
    def of(cls, path: Path | None, now: datetime) -> Configured:
        """Read it."""
        from gateway.config.load import Loaded, load  # noqa: PLC0415 - heavy, see app
        from gateway.config.observation import is_observed, outlook  # noqa: PLC0415 - the same
        from gateway.config.problems import ConfigErrors  # noqa: PLC0415 - the same
        from gateway.policy.networks import INTERNAL, NetworkSet  # noqa: PLC0415 - the same

        if path is None:
            return cls(Inside())
        try:
            found = load(path, reads_keys=False)
        except ConfigErrors as error:
            if not isinstance(error.partial, Loaded):
                return cls(Inside())
            found = error.partial.config
        except GatewayError:
            return cls(Inside())
        inside = Inside(NetworkSet(found.networks.get(INTERNAL, ())))
        return cls(inside, {rule.name: outlook(rule) for rule in found.rules if is_observed(rule, now)})


class Inside:
    """Whether an address is inside: in `networks.internal`. Without a configuration, whether it is private."""

    def __init__(self, networks: NetworkSet | None = None) -> None:
        from gateway.config.networks import DEFAULT_INTERNAL  # noqa: PLC0415 - heavy, see app
        from gateway.policy.networks import NetworkSet  # noqa: PLC0415 - the same

        self.is_configured = networks is not None
        self._networks = NetworkSet(DEFAULT_INTERNAL) if networks is None else networks
        self._words = ("inside", "outside") if self.is_configured else ("a private address", "a public address")

    def word(self, address: str | None) -> str | None:
        """`inside` or `outside`; `a private address` or `a public address` without a configuration."""
        if address is None:
            return None
        try:
            return self._words[0] if self._networks.contains(parse_address(address)) else self._words[1]
        except ValueError:
            return None

    def is_inside(self, address: str | None) -> bool:
        """Whether it is the first of the two."""
        return self.word(address) == self._words[0]

    def shown(self, address: str | None) -> str:
        """The address with the word."""
        if address is None:
            return "an unknown address"
        word = self.word(address)
        return address if word is None else f"{address} ({word})"
