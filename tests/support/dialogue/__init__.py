"""Dialogues with the proxy in memory: clients and upstream servers that speak and listen, and a clock that is set.

    world = World(folder, monkeypatch)
    client = world.client()                      # a client from inside, its handshake finished
    client.says(b"GET /webmail HTTP/1.1\r\nHost: mail.example.com\r\n\r\n")
    server = world.accepts()                     # the gateway's connection to the upstream gets through
    assert server.hears().startswith(b"GET /webmail HTTP/1.1\r\n")
    server.says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    assert client.hears().endswith(b"\r\n\r\nhi")

Everything between the TLS layer and the upstream's socket is the real thing. The ends behave as uvloop's transports do,
so what would be an exception there is one here: writing to a transport that is lost. Whatever the gateway reports as an
error of its own fails the dialogue.
"""

from __future__ import annotations

from support.dialogue.dns import Dns
from support.dialogue.ends import HIGH_WATER_BYTES, ClientEnd, FakeTls, ServerEnd, SocketEnd, TlsClient, Transport
from support.dialogue.loop import Clock, Dial, Loop
from support.dialogue.messages import HOST, get, header, request, response, status
from support.dialogue.world import INSIDE, MAX_STEPS, OUTSIDE, RULES, UPSTREAM, Errors, Files, Lines, World

__all__ = [
    "HIGH_WATER_BYTES",
    "HOST",
    "INSIDE",
    "MAX_STEPS",
    "OUTSIDE",
    "RULES",
    "UPSTREAM",
    "ClientEnd",
    "Clock",
    "Dial",
    "Dns",
    "Errors",
    "FakeTls",
    "Files",
    "Lines",
    "Loop",
    "ServerEnd",
    "SocketEnd",
    "TlsClient",
    "Transport",
    "World",
    "get",
    "header",
    "request",
    "response",
    "status",
]
