"""The mail login must belong to the certificate: real ActiveSync requests in both forms of MS-ASHTTP, and Basic's.

The base64 forms are written here from the specification (2.2.1.1.1.1), field by field, and one is its own example.
"""

from __future__ import annotations

import signal
from base64 import b64encode
from datetime import timedelta

import pytest
import yaml
from cryptography import x509
from support.client import TLS_1_2, ask
from support.connection_logins import ConnectionAuthenticator
from support.credentials import Identity
from support.gateway import OUTSIDE, settings_for
from support.pki import Ca, ca_extensions
from support.waiting import until
from support.wire import HTTP1, WIRES_BY_VERSION
from support.wire_http2 import StreamResetError

from gateway import clock

pytestmark = pytest.mark.e2e

by_version = pytest.mark.parametrize("wire", WIRES_BY_VERSION, ids=str)
over_http1 = pytest.mark.parametrize("wire", [wire for wire in WIRES_BY_VERSION if not wire.is_http2], ids=str)

SERVED = (200, None)
MISMATCH = (403, "user_mismatch")
NOT_ALLOWED = (403, "certificate_not_allowed")
EAS = "/Microsoft-Server-ActiveSync"
DEVICE, OTHER_DEVICE = "ApplDN6GKABCDE1", "SEC1234567890ABC"
USER_TAG = 8
PASSWORD = "not for the log"
# The specification's own: Sync of version 14.0, en-US, "v140Device", "SmartPhone".
EXAMPLE = "jAAJBAp2MTQwRGV2aWNlAApTbWFydFBob25l"
# A Windows phone's: version 12.1, the device id as 16 raw bytes, "PocketPC".
RAW_DEVICE = "eQAJBBBFf3dJ8YtNRLVyTRNuxeMgAAhQb2NrZXRQQw=="


def basic(login, *, encoding="utf-8"):
    return "Authorization: Basic " + b64encode(f"{login}:{PASSWORD}".encode(encoding)).decode()


def compact(command=0, device=DEVICE, kind="iPhone", *, user=None, policy_key=b"", tags=(), version=141):
    """The base64 form of the query."""
    fields = [bytes((version, command)) + (0x0409).to_bytes(2, "little")]
    fields += [bytes((len(value),)) + value for value in (device.encode(), policy_key, kind.encode())]
    if user is not None:
        tags = (*tags, (USER_TAG, user.encode()))
    fields += [bytes((tag, len(value))) + value for tag, value in tags]
    return b64encode(b"".join(fields)).decode()


def plain(user="alice@example.com", device=DEVICE, command="Sync", kind="iPhone"):
    parts = {"Cmd": command, "User": user, "DeviceId": device, "DeviceType": kind}
    return "&".join(f"{name}={value}" for name, value in parts.items() if value is not None)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logins")
    now = clock.now()
    dates = {"not_before": now - timedelta(days=1), "not_after": now + timedelta(days=30)}
    ca = Ca.make("CN=Mail CA", **dates)
    ca.write(folder, "ca")
    made = {
        "alice": ca.issue("CN=Alice Example", email="alice@example.com", upn_name="alice@corp.example", **dates),
        "bob": ca.issue("CN=bob", email="bob@example.com", upn_name="bob@corp.example", **dates),
        "jörg": ca.issue("CN=jörg", upn_name="jörg@corp.example", **dates),
        "nobody": ca.issue("CN=Somebody", dns="pc.example.com", **dates),
    }
    mails = x509.NameConstraints([x509.RFC822Name("partner.example")], None)
    partner = Ca.make("CN=Partner CA", extensions=[*ca_extensions(), (mails, True)], **dates)
    partner.write(folder, "partner-ca")
    made |= {
        "partner": partner.issue("CN=carol@partner.example", email="carol@partner.example", dns="alice", **dates),
        "partner, CN": partner.issue("CN=alice", email="carol@partner.example", upn_name="c@partner.example", **dates),
        "partner, address in CN": partner.issue("CN=alice@example.com", email="carol@partner.example", **dates),
    }
    return {
        "ca": folder / "ca.crt",
        "partner CA": folder / "partner-ca.crt",
        **{name: Identity(*leaf.write(folder, name)) for name, leaf in made.items()},
    }


