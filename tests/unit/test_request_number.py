"""The number on a page is short, the same for the same request, and can't be misread."""

import json
import re
import subprocess
import sys
from pathlib import Path

from gateway.logs.request_id import RequestIds
from gateway.request_number import ALPHABET, short_number

LOOK_ALIKES = ("0ODQ", "1IL", "2Z", "5S", "8B", "UV", "6G")


def test_eight_characters_in_two_groups_always_the_same_for_one_request():
    assert short_number("00112233445566778899aabbccddeeff") == "FJ4K-4REC"
    assert re.fullmatch(rf"[{ALPHABET}]{{4}}-[{ALPHABET}]{{4}}", short_number("x"))


def test_no_character_looks_like_another():
    assert all(len(set(group) & set(ALPHABET)) <= 1 for group in LOOK_ALIKES)
    assert len(set(ALPHABET.casefold())) == len(ALPHABET)


def test_requests_that_follow_each_other_have_numbers_that_differ():
    ids = RequestIds()
    numbers = {short_number(ids.next()) for _ in range(10_000)}
    assert len(numbers) >= 9_999  # two alike once in 500 runs
    assert {number[0] for number in numbers} == set(ALPHABET)


def test_the_program_in_the_documentation_finds_the_line(tmp_path):
    guide = Path(__file__).parents[2] / "docs" / "logs.md"
    (program,) = re.findall(r"```python\n(.*?)```", guide.read_text(), re.DOTALL)
    (tmp_path / "find.py").write_text(program)
    ids = RequestIds()
    lines = [json.dumps({"request_id": request_id}) for request_id in (ids.next(), None, ids.next())]
    number = short_number(json.loads(lines[2])["request_id"])
    command = [sys.executable, str(tmp_path / "find.py"), number]
    text = "\n".join(lines) + "\n"
    found = subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout == lines[2] + "\n"
