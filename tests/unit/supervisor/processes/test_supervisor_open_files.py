"""How many files a process may open, and how many it has."""

import resource
import socket
import subprocess
import sys

from gateway.supervisor.processes import open_files

# In a process of its own: a limit that was lowered could not be lifted again beyond its hard one.
LIFTS = """
import resource
from gateway.supervisor.processes import open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128))
print(open_files.limit())
for _ in range(2):
    open_files.raise_limit()
    print(open_files.limit(), open_files.shortage(10) is None)
"""


def test_the_soft_limit_is_lifted_to_the_hard_one():
    told = subprocess.run([sys.executable, "-c", LIFTS], capture_output=True, text=True, check=True, timeout=30)
    assert told.stdout.split("\n")[:3] == ["64", "128 False", "128 False"]


def test_open_files_are_counted_one_by_one():
    before = open_files.count()
    with socket.socket(), socket.socket():
        assert open_files.count() == before + 2
    assert open_files.count() == before


ALL_ARE_TAKEN = """
import os, resource
from gateway.supervisor.processes import open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
while True:
    try:
        os.dup(0)
    except OSError:
        break
print(open_files.count())
"""


def test_where_none_is_left_all_are_open():
    told = subprocess.run([sys.executable, "-c", ALL_ARE_TAKEN], capture_output=True, text=True, check=True, timeout=30)
    assert told.stdout == "64\n"


def test_too_few_files_for_so_many_connections_are_told_with_a_remedy(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (20_512, 20_512))
    assert open_files.shortage(10_000) is None
    assert open_files.shortage(10_001) == (
        "a worker may open 20,512 files, but 10,001 connections and their upstream connections need up to 20,514; "
        "raise the limit (LimitNOFILE=20514 in a systemd unit, --ulimit nofile=20514 for a container), "
        "or lower limits.connections"
    )
