"""The mail server: known by its certificate before it hears a password, and bounded in time."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import warnings
from dataclasses import replace
from email.message import EmailMessage

import pytest
from support.post import PASSWORD, USER, PostOffice

from gateway.config.model import Mail
from gateway.errors import OperationError
from gateway.keeper import post as post_module
from gateway.keeper.letters import UndeliverableError
from gateway.keeper.post import connected


def _message():
    message = EmailMessage()
    message["Subject"] = "hello"
    message.set_content("text\n")
    return message


async def _send(mail, recipients=("alice@example.com",)):
    async with connected(mail) as post:
        return await post.send(_message(), recipients)


def _fails(mail, recipients=("alice@example.com",)):
    with pytest.raises(OperationError) as raised:
        asyncio.run(_send(mail, recipients))
    return raised.value


def test_a_mail_goes_over_starttls_after_a_login(post, mail):
    assert asyncio.run(_send(mail)) == {}
    (taken,) = post.taken
    assert (taken.sender, taken.recipients) == ("gateway@example.com", ["alice@example.com"])
    assert taken.was_encrypted
    assert post.logins == [USER]


def test_several_mails_go_over_one_connection(post, mail):
    async def both():
        async with connected(mail) as one:
            for _ in range(3):
                await one.send(_message(), ["alice@example.com"])

    asyncio.run(both())
    assert (len(post.taken), post.logins) == (3, [USER])


def test_a_server_that_keeps_its_side_open_after_quit_is_not_waited_for(post, mail):
    """Under load one needs a moment for that; what is left open then ends with a warning, which is an error here."""
    is_over = threading.Event()
    post.after_quit = is_over.wait
    try:
        asyncio.run(_send(mail))
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            gc.collect()
    finally:
        is_over.set()
    assert not [warning for warning in seen if warning.category is ResourceWarning]


def test_a_mail_goes_over_tls_from_the_first_byte(post_files, mail):
    office = PostOffice(*post_files[:2], is_implicit=True).start()
    try:
        asyncio.run(_send(replace(mail, port=office.port, tls="implicit", username=None, password=None)))
        assert office.taken[0].was_encrypted
    finally:
        office.stop()


def test_a_mail_goes_without_tls_where_that_is_what_is_written(mail):
    office = PostOffice(login=False).start()
    try:
        plain = Mail("127.0.0.1", office.port, "gateway@example.com", tls="none")
        asyncio.run(_send(plain))
        assert not office.taken[0].was_encrypted
        error = _fails(replace(mail, port=office.port))
        assert "cannot be used: SMTP STARTTLS extension not supported" in error.cause
        assert office.logins == []
    finally:
        office.stop()


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_server_of_another_ca_hears_nothing(post_files, mail, tls, tmp_path):
    office = PostOffice(*post_files[:2], is_implicit=tls == "implicit").start()
    try:
        for ca in (None, post_files[0]):
            error = _fails(replace(mail, port=office.port, tls=tls, ca=ca))
            assert "has a certificate that is not trusted: " in error.cause
        named = replace(mail, port=office.port, tls=tls, host="localhost")
        assert "has a certificate that is not trusted: " in _fails(named).cause
        assert (office.logins, office.taken) == ([], [])
    finally:
        office.stop()
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing")
    for file in (broken, tmp_path / "nowhere.pem"):
        assert str(file) in _fails(replace(mail, ca=file)).cause


def test_a_refused_login_is_told_without_what_the_server_says(mail):
    error = _fails(replace(mail, password="a secret of mine"))
    assert error.cause == f"the mail server 127.0.0.1:{mail.port} refuses the login: 535"
    assert error.__cause__ is None
    assert "a secret" not in repr(error)


def test_a_refused_recipient_is_one_mails_matter(post, mail):
    post.refuses["alice@example.com"] = "550 5.1.1 no\tsuch  user"
    with pytest.raises(UndeliverableError, match=r"^550 5\.1\.1 no such user$"):
        asyncio.run(_send(mail))
    assert asyncio.run(_send(mail, ["alice@example.com", "bob@example.com"])) == {
        "alice@example.com": "550 5.1.1 no such user"
    }
    assert post.taken[0].recipients == ["bob@example.com"]


def test_a_refused_mail_is_one_mails_matter_and_a_server_that_closes_is_all_mails(post, mail):
    post.on_data = lambda: "554 5.7.1 spam"
    with pytest.raises(UndeliverableError, match=r"554 5\.7\.1 spam"):
        asyncio.run(_send(mail))
    post.on_data = lambda: "421 4.3.2 closing"
    error = _fails(mail)
    assert not isinstance(error, UndeliverableError)
    assert "answers 421 4.3.2 closing" in error.cause


def test_nobody_listening_is_told(mail):
    error = _fails(replace(mail, port=1))
    assert error.cause == "the mail server 127.0.0.1:1 cannot be used: Connection refused"


def test_a_server_that_says_nothing_is_not_waited_for_forever(mail, monkeypatch):
    monkeypatch.setattr(post_module, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = _fails(replace(mail, port=silent.getsockname()[1]))
    assert "does not answer in time" in error.cause


def test_an_address_that_cannot_be_on_the_wire_is_told(mail):
    assert "cannot be used" in _fails(mail, ["a b@example.com"]).cause


def test_what_a_server_answers_is_shortened_and_printable(post, mail):
    post.refuses["alice@example.com"] = f"550 \x1b[31m{'x' * 300}"
    with pytest.raises(UndeliverableError) as raised:
        asyncio.run(_send(mail))
    assert raised.value.cause.isprintable()
    assert len(raised.value.cause) <= post_module.ANSWER_CHARACTERS
    assert PASSWORD not in raised.value.cause
