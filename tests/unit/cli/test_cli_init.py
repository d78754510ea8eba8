"""`gateway init`: what it writes is good and complete, and where it can't write all of it, it writes nothing."""

from __future__ import annotations

import os
import pwd
import re
import signal
import ssl
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
import typer
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from support.gateway import free_port
from support.mail import MailServer
from support.pki import Ca, server
from support.programs import need
from typer.testing import CliRunner

from gateway import clock
from gateway.cli import init as command
from gateway.cli.app import run
from gateway.cli.init import checking, making, placing
from gateway.cli.init.answers import Given, Settings, ask
from gateway.cli.init.closing import next_commands, told
from gateway.cli.init.configuration import configuration, option_for
from gateway.cli.init.probe import doubt_about
from gateway.cli.init.servers import PATHS, ServerKind
from gateway.cli.init.unit import Unit, unit
from gateway.config.load import load_with_warnings
from gateway.errors import OperationError, UsageError
from gateway.facts import Action

HOST, SERVER = "mail.example.com", "http://10.0.0.5:8080"
OPERATION = Path(__file__).parents[3] / "docs" / "operation.md"
INSTALL = OPERATION.with_name("install.md")
NOTHING = Given(
    hosts=(), mail_server=None, kind=None, paths=(), domain=None, contact=None, certificate=None, key=None, ca=None
)


def init(folder, *more):
    """`gateway init --yes` into a folder; the exit code."""
    options = ("--yes", "--host", HOST, "--mail-server", SERVER, "--key-kind", "ecdsa-p256")
    return run(["init", "-c", str(folder / "config.yaml"), *options, *map(str, more)])


def settings_of(folder, **more):
    return Settings(
        config=folder / "config.yaml", user=None, listen=":443", redirect=":80", admin="127.0.0.1:9444", **more
    )


