"""Request ids differ within a process, between processes and after a fork."""

from __future__ import annotations

import os
import re

from gateway.logs.request_id import RequestIds, new_request_id


def test_ids_of_one_process_differ_and_have_one_shape() -> None:
    ids = [new_request_id() for _ in range(10_000)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[0-9a-f]{32}", text) for text in ids)


def test_another_start_has_another_prefix() -> None:
    ids = RequestIds()
    first = ids.next()
    ids.restart()
    assert ids.next()[:20] != first[:20]
    assert RequestIds().next()[:20] != first[:20]


def test_a_forked_worker_has_a_prefix_of_its_own() -> None:
    ours = new_request_id()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, new_request_id().encode())
        os._exit(0)
    os.close(writing)
    theirs = os.read(reading, 100).decode()
    os.close(reading)
    assert os.waitpid(child, 0)[1] == 0
    assert len(theirs) == 32
    assert theirs[:20] != ours[:20]
