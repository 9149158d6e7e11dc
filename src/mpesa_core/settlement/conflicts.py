"""What a person does about a conflict: accept what it says, or dismiss it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import attrs

from mpesa_core.daraja.callbacks import CallbackType, decode_callback
from mpesa_core.errors import IllegalTransition, InvalidField, StorageBusy, TransactionNotFound
from mpesa_core.payments.adoption import asked_since
from mpesa_core.payments.decide import Duplicate, Evidence, Settle, accept
from mpesa_core.payments.records import PAYMENTS, CallbackRecord, Key, TransactionRecord
from mpesa_core.payments.standing import is_open_conflict
from mpesa_core.settlement.effects import Procedure
from mpesa_core.settlement.engine import Applied, Engine
from mpesa_core.settlement.evidence import CONFIRMATIONS, SPEAKS_OF, evidence_of

__all__ = ["accept_conflict", "dismiss_conflict"]


def accept_conflict(
    engine: Engine, callback_id: UUID, transaction_id: UUID | None = None
) -> Procedure[TransactionRecord]:
    """Settle a transaction by what a conflicting callback says, on a person's word.

    Args:
        engine: the engine.
        callback_id: the callback in conflict.
        transaction_id: the transaction that it is about; None for the one it was related to. A C2B confirmation that
            belongs to none becomes a transaction of its own.

    Returns:
        The transaction as it is now; its other open conflicts are resolved with it.

    Raises:
        TransactionNotFound: no such conflict, or no transaction for it.
        InvalidField: such a callback is never about such a transaction.
        IllegalTransition: it cannot be accepted (a failure after a success), only dismissed.
        DuplicateKey: its receipt belongs to another transaction.
        StorageBusy: the transaction's last settlement is being announced; try again in a moment.
    """
    callback = yield from _conflict(engine, callback_id)
    evidence, message = _evidence(callback)
    owner = transaction_id or callback.related_transaction_id
    if owner is None:
        if callback.callback_type not in CONFIRMATIONS:
            raise TransactionNotFound(
                f"callback {callback_id} belongs to no transaction yet: say which one it is about"
            )
        verdict = yield from engine.create_c2b(message, evidence)
        if isinstance(verdict, Applied):
            yield from _release(engine, callback, evidence, callback.related_transaction_id)
            yield from _resolve(engine, callback, verdict.row.id)
            yield from engine.announce(verdict.row)
            return (yield from _read(engine, verdict.row.id))
        owner = yield from _recorded_before(engine, evidence)
    while True:
        row = yield from _read(engine, owner)
        _check_kind(callback, row)
        if isinstance(engine.decide(row, _as_held(row, evidence)), Duplicate):
            changes: Mapping[str, Any] = {}
        else:
            decision = accept(row, evidence, engine.clock())
            changes = decision.changes
            if isinstance(decision, Settle):
                if row.announce_until is not None:
                    lapsed = yield from engine.claim_fence(row)
                    if lapsed is None:
                        raise StorageBusy(f"transaction {row.id} is being announced at this moment; try again")
                    yield from engine.announce(lapsed)
                    continue
                changes = {**changes, **engine.fence()}
        settled = yield from engine.store.change(row.id, row.version, {**changes, "conflicts": {}})
        if settled is None:
            continue
        for entry in row.conflicts.values():
            if entry.get("callback") and entry["callback"] != str(callback.id):
                other = yield from engine.store.get_callback(UUID(entry["callback"]))
                if other is not None:
                    yield from _resolve(engine, other, row.id)
        yield from _release(engine, callback, evidence, callback.related_transaction_id)
        yield from _resolve(engine, callback, row.id)
        if "announce_until" in changes:
            yield from engine.announce(settled)
        return (yield from _read(engine, row.id))


def dismiss_conflict(engine: Engine, callback_id: UUID) -> Procedure[None]:
    """Resolve a conflict without effect: the transaction stays as it is, and goes on by itself where it is open.

    Raises:
        TransactionNotFound: no such conflict.
    """
    callback = yield from _conflict(engine, callback_id)
    owner = callback.related_transaction_id
    evidence = _evidence(callback)[0] if _can_settle(callback) else None
    yield from _release(engine, callback, evidence, owner)
    yield from _resolve(engine, callback, owner)


def _recorded_before(engine: Engine, evidence: Evidence) -> Procedure[UUID]:
    """The payment that has the receipt: another report's, or of a call of this kind that died halfway."""
    row = yield from engine.store.find(Key.RECEIPT, (evidence.short_code or "", evidence.receipt or ""))
    if row is None:
        raise StorageBusy("somebody else recorded that payment at this moment; look again")
    return row.id


def _check_kind(callback: CallbackRecord, row: TransactionRecord) -> None:
    kinds = PAYMENTS if callback.callback_type in CONFIRMATIONS else SPEAKS_OF[CallbackType(callback.callback_type)]
    if row.transaction_type not in kinds:
        expected = f"one that a callback of type {callback.callback_type} can be about: {', '.join(sorted(kinds))}"
        raise InvalidField("transaction", row.transaction_type, expected=expected)


def _as_held(row: TransactionRecord, evidence: Evidence) -> Evidence:
    """The evidence as of the callback that holds the row by the same words, so that it is not taken for settled."""
    holder = row.conflicts.get(evidence.says, {}).get("callback")
    return attrs.evolve(evidence, callback_id=UUID(holder)) if holder else evidence


def _release(
    engine: Engine, callback: CallbackRecord, evidence: Evidence | None, owner: UUID | None
) -> Procedure[None]:
    """Take the callback's conflict off every transaction that it holds: its own, or each that it might belong to."""
    held = {owner} if owner is not None else set()
    if evidence is not None:
        since = asked_since(None, callback.received_at, stk_deadline=engine.settings.stk_deadline)
        held |= {row.id for row in (yield from engine.held_by_receipt(evidence, since))}
    for transaction_id in held:
        while True:
            row = yield from _read(engine, transaction_id)
            left = {key: entry for key, entry in row.conflicts.items() if entry.get("callback") != str(callback.id)}
            if left == dict(row.conflicts):
                break
            if (yield from engine.store.change(row.id, row.version, {"conflicts": left})) is not None:
                break


def _conflict(engine: Engine, callback_id: UUID) -> Procedure[CallbackRecord]:
    callback = yield from engine.store.get_callback(callback_id)
    if callback is None or not is_open_conflict(callback):
        raise TransactionNotFound(f"there is no open conflict {callback_id}; `mpesa conflicts` lists them")
    return callback


def _can_settle(callback: CallbackRecord) -> bool:
    settling = (*SPEAKS_OF, *CONFIRMATIONS)
    return callback.callback_type in settling


def _evidence(callback: CallbackRecord) -> tuple[Evidence, Any]:
    callback_type = CallbackType(callback.callback_type)
    message = decode_callback(callback_type, callback.raw_bytes)
    if not _can_settle(callback):
        raise IllegalTransition(callback.callback_type, "settled")
    return attrs.evolve(evidence_of(message, callback_type, callback.id), reference=None), message


def _read(engine: Engine, transaction_id: UUID) -> Procedure[TransactionRecord]:
    row = yield from engine.store.get(transaction_id)
    if row is None:
        raise TransactionNotFound(f"there is no transaction {transaction_id}")
    return row


def _resolve(engine: Engine, callback: CallbackRecord, transaction_id: UUID | None) -> Procedure[None]:
    changes: dict[str, Any] = {"resolved_at": engine.clock()}
    if transaction_id is not None:
        changes["related_transaction_id"] = transaction_id
    yield from engine.store.change_callback(callback.id, callback.next_attempt_at, changes)
