"""What is stored: the protocols that the core reads rows through, the enums, and the core's own records.

A repository returns rows of its own (a Django instance, a SQLAlchemy instance, an attrs record). The core reads them
through
:class:`TransactionRecord` and :class:`CallbackRecord` and never writes to them. All times are aware and in UTC; all
amounts are shillings as :class:`~decimal.Decimal`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Protocol
from uuid import UUID

import attrs

from mpesa_core.daraja.callbacks import CallbackType

__all__ = [
    "PAYMENTS",
    "REFUNDS",
    "UNIQUE_KEYS",
    "CallbackDraft",
    "CallbackRecord",
    "CallbackRow",
    "Disposition",
    "Key",
    "Status",
    "Sweep",
    "Transaction",
    "TransactionDraft",
    "TransactionRecord",
    "TransactionType",
]


class TransactionType(StrEnum):
    """What kind of transaction a row is."""

    STK_PUSH = "STK_PUSH"
    C2B = "C2B"
    B2C = "B2C"
    REVERSAL = "REVERSAL"
    POCHI = "POCHI"
    """A payout to a customer's business wallet (Pochi la Biashara)."""
    B2B = "B2B"
    """A transfer to another business, or between accounts of one's own."""
    TAX = "TAX"
    """A remittance to the Kenya Revenue Authority."""
    B2B_EXPRESS = "B2B_EXPRESS"
    """Another business's till is asked to pay us."""
    BILL_PAYMENT = "BILL_PAYMENT"
    """A payment that Bill Manager reports: like C2B, nobody asked for it in that moment."""


PAYMENTS: Final = frozenset({TransactionType.STK_PUSH, TransactionType.C2B, TransactionType.BILL_PAYMENT})
"""What brings a customer's money."""


REFUNDS: Final = frozenset({TransactionType.REVERSAL, TransactionType.B2C})
"""What gives a payment's money back, when it has that payment as its parent."""


class Status(StrEnum):
    """Where a transaction stands. See :mod:`mpesa_core.payments.machine` for the table of transitions."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    TIMEOUT = "TIMEOUT"
    REVERSED = "REVERSED"


class Disposition(StrEnum):
    """What became of a callback."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    UNMATCHED = "unmatched"
    UNREADABLE = "unreadable"
    REFUSED = "refused"


class Key(StrEnum):
    """What a transaction is found by. ``RECEIPT`` takes the pair ``(short_code, receipt)``, the others one text."""

    IDEMPOTENCY_KEY = "idempotency_key"
    CALLBACK_TOKEN = "callback_token"  # noqa: S105 - a column's name
    CHECKOUT_REQUEST_ID = "checkout_request_id"
    CONVERSATION_ID = "conversation_id"
    ORIGINATOR_CONVERSATION_ID = "originator_conversation_id"
    RECEIPT = "mpesa_receipt_number"


UNIQUE_KEYS: Final = (
    Key.IDEMPOTENCY_KEY,
    Key.CALLBACK_TOKEN,
    Key.CHECKOUT_REQUEST_ID,
    Key.CONVERSATION_ID,
    Key.RECEIPT,
)
"""The keys that one row alone may have; None is no value. ORIGINATOR_CONVERSATION_ID is only found by."""


class Sweep(StrEnum):
    """What the periodic sweeps look for, each in the order of the time that makes a row due."""

    UNSENT = "unsent"
    """PENDING with ``next_check_at`` in the past."""
    UNANNOUNCED = "unannounced"
    """``announce_until`` in the past: settled, and its announcer is gone."""
    TO_ASK = "to_ask"
    """Any other status with ``next_check_at`` in the past."""


