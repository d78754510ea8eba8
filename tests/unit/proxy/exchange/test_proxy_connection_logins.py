"""Connections that belong to one client: logins that a connection has, and upstreams with one connection a client."""

import random
from base64 import b64encode

import pytest
from support.dialogue import HIGH_WATER_BYTES, OUTSIDE, get, header, request, response, status

from gateway.config.model import Limits

IDLE_SECONDS = Limits().transfer_idle_seconds


def test_pinned_connections_are_one_clients_alone(make_world):
    world = make_world(upstreams={"mail": {"servers": ["http://10.0.0.5:8080"], "connections": "per_client"}})
    first, second = world.client(), world.client()
    first.says(get())
    server = world.accepts()
    server.hears()
    server.says(response())
    second.says(get())
    assert len(world.dials) == 1
    first.says(get())
    assert server.hears().startswith(b"GET ")
    server.says(response())
    assert world.busy() == [(2, 0)] or world.busy() == [(1, 0)]
    server.closes()
    assert first.is_open  # no login went with it
    first.hears()
    first.says(request("POST"))
    new = [world.accepts(), world.accepts()][-1]
    assert new.hears().startswith(b"POST ")
    new.says(response(body=b"new"))
    assert first.hears().endswith(b"new")
    first.goes()
    second.goes()
    assert world.busy() == [(0, 0)]


@pytest.mark.parametrize("again", [0, 1])
def test_a_login_ends_both_connections_when_the_server_closes_it(world, again):
    client = world.client()
    server = log_in(world, client)
    for _ in range(again):
        client.says(get())
        server.says(response())
    server.closes()
    assert client.is_lost
    assert not client.was_aborted


@pytest.mark.parametrize("challenge", ["NTLM", "Negotiate", 'Basic realm="x", NTLM'])
def test_a_login_that_belongs_to_the_connection_is_not_shared(world, challenge):
    client, other = world.client(), world.client()
    client.says(get())
    server = world.accepts()
    server.says(response("401 Unauthorized", f"WWW-Authenticate: {challenge}"))
    other.says(get())
    assert len(world.dials) == 1
    client.says(get("/webmail", "Authorization: NTLM AAAA"))
    assert b"Authorization: NTLM AAAA" in server.hears()
    client.goes()
    assert server.is_lost


def log_in(world, client):
    """The client's own connection to the upstream, on which it sent credentials."""
    client.says(get("/webmail", "Authorization: NTLM AAAA"))
    server = world.accepts()
    server.says(response())
    client.hears()
    server.hears()
    return server


def test_a_login_begins_on_a_connection_that_nobody_had(world):
    """An idle one may be about to close, and a login is not tried again elsewhere."""
    client = world.client()
    client.says(get())
    world.accepts().says(response())
    assert world.busy() == [(0, 1)]
    log_in(world, client)
    assert world.busy() == [(1, 1)]


def test_a_clients_own_connection_that_fails_ends_the_clients_too(world):
    client = world.client()
    server = log_in(world, client)
    client.says(get())
    server.goes()
    assert client.hears() == b""  # not sent again: its login is gone
    assert not client.is_open
    assert not world.dials
    assert world.busy() == [(0, 0)]


