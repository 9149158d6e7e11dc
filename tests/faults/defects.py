"""Four defects to put in on purpose: what finds faults has to find these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from mpesa_core.payments.announcements import announcements

__all__ = ["DEFECTS", "Defect"]


@attrs.frozen
class Defect:
    """What is wrong.

    Attributes:
        wrap_repository: makes another repository of the repository and the bus.
        wrap_bus: makes another bus of the bus.
        acknowledges_first: the answer is given before the callback is recorded.
    """

    wrap_repository: Any = None
    wrap_bus: Any = None
    acknowledges_first: bool = False

    def repository(self, repository: Any, bus: Any) -> tuple[Any, Any]:
        """The repository and the bus, with the defect."""
        return (
            self.wrap_repository(repository, bus) if self.wrap_repository else repository,
            self.wrap_bus(bus) if self.wrap_bus else bus,
        )


class _Passing:
    batch = change_with_callback = None  # every change goes by change()

    def __init__(self, inner: Any, bus: Any) -> None:
        self.inner = inner
        self.bus = bus

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class _ReadCheckSave(_Passing):
    """Saves over whatever somebody else saved in the meantime."""

    def change(self, transaction_id: Any, version: int, changes: Mapping[str, Any]) -> Any:
        while True:
            current = self.inner.get(transaction_id)
            if current is None:
                return None
            saved = self.inner.change(transaction_id, current.version, changes)
            if saved is not None:
                return saved


class _NoFence(_Passing):
    """Remembers nowhere that a settlement is still to be announced."""

    def change(self, transaction_id: Any, version: int, changes: Mapping[str, Any]) -> Any:
        kept = {name: value for name, value in changes.items() if name not in ("announce_until", "idempotency_locked")}
        return self.inner.change(transaction_id, version, kept)


class _SignalInside(_Passing):
    """Announces while the settlement is being written: what its receivers did stays, whatever becomes of it."""

    def change(self, transaction_id: Any, version: int, changes: Mapping[str, Any]) -> Any:
        if "generation" in changes:
            row = self.inner.get(transaction_id)
            if row is not None and row.version == version:
                self._announce(attrs.evolve(row, **changes))
        return self.inner.change(transaction_id, version, changes)

    def add(self, draft: Any) -> Any:
        if draft.generation:
            self._announce(draft)
        return self.inner.add(draft)

    def _announce(self, row: Any) -> None:
        parent = self.inner.get(row.parent_id) if row.parent_id is not None else None
        for each in announcements(row, parent):
            self.bus.deliver(each.signal, each.arguments)


class _OnlyTheOthers:
    """Delivers what announces no settlement."""

    def __init__(self, bus: Any) -> None:
        self._bus = bus

    def deliver(self, name: str, arguments: Mapping[str, Any]) -> list[Any]:
        if name in ("callback_received", "payment_initiated", "settlement_conflict"):
            return self._bus.deliver(name, arguments)
        return []


DEFECTS = {
    "no guard on the state": Defect(wrap_repository=_ReadCheckSave),
    "no durable announcement": Defect(wrap_repository=_NoFence),
    "acknowledge before the log": Defect(acknowledges_first=True),
    "signal inside the transaction": Defect(wrap_repository=_SignalInside, wrap_bus=_OnlyTheOthers),
}
"""The defects by name."""
