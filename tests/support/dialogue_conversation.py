"""One random conversation with the gateway: a TLS connection, and requests on it in every manner.

    Conversation(ledger, "s1c2", site, client).run(MANNERS)

Whatever comes back must be the request's own answer, byte for byte, as the upstream's behaviour allows; at the end of
the connection there is nothing behind the last answer.
"""

from __future__ import annotations

import contextlib
import random
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from support.client import Answer, Client, parse_head
from support.crowd import LEAVE
from support.dialogue_behaviours import (
    BAD,
    BEHAVIOURS,
    CUT,
    GOOD,
    UNANSWERED,
    WHOLE,
)
from support.dialogue_ledger import Asked, Ledger, pattern

# What a client may be told when the upstream failed.
BAD_STATUSES = (502, 504)
# Repeated by the gateway where the server's connection ended without an answer; for all others that is the end.
SAFE = ("GET", "HEAD", "OPTIONS")
# A connection with a login is kept even where a body may still follow: the client then meets its own.
FOLLOWED = ("no_content_with_body", "answered_head")
END = b"\r\n\r\n"
ENDS = (EOFError, OSError)  # `ssl.SSLError` is an OSError


class OverError(Exception):
    """Nothing more can be said on this connection."""


@dataclass(frozen=True)
class Site:
    """Whom the conversation is held with."""

    host: str
    is_per_client: bool  # its upstream's connections
    may_enter: bool  # from inside, or with a certificate