class TransactionRecord(Protocol):
    """A transaction's row, as the core reads it. The attributes are documented on :class:`Transaction`."""

    @property
    def id(self) -> UUID: ...
    @property
    def transaction_type(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def account(self) -> str: ...
    @property
    def short_code(self) -> str: ...
    @property
    def checkout_request_id(self) -> str | None: ...
    @property
    def merchant_request_id(self) -> str | None: ...
    @property
    def conversation_id(self) -> str | None: ...
    @property
    def originator_conversation_id(self) -> str | None: ...
    @property
    def mpesa_receipt_number(self) -> str | None: ...
    @property
    def phone_number(self) -> str: ...
    @property
    def amount(self) -> Decimal: ...
    @property
    def account_reference(self) -> str: ...
    @property
    def transaction_desc(self) -> str: ...
    @property
    def parent_id(self) -> UUID | None: ...
    @property
    def idempotency_key(self) -> str | None: ...
    @property
    def callback_token(self) -> str | None: ...
    @property
    def result_code(self) -> int | None: ...
    @property
    def result_code_text(self) -> str | None: ...
    @property
    def result_desc(self) -> str | None: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def raw_callback_payload(self) -> Any: ...
    @property
    def initiated_at(self) -> datetime: ...
    @property
    def settled_at(self) -> datetime | None: ...
    @property
    def settled_by(self) -> str | None: ...
    @property
    def confirmed_at(self) -> datetime | None: ...
    @property
    def version(self) -> int: ...
    @property
    def generation(self) -> int: ...
    @property
    def announce_until(self) -> datetime | None: ...
    @property
    def idempotency_locked(self) -> bool: ...
    @property
    def next_check_at(self) -> datetime | None: ...
    @property
    def checks(self) -> int: ...
    @property
    def conflicts(self) -> Mapping[str, Any]: ...
    @property
    def reserved(self) -> Mapping[str, str]: ...


class CallbackRecord(Protocol):
    """A callback's row, as the core reads it. The attributes are documented on :class:`CallbackRow`."""

    @property
    def id(self) -> UUID: ...
    @property
    def callback_type(self) -> str: ...
    @property
    def source_ip(self) -> str | None: ...
    @property
    def raw_body(self) -> Any: ...
    @property
    def raw_bytes(self) -> bytes: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def token(self) -> str | None: ...
    @property
    def correlation_id(self) -> str | None: ...
    @property
    def related_transaction_id(self) -> UUID | None: ...
    @property
    def processed(self) -> bool: ...
    @property
    def disposition(self) -> str | None: ...
    @property
    def error(self) -> str | None: ...
    @property
    def attempts(self) -> int: ...
    @property
    def next_attempt_at(self) -> datetime | None: ...
    @property
    def received_at(self) -> datetime: ...
    @property
    def resolved_at(self) -> datetime | None: ...


@attrs.frozen(kw_only=True, slots=False)
class TransactionDraft:
    """A transaction that is to be recorded: every field of :class:`Transaction` but ``version``, which begins at 1."""

    id: UUID
    transaction_type: TransactionType
    status: Status = Status.PENDING
    account: str = "default"
    short_code: str = ""
    checkout_request_id: str | None = None
    merchant_request_id: str | None = None
    conversation_id: str | None = None
    originator_conversation_id: str | None = None
    mpesa_receipt_number: str | None = None
    phone_number: str = attrs.field(default="", repr=False)
    amount: Decimal = Decimal(0)
    account_reference: str = ""
    transaction_desc: str = ""
    parent_id: UUID | None = None
    idempotency_key: str | None = None
    callback_token: str | None = attrs.field(default=None, repr=False)
    result_code: int | None = None
    result_code_text: str | None = None
    result_desc: str | None = None
    reason: str | None = None
    raw_callback_payload: Any = attrs.field(default=None, repr=False)
    initiated_at: datetime
    settled_at: datetime | None = None
    settled_by: str | None = None
    confirmed_at: datetime | None = None
    generation: int = 0
    announce_until: datetime | None = None
    idempotency_locked: bool = False
    next_check_at: datetime | None = None
    checks: int = 0
    conflicts: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    reserved: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    host: Mapping[str, Any] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True, slots=False)
