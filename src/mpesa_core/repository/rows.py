"""The fields of the two kinds of row, what each may hold, and the checks that the core's own stores make.

A value is checked for its type and never for what it means: nothing that came from M-PESA is refused for its width or
its characters. JSON columns keep fractions as :class:`~decimal.Decimal`, never as a float.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, auto
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import attrs

from mpesa_core.daraja.callbacks import CallbackType
from mpesa_core.errors import InvalidField
from mpesa_core.payments.invoices import InvoiceRow
from mpesa_core.payments.records import CallbackRow, Disposition, Key, Status, Transaction, TransactionType
from mpesa_core.payments.subscriptions import SubscriptionRow

__all__ = [
    "CALLBACK",
    "CALLBACK_CHANGES",
    "INVOICE",
    "MEMBERS",
    "SUBSCRIPTION",
    "TRANSACTION",
    "TRANSACTION_CHANGES",
    "Kind",
    "check_names",
    "member",
    "plain",
    "receipt_pair",
]


class Kind(Enum):
    """What a field holds."""

    IDENTIFIER = auto()
    """A UUID."""
    TEXT = auto()
    """Text of any length and any characters."""
    TIME = auto()
    """An aware datetime, kept in UTC to the microsecond."""
    DAY = auto()
    """A date, without a time."""
    MONEY = auto()
    """Shillings, a finite Decimal."""
    COUNT = auto()
    """A number of the core's own making."""
    CODE = auto()
    """A whole number that M-PESA made, of any size."""
    FLAG = auto()
    """True or False."""
    JSON = auto()
    """What JSON can hold; best effort for the bodies that came from M-PESA, exact for everything else."""
    BYTES = auto()
    """Exact bytes."""

    __hash__ = object.__hash__  # for each field of each row; Enum's own is written in Python


_SPECIAL: Final = {
    "id": Kind.IDENTIFIER,
    "parent_id": Kind.IDENTIFIER,
    "related_transaction_id": Kind.IDENTIFIER,
    "amount": Kind.MONEY,
    "result_code": Kind.CODE,
    "version": Kind.COUNT,
    "generation": Kind.COUNT,
    "checks": Kind.COUNT,
    "attempts": Kind.COUNT,
    "idempotency_locked": Kind.FLAG,
    "processed": Kind.FLAG,
    "raw_callback_payload": Kind.JSON,
    "raw_body": Kind.JSON,
    "conflicts": Kind.JSON,
    "reserved": Kind.JSON,
    "host": Kind.JSON,
    "headers": Kind.JSON,
    "raw_bytes": Kind.BYTES,
    "announce_until": Kind.TIME,
    "payments": Kind.JSON,
    "unacknowledged": Kind.JSON,
    "unannounced": Kind.JSON,
    "start_on": Kind.DAY,
    "end_on": Kind.DAY,
}


def _kind(name: str) -> Kind:
    return _SPECIAL.get(name) or (Kind.TIME if name.endswith("_at") else Kind.TEXT)


TRANSACTION: Final[Mapping[str, Kind]] = MappingProxyType({f.name: _kind(f.name) for f in attrs.fields(Transaction)})
"""Every field of a transaction, in the order of the class."""

CALLBACK: Final[Mapping[str, Kind]] = MappingProxyType({f.name: _kind(f.name) for f in attrs.fields(CallbackRow)})
"""Every field of a callback, in the order of the class."""

INVOICE: Final[Mapping[str, Kind]] = MappingProxyType({f.name: _kind(f.name) for f in attrs.fields(InvoiceRow)})
"""Every field of an invoice, in the order of the class."""

SUBSCRIPTION: Final[Mapping[str, Kind]] = MappingProxyType(
    {f.name: _kind(f.name) for f in attrs.fields(SubscriptionRow)}
)
"""Every field of a subscription, in the order of the class."""

TRANSACTION_CHANGES: Final = frozenset(TRANSACTION) - {"id", "version"}
"""What ``change`` may change."""

CALLBACK_CHANGES: Final = frozenset(
    {
        "next_attempt_at",
        "attempts",
        "processed",
        "disposition",
        "error",
        "related_transaction_id",
        "correlation_id",
        "resolved_at",
    }
)
"""What ``change_callback`` may change."""

