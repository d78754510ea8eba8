"""Too many failed logins from one address, whichever workers they met."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from support.client import Client, ask
from support.gateway import INSIDE, OUTSIDE, free_port, settings_for
from support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.measured]

LOGIN = "Authorization: Basic YWxpY2U6d3Jvbmc="


@pytest.fixture(scope="module")
def locking(start, credentials, mail):
    lockout = {"failures": 4, "window": "1m", "ban": "1m"}
    admin = {"address": f"{INSIDE}:{free_port()}"}
    gateway = start(settings_for(credentials.site, mail.url, workers=2, lockout=lockout, admin=admin))
    gateway.expected_errors.append(r"locked out for 60 s after too many failures")
    return gateway


def unauthorized(dialogue):
    dialogue.answer(b"", b'WWW-Authenticate: Basic realm="mail"', status=b"401 Unauthorized")


def is_locked(gateway, source, identity):
    return ask(gateway.port, "/webmail", source=source, identity=identity).verdict == (429, "locked_out")


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


def test_refusals_count_and_an_open_connection_is_no_way_around(locking, credentials, outside):
    """403 without a certificate, over and over; a good keep-alive from the same address is refused then too."""
    with Client(locking.port, source=outside, identity=credentials["alice"]) as good:
        assert good.ask("GET", "/webmail").status == 200
        for _ in range(4):
            assert ask(locking.port, "/webmail", source=outside).verdict == (403, "certificate_missing")
        until(lambda: is_locked(locking, outside, credentials["alice"]), "the address is locked out")
        assert good.ask("GET", "/webmail").verdict == (429, "locked_out")


def status(gateway, *options):
    """(exit code, standard output, standard error) of `gateway status`."""
    command = [sys.executable, "-m", "gateway", "status", "-c", str(gateway.config), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return done.returncode, done.stdout, done.stderr


def fail(gateway, source, identity, times):
    """So many wrong passwords, each on a connection of its own."""
    for _ in range(times):
        with Client(gateway.port, source=source, identity=identity) as client:
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
    told = f"the lockout of {outside} is lifted, "
    assert any(told in line and f" at {INSIDE}" in line for line in locking.errors.splitlines())

    fail(locking, outside, alice, 3)
    assert ask(locking.port, "/webmail", source=outside, identity=alice).status == 200
    fail(locking, outside, alice, 1)
    until(lambda: is_locked(locking, outside, alice), "the address is locked out again")


def test_who_is_not_locked_out_cannot_be_let_in(locking, outside):
    """Nothing to do is a failure, and what is no address is refused before anybody is asked."""
    told = f"gateway: {outside} is not locked out\n  'gateway status' lists who is\n"
    assert status(locking, "--unban", outside) == (1, "", told)
    assert status(locking, "--unban", "everybody")[0] == 2


def test_being_asked_for_a_password_is_no_failure(locking, mail, credentials, outside):
    """Phones send every first request without one."""
    mail.answer("/webmail/login", unauthorized)
    for _ in range(8):
        with Client(locking.port, source=outside, identity=credentials["alice"]) as client:
            assert client.ask("GET", "/webmail/login").status == 401
    assert ask(locking.port, "/webmail", source=outside, identity=credentials["alice"]).status == 200


def test_a_proxys_own_lockout_is_not_that_of_everybody_behind_it(start, credentials, mail):
    """It looks now and then whether the gateway is there, without a certificate, and is refused."""
    lockout = {"failures": 4, "window": "1m", "ban": "1m"}
    settings = settings_for(credentials.site, mail.url, lockout=lockout, trusted_proxies=[OUTSIDE])
    gateway = start(settings)
    alice = credentials["alice"]
    for _ in range(4):
        assert ask(gateway.port, "/webmail", source=OUTSIDE).verdict == (403, "denied_by_rule")
    until(lambda: is_locked(gateway, OUTSIDE, alice), "the proxy is locked out")
    with Client(gateway.port, source=OUTSIDE, identity=alice) as proxy:
        assert proxy.ask("GET", "/webmail", "X-Forwarded-For: 203.0.113.1").status == 200
        for _ in range(4):
            assert proxy.ask("GET", "/webmail/admin", "X-Forwarded-For: 203.0.113.2").status == 403

        def is_locked_out():
            return proxy.ask("GET", "/webmail", "X-Forwarded-For: 203.0.113.2").verdict == (429, "locked_out")

        until(is_locked_out, "a client behind it is locked out")
        assert proxy.ask("GET", "/webmail", "X-Forwarded-For: 203.0.113.1").status == 200
