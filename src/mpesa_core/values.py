"""Phone numbers, amounts, references, callback URLs and time: what M-PESA accepts, and how it is written.

Everything here is a function from a value to a value; a value that M-PESA would refuse raises
:class:`~mpesa_core.errors.InvalidField`. Sources of the limits: the "M-PESA Express" and "Business to Customer" pages
and the FAQ of Safaricom's developer portal.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from decimal import Context, Decimal
from typing import Final
from urllib.parse import unquote, urlsplit
from uuid import UUID

from mpesa_core.errors import InvalidField
from mpesa_core.redaction import mask_phone, redact

__all__ = [
    "EXACT",
    "NAIROBI",
    "callback_url",
    "daraja_timestamp",
    "flag",
    "free_text",
    "from_nairobi",
    "in_cents",
    "mask_phone",
    "money",
    "phone_number",
    "redact",
    "reference",
    "row_id",
    "shillings",
    "short_code",
    "to_nairobi",
    "total",
]

_AHEAD: Final = timedelta(hours=3)
NAIROBI = timezone(_AHEAD, "EAT")
"""East Africa Time: UTC+3, without daylight saving."""

EXACT: Final = Context(prec=80)
"""What amounts are computed in: the context of the caller may round at six digits."""
_CENT: Final = Decimal("0.01")
_LONGEST_TEXT = 64
_LARGEST: Final = 10**_LONGEST_TEXT

# Spaces, dashes, dots, brackets, and the invisible direction marks that come along when a number is copied.
_PHONE_NOISE = re.compile(r"[\s\-().\u2010-\u2015\u2212\u200b-\u200f\u202a-\u202c\u2060\u2066-\u2069\ufeff]+")
_MOBILE = re.compile(r"(?:\+?254|0)?([17][0-9]{8})")
_AMOUNT = re.compile(r"(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.[0-9]+)?")
_FORBIDDEN_URL_WORDS = ("mpesa", "m-pesa", "m_pesa", "safaricom", "exec", "exe", "cmd", "sql", "query")


def phone_number(value: object, field: str = "phone_number") -> str:
    """A Kenyan mobile number as M-PESA writes it: ``2547XXXXXXXX`` or ``2541XXXXXXXX``.

    Accepts 07…, 01…, 7…, 1…, 254… and +254…, with spaces, dashes, dots and brackets, as text or as a whole number.

    Raises:
        InvalidField: anything else, landlines (020…, 04x…), numbers of other countries and digits of other alphabets
            among them.
    """
    match = _MOBILE.fullmatch(_PHONE_NOISE.sub("", _text(value)))
    if match is None or (isinstance(value, int) and value < 0):
        raise InvalidField(
            field,
            mask_phone(value),
            expected="a Kenyan mobile number such as 0712345678, 0112345678 or +254712345678",
            remedy="Landlines and numbers of other countries cannot use M-PESA.",
        )
    return "254" + match[1]


def money(value: object, field: str = "amount") -> Decimal:
    """An exact amount in shillings with two decimals, greater than zero and below ten thousand million.

    A comma is read as a separator of thousands, only where it stands as one: ``1,200.50`` is read, ``12,50`` is not.

    Raises:
        InvalidField: a float (it is not exact), text that is no plain number, more than two decimals, zero, a negative
            or an oversized amount.
    """
    expected = "a positive amount in shillings with at most two decimals, as int, Decimal or text"
    if isinstance(value, float):
        raise InvalidField(
            field, value, expected=expected, remedy=f"Write Decimal({str(value)!r}): a float is not exact."
        )
    if isinstance(value, Decimal):
        amount = value
    else:
        text = _text(value)
        if not _AMOUNT.fullmatch(text):
            remedy = "Write cents after a point, not after a comma." if re.fullmatch(r"[0-9]+,[0-9]+", text) else ""
            raise InvalidField(field, value, expected=expected, remedy=remedy)
        amount = Decimal(text.replace(",", ""))
    if not amount.is_finite() or not 0 < amount < 10_000_000_000:
        raise InvalidField(field, value, expected=expected)
    exact = in_cents(amount)
    if exact is None:
        raise InvalidField(field, value, expected=expected)
    return exact


def in_cents(amount: Decimal) -> Decimal | None:
    """The amount with two decimals, below ten million million; None where that would round it."""
    if not amount.is_finite() or amount.adjusted() > 12:
        return None
    if amount.same_quantum(_CENT):
        return amount
    exact = amount.quantize(_CENT, context=EXACT)
    return exact if exact == amount else None


def total(amounts: Iterable[Decimal]) -> Decimal:
    """The sum, exactly."""
    result = Decimal(0)
    for amount in amounts:
        result = EXACT.add(result, amount)
    return result


def shillings(value: object, field: str = "amount", *, minimum: int = 1, maximum: int | None = None) -> Decimal:
    """A whole number of shillings, as M-PESA wants it where it refuses cents.

    Args:
        value: int, Decimal or text; ``10.00`` is whole, ``10.50`` is not.
        field: the name to use in an error.
        minimum: in shillings; 1 for an STK push, 10 for a payout.
        maximum: in shillings; None for no limit of ours (Safaricom's was 250,000 a transaction in 2025).

    Raises:
        InvalidField: not whole, or out of range; see also :func:`money`.
    """
    amount = money(value, field)
    if amount != amount.to_integral_value():
        raise InvalidField(field, value, expected="whole shillings", remedy="M-PESA does not take cents here.")
    if amount < minimum:
        raise InvalidField(field, value, expected=f"at least {minimum} shillings")
    if maximum is not None and amount > maximum:
        raise InvalidField(field, value, expected=f"at most {maximum} shillings")
    return amount


def short_code(value: object, field: str = "short_code") -> str:
    """A paybill, till or store number: 5 to 7 digits.

    Raises:
        InvalidField: anything else.
    """
    text = _text(value)
    if not re.fullmatch(r"[0-9]{5,7}", text):
        raise InvalidField(field, value, expected="a short code of 5 to 7 digits")
    return text


def reference(value: object, field: str = "account_reference", *, longest: int = 12) -> str:
    """An account reference that we send: 1 to ``longest`` letters, digits, spaces and ``- . /``.

    Raises:
        InvalidField: empty, too long, or with a character that breaks some of Daraja's calls.
    """
    return free_text(value, field, shortest=1, longest=longest)


def free_text(value: object, field: str, *, shortest: int = 1, longest: int) -> str:
    """Text that we send: ``shortest`` to ``longest`` characters, of letters, digits, spaces and ``- . /``.

    Spaces around it are taken off. A whole number is written out; None is empty text.

    Raises:
        InvalidField: no text, too short, too long, or with a character that breaks some of Daraja's calls (``@ # &``
            and others).
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, type(None))):
        raise InvalidField(field, value, expected="text", remedy="Convert it to text yourself.")
    text = value.strip() if isinstance(value, str) else _text(value)
    if not shortest <= len(text) <= longest or (isinstance(value, int) and not text):
        remedy = "Shorten it." if len(text) > longest else "Lengthen it." if text else "Give one."
        raise InvalidField(field, value, expected=f"{shortest} to {longest} characters", remedy=remedy)
    if not re.fullmatch(r"[A-Za-z0-9 ./\-]*", text):
        raise InvalidField(
            field,
            value,
            expected="letters A-Z, digits, spaces and - . /",
            remedy="Daraja refuses or garbles other characters.",
        )
    return text


