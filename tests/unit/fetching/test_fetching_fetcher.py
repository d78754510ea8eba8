"""Fetching revocation lists: what a web server may do, when it is asked again, and what an administrator reads."""

import asyncio
import logging
import socket
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography.x509 import IPAddress, SubjectAlternativeName
from support.gateway import free_port
from support.pki import SERVER_AUTH, Ca
from support.scopes import delta
from support.waiting import PATIENCE_SECONDS
from support.web import Page, WebServer

from gateway.fetching import download as downloads
from gateway.fetching import fetcher as module
from gateway.fetching.download import DownloadError, Validators, download, download_context, open_session
from gateway.fetching.fetcher import Fetcher, Shared, Source, interval_seconds, retry_seconds
from gateway.fetching.list_store import ListStore
from gateway.x509.revocation_list import parse_lists

BEGIN = datetime(2020, 1, 1, tzinfo=UTC)
ROOT = Ca.make(not_before=BEGIN)
HOUR = timedelta(hours=1)
ALWAYS = {"not_before": BEGIN, "not_after": datetime(2099, 1, 1, tzinfo=UTC)}


@pytest.fixture
def web():
    with WebServer() as server:
        yield server


@pytest.fixture
def store(tmp_path):
    return ListStore(tmp_path / "crl", tmp_path / "fallback")


def crl(number, *revoked, lasts=8 * HOUR):
    now = datetime.now(UTC)
    return ROOT.crl(revoked, number=number, last_update=now - HOUR, next_update=now - HOUR + lasts)


def get(url, known=None):
    async def main():
        async with open_session(download_context()) as session:
            return await download(session, url, known or Validators())

    return asyncio.run(main())


def test_a_list_comes_as_it_is_and_is_not_sent_twice(web):
    page = Page(b"list", headers={"ETag": '"1"', "Last-Modified": "Tue, 24 Nov 2026 12:00:00 GMT"})
    web.answers["/a"] = page
    first = get(web.url("/a"))
    assert first.data == b"list"
    web.answers["/a"] = Page(status=304)
    assert get(web.url("/a"), first.validators).data is None
    headers = web.requests[-1].headers
    assert headers["If-None-Match"] == '"1"'
    assert headers["If-Modified-Since"] == "Tue, 24 Nov 2026 12:00:00 GMT"
    with pytest.raises(DownloadError, match="answered 304"):
        get(web.url("/a"))


def test_a_server_with_tls_is_known_by_its_certificate(tmp_path, monkeypatch):
    """One without key identifiers will do, as `openssl x509 -req` makes it."""
    ours, stranger = (Ca.make("CN=Root", **ALWAYS) for _ in range(2))
    name = SubjectAlternativeName([IPAddress(ip_address("127.0.0.1"))])
    leaf = ours.issue("CN=lists", eku=SERVER_AUTH, extensions=[(name, False)], **ALWAYS)
    with WebServer(*leaf.write(tmp_path, "server")) as web:
        web.answers["/a"] = Page(b"list")
        monkeypatch.setenv("SSL_CERT_FILE", str(ours.write(tmp_path, "ours")[0]))
        assert get(web.url("/a")).data == b"list"
        monkeypatch.setenv("SSL_CERT_FILE", str(stranger.write(tmp_path, "stranger")[0]))
        with pytest.raises(
            DownloadError, match=r"certificate is not trusted \(.+\); give the server one that this machine trusts"
        ):
            get(web.url("/a"))


@pytest.mark.parametrize("status", [204, 206, 401, 404, 500, 503])
def test_another_status_than_200_is_no_list(web, status):
    web.answers["/a"] = Page(b"list" if status != 204 else b"", status=status)
    with pytest.raises(DownloadError, match=f"answered {status}"):
        get(web.url("/a"))


def test_the_longest_list_and_one_byte_more(web, monkeypatch):
    monkeypatch.setattr(downloads, "MAX_LIST_BYTES", 100_000)
    for has_length in (True, False):
        web.answers["/a"] = Page(b"x" * 100_000, has_length=has_length)
        assert len(get(web.url("/a")).data) == 100_000
        web.answers["/a"] = Page(b"x" * 100_001, has_length=has_length)
        with pytest.raises(DownloadError, match="longer than 100000 bytes"):
            get(web.url("/a"))


def test_a_list_that_was_cut_short_is_none(web):
    web.answers["/a"] = Page(b"list", headers={"Content-Length": "9"}, has_length=False)
    with pytest.raises(DownloadError):
        get(web.url("/a"))


