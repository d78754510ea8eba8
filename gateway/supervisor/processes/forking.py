"""Starts a child process.

Keeps true: a signal that is sent to a child right after its start takes effect in the child: the master's handlers
don't receive it. The child's environment has no secret. However the child ends, it never continues as a second master.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

from gateway.errors import OperationError
from gateway.logs.error_log import end_error_log
from gateway.supervisor.processes.channel import Channel
from gateway.supervisor.processes.environment import forget_the_rest

_log: Final = logging.getLogger("gateway.master")


def fork(name: str, let_go: Callable[[], None], main: Callable[[Channel], None]) -> tuple[int, Channel]:
    """(process id, the master's end of the channel) of a new child that runs `main`; does not return in the child.

    `let_go` runs first in the child, to drop the master's descriptors and signal handlers: until then signals are
    blocked. The child ends when `main` returns. `name` is for the log. Raises `OperationError` if the limit of
    processes, memory or files is reached.
    """
    try:
        ours, theirs = Channel.pair()
    except OSError as error:
        raise _cannot(name, error) from error
    sys.stdout.flush()
    sys.stderr.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        process = os.fork()
        if not process:
            _become(name, let_go, main, before, (ours, theirs))
    except OSError as error:
        ours.close()
        raise _cannot(name, error) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
    return process, ours


def _cannot(name: str, error: OSError) -> OperationError:
    return OperationError(
        f"{name} cannot be started: {error.strerror}",
        "free memory, or raise the limits for processes and open files (TasksMax, LimitNOFILE)",
    )


def _become(
    name: str,
    let_go: Callable[[], None],
    main: Callable[[Channel], None],
    signals: set[int],
    channel: tuple[Channel, Channel],
) -> None:
    masters, own = channel
    status = 1
    try:
        masters.close()
        let_go()
        forget_the_rest()
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        main(own)
        status = 0
    except BaseException:  # noqa: BLE001 - after any error, the child must not continue as a second master
        _log.exception("%s %d failed", name, os.getpid())
    finally:
        end_error_log()
        sys.stderr.flush()
        os._exit(status)
