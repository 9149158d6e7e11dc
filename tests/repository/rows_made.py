"""Drafts for the tests of the repositories."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

from mpesa_core.daraja.callbacks import CallbackType
from mpesa_core.payments.records import CallbackDraft, TransactionDraft, TransactionType

NOON = datetime(2026, 3, 1, 9, 0, 0, 123456, tzinfo=UTC)


def draft(**fields):
    """A draft of an STK push of 10 shillings."""
    defaults = {
        "id": uuid4(),
        "transaction_type": TransactionType.STK_PUSH,
        "short_code": "600000",
        "amount": Decimal(10),
        "account_reference": "INV-1",
        "initiated_at": NOON,
    }
    return TransactionDraft(**defaults | fields)


def callback(**fields):
    """A draft of an open STK callback."""
    defaults = {
        "id": uuid4(),
        "callback_type": CallbackType.STK,
        "raw_bytes": b"{}",
        "received_at": NOON,
        "next_attempt_at": NOON,
    }
    return CallbackDraft(**defaults | fields)
