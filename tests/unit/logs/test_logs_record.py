"""A record is one line of valid JSON with every key in its order, whatever the client sent."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.facts import Action, Identity, Peer, Reason, parse_address
from gateway.logs.record import KEYS, AccessRecord, ConnectionFields, rfc3339

NOW = datetime(2026, 11, 24, 10, 0, 0, 123456, UTC).timestamp()
ALICE = Identity(
    fingerprint="ab" * 32,
    serial="0A1B",
    subject="CN=Alice,O=Example Ltd",
    issuer="CN=Example CA",
    rdns=(),
    common_name="Alice",
    emails=("alice@example.com", "second@example.com"),
    upns=(),
    dns_names=(),
    uris=(),
    not_before=datetime(2026, 1, 1, tzinfo=UTC),
    not_after=datetime(2027, 1, 1, tzinfo=UTC),
    der=b"",
    chain_der=(),
    path_fingerprints=frozenset(),
)
CONNECTION = ConnectionFields(
    client_ip="203.0.113.7",
    client_port=51234,
    listener="0.0.0.0:443",
    site="mail.example.com",
    tls_version="TLSv1.3",
    tls_cipher="TLS_AES_256_GCM_SHA384",
    tls_group="X25519MLKEM768",
    tls_resumed=False,
    identity=ALICE,
    config="1a2b3c4d",
)


def filled(connection: ConnectionFields = CONNECTION) -> AccessRecord:
    record = AccessRecord(connection, NOW, "r1")
    record.method = "POST"
    record.host = b"mail.example.com"
    record.uri = b"/Microsoft-Server-ActiveSync?Cmd=Ping"
    record.protocol = "HTTP/1.1"
    record.status = 200
    record.rule = "Webmail"
    record.decision = Action.REQUIRE_CERTIFICATE
    record.bytes_in = 5
    record.bytes_out = 1024
    record.duration_ms = 12.3456789
    record.upstream = "https://10.0.0.5:443"
    record.upstream_status = 200
    record.upstream_ms = 10.0
    record.login = "basic"
    record.user = "alice"
    record.device_id = "Appl1"
    record.user_agent = b"curl/8"
    record.referer = "https://mail.example.com/"
    return record


def test_a_line_has_every_key_in_the_documented_order() -> None:
    line = filled().to_json_line()
    assert line.endswith(b"}\n")
    values = json.loads(line)
    assert tuple(values) == KEYS
    assert values == {
        "time": "2026-11-24T10:00:00.123Z",
        "request_id": "r1",
        "client_ip": "203.0.113.7",
        "client_port": 51234,
        "listener": "0.0.0.0:443",
        "site": "mail.example.com",
        "method": "POST",
        "host": "mail.example.com",
        "uri": "/Microsoft-Server-ActiveSync?Cmd=Ping",
        "protocol": "HTTP/1.1",
        "status": 200,
        "reason": None,
        "detail": None,
        "observed": None,
        "rule": "Webmail",
        "decision": "require_certificate",
        "bytes_in": 5,
        "bytes_out": 1024,
        "duration_ms": 12.345,
        "upstream": "https://10.0.0.5:443",
        "upstream_status": 200,
        "upstream_ms": 10.0,
        "tls_version": "TLSv1.3",
        "tls_cipher": "TLS_AES_256_GCM_SHA384",
        "tls_group": "X25519MLKEM768",
        "tls_resumed": False,
        "cert_subject": "CN=Alice,O=Example Ltd",
        "cert_issuer": "CN=Example CA",
        "cert_serial": "0A1B",
        "cert_fingerprint": "ab" * 32,
        "cert_email": "alice@example.com",
        "login": "basic",
        "user": "alice",
        "device_id": "Appl1",
        "user_agent": "curl/8",
        "referer": "https://mail.example.com/",
        "config": "1a2b3c4d",
    }


def test_the_keys_are_the_documented_ones() -> None:
    documented = (
        "time request_id client_ip client_port listener site method host uri protocol status reason detail observed "
        "rule decision bytes_in bytes_out duration_ms upstream upstream_status upstream_ms tls_version tls_cipher "
        "tls_group tls_resumed cert_subject cert_issuer cert_serial cert_fingerprint cert_email "
        "login user device_id user_agent referer config"
    )
    assert tuple(documented.split()) == KEYS


def test_what_a_client_said_is_bounded_and_harmless_in_a_refusal() -> None:
    record = filled()
    record.refused("no site has the host a\x9bb", "no site has the host a\x9b\u202eb?password=x" + "c" * 5000)
    values = json.loads(record.to_json_line())
    assert values["reason"] == "no site has the host a\\x9bb"
    assert values["detail"].startswith("no site has the host a\\x9b\\u202eb?password=[redacted]")
    assert len(values["detail"]) <= 1024


def test_a_certificate_without_an_identity_has_its_fingerprint() -> None:
    record = filled(replace(CONNECTION, identity=None, fingerprint="cd" * 32))
    values = json.loads(record.to_json_line())
    assert (values["cert_fingerprint"], values["cert_subject"]) == ("cd" * 32, None)


def test_a_record_of_nothing_is_all_nulls() -> None:
    values = json.loads(AccessRecord(ConnectionFields(), NOW, None).to_json_line())
    assert tuple(values) == KEYS
    assert {key for key, value in values.items() if value is not None} == {"time"}


def test_a_line_can_be_made_again_and_is_the_same() -> None:
    record = filled()
    record.uri = "/a?password=x"
    assert record.to_json_line() == record.to_json_line()
    assert json.loads(record.to_json_line()) == record.as_dict()


def test_records_of_one_connection_do_not_mix() -> None:
    first, second = filled(), AccessRecord(CONNECTION, NOW, "r2")
    second.status = 403
    second.reason = Reason.NO_RULE
    assert json.loads(second.to_json_line())["reason"] == "no_rule"
    assert json.loads(first.to_json_line())["reason"] is None
    assert json.loads(second.to_json_line())["rule"] is None


def test_the_connection_can_be_replaced_until_the_line_is_made() -> None:
    record = filled(ConnectionFields.of_peer(Peer(parse_address("::ffff:192.0.2.1"), 4711, ":443")))
    assert json.loads(record.to_json_line())["tls_version"] is None
    assert record.connection.client_ip == "192.0.2.1"
    record.connection = CONNECTION.with_client(parse_address("2001:db8::1"))
    values = json.loads(record.to_json_line())
    assert (values["client_ip"], values["client_port"], values["site"]) == ("2001:db8::1", None, "mail.example.com")
    assert tuple(values) == KEYS


def test_an_untrusted_certificates_names_are_made_fit_too() -> None:
    hostile = replace(ALICE, subject='CN="\n\x9b\u202e\ud800', issuer="x" * 5000, emails=())
    values = json.loads(AccessRecord(replace(CONNECTION, identity=hostile), NOW, "r").to_json_line())
    assert values["cert_subject"] == 'CN="\n\\x9b\\u202e\\ud800'
    assert len(values["cert_issuer"]) == 1024
    assert values["cert_email"] is None


def test_a_lone_surrogate_where_none_is_expected_still_gives_a_line() -> None:
    record = filled()
    record.rule = "\ud800\n"
    line = record.to_json_line()
    assert json.loads(line)["rule"] == "\\ud800\n"
    assert line.count(b"\n") == 1
    assert tuple(json.loads(line)) == KEYS
    assert json.loads(line) | {"rule": "\ud800\n"} == record.as_dict()


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (NOW, "2026-11-24T10:00:00.123Z"),
        (NOW + 0.0004, "2026-11-24T10:00:00.123Z"),
        (NOW + 0.1, "2026-11-24T10:00:00.223Z"),
        (NOW + 1, "2026-11-24T10:00:01.123Z"),
        (0.0, "1970-01-01T00:00:00.000Z"),
    ],
)
def test_times_are_utc_with_milliseconds(now: float, text: str) -> None:
    assert rfc3339(now) == text
    assert rfc3339(now) == text


def test_the_combined_format_is_apaches() -> None:
    assert filled().to_combined_line() == (
        b'203.0.113.7 - alice [24/Nov/2026:10:00:00 +0000] "POST /Microsoft-Server-ActiveSync?Cmd=Ping HTTP/1.1" '
        b'200 1024 "https://mail.example.com/" "curl/8"\n'
    )


def test_a_combined_line_without_a_request_is_dashes() -> None:
    line = AccessRecord(ConnectionFields(), NOW, None).to_combined_line()
    assert line == b'- - - [24/Nov/2026:10:00:00 +0000] "-" - - "-" "-"\n'


def test_a_combined_line_cannot_be_broken() -> None:
    record = filled()
    record.user = "al ice\n"
    record.uri = b'/"\\\r\n\xff?token=secret'
    record.user_agent = b'a" "b\x00\xc2\x9b'
    line = record.to_combined_line()
    assert line.count(b"\n") == 1
    assert b" - al\\x20ice\\x0a [" in line
    assert rb'"POST /\"\\\x0d\x0a\\xff?token=[redacted] HTTP/1.1"' in line
    assert rb'"a\" \"b\x00\\x9b"' in line
