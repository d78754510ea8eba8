"""What is done with a smuggling payload at a proxy, and how the logs on both its sides are compared.

with Attacker(proxy.port) as attacker:
    attacker.send(payload)
unaccounted(server.seen(), gateway.log.records())     # [] where every request was accounted for
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import unquote_to_bytes

from support.client import Answer, Client
from support.logging_servers import Seen

from gateway.policy.uri import normalise

DENIED = "/admin"  # what is smuggled, and what nobody may have
_TO_HEAD = " to HEAD"
_LAST = {"close", "refused bad_request", "refused body"}  # the connection ends with these


@dataclass(frozen=True)
class Payload:
    """Bytes for a connection, and what should become of them: as in `tests/golden/smuggling_requests.txt`."""

    name: str
    data: bytes
    outcome: str


class Attacker:
    """Sends payloads, each on a connection of its own, and after each a request of somebody else's."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._victim = Client(port)
        self._count = 0
        self.problems: list[str] = []  # an answer that was not the asking client's, or none

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._victim.close()

    def send(self, payload: Payload) -> None:
        """Send it, read what is to be answered, and see what the next client gets."""
        with Client(self._port) as client:
            client.send(payload.data)
            try:
                self._read(client, payload.outcome)
            except (OSError, EOFError, AssertionError) as error:
                self.problems.append(f"{payload.name}: {payload.outcome}: {error!r}")
        self.ask_as_victim(payload.name)

    def ask_as_victim(self, name: str) -> None:
        """Somebody else's request, which is to be answered as ever."""
        self._count += 1
        target = f"/victim/{self._count}"
        answer = self._victim.ask("GET", target)
        if (answer.status, answer.get("X-Seen")) != (200, target):
            self.problems.append(f"{name}: the next client got {answer.status} for {answer.get('X-Seen')}")

    @staticmethod
    def _read(client: Client, outcome: str) -> None:
        for event in filter(None, outcome.split(" > ")):
            if event == "waits":
                return
            if event != "close":
                method, _, rest = event.partition(" ")
                is_refused = method == "refused"
                answer = client.answer(("HEAD" if event.endswith(_TO_HEAD) else "GET") if is_refused else method)
                _check_answer(answer, "" if is_refused else rest.partition(" ")[0])
            if event.removesuffix(_TO_HEAD) in _LAST:
                assert client.is_at_end()


def _check_answer(answer: Answer, target: str) -> None:
    """`target`: what was asked for, or nothing where it should not have gone on."""
    seen = answer.get("X-Seen")
    if not target or is_denied(target):
        assert answer.reason is not None, answer.raw_head
        assert seen is None
    elif answer.status < 400 and not target.startswith("…"):
        assert seen is not None, answer.raw_head
        assert _path(seen) == _path(target)


def is_denied(target: str) -> bool:
    """True for what a rule for `DENIED` is about: this path and all below it, in any case."""
    return (_path(target).lower() + b"/").startswith(f"{DENIED}/".encode())


def _path(target: str) -> bytes:
    """Apache tells it decoded, and without the query; outcomes have "…" for a long one."""
    return unquote_to_bytes(target.partition("?")[0].encode("latin-1", "replace"))


def unaccounted(seen: Sequence[Seen], records: Sequence[dict[str, Any]]) -> list[str]:
    """What a server saw that the proxy in front did not log as forwarded, and the other way round.

    Every request in the server's log must be one in the proxy's: the same id, method and target, once.
    """
    forwarded = {
        record["request_id"]: (record["method"], _normalised(record["uri"]))
        for record in records
        if record["upstream"] is not None
    }
    answered = {record["request_id"] for record in records if record["upstream_status"] is not None}
    problems = []
    met = set()
    for each in seen:
        if forwarded.get(each.request_id) != (each.method, each.target):
            problems.append(f"smuggled: {each}, not {forwarded.get(each.request_id)}")
        if each.request_id in met:
            problems.append(f"twice: {each}")
        if is_denied(each.target):
            problems.append(f"denied: {each}")
        met.add(each.request_id)
    problems += [f"never seen: {forwarded[missing]}" for missing in answered - met]
    return problems


def _normalised(uri: str) -> str:
    target = normalise(uri.encode())
    return target.path if target.query is None else f"{target.path}?{target.query}"
