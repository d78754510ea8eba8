"""Upstreams that behave in every way: the target of a request names the behaviour.

    Upstreams(mail, ledger, is_per_client=False)

Each checks strictly what it is sent: one well-formed request with exactly its own token, on a connection that no other
client has logged in on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from support.dialogue_behaviours import BEHAVIOURS, LOGGED_IN, Behaviour
from support.dialogue_ledger import Asked, Ledger
from support.dialogue_turn import GoneError, Turn
from support.mail import Dialogue, MailServer

_LINE = re.compile(rb"([A-Z]+) (/webmail/([a-z0-9_]+)/([a-z0-9]+)/([0-9]+)) HTTP/1\.1")
_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+: ?[\t\x20-\x7e\x80-\xff]*")
_END = b"\r\n\r\n"


class Upstreams:
    """Answers at one server as the targets ask for."""

    def __init__(self, mail: MailServer, ledger: Ledger, *, is_per_client: bool) -> None:
        self.ledger = ledger
        self.is_per_client = is_per_client
        self.owners: dict[int, str] = {}  # connection → the one conversation that may use it
        for name, behaviour in BEHAVIOURS.items():
            mail.answer(f"/webmail/{name}", self._answering(behaviour))

    def _answering(self, behaviour: Behaviour) -> Callable[[Dialogue], None]:
        def answer(dialogue: Dialogue) -> None:
            asked = self._checked(dialogue)
            if asked is None:
                dialogue.close()
                return
            turn = Turn(dialogue, asked)
            try:
                behaviour.answer(turn)
            except GoneError:
                if not asked.may_break_off:
                    self.ledger.problem(f"{asked.token}: its body ended at the upstream, but not at the client")
                dialogue.close()
            except OSError:
                dialogue.close()
            for problem in turn.problems:
                self.ledger.problem(f"{asked.token} at the upstream ({asked.behaviour}): {problem}")

        return answer

    def _checked(self, dialogue: Dialogue) -> Asked | None:
        request = dialogue.request
        line = _LINE.fullmatch(request.line)
        asked = self.ledger.asked.get(line[4].decode()) if line else None
        if line is None or asked is None:
            self.ledger.problem(f"not a request at the upstream: {request.head[:200]!r}")
            return None
        self.ledger.arrived(asked.token)
        for what in self._faults(dialogue, asked):
            self.ledger.problem(f"{asked.token} at the upstream: {what} in {request.head[:600]!r}")
        return asked

    def _faults(self, dialogue: Dialogue, asked: Asked) -> Iterator[str]:
        request = dialogue.request
        if request.line != f"{asked.method} {asked.target} HTTP/1.1".encode():
            yield "another request line"
        if not all(_FIELD.fullmatch(field) for field in request.head.removesuffix(_END).split(b"\r\n")[1:]):
            yield "a malformed field"
        for name, expected in ((b"X-Token", asked.token), (b"X-Conversation", asked.conversation)):
            if request.values(name) != [expected.encode()]:
                yield f"a foreign {name.decode()}"
        for name in (b"Host", b"X-Request-Id", b"X-Forwarded-For"):
            if len(request.values(name)) != 1:
                yield f"not one {name.decode()}"
        if len(request.values(b"Content-Length") + request.values(b"Transfer-Encoding")) > 1:
            yield "two framings"
        owner = self.owners.get(request.connection)
        if owner not in (None, asked.conversation):
            yield f"a connection that belongs to {owner}"
        if self.is_per_client or LOGGED_IN in request.values(b"Authorization"):
            self.owners[request.connection] = asked.conversation
