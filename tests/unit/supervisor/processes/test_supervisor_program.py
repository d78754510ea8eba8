"""How a program beside the workers is started."""

import os
import signal
import sys

import pytest

from gateway.supervisor.processes.program import become


@pytest.mark.parametrize(("given", "told"), [([], ["-W", "ignore::UserWarning"]), (["error"], [])])
def test_odd_names_in_lists_are_not_written_to_the_error_log(monkeypatch, given, told):
    """`cryptography` warns of a name above 64 characters. Options that Python was given count."""
    started = []
    monkeypatch.setattr(os, "execve", lambda *arguments: started.append(arguments))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "warnoptions", given)
    become("a.module", ())
    ((_, command, _),) = started
    assert command == [sys.executable, "-P", *told, "-m", "a.module"]
