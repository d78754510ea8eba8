"""What a good file becomes, and what is only warned of."""

import hashlib
import os
import subprocess
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from support.config_files import BASE, NOW, YEAR
from support.loaded import certificates_named, key_named
from support.pki import crowd
from support.rules import rule_of

from gateway.config import load as load_module
from gateway.config.load import load, load_with_warnings
from gateway.config.model import (
    AccessLog,
    Admin,
    Health,
    Hsts,
    IdentityHeaders,
    Limits,
    Listener,
    Lockout,
    NameServer,
    Ocsp,
    Pages,
    Pki,
    Rotation,
    Server,
    Site,
    Timeouts,
    Upstream,
    UpstreamTls,
)
from gateway.config.networks import DEFAULT_INTERNAL
from gateway.config.problems import ConfigErrors
from gateway.facts import Action
from gateway.policy.rules import CertificateConditions
from gateway.x509.ca_names import MAX_CA_NAMES_BYTES

FULL = """\
listen:
  - address: "0.0.0.0:443"
    proxy_protocol_from: [10.0.0.0/8]
  - {address: "[::1]:80", redirect_to_https: true, pki: true}
networks:
  internal: [office, 10.0.0.0/8]
  office: [203.0.113.0/28]
trusted_proxies: {from: 192.0.2.1, header: forwarded}
sites:
  - hosts: [Mail.example.com, "*.mail.example.com"]
    certificate: chain.crt
    key: locked.key
    key_password: ${PASSWORD}
    client_ca: [ca.pem, both-cas.pem]
    crl: [both.crl, "http://crl.example.com/ca.crl"]
    crl_policy: if_present
    ocsp: {mode: hard, responder: "http://ocsp.example.com/"}
    protocols: http/1.1
    upstream: mail
upstreams:
  mail:
    servers: ["https://10.0.0.5:443", "http://[fd00::5]"]
    balance: round_robin
    tls: {ca: ca.pem, server_name: Mail.internal, certificate: mail.crt, key: mail.key, verify: false}
    health: {path: /up, interval: 20s, timeout: 1s, rise: 1, fall: 5}
    timeouts: {connect: 1s, response: 90m, idle: 500s}
    host: mail.internal
    connections: per_client
    rewrite_location: true
    proxy_protocol: true
rules:
  - name: Inside
    from: [internal, 198.51.100.7]
    hosts: [MAIL.example.com]
    uri: [/webmail, =/x, ~/y.*]
    methods: [GET, POST]
    action: deny
  - from: external
    action: require_certificate
    certificate:
      ca: subsub.pem
      subject: {O: Example Ltd, 2.5.4.3: "a*"}
      email: "*@example.com"
      fingerprint_sha256: ["AB:$HEX"]
      bind_user: upn
      device_ids: [ApplDN1]
limits: {header_bytes: 16KiB, headers: 50, uri_bytes: 4096, body: 1MB, connections: 10,
         connections_per_ip: 5, handshakes_per_second_per_ip: 7, requests_per_second_per_ip: 8,
         handshake: 1s, header_time: 2s, keepalive: 3s, transfer_idle: 4s, body_bytes_per_second: 6}
identity_headers: {rfc9440: false, subject: X-S, email: null, serial: X-N, fingerprint: X-F, verified: X-V}
lockout: {failures: 3, window: 1m, ban: 1h, count: [login, certificate]}
access_log: {path: logs/access.jsonl, format: combined, rotate: {size: 1MiB, age: 2d, keep: 3, compress: gzip}}
pages: {contact: help, directory: folder}
workers: 3
admin: {address: "127.0.0.1:9444"}
pki: {store: "sqlite:///pki/registry.db", folder: authorities}
resolver: {servers: [10.0.0.53, "[fd00::53]:5353"]}
""".replace("AB:$HEX", ":".join(["AB"] * 32))


def warnings_of(path):
    return [str(warning) for warning in load_with_warnings(path, now=NOW, environ={}).warnings]


def test_a_small_file_gets_every_default(write, folder):
    path = write(BASE)
    config = load(path, now=NOW, environ={})
    assert config.path == folder / "config.yaml"
    assert config.listen == (Listener(":443", "", 443),)
    assert config.sites == (
        Site(
            ("mail.example.com",),
            certificates_named(folder / "mail.crt"),
            key_named(folder / "mail.key"),
            "mail",
            client_ca=(certificates_named(folder / "ca.pem"),),
            line=4,
        ),
    )
    assert config.upstreams == (Upstream("mail", (Server("https", "10.0.0.5", 443),), line=11),)
    assert config.rules == (
        rule_of("inside", Action.ALLOW, 13, networks=("internal",)),
        rule_of("outside", Action.REQUIRE_CERTIFICATE, 16),
    )
    assert config.networks == {"internal": DEFAULT_INTERNAL}
    assert config.workers == len(os.sched_getaffinity(0))
    rest = (config.trusted_proxies, config.lockout, config.admin, config.pki)
    assert rest == ((), None, None, None)
    assert (config.limits, config.identity_headers) == (Limits(), IdentityHeaders())
    assert (config.access_log, config.pages) == (AccessLog(), Pages())


