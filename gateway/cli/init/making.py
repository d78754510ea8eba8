"""Everything that `gateway init` makes, in one folder: configuration, authority, test certificate, unit.

Keeps true: secret files are 0600 from their first byte, or 0640 for the group of the gateway's user. That user never
owns the root's key and passphrase: an attacker who takes over the gateway can't make an authority.
"""

from __future__ import annotations

import os
import pwd
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from shlex import quote
from typing import Final

from gateway.cli.desk import actor
from gateway.cli.init import names, test_certificate
from gateway.cli.init.answers import Answers
from gateway.cli.init.configuration import configuration
from gateway.cli.init.unit import Unit, unit
from gateway.config.users import to_have
from gateway.errors import OperationError, UsageError, as_sentence
from gateway.pki import authority, files, intake, pkcs8
from gateway.pki import crl as lists
from gateway.pki.desk import Desk
from gateway.pki.registry.engine import Registry
from gateway.pki.words import Signs

DEFAULT_USER: Final = "gateway"
_PASSPHRASE_BYTES: Final = 24  # 192 random bits: programs read the passphrase, and people never type it
_GROUP_READS: Final = 0o640
_OWNER_ONLY: Final = 0o700


@dataclass(frozen=True, slots=True)
class Made:
    """Names of what was made, in the order in which it is put in place: the configuration comes last."""

    placed: tuple[str, ...]
    folders: tuple[str, ...]  # that may exist already


def known_user(given: str | None) -> str | None:
    """The user that the gateway becomes; None if it stays the user that starts it. Raises `UsageError`.

    Without an option: `gateway`, if root runs this and that user exists.
    """
    if os.geteuid() != 0:
        if given is not None:
            raise UsageError(
                "--user: only root can start the gateway as another user", "Run gateway init as root, or remove --user."
            )
        return None
    name = DEFAULT_USER if given is None else given
    try:
        return None if pwd.getpwnam(name).pw_uid == 0 else name
    except KeyError:
        if given is None:
            return None
        raise UsageError(f"--user: there is no user '{given}'", as_sentence(to_have(given))) from None


def all_names(answers: Answers) -> Made:
    """The names of everything that will be made."""
    placed = [names.UNIT]
    if answers.certificate is None:
        placed += [names.TEST_CERTIFICATE, names.TEST_KEY]
    if answers.keeps_authority:
        placed += [names.PKI, *_passphrases(answers)]
    return Made((*placed, answers.settings.config.name), (names.ISSUED, names.LOGS))


def make(answers: Answers, folder: Path, program: Sequence[str], now: datetime) -> None:
    """Make everything in `folder`. Raises `GatewayError`."""
    settings = answers.settings
    if answers.certificate is None:
        certificate, key = test_certificate.make(answers.hosts, now)
        files.write_public(folder / names.TEST_CERTIFICATE, certificate)
        files.write_private(folder / names.TEST_KEY, key)
    if answers.keeps_authority:
        _make_authority(answers, folder, now)
    files.write_public(folder / names.UNIT, _unit(answers, program).encode())
    files.write_private(folder / settings.config.name, configuration(answers).encode())
    for each in (names.ISSUED, names.LOGS):
        (folder / each).mkdir(mode=_OWNER_ONLY)
    if settings.user is not None:
        _hand_over(answers, folder, settings.user)


def installing(answers: Answers) -> list[str]:
    """The commands that install the service; the first ones give the files to its user, if it doesn't own them yet."""
    settings, folder = answers.settings, answers.settings.config.parent
    steps = []
    if settings.user is None:
        made = all_names(answers)
        own = [name for name in (*made.placed, *made.folders) if _is_the_users(answers, name)]
        readable = [settings.config, answers.key or folder / names.TEST_KEY]
        steps += [
            f"useradd --system --no-create-home --shell /usr/sbin/nologin {DEFAULT_USER}",
            f"chown -R {DEFAULT_USER}: {_words(folder / name for name in own)}",
            f"chgrp {DEFAULT_USER} {_words(readable)}",
            f"chmod g+r {_words(readable)}",
        ]
        if answers.ca is None:
            steps.append(f"chown root: {_words([folder / _root_key(answers)])}")
    return [*steps, f"systemctl enable --now {_words([folder / names.UNIT])}"]


def _passphrases(answers: Answers) -> list[str]:
    """Files with passphrases: the authority's, and the root's if it is new."""
    own = names.passphrase_file(answers.settings.ca_name)
    return [own, names.passphrase_file(root_of(answers))] if answers.ca is None else [own]


