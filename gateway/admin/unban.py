"""`POST /unban`: the one thing that can be changed here. It lets an address in again before its lockout ends.

Keeps true: only a program on this machine can do it. A web page can send neither the header nor the media type that
are asked for without asking first whether it may (CORS), which nobody answers; what a browser sends for another origin
is refused whatever it looks like; and whoever comes over the network only reads.
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
# Who asks says who that is, for the log.
MAX_NAME_CHARACTERS: Final = 64

_FAILED: Final = {"not_locked_out": 404, "off": 404, "no_address": 400}


def unban(lift: Lift) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler. 200: let in again; 404: was not kept out; 400, 403, 415: asked wrongly; 503: nothing was heard."""

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
        return refusal("this can be changed from the gateway's own machine only", "run `gateway status --unban` there")
    if request.headers.get(COMMAND_HEADER) != COMMAND or (origin is not None and origin != f"http://{request.host}"):
        return refusal("a web page asked, or a program that does not say what it wants", f"send {COMMAND_HEADER}")
    if request.content_type != MEDIA_TYPE:
        return web.Response(status=415, text=f"send {MEDIA_TYPE}\n")
    return None


def _is_local(request: web.Request) -> bool:
    """True where both ends of the connection are on this machine."""
    transport = request.transport
    if transport is None:
        return False
    peer, ours = (parse_address(transport.get_extra_info(name)[0]) for name in ("peername", "sockname"))
    return peer.is_loopback or peer == ours


def _asked(data: bytes) -> tuple[str, str] | None:
    """(address, name of who asks) in a request's body."""
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    match body:
        case {"address": str(address), "by": str(name)} if len(body) == 2 and len(address) <= MAX_ADDRESS_CHARACTERS:
            return address, name[:MAX_NAME_CHARACTERS]
    return None
