"""The JSON that Daraja sends: answers, errors and callbacks, in the shapes that were published and captured.

Written on its own and not with the SDK's codec on purpose: a misspelt name in the codec would otherwise be believed by
both sides. Source of the shapes: Safaricom's portal pages and captured traffic, kept as samples beside the tests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.sandbox.ledger import Balances
from mpesa_core.values import daraja_timestamp, to_nairobi

__all__ = [
    "ACCEPTED",
    "account_balance",
    "account_line",
    "b2c_parameters",
    "balance_parameters",
    "c2b",
    "dumps",
    "error",
    "firewall_page",
    "gateway_fault",
    "hashed_phone",
    "internal_results_url",
    "items",
    "json_response",
    "locked_balance_parameters",
    "masked_phone",
    "result",
    "reversal_parameters",
    "status_parameters",
    "stk_callback",
    "timeout_result",
    "timestamp_number",
]

ACCEPTED: Final = "Accept the service request successfully."

_RESULTS_URL: Final = "https://internalsandbox.safaricom.co.ke/mpesa/{}results/v1/submit"


def dumps(value: Any) -> bytes:
    """JSON with every Decimal as the literal that it holds: ``1.00`` stays so, which the standard encoder cannot."""
    return _text(value).encode()


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(str(key))}:{_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return "[" + ",".join(map(_text, value)) + "]"
    return json.dumps(value)


def json_response(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> HttpResponse:
    """An answer of Daraja's own."""
    return HttpResponse(
        status=status, headers={"content-type": "application/json", **(headers or {})}, body=dumps(body)
    )


def error(status: int, code: str, message: str, request_id: str | None) -> HttpResponse:
    """Daraja's usual error envelope; without a request id where that is None, as in some answers to STK queries."""
    body = {"errorCode": code, "errorMessage": message}
    return json_response(status, body if request_id is None else {"requestId": request_id, **body})


def gateway_fault(
    status: int, text: str, code: str, *, reason: str = "", retry_after: int | None = None
) -> HttpResponse:
    """The API gateway's own envelope, which is not Daraja's."""
    detail = {"errorcode": code, **({"reason": reason} if reason else {})}
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    return json_response(status, {"fault": {"faultstring": text, "detail": detail}}, headers)


def firewall_page(status: int) -> HttpResponse:
    """The firewall's HTML page."""
    page = (
        b'<html><head><META NAME="robots" CONTENT="noindex,nofollow"></head><body>Request unsuccessful. '
        b"Incapsula incident ID: 000000000000000000-000000000000000000</body></html>"
    )
    return HttpResponse(status=status, headers={"content-type": "text/html"}, body=page)


def timestamp_number(moment: datetime) -> int:
    """``YYYYMMDDHHmmss`` in Nairobi, as a number."""
    return int(daraja_timestamp(moment))


def masked_phone(phone: str) -> str:
    """As C2B v2 callbacks have it: ``2547 ***** 126``."""
    return f"{phone[:4]} ***** {phone[-3:]}"


def hashed_phone(phone: str) -> str:
    """As C2B v1 callbacks have it: SHA-256 over the digits, in hexadecimal."""
    return hashlib.sha256(phone.encode()).hexdigest()


def stk_callback(
    *,
    merchant_request_id: str,
    checkout_request_id: str,
    code: int | str,
    description: str,
    paid: tuple[Decimal, str, datetime, int | str] | None,
) -> dict[str, Any]:
    """The callback to CallBackURL.

    Args:
        merchant_request_id: of the push.
        checkout_request_id: of the push.
        code: the result code.
        description: M-PESA's words.
        paid: amount in shillings, receipt, moment and phone of a payment; None for a failure, which has no items.
    """
    callback: dict[str, Any] = {
        "MerchantRequestID": merchant_request_id,
        "CheckoutRequestID": checkout_request_id,
        "ResultCode": code,
        "ResultDesc": description,
    }
    if paid is not None:
        amount, receipt, moment, phone = paid
        callback["CallbackMetadata"] = {
            "Item": [
                {"Name": "Amount", "Value": amount.quantize(Decimal("0.01"))},
                {"Name": "MpesaReceiptNumber", "Value": receipt},
                {"Name": "Balance"},
                {"Name": "TransactionDate", "Value": timestamp_number(moment)},
                {"Name": "PhoneNumber", "Value": phone},
            ]
        }
    return {"Body": {"stkCallback": callback}}


def c2b(
    *,
    transaction_type: str,
    receipt: str,
    moment: datetime,
    amount: Decimal,
    short_code: str,
    reference: str,
    balance: Decimal | None,
    third_party_id: str,
    msisdn: str,
    first_name: str,
) -> dict[str, Any]:
    """A validation (without a balance) or confirmation: flat, and every value is text."""
    return {
        "TransactionType": transaction_type,
        "TransID": receipt,
        "TransTime": daraja_timestamp(moment),
        "TransAmount": f"{amount:.2f}",
        "BusinessShortCode": short_code,
        "BillRefNumber": reference,
        "InvoiceNumber": "",
        "OrgAccountBalance": "" if balance is None else f"{balance:.2f}",
        "ThirdPartyTransID": third_party_id,
        "MSISDN": msisdn,
        "FirstName": first_name,
        "MiddleName": "",
        "LastName": "",
    }


