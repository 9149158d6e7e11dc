"""IMSI and SIM swap: when a customer's SIM card was last replaced, to stop whoever took over a number.

Sources: the "IMSI" and "Swap" pages of Safaricom's developer portal. Both are commercial: a merchant asks Safaricom for
them and pays for each call. Asked before a large payout, a SIM that was replaced days ago is a reason to wait.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Any, ClassVar

import attrs

from mpesa_core.daraja.answers import parse_json_answer, uncertain, without_secrets
from mpesa_core.daraja.codec import to_text, to_wire, wire
from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse
from mpesa_core.daraja.outgoing import post
from mpesa_core.errors import RequestRefused
from mpesa_core.values import phone_number

__all__ = ["CheckImsi", "CheckSimSwap", "ImsiAnswer", "SimSwapAnswer"]

_LONG_AGO = date(1900, 1, 1)
"""What stands for "more than three months ago"."""


def _phone(value: object) -> str:
    return phone_number(value, "phone_number")


@attrs.frozen(kw_only=True)
class SimSwapAnswer:
    """When the SIM card was last replaced.

    Attributes:
        last_swap: the day in Nairobi; None where it was more than three months ago, or where it cannot be read.
        swapped_long_ago: more than three months ago (M-PESA then says 01-01-1900). False with a ``last_swap`` of None
            says that nothing is known.
        last_swap_text: as it came.
        request_ref_id: Daraja's id of the request, or "".
    """

    last_swap: date | None
    swapped_long_ago: bool
    last_swap_text: str = ""
    request_ref_id: str = ""


@attrs.frozen(kw_only=True)
class ImsiAnswer(SimSwapAnswer):
    """The same with the SIM card's identity.

    Attributes:
        imsi: a hash, for all its digits: good for noticing a change, and for nothing else.
        registered_on: the day on which the number was registered, or None.
    """

    imsi: str = attrs.field(default="", repr=False)
    registered_on: date | None = None


@attrs.frozen(kw_only=True)
class _Check:
    phone_number: str = attrs.field(converter=_phone, repr=False, metadata=wire("customerNumber"))

    moves_money: ClassVar[bool] = False
    needs_credential: ClassVar[bool] = False
    path: ClassVar[str]

    def build(self, context: Context) -> HttpRequest:  # noqa: ARG002 - an operation's signature; no setting is needed
        """The request; it needs nothing of the account."""
        return post(self.path, to_wire(self))

    def _read(self, response: HttpResponse) -> tuple[dict[str, Any], dict[str, Any]]:
        body = parse_json_answer(response, moves_money=self.moves_money)
        code = to_text(body.get("responseCode"))
        if code is None:
            raise uncertain(response, "responseCode is missing", moves_money=self.moves_money)
        if code != "200":
            words = without_secrets(to_text(body.get("responseDesc")) or "no description")
            raise RequestRefused(words, status=response.status, code=without_secrets(code))
        swap = to_text(body.get("lastSwapDate")) or ""
        when = _day(swap)
        return body, {
            "last_swap": None if when == _LONG_AGO else when,
            "swapped_long_ago": when == _LONG_AGO,
            "last_swap_text": swap,
            "request_ref_id": to_text(body.get("requestRefID")) or "",
        }


@attrs.frozen(kw_only=True)
class CheckSimSwap(_Check):
    """Ask when the SIM card of a number was last replaced (version 2 of the API).

    Attributes:
        phone_number: any Kenyan form.

    Raises:
        InvalidField: at construction, no Kenyan mobile number.
    """

    path: ClassVar[str] = "/imsi/v2/checkATI"

    def parse(self, response: HttpResponse) -> SimSwapAnswer:
        """The answer.

        Raises:
            DarajaError: Daraja said no.
            UnexpectedAnswer: an answer without a code.
        """
        return SimSwapAnswer(**self._read(response)[1])


@attrs.frozen(kw_only=True)
class CheckImsi(_Check):
    """Ask for the hashed IMSI of a number, and when its SIM card was last replaced (version 1 of the API).

    Attributes:
        phone_number: any Kenyan form.

    Raises:
        InvalidField: at construction, no Kenyan mobile number.
    """

    path: ClassVar[str] = "/imsi/v1/checkATI"

    def parse(self, response: HttpResponse) -> ImsiAnswer:
        """The answer.

        Raises:
            DarajaError: Daraja said no.
            UnexpectedAnswer: an answer without a code or without the IMSI.
        """
        body, swap = self._read(response)
        imsi = to_text(body.get("imsi"))
        if imsi is None:
            raise uncertain(response, "imsi is missing", moves_money=self.moves_money)
        return ImsiAnswer(imsi=imsi, registered_on=_day(to_text(body.get("msisdnRegistrationDate")) or ""), **swap)


def _day(text: str) -> date | None:
    """``01-05-2022`` or ``01-01-1900 00:00``: day, month, year; None where it is none."""
    found = re.match(r"(\d{2})-(\d{2})-(\d{4})(?: |$)", text, re.ASCII)
    try:
        return date(int(found[3]), int(found[2]), int(found[1])) if found else None
    except ValueError:
        return None
