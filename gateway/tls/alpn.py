"""Which protocol is spoken inside TLS (ALPN, RFC 7301).

Keeps true: a client that offers protocols gets one of ours or the alert `no_application_protocol`, so
that data for another protocol isn't read as HTTP (the ALPACA attack). A client that offers no protocols is served.

The callback uses the binding, not pyOpenSSL's wrapper: the wrapper copies the rest of the list for each name in it,
which takes 10 ms for a ClientHello of 32 KiB.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from OpenSSL import SSL

from gateway.tls.client_hello import MAX_PROTOCOLS

HTTP_2: Final = b"h2"
# HTTP/1.0 is served by the same code; `curl --http1.0` offers only that.
_NAMES: Final = {"h2": (HTTP_2,), "http/1.1": (b"http/1.1", b"http/1.0")}

_lib: Final[Any] = SSL._lib  # type: ignore[attr-defined]
_ffi: Final[Any] = SSL._ffi  # type: ignore[attr-defined]

# OpenSSL's SSL_CTX_alpn_select_cb_func
_CALLBACK: Final = "int (*)(SSL *, unsigned char **, unsigned char *, const unsigned char *, unsigned int, void *)"


def names_of(protocols: Iterable[str]) -> tuple[bytes, ...]:
    """The names in ALPN of a site's `protocols`, best first."""
    return tuple(name for protocol in protocols for name in _NAMES[protocol])


def select_from(context: SSL.Context, protocols: Sequence[bytes]) -> None:
    """Let handshakes choose the first of `protocols` that the client offers."""
    ours = {name: _ffi.new("unsigned char[]", name) for name in protocols}

    def select(_ssl: Any, out: Any, out_length: Any, data: Any, size: int, _argument: Any) -> int:
        name = chosen_protocol(first_names(bytes(_ffi.buffer(data, size))), protocols)
        if name is None:
            return int(_lib.SSL_TLSEXT_ERR_ALERT_FATAL)
        out[0] = ours[name]
        out_length[0] = len(name)
        return int(_lib.SSL_TLSEXT_ERR_OK)

    callback = _ffi.callback(_CALLBACK, select, error=_lib.SSL_TLSEXT_ERR_ALERT_FATAL)
    context._alpn_select_callback = callback  # keeps it alive with the context, where pyOpenSSL keeps its own
    _lib.SSL_CTX_set_alpn_select_cb(context._context, callback, _ffi.NULL)


def chosen_protocol(offered: Sequence[bytes], protocols: Sequence[bytes]) -> bytes | None:
    """The first of our `protocols` that the client offers; None if it offers none of them, or none at all.

    The handshake makes the same choice, so the caller knows it as soon as it has read the ClientHello. But after a
    HelloRetryRequest the client may send another list; see `TlsLayer.protocol`.
    """
    return next((name for name in protocols if name in offered), None)


def first_names(data: bytes) -> list[bytes]:
    """The names in a ProtocolNameList whose form OpenSSL has checked, without its length; at most `MAX_PROTOCOLS`.

    They are limited here too, because a second ClientHello (after a HelloRetryRequest) is not read by `client_hello`.
    """
    names: list[bytes] = []
    at = 0
    while at < len(data) and len(names) < MAX_PROTOCOLS:
        end = at + 1 + data[at]
        names.append(data[at + 1 : end])
        at = end
    return names
