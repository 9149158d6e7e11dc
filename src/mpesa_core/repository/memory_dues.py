"""Invoices and subscriptions in memory: a part of :class:`~mpesa_core.repository.memory.MemoryRepository`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

import attrs

from mpesa_core.errors import DuplicateKey, InvalidField
from mpesa_core.payments.invoices import InvoiceDraft, InvoiceRow
from mpesa_core.payments.records import Sweep
from mpesa_core.payments.subscriptions import SubscriptionDraft, SubscriptionKey, SubscriptionRow
from mpesa_core.repository.frozen import kept
from mpesa_core.repository.rows import INVOICE, SUBSCRIPTION, Kind, check_names

__all__ = ["MemoryDues"]

_R = TypeVar("_R", bound=InvoiceRow | SubscriptionRow)
_SWEEPS: Final = {Sweep.UNANNOUNCED: "announce_until", Sweep.TO_ASK: "next_check_at"}


class MemoryDues:
    """The operations of invoices and subscriptions, on dictionaries of their own."""

    def __init__(self) -> None:
        self._invoices = _Rows(InvoiceRow, InvoiceDraft, INVOICE, (("external_reference", "short_code"),))
        keys = (("idempotency_key",), ("callback_token",), ("request_id",))
        self._subscriptions = _Rows(SubscriptionRow, SubscriptionDraft, SUBSCRIPTION, keys)

    # Invoices

    def add_invoice(self, draft: InvoiceDraft) -> InvoiceRow:
        """Record an invoice, with version 1.

        Raises:
            DuplicateKey: the ``external_reference`` is taken in its short code, or the ``id``; nothing is changed.
        """
        return self._invoices.add(draft)

    def get_invoice(self, invoice_id: UUID) -> InvoiceRow | None:
        """The invoice, or None."""
        return self._invoices.get(invoice_id)

    def find_invoice(self, short_code: str, external_reference: str) -> InvoiceRow | None:
        """The invoice of a short code with that reference, or None."""
        return self._invoices.having(("external_reference", "short_code"), (external_reference, short_code))

    def payable_invoices(
        self, short_code: str, account_reference: str, statuses: Sequence[str]
    ) -> Sequence[InvoiceRow]:
        """The invoices of a short code that are paid to that reference and have one of the statuses, oldest first."""
        return self._invoices.where(
            lambda row: (
                row.short_code == short_code
                and row.account_reference == account_reference
                and str(row.status) in statuses
            )
        )

    def change_invoice(self, invoice_id: UUID, version: int, changes: Mapping[str, Any]) -> InvoiceRow | None:
        """Apply the changes and raise the version, if it is still the one given; else None.

        Raises:
            DuplicateKey: a reference in the changes is taken by another invoice; nothing is changed.
        """
        return self._invoices.change(invoice_id, version, changes)

    def due_invoices(self, sweep: Sweep, now: datetime, limit: int) -> Sequence[InvoiceRow]:
        """The invoices of one sweep that are due at ``now``, in the order of the time that makes them due."""
        return self._invoices.due(sweep, now, limit)

    # Subscriptions

    def add_subscription(self, draft: SubscriptionDraft) -> SubscriptionRow:
        """Record a subscription, with version 1.

        Raises:
            DuplicateKey: a unique key or the id is taken; nothing is changed.
        """
        return self._subscriptions.add(draft)

    def get_subscription(self, subscription_id: UUID) -> SubscriptionRow | None:
        """The subscription, or None."""
        return self._subscriptions.get(subscription_id)

    def find_subscription(self, key: SubscriptionKey, value: str) -> SubscriptionRow | None:
        """The subscription with that key, or None (the oldest, where several have it)."""
        name = SubscriptionKey(key).value
        return next(iter(self._subscriptions.where(lambda row: getattr(row, name) == value)), None)

    def charging_subscriptions(
        self, short_code: str, amount: Decimal, account_reference: str
    ) -> Sequence[SubscriptionRow]:
        """The subscriptions of a short code that pay that amount to that reference, oldest first."""
        return self._subscriptions.where(
            lambda row: (
                row.short_code == short_code and row.account_reference == account_reference and row.amount == amount
            )
        )

    def change_subscription(
        self, subscription_id: UUID, version: int, changes: Mapping[str, Any]
    ) -> SubscriptionRow | None:
        """Apply the changes and raise the version, if it is still the one given; else None.

        Raises:
            DuplicateKey: a unique key in the changes is taken by another subscription; nothing is changed.
        """
        return self._subscriptions.change(subscription_id, version, changes)

    def due_subscriptions(self, sweep: Sweep, now: datetime, limit: int) -> Sequence[SubscriptionRow]:
        """The subscriptions of one sweep that are due at ``now``, in the order of the time that makes them due."""
        return self._subscriptions.due(sweep, now, limit)


class _Rows(Generic[_R]):
    """Rows of one kind behind a lock.

    Args:
        make: the row's class.
        draft: the draft's class.
        kinds: of the fields.
        unique: what one row alone may have, each as the fields that make it; the first one is what DuplicateKey names.
    """

    def __init__(
        self,
        make: type[_R],
        draft: type[InvoiceDraft | SubscriptionDraft],
        kinds: Mapping[str, Kind],
        unique: tuple[tuple[str, ...], ...],
    ) -> None:
        self._make = make
        self._drafted = tuple(field.name for field in attrs.fields(draft))
        self._kinds = kinds
        self._changeable = frozenset(kinds) - {"id", "version"}
        self._lock = threading.Lock()
        self._rows: dict[UUID, _R] = {}
        self._order: dict[UUID, int] = {}
        self._owners: dict[tuple[str, ...], dict[tuple[Any, ...], UUID]] = {fields: {} for fields in unique}

    def get(self, row_id: UUID) -> _R | None:
        return self._rows.get(row_id)

    def having(self, fields: tuple[str, ...], values: tuple[Any, ...]) -> _R | None:
        with self._lock:
            owner = self._owners[fields].get(values)
            return self._rows[owner] if owner is not None else None

    def where(self, holds: Callable[[_R], bool]) -> list[_R]:
        with self._lock:
            return self._sorted((row for row in self._rows.values() if holds(row)), "created_at")

    def due(self, sweep: Sweep, now: datetime, limit: int) -> list[_R]:
        name = _SWEEPS.get(Sweep(sweep))
        if name is None:
            raise InvalidField("sweep", sweep, expected="UNANNOUNCED or TO_ASK")
        with self._lock:
            rows = (row for row in self._rows.values() if (getattr(row, name) or now) <= now and getattr(row, name))
            return self._sorted(rows, name)[: max(limit, 0)]

    def add(self, draft: InvoiceDraft | SubscriptionDraft) -> _R:
        row = self._make(**kept({name: getattr(draft, name) for name in self._drafted}, self._kinds))
        with self._lock:
            self._refuse_duplicates(row)
            if row.id in self._rows:
                raise DuplicateKey("id", row.id)
            self._order[row.id] = len(self._order)
            self._put(row, None)
        return row

    def change(self, row_id: UUID, version: int, changes: Mapping[str, Any]) -> _R | None:
        check_names(changes, self._changeable)
        new = kept(changes, self._kinds)
        with self._lock:
            row = self._rows.get(row_id)
            if row is None or row.version != version:
                return None
            changed: _R = attrs.evolve(row, **new, version=version + 1)
            self._refuse_duplicates(changed)
            self._put(changed, row)
            return changed

    # Below here the lock is held.

    def _sorted(self, rows: Iterable[_R], by: str) -> list[_R]:
        return sorted(rows, key=lambda row: (getattr(row, by), self._order[row.id]))

    def _refuse_duplicates(self, row: _R) -> None:
        for fields, owners in self._owners.items():
            owner = owners.get(_values(row, fields))
            if owner is not None and owner != row.id:
                raise DuplicateKey(fields[0], owner)

    def _put(self, row: _R, before: _R | None) -> None:
        self._rows[row.id] = row
        for fields, owners in self._owners.items():
            if before is not None:
                owners.pop(_values(before, fields), None)
            if None not in _values(row, fields):
                owners[_values(row, fields)] = row.id


def _values(row: Any, fields: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in fields)