def root_of(answers: Answers) -> str:
    """The name of a new authority's root."""
    return f"{answers.settings.ca_name}{authority.ROOT_SUFFIX}"


def _root_key(answers: Answers) -> Path:
    return Path(names.PKI) / root_of(answers) / f"{root_of(answers)}.key"


def _words(paths: Iterable[Path]) -> str:
    return " ".join(quote(str(path)) for path in paths)


def _is_the_users(answers: Answers, name: str) -> bool:
    """Whether the gateway's user owns a file or folder: what it writes, and the passphrase that it needs."""
    return name in (names.PKI, names.ISSUED, names.LOGS, names.passphrase_file(answers.settings.ca_name))


def _make_authority(answers: Answers, folder: Path, now: datetime) -> None:
    settings = answers.settings
    given = settings.passphrase
    own = _given_passphrase(given) if given is not None else _new_passphrase()
    files.write_private(folder / names.passphrase_file(settings.ca_name), f"{own}\n".encode())
    with Registry.open(f"sqlite:///{names.PKI}/registry.db", folder) as registry:
        desk = Desk(registry, folder / names.PKI, actor())
        if answers.ca is None:
            root = _new_passphrase()
            files.write_private(folder / names.passphrase_file(root_of(answers)), f"{root}\n".encode())
            made = authority.create_with_root(desk, _plan(answers), authority.Secrets(own, root), now, authority.Urls())
        else:
            made = [intake.take_in(desk, _intake(answers), own, now)]
        for each in made:
            lists.renew(desk, each, now)


def _plan(answers: Answers) -> authority.Plan:
    settings = answers.settings
    organization = settings.organization
    return authority.Plan(
        name=settings.ca_name,
        common_name=f"{organization or answers.domain} CA",
        organization=organization,
        domain=answers.domain,
        signs=Signs.PEOPLE,
        kind=settings.key_kind,
    )


def _intake(answers: Answers) -> intake.Intake:
    settings, certificate = answers.settings, answers.ca
    if certificate is None or settings.ca_key is None:
        raise AssertionError  # only with both is an authority imported
    passphrase = settings.ca_key_passphrase
    return intake.Intake(
        name=settings.ca_name,
        certificate_pem=files.read(certificate),
        key_pem=files.read(settings.ca_key),
        key_passphrase=None if passphrase is None else files.read_secret(passphrase),
        certificate_option="--ca",
        key_option="--ca-key",
        opening_option="--ca-key-passphrase-file",
        making="Leave out --ca and --ca-key: gateway init then makes a new authority.",
        crl=None if settings.ca_list is None else files.read(settings.ca_list),
    )


def _given_passphrase(file: Path) -> str:
    try:
        return pkcs8.check_passphrase(files.read_secret(file))
    except UsageError as error:
        raise UsageError(f"--passphrase-file: {error.cause}", error.remedy) from error


def _new_passphrase() -> str:
    return secrets.token_urlsafe(_PASSPHRASE_BYTES)


def _unit(answers: Answers, program: Sequence[str]) -> str:
    settings = answers.settings
    return unit(
        Unit(
            program=program,
            config=settings.config,
            user=settings.user or DEFAULT_USER,
            writable=settings.config.parent / names.PKI,
            steps=installing(answers),
        )
    )


def _hand_over(answers: Answers, folder: Path, user: str) -> None:
    """Give the gateway's user the files that it reads and writes, and no others."""
    known = pwd.getpwnam(user)
    made = all_names(answers)
    try:
        for name in (*made.placed, *made.folders):
            if _is_the_users(answers, name):
                _chown(folder / name, known.pw_uid, known.pw_gid, kept=folder / _root_key(answers))
        for name in (answers.settings.config.name, names.TEST_KEY):
            if os.path.lexists(folder / name):
                os.chown(folder / name, -1, known.pw_gid)
                (folder / name).chmod(_GROUP_READS)
    except OSError as error:
        cause = f"{folder}: cannot be given to {user}: {error.strerror}"
        raise OperationError(cause, "Run gateway init as root.") from error


def _chown(path: Path, uid: int, gid: int, *, kept: Path) -> None:
    """Change the owner of everything in a folder except `kept`, then of the folder.

    In this order, and without following links, the new owner can't interfere with the rest of the work.
    """
    for folder, _, found in os.walk(path, topdown=False):
        for each in (Path(folder) / name for name in found):
            if each != kept:
                os.chown(each, uid, gid, follow_symlinks=False)
        os.chown(folder, uid, gid, follow_symlinks=False)
    if not path.is_dir():
        os.chown(path, uid, gid, follow_symlinks=False)
