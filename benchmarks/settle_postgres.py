"""From a callback's request to the receiver of its signal on PostgreSQL, synchronous commit on, on both adapters.

The floor is bare psycopg with the same two commits, one prepared statement each: log first, then settle. It has no
claim, no announcer's lease and no close, so a process that dies between the two loses the payment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.harness import Reach, Scale, alone, benchmark
from benchmarks.postgres import django_tables, kept_by_django, kept_by_sqlalchemy, sqlalchemy_tables, usual_django
from benchmarks.settling import Settling


def _add(processes: int) -> None:
    @benchmark(f"settle on PostgreSQL, SQLAlchemy, {processes} at once", Reach(rate=0.80))
    @contextmanager
    def _on_sqlalchemy(scale: Scale) -> Iterator[tuple[Settling, Settling]]:
        count = scale.many(400, 40)
        tables = sqlalchemy_tables()
        floor = Settling(tables, tables.bare, count, processes)
        yield floor, Settling(tables, partial(kept_by_sqlalchemy, tables), count, processes)

    @benchmark(f"settle on PostgreSQL, Django, {processes} at once", Reach(rate=0.70))
    @contextmanager
    def _on_django(scale: Scale) -> Iterator[tuple[Settling, Settling]]:
        count = scale.many(400, 40)
        tables = django_tables()
        yield Settling(tables, tables.bare, count, processes), Settling(tables, kept_by_django, count, processes)

    @benchmark(f"settle on PostgreSQL, Django against its usual shape, {processes}", Reach(rate=5.0))
    @contextmanager
    def _against_usual(scale: Scale) -> Iterator[tuple[Settling, Settling]]:
        count = scale.many(400, 40)
        tables = django_tables()
        yield Settling(tables, usual_django, count, processes), Settling(tables, kept_by_django, count, processes)


_add(1)
_add(8)

alone(__name__)
