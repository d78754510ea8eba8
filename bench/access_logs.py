"""`gateway logs` beside `grep -c` and goaccess, on a log of real shape that the product's own records and writer make.

`python -m bench.access_logs FILE --megabytes 5` only writes such a log.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from bench.report import Target
from gateway.facts import Identity
from gateway.logs.record import AccessRecord, ConnectionFields
from gateway.logs.request_id import PREFIX_BYTES
from gateway.logs.writer import AccessLogWriter

NAME = "logs"
MEGABYTES = 500
ROUNDS = 3
GREP_RATIO = 2.0
PACKED_RATIO = 3.0
SUMMARY_RATIO = 0.2
MEMORY_MIB = 64.0

PEOPLE = 400
BEGIN = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
REQUESTS_A_SECOND = 5.0
ASKED_USER = "person124@example.com"
_SITE = "mail.example.com"
_ACTIVESYNC = "/Microsoft-Server-ActiveSync?Cmd={command}&User={user}&DeviceId={device}&DeviceType=iPhone"
_PAGES = (
    "/webmail/",
    "/webmail/api/mail/42/inbox",
    "/webmail/skin/app.js?v=8.1",
    "/webmail/skin/logo.svg",
    "/owa/service.svc",
)
_PROBES = ("/wp-login.php", "/.env", "/cgi-bin/luci", "/autodiscover/autodiscover.xml", "/ecp/")
_BROWSER = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)
_PHONE = "Apple-iPhone17C3/2301.355"
_CLOSED = "the client closed the connection during the handshake"


# How goaccess reads the log. It has no field for reasons, certificates and devices.
_GOACCESS = (
    '{"time":"%dT%t.%^","client_ip":"%h","method":"%m","host":"%v","uri":"%U","protocol":"%H","status":"%s",'
    '"bytes_out":"%b","duration_ms":"%L","user":"%e","user_agent":"%u","referer":"%R"}'
)


class Person:
    """Somebody with a certificate, a phone, and an address that changes now and then."""

    def __init__(self, number: int, chance: random.Random) -> None:
        self.email = f"person{number}@example.com"
        self.user = self.email if number % 3 else f"EXAMPLE\\person{number}"
        self.device = hashlib.md5(self.email.encode(), usedforsecurity=False).hexdigest().upper()
        self.chance = chance
        self.identity = _identity(number, self.email)
        self.move()

    def move(self) -> None:
        where = self.chance.randrange(10)
        octets = self.chance.randrange(256), self.chance.randrange(1, 255)
        ip = f"10.1.{octets[0]}.{octets[1]}" if where < 6 else f"203.0.{octets[0]}.{octets[1]}"
        if where == 9:
            ip = f"2001:db8:{octets[0]:x}:{octets[1]:x}::17"
        self.is_inside = where < 6
        self.connection = ConnectionFields(
            client_ip=ip,
            client_port=self.chance.randrange(1024, 65536),
            listener="0.0.0.0:443",
            site=_SITE,
            tls_version="TLSv1.3",
            tls_cipher="TLS_AES_256_GCM_SHA384",
            tls_group="X25519MLKEM768",
            tls_resumed=self.chance.random() < 0.7,
            identity=None if self.is_inside else self.identity,
            config="1a2b3c4d",
        )


def _identity(number: int, email: str) -> Identity:
    now = datetime.now(UTC)
    return Identity(
        fingerprint=hashlib.sha256(email.encode()).hexdigest(),
        serial=f"{number:08X}5A77C0DE",
        subject=f"CN=Person {number},O=Example Ltd,C=DE",
        issuer="CN=Example Issuing CA,O=Example Ltd,C=DE",
        rdns=(),
        common_name=f"Person {number}",
        emails=(email,),
        upns=(),
        dns_names=(),
        uris=(),
        not_before=now,
        not_after=now,
        der=b"",
        chain_der=(),
        path_fingerprints=frozenset(),
    )


def records(seed: int = 1) -> Iterator[AccessRecord]:
    """Without end: phones that wait and fetch, webmail, a few percent refusals, strangers and dropped connections."""
    chance = random.Random(seed)
    people = [Person(number, chance) for number in range(PEOPLE)]
    prefix = chance.randbytes(PREFIX_BYTES).hex()
    now, count = BEGIN, 0
    while True:
        count += 1
        now += chance.expovariate(REQUESTS_A_SECOND)
        person = people[int(PEOPLE * chance.random() ** 2)]
        if chance.random() < 0.02:
            person.move()
        record = AccessRecord(person.connection, now, f"{prefix}{count:012x}")
        kind = chance.random()
        if kind < 0.02:
            _drop(record)
        elif kind < 0.04:
            _probe(record, chance)
        elif kind < 0.6:
            _synchronise(record, person, chance)
        else:
            _browse(record, chance)
        yield record


def _drop(record: AccessRecord) -> None:
    record.request_id = None
    record.refused(f"handshake_failed: {_CLOSED}", _CLOSED)


def _probe(record: AccessRecord, chance: random.Random) -> None:
    _ask(record, "GET", chance.choice(_PROBES), "curl/8.5.0")
    record.connection = ConnectionFields(
        client_ip=f"198.51.100.{chance.randrange(256)}",
        client_port=40000,
        listener="0.0.0.0:443",
        site=_SITE,
        config=record.config,
    )
    record.status, record.rule, record.decision = 403, "Outside with a certificate", "require_certificate"
    record.refused("certificate_missing", "the client sent no certificate")


def _synchronise(record: AccessRecord, person: Person, chance: random.Random) -> None:
    command = chance.choice(("Ping", "Ping", "Sync", "ItemOperations", "FolderSync"))
    uri = _ACTIVESYNC.format(
        command=command, user=person.user.replace("@", "%40").replace("\\", "%5C"), device=person.device
    )
    _ask(record, "POST", uri, _PHONE)
    record.user, record.device_id, record.login = person.user, person.device, "basic"
    _serve(record, person, chance)
    if command == "Ping":
        record.duration_ms = chance.uniform(1000, 900_000)


def _browse(record: AccessRecord, chance: random.Random) -> None:
    _ask(record, "GET", chance.choice(_PAGES), _BROWSER)
    record.referer = f"https://{_SITE}/webmail/"
    record.login = "none"
    _serve(record, None, chance)


def _serve(record: AccessRecord, person: Person | None, chance: random.Random) -> None:
    is_inside = record.connection.identity is None
    record.rule = "Inside without a certificate" if is_inside else "Outside with a certificate"
    record.decision = "allow" if is_inside else "require_certificate"
    record.duration_ms = chance.expovariate(1 / 40)
    if not is_inside and chance.random() < 0.02:
        record.status = 403
        record.refused(
            "certificate_expired", f"the certificate was valid until 2026-10-31, {chance.randrange(24)} hours ago"
        )
        return
    record.status = record.upstream_status = 401 if person is not None and chance.random() < 0.01 else 200
    record.bytes_out = int(chance.expovariate(1 / 8000))
    record.upstream, record.upstream_ms = "https://10.0.0.5:443", record.duration_ms * 0.9


def _ask(record: AccessRecord, method: str, uri: str, user_agent: str) -> None:
    record.method, record.host, record.uri, record.protocol = method, _SITE, uri, "HTTP/1.1"
    record.user_agent = user_agent
    record.bytes_in = 0 if method == "GET" else 120


def write_log(path: Path, megabytes: float) -> int:
    """A log of this size; returns the number of its lines."""
    writer = AccessLogWriter(path)
    left, count = int(megabytes * 1e6), 0
    for record in as_they_end(records()):
        line = record.to_json_line()
        writer.write(line)
        left -= len(line)
        count += 1
        if left <= 0:
            break
    writer.close()
    return count


def as_they_end(begun: Iterable[AccessRecord]) -> Iterator[AccessRecord]:
    """In the order in which their lines are written: a Ping's comes many minutes after it began."""
    under_way: list[tuple[float, int, AccessRecord]] = []
    for number, record in enumerate(begun):
        while under_way and under_way[0][0] <= record.now:
            yield heapq.heappop(under_way)[2]
        heapq.heappush(under_way, (record.now + (record.duration_ms or 0.0) / 1000, number, record))


