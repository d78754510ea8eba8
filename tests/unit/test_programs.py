"""What tests do where a program is missing: a plain skip on somebody's own machine, a failure in CI."""

import pytest
from support.programs import need, need_root


@pytest.fixture(params=["no-such-program", "/usr/sbin/no-such-program*"])
def missing(request):
    return request.param


def test_a_missing_program_skips_with_a_plain_reason(missing, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"no-such-program.* is not installed; `make peers`"):
        need(missing)


def test_a_missing_program_fails_in_ci(missing, monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="is not installed"):
        need(missing)


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_whoever_is_not_root_is_told_so(ci, outcome, monkeypatch):
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(outcome, match="only root may do this"):
        need_root("do this")


def test_a_program_is_found_by_name_and_the_newest_file_by_pattern(tmp_path):
    assert need("sh").endswith("/sh")
    for version in ("7.4", "8.2"):
        (tmp_path / f"fpm{version}").touch()
    assert need(f"{tmp_path}/fpm*") == f"{tmp_path}/fpm8.2"
