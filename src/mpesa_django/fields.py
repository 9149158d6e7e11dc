"""The model fields: what a database would refuse, cut or round is kept exactly, or as near to it as the database can.

The same value is stored alike on PostgreSQL, SQLite, MySQL and MariaDB:

- text is compared to the letter (MySQL would take ``a`` for ``A``), and a character that a database cannot hold (NUL, a
  lone surrogate) becomes U+FFFD;
- a :class:`KeyField`, which is indexed, has a width: a longer key is stored as its beginning and its SHA-256, and is
  found by the long one all the same, because questions are written the same way;
- JSON keeps fractions as :class:`~decimal.Decimal`;
- times are aware and in UTC, to the microsecond.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.core import checks
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from mpesa_core.errors import InvalidField
from mpesa_core.repository.columns import json_text, json_value
from mpesa_core.repository.texts import KEY_WIDTH, holdable, key_text
from mpesa_core.values import in_cents

__all__ = [
    "AmountField",
    "BodyField",
    "CodeField",
    "ExactTextField",
    "JsonField",
    "KeyField",
    "MomentField",
    "RawField",
]

if TYPE_CHECKING:  # generic in the stubs alone; Any, because a row is read through the core's record protocols
    _Binary = models.BinaryField[Any, Any]
    _Char = models.CharField[Any, Any]
    _Decimal = models.DecimalField[Any, Any]
    _Integer = models.BigIntegerField[Any, Any]
    _Json = models.JSONField[Any, Any]
    _Text = models.TextField[Any, Any]
    _Time = models.DateTimeField[Any, Any]
else:
    _Binary = models.BinaryField
    _Char = models.CharField
    _Decimal = models.DecimalField
    _Integer = models.BigIntegerField
    _Json = models.JSONField
    _Text = models.TextField
    _Time = models.DateTimeField


def _exact_collation(connection: BaseDatabaseWrapper) -> str | None:
    """The collation that compares to the letter, blanks at the end included; None where that is the database's own."""
    if connection.vendor != "mysql":
        return None
    return "utf8mb4_nopad_bin" if getattr(connection, "mysql_is_mariadb", False) else "utf8mb4_0900_bin"


def _without(deconstructed: Any, *names: str) -> Any:
    """What a migration writes of a field, without the arguments that the field gives itself."""
    name, path, arguments, options = deconstructed
    return name, path, arguments, {option: value for option, value in options.items() if option not in names}


class ExactTextField(_Text):
    """Text of any length."""

    def get_prep_value(self, value: Any) -> Any:
        """The text with what no database can hold replaced."""
        value = super().get_prep_value(value)
        return holdable(str(value)) if isinstance(value, str) else value

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        """The column, with a collation that is exact."""
        return super().db_parameters(connection) | {"collation": _exact_collation(connection)}


class KeyField(_Char):
    """Text that rows are found by."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "max_length": KEY_WIDTH})

    def deconstruct(self) -> Any:
        """For migrations, which know no choices: a release of this package that adds one asks for no migration."""
        return _without(super().deconstruct(), "max_length", "choices")

    def get_prep_value(self, value: Any) -> Any:
        """The text; one that is too long, or that no database can hold, as its beginning and its digest."""
        value = super().get_prep_value(value)
        return key_text(str(value)) if isinstance(value, str) else value

    def db_type(self, connection: BaseDatabaseWrapper) -> Any:
        """The column's type."""
        if connection.vendor == "postgresql":  # by this name of varchar Django makes no second index for LIKE
            return f"character varying({KEY_WIDTH})"
        return super().db_type(connection)

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        """The column, with a collation that is exact."""
        return super().db_parameters(connection) | {"collation": _exact_collation(connection)}


class MomentField(_Time):
    """An aware time, read in UTC whatever zone the connection has."""

    def check(self, **options: Any) -> Any:
        """A time is a moment: without USE_TZ Django would keep the hands of a clock."""
        found = super().check(**options)
        if settings.USE_TZ:
            return found
        hint = "Set USE_TZ = True; TIME_ZONE may stay as it is."
        return [*found, checks.Error("Times of payments need USE_TZ.", hint=hint, obj=self, id="mpesa_django.E007")]

    def from_db_value(self, value: datetime | None, _expression: Any, _connection: Any) -> datetime | None:
        """In UTC."""
        return value.astimezone(UTC) if value is not None and value.tzinfo is not None else value


