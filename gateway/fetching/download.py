"""One GET of a revocation list, with limits for size, time and redirects.

Keeps true: an answer counts only with status 200 (or 304 to a conditional request); a redirect may lead from http to
https, but not from https to http and not to another scheme; proxies from the environment are not used, because a
variable that is meant for another program must not decide where revocation lists come from.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit

import aiohttp

from gateway.errors import GatewayError
from gateway.name_lookup import ThreadPerNameResolver
from gateway.redaction import without_secrets
from gateway.tls.client_context import client_context

# A list of 400,000 entries; a longer one would delay every reload by more than a second.
MAX_LIST_BYTES: Final = 16 * 1024 * 1024
# For name lookup, redirects and answer together; a list over a slow line takes seconds.
TOTAL_SECONDS: Final = 60.0
CONNECT_SECONDS: Final = 10.0
SILENT_SECONDS: Final = 20.0
# A list that was moved needs one redirect, http to https another.
MAX_REDIRECTS: Final = 3
# How much of a redirect's target the log shows.
MAX_SHOWN_CHARACTERS: Final = 200

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_READ_BYTES: Final = 64 * 1024
# OpenSSL's errors for an answer that is not TLS.
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")


# Called with the number of bytes that have arrived.
Take = Callable[[int], None]


class DownloadError(GatewayError):
    """The list could not be downloaded."""


@dataclass(frozen=True, slots=True)
class Validators:
    """The server's identifiers of the version that was fetched (RFC 9110 section 8.8)."""

    etag: str | None = None
    last_modified: str | None = None

    def headers(self) -> dict[str, str]:
        """The conditional request's fields (RFC 9110 section 13.1)."""
        named = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Download:
    """An answer; `data` is None if the list has not changed."""

    data: bytes | None
    validators: Validators


def download_context() -> ssl.SSLContext:
    """The TLS context for all sessions, made once because reading the system's roots takes 20 ms."""
    return client_context(protocols=("http/1.1",))


def open_session(context: ssl.SSLContext) -> aiohttp.ClientSession:
    """A session for `download`, for one URL; the caller closes it."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=1,  # a redirect is followed after its answer was read
            resolver=ThreadPerNameResolver(),
            force_close=True,
            use_dns_cache=False,
            ssl=context,
        ),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        # A compressed answer can be a thousand times longer once it is decompressed.
        auto_decompress=False,
        headers={"Accept": "application/pkix-crl, */*;q=0.1", "Accept-Encoding": "identity", "User-Agent": "gateway"},
        trust_env=False,
    )


async def download(
    session: aiohttp.ClientSession, url: str, known: Validators = Validators(), take: Take = lambda _: None
) -> Download:
    """GET `url` unless its version is `known`; `take` is called for each part. Raises `DownloadError`."""
    shown = without_secrets(url)
    try:
        async with asyncio.timeout(TOTAL_SECONDS):
            return await _follow(session, url, known, take)
    except TimeoutError as error:
        raise DownloadError(f"{shown}: the answer was not complete within {TOTAL_SECONDS:g} s") from error
    except (aiohttp.ClientError, ValueError, OSError) as error:
        raise DownloadError(f"{shown}: {_in_words(error)}") from error


def _in_words(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return _connection_in_words(error)
    return without_secrets(str(error)) or type(error).__name__


def _connection_in_words(error: aiohttp.ClientConnectorError) -> str:
    match error.os_error:
        case ssl.SSLCertVerificationError() as cause:
            why = f"the server's certificate is not trusted ({cause.verify_message})"
            return f"{why}; give the server one that this machine trusts, or write http://"
        case ssl.SSLError() as cause if cause.reason in _NO_TLS:
            return "the server does not speak TLS on this port; write its https port into the URL, or write http://"
        case ConnectionError() as cause if cause.strerror is None:  # asyncio's own, without an errno
            return (
                "the server ended the connection in the TLS handshake; if it does not speak TLS on this port, write "
                "its https port into the URL, or write http://"
            )
        case OSError(errno=int(number)) as cause if number > 0 and not isinstance(cause, ssl.SSLError):
            return f"cannot connect to {error.host}:{error.port}: {os.strerror(number)}"
        case cause:
            return f"cannot connect to {error.host}:{error.port}: {cause}"


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
        raise DownloadError(
            f"{without_secrets(url)}: a redirect to {shown!r} is not followed; write the list's own URL into crl"
        )
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
            raise DownloadError(f"{without_secrets(url)}: the answer is longer than {MAX_LIST_BYTES} bytes")
    return Download(bytes(data), Validators(response.headers.get("ETag"), response.headers.get("Last-Modified")))
