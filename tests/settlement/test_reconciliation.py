"""Sweeps over payments whose next question is due, where the repository claims several of them with one commit."""

from __future__ import annotations

import pytest

from mpesa_core.errors import StorageRefused, StorageUnavailable
from mpesa_core.payments.records import Status
from mpesa_core.repository import MemoryRepository, SqliteRepository
from tests.settlement.desk import Desk, stk_query, stk_success


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    """A repository that does several operations at once."""
    made = (
        MemoryRepository() if request.param == "memory" else SqliteRepository(tmp_path / "p.sqlite3", synchronous="OFF")
    )
    yield made
    if request.param == "sqlite":
        made.close()


@pytest.fixture
def desk(store):
    """A gateway on it, whose every payment M-PESA says was paid."""
    made = Desk(store)
    made.daraja.answers["StkQuery"] = lambda question: stk_query(0, checkout=question.checkout_request_id)
    return made


def stale(desk, count):
    """Payments whose callbacks never came, and whose first question is due."""
    rows = [desk.push(order=number) for number in range(count)]
    desk.clock.forward(desk.settings.query_after)
    return rows


def asked(desk):
    """The payments that M-PESA was asked about, in order."""
    return [each.checkout_request_id for each in desk.daraja.sent if type(each).__name__ == "StkQuery"]


def test_payments_are_claimed_twenty_at_a_time(desk, store, monkeypatch):
    """Forty-five claims take three commits; each payment is asked about once, and settled by its answer."""
    rows = stale(desk, 45)
    batches = []
    real = store.batch
    monkeypatch.setattr(store, "batch", lambda calls: batches.append([name for name, _ in calls]) or real(calls))
    done = desk.gateway.reconcile()
    assert (45, 45, 0) == (done.asked, done.settled, done.expired)
    assert [["change"] * 20, ["change"] * 20, ["change"] * 5] == batches
    assert [row.checkout_request_id for row in rows] == asked(desk)
    assert 45 == desk.names().count("payment_confirmed")


def test_who_is_second_asks_about_what_nobody_has_claimed(desk):
    """A sweep that another process runs in the midst of this one leaves to it what it has claimed."""
    rows = stale(desk, 30)
    others = []

    def answer(question):
        if not others:
            others.append(None)
            others[0] = desk.gateway.reconcile()
        return stk_query(0, checkout=question.checkout_request_id)

    desk.daraja.answers["StkQuery"] = answer
    done = desk.gateway.reconcile()
    assert (20, 10) == (done.asked, others[0].asked)
    assert sorted(row.checkout_request_id for row in rows) == sorted(asked(desk))


def test_what_a_process_has_claimed_when_it_dies_comes_due_again(desk):
    """Those that it did not come to are asked about at their next check; those that it did are settled already."""
    rows = stale(desk, 8)

    def dying(question):
        if len(asked(desk)) == 3:
            raise KeyboardInterrupt
        return stk_query(0, checkout=question.checkout_request_id)

    desk.daraja.answers["StkQuery"] = dying
    with pytest.raises(KeyboardInterrupt):
        desk.gateway.reconcile()
    assert [Status.SUCCESS] * 2 + [Status.PROCESSING] * 6 == [desk.gateway.get(row).status for row in rows]
    assert not desk.gateway.reconcile()
    desk.clock.forward(max(desk.settings.query_interval * 2, 1))
    assert 6 == desk.gateway.reconcile().settled
    assert [1] * 2 + [2] + [1] * 5 == [asked(desk).count(row.checkout_request_id) for row in rows]
    assert 8 == desk.names().count("payment_confirmed")


def test_a_payment_that_was_settled_while_others_were_asked_about_is_not(desk):
    """A callback that comes after the claim and before the question spares it."""
    rows = stale(desk, 3)

    def answer(question):
        if len(asked(desk)) == 1:
            told = stk_success(rows[2].checkout_request_id, receipt="SK0000000X")
            desk.post("STK", told, rows[2].callback_token)
        return stk_query(0, checkout=question.checkout_request_id)

    desk.daraja.answers["StkQuery"] = answer
    done = desk.gateway.reconcile()
    assert (3, 3) == (done.asked, done.settled)
    assert [row.checkout_request_id for row in rows[:2]] == asked(desk)
    assert 3 == desk.names().count("payment_confirmed")


def test_a_row_that_the_store_refuses_keeps_no_other_from_being_asked_about(desk, store, monkeypatch, caplog):
    """It is logged, and left; those that were claimed beside it go on."""
    rows = stale(desk, 3)
    real = store.batch

    def batch(calls):
        return [
            StorageRefused("a constraint of the host's") if call[1][0] == rows[1].id else real([call])[0]
            for call in calls
        ]

    monkeypatch.setattr(store, "batch", batch)
    assert 2 == desk.gateway.reconcile().settled
    assert [rows[0].checkout_request_id, rows[2].checkout_request_id] == asked(desk)
    assert f"Transaction {rows[1].id} cannot be asked about" in caplog.text


def test_one_that_cannot_be_claimed_now_costs_no_other_its_question(desk, store, monkeypatch):
    """Those beside it were claimed, so that they are asked about at once; then it is told."""
    rows = stale(desk, 3)
    real = store.batch

    def batch(calls):
        return [
            StorageUnavailable("the connection was lost") if call[1][0] == rows[1].id else real([call])[0]
            for call in calls
        ]

    monkeypatch.setattr(store, "batch", batch)
    with pytest.raises(StorageUnavailable):
        desk.gateway.reconcile()
    assert [rows[0].checkout_request_id, rows[2].checkout_request_id] == asked(desk)
    assert Status.SUCCESS == desk.gateway.get(rows[2]).status


def test_one_that_can_never_be_claimed_keeps_no_other_from_its_turn(monkeypatch):
    """Where each is claimed by itself, too: it is the first one due in every sweep."""
    desk = Desk(MemoryRepository())
    monkeypatch.setattr(desk.gateway.engine, "batches", False)
    desk.daraja.answers["StkQuery"] = lambda question: stk_query(0, checkout=question.checkout_request_id)
    rows = stale(desk, 2)
    real = desk.repository.change

    def change(transaction_id, version, changes):
        if transaction_id == rows[0].id:
            raise StorageUnavailable("a trigger of the host's")
        return real(transaction_id, version, changes)

    monkeypatch.setattr(desk.repository, "change", change)
    with pytest.raises(StorageUnavailable):
        desk.gateway.reconcile()
    assert Status.SUCCESS == desk.gateway.get(rows[1]).status


def test_one_that_cannot_be_settled_now_costs_no_other_its_question(desk, store, monkeypatch):
    """It is told when those that were claimed along with it were asked about."""
    rows = stale(desk, 3)
    real = store.change

    def change(transaction_id, version, changes):
        if transaction_id == rows[0].id and "status" in changes:
            raise StorageUnavailable("the connection was lost")
        return real(transaction_id, version, changes)

    monkeypatch.setattr(store, "change", change)
    with pytest.raises(StorageUnavailable):
        desk.gateway.reconcile()
    assert [row.checkout_request_id for row in rows] == asked(desk)
    assert [Status.PROCESSING, *[Status.SUCCESS] * 2] == [desk.gateway.get(row).status for row in rows]
