"""Runs the demo: the sample mail server, the real gateway as a separate process, the six requests.

Keeps true: the demo listens only on loopback, and every process that it started has ended when it ends.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NoReturn

from gateway.cli import demo_mail
from gateway.cli.demo_folder import LISTEN_IPV6, folder_for, prepare
from gateway.cli.demo_report import Result, print_how_to_go_on, print_json, print_table
from gateway.cli.demo_requests import ATTEMPTS, Place, ask
from gateway.errors import OperationError

# The gateway is up within a second; busy machines need longer.
READY_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.05
STOP_SECONDS: Final = 10.0
# Lines of the gateway's log that an error message quotes.
_LINES_QUOTED: Final = 3


def run(*, is_once: bool, keep: Path | None, as_json: bool) -> bool:
    """The whole demo; True when all six requests were answered as they should be."""
    with _ended_by_sigterm(), folder_for(keep) as folder, demo_mail.running() as mail_port:
        place = prepare(folder, mail_port)
        command = [sys.executable, "-m", "gateway", "run", "--config", place.config.name]
        with gateway_running(command, place) as gateway:
            results = [Result(attempt, ask(attempt, place)) for attempt in ATTEMPTS]
            if as_json:
                print_json(results)
            else:
                print_table(results)
            if not is_once:
                with contextlib.suppress(KeyboardInterrupt):  # the usual end
                    print_how_to_go_on(place, has_ipv6=LISTEN_IPV6 in place.config.read_text(encoding="utf-8"))
                    _serve_on(gateway, place)
    return all(result.is_right for result in results)


@contextlib.contextmanager
def gateway_running(
    command: Sequence[str], place: Place, *, ready_seconds: float = READY_SECONDS
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the gateway in the place's folder; the block begins when it answers.

    Raises `OperationError`, with the end of the log, if it doesn't start.
    """
    with place.log.open("wb") as log:
        # In a new session: Ctrl-C reaches only the demo, which then lets the gateway finish open requests.
        gateway = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, cwd=place.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_until_serving(gateway, place, ready_seconds)
        yield gateway
    finally:
        gateway.terminate()
        try:
            gateway.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            gateway.kill()
            gateway.wait()


def _wait_until_serving(gateway: subprocess.Popen[bytes], place: Place, ready_seconds: float) -> None:
    for _ in range(round(ready_seconds / POLL_SECONDS)):
        with contextlib.suppress(OperationError):
            ask(ATTEMPTS[0], place)
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            gateway.wait(POLL_SECONDS)
            break
    _fail(gateway, place)


def _serve_on(gateway: subprocess.Popen[bytes], place: Place) -> NoReturn:
    """Until Ctrl-C, or until the gateway is gone, which is a failure."""
    gateway.wait()
    _fail(gateway, place)


def _fail(gateway: subprocess.Popen[bytes], place: Place) -> NoReturn:
    said = place.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    state = "does not answer" if gateway.poll() is None else f"ended with exit code {gateway.returncode}"
    raise OperationError(f"the gateway {state}: {' / '.join(said[-_LINES_QUOTED:]) or 'its log is empty'}")


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does, and stops the gateway too."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
