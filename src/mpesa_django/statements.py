"""The statements that each callback needs, on PostgreSQL: made once, and executed on Django's connection.

They do what the ORM would do, on the same connection and in the same transactions, with the fields' own conversions. To
have the ORM make a query and its rows anew takes several times as long as PostgreSQL takes to answer it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import attrs
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import signals

from mpesa_django.columns import Columns
from mpesa_django.cursors import cursor_on
from mpesa_django.models import AbstractMpesaCallbackLog

__all__ = ["Change", "Statements"]

_SAVING: Final = (signals.pre_init, signals.post_init, signals.pre_save, signals.post_save)
_USUAL: Final = (AbstractMpesaCallbackLog.save, models.Model.save_base, models.Model.__init__)


@attrs.frozen
class Change:
    """What is written to one row by compare-and-set.

    Attributes:
        row_id: whose.
        name: of the field that is compared; a ``version`` goes up by one.
        expected: what it has to be still.
        values: what the fields become.
    """

    row_id: UUID
    name: str
    expected: Any
    values: Mapping[str, Any]


class Statements(Columns):
    """Reading one row by its fields, adding one, and changing one by compare-and-set; see :meth:`serve`."""

    def __init__(self, model: type[models.Model]) -> None:
        super().__init__(model)
        self._plain = not any(map(_sets_itself, self.fields))
        self._texts: dict[tuple[Any, ...], str] = {}  # of any PostgreSQL: each quotes names alike

    def first(self, connection: BaseDatabaseWrapper, order: Sequence[str], values: Mapping[str, Any]) -> Any:
        """The first row, in an order, whose fields have those values; or None."""
        text = self._texts.get(shape := (*values, "by", *order))
        if text is None:
            quote = self.quoting(connection)
            same = " AND ".join(f"{quote(name)} = %s" for name in values)
            chosen = f"SELECT {self.all(connection)} FROM {self.table(connection)}"  # noqa: S608 - names of the model's
            text = self._texts[shape] = f"{chosen} WHERE {same} ORDER BY {', '.join(map(quote, order))} LIMIT 1"
        return self._row(connection, text, self.kept(connection, values))

    def adds(self, connection: BaseDatabaseWrapper, fields: Container[str]) -> bool:
        """Whether :meth:`add` does for a database: nobody but the core has something to say about a new row.

        Args:
            connection: to the database.
            fields: the core's own.
        """
        model = self.model
        heard = any(signal.has_listeners(model) for signal in _SAVING)
        own = (model.save, model.save_base, model.__init__) != _USUAL
        plain = self._plain and all(field.name in fields for field in self.fields)
        return self.serve(connection) and plain and not heard and not own

    def add(self, connection: BaseDatabaseWrapper, values: Mapping[str, Any]) -> None:
        """Insert a row with those values, and what the fields have by default."""
        text = self._texts.get(())
        if text is None:
            marks = ", ".join(["%s"] * len(self.fields))
            columns = ", ".join(map(self.quoting(connection), (field.name for field in self.fields)))
            into = f"{self.table(connection)} ({columns})"
            text = self._texts[()] = f"INSERT INTO {into} VALUES ({marks})"  # noqa: S608 - likewise
        names = (field.name for field in self.fields)
        whole = {name: values[name] if name in values else self.field(name).get_default() for name in names}
        with cursor_on(connection) as cursor:
            cursor.execute(text, self.kept(connection, whole))

    def change(
        self, connection: BaseDatabaseWrapper, change: Change, along: tuple[Statements, Change] | None = None
    ) -> Any:
        """Change the row, if its field is still what was expected; the row as it is now, or None.

        The row is locked first, as ``select_for_update()`` would, in the same statement: rivals queue for it.

        Args:
            connection: to the database.
            change: of a row.
            along: a change of another model's row, which is made too, or neither of the two. That row is locked next,
                and when both locks are held nothing can come between them.
        """
        shape = ("change", *_shape(change), *(_shape(along[1]) if along is not None else ()))
        text = self._texts.get(shape)
        if text is None:
            locked = f"locked AS ({self.locking(connection, change)})"
            update = self.writing(connection, change, "locked")
            if along is not None:
                other, companion = along
                locked += f", closing AS ({other.locking(connection, companion, 'AND EXISTS (SELECT FROM locked)')})"
                locked += f", closed AS ({other.writing(connection, companion, 'closing')})"
                update += " AND EXISTS (SELECT FROM closing)"
            text = self._texts[shape] = f"WITH {locked} {update} RETURNING {self.all(connection)}"
        guard, written = self.parameters(connection, change)
        besides: list[Any] = []
        if along is not None:
            also, theirs = along[0].parameters(connection, along[1])
            besides = [*also, *theirs, *also[1:]]
        return self._row(connection, text, [*guard, *besides, *written, *guard[1:]])

    def won(self, connection: BaseDatabaseWrapper, change: Change) -> bool:
        """Change the row as :meth:`change`, without reading it; whether it was changed."""
        text = self._texts.get(shape := ("won", *_shape(change)))
        if text is None:
            text = self._texts[shape] = self.writing(connection, change)
        guard, written = self.parameters(connection, change)
        with cursor_on(connection) as cursor:
            cursor.execute(text, [*written, *guard])
            return bool(cursor.rowcount)

    def _row(self, connection: BaseDatabaseWrapper, text: str, parameters: Sequence[Any]) -> Any:
        with cursor_on(connection, binary=self.binary(connection)) as cursor:
            cursor.execute(text, parameters)
            found = cursor.fetchone()
        return self.row(connection, found) if found is not None else None

    # The parts of a change

    def parameters(self, connection: BaseDatabaseWrapper, change: Change) -> tuple[list[Any], list[Any]]:
        """The key and, unless it is NULL, what is expected; and the values that are written."""
        expected = {} if change.expected is None else {change.name: change.expected}
        return self.kept(connection, {"pk": change.row_id, **expected}), self.kept(connection, change.values)

    def locking(self, connection: BaseDatabaseWrapper, change: Change, besides: str = "") -> str:
        """Locks the row, if its field is still what was expected, and whatever else is asked for is so."""
        key, same = self.quoting(connection)("pk"), self._same(connection, change)
        return f"SELECT {key} FROM {self.table(connection)} WHERE {key} = %s AND {same} {besides} FOR UPDATE"  # noqa: S608 - names of the model's

    def writing(self, connection: BaseDatabaseWrapper, change: Change, locked: str | None = None) -> str:
        """Writes the row that was locked under that name; None: the one of the key."""
        quote = self.quoting(connection)
        key, guard = quote("pk"), quote(change.name)
        written = [f"{quote(each)} = %s" for each in change.values]
        written += [f"{guard} = {guard} + 1"] if change.name == "version" else []
        row = f"(SELECT {key} FROM {locked})" if locked is not None else "%s"  # noqa: S608 - likewise
        return (
            f"UPDATE {self.table(connection)} SET {', '.join(written) or f'{key} = {key}'}"  # noqa: S608 - likewise
            f" WHERE {key} = {row} AND {self._same(connection, change)}"
        )

    def _same(self, connection: BaseDatabaseWrapper, change: Change) -> str:
        guard = self.quoting(connection)(change.name)
        return f"{guard} IS NULL" if change.expected is None else f"{guard} = %s"


def _sets_itself(field: Any) -> bool:
    """Whether a field has its own say about what is saved of a new row."""
    usual = type(field).pre_save in (models.Field.pre_save, models.DateTimeField.pre_save)
    return not usual or getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)


def _shape(change: Change) -> tuple[Any, ...]:
    return change.name, change.expected is None, *change.values
