"""Sending the one request of a recorded transaction.

The intent is recorded before the first byte leaves, under an idempotency key and with a token of its own in its
callback URLs; then the request is sent, once. :mod:`~mpesa_core.settlement.initiation` says what becomes of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from mpesa_core.callback_tokens import sign_token
from mpesa_core.daraja.callbacks import CallbackType
from mpesa_core.daraja.codes import Outcome
from mpesa_core.daraja.operation import AnyOperation
from mpesa_core.errors import (
    Busy,
    ConfigurationError,
    DuplicateKey,
    IdempotencyMismatch,
    InvalidField,
    MpesaError,
    NotSent,
    NotYet,
    OutcomeUnknown,
    RequestRefused,
    StorageError,
    TokenRefused,
    UnexpectedAnswer,
)
from mpesa_core.outline import outline
from mpesa_core.payments.decide import Conflict, Evidence
from mpesa_core.payments.machine import OPEN, Source
from mpesa_core.payments.records import (
    REFUNDS,
    Disposition,
    Key,
    Status,
    TransactionDraft,
    TransactionRecord,
    TransactionType,
)
from mpesa_core.routes import callback_urls
from mpesa_core.settings import Account, Settings
from mpesa_core.settlement.effects import Procedure, Recorded, send
from mpesa_core.settlement.engine import Engine

__all__ = ["APP_KEYS", "OPERATOR_KEYS", "Sending", "check_key"]

_log = logging.getLogger("mpesa_core.settlement")

APP_KEYS: Final = ("consumer_key", "consumer_secret", "short_code")
OPERATOR_KEYS: Final = (*APP_KEYS, "initiator_name")
"""What an account needs for every call that an API operator makes."""

_COMPARED: Final = (
    "transaction_type",
    "account",
    "short_code",
    "phone_number",
    "amount",
    "account_reference",
    "parent_id",
)
_TIMEOUTS: Final = {
    CallbackType.B2C_RESULT: CallbackType.B2C_TIMEOUT,
    CallbackType.B2B_RESULT: CallbackType.B2B_TIMEOUT,
    CallbackType.REVERSAL_RESULT: CallbackType.REVERSAL_TIMEOUT,
}
_NEED_A_KEY: Final = frozenset({TransactionType.B2C, TransactionType.POCHI, TransactionType.B2B, TransactionType.TAX})


def check_key(key: object, *, needed: bool) -> None:
    """Refuse a key that tells no two calls apart: an empty one, and none where one is needed."""
    if key is None and not needed:
        return
    if not isinstance(key, str) or not key.strip():
        remedy = "Name what is paid for, such as 'salary-2026-11-4711': a payout sent twice does not come back."
        raise InvalidField("idempotency_key", key, expected="a text of your own, not empty", remedy=remedy)


class Sending:
    """What every call that moves money shares.

    Args:
        engine: the settlement engine.
        new_id: makes transaction ids and the unguessable part of callback URLs; a UUID4 each.
    """

    def __init__(self, engine: Engine, new_id: Callable[[], UUID]) -> None:
        self._engine = engine
        self._store = engine.store
        self._settings: Settings = engine.settings
        self._new_id = new_id

    def _result_urls(self, result: CallbackType, token: str | None) -> dict[str, str]:
        return {
            "result_url": callback_urls(self._settings, result, token),
            "timeout_url": callback_urls(self._settings, _TIMEOUTS[result], token),
        }

    def _record_and_send(
        self, draft: TransactionDraft, operation: AnyOperation
    ) -> Procedure[tuple[TransactionRecord, bool]]:
        """Record the intent and send it.

        Returns:
            The row as it is now, and whether M-PESA accepted a request that was sent now.
        """
        row, ours = yield from self._record(draft)
        return (yield from self._send(row, operation)) if ours else (row, False)

    def _account(self, name: str, call: str, needed: tuple[str, ...]) -> Account:
        account = self._settings.account(name)
        where = "" if name == "default" else f"accounts[{name!r}]."
        problems = [f"{where}{field}: not set, and {call} needs it" for field in needed if not getattr(account, field)]
        if "initiator_name" in needed and not (account.initiator_password or account.security_credential):
            problems.append(f"{where}initiator_password (or security_credential): not set, and {call} needs it")
        if problems:
            raise ConfigurationError(problems)
        return account

    def _token(self) -> str | None:
        if not self._settings.callback_tokens:
            return None
        nonce = self._new_id().hex
        secret = self._settings.callback_secret
        return sign_token(secret.reveal(), nonce) if secret is not None else nonce

    def _draft(
        self,
        kind: TransactionType,
        account: str,
        keys: Account,
        token: str | None,
        idempotency_key: str | None,
        host: Mapping[str, Any],
        **fields: Any,
    ) -> TransactionDraft:
        now = self._engine.clock()
        check_key(idempotency_key, needed=kind in _NEED_A_KEY)
        if "on_commit" in host:
            remedy = "A coroutine has no transaction to wait for: call a Gateway, by sync_to_async where you need to."
            raise InvalidField("on_commit", host["on_commit"], expected="a Gateway with threads", remedy=remedy)
        return TransactionDraft(
            id=self._new_id(),
            transaction_type=kind,
            account=account,
            short_code=keys.short_code or "",
            callback_token=token,
            idempotency_key=idempotency_key,
            initiated_at=now,
            next_check_at=now + timedelta(seconds=self._settings.unsent_after),
            host=dict(host),
            **fields,
        )

    def _record(self, draft: TransactionDraft) -> Procedure[tuple[TransactionRecord, bool]]:
        """Record the intent; a repeated idempotency key gives the row that has it, and False."""
        try:
            row = yield from self._store.add(draft)
        except DuplicateKey as error:
            if error.key != Key.IDEMPOTENCY_KEY or draft.idempotency_key is None:
                raise
            owner = yield from self._store.find(Key.IDEMPOTENCY_KEY, draft.idempotency_key)
            if owner is None:
                raise
        else:
            yield Recorded(row)
            return row, True
        left_out = {"parent_id"}  # a payment may have an invoice
        if draft.transaction_type in REFUNDS:
            left_out = (
                {"account_reference"} if draft.parent_id is not None else set()
            )  # its payment's receipt may be new
        compared = [name for name in _COMPARED if name not in left_out]
        differences = [name for name in compared if getattr(owner, name) != getattr(draft, name)]
        if differences:
            raise IdempotencyMismatch(draft.idempotency_key, differences=differences, owner=owner.id)
        return owner, False

    def _send(self, row: TransactionRecord, operation: AnyOperation) -> Procedure[tuple[TransactionRecord, bool]]:
        """Send the one request of a recorded transaction.

        Returns:
            The row as it is now, and whether M-PESA accepted the request.
        """
        started = yield from self._store.change(
            row.id,
            row.version,
            {
                "status": Status.PROCESSING,
                "next_check_at": self._engine.clock() + timedelta(seconds=self._settings.query_after),
            },
        )
        if started is None:  # it took so long to get here that a sweep has called it unsent, and so it is
            return (yield from self._read(row.id)), False
        try:
            answer = yield from send(operation, row.account)
        except (NotSent, ConfigurationError, InvalidField) as error:
            error.transaction = yield from self._unsent(started, str(error))
            raise
        except (RequestRefused, TokenRefused, Busy) as error:
            if not error.certain and row.transaction_type != TransactionType.STK_PUSH:
                # A second prompt is the customer's to refuse; a second payout does not come back.
                return (yield from self._left_open(started, error)), False
            refusal = Evidence(
                source=Source.REFUSAL,
                outcome=Outcome.FAILED,
                code_text=error.code or None,
                description=error.message,
                reason="refused",
            )
            error.transaction = yield from self._engine.conclude(row.id, refusal)
            raise
        except (OutcomeUnknown, NotYet, UnexpectedAnswer) as error:
            return (yield from self._left_open(started, error)), False
        names = ("checkout_request_id", "merchant_request_id", "conversation_id", "originator_conversation_id")
        identifiers = {name: getattr(answer, name, None) for name in names}
        return (yield from self._as_it_is(started, self._attach(started.id, identifiers))), True

    def _left_open(self, started: TransactionRecord, error: MpesaError) -> Procedure[TransactionRecord]:
        _log.warning("Transaction %s was sent, and what became of it is unknown: %s", started.id, error)
        return (yield from self._as_it_is(started, self._read(started.id)))

    def _as_it_is(self, started: TransactionRecord, work: Procedure[TransactionRecord]) -> Procedure[TransactionRecord]:
        """The row after a step that follows the sending; as it was sent, where the store fails now.

        Whoever asked for it would take an error for "not sent", and ask again.
        """
        try:
            return (yield from work)
        except StorageError as error:
            _log.error("Transaction %s was sent, and the answer could not be stored: %s", started.id, outline(error))
            return started

    def _attach(self, transaction_id: UUID, identifiers: Mapping[str, str | None]) -> Procedure[TransactionRecord]:
        """Store M-PESA's identifiers, and make the callbacks due that came before them."""
        while True:
            row = yield from self._read(transaction_id)
            missing = {name: value for name, value in identifiers.items() if value and getattr(row, name) is None}
            originator = identifiers.get("originator_conversation_id")
            if originator and originator != row.originator_conversation_id:
                missing["originator_conversation_id"] = originator  # M-PESA gave it one of its own: that is asked by
            try:
                attached = (yield from self._store.change(row.id, row.version, missing)) if missing else row
            except DuplicateKey as error:
                problem = f"M-PESA gave it the {error.key} of transaction {error.owner}."
                yield from self._engine.keep_conflict(row, Conflict(f"identifier:{error.key}", problem))
                return (yield from self._read(transaction_id))
            if attached is not None:
                break
        now = self._engine.clock()
        for callback in (yield from self._engine.open_callbacks(attached)):
            waiting = callback.disposition == Disposition.UNMATCHED and attached.status in OPEN
            if waiting and callback.next_attempt_at is not None and callback.next_attempt_at > now:
                yield from self._store.change_callback(callback.id, callback.next_attempt_at, {"next_attempt_at": now})
        return attached

    def _unsent(self, row: TransactionRecord, why: str) -> Procedure[TransactionRecord | None]:
        evidence = Evidence(source=Source.UNSENT, outcome=Outcome.FAILED, description=why, reason="unsent")
        return (yield from self._engine.conclude(row.id, evidence))

    def _read(self, transaction_id: UUID) -> Procedure[TransactionRecord]:
        row = yield from self._store.get(transaction_id)
        if row is None:
            raise StorageError(f"transaction {transaction_id} was recorded and is gone")
        return row
