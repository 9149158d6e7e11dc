"""Which signals a settlement fires, and with what arguments."""

from __future__ import annotations

from typing import Any, Final

import attrs

from mpesa_core.payments.machine import is_known
from mpesa_core.payments.records import Status, TransactionRecord, TransactionType

__all__ = ["Announcement", "announcements"]


@attrs.frozen
class Announcement:
    """One signal to deliver.

    Attributes:
        signal: its name in :mod:`mpesa_core.signals`.
        arguments: what the receivers get.
    """

    signal: str
    arguments: dict[str, Any]


_REASON_SIGNALS: Final = {
    "cancelled": "payment_cancelled",
    "expired": "payment_expired",
    "denied": "payment_denied",
}


_PAYOUT: Final = ("payout_completed", "payout_failed")
_TRANSFER: Final = ("transfer_completed", "transfer_failed")
_TWO_ENDINGS: Final = {
    TransactionType.B2C: _PAYOUT,
    TransactionType.POCHI: _PAYOUT,
    TransactionType.B2B: _TRANSFER,
    TransactionType.TAX: _TRANSFER,
    TransactionType.B2B_EXPRESS: _TRANSFER,
}


def announcements(
    row: TransactionRecord, parent: TransactionRecord | None = None, reversal: TransactionRecord | None = None
) -> list[Announcement]:
    """The signals of a settled row's present generation, in order.

    Args:
        row: the transaction, settled.
        parent: of a refund, the payment where it is ours.
        reversal: of a REVERSED payment, the refund that completed it.
    """
    if row.status == Status.REVERSED:
        return [Announcement("reversal_completed", {"transaction": row, "reversal": reversal})]
    late = row.generation > 1
    failure = {
        "result_code": row.result_code if row.result_code is not None else row.result_code_text,
        "result_desc": row.result_desc,
        "outcome_known": is_known(row.status, row.settled_by),
        "late": late,
    }
    succeeded = row.status == Status.SUCCESS
    if row.transaction_type == TransactionType.REVERSAL:
        original = parent if parent is not None else row
        if not succeeded:
            return [Announcement("reversal_failed", {"transaction": original, "reversal": row, **failure})]
        if parent is None:
            return [Announcement("reversal_completed", {"transaction": row, "reversal": row})]
        return [_refunded(row, parent)]
    if row.transaction_type in _TWO_ENDINGS:
        completed, failed = _TWO_ENDINGS[TransactionType(row.transaction_type)]
        if not succeeded:
            return [Announcement(failed, {"transaction": row, **failure})]
        signals = [Announcement(completed, {"transaction": row, "late": late})]
        return signals if parent is None else [*signals, _refunded(row, parent)]
    if succeeded:
        return [Announcement("payment_confirmed", {"transaction": row, "late": late})]
    signals = [Announcement("payment_failed", {"transaction": row, **failure})]
    if row.reason in _REASON_SIGNALS:
        signals.append(Announcement(_REASON_SIGNALS[row.reason], {"transaction": row, **failure}))
    return signals


def _refunded(refund: TransactionRecord, payment: TransactionRecord) -> Announcement:
    return Announcement("payment_refunded", {"transaction": payment, "refund": refund, "amount": refund.amount})
