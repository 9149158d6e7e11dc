"""What M-PESA tells us, as frozen typed values: one class for each kind of callback.

They have no slots: a frozen class without them is made in two thirds of the time, and each callback makes one.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import attrs

from mpesa_core.daraja.balance import Balance
from mpesa_core.daraja.codes import Outcome
from mpesa_core.values import redact

__all__ = [
    "BalanceCallback",
    "BillPayment",
    "C2BCallback",
    "Callback",
    "CallbackType",
    "ExpressCallback",
    "PullRow",
    "ResultCallback",
    "StandingOrderCallback",
    "StatusCallback",
    "StkCallback",
    "StkQueryAnswer",
    "TimeoutNotice",
    "Unreadable",
]


class CallbackType(StrEnum):
    """Where a callback came in: one for each path (and, for recorded answers, STK_QUERY and PULL)."""

    STK = "STK"
    C2B_VALIDATION = "C2B_VALIDATION"
    C2B_CONFIRMATION = "C2B_CONFIRMATION"
    B2C_RESULT = "B2C_RESULT"
    B2C_TIMEOUT = "B2C_TIMEOUT"
    REVERSAL_RESULT = "REVERSAL_RESULT"
    REVERSAL_TIMEOUT = "REVERSAL_TIMEOUT"
    BALANCE_RESULT = "BALANCE_RESULT"
    BALANCE_TIMEOUT = "BALANCE_TIMEOUT"
    STATUS_RESULT = "STATUS_RESULT"
    STATUS_TIMEOUT = "STATUS_TIMEOUT"
    B2B_RESULT = "B2B_RESULT"
    B2B_TIMEOUT = "B2B_TIMEOUT"
    B2B_EXPRESS = "B2B_EXPRESS"
    BILL_PAYMENT = "BILL_PAYMENT"
    STANDING_ORDER = "STANDING_ORDER"
    STK_QUERY = "STK_QUERY"
    PULL = "PULL"


@attrs.frozen(kw_only=True, repr=False, slots=False)
class Callback:
    """What a callback says. Every field can be read on every kind of callback; what one does not tell is None.

    Attributes:
        callback_type: where it came in; None only where the type itself is unknown (:class:`Unreadable`).
        outcome: what it says of the payment.
        correlation_id: what its transaction is found by: CheckoutRequestID, ConversationID, receipt or request id.
        result_code: an int where M-PESA's code is a number, otherwise text; None where there is none that can be read.
        result_desc: M-PESA's words.
        receipt_number: the receipt, as proof of payment: only with the outcome SUCCESS.
        amount: shillings, two decimals.
        phone_number: the customer's, as M-PESA sent it: ``2547…``, masked, or hashed.
        short_code: the receiving short code, where the callback names it.
        account_reference: as the customer or the sender wrote it.
        occurred_at: when M-PESA says it happened, aware, in UTC.
        checkout_request_id, merchant_request_id: of an STK push.
        conversation_id, originator_conversation_id: of a payout, reversal, transfer or question.
        raw: the parsed body, its credentials taken out; None where it is no JSON.
        notice: a queue-timeout notice, which is no outcome.
        problem: what could not be read, or was odd; quotes nothing.
    """

    callback_type: CallbackType | None = None
    outcome: Outcome = Outcome.UNKNOWN
    correlation_id: str | None = None
    result_code: int | str | None = None
    result_desc: str | None = None
    receipt_number: str | None = None
    amount: Decimal | None = None
    phone_number: str | None = None
    short_code: str | None = None
    account_reference: str | None = None
    occurred_at: datetime | None = None
    checkout_request_id: str | None = None
    merchant_request_id: str | None = None
    conversation_id: str | None = None
    originator_conversation_id: str | None = None
    raw: Any = attrs.field(default=None, eq=False)
    notice: bool = False
    problem: str | None = None

    @property
    def result_code_text(self) -> str | None:
        """The result code as text."""
        return None if self.result_code is None else str(self.result_code)

    def __repr__(self) -> str:
        told = (self.callback_type, self.outcome, self.result_code_text, self.receipt_number, self.correlation_id)
        return redact(f"<{type(self).__name__} {' '.join(str(each) for each in told if each)}>")


@attrs.frozen(kw_only=True, repr=False, slots=False)
class StkCallback(Callback):
    """The outcome of an STK push."""


@attrs.frozen(kw_only=True, repr=False, slots=False)
class StkQueryAnswer(Callback):
    """The answer to an STK query, fresh or as recorded. It has neither receipt nor amount.

    Attributes:
        response_code: whether the question was accepted: "0".
    """

    response_code: str | None = None


@attrs.frozen(kw_only=True, repr=False, slots=False)
class C2BCallback(Callback):
    """A payment by a customer: asked about (validation, outcome PENDING) or reported (confirmation).

    Attributes:
        transaction_id: the receipt-to-be in a validation, the receipt in a confirmation.
        transaction_type: ``Pay Bill``, ``Buy Goods``, ``Customer Merchant Payment``, ``Organization To Organization
            Transfer``, or None.
        third_party_id: what our reply to the validation carried.
        first_name, middle_name, last_name: of the payer, where M-PESA tells them; may be an organisation's.
        org_balance: the utility account's new balance, in shillings.
        invoice_number: usually None.
    """

    transaction_id: str | None = None
    transaction_type: str | None = None
    third_party_id: str | None = None
    first_name: str | None = None
    middle_name: str | None = None
    last_name: str | None = None
    org_balance: Decimal | None = None
    invoice_number: str | None = None


@attrs.frozen(kw_only=True, repr=False, slots=False)
class ResultCallback(Callback):
    """The result of a payout, a transfer or a reversal.

    Attributes:
        transaction_id: M-PESA's id, also of a failure: no proof of payment.
        parameters: ResultParameters as (key, value), in their order; keys may repeat, and a value may be None.
        reference_items: ReferenceData likewise.
        original_transaction_id: of a reversal: the receipt of the payment that was given back.
        party_name: who received it, as ``2547… - NAME`` or ``600000 - NAME``.
    """

    transaction_id: str | None = None
    parameters: tuple[tuple[str, Any], ...] = attrs.field(default=(), hash=False)
    reference_items: tuple[tuple[str, Any], ...] = attrs.field(default=(), hash=False)
    original_transaction_id: str | None = None
    party_name: str | None = None


@attrs.frozen(kw_only=True, repr=False, slots=False)
class StatusCallback(ResultCallback):
    """The answer to a transaction status query: ``outcome`` is that of the payment asked about.

    ``result_code`` and ``result_desc`` are the question's. Other than 0 the question failed, which says nothing of the
    payment: UNKNOWN. ``conversation_id``, ``originator_conversation_id`` and ``correlation_id`` are the payment's,
    where told; where not, ``correlation_id`` is the question's.

    Attributes:
        transaction_status: ``Completed``, ``Cancelled``, ``Declined``, ``Expired``, ``Initiated``, ``Authorized``, ...
        question_conversation_id: the question's own ConversationID.
        reason_type: what kind of transaction it was, such as ``Salary Payment via API``.
    """

    transaction_status: str | None = None
    question_conversation_id: str | None = None
    reason_type: str | None = None


@attrs.frozen(kw_only=True, repr=False, slots=False)
class BalanceCallback(ResultCallback):
    """The answer to an account balance question; ``outcome`` is the question's own.

    Attributes:
        balances: the short code's accounts.
    """

    balances: tuple[Balance, ...] = ()


@attrs.frozen(kw_only=True, repr=False, slots=False)
class TimeoutNotice(Callback):
    """A request lay in M-PESA's queue for too long. It may still be carried out: the outcome is UNKNOWN."""


