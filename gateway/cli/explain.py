"""`gateway explain`: which rule decides about a request and why, and whether the client is asked for a certificate.

Prints a tree on a terminal, the same as indented lines otherwise, one JSON object with `--json`. The exit code says
whether the question could be answered; the answer is in `outcome`. With `--log`, see `replay`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli.check import DEFAULT_CONFIG, ConfigOption
from gateway.errors import UsageError

if TYPE_CHECKING:
    from rich.tree import Tree

    from gateway.cli.explanation import Explanation
    from gateway.facts import Address
    from gateway.policy.trace import Step

SHOWN_READINGS: Final = 8  # of a path that servers read in several ways; --json has all

_GOOD: Final = "green"
_FAIR: Final = "yellow"
_BAD: Final = "red"


class HiddenLogin(StrEnum):
    """A login whose user name the gateway can't read."""

    BEARER = "bearer"
    CONNECTION = "connection"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the answer, with the lines below it."""

    text: str
    style: str = ""
    below: tuple[Line, ...] = ()


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain")(explain)


def explain(  # noqa: PLR0913 - a parameter for each option
    asked: Annotated[
        list[str] | None,
        typer.Argument(
            help="The request: https://mail.example.com/webmail. With --log: more files.",
            metavar="URL",
            show_default=False,
        ),
    ] = None,
    *,
    ip: Annotated[str | None, typer.Option("--ip", help="The address the connection comes from.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    method: Annotated[str, typer.Option("--method", "-X", help="The request's method.")] = "GET",
    cert: Annotated[
        Path | None, typer.Option("--cert", help="The client's certificate, PEM (leaf first) or DER.", metavar="FILE")
    ] = None,
    forwarded_for: Annotated[
        str | None, typer.Option("--forwarded-for", help="The request's X-Forwarded-For header.", metavar="LIST")
    ] = None,
    forwarded: Annotated[
        str | None, typer.Option("--forwarded", help="The request's Forwarded header (RFC 7239).", metavar="LIST")
    ] = None,
    user: Annotated[str | None, typer.Option("--user", help="The request's mail login (HTTP Basic).")] = None,
    login: Annotated[
        HiddenLogin | None,
        typer.Option("--login", help="A login without a name: a token, or NTLM or Negotiate on the connection."),
    ] = None,
    log: Annotated[
        list[Path] | None,
        typer.Option(
            "--log",
            help="Replay these access logs instead: whose verdict would change? - is standard input.",
            metavar="FILE",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help="With --log: only from then on, such as 1d or yesterday.", metavar="TIME"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Explain which rule would decide about a request, and why. Nothing is sent.

    With --log: list the logged requests on which these rules would decide otherwise. Exit code 1: there are some, or
    there may be.
    """
    if log:
        given = (ip, cert, forwarded_for, forwarded, user, login)
        if method != "GET" or any(each is not None for each in given):
            raise UsageError("--log takes requests from the log", "leave out the options that describe a request")
        from gateway.cli.replay.command import replay  # noqa: PLC0415 - heavy, see app

        replay([*log, *map(Path, asked or ())], config, since, as_json=as_json)
        return
    if user is not None and login not in {None, HiddenLogin.CONNECTION}:  # that one was before the request's own
        raise UsageError(
            f"--user and --login {login} contradict each other: a request has one login",
            "Remove --login for a login with a user name and password, or --user for one whose name can't be read.",
        )
    if since is not None:
        raise UsageError("--since is for --log", "name the access log: --log FILE --since 1d")
    url, peer = _one(asked, ip)
    from gateway import clock  # noqa: PLC0415 - heavy, see app
    from gateway.cli import explanation  # noqa: PLC0415 - the same
    from gateway.config.load import load  # noqa: PLC0415 - the same
    from gateway.x509.loading import load_certificates  # noqa: PLC0415 - the same

    question = explanation.Question(
        peer=_address(peer),
        url=url,
        method=method,
        certificates=() if cert is None else load_certificates(cert, takes_der=True),
        forwarded_for=forwarded_for,
        forwarded=forwarded,
        user=user,
        hidden_login=None if login is None else login.value,
    )
    told = explanation.explain(load(config, reads_keys=False), question, clock.now())
    if as_json:
        typer.echo(json.dumps(document(told), indent=2, ensure_ascii=False))
    elif sys.stdout.isatty():
        _print_tree(lines(told))
    else:
        _print_plain(lines(told), 0)


