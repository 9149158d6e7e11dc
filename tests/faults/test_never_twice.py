"""No payout, push or reversal is ever posted twice, whatever the transport does: the posts are counted at Daraja."""

from __future__ import annotations

import contextlib
import itertools
from decimal import Decimal

import pytest

from mpesa_core.client import DarajaClient
from mpesa_core.errors import MpesaError, NotSent
from mpesa_core.payments.machine import OPEN, is_known
from mpesa_core.payments.records import Status
from mpesa_core.repository.memory import MemoryRepository
from mpesa_core.sandbox import Answer, Api, Behaviour, DarajaServer, Delivery, Ending
from mpesa_core.sandbox.ledger import Kind
from mpesa_core.settings import Settings
from tests import trials
from tests.faults.shop import Shop

REFUSED_TOKEN = (401, 404)
"""An STK push with a refused token is answered 404; so is nothing else here."""

FAILURES = {
    f"{answer}{'' if accepted is None else ', carried out' if accepted else ', not carried out'}": Behaviour(
        answer=answer, accepted=accepted
    )
    for answer, accepted in [
        *((answer, None) for answer in Answer),
        (Answer.LOST, False),
        (Answer.EMPTY, False),
        (Answer.GARBAGE, False),
        (Answer.TRUNCATED, False),
        (Answer.GATEWAY_TIMEOUT, False),
        (Answer.INTERNAL_ERROR, True),
        (Answer.UNAVAILABLE, True),
    ]
}


@pytest.fixture
def shop(tmp_path):
    return Shop.on_file(tmp_path / "shop.db")


def possibly_carried_out(daraja, api):
    """The requests after which money may move: not those whose token was refused, or that were refused at the door."""
    return [each for each in daraja.requests if each.api == api and (each.accepted or each.status not in REFUSED_TOKEN)]


def ask_again(shop, call):
    """What a host does that does not know: the same call, at once, after sweeps, after restarts and much later."""
    for seconds in (0, 0, 31, 130, 3600, 90_000, 100_000):
        with contextlib.suppress(MpesaError):
            call()
        shop.restart()
        with contextlib.suppress(MpesaError):
            call()
        shop.sweep(seconds)


@pytest.mark.parametrize("callbacks", ["delivered", "lost"])
@pytest.mark.parametrize("failure", FAILURES)
def test_payout_is_posted_once(shop, failure, callbacks):
    """For each failure: one post at the most, the money leaves once at the most, and the books say so in the end."""
    behaviour = FAILURES[failure]
    shop.daraja.script(behaviour, api=Api.B2C)
    shop.lost = lambda url: callbacks == "lost" and "/b2c/" in url
    ask_again(shop, shop.pay)
    assert 1 >= len(possibly_carried_out(shop.daraja, Api.B2C))
    posts = {(each.originator_conversation_id, each.status) for each in shop.daraja.requests if each.api == Api.B2C}
    assert 1 >= len({originator for originator, _ in posts})
    left = shop.daraja.ledger.total(Kind.B2C)
    carried_out = shop.daraja.count(Api.B2C, accepted=True)
    assert 100 * carried_out == left
    row = shop.repository.find("idempotency_key", "PAY-1")
    assert (row.status == Status.SUCCESS) == bool(carried_out)
    assert row.status not in OPEN
    settled = [name for name, _ in shop.fired("payout_completed")]
    assert carried_out == len(settled)
    told = [arguments["outcome_known"] for _, arguments in shop.fired("payout_failed")]
    assert not (carried_out and True in told), "a payout that was carried out was called a known failure"


@pytest.mark.parametrize("times", [1, 2, 9])
def test_payout_whose_token_is_refused(shop, times):
    """A token that Daraja refuses before it looks is replaced, once; the payout is carried out once, or never."""
    shop.daraja.when(Behaviour(answer=Answer.UNAUTHORIZED), api=Api.B2C, times=times)
    ask_again(shop, shop.pay)
    assert (1 if times == 1 else 0) == shop.daraja.count(Api.B2C, accepted=True)
    assert 2 == shop.daraja.count(Api.B2C)
    assert 1 == len({each.originator_conversation_id for each in shop.daraja.requests if each.api == Api.B2C})
    row = shop.repository.find("idempotency_key", "PAY-1")
    assert (Status.SUCCESS if times == 1 else Status.FAILED) == row.status


def test_payout_with_a_token_revoked_meanwhile(shop):
    """A token that ended meanwhile costs a second post of the same request, of which the first was not looked at."""
    shop.pay(key="PAY-0")
    shop.daraja.revoke_tokens()
    shop.pay(key="PAY-1")
    shop.sweep()
    assert [True, False, True] == [each.accepted for each in shop.daraja.requests if each.api == Api.B2C]
    assert Decimal(200) == shop.daraja.ledger.total(Kind.B2C)