def flag(value: object, field: str) -> bool:
    """True or False, and nothing that only counts as one: ``"no"`` would count as True.

    Raises:
        InvalidField: anything else.
    """
    if not isinstance(value, bool):
        raise InvalidField(field, value, expected="True or False")
    return value


def row_id(value: object, field: str) -> UUID:
    """The id of a row that was named in any way: by the row itself, by its id, or by its id as text.

    Raises:
        InvalidField: anything else.
    """
    named = value if isinstance(value, (str, UUID)) else getattr(value, "id", None)
    if isinstance(named, UUID):
        return named
    try:
        return UUID(named)
    except (ValueError, TypeError, AttributeError):
        raise InvalidField(field, value, expected=f"a row of the {field}, its id, or its id as text") from None


def callback_url(value: object, field: str = "callback_url", *, production: bool = False) -> str:
    """A URL that Daraja will accept for callbacks.

    Args:
        value: an absolute http or https URL.
        field: the name to use in an error.
        production: there only https is accepted, and no address of this machine or of a private network.

    Raises:
        InvalidField: not absolute, with a space or a character beyond ASCII, with a user or a fragment, not https or
            not reachable from outside in production, or with a word that Daraja's firewall refuses (mpesa, safaricom,
            exe, exec, cmd, sql, query, in any case, percent-encoded or not).
    """
    text = value if isinstance(value, str) else ""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if "@" in parts.netloc:
        shown = text.replace(parts.netloc, "…@" + parts.netloc.rpartition("@")[2], 1)
        raise InvalidField(field, shown, expected="a URL without a user and password")
    if parts.scheme not in {"http", "https"} or not host or not re.fullmatch(r"[!-\[\]-~]+", text):
        raise InvalidField(field, value, expected="an absolute URL in plain ASCII such as https://shop.example/pay/")
    if parts.fragment:
        raise InvalidField(field, value, expected="a URL without a fragment (#…)")
    if production and parts.scheme != "https":
        raise InvalidField(field, value, expected="https in production")
    if production and _is_local(host):
        raise InvalidField(field, value, expected="a host that M-PESA can reach from outside")
    spelt = {text.lower(), unquote(text).lower()}
    for word in _FORBIDDEN_URL_WORDS:
        if any(word in spelling for spelling in spelt):
            raise InvalidField(
                field,
                value,
                expected=f"a URL without the word {word!r}",
                remedy="Daraja refuses such a callback URL; choose a neutral path such as /pay/.",
            )
    return text


