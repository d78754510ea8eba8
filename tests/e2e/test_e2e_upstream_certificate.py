"""A real nginx as the mail server that asks the gateway itself for a certificate."""

from __future__ import annotations

import pytest
from support.client import Client
from support.gateway import HOST, settings_for
from support.web_server import Nginx

pytestmark = pytest.mark.e2e

HTTP = """
    server {{
        listen 127.0.0.1:{{port}} ssl;
        ssl_certificate {folder}/mailhost.crt;
        ssl_certificate_key {folder}/mailhost.key;
        ssl_client_certificate {root};
        ssl_verify_client on;
        location / {{ add_header X-Name $ssl_server_name; return 200 "$ssl_client_verify $ssl_client_s_dn"; }}
    }}
"""


@pytest.fixture(scope="module")
def nginx(credentials, tmp_path_factory):
    text = HTTP.format(folder=credentials.folder, root=credentials.root)
    server = Nginx(tmp_path_factory.mktemp("nginx"), text)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def gateway(start, credentials, nginx):
    """One upstream shows a certificate of nginx's CA, one shows a stranger's, one shows none."""
    settings = settings_for(credentials.site, "")
    ours = {"ca": str(credentials.folder / "serverCA.crt"), "server_name": "mail.internal"}
    settings["sites"], settings["upstreams"] = [], {}
    for name, holder in {"alice": "alice", "stranger": "stranger", "nobody": None}.items():
        tls = dict(ours)
        if holder is not None:
            files = credentials[holder]
            tls |= {"certificate": str(files.certificate), "key": str(files.key)}
        # Open connections must end before the test does: nobody hangs nginx up.
        url = nginx.url.replace("http:", "https:")
        settings["upstreams"][name] = {"servers": [url], "tls": tls, "timeouts": {"idle": "1s"}}
        settings["sites"].append({"hosts": [f"{name}.{HOST}"], "upstream": name, **credentials.site})
    return start(settings)


def ask(gateway, name):
    with Client(gateway.port, server_name=f"{name}.{HOST}") as client:
        return client.ask("GET", "/webmail")


def test_the_configured_certificate_is_shown(gateway):
    """And the name that the server is verified by is asked for."""
    answer = ask(gateway, "alice")
    assert answer.status == 200
    assert answer.body.startswith(b"SUCCESS ")
    assert b"alice" in answer.body
    assert answer.get("X-Name") == "mail.internal"


@pytest.mark.parametrize("name", ["stranger", "nobody"])
def test_without_the_right_one_the_server_says_no_and_the_client_hears_it(gateway, name):
    """It is the mail server's own answer, not a page of the gateway's."""
    answer = ask(gateway, name)
    assert answer.verdict == (400, None)
    assert b"SSL certificate" in answer.body
