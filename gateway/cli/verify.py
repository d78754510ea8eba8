"""`gateway cert verify`: judges a client certificate as the gateway would, without a handshake.

It asks the same judge as a running gateway does, so its reason codes are those of the pages and the access log.
Exit code 0: trusted; 1: not; 2: a file or an argument cannot be used.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.errors import ConfigError, UsageError
from gateway.redaction import without_secrets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.x509 import Certificate

    from gateway.facts import Judgement
    from gateway.tls.revocation import Revocation


def verify(
    leaf: Annotated[Path, typer.Argument(help="The client's certificate, PEM (leaf first) or DER.", metavar="LEAF")],
    chain: Annotated[
        list[Path] | None, typer.Argument(help="Files with intermediates that the client sends.", metavar="[CHAIN]...")
    ] = None,
    *,
    ca: Annotated[list[Path], typer.Option("--ca", help="The site's client_ca files.", metavar="FILE")],
    crl: Annotated[
        list[str] | None, typer.Option("--crl", help="The site's crl files. [default: no check]", metavar="FILE")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", help="Judge as of this time (ISO 8601; UTC if without an offset).", metavar="TIME"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Judge a client certificate as the gateway would.

    Prints `trusted`, or the reason for which the gateway would refuse it.
    """
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.tls.client_cert import judge  # noqa: PLC0415 - the same
    from gateway.tls.revocation import Revocation  # noqa: PLC0415 - the same
    from gateway.tls.trust import Trust, is_url, load_anchors, load_lists  # noqa: PLC0415 - the same
    from gateway.x509.loading import load_certificates  # noqa: PLC0415 - the same

    now = clock.now() if at is None else _time(at)
    if url := next(filter(is_url, crl or ()), None):
        raise UsageError(f"--crl: {without_secrets(url)} is a URL", "Download the list and give the file.")
    try:
        anchors = load_anchors(ca)
        revocation = None
        if crl:
            lists, _problems = load_lists(crl, {}, anchors)
            revocation = Revocation(lists, "require")
        files = (leaf, *(chain or ()))
        certificates = [each for path in files for each in load_certificates(path, takes_der=True)]
    except ConfigError as error:
        raise UsageError(error.cause, error.remedy) from error
    judgement = judge(certificates[0], certificates[1:], Trust(anchors, revocation), now)
    answer = _answer(judgement)
    if revocation is not None and judgement.is_trusted:
        known = (*anchors, *certificates[1:])
        answer["covered_by"] = _covered_by(certificates[0], judgement, revocation, known, now)
    typer.echo(json.dumps(answer, indent=2, ensure_ascii=False) if as_json else _text(answer))
    if not judgement.is_trusted:
        raise typer.Exit(1)


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--at: {text!r} is not a time", "Write it like 2026-11-24T12:00:00Z.") from error


def _answer(judgement: Judgement) -> dict[str, Any]:
    """The judgement as JSON: names as lists, times as RFC 3339."""
    identity = judgement.identity
    answer: dict[str, Any] = {
        "trusted": judgement.is_trusted,
        "reason": judgement.reason,
        "detail": judgement.detail,
    }
    if identity is not None:
        answer |= {
            "subject": identity.subject,
            "issuer": identity.issuer,
            "serial": identity.serial,
            "fingerprint": identity.fingerprint,
            "emails": identity.emails,
            "upns": identity.upns,
            "not_before": identity.not_before.isoformat(),
            "not_after": identity.not_after.isoformat(),
            "path": sorted(identity.path_fingerprints),
        }
    return answer


def _covered_by(
    leaf: Certificate, judgement: Judgement, revocation: Revocation, known: Sequence[Certificate], now: datetime
) -> list[str]:
    """For each certificate on the path below the trusted CA: the lists that say that it is not revoked."""
    from gateway.x509.fields import subject_of  # noqa: PLC0415 - heavy, see app
    from gateway.x509.names import load_certificate  # noqa: PLC0415 - the same

    ders = () if judgement.identity is None else judgement.identity.chain_der
    path = [leaf, *(load_certificate(der) for der in ders)]
    lines = []
    for depth, certificate in enumerate(path[:-1]):
        lists = revocation.status_on_path(certificate, path[depth + 1 :], now, known).lists
        shown = " and ".join(entry.title for entry in lists)
        lines.append(f"{shown} for {subject_of(certificate).rfc4514_string()!r}")
    return lines


def _text(answer: dict[str, Any]) -> str:
    """The verdict on the first line, the holder's names below it; empty values are left out."""
    lines = [f"{answer['reason'] or 'trusted'}: {answer['detail']}"]
    for name, value in answer.items():
        if name in ("trusted", "reason", "detail"):
            continue
        shown = value if isinstance(value, str) else ", ".join(value)
        if shown:
            lines.append(f"  {name:<12} {shown}")
    return "\n".join(lines)
