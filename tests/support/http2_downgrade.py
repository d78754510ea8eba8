"""What an HTTP/2 request is to the upstream, which reads HTTP/1.1: exactly the request that was judged, or nothing."""

from __future__ import annotations

from support.http1_stream import admission, check_upstream_head, snapshot, upstream_head

from gateway.errors import RequestError
from gateway.http.body import BodyError, ChunkedReader, FramedReader, encode_last_chunk
from gateway.http.fields import Fields, parse_fields
from gateway.http.headers import DESTINATION, LAST_PASSING, NEVER_IN_TRAILERS, fold
from gateway.http.http1 import END_OF_HEAD, parse_request
from gateway.http.http2_head import WEBSOCKET_KEY, request_head
from gateway.http.http2_requests import CONNECTION_SPECIFIC, MalformedError, read_request, read_trailers
from gateway.policy.hosts import normalise_host
from gateway.policy.uri import normalise
from gateway.proxy.exchange.answer import passing_trailers

GET: Fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a"), (b":path", b"/x")]
_OURS = [b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-Forwarded-Port", b"Forwarded"]


def translated(data: bytes, authority: bytes) -> list[tuple[Fields, bytes]]:
    """(field list, body) of requests over HTTP/2 with what is in these bytes, as far as they are not malformed.

    With the fields as they are, and without those that tell where the body ends.
    """
    head, _, body = data.partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    method, _, rest = line.partition(b" ")
    parts = [each.partition(b":") for each in lines]
    pairs = [(name.strip(b" \t").lower(), value.strip(b" \t")) for name, _, value in parts]
    fields = [(name, value) for name, value in pairs if name not in {b"host", *CONNECTION_SPECIFIC}]
    found = []
    for target in (rest.rpartition(b" ")[0], b"/x"):
        pseudo = [(b":method", method), (b":scheme", b"https"), (b":authority", authority), (b":path", target)]
        for listed in (fields, [(name, value) for name, value in fields if name != b"content-length"]):
            try:
                request = read_request(1, [*pseudo, *listed], has_body=bool(body), uri_bytes=8192)
            except (MalformedError, RequestError):
                continue
            if request.content_length in {None, len(body)}:
                found.append(([*pseudo, *listed], body))
    return found


def downgraded(listed: Fields, *, has_body: bool) -> str:
    """What becomes of a request: "malformed", "refused" or "forwarded". Fails if the upstream reads anything else."""
    try:
        request = read_request(1, listed, has_body=has_body, uri_bytes=8192)
    except MalformedError:
        return "malformed"
    except RequestError:
        return "refused"
    client, classify = admission(), snapshot().classify
    try:
        head = request_head(request, classify, headers=100)
        upstream = upstream_head(client, head)
    except RequestError:
        return "refused"
    check_upstream_head(upstream, head)
    end = upstream.index(END_OF_HEAD)
    again = parse_request(upstream, end, classify, uri_bytes=8192, headers=120, header_bytes=len(upstream))
    target = normalise(request.target)
    assert again.method == head.method == (request.method if request.protocol is None else b"GET")
    assert again.target == (target.path if target.query is None else f"{target.path}?{target.query}").encode()
    assert again.host == normalise_host(request.authority.decode()).encode()
    assert again.content_length == head.content_length == (None if head.upgrade else request.content_length)
    assert again.is_chunked == head.is_chunked == (has_body and request.content_length is None and not head.upgrade)
    assert again.upgrade == head.upgrade
    assert again.expects_continue == head.expects_continue
    names = _check_fields(request.fields, upstream, is_tunnel=request.protocol is not None)
    assert names == _expected_names(head.values[DESTINATION] is not None, upstream)
    return "forwarded"


def _check_fields(fields: Fields, upstream: bytes, *, is_tunnel: bool) -> list[bytes]:
    """The client's fields are there, in their order, with nothing between them; returns the names of ours."""
    classify = snapshot().classify
    expected = [(name, value) for name, value in fields if classify[name] <= LAST_PASSING]
    if is_tunnel:
        expected = [(name, value) for name, value in expected if fold(name) != WEBSOCKET_KEY]
    read = parse_fields(upstream[upstream.index(b"\r\n") + 2 :])
    assert read[0][0] == b"Host"
    assert read[1 : len(expected) + 1] == expected
    rest = [name for name, _ in read[len(expected) + 1 :]]
    if is_tunnel:
        assert rest.pop(0) == b"Sec-WebSocket-Key"
    return rest


def _expected_names(has_destination: bool, upstream: bytes) -> list[bytes]:
    names = [*([b"Destination"] if has_destination else []), *_OURS, b"X-Client-Verified", b"X-Request-Id"]
    after = upstream[upstream.index(b"\r\nX-Request-Id: ") + 2 :]
    return names + [line.partition(b":")[0] for line in after.split(b"\r\n")[1:-2]]


def downgraded_trailers(listed: Fields) -> str:
    """What becomes of trailers: "malformed", "refused" or "forwarded"."""
    try:
        trailers = read_trailers(listed)
    except MalformedError:
        return "malformed"
    classify = snapshot().classify
    try:
        FramedReader().end(trailers)
    except BodyError:
        return "refused"
    passing = passing_trailers(trailers, classify)
    reader = ChunkedReader()
    assert reader.feed(encode_last_chunk(passing)) == (b"", b"")
    assert reader.is_complete
    assert reader.trailers == passing
    assert all(fold(name) not in NEVER_IN_TRAILERS and classify[name] <= LAST_PASSING for name, _ in passing)
    return "forwarded"
