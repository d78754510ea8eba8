"""Which mail login and device a request names: HTTP Basic (RFC 7617) and ActiveSync's query.

Every name found is handed on, for a rule that binds the login to the certificate must hold for each of them.
Where a name can't be read, or the scheme hides it (Bearer, NTLM, Negotiate), `problem` says so, and such a
rule refuses. A scheme that is not known to hold for one request counts as one that logs in the connection.
Passwords are dropped where they are decoded; no message holds one, nor a name.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Final

from gateway.facts import NO_LOGIN, ConnectionLogin, Login, LoginKind
from gateway.http.activesync import EasQueryError, has_controls, parse_query
from gateway.policy.conditions import ACTIVESYNC

MAX_AUTHORIZATION_BYTES: Final = 8192  # for Basic; Kerberos tickets may be larger, and are not decoded
HIDDEN_LOGIN: Final = ConnectionLogin(is_hidden=True)
# Names kept of the logins on one connection. A device has one or two accounts; beyond this they count as unreadable.
MAX_CONNECTION_USERS: Final = 8

# The schemes that hold for one request (RFC 7617, 7616, 6750, 9449, and the token schemes in use). NTLM and Negotiate
# log in the connection (RFC 4559), and so may any other: a server that is not asked says nothing of it.
_KIND_OF_SCHEME: Final[dict[bytes, LoginKind]] = {
    b"basic": "basic",
    b"digest": "digest",
    b"bearer": "bearer",
    b"dpop": "bearer",
    b"oauth": "bearer",
    b"token": "bearer",
}


def path_for_login(match_path: str, readings: Sequence[str]) -> str:
    """The reading of a path by which `login_of` looks for a login: ActiveSync's where there is one."""
    return next((path for path in (match_path, *readings) if ACTIVESYNC in path), match_path)


def login_of(match_path: str, query: str | None, authorization: bytes | None) -> Login:
    """What a request names. `match_path` is the folded path (`policy.uri.Target.match`), `query` as it came.

    Never raises: what can't be read is a `problem`.
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
        assert query is not None  # noqa: S101  # for mypy; `is_activesync` says it
        try:
            eas = parse_query(query)
        except EasQueryError as error:
            return Login(users, None, problem or error.cause, kind, is_hidden)
        device_id = eas.device_id
        if eas.user is not None:
            users = (*users, eas.user)
    return Login(users, device_id, problem, kind, is_hidden)


def carried_on(before: ConnectionLogin, login: Login) -> ConnectionLogin:
    """The logins of an upstream connection once a request with `login` was sent on it."""
    if login.kind == "none" or before.is_hidden:
        return before
    if login.is_hidden:
        return HIDDEN_LOGIN
    user = login.users[0]  # the Authorization field's own; ActiveSync's query logs nobody in
    if user in before.users:
        return before
    if len(before.users) == MAX_CONNECTION_USERS:
        return HIDDEN_LOGIN
    return ConnectionLogin((*before.users, user))


def kind_of(login: Login, connection_login: ConnectionLogin) -> LoginKind:
    """How a request is logged in, for the log: by its own field, else by what its connection carries."""
    return "connection" if login.kind == "none" and connection_login.is_hidden else login.kind


def _user_of(authorization: bytes) -> tuple[LoginKind, tuple[str, ...], str | None]:
    """(kind, the user names in an Authorization value: none or one, why there is none)."""
    scheme, _, credentials = authorization.strip(b" \t").partition(b" ")
    kind = _KIND_OF_SCHEME.get(scheme.lower(), "connection")
    if kind != "basic":
        name = scheme.decode("latin-1")
        known = name if name.isascii() and name.isalpha() and len(name) <= _MAX_SCHEME_CHARACTERS else "this scheme"
        return kind, (), f"the Authorization scheme hides the user name ({known}); only names in Basic can be compared"
    users, problem = _basic_user(credentials)
    return kind, users, problem


def _basic_user(credentials: bytes) -> tuple[tuple[str, ...], str | None]:
    """The user name in Basic credentials, and why it can't be read."""
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
    # RFC 7617 section 2.1 asks for UTF-8; clients that never heard of it send ISO 8859-1.
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("latin-1")
