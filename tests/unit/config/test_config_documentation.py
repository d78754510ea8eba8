"""Every configuration in the documentation is one: completed with what it leaves out, the loader takes it."""

from __future__ import annotations

import getpass
import re
from copy import deepcopy

import pytest
import yaml
from support.config_files import BASE, NOW
from support.docs import DOCS, blocks, pages

from gateway.config.load import load_with_warnings
from gateway.config.schema import SCHEMA

LINK = re.compile(r"\]\((?!https?:)([^)\s]+)\)")
README = "../README.md"
OTHERS = ("- alert:", "filebeat.inputs:")  # configurations of Prometheus and Filebeat
BLOCKS = [
    block
    for page in (*pages(), README)
    for block in blocks(page, "yaml")
    if not any(other in block.text for other in OTHERS)
]
# The files of the test stand for those that a block names.
FILES = {
    "certificate": "mail.crt",
    "key": "mail.key",
    "ca": "ca.pem",
    "client_ca": ["ca.pem"],
    "crl": ["ca.crl"],
    "passphrase_file": "mail.key",
    "directory": "folder",
}
ENVIRONMENT = {"CREDENTIALS_DIRECTORY": "/run/credentials", "SMTP_PASSWORD": "secret", "MAIL_KEY_PASSWORD": ""}


def completed(document):
    """The whole file of which a block shows a part."""
    if isinstance(document, list):
        document = {"rules" if "action" in document[0] else "listen": document}
    elif not document.keys() <= SCHEMA.by_name.keys():
        document = {"sites": [document]}  # a part of a site
    whole = yaml.safe_load(BASE)
    shown = deepcopy(document)
    for site in shown.get("sites", ()):
        for key, value in whole["sites"][0].items():
            site.setdefault(key, value)
        shown.setdefault("upstreams", {}).setdefault(site["upstream"], {"servers": ["https://10.0.0.5"]})
    whole |= shown
    if "sites" not in shown:
        whole["sites"][0]["upstream"] = next(iter(whole["upstreams"]))
    for listener in whole["listen"]:
        if listener.get("pki"):
            whole.setdefault("pki", {"store": "sqlite:///pki/registry.db"})
    if whole.get("user"):
        whole["user"] = getpass.getuser()
    for upstream in whole["upstreams"].values():
        upstream.setdefault("servers", ["https://10.0.0.5"])
    return replaced(whole)


def replaced(value):
    """The same with the test's files."""
    match value:
        case dict():
            return {
                key: FILES[key] if key in FILES and is_file(item) else replaced(item) for key, item in value.items()
            }
        case list():
            return [replaced(item) for item in value]
        case _:
            return value


def is_file(value):
    return isinstance(value, str | list)


def anchors(text):
    """The anchors of a page's headings, as forges make them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_the_documentation_has_configurations():
    assert len(BLOCKS) > 25


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_configuration_is_one(write, block):
    document = yaml.safe_load(block.text)
    path = write(yaml.safe_dump(completed(document), sort_keys=False))
    load_with_warnings(path, now=NOW, environ=ENVIRONMENT)


def test_every_page_is_in_the_index():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    servers = (DOCS / "servers.md").read_text(encoding="utf-8")
    for page in pages():
        assert page == "index.md" or f"({page})" in index or f"({page})" in servers, page


@pytest.mark.parametrize("page", pages())
def test_links_between_pages_lead_somewhere(page):
    folder = (DOCS / page).parent
    for target in LINK.findall((DOCS / page).read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        linked = folder / name if name else DOCS / page
        assert linked.exists(), target
        if anchor and linked.suffix == ".md":
            assert anchor in anchors(linked.read_text(encoding="utf-8")), target
