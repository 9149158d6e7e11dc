"""Amounts, phone numbers and days as some products want them: as text, and not always in the form of the others."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from mpesa_core.errors import InvalidField
from mpesa_core.values import to_nairobi

__all__ = ["amount_text", "day", "line_of_text", "local_phone"]


def amount_text(amount: Decimal) -> str:
    """An amount in shillings as text, without separators; whole ones without decimals: ``2000``, ``99.50``."""
    return str(int(amount)) if amount == amount.to_integral_value() else f"{amount:.2f}"


def local_phone(phone_number: str) -> str:
    """``2547XXXXXXXX`` in the local form, ``07XXXXXXXX``."""
    return "0" + phone_number.removeprefix("254")


def day(value: object, field: str) -> date:
    """A day in Nairobi; of an aware datetime, the day that it is there.

    Raises:
        InvalidField: no date, or a datetime without a time zone.
    """
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidField(field, value, expected="a date, or a datetime with a time zone")
        return to_nairobi(value).date()
    if not isinstance(value, date):
        raise InvalidField(field, value, expected="a date such as date(2026, 3, 1)")
    return value


def line_of_text(value: object, field: str, *, longest: int) -> str:
    """One line of printable text, 1 to ``longest`` characters, for products that do not limit the characters.

    Raises:
        InvalidField: empty, too long, no text, or with a line break or another control character.
    """
    text = value if isinstance(value, str) else ""
    if not text.strip() or len(text) > longest or not text.isprintable():
        raise InvalidField(field, value, expected=f"one line of 1 to {longest} printable characters")
    return text