_OPTIONAL: Final = frozenset(
    field.name
    for cls in (Transaction, CallbackRow, InvoiceRow, SubscriptionRow)
    for field in attrs.fields(cls)
    if field.default is None
)
MEMBERS: Final[Mapping[str, type[Enum]]] = {
    "status": Status,
    "transaction_type": TransactionType,
    "callback_type": CallbackType,
    "disposition": Disposition,
}
"""The fields whose texts stand for members of an enum."""


def check_names(changes: Iterable[str], allowed: frozenset[str]) -> None:
    """See that every name in the changes is one that may be changed.

    Raises:
        InvalidField: an unknown name, or one that never changes, with the nearest one that may.
    """
    for name in changes:
        if name not in allowed:
            near = difflib.get_close_matches(str(name), sorted(allowed), 1)
            raise InvalidField(
                "changes",
                name,
                expected=f"names out of {', '.join(sorted(allowed))}",
                remedy=f"Did you mean {near[0]!r}?" if near else "Take it out.",
            )


def receipt_pair(value: object) -> tuple[str, str]:
    """What :data:`~mpesa_core.payments.records.Key.RECEIPT` is found by.

    Raises:
        InvalidField: it is no pair of short code and receipt.
    """
    if not isinstance(value, tuple) or len(value) != 2:
        raise InvalidField(Key.RECEIPT, type(value), expected="the pair (short_code, receipt)")
    return value


def member(name: str, text: Any) -> Any:
    """The enum member that a stored text stands for; the text itself where a newer version of the SDK wrote it."""
    return MEMBERS[name]._value2member_map_.get(text, text) if name in MEMBERS else text


def plain(name: str, kind: Kind, value: Any) -> Any:
    """The value of a field as it is kept: times in UTC, amounts as Decimal, enum members for known texts.

    Raises:
        InvalidField: it has another type than the field; the text names the type and never the value.
    """
    if value is None and name in _OPTIONAL:
        return None
    try:
        return _PLAIN[kind](name, value)
    except _WrongError:
        raise InvalidField(
            name,
            type(value) if kind is not Kind.TIME else value,
            expected=_EXPECTED[kind] + (" or None" if name in _OPTIONAL else ""),
            remedy=_REMEDY.get(kind, ""),
        ) from None


class _WrongError(Exception):
    pass


def _of_type(*types: type) -> Callable[[str, Any], Any]:
    def check(_name: str, value: Any) -> Any:
        if isinstance(value, types):
            return value
        raise _WrongError

    return check


def _text(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return member(name, value)
    raise _WrongError


def _time(_name: str, value: Any) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise _WrongError
    return value if value.tzinfo is UTC else value.astimezone(UTC)


def _day(_name: str, value: Any) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise _WrongError


def _money(_name: str, value: Any) -> Decimal:
    if isinstance(value, Decimal) and value.is_finite():
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    raise _WrongError


def _number(_name: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _WrongError


def _json(name: str, value: Any) -> Any:
    if name in ("raw_body", "raw_callback_payload") or isinstance(value, Mapping):
        return value
    raise _WrongError


_PLAIN: Final[Mapping[Kind, Callable[[str, Any], Any]]] = {
    Kind.IDENTIFIER: _of_type(UUID),
    Kind.TEXT: _text,
    Kind.TIME: _time,
    Kind.DAY: _day,
    Kind.MONEY: _money,
    Kind.COUNT: _number,
    Kind.CODE: _number,
    Kind.FLAG: _of_type(bool),
    Kind.JSON: _json,
    Kind.BYTES: _of_type(bytes),
}
_EXPECTED: Final[Mapping[Kind, str]] = {
    Kind.IDENTIFIER: "a UUID",
    Kind.TEXT: "text",
    Kind.TIME: "an aware datetime",
    Kind.DAY: "a date",
    Kind.MONEY: "a finite Decimal",
    Kind.COUNT: "an int",
    Kind.CODE: "an int",
    Kind.FLAG: "True or False",
    Kind.JSON: "a mapping",
    Kind.BYTES: "bytes",
}
_REMEDY: Final[Mapping[Kind, str]] = {
    Kind.TIME: "Write datetime.now(UTC).",
    Kind.MONEY: "Write Decimal('10.50'): a float is not exact.",
}
