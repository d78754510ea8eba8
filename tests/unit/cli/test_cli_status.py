"""`gateway status`, as a user calls it, against a server that answers what a test wants."""

import json
import os
import socket
import socketserver
import threading

import pytest
from support.admin_state import a_state, authority, ending, helper, lockout, registry, server, trouble, worker

from gateway.admin.state import RESTART
from gateway.cli import status_client
from gateway.cli.app import run
from gateway.cli.status_report import SHOWN_LOCKOUTS


class Answering(socketserver.ThreadingTCPServer):
    """Sends `answer` to whoever asks, and keeps what was asked."""

    daemon_threads = True
    answer = b""

    def __init__(self):
        self.asked = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        asked = self.request.recv(65536)
        if asked.startswith(b"POST "):
            while not asked.endswith(b"}"):  # http.client sends the body by itself
                asked += self.request.recv(65536)
        self.server.asked.append(asked)
        self.request.sendall(self.server.answer)


@pytest.fixture
def admin():
    with Answering() as answering:
        thread = threading.Thread(target=answering.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield answering
        answering.shutdown()
        thread.join()


@pytest.fixture
def status(admin, tmp_path, monkeypatch, capsys):
    """Runs `gateway status` where `admin` is the gateway; (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    address = f"127.0.0.1:{admin.server_address[1]}"
    (tmp_path / "config.yaml").write_text(f'admin: {{address: "{address}"}}\n')

    def call(state=None, *options, answer=None):
        body = json.dumps(state).encode()
        admin.answer = (
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body) if answer is None else answer
        )
        code = run(["status", *options])
        out, err = capsys.readouterr()
        return code, out, err.replace(address, "ADDRESS")

    return call


def test_all_is_well(status, admin):
    code, out, err = status(a_state())
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "gateway 1.2.3, up 1 h 0 min, process 100",
        "configuration",
        "  /etc/gateway/config.yaml, read 2026-11-24 10:00:00 UTC; 4 reloads, 0 refused",
        "workers",
        "  2 of 2 answer, 6 connections, 0 replaced",
        "       101  since 2026-11-24 10:00:00 UTC  3 connections, 30 files",
        "       102  since 2026-11-24 10:00:00 UTC  3 connections, 30 files",
        "       103  since 2026-11-24 10:00:00 UTC  publisher, 1 replaced",
        "traffic since the start",
        "  100 passed, 5 refused: certificate_missing 5",
        "  handshakes: 10 full, 4 resumed, 2 failed",
        "sites",
        "  mail.example.com, *.mail.example.com to mail",
        "    certificate  CN=mail.example.com: ends 2027-11-24 11:00:00 UTC, 365 d 0 h left",
        "    client CA    CN=Root: ends 2027-11-24 11:00:00 UTC, 365 d 0 h left",
        "    CRL          /etc/gateway/root.crl: ends 2027-11-24 11:00:00 UTC, 365 d 0 h left",
        "upstreams",
        "  mail  https://10.0.0.5:443  1 busy, 2 idle, up",
    ]
    assert admin.asked[0].startswith(b"GET /status HTTP/1.1\r\nHost: 127.0.0.1:")


def test_rules_in_observation_are_named(status):
    outlook = "from 1 March 2027 on (00:00 UTC), requests without a certificate are refused"
    rule = {"rule": "Out\x1bside", "line": 31, "refuses_from": "2027-03-01T00:00:00.000Z", "outlook": outlook}
    code, out, err = status(a_state(observation=[{**rule, "count": 1412}]))
    assert (code, err) == (0, "")
    lines = out.splitlines()
    at = lines.index("rules in observation")
    assert lines[at + 1 : at + 4] == [
        f"  Out\\x1bside, line 31: {outlook}",
        "    1,412 such requests let in since the start, 'observed' in the access log",
        "sites",
    ]


def test_json_is_the_state_and_the_problems(status):
    code, out, _ = status(a_state(), "--json")
    assert (code, json.loads(out)) == (0, {**a_state(), "problems": []})


def refused(error):
    return {**a_state()["reload"], "refused": 1, "refused_at": "2026-11-24T10:30:00.000Z", "error": error}


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        (
            {"reload": refused(f"config.yaml: listen cannot change; restart the gateway ({RESTART})")},
            [
                "the newest reload was refused, and the old configuration stays in use; restart the gateway for this:",
                "  config.yaml: listen cannot change; restart the gateway (systemctl restart gateway)",
            ],
        ),
        (
            {"reload": refused("config.yaml:3:1: a: wrong; mend it\nconfig.yaml:9:1: b: wrong; mend it")},
            [
                "the newest reload was refused, and the old configuration stays in use; correct this and send SIGHUP:",
                "  config.yaml:3:1: a: wrong; mend it",
                "  config.yaml:9:1: b: wrong; mend it",
            ],
        ),
        (
            {"helpers": [helper(pid=None, started=None)]},
            ["the publisher is not running; a new one is being started, the log says why it ended"],
        ),
        (
            {"helpers": [helper()]},
            ["the publisher (process 103) does not answer; it is replaced after twenty seconds"],
        ),
        (
            {"workers": [worker(101)]},
            ["1 worker missing; new ones are being started, the log says why the others ended"],
        ),
        (
            {"workers": [worker(101), worker(102, is_answering=False, report_age_seconds=75.2)]},
            ["worker 102 does not answer (its last report is 1 min 15 s old); it is replaced after ten seconds"],
        ),
        (
            {"workers": [worker(101), worker(102, is_answering=False, report_age_seconds=None)]},
            ["worker 102 does not answer (it has not reported yet); it is replaced after ten seconds"],
        ),
        (
            {"workers": [worker(101), worker(102, reload_error="no memory")]},
            ["worker 102 uses an older configuration: no memory; send SIGHUP again"],
        ),
        (
            {"workers": [worker(101, lists_behind_seconds=5.0), worker(102, lists_behind_seconds=5.5)]},
            [
                (
                    "worker 102 has been without the newest revocation lists for 5 s: it has given no reason; "
                    "it is told again, and replaced after a minute"
                ),
            ],
        ),
        (
            {"workers": [worker(101), worker(102, lists_behind_seconds=9.0, lists_error="no memory")]},
            [
                (
                    "worker 102 has been without the newest revocation lists for 9 s: no memory; "
                    "it is told again, and replaced after a minute"
                ),
            ],
        ),
        (
            {"workers": [worker(101, open_files=921), worker(102, open_files=922)]},
            ["worker 102 has 922 of 1,024 files open; raise LimitNOFILE and restart the gateway"],
        ),
        (
            {"list_problems": ["/etc/corp.crl: no revocation list is in it; use PEM or DER CRLs"]},
            [
                (
                    "/etc/corp.crl: no revocation list is in it; use PEM or DER CRLs; until then the last good list "
                    "is used, without newer revocations"
                ),
            ],
        ),
        (
            {"registry": registry(troubles=[trouble()])},
            [
                "authority 'corp': the passphrase is wrong; correct it",
                (
                    "  since 2026-11-24 10:58:00 UTC; the next attempt is 2026-11-24 11:01:00 UTC, "
                    "or at once after a reload (SIGHUP)"
                ),
            ],
        ),
        (
            {"registry": registry(problems=["the authority 'old' was revoked; put another one in its place"])},
            ["the authority 'old' was revoked; put another one in its place"],
        ),
        (
            {"registry": registry(is_silent=True)},
            ["the keeper is not reporting, so no list is renewed; read the gateway's log, or restart the gateway"],
        ),
        (
            {"is_serving": False},
            ["no worker serves; read in the gateway's log why, or restart the gateway"],
        ),
        (
            {"is_serving": False, "is_stopping": True},
            ["the gateway is stopping; it finishes open requests and takes no new connections"],
        ),
    ],
)
def test_what_calls_for_somebody_is_told_with_a_remedy_and_fails(status, changes, lines):
    code, out, _ = status(a_state(**changes), "--json")
    assert (code, json.loads(out)["problems"]) == (1, lines)
    code, out, _ = status(a_state(**changes))
    assert code == 1
    assert out.endswith("\n".join(["problems", *(f"  {line}" for line in lines), ""]))


def test_what_a_restart_would_not_mend_is_shown_and_does_not_fail(status):
    state = a_state(
        warnings=["CN=Root ends soon; renew it"],
        upstreams={"mail": [server(up_in=0, cause="refused"), server(up_in=1), server(up_in=0, workers=0)]},
        dropped_log_lines=1234,
    )
    state["sites"][0]["certificate"] = ending("CN=a", seconds_left=-60.0)
    state["sites"][0]["client_cas"] = [ending("CN=b", seconds_left=86400.0)]
    code, out, _ = status(state)
    assert code == 0
    assert "1,234 lines of the access log were lost; the error log says why" in out
    assert "CN=a: ends 2027-11-24 11:00:00 UTC, ended 1 min 0 s ago" in out
    assert "CN=b: ends 2027-11-24 11:00:00 UTC, 1 d 0 h left" in out
    assert "1 busy, 2 idle, down for 2 of 2 workers: refused" in out
    assert "1 busy, 2 idle, down for 1 of 2 workers\n" in out
    assert "1 busy, 2 idle, no report yet" in out
    assert "warnings\n  CN=Root ends soon; renew it\n" in out


def test_what_refuses_clients_is_a_problem(status):
    line = "mail: a.crl: the revocation list expired: all certificates of 'CN=Root' are refused; publish a new one"
    code, out, _ = status(a_state(outages=[line]))
    assert code == 1
    assert out.endswith(f"problems\n  {line}\n")
    code, out, _ = status(a_state(outages=[line]), "--json")
    assert (code, json.loads(out)["problems"]) == (1, [line])
    older = a_state()
    del older["outages"]
    assert status(older)[0] == 0


def test_a_registry_that_is_kept_is_shown(status):
    alice = {"serial": "0AB1", "name": "Alice", "email": "alice@example.com", "authority": "corp"}
    alice |= {"ends": "2026-11-25T11:00:00.000Z", "seconds_left": 86400.0}
    kept = registry(
        authorities=[
            authority(),
            authority("old", is_kept=False, list_seconds_left=-60.0, certificates={}),
            authority("new", list_ends=None, list_seconds_left=None, certificates={}),
        ],
        ending=[{"within_seconds": 2_592_000.0, "count": 2}, {"within_seconds": 86_400.0, "count": 1}],
        next=[alice, {**alice, "email": None}],
        mails={"sent": 1200, "refused": 1},
        notifications={"is_up": True, "since": "2026-11-24T10:59:30.000Z", "cause": None},
    )
    code, out, _ = status(a_state(registry=kept))
    lines = out.splitlines()
    assert code == 0
    assert lines[lines.index("certificate registry") :] == [
        "certificate registry",
        "  read 2026-11-24 10:59:30 UTC",
        "  corp: 3 expired, 1,234 live",
        "    list 7: ends 2026-12-24 11:00:00 UTC, 30 d 0 h left; renewed by the gateway",
        "  old: no certificates",
        "    list 7: ends 2026-12-24 11:00:00 UTC, ended 1 min 0 s ago; renewed by 'gateway ca crl'",
        "  new: no certificates",
        "    no revocation list yet",
        "  end without a successor: 2 within 30 d 0 h, 1 within 1 d 0 h",
        "    0AB1  alice@example.com: ends 2026-11-25 11:00:00 UTC, 1 d 0 h left",
        "    0AB1  Alice: ends 2026-11-25 11:00:00 UTC, 1 d 0 h left",
        "  mails since the keeper's start: 1,200 sent, 1 refused",
        "  other machines' revocations arrive at once, since 2026-11-24 10:59:30 UTC",
    ]
    for cause, shown in (("the server is \x1baway", "the server is \\x1baway"), (None, "not connected yet")):
        lost = {"is_up": False, "since": "2026-11-24T10:59:30.000Z", "cause": cause}
        code, out, _ = status(a_state(registry=registry(notifications=lost)))
        assert code == 0
        assert f"  other machines' revocations arrive seconds later, since 2026-11-24 10:59:30 UTC: {shown}\n" in out
    code, out, _ = status(a_state(registry=registry(looked=None, authorities=[], ending=[])))
    assert (code, "  not read yet\n" in out) == (0, True)


def test_an_older_gateway_tells_of_no_problems_of_the_registry(status):
    kept = registry()
    del kept["problems"]
    assert status(a_state(registry=kept))[0] == 0


def test_an_older_gateway_tells_of_no_registry(status):
    state = a_state()
    del state["registry"]
    code, out, _ = status(state)
    assert (code, "registry" in out) == (0, False)


def test_where_a_servers_name_leads_is_shown(status):
    named = server("https://mail.lan:443", addresses=["10.0.0.5", "fd00::5"])
    _, out, _ = status(a_state(upstreams={"mail": [named]}))
    assert out.endswith("  mail  https://mail.lan:443 (10.0.0.5, fd00::5)  1 busy, 2 idle, up\n")


def test_an_older_gateway_tells_of_neither_addresses_nor_lockouts(status):
    older = a_state()
    del older["lockouts"], older["upstreams"]["mail"][0]["addresses"]
    assert status(older) == status(a_state())


def test_a_draining_worker_a_refused_time_and_an_idle_gateway(status):
    quiet = {"answers": [], "uptime_seconds": 5, "reload": refused("x")}
    code, out, _ = status(a_state(workers=[worker(101, is_draining=True), worker(102)], **quiet))
    assert code == 1
    assert "3 connections, 30 files, draining" in out
    assert "the newest change was refused 2026-11-24 10:30:00 UTC" in out
    assert "  0 passed, 0 refused\n" in out
    assert "up 5 s" in out


def test_nothing_in_a_name_moves_the_cursor(status):
    _, out, _ = status(a_state(config="/etc/\x1b[2J.yaml", warnings=["a\rb\u202ec"]))
    assert "\x1b" not in out
    assert "/etc/\\x1b[2J.yaml" in out
    assert "a\\rb\\u202ec" in out


def test_health_is_ok_or_not(status, admin):
    assert status(None, "--health", answer=b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") == (0, "ok\n", "")
    assert admin.asked[0].startswith(b"GET /healthz ")
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\nok\nproblem: a\x1b[2J ends"
    assert status(None, "--health", answer=said) == (0, "ok\nproblem: a[2J ends\n", "")
    unwell = b"HTTP/1.1 503 No\r\nContent-Length: 17\r\n\r\nno worker answers"
    assert status(None, "--health", answer=unwell) == (
        1,
        "",
        (
            "gateway: ADDRESS answers 503: 'no worker answers'\n"
            "  Read the gateway's log; restart the gateway if it hangs.\n"
        ),
    )


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull", "another program answers on ADDRESS"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "another program answers on ADDRESS"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<html", "another program answers on ADDRESS"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{", "another program answers on ADDRESS"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            "ADDRESS answers 302: ''",
        ),
        (b"", "ADDRESS: Remote end closed connection without response"),
        (b"220 smtp.example.com ESMTP\r\n", "the program on ADDRESS does not speak HTTP"),
        (b"\n", "the program on ADDRESS does not speak HTTP"),
        (b"HTTP/1.1 500 \x1b[2J\r\nContent-Length: 4\r\n\r\n\x1b[2J", "ADDRESS answers 500: '\\x1b[2J'"),
    ],
)
def test_what_is_no_gateway_is_told(status, answer, cause):
    code, out, err = status(None, answer=answer)
    assert (code, out) == (1, "")
    assert err.startswith(f"gateway: {cause}")
    assert err.count("\n") == 2


def test_an_endless_answer_is_not_read_to_its_end(status, monkeypatch):
    monkeypatch.setattr(status_client, "MAX_ANSWER_BYTES", 100)
    for size, said in ((100, "another program answers"), (101, "is too long")):
        answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * size
        code, _, err = status(None, answer=answer)
        assert code == 1
        assert said in err


def test_a_gateway_that_says_nothing_is_not_waited_for_forever(monkeypatch, capsys):
    monkeypatch.setattr(status_client, "ANSWER_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert run(["status", "--address", address]) == 1
    assert capsys.readouterr().err == (
        f"gateway: {address}: no answer within 0.05 s\n  Read the gateway's log; restart the gateway if it hangs.\n"
    )


def test_the_environments_proxy_is_not_used(status, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert status(a_state())[0] == 0


@pytest.mark.parametrize("host", ["", "0.0.0.0", "[::]"])
def test_a_gateway_that_listens_everywhere_is_asked_on_loopback(host):
    admin = status_client.admin_address("nowhere", f"{host}:9444")
    assert status_client._host(admin.host) in ("127.0.0.1", "::1")


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("workers: 2\n", (), (2, "there is no `admin` section")),
        ('admin: {address: "127.0.0.1:0"}\n', (), (2, "Give --address HOST:PORT, or")),
        ("rules: [}\n", (), (2, "not valid YAML")),
        ("workers: 2\n", ("--address", "nowhere"), (2, "--address: 'nowhere' has no port")),
        ("workers: 2\n", ("--health",), (2, "there is no `admin` section")),
        ('admin: {address: "127.0.0.1:1"}\n', (), (1, "no gateway answers on 127.0.0.1:1: Connection refused")),
        ('listen: [{address: "127.0.0.1:1"}]\n', ("--health",), (1, "no gateway answers on 127.0.0.1:1")),
    ],
)
def test_where_nobody_can_be_asked_a_remedy_is_told(tmp_path, monkeypatch, capsys, text, options, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(text)
    code, said = expected
    assert run(["status", *options]) == code
    out, err = capsys.readouterr()
    assert (out, said in err) == ("", True)


def test_without_an_admin_section_health_is_whether_the_first_listener_takes_connections(
    admin, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(f'listen: [{{address: "127.0.0.1:{admin.server_address[1]}"}}]\n')
    assert run(["status", "--health"]) == 0
    assert capsys.readouterr() == ("ok\n", "")


def test_a_helper_that_is_away_is_in_the_list_too(status):
    code, out, _ = status(a_state(helpers=[helper(pid=None, started=None)]))
    assert code == 1
    assert "  publisher: not running, 3 replaced" in out.splitlines()


def test_a_helper_that_does_not_answer_is_in_the_list_too(status):
    code, out, _ = status(a_state(helpers=[helper()]))
    assert code == 1
    assert "       103  publisher, does not answer, 3 replaced" in out.splitlines()


# lockouts


def test_who_is_locked_out_is_listed_with_the_time_that_is_left(status):
    holder = lockout("192.0.2.2", certificate="ab" * 32, holder="alice@example.com")
    shown = [lockout("192.0.2.1"), holder, {**holder, "holder": None}, lockout("2001:db8:0:1::/64", 5000)]
    _, out, _ = status(a_state(lockouts=shown))
    with_certificate = "192.0.2.2  with the certificate abababababababab"
    assert out.splitlines()[-5:] == [
        "locked out",
        "  192.0.2.1  until 2026-11-24 11:12:03 UTC, 12 min 3 s left",
        f"  {with_certificate} of alice@example.com  until 2026-11-24 11:12:03 UTC, 12 min 3 s left",
        f"  {with_certificate}  until 2026-11-24 11:12:03 UTC, 12 min 3 s left",
        "  2001:db8:0:1::/64  until 2026-11-24 11:12:03 UTC, 1 h 23 min left",
    ]


def test_a_long_list_is_cut_short_for_people_alone(status):
    many = [lockout(f"192.0.2.{number}") for number in range(SHOWN_LOCKOUTS + 2)]
    _, out, _ = status(a_state(lockouts=many))
    assert out.splitlines()[-1] == "  and 2 more; --json lists all"
    assert sum("192.0.2." in line for line in out.splitlines()) == SHOWN_LOCKOUTS
    assert json.loads(status(a_state(lockouts=many), "--json")[1])["lockouts"] == many


def answered(number, outcome, address="203.0.113.9"):
    body = json.dumps({"address": address, "outcome": outcome}).encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (number, len(body), body)


@pytest.mark.parametrize("text", ["203.0.113.9", "::ffff:203.0.113.9"])
def test_an_address_is_let_in_again(status, admin, monkeypatch, text):
    monkeypatch.setenv("SUDO_USER", "alice")
    code, out, err = status(None, "--unban", text, answer=answered(200, "lifted"))
    assert (code, out, err) == (0, "203.0.113.9 may log in again\n", "")
    head, _, body = admin.asked[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /unban HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nContent-Type: application/json\r\nX-Gateway-Command: unban" in head
    assert json.loads(body) == {"address": "203.0.113.9", "by": "alice"}


@pytest.mark.parametrize(
    ("text", "asked"), [("Alice@example.com", "alice@example.com"), ("AB:CD:EF:01:23", "abcdef0123")]
)
def test_a_certificate_is_let_in_again(status, admin, text, asked):
    assert status(None, "--unban", text, answer=answered(200, "lifted", asked))[:2] == (
        0,
        f"{asked} may log in again\n",
    )
    assert json.loads(admin.asked[0].partition(b"\r\n\r\n")[2])["address"] == asked


def test_an_ipv6_address_is_let_in_with_its_network(status, admin):
    for text in ("2001:db8:0:1::9", "2001:db8:0:1::/64"):
        code, out, _ = status(None, "--unban", text, "--json", answer=answered(200, "lifted", "2001:db8:0:1::/64"))
        assert (code, json.loads(out)) == (0, {"address": "2001:db8:0:1::/64", "outcome": "lifted"})
        assert json.loads(admin.asked.pop().partition(b"\r\n\r\n")[2])["address"] == "2001:db8:0:1::/64"


def test_who_asks_may_have_no_name(status, admin, monkeypatch):
    def nobody():
        raise KeyError

    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr(status_client.getpass, "getuser", nobody)
    status(None, "--unban", "203.0.113.9", answer=answered(200, "lifted"))
    assert json.loads(admin.asked[0].partition(b"\r\n\r\n")[2])["by"] == f"user {os.getuid()}"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            answered(404, "not_locked_out"),
            "gateway: 203.0.113.9 is not locked out\n  Run this command without --unban: it lists the lockouts.\n",
        ),
        (answered(404, "off"), "gateway: lockout is off, so no client is locked out\n"),
        (b"HTTP/1.1 503 X\r\nContent-Length: 2\r\n\r\nno", "gateway: ADDRESS answers 503: 'no'\n"),
        (b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\n[]", "gateway: ADDRESS answers 200: '[]'\n"),
    ],
)
def test_what_could_not_be_lifted_fails_and_says_why(status, answer, message):
    code, out, err = status(None, "--unban", "203.0.113.9", answer=answer)
    assert (code, out) == (1, "")
    assert err.startswith(message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--unban", "mail.example.com"],
            "gateway: --unban: 'mail.example.com' is not an IP address, e-mail address or fingerprint\n  Copy",
        ),
        (
            ["--unban", "203.0.113.0/24"],
            "gateway: --unban: '203.0.113.0/24' is not a network that is locked out as a whole\n  Write 203",
        ),
        (
            ["--unban", "203.0.113.9", "--health"],
            "gateway: --unban and --health can't be combined\n  Remove one of them.",
        ),
    ],
)
def test_what_is_no_address_is_unusable(status, admin, options, message):
    code, out, err = status(None, *options)
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert admin.asked == []
