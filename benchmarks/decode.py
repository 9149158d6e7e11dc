"""From the bytes of a callback to the typed callback, against ``json.loads`` and reading the same raw fields."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

from benchmarks.harness import Reach, Scale, Timed, alone, benchmark, require
from mpesa_core.daraja.callbacks import Callback, CallbackType, decode_callback
from mpesa_core.testing.payloads import b2c_success, c2b_confirmation, posted, stk_result, stk_success

_STK_FIELDS = ("MerchantRequestID", "CheckoutRequestID", "ResultCode", "ResultDesc")
_C2B_FIELDS = ("TransID", "TransTime", "TransAmount", "BusinessShortCode", "BillRefNumber", "MSISDN", "FirstName")
_RESULT_FIELDS = ("ResultCode", "ResultDesc", "OriginatorConversationID", "ConversationID", "TransactionID")


def _raw_stk(body: bytes) -> Callable[[], dict[str, Any]]:
    def read() -> dict[str, Any]:
        callback = json.loads(body)["Body"]["stkCallback"]
        found = {name: callback[name] for name in _STK_FIELDS}
        if "CallbackMetadata" in callback:
            for item in callback["CallbackMetadata"]["Item"]:
                found[item["Name"]] = item.get("Value")
        return found

    return read


def _raw_c2b(body: bytes) -> Callable[[], dict[str, Any]]:
    def read() -> dict[str, Any]:
        callback = json.loads(body)
        return {name: callback[name] for name in _C2B_FIELDS}

    return read


def _raw_result(body: bytes) -> Callable[[], dict[str, Any]]:
    def read() -> dict[str, Any]:
        result = json.loads(body)["Result"]
        found = {name: result[name] for name in _RESULT_FIELDS}
        for pair in result["ResultParameters"]["ResultParameter"]:
            found[pair["Key"]] = pair["Value"]
        return found

    return read


def _is_paid(callback: Callback) -> None:
    require(callback.amount == Decimal("100.00") and isinstance(callback.amount, Decimal), "the amount is not exact")
    moment = callback.occurred_at
    require(moment is not None and moment.utcoffset() == timedelta(0), "the date is not aware, in UTC")
    require(callback.receipt_number is not None, "the receipt is missing")


def _is_cancelled(callback: Callback) -> None:
    require(callback.result_code == 1032 and callback.receipt_number is None, "the failure was misread")


_PAYOUT = posted(
    b2c_success(
        TransactionCompletedDateTime="21.11.2026 12:00:05",
        B2CRecipientIsRegisteredCustomer="Y",
        B2CChargesPaidAccountAvailableFunds=Decimal("-4510.00"),
        B2CUtilityAccountAvailableFunds=Decimal("10116.00"),
        B2CWorkingAccountAvailableFunds=Decimal("900000.00"),
    )
)
_BODIES = (
    ("STK success", CallbackType.STK, posted(stk_success(amount=Decimal("100.00"))), _raw_stk, _is_paid),
    ("STK failure", CallbackType.STK, posted(stk_result(1032)), _raw_stk, _is_cancelled),
    ("C2B confirmation", CallbackType.C2B_CONFIRMATION, posted(c2b_confirmation()), _raw_c2b, _is_paid),
    ("B2C result", CallbackType.B2C_RESULT, _PAYOUT, _raw_result, _is_paid),
)


def _add(name: str, kind: CallbackType, body: bytes, raw: Callable[..., Any], holds: Callable[..., None]) -> None:
    @benchmark(f"decode: {name}", Reach(time=1.25))
    @contextmanager
    def _sides(scale: Scale) -> Iterator[tuple[Timed, Timed]]:
        count = scale.many(5000, 500)
        read = raw(body)
        expected = read()
        floor = Timed(read, count, lambda found: require(found == expected, "the raw fields were misread"))
        yield floor, Timed(lambda: decode_callback(kind, body), count, holds)


for _body in _BODIES:
    _add(*_body)

alone(__name__)
