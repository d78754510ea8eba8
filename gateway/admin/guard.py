"""Lets every client read the admin pages that reaches the port, but no web page that is open in its browser.

Keeps true: a request whose Host is neither `localhost` nor an IP address of this machine is refused, so a web page that
resolves its own name to our address learns nothing (DNS rebinding). Requests of another origin's page are refused too.
No answer can be framed, cached, or read by another origin; there is no CORS. `unban`, which changes something, is
stricter.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

# Host as RFC 9112 3.2 has it, for an IP address or `localhost`.
_HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<other>[0-9A-Za-z.]+))(?::[0-9]{1,5})?")
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "gateway",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def is_our_host(header: str, bound_host: str) -> bool:
    """True for a Host that names this machine: `localhost`, a loopback address, or the address that is listened on.

    If every address is listened on (`bound_host` empty or unspecified), any IP address is accepted: DNS rebinding needs
    a name.
    """
    found = _HOST.fullmatch(header)
    if found is None:
        return False
    text = found["v6"] or found["other"]
    if text.lower() == "localhost":
        return found["v6"] is None
    try:
        address = ip_address(text)
    except ValueError:
        return False
    bound = ip_address(bound_host) if bound_host else None
    return address.is_loopback or bound is None or bound.is_unspecified or address == bound


def is_from_elsewhere(request: web.Request) -> bool:
    """True for a request that another origin's page makes a browser send, by a form too, but not for a followed link.

    Fetch Metadata (W3C), which every browser sends.
    """
    site = request.headers.get("Sec-Fetch-Site", "none")
    is_link = request.headers.get("Sec-Fetch-Mode") == "navigate" and request.method in ("GET", "HEAD")
    return site not in ("none", "same-origin") and not is_link


def guard(bound_host: str) -> Middleware:
    """The middleware for everything that is served on `bound_host`."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or not is_our_host(hosts[0], bound_host):
            answer: web.StreamResponse = refusal("this name is not the gateway's", "use its IP address or localhost")
        elif is_from_elsewhere(request):
            answer = refusal("another site's page sent this request", "open this address directly")
        else:
            answer = await _answer(request, handler)
        for name, value in _HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer

    return check


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:  # 404 and 405 as answers, so that they get the headers too
        return web.Response(status=error.status, text=f"{error.reason}\n", headers=_allow(error))


def _allow(error: web.HTTPException) -> dict[str, str]:
    return {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}


def refusal(cause: str, remedy: str) -> web.Response:
    """An answer 403 with cause and remedy."""
    return web.Response(status=403, text=f"{cause}; {remedy}\n")
