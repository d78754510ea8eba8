"""Certificate status asked online: who waits, who is let in, and what is remembered."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from support.ocsp import GOOD, MINUTE, REVOKED, UNKNOWN, named, response
from support.pki import Ca
from support.waiting import PATIENCE_SECONDS

from gateway import clock
from gateway.config.model import Ocsp
from gateway.facts import NO_CERTIFICATE, Judgement, Reason
from gateway.proxy.ocsp import statuses as module
from gateway.proxy.ocsp.statuses import Statuses
from gateway.tls.client_cert import judge
from gateway.tls.trust import make_trust
from gateway.x509.ocsp import OcspError

BEGIN = datetime(2020, 1, 1, tzinfo=UTC)
ROOT = Ca.make(not_before=BEGIN)
URL = "http://ocsp.example.com/"
ALICE = ROOT.issue("CN=alice", extensions=[named(URL)], not_before=BEGIN)
BOB = ROOT.issue("CN=bob", extensions=[named(URL)], not_before=BEGIN)
TRUST = make_trust([ROOT.certificate])


class Time:
    """The one clock of a test."""

    def __init__(self, monkeypatch):
        self.now = datetime.now(UTC).replace(microsecond=0)
        monkeypatch.setattr(clock, "now", lambda: self.now)
        monkeypatch.setattr(clock, "monotonic_seconds", self.monotonic_seconds)

    def monotonic_seconds(self):
        return self.now.timestamp()

    def passes(self, **amount):
        self.now += timedelta(**amount)


@pytest.fixture
def time(monkeypatch):
    return Time(monkeypatch)


CAROL = ROOT.issue("CN=carol", extensions=[named(URL)], not_before=BEGIN)


class Responder:
    """Answers what it is told to, when it is told to."""

    def __init__(self, time):
        self.time = time
        self.asked = []
        self.status = GOOD
        self.leaf = ALICE
        self.fault = None
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.lasts = 10 * MINUTE
        self.age = timedelta(0)

    async def ask(self, url, _request):
        self.asked.append(url)
        await self.goes_on.wait()
        if self.fault is not None:
            raise self.fault
        since = self.time.now - self.age
        return response(self.leaf, ROOT, self.status, this_update=since, next_update=since + self.lasts)


def site(mode="hard", responder="from_certificate", trust=TRUST, name="mail"):
    return SimpleNamespace(
        site=SimpleNamespace(name=name, ocsp=Ocsp(mode, responder)), tls=SimpleNamespace(trust=trust)
    )


def trusted(leaf=ALICE):
    judgement = judge(leaf.certificate, (), TRUST, datetime.now(UTC))
    assert judgement.is_trusted
    return judgement


@pytest.fixture
def dialogue(time):
    """Runs a test's coroutine with a responder and a memory."""

    def run(talk):
        async def main():
            responder = Responder(time)
            statuses = Statuses(responder.ask)
            await asyncio.wait_for(talk(responder, statuses), PATIENCE_SECONDS)

        asyncio.run(main())

    return run


async def settled(statuses, state, judgement=None):
    """The verdict once nothing is under way."""
    judgement = judgement or trusted()
    found, question = statuses.look_up(state, judgement, clock.now())
    if question is not None:
        assert found.reason is Reason.REVOCATION_UNKNOWN
        assert found.detail == "the OCSP responder is being asked"
        await question
        found, question = statuses.look_up(state, judgement, clock.now())
    assert question is None
    return found


@pytest.mark.parametrize("mode", ["soft", "hard"])
@pytest.mark.parametrize(
    ("status", "reason"),
    [(GOOD, None), (REVOKED, Reason.CERTIFICATE_REVOKED), (UNKNOWN, Reason.REVOCATION_UNKNOWN)],
)
def test_what_a_responder_says_counts_in_both_modes(dialogue, mode, status, reason):
    async def talk(responder, statuses):
        responder.status = status
        assert (await settled(statuses, site(mode))).reason is reason
        assert responder.asked == [URL]

    dialogue(talk)


def test_a_good_answer_leaves_the_very_judgement_and_is_asked_for_once(dialogue, time):
    async def talk(responder, statuses):
        judgement = trusted()
        assert await settled(statuses, site(), judgement) is judgement
        time.passes(minutes=10)
        assert await settled(statuses, site(), judgement) is judgement
        assert len(responder.asked) == 1
        time.passes(seconds=1)
        assert await settled(statuses, site(), judgement) is judgement
        assert len(responder.asked) == 2

    dialogue(talk)


