"""The HTTP methods that clients send."""

from __future__ import annotations

from typing import Final

# What people write for "every method"; no client sends it.
EVERY_METHOD: Final = frozenset({"*", "ALL", "ANY", "EVERY"})
# RFC 9110, WebDAV (RFC 4918, 3253, 3648, 3744, 4437, 4791, 5323, 5842), PATCH (5789), QUERY, and what Exchange has.
METHODS: Final = frozenset(
    {
        *(
            "GET",
            "HEAD",
            "POST",
            "PUT",
            "DELETE",
            "CONNECT",
            "OPTIONS",
            "TRACE",
            "PATCH",
            "QUERY",
            "PROPFIND",
            "PROPPATCH",
            "MKCOL",
            "COPY",
            "MOVE",
            "LOCK",
        ),
        *(
            "UNLOCK",
            "VERSION-CONTROL",
            "REPORT",
            "CHECKOUT",
            "CHECKIN",
            "UNCHECKOUT",
            "MKWORKSPACE",
            "UPDATE",
            "LABEL",
            "MERGE",
        ),
        *(
            "BASELINE-CONTROL",
            "MKACTIVITY",
            "ORDERPATCH",
            "ACL",
            "MKREDIRECTREF",
            "UPDATEREDIRECTREF",
            "MKCALENDAR",
            "SEARCH",
            "BIND",
        ),
        *(
            "UNBIND",
            "REBIND",
            "LINK",
            "UNLINK",
            "RPC_IN_DATA",
            "RPC_OUT_DATA",
            "RPC_CONNECT",
            "BPROPFIND",
            "BPROPPATCH",
            "BCOPY",
            "BMOVE",
        ),
        *("BDELETE", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "POLL", "X-MS-ENUMATTS"),
    }
)
