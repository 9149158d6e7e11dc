"""Invoices in the settlement: what a payment does to one, under its own fence, and what time does.

A payment and its invoice are two rows, and a process may die between any two steps. So the payment first says whose it
is (``parent_id``, while its own fence is up), then it is put into the invoice's ``payments`` under its id, however
often that is tried: an invoice counts a payment once, and one payment is counted by one invoice.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import attrs

from mpesa_core.daraja.bills import AcknowledgeBillPayment
from mpesa_core.errors import MpesaError, StorageError
from mpesa_core.outline import outline
from mpesa_core.payments.invoices import OPEN_INVOICES, InvoiceRecord, InvoiceStatus, overdue, paid_by
from mpesa_core.payments.records import PAYMENTS, Status, Sweep, TransactionRecord
from mpesa_core.settings import Settings
from mpesa_core.settlement.dues import Dues, InvoiceStore
from mpesa_core.settlement.effects import Procedure, Store, send

__all__ = ["Invoices", "bill_manager"]

_log = logging.getLogger("mpesa_core.settlement")

_ACKNOWLEDGEMENTS: Final = 5
"""How often Bill Manager is told of a payment before it is left: M-PESA itself tries a push as often."""


def bill_manager(settings: Settings, account: str) -> dict[str, Any]:
    """What every call to Bill Manager is given from the settings."""
    key = settings.account(account).bills_app_key
    return {
        "base_path": settings.bills_base_path,
        "app_key": key.reveal() if key is not None else None,
        "app_key_header": settings.bills_app_key_header,
    }


class Invoices:
    """The procedures of invoices that the settlement needs.

    Args:
        settings: leases, and how Bill Manager is called.
        clock: the time, aware, in UTC.
        kept: whether the repository keeps invoices; without it nothing here does anything.
    """

    def __init__(self, settings: Settings, clock: Callable[[], datetime], *, kept: bool) -> None:
        self.kept = kept
        self.store = InvoiceStore()
        self.dues = Dues(self.store, settings, clock)
        self._settings = settings
        self._clock = clock
        self._transactions = Store()

    def carry(self, payment: TransactionRecord) -> Procedure[TransactionRecord]:
        """Put a payment into the invoice that it is for: the oldest open one of its short code and reference.

        Returns:
            The payment as it is now.
        """
        if not self._is_for_one(payment):
            return payment
        while True:
            if payment.parent_id is not None:
                invoice = yield from self.store.get(payment.parent_id)
                if invoice is None or str(payment.id) in invoice.payments:
                    return payment  # a subscription's; or it is done
                changes = paid_by(invoice, payment.id, payment.amount, self._clock())
                if changes is not None:
                    if (yield from self.store.change(invoice.id, invoice.version, changes)) is not None:
                        return payment
                    continue
            open_ones = yield from self.store.payable(
                payment.short_code, payment.account_reference, [*map(str, OPEN_INVOICES)]
            )
            target = open_ones[0].id if open_ones else None
            if target is None and payment.parent_id is None:
                return payment
            changed = yield from self._transactions.change(payment.id, payment.version, {"parent_id": target})
            fresh = changed or (yield from self._transactions.get(payment.id))
            if fresh is None:
                return payment
            payment = fresh

    def follow(self, payment: TransactionRecord) -> Procedure[None]:
        """Announce what a payment has made of its invoice, and tell Bill Manager of it, once the payment is marked."""
        if not self._is_for_one(payment) or payment.parent_id is None:
            return
        invoice = yield from self.store.get(payment.parent_id)
        if invoice is None:
            return
        yield from self.dues.announce(invoice.id)
        yield from self.review(invoice)

    def _is_for_one(self, payment: TransactionRecord) -> bool:
        payable = payment.transaction_type in PAYMENTS and payment.status == Status.SUCCESS
        return self.kept and payable and bool(payment.account_reference)

    # -- what time does --------------------------------------------------------------------------------------------

    def sweep(self, limit: int) -> Procedure[tuple[int, int]]:
        """One sweep: announce what a process left unannounced, mark what is overdue, tell Bill Manager of payments.

        Returns:
            How many signals were delivered, and how many invoices were looked at.
        """
        delivered = reviewed = 0
        if not self.kept:
            return delivered, reviewed
        for row in (yield from self.store.due(Sweep.UNANNOUNCED, self._clock(), limit)):
            delivered += yield from self.dues.announce(row.id)
        for row in (yield from self.store.due(Sweep.TO_ASK, self._clock(), limit)):
            reviewed += yield from self.review(row)
        return delivered, reviewed

    def review(self, invoice: InvoiceRecord) -> Procedure[bool]:
        """Mark an invoice overdue where it is, and send the acknowledgements that are to be sent.

        Returns:
            Whether it was ours to do.
        """
        now = self._clock()
        current = yield from self.store.get(invoice.id)
        if current is None or current.next_check_at is None or current.next_check_at > now:
            return False
        changes = overdue(current, now) or {}
        after = attrs.evolve(_Look.of(current), status=str(changes.get("status", current.status)))
        wait = now + timedelta(seconds=self._settings.callback_lease) if current.unacknowledged else after.next(now)
        claimed = yield from self.store.change(current.id, current.version, {**changes, "next_check_at": wait})
        if claimed is None:
            return False
        if claimed.unacknowledged:
            told = yield from self._acknowledge(claimed)
            yield from self.dues.change(claimed.id, lambda row: self._acknowledged(row, told))
        return True

    def _acknowledge(self, invoice: InvoiceRecord) -> Procedure[dict[str, bool]]:
        """Tell Bill Manager of the payments that it has not been told of: which, and whether it took it."""
        told = {}
        for key in invoice.unacknowledged:
            payment = yield from self._transactions.get(UUID(key))
            try:
                if payment is not None and payment.mpesa_receipt_number is not None:
                    yield from send(self._acknowledgement(invoice, payment), invoice.account)
                    told[key] = True
                    continue
                problem = "the payment has no receipt yet"
            except StorageError:
                raise
            except MpesaError as error:
                problem = outline(error)
            told[key] = False
            _log.warning("Bill Manager could not be told of a payment of invoice %s: %s", invoice.id, problem)
        return told

    def _acknowledgement(self, invoice: InvoiceRecord, payment: TransactionRecord) -> AcknowledgeBillPayment:
        whole = re.fullmatch(r"254[17][0-9]{8}", payment.phone_number)
        return AcknowledgeBillPayment(
            transaction_id=payment.mpesa_receipt_number,
            amount=payment.amount,
            paid_on=payment.confirmed_at or payment.settled_at or self._clock(),
            account_reference=invoice.account_reference,
            phone_number=payment.phone_number if whole else invoice.phone_number,
            full_name=invoice.full_name,
            invoice_name=invoice.invoice_name,
            external_reference=invoice.external_reference,
            **bill_manager(self._settings, invoice.account),
        )

    def _acknowledged(self, row: InvoiceRecord, told: Mapping[str, bool]) -> dict[str, Any]:
        left = {}
        for key, tries in row.unacknowledged.items():
            if key not in told:
                left[key] = tries
            elif not told[key] and tries + 1 < _ACKNOWLEDGEMENTS:
                left[key] = tries + 1
            elif not told[key]:
                _log.error("Bill Manager was not told of payment %s of invoice %s: tried %s times", key, row.id, tries)
        look = attrs.evolve(_Look.of(row), unacknowledged=left)
        return {"unacknowledged": left, "next_check_at": look.next(self._clock())}


@attrs.frozen
class _Look:
    """What decides when recovery looks at an invoice next."""

    status: str
    due_at: datetime
    unacknowledged: Mapping[str, int]

    @classmethod
    def of(cls, row: InvoiceRecord) -> _Look:
        return cls(row.status, row.due_at, row.unacknowledged)

    def next(self, now: datetime) -> datetime | None:
        times = [now + timedelta(seconds=60 * 4**tries if tries else 0) for tries in self.unacknowledged.values()]
        if self.status in (InvoiceStatus.SENT, InvoiceStatus.PART_PAID):
            times.append(self.due_at)
        return min(times, default=None)
