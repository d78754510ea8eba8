"""What the layer tells of the TCP connection below: where it came in, and what the client has not taken yet."""

import socket

import pytest
from OpenSSL import SSL

from gateway.facts import Endpoint, parse_address
from gateway.tls.layer import TlsLayer


class Accepted:
    """A socket's transport."""

    def __init__(self, name=None, plain=None):
        self._found = {"sockname": name, "socket": plain}

    def get_extra_info(self, key):
        return self._found[key]

    def get_write_buffer_size(self):
        return 100


def layer_on(accepted):
    return TlsLayer(SSL.Connection(SSL.Context(SSL.TLS_SERVER_METHOD), None), accepted, None)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        (("192.0.2.1", 443), "192.0.2.1"),
        (("::ffff:192.0.2.1", 443, 0, 0), "192.0.2.1"),
        (("fe80::1%2", 443, 0, 2), "fe80::1"),
    ],
)
def test_the_local_end_is_an_endpoint_like_every_other(name, address):
    assert layer_on(Accepted(name)).local == Endpoint(parse_address(address), 443)


def test_what_the_kernel_holds_is_not_taken_yet():
    ours, clients = socket.socketpair()
    layer = layer_on(Accepted(plain=ours))
    with ours, clients:
        assert layer.untaken_bytes() == 100
        ours.sendall(bytes(5000))
        assert layer.untaken_bytes() >= 5100
        assert clients.recv(5000) == bytes(5000)
        assert layer.untaken_bytes() == 100
    assert layer.untaken_bytes() == 100
    assert layer_on(Accepted()).untaken_bytes() == 100  # the transport has no socket any more