def answers_of(folder, given=NOTHING, **more):
    asked = replace(given, hosts=given.hosts or (HOST,), mail_server=given.mail_server or SERVER)
    return ask(asked, settings_of(folder, **more), are_asked=False)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder in which everything was written once."""
    folder = tmp_path_factory.mktemp("init") / "new" / "gateway"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 1000)  # whoever runs the tests: nothing is handed over
        assert init(folder) == 0
    return folder


def test_everything_is_there_and_what_is_secret_is_the_owners_alone(written):
    found = {path.name: path.stat().st_mode & 0o777 for path in written.iterdir()}
    assert found == {
        "config.yaml": 0o600,
        "corp.passphrase": 0o600,
        "corp-root.passphrase": 0o600,
        "gateway.service": 0o644,
        "issued": 0o700,
        "logs": 0o700,
        "pki": 0o755,
        "test-certificate.crt": 0o644,
        "test-certificate.key": 0o600,
    }
    own, root = ((written / f"{name}.passphrase").read_text() for name in ("corp", "corp-root"))
    assert own != root


def test_the_configuration_is_good_without_a_warning(written):
    loaded = load_with_warnings(written / "config.yaml", environ={})
    assert loaded.warnings == ()
    config = loaded.config
    assert [listener.port for listener in config.listen][-1:] == [80] or len(config.listen) == 1
    assert config.sites[0].crl == (str(written / "pki/corp/corp.crl"),)
    assert [(kept.name, kept.passphrase_file) for kept in config.pki.authorities] == [
        ("corp", written / "corp.passphrase")
    ]
    assert [rule.action for rule in config.rules] == [Action.ALLOW, Action.REQUIRE_CERTIFICATE, Action.DENY]
    assert config.pages.contact == "postmaster@example.com"


def test_the_networks_in_the_comment_are_the_default(written):
    text = (written / "config.yaml").read_text()
    config = written / "networks.yaml"
    config.write_text(text.replace("# networks:\n#   internal:", "networks:\n  internal:"))
    shown, default = (load_with_warnings(path, environ={}).config for path in (config, written / "config.yaml"))
    assert shown.networks == default.networks
    assert config.read_text() != text


def test_credentials_and_logs_of_systemd_take_the_place_of_the_files_beside_it(written):
    credentials = written.parent / "credentials"
    credentials.mkdir()
    (credentials / "corp.passphrase").write_text("correct horse\n")
    (credentials / "corp.passphrase").chmod(0o600)
    environ = {"CREDENTIALS_DIRECTORY": str(credentials), "LOGS_DIRECTORY": "/var/log/gateway"}
    config = load_with_warnings(written / "config.yaml", environ=environ).config
    assert config.pki.authorities[0].passphrase_file == credentials / "corp.passphrase"
    assert config.access_log.path == Path("/var/log/gateway/access.jsonl")


@pytest.mark.parametrize("kind", ServerKind)
def test_the_paths_of_every_known_server_make_a_good_file(written, kind):
    answers = answers_of(written, replace(NOTHING, kind=kind))
    config = written / f"{kind}.yaml"
    config.write_text(configuration(answers))
    loaded = load_with_warnings(config, environ={})
    assert loaded.warnings == ()
    (asking,) = (rule for rule in loaded.config.rules if rule.action is Action.REQUIRE_CERTIFICATE)
    assert len(asking.uris) == len(PATHS[kind].with_certificate)
    assert loaded.config.rules[-1].action is Action.DENY


def test_what_people_type_is_read_back_as_they_typed_it(written):
    """Quotes, dollars and umlauts are no syntax of the file."""
    contact = """Zoë "IT" at ${HOME}, 100% $$ 'x': #7 \\n"""
    given = replace(NOTHING, contact=contact, hosts=(HOST, "webmail.example.com"), paths=("/webmail", "~/o(wa)?/.*"))
    answers = answers_of(written, given, inside=("10.0.0.0/8", "fd00::/8"), mail_server_ca=written / "a $b.pem")
    text = configuration(replace(answers, mail_server="https://10.0.0.5:443"))
    parsed = yaml.safe_load(text)
    assert parsed["pages"]["contact"].replace("$$", "$") == contact
    assert parsed["networks"] == {"internal": ["10.0.0.0/8", "fd00::/8"]}
    assert parsed["upstreams"]["mail"]["tls"]["ca"] == str(written / "a $$b.pem")
    config = written / "typed.yaml"
    config.write_text(configuration(replace(answers, settings=settings_of(written))))
    assert load_with_warnings(config, environ={}).config.pages.contact == contact


def test_the_test_certificate_says_what_it_is(written):
    certificate = x509.load_pem_x509_certificate((written / "test-certificate.crt").read_bytes())
    assert certificate.subject.rfc4514_string() == "O=TEST certificate of gateway init"
    assert (certificate.not_valid_after_utc - clock.now()).days == 89


def test_a_second_init_overwrites_nothing_and_names_what_is_there(written, capsys):
    before = {path: path.stat().st_mtime_ns for path in written.rglob("*")}
    assert init(written) == 2
    assert f"{written / 'config.yaml'} exists" in capsys.readouterr().err
    (written / "config.yaml").rename(written / "old.yaml")
    assert init(written) == 2
    said = capsys.readouterr().err
    (written / "old.yaml").rename(written / "config.yaml")
    for name in ("gateway.service", "test-certificate.crt", "test-certificate.key", "pki", "corp.passphrase"):
        assert str(written / name) in said
    assert {path: path.stat().st_mtime_ns for path in written.rglob("*") if path != written} == {
        path: time for path, time in before.items() if path != written
    }


def test_a_folder_is_not_the_name_of_a_configuration(tmp_path, capsys):
    assert run(["init", "-c", str(tmp_path)]) == 2
    assert f"{tmp_path} is a folder\n  Name a file in it: -c {tmp_path}/config.yaml\n" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["pki", "gateway.service", "logs", "corp.passphrase"])
def test_the_configuration_does_not_have_the_name_of_another_file(tmp_path, capsys, name):
    options = ("--yes", "--host", HOST, "--mail-server", SERVER)
    assert run(["init", "-c", str(tmp_path / name), *options]) == 2
    said = capsys.readouterr().err
    assert f"gateway init writes something else named {name}\n" in said
    assert f"-c {tmp_path}/config.yaml" in said
    assert list(tmp_path.iterdir()) == []


