"""Asking M-PESA to move money: recorded before it leaves, sent at most once.

What becomes of the row, its signal and its idempotency key:

==================  ==========================  =================================  ===============================
what happened       the row                     its signal                         the caller gets
==================  ==========================  =================================  ===============================
accepted            PROCESSING, with M-PESA's   ``payment_initiated`` (STK)        the row
                    identifiers
refused by Daraja   FAILED, known               ``…_failed(outcome_known=True)``   the error, with ``.transaction``
provably not sent   FAILED, known, ``unsent``   ``…_failed(outcome_known=True)``   ``NotSent``, with ``.transaction``
unknown             PROCESSING, asked about     none yet                           the row
==================  ==========================  =================================  ===============================

The idempotency key stays with its row in every case: the same call again sends nothing and returns that row, as it
stands. To try again after a failure that is known, use a new key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from mpesa_core.callback_tokens import sign_token
from mpesa_core.daraja.b2c import B2CPayment
from mpesa_core.daraja.callbacks import CallbackType
from mpesa_core.daraja.codes import Outcome
from mpesa_core.daraja.express import StkPush
from mpesa_core.daraja.operation import AnyOperation
from mpesa_core.daraja.reversal import Reversal
from mpesa_core.errors import (
    Busy,
    ConfigurationError,
    DuplicateKey,
    IdempotencyMismatch,
    InvalidField,
    NotSent,
    NotYet,
    OutcomeUnknown,
    RefundExceedsPayment,
    RequestRefused,
    StorageError,
    TokenRefused,
    TransactionNotFound,
    UnexpectedAnswer,
)
from mpesa_core.payments.decide import Conflict, Evidence
from mpesa_core.payments.machine import OPEN, Source
from mpesa_core.payments.records import (
    Disposition,
    Key,
    Status,
    TransactionDraft,
    TransactionRecord,
    TransactionType,
)
from mpesa_core.routes import callback_urls
from mpesa_core.settings import Account, Settings
from mpesa_core.settlement.effects import Procedure, deliver, send
from mpesa_core.settlement.engine import Engine
from mpesa_core.values import money

__all__ = ["Initiation"]

_log = logging.getLogger("mpesa_core.settlement")

_COMPARED = (
    "transaction_type",
    "account",
    "short_code",
    "phone_number",
    "amount",
    "account_reference",
    "parent_id",
)


class Initiation:
    """The procedures that move money.

    Args:
        engine: the settlement engine.
        new_id: makes transaction ids and the unguessable part of callback URLs; a UUID4 each.
    """

    def __init__(self, engine: Engine, new_id: Callable[[], UUID]) -> None:
        self._engine = engine
        self._store = engine.store
        self._settings: Settings = engine.settings
        self._new_id = new_id

    # -- the three calls -------------------------------------------------------------------------------------------

    def stk_push(
        self,
        *,
        phone_number: object,
        amount: object,
        account_reference: str,
        transaction_desc: str,
        account: str,
        idempotency_key: str | None,
        host: Mapping[str, Any],
    ) -> Procedure[TransactionRecord]:
        """Prompt a customer for a payment. See :meth:`mpesa_core.gateway.Gateway.stk_push`."""
        token = self._token()
        keys = self._account(account, "stk_push", ("consumer_key", "consumer_secret", "short_code", "passkey"))
        operation = StkPush(
            phone_number=phone_number,
            amount=amount,
            account_reference=account_reference,
            transaction_desc=transaction_desc,
            callback_url=callback_urls(self._settings, CallbackType.STK, token),
        )
        draft = self._draft(
            TransactionType.STK_PUSH,
            account,
            keys,
            token,
            idempotency_key,
            host,
            phone_number=operation.phone_number,
            amount=operation.amount,
            account_reference=operation.account_reference,
            transaction_desc=operation.transaction_desc,
        )
        row, ours = yield from self._record(draft)
        if not ours:
            return row
        row, accepted = yield from self._send(row, operation)
        if accepted:
            yield from deliver("payment_initiated", {"transaction": row})
        return row

    def payout(
        self,
        *,
        phone_number: object,
        amount: object,
        command: str,
        remarks: str,
        occasion: str,
        version: int,
        account: str,
        idempotency_key: str | None,
        host: Mapping[str, Any],
    ) -> Procedure[TransactionRecord]:
        """Send money to a customer. See :meth:`mpesa_core.gateway.Gateway.payout`."""
        token = self._token()
        keys = self._account(account, "payout", ("consumer_key", "consumer_secret", "short_code", "initiator_name"))
        originator = self._new_id().hex if version == 3 else None
        operation = B2CPayment(
            phone_number=phone_number,
            amount=amount,
            command=command,
            remarks=remarks,
            occasion=occasion,
            version=version,
            originator_conversation_id=originator,
            result_url=callback_urls(self._settings, CallbackType.B2C_RESULT, token),
            timeout_url=callback_urls(self._settings, CallbackType.B2C_TIMEOUT, token),
        )
        draft = self._draft(
            TransactionType.B2C,
            account,
            keys,
            token,
            idempotency_key,
            host,
            phone_number=operation.phone_number,
            amount=operation.amount,
            account_reference=occasion,
            transaction_desc=remarks,
            originator_conversation_id=originator,
        )
        row, ours = yield from self._record(draft)
        if ours:
            row, _ = yield from self._send(row, operation)
        return row

    def reverse(
        self,
        *,
        transaction: UUID,
        amount: object | None,
        remarks: str,
        idempotency_key: str | None,
        host: Mapping[str, Any],
    ) -> Procedure[TransactionRecord]:
        """Give a payment back. See :meth:`mpesa_core.gateway.Gateway.reverse`."""
        original = yield from self._store.get(transaction)
        if original is None:
            raise TransactionNotFound(f"there is no transaction {transaction}")
        if idempotency_key is not None:
            earlier = yield from self._store.find(Key.IDEMPOTENCY_KEY, idempotency_key)
            if earlier is not None and amount is None:
                amount = earlier.amount
        wanted = self._reversible(original, amount, repeated=idempotency_key is not None)
        token = self._token()
        keys = self._account(
            original.account, "reverse", ("consumer_key", "consumer_secret", "short_code", "initiator_name")
        )
        assert original.mpesa_receipt_number is not None
        operation = Reversal(
            transaction_id=original.mpesa_receipt_number,
            amount=wanted,
            remarks=remarks,
            result_url=callback_urls(self._settings, CallbackType.REVERSAL_RESULT, token),
            timeout_url=callback_urls(self._settings, CallbackType.REVERSAL_TIMEOUT, token),
        )
        draft = self._draft(
            TransactionType.REVERSAL,
            original.account,
            keys,
            token,
            idempotency_key,
            host,
            phone_number=original.phone_number,
            amount=operation.amount,
            account_reference=original.mpesa_receipt_number,
            transaction_desc=remarks,
            parent_id=original.id,
        )
        row, ours = yield from self._record(draft)
        if not ours:
            return row
        try:
            yield from self._reserve(original.id, row)
        except (RefundExceedsPayment, InvalidField) as error:
            error.transaction = yield from self._unsent(row, str(error))
            raise
        row, _ = yield from self._send(row, operation)
        return row

    def _reversible(self, original: TransactionRecord, amount: object | None, *, repeated: bool) -> Decimal:
        expected = "a payment by STK push or C2B that has succeeded and has its receipt"
        kinds = (TransactionType.STK_PUSH, TransactionType.C2B)
        if original.transaction_type not in kinds or original.mpesa_receipt_number is None:
            raise InvalidField(
                "transaction",
                f"{original.transaction_type}, {original.status}",
                expected=expected,
                remedy="M-PESA reverses no payouts; a payment without a receipt gets it from its callback.",
            )
        gone = sum((Decimal(value) for value in original.reserved.values()), Decimal(0))
        wanted = money(amount) if amount is not None else original.amount - gone
        if not repeated and (wanted <= 0 or gone + wanted > original.amount):
            raise RefundExceedsPayment(paid=original.amount, reserved=gone, asked=wanted)
        return wanted if wanted > 0 else original.amount

    def _reserve(self, parent_id: UUID, child: TransactionRecord) -> Procedure[None]:
        while True:
            parent = yield from self._store.get(parent_id)
            if parent is None or parent.status != Status.SUCCESS:
                status = parent.status if parent is not None else None
                raise InvalidField("transaction", status, expected="a payment that has succeeded and is not reversed")
            gone = sum((Decimal(value) for value in parent.reserved.values()), Decimal(0))
            if gone + child.amount > parent.amount:
                raise RefundExceedsPayment(paid=parent.amount, reserved=gone, asked=child.amount)
            reserved = {**parent.reserved, str(child.id): str(child.amount)}
            if (yield from self._store.change(parent.id, parent.version, {"reserved": reserved})) is not None:
                return

    # -- what they share -------------------------------------------------------------------------------------------

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
            return (yield from self._store.add(draft)), True
        except DuplicateKey as error:
            if error.key != Key.IDEMPOTENCY_KEY or draft.idempotency_key is None:
                raise
            owner = yield from self._store.find(Key.IDEMPOTENCY_KEY, draft.idempotency_key)
            if owner is None:
                raise
        differences = [name for name in _COMPARED if getattr(owner, name) != getattr(draft, name)]
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
            _log.warning("Transaction %s was sent, and what became of it is unknown: %s", row.id, error)
            return (yield from self._read(row.id)), False
        names = ("checkout_request_id", "merchant_request_id", "conversation_id", "originator_conversation_id")
        return (yield from self._attach(row.id, {name: getattr(answer, name, None) for name in names})), True

    def _attach(self, transaction_id: UUID, identifiers: Mapping[str, str | None]) -> Procedure[TransactionRecord]:
        """Store M-PESA's identifiers, and make the callbacks due that came before them."""
        while True:
            row = yield from self._read(transaction_id)
            missing = {name: value for name, value in identifiers.items() if value and getattr(row, name) is None}
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
