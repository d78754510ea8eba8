"""The registry's section: what is relative, and what is where by default."""

import pytest
from support.config_files import BASE, NOW

from gateway.config.load import load, load_with_warnings, read_contact, read_pki
from gateway.config.model import Alerts, Mail, Pki
from gateway.config.problems import ConfigErrors
from gateway.keeper.plan import plan_of


@pytest.mark.parametrize(
    ("section", "store", "files"),
    [
        ('store: "sqlite:///pki/registry.db"', "sqlite:///{here}/pki/registry.db", "{here}/pki"),
        ('store: "sqlite:////srv/pki/registry.db"', "sqlite:////srv/pki/registry.db", "/srv/pki"),
        ('store: "sqlite:///pki/registry.db", folder: keys', "sqlite:///{here}/pki/registry.db", "{here}/keys"),
        ('store: "postgresql+psycopg://u:p@h/d"', "postgresql+psycopg://u:p@h/d", "{here}/pki"),
        ('store: "postgresql+psycopg://u:p@h/d", folder: /srv/keys', "postgresql+psycopg://u:p@h/d", "/srv/keys"),
        ('store: "postgresql+psycopg://u:p@h/d", folder: null', "postgresql+psycopg://u:p@h/d", "{here}/pki"),
    ],
)
def test_the_registry_and_the_files_are_found(write, folder, section, store, files):
    path = write(f"{BASE}pki: {{{section}}}\n")
    expected = Pki(store.format(here=folder), type(folder)(files.format(here=folder)))
    assert load(path, now=NOW, environ={}).pki == expected
    assert read_pki(path, environ={}) == expected


def listening(section):
    return BASE.replace('":443"', '":443"\n  - address: ":80"\n    pki: true', 1) + section


def test_a_listener_publishes_what_the_registry_has(write):
    config = load(write(listening('pki: {store: "sqlite:///x"}')), now=NOW, environ={})
    assert [listener.pki for listener in config.listen] == [False, True]
    assert config.publishes
    assert not load(write(BASE), now=NOW, environ={}).publishes


@pytest.mark.parametrize("section", ["", "pki: null"])
def test_without_a_registry_there_is_nothing_to_publish(write, section):
    with pytest.raises(ConfigErrors) as raised:
        load(write(listening(section)), now=NOW, environ={})
    cause = "4:10: listen[1].pki: the file has no pki section, so there is nothing to publish; add a pki section"
    assert cause in raised.value.cause


def test_a_faulty_section_is_said_once(write):
    with pytest.raises(ConfigErrors) as raised:
        load(write(listening("pki: {store: 7}")), now=NOW, environ={})
    assert "there is no pki section" not in raised.value.cause


def test_a_gateway_that_serves_no_site_is_warned_of(write):
    listeners = 'listen: [{address: ":80", pki: true}, {address: ":81", redirect_to_https: true}]\n'
    text = listeners + BASE.partition("\n")[2].partition("\n")[2] + 'pki: {store: "sqlite:///x"}\n'
    (warning,) = load_with_warnings(write(text), now=NOW, environ={}).warnings
    said = "listen: every listener only redirects or publishes; add a listener without redirect_to_https and pki"
    assert str(warning).endswith(said)


KEPT = """
pki:
  store: "sqlite:///pki/registry.db"
  authorities:
    corp: {passphrase_file: corp.txt}
    other: {passphrase_file: corp.txt}
  warn: {before: [1d, 60d, 1d]}
  mail:
    server: smtp.example.com
    ca: ca.pem
    username: gateway
    password: ${PASSWORD}
    from: gateway@example.com
    admin: [admin@example.com, admin@example.com, boss@example.com]
    to_users: false
"""


@pytest.fixture
def passphrase(folder):
    file = folder / "corp.txt"
    file.write_text("long enough\n")
    file.chmod(0o600)
    yield file
    file.chmod(0o600)


