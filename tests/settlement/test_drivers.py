"""The drivers: retries of a busy store, renewal of the announcer's lease, and the same story with coroutines."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from datetime import UTC, datetime

import attrs
import httpx
import pytest

from mpesa_core.errors import NotSent, StorageBusy, StorageUnavailable
from mpesa_core.gateway import AsyncGateway
from mpesa_core.payments.records import Disposition, Status
from mpesa_core.repository.memory import MemoryRepository
from mpesa_core.sandbox import DarajaServer, LocalDaraja
from mpesa_core.settings import Settings
from mpesa_core.settlement.drivers import AsyncDriver, SyncDriver
from mpesa_core.settlement.effects import Deliver, Lease
from mpesa_core.settlement.lease import LeaseKeeper
from tests.settlement.desk import PHONE, Desk, confirmation, payout_success, stk_query, stk_success


class Flaky:
    """A repository whose every operation fails some times before it works."""

    def __init__(self, inner, failures, error=StorageBusy):
        self.inner = inner
        self.failures = failures
        self.error = error
        self.calls = 0
        self.left = {}

    def __getattr__(self, name):
        method = getattr(self.inner, name)
        left = self.left.setdefault(name, [self.failures])

        def call(*arguments, **keywords):
            self.calls += 1
            if left[0]:
                left[0] -= 1
                raise self.error("not now")
            return method(*arguments, **keywords)

        return call


@pytest.fixture
def memory():
    return MemoryRepository()


def test_busy_store_is_tried_again(memory):
    """A store that refuses for a moment and changed nothing is asked again, with the same result."""
    desk = Desk(Flaky(memory, failures=3))
    row = desk.push()
    desk.repository = memory  # the webhooks have retries of their own
    desk.post("STK", stk_success(), row.callback_token)
    assert Status.SUCCESS == memory.get(row.id).status
    assert ["payment_confirmed"] == desk.names()


def test_busy_store_is_tried_a_bounded_number_of_times(memory):
    """A store that stays busy is given up after ten tries, and the error comes out."""
    store = Flaky(memory, failures=1000)
    driver = SyncDriver(store, None, None, resolve_c2b=None, clock=None, announce_lease=60, sleep=lambda seconds: None)
    desk = Desk(memory)
    with pytest.raises(StorageBusy):
        driver.run(desk.gateway.engine.store.due_callbacks(desk.clock(), 1))
    assert 10 == store.calls


def test_failed_store_is_not_tried_blindly(memory):
    """A store that may have done it is not asked again by the driver; the claim lapses and recovery goes on."""
    desk = Desk(memory)
    row = desk.push()
    real = memory.change
    failed = []

    def fail_once(*arguments):
        if not failed:
            failed.append(real(*arguments))  # it happened, and the answer is lost
            raise StorageUnavailable("connection lost")
        return real(*arguments)

    memory.change = fail_once
    with pytest.raises(StorageUnavailable):
        desk.post("STK", stk_success(), row.callback_token)
    assert Status.SUCCESS == desk.gateway.get(row).status
    desk.recover(desk.settings.callback_lease + desk.settings.announce_lease + 1)
    assert ["payment_confirmed"] == desk.names()
    assert [] == list(memory.due_callbacks(desk.clock(), 10))


def test_lease_is_renewed_while_receivers_run(memory):
    """A receiver that takes longer than the lease keeps it: nobody else announces meanwhile."""
    desk = Desk(memory, announce_lease=1.8)
    gateway = desk.gateway
    gateway.clock = gateway.engine.clock = lambda: datetime.now(UTC)
    row = desk.push()
    gateway._driver._keeper = LeaseKeeper(memory, gateway.clock, 1.8)
    others = []

    def slow(**arguments):
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            others.append(gateway.recover().announced)
            time.sleep(0.05)

    desk.receivers["payment_confirmed"] = [slow]
    callback = desk.post("STK", stk_success(), row.callback_token, process=False)
    gateway.process(callback)
    assert 0 == sum(others)
    assert len(others) > 5
    assert ["payment_confirmed"] == desk.names()
    assert memory.get(row.id).announce_until is None


def test_receiver_sees_the_settled_row_and_no_lock(desk):
    """Inside a receiver the settlement is stored, and the row can be changed by another thread at once."""
    row = desk.push(order=1)
    seen = []

    def look(transaction, **kwargs):
        def other():
            stored = desk.repository.get(transaction.id)
            changed = desk.repository.change(stored.id, stored.version, {"transaction_desc": "seen"})
            seen.append((stored.status, changed.transaction_desc))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join(5)

    desk.receivers["payment_confirmed"] = [look]
    desk.post("STK", stk_success(), row.callback_token)
    assert [(Status.SUCCESS, "seen")] == seen
    assert desk.gateway.get(row).announce_until is None


class AsyncDaraja:
    """The scripted Daraja, awaited."""

    def __init__(self, scripted):
        self.scripted = scripted

    async def send(self, operation, *, account="default"):
        await asyncio.sleep(0)
        return self.scripted.send(operation, account=account)


class AsyncStore:
    """A repository of coroutines over a plain one."""

    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        method = getattr(self.inner, name)

        async def call(*arguments, **keywords):
            await asyncio.sleep(0)
            return method(*arguments, **keywords)

        return call


@pytest.fixture(params=["plain", "coroutines"])
def async_desk(request, repository):
    desk = Desk(repository)
    store = repository if request.param == "plain" else AsyncStore(repository)
    desk.gateway = AsyncGateway(
        desk.settings, store, client=AsyncDaraja(desk.daraja), bus=desk, clock=desk.clock, resolve_c2b=resolve
    )
    return desk


async def resolve(callback):
    return {"order": callback.account_reference}


def test_whole_story_with_coroutines(async_desk):
    """Push, payment, payout, reversal, question, confirmation and conflict, all awaited."""
    desk, gateway = async_desk, async_desk.gateway

    async def story():
        payment = await gateway.stk_push(phone_number=PHONE, amount=100, account_reference="INV-1")
        await gateway.process(desk.post("STK", stk_success(), payment.callback_token, process=False))
        payout = await gateway.payout(phone_number=PHONE, amount=100, idempotency_key="P")
        body = payout_success(conversation=payout.conversation_id)
        await gateway.process(desk.post("B2C_RESULT", body, payout.callback_token, process=False))
        asked = await gateway.stk_push(phone_number=PHONE, amount=70, account_reference="INV-2")
        desk.daraja.answers["StkQuery"] = stk_query(0, checkout=asked.checkout_request_id)
        asked = await gateway.query(asked)
        confirmed = desk.post("C2B_CONFIRMATION", confirmation(receipt="RKL51ZDR4F", reference="X"), process=False)
        await gateway.process(confirmed)
        short = await gateway.stk_push(phone_number=PHONE, amount=50, account_reference="INV-3")
        checkout = short.checkout_request_id
        wrong = desk.post("STK", stk_success(checkout, 5, "NLJ7RT61SX"), short.callback_token, process=False)
        await gateway.process(wrong)
        accepted = await gateway.accept(wrong)
        reversal = await gateway.reverse(payment)
        await gateway.recover()
        await gateway.reconcile()
        await gateway.announce(payment)
        return await gateway.get(payment), await gateway.get(payout), asked, accepted, reversal

    rows = asyncio.run(story())
    assert [Status.SUCCESS, Status.SUCCESS, Status.SUCCESS, Status.SUCCESS, Status.PROCESSING] == [
        row.status for row in rows
    ]
    c2b = desk.repository.find("mpesa_receipt_number", ("174379", "RKL51ZDR4F"))
    assert {"order": "X"} == dict(c2b.host)
    expected = ["payment_confirmed", "payout_completed", "payment_confirmed", "payment_confirmed"]
    assert [*expected, "settlement_conflict", "payment_confirmed", "payment_confirmed"] == desk.names()


def test_errors_reach_an_async_caller(async_desk):
    """What fails for certain is raised into the coroutine with its row."""
    async_desk.daraja.answers["StkPush"] = NotSent("no route")
    with pytest.raises(NotSent) as caught:
        asyncio.run(async_desk.gateway.stk_push(phone_number=PHONE, amount=1, account_reference="A"))
    assert Status.FAILED == caught.value.transaction.status


def test_body_that_breaks_the_engine_is_put_back(desk, monkeypatch):
    """A failure inside processing is written on the callback, which is tried again later and blocks nobody."""
    row = desk.push()
    monkeypatch.setattr(desk.gateway.engine, "decide", lambda *_: 1 / 0)
    callback = desk.post("STK", stk_success(), row.callback_token)
    stored = desk.repository.get_callback(callback)
    assert "ZeroDivisionError" in stored.error
    assert stored.next_attempt_at > desk.clock()
    monkeypatch.undo()
    desk.recover(400)
    assert Disposition.APPLIED == desk.repository.get_callback(callback).disposition
    assert Status.SUCCESS == desk.gateway.get(row).status


def test_store_that_never_lets_a_procedure_win_is_given_up(memory):
    """A store whose writes lose and whose reads do not show to whom keeps no worker turning for ever."""
    desk = Desk(memory)
    row = desk.push()
    tries = []
    memory.change = lambda *arguments: tries.append(arguments)
    with pytest.raises(StorageBusy, match="lost"):
        desk.post("STK", stk_success(), row.callback_token)
    assert 1000 == len(tries)
    del memory.change
    desk.recover(desk.settings.callback_lease + 1)
    assert ["payment_confirmed"] == desk.names()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 warns of what is tried here
def test_forked_child_renews_no_lease_of_its_parent(memory):
    """What a parent announces while it forks is the parent's: when that dies, its lease has to lapse."""
    keeper = LeaseKeeper(memory, lambda: datetime.now(UTC), 60)
    row = attrs.evolve(Desk(memory).push(), announce_until=datetime.now(UTC), generation=1)
    with keeper.keep(row):
        assert [1] == [lease.generation for lease in keeper._kept.values()]
        child = os.fork()
        if child == 0:
            os._exit(0 if not keeper._kept and not keeper._running else 1)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_lease_keeper_survives_a_store_that_raises_anything(memory, caplog):
    """A driver's own error while one lease is renewed is logged, and the thread that renews them all lives on."""

    class Broken:
        def get(self, transaction_id):
            raise RuntimeError("the driver's own")

        change = get

    keeper = LeaseKeeper(Broken(), lambda: datetime.now(UTC), 60)
    keeper._renew(Lease("", Desk(memory).push().id, 1))
    assert "RuntimeError" in caplog.text