@pytest.fixture(scope="module")
def gateway(start, people, credentials, mail):
    def rule(bind, prefix, **more):
        conditions = {"bind_user": bind, **more}
        return {"name": f"{bind}{prefix}", "uri": [prefix], "action": "require_certificate", "certificate": conditions}

    rules = [rule(bind, f"/{bind}") for bind in ("email", "upn", "cn", "san")]
    devices = {"device_ids": [DEVICE, "SEC0987"]}
    rules.append({"name": "devices", "uri": ["/devices"], "action": "require_certificate", "certificate": devices})
    rules.append(rule("email", "/both", **devices))
    rules.append({"name": "programs", "uri": ["/EWS"], "action": "allow"})
    site = {**credentials.server, "client_ca": [str(people["ca"]), str(people["partner CA"])]}
    return start(settings_for(site, mail.url, rules=rules))


def sync(gateway, identity, target, *fields, method="POST", wire=HTTP1, body=b"\x03\x01\x6a\x00"):
    """One ActiveSync request."""
    headers = ("MS-ASProtocolVersion: 14.1", "Content-Type: application/vnd.ms-sync.wbxml", *fields)
    body = b"" if method == "OPTIONS" else body
    return wire.ask(gateway.port, target, *headers, method=method, body=body, source=OUTSIDE, identity=identity)


def record_of(gateway, mail, answer):
    return gateway.log.of(answer.get("X-Request-Id") if answer.reason else mail.received[-1].request_id)


# target's query, Authorization, verdict, the user and the device in the log
ALICE = "alice@example.com"
REQUESTS = {
    "plain, user and Basic": (plain(), basic(ALICE), SERVED, ALICE, DEVICE),
    "plain, bare name": (plain("alice"), basic("alice"), SERVED, "alice", DEVICE),
    "plain, DOMAIN\\user": (plain("CORP%5Calice"), basic("CORP\\alice"), SERVED, "CORP\\alice", DEVICE),
    "plain, in other case": (plain("ALICE@Example.COM"), basic("Alice"), SERVED, "Alice", DEVICE),
    "plain, escaped": (plain("alice%40example.com"), basic(ALICE), SERVED, ALICE, DEVICE),
    "plain, without Basic": (plain(), None, SERVED, ALICE, DEVICE),
    "plain, without User": (plain(None), basic(ALICE), SERVED, ALICE, DEVICE),
    "plain, SmartReply": (plain(command="SmartReply"), basic(ALICE), SERVED, ALICE, DEVICE),
    "plain, ItemId and more": (f"{plain()}&ItemId=7%3a3&SaveInSent=T", basic(ALICE), SERVED, ALICE, DEVICE),
    "plain, names in other case": ("cmd=Ping&user=alice&deviceid=x1", basic("alice"), SERVED, "alice", "x1"),
    "base64, without User": (compact(), basic(ALICE), SERVED, ALICE, DEVICE),
    "base64, with User": (compact(user=ALICE), basic(ALICE), SERVED, ALICE, DEVICE),
    "base64, User alone": (compact(user="CORP\\alice"), None, SERVED, "CORP\\alice", DEVICE),
    "base64, policy key": (compact(policy_key=b"\x01\x02\x03\x04"), basic("alice"), SERVED, "alice", DEVICE),
    "base64, Options and CollectionId": (
        compact(2, tags=[(1, b"5"), (3, b"5:7"), (7, b"\x01")]), basic("alice"), SERVED, "alice", DEVICE,
    ),
    "base64, Ping": (compact(18, OTHER_DEVICE, "SAMSUNGSMG991B"), basic("alice"), SERVED, "alice", OTHER_DEVICE),
    "base64, the specification's own": (EXAMPLE, basic("alice"), SERVED, "alice", "v140Device"),
    "base64, raw device": (RAW_DEVICE, basic("alice"), SERVED, "alice", "457f7749f18b4d44b5724d136ec5e320"),
    "plain, somebody else's User": (plain("bob@example.com"), basic(ALICE), MISMATCH, ALICE, DEVICE),
    "plain, somebody else's Basic": (plain(), basic("bob@example.com"), MISMATCH, "bob@example.com", DEVICE),
    "plain, both somebody else's": (plain("bob"), basic("bob"), MISMATCH, "bob", DEVICE),
    "plain, same name elsewhere": (plain("alice@example.net"), basic(ALICE), MISMATCH, ALICE, DEVICE),
    "base64, somebody else's User": (compact(user="bob@example.com"), basic(ALICE), MISMATCH, ALICE, DEVICE),
    "base64, somebody else's Basic": (compact(user=ALICE), basic("bob"), MISMATCH, "bob", DEVICE),
    "plain, User twice": (plain() + "&User=bob", basic(ALICE), MISMATCH, ALICE, None),
    "plain, User twice in other case": (plain() + "&user=bob", basic(ALICE), MISMATCH, ALICE, None),
    "plain, DeviceId twice": (plain() + "&DeviceId=x", basic(ALICE), MISMATCH, ALICE, None),
    "plain, name escaped": (plain() + "&%55ser=bob", basic(ALICE), MISMATCH, ALICE, None),
    "plain, ';' between": (plain() + ";User=bob", basic(ALICE), MISMATCH, ALICE, None),
    "plain, PHP's brackets": (plain() + "&User[]=bob", basic(ALICE), MISMATCH, ALICE, None),
    "both forms": (compact() + "&" + plain(), basic(ALICE), MISMATCH, ALICE, None),
    "both forms the other way": (plain() + "&" + compact(), basic(ALICE), MISMATCH, ALICE, None),
    "plain, broken escape": (plain("alice%4"), basic(ALICE), MISMATCH, ALICE, None),
    "plain, not UTF-8": (plain("alice%ff"), basic(ALICE), MISMATCH, ALICE, None),
    "plain, a control character": (plain("alice%0a"), basic(ALICE), MISMATCH, ALICE, None),
    "base64, cut off": (compact()[:16], basic(ALICE), MISMATCH, ALICE, None),
    "base64, User twice": (compact(user=ALICE, tags=[(USER_TAG, b"bob")]), basic(ALICE), MISMATCH, ALICE, None),
    "base64, unknown tag": (compact(tags=[(9, b"x")]), basic(ALICE), MISMATCH, ALICE, None),
    "base64, policy key of 3 bytes": (compact(policy_key=b"abc"), basic(ALICE), MISMATCH, ALICE, None),
    "base64, broken": (compact()[:-1] + "!", basic(ALICE), MISMATCH, ALICE, None),
}  # fmt: skip


