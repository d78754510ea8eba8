"""What other processes may see of one of ours."""

import os
import subprocess
import sys

import pytest

ASKS = """
import ctypes, resource
from gateway.supervisor.processes import dumps
dumps.forbid_core_dumps()
dumps.forbid_reading()
print(*resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""


@pytest.mark.parametrize(("switch", "dumpable"), [("0", "0"), ("1", "1")])
def test_there_are_no_dumps_and_no_reading_unless_it_is_asked_for(switch, dumpable):
    variables = os.environ | {"GATEWAY_DUMPABLE": switch}
    told = subprocess.run([sys.executable, "-c", ASKS], capture_output=True, text=True, check=True, env=variables)
    assert told.stdout.split() == ["0", "0", dumpable]
