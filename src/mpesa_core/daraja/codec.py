"""JSON in and out, and the only place that maps wire spelling to Python names.

Reading is lenient in form and strict in money: numbers arrive as text and text as numbers, and an amount never passes
through a float. A request or an answer is a frozen attrs class whose fields carry their wire name (:func:`wire`); one
cattrs converter turns it into the wire's dict (:func:`to_wire`) or reads it from there (:func:`from_wire`).
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar, cast

import attrs
import cattrs

from mpesa_core.values import in_cents

__all__ = [
    "dumps",
    "from_wire",
    "loads",
    "phone_of_party",
    "scan",
    "to_code",
    "to_decimal",
    "to_identifier",
    "to_phone",
    "to_receipt",
    "to_shillings",
    "to_text",
    "to_wire",
    "wire",
]

T = TypeVar("T")

_DEEPEST = 32
"""Daraja's deepest body has six levels; a deeper one is an attack, and would break whoever walks through it later."""

_LONGEST_NUMBER = 40
"""Characters of one number literal; the longest real one is a 14-digit time."""

_MOST_KEYS = 1000
"""Keys of one object; Daraja's widest has some twenty."""

_MOST_CONTAINERS = 10_000
"""Objects and lists of one body; a page of a hundred pulled transactions has 102."""

_BLANKS = " \t\n\r"  # JSON's own, fewer than Python's
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_MAY_HOLD_UNSTORABLE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


def loads(body: bytes) -> Any:
    """The JSON in a body: integers as int, other numbers as Decimal, everything else as the json module has it.

    UTF-8 with or without a byte order mark. NUL and lone surrogates, which neither a database nor an encoder takes,
    become U+FFFD. An object that has a key twice is refused: which of two amounts was meant is not ours to guess.

    Raises:
        ValueError: not UTF-8, not JSON, NaN or Infinity, nested deeper than 32 levels, a number literal longer than 40
            characters or beyond 1e±64, an object with a key twice or more than 1,000 keys, or more than 10,000 objects
            and lists. The text says which, and quotes nothing of the body.
    """
    try:
        text = body.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError:
        raise ValueError("the body is not UTF-8") from None
    if not text.strip():
        raise ValueError("the body is empty")
    containers = body.count(b"{") + body.count(b"[")
    if containers > _MOST_CONTAINERS:
        raise ValueError(f"the JSON has more than {_MOST_CONTAINERS} objects and lists")
    mend = b"\\u" in body and _MAY_HOLD_UNSTORABLE.search(body) is not None
    try:
        value, end = (_MENDING_DECODER if mend else _DECODER).raw_decode(text, len(text) - len(text.lstrip(_BLANKS)))
    except RecursionError:
        raise ValueError(f"the JSON is nested deeper than {_DEEPEST} levels") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    rest = text[end:].lstrip(_BLANKS)
    if rest:
        raise ValueError(f"the body is not JSON: Extra data at character {len(text) - len(rest)}")
    if containers <= _DEEPEST and not mend:
        return value  # too few to be too deep
    return _checked_depth(value, mend=mend)


def _integer(literal: str) -> int:
    if len(literal) > _LONGEST_NUMBER:
        raise ValueError(f"a number of {len(literal)} characters")
    return int(literal)


def _number(literal: str) -> Decimal:
    if len(literal) <= _LONGEST_NUMBER and "e" not in literal and "E" not in literal:
        return Decimal(literal)  # 40 digits and a point are in every range
    value = _decimal(literal)
    if value is None:
        raise ValueError("a number that is out of every range")
    return value


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs) <= _MOST_KEYS:
        return found
    raise ValueError(
        f"an object with more than {_MOST_KEYS} keys" if len(pairs) > _MOST_KEYS else "an object has a key twice"
    )


def _mended_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return _object([(_mend(key), value) for key, value in pairs])


def _decoder(make_object: Callable[[list[tuple[str, Any]]], dict[str, Any]] | None = None) -> json.JSONDecoder:
    return json.JSONDecoder(
        parse_int=_integer, parse_float=_number, parse_constant=_constant, object_pairs_hook=make_object
    )


_DECODER = _decoder(_object)  # made once: it takes as long as a small body
_MENDING_DECODER = _decoder(_mended_object)


scan: Callable[[str], tuple[Any, int]] = _decoder().raw_decode
"""The JSON that a text begins with, and where it ends.

Numbers are as of :func:`loads`; to look for repeated keys, depth and odd characters is left to the caller. It raises
ValueError for a number that :func:`loads` refuses and for what is no JSON, and RecursionError for what is far too deep.
"""


def _mend(text: str) -> str:
    return _UNSTORABLE.sub("\ufffd", text)


