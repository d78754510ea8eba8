"""The questions and answers of `gateway init`. Answers come from options, from a terminal or from defaults.

Every answer is checked at once. On a terminal, a wrong one is asked for again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final, TypeVar

import typer

from gateway.access import is_file
from gateway.cli.init.servers import PATHS, ServerKind
from gateway.config.addresses import Unreadable, parse_host, parse_server
from gateway.errors import GatewayError, UsageError, as_sentence
from gateway.pki.names import check_domain
from gateway.pki.words import KeyKind

Parsed = TypeVar("Parsed")

_BETWEEN_PATHS: Final = re.compile(r",?\s+|,(?=[/=~])")  # a comma can also be part of an expression
_FEWEST_LABELS_WITH_A_HOST: Final = 3  # mail.example.com is a host in example.com; example.com is a domain


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The options on the command line; None or empty if an option is missing."""

    hosts: tuple[str, ...]
    mail_server: str | None
    kind: ServerKind | None
    paths: tuple[str, ...]
    domain: str | None
    contact: str | None
    certificate: Path | None
    key: Path | None
    ca: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Values that are never asked for: they come from options or defaults."""

    config: Path
    user: str | None  # the user that the gateway becomes; None: the one that starts it
    listen: str
    redirect: str | None  # where plain HTTP is redirected from
    admin: str
    inside: tuple[str, ...] = ()
    mail_server_ca: Path | None = None
    ca_name: str = "corp"
    ca_key: Path | None = None
    ca_key_passphrase: Path | None = None
    ca_list: Path | None = None
    passphrase: Path | None = None
    organization: str | None = None
    key_kind: KeyKind = KeyKind.RSA_4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """All answers, checked."""

    hosts: tuple[str, ...]
    mail_server: str
    kind: ServerKind
    paths: tuple[str, ...]
    domain: str
    contact: str
    certificate: Path | None  # None: a test certificate is made
    key: Path | None
    ca: Path | None  # None: a new authority is made
    settings: Settings

    @property
    def keeps_authority(self) -> bool:
        """True if there is a registry, with an authority that was made or imported."""
        return self.ca is None or self.settings.ca_key is not None


class Questions:
    """Takes an answer from its option, the terminal or its default."""

    def __init__(self, *, are_asked: bool) -> None:
        self._are_asked = are_asked

    def answer(
        self, option: str, given: str | None, question: str, parse: Callable[[str], Parsed], default: str | None
    ) -> Parsed:
        """One answer. Raises `UsageError` for an option that can't be used."""
        if given is None and self._are_asked:
            parsed: Parsed = typer.prompt(
                question, default=default, show_default=bool(default), value_proc=_asking_again(parse)
            )
            return parsed
        text = given if given is not None else default
        if text is None:
            raise UsageError(f"{option} is missing", f"Give {option}; it has no default.")
        try:
            return parse(text)
        except (UsageError, Unreadable) as error:
            raise UsageError(f"{option}: {error.cause}", as_sentence(error.remedy)) from error


def ask(given: Given, settings: Settings, *, are_asked: bool) -> Answers:
    """The answers, from the options and the terminal. Raises `UsageError`."""
    if not are_asked:
        _check_complete({"--host": given.hosts, "--mail-server": given.mail_server})
    questions = Questions(are_asked=are_asked)
    host = questions.answer(
        "--host", next(iter(given.hosts), None), "Host name that people open, such as mail.example.com", _host, None
    )
    kind = questions.answer(
        "--server-kind", given.kind, f"Kind of mail server ({', '.join(ServerKind)})", _kind, ServerKind.OTHER.value
    )
    server = questions.answer(
        "--mail-server", given.mail_server, "Address of the mail server, such as https://10.0.0.5", _server, None
    )
    paths = _paths(questions, given, kind)
    domain = questions.answer(
        "--mail-domain", given.domain, "Mail domain, the part behind the @", check_domain, _domain_of(host)
    )
    contact = questions.answer(
        "--contact", given.contact, "Contact for people who are refused", _line, f"postmaster@{domain}"
    )
    certificate, key = _certificate(questions, given, are_asked=are_asked)
    ca = given.ca
    if ca is None and are_asked:
        text = "Certificate of the authority for client certificates, PEM (empty: make a new one)"
        ca = questions.answer("--ca", None, text, _file_or_none, "")
    return Answers(
        hosts=(host, *(_option("--host", each, _host) for each in given.hosts[1:])),
        mail_server=server,
        kind=kind,
        paths=paths,
        domain=domain,
        contact=contact,
        certificate=certificate,
        key=key,
        ca=None if ca is None else _option("--ca", str(ca), _file),
        settings=settings,
    )


