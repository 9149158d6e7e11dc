"""The repository protocol: what a store must do for the core, and nothing about payments.

A dozen operations, each atomic and durable by itself when it returns. A store needs put-if-absent, compare-and-set by
version, and scans by time. No lock, session or open transaction leaks out. :mod:`mpesa_core.testing` has the contract
as pytest classes; a repository that passes them will do.

Errors of every operation: :class:`~mpesa_core.errors.StorageBusy` (nothing was changed, safe to repeat) and
:class:`~mpesa_core.errors.StorageUnavailable` (it may have happened; the caller reads again).
"""

# ruff: noqa: D102 - the operations of AsyncRepository are documented on Repository
from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from mpesa_core.payments.records import (
    CallbackDraft,
    CallbackRecord,
    Key,
    Sweep,
    TransactionDraft,
    TransactionRecord,
)

__all__ = ["AsyncRepository", "AsyncSettledScan", "Repository", "SettledScan"]


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

    def candidates(self, short_code: str, amount: Decimal, reference: str | None) -> Sequence[TransactionRecord]:
        """STK_PUSH transactions of that short code and amount that have no receipt, oldest first.

        Args:
            short_code: the row's ``short_code``.
            amount: equal in value; ``10`` is ``10.00``.
            reference: the row's ``account_reference``, compared exactly; None for any.
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
        self, short_code: str, amount: Decimal, reference: str | None
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