def test_payout_that_was_taken_although_the_token_was_refused(shop):
    """Daraja carries it out and says 401: the repeat has the same id and is refused as a duplicate; one leaves."""
    shop.daraja.script(Behaviour(answer=Answer.UNAUTHORIZED, accepted=True), api=Api.B2C)
    ask_again(shop, shop.pay)
    assert [True, False] == [each.accepted for each in shop.daraja.requests if each.api == Api.B2C]
    assert Decimal(100) == shop.daraja.ledger.total(Kind.B2C)
    row = shop.repository.find("idempotency_key", "PAY-1")
    told = [arguments["outcome_known"] for _, arguments in shop.fired("payout_failed")]
    assert True not in told, "a payout that was carried out was called a known failure"
    assert Status.SUCCESS == row.status


@pytest.mark.faults
def test_payout_whose_answer_is_cut_at_every_byte(tmp_path):
    """The answer ends after n bytes, for every n: the payout is posted once and settled once."""
    whole = 260
    shop = Shop(MemoryRepository)
    for length in range(0, whole, max(1, round(1 / trials.FACTOR))):
        shop.daraja.script(Behaviour(answer=Answer.TRUNCATED, truncate_at=length), api=Api.B2C)
        key = f"PAY-{length}"
        rows = [shop.pay(key=key) for _ in range(2)]
        shop.sweep(31)
        [posted] = [
            each
            for each in shop.daraja.requests
            if each.api == Api.B2C and each.originator_conversation_id == rows[0].originator_conversation_id
        ]
        assert posted.accepted
        assert Status.SUCCESS == shop.gateway.get(rows[0]).status, length
    assert shop.daraja.count(Api.B2C) == len(shop.fired("payout_completed"))


@pytest.mark.parametrize("failure", FAILURES)
def test_old_payout_without_an_id_of_ours(shop, failure):
    """B2C v1 carries no id of ours: it is posted once all the same, and nothing is invented about it."""
    shop.daraja.script(FAILURES[failure], api=Api.B2C)
    shop.lost = lambda url: "/b2c/" in url
    ask_again(shop, lambda: shop.pay(version=1))
    assert 1 >= len(possibly_carried_out(shop.daraja, Api.B2C))
    assert shop.daraja.ledger.total(Kind.B2C) in (0, 100)
    row = shop.repository.find("idempotency_key", "PAY-1")
    if shop.daraja.ledger.total(Kind.B2C) and row.status != Status.SUCCESS:
        assert (Status.TIMEOUT, False) == (row.status, is_known(row.status, row.settled_by))


@pytest.mark.parametrize("callbacks", ["delivered", "lost"])
@pytest.mark.parametrize("failure", FAILURES)
def test_push_is_posted_once(shop, failure, callbacks):
    """A prompt is shown once for one idempotency key, and settled by whatever M-PESA can still say."""
    shop.daraja.script(FAILURES[failure], api=Api.STK_PUSH)
    shop.lost = lambda url: callbacks == "lost"
    ask_again(shop, lambda: shop.push(idempotency_key="ORDER-1"))
    assert 1 >= len(possibly_carried_out(shop.daraja, Api.STK_PUSH))
    paid = shop.daraja.ledger.total(Kind.STK_PUSH)
    row = shop.repository.find("idempotency_key", "ORDER-1")
    assert row.status not in OPEN
    assert paid or row.status != Status.SUCCESS
    if paid and (callbacks == "delivered" or row.checkout_request_id):
        assert Status.SUCCESS == row.status
    assert not (paid and is_known(row.status, row.settled_by) and row.status == Status.FAILED)


@pytest.mark.parametrize("callbacks", ["delivered", "lost"])
@pytest.mark.parametrize("failure", FAILURES)
def test_reversal_is_posted_once(shop, failure, callbacks):
    """Money goes back once at the most; what may be on its way stays reserved, so that nobody sends it again."""
    payment = shop.push()
    shop.sweep()
    shop.daraja.script(FAILURES[failure], api=Api.REVERSAL)
    shop.lost = lambda url: callbacks == "lost" and "/reversal/" in url
    ask_again(shop, lambda: shop.gateway.reverse(payment, idempotency_key="BACK-1"))
    assert 1 >= len(possibly_carried_out(shop.daraja, Api.REVERSAL))
    back = shop.daraja.ledger.total(Kind.REVERSAL)
    assert back in (0, 100)
    parent = shop.gateway.get(payment)
    if back:
        assert [str(shop.repository.find("idempotency_key", "BACK-1").id)] == list(parent.reserved)
        with pytest.raises(MpesaError):
            shop.gateway.reverse(payment, amount=1, idempotency_key="BACK-2")
        assert 1 >= len(possibly_carried_out(shop.daraja, Api.REVERSAL))