def test_there_are_enough_requests():
    assert len(REQUESTS) >= 20
    assert sum(name.startswith("base64") for name in REQUESTS) >= 10


@by_version
@pytest.mark.parametrize("name", REQUESTS)
def test_real_activesync_requests(gateway, mail, people, name, wire):
    query, authorization, verdict, user, device = REQUESTS[name]
    fields = () if authorization is None else (authorization,)
    answer = sync(gateway, people["alice"], f"/email{EAS}?{query}", *fields, wire=wire)
    assert answer.verdict == verdict
    if wire.version != TLS_1_2:  # the log is written a tenth of a second later
        record = record_of(gateway, mail, answer)
        assert (record["status"], record["reason"]) == verdict
        assert (record["user"], record["device_id"]) == (user, device)
        assert record["cert_email"] == ALICE
        assert PASSWORD not in str(record)
    if verdict == SERVED:
        assert mail.only().target == f"/email{EAS}?{query}".encode()
        assert mail.only().body == b"\x03\x01\x6a\x00"
        assert mail.only().values(b"Authorization") == [each.partition(": ")[2].encode() for each in fields]
    else:
        assert not mail.received


@by_version
@pytest.mark.parametrize(
    "path", ["/microsoft-server-activesync", "/MICROSOFT-SERVER-ACTIVESYNC/", "/%4dicrosoft-Server-ActiveSync"]
)
def test_no_spelling_of_the_path_hides_the_user(gateway, mail, people, path, wire):
    answer = sync(gateway, people["alice"], f"/email{path}?{plain('bob')}", basic("alice"), wire=wire)
    assert answer.verdict == MISMATCH
    assert not mail.received


