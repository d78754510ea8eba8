"""Behind a TCP balancer the client that it names counts, and nobody else can name one.

127.0.0.1 is the balancer's address and inside; what comes through it from outside must not profit from that.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from itertools import count

import pytest
from support.balancer import Balancer
from support.client import TLS_1_2, TLS_1_3, Client, Stream, ask, context_for, parse_head
from support.first_flight import client_hello
from support.gateway import HOST, INSIDE, OUTSIDE, free_port, settings_for
from support.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.e2e

HANDSHAKE_SECONDS = 3.0  # every handshake has to be over in this time, also on a busy machine
PER_ADDRESS = 3
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
numbers = count(1)


@pytest.fixture
def client_ip():
    """An outside address that no other test has in the log."""
    return f"198.51.100.{next(numbers)}"


@pytest.fixture
def stranger():
    """A loopback address that is neither listed nor in the log: it talks to the gateway past the balancer."""
    return f"127.0.1.{next(numbers)}"


@pytest.fixture(scope="module")
def gateway(start, credentials, mail):
    balancers = {"proxy_protocol_from": [f"{INSIDE}/32"]}
    listen = [
        {"address": f"{INSIDE}:{free_port()}", **balancers},
        {"address": f"{INSIDE}:{free_port()}", **balancers, "redirect_to_https": True},
        {"address": f"{INSIDE}:{free_port()}"},
    ]
    limits = {"handshake": f"{HANDSHAKE_SECONDS:g}s", "connections_per_ip": PER_ADDRESS}
    return start(settings_for(credentials.site, mail.url, listen=listen, limits=limits))


@pytest.fixture(scope="module")
def plain_port(gateway):
    return gateway.ports[2]


@pytest.fixture(scope="module")
def haproxy(gateway, tmp_path_factory):
    tls = f"{INSIDE}:{gateway.port}"
    servers = {
        "v1": f"{tls} send-proxy",
        "v2": f"{tls} send-proxy-v2",
        "v2_summed": f"{tls} send-proxy-v2 proxy-v2-options crc32c,unique-id",
        "v2_checked": f"{tls} send-proxy-v2 check inter 100ms check-ssl verify none check-sni {HOST}",
        "v1_checked": f"{tls} send-proxy check inter 100ms check-ssl verify none check-sni {HOST}",
        "redirect": f"{INSIDE}:{gateway.ports[1]} send-proxy-v2",
        "forgotten": tls,
    }
    balancer = Balancer.start(tmp_path_factory.mktemp("haproxy"), servers)
    yield balancer
    balancer.stop()


def v1(client_ip, port=51234):
    return f"PROXY TCP4 {client_ip} 192.0.2.1 {port} 443\r\n".encode()


def v2(client_ip, port=51234, rest=b""):
    block = socket.inet_aton(client_ip) + socket.inet_aton("192.0.2.1") + struct.pack("!HH", port, 443) + rest
    return SIGNATURE + b"\x21\x11" + len(block).to_bytes(2) + block


def connect(port, source=INSIDE):
    made = socket.create_connection((INSIDE, port), timeout=PATIENCE_SECONDS, source_address=(source, 0))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def is_cut(connection):
    """True when the gateway closes without a byte."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def reasons(gateway, address, how_many=1):
    found = gateway.log.of_address(address, how_many)
    assert all(record["method"] is None and record["status"] is None for record in found)
    return [record["reason"] for record in found]


def reason_of(gateway, before, port):
    """Of the one record about the connection from this port, after the first `before`; others may come late."""

    def find():
        return [record for record in gateway.log.records()[before:] if record["client_port"] == port]

    found = until(find, "a record")
    assert len(found) == 1
    assert (found[0]["client_ip"], found[0]["method"]) == (INSIDE, None)
    return found[0]["reason"]


# a real HAProxy


VERSIONS = ["v1", "v2", "v2_summed", "v1_checked", "v2_checked"]


