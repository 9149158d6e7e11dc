"""How a transaction or a callback stands, for the people who look after it: does it wait too long, why did it fail."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from mpesa_core.daraja.codes import Explanation, Family, explain
from mpesa_core.payments.machine import OPEN
from mpesa_core.payments.records import (
    PAYMENTS,
    CallbackRecord,
    Disposition,
    Status,
    TransactionRecord,
    TransactionType,
)
from mpesa_core.payments.schedule import deadline
from mpesa_core.settings import Settings

__all__ = ["brought_money", "can_be_reversed", "explanation", "is_open_conflict", "waits_too_long"]

_FAMILIES: Final = {
    TransactionType.STK_PUSH: Family.STK,
    TransactionType.C2B: Family.C2B,
    TransactionType.BILL_PAYMENT: Family.C2B,
    TransactionType.B2C: Family.B2C,
    TransactionType.POCHI: Family.B2C,
    TransactionType.B2B: Family.B2B,
    TransactionType.TAX: Family.B2B,
    TransactionType.B2B_EXPRESS: Family.EXPRESS,
    TransactionType.REVERSAL: Family.REVERSAL,
}


def waits_too_long(row: TransactionRecord, settings: Settings, now: datetime) -> bool:
    """Whether it is still open although its deadline is past.

    Reconciliation concludes such a one unless something holds it: an open conflict, a callback that cannot be
    processed, or that nobody reconciles. A store can be asked for them by :func:`~.schedule.patience`.
    """
    return row.status in OPEN and now >= deadline(row, settings)


def explanation(row: TransactionRecord) -> Explanation | None:
    """What the code of a transaction that did not succeed means; None where there is no code, or it succeeded."""
    if row.result_code_text is None or row.status in (Status.SUCCESS, Status.REVERSED):
        return None
    return explain(row.result_code_text, _FAMILIES.get(TransactionType(row.transaction_type)))


def brought_money(row: TransactionRecord) -> bool:
    """Whether it is a customer's payment that came in, whatever was given back of it since."""
    return row.transaction_type in PAYMENTS and row.status in (Status.SUCCESS, Status.REVERSED)


def can_be_reversed(row: TransactionRecord) -> bool:
    """Whether M-PESA can be asked to give it back: it came in, has a receipt, and is not back already."""
    return brought_money(row) and row.status == Status.SUCCESS and row.mpesa_receipt_number is not None


def is_open_conflict(callback: CallbackRecord) -> bool:
    """Whether it contradicts what is known, and nobody has accepted or dismissed it yet."""
    return callback.disposition == Disposition.CONFLICT and callback.resolved_at is None
