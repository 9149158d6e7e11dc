"""A callback that one operation settles is not claimed, and is closed by what settles; every other one is claimed first."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from uuid import uuid4

import pytest

from mpesa_core.daraja.callbacks import CallbackType
from mpesa_core.daraja.codec import dumps
from mpesa_core.errors import NotSent, StorageUnavailable
from mpesa_core.payments.records import CallbackDraft, Disposition, Status
from mpesa_core.repository.memory import MemoryRepository
from tests.settlement.desk import Deaf, Desk, stk_result, stk_success

SETTLED = ["get_callback", "find", "change_with_callback", "change"]
AS_EVER = ["get_callback", "change_callback", "find", "change", "change_callback", "change"]
CLAIMED_LATER = ["get_callback", "find", "change_callback", "find", "change"]


class Asked:
    """A repository that writes down what it is asked for."""

    def __init__(self):
        self.inner = MemoryRepository()
        self.operations = []
        self.raises = {}

    def __getattr__(self, name):
        operation = getattr(self.inner, name)

        def asked(*arguments, **keywords):
            self.operations.append(name)
            if name in self.raises:
                raise self.raises.pop(name)
            return operation(*arguments, **keywords)

        return asked


@pytest.fixture
def desk():
    return Deaf(Asked())


def process(desk, body, token=None):
    """Post a callback; what the repository was asked for from there on, and the callback's row."""
    callback = desk.post("STK", body, token, process=False)
    desk.repository.operations.clear()
    desk.gateway.process(callback)
    asked = [name for name in desk.repository.operations if name != "payable_invoices"]
    return asked, desk.repository.inner.get_callback(callback)


def test_a_success_takes_two_commits_and_the_mark(desk):
    """The payment is settled and the callback closed in one operation, and the signal is told of as ever."""
    row = desk.push()
    asked, callback = process(desk, stk_success(row.checkout_request_id), row.callback_token)
    assert SETTLED == asked
    assert (None, True, 1, Disposition.APPLIED, row.id) == (
        callback.next_attempt_at,
        callback.processed,
        callback.attempts,
        callback.disposition,
        callback.related_transaction_id,
    )
    assert (Status.SUCCESS, None) == (desk.gateway.get(row).status, desk.gateway.get(row).announce_until)
    assert ["payment_confirmed"] == desk.names()


def test_who_listens_to_callbacks_is_told_before_one_is_closed(desk):
    """Somebody listens to callback_received: the callback is claimed, told of, and closed then."""
    desk.deaf = False
    row = desk.push()
    asked, callback = process(desk, stk_success(row.checkout_request_id), row.callback_token)
    assert AS_EVER == asked
    assert callback.processed
    assert 1 == len(desk.fired("callback_received"))


def test_a_bus_that_cannot_tell_has_listeners():
    """A bus without hears() is told of every callback."""
    desk = Desk(Asked())
    row = desk.push()
    asked, _ = process(desk, stk_success(row.checkout_request_id), row.callback_token)
    assert "change_with_callback" not in asked
    assert 1 == len(desk.fired("callback_received"))


def test_a_store_that_does_not_offer_it(desk):
    """Without the optional operation everything is done as ever."""
    bare = Asked()
    bare.change_with_callback = None
    desk = Deaf(bare)
    row = desk.push()
    asked, callback = process(desk, stk_success(row.checkout_request_id), row.callback_token)
    assert AS_EVER == asked
    assert callback.processed
    assert Status.SUCCESS == desk.gateway.get(row).status


def test_a_duplicate_is_closed_by_one_commit(desk):
    """The same again settles nothing, tells nobody, and is closed without a claim."""
    row = desk.push()
    body = stk_success(row.checkout_request_id)
    process(desk, body, row.callback_token)
    asked, callback = process(desk, body, row.callback_token)
    assert ["get_callback", "find", "change_callback"] == asked
    assert (Disposition.DUPLICATE, row.id) == (callback.disposition, callback.related_transaction_id)
    assert ["payment_confirmed"] == desk.names()


def test_a_contradiction_is_claimed_first(desk):
    """What takes more than one operation, such as a conflict, is done under a claim."""
    row = desk.push()
    process(desk, stk_success(row.checkout_request_id), row.callback_token)
    asked, callback = process(desk, stk_result(1032, checkout=row.checkout_request_id), row.callback_token)
    assert CLAIMED_LATER == asked[:5]
    assert Disposition.CONFLICT == callback.disposition
    assert ["payment_confirmed", "settlement_conflict"] == desk.names()


