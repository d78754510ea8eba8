"""Every way to get the file wrong that we could think of, each with the exact line that is printed for it."""

from pathlib import Path

import pytest
from support.config_files import BASE, NOW

from gateway.config.load import load_with_warnings
from gateway.config.problems import ConfigErrors

GOLDEN = Path(__file__).parents[2] / "golden" / "config_bad_files.txt"


def read_cases():
    """(name, good text, bad text, message) of each block in the golden file."""
    for block in GOLDEN.read_text(encoding="utf-8").split("\n\n")[1:]:
        lines = block.rstrip("\n").split("\n")
        name, *rest = lines
        good, bad, message = ("\n".join(line[2:] for line in rest if line[0] == sign) for sign in "-+>")
        yield pytest.param(good, bad, message, id=name.removeprefix("# "))


CASES = list(read_cases())


@pytest.mark.parametrize(("good", "bad", "message"), CASES)
def test_one_mistake_gives_exactly_one_message_at_its_place(write, folder, good, bad, message):
    assert good in BASE
    with pytest.raises(ConfigErrors) as raised:
        load_with_warnings(write(BASE.replace(good, bad, 1)), now=NOW, environ={})
    found = [str(problem).replace(str(folder), "FOLDER") for problem in raised.value.problems]
    assert found == [f"config.yaml:{message}"]


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
