"""WebSockets over HTTP/2 (RFC 8441) between real peers: Chromium, and a server that knows HTTP/1.1 only."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from support.browser import Browser, chooses_certificate
from support.credentials import P12_PASSWORD
from support.gateway import HOST, INSIDE, settings_for
from support.waiting import until
from websockets.datastructures import Headers
from websockets.http11 import Response
from websockets.sync.server import ServerConnection, serve

pytestmark = pytest.mark.e2e

MIB = 1024 * 1024
PAGE = b"""<!DOCTYPE html><html lang="en"><head><title>Socket</title></head><body><script>
const socket = new WebSocket("wss://mail.example.com/webmail/socket", "chat");
const seen = {protocol: null, text: null, bytes: 0, sum: 0, closed: null};
socket.binaryType = "arraybuffer";
socket.onopen = () => { seen.protocol = socket.protocol; socket.send("hello"); };
socket.onmessage = event => {
  if (typeof event.data === "string") {
    seen.text = event.data;
    const large = new Uint8Array(1048576);
    crypto.getRandomValues(large.subarray(0, 65536));
    for (let at = 65536; at < large.length; at += 65536) large.copyWithin(at, 0, 65536);
    seen.sum = large[0] + large[1048575];
    socket.send(large);
  } else {
    const large = new Uint8Array(event.data);
    seen.bytes = large.length;
    seen.sum -= large[0] + large[1048575];
    socket.close(1000, "done");
  }
};
socket.onclose = event => { seen.closed = event.code + " " + event.reason; };
</script></body></html>"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Sends each message back; asked for anything but a WebSocket, it answers with the page."""

    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    def page(_connection: ServerConnection, request) -> Response | None:
        if request.headers.get("Upgrade"):
            return None
        headers = Headers([("Content-Type", "text/html"), ("Content-Length", str(len(PAGE))), ("Connection", "close")])
        return Response(200, "OK", headers, PAGE)

    with serve(echo, INSIDE, 0, max_size=None, subprotocols=["chat"], process_request=page) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://{INSIDE}:{served.socket.getsockname()[1]}"
        served.shutdown()
        thread.join()


def test_a_browser_opens_a_websocket_on_the_connection_that_it_has(start, credentials, server, tmp_path):
    gateway = start(settings_for(credentials.site, server, networks={"internal": ["127.0.0.9/32"]}))
    with chooses_certificate():
        p12 = (credentials.p12, P12_PASSWORD)
        browser = Browser.start(tmp_path, gateway.port, trusted=credentials.server_ca, p12s=(p12,))
        try:
            browser.open(f"https://{HOST}/webmail")
            browser.wait_for("seen.closed !== null")
            seen = browser.evaluate("seen")
        finally:
            browser.stop()
    assert seen == {"protocol": "chat", "text": "hello", "bytes": MIB, "sum": 0, "closed": "1000 done"}

    def logged():
        return [record for record in gateway.log.records() if record["uri"] == "/webmail/socket"]

    (record,) = until(logged, "the WebSocket is logged")
    assert (record["method"], record["status"], record["protocol"]) == ("GET", 101, "HTTP/2.0")
    assert (record["decision"], record["reason"]) == ("require_certificate", None)
    assert record["cert_subject"] is not None
    page = next(record for record in gateway.log.records() if record["uri"] == "/webmail")
    assert (page["protocol"], page["client_port"]) == ("HTTP/2.0", record["client_port"])
