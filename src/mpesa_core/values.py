"""Phone numbers, amounts, references, callback URLs and time: what M-PESA accepts, and how it is written.

Everything here is a function from a value to a value; a value that M-PESA would refuse raises
:class:`~mpesa_core.errors.InvalidField`. Sources of the limits: the "M-PESA Express" and "Business to Customer" pages and
the FAQ of Safaricom's developer portal.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from urllib.parse import urlsplit

from mpesa_core.errors import InvalidField

__all__ = [
    "NAIROBI",
    "callback_url",
    "daraja_timestamp",
    "free_text",
    "from_nairobi",
    "mask_phone",
    "money",
    "phone_number",
    "redact",
    "reference",
    "short_code",
    "shillings",
    "to_nairobi",
]

NAIROBI = timezone(timedelta(hours=3), "EAT")
"""East Africa Time: UTC+3, without daylight saving."""

_PHONE_NOISE = re.compile(r"[\s\-().\u00a0\u2010-\u2015]+")
_MOBILE = re.compile(r"(?:\+?254|0)?([17]\d{8})\Z", re.ASCII)
_FORBIDDEN_URL_WORDS = ("mpesa", "m-pesa", "safaricom", "exec", "exe", "cmd", "sql", "query")


def phone_number(value: object, field: str = "phone_number") -> str:
    """A Kenyan mobile number as M-PESA writes it: ``2547XXXXXXXX`` or ``2541XXXXXXXX``.

    Accepts 07…, 01…, 7…, 1…, 254… and +254…, with spaces, dashes, dots and brackets, as text or as a whole number.

    Raises:
        InvalidField: anything else, landlines (020…, 04x…) and numbers of other countries among them.
    """
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    match = _MOBILE.match(_PHONE_NOISE.sub("", text))
    if match is None:
        raise InvalidField(
            field,
            mask_phone(value),
            expected="a Kenyan mobile number such as 0712345678, 0112345678 or +254712345678",
            remedy="Landlines and numbers of other countries cannot use M-PESA.",
        )
    return "254" + match[1]


def mask_phone(value: object) -> str:
    """A phone number fit for a log line or an error text: ``2547…678``; at most the first four and last three digits."""
    text = str(value)
    return f"{text[:4]}…{text[-3:]}" if len(text) > 8 else "…" if len(text) > 3 else text


_LONG_NUMBERS = re.compile(r"(?<!\d)(?:\+?254|0)[17]\d{8}(?!\d)")


def redact(text: str) -> str:
    """The text with every Kenyan phone number in it masked, also one at the end of a CheckoutRequestID."""
    masked = _LONG_NUMBERS.sub(lambda found: mask_phone(found[0]), text)
    return re.sub(r"(ws_CO_\d{8})(\d+)(\d{3})\b", r"\1…\3", masked)


def money(value: object, field: str = "amount") -> Decimal:
    """An exact amount in shillings with at most two decimals, greater than zero and below ten thousand million.

    Raises:
        InvalidField: a float (it is not exact), text that is no number, zero, a negative or an oversized amount.
    """
    expected = "a positive amount in shillings with at most two decimals, as int, Decimal or text"
    if isinstance(value, bool) or not isinstance(value, (int, str, Decimal)):
        remedy = f"Write Decimal({str(value)!r}): a float is not exact." if isinstance(value, float) else ""
        raise InvalidField(field, value, expected=expected, remedy=remedy)
    try:
        amount = Decimal(value.strip().replace(",", "") if isinstance(value, str) else value)
    except InvalidOperation:
        raise InvalidField(field, value, expected=expected) from None
    if not amount.is_finite() or not 0 < amount < 10_000_000_000 or amount != round(amount, 2):
        raise InvalidField(field, value, expected=expected)
    return amount.quantize(Decimal("0.01"))


def shillings(value: object, field: str = "amount", *, minimum: int = 1, maximum: int | None = None) -> Decimal:
    """A whole number of shillings, as M-PESA wants it where it refuses cents.

    Args:
        value: int, Decimal or text; ``10.00`` is whole, ``10.50`` is not.
        field: the name to use in an error.
        minimum: in shillings; 1 for an STK push, 10 for a payout.
        maximum: in shillings; None for no limit of ours (Safaricom's was 250,000 a transaction in 2025).

    Raises:
        InvalidField: not whole, or out of range.
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
    text = str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
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

    Raises:
        InvalidField: too short, too long, or with a character that breaks some of Daraja's calls (``@ # &`` and others).
    """
    text = value.strip() if isinstance(value, str) else str(value) if isinstance(value, int) else ""
    if not shortest <= len(text) <= longest:
        raise InvalidField(field, value, expected=f"{shortest} to {longest} characters", remedy="Shorten or fill it.")
    if not re.fullmatch(r"[A-Za-z0-9 ./\-]*", text):
        raise InvalidField(
            field,
            value,
            expected="letters A-Z, digits, spaces and - . /",
            remedy="Daraja refuses or garbles other characters.",
        )
    return text


def callback_url(value: object, field: str = "callback_url", *, production: bool = False) -> str:
    """A URL that Daraja will accept for callbacks.

    Args:
        value: an absolute http or https URL.
        field: the name to use in an error.
        production: there only https is accepted.

    Raises:
        InvalidField: not absolute, with a space, with a user or a fragment, not https in production, or with a word that
            Daraja's firewall refuses (mpesa, safaricom, exe, exec, cmd, sql, query, in any case).
    """
    text = value if isinstance(value, str) else ""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\s\x00-\x1f\\]", text) or "@" in parts.netloc:
        raise InvalidField(field, value, expected="an absolute URL such as https://shop.example/pay/")
    if parts.fragment:
        raise InvalidField(field, value, expected="a URL without a fragment (#…)")
    if production and parts.scheme != "https":
        raise InvalidField(field, value, expected="https in production")
    for word in _FORBIDDEN_URL_WORDS:
        if word in text.lower():
            raise InvalidField(
                field,
                value,
                expected=f"a URL without the word {word!r}",
                remedy="Daraja refuses such a callback URL; choose a neutral path such as /pay/.",
            )
    return text


def daraja_timestamp(moment: datetime) -> str:
    """``YYYYMMDDHHmmss`` in Nairobi time, as the STK password wants it."""
    return to_nairobi(moment).strftime("%Y%m%d%H%M%S")


def to_nairobi(moment: datetime) -> datetime:
    """The same moment in Nairobi's time zone.

    Raises:
        ValueError: a naive datetime.
    """
    if moment.tzinfo is None:
        raise ValueError("expected an aware datetime, got a naive one; write datetime.now(UTC)")
    return moment.astimezone(NAIROBI)


_TIME_FORMATS = ("%Y%m%d%H%M%S", "%d.%m.%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S.%f")


def from_nairobi(value: object) -> datetime | None:
    """A time as M-PESA writes it, as an aware datetime in UTC; None where it cannot be read.

    Reads ``20191219102115`` (text or number), ``06.07.2024 22:48:52``, ``2021-09-15 00:00:00.00`` and
    ``2020-08-05T10:13:00Z`` (M-PESA's Z is local time all the same).
    """
    text = str(value).strip() if isinstance(value, (str, int, Decimal)) and not isinstance(value, bool) else ""
    if len(text) > 30:
        return None
    for form in _TIME_FORMATS:
        try:
            return datetime.strptime(text, form).replace(tzinfo=NAIROBI).astimezone(UTC)
        except (ValueError, OverflowError):
            continue
    return None