def _pki(write, text, *, environ=None):
    return load(write(f"{BASE}\n{text}"), now=NOW, environ=environ or {"PASSWORD": "hidden"}).pki


def _lines(write, text):
    """What is said about the section: errors, or warnings where there are none."""
    try:
        found = load_with_warnings(write(f"{BASE}\n{text}"), now=NOW, environ={"PASSWORD": "hidden"}).warnings
    except ConfigErrors as error:
        found = error.problems
    return [f"{each.place.path}: {each.cause}; {each.remedy}" for each in found if each.place.path.startswith("pki")]


@pytest.mark.usefixtures("passphrase")
def test_what_the_gateway_keeps_by_itself(write, folder):
    pki = _pki(write, KEPT)
    assert [(kept.name, kept.passphrase_file) for kept in pki.authorities] == [
        ("corp", folder / "corp.txt"),
        ("other", folder / "corp.txt"),
    ]
    assert pki.authorities[1].line == pki.authorities[0].line + 1
    assert pki.warn_before_seconds == (60 * 86400.0, 86400.0)
    assert pki.is_watched
    assert pki.mail == Mail(
        host="smtp.example.com",
        port=587,
        sender="gateway@example.com",
        ca=folder / "ca.pem",
        username="gateway",
        password="hidden",
        admins=("admin@example.com", "boss@example.com"),
        to_users=False,
    )
    assert "hidden" not in repr(pki)


@pytest.mark.parametrize(
    ("section", "is_watched"),
    [("", False), (", authorities: {}", True), (", warn: {}", True), (", folder: pki", False), (", mail: null", False)],
)
def test_who_names_nothing_to_keep_has_nothing_kept(write, section, is_watched):
    pki = _pki(write, f'pki: {{store: "sqlite:///pki/registry.db"{section}}}')
    assert pki.is_watched is is_watched
    assert [seconds / 86400 for seconds in pki.warn_before_seconds] == [30, 7, 1]


@pytest.mark.parametrize(
    ("server", "place"),
    [
        ("smtp.example.com", ("smtp.example.com", 587)),
        ("SMTP.example.com:2525", ("smtp.example.com", 2525)),
        ('"[fd00::25]:26"', ("fd00::25", 26)),
        ("smtp.example.com, tls: implicit", ("smtp.example.com", 465)),
        ("localhost, tls: none", ("localhost", 25)),
    ],
)
def test_where_the_mail_server_is(write, server, place):
    pki = _pki(write, MAIL.replace("SERVER", server))
    assert (pki.mail.host, pki.mail.port) == place


MAIL = 'pki: {store: "sqlite:///pki/r.db", mail: {server: SERVER, from: g@example.com, admin: a@example.com}}'


