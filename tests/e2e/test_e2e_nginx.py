"""With a real nginx behind the gateway, and with one in front of it that shows a client certificate."""

from __future__ import annotations

import hashlib
import os
import socket

import pytest
from support.client import Client, Stream
from support.gateway import HOST, INSIDE, OUTSIDE, settings_for
from support.waiting import PATIENCE_SECONDS
from support.web_server import Nginx

pytestmark = pytest.mark.e2e

MIB = 1024 * 1024
BEHIND = """
    gzip on; gzip_min_length 100; gzip_types text/plain;
    keepalive_requests 50; keepalive_timeout 300ms; client_max_body_size 10m;
    server {
        listen 127.0.0.1:{port};
        root {folder}/www;
        default_type text/plain;
        location /webmail/told { return 200 "$http_host|$http_x_forwarded_for|$http_x_client_email|$request_uri"; }
        location /webmail/moved { return 302 /webmail/there; }
        location /webmail/hangs-up { return 444; }
        location /webmail/limited { client_max_body_size 1k; proxy_pass http://127.0.0.1:{port}/webmail/told; }
        location /webmail/proxied { proxy_pass http://127.0.0.1:{port}/webmail/told; }
    }
"""


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "www/webmail").mkdir(parents=True)
    (folder / "www/webmail/big").write_bytes(os.urandom(8 * MIB))
    (folder / "www/webmail/page.txt").write_text("mail " * 1000)
    server = Nginx(folder, BEHIND)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def gateway(start, credentials, nginx):
    return start(settings_for(credentials.site, nginx.url))


def test_nginx_is_told_who_came(gateway, credentials):
    with Client(gateway.port, source=OUTSIDE, identity=credentials["alice"]) as client:
        answer = client.ask("GET", "/webmail/x/../told?a=%2F")
    assert answer.body.decode() == f"{HOST}|{OUTSIDE}|alice@example.com|/webmail/told?a=%2F"
    assert answer.get("Server").startswith("nginx/")


def test_a_hundred_requests_over_connections_that_nginx_ends_now_and_then(gateway):
    """It closes a connection after 50 requests: nobody may notice."""
    with Client(gateway.port) as client:
        for number in range(120):
            assert client.ask("GET", f"/webmail/told?{number}").body.endswith(f"?{number}".encode())


def test_files_conditions_ranges_and_compression(gateway, nginx):
    expected = (nginx.folder / "www/webmail/big").read_bytes()
    with Client(gateway.port) as client:
        whole = client.ask("GET", "/webmail/big")
        head = client.ask("HEAD", "/webmail/big")
        part = client.ask("GET", "/webmail/big", "Range: bytes=100-199")
        same = client.ask("GET", "/webmail/big", f"If-None-Match: {whole.get('ETag')}")
        packed = client.ask("GET", "/webmail/page.txt", "Accept-Encoding: gzip")
        gone = client.ask("GET", "/webmail/nothing")
        moved = client.ask("GET", "/webmail/moved")
    assert hashlib.sha256(whole.body).digest() == hashlib.sha256(expected).digest()
    assert (head.status, head.get("Content-Length")) == (200, str(len(expected)))
    assert (part.status, part.body) == (206, expected[100:200])
    assert (same.status, same.body) == (304, b"")
    assert (packed.get("Content-Encoding"), packed.get("Transfer-Encoding")) == ("gzip", "chunked")
    assert (gone.status, gone.reason) == (404, None)
    assert moved.status == 302


def test_uploads_that_nginx_takes_and_refuses(gateway):
    with Client(gateway.port) as client:
        assert client.ask("POST", "/webmail/proxied", body=os.urandom(5 * MIB)).status == 200
        client.send(
            client.request("POST", "/webmail/proxied", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n"
        )
        assert client.answer().status == 200
        refused = client.ask("POST", "/webmail/limited", body=bytes(100_000))
    assert (refused.status, refused.reason) == (413, None)  # nginx's own


def test_an_nginx_that_hangs_up(gateway):
    with Client(gateway.port) as client:
        assert client.ask("GET", "/webmail/hangs-up").verdict == (502, "upstream_unreachable")


IN_FRONT = """
    server {
        listen 127.0.0.1:{port};
        location / {
            proxy_pass https://127.0.0.1:GATEWAY;
            proxy_bind 127.0.0.2;
            proxy_http_version 1.1;
            proxy_set_header Host HOST;
            proxy_ssl_name HOST;
            proxy_ssl_server_name on;
            proxy_ssl_trusted_certificate SERVER_CA;
            proxy_ssl_verify on;
            proxy_ssl_certificate CERTIFICATE;
            proxy_ssl_certificate_key KEY;
            proxy_ssl_protocols TLSv1.2 TLSv1.3;
        }
    }
"""


@pytest.mark.parametrize(("name", "status"), [("alice", 200), ("expired", 403)])
def test_nginx_as_a_client_with_a_certificate(tmp_path, gateway, credentials, name, status):
    words = {
        "GATEWAY": str(gateway.port),
        "HOST": HOST,
        "SERVER_CA": str(credentials.server_ca),
        "CERTIFICATE": str(credentials[name].certificate),
        "KEY": str(credentials[name].key),
    }
    text = IN_FRONT
    for word, value in words.items():
        text = text.replace(word, value)
    front = Nginx(tmp_path, text)
    try:
        for _ in range(3):  # nginx resumes its sessions
            with socket.create_connection((INSIDE, front.port), timeout=PATIENCE_SECONDS) as plain:
                plain.sendall(b"GET /webmail/told HTTP/1.1\r\nHost: front\r\nConnection: close\r\n\r\n")
                answer = Stream(plain).answer()
            assert answer.status == status
    finally:
        front.stop()
    assert answer.reason == (None if status == 200 else "certificate_expired")
    if status == 200:
        assert answer.body.startswith(f"{HOST}|{OUTSIDE}|alice@example.com|".encode())
