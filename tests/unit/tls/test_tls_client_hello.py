"""The server name of a real client's hello, however it is cut; and what is no hello."""

import ssl

import pytest

from gateway.tls.client_hello import (
    ILLEGAL_PARAMETER,
    MAX_CIPHER_SUITES,
    MAX_CLIENT_HELLO_BYTES,
    MAX_EXTENSIONS,
    MAX_FIRST_FLIGHT_BYTES,
    MAX_PROTOCOLS,
    MAX_RECORD_BYTES,
    TLS_1_2,
    TLS_1_3,
    ClientHello,
    ClientHelloError,
    ClientHelloReader,
    alert,
    peek,
)


def real_hello(name="mail.example.com", protocols=("h2", "http/1.1"), **versions):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(list(protocols))
    for key, value in versions.items():
        setattr(context, key, value)
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def vector(data, size_bytes=2):
    return len(data).to_bytes(size_bytes) + data


def sni(*names, kind=0):
    return (0, vector(b"".join(bytes((kind,)) + vector(name) for name in names)))


def body(extensions=(), *, suites=b"\x13\x01", compression=b"\x00", session_id=b"", tail=b""):
    encoded = b"".join(number.to_bytes(2) + vector(data) for number, data in extensions)
    return (
        *(b"\x03\x03", bytes(32), vector(session_id, 1), vector(suites), vector(compression, 1)),
        vector(encoded) + tail,
    )


def message(*parts, kind=1):
    return bytes((kind,)) + vector(b"".join(parts), 3)


def record(data, kind=22, major=3):
    return bytes((kind, major, 1)) + vector(data)


def hello(*extensions, **options):
    return record(message(*body(extensions, **options)))


def refused(data):
    with pytest.raises(ClientHelloError) as caught:
        peek(data)
    return caught.value


def test_a_real_clients_hello():
    assert peek(real_hello("Mail.Example.com")) == ClientHello(
        "mail.example.com", (b"h2", b"http/1.1"), (TLS_1_3, TLS_1_2)
    )


def test_a_client_without_tls_1_3():
    found = peek(real_hello(maximum_version=ssl.TLSVersion.TLSv1_2))
    assert found.versions == (TLS_1_2,)
    assert not found.has_tls_1_3
    assert peek(real_hello()).has_tls_1_3


def test_no_server_name_no_extensions():
    assert peek(hello()) == ClientHello(None, (), (TLS_1_2,))
    bare = message(b"\x03\x03", bytes(32), b"\x00", vector(b"\x00\x2f"), b"\x01\x00")
    assert peek(record(bare)) == ClientHello(None, (), (TLS_1_2,))


def test_every_split_over_two_segments_gives_the_same_answer():
    data = real_hello()
    expected = peek(data)
    for cut in range(len(data)):
        assert peek(data[:cut]) is None
        reader = ClientHelloReader()
        assert reader.feed(data[:cut]) is None
        assert reader.feed(memoryview(data)[cut:]) == expected
        assert reader.received == data


def test_every_split_over_two_records_gives_the_same_answer():
    data = real_hello()
    handshake = data[5:]
    for cut in range(1, len(handshake)):
        assert peek(record(handshake[:cut]) + record(handshake[cut:])) == peek(data)


def test_one_byte_records_in_one_byte_segments():
    data = real_hello()
    reader = ClientHelloReader()
    stream = b"".join(record(data[index : index + 1]) for index in range(5, len(data)))
    answers = [reader.feed(stream[index : index + 1]) for index in range(len(stream))]
    assert answers == [None] * (len(stream) - 1) + [peek(data)]


def test_what_follows_the_hello_is_kept_for_the_handshake():
    reader = ClientHelloReader()
    assert reader.feed(real_hello() + b"\x14\x03\x03\x00\x01\x01").server_name == "mail.example.com"
    assert reader.received.endswith(b"\x14\x03\x03\x00\x01\x01")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"mail.example.com", "mail.example.com"),
        (b"MAIL.example.COM.", "mail.example.com"),
        (b"xn--mller-kva.example", "xn--mller-kva.example"),
        (b"_srv.a-b.example", "_srv.a-b.example"),
        (b"localhost", "localhost"),
        (b"192.0.2.1", None),
        (b"192.0.2.1.", None),
        (b"2001:db8::1", None),
        (b"[2001:db8::1]", None),
        (b"1.2.3.999", "1.2.3.999"),
        (b"a" * 63 + b"." + b"b" * 63 + b"." + b"c" * 63 + b"." + b"d" * 61, "-"),
    ],
)
def test_server_names(name, expected):
    assert peek(hello(sni(name))).server_name == (name.decode() if expected == "-" else expected)


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b".",
        b"mail.example.com\x00.evil.example",
        b"mail example.com",
        b"mail..example.com",
        b".example.com",
        b"example.com..",
        b"m\xc3\xbcller.example",
        b"mail.example.com\n",
        b"mail.example.com:443",
        b"*.example.com",
        b"a" * 64 + b".example",
        b"a" * 63 + b"." + b"b" * 63 + b"." + b"c" * 63 + b"." + b"d" * 62,
        b"\xff",
    ],
)
def test_names_that_are_no_dns_names_are_refused(name):
    refused(hello(sni(name)))


@pytest.mark.parametrize(
    "data",
    [
        hello(sni(b"a.example", b"b.example")),
        hello(sni(b"a.example", kind=1)),
        hello((0, vector(b""))),
        hello((0, b"")),
        hello((0, vector(b"\x00" + vector(b"a.example")) + b"\x00")),
        hello((0, vector(b"\x00" + (99).to_bytes(2) + b"a.example"))),
    ],
)
def test_a_server_name_extension_holds_exactly_one_host_name(data):
    refused(data)