def recorded(desk, row):
    """Record a callback as the webhooks do, and hand it over with what was recorded."""
    body = dumps(stk_success(row.checkout_request_id))
    now = desk.clock()
    draft = CallbackDraft(
        id=uuid4(), callback_type=CallbackType.STK, raw_bytes=body, received_at=now, next_attempt_at=now
    )
    desk.repository.inner.add_callback(draft)
    desk.repository.operations.clear()
    work = desk.gateway.submit(draft.id, draft)
    return draft.id, work


def test_what_this_process_has_recorded_is_not_read_again(desk):
    """The runner of the process that took the callback in settles it without reading it, once."""
    row = desk.push()
    callback, work = recorded(desk, row)
    work()
    assert SETTLED[1:] == [name for name in desk.repository.operations if name != "payable_invoices"]
    desk.repository.operations.clear()
    assert desk.gateway.process(callback) is None
    assert ["get_callback"] == desk.repository.operations
    assert ["payment_confirmed"] == desk.names()


def test_what_others_did_in_the_meantime_is_seen(desk):
    """A sweep has settled by the callback, or has claimed it: what was recorded is no longer so, and nothing is done."""
    rows = [desk.push(order=number) for number in range(2)]
    settled, work = recorded(desk, rows[0])
    assert 1 == desk.gateway.recover().callbacks
    work()
    claimed, work_too = recorded(desk, rows[1])
    row = desk.repository.inner.get_callback(claimed)
    later = desk.clock() + timedelta(minutes=1)
    desk.repository.inner.change_callback(claimed, row.next_attempt_at, {"next_attempt_at": later})
    work_too()
    assert Disposition.APPLIED == desk.repository.inner.get_callback(settled).disposition
    assert (later, None) == (
        desk.repository.inner.get_callback(claimed).next_attempt_at,
        desk.repository.inner.get_callback(claimed).disposition,
    )
    assert Status.PROCESSING == desk.gateway.get(rows[1]).status
    assert ["payment_confirmed"] == desk.names()


def test_only_so_many_are_remembered(desk):
    """What is handed over and never worked on (a queue has it) does not pile up; it waits in the log."""
    draft = CallbackDraft(id=uuid4(), callback_type=CallbackType.STK, raw_bytes=b"{}", received_at=desk.clock())
    for _ in range(1000):
        desk.gateway.submit(uuid4(), draft)
    assert 64 >= len(desk.gateway._recorded) > 0


def test_a_receipt_that_is_taken_is_a_conflict(desk):
    """The store refuses the joint change for a key; the ordinary way makes the conflict of it."""
    rows = [desk.push(order=number) for number in range(2)]
    for row in rows:
        asked, callback = process(desk, stk_success(row.checkout_request_id, receipt="SK0000001X"), row.callback_token)
    assert "change_with_callback" in asked
    assert Disposition.CONFLICT == callback.disposition
    assert Status.PROCESSING == desk.gateway.get(rows[1]).status


def test_a_proof_is_asked_for_under_a_claim():
    """With verify_before_settle a success waits for M-PESA's own answer, and a failure does not."""
    desk = Deaf(Asked(), verify_before_settle=True)
    paid, unpaid = desk.push(order=1), desk.push(order=2)
    asked, _ = process(desk, stk_success(paid.checkout_request_id), paid.callback_token)
    assert "change_with_callback" not in asked
    assert Counter(asked)["change_callback"] >= 2
    asked, _ = process(desk, stk_result(1032, checkout=unpaid.checkout_request_id), unpaid.callback_token)
    assert SETTLED == asked


def test_a_lost_connection_costs_a_claim(desk):
    """Whatever became of the joint change, a claim is lost to it or comes first: the payment is settled once."""
    row = desk.push()
    callback = desk.post("STK", stk_success(row.checkout_request_id), row.callback_token, process=False)
    desk.repository.raises["change_with_callback"] = StorageUnavailable("the connection was lost")
    desk.gateway.process(callback)
    assert Status.SUCCESS == desk.gateway.get(row).status
    assert None is desk.repository.inner.get_callback(callback).next_attempt_at
    assert ["payment_confirmed"] == desk.names()


