"""Hostile queries, credentials and names: read, or refused in so many words; never another exception."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from unicodedata import category
from urllib.parse import quote

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.config.model import IdentityHeaders
from gateway.facts import Identity, Judgement
from gateway.http.activesync import EasQueryError, parse_query
from gateway.http.identity_headers import IdentityHeaderWriter
from gateway.http.login import login_of
from gateway.http.negotiation import chosen_language, wants_html

EAS = "/microsoft-server-activesync"
NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)


@given(st.text(max_size=200) | st.text("UserDvicCmd=&;%+0aA[]/-_", max_size=60))
@example("User=alice&user=bob")
def test_any_query_is_read_or_refused(query: str) -> None:
    try:
        found = parse_query(query)
    except EasQueryError:
        return
    assert query.isascii()
    for value in (found.user, found.device_id):
        assert value is None or (value and not any(category(letter) == "Cc" for letter in value))


@given(st.binary(max_size=120))
def test_any_base64_field_is_read_or_refused(data: bytes) -> None:
    login = login_of(EAS, base64.b64encode(data).decode() or None, None)
    assert (login.users, login.device_id) == ((), None) or login.problem is None


@given(NAMES, st.binary(max_size=16).filter(lambda key: len(key) in (0, 4)))
def test_both_forms_name_the_same_user_and_device(user: str, key: bytes) -> None:
    name = user.encode()
    packed = bytes([141, 18, 9, 4, 2]) + b"D1" + bytes([len(key)]) + key + b"\x01T" + bytes([8, len(name)]) + name
    from_base64 = parse_query(base64.b64encode(packed).decode())
    assert from_base64 == parse_query(f"Cmd=Ping&User={quote(user, safe='')}&DeviceId=D1&DeviceType=T")
    assert from_base64.user == user


@given(st.binary(max_size=100), st.sampled_from([b"", b"Basic ", b"Bearer "]))
def test_any_authorization_gives_one_user_or_a_problem(value: bytes, scheme: bytes) -> None:
    login = login_of("/", None, scheme + value)
    assert (len(login.users) == 1) is (login.problem is None)


@given(NAMES.filter(lambda name: ":" not in name), st.text(max_size=20))
def test_basic_gives_back_the_name_and_never_the_password(name: str, password: str) -> None:
    pair = f"{name}:{password}".encode("utf-8", "surrogatepass")
    assert login_of("/", None, b"Basic " + base64.b64encode(pair)).users == (name,)


@given(st.text(), st.text(), st.binary(max_size=50))
def test_no_name_in_a_certificate_makes_another_header(subject: str, email: str, der: bytes) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    identity = Identity(
        "ab", "01", subject, "CN=CA", (), None, (email,), (), (), (), moment, moment, der, (der,), frozenset()
    )
    block = IdentityHeaderWriter(IdentityHeaders()).headers_for(Judgement(identity, None, ""))
    *lines, end = block.split(b"\r\n")
    assert end == b""
    known = b"X-Client-Verified X-Client-Subject X-Client-Email X-Client-Serial X-Client-Fingerprint Client-Cert"
    assert {line.partition(b": ")[0] for line in lines} <= {*known.split(), b"Client-Cert-Chain"}
    assert all(0x20 <= byte < 0x7F for line in lines for byte in line)


@given(st.binary(max_size=200) | st.text("text/html,;q=01.*de-", max_size=60).map(str.encode))
def test_any_preference_is_a_choice(value: bytes) -> None:
    assert chosen_language(value, ("en", "de")) in {"en", "de"}
    assert wants_html(value) in {True, False}
