"""Commands in messages are ready for a shell, with the options that name the registry."""

import shlex
from pathlib import Path

import pytest

from gateway.commands import at_desk, options_for, quoted


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("Run 'gateway ca crl corp'.", "", "Run 'gateway ca crl corp'."),
        ("Run 'gateway ca crl corp'.", " -c a.yaml", "Run 'gateway ca -c a.yaml crl corp'."),
        ("run gateway cert list", " --store sqlite:///a.db", "run gateway cert --store sqlite:///a.db list"),
        ("'gateway ca list', 'gateway cert list'", " -c a", "'gateway ca -c a list', 'gateway cert -c a list'"),
        ("Run 'gateway cert list'.", " -c 'my file'", "Run `gateway cert -c 'my file' list`."),
        ("Run 'gateway cert list'.", r" -c 'a\\1'", r"Run `gateway cert -c 'a\\1' list`."),
        ("run gateway ca -c b.yaml init corp", " -c a.yaml", "run gateway ca -c b.yaml init corp"),
        ("'gateway check -c b.yaml' lists them", " -c a.yaml", "'gateway check -c b.yaml' lists them"),
    ],
)
def test_commands_of_the_desk_get_the_options(text, options, expected):
    assert at_desk(text, options) == expected


def test_a_configuration_is_named_for_any_folder_and_for_a_shell():
    assert options_for(Path("/etc/my gateway.yaml")) == " -c '/etc/my gateway.yaml'"
    assert options_for(Path("gateway.yaml")) == f" -c {shlex.quote(str(Path.cwd() / 'gateway.yaml'))}"


def test_a_command_with_quotes_stands_in_backticks():
    assert quoted("gateway ca list") == "'gateway ca list'"
    assert quoted("gateway ca crl corp --from 'my list'") == "`gateway ca crl corp --from 'my list'`"
