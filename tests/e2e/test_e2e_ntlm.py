"""NTLM in earnest: curl logs in to an Apache whose logins belong to the connection, through the gateway.

mod_auth_gssapi with gss-ntlmssp behaves as IIS and Exchange do: whoever logged in on a connection is the user of
everything that follows on it. Apache's own log says who that was, and on which connection.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass

import pytest
from support.apache import Apache
from support.client import Client, ask
from support.gateway import HOST, INSIDE, OUTSIDE, settings_for
from support.programs import need, run
from support.waiting import until

pytestmark = pytest.mark.e2e

REQUESTS = 5000  # of each of two users at once
SECONDS = 120.0
PASSWORDS = {"alice": "opens alice's mailbox", "bob": "opens bob's mailbox"}
# curl asks without credentials first; of what mod_auth_gssapi offers, Negotiate would be Kerberos.
ANY_BUT_NEGOTIATE = ("--anyauth", "--no-negotiate")
GSSNTLMSSP = "/etc/gss/mech.d/mech.ntlmssp.conf"

# gss-ntlmssp 1.2 insists on the version that MS-NLMP 2.2.2.10 lets both sides leave out, and curl does: Apache
# lengthens the message that it reads by an empty one, and takes back the flag that it would send one itself. That
# needs the internal redirect to another page: mod_headers never sees the headers of Apache's own error pages.
NTLM = """
LogFormat "%{remote}p %>s %u %U%q" logins
CustomLog {folder}/log.txt logins
AliasMatch ^/webmail {folder}/www/inbox
ErrorDocument 401 /denied
RequestHeader edit Authorization "^(NTLM TlRMTVNTUAAB[A-Za-z0-9+/]{28})AAA=$" "$1AAAAAAAAAAAAAA==" early
Header always edit WWW-Authenticate "^(NTLM TlRMTVNTUAACAAAA.{15})C" "$1A"
<Location /webmail>
  AuthType GSSAPI
  AuthName Mail
  GssapiAllowedMech ntlmssp
  GssapiConnectionBound On
  Require valid-user
  Header always set X-User "expr=%{REMOTE_USER}"
</Location>
"""
MODULES = ("alias", "headers", "authn_core", "authz_user", "auth_gssapi")


@dataclass(frozen=True)
class Seen:
    """One request in Apache's log."""

    connection: str  # the port of the gateway's end
    status: int
    user: str
    target: str


class Exchange(Apache):
    """A mail server that authenticates connections."""

    def __init__(self, more: str = "") -> None:
        need("curl")
        need(GSSNTLMSSP)
        super().__init__(
            MODULES,
            NTLM + more,
            environment={"NTLM_USER_FILE": "{folder}/users", "NETBIOS_DOMAIN_NAME": "EXAMPLE"},
            files={
                "users": "".join(f"EXAMPLE:{user}:{password}\n" for user, password in PASSWORDS.items()),
                "www/inbox": "mail\n",
                "www/denied": "who are you?\n",
            },
        )

    def seen(self, path: str, count: int) -> list[Seen]:
        """What reached it for this path, in order, once that is `count` requests: Apache answers before it logs."""
        until(lambda: len(self._logged(path)) >= count, f"{count} requests of {path} in Apache's log")
        return self._logged(path)

    def _logged(self, path: str) -> list[Seen]:
        """So far; a line that is just being written comes later."""
        text = self.log.read_text()
        lines = [line.split(" ", 3) for line in text[: text.rfind("\n") + 1].splitlines()]
        found = [Seen(port, int(status), user.rpartition("\\")[2], target) for port, status, user, target in lines]
        return [each for each in found if each.target.partition("?")[0] == path]


@pytest.fixture(scope="module")
def exchange():
    server = Exchange()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def gateway(start, credentials, exchange):
    # The stranger comes anew for every two requests, as fast as it can.
    limits = {"handshakes_per_second_per_ip": 10_000}
    return start(settings_for(credentials.site, exchange.url, limits=limits))


def curl(gateway, credentials, user, target, *options, password=None, version="--http1.1"):
    """(status, user that Apache took it for, connections made for it) of each answer that curl took for the last."""
    code, output = run(
        "curl",
        [
            *("-q", "--silent", "--show-error", version, "--max-time", str(SECONDS), "--output", "/dev/null"),
            *("--resolve", f"{HOST}:{gateway.port}:{INSIDE}", "--cacert", str(credentials.server_ca)),
            *("--user", rf"EXAMPLE\{user}:{password or PASSWORDS[user]}", *(options or ("--ntlm",))),
            *("--write-out", r"%{http_code} %{num_connects} %header{x-user}\n"),
            f"https://{HOST}:{gateway.port}{target}",
        ],
        seconds=SECONDS,
    )
    assert code == 0, output
    answers = [line.split(" ") for line in output.decode().splitlines()]
    return [(int(status), name.rpartition("\\")[2], int(connections)) for status, connections, name in answers]