@pytest.mark.parametrize("name", VERSIONS)
def test_behind_haproxy_the_outside_stays_outside(gateway, haproxy, mail, credentials, name):
    port = haproxy.ports[name]

    refused = ask(port, "/webmail", source=OUTSIDE)
    assert refused.verdict == (403, "certificate_missing")
    record = gateway.log.of(refused.get("X-Request-Id"))
    assert (record["client_ip"], record["listener"]) == (OUTSIDE, gateway.settings["listen"][0]["address"])
    assert not mail.received

    assert ask(port, "/webmail", source=OUTSIDE, identity=credentials["alice"]).status == 200
    request = mail.only()
    assert request.values(b"X-Forwarded-For") == [OUTSIDE.encode()]
    assert request.values(b"X-Forwarded-Port") == [b"%d" % port]  # where the client connected to
    assert b"for=127.0.0.2;" in request.values(b"Forwarded")[0]


@pytest.mark.parametrize("name", VERSIONS)
def test_behind_haproxy_the_inside_is_not_asked(gateway, haproxy, mail, name):
    with Client(haproxy.ports[name], source=INSIDE) as client:
        client_port = client.socket.getsockname()[1]
        answer = client.ask("GET", "/webmail")
    assert answer.status == 200
    record = gateway.log.of(mail.only().request_id)
    assert (record["client_ip"], record["client_port"]) == (INSIDE, client_port)


def test_only_the_outside_is_asked_for_a_certificate(haproxy):
    def asks(source):
        requested = []
        context = context_for()
        context._msg_callback = lambda _c, direction, _v, _t, message, _d: requested.append((direction, int(message)))
        with Client(haproxy.ports["v2"], source=source, context=context):
            pass
        return ("read", 13) in requested  # CertificateRequest, RFC 8446 section 4

    assert asks(OUTSIDE)
    assert not asks(INSIDE)


