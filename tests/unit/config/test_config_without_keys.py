"""A configuration for people who may not read its keys: what the rules say needs no secret."""

import json

import pytest
from support.config_files import BASE, NOW, fill

from gateway import clock
from gateway.cli.app import run
from gateway.config.load import load, load_with_warnings, read_pki
from gateway.config.problems import ConfigErrors
from gateway.errors import ConfigError
from gateway.proxy.upstream.tls import upstream_tls
from gateway.tls.contexts import build_site

# As systemd's LoadCredential has it, outside of the service: the variables are not set.
SECRETIVE = (
    BASE.replace(
        "    key: mail.key\n",
        '    key: "${CREDENTIALS_DIRECTORY}/mail.key"\n    key_password: "${MAIL_KEY_PASSWORD}"\n    crl: [ca.crl]\n',
    )
    + """\
pki:
  store: "sqlite:///pki/registry.db"
  authorities:
    corp: {passphrase_file: "${CREDENTIALS_DIRECTORY}/corp.passphrase"}
  mail: {server: "smtp.example.com:587", username: gateway, password: "${SMTP_PASSWORD}", from: g@example.com,
         admin: [a@example.com]}
"""
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("keyless")
    fill(path)
    return path


@pytest.fixture
def config(folder, monkeypatch):
    """A file whose secrets can't be found from here."""
    monkeypatch.setattr(clock, "now", lambda: NOW)
    for name in ("CREDENTIALS_DIRECTORY", "MAIL_KEY_PASSWORD", "SMTP_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    path = folder / "config.yaml"
    path.write_text(SECRETIVE)
    return path


def test_variables_of_secrets_may_be_unset_where_no_secret_is_read(config):
    with pytest.raises(ConfigErrors) as refused:
        load(config, environ={})
    places = {problem.place.path for problem in refused.value.problems}
    assert {
        "sites[0].key",
        "sites[0].key_password",
        "pki.authorities.corp.passphrase_file",
        "pki.mail.password",
    } <= places

    loaded = load_with_warnings(config, environ={}, reads_keys=False)
    assert loaded.warnings == ()
    assert [site.name for site in loaded.config.sites] == ["mail.example.com"]


def test_a_variable_that_rules_depend_on_must_be_set(config):
    config.write_text(SECRETIVE.replace("name: inside", 'name: "${RULE}"'))
    with pytest.raises(ConfigErrors, match="RULE is not set"):
        load(config, environ={}, reads_keys=False)


def test_other_mistakes_beside_a_secret_are_still_told(config):
    config.write_text(SECRETIVE.replace('"${MAIL_KEY_PASSWORD}"', '"${}"').replace("10.0.0.5:443", "10.0.0.5:99999"))
    with pytest.raises(ConfigErrors) as refused:
        load(config, environ={}, reads_keys=False)
    assert sorted(problem.place.path for problem in refused.value.problems) == [
        "sites[0].key_password",
        "upstreams.mail.servers[0]",
    ]


def test_without_its_keys_a_configuration_cannot_serve(config):
    """Neither towards clients nor towards upstream servers."""
    tls = "    tls: {certificate: mail.crt, key: missing.key}\nrules:"
    config.write_text(SECRETIVE.replace("rules:", tls))
    loaded = load(config, environ={}, reads_keys=False)
    with pytest.raises(ConfigError, match="the key was not read"):
        build_site(loaded.sites[0])
    with pytest.raises(ConfigError, match="the key was not read"):
        upstream_tls(loaded.upstreams[0])


def test_the_desk_finds_its_registry_without_the_services_variables(config):
    found = read_pki(config, environ={})
    assert found.store == f"sqlite:///{config.parent}/pki/registry.db"
    config.write_text(SECRETIVE.replace("sqlite:///pki/registry.db", "postgresql+psycopg://gw:${PGPASSWORD}@db/gw"))
    with pytest.raises(ConfigErrors, match="PGPASSWORD is not set"):
        read_pki(config, environ={})


def test_numbers_of_unset_variables_are_left_out_where_nothing_needs_them(config):
    config.write_text(SECRETIVE + 'workers: "${WORKERS}"\n')
    assert read_pki(config, environ={}) is not None


@pytest.mark.usefixtures("config")
def test_check_without_keys_finds_everything_else(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert run(["check", "--no-keys"]) == 0
    assert capsys.readouterr().out == "config.yaml: good: 1 site, 2 rules, 1 listener\n"
    assert run(["check", "--no-keys", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
    (folder / "config.yaml").write_text(SECRETIVE.replace("ca.crl", "missing.crl").replace("allow", "permit"))
    assert run(["check", "--no-keys"]) == 2
    said = capsys.readouterr().err
    assert "missing.crl" in said
    assert "'permit' is not an action" in said


@pytest.mark.usefixtures("config")
def test_explain_needs_no_key(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert run(["explain", "https://mail.example.com/webmail", "--ip", "203.0.113.9"]) == 0
    assert "certificate_missing" in capsys.readouterr().out
