"""Connections of all workers, counted in shared memory."""

import os
from ipaddress import ip_address

from gateway.proxy.tally import Tally

ONE, OTHER = ip_address("192.0.2.1"), ip_address("2001:db8::1")


def test_what_a_child_process_counts_is_seen_and_cleared_by_its_successor():
    tally = Tally(2)
    tally.count(ONE, 1)
    child = os.fork()
    if not child:
        tally.take_row(1)
        for _ in range(3):
            tally.count(ONE, 1)
        tally.count(None, 1)
        tally.count(OTHER, 1)
        tally.count(OTHER, -1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert (tally.total(), tally.of(ONE), tally.of(OTHER)) == (5, 4, 0)
    tally.take_row(1)
    assert (tally.total(), tally.of(ONE)) == (1, 1)


def test_all_that_opened_and_closed_is_nothing():
    tally = Tally(1)
    for address in (ONE, OTHER, None):
        tally.count(address, 1)
    assert tally.total() == 3
    for address in (ONE, OTHER, None):
        tally.count(address, -1)
    assert (tally.total(), tally.of(ONE), tally.of(OTHER)) == (0, 0, 0)