def test_behind_haproxy_over_ipv6(gateway, tmp_path):
    try:
        balancer = Balancer.start(tmp_path, {"v6": f"{INSIDE}:{gateway.port} send-proxy-v2"}, host="::1")
    except AssertionError:
        pytest.skip("this machine has no IPv6")
    try:
        plain = socket.create_connection(("::1", balancer.ports["v6"]), timeout=PATIENCE_SECONDS)
        with context_for().wrap_socket(plain, server_hostname=HOST) as client:
            client.sendall(f"GET /webmail HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            answer = Stream(client).answer()
    finally:
        balancer.stop()
    assert answer.verdict == (403, "certificate_missing")  # ::1 is not in this file's `internal`
    assert gateway.log.of(answer.get("X-Request-Id"))["client_ip"] == "::1"


def test_haproxy_that_was_not_told_to_send_a_header(gateway, haproxy):
    before = len(gateway.log.records())
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(haproxy.ports["forgotten"], "/webmail", source=OUTSIDE)
    until(
        lambda: any("no PROXY header" in (each["reason"] or "") for each in gateway.log.records()[before:]), "a record"
    )


def test_plain_http_behind_haproxy_is_redirected(gateway, haproxy):
    with connect(haproxy.ports["redirect"], OUTSIDE) as client:
        client.sendall(f"GET /webmail HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        answer = parse_head(Stream(client).read_until(b"\r\n\r\n"))
    assert (answer.status, answer.get("Location")) == (308, f"https://{HOST}/webmail")
    assert gateway.log.of(answer.get("X-Request-Id"))["client_ip"] == OUTSIDE


# headers written by hand


@pytest.mark.parametrize("write", [v1, v2])
def test_the_named_client_counts(gateway, mail, credentials, client_ip, write):
    with Client(gateway.port, preamble=write(client_ip)) as client:
        refused = client.ask("GET", "/webmail")
    assert refused.verdict == (403, "certificate_missing")
    assert gateway.log.of(refused.get("X-Request-Id"))["client_port"] == 51234
    with Client(gateway.port, preamble=write(client_ip), identity=credentials["alice"]) as client:
        assert client.ask("GET", "/webmail").status == 200
    assert mail.only().values(b"X-Forwarded-For") == [client_ip.encode()]
    assert mail.only().values(b"X-Forwarded-Port") == [b"443"]


def test_a_mapped_address_counts_as_ipv4(gateway, mail):
    with Client(gateway.port, preamble=b"PROXY TCP6 ::ffff:127.0.0.1 ::ffff:192.0.2.1 51234 443\r\n") as client:
        assert client.ask("GET", "/webmail").status == 200
    assert mail.only().values(b"X-Forwarded-For") == [b"127.0.0.1"]


@pytest.mark.parametrize("header", [LOCAL, b"PROXY UNKNOWN\r\n"])
def test_a_balancer_that_speaks_for_itself_is_its_own_client(gateway, mail, header):
    with Client(gateway.port, preamble=header) as client:
        answer = client.ask("GET", "/webmail")
        source_port = client.socket.getsockname()[1]
    assert answer.status == 200
    record = gateway.log.of(mail.only().request_id)
    assert (record["client_ip"], record["client_port"]) == (INSIDE, source_port)


@pytest.mark.parametrize("write", [v1, v2])
def test_a_header_in_segments_of_one_byte(gateway, mail, client_ip, write):
    header = write(client_ip)
    with connect(gateway.port) as plain:
        for byte in header:
            plain.sendall(bytes((byte,)))
        with context_for().wrap_socket(plain, server_hostname=HOST) as client:
            client.sendall(f"GET /webmail HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            answer = Stream(client).answer()
    assert answer.verdict == (403, "certificate_missing")
    assert gateway.log.of(answer.get("X-Request-Id"))["client_ip"] == client_ip
    assert not mail.received


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_a_header_and_the_hello_in_one_segment(gateway, client_ip, cut):
    data = v2(client_ip) + client_hello(context_for())
    with connect(gateway.port) as client:
        client.sendall(data[: len(data) - cut])
        client.sendall(data[len(data) - cut :])
        assert client.recv(1) == b"\x16"  # a handshake record: the hello was heard


# who may not


@pytest.mark.parametrize("data", [v1(INSIDE), v2(INSIDE), LOCAL, b"", b"GET / HTTP/1.1\r\n\r\n"])
@pytest.mark.parametrize("which", [0, 1])
def test_who_is_not_listed_is_not_heard(gateway, mail, stranger, which, data):
    with connect(gateway.ports[which], stranger) as client:
        with contextlib.suppress(ConnectionError):  # it may have been cut already
            client.sendall(data)
        assert is_cut(client)
    assert reasons(gateway, stranger) == ["the peer is not in proxy_protocol_from"]
    assert not mail.received


@pytest.mark.parametrize("header", [v1(INSIDE), v2(INSIDE)])
def test_a_header_where_none_is_expected_names_nobody(gateway, plain_port, stranger, header):
    with connect(plain_port, stranger) as client:
        client.sendall(header)
        assert client.recv(1) == b"\x15"  # a TLS alert
    assert "PROXY header" in reasons(gateway, stranger)[0]


@pytest.mark.parametrize("write", [v1, v2])
def test_a_second_header_is_the_clients_own_and_refused(gateway, client_ip, write):
    with connect(gateway.port) as client:
        client.sendall(v2(client_ip) + write(INSIDE))
        assert client.recv(1) == b"\x15"
    assert "PROXY header" in reasons(gateway, client_ip)[0]


# balancers gone wrong


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"\x16\x03\x01\x00\x10", "no PROXY header"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "no PROXY header"),
        (b"PROXY TCP4 127.0.0.01 192.0.2.1 1 2\r\n", "an address in the PROXY line"),
        (b"PROXY TCP4 127.0.0.1 192.0.2.1 1 2\n", "lone CR or LF"),
        (b"PROXY UNKNOWN " + b"x" * 100, "107 bytes"),
        (v2(INSIDE, rest=b"\x03\x00\x04aaaa"), "checksum is wrong"),
        (v2(INSIDE, rest=b"\x04\xff\xff"), "beyond"),
        (SIGNATURE + b"\x21\x11\xff\xff", "the limit is 4096"),
        (SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216), "a Unix stream"),
        (SIGNATURE[:-1] + b"X", "no PROXY header"),
    ],
)
@pytest.mark.parametrize("which", [0, 1])
def test_a_header_that_is_wrong_ends_the_connection(gateway, mail, which, data, cause):
    before = len(gateway.log.records())
    with connect(gateway.ports[which]) as client:
        port = client.getsockname()[1]
        client.sendall(data)
        assert is_cut(client)
    assert cause in reason_of(gateway, before, port)
    assert not mail.received


