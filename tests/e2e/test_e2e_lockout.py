"""Too many failed logins from one address, whichever workers they met."""

from __future__ import annotations

import json
import subprocess
import sys
from hashlib import sha256

import pytest
from support.client import Client, ask
from support.gateway import INSIDE, OUTSIDE, RULES, free_port, settings_for
from support.waiting import until
from support.wire import HTTP1, WIRES_BY_VERSION

pytestmark = [pytest.mark.e2e, pytest.mark.measured]

by_version = pytest.mark.parametrize("wire", WIRES_BY_VERSION, ids=str)
LOGIN = "Authorization: Basic YWxpY2U6d3Jvbmc="


@pytest.fixture(scope="module")
def locking(start, credentials, mail):
    lockout = {"failures": 4, "window": "1m", "ban": "1m"}
    admin = {"address": f"{INSIDE}:{free_port()}"}
    gateway = start(settings_for(credentials.site, mail.url, workers=2, lockout=lockout, admin=admin))
    gateway.expected_errors.append(r"locked out for 60 s after too many failures")
    return gateway


def asks_for_ntlm(dialogue):
    """Offers it, and goes on where the client begins."""
    has_begun = dialogue.request.values(b"Authorization")
    challenge = b"WWW-Authenticate: NTLM" + (b" TlRMTVNTUAACAAAA" if has_begun else b"")
    dialogue.answer(b"", challenge, status=b"401 Unauthorized")


def unauthorized(dialogue):
    dialogue.answer(b"", b'WWW-Authenticate: Basic realm="mail"', status=b"401 Unauthorized")


def is_locked(gateway, source, identity, wire=HTTP1):
    answer = wire.ask(gateway.port, "/webmail", source=source, identity=identity)
    return answer.verdict == (429, "locked_out")


def test_wrong_passwords_lock_an_address_out_on_every_worker(locking, mail, credentials, outside):
    """Each on a connection of its own, so that both workers count some; then nobody from there gets through."""
    mail.answer("/webmail/login", unauthorized)
    alice = credentials["alice"]
    for _ in range(4):
        with Client(locking.port, source=outside, identity=alice) as client:
            assert client.ask("GET", "/webmail/login", LOGIN).status == 401
    until(lambda: is_locked(locking, outside, alice), "the address is locked out")
    assert all(is_locked(locking, outside, alice) for _ in range(8))
    with Client(locking.port, source=outside, identity=alice) as client:
        answer = client.ask("GET", "/webmail")
        assert 0 < int(answer.get("Retry-After") or 0) <= 60
    assert ask(locking.port, "/webmail").status == 200, "others are served as before"


def test_an_open_connection_is_no_way_around(locking, mail, credentials, outside, wire):
    """A good keep-alive of the same client is refused then too."""
    mail.answer("/webmail/login", unauthorized)
    with wire.client(locking.port, source=outside, identity=credentials["alice"]) as good:
        assert good.ask("GET", "/webmail").status == 200
        fail(locking, outside, credentials["alice"], 4)
        until(lambda: is_locked(locking, outside, credentials["alice"]), "alice is locked out there")
        assert good.ask("GET", "/webmail").verdict == (429, "locked_out")


@by_version
def test_what_a_foreign_page_makes_a_browser_send_locks_nobody_out(
    locking, mail, credentials, outside, outsiders, wire
):
    """Images: without a certificate, refused by a rule or by none, of a certificate that is no good."""
    for _ in range(4):
        for path, name in (("/webmail", None), ("/webmail/admin", None), ("/", "alice"), ("/webmail", "expired")):
            identity = name and credentials[name]
            assert wire.ask(locking.port, path, source=outside, identity=identity).status == 403
    other, bob = outsiders(), credentials["v3"]
    mail.answer("/webmail/login", unauthorized)
    fail(locking, other, bob, 4)
    until(lambda: is_locked(locking, other, bob), "what came later has been counted")
    assert wire.ask(locking.port, "/webmail", source=outside).verdict == (403, "certificate_missing")
    assert wire.ask(locking.port, "/webmail", source=outside, identity=credentials["alice"]).status == 200


