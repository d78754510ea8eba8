"""WebSockets and other protocols after a switch: two raw streams between client and mail server."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time

import pytest
import websockets
from support.client import context_for
from support.gateway import HOST, INSIDE, settings_for
from support.waiting import PATIENCE_SECONDS, until
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

pytestmark = pytest.mark.e2e

MANY = 1000
AT_ONCE = 50  # messages on their way: the peers' memory is bounded too
MIB = 1024 * 1024
MESSAGE_BYTES = 64 * 1024  # a peer's buffers stay as large as its largest message: a MiB at each end makes 3 GiB
MOST_BYTES = 256 * 1024  # of the gateway's memory for each connection, TLS and all


def test_a_thousand_websockets_carry_a_megabyte_each_way_and_are_logged(start, credentials):
    """Real WebSocket peers at both ends see what they would see without a gateway between them."""

    async def run() -> None:
        async def echo(connection):
            async for message in connection:
                await connection.send(message)

        async with serve(echo, INSIDE, 0, max_size=None, compression=None) as server:
            port = server.sockets[0].getsockname()[1]
            limits = {"connections_per_ip": MANY + 10, "handshakes_per_second_per_ip": 10_000}
            gateway = await asyncio.to_thread(
                start, settings_for(credentials.site, f"http://{INSIDE}:{port}", limits=limits)
            )
            context = context_for(None)
            url = f"wss://{HOST}/webmail/socket"

            def opened():
                return connect(
                    url, ssl=context, host=INSIDE, port=gateway.port, max_size=None, compression=None, open_timeout=60
                )

            async def echoes(connection, number):
                message = number.to_bytes(2) * (MESSAGE_BYTES // 2)
                for _ in range(MIB // MESSAGE_BYTES):
                    await connection.send(message)
                    assert await connection.recv() == message

            before = await asyncio.to_thread(gateway.resident_bytes)
            sockets = []
            for _ in range(MANY // AT_ONCE):
                sockets += await asyncio.gather(*(opened() for _ in range(AT_ONCE)))
            await asyncio.gather(*(each.send(str(number)) for number, each in enumerate(sockets)))
            assert await asyncio.gather(*(each.recv() for each in sockets)) == [str(n) for n in range(MANY)]
            for first in range(0, MANY, AT_ONCE):
                some = range(first, first + AT_ONCE)
                await asyncio.gather(*(echoes(sockets[number], number) for number in some))
            assert await asyncio.to_thread(gateway.resident_bytes) - before < MANY * MOST_BYTES
            await asyncio.gather(*(each.close() for each in sockets))

        def logged():
            return [record for record in gateway.log.records() if record["status"] == 101]

        records = await asyncio.to_thread(until, lambda: len(logged()) == MANY and logged(), "all are logged")
        assert min(record["bytes_in"] for record in records) > MIB
        assert min(record["bytes_out"] for record in records) > MIB
        assert all(record["reason"] is None and record["decision"] == "allow" for record in records)

    asyncio.run(run())


@pytest.mark.parametrize("more", [(), ("Content-Length: 0",)])
def test_bytes_sent_right_behind_the_request_reach_the_other_protocol(gateway, mail, more, wire):
    """A client may be eager; what it sends before the switch belongs to the new protocol. A length of 0 is no body."""
    if more and wire.is_http2:
        pytest.skip("an extended CONNECT has no length")

    def chat(dialogue):
        dialogue.switch(b"hello ")
        dialogue.send(dialogue.read(5))
        dialogue.close()

    mail.answer("/webmail/chat", chat)
    with wire.client(gateway.port) as client:
        exchange = client.open("/webmail/chat", *more, is_eager=True)
        exchange.send(b"eager")
        head = exchange.head()
        assert (head.status, head.get("Upgrade")) == (wire.switched, None if wire.is_http2 else "websocket")
        assert exchange.answer().body == b"hello eager"
    (value,) = mail.only().values(b"Upgrade")
    assert value == b"websocket"
    assert mail.only().values(b"Connection") == [b"Upgrade"]
    assert not mail.only().values(b"Content-Length")


def test_a_side_that_is_done_is_half_closed_and_the_other_goes_on(gateway, mail):
    """The end of one direction is passed on, and the other direction is not lost by it."""

    def reverse(dialogue):
        dialogue.switch()
        dialogue.send(dialogue.wait_closed()[::-1])
        dialogue.close()

    mail.answer("/webmail/reverse", reverse)
    plain = socket.create_connection((INSIDE, gateway.port), timeout=PATIENCE_SECONDS)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context_for(None).wrap_bio(incoming, outgoing, server_hostname=HOST)

    def flush():
        if outgoing.pending:
            plain.sendall(outgoing.read())

    def step(action):
        while True:
            try:
                return action()
            except ssl.SSLWantReadError:
                flush()
                data = plain.recv(65536)
                incoming.write(data) if data else incoming.write_eof()
            finally:
                flush()

    with plain:
        step(tls.do_handshake)
        request = (
            f"GET /webmail/reverse HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nabc"
        )
        step(lambda: tls.write(request.encode()))
        got = step(lambda: tls.read(65536))
        while not got.endswith(b"\r\n\r\n"):
            got += step(lambda: tls.read(65536))
        plain.shutdown(socket.SHUT_WR)
        assert step(lambda: tls.read(65536)) == b"cba"


def test_a_mail_server_that_is_done_is_half_closed_and_the_client_goes_on(gateway, mail, wire):
    """The other direction, and every byte of both is in the log."""
    rest = []

    def tells(dialogue):
        dialogue.switch(b"all there is")
        dialogue.finish_sending()
        rest.append(dialogue.wait_closed())

    mail.answer("/webmail/tells", tells)
    with wire.client(gateway.port) as client:
        exchange = client.open("/webmail/tells")
        assert exchange.answer().body == b"all there is"
        for _ in range(10):
            exchange.send(bytes(10_000))
        if wire.is_http2:
            exchange.finish()
    until(lambda: rest, "the mail server sees the end")
    assert rest == [bytes(100_000)]
    record = gateway.log.of(mail.only().request_id)
    assert (record["status"], record["bytes_in"], record["bytes_out"]) == (
        101,
        100_000,
        len("all there is"),
    )


def test_a_tunnel_in_which_nobody_speaks_ends_and_one_in_which_somebody_does_goes_on(start, credentials, mail, wire):
    """Either side's word counts."""
    settings = settings_for(credentials.site, mail.url)
    settings["upstreams"]["mail"]["timeouts"] = {"response": "3s"}
    gateway = start(settings)
    pause = threading.Event()

    def chat(dialogue):
        dialogue.switch()
        dialogue.wait_closed()

    mail.answer("/webmail/chat", chat)
    with wire.client(gateway.port) as talkative, wire.client(gateway.port) as silent:
        begun = time.monotonic()
        chatter, silence = (client.open("/webmail/chat") for client in (talkative, silent))
        while time.monotonic() - begun < 6:
            chatter.send(b"x")
            pause.wait(0.1)
        assert silence.is_over()
        (record,) = until(
            lambda: [record for record in gateway.log.records() if record["status"] == 101],
            "the silent one's record",
        )
        assert 3000 <= record["duration_ms"] < 6000
        assert chatter.is_silent(0)