@pytest.mark.parametrize("number", [0, 16, 43, 99])
def test_an_extension_that_comes_twice_is_refused(number):
    content = {0: sni(b"a.example")[1], 16: vector(vector(b"h2", 1)), 43: b"\x02\x03\x04"}.get(number, b"")
    assert peek(hello((number, content))) is not None
    assert refused(hello((number, content), (number, content))).description == 47


@pytest.mark.parametrize("content", [b"", b"\x00", b"\x00\x00", b"\x00\x01\x00", vector(b"\x09h2"), b"\x00\x09\x02h2"])
def test_malformed_protocol_lists_are_refused(content):
    refused(hello((16, content)))


@pytest.mark.parametrize("content", [b"", b"\x00", b"\x02\x03", b"\x03\x03\x04\x03", b"\x04\x03\x04", b"\x00\x03\x04"])
def test_malformed_version_lists_are_refused(content):
    refused(hello((43, content)))


@pytest.mark.parametrize(
    "data",
    [
        record(message(b"\x03\x03", bytes(31))),
        record(message(b"\x03\x03", bytes(32))),
        record(message(b"\x03\x03", bytes(32), b"\x05")),
        hello(session_id=bytes(33)),
        hello(suites=b""),
        hello(suites=b"\x13\x01\x13"),
        hello(compression=b""),
        hello(tail=b"\x00"),
        record(message(*body()[:-1], b"\x00")),
        record(message(*body()[:-1], vector(b"\x00\x00\x00"))),
        record(message(*body()[:-1], vector(b"\x00\x00\x00\x05a"))),
        record(message(*body(), kind=2)),
        record(message(*body()) + b"\x01"),
        record(message(*body())[:20], major=2),
        record(message(*body())[:20]) + record(b"\x01", kind=21),
        record(message(*body())[:20]) + record(b""),
        b"\x16\x03\x01" + (MAX_RECORD_BYTES + 1).to_bytes(2),
        b"\x80\x2e\x01\x00\x02",  # SSLv2
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x00",
    ],
)
def test_malformed_hellos_are_refused(data):
    assert not refused(data).is_plain_http


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n", b"G ", b"POST ", b"PRI * HTTP/2.0\r\n", b"BPROPFIND ", b"A" * 20 + b" "]
)
def test_plain_http_is_recognised_from_its_first_bytes(data):
    assert all(peek(data[:cut]) is None for cut in range(min(data.index(b" ") + 1, 21)))
    assert refused(data).is_plain_http
    assert refused(data).description == 10


@pytest.mark.parametrize(
    "data", [b"PROXY TCP4 ", b"\r\n\r\n\x00\r\nQUIT\n", b"get / ", b"EHLO\r\n", b"A" * 21, b" GET / "]
)
def test_other_protocols_are_not_plain_http(data):
    assert not refused(data).is_plain_http


@pytest.mark.parametrize("data", [b"PROXY TCP4 ", b"\r\n\r\n\x00\r\nQUIT\n", b"\r"])
def test_a_proxy_header_that_nobody_asked_for_is_called_so(data):
    assert "PROXY header" in refused(data).cause


def padded(total_bytes):
    missing = total_bytes - len(message(*body([sni(b"a.example"), (21, b"")])))
    return message(*body([sni(b"a.example"), (21, bytes(missing))]))


def records(data):
    return b"".join(record(data[at : at + MAX_RECORD_BYTES]) for at in range(0, len(data), MAX_RECORD_BYTES))


def test_the_longest_hello_and_one_byte_more():
    assert peek(records(padded(MAX_CLIENT_HELLO_BYTES))).server_name == "a.example"
    assert str(MAX_CLIENT_HELLO_BYTES) in refused(records(padded(MAX_CLIENT_HELLO_BYTES + 1))).cause


def test_the_longest_record():
    assert peek(record(padded(MAX_RECORD_BYTES))).server_name == "a.example"


def test_the_longest_first_flight_and_one_byte_more():
    data = padded(MAX_CLIENT_HELLO_BYTES)
    stream = b"".join(record(data[index : index + 1]) for index in range(len(data)))
    assert peek(stream[:MAX_FIRST_FLIGHT_BYTES]) is None
    assert str(MAX_FIRST_FLIGHT_BYTES) in refused(stream[: MAX_FIRST_FLIGHT_BYTES + 1]).cause


def test_an_alert_is_one_fatal_record():
    assert alert(112) == b"\x15\x03\x03\x00\x02\x02\x70"


def test_a_client_understands_the_alert():
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(incoming, outgoing, server_hostname="a.example")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    incoming.write(alert(112))
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
        client.do_handshake()


def alpn(count):
    return (16, vector(vector(b"x", 1) * count))


@pytest.mark.parametrize(
    ("limit", "make"),
    [
        (MAX_PROTOCOLS, lambda count: hello(alpn(count))),
        (MAX_EXTENSIONS, lambda count: hello(*((1000 + number, b"") for number in range(count)))),
        (MAX_CIPHER_SUITES, lambda count: hello(suites=b"\x13\x01" * count)),
    ],
)
def test_a_hello_may_have_so_many_of_each_and_no_more(limit, make):
    assert peek(make(limit)).versions == (TLS_1_2,)
    error = refused(make(limit + 1))
    assert str(error).startswith(f"more than {limit} ")
    assert error.description == ILLEGAL_PARAMETER
