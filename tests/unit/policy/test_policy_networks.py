"""Which addresses a rule's `from` means."""

from ipaddress import ip_address, ip_network

import pytest

from gateway.errors import PatternError
from gateway.policy.networks import NetworkSet, named

NETWORKS = {"internal": (ip_network("10.0.0.0/8"), ip_network("fd00::/8")), "office": (ip_network("203.0.113.0/28"),)}


@pytest.mark.parametrize(
    ("item", "inside", "outside"),
    [
        (
            "internal",
            ["10.0.0.0", "10.255.255.255", "fd00::1", "::ffff:10.1.2.3"],
            ["9.255.255.255", "11.0.0.0", "fe00::"],
        ),
        ("external", ["9.255.255.255", "11.0.0.0", "0.0.0.0", "255.255.255.255", "::", "::1"], ["10.1.2.3", "fd12::1"]),
        ("external", ["::ffff:11.0.0.0", "ffff:ffff::"], ["::ffff:10.0.0.1"]),
        ("office", ["203.0.113.0", "203.0.113.15"], ["203.0.113.16", "203.0.112.255", "::"]),
        ("198.51.100.7", ["198.51.100.7", "::ffff:198.51.100.7"], ["198.51.100.6", "198.51.100.8"]),
        ("2001:db8::/32", ["2001:db8::", "2001:db8:ffff::"], ["2001:db9::", "32.1.13.184"]),
        ("2001:db8::1", ["2001:db8::1"], ["2001:db8::2"]),
        ("::ffff:192.0.2.0/120", ["192.0.2.9", "::ffff:192.0.2.9"], ["192.0.3.0"]),
        ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], ["::", "2001:db8::1"]),
        ("::/0", ["::", "2001:db8::1"], ["1.2.3.4", "::ffff:1.2.3.4"]),
    ],
)
def test_an_entry_means_these_addresses_and_no_others(item, inside, outside):
    networks = named(item, NETWORKS)
    assert [text for text in inside if not networks.contains(ip_address(text))] == []
    assert [text for text in outside if networks.contains(ip_address(text))] == []


@pytest.mark.parametrize("item", ["offfice", "", "10.0.0.1/8", "10.0.0.0/33", "INTERNAL", "10.0.0", "fe80::1%eth0/64"])
def test_what_is_no_name_and_no_network_is_an_error_with_a_remedy(item):
    with pytest.raises(PatternError) as caught:
        named(item, NETWORKS)
    assert caught.value.remedy == "write a name from networks, or a CIDR"


def test_without_internal_everybody_is_external():
    assert named("external", {}).contains(ip_address("127.0.0.1"))


def test_overlapping_and_touching_networks_are_one():
    networks = NetworkSet(map(ip_network, ["10.0.0.0/9", "10.128.0.0/9", "10.1.0.0/16", "192.0.2.0/24"]))
    assert networks.v4 == ((10 << 24, 11 << 24), (0xC0000200, 0xC0000300))


def test_the_complement_of_the_complement_is_the_set():
    networks = NetworkSet(map(ip_network, ["0.0.0.0/8", "10.0.0.0/8", "255.0.0.0/8", "fd00::/8"]))
    again = networks.complement().complement()
    assert (again.v4, again.v6) == (networks.v4, networks.v6)
    assert NetworkSet().complement().complement().v4 == ()


def test_a_union_has_both():
    networks = NetworkSet([ip_network("10.0.0.0/8")]).union(NetworkSet([ip_network("fd00::/8")]))
    assert networks.contains(ip_address("10.1.1.1"))
    assert networks.contains(ip_address("fd00::1"))
    assert not networks.contains(ip_address("11.1.1.1"))


@pytest.mark.parametrize(
    ("networks", "only"),
    [
        (["10.0.0.9/32"], "10.0.0.9"),
        (["fd00::9/128"], "fd00::9"),
        (["10.0.0.8/31"], None),
        (["10.0.0.9/32", "fd00::9/128"], None),
        ([], None),
    ],
)
def test_a_set_of_one_address_names_it(networks, only):
    found = NetworkSet(map(ip_network, networks)).only_one
    assert found == (None if only is None else ip_address(only))