def test_every_key_reaches_the_model(write, folder):
    config = load(write(FULL), now=NOW, environ={"PASSWORD": "secret"})
    office, ten = ip_network("203.0.113.0/28"), ip_network("10.0.0.0/8")
    assert config.listen == (
        Listener("0.0.0.0:443", "0.0.0.0", 443, proxy_protocol_from=(ten,)),
        Listener("[::1]:80", "::1", 80, redirect_to_https=True, pki=True),
    )
    assert config.networks == {"internal": (office, ten), "office": (office,)}
    assert (config.trusted_proxies, config.trusted_proxies_header) == ((ip_network("192.0.2.1"),), "forwarded")
    assert config.name_servers == (NameServer("10.0.0.53", 53), NameServer("fd00::53", 5353))
    (site,) = config.sites
    assert site == Site(
        hosts=("mail.example.com", "*.mail.example.com"),
        certificate=certificates_named(folder / "chain.crt"),
        key=key_named(folder / "locked.key"),
        upstream="mail",
        client_ca=(certificates_named(folder / "ca.pem"), certificates_named(folder / "both-cas.pem")),
        crl=(str(folder / "both.crl"), "http://crl.example.com/ca.crl"),
        crl_policy="if_present",
        ocsp=Ocsp("hard", "http://ocsp.example.com/"),
        protocols=("http/1.1",),
        line=10,
    )
    assert config.upstreams == (
        Upstream(
            name="mail",
            servers=(Server("https", "10.0.0.5", 443), Server("http", "fd00::5", 80)),
            balance="round_robin",
            tls=UpstreamTls(
                certificates_named(folder / "ca.pem"),
                "mail.internal",
                certificates_named(folder / "mail.crt"),
                key_named(folder / "mail.key"),
                verify=False,
            ),
            health=Health("/up", 20.0, 1.0, 1, 5),
            timeouts=Timeouts(1.0, 5400.0, 500.0),
            host="mail.internal",
            connections="per_client",
            rewrite_location=True,
            proxy_protocol=True,
            line=22,
        ),
    )
    first, second = config.rules
    assert first == rule_of(
        name="Inside",
        action=Action.DENY,
        line=32,
        networks=("internal", "198.51.100.7"),
        hosts=("mail.example.com",),
        uris=("/webmail", "=/x", "~/y.*"),
        methods=frozenset({"GET", "POST"}),
    )
    assert second.certificate is not None
    assert len(second.certificate.ca_fingerprints or ()) == 2
    assert replace(second, certificate=replace(second.certificate, ca_fingerprints=None)) == rule_of(
        name="rule 2",
        action=Action.REQUIRE_CERTIFICATE,
        line=38,
        networks=("external",),
        certificate=CertificateConditions(
            subject=(("O", "Example Ltd"), ("2.5.4.3", "a*")),
            emails=("*@example.com",),
            fingerprints_sha256=frozenset({"ab" * 32}),
            bind_user="upn",
            device_ids=frozenset({"ApplDN1"}),
        ),
    )
    assert config.limits == Limits(16384, 50, 4096, 10**6, 10, 5, 7, 8, 1.0, 2.0, 3.0, 4.0, 6)
    assert config.identity_headers == IdentityHeaders(False, "X-S", None, "X-N", "X-F", "X-V")
    assert config.lockout == Lockout(3, 60.0, 3600.0, ("login", "certificate"))
    rotation = Rotation(1024 * 1024, 2 * 86400.0, 3, "gzip")
    assert config.access_log == AccessLog(folder / "logs/access.jsonl", "combined", rotate=rotation)
    assert config.pages == Pages("help", folder / "folder")
    assert (config.workers, config.admin) == (3, Admin("127.0.0.1:9444", "127.0.0.1", 9444))
    assert config.pki == Pki(f"sqlite:///{folder}/pki/registry.db", folder / "authorities")


@pytest.mark.parametrize(
    ("upstream", "protocols"),
    [
        ("", ("h2", "http/1.1")),
        ("connections: shared", ("h2", "http/1.1")),
        ("proxy_protocol: false", ("h2", "http/1.1")),
        ("connections: per_client", ("http/1.1",)),
        ("proxy_protocol: true", ("http/1.1",)),
    ],
)
def test_http_2_is_offered_unless_each_client_has_an_upstream_connection(write, upstream, protocols):
    text = BASE.replace("rules:", f"    {upstream}\nrules:", 1)
    assert load(write(text), now=NOW, environ={}).sites[0].protocols == protocols


