"""Whatever stands in the file or in a certificate: a Config comes out, or ConfigErrors with places, nothing else."""

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from support.config_files import BASE, NOW, fill

from gateway.config.json_schema import json_schema
from gateway.config.load import load
from gateway.config.marks import LOADERS, YamlError, parse
from gateway.config.model import Config
from gateway.config.problems import ConfigErrors

KEYS = (
    *("listen", "networks", "sites", "upstreams", "rules", "limits", "hosts", "certificate", "key", "client_ca", "crl"),
    *("from", "uri", "methods", "action", "servers", "address", "tls", "ca", "email", "name", "workers", "access_log"),
)
WORDS = (
    *(
        "mail",
        "internal",
        "external",
        "allow",
        "deny",
        "require_certificate",
        "mail.crt",
        "mail.key",
        "ca.pem",
        "ca.crl",
    ),
    *(
        "10.0.0.0/8",
        "::1",
        "*",
        "*.a",
        "/x",
        "=/y",
        "~/z",
        "~(",
        "10s",
        "1KiB",
        "auto",
        "${A}",
        "${A:-1}",
        "$${",
        "[::1]:1",
    ),
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(WORDS), st.text(max_size=20))
TREES = st.recursive(
    SCALARS,
    lambda below: st.one_of(
        st.lists(below, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=5)), below, max_size=5),
    ),
    max_leaves=25,
)
LINES = BASE.splitlines()
VALIDATOR = Draft202012Validator(json_schema())
UNUSABLE = object()
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("yaml")
    fill(path)
    return path


def load_bytes(folder, data):
    path = folder / "config.yaml"
    path.write_bytes(data)
    try:
        config = load(path, now=NOW, environ={"A": "mail"})
    except ConfigErrors as errors:
        problems = errors.problems
    else:
        assert isinstance(config, Config)
        return config
    assert problems
    for problem in problems:
        assert min(problem.place.mark.line, problem.place.mark.column) >= 1
        assert str(problem).isprintable()
    return None


def parsed(text, loader):
    try:
        return parse(text, loader)
    except YamlError:
        return UNUSABLE


@QUICK
@given(st.binary(max_size=200))
def test_bytes(folder, data):
    load_bytes(folder, data)


@QUICK
@given(st.text(alphabet="abc:-[]{}&*!|>'\"%@`#,? \n\t\\$ü\u2028\x85", max_size=60))
def test_text_that_looks_like_yaml(folder, text):
    load_bytes(folder, text.encode())
    trees = [tree for loader in LOADERS if (tree := parsed(text, loader)) is not UNUSABLE]
    assert all(tree == trees[0] for tree in trees)


@QUICK
@given(TREES)
def test_trees_of_known_and_unknown_words(folder, tree):
    load_bytes(folder, yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "replace"))


@QUICK
@given(st.data())
def test_a_good_file_with_something_else_in_one_place(folder, data):
    """Values are replaced below their key, so that much of the file stays good and every check is met."""
    tree = yaml.safe_load(BASE)
    node, key = tree, data.draw(st.sampled_from(list(tree)))
    while isinstance(node[key], dict | list) and node[key] and data.draw(st.booleans()):
        node = node[key]
        key = (
            data.draw(st.sampled_from(list(node)))
            if isinstance(node, dict)
            else data.draw(st.integers(0, len(node) - 1))
        )
    node[key] = data.draw(TREES)
    if load_bytes(folder, yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "replace")) is not None:
        assert list(VALIDATOR.iter_errors(tree)) == []


@QUICK
@given(st.permutations(LINES), st.integers(1, len(LINES)))
def test_lines_in_any_order(folder, lines, count):
    load_bytes(folder, "\n".join(lines[:count]).encode())


@QUICK
@given(st.data())
def test_a_certificate_key_or_list_with_some_bytes_changed(folder, data):
    name = data.draw(st.sampled_from(["mail.crt", "mail.key", "ca.pem", "ca.crl"]))
    pem = bytearray((folder / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        pem[data.draw(st.integers(0, len(pem) - 1))] = data.draw(st.sampled_from(b"AZaz09+/=\n-"))
    (folder / "changed").write_bytes(pem)
    text = BASE.replace("[ca.pem]", "[ca.pem]\n    crl: ca.crl").replace(name, "changed")
    load_bytes(folder, text.encode())
