"""New keys, made on all cores: RSA keys are made in separate processes, a few in advance.

Each process ends when the process that started it ends, even if that was killed. Keys come back through a pipe as DER,
and are never written to a disk.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import Final, cast

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key

from gateway.errors import OperationError
from gateway.pki.keys import PrivateKey, make
from gateway.pki.words import KeyKind

AHEAD_PER_PROCESS: Final = 3  # enough that no core waits while a file is written, and few keys are in memory


@contextmanager
def keys(kind: KeyKind, count: int, processes: int | None = None) -> Iterator[Iterator[PrivateKey]]:
    """`count` new keys, one after another. EC keys are made here, when they are needed: a process would cost more."""
    if not kind.startswith("rsa-"):
        yield (make(kind) for _ in range(count))
        return
    workers = max(1, min(processes or os.cpu_count() or 1, count))
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_prepare)
    try:
        yield _drain(pool, kind, count, workers)
    finally:
        pool.shutdown(cancel_futures=True)


def _drain(pool: ProcessPoolExecutor, kind: KeyKind, count: int, workers: int) -> Iterator[PrivateKey]:
    started: deque[Future[bytes]] = deque()
    for number in range(count + workers * AHEAD_PER_PROCESS):
        if number < count:
            started.append(pool.submit(make_der, kind))
        if started and number >= workers * AHEAD_PER_PROCESS:
            yield _key(started.popleft())


def _key(future: Future[bytes]) -> PrivateKey:
    try:
        # This program made the key a moment ago. Checking its primes again would take longer than signing with it.
        key = load_der_private_key(future.result(), None, unsafe_skip_rsa_key_validation=True)
    except BrokenProcessPool as error:
        raise OperationError("a process that makes keys was killed", "Run the command again for the rest.") from error
    return cast("PrivateKey", key)


def make_der(kind: KeyKind) -> bytes:
    """A new key as unencrypted DER, for the pipe."""
    return make(kind).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _prepare() -> None:  # pragma: no cover - runs in processes of its own
    # The parent handles Ctrl-C and shuts the pool down.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:  # pragma: no cover - runs in processes of its own
    if (parent := parent_process()) is not None:
        wait([parent.sentinel])
        os._exit(1)
