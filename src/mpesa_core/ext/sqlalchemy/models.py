"""The mixins: put one before your declarative base, name the table, and add columns of your own.

They bring no ``__tablename__`` and no ``__table_args__``: unique keys and indexes are added to whatever table the class
is mapped to, named after it, also where the class has ``__table_args__`` of its own. Migrations (Alembic,
Flask-Migrate) see them like any others. The fields are documented on
:class:`~mpesa_core.payments.records.Transaction`, :class:`~mpesa_core.payments.records.CallbackRow`,
:class:`~mpesa_core.payments.invoices.InvoiceRow` and :class:`~mpesa_core.payments.subscriptions.SubscriptionRow`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, Boolean, Connection, Date, Index, Table, Uuid, event, inspect, text
from sqlalchemy.orm import Mapped, Mapper, mapped_column

from mpesa_core.errors import InvalidField
from mpesa_core.ext.sqlalchemy.columns import Amount, Body, Code, ExactText, Json, KeyText, Moment, Raw

__all__ = ["CallbackMixin", "InvoiceMixin", "SubscriptionMixin", "TransactionMixin"]


def _now() -> datetime:
    return datetime.now(UTC)


class TransactionMixin:
    """A payment, a payout or a reversal."""

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, default=uuid4)
    transaction_type: Mapped[str] = mapped_column(KeyText)
    status: Mapped[str] = mapped_column(KeyText, default="PENDING")
    account: Mapped[str] = mapped_column(KeyText, default="default")
    short_code: Mapped[str] = mapped_column(KeyText, default="")
    checkout_request_id: Mapped[str | None] = mapped_column(KeyText)
    merchant_request_id: Mapped[str | None] = mapped_column(KeyText)
    conversation_id: Mapped[str | None] = mapped_column(KeyText)
    originator_conversation_id: Mapped[str | None] = mapped_column(KeyText)
    mpesa_receipt_number: Mapped[str | None] = mapped_column(KeyText)
    phone_number: Mapped[str] = mapped_column(ExactText, default="")
    amount: Mapped[Decimal] = mapped_column(Amount, default=Decimal(0))
    account_reference: Mapped[str] = mapped_column(ExactText, default="")
    transaction_desc: Mapped[str] = mapped_column(ExactText, default="")
    parent_id: Mapped[UUID | None] = mapped_column(Uuid)
    idempotency_key: Mapped[str | None] = mapped_column(KeyText)
    callback_token: Mapped[str | None] = mapped_column(KeyText)
    result_code: Mapped[int | None] = mapped_column(Code)
    result_code_text: Mapped[str | None] = mapped_column(ExactText)
    result_desc: Mapped[str | None] = mapped_column(ExactText)
    reason: Mapped[str | None] = mapped_column(ExactText)
    raw_callback_payload: Mapped[Any] = mapped_column(Body, nullable=True)
    initiated_at: Mapped[datetime] = mapped_column(Moment, default=_now)
    settled_at: Mapped[datetime | None] = mapped_column(Moment)
    settled_by: Mapped[str | None] = mapped_column(ExactText)
    confirmed_at: Mapped[datetime | None] = mapped_column(Moment)
    version: Mapped[int] = mapped_column(BigInteger, default=1)
    generation: Mapped[int] = mapped_column(BigInteger, default=0)
    announce_until: Mapped[datetime | None] = mapped_column(Moment)
    idempotency_locked: Mapped[bool] = mapped_column(Boolean, default=False)
    next_check_at: Mapped[datetime | None] = mapped_column(Moment)
    checks: Mapped[int] = mapped_column(BigInteger, default=0)
    conflicts: Mapped[Mapping[str, Any]] = mapped_column(Json, default=dict)
    reserved: Mapped[Mapping[str, str]] = mapped_column(Json, default=dict)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.transaction_type} {self.status} {self.amount}>"


class CallbackMixin:
    """A callback as it came, recorded before anything is done about it."""

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, default=uuid4)
    callback_type: Mapped[str] = mapped_column(KeyText)
    source_ip: Mapped[str | None] = mapped_column(ExactText)
    raw_body: Mapped[Any] = mapped_column(Body, nullable=True)
    raw_bytes: Mapped[bytes] = mapped_column(Raw)
    headers: Mapped[Mapping[str, str]] = mapped_column(Json, default=dict)
    token: Mapped[str | None] = mapped_column(KeyText)
    correlation_id: Mapped[str | None] = mapped_column(KeyText)
    related_transaction_id: Mapped[UUID | None] = mapped_column(Uuid)
    processed: Mapped[bool] = mapped_column(Boolean, default=False)
    disposition: Mapped[str | None] = mapped_column(KeyText)
    error: Mapped[str | None] = mapped_column(ExactText)
    attempts: Mapped[int] = mapped_column(BigInteger, default=0)
    next_attempt_at: Mapped[datetime | None] = mapped_column(Moment)
    received_at: Mapped[datetime] = mapped_column(Moment, default=_now)
    resolved_at: Mapped[datetime | None] = mapped_column(Moment)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.callback_type} {self.disposition or 'open'}>"


class InvoiceMixin:
    """An invoice on Bill Manager."""

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, default=uuid4)
    account: Mapped[str] = mapped_column(KeyText, default="default")
    short_code: Mapped[str] = mapped_column(KeyText)
    external_reference: Mapped[str] = mapped_column(KeyText)
    account_reference: Mapped[str] = mapped_column(KeyText)
    invoice_name: Mapped[str] = mapped_column(ExactText, default="")
    full_name: Mapped[str] = mapped_column(ExactText, default="")
    phone_number: Mapped[str] = mapped_column(ExactText, default="")
    period: Mapped[str] = mapped_column(ExactText, default="")
    amount: Mapped[Decimal] = mapped_column(Amount)
    due_at: Mapped[datetime] = mapped_column(Moment)
    status: Mapped[str] = mapped_column(KeyText, default="pending")
    result_desc: Mapped[str | None] = mapped_column(ExactText)
    payments: Mapped[Mapping[str, str]] = mapped_column(Json, default=dict)
    unacknowledged: Mapped[Mapping[str, int]] = mapped_column(Json, default=dict)
    created_at: Mapped[datetime] = mapped_column(Moment, default=_now)
    sent_at: Mapped[datetime | None] = mapped_column(Moment)
    paid_at: Mapped[datetime | None] = mapped_column(Moment)
    voided_at: Mapped[datetime | None] = mapped_column(Moment)
    version: Mapped[int] = mapped_column(BigInteger, default=1)
    generation: Mapped[int] = mapped_column(BigInteger, default=0)
    unannounced: Mapped[Mapping[str, Any]] = mapped_column(Json, default=dict)
    announce_until: Mapped[datetime | None] = mapped_column(Moment)
    next_check_at: Mapped[datetime | None] = mapped_column(Moment)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.external_reference} {self.status} {self.amount}>"


class SubscriptionMixin:
    """A standing order on M-PESA Ratiba."""

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, default=uuid4)
    account: Mapped[str] = mapped_column(KeyText, default="default")
    short_code: Mapped[str] = mapped_column(KeyText)
    name: Mapped[str] = mapped_column(ExactText)
    account_reference: Mapped[str] = mapped_column(KeyText)
    transaction_desc: Mapped[str] = mapped_column(ExactText, default="")
    phone_number: Mapped[str] = mapped_column(ExactText)
    amount: Mapped[Decimal] = mapped_column(Amount)
    start_on: Mapped[date] = mapped_column(Date)
    end_on: Mapped[date] = mapped_column(Date)
    frequency: Mapped[str] = mapped_column(KeyText)
    edition: Mapped[str] = mapped_column(KeyText)
    status: Mapped[str] = mapped_column(KeyText, default="pending")
    idempotency_key: Mapped[str | None] = mapped_column(KeyText)
    callback_token: Mapped[str | None] = mapped_column(KeyText)
    request_id: Mapped[str | None] = mapped_column(KeyText)
    response_ref_id: Mapped[str | None] = mapped_column(KeyText)
    standing_order_id: Mapped[str | None] = mapped_column(KeyText)
    result_code_text: Mapped[str | None] = mapped_column(ExactText)
    result_desc: Mapped[str | None] = mapped_column(ExactText)
    created_at: Mapped[datetime] = mapped_column(Moment, default=_now)
    settled_at: Mapped[datetime | None] = mapped_column(Moment)
    stopped_at: Mapped[datetime | None] = mapped_column(Moment)
    conflicts: Mapped[Mapping[str, Any]] = mapped_column(Json, default=dict)
    version: Mapped[int] = mapped_column(BigInteger, default=1)
    generation: Mapped[int] = mapped_column(BigInteger, default=0)
    unannounced: Mapped[Mapping[str, Any]] = mapped_column(Json, default=dict)
    announce_until: Mapped[datetime | None] = mapped_column(Moment)
    next_check_at: Mapped[datetime | None] = mapped_column(Moment)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.name!r} {self.status} {self.amount} {self.frequency}>"


_Keys = tuple[tuple[str, ...], ...]
_Indexes = Mapping[tuple[str, ...], str | None]
_UNANNOUNCED: Final[_Indexes] = {("announce_until",): "announce_until IS NOT NULL"}
_DUE: Final[_Indexes] = {("next_check_at",): "next_check_at IS NOT NULL"}

_OF_MIXINS: Final[Mapping[type, tuple[_Keys, _Indexes]]] = {
    TransactionMixin: (
        (
            ("idempotency_key",),
            ("callback_token",),
            ("checkout_request_id",),
            ("conversation_id",),
            ("short_code", "mpesa_receipt_number"),
        ),
        {
            ("originator_conversation_id", "initiated_at"): "originator_conversation_id IS NOT NULL",
            ("status", "next_check_at"): "status = 'PENDING' AND next_check_at IS NOT NULL",
            ("next_check_at",): "status <> 'PENDING' AND next_check_at IS NOT NULL",
            **_UNANNOUNCED,
            ("short_code", "amount", "initiated_at"): "transaction_type = 'STK_PUSH' AND mpesa_receipt_number IS NULL",
            ("short_code", "confirmed_at"): "mpesa_receipt_number IS NOT NULL",
            ("initiated_at",): None,
        },
    ),
    CallbackMixin: (
        (),
        {
            ("next_attempt_at",): "next_attempt_at IS NOT NULL",
            ("token",): "next_attempt_at IS NOT NULL",
            ("correlation_id",): "next_attempt_at IS NOT NULL",
            ("disposition", "received_at"): "disposition = 'conflict' AND resolved_at IS NULL",
            ("received_at",): None,
        },
    ),
    InvoiceMixin: (
        (("short_code", "external_reference"),),
        {("short_code", "account_reference", "created_at"): None, **_UNANNOUNCED, **_DUE},
    ),
    SubscriptionMixin: (
        (("idempotency_key",), ("callback_token",), ("request_id",)),
        {
            ("response_ref_id", "created_at"): "response_ref_id IS NOT NULL",
            ("short_code", "account_reference", "amount"): None,
            **_UNANNOUNCED,
            **_DUE,
        },
    ),
}
"""The unique keys, and the other indexes with the rows that they are for; MySQL indexes all rows."""

_LONGEST: Final = 60
"""Letters of a name: PostgreSQL takes 63, MySQL 64."""


def _named(kind: str, table: Table, fields: tuple[str, ...]) -> str:
    name = "_".join((kind, table.name, *fields))
    if len(name) <= _LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: _LONGEST - 9]}_{digest}"


def _index(mapper: Mapper[Any], mixed_in: type) -> None:
    table = mapper.local_table
    keys, indexes = _OF_MIXINS[mixed_in]
    if not isinstance(table, Table) or not all(name in table.c for names in (*keys, *indexes) for name in names):
        return  # a class below the one that has the table
    present = {index.name for index in table.indexes}
    for fields in keys:
        name = _named("uq", table, fields)
        if name not in present:
            Index(name, *(table.c[field] for field in fields), unique=True)
    for fields, rows in indexes.items():
        name = _named("ix", table, fields)
        if name not in present:
            where = None if rows is None else text(rows)
            Index(name, *(table.c[field] for field in fields), postgresql_where=where, sqlite_where=where)


def _listen(mixed_in: type) -> None:
    @event.listens_for(mixed_in, "instrument_class", propagate=True)
    def _add_indexes(mapper: Mapper[Any], _class: type) -> None:
        _index(mapper, mixed_in)

    @event.listens_for(mixed_in, "before_update", propagate=True)
    def _refuse_edits(_mapper: Mapper[Any], _connection: Connection, row: Any) -> None:
        # A session of the host's writes what was read some time ago (merge() does), over a settlement that came since.
        attributes = inspect(row).attrs
        edited = sorted(name for name in mixed_in.__annotations__ if attributes[name].history.has_changes())
        if edited:
            raise InvalidField(
                "flush",
                ", ".join(edited),
                expected="a change of columns of your own alone",
                remedy="Payments change by what M-PESA says. Read the row in your session instead of merging one.",
            )


for _mixed_in in _OF_MIXINS:
    _listen(_mixed_in)
