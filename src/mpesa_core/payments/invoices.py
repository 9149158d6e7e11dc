"""Invoices on Bill Manager: what is kept of one, where it may stand, and what a payment makes of it.

::

    pending ──> sent ──> part_paid ──> paid
       │         ├─────────────────────> paid
       │         ├──> overdue ─────────> paid        (a part paid after the due day leaves it overdue)
       │         └──> voided
       └──> refused ──> pending                      (sent again, mended, under the same reference)

Bill Manager tells nobody what it has sent: an invoice whose answer was lost stays ``pending``, and is open to payments,
which prove that it was sent. It does not cancel an invoice that is paid, not even in part. All times are aware and in
UTC, all amounts are shillings.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Protocol
from uuid import UUID

import attrs

from mpesa_core.errors import IllegalTransition
from mpesa_core.payments.dues import with_signal
from mpesa_core.values import total

__all__ = [
    "INVOICE_TRANSITIONS",
    "OPEN_INVOICES",
    "InvoiceDraft",
    "InvoiceRecord",
    "InvoiceRow",
    "InvoiceStatus",
    "accepted",
    "overdue",
    "paid_by",
    "paid_so_far",
    "refused",
    "voided",
]


class InvoiceStatus(StrEnum):
    """Where an invoice stands."""

    PENDING = "pending"
    """Recorded; whether Bill Manager has it is not known."""
    REFUSED = "refused"
    """Bill Manager refused it: no customer has seen it."""
    SENT = "sent"
    PART_PAID = "part_paid"
    PAID = "paid"
    """In full, or more."""
    OVERDUE = "overdue"
    """The due day is past and it is not paid in full; it can still be paid."""
    VOIDED = "voided"
    """Cancelled at Bill Manager, before anything was paid."""


_S = InvoiceStatus
INVOICE_TRANSITIONS: Final[Mapping[InvoiceStatus, frozenset[InvoiceStatus]]] = MappingProxyType(
    {
        _S.PENDING: frozenset({_S.SENT, _S.REFUSED, _S.PART_PAID, _S.PAID, _S.VOIDED}),
        _S.REFUSED: frozenset({_S.PENDING}),
        _S.SENT: frozenset({_S.PART_PAID, _S.PAID, _S.OVERDUE, _S.VOIDED}),
        _S.PART_PAID: frozenset({_S.PAID, _S.OVERDUE}),
        _S.OVERDUE: frozenset({_S.PAID, _S.VOIDED}),
        _S.PAID: frozenset(),
        _S.VOIDED: frozenset(),
    }
)
"""From each status to every status that it may go to."""

OPEN_INVOICES: Final = (_S.PENDING, _S.SENT, _S.PART_PAID, _S.OVERDUE)
"""What a payment can still be for."""


class InvoiceRecord(Protocol):
    """An invoice's row, as the core reads it. The attributes are documented on :class:`InvoiceRow`."""

    @property
    def id(self) -> UUID: ...  # noqa: D102 - see the class
    @property
    def account(self) -> str: ...  # noqa: D102
    @property
    def short_code(self) -> str: ...  # noqa: D102
    @property
    def external_reference(self) -> str: ...  # noqa: D102
    @property
    def account_reference(self) -> str: ...  # noqa: D102
    @property
    def invoice_name(self) -> str: ...  # noqa: D102
    @property
    def full_name(self) -> str: ...  # noqa: D102
    @property
    def phone_number(self) -> str: ...  # noqa: D102
    @property
    def period(self) -> str: ...  # noqa: D102
    @property
    def amount(self) -> Decimal: ...  # noqa: D102
    @property
    def due_at(self) -> datetime: ...  # noqa: D102
    @property
    def status(self) -> str: ...  # noqa: D102
    @property
    def result_desc(self) -> str | None: ...  # noqa: D102
    @property
    def payments(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def unacknowledged(self) -> Mapping[str, int]: ...  # noqa: D102
    @property
    def created_at(self) -> datetime: ...  # noqa: D102
    @property
    def sent_at(self) -> datetime | None: ...  # noqa: D102
    @property
    def paid_at(self) -> datetime | None: ...  # noqa: D102
    @property
    def voided_at(self) -> datetime | None: ...  # noqa: D102
    @property
    def version(self) -> int: ...  # noqa: D102
    @property
    def generation(self) -> int: ...  # noqa: D102
    @property
    def unannounced(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def announce_until(self) -> datetime | None: ...  # noqa: D102
    @property
    def next_check_at(self) -> datetime | None: ...  # noqa: D102


@attrs.frozen(kw_only=True, slots=False)
class InvoiceDraft:
    """An invoice that is to be recorded: every field of :class:`InvoiceRow` but ``version``, which begins at 1."""

    id: UUID
    account: str = "default"
    short_code: str
    external_reference: str
    account_reference: str
    invoice_name: str = ""
    full_name: str = attrs.field(default="", repr=False)
    phone_number: str = attrs.field(default="", repr=False)
    period: str = ""
    amount: Decimal
    due_at: datetime
    status: str = InvoiceStatus.PENDING
    result_desc: str | None = None
    payments: Mapping[str, str] = attrs.field(factory=dict)
    unacknowledged: Mapping[str, int] = attrs.field(factory=dict)
    created_at: datetime
    sent_at: datetime | None = None
    paid_at: datetime | None = None
    voided_at: datetime | None = None
    generation: int = 0
    unannounced: Mapping[str, Any] = attrs.field(factory=dict)
    announce_until: datetime | None = None
    next_check_at: datetime | None = None
    host: Mapping[str, Any] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True, slots=False)
class InvoiceRow(InvoiceDraft):
    """The core's own row of an invoice.

    Attributes:
        id: internal; never sent to Safaricom.
        account: the name of the settings' account it runs on.
        short_code: the paybill.
        external_reference: the host's own; unique in a short code. What makes sending it twice harmless.
        account_reference: what the customer pays to at the paybill.
        invoice_name, full_name, phone_number, period: as sent; the number as ``2547…``/``2541…``.
        amount: what is asked for.
        due_at: from then on it is overdue (the end of the due day in Nairobi, or the moment that was given).
        status: see :class:`InvoiceStatus`.
        result_desc: why Bill Manager refused it.
        payments: what was paid: the transaction's id to its amount, both as text.
        unacknowledged: payments that Bill Manager has not been told of, with how often that was tried.
        created_at: when it was recorded.
        sent_at: when it was known to be sent.
        paid_at: when it was paid in full.
        voided_at: when Bill Manager had cancelled it.
        version: raised by every change; what compare-and-set compares.
        generation: how many signals it has had.
        unannounced: those that are still to be delivered; see :mod:`mpesa_core.payments.dues`.
        announce_until: the announcer's lease; set while a signal is unannounced.
        next_check_at: when recovery looks at it next: the due time, or an acknowledgement that is to be tried again.
        host: the host's own fields.
    """

    version: int = 1

    def __repr__(self) -> str:
        return f"<Invoice {self.id} {self.external_reference} {self.status} {self.amount}>"


def paid_so_far(row: InvoiceRecord) -> Decimal:
    """What has been paid of an invoice, in shillings."""
    return total(Decimal(amount) for amount in row.payments.values())


def _check(row: InvoiceRecord, target: InvoiceStatus) -> InvoiceStatus:
    if target not in INVOICE_TRANSITIONS[InvoiceStatus(row.status)]:
        raise IllegalTransition(row.status, target, kind="invoice")
    return target


def accepted(row: InvoiceRecord, now: datetime) -> dict[str, Any] | None:
    """What Bill Manager's acceptance makes of an invoice; None where that is known already."""
    if row.sent_at is not None:
        return None
    changes: dict[str, Any] = {"sent_at": now}
    if row.status == InvoiceStatus.PENDING:
        changes |= {"status": _check(row, InvoiceStatus.SENT), "next_check_at": row.due_at}
    return with_signal(row, "invoice_created", now, changes=changes)


def refused(row: InvoiceRecord, why: str) -> dict[str, Any] | None:
    """What Bill Manager's refusal makes of an invoice; None where it is known to have been sent."""
    if row.status != InvoiceStatus.PENDING:
        return None
    return {"status": _check(row, InvoiceStatus.REFUSED), "result_desc": why, "next_check_at": None}


def paid_by(row: InvoiceRecord, transaction_id: UUID, amount: Decimal, now: datetime) -> dict[str, Any] | None:
    """What a payment makes of an open invoice.

    It is the proof that the invoice was sent, where that was not known. More than was asked for is paid in full.

    Returns:
        The changes; None where it has been counted, or the invoice is open no longer.
    """
    key = str(transaction_id)
    if key in row.payments or row.status not in OPEN_INVOICES:
        return None
    changes: dict[str, Any] = {
        "payments": {**row.payments, key: str(amount)},
        "unacknowledged": {**row.unacknowledged, key: 0},
        "next_check_at": now,
    }
    if row.sent_at is None:
        changes = with_signal(row, "invoice_created", now, changes={**changes, "sent_at": now})
    if total([paid_so_far(row), amount]) >= row.amount:
        changes |= {"status": _check(row, InvoiceStatus.PAID), "paid_at": now}
        return with_signal(row, "invoice_paid", now, transaction_id=transaction_id, changes=changes)
    if row.status not in (InvoiceStatus.PART_PAID, InvoiceStatus.OVERDUE):
        changes["status"] = _check(row, InvoiceStatus.PART_PAID)
    return changes


def overdue(row: InvoiceRecord, now: datetime) -> dict[str, Any] | None:
    """What the passing of the due time makes of an invoice; None where it makes nothing of it."""
    if row.due_at > now or row.status not in (InvoiceStatus.SENT, InvoiceStatus.PART_PAID):
        return None
    return {"status": _check(row, InvoiceStatus.OVERDUE)}


def voided(row: InvoiceRecord, now: datetime) -> dict[str, Any] | None:
    """What Bill Manager's cancellation makes of an invoice; None where it is voided already.

    Raises:
        IllegalTransition: something was paid, or Bill Manager never had it.
    """
    if row.status == InvoiceStatus.VOIDED:
        return None
    if row.payments:
        raise IllegalTransition(row.status, InvoiceStatus.VOIDED, kind="invoice")
    changes = {"status": _check(row, InvoiceStatus.VOIDED), "voided_at": now, "next_check_at": None}
    return with_signal(row, "invoice_voided", now, changes=changes)
