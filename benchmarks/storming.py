"""A storm: eight processes post one callback over and over, against as many different ones, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import attrs

from benchmarks.harness import Reach, Scale, Turn, alone, benchmark, require
from benchmarks.postgres import kept_by_sqlalchemy, sqlalchemy_tables
from benchmarks.settling import WARM, Settling, checkout_of

_PROCESSES = 8


@attrs.define
class _Storm(Settling):
    """All processes settle the one payment."""

    def ready(self) -> None:
        """One payment, and those by which each process becomes warm."""
        self._told.clear()
        self._first += 1 + self.processes * WARM
        self.store.fill(self._numbers)

    @property
    def _numbers(self) -> range:
        return range(self._first, self._first + 1 + self.processes * WARM)

    def work(self) -> Turn:
        """The storm."""
        one, *warm = self._bodies
        storm = [one] * (self.count // self.processes)
        shares = [[*warm[index :: self.processes], *storm] for index in range(self.processes)]
        done = self._in_processes(shares)
        self._told = [each for part in done for each in part.told]
        seconds = max(part.ended for part in done) - min(part.started for part in done)
        return Turn(self.count, seconds, [each for part in done for each in part.latencies])

    def check(self) -> None:
        """One transition, one signal, and every body."""
        expected = sorted(map(checkout_of, self._numbers))
        require(sorted(self.store.settled()) == expected, "the payment was not settled, or not once")
        told = self._told.count(checkout_of(self._first))
        require(told == 1, f"{told} signals, expected one")
        require(sorted(self._told) == expected, "a payment before the storm was not told of once")
        one, *warm = self._bodies
        require(sorted(self.store.bodies()) == sorted([*warm, *[one] * self.count]), "not every body was kept")


@benchmark(f"storm on PostgreSQL: {_PROCESSES} processes, one row", Reach(rate=0.7))
@contextmanager
def _sides(scale: Scale) -> Iterator[tuple[Settling, _Storm]]:
    count = _PROCESSES * scale.many(300, 10)
    tables = sqlalchemy_tables()
    worker = partial(kept_by_sqlalchemy, tables)
    yield Settling(tables, worker, count, _PROCESSES), _Storm(tables, worker, count, _PROCESSES)


alone(__name__)