@pytest.mark.faults
def test_payouts_under_any_mixture_of_failures(tmp_path):
    """Many payouts, each with failures of its own before, at and after its post, and restarts: none leaves twice."""
    generator = trials.rng("mixture")
    names = list(FAILURES)
    for trial in range(trials.scaled(60)):
        shop = Shop(itertools.repeat(MemoryRepository()).__next__)
        shop.lost = lambda url: generator.random() < 0.4
        chosen = [generator.choice(names) for _ in range(4)]
        shop.daraja.script(*(FAILURES[name] for name in chosen), api=Api.B2C)
        shop.daraja.script(*(FAILURES[generator.choice(names)] for _ in range(3)), api=Api.STATUS)
        keys = [f"PAY-{number}" for number in range(4)]
        for key, _ in itertools.product(keys * 2, range(2)):
            with contextlib.suppress(MpesaError):
                shop.pay(key=key)
            if generator.random() < 0.3:
                shop.restart()
            shop.sweep(generator.choice([0, 31, 61, 700]))
        shop.lost = lambda url: False
        for _ in range(12):
            shop.sweep(30_000)
        carried_out = {
            each.originator_conversation_id for each in shop.daraja.requests if each.api == Api.B2C and each.accepted
        }
        message = f"trial {trial}: {chosen}"
        assert shop.daraja.count(Api.B2C, accepted=True) == len(carried_out), message
        assert 100 * len(carried_out) == shop.daraja.ledger.total(Kind.B2C), message
        rows = [shop.repository.find("idempotency_key", key) for key in keys]
        expected = {row.id for row in rows if row.originator_conversation_id in carried_out}
        assert expected == {row.id for row in rows if row.status == Status.SUCCESS}, message


@pytest.mark.faults
@pytest.mark.parametrize(
    "failure",
    [
        "lost",
        "no_connection",
        "truncated",
        "garbage",
        "empty",
        "unavailable, carried out",
        "spike_arrest",
        "unauthorized",
    ],
)
def test_payout_over_a_real_connection(tmp_path, failure):
    """Over real HTTP: one payout leaves at the most, and the same key sends nothing more."""
    shop = Shop.on_file(tmp_path / "shop.db")
    shop.daraja.script(FAILURES[failure], api=Api.B2C)
    with DarajaServer(shop.daraja, couriers=0) as server:
        settings = {**shop.daraja.settings(server.base_url), "callback_base_url": "https://shop.example/pay/"}
        shop.settings = Settings(**settings, queries_per_minute=None, read_timeout=5)
        shop.connect = lambda: DarajaClient(shop.settings, clock=shop.clock, sleep=lambda _seconds: None)
        shop.restart()
        for _ in range(3):
            with contextlib.suppress(MpesaError):
                shop.pay()
        shop.sweep(31)
        shop.gateway.close()
    assert 1 >= len(possibly_carried_out(shop.daraja, Api.B2C))
    carried_out = shop.daraja.count(Api.B2C, accepted=True)
    assert 100 * carried_out == shop.daraja.ledger.total(Kind.B2C)
    assert carried_out == len(shop.fired("payout_completed"))


def test_payout_before_a_connection_there_is(shop):
    """A refused connection is tried again, because no byte left; the payout then leaves once."""
    shop.daraja.script(*[Behaviour(answer=Answer.NO_CONNECTION)] * 2, api=Api.B2C)
    shop.pay()
    shop.sweep()
    assert (1, 1) == (shop.daraja.count(Api.B2C), len(shop.fired("payout_completed")))
    shop.daraja.script(*[Behaviour(answer=Answer.NO_CONNECTION)] * 3, api=Api.B2C)
    with pytest.raises(NotSent) as caught:
        shop.pay(key="PAY-2")
    assert (Status.FAILED, "unsent") == (caught.value.transaction.status, caught.value.transaction.reason)
    assert caught.value.transaction == shop.pay(key="PAY-2")
    assert 1 == shop.daraja.count(Api.B2C)


def test_two_results_of_one_payout(shop):
    """A result that comes three times, and a late one that contradicts it, move no money and settle once."""
    shop.daraja.script(Behaviour(deliver=(Delivery(copies=3), Delivery(delay=5, says=Ending.NO_FUNDS))), api=Api.B2C)
    row = shop.pay()
    shop.sweep(10)
    assert ["payout_completed", "settlement_conflict"] == [name for name, _ in shop.fired()]
    assert (Status.SUCCESS, Decimal(100)) == (shop.gateway.get(row).status, shop.daraja.ledger.total(Kind.B2C))
