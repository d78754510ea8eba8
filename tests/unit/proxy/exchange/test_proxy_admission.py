"""What a request must be to pass, and what its upstream then reads."""

from dataclasses import replace
from datetime import timedelta

import pytest
from support.dialogue import HOST, OUTSIDE, get, header, request, response, status
from support.pki import Ca

from gateway.facts import Reason
from gateway.proxy.exchange.admission import REJUDGE_SECONDS
from gateway.tls import judgements
from gateway.tls.client_cert import examine
from gateway.tls.judgements import JudgementCache

PASSES = [{"name": "all", "action": "allow"}]


def sent(world, *lines, address="10.0.0.9", leaf=None, data=None):
    """The head that the upstream reads for a request with these lines."""
    client = world.client(address, leaf)
    client.says(data or get("/webmail", *lines))
    head = world.accepts().hears()
    assert head.endswith(b"\r\n\r\n")
    return head


def test_what_the_upstream_reads(world):
    head = sent(world, "User-Agent: test", "Cookie: a=b", "Accept: */*")
    lines = head.decode().split("\r\n")
    request_id = header(head, "X-Request-Id")
    assert lines == [
        "GET /webmail HTTP/1.1",
        "Host: mail.example.com",
        "User-Agent: test",
        "Cookie: a=b",
        "Accept: */*",
        "X-Forwarded-For: 10.0.0.9",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: mail.example.com",
        "X-Forwarded-Port: 443",
        "Forwarded: for=10.0.0.9;host=mail.example.com;proto=https",
        "X-Client-Verified: NONE",
        f"X-Request-Id: {request_id}",
        "",
        "",
    ]
    assert len(request_id) == 32


@pytest.mark.parametrize(
    "line",
    [
        "X-Forwarded-For: 1.2.3.4",
        "X_Forwarded_For: 1.2.3.4",
        "Forwarded: for=1.2.3.4",
        "X-Real-IP: 1.2.3.4",
        "X-Request-Id: mine",
        "X-Client-Email: admin@example.com",
        "X_Client_Email: admin@example.com",
        "x.client.email: admin@example.com",
        "Client-Cert: :AAAA:",
        "X-Original-URL: /admin",
        "X-HTTP-Method-Override: DELETE",
        "x-webobjects-remote-user: admin",
        "Connection: X-Client-Email",
        "Keep-Alive: timeout=5",
        "TE: trailers",
        "Proxy-Authorization: Basic AAAA",
    ],
)
def test_what_only_the_gateway_may_say_never_passes(world, line):
    plain, spoofed = sent(world), sent(world, line)
    lengths = {len(head.split(b"\r\n")) for head in (plain, spoofed)}
    assert len(lengths) == 1, spoofed
    assert line.partition(": ")[2].encode() not in spoofed


def test_identity_headers_cannot_be_taken_away_by_naming_them_in_connection(files, world):
    leaf = files.ca.issue("CN=alice", email="alice@example.com")
    head = sent(world, "Connection: X-Client-Email, Client-Cert", address=OUTSIDE, leaf=leaf)
    assert header(head, "X-Client-Email") == "alice@example.com"
    assert header(head, "X-Client-Verified") == "SUCCESS"
    assert header(head, "Client-Cert")


@pytest.mark.parametrize(
    ("target", "forwarded"),
    [
        (b"/webmail", b"/webmail"),
        (b"/Webmail//x/../y?Q=%2e%2E", b"/Webmail/y?Q=%2e%2E"),
        (b"/%77ebmail/%7euser", b"/webmail/~user"),
        (b"https://mail.example.com/webmail?x", b"/webmail?x"),
    ],
)
def test_the_upstream_gets_the_spelling_that_was_judged(world, target, forwarded):
    client = world.client()
    client.says(b"GET " + target + b" HTTP/1.1\r\nHost: mail.example.com\r\n\r\n")
    if b"/../" in target:
        assert header(client.hears(), "X-Gateway-Reason") == "uri_rejected"
    else:
        assert world.accepts().hears().startswith(b"GET " + forwarded + b" HTTP/1.1\r\n")


def test_another_host_may_be_sent_to_the_upstream(make_world):
    upstream = {"servers": ["http://10.0.0.5:8080"], "host": "mail.internal:8080"}
    head = sent(make_world(upstreams={"mail": upstream}))
    assert header(head, "Host") == "mail.internal:8080"
    assert header(head, "X-Forwarded-Host") == "mail.example.com"


