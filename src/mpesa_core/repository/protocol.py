"""The repository protocol: what a store must do for the core, and nothing about payments.

A dozen operations, each atomic and durable by itself when it returns. A store needs put-if-absent, compare-and-set by
version, and scans by time. No lock, session or open transaction leaks out. :mod:`mpesa_core.testing` has the contract
as pytest classes; a repository that passes them will do.

Errors of every operation: :class:`~mpesa_core.errors.StorageBusy` (nothing was changed, safe to repeat),
:class:`~mpesa_core.errors.StorageRefused` (nothing was changed, and this row is refused each time) and
:class:`~mpesa_core.errors.StorageUnavailable` (it may have happened; the caller reads again).
"""

# ruff: noqa: D102 - the operations of AsyncRepository are documented on Repository
from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from mpesa_core.payments.invoices import InvoiceDraft, InvoiceRecord
from mpesa_core.payments.records import (
    CallbackDraft,
    CallbackRecord,
    Key,
    Sweep,
    TransactionDraft,
    TransactionRecord,
)
from mpesa_core.payments.subscriptions import SubscriptionDraft, SubscriptionKey, SubscriptionRecord

__all__ = [
    "AsyncInvoiceRepository",
    "AsyncJointChange",
    "AsyncLatestScan",
    "AsyncRepository",
    "AsyncSettledScan",
    "AsyncSubscriptionRepository",
    "Batches",
    "CallerTransactions",
    "InvoiceRepository",
    "JointChange",
    "LatestScan",
    "Repository",
    "SettledScan",
    "SubscriptionRepository",
    "missing_operations",
]


class Repository(Protocol):
    """A store of transactions and callbacks. Rows are snapshots: a later change does not show in a row read before."""

    def add_callback(self, draft: CallbackDraft) -> UUID:
        """Record a callback; durable when it returns. The same id again changes nothing and returns the id."""
        ...

    def get_callback(self, callback_id: UUID) -> CallbackRecord | None:
        """The callback, or None."""
        ...

    def change_callback(
        self, callback_id: UUID, expected_next_attempt: datetime | None, changes: Mapping[str, Any]
    ) -> bool:
        """Claim, postpone, close or resolve: apply the changes if ``next_attempt_at`` is still what was expected.

        Args:
            callback_id: whose.
            expected_next_attempt: what the caller read (None: closed); compared to the microsecond.
            changes: of ``next_attempt_at``, ``attempts``, ``processed``, ``disposition``, ``error``,
                ``related_transaction_id``, ``correlation_id``, ``resolved_at``.

        Returns:
            Whether it was changed; False when somebody else was first, or there is no such callback.
        """
        ...

    def due_callbacks(self, now: datetime, limit: int) -> Sequence[CallbackRecord]:
        """Callbacks whose ``next_attempt_at`` is not after ``now``, in the order of it."""
        ...

    def open_callbacks(
        self, *, token: str | None = None, correlation_ids: Sequence[str] = ()
    ) -> Sequence[CallbackRecord]:
        """The callbacks that are not closed and have that token, or one of those correlation ids, oldest first."""
        ...

    def conflicts(self, limit: int, after: UUID | None = None) -> Sequence[CallbackRecord]:
        """For people: callbacks with the disposition ``conflict`` that nobody resolved, oldest first.

        Args:
            limit: how many at the most.
            after: the last one of the page before.
        """
        ...

    def add(self, draft: TransactionDraft) -> TransactionRecord:
        """Record a transaction, with version 1.

        Raises:
            DuplicateKey: one of :data:`~mpesa_core.payments.records.UNIQUE_KEYS` (or ``id``) is taken; nothing is
                changed.
        """
        ...

    def get(self, transaction_id: UUID) -> TransactionRecord | None:
        """The transaction, or None."""
        ...

    def find(self, key: Key, value: str | tuple[str, str]) -> TransactionRecord | None:
        """The transaction with that key, or None (the oldest, where several have it)."""
        ...

    def change(self, transaction_id: UUID, version: int, changes: Mapping[str, Any]) -> TransactionRecord | None:
        """Apply the changes and raise the version, if it is still the one given.

        Args:
            transaction_id: whose.
            version: what the caller read.
            changes: fields of :class:`~mpesa_core.payments.records.Transaction`; never ``id`` or ``version``.

        Returns:
            The row as it is now; None when somebody else was first (or there is no such row): read again.

        Raises:
            DuplicateKey: a unique key in the changes is taken by another row; nothing is changed.
        """
        ...

    def due(self, sweep: Sweep, now: datetime, limit: int) -> Sequence[TransactionRecord]:
        """The transactions of one sweep that are due at ``now``, in the order of the time that makes them due."""
        ...

    def candidates(
        self, short_code: str, amount: Decimal, reference: str | None, since: datetime | None = None
    ) -> Sequence[TransactionRecord]:
        """STK_PUSH transactions of that short code and amount that have no receipt, oldest first.

        Args:
            short_code: the row's ``short_code``.
            amount: equal in value; ``10`` is ``10.00``.
            reference: the row's ``account_reference``, compared exactly; None for any.
            since: only those whose ``initiated_at`` is not before it; None for all.
        """
        ...


