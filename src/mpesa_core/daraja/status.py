"""Transaction status: asks what became of a payment, payout or reversal; the answer comes as a result.

Source: the "Transaction Status" page of Safaricom's developer portal.
"""

from __future__ import annotations

from typing import ClassVar

import attrs

from mpesa_core.daraja.answers import Accepted, parse_acceptance
from mpesa_core.daraja.codec import to_wire, wire
from mpesa_core.daraja.operation import Context, HttpRequest, HttpResponse
from mpesa_core.daraja.outgoing import ResultUrls, originator_id, post, receipt, setting
from mpesa_core.errors import InvalidField
from mpesa_core.values import free_text

__all__ = ["TransactionStatus"]


def _receipt(value: object) -> str | None:
    return None if value is None else receipt(value, "transaction_id")


def _originator(value: object) -> str | None:
    return None if value is None else originator_id(value)


def _occasion(value: object) -> str | None:
    return None if value in (None, "") else free_text(value, "occasion", shortest=1, longest=100)


@attrs.frozen(kw_only=True)
class TransactionStatus(ResultUrls):
    """Ask about a transaction by its receipt, by the OriginatorConversationID of its request, or by both.

    The acceptance may echo the OriginatorConversationID that was asked about: know the question by its ConversationID.

    Attributes:
        transaction_id: the receipt, where it is known; the better of the two.
        originator_conversation_id: of the payout or reversal (sent as ``OriginalConversationID``, as the page has it
            since 2025).
        remarks: 2 to 100 characters.
        occasion: at most 100 characters, or None.
        result_url, timeout_url: see :class:`~mpesa_core.daraja.outgoing.ResultUrls`.

    Raises:
        InvalidField: at construction, neither of the two, or a value that M-PESA would refuse.
    """

    moves_money: ClassVar[bool] = False
    needs_credential: ClassVar[bool] = True

    transaction_id: str | None = attrs.field(default=None, converter=_receipt, metadata=wire("TransactionID"))
    originator_conversation_id: str | None = attrs.field(
        default=None, converter=_originator, metadata=wire("OriginalConversationID")
    )
    occasion: str | None = attrs.field(default=None, converter=_occasion, metadata=wire("Occasion"))

    def __attrs_post_init__(self) -> None:
        if self.transaction_id is None and self.originator_conversation_id is None:
            raise InvalidField("transaction_id", None, expected="a receipt here, or an originator_conversation_id")

    def build(self, context: Context) -> HttpRequest:
        """The request.

        Raises:
            ConfigurationError: the account lacks short_code, initiator_name or the operator's password.
        """
        body = {
            "Initiator": setting(context, "initiator_name", "TransactionStatus"),
            "SecurityCredential": setting(context, "security_credential", "TransactionStatus"),
            "CommandID": "TransactionStatusQuery",
            "PartyA": setting(context, "short_code", "TransactionStatus"),
            "IdentifierType": "4",  # a short code
            **to_wire(self),
        }
        return post("/mpesa/transactionstatus/v1/query", body)

    def parse(self, response: HttpResponse) -> Accepted:
        """The acceptance; raises as :func:`~mpesa_core.daraja.answers.parse_acceptance` says."""
        return parse_acceptance(response, Accepted, moves_money=self.moves_money)
