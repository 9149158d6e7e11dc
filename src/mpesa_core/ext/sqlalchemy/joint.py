"""A payment and the callback that settles it, changed together: both, or neither."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Column, exists, inspect, select
from sqlalchemy.orm import Session

from mpesa_core.ext.sqlalchemy.table import Table

__all__ = ["JointChanges"]

_R = TypeVar("_R")

_CALLBACK: Final = "callback_"
"""Before the names of the callback's parameters."""


class JointChanges(Generic[_R]):
    """Changes of two rows with one commit.

    Args:
        transactions: of payments; in one database with the callbacks.
        callbacks: theirs.
    """

    def __init__(self, transactions: Table[_R], callbacks: Table[Any]) -> None:
        self._transactions = transactions
        self._callbacks = callbacks
        self._statements: dict[tuple[Any, ...], Any] = {}
        # SQLAlchemy gives no value for those within a statement.
        by_python = any(map(_is_made_by_python, (*_columns(transactions), *_columns(callbacks))))
        self._is_one = callbacks.statements.are_served and not by_python

    def change(
        self,
        transaction_id: UUID,
        version: int,
        changes: Mapping[str, Any],
        callback_id: UUID,
        expected: datetime | None,
        closing: Mapping[str, Any],
    ) -> _R | None:
        """Change both, if they are still as they were read; the payment as it is now, or None."""
        rows, callbacks = self._transactions, self._callbacks
        values, closed = rows.changed_values(changes), callbacks.values(closing, {})
        refused = rows.refusing(transaction_id, values)
        if self._is_one and rows.is_core(values):
            prepared = rows.statements.prepared(self._statement(expected, tuple(values), tuple(closed)))
            if prepared is not None:
                written = rows.parameters(transaction_id, version, values)
                written |= callbacks.parameters(callback_id, expected, closed, _CALLBACK)
                return rows.database.attempt(lambda: prepared.first(written), refused)

        def work(session: Session) -> _R:
            if not callbacks.was_changed(session, callback_id, "next_attempt_at", expected, closed):
                raise _LostError
            row = rows.changed(session, transaction_id, version, values)
            if row is None:
                raise _LostError
            return row

        try:
            return rows.database.write(work, refused)
        except _LostError:  # and undone
            return None

    def _statement(self, expected: datetime | None, values: tuple[str, ...], closed: tuple[str, ...]) -> Any:
        """One statement that does it all.

        The callback is locked before anything is changed. A rival who had either row first has committed by the time
        that its lock is had, and each condition is looked at again in what it left; where the payment's no longer
        holds, nothing was settled, and nothing is closed.
        """
        shape = (expected is None, len(values), *values, *closed)
        statement = self._statements.get(shape)
        if statement is None:
            rows, callbacks = self._transactions, self._callbacks
            same = callbacks.same("next_attempt_at", expected, _CALLBACK)
            locked = select(callbacks.model.id).where(same).with_for_update().cte("locked")
            where = rows.same("version", 1) & exists(select(locked.c.id))
            settled = rows.update(where, "version", values).returning(rows.model).cte("settled")
            of_locked = callbacks.model.id == select(locked.c.id).scalar_subquery()
            where = of_locked & exists(select(settled.c.id))
            closes = callbacks.update(where, "next_attempt_at", closed, _CALLBACK).cte("closed")
            statement = self._statements[shape] = select(settled).add_cte(closes)
        return statement


def _columns(table: Table[Any]) -> Iterable[Column[Any]]:
    return (column for each in inspect(table.model).tables for column in each.columns)


def _is_made_by_python(column: Column[Any]) -> bool:
    """Whether a column is changed along with its row, to what Python says."""
    return column.onupdate is not None and not column.onupdate.is_clause_element


class _LostError(Exception):
    """Somebody else was first."""
