"""Customer to business: the URLs that payments are reported to, the sandbox's simulation, and our replies.

Source: the "Customer To Business Register URL" and "Customer To Business" pages of Safaricom's developer portal.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, Literal

import attrs

from mpesa_core.daraja.answers import parse_acceptance
from mpesa_core.daraja.codec import to_wire, wire
from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse
from mpesa_core.daraja.outgoing import post, setting
from mpesa_core.errors import InvalidField
from mpesa_core.values import callback_url, phone_number, reference, shillings

__all__ = [
    "C2BSimulated",
    "RegisterUrls",
    "RegisterUrlsAnswer",
    "Rejection",
    "ResponseType",
    "SimulateC2B",
    "accept_payment",
    "acknowledge_payment",
    "reject_payment",
]


class ResponseType(StrEnum):
    """What M-PESA does with a payment when the validation URL does not answer (within about 8 seconds)."""

    COMPLETED = "Completed"
    CANCELLED = "Cancelled"


class Rejection(StrEnum):
    """Why a payment is rejected at validation; decides the text message that the customer gets."""

    INVALID_MSISDN = "C2B00011"
    INVALID_ACCOUNT_NUMBER = "C2B00012"
    INVALID_AMOUNT = "C2B00013"
    INVALID_KYC_DETAILS = "C2B00014"
    INVALID_SHORT_CODE = "C2B00015"
    OTHER_ERROR = "C2B00016"


def accept_payment(third_party_id: str = "") -> dict[str, str]:
    """The reply to a validation that lets the payment go on.

    Args:
        third_party_id: an id of yours; it comes back in the confirmation as ThirdPartyTransID.
    """
    reply = {"ResultCode": "0", "ResultDesc": "Accepted"}
    return {**reply, "ThirdPartyTransID": third_party_id} if third_party_id else reply


def reject_payment(reason: Rejection = Rejection.OTHER_ERROR) -> dict[str, str]:
    """The reply to a validation that stops the payment; nothing is taken from the customer."""
    return {"ResultCode": Rejection(reason).value, "ResultDesc": "Rejected"}


def acknowledge_payment() -> dict[str, Any]:
    """The reply to a confirmation; it is always this one."""
    return {"ResultCode": 0, "ResultDesc": "Success"}


def _version(value: object) -> Literal[1, 2]:
    if value not in (1, 2) or isinstance(value, bool):
        raise InvalidField("version", value, expected="1 or 2")
    return 1 if value == 1 else 2


def _response_type(value: object) -> ResponseType:
    try:
        return ResponseType(value)  # type: ignore[arg-type]
    except ValueError:
        raise InvalidField("response_type", value, expected="Completed or Cancelled, spelt so") from None


def _confirmation_url(value: object) -> str:
    return callback_url(value, "confirmation_url")


def _validation_url(value: object) -> str:
    return callback_url(value, "validation_url")


@attrs.frozen(kw_only=True)
class RegisterUrlsAnswer:
    """The URLs were registered.

    Attributes:
        originator_conversation_id: Daraja's id of the request (misspelt on the wire).
        response_code: "0" or "00000000".
        response_description: Daraja's words.
    """

    originator_conversation_id: str = attrs.field(
        default="", metadata=wire("OriginatorCoversationID", "OriginatorConversationID")
    )
    response_code: str = attrs.field(metadata=wire("ResponseCode"))
    response_description: str = attrs.field(default="", metadata=wire("ResponseDescription"))


@attrs.frozen(kw_only=True)
class RegisterUrls:
    """Register where the payments to the account's short code are reported.

    In production this works once; to change the URLs, delete them on the portal first.

    Attributes:
        confirmation_url: where each payment is reported.
        validation_url: where M-PESA asks first, if Safaricom has switched validation on for the short code.
        response_type: what happens when the validation URL does not answer.
        version: decides the payer's number in the callbacks: 1 a SHA-256 hash, 2 masked.

    Raises:
        InvalidField: at construction, a value that Daraja would refuse.
    """

    moves_money: ClassVar[bool] = False
    needs_credential: ClassVar[bool] = False

    response_type: ResponseType = attrs.field(
        default=ResponseType.COMPLETED, converter=_response_type, metadata=wire("ResponseType")
    )
    confirmation_url: str = attrs.field(converter=_confirmation_url, repr=False, metadata=wire("ConfirmationURL"))
    validation_url: str = attrs.field(converter=_validation_url, repr=False, metadata=wire("ValidationURL"))
    version: Literal[1, 2] = attrs.field(default=2, converter=_version)

    def build(self, context: Context) -> HttpRequest:
        """The request.

        Raises:
            ConfigurationError: the account lacks short_code.
        """
        short_code = setting(context, "short_code", "RegisterUrls")
        return post(f"/mpesa/c2b/v{self.version}/registerurl", {"ShortCode": short_code, **to_wire(self)})

    def parse(self, response: HttpResponse) -> RegisterUrlsAnswer:
        """The answer; raises as :func:`~mpesa_core.daraja.answers.parse_acceptance` says."""
        return parse_acceptance(response, RegisterUrlsAnswer, moves_money=self.moves_money)


def _amount(value: object) -> Decimal:
    return shillings(value, "amount", minimum=1)


def _phone(value: object) -> str:
    return phone_number(value, "phone_number")


def _bill_reference(value: object) -> str | None:
    return None if value is None else reference(value, "account_reference", longest=20)


@attrs.frozen(kw_only=True)
class C2BSimulated:
    """The simulated payment was accepted; callbacks follow most of the time.

    Attributes:
        originator_conversation_id: Daraja's id of the request (misspelt on the wire).
        conversation_id: only older answers have it.
        response_code: "0"; older answers have none.
        response_description: Daraja's words.
    """

    originator_conversation_id: str = attrs.field(metadata=wire("OriginatorCoversationID", "OriginatorConversationID"))
    conversation_id: str | None = attrs.field(default=None, metadata=wire("ConversationID"))
    response_code: str | None = attrs.field(default=None, metadata=wire("ResponseCode"))
    response_description: str = attrs.field(default="", metadata=wire("ResponseDescription"))


@attrs.frozen(kw_only=True)
class SimulateC2B:
    """Let a customer of the sandbox pay the account; production does not have this.

    An account with a ``till_number`` is paid as buy goods, without a reference.

    Attributes:
        phone_number: the payer, ``254708374149`` in Safaricom's sandbox.
        amount: whole shillings.
        account_reference: what the customer types, at most 20 characters; needed for a paybill.
        version: 1 or 2, as the URLs were registered.

    Raises:
        InvalidField: at construction, a value that Daraja would refuse.
    """

    moves_money: ClassVar[bool] = True
    needs_credential: ClassVar[bool] = False

    amount: Decimal = attrs.field(converter=_amount, metadata=wire("Amount"))
    phone_number: str = attrs.field(converter=_phone, repr=False, metadata=wire("Msisdn"))
    account_reference: str | None = attrs.field(
        default=None, converter=_bill_reference, metadata=wire("BillRefNumber", null=True)
    )
    version: Literal[1, 2] = attrs.field(default=2, converter=_version)

    def build(self, context: Context) -> HttpRequest:
        """The request.

        Raises:
            ConfigurationError: the account lacks short_code.
            InvalidField: the account is a paybill, and there is no account_reference.
        """
        to_till = bool(context.till_number)
        receiver = context.till_number if to_till else setting(context, "short_code", "SimulateC2B")
        if not to_till and self.account_reference is None:
            raise InvalidField("account_reference", None, expected="what the customer types when paying a paybill")
        body: dict[str, Any] = {
            "ShortCode": receiver,
            "CommandID": "CustomerBuyGoodsOnline" if to_till else "CustomerPayBillOnline",
            **to_wire(self),
        }
        if to_till:
            body["BillRefNumber"] = None
        return post(f"/mpesa/c2b/v{self.version}/simulate", body)

    def parse(self, response: HttpResponse) -> C2BSimulated:
        """The answer; raises as :func:`~mpesa_core.daraja.answers.parse_acceptance` says."""
        return parse_acceptance(response, C2BSimulated, moves_money=self.moves_money, code_required=False)
