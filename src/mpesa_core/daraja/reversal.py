"""Reversal: gives a customer's payment (C2B or STK push) back.

Source: the "Reversals" page of Safaricom's developer portal. Payouts cannot be reversed by API.
"""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

import attrs

from mpesa_core.daraja.answers import Accepted, parse_acceptance
from mpesa_core.daraja.codec import to_wire, wire
from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse
from mpesa_core.daraja.outgoing import ResultUrls, post, receipt, setting
from mpesa_core.values import free_text, money

__all__ = ["Reversal"]


def _receipt(value: object) -> str:
    return receipt(value, "transaction_id")


def _amount(value: object) -> Decimal:
    return money(value, "amount")


def _occasion(value: object) -> str | None:
    return None if value in (None, "") else free_text(value, "occasion", shortest=1, longest=100)


@attrs.frozen(kw_only=True)
class Reversal(ResultUrls):
    """Give a payment back to whoever paid it.

    Attributes:
        transaction_id: the receipt of the payment.
        amount: in shillings, the whole payment or a part of it.
        remarks: 2 to 100 characters.
        occasion: at most 100 characters, or None.
        result_url, timeout_url: see :class:`~mpesa_core.daraja.outgoing.ResultUrls`.

    Raises:
        InvalidField: at construction, a value that M-PESA would refuse.
    """

    moves_money: ClassVar[bool] = True
    needs_credential: ClassVar[bool] = True

    transaction_id: str = attrs.field(converter=_receipt, metadata=wire("TransactionID"))
    amount: Decimal = attrs.field(converter=_amount, metadata=wire("Amount"))
    occasion: str | None = attrs.field(default=None, converter=_occasion, metadata=wire("Occasion"))

    def build(self, context: Context) -> HttpRequest:
        """The request.

        Raises:
            ConfigurationError: the account lacks short_code, initiator_name or the operator's password.
        """
        body = {
            "Initiator": setting(context, "initiator_name", "Reversal"),
            "SecurityCredential": setting(context, "security_credential", "Reversal"),
            "CommandID": "TransactionReversal",
            "ReceiverParty": setting(context, "short_code", "Reversal"),
            "RecieverIdentifierType": "11",  # spelt so on the wire
            **to_wire(self),
        }
        return post("/mpesa/reversal/v1/request", body)

    def parse(self, response: HttpResponse) -> Accepted:
        """The acceptance; raises as :func:`~mpesa_core.daraja.answers.parse_acceptance` says."""
        return parse_acceptance(response, Accepted, moves_money=self.moves_money)
