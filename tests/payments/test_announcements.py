"""Which signals a settlement fires."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pytest

from mpesa_core.payments.announcements import announcements
from mpesa_core.payments.machine import Source
from mpesa_core.payments.records import Status, TransactionType
from tests.payments.evidence import row


def fired(**changes):
    return announcements(row(**{"generation": 1, **changes}))


@pytest.mark.parametrize(
    ("kind", "status", "reason", "expected"),
    [
        (TransactionType.STK_PUSH, Status.SUCCESS, None, ["payment_confirmed"]),
        (TransactionType.C2B, Status.SUCCESS, None, ["payment_confirmed"]),
        (TransactionType.STK_PUSH, Status.FAILED, "cancelled", ["payment_failed", "payment_cancelled"]),
        (TransactionType.STK_PUSH, Status.TIMEOUT, "expired", ["payment_failed", "payment_expired"]),
        (TransactionType.STK_PUSH, Status.FAILED, "denied", ["payment_failed", "payment_denied"]),
        (TransactionType.STK_PUSH, Status.FAILED, "unsent", ["payment_failed"]),
        (TransactionType.B2C, Status.SUCCESS, None, ["payout_completed"]),
        (TransactionType.B2C, Status.FAILED, "denied", ["payout_failed"]),
        (TransactionType.B2C, Status.TIMEOUT, "expired", ["payout_failed"]),
        (TransactionType.REVERSAL, Status.FAILED, None, ["reversal_failed"]),
        (TransactionType.REVERSAL, Status.SUCCESS, None, ["reversal_completed"]),
        (TransactionType.STK_PUSH, Status.REVERSED, None, ["reversal_completed"]),
    ],
)
def test_signals_by_kind_and_outcome(kind, status, reason, expected):
    """Each kind of transaction has its signals, and a failed payment one more that says why."""
    assert expected == [one.signal for one in fired(transaction_type=kind, status=status, reason=reason)]


@pytest.mark.parametrize(
    ("status", "settled_by", "expected"),
    [
        (Status.FAILED, Source.CALLBACK, True),
        (Status.FAILED, Source.UNSENT, True),
        (Status.FAILED, Source.QUERY, False),
        (Status.TIMEOUT, Source.DEADLINE, False),
        (Status.TIMEOUT, Source.CALLBACK, False),
    ],
)
def test_failure_says_whether_it_is_known(status, settled_by, expected):
    """Nobody pays again on a guess: outcome_known is true only on M-PESA's own word, or when nothing was sent."""
    kind = TransactionType.B2C
    [signal] = fired(transaction_type=kind, status=status, settled_by=settled_by)
    assert expected is signal.arguments["outcome_known"]


def test_text_code_is_passed_as_text():
    """A code that is no number reaches the receiver as text."""
    [signal] = fired(
        transaction_type=TransactionType.B2C,
        status=Status.FAILED,
        result_code_text="SFC_IC0003",
        settled_by=Source.CALLBACK,
    )
    assert "SFC_IC0003" == signal.arguments["result_code"]


def test_second_generation_is_late():
    """A settlement that replaces an earlier one says so."""
    [signal] = fired(status=Status.SUCCESS, generation=2)
    assert signal.arguments["late"] is True


def test_refund_names_the_payment_and_the_amount():
    """A reversal of a payment of ours tells of the payment, with the reversal as its refund."""
    payment = row(status=Status.SUCCESS)
    refund = row(
        id=UUID(int=2),
        transaction_type=TransactionType.REVERSAL,
        status=Status.SUCCESS,
        amount=Decimal("40.00"),
        parent_id=payment.id,
        generation=1,
    )
    [signal] = announcements(refund, payment)
    assert ("payment_refunded", {"transaction": payment, "refund": refund, "amount": Decimal("40.00")}) == (
        signal.signal,
        signal.arguments,
    )
