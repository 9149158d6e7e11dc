"""Resident memory while callbacks go through one process: it must not grow with their number."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import attrs

from benchmarks.harness import Reach, Scale, Turn, Unavailable, alone, benchmark, require
from benchmarks.settling import Settle, body_of, checkout_of, settler, waiting
from mpesa_core import SqliteRepository

_MIB = 1024 * 1024
_MANY = 10_000
"""Callbacks of a turn; with ``--share 100`` it is a million."""
_DIFFERENT = 200
"""Payments; each has its callback once, and then again and again, as M-PESA repeats what it takes for lost."""


def _resident() -> float:
    with Path("/proc/self/statm").open() as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / _MIB


@attrs.define
class _Through:
    path: Path
    settle: Settle
    told: list[str]
    count: int

    def ready(self) -> None:
        """Empty the log, so that the file does not grow from turn to turn."""
        self._rows("DELETE FROM mpesa_callbacks")

    def work(self) -> Turn:
        """Everything once more; how much larger the process is afterwards."""
        before, started = _resident(), time.perf_counter()
        for number in range(self.count):
            self.settle(body_of(number % _DIFFERENT))
        return Turn(self.count, time.perf_counter() - started, notes={"drift MiB": _resident() - before})

    def check(self) -> None:
        """Each was told of once in all the turns, and every body is kept."""
        expected = sorted(checkout_of(number) for number in range(min(self.count, _DIFFERENT)))
        require(sorted(self.told) == expected, "not every payment was told of once")
        require(self._rows("SELECT count(*) FROM mpesa_callbacks") == [(self.count,)], "not every body was kept")

    def _rows(self, sql: str) -> list[tuple[int]]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            return connection.execute(sql).fetchall()


@benchmark("memory: callbacks through one process", Reach(notes={"drift MiB": 2.0}))
@contextmanager
def _sides(scale: Scale) -> Iterator[tuple[None, _Through]]:
    if not Path("/proc/self/statm").exists():
        raise Unavailable("resident memory is read from /proc/self/statm, which is not here")
    folder = Path(tempfile.mkdtemp(prefix="mpesa-bench-"))
    try:
        path = folder / "shop.sqlite3"
        with closing(SqliteRepository(path, synchronous="OFF")) as repository:
            for number in range(_DIFFERENT):
                repository.add(waiting(number))
            with settler(repository) as (settle, told):
                yield None, _Through(path, settle, told, scale.many(_MANY, 500))
    finally:
        shutil.rmtree(folder)


alone(__name__)
