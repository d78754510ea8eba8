"""One description, three uses: the JSON Schema, the reference and the loader say the same."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from support.config_files import BASE, NOW, YEAR, Maker
from test_config_load import FULL

from gateway.config.json_schema import json_schema
from gateway.config.kinds import TEXT_CHARACTERS, Field, ListOf, Record, TableOf
from gateway.config.load import load, load_with_warnings
from gateway.config.marks import Mapping, Scalar, Sequence, parse
from gateway.config.problems import ConfigErrors
from gateway.config.reference import markdown
from gateway.config.schema import SCHEMA

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "config.example.yaml"
VALIDATOR = Draft202012Validator(json_schema())


def plain(node):
    """What an editor's YAML 1.2 reader makes of the text (10.3.2)."""
    match node:
        case Mapping(entries=entries):
            return {key.text: plain(value) for key, value in entries}
        case Sequence(items=items):
            return [plain(item) for item in items]
        case Scalar(text=text, is_plain=True) if text in {"", "~", "null"}:
            return None
        case Scalar(text=text, is_plain=True) if text in {"true", "false"}:
            return text == "true"
        case Scalar(text=text, is_plain=True) if re.fullmatch(r"[-+]?[0-9]+", text):
            return int(text)
        case Scalar(text=text):
            return text


def faults(text):
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(plain(parse(text)))]


def fields(kind, shape=""):
    """Every key of the schema with its shape."""
    match kind:
        case Record():
            for entry in kind.fields:
                path = f"{shape}.{entry.name}".removeprefix(".")
                yield path, entry
                yield from fields(entry.kind, path)
        case ListOf():
            yield from fields(kind.item, f"{shape}[]")
        case TableOf():
            yield from fields(kind.value, f"{shape}.*")


def test_the_json_schema_is_one():
    Draft202012Validator.check_schema(json_schema())
    assert json.loads(json.dumps(json_schema())) == json_schema()


@pytest.mark.parametrize("text", [BASE, FULL, EXAMPLE.read_text(encoding="utf-8")], ids=["base", "full", "example"])
def test_the_json_schema_takes_good_files(text):
    assert faults(text) == []


def test_the_json_schema_takes_the_example_as_yaml_1_1_reads_it():
    """There `off` is false."""
    assert list(VALIDATOR.iter_errors(yaml.safe_load(EXAMPLE.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rules:", "limts: {}\nrules:"),
        ("action: allow", "action: permit"),
        ("    key: mail.key\n", ""),
        ("name: inside", "name: 42"),
        ("from: internal", "from: []"),
        ("rules:", "trusted_proxies: {header: forwarded}\nrules:"),
        ("rules:", "trusted_proxies: {from: [], header: via}\nrules:"),
        ("rules:", "trusted_proxies: [[10.0.0.9]]\nrules:"),
        ("rules:", "limits: {headers: 9}\nrules:"),
        ("rules:", "limits: {handshake: 10}\nrules:"),
        ("rules:", "workers: all\nrules:"),
        ("rules:", "workers: '4'\nrules:"),
        ("sites:", "networks: {10.0.0.0/8: []}\nsites:"),
    ],
)
def test_the_json_schema_refuses_what_the_loader_refuses(write, old, new):
    assert len(faults(BASE.replace(old, new, 1))) >= 1
    with pytest.raises(ConfigErrors):
        load(write(BASE.replace(old, new, 1)), now=NOW, environ={})


def test_the_reference_is_in_step():
    """Bring it in step with `python -m gateway.config.reference > docs/configuration.md`."""
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == markdown()


def test_every_key_has_a_description_that_ends_in_a_full_stop():
    assert [path for path, entry in fields(SCHEMA) if not re.fullmatch(r".{10,}\.", entry.description)] == []


def test_every_key_is_in_the_reference_and_in_the_example():
    page, example = markdown(), EXAMPLE.read_text(encoding="utf-8")
    for path, entry in fields(SCHEMA):
        assert f"| `{entry.name}` |" in page, path
        assert re.search(rf"\b{entry.name}:", example), path


def test_the_documented_defaults_are_the_models(write):
    """A file that writes every default out is the file that leaves them out."""
    document = yaml.safe_load(BASE)
    implied = load(write(BASE), now=NOW, environ={})
    write_out(SCHEMA, document)
    written = load(write(yaml.safe_dump(document, sort_keys=False)), now=NOW, environ={})

    def without_lines(config):
        parts = {
            name: tuple(replace(item, line=0) for item in getattr(config, name))
            for name in ("sites", "upstreams", "rules")
        }
        return replace(config, **parts)

    assert document["limits"]["body"] == "2GiB"
    assert without_lines(written) == without_lines(implied)


def _default_of(entry):
    if not isinstance(entry.kind, Record):
        return entry.default
    return {} if entry.kind.short is None else {entry.kind.short: entry.default}


def write_out(kind, value):
    """Put every documented default into a document."""
    match kind:
        case Record():
            for entry in kind.fields:
                if entry.default is not None:
                    value.setdefault(entry.name, _default_of(entry))
                if entry.name in value:
                    write_out(entry.kind, value[entry.name])
        case ListOf() if isinstance(value, list):
            for item in value:
                write_out(kind.item, item)
        case TableOf():
            for item in value.values():
                write_out(kind.value, item)


def test_the_example_is_valid_beside_the_files_it_names(tmp_path):
    maker = Maker(tmp_path)
    (tmp_path / "certs").mkdir()
    hosts = ("mail.example.com", "*.mail.example.com")
    maker.save("certs/mail.crt", maker.certificate("mail", issuer="root", sans=hosts))
    maker.save_key("certs/mail.key", maker.key("mail"))
    maker.save("certs/rootCA.pem", maker.certificate("root", ca=True))
    maker.save("certs/mail-ca.pem", maker.certificate("inner", ca=True, end=NOW + YEAR))
    maker.write("certs/rootCA.crl", maker.pem_crl("root"))
    (tmp_path / "pki").mkdir()
    maker.write("pki/corp.passphrase", b"secret\n")
    (tmp_path / "config.yaml").write_text(EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
    credentials = {"CREDENTIALS_DIRECTORY": str(tmp_path / "pki")}
    loaded = load_with_warnings(tmp_path / "config.yaml", now=NOW, environ=credentials)
    assert loaded.warnings == ()
    assert [rule.name for rule in loaded.config.rules][-1] == "Everything else"


def test_a_text_one_above_the_bound_is_refused(write):
    good = "rules:\n" + BASE.partition("rules:\n")[2]
    for extra, count in ((0, 0), (1, 1)):
        text = good.replace("internal", "internal\n    uri: /" + "a" * (TEXT_CHARACTERS - 1 + extra))
        found = 0
        try:
            load(write(BASE.partition("rules:\n")[0] + text), now=NOW, environ={})
        except ConfigErrors as errors:
            found = sum("is longer than" in problem.cause for problem in errors.problems)
        assert found == count


def test_a_record_knows_its_fields_by_name():
    assert isinstance(SCHEMA.by_name["rules"], Field)
