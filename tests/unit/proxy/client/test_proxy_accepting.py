"""From an accepted socket to TLS: the first bytes, and all that can be wrong with them."""

from dataclasses import replace

import pytest
from OpenSSL import SSL
from support import pki
from support.dialogue import HOST, INSIDE, OUTSIDE, SocketEnd, TlsClient, get, header, response, status

from gateway.config.model import Listener
from gateway.proxy.client.accepting import AcceptedConnection
from gateway.proxy.client.http1 import Http1Connection
from gateway.proxy.connections import REFUSED_CONNECTIONS
from gateway.proxy.limits.rates import BURST_SECONDS
from gateway.proxy.lingering import BRIEF_LINGER_SECONDS, LINGER_IDLE_SECONDS, MAX_LINGERING_BYTES
from gateway.tls.client_hello import ILLEGAL_PARAMETER, alert
from gateway.tls.layer import TlsLayer

LISTENER = Listener("127.0.0.1:443", "127.0.0.1", 443)


def accept(world, address=INSIDE, listener=LISTENER):
    peer = None if address is None else (address, 40000)
    return SocketEnd(world, AcceptedConnection(world.service, listener), peer)


def test_a_whole_exchange_over_real_tls(world):
    end = accept(world)
    client = TlsClient(end)
    client.shakes_hands()
    assert isinstance(end.protocol, TlsLayer)
    client.says(get())
    world.accepts().says(response(body=b"hello"))
    assert client.hears().endswith(b"hello")
    record = world.record
    assert (record["client_ip"], record["client_port"], record["listener"]) == (INSIDE, 40000, "127.0.0.1:443")
    assert (record["tls_version"], record["tls_resumed"], record["site"]) == ("TLSv1.3", False, HOST)
    assert world.service.status()["counters"]["handshakes"] == {"full": 1, "resumed": 0, "failed": 0}


@pytest.mark.parametrize(("public_port", "told"), [(None, "443"), (9443, "9443")])
def test_the_mail_server_is_told_the_port_of_the_clients_urls(world, public_port, told):
    client = TlsClient(accept(world, listener=replace(LISTENER, public_port=public_port)))
    client.shakes_hands()
    client.says(get(host=f"{HOST}:9443"))
    head = world.accepts().hears()
    assert header(head, "Host") == (HOST if public_port is None else f"{HOST}:9443")
    assert header(head, "X-Forwarded-Port") == told


def test_a_client_hello_may_come_byte_by_byte(world):
    end = accept(world)
    client = TlsClient(end)
    with pytest.raises(SSL.WantReadError):
        client.connection.do_handshake()
    for byte in client.connection.bio_read(65536):
        assert isinstance(end.protocol, AcceptedConnection)
        end.says(bytes((byte,)))
    client.shakes_hands()
    assert isinstance(end.protocol, TlsLayer)


def test_inside_nobody_is_asked_for_a_certificate_and_outside_everybody(world):
    inside, outside = TlsClient(accept(world)), TlsClient(accept(world, OUTSIDE))
    inside.shakes_hands()
    outside.shakes_hands()
    assert inside.asked_names == []
    assert [name.CN for name in outside.asked_names] == ["Test Root"]


def test_a_certificate_opens_the_door_and_a_strangers_a_page(files, world):
    alice = TlsClient(accept(world, OUTSIDE), leaf=files.ca.issue("CN=alice"))
    alice.shakes_hands()
    alice.says(get())
    world.accepts().says(response(body=b"welcome"))
    assert alice.hears().endswith(b"welcome")
    mallory = TlsClient(accept(world, OUTSIDE), leaf=pki.Ca.make("CN=Other").issue("CN=alice"))
    mallory.shakes_hands()
    mallory.says(get())
    answer = mallory.hears()
    assert (status(answer), header(answer, "X-Gateway-Reason")) == (403, "certificate_untrusted")
    assert world.records[-1]["cert_subject"] == "CN=alice"


