"""The JSON of what is reported between businesses: results of payments, express checkouts, standing orders, bills.

Written on its own and not with the SDK's codec, for the reason that :mod:`mpesa_core.sandbox.bodies` gives. Sources:
the "Business Pay Bill", "Business Buy Goods", "B2C Account Top Up", "Tax Remittance", "B2B Express Checkout", "M-PESA
Ratiba" and "Bill Manager" pages of Safaricom's portal, and captured failures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from mpesa_core.sandbox.bodies import account_line, internal_results_url, items
from mpesa_core.values import daraja_timestamp, to_nairobi

__all__ = [
    "b2b_details",
    "b2b_parameters",
    "bill_payment",
    "express_checkout",
    "standing_order_agreed",
    "standing_order_refused",
]


def b2b_parameters(
    *, amount: Decimal, account: str, balance: Decimal, charge: str, receiver: str, moment: datetime
) -> list[dict[str, Any]]:
    """The parameters of a payment to a business; every value is text, and a balance looks like a struct.

    Args:
        amount: shillings.
        account: the account that it left, such as ``Working Account``.
        balance: what that account now holds.
        charge: M-PESA's, ``Business Pay Bill Charge|KES|77.00``, or "".
        receiver: number and name of the business that was paid.
        moment: when.
    """
    cents = int(balance * 100)
    struct = f"{{Amount={{CurrencyCode=KES, MinimumAmount={cents}, BasicAmount={balance:.2f}}}}}"
    return items(
        DebitAccountBalance=struct,
        Amount=f"{amount:.2f}",
        DebitPartyAffectedAccountBalance=account_line(account, balance),
        TransCompletedTime=daraja_timestamp(moment),
        DebitPartyCharges=charge,
        ReceiverPartyPublicName=receiver,
        Currency="KES",
        InitiatorAccountCurrentBalance=struct,
    )


def b2b_details(
    code: int | str, *, reference: str, timeout_url: str, to_bulk: bool, moment: datetime
) -> tuple[Sequence[Mapping[str, Any]] | Mapping[str, Any] | None, Sequence[Mapping[str, Any]] | Mapping[str, Any]]:
    """Parameters and reference items of a payment to a business, which differ from code to code as they were seen to.

    Args:
        code: the result code; a success has the caller's own URL among its reference items, a failure an internal one.
        reference: the account reference; it goes out as a number where it looks like one, except in a success.
        timeout_url: the caller's.
        to_bulk: whether it is a top-up.
        moment: when.
    """
    plain = {"Key": "BillReferenceNumber", "Value": reference}
    as_sent = {**plain, "Value": int(reference)} if _is_number(reference) else plain
    internal, occasion = internal_results_url("b2b"), {"Key": "Occassion"}
    if code == 0:
        return None, [plain, {"Key": "QueueTimeoutURL", "Value": timeout_url}]
    if code == 2001 and to_bulk:
        return as_sent, [as_sent, internal_results_url("ab"), occasion]
    if code == 2001:
        return items(BOCompletedTime=daraja_timestamp(moment)), internal_results_url("ab")
    if code == "SFC_IC0003":
        return None, [plain, internal]
    return None, [as_sent, internal, occasion]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and str(int(text)) == text


def express_checkout(
    *,
    code: int | str,
    description: str,
    amount: Decimal,
    request_id: str,
    reference: str,
    paid: tuple[str, str] | None,
) -> dict[str, str]:
    """The callback of an express checkout: flat, and every value is text.

    Args:
        code: the result code.
        description: M-PESA's words.
        amount: shillings.
        request_id: the caller's RequestRefID.
        reference: the caller's paymentRef.
        paid: ConversationID and receipt of a payment; None for a failure.
    """
    told = {"resultCode": str(code), "resultDesc": description, "amount": f"{amount:.1f}", "requestId": request_id}
    if paid is None:
        return {**told, "paymentReference": reference}
    return {**told, "resultType": "0", "conversationID": paid[0], "transactionId": paid[1], "status": "SUCCESS"}


def standing_order_agreed(
    *, response_ref: str, request_ref: str, description: str, schedule: str, phone: str, edition: str
) -> dict[str, Any]:
    """The callback of a standing order that the customer agreed to, in camelCase."""
    data = {"TransactionID": schedule, "responseCode": "0", "Status": "OKAY"}
    if edition == "2026":
        data = {**data, "ResponseCode": "0", "status": "ACTIVE"}
    data["Msisdn"] = f"{phone[:3]}******{phone[-3:]}"
    return {
        "responseHeader": {
            "responseRefID": response_ref,
            "requestRefID": request_ref,
            "responseCode": "0",
            "responseDescription": description,
        },
        "responseBody": {"responseData": [{"name": name, "value": value} for name, value in data.items()]},
    }


def standing_order_refused(*, response_ref: str, request_ref: str, code: int | str, phone: str) -> dict[str, Any]:
    """The callback of a standing order that there will not be, in PascalCase."""
    data = {
        "TransactionID": "0000000000",
        "responseCode": str(code),
        "Status": "ERROR",
        "Msisdn": f"*********{phone[-3:]}",
    }
    return {
        "ResponseHeader": {
            "responseRefID": response_ref,
            "requestRefID": request_ref,
            "responseCode": str(code),
            "responseDescription": "Error",
        },
        "ResponseBody": {"ResponseData": [{"Name": name, "Value": value} for name, value in data.items()]},
    }


def bill_payment(
    *, receipt: str, amount: Decimal, phone: str, moment: datetime, reference: str, short_code: str
) -> dict[str, str]:
    """The push about a bill that was paid, in whole or in part: flat, and every value is text."""
    whole = amount == amount.to_integral_value()
    return {
        "transactionId": receipt,
        "paidAmount": str(int(amount)) if whole else f"{amount:.2f}",
        "msisdn": phone,
        "dateCreated": to_nairobi(moment).date().isoformat(),
        "accountReference": reference,
        "shortCode": short_code,
    }