def _is_local(host: str) -> bool:
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False


def _text(value: object) -> str:
    """Text without the spaces around it, and a whole number as text; "" for everything else."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST:
        return str(value)
    return ""


def daraja_timestamp(moment: datetime) -> str:
    """``YYYYMMDDHHmmss`` in Nairobi time, as the STK password wants it.

    Raises:
        ValueError: a naive datetime.
    """
    return to_nairobi(moment).strftime("%Y%m%d%H%M%S")


def to_nairobi(moment: datetime) -> datetime:
    """The same moment in Nairobi's time zone.

    Raises:
        ValueError: a naive datetime.
    """
    if moment.utcoffset() is None:
        raise ValueError("expected an aware datetime, got a naive one; write datetime.now(UTC)")
    return moment.astimezone(NAIROBI)


_CLOCK = r"(?:[01]\d|2[0-3]):\d\d:\d\d"
_DAY_FIRST = re.compile(rf"(\d\d)\.(\d\d)\.(\d{{4}}) ({_CLOCK})", re.ASCII)
_YEAR_FIRST = re.compile(rf"(\d{{4}}-\d\d-\d\d)[ T]({_CLOCK}(?:\.\d{{1,9}})?)(?:Z|\+03:?00)?", re.ASCII)
_DIGITS_ONLY = re.compile(r"(\d{8})((?:[01]\d|2[0-3])\d{4})", re.ASCII)


def from_nairobi(value: object) -> datetime | None:
    """A time as M-PESA writes it, as an aware datetime in UTC; None where it cannot be read.

    Reads ``20191219102115`` (text or number), ``06.07.2024 22:48:52``, ``2021-09-15 00:00:00.00`` and
    ``2020-08-05T10:13:00Z`` (M-PESA's Z is local time all the same), and nothing that lacks a digit of these: a shorter
    form could mean more than one time.
    """
    if value is None:
        return None
    if isinstance(value, Decimal) and _is_whole(value):
        value = int(value)
    text = _text(value)
    if found := _DIGITS_ONLY.fullmatch(text):
        date, clock = found.groups()
    elif found := _DAY_FIRST.fullmatch(text):
        day, month, year, clock = found.groups()
        date = f"{year}-{month}-{day}"
    elif found := _YEAR_FIRST.fullmatch(text):
        date, clock = found.groups()
    else:
        return None
    try:
        # Read as if it were UTC, and moved: several times as fast as a conversion from one zone to another.
        return datetime.fromisoformat(f"{date}T{clock}Z") - _AHEAD
    except (ValueError, OverflowError):
        return None


def _is_whole(value: Decimal) -> bool:
    return value.is_finite() and abs(value.adjusted()) < _LONGEST_TEXT and value == value.to_integral_value()
