"""Payments that wait for the caller's commit: recorded inside of its transaction, sent after it, and never twice."""

from __future__ import annotations

import asyncio
import logging

import pytest

from mpesa_core.errors import ConfigurationError, IdempotencyMismatch, InvalidField, NotSent
from mpesa_core.gateway import AsyncGateway, Gateway
from mpesa_core.payments.records import Status
from mpesa_core.repository.memory import MemoryRepository
from mpesa_core.sandbox import Api
from tests.faults.shop import PHONE, Shop


class Joined:
    """A store whose records the caller's transaction may take back."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        assert name in {"get", "find", "add"}, f"{name} is not a part of the caller's transaction"
        return getattr(self._store, name)


class Transactional(MemoryRepository):
    """In memory, with a transaction of the caller's that is open while ``open`` is true."""

    open = True

    def __init__(self):
        super().__init__()
        self.hooks = []

    def in_transaction(self):
        return self.open

    def within_transaction(self):
        return Joined(self)

    def after_commit(self, work):
        self.hooks.append(work)

    def commit(self):
        self.open = False
        for work in self.hooks:
            work()
        self.hooks.clear()


@pytest.fixture
def store():
    return Transactional()


@pytest.fixture
def shop(store):
    return Shop(lambda: store)


def sent(shop):
    return [request for request in shop.daraja.requests if request.api != Api.OAUTH]


CALLS = {
    "stk_push": {"phone_number": PHONE, "amount": 100, "account_reference": "INV-1"},
    "payout": {"phone_number": PHONE, "amount": 100, "idempotency_key": "1"},
    "transfer": {"receiver": "600000", "amount": 100, "idempotency_key": "1", "account_reference": "A"},
    "remit_tax": {"amount": 100, "payment_registration_number": "P1", "idempotency_key": "1"},
    "express_checkout": {"payer_till": "600001", "amount": 1, "payment_reference": "A", "partner_name": "Shop"},
}


@pytest.mark.parametrize("call", CALLS)
def test_it_is_sent_after_the_commit(shop, store, call):
    """Every call that moves money is PENDING until then, announces nothing, and is sent once."""
    payment = getattr(shop.gateway, call)(**CALLS[call], on_commit=True)
    assert (Status.PENDING, [], []) == (payment.status, sent(shop), shop.signals)
    store.commit()
    assert Status.PROCESSING == store.get(payment.id).status
    assert 1 == len(sent(shop))


@pytest.mark.parametrize("call", ["reverse", "refund"])
def test_a_refund_is_reserved_after_the_commit(shop, store, call):
    """Money that goes back is reserved on the payment when the refund is really asked for, and not for a rollback."""
    store.open = False
    payment = shop.push()
    shop.daraja.run_until_idle()
    store.open = True
    refund = getattr(shop.gateway, call)(payment.id, on_commit=True)
    assert (Status.PENDING, {}) == (refund.status, dict(store.get(payment.id).reserved))
    store.commit()
    assert (Status.PROCESSING, {str(refund.id)}) == (store.get(refund.id).status, set(store.get(payment.id).reserved))


def test_a_repeated_key_sends_nothing(shop, store):
    """The second call gets the first one's row and waits for nothing; with other parameters it is refused at once."""
    first = shop.pay(on_commit=True)
    assert first.id == shop.pay(on_commit=True).id
    with pytest.raises(IdempotencyMismatch):
        shop.pay(amount=200, on_commit=True)
    assert 1 == len(store.hooks)


def test_a_wrong_argument_is_told_at_once(shop, store):
    """Nothing is recorded, and nothing waits."""
    with pytest.raises(InvalidField):
        shop.pay(amount="much", on_commit=True)
    assert [] == store.hooks


def test_a_failure_after_the_commit_raises_nothing(shop, store, caplog):
    """The caller's commit stands; the payment's signal tells, and a line in the log."""
    payment = shop.pay(on_commit=True)

    def refuse(*_arguments, **_more):
        raise NotSent("nobody answers")

    shop.gateway.client.send = refuse
    with caplog.at_level(logging.WARNING):
        store.commit()
    assert (Status.FAILED, "unsent") == (store.get(payment.id).status, store.get(payment.id).reason)
    assert ["payout_failed"] == [name for name, _ in shop.fired()]
    assert any("failed after the commit it waited for: NotSent" in line for line in caplog.messages)


def test_one_that_waited_too_long_is_never_sent(shop, store):
    """A transaction so long that a sweep has called its payment unsent sends nothing when it is committed at last."""
    payment = shop.pay(on_commit=True)
    shop.sweep(600)
    assert Status.FAILED == store.get(payment.id).status
    store.commit()
    assert [] == list(shop.daraja.requests)
    assert 1 == len(shop.fired("payout_failed"))


def test_a_store_that_knows_no_transactions():
    """It is refused: sending at once is not what was asked for."""
    shop = Shop(MemoryRepository)
    with pytest.raises(ConfigurationError, match="MemoryRepository knows no transaction of the caller's"):
        shop.pay(on_commit=True)
    assert [] == list(shop.daraja.requests)


def test_a_gateway_of_coroutines_refuses_it(shop):
    """It is no field of the host's there, and says what to call."""
    gateway = AsyncGateway(shop.settings, MemoryRepository())
    with pytest.raises(InvalidField, match=r"on_commit.*call a Gateway"):
        asyncio.run(gateway.stk_push(**CALLS["stk_push"], on_commit=True))
    assert isinstance(shop.gateway, Gateway)
