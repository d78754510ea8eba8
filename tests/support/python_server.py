"""A stock Python web server as a program of its own: aiohttp, with the parser that it has in Python.

    python -m support.python_server PORT LOG

Answers everything with 200 when it has read the body, `/early` before that, and says in X-Seen what was asked for.
Its access log is a JSON object a line: id (of X-Request-Id), method, target, status.
"""

from __future__ import annotations

import json
import logging
import os
import sys

# Before the import: its other parser is the one that the gateway reads header fields with.
os.environ["AIOHTTP_NO_EXTENSIONS"] = "1"

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy

MAX_LINE_BYTES = 65536
MAX_FIELDS = 256
KEEPALIVE_SECONDS = 300.0


class _Log(AbstractAccessLogger):
    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:  # noqa: ARG002
        seen = {
            "id": request.headers.get("X-Request-Id", ""),
            "method": request.method,
            "target": request.raw_path,
            "status": response.status,
        }
        self.logger.info(json.dumps(seen))


async def _answer(request: web.Request) -> web.Response:
    if request.path != "/early":
        await request.read()
    return web.Response(text="mail\n", headers={"X-Seen": request.raw_path})


def main(port: int, log: str) -> None:
    """Serve on loopback until SIGTERM."""
    assert HttpRequestParser is HttpRequestParserPy
    logger = logging.getLogger("seen")
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.FileHandler(log))
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", _answer)
    web.run_app(
        application,
        host="127.0.0.1",
        port=port,
        access_log=logger,
        access_log_class=_Log,
        keepalive_timeout=KEEPALIVE_SECONDS,
        max_line_size=MAX_LINE_BYTES,
        max_field_size=MAX_LINE_BYTES,
        max_headers=MAX_FIELDS,
        auto_decompress=False,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