class AmountField(_Decimal):
    """Shillings, with two decimals. Fifteen digits are what SQLite keeps exactly, and more than M-PESA moves."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "max_digits": 15, "decimal_places": 2})

    def deconstruct(self) -> Any:
        """For migrations."""
        return _without(super().deconstruct(), "max_digits", "decimal_places")

    def get_prep_value(self, value: Any) -> Any:
        """The amount; never rounded.

        Raises:
            InvalidField: it has more than two decimals, or more than fifteen digits.
        """
        amount = super().get_prep_value(value)
        if isinstance(amount, Decimal) and in_cents(amount) is None:
            raise InvalidField(self.name, amount, expected="shillings with at most two decimals, below 10 ** 13")
        return amount


class CodeField(_Integer):
    """M-PESA's result code. One that 64 bits do not hold is left out: ``result_code_text`` has every code."""

    def get_prep_value(self, value: Any) -> Any:
        """The number, or None."""
        value = super().get_prep_value(value)
        return value if not isinstance(value, int) or -(2**63) <= value < 2**63 else None


class RawField(_Binary):
    """Bytes, and read as bytes on every database."""

    def from_db_value(self, value: Any, _expression: Any, _connection: Any) -> bytes | None:
        """The bytes themselves, not a view of them."""
        return None if value is None else bytes(value)


class _Written(str):
    """JSON that is written already."""

    __slots__ = ()


class _Encoder(json.JSONEncoder):
    def encode(self, o: Any) -> str:
        return str(o) if isinstance(o, _Written) else json_text(o)


class _Decoder(json.JSONDecoder):
    def decode(self, s: str, _w: Any = None) -> Any:
        return json_value(s)


_DEPTH: Final = 28
"""MariaDB's JSON goes to 32."""
_DIGITS: Final = 1000
"""The digits and the exponent that every database's numbers have room for."""

_SUSPECT: Final = re.compile(rf"\\u(?:0000|d[89a-f])|\d{{{_DIGITS}}}|[eE][-+]?\d{{3}}")
"""What a JSON text has where a database may not hold it, and sometimes where it does."""


class _UnholdableError(Exception):
    pass


def _holdable_text(value: Any) -> str:
    """The JSON of a value, as every database can hold it."""
    with contextlib.suppress(TypeError):  # a sequence that is no list; or what cannot be held, which is said below
        text = json_text(value)
        if text.count("{") + text.count("[") <= _DEPTH and not _SUSPECT.search(text):
            return text
    return json_text(_holdable_json(value))


def _holdable_json(value: Any, depth: int = 0) -> Any:
    """A copy that every database can hold."""
    if isinstance(value, str):
        return holdable(str(value))
    if depth > _DEPTH:
        raise _UnholdableError("It is nested too deeply.")
    if isinstance(value, Mapping):
        return {holdable(str(name)): _holdable_json(item, depth + 1) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [_holdable_json(item, depth + 1) for item in value]
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        number = Decimal(value)
        exponent = number.as_tuple().exponent
        if not isinstance(exponent, int) or max(abs(number.adjusted()), abs(exponent)) > _DIGITS:
            raise _UnholdableError("A number in it is too long, or is none.")
    return value


class JsonField(_Json):
    """JSON of the package's own making, never None.

    MySQL keeps the numbers in JSON as floats; nothing here holds an amount but as text.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "encoder": _Encoder, "decoder": _Decoder})

    def deconstruct(self) -> Any:
        """For migrations."""
        return _without(super().deconstruct(), "encoder", "decoder")

    def get_db_prep_value(self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False) -> Any:
        """The JSON.

        Raises:
            InvalidField: JSON, or a database, cannot hold it.
        """
        if hasattr(value, "as_sql"):
            return super().get_db_prep_value(value, connection, prepared)
        try:
            text = _holdable_text(value)
        except (TypeError, RecursionError, _UnholdableError) as error:
            return self.unholdable(value, str(error))
        return super().get_db_prep_value(_Written(text), connection, prepared)

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        """The value that a JSON text stands for."""
        if not isinstance(value, str):
            return super().from_db_value(value, expression, connection)
        try:
            return json_value(value)
        except json.JSONDecodeError:
            return value

    def unholdable(self, value: Any, why: str) -> Any:
        """What is stored of a value that cannot be."""
        raise InvalidField(self.name, type(value), expected="what JSON can hold", remedy=why)


class BodyField(JsonField):
    """A body of M-PESA's, parsed; None where a database cannot hold it, because the bytes are kept besides."""

    def unholdable(self, value: Any, why: str) -> None:
        """Nothing."""
