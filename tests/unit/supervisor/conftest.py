"""Programs that run inside the test's own process leave it as it is."""

import pytest

from gateway.supervisor.processes import dumps


@pytest.fixture(autouse=True)
def _stays_readable(monkeypatch):
    monkeypatch.setenv(dumps.SWITCH, "1")
    monkeypatch.setattr(dumps, "forbid_core_dumps", lambda: None)
