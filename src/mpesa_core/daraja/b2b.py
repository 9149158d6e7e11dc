"""Business to business: pay a paybill or a till, top up a payout account, move money between accounts.

Sources: the "Business Pay Bill", "Business Buy Goods" and "B2C Account Top Up" pages of Safaricom's developer portal. A
merchant needs the product on the app and, for the API operator, the role of the command: "Business Paybill Org API
initiator", "Business Buy Goods Org API initiator" or "Org Business Pay to Bulk API initiator".
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, Literal

import attrs

from mpesa_core.daraja.answers import Accepted, parse_acceptance
from mpesa_core.daraja.codec import to_wire, wire
from mpesa_core.daraja.literals import amount_text
from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse
from mpesa_core.daraja.outgoing import ResultUrls, originator_id, post, setting
from mpesa_core.errors import InvalidField
from mpesa_core.values import free_text, money, phone_number, reference, short_code

__all__ = ["B2BCommand", "B2BPayment"]


class B2BCommand(StrEnum):
    """What is paid, from which account of the payer to which of the receiver.

    The first three have pages of their own today. The others come from older lists and SDKs, and whether Safaricom
    still enables them for a short code is not certain; a transfer from the utility to the working account was refused
    by API (result code 21) wherever it was tried.
    """

    PAY_BILL = "BusinessPayBill"
    """To a paybill, from the working account."""

    BUY_GOODS = "BusinessBuyGoods"
    """To a till, from the working account."""

    PAY_TO_BULK = "BusinessPayToBulk"
    """To the utility account of a short code that pays out (B2C account top-up)."""

    TRANSFER = "BusinessToBusinessTransfer"
    """Working account to working account. Not certain."""

    MMF_TO_UTILITY = "BusinessTransferFromMMFToUtility"
    """Own working (MMF) account to own utility account. Not certain."""

    UTILITY_TO_MMF = "DisburseFundsToBusiness"
    """Own utility account to own working (MMF) account. Not certain."""

    REVENUE_SETTLEMENT = "OrgRevenueSettlement"
    """Revenue to the bank or settlement account. Not certain."""

    MERCHANT_TO_MERCHANT = "MerchantToMerchantTransfer"
    """Till to till. Not certain."""

    MERCHANT_TO_WORKING = "MerchantTransferFromMerchantToWorking"
    """A till's merchant account to its working account. Not certain."""

    MERCHANT_SERVICES_TO_MMF = "MerchantServicesMMFAccountTransfer"
    """Merchant services to the working (MMF) account. Not certain."""

    AGENCY_FLOAT_ADVANCE = "AgencyFloatAdvance"
    """Float for an agent. Not certain."""


def _command(value: object) -> B2BCommand:
    try:
        return B2BCommand(value)  # type: ignore[arg-type]
    except ValueError:
        raise InvalidField("command", value, expected="one of " + ", ".join(B2BCommand)) from None


def _amount(value: object) -> Decimal:
    return money(value, "amount")


def _receiver(value: object) -> str:
    return short_code(value, "receiver")


def _receiver_type(value: object) -> Literal["2", "4"]:
    if isinstance(value, bool) or value not in ("2", "4", 2, 4):
        raise InvalidField("receiver_type", value, expected='"4" (short code) or "2" (till)')
    return "2" if value in ("2", 2) else "4"


def _reference(value: object) -> str | None:
    return None if value in (None, "") else reference(value, "account_reference", longest=13)


def _requester(value: object) -> str | None:
    return None if value is None else phone_number(value, "requester")


def _occasion(value: object) -> str | None:
    return None if value in (None, "") else free_text(value, "occasion", shortest=1, longest=100)


def _originator(value: object) -> str | None:
    return None if value is None else originator_id(value)


@attrs.frozen(kw_only=True)
class B2BPayment(ResultUrls):
    """Pay another business, or move money between accounts, from the account's short code.

    The outcome comes as a result on ``result_url`` (callback type B2B_RESULT).

    Attributes:
        command: what is paid.
        receiver: the paybill, till or short code that is paid, 5 to 7 digits.
        amount: in shillings.
        account_reference: the account at the receiver, at most 13 characters; needed for a paybill.
        receiver_type: "4" is what the pages say for every receiver. One SDK reports from production that a till wants
            "2", and that the wrong one ends in the result code SFC_IC0003 (nothing is paid then).
        requester: the phone number of the customer on whose behalf it is paid, or None.
        remarks: 2 to 100 characters.
        occasion: at most 100 characters, or None.
        originator_conversation_id: an id of your own, or None; undocumented here, taken in production by one report.
        result_url, timeout_url: see :class:`~mpesa_core.daraja.outgoing.ResultUrls`.

    Raises:
        InvalidField: at construction, a value that M-PESA would refuse.
    """

    moves_money: ClassVar[bool] = True
    needs_credential: ClassVar[bool] = True

    command: B2BCommand = attrs.field(default=B2BCommand.PAY_BILL, converter=_command, metadata=wire("CommandID"))
    receiver: str = attrs.field(converter=_receiver, metadata=wire("PartyB"))
    amount: Decimal = attrs.field(converter=_amount)
    account_reference: str | None = attrs.field(default=None, converter=_reference, metadata=wire("AccountReference"))
    receiver_type: Literal["2", "4"] = attrs.field(default="4", converter=_receiver_type)
    requester: str | None = attrs.field(default=None, converter=_requester, repr=False, metadata=wire("Requester"))
    occasion: str | None = attrs.field(default=None, converter=_occasion, metadata=wire("Occassion"))
    originator_conversation_id: str | None = attrs.field(
        default=None, converter=_originator, metadata=wire("OriginatorConversationID")
    )

    def __attrs_post_init__(self) -> None:
        if self.command is B2BCommand.PAY_BILL and self.account_reference is None:
            raise InvalidField("account_reference", None, expected="the account that is paid at the paybill")

    def build(self, context: Context) -> HttpRequest:
        """The request.

        Raises:
            ConfigurationError: the account lacks short_code, initiator_name or the operator's password.
        """
        body = {
            "Initiator": setting(context, "initiator_name", "B2BPayment"),
            "SecurityCredential": setting(context, "security_credential", "B2BPayment"),
            "SenderIdentifierType": "4",  # a short code
            "RecieverIdentifierType": self.receiver_type,  # the wire's own spelling
            "Amount": amount_text(self.amount),
            "PartyA": setting(context, "short_code", "B2BPayment"),
            **to_wire(self),
        }
        return post("/mpesa/b2b/v1/paymentrequest", body)

    def parse(self, response: HttpResponse) -> Accepted:
        """The acceptance; raises as :func:`~mpesa_core.daraja.answers.parse_acceptance` says."""
        return parse_acceptance(response, Accepted, moves_money=self.moves_money)