@pytest.mark.parametrize("written", ["[http/1.1, h2]", "[h2, http/1.1]", "[http/1.1]", "http/1.1"])
def test_protocols_keep_their_order(write, written):
    text = BASE.replace("    upstream:", f"    protocols: {written}\n    upstream:", 1)
    assert list(load(write(text), now=NOW, environ={}).sites[0].protocols) == written.strip("[]").split(", ")


def test_secrets_are_not_in_a_repr(write):
    text = FULL.replace("sqlite:///pki/registry.db", "postgresql+psycopg://u:hidden@h/d").replace(
        "locked.key", "mail.key"
    )
    config = load(write(text), now=NOW, environ={"PASSWORD": "hidden"})
    assert config.pki is not None
    assert config.pki.store == "postgresql+psycopg://u:hidden@h/d"
    assert "hidden" not in repr(config)


def test_secrets_are_not_in_messages(write):
    text = FULL.replace("sqlite:///pki/registry.db", "mysql://u:hidden@h/d").replace("${PASSWORD}", "[hidden]")
    with pytest.raises(ConfigErrors) as raised:
        load(write(text), now=NOW, environ={})
    assert "pki.store: this value is not a database URL" in raised.value.cause
    assert "hidden" not in raised.value.cause


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [
        ("rules:", "pki: postgresql+psycopg://u:hidden@h/d\nrules:", "pki: is a single value; write a mapping"),
        (
            "rules:",
            "pki: {store: 'sqlite:///a', password: hidden}\nrules:",
            "pki.password: unknown key; write it under",
        ),
        ("key: mail.key", "key: mail.key\n    password: hidden", "sites[0].password: unknown key; write key_password"),
        ("key: mail.key", "key: mail.key\n    key_password: {a: hidden}", "sites[0].key_password: is a mapping"),
    ],
)
def test_a_remedy_shows_no_secret(write, good, bad, message):
    with pytest.raises(ConfigErrors) as raised:
        load(write(BASE.replace(good, bad, 1)), now=NOW, environ={})
    assert message in raised.value.cause
    assert "hidden" not in raised.value.cause


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('admin: {address: ":443"}', "admin.address: ':443' is already an address in listen; write another port"),
        ('admin: {address: "x"}', "admin.address: 'x' has no port; "),
        ("admin: {}", "admin.address: this key is missing; "),
        ("pages: {directory: nowhere}", "nowhere' is not a folder; "),
        ("pages: {directory: ''}", "pages.directory: is empty; write pages"),
        ("lockout: {failures: 0}", "lockout.failures: '0' is out of bounds; "),
        ("pki: {store: sqlite://}", "pki.store: this value is not a database URL; "),
    ],
)
def test_mistakes_in_later_sections(write, text, message):
    with pytest.raises(ConfigErrors) as raised:
        load(write(BASE + text), now=NOW, environ={})
    assert message in raised.value.cause


@pytest.mark.parametrize("plain", ["redirect_to_https", "pki"])
def test_a_listener_without_sites_has_no_public_port(write, plain):
    text = BASE.replace('":443"', f'":443"\n  - {{address: ":80", {plain}: true, public_port: 80}}')
    with pytest.raises(ConfigErrors) as raised:
        load(write(text), now=NOW, environ={})
    assert "listen[1].public_port: public_port is for listeners that serve sites" in raised.value.cause


@pytest.mark.parametrize(("written", "status"), [("308", 308), ("302", 302), ('"302"', 302)])
def test_a_listener_may_redirect_with_302(write, written, status):
    plain = f'":443"\n  - {{address: ":80", redirect_to_https: true, redirect_status: {written}}}'
    assert load(write(BASE.replace('":443"', plain)), now=NOW, environ={}).listen[1].redirect_status == status


@pytest.mark.parametrize(
    ("listener", "message"),
    [
        (
            '{address: ":80", redirect_to_https: true, redirect_status: 301}',
            "listen[1].redirect_status: '301' is not a status of a redirect; write 308 or 302",
        ),
        (
            '{address: ":80", redirect_status: 302}',
            (
                "listen[1].redirect_status: redirect_status is for listeners with redirect_to_https; "
                "add redirect_to_https: true, or remove it"
            ),
        ),
    ],
)
def test_other_redirects_are_refused(write, listener, message):
    with pytest.raises(ConfigErrors) as raised:
        load(write(BASE.replace('":443"', f'":443"\n  - {listener}')), now=NOW, environ={})
    assert message in raised.value.cause