def test_a_dangling_link_is_not_followed(tmp_path, capsys):
    (tmp_path / "config.yaml").symlink_to(tmp_path / "elsewhere")
    assert init(tmp_path) == 2
    assert "config.yaml exists" in capsys.readouterr().err
    assert not (tmp_path / "elsewhere").exists()


def test_what_check_refuses_is_told_and_leaves_nothing(tmp_path, capsys):
    """Each error names its option, since there is no file that has the line; a path is that of the later folder."""
    folder = tmp_path / "a" / "b"
    for name, text in {"key.pem": "no key", "ca.pem": "no certificate"}.items():
        (tmp_path / name).write_text(text)
    wrong = {
        "--listen": "127.0.0.1:99999",
        "--redirect": "localhost:x",
        "--admin": "127.0.0.1:99998",
        "--inside": "10.0.0.0/33",
        "--path": "~[",
        "--certificate": tmp_path / "ca.pem",
        "--ca": tmp_path / "ca.pem",
        "--ca-crl": tmp_path / "none.crl",
        "--mail-server-ca": tmp_path / "none.pem",
    }
    options = [part for option in wrong.items() for part in option]
    assert init(folder, *options, "--key", tmp_path / "key.pem", "--host", "mail.example.com") == 2
    said = capsys.readouterr().err
    assert "the configuration would be refused, so nothing was written:\n" in said
    lines = said.splitlines()[1:-1]
    assert "--listen: port 99999 does not exist; " in said
    assert {line.partition(": ")[0] for line in lines} == {*wrong, "--key", "--host"}
    assert not re.search(r":\d+:\d+:", said)
    assert placing._PREFIX not in said
    assert not folder.parent.exists()


@pytest.mark.parametrize("kind", ServerKind)
def test_each_value_of_the_file_that_is_an_answer_has_its_option(tmp_path, kind):
    given = replace(NOTHING, kind=kind, certificate=Path(__file__), key=Path(__file__), contact="help")
    answers = answers_of(tmp_path, given, mail_server_ca=Path("/ca.pem"), inside=("10.0.0.0/8",))
    document = yaml.safe_load(configuration(replace(answers, settings=replace(answers.settings, user="mail"))))

    def leaves(value, path):
        if isinstance(value, dict):
            return [leaf for key, below in value.items() for leaf in leaves(below, f"{path}.{key}".lstrip("."))]
        if isinstance(value, list):
            return [leaf for number, below in enumerate(value) for leaf in leaves(below, f"{path}[{number}]")]
        return [(path, value)]

    found = {path: (option_for(path, answers), value) for path, value in leaves(document, "")}
    assert {path for path, (option, _) in found.items() if option is None} == {"access_log.path", "sites[0].upstream"}
    paths = [value for option, value in found.values() if option == "--path"]
    assert paths == list(PATHS[kind].with_certificate)
    assert {option for option, _ in found.values()} >= {"--user", "--inside", "--mail-server-ca", "--key", "--contact"}


def test_a_check_that_breaks_is_told_as_it_is(tmp_path, capsys, monkeypatch):
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    script.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(script))
    assert init(tmp_path / "new") == 2
    assert "so nothing was written:\nbroken\n" in capsys.readouterr().err


