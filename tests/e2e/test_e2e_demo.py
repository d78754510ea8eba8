"""The demo as a newcomer runs it: the real command, the real gateway, six real requests."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from gateway.cli.demo_requests import ATTEMPTS

pytestmark = [pytest.mark.e2e, pytest.mark.measured]

# A second and a half on an idle machine.
SECONDS = 60


def test_all_six_requests_are_answered_as_they_should_be():
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "demo", "--json"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert [row["actual"] for row in shown] == [str(attempt.expected) for attempt in ATTEMPTS]
    assert all(row["right"] for row in shown)