@pytest.mark.parametrize(
    ("written", "hsts"),
    [
        ("90d", Hsts(90 * 86400.0)),
        ("0s", Hsts(0.0)),
        ("{}", Hsts()),
        ("{include_subdomains: true}", Hsts(include_subdomains=True)),
        (
            "{max_age: 730d, include_subdomains: true, preload: true}",
            Hsts(730 * 86400.0, include_subdomains=True, preload=True),
        ),
        ("null", None),
    ],
)
def test_a_site_may_have_strict_transport_security(write, written, hsts):
    text = BASE.replace("    upstream: mail", f"    hsts: {written}\n    upstream: mail")
    assert load(write(text), now=NOW, environ={}).sites[0].hsts == hsts


@pytest.mark.parametrize(
    "written",
    ["{preload: true}", "{max_age: 364d, include_subdomains: true, preload: true}", "{max_age: 1d, preload: true}"],
)
def test_what_the_browsers_lists_would_not_take_is_refused_and_the_remedy_works(write, written):
    text = BASE.replace("    upstream: mail", f"    hsts: {written}\n    upstream: mail")
    with pytest.raises(ConfigErrors) as raised:
        load(write(text), now=NOW, environ={})
    assert "sites[0].hsts.preload: browsers accept preload only with include_subdomains" in raised.value.cause
    remedy = raised.value.cause.partition("; write ")[2].partition(", or remove")[0]
    assert load(write(text.replace(written, remedy)), now=NOW, environ={}).sites[0].hsts.preload


def test_a_listener_may_serve_challenges(write, folder):
    text = BASE.replace('":443"', '":443"\n  - {address: ":80", redirect_to_https: true, acme_webroot: folder}')
    assert load(write(text), now=NOW, environ={}).listen[1].acme_webroot == folder / "folder"
    assert warnings_of(write(text)) == []


def test_a_listener_that_serves_sites_has_no_challenges(write):
    wrong = BASE.replace('":443"', '":443"\n    acme_webroot: folder')
    with pytest.raises(ConfigErrors) as raised:
        load(write(wrong), now=NOW, environ={})
    assert raised.value.cause == (
        "config.yaml:3:19: listen[0].acme_webroot: acme_webroot is for listeners that speak plain HTTP; "
        "add redirect_to_https: true to this listener"
    )
    right = wrong.replace("acme_webroot: folder", "acme_webroot: folder\n    redirect_to_https: true")
    assert load(write(right), now=NOW, environ={}).listen[0].acme_webroot is not None


def test_a_folder_for_challenges_that_is_missing_is_warned_of_and_does_not_end_the_service(write, folder):
    plain = '":443"\n  - {address: ":80", pki: true, acme_webroot: %s}\npki: {store: "sqlite:///pki.db"}'
    text = BASE.replace('":443"', plain % "new/acme")
    (found,) = warnings_of(write(text))
    remedy = f"mkdir -p {folder}/new/acme"
    assert found.endswith(f"'{folder}/new/acme' is not a folder, so no challenge can be answered; create it: {remedy}")
    subprocess.run(remedy.split(), check=True)
    assert warnings_of(write(text)) == []


def test_the_folder_of_the_challenges_themselves_is_below_the_one_to_name(write, folder):
    """certbot's -w takes the folder above it, too."""
    text = BASE.replace('":443"', '":443"\n  - {address: ":80", redirect_to_https: true, acme_webroot: %s}')
    (found,) = warnings_of(write(text % "folder/.well-known/acme-challenge"))
    cause, _, remedy = found.partition("; ")
    assert cause.endswith("the gateway looks for challenges in .well-known/acme-challenge below this folder")
    assert remedy == f"write {folder}/folder, the same folder as in certbot's -w"
    assert warnings_of(write(text % f"{folder}/folder")) == []


def test_a_folder_for_challenges_that_is_closed_to_this_user_is_warned_of(write, folder, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, _: path != folder / "folder")
    text = BASE.replace('":443"', '":443"\n  - {address: ":80", redirect_to_https: true, acme_webroot: folder}')
    (found,) = warnings_of(write(text))
    assert "so no challenge can be answered; let the user " in found
    assert found.endswith(f"chmod g+x {folder}/folder")


def test_everybody_who_can_write_there_could_get_certificates_for_the_hosts(write, folder):
    (folder / "open").mkdir(exist_ok=True)
    (folder / "open").chmod(0o777)
    text = BASE.replace('":443"', '":443"\n  - {address: ":80", redirect_to_https: true, acme_webroot: open}')
    (found,) = warnings_of(write(text))
    assert found.endswith(
        f"listen[1].acme_webroot: every user of this machine can write in the folder {folder}/open; run: chmod o-w "
        f"{folder}/open"
    )