def test_a_login_holds_for_the_connection(gateway, credentials, exchange):
    """curl logs in once, without being asked to, and Apache knows whose the other requests are."""
    answers = curl(gateway, credentials, "alice", "/webmail/one?[1-5]")
    assert answers == [(200, "alice", 1)] + [(200, "alice", 0)] * 4
    seen = exchange.seen("/webmail/one", 6)
    assert [each.status for each in seen] == [401, 200, 200, 200, 200, 200]
    assert len({each.connection for each in seen}) == 1


def test_a_login_that_was_asked_for(gateway, credentials, exchange):
    """The first request has no credentials: the answer's challenge is what binds the connection."""
    answers = curl(gateway, credentials, "bob", "/webmail/asked?[1-2]", *ANY_BUT_NEGOTIATE)
    assert answers == [(200, "bob", 1), (200, "bob", 0)]
    seen = exchange.seen("/webmail/asked", 4)
    assert [each.status for each in seen][:3] == [401, 401, 200]
    assert len({each.connection for each in seen}) == 1


@pytest.mark.parametrize(("options", "status", "asked"), [(ANY_BUT_NEGOTIATE, 401, 6), (("--ntlm",), None, 4)])
def test_a_client_that_begins_with_http_2_logs_in_over_http_1_1(gateway, credentials, exchange, options, status, asked):
    """curl asks again by itself, whether the server asks it for NTLM or it begins with NTLM."""
    path = f"/webmail/begins-{asked}"
    answers = curl(gateway, credentials, "alice", f"{path}?[1-3]", *options, version="--http2")
    assert [(status, user) for status, user, _ in answers] == [(200, "alice")] * 3
    seen = exchange.seen(path, asked)
    # A request that begins with NTLM never reaches the server; the connection that it was asked on is not used again.
    assert len({each.connection for each in seen}) == (1 if status is None else 2)
    assert seen[0].connection not in {each.connection for each in seen[1:]} or status is None

    def logged():
        return [record for record in gateway.log.records() if (record["uri"] or "").startswith(path)]

    until(lambda: len(logged()) == asked + (status is None), "all are logged")
    first, *others = [(record["protocol"], record["reason"], record["status"]) for record in logged()]
    assert first == ("HTTP/2.0", "http_1_1_required", status)
    assert {other[:2] for other in others} == {("HTTP/1.1", None)}


def test_a_client_that_uses_http_2_logs_in_with_basic_where_it_may(start, credentials, mail):
    """NTLM is not offered to it, and it stays with HTTP/2; over HTTP/1.1 curl prefers NTLM."""

    def handle(dialogue):
        if any(value.startswith(b"Basic ") for value in dialogue.request.values(b"authorization")):
            dialogue.answer(b"in", b"Content-Type: text/plain")
        else:
            challenges = (b"WWW-Authenticate: Negotiate", b'WWW-Authenticate: NTLM, Basic realm="Mail"')
            dialogue.answer(b"who are you?", *challenges, status=b"401 Unauthorized")

    mail.answer("/webmail/either", handle)
    gateway = start(settings_for(credentials.site, mail.url))
    path = "/webmail/either"
    answers = curl(gateway, credentials, "alice", path, *ANY_BUT_NEGOTIATE, version="--http2")
    assert [status for status, _, _ in answers] == [200]

    def logged():
        return [record for record in gateway.log.records() if record["uri"] == path]

    until(lambda: len(logged()) == len(answers) + 1, "both are logged")
    assert [(record["protocol"], record["status"], record["login"]) for record in logged()] == [
        ("HTTP/2.0", 401, "none"),
        ("HTTP/2.0", 200, "basic"),
    ]


@pytest.mark.parametrize("options", [("--ntlm",), ANY_BUT_NEGOTIATE])
def test_a_wrong_password_opens_nothing(gateway, credentials, exchange, options):
    """Neither for this client nor, on the connection that it leaves behind, for the next."""
    answers = curl(gateway, credentials, "alice", "/webmail/wrong", *options, password=PASSWORDS["bob"])
    assert [(status, user) for status, user, _ in answers] == [(401, "")]
    with Client(gateway.port) as client:
        assert client.ask("GET", "/webmail/wrong").status == 401
    assert {each.status for each in exchange.seen("/webmail/wrong", 2)} == {401}


