"""How the fields of a row are kept in the columns of an SQLite table; :mod:`~mpesa_core.repository.sqlite` says how."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Context, Decimal
from json.encoder import encode_basestring_ascii
from operator import add, itemgetter
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from mpesa_core.errors import InvalidField
from mpesa_core.repository.rows import MEMBERS, Kind, plain
from mpesa_core.values import EXACT

__all__ = ["Columns", "json_text", "json_value", "money_in", "text_in", "text_out", "time_text"]

_R = TypeVar("_R")


# From a field to its column


def text_in(value: Any) -> str | bytes:
    """A text as its column holds it."""
    text = str(value)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which an SQLite text cannot hold
        return text.encode("utf-8", "surrogatepass")
    return text


def _time_in(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


def time_text(name: str, moment: datetime) -> str:
    """A time as its column holds it, once it is known to be one."""
    return _time_in(plain(name, Kind.TIME, moment))


def money_in(amount: Decimal) -> int | str:
    """Whole cents where they are exact, else a text that is the same for equal amounts."""
    _, digits, exponent = amount.as_tuple()
    if not amount:
        return 0
    if len(digits) <= 40 and int(exponent) >= -40 and amount.adjusted() <= 14:
        cents = amount.scaleb(2, EXACT)
        if cents == cents.to_integral_value():
            return int(cents)
    return str(amount.normalize(Context(prec=len(digits))))


def _code_in(code: int) -> int | str:
    return code if -(2**63) <= code < 2**63 else _digits(code)


_IN: Final[Mapping[Kind, Callable[[Any], Any]]] = {
    Kind.IDENTIFIER: str,
    Kind.TEXT: text_in,
    Kind.TIME: _time_in,
    Kind.DAY: date.isoformat,
    Kind.MONEY: money_in,
    Kind.COUNT: int,
    Kind.CODE: _code_in,
    Kind.FLAG: int,
    Kind.BYTES: bytes,
}


_VERY: Final[Mapping[Kind, type]] = {
    Kind.IDENTIFIER: UUID,
    Kind.TEXT: str,
    Kind.COUNT: int,
    Kind.CODE: int,
    Kind.FLAG: bool,
    Kind.BYTES: bytes,
}
"""A value of this very type is right as it is; every other one is looked at more closely."""


def json_text(value: Any) -> str:
    """The JSON of a value, in ASCII; a Decimal as a number that :func:`json_value` reads back as one.

    Raises:
        TypeError: JSON cannot hold it.
        RecursionError: it is nested too deeply.
    """
    if type(value) is dict and not value:
        return "{}"
    numbers: list[str] = []

    def set_aside(found: Any) -> str:
        numbers.append(_decimal_text(found))
        return "\0"

    try:
        text = json.JSONEncoder(
            allow_nan=False,
            check_circular=False,  # a value that holds itself is nested too deeply
            separators=(",", ":"),
            default=set_aside,
        ).encode(value)
    except (TypeError, ValueError):  # a mapping that is no dict, a number of thousands of digits
        return _written(value)
    if not numbers:
        return text
    pieces = text.split('"\\u0000"')  # where each number belongs
    if len(pieces) != len(numbers) + 1:  # a text of the value looks like one of those places
        return _written(value)
    return pieces[0] + "".join(map(add, numbers, pieces[1:]))


def _decimal_text(value: Any) -> str:
    if not isinstance(value, Decimal) or not value.is_finite():
        raise TypeError(f"Found {type(value).__name__}; write text, a number, True, False, None, a list or a mapping.")
    text = str(value)
    return text if "." in text or "E" in text else text + "E0"  # so that it is read back as a Decimal


def _written(value: Any) -> str:
    parts: list[str] = []
    _write_json(value, parts)
    return "".join(parts)


def _json_in(name: str, value: Any) -> str | None:
    try:
        return json_text(value)
    except (TypeError, RecursionError) as error:
        if name in ("raw_body", "raw_callback_payload"):  # best effort: the bytes hold all of it
            return None
        raise InvalidField(name, type(value), expected="what JSON can hold", remedy=str(error)) from None


def _write_json(value: Any, parts: list[str]) -> None:
    if isinstance(value, str):
        parts.append(encode_basestring_ascii(value))
    elif value is None or isinstance(value, bool):
        parts.append("null" if value is None else "true" if value else "false")
    elif isinstance(value, int):
        parts.append(_digits(value))
    elif isinstance(value, float) and math.isfinite(value):
        parts.append(repr(value))
    elif isinstance(value, Mapping):
        for index, (name, item) in enumerate(value.items()):
            parts += ("," if index else "{", encode_basestring_ascii(str(name)), ":")
            _write_json(item, parts)
        parts.append("}" if value else "{}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            parts.append("," if index else "[")
            _write_json(item, parts)
        parts.append("]" if value else "[]")
    else:
        parts.append(_decimal_text(value))


def _digits(number: int) -> str:
    try:
        return str(number)
    except ValueError:  # more digits than Python writes by itself; a Decimal has no such limit
        return str(Decimal(number))


# From a column to its field


def text_out(value: Any) -> str:
    """The text that a column holds."""
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value


def _money_out(value: int | str) -> Decimal:
    return EXACT.scaleb(Decimal(value), -2) if isinstance(value, int) else Decimal(value)


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return int(Decimal(text))


def _code_out(value: int | str) -> int:
    return value if isinstance(value, int) else _number(value)


def json_value(text: str) -> Any:
    """The value of a JSON text, its fractions as Decimal."""
    if text == "{}":
        return {}
    try:
        return _DECODER.decode(text)
    except ValueError:  # a number of more digits than Python reads by itself
        return _LONG_DECODER.decode(text)


# Made once: that takes as long as reading a small text.
_DECODER: Final = json.JSONDecoder(parse_float=Decimal)
_LONG_DECODER: Final = json.JSONDecoder(parse_float=Decimal, parse_int=_number)


class _Members(dict[Any, Any]):
    """The enum members that stored texts stand for; the text itself where a newer version of the SDK wrote it."""

    def __missing__(self, text: Any) -> Any:
        return text_out(text)


def _members(name: str) -> Callable[[Any], Any]:
    return _Members(MEMBERS[name]._value2member_map_).__getitem__


_OUT: Final[Mapping[Kind, Callable[[Any], Any]]] = {
    Kind.IDENTIFIER: UUID,
    Kind.TIME: datetime.fromisoformat,
    Kind.DAY: date.fromisoformat,
    Kind.MONEY: _money_out,
    Kind.CODE: _code_out,
    Kind.FLAG: bool,
    Kind.JSON: json_value,
}
"""What SQLite does not return as the field has it; a text see :class:`Columns`."""


# Both, for the columns of a table


class Columns(Generic[_R]):
    """The columns of one table: how they are written and read, worked out once for all rows.

    Args:
        make: the row's class, whose fields are kept in a dictionary.
        kinds: its fields, in the order of the columns that are read.
    """

    def __init__(self, make: type[_R], kinds: Mapping[str, Kind]) -> None:
        self._make = make
        self._kinds = kinds
        self._names = tuple(kinds)
        self._very = {name: (_VERY.get(kind), _IN.get(kind)) for name, kind in kinds.items()}
        self._read = [
            (index, _members(name) if name in MEMBERS else _OUT[kind])
            for index, (name, kind) in enumerate(kinds.items())
            if name in MEMBERS or kind in _OUT
        ]
        self._texts = [
            index for index, (name, kind) in enumerate(kinds.items()) if kind is Kind.TEXT and name not in MEMBERS
        ]
        self._text = itemgetter(*self._texts)

    def stored(self, values: Mapping[str, Any]) -> list[Any]:
        """The values of fields as their columns hold them, in the same order.

        Raises:
            InvalidField: one is of a wrong type.
        """
        columns = []
        for name, value in values.items():
            very, into = self._very[name]
            if type(value) is very and into is not None:
                columns.append(into(value))
            else:
                kind = self._kinds[name]
                kept = plain(name, kind, value)
                columns.append(None if kept is None else _json_in(name, kept) if kind is Kind.JSON else _IN[kind](kept))
        return columns

    def row(self, columns: tuple[Any, ...]) -> _R:
        """A row, from its columns in the order of the kinds."""
        values = list(columns)
        for index, out in self._read:
            value = values[index]
            if value is not None:
                values[index] = out(value)
        if bytes in map(type, self._text(columns)):
            for index in self._texts:
                values[index] = text_out(values[index])
        # As its __init__ does, which takes three times as long for some forty fields.
        made = object.__new__(self._make)
        made.__dict__.update(zip(self._names, values, strict=True))
        return made
