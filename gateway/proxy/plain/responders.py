"""Which responders a listener has. The first one that has an answer gives it."""

from __future__ import annotations

from gateway.config.model import Listener
from gateway.proxy.plain.acme_webroot import ChallengeReader
from gateway.proxy.plain.challenge import Challenges
from gateway.proxy.plain.connection import Responder
from gateway.proxy.plain.publication import Publications
from gateway.proxy.plain.publisher_client import PublisherClient
from gateway.proxy.plain.redirect import Redirects


def responders_of(
    listener: Listener, challenges: ChallengeReader, publisher: PublisherClient | None
) -> tuple[Responder, ...]:
    """The responders of a listener for plain HTTP, in their order; empty for a listener that speaks TLS."""
    responders: list[Responder] = []
    if listener.pki:
        responders.append(Publications(publisher))
    if listener.acme_webroot is not None:
        responders.append(Challenges(challenges, listener.acme_webroot))
    if listener.redirect_to_https:
        responders.append(Redirects(listener.redirect_status))
    return tuple(responders)
