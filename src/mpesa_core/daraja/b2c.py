"""Business to customer: salaries, payouts and promotions.

Source: the "Business To Customer (B2C)" page of Safaricom's developer portal. By its FAQ a payout cannot
be reversed by API.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, Literal

import attrs

from mpesa_core.daraja.answers import Accepted, parse_acceptance
from mpesa_core.daraja.codec import to_wire, wire
from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse
from mpesa_core.daraja.outgoing import ResultUrls, originator_id, post, setting
from mpesa_core.errors import InvalidField
from mpesa_core.values import free_text, phone_number, shillings

__all__ = ["B2CCommand", "B2CPayment"]


class B2CCommand(StrEnum):
    """What kind of payout it is; the customer's text message and the charges follow from it."""

    SALARY_PAYMENT = "SalaryPayment"
    BUSINESS_PAYMENT = "BusinessPayment"
    PROMOTION_PAYMENT = "PromotionPayment"


def _amount(value: object) -> Decimal:
    return shillings(value, "amount", minimum=10)


def _phone(value: object) -> str:
    return phone_number(value, "phone_number")


def _command(value: object) -> B2CCommand:
    try:
        return B2CCommand(value)  # type: ignore[arg-type]
    except ValueError:
        expected = "SalaryPayment, BusinessPayment or PromotionPayment"
        raise InvalidField("command", value, expected=expected) from None


def _occasion(value: object) -> str | None:
    return None if value in (None, "") else free_text(value, "occasion", shortest=1, longest=100)


def _originator(value: object) -> str | None:
    return None if value is None else originator_id(value)


def _version(value: object) -> Literal[1, 3]:
    if value not in (1, 3) or isinstance(value, bool):
        raise InvalidField("version", value, expected="1 or 3", remedy="Daraja has no version 2 of it.")
    return 1 if value == 1 else 3


@attrs.frozen(kw_only=True)
class B2CPayment(ResultUrls):
    """Pay a customer from the account's utility balance.

    Attributes:
        phone_number: who is paid; any Kenyan form, kept as ``2547…``/``2541…``.
        amount: whole shillings, at least 10.
        command: what kind of payout.
        remarks: 2 to 100 characters.
        occasion: at most 100 characters, or None.
        result_url, timeout_url: see :class:`~mpesa_core.daraja.outgoing.ResultUrls`.
        version: 3 carries your own id, by which M-PESA refuses a second payout under it; 1 does not.
        originator_conversation_id: that id, unique, at most 128 characters; needed with version 3 and only there.

    Raises:
        InvalidField: at construction, a value that M-PESA would refuse.
    """

    moves_money: ClassVar[bool] = True
    needs_credential: ClassVar[bool] = True

    originator_conversation_id: str | None = attrs.field(
        default=None, converter=_originator, metadata=wire("OriginatorConversationID")
    )
    command: B2CCommand = attrs.field(
        default=B2CCommand.BUSINESS_PAYMENT, converter=_command, metadata=wire("CommandID")
    )
    amount: Decimal = attrs.field(converter=_amount, metadata=wire("Amount"))
    phone_number: str = attrs.field(converter=_phone, repr=False, metadata=wire("PartyB"))
    occasion: str | None = attrs.field(default=None, converter=_occasion)
    version: Literal[1, 3] = attrs.field(default=3, converter=_version)

    def __attrs_post_init__(self) -> None:
        has_id = self.originator_conversation_id is not None
        if has_id != (self.version == 3):
            raise InvalidField(
                "originator_conversation_id",
                self.originator_conversation_id,
                expected="an id with version 3, none with version 1",
                remedy="Only version 3 of the payout carries one, and it must.",
            )

    def build(self, context: Context) -> HttpRequest:
        """The request.

        Raises:
            ConfigurationError: the account lacks short_code, initiator_name or the operator's password.
        """
        body = {
            "InitiatorName": setting(context, "initiator_name", "B2CPayment"),
            "SecurityCredential": setting(context, "security_credential", "B2CPayment"),
            "PartyA": setting(context, "short_code", "B2CPayment"),
            **to_wire(self),
        }
        if self.occasion is not None:
            body["Occassion" if self.version == 3 else "Occasion"] = self.occasion
        return post(f"/mpesa/b2c/v{self.version}/paymentrequest", body)

    def parse(self, response: HttpResponse) -> Accepted:
        """The acceptance; raises as :func:`~mpesa_core.daraja.answers.parse_acceptance` says."""
        return parse_acceptance(response, Accepted, moves_money=self.moves_money)
