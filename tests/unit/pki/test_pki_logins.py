"""Names that would let their holder in as somebody else, and every way in which they could come to the desk."""

from __future__ import annotations

import pytest
from sqlalchemy import update
from support.desk import NOW, Files, issue_to, make_authority

from gateway.errors import UsageError
from gateway.pki import csv_users, issue, lifecycle
from gateway.pki.keys import make
from gateway.pki.logins import Logins, check_own
from gateway.pki.registry import certificates
from gateway.pki.registry.records import RevocationReason
from gateway.pki.registry.tables import CERTIFICATES
from gateway.pki.words import KeyKind

MALLORY = "mallory@example.com"
FOREIGN = [
    "bob@example.com",
    "BOB@EXAMPLE.COM",
    "bob@elsewhere.example",
    "Mallory (bob@example.com)",
    "Bob <bob@example.com>",
    "mailto:bob@example.com",
    "Mallory/bob@example.com",
    "mallory@example.com bob@example.com",
    "bob\uff20example.com",
    "bob\ufe6bexample.com",
    "CORP\\bob",
    "CORP\\bob@example.com",
]
OWN = [
    "Mallory Example",
    "mallory",
    "Bob",
    "mallory@example.com",
    "Mallory@Example.com",
    "m.example@corp.example",
    "Mallory (mallory@example.com)",
    "CORP\\mallory",
    "CORP\\m.example",
    "Mallory @ Example",
    "",
]


@pytest.mark.parametrize("name", FOREIGN)
def test_an_address_or_login_in_a_name_is_the_holders_own(name):
    with pytest.raises(UsageError, match=r"is for mallory@example\.com"):
        check_own(name, "common name", email=MALLORY, upn="m.example@corp.example")
    with pytest.raises(UsageError, match="has no mail address"):
        check_own(name, "common name", email=None, upn=None)


@pytest.mark.parametrize("name", OWN)
def test_other_names_are_not_taken_for_logins(name):
    check_own(name, "common name", email=MALLORY, upn="m.example@corp.example")


def test_a_name_of_one_word_is_not_the_login_of_another_holder():
    known = Logins([("bob@example.com", "robert@corp.example"), ("Mallory@example.com", None)])
    for name in ("bob", "BOB", "robert"):
        with pytest.raises(UsageError, match=r"is the login of bob@example\.com"):
            known.check_name(name, email=MALLORY, upn=None)
        known.check_name(name, email=f"{name}@elsewhere.example", upn=None)
        known.check_name(name, email=MALLORY, upn=f"{name}@elsewhere.example")
    for name in ("mallory", "Bob Example", "bob (Phone)", "carol"):
        known.check_name(name, email=MALLORY, upn=None)


def test_a_principal_name_is_not_another_holders():
    known = Logins([("bob@example.com", "bob@corp.example"), (MALLORY, None)])
    for upn in ("Bob@example.com", "BOB@corp.example"):
        with pytest.raises(UsageError, match=r"is the login of bob@example\.com"):
            known.check_upn(upn, email=MALLORY)
        known.check_upn(upn, email="Bob@Example.com")
    for upn in (None, MALLORY, "m.example@example.com", "bob@elsewhere.example"):
        known.check_upn(upn, email=MALLORY)


@pytest.mark.parametrize(
    "options",
    [
        {"name": "bob@example.com"},
        {"name": "Mallory", "device": "bob@example.com"},
        {"name": "Mallory", "department": "bob@example.com"},
        {"name": "CORP\\bob"},
        {"name": "bob"},
        {"name": "robert"},
        {"name": "Mallory", "upn": "bob@example.com"},
        {"name": "Mallory", "upn": "robert@corp.example"},
    ],
)
def test_the_desk_makes_no_such_certificate(desk, options):
    """Bob's is of another authority: a site may trust both."""
    issue_to(desk, make_authority(desk, "other"), "bob@example.com", upn="robert@corp.example")
    corp = make_authority(desk)
    with pytest.raises(UsageError):
        issue_to(desk, corp, MALLORY, **options)
    with desk.registry.reading() as connection:
        assert [record.email for record in certificates.find(connection)] == ["bob@example.com"]


def test_who_has_no_certificate_any_more_has_no_login_to_protect(desk, corp):
    record = issue_to(desk, corp, "bob@example.com", "Bob Example").record
    lifecycle.revoke(desk, corp, [record], RevocationReason.UNSPECIFIED, NOW)
    issue_to(desk, corp, MALLORY, "bob")


@pytest.mark.parametrize("name", ["bob@example.com", "bob"])
def test_a_certificate_from_before_is_not_renewed_with_such_a_name(desk, corp, name):
    issue_to(desk, corp, "bob@example.com", "Bob Example")
    record = issue_to(desk, corp, MALLORY, "Mallory").record
    with desk.registry.writing() as connection:
        connection.execute(update(CERTIFICATES).where(CERTIFICATES.c.id == record.id).values(common_name=name))
    with desk.registry.reading() as connection:
        (old,) = certificates.matching(connection, record.serial)
    renewal = lifecycle.Renewal(key=make(KeyKind.ECDSA_P256))
    with pytest.raises(UsageError):
        lifecycle.renew(desk, corp, old, renewal, NOW, Files())


def test_servers_have_no_logins(desk, corp):
    order = issue.Order(email=None, common_name="mail.example.com")
    assert issue.issue(desk, corp, order, make(KeyKind.ECDSA_P256), NOW, Files()).record.email is None


@pytest.mark.parametrize(
    ("rows", "places"),
    [
        ("mallory@example.com,bob@example.com,,,\n", [(2, 2)]),
        ("mallory@example.com,Mallory,,bob@example.com,\n", [(2, 4)]),
        ("mallory@example.com,Mallory,,,bob@example.com\n", [(2, 5)]),
        ("mallory@example.com,bob,,,\nbob@example.com,Bob Example,,,\n", [(2, 2)]),
        ("bob@example.com,Bob Example,,,\nmallory@example.com,M,bob@example.com,,\n", [(3, 3)]),
        ("bob@example.com,Bob Example,b@x.y,,\nmallory@example.com,M,b@x.y,,\n", [(2, 3), (3, 3)]),
        ("mallory@example.com,CORP\\bob,,bob@x.y,\nbob@example.com,Bob Example,,,\n", [(2, 2), (2, 4)]),
    ],
)
def test_a_row_with_such_a_name_is_a_mistake(rows, places):
    data = f"email,name,upn,device,department\n{rows}".encode()
    with pytest.raises(csv_users.CsvError) as refused:
        csv_users.parse(data, "users.csv", lambda _row: ())
    assert [(problem.line, problem.column) for problem in refused.value.problems] == places


def test_rows_with_names_of_their_own_are_none():
    text = "email,name,upn\nmallory@example.com,mallory,m@corp.example\nbob@example.com,bob@example.com,\n"
    assert len(csv_users.parse(text.encode(), "users.csv", lambda _row: ()).rows) == 2
