"""Reconciliation: asking about what never came, and concluding when time has run out."""

from __future__ import annotations

from typing import Any

import attrs

from mpesa_core.payments.machine import OPEN, is_known
from mpesa_core.payments.records import Sweep, TransactionRecord
from mpesa_core.payments.schedule import deadline, next_check
from mpesa_core.settlement.effects import Procedure
from mpesa_core.settlement.engine import Engine

__all__ = ["Reconciled", "reconcile", "reconcile_one"]


@attrs.frozen
class Reconciled:
    """What one sweep did.

    Attributes:
        asked: transactions that were due and taken.
        settled: of these, how many have a known outcome now.
        expired: of these, how many reached their deadline without one.
    """

    asked: int = 0
    settled: int = 0
    expired: int = 0

    def __bool__(self) -> bool:
        return bool(self.asked)

    def __add__(self, other: Reconciled) -> Reconciled:
        return Reconciled(self.asked + other.asked, self.settled + other.settled, self.expired + other.expired)


def reconcile(engine: Engine, limit: int = 100) -> Procedure[Reconciled]:
    """One sweep over the transactions whose next question is due.

    Several processes may run it at once: each transaction is claimed by moving its next question into the future.

    Args:
        engine: the engine.
        limit: how many at the most.
    """
    total = Reconciled()
    for row in (yield from engine.store.due(Sweep.TO_ASK, engine.clock(), limit)):
        total += yield from reconcile_one(engine, row)
    return total


def reconcile_one(engine: Engine, row: TransactionRecord) -> Procedure[Reconciled]:
    """Ask about one transaction and apply the answer; past its deadline, conclude TIMEOUT if nobody knows better."""
    now = engine.clock()
    due = next_check(row, engine.settings, now, checks=row.checks + 1)
    changes: dict[str, Any] = {"next_check_at": due, "checks": row.checks + 1}
    held = yield from engine.open_conflicts(row)
    if len(held) < len(row.conflicts):
        changes["conflicts"] = held
    claimed = yield from engine.store.change(row.id, row.version, changes)
    if claimed is None:
        return Reconciled()
    answer = yield from engine.questions.ask(claimed)
    if answer is not None:
        yield from engine.process(answer)
    fresh = yield from engine.store.get(row.id)
    if fresh is not None and fresh.status in OPEN and now >= deadline(fresh, engine.settings) and not fresh.conflicts:
        fresh = yield from engine.expire(fresh)
        return Reconciled(asked=1, expired=int(fresh is not None and fresh.status not in OPEN))
    settled = fresh is not None and fresh.status not in OPEN and is_known(fresh.status, fresh.settled_by)
    return Reconciled(asked=1, settled=int(settled))
