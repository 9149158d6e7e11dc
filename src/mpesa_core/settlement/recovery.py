"""Recovery: going on from whatever a process left open when it died."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

import attrs

from mpesa_core.errors import StorageError, StorageRefused, StorageUnavailable
from mpesa_core.payments.records import CallbackRecord, Status, Sweep, TransactionRecord
from mpesa_core.settlement.abreast import abreast
from mpesa_core.settlement.effects import Procedure
from mpesa_core.settlement.engine import Engine

__all__ = ["Recovered", "recover"]

T = TypeVar("T")


@attrs.frozen
class Recovered:
    """What one sweep did.

    Attributes:
        unsent: transactions found never sent, and settled as FAILED.
        announced: settlements whose signals were fired late.
        callbacks: open callbacks that were processed.
        dues: signals of invoices and subscriptions that were fired late, and invoices and subscriptions that fell due.
        lost: callbacks that were due, and that somebody else took up first.
    """

    unsent: int = 0
    announced: int = 0
    callbacks: int = 0
    dues: int = 0
    lost: int = attrs.field(default=0, eq=False)

    def __bool__(self) -> bool:
        return bool(self.unsent or self.announced or self.callbacks or self.dues)

    def __add__(self, other: Recovered) -> Recovered:
        return Recovered(
            self.unsent + other.unsent,
            self.announced + other.announced,
            self.callbacks + other.callbacks,
            self.dues + other.dues,
            self.lost + other.lost,
        )


def recover(engine: Engine, limit: int = 100) -> Procedure[Recovered]:
    """One sweep: lapsed announcements, open callbacks that are due, what was never sent, and what fell due.

    Several processes may run it at once: each piece of work is claimed by compare-and-set. What cannot be done because
    the store refuses it, a trigger of the host's say, keeps nothing behind it from its turn.

    Args:
        engine: the engine.
        limit: how many of each kind at the most.

    Raises:
        StorageRefused, StorageUnavailable: the first of what failed, when all the rest had its turn.
    """
    failed: list[StorageError] = []
    lapsed = yield from engine.store.due(Sweep.UNANNOUNCED, engine.clock(), limit)
    announced = yield from _each(lapsed, partial(_announce, engine), failed)
    due = yield from engine.store.due_callbacks(engine.clock(), limit)
    portions = [due] if engine.batches else [[callback] for callback in due]
    callbacks = yield from _each(portions, partial(_take, engine), failed)
    pending = yield from engine.store.due(Sweep.UNSENT, engine.clock(), limit)
    unsent = yield from _each(pending, partial(_conclude, engine), failed)
    dues = sum((yield from engine.invoices.sweep(limit))) + sum((yield from engine.subscriptions.sweep(limit)))
    if failed:
        raise failed[0]
    return Recovered(unsent, announced, callbacks, dues, len(due) - callbacks)


def _each(items: Iterable[T], work: Callable[[T], Procedure[int]], failed: list[StorageError]) -> Procedure[int]:
    """Do the work for each; how much was done, and what failed."""
    done = 0
    for item in items:
        try:
            done += yield from work(item)
        except (StorageRefused, StorageUnavailable) as error:
            failed.append(error)
    return done


def _announce(engine: Engine, row: TransactionRecord) -> Procedure[int]:
    claimed = yield from engine.claim_fence(row)
    return int(claimed is not None and (yield from engine.announce(claimed)))


def _take(engine: Engine, callbacks: Sequence[CallbackRecord]) -> Procedure[int]:
    """One, where the repository does not do several operations at once."""
    taken = [*map(engine.take, callbacks)]
    verdicts = (yield from abreast(taken)) if engine.batches else [(yield from taken[0])]
    return sum(verdict is not None for verdict in verdicts)


def _conclude(engine: Engine, row: TransactionRecord) -> Procedure[int]:
    concluded = yield from engine.unsent(row)
    return int(concluded is not None and concluded.status != Status.PENDING)
