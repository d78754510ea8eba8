"""`gateway logs`: which files it reads, what it prints where, and with which code it exits."""

from __future__ import annotations

import gzip
import json
import os
import pty
import subprocess
import sys

import pytest
from support.log_lines import BEGIN, REQUEST_ID, combined_of, identity_of, line_of

from gateway.cli import logs as command
from gateway.cli.app import run
from gateway.logs.reader import MAX_LINE_BYTES
from gateway.request_number import short_number

DROPPED = "handshake_failed: the client closed the connection during the handshake"
WHOLE_CONFIG = """\
listen: [{{address: "127.0.0.1:8443"}}]
sites: [{{hosts: [mail.example.com], certificate: none.crt, key: none.key, upstream: mail}}]
upstreams: {{mail: {{servers: ["http://127.0.0.1:8080"]}}}}
rules: [{{name: all, action: deny}}]
access_log: {{path: "{path}"}}
"""


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "access.jsonl"
    path.write_bytes(line_of(1, user="alice") + line_of(2, user="bob", status=403, reason="no_rule", detail="none"))
    return path


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """A configuration in this folder, whose certificates can't be read, with this path of the access log."""
    monkeypatch.delenv("LOGS_DIRECTORY", raising=False)

    def configure(path: str):
        config = tmp_path / "config.yaml"
        config.write_text(WHOLE_CONFIG.format(path=path))
        return str(config)

    return configure


