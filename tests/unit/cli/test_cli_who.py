"""`gateway check --who`, as an admin reads it."""

import json
from ipaddress import ip_address
from pathlib import Path

import pytest
from support.config_files import BASE, NOW, fill

from gateway import clock
from gateway.cli.app import run

GOLDEN = Path(__file__).parents[2] / "golden"
HEAD = BASE[: BASE.index("rules:")]
OFFICE = "networks:\n  office: [203.0.113.0/28]\n"
# As docs/rules.md and docs/servers.md have them.
WEBMAIL = """rules:
  - name: Inside the office no certificate is needed
    from: [internal, office]
    action: allow
  - name: Webmail and phones from outside
    from: external
    uri: [/webmail, /Microsoft-Server-ActiveSync]
    action: require_certificate
    certificate: {email: ["*@example.com"], bind_user: email}
  - name: Everything else
    action: deny
"""
OPENED_AGAIN = """rules:
  - name: Inside
    from: internal
    action: allow
  - name: Logo
    uri: [/webmail/public, "~/webmail/[0-9]+/.*"]
    action: allow
  - name: Phones of the board
    uri: [/Microsoft-Server-ActiveSync]
    methods: [OPTIONS, POST]
    action: require_certificate
    certificate: {subject: {O: Example}, device_ids: [A1, B2], fingerprint_sha256: ["FINGERPRINT"], ca: [ca.pem]}
  - name: Webmail
    uri: [/webmail, =/]
    action: require_certificate
""".replace("FINGERPRINT", "ab" * 32)
SEVERAL_HOSTS = """rules:
  - name: Partners
    hosts: [ews.example.com]
    from: [198.18.0.0/15, "2001:db8::/32"]
    uri: /ews
    action: allow
  - name: Only with a certificate
    action: require_certificate
"""
OBSERVED = """rules:
  - name: Inside
    from: internal
    action: allow
  - name: Phones
    uri: /Microsoft-Server-ActiveSync
    action: require_certificate
    certificate: {email: ["*@example.com"]}
    enforce: 2027-03-01
  - name: Webmail
    uri: [/webmail, /owa, =/]
    action: require_certificate
    enforce: false
  - name: Calendar
    uri: /dav
    action: require_certificate
    enforce: 2026-01-01
"""
# As public configurations of nginx and HAProxy have it, in this gateway's words.
SHARES = """rules:
  - name: Inside
    from: [internal, 203.0.113.0/24]
    action: allow
  - name: Shares
    uri: [/s, /public.php, =/status.php, "~/(core|apps)/.*[.](js|css)"]
    methods: [GET, PUT]
    action: allow
  - name: Certificates
    uri: "~/[.]well-known/(red|amber)/.*"
    action: require_certificate
  - name: White
    uri: /.well-known
    methods: GET
    action: allow
  - name: Rest
    action: require_certificate
    certificate: {subject: {O: "Example*"}}
"""
BEHIND_A_PROXY = """rules:
  - {name: Checks, from: 10.0.0.9, uri: =/health, action: allow}
  - {name: Inside, from: 10.0.0.0/8, action: allow}
  - {name: Login page, uri: ["=/", /login], action: allow}
  - {name: Phones, uri: /Microsoft-Server-ActiveSync, action: require_certificate}
  - {name: Calendar, uri: /dav, action: require_certificate, enforce: 2027-03-01}
"""
CASES = {
    "shares": HEAD + SHARES,
    "behind-a-proxy": "trusted_proxies: [10.0.0.9]\n" + HEAD + BEHIND_A_PROXY,
    "observed": HEAD + OBSERVED,
    "webmail": OFFICE + HEAD + WEBMAIL,
    "opened-again": HEAD + OPENED_AGAIN,
    "several-hosts": HEAD.replace("[mail.example.com]", '["*.example.com", "*"]') + SEVERAL_HOSTS,
    "public-inside": "networks:\n  internal: [10.0.0.0/8, 192.0.2.0/24]\n"
    "trusted_proxies: {from: [10.0.0.9]}\n" + HEAD + "rules:\n  - {name: All, from: internal, action: allow}\n",
}


