"""B2C Hakikisha: the name behind a phone number, partly masked, to be compared before it is paid.

Source: copies of the portal's 2026 pages in kepas-tech/daraja-js. A merchant asks Safaricom for it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from mpesa_core.daraja.answers import parse_json_answer, uncertain, without_secrets
from mpesa_core.daraja.codec import loads, to_text
from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse
from mpesa_core.daraja.outgoing import originator_id, post, setting
from mpesa_core.errors import RequestRefused
from mpesa_core.values import phone_number

__all__ = ["CustomerName", "Hakikisha"]


def _phone(value: object) -> str:
    return phone_number(value, "phone_number")


def _request_id(value: object) -> str:
    return originator_id(value, "request_id")


@attrs.frozen(kw_only=True)
class CustomerName:
    """A customer's names; the first is whole, the others masked: ``M******``.

    Attributes:
        first_name, middle_name, last_name: as they came, "" where one is missing.
        request_id: yours, echoed.
    """

    first_name: str = attrs.field(default="", repr=False)
    middle_name: str = attrs.field(default="", repr=False)
    last_name: str = attrs.field(default="", repr=False)
    request_id: str = ""


@attrs.frozen(kw_only=True)
class Hakikisha:
    """Ask for the name behind a phone number.

    Attributes:
        phone_number: any Kenyan form.
        request_id: your own id, unique.

    Raises:
        InvalidField: at construction, a value that Daraja would refuse.
    """

    moves_money: ClassVar[bool] = False
    needs_credential: ClassVar[bool] = False

    phone_number: str = attrs.field(converter=_phone, repr=False)
    request_id: str = attrs.field(converter=_request_id)

    def build(self, context: Context) -> HttpRequest:
        """The request, with the time as seconds since 1970.

        Raises:
            ConfigurationError: the account lacks short_code.
        """
        body = {
            "header": {"requestID": self.request_id, "timestamp": str(int(context.now.timestamp()))},
            "body": {"msisdn": self.phone_number, "shortcode": setting(context, "short_code", "Hakikisha")},
        }
        return post("/mpesa/b2c/hakikisha/v1/hakikisha", body)

    def parse(self, response: HttpResponse) -> CustomerName:
        """The names.

        Raises:
            RequestRefused: there is no such customer (code 400), or another refusal.
            DarajaError: Daraja said no in another way.
            UnexpectedAnswer: an answer without status or without any name.
        """
        if (words := _refused(response)) is not None:
            raise RequestRefused(without_secrets(words), status=response.status, code="400")
        answer = parse_json_answer(response, moves_money=self.moves_money)
        header, body = _object(answer.get("header")), _object(answer.get("body"))
        status = to_text(header.get("status"))
        names = {each: to_text(body.get(each)) or "" for each in ("firstName", "middleName", "lastName")}
        if status != "200" or not any(names.values()):
            raise uncertain(response, f"status {status}, or no name", moves_money=self.moves_money)
        return CustomerName(
            first_name=names["firstName"],
            middle_name=names["middleName"],
            last_name=names["lastName"],
            request_id=to_text(header.get("requestID")) or "",
        )


def _refused(response: HttpResponse) -> str | None:
    """The words of a refusal with status 400 in its header; the sentence that says why is in the body."""
    try:
        answer = loads(response.body)
    except ValueError:
        return None
    answer = _object(answer)
    header, body = _object(answer.get("header")), _object(answer.get("body"))
    if response.status >= 500 or to_text(header.get("status")) != "400":
        return None
    return to_text(body.get("message")) or to_text(header.get("message")) or "no description"


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
