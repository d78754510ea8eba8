"""`gateway logs` beside `grep -c` and goaccess, on logs of real shape that the product's own records and writer make.

`python -m bench.access_logs FILE --megabytes 5` (or `--lines 10000`) only writes such a log.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import itertools
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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
PIPED_LINES = 1_000_000  # by default, which takes seconds
ROUNDS = 3  # the cheapest counts: what disturbs only adds
LARGE_BYTES = 2_000_000_000  # a log as large as this is read once
# Of which a piped log consists, again and again. The block is small: what this process holds when it starts another one
# counts as that one's memory (getrusage).
PIPED_BLOCK_LINES = 4_000
GREP_RATIO = 2.0
PACKED_RATIO = 3.0
SUMMARY_RATIO = 0.2
MEMORY_MIB = 64.0

PEOPLE = 400
BEGIN = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
REQUESTS_A_SECOND = 5.0
ASKED_USER = "person124@example.com"
# Options, and the text that `grep -c` counts for them.
FILTERS = (
    (("--user", ASKED_USER), ASKED_USER),
    (("--ip", "198.51.100.7"), "198.51.100.7"),
    (("--reason", "certificate_expired"), "certificate_expired"),
    (("--status", "401"), '"status":401'),
    (("--uri", "/ecp"), '"uri":"/ecp'),
    (("--until", "2026-11-01T00:10:00Z"), '"time":"2026-11-01T00:0'),
)
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
_GATEWAY = (sys.executable, "-m", "gateway", "logs")
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


def write_log(path: Path, megabytes: float = math.inf, lines: float = math.inf) -> int:
    """A log of this size, or of so many lines; returns the number of its lines."""
    writer = AccessLogWriter(path)
    left, count = megabytes * 1e6, 0
    for record in as_they_end(records()):
        line = record.to_json_line()
        writer.write(line)
        left -= len(line)
        count += 1
        if left <= 0 or count >= lines:
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
    """What one command took for a log."""

    log: str
    what: str
    seconds: float  # of CPU, user and system; for summaries, on the clock
    beside: str
    beside_seconds: float | None  # None: nothing stands beside it
    limit: float
    mib: float  # the most memory that one of its processes held
    lines: int  # of its output

    @property
    def ratio(self) -> float | None:
        return None if self.beside_seconds is None else self.seconds / self.beside_seconds


@dataclass(frozen=True)
class Sizes:
    """Of the logs that are read; 0 leaves one out."""

    megabytes: float = MEGABYTES
    lines: int = 0  # of a second log
    piped_lines: int = PIPED_LINES


def measure(folder: Path, sizes: Sizes) -> list[Read]:
    """Filters beside grep and summaries beside goaccess; packed logs beside plain ones; and a log that is piped in."""
    if shutil.which("goaccess") is None:
        print("Without goaccess beside gateway logs --summary: it is not installed (apt-get install goaccess)")
    path = folder / "access.jsonl"
    reads: list[Read] = []
    if sizes.megabytes:
        write_log(path, megabytes=sizes.megabytes)
        reads += [*_plain(f"{sizes.megabytes:,g} MB", path), *_packed(f"{sizes.megabytes:,g} MB", path)]
        path.unlink()
    if sizes.lines:
        write_log(path, lines=sizes.lines)
        reads += _plain(f"{sizes.lines:,} lines", path)
        path.unlink()
    if sizes.piped_lines:
        block = _block(folder)
        for options in (["--user", ASKED_USER, "--json"], ["--summary"]):
            run = _run([*_GATEWAY, "-", *options], piped=(block, sizes.piped_lines))
            log = f"{sizes.piped_lines:,} lines, piped"
            reads.append(Read(log, options[0], run.seconds, "", None, 0.0, run.mib, run.lines))
    return reads


def _plain(log: str, path: Path) -> list[Read]:
    reads = []
    for options, text in FILTERS:
        ours = _cheapest([*_GATEWAY, str(path), *options, "--json"], path)
        grep = _cheapest(["grep", "-c", text, str(path)], path)
        reads.append(
            Read(log, " ".join(options), ours.seconds, "grep -c", grep.seconds, GREP_RATIO, ours.mib, ours.lines)
        )
    return [*reads, _summary(log, path)]


def _packed(log: str, path: Path) -> Iterator[Read]:
    options = ["--user", ASKED_USER, "--json"]
    plain = _cheapest([*_GATEWAY, str(path), *options], path)
    for program, suffix in (("gzip", ".gz"), ("zstd", ".zst")):
        packed = path.with_name(path.name + suffix)
        _pack(program, path, packed)
        run = _cheapest([*_GATEWAY, str(packed), *options], packed)
        yield Read(log, f"--user, {program}", run.seconds, "plain", plain.seconds, PACKED_RATIO, run.mib, run.lines)
        packed.unlink()


def _summary(log: str, path: Path) -> Read:
    ours = _cheapest([*_GATEWAY, str(path), "--summary"], path, key=lambda run: run.elapsed)
    theirs = None
    if shutil.which("goaccess") is not None:
        command = ["goaccess", str(path), "--no-global-config", "--no-progress", "--log-format", _GOACCESS]
        command += ["--date-format", "%Y-%m-%d", "--time-format", "%H:%M:%S"]
        command += ["-o", str(path.with_name("goaccess.json"))]
        theirs = _cheapest(command, path, key=lambda run: run.elapsed).elapsed
    return Read(log, "--summary, elapsed", ours.elapsed, "goaccess", theirs, SUMMARY_RATIO, ours.mib, ours.lines)


def _block(folder: Path) -> bytes:
    path = folder / "block.jsonl"
    write_log(path, lines=PIPED_BLOCK_LINES)
    block = path.read_bytes()
    path.unlink()
    return block


def _cheapest(command: Sequence[str], path: Path, key: Callable[[Run], float] = lambda run: run.seconds) -> Run:
    rounds = 1 if path.stat().st_size >= LARGE_BYTES else ROUNDS
    return min((_run(command) for _ in range(rounds)), key=key)


class Run(NamedTuple):
    """What one run of a command took."""

    elapsed: float  # seconds
    seconds: float  # of CPU
    mib: float
    lines: int


def _run(command: Sequence[str], piped: tuple[bytes, int] | None = None) -> Run:
    """Run it. `piped`: lines that are its input again and again, until there were so many."""
    with tempfile.TemporaryFile() as output:
        begin = time.monotonic()
        stdin = subprocess.DEVNULL if piped is None else subprocess.PIPE
        process = subprocess.Popen(command, stdin=stdin, stdout=output, bufsize=0)
        if process.stdin is not None and piped is not None:
            with process.stdin as pipe:
                _pour(*piped, pipe.fileno())
        _, status, usage = os.wait4(process.pid, 0)
        elapsed = time.monotonic() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
        output.seek(0)
        lines = sum(block.count(b"\n") for block in iter(lambda: output.read(1 << 20), b""))
    return Run(elapsed, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, lines)


def _pour(block: bytes, lines: int, descriptor: int) -> None:
    whole, rest = divmod(lines, block.count(b"\n"))
    last = b"".join(block.splitlines(keepends=True)[:rest])
    for each in itertools.chain(itertools.repeat(block, whole), [last]):
        view = memoryview(each)
        while view:
            view = view[os.write(descriptor, view) :]


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
    found = [
        Target(f"gateway logs {each.what}, {each.log}", each.limit, each.ratio, f"× {each.beside}")
        for each in reads
        if each.ratio is not None
    ]
    memory = {each.log: max(other.mib for other in reads if other.log == each.log) for each in reads}
    return [*found, *(Target(f"gateway logs, memory, {log}", MEMORY_MIB, mib, "MiB") for log, mib in memory.items())]


def table(reads: Sequence[Read]) -> Table:
    result = Table(title="Reading the access log: CPU seconds", title_justify="left")
    for column in ("log", "", "s", "beside", "s", "ratio", "MiB", "lines"):
        result.add_column(column, justify="left" if column in ("log", "", "beside") else "right", no_wrap=True)
    for each in reads:
        result.add_row(
            each.log,
            each.what,
            f"{each.seconds:.2f}",
            each.beside,
            "" if each.beside_seconds is None else f"{each.beside_seconds:.2f}",
            "" if each.ratio is None else f"{each.ratio:.2f}",
            f"{each.mib:.0f}",
            f"{each.lines:,}",
        )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.access_logs", description=__doc__)
    parser.add_argument("file", type=Path)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--megabytes", type=float, default=MEGABYTES, help="its size (default %(default)s)")
    size.add_argument("--lines", type=int, help="the number of its lines, instead")
    arguments = parser.parse_args()
    begin = time.monotonic()
    megabytes = arguments.megabytes if arguments.lines is None else math.inf
    count = write_log(arguments.file, megabytes, arguments.lines or math.inf)
    print(f"{arguments.file}: {count:,} lines in {time.monotonic() - begin:.1f} s")


if __name__ == "__main__":
    main()