@by_version
@pytest.mark.parametrize(
    ("bind", "who", "login", "verdict"),
    [
        ("email", "alice", "alice@example.com", SERVED),
        ("email", "alice", "alice@corp.example", MISMATCH),
        ("email", "nobody", "pc.example.com", MISMATCH),
        ("email", "nobody", "Somebody", MISMATCH),
        ("upn", "alice", "alice@corp.example", SERVED),
        ("upn", "alice", "CORP\\alice", SERVED),
        ("upn", "alice", "alice", SERVED),
        ("upn", "alice", "alice@example.com", MISMATCH),
        ("upn", "alice", "bob@corp.example", MISMATCH),
        ("upn", "jörg", "jörg@corp.example", SERVED),
        ("upn", "jörg", "JÖRG", SERVED),
        ("upn", "jörg", "jorg", MISMATCH),
        ("cn", "alice", "Alice Example", SERVED),
        ("cn", "alice", "alice", MISMATCH),
        ("cn", "bob", "CORP\\bob", SERVED),
        ("cn", "bob", "bob@example.com", MISMATCH),
        ("cn", "jörg", "jörg", SERVED),
        ("san", "alice", "alice@corp.example", SERVED),
        ("san", "alice", "alice@example.com", SERVED),
        ("san", "alice", "Alice Example", MISMATCH),
        ("san", "nobody", "pc.example.com", SERVED),
        ("san", "nobody", "Somebody", MISMATCH),
        ("email", "alice", "", MISMATCH),
        ("email", "alice", "CORP\\", MISMATCH),
        ("email", "alice", "A\\B\\alice", MISMATCH),
        ("email", "alice", "alice@example.com@example.com", MISMATCH),
        ("email", "alice", "alice\x00", MISMATCH),
        ("email", "alice", " alice", MISMATCH),
        ("email", "alice", "@example.com", MISMATCH),
    ],
)
def test_basic_logins_against_each_kind_of_name(gateway, mail, people, bind, who, login, verdict, wire):  # noqa: PLR0917
    answer = sync(gateway, people[who], f"/{bind}/x", basic(login), wire=wire)
    assert answer.verdict == verdict
    assert len(mail.received) == (verdict == SERVED)
    if "\x00" not in login and wire.version != TLS_1_2:
        assert record_of(gateway, mail, answer)["user"] == login


@by_version
@pytest.mark.parametrize(
    ("bind", "who", "login", "verdict"),
    [
        ("san", "partner", "alice", MISMATCH),
        ("san", "partner", "carol@partner.example", SERVED),
        ("san", "partner, CN", "c@partner.example", SERVED),
        ("cn", "partner, CN", "alice", MISMATCH),
        ("cn", "partner", "carol@partner.example", SERVED),
        ("cn", "partner", "alice", MISMATCH),
        ("cn", "partner, address in CN", "alice", (403, "certificate_untrusted")),
        ("email", "partner, address in CN", "carol@partner.example", (403, "certificate_untrusted")),
    ],
)
def test_a_ca_for_one_mail_domain_names_no_logins_elsewhere(gateway, mail, people, bind, who, login, verdict, wire):  # noqa: PLR0917
    """Its constraint binds mail addresses: other names would be whatever the partner writes."""
    answer = sync(gateway, people[who], f"/{bind}/x", basic(login), wire=wire)
    assert answer.verdict == verdict
    assert len(mail.received) == (verdict == SERVED)


def test_basic_in_latin_1_as_old_clients_send_it(gateway, mail, people):
    answer = sync(gateway, people["jörg"], "/upn/x", basic("jörg", encoding="latin-1"))
    assert answer.verdict == SERVED
    assert record_of(gateway, mail, answer)["user"] == "jörg"


@by_version
@pytest.mark.parametrize(
    "authorization",
    [
        "Authorization: Bearer abcdef",
        "Authorization: NTLM TlRMTVNTUAABAAAAB4IIogAAAAAAAAAAAAAAAAAAAAAKAO5CAAAADw==",
        "Authorization: Negotiate YIIB",
        "Authorization: Basic !!!",
        "Authorization: Basic YWxpY2U=",
        "Authorization: Basic",
    ],
)
def test_a_login_that_cannot_be_read_belongs_to_nobody(gateway, mail, people, authorization, wire):
    if wire.is_http2 and authorization.split()[1] in ("NTLM", "Negotiate"):
        pytest.skip("a login of the connection is sent to HTTP/1.1")
    answer = sync(gateway, people["alice"], "/email/x", authorization, wire=wire)
    assert answer.verdict == MISMATCH
    assert not mail.received


@by_version
def test_the_servers_challenge_reaches_the_phone_untouched(gateway, mail, people, wire):
    """Without a login there is nothing to compare yet, and a phone asks its user only after this answer."""
    challenge = b'WWW-Authenticate: Basic realm="Mail, \xc3\xbc", charset="UTF-8"'
    mail.answer("/email", lambda dialogue: dialogue.answer(b"who?", challenge, status=b"401 Unauthorized"))
    with wire.client(gateway.port, source=OUTSIDE, identity=people["alice"]) as client:
        answer = client.ask("OPTIONS", f"/email{EAS}")
        assert answer.verdict == (401, None)
        assert challenge.partition(b": ")[2].decode("latin-1") == answer.get("WWW-Authenticate")
        assert answer.body == b"who?"
        assert answer.get("Connection") != "close"
        # The phone comes back on the same connection.
        mail.answer("/email", lambda dialogue: dialogue.answer(b"welcome"))
        assert client.ask("OPTIONS", f"/email{EAS}", basic("alice")).body == b"welcome"
        assert client.ask("OPTIONS", f"/email{EAS}", basic("bob")).verdict == MISMATCH
    first = gateway.log.of(mail.received[0].request_id)
    assert (first["status"], first["reason"], first["user"]) == (401, None, None)


