"""Commands of `gateway` in processes of their own that need not import everything first.

    done = run(["cert", "list"], cwd=folder, env=variables)     # as subprocess.run

Half a second of processor time goes into what Python imports for a command; a fork of a process that has imported it
takes some milliseconds. Each such fork has its own arguments, standard streams, folder, environment and exit
code, and runs `python -m gateway` from there on. Only /proc shows the difference: its command line and environment are
those of the process that it was forked from.

Where coverage is measured, under another interpreter, and where the environment differs in what Python or a library
reads at its start, the command is started in the usual way.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import pkgutil
import runpy
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

RUN_SECONDS = 120.0
MAX_REQUEST_BYTES = 200_000
# What Python, the C library, OpenSSL and coverage read once, when a process starts.
READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "GLIBC_", "OPENSSL_", "SSL_", "COVERAGE_")
# Imported by commands when they need them; the processes of a running gateway are always started in the usual way.
PACKAGES = ("gateway.cli", "gateway.config", "gateway.pki", "gateway.policy", "gateway.x509", "gateway.logs")
LIBRARIES = ("openpyxl", "psycopg", "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite", "ssl")
EXECUTABLE = sys.executable
UNMEASURED = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def run(
    arguments: Sequence[object],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    seconds: float = RUN_SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Run a command with nothing on standard input; its exit code and what it printed."""
    words, variables = [str(each) for each in arguments], dict(os.environ if env is None else env)
    command = [sys.executable, "-m", "gateway", *words]
    if not _fits(variables):
        return subprocess.run(
            command,
            cwd=cwd,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        code = _server().run(words, str(cwd or Path.cwd()), variables, (out.fileno(), err.fileno()), seconds)
        printed = []
        for file in (out, err):
            file.seek(0)
            printed.append(file.read().decode())
    return subprocess.CompletedProcess(command, code, *printed)


def _fits(variables: Mapping[str, str]) -> bool:
    return sys.executable == EXECUTABLE and _read_at_start(variables) == _read_at_start(UNMEASURED)


def _read_at_start(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name.startswith(READ_AT_START)}


@cache
def _server() -> _Server:
    return _Server()


class _Server:
    """The process that is forked; it ends with this one, when its socket is closed."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env=UNMEASURED,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self._end)

    def _end(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)  # also where a fork of this process still has it
        self._socket.close()
        self._process.wait()

    def run(
        self, arguments: list[str], folder: str, variables: dict[str, str], outputs: tuple[int, int], seconds: float
    ) -> int:
        """Run one command; its exit code as `subprocess` has it."""
        request = json.dumps({"arguments": arguments, "folder": folder, "variables": variables})
        assert len(request) < MAX_REQUEST_BYTES, "the environment is too large"
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb", buffering=0) as answer:
            with os.fdopen(writing, "wb") as theirs:
                socket.send_fds(self._socket, [request.encode()], [*outputs, theirs.fileno()])
            pid, deadline = int(answer.readline()), time.monotonic() + seconds
            if not select.select([answer], [], [], max(0.0, deadline - time.monotonic()))[0]:
                with suppress(ProcessLookupError):
                    os.kill(pid, 9)
                raise subprocess.TimeoutExpired(["gateway", *arguments], seconds)
            return int(answer.readline())


def _serve(control: socket.socket) -> list[str]:
    """Fork for each request. Returns in the forks only, with their arguments, when all is set up for them."""
    running: dict[int, tuple[int, int]] = {}  # file descriptor of the process → its id, where its end is told
    watching = select.poll()
    watching.register(control, select.POLLIN)
    while True:
        for descriptor, _ in watching.poll():
            if descriptor != control.fileno():
                watching.unregister(descriptor)
                pid, answer = running.pop(descriptor)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                with suppress(BrokenPipeError):
                    os.write(answer, b"%d\n" % code)
                os.close(answer)
                os.close(descriptor)
                continue
            data, descriptors, _, _ = socket.recv_fds(control, MAX_REQUEST_BYTES, 3)
            if not data:
                os._exit(0)
            out, err, answer = descriptors
            pid = os.fork()
            if not pid:
                control.close()
                for each in (*running, *(told for _, told in running.values()), answer):
                    os.close(each)
                return _set_up(json.loads(data), out, err)
            os.close(out)
            os.close(err)
            os.write(answer, b"%d\n" % pid)
            process = os.pidfd_open(pid)
            running[process] = pid, answer
            watching.register(process, select.POLLIN)


def _set_up(request: dict[str, Any], out: int, err: int) -> list[str]:
    for theirs, ours in ((out, 1), (err, 2)):
        os.dup2(theirs, ours)
        os.close(theirs)
    os.environ.clear()
    os.environ.update(request["variables"])
    time.tzset()
    os.chdir(request["folder"])
    sys.path.insert(0, request["folder"])
    arguments: list[str] = request["arguments"]
    return arguments


def _main() -> NoReturn:
    del sys.path[0]  # this folder, which has a module of the same name
    for name in PACKAGES:
        package = import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            import_module(module.name)
    for name in LIBRARIES:
        import_module(name)
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "a fork would lose the other threads"
    gc.freeze()
    sys.argv[1:] = _serve(socket.socket(fileno=int(sys.argv[1])))
    code = 1
    try:
        runpy.run_module("gateway", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    # As Python ends, but for the memory of all that was imported, which it would take long to free.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _main()
