"""The columns of a model on PostgreSQL: their quoted names, and the fields' own conversions of their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from mpesa_core.repository.texts import holdable, key_text
from mpesa_django.fields import ExactTextField, KeyField, MomentField

__all__ = ["Columns"]

_Reading = tuple[bool, tuple[tuple[int, Callable[..., Any]], ...]]
"""Whether the columns may come in binary, and by which index what converts a value."""

_THE_SAME_IN_BINARY: Final = frozenset(
    {
        "bigint",
        "boolean",
        "bytea",
        "character varying",
        "date",
        "integer",
        "numeric",
        "smallint",
        "text",
        "uuid",
        "varchar",
    }
)
"""The types of which psycopg makes the same value whether they come as text or, which is faster to read, in binary."""

_USUAL: Final[Mapping[type, tuple[type, Callable[[Any], Any]]]] = {
    ExactTextField: (str, holdable),
    KeyField: (str, key_text),
    MomentField: (datetime, lambda moment: moment),
    models.BooleanField: (bool, lambda flag: flag),
    models.UUIDField: (UUID, lambda identifier: identifier),
}
"""What a value of the usual type is written as, for the fields that do no more with it, in a quarter of their time."""


class Columns:
    """The columns of the table that a model has to itself.

    Args:
        model: whose.
    """

    def __init__(self, model: type[models.Model]) -> None:
        self.model = model
        self._meta = model._meta  # noqa: SLF001 - Django's public interface
        self.fields = tuple(self._meta.concrete_fields)
        self._names = tuple(field.attname for field in self.fields)
        self._by_name: dict[str, Any] = {**{field.name: field for field in self.fields}, "pk": self._meta.pk}
        self._usual = {name: _USUAL[type(field)] for name, field in self._by_name.items() if type(field) in _USUAL}
        # One table, whose columns and values stand in a statement as they are.
        self._flat = not any(self._meta.parents.values()) and not any(map(_is_wrapped, self.fields))
        self._readings: dict[type, _Reading] = {}  # by the backend

    def serve(self, connection: BaseDatabaseWrapper) -> bool:
        """Whether statements of our own do for a database: PostgreSQL, and a model of one table with plain columns."""
        return self._flat and connection.vendor == "postgresql"

    def field(self, name: str) -> Any:
        """The field; ``pk`` is the key's."""
        return self._by_name[name]

    def quoting(self, connection: BaseDatabaseWrapper) -> Callable[[str], str]:
        """What makes the quoted column of a field's name."""
        return lambda name: connection.ops.quote_name(self._by_name[name].column)

    def table(self, connection: BaseDatabaseWrapper) -> str:
        """The table's name."""
        return connection.ops.quote_name(self._meta.db_table)

    def all(self, connection: BaseDatabaseWrapper) -> str:
        """All columns, as :meth:`row` reads them."""
        quote = self.quoting(connection)  # JSON as text, which is what the fields convert
        return ", ".join(quote(each.name) + "::text" * isinstance(each, models.JSONField) for each in self.fields)

    def kept(self, connection: BaseDatabaseWrapper, values: Mapping[str, Any]) -> list[Any]:
        """Values of fields as they are written."""
        kept = []
        for name, value in values.items():
            usual = self._usual.get(name)
            if usual is not None and (value is None or type(value) is usual[0]):
                kept.append(usual[1](value) if value is not None else None)
            else:
                kept.append(self._by_name[name].get_db_prep_save(value, connection))
        return kept

    def binary(self, connection: BaseDatabaseWrapper) -> bool:
        """Whether the columns may come in binary."""
        return self._reading(connection)[0]

    def row(self, connection: BaseDatabaseWrapper, found: Sequence[Any]) -> Any:
        """The model's instance of a row that was found."""
        values = list(found)
        for index, convert in self._reading(connection)[1]:
            values[index] = convert(values[index], None, connection)
        return self.model.from_db(connection.alias, self._names, values)

    def _reading(self, connection: BaseDatabaseWrapper) -> _Reading:
        known = self._readings.get(type(connection))
        if known is None:
            known = self._readings[type(connection)] = _reading(self.fields, connection)
        return known


def _is_wrapped(field: Any) -> bool:
    """Whether a field has SQL of its own around its column or its values: one that the database encrypts, say."""
    kind: Any = type(field)
    columns = models.Field.get_col, models.ForeignKey.get_col, models.GeneratedField.get_col
    usual = {name: getattr(models.BinaryField, name, None) for name in ("get_placeholder", "get_placeholder_sql")}
    return (
        kind.select_format is not models.Field.select_format
        or kind.get_col not in columns
        or any(getattr(kind, name, its) is not its for name, its in usual.items())  # the second since Django 6.1
    )


def _reading(fields: Sequence[Any], connection: BaseDatabaseWrapper) -> _Reading:
    binary = all(
        isinstance(each, (MomentField, models.JSONField))
        or str(each.db_type(connection)).partition("(")[0] in _THE_SAME_IN_BINARY
        for each in fields
    )
    converters = (
        (index, convert) for index, each in enumerate(fields) for convert in each.get_db_converters(connection)
    )
    return binary, tuple(converters)
