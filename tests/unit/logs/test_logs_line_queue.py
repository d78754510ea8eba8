"""The queue of lines: bounded, and honest about what it lost."""

from __future__ import annotations

import pytest

from gateway.logs.line_queue import MAX_QUEUED_BYTES, REPORT_SECONDS, LineQueue


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def queue(clock):
    return LineQueue("syslog:udp://10.0.0.5:514", "start the server", now=clock)


def test_the_oldest_messages_come_first_and_stay_until_they_were_sent(queue):
    for message in (b"one", b"two", b"three"):
        queue.put(message)
    assert queue.head(100, 2) == [b"one", b"two"]
    assert queue.head(6, 9) == [b"one", b"two"]
    assert queue.head(5, 9) == [b"one"]
    assert queue.head(1, 9) == [b"one"]  # longer than a batch, and sent all the same
    queue.sent(2)
    assert (queue.head(100, 9), queue.queued_bytes, len(queue), queue.dropped_lines) == ([b"three"], 5, 1, 0)


def test_it_holds_so_many_bytes_and_not_one_more(queue, caplog):
    queue.put(b"x" * (MAX_QUEUED_BYTES - 3))
    queue.put(b"abc")
    assert queue.dropped_lines == 0
    assert caplog.messages == []
    queue.put(b"y")
    assert (queue.dropped_lines, queue.queued_bytes) == (1, MAX_QUEUED_BYTES)
    (message,) = caplog.messages
    assert message == (
        f"access log syslog:udp://10.0.0.5:514: {MAX_QUEUED_BYTES} bytes wait to be sent, so lines are dropped; "
        "1 lines lost since the last report; start the server"
    )
    queue.sent(1)
    queue.put(b"y")
    assert queue.dropped_lines == 1


def test_losses_and_failures_are_reported_together_now_and_then(queue, clock, caplog):
    queue.failed("Connection refused")
    queue.put(b"x" * MAX_QUEUED_BYTES)
    for _ in range(1000):
        queue.put(b"y")
    queue.failed("Connection refused")
    assert len(caplog.messages) == 1
    clock.seconds = REPORT_SECONDS
    queue.failed("Connection refused")
    assert "1000 lines lost since the last report" in caplog.messages[1]
    queue.put(b"y")
    caplog.set_level("INFO")
    queue.works()
    queue.works()
    assert caplog.messages[2:] == [
        "access log syslog:udp://10.0.0.5:514: works again; 1 lines were lost since the last report"
    ]
    queue.failed("Connection refused")
    assert len(caplog.messages) == 4


def test_a_message_that_cannot_be_sent_is_counted(queue, caplog):
    queue.put(b"long")
    queue.put(b"b")
    queue.drop_first("too long")
    assert (queue.head(9, 9), queue.queued_bytes, queue.dropped_lines) == ([b"b"], 1, 1)
    assert "too long; 1 lines lost" in caplog.text


def test_what_is_left_at_the_end_is_counted_and_reported(queue, caplog):
    queue.drop_all()
    assert caplog.messages == []
    queue.failed("Connection refused")
    queue.put(b"a")
    queue.put(b"b")
    queue.drop_all()
    assert (len(queue), queue.queued_bytes, queue.dropped_lines) == (0, 0, 2)
    assert "the gateway ends, and these lines could not be sent; 2 lines lost" in caplog.messages[1]
