"""Listening sockets, and what is said where there is none to be had."""

import errno
import socket

import pytest

from gateway.config.model import Listener
from gateway.errors import OperationError
from gateway.supervisor import sockets
from gateway.supervisor.sockets import open_listener

NEEDS_IPV6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")


def listen(host, port=0):
    return open_listener(Listener(f"{host}:{port}", host, port))


def reach(family, address):
    with socket.socket(family) as probe:
        probe.connect(address)


def test_an_ipv4_address():
    with listen("127.0.0.1") as listening:
        reach(socket.AF_INET, listening.getsockname())
        assert not listening.getblocking()


@NEEDS_IPV6
def test_an_ipv6_address_is_that_one_alone():
    with listen("::1") as listening:
        reach(socket.AF_INET6, listening.getsockname())
        assert listening.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


@NEEDS_IPV6
def test_no_host_is_every_address_of_both_families():
    with listen("") as listening:
        port = listening.getsockname()[1]
        reach(socket.AF_INET, ("127.0.0.1", port))
        reach(socket.AF_INET6, ("::1", port))


def test_no_host_without_ipv6_is_every_ipv4_address(monkeypatch):
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with listen("") as listening:
        assert listening.family is socket.AF_INET
        reach(socket.AF_INET, ("127.0.0.1", listening.getsockname()[1]))


def test_accepted_sockets_are_kept_alive():
    with listen("127.0.0.1") as listening, socket.create_connection(listening.getsockname()):
        listening.setblocking(True)
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == sockets.KEEPALIVE_IDLE_SECONDS


def test_a_port_that_is_taken():
    with listen("127.0.0.1") as first:
        port = first.getsockname()[1]
        with pytest.raises(OperationError, match=f"listen 127.0.0.1:{port}: Address already in use") as caught:
            listen("127.0.0.1", port)
    assert caught.value.remedy == "stop the other program that listens there, or write another port"


def test_an_address_that_is_not_ours():
    with pytest.raises(OperationError) as caught:
        listen("192.0.2.1")
    assert "write an address that this machine has" in caught.value.remedy


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EACCES, "CAP_NET_BIND_SERVICE"), (errno.EINVAL, "write another address")]
)
def test_other_failures_have_a_remedy_too(monkeypatch, number, words):
    def fail(*_, **__):
        raise OSError(number, "no")

    monkeypatch.setattr(sockets, "_bound", fail)
    with pytest.raises(OperationError) as caught:
        listen("127.0.0.1")
    assert words in caught.value.remedy
