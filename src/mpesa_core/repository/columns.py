"""How the fields of a row are kept in the columns of an SQLite table; :mod:`~mpesa_core.repository.sqlite` says how."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Context, Decimal
from json.encoder import encode_basestring_ascii
from typing import Any, Final
from uuid import UUID

from mpesa_core.errors import InvalidField
from mpesa_core.repository.rows import Kind, member, plain
from mpesa_core.values import EXACT

__all__ = ["json_text", "json_value", "money_in", "read_fields", "stored", "text_in", "text_out", "time_text"]

# From a field to its column


def stored(values: Mapping[str, Any], kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """The values of fields as their columns hold them.

    Raises:
        InvalidField: one is of a wrong type.
    """
    columns = {}
    for name, value in values.items():
        kept = plain(name, kinds[name], value)
        columns[name] = (
            None if kept is None else _json_in(name, kept) if kinds[name] is Kind.JSON else _IN[kinds[name]](kept)
        )
    return columns


def text_in(value: Any) -> str | bytes:
    """A text as its column holds it."""
    text = str(value)
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


def json_text(value: Any) -> str:
    """The JSON of a value, in ASCII; a Decimal as a number that :func:`json_value` reads back as one.

    Raises:
        TypeError: JSON cannot hold it.
        RecursionError: it is nested too deeply.
    """
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError):  # a Decimal, a mapping that is no dict, a number of thousands of digits
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
    elif isinstance(value, Decimal) and value.is_finite():
        text = str(value)
        parts.append(text if "." in text or "E" in text else text + "E0")  # so that it is read back as a Decimal
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
        raise TypeError(f"Found {type(value).__name__}; write text, a number, True, False, None, a list or a mapping.")


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
    return _DECODER.decode(text) if text != "{}" else {}


# Made once: that takes as long as reading a small text.
_DECODER: Final = json.JSONDecoder(parse_float=Decimal, parse_int=_number)


_OUT: Final[Mapping[Kind, Callable[[Any], Any]]] = {
    Kind.IDENTIFIER: UUID,
    Kind.TEXT: text_out,
    Kind.TIME: datetime.fromisoformat,
    Kind.DAY: date.fromisoformat,
    Kind.MONEY: _money_out,
    Kind.COUNT: int,
    Kind.CODE: _code_out,
    Kind.FLAG: bool,
    Kind.JSON: json_value,
    Kind.BYTES: bytes,
}


def read_fields(row: tuple[Any, ...], kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """The fields of a row, from its columns in the order of the kinds."""
    return {
        name: None if value is None else member(name, _OUT[kind](value))
        for (name, kind), value in zip(kinds.items(), row, strict=True)
    }
