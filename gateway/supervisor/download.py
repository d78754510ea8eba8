"""One GET of a revocation list, bounded in size, time and hops.

What this module keeps true: an answer counts only with status 200 (or 304 to a conditional request); a redirect leads
at most from http to https, never back and never to another scheme; proxies come from nobody's environment, since a
variable meant for another program must not decide where revocation comes from.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit

import aiohttp

from gateway.errors import GatewayError
from gateway.proxy.name_lookup import ThreadPerNameResolver
from gateway.redaction import without_secrets
from gateway.tls.client_context import client_context

# A list of 400,000 entries; what is longer would hold up every reload for a second.
MAX_LIST_BYTES: Final = 16 * 1024 * 1024
# A list over a slow line takes seconds. Name, redirects and answer together.
TOTAL_SECONDS: Final = 60.0
CONNECT_SECONDS: Final = 10.0
SILENT_SECONDS: Final = 20.0
# A moved list is one hop, and http to https another.
MAX_REDIRECTS: Final = 3
# Of a redirect's target, in the log.
MAX_SHOWN_CHARACTERS: Final = 200

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_READ_BYTES: Final = 64 * 1024
# What OpenSSL calls an answer that is no TLS.
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")


# Hears how many bytes have come.
Take = Callable[[int], None]


class DownloadError(GatewayError):
    """The list could not be had."""


@dataclass(frozen=True, slots=True)
class Validators:
    """What a server calls the version that was fetched (RFC 9110 section 8.8)."""

    etag: str | None = None
    last_modified: str | None = None

    def headers(self) -> dict[str, str]:
        """The conditional request's fields (RFC 9110 section 13.1)."""
        named = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Download:
    """An answer; `data` is None where the list has not changed."""

    data: bytes | None
    validators: Validators


def download_context() -> ssl.SSLContext:
    """For all sessions: reading the system's roots takes 20 ms."""
    return client_context(protocols=("http/1.1",))


def open_session(context: ssl.SSLContext) -> aiohttp.ClientSession:
    """A session for `download`, of one URL; to be closed."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=1,  # a redirect is asked for when its answer was read
            resolver=ThreadPerNameResolver(),
            force_close=True,
            use_dns_cache=False,
            ssl=context,
        ),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        # A compressed answer could be a thousand times as long as it looks.
        auto_decompress=False,
        headers={"Accept": "application/pkix-crl, */*;q=0.1", "Accept-Encoding": "identity", "User-Agent": "gateway"},
        trust_env=False,
    )


async def download(
    session: aiohttp.ClientSession, url: str, known: Validators = Validators(), take: Take = lambda _: None
) -> Download:
    """GET `url`, unless it is the version that `known` names; `take` hears of each part. Raises `DownloadError`."""
    shown = without_secrets(url)
    try:
        async with asyncio.timeout(TOTAL_SECONDS):
            return await _follow(session, url, known, take)
    except TimeoutError as error:
        raise DownloadError(f"{shown}: no whole answer within {TOTAL_SECONDS:g} s") from error
    except (aiohttp.ClientError, ValueError, OSError) as error:
        raise DownloadError(f"{shown}: {_in_words(error)}") from error


def _in_words(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        if isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS:
            return "the server speaks no TLS on this port; name its port for https, or http://"
        if isinstance(cause, ConnectionError) and cause.strerror is None:  # asyncio's own, without an errno
            return "the server ended the connection in the TLS handshake; it may speak no TLS on this port"
    return without_secrets(str(error)) or type(error).__name__


async def _follow(session: aiohttp.ClientSession, url: str, known: Validators, take: Take) -> Download:
    target = url
    for _ in range(MAX_REDIRECTS + 1):
        async with session.get(target, headers=known.headers(), allow_redirects=False) as response:
            if response.status not in _REDIRECTS:
                return await _read(url, response, known, take)
            target = _next(url, target, response.headers.get("Location", ""))
    raise DownloadError(f"{without_secrets(url)}: more than {MAX_REDIRECTS} redirects")


def _next(url: str, target: str, location: str) -> str:
    following = urljoin(target, location)
    parts = urlsplit(following)
    if parts.scheme not in (urlsplit(target).scheme, "https") or not parts.hostname:
        shown = without_secrets("".join(following.split()))[:MAX_SHOWN_CHARACTERS]
        raise DownloadError(f"{without_secrets(url)}: a redirect to {shown!r} is not followed")
    return following


async def _read(url: str, response: aiohttp.ClientResponse, known: Validators, take: Take) -> Download:
    if response.status == 304 and known.headers():
        return Download(None, known)
    if response.status != 200:
        raise DownloadError(f"{without_secrets(url)}: the server answered {response.status}")
    data = bytearray()
    async for chunk in response.content.iter_chunked(_READ_BYTES):
        data += chunk
        take(len(chunk))
        if len(data) > MAX_LIST_BYTES:
            raise DownloadError(f"{without_secrets(url)}: longer than {MAX_LIST_BYTES} bytes")
    return Download(bytes(data), Validators(response.headers.get("ETag"), response.headers.get("Last-Modified")))
