"""OCSP for client certificates: a running gateway, the responder of `openssl`, and responders that are of no use."""

from __future__ import annotations

import signal
import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509 import ocsp
from support.client import VERSIONS, Client, ask
from support.credentials import CA_PASSWORD, Identity
from support.gateway import OUTSIDE, Gateway, free_port, settings_for
from support.ocsp import GOOD, MINUTE, REVOKED, OpensslResponder, index_line, named, response
from support.pki import Leaf
from support.waiting import AT_ONCE_SECONDS, until
from support.web import Page, WebServer

pytestmark = [pytest.mark.e2e, pytest.mark.measured]

PASSES = (200, None)
IS_REVOKED = (403, "certificate_revoked")
IS_UNKNOWN = (403, "revocation_unknown")


@pytest.fixture
def launch(tmp_path, credentials, mail):
    launched = []

    def start(mode, responder="from_certificate") -> Gateway:
        site = {
            **credentials.server,
            "client_ca": [str(credentials.root)],
            "ocsp": {"mode": mode, "responder": responder},
        }
        launched.append(Gateway.start(tmp_path, settings_for(site, mail.url)))
        return launched[-1]

    yield start
    for gateway in launched:
        try:
            if gateway.process.poll() is None:
                mail.forget()  # idle connections to it are kept on purpose
                gateway.check_open_files()
        finally:
            assert gateway.stop() == 0
        gateway.check_errors()


@pytest.fixture
def responder(tmp_path, credentials):
    made = OpensslResponder(tmp_path, credentials.root, credentials.folder / "rootCA.key", CA_PASSWORD, "-nmin", "5")
    yield made
    made.stop()


@pytest.fixture
def web():
    with WebServer() as server:
        yield server


def certificate(identity):
    return x509.load_der_x509_certificate(identity.der)


def verdict(gateway, identity):
    return ask(gateway.port, "/webmail", source=OUTSIDE, identity=identity).verdict


@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_the_responder_of_openssl_decides(launch, responder, credentials, mode):
    alice, bob = credentials["alice"], credentials["v3"]
    responder.start(index_line(certificate(alice), is_revoked=True), index_line(certificate(bob)))
    gateway = launch(mode, responder.url)

    assert verdict(gateway, alice) == IS_REVOKED
    assert verdict(gateway, bob) == PASSES
    assert verdict(gateway, credentials["p256"]) == IS_UNKNOWN  # it says itself that it doesn't know this one
    assert verdict(gateway, credentials["stranger"]) == (403, "certificate_untrusted")
    assert verdict(gateway, None) == (403, "certificate_missing")


def test_after_a_reload_the_next_request_on_an_open_connection_is_judged_anew(launch, responder, credentials):
    alice = credentials["alice"]
    responder.start(index_line(certificate(alice)))
    gateway = launch("hard", responder.url)
    with Client(gateway.port, source=OUTSIDE, identity=alice) as client:
        assert client.ask("GET", "/webmail").verdict == PASSES
        responder.start(index_line(certificate(alice), is_revoked=True))
        assert client.ask("GET", "/webmail").verdict == PASSES  # the answer of a moment ago still counts
        gateway.signal(signal.SIGHUP)
        until(lambda: "reloaded:" in gateway.errors, "the master has reloaded")
        answers = []

        def is_out():
            answers.append(client.ask("GET", "/webmail").verdict)
            return answers[-1] == IS_REVOKED

        until(is_out, "alice is out", seconds=AT_ONCE_SECONDS)
        assert set(answers) <= {PASSES, IS_REVOKED}


@pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])
@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_after_a_reload_a_long_poll_ends_with_the_new_answer(launch, responder, credentials, mail, mode, version):
    alice = credentials["alice"]
    responder.start(index_line(certificate(alice)))
    gateway = launch(mode, responder.url)
    mail.answer("/webmail/poll", lambda dialogue: dialogue.wait_closed())
    with Client(gateway.port, source=OUTSIDE, identity=alice, version=version) as client:
        client.send(client.request("GET", "/webmail/poll"))
        request = mail.only()
        responder.start(index_line(certificate(alice), is_revoked=True))
        gateway.signal(signal.SIGHUP)
        assert client.answer().verdict == IS_REVOKED
    record = gateway.log.of(request.request_id)
    assert (record["status"], record["reason"]) == IS_REVOKED


def test_nobody_answers_soft_lets_in_and_says_so_and_hard_does_not(launch, credentials):
    nobody = f"http://127.0.0.1:{free_port()}/"
    gateway = launch("hard", nobody)
    assert verdict(gateway, credentials["alice"]) == IS_UNKNOWN
    assert gateway.stop() == 0
    gateway = launch("soft", nobody)
    assert verdict(gateway, credentials["alice"]) == PASSES
    until(lambda: "is unknown: " + nobody in gateway.errors, "a line in the log")


