"""Sends requests to OCSP responders, with limits for size and time.

Keeps true: only http(s), no redirects, no proxy from environment variables, and only a few connections
to a responder at once, so that a silent one does not delay others. The URL may come from a client's certificate, but
only from a verified one, so its CA chose it.
"""

from __future__ import annotations

from typing import Final

import aiohttp

from gateway.name_lookup import ThreadPerNameResolver
from gateway.redaction import without_secrets
from gateway.tls.client_context import client_context
from gateway.x509.ocsp import MAX_RESPONSE_BYTES, OcspError

# A responder answers in milliseconds; the client's first request waits for it.
TIME_LIMIT_SECONDS: Final = 5.0
MAX_CONNECTIONS_PER_RESPONDER: Final = 8
# For one worker: only sixteen responders that are silent at the same time can delay another one.
MAX_CONNECTIONS: Final = 16 * MAX_CONNECTIONS_PER_RESPONDER


class OcspClient:
    """Sends OCSP requests for one worker; `close` it."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, url: str, request: bytes) -> bytes:
        """The bytes of the answer, not checked. Raises `OcspError`."""
        if self._session is None:
            self._session = _open_session()
        shown = without_secrets(url)
        headers = {"Content-Type": "application/ocsp-request"}
        try:
            async with self._session.post(url, data=request, headers=headers, allow_redirects=False) as response:
                if response.status != 200:
                    raise OcspError(f"{shown} answered with status {response.status}")
                return await _read(shown, response)
        except TimeoutError as error:
            raise OcspError(f"{shown} did not answer within {TIME_LIMIT_SECONDS:g} s") from error
        except (aiohttp.ClientError, ValueError, OSError) as error:
            cause = without_secrets(str(error)) or type(error).__name__
            raise OcspError(f"{shown} cannot be reached ({cause})") from error

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _open_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        # Requests are rare: responders would close idle connections anyway.
        connector=aiohttp.TCPConnector(
            limit=MAX_CONNECTIONS,
            limit_per_host=MAX_CONNECTIONS_PER_RESPONDER,
            force_close=True,
            use_dns_cache=False,
            resolver=ThreadPerNameResolver(),
            ssl=client_context(protocols=("http/1.1",)),
        ),
        timeout=aiohttp.ClientTimeout(total=TIME_LIMIT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={"Accept": "application/ocsp-response", "Accept-Encoding": "identity", "User-Agent": "gateway"},
        trust_env=False,
    )


async def _read(shown: str, response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_chunked(MAX_RESPONSE_BYTES):
        data += chunk
        if len(data) > MAX_RESPONSE_BYTES:
            raise OcspError(f"{shown} answered more than {MAX_RESPONSE_BYTES} bytes")
    return bytes(data)
