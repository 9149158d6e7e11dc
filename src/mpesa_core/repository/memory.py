"""A repository in memory: for tests, demonstrations and simulations. Nothing survives the process."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from heapq import nlargest, nsmallest
from typing import Any, TypeVar
from uuid import UUID

import attrs

from mpesa_core.errors import DuplicateKey, MpesaError
from mpesa_core.payments.records import (
    UNIQUE_KEYS,
    CallbackDraft,
    CallbackRow,
    Key,
    Status,
    Sweep,
    Transaction,
    TransactionDraft,
    TransactionType,
)
from mpesa_core.payments.standing import is_open_conflict
from mpesa_core.repository.frozen import kept
from mpesa_core.repository.memory_dues import MemoryDues
from mpesa_core.repository.rows import (
    CALLBACK,
    CALLBACK_CHANGES,
    TRANSACTION,
    TRANSACTION_CHANGES,
    check_names,
    receipt_pair,
)

__all__ = ["MemoryRepository"]


class MemoryRepository(MemoryDues):
    """Transactions and callbacks in dictionaries behind one lock; safe to share between threads.

    Rows are frozen: the mappings and lists in them refuse to be changed (copy them with ``dict(...)``), so reading
    costs no copy. JSON fields hold what :class:`~mpesa_core.repository.sqlite.SqliteRepository` would return: fractions
    as Decimal.

    Every operation raises :class:`~mpesa_core.errors.InvalidField` for a value of a wrong type or an unknown name.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._order: dict[UUID, int] = {}
        self._callbacks: dict[UUID, CallbackRow] = {}
        self._open: dict[UUID, None] = {}
        self._conflicts: dict[UUID, None] = {}
        self._by_token: defaultdict[str | None, dict[UUID, None]] = defaultdict(dict)
        self._by_correlation: defaultdict[str | None, dict[UUID, None]] = defaultdict(dict)
        self._transactions: dict[UUID, Transaction] = {}
        self._unique: dict[Key, dict[Any, UUID]] = {key: {} for key in UNIQUE_KEYS}
        self._by_originator: defaultdict[str, dict[UUID, None]] = defaultdict(dict)
        self._checked: dict[UUID, None] = {}
        self._fenced: dict[UUID, None] = {}
        self._without_receipt: defaultdict[str, dict[UUID, None]] = defaultdict(dict)
        self._proved: defaultdict[str, dict[UUID, None]] = defaultdict(dict)

    def __repr__(self) -> str:
        return f"<MemoryRepository: {len(self._transactions)} transactions, {len(self._callbacks)} callbacks>"

    # Callbacks

    def add_callback(self, draft: CallbackDraft) -> UUID:
        """Record a callback. The same id again changes nothing and returns the id."""
        row = CallbackRow(**kept({name: getattr(draft, name) for name in _CALLBACK_DRAFT}, CALLBACK))
        with self._lock:
            if row.id not in self._callbacks:
                self._order[row.id] = len(self._order)
                self._put_callback(row)
        return row.id

    def get_callback(self, callback_id: UUID) -> CallbackRow | None:
        """The callback, or None."""
        return self._callbacks.get(callback_id)

    def change_callback(
        self, callback_id: UUID, expected_next_attempt: datetime | None, changes: Mapping[str, Any]
    ) -> bool:
        """Apply the changes if ``next_attempt_at`` is still what was expected; whether it was so."""
        check_names(changes, CALLBACK_CHANGES)
        new = kept(changes, CALLBACK)
        with self._lock:
            row = self._callbacks.get(callback_id)
            if row is None or row.next_attempt_at != expected_next_attempt:
                return False
            self._put_callback(attrs.evolve(row, **new))
            return True

    def due_callbacks(self, now: datetime, limit: int) -> Sequence[CallbackRow]:
        """Callbacks whose ``next_attempt_at`` is not after ``now``, in the order of it."""
        with self._lock:
            rows = [row for row in map(self._callbacks.__getitem__, self._open) if _passed(row.next_attempt_at, now)]
            return self._first(rows, limit, lambda row: row.next_attempt_at)

    def open_callbacks(self, *, token: str | None = None, correlation_ids: Sequence[str] = ()) -> Sequence[CallbackRow]:
        """The callbacks that are not closed and have that token, or one of those correlation ids, oldest first."""
        with self._lock:
            found: dict[UUID, None] = {}
            if token is not None:
                found.update(self._by_token.get(token, {}))
            for correlation in correlation_ids:
                found.update(self._by_correlation.get(correlation, {}))
            return self._first(map(self._callbacks.__getitem__, found), None, lambda row: row.received_at)

    def conflicts(self, limit: int, after: UUID | None = None) -> Sequence[CallbackRow]:
        """Callbacks with the disposition ``conflict`` that nobody resolved, oldest first, from after that one on."""
        with self._lock:
            rows: Iterable[CallbackRow] = map(self._callbacks.__getitem__, self._conflicts)
            last = self._callbacks.get(after) if after is not None else None
            if last is not None:
                edge = (last.received_at, self._order[last.id])
                rows = [row for row in rows if (row.received_at, self._order[row.id]) > edge]
            return self._first(rows, limit, lambda row: row.received_at)

    # Transactions

    def add(self, draft: TransactionDraft) -> Transaction:
        """Record a transaction, with version 1.

        Raises:
            DuplicateKey: a unique key or the id is taken; nothing is changed.
        """
        row = Transaction(**kept({name: getattr(draft, name) for name in _TRANSACTION_DRAFT}, TRANSACTION))
        with self._lock:
            self._refuse_duplicates(row)
            if row.id in self._transactions:
                raise DuplicateKey("id", row.id)
            self._order[row.id] = len(self._order)
            self._put(row, None)
        return row

    def get(self, transaction_id: UUID) -> Transaction | None:
        """The transaction, or None."""
        return self._transactions.get(transaction_id)

    def find(self, key: Key, value: str | tuple[str, str]) -> Transaction | None:
        """The transaction with that key, or None (the oldest, where several have it)."""
        if key == Key.RECEIPT:
            value = receipt_pair(value)
        with self._lock:
            if key == Key.ORIGINATOR_CONVERSATION_ID:
                found = map(self._transactions.__getitem__, self._by_originator.get(str(value), {}))
                return next(iter(self._first(found, 1, lambda row: row.initiated_at)), None)
            owner = self._unique[Key(key)].get(value)
            return self._transactions[owner] if owner is not None else None

    def change(self, transaction_id: UUID, version: int, changes: Mapping[str, Any]) -> Transaction | None:
        """Apply the changes and raise the version, if it is still the one given; else None.

        Raises:
            DuplicateKey: a unique key in the changes is taken by another row; nothing is changed.
        """
        check_names(changes, TRANSACTION_CHANGES)
        new = kept(changes, TRANSACTION)
        with self._lock:
            return self._changed(transaction_id, version, new)

    def change_with_callback(
        self,
        transaction_id: UUID,
        version: int,
        changes: Mapping[str, Any],
        callback_id: UUID,
        expected_next_attempt: datetime | None,
        closing: Mapping[str, Any],
    ) -> Transaction | None:
        """:meth:`change` and :meth:`change_callback` together: both, or neither.

        Raises:
            DuplicateKey: a unique key in the changes is taken by another row; nothing is changed.
        """
        check_names(changes, TRANSACTION_CHANGES)
        check_names(closing, CALLBACK_CHANGES)
        new, closed = kept(changes, TRANSACTION), kept(closing, CALLBACK)
        with self._lock:
            callback = self._callbacks.get(callback_id)
            if callback is None or callback.next_attempt_at != expected_next_attempt:
                return None
            changed = self._changed(transaction_id, version, new)
            if changed is not None:
                self._put_callback(attrs.evolve(callback, **closed))
            return changed

    def due(self, sweep: Sweep, now: datetime, limit: int) -> Sequence[Transaction]:
        """The transactions of one sweep that are due at ``now``, in the order of the time that makes them due."""
        with self._lock:
            if Sweep(sweep) is Sweep.UNANNOUNCED:
                fenced = [
                    row for row in map(self._transactions.__getitem__, self._fenced) if _passed(row.announce_until, now)
                ]
                return self._first(fenced, limit, lambda row: row.announce_until)
            unsent = Sweep(sweep) is Sweep.UNSENT
            rows = [
                row
                for row in map(self._transactions.__getitem__, self._checked)
                if _passed(row.next_check_at, now) and (row.status == Status.PENDING) is unsent
            ]
            return self._first(rows, limit, lambda row: row.next_check_at)

    def candidates(
        self, short_code: str, amount: Decimal, reference: str | None, since: datetime | None = None
    ) -> Sequence[Transaction]:
        """STK_PUSH transactions of that short code and amount (by value) that have no receipt, oldest first."""
        with self._lock:
            rows = [
                row
                for row in map(self._transactions.__getitem__, self._without_receipt.get(short_code, {}))
                if row.amount == amount
                and reference in (None, row.account_reference)
                and (since is None or row.initiated_at >= since)
            ]
            return self._first(rows, None, lambda row: row.initiated_at)

    def batch(self, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        """Several of ``find`` and of the changes; what each returned or raised."""

        def attempt(name: str, arguments: tuple[Any, ...]) -> Any:
            try:
                return getattr(self, name)(*arguments)
            except MpesaError as error:
                return error

        return [attempt(*call) for call in calls]

    def settled_between(
        self, short_code: str, start: datetime, end: datetime, limit: int, after: UUID | None = None
    ) -> Sequence[Transaction]:
        """The transactions of a short code with a receipt whose ``confirmed_at`` is in the span, in the order of it."""
        with self._lock:
            rows: Iterable[Transaction] = [
                row
                for row in map(self._transactions.__getitem__, self._proved.get(short_code, {}))
                if row.confirmed_at is not None and start <= row.confirmed_at <= end
            ]
            last = self._transactions.get(after) if after is not None else None
            if last is not None and last.confirmed_at is not None:
                edge = (last.confirmed_at, self._order[last.id])
                rows = [row for row in rows if (row.confirmed_at, self._order[row.id]) > edge]
            return self._first(rows, limit, lambda row: row.confirmed_at)

    def latest(self, limit: int, before: UUID | None = None) -> Sequence[Transaction]:
        """Transactions in the order in which they were recorded, the last one first, from before that one on."""
        with self._lock:
            return self._last(self._transactions, limit, before)

    def latest_callbacks(self, limit: int, before: UUID | None = None) -> Sequence[CallbackRow]:
        """Callbacks likewise."""
        with self._lock:
            return self._last(self._callbacks, limit, before)

    def close(self) -> None:
        """Nothing to close; here so that one repository can stand in for another."""

    # Below here the lock is held.

    def _changed(self, transaction_id: UUID, version: int, new: Mapping[str, Any]) -> Transaction | None:
        row = self._transactions.get(transaction_id)
        if row is None or row.version != version:
            return None
        changed = attrs.evolve(row, **new, version=version + 1)
        self._refuse_duplicates(changed)
        self._put(changed, row)
        return changed

    def _last(self, rows: Mapping[UUID, Any], limit: int, before: UUID | None) -> list[Any]:
        everything = len(self._order)
        end = everything if before is None else self._order.get(before, everything)
        earlier = (row_id for row_id in rows if self._order[row_id] < end)
        return [rows[row_id] for row_id in nlargest(max(limit, 0), earlier, key=self._order.__getitem__)]

    def _first(self, rows: Iterable[Any], limit: int | None, when: Callable[[Any], datetime | None]) -> list[Any]:
        def key(row: Any) -> tuple[datetime | None, int]:
            return when(row), self._order[row.id]

        return sorted(rows, key=key) if limit is None else nsmallest(max(limit, 0), rows, key=key)

    def _put_callback(self, row: CallbackRow) -> None:
        before = self._callbacks.get(row.id)
        is_open = row.next_attempt_at is not None
        self._callbacks[row.id] = row
        _keep(self._open, row.id, is_open)
        if before is not None:
            _take(self._by_correlation, before.correlation_id, row.id)
            _take(self._by_token, before.token, row.id)
        if is_open:
            self._by_correlation[row.correlation_id][row.id] = None
            self._by_token[row.token][row.id] = None
        _keep(self._conflicts, row.id, is_open_conflict(row))

    def _refuse_duplicates(self, row: Transaction) -> None:
        for key in UNIQUE_KEYS:
            value = _key_value(row, key)
            owner = self._unique[key].get(value) if value is not None else None
            if owner is not None and owner != row.id:
                raise DuplicateKey(key, owner)

    def _put(self, row: Transaction, before: Transaction | None) -> None:
        self._transactions[row.id] = row
        for key, owners in self._unique.items():
            was = _key_value(before, key) if before is not None else None
            value = _key_value(row, key)
            if was != value and was is not None:
                del owners[was]
            if value is not None:
                owners[value] = row.id
        if before is not None and before.originator_conversation_id is not None:
            _take(self._by_originator, before.originator_conversation_id, row.id)
        if row.originator_conversation_id is not None:
            self._by_originator[row.originator_conversation_id][row.id] = None
        _keep(self._checked, row.id, row.next_check_at is not None)
        _keep(self._fenced, row.id, row.announce_until is not None)
        if before is not None:
            _take(self._without_receipt, before.short_code, row.id)
        if row.transaction_type == TransactionType.STK_PUSH and row.mpesa_receipt_number is None:
            self._without_receipt[row.short_code][row.id] = None
        if before is not None:
            _take(self._proved, before.short_code, row.id)
        if row.mpesa_receipt_number is not None and row.confirmed_at is not None:
            self._proved[row.short_code][row.id] = None


_K = TypeVar("_K")
_TRANSACTION_DRAFT = tuple(field.name for field in attrs.fields(TransactionDraft))
_CALLBACK_DRAFT = tuple(field.name for field in attrs.fields(CallbackDraft))


def _keep(index: dict[UUID, None], row_id: UUID, belongs: bool) -> None:
    if belongs:
        index[row_id] = None
    else:
        index.pop(row_id, None)


def _take(index: dict[_K, dict[UUID, None]], value: _K, row_id: UUID) -> None:
    ids = index.get(value)
    if ids is not None:
        ids.pop(row_id, None)
        if not ids:
            del index[value]


def _passed(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment <= now


def _key_value(row: Transaction, key: Key) -> Any:
    if key is Key.RECEIPT:
        return (row.short_code, row.mpesa_receipt_number) if row.mpesa_receipt_number is not None else None
    return getattr(row, key)
