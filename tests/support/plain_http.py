"""A connection to a listener for plain HTTP, in a dialogue."""

from __future__ import annotations

from support.dialogue import World

from gateway.config.model import Listener
from gateway.proxy.plain.acme_webroot import ChallengeReader
from gateway.proxy.plain.connection import PlainConnection
from gateway.proxy.plain.responders import responders_of


def plain_connection(world: World, listener: Listener) -> PlainConnection:
    """As the worker makes one; `PublisherEnds` sets the publisher."""
    challenges = vars(world).setdefault("challenges", ChallengeReader(world.loop))
    responders = responders_of(listener, challenges, vars(world).get("publisher"))
    return PlainConnection(world.service, listener, responders)
