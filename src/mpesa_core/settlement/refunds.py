"""Giving a payment back: by M-PESA's reversal, or as a payout to the customer. Never more than came in.

What goes back is reserved on the payment's own row, under the refund's id, before the request leaves; it is freed only
when that refund is known to have failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from mpesa_core.daraja.b2c import B2CPayment
from mpesa_core.daraja.callbacks import CallbackType
from mpesa_core.daraja.operation import AnyOperation
from mpesa_core.daraja.reversal import Reversal
from mpesa_core.errors import InvalidField, RefundExceedsPayment, TransactionNotFound
from mpesa_core.payments.machine import is_known
from mpesa_core.payments.records import Key, Status, TransactionDraft, TransactionRecord, TransactionType
from mpesa_core.payments.standing import brought_money
from mpesa_core.settlement.effects import Procedure
from mpesa_core.settlement.sending import OPERATOR_KEYS, Sending
from mpesa_core.values import EXACT, money, total

__all__ = ["Refunds"]


class Refunds(Sending):
    """The procedures that give back."""

    def reverse(
        self,
        *,
        transaction: UUID,
        amount: object | None,
        remarks: str,
        idempotency_key: str | None,
        host: Mapping[str, Any],
    ) -> Procedure[TransactionRecord]:
        """Give a payment back by a reversal. See :meth:`mpesa_core.gateway.Gateway.reverse`."""
        payment, wanted = yield from self._refundable(transaction, amount, idempotency_key)
        if payment.mpesa_receipt_number is None:
            expected = "a payment with a receipt"
            remedy = "Its callback or C2B confirmation brings it; or refund it as a payout."
            raise InvalidField("transaction", payment.status, expected=expected, remedy=remedy)
        token = self._token()
        operation = Reversal(
            transaction_id=payment.mpesa_receipt_number,
            amount=wanted,
            remarks=remarks,
            **self._result_urls(CallbackType.REVERSAL_RESULT, token),
        )
        draft = self._draft(
            TransactionType.REVERSAL,
            payment.account,
            self._account(payment.account, "reverse", OPERATOR_KEYS),
            token,
            idempotency_key,
            host,
            phone_number=payment.phone_number,
            amount=operation.amount,
            account_reference=payment.mpesa_receipt_number,
            transaction_desc=remarks,
            parent_id=payment.id,
        )
        return (yield from self._give_back(draft, operation))

    def refund_by_payout(
        self,
        *,
        transaction: UUID,
        amount: object | None,
        phone_number: object | None,
        remarks: str,
        idempotency_key: str,
        host: Mapping[str, Any],
    ) -> Procedure[TransactionRecord]:
        """Give a payment back as a payout. See :meth:`mpesa_core.gateway.Gateway.refund`."""
        payment, wanted = yield from self._refundable(transaction, amount, idempotency_key)
        token, originator = self._token(), self._new_id().hex
        operation = B2CPayment(
            phone_number=phone_number if phone_number is not None else payment.phone_number,
            amount=wanted,
            remarks=remarks,
            originator_conversation_id=originator,
            **self._result_urls(CallbackType.B2C_RESULT, token),
        )
        draft = self._draft(
            TransactionType.B2C,
            payment.account,
            self._account(payment.account, "refund", OPERATOR_KEYS),
            token,
            idempotency_key,
            host,
            phone_number=operation.phone_number,
            amount=operation.amount,
            account_reference=payment.mpesa_receipt_number or "",
            transaction_desc=remarks,
            originator_conversation_id=originator,
            parent_id=payment.id,
        )
        return (yield from self._give_back(draft, operation))

    def _give_back(self, draft: TransactionDraft, operation: AnyOperation) -> Procedure[TransactionRecord]:
        row, ours = yield from self._record(draft)
        if not ours:
            return row
        try:
            yield from self._reserve(row)
        except (RefundExceedsPayment, InvalidField) as error:
            error.transaction = yield from self._unsent(row, str(error))
            raise
        row, _ = yield from self._send(row, operation)
        return row

    def _refundable(
        self, transaction: UUID, amount: object | None, idempotency_key: str | None
    ) -> Procedure[tuple[TransactionRecord, Decimal]]:
        """The payment, and how much of it is to go back; for a repeated key what the first call asked for."""
        payment = yield from self._store.get(transaction)
        if payment is None:
            raise TransactionNotFound(f"there is no transaction {transaction}")
        if not brought_money(payment):
            raise InvalidField(
                "transaction",
                f"{payment.transaction_type}, {payment.status}",
                expected="a payment by STK push or C2B that has succeeded",
                remedy="M-PESA reverses no payouts.",
            )
        if idempotency_key is not None:
            earlier = yield from self._store.find(Key.IDEMPOTENCY_KEY, idempotency_key)
            if earlier is not None:
                return payment, earlier.amount if amount is None else money(amount)
        gone = _total((yield from self._reserved(payment)))
        wanted = money(amount) if amount is not None else EXACT.subtract(payment.amount, gone)
        if wanted <= 0 or total([gone, wanted]) > payment.amount:
            raise RefundExceedsPayment(paid=payment.amount, reserved=gone, asked=wanted)
        return payment, wanted

    def _reserve(self, refund: TransactionRecord) -> Procedure[None]:
        assert refund.parent_id is not None
        while True:
            payment = yield from self._store.get(refund.parent_id)
            if payment is None or payment.status != Status.SUCCESS:
                status = payment.status if payment is not None else None
                raise InvalidField("transaction", status, expected="a payment that has succeeded and is not reversed")
            others = yield from self._reserved(payment)
            gone = _total(others)
            if total([gone, refund.amount]) > payment.amount:
                raise RefundExceedsPayment(paid=payment.amount, reserved=gone, asked=refund.amount)
            reserved = {**others, str(refund.id): str(refund.amount)}
            if (yield from self._store.change(payment.id, payment.version, {"reserved": reserved})) is not None:
                return

    def _reserved(self, payment: TransactionRecord) -> Procedure[dict[str, str]]:
        """What is going back or is back; what is known to have failed does not count.

        A sweep may call a refund unsent before its process has reserved it, so that nothing frees it again.
        """
        counts: dict[str, str] = {}
        for refund_id, amount in payment.reserved.items():
            refund = yield from self._store.get(UUID(refund_id))
            if refund is not None and refund.status == Status.FAILED and is_known(refund.status, refund.settled_by):
                continue
            counts[refund_id] = amount
        return counts


def _total(reserved: Mapping[str, str]) -> Decimal:
    return total(Decimal(amount) for amount in reserved.values())