def _with(more):
    return MAIL.replace("SERVER", f"smtp.example.com, {more}")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            MAIL.replace("SERVER", '"a b"'),
            "pki.mail.server: 'a b' is not a mail server; write a host and a port: smtp.example.com:587",
        ),
        (
            MAIL.replace("SERVER", '"smtp.example.com:0"'),
            "pki.mail.server: port 0 does not exist; write a port up to 65535",
        ),
        (
            'pki: {store: "sqlite:///r.db", authorities: {Corp: {passphrase_file: corp.txt}}}',
            "pki.authorities.Corp: 'Corp' is not an authority's name; write corp",
        ),
        (_with("username: u"), "pki.mail.username: username has no password; add password, or remove username"),
        (_with("password: p"), "pki.mail.password: password has no username; add username, or remove password"),
        (
            _with("to_users: false").replace(", admin: a@example.com", ""),
            (
                "pki.mail: no mail would be sent: admin is empty, and to_users is false; "
                "add admin, or remove to_users: false"
            ),
        ),
        (
            _with("tls: none"),
            "pki.mail.tls: mails are sent to smtp.example.com unencrypted; write starttls or implicit",
        ),
        (
            _with("tls: none, username: u, password: p"),
            ("pki.mail.tls: the password would be sent to smtp.example.com unencrypted; write starttls or implicit"),
        ),
        (
            MAIL.replace("SERVER", "127.0.0.1, tls: none, ca: ca.pem"),
            "pki.mail.ca: ca has no effect without TLS; remove ca, or tls: none",
        ),
        (
            _with("ca: nowhere.pem"),
            "pki.mail.ca: {here}/nowhere.pem does not exist; put the file there, or correct the name",
        ),
        (
            MAIL.replace("SERVER", "smtp.example.com").replace("a@example.com", '"a@example.com, b@example.com"'),
            'pki.mail.admin: is one value, not a list; write ["a@example.com", "b@example.com"]',
        ),
        (
            MAIL.replace("SERVER", "smtp.example.com").replace("from: g@example.com", 'from: "g@example.com\\nBcc: x"'),
            "pki.mail.from: 'g@example.com\\nBcc: x' is not an e-mail address; write admin@example.com",
        ),
        (
            'pki: {store: "sqlite:///pki/r.db", authorities: {corp: {passphrase_file: nowhere.txt}}}',
            (
                "pki.authorities.corp.passphrase_file: {here}/nowhere.txt does not exist; "
                "put the file there, or correct the name"
            ),
        ),
    ],
)
def test_each_mistake_is_told_at_its_place(write, folder, text, line):
    assert _lines(write, text) == [line.replace("{here}", str(folder))]


def test_a_mail_server_on_this_machine_may_go_without_tls(write):
    for host in ("localhost", "127.0.0.1", '"[::1]"'):
        assert _lines(write, MAIL.replace("SERVER", f"{host}, tls: none, username: u, password: p")) == []


def test_a_passphrase_that_everybody_may_read_is_refused(write, passphrase):
    passphrase.chmod(0o604)
    (line,) = _lines(write, 'pki: {store: "sqlite:///r.db", authorities: {corp: {passphrase_file: corp.txt}}}')
    cause = f"every user of this machine can read {passphrase}, and could sign with it and the authority's key"
    assert line.endswith(f"{cause}; run: chmod o= {passphrase}")
    passphrase.chmod(0o640)
    assert _lines(write, 'pki: {store: "sqlite:///r.db", authorities: {corp: {passphrase_file: corp.txt}}}') == []


def test_the_desks_commands_need_none_of_these_files(write):
    path = write(f"{BASE}\n{KEPT}".replace("corp.txt", "nowhere.txt").replace("ca.pem", "nowhere.pem"))
    pki = read_pki(path, environ={"PASSWORD": "hidden"})
    assert pki is not None
    assert len(pki.authorities) == 2


def test_the_contact_is_read_without_the_files_that_are_named(write):
    assert read_contact(write(BASE), environ={}) is None
    assert read_contact(write(f"{BASE}pages: {{contact: help@example.com, directory: not/there}}\n"), environ={}) == (
        "help@example.com"
    )
    for broken in ("pages: {contact: [", "pages: {contakt: x}\n"):
        with pytest.raises(ConfigErrors):
            read_contact(write(BASE + broken), environ={})


UNCHECKED = "pki: {store: 'sqlite:///pki/registry.db', authorities: {corp: {passphrase_file: corp.txt}}}\n"


@pytest.fixture
def trusted(folder, passphrase):
    """The file of a site that trusts an authority of the registry."""
    assert passphrase.name in UNCHECKED
    (folder / "pki/corp/corp.crt").write_bytes((folder / "ca.pem").read_bytes())
    return BASE.replace("[ca.pem]", "[pki/corp/corp.crt]") + UNCHECKED