@by_version
def test_who_shares_an_address_locks_out_no_holder_of_a_certificate(locking, mail, credentials, outside, wire):
    """An office behind one address; and who is locked out there is not elsewhere."""
    mail.answer("/webmail/login", unauthorized)
    alice, bob = credentials["alice"], credentials["v3"]
    fail(locking, outside, alice, 4, wire)
    until(lambda: is_locked(locking, outside, alice, wire), "alice is locked out there")
    assert wire.ask(locking.port, "/webmail", source=outside, identity=bob).status == 200
    assert wire.ask(locking.port, "/webmail", source=outside).verdict == (403, "certificate_missing")
    elsewhere = f"127.77.{outside.split('.')[2]}.{outside.split('.')[3]}"
    assert wire.ask(locking.port, "/webmail", source=elsewhere, identity=alice).status == 200

    (mine,) = [each for each in json.loads(status(locking, "--json")[1])["lockouts"] if each["address"] == outside]
    assert (mine["certificate"], mine["holder"]) == (sha256(alice.der).hexdigest(), "alice@example.com")
    assert (
        f"  {outside}  with the certificate {mine['certificate'][:16]} of alice@example.com  until "
        in status(locking)[1]
    )
    assert status(locking, "--unban", mine["certificate"]) == (0, f"{mine['certificate']} may log in again\n", "")
    assert wire.ask(locking.port, "/webmail", source=outside, identity=alice).status == 200


@by_version
def test_without_a_certificate_the_address_is_counted(start, mail, credentials, outside, wire):
    """And whoever shows a trusted one there is served as before."""
    rules = [{"name": "Log in", "uri": ["/webmail/login"], "action": "allow"}, *RULES]
    lockout = {"failures": 3, "window": "1m", "ban": "1m", "count": ["login", "certificate"]}
    gateway = start(settings_for(credentials.site, mail.url, lockout=lockout, rules=rules))
    mail.answer("/webmail/login", unauthorized)
    form = "Content-Type: application/x-www-form-urlencoded"
    with wire.client(gateway.port, source=outside) as client:
        assert client.ask("POST", "/webmail/login", form, body=b"user=alice&pass=x").status == 401
        assert client.ask("GET", "/webmail/login", LOGIN).status == 401
    expired = credentials["expired"]
    refused = wire.ask(gateway.port, "/webmail", source=outside, identity=expired)
    assert refused.verdict == (403, "certificate_expired")
    until(lambda: is_locked(gateway, outside, None, wire), "the address is locked out")
    assert is_locked(gateway, outside, expired, wire)
    assert wire.ask(gateway.port, "/webmail", source=outside, identity=credentials["alice"]).status == 200
    shared = f"too many failed attempts from {outside}; otherwise"

    def is_explained(why):
        details = [record["detail"] for record in gateway.log.records() if record["reason"] == "locked_out"]
        return any(detail.startswith(f"{shared} {why}") for detail in details)

    for why in ("certificate_missing: the client sent no certificate", "certificate_expired: expired 20"):
        until(lambda why=why: is_explained(why), f"a line with {why}")


def test_the_log_says_what_would_have_become_of_the_request(locking, mail, credentials, outside):
    mail.answer("/webmail/login", unauthorized)
    alice = credentials["alice"]
    fail(locking, outside, alice, 4)
    until(lambda: is_locked(locking, outside, alice), "alice is locked out there")
    for path, otherwise in (("/webmail", "it would have been let in"), ("/", "denied_by_rule: denied by the rule")):
        answer = ask(locking.port, path, source=outside, identity=alice)
        assert answer.verdict == (429, "locked_out")
        detail = locking.log.of(answer.get("X-Request-Id"))["detail"]
        assert detail.startswith(f"too many failed attempts from {outside} with the certificate ")
        assert detail.endswith(f" of alice@example.com; otherwise {otherwise}")
        assert otherwise.encode() not in answer.body