def document(told: Explanation) -> dict[str, Any]:
    """The answer as `--json` prints it."""
    judgement, identity = told.judgement, told.judgement.identity if told.judgement else None
    decision, outcome = told.decision, told.outcome
    return {
        "client": {
            "peer": str(told.question.peer),
            "address": str(told.client) if told.client else None,
            "found": told.client_found or None,
            "networks": list(told.networks),
        },
        "host": told.host,
        "site": told.site.name if told.site else None,
        "method": told.question.method,
        "uri": told.question.url,
        "path": told.target.path if told.target else None,
        "matched_as": told.target.match if told.target else None,
        "read_as": list(told.target.readings) if told.target else [],
        "certificate": {
            "asked": told.is_asked,
            "shown": judgement is not None,
            "trusted": judgement.is_trusted if judgement else None,
            "reason": judgement.reason.value if judgement and judgement.reason else None,
            "detail": judgement.detail if judgement else None,
            "subject": identity.subject if identity else None,
            "email": list(identity.emails) if identity else None,
            "fingerprint": told.fingerprint,
        },
        "rules": [_rule_document(step) for step in told.steps],
        "outcome": {
            "passes": outcome.passes,
            "status": outcome.status,
            "reason": outcome.reason,
            "detail": outcome.detail,
            "observed": outcome.observed,
            "decision": decision.action.value if decision else None,
            "rule": decision.rule if decision else None,
            "line": decision.line if decision else None,
            "upstream": told.site.upstream if told.site and outcome.passes else None,
        },
    }


def lines(told: Explanation) -> tuple[Line, ...]:
    """The answer as people read it."""
    return (
        Line(f"client {told.client or told.question.peer}", below=_client_lines(told)),
        Line(f"host {told.host or told.question.url}", below=_host_lines(told)),
        *_certificate_lines(told),
        *_rules_lines(told),
        _outcome_line(told),
    )


def _client_lines(told: Explanation) -> tuple[Line, ...]:
    if told.client is None:
        return ()
    networks = ", ".join(told.networks)
    known = f"in the networks: {networks}" if networks else "in no network: no client is known, only its proxy"
    return (Line(told.client_found), Line(known))


def _host_lines(told: Explanation) -> tuple[Line, ...]:
    below = [Line(f"site {told.site.name}, upstream {told.site.upstream}")] if told.site else []
    if told.target is not None:
        below.append(Line(f"{told.question.method} {told.target.path} goes to the upstream in this spelling"))
        below.append(Line(f"rules look at {told.target.match}"))
        below += _readings_lines(told.target.readings)
    return tuple(below)


def _readings_lines(readings: tuple[str, ...]) -> list[Line]:
    """Other readings of the path by servers; the rules must let in each of them too."""
    lines = [Line(f"and at {reading}, as some servers read it") for reading in readings[:SHOWN_READINGS]]
    more = len(readings) - len(lines)
    return [*lines, Line(f"and at {more} more readings of it")] if more else lines


def _certificate_lines(told: Explanation) -> tuple[Line, ...]:
    if told.is_asked is None:
        return ()
    if not told.is_asked:
        return (Line("certificate: the client is not asked for one", below=_unused(told)),)
    judgement = told.judgement
    if judgement is None:
        return (Line("certificate: the client is asked for one; none was given with --cert"),)
    who = () if judgement.identity is None else (Line(judgement.identity.subject),)
    if judgement.reason is None:
        return (Line(f"certificate: asked for, and trusted: {judgement.detail}", _GOOD, who),)
    return (Line(f"certificate: asked for, and refused: {judgement.reason.value}: {judgement.detail}", _BAD, who),)


