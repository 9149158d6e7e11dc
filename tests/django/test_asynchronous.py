"""The front door for coroutines: the same tables, in the thread that Django keeps for coroutines' database work."""

import asyncio
import threading

import pytest

pytest.importorskip("django")

from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections
from django.test import override_settings

from mpesa_core.client import AsyncDarajaClient
from mpesa_core.errors import ConfigurationError
from mpesa_core.gateway import AsyncGateway
from mpesa_core.repository.memory import MemoryRepository
from mpesa_core.testing.payloads import c2b_confirmation, posted
from mpesa_django import ampesa, signals
from mpesa_django.asynchronous import AsyncRepository
from mpesa_django.front import front
from tests.django.hosting import MPESA, post, taking_money
from tests.django.stores import Callback, Order, Transaction, empty_repository

PAY = {"phone_number": "0712345678", "amount": 100, "account_reference": "INV-1"}


@pytest.fixture(params=["django_sqlite", "django_postgres"])
def alias(request):
    """Each database."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def taken(monkeypatch):
    """Makes a project on a repository, with the local Daraja behind both doors."""
    open_ones = []

    def take(repository, **mpesa):
        taking = taking_money(monkeypatch, repository, **mpesa)
        daraja, _ = taking.__enter__()
        open_ones.append(taking)
        gateway = front.async_gateway
        gateway.client = gateway._driver._client = AsyncDarajaClient.over(daraja.handle, gateway.settings)
        return daraja

    yield take
    for taking in open_ones:
        taking.__exit__(None, None, None)


def run(coroutine):
    """Run it in a loop of its own, and close what its thread has connected."""

    async def go():
        try:
            return await coroutine
        finally:
            await sync_to_async(connections.close_all)()

    return asyncio.run(go())


def test_a_payment_from_the_prompt_to_its_reversal(taken, alias):
    """What coroutines ask for is settled by the callbacks that the views receive, with the host's own fields."""
    daraja = taken(empty_repository(alias))
    order = Order.objects.using(alias).create(name="A-1")
    payment = run(ampesa.stk_push(**PAY, idempotency_key="order-1", order=order))
    assert (Transaction, "PROCESSING", order) == (type(payment), payment.status, payment.order)
    assert payment.pk == run(ampesa.stk_push(**PAY, idempotency_key="order-1", order=order)).pk
    daraja.run_until_idle()
    assert "SUCCESS" == run(ampesa.get(payment.pk)).status
    run(ampesa.reverse(payment))
    daraja.run_until_idle()
    assert "REVERSED" == Transaction.objects.using(alias).get(pk=payment.pk).status
    assert 1 == daraja.count("stk_push")


def test_the_hook_and_receivers_may_use_the_database(taken, alias):
    """RESOLVE_C2B and a plain receiver run where the ORM may be used, and a receiver may be a coroutine function."""
    order = Order.objects.using(alias)
    heard = []

    def resolve(callback):
        return {"order": order.get(name=callback.account_reference)}

    def plain(sender, transaction, **_):
        heard.append(order.get(pk=transaction.order_id).name)

    async def awaited(sender, transaction, **_):
        heard.append((await order.aget(pk=transaction.order_id)).name)

    taken(empty_repository(alias), RESOLVE_C2B=resolve)
    front.gateway.runner._process = lambda _: None
    order.create(name="INV-1")
    assert 200 == post("/pay/c2b/confirm/", posted(c2b_confirmation())).status_code
    signals.payment_confirmed.connect(plain)
    signals.payment_confirmed.connect(awaited)
    try:
        run(ampesa.replay(Callback.objects.using(alias).get().pk))
    finally:
        signals.payment_confirmed.disconnect(plain)
        signals.payment_confirmed.disconnect(awaited)
    assert ["INV-1", "INV-1"] == heard


def test_it_is_made_once_and_again_when_the_settings_are_overridden(taken):
    """One for the process, with the settings of the moment; wrong ones are told when it is first used."""
    taken(MemoryRepository())
    first = front.async_gateway
    assert isinstance(first, AsyncGateway)
    assert first is front.async_gateway
    with override_settings(MPESA={**MPESA, "SHORT_CODE": "600000"}):
        assert "600000" == ampesa.settings.short_code
    with override_settings(MPESA={}), pytest.raises(ConfigurationError, match="TRANSACTION_MODEL"):
        _ = ampesa.settings
    assert "<mpesa_django.ampesa>" == repr(ampesa)


def test_the_database_is_used_in_the_thread_of_the_caller():
    """As Django's own ORM has it: in the thread that waits for the coroutine, whose transaction it shares."""

    class Where:
        def get(self, _):
            return threading.current_thread()

    assert threading.current_thread() is async_to_sync(AsyncRepository(Where()).get)(1)


def test_what_a_repository_has_not_its_coroutines_have_not():
    """The optional protocols are recognised by their operations."""
    with pytest.raises(AttributeError, match="add_invoice"):
        _ = AsyncRepository(object()).add_invoice