@pytest.mark.parametrize("cancelled", [False, True])
def test_async_lease_survives_a_store_that_raises_anything(memory, caplog, cancelled):
    """With coroutines likewise: what renewing raises is logged, and neither it nor its end gets in a receiver's way."""
    announced = []

    class Broken:
        def get(self, transaction_id):
            raise RuntimeError("the driver's own")

    class SlowBus:
        async def adeliver(self, signal, arguments):
            await asyncio.sleep(0.1)
            announced.append(signal)
            return []

    driver = AsyncDriver(
        Broken(), None, SlowBus(), resolve_c2b=None, clock=lambda: datetime.now(UTC), announce_lease=0.06
    )
    lease = Lease("", Desk(memory).push().id, 1)

    async def story():
        task = asyncio.ensure_future(driver.perform(Deliver("payment_confirmed", {}, lease=lease)))
        await asyncio.sleep(0.05)
        if cancelled:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        return None if cancelled else await task

    assert asyncio.run(story()) == (None if cancelled else [])
    assert ([] if cancelled else ["payment_confirmed"]) == announced
    assert "RuntimeError" in caplog.text


def test_the_async_gateway_closes_its_connections(monkeypatch):
    """What was opened to send is closed at the end of the context, and opened again by a later call."""
    closed = []
    close = httpx.AsyncHTTPTransport.aclose

    async def noted(self):
        closed.append(self)
        await close(self)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "aclose", noted)

    async def story(server):
        settings = Settings(**server.daraja.settings(server.base_url), callback_base_url="https://shop.example/pay/")
        async with AsyncGateway(settings, MemoryRepository()) as gateway:
            await gateway.aclose()  # nothing was opened so far
            await gateway.stk_push(phone_number="0712345678", amount=1, account_reference="INV-1")
            (connections,) = gateway.client._client._own.values()
            (connection,) = connections.made
            assert [] == closed
        assert [connection] == closed
        await gateway.stk_push(phone_number="0712345679", amount=1, account_reference="INV-2")
        await gateway.aclose()

    with DarajaServer(LocalDaraja()) as server:
        asyncio.run(story(server))
    assert 2 == server.daraja.count("stk_push")