def test_each_wrong_password_counts_once_and_a_good_login_never(start, credentials, exchange):
    """A good one has two answers 401, and so has a POST that brings none: lockout counts those that say no."""
    lockout = {"failures": 3, "window": "1m", "ban": "1m"}
    gateway = start(settings_for(credentials.site, exchange.url, lockout=lockout))
    gateway.expected_errors.append("locked out for 60 s after too many failures")
    path, wrong = "/webmail/counted", PASSWORDS["bob"]
    for options in (("--ntlm",), ANY_BUT_NEGOTIATE, ("--ntlm", "--data", "a=b"), (*ANY_BUT_NEGOTIATE, "--data", "a=b")):
        assert [status for status, _, _ in curl(gateway, credentials, "alice", path, *options)] == [200]
    for options in (("--ntlm",), ANY_BUT_NEGOTIATE):
        answers = curl(gateway, credentials, "alice", path, *options, password=wrong)
        assert [status for status, _, _ in answers] == [401]

    def is_locked(source):
        return ask(gateway.port, path, source=source).verdict == (429, "locked_out")

    with Client(gateway.port, source=OUTSIDE, identity=credentials["alice"]) as other:
        for _ in range(3):
            assert other.ask("GET", path, "Authorization: Basic YWxpY2U6eA==").status == 401
        until(lambda: other.ask("GET", path).status == 429, "what came later has been counted")
    assert [status for status, _, _ in curl(gateway, credentials, "alice", path)] == [200]
    curl(gateway, credentials, "alice", path, password=wrong)
    until(lambda: is_locked(INSIDE), "the third wrong password locks out")


def test_two_users_at_once_and_a_stranger_between_them(gateway, credentials, exchange):
    """Ten thousand requests: each is its own user's to Apache, and whoever did not log in is nobody."""
    found: dict[str, list[tuple[int, str, int]]] = {}
    are_done = threading.Event()
    strangers: list[int] = []

    def work(user: str) -> None:
        found[user] = curl(gateway, credentials, user, f"/webmail/{user}?[1-{REQUESTS}]")

    def ask_without_login() -> None:
        while not are_done.is_set():
            with Client(gateway.port) as client:
                strangers.append(client.ask("GET", "/webmail/stranger").status)
                strangers.append(client.ask("GET", "/webmail/stranger").status)

    users = [threading.Thread(target=work, args=(user,)) for user in PASSWORDS]
    stranger = threading.Thread(target=ask_without_login)
    for thread in (stranger, *users):
        thread.start()
    for thread in users:
        thread.join()
    are_done.set()
    stranger.join()

    for user in PASSWORDS:
        assert found[user] == [(200, user, 1)] + [(200, user, 0)] * (REQUESTS - 1)
    assert strangers
    assert set(strangers) == {401}
    users_of = defaultdict(set)
    for path in (*PASSWORDS, "stranger"):
        for each in exchange.seen(f"/webmail/{path}", 2):
            users_of[each.connection].add(path)
    assert all(len(paths) == 1 for paths in users_of.values()), users_of


def test_a_connection_ends_with_its_user(gateway, credentials, exchange):
    """It never goes back to the pool: whoever comes next is on another one, and nobody."""
    assert curl(gateway, credentials, "alice", "/webmail/left") == [(200, "alice", 1)]
    with Client(gateway.port) as client:
        assert client.ask("GET", "/webmail/left").status == 401
    seen = exchange.seen("/webmail/left", 3)
    assert [each.status for each in seen] == [401, 200, 401]
    assert seen[2].connection not in {each.connection for each in seen[:2]}


def test_a_rule_that_binds_the_login_is_not_served_on_such_a_connection(start, credentials, exchange):
    """bob's own NTLM login and alice's certificate: Apache would take the second request for bob's."""
    bound = {
        "name": "own",
        "uri": ["/webmail/owa"],
        "action": "require_certificate",
        "certificate": {"bind_user": "email"},
    }
    rules = [bound, {"name": "programs", "uri": ["/webmail/ews"], "action": "allow"}]
    gateway = start(settings_for(credentials.site, exchange.url, rules=rules))
    shown = ("--cert", str(credentials["alice"].certificate), "--key", str(credentials["alice"].key), "--ntlm")
    answers = curl(gateway, credentials, "bob", "/webmail/{ews,ews,owa}", *shown)
    assert answers == [(200, "bob", 1), (200, "bob", 0), (403, "", 0)]
    assert [each.user for each in exchange.seen("/webmail/ews", 3)] == ["-", "bob", "bob"]
    assert exchange.seen("/webmail/owa", 0) == []
    with Client(gateway.port, identity=credentials["alice"]) as client:
        assert client.ask("GET", "/webmail/owa").status == 401


def test_both_sides_close_together(start, credentials):
    """Apache ends each connection after its fourth answer: so does the client's, and curl logs in on the next."""
    exchange = Exchange("MaxKeepAliveRequests 3")
    try:
        gateway = start(settings_for(credentials.site, exchange.url))
        answers = curl(gateway, credentials, "alice", "/webmail/ends?[1-6]")
        assert answers == [(200, "alice", 1), (200, "alice", 0), (200, "alice", 0)] * 2
        ends = [each.connection for each in exchange.seen("/webmail/ends", 8)]
        assert [ends.count(connection) for connection in dict.fromkeys(ends)] == [4, 4]
    finally:
        exchange.stop()
