"""The statements that read and change several rows at once, on PostgreSQL, in a transaction of the caller's."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from mpesa_django.columns import Columns
from mpesa_django.statements import Change

__all__ = ["Several"]


class Several(Columns):
    """Finding, locking and changing rows of a model; see :meth:`serve`."""

    def find(
        self, connection: BaseDatabaseWrapper, name: str, values: Sequence[Any], order: Sequence[str]
    ) -> list[Any]:
        """For each value the first row, in an order, whose field has it, or None; a row of its own for each."""
        quote = self.quoting(connection)
        wanted = [self.kept(connection, {name: value})[0] for value in values]
        first: dict[Any, Any] = {}
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {quote(name)}, {self.all(connection)} FROM {self.table(connection)}"  # noqa: S608 - names of the model's
                f" WHERE {quote(name)} = ANY(%s) ORDER BY {', '.join(map(quote, order))}",
                [wanted],
            )
            for found in cursor.fetchall():
                first.setdefault(found[0], found[1:])
        return [self.row(connection, first[value]) if value in first else None for value in wanted]

    def lock(self, connection: BaseDatabaseWrapper, name: str, ids: Iterable[UUID]) -> dict[UUID, Any]:
        """Lock rows, in the order of their keys; those that there are, each with the value of a field."""
        wanted = sorted(set(ids))
        if not wanted:
            return {}
        quote, converters = self.quoting(connection), self.field(name).get_db_converters(connection)
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {quote('pk')}, {quote(name)} FROM {self.table(connection)}"  # noqa: S608 - likewise
                f" WHERE {quote('pk')} = ANY(%s) ORDER BY {quote('pk')} FOR UPDATE",
                [wanted],
            )
            locked = dict(cursor.fetchall())
        for convert in converters:
            locked = {key: convert(value, None, connection) for key, value in locked.items()}
        return locked

    def change(self, connection: BaseDatabaseWrapper, changes: Iterable[Change], *, read: bool) -> dict[UUID, Any]:
        """Write to rows that are locked and have what was expected.

        Args:
            connection: to the database.
            changes: each of another row.
            read: whether the rows are wanted.

        Returns:
            The rows as they are now, by their keys; nothing, where they are not wanted.
        """
        alike: dict[tuple[str, ...], list[Change]] = {}
        for change in changes:
            alike.setdefault((change.name, *change.values), []).append(change)
        rows: dict[UUID, Any] = {}
        for (guard, *names), group in alike.items():
            text = self._writing(connection, guard, names, len(group))
            values = [self.kept(connection, {"pk": each.row_id, **each.values}) for each in group]
            with connection.cursor() as cursor:
                cursor.execute(
                    f"{text} RETURNING {self.all(connection)}" if read else text, list(itertools.chain(*values))
                )
                found = cursor.fetchall() if read else []
            rows |= {row.pk: row for row in (self.row(connection, each) for each in found)}
        return rows

    def _writing(self, connection: BaseDatabaseWrapper, guard: str, names: Sequence[str], count: int) -> str:
        quote = self.quoting(connection)
        key = quote("pk")
        # Without its width: a text that is too long is to be refused, not cut.
        types = [self.field(name).db_type(connection).partition("(")[0] for name in ("pk", *names)]
        marks = ", ".join(f"%s::{each}" for each in types)
        written = [f"{quote(name)} = new_{index}" for index, name in enumerate(names)] or [f"{key} = row_key"]
        written += [f"{quote(guard)} = {quote(guard)} + 1"] if guard == "version" else []
        new = ", ".join(["row_key", *(f"new_{index}" for index in range(len(names)))])
        return (
            f"UPDATE {self.table(connection)} SET {', '.join(written)}"  # noqa: S608 - likewise
            f" FROM (VALUES {', '.join([f'({marks})'] * count)}) AS new ({new}) WHERE {key} = row_key"
        )
