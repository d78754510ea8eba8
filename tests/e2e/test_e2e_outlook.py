"""What Outlook and Exchange put on the wire beside plain requests: a pair of connections that trickle in both
directions for hours, and URLs and cookies that name the server as it is called inside.
"""

from __future__ import annotations

import threading

import pytest
from support.gateway import HOST, OUTSIDE, settings_for
from support.waiting import until

pytestmark = pytest.mark.e2e

INTERNAL = "exchange.internal"
GIBIBYTE = 1 << 30
PATH = "/rpc/rpcproxy.dll?exchange.internal:6001"
RULES = [
    {"name": "Outlook and DAV", "uri": ["/rpc", "/dav", "/owa"], "action": "require_certificate"},
    {"name": "Everything else", "action": "deny"},
]


@pytest.fixture(scope="module")
def gateway(start, credentials, mail):
    """The mail server is asked under a name of its own, so names are rewritten by default."""
    settings = settings_for(credentials.site, mail.url, rules=RULES)
    settings["upstreams"]["mail"]["host"] = INTERNAL
    return start(settings)


@pytest.fixture
def client(gateway, credentials, wire):
    with wire.client(gateway.port, source=OUTSIDE, identity=credentials["alice"]) as made:
        yield made


def test_both_channels_of_outlook_anywhere_are_open_at_once_and_nothing_is_held_back(
    gateway, mail, client, credentials, wire
):
    """Each call that trickles in on one connection is answered on the other, before either has ended."""
    channels, is_over = {}, threading.Event()

    def remember(dialogue):
        channels[dialogue.request.method] = dialogue
        assert is_over.wait(60)

    mail.answer("/rpc", remember)
    with wire.client(gateway.port, source=OUTSIDE, identity=credentials["alice"]) as calls:
        incoming = calls.start("RPC_IN_DATA", PATH, length=GIBIBYTE)
        outgoing = client.start("RPC_OUT_DATA", PATH, body=b"o" * 76)
        until(lambda: len(channels) == 2, "both channels are there")
        inwards, outwards = channels[b"RPC_IN_DATA"], channels[b"RPC_OUT_DATA"]
        assert inwards.request.values(b"Content-Length") == [b"%d" % GIBIBYTE]
        assert outwards.read(76) == b"o" * 76
        outwards.send(b"HTTP/1.1 200 Success\r\nContent-Type: application/rpc\r\nContent-Length: %d\r\n\r\n" % GIBIBYTE)
        assert outgoing.head().status == 200
        for number in range(20):
            call, answer = b"call %04d" % number, b"answer %04d" % number
            incoming.send(call)
            assert inwards.read_some(len(call)) == call
            outwards.send(answer)
            assert outgoing.read(len(answer)) == answer
        ids = [channel.request.request_id for channel in (inwards, outwards)]
    client.close()
    records = [gateway.log.of(request_id) for request_id in ids]
    is_over.set()
    assert [(record["method"], record["status"]) for record in records] == [
        ("RPC_IN_DATA", None),
        ("RPC_OUT_DATA", 200),
    ]
    assert (records[0]["bytes_in"], records[1]["bytes_out"]) == (20 * len("call 0000"), 20 * len("answer 0000"))


@pytest.mark.parametrize("method", ["COPY", "MOVE"])
def test_a_destination_reaches_the_server_under_its_own_name(mail, client, method):
    assert client.ask(method, "/dav/a", f"Destination: https://{HOST}/dav/b%20c?d", "Overwrite: F").status == 200
    request = mail.only()
    assert request.values(b"Host") == [INTERNAL.encode()]
    assert request.values(b"Destination") == [b"http://exchange.internal/dav/b%20c?d"]
    assert request.values(b"Overwrite") == [b"F"]


def test_urls_and_cookies_of_the_server_reach_the_client_under_the_public_name(mail, client):
    def answer(dialogue):
        dialogue.answer(
            b"",
            b"Location: https://exchange.internal/owa/auth?url=http%3a%2f%2fexchange.internal",
            b"Content-Location: http://exchange.internal/owa/",
            b"X-MS-Location: https://exchange.internal/Microsoft-Server-ActiveSync",
            b"Set-Cookie: a=1; Domain=.exchange.internal; Path=/",
            b"Set-Cookie: b=2; HttpOnly",
            status=b"451 Redirect",
        )

    mail.answer("/owa", answer)
    got = client.ask("GET", "/owa")
    assert got.status == 451
    assert got.get("Location") == f"https://{HOST}/owa/auth?url=http%3a%2f%2fexchange.internal"
    assert got.get("Content-Location") == f"https://{HOST}/owa/"
    assert got.get("X-MS-Location") == f"https://{HOST}/Microsoft-Server-ActiveSync"
    cookies = [value for name, value in got.fields if name.lower() == "set-cookie"]
    assert cookies == [f"a=1; Domain={HOST}; Path=/; Secure", "b=2; HttpOnly; Secure"]


@pytest.mark.parametrize("changes", [{"host": "preserve"}, {"host": INTERNAL, "rewrite_location": False}])
def test_where_nothing_is_to_be_rewritten_all_is_as_it_came(start, credentials, mail, changes, wire):
    settings = settings_for(credentials.site, mail.url, rules=RULES)
    settings["upstreams"]["mail"] |= changes
    port = start(settings).port
    field, cookie = f"http://{INTERNAL}/owa/", f"a=1; Domain={INTERNAL}"
    mail.answer("/owa", lambda dialogue: dialogue.answer(b"", f"Location: {field}\r\nSet-Cookie: {cookie}".encode()))
    with wire.client(port, source=OUTSIDE, identity=credentials["alice"]) as client:
        got = client.ask("COPY", "/owa", f"Destination: https://{HOST}/owa/b")
    assert (got.get("Location"), got.get("Set-Cookie")) == (field, cookie)
    assert mail.only().values(b"Destination") == [f"http://{HOST}/owa/b".encode()]