@pytest.mark.parametrize("host", ["mail.example.com:443", "MAIL.example.COM", "mail.example.com."])
def test_other_spellings_of_the_host_are_the_same_site(world, host):
    head = sent(world, data=get(host=host))
    assert header(head, "Host") == HOST
    assert header(head, "X-Forwarded-Host") == HOST


@pytest.mark.parametrize(
    ("public_port", "host", "expected"),
    [
        (443, f"{HOST}:9999", HOST),
        (443, f"{HOST}:0443", HOST),
        (443, f"{HOST}.:65535", HOST),
        (9443, f"{HOST}:9999", HOST),
        (9443, f"{HOST}:443", HOST),
        (9443, HOST, HOST),
        (9443, f"{HOST.upper()}.:9443", f"{HOST}:9443"),
        (9443, f"{HOST}:09443", f"{HOST}:9443"),
    ],
)
def test_only_the_public_port_goes_upstream(world, public_port, host, expected):
    client = world.client(public_port=public_port)
    client.says(get(host=host))
    head = world.accepts().hears()
    assert header(head, "Host") == expected
    assert header(head, "X-Forwarded-Port") == str(public_port)


def test_a_foreign_port_gets_into_no_redirect(make_world):
    world = make_world(upstreams={"mail": {"servers": ["http://10.0.0.5:8080"], "host": "mail.internal"}})
    client = world.client()
    client.says(get(host=f"{HOST}:9999"))
    world.accepts().says(response("302 Found", "Location: http://mail.internal/owa"))
    assert header(client.hears(), "Location") == f"https://{HOST}/owa"


def test_http_1_0_without_a_host_asks_for_the_handshakes(world):
    head = sent(world, data=b"GET /webmail HTTP/1.0\r\n\r\n")
    assert head.startswith(b"GET /webmail HTTP/1.1\r\nHost: mail.example.com\r\n")
    assert header(head, "X-Forwarded-Host") == HOST


@pytest.mark.parametrize(("address", "host"), [("192.0.2.7", "192.0.2.7"), ("2001:db8::7", "[2001:db8::7]")])
def test_http_1_0_without_any_name_asks_for_the_address_that_it_came_to(files, make_world, address, host):
    world = make_world(sites=[{**files.site(), "hosts": ["*"]}], rules=PASSES)
    client = world.client(host=None, local=address)
    for _ in range(2):
        client.says(b"GET /webmail HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    server = world.accepts()
    assert header(server.hears(), "Host") == host
    server.says(response())
    assert header(server.hears(), "X-Forwarded-Host") == host


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (get(host="other.example.com"), 421, "host_mismatch"),
        (get(host="-bad-"), 400, "bad_request"),
        (b"GET /webmail HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (b"GET /webmail HTTP/1.1\r\nHost:\r\n\r\n", 400, "bad_request"),
        (b"GET /webmail HTTP/1.0\r\nHost:\r\n\r\n", 400, "bad_request"),
        (get("/webmail/..;/x"), 400, "uri_rejected"),
        (request("OPTIONS", "*"), 400, "uri_rejected"),
        (request("CONNECT", "mail.example.com:25"), 400, "bad_request"),
        (request("CONNECT"), 400, "bad_request"),
        (request("POST", "/webmail", "Content-Length: 2147483649"), 413, "body_too_large"),
        (get("/secret"), 403, "denied_by_rule"),
    ],
)
def test_what_is_refused_reaches_no_upstream(world, data, code, reason):
    client = world.client()
    client.says(data)
    answer = client.hears()
    assert (status(answer), header(answer, "X-Gateway-Reason")) == (code, reason)
    assert world.dials == []
    assert world.record["reason"] == reason
    assert world.record["decision"] == ("deny" if reason == "denied_by_rule" else None)


def test_a_refused_request_may_be_followed_by_a_better_one(world):
    client = world.client()
    client.says(get("/secret"))
    client.hears()
    client.says(get())
    world.accepts().says(response(body=b"better"))
    assert client.hears().endswith(b"better")


def test_outside_nobody_passes_without_a_certificate(files, world):
    nobody = world.client(OUTSIDE)
    nobody.says(get())
    answer = nobody.hears()
    assert header(answer, "X-Gateway-Reason") == "certificate_missing"
    assert header(answer, "Connection") == "close"
    assert world.records[-1]["rule"] == "Outside with a certificate"
    leaf = files.ca.issue("CN=alice")
    assert sent(world, address=OUTSIDE, leaf=leaf)


