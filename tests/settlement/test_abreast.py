"""Callbacks that recovery takes side by side: one commit for what they ask of the store, and everything else as ever."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from mpesa_core.errors import DuplicateKey, StorageBusy
from mpesa_core.payments.records import Disposition, Status
from mpesa_core.repository.memory import MemoryRepository
from mpesa_core.settings import Settings
from mpesa_core.settlement.abreast import abreast
from mpesa_core.settlement.effects import Deliver, StoreBatch, StoreCall
from mpesa_core.settlement.engine import Engine
from mpesa_core.settlement.lease import LeaseKeeper
from tests.settlement.desk import Deaf, Desk, stk_success


@pytest.fixture
def memory():
    return MemoryRepository()


def waiting(desk, count):
    """Payments whose callbacks are recorded and were not looked at."""
    rows = [desk.push(order=index) for index in range(count)]
    for index, row in enumerate(rows):
        told = stk_success(row.checkout_request_id, receipt=f"SK{index:07d}X")
        desk.post("STK", told, row.callback_token, process=False)
    return rows


def test_what_several_want_of_the_store_is_one_batch():
    """In each round the store is asked once; what is no operation of a batch is done for each alone, before it."""

    def procedure(number):
        first = yield StoreCall("find", (number,))
        yield Deliver("told", {"first": first})
        second = yield StoreCall("change_callback", (number,))
        return first, second

    asked = []

    def answered(effect):
        if not isinstance(effect, StoreBatch):
            return asked.append(effect.signal)
        asked.append([call.operation for call in effect.calls])
        return [f"{call.operation} {call.arguments[0]}" for call in effect.calls]

    running = abreast([procedure(number) for number in range(3)])
    effect = next(running)
    for _ in range(4):
        effect = running.send(answered(effect))
    with pytest.raises(StopIteration) as ended:
        running.send(answered(effect))
    assert [["find"] * 3, "told", "told", "told", ["change_callback"] * 3] == asked
    assert [(f"find {number}", f"change_callback {number}") for number in range(3)] == ended.value.value


def test_a_signal_that_went_out_is_marked_at_once():
    """The change that follows a signal waits for no other procedure, also where the store was read between them."""

    def procedure(number):
        yield Deliver("told", {})
        yield StoreCall("get", (number,))
        yield Deliver("told besides", {})
        yield StoreCall("change", (number,))
        yield StoreCall("change", (number,))

    def driven(running):
        effect = next(running)
        with contextlib.suppress(StopIteration):
            while True:
                batch = isinstance(effect, StoreBatch)
                yield len(effect.calls) if batch else getattr(effect, "signal", None) or effect.operation
                effect = running.send([None] * len(effect.calls) if batch else None)

    asked = list(driven(abreast([procedure(number) for number in range(2)])))
    assert ["told", "get", "told besides", "change"] * 2 + [2] == asked


def test_one_that_raises_does_not_end_the_others():
    """An error goes to the procedure whose call it answers; the others come to their end before it is raised."""
    ended = []

    def procedure(number):
        try:
            yield StoreCall("change", (number,))
        finally:
            ended.append(number)

    running = abreast([procedure(number) for number in range(3)])
    batch = next(running)
    error = DuplicateKey("id", None)
    with pytest.raises(DuplicateKey) as raised:
        running.send([error if call.arguments == (1,) else None for call in batch.calls])
    assert error is raised.value
    assert [0, 1, 2] == ended


def test_a_batch_that_fails_fails_for_each():
    """What the driver raises for the whole batch is raised in every procedure."""
    seen = []

    def procedure(number):
        try:
            yield StoreCall("find", (number,))
        except StorageBusy:
            seen.append(number)

    running = abreast([procedure(number) for number in range(2)])
    next(running)
    with pytest.raises(StopIteration):
        running.throw(StorageBusy("not now"))
    assert [0, 1] == seen


@pytest.mark.parametrize(("kind", "steps"), [(Desk, 4), (Deaf, 2)])
def test_a_backlog_is_settled_with_few_commits(memory, monkeypatch, kind, steps):
    """Twenty callbacks take as many batches as one; each payment is told of once, after the batch that settled it."""
    desk = kind(memory)
    rows = waiting(desk, 20)
    batches = []
    real = memory.batch
    monkeypatch.setattr(memory, "batch", lambda calls: batches.append(len(calls)) or real(calls))
    states = []
    desk.receivers["payment_confirmed"] = [
        lambda transaction, **_more: states.append(memory.get(transaction.id).status)
    ]
    desk.gateway.recover()
    assert [Status.SUCCESS] * 20 == states
    assert 20 == desk.names().count("payment_confirmed")
    assert [20] * steps == batches  # claimed, found, settled, closed (or the last two in one); marked when told of
    assert [None] * 20 == [memory.get(row.id).announce_until for row in rows]


@pytest.mark.parametrize("kind", [Desk, Deaf])
def test_a_process_that_dies_tells_one_of_them_again(memory, kind):
    """What was told of before it died is marked already: only the payment that it was telling of is told of twice."""
    desk = kind(memory)
    rows = waiting(desk, 10)
    told = []

    def dying(transaction, **_more):
        told.append(transaction.id)
        if len(told) == 7:
            raise KeyboardInterrupt

    desk.receivers["payment_confirmed"] = [dying]
    with pytest.raises(KeyboardInterrupt):
        desk.gateway.recover()
    assert 7 == len(told)
    desk.recover(desk.settings.announce_lease)
    assert [1] * 9 + [2] == sorted(told.count(row.id) for row in rows)


def test_a_callback_that_is_not_due_any_more_is_left(memory):
    """A clock that was set back between the question and the work keeps none of the others waiting."""
    desk = Desk(memory)
    rows = waiting(desk, 2)
    due = memory.due_callbacks(desk.clock(), 10)
    desk.clock.forward(-60)
    late = attrs.evolve(due[1], next_attempt_at=desk.clock())
    memory.change_callback(late.id, due[1].next_attempt_at, {"next_attempt_at": late.next_attempt_at})
    engine = desk.gateway.engine
    left, taken = desk.gateway._run(abreast([engine.take(due[0]), engine.take(late)]))
    assert (None, Status.SUCCESS) == (left, desk.gateway.get(rows[1]).status)
    assert taken.announce


def test_two_callbacks_of_one_payment_side_by_side(memory):
    """The second reads again, and is the duplicate that it is."""
    desk = Desk(memory)
    (row,) = waiting(desk, 1)
    told = stk_success(row.checkout_request_id, receipt="SK0000000X")
    again = desk.post("STK", told, row.callback_token, process=False)
    desk.gateway.recover()
    assert ["payment_confirmed"] == [name for name in desk.names() if name == "payment_confirmed"]
    assert Disposition.DUPLICATE == memory.get_callback(again).disposition


def test_leases_of_other_announcers_are_not_renewed(memory):
    """Reconciliation claims payments of which one is still being announced, by somebody who may have died meanwhile."""
    desk = Desk(memory)
    fence = {"announce_until": desk.clock() + timedelta(seconds=60), "generation": 1}
    theirs = memory.change((row := desk.push()).id, row.version, fence)
    ours = desk.push()
    driver = desk.gateway._driver
    claims = [("change", (theirs.id, theirs.version, {"checks": 1})), ("change", (ours.id, ours.version, fence))]

    def claim():
        yield StoreBatch(tuple(StoreCall(*each) for each in claims))
        return [lease.id for lease in driver._keeper._kept.values()]

    assert [ours.id] == driver.run(claim())


@pytest.mark.parametrize("kind", [Desk, Deaf])
def test_leases_of_those_that_wait_are_renewed(memory, kind):
    """While the first one's receiver takes longer than the lease, nobody else announces those that wait their turn."""
    desk = kind(memory, announce_lease=1.8)
    gateway = desk.gateway
    gateway.clock = gateway.engine.clock = lambda: datetime.now(UTC)
    rows = waiting(desk, 3)
    gateway._driver._keeper = LeaseKeeper(memory, gateway.clock, 1.8)
    others = []

    def slow(**_arguments):
        until = time.monotonic() + (2.5 if not others else 0)
        while time.monotonic() < until:
            others.append(gateway.recover().announced)
            time.sleep(0.05)

    desk.receivers["payment_confirmed"] = [slow]
    gateway.recover()
    assert 0 == sum(others)
    assert len(others) > 5
    assert 3 == desk.names().count("payment_confirmed")
    assert [None] * 3 == [memory.get(row.id).announce_until for row in rows]
    assert {} == gateway._driver._keeper._kept


def test_nothing_that_is_asked_over_the_network_keeps_others_waiting():
    """Where a callback's success has to be proved first, callbacks are taken one after the other."""
    settings = Settings(short_code="174379", verify_before_settle=True)
    assert not Engine(settings, None, None, batches=True).batches
    assert Engine(Settings(short_code="174379"), None, None, batches=True).batches