@dataclass(frozen=True)
class Read:
    """What one command took for the log."""

    what: str
    seconds: float  # of CPU, user and system; for summaries, on the clock
    beside: str
    beside_seconds: float
    limit: float
    mib: float  # the most memory that it held
    lines: int

    @property
    def ratio(self) -> float:
        return self.seconds / self.beside_seconds


def measure(folder: Path, megabytes: float) -> list[Read]:
    """Each filter beside grep, then the packed log beside the plain one."""
    path = folder / "access.jsonl"
    write_log(path, megabytes)
    reads = [
        _beside_grep(["--user", ASKED_USER], ASKED_USER, path),
        _beside_grep(["--ip", "198.51.100.7"], "198.51.100.7", path),
        _beside_grep(["--reason", "certificate_expired"], "certificate_expired", path),
        _beside_grep(["--status", "401"], '"status":401', path),
        _beside_grep(["--uri", "/ecp"], '"uri":"/ecp', path),
    ]
    for program, suffix in (("gzip", ".gz"), ("zstd", ".zst")):
        packed = folder / f"access.jsonl{suffix}"
        _pack(program, path, packed)
        seconds, mib, lines = _cheapest(_gateway(["--user", ASKED_USER], packed))
        reads.append(Read(f"--user, {program}", seconds, "plain", reads[0].seconds, PACKED_RATIO, mib, lines))
        packed.unlink()
    if shutil.which("goaccess") is None:
        print("Without goaccess beside gateway logs --summary: it is not installed (apt-get install goaccess)")
    else:
        reads.append(_beside_goaccess(path, folder / "goaccess.json"))
    path.unlink()
    return reads