def test_a_listener_may_have_another_port_in_urls(write):
    config = load(write(BASE.replace('":443"', '":8443"\n    public_port: 443')), now=NOW, environ={})
    assert config.listen[0].public_port == 443


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rules:", "pages: {directory: null}\nadmin: null\nlockout:\npki: ~\nrules:"),
        ("[ca.pem]", "[ca.pem]\n    ocsp: {mode: off}"),
        ("[ca.pem]", "[ca.pem]\n    key_password: ${NOBODY:-}"),
        ("[ca.pem]", "[ca.pem]\n    key_password: null"),
        ("rules:", "workers: ${NOBODY:-4}\nrules:"),
        ("rules:", 'workers: "${NOBODY:-4}"\nrules:'),
        ("rules:", "limits: {headers: ${NOBODY:-4}0, body: ${NOBODY:-5}}\nrules:"),
        ("name: inside", "name: ${NOBODY:-42}"),
        ("rules:", "trusted_proxies: []\nrules:"),
        ("rules:", "trusted_proxies: 192.0.2.1\nrules:"),
        ("rules:", "trusted_proxies: {from: 192.0.2.1}\nrules:"),
        ("sites:", "networks: {internal: []}\nsites:"),
        ("mail.key", "locked.key\n    key_password: ${PASSWORD}"),
        ("mail.crt", "chain.crt"),
        ("[ca.pem]", "ca.pem"),
        ("from: internal", "from: &a [internal]\n    hosts: [mail.example.com]"),
        ("[ca.pem]", "[ca.pem]\n    crl: [ca-der.crl]"),
        ("[ca.pem]", "[ca.pem]\n    crl: [both.crl]"),
        ("action: require_certificate", "action: require_certificate\n    certificate: {ca: [ca.pem]}"),
        ("action: require_certificate", "action: require_certificate\n    certificate: {ca: [sub.pem, subsub.pem]}"),
    ],
)
def test_good_files_without_a_warning(write, old, new):
    if "limits" in new:
        new = new.replace(
            "{headers: ${NOBODY:-4}0, body: ${NOBODY:-5}}", '{headers: "${NOBODY:-4}0", body: "${NOBODY:-5}"}'
        )
    assert old in BASE
    loaded = load_with_warnings(write(BASE.replace(old, new, 1)), now=NOW, environ={"PASSWORD": "secret"})
    assert loaded.warnings == ()


@pytest.mark.parametrize(
    ("old", "new", "warning"),
    [
        (
            "mail:\n    servers",
            "old:\n    servers: [http://a]\n  mail:\n    servers",
            "10:3: warning: upstreams.old: no site uses this upstream",
        ),
        (
            "mail.crt",
            "soon.crt",
            "5:18: warning: sites[0].certificate: the certificate expires 2026-06-30 12:00:00 UTC; renew it",
        ),
        (
            "mail.crt",
            "no-san.crt",
            "the certificate's subjectAltName does not contain 'mail.example.com', so browsers will warn; ",
        ),
        (
            "[mail.example.com]",
            "[a.mail.example.com, b.a.mail.example.com, '*']",
            "does not contain 'b.a.mail.example.com', so browsers will warn; ",
        ),
        (
            "[ca.pem]",
            "[ca.pem, ca-small.pem]",
            "7:25: warning: sites[0].client_ca[1]: the CA 'CN=small' has an RSA key of 1024 bits",
        ),
        (
            "[ca.pem]",
            "[both-cas.pem]\n    crl: [ca.crl]",
            "8:10: warning: sites[0].crl: no list here is from 'CN=ca2', so all certificates that it issued are",
        ),
        (
            '5:443"]',
            '5:443"]\n    tls: {verify: false}',
            "12:19: warning: upstreams.mail.tls.verify: without verification an attacker in between can pose as",
        ),
        ("https://10.0.0.5:443", "http://10.0.0.5:8080", None),
        (
            '"https://10.0.0.5:443"]',
            "http://a]\n    tls: {}",
            "12:10: warning: upstreams.mail.tls: tls has no effect, because no server has an https:// URL",
        ),
        ("name: outside", "name: inside", "16:11: warning: rules[1].name: rule 1 has the same name"),
        (
            "rules:",
            "limits: {connections: 10, connections_per_ip: 11}\nrules:",
            "limits.connections_per_ip: connections_per_ip is above connections",
        ),
        ('":443"', '":80"\n    redirect_to_https: true', "2:3: warning: listen: every listener only redirects"),
        ('":443"', '":443"\n    proxy_protocol_from: [10.0.0.0/8]', None),
        ("rules:", "trusted_proxies: [10.0.0.0/8]\nrules:", None),
    ],
)
def test_what_works_and_is_probably_not_meant_is_a_warning(write, old, new, warning):
    assert old in BASE
    found = warnings_of(write(BASE.replace(old, new, 1)))
    assert [warning in text for text in found] == ([] if warning is None else [True])


