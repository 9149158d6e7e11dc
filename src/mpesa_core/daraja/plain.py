"""The callbacks that come most, in the form in which they nearly always come: read by looking each fact up.

A shortcut, and no second opinion. What has exactly this form is read to the letter as the readers of
:mod:`~mpesa_core.daraja.callbacks` would read it; anything else, whatever is odd about it, is left to them.

It is fast because it does not search for what cannot be there. In JSON a colon follows each key, and otherwise stands
only inside of a text. So where a body has no more colons than the keys and texts that were looked up account for, no
key stands there twice and no other key stands there at all, at any depth: neither a credential nor an object unread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

from mpesa_core.daraja.codec import (
    phone_of_party,
    scan,
    to_decimal,
    to_identifier,
    to_phone,
    to_receipt,
    to_shillings,
    to_text,
)
from mpesa_core.daraja.codes import Family, Outcome, outcome_of
from mpesa_core.daraja.messages import C2BCallback, Callback, CallbackType, ResultCallback, StkCallback
from mpesa_core.values import from_nairobi

__all__ = ["read_plain"]

_LONGEST = 4096
"""Bytes; what is longer than any of M-PESA's is not worth two attempts."""

# Members of an enum by names of this module, which are found faster.
_SUCCESS, _PENDING, _UNKNOWN = Outcome.SUCCESS, Outcome.PENDING, Outcome.UNKNOWN
_STK, _B2C = Family.STK, Family.B2C
_C2B_VALIDATION = CallbackType.C2B_VALIDATION


def read_plain(kind: CallbackType, body: bytes) -> Callback | None:
    """The callback, where it has the usual form of its kind; else None. Never raises."""
    read = _READERS.get(kind)
    if read is None or len(body) > _LONGEST:
        return None
    try:
        text = body.decode()
        raw, end = scan(text)
        # An escape can hide a colon, or spell a character that no store takes.
        return None if end != len(text) or "\\" in text else read(kind, text, raw)
    except Exception:  # noqa: BLE001 - whatever it is, it is not the usual form; the other readers say what it is
        return None


def _stk(kind: CallbackType, text: str, raw: Any) -> Callback | None:
    told = raw["Body"]["stkCallback"]
    code, description = told["ResultCode"], to_text(told["ResultDesc"])
    checkout, merchant = to_identifier(told["CheckoutRequestID"]), to_text(told["MerchantRequestID"])
    if type(code) is not int or not (description and checkout and merchant):
        return None
    outcome = outcome_of(code, _STK, description=description)
    if outcome is not _SUCCESS:
        if outcome is _UNKNOWN or text.count(":") != 6:
            return None
        return StkCallback(
            callback_type=kind,
            outcome=outcome,
            correlation_id=checkout,
            result_code=code,
            result_desc=description,
            checkout_request_id=checkout,
            merchant_request_id=merchant,
            raw=raw,
        )
    items = told["CallbackMetadata"]["Item"]
    facts = {item["Name"]: item.get("Value") for item in items}
    receipt, amount = to_receipt(facts["MpesaReceiptNumber"]), to_shillings(facts["Amount"])
    phone, moment = to_phone(facts["PhoneNumber"]), from_nairobi(facts["TransactionDate"])
    if not receipt or amount is None or phone is None or moment is None:
        return None
    # Four facts with a name and a value, and perhaps the name of a balance that is not told.
    if len(facts) != 4 + ("Balance" in facts) or text.count(":") != 12 + len(items):
        return None
    return StkCallback(
        callback_type=kind,
        outcome=outcome,
        correlation_id=checkout,
        result_code=code,
        result_desc=description,
        receipt_number=receipt,
        amount=amount,
        phone_number=phone,
        occurred_at=moment,
        checkout_request_id=checkout,
        merchant_request_id=merchant,
        raw=raw,
    )


_C2B_KEYS = frozenset(
    {
        "TransactionType",
        "TransID",
        "TransTime",
        "TransAmount",
        "BusinessShortCode",
        "BillRefNumber",
        "InvoiceNumber",
        "OrgAccountBalance",
        "ThirdPartyTransID",
        "MSISDN",
        "FirstName",
        "MiddleName",
        "LastName",
    }
)