def test_two_that_ask_at_once_wait_for_one_answer(dialogue):
    async def talk(responder, statuses):
        responder.goes_on.clear()
        _, first = statuses.look_up(site(), trusted(), clock.now())
        _, second = statuses.look_up(site(), trusted(), clock.now())
        assert first is second
        responder.goes_on.set()
        await first
        assert len(responder.asked) == 1

    dialogue(talk)


def test_sites_ask_for_themselves_and_a_given_responder_is_asked_instead(dialogue):
    async def talk(responder, statuses):
        await settled(statuses, site())
        await settled(statuses, site(name="other", responder="http://mine/"))
        assert responder.asked == [URL, "http://mine/"]

    dialogue(talk)


def test_whom_nobody_trusts_nobody_is_asked_about(dialogue):
    async def talk(responder, statuses):
        refused = Judgement(trusted().identity, Reason.CERTIFICATE_EXPIRED, "expired")
        for judgement in (refused, NO_CERTIFICATE):
            assert statuses.look_up(site(), judgement, clock.now()) == (judgement, None)
        assert responder.asked == []

    dialogue(talk)


def test_a_new_trust_asks_anew_before_the_next_request(dialogue):
    async def talk(responder, statuses):
        assert (await settled(statuses, site())).is_trusted
        responder.status = REVOKED
        assert (await settled(statuses, site())).is_trusted
        renewed = site(trust=make_trust([ROOT.certificate]))
        assert (await settled(statuses, renewed)).reason is Reason.CERTIFICATE_REVOKED

    dialogue(talk)


def test_without_an_answer_hard_refuses_and_asks_again_after_a_while(dialogue, time):
    async def talk(responder, statuses):
        responder.fault = OcspError("it is down")
        judgement = await settled(statuses, site())
        assert (judgement.reason, judgement.detail) == (Reason.REVOCATION_UNKNOWN, "it is down")
        time.passes(seconds=module.RETRY_SECONDS)
        assert (await settled(statuses, site())).reason is Reason.REVOCATION_UNKNOWN
        assert len(responder.asked) == 1
        responder.fault = None
        time.passes(seconds=1)
        assert (await settled(statuses, site())).is_trusted

    dialogue(talk)


def test_without_an_answer_soft_lets_in_and_later_questions_hold_up_nobody(dialogue, time):
    async def talk(responder, statuses):
        responder.fault = OcspError("it is down")
        judgement = trusted()
        assert await settled(statuses, site("soft"), judgement) is judgement
        time.passes(seconds=module.RETRY_SECONDS + 1)
        responder.goes_on.clear()
        responder.fault, responder.status = None, REVOKED
        assert statuses.look_up(site("soft"), judgement, clock.now()) == (judgement, None)
        await asyncio.sleep(0)
        assert len(responder.asked) == 2
        question = statuses._entry("mail", judgement.identity.fingerprint).question
        responder.goes_on.set()
        await question
        assert (await settled(statuses, site("soft"))).reason is Reason.CERTIFICATE_REVOKED

    dialogue(talk)


@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_who_was_revoked_stays_out_when_the_responder_is_gone(dialogue, time, mode):
    async def talk(responder, statuses):
        responder.status = REVOKED
        await settled(statuses, site(mode))
        time.passes(minutes=11)
        responder.fault = OcspError("it is down")
        assert (await settled(statuses, site(mode))).reason is Reason.CERTIFICATE_REVOKED
        time.passes(minutes=1)
        responder.fault, responder.status = None, GOOD
        await asyncio.sleep(0)
        found, question = statuses.look_up(site(mode), trusted(), clock.now())
        assert question is None or not found.is_trusted
        question = statuses._entry("mail", found.identity.fingerprint).question
        await question
        assert (await settled(statuses, site(mode))).is_trusted

    dialogue(talk)


def test_an_older_answer_does_not_bring_a_revoked_certificate_back(dialogue, time):
    async def talk(responder, statuses):
        responder.status, responder.lasts = REVOKED, MINUTE
        await settled(statuses, site())
        time.passes(minutes=2)
        responder.status, responder.age, responder.lasts = GOOD, 3 * MINUTE, 60 * MINUTE
        assert (await settled(statuses, site())).reason is Reason.CERTIFICATE_REVOKED
        bob = Statuses(responder.ask)
        assert (await settled(bob, site())).is_trusted  # the same answer, for who knows nothing newer

    dialogue(talk)


