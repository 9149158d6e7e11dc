"""A storm: eight processes post one callback over and over, against as many different ones, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import attrs

from benchmarks.harness import Reach, Scale, Turn, alone, benchmark, require
from benchmarks.postgres import kept_by_sqlalchemy, sqlalchemy_tables
from benchmarks.settling import Settling, body_of, checkout_of, in_processes, settle_share

_PROCESSES = 8


@attrs.define
class _Storm(Settling):
    """All processes settle the one payment."""

    def ready(self) -> None:
        """One payment."""
        self._told.clear()
        self._first += 1
        self.store.fill([self._first])

    def work(self) -> Turn:
        """The storm."""
        share = [body_of(self._first)] * (self.count // self.processes)
        done = in_processes([lambda wait: settle_share(self.worker, share, wait) for _ in range(self.processes)])
        self._told = [each for part in done for each in part.told]
        seconds = max(part.ended for part in done) - min(part.started for part in done)
        return Turn(self.count, seconds, [each for part in done for each in part.latencies])

    def check(self) -> None:
        """One transition, one signal, and every body."""
        require(self.store.settled() == [checkout_of(self._first)], "the payment was not settled, or not once")
        require(self._told == [checkout_of(self._first)], f"{len(self._told)} signals, expected one")
        require(self.store.bodies() == [body_of(self._first)] * self.count, "not every body was kept")


@benchmark(f"storm on PostgreSQL: {_PROCESSES} processes, one row", Reach(rate=0.7))
@contextmanager
def _sides(scale: Scale) -> Iterator[tuple[Settling, _Storm]]:
    count = _PROCESSES * scale.many(300, 10)
    tables = sqlalchemy_tables()
    worker = partial(kept_by_sqlalchemy, tables)
    yield Settling(tables, worker, count, _PROCESSES), _Storm(tables, worker, count, _PROCESSES)


alone(__name__)
