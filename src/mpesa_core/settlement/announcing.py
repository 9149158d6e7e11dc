"""Announcing: the signals of a settlement, fired by whoever holds its fence, and what it carries to other rows first.

A settlement sets the announcer's lease on its row (the *fence*). Who won the settlement announces it, or who claims a
lease that has lapsed, by the same compare-and-set; the fence is marked down when the signals went out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from mpesa_core.payments.announcements import announcements
from mpesa_core.payments.machine import Source, is_known
from mpesa_core.payments.records import REFUNDS, Status, TransactionRecord
from mpesa_core.settings import Settings
from mpesa_core.settlement.effects import Procedure, Store, deliver
from mpesa_core.settlement.invoices import Invoices
from mpesa_core.settlement.subscriptions import Subscriptions
from mpesa_core.values import total

__all__ = ["Announcing"]


class Announcing:
    """The procedures of announcing.

    Args:
        settings: leases.
        clock: the time, aware, in UTC.
        invoices: the repository keeps invoices.
        subscriptions: the repository keeps subscriptions.
    """

    def __init__(
        self, settings: Settings, clock: Callable[[], datetime], *, invoices: bool, subscriptions: bool
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.store = Store()
        self.invoices = Invoices(settings, clock, kept=invoices)
        self.subscriptions = Subscriptions(settings, clock, kept=subscriptions)

    def fence(self) -> dict[str, Any]:
        """The fields of the announcer's lease, from now."""
        return {
            "announce_until": self.clock() + timedelta(seconds=self.settings.announce_lease),
            "idempotency_locked": True,
        }

    def claim_fence(self, row: TransactionRecord) -> Procedure[TransactionRecord | None]:
        """Take over the announcement of a settlement whose announcer's lease has lapsed; None if somebody else did."""
        if row.announce_until is None or row.announce_until > self.clock():
            return None
        return (yield from self.store.change(row.id, row.version, self.fence()))

    def announce(self, row: TransactionRecord) -> Procedure[bool]:
        """Fire the signals of a settlement that this worker has the fence of, then mark it announced.

        Returns:
            False when it has to wait (a refund whose payment is being announced); the fence stays up and lapses.
        """
        parent = None
        if row.transaction_type in REFUNDS and row.parent_id is not None:
            parent, ready = yield from self._carry_to_parent(row)
            if not ready:
                return False
        row = yield from self.invoices.carry(row)
        yield from self.fire(row, parent)
        yield from self._mark(row)
        yield from self.invoices.follow(row)
        return True

    def fire(self, row: TransactionRecord, parent: TransactionRecord | None = None) -> Procedure[None]:
        """Deliver the signals of a settled transaction's present generation."""
        reversal = None
        if row.status == Status.REVERSED:
            children = yield from self._successful_refunds(row.reserved)
            reversal = children[-1] if children else None
        for announcement in announcements(row, parent, reversal):
            yield from deliver(announcement.signal, announcement.arguments, transaction=row)
        yield from self.subscriptions.fire(row)

    def _mark(self, row: TransactionRecord) -> Procedure[None]:
        current: TransactionRecord | None = row
        while current is not None and current.generation == row.generation and current.announce_until is not None:
            marked = yield from self.store.change(
                current.id, current.version, {"announce_until": None, "idempotency_locked": False}
            )
            if marked is not None:
                return
            current = yield from self.store.get(row.id)

    # -- a refund and its payment -------------------------------------------------------------------------------

    def _carry_to_parent(self, child: TransactionRecord) -> Procedure[tuple[TransactionRecord | None, bool]]:
        """Tell a payment of its refund: keep or release what was reserved, reverse it when all is back.

        Returns:
            The payment, and whether the refund may be announced now.
        """
        assert child.parent_id is not None
        key, amount = str(child.id), str(child.amount)
        while True:
            parent = yield from self.store.get(child.parent_id)
            if parent is None:
                return None, True
            reserved = dict(parent.reserved)
            changes: dict[str, Any] = {}
            if child.status == Status.SUCCESS:
                reserved[key] = amount
            elif is_known(child.status, child.settled_by):
                reserved.pop(key, None)
            if reserved != dict(parent.reserved):
                changes["reserved"] = reserved
            if child.status == Status.SUCCESS and parent.status == Status.SUCCESS:
                children = yield from self._successful_refunds(reserved)
                if total(each.amount for each in children) >= parent.amount:
                    if parent.announce_until is not None:
                        lapsed = yield from self.claim_fence(parent)
                        if lapsed is not None:
                            yield from self.announce(lapsed)
                            continue
                        return parent, False
                    changes |= {
                        "status": Status.REVERSED,
                        "settled_by": Source.REVERSAL,
                        "generation": parent.generation + 1,
                        "next_check_at": None,
                        **self.fence(),
                    }
            if not changes:
                return parent, True
            changed = yield from self.store.change(parent.id, parent.version, changes)
            if changed is not None:
                if "status" in changes:
                    yield from self.announce(changed)
                return changed, True

    def _successful_refunds(self, reserved: Mapping[str, str]) -> Procedure[list[TransactionRecord]]:
        children = []
        for key in reserved:
            child = yield from self.store.get(UUID(key))
            if child is not None and child.status == Status.SUCCESS:
                children.append(child)
        return sorted(children, key=lambda each: (each.settled_at or each.initiated_at, str(each.id)))
