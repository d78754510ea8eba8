"""Finds the mail login and device that a request names: in HTTP Basic (RFC 7617) and ActiveSync's query.

All names found are returned, because a rule that binds the login to the certificate must be satisfied by each of them.
If a name can't be read, or the scheme hides it (Bearer, NTLM, Negotiate), `problem` says so, and such a rule refuses. A
scheme that is not known to log in one request counts as one that logs in the connection. Passwords are dropped right
after decoding; no message contains a password or a name.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Final

from gateway.facts import NO_LOGIN, ConnectionLogin, Login, LoginKind
from gateway.http.activesync import EasQueryError, has_controls, parse_query
from gateway.policy.conditions import ACTIVESYNC

MAX_AUTHORIZATION_BYTES: Final = 8192  # for Basic; Kerberos tickets may be larger, but are not decoded
HIDDEN_LOGIN: Final = ConnectionLogin(is_hidden=True)
# Names kept for the logins on one connection. A device has one or two accounts; above this, logins count as hidden.
MAX_CONNECTION_USERS: Final = 8

# The schemes that log in one request (RFC 7617, 7616, 6750, 9449, and the token schemes in use). NTLM and Negotiate log
# in the connection (RFC 4559); any other scheme might, so it is treated like them.
_KIND_OF_SCHEME: Final[dict[bytes, LoginKind]] = {
    b"basic": "basic",
    b"digest": "digest",
    b"bearer": "bearer",
    b"dpop": "bearer",
    b"oauth": "bearer",
    b"token": "bearer",
}


def path_for_login(match_path: str, readings: Sequence[str]) -> str:
    """The reading of a path that `login_of` uses: ActiveSync's if there is one."""
    return next((path for path in (match_path, *readings) if ACTIVESYNC in path), match_path)


def login_of(match_path: str, query: str | None, authorization: bytes | None) -> Login:
    """Login and device of a request. `match_path`: the folded path (`policy.uri.Target.match`); `query`: as sent.

    Never raises: what can't be read becomes `problem`.
    """
    is_activesync = bool(query) and ACTIVESYNC in match_path
    if authorization is None and not is_activesync:
        return NO_LOGIN
    users: tuple[str, ...] = ()
    device_id = problem = None
    kind: LoginKind = "none"
    if authorization is not None:
        kind, users, problem = _user_of(authorization)
    is_hidden = problem is not None
    if is_activesync:
        assert query is not None  # noqa: S101  # for mypy; `is_activesync` ensures it
        try:
            eas = parse_query(query)
        except EasQueryError as error:
            return Login(users, None, problem or error.cause, kind, is_hidden)
        device_id = eas.device_id
        if eas.user is not None:
            users = (*users, eas.user)
    return Login(users, device_id, problem, kind, is_hidden)


def carried_on(before: ConnectionLogin, login: Login) -> ConnectionLogin:
    """The logins of an upstream connection after a request with `login` was sent on it."""
    if login.kind == "none" or before.is_hidden:
        return before
    if login.is_hidden:
        return HIDDEN_LOGIN
    user = login.users[0]  # from the Authorization field; ActiveSync's query does not log in
    if user in before.users:
        return before
    if len(before.users) == MAX_CONNECTION_USERS:
        return HIDDEN_LOGIN
    return ConnectionLogin((*before.users, user))


def kind_of(login: Login, connection_login: ConnectionLogin) -> LoginKind:
    """How a request is logged in, for the log: by its own field, else by the connection's login."""
    return "connection" if login.kind == "none" and connection_login.is_hidden else login.kind


def _user_of(authorization: bytes) -> tuple[LoginKind, tuple[str, ...], str | None]:
    """(kind, user names in an Authorization value: none or one, why there is none)."""
    scheme, _, credentials = authorization.strip(b" \t").partition(b" ")
    kind = _KIND_OF_SCHEME.get(scheme.lower(), "connection")
    if kind != "basic":
        name = scheme.decode("latin-1")
        known = name if name.isascii() and name.isalpha() and len(name) <= _MAX_SCHEME_CHARACTERS else "this scheme"
        return kind, (), f"the Authorization scheme hides the user name ({known}); only names in Basic can be compared"
    users, problem = _basic_user(credentials)
    return kind, users, problem


def _basic_user(credentials: bytes) -> tuple[tuple[str, ...], str | None]:
    """(the user name in Basic credentials, why it can't be read)."""
    if len(credentials) > MAX_AUTHORIZATION_BYTES:
        return (), f"Basic credentials longer than {MAX_AUTHORIZATION_BYTES} bytes"
    try:
        pair = base64.b64decode(credentials.strip(b" "), validate=True)
    except (binascii.Error, ValueError):
        return (), "Basic credentials that are not base64"
    name_bytes, colon, _ = pair.partition(b":")
    if not colon:
        return (), "Basic credentials without a colon"
    user = _decoded(name_bytes)
    if has_controls(user):
        return (), "a user name with control characters"
    return (user,), None


_MAX_SCHEME_CHARACTERS: Final = 16  # "Negotiate" has nine


def _decoded(name: bytes) -> str:
    # RFC 7617 section 2.1 asks for UTF-8; older clients send ISO 8859-1.
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("latin-1")
