"""The choice of the protocol inside TLS: before the handshake, and by OpenSSL in real ones."""

import contextlib
from dataclasses import replace
from time import time

import pytest
from OpenSSL import SSL
from support.loaded import certificate_file, key_file
from support.pki import server

from gateway.config.model import Site
from gateway.tls.alpn import chosen_protocol, names_of
from gateway.tls.client_hello import peek
from gateway.tls.contexts import build_site

BOTH = ("h2", "http/1.1")
CHOICES = [
    ((), BOTH, None),
    ((b"h2",), BOTH, b"h2"),
    ((b"http/1.1", b"h2"), BOTH, b"h2"),  # our order counts, not the client's
    ((b"h2", b"http/1.1"), ("http/1.1", "h2"), b"http/1.1"),
    ((b"h2", b"http/1.1"), ("http/1.1",), b"http/1.1"),
    ((b"http/1.0",), BOTH, b"http/1.0"),
    ((b"h2",), ("http/1.1",), None),
    ((b"H2", b"h2c", b"HTTP/1.1", b"h"), BOTH, None),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    certificate, key = server(tmp_path_factory.mktemp("alpn"))
    return Site(("mail.example.com",), certificate_file(certificate), key_file(key), "mail")


def step(connection):
    with contextlib.suppress(SSL.WantReadError):
        connection.do_handshake()
    with contextlib.suppress(SSL.WantReadError):
        return connection.bio_read(1 << 17)
    return b""


@pytest.mark.parametrize(("offered", "ours", "expected"), CHOICES)
def test_the_choice(offered, ours, expected):
    assert chosen_protocol(offered, names_of(ours)) == expected


@pytest.mark.parametrize("asks", [False, True], ids=["silent", "asking"])
@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION], ids=["TLS 1.2", "TLS 1.3"])
@pytest.mark.parametrize(("offered", "ours", "expected"), CHOICES)
def test_the_handshake_makes_the_choice_that_the_hello_tells(site, offered, ours, expected, version, asks):
    tls = build_site(replace(site, protocols=ours))
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    if offered:
        context.set_alpn_protos(list(offered))
    client = SSL.Connection(context, None)
    client.set_connect_state()
    flight = step(client)
    hello = peek(flight)
    assert hello.alpn == offered
    assert chosen_protocol(hello.alpn, tls.protocols) == expected

    connection = tls.connection(hello, asks=asks, may_resume=lambda *_: False, unix_seconds=time())
    connection.bio_write(flight)
    if offered and expected is None:
        with pytest.raises(SSL.Error, match="no application protocol"):
            connection.do_handshake()
        return
    while answer := step(connection):
        client.bio_write(answer)
        if flight := step(client):
            connection.bio_write(flight)
    assert (connection.get_alpn_proto_negotiated() or None) == expected
    assert (client.get_alpn_proto_negotiated() or None) == expected
