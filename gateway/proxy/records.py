"""Makes the access records of a connection and its requests."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from gateway import clock
from gateway.config.model import Site
from gateway.facts import Identity
from gateway.http.headers import REFERER, USER_AGENT
from gateway.http.http1 import RequestHead
from gateway.logs.record import AccessRecord, ConnectionFields
from gateway.logs.request_id import new_request_id
from gateway.tls.layer import TlsLayer
from gateway.x509.names import fingerprint

_PROTOCOLS: Final = ("HTTP/1.0", "HTTP/1.1", "HTTP/2.0")  # by version


def secured_fields(
    accepted: ConnectionFields, site: Site, layer: TlsLayer, identity: Identity | None, leaf: bytes | None
) -> ConnectionFields:
    """The fields of a connection after its handshake; `leaf`: the client's certificate in DER."""
    return replace(
        accepted,
        site=site.name,
        tls_version=layer.connection.get_protocol_version_name(),
        tls_cipher=layer.connection.get_cipher_name(),
        tls_group=layer.group_name,
        tls_resumed=layer.is_resumed,
        identity=identity,
        fingerprint=None if leaf is None or identity is not None else fingerprint(leaf),
    )


def unproven_fields(fields: ConnectionFields, leaf: bytes | None) -> ConnectionFields:
    """The fields of a connection whose handshake failed; `leaf`: the client's certificate so far, in DER.

    Its names are left out: the client did not prove that it is the holder.
    """
    return fields if leaf is None else replace(fields, fingerprint=fingerprint(leaf))


def begin_record(fields: ConnectionFields, head: RequestHead | None) -> AccessRecord:
    """A record that begins now; `head`: None if no valid request was read. `finish_record` ends it."""
    record = AccessRecord(fields, clock.unix_seconds(), new_request_id())
    record.duration_ms = clock.monotonic_seconds()  # the start; `finish_record` turns it into a duration
    if head is not None:
        record.method = head.method.decode("ascii")
        record.host = head.host
        record.uri = head.target
        record.protocol = _PROTOCOLS[head.version]
        record.user_agent = head.values[USER_AGENT]
        record.referer = head.values[REFERER]
    return record


def finish_record(record: AccessRecord) -> None:
    """Set the duration, at the end of the exchange."""
    record.duration_ms = (clock.monotonic_seconds() - (record.duration_ms or 0.0)) * 1000