def _check_complete(required: Mapping[str, object]) -> None:
    missing = [option for option, value in required.items() if not value]
    if missing:
        raise UsageError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing",
            f"Give {' and '.join(missing)}, or run it on a terminal without --yes, to be asked.",
        )


def _paths(questions: Questions, given: Given, kind: ServerKind) -> tuple[str, ...]:
    if given.paths:
        return tuple(path for text in given.paths for path in _option("--path", text, _path_list))
    known = PATHS[kind].with_certificate
    if kind is not ServerKind.OTHER:
        return known
    question = "Paths open from outside with a certificate"
    return questions.answer("--path", None, question, _path_list, " ".join(known))


def _certificate(questions: Questions, given: Given, *, are_asked: bool) -> tuple[Path | None, Path | None]:
    certificate, key = given.certificate, given.key
    if certificate is None and key is not None:
        raise UsageError("--key needs --certificate", "Give both, or neither for a test certificate.")
    if certificate is None and are_asked:
        text = "Certificate of this host, PEM (empty: make a test certificate)"
        certificate = questions.answer("--certificate", None, text, _file_or_none, "")
    if certificate is None:
        return None, None
    if key is None and not are_asked:
        raise UsageError("--certificate needs --key", "Give both, or neither for a test certificate.")
    key = questions.answer("--key", None if key is None else str(key), "Its private key, PEM", _file, None)
    return _option("--certificate", str(certificate), _file), key


def _option(name: str, text: str, parse: Callable[[str], Parsed]) -> Parsed:
    return Questions(are_asked=False).answer(name, text, "", parse, None)


def _asking_again(parse: Callable[[str], Parsed]) -> Callable[[str], Parsed]:
    def parsed(text: str) -> Parsed:
        try:
            return parse(text.strip())
        except (GatewayError, Unreadable) as error:
            raise typer.BadParameter(f"{error.cause}. {as_sentence(error.remedy)}") from error

    return parsed


def _host(text: str) -> str:
    try:
        host = parse_host(text)
    except Unreadable as error:
        remedy = "write a name such as mail.example.com" if "*" in error.remedy else error.remedy
        raise Unreadable(error.cause, remedy) from error
    if "*" in host:
        raise UsageError(f"'{text}' is not a single host", "Write one name, without '*'.")
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return host
    raise UsageError(f"'{text}' is an address", "Write the name that people open, such as mail.example.com.")


def _server(text: str) -> str:
    return parse_server(text if "://" in text else f"https://{text}").url


def _kind(text: str) -> ServerKind:
    try:
        return ServerKind(text.lower())
    except ValueError:
        raise UsageError(f"'{text}' is not a kind of server", f"Write {', '.join(ServerKind)}.") from None


def _domain_of(host: str) -> str:
    labels = host.split(".")
    return ".".join(labels[1:] if len(labels) >= _FEWEST_LABELS_WITH_A_HOST else labels)


def _line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise UsageError("the contact is not one line of text", "Write an address or a telephone number.")
    return text


def _path(text: str) -> str:
    if not text.startswith(("/", "=/", "~")) or not text.isprintable():
        raise UsageError(f"'{text}' is not a path", "Write it like /webmail.")
    return text


def _path_list(text: str) -> tuple[str, ...]:
    return tuple(_path(each) for each in _BETWEEN_PATHS.split(text.strip().rstrip(",")))


def _file(text: str) -> Path:
    path = Path(text).expanduser().absolute()
    if not is_file(path):
        raise UsageError(f"there is no file {path}", "Name a PEM file that exists.")
    return path


def _file_or_none(text: str) -> Path | None:
    return _file(text) if text else None
