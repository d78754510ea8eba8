"""What the publisher answers, from a registry in each database: always the newest, and no more work than is bounded."""

import asyncio
import itertools
import logging
import threading
from datetime import timedelta

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp as codec
from sqlalchemy import update
from support import postgres
from support.desk import DAY, NOW, issue_to, make_authority, open_desk
from support.waiting import PATIENCE_SECONDS

from gateway import clock
from gateway.errors import OperationError, RequestError, UsageError
from gateway.facts import Reason
from gateway.http.published import Kind, Wanted
from gateway.http.relay import Question
from gateway.pki import crl as lists
from gateway.pki import lifecycle, ocsp, ocsp_signer, pkcs8
from gateway.pki.registry.engine import Registry
from gateway.pki.registry.records import RevocationReason
from gateway.pki.registry.tables import AUTHORITIES
from gateway.publishing import answers as module
from gateway.publishing.answers import FRESH_SECONDS, KEPT_SECONDS, MAX_AGE, Answers

SHA1 = hashes.SHA1()  # noqa: S303 - what clients ask with
LIST = Question(Wanted(Kind.LIST, "corp"), is_cacheable=True)
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def postgres_url():
    with postgres.cluster() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def registry_url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/pki/registry.db"
    template = request.getfixturevalue("postgres_url")
    name = f"publications_{next(_numbers)}"
    with psycopg.connect(template.format(database="postgres").replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return template.format(database=name)


class World:
    """A desk that writes, a publisher's registry that reads, and a clock."""

    def __init__(self, folder, url, monkeypatch):
        self.desk = open_desk(folder, url)
        self.corp = make_authority(self.desk)
        self.seconds = 0.0
        monkeypatch.setattr(clock, "now", lambda: NOW + timedelta(seconds=self.seconds))
        monkeypatch.setattr(clock, "unix_seconds", lambda: clock.now().timestamp())
        monkeypatch.setattr(clock, "monotonic_seconds", lambda: 1000 + self.seconds)
        self.registry = Registry.open_for_reading(url)
        self.answers = Answers(self.registry, ocsp_signer.SignerFiles(self.desk), " -c gw.yaml")
        self.signed = 0

    def run(self, *questions):
        """The answers, all asked at once after so much time that the registry is looked at again."""
        self.seconds += 2 * FRESH_SECONDS

        async def ask():
            return await asyncio.gather(*map(self.answers.answer, questions), return_exceptions=True)

        return asyncio.run(ask())

    def ask(self, question):
        (answer,) = self.run(question)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def question(self, certificate, *, nonce=None, is_cacheable=True):
        builder = codec.OCSPRequestBuilder().add_certificate(certificate, self.corp.certificate, SHA1)
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        request = builder.build().public_bytes(Encoding.DER)
        return Question(Wanted(Kind.OCSP, request=request), is_cacheable=is_cacheable)

    def status(self, *arguments, **options):
        return codec.load_der_ocsp_response(self.ask(self.question(*arguments, **options))[1])


@pytest.fixture
def world(tmp_path, registry_url, monkeypatch):
    monkeypatch.setattr(pkcs8, "SCRYPT_COST", 2**4)
    made = World(tmp_path, registry_url, monkeypatch)
    yield made
    made.answers.close()
    made.registry.close()
    made.desk.registry.close()


@pytest.fixture
def signer(world, monkeypatch):
    """With a signer, whose signatures are counted."""
    made = ocsp_signer.make_signer(world.desk, world.corp, NOW)
    original = ocsp.respond

    def counted(*arguments):
        world.signed += 1
        return original(*arguments)

    monkeypatch.setattr(ocsp, "respond", counted)
    return made


def fields(answer):
    return dict(answer[0].fields)


def refusal(world, question):
    with pytest.raises(RequestError) as raised:
        world.ask(question)
    return raised.value


# lists and certificates


def test_a_list_is_the_newest_and_says_how_long_it_may_be_kept(world):
    reply, body = world.ask(LIST)
    assert (
        x509.load_der_x509_crl(body).last_update_utc
        == x509.load_pem_x509_crl(world.desk.file("corp", "crl").read_bytes()).last_update_utc
    )
    assert (reply.status, reply.length_bytes) == (200, len(body))
    told = fields((reply, body))
    assert told["Content-Type"] == "application/pkix-crl"
    assert told["Cache-Control"] == f"max-age={int(MAX_AGE.total_seconds())}, public, no-transform, must-revalidate"
    assert told["Last-Modified"] == "Tue, 24 Nov 2026 11:55:00 GMT"
    assert told["Date"] == "Tue, 24 Nov 2026 12:00:00 GMT"
    lists.renew(world.desk, world.corp, NOW)
    newer = world.ask(LIST)
    assert x509.load_der_x509_crl(newer[1]).last_update_utc > x509.load_der_x509_crl(body).last_update_utc
    assert fields(newer)["ETag"] != told["ETag"]


def test_who_has_the_list_is_told_so(world):
    told = fields(world.ask(LIST))
    for condition in ({"if_none_match": told["ETag"].encode()}, {"if_modified_since": told["Last-Modified"].encode()}):
        reply, body = world.ask(Question(LIST.wanted, is_cacheable=True, **condition))
        assert (reply.status, reply.length_bytes, body) == (304, 0, b"")
        assert fields((reply, body))["ETag"] == told["ETag"]


def test_a_list_is_read_once_for_as_long_as_it_is_the_newest(world, monkeypatch):
    first = world.ask(LIST)[1]
    monkeypatch.setattr(world.answers, "_read_list", None)
    assert world.ask(LIST)[1] == first


def test_a_list_that_has_ended_is_served_as_what_it_is(world, caplog):
    world.seconds = (40 * DAY).total_seconds()
    for _ in range(2):
        reply = world.ask(LIST)[0]
        assert (reply.status, dict(reply.fields)["Cache-Control"]) == (200, "no-cache")
    told = "the revocation list of 'corp' expired 2026-12-24 12:00 UTC; run 'gateway ca -c gw.yaml crl corp'"
    assert caplog.text.count(told) == 1
    world.seconds += module.REPEAT_SECONDS
    world.ask(LIST)
    assert caplog.text.count("expired 2026-12-24") == 2


def test_the_last_minutes_of_a_list_bound_how_long_it_is_kept(world):
    world.seconds = (30 * DAY).total_seconds() - 60
    assert fields(world.ask(LIST))["Cache-Control"].startswith("max-age=59,")


def test_a_certificate_is_the_authoritys_own(world):
    answer = world.ask(Question(Wanted(Kind.CERTIFICATE, "corp"), is_cacheable=True))
    assert answer[1] == world.corp.certificate.public_bytes(Encoding.DER)
    assert fields(answer)["Content-Type"] == "application/pkix-cert"


@pytest.mark.parametrize("kind", [Kind.LIST, Kind.CERTIFICATE])
@pytest.mark.parametrize("name", ["nobody", "", "../corp", "corp/corp", "%"])
def test_other_names_are_not_there(world, kind, name):
    error = refusal(world, Question(Wanted(kind, name)))
    assert (error.reason, error.cause) == (Reason.NOT_FOUND, f"there is no authority '{name}'")


def test_an_authority_without_a_list_has_none(world):
    with world.desk.registry.writing() as connection:
        connection.execute(update(AUTHORITIES).values(crl_der=None, crl_number=0))
    assert refusal(world, LIST).cause == "authority 'corp' has no revocation list"


def test_a_list_that_is_too_long_is_not_served(world, monkeypatch, caplog):
    monkeypatch.setattr(module, "MAX_LIST_BYTES", 10)
    assert refusal(world, LIST).reason is Reason.NO_HEALTHY_UPSTREAM
    assert "the revocation list of 'corp' is longer than 10 bytes" in caplog.text


def test_lists_are_kept_up_to_a_bound(world, monkeypatch):
    make_authority(world.desk, "other")
    size = len(world.ask(LIST)[1])
    monkeypatch.setattr(module, "MAX_KEPT_LIST_BYTES", size + 10)
    world.ask(Question(Wanted(Kind.LIST, "other")))
    assert list(world.answers._lists) == ["other"]
    assert world.ask(LIST)[0].status == 200


# certificate status


@pytest.mark.usefixtures("signer")
def test_an_answer_is_signed_once_for_everybody_and_a_nonce_for_one(world):
    made = issue_to(world.desk, world.corp).certificate
    first = world.ask(world.question(made))
    told = fields(first)
    assert told["Content-Type"] == "application/ocsp-response"
    assert told["Cache-Control"].startswith("max-age=300, public,")
    assert {"ETag", "Last-Modified", "Date"} <= set(told)
    assert world.ask(world.question(made))[1] == first[1]
    posted = world.ask(world.question(made, is_cacheable=False))
    assert posted[1] == first[1]
    assert fields(posted)["Cache-Control"] == "no-store"
    assert world.signed == 1
    assert world.ask(Question(world.question(made).wanted, False, True, told["ETag"].encode()))[0].status == 304
    for count in (2, 3):
        answer = world.ask(world.question(made, nonce=b"n" * 16))
        assert fields(answer)["Cache-Control"] == "no-store"
        assert world.signed == count
    world.seconds += KEPT_SECONDS
    assert world.status(made).certificate_status is codec.OCSPCertStatus.GOOD
    assert world.signed == 4


@pytest.mark.usefixtures("signer")
def test_a_revocation_is_in_the_next_answer(world):
    made = issue_to(world.desk, world.corp)
    other = issue_to(world.desk, world.corp, "bob@example.com")
    for certificate in (made.certificate, other.certificate):
        assert world.status(certificate).certificate_status is codec.OCSPCertStatus.GOOD
    lifecycle.hold(world.desk, world.corp, [made.record], NOW)
    assert world.status(made.certificate).certificate_status is codec.OCSPCertStatus.REVOKED
    assert world.status(other.certificate).certificate_status is codec.OCSPCertStatus.GOOD
    lifecycle.revoke(world.desk, world.corp, [other.record], RevocationReason.UNSPECIFIED, NOW)
    assert world.status(other.certificate).certificate_status is codec.OCSPCertStatus.REVOKED


@pytest.mark.usefixtures("signer")
def test_what_is_unknown_is_asked_for_anew(world):
    made = issue_to(world.desk, world.corp).certificate
    known = codec.load_der_ocsp_request(world.question(made).wanted.request)
    builder = codec.OCSPRequestBuilder().add_certificate_by_hash(
        known.issuer_name_hash, known.issuer_key_hash, x509.random_serial_number(), SHA1
    )
    question = Question(Wanted(Kind.OCSP, request=builder.build().public_bytes(Encoding.DER)), is_cacheable=True)
    for count in (1, 2):
        answer = world.ask(question)
        assert codec.load_der_ocsp_response(answer[1]).certificate_status is codec.OCSPCertStatus.UNKNOWN
        assert fields(answer)["Cache-Control"] == "no-store"
        assert world.signed == count


@pytest.mark.usefixtures("signer")
def test_answers_are_kept_up_to_a_bound(world, monkeypatch):
    monkeypatch.setattr(module, "MAX_KEPT_ANSWERS", 1)
    one, other = (issue_to(world.desk, world.corp, f"{name}@example.com").certificate for name in ("a", "b"))
    for certificate in (one, other, other, one):
        world.status(certificate)
    assert world.signed == 3
    monkeypatch.setattr(module, "MAX_KEPT_REQUEST_BYTES", 10)
    world.seconds += KEPT_SECONDS
    for _ in range(2):
        world.status(one)
    assert world.signed == 5


@pytest.mark.usefixtures("signer")
def test_noise_is_answered_as_such(world):
    answer = world.ask(Question(Wanted(Kind.OCSP, request=b"0\x03\x02\x01\x05"), is_cacheable=True))
    assert codec.load_der_ocsp_response(answer[1]).response_status is codec.OCSPResponseStatus.MALFORMED_REQUEST
    assert fields(answer)["Cache-Control"] == "no-store"
    empty = codec.load_der_ocsp_response(world.ask(Question(Wanted(Kind.OCSP)))[1])
    assert empty.response_status is codec.OCSPResponseStatus.MALFORMED_REQUEST


def test_without_a_good_signer_the_log_says_why(world, caplog):
    made = issue_to(world.desk, world.corp).certificate
    assert world.status(made).response_status is codec.OCSPResponseStatus.UNAUTHORIZED
    assert "authority 'corp' has no OCSP signer; run 'gateway ca -c gw.yaml ocsp corp'" in caplog.text
    ocsp_signer.make_signer(world.desk, world.corp, NOW)
    world.seconds = (31 * DAY).total_seconds()
    assert world.status(made).response_status is codec.OCSPResponseStatus.TRY_LATER
    assert "the OCSP signer of authority 'corp' has expired; run 'gateway ca -c gw.yaml ocsp corp'" in caplog.text


def test_a_signer_that_cannot_be_read_is_told(world, caplog):
    made = issue_to(world.desk, world.corp).certificate
    world.desk.file("corp", "ocsp.crt").write_text("nothing")
    assert world.status(made).response_status is codec.OCSPResponseStatus.TRY_LATER
    assert "ocsp.crt: is not a certificate" in caplog.text


# too much, and nothing


@pytest.mark.usefixtures("signer")
def test_many_who_ask_at_once_are_one_look_at_the_numbers(world, monkeypatch):
    looks = []
    original = world.answers._read_numbers
    monkeypatch.setattr(world.answers, "_read_numbers", lambda: looks.append(1) or original())
    made = issue_to(world.desk, world.corp).certificate
    answers = world.run(*[world.question(made)] * 20, *[LIST] * 20)
    assert not [each for each in answers if isinstance(each, BaseException)]
    assert len(looks) == 1


def test_a_new_list_is_read_once_however_many_want_it(world, monkeypatch):
    reads = []
    original = world.answers._read_list
    monkeypatch.setattr(world.answers, "_read_list", lambda name: reads.append(name) or original(name))
    for count in (1, 2):
        answers = world.run(*[LIST] * (2 * module.MAX_WAITING))
        assert {reply.status for reply, _ in answers} == {200}
        assert len({id(body) for _, body in answers}) == 1
        assert reads == ["corp"] * count
        lists.renew(world.desk, world.corp, NOW)


def test_who_goes_away_takes_a_new_list_from_nobody(world, monkeypatch):
    reading, goes_on, original = threading.Event(), threading.Event(), world.answers._read_list

    def slow(name):
        reading.set()
        assert goes_on.wait(PATIENCE_SECONDS)
        return original(name)

    monkeypatch.setattr(world.answers, "_read_list", slow)

    async def ask():
        one, other = (asyncio.ensure_future(world.answers.answer(LIST)) for _ in range(2))
        assert await asyncio.to_thread(reading.wait, 10)
        one.cancel()
        goes_on.set()
        return await other

    assert asyncio.run(ask())[0].status == 200


@pytest.mark.usefixtures("signer")
def test_more_than_can_wait_are_asked_to_come_again(world, monkeypatch, caplog):
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    goes_on, original = threading.Event(), ocsp.respond

    def slow(*arguments):
        assert goes_on.wait(PATIENCE_SECONDS)
        return original(*arguments)

    monkeypatch.setattr(ocsp, "respond", slow)
    certificates = [issue_to(world.desk, world.corp, f"u{number}@example.com").certificate for number in range(5)]
    world.ask(LIST)

    async def ask():
        waiting = [asyncio.ensure_future(world.answers.answer(world.question(each))) for each in certificates]
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 2:
            more, _ = await asyncio.wait(
                [each for each in waiting if each not in done], return_when=asyncio.FIRST_COMPLETED
            )
            done |= more
        late = [codec.load_der_ocsp_response(each.result()[1]).response_status for each in done]
        goes_on.set()
        rest = await asyncio.gather(*(each for each in waiting if each not in done))
        return late, [codec.load_der_ocsp_response(body).response_status for _, body in rest]

    late, good = asyncio.run(ask())
    assert late == [codec.OCSPResponseStatus.TRY_LATER] * 2
    assert good == [codec.OCSPResponseStatus.SUCCESSFUL] * 3
    assert "too many requests wait for the registry" in caplog.text


def test_a_registry_that_is_away_is_told_and_found_again(world, monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    made = issue_to(world.desk, world.corp).certificate
    original = world.answers._read_numbers

    def away():
        raise OperationError("the registry cannot be used: gone", "Check it.")

    monkeypatch.setattr(world.answers, "_read_numbers", away)
    for answer in world.run(LIST, LIST):
        assert isinstance(answer, RequestError)
        assert (answer.reason, answer.cause) == (Reason.NO_HEALTHY_UPSTREAM, "the registry cannot be used: gone")
    assert world.status(made).response_status is codec.OCSPResponseStatus.TRY_LATER
    assert caplog.text.count("the registry cannot be used: gone") == 1
    monkeypatch.setattr(world.answers, "_read_numbers", original)
    assert world.ask(LIST)[0].status == 200


def test_an_error_of_the_desk_is_a_reason_too(world, monkeypatch):
    def broken(_name):
        raise UsageError("that cannot be", "Do something else.")

    monkeypatch.setattr(world.answers, "_read_list", broken)
    assert refusal(world, LIST).cause == "that cannot be"