def test_the_mail_login_is_in_the_record_and_the_password_is_not(world):
    client = world.client()
    client.says(get("/webmail", "Authorization: Basic YWxpY2U6c2VjcmV0LXBhc3N3b3Jk", "Cookie: session=1"))
    world.accepts().says(response())
    assert world.record["user"] == "alice"
    assert b"c2VjcmV0" not in world.log[0]
    assert b"secret-password" not in world.log[0]
    assert b"session=1" not in world.log[0]


@pytest.mark.parametrize(
    ("authorization", "login"), [("Basic !", ("basic", None)), ("Bearer x", ("bearer", "bob")), (None, ("none", "bob"))]
)
def test_the_user_of_a_query_does_not_stand_for_a_basic_login_that_cannot_be_read(world, authorization, login):
    client = world.client()
    fields = () if authorization is None else (f"Authorization: {authorization}",)
    client.says(get("/Microsoft-Server-ActiveSync?Cmd=Sync&User=bob&DeviceId=D1&DeviceType=x", *fields))
    world.accepts().says(response())
    assert (world.record["login"], world.record["user"]) == login
    assert world.record["device_id"] == "D1"


# behind a proxy


@pytest.fixture
def balanced(make_world):
    return make_world(trusted_proxies=["10.0.0.0/8"])


def test_an_untrusted_peer_names_nobody(balanced):
    client = balanced.client(OUTSIDE)
    client.says(get("/webmail", "X-Forwarded-For: 10.0.0.9"))
    assert header(client.hears(), "X-Gateway-Reason") == "certificate_missing"
    assert balanced.record["client_ip"] == OUTSIDE


def test_a_trusted_proxys_client_is_judged_and_told(balanced):
    client = balanced.client()
    client.says(get("/webmail", f"X-Forwarded-For: {OUTSIDE}"))
    assert header(client.hears(), "X-Gateway-Reason") == "certificate_missing"
    assert (balanced.record["client_ip"], balanced.record["client_port"]) == (OUTSIDE, None)
    head = sent(balanced, "X-Forwarded-For: 6.6.6.6, 192.168.0.7")
    assert header(head, "X-Forwarded-For") == "6.6.6.6, 192.168.0.7, 10.0.0.9"
    assert header(head, "Forwarded") == "for=192.168.0.7;host=mail.example.com;proto=https"


def test_garbage_from_a_trusted_proxy_is_refused(balanced):
    client = balanced.client()
    client.says(get("/webmail", "X-Forwarded-For: unknown"))
    assert header(client.hears(), "X-Gateway-Reason") == "bad_request"


def test_clients_behind_one_proxy_connection_are_told_apart(balanced):
    client = balanced.client()
    client.says(get("/webmail", "X-Forwarded-For: 192.168.0.1"))
    server = balanced.accepts()
    server.says(response())
    for address in ("192.168.0.2", "192.168.0.1"):
        client.says(get("/webmail", f"X-Forwarded-For: {address}"))
        server.says(response())
    assert [record["client_ip"] for record in balanced.records] == ["192.168.0.1", "192.168.0.2", "192.168.0.1"]


@pytest.mark.parametrize("fields", [(), ("Forwarded: for=192.168.0.1",)])
def test_a_request_whose_client_is_not_named_is_of_no_network(balanced, fields):
    """The proxy's own address is inside."""
    client = balanced.client()
    client.says(get("/webmail", *fields))
    assert header(client.hears(), "X-Gateway-Reason") == "no_rule"
    assert balanced.record["client_ip"] == "10.0.0.9"
    assert balanced.record["client_port"] is not None, "the connection's own"
    assert "the trusted proxy 10.0.0.9 named no client" in balanced.record["detail"]


def test_a_proxy_that_is_named_as_the_client_is_not_inside_without_a_certificate(balanced):
    """It may be the first of two, which named nobody to the second."""
    client = balanced.client()
    client.says(get("/webmail", "X-Forwarded-For: 10.0.0.7"))
    assert header(client.hears(), "X-Gateway-Reason") == "certificate_missing"
    assert balanced.record["client_ip"] == "10.0.0.7"


CHECKS = {"name": "Checks", "from": ["10.0.0.9"], "uri": ["=/webmail"], "action": "allow"}


@pytest.mark.parametrize("at", [0, 1], ids=["first", "last"])
def test_a_rule_for_the_proxys_own_address_lets_its_checks_in(make_world, at):
    inside = {"name": "Inside", "from": "internal", "action": "allow"}
    rules = [CHECKS, inside] if at == 0 else [inside, CHECKS]
    world = make_world(trusted_proxies=["10.0.0.9"], rules=rules)
    head = sent(world)
    assert header(head, "X-Forwarded-For") == "10.0.0.9"
    client = world.client()
    client.says(get("/secret"))
    assert header(client.hears(), "X-Gateway-Reason") == "no_rule"
    assert world.records[-1]["rule"] is None


