"""What Daraja checks in a request before it accepts it, with its own error for each.

Sources: the field tables of Safaricom's portal pages, and the errors that captured traffic and issue threads show.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import parse_qs

from mpesa_core.daraja.operation import HttpRequest
from mpesa_core.errors import InvalidField
from mpesa_core.values import callback_url, free_text, phone_number

__all__ = [
    "SHORT_CODE",
    "Refused",
    "amount",
    "basic_credentials",
    "bearer_token",
    "body",
    "grant_type",
    "header",
    "invalid",
    "matching",
    "one_of",
    "phone",
    "text",
    "timestamp",
    "url",
    "words",
]


SHORT_CODE: Final = r"\d{5,7}"
"""A paybill, till or store number."""


class Refused(Exception):  # noqa: N818 - it names a state
    """Daraja refuses the request at once, and nothing was done.

    Attributes:
        status: the HTTP status.
        code: Daraja's error code.
        message: its words.
        body: what is answered instead of the usual error envelope, or None.
    """

    def __init__(self, status: int, code: str, message: str, *, body: Mapping[str, Any] | None = None) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.body = body
        super().__init__(f"HTTP {status} {code} {message}")


def invalid(field: str) -> Refused:
    """The usual refusal of a field."""
    return Refused(400, "400.002.02", f"Bad Request - Invalid {field}")


def header(request: HttpRequest, name: str) -> str | None:
    """A header of the request, whatever its case."""
    return next((value for key, value in request.headers.items() if key.lower() == name), None)


def body(request: HttpRequest, *, listed: bool = False) -> Mapping[str, Any]:
    """The JSON object in a request; {} where the content type is not JSON, so that the first field is what is missing.

    ``listed`` is for the calls that take a list of objects: it then stands under ``items``.

    Raises:
        Refused: no JSON object, or no list of them.
    """
    if "json" not in (header(request, "content-type") or ""):
        return {}
    try:
        parsed = json.loads(request.body, parse_float=Decimal)
    except (ValueError, RecursionError):
        parsed = None
    if listed and isinstance(parsed, list) and all(isinstance(each, dict) for each in parsed):
        return {"items": parsed}
    if listed or not isinstance(parsed, dict):
        raise Refused(400, "400.002.05", "Invalid Request Payload")
    return parsed


def bearer_token(request: HttpRequest) -> str:
    """The access token.

    Raises:
        Refused: there is no such header.
    """
    scheme, _, token = (header(request, "authorization") or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Refused(404, "404.001.04", "Invalid Authentication Header")
    return token


def basic_credentials(request: HttpRequest) -> tuple[str, str]:
    """Consumer key and secret.

    Raises:
        Refused: no Basic authentication.
    """
    scheme, _, encoded = (header(request, "authorization") or "").partition(" ")
    try:
        key, separator, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        key = separator = secret = ""
    if scheme.lower() != "basic" or not separator:
        raise Refused(400, "400.008.01", "Invalid Authentication passed")
    return key, secret


def grant_type(query: str) -> None:
    """The query string of the token's URL.

    Raises:
        Refused: it does not ask for client credentials.
    """
    if parse_qs(query).get("grant_type") != ["client_credentials"]:
        raise Refused(400, "400.008.02", "Invalid grant type passed")


def text(fields: Mapping[str, Any], field: str) -> str:
    """A field as text; a number is taken too, as the official samples mix both. "" where it is missing or neither."""
    value = fields.get(field)
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def matching(fields: Mapping[str, Any], field: str, pattern: str) -> str:
    """A field that matches a regular expression in whole.

    Raises:
        Refused: it does not.
    """
    value = text(fields, field)
    if not re.fullmatch(pattern, value, re.ASCII):
        raise invalid(field)
    return value


def one_of(fields: Mapping[str, Any], field: str, *allowed: str) -> str:
    """A field with one of these values, exactly.

    Raises:
        Refused: another one.
    """
    value = text(fields, field)
    if value not in allowed:
        raise invalid(field)
    return value


def amount(fields: Mapping[str, Any], field: str = "Amount", *, cents: bool = False) -> Decimal:
    """The amount in shillings, above zero; whole unless ``cents``.

    Raises:
        Refused: anything else.
    """
    value = fields.get(field)
    written = str(value) if isinstance(value, (str, int, Decimal)) and not isinstance(value, bool) else ""
    if not re.fullmatch(r"\d{1,10}(\.\d{1,2})?" if cents else r"\d{1,10}", written, re.ASCII) or Decimal(written) == 0:
        raise invalid(field)
    return Decimal(written)


def phone(fields: Mapping[str, Any], field: str) -> str:
    """A phone number in M-PESA's own form, ``2547…`` or ``2541…``.

    Raises:
        Refused: any other form.
    """
    value = text(fields, field)
    try:
        normal = phone_number(value)
    except InvalidField:
        normal = ""
    if value != normal:
        raise invalid(field)
    return value


def timestamp(fields: Mapping[str, Any]) -> str:
    """The Timestamp, ``YYYYMMDDHHmmss``; how old it is and which zone it is in is not checked, as at Safaricom's.

    Raises:
        Refused: no such time.
    """
    value = text(fields, "Timestamp")
    try:
        moment = datetime.strptime(value, "%Y%m%d%H%M%S")  # noqa: DTZ007 - only its form is looked at
    except ValueError:
        moment = None
    if moment is None or len(value) != 14:
        raise invalid("Timestamp")
    return value


def url(fields: Mapping[str, Any], field: str) -> str:
    """A callback URL; http is let through, as in Safaricom's sandbox.

    Raises:
        Refused: no absolute URL, or one with a word that the firewall refuses.
    """
    try:
        return callback_url(fields.get(field))
    except InvalidField:
        raise invalid(field) from None


def words(fields: Mapping[str, Any], field: str, *, longest: int, shortest: int = 1, called: str = "") -> str:
    """Free text of a certain length without the characters that break Daraja's calls; ``shortest=0`` lets it be absent.

    Raises:
        Refused: too short, too long, or with such a character. It names the field ``called`` where that is given.
    """
    if shortest == 0 and fields.get(field) in (None, ""):
        return ""
    try:
        return free_text(text(fields, field), field, shortest=max(shortest, 1), longest=longest)
    except InvalidField:
        raise invalid(called or field) from None
