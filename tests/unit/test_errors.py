"""Remedies: a sentence on a line of its own, a part of a line behind the cause."""

import pytest

from gateway.errors import as_clause, as_sentence


@pytest.mark.parametrize(
    ("remedy", "said"),
    [
        ("name a file", "Name a file."),
        ("add `pki`", "Add `pki`."),
        ("Name a file.", "Name a file."),
        ("write 10.0.0.0/8, or …", "Write 10.0.0.0/8, or …"),
        ("decrypt it: openssl pkey -in a.key -out b.key", "Decrypt it: openssl pkey -in a.key -out b.key"),
        ("write mail.example.com", "Write mail.example.com"),
        ("", ""),
    ],
)
def test_a_remedy_on_its_own_line_is_a_sentence_and_a_command_stays_as_it_is(remedy, said):
    assert as_sentence(remedy) == said


def test_a_remedy_behind_its_cause_is_a_part_of_the_line():
    assert as_clause("Run gateway check.") == "run gateway check"
    assert as_clause("run it") == "run it"
