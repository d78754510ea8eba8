"""What a letter says, a module a language. Every language has every kind of kit; a test holds that.

In the templates `{host}`, `{url}`, `{email}`, `{name}`, `{p12}`, `{stem}` and `{stem_for_kind}` are the person's;
`{password}`, `{trust}`, `{ready}` and `{open}` are sentences of the same language, which may be empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.pki.words import KitKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """One language, as HTML. Menus are called as the programs call them in that language."""

    title: str
    heading: str
    purpose: str
    purpose_mail: str  # of a certificate for mail alone
    by_hand: str
    password: str  # where it is in the kit
    trust: str
    open_page: str
    keep: str
    address: str
    until: str
    date: str
    serial: str
    help: str
    steps: Mapping[KitKind, tuple[str, ...]]
    # The last step, where it depends on what the certificate is for.
    logged_in: Mapping[KitKind, str]
    mail_only: Mapping[KitKind, str]
