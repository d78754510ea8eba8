"""`POST /unban`: ends the lockout of an address. It is the only request here that changes anything.

Keeps true: only a program on this machine can do it. A web page can send neither the required header nor the media
type without a preflight request (CORS), which is not answered. Every request that a browser sends for another origin
is refused, and so is every request from another machine.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import orjson
from aiohttp import web

from gateway.admin.guard import refusal
from gateway.admin.state import COMMAND, COMMAND_HEADER, MEDIA_TYPE, Lift
from gateway.errors import OperationError
from gateway.facts import parse_address

# The longest IPv6 address has 45.
MAX_ADDRESS_CHARACTERS: Final = 64
# The name of the user who asks, for the log.
MAX_NAME_CHARACTERS: Final = 64

_FAILED: Final = {"not_locked_out": 404, "off": 404, "no_address": 400}


def unban(lift: Lift) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler. 200: lockout ended; 404: not locked out; 400, 403, 415: wrong request; 503: the master is silent."""

    async def handle(request: web.Request) -> web.Response:
        if (refused := _refused(request)) is not None:
            return refused
        asked = _asked(await request.read())
        if asked is None:
            return web.Response(status=400, text='send {"address": "203.0.113.9", "by": "your name"}\n')
        address, name = asked
        try:
            answer = await lift(address, f"{name!r} at {request.remote}")
        except OperationError as error:
            return web.Response(status=503, text=f"{error.cause}; {error.remedy}\n")
        status = _FAILED.get(answer["outcome"], 200)
        return web.Response(status=status, body=orjson.dumps(answer), content_type=MEDIA_TYPE)

    return handle


def _refused(request: web.Request) -> web.Response | None:
    origin = request.headers.get("Origin")
    if not _is_local(request):
        return refusal("only the gateway's own machine may change this", "run `gateway status --unban` there")
    if request.headers.get(COMMAND_HEADER) != COMMAND or (origin is not None and origin != f"http://{request.host}"):
        return refusal("this may be a web page's request", f"send the header {COMMAND_HEADER}: {COMMAND}")
    if request.content_type != MEDIA_TYPE:
        return web.Response(status=415, text=f"send the header Content-Type: {MEDIA_TYPE}\n")
    return None


def _is_local(request: web.Request) -> bool:
    """True where both ends of the connection are on this machine."""
    transport = request.transport
    if transport is None:
        return False
    peer, ours = (parse_address(transport.get_extra_info(name)[0]) for name in ("peername", "sockname"))
    return peer.is_loopback or peer == ours


def _asked(data: bytes) -> tuple[str, str] | None:
    """(address, name of the user who asks) in a request's body."""
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    match body:
        case {"address": str(address), "by": str(name)} if len(body) == 2 and len(address) <= MAX_ADDRESS_CHARACTERS:
            return address, name[:MAX_NAME_CHARACTERS]
    return None
