"""Subscriptions in the settlement: what M-PESA says of a standing order, whose a payment is, and what time does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import attrs

from mpesa_core.daraja.callbacks import StandingOrderCallback
from mpesa_core.payments.decide import Evidence
from mpesa_core.payments.records import CallbackRecord, Disposition, Status, Sweep, TransactionRecord, TransactionType
from mpesa_core.payments.subscriptions import (
    Contradiction,
    SubscriptionKey,
    SubscriptionRecord,
    answered,
    charged,
    charged_subscription,
    ended,
    plausible,
)
from mpesa_core.settings import Settings
from mpesa_core.settlement.dues import Dues, SubscriptionStore
from mpesa_core.settlement.effects import Procedure, deliver

__all__ = ["Subscriptions", "Told"]

_log = logging.getLogger("mpesa_core.settlement")


@attrs.frozen
class Told:
    """What became of a standing order's callback.

    Attributes:
        disposition: applied, duplicate or conflict.
        problem: of a conflict, a sentence for a person.
    """

    disposition: Disposition
    problem: str | None = None


class Subscriptions:
    """The procedures of subscriptions that the settlement needs.

    Args:
        settings: leases and the grace of a payment.
        clock: the time, aware, in UTC.
        kept: whether the repository keeps subscriptions; without it nothing here does anything.
    """

    def __init__(self, settings: Settings, clock: Callable[[], datetime], *, kept: bool) -> None:
        self.kept = kept
        self.store = SubscriptionStore()
        self.dues = Dues(self.store, settings, clock)
        self._settings = settings
        self._clock = clock

    # -- the customer's answer -------------------------------------------------------------------------------------

    def answer(self, callback: CallbackRecord, said: StandingOrderCallback) -> Procedure[Told | None]:
        """Take in whether the customer agreed.

        Returns:
            What became of it; None where no subscription is found.
        """
        row = yield from self._find(callback, said)
        while row is not None:
            decision = answered(row, said, self._clock())
            if decision is None:
                return Told(Disposition.DUPLICATE)
            if isinstance(decision, Contradiction):
                told = yield from self._contradict(row, decision, callback)
            else:
                changed = yield from self.store.change(row.id, row.version, decision)
                told = Told(Disposition.APPLIED) if changed is not None else None
            if told is not None:
                yield from self.dues.announce(row.id)
                return told
            row = yield from self.store.get(row.id)
        return None

    def _find(self, callback: CallbackRecord, said: StandingOrderCallback) -> Procedure[SubscriptionRecord | None]:
        keys = [
            (SubscriptionKey.CALLBACK_TOKEN, callback.token),
            (SubscriptionKey.REQUEST_ID, said.request_ref_id),
            (SubscriptionKey.RESPONSE_REF_ID, said.response_ref_id),
            (SubscriptionKey.RESPONSE_REF_ID, said.request_ref_id),
        ]
        for key, value in keys:
            row = (yield from self.store.find(key, value)) if value else None
            if row is not None:
                return row
        return None

    def _contradict(
        self, row: SubscriptionRecord, said: Contradiction, callback: CallbackRecord
    ) -> Procedure[Told | None]:
        """Keep a contradiction on the subscription's own row; None where somebody else changed it first."""
        known = row.conflicts.get(said.fingerprint)
        if known is not None and known.get("callback") != str(callback.id):
            return Told(Disposition.DUPLICATE)
        if known is None:
            entry = {"callback": str(callback.id), "problem": said.problem, "at": self._clock().isoformat()}
            conflicts = {**row.conflicts, said.fingerprint: entry}
            if (yield from self.store.change(row.id, row.version, {"conflicts": conflicts})) is None:
                return None
        return Told(Disposition.CONFLICT, f"Subscription {row.id}: {said.problem}")

    # -- its payments ----------------------------------------------------------------------------------------------

    def payer(
        self, evidence: Evidence, occurred_at: datetime | None, received_at: datetime
    ) -> Procedure[UUID | datetime | None]:
        """Whose a payment is that nobody asked for in this moment, before it is recorded.

        Returns:
            The id of the subscription, active by now; the time until which the payment waits, because the customer's
            answer may be on its way; None where it is nobody's.
        """
        short_code, reference, amount = evidence.short_code, evidence.reference, evidence.amount
        if not self.kept or not short_code or not reference or amount is None:
            return None
        rows = yield from self.store.charging(short_code, amount, reference)
        rows = plausible(rows, amount, evidence.phone_number, occurred_at)
        until = received_at + timedelta(seconds=self._settings.adoption_grace)
        found = charged_subscription(rows, until=until, now=self._clock())
        if isinstance(found, datetime):
            return min(found, self._clock() + timedelta(seconds=2))
        if found is None:
            if rows:
                _log.warning("A payment may be of any of %s customers' subscriptions; it is none's.", len(rows))
            return None
        yield from self.dues.change(found.id, lambda row: charged(row, occurred_at, self._clock()))
        yield from self.dues.announce(found.id)
        return found.id

    def fire(self, payment: TransactionRecord) -> Procedure[None]:
        """Deliver ``subscription_charged`` for a payment of a subscription."""
        kinds = (TransactionType.C2B, TransactionType.BILL_PAYMENT)
        if not self.kept or payment.transaction_type not in kinds or payment.status != Status.SUCCESS:
            return
        if payment.parent_id is not None:
            subscription = yield from self.store.get(payment.parent_id)
            if subscription is not None:
                yield from deliver(
                    "subscription_charged",
                    {"subscription": subscription, "transaction": payment},
                    transaction=payment,
                )

    # -- what time does --------------------------------------------------------------------------------------------

    def sweep(self, limit: int) -> Procedure[tuple[int, int]]:
        """One sweep: announce what a process left unannounced, and mark what has ended.

        Returns:
            How many signals were delivered, and how many subscriptions have ended.
        """
        delivered = over = 0
        if not self.kept:
            return delivered, over
        for row in (yield from self.store.due(Sweep.UNANNOUNCED, self._clock(), limit)):
            delivered += yield from self.dues.announce(row.id)
        for row in (yield from self.store.due(Sweep.TO_ASK, self._clock(), limit)):
            changes = ended(row, self._clock()) or {"next_check_at": None}
            over += (yield from self.store.change(row.id, row.version, changes)) is not None
        return delivered, over
