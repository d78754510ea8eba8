"""Random dialogues over HTTP/2: whatever clients and servers do, each answer is its own, whole or cut off, and logged.

The client's end is the `h2` library, which refuses what is against RFC 9113.
"""

import os
import random

import pytest
from support.dialogue import Files, World

from gateway.http.body import ChunkedReader, LengthReader

SEEDS = [int(seed) for seed in (os.environ.get("SOAK_SEEDS") or "1").split()]
DIALOGUES = 300 if os.environ.get("SOAK_SEEDS") else 60
STEPS = 60
SIZES = [0, 1, 100, 5000, 16_384, 40_000, 90_000]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("gateway"))


@pytest.fixture(scope="module")
def snapshot(files):
    return files.snapshot()


class Request:
    """What the client sends and hopes for."""

    def __init__(self, number, answer, length):
        self.number = number
        self.answer = answer
        self.length = length
        self.sent = b""
        self.is_open = True  # more of the body may come
        self.was_reset = False
        self.expected = b""  # the body that the server has for it
        self.arrived = None  # the body that reached the server


class Server:
    """One connection's end: reads a request, says an answer in pieces, and reads the next."""

    def __init__(self, end, requests):
        self.end = end
        self.requests = requests
        self.heard = b""
        self.request = None
        self.reader = None
        self.body = b""
        self.unsaid = b""
        self.closes = False
        self.waits = False  # for the whole request
        self.is_over = False  # it has answered early, so that no request may follow

    def hears(self, chance):
        self.heard += self.end.hears()
        if self.is_over:
            assert b"HTTP/1.1" not in self.heard
            return
        if self.request is None:
            head, separator, rest = self.heard.partition(b"\r\n\r\n")
            if not separator:
                assert b"\r\n\r\n" not in self.heard
                return
            line = head.partition(b"\r\n")[0]
            self.request = self.requests[int(line.split(b"/webmail/")[1].split(b" ")[0])]
            lower = head.lower()
            is_chunked = b"\r\ntransfer-encoding: chunked" in lower
            length = lower.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
            self.reader = ChunkedReader() if is_chunked else LengthReader(int(length or 0))
            self.heard, self.body = rest, b""
            self.waits = chance.random() < 0.6
            self.request.expected = chance.randbytes(chance.choice(SIZES))
            self.unsaid, self.closes = answer_of(chance, self.request.expected)
        if self.reader is not None:
            payload, self.heard = self.reader.feed(self.heard)
            self.body += payload
            while self.heard and not self.reader.is_complete:
                payload, self.heard = self.reader.feed(self.heard)
                self.body += payload
            assert self.request.sent.startswith(self.body)
            if self.reader.is_complete:
                self.request.arrived = self.body

    def says(self, chance):
        """A piece of its answer."""
        if self.request is None or not self.unsaid or (self.waits and not self.reader.is_complete):
            return
        size = chance.choice([1, 20, 1000, 10_000, len(self.unsaid)])
        piece, self.unsaid = self.unsaid[:size], self.unsaid[size:]
        self.end.says(piece)
        if not self.unsaid:
            if self.closes:
                self.end.closes()
            self.is_over = not self.reader.is_complete
            self.request = None


def answer_of(chance, body):
    """(bytes of an answer, does its connection end it?)"""
    match chance.randrange(3):
        case 0:
            return b"HTTP/1.1 200 OK\r\n\r\n" + body, True
        case 1:
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in cut(chance, body) if part)
            return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nx-sum: 1\r\n\r\n", False
        case _:  # no interim answers: h2 refuses them on streams that it has reset, though they may be on their way
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body, False


def cut(chance, data):
    size = chance.choice([1000, 30_000, 100_000])
    return [data[at : at + size] for at in range(0, len(data), size)]