def result(
    *,
    code: int | str,
    description: str,
    originator_conversation_id: str,
    conversation_id: str,
    transaction_id: str,
    parameters: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None,
    reference_item: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    as_text: bool = False,
) -> dict[str, Any]:
    """The envelope of every result callback; ``parameters`` is one object, not a list, in some failures.

    ``as_text`` sends type and code as text, as results of payments to businesses have them.
    """
    told: dict[str, Any] = {
        "ResultType": "0" if as_text else 0,
        "ResultCode": str(code) if as_text else code,
        "ResultDesc": description,
        "OriginatorConversationID": originator_conversation_id,
        "ConversationID": conversation_id,
        "TransactionID": transaction_id,
    }
    if parameters is not None:
        told["ResultParameters"] = {"ResultParameter": parameters}
    told["ReferenceData"] = {"ReferenceItem": reference_item}
    return {"Result": told}


def timeout_result(*, originator_conversation_id: str, conversation_id: str, transaction_id: str) -> dict[str, Any]:
    """A queue timeout notice in the form that some SDKs expect; Safaricom publishes none."""
    return {
        "Result": {
            "ResultType": 1,
            "ResultCode": "1",
            "ResultDesc": "The service request timed out.",
            "OriginatorConversationID": originator_conversation_id,
            "ConversationID": conversation_id,
            "TransactionID": transaction_id,
        }
    }


def internal_results_url(product: str) -> dict[str, str]:
    """The reference item of a result: an address inside Safaricom's network, which tells the receiver nothing."""
    return {"Key": "QueueTimeoutURL", "Value": _RESULTS_URL.format(product)}


def b2c_parameters(
    *, amount: Decimal, receipt: str, phone: str, name: str, moment: datetime, balances: Balances
) -> list[dict[str, Any]]:
    """The parameters of a payout that was paid."""
    return items(
        TransactionAmount=_number(amount),
        TransactionReceipt=receipt,
        ReceiverPartyPublicName=f"{phone} - {name}",
        TransactionCompletedDateTime=to_nairobi(moment).strftime("%d.%m.%Y %H:%M:%S"),
        B2CUtilityAccountAvailableFunds=_cents(balances.utility),
        B2CWorkingAccountAvailableFunds=_cents(balances.working),
        B2CRecipientIsRegisteredCustomer="Y",
        B2CChargesPaidAccountAvailableFunds=_cents(balances.charges),
    )


def reversal_parameters(
    *, amount: Decimal, original: str, customer: str, organisation: str, moment: datetime, balances: Balances
) -> list[dict[str, Any]]:
    """The parameters of a reversal that was carried out."""
    return items(
        DebitAccountBalance=account_line("Utility Account", balances.utility),
        Amount=_cents(amount),
        TransCompletedTime=timestamp_number(moment),
        OriginalTransactionID=original,
        Charge=Decimal("0.00"),
        CreditPartyPublicName=customer,
        DebitPartyPublicName=organisation,
    )


def status_parameters(
    *,
    receipt: str | None,
    status: str,
    amount: Decimal,
    reason: str,
    initiated: datetime,
    finalised: datetime | None,
    debit_party: str,
    credit_party: str,
    account: str,
    originator_conversation_id: str,
    conversation_id: str,
) -> list[dict[str, Any]]:
    """The parameters of an answered status question; the identifiers are the payment's, not the question's."""
    told = items(
        DebitPartyName=debit_party,
        CreditPartyName=credit_party,
        OriginatorConversationID=originator_conversation_id,
        InitiatedTime=timestamp_number(initiated),
        DebitAccountType=account,
    )
    told += [{"Key": "DebitPartyCharges"}, {"Key": "TransactionReason"}]
    told += items(ReasonType=reason, TransactionStatus=status)
    if finalised is not None:
        told += items(FinalisedTime=timestamp_number(finalised))
    told += items(Amount=_number(amount), ConversationID=conversation_id)
    return told + (items(ReceiptNo=receipt) if receipt is not None else [{"Key": "ReceiptNo"}])


def balance_parameters(*, balances: Balances, moment: datetime) -> list[dict[str, Any]]:
    """The parameters of an answered balance question."""
    return items(
        ActionType="AccountBalance",
        AccountBalance=account_balance(balances),
        BOCompletedTime=timestamp_number(moment),
    )


def locked_balance_parameters(*, moment: datetime) -> list[dict[str, Any]]:
    """The parameters of a balance question by an operator whose password is locked (a failure that has some)."""
    return items(
        ActionType="AccountBalance",
        ErrorMsg="API Password is locked. ",
        BOCompletedTime=timestamp_number(moment),
    )


def account_balance(balances: Balances) -> str:
    """All accounts in one text: ``Name|Currency|Current|Available|Reserved|Uncleared``, joined by ``&``."""
    accounts = (
        ("Working Account", balances.working),
        ("Utility Account", balances.utility),
        ("Charges Paid Account", balances.charges),
        ("Organization Settlement Account", balances.settlement),
    )
    return "&".join(account_line(name, amount) for name, amount in accounts)


def account_line(name: str, amount: Decimal) -> str:
    """One account: ``Name|Currency|Current|Available|Reserved|Uncleared``."""
    return f"{name}|KES|{amount:.2f}|{amount:.2f}|0.00|0.00"


def items(**values: Any) -> list[dict[str, Any]]:
    """Parameters or reference items, with these keys and values."""
    return [{"Key": key, "Value": value} for key, value in values.items()]


def _number(amount: Decimal) -> int | Decimal:
    return int(amount) if amount == amount.to_integral_value() else _cents(amount)


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"))
