"""The signals of invoices and subscriptions, and the steps through which their rows are read and changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Generic, TypeVar
from uuid import UUID

from mpesa_core.payments.dues import DueRecord, announced, first_signal
from mpesa_core.payments.invoices import InvoiceDraft, InvoiceRecord
from mpesa_core.payments.records import Sweep
from mpesa_core.payments.subscriptions import SubscriptionDraft, SubscriptionKey, SubscriptionRecord
from mpesa_core.settings import Settings
from mpesa_core.settlement.effects import Deliver, Lease, Procedure, Store, StoreCall

__all__ = ["Dues", "InvoiceStore", "SubscriptionStore"]

R = TypeVar("R", bound=DueRecord)


class _DueStore(Generic[R]):
    """The operations that both kinds have, as typed steps; see :mod:`mpesa_core.repository.protocol`."""

    def __init__(self, kind: str, plural: str) -> None:
        self.kind = kind
        self._plural = plural

    def get(self, row_id: UUID) -> Procedure[R | None]:
        """Read a row."""
        result: R | None = yield StoreCall(f"get_{self.kind}", (row_id,))
        return result

    def change(self, row_id: UUID, version: int, changes: Mapping[str, Any]) -> Procedure[R | None]:
        """Compare-and-set."""
        result: R | None = yield StoreCall(f"change_{self.kind}", (row_id, version, changes))
        return result

    def due(self, sweep: Sweep, now: datetime, limit: int) -> Procedure[Sequence[R]]:
        """The rows of a sweep."""
        result: Sequence[R] = yield StoreCall(f"due_{self._plural}", (sweep, now, limit))
        return result


class InvoiceStore(_DueStore[InvoiceRecord]):
    """See :class:`mpesa_core.repository.protocol.InvoiceRepository`."""

    def __init__(self) -> None:
        super().__init__("invoice", "invoices")

    def add(self, draft: InvoiceDraft) -> Procedure[InvoiceRecord]:
        """Record an invoice."""
        result: InvoiceRecord = yield StoreCall("add_invoice", (draft,))
        return result

    def find(self, short_code: str, external_reference: str) -> Procedure[InvoiceRecord | None]:
        """The invoice of that reference."""
        result: InvoiceRecord | None = yield StoreCall("find_invoice", (short_code, external_reference))
        return result

    def payable(
        self, short_code: str, account_reference: str, statuses: Sequence[str]
    ) -> Procedure[Sequence[InvoiceRecord]]:
        """The invoices that are paid to that reference."""
        arguments = (short_code, account_reference, statuses)
        result: Sequence[InvoiceRecord] = yield StoreCall("payable_invoices", arguments)
        return result


class SubscriptionStore(_DueStore[SubscriptionRecord]):
    """See :class:`mpesa_core.repository.protocol.SubscriptionRepository`."""

    def __init__(self) -> None:
        super().__init__("subscription", "subscriptions")

    def add(self, draft: SubscriptionDraft) -> Procedure[SubscriptionRecord]:
        """Record a subscription."""
        result: SubscriptionRecord = yield StoreCall("add_subscription", (draft,))
        return result

    def find(self, key: SubscriptionKey, value: str) -> Procedure[SubscriptionRecord | None]:
        """Find a subscription by a key."""
        result: SubscriptionRecord | None = yield StoreCall("find_subscription", (key, value))
        return result

    def charging(
        self, short_code: str, amount: Decimal, account_reference: str
    ) -> Procedure[Sequence[SubscriptionRecord]]:
        """The subscriptions that pay that amount to that reference."""
        arguments = (short_code, amount, account_reference)
        result: Sequence[SubscriptionRecord] = yield StoreCall("charging_subscriptions", arguments)
        return result


class Dues(Generic[R]):
    """Changes rows of one kind by compare-and-set, and delivers the signals that they have to announce.

    Args:
        store: the kind's operations.
        settings: the announcer's lease.
        clock: the time, aware, in UTC.
    """

    def __init__(self, store: _DueStore[R], settings: Settings, clock: Callable[[], datetime]) -> None:
        self._rows = store
        self._settings = settings
        self._clock = clock
        self._transactions = Store()

    def change(self, row_id: UUID, decide: Callable[[R], Mapping[str, Any] | None]) -> Procedure[R | None]:
        """Change a row as ``decide`` says, reading again as often as somebody else is first.

        Returns:
            The row as it is now; None where there is none.
        """
        while True:
            row = yield from self._rows.get(row_id)
            if row is None:
                return None
            changes = decide(row)
            if changes is None:
                return row
            changed = yield from self._rows.change(row.id, row.version, changes)
            if changed is not None:
                return changed

    def announce(self, row_id: UUID) -> Procedure[int]:
        """Deliver what a row has to announce, unless somebody is at it, who will deliver the rest too.

        Returns:
            How many signals were delivered.
        """
        delivered = 0
        row = yield from self._claim(row_id)
        while row is not None:
            due = first_signal(row)
            if due is None:
                break
            yield from self._deliver(row, due.generation, due.signal, due.transaction_id)
            delivered += 1
            row = yield from self._mark(row_id, due.generation)
        return delivered

    def _fence(self) -> datetime:
        return self._clock() + timedelta(seconds=self._settings.announce_lease)

    def _claim(self, row_id: UUID) -> Procedure[R | None]:
        while True:
            row = yield from self._rows.get(row_id)
            if row is None or row.announce_until is None or row.announce_until > self._clock():
                return None
            claimed = yield from self._rows.change(row.id, row.version, {"announce_until": self._fence()})
            if claimed is not None:
                return claimed

    def _mark(self, row_id: UUID, generation: int) -> Procedure[R | None]:
        """Take off a signal that went out; the row where there are more and the fence is still ours."""
        while True:
            row = yield from self._rows.get(row_id)
            changes = announced(row, generation, self._fence()) if row is not None else None
            if row is None or changes is None:
                return None
            marked = yield from self._rows.change(row.id, row.version, changes)
            if marked is not None:
                return marked

    def _deliver(self, row: R, generation: int, signal: str, transaction_id: UUID | None) -> Procedure[None]:
        arguments: dict[str, Any] = {self._rows.kind: row}
        if signal == "invoice_paid" and transaction_id is not None:
            arguments["transaction"] = yield from self._transactions.get(transaction_id)
        if signal == "subscription_failed":
            code = getattr(row, "result_code_text", None)
            arguments["result_code"] = int(code) if code and code.isascii() and code.isdigit() else code
            arguments["result_desc"] = getattr(row, "result_desc", None)
        yield Deliver(signal, arguments, lease=Lease(self._rows.kind, row.id, generation))
