"""Reconciliation: asking about what never came, and concluding when time has run out."""

from __future__ import annotations

import logging
from typing import Any, Final

import attrs

from mpesa_core.errors import StorageBusy, StorageError, StorageRefused
from mpesa_core.outline import outline
from mpesa_core.payments.machine import OPEN, is_known
from mpesa_core.payments.records import Sweep, TransactionRecord
from mpesa_core.payments.schedule import deadline, next_check
from mpesa_core.settlement.abreast import abreast
from mpesa_core.settlement.effects import Procedure
from mpesa_core.settlement.engine import Engine

__all__ = ["TOGETHER", "Reconciled", "reconcile"]

_log = logging.getLogger("mpesa_core.settlement")


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

    Several processes may run it at once: each transaction is claimed by moving its next question into the future, a few
    of them with one commit where the repository can do that.

    Args:
        engine: the engine.
        limit: how many at the most.
    """
    due = yield from engine.store.due(Sweep.TO_ASK, engine.clock(), limit)
    together = TOGETHER if engine.batches else 1
    total, failed = Reconciled(), list[StorageError]()
    for first in range(0, len(due), together):
        claims = [_claim(engine, row) for row in due[first : first + together]]
        for claimed in (yield from abreast(claims)) if engine.batches else [(yield from claims[0])]:
            try:
                if isinstance(claimed, StorageError):
                    raise claimed
                total += (yield from _ask(engine, claimed)) if claimed is not None else Reconciled()
            except StorageError as error:
                failed.append(error)
        if any(isinstance(error, StorageBusy) for error in failed):
            break  # each try has waited already
    if failed:
        raise failed[0]  # now that those beside it were asked about, whose next question is far
    return total


def _claim(engine: Engine, row: TransactionRecord) -> Procedure[TransactionRecord | StorageError | None]:
    """Move a transaction's next question into the future; None where somebody else was first, or what went wrong."""
    due = next_check(row, engine.settings, engine.clock(), checks=row.checks + 1)
    changes: dict[str, Any] = {"next_check_at": due, "checks": row.checks + 1}
    try:
        held = yield from engine.open_conflicts(row)
        if len(held) < len(row.conflicts):
            changes["conflicts"] = held
        return (yield from engine.store.change(row.id, row.version, changes))
    except StorageRefused as error:  # this row, each time; those beside it are claimed
        _log.error("Transaction %s cannot be asked about: %s", row.id, outline(error))
        return None
    except StorageError as error:
        return error


def _ask(engine: Engine, claimed: TransactionRecord) -> Procedure[Reconciled]:
    """Ask about one transaction and apply the answer; past its deadline, conclude TIMEOUT if nobody knows better."""
    now = engine.clock()
    fresh = (yield from engine.store.get(claimed.id)) if engine.batches else claimed
    if fresh is not None and fresh.version == claimed.version:  # nothing came while the ones before it were asked about
        answer = yield from engine.questions.ask(claimed)
        if answer is not None:
            yield from engine.process(answer)
        fresh = yield from engine.store.get(claimed.id)
    if fresh is not None and fresh.status in OPEN and now >= deadline(fresh, engine.settings) and not fresh.conflicts:
        fresh = yield from engine.expire(fresh)
        return Reconciled(asked=1, expired=int(fresh is not None and fresh.status not in OPEN))
    settled = fresh is not None and fresh.status not in OPEN and is_known(fresh.status, fresh.settled_by)
    return Reconciled(asked=1, settled=int(settled))


TOGETHER: Final = 20
"""So many are claimed at once: not more, because what a process has claimed when it dies is not asked about before its
next question is due."""
