"""A WebSocket through the gateway, up to the 101."""

from support.dialogue import get, header, status

ASK = get("/webmail/socket", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: AAAA")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def upgraded(world, client=None):
    client = client or world.client()
    client.says(ASK)
    server = world.accepts()
    head = server.hears()
    assert (header(head, "Connection"), header(head, "Upgrade")) == ("Upgrade", "websocket")
    server.says(SWITCH)
    answer = client.hears()
    assert status(answer) == 101
    assert header(answer, "Upgrade") == "websocket"
    return client, server
