"""From a decoded callback to the evidence that the decision is made of."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from mpesa_core.daraja.callbacks import Callback, CallbackType
from mpesa_core.daraja.codes import Family, Outcome, reason_of
from mpesa_core.payments.decide import Evidence
from mpesa_core.payments.machine import Source
from mpesa_core.payments.records import TransactionType

__all__ = ["CONFIRMATIONS", "SPEAKS_OF", "evidence_of"]

_SOURCES: Final = {
    CallbackType.STK: Source.CALLBACK,
    CallbackType.STK_QUERY: Source.QUERY,
    CallbackType.C2B_CONFIRMATION: Source.CONFIRMATION,
    CallbackType.PULL: Source.CONFIRMATION,
    CallbackType.BILL_PAYMENT: Source.CONFIRMATION,
    CallbackType.B2C_RESULT: Source.CALLBACK,
    CallbackType.B2C_TIMEOUT: Source.NOTICE,
    CallbackType.B2B_RESULT: Source.CALLBACK,
    CallbackType.B2B_TIMEOUT: Source.NOTICE,
    CallbackType.B2B_EXPRESS: Source.CALLBACK,
    CallbackType.REVERSAL_RESULT: Source.CALLBACK,
    CallbackType.REVERSAL_TIMEOUT: Source.NOTICE,
    CallbackType.STATUS_RESULT: Source.QUERY,
}
_FAMILIES: Final = {
    CallbackType.STK: Family.STK,
    CallbackType.STK_QUERY: Family.STK,
    CallbackType.C2B_CONFIRMATION: Family.C2B,
    CallbackType.PULL: Family.C2B,
    CallbackType.BILL_PAYMENT: Family.C2B,
    CallbackType.B2C_RESULT: Family.B2C,
    CallbackType.B2C_TIMEOUT: Family.B2C,
    CallbackType.B2B_RESULT: Family.B2B,
    CallbackType.B2B_TIMEOUT: Family.B2B,
    CallbackType.B2B_EXPRESS: Family.EXPRESS,
    CallbackType.REVERSAL_RESULT: Family.REVERSAL,
    CallbackType.REVERSAL_TIMEOUT: Family.REVERSAL,
    CallbackType.STATUS_RESULT: Family.STATUS,
}
CONFIRMATIONS: Final = frozenset({CallbackType.C2B_CONFIRMATION, CallbackType.PULL, CallbackType.BILL_PAYMENT})
"""The reports of a payment by its receipt: of one that is known, or of one that nobody asked for."""

SPEAKS_OF: Final = {
    CallbackType.STK: {TransactionType.STK_PUSH},
    CallbackType.STK_QUERY: {TransactionType.STK_PUSH},
    CallbackType.B2C_RESULT: {TransactionType.B2C, TransactionType.POCHI},
    CallbackType.B2C_TIMEOUT: {TransactionType.B2C, TransactionType.POCHI},
    CallbackType.B2B_RESULT: {TransactionType.B2B, TransactionType.TAX},
    CallbackType.B2B_TIMEOUT: {TransactionType.B2B, TransactionType.TAX},
    CallbackType.B2B_EXPRESS: {TransactionType.B2B_EXPRESS},
    CallbackType.REVERSAL_RESULT: {TransactionType.REVERSAL},
    CallbackType.REVERSAL_TIMEOUT: {TransactionType.REVERSAL},
    CallbackType.STATUS_RESULT: set(TransactionType),
}
"""The kinds of transaction that a callback of each type can be about."""


def evidence_of(message: Callback, callback_type: CallbackType, callback_id: UUID | None) -> Evidence:
    """What a decoded callback says about its transaction.

    Args:
        message: what :func:`~mpesa_core.daraja.callbacks.decode_callback` made of it.
        callback_type: a type that can settle something (a key of the table above).
        callback_id: its row in the callback log.
    """
    source = _SOURCES[callback_type]
    originator = message.originator_conversation_id
    if callback_type is CallbackType.B2B_EXPRESS:
        originator = message.correlation_id  # the request id that we gave it
    return Evidence(
        source=source,
        outcome=message.outcome,
        code=message.result_code if isinstance(message.result_code, int) else None,
        code_text=message.result_code_text,
        description=message.result_desc,
        reason=reason_of(message.result_code, _FAMILIES[callback_type], message.outcome),
        receipt=message.receipt_number,
        amount=message.amount,
        phone_number=message.phone_number,
        short_code=message.short_code,
        reference=message.account_reference,
        checkout_request_id=message.checkout_request_id,
        merchant_request_id=message.merchant_request_id,
        conversation_id=message.conversation_id,
        originator_conversation_id=originator,
        raw=message.raw,
        callback_id=callback_id,
        problem=message.problem,
        review=source is Source.CALLBACK and message.outcome is Outcome.UNKNOWN,
    )
