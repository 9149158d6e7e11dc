"""What M-PESA answers when it is asked what became of a payment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mpesa_core.sandbox import bodies, checks
from mpesa_core.sandbox.customers import Customer
from mpesa_core.sandbox.endings import Api, Ending
from mpesa_core.sandbox.ledger import Entry
from mpesa_core.sandbox.orders import Order
from mpesa_core.sandbox.organisation import Organisation

__all__ = ["payment_status"]

_STATUS_WORDS: Final = {
    Ending.PAY: "Completed",
    Ending.CANCEL: "Cancelled",
    Ending.EXPIRE: "Expired",
    Ending.NEVER: "Pending Authorized",
}
_REASONS: Final = {
    "SalaryPayment": "Salary Payment via API",
    "PromotionPayment": "Promotion Payment via API",
    "BusinessPayment": "Business Payment via API",
    "BusinessPayToPochi": "Business Payment to Pochi via API",
    "BusinessPayBill": "Business Pay Bill via API",
    "BusinessBuyGoods": "Business Buy Goods via API",
    "BusinessPayToBulk": "Business Pay to Bulk via API",
    "PayTaxToKRA": "Pay Tax to KRA via API",
    "TransactionReversal": "Transaction Reversal via API",
}


def payment_status(
    owner: Organisation,
    entry: Entry | None,
    about: Order | None,
    *,
    customer: Callable[[str], Customer],
    business: Callable[[str], str],
) -> list[dict[str, Any]]:
    """The parameters of the answer.

    Args:
        owner: whose payment it is.
        entry: the movement, where money moved.
        about: the order, where it was one; one of the two is there.
        customer: looks up a customer by phone number.
        business: the public name of a business by short code or till.
    """
    says = about.behaviour.query_says if about is not None else None
    if says is not None:
        status = _STATUS_WORDS.get(says, "Declined")
    elif entry is not None:
        status = "Completed"
    else:
        status = "Pending Authorized" if about is None or about.decided_at is None else "Declined"
    source = entry if entry is not None else about
    assert source is not None
    organisation = business(owner.short_code)
    other = business(source.counterparty) if source.counterparty else customer(source.phone).public_name
    incoming = entry.incoming if entry is not None else about is not None and about.api is Api.EXPRESS_CHECKOUT
    return bodies.status_parameters(
        receipt=entry.receipt if entry is not None and status == "Completed" else None,
        status=status,
        amount=source.amount,
        reason="Pay Bill Online" if incoming else _reason(about),
        initiated=about.at if about is not None else source.at,
        finalised=entry.at if entry is not None else about.decided_at if about is not None else None,
        debit_party=other if incoming else organisation,
        credit_party=organisation if incoming else other,
        account=_account(about, incoming=incoming),
        originator_conversation_id=source.originator_conversation_id or "",
        conversation_id=source.conversation_id or "",
    )


def _reason(order: Order | None) -> str:
    command = "TransactionReversal" if order is None else checks.text(order.fields, "CommandID")
    return _REASONS.get(command, "Business To Business Transfer via API")


def _account(order: Order | None, *, incoming: bool) -> str:
    if incoming:
        return "MMF Account For Customer"
    working = order is not None and order.source is not None and order.source.account == "working"
    return "Working Account" if working else "Utility Account"
