"""The letter of a device kit on paper: one sheet, whatever a person is called, with a code that a phone reads."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from support.browser import ARTEFACTS, Browser
from support.desk import issue_to, make_authority, open_desk
from support.programs import run

from gateway.pki.kits import build
from gateway.pki.kits.kit import Person
from gateway.pki.names import MAX_COMMON_NAME_CHARACTERS, MAX_LOCAL_PART_CHARACTERS
from gateway.pki.passwords import make as make_password
from gateway.pki.words import KitKind, Language

pytestmark = [pytest.mark.e2e, pytest.mark.measured]

LONG_HOST = "mail-gateway.subsidiary-of-a-holding.example.com"
LONG = (f"{'a' * MAX_LOCAL_PART_CHARACTERS}@{LONG_HOST}", "W" * MAX_COMMON_NAME_CHARACTERS, LONG_HOST)
PEOPLE = {
    "short": ("alice@example.com", "Alice Example", "mail.example.com"),
    "long": LONG,
    "long, in German": LONG,
    "long, in Czech": LONG,
}
LANGUAGES = {"long, in German": Language.GERMAN, "long, in Czech": Language.CZECH}
PATH = "/webmail/"


@pytest.fixture(params=PEOPLE)
def person(request, tmp_path):
    email, name, host = PEOPLE[request.param]
    desk = open_desk(tmp_path)
    now = datetime.now(UTC).replace(microsecond=0)
    signer = make_authority(desk, now=now)
    issued = issue_to(desk, signer, email, name, now=now)
    (tmp_path / "root.crt").write_bytes(desk.file("corp", "crt").read_bytes())
    desk.registry.close()
    return Person(
        email=email,
        name=name,
        host=host,
        user_name=email,
        certificate=issued.certificate,
        chain=issued.chain,
        p12=b"",
        password=make_password(),
        path=PATH,
        language=LANGUAGES.get(request.param, Language.ENGLISH),
        contact="helpdesk@example.com, +49 30 1234567",
    )


def test_each_letter_is_one_sheet_and_its_code_leads_to_the_mail(person, tmp_path):
    ARTEFACTS.mkdir(exist_ok=True)
    with Browser.start(tmp_path, 1, trusted=tmp_path / "root.crt") as browser:
        for kind in KitKind:
            page = tmp_path / f"{kind}.html"
            page.write_bytes(build.build(person, kind)[-1].data)
            browser.open(page.as_uri())
            paper = page.with_suffix(".pdf")
            paper.write_bytes(browser.print_page())

            code, told = run("pdfinfo", [str(paper)])
            assert code == 0
            assert b"\nPages:           1\n" in told, kind
            picture = ARTEFACTS / f"letter-{kind}-{len(person.name)}-{person.language}"
            code, told = run("pdftoppm", ["-r", "100", "-png", "-singlefile", str(paper), str(picture)])
            assert code == 0, told
            code, told = run("zbarimg", ["-q", f"{picture}.png"])
            assert f"QR-Code:https://{person.host}{PATH}\n".encode() in told, kind