def test_a_client_that_reads_slowly_without_a_break_is_not_cut(start, credentials, mail, wire):
    """The gateway's kernel holds megabytes for it, so for longer than the idle time nothing more is said."""
    settings = settings_for(credentials.site, mail.url)
    settings["upstreams"]["mail"]["timeouts"] = {"response": "2s"}
    gateway = start(settings)
    size = 64 * MIB

    def tells(dialogue):
        dialogue.switch(bytes(size))
        dialogue.wait_closed()

    mail.answer("/webmail/tells", tells)
    with wire.client(gateway.port, buffer_bytes=4096) as client:
        exchange = client.open("/webmail/tells")
        begun, pause = time.monotonic(), threading.Event()
        while time.monotonic() - begun < 7:
            pause.wait(0.05)
            exchange.read(6000)
        assert [record for record in gateway.log.records() if record["status"] == 101] == []


def test_a_refused_upgrade_is_an_ordinary_answer(gateway, mail, wire):
    """The mail server may say no, and the connection goes on with HTTP."""
    mail.answer("/webmail/no", lambda dialogue: dialogue.answer(b"no", status=b"426 Upgrade Required"))
    with wire.client(gateway.port) as client:
        assert client.open("/webmail/no", is_eager=True).answer().status == 426
        assert client.ask("GET", "/webmail").status == 200


def test_a_switch_that_nobody_asked_for_is_a_bad_answer(gateway, mail, wire):
    """Otherwise a broken server could open a raw channel through the gateway."""
    mail.answer("/webmail/sly", lambda dialogue: dialogue.switch())
    with wire.client(gateway.port) as client:
        assert client.ask("GET", "/webmail/sly").verdict == (502, "upstream_bad_response")


def test_a_tunnel_ends_with_its_client(gateway, mail, wire):
    """The mail server's side is closed at once, not at some time-out."""
    ended = []

    def wait(dialogue):
        dialogue.switch()
        ended.append(dialogue.wait_closed())

    mail.answer("/webmail/wait", wait)
    with wire.client(gateway.port) as client:
        client.open("/webmail/wait").send(b"bye")
    until(lambda: ended == [b"bye"], "the mail server saw the end")


def test_websockets_is_what_it_says():
    """The peer of these tests is a real one, not ours."""
    assert int(websockets.__version__.split(".")[0]) >= 15
