"""The engine or its store with one rule taken out, each of which the scheduler has to find.

They are made here, by overriding, and not by switches in the source.
"""

from __future__ import annotations

import attrs

from mpesa_core.payments.decide import Postpone
from mpesa_core.repository.memory import MemoryRepository
from mpesa_core.settlement.engine import Closed, Disposition, Engine
from tests.settlement.simulation import Joint, Variant

__all__ = ["MUTANTS"]


class _Unfenced(Engine):
    """Settles although the settlement before has not been announced."""

    def decide(self, row, evidence):
        decision = super().decide(row, evidence)
        if isinstance(decision, Postpone):
            return super().decide(attrs.evolve(row, announce_until=None, idempotency_locked=False), evidence)
        return decision


class NoFence(Variant):
    """No fence before the next settlement: what decide says about it is ignored."""

    name = "no_fence"

    def engine(self, world):
        return _Unfenced(world.settings, world.clock, world.new_id)


class _ConflictElsewhere(Engine):
    """Keeps conflicts in a table of their own. They are read with the row, and written beside it."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.conflicts = {}

    def decide(self, row, evidence):
        return super().decide(attrs.evolve(row, conflicts=self.conflicts.get(row.id, {})), evidence)

    def _conflict(self, row, conflict, callback):
        ours = str(callback.id) if callback is not None else None
        kept = self.conflicts.setdefault(row.id, {})
        known = kept.setdefault(conflict.fingerprint, {"callback": ours, "problem": conflict.problem})
        yield from self.store.get(row.id)  # as many steps as writing it takes
        if known["callback"] != ours:
            return Closed(Disposition.DUPLICATE, row)
        yield from self._announce_conflict(row, callback, conflict.problem)
        return Closed(Disposition.CONFLICT, row, conflict.problem)

    def _hold(self, rows, evidence, callback):
        problem = "It may belong to several payments."
        for row in rows:
            self.conflicts.setdefault(row.id, {})[f"several:{evidence.receipt}"] = {"callback": str(callback.id)}
            yield from self.store.get(row.id)
        yield from self._announce_conflict(rows[0], callback, problem)
        return Closed(Disposition.CONFLICT, None, problem)


class ConflictElsewhere(Variant):
    """A conflict is not kept on its transaction's own row."""

    name = "conflict_elsewhere"

    def engine(self, world):
        return _ConflictElsewhere(world.settings, world.clock, world.new_id)


class _MarksFirst(Engine):
    """Marks a settlement announced, and then announces it."""

    def fire(self, row, parent=None):
        yield from super()._mark(row)
        yield from super().fire(row, parent)

    def _mark(self, row):
        yield from ()


class MarkFirst(Variant):
    """The mark comes before the signal."""

    name = "mark_first"

    def engine(self, world):
        return _MarksFirst(world.settings, world.clock, world.new_id)


class _Unclaimed(Engine):
    """Works on every open callback that it comes by; nobody claims one."""

    def _claim(self, callback):
        yield from ()
        return callback.next_attempt_at


class NoClaim(Variant):
    """Callbacks are not claimed."""

    name = "no_claim"

    def engine(self, world):
        return _Unclaimed(world.settings, world.clock, world.new_id)


class _Saves(MemoryRepository):
    """Saves whatever it is given: the check was made when the row was read."""

    def change(self, transaction_id, version, changes):
        row = self.get(transaction_id)
        return super().change(transaction_id, row.version if row is not None else version, changes)


class ReadCheckSave(Variant):
    """Read, check, save, instead of compare-and-set."""

    name = "read_check_save"

    def repository(self):
        return _Saves()


class _ClosesAnyway(MemoryRepository):
    """Closes the callback whose settlement somebody else was faster than."""

    def change_with_callback(self, transaction_id, version, changes, callback_id, expected_next_attempt, closing):
        row = self.change(transaction_id, version, changes)
        self.change_callback(callback_id, expected_next_attempt, closing)
        return row


class ClosesAnyway(Joint):
    """Settling and closing in one operation, of which one half may be done."""

    name = "closes_anyway"

    def repository(self):
        return _ClosesAnyway()


MUTANTS = {
    mutant.name: mutant for mutant in (NoFence, ConflictElsewhere, MarkFirst, NoClaim, ReadCheckSave, ClosesAnyway)
}