class AsyncRepository(Protocol):
    """The same operations as coroutines, for a store with an asynchronous driver. See :class:`Repository`."""

    def add_callback(self, draft: CallbackDraft) -> Awaitable[UUID]: ...
    def get_callback(self, callback_id: UUID) -> Awaitable[CallbackRecord | None]: ...
    def change_callback(
        self, callback_id: UUID, expected_next_attempt: datetime | None, changes: Mapping[str, Any]
    ) -> Awaitable[bool]: ...
    def due_callbacks(self, now: datetime, limit: int) -> Awaitable[Sequence[CallbackRecord]]: ...
    def open_callbacks(
        self, *, token: str | None = None, correlation_ids: Sequence[str] = ()
    ) -> Awaitable[Sequence[CallbackRecord]]: ...
    def conflicts(self, limit: int, after: UUID | None = None) -> Awaitable[Sequence[CallbackRecord]]: ...
    def add(self, draft: TransactionDraft) -> Awaitable[TransactionRecord]: ...
    def get(self, transaction_id: UUID) -> Awaitable[TransactionRecord | None]: ...
    def find(self, key: Key, value: str | tuple[str, str]) -> Awaitable[TransactionRecord | None]: ...
    def change(
        self, transaction_id: UUID, version: int, changes: Mapping[str, Any]
    ) -> Awaitable[TransactionRecord | None]: ...
    def due(self, sweep: Sweep, now: datetime, limit: int) -> Awaitable[Sequence[TransactionRecord]]: ...
    def candidates(
        self, short_code: str, amount: Decimal, reference: str | None, since: datetime | None = None
    ) -> Awaitable[Sequence[TransactionRecord]]: ...


class SettledScan(Protocol):
    """What a store may offer besides, and may leave out: going through the payments that were proved in a span of time.

    Reconciliation from pull transactions uses it to find payments of ours that M-PESA does not list. Without it that
    side of the report is unknown.
    """

    def settled_between(
        self, short_code: str, start: datetime, end: datetime, limit: int, after: UUID | None = None
    ) -> Sequence[TransactionRecord]:
        """The transactions of a short code with a receipt that were proved in a span of time, in the order of it.

        Args:
            short_code: the row's ``short_code``.
            start: of ``confirmed_at``; a payment of this very time belongs to the span.
            end: likewise.
            limit: how many at the most.
            after: the last one of the page before. Several may have the same time: no page may leave one out.
        """
        ...


class AsyncSettledScan(Protocol):
    """The same as a coroutine. See :class:`SettledScan`."""

    def settled_between(
        self, short_code: str, start: datetime, end: datetime, limit: int, after: UUID | None = None
    ) -> Awaitable[Sequence[TransactionRecord]]: ...


class LatestScan(Protocol):
    """What a store may offer besides, and may leave out: what was recorded last, for people to look at.

    :func:`mpesa_core.overview.overview` uses it. Nothing that is decided about a payment does.
    """

    def latest(self, limit: int, before: UUID | None = None) -> Sequence[TransactionRecord]:
        """Transactions in the order in which they were recorded (``initiated_at``), the last one first.

        Args:
            limit: how many at the most.
            before: the last one of the page before; one that is not there is none.
        """
        ...

    def latest_callbacks(self, limit: int, before: UUID | None = None) -> Sequence[CallbackRecord]:
        """Callbacks in the order in which they were recorded (``received_at``), as :meth:`latest`."""
        ...


class AsyncLatestScan(Protocol):
    """The same as coroutines. See :class:`LatestScan`."""

    def latest(self, limit: int, before: UUID | None = None) -> Awaitable[Sequence[TransactionRecord]]: ...
    def latest_callbacks(self, limit: int, before: UUID | None = None) -> Awaitable[Sequence[CallbackRecord]]: ...