@pytest.mark.parametrize(
    "last",
    [
        response("200 OK", "Connection: close"),
        response("401 Unauthorized", "WWW-Authenticate: NTLM", "Connection: close"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nall there is",
    ],
)
def test_an_answer_that_ends_a_clients_own_connection_ends_the_clients_too(world, last):
    client = world.client()
    server = log_in(world, client)
    client.says(get())
    server.says(last)
    server.closes()
    assert header(client.hears(), "Connection") == "close"
    client.says(get())
    assert not client.is_open
    assert not world.dials
    assert len(world.log) == 2


def test_a_challenge_that_ends_the_connection_ends_the_clients_too(world):
    """The first that speaks of such a login: whatever comes next would be on another connection."""
    client = world.client()
    client.says(get())
    server = world.accepts()
    server.says(response("401 Unauthorized", "WWW-Authenticate: NTLM", "Connection: close"))
    assert header(client.hears(), "Connection") == "close"
    assert not client.is_open


def test_bytes_behind_an_answer_end_both_connections(world):
    client = world.client()
    server = log_in(world, client)
    client.says(get())
    server.says(response() + b"HTTP/1.1 200 OK\r\n")
    assert not client.is_open
    assert server.is_lost
    assert world.busy() == [(0, 0)]


CHALLENGE = response("401 Unauthorized", "WWW-Authenticate: NTLM")


def early(world, *more, sent=b"", rest="Content-Length: 10"):
    """A login that is answered while its body is still to come."""
    client = world.client()
    client.says(request("POST", "/webmail", rest, *more) + sent)
    server = world.accepts()
    server.hears()
    server.says(CHALLENGE)
    answer = client.hears()
    assert status(answer) == 401
    assert header(answer, "Connection") is None
    assert world.log == []
    return client, server


@pytest.mark.parametrize("behind", [b"", get()])
@pytest.mark.parametrize(
    ("framing", "sent", "rest"),
    [
        ("Content-Length: 10", b"hello", b"world"),
        ("Content-Length: 10", b"", b"helloworld"),
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\n", b"5\r\nworld\r\n0\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("expect", [(), ("Expect: 100-continue",)])
def test_a_login_outlasts_an_early_answer(world, expect, framing, sent, rest, behind):
    """The rest of the body goes where its beginning went, and the login goes on there."""
    client, server = early(world, *expect, rest=framing, sent=sent)
    client.says(rest + behind)
    server_heard = server.hears()
    assert server_heard.startswith(rest)
    assert world.record["bytes_in"] == 10
    assert (world.record["status"], world.record["reason"]) == (401, None)
    if not behind:
        assert server_heard == rest
        client.says(get())
        server_heard = server.hears()
    assert b"GET /webmail HTTP/1.1\r\n" in server_heard
    server.says(response(body=b"mail"))
    assert client.hears().endswith(b"mail")
    assert client.is_open
    assert not world.dials


def test_the_rest_of_a_body_piece_by_piece_has_the_time_of_a_body(world):
    client, server = early(world, rest="Content-Length: 100000")
    for _ in range(9):
        world.passes(IDLE_SECONDS - 2)
        client.says(bytes(10_000))
    assert world.log == []
    world.passes(IDLE_SECONDS + 2)
    assert server.is_lost
    assert not client.is_open
    assert not client.was_aborted  # it has its answer, and may still read it
    assert (world.record["status"], world.record["bytes_in"], world.record["reason"]) == (401, 90_000, None)


@pytest.mark.parametrize("end", ["goes", "closes", "speaks"])
@pytest.mark.parametrize("behind", [b"", get()])
def test_a_server_that_ends_before_the_body_ends_the_clients_connection_after_it(world, end, behind):
    """A reset while the client still sends would hide the answer from it."""
    client, server = early(world, sent=b"hello")
    if end == "speaks":
        server.says(b"HTTP/1.1 200 OK\r\n\r\n")
        assert server.is_lost
    else:
        getattr(server, end)()
    assert client.hears() == b""
    assert client.is_open
    client.says(b"world" + behind)
    assert not client.is_open
    assert not client.was_aborted
    assert not world.dials
    assert len(world.log) == 1
    assert world.busy() == [(0, 0)]


def test_a_malformed_rest_ends_both_connections(world):
    client, server = early(world, rest="Transfer-Encoding: chunked")
    client.says(b"nonsense\r\n")
    assert server.is_lost
    assert client.hears() == b""
    assert not client.is_open
    assert len(world.log) == 1


def test_a_client_that_goes_before_the_rest_takes_its_server_with_it(world):
    client, server = early(world, sent=b"hello")
    client.goes()
    assert server.is_lost
    assert (world.record["status"], world.record["bytes_in"]) == (401, 5)
    assert world.busy() == [(0, 0)]


def test_an_answer_before_the_server_has_read_the_body_is_no_end_of_a_login(world):
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 100000"))
    server = world.accepts(is_slow=True)
    client.says(bytes(100_000) + get())
    assert client.is_paused
    server.says(CHALLENGE)
    assert status(client.hears()) == 401
    server.hears()
    assert world.log == []
    server.reads()
    assert len(world.log) == 1
    assert server.hears().startswith(b"GET /webmail ")
    assert not client.is_paused
    server.says(response())
    assert client.is_open


def test_a_client_that_reads_its_early_answer_slowly_has_the_time_of_a_body_afterwards(world):
    client = world.client()
    client.says(request("POST", "/webmail", "Content-Length: 10"))
    server = world.accepts()
    client.is_slow = True
    server.says(response("401 Unauthorized", "WWW-Authenticate: NTLM", body=bytes(HIGH_WATER_BYTES + 1)))
    client.reads()
    world.passes(IDLE_SECONDS + 2)
    assert server.is_lost
    assert not client.is_open
    assert len(world.log) == 1


def test_an_early_answer_that_ends_its_connection_ends_the_clients_once_the_body_is_there(world):
    client = world.client()
    server = log_in(world, client)
    client.says(request("POST", "/webmail", "Content-Length: 10") + b"hello")
    server.says(response("401 Unauthorized", "WWW-Authenticate: NTLM", "Connection: close"))
    assert header(client.hears(), "Connection") == "close"
    assert server.is_lost
    client.says(b"hello")
    assert not client.is_open
    assert not world.dials


def test_a_refusal_leaves_a_clients_own_connection_as_it_is(world):
    """It is the gateway's answer, and nothing happened behind it."""
    client = world.client()
    server = log_in(world, client)
    client.says(get("/secret"))
    assert status(client.hears()) == 403
    client.says(get())
    assert server.hears().startswith(b"GET /webmail ")


# logins of a connection, and rules that bind the login to the certificate

BINDING = {
    "name": "Only one's own mailbox",
    "uri": ["/owa"],
    "action": "require_certificate",
    "certificate": {"bind_user": "email"},
}
RULES = [BINDING, {"name": "Programs", "uri": ["/EWS"], "action": "allow"}]
PER_CLIENT = {"mail": {"servers": ["http://10.0.0.5:8080"], "connections": "per_client"}}


def basic(user: str) -> str:
    return "Authorization: Basic " + b64encode(f"{user}:secret".encode()).decode()


@pytest.fixture
def alice(files):
    return files.ca.issue("CN=alice", email="alice@example.com")


@pytest.fixture
def bound(make_world):
    return make_world(rules=RULES)


def ask(client, server, message, answer=None):
    """The status that the client gets: the server's where the request reaches it."""
    client.says(message)
    if server.hears():
        server.says(answer or response())
    return status(client.hears())


@pytest.mark.parametrize(
    ("scheme", "is_asked_first"),
    [("NTLM", True), ("Negotiate", True), ("NTLM", False), ("negotiate", False), ("Nego2", False), ("Kerberos", False)],
)
def test_a_rule_that_binds_the_login_is_not_served_on_a_connection_with_a_hidden_one(
    bound, alice, scheme, is_asked_first
):
    client = bound.client(OUTSIDE, alice)
    if is_asked_first:  # nobody is logged in yet: the connection is as good as any
        client.says(get("/owa"))
        server = bound.accepts()
        server.says(response("401 Unauthorized", f"WWW-Authenticate: {scheme}", "WWW-Authenticate: Basic"))
        assert status(client.hears()) == 401
        server.hears()
        assert ask(client, server, get("/owa", basic("alice"))) == 200
        assert bound.records[-1]["login"] == "basic"
        assert ask(client, server, get("/EWS", f"Authorization: {scheme} AAAA")) == 200
    else:
        client.says(get("/EWS", f"Authorization: {scheme} AAAA"))
        server = bound.accepts()
        server.hears()
        server.says(response())
        assert status(client.hears()) == 200
    assert (bound.records[-1]["login"], bound.records[-1]["user"]) == ("connection", None)
    assert ask(client, server, get("/EWS")) == 200
    assert (bound.records[-1]["login"], bound.records[-1]["user"]) == ("connection", None)
    client.says(get("/owa", basic("alice")))
    answer = client.hears()
    assert header(answer, "X-Gateway-Reason") == "user_mismatch"
    assert b"a new connection begins without a login" in answer
    assert server.hears() == b""
    assert not client.is_open
    assert (bound.records[-1]["reason"], bound.records[-1]["login"]) == ("user_mismatch", "basic")


def test_requests_that_were_sent_ahead_of_the_login_are_judged_after_it(bound, alice):
    client = bound.client(OUTSIDE, alice)
    client.says(get("/owa"))
    server = bound.accepts()
    server.says(response())
    client.says(get("/EWS", "Authorization: NTLM AAAA") + get("/owa"))
    server = bound.accepts()  # a login begins on a connection that nobody had
    assert b"/owa" not in server.hears()
    server.says(response())
    assert b"/owa" not in server.hears()
    assert b"X-Gateway-Reason: user_mismatch" in client.hears()
    assert [record["status"] for record in bound.records] == [200, 200, 403]


def test_a_new_connection_begins_without_a_login(bound, alice):
    client = bound.client(OUTSIDE, alice)
    client.says(get("/EWS", "Authorization: NTLM AAAA"))
    bound.accepts().says(response())
    other = bound.client(OUTSIDE, alice)
    other.says(get("/owa"))
    bound.accepts().says(response())
    assert status(other.hears()) == 200


@pytest.mark.parametrize("field", ["WWW-Authenticate: Negotiate oYG2MIGz", "Persistent-Auth: true"])
def test_a_login_that_the_server_goes_on_with_unasked_is_hidden(bound, alice, field):
    """A step of a login, and no request that began one: whoever it is for, nobody here can read it."""
    client = bound.client(OUTSIDE, alice)
    client.says(get("/owa"))
    server = bound.accepts()
    server.says(response("200 OK", field))
    assert field.encode() in client.hears()
    server.hears()
    assert ask(client, server, get("/owa")) == 403  # the same bytes, let in before
    client.goes()
    assert server.is_lost
    assert bound.busy() == [(0, 0)]


def test_a_server_that_keeps_no_login_says_nothing_of_one(bound, alice):
    client = bound.client(OUTSIDE, alice)
    client.says(get("/owa"))
    bound.accepts().says(response("200 OK", "Persistent-Auth: false"))
    assert status(client.hears()) == 200
    assert bound.busy() == [(0, 1)]


@pytest.mark.parametrize("authorization", [basic("bob"), "Authorization: Bearer x", "Authorization: Basic !"])
def test_every_login_on_a_clients_own_connection_must_belong_to_the_certificate(make_world, alice, authorization):
    """Servers may keep what they are told of one request for the connection."""
    world = make_world(rules=RULES, upstreams=PER_CLIENT)
    client = world.client(OUTSIDE, alice)
    client.says(get("/EWS", authorization))
    server = world.accepts()
    server.says(response())
    server.hears()
    client.hears()
    assert ask(client, server, get("/owa", basic("alice"))) == 403
    assert world.records[-1]["reason"] == "user_mismatch"
    assert not client.is_open


def test_ones_own_logins_stay_ones_own(make_world, alice):
    world = make_world(rules=RULES, upstreams=PER_CLIENT)
    client = world.client(OUTSIDE, alice)
    client.says(get("/EWS", basic("EXAMPLE\\alice")))
    server = world.accepts()
    server.says(response())
    server.hears()
    client.hears()
    for message in (get("/owa"), get("/owa"), get("/owa", basic("alice@example.com")), get("/owa")):
        assert ask(client, server, message) == 200
    assert world.records[-1]["login"] == "none"


@pytest.mark.parametrize("authorization", [basic("bob"), "Authorization: Bearer x", 'Authorization: Digest a="b"'])
def test_a_login_for_one_request_says_nothing_of_connections_that_all_share(bound, alice, authorization):
    client = bound.client(OUTSIDE, alice)
    client.says(get("/EWS", authorization))
    server = bound.accepts()
    server.says(response())
    server.hears()
    client.hears()
    assert bound.busy() == [(0, 1)]
    assert ask(client, server, get("/owa")) == 200


def test_the_login_of_the_request_whose_answer_makes_the_connection_the_clients_own_counts(bound, alice):
    client = bound.client(OUTSIDE, alice)
    client.says(get("/EWS", basic("bob")))
    server = bound.accepts()
    server.hears()
    server.says(response("200 OK", "WWW-Authenticate: NTLM"))
    client.hears()
    assert ask(client, server, get("/owa")) == 403


def test_where_a_copy_goes_to_is_judged_by_the_connections_login_too(bound, alice):
    client = bound.client(OUTSIDE, alice)
    client.says(get("/EWS", "Authorization: NTLM AAAA"))
    server = bound.accepts()
    server.hears()
    server.says(response())
    client.hears()
    assert ask(client, server, request("COPY", "/EWS/x", "Destination: /owa/x")) == 403
    assert bound.records[-1]["reason"] == "user_mismatch"


@pytest.mark.parametrize("is_under_way", [False, True])
def test_a_reload_that_binds_the_login_looks_at_what_connections_carry(files, make_world, alice, is_under_way):
    world = make_world(rules=[{"name": "All", "action": "allow"}])
    client = world.client(OUTSIDE, alice)
    client.says(get("/owa", "Authorization: NTLM AAAA"))
    server = world.accepts()
    server.hears()
    server.says(response())
    client.hears()
    if is_under_way:
        client.says(get("/owa"))
        assert server.hears()
    world.does(world.service.adopt, files.snapshot(rules=[BINDING]))
    if not is_under_way:
        client.says(get("/owa"))
    assert header(client.hears(), "X-Gateway-Reason") == "user_mismatch"
    assert server.hears() == b""
    client.goes()
    assert server.is_lost


@pytest.mark.parametrize("user", ["alice", "bob"])
def test_a_reload_that_gives_each_client_its_own_connection_counts_the_login_under_way(files, bound, alice, user):
    idle, client = bound.client(OUTSIDE, alice), bound.client(OUTSIDE, alice)
    client.says(get("/EWS", basic(user)))
    server = bound.accepts()
    server.hears()
    bound.does(bound.service.adopt, files.snapshot(rules=RULES, upstreams=PER_CLIENT))
    server.says(response())
    client.hears()
    idle.says(get("/owa"))
    bound.accepts().says(response())
    assert status(idle.hears()) == 200
    client.says(get("/owa"))
    if user == "alice":  # on a connection of the upstream as it is now
        bound.accepts().says(response())
    assert status(client.hears()) == (200 if user == "alice" else 403)


ASKED = [
    *(("/owa",), ("/owa", basic("alice")), ("/owa", basic("bob")), ("/EWS",), ("/EWS", basic("bob"))),
    *(("/EWS", "Authorization: NTLM AAAA"), ("/EWS", "Authorization: Foo"), ("/EWS", "Authorization: Bearer x")),
    ("/owa", "Authorization: Negotiate AAAA"),
]
ANSWERED = [
    response(body=b"mail"),
    response("401 Unauthorized", "WWW-Authenticate: Basic", "WWW-Authenticate: NTLM"),
    response("401 Unauthorized", "WWW-Authenticate: NTLM TlRMTVNTUAAC"),
    response("200 OK", "Persistent-Auth: true"),
    response("200 OK", "Connection: close"),
]
HIDES = (b"Authorization: NTLM", b"Authorization: Foo", b"Persistent-Auth", b"NTLM TlRM")


def converse(world, alice, chance):
    """Two clients at once; what each upstream connection heard and said, in order."""
    said = {}
    clients = [None, None]
    for _ in range(30):
        who = chance.randrange(2)
        if clients[who] is None or not clients[who].is_open:
            clients[who] = world.client(OUTSIDE, alice)
        several = [chance.choice(ASKED) for _ in range(chance.choice([1, 1, 2]))]
        clients[who].says(b"".join(get(f"{path}/{who}", *more) for path, *more in several))
        while world.dials or any(server.heard and not server.is_lost for server in world.ends):
            while world.dials:
                world.accepts()
            for server in [each for each in world.ends if each.heard and not each.is_lost]:
                answer = chance.choice(ANSWERED)
                said.setdefault(server, []).extend([server.hears(), answer])
                server.says(answer)
    return list(said.values())


@pytest.mark.parametrize("seed", range(40))
def test_in_no_order_is_a_rule_that_binds_the_login_served_behind_a_hidden_one(make_world, alice, seed):
    """Whatever clients ask and servers answer; and such a connection hears of one client only."""
    chance = random.Random(seed)
    world = make_world(rules=RULES, **chance.choice([{}, {"upstreams": PER_CLIENT}]))
    for said in converse(world, alice, chance):
        hidden = [at for at, data in enumerate(said) if any(field in data for field in HIDES)]
        after = b"".join(said[hidden[0] + 1 :]) if hidden else b""
        assert b" /owa" not in after
        assert not (b"/0 HTTP" in after and b"/1 HTTP" in after)
        assert b"/owa" not in b"".join(data for data in said if basic("bob").encode() in data)
    reasons = {record["reason"] for record in world.records if record["uri"].startswith("/owa")}
    assert {None, "user_mismatch"} <= reasons
