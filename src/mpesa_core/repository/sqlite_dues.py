"""Invoices and subscriptions in the SQLite file of :class:`~mpesa_core.repository.sqlite.SqliteRepository`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

import attrs

from mpesa_core.errors import DuplicateKey, InvalidField
from mpesa_core.payments.invoices import InvoiceDraft, InvoiceRow
from mpesa_core.payments.records import Sweep
from mpesa_core.payments.subscriptions import SubscriptionDraft, SubscriptionKey, SubscriptionRow
from mpesa_core.repository.columns import Columns, money_in, text_in, text_out, time_text
from mpesa_core.repository.rows import INVOICE, SUBSCRIPTION, Kind, check_names, plain

__all__ = ["DUES_SCHEMA", "SqliteDues"]

_T = TypeVar("_T")
_R = TypeVar("_R", bound=InvoiceRow | SubscriptionRow)

DUES_SCHEMA: Final = (
    """CREATE TABLE mpesa_invoices (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        account TEXT NOT NULL,
        short_code TEXT NOT NULL,
        external_reference TEXT NOT NULL,
        account_reference TEXT NOT NULL,
        invoice_name TEXT NOT NULL,
        full_name TEXT NOT NULL,
        phone_number TEXT NOT NULL,
        period TEXT NOT NULL,
        amount NOT NULL,
        due_at TEXT NOT NULL,
        status TEXT NOT NULL,
        result_desc TEXT,
        payments TEXT NOT NULL,
        unacknowledged TEXT NOT NULL,
        created_at TEXT NOT NULL,
        sent_at TEXT,
        paid_at TEXT,
        voided_at TEXT,
        generation INTEGER NOT NULL,
        unannounced TEXT NOT NULL,
        announce_until TEXT,
        next_check_at TEXT,
        host TEXT NOT NULL,
        version INTEGER NOT NULL DEFAULT 1
    )""",
    "CREATE UNIQUE INDEX mpesa_invoice_reference ON mpesa_invoices (short_code, external_reference)",
    "CREATE INDEX mpesa_invoice_payable ON mpesa_invoices (short_code, account_reference, created_at)",
    "CREATE INDEX mpesa_invoice_unannounced ON mpesa_invoices (announce_until) WHERE announce_until IS NOT NULL",
    "CREATE INDEX mpesa_invoice_due ON mpesa_invoices (next_check_at) WHERE next_check_at IS NOT NULL",
    """CREATE TABLE mpesa_subscriptions (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        account TEXT NOT NULL,
        short_code TEXT NOT NULL,
        name TEXT NOT NULL,
        account_reference TEXT NOT NULL,
        transaction_desc TEXT NOT NULL,
        phone_number TEXT NOT NULL,
        amount NOT NULL,
        start_on TEXT NOT NULL,
        end_on TEXT NOT NULL,
        frequency TEXT NOT NULL,
        edition TEXT NOT NULL,
        status TEXT NOT NULL,
        idempotency_key TEXT,
        callback_token TEXT,
        request_id TEXT,
        response_ref_id TEXT,
        standing_order_id TEXT,
        result_code_text TEXT,
        result_desc TEXT,
        created_at TEXT NOT NULL,
        settled_at TEXT,
        stopped_at TEXT,
        conflicts TEXT NOT NULL,
        generation INTEGER NOT NULL,
        unannounced TEXT NOT NULL,
        announce_until TEXT,
        next_check_at TEXT,
        host TEXT NOT NULL,
        version INTEGER NOT NULL DEFAULT 1
    )""",
    """CREATE UNIQUE INDEX mpesa_subscription_key ON mpesa_subscriptions (idempotency_key)
        WHERE idempotency_key IS NOT NULL""",
    """CREATE UNIQUE INDEX mpesa_subscription_token ON mpesa_subscriptions (callback_token)
        WHERE callback_token IS NOT NULL""",
    """CREATE UNIQUE INDEX mpesa_subscription_request ON mpesa_subscriptions (request_id)
        WHERE request_id IS NOT NULL""",
    """CREATE INDEX mpesa_subscription_response ON mpesa_subscriptions (response_ref_id, created_at)
        WHERE response_ref_id IS NOT NULL""",
    """CREATE INDEX mpesa_subscription_charging
        ON mpesa_subscriptions (short_code, account_reference, amount, created_at)""",
    """CREATE INDEX mpesa_subscription_unannounced ON mpesa_subscriptions (announce_until)
        WHERE announce_until IS NOT NULL""",
    "CREATE INDEX mpesa_subscription_due ON mpesa_subscriptions (next_check_at) WHERE next_check_at IS NOT NULL",
)
"""The schema step that brought both tables."""

_SWEEPS: Final = {Sweep.UNANNOUNCED: "announce_until", Sweep.TO_ASK: "next_check_at"}


class SqliteDues:
    """The operations of invoices and subscriptions; a part of the repository, which gives them its connections."""

    def _using(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        raise NotImplementedError

    # Invoices

    def add_invoice(self, draft: InvoiceDraft) -> InvoiceRow:
        """Record an invoice, with version 1.

        Raises:
            DuplicateKey: the ``external_reference`` is taken in its short code, or the ``id``; nothing is changed.
        """
        return self._using(_INVOICES.adding(draft))

    def get_invoice(self, invoice_id: UUID) -> InvoiceRow | None:
        """The invoice, or None."""
        return self._using(_INVOICES.first("id = ?", [str(invoice_id)]))

    def find_invoice(self, short_code: str, external_reference: str) -> InvoiceRow | None:
        """The invoice of a short code with that reference, or None."""
        where = "short_code = ? AND external_reference = ?"
        return self._using(_INVOICES.first(where, [text_in(short_code), text_in(external_reference)]))

    def payable_invoices(
        self, short_code: str, account_reference: str, statuses: Sequence[str]
    ) -> Sequence[InvoiceRow]:
        """The invoices of a short code that are paid to that reference and have one of the statuses, oldest first."""
        marks = ", ".join("?" * len(statuses))
        where = f"short_code = ? AND account_reference = ? AND status IN ({marks}) ORDER BY created_at, seq"
        parameters = [text_in(short_code), text_in(account_reference), *(str(status) for status in statuses)]
        return self._using(_INVOICES.reading(where, parameters))

    def change_invoice(self, invoice_id: UUID, version: int, changes: Mapping[str, Any]) -> InvoiceRow | None:
        """Apply the changes and raise the version, if it is still the one given; else None.

        Raises:
            DuplicateKey: a reference in the changes is taken by another invoice; nothing is changed.
        """
        return self._using(_INVOICES.changing(invoice_id, version, changes))

    def due_invoices(self, sweep: Sweep, now: datetime, limit: int) -> Sequence[InvoiceRow]:
        """The invoices of one sweep that are due at ``now``, in the order of the time that makes them due."""
        return self._using(_INVOICES.due(sweep, now, limit))

    # Subscriptions

    def add_subscription(self, draft: SubscriptionDraft) -> SubscriptionRow:
        """Record a subscription, with version 1.

        Raises:
            DuplicateKey: a unique key or the id is taken; nothing is changed.
        """
        return self._using(_SUBSCRIPTIONS.adding(draft))

    def get_subscription(self, subscription_id: UUID) -> SubscriptionRow | None:
        """The subscription, or None."""
        return self._using(_SUBSCRIPTIONS.first("id = ?", [str(subscription_id)]))

    def find_subscription(self, key: SubscriptionKey, value: str) -> SubscriptionRow | None:
        """The subscription with that key, or None (the oldest, where several have it)."""
        where = f"{SubscriptionKey(key)} = ? ORDER BY created_at, seq LIMIT 1"
        return self._using(_SUBSCRIPTIONS.first(where, [text_in(value)]))

    def charging_subscriptions(
        self, short_code: str, amount: Decimal, account_reference: str
    ) -> Sequence[SubscriptionRow]:
        """The subscriptions of a short code that pay that amount to that reference, oldest first."""
        where = "short_code = ? AND account_reference = ? AND amount = ? ORDER BY created_at, seq"
        cents = money_in(plain("amount", Kind.MONEY, amount))
        return self._using(_SUBSCRIPTIONS.reading(where, [text_in(short_code), text_in(account_reference), cents]))

    def change_subscription(
        self, subscription_id: UUID, version: int, changes: Mapping[str, Any]
    ) -> SubscriptionRow | None:
        """Apply the changes and raise the version, if it is still the one given; else None.

        Raises:
            DuplicateKey: a unique key in the changes is taken by another subscription; nothing is changed.
        """
        return self._using(_SUBSCRIPTIONS.changing(subscription_id, version, changes))

    def due_subscriptions(self, sweep: Sweep, now: datetime, limit: int) -> Sequence[SubscriptionRow]:
        """The subscriptions of one sweep that are due at ``now``, in the order of the time that makes them due."""
        return self._using(_SUBSCRIPTIONS.due(sweep, now, limit))


class _Table(Generic[_R]):
    """One of the two tables: what is done with it, as functions of a connection.

    Args:
        name: of the table.
        make: the row's class.
        draft: the draft's class.
        kinds: of the fields.
        unique: what one row alone may have, each as the columns that make it; the first one is what DuplicateKey names.
    """

    def __init__(
        self,
        name: str,
        make: type[_R],
        draft: type[InvoiceDraft | SubscriptionDraft],
        kinds: Mapping[str, Kind],
        unique: tuple[tuple[str, ...], ...],
    ) -> None:
        self._name = name
        self._kept: Columns[_R] = Columns(make, kinds)
        self._unique = unique
        self._drafted = tuple(field.name for field in attrs.fields(draft))
        self._columns = ", ".join(kinds)
        self._changeable = frozenset(kinds) - {"id", "version"}

    def reading(self, where: str, parameters: Sequence[Any]) -> Callable[[sqlite3.Connection], list[_R]]:
        sql = f"SELECT {self._columns} FROM {self._name} WHERE {where}"  # noqa: S608 - made of constants
        return lambda connection: [self._kept.row(row) for row in connection.execute(sql, tuple(parameters))]

    def first(self, where: str, parameters: Sequence[Any]) -> Callable[[sqlite3.Connection], _R | None]:
        read = self.reading(where, parameters)
        return lambda connection: next(iter(read(connection)), None)

    def due(self, sweep: Sweep, now: datetime, limit: int) -> Callable[[sqlite3.Connection], list[_R]]:
        column = _SWEEPS.get(Sweep(sweep))
        if column is None:
            raise InvalidField("sweep", sweep, expected="UNANNOUNCED or TO_ASK")
        return self.reading(f"{column} <= ? ORDER BY {column}, seq LIMIT ?", [time_text("now", now), max(limit, 0)])

    def adding(self, draft: InvoiceDraft | SubscriptionDraft) -> Callable[[sqlite3.Connection], _R]:
        values = self._stored({name: getattr(draft, name) for name in self._drafted})
        sql = (
            f"INSERT INTO {self._name} ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})"  # noqa: S608
            f" RETURNING {self._columns}"
        )

        def write(connection: sqlite3.Connection) -> _R:
            (row,) = self._written(connection, sql, list(values.values()), draft.id, values)
            return self._kept.row(row)

        return write

    def changing(
        self, row_id: UUID, version: int, changes: Mapping[str, Any]
    ) -> Callable[[sqlite3.Connection], _R | None]:
        check_names(changes, self._changeable)
        values = self._stored(changes)
        sql = (
            f"UPDATE {self._name} SET {''.join(f'{name} = ?, ' for name in values)}version = version + 1"  # noqa: S608
            f" WHERE id = ? AND version = ? RETURNING {self._columns}"
        )

        def write(connection: sqlite3.Connection) -> _R | None:
            rows = self._written(connection, sql, [*values.values(), str(row_id), version], row_id, values)
            return self._kept.row(rows[0]) if rows else None

        return write

    def _stored(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return dict(zip(values, self._kept.stored(values), strict=True))

    def _written(
        self,
        connection: sqlite3.Connection,
        sql: str,
        parameters: Sequence[Any],
        row_id: UUID,
        values: Mapping[str, Any],
    ) -> list[tuple[Any, ...]]:
        """One statement in a transaction of its own, which the repository rolls back where it fails."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            rows = connection.execute(sql, parameters).fetchall()
        except sqlite3.IntegrityError:
            self._raise_duplicate(connection, row_id, values)
            raise
        connection.execute("COMMIT")
        return rows

    def _raise_duplicate(self, connection: sqlite3.Connection, row_id: UUID, values: Mapping[str, Any]) -> None:
        """Raise DuplicateKey for the key among the values that another row has; the write lock is still held."""
        for columns in self._unique:
            if not any(column in values for column in columns):
                continue
            present = connection.execute(
                f"SELECT {', '.join(columns)} FROM {self._name} WHERE id = ?",  # noqa: S608 - made of constants
                [str(row_id)],
            ).fetchone() or [None] * len(columns)
            wanted = [values.get(column, kept) for column, kept in zip(columns, present, strict=True)]
            owner = connection.execute(  # for None nothing is equal, and nobody has it
                f"SELECT id FROM {self._name} WHERE {' AND '.join(f'{each} = ?' for each in columns)} AND id <> ?",  # noqa: S608
                [*wanted, str(row_id)],
            ).fetchone()
            if owner is not None:
                raise DuplicateKey(columns[0], UUID(text_out(owner[0])))
        if "id" in values:
            raise DuplicateKey("id", row_id)


_INVOICES: Final = _Table("mpesa_invoices", InvoiceRow, InvoiceDraft, INVOICE, (("external_reference", "short_code"),))
_SUBSCRIPTIONS: Final = _Table(
    "mpesa_subscriptions",
    SubscriptionRow,
    SubscriptionDraft,
    SUBSCRIPTION,
    (("idempotency_key",), ("callback_token",), ("request_id",)),
)
