"""A real gateway, a mail server that writes down what reaches it, and certificates as administrators make them.

After every test each gateway's worker has as many open files as before; after the last of a file it must stop at
SIGTERM with exit code 0, and have reported nothing that it didn't expect.
"""

from __future__ import annotations

import os
from itertools import count

import pytest
from support.credentials import Credentials
from support.gateway import Gateway, settings_for
from support.mail import MailServer
from support.wire import WIRES, Wire

FAILED = pytest.StashKey[bool]()


@pytest.fixture(scope="module", autouse=True)
def _measuring(request):
    """Coverage doubles what a process costs: of those that tests start it is taken in files marked `measured`.

    Those are for what runs in processes of its own only. All else has its tests, line by line, in `tests/unit`.
    """
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("measured") is None:
            for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def credentials(tmp_path_factory) -> Credentials:
    return Credentials.make(tmp_path_factory.mktemp("credentials"))


@pytest.fixture(scope="module")
def mail():
    server = MailServer()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def running():
    """The gateways that run now."""
    return []


@pytest.fixture(scope="module")
def start(running, tmp_path_factory):
    """Starts a gateway with these settings, for the rest of the file's tests."""

    def started(settings) -> Gateway:
        gateway = Gateway.start(tmp_path_factory.mktemp("gateway"), settings)
        running.append(gateway)
        return gateway

    yield started
    codes = [gateway.stop() for gateway in running]
    for gateway in running:
        gateway.check_errors()
        assert gateway.log.is_whole
        ids = [record["request_id"] for record in gateway.log.records() if record["method"] is not None]
        assert len(ids) == len(set(ids))
    assert not any(codes)


@pytest.fixture(scope="module")
def gateway(start, credentials, mail) -> Gateway:
    """One site, one worker, everything else as it is by default."""
    return start(settings_for(credentials.site, mail.url))


@pytest.fixture(params=WIRES, ids=str)
def wire(request) -> Wire:
    """HTTP/1.1 and HTTP/2 in turn, at the same gateways."""
    return request.param


@pytest.fixture
def outside(_addresses) -> str:
    """An address that no other test has, so that its records in the access log can be counted."""
    return f"127.0.{next(_addresses)}.2"


@pytest.fixture
def outsiders(_addresses):
    """Makes more such addresses."""
    return lambda: f"127.0.{next(_addresses)}.2"


@pytest.fixture(scope="session")
def _addresses():
    return count(1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture(autouse=True)
def _nothing_left_open(request):
    yield
    if "mail" in request.fixturenames:
        request.getfixturevalue("mail").forget()
    # What a failed test had open is open as long as its traceback is kept.
    if "running" in request.fixturenames and not request.node.stash.get(FAILED, False):
        for gateway in request.getfixturevalue("running"):
            if gateway.process.poll() is None:
                gateway.check_open_files()
