"""The listener with `acme_webroot`: one file of one folder, read beside the loop, and nothing else."""

import asyncio
import os
import threading
from dataclasses import replace

import pytest
from support.dialogue import INSIDE, SocketEnd, get, header, request, status
from support.plain_http import plain_connection
from support.waiting import PATIENCE_SECONDS

from gateway.config.model import Listener
from gateway.proxy.lingering import LINGER_IDLE_SECONDS
from gateway.proxy.plain import acme_webroot
from gateway.proxy.plain.acme_webroot import MAX_CHALLENGE_BYTES, MAX_READS_AT_ONCE, ChallengeReader
from gateway.proxy.plain.challenge import READ_SECONDS

TOKEN = "Ab-_09"
CONTENT = b"Ab-_09.thumbprint"
TARGET = f"/.well-known/acme-challenge/{TOKEN}"


@pytest.fixture
def webroot(tmp_path):
    folder = tmp_path / "webroot" / ".well-known" / "acme-challenge"
    folder.mkdir(parents=True)
    (folder / TOKEN).write_bytes(CONTENT)
    return tmp_path / "webroot"


@pytest.fixture
def folder(webroot):
    return webroot / ".well-known" / "acme-challenge"


@pytest.fixture
def listener(webroot):
    return Listener("127.0.0.1:80", "127.0.0.1", 80, redirect_to_https=True, acme_webroot=webroot)


@pytest.fixture
def stuck(monkeypatch):
    """A disk that does not answer until it is told to."""
    answers = threading.Event()

    def read(*_):
        answers.wait(PATIENCE_SECONDS)
        return CONTENT

    monkeypatch.setattr(acme_webroot, "read_challenge", read)
    yield answers
    answers.set()
    finish_reads()


def finish_reads():
    for thread in threading.enumerate():
        if thread.name == "acme-challenge":
            thread.join(PATIENCE_SECONDS)


def begin(world, listener, data):
    end = SocketEnd(world, plain_connection(world, listener), (INSIDE, 40000))
    end.says(data)
    return end


def ask(world, listener, data):
    end = begin(world, listener, data)
    finish_reads()
    world.settles()
    if not end.is_lost:
        assert end.has_said_eof, "the client may still be sending"
        end.goes()
    assert world.service.connections.open == set()
    return end.hears()


@pytest.mark.parametrize("is_publishing", [False, True])
@pytest.mark.parametrize("host", ["mail.example.com", "autodiscover.example.com", "10.0.0.1"])
def test_a_challenge_is_served_under_every_name(world, listener, host, is_publishing):
    answer = ask(world, replace(listener, pki=is_publishing), get(TARGET, host=host))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\nConnection: close\r\n\r\n" + CONTENT)
    assert header(answer, "Content-Length") == str(len(CONTENT))
    assert header(answer, "X-Content-Type-Options") == "nosniff"
    record = world.record
    assert header(answer, "X-Request-Id") == record["request_id"]
    assert (record["status"], record["reason"], record["uri"], record["bytes_out"]) == (200, None, TARGET, len(CONTENT))


def test_head_has_no_body(world, listener):
    answer = ask(world, listener, request("HEAD", TARGET))
    assert answer.endswith(b"\r\n\r\n")
    assert (status(answer), header(answer, "Content-Length"), world.record["bytes_out"]) == (200, str(len(CONTENT)), 0)


def test_other_methods_are_refused(world, listener):
    answer = ask(world, listener, request("POST", TARGET, "Content-Length: 4", body=b"some"))
    assert (status(answer), header(answer, "Allow")) == (405, "GET, HEAD")


@pytest.mark.parametrize("target", ["/", "/webmail", "/.well-known/acme-challenge", "/.well-known/security.txt"])
def test_everything_else_is_redirected_as_before(world, listener, target):
    assert header(ask(world, listener, get(target)), "Location") == f"https://mail.example.com{target}"
    refusing = replace(listener, redirect_to_https=False, pki=True)
    assert header(ask(world, refusing, get(target)), "X-Gateway-Reason") == "not_found"


def test_a_listener_without_a_webroot_serves_none(world, listener):
    location = header(ask(world, replace(listener, acme_webroot=None), get(TARGET)), "Location")
    assert location == f"https://mail.example.com{TARGET}"


@pytest.mark.parametrize("token", ["", "nothing", "..", f"x/../{TOKEN}", f"./{TOKEN}", f"%41{TOKEN[1:]}", "x" * 129])
def test_what_is_no_challenge_is_not_found_and_leads_nowhere(world, listener, token):
    answer = ask(world, listener, get(f"/.well-known/acme-challenge/{token}"))
    assert (status(answer), header(answer, "X-Gateway-Reason"), header(answer, "Location")) == (404, "not_found", None)
    assert world.record["reason"] == "not_found"


def test_a_webroot_that_is_gone_has_no_challenges(world, listener, webroot, caplog):
    webroot.rename(webroot.with_name("elsewhere"))
    assert status(ask(world, listener, get(TARGET))) == 404
    assert not caplog.messages


def link_of_a_file(folder):
    (folder / "real").write_bytes(b"secret")
    (folder / TOKEN).symlink_to("real")


