"""The manners of clients in random dialogues: what one does next on its connection.

Each leaves a connection that can go on, or raises `OverError`.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable

from support.client import TIMEOUT_SECONDS
from support.dialogue_behaviours import LOG_IN, LOGGED_IN
from support.dialogue_conversation import ENDS, Conversation, OverError
from support.dialogue_ledger import pattern

BODY_BYTES = (0, 1, 10, 1_000, 30_000)
UPLOAD_BYTES = 200_000


def gets(c: Conversation) -> None:
    c.asks("GET")


def heads(c: Conversation) -> None:
    c.asks("HEAD")


def heads_what_has_a_body(c: Conversation) -> None:
    c.asks("HEAD", behaviour="answered_head")
    c.asks("GET", behaviour="length")


def posts(c: Conversation) -> None:
    c.asks("POST", body_bytes=c.random.choice(BODY_BYTES))


def asks_what_exists(c: Conversation) -> None:
    c.asks("OPTIONS")
    c.asks("PROPFIND", "Depth: 1", body_bytes=c.random.choice(BODY_BYTES))


def puts_much(c: Conversation) -> None:
    c.asks("PUT", body_bytes=UPLOAD_BYTES)


def posts_in_chunks(c: Conversation) -> None:
    asked = c.asked("POST", body_bytes=c.random.choice(BODY_BYTES))
    c.send(c.chunked(asked))
    c.hears(asked)


def posts_with_trailers(c: Conversation) -> None:
    asked = c.asked("POST", body_bytes=c.random.choice(BODY_BYTES))
    c.send(c.chunked(asked, "Trailer: X-Sum", trailer=f"X-Sum: {asked.token}\r\n"))
    c.hears(asked)


def posts_an_empty_chunked_body(c: Conversation) -> None:
    asked = c.asked("POST")
    c.send(c.chunked(asked))
    c.hears(asked)


def splits_a_head(c: Conversation) -> None:
    asked = c.asked("GET")
    data = c.whole(asked)
    for at in range(len(data) - 30, len(data)):
        c.send(data[at : at + 1] if at > len(data) - 30 else data[: at + 1])
    c.hears(asked)


def splits_a_body(c: Conversation) -> None:
    asked = c.asked("POST", body_bytes=10_000)
    c.send_split(c.random.choice((c.whole, c.chunked))(asked), 20)
    c.hears(asked)


def sends_tiny_records(c: Conversation) -> None:
    asked = c.asked("POST", body_bytes=50)
    data = c.chunked(asked)
    for at in range(0, len(data), 3):
        c.send(data[at : at + 3])
    c.hears(asked)


def pipelines_gets(c: Conversation) -> None:
    crowd = [c.asked(c.random.choice(("GET", "HEAD"))) for _ in range(c.random.randint(2, 6))]
    c.send(b"".join(map(c.whole, crowd)))
    for asked in crowd:
        c.hears(asked)


def pipelines_bodies(c: Conversation) -> None:
    crowd = [c.asked(c.random.choice(("GET", "POST", "PUT")), body_bytes=0) for _ in range(c.random.randint(2, 5))]
    for asked in crowd:
        if asked.method != "GET":
            asked.body_bytes = c.random.choice(BODY_BYTES[:-1])
    c.send_split(b"".join(c.random.choice((c.whole, c.chunked))(each) for each in crowd), c.random.randint(0, 10))
    for asked in crowd:
        c.hears(asked)


def pipelines_behind_a_refusal(c: Conversation) -> None:
    refused, asked = c.asked("GET", "admin"), c.asked("GET")
    c.send(c.whole(refused) + c.whole(asked))
    c.hears(refused, statuses=(403,))
    c.hears(asked)


def expects_and_waits(c: Conversation) -> None:
    """100 Continue or the answer comes first."""
    asked = c.asked("POST", c.random.choice(("length", "chunked", "early_refusal", "half_a_head")), 1000)
    c.send(c.head(asked, "Expect: 100-continue", "Content-Length: 1000"))
    asked.may_break_off = True
    may_send = c.hears_continue(asked)
    c.send(asked.body)  # it has said so in its head
    if may_send:
        c.hears(asked)


def expects_and_sends(c: Conversation) -> None:
    asked = c.asked("POST", body_bytes=c.random.choice(BODY_BYTES[1:]))
    c.send(c.whole(asked, "Expect: 100-continue"))
    c.hears(asked)


def expects_nonsense(c: Conversation) -> None:
    asked = c.asked("GET")
    c.send(c.whole(asked, "Expect: a miracle"))
    c.is_no_request(asked)


def logs_in(c: Conversation) -> None:
    """NTLM: three messages, and then the connection is logged in."""
    c.hears(c.ask("GET", f"Authorization: {LOG_IN.decode()}", behaviour="login"), statuses=(401,))
    c.asks("GET", f"Authorization: {LOGGED_IN.decode()}", behaviour="login")
    c.has_own_upstream = c.is_logged_in = True
    for _ in range(c.random.randint(1, 3)):
        c.asks(c.random.choice(("GET", "POST")), behaviour="length")


def logs_in_with_a_body(c: Conversation) -> None:
    """As Outlook does: the first message comes with a body, and is refused before it has all come."""
    asked = c.asked("POST", "early_login", 30_000)
    c.send_split(c.whole(asked, f"Authorization: {LOG_IN.decode()}"), 5)
    c.hears(asked, statuses=(401,))
    c.asks("POST", f"Authorization: {LOGGED_IN.decode()}", behaviour="early_login", body_bytes=30_000)
    c.has_own_upstream = c.is_logged_in = True
    c.asks("POST", behaviour="length", body_bytes=1000)


def upgrades(c: Conversation) -> None:
    _upgrades(c, early_bytes=0)


def upgrades_early(c: Conversation) -> None:
    """It says something before it knows that the protocol has changed."""
    _upgrades(c, early_bytes=c.random.randint(1, 2000))


def _upgrades(c: Conversation, early_bytes: int) -> None:
    asked = c.asked("GET", "switch")
    said = pattern(asked.token, 5000)
    c.send(c.head(asked, "Connection: Upgrade", "Upgrade: chat") + said[:early_bytes])
    answer = c.hears(asked)
    if answer.status != 101:
        raise OverError  # what it says is no request
    c.send_split(said[early_bytes:], 5)
    heard = c._take(len(said))
    if heard != said:
        c.problem(f"{asked.token}: not its own tunnel: {len(heard)} of {len(said)} bytes, {heard[-100:]!r}")
    c.leaves()


def asks_for_an_upgrade_in_vain(c: Conversation) -> None:
    c.hears(c.ask("GET", "Connection: Upgrade", "Upgrade: chat", behaviour="length"))


def closes(c: Conversation) -> None:
    c.ends(c.ask(c.random.choice(("GET", "HEAD", "POST")), "Connection: close"))


def says_that_it_has_said_all(c: Conversation) -> None:
    """close_notify, a FIN, or both right behind its last requests, which are all answered."""
    crowd = [c.asked(c.random.choice(("GET", "HEAD", "POST"))) for _ in range(c.random.randint(1, 3))]
    c.send(b"".join(map(c.whole, crowd)))
    how = c.random.choice(("close_notify", "FIN", "both"))
    if how != "FIN":
        c.client.socket.settimeout(0)
        try:
            with contextlib.suppress(ssl.SSLWantReadError):  # the gateway's own comes behind the answers
                c.client.socket.unwrap()
        except OSError:  # an answer was quicker than the close_notify, and OpenSSL's client reads nothing any more
            for asked in crowd:
                asked.may_break_off = True
            c.leaves()
        c.client.socket.settimeout(TIMEOUT_SECONDS)
    if how != "close_notify":
        with contextlib.suppress(OSError):
            socket.socket.shutdown(c.client.socket, socket.SHUT_WR)  # not ssl's, which ends the reading too
    for asked in crowd[:-1]:
        c.hears(asked)
    c.ends(crowd[-1])


def speaks_http_1_0(c: Conversation) -> None:
    asked = c.asked("GET")
    c.send(c.head(asked, version="1.0"))
    c.hears(asked, goes_on=False)


def keeps_an_http_1_0_connection(c: Conversation) -> None:
    for _ in range(2):
        asked = c.asked(c.random.choice(("GET", "HEAD")))
        c.send(c.head(asked, "Connection: keep-alive", version="1.0"))
        answer = c.hears(asked)
        if (answer.get("Connection") or "").lower() != "keep-alive":
            c.is_at_end()


def asks_for_a_part(c: Conversation) -> None:
    c.asks("GET", "Range: bytes=0-10", 'If-None-Match: "a"')


def leaves_in_a_head(c: Conversation) -> None:
    asked = c.asked("GET", is_broken=True)
    data = c.whole(asked)
    c.ledger.odd[c.address] += 1
    c.send(data[: c.random.randint(1, len(data) - 1)])
    c.leaves()


def leaves_in_a_body(c: Conversation) -> None:
    asked = c.asked("POST", body_bytes=c.random.choice((1000, 30_000)), is_broken=True)
    data = c.random.choice((c.whole, c.chunked))(asked)
    c.send(data[: c.random.randint(len(data) // 2, len(data) - 1)])
    c.leaves()


def leaves_before_the_answer(c: Conversation) -> None:
    c.send(c.whole(c.asked("GET", is_broken=True)))
    c.leaves()


def leaves_in_an_answer(c: Conversation) -> None:
    asked = c.asked("GET", "big", is_broken=True)
    c.send(c.whole(asked))
    with contextlib.suppress(*ENDS):
        c.client.read(c.random.randint(1, 50_000))
    c.leaves()


def leaves_behind_pipelined_requests(c: Conversation) -> None:
    c.send(b"".join(c.whole(c.asked("GET", is_broken=True)) for _ in range(5)))
    c.leaves()


def reads_slowly(c: Conversation) -> None:
    asked = c.ask("GET", behaviour="big")
    with contextlib.suppress(*ENDS):
        for _ in range(50):
            c.client._buffer += c.client.socket.recv(300)
    c.hears(asked)


def begins_with_empty_lines(c: Conversation) -> None:
    asked = c.asked("GET")
    c.send(b"\r\n\r\n" + c.whole(asked))
    c.hears(asked)


def sends_many_fields(c: Conversation) -> None:
    c.asks("GET", *(f"x-Field-{number}: {'v' * 100}" for number in range(60)))


def is_denied(c: Conversation) -> None:
    c.hears(c.ask("GET", behaviour="admin"), statuses=(403,))


MALFORMED = (
    b"GET\r\n\r\n",
    b"GET /webmail HTTP/1.1\r\n\r\n",
    b"GET /webmail HTTP/1.1\r\nHost: a b\r\n\r\n",
    b"GET /webmail HTTP/1.1\r\nHost: mail.example.com\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"POST /webmail HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /webmail HTTP/1.1\r\nHost: mail.example.com\r\n folded: b\r\n\r\n",
    b"GET /web mail HTTP/1.1\r\nHost: mail.example.com\r\n\r\n",
    b"GET /webmail HTTP/3.1\r\nHost: mail.example.com\r\n\r\n",
)


def talks_nonsense(c: Conversation) -> None:
    """Refused, and the end."""
    asked = c.asked("GET")
    c.send(c.random.choice(MALFORMED))
    c.is_no_request(asked)


def breaks_its_chunks(c: Conversation) -> None:
    """A body that stops making sense half-way: nothing of it may count as whole."""
    asked = c.asked("POST", "length", 1000, is_broken=True)
    data = c.chunked(asked)
    c.send(data[: -len(b"0\r\n\r\n")] + b"nonsense\r\n")
    c.hears(asked, statuses=(400,))


MANNERS: list[Callable[[Conversation], None]] = [
    gets,
    heads,
    heads_what_has_a_body,
    posts,
    asks_what_exists,
    puts_much,
    posts_in_chunks,
    posts_with_trailers,
    posts_an_empty_chunked_body,
    splits_a_head,
    splits_a_body,
    sends_tiny_records,
    pipelines_gets,
    pipelines_bodies,
    pipelines_behind_a_refusal,
    expects_and_waits,
    expects_and_sends,
    expects_nonsense,
    logs_in,
    logs_in_with_a_body,
    upgrades,
    upgrades_early,
    asks_for_an_upgrade_in_vain,
    closes,
    says_that_it_has_said_all,
    speaks_http_1_0,
    keeps_an_http_1_0_connection,
    asks_for_a_part,
    leaves_in_a_head,
    leaves_in_a_body,
    leaves_before_the_answer,
    leaves_in_an_answer,
    leaves_behind_pipelined_requests,
    reads_slowly,
    begins_with_empty_lines,
    sends_many_fields,
    is_denied,
    talks_nonsense,
    breaks_its_chunks,
]