def test_a_check_that_cannot_be_run_leaves_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert init(tmp_path / "new") == 1
    assert "gateway check can't be run, so nothing was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_program_in_the_folder_is_not_the_gateway(tmp_path, monkeypatch):
    (tmp_path / "gateway.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    assert init(tmp_path / "new") == 0


def test_the_documented_options_are_there(capsys):
    assert run(["init", "--help"]) == 0
    helped = capsys.readouterr().out
    text = INSTALL.read_text().split("## The first configuration")[1].split("\n### ")[0]
    named = set(re.findall(r"(--[a-z][a-z-]+)", text)) - {"--system", "--no-create-home", "--shell"}
    assert len(named) > 8
    assert {option for option in named if f"{option} " not in helped} == set()


def test_a_failure_half_way_takes_back_what_was_written(tmp_path):
    work, folder = tmp_path / "work", tmp_path / "there"
    for path in (work, folder, work / "pki", work / "logs"):
        path.mkdir()
    (work / "a").write_text("new")
    (work / "pki" / "key").write_text("secret")
    (folder / "config.yaml").write_text("old")  # came meanwhile
    (work / "config.yaml").write_text("new")
    with pytest.raises(OperationError, match=r"config\.yaml: cannot be written: File exists") as failed:
        placing.place(work, folder, ("a", "pki", "config.yaml"), ("logs",))
    assert failed.value.remedy == "Correct this; nothing was written."
    assert [path.name for path in folder.iterdir()] == ["config.yaml"]
    assert (folder / "config.yaml").read_text() == "old"


def test_an_interrupt_takes_back_what_was_written(tmp_path, monkeypatch):
    work, folder = tmp_path / "work", tmp_path / "there"
    for path in (work, folder):
        path.mkdir()
    (work / "a").write_text("new")

    def interrupted(_source, _target):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        placing.place(work, folder, ("a",))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_closed_terminal_leaves_nothing(tmp_path, monkeypatch, number):
    monkeypatch.setattr(checking, "check", lambda *_: os.kill(os.getpid(), number))
    before = signal.getsignal(number)
    assert init(tmp_path / "new") == 128 + number
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(number) is before


def test_what_cannot_be_taken_back_is_named(tmp_path, monkeypatch):
    work, folder = tmp_path / "work", tmp_path / "there"
    for path in (work, folder):
        path.mkdir()
    for name in ("a", "b"):
        (work / name).write_text("new")
    (folder / "b").write_text("old")

    def refused(_path):
        raise PermissionError

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(OperationError) as failed:
        placing.place(work, folder, ("a", "b"))
    assert failed.value.remedy == f"Remove what was written: {folder / 'a'}"


def test_a_folder_that_cannot_be_made_is_told(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert init(tmp_path / "file" / "below") == 1
    assert "nothing can be written there: Not a directory" in capsys.readouterr().err


def test_scripts_are_told_all_that_is_missing(tmp_path, capsys):
    config = ["init", "-c", str(tmp_path / "config.yaml")]
    assert run([*config, "--yes"]) == 2
    assert "--host and --mail-server are missing" in capsys.readouterr().err
    assert run([*config, "--yes", "--host", HOST]) == 2
    assert "--mail-server is missing" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_without_a_terminal_nothing_is_asked(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", StringIO())
    assert run(["init", "-c", str(tmp_path / "config.yaml")]) == 2
    assert "standard input is not a terminal" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "*.example.com"], "--host: '*.example.com' is not a single host"),
        (["--host", "10.0.0.2"], "--host: '10.0.0.2' is an address"),
        (["--mail-server", "https://10.0.0.5/owa"], "--mail-server: a server's URL can't have a path"),
        (["--mail-domain", "@example.com"], "--mail-domain: '@example.com' is not a domain"),
        (["--contact", " "], "--contact: the contact is not one line of text"),
        (["--path", "webmail"], "--path: 'webmail' is not a path"),
        (["--certificate", "missing.crt", "--key", "missing.key"], "--key: there is no file"),
        (["--key", "mail.key"], "--key needs --certificate"),
        (["--certificate", "mail.crt"], "--certificate needs --key"),
        (["--ca", "missing.pem"], "--ca: there is no file"),
        (["--ca-key", "ca.key"], "--ca-key needs --ca"),
        (["--ca-crl", "ca.crl"], "--ca-crl needs --ca"),
        (["--ca-key-passphrase-file", "old.txt"], "--ca-key-passphrase-file needs --ca-key"),
        (["--ca", "ca.pem", "--passphrase-file", "p"], "--passphrase-file needs --ca-key"),
        (["--ca-name", "Corp"], "'Corp' is not a valid name for an authority"),
        (["--passphrase-file", "missing"], "--passphrase-file: missing: cannot be read"),
    ],
)
def test_an_option_that_cannot_be_used_is_named_and_nothing_is_written(tmp_path, capsys, options, said):
    assert init(tmp_path / "new", *options) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def asked(given, typed):
    """What the questions on a terminal come to, and what it showed."""
    app, found = typer.Typer(), []
    app.command()(lambda: found.append(ask(given, settings_of(Path("/etc/gateway")), are_asked=True)))
    done = CliRunner().invoke(app, [], input="".join(f"{line}\n" for line in typed))
    assert done.exception is None, done.output
    return found[0], done.output


