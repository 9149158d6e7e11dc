"""Recovery: going on from whatever a process left open when it died."""

from __future__ import annotations

import attrs

from mpesa_core.payments.records import Status, Sweep
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
    """

    unsent: int = 0
    announced: int = 0
    callbacks: int = 0
    dues: int = 0

    def __bool__(self) -> bool:
        return bool(self.unsent or self.announced or self.callbacks or self.dues)

    def __add__(self, other: Recovered) -> Recovered:
        return Recovered(
            self.unsent + other.unsent,
            self.announced + other.announced,
            self.callbacks + other.callbacks,
            self.dues + other.dues,
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
    for callback in (yield from engine.store.due_callbacks(engine.clock(), limit)):
        if (yield from engine.process(callback.id)) is not None:
            callbacks += 1
    for row in (yield from engine.store.due(Sweep.UNSENT, engine.clock(), limit)):
        concluded = yield from engine.unsent(row)
        unsent += concluded is not None and concluded.status != Status.PENDING
    dues = sum((yield from engine.invoices.sweep(limit))) + sum((yield from engine.subscriptions.sweep(limit)))
    return Recovered(unsent, announced, callbacks, dues)
