"""Tax remittance: pay the Kenya Revenue Authority from a short code.

Source: the "Tax Remittance" page of Safaricom's developer portal. A merchant needs a payment registration number
(PRN) from the authority for each payment, the product on the app, and an API operator with the role "Tax Remittance
to KRA API".
"""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

import attrs

from mpesa_core.daraja.answers import Accepted, parse_acceptance
from mpesa_core.daraja.codec import to_wire, wire
from mpesa_core.daraja.literals import amount_text
from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse
from mpesa_core.daraja.outgoing import ResultUrls, post, setting
from mpesa_core.values import money, reference

__all__ = ["KRA_SHORT_CODE", "TaxRemittance"]

KRA_SHORT_CODE = "572572"
"""The Kenya Revenue Authority's; this call pays no other."""


def _amount(value: object) -> Decimal:
    return money(value, "amount")


def _registration_number(value: object) -> str:
    return reference(value, "payment_registration_number", longest=13)


@attrs.frozen(kw_only=True)
class TaxRemittance(ResultUrls):
    """Remit a tax; the outcome comes as a result on ``result_url`` (callback type B2B_RESULT).

    Attributes:
        amount: in shillings, what the registration says.
        payment_registration_number: the PRN, at most 13 characters.
        remarks: 2 to 100 characters.
        result_url, timeout_url: see :class:`~mpesa_core.daraja.outgoing.ResultUrls`.

    Raises:
        InvalidField: at construction, a value that M-PESA would refuse.
    """

    moves_money: ClassVar[bool] = True
    needs_credential: ClassVar[bool] = True

    amount: Decimal = attrs.field(converter=_amount)
    payment_registration_number: str = attrs.field(converter=_registration_number, metadata=wire("AccountReference"))

    def build(self, context: Context) -> HttpRequest:
        """The request.

        Raises:
            ConfigurationError: the account lacks short_code, initiator_name or the operator's password.
        """
        body = {
            "Initiator": setting(context, "initiator_name", "TaxRemittance"),
            "SecurityCredential": setting(context, "security_credential", "TaxRemittance"),
            "CommandID": "PayTaxToKRA",
            "SenderIdentifierType": "4",
            "RecieverIdentifierType": "4",  # the wire's own spelling
            "Amount": amount_text(self.amount),
            "PartyA": setting(context, "short_code", "TaxRemittance"),
            "PartyB": KRA_SHORT_CODE,
            **to_wire(self),
        }
        return post("/mpesa/b2b/v1/remittax", body)

    def parse(self, response: HttpResponse) -> Accepted:
        """The acceptance; raises as :func:`~mpesa_core.daraja.answers.parse_acceptance` says."""
        return parse_acceptance(response, Accepted, moves_money=self.moves_money)