def test_a_server_that_drips_is_given_up(web, monkeypatch):
    monkeypatch.setattr(downloads, "TOTAL_SECONDS", 0.2)
    page = web.answers["/a"] = Page(b"list", goes_on=threading.Event())
    with pytest.raises(DownloadError, match=r"the answer was not complete within 0\.2 s"):
        get(web.url("/a"))
    page.goes_on.set()


def test_redirects_are_followed_three_times_and_never_to_another_scheme(web):
    for number in range(4):
        web.answers[f"/{number}"] = Page(status=302, headers={"Location": f"{number + 1}"})
    web.answers["/4"] = Page(b"list")
    assert get(web.url("/1")).data == b"list"
    with pytest.raises(DownloadError, match="more than 3 redirects"):
        get(web.url("/0"))
    for location in ("ftp://a/", "file:///etc/passwd", "//", "http://", ""):
        web.answers["/a"] = Page(status=301, headers={"Location": location})
        with pytest.raises(DownloadError):
            get(web.url("/a"))


@pytest.mark.parametrize(
    ("target", "location", "is_followed"),
    [("http://a/", "https://b/", True), ("https://a/", "http://a/", False), ("https://a/", "/c", True)],
)
def test_a_redirect_leads_up_to_https_and_not_down(target, location, is_followed):
    if is_followed:
        assert downloads._next(target, target, location).startswith("https://")
    else:
        with pytest.raises(DownloadError, match="is not followed"):
            downloads._next(target, target, location)


def test_no_proxy_from_the_environment_and_nobody_there(web, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    web.answers["/a"] = Page(b"list")
    assert get(web.url("/a")).data == b"list"
    port = free_port()
    with pytest.raises(DownloadError) as raised:
        get(f"http://127.0.0.1:{port}/")
    told = f"http://127.0.0.1:{port}/: cannot connect to 127.0.0.1:{port}: Connection refused"
    assert raised.value.cause == told


def refresh(source, times=1):
    async def main():
        async with open_session(download_context()) as session:
            return [await source.refresh(session) for _ in range(times)][-1]

    return asyncio.run(main())


def test_a_good_list_is_kept_and_the_next_request_is_conditional(web, store, caplog):
    caplog.set_level(logging.INFO)
    web.answers["/a"] = Page(crl(1, 5, 6), headers={"ETag": '"1"'})
    source = Source(web.url("/a"), [ROOT.certificate], store, Shared())
    seconds = refresh(source)
    assert module.MAX_INTERVAL_SECONDS * (1 - module.JITTER_FRACTION) <= seconds <= module.MAX_INTERVAL_SECONDS
    assert store.read(source.url) == web.answers["/a"].body
    assert "fetched the list number 1 of 'CN=Test Root', 2 revoked, valid until" in caplog.text
    web.answers["/a"] = Page(status=304)
    assert refresh(source) > module.MAX_RETRY_SECONDS
    assert web.requests[-1].headers["If-None-Match"] == '"1"'
    assert caplog.text.count("fetched the list") == 1


def test_a_list_that_vanished_from_disk_is_fetched_whole(web, store):
    web.answers["/a"] = Page(crl(1), headers={"ETag": '"1"'})
    source = Source(web.url("/a"), [ROOT.certificate], store, Shared())
    refresh(source)
    store.files(source.url)[1].unlink()
    refresh(source)
    assert "If-None-Match" not in web.requests[-1].headers
    assert store.read(source.url) == web.answers["/a"].body


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (Page(b""), "not a readable revocation list"),
        (Page(b"<html>"), "not a readable revocation list (it can't be read as DER)"),
        (
            Page(b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"),
            "not a readable revocation list (it can't be read as DER)",
        ),
        (
            Page(b"-----BEGIN X509 CRL-----\n!!!!\n-----END X509 CRL-----\n"),
            "not a readable revocation list (its PEM text is broken)",
        ),
        (Page(Ca.make(not_before=BEGIN).crl(number=9)), "whose key did not sign it"),
        (Page(status=404), "the server answered 404"),
    ],
)
def test_what_is_of_no_use_leaves_the_last_good_list_and_is_tried_again_ever_later(web, store, caplog, page, words):
    good = crl(1)
    source = Source(web.url("/a"), [ROOT.certificate], store, Shared())
    web.answers["/a"] = page
    assert refresh(source) <= module.FIRST_RETRY_SECONDS
    assert words in caplog.text
    assert "there is no list, next try in" in caplog.text
    assert store.read(source.url) is None
    store.write(source.url, good)
    seconds = refresh(source, times=3)
    assert 8 * module.FIRST_RETRY_SECONDS * (1 - module.JITTER_FRACTION) <= seconds <= 8 * module.FIRST_RETRY_SECONDS
    assert "the last good list stays, next try in" in caplog.text
    assert store.read(source.url) == good


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_a_server_without_tls_on_an_https_port_is_told_in_words(store, caplog, answer):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        refresh(Source(f"https://127.0.0.1:{server.getsockname()[1]}/a", [ROOT.certificate], store, Shared()))
        thread.join()
    told = "the server does not speak TLS on this port;" if answer else "if it does not speak TLS on this port,"
    assert f"{told} write its https port into the URL" in caplog.text
    assert "ssl:default" not in caplog.text


