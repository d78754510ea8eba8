"""One field says how long a browser keeps to https."""

import pytest

from gateway.http.hsts import hsts_field, without_hsts


@pytest.mark.parametrize(
    ("seconds", "more", "field"),
    [
        (31_536_000.0, (False, False), b"max-age=31536000"),
        (0.0, (False, False), b"max-age=0"),
        (1.9, (True, False), b"max-age=1; includeSubDomains"),
        (31_536_000.0, (True, True), b"max-age=31536000; includeSubDomains; preload"),
    ],
)
def test_the_field_says_what_is_configured(seconds, more, field):
    made = hsts_field(seconds, includes_subdomains=more[0], is_preloaded=more[1])
    assert b"".join(made) == b"Strict-Transport-Security: " + field + b"\r\n"


def passing(*names):
    return [part for name in names for part in (name, b": ", b"value", b"\r\n")]


@pytest.mark.parametrize(
    "name", [b"Strict-Transport-Security", b"strict-transport-security", b"STRICT-Transport-security"]
)
def test_the_servers_own_is_left_out_in_every_spelling(name):
    assert without_hsts(passing(b"A", name, b"B", name)) == passing(b"A", b"B")


def test_what_has_none_is_passed_on_as_it_is():
    fields = passing(b"A", b"X-Strict-Transport-Security")
    assert without_hsts(fields) is fields
