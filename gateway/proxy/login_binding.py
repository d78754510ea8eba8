"""Logins that belong to a connection and not to a request: NTLM, and Negotiate when it carries NTLM (RFC 4559).

A server that speaks them takes whoever logged in on a connection for the user of everything that follows on
it. Such an upstream connection must never serve another client (CVE-2026-88007).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gateway.http.headers import AUTHORIZATION, value_of

if TYPE_CHECKING:
    from gateway.http.http1 import RequestHead

# As a scheme at the start, or behind a comma in a list of challenges.
_SCHEME: Final = re.compile(rb"(?:^|,)[ \t]*(?:ntlm|negotiate)(?=[ \t,]|$)", re.IGNORECASE)


def binds_connection(credentials: bytes) -> bool:
    """True where an Authorization or WWW-Authenticate value speaks of such a login."""
    return _SCHEME.search(credentials) is not None


# With a token behind the scheme the handshake goes on (RFC 4559 4.1); without one it begins anew.
_CONTINUED: Final = re.compile(rb"(?:^|,)[ \t]*(?:ntlm|negotiate)[ \t]+[A-Za-z0-9+/]", re.IGNORECASE)


def continues_login(challenge: bytes) -> bool:
    """True where a WWW-Authenticate value is a step of such a login, not only an offer of one."""
    return _CONTINUED.search(challenge) is not None


# Outlook asks with an empty Bearer where its tokens come from. Known names alone: some servers read past the first
# letters of a longer word, and credentials could hide in it.
_EMPTY: Final = re.compile(rb"[ \t]*(?:basic|bearer|digest|negotiate|ntlm)[ \t]*", re.IGNORECASE)
_FORMS: Final = (b"application/x-www-form-urlencoded", b"multipart/form-data")


def is_failed_login(head: RequestHead, challenge: bytes | None) -> bool:
    """True where a 401 with this challenge says that a login was wrong, not only that one is wanted.

    A POST is a login, too: a form's. But phones and Outlook POST without credentials first, to be asked for them; what
    they send is no form, or empty, and perhaps names a scheme without credentials. And on a connection of its own NTLM
    begins anew with whatever is sent.
    """
    credentials = head.values[AUTHORIZATION]
    if credentials is not None and _EMPTY.fullmatch(credentials) is None:
        return challenge is None or not continues_login(challenge)
    if head.method != b"POST":
        return False
    if challenge is None:
        return True
    kind = value_of(head.passing, b"content-type")
    is_form = head.has_body and (kind is None or kind.lower().startswith(_FORMS))
    return is_form and not binds_connection(challenge)
