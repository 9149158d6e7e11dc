"""Asking customers for standing orders (M-PESA Ratiba), and recording what they did with them.

As with a payment, the intent is recorded before the request leaves, and it is sent at most once. Daraja has no call
that asks what became of it: a subscription whose callback is lost stays ``pending`` until its first payment comes, or
its last day is past.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import date
from typing import Any, Final
from uuid import UUID

from mpesa_core.daraja.callbacks import CallbackType
from mpesa_core.daraja.ratiba import CreateStandingOrder, StandingOrderAccepted
from mpesa_core.errors import (
    Busy,
    ConfigurationError,
    DuplicateKey,
    IdempotencyMismatch,
    InvalidField,
    NotSent,
    NotYet,
    OutcomeUnknown,
    RequestRefused,
    TokenRefused,
    TransactionNotFound,
    UnexpectedAnswer,
)
from mpesa_core.payments.subscriptions import (
    SubscriptionDraft,
    SubscriptionKey,
    SubscriptionRecord,
    SubscriptionStatus,
    midnight_after,
    refused,
    stopped,
)
from mpesa_core.routes import callback_urls
from mpesa_core.settlement.effects import Procedure, send
from mpesa_core.settlement.sending import APP_KEYS, Sending, check_key

__all__ = ["Subscribing"]

_log = logging.getLogger("mpesa_core.settlement")

_COMPARED: Final = (
    "account",
    "short_code",
    "name",
    "account_reference",
    "phone_number",
    "amount",
    "start_on",
    "end_on",
    "frequency",
)


class Subscribing(Sending):
    """The procedures of subscriptions that the host calls."""

    def create(
        self,
        *,
        name: str,
        start: date,
        end: date,
        amount: object,
        frequency: object,
        phone_number: object,
        account_reference: str,
        transaction_desc: str,
        account: str,
        idempotency_key: str | None,
        host: Mapping[str, Any],
    ) -> Procedure[SubscriptionRecord]:
        """Ask a customer for a standing order. See :meth:`mpesa_core.gateway.Gateway.create_subscription`."""
        keys = self._account(account, "create_subscription", APP_KEYS)
        edition = self._settings.ratiba_edition
        if edition is None:
            problem = (
                'ratiba_edition: not set, and create_subscription needs it; set "2025" or "2026", as Safaricom says of '
                "your app: the same frequency number means different things in the two"
            )
            raise ConfigurationError([problem])
        check_key(idempotency_key, needed=False)
        token = self._token()
        request_id = self._new_id().hex if edition == "2026" else None
        operation = CreateStandingOrder(
            name=name,
            start=start,
            end=end,
            amount=amount,
            frequency=frequency,
            edition=edition,
            phone_number=phone_number,
            account_reference=account_reference,
            transaction_desc=transaction_desc,
            callback_url=callback_urls(self._settings, CallbackType.STANDING_ORDER, token),
            custom_id=request_id,
        )
        draft = SubscriptionDraft(
            id=self._new_id(),
            account=account,
            short_code=keys.short_code or "",
            name=operation.name,
            account_reference=operation.account_reference,
            transaction_desc=operation.transaction_desc,
            phone_number=operation.phone_number,
            amount=operation.amount,
            start_on=operation.start,
            end_on=operation.end,
            frequency=operation.frequency.value,
            edition=operation.edition.value,
            idempotency_key=idempotency_key,
            callback_token=token,
            request_id=request_id,
            created_at=self._engine.clock(),
            next_check_at=midnight_after(operation.end),
            host=dict(host),
        )
        row, ours = yield from self._recorded(draft)
        return (yield from self._ask(row, operation)) if ours else row

    def record(self, subscription_id: UUID, target: SubscriptionStatus) -> Procedure[SubscriptionRecord]:
        """Record what the customer did. See :meth:`mpesa_core.gateway.Gateway.record_disabled`."""
        now = self._engine.clock()
        book = self._engine.subscriptions
        row = yield from book.dues.change(subscription_id, lambda each: stopped(each, target, now))
        if row is not None:
            yield from book.dues.announce(row.id)
        return (yield from self.read(subscription_id))

    def read(self, subscription_id: UUID) -> Procedure[SubscriptionRecord]:
        """The subscription as it is now.

        Raises:
            TransactionNotFound: there is none.
        """
        row = yield from self._engine.subscriptions.store.get(subscription_id)
        if row is None:
            raise TransactionNotFound(f"there is no subscription {subscription_id}")
        return row

    def _recorded(self, draft: SubscriptionDraft) -> Procedure[tuple[SubscriptionRecord, bool]]:
        """Record the intent; a repeated idempotency key gives the row that has it, and False."""
        store = self._engine.subscriptions.store
        try:
            return (yield from store.add(draft)), True
        except DuplicateKey as error:
            if error.key != SubscriptionKey.IDEMPOTENCY_KEY or draft.idempotency_key is None:
                raise
            owner = yield from store.find(SubscriptionKey.IDEMPOTENCY_KEY, draft.idempotency_key)
            if owner is None:
                raise
        differences = [name for name in _COMPARED if getattr(owner, name) != getattr(draft, name)]
        if differences:
            raise IdempotencyMismatch(
                draft.idempotency_key, differences=differences, owner=owner.id, kind="subscription"
            )
        return owner, False

    def _ask(self, row: SubscriptionRecord, operation: CreateStandingOrder) -> Procedure[SubscriptionRecord]:
        try:
            answer: StandingOrderAccepted = yield from send(operation, row.account)
        except (NotSent, ConfigurationError, InvalidField) as error:
            yield from self._refused(row, str(error))
            raise
        except (RequestRefused, TokenRefused, Busy) as error:
            yield from self._refused(row, error.message)
            raise
        except (OutcomeUnknown, NotYet, UnexpectedAnswer) as error:
            _log.warning("Subscription %s was asked for, and what became of it is unknown: %s", row.id, error)
            return (yield from self.read(row.id))
        reference = answer.response_ref_id or None
        yield from self._engine.subscriptions.dues.change(
            row.id, lambda each: {"response_ref_id": reference} if reference and not each.response_ref_id else None
        )
        now = self._engine.clock()
        for callback in (yield from self._store.open_callbacks(correlation_ids=[reference] if reference else ())):
            if callback.next_attempt_at is not None and callback.next_attempt_at > now:
                yield from self._store.change_callback(callback.id, callback.next_attempt_at, {"next_attempt_at": now})
        return (yield from self.read(row.id))

    def _refused(self, row: SubscriptionRecord, why: str) -> Procedure[None]:
        now = self._engine.clock()
        yield from self._engine.subscriptions.dues.change(row.id, lambda each: refused(each, why, now))
        yield from self._engine.subscriptions.dues.announce(row.id)
