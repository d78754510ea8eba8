"""The behaviours of upstreams in random dialogues: each is one request's answer, and what may become of it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass

from support.dialogue_ledger import pattern
from support.dialogue_turn import GoneError, Turn

BIG_BYTES = 300_000
LATE_SECONDS = 0.01
LOG_IN, LOGGED_IN = b"NTLM TlRMTVNTUAABAAAA", b"NTLM TlRMTVNTUAADAAAA"
# What may become of a request: a whole answer, one that is cut short, a refusal of the gateway's own because of the
# upstream, or an end without an answer.
WHOLE, CUT, BAD, UNANSWERED = "whole", "cut", "bad", "unanswered"


def length(turn: Turn) -> None:
    turn.take()
    turn.send(turn.sized())


def chunked(turn: Turn) -> None:
    turn.take()
    turn.send(turn.chunked())


def tiny_chunks(turn: Turn) -> None:
    turn.take()
    turn.size = min(turn.size, 500)
    turn.send(turn.chunked(1))


def trailers(turn: Turn) -> None:
    turn.take()
    end = f"0\r\nX-Token: {turn.asked.token}\r\n\r\n".encode()
    turn.send(turn.chunked(end=end, fields=["Trailer: X-Token"]))


def until_close(turn: Turn) -> None:
    turn.take()
    turn.send(turn.head() + turn.body)
    turn.dialogue.close()


def connection_close(turn: Turn) -> None:
    turn.take()
    turn.send(turn.sized("Connection: close"))
    turn.dialogue.close()


def split(turn: Turn) -> None:
    """Byte by byte at first, then in pieces."""
    turn.take()
    data = turn.sized()
    for at in range(40):
        turn.send(data[at : at + 1])
    at = 40
    while at < len(data):
        count = turn.random.randint(1, 2000)
        turn.send(data[at : at + count])
        at += count


def early(turn: Turn) -> None:
    """The answer comes before the body, which is read all the same, as far as it comes."""
    turn.send(turn.sized())
    with contextlib.suppress(GoneError):
        turn.take()


def early_refusal(turn: Turn) -> None:
    """The answer comes before the body, and the connection ends with it; what still comes is thrown away."""
    turn.send(turn.sized("Connection: close", status="413 Content Too Large"))
    turn.dialogue.finish_sending()
    turn.dialogue.wait_closed()
    turn.dialogue.close()


def early_end(turn: Turn) -> None:
    """The same without patience: where a body is on its way, it meets a reset."""
    turn.send(turn.sized("Connection: close", status="403 Forbidden"))
    turn.dialogue.close()


def interim(turn: Turn) -> None:
    turn.take()
    hint = f"HTTP/1.1 103 Early Hints\r\nX-Token: {turn.asked.token}\r\n\r\n".encode()
    turn.send(hint * turn.random.randint(1, 3) + turn.sized())


def no_content(turn: Turn) -> None:
    turn.take()
    turn.size = 0
    turn.send(turn.head(status="204 No Content"))


def _follows(turn: Turn, head: bytes) -> None:
    """An answer without a body, and behind it something that could pass for the next one, now or when it is late."""
    turn.size = turn.random.choice((1, 30, 5000))
    body = turn.sized()
    if turn.random.random() < 0.5:
        turn.send(head + body)
        return
    turn.send(head)
    threading.Event().wait(LATE_SECONDS)
    turn.send(body)


def no_content_with_body(turn: Turn) -> None:
    """A 204 that a body follows, as some servers send it."""
    turn.take()
    turn.size = 0
    _follows(turn, turn.head(status="204 No Content"))


def not_modified(turn: Turn) -> None:
    turn.take()
    turn.size = 0
    turn.send(turn.head("Content-Length: 1000", status="304 Not Modified"))


def answered_head(turn: Turn) -> None:
    """A HEAD whose answer has a body all the same."""
    turn.take()
    if turn.asked.method == "HEAD":
        _follows(turn, turn.head("Content-Length: 200"))
    else:
        turn.send(turn.sized())


def too_much(turn: Turn) -> None:
    """A second answer right behind the first one, in the same segment: later ones can't be told from an answer."""
    turn.take()
    turn.size = min(turn.size, 500)
    turn.send(turn.sized() * 2)


def resets(turn: Turn) -> None:
    turn.dialogue.reset()


def hangs_up(turn: Turn) -> None:
    turn.take()
    turn.dialogue.close()


def half_a_head(turn: Turn) -> None:
    turn.take()
    turn.send(turn.sized()[: turn.random.randint(1, 30)])
    turn.dialogue.close()


def _half(turn: Turn) -> bytes:
    if turn.asked.method == "HEAD":
        return turn.sized()
    turn.size = max(turn.size, 10)
    data = turn.sized()
    return data[: len(data) - turn.random.randint(1, turn.size)]


def half_a_body(turn: Turn) -> None:
    turn.take()
    turn.send(_half(turn))
    turn.dialogue.close()


def half_and_reset(turn: Turn) -> None:
    turn.take()
    turn.send(_half(turn))
    turn.dialogue.reset()


