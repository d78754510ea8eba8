"""Messages between two processes: whole or not at all, and never waited for."""

import os
import socket

import pytest

from gateway.supervisor.processes import channel
from gateway.supervisor.processes.channel import Channel, ChannelClosed

BIG = {"text": "x" * 1_000_000}  # more than a socket's buffers take


@pytest.fixture
def pair():
    one, other = Channel.pair()
    yield one, other
    one.close()
    other.close()


@pytest.fixture
def raw():
    """A channel, and the bare socket at its other end."""
    bare, end = socket.socketpair()
    made = Channel(end)
    yield made, bare
    made.close()
    bare.close()


def test_messages_arrive_in_order_and_together(pair):
    one, other = pair
    assert other.receive() == []
    one.send({"do": "this"})
    one.send({"do": "that", "text": "ä\n"})
    assert other.receive() == [{"do": "this"}, {"do": "that", "text": "ä\n"}]
    other.send({"is": "done"})
    assert one.receive() == [{"is": "done"}]


def test_a_message_that_does_not_fit_is_sent_as_the_other_reads(pair):
    one, other = pair
    one.send(BIG)
    assert one.has_unsent
    heard = []
    while not heard:
        heard = other.receive()
        one.flush()
    assert heard == [BIG]
    assert not one.has_unsent


def test_a_path_that_is_no_utf8_arrives_as_it_is(pair):
    one, other = pair
    message = {"folder": os.fsdecode(b"/caf\xe9"), "text": "ä"}
    one.send(message)
    one.send({"do": "that"})
    assert other.receive() == [message, {"do": "that"}]
    with pytest.raises(TypeError):
        one.send({"no": object()})


def test_a_message_may_come_byte_by_byte(raw):
    end, bare = raw
    for byte in b'{"a":1}':
        bare.send(bytes((byte,)))
        assert end.receive() == []
    bare.send(b"\n")
    assert end.receive() == [{"a": 1}]


def test_the_last_words_of_a_process_are_heard_and_then_its_end(raw):
    end, bare = raw
    bare.send(b'{"a":1}\n{"b":')
    bare.close()
    assert end.receive() == [{"a": 1}]
    with pytest.raises(ChannelClosed) as raised:
        end.receive()
    assert raised.value.cause == "the other process closed the channel"


def test_what_is_no_json_ends_the_channel(raw):
    end, bare = raw
    bare.send(b"nonsense\n")
    with pytest.raises(ChannelClosed, match="not valid JSON"):
        end.receive()


def test_what_is_no_message_is_left_out(raw):
    end, bare = raw
    bare.send(b'[1]\n"text"\n{"a":1}\n')
    assert end.receive() == [{"a": 1}]


def test_a_message_may_be_so_long_and_no_longer(raw, monkeypatch):
    monkeypatch.setattr(channel, "MAX_MESSAGE_BYTES", 100)
    end, bare = raw
    bare.send(b'"' + b"x" * 99)
    assert end.receive() == []
    bare.send(b"x")
    with pytest.raises(ChannelClosed, match="too long"):
        end.receive()


def test_a_process_that_does_not_read_is_given_up(pair, monkeypatch):
    monkeypatch.setattr(channel, "MAX_MESSAGE_BYTES", 1_500_000)
    one, _ = pair
    one.send(BIG)
    with pytest.raises(ChannelClosed, match="does not read"):
        one.send(BIG)


def test_sending_to_a_process_that_is_gone(pair):
    one, other = pair
    other.close()
    with pytest.raises(ChannelClosed):
        one.send({"do": "this"})


def test_hearing_from_a_process_that_was_cut_off(pair):
    one, other = pair
    one.send({"unread": True})
    other.close()  # with something unread: a reset
    with pytest.raises(ChannelClosed):
        one.receive()


def test_a_channel_can_be_watched(pair):
    assert pair[0].fileno() != pair[1].fileno()