def test_a_joint_change_of_which_nobody_heard_is_announced_later(desk):
    """It was committed, and the connection was lost then: the lease lapses, and the next sweep tells of it."""
    row = desk.push()
    callback = desk.post("STK", stk_success(row.checkout_request_id), row.callback_token, process=False)
    change = desk.repository.inner.change_with_callback

    def commits(*arguments):
        change(*arguments)
        raise StorageUnavailable("the connection was lost")

    desk.repository.inner.change_with_callback = commits
    assert desk.gateway.process(callback) is None
    assert (Status.SUCCESS, []) == (desk.gateway.get(row).status, desk.names())
    desk.clock.forward(desk.settings.announce_lease + 1)
    assert 1 == desk.gateway.recover().announced
    assert ["payment_confirmed"] == desk.names()


@pytest.mark.parametrize("batches", [True, False])
def test_a_payment_that_cannot_be_changed_keeps_no_other_from_its_turn(batches):
    """Its callback is claimed, and comes again when the lease lapses; the next sweep gets to those behind it."""

    class Stubborn(MemoryRepository):
        stuck = None
        batch = MemoryRepository.batch if batches else None

        def _changed(self, transaction_id, *arguments):
            if transaction_id == self.stuck:
                raise StorageUnavailable("a trigger of the host's")
            return super()._changed(transaction_id, *arguments)

    desk = Deaf(Stubborn())
    stuck, row = (desk.push(order=number) for number in range(2))
    desk.repository.stuck = stuck.id
    for each, receipt in ((stuck, "SK0000001X"), (row, "SK0000002X")):
        desk.post("STK", stk_success(each.checkout_request_id, receipt=receipt), each.callback_token, process=False)
        desk.clock.forward(1)
    with pytest.raises(StorageUnavailable):
        desk.gateway.recover()
    desk.gateway.recover()
    assert Status.SUCCESS == desk.gateway.get(row).status
    assert ["payment_confirmed"] == desk.names()


@pytest.mark.parametrize("batches", [True, False])
def test_a_settlement_that_cannot_be_marked_keeps_nothing_else_from_its_turn(batches):
    """The announcements come first in a sweep; one that fails each time is told of when all the rest had its turn."""

    class Stubborn(MemoryRepository):
        stuck = None
        batch = MemoryRepository.batch if batches else None

        def change(self, transaction_id, version, changes):
            if transaction_id == self.stuck and "status" not in changes:
                raise StorageUnavailable("a trigger of the host's keeps what is settled as it is")
            return super().change(transaction_id, version, changes)

    desk = Deaf(Stubborn())
    stuck, row = (desk.push(order=number) for number in range(2))
    desk.repository.stuck = stuck.id
    with pytest.raises(StorageUnavailable):
        desk.post("STK", stk_success(stuck.checkout_request_id, receipt="SK0000001X"), stuck.callback_token)
    desk.clock.forward(desk.settings.announce_lease + 1)
    desk.post("STK", stk_success(row.checkout_request_id, receipt="SK0000002X"), row.callback_token, process=False)
    asked = desk.push(order=3)
    desk.daraja.answers["StkQuery"] = NotSent("the network is down")
    desk.clock.forward(desk.settings.query_after)
    with pytest.raises(StorageUnavailable):
        desk.gateway.sweep()
    assert Status.SUCCESS == desk.gateway.get(row).status
    assert ["payment_confirmed"] * 2 == desk.names()
    assert 1 == desk.gateway.get(asked).checks


def test_who_is_second_settles_nothing(desk):
    """Somebody claims the callback between the reading and the joint change: nothing of it is done."""
    row = desk.push()
    callback = desk.post("STK", stk_success(row.checkout_request_id), row.callback_token, process=False)
    procedure = desk.gateway.engine.process(callback)
    effect = next(procedure)
    while effect is None or getattr(effect, "operation", "") != "change_with_callback":
        effect = procedure.send(desk.gateway._driver.perform(effect))
    taken = desk.repository.inner.get_callback(callback)
    later = desk.clock() + timedelta(minutes=1)
    assert desk.repository.inner.change_callback(callback, taken.next_attempt_at, {"next_attempt_at": later})
    result = desk.gateway._driver.perform(effect)
    assert result is None
    claim = procedure.send(result)
    assert "change_callback" == claim.operation
    lost = desk.gateway._driver.perform(claim)
    assert lost is False
    with pytest.raises(StopIteration) as ended:
        procedure.send(lost)
    assert ended.value.value is None
    assert Status.PROCESSING == desk.gateway.get(row).status
    assert [] == desk.names()