@pytest.mark.parametrize("data", [b"", b"P", v2(INSIDE)[:-1], v1(INSIDE)[:-1]])
def test_a_header_that_does_not_come_in_time(gateway, data):
    before = len(gateway.log.records())
    began = time.monotonic()
    with connect(gateway.port) as client:
        port = client.getsockname()[1]
        client.sendall(data)
        assert is_cut(client)
    assert time.monotonic() - began >= HANDSHAKE_SECONDS
    assert reason_of(gateway, before, port) == "no PROXY header within the handshake time"


def test_a_connection_that_ends_in_its_header_is_on_record_and_a_mere_probe_is_not(gateway):
    before = len(gateway.log.records())
    connect(gateway.port).close()
    with connect(gateway.port) as client:
        port = client.getsockname()[1]
        client.sendall(v2(INSIDE)[:20])
    assert reason_of(gateway, before, port) == "the connection ended in the middle of its PROXY header"


def test_connections_are_counted_for_the_client_and_not_for_the_balancer(gateway, client_ip):
    def opened(address):
        return Client(gateway.port, preamble=v2(address))

    clients = [opened(client_ip) for _ in range(PER_ADDRESS)]
    try:
        with opened(client_ip) as above:
            assert above.ask("GET", "/webmail").verdict == (429, "too_many_connections")
        others = [opened(f"203.0.113.{number}") for number in range(PER_ADDRESS + 1)]
        clients += others
        assert {other.ask("GET", "/webmail").reason for other in others} == {"certificate_missing"}
        clients.pop(0).close()
        until(lambda: _is_served(opened(client_ip)), "a place is free again")
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["TLS 1.2", "TLS 1.3"])
def test_an_ipv6_client_is_counted_as_its_64(gateway, version):
    """It has 2^64 addresses to come from: each of its connections may have another."""
    with contextlib.ExitStack() as clients:

        def opened(address):
            preamble = f"PROXY TCP6 {address} 2001:db8::443 51234 443\r\n".encode()
            return clients.enter_context(Client(gateway.port, preamble=preamble, version=version))

        network = f"2001:db8:1:{next(numbers):x}"
        for number in range(PER_ADDRESS):
            opened(f"{network}:{number}::1")
        assert opened(f"{network}::ffff").ask("GET", "/webmail").verdict == (429, "too_many_connections")
        neighbour = f"2001:db8:1:{next(numbers):x}::1"
        assert opened(neighbour).ask("GET", "/webmail").reason == "certificate_missing"


def test_handshakes_of_an_ipv6_client_are_counted_as_its_64(start, credentials, mail):
    """An address for each handshake is no way around; another network is served as before."""
    listen = [{"address": f"{INSIDE}:{free_port()}", "proxy_protocol_from": [INSIDE]}]
    limits = {"handshakes_per_second_per_ip": 1}
    gateway = start(settings_for(credentials.site, mail.url, listen=listen, limits=limits))

    def shakes_hands(address):
        try:
            Client(gateway.port, preamble=f"PROXY TCP6 {address} 2001:db8::443 51234 443\r\n".encode()).close()
        except (OSError, EOFError):
            return False
        return True

    done = next(number for number in range(100) if not shakes_hands(f"2001:db8:2:1:{number:x}::1"))
    assert done >= 3
    assert shakes_hands("2001:db8:2:2::1")
    (record,) = gateway.log.of_address(f"2001:db8:2:1:{done:x}::1")
    assert record["reason"] == "too many handshakes from this address"


def _is_served(client):
    with client:
        return client.ask("GET", "/webmail").reason == "certificate_missing"