def cut_chunks(turn: Turn) -> None:
    turn.take()
    turn.size = max(turn.size, 10)
    data = turn.chunked()
    left_out = 0 if turn.asked.method == "HEAD" else turn.random.choice((1, 2, 4, 5, 7, 9))
    turn.send(data[: len(data) - left_out])
    turn.dialogue.close()


def broken_chunks(turn: Turn) -> None:
    turn.take()
    turn.size = max(turn.size, 10)
    turn.send(turn.chunked(end=b"zz\r\n\r\n"))


def garbage(turn: Turn) -> None:
    turn.take()
    turn.send(b"SSH-2.0-OpenSSH_9.2p1 " + turn.asked.token.encode() + b"\r\n\r\n")


def two_lengths(turn: Turn) -> None:
    turn.take()
    turn.send(turn.head("Content-Length: 5", "Content-Length: 6") + turn.body)


def huge_head(turn: Turn) -> None:
    turn.take()
    turn.send(turn.head(*(f"X-{number}: {'v' * 1000}" for number in range(400))))


def big(turn: Turn) -> None:
    turn.take()
    turn.size = 0 if turn.asked.method == "HEAD" else BIG_BYTES
    turn.send(turn.sized())


def ends_idle(turn: Turn) -> None:
    """It closes its connection as soon as it has answered, without a word."""
    turn.take()
    turn.send(turn.sized())
    turn.dialogue.close()


def ends_soon(turn: Turn) -> None:
    """It says that it keeps the connection, for a second, and closes it at once."""
    turn.take()
    turn.send(turn.sized("Keep-Alive: timeout=1"))
    turn.dialogue.close()


def resets_idle(turn: Turn) -> None:
    turn.take()
    turn.send(turn.sized())
    turn.dialogue.reset()


def silent(turn: Turn) -> None:
    """It answers nothing, until the gateway has had enough."""
    turn.take()
    turn.dialogue.wait_closed()
    turn.dialogue.close()


def switch(turn: Turn) -> None:
    """It changes the protocol where it is asked to, and then says everything back."""
    turn.take()
    if not turn.dialogue.request.values(b"Upgrade"):
        turn.send(turn.sized())
        return
    turn.send(turn.head("Connection: Upgrade", "Upgrade: chat", status="101 Switching Protocols"))
    said = bytearray()
    while piece := turn.dialogue.read_available():
        said += piece
        if pattern(turn.asked.token, len(said)) != said:
            turn.problems.append(f"foreign bytes in a tunnel: {bytes(said[-80:])!r}")
        turn.send(piece)
    turn.dialogue.close()


def login(turn: Turn) -> None:
    """NTLM: the third message logs in the connection. Whose it is then, is seen to in `Upstreams`."""
    turn.take()
    if turn.dialogue.request.values(b"Authorization") == [LOG_IN]:
        turn.send(turn.sized("WWW-Authenticate: NTLM TlRMTVNTUAACAAAA", status="401 Unauthorized"))
    else:
        turn.send(turn.sized())


def early_login(turn: Turn) -> None:
    """The first message is refused before its body has come: the connection must go on, or the login is lost."""
    if turn.dialogue.request.values(b"Authorization") == [LOG_IN]:
        turn.send(turn.sized("WWW-Authenticate: NTLM TlRMTVNTUAACAAAA", status="401 Unauthorized"))
        with contextlib.suppress(GoneError):
            turn.take()
    else:
        login(turn)


@dataclass(frozen=True)
class Behaviour:
    answer: Callable[[Turn], None]
    outcomes: frozenset[str]
    status: int = 200


def _behaviour(answer: Callable[[Turn], None], *outcomes: str, status: int = 200) -> tuple[str, Behaviour]:
    return answer.__name__, Behaviour(answer, frozenset(outcomes or (WHOLE,)), status)


GOOD = dict(
    (
        _behaviour(length),
        _behaviour(chunked),
        _behaviour(tiny_chunks),
        _behaviour(trailers),
        _behaviour(until_close),
        _behaviour(connection_close),
        _behaviour(split),
        _behaviour(early),
        _behaviour(early_refusal, status=413),
        _behaviour(interim),
        _behaviour(no_content, status=204),
        _behaviour(not_modified, status=304),
        _behaviour(big),
        _behaviour(ends_idle),
        _behaviour(ends_soon),
        _behaviour(resets_idle),
        _behaviour(switch),
    )
)
BAD_ONES = dict(
    (
        # What is behind the answer may be there with it, and then ends it; but it is never anybody's answer.
        _behaviour(no_content_with_body, status=204),
        _behaviour(answered_head),
        _behaviour(too_much),
        _behaviour(early_end, WHOLE, BAD, status=403),
        _behaviour(resets, BAD, UNANSWERED),
        _behaviour(hangs_up, BAD, UNANSWERED),
        _behaviour(half_a_head, BAD),
        _behaviour(half_a_body, CUT),
        _behaviour(half_and_reset, CUT, BAD),
        _behaviour(cut_chunks, CUT),
        _behaviour(broken_chunks, CUT, BAD),
        _behaviour(garbage, BAD),
        _behaviour(two_lengths, BAD),
        _behaviour(huge_head, BAD),
        _behaviour(silent, BAD),
    )
)
BEHAVIOURS = {**GOOD, **BAD_ONES, **dict((_behaviour(login), _behaviour(early_login)))}