@pytest.mark.parametrize(
    ("bind", "ca", "hosts", "is_warned_of"),
    [
        ("cn", "ca-bound.pem", "mail.example.com", True),
        ("san", "ca-bound.pem", "mail.example.com", True),
        ("san", "ca-bound.pem", "*.example.com", True),
        ("email", "ca-bound.pem", "mail.example.com", False),
        ("upn", "ca-bound.pem", "mail.example.com", False),
        ("cn", "ca2.pem", "mail.example.com", False),
    ],
)
def test_names_that_a_constrained_ca_cannot_give_are_warned_of(write, bind, ca, hosts, is_warned_of):
    text = BASE.replace("[ca.pem]", f"[ca.pem, {ca}]")
    found = warnings_of(write(text + f'    hosts: ["{hosts}"]\n    certificate: {{bind_user: {bind}}}\n'))
    warning = (
        "config.yaml:19:30: warning: rules[1].certificate.bind_user: 'CN=bound' has name constraints: in its "
        "certificates only mail addresses and user principal names count; write email or upn"
    )
    assert found == ([warning] if is_warned_of else [])


@pytest.mark.parametrize(
    ("anchors", "conditions", "is_warned_of"),
    [
        ("ca.pem, ca-bound.pem", "subject: {CN: alice}", True),
        ("ca.pem, ca-bound.pem", "subject: {CN: alice}, ca: [ca.pem]", False),
        ("ca.pem, ca-bound.pem", "email: ['*@example.com']", False),
        ("ca-bound.pem", "subject: {CN: alice}", False),
        ("ca.pem, ca2.pem", "subject: {CN: alice}", False),
    ],
)
def test_a_subject_that_a_constrained_ca_could_write_too_is_warned_of(write, anchors, conditions, is_warned_of):
    text = BASE.replace("[ca.pem]", f"[{anchors}]") + f"    certificate: {{{conditions}}}\n"
    found = [warning for warning in warnings_of(write(text)) if "don't limit subjects" in warning]
    assert len(found) == is_warned_of
    assert all("write in ca which of the site's CAs this rule is for" in warning for warning in found)


def test_the_proxies_alone_stand_for_the_header_that_counts_by_default(write):
    for text in ("[192.0.2.1, 10.0.0.0/8]", "{from: [192.0.2.1, 10.0.0.0/8]}"):
        config = load(write(BASE.replace("rules:", f"trusted_proxies: {text}\nrules:", 1)), now=NOW, environ={})
        assert config.trusted_proxies == (ip_network("192.0.2.1"), ip_network("10.0.0.0/8"))
        assert config.trusted_proxies_header == "x-forwarded-for"


def test_a_rule_for_a_proxys_checks_may_stand_below_one_that_takes_its_clients(write):
    """Requests without a client reach it all the same; not behind a rule that denies them."""

    def rules(first):
        text = BASE.replace("from: internal", "from: 10.0.0.9", 1)
        return write(text.replace("rules:", f"trusted_proxies: [10.0.0.9]\nrules:\n  - {{name: first, {first}}}", 1))

    assert load(rules("from: internal, action: allow"), now=NOW, environ={})
    with pytest.raises(ConfigErrors, match="the rule can never match"):
        load(rules("from: internal, action: deny"), now=NOW, environ={})


def test_a_list_without_a_ca_is_a_warning(write):
    text = BASE.replace("client_ca: [ca.pem]", "crl: [ca.crl]").replace("require_certificate", "deny")
    assert [w.partition("warning: ")[2] for w in warnings_of(write(text))] == [
        "sites[0].crl: crl has no effect without client_ca; add client_ca"
    ]


def test_more_cas_than_a_client_can_be_told_of_are_a_warning(write, folder):
    """By the names of all files together."""
    half = MAX_CA_NAMES_BYTES // 2
    for more in (0, 1):
        for name, size, length in (("one", half, 45), ("two", half + more, 50)):
            (folder / f"{name}.pem").write_bytes(b"".join(ca.pem for ca in crowd(size, length, not_before=NOW - YEAR)))
        found = warnings_of(write(BASE.replace("[ca.pem]", "[one.pem, two.pem]")))
        assert len(found) == more
    assert "7:16: warning: sites[0].client_ca: the names of 669 CAs in client_ca have 31,745 bytes. " in found[0]
    assert found[0].endswith("; remove CAs that are no longer used from client_ca")


