"""The pools of one worker: one for each upstream of the configuration.

Keeps true: a pool is kept over reloads as long as nothing that it depends on has changed, so its connections are too.
"""

from __future__ import annotations

from dataclasses import replace

from gateway import clock
from gateway.config.model import Config, Upstream
from gateway.proxy.upstream.names import Names
from gateway.proxy.upstream.pool import Pool
from gateway.proxy.upstream.tls import upstream_tls


class Pools:
    """The pools by the names of their upstreams."""

    __slots__ = ("by_name", "names")

    def __init__(self, config: Config) -> None:
        self.names = Names(config.name_servers)
        self.by_name: dict[str, Pool] = {}

    def of(self, upstream: Upstream) -> Pool:
        """The pool of an upstream."""
        return self.by_name[upstream.name]

    def follow(self, config: Config) -> None:
        """Start the pools of this configuration, and close those that are not in it. `ConfigError`: nothing changes.

        Raised if an upstream's TLS files can't be used.
        """
        before, self.by_name = self.by_name, self._pools_of(config)
        kept = set(before.values()) & set(self.by_name.values())
        self.names.follow(config.name_servers)
        for pool in set(self.by_name.values()) - kept:
            pool.start()
        for pool in set(before.values()) - kept:
            pool.close()

    def _pools_of(self, config: Config) -> dict[str, Pool]:
        """The pools for a configuration; existing ones are kept if their upstream has not changed."""
        pools: dict[str, Pool] = {}
        for upstream in config.upstreams:
            known = self.by_name.get(upstream.name)
            # An upstream's CA or certificate file may have changed under the same name.
            tls = upstream_tls(upstream, None if known is None else known.tls)
            if known is None or known.tls is not tls or not _is_served_alike(known.upstream, upstream):
                known = Pool(upstream, tls, self.names)
            pools[upstream.name] = known
        return pools

    def sweep(self, now: float) -> None:
        """Close connections that have been idle for too long."""
        for pool in self.by_name.values():
            pool.sweep(now)

    def close(self) -> None:
        """Close all pools."""
        for pool in self.by_name.values():
            pool.close()

    def status(self) -> dict[str, object]:
        """What `gateway status` shows of the upstreams."""
        now = clock.monotonic_seconds()
        return {
            name: [
                {
                    "server": state.url,
                    "addresses": [] if state.name is None else state.name.addresses,
                    "busy": state.busy,
                    "idle": len(state.idle),
                    "is_up": state.condition.may_be_asked(now),
                    "cause": state.condition.cause,
                }
                for state in pool.servers
            ]
            for name, pool in self.by_name.items()
        }


def _is_served_alike(one: Upstream, other: Upstream) -> bool:
    """True if a pool of one upstream can serve the other: equal except for the line in the file."""
    return replace(one, line=0) == replace(other, line=0)