class Dialogue:
    def __init__(self, world, chance):
        self.world = world
        self.chance = chance
        self.client = world.http2_client(opens_windows=chance.random() < 0.5)
        self.requests = []
        self.servers = {}

    def step(self):
        chance = self.chance
        weights = {
            self.ask: 6,
            self.send: 6,
            self.accept: 8,
            self.serve: 16,
            self.reset: 1,
            self.slow: 2,
            self.quick: 5,
        }
        weights |= {self.break_off: 1, self.wait: 1, self.open: 4}
        (act,) = chance.choices(list(weights), list(weights.values()))
        act()
        for end in self.world.ends:
            if end not in self.servers:
                self.servers[end] = Server(end, self.requests)
        for server in self.servers.values():
            server.hears(chance)
        self.client.flush()

    def ask(self):
        if len([each for each in self.requests if not each.answer.is_complete]) >= 8 or self.client.goaway:
            return
        chance, number = self.chance, len(self.requests)
        has_body = chance.random() < 0.5
        length = chance.choice([None, 1, 100, 20_000, 300_000]) if has_body else None
        fields = [("content-length", str(length))] if length else []
        if chance.random() < 0.3:
            fields.append(("priority", chance.choice(["u=1", "u=5, i", "i", "?"])))
        method = chance.choice(["PUT", "POST"]) if has_body else "GET"
        answer = self.client.asks(f"/webmail/{number}", method, ends=not has_body, fields=fields)
        request = Request(number, answer, length)
        request.is_open = has_body
        if not has_body:
            request.arrived = None
        self.requests.append(request)

    def send(self):
        opened = [each for each in self.requests if each.is_open and each.answer.reset is None and not each.was_reset]
        if not opened:
            return
        request = self.chance.choice(opened)
        connection, stream_id = self.client.connection, self.client.stream_of(request.answer)
        size = min(self.chance.choice([1, 100, 16_384]), connection.local_flow_control_window(stream_id), 16_384)
        if request.length is not None:
            size = min(size, request.length - len(request.sent))
        if size <= 0 and request.length != len(request.sent):
            return
        payload = self.chance.randbytes(size)
        ends = len(request.sent) + size == request.length if request.length else self.chance.random() < 0.2
        request.sent += payload
        request.is_open = not ends
        self.client.sends(request.answer, payload, ends=ends)

    def accept(self):
        if self.world.dials:
            if self.chance.random() < 0.05:
                self.world.refuses()
            else:
                self.world.accepts(is_slow=self.chance.random() < 0.2)

    def serve(self):
        live = [server for server in self.servers.values() if server.request is not None and not server.end.is_lost]
        if live:
            self.chance.choice(live).says(self.chance)

    def reset(self):
        live = [each for each in self.requests if not each.answer.is_complete and each.answer.reset is None]
        live = [each for each in live if not each.was_reset]
        if live:
            request = self.chance.choice(live)
            request.was_reset = True
            self.client.resets(request.answer)

    def slow(self):
        end = self.chance.choice([self.client.end, *self.servers])
        end.is_slow = True

    def quick(self):
        for end in (self.client.end, *self.servers):
            if end.is_slow and self.chance.random() < 0.5:
                end.reads()

    def break_off(self):
        live = [server for server in self.servers.values() if not server.end.is_lost]
        if live:
            server = self.chance.choice(live)
            if server.closes or self.chance.random() < 0.5:  # a FIN would be the end of such an answer
                server.end.goes(ConnectionResetError("reset"))
            else:
                server.end.closes()

    def open(self):
        """The windows for some answers, and that of the connection."""
        if self.client.opens_windows:
            return
        connection, sizes = self.client.connection, [1, 1000, 100_000]
        connection.increment_flow_control_window(self.chance.choice(sizes))
        for request in self.requests:
            answer = request.answer
            if not answer.is_complete and answer.reset is None and not request.was_reset and self.chance.random() < 0.6:
                connection.increment_flow_control_window(self.chance.choice(sizes), self.client.stream_of(answer))

    def wait(self):
        self.world.passes(self.chance.choice([0.5, 1.5, 3]))

    def finish(self):
        """Everybody comes to an end."""
        for _ in range(400):
            for end in (self.client.end, *self.servers):
                if end.is_slow:
                    end.reads()
            while self.world.dials:
                self.world.accepts()
            for _ in range(4):
                self.send()
            self.open()
            for server in list(self.servers.values()):
                if not server.end.is_lost:
                    server.says(self.chance)
            for end in self.world.ends:
                self.servers.setdefault(end, Server(end, self.requests))
            for server in self.servers.values():
                server.hears(self.chance)
            self.client.flush()
        self.client.end.goes()
        self.world.settles()

    def check(self):
        for request in self.requests:
            answer = request.answer
            assert answer.is_complete or answer.reset is not None or request.was_reset, request.number
            if answer.is_complete and answer.status == 200:
                assert answer.body == request.expected, request.number
                assert answer.reset in {None, 0}
            elif answer.status == 200:
                assert request.expected.startswith(answer.body)
            if answer.is_complete and not request.is_open and request.arrived is not None:
                assert request.sent.startswith(request.arrived)
        lines = [record["uri"] for record in self.world.records if record["uri"] is not None]
        assert sorted(lines) == sorted(f"/webmail/{request.number}" for request in self.requests)
        assert {busy for busy, _ in self.world.busy()} == {0}
        assert self.world.service.kept_bodies.kept_bytes == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_random_dialogues(files, snapshot, seed):
    whole = cut_off = 0
    for number in range(DIALOGUES):
        chance = random.Random(f"{seed}:{number}")
        with pytest.MonkeyPatch.context() as patch:
            world = World(files, patch, snapshot)
            try:
                dialogue = Dialogue(world, chance)
                for _ in range(STEPS):
                    dialogue.step()
                dialogue.finish()
                dialogue.check()
            except BaseException as error:
                error.add_note(f"dialogue {seed}:{number}")
                raise
            finally:
                world.close()
            complete = [request.answer.is_complete for request in dialogue.requests]
            whole += complete.count(True)
            cut_off += complete.count(False)
    assert whole > 2 * DIALOGUES
    assert cut_off > DIALOGUES / 4
