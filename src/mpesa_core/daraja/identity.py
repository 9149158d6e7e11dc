"""Business to customer with an identity check: the payout is made only if the identity document is the recipient's.

No page of Safaricom's documents it. Sources: two projects that use it in production, edlugz/daraja and
global-121/121-platform (aid payments). A merchant has Safaricom enable it for the short code, beside what any payout
needs. A mismatch ends in the result code R003, a document type that the recipient has none of in R002: nothing is
paid then.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import ClassVar

import attrs

from mpesa_core.daraja.answers import Accepted, parse_acceptance
from mpesa_core.daraja.b2c import B2CCommand
from mpesa_core.daraja.codec import to_wire, wire
from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse
from mpesa_core.daraja.outgoing import ResultUrls, originator_id, post, setting
from mpesa_core.errors import InvalidField
from mpesa_core.values import mask_phone, phone_number, shillings

__all__ = ["B2CIdentityPayment"]


def _amount(value: object) -> Decimal:
    return shillings(value, "amount", minimum=10)


def _phone(value: object) -> str:
    return phone_number(value, "phone_number")


def _originator(value: object) -> str:
    return originator_id(value)


def _command(value: object) -> B2CCommand:
    try:
        return B2CCommand(value)  # type: ignore[arg-type]
    except ValueError:
        expected = "SalaryPayment, BusinessPayment or PromotionPayment"
        raise InvalidField("command", value, expected=expected) from None


def _id_type(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"\d{1,4}", value, re.ASCII):
        raise InvalidField(
            "id_type", value, expected='the document\'s type as digits, "01" for a national identity card'
        )
    return value


def _id_number(value: object) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not re.fullmatch(r"[A-Za-z0-9/\-]{1,32}", text):
        # an identity number is as private as a phone number: masked in the error in the same way
        raise InvalidField("id_number", mask_phone(value), expected="1 to 32 letters and digits, as text")
    return text


@attrs.frozen(kw_only=True)
class B2CIdentityPayment(ResultUrls):
    """Pay a customer whose identity document is known; the outcome comes as a result (callback type B2C_RESULT).

    Attributes:
        phone_number: who is paid; any Kenyan form, kept as ``2547…``/``2541…``.
        amount: whole shillings, at least 10.
        id_type: the document's type, "01" for a national identity card (the only one seen).
        id_number: its number, as text.
        command: what kind of payout.
        originator_conversation_id: your own id, unique, at most 128 characters.
        remarks: 2 to 100 characters.
        result_url, timeout_url: see :class:`~mpesa_core.daraja.outgoing.ResultUrls`.

    Raises:
        InvalidField: at construction, a value that M-PESA would refuse.
    """

    moves_money: ClassVar[bool] = True
    needs_credential: ClassVar[bool] = True

    originator_conversation_id: str = attrs.field(converter=_originator, metadata=wire("OriginatorConversationID"))
    command: B2CCommand = attrs.field(
        default=B2CCommand.BUSINESS_PAYMENT, converter=_command, metadata=wire("CommandID")
    )
    amount: Decimal = attrs.field(converter=_amount, metadata=wire("Amount"))
    phone_number: str = attrs.field(converter=_phone, repr=False, metadata=wire("PartyB"))
    id_type: str = attrs.field(default="01", converter=_id_type, metadata=wire("IDType"))
    id_number: str = attrs.field(converter=_id_number, repr=False, metadata=wire("IDNumber"))

    def build(self, context: Context) -> HttpRequest:
        """The request.

        Raises:
            ConfigurationError: the account lacks short_code, initiator_name or the operator's password.
        """
        body = {
            "InitiatorName": setting(context, "initiator_name", "B2CIdentityPayment"),
            "SecurityCredential": setting(context, "security_credential", "B2CIdentityPayment"),
            "PartyA": setting(context, "short_code", "B2CIdentityPayment"),
            **to_wire(self),
        }
        return post("/mpesa/b2cvalidate/v2/paymentrequest", body)

    def parse(self, response: HttpResponse) -> Accepted:
        """The acceptance; raises as :func:`~mpesa_core.daraja.answers.parse_acceptance` says."""
        return parse_acceptance(response, Accepted, moves_money=self.moves_money)