@by_version
@pytest.mark.parametrize("rule", ["/devices", "/both"])
@pytest.mark.parametrize(
    ("method", "query", "verdict"),
    [
        ("POST", plain(), SERVED),
        ("POST", compact(), SERVED),
        ("POST", plain(device=DEVICE.lower()), SERVED),
        ("POST", plain(device="SEC0987"), SERVED),
        ("POST", plain(device=OTHER_DEVICE), NOT_ALLOWED),
        ("POST", compact(device=OTHER_DEVICE), NOT_ALLOWED),
        ("POST", plain(device=None), NOT_ALLOWED),
        ("POST", plain(device=""), NOT_ALLOWED),
        ("POST", plain(device=f"{DEVICE}x"), NOT_ALLOWED),
        ("POST", None, NOT_ALLOWED),
        ("OPTIONS", None, SERVED),
    ],
)
def test_a_stolen_certificate_on_another_phone_is_refused(gateway, mail, people, rule, method, query, verdict, wire):  # noqa: PLR0917
    target = f"{rule}{EAS}" + ("" if query is None else f"?{query}")
    answer = sync(gateway, people["alice"], target, basic("alice"), method=method, wire=wire)
    assert answer.verdict == verdict
    assert len(mail.received) == (verdict == SERVED)


@by_version
def test_a_device_named_twice_is_no_device(gateway, mail, people, wire):
    for query in (f"{plain()}&DeviceId={OTHER_DEVICE}", f"{compact()}&{plain()}"):
        answer = sync(gateway, people["alice"], f"/devices{EAS}?{query}", basic("alice"), wire=wire)
        assert answer.verdict == NOT_ALLOWED
    assert not mail.received


@over_http1
@pytest.mark.parametrize("is_first", [False, True])
def test_a_login_that_belongs_to_the_connection_opens_nobody_elses_mailbox(gateway, mail, people, wire, is_first):
    """alice's certificate and bob's NTLM login on one connection: the mail server takes all of it for bob's."""
    server = ConnectionAuthenticator()
    mail.answer("/email", server)
    mail.answer("/EWS", server)
    with wire.client(gateway.port, source=OUTSIDE, identity=people["alice"]) as client:
        if is_first:
            assert client.ask("GET", "/email/owa").verdict == (401, None)
        assert client.ask("GET", "/EWS", "Authorization: NTLM negotiate").status == 401
        assert client.ask("GET", "/EWS", "Authorization: NTLM bob").body == b"bob"
        assert client.ask("GET", "/EWS/again").body == b"bob"
        reached = len(mail.received)
        answer = client.ask("GET", "/email/owa")
        assert answer.verdict == MISMATCH
        assert b"bob" not in answer.body
        assert client.is_at_end()
    assert len(mail.received) == reached
    with wire.client(gateway.port, source=OUTSIDE, identity=people["alice"]) as client:
        assert client.ask("GET", "/email/owa").verdict == (401, None)
    if wire.version != TLS_1_2:
        record = gateway.log.of(answer.get("X-Request-Id"))
        assert (record["login"], record["user"], record["rule"]) == ("connection", None, "email/email")
        assert "hides its user name" in record["detail"]


@over_http1
def test_requests_behind_a_login_are_judged_when_it_is_there(gateway, mail, people, wire):
    """All of them sent at once: none is let in by what was so when it came."""
    server = ConnectionAuthenticator()
    mail.answer("/email", server)
    mail.answer("/EWS", server)
    with wire.client(gateway.port, source=OUTSIDE, identity=people["alice"]) as client:
        targets = (("/EWS", "Authorization: NTLM bob"), ("/email/owa",))
        client.send(b"".join(client.request("GET", target, *fields) for target, *fields in targets))
        assert client.answer().body == b"bob"
        assert client.answer().verdict == MISMATCH
    assert [request.target for request in mail.received] == [b"/EWS"]