def test_a_terminal_is_asked_and_return_takes_the_default():
    answers, shown = asked(NOTHING, [HOST, "", "10.0.0.5", "", "", "", "", ""])
    assert answers.mail_server == "https://10.0.0.5:443"
    assert answers.domain == "example.com"
    assert answers.contact == "postmaster@example.com"
    assert answers.paths == ("/webmail", "/Microsoft-Server-ActiveSync")
    assert answers.certificate is answers.key is answers.ca is None
    assert "Mail domain, the part behind the @ [example.com]: " in shown
    assert "make a test certificate): " in shown


@pytest.mark.parametrize(
    ("typed", "paths"),
    [
        ("/webmail, /owa", ("/webmail", "/owa")),
        ("/webmail,=/owa,~/a{1,2}", ("/webmail", "=/owa", "~/a{1,2}")),
        (" /webmail  /owa, ", ("/webmail", "/owa")),
    ],
)
def test_commas_and_spaces_separate_paths(typed, paths):
    answers, _ = asked(NOTHING, [HOST, "", "10.0.0.5", typed, "", "", "", ""])
    assert answers.paths == paths
    assert answers_of(Path("/etc/gateway"), replace(NOTHING, paths=(typed,))).paths == paths


def test_a_wrong_answer_is_asked_for_again(tmp_path):
    """With the cause and what to write instead."""
    pem = tmp_path / "mail.crt"
    pem.write_text("")
    hosts = ["*", "mail example.com", f"https://{HOST}/owa", HOST]
    typed = [*hosts, "hmail", "exchange", "ftp://x", "https://10.0.0.5", "", "", "nowhere", str(pem), str(pem), ""]
    answers, shown = asked(NOTHING, typed)
    assert "'mail example.com' is not a host name. Write a name such as mail.example.com" in shown
    assert f"Write {HOST}\n" in shown
    assert answers.hosts == (HOST,)
    assert answers.kind is ServerKind.EXCHANGE
    assert answers.certificate == answers.key == pem
    assert "'hmail' is not a kind of server. Write exchange, icewarp, roundcube, sogo, other." in shown
    assert f"there is no file {Path.cwd() / 'nowhere'}. Name a PEM file that exists." in shown


def test_what_an_option_says_is_not_asked(tmp_path):
    pem = tmp_path / "ca.pem"
    pem.write_text("")
    given = Given(
        hosts=("example.com",),
        mail_server="10.0.0.5",
        kind=ServerKind.SOGO,
        paths=(),
        domain=None,
        contact="ext. 42",
        certificate=pem,
        key=pem,
        ca=pem,
    )
    answers, shown = asked(given, [""])
    assert shown.count(": ") == 1
    assert answers.domain == "example.com"
    assert answers.ca == pem
    assert not answers.keeps_authority


def test_the_next_commands_of_an_authority_elsewhere_need_no_key(tmp_path):
    (tmp_path / "ca.pem").write_text("")
    answers = answers_of(tmp_path, replace(NOTHING, ca=tmp_path / "ca.pem", kind=ServerKind.SOGO))
    check, explain, serve = next_commands(answers, ("gateway",))
    assert check == f"gateway check --who -c {tmp_path}/config.yaml"
    assert explain == f"gateway explain https://{HOST}/ --ip 203.0.113.9 -c {tmp_path}/config.yaml"
    assert serve == f"gateway run -c {tmp_path}/config.yaml"
    assert "crl: [http" in configuration(answers)
    with_list = answers_of(tmp_path, replace(NOTHING, ca=tmp_path / "ca.pem"), ca_list=tmp_path / "ca.crl")
    assert yaml.safe_load(configuration(with_list))["sites"][0]["crl"] == [str(tmp_path / "ca.crl")]
    assert "pki" not in told(with_list, making.all_names(with_list), ("gateway",))