@attrs.frozen(kw_only=True, repr=False, slots=False)
class ExpressCallback(Callback):
    """The outcome of a B2B express checkout (a push to another business's till).

    Attributes:
        payment_reference: as sent.
    """

    payment_reference: str | None = None


@attrs.frozen(kw_only=True, repr=False, slots=False)
class BillPayment(Callback):
    """A payment of a Bill Manager invoice."""


@attrs.frozen(kw_only=True, repr=False, slots=False)
class StandingOrderCallback(Callback):
    """Whether a standing order (Ratiba) was created. Its debits come as C2B confirmations of their own.

    Attributes:
        standing_order_id: M-PESA's id of the order; no receipt.
        request_ref_id, response_ref_id: as in the acceptance, and our own CustomStoId where one was sent.
        status: ``OKAY``, ``ACTIVE``, ``ERROR``.
    """

    standing_order_id: str | None = None
    request_ref_id: str | None = None
    response_ref_id: str | None = None
    status: str | None = None


@attrs.frozen(kw_only=True, repr=False, slots=False)
class PullRow(Callback):
    """One row of pull transactions, as recorded.

    Attributes:
        transaction_type: such as ``c2b-pay-bill-debit``.
        sender: where M-PESA tells it.
        organization_name: the receiver.
    """

    transaction_type: str | None = None
    sender: str | None = None
    organization_name: str | None = None


@attrs.frozen(kw_only=True, repr=False, slots=False)
class Unreadable(Callback):
    """Not what this type of callback looks like; ``problem`` says why."""