def test_without_a_responder_in_the_certificate_hard_keeps_out(launch, credentials):
    gateway = launch("hard")
    answer = ask(gateway.port, "/webmail", source=OUTSIDE, identity=credentials["alice"])
    assert answer.verdict == IS_UNKNOWN
    gateway.says("the certificate names no OCSP responder")


def make_user(credentials, web, tmp_path, name="carol"):
    """Somebody whose certificate names the web server as its responder."""
    root = credentials._load(credentials.root, credentials.folder / "rootCA.key", CA_PASSWORD)
    now = datetime.now(UTC)
    dates = {"not_before": now - timedelta(days=1), "not_after": now + timedelta(days=1)}
    leaf = root.issue(f"CN={name}", extensions=[named(web.url("/ocsp"))], **dates)
    return root, leaf, Identity(*leaf.write(tmp_path, name))


def answer_for(leaf: Leaf, root: Leaf, status=GOOD) -> Page:
    now = datetime.now(UTC)
    return Page(response(leaf, root, status, this_update=now - MINUTE, next_update=now + 5 * MINUTE))


def test_the_certificate_names_its_responder_and_one_question_serves_all(launch, credentials, web, tmp_path):
    root, leaf, carol = make_user(credentials, web, tmp_path)
    web.answers["/ocsp"] = answer_for(leaf, root)
    gateway = launch("hard")
    assert [verdict(gateway, carol) for _ in range(3)] == [PASSES] * 3
    assert len(web.requests) == 1
    assert web.requests[0].headers["Content-Type"] == "application/ocsp-request"


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (Page(b"rubbish"), "not readable"),
        (Page(b"x" * 100_000), "answered more than"),
        (Page(status=500), "status 500"),
        (Page(status=302, headers={"Location": "/elsewhere"}), "status 302"),
    ],
    ids=["garbage", "huge", "500", "redirect"],
)
def test_a_responder_of_no_use_is_no_answer(launch, credentials, web, tmp_path, page, words):
    _root, _leaf, carol = make_user(credentials, web, tmp_path)
    web.answers["/ocsp"] = page
    gateway = launch("hard")
    assert verdict(gateway, carol) == IS_UNKNOWN
    gateway.says(words)
    assert [seen.path for seen in web.requests] == ["/ocsp"]


def test_while_one_waits_for_a_slow_responder_others_are_served(launch, credentials, web, tmp_path):
    """The first request waits with all that was sent behind it, the second user comes and goes meanwhile."""
    root, leaf, carol = make_user(credentials, web, tmp_path)
    _root, other, dave = make_user(credentials, web, tmp_path, "dave")
    goes_on = threading.Event()
    page = answer_for(leaf, root)
    page.goes_on = goes_on
    prompt = answer_for(other, root)
    serial = leaf.certificate.serial_number

    def by_serial(seen):
        return page if ocsp.load_der_ocsp_request(seen.body).serial_number == serial else prompt

    web.answers["/ocsp"] = by_serial
    gateway = launch("hard")
    with Client(gateway.port, source=OUTSIDE, identity=carol) as client:
        body = b"x" * 200_000
        client.send(client.request("POST", "/webmail", body=body) + client.request("GET", "/webmail"))
        until(lambda: web.requests, "the responder is asked")
        assert verdict(gateway, dave) == PASSES
        goes_on.set()
        assert client.answer("POST").verdict == PASSES
        assert client.answer().verdict == PASSES
    assert len(web.requests) == 2


def test_a_client_that_leaves_while_it_waits_is_logged_and_the_answer_kept(launch, credentials, web, tmp_path):
    root, leaf, carol = make_user(credentials, web, tmp_path)
    page = web.answers["/ocsp"] = answer_for(leaf, root)
    page.goes_on = threading.Event()
    gateway = launch("hard")
    with Client(gateway.port, source=OUTSIDE, identity=carol) as client:
        client.send(client.request("GET", "/webmail"))
        until(lambda: web.requests, "the responder is asked")
    (record,) = gateway.log.of_address(OUTSIDE)
    assert (record["status"], record["uri"]) == (None, "/webmail")
    page.goes_on.set()
    assert verdict(gateway, carol) == PASSES
    assert len(web.requests) == 1


def test_a_responder_that_never_ends_is_given_up(launch, credentials, web, tmp_path):
    root, leaf, carol = make_user(credentials, web, tmp_path)
    page = web.answers["/ocsp"] = answer_for(leaf, root, REVOKED)
    page.goes_on = threading.Event()
    gateway = launch("hard")
    assert verdict(gateway, carol) == IS_UNKNOWN
    gateway.says("did not answer within 5 s")
    page.goes_on.set()