def test_under_systemd_the_service_is_started_and_the_desk_works_as_its_user(tmp_path, monkeypatch):
    monkeypatch.setattr("gateway.cli.init.closing._SYSTEMD", tmp_path)
    answers = answers_of(tmp_path)
    answers = replace(answers, settings=replace(answers.settings, user="mail"))
    _, issue, serve = next_commands(answers, ("gateway",))
    assert issue.startswith("runuser -u mail -- gateway cert ")
    assert serve == f"systemctl enable --now {tmp_path}/gateway.service"
    assert "user mail" in told(answers, making.all_names(answers), ("gateway",))
    assert making.installing(answers) == [serve]


def test_in_a_container_the_unit_is_not_recommended(tmp_path, monkeypatch):
    answers = answers_of(tmp_path)
    for is_container, words in ((True, "docs/containers.md"), (False, "use the commands in gateway.service")):
        monkeypatch.setattr("gateway.cli.init.closing.is_here", lambda is_container=is_container: is_container)
        monkeypatch.setattr("gateway.cli.init.closing._SYSTEMD", tmp_path / "none")
        assert words in told(answers, making.all_names(answers), ("gateway",)).splitlines()[-1]
    monkeypatch.setattr("gateway.cli.init.closing.is_here", lambda: True)
    monkeypatch.setattr("gateway.cli.init.closing._SYSTEMD", tmp_path)  # systemd-nspawn, or WSL with systemd
    assert "use the commands in gateway.service" in told(answers, making.all_names(answers), ("gateway",))


def test_without_the_right_to_open_port_443_another_one_is_proposed(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for text, port in (("1024", ":8443"), ("443", ":443"), ("odd", ":8443")):
        (tmp_path / "lowest").write_text(text)
        monkeypatch.setattr(command, "_LOWEST_OPEN_PORT", tmp_path / "lowest")
        assert command._default_listen() == port


def test_only_root_hands_the_files_to_another_user(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert making.known_user(None) is None
    with pytest.raises(UsageError, match="only root"):
        making.known_user("gateway")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert making.known_user("root") is None
    with pytest.raises(UsageError, match="there is no user 'no-such'") as refused:
        making.known_user("no-such")
    assert refused.value.remedy == "Create it: useradd --system no-such"
    for name in ("", "Anna Müller", "-x"):
        with pytest.raises(UsageError, match="there is no user") as refused:
            making.known_user(name)
        assert refused.value.remedy == "Write the name of a user of this system."
    monkeypatch.setattr(making, "DEFAULT_USER", "no-such")
    assert making.known_user(None) is None


def test_the_program_is_started_again_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(Path(making.__file__).parent / "__main__.py")])
    assert command._program() == (sys.executable, "-m", "gateway")
    (tmp_path / "gateway").touch()
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "gateway")])
    assert command._program() == (str(tmp_path / "gateway"),)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_the_gateways_user_gets_what_it_writes_and_no_key_of_the_root(tmp_path, monkeypatch):
    """Links are not followed; what was not made here keeps its owner."""
    monkeypatch.setattr(checking, "check", lambda *_: None)  # the test's folder is closed to that user
    (tmp_path / "elsewhere").touch()
    real = making._make_authority

    def with_a_link(answers, folder, now):
        real(answers, folder, now)
        (folder / "pki" / "link").symlink_to(tmp_path / "elsewhere")

    monkeypatch.setattr(making, "_make_authority", with_a_link)
    assert init(tmp_path / "new", "--user", "nobody") == 0
    owners = {path.name: path.lstat().st_uid for path in (tmp_path / "new").rglob("*")}
    nobody = pwd.getpwnam("nobody").pw_uid
    for name in (
        "pki",
        "corp",
        "corp.key",
        "registry.db",
        "corp-root.crt",
        "link",
        "corp.passphrase",
        "issued",
        "logs",
    ):
        assert owners[name] == nobody, name
    for name in ("config.yaml", "corp-root.key", "corp-root.passphrase", "test-certificate.key", "gateway.service"):
        assert owners[name] == 0, name
    assert (tmp_path / "elsewhere").stat().st_uid == 0


