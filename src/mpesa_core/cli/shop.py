"""The demo's shop: orders in SQLite, and the receivers that a program of one's own would have."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs

from mpesa_core import signals

__all__ = ["Order", "Shop"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    reference TEXT PRIMARY KEY, what TEXT NOT NULL, price INTEGER NOT NULL, state TEXT NOT NULL, receipt TEXT,
    times_paid INTEGER NOT NULL DEFAULT 0
)
"""


@attrs.frozen
class Order:
    """One order.

    Attributes:
        reference: what the customer pays for, as ``account_reference``.
        what: what was ordered.
        price: in shillings.
        state: ``open``, ``paid``, ``failed`` or ``refunded``.
        receipt: M-PESA's, once it is known.
        times_paid: how often it was marked paid.
    """

    reference: str
    what: str
    price: int
    state: str
    receipt: str | None
    times_paid: int


class Shop:
    """Orders, and what becomes of them when signals come.

    Args:
        path: the shop's own SQLite file.
        tell: prints a line of the story.

    Attributes:
        paid_out: in shillings.
        announced: the settlements' signals that came, each with its transaction's id.
        callbacks: the type and disposition of each callback that was processed.
    """

    def __init__(self, path: Path, tell: Callable[[str], None]) -> None:
        self._path = path
        self._tell = tell
        self.paid_out = Decimal(0)
        self.announced: list[tuple[str, UUID]] = []
        self.callbacks: list[tuple[str, str]] = []
        with self._connection() as connection:
            connection.execute(_SCHEMA)

    def take_order(self, reference: str, what: str, price: int) -> Order:
        """A new open order."""
        with self._connection() as connection:
            connection.execute(
                "INSERT INTO orders (reference, what, price, state) VALUES (?, ?, ?, 'open')", (reference, what, price)
            )
        return self.order(reference)

    def order(self, reference: str) -> Order:
        """The order of that reference."""
        found = next((order for order in self.orders() if order.reference == reference), None)
        if found is None:
            raise KeyError(reference)
        return found

    def orders(self) -> list[Order]:
        """Every order, oldest first."""
        with self._connection() as connection:
            columns = "reference, what, price, state, receipt, times_paid"
            return [Order(*row) for row in connection.execute(f"SELECT {columns} FROM orders ORDER BY rowid")]  # noqa: S608 - a constant

    @contextmanager
    def listening(self, sender: object) -> Iterator[None]:
        """Connect the receivers to one gateway's signals, and note whatever is announced to them."""
        receivers: dict[str, Callable[..., Any]] = {
            "payment_confirmed": self.payment_confirmed,
            "payment_failed": self.payment_failed,
            "payout_completed": self.payout_completed,
            "reversal_completed": self.reversal_completed,
        }
        connected = {name: self._noting(name, receiver) for name, receiver in receivers.items()}
        connected["c2b_validation_received"] = self.validation
        connected["callback_received"] = self._note_callback
        for name, receiver in connected.items():
            signals.SIGNALS[name].connect(receiver, sender=sender)
        try:
            yield
        finally:
            for name, receiver in connected.items():
                signals.SIGNALS[name].disconnect(receiver, sender=sender)

    def _noting(self, name: str, receiver: Callable[..., Any]) -> Callable[..., Any]:
        def note(sender: object, transaction: Any, **more: Any) -> Any:
            self.announced.append((name, transaction.id))
            return receiver(sender, transaction=transaction, **more)

        return note

    def _note_callback(self, _sender: object, callback: Any, disposition: str, **_more: Any) -> None:
        self.callbacks.append((callback.callback_type, disposition))

    # The receivers: what an application would write. They tell first, because the story goes on from what they store.

    def payment_confirmed(self, _sender: object, transaction: Any, **_more: Any) -> None:
        """Mark the order paid."""
        reference, receipt = transaction.account_reference, transaction.mpesa_receipt_number
        proof = f"receipt {receipt}" if receipt else "as M-PESA says when asked"
        self._tell(f"payment_confirmed: {reference} is paid, {proof}")
        with self._connection() as connection:
            connection.execute(
                "UPDATE orders SET state = 'paid', receipt = ?, times_paid = times_paid + 1 WHERE reference = ?",
                (receipt, reference),
            )

    def payment_failed(self, _sender: object, transaction: Any, result_desc: str, **more: Any) -> None:
        """Mark the order failed: the customer may try again."""
        doubt = "" if more.get("outcome_known") else ", as far as is known"
        self._tell(f"payment_failed: {transaction.account_reference}{doubt}: {result_desc}")
        self._mark(transaction.account_reference, "failed")

    def validation(self, _sender: object, raw_payload: Any, **_more: Any) -> dict[str, Any] | None:
        """Refuse a payment that no open order waits for."""
        reference = str(raw_payload.get("BillRefNumber", "")).strip().upper()
        if any(order.reference == reference and order.state == "open" for order in self.orders()):
            return None
        self._tell(f"c2b_validation_received: no order {reference}, no payment please")
        return {"ResultCode": "C2B00012", "ResultDesc": "Rejected"}

    def payout_completed(self, _sender: object, transaction: Any, **_more: Any) -> None:
        """Write down what was paid."""
        self._tell(f"payout_completed: {transaction.amount:,.0f} are sent, receipt {transaction.mpesa_receipt_number}")
        self.paid_out += transaction.amount

    def reversal_completed(self, _sender: object, transaction: Any, **_more: Any) -> None:
        """Mark the order refunded."""
        self._tell(f"reversal_completed: the customer is paid back for {transaction.account_reference}")
        self._mark(transaction.account_reference, "refunded")

    def _mark(self, reference: str, state: str) -> None:
        with self._connection() as connection:
            connection.execute("UPDATE orders SET state = ? WHERE reference = ?", (state, reference))

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, timeout=10)
        try:
            with connection:
                yield connection
        finally:
            connection.close()