@over_http1
def test_where_connections_are_one_clients_every_basic_login_on_them_must_belong(
    start, people, credentials, mail, wire
):
    bound = {"name": "own", "uri": ["/owa"], "action": "require_certificate", "certificate": {"bind_user": "email"}}
    rules = [bound, {"name": "programs", "uri": ["/EWS"], "action": "allow"}]
    settings = settings_for({**credentials.server, "client_ca": [str(people["ca"])]}, mail.url, rules=rules)
    settings["upstreams"]["mail"]["connections"] = "per_client"
    gateway = start(settings)
    with wire.client(gateway.port, source=OUTSIDE, identity=people["alice"]) as client:
        assert client.ask("GET", "/EWS", basic("alice")).verdict == SERVED
        assert client.ask("GET", "/owa").verdict == SERVED
        assert client.ask("GET", "/EWS", basic("bob")).verdict == SERVED
        assert client.ask("GET", "/owa", basic("alice")).verdict == MISMATCH
    assert len(mail.received) == 3


@over_http1
def test_a_reload_that_binds_the_login_counts_for_connections_that_are_logged_in(
    start, people, credentials, mail, wire
):
    server = ConnectionAuthenticator()
    mail.answer("/owa", server)
    own = {"name": "own", "uri": ["/owa"], "action": "require_certificate"}
    rules = [own, {"name": "all", "action": "allow"}]
    site = {**credentials.server, "client_ca": [str(people["ca"])]}
    gateway = start(settings_for(site, mail.url, rules=rules))
    with wire.client(gateway.port, source=OUTSIDE, identity=people["alice"]) as client:
        assert client.ask("GET", "/owa", "Authorization: NTLM bob").body == b"bob"
        assert client.ask("GET", "/owa").body == b"bob"
        bound = [{**own, "certificate": {"bind_user": "email"}}, {"name": "none", "action": "deny"}]
        gateway.config.write_text(yaml.safe_dump({**gateway.settings, "rules": bound}, sort_keys=False))
        gateway.signal(signal.SIGHUP)
        until(lambda: ask(gateway.port, "/else").verdict == (403, "denied_by_rule"), "the new rules count")
        assert client.ask("GET", "/owa").verdict == MISMATCH
    assert len([request for request in mail.received if request.target == b"/owa"]) == 2


@by_version
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (("Authorization: Basic YWxpY2U6eA==", "Authorization: Basic Ym9iOng="), 400),
        (("Authorization: Basic YWxpY2U6eA==, Basic Ym9iOng=",), 403),
        (("Authorization: Basic YWxpY2U6eA==", "authorization: NTLM bob"), 400),
        (("Authorization: Basic\tYm9iOng=",), 403),
        (("Authorization: Basic Ym9iOng",), 403),  # without its padding
        (('Authorization: Digest username="bob", realm="x", nonce="1", uri="/", response="2"',), 403),
        (("Authorization: SCRAM-SHA-256 data=biwsbj1ib2I",), 403),
        (("Proxy-Authorization: Basic Ym9iOng=",), 200),
        (("Proxy_Authorization: Basic Ym9iOng=",), 200),
        (("Connection: authorization", "Authorization: Basic Ym9iOng="), 403),
    ],
)
def test_no_other_way_to_name_a_user_reaches_the_mail_server(gateway, mail, people, fields, status, wire):
    if wire.is_http2 and fields[0].startswith("Connection:"):
        pytest.skip("HTTP/2 has no such field")
    answer = sync(gateway, people["alice"], "/email/x", *fields, method="GET", body=b"", wire=wire)
    assert answer.status == status
    for request in mail.received:
        assert not [value for _, value in request.fields if b"Ym9iOng" in value and b"NTLM" not in value]


@by_version
@pytest.mark.parametrize("target", ["https://bob:x@mail.example.com/email/x", "//bob:x@mail.example.com/email/x"])
def test_a_user_in_the_target_is_refused(gateway, mail, people, target, wire):
    if wire.is_http2 and target.startswith("https:"):  # there the path alone is sent, so this is malformed
        with pytest.raises(StreamResetError, match="PROTOCOL_ERROR"):
            sync(gateway, people["alice"], target, method="GET", body=b"", wire=wire)
    else:
        answer = sync(gateway, people["alice"], target, method="GET", body=b"", wire=wire)
        assert answer.status in (400, 403)
    assert not mail.received
