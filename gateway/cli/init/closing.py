"""The last words of `gateway init`: what was written, and the three commands that come next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import join, quote
from typing import Final

from gateway.cli.init import names
from gateway.cli.init.answers import Answers
from gateway.cli.init.making import DEFAULT_USER, Made, root_of
from gateway.cli.init.test_certificate import VALID_DAYS
from gateway.pki import intake

_SYSTEMD: Final = Path("/run/systemd/system")  # is there where systemd runs; sd_booted(3)
_OUTSIDE: Final = "203.0.113.9"  # an address of nobody (RFC 5737)


def told(answers: Answers, made: Made, program: Sequence[str], doubt: str | None = None) -> str:
    """All of it; `doubt` is what is wrong with the mail server now."""
    settings = answers.settings
    owner = "" if settings.user is None else f", for the user {settings.user}"
    described = {name: text for name, text in _described(answers).items() if name in (*made.placed, *made.folders)}
    width = max(map(len, described))
    lines = [f"Written to {settings.config.parent}{owner}:"]
    lines += [f"  {name:<{width}}  {text}" for name, text in described.items()]
    if settings.ca_key is not None and settings.ca_list is None:
        lines += ["", intake.without_list(settings.ca_name)]
    if doubt is not None:
        lines += ["", doubt]
    lines += ["", "Next:"]
    lines += [f"  {command}" for command in next_commands(answers, program)]
    if settings.user is None:
        lines += ["", f"As a service it runs as the user {DEFAULT_USER}: {names.UNIT} begins with the commands."]
    return "\n".join(lines)


def next_commands(answers: Answers, program: Sequence[str]) -> tuple[str, str, str]:
    """Check it, look at it from a client's side, start it."""
    settings = answers.settings
    config = str(settings.config)
    check = join((*program, "check", "--who", "-c", config))
    run = join((*program, "run", "-c", config))
    if settings.user is not None and _SYSTEMD.is_dir():
        run = f"systemctl enable --now {quote(str(settings.config.parent / names.UNIT))}"
    if not answers.keeps_authority:
        url = f"https://{answers.hosts[0]}{_shown(answers.paths[0])}"
        return check, join((*program, "explain", url, "--ip", _OUTSIDE, "-c", config)), run
    folder = settings.config.parent
    secret = str(folder / names.passphrase_file(settings.ca_name))
    signed_by = ("--ca", settings.ca_name, "--passphrase-file", secret)
    person = f"alice@{answers.domain}"
    issue = join((*program, "cert", "-c", config, "issue", person, *signed_by, "--out", str(folder / names.ISSUED)))
    if settings.user is not None:
        issue = f"runuser -u {quote(settings.user)} -- {issue}"
    return check, issue, run


def _described(answers: Answers) -> dict[str, str]:
    settings, host = answers.settings, answers.hosts[0]
    name, root = settings.ca_name, root_of(answers)
    origin = "imported" if answers.ca is not None else f"below a new root, '{root}'"
    return {
        settings.config.name: "the configuration",
        names.PKI: f"the authority '{name}', {origin}, and the registry; back it up",
        names.passphrase_file(name): f"opens '{name}'; the gateway renews its revocation list with it",
        names.passphrase_file(root): f"opens '{root}'; move it and {names.PKI}/{root}/{root}.key to a safe place",
        names.TEST_CERTIFICATE: f"a TEST certificate for {host}, good for {VALID_DAYS} days: browsers warn of it",
        names.TEST_KEY: f"its key; put a public CA's files into {settings.config.name} instead",
        names.ISSUED: "for p12 files and their passwords, until they are handed out",
        names.LOGS: "the access log, unless systemd says where",
        names.UNIT: "the systemd unit",
    }


def _shown(path: str) -> str:
    """A path of a rule as one that can be asked for."""
    return "/" if path.startswith("~") else path.removeprefix("=")
