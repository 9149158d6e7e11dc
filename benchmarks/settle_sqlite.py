"""From a callback's request to the receiver of its signal on SQLite, against the same two commits on bare ``sqlite3``.

The floor logs first as well: one transaction inserts the body, one settles the payment by a conditional statement. It
has no claim, no announcer's lease and no close, so a process that dies between the two loses the payment.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from benchmarks.harness import Reach, Scale, alone, benchmark
from benchmarks.settling import SAFARICOM, Settle, Settling, settler, waiting
from mpesa_core import SqliteRepository

Synchronous = Literal["FULL", "NORMAL"]

_RECORD = (
    "INSERT INTO mpesa_callbacks (id, callback_type, raw_bytes, headers, source_ip, raw_body, correlation_id,"
    " received_at, next_attempt_at, processed) VALUES (?, 'STK', ?, ?, ?, ?, ?, ?, ?, 0)"
)
_SETTLE = (
    "UPDATE mpesa_transactions SET status = 'SUCCESS', mpesa_receipt_number = ?, result_code = 0,"
    " result_code_text = '0', result_desc = ?, raw_callback_payload = ?, settled_at = ?, settled_by = 'callback',"
    " confirmed_at = ?, generation = 1, version = version + 1"
    " WHERE checkout_request_id = ? AND status = 'PROCESSING' RETURNING checkout_request_id"
)


class SqliteFile:
    """The tables of :class:`~mpesa_core.SqliteRepository`, for either side."""

    def __init__(self, path: Path) -> None:
        self.path = path
        SqliteRepository(path).close()

    def fill(self, numbers: Sequence[int]) -> None:
        """Empty it, and put in payments that wait."""
        self._rows("DELETE FROM mpesa_callbacks")
        self._rows("DELETE FROM mpesa_transactions")
        with closing(SqliteRepository(self.path, synchronous="OFF")) as repository:
            for number in numbers:
                repository.add(waiting(number))
        self._rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def settled(self) -> list[str]:
        """Those with a receipt, whose one settlement is in them."""
        sql = "SELECT checkout_request_id FROM mpesa_transactions WHERE status = 'SUCCESS' AND generation = 1"
        return [row[0] for row in self._rows(f"{sql} AND mpesa_receipt_number IS NOT NULL AND announce_until IS NULL")]

    def bodies(self) -> list[bytes]:
        """Every body."""
        return [row[0] for row in self._rows("SELECT raw_bytes FROM mpesa_callbacks")]

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path, isolation_level=None, timeout=30)) as connection:
            return connection.execute(sql).fetchall()


@contextmanager
def bare(path: Path, synchronous: Synchronous) -> Iterator[tuple[Settle, list[str]]]:
    """The floor."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    told: list[str] = []

    def settle(body: bytes) -> None:
        callback = json.loads(body, parse_float=Decimal)["Body"]["stkCallback"]
        items = {item["Name"]: item.get("Value") for item in callback["CallbackMetadata"]["Item"]}
        checkout, text, now = callback["CheckoutRequestID"], body.decode(), datetime.now(UTC).isoformat()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_RECORD, (str(uuid4()), body, "{}", SAFARICOM, text, checkout, now, now))
        connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
        settled = (items["MpesaReceiptNumber"], callback["ResultDesc"], text, now, now, checkout)
        told.extend(row[0] for row in connection.execute(_SETTLE, settled).fetchall())
        connection.execute("COMMIT")

    with closing(connection):
        yield settle, told


@contextmanager
def _ours(path: Path, synchronous: Synchronous) -> Iterator[tuple[Settle, list[str]]]:
    with closing(SqliteRepository(path, synchronous=synchronous)) as repository, settler(repository) as both:
        yield both


def _add(synchronous: Synchronous, processes: int, reach: Reach) -> None:
    @benchmark(f"settle on SQLite, {synchronous}, {processes} at once", reach)
    @contextmanager
    def _sides(scale: Scale) -> Iterator[tuple[Settling, Settling]]:
        count = scale.many(400, 40)
        folder = Path(tempfile.mkdtemp(prefix="mpesa-bench-"))
        try:
            floor, ours = SqliteFile(folder / "floor.sqlite3"), SqliteFile(folder / "ours.sqlite3")
            yield (
                Settling(floor, partial(bare, floor.path, synchronous), count, processes),
                Settling(ours, partial(_ours, ours.path, synchronous), count, processes),
            )
        finally:
            shutil.rmtree(folder)


for _synchronous in ("FULL", "NORMAL"):
    _add(_synchronous, 1, Reach(rate=0.80))
    _add(_synchronous, 8, Reach(rate=0.80, p99=20))

alone(__name__)