# Public configurations of webmail and ActiveSync behind nginx, HAProxy and Apache httpd, as an admin writes them here:
# the rules, and what is said of clients outside.
PUBLIC = {
    "nginx: one address needs no certificate": (
        """
  - {name: Office, from: 203.0.113.9, action: allow}
  - {name: Rest, action: require_certificate}
""",
        ["every path  with a certificate  Rest (line 14)"],
    ),
    "nginx: one location is open": (
        """
  - {name: Status, uri: /status, action: allow}
  - {name: Rest, action: require_certificate}
""",
        ["without a certificate: /status", "with a certificate: every other path"],
    ),
    "nginx: one location asks for a certificate": (
        """
  - {name: Out, uri: /out, action: require_certificate}
  - {name: Rest, uri: /, action: allow}
""",
        ["without a certificate: every other path", "with a certificate: /out"],
    ),
    "nginx: ActiveSync by two methods": (
        """
  - {name: EAS, uri: /Microsoft-Server-ActiveSync, methods: [POST, OPTIONS], action: require_certificate}
  - {name: EAS otherwise, uri: /Microsoft-Server-ActiveSync, action: deny}
  - {name: OWA, from: internal, uri: [/owa, /ecp], action: allow}
""",
        [
            "with a certificate: OPTIONS, POST of /Microsoft-Server-ActiveSync",
            "never: every other path; other methods of /Microsoft-Server-ActiveSync",
        ],
    ),
    "HAProxy: ECP only inside": (
        """
  - {name: ECP, uri: [/ecp, /PowerShell], from: external, action: deny}
  - {name: Inside, uri: [/ews, /owa, /ecp, /mapi, /autodiscover], from: internal, action: allow}
  - {name: Outside, uri: [/ews, /owa, /mapi, /rpc/rpcproxy.dll], action: require_certificate}
  - {name: Autodiscover, uri: ["=/autodiscover/autodiscover.xml", "=/"], action: allow}
""",
        [
            "without a certificate: =/, =/autodiscover/autodiscover.xml",
            "with a certificate: /rpc/rpcproxy.dll, /owa, /mapi, /ews",
            "never: /PowerShell, /ecp, every other path",
        ],
    ),
    "Apache httpd: LocationMatch": (
        """
  - {name: Restricted, uri: "~/[.]well-known/csaf/(red|amber)/.*", action: require_certificate}
  - {name: White, uri: /.well-known/csaf, methods: [GET, HEAD], action: allow}
""",
        [
            "without a certificate: GET, HEAD of /.well-known/csaf",
            "with a certificate: ~/[.]well-known/csaf/(red|amber)/.*",
            "never: every other path; other methods of /.well-known/csaf",
        ],
    ),
    "nginx: SOGo with a folder below it": (
        """
  - {name: Phones, uri: [/Microsoft-Server-ActiveSync, /SOGo/dav], action: require_certificate, enforce: 2026-09-01}
  - {name: SOGo, uri: [/SOGo, /SOGo.woa], action: require_certificate}
  - {name: Static, uri: "~/(SOGo|css|img)/.*[.](css|js|png)", action: allow}
""",
        [
            "without a certificate: /SOGo/dav, /Microsoft-Server-ActiveSync, every other path that matches",
            "~/(SOGo|css|img)/.*[.](css|js|png)",
            "with a certificate: /SOGo.woa, /SOGo",
            "never: every other path",
        ],
    ),
    "nginx: a partner by one method": (
        """
  - {name: Admin, uri: [/admin, /zimbraAdmin, "~/service/admin/.*"], from: external, action: deny}
  - {name: Partner, from: 198.51.100.0/24, uri: /service/soap, methods: POST, action: allow}
  - {name: Calendar, uri: /home/public, action: allow}
  - {name: Zimbra, uri: [/zimbra, /service, /home, /dav], action: require_certificate}
""",
        [
            "without a certificate: /home/public",
            "with a certificate: /zimbra, /service, /home, /dav",
            "never: /zimbraAdmin, ~/service/admin/.*, /admin, every other path",
        ],
    ),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    fill(tmp_path)
    monkeypatch.setattr(clock, "now", lambda: NOW)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", CASES)
def test_the_table(folder, capsys, name):
    """For a pipe: 120 columns."""
    (folder / "config.yaml").write_text(CASES[name], encoding="utf-8")
    assert run(["check", "--who"]) == 0
    out = capsys.readouterr().out.partition("\n\n")[2]
    assert out == (GOLDEN / f"who-{name}.txt").read_text(encoding="utf-8")
    assert all(len(line) <= 120 for line in out.splitlines() if not line.startswith("warning"))


@pytest.mark.parametrize("name", PUBLIC)
def test_public_configurations(folder, capsys, name):
    rules, told = PUBLIC[name]
    (folder / "config.yaml").write_text(f"{HEAD}rules:{rules}", encoding="utf-8")
    assert run(["check", "--who"]) == 0
    out = capsys.readouterr().out.partition("  from outside\n")[2]
    lines = [line.strip() for line in out.splitlines()]
    assert lines[: len(told)] == told


def test_for_scripts(folder, capsys):
    (folder / "config.yaml").write_text(CASES["webmail"], encoding="utf-8")
    assert run(["check", "--who", "--json"]) == 0
    who = json.loads(capsys.readouterr().out)["who"]
    (site,) = who["sites"]
    assert (site["hosts"], site["protocol"]) == (["mail.example.com"], "https")
    outside, office, inside = site["from"]
    assert [origin["name"] for origin in site["from"]] == ["outside", "office (203.0.113.0/28)", "inside"]
    assert outside["paths"][1] == {
        "path": "/Microsoft-Server-ActiveSync",
        "methods": None,
        "is_exception": False,
        "access": "require_certificate",
        "observation": None,
        "rule": "Webmail and phones from outside",
        "line": 18,
        "conditions": "email *@example.com, login bound to it (email)",
    }
    assert (office["networks"], office["ipv4_addresses"], office["ipv6_addresses"]) == (["203.0.113.0/28"], 16, 0)
    assert inside["is_inside"]
    assert who["inside"]["ipv4_addresses"] == inside["ipv4_addresses"]
    assert who["warnings"] == []


def test_a_site_for_every_other_host_does_not_have_the_hosts_of_other_sites(folder, capsys):
    other = '  - {hosts: ["*"], certificate: mail.crt, key: mail.key, upstream: mail}\n'
    rules = """rules:
  - {name: Mail, hosts: [mail.example.com], action: require_certificate}
  - {name: Rest, action: deny}
"""
    text = HEAD.replace("upstreams:", f"{other}upstreams:") + rules
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    assert run(["check", "--who", "--json"]) == 0
    who = json.loads(capsys.readouterr().out)["who"]
    assert [site["hosts"] for site in who["sites"]] == [["mail.example.com"], ["every other host"]]
    assert not any("has no client_ca" in line for line in who["warnings"])


def test_nothing_is_said_of_a_file_that_cannot_be_used(folder, capsys):
    (folder / "config.yaml").write_text(CASES["webmail"].replace("action: deny", "action: none"), encoding="utf-8")
    for options in (["--who"], ["--who", "--json"]):
        assert run(["check", *options]) == 2
        assert "who" not in json.loads(capsys.readouterr().out or "{}")


def test_in_a_container_the_networks_stand_as_the_file_has_them(folder, capsys, monkeypatch):
    from gateway.config.container import Arrivals  # noqa: PLC0415

    (folder / "config.yaml").write_text(CASES["public-inside"].replace("192.0.2.0/24", "172.16.0.0/12"))
    monkeypatch.setattr("gateway.config.load.arrivals", lambda: Arrivals((ip_address("172.17.0.1"),)))
    assert run(["check", "--who"]) == 0
    told = "17,825,791 IPv4 addresses: 10.0.0.0/8, 172.16.0.0/12; without 172.17.0.1"
    assert f"\n\nInside\n  {told}\n" in capsys.readouterr().out


def test_a_narrow_terminal_has_the_rule_below(folder):
    from gateway.cli import who, who_report  # noqa: PLC0415
    from gateway.config.load import load_with_warnings  # noqa: PLC0415

    (folder / "config.yaml").write_text(CASES["opened-again"], encoding="utf-8")
    config = load_with_warnings(folder / "config.yaml").config
    lines = [line.text for line in who_report.lines_of(config, who.access_of(config, NOW), (), 80)]
    assert max(map(len, lines)) <= 80
    assert "        Phones of the board (line 19)" in lines
