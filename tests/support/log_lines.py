"""Lines of the access log, made by the product's own records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.facts import Identity
from gateway.logs.record import AccessRecord, ConnectionFields

BEGIN = datetime(2026, 11, 24, 7, 0, tzinfo=UTC)
FINGERPRINT = "ab" * 32
REQUEST_ID = "00112233445566778899aabbccddeeff"


def identity_of(name: str, *, email: str | None = None, serial: str = "0ABCDE", fingerprint: str = FINGERPRINT):
    subject = f"CN={name},O=Example Ltd"
    return Identity(
        fingerprint=fingerprint,
        serial=serial,
        subject=subject,
        issuer="CN=Example CA",
        rdns=(("CN", name),),
        common_name=name,
        emails=() if email is None else (email,),
        upns=(),
        dns_names=(),
        uris=(),
        not_before=BEGIN,
        not_after=BEGIN + timedelta(days=365),
        der=b"",
        chain_der=(),
        path_fingerprints=frozenset(),
    )


def record_of(seconds: float = 0.0, *, client_ip: str = "203.0.113.9", identity=None, **values: Any) -> AccessRecord:
    """A request that began so many seconds after `BEGIN`, and took a millisecond."""
    site = values.pop("site", "mail.example.com")
    connection = ConnectionFields(client_ip=client_ip, client_port=51234, site=site, identity=identity)
    request_id = values.pop("request_id", REQUEST_ID)
    record = AccessRecord(connection, BEGIN.timestamp() + seconds, request_id)
    usual = {"method": "GET", "host": "mail.example.com", "uri": "/webmail", "status": 200, "duration_ms": 1.0}
    usual["protocol"] = "HTTP/1.1"
    for name, value in (usual | values).items():
        setattr(record, name, value)
    return record


def line_of(seconds: float = 0.0, **values: Any) -> bytes:
    """Its line, with the newline."""
    return record_of(seconds, **values).to_json_line()


def combined_of(seconds: float = 0.0, **values: Any) -> bytes:
    """Its line in the combined format, with the newline."""
    return record_of(seconds, **values).to_combined_line()
