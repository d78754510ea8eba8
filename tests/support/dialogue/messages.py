"""Requests and responses as bytes, and what a test reads in an answer."""

from __future__ import annotations

HOST = "mail.example.com"


def get(path: str = "/webmail", *more: str, host: str = HOST) -> bytes:
    """A GET with further header lines."""
    return request("GET", path, *more, host=host)


def request(method: str, path: str = "/webmail", *more: str, body: bytes = b"", host: str = HOST) -> bytes:
    """A request with further header lines, and a body as it is given."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *more, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def response(status: str = "200 OK", *more: str, body: bytes = b"") -> bytes:
    """A response whose length is given, unless a header says otherwise."""
    framed = any(line.lower().startswith(("content-length", "transfer-encoding")) for line in more)
    length = () if framed else (f"Content-Length: {len(body)}",)
    return "\r\n".join([f"HTTP/1.1 {status}", *more, *length, "", ""]).encode("latin-1") + body


def status(answer: bytes) -> int:
    """The status of an answer's first line."""
    return int(answer.split(b" ", 2)[1])


def header(answer: bytes, name: str) -> str | None:
    """A header's value in an answer or request; None where there is none."""
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1")
    values = [
        line.partition(":")[2].strip() for line in head.split("\r\n")[1:] if line.lower().startswith(name.lower() + ":")
    ]
    assert len(values) <= 1, values
    return values[0] if values else None
