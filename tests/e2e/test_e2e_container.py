"""In a container: clients from outside that arrive from its default gateway's address are not inside.

The container is a network namespace with Docker's addresses and Podman's marker. Its gateway, 172.17.0.1, and a
neighbour on the same network are in a second namespace.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml
from support.gateway import HOST, free_port, settings_for
from support.programs import need, need_root

pytestmark = pytest.mark.e2e

GATEWAY, CONTAINER, NEIGHBOUR = "172.17.0.1", "172.17.0.2", "172.17.0.3"
SECONDS = 120.0

# Arguments: Python, the configuration, one that lists the gateway's address, the port.
SCRIPT = f"""
mount -t tmpfs none /run
touch /run/.containerenv
unshare --net sleep {SECONDS:g} & outside=$!
ip link set lo up
ip link add eth0 type veth peer name bridge
until ip link set bridge netns $outside 2>/dev/null && ! ip link show bridge >/dev/null 2>&1; do sleep 0.05; done
ip address add {CONTAINER}/16 dev eth0
ip link set eth0 up
ip route add default via {GATEWAY}
there() {{ nsenter --target $outside --net "$@"; }}
there ip address add {GATEWAY}/16 dev bridge
there ip address add {NEIGHBOUR}/16 dev bridge
there ip link set bridge up
"$1" -m gateway check -c "$2" 2>&1 | sed 's/^/default: /'
"$1" -m gateway check -c "$3" 2>&1 | sed 's/^/listed: /'
"$1" -m gateway run -c "$2" 2>&1 & gateway=$!
ask() {{
    there curl -s -k -m 20 -o /dev/null -w "$1 %{{http_code}} %header{{x-gateway-reason}}\\n" --interface "$1" \\
        --resolve "{HOST}:$4:{CONTAINER}" "https://{HOST}:$4/webmail"
}}
until there curl -s -k -o /dev/null "https://{CONTAINER}:$4/" || [ $? -ne 7 ]; do sleep 0.1; done
ask {GATEWAY} "$2" "$3" "$4"
ask {NEIGHBOUR} "$2" "$3" "$4"
kill $gateway $outside
wait
"""


@pytest.fixture(scope="module")
def told(credentials, tmp_path_factory):
    """What `gateway check`, the gateway and its clients say there."""
    need_root("make network namespaces")
    for program in ("ip", "unshare", "nsenter", "curl"):
        need(program)
    folder, port = tmp_path_factory.mktemp("container"), free_port()
    settings = settings_for(credentials.site, f"http://{CONTAINER}:1")
    settings["listen"] = [{"address": f":{port}"}]
    del settings["networks"]
    written = []
    for name, networks in (("default", {}), ("listed", {"internal": ["172.16.0.0/12", f"{GATEWAY}/32", CONTAINER]})):
        written.append(folder / f"{name}.yaml")
        written[-1].write_text(yaml.safe_dump({**settings, "networks": networks}))
    arguments = [sys.executable, *map(str, written), str(port)]
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-u", "-c", SCRIPT, "sh", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2 * SECONDS,
        check=False,
    )
    return done.stdout.splitlines()


def test_the_gateways_address_is_outside_and_its_neighbour_inside(told):
    answers = [line for line in told if line.startswith("172.17.")]
    assert answers == [f"{GATEWAY} 403 certificate_missing", f"{NEIGHBOUR} 502 upstream_unreachable"], told


def test_check_and_the_log_say_so(told):
    told_of = f"clients from outside may arrive from {GATEWAY} and {CONTAINER} (its own network)"
    (check,) = (line for line in told if line.startswith("default: ") and "is a container" in line)
    assert told_of in check
    assert [line for line in told if told_of in line and " INFO " in line]


def test_an_address_that_is_listed_is_inside_without_a_note(told):
    listed = [line for line in told if line.startswith("listed: ")]
    assert any("good: " in line for line in listed), told
    assert not any("is a container" in line for line in listed)
