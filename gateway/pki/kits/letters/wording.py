"""The texts of a letter. Each language is a module, and each has every kind of kit; a test checks that.

In the templates, `{host}`, `{url}`, `{email}`, `{name}`, `{p12}`, `{stem}` and `{stem_for_kind}` stand for the person's
data. `{password}`, `{trust}`, `{ready}` and `{open}` stand for sentences of the same language, and may be empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.pki.words import KitKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """The texts of one language, as HTML. Menus have the names that the programs use in that language."""

    title: str
    heading: str
    purpose: str
    purpose_mail: str  # for a certificate only for mail
    by_hand: str  # the person has to type the password
    password: str  # the password is in the letter
    trust: str
    open_page: str
    keep: str
    address: str
    until: str
    date: str
    serial: str
    help: str
    steps: Mapping[KitKind, tuple[str, ...]]
    # The last step, which depends on the use of the certificate.
    logged_in: Mapping[KitKind, str]
    mail_only: Mapping[KitKind, str]
