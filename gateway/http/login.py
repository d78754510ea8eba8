"""Which mail login and device a request names: HTTP Basic (RFC 7617) and ActiveSync's query.

Every name found is handed on, for a rule that binds the login to the certificate must hold for each of them.
Where a name can't be read, or the scheme hides it (Bearer, NTLM, Negotiate), `problem` says so, and such a
rule refuses. Passwords are dropped where they are decoded; no message holds one, nor a name.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from gateway.facts import NO_LOGIN, Login
from gateway.http.activesync import EasQueryError, has_controls, parse_query
from gateway.policy.conditions import ACTIVESYNC

MAX_AUTHORIZATION_BYTES: Final = 8192  # for Basic; Kerberos tickets may be larger, and are not decoded


def login_of(match_path: str, query: str | None, authorization: bytes | None) -> Login:
    """What a request names. `match_path` is the folded path (`policy.uri.Target.match`), `query` as it came.

    Never raises: what can't be read is a `problem`.
    """
    is_activesync = bool(query) and ACTIVESYNC in match_path
    if authorization is None and not is_activesync:
        return NO_LOGIN
    users: tuple[str, ...] = ()
    device_id = problem = None
    if authorization is not None:
        users, problem = _user_of(authorization)
    if is_activesync:
        assert query is not None  # noqa: S101  # for mypy; `is_activesync` says it
        try:
            eas = parse_query(query)
        except EasQueryError as error:
            return Login(users, None, problem or error.cause)
        device_id = eas.device_id
        if eas.user is not None:
            users = (*users, eas.user)
    return Login(users, device_id, problem)


def _user_of(authorization: bytes) -> tuple[tuple[str, ...], str | None]:
    """The user names in an Authorization value, none or one, and why there is none."""
    scheme, _, credentials = authorization.strip(b" \t").partition(b" ")
    if scheme.lower() != b"basic":
        name = scheme.decode("latin-1")
        known = name if name.isascii() and name.isalpha() and len(name) <= _MAX_SCHEME_CHARACTERS else "this scheme"
        return (), f"the Authorization scheme hides the user name ({known}); only Basic can be compared"
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