def test_an_authority_is_imported_with_its_list(tmp_path, capsys):
    """Under a new passphrase; the key's old one opens nothing here."""
    now = clock.now()
    dates = {"not_before": now - timedelta(days=1), "not_after": now + timedelta(days=300)}
    ca = Ca.make("CN=Old CA", **dates)
    certificate, _ = ca.write(tmp_path, "ca")
    (tmp_path / "locked.key").write_bytes(ca.key_pem("old secret"))
    (tmp_path / "old.txt").write_text("old secret\n")
    (tmp_path / "ca.crl").write_bytes(ca.crl([77]))
    key = ("--ca-key", tmp_path / "locked.key", "--ca-key-passphrase-file", tmp_path / "old.txt")
    folder = tmp_path / "new"
    assert init(folder, "--ca", certificate, "--ca-crl", tmp_path / "ca.crl", *key, "--ca-name", "old") == 0
    assert "is empty" not in capsys.readouterr().out
    (entry,) = x509.load_pem_x509_crl((folder / "pki/old/old.crl").read_bytes())
    assert entry.serial_number == 77
    assert not (folder / "old-root.passphrase").exists()
    assert load_with_warnings(folder / "config.yaml", environ={}).config.pki.authorities[0].name == "old"


def test_what_an_imported_authority_revoked_before_is_not_forgotten_in_silence(tmp_path, capsys):
    """And the option is named that this command has."""
    now = clock.now()
    ca = Ca.make("CN=Old CA", not_before=now - timedelta(days=1), not_after=now + timedelta(days=300))
    certificate, _ = ca.write(tmp_path, "ca")
    (tmp_path / "locked.key").write_bytes(ca.key_pem("old secret"))
    (tmp_path / "old.txt").write_text("old secret\n")
    importing = ("--ca", certificate, "--ca-key", tmp_path / "locked.key", "--ca-name", "old")
    assert init(tmp_path / "new", *importing) == 2
    assert "Give the key's present passphrase with --ca-key-passphrase-file." in capsys.readouterr().err
    assert init(tmp_path / "new", *importing, "--ca-key-passphrase-file", tmp_path / "old.txt") == 0
    command = f"gateway cert -c {tmp_path}/new/config.yaml revoke SERIAL --ca old"
    assert f"are let in until you revoke them here: {command}\n" in capsys.readouterr().out


def test_a_root_that_is_first_in_the_bundle_is_put_behind_the_authority_of_the_key(tmp_path, capsys):
    now = clock.now()
    dates = {"not_before": now - timedelta(days=1), "not_after": now + timedelta(days=300)}
    root = Ca.make("CN=Old Root", **dates)
    middle = root.issue_ca("CN=Old CA", **dates)
    blocks = [ca.certificate.public_bytes(Encoding.PEM) for ca in (root, middle)]
    bundle, key = tmp_path / "bundle.pem", tmp_path / "middle.key"
    bundle.write_bytes(b"".join(blocks))
    key.write_bytes(middle.key_pem())
    assert init(tmp_path / "new", "--ca", bundle, "--ca-key", key) == 2
    assert capsys.readouterr().err == (
        "gateway: the key belongs to certificate 2 of the --ca file, CN=Old CA, not to the first one, CN=Old Root\n"
        "  Put certificate 2 first in that file, and the authorities above it after it.\n"
    )
    first = blocks.pop(1)
    bundle.write_bytes(b"".join([first, *blocks]))
    assert init(tmp_path / "new", "--ca", bundle, "--ca-key", key) == 0


def test_where_an_authority_cannot_be_imported_init_makes_a_new_one(tmp_path, capsys):
    """The remedy names the options of this command: it works when it is followed."""
    now = clock.now()
    expired = Ca.make("CN=Old CA", not_before=now - timedelta(days=9), not_after=now - timedelta(days=1))
    certificate, key = expired.write(tmp_path, "ca")
    assert init(tmp_path / "new", "--ca", certificate, "--ca-key", key) == 2
    assert "  Leave out --ca and --ca-key: gateway init then makes a new authority.\n" in capsys.readouterr().err
    assert init(tmp_path / "new") == 0