def test_a_site_without_client_cas_asks_nobody(files, make_world):
    site = {key: value for key, value in files.site().items() if key != "client_ca"}
    world = make_world(sites=[site], rules=[{"name": "all", "action": "allow"}])
    client = TlsClient(accept(world, OUTSIDE))
    client.shakes_hands()
    assert client.asked_names == []


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("other.example.com", "no site has the host other.example.com"),
        (None, "no server name, and no site has the host '*'"),
    ],
)
def test_an_unknown_server_name_gets_an_alert(world, host, reason):
    end = accept(world)
    with pytest.raises(SSL.Error, match="unrecognized name"):
        TlsClient(end, host).shakes_hands()
    assert end.is_lost
    assert world.record["reason"] == reason
    assert world.record["method"] is None


def test_the_fallback_site_takes_every_server_name(files, make_world):
    world = make_world(sites=[files.site("*")])
    for host in ("other.example.com", None):
        TlsClient(accept(world), host).shakes_hands()


def test_plain_http_gets_an_answer_that_a_person_can_read(world):
    end = accept(world)
    end.says(get())
    answer = end.hears()
    assert (status(answer), header(answer, "X-Gateway-Reason")) == (400, "bad_request")
    assert int(header(answer, "Content-Length")) == len(answer.partition(b"\r\n\r\n")[2])
    assert end.has_said_eof
    end.says(b"the rest of an upload")
    assert not end.is_lost
    world.passes(LINGER_IDLE_SECONDS + 2)
    assert end.is_lost
    assert len(world.log) == 1


def test_plain_http_that_goes_on_for_ever_is_cut(world):
    end = accept(world)
    end.says(get())
    end.says(bytes(MAX_LINGERING_BYTES + 1))
    assert end.is_lost
    assert len(world.log) == 1


def test_what_is_neither_gets_an_alert(world):
    end = accept(world)
    end.says(b"\x00nonsense")
    assert end.hears()[0] == 21
    assert len(world.log) == 1


def test_bytes_behind_the_end_are_not_looked_at(world):
    end = accept(world)
    end._is_closing = True
    end.protocol.data_received(b"nonsense")
    assert world.log == []


def test_who_says_nothing_is_cut(world):
    end = accept(world)
    world.passes(9)
    assert not end.is_lost
    world.passes(3)
    assert end.is_lost
    assert world.record["reason"] == "no ClientHello within the handshake time"
    assert world.record["config"] == world.service.snapshot.config.digest
    assert world.service.connections.open == set()


def test_who_leaves_before_tls_leaves_nothing_behind(world):
    end = accept(world)
    end.goes()
    assert world.log == []
    assert world.service.connections.open == set()
    assert world.service.connections._per_address == {}


def test_who_leaves_within_its_client_hello_is_on_record_once(world):
    client = TlsClient(end := accept(world))
    with pytest.raises(SSL.WantReadError):
        client.connection.do_handshake()
    end.says(client.connection.bio_read(65536)[:100])
    end.goes()
    assert world.record["reason"] == "the connection ended in the middle of its ClientHello"
    assert world.service.status()["counters"]["handshakes"]["failed"] == 1
    assert world.service.connections.open == set()


def test_who_is_refused_for_its_client_hello_is_on_record_once(world):
    end = accept(world)
    end.says(b"nonsense")
    end.goes()
    assert len(world.log) == 1


def test_who_is_gone_before_it_was_looked_at_leaves_nothing_behind(world):
    end = accept(world, None)
    assert end.is_lost
    assert world.service.connections.open == set()


def test_a_handshake_that_breaks_is_on_record_once(world):
    end = accept(world)
    client = TlsClient(end)
    with pytest.raises(SSL.WantReadError):
        client.connection.do_handshake()
    end.says(client.connection.bio_read(65536))
    end.says(b"\x16\x03\x03\x00\x04nope")
    assert world.record["reason"].startswith("handshake_failed: ")
    assert end.has_said_eof
    end.says(b"more")
    world.passes(BRIEF_LINGER_SECONDS - 1)
    assert not end.is_lost
    world.passes(2)
    assert end.is_lost
    assert world.service.connections.open == set()
    assert len(world.log) == 1