class CallerTransactions(Protocol):
    """What a store may offer besides, and may leave out: joining the database transaction that its caller has open.

    ``on_commit=True`` needs it: the intent of a payment is recorded with the caller's own rows, or not at all, and it
    is sent when they are committed.
    """

    def in_transaction(self) -> bool:
        """Whether the calling thread has a transaction of its own open in this store's database."""
        ...

    def within_transaction(self) -> Repository:
        """This store, with ``get``, ``find`` and ``add`` as a part of that transaction: undone where it is."""
        ...

    def after_commit(self, work: Callable[[], object]) -> None:
        """Have something done by this thread once that transaction is committed; never, where it is rolled back."""
        ...


class JointChange(Protocol):
    """What a store may offer besides, and may leave out: settling and closing the callback that says so in one commit.

    With it a callback that settles a payment needs no claim: whoever is second, changes nothing.
    """

    def change_with_callback(
        self,
        transaction_id: UUID,
        version: int,
        changes: Mapping[str, Any],
        callback_id: UUID,
        expected_next_attempt: datetime | None,
        closing: Mapping[str, Any],
    ) -> TransactionRecord | None:
        """:meth:`Repository.change` and :meth:`Repository.change_callback` together: both, or neither.

        Args:
            transaction_id: whose.
            version: what the caller read.
            changes: of the transaction.
            callback_id: whose.
            expected_next_attempt: what the caller read.
            closing: changes of the callback.

        Returns:
            The transaction as it is now; None when somebody else was first at one of the two: neither is changed.

        Raises:
            DuplicateKey: a unique key in the changes is taken by another row; neither is changed.
        """
        ...


class AsyncJointChange(Protocol):
    """The same as a coroutine. See :class:`JointChange`."""

    def change_with_callback(
        self,
        transaction_id: UUID,
        version: int,
        changes: Mapping[str, Any],
        callback_id: UUID,
        expected_next_attempt: datetime | None,
        closing: Mapping[str, Any],
    ) -> Awaitable[TransactionRecord | None]: ...


