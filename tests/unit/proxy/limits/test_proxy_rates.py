"""How often one client may begin a handshake, and make a request."""

import gc
from ipaddress import ip_address

import pytest

from gateway.proxy.limits.rates import BURST_SECONDS, HandshakeRate, RequestRate

ONE, OTHER = ip_address("192.0.2.1"), ip_address("192.0.2.2")


def test_a_burst_passes_and_one_more_does_not():
    rate = HandshakeRate(per_second=10)
    allowed = [rate.allows(ONE, 0.0) for _ in range(int(BURST_SECONDS * 10) + 5)]
    assert allowed.index(False) in (int(BURST_SECONDS * 10), int(BURST_SECONDS * 10) + 1)
    assert not any(allowed[allowed.index(False) :])
    assert rate.allows(OTHER, 0.0), "another address is served as before"


def test_an_ipv6_client_is_its_64():
    rate = HandshakeRate(per_second=10)
    one, other = ip_address("2001:db8:0:1::"), ip_address("2001:db8:0:2::")
    allowed = [rate.allows(one + number, 0.0) for number in range(100)]
    assert sum(allowed) <= BURST_SECONDS * 10 + 1
    assert rate.allows(other, 0.0), "another network is served as before"


def test_the_steady_rate_never_ends():
    rate = HandshakeRate(per_second=10)
    assert all(rate.allows(ONE, number / 10) for number in range(1000))


def test_who_waited_is_forgotten():
    rate = HandshakeRate(per_second=10)
    for _ in range(100):
        rate.allows(ONE, 0.0)
    rate.sweep(1.0)
    assert not rate.allows(ONE, 0.0), "not yet"
    rate.sweep(BURST_SECONDS + 1)
    assert rate.allows(ONE, BURST_SECONDS + 1)
    assert len(rate._full_at) == 1


def test_requests_beyond_a_burst_wait_each_longer_than_the_one_before():
    requests = RequestRate(per_second=10).of(ONE)
    delays = [requests.delay_seconds(5.0) for _ in range(40)]
    assert sum(delay <= 0 for delay in delays) in (30, 31)
    assert delays[-1] - delays[-2] == pytest.approx(0.1)
    assert delays[-1] == pytest.approx(0.9)


def test_the_connections_of_a_client_share_its_rate_and_an_ipv6_client_is_its_64():
    rate = RequestRate(per_second=10)
    assert rate.of(ONE) is rate.of(ONE)
    assert rate.of(ONE) is not rate.of(OTHER)
    one, other = ip_address("2001:db8:0:1::"), ip_address("2001:db8:0:2::")
    assert rate.of(one) is rate.of(one + 5)
    assert rate.of(one) is not rate.of(other)


def test_who_reconnects_is_not_a_new_client():
    rate = RequestRate(per_second=10)
    for _ in range(40):
        rate.of(ONE).delay_seconds(5.0)
        gc.collect()
    rate.sweep(5.0)
    assert rate.of(ONE).delay_seconds(5.0) > 0


def test_a_client_that_is_gone_for_long_enough_is_forgotten_and_one_that_is_connected_is_not():
    rate = RequestRate(per_second=10)
    kept = rate.of(ONE)
    kept.delay_seconds(5.0)
    rate.of(OTHER).delay_seconds(5.0)
    rate.sweep(10.0)
    gc.collect()
    assert list(rate._by_client) == [ONE]
    assert rate.of(ONE) is kept
    kept.delay_seconds(11.0)
    assert rate._counted == {kept}