def test_a_hello_above_the_limit_gets_its_alert_and_time_to_read_it(world):
    end = accept(world)
    end.says(b"\x16\x03\x01\x00\x10\x01\x00\x80\x01" + bytes(12))
    assert end.hears() == alert(ILLEGAL_PARAMETER)
    assert world.record["reason"] == "a ClientHello of 32773 bytes; the limit is 32768"
    assert end.has_said_eof
    end.says(bytes(100_000))
    world.passes(BRIEF_LINGER_SECONDS - 1)
    assert not end.is_lost
    world.passes(2)
    assert end.is_lost
    assert len(world.log) == 1


def test_all_of_a_handshake_has_one_time_limit(world):
    client = TlsClient(end := accept(world))
    with pytest.raises(SSL.WantReadError):
        client.connection.do_handshake()
    world.passes(8)
    end.says(client.connection.bio_read(65536))
    world.passes(1)
    assert not end.is_lost
    world.passes(3)
    assert end.is_lost
    assert world.record["reason"] == "handshake_failed: not finished within 10 s"


def hello_of(end):
    """A client's first flight."""
    client = TlsClient(end)
    with pytest.raises(SSL.WantReadError):
        client.connection.do_handshake()
    return client.connection.bio_read(65536)


def test_handshakes_that_begin_at_once_wait_for_their_turns(world):
    ends = [accept(world) for _ in range(5)]
    hellos = [hello_of(end) for end in ends]
    seen = []

    def receive():
        for end, hello in zip(ends, hellos, strict=True):
            end.protocol.data_received(hello)
            seen.append((end.is_paused, bytes(end.heard)))

    world.does(receive)
    assert seen == [(True, b"")] * 5
    assert [(end.is_paused, bool(end.heard)) for end in ends] == [(False, True)] * 5


def test_a_handshake_whose_connection_ends_before_its_turn_never_begins(world):
    end = accept(world)
    hello = hello_of(end)

    def receive():
        end.protocol.data_received(hello)
        end.abort()

    world.does(receive)
    assert not end.heard
    assert world.record["reason"] == "the connection ended in the middle of its ClientHello"


def test_leaving_within_the_handshake_is_on_record_once(world):
    end = accept(world)
    client = TlsClient(end)
    with pytest.raises(SSL.WantReadError):
        client.connection.do_handshake()
    end.says(client.connection.bio_read(65536))
    end.goes()
    assert world.record["reason"] == "handshake_failed: the client went away during the handshake"


def test_the_connection_over_the_limit_gets_a_page_and_many_more_nothing(make_world):
    world = make_world(limits={"connections_per_ip": 1})
    first = accept(world)
    client = TlsClient(accept(world))
    client.shakes_hands()
    client.says(get())
    assert header(client.hears(), "X-Gateway-Reason") == "too_many_connections"
    while len(world.service.connections.open) < 1 + REFUSED_CONNECTIONS:
        accept(world)
    world.log.clear()
    late = accept(world)
    assert late.is_lost
    assert late.hears() == b""
    assert world.record["reason"] == "too many connections"
    assert not first.is_lost


def test_too_many_handshakes_from_one_address_are_not_begun(make_world):
    world = make_world(limits={"handshakes_per_second_per_ip": 1})
    done = 0
    for _ in range(10):
        end = accept(world)
        try:
            TlsClient(end).shakes_hands()
        except SSL.Error:
            break
        if not isinstance(end.protocol, TlsLayer):
            break
        done += 1
    assert done == BURST_SECONDS + 1
    assert world.records[-1]["reason"] == "too many handshakes from this address"


def test_draining_cuts_what_has_not_begun(world):
    end = accept(world)
    world.does(world.service.connections.drain)
    assert end.is_lost


def test_a_reload_waits_for_the_client_hello(files, world):
    end = accept(world)
    world.does(world.service.adopt, files.snapshot(sites=[files.site("other.example.com")]))
    with pytest.raises(SSL.Error):
        TlsClient(end).shakes_hands()
    assert world.record["reason"] == f"no site has the host {HOST}"


def test_closing_with_close_notify_ends_the_connection(world):
    end = accept(world)
    client = TlsClient(end)
    client.shakes_hands()
    (connection,) = world.service.connections.open
    assert isinstance(connection, Http1Connection)
    client.connection.shutdown()
    client.hears()
    assert end.is_lost
    assert world.service.connections.open == set()


def test_cutting_closes_at_once(world):
    end = accept(world)
    world.does(world.service.connections.cut)
    assert end.is_lost
