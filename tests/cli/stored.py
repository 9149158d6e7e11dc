"""Rows in a real SQLite file, as a program would have left them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

from mpesa_core.daraja.callbacks import CallbackType, decode_callback
from mpesa_core.payments.records import CallbackDraft, Status, TransactionDraft, TransactionType
from mpesa_core.repository.sqlite import SqliteRepository

CHECKOUT = "ws_CO_21112026090000000708374149"
TOKEN = "a" * 32


def now():
    return datetime.now(UTC)


def ago(seconds):
    return now() - timedelta(seconds=seconds)


class Stored:
    """A payments file; each method opens it anew, as another process would have it open."""

    def __init__(self, path):
        self.path = path
        self._using(lambda repository: None)

    def _using(self, work):
        repository = SqliteRepository(self.path, synchronous="OFF")
        try:
            return work(repository)
        finally:
            repository.close()

    def payment(self, **fields):
        """A prompt that M-PESA has accepted."""
        given = {
            "id": uuid4(),
            "transaction_type": TransactionType.STK_PUSH,
            "status": Status.PROCESSING,
            "short_code": "174379",
            "checkout_request_id": CHECKOUT,
            "callback_token": TOKEN,
            "phone_number": "254708374149",
            "amount": Decimal(100),
            "account_reference": "INV-1",
            "initiated_at": ago(20),
        }
        return self._using(lambda repository: repository.add(TransactionDraft(**{**given, **fields})))

    def settled(self, *, announced, **fields):
        """A payment that is paid, announced or not."""
        return self.payment(
            status=Status.SUCCESS,
            mpesa_receipt_number="UKL1234567",
            result_code=0,
            result_code_text="0",
            settled_at=ago(10),
            settled_by="callback",
            confirmed_at=ago(10),
            generation=1,
            announce_until=None if announced else ago(5),
            idempotency_locked=not announced,
            **fields,
        )

    def callback(self, body=None, callback_type=CallbackType.STK, token=TOKEN, **fields):
        """A callback that waits to be processed; says that the prompt was paid."""
        raw = json.dumps(paid() if body is None else body).encode()
        message = decode_callback(callback_type, raw)
        given = {
            "id": uuid4(),
            "callback_type": callback_type,
            "raw_bytes": raw,
            "raw_body": message.raw,
            "token": token,
            "correlation_id": message.correlation_id,
            "received_at": ago(1),
            "next_attempt_at": ago(1),
        }
        return self._using(lambda repository: repository.add_callback(CallbackDraft(**{**given, **fields})))

    def row(self, transaction_id):
        return self._using(lambda repository: repository.get(transaction_id))

    def callback_row(self, callback_id):
        return self._using(lambda repository: repository.get_callback(callback_id))


def paid(amount=100, receipt="UKL1234567"):
    items = [{"Name": "Amount", "Value": amount}, {"Name": "MpesaReceiptNumber", "Value": receipt}]
    return {
        "Body": {
            "stkCallback": {
                "MerchantRequestID": "1-2-3",
                "CheckoutRequestID": CHECKOUT,
                "ResultCode": 0,
                "ResultDesc": "The service request is processed successfully.",
                "CallbackMetadata": {"Item": items},
            }
        }
    }