def columns(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def test_lines_that_match_are_printed_in_columns(log, capsys):
    assert run(["logs", str(log), "--denied"]) == 0
    out, err = capsys.readouterr()
    ((_, address, status, reason, detail, _, who, _, method, uri),) = columns(out)
    assert (address, status, reason, detail, who) == ("203.0.113.9", "403", "no_rule", "none", "bob")
    assert (method, uri, err) == ("GET", "/webmail", "")


def test_nothing_found_exits_with_1(log, capsys):
    assert run(["logs", str(log), "--user", "carol"]) == 1
    assert capsys.readouterr() == ("", "")


def test_json_is_the_lines_as_they_are(log, capfdbinary):
    foreign = b'{"user" : "b\\u006fb",  "time":"2026-11-24T07:00:00Z","more":"\xc2\x9b"}\r\n'
    log.write_bytes(log.read_bytes() + foreign + line_of(3, user="bob").rstrip(b"\n"))
    assert run(["logs", str(log), "--user", "bob", "--json"]) == 0
    assert capfdbinary.readouterr().out == (
        line_of(2, user="bob", status=403, reason="no_rule", detail="none") + foreign + line_of(3, user="bob")
    )


@pytest.mark.parametrize(
    "option",
    [
        *(["--reason", "no_rule"], ["--user", "bob"], ["--cert", "Bob"], ["--ip", "192.0.2.0/24"], ["--rule", "last"]),
        *(["--site", "bob.example.com"], ["--uri", "/bob"], ["--status", "4xx"], ["--device", "B1"], ["--slow", "2s"]),
        *(["--since", "2026-11-24T07:00:02Z"], ["--request", REQUEST_ID], ["--request", short_number(REQUEST_ID)]),
        *(["--denied"], ["--observed"]),
    ],
    ids=" ".join,
)
def test_each_option_has_its_filter(tmp_path, capsys, option):
    other = line_of(1, user="alice", request_id="f" * 32)
    bob = line_of(
        2,
        client_ip="192.0.2.1",
        identity=identity_of("Bob"),
        user="bob",
        site="bob.example.com",
        uri="/bob",
        status=403,
        reason="no_rule",
        detail="none",
        observed="no_rule",
        rule="last",
        device_id="b1",
        duration_ms=2500.0,
    )
    (tmp_path / "log").write_bytes(other + bob)
    assert run(["logs", str(tmp_path / "log"), *option]) == 0
    assert [line[1] for line in columns(capsys.readouterr().out)] == ["192.0.2.1"]


def test_until(log, capsys):
    assert run(["logs", str(log), "--until", "2026-11-24T07:00:02Z"]) == 0
    assert [line[6] for line in columns(capsys.readouterr().out)] == ["alice"]


def test_a_wrong_option_says_what_to_write(log, capsys):
    assert run(["logs", str(log), "--status", "4"]) == 2
    assert capsys.readouterr() == (
        "",
        "gateway: --status: '4' is not a status\n  Write 403, or 4xx for all from 400 to 499.\n",
    )


def test_a_file_that_is_missing(tmp_path, capsys):
    assert run(["logs", str(tmp_path / "none")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_dropped_connections_are_hidden_and_counted(log, capsys):
    dropped = line_of(3, reason=DROPPED, detail=DROPPED, method=None, uri=None, status=None, request_id=None)
    log.write_bytes(log.read_bytes() + dropped * 2)
    run(["logs", str(log)])
    out, err = capsys.readouterr()
    assert len(columns(out)) == 2
    assert err == "gateway: 2 lines of connections that browsers opened and didn't need: --all shows them\n"
    for options in (["--all"], ["--json"], ["--reason", "handshake_failed"]):
        run(["logs", str(log), *options])
        out, err = capsys.readouterr()
        assert out.count("the client closed the connection") >= 2
        assert err == ""


def test_what_was_skipped_is_told(log, capsys):
    log.write_bytes(
        log.read_bytes()
        + b"torn\n"
        + b'{"reason":"'
        + b"x" * MAX_LINE_BYTES
        + b"\n"
        + combined_of(user="dora")
        + b"torn again\n"
    )
    assert run(["logs", str(log), "--denied"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "gateway: 2 lines skipped: torn, or not of an access log",
        "gateway: 1 line skipped: longer than 256 KiB",
        "gateway: 1 line in the combined format, which has nothing that --denied could find",
    ]
    run(["logs", str(log), "--user", "dora"])
    assert "combined" not in capsys.readouterr().err


def test_a_file_that_ends_early_is_told_and_exits_with_2(tmp_path, capsys):
    packed = gzip.compress(line_of(1, user="alice") * 3)
    (tmp_path / "a.gz").write_bytes(packed[:-8])
    (tmp_path / "b").write_bytes(line_of(2, user="bob"))
    assert run(["logs", str(tmp_path / "b"), str(tmp_path / "a.gz")]) == 2
    out, err = capsys.readouterr()
    assert [line[6] for line in columns(out)] == ["alice", "alice", "alice", "bob"]
    assert err.startswith(f"gateway: {tmp_path}/a.gz: not read to its end: ")


def test_without_files_the_configured_log_and_its_rotations_are_read(tmp_path, configured, capsys):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "access.jsonl").write_bytes(line_of(7200, user="new"))
    (tmp_path / "logs" / "access.jsonl.1.gz").write_bytes(gzip.compress(line_of(3600, user="middle")))
    (tmp_path / "logs" / "access.jsonl.2.gz").write_bytes(gzip.compress(line_of(0, user="old")))
    config = configured("logs/access.jsonl")
    assert run(["logs", "-c", config]) == 0
    assert [line[6] for line in columns(capsys.readouterr().out)] == ["old", "middle", "new"]
    assert run(["logs", "-c", config, "--since", "2026-11-24T08:30:00Z"]) == 0
    assert [line[6] for line in columns(capsys.readouterr().out)] == ["new"]


def test_files_that_are_over_before_since_are_not_unpacked(tmp_path, configured, capsys):
    (tmp_path / "access.jsonl.1.gz").write_bytes(gzip.compress(line_of(0, user="old") * 3)[:-8])  # would be told
    (tmp_path / "access.jsonl").write_bytes(line_of(3600, user="new"))
    assert run(["logs", "-c", configured("access.jsonl"), "--since", "2026-11-24T10:00:00Z"]) == 1
    assert capsys.readouterr() == ("", "")
    assert run(["logs", "-c", configured("access.jsonl"), "--since", "2026-11-24T08:00:00Z"]) == 2


def test_the_folder_that_systemd_gives_the_service_is_looked_in(tmp_path, configured, capsys, monkeypatch):
    services = tmp_path / "services"
    services.mkdir()
    monkeypatch.setattr(command, "LOGS_DIRECTORY", {"LOGS_DIRECTORY": str(services)})
    config = configured("${LOGS_DIRECTORY:-logs}/access.jsonl")
    assert run(["logs", "-c", config]) == 2
    err = capsys.readouterr().err
    assert err == f"gateway: {tmp_path}/logs/access.jsonl: there is no access log\n  Name the file: gateway logs FILE\n"
    (services / "access.jsonl").write_bytes(line_of(user="service"))
    assert run(["logs", "-c", config]) == 0
    assert [line[6] for line in columns(capsys.readouterr().out)] == ["service"]


def test_a_log_on_standard_output_is_not_to_be_found(configured, capsys):
    assert run(["logs", "-c", configured("-")]) == 2
    assert "journalctl -u gateway -o cat | gateway logs -" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("journald", "the journal\n  Pipe it in: journalctl -t gateway-access -o cat | gateway logs -"),
        ("syslog:10.0.0.5", "syslog:udp://10.0.0.5:514\n  Name the file that this server writes: gateway logs FILE"),
    ],
)
def test_a_log_that_another_program_keeps_is_read_from_there(configured, capsys, place, said):
    assert run(["logs", "-c", configured(place)]) == 2
    assert said in capsys.readouterr().err


def test_a_configuration_that_is_broken_says_so(tmp_path, capsys):
    (tmp_path / "config.yaml").write_text("access_log: [")
    assert run(["logs", "-c", str(tmp_path / "config.yaml")]) == 2
    assert str(tmp_path / "config.yaml") in capsys.readouterr().err


@pytest.mark.parametrize("names", [["a", "b"], ["a.gz"]])
def test_only_one_plain_file_is_followed(tmp_path, capsys, names):
    for name in names:
        (tmp_path / name).write_bytes(gzip.compress(line_of()) if name.endswith("gz") else line_of())
    assert run(["logs", "--follow", *(str(tmp_path / name) for name in names)]) == 2
    assert "--follow" in capsys.readouterr().err


class EnoughError(Exception):
    """Ends what never ends."""


def follow(monkeypatch, capsys, arguments, *steps) -> list[str]:
    """The users that `--follow` shows, with these steps before it looks again."""
    left = list(steps)

    def sleep(_):
        if not left:
            raise EnoughError
        left.pop(0)()

    monkeypatch.setattr(command.time, "sleep", sleep)
    with pytest.raises(EnoughError):
        run(["logs", "--follow", *arguments])
    return [line[6] for line in columns(capsys.readouterr().out)]


def test_follow_shows_the_last_lines_and_what_comes(log, monkeypatch, capsys):
    old = log.with_name("access.jsonl.1")
    steps = (
        lambda: log.rename(old),
        lambda: log.write_bytes(line_of(3, user="carol")),
        lambda: old.open("ab").write(b""),
    )
    assert follow(monkeypatch, capsys, [str(log)], *steps[:2]) == ["alice", "bob", "carol"]


def test_follow_since_reads_rotated_files_first(tmp_path, configured, monkeypatch, capsys):
    (tmp_path / "access.jsonl.1.gz").write_bytes(gzip.compress(line_of(0, user="old")))
    log = tmp_path / "access.jsonl"
    log.write_bytes(line_of(3600, user="new"))
    config = configured("access.jsonl")
    since = ["-c", config, "--since", BEGIN.isoformat()]
    assert follow(monkeypatch, capsys, since, lambda: log.write_bytes(log.read_bytes() + line_of(7200, user="x"))) == [
        *("old", "new", "x")
    ]
    assert follow(monkeypatch, capsys, ["-c", config]) == ["new", "x"]


def test_follow_of_standard_input_reads_it(log):
    with log.open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "logs", "--follow", "-", "--json"],
            stdin=file,
            capture_output=True,
            check=True,
            timeout=60,
        )
    assert done.stdout == log.read_bytes()