def _c2b(kind: CallbackType, text: str, raw: Any) -> Callback | None:
    if not raw.keys() <= _C2B_KEYS or "[" in text or text.count(":") != len(raw):
        return None
    told = raw.get
    receipt, amount = to_receipt(raw["TransID"]), to_shillings(raw["TransAmount"])
    short_code, reference = to_identifier(raw["BusinessShortCode"]), to_identifier(raw["BillRefNumber"])
    if not receipt or amount is None or amount <= 0 or not short_code:
        return None
    if reference is None and raw["BillRefNumber"] != "":
        return None
    asked = kind is _C2B_VALIDATION
    return C2BCallback(
        callback_type=kind,
        outcome=_PENDING if asked else _SUCCESS,
        correlation_id=receipt,
        receipt_number=None if asked else receipt,
        amount=amount,
        phone_number=to_phone(told("MSISDN")),
        short_code=short_code,
        account_reference=reference,
        occurred_at=from_nairobi(told("TransTime")),
        raw=raw,
        transaction_id=receipt,
        transaction_type=to_text(told("TransactionType")),
        third_party_id=to_text(told("ThirdPartyTransID")),
        first_name=to_text(told("FirstName")),
        middle_name=to_text(told("MiddleName")),
        last_name=to_text(told("LastName")),
        org_balance=to_decimal(told("OrgAccountBalance")),
        invoice_number=to_text(told("InvoiceNumber")),
    )


_PAYOUT_FACTS = frozenset(
    {
        "TransactionAmount",
        "TransactionReceipt",
        "ReceiverPartyPublicName",
        "TransactionCompletedDateTime",
        "B2CRecipientIsRegisteredCustomer",
        "B2CChargesPaidAccountAvailableFunds",
        "B2CUtilityAccountAvailableFunds",
        "B2CWorkingAccountAvailableFunds",
    }
)


_PAIR = itemgetter("Key", "Value")


def _payout(kind: CallbackType, text: str, raw: Any) -> Callback | None:
    told = raw["Result"]
    pairs = tuple(map(_PAIR, told["ResultParameters"]["ResultParameter"]))
    facts = dict(pairs)
    completed = facts["TransactionCompletedDateTime"]
    keys, colons = 2 + len(told) + 2 * len(pairs), completed.count(":")
    references: tuple[tuple[str, Any], ...] = ()
    if len(told) == 8:
        reference = told["ReferenceData"]["ReferenceItem"]
        references = (_PAIR(reference),)
        keys, colons = keys + 3, colons + reference["Value"].count(":")
        if reference["Key"] != "QueueTimeoutURL":
            return None
    elif len(told) != 7:
        return None
    if len(facts) != len(pairs) or not facts.keys() <= _PAYOUT_FACTS:
        return None
    if text.count(":") != keys + colons or text.index("[") != text.rindex("["):
        return None
    code, description = told["ResultCode"], to_text(told["ResultDesc"])
    conversation = to_identifier(told["ConversationID"])
    originator = to_identifier(told["OriginatorConversationID"])
    receipt, amount = to_receipt(facts["TransactionReceipt"]), to_shillings(facts["TransactionAmount"])
    party = to_text(facts["ReceiverPartyPublicName"])
    if type(code) is not int or told["ResultType"] != 0 or not (description and conversation and originator):
        return None
    if not receipt or receipt != told["TransactionID"] or amount is None:
        return None
    if outcome_of(code, _B2C, description=description) is not _SUCCESS:
        return None
    return ResultCallback(
        callback_type=kind,
        outcome=_SUCCESS,
        correlation_id=conversation,
        result_code=code,
        result_desc=description,
        receipt_number=receipt,
        amount=amount,
        phone_number=phone_of_party(party),
        occurred_at=from_nairobi(completed),
        conversation_id=conversation,
        originator_conversation_id=originator,
        raw=raw,
        transaction_id=receipt,
        parameters=pairs,
        reference_items=references,
        party_name=party,
    )


_READERS: Mapping[CallbackType, Callable[[CallbackType, str, Any], Callback | None]] = {
    CallbackType.STK: _stk,
    CallbackType.C2B_VALIDATION: _c2b,
    CallbackType.C2B_CONFIRMATION: _c2b,
    CallbackType.B2C_RESULT: _payout,
}
