"""What `gateway explain --log` prints: a table of the requests whose verdict changes, and counts."""

from __future__ import annotations

from typing import Any, Final

from gateway.cli.replay.verdicts import (
    COMBINED,
    NO_REQUEST,
    NO_RULE_ASKED,
    OTHER,
    Change,
    Kind,
    Replay,
    Seen,
    Unknown,
    Verdict,
)
from gateway.logs.render import shown
from gateway.policy.partial_facts import Missing

_TITLES: Final = {
    Kind.SHUT_OUT: "Would be shut out",
    Kind.LET_IN: "Would newly come in",
    Kind.OTHER_REASON: "Would be refused for another reason",
}
_HEAD: Final = ("person", "address", "what", "was", "would be", "times", "last seen")
_MAX_CELLS: Final = 60  # of a column
_SHOWN_PEOPLE: Final = 8
_SHOWN_OTHER_REASONS: Final = 40  # rows; most are of scanners

_WHAT_IS_MISSING: Final = {
    Missing.CLIENT.value: "the client's address: the line has that of a trusted proxy, or a proxy named it",
    Missing.HOST.value: "the host",
    Missing.PATH.value: "the path: it was cut or redacted",
    Missing.DESTINATION.value: "the path to which COPY and MOVE write",
    Missing.CERTIFICATE.value: "whether the client has a certificate: it may not have been asked for one",
    Missing.TRUST.value: "whether the certificate is trusted",
    Missing.AUTHORITY.value: "the CAs above the certificate, which `ca` asks for",
    Missing.SUBJECT.value: "the certificate's whole subject",
    Missing.EMAIL.value: "the certificate's other e-mail addresses",
    Missing.PRINCIPAL.value: "the certificate's user principal names, which `bind_user: upn` asks for",
    Missing.NAMES.value: "the certificate's other names, or whether its CA has name constraints",
    Missing.LOGIN.value: "the login",
    Missing.EARLIER_LOGINS.value: "earlier logins of the connection, which belongs to one client",
    COMBINED: "certificate and rule: the line is in the combined format",
}
_WHY_NOT_JUDGED: Final = {
    "handshake_failed": "the TLS handshake failed",
    "locked_out": "the client was locked out",
    "too_many_connections": "the client had too many connections or requests",
    NO_REQUEST: "the connection ended without a request",
    NO_RULE_ASKED: "no rule was asked: redirects and published lists",
    OTHER: "a reason that this version doesn't know",
}


def document(replay: Replay) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "requests": replay.requests,
        "unchanged": replay.unchanged,
        "changed": replay.changed,
        "cannot_tell": replay.cannot_tell,
        "changes": [_change_document(change, seen) for change, seen in _in_order(replay)],
        "changes_not_listed": replay.unlisted,
        "missing": [
            {"fact": fact, "why": _missing_words(fact), "count": unknown.count, "people": unknown.people}
            for fact, unknown in _by_count(replay)
        ],
        "not_judged": replay.not_judged,
    }


def lines(replay: Replay) -> list[str]:
    """What people read. Characters that control terminals are escaped."""
    told: list[str] = []
    for kind, title in _TITLES.items():
        some = [(change, seen) for change, seen in _in_order(replay) if change.kind is kind]
        more = max(0, len(some) - _SHOWN_OTHER_REASONS) if kind is Kind.OTHER_REASON else 0
        if some:
            rows = [_row(change, seen) for change, seen in some[: len(some) - more]]
            told += [title, *_table([_HEAD, *rows]), *([f"  and {more:,} more: --json lists them"] if more else []), ""]
    if replay.unlisted:
        told += [f"{_requests(replay.unlisted)} more whose verdict changes: see fewer with --since", ""]
    if any(change.would_be.observed is not None for change in replay.changes):
        told += ["Rules in observation count as what they do from their day on; until then they let in.", ""]
    told.append(
        f"{_requests(replay.requests)}: {replay.unchanged:,} unchanged, {replay.changed:,} changed, "
        f"{replay.cannot_tell:,} cannot tell"
    )
    told += [
        f"  cannot tell {unknown.count:,}: the log lacks {_missing_words(fact)} ({_people(unknown)})"
        for fact, unknown in _by_count(replay)
    ]
    told += [
        f"  not judged {count:,}: {_WHY_NOT_JUDGED.get(reason, f'refused before any rule: {reason}')}"
        for reason, count in sorted(replay.not_judged.items(), key=lambda item: (-item[1], item[0]))
    ]
    return [shown(line) for line in told]


def _in_order(replay: Replay) -> list[tuple[Change, Seen]]:
    """By kind and person; within a person, what happens most often first."""
    kinds = list(_TITLES)
    return sorted(
        replay.changes.items(),
        key=lambda item: (
            kinds.index(item[0].kind),
            item[0].person or "~",
            item[0].address,
            -item[1].count,
            item[0][3:6],
        ),
    )


def _by_count(replay: Replay) -> list[tuple[str, Unknown]]:
    return sorted(replay.unknown.items(), key=lambda item: (-item[1].count, item[0]))


def _row(change: Change, seen: Seen) -> tuple[str, ...]:
    what = f"{change.method} {change.site}{change.path}"
    last = seen.last.astimezone().strftime("%Y-%m-%d %H:%M")
    was, would_be = _was_words(change.was), _words(change.would_be)
    return (change.person or "-", change.address, what, was, would_be, f"{seen.count:,}", last)


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    from gateway.logs.render import fit  # noqa: PLC0415 - kept with its only use

    escaped = [[shown(cell) for cell in row] for row in rows]
    widths = [min(_MAX_CELLS, max(map(_cells, column))) for column in zip(*escaped, strict=True)]
    return ["  " + "  ".join(map(fit, row, widths)).rstrip() for row in escaped]


def _cells(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 - only for text that has wide characters

    return cell_len(text)


def _was_words(verdict: Verdict) -> str:
    said = verdict.reason or ("let in" if verdict.observed is None else f"let in, observed {verdict.observed}")
    return _by(said, verdict.rule)


def _words(verdict: Verdict) -> str:
    if verdict.observed is not None:
        when = f"from {verdict.enforce} on" if verdict.enforce else "once enforced"
        return _by(f"{verdict.observed} {when}", verdict.rule)
    return _by(verdict.reason or "let in", verdict.rule)


def _by(said: str, rule: str | None) -> str:
    return said if rule is None else f"{said} ({rule})"


def _change_document(change: Change, seen: Seen) -> dict[str, Any]:
    return {
        "kind": change.kind.value,
        "person": change.person or None,
        "address": change.address,
        "method": change.method,
        "site": change.site,
        "path": change.path,
        "was": {"reason": change.was.reason, "rule": change.was.rule, "observed": change.was.observed},
        "would_be": change.would_be._asdict(),
        "count": seen.count,
        "last_seen": seen.last.isoformat(),
    }


def _missing_words(fact: str) -> str:
    return _WHAT_IS_MISSING[fact]


def _people(unknown: Unknown) -> str:
    people = sorted(unknown.people, key=lambda person: (-unknown.people[person], person))
    more = len(people) - _SHOWN_PEOPLE
    return ", ".join(people[:_SHOWN_PEOPLE]) + (f" and {more:,} more" if more > 0 else "")


def _requests(count: int) -> str:
    return f"{count:,} request{'' if count == 1 else 's'}"
