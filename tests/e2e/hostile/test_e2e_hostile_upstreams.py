"""Mail servers that die at every possible moment: nobody takes half an answer for a whole one, and nothing stays."""

from __future__ import annotations

import os
import ssl
import threading

import pytest
from support.client import Client
from support.crowd import gather
from support.gateway import HOST, INSIDE, free_port, settings_for
from support.web_server import Nginx

pytestmark = pytest.mark.e2e

SOME = 30
MIB = 1024 * 1024
TRUNCATED = (EOFError, ConnectionResetError, ssl.SSLEOFError)
SWITCH = ("Connection: Upgrade", "Upgrade: chat")
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n"

# What the mail server has said by then; the verdict that the client gets, None where its answer was cut short.
DEATHS = {
    "before the head": (b"", (502, "upstream_unreachable")),
    "in the status line": (b"HTTP/1.1 20", (502, "upstream_bad_response")),
    "in the head": (b"HTTP/1.1 200 OK\r\nContent-Le", (502, "upstream_bad_response")),
    "behind 100 Continue": (b"HTTP/1.1 100 Continue\r\n\r\n", (502, "upstream_bad_response")),
    "behind the head": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", None),
    "in a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhalf", None),
    "in a chunk's size": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n5", None),
    "in a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal", None),
    "before the last chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n", None),
    "in the trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n", None),
}


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize(("said", "verdict"), DEATHS.values(), ids=DEATHS)
def test_a_mail_server_that_dies(gateway, mail, outside, connect, end, said, verdict):  # noqa: PLR0917
    is_dead = threading.Barrier(SOME + 1, timeout=30)

    def answer(dialogue):
        dialogue.read(4)
        if said:
            dialogue.send(said)
        is_dead.wait()
        getattr(dialogue, end)()

    def ask():
        client = connect()
        client.send(client.request("POST", "/webmail/dies", body=b"ping"))
        return client

    mail.answer("/webmail/dies", answer)
    crowd = gather(SOME, ask)
    if verdict is None:
        for client in crowd:
            client.read_until(b"\r\n\r\n")
    is_dead.wait()
    for client in crowd:
        if verdict is None:
            with pytest.raises(TRUNCATED):
                client.read(1000)
        else:
            assert client.answer().verdict == verdict
    records = gateway.log.of_address(outside, SOME)
    expected = verdict or (200, "upstream_bad_response")
    assert {(record["status"], record["reason"]) for record in records} == {expected}


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_mail_server_that_dies_in_a_tunnel(gateway, mail, outside, connect, end, bystander):
    """A clean end is a clean end for the client; a reset is none."""
    may_die = threading.Event()

    def answer(dialogue):
        dialogue.send(SWITCHED)
        dialogue.send(dialogue.read(4))
        assert may_die.wait(30)
        getattr(dialogue, end)()

    def ask():
        client = connect()
        client.send(client.request("GET", "/webmail/chat", *SWITCH) + b"ping")
        client.read_until(b"ping")
        return client

    mail.answer("/webmail/chat", answer)
    crowd = gather(SOME, ask)
    bystander.is_served()
    may_die.set()
    for client in crowd:
        if end == "close":
            assert client.is_at_end()
        else:
            with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
                client.read(1)
        client.close()  # until then it might have had something to say to a server that was only done talking
    for record in gateway.log.of_address(outside, SOME):
        assert (record["status"], record["bytes_in"], record["bytes_out"]) == (101, 4, 4)


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "www/webmail").mkdir(parents=True)
    (folder / "www/webmail/big").write_bytes(os.urandom(32 * MIB))
    server = Nginx(folder, "server { listen 127.0.0.1:{port}; root {folder}/www; }")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def gateway(start, credentials, mail, nginx):
    """A second site is nginx's."""
    limits = {"connections_per_ip": 1000, "handshakes_per_second_per_ip": 100_000}
    settings = settings_for(credentials.site, mail.url, limits=limits, admin={"address": f"{INSIDE}:{free_port()}"})
    settings["sites"].append({"hosts": [f"nginx.{HOST}"], "upstream": "nginx", **credentials.site})
    settings["upstreams"]["nginx"] = {"servers": [nginx.url]}
    for upstream in settings["upstreams"].values():
        upstream["timeouts"] = {"idle": "1s"}
    return start(settings)


def test_a_real_mail_server_is_killed_within_its_answers(gateway, nginx, outside, context, bystander):
    """SIGKILL, while every client has read a part: none of them takes that for all."""

    def ask():
        client = Client(gateway.port, source=outside, context=context, server_name=f"nginx.{HOST}", buffer_bytes=65_536)
        client.send(client.request("GET", "/webmail/big"))
        assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        client.read(MIB)
        return client

    crowd = gather(SOME, ask)
    nginx.kill()
    for client in crowd:
        with client, pytest.raises(TRUNCATED):
            client.read(32 * MIB)
    bystander.is_served()
    for record in gateway.log.of_address(outside, SOME):
        assert (record["status"], record["reason"]) == (200, "upstream_bad_response")
        assert MIB <= record["bytes_out"] < 32 * MIB
