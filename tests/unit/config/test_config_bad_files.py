"""Every way to get the file wrong that we could think of, each with the exact line that is printed for it, and with
what its remedy asks for, followed to the letter: that gives a good file.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.config_files import BASE, NOW

from gateway.config.load import load_with_warnings
from gateway.config.problems import ConfigErrors

GOLDEN = Path(__file__).parents[2] / "golden" / "config_bad_files.txt"


@dataclass(frozen=True)
class Case:
    """A block of the golden file, see its head."""

    good: str
    bad: str
    messages: tuple[str, ...]
    fixed: tuple[str, ...]
    commands: tuple[str, ...]
    environ: dict[str, str]


def read_cases():
    """Each block of the golden file."""
    for block in GOLDEN.read_text(encoding="utf-8").split("\n\n")[1:]:
        name, *rest = block.rstrip("\n").split("\n")
        good, bad = ("\n".join(line[2:] for line in rest if line[0] == sign) for sign in "-+")
        messages, commands, variables = (tuple(line[2:] for line in rest if line[0] == sign) for sign in ">$!")
        alternatives = "\n".join(line[2:] for line in rest if line[0] == "=").split("\n|\n")
        fixed = tuple(alternatives) if any(line[0] == "=" for line in rest) else (bad,)
        environ = dict(line.split("=", 1) for line in variables)
        yield pytest.param(Case(good, bad, messages, fixed, commands, environ), id=name.removeprefix("# "))


CASES = list(read_cases())


def said(path, environ, folder):
    """All lines about the file."""
    try:
        found = load_with_warnings(path, now=NOW, environ=environ).warnings
    except ConfigErrors as errors:
        found = (*errors.problems, *errors.warnings)
    return tuple(str(problem).replace(str(folder), "FOLDER") for problem in found)


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_gives_its_message_and_the_remedy_gives_a_good_file(write, folder, case):
    assert case.good in BASE
    path = write(BASE.replace(case.good, case.bad, 1))
    assert said(path, {}, folder) == tuple(f"config.yaml:{message}" for message in case.messages)
    for command in case.commands:
        subprocess.run(  # noqa: S602 - an admin copies it into a shell
            command.replace("FOLDER", str(folder)),
            shell=True,
            check=True,
            capture_output=True,
            input=b"secret\n" * 3,  # a passphrase, and its repetition
            start_new_session=True,  # without a terminal, openssl asks on standard input
        )
        assert any(command in message for message in case.messages)
    for fixed in case.fixed:
        assert (fixed != case.bad) or case.commands or case.environ
        assert said(write(BASE.replace(case.good, fixed, 1)), case.environ, folder) == ()


def test_all_mistakes_are_reported_in_one_run_in_file_order(write):
    text = BASE
    for old, new in (
        ('":443"', '"0.0.0.0"'),
        ("mail.crt", "nowhere.crt"),
        ("upstream: mail", "upstream: mial"),
        ('"https://10.0.0.5:443"', '"10.0.0.5"'),
        ("from: internal", "from: [intrnal, 10.0.0.1/8]"),
        ("action: allow", "action: permit"),
        ("rules:", "limts: {}\nrules:"),
    ):
        text = text.replace(old, new, 1)
    with pytest.raises(ConfigErrors) as raised:
        load_with_warnings(write(text), now=NOW, environ={})
    lines = [problem.place.mark.line for problem in raised.value.problems]
    assert lines == [2, 5, 8, 11, 12, 15, 15, 16]
    assert raised.value.cause.splitlines() == [str(problem) for problem in raised.value.problems]


def test_there_are_many_cases():
    assert len(CASES) >= 40
