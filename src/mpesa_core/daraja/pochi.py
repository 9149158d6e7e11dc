"""Business to Pochi: pay the business wallet (Pochi la Biashara) that belongs to a phone number.

Source: the "Business To Pochi" page of Safaricom's developer portal. A merchant needs what a payout needs: a short code
with B2C, money in its utility account, and an API operator with the role "ORG B2C API Initiator".
"""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

import attrs

from mpesa_core.daraja.answers import Accepted, parse_acceptance
from mpesa_core.daraja.codec import to_wire, wire
from mpesa_core.daraja.literals import amount_text
from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse
from mpesa_core.daraja.outgoing import ResultUrls, originator_id, post, setting
from mpesa_core.values import free_text, phone_number, shillings

__all__ = ["B2Pochi"]


def _amount(value: object) -> Decimal:
    return shillings(value, "amount", minimum=10)


def _phone(value: object) -> str:
    return phone_number(value, "phone_number")


def _occasion(value: object) -> str | None:
    return None if value in (None, "") else free_text(value, "occasion", shortest=1, longest=100)


def _originator(value: object) -> str:
    return originator_id(value)


@attrs.frozen(kw_only=True)
class B2Pochi(ResultUrls):
    """Pay a Pochi la Biashara; the outcome comes as a result on ``result_url`` (callback type B2C_RESULT).

    Attributes:
        phone_number: the wallet's; any Kenyan form, kept as ``2547…``/``2541…``.
        amount: whole shillings, at least 10.
        originator_conversation_id: your own id, unique, at most 128 characters; M-PESA refuses a second payout under
            it.
        remarks: 2 to 100 characters.
        occasion: at most 100 characters, or None.
        result_url, timeout_url: see :class:`~mpesa_core.daraja.outgoing.ResultUrls`.

    Raises:
        InvalidField: at construction, a value that M-PESA would refuse.
    """

    moves_money: ClassVar[bool] = True
    needs_credential: ClassVar[bool] = True

    originator_conversation_id: str = attrs.field(converter=_originator, metadata=wire("OriginatorConversationID"))
    amount: Decimal = attrs.field(converter=_amount)
    phone_number: str = attrs.field(converter=_phone, repr=False, metadata=wire("PartyB"))
    occasion: str | None = attrs.field(default=None, converter=_occasion, metadata=wire("Occassion"))

    def build(self, context: Context) -> HttpRequest:
        """The request.

        Raises:
            ConfigurationError: the account lacks short_code, initiator_name or the operator's password.
        """
        body = {
            "InitiatorName": setting(context, "initiator_name", "B2Pochi"),
            "SecurityCredential": setting(context, "security_credential", "B2Pochi"),
            "CommandID": "BusinessPayToPochi",
            "Amount": amount_text(self.amount),
            "PartyA": setting(context, "short_code", "B2Pochi"),
            **to_wire(self),
        }
        return post("/mpesa/b2pochi/v1/paymentrequest", body)

    def parse(self, response: HttpResponse) -> Accepted:
        """The acceptance; raises as :func:`~mpesa_core.daraja.answers.parse_acceptance` says."""
        return parse_acceptance(response, Accepted, moves_money=self.moves_money)