def status(gateway, *options):
    """(exit code, standard output, standard error) of `gateway status`."""
    command = [sys.executable, "-m", "gateway", "status", "-c", str(gateway.config), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout, done.stderr


def fail(gateway, source, identity, times, wire=HTTP1):
    """So many wrong passwords, each on a connection of its own."""
    for _ in range(times):
        with wire.client(gateway.port, source=source, identity=identity) as client:
            assert client.ask("GET", "/webmail/login", LOGIN).status == 401


def test_a_lockout_is_listed_and_lifted_for_every_worker(locking, mail, credentials, outside):
    """And the counting begins anew: it takes as many failures as the first time."""
    mail.answer("/webmail/login", unauthorized)
    alice = credentials["alice"]
    fail(locking, outside, alice, 4)
    until(lambda: is_locked(locking, outside, alice), "the address is locked out")
    code, out, _ = status(locking)
    assert code == 0
    (line,) = [line for line in out.partition("locked out\n")[2].splitlines() if line.startswith(f"  {outside}  ")]
    assert line.endswith(" s left")
    listed = json.loads(status(locking, "--json")[1])["lockouts"]
    (mine,) = [each for each in listed if each["address"] == outside]
    assert 0 < mine["seconds_left"] <= 60

    assert status(locking, "--unban", outside) == (0, f"{outside} may log in again\n", "")
    assert [ask(locking.port, "/webmail", source=outside, identity=alice).status for _ in range(8)] == [200] * 8
    assert outside not in status(locking)[1]
    told = f"the lockout of {outside} was lifted "
    until(lambda: any(told in line and f" at {INSIDE}" in line for line in locking.errors.splitlines()), told)

    fail(locking, outside, alice, 3)
    assert ask(locking.port, "/webmail", source=outside, identity=alice).status == 200
    fail(locking, outside, alice, 1)
    until(lambda: is_locked(locking, outside, alice), "the address is locked out again")


def test_who_is_not_locked_out_cannot_be_let_in(locking, outside):
    """Nothing to do is a failure, and what is no address is refused before anybody is asked."""
    told = f"gateway: {outside} is not locked out\n  Run this command without --unban: it lists the lockouts.\n"
    assert status(locking, "--unban", outside) == (1, "", told)
    assert status(locking, "--unban", "everybody")[0] == 2


def test_being_asked_for_a_password_is_no_failure(locking, mail, credentials, outside):
    """Phones send every first request without one, Outlook an empty Bearer; it starts NTLM on every connection anew."""
    mail.answer("/webmail/login", unauthorized)
    mail.answer("/webmail/ntlm", asks_for_ntlm)
    sync = "Content-Type: application/vnd.ms-sync.wbxml"
    for _ in range(8):
        with Client(locking.port, source=outside, identity=credentials["alice"]) as client:
            assert client.ask("GET", "/webmail/login").status == 401
            assert client.ask("POST", "/webmail/login", sync, body=b"sync").status == 401
            assert client.ask("POST", "/webmail/login", "Content-Length: 0").status == 401
            assert client.ask("GET", "/webmail/login", "Authorization: Bearer").status == 401
            assert client.ask("POST", "/webmail/ntlm", body=b"x").status == 401
            assert client.ask("GET", "/webmail/ntlm", "Authorization: NTLM TlRMTVNTUAABAAAA").status == 401
    assert ask(locking.port, "/webmail", source=outside, identity=credentials["alice"]).status == 200


def test_a_proxys_own_lockout_is_not_that_of_everybody_behind_it(start, credentials, mail):
    """One connection carries the requests of many; who is counted is whom it names."""
    lockout = {"failures": 4, "window": "1m", "ban": "1m"}
    rules = [{"name": "The proxy's checks", "from": [OUTSIDE], "uri": ["/webmail/login"], "action": "allow"}, *RULES]
    networks = {"internal": [f"{INSIDE}/32", "203.0.113.0/24"]}
    settings = settings_for(
        credentials.site, mail.url, lockout=lockout, trusted_proxies=[OUTSIDE], rules=rules, networks=networks
    )
    gateway = start(settings)
    mail.answer("/webmail/login", unauthorized)
    fail(gateway, OUTSIDE, None, 4)
    with Client(gateway.port, source=OUTSIDE) as proxy:

        def verdict(address):
            return proxy.ask("GET", "/webmail", *([] if address is None else [f"X-Forwarded-For: {address}"])).verdict

        def is_locked_out(address):
            return verdict(address) == (429, "locked_out")

        until(lambda: is_locked_out(None), "the proxy is locked out")
        assert verdict("203.0.113.1") == (200, None)
        for _ in range(4):
            assert proxy.ask("GET", "/webmail/login", LOGIN, "X-Forwarded-For: 203.0.113.2").status == 401
        until(lambda: is_locked_out("203.0.113.2"), "a client behind it is locked out")
        assert verdict("203.0.113.1") == (200, None)
