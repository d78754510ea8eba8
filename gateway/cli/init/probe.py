"""Tests whether the mail server answers, with a trusted certificate, while the admin is still there.

`gateway check` makes no connections, so without this test the first sign would be the gateway's error page.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Final

from gateway.config.addresses import parse_server
from gateway.tls.client_context import client_context
from gateway.x509.loading import load_certificates

PROBE_SECONDS: Final = 3.0  # a server in the same building answers in milliseconds, and the admin waits


def doubt_about(url: str, ca: Path | None) -> str | None:
    """What is wrong with the server now; None if it answers as the gateway needs it."""
    server = parse_server(url)
    authorities = None if ca is None else load_certificates(ca)
    try:
        with socket.create_connection((server.host, server.port), PROBE_SECONDS) as plain:
            if server.scheme == "https":
                client_context(authorities).wrap_socket(plain, server_hostname=server.host).close()
    except ssl.SSLCertVerificationError as error:
        return (
            f"The certificate of {url} is not trusted: {error.verify_message.rstrip('.')}.\n"
            "  Write its CA or its name into config.yaml: upstreams.mail.tls.ca or upstreams.mail.tls.server_name."
        )
    except OSError as error:
        return (
            f"{url} does not answer now: {error.strerror or error}.\n"
            "  If the address is wrong, correct upstreams.mail.servers in config.yaml."
        )
    return None
