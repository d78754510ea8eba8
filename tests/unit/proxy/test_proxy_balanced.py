"""On a listener behind balancers: who is heard, for whom a connection counts, and what becomes of the rest."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_network

import pytest
from support.dialogue import HOST, OUTSIDE, Transport

from gateway.config.model import Listener
from gateway.facts import Endpoint, parse_address
from gateway.policy.networks import NetworkSet
from gateway.proxy.balanced import BalancedConnection
from gateway.proxy.client.accepting import AcceptedConnection
from gateway.proxy.connections import REFUSED_CONNECTIONS
from gateway.proxy.limits.shared_counts import SharedCounts
from gateway.proxy.plain.connection import PlainConnection
from gateway.proxy.plain.redirect import Redirects
from gateway.tls.proxy_protocol import LOCAL_HEADER, encode_v2

BALANCER, STRANGER = "10.0.0.2", "10.0.0.3"
LISTENER = Listener("10.0.0.1:8443", "10.0.0.1", 8443, proxy_protocol_from=(ip_network("10.0.0.2"),))
HEADER = encode_v2(Endpoint(parse_address(OUTSIDE), 51234), Endpoint(parse_address("192.0.2.1"), 443))
REQUEST = f"GET /webmail HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


def redirecting(service, listener):
    return PlainConnection(service, listener, [Redirects(308)])


class Socket(Transport):
    """An accepted socket."""

    def __init__(self, world, make, peer):
        super().__init__(world)
        service = world.service
        balancers = NetworkSet([ip_network(BALANCER)])
        listener = replace(LISTENER, redirect_to_https=make is redirecting)
        self.protocol = BalancedConnection(service, listener, balancers, lambda: make(service, listener))
        self._peer = peer
        world.does(self.protocol.connection_made, self)

    def _protocol(self):
        return self.protocol

    def get_extra_info(self, name):
        return {"peername": self._peer, "sockname": ("10.0.0.1", 8443)}[name]

    def set_protocol(self, protocol):
        self.protocol = protocol


@pytest.fixture
def accept(world):
    def made(make=AcceptedConnection, address=BALANCER, where=world):
        return Socket(where, make, (address, 40000))

    return made


def records(world):
    return [json.loads(line) for line in world.log]


def reason(world):
    (record,) = records(world)
    assert (record["client_ip"], record["client_port"], record["method"]) == (BALANCER, 40000, None)
    assert record["config"] == world.service.snapshot.config.digest
    return record["reason"]


@pytest.mark.parametrize("cut", [0, 1, 27, 28, 29])
def test_the_named_client_takes_the_connection_over(world, accept, cut):
    socket = accept()
    data = HEADER + b"EHLO\r\n"
    socket.says(data[:cut])
    socket.says(data[cut:])

    assert isinstance(socket.protocol, AcceptedConnection)
    assert socket.hears()[0] == 21  # a TLS alert: what came behind the header was read as TLS
    (record,) = records(world)
    assert (record["client_ip"], record["client_port"], record["listener"]) == (OUTSIDE, 51234, "10.0.0.1:8443")
    assert record["config"] == world.service.snapshot.config.digest


def test_it_counts_for_the_client_alone_until_it_ends(world, accept):
    counted = world.service.connections._per_address
    socket = accept()
    assert not counted
    assert len(world.service.connections.open) == 1
    socket.says(HEADER)
    assert counted == {parse_address(OUTSIDE): 1}
    assert world.service.connections.open == {socket.protocol}
    socket.goes()
    assert not counted
    assert not world.service.connections.open


@pytest.mark.parametrize("make", [AcceptedConnection, redirecting])
@pytest.mark.parametrize("header", [HEADER, LOCAL_HEADER], ids=["proxy", "local"])
def test_among_all_workers_it_counts_once_and_no_longer_than_it_is_open(world, accept, make, header):
    connection_counts = world.service.connections._connection_counts = SharedCounts(1)
    for _ in range(3):
        socket = accept(make)
        assert connection_counts.total() == 1
        socket.says(header)
        assert connection_counts.total() == 1
        socket.goes()
        assert connection_counts.total() == 0


def test_a_balancers_own_connection_counts_for_itself(world, accept):
    socket = accept()
    socket.says(LOCAL_HEADER)
    assert world.service.connections._per_address == {parse_address(BALANCER): 1}
    assert socket.protocol._peer.reached is None


def test_the_port_that_the_client_connected_to_is_kept(accept):
    socket = accept()
    socket.says(HEADER)
    assert socket.protocol._peer.reached == Endpoint(parse_address("192.0.2.1"), 443)


def test_who_is_not_listed_is_not_heard(world, accept):
    socket = accept(address=STRANGER)
    socket.says(HEADER)
    assert socket.is_lost
    assert not socket.hears()
    (record,) = records(world)
    assert (record["client_ip"], record["reason"]) == (STRANGER, "the peer is not in proxy_protocol_from")
    assert not world.service.connections.open


@pytest.mark.parametrize("make", [AcceptedConnection, redirecting])
def test_a_peer_that_has_gone_before_it_was_looked_at(world, make):
    socket = Socket(world, make, None)
    world.settles()
    assert socket.is_lost
    plain = make(world.service, LISTENER)
    socket = Socket(world, make, None)
    world.does(plain.connection_made, socket)
    world.does(plain.connection_lost, None)
    assert not world.log
    assert not world.service.connections.open


def test_a_wrong_header_ends_it(world, accept):
    socket = accept()
    socket.says(b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n" + HEADER)
    socket.says(HEADER)  # already on its way
    assert socket.is_lost
    assert "a port in the PROXY line" in reason(world)


def test_what_comes_after_the_end_is_not_read(world, accept):
    socket = accept()
    socket.close()
    world.does(socket.protocol.data_received, b"PROXY ?")
    assert not world.log


@pytest.mark.parametrize("sent", [b"", b"PROXY "])
def test_a_header_that_is_late(world, accept, sent):
    socket = accept()
    socket.says(sent)
    assert socket.protocol.deadline == world.clock.monotonic_seconds() + 10
    world.does(socket.protocol.on_deadline)
    assert socket.is_lost
    assert reason(world) == "no PROXY header within the handshake time"


def test_the_end_in_the_middle_of_a_header_is_on_record(world, accept):
    socket = accept()
    socket.says(HEADER[:5])
    socket.goes()
    assert reason(world) == "the connection ended in the middle of its PROXY header"


def test_a_mere_probe_is_not_on_record(world, accept):
    accept().goes()
    assert not world.log
    assert not world.service.connections.open


@pytest.mark.parametrize("sent", [b"", b"PROXY "])
def test_draining_ends_it_silently_and_a_reload_does_not(world, accept, sent):
    emptied = []
    world.service.connections.on_empty = lambda: emptied.append(True)
    socket = accept()
    socket.says(sent)
    world.service.adopt(world.service.snapshot)
    world.settles()
    assert not socket.is_lost
    world.does(world.service.connections.drain)
    assert socket.is_lost
    assert emptied == [True]
    assert not world.log


def test_the_limits_are_the_clients_and_one_connection_counts_once(make_world):
    world = make_world(limits={"connections": 2, "connections_per_ip": 1})

    def answer(client):
        socket = Socket(world, redirecting, (BALANCER, 40000))
        header = encode_v2(Endpoint(parse_address(client), 1), Endpoint(parse_address("192.0.2.1"), 80))
        socket.says(header)
        return socket

    first = answer("198.51.100.1")
    assert b" 429 " in answer("198.51.100.1").hears()  # its second
    second = answer("198.51.100.2")
    assert b" 429 " in answer("198.51.100.3").hears()  # everybody's third
    for socket in (first, second):
        socket.says(REQUEST)
        assert socket.hears().startswith(b"HTTP/1.1 308 ")


def test_a_balancer_with_far_too_many_connections_is_closed_at_once(make_world):
    world = make_world(limits={"connections": 1, "connections_per_ip": 1})
    sockets = [Socket(world, AcceptedConnection, (BALANCER, 40000)) for _ in range(REFUSED_CONNECTIONS + 1)]
    assert not any(socket.is_lost for socket in sockets)
    assert Socket(world, AcceptedConnection, (BALANCER, 40000)).is_lost
    assert reason(world) == "too many connections"
    for socket in sockets:
        socket.goes()