def link_out_of_the_folder(folder):
    (folder.parents[1] / "key").write_bytes(b"secret")
    (folder / TOKEN).symlink_to(folder.parents[1] / "key")


def second_name(folder):
    (folder / "key").write_bytes(b"secret")
    (folder / TOKEN).hardlink_to(folder / "key")


def fifo(folder):
    os.mkfifo(folder / TOKEN)


def long(folder):
    (folder / TOKEN).write_bytes(bytes(MAX_CHALLENGE_BYTES + 1))


def linked_folder(folder):
    folder.rename(folder.with_name("real"))
    folder.symlink_to("real")
    (folder / TOKEN).write_bytes(b"secret")


def linked_parent(folder):
    folder.parent.rename(folder.parents[1] / "real")
    folder.parent.symlink_to("real")
    (folder / TOKEN).write_bytes(b"secret")


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (link_of_a_file, "Too many levels of symbolic links"),
        (link_out_of_the_folder, "Too many levels of symbolic links"),
        (second_name, "the file has a second name (a hard link)"),
        (fifo, "not a regular file"),
        (lambda folder: (folder / TOKEN).mkdir(), "not a regular file"),
        (long, "more than 4,096 bytes"),
        (linked_folder, "Not a directory"),
        (linked_parent, "Not a directory"),
    ],
)
def test_only_a_regular_file_without_links_is_read(world, listener, folder, make, cause, caplog):
    (folder / TOKEN).unlink()
    make(folder)
    answer = ask(world, listener, get(TARGET))
    assert (status(answer), header(answer, "X-Gateway-Reason")) == (404, "not_found")
    assert b"secret" not in answer
    (message,) = caplog.messages
    assert message == (
        f"the ACME challenge {folder / TOKEN} can't be read: {cause}; only a regular file without links is served, "
        "of at most 4,096 bytes"
    )


def test_the_longest_file_is_served(world, listener, folder):
    (folder / TOKEN).write_bytes(bytes(MAX_CHALLENGE_BYTES))
    assert ask(world, listener, get(TARGET)).endswith(b"\r\n\r\n" + bytes(MAX_CHALLENGE_BYTES))


def test_the_webroot_itself_may_be_reached_by_a_link(world, listener, webroot):
    webroot.with_name("link").symlink_to(webroot)
    assert status(ask(world, replace(listener, acme_webroot=webroot.with_name("link")), get(TARGET))) == 200


def test_a_file_that_this_user_may_not_read_is_logged_with_the_remedy(world, listener, monkeypatch, caplog):
    def denied(*_):
        raise PermissionError

    monkeypatch.setattr(acme_webroot, "read_challenge", denied)
    assert status(ask(world, listener, get(TARGET))) == 404
    assert "can't be read: Permission denied; let the user " in caplog.text
    assert f"chmod g+r {listener.acme_webroot}/.well-known/acme-challenge/{TOKEN}" in caplog.text


# a disk that does not answer


@pytest.mark.parametrize("is_publishing", [False, True])
def test_others_are_served_meanwhile_and_the_client_is_told_in_time(world, listener, stuck, is_publishing):
    end = begin(world, replace(listener, pki=is_publishing), get(TARGET))
    assert end.protocol.eof_received()
    world.does(world.service.connections.drain)
    assert not end.is_lost, "a request that was begun is answered"
    world.passes(READ_SECONDS + 2)
    assert (status(end.hears()), world.record["reason"]) == (503, "no_healthy_upstream")
    assert end.is_lost
    stuck.set()
    finish_reads()
    world.settles()
    assert end.hears() == b""
    assert len(world.log) == 1


def test_a_client_that_does_not_wait_is_on_record(world, listener, stuck):
    end = begin(world, listener, get(TARGET))
    assert not end.is_lost
    end.goes()
    assert (world.record["status"], world.record["uri"]) == (None, TARGET)
    stuck.set()
    finish_reads()
    world.settles()
    assert len(world.log) == 1


def test_a_client_that_sends_too_much_meanwhile_is_cut(world, listener, stuck):
    assert not stuck.is_set()
    end = begin(world, listener, request("GET", TARGET, "Content-Length: 999999"))
    end.says(bytes(300_000))
    assert end.is_lost


def test_one_more_than_can_be_read_at_once_is_refused(world, listener, stuck):
    ends = [begin(world, listener, get(TARGET)) for _ in range(MAX_READS_AT_ONCE)]
    late = begin(world, listener, get(TARGET))
    assert status(late.hears()) == 503
    assert late.is_lost
    stuck.set()
    finish_reads()
    world.settles()
    assert {status(end.hears()) for end in ends} == {200}
    assert status(ask(world, listener, get(TARGET))) == 200


def test_a_client_that_never_asks_is_told_as_on_every_plain_listener(world, listener):
    end = begin(world, listener, b"GET / HTTP/1.1\r\n")
    assert not end.protocol.eof_received()
    world.passes(22)
    assert status(end.hears()) == 408
    world.passes(LINGER_IDLE_SECONDS + 2)
    assert end.is_lost


def test_a_worker_ends_while_the_disk_does_not_answer(listener, stuck):
    loop = asyncio.new_event_loop()
    ChallengeReader(loop).read(listener.acme_webroot, TOKEN, None)
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "acme-challenge")
    loop.close()
    stuck.set()
    finish_reads()
