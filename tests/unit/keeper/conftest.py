"""A desk with an authority whose passphrase is in a file, and plans for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from support.desk import DAY, NOW, PASSPHRASE, make_authority, open_desk
from support.pki import SERVER_AUTH, Ca
from support.post import PASSWORD, USER, PostOffice

from gateway.config.model import Mail
from gateway.keeper.plan import Plan
from gateway.pki import pkcs8

BEFORE = (30 * DAY, 7 * DAY, DAY)


@pytest.fixture(autouse=True)
def _quick_keys(monkeypatch):
    monkeypatch.setattr(pkcs8, "SCRYPT_COST", 2**4)


@pytest.fixture
def desk(tmp_path):
    desk = open_desk(tmp_path)
    yield desk
    desk.registry.close()


@pytest.fixture
def corp(desk):
    return make_authority(desk, organization="Example Ltd")


@pytest.fixture
def passphrase_file(tmp_path):
    file = tmp_path / "corp.passphrase"
    file.write_text(f"{PASSPHRASE}\n")
    return file


@pytest.fixture
def make_plan(tmp_path, desk, passphrase_file):
    def make(**changes) -> Plan:
        values = {
            "store": f"sqlite:///{tmp_path}/pki/registry.db",
            "folder": desk.folder,
            "passphrase_files": {"corp": passphrase_file},
            "before": BEFORE,
            "mail": None,
            "contact": "helpdesk@example.com",
            "watched": frozenset(),
            "trusting": {},
        }
        return Plan(**{**values, **changes})

    return make


@pytest.fixture(scope="session")
def post_files(tmp_path_factory):
    """Certificate, key and CA of a mail server."""
    folder, now = tmp_path_factory.mktemp("post"), datetime.now(UTC)
    dates = {"not_before": now - timedelta(days=1), "not_after": now + timedelta(days=1)}
    ca = Ca.make("CN=Post CA", **dates)
    name = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    ca.write(folder, "ca")
    certificate, key = ca.issue("CN=post", eku=SERVER_AUTH, extensions=[(name, False)], **dates).write(folder, "post")
    return certificate, key, folder / "ca.crt"


@pytest.fixture
def post(post_files):
    office = PostOffice(*post_files[:2]).start()
    yield office
    office.stop()


@pytest.fixture
def mail(post, post_files) -> Mail:
    return Mail(
        host="127.0.0.1",
        port=post.port,
        sender="gateway@example.com",
        ca=post_files[2],
        username=USER,
        password=PASSWORD,
        admins=("admin@example.com", "boss@example.com"),
    )


@pytest.fixture
def now():
    return NOW
