"""Callbacks that were recorded and wait, after an outage: recovery in rounds of a hundred, on PostgreSQL.

The floor takes each as the naive program does that settles while it is asked: BEGIN, INSERT, UPDATE RETURNING, COMMIT,
one after the other. One of the recorded bodies is poisoned: it must not keep the others from being settled.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import uuid4

import attrs

from benchmarks.harness import Reach, Scale, Turn, alone, benchmark, require
from benchmarks.postgres import Tables, django_repository, django_tables, sqlalchemy_repository, sqlalchemy_tables
from benchmarks.settling import SAFARICOM, body_of, checkout_of, gateway_on, in_processes
from mpesa_core import Repository, signals

_POISON = b'{"Body": {"stkCallback": {"CheckoutRequestID": "ws_CO_'


@attrs.frozen
class _Part:
    started: float
    ended: float
    told: list[str]


_Kept = Callable[[], AbstractContextManager[Repository]]
"""Makes the repository, in the process where it is used."""


def _recover(kept: _Kept, wait: Callable[[], Any] | None) -> _Part:
    told: list[str] = []

    def mark_paid(_sender: object, transaction: Any, **_more: Any) -> None:
        told.append(transaction.checkout_request_id)

    signals.payment_confirmed.connect(mark_paid, sender="bench")
    try:
        with kept() as repository, gateway_on(repository) as gateway:
            if wait is not None:
                wait()
            started = time.perf_counter()
            gateway.recover(100)
            return _Part(started, time.perf_counter(), told)
    finally:
        signals.payment_confirmed.disconnect(mark_paid, sender="bench")


@attrs.define
class _Backlog:
    """A side: so many recorded callbacks, and what works them off.

    Attributes:
        tables: where they are.
        count: how many.
        processes: how many share them.
        kept: the repository that recovers them; None for the floor, where they come one by one.
    """

    tables: Tables
    count: int
    processes: int
    kept: _Kept | None
    _told: list[str] = attrs.field(factory=list)

    def ready(self) -> None:
        """Payments that wait; on our side their callbacks are recorded, with a poisoned one among them."""
        self.tables.fill(range(self.count))
        if self.kept is not None:
            bodies = [body_of(number) for number in range(self.count)]
            self.tables.record([*bodies[: self.count // 2], _POISON, *bodies[self.count // 2 :]])

    def work(self) -> Turn:
        """Work them off."""
        kept = self.kept
        if kept is None:
            return self._one_by_one()
        if self.processes == 1:
            parts = [_recover(kept, None)]
        else:
            parts = in_processes([lambda wait: _recover(kept, wait) for _ in range(self.processes)])
        self._told = [each for part in parts for each in part.told]
        return Turn(self.count, max(part.ended for part in parts) - min(part.started for part in parts))

    def _one_by_one(self) -> Turn:
        record = (
            f"INSERT INTO {self.tables.callbacks} (id, callback_type, raw_bytes, headers, source_ip, received_at,"
            " processed, attempts) VALUES (%s, 'STK', %s, '{}', %s, %s, true, 0)"
        )
        conclude = (
            f"UPDATE {self.tables.transactions} SET status = 'SUCCESS', mpesa_receipt_number = %s, result_code = 0,"
            " result_desc = %s, settled_at = %s, generation = 1, version = version + 1"
            " WHERE checkout_request_id = %s AND status = 'PROCESSING' RETURNING checkout_request_id"
        )
        bodies = [body_of(number) for number in range(self.count)]
        told: list[str] = []
        with self.tables.connect() as connection:
            started = time.perf_counter()
            for body in bodies:
                callback = json.loads(body, parse_float=Decimal)["Body"]["stkCallback"]
                items = {item["Name"]: item.get("Value") for item in callback["CallbackMetadata"]["Item"]}
                now = datetime.now(UTC)
                settled = (items["MpesaReceiptNumber"], callback["ResultDesc"], now, callback["CheckoutRequestID"])
                with connection.transaction():
                    connection.execute(record, (uuid4(), body, SAFARICOM, now), prepare=True)
                    told += [row[0] for row in connection.execute(conclude, settled, prepare=True).fetchall()]
            seconds = time.perf_counter() - started
        self._told = told
        return Turn(self.count, seconds)

    def check(self) -> None:
        """Each settled once and told of once, nothing left open, and the poisoned one set apart."""
        expected = sorted(checkout_of(number) for number in range(self.count))
        require(sorted(self.tables.settled()) == expected, "not every payment was settled")
        require(sorted(self._told) == expected, "not every payment was told of once")
        if self.kept is not None:
            left = self.tables.rows("SELECT count(*) FROM {callbacks} WHERE next_attempt_at IS NOT NULL")
            apart = self.tables.rows("SELECT raw_bytes FROM {callbacks} WHERE disposition = 'unreadable'")
            require(left == [(0,)], f"{left[0][0]} callbacks are open still")
            require([bytes(row[0]) for row in apart] == [_POISON], "the poisoned callback was not set apart")


def _add(processes: int) -> None:
    @benchmark(f"drain on PostgreSQL, {processes} at once", Reach(rate=10.0))
    @contextmanager
    def _on_sqlalchemy(scale: Scale) -> Iterator[tuple[_Backlog, _Backlog]]:
        count, tables = scale.many(4000, 50), sqlalchemy_tables()
        yield (
            _Backlog(tables, count, 1, None),
            _Backlog(tables, count, processes, partial(sqlalchemy_repository, tables)),
        )

    @benchmark(f"drain on PostgreSQL, Django, {processes} at once", Reach(rate=10.0))
    @contextmanager
    def _on_django(scale: Scale) -> Iterator[tuple[_Backlog, _Backlog]]:
        count, tables = scale.many(4000, 50), django_tables()
        yield _Backlog(tables, count, 1, None), _Backlog(tables, count, processes, django_repository)


_add(1)
_add(4)

alone(__name__)