def test_an_answer_about_somebody_else_is_none(dialogue):
    async def talk(responder, statuses):
        responder.leaf = BOB
        assert (await settled(statuses, site())).detail == "the answer is about another certificate"

    dialogue(talk)


def test_a_question_that_breaks_off_is_no_answer_and_asked_again_only_later(dialogue):
    async def talk(responder, statuses):
        responder.goes_on.clear()
        _, question = statuses.look_up(site(), trusted(), clock.now())
        await asyncio.sleep(0)
        question.cancel()
        await asyncio.wait([question])
        judgement = await settled(statuses, site())
        cancelled = "the request to the OCSP responder was cancelled"
        assert (judgement.reason, judgement.detail) == (Reason.REVOCATION_UNKNOWN, cancelled)
        assert len(responder.asked) == 1

    dialogue(talk)


def test_a_certificate_without_a_responder_is_not_asked_about(dialogue, caplog):
    async def talk(responder, statuses):
        plain = judge(ROOT.issue("CN=plain", not_before=BEGIN).certificate, (), TRUST, datetime.now(UTC))
        assert (await settled(statuses, site("soft"), plain)) is plain
        refused = await settled(Statuses(responder.ask), site(), plain)
        assert (refused.reason, refused.detail) == (
            Reason.REVOCATION_UNKNOWN,
            "the certificate names no OCSP responder",
        )
        assert responder.asked == []

    dialogue(talk)
    assert "CN=plain" in caplog.text


def test_a_responder_that_is_down_is_told_once_a_minute(dialogue, time, caplog):
    async def talk(responder, statuses):
        responder.fault = OcspError("it is down")
        await settled(statuses, site())
        await settled(statuses, site(), trusted(BOB))
        assert caplog.text.count("it is down") == 1
        time.passes(seconds=module.LOG_SECONDS)
        await settled(statuses, site())
        assert caplog.text.count("it is down") == 2

    dialogue(talk)


def test_the_last_certificate_that_is_remembered_and_one_more(dialogue, monkeypatch):
    monkeypatch.setattr(module, "MAX_REMEMBERED_STATUSES", 1)

    async def talk(responder, statuses):
        await settled(statuses, site())
        await settled(statuses, site())
        assert len(responder.asked) == 1
        responder.leaf = BOB
        await settled(statuses, site(), trusted(BOB))
        responder.leaf = ALICE
        await settled(statuses, site())
        assert len(responder.asked) == 3

    dialogue(talk)


def test_closing_ends_what_is_under_way(dialogue):
    async def talk(responder, statuses):
        await settled(statuses, site("hard", name="other"))
        responder.goes_on.clear()
        _, question = statuses.look_up(site(), trusted(), clock.now())
        await asyncio.sleep(0)
        await statuses.close()
        await asyncio.wait([question])
        assert question.cancelled()

    dialogue(talk)


async def ask_in_vain(statuses, state, *leaves):
    for leaf in leaves:
        _, question = statuses.look_up(state, trusted(leaf), clock.now())
        if question is not None:
            await question


@pytest.mark.parametrize(
    ("responder_of", "leaves", "is_told"),
    [("from_certificate", (ALICE,), False), ("from_certificate", (ALICE, BOB, CAROL), True), (URL, (ALICE,), True)],
)
def test_a_responder_that_answers_nothing_for_a_minute_is_told(dialogue, time, responder_of, leaves, is_told):
    async def talk(responder, statuses):
        state = site(responder=responder_of)
        responder.fault = OcspError("it is down")
        await ask_in_vain(statuses, state, *leaves)
        time.passes(seconds=module.SILENT_SECONDS - 1)
        assert statuses.silent_sites() == []
        time.passes(seconds=1)
        assert statuses.silent_sites() == ["mail"] * is_told
        time.passes(seconds=module.FORGOTTEN_SECONDS - module.SILENT_SECONDS)
        assert statuses.silent_sites() == []
        await ask_in_vain(statuses, state, *leaves)
        assert statuses.silent_sites() == []  # a new silence, of now

    dialogue(talk)


def test_an_answer_ends_the_silence(dialogue, time):
    async def talk(responder, statuses):
        state = site(responder=URL)
        responder.fault = OcspError("it is down")
        await ask_in_vain(statuses, state, ALICE)
        time.passes(seconds=module.SILENT_SECONDS)
        assert statuses.silent_sites() == ["mail"]
        responder.fault = None
        await ask_in_vain(statuses, state, ALICE)
        assert statuses.silent_sites() == []

    dialogue(talk)
