"""Where a client's TCP connection came in, as the layer tells an upstream that wants to know."""

import pytest
from OpenSSL import SSL

from gateway.facts import Endpoint, parse_address
from gateway.tls.layer import TlsLayer


class Accepted:
    """A socket's transport."""

    def __init__(self, name):
        self._name = name

    def get_extra_info(self, key):
        return {"sockname": self._name}[key]


@pytest.mark.parametrize(
    ("name", "address"),
    [
        (("192.0.2.1", 443), "192.0.2.1"),
        (("::ffff:192.0.2.1", 443, 0, 0), "192.0.2.1"),
        (("fe80::1%2", 443, 0, 2), "fe80::1"),
    ],
)
def test_the_local_end_is_an_endpoint_like_every_other(name, address):
    layer = TlsLayer(SSL.Connection(SSL.Context(SSL.TLS_SERVER_METHOD), None), Accepted(name), None)
    assert layer.local == Endpoint(parse_address(address), 443)
