"""Recovery: going on from whatever a process left open when it died."""

from __future__ import annotations

import attrs

from mpesa_core.payments.records import Status, Sweep
from mpesa_core.settlement.abreast import abreast
from mpesa_core.settlement.effects import Procedure
from mpesa_core.settlement.engine import Engine

__all__ = ["Recovered", "recover"]


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

    Several processes may run it at once: each piece of work is claimed by compare-and-set.

    Args:
        engine: the engine.
        limit: how many of each kind at the most.
    """
    announced = callbacks = unsent = 0
    for row in (yield from engine.store.due(Sweep.UNANNOUNCED, engine.clock(), limit)):
        claimed = yield from engine.claim_fence(row)
        if claimed is not None and (yield from engine.announce(claimed)):
            announced += 1
    due = yield from engine.store.due_callbacks(engine.clock(), limit)
    if engine.batches:
        callbacks += sum(verdict is not None for verdict in (yield from abreast([*map(engine.take, due)])))
    else:
        for callback in due:
            callbacks += (yield from engine.take(callback)) is not None
    for row in (yield from engine.store.due(Sweep.UNSENT, engine.clock(), limit)):
        concluded = yield from engine.unsent(row)
        unsent += concluded is not None and concluded.status != Status.PENDING
    dues = sum((yield from engine.invoices.sweep(limit))) + sum((yield from engine.subscriptions.sweep(limit)))
    return Recovered(unsent, announced, callbacks, dues, len(due) - callbacks)
