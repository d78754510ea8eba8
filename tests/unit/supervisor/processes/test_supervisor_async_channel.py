"""A channel's end in an event loop."""

import asyncio

import pytest
from support.waiting import PATIENCE_SECONDS

from gateway.supervisor.processes.async_channel import AsyncChannel
from gateway.supervisor.processes.channel import PING, PONG, Channel, ChannelClosed

BIG = "x" * 3_000_000  # more than any socket buffer takes at once


@pytest.fixture
def pair():
    channels = Channel.pair()
    yield channels
    for channel in channels:
        channel.close()


class End:
    """An end, and what came over it."""

    def __init__(self, channel):
        self.heard = asyncio.Queue()
        self.closed = asyncio.Queue()
        loop = asyncio.get_running_loop()
        self.channel = AsyncChannel(channel, loop, self.heard.put_nowait, lambda: self.closed.put_nowait(True))


def run(dialogue):
    asyncio.run(asyncio.wait_for(dialogue(), PATIENCE_SECONDS))


def test_messages_pass_both_ways_however_long(pair):
    async def dialogue():
        ours, theirs = map(End, pair)
        for message in ({"n": 1}, {"n": BIG}, {"n": 2}):
            ours.channel.send(message)
        assert [await theirs.heard.get() for _ in range(3)] == [{"n": 1}, {"n": BIG}, {"n": 2}]
        theirs.channel.send({"n": BIG})
        assert await ours.heard.get() == {"n": BIG}
        ours.channel.close()
        theirs.channel.close()

    run(dialogue)


def test_the_other_sides_end_is_told_once_and_sending_is_then_without_effect(pair):
    async def dialogue():
        channel, theirs = pair
        ours = End(channel)
        theirs.close()
        assert await ours.closed.get()
        ours.channel.send({"n": 1})
        ours.channel.close()
        assert (ours.closed.empty(), ours.heard.empty()) == (True, True)

    run(dialogue)


def test_an_end_noticed_while_sending_is_told_too(pair):
    async def dialogue():
        channel, theirs = pair
        ours = End(channel)
        theirs.close()
        ours.channel.send({"n": 1})
        assert not ours.closed.empty()

    run(dialogue)


def test_an_end_noticed_while_sending_the_rest_is_told_too(pair):
    class Breaking(Channel):
        """Takes a message, and breaks when its rest is to be sent."""

        def flush(self):
            if self.has_unsent and self._was_tried:
                raise ChannelClosed("gone")
            self._was_tried = True

        _was_tried = False

    async def dialogue():
        one, other = pair
        ours = End(Breaking(one._socket))
        ours.channel.send({"n": 1})
        assert await ours.closed.get()
        other.close()

    run(dialogue)


def test_nothing_is_heard_after_the_close(pair):
    async def dialogue():
        channel, theirs = pair
        ours = End(channel)
        ours.channel.close()
        theirs.send({"n": 1})
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert ours.heard.empty()

    run(dialogue)


def test_a_message_that_cannot_be_obeyed_keeps_none_after_it_from_being_heard(pair, caplog):
    async def dialogue():
        ours, channel = pair
        heard = asyncio.Queue()

        def hear(message):
            heard.put_nowait(message["n"])
            if message["n"] == 1:
                raise ValueError("no way")

        asynchronous = AsyncChannel(channel, asyncio.get_running_loop(), hear, lambda: None)
        for number in (1, 2):
            ours.send({"n": number})  # both are there when it is woken
        assert [await heard.get(), await heard.get()] == [1, 2]
        asynchronous.close()

    run(dialogue)
    assert "no way" in caplog.text


def test_a_ping_is_answered_and_not_heard(pair):
    async def dialogue():
        ours, theirs = map(End, pair)
        ours.channel.send(PING)
        ours.channel.send({"n": 1})
        assert await ours.heard.get() == PONG
        assert await theirs.heard.get() == {"n": 1}
        for end in (ours, theirs):
            end.channel.close()

    run(dialogue)