def _checked_depth(value: Any, *, mend: bool) -> Any:
    """The same value, or ValueError where it is too deep; without recursion, which a hostile depth would exhaust."""
    if mend and isinstance(value, str):
        return _mend(value)
    level: list[Any] = [value]
    for _ in range(_DEEPEST + 1):
        below: list[Any] = []
        for container in level:
            if isinstance(container, dict):
                if mend:
                    container.update({key: _mend(each) for key, each in container.items() if isinstance(each, str)})
                below += [each for each in container.values() if isinstance(each, (dict, list))]
            elif isinstance(container, list):
                if mend:
                    container[:] = [_mend(each) if isinstance(each, str) else each for each in container]
                below += [each for each in container if isinstance(each, (dict, list))]
        if not below:
            return value
        level = below
    raise ValueError(f"the JSON is nested deeper than {_DEEPEST} levels")


def dumps(value: Any) -> bytes:
    """Compact JSON in UTF-8; a Decimal is written as the number that it is (``1.00`` stays ``1.00``).

    Raises:
        TypeError: something that JSON has no form for, a float among them (money is never one).
    """
    return _encoded(value).encode()


_ENCODER = json.JSONEncoder()


def _encoded(value: Any) -> str:
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, (str, bool, int)):
        return _ENCODER.encode(value)
    if isinstance(value, Decimal) and value.is_finite():
        return format(value, "f")
    if isinstance(value, dict):
        return "{" + ",".join(f"{_ENCODER.encode(str(key))}:{_encoded(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_encoded, value)) + "]"
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


_DECIMAL = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_PLAIN_WHOLE = 10**18
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?", re.ASCII)


def _decimal(text: str) -> Decimal | None:
    if len(text) > _LONGEST_NUMBER or not _DECIMAL.fullmatch(text):
        return None
    value = Decimal(text)
    return value if -64 <= value.adjusted() <= 64 else None


def to_decimal(value: object) -> Decimal | None:
    """An amount as the wire has it (number or text, ``1,200.00`` among them), exactly; None where it is no number.

    A float is refused too: it would mean that the JSON was not read by :func:`loads`.
    """
    if isinstance(value, str):
        text = value.strip() if len(value) <= 2 * _LONGEST_NUMBER else ""
        return _decimal(text.replace(",", "") if "," in text and _GROUPED.fullmatch(text) else text)
    if isinstance(value, Decimal):
        return value if value.is_finite() and -64 <= value.adjusted() <= 64 else None
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    if -_PLAIN_WHOLE < value < _PLAIN_WHOLE:
        return Decimal(value)
    return _decimal(str(value)) if abs(value) < 10**_LONGEST_NUMBER else None


_CODE = re.compile(r"0|-?[1-9]\d{0,9}", re.ASCII)
_LONGEST_CODE = 64
_CODES_END = 2**31


def to_code(value: object) -> int | str | None:
    """A result code: an int where M-PESA's code is a number, however it was sent, else text; None where there is none.

    ======================================  =======================
    ``0``, ``"0"``, ``" 0 "``, ``0.0``      ``0``
    ``"1032"``, ``1032``, ``1032.00``       ``1032``
    ``"SFC_IC0003"``, ``"C2B00012"``        the text
    ``"00"``, ``"0.0"``, ``"01"``, ``0.5``  the text: never 0, so it counts as unknown
    beyond 32 bits                          the text: no column of a code holds it as a number
    ``true``, ``null``, ``""``, a list      ``None``: unknown
    ======================================  =======================
    """
    if type(value) is int and -_CODES_END <= value < _CODES_END:
        return value
    if isinstance(value, bool):
        return None
    if isinstance(value, Decimal):
        if _decimal(str(value)) is None:
            return None
        value = int(value) if value == value.to_integral_value() else format(value, "f")
    if not isinstance(value, (int, str)):
        return None
    text = str(value).strip() if isinstance(value, int) or len(value) <= 2 * _LONGEST_CODE else ""
    if not 0 < len(text) <= _LONGEST_CODE:
        return None
    return int(text) if _CODE.fullmatch(text) and -_CODES_END <= int(text) < _CODES_END else text


_LONGEST_TEXT = 1024


def to_text(value: object, *, longest: int = _LONGEST_TEXT) -> str | None:
    """Text as the wire has it, numbers as their digits, without blanks around it; None for nothing or no text.

    Args:
        value: from :func:`loads`.
        longest: longer text is none (M-PESA's longest, a description, has 1024 characters).
    """
    if isinstance(value, str):
        text = value.strip()
    elif isinstance(value, int) and not isinstance(value, bool):
        text = str(value)
    elif isinstance(value, Decimal):
        text = format(value, "f")
    else:
        return None
    return text if 0 < len(text) <= longest else None


_LONGEST_ID = 255


def to_identifier(value: object) -> str | None:
    """Text that a row is found by, in at most 255 characters; None for nothing or no text."""
    return to_text(value, longest=_LONGEST_ID)


_TOO_MUCH = Decimal(10) ** 10
_PLAIN_AMOUNT = re.compile(r"\d{1,10}\.\d\d", re.ASCII)


def to_shillings(value: object) -> Decimal | None:
    """An amount with two decimals; None where it has more, is no number, or is ten thousand million or more."""
    if isinstance(value, str) and _PLAIN_AMOUNT.fullmatch(value):
        return Decimal(value)
    amount = to_decimal(value)
    return in_cents(amount) if amount is not None and -_TOO_MUCH < amount < _TOO_MUCH else None


