"""Upstreams that are told by PROXY v2 who the client is; a real HAProxy in front of the mail server reads it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from support.balancer import Balancer, Listen
from support.client import Client
from support.gateway import INSIDE, OUTSIDE, free_port, settings_for
from support.waiting import until

pytestmark = pytest.mark.e2e

REQUESTS = 20
SAYS_ITS_PEER = [
    "mode http",
    "http-request set-header X-Told-Client %[src]:%[src_port]",
    "http-request set-header X-Told-Local %[dst]:%[dst_port]",
]


@pytest.fixture(scope="module")
def readers(mail, credentials, tmp_path_factory):
    """They demand the header, before TLS where there is any; a connection without one is closed."""
    folder = tmp_path_factory.mktemp("readers")
    both = folder / "mailhost.pem"
    both.write_text("\n".join((credentials.folder / f"mailhost.{kind}").read_text() for kind in ("crt", "key")))
    server = f"{INSIDE}:{mail.port}"
    binds = {"http": "accept-proxy", "https": f"accept-proxy ssl crt {both}"}
    balancer = Balancer.start(folder, {name: Listen(server, bind, SAYS_ITS_PEER) for name, bind in binds.items()})
    yield balancer.ports
    balancer.stop()


@pytest.fixture(scope="module", params=["http", "https"])
def gateway(readers, start, credentials, request):  # in this order, so that the readers outlive the gateways
    scheme = request.param
    settings = settings_for(credentials.site, f"{scheme}://{INSIDE}:{readers[scheme]}")
    upstream = {"proxy_protocol": True, "health": {"path": "/alive", "interval": "1s", "fall": 1}}
    if scheme == "https":
        upstream["tls"] = {"ca": str(credentials.server_ca), "server_name": "mail.internal"}
    settings["upstreams"]["mail"] |= upstream
    settings["listen"].append({"address": f"{INSIDE}:{free_port()}", "proxy_protocol_from": [f"{INSIDE}/32"]})
    return start(settings)


def told(request):
    (client,) = request.values(b"X-Told-Client")
    (local,) = request.values(b"X-Told-Local")
    return client.decode(), local.decode()


def requests_for(mail, path):
    return [request for request in mail.received if request.target.startswith(path)]


@pytest.mark.parametrize("source", [INSIDE, OUTSIDE])
def test_the_server_is_told_who_connected_and_where(gateway, mail, credentials, source):
    with Client(gateway.port, source=source, identity=credentials["alice"]) as client:
        for _ in range(3):
            assert client.ask("GET", "/webmail").status == 200
        name = f"{source}:{client.socket.getsockname()[1]}"
    found = requests_for(mail, b"/webmail")
    assert [told(request) for request in found] == [(name, f"{INSIDE}:{gateway.port}")] * 3


def test_the_server_is_told_what_a_balancer_in_front_has_told(gateway, mail):
    header = b"PROXY TCP4 127.0.0.1 192.0.2.1 51234 443\r\n"
    with Client(gateway.ports[1], preamble=header) as client:
        assert client.ask("GET", "/webmail").status == 200
    (request,) = requests_for(mail, b"/webmail")
    assert told(request) == ("127.0.0.1:51234", "192.0.2.1:443")


def test_a_server_is_told_in_ipv6_where_the_client_has_it(gateway, mail, credentials):
    header = b"PROXY TCP6 2001:db8::7 2001:db8::1 51234 443\r\n"
    with Client(gateway.ports[1], preamble=header, identity=credentials["alice"]) as client:
        assert client.ask("GET", "/webmail").status == 200
    (request,) = requests_for(mail, b"/webmail")
    assert told(request) == ("2001:db8::7:51234", "2001:db8::1:443")


def test_no_client_ever_uses_anothers_connection(gateway, mail):
    def use(number):
        with Client(gateway.port) as client:
            name = f"{INSIDE}:{client.socket.getsockname()[1]}"
            for step in range(REQUESTS):
                assert client.ask("GET", f"/webmail/{number}/{step}").status == 200
        return number, name

    with ThreadPoolExecutor(4) as threads:
        names = dict(threads.map(use, range(8)))
    found = requests_for(mail, b"/webmail/")
    assert len(found) == 8 * REQUESTS
    for request in found:
        number = int(request.target.split(b"/")[2])
        assert told(request)[0] == names[number]


def test_health_checks_speak_for_the_gateway_itself(mail, gateway):
    del gateway
    checks = until(lambda: requests_for(mail, b"/alive"), "a health check")
    assert told(checks[0])[0].startswith(f"{INSIDE}:")