def test_a_pipe_is_shown_as_it_comes(log):
    command_line = [sys.executable, "-m", "gateway", "logs", "-", "--json"]
    with subprocess.Popen(command_line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in log.read_bytes().splitlines(keepends=True):
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline() == line
        process.stdin.close()
        assert process.wait(60) == 0


def test_a_reader_that_goes_away_ends_it_quietly(log):
    log.write_bytes(log.read_bytes() * 1000)
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command_line = [sys.executable, "-m", "gateway", "logs", str(log)]
        done = subprocess.run(command_line, stdout=writer, stderr=subprocess.PIPE, check=False, timeout=60)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def on_terminal(arguments, **environment) -> tuple[int, str]:
    """The exit code, and what a terminal of 120 columns gets."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "logs", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "COLUMNS": "120", "TZ": "UTC", "TERM": "xterm", **environment},
    )
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
    except OSError:  # the other end was closed
        pass
    os.close(ours)
    return process.wait(60), shown.decode()


def test_on_a_terminal_it_is_a_table_with_colours_and_nothing_that_acts(log):
    hostile = "evil\x1b]0;title\x07\x9b2J\u202e"
    line = json.dumps(
        {"time": "2026-11-24T07:00:03Z", "user": hostile, "uri": hostile, "status": 200}, ensure_ascii=False
    )
    log.write_bytes(log.read_bytes() * 2 + line.encode() + b"\n")
    code, shown = on_terminal([str(log)])
    assert code == 0
    assert "\x1b[31m403\x1b[0m" in shown
    assert "2026-11-24 07:00:01" in shown
    code, plain = on_terminal([str(log)], NO_COLOR="1")
    assert plain.replace("\r\n", "").isprintable()
    assert "evil" in plain
    code, as_json = on_terminal([str(log), "--json"])
    assert as_json.replace("\r\n", "").isprintable()
    assert [json.loads(line) for line in as_json.splitlines()] == [
        json.loads(line) for line in log.read_bytes().splitlines()
    ]


def test_a_summary_as_text_and_as_json(log, capsys):
    assert run(["logs", str(log), "--summary"]) == 0
    out, err = capsys.readouterr()
    assert "2 requests: 1 let in, 1 refused (50.0 %)" in out
    assert "no_rule 1" in out
    assert err == ""
    assert run(["logs", str(log), "--summary", "--json", "--user", "bob"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["requests"], found["refused"]) == (1, 1)


@pytest.mark.parametrize(("options", "refused"), [([], 0), (["--all"], 1), (["--reason", "handshake_failed"], 1)])
def test_a_summary_counts_dropped_connections_where_they_would_be_shown(tmp_path, capsys, options, refused):
    log = tmp_path / "access.jsonl"
    log.write_bytes(line_of(0, reason=DROPPED, method=None, uri=None, status=None))
    assert run(["logs", str(log), "--summary", "--json", *options]) == 0
    assert json.loads(capsys.readouterr().out)["refused"] == refused


def test_a_summary_of_nothing_and_of_a_file_that_ends_early(tmp_path, log, capsys):
    assert run(["logs", str(log), "--summary", "--user", "carla"]) == 1
    packed = tmp_path / "access.jsonl.1.gz"
    packed.write_bytes(gzip.compress(line_of(0, user="alice") * 100)[:-8])
    assert run(["logs", str(packed), str(log), "--summary"]) == 2
    out = "".join(capsys.readouterr().out.split())
    assert "access.jsonl.1.gz:notreadtoitsend" in out
    assert run(["logs", str(log), "--summary", "--follow"]) == 2
    assert "--summary needs the end of the log" in capsys.readouterr().err


def test_a_summary_knows_what_rotated_files_have_from_before_since(tmp_path, configured, capsys):
    phone = "/Microsoft-Server-ActiveSync?Cmd=Sync&User=alice&DeviceId=OLD&DeviceType=iPhone"
    older = line_of(0, user="alice", device_id="OLD", uri=phone)
    (tmp_path / "access.jsonl.1.gz").write_bytes(gzip.compress(older))
    newer = line_of(7200, user="alice", device_id="OLD", uri=phone + "&x") + line_of(7300, device_id="NEW")
    (tmp_path / "access.jsonl").write_bytes(newer)
    config = configured(str(tmp_path / "access.jsonl"))
    assert run(["logs", "-c", config, "--summary", "--json", "--since", "2026-11-24T08:00:00Z"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["device"] for each in found["first_seen"]["devices"]["rows"]] == ["NEW"]
    assert (found["requests"], found["lines"]["earlier"]) == (2, 1)
    assert [each["path"] for each in found["slowest"]["paths"]][-1] == "/webmail"


def test_a_summary_on_a_terminal_fits_it(log):
    code, shown = on_terminal([str(log), "--summary"], COLUMNS="60")
    assert code == 0
    assert "\x1b[31m" in shown
    assert "█" in shown
    code, plain = on_terminal([str(log), "--summary"], COLUMNS="60", NO_COLOR="1")
    assert max(map(len, plain.splitlines())) <= 60
    assert plain.replace("\r\n", "").isprintable()


def test_anonymised_lines_are_json_without_people_and_addresses(log, tmp_path, capfdbinary):
    log.write_bytes(log.read_bytes() + b"torn {\n")
    key = tmp_path / "key"
    key.write_text("0123456789abcdef" * 2 + "\n")
    shown = []
    for options in ([], [], ["--key-file", str(key)], ["--key-file", str(key)]):
        assert run(["logs", str(log), "--anonymise", *options]) == 0
        out, err = capfdbinary.readouterr()
        assert err == b"gateway: 1 line skipped: torn, or not of an access log\n"
        lines = [json.loads(line) for line in out.splitlines()]
        assert [line["status"] for line in lines] == [200, 403]
        for hidden in (b"alice", b"bob", b"203.0.113.9", b"mail.example.com"):
            assert hidden not in out
        shown.append(out)
    assert shown[0] != shown[1] != shown[2] == shown[3]


def test_anonymised_lines_can_be_filtered_by_what_they_were(log, capsys):
    assert run(["logs", str(log), "--anonymise", "--user", "bob"]) == 0
    assert '"reason":"no_rule"' in capsys.readouterr().out
    assert run(["logs", str(log), "--anonymise", "--user", "carol"]) == 1


def test_a_line_that_can_only_be_filtered_is_left_out(log, capfdbinary):
    log.write_bytes(log.read_bytes() + b'{"time":"2026-11-24T07:00:00Z","x":' + b"[" * 900 + b"]" * 900 + b"}\n")
    code = run(["logs", str(log), "--anonymise"])
    out, err = capfdbinary.readouterr()
    assert (code, len(out.splitlines()) + err.count(b"1 line skipped")) == (0, 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--key-file", "KEY"], "--key-file is for --anonymise"),
        (["--anonymise", "--key-file", "NONE"], "No such file"),
        (["--anonymise", "--key-file", "KEY"], "a key has from 32 to 4096 bytes"),
    ],
)
def test_a_key_that_cannot_be_used(log, tmp_path, capsys, options, words):
    (tmp_path / "key").write_text("short\n")
    named = [str(tmp_path / "key") if word == "KEY" else word for word in options]
    assert run(["logs", str(log), *named]) == 2
    assert words in capsys.readouterr().err


def test_a_summary_as_a_page(log, tmp_path, capsys):
    page = tmp_path / "summary.html"
    assert run(["logs", str(log), "--summary", "--html", str(page)]) == 0
    assert capsys.readouterr() == ("", f"gateway: {page} written\n")
    assert "1 let in, 1 refused" in page.read_text()
    assert page.stat().st_mode & 0o777 == 0o600
    assert run(["logs", str(log), "--summary", "--json", "--html", str(page), "--user", "bob"]) == 0
    assert json.loads(capsys.readouterr().out)["requests"] == 1
    assert "0 let in, 1 refused" in page.read_text()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["access.jsonl", "summary.html"]


def test_a_page_says_on_standard_error_which_file_ends_early(tmp_path, capsys):
    packed, page = tmp_path / "access.jsonl.1.gz", tmp_path / "summary.html"
    packed.write_bytes(gzip.compress(line_of(0, user="alice") * 100)[:-8])
    assert run(["logs", str(packed), "--summary", "--html", str(page)]) == 2
    assert "access.jsonl.1.gz: not read to its end" in capsys.readouterr().err


def test_a_page_replaces_nothing_but_a_page(log, tmp_path, capsys):
    before = log.read_bytes()
    assert run(["logs", str(log), "--summary", "--html", str(log)]) == 2
    assert "this file is not an HTML page, and would be overwritten" in capsys.readouterr().err
    assert log.read_bytes() == before
    assert run(["logs", str(log), "--summary", "--html", "/dev/null"]) == 2
    assert run(["logs", str(log), "--summary", "--html", str(tmp_path)]) == 2
    assert run(["logs", str(log), "--summary", "--html", str(tmp_path / "none" / "summary.html")]) == 1
    assert run(["logs", str(log), "--summary", "--anonymise"]) == 2
    assert run(["logs", str(log), "--html", str(tmp_path / "summary.html")]) == 2
    assert "Add --summary." in capsys.readouterr().err
    empty = tmp_path / "summary.html"
    empty.touch()
    assert run(["logs", str(log), "--summary", "--html", str(empty)]) == 0


def test_a_filter_imports_only_what_it_needs(tmp_path):
    """The start takes half of the time of a filter on a large file."""
    log = tmp_path / "access.jsonl"
    log.write_bytes(line_of(user="alice"))
    unneeded = {"gateway.config.load", "gateway.logs.paths", "gateway.request_number", "cryptography"}
    code = (
        f"import sys; from gateway.cli import app; app.run(['logs', {str(log)!r}, '--user', 'alice']);"
        f"sys.exit(repr(sorted({unneeded!r} & set(sys.modules))) if {unneeded!r} & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "alice" in done.stdout
