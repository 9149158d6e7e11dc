"""M-PESA Ratiba: standing orders, by which a customer pays the same amount again and again.

Source: the "M-PESA Ratiba" page of Safaricom's developer portal, as it was to 2025 and as SDKs have it since 2026. It
is a commercial API: a merchant asks Safaricom for it. The customer agrees with the PIN (callback type
STANDING_ORDER); each payment after that is reported like any other payment to the short code, on the C2B confirmation
URL. No call is published that lists, asks about or cancels a standing order: the customer does that on the phone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar

import attrs

from mpesa_core.daraja.answers import parse_json_answer, uncertain, without_secrets
from mpesa_core.daraja.codec import to_text, to_wire, wire
from mpesa_core.daraja.codes import Family, Outcome, explain, outcome_of
from mpesa_core.daraja.literals import amount_text, day
from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse
from mpesa_core.daraja.outgoing import originator_id, post, setting
from mpesa_core.errors import InvalidField, RequestRefused
from mpesa_core.values import callback_url, free_text, phone_number, reference, shillings

__all__ = [
    "FREQUENCIES",
    "CreateStandingOrder",
    "Frequency",
    "RatibaEdition",
    "StandingOrderAccepted",
]


class RatibaEdition(StrEnum):
    """Which of the two editions of the API the app has. The same frequency number means different things in them.

    Ask Safaricom which one applies before going live: in 2025's, 4 is every month; in 2026's, every two weeks.
    """

    EDITION_2025 = "2025"
    EDITION_2026 = "2026"


class Frequency(StrEnum):
    """How often is paid."""

    ONE_OFF = "one-off"
    DAILY = "daily"
    WEEKLY = "weekly"
    BI_WEEKLY = "bi-weekly"
    MONTHLY = "monthly"
    BI_MONTHLY = "bi-monthly"
    QUARTERLY = "quarterly"
    HALF_YEARLY = "half-yearly"
    YEARLY = "yearly"


_TO_2025: dict[Frequency, str] = {
    Frequency.ONE_OFF: "1",
    Frequency.DAILY: "2",
    Frequency.WEEKLY: "3",
    Frequency.MONTHLY: "4",
    Frequency.BI_MONTHLY: "5",
    Frequency.QUARTERLY: "6",
    Frequency.HALF_YEARLY: "7",
    Frequency.YEARLY: "8",
}
_FROM_2026: dict[Frequency, str] = {
    Frequency.ONE_OFF: "1",
    Frequency.DAILY: "2",
    Frequency.WEEKLY: "3",
    Frequency.BI_WEEKLY: "4",
    Frequency.MONTHLY: "5",
    Frequency.BI_MONTHLY: "6",
    Frequency.QUARTERLY: "7",
    Frequency.HALF_YEARLY: "8",
    Frequency.YEARLY: "9",
}
FREQUENCIES: Mapping[RatibaEdition, Mapping[Frequency, str]] = MappingProxyType(
    {
        RatibaEdition.EDITION_2025: MappingProxyType(_TO_2025),
        RatibaEdition.EDITION_2026: MappingProxyType(_FROM_2026),
    }
)
"""The number of each frequency, by edition."""

_TRANSACTION_TYPES: Mapping[tuple[RatibaEdition, bool], str] = MappingProxyType(
    {
        (RatibaEdition.EDITION_2025, False): "Standing Order Customer Pay Bill",
        (RatibaEdition.EDITION_2025, True): "Standing Order Customer Pay Marchant",  # the page's own spelling
        (RatibaEdition.EDITION_2026, False): "Standing Order Pay Bill Ext-Third Party",
        (RatibaEdition.EDITION_2026, True): "Standing Order Merchant Payment Ext-Third Party",
    }
)
"""By edition, and whether a till is paid."""


def _name(value: object) -> str:
    """The name of a standing order: 1 to 100 letters, digits, spaces, ``_ - . /``; unique for each customer.

    Raises:
        InvalidField: anything else.
    """
    text = value if isinstance(value, str) else ""
    free_text(text.replace("_", "-"), "name", shortest=1, longest=100)
    return text


def _start(value: object) -> date:
    return day(value, "start")


def _end(value: object) -> date:
    return day(value, "end")


def _amount(value: object) -> Decimal:
    return shillings(value, "amount", minimum=1)


def _phone(value: object) -> str:
    return phone_number(value, "phone_number")


def _url(value: object) -> str:
    return callback_url(value, "callback_url")


def _reference(value: object) -> str:
    return reference(value, "account_reference", longest=12)


def _description(value: object) -> str:
    return free_text(value, "transaction_desc", shortest=1, longest=13)


def _frequency(value: object) -> Frequency:
    try:
        return Frequency(value)  # type: ignore[arg-type]
    except ValueError:
        expected = "a Frequency: " + ", ".join(Frequency)
        remedy = "Daraja's own numbers are not taken: they mean different things in the two editions."
        raise InvalidField("frequency", value, expected=expected, remedy=remedy) from None


def _edition(value: object) -> RatibaEdition:
    try:
        return RatibaEdition(str(value))
    except ValueError:
        raise InvalidField("edition", value, expected='"2025" or "2026"') from None


def _custom_id(value: object) -> str | None:
    return None if value is None else originator_id(value, "custom_id")


@attrs.frozen(kw_only=True)
class StandingOrderAccepted:
    """The customer is being asked; there is no standing order yet.

    Attributes:
        response_ref_id: Daraja's id of the request; the callback carries it.
        response_code: "200".
        response_description: Daraja's words.
    """

    response_ref_id: str
    response_code: str
    response_description: str = ""


@attrs.frozen(kw_only=True)
class CreateStandingOrder:
    """Ask a customer to agree to a standing order to the account's paybill, or to its till where it has one.

    Attributes:
        name: unique for the customer, who sees it; a second one of the same name ends in the code 1050.
        start, end: the first and the last day; end is not before start.
        amount: whole shillings, of each payment.
        frequency: how often.
        edition: which table of frequencies and transaction types the app has. There is no default, because the wrong
            one takes money at the wrong times.
        phone_number: who pays; any Kenyan form.
        account_reference: at most 12 characters.
        transaction_desc: at most 13 characters.
        callback_url: where the customer's decision is posted.
        custom_id: your own id (2026), which comes back as ``requestRefID``; or None.

    Raises:
        InvalidField: at construction, a value that Daraja would refuse.
    """

    moves_money: ClassVar[bool] = True
    needs_credential: ClassVar[bool] = False

    name: str = attrs.field(converter=_name, metadata=wire("StandingOrderName"))
    start: date = attrs.field(converter=_start)
    end: date = attrs.field(converter=_end)
    amount: Decimal = attrs.field(converter=_amount)
    frequency: Frequency = attrs.field(converter=_frequency)
    edition: RatibaEdition = attrs.field(converter=_edition)
    phone_number: str = attrs.field(converter=_phone, repr=False, metadata=wire("PartyA"))
    account_reference: str = attrs.field(converter=_reference, metadata=wire("AccountReference"))
    transaction_desc: str = attrs.field(default="Payment", converter=_description, metadata=wire("TransactionDesc"))
    callback_url: str = attrs.field(converter=_url, repr=False, metadata=wire("CallBackURL"))
    custom_id: str | None = attrs.field(default=None, converter=_custom_id, metadata=wire("CustomStoId"))

    def __attrs_post_init__(self) -> None:
        if self.end < self.start:
            raise InvalidField("end", self.end, expected=f"a day not before start, {self.start}")
        if self.frequency not in FREQUENCIES[self.edition]:
            known = ", ".join(FREQUENCIES[self.edition])
            raise InvalidField("frequency", self.frequency.value, expected=f"in edition {self.edition.value}: {known}")
        if self.custom_id is not None and self.edition is RatibaEdition.EDITION_2025:
            raise InvalidField("custom_id", self.custom_id, expected="none: the edition of 2025 has no such field")

    def build(self, context: Context) -> HttpRequest:
        """The request.

        Raises:
            ConfigurationError: the account lacks short_code.
        """
        to_till = bool(context.till_number)
        body = {
            "StartDate": f"{self.start:%Y%m%d}",
            "EndDate": f"{self.end:%Y%m%d}",
            "BusinessShortCode": context.till_number
            if to_till
            else setting(context, "short_code", "CreateStandingOrder"),
            "TransactionType": _TRANSACTION_TYPES[self.edition, to_till],
            "ReceiverPartyIdentifierType": "2" if to_till else "4",
            "Amount": amount_text(self.amount),
            "Frequency": FREQUENCIES[self.edition][self.frequency],
            **to_wire(self),
        }
        return post("/standingorder/v1/createStandingOrderExternal", body)

    def parse(self, response: HttpResponse) -> StandingOrderAccepted:
        """The acceptance.

        Raises:
            DarajaError: Daraja said no.
            OutcomeUnknown: the answer leaves open whether the customer is being asked.
        """
        body = parse_json_answer(response, moves_money=self.moves_money)
        header, inner = _part(body, "responseheader"), _part(body, "responsebody")
        code = header.get("responsecode", "")
        description = header.get("responsedescription", "")
        if not code or inner.get("responsecode", code) != code:
            raise uncertain(response, "no code, or two that differ", moves_money=self.moves_money)
        if code == "200":
            return StandingOrderAccepted(
                response_ref_id=header.get("responserefid", ""), response_code=code, response_description=description
            )
        if outcome_of(code, Family.RATIBA) is Outcome.FAILED:
            hint = explain(code, Family.RATIBA).meaning
            raise RequestRefused(without_secrets(description), status=response.status, code=code, hint=hint)
        raise uncertain(response, description or "no description", moves_money=self.moves_money, code=code)


def _part(body: Mapping[str, Any], name: str) -> dict[str, str]:
    """A part of the body and its keys in lower case, for both spellings (ResponseHeader, responseHeader)."""
    found = next((value for key, value in body.items() if key.lower() == name and isinstance(value, dict)), {})
    return {key.lower(): text for key, value in found.items() if (text := to_text(value)) is not None}
