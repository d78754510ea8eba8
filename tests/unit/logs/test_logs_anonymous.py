"""People, addresses and devices are replaced; the same one has the same pseudonym; nothing else is let through."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.log_lines import combined_of, identity_of, line_of

from gateway.logs.anonymous.lines import Anonymiser
from gateway.logs.anonymous.pseudonyms import Pseudonyms
from gateway.logs.entry import parse
from gateway.logs.record import KEYS

KEY = b"k" * 32


def replaced(line: bytes, key: bytes = KEY) -> dict:
    entry = parse(line)
    assert entry is not None
    made = Anonymiser(key).line(line.rstrip(b"\n"), entry)
    assert made is not None
    return json.loads(made)


def of(**values) -> dict:
    return replaced(line_of(**values))


def digits_of(text: str) -> str:
    return Pseudonyms(KEY).digits("person", text)


def test_one_person_has_one_pseudonym_however_the_name_is_written():
    alice = f"person-{digits_of('alice')}"
    line = of(user="alice", identity=identity_of("Alice", email="alice@example.com"), uri="/dav/alice/x.ics?a=alice")
    domain = line["cert_email"].partition("@")[2]
    assert line["user"] == alice
    assert line["cert_email"] == f"{alice}@{domain}"
    assert domain.startswith("domain-")
    assert domain.endswith(".example")
    assert line["cert_subject"] == f"CN={alice}"
    assert line["uri"] == f"/dav/{alice}/name-{digits_of('x')}.ics?name-{digits_of('a')}={alice}"
    assert of(user="ALICE@Example.com")["user"] == line["cert_email"]
    corp = of(user="CORP\\alice", identity=identity_of("CORP\\\\alice"))
    assert corp["user"].endswith(f"\\{alice}")
    assert corp["cert_subject"] == "CN=" + corp["user"].replace("\\", "\\\\")
    assert of(user="bob")["user"] != alice
    assert of(user="")["user"] == ""
    for odd in ("a@b@c", "@example.com", "A\\B\\alice", "alice@", "CORP\\"):
        assert of(user=odd)["user"] == f"person-{digits_of(odd)}"


def test_another_key_gives_other_pseudonyms():
    line = line_of(user="alice", device_id="D1")
    ours, theirs = replaced(line), replaced(line, b"other" * 8)
    for key in ("user", "device_id", "client_ip", "client_port", "site", "host", "request_id"):
        assert ours[key] != theirs[key]
    assert replaced(line) == ours


def test_addresses_keep_their_family_and_their_network():
    def address(text):
        return ip_address(of(client_ip=text)["client_ip"])

    first, second, other = map(address, ("203.0.113.9", "203.0.113.10", "198.51.100.9"))
    assert first in ip_network("240.0.0.0/4")
    assert second in ip_network(f"{first}/24", strict=False)
    assert other not in ip_network(f"{first}/24", strict=False)
    assert len({address(f"203.0.113.{last}") for last in range(256)}) == 256
    assert address("::ffff:203.0.113.9") == first
    first, second, other = map(address, ("2001:db8:1:2::9", "2001:db8:1:2:3::9", "2001:db8:1:3::9"))
    assert first in ip_network("3fff::/20")
    assert second in ip_network(f"{first}/64", strict=False)
    assert second != first
    assert other not in ip_network(f"{first}/64", strict=False)
    assert of(client_ip="no address")["client_ip"].startswith("host-")


def test_hosts_listeners_and_servers():
    line = of(site="mail.example.com", host="Mail.Example.com:8443", upstream="https://10.0.0.5:443")
    assert line["host"] == line["site"] + ":8443"
    assert line["upstream"].startswith("https://2")
    assert line["upstream"].endswith(":443")
    assert of(host="[2001:db8::1]:443")["host"].startswith("[3fff:")
    assert of(site="*")["site"] == "*"
    assert of(upstream="the publisher")["upstream"].startswith("name-")
    raw = line_of().replace(b'"listener":null', b'"listener":"0.0.0.0:443"')
    assert replaced(raw)["listener"] == "0.0.0.0:443"
    assert replaced(raw.replace(b"0.0.0.0", b"192.0.2.4"))["listener"].startswith("2")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/", "/"),
        ("*", "*"),
        ("/owa/auth/logon.aspx?replaceCurrent=1&url=https%3a%2f%2fx", "/owa/auth/logon.aspx?replaceCurrent=1&url=NAME"),
        ("/%6fwa/", "/owa/"),
        ("/owa/alice@example.com/x", "/owa/MAIL/NAME"),
        ("/Microsoft-Server-ActiveSync?Cmd=Sync&User=alice&DeviceId=D1&DeviceType=iPhone", None),
        ("/Microsoft-Server-ActiveSync?jAAJBAp2MTQw", "/Microsoft-Server-ActiveSync?NAME"),
        ("/webmail/?_task=mail&_token=[redacted]&q=", "/webmail/?_task=NAME&_token=[redacted]&q="),
        ("/skins/elastic/alice.min.js?s=1#x", "/skins/elastic/NAME.js?NAME=NAME"),
        ("https://alice@mail.example.com/owa", "/owa"),
        ("/owa?", "/owa?"),
    ],
)  # fmt: skip
def test_paths_and_queries(uri, expected):
    shown = of(uri=uri, user="bob")["uri"]
    if expected is None:
        person, device = digits_of("alice"), Pseudonyms(KEY).digits("device", "D1")
        query = f"Cmd=Sync&User=person-{person}&DeviceId=device-{device}&DeviceType=iPhone"
        assert shown == f"/Microsoft-Server-ActiveSync?{query}"
        return
    shown = re.sub(r"person-[0-9a-f]{8}@domain-[0-9a-f]{8}\.example", "MAIL", shown)
    assert re.sub(r"name-[0-9a-f]{8}", "NAME", shown) == expected


def test_what_is_harmless_stays():
    line = line_of(
        status=403,
        reason="certificate_expired",
        detail="expired 2026-01-31 12:00:00 UTC",
        decision="require_certificate",
        login="basic",
        bytes_in=1,
        bytes_out=2,
        duration_ms=3.5,
        user_agent="Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0",
    )
    raw = line.replace(b'"tls_version":null', b'"tls_version":"TLSv1.3"').replace(
        b'"tls_resumed":null', b'"tls_resumed":true'
    )
    raw = raw.replace(b'"tls_cipher":null', b'"tls_cipher":"TLS_AES_256_GCM_SHA384"').replace(
        b'"tls_group":null', b'"tls_group":"X25519MLKEM768"'
    )
    made, given = replaced(raw), json.loads(raw)
    same = (
        "time",
        "method",
        "protocol",
        "status",
        "reason",
        "decision",
        "login",
        "bytes_in",
        "bytes_out",
        "duration_ms",
    )
    for key in (*same, "user_agent", "tls_version", "tls_resumed", "tls_cipher", "tls_group"):
        assert made[key] == given[key], key
    assert made["detail"] == "expired …"
    assert list(made) == [key for key in KEYS if key in given]
    assert of(config="0123abcd")["config"] == "0123abcd"


def test_what_is_not_known_is_left_out():
    line = json.loads(line_of())
    line |= {"method": "ALICE", "protocol": "alice/1", "login": "alice", "tls_version": "alice", "tls_cipher": "ALICE"}
    line |= {
        "tls_group": "alice",
        "decision": "alice",
        "observed": "alice",
        "config": "alice",
        "status": None,
        "more": "alice",
    }
    line |= {"reason": "alice was here", "detail": "alice was here", "bytes_in": None, "rule": "alice's phone"}
    line |= {"user_agent": "Alice's phone (alice; 203.0.113.77) x/1", "upstream": "alice", "upstream_status": None}
    made = json.dumps(replaced(json.dumps(line).encode()))
    assert "alice" not in made.lower()
    assert "203.0.113.77" not in made


def test_reasons_and_details():
    handshake = of(method=None, reason="handshake_failed: the CA alice", detail="the CA alice")
    assert (handshake["reason"], handshake["detail"]) == ("handshake_failed: the CA …", "the CA …")
    sent = "the client sent no certificate"
    assert of(reason="certificate_missing", detail=sent)["detail"] == sent
    assert of(reason="user_mismatch", detail="the login 'alice' does not")["detail"] == "the login …"
    assert of(reason="no_rule", detail="alice")["detail"] == "…"


def test_a_name_of_the_line_is_replaced_where_it_would_be_harmless_otherwise():
    line = of(user="mail", uri="/mail/?_task=list&mail=1", user_agent="mail/1 Mail Chrome/2")
    assert line["uri"].startswith(f"/person-{digits_of('mail')}/?_task=list&name-")
    assert line["user_agent"] == "… … Chrome/2"
    agent = "Chrome/142.0.0.0 x/12345.0"
    assert of(identity=identity_of("No 142 12345"), user_agent=agent)["user_agent"] == "Chrome/142.0.0.0 …"


def test_the_combined_format_becomes_json():
    line = replaced(combined_of(user="alice", uri="/owa/alice"))
    assert line["uri"] == f"/owa/person-{digits_of('alice')}"
    assert (line["time"], line["status"]) == ("2026-11-24T07:00:00.000Z", 200)


def test_a_line_with_nested_values_does_not_end_it():
    entry = parse(line_of())
    assert entry is not None
    assert Anonymiser(KEY).line(b'{"x":' + b"[" * 100_000, entry) is None
    assert replaced(b'{"time":"2026-11-24T07:00:00Z","listener":{"a":["alice"]}}') == {
        "time": "2026-11-24T07:00:00.000Z",
        "listener": None,
    }


NAMES = st.text("ghjkmnopqrstuvwxyz", min_size=6, max_size=10).map(lambda tail: "qx" + tail)


@given(st.lists(NAMES, min_size=8, max_size=8, unique=True), st.ip_addresses(), st.binary(min_size=8, max_size=8))
@settings(max_examples=60, deadline=None)
def test_no_name_of_a_line_is_in_the_output(names, address, number):
    user, local, domain, common, device, host, folder, rule = names
    serial, email = "AB" + number.hex().upper(), f"{local}@{domain}.example"
    identity = replace(
        identity_of(f"{common} {user}", email=email, serial=serial, fingerprint=number.hex() * 4),
        issuer=f"CN={rule},O={domain}",
    )
    line = line_of(
        client_ip=str(address),
        identity=identity,
        site=f"{host}.{domain}.example",
        host=f"{host}.{domain}.example:443",
        uri=f"/{folder}/{user}/{email}/{common}.ics;{device}?User={domain}%5C{user}&DeviceId={device}&{rule}={address}",
        user=f"{domain}\\{user}",
        device_id=device,
        rule=f"{rule} of {user}",
        reason="user_mismatch",
        detail=f"the login '{user}' does not belong to {email}; the CA {rule}, {serial}, {address}, {device}",
        upstream=f"https://{host}.{domain}:443",
        user_agent=f"{device}/1.0 ({user}; {common}; {email}; {address}) {folder}",
        referer=f"https://{host}.{domain}.example/{folder}/{user}?x={device}",
        request_id=number.hex() * 2,
    )
    made = json.dumps(replaced(line)).lower()
    for hidden in (*names, serial.lower(), number.hex()):
        assert hidden not in made
    assert re.search(rf"(?<![0-9a-f:.]){re.escape(str(address))}(?![0-9a-f:.])", made) is None