class Batches(Protocol):
    """What a store may offer besides, and may leave out: several operations at once, as after an outage.

    It pays where a store does a hundred operations in little more time than one: with one commit for all of them.
    """

    def batch(self, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> Sequence[Any]:
        """Do several operations, in any order: each does what it does by itself, and all is durable when it returns.

        What is wrong with one of them must not undo the others.

        Args:
            calls: the name of each, ``find``, ``change`` or ``change_callback``, and its arguments; also
                ``change_with_callback``, where the store offers :class:`JointChange`.

        Returns:
            What each returned, in the order of the calls; in place of it the error, where it raised one.

        Raises:
            StorageBusy: nothing at all was changed.
            StorageUnavailable: any of it may have happened.
        """
        ...


class InvoiceRepository(Protocol):
    """What a store needs besides to keep invoices (Bill Manager). It may leave all of it out."""

    def add_invoice(self, draft: InvoiceDraft) -> InvoiceRecord:
        """Record an invoice, with version 1.

        Raises:
            DuplicateKey: the ``external_reference`` is taken in its short code, or the ``id``; nothing is changed.
        """
        ...

    def get_invoice(self, invoice_id: UUID) -> InvoiceRecord | None:
        """The invoice, or None."""
        ...

    def find_invoice(self, short_code: str, external_reference: str) -> InvoiceRecord | None:
        """The invoice of a short code with that reference of the host's, or None."""
        ...

    def payable_invoices(
        self, short_code: str, account_reference: str, statuses: Sequence[str]
    ) -> Sequence[InvoiceRecord]:
        """The invoices of a short code that are paid to that reference and have one of the statuses, oldest first.

        Args:
            short_code: the row's ``short_code``.
            account_reference: the row's, compared exactly.
            statuses: of the row's ``status``.
        """
        ...

    def change_invoice(self, invoice_id: UUID, version: int, changes: Mapping[str, Any]) -> InvoiceRecord | None:
        """Apply the changes and raise the version, if it is still the one given; else None.

        Args:
            invoice_id: whose.
            version: what the caller read.
            changes: fields of :class:`~mpesa_core.payments.invoices.InvoiceRow`; never ``id`` or ``version``.

        Raises:
            DuplicateKey: a reference in the changes is taken by another invoice; nothing is changed.
        """
        ...

    def due_invoices(self, sweep: Sweep, now: datetime, limit: int) -> Sequence[InvoiceRecord]:
        """The invoices of one sweep that are due at ``now``, in the order of the time that makes them due.

        Args:
            sweep: ``UNANNOUNCED`` (by ``announce_until``) or ``TO_ASK`` (by ``next_check_at``).
            now: the time.
            limit: how many at the most.
        """
        ...


class SubscriptionRepository(Protocol):
    """What a store needs besides to keep subscriptions (M-PESA Ratiba). It may leave all of it out."""

    def add_subscription(self, draft: SubscriptionDraft) -> SubscriptionRecord:
        """Record a subscription, with version 1.

        Raises:
            DuplicateKey: the ``idempotency_key``, ``callback_token``, ``request_id`` or ``id`` is taken; nothing is
                changed.
        """
        ...

    def get_subscription(self, subscription_id: UUID) -> SubscriptionRecord | None:
        """The subscription, or None."""
        ...

    def find_subscription(self, key: SubscriptionKey, value: str) -> SubscriptionRecord | None:
        """The subscription with that key, or None (the oldest, where several have it)."""
        ...

    def charging_subscriptions(
        self, short_code: str, amount: Decimal, account_reference: str
    ) -> Sequence[SubscriptionRecord]:
        """The subscriptions of a short code that pay that amount to that reference, of any status, oldest first.

        Args:
            short_code: the row's ``short_code``.
            amount: equal in value; ``10`` is ``10.00``.
            account_reference: the row's, compared exactly.
        """
        ...

    def change_subscription(
        self, subscription_id: UUID, version: int, changes: Mapping[str, Any]
    ) -> SubscriptionRecord | None:
        """Apply the changes and raise the version, if it is still the one given; else None.

        Args:
            subscription_id: whose.
            version: what the caller read.
            changes: fields of :class:`~mpesa_core.payments.subscriptions.SubscriptionRow`; never ``id`` or ``version``.

        Raises:
            DuplicateKey: a unique key in the changes is taken by another subscription; nothing is changed.
        """
        ...

    def due_subscriptions(self, sweep: Sweep, now: datetime, limit: int) -> Sequence[SubscriptionRecord]:
        """The subscriptions of one sweep that are due at ``now``; as :meth:`InvoiceRepository.due_invoices`."""
        ...


class AsyncInvoiceRepository(Protocol):
    """The same operations as coroutines. See :class:`InvoiceRepository`."""

    def add_invoice(self, draft: InvoiceDraft) -> Awaitable[InvoiceRecord]: ...
    def get_invoice(self, invoice_id: UUID) -> Awaitable[InvoiceRecord | None]: ...
    def find_invoice(self, short_code: str, external_reference: str) -> Awaitable[InvoiceRecord | None]: ...
    def payable_invoices(
        self, short_code: str, account_reference: str, statuses: Sequence[str]
    ) -> Awaitable[Sequence[InvoiceRecord]]: ...
    def change_invoice(
        self, invoice_id: UUID, version: int, changes: Mapping[str, Any]
    ) -> Awaitable[InvoiceRecord | None]: ...
    def due_invoices(self, sweep: Sweep, now: datetime, limit: int) -> Awaitable[Sequence[InvoiceRecord]]: ...


class AsyncSubscriptionRepository(Protocol):
    """The same operations as coroutines. See :class:`SubscriptionRepository`."""

    def add_subscription(self, draft: SubscriptionDraft) -> Awaitable[SubscriptionRecord]: ...
    def get_subscription(self, subscription_id: UUID) -> Awaitable[SubscriptionRecord | None]: ...
    def find_subscription(self, key: SubscriptionKey, value: str) -> Awaitable[SubscriptionRecord | None]: ...
    def charging_subscriptions(
        self, short_code: str, amount: Decimal, account_reference: str
    ) -> Awaitable[Sequence[SubscriptionRecord]]: ...
    def change_subscription(
        self, subscription_id: UUID, version: int, changes: Mapping[str, Any]
    ) -> Awaitable[SubscriptionRecord | None]: ...
    def due_subscriptions(self, sweep: Sweep, now: datetime, limit: int) -> Awaitable[Sequence[SubscriptionRecord]]: ...


def missing_operations(repository: object, protocol: type) -> tuple[str, ...]:
    """The operations of an optional protocol that a repository does not have; none where it offers all of it."""
    return tuple(
        name for name in vars(protocol) if not name.startswith("_") and not callable(getattr(repository, name, None))
    )