class Transaction(TransactionDraft):
    """The core's own row of a transaction (what :class:`MemoryRepository` and :class:`SqliteRepository` return).

    Attributes:
        id: internal; never sent to Safaricom.
        transaction_type: see :class:`TransactionType`.
        status: see :class:`Status`.
        account: the name of the settings' account it runs on.
        short_code: the short code that M-PESA reports it under (for a till: the store number).
        checkout_request_id: of an STK push; unique.
        merchant_request_id: of an STK push.
        conversation_id: of a payout or reversal; unique.
        originator_conversation_id: of a payout or reversal (ours in B2C v3).
        mpesa_receipt_number: only on success; unique in a short code.
        phone_number: ``2547…``/``2541…``; for C2B as M-PESA sent it (masked, or a hash of 64 digits); the other party's
            short code where that is a business.
        amount: shillings, two decimals.
        account_reference, transaction_desc: as sent; for C2B as the customer typed it.
        parent_id: of a reversal or refund: the payment that it gives back; of a payment: its invoice or subscription.
        idempotency_key: the host's; unique.
        callback_token: the last part of its callback URLs; unique.
        result_code: M-PESA's code where it is a number, 0 for success.
        result_code_text: the same code as text, always (``SFC_IC0003``).
        result_desc: M-PESA's words.
        reason: derived from the code: ``cancelled``, ``expired``, ``denied``, ``unsent``, ``refused``, ... or None.
        raw_callback_payload: the body that settled it, parsed.
        initiated_at: when it was recorded.
        settled_at: when it first left PROCESSING; set once.
        settled_by: what the present status rests on, an :class:`~mpesa_core.payments.decide.Source`.
        confirmed_at: when the money was proved, by a receipt from M-PESA.
        version: raised by every change; what compare-and-set compares.
        generation: how often it settled; each has its own signal.
        announce_until: the announcer's lease; set while a generation is unannounced.
        idempotency_locked: true exactly while ``announce_until`` is set.
        next_check_at, checks: when it is asked about next, and how often it was.
        conflicts: the open ones, by fingerprint; while there is one nothing settles it but a person.
        reserved: refunds under way or done: child id to amount, both as text.
        host: the host's own fields.
    """

    version: int = 1

    def __repr__(self) -> str:
        receipt = f" {self.mpesa_receipt_number}" if self.mpesa_receipt_number else ""
        return f"<Transaction {self.id} {self.transaction_type} {self.status} {self.amount}{receipt}>"


@attrs.frozen(kw_only=True, slots=False)
class CallbackDraft:
    """A callback that is to be recorded; see :class:`CallbackRow`. ``next_attempt_at`` None records it as closed."""

    id: UUID
    callback_type: CallbackType
    raw_bytes: bytes = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    source_ip: str | None = None
    raw_body: Any = attrs.field(default=None, repr=False)
    token: str | None = attrs.field(default=None, repr=False)
    correlation_id: str | None = attrs.field(default=None, repr=False)
    related_transaction_id: UUID | None = None
    received_at: datetime
    next_attempt_at: datetime | None = None
    processed: bool = False
    disposition: Disposition | None = None
    error: str | None = None


@attrs.frozen(kw_only=True, slots=False)
class CallbackRow(CallbackDraft):
    """The core's own row of the callback log.

    Attributes:
        id: made by whoever received it, so that a repeated insert is recognised.
        callback_type: by the path that it came on.
        raw_bytes, headers: what came, exactly.
        raw_body: the JSON of it where it can be read, else None.
        source_ip: the address that it came from.
        token: the last part of its path, where it had one.
        correlation_id: what its transaction is found by, best effort; indexed.
        related_transaction_id: once it is known.
        received_at: when it came.
        processed: closed; nothing more will be done about it by itself.
        disposition: what became of it.
        error: why it could not be processed.
        attempts: how often it was claimed.
        next_attempt_at: when it may be claimed next; None once closed. What compare-and-set compares.
        resolved_at: when a person resolved the conflict that it raised.
    """

    attempts: int = 0
    resolved_at: datetime | None = None

    def __repr__(self) -> str:
        return f"<Callback {self.id} {self.callback_type} {self.disposition or 'open'}>"
