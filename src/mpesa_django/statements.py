"""The statements that each callback needs, on PostgreSQL: made once, and executed by a cursor of Django's connection.

They do what the ORM would do, on the same connection and in the same transactions, with the fields' own conversions. To
have the ORM make a query and its rows anew takes several times as long as PostgreSQL takes to answer it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from django.db import connections, models
from django.db.models import signals

from mpesa_django.models import AbstractMpesaCallbackLog

__all__ = ["Statements"]

_SAVING: Final = (signals.pre_init, signals.post_init, signals.pre_save, signals.post_save)


class Statements:
    """Reading one row by its fields, and changing one by compare-and-set.

    Args:
        model: whose rows they are; see :meth:`serve`.
    """

    def __init__(self, model: type[models.Model]) -> None:
        self._model = model
        self._meta = model._meta  # noqa: SLF001 - Django's public interface
        self._fields = tuple(self._meta.concrete_fields)
        self._names = tuple(field.attname for field in self._fields)
        self._flat = not any(self._meta.parents.values())  # one table
        self._texts: dict[tuple[Any, ...], str] = {}

    def serve(self, alias: str) -> bool:
        """Whether they do for a database: PostgreSQL, and a model that has one table to itself."""
        return self._flat and connections[alias].vendor == "postgresql"

    def first(self, alias: str, order: Sequence[str], values: Mapping[str, Any]) -> Any:
        """The first row, in an order, whose fields have those values; or None."""
        text = self._texts.get(shape := (alias, *values, "by", *order))
        if text is None:
            same = " AND ".join(f"{self._column(alias, name)} = %s" for name in values)
            by = ", ".join(self._column(alias, name) for name in order)
            chosen = f"SELECT {self._columns(alias)} FROM {self._table(alias)}"  # noqa: S608 - names of the model's
            text = self._texts[shape] = f"{chosen} WHERE {same} ORDER BY {by} LIMIT 1"
        return self._row(alias, text, self._kept(alias, values))

    def adds(self, alias: str, fields: Container[str]) -> bool:
        """Whether :meth:`add` does for a database: nobody but the core has something to say about a new row.

        Args:
            alias: of the database.
            fields: the core's own.
        """
        heard = any(signal.has_listeners(self._model) for signal in _SAVING)
        usual = AbstractMpesaCallbackLog.save, models.Model.save_base
        own = (self._model.save, self._model.save_base) != usual
        return self.serve(alias) and not heard and not own and all(field.name in fields for field in self._fields)

    def add(self, alias: str, row: Any) -> None:
        """Insert a row."""
        text = self._texts.get(shape := (alias,))
        if text is None:
            marks = ", ".join(["%s"] * len(self._fields))
            text = f"INSERT INTO {self._table(alias)} ({self._columns(alias)}) VALUES ({marks})"  # noqa: S608 - likewise
            self._texts[shape] = text
        connection = connections[alias]
        kept = [field.get_db_prep_save(field.pre_save(row, add=True), connection) for field in self._fields]
        with connection.cursor() as cursor:
            cursor.execute(text, kept)

    def change(self, alias: str, row_id: UUID, name: str, expected: object, values: Mapping[str, Any]) -> Any:
        """Change the row, if its field of that name is still what was expected; the row as it is now, or None.

        The row is locked first, as ``select_for_update()`` would, in the same statement: rivals queue for it. A field
        called ``version`` goes up by one.
        """
        text = self._texts.get(shape := (alias, name, expected is None, *values))
        if text is None:
            table, key, guard = self._table(alias), self._column(alias, "pk"), self._column(alias, name)
            same = f"{guard} IS NULL" if expected is None else f"{guard} = %s"
            written = [f"{self._column(alias, each)} = %s" for each in values]
            written += [f"{guard} = {guard} + 1"] if name == "version" else []
            text = self._texts[shape] = (
                f"WITH locked AS (SELECT {key} FROM {table} WHERE {key} = %s AND {same} FOR UPDATE)"  # noqa: S608 - names of the model's
                f" UPDATE {table} SET {', '.join(written) or f'{key} = {key}'}"
                f" WHERE {key} = (SELECT {key} FROM locked) AND {same} RETURNING {self._columns(alias)}"
            )
        was = [] if expected is None else self._kept(alias, {name: expected})
        locked = [*self._kept(alias, {"pk": row_id}), *was]
        return self._row(alias, text, [*locked, *self._kept(alias, values), *was])

    def _row(self, alias: str, text: str, parameters: Sequence[Any]) -> Any:
        with connections[alias].cursor() as cursor:
            cursor.execute(text, parameters)
            found = cursor.fetchone()
        if found is None:
            return None
        values = list(found)
        for index, field in enumerate(self._fields):
            for convert in field.get_db_converters(connections[alias]):
                values[index] = convert(values[index], None, connections[alias])
        return self._model.from_db(alias, self._names, values)

    def _kept(self, alias: str, values: Mapping[str, Any]) -> list[Any]:
        return [self._field(name).get_db_prep_save(value, connections[alias]) for name, value in values.items()]

    def _field(self, name: str) -> Any:
        return self._meta.pk if name == "pk" else self._meta.get_field(name)

    def _column(self, alias: str, name: str) -> str:
        return connections[alias].ops.quote_name(self._field(name).column)

    def _columns(self, alias: str) -> str:
        return ", ".join(self._column(alias, field.name) for field in self._fields)

    def _table(self, alias: str) -> str:
        return connections[alias].ops.quote_name(self._meta.db_table)


def _is_the_hosts(model: type[models.Model], name: str) -> bool:
    owner = next(each for each in model.__mro__ if name in vars(each))
    return not owner.__module__.startswith(("django.", "mpesa_django."))