def test_a_console_on_a_public_address_is_a_warning(write):
    (warning,) = warnings_of(write(BASE + 'admin: {address: "0.0.0.0:9444"}\n'))
    assert "admin.address: anybody who can reach this address can read status and metrics without a password" in warning


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "config.yaml:1:1: config.yaml is empty; "),
        (
            "# only this\n",
            "config.yaml:1:1: the file is empty, or has only comments; begin with a copy of config.example.yaml",
        ),
        ("---\n", "config.yaml:1:1: the file is empty, or has only comments; begin with a copy of config.example.yaml"),
        ("[]", "config.yaml:1:1: the file is a list; write a mapping with the keys listen"),
        ("hello", "config.yaml:1:1: the file is a single value; write a mapping with the keys listen"),
        ("a: [", "config.yaml:2:1: not valid YAML: "),
        ("rules: []\nsites: null\nlisten: {}\nupstreams: {}", "config.yaml:1:8: rules: the list is empty; "),
    ],
)
def test_files_that_are_no_configuration(write, text, message):
    with pytest.raises(ConfigErrors) as raised:
        load(write(text), now=NOW, environ={})
    assert str(raised.value.problems[0]).startswith(message)


def test_the_largest_file_and_one_byte_more(write, monkeypatch):
    monkeypatch.setattr(load_module, "MAX_SOURCE_BYTES", len(BASE))
    load(write(BASE), now=NOW, environ={})
    with pytest.raises(
        ConfigErrors, match=f"config.yaml:1:1: the file has more than {len(BASE):,} bytes; check its name"
    ):
        load(write(BASE + "\n"), now=NOW, environ={})


def test_the_digest_is_of_the_files_bytes_and_nothing_else(write, folder):
    path = write(BASE)
    first = load(path, now=NOW, environ={}).digest
    assert first == hashlib.sha256(BASE.encode()).hexdigest()[:8]
    assert load_with_warnings(path, source=BASE.encode(), now=NOW, environ={"A": "b"}).config.digest == first
    (folder / "other.yaml").write_text(BASE)
    assert load(folder / "other.yaml", now=NOW, environ={}).digest == first
    assert load(write(BASE + "\n"), now=NOW, environ={}).digest != first


def test_a_missing_file_and_a_fifo_are_errors_and_do_not_wait(write):
    write(BASE)
    os.mkfifo("pipe.yaml")
    for name, message in (("nowhere.yaml", "does not exist"), ("pipe.yaml", "is not a regular file")):
        with pytest.raises(ConfigErrors, match=message):
            load(Path(name), now=NOW, environ={})


def test_the_process_clock_and_environment_are_the_defaults(write, monkeypatch, tmp_path):
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=m",
    ]
    make += [
        "-days",
        "90",
        "-addext",
        "subjectAltName=DNS:m",
        "-keyout",
        tmp_path / "m.key",
        "-out",
        tmp_path / "m.crt",
    ]
    subprocess.run(make, check=True, capture_output=True)
    monkeypatch.setenv("GATEWAY_TEST_FOLDER", str(tmp_path))
    text = BASE.replace("mail.crt", "${GATEWAY_TEST_FOLDER}/m.crt").replace("mail.key", "${GATEWAY_TEST_FOLDER}/m.key")
    text = text.replace("[mail.example.com]", "[m]").replace("[ca.pem]", "${GATEWAY_TEST_FOLDER}/m.crt")
    assert load(write(text)).sites[0].certificate.path == tmp_path / "m.crt"


def test_a_faulty_part_does_not_make_others_look_wrong(write):
    """No follow-up errors: an upstream, a network or a host that is faulty is still known by its name."""
    text = BASE.replace('"https://10.0.0.5:443"', '"10.0.0.5"').replace("sites:", "networks: {office: [x/y]}\nsites:")
    text = text.replace("from: internal", "from: [office]").replace("ca.pem", "nowhere.pem")
    text = text.replace("action: require_certificate", "action: require_certificate\n    certificate: {ca: [ca.pem]}")
    with pytest.raises(ConfigErrors) as raised:
        load(write(text), now=NOW, environ={})
    paths = [problem.place.path for problem in raised.value.problems]
    assert paths == ["networks.office[0]", "sites[0].client_ca[0]", "upstreams.mail.servers[0]"]


def test_a_thousand_rules_load_in_reasonable_time(write):
    rules = "".join(f"  - {{name: r{n}, uri: /p{n}, action: allow}}\n" for n in range(1000))
    config = load(write(BASE.partition("rules:")[0] + "rules:\n" + rules), now=NOW, environ={})
    assert len(config.rules) == 1000


def test_names_too_long_for_the_system_are_errors(write):
    text = (
        BASE.replace("mail.crt", "x" * 300) + f"access_log: {{path: {'x' * 300}}}\npages: {{directory: {'x' * 300}}}\n"
    )
    with pytest.raises(ConfigErrors) as raised:
        load(write(text), now=NOW, environ={})
    assert [problem.place.path for problem in raised.value.problems] == [
        "sites[0].certificate",
        "access_log.path",
        "pages.directory",
    ]


