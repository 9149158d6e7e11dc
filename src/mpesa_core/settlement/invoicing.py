"""Sending and voiding invoices through Bill Manager.

An invoice is recorded before it is sent. Bill Manager knows each by the host's ``external_reference`` and refuses a
second one, so an invoice whose fate is unknown (the answer was lost, the process died) may be sent again: call
:meth:`~mpesa_core.gateway.Gateway.send_invoice` again as before. A refusal as a duplicate then says that it arrived.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import attrs

from mpesa_core.daraja.bills import (
    BillManagerAnswer,
    CancelInvoice,
    CancelInvoices,
    ChangeBillManagerOptIn,
    Invoice,
    OptInToBillManager,
    SendInvoice,
    SendInvoices,
)
from mpesa_core.errors import (
    DuplicateKey,
    IdempotencyMismatch,
    IllegalTransition,
    InvalidField,
    NotYet,
    OutcomeUnknown,
    RequestRefused,
    StorageError,
    TransactionNotFound,
    UnexpectedAnswer,
)
from mpesa_core.payments.invoices import (
    InvoiceDraft,
    InvoiceRecord,
    InvoiceStatus,
    accepted,
    paid_so_far,
    refused,
    voided,
)
from mpesa_core.payments.subscriptions import midnight_after
from mpesa_core.settlement.effects import Procedure, deliver, send
from mpesa_core.settlement.invoices import bill_manager
from mpesa_core.settlement.sending import APP_KEYS, Sending
from mpesa_core.values import phone_number

__all__ = ["Invoicing", "Progress"]

_log = logging.getLogger("mpesa_core.settlement")

Progress = Callable[[int, int], None]
"""Called with how many steps are done, and how many there are."""

_MOST: Final = 1000
"""How many invoices one request may hold (source: the "Bill Manager" page)."""
_FEW: Final = 3
"""After so many refusals in a row, at the beginning, the rest of a refused request is not tried."""
_COMPARED: Final = ("account_reference", "invoice_name", "full_name", "phone_number", "period", "amount", "due_at")
_ARRIVED = re.compile(r"duplicat|already|(?<!not )(?<!n't )\bexists?\b", re.IGNORECASE)
_CANCELLED = re.compile(r"already (?:been )?(?:cancel|void)|(?:cancelled|voided) already", re.IGNORECASE)


@attrs.frozen
class _Entry:
    """An invoice that is to be sent.

    Attributes:
        invoice: as it is sent.
        row: as it was recorded.
        again: an earlier call may have sent it.
        done: it was sent before; there is nothing to do.
    """

    invoice: Invoice
    row: InvoiceRecord
    again: bool = False
    done: bool = False


class Invoicing(Sending):
    """The procedures of invoices that the host calls."""

    def opt_in(self, account: str, *, change: bool, **given: Any) -> Procedure[BillManagerAnswer]:
        """Register a paybill. See :meth:`mpesa_core.gateway.Gateway.opt_in_bills`."""
        self._account(account, "opt_in_bills", APP_KEYS)
        kind = ChangeBillManagerOptIn if change else OptInToBillManager
        operation = kind(**given, **bill_manager(self._settings, account))
        answer: BillManagerAnswer = yield from send(operation, account)
        return answer

    def send_one(self, invoice: Invoice, account: str, host: Mapping[str, Any]) -> Procedure[InvoiceRecord]:
        """Send an invoice. See :meth:`mpesa_core.gateway.Gateway.send_invoice`."""
        entry = yield from self._recorded(invoice, account, host)
        return entry.row if entry.done else (yield from self._send_entry(entry))

    def send_many(
        self, invoices: Sequence[Invoice], account: str, host: Mapping[str, Any], progress: Progress | None
    ) -> Procedure[list[InvoiceRecord]]:
        """Send invoices, up to 1,000 in each request. See :meth:`mpesa_core.gateway.Gateway.send_invoices`."""
        _check(invoices)
        steps = _Steps(2 * len(invoices), progress)
        rows: list[InvoiceRecord] = []
        for first in range(0, len(invoices), _MOST):
            entries = []
            for invoice in invoices[first : first + _MOST]:
                entries.append((yield from self._recorded(invoice, account, host)))
                steps.done()
            rows += yield from self._send_entries(entries, steps)
        return rows

    def void(self, invoice_id: UUID) -> Procedure[InvoiceRecord]:
        """Cancel an invoice. See :meth:`mpesa_core.gateway.Gateway.void_invoice`."""
        row = yield from self._voidable(invoice_id)
        if row.status == InvoiceStatus.VOIDED:
            return row
        operation = CancelInvoice(
            external_reference=row.external_reference, **bill_manager(self._settings, row.account)
        )
        try:
            yield from send(operation, row.account)
        except RequestRefused as error:
            if not _CANCELLED.search(error.message):
                raise
        return (yield from self._void(row))

    def void_many(self, invoice_ids: Sequence[UUID]) -> Procedure[list[InvoiceRecord]]:
        """Cancel invoices, up to 1,000 in each request. See :meth:`mpesa_core.gateway.Gateway.void_invoices`."""
        voided_rows: dict[UUID, InvoiceRecord] = {}
        for invoice_id in invoice_ids:
            voided_rows[invoice_id] = yield from self._voidable(invoice_id)
        by_account: dict[str, list[InvoiceRecord]] = {}
        for row in voided_rows.values():
            if row.status != InvoiceStatus.VOIDED:
                by_account.setdefault(row.account, []).append(row)
        for account, of_account in by_account.items():
            for first in range(0, len(of_account), _MOST):
                batch = of_account[first : first + _MOST]
                references = [row.external_reference for row in batch]
                operation = CancelInvoices(external_references=references, **bill_manager(self._settings, account))
                yield from send(operation, account)
                for row in batch:
                    voided_rows[row.id] = yield from self._void(row)
        return [voided_rows[invoice_id] for invoice_id in invoice_ids]

    def read(self, invoice_id: UUID) -> Procedure[InvoiceRecord]:
        """The invoice as it is now.

        Raises:
            TransactionNotFound: there is none.
        """
        row = yield from self._engine.invoices.store.get(invoice_id)
        if row is None:
            raise TransactionNotFound(f"there is no invoice {invoice_id}")
        return row

    # -- sending ---------------------------------------------------------------------------------------------------

    def _recorded(self, invoice: Invoice, account: str, host: Mapping[str, Any]) -> Procedure[_Entry]:
        """Record an invoice; under a reference that is known, see what became of the invoice that has it."""
        keys = self._account(account, "send_invoice", APP_KEYS)
        draft = InvoiceDraft(
            id=self._new_id(),
            account=account,
            short_code=keys.short_code or "",
            external_reference=invoice.external_reference,
            account_reference=invoice.account_reference,
            invoice_name=invoice.invoice_name,
            full_name=invoice.full_name,
            phone_number=phone_number(invoice.phone_number),
            period=invoice.period,
            amount=invoice.amount,
            due_at=invoice.due if isinstance(invoice.due, datetime) else midnight_after(invoice.due),
            created_at=self._engine.clock(),
            host=dict(host),
        )
        store = self._engine.invoices.store
        while True:
            try:
                return _Entry(invoice, (yield from store.add(draft)))
            except DuplicateKey as error:
                if error.key != "external_reference":
                    raise
            owner = yield from store.find(draft.short_code, draft.external_reference)
            if owner is None:
                raise StorageError(f"the invoice {draft.external_reference!r} was recorded and is gone")
            differences = [name for name in _COMPARED if getattr(owner, name) != getattr(draft, name)]
            if owner.status == InvoiceStatus.REFUSED:
                mended = {name: getattr(draft, name) for name in _COMPARED}
                changes = {**mended, "status": InvoiceStatus.PENDING.value, "result_desc": None, "host": draft.host}
                reopened = yield from store.change(owner.id, owner.version, changes)
                if reopened is not None:
                    return _Entry(invoice, reopened)
                continue
            if differences:
                raise IdempotencyMismatch(
                    draft.external_reference,
                    differences=differences,
                    owner=owner.id,
                    field="external_reference",
                    kind="invoice",
                )
            waiting = owner.status == InvoiceStatus.PENDING
            return _Entry(invoice, owner, again=waiting, done=not waiting)

    def _send_entry(self, entry: _Entry) -> Procedure[InvoiceRecord]:
        row = entry.row
        try:
            yield from send(SendInvoice(invoice=entry.invoice, **self._bills(row)), row.account)
        except RequestRefused as error:
            if not (entry.again and _ARRIVED.search(error.message)):
                yield from self._refuse(row, error.message)
                raise
        except (OutcomeUnknown, NotYet, UnexpectedAnswer) as error:
            _log.warning("Invoice %s was sent, and what became of it is unknown: %s", row.id, error)
            return (yield from self.read(row.id))
        return (yield from self._accept(row))

    def _send_entries(self, entries: Sequence[_Entry], steps: _Steps) -> Procedure[list[InvoiceRecord]]:
        """Send those of at most 1,000 invoices that were not sent before, in one request."""
        rows = {entry.row.id: entry.row for entry in entries}
        waiting = [entry for entry in entries if not entry.done]
        steps.done(len(entries) - len(waiting))
        if waiting:
            first = waiting[0].row
            operation = SendInvoices(invoices=[entry.invoice for entry in waiting], **self._bills(first))
            try:
                yield from send(operation, first.account)
            except RequestRefused as error:
                rows |= yield from self._send_singly(waiting, error, steps)
            except (OutcomeUnknown, NotYet, UnexpectedAnswer) as error:
                _log.warning("%s invoices were sent, and what became of them is unknown: %s", len(waiting), error)
                steps.done(len(waiting))
            else:
                for entry in waiting:
                    rows[entry.row.id] = yield from self._accept(entry.row)
                    steps.done()
        return [rows[entry.row.id] for entry in entries]

    def _send_singly(
        self, entries: Sequence[_Entry], why: RequestRefused, steps: _Steps
    ) -> Procedure[dict[UUID, InvoiceRecord]]:
        """Send each invoice of a refused request by itself: so that one that is wrong, or arrived before, keeps none.

        Raises:
            RequestRefused: none of the first few was taken, so it is not the invoices that are refused.
        """
        rows: dict[UUID, InvoiceRecord] = {}
        taken = False
        _log.warning("Bill Manager refused %s invoices together; each is sent by itself: %s", len(entries), why)
        for number, entry in enumerate(entries, 1):
            try:
                rows[entry.row.id] = yield from self._send_entry(entry)
                taken = True
            except RequestRefused:
                if not taken and number >= min(_FEW, len(entries)):
                    raise
                rows[entry.row.id] = yield from self.read(entry.row.id)
            steps.done()
        return rows

    def _bills(self, row: InvoiceRecord) -> dict[str, Any]:
        return bill_manager(self._settings, row.account)

    def _accept(self, row: InvoiceRecord) -> Procedure[InvoiceRecord]:
        now = self._engine.clock()
        yield from self._engine.invoices.dues.change(row.id, lambda each: accepted(each, now))
        yield from self._engine.invoices.dues.announce(row.id)
        return (yield from self.read(row.id))

    def _refuse(self, row: InvoiceRecord, why: str) -> Procedure[None]:
        yield from self._engine.invoices.dues.change(row.id, lambda each: refused(each, why))

    # -- voiding ---------------------------------------------------------------------------------------------------

    def _voidable(self, invoice_id: UUID) -> Procedure[InvoiceRecord]:
        row = yield from self.read(invoice_id)
        if row.payments:
            raise InvalidField(
                "invoice",
                f"{row.status}, {paid_so_far(row)} paid",
                expected="one of which nothing is paid",
                remedy="Bill Manager cancels no invoice that is paid, not even in part: give the payment back instead.",
            )
        if row.status == InvoiceStatus.REFUSED:
            raise InvalidField("invoice", row.status, expected="one that was sent; Bill Manager refused this one")
        return row

    def _void(self, row: InvoiceRecord) -> Procedure[InvoiceRecord]:
        now = self._engine.clock()
        try:
            yield from self._engine.invoices.dues.change(row.id, lambda each: voided(each, now))
        except IllegalTransition:
            problem = f"Bill Manager has cancelled invoice {row.id}, of which something was paid at that moment."
            _log.warning("%s", problem)
            yield from deliver("settlement_conflict", {"transaction": None, "callback": None, "problem": problem})
        yield from self._engine.invoices.dues.announce(row.id)
        return (yield from self.read(row.id))


class _Steps:
    """Tells how far it is."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total = total
        self._progress = progress
        self._so_far = 0

    def done(self, steps: int = 1) -> None:
        self._so_far += steps
        if self._progress is not None and steps:
            self._progress(self._so_far, self._total)


def _check(invoices: Sequence[Invoice]) -> None:
    if not invoices:
        raise InvalidField("invoices", "none", expected="at least one Invoice")
    seen: set[str] = set()
    for invoice in _each(invoices):
        if invoice.external_reference in seen:
            raise InvalidField("invoices", invoice.external_reference, expected="each external_reference once")
        seen.add(invoice.external_reference)


def _each(invoices: Sequence[object]) -> Iterator[Invoice]:
    for invoice in invoices:
        if not isinstance(invoice, Invoice):
            raise InvalidField("invoices", invoice, expected="mpesa_core.daraja.bills.Invoice objects")
        yield invoice
