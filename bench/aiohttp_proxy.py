"""The plain peer: a reverse proxy as one writes it with aiohttp's server and client and the ssl module.

`python -m bench.aiohttp_proxy PORT UPSTREAM_PORT SERVER_PEM SERVER_KEY CA_PEM ACCESS_LOG`
"""

from __future__ import annotations

import logging
import ssl
import sys
import uuid

import aiohttp
from aiohttp import web

HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host"}
INSIDE = "127.0.0.1"
ALLOWED = ("/webmail", "/Microsoft-Server-ActiveSync")
CHUNK_BYTES = 64 * 1024


class Proxy:
    def __init__(self, upstream_port: int) -> None:
        self.upstream = f"http://127.0.0.1:{upstream_port}"
        self.session: aiohttp.ClientSession

    async def start(self, _: web.Application) -> None:
        self.session = aiohttp.ClientSession(auto_decompress=False, connector=aiohttp.TCPConnector(limit=0))

    async def stop(self, _: web.Application) -> None:
        await self.session.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if not request.path.startswith(ALLOWED):
            return web.Response(status=403)
        if request.remote != INSIDE and request.get_extra_info("peercert") is None:
            return web.Response(status=403)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        headers |= {
            "Host": request.host,
            "X-Forwarded-For": request.remote or "",
            "X-Forwarded-Proto": "https",
            "X-Request-Id": uuid.uuid4().hex,
        }
        body = request.content if request.can_read_body else None
        async with self.session.request(
            request.method,
            self.upstream + request.path_qs,
            headers=headers,
            data=body,
            allow_redirects=False,
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                await response.write(chunk)
            await response.write_eof()
            return response


def main() -> None:
    port, upstream_port, certificate, key, ca, access_log = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_cert_chain(certificate, key)
    logger = logging.getLogger("aiohttp.access")
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.FileHandler(access_log))
    proxy = Proxy(int(upstream_port))
    app = web.Application(client_max_size=0)
    app.on_startup.append(proxy.start)
    app.on_cleanup.append(proxy.stop)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    web.run_app(app, host="127.0.0.1", port=int(port), ssl_context=context, access_log=logger, print=None)


if __name__ == "__main__":
    main()