@pytest.mark.parametrize(
    ("old", "new", "messages"),
    [
        (
            "hosts: [mail.example.com]",
            "hosts: 42",
            ["4:12: sites[0].hosts: '42' is a number or boolean, not a host name"],
        ),
        ("    upstream: mail", "    upstream:", ["8:5: sites[0].upstream: is empty"]),
        ("    action: allow\n", "", ["13:5: rules[0].action: this key is missing"]),
        ("from: internal", "uri: [/a, b]", ["14:15: rules[0].uri[1]: 'b' is not a path"]),
        (
            "from: internal",
            "hosts: [a b, mail.example.com]",
            ["14:13: rules[0].hosts[0]: 'a b' is one value"],
        ),
        ("rules:", "workers: [1]\nrules:", ["12:10: workers: is a list; write 1"]),
        (
            "rules:",
            "limits: {handshake: [1], body: {}}\nrules:",
            [
                "12:21: limits.handshake: is a list; write a duration such as 10s",
                "12:32: limits.body: is a mapping; write a size such as 32KiB",
            ],
        ),
        (
            "action: allow",
            "action: [allow]",
            ["15:13: rules[0].action: is a list; write allow"],
        ),
        (
            "rules:",
            "identity_headers: {rfc9440: {}, email: '${X}'}\nrules:",
            [
                "12:29: identity_headers.rfc9440: is a mapping; write true or false",
                "12:40: identity_headers.email: ",
            ],
        ),
        ("rules:", "networks: [a]\nrules:", ["12:11: networks: is a list; give the list a name: {office: [a]}"]),
        ("rules:", "networks: {a: [b], b: [c/d], c: [a]}\nrules:", ["12:24: networks.b[0]: 'c/d' is not a network"]),
        (
            "from: internal",
            "from: [external, internal, a]",
            ["14:32: rules[0].from[2]: 'a' is not the name of a network"],
        ),
        (
            'servers: ["https://10.0.0.5:443"]',
            "servers: {}",
            ["11:14: upstreams.mail.servers: is a mapping; write a list"],
        ),
        (
            '  mail:\n    servers: ["https://10.0.0.5:443"]',
            "  {}",
            [
                "10:3: upstreams: is empty",
                "sites[0].upstream: 'mail' is not the name of an upstream; define it under upstreams",
            ],
        ),
    ],
)
def test_more_mistakes(write, old, new, messages):
    assert old in BASE
    with pytest.raises(ConfigErrors) as raised:
        load(write(BASE.replace(old, new, 1)), now=NOW, environ={})
    found = sorted(map(str, raised.value.problems))
    assert len(found) == len(messages)
    for message in messages:
        assert any(message in text for text in found)


def test_only_root_may_write_where_nobody_may(write, monkeypatch):
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)
    with pytest.raises(ConfigErrors, match=r"is not writable; let the user .* write to it: chgrp"):
        load(write(BASE + "access_log: {path: logs/x}\n"), now=NOW, environ={})


@pytest.mark.parametrize("written", ["{}", "{size: 256MiB, age: 1d, keep: 30, compress: zstd}"])
def test_an_empty_rotation_has_every_default_and_none_is_off(write, written):
    text = BASE + "access_log: {path: access.jsonl, rotate: %s}\n"
    assert load(write(text % written), now=NOW, environ={}).access_log.rotate == Rotation()
    assert load(write(text % "null"), now=NOW, environ={}).access_log.rotate is None


def test_a_rotation_needs_a_folder_in_which_files_can_be_renamed(write, folder, monkeypatch):
    (folder / "logs").mkdir(exist_ok=True)
    (folder / "logs/access.jsonl").touch()
    text = BASE + "access_log: {path: logs/access.jsonl, rotate: {}}\n"
    assert load(write(text), now=NOW, environ={})
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder / "logs" and real(path, mode))
    with pytest.raises(
        ConfigErrors, match=r"access_log.rotate: files can't be renamed in .*; let the user .* write to"
    ):
        load(write(text), now=NOW, environ={})
    load(write(text.replace(", rotate: {}", "")), now=NOW, environ={})


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_a_rotation_needs_a_file(write, folder, kind):
    if kind == "pipe":
        os.mkfifo(folder / kind)
    else:
        (folder / kind).symlink_to("elsewhere")
    text = BASE + f"access_log: {{path: {kind}, rotate: {{}}}}\n"
    with pytest.raises(ConfigErrors, match=rf"{kind} is not a regular file; name the file itself"):
        load(write(text), now=NOW, environ={})
    load(write(text.replace(", rotate: {}", "")), now=NOW, environ={})
