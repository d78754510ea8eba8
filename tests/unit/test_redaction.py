"""What is shown of a URL, and what never is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.redaction import without_secrets

SECRET = "s3cret-t0ken"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://a/ca.crl", "http://a/ca.crl"),
        ("http://a:8080/ca.crl: the server answered 404", "http://a:8080/ca.crl: the server answered 404"),
        ("/etc/ca.crl?x", "/etc/ca.crl?x"),
        ("'https://fd00::5:443' has", "'https://fd00::5:443' has"),
        (f"http://a/ca.crl?token={SECRET}", "http://a/ca.crl?…"),
        (f"http://a?{SECRET}", "http://a?…"),
        (f"http://a/b#{SECRET}", "http://a/b#…"),
        (f"http://a/ca.crl?token={SECRET}: the server answered 404", "http://a/ca.crl?…: the server answered 404"),
        (f"a redirect to 'ftp://a/b?{SECRET}' is not", "a redirect to 'ftp://a/b?…' is not"),
        (f"https://user:{SECRET}@[::1]:8443/x/ and more", "https://…@[::1]:8443/x/ and more"),
        (f"https://{SECRET}@a/", "https://…@a/"),
        (f"http://u:{SECRET}@x@a/b@c", "http://…@a/b@c"),
        (f"http://user:{SECRET}/x@a/b", "http://…"),
        (f"http://user:{SECRET}?x@a/b", "http://…"),
        (f"postgresql+psycopg://u:{SECRET}@db/g?password={SECRET}", "postgresql+psycopg://…@db/g?…"),
        (f"400, message='x', url='http://a/b?t={SECRET}'", "400, message='x', url='http://a/b?…'"),
        (f"one http://a/?{SECRET} and http://{SECRET}@b", "one http://a/?… and http://…@b"),
    ],
)
def test_of_a_url_scheme_host_port_and_path_are_shown(text, shown):
    assert without_secrets(text) == shown
    assert without_secrets(shown) == shown


@given(
    before=st.text(max_size=20),
    user=st.text("ab:@.%", max_size=5),
    path=st.text("ab/.%@", max_size=10),
    after=st.text(max_size=5).map(lambda text: f" {text}"),
)
def test_a_query_and_a_password_are_never_shown(before, user, path, after):
    shown = without_secrets(f"{before}http://{user}:{SECRET}@host/{path}?a={SECRET}&b#{SECRET}{after}")
    assert SECRET not in shown
