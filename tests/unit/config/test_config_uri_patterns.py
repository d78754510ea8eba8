"""Which patterns of a rule's `uri` are warned of. The golden file has the messages of those that are refused."""

import pytest

from gateway.config.uri_patterns import read_pattern


@pytest.mark.parametrize("text", [r"~.*\.php", r"~/status\.php", r"~/(a|b)/[a-z]+\.php"])
def test_files_are_whole_paths_unless_the_rule_denies_them(text):
    assert read_pattern(text).warning is None
    warning = read_pattern(text, denies=True).warning
    assert warning is not None
    assert f"{text}(/.*)?" in warning[1]


@pytest.mark.parametrize("text", [r"~.*\.php(/.*)?", r"~.*\.php.*", r"~.*\.php$", "/a.php", "=/a.php"])
def test_what_says_what_is_below_a_file_is_not_warned_of(text):
    assert read_pattern(text, denies=True).warning is None
