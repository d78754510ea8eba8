"""In a container, addresses from which outsiders may arrive are not inside unless the file lists each by itself."""

import socket
from ipaddress import ip_address, ip_network

import pytest
from support.config_files import BASE, NOW

from gateway.config import container
from gateway.config import load as load_module
from gateway.config.container import Arrivals, arrivals, is_container, is_listed, note_of, without
from gateway.config.load import load_with_warnings
from gateway.config.networks import DEFAULT_INTERNAL
from gateway.policy.networks import named

DOCKER = ip_address("172.17.0.1")
OWN = ip_address("10.0.2.100")
LINK_LOCAL = ip_address("fe80::1")

ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
eth1\t00000000\t00000000\t0001\t0\t0\t9\t00000000\t0\t0\t0
eth1\t00000000\t0100000A\t0002\t0\t0\t9\t00000000\t0\t0\t0
eth1\t0000000A\t0200000A\t0003\t0\t0\t9\t000000FF\t0\t0\t0
"""
ZERO = "0" * 32
ROUTES6 = f"""\
fd000000000000000000000000000000 40 {ZERO} 00 {ZERO} 00000100 00000001 00000000 00000001     eth0
{ZERO} 00 {ZERO} 00 fe800000000000000000000000000001 00000400 00000003 00000000 00000003     eth0
{ZERO} 00 {ZERO} 00 {ZERO} ffffffff 00000001 00000000 00200200       lo
"""


def at(addresses, **more):
    return Arrivals(tuple(map(ip_address, addresses)), **more)


@pytest.fixture
def root(tmp_path):
    """A file system in which nothing speaks of containers."""
    for process in ("self", "1"):
        (tmp_path / "proc" / process).mkdir(parents=True)
        (tmp_path / "proc" / process / "cgroup").write_text("0::/system.slice/gateway.service\n")
    (tmp_path / "proc/net").mkdir()
    (tmp_path / "proc/net/route").write_text(ROUTES)
    (tmp_path / "proc/net/ipv6_route").write_text(ROUTES6)
    (tmp_path / "run/systemd").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def loaded(write, monkeypatch):
    """What a file becomes where clients arrive from these addresses."""

    def load(text, *addresses):
        monkeypatch.setattr(load_module, "arrivals", lambda: at(addresses))
        return load_with_warnings(write(text), now=NOW, environ={})

    return load


# whether it is one


@pytest.mark.parametrize("marker", [".dockerenv", "run/.containerenv", "run/systemd/container"])
def test_a_marker_tells_a_container(root, marker):
    assert not is_container(root, {})
    (root / marker).touch()
    assert is_container(root, {})


def test_the_kernel_tells_wsl(root):
    (root / "proc/sys/kernel").mkdir(parents=True)
    for release, is_wsl in (("5.15.153.1-microsoft-standard-WSL2", True), ("6.1.0-28-amd64", False)):
        (root / "proc/sys/kernel/osrelease").write_text(f"{release}\n")
        assert is_container(root, {}) is is_wsl


@pytest.mark.parametrize("name", ["container", "KUBERNETES_SERVICE_HOST"])
def test_a_variable_tells_a_container(root, name):
    assert is_container(root, {name: "podman"})
    assert not is_container(root, {name: ""})


@pytest.mark.parametrize(
    "group",
    [
        "12:pids:/docker/0123456789abcdef",
        "0::/system.slice/docker-0123456789abcdef.scope",
        "0::/machine.slice/libpod-0123456789abcdef.scope/container",
        "1:name=systemd:/kubepods/besteffort/pod1/2",
        "0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-0123.scope",
        "0::/lxc/mail",
        "0::/lxc.payload.mail/init.scope",
    ],
)
@pytest.mark.parametrize("process", ["self", "1"])
def test_a_control_group_tells_a_container(root, group, process):
    (root / "proc" / process / "cgroup").write_text(f"13:cpu:/\n{group}\n")
    assert is_container(root, {})


@pytest.mark.parametrize(
    "group", ["0::/", "0::/system.slice/docker.service", "0::/user.slice/dockerish.scope", "docker/"]
)
def test_other_control_groups_do_not(root, group):
    for process in ("self", "1"):
        (root / "proc" / process / "cgroup").write_text(f"{group}\n")
    assert not is_container(root, {})


def test_a_worker_without_the_variable_knows_what_its_master_found(monkeypatch):
    monkeypatch.setattr(container, "_MARKERS", ())
    monkeypatch.setattr(container, "_text", lambda _: "")
    monkeypatch.setattr(container, "_own_addresses", lambda: iter([OWN]))
    container.is_here.cache_clear()
    try:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
        assert arrivals().own == (OWN,)
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
        assert arrivals().own == (OWN,)
    finally:
        container.is_here.cache_clear()


# from where clients arrive


def test_the_default_gateways_are_in_the_routing_tables(root, monkeypatch):
    monkeypatch.setattr(container, "_own_addresses", lambda: iter([OWN]))
    assert arrivals(root, {}) == Arrivals()
    found = arrivals(root, {"container": "podman"})
    assert (found.gateways, found.own) == ((DOCKER, LINK_LOCAL), (OWN,))
    assert found.addresses == (DOCKER, LINK_LOCAL, OWN)


def test_without_routes_there_is_no_gateway(root, monkeypatch):
    class NoNetwork(socket.socket):
        def connect(self, _):
            raise OSError

    monkeypatch.setattr(socket, "socket", NoNetwork)
    for name in ("route", "ipv6_route"):
        (root / "proc/net" / name).unlink()
    assert arrivals(root, {"container": "podman"}) == Arrivals()


def test_the_own_address_is_the_one_that_the_kernel_would_use(root, monkeypatch):
    class Network(socket.socket):
        def connect(self, address):
            assert address in {("192.0.2.1", 9), ("2001:db8::1", 9)}

        def getsockname(self):
            return ("10.0.2.100", 1) if self.family == socket.AF_INET else ("fe80::2%eth0", 1, 0, 2)

    monkeypatch.setattr(socket, "socket", Network)
    assert arrivals(root, {"container": "podman"}).own == (OWN, ip_address("fe80::2"))


def test_each_address_counts_once():
    assert Arrivals((DOCKER, OWN), (OWN,)).addresses == (DOCKER, OWN)


# what is inside


@pytest.mark.parametrize("address", ["172.17.0.1", "10.0.2.100", "fe80::1", "fd00::1", "192.168.65.1"])
def test_such_an_address_is_taken_out_of_the_networks_and_no_other(address):
    address = ip_address(address)
    left, taken = without(DEFAULT_INTERNAL, [address])
    assert taken == (address,)
    inside = named("internal", {"internal": left})
    assert not inside.contains(address)
    assert inside.contains(address - 1)
    assert inside.contains(address + 1)
    assert sum(each.num_addresses for each in left) == sum(each.num_addresses for each in DEFAULT_INTERNAL) - 1


def test_overlapping_networks_all_lose_it():
    left, _ = without([ip_network("10.0.0.0/8"), ip_network("10.0.2.0/24"), ip_network("::/0")], [OWN])
    assert not named("internal", {"internal": left}).contains(OWN)


def test_an_address_that_is_listed_by_itself_stays():
    networks = (ip_network("172.16.0.0/12"), ip_network("172.17.0.1/32"))
    assert without(networks, [DOCKER]) == (networks, ())
    assert is_listed(DOCKER, networks)
    assert not is_listed(DOCKER, [ip_network("172.17.0.0/31")])


def test_an_address_that_is_not_inside_anyway_is_not_spoken_of():
    assert without(DEFAULT_INTERNAL, [ip_address("203.0.113.1"), ip_address("2001:db8::1")]) == (DEFAULT_INTERNAL, ())


# in the file


@pytest.mark.parametrize(
    "networks",
    [
        "",
        "networks: {internal: 172.16.0.0/12}\n",
        "networks: {internal: docker, docker: [172.17.0.0/16]}\n",
        "networks: {office: [internal, 203.0.113.0/28], internal: [172.17.0.0/31]}\n",
    ],
)
def test_it_is_outside_by_default(loaded, networks):
    config = loaded(BASE + networks, "172.17.0.1").config
    assert named("external", config.networks).contains(DOCKER)
    assert not named("internal", config.networks).contains(DOCKER)
    assert config.not_inside == (DOCKER,)
    if "office" in networks:
        assert not named("office", config.networks).contains(DOCKER)


@pytest.mark.parametrize(
    "networks",
    [
        "networks: {internal: [172.16.0.0/12, 172.17.0.1/32]}\n",
        "networks: {internal: [172.16.0.0/12, 172.17.0.1]}\n",
        "networks: {internal: [172.16.0.0/12, proxy], proxy: 172.17.0.1}\n",
    ],
)
def test_it_is_inside_where_it_is_listed(loaded, networks):
    found = loaded(BASE + networks, "172.17.0.1")
    assert named("internal", found.config.networks).contains(DOCKER)
    assert (found.config.not_inside, note_of(found.config), found.warnings) == ((), None, ())


def test_a_note_says_so_and_its_remedy_works(loaded):
    config = loaded(BASE, "172.17.0.1", "fe80::1").config
    assert str(note_of(config)).endswith(
        "config.yaml:1:1: note: networks.internal: this is a container or WSL, where clients from outside may arrive "
        "from 172.17.0.1 and fe80::1 (its own network), so this does not count as inside; use the host's network, or "
        "list 172.17.0.1/32 and fe80::1/128 in networks.internal if only clients from inside arrive from there"
    )
    remedied = BASE + "networks: {internal: [172.17.0.1/32, fe80::1/128]}\n"
    assert note_of(loaded(remedied, "172.17.0.1", "fe80::1").config) is None


ARRIVING = (
    "in this container clients from outside may arrive from 172.17.0.1, and '172.16.0.0/12' contains it: such clients"
)


@pytest.mark.parametrize(
    ("old", "new", "warning"),
    [
        (
            "from: internal",
            "from: [172.16.0.0/12]",
            f"rules[0].from[0]: {ARRIVING} need no certificate here; write internal, or networks without this address",
        ),
        ("from: internal", "from: office", "rules[0].from: in this container"),
        ("from: internal", "from: [internal, 172.17.0.1]", None),
        ("from: internal", "from: 0.0.0.0/0", None),
        ("from: internal", "from: external", None),
        ("from: internal\n    action: allow", "from: 172.16.0.0/12\n    action: deny", None),
        (
            "rules:",
            "trusted_proxies: 172.16.0.0/12\nrules:",
            f"trusted_proxies: {ARRIVING} may name any client; list the proxies' own addresses",
        ),
        ("rules:", "trusted_proxies: 172.17.0.1\nrules:", None),
        (
            '":443"',
            '":443"\n    proxy_protocol_from: [172.16.0.0/12]',
            "listen[0].proxy_protocol_from[0]: in this container",
        ),
    ],
)
def test_other_networks_count_as_written_and_are_warned_of(loaded, old, new, warning):
    text = BASE.replace(old, new, 1) + "networks: {office: 172.16.0.0/12}\n"
    found = [str(each) for each in loaded(text, "172.17.0.1").warnings if "this container" in str(each)]
    assert [warning in each for each in found] == ([] if warning is None else [True])


def test_a_faulty_network_is_an_error_as_before(loaded):
    with pytest.raises(load_module.ConfigErrors) as raised:
        loaded(BASE + "networks: {internal: [172.16.0.0/12, nowhere]}\n", "172.17.0.1")
    assert "'nowhere' is not the name of a network" in raised.value.cause
