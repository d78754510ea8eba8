"""The fail2ban filter in contrib/ finds the lines that it says, and clients can't make it find others."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.programs import run

from gateway.facts import Reason
from gateway.logs.record import AccessRecord, ConnectionFields

pytestmark = pytest.mark.e2e

FILTER = Path(__file__).parents[2] / "contrib" / "fail2ban" / "filter.d" / "gateway.conf"
UNIX_SECONDS = 1_796_032_521
LURE = (
    '"x,"request_id":"' + "0" * 32 + '","client_ip":"198.51.100.7","status":401,"reason":null,"login":"basic",'
    '"reason":"certificate_revoked",\\'
)


def line(address, status, *, reason=None, login="none", text="/webmail"):
    """A line as the gateway writes it."""
    record = AccessRecord(ConnectionFields(client_ip=address, client_port=1), UNIX_SECONDS, "a" * 32)
    record.method, record.status, record.login = "GET", status, login
    record.host = record.user_agent = record.referer = record.uri = text.encode()
    record.user = text
    if reason is not None:
        record.refused(reason, text)
    return record.to_json_line()


LINES = [
    (line("203.0.113.1", 401, login="basic"), {"login", "certificate"}),
    (line("203.0.113.2", 401, login="bearer"), {"login", "certificate"}),
    (line("2001:db8::3", 401, login="digest", text=LURE), {"login", "certificate"}),
    (line("203.0.113.4", 403, reason=Reason.CERTIFICATE_REVOKED), {"certificate"}),
    (line("203.0.113.5", 403, reason=Reason.CERTIFICATE_UNTRUSTED, text=LURE), {"certificate"}),
    (line("203.0.113.6", 403, reason=Reason.USER_MISMATCH, login="basic"), {"certificate"}),
    (line("203.0.113.7", 429, reason=Reason.LOCKED_OUT, login="basic"), {"certificate"}),
    # A question for a login, a step of NTLM, a missing certificate, a denied path, and good requests.
    (line("203.0.113.11", 401), set()),
    (line("203.0.113.12", 401, login="connection"), set()),
    (line("203.0.113.13", 403, reason=Reason.CERTIFICATE_MISSING), set()),
    (line("203.0.113.14", 403, reason=Reason.DENIED_BY_RULE, text=LURE), set()),
    (line("203.0.113.15", 200, login="basic", text=LURE), set()),
    (line("203.0.113.16", None, text=LURE), set()),
]


@pytest.mark.parametrize("mode", ["login", "certificate"])
def test_the_filter_finds_these_addresses_and_no_others(tmp_path, mode):
    log = tmp_path / "access.jsonl"
    log.write_bytes(b"".join(text for text, _ in LINES))
    code, output = run("fail2ban-regex", ["-o", "<ip> <time>", str(log), f"{FILTER}[mode={mode}]"], seconds=60)
    assert code == 0, output
    expected = [text.split(b'"client_ip":"')[1].split(b'"')[0].decode() for text, modes in LINES if mode in modes]
    assert output.decode().split("\n")[:-1] == [f"{address} {UNIX_SECONDS}" for address in expected]
