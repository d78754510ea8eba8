"""What was meant by a key that another program has, or by a value of another shape, for remedies that can be copied.

Keeps true: no remedy shows a secret.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from gateway.config.kinds import Choice, Field, Kind, ListOf, Record, TableOf, Text
from gateway.config.marks import Mapping, Node, Scalar, Sequence
from gateway.config.problems import Place, listing
from gateway.config.scalars import is_other
from gateway.config.yaml_text import as_yaml, as_yaml_list

# Words of nginx, Apache httpd, HAProxy and others, without their underscores and hyphens.
_KEYS: Final = {
    "from": "ip ips source sources src client clients clientip remoteaddr network networks address addresses cidr",
    "uri": "path paths location locations prefix urls uris pathbeg match",
    "hosts": "servername servernames serveralias domain domains vhost virtualhost fqdn",
    "methods": "verb verbs httpmethod httpmethods limitexcept",
    "certificate": "sslcertificate sslcertificatefile cert crt tlscert servercertificate fullchain",
    "key": "sslcertificatekey sslcertificatekeyfile privatekey keyfile tlskey certificatekey",
    "key_password": "passphrase password keypassphrase sslpasswordfile",
    "client_ca": "sslclientcertificate ssltrustedcertificate sslcacertificatefile cafile ca clientcas clientcafile",
    "crl": "sslcrl sslcarevocationfile crlfile crls revocationlist revocationlists",
    "upstream": "proxypass backend target origin usebackend defaultbackend",
    "protocols": "alpn alpnprotocols",
    "servers": "backends targets nodes members url urls hosts addresses balancermember",
    "address": "bind port listen ip addr",
    "ca": "issuer cafile clientca sslproxycacertificatefile proxyssltrustedcertificate",
    "admin": "to recipients admins adminemail",
    "response": "timeout readtimeout proxyreadtimeout timeoutserver",
    "connect": "connecttimeout proxyconnecttimeout timeoutconnect",
    "verify": "insecure sslverify proxysslverify insecureskipverify",
}
_OURS: Final = {
    word: [ours for ours, words in _KEYS.items() if word in words.split()] for word in " ".join(_KEYS.values()).split()
}
_SIGNS: Final = re.compile(r"[-_\s]")
_YES: Final = frozenset({"true", "yes", "on", "enabled", "required", "any", "default"})
_NO: Final = frozenset({"false", "no", "off", "none", "disabled"})
_OFF_IF_LEFT_OUT: Final = frozenset({"lockout", "rotate", "admin", "pki", "health", "hsts", "tls", "certificate"})
_FOLDER_KEYS: Final = ("path", "directory", "folder")
_SUBJECT: Final = re.compile(r"\s*([A-Za-z.0-9]+)\s*=\s*([^,=/]+?)\s*(?:[,/]|$)")


def key_meant(kind: Record, key: Scalar, child: Node, present: Collection[str]) -> tuple[str, str] | None:
    """The key that `key` stands for, and the remedy; None if that can't be told."""
    names = _OURS.get(_SIGNS.sub("", key.text.lower()), [])
    for name in names:
        if name in kind.by_name and name not in present:
            return name, f"write {name}"
    for entry in kind.fields:
        if isinstance(entry.kind, Choice) and key.text in entry.kind.words and entry.name not in present:
            return entry.name, f"write {entry.name}: {key.text}"
    inner = [
        (entry.name, name)
        for name in (*names, key.text)
        for entry in kind.fields
        if isinstance(entry.kind, Record) and name in entry.kind.by_name
    ]
    if not inner or inner[0][0] in present or not isinstance(child, Scalar):
        return None
    outer, name = inner[0]
    if _is_secret(kind.by_name[outer].kind, name):
        return outer, f"write it under {outer}"
    value = child.text if child.is_plain and is_other(child.text) else as_yaml(child.text)
    return outer, f"write {outer}: {{{name}: {value}}}"


def mapping_meant(kind: Record, node: Node, place: Place) -> str | None:
    """What to write where a value stands in the place of a mapping; None if that can't be told."""
    if not isinstance(node, Scalar):
        return None
    text = node.text
    for entry in kind.fields:
        if isinstance(entry.kind, Choice) and text in entry.kind.words:
            return f"write {{{entry.name}: {text}}}"
    keys = listing(kind.by_name, "and")
    has_switch = any(isinstance(entry.kind, Choice) and "off" in entry.kind.words for entry in kind.fields)
    if text.lower() in _NO and place.path.rpartition(".")[2] in _OFF_IF_LEFT_OUT:
        return f"remove it, or write a mapping with the keys {keys}"
    if not has_switch and (remedy := defaults_meant(kind, node)) is not None:
        return remedy
    return _single_meant(kind, text, place)


def _single_meant(kind: Record, text: str, place: Place) -> str | None:
    """The same for a value that is meant for one of the keys."""
    meant = _only_required(kind) or (kind.fields[0] if len(kind.fields) == 1 else None)
    if meant is None and "/" in text:
        meant = next((each for each in kind.fields if each.name in _FOLDER_KEYS), None)
    if meant is None or not isinstance(meant.kind, Text | ListOf) or _is_secret(kind, meant.name):
        return None
    if text.isdigit() and meant.name == "address":
        return f'write {{address: "{"127.0.0.1" if place.path == "admin" else ""}:{text}"}}'
    return None if is_other(text) else f"write {{{meant.name}: {as_yaml(text)}}}"


def _is_secret(kind: Kind, name: str) -> bool:
    """Whether a message may not show the value of this key."""
    inner = kind.by_name[name].kind if isinstance(kind, Record) else kind
    return isinstance(inner, Text) and inner.is_secret


def defaults_meant(kind: Record, node: Scalar) -> str | None:
    """What to write where a section is only switched on; None if it needs more, or the value is something else."""
    if node.text.lower() not in _YES or any(entry.is_required for entry in kind.fields):
        return None
    return f"write {{}} for the defaults, or a mapping with the keys {listing(kind.by_name, 'and')}"


def _only_required(kind: Record) -> Field | None:
    found = [entry for entry in kind.fields if entry.is_required]
    return found[0] if len(found) == 1 else None


def names_meant(kind: TableOf, node: Node) -> str | None:
    """What to write where a list or a value stands in the place of a mapping of names; None if that can't be told."""
    if isinstance(node, Scalar) and kind.key_pattern.startswith("CN|"):
        found = _SUBJECT.findall(node.text)
        return f"write {{{', '.join(f'{name}: {as_yaml(value)}' for name, value in found)}}}" if found else None
    if not isinstance(node, Sequence):
        return None
    if node.items and all(isinstance(item, Mapping) for item in node.items):
        return "write the names without '- ' before them"
    texts = [item.text for item in node.items if isinstance(item, Scalar)]
    if isinstance(kind.value, Record) and len(texts) == 1 and (entry := _only_required(kind.value)) is not None:
        return f"write {{{texts[0]}: {{{entry.name}: FILE}}}}"
    if isinstance(kind.value, ListOf) and texts and len(texts) == len(node.items):
        return f"give the list a name: {{office: {as_yaml_list(texts)}}}"
    return None


def list_meant(kind: Kind, node: Node, place: Place) -> str | None:
    """What to write where a value stands in the place of a list of mappings; None if that can't be told."""
    if not isinstance(kind, Record) or not isinstance(node, Scalar):
        return None
    entry = mapping_meant(kind, node, place)
    found = None if entry is None else re.fullmatch(r"write (\{\S+: .*\})", entry)
    return None if found is None else f"write [{found[1]}]"
