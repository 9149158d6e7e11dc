"""The sweep for payments that are to be asked about, among many rows, against the same rows by their primary key.

What is read is one page of a hundred after the other; what is claimed is each row's next check, moved on by
compare-and-set, as reconciliation claims it: twenty with a commit. The floor reads the same rows by their keys in one
query, and moves a page of a hundred on in one transaction.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs

from benchmarks.harness import Reach, Scale, Turn, alone, benchmark, require
from benchmarks.settling import waiting
from mpesa_core import SqliteRepository
from mpesa_core.payments.records import Sweep
from mpesa_core.settlement.reconciliation import TOGETHER

_STALE = 1000
_PAGE = 100
_NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
_LATER = _NOW + timedelta(hours=1)


def _make(path: Path, rows: int, stale: int) -> None:
    """Rows of which some are due; one row through the repository, the others as copies of it."""
    with closing(SqliteRepository(path, synchronous="OFF")) as repository:
        first = repository.add(waiting(0))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(mpesa_transactions)")]
        own = {
            "seq": "n.value + 1",
            "id": "printf('%08x-0000-4000-8000-%012x', n.value, n.value)",
            "status": "CASE WHEN n.value % :every = 0 THEN 'PROCESSING' ELSE 'SUCCESS' END",
            "checkout_request_id": "printf('ws_CO_%08d', n.value)",
            "idempotency_key": "printf('order-%08d', n.value)",
            "next_check_at": "CASE WHEN n.value % :every = 0 THEN printf('2026-11-21T11:%02d:%02d.%06d+00:00',"
            " n.value / :every / 60 % 60, n.value / :every % 60, n.value / :every) END",
        }
        chosen = ", ".join(own.get(name, f"t.{name}") for name in names)
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(
            f"WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < :rows)"
            f" INSERT INTO mpesa_transactions ({', '.join(names)}) SELECT {chosen} FROM n, mpesa_transactions t"
            " WHERE t.id = :first",
            {"rows": rows, "every": rows // stale, "first": str(first.id)},
        )
        connection.execute("DELETE FROM mpesa_transactions WHERE id = ?", [str(first.id)])
        connection.execute("ANALYZE")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@attrs.frozen
class _File:
    """A file with many rows.

    Attributes:
        path: where it is.
        due: the ids of the rows that are due and their times, in the order of these.
    """

    path: Path
    due: list[tuple[str, str]]

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            return connection.execute(sql, parameters).fetchall()

    def make_due(self) -> None:
        """All are due again, as when the file was made."""
        with closing(sqlite3.connect(self.path)) as connection:
            again = "UPDATE mpesa_transactions SET next_check_at = ? WHERE id = ?"
            connection.executemany(again, [(moment, key) for key, moment in self.due])
            connection.commit()


@functools.cache
def _file(rows: int, stale: int) -> _File:
    folder = Path(tempfile.mkdtemp(prefix="mpesa-bench-"))
    atexit.register(shutil.rmtree, folder)
    path = folder / "shop.sqlite3"
    _make(path, rows, stale)
    due = "SELECT id, next_check_at FROM mpesa_transactions WHERE next_check_at IS NOT NULL ORDER BY next_check_at"
    with closing(sqlite3.connect(path)) as connection:
        return _File(path, connection.execute(due).fetchall())


@attrs.define
class _Swept:
    """One side: its function returns the ids that it saw, in their order."""

    file: _File
    function: Callable[[], list[str]]
    claims: bool
    notes: dict[str, float] = attrs.field(factory=dict)
    _seen: list[str] = attrs.field(factory=list)

    def ready(self) -> None:
        """All are due again."""
        self.file.make_due()

    def work(self) -> Turn:
        """Sweep."""
        started = time.perf_counter()
        self._seen = self.function()
        return Turn(len(self.file.due), time.perf_counter() - started, notes=self.notes)

    def check(self) -> None:
        """Each that was due was seen once, in the order of its time, and claimed where it is claimed."""
        require(self._seen == [key for key, _ in self.file.due], "not every row that was due was seen once, in order")
        if self.claims:
            due = "SELECT count(*) FROM mpesa_transactions WHERE next_check_at <= ?"
            left = self.file.rows(due, _NOW.isoformat(timespec="microseconds"))[0][0]
            require(left == 0, f"{left} rows are due still")


def _read(repository: SqliteRepository) -> list[str]:
    return [str(row.id) for row in repository.due(Sweep.TO_ASK, _NOW, _STALE)]


def _claim(repository: SqliteRepository) -> list[str]:
    seen = []
    while page := repository.due(Sweep.TO_ASK, _NOW, _PAGE):
        for first in range(0, len(page), TOGETHER):
            calls = [
                ("change", (row.id, row.version, {"next_check_at": _LATER, "checks": row.checks + 1}))
                for row in page[first : first + TOGETHER]
            ]
            seen += [str(claimed.id) for claimed in repository.batch(calls) if claimed is not None]
    return seen


def _by_key(connection: sqlite3.Connection, keys: list[str]) -> list[tuple[Any, ...]]:
    marks = ", ".join("?" * len(keys))
    return connection.execute(f"SELECT * FROM mpesa_transactions WHERE id IN ({marks})", keys).fetchall()


def _bare_read(connection: sqlite3.Connection, keys: list[str]) -> list[str]:
    _by_key(connection, keys)
    return keys


def _bare_claim(connection: sqlite3.Connection, keys: list[str]) -> list[str]:
    """The cheapest way to move those rows on and have it on the disk: one transaction for each page."""
    later = _LATER.isoformat(timespec="microseconds")
    for index in range(0, len(keys), _PAGE):
        page = keys[index : index + _PAGE]
        _by_key(connection, page)
        connection.execute("BEGIN IMMEDIATE")
        for key in page:
            connection.execute("UPDATE mpesa_transactions SET next_check_at = ? WHERE id = ?", [later, key])
        connection.execute("COMMIT")
    return keys


def _index_share(file: _File) -> dict[str, float]:
    """Per cent of the table's bytes that the sweep's partial index takes, where this SQLite can tell."""
    sql = "SELECT sum(pgsize) FROM dbstat WHERE name = ?"
    try:
        [[index]], [[table]] = (file.rows(sql, name) for name in ("mpesa_to_ask", "mpesa_transactions"))
    except sqlite3.OperationalError:
        return {}
    return {"index % of table": 100 * index / table}


def _add(rows: int, quickly: int, notes: dict[str, float]) -> None:
    @contextmanager
    def both(scale: Scale, bare: Any, own: Any, *, claims: bool) -> Iterator[tuple[_Swept, _Swept]]:
        file = _file(quickly if scale.quick else rows, _PAGE if scale.quick else _STALE)
        keys = [key for key, _ in file.due]
        with (
            closing(SqliteRepository(file.path)) as repository,
            closing(sqlite3.connect(file.path, isolation_level=None)) as connection,
        ):
            connection.execute("PRAGMA synchronous = FULL")
            share = _index_share(file)
            yield (
                _Swept(file, lambda: bare(connection, keys), claims),
                _Swept(file, lambda: own(repository), claims, share),
            )

    @benchmark(f"sweep: read, {rows:,} rows", Reach(time=1.2, notes=notes))
    def _reading(scale: Scale) -> AbstractContextManager[tuple[_Swept, _Swept]]:
        return both(scale, _bare_read, _read, claims=False)

    @benchmark(f"sweep: claim, {rows:,} rows", Reach(time=3.0))
    def _claiming(scale: Scale) -> AbstractContextManager[tuple[_Swept, _Swept]]:
        return both(scale, _bare_claim, _claim, claims=True)


_add(10_000, 1_000, {})
_add(1_000_000, 10_000, {"index % of table": 0.1})


@benchmark("sweep: read, 1,000,000 rows against 10,000", Reach(time=1.2))
@contextmanager
def _flat(scale: Scale) -> Iterator[tuple[_Swept, _Swept]]:
    stale = _PAGE if scale.quick else _STALE
    small, large = (
        (_file(1_000, stale), _file(10_000, stale)) if scale.quick else (_file(10_000, stale), _file(1_000_000, stale))
    )
    with closing(SqliteRepository(small.path)) as few, closing(SqliteRepository(large.path)) as many:
        yield _Swept(small, lambda: _read(few), claims=False), _Swept(large, lambda: _read(many), claims=False)


alone(__name__)
