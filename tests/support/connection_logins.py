"""A mail server's logins that belong to a connection, as Exchange has them with NTLM, without the cryptography."""

from __future__ import annotations

import re
from typing import Any


class ConnectionAuthenticator:
    """NTLM's shape without its cryptography: negotiate, challenge, authenticate; then the connection is the user's."""

    def __init__(self) -> None:
        self.users: dict[int, str] = {}

    def __call__(self, dialogue: Any) -> None:
        request = dialogue.request
        (credentials,) = request.values(b"Authorization") or [b""]
        match = re.fullmatch(rb"NTLM (\w+)", credentials)
        number = request.connection
        if match and match[1] == b"negotiate":
            dialogue.answer(b"", b"WWW-Authenticate: NTLM challenge", status=b"401 Unauthorized")
        elif match:
            self.users[number] = match[1].decode()
            dialogue.answer(match[1])
        elif number in self.users:
            dialogue.answer(self.users[number].encode())
        else:
            dialogue.answer(b"", b"WWW-Authenticate: NTLM", b"WWW-Authenticate: Basic", status=b"401 Unauthorized")
