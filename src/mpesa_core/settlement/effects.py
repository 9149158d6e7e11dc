"""What a procedure asks its driver to do, one step at a time."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import attrs

from mpesa_core.daraja.callbacks import Callback
from mpesa_core.daraja.operation import AnyOperation
from mpesa_core.payments.records import (
    CallbackDraft,
    CallbackRecord,
    Key,
    Sweep,
    TransactionDraft,
    TransactionRecord,
)

__all__ = [
    "Deliver",
    "Effect",
    "Heard",
    "Lease",
    "Procedure",
    "Recorded",
    "ResolveC2B",
    "Send",
    "Store",
    "StoreBatch",
    "StoreCall",
    "deliver",
    "heard",
    "resolve_c2b",
    "send",
]

T = TypeVar("T")


@attrs.frozen
class StoreCall:
    """One repository operation."""

    operation: str
    arguments: tuple[Any, ...] = attrs.field(factory=tuple, repr=False)
    keywords: Mapping[str, Any] = attrs.field(factory=dict, repr=False)


@attrs.frozen
class StoreBatch:
    """Several repository operations at once; the result has what each returned, or the error that it raised."""

    calls: tuple[StoreCall, ...]


@attrs.frozen
class Send:
    """One call to Daraja on an account; the result is its answer, or the error is raised into the procedure."""

    operation: AnyOperation
    account: str


@attrs.frozen
class Lease:
    """The announcer's lease on the row of an invoice or a subscription, for one of its signals.

    Attributes:
        kind: ``invoice`` or ``subscription``: the repository's ``get_…`` and ``change_…`` are called with it.
        id: of the row.
        generation: of the signal.
    """

    kind: str
    id: UUID
    generation: int


@attrs.frozen
class Deliver:
    """One signal to its receivers; nothing that they raise comes back."""

    signal: str
    arguments: Mapping[str, Any] = attrs.field(repr=False)
    transaction: TransactionRecord | None = None
    """Whose lease is renewed while the receivers run, if any."""
    lease: Lease | None = None
    """Another row's lease that is renewed, if any."""


@attrs.frozen
class Heard:
    """Whether a signal may have receivers."""

    signal: str


@attrs.frozen
class ResolveC2B:
    """Ask the host for its own fields of a C2B payment that nobody initiated."""

    callback: Callback


@attrs.frozen
class Recorded:
    """The intent of a payment is recorded and nothing has left: what follows may wait for the caller's commit."""

    transaction: TransactionRecord


Effect = StoreCall | StoreBatch | Send | Deliver | Heard | ResolveC2B | Recorded
Procedure = Generator[Effect, Any, T]


class Store:
    """The repository's operations as typed steps; see :class:`mpesa_core.repository.protocol.Repository`."""

    def add_callback(self, draft: CallbackDraft) -> Procedure[UUID]:
        """Record a callback."""
        result: UUID = yield StoreCall("add_callback", (draft,))
        return result

    def get_callback(self, callback_id: UUID) -> Procedure[CallbackRecord | None]:
        """Read a callback."""
        result: CallbackRecord | None = yield StoreCall("get_callback", (callback_id,))
        return result

    def change_callback(
        self, callback_id: UUID, expected_next_attempt: datetime | None, changes: Mapping[str, Any]
    ) -> Procedure[bool]:
        """Claim, postpone, close or resolve."""
        result: bool = yield StoreCall("change_callback", (callback_id, expected_next_attempt, changes))
        return result

    def due_callbacks(self, now: datetime, limit: int) -> Procedure[Sequence[CallbackRecord]]:
        """The callbacks that are due."""
        result: Sequence[CallbackRecord] = yield StoreCall("due_callbacks", (now, limit))
        return result

    def open_callbacks(
        self, *, token: str | None = None, correlation_ids: Sequence[str] = ()
    ) -> Procedure[Sequence[CallbackRecord]]:
        """The callbacks that are not closed."""
        result: Sequence[CallbackRecord] = yield StoreCall(
            "open_callbacks", (), {"token": token, "correlation_ids": correlation_ids}
        )
        return result

    def add(self, draft: TransactionDraft) -> Procedure[TransactionRecord]:
        """Record a transaction."""
        result: TransactionRecord = yield StoreCall("add", (draft,))
        return result

    def get(self, transaction_id: UUID) -> Procedure[TransactionRecord | None]:
        """Read a transaction."""
        result: TransactionRecord | None = yield StoreCall("get", (transaction_id,))
        return result

    def find(self, key: Key, value: str | tuple[str, str]) -> Procedure[TransactionRecord | None]:
        """Find a transaction by a key."""
        result: TransactionRecord | None = yield StoreCall("find", (key, value))
        return result

    def change(
        self, transaction_id: UUID, version: int, changes: Mapping[str, Any]
    ) -> Procedure[TransactionRecord | None]:
        """Compare-and-set."""
        result: TransactionRecord | None = yield StoreCall("change", (transaction_id, version, changes))
        return result

    def change_with_callback(
        self,
        row: TransactionRecord,
        changes: Mapping[str, Any],
        callback: CallbackRecord | CallbackDraft,
        closing: Mapping[str, Any],
    ) -> Procedure[TransactionRecord | None]:
        """Compare-and-set of both, as they were read, or of neither."""
        result: TransactionRecord | None = yield StoreCall(
            "change_with_callback", (row.id, row.version, changes, callback.id, callback.next_attempt_at, closing)
        )
        return result

    def due(self, sweep: Sweep, now: datetime, limit: int) -> Procedure[Sequence[TransactionRecord]]:
        """The transactions of a sweep."""
        result: Sequence[TransactionRecord] = yield StoreCall("due", (sweep, now, limit))
        return result

    def candidates(
        self, short_code: str, amount: Decimal, reference: str | None, since: datetime | None
    ) -> Procedure[Sequence[TransactionRecord]]:
        """STK payments without a receipt."""
        result: Sequence[TransactionRecord] = yield StoreCall("candidates", (short_code, amount, reference, since))
        return result


def send(operation: AnyOperation, account: str) -> Procedure[Any]:
    """Call Daraja."""
    return (yield Send(operation, account))


def deliver(signal: str, arguments: Mapping[str, Any], transaction: TransactionRecord | None = None) -> Procedure[None]:
    """Deliver a signal."""
    yield Deliver(signal, arguments, transaction)


def heard(signal: str) -> Procedure[bool]:
    """Ask whether a signal may have receivers."""
    result: bool = yield Heard(signal)
    return result


def resolve_c2b(callback: Callback) -> Procedure[Mapping[str, Any]]:
    """Ask the host for its fields."""
    result: Mapping[str, Any] = yield ResolveC2B(callback)
    return result