def test_all_clients_inside_is_refused_with_options_of_this_command(tmp_path, capsys):
    """There is no file yet, so the remedy names none of its keys before the file is made."""
    assert init(tmp_path / "new", "--inside", "0.0.0.0/0") == 2
    said = capsys.readouterr().err
    assert "--inside: all IPv4 clients count as inside" in said
    assert "; give only your own networks, such as --inside 10.0.4.0/24." in said
    assert "at the top of the file" not in said
    assert init(tmp_path / "new", "--inside", "10.0.4.0/24") == 0
    config = tmp_path / "new" / "config.yaml"
    opened = config.read_text().replace('internal: ["10.0.4.0/24"]', "internal: [0.0.0.0/0]", 1)
    assert "internal: [0.0.0.0/0]" in opened
    config.write_text(f"allow_everyone_inside: true\n{opened}")
    assert load_with_warnings(config, environ={}).warnings == ()


@pytest.fixture
def tls_server(tmp_path):
    """A mail server for `localhost` whose certificate no CA of the system has signed."""
    certificate, key = server(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    started = MailServer(context)
    yield f"https://localhost:{started.port}", certificate
    started.failures.clear()  # of handshakes that the client broke off
    started.stop()


def test_a_mail_server_that_would_not_be_trusted_is_told_of_at_once(tls_server):
    url, certificate = tls_server
    assert doubt_about(url, certificate) is None
    said = doubt_about(url, None)
    assert said.startswith(f"The certificate of {url} is not trusted: self-signed certificate.")
    assert "upstreams.mail.tls" in said
    assert "not valid for '127.0.0.1'.\n" in doubt_about(url.replace("localhost", "127.0.0.1"), certificate)


def test_a_mail_server_that_does_not_answer_is_told_of(tmp_path):
    url = f"http://127.0.0.1:{free_port()}"
    assert doubt_about(url, None).startswith(f"{url} does not answer now: Connection refused.\n")
    answers = answers_of(tmp_path)
    assert "\n\nIt is away.\n\nNext:\n" in told(answers, making.all_names(answers), ("gateway",), "It is away.")


SERVICE = Unit(
    program=("/opt/gateway/bin/gateway",),
    config=Path("/etc/gateway/config.yaml"),
    user="gateway",
    writable=Path("/etc/gateway/pki"),
    steps=("systemctl enable --now /etc/gateway/gateway.service",),
)


def test_the_documented_unit_is_the_one_that_is_written():
    assert f"```ini\n{unit(SERVICE)}```" in OPERATION.read_text()


def test_paths_are_words_of_the_unit():
    odd = replace(
        SERVICE,
        program=('/home/a b/$x/"gateway',),
        config=Path("/var/tmp/50%/$.yaml"),  # noqa: S108 - no file is made
        writable=Path("/srv/my $pki"),
    )
    text = unit(odd)
    assert 'ExecStart="/home/a b/$x/\\"gateway" run -c /var/tmp/50%%/$$.yaml' in text
    assert 'ReadWritePaths="-/srv/my $pki"' in text
    assert "ProtectHome=read-only" in text
    assert "PrivateTmp=no" in text


@pytest.mark.parametrize("folder", ["plain", "a b 50% $HOME"])
def test_systemd_takes_the_unit(tmp_path, folder):
    home = tmp_path / folder
    home.mkdir()
    program = home / "gateway"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    file = tmp_path / "gateway-test.service"
    file.write_text(
        unit(replace(SERVICE, program=(str(program),), config=home / "config.yaml", user="root", writable=home))
    )
    done = subprocess.run(
        [need("systemd-analyze"), "verify", "--man=no", str(file)], capture_output=True, text=True, check=False
    )
    said = [line for line in done.stderr.splitlines() if "gateway" in line]
    assert (done.returncode, said) == (0, [])
