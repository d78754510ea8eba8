"""How often one address may begin a handshake."""

from ipaddress import ip_address

from gateway.proxy.rate import BURST_SECONDS, HandshakeRate

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
