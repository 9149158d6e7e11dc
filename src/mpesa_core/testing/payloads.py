"""Bodies as M-PESA posts them, for the tests of a program: exact shapes, invented values.

Each function gives the parsed body; :func:`posted` turns it into bytes. Shapes: the samples on the "M-PESA Express",
"Customer to Business" and "Business to Customer" pages of Safaricom's developer portal.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from mpesa_core.daraja.codec import dumps

__all__ = ["b2c_success", "c2b_confirmation", "posted", "result", "stk_result", "stk_success"]

_DONE = "The service request is processed successfully."


def posted(body: Any) -> bytes:
    """The body as it goes over the wire."""
    return dumps(body)


def stk_result(
    code: int | str,
    description: str = "Request cancelled by user",
    checkout: str = "ws_CO_1",
    *,
    merchant: str = "29115-1-1",
    **more: Any,
) -> dict[str, Any]:
    """The callback of an STK push that was not paid.

    Args:
        code: its ResultCode; 1032 is a cancellation.
        description: its ResultDesc.
        checkout: the push's CheckoutRequestID.
        merchant: its MerchantRequestID.
        more: further members, such as CallbackMetadata.
    """
    callback = {
        "MerchantRequestID": merchant,
        "CheckoutRequestID": checkout,
        "ResultCode": code,
        "ResultDesc": description,
        **more,
    }
    return {"Body": {"stkCallback": callback}}


def stk_success(
    checkout: str = "ws_CO_1",
    amount: Decimal | int = 100,
    receipt: str = "NLJ7RT61SV",
    phone: int | str = 254708374149,
) -> dict[str, Any]:
    """The callback of an STK push that was paid; ``amount`` in shillings."""
    items = [
        {"Name": "Amount", "Value": amount},
        {"Name": "MpesaReceiptNumber", "Value": receipt},
        {"Name": "Balance"},
        {"Name": "TransactionDate", "Value": 20261121120005},
        {"Name": "PhoneNumber", "Value": phone},
    ]
    return stk_result(0, _DONE, checkout, CallbackMetadata={"Item": items})


def c2b_confirmation(
    receipt: str = "NLJ7RT61SV",
    amount: str = "100.00",
    reference: str = "INV-1",
    msisdn: str = "2547 ***** 149",
    short: str = "174379",
) -> dict[str, Any]:
    """The confirmation of a payment by a customer: every value is text, the number masked as version 2 has it."""
    return {
        "TransactionType": "Pay Bill",
        "TransID": receipt,
        "TransTime": "20261121120005",
        "TransAmount": amount,
        "BusinessShortCode": short,
        "BillRefNumber": reference,
        "InvoiceNumber": "",
        "OrgAccountBalance": "49197.00",
        "ThirdPartyTransID": "",
        "MSISDN": msisdn,
        "FirstName": "John",
    }


def result(
    code: int | str = 0,
    receipt: str = "SG632NMUAB",
    conversation: str = "AG_20261121_1",
    originator: str = "10571-1-1",
    **parameters: Any,
) -> dict[str, Any]:
    """A result as payouts, transfers, reversals and questions have it; without parameters where it failed."""
    body: dict[str, Any] = {
        "ResultType": 0,
        "ResultCode": code,
        "ResultDesc": _DONE if code == 0 else "It failed.",
        "OriginatorConversationID": originator,
        "ConversationID": conversation,
        "TransactionID": receipt,
    }
    if parameters:
        pairs = [{"Key": key, "Value": value} for key, value in parameters.items()]
        body["ResultParameters"] = {"ResultParameter": pairs}
    return {"Result": body}


def b2c_success(
    amount: Decimal | int = 100,
    receipt: str = "SG632NMUAB",
    conversation: str = "AG_20261121_1",
    receiver: str = "254708374149 - JOHN DOE",
    **more: Any,
) -> dict[str, Any]:
    """The result of a payout that arrived; ``amount`` in shillings."""
    return result(
        0,
        receipt,
        conversation,
        TransactionAmount=amount,
        TransactionReceipt=receipt,
        ReceiverPartyPublicName=receiver,
        **more,
    )
