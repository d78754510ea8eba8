"""Logins that belong to a connection and not to a request: NTLM, and Negotiate when it carries NTLM (RFC 4559).

A server that speaks them takes whoever logged in on a connection for the user of everything that follows on
it. Such an upstream connection must never serve another client (CVE-2026-88007).
"""

from __future__ import annotations

import re
from typing import Final

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


def is_failed_login(credentials: bytes | None, challenge: bytes | None) -> bool:
    """True where a 401 with this challenge says that credentials were wrong, not only that some are wanted."""
    return credentials is not None and (challenge is None or not continues_login(challenge))