class Conversation:
    def __init__(self, ledger: Ledger, name: str, site: Site, client: Client) -> None:
        self.ledger = ledger
        self.name = name
        self.site = site
        self.client = client
        self.random = random.Random(name)
        self.address: tuple[str, int] = client.socket.getsockname()
        ledger.odd[self.address] += 0
        self._count = 0
        self._doing = ""
        self.done: list[str] = [site.host]  # and then the requests so far, with their manners and behaviours
        self.answered = 0
        self.has_own_upstream = site.is_per_client
        self.is_logged_in = False

    def run(self, manners: Sequence[Callable[[Conversation], None]]) -> None:
        """A few manners, and then a last request that shows whether anything is left over."""
        try:
            for _ in range(self.random.randint(1, 4)):
                manner = self.random.choice(manners)
                self._doing = manner.__name__
                manner(self)
            self._doing = "last"
            self.ends(self.ask("GET", "Connection: close", behaviour="length"))
        except OverError:
            pass
        except ENDS as error:
            self.problem(f"{error!r}")
        finally:
            self.client.close()

    def problem(self, what: str) -> None:
        self.ledger.problem(f"{self.name} ({' > '.join(self.done)}): {what}")

    # asking

    def asked(
        self, method: str, behaviour: str | None = None, body_bytes: int = 0, *, is_broken: bool = False
    ) -> Asked:
        """A request that is on record before it is sent."""
        self._count += 1
        behaviour = behaviour or self.random.choice([*GOOD, *BEHAVIOURS])
        if self.is_logged_in and behaviour in FOLLOWED:
            behaviour = "length"
        if behaviour == "silent" and self.random.random() < 0.8:  # it takes long
            behaviour = "chunked"
        token = f"{self.name}n{self._count}"
        self.done.append(f"{self._doing}: {method} {behaviour}")
        asked = Asked(token, self.name, method, behaviour, body_bytes, self._doing, may_break_off=is_broken)
        return self.ledger.add(asked)

    def head(self, asked: Asked, *fields: str, version: str = "1.1") -> bytes:
        lines = [f"{asked.method} {asked.target} HTTP/{version}", f"Host: {self.site.host}"]
        lines += [f"X-Token: {asked.token}", f"X-Conversation: {asked.conversation}", *fields, "", ""]
        return "\r\n".join(lines).encode()

    def whole(self, asked: Asked, *fields: str) -> bytes:
        """The request with its body and its length."""
        if asked.method in ("GET", "HEAD", "OPTIONS") and not asked.body_bytes:
            return self.head(asked, *fields)
        return self.head(asked, f"Content-Length: {asked.body_bytes}", *fields) + asked.body

    def chunked(self, asked: Asked, *fields: str, trailer: str = "") -> bytes:
        body, at, out = asked.body, 0, [self.head(asked, "Transfer-Encoding: chunked", *fields)]
        while at < len(body):
            piece = body[at : at + self.random.randint(1, 4000)]
            out.append(b"%x%b\r\n%b\r\n" % (len(piece), self.random.choice((b"", b";a=b")), piece))
            at += len(piece)
        return b"".join((*out, b"0\r\n", trailer.encode(), b"\r\n"))

    def send(self, data: bytes) -> None:
        """Send it; where the gateway has closed, an answer may still be there."""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            self.client.send(data)

    def send_split(self, data: bytes, pieces: int) -> None:
        cuts = sorted(self.random.randrange(len(data)) for _ in range(pieces))
        for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            if begin < end:
                self.send(data[begin:end])

    def ask(self, method: str, *fields: str, behaviour: str | None = None, body_bytes: int = 0) -> Asked:
        """One whole request, sent at once."""
        asked = self.asked(method, behaviour, body_bytes)
        self.send(self.whole(asked, *fields))
        return asked

    def asks(self, method: str, *fields: str, behaviour: str | None = None, body_bytes: int = 0) -> Answer:
        """One whole request, and its answer."""
        return self.hears(self.ask(method, *fields, behaviour=behaviour, body_bytes=body_bytes))

    # hearing

    def hears(self, asked: Asked, *, statuses: Sequence[int] = (), goes_on: bool = True) -> Answer:
        """The answer to this request, which must be its own. `statuses`: others that it may have.

        Raises `OverError` when the connection ends with it. `goes_on`: False where it ends in any case.
        """
        answer = self._next_head(asked)
        while answer.status < 200 and answer.status != 101:
            answer = self._next_head(asked)
        self._settles(asked, answer, statuses)
        if not goes_on and answer.status != 101:
            self.is_at_end()
        return answer

    def hears_continue(self, asked: Asked) -> bool:
        """True where it may send its body; False where the answer has come already."""
        answer = self._next_head(asked)
        if answer.status == 100:
            return True
        self._settles(asked, answer, ())
        return False

    def _next_head(self, asked: Asked) -> Answer:
        asked.is_logged = True
        try:
            answer = parse_head(self.client.read_until(END))
        except ENDS as error:
            self._is_unanswered(asked, error)
            raise OverError from None
        if answer.status == 103 and answer.get("X-Token") != asked.token:
            self.problem(f"{asked.token}: foreign hints {answer.raw_head!r}")
        return answer

    def _settles(self, asked: Asked, answer: Answer, statuses: Sequence[int]) -> None:
        asked.status = answer.status
        self.answered += 1
        if answer.status == 101:
            return
        payload, is_whole = self._payload(answer, asked.method)
        if answer.reason is None:
            self._is_its_own(asked, answer, payload, is_whole=is_whole, statuses=statuses)
        else:
            self._is_ours(asked, answer, statuses)
            if not is_whole:
                self.problem(f"{asked.token}: an own answer was cut short")
        if not is_whole:
            raise OverError
        if (answer.get("Connection") or "").lower() == "close":
            self.is_at_end()

    def is_no_request(self, asked: Asked) -> None:
        """It can't be read as one: it is refused, and its line has no address."""
        self.ledger.odd[self.address] += 1
        try:
            answer = self.client.answer()
        except ENDS as error:
            self._is_unanswered(asked, error)
            raise OverError from None
        asked.is_logged = False
        self.ledger.owed[self.address] += 1
        if answer.reason is None or not 400 <= answer.status <= 505:
            self.problem(f"nonsense is answered: {answer.raw_head!r}")
        self.is_at_end()

    def ends(self, asked: Asked) -> None:
        """The answer to the last request, and the end of the connection."""
        self.hears(asked, goes_on=False)

    def _is_unanswered(self, asked: Asked, error: Exception) -> None:
        if isinstance(error, TimeoutError):
            self.problem(f"{asked.token} ({asked.behaviour}) hangs")
        elif self.client._buffer:
            self.problem(f"{asked.token} ({asked.behaviour}): half a head {bytes(self.client._buffer[:300])!r}")
        elif self.has_own_upstream and self.answered:
            asked.is_logged = False  # the gateway closed with the upstream's connection, perhaps before it read this
        elif UNANSWERED not in self._outcomes(asked):
            self.problem(f"{asked.token} ({asked.method} {asked.behaviour}) is not answered: {error!r}")

    def _outcomes(self, asked: Asked) -> frozenset[str]:
        """A request that must not be repeated may meet the end of an idle connection."""
        more = () if asked.method in SAFE else (BAD, UNANSWERED)
        return BEHAVIOURS[asked.behaviour].outcomes.union(more) if asked.behaviour in BEHAVIOURS else frozenset()

    def _is_ours(self, asked: Asked, answer: Answer, statuses: Sequence[int]) -> None:
        if answer.get("X-Token") is not None:
            self.problem(f"{asked.token}: an own answer with the upstream's fields: {answer.raw_head!r}")
        if answer.status in statuses or (answer.status == 403 and not self.site.may_enter):
            return
        if answer.status not in BAD_STATUSES or BAD not in self._outcomes(asked):
            self.problem(f"{asked.token} ({asked.method} {asked.behaviour}): {answer.verdict}")

    def _is_its_own(
        self, asked: Asked, answer: Answer, payload: bytes, *, is_whole: bool, statuses: Sequence[int]
    ) -> None:
        behaviour = BEHAVIOURS[asked.behaviour]
        if answer.get("X-Token") != asked.token:
            self.problem(f"{asked.token} ({asked.behaviour}): a foreign answer {answer.raw_head!r}")
        if payload != pattern(asked.token, len(payload)):
            self.problem(f"{asked.token} ({asked.behaviour}): foreign bytes {payload[:200]!r}")
        if not self.site.may_enter:
            self.problem(f"{asked.token}: let in without a certificate")
        if answer.status not in (behaviour.status, *statuses):
            self.problem(f"{asked.token} ({asked.behaviour}): status {answer.status}")
        if asked.method == "HEAD":
            return
        size = 0 if answer.status in (204, 304) else int(answer.get("X-Size") or 0)
        if is_whole and len(payload) != size:
            self.problem(f"{asked.token} ({asked.behaviour}): {len(payload)} of {size} bytes passed for the whole")
        if (WHOLE if is_whole else CUT) not in self._outcomes(asked):
            self.problem(f"{asked.token} ({asked.behaviour}): {'whole' if is_whole else 'cut short'}")

    # the body, as far as it comes

    def _payload(self, answer: Answer, method: str) -> tuple[bytes, bool]:
        if method == "HEAD" or answer.status in (204, 304):
            return b"", True
        if answer.get("Transfer-Encoding") is not None:
            return self._chunks(answer)
        if (length := answer.get("Content-Length")) is not None:
            payload = self._take(int(length))
            return payload, len(payload) == int(length)
        return self._rest()

    def _take(self, count: int) -> bytes:
        with contextlib.suppress(*ENDS):
            return self.client.read(count)
        return self.client.read(len(self.client._buffer))

    def _rest(self) -> tuple[bytes, bool]:
        """All until the end of the connection; whole where that is a proper one."""
        try:
            return self.client.read_all(), True
        except OSError:
            return self.client.read(len(self.client._buffer)), False

    def _chunks(self, answer: Answer) -> tuple[bytes, bool]:
        payload = bytearray()
        try:
            while size := int(self.client.read_until(b"\r\n"), 16):
                piece = self._take(size)
                payload += piece
                if len(piece) < size:
                    return bytes(payload), False
                if self.client.read(2) != b"\r\n":
                    self.problem(f"a chunk without its end behind {bytes(payload[-80:])!r}")
            while (line := self.client.read_until(b"\r\n")) != b"\r\n":
                if line != f"X-Token: {answer.get('X-Token')}\r\n".encode():
                    self.problem(f"a foreign trailer {line!r}")
        except ENDS:
            return bytes(payload), False
        return bytes(payload), True

    def is_at_end(self) -> None:
        """Nothing more comes. Raises `OverError`."""
        try:
            if rest := self.client.read_all():
                self.problem(f"bytes behind the last answer: {rest[:300]!r}")
        except TimeoutError:
            self.problem("the gateway doesn't close")
        except OSError:
            if self.client._buffer:
                self.problem(f"bytes behind the last answer: {bytes(self.client._buffer[:300])!r}")
        raise OverError

    def leaves(self) -> None:
        """Gone, in one of the ways in which clients go. Raises `OverError`."""
        self.random.choice(LEAVE)(self.client)
        raise OverError
