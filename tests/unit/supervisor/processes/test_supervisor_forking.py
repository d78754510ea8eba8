"""A child's first moments, with real processes and signals."""

import errno
import os
import signal

import pytest
from support.waiting import until

from gateway.errors import OperationError
from gateway.supervisor.processes import open_files
from gateway.supervisor.processes.channel import Channel
from gateway.supervisor.processes.forking import fork


@pytest.fixture
def noted():
    """Signals that the parent's handler took; in a master it writes them down for its loop."""
    taken = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: taken.append(number))
    yield taken
    signal.signal(signal.SIGTERM, before)


def test_a_signal_that_comes_before_the_child_let_go_of_the_masters_handlers_counts(noted):
    (is_here, here), (is_told, told) = os.pipe(), os.pipe()

    def let_go():
        os.write(here, b"!")
        os.read(is_told, 1)  # the signal has been sent
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    child, channel = fork("a helper", let_go, lambda _: signal.pause())
    os.read(is_here, 1)
    os.kill(child, signal.SIGTERM)
    os.write(told, b"!")
    try:
        ended, status = until(lambda: (found := os.waitpid(child, os.WNOHANG))[0] and found, "the child has ended")
    except AssertionError:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    assert (ended, os.waitstatus_to_exitcode(status)) == (child, -signal.SIGTERM)
    assert noted == []
    channel.close()
    for descriptor in (is_here, here, is_told, told):
        os.close(descriptor)


def test_a_machine_without_another_process_is_told_and_nothing_is_left_open(monkeypatch):
    def no_process():
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", no_process)
    before = open_files.count()
    signals = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with pytest.raises(OperationError, match=r"a helper cannot be started: Resource temporarily unavailable"):
        fork("a helper", lambda: None, lambda _: None)
    assert open_files.count() == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == signals


def test_a_process_without_another_descriptor_is_told(monkeypatch):
    def no_descriptor():
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Channel, "pair", no_descriptor)
    with pytest.raises(OperationError, match=r"a helper cannot be started: Too many open files"):
        fork("a helper", lambda: None, lambda _: None)
