"""Names that people give to files and folders, on real WebDAV servers behind the gateway, which are asked by http."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from support.apache import Apache
from support.client import Client
from support.gateway import HOST, OUTSIDE, settings_for
from support.web_server import Nginx

pytestmark = pytest.mark.e2e

# The servers close what is idle soon, so that each test ends with as many open files as before.
NGINX = """
    keepalive_timeout 300ms;
    server {
        listen 127.0.0.1:{port};
        root {folder}/www;
        location / { dav_methods PUT DELETE MKCOL COPY MOVE; create_full_put_path on; }
        location /dav/moved { return 302 http://$http_host/dav/there; }
    }
"""
APACHE = """
KeepAliveTimeout 300ms
DavLockDB {folder}/locks
RewriteEngine On
RewriteRule ^/dav/moved$ http://%{HTTP_HOST}/dav/there [R=302,L]
<Directory {folder}/www>
    Dav On
    Require all granted
</Directory>
"""
RULES = [
    {"name": "Closed", "uri": ["/dav/admin"], "action": "deny"},
    {"name": "DAV", "uri": ["/dav"], "action": "require_certificate"},
]
NAMES = [
    "100%.pdf",
    "100% sicher.pdf",
    "100%25.pdf",
    "50%discount, 100%dead.pdf",
    "Bericht….pdf",
    "Foto (S(1)).pdf",
    "हिन्दी क्‍ष.pdf",
    "تقرير\u200f.pdf",
    "Yıllık İzin.pdf",
    "👩‍👩‍👧 ❤️‍🔥.jpg",
    "ends in a space ",
    "ends in a dot.",
    "½ Liter, 10 ¥, № 5; x²",
    "C# notes?",
    "C++ a+b.pdf",
    "a; b.pdf",
    "+",
    "/C#/what?/;x",
    "re\u0301sume\u0301.pdf",
]


def _apache():
    server = Apache(["dav", "dav_fs", "rewrite"], APACHE)
    (server.folder / "www" / "dav").mkdir()
    (server.folder / "www").chmod(0o777)
    (server.folder / "www" / "dav").chmod(0o777)
    server.folder.chmod(0o777)
    return server


def _nginx(folder):
    (folder / "www" / "dav").mkdir(parents=True)
    return Nginx(folder, NGINX)


@pytest.fixture(scope="module", params=["nginx", "apache"])
def server(request, tmp_path_factory):
    made = _nginx(tmp_path_factory.mktemp("nginx")) if request.param == "nginx" else _apache()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def gateway(start, credentials, server):
    return start(settings_for(credentials.site, server.url, rules=RULES))


@pytest.fixture
def client(gateway, credentials):
    with Client(gateway.port, source=OUTSIDE, identity=credentials["alice"]) as client:
        yield client


def _path(name):
    return f"/dav/{quote(name.removeprefix('/'))}"


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_this_name_is_written_read_moved_and_copied(client, server, name):
    folder, path = server.folder / "www" / "dav", _path(name)
    for at in range(len(name.split("/")) - 2):
        client.ask("MKCOL", path.rsplit("/", len(name.split("/")) - 2 - at)[0] + "/")
    assert client.ask("PUT", path, body=b"text").status in (201, 204)
    assert (folder / name.removeprefix("/")).read_bytes() == b"text"
    assert client.ask("GET", path).body == b"text"
    copy = _path(f"copy of {name.removeprefix('/').replace('/', '-')}")
    assert client.ask("COPY", path, f"Destination: https://{HOST}{copy}").status in (201, 204)
    assert client.ask("MOVE", copy, f"Destination: https://{HOST}{copy}2").status in (201, 204)
    assert client.ask("GET", copy + "2").body == b"text"
    assert client.ask("GET", copy).status == 404


@pytest.mark.parametrize("name", ["admin.", "admın", "adm\u200din", "(S(x))admin", "%61dmin", "ａdmin/x"])
def test_what_reads_as_a_closed_folder_is_not_written_to(client, server, name):
    assert client.ask("PUT", "/dav/open", body=b"text").status in (201, 204)
    assert client.ask("GET", _path(name)).verdict == (403, "denied_by_rule")
    refused = client.ask("COPY", "/dav/open", f"Destination: https://{HOST}{_path(name)}")
    assert refused.verdict == (403, "denied_by_rule")
    assert not (server.folder / "www" / "dav" / name).exists()


def test_a_redirect_to_our_own_name_by_http_leads_to_https(client):
    assert client.ask("GET", "/dav/moved").get("Location") == f"https://{HOST}/dav/there"
