"""The demo's books: the shop's transactions beside M-PESA's ledger, and everything in which they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final
from uuid import UUID

import attrs

from mpesa_core.payments.records import Status, TransactionRecord, TransactionType
from mpesa_core.sandbox import Entry
from mpesa_core.values import mask_phone

__all__ = ["Line", "draw_up", "unlike_announced", "unlike_ledger"]

_INCOMING: Final = frozenset({TransactionType.STK_PUSH, TransactionType.C2B})
_MOVED: Final = frozenset({Status.SUCCESS, Status.REVERSED})


@attrs.frozen
class Line:
    """One line of the books.

    Attributes:
        name: what it is.
        status: the transaction's, or ``missing`` where the shop has none.
        ours: what moved by the shop's books, in shillings; negative where it left.
        theirs: the same by M-PESA's ledger.
        receipt: M-PESA's, or "".
    """

    name: str
    status: str
    ours: Decimal
    theirs: Decimal
    receipt: str


def draw_up(rows: Sequence[TransactionRecord], entries: Sequence[Entry]) -> list[Line]:
    """The books: a line for each transaction, in the order in which they began, and for what M-PESA alone has."""
    names = {row.id: row.account_reference for row in rows}
    left = list(entries)
    lines = []
    for row in sorted(rows, key=lambda each: each.initiated_at):
        matching = [entry for entry in left if _is_same(row, entry)]
        left = [entry for entry in left if entry not in matching]
        sign = 1 if row.transaction_type in _INCOMING else -1
        ours = sign * row.amount if row.status in _MOVED else Decimal(0)
        theirs = sum((_signed(entry) for entry in matching), Decimal(0))
        receipt = ", ".join(entry.receipt for entry in matching)
        lines.append(Line(_name(row, names), str(row.status), ours, theirs, receipt))
    missing = [
        Line(f"{entry.kind} {entry.reference}", "missing", Decimal(0), _signed(entry), entry.receipt) for entry in left
    ]
    return lines + missing


def unlike_ledger(lines: Iterable[Line]) -> list[str]:
    """The lines in which the shop and M-PESA differ, in words."""
    return [
        f"{line.name} is {line.ours:,.2f} in the shop's books and {line.theirs:,.2f} in M-PESA's ledger"
        for line in lines
        if line.ours != line.theirs
    ]


def unlike_announced(rows: Iterable[TransactionRecord], announced: Iterable[tuple[str, UUID]]) -> list[str]:
    """The transactions that were not announced exactly once, in words.

    Args:
        rows: the transactions.
        announced: the name of each settlement's signal with the id of its transaction, as often as it was heard.
    """
    wanted = Counter(each for row in rows for each in _announcements(row))
    heard = Counter(announced)
    return [
        f"{signal} was heard {heard[signal, owner]} times, and not {wanted[signal, owner]}, for transaction {owner}"
        for signal, owner in wanted | heard
        if wanted[signal, owner] != heard[signal, owner]
    ]


def _announcements(row: TransactionRecord) -> list[tuple[str, UUID]]:
    """What a settled transaction announces; the payment that a reversal gives back is announced by the reversal."""
    kind = TransactionType(row.transaction_type)
    if kind in _INCOMING:
        said = {
            Status.SUCCESS: "payment_confirmed",
            Status.REVERSED: "payment_confirmed",
            Status.FAILED: "payment_failed",
        }
    elif kind is TransactionType.REVERSAL:
        said = {Status.SUCCESS: "reversal_completed"}
    else:
        said = {Status.SUCCESS: "payout_completed", Status.FAILED: "payout_failed"}
    signal = said.get(Status(row.status))
    owner = row.parent_id if kind is TransactionType.REVERSAL and row.parent_id is not None else row.id
    return [(signal, owner)] if signal is not None else []


def _is_same(row: TransactionRecord, entry: Entry) -> bool:
    """Whether an entry is about that transaction: by its receipt, or, where it has none yet, by its identifiers."""
    if row.mpesa_receipt_number is not None:
        return row.mpesa_receipt_number == entry.receipt
    ours = {row.checkout_request_id, row.conversation_id, row.originator_conversation_id} - {None}
    return not ours.isdisjoint({entry.checkout_request_id, entry.conversation_id, entry.originator_conversation_id})


def _signed(entry: Entry) -> Decimal:
    return entry.amount if entry.incoming else -entry.amount


def _name(row: TransactionRecord, names: dict[UUID, str]) -> str:
    if row.parent_id is not None and row.parent_id in names:
        return f"{row.transaction_type} of {names[row.parent_id]}"
    if row.account_reference:
        return f"{row.transaction_type} {row.account_reference}"
    return f"{row.transaction_type} to {mask_phone(row.phone_number)}"