_RECEIPT = re.compile(r"[A-Za-z0-9_\-]{4,64}", re.ASCII)
_DUMMY_RECEIPT = re.compile(r"[A-Z0-9]{3}0{7}|0+", re.ASCII)


def to_receipt(value: object) -> str | None:
    """A receipt; "" for a dummy, which M-PESA sends where there is none; None for what cannot be a receipt."""
    text = to_text(value, longest=64)
    if text is None or not _RECEIPT.fullmatch(text):
        return None
    return "" if text[-1] == "0" and _DUMMY_RECEIPT.fullmatch(text) else text


_PLAIN_PHONE = re.compile(r"\+?(254[17]\d{8})", re.ASCII)


def to_phone(value: object) -> str | None:
    """A phone number as M-PESA sent it: ``2547…`` from number or text; a masked or hashed one stays as it is."""
    text = to_text(value, longest=255)
    plain = _PLAIN_PHONE.fullmatch(text) if text else None
    return plain[1] if plain else text


_PARTY_WITH_PHONE = re.compile(r"(254[17]\d{8}) - ", re.ASCII)


def phone_of_party(party: str | None) -> str | None:
    """The number in ``254700000012 - JANE DOE``, masked or not; None for an organisation's short code."""
    if plain := _PARTY_WITH_PHONE.match(party or ""):
        return plain[1]
    first = re.split(r"\s+[-\u2013]\s+", party or "", maxsplit=1)[0].strip()
    return to_phone(first) if re.fullmatch(r"\+?254[\d* ]{6,12}", first, re.ASCII) else None


def wire(*names: str, null: bool = False) -> dict[str, Any]:
    """The metadata of an attrs field that is sent or read: ``attrs.field(metadata=wire("Amount"))``.

    Args:
        names: the wire's spelling; further ones are read too, where Daraja spells the same thing in several ways.
        null: send None as ``null`` instead of leaving the key out.
    """
    return {"wire": names, "null": null}


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=False)
    converter.register_unstructure_hook(Decimal, _amount_out)
    converter.register_unstructure_hook_factory(attrs.has, lambda cls: _writer(cls, converter))
    converter.register_structure_hook_factory(attrs.has, lambda cls: _reader(cls, converter))
    converter.register_structure_hook(str, _text_in)
    converter.register_structure_hook(Decimal, _amount_in)
    return converter


def _amount_out(value: Decimal) -> int | Decimal:
    """Whole shillings go out as ``10`` and not as ``10.00``, which some calls refuse."""
    return int(value) if value == value.to_integral_value() else value


def _text_in(value: Any, _: Any) -> str:
    text = to_text(value)
    if text is None:
        raise ValueError("expected text")
    return text


def _amount_in(value: Any, _: Any) -> Decimal:
    amount = to_decimal(value)
    if amount is None:
        raise ValueError("expected an amount")
    return amount


def _writer(cls: type, converter: cattrs.Converter) -> Callable[[Any], dict[str, Any]]:
    fields = [(each.name, each.metadata["wire"][0], each.metadata["null"]) for each in _wired(cls)]

    def write(instance: Any) -> dict[str, Any]:
        values = ((key, getattr(instance, name), null) for name, key, null in fields)
        return {key: converter.unstructure(value) for key, value, null in values if null or value is not None}

    return write


def _reader(cls: type, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    attrs.resolve_types(cls)
    fields = [(each, each.metadata["wire"]) for each in _wired(cls)]

    def read(body: Any, _: Any) -> Any:
        if not isinstance(body, dict):
            raise ValueError("expected an object")  # noqa: TRY004 - it is the wire's value that is wrong
        arguments: dict[str, Any] = {}
        for field, names in fields:
            value = next((body[name] for name in names if body.get(name) not in (None, "")), None)
            if value is None and field.default is not attrs.NOTHING:
                continue
            try:
                arguments[field.name] = converter.structure(value, cast("type[Any]", field.type))
            except (ValueError, TypeError, ArithmeticError):
                came = "nothing" if value is None else type(value).__name__
                raise ValueError(f"{names[0]}: got {came}, expected {field.type}") from None
        return cls(**arguments)

    return read


def _wired(cls: type[Any]) -> list[attrs.Attribute[Any]]:
    return [each for each in attrs.fields(cls) if "wire" in each.metadata]


_CONVERTER = _make_converter()


def to_wire(request: Any) -> dict[str, Any]:
    """The wire's dict of a request: each field that has a wire name, in their order, without those that are None."""
    found: dict[str, Any] = _CONVERTER.unstructure(request)
    return found


def from_wire(cls: type[T], body: Mapping[str, Any]) -> T:
    """An answer from the wire's dict; keys that nobody documented are ignored.

    Raises:
        ValueError: a field without a default is missing, empty or of the wrong kind; the text names it.
    """
    return _CONVERTER.structure(body, cls)
