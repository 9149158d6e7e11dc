"""Subscriptions on M-PESA Ratiba's standing orders: what is kept of one, where it may stand, and whose a payment is.

::

    pending ──> active ──> ended | disabled | cancelled
       └──────> failed | ended | disabled | cancelled
    disabled ──> active | cancelled | ended                   (active: by a payment made after it was disabled)

M-PESA reports whether the customer agreed, and each payment by itself, as a payment to the short code like any other.
It tells nobody when the customer disables or cancels a standing order, and has no call that asks: what the host learns
of that it records. All times are aware and in UTC, all amounts are shillings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Protocol
from uuid import UUID

import attrs

from mpesa_core.daraja.callbacks import StandingOrderCallback
from mpesa_core.daraja.codes import Outcome
from mpesa_core.errors import IllegalTransition
from mpesa_core.payments.adoption import phone_agrees
from mpesa_core.payments.dues import with_signal
from mpesa_core.values import NAIROBI, to_nairobi

__all__ = [
    "SUBSCRIPTION_TRANSITIONS",
    "Contradiction",
    "SubscriptionDraft",
    "SubscriptionKey",
    "SubscriptionRecord",
    "SubscriptionRow",
    "SubscriptionStatus",
    "answered",
    "charged",
    "charged_subscription",
    "ended",
    "midnight_after",
    "plausible",
    "refused",
    "stopped",
]


class SubscriptionStatus(StrEnum):
    """Where a subscription stands."""

    PENDING = "pending"
    """The customer is being asked; or the answer was lost."""
    ACTIVE = "active"
    FAILED = "failed"
    """The customer did not agree, or M-PESA refused: nothing will be paid."""
    ENDED = "ended"
    """The last day is past."""
    DISABLED = "disabled"
    """The customer has suspended it in the M-PESA menu; the host has recorded that."""
    CANCELLED = "cancelled"
    """The customer has cancelled it in the M-PESA menu; the host has recorded that."""


_S = SubscriptionStatus
SUBSCRIPTION_TRANSITIONS: Final[Mapping[SubscriptionStatus, frozenset[SubscriptionStatus]]] = MappingProxyType(
    {
        _S.PENDING: frozenset({_S.ACTIVE, _S.FAILED, _S.ENDED, _S.DISABLED, _S.CANCELLED}),
        _S.ACTIVE: frozenset({_S.ENDED, _S.DISABLED, _S.CANCELLED}),
        _S.DISABLED: frozenset({_S.ACTIVE, _S.ENDED, _S.CANCELLED}),
        _S.FAILED: frozenset(),
        _S.ENDED: frozenset(),
        _S.CANCELLED: frozenset(),
    }
)
"""From each status to every status that it may go to."""


class SubscriptionKey(StrEnum):
    """What a subscription is found by. Each but RESPONSE_REF_ID is unique; None is no value."""

    IDEMPOTENCY_KEY = "idempotency_key"
    CALLBACK_TOKEN = "callback_token"  # noqa: S105 - a column's name
    REQUEST_ID = "request_id"
    RESPONSE_REF_ID = "response_ref_id"


class SubscriptionRecord(Protocol):
    """A subscription's row, as the core reads it. The attributes are documented on :class:`SubscriptionRow`."""

    @property
    def id(self) -> UUID: ...  # noqa: D102 - see the class
    @property
    def account(self) -> str: ...  # noqa: D102
    @property
    def short_code(self) -> str: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def account_reference(self) -> str: ...  # noqa: D102
    @property
    def transaction_desc(self) -> str: ...  # noqa: D102
    @property
    def phone_number(self) -> str: ...  # noqa: D102
    @property
    def amount(self) -> Decimal: ...  # noqa: D102
    @property
    def start_on(self) -> date: ...  # noqa: D102
    @property
    def end_on(self) -> date: ...  # noqa: D102
    @property
    def frequency(self) -> str: ...  # noqa: D102
    @property
    def edition(self) -> str: ...  # noqa: D102
    @property
    def status(self) -> str: ...  # noqa: D102
    @property
    def idempotency_key(self) -> str | None: ...  # noqa: D102
    @property
    def callback_token(self) -> str | None: ...  # noqa: D102
    @property
    def request_id(self) -> str | None: ...  # noqa: D102
    @property
    def response_ref_id(self) -> str | None: ...  # noqa: D102
    @property
    def standing_order_id(self) -> str | None: ...  # noqa: D102
    @property
    def result_code_text(self) -> str | None: ...  # noqa: D102
    @property
    def result_desc(self) -> str | None: ...  # noqa: D102
    @property
    def created_at(self) -> datetime: ...  # noqa: D102
    @property
    def settled_at(self) -> datetime | None: ...  # noqa: D102
    @property
    def stopped_at(self) -> datetime | None: ...  # noqa: D102
    @property
    def conflicts(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def version(self) -> int: ...  # noqa: D102
    @property
    def generation(self) -> int: ...  # noqa: D102
    @property
    def unannounced(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def announce_until(self) -> datetime | None: ...  # noqa: D102
    @property
    def next_check_at(self) -> datetime | None: ...  # noqa: D102


@attrs.frozen(kw_only=True, slots=False)
class SubscriptionDraft:
    """A subscription that is to be recorded: every field of :class:`SubscriptionRow` but ``version``."""

    id: UUID
    account: str = "default"
    short_code: str
    name: str
    account_reference: str
    transaction_desc: str = ""
    phone_number: str = attrs.field(repr=False)
    amount: Decimal
    start_on: date
    end_on: date
    frequency: str
    edition: str
    status: str = SubscriptionStatus.PENDING
    idempotency_key: str | None = None
    callback_token: str | None = attrs.field(default=None, repr=False)
    request_id: str | None = None
    response_ref_id: str | None = None
    standing_order_id: str | None = None
    result_code_text: str | None = None
    result_desc: str | None = None
    created_at: datetime
    settled_at: datetime | None = None
    stopped_at: datetime | None = None
    conflicts: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    generation: int = 0
    unannounced: Mapping[str, Any] = attrs.field(factory=dict)
    announce_until: datetime | None = None
    next_check_at: datetime | None = None
    host: Mapping[str, Any] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True, slots=False)
class SubscriptionRow(SubscriptionDraft):
    """The core's own row of a subscription.

    Attributes:
        id: internal; never sent to Safaricom.
        account: the name of the settings' account it runs on.
        short_code: the short code that its payments are reported under (for a till: the store number).
        name: what the customer sees; M-PESA wants it unique for each customer.
        account_reference, transaction_desc: as sent.
        phone_number: who pays, ``2547…``/``2541…``.
        amount: of each payment, whole shillings.
        start_on, end_on: the first and the last day, in Nairobi.
        frequency, edition: how often, and by which edition of Daraja's table; see :mod:`mpesa_core.daraja.ratiba`.
        status: see :class:`SubscriptionStatus`.
        idempotency_key: the host's; unique.
        callback_token: the last part of its callback URL; unique.
        request_id: our own id of the request (the edition of 2026 sends it back); unique.
        response_ref_id: Daraja's id of the request.
        standing_order_id: M-PESA's id of the standing order; no receipt.
        result_code_text, result_desc: M-PESA's answer.
        created_at: when it was recorded.
        settled_at: when it was known whether the customer agreed.
        stopped_at: when it ended, or the host recorded that it was disabled or cancelled.
        conflicts: contradictions, by what they say.
        version: raised by every change; what compare-and-set compares.
        generation: how many signals it has had, apart from its payments'.
        unannounced: those that are still to be delivered; see :mod:`mpesa_core.payments.dues`.
        announce_until: the announcer's lease; set while a signal is unannounced.
        next_check_at: when it ends.
        host: the host's own fields.
    """

    version: int = 1

    def __repr__(self) -> str:
        return f"<Subscription {self.id} {self.name!r} {self.status} {self.amount} {self.frequency}>"


_OVER: Final = (_S.ENDED, _S.CANCELLED)


@attrs.frozen
class Contradiction:
    """M-PESA says what cannot be.

    Attributes:
        fingerprint: what it says; the same for its duplicates.
        problem: a sentence for a person.
    """

    fingerprint: str
    problem: str


_LAST_DAY: Final = date(9998, 12, 31)


def midnight_after(day: date) -> datetime:
    """The end of a day in Nairobi, in UTC."""
    day = min(day, _LAST_DAY)  # a later one cannot be written as a time
    return (datetime.combine(day, time(), tzinfo=NAIROBI) + timedelta(days=1)).astimezone(UTC)


def _check(row: SubscriptionRecord, target: SubscriptionStatus) -> SubscriptionStatus:
    if target not in SUBSCRIPTION_TRANSITIONS[SubscriptionStatus(row.status)]:
        raise IllegalTransition(row.status, target, kind="subscription")
    return target


def answered(
    row: SubscriptionRecord, said: StandingOrderCallback, now: datetime
) -> dict[str, Any] | Contradiction | None:
    """What M-PESA's callback makes of a subscription.

    Returns:
        The changes; None for a duplicate; a contradiction, which changes nothing.
    """
    mark = f"{said.outcome}:{said.result_code_text}:{said.standing_order_id or ''}"
    if not phone_agrees(row.phone_number, said.phone_number):
        return Contradiction(f"phone:{mark}", "The standing order is of another phone number.")
    if said.outcome is Outcome.SUCCESS:
        if row.status == _S.FAILED:
            return Contradiction(mark, "It had failed before, and M-PESA says now that the customer agreed.")
        ours, theirs = row.standing_order_id, said.standing_order_id
        if ours and theirs and ours != theirs:
            return Contradiction(mark, "M-PESA reports another standing order for the same request.")
        changes = _told(said)
        if row.status == _S.PENDING:
            changes |= {"status": _check(row, _S.ACTIVE), "settled_at": now}
            return with_signal(row, "subscription_created", now, changes=changes)
        return changes if ours is None and theirs else None
    if said.outcome not in (Outcome.PENDING, Outcome.UNKNOWN):
        if row.status == _S.PENDING:
            changes = _told(said) | {"status": _check(row, _S.FAILED), "settled_at": now, "next_check_at": None}
            return with_signal(row, "subscription_failed", now, changes=changes)
        if row.status == _S.FAILED:
            return None
        return Contradiction(mark, f"It is {row.status}, and M-PESA says now that the customer did not agree.")
    code = said.result_code_text or "(none)"
    why = said.problem or f"nobody has documented the code {code}"
    return Contradiction(mark, f"It says neither that the customer agreed nor that he did not: {why}.")


def _told(said: StandingOrderCallback) -> dict[str, Any]:
    changes: dict[str, Any] = {"result_code_text": said.result_code_text, "result_desc": said.result_desc}
    if said.outcome is Outcome.SUCCESS and said.standing_order_id:
        changes["standing_order_id"] = said.standing_order_id
    return changes


def refused(row: SubscriptionRecord, why: str, now: datetime) -> dict[str, Any] | None:
    """What a refusal of the request makes of a subscription; None where its callback was first."""
    if row.status != _S.PENDING:
        return None
    changes = {"status": _check(row, _S.FAILED), "result_desc": why, "settled_at": now, "next_check_at": None}
    return with_signal(row, "subscription_failed", now, changes=changes)


def charged(row: SubscriptionRecord, occurred_at: datetime | None, now: datetime) -> dict[str, Any] | None:
    """What a payment of its own makes of a subscription: the proof that it is active, where that was not known.

    Args:
        row: the subscription.
        occurred_at: when the customer paid, where it is said.
        now: the time.
    """
    if row.status == _S.PENDING:
        changes = {"status": _check(row, _S.ACTIVE), "settled_at": now}
        return with_signal(row, "subscription_created", now, changes=changes)
    if row.status == _S.DISABLED and occurred_at is not None and row.stopped_at and occurred_at > row.stopped_at:
        return {"status": _check(row, _S.ACTIVE), "stopped_at": None}  # the customer has enabled it again
    return None


def stopped(row: SubscriptionRecord, target: SubscriptionStatus, now: datetime) -> dict[str, Any] | None:
    """What the host's record of a customer's step (DISABLED, CANCELLED) makes of it; None where it stands there.

    Raises:
        IllegalTransition: it has failed, ended, or been cancelled.
    """
    if row.status == target:
        return None
    signal = "subscription_disabled" if target is _S.DISABLED else "subscription_cancelled"
    changes: dict[str, Any] = {"status": _check(row, target), "stopped_at": row.stopped_at or now}
    if target is _S.CANCELLED:
        changes["next_check_at"] = None
    return with_signal(row, signal, now, changes=changes)


def ended(row: SubscriptionRecord, now: datetime) -> dict[str, Any] | None:
    """What the passing of its last day makes of a subscription; None where it makes nothing of it."""
    end = midnight_after(row.end_on)
    if end > now or _S.ENDED not in SUBSCRIPTION_TRANSITIONS[SubscriptionStatus(row.status)]:
        return None
    return {"status": _S.ENDED, "stopped_at": row.stopped_at or end, "next_check_at": None}


def plausible(
    rows: Sequence[SubscriptionRecord], amount: Decimal, phone_number: str | None, occurred_at: datetime | None
) -> list[SubscriptionRecord]:
    """Those of the subscriptions whose payment this may be: the amount, the phone where it can be seen, and the time.

    Args:
        rows: of the payment's short code and reference.
        amount: what was paid.
        phone_number: who paid, in full, masked or as a hash.
        occurred_at: when, where it is said.
    """

    def fits(row: SubscriptionRecord) -> bool:
        if row.amount != amount or not phone_agrees(row.phone_number, phone_number):
            return False
        if occurred_at is not None and to_nairobi(occurred_at).date() < row.start_on:
            return False
        if row.status in _OVER:  # only what was paid before, and is reported late
            return occurred_at is not None and row.stopped_at is not None and occurred_at <= row.stopped_at
        return row.status != _S.FAILED

    return [row for row in rows if fits(row)]


def charged_subscription(
    rows: Sequence[SubscriptionRecord], *, until: datetime, now: datetime
) -> SubscriptionRecord | datetime | None:
    """Whose payment it is.

    Args:
        rows: the plausible ones.
        until: how long the payment may wait for the callback of one that is pending.
        now: the time.

    Returns:
        The subscription; the time until which it waits; None where it is nobody's, or where the payer cannot be told
        from another customer.
    """
    decided = [row for row in rows if row.status != _S.PENDING]
    if not decided and rows and now < until:
        return until
    candidates = decided or list(rows)
    if len({row.phone_number for row in candidates}) != 1:
        return None
    return min(candidates, key=lambda row: (row.created_at, str(row.id)))