def _beside_goaccess(path: Path, output: Path) -> Read:
    ours = min(_run(_gateway(["--summary"], path)) for _ in range(ROUNDS))
    command = ["goaccess", str(path), "--no-global-config", "--no-progress", "--log-format", _GOACCESS]
    command += ["--date-format", "%Y-%m-%d", "--time-format", "%H:%M:%S", "-o", str(output)]
    theirs = min(_run(command) for _ in range(ROUNDS))
    return Read("--summary, elapsed", ours.elapsed, "goaccess", theirs.elapsed, SUMMARY_RATIO, ours.mib, ours.lines)


def _beside_grep(options: list[str], text: str, path: Path) -> Read:
    seconds, mib, lines = _cheapest(_gateway(options, path))
    grep, _, _ = _cheapest(["grep", "-c", text, str(path)])
    return Read(" ".join(options), seconds, "grep -c", grep, GREP_RATIO, mib, lines)


def _gateway(options: list[str], path: Path) -> list[str]:
    return [sys.executable, "-m", "gateway", "logs", str(path), *options, "--json"]


def _cheapest(command: Sequence[str]) -> tuple[float, float, int]:
    """CPU seconds, MiB and lines of output, of the cheapest of some rounds: what disturbs only adds."""
    _, seconds, mib, lines = min((_run(command) for _ in range(ROUNDS)), key=lambda run: run.seconds)
    return seconds, mib, lines


class Run(NamedTuple):
    """What one run of a command took."""

    elapsed: float  # seconds
    seconds: float  # of CPU
    mib: float
    lines: int


def _run(command: Sequence[str]) -> Run:
    with tempfile.TemporaryFile() as output:
        begin = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        elapsed = time.monotonic() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
        output.seek(0)
        lines = sum(block.count(b"\n") for block in iter(lambda: output.read(1 << 20), b""))
    return Run(elapsed, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, lines)


def _pack(program: str, path: Path, packed: Path) -> None:
    if program == "gzip":
        from isal import igzip  # noqa: PLC0415 - beside the other

        opened = igzip.open(packed, "wb")
    else:
        from backports import zstd  # noqa: PLC0415 - beside the other

        opened = zstd.open(packed, "wb")
    with path.open("rb") as plain, opened as file:
        while block := plain.read(1 << 20):
            file.write(block)


def targets(reads: Sequence[Read]) -> list[Target]:
    found = [Target(f"gateway logs {each.what}", each.limit, each.ratio, f"× {each.beside}") for each in reads]
    return [*found, Target("gateway logs, memory", MEMORY_MIB, max(each.mib for each in reads), "MiB")]


def table(reads: Sequence[Read]) -> Table:
    result = Table(title="Reading the access log: CPU seconds", title_justify="left")
    for column in ("", "s", "beside", "s", "ratio", "MiB", "lines"):
        result.add_column(column, justify="left" if column in ("", "beside") else "right", no_wrap=True)
    for each in reads:
        result.add_row(
            each.what,
            f"{each.seconds:.2f}",
            each.beside,
            f"{each.beside_seconds:.2f}",
            f"{each.ratio:.2f}",
            f"{each.mib:.0f}",
            f"{each.lines:,}",
        )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.access_logs", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--megabytes", type=float, default=MEGABYTES, help="its size (default %(default)s)")
    arguments = parser.parse_args()
    begin = time.monotonic()
    count = write_log(arguments.file, arguments.megabytes)
    print(f"{arguments.file}: {count:,} lines in {time.monotonic() - begin:.1f} s")


if __name__ == "__main__":
    main()
