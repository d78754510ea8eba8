"""What the fetcher has to fetch, and the message by which the master tells it.

Keeps true: the fetcher gets URLs, certificates and folders, and nothing else of the configuration; a configuration
whose plan is too long for the channel is refused.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.config.model import Config
from gateway.errors import ConfigError
from gateway.fetching.list_store import ListStore
from gateway.tls.trust import anchors_in, is_url
from gateway.x509.loading import certificate_in

Message = dict[str, Any]  # of the channel between the master and the fetcher

# URL → the CAs of all sites that name it.
Plan = Mapping[str, tuple[x509.Certificate, ...]]
# Some 4,000 CAs. The channel holds twice as much for a process that does not read yet, so the next plan fits too.
MAX_PLAN_BYTES: Final = 8 * 1024 * 1024


def fetch_plan(config: Config) -> Plan:
    """The plan for a configuration. Raises `ConfigError` if it is too long."""
    found: dict[str, dict[x509.Certificate, None]] = {}
    for site in config.sites:
        urls = [source for source in site.crl if is_url(source)]
        if urls:
            anchors = dict.fromkeys(anchors_in(site.client_ca))
            for url in urls:
                found.setdefault(url, {}).update(anchors)
    plan = {url: tuple(anchors) for url, anchors in found.items()}
    length_bytes = len(orjson.dumps(_certificates_and_urls(plan)))
    if length_bytes > MAX_PLAN_BYTES:
        raise ConfigError(
            f"crl: the URLs and the CAs of their sites take {length_bytes} bytes; at most {MAX_PLAN_BYTES} are allowed",
            "list fewer CAs in client_ca of the sites that have URLs in crl",
        )
    return plan


def to_message(plan: Plan, store: ListStore) -> Message:
    """The plan as a message for the channel."""
    return {**_certificates_and_urls(plan), "folder": str(store.folder), "fallback": str(store.fallback)}


def from_message(message: Message) -> tuple[Plan, ListStore]:
    """The plan in a message from the channel."""
    certificates = [certificate_in(base64.b64decode(text)) for text in message["certificates"]]
    plan = {url: tuple(certificates[number] for number in numbers) for url, numbers in message["urls"].items()}
    return plan, ListStore(Path(message["folder"]), Path(message["fallback"]))


def _certificates_and_urls(plan: Plan) -> Message:
    """Each certificate once, and each URL with the numbers of its certificates."""
    numbers: dict[x509.Certificate, int] = {}
    urls = {
        url: [numbers.setdefault(certificate, len(numbers)) for certificate in certificates]
        for url, certificates in plan.items()
    }
    ders = [base64.b64encode(certificate.public_bytes(Encoding.DER)).decode() for certificate in numbers]
    return {"certificates": ders, "urls": urls}
