"""WebSockets and other protocols after a 101: two raw streams between client and mail server."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest
import websockets
from support.client import Client, context_for
from support.gateway import HOST, INSIDE, settings_for
from support.waiting import until
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

pytestmark = pytest.mark.e2e

SWITCH = ("Connection: Upgrade", "Upgrade: chat")
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n"
MANY = 1000


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

            async with opened() as big:
                message = bytes(range(256)) * 4096
                await big.send(message)
                assert await big.recv() == message
            sockets = []
            for _ in range(MANY // 50):
                sockets += await asyncio.gather(*(opened() for _ in range(50)))
            await asyncio.gather(*(each.send(str(number)) for number, each in enumerate(sockets)))
            assert await asyncio.gather(*(each.recv() for each in sockets)) == [str(n) for n in range(MANY)]
            await asyncio.gather(*(each.close() for each in sockets))

        def logged():
            return [record for record in gateway.log.records() if record["status"] == 101]

        records = await asyncio.to_thread(until, lambda: len(logged()) == MANY + 1 and logged(), "all are logged")
        assert max(record["bytes_in"] for record in records) > 1 << 20
        assert max(record["bytes_out"] for record in records) > 1 << 20
        assert all(record["reason"] is None and record["decision"] == "allow" for record in records)

    asyncio.run(run())


def test_bytes_sent_right_behind_the_request_reach_the_other_protocol(gateway, mail):
    """A client may be eager; what it sends before the 101 belongs to the new protocol."""

    def chat(dialogue):
        dialogue.send(SWITCHED + b"hello ")
        dialogue.send(dialogue.read(5))
        dialogue.close()

    mail.answer("/webmail/chat", chat)
    with Client(gateway.port) as client:
        client.send(client.request("GET", "/webmail/chat", *SWITCH) + b"eager")
        head = client.read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Upgrade: chat\r\n" in head
        assert client.read_all() == b"hello eager"
    (value,) = mail.only().values(b"Upgrade")
    assert value == b"chat"
    assert mail.only().values(b"Connection") == [b"Upgrade"]


def test_a_side_that_is_done_is_half_closed_and_the_other_goes_on(gateway, mail):
    """The end of one direction is passed on, and the other direction is not lost by it."""

    def reverse(dialogue):
        dialogue.send(SWITCHED)
        dialogue.send(dialogue.wait_closed()[::-1])
        dialogue.close()

    mail.answer("/webmail/reverse", reverse)
    plain = socket.create_connection((INSIDE, gateway.port), timeout=15)
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
        request = f"GET /webmail/reverse HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\nabc"
        step(lambda: tls.write(request.encode()))
        got = step(lambda: tls.read(65536))
        while not got.endswith(b"\r\n\r\n"):
            got += step(lambda: tls.read(65536))
        plain.shutdown(socket.SHUT_WR)
        assert step(lambda: tls.read(65536)) == b"cba"


def test_a_refused_upgrade_is_an_ordinary_answer(gateway, mail):
    """The mail server may say no, and the connection goes on with HTTP."""
    mail.answer("/webmail/no", lambda dialogue: dialogue.answer(b"no", status=b"426 Upgrade Required"))
    with Client(gateway.port) as client:
        assert client.ask("GET", "/webmail/no", *SWITCH).status == 426
        assert client.ask("GET", "/webmail").status == 200


def test_a_switch_that_nobody_asked_for_is_a_bad_answer(gateway, mail):
    """Otherwise a broken server could open a raw channel through the gateway."""
    mail.answer("/webmail/sly", lambda dialogue: dialogue.send(SWITCHED))
    with Client(gateway.port) as client:
        assert client.ask("GET", "/webmail/sly").verdict == (502, "upstream_bad_response")


def test_a_tunnel_ends_with_its_client(gateway, mail):
    """The mail server's side is closed at once, not at some time-out."""
    ended = []

    def wait(dialogue):
        dialogue.send(SWITCHED)
        ended.append(dialogue.wait_closed())

    mail.answer("/webmail/wait", wait)
    with Client(gateway.port) as client:
        client.send(client.request("GET", "/webmail/wait", *SWITCH))
        client.read_until(b"\r\n\r\n")
        client.send(b"bye")
    until(lambda: ended == [b"bye"], "the mail server saw the end")


def test_websockets_is_what_it_says():
    """The peer of these tests is a real one, not ours."""
    assert int(websockets.__version__.split(".")[0]) >= 15