def test_an_older_list_never_takes_the_place_of_a_newer(web, store, caplog):
    source = Source(web.url("/a"), [ROOT.certificate], store, Shared())
    web.answers["/a"] = Page(new := crl(5))
    refresh(source)
    web.answers["/a"] = Page(crl(4))
    refresh(source)
    assert "older than the one that was fetched before" in caplog.text
    assert store.read(source.url) == new


def test_a_list_that_begins_later_is_asked_for_again_when_it_begins(web, store, caplog):
    source = Source(web.url("/a"), [ROOT.certificate], store, Shared())
    now = datetime.now(UTC)
    web.answers["/a"] = Page(ROOT.crl(number=6, last_update=now + HOUR / 6, next_update=now + HOUR))
    assert refresh(source) <= module.FIRST_RETRY_SECONDS
    seconds = refresh(source, times=9)  # as a failure it would wait for a quarter of an hour
    assert 500 < seconds <= 600
    assert "the list begins in the future" in caplog.text
    web.answers["/a"] = Page(ROOT.crl(number=6, last_update=now + HOUR / 360, next_update=now + HOUR))
    assert refresh(source) == module.MIN_INTERVAL_SECONDS  # a server's clock may always be ahead


def test_an_earlier_delta_list_stays_stored_and_is_not_what_the_next_request_waits_for(web, store, caplog):
    caplog.set_level(logging.INFO)
    now = datetime.now(UTC)
    early = delta(ROOT, 5, 6, last_update=now - 2 * HOUR, next_update=now - HOUR)
    late = delta(ROOT, 6, 7, last_update=now - HOUR, next_update=now + 8 * HOUR)
    source = Source(web.url("/a"), [ROOT.certificate], store, Shared())
    for page in (early, late, late):
        web.answers["/a"] = Page(page, headers={"ETag": '"1"'})
        seconds = refresh(source)
    kept = parse_lists(store.read(web.url("/a")), "a")
    assert [entry.number for entry in kept] == [7, 6]
    assert seconds > 600
    assert caplog.text.count("fetched the delta list number 7 of 'CN=Test Root'") == 1
    web.answers["/a"] = Page(status=304)
    seconds = refresh(source)
    assert seconds > 600


def test_a_folder_that_cannot_be_written_is_told_once(web, tmp_path, caplog):
    (tmp_path / "file").touch()
    store = ListStore(tmp_path / "file" / "crl", tmp_path / "fallback")
    source = Source(web.url("/a"), [ROOT.certificate], store, Shared())
    for number in (1, 2):
        web.answers["/a"] = Page(crl(number))
        refresh(source)
    assert caplog.text.count("fetched lists are used, but are lost when the gateway stops") == 1
    assert store.read(source.url) == web.answers["/a"].body


def test_a_folder_that_cannot_even_be_looked_into_costs_no_more_than_a_line(web, tmp_path, monkeypatch, caplog):
    """As another user made it."""

    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    web.answers["/a"] = Page(crl(1))
    source = Source(web.url("/a"), [ROOT.certificate], ListStore(tmp_path / "crl", tmp_path / "fallback"), Shared())
    with monkeypatch.context() as patch:
        for name in ("stat", "read_bytes", "mkdir"):
            patch.setattr(Path, name, forbidden)
        assert refresh(source) <= module.FIRST_RETRY_SECONDS
    told = f"Permission denied; let the gateway write to {tmp_path / 'crl'}; there is no list, next try in"
    assert told in caplog.text


def test_when_a_list_is_asked_for_again():
    now = datetime.now(UTC)

    def after(seconds, chance=0.0):
        made = ROOT.crl(last_update=now - HOUR, next_update=now + timedelta(seconds=seconds))
        (entry,) = parse_lists(made, "x")
        return interval_seconds((entry,), entry.next_update.timestamp() - seconds, chance)

    assert after(600) == 300
    assert after(7200) == after(90 * 86400) == 3600
    assert after(10) == after(-500) == 30
    assert after(600, chance=1.0) == 240


