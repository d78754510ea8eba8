"""How much chance there is in the suite: none, unless `make soak` asks for it.

Property tests try the same examples in every run, so that a run fails for what was changed and for nothing else. Other
examples are for `make soak` (tests/soak.py), which writes down what it finds. No example has a deadline, and none is
too slow: how fast the machine is says nothing about the code.
"""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

SAME = settings(
    derandomize=True, database=None, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("same", SAME)
settings.register_profile("soak", SAME, derandomize=False)
settings.load_profile("same")

if os.geteuid() != 0:  # only root may look into the gateway's processes otherwise, and end-to-end tests do
    os.environ.setdefault("GATEWAY_DUMPABLE", "1")


@pytest.fixture(scope="session", autouse=True)
def _everywhere_alike():
    """A container has addresses that are not inside; the suite must say the same there as on other machines."""
    from gateway.config.container import Arrivals  # noqa: PLC0415 - coverage must have begun

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.config.load.arrivals", Arrivals)
        yield


# Those that the gateway's processes handle.
_HANDLED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM)


@pytest.fixture(autouse=True)
def _signal_handlers():
    """No test leaves a handler behind: a child that a later test forks would have it, and not end at SIGTERM."""
    before = {number: signal.getsignal(number) for number in _HANDLED}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) != handler:
            signal.signal(number, handler)