def test_the_header_that_counts_is_configured(make_world):
    world = make_world(trusted_proxies={"from": ["10.0.0.9"], "header": "forwarded"})
    head = sent(world, 'Forwarded: for=6.6.6.6, for="192.168.0.7:443"')
    assert header(head, "X-Forwarded-For") == "192.168.0.7, 10.0.0.9"
    assert header(head, "Forwarded") == "for=192.168.0.7;host=mail.example.com;proto=https"
    head = sent(world, "Forwarded: for=192.168.0.7", "X-Forwarded-For: 6.6.6.6, 192.168.0.7")
    assert header(head, "X-Forwarded-For") == "192.168.0.7, 10.0.0.9"
    client = world.client()
    client.says(get("/webmail", "X-Forwarded-For: 192.168.0.7"))
    assert header(client.hears(), "X-Gateway-Reason") == "no_rule"


def test_two_headers_that_name_different_clients_are_refused(balanced):
    client = balanced.client()
    client.says(get("/webmail", "X-Forwarded-For: 192.168.0.7", "Forwarded: for=192.168.0.8"))
    assert header(client.hears(), "X-Gateway-Reason") == "bad_request"
    assert balanced.record["detail"] == "X-Forwarded-For and Forwarded name different clients"


def test_a_proxy_that_is_trusted_from_a_reload_on_has_to_name_its_clients(files, world):
    client = world.client()
    client.says(get())
    world.accepts().says(response())
    world.does(world.service.adopt, files.snapshot(trusted_proxies=["10.0.0.9"]))
    client.hears()
    client.says(get())
    assert header(client.hears(), "X-Gateway-Reason") == "no_rule"


# judging again


def test_a_certificate_is_looked_at_again_after_a_second(files, make_world):
    world = make_world(rules=PASSES)
    leaf = files.ca.issue("CN=alice")
    admission = world.client(OUTSIDE, leaf).application.admission
    now = world.clock.unix_seconds()
    assert not admission.is_due(now + 0.9)
    assert admission.is_due(now + 1.1)
    assert admission.judge(world.clock.now()) is False


@pytest.fixture
def examined(monkeypatch):
    """What was examined, in its order."""
    found = []
    monkeypatch.setattr(judgements, "examine", lambda *given: found.append(given[:2]) or examine(*given))
    return found


@pytest.mark.parametrize("is_chained", [False, True])
def test_a_refused_certificate_is_examined_once_for_a_connection(make_world, examined, is_chained):
    stranger = Ca.make("CN=Stranger")
    leaf = (stranger.issue_ca() if is_chained else stranger).issue()
    world = make_world(rules=PASSES)
    admission = world.client(OUTSIDE, leaf).application.admission
    assert admission.judgement.reason is Reason.CERTIFICATE_UNTRUSTED
    assert not admission.may_resume(leaf.der, list(leaf.chain_der))
    for _ in range(3):
        world.clock.seconds += 2 * REJUDGE_SECONDS
        assert admission.judge(world.clock.now()) is False
    assert not admission.is_alone()
    assert examined == [(leaf.der, list(leaf.chain_der))]
    world.client(OUTSIDE, leaf)
    assert len(examined) == 2


def test_a_refused_certificate_is_examined_anew_where_the_trust_changes_or_the_clock_is_set_back(world, examined):
    admission = world.client(OUTSIDE, Ca.make("CN=Stranger").issue()).application.admission
    world.clock.seconds -= 10
    admission.judge(world.clock.now())
    assert len(examined) == 2
    site = admission.site
    admission.adopt(admission.snapshot, replace(site, judgements=JudgementCache(site.tls.trust)))
    admission.judge(world.clock.now())
    assert len(examined) == 3


def test_a_certificate_that_begins_while_its_connection_is_open_counts_from_then_on(files, world):
    leaf = files.ca.issue("CN=alice", not_before=world.clock.now() + timedelta(seconds=10))
    admission = world.client(OUTSIDE, leaf).application.admission
    assert admission.judgement.reason is Reason.CERTIFICATE_NOT_YET_VALID
    world.clock.seconds += 10
    assert admission.judge(world.clock.now())
    assert admission.judgement.is_trusted


def test_without_a_certificate_no_session_stands_for_one(world):
    assert not world.client(OUTSIDE).application.admission.is_alone()