def test_a_site_that_uses_no_list_of_an_authority_of_its_own_is_warned_of(write, trusted):
    """What the desk revokes would come in."""
    (problem,) = load_with_warnings(write(trusted), now=NOW).warnings
    assert str(problem).endswith(
        ":7:17: warning: sites[0].client_ca[0]: no revocation list is used here, so certificates that 'corp' revokes "
        "are let in; add crl: [pki/corp/corp.crl] to this site"
    )
    with_list = trusted.replace("    upstream: mail", "    crl: [pki/corp/corp.crl]\n    upstream: mail")
    assert load_with_warnings(write(with_list), now=NOW).warnings == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (UNCHECKED, ""),
        ("    upstream: mail", "    ocsp: {mode: hard}\n    upstream: mail"),
        ("[pki/corp/corp.crt]", "[ca.pem]"),
    ],
)
def test_a_site_whose_revocations_come_from_elsewhere_is_not(write, trusted, old, new):
    assert load_with_warnings(write(trusted.replace(old, new, 1)), now=NOW).warnings == ()


ALERTING = 'pki: {store: "sqlite:///x", mail: {server: m.example.com, from: g@example.com%s}%s}\n'


@pytest.mark.parametrize(
    ("alerts", "expected"),
    [
        ("", None),
        (", alerts: null", None),
        (", alerts: {}", None),
        (", alerts: {new_place: false, refusals: null}", None),
        (", alerts: {new_place: true}", Alerts(new_place=True)),
        (", alerts: {refusals: 2}", Alerts(refusals=2)),
    ],
)
def test_alerts_are_off_unless_one_is_named(write, alerts, expected):
    text = BASE + "access_log: {path: access.jsonl}\n" + ALERTING % (", admin: a@example.com", alerts)
    found = load(write(text), now=NOW, environ={})
    assert found.pki.alerts == expected
    plan = plan_of(found)
    assert plan.alerts is None if expected is None else plan.alerts.settings == expected


@pytest.mark.parametrize(
    ("section", "log", "said"),
    [
        (
            'pki: {store: "sqlite:///x", alerts: {new_place: true}}',
            "path: access.jsonl",
            "pki.alerts: alerts are sent by mail, and pki.mail is missing; add pki.mail, or remove alerts",
        ),
        (
            ALERTING % (", admin: a@example.com, to_users: false", ", alerts: {new_place: true}"),
            "path: access.jsonl",
            "pki.alerts.new_place: new_place sends mails to holders, and to_users is false; remove one of the two",
        ),
        (
            ALERTING % ("", ", alerts: {refusals: 20}"),
            "path: access.jsonl",
            (
                "pki.alerts.refusals: refusals sends mails to administrators, and pki.mail.admin is empty; "
                "add pki.mail.admin, or remove refusals"
            ),
        ),
        (
            ALERTING % ("", ", alerts: {new_place: true}"),
            "",
            (
                "pki.alerts: alerts are made from the access log's file, and the access log goes to standard output; "
                "write a file's name into access_log.path, or remove alerts"
            ),
        ),
        (
            ALERTING % ("", ", alerts: {new_place: true}"),
            "path: 'syslog:10.0.0.5'",
            (
                "pki.alerts: alerts are made from the access log's file, and the access log goes to another program; "
                "write a file's name into access_log.path, or remove alerts"
            ),
        ),
        (
            ALERTING % ("", ", alerts: {new_place: true}"),
            "path: access.jsonl, format: combined",
            (
                "access_log.format: alerts need certificates and reasons, which the format combined doesn't have; "
                "write json, or remove pki.alerts"
            ),
        ),
    ],
)
def test_alerts_that_could_not_be_sent(write, section, log, said):
    with pytest.raises(ConfigErrors) as raised:
        load(write(f"{BASE}access_log: {{{log}}}\n{section}\n"), now=NOW, environ={})
    (problem,) = raised.value.problems
    assert str(problem).partition(": ")[2] == said


@pytest.mark.parametrize("log", ["path: []", "path: 'syslog:'"])
def test_alerts_without_a_log_that_can_be_read_are_no_second_error(write, log):
    text = f"{BASE}access_log: {{{log}}}\n" + ALERTING % ("", ", alerts: {new_place: true}")
    with pytest.raises(ConfigErrors) as raised:
        load(write(text), now=NOW, environ={})
    assert len(raised.value.problems) == 1
