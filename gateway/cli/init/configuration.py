"""The configuration that `gateway init` writes: every line that a first gateway needs, and why it is there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from gateway.cli.init.answers import Answers
from gateway.cli.init.names import LOGS, PKI, TEST_CERTIFICATE, TEST_KEY, passphrase_file
from gateway.cli.init.servers import PATHS
from gateway.config.networks import DEFAULT_INTERNAL

_HEAD: Final = """\
# Written by `gateway init`. docs/configuration.md describes every key, config.example.yaml shows them all.
# Relative paths are relative to this file's folder. After a change:
#   gateway check -c {config}
"""

_TEST: Final = """\
    # A TEST certificate, which `gateway init` has made: browsers warn of it, and it ends after 90 days. Replace the
    # two lines by the certificate and key of a public CA. docs/lets-encrypt.md has the steps for Let's Encrypt.
"""

_UPSTREAM: Final = """\

upstreams:
  mail:
    servers: [{server}]
"""

_HINT: Final = """\
    # The server's certificate must be for this name and of a CA that the system trusts. If not, name its CA, and
    # the name in the certificate:
    # tls: {ca: mail-server-ca.pem, server_name: mail.internal}
"""

_SERVICE: Final = """\

access_log: {{path: "${{LOGS_DIRECTORY:-{logs}}}/access.jsonl"}}    # systemd: /var/log/gateway
pages: {{contact: {contact}}}    # shown to people who are refused
admin: {{address: {admin}}}    # for `gateway status`
"""

_REGISTRY: Final = """\

pki:                        # the certificate registry; `gateway ca` and `gateway cert` find it with -c
  store: "sqlite:///{pki}/registry.db"
  authorities:              # whose revocation lists the gateway renews by itself
    {name}: {{passphrase_file: "${{CREDENTIALS_DIRECTORY:-.}}/{passphrase}"}}
  warn: {{before: [30d, 7d, 1d]}}    # of certificates that end: in log, status and metrics
"""


def configuration(answers: Answers) -> str:
    """The whole file."""
    settings = answers.settings
    parts = [_HEAD.format(config=settings.config), _user(settings.user), _listeners(answers), _inside(answers)]
    parts += [_site(answers), _upstream(answers), _rules(answers)]
    parts.append(_SERVICE.format(logs=LOGS, contact=_quoted(answers.contact), admin=_quoted(settings.admin)))
    if answers.keeps_authority:
        name = settings.ca_name
        parts.append(_REGISTRY.format(pki=PKI, name=name, passphrase=passphrase_file(name)))
    return "".join(parts)


def option_for(path: str, answers: Answers) -> str | None:
    """The option whose value is at a place of the file, such as `--listen` for `listen[0].address`."""
    known = PATHS[answers.kind]
    outside = 1 + bool(known.never) + bool(known.never_outside)
    options = {
        "user": "--user",
        "listen[0]": "--listen",
        "listen[1]": "--redirect",
        "networks": "--inside",
        "sites[0].hosts": "--host",
        "sites[0].certificate": "--certificate",
        "sites[0].key": "--key",
        "sites[0].client_ca": "--ca",
        "sites[0].crl": "--ca-crl",
        "upstreams.mail.tls": "--mail-server-ca",
        "upstreams.mail": "--mail-server",
        f"rules[{outside}].uri": "--path",
        "rules": "--server-kind",
        "pages": "--contact",
        "admin": "--admin",
        "pki": "--ca-name",
    }
    return next(
        (option for place, option in options.items() if path == place or path.startswith((f"{place}.", f"{place}["))),
        None,
    )


def _user(user: str | None) -> str:
    return "" if user is None else f"user: {_quoted(user)}    # the user that the gateway becomes if root starts it\n"


def _listeners(answers: Answers) -> str:
    settings = answers.settings
    text = f"\nlisten:\n  - address: {_quoted(settings.listen)}\n"
    if settings.redirect is not None:
        text += f"  - {{address: {_quoted(settings.redirect)}, redirect_to_https: true}}\n"
    return text


def _inside(answers: Answers) -> str:
    """The networks whose clients need no certificate."""
    why = "# Clients in these networks need no certificate; all others are `external`.\n"
    networks = answers.settings.inside
    if networks:
        return f"\n{why}networks:\n  internal: {_listed(networks)}\n"
    default = f"# networks:\n#   internal: {_listed(DEFAULT_INTERNAL)}"
    return f"\n{why}# This is the default; write your own if it does not fit:\n{default}\n"


def _site(answers: Answers) -> str:
    shown = (
        f"    certificate: {_quoted(answers.certificate)}\n    key: {_quoted(answers.key)}\n"
        if answers.certificate is not None
        else f"{_TEST}    certificate: {TEST_CERTIFICATE}\n    key: {TEST_KEY}\n"
    )
    name = answers.settings.ca_name
    if answers.keeps_authority:
        trusted = f"    client_ca: [{PKI}/{name}/{name}.crt]\n    crl: [{PKI}/{name}/{name}.crl]\n"
    else:
        trusted = f"    client_ca: [{_quoted(answers.ca)}]\n"
        if answers.settings.ca_list is not None:
            trusted += f"    crl: [{_quoted(answers.settings.ca_list)}]\n"
        else:
            trusted += "    # Name its revocation list, or revoked certificates are accepted:\n    # crl: [http://…]\n"
    return f"\nsites:\n  - hosts: {_listed(answers.hosts)}\n{shown}{trusted}    upstream: mail\n"


def _upstream(answers: Answers) -> str:
    text = _UPSTREAM.format(server=_quoted(answers.mail_server))
    if PATHS[answers.kind].is_per_client:
        text += "    connections: per_client    # logins by NTLM belong to a connection\n"
    if answers.settings.mail_server_ca is not None:
        return f"{text}    tls: {{ca: {_quoted(answers.settings.mail_server_ca)}}}\n"
    return text + _HINT if answers.mail_server.startswith("https:") else text


def _rules(answers: Answers) -> str:
    known = PATHS[answers.kind]
    rules = ["\nrules:    # the first rule that matches decides; if no rule matches, the request is refused\n"]
    if known.never:
        rules.append(f"  - {{name: Never, uri: {_listed(known.never)}, action: deny}}\n")
    rules.append("  - {name: Inside without a certificate, from: internal, action: allow}\n")
    if known.never_outside:
        rules.append(
            f"  - {{name: Never from outside, from: external, uri: {_listed(known.never_outside)}, action: deny}}\n"
        )
    rules.append(
        "  - name: Outside with a certificate\n    from: external\n"
        f"    uri: {_listed(answers.paths)}\n    action: require_certificate\n"
    )
    rules.append("  - {name: Everything else, action: deny}\n")
    return "".join(rules)


def _listed(texts: Iterable[object]) -> str:
    return f"[{', '.join(map(_quoted, texts))}]"


def _quoted(value: object) -> str:
    """A text quoted for YAML, with `$` escaped: JSON's strings are valid YAML."""
    return json.dumps(str(value).replace("$", "$$"), ensure_ascii=False)
