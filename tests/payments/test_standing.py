"""How a transaction stands, for the people who look after it."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from mpesa_core.daraja.callbacks import CallbackType
from mpesa_core.payments.records import CallbackRow, Disposition, Status, TransactionType
from mpesa_core.payments.schedule import deadline, patience
from mpesa_core.payments.standing import (
    brought_money,
    can_be_reversed,
    explanation,
    is_open_conflict,
    waits_too_long,
)
from mpesa_core.settings import Settings
from tests.payments.evidence import NOW, row

SETTINGS = Settings()


@pytest.mark.parametrize("kind", TransactionType)
def test_an_open_one_waits_too_long_from_its_deadline_on(kind):
    """Not a moment before; and the deadline is its type's patience, counted from when it was recorded."""
    waiting = row(transaction_type=kind, status=Status.PROCESSING)
    end = deadline(waiting, SETTINGS)
    assert waiting.initiated_at + patience(kind, SETTINGS) == end
    assert (False, True) == tuple(
        waits_too_long(waiting, SETTINGS, now) for now in (end - timedelta(microseconds=1), end)
    )


@pytest.mark.parametrize("status", [Status.SUCCESS, Status.FAILED, Status.TIMEOUT, Status.REVERSED])
def test_what_is_settled_does_not_wait(status):
    """However old it is."""
    assert not waits_too_long(row(status=status), SETTINGS, NOW + timedelta(days=900))


def test_a_code_is_explained_for_its_own_product():
    """2001 is the customer's PIN in an STK push, and the operator's credential in a payout."""
    codes = {"status": Status.FAILED, "result_code": 2001, "result_code_text": "2001"}
    push = explanation(row(transaction_type=TransactionType.STK_PUSH, **codes))
    payout = explanation(row(transaction_type=TransactionType.B2C, **codes))
    assert ("customer", "operator") == (push.turn, payout.turn)


def test_nothing_is_explained_where_nothing_failed_or_was_said():
    """A success needs none, and a failure without a code has none."""
    assert explanation(row(status=Status.SUCCESS, result_code=0, result_code_text="0")) is None
    assert explanation(row(status=Status.FAILED)) is None


@pytest.mark.parametrize("kind", TransactionType)
@pytest.mark.parametrize("status", Status)
def test_what_brought_money_and_what_can_be_given_back(kind, status):
    """A payment by a customer that came in; it can be reversed while it is not back, and once it has a receipt."""
    came_in = kind in {"STK_PUSH", "C2B", "BILL_PAYMENT"} and status in {"SUCCESS", "REVERSED"}
    given = {"transaction_type": kind, "status": status}
    assert came_in == brought_money(row(**given))
    assert (came_in and status == "SUCCESS") == can_be_reversed(row(**given, mpesa_receipt_number="SKL1"))
    assert not can_be_reversed(row(**given))


@pytest.mark.parametrize("disposition", [None, *Disposition])
def test_a_conflict_is_open_until_somebody_resolves_it(disposition):
    """And nothing else is one."""
    given = {"id": UUID(int=1), "callback_type": CallbackType.STK, "raw_bytes": b"", "received_at": NOW}
    given["disposition"] = disposition
    waiting, resolved = CallbackRow(**given), CallbackRow(**given, resolved_at=NOW)
    assert (disposition is Disposition.CONFLICT, False) == (is_open_conflict(waiting), is_open_conflict(resolved))
