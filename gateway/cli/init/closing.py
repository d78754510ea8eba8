"""The last output of `gateway init`: what was written, and the next three commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import join, quote
from typing import Final

from gateway.cli.init import names
from gateway.cli.init.answers import Answers
from gateway.cli.init.making import DEFAULT_USER, Made, root_of
from gateway.cli.init.test_certificate import VALID_DAYS
from gateway.commands import at_desk
from gateway.config.container import is_here
from gateway.pki import intake

_SYSTEMD: Final = Path("/run/systemd/system")  # exists if systemd runs; sd_booted(3)
_OUTSIDE: Final = "203.0.113.9"  # an address for documentation (RFC 5737)


def told(answers: Answers, made: Made, program: Sequence[str], doubt: str | None = None) -> str:
    """The whole output; `doubt` says what is wrong with the mail server now."""
    settings = answers.settings
    owner = "" if settings.user is None else f", for the user {settings.user}"
    described = {name: text for name, text in _described(answers).items() if name in (*made.placed, *made.folders)}
    width = max(map(len, described))
    lines = [f"Written to {settings.config.parent}{owner}:"]
    lines += [f"  {name:<{width}}  {text}" for name, text in described.items()]
    if settings.ca_key is not None and settings.ca_list is None:
        lines += ["", at_desk(intake.without_list(settings.ca_name), f" -c {quote(str(settings.config))}")]
    if doubt is not None:
        lines += ["", doubt]
    lines += ["", "Next:"]
    lines += [f"  {command}" for command in next_commands(answers, program)]
    if is_here() and not _SYSTEMD.is_dir():
        lines += ["", f"In a container, start it as docs/containers.md describes. {names.UNIT} is not used there."]
    elif settings.user is None:
        lines += ["", f"To run it as a service, as the user {DEFAULT_USER}, use the commands in {names.UNIT}."]
    return "\n".join(lines)


def next_commands(answers: Answers, program: Sequence[str]) -> tuple[str, str, str]:
    """The commands that check the configuration, make the first certificate or explain a request, and start it."""
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
        names.passphrase_file(name): f"the passphrase of '{name}'; the gateway needs it to renew the revocation list",
        names.passphrase_file(root): f"that of '{root}'; move it and {names.PKI}/{root}/{root}.key to a safe place",
        names.TEST_CERTIFICATE: f"a TEST certificate for {host}, valid for {VALID_DAYS} days: browsers warn of it",
        names.TEST_KEY: f"its key; replace both by a public CA's files in {settings.config.name}",
        names.ISSUED: "for p12 files and their passwords, until they are handed out",
        names.LOGS: "the access log, if systemd sets no other folder",
        names.UNIT: "the systemd unit",
    }


def _shown(path: str) -> str:
    """A rule's path as a path for a URL."""
    return "/" if path.startswith("~") else path.removeprefix("=")
