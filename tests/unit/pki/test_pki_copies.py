"""The files of a machine's lists follow the registry, and never go back."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import update
from support.desk import DAY, MINUTE, NOW, issue_to, make_authority

from gateway.errors import OperationError
from gateway.pki import crl, lifecycle
from gateway.pki.copies import Copies, Refreshed
from gateway.pki.desk import Desk
from gateway.pki.registry.records import RevocationReason
from gateway.pki.registry.tables import AUTHORITIES


def _number(desk, name="corp"):
    found = x509.load_pem_x509_crl(desk.file(name, "crl").read_bytes())
    return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


@pytest.fixture
def node(desk, tmp_path):
    """Another machine's desk over the same registry."""
    return Desk(desk.registry, tmp_path / "node", "tester")


def test_another_desks_revocation_reaches_this_machines_file(desk, corp, node):
    copies = Copies(node)
    assert copies.refresh(["corp"]) == Refreshed(("corp",))
    assert copies.refresh([]) == Refreshed()
    lifecycle.revoke(desk, corp, [issue_to(desk, corp).record], RevocationReason.KEY_COMPROMISE, NOW)
    assert copies.refresh([]) == Refreshed(("corp",))
    assert (_number(node), _number(desk)) == (2, 2)
    assert Copies(desk).refresh([]) == Refreshed()


def test_authorities_without_a_folder_here_are_left_out_unless_they_are_named(desk, node):
    make_authority(desk, "one")
    make_authority(desk, "two")
    node.file("two", "crl").parent.mkdir(parents=True)
    assert Copies(node).refresh([]) == Refreshed(("two",))
    assert Copies(node).refresh(["one"]) == Refreshed(("one",))


@pytest.mark.parametrize("content", [b"", b"not a list", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"])
def test_a_file_that_is_damaged_or_gone_is_written_anew(desk, corp, content):
    copies = Copies(desk)
    assert copies.refresh([]) == Refreshed()
    file = desk.file(corp.name, "crl")
    file.write_bytes(content)
    assert copies.refresh([]) == Refreshed(("corp",))
    file.unlink()
    assert copies.refresh([]) == Refreshed(("corp",))
    assert _number(desk) == 1


def test_a_list_without_a_number_gives_way(desk, corp):
    builder = x509.CertificateRevocationListBuilder().issuer_name(corp.certificate.subject)
    unnumbered = (
        builder.last_update(NOW).next_update(NOW + DAY).sign(corp.key, corp.certificate.signature_hash_algorithm)
    )
    desk.file("corp", "crl").write_bytes(unnumbered.public_bytes(Encoding.PEM))
    assert Copies(desk).refresh([]) == Refreshed(("corp",))


def test_a_newer_file_is_never_replaced_by_an_older_registry(desk, corp):
    make_authority(desk, "other")
    crl.renew(desk, corp, NOW + MINUTE)
    before = desk.file("corp", "crl").read_bytes()
    with desk.registry.writing() as connection:
        connection.execute(update(AUTHORITIES).where(AUTHORITIES.c.name == "corp").values(crl_number=1))
    desk.file("other", "crl").unlink()
    done = Copies(desk).refresh([])
    assert done.written == ("other",)  # whatever is wrong with one stops no other
    assert isinstance(done.failure, OperationError)
    assert "list has number 2, the registry's newest is 1" in done.failure.cause
    assert desk.file("corp", "crl").read_bytes() == before