def _unused(told: Explanation) -> tuple[Line, ...]:
    return (Line("so the client never sends the one given with --cert"),) if told.question.certificates else ()


def _rules_lines(told: Explanation) -> tuple[Line, ...]:
    if told.decision is None:
        return ()
    return (Line("rules, from the top", below=tuple(map(_step_line, told.steps))),)


def _step_line(step: Step) -> Line:
    below = tuple(
        Line(f"{'yes' if check.is_met else 'no '} {check.condition}: {check.why}", "" if check.is_met else _BAD)
        for check in step.checks
    )
    verdict = f"matches, {step.action.value}" if step.is_match else "does not match"
    if step.is_match and step.is_observed:
        verdict += ", in observation"
    return Line(f"line {step.line}: {step.rule}: {verdict}", "bold" if step.is_match else "dim", below)


def _outcome_line(told: Explanation) -> Line:
    outcome = told.outcome
    if outcome.passes:
        upstream = told.site.upstream if told.site else ""
        if outcome.observed is not None:
            would = f"would be refused, {outcome.observed}: {outcome.detail}; the rule is in observation"
            return Line(
                f"outcome: passes to the upstream {upstream} as a request without a certificate: {would}", _FAIR
            )
        return Line(f"outcome: passes to the upstream {upstream}: {outcome.detail}", _GOOD)
    status = "the handshake fails" if outcome.status is None else str(outcome.status)
    return Line(f"outcome: {status} {outcome.reason}: {outcome.detail}", _BAD)


def _rule_document(step: Step) -> dict[str, Any]:
    return {
        "rule": step.rule,
        "line": step.line,
        "action": step.action.value,
        "matches": step.is_match,
        "in_observation": step.is_observed,
        "why": step.why,
        "checks": [{"condition": check.condition, "met": check.is_met, "why": check.why} for check in step.checks],
    }


def _one(asked: list[str] | None, ip: str | None) -> tuple[str, str]:
    """The URL and the address, both of which must be given once."""
    remedy = "write gateway explain --ip 203.0.113.9 https://mail.example.com/webmail, or --log FILE"
    if not asked:
        raise UsageError("no URL is given", remedy)
    if len(asked) > 1:
        raise UsageError(f"{len(asked)} URLs are given", remedy)
    if ip is None:
        raise UsageError("--ip is missing: rules look at the client's address", remedy)
    return asked[0], ip


def _address(text: str) -> Address:
    from gateway.facts import parse_address  # noqa: PLC0415 - kept with its only use

    try:
        return parse_address(text)
    except ValueError as error:
        raise UsageError(f"--ip: {text!r} is not an IP address", "Write it like 203.0.113.9 or 2001:db8::9.") from error


def _shown(text: str) -> str:
    """A line for a terminal: characters that move the cursor or reverse the text are escaped."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _print_plain(some: tuple[Line, ...], depth: int) -> None:
    for line in some:
        typer.echo("  " * depth + _shown(line.text))
        _print_plain(line.below, depth + 1)


def _print_tree(some: tuple[Line, ...]) -> None:
    from rich.console import Console  # noqa: PLC0415 - heavy, and for terminals only
    from rich.text import Text  # noqa: PLC0415 - the same
    from rich.tree import Tree  # noqa: PLC0415 - the same

    def grow(tree: Tree, below: tuple[Line, ...]) -> Tree:
        for line in below:
            grow(tree.add(Text(_shown(line.text), line.style)), line.below)
        return tree

    console = Console()
    for line in some:
        console.print(grow(Tree(Text(_shown(line.text), line.style or "bold")), line.below))
