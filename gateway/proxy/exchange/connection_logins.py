"""Recognises logins that belong to a connection, not to a request: NTLM, and Negotiate with NTLM (RFC 4559).

With these, a server treats all later requests on a connection as the user's who logged in on it. Such an upstream
connection must never serve another client (CVE-2026-88007).
"""

from __future__ import annotations

import re
from typing import Final

from gateway.http.headers import AUTHORIZATION, value_of
from gateway.http.http1 import RequestHead

# A scheme at the start, or after a comma in a list of challenges.
_SCHEME: Final = re.compile(rb"(?:^|,)[ \t]*(?:ntlm|negotiate)(?=[ \t,]|$)", re.IGNORECASE)


def binds_connection(credentials: bytes) -> bool:
    """True if an Authorization or WWW-Authenticate value is for such a login."""
    return _SCHEME.search(credentials) is not None


# With a token after the scheme the login continues (RFC 4559 4.1); without one it begins.
_CONTINUED: Final = re.compile(rb"(?:^|,)[ \t]*(?:ntlm|negotiate)[ \t]+[A-Za-z0-9+/]", re.IGNORECASE)


def continues_login(challenge: bytes) -> bool:
    """True if a WWW-Authenticate value is a step of such a login, not only an offer."""
    return _CONTINUED.search(challenge) is not None


# Outlook sends an empty Bearer to learn where tokens come from. Only exact names count: some servers compare only the
# first letters of a word, so a longer word could contain credentials.
_EMPTY: Final = re.compile(rb"[ \t]*(?:basic|bearer|digest|negotiate|ntlm)[ \t]*", re.IGNORECASE)
_FORMS: Final = (b"application/x-www-form-urlencoded", b"multipart/form-data")


def is_failed_login(head: RequestHead, challenge: bytes | None) -> bool:
    """True if a 401 with this challenge means that a login was wrong, not only that one is required.

    A POST of a form is a login too. But phones and Outlook first POST without credentials, to be asked for them: then
    the body is empty or not a form, and the Authorization field may name a scheme without credentials. On its own
    connection, NTLM begins again with any request.
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