def test_when_a_failure_is_tried_again():
    assert [retry_seconds(count, 0.0) for count in (1, 2, 3, 7, 8, 1000)] == [10, 20, 40, 640, 900, 900]
    assert retry_seconds(1, 1.0) == 8


async def eventually(holds):
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110 - of what other threads do
            await asyncio.sleep(0.01)


def fetching(steps):
    """Run `steps`, a coroutine function of a fetcher that runs meanwhile and is ended behind them."""

    async def main():
        fetcher = Fetcher()
        running = asyncio.ensure_future(fetcher.run())
        await steps(fetcher)
        assert not running.done()
        fetcher.stop()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await running

    asyncio.run(main())


def asked(web, path):
    return sum(seen.path == path for seen in web.requests)


def test_a_new_plan_asks_only_for_what_is_new_or_has_other_cas(web, store):
    other = Ca.make("CN=Other")
    urls = [web.url(f"/{name}") for name in "abc"]
    first = dict.fromkeys(urls, (ROOT.certificate,))

    async def steps(fetcher):
        fetcher.follow(first, store)
        await eventually(lambda: [asked(web, path) for path in ("/a", "/b", "/c")] == [1, 1, 1])
        await eventually(lambda: len(fetcher._sources) == 3)
        fetcher.follow({urls[0]: (ROOT.certificate,), urls[1]: (other.certificate,)}, store)
        await eventually(lambda: asked(web, "/b") == 2 and len(fetcher._sources) == 2)
        fetcher.follow({}, store)
        fetcher.follow(first, store)  # before the sources noticed that they had to end
        await eventually(lambda: [asked(web, path) for path in ("/a", "/b", "/c")] == [2, 3, 2])

    fetching(steps)


def test_a_failure_that_nobody_foresaw_costs_only_its_own_url(web, store, monkeypatch, caplog):
    real = module.check_successor

    def surprise(url, *more):
        if url.endswith("/a"):
            raise RuntimeError("a surprise")
        return real(url, *more)

    monkeypatch.setattr(module, "check_successor", surprise)
    web.answers["/a"] = web.answers["/b"] = Page(crl(1))

    async def steps(fetcher):
        fetcher.follow(dict.fromkeys((web.url("/a"), web.url("/b")), (ROOT.certificate,)), store)
        await eventually(lambda: store.read(web.url("/b")) is not None and "a surprise" in caplog.text)

    fetching(steps)
    assert store.read(web.url("/a")) is None


def test_a_panic_in_the_parser_costs_only_its_own_url(web, store, monkeypatch, caplog):
    class PanicError(BaseException):
        """As pyo3 raises it."""

    def panic(*_):
        raise PanicError("assertion failed")

    monkeypatch.setattr(module, "check_successor", panic)
    web.answers["/a"] = Page(crl(1))
    assert refresh(Source(web.url("/a"), [ROOT.certificate], store, Shared())) <= module.FIRST_RETRY_SECONDS
    assert "PanicError: assertion failed; there is no list, next try in" in caplog.text


def test_servers_and_name_servers_that_are_silent_hold_up_no_other_url(web, store, monkeypatch):
    """Far more of them than an event loop has threads, or a connector connections by default."""
    goes_on = threading.Event()
    real = socket.getaddrinfo

    def look_up(host, *more, **options):
        if host.startswith("silent"):
            goes_on.wait(PATIENCE_SECONDS)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return real(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    good = web.url("/good").replace("127.0.0.1", "localhost")
    web.answers["/good"] = Page(crl(1))
    web.answers["/slow"] = Page(b"list", goes_on=goes_on)
    slow = [web.url(f"/slow?{number}") for number in range(40)]
    web.answers.update({f"/slow?{number}": web.answers["/slow"] for number in range(40)})
    silent = [f"http://silent-{number}.example/ca.crl" for number in range(40)]

    async def steps(fetcher):
        fetcher.follow(dict.fromkeys((*slow, *silent, good), (ROOT.certificate,)), store)
        await eventually(lambda: store.read(good) is not None)

    fetching(steps)
    goes_on.set()


def test_a_source_that_ends_ends_the_fetcher_for_another_to_be_started(store, monkeypatch):
    async def fail(*_):
        raise RuntimeError("a surprise")

    monkeypatch.setattr(Source, "keep", fail)

    async def main():
        fetcher = Fetcher()
        fetcher.follow({"http://a/": (ROOT.certificate,)}, store)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await fetcher.run()

    asyncio.run(main())
