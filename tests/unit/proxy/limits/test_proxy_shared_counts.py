"""Connections of all workers, counted in shared memory."""

import os
from ipaddress import ip_address

from gateway.proxy.limits.shared_counts import SharedCounts

ONE, OTHER = ip_address("192.0.2.1"), ip_address("2001:db8::1")


def test_what_a_child_process_counts_is_seen_and_cleared_by_its_successor():
    connection_counts = SharedCounts(2)
    connection_counts.count(ONE, 1)
    child = os.fork()
    if not child:
        connection_counts.take_row(1)
        for _ in range(3):
            connection_counts.count(ONE, 1)
        connection_counts.count(None, 1)
        connection_counts.count(OTHER, 1)
        connection_counts.count(OTHER, -1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert (connection_counts.total(), connection_counts.of(ONE), connection_counts.of(OTHER)) == (5, 4, 0)
    connection_counts.take_row(1)
    assert (connection_counts.total(), connection_counts.of(ONE)) == (1, 1)


def test_all_that_opened_and_closed_is_nothing():
    connection_counts = SharedCounts(1)
    for address in (ONE, OTHER, None):
        connection_counts.count(address, 1)
    assert connection_counts.total() == 3
    for address in (ONE, OTHER, None):
        connection_counts.count(address, -1)
    assert (connection_counts.total(), connection_counts.of(ONE), connection_counts.of(OTHER)) == (0, 0, 0)
