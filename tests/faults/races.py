"""Threads and processes that do the same thing at the same moment, in one place.

    python -m tests.faults.races storm --flow STK --by processes --sleep 0.01 --recoverers 2
    python -m tests.faults.races storm --place django           by processes; see tests.faults.places
    python -m tests.faults.races one_key --by processes --times 1000

Each race prints what was counted, as JSON. It runs as a command, so that it forks from a process without threads.
"""

from __future__ import annotations

import argparse
import collections
import json
import logging
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from mpesa_core.daraja.answers import Accepted
from mpesa_core.daraja.codec import dumps
from mpesa_core.daraja.express import StkPush, StkPushAccepted, StkQuery
from mpesa_core.errors import OutcomeUnknown, RefundExceedsPayment
from mpesa_core.gateway import Gateway
from mpesa_core.settings import Settings
from tests.faults.defects import DEFECTS, Defect
from tests.faults.life import subject
from tests.faults.places import Post, place_of
from tests.faults.record import Record
from tests.settlement.desk import PHONE, SETTINGS, confirmation, payout_success, result, stk_query, stk_success

__all__ = ["RACES"]

FORK = multiprocessing.get_context("fork")


class Errors(logging.Handler):
    """Every complaint of the core is an error of the race."""

    def __init__(self, record: Record) -> None:
        super().__init__(logging.ERROR)
        self._record = record

    def emit(self, record: logging.LogRecord) -> None:
        self._record.tell("error", text=record.getMessage())


class Floor:
    """One place, and what happened there.

    Args:
        directory: for files.
        place: see :mod:`tests.faults.places`.
        sleep: seconds that each receiver takes.
        lost: whether the answers of M-PESA are lost after it took the request.
        defect: to put in.
    """

    def __init__(
        self,
        directory: Path,
        place: str,
        *,
        sleep: float = 0.0,
        lost: bool = False,
        defect: Defect | None = None,
    ) -> None:
        self.defect = defect or Defect()
        self.place = place_of(place, directory)
        self.record = Record(directory / "told")
        self.sleep = sleep
        self.lost = lost
        self.ahead = timedelta(0)
        self.place.make()
        logging.getLogger("mpesa_core").addHandler(Errors(self.record))
        logging.getLogger("mpesa_core").propagate = False

    def open(self) -> tuple[Gateway, Post]:
        """The core, for one process."""
        repository, bus = self.defect.repository(self.place.repository(), self.place.bus(self.hear))
        return self.place.serve(Settings(**SETTINGS), repository, bus, client=self, clock=self.clock)

    def clock(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def hear(self, signal: str, arguments: Mapping[str, Any]) -> None:
        row = subject(signal, arguments)
        self.record.tell("signal", name=signal, id=row and row.id, generation=row and row.generation)
        time.sleep(self.sleep)

    def send(self, operation: Any, *, account: str = "default") -> Any:
        if isinstance(operation, StkQuery):
            return stk_query(0, checkout=operation.checkout_request_id)
        amount = getattr(operation, "amount", None)
        self.record.tell("sent", kind=type(operation).__name__, amount=amount)
        if self.lost:
            time.sleep(0.001)
            raise OutcomeUnknown("The connection was closed without an answer.")
        if isinstance(operation, StkPush):
            number = operation.account_reference
            return StkPushAccepted(
                merchant_request_id=f"29115-{number}", checkout_request_id=f"ws_CO_{number}", response_code="0"
            )
        number = getattr(operation, "occasion", None) or os.urandom(4).hex()
        originator = getattr(operation, "originator_conversation_id", None) or f"10571-{number}"
        return Accepted(conversation_id=f"AG_{number}", originator_conversation_id=originator, response_code="0")

    def post(self, post: Post, path: str, body: Any) -> None:
        status, finish = post(path, dumps(body))
        if status != 200:
            self.record.tell("error", text=f"answered {status}")
        finish()

    def together(self, by: str, works: list[Callable[[], None]]) -> None:
        """Start all works at one moment, each in a thread or process of its own, and wait for them.

        Args:
            by: ``threads`` or ``processes``.
            works: what is done.
        """
        barrier: Any = threading.Barrier(len(works)) if by == "threads" else FORK.Barrier(len(works))

        def run(work: Callable[[], None]) -> None:
            try:
                if by == "processes":
                    self.place.forked()
                barrier.wait(60)
                work()
            except BaseException:
                self.record.tell("error", text=traceback.format_exc())

        kind: Any = threading.Thread if by == "threads" else FORK.Process
        runners = [kind(target=run, args=(work,)) for work in works]
        if by == "processes":
            self.place.leave()
        for runner in runners:
            runner.start()
        for runner in runners:
            runner.join()
            if getattr(runner, "exitcode", 0):
                self.record.tell("error", text=f"a process ended with {runner.exitcode}")

    def counted(self) -> dict[str, Any]:
        """What happened."""
        settled = [line["id"] for line in self.place.history() if line["status"] == "SUCCESS"]
        rows, callbacks = self.place.transactions(), self.place.callbacks()
        signals = collections.Counter(line["name"] for line in self.record.read("signal"))
        return {
            "settlements": len(settled),
            "settled": len(set(settled)),
            "bodies": len(callbacks),
            "open": sum(row["next_attempt_at"] is not None for row in callbacks),
            "unannounced": sum(row["announce_until"] is not None for row in rows),
            "conflicts": sum(row["disposition"] == "conflict" for row in callbacks),
            "receipts": sum(row["mpesa_receipt_number"] is not None for row in rows),
            "rows": len(rows),
            "signals": signals["payment_confirmed"] + signals["payout_completed"],
            "conflict signals": signals["settlement_conflict"],
            "sent": len(self.record.read("sent")),
            "errors": [line["text"] for line in self.record.read("error")],
        }


def _initiated(floor: Floor, flow: str, number: int) -> tuple[str, Any]:
    """One payment that M-PESA has accepted: where its callback goes, and the body."""
    gateway, _ = floor.open()
    if flow == "STK":
        row = gateway.stk_push(phone_number=PHONE, amount=100, account_reference=f"N{number}")
        return f"stk/callback/{row.callback_token}", stk_success(f"ws_CO_N{number}", 100, f"RCT{number + 1:07d}")
    if flow == "B2C":
        row = gateway.payout(phone_number=PHONE, amount=100, occasion=f"N{number}", idempotency_key=f"N{number}")
        return f"b2c/result/{row.callback_token}", payout_success(100, f"RCT{number + 1:07d}", f"AG_N{number}")
    return "c2b/confirm", confirmation(f"RCT{number + 1:07d}", "100.00", f"N{number}")


def storm(directory: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Every worker posts every payment's callback so many times, in an order of its own; others recover meanwhile."""
    floor = Floor(directory, options.place, sleep=options.sleep, defect=DEFECTS.get(options.defect))
    posts = [_initiated(floor, options.flow, number) for number in range(options.payments)] * options.copies
    shared = floor.open() if options.by == "threads" else None
    done = directory / "done"

    def work(number: int) -> Callable[[], None]:
        def run() -> None:
            _, post = shared or floor.open()
            mine = posts.copy()
            random.Random(number).shuffle(mine)
            for path, body in mine:
                floor.post(post, path, body)
            with done.open("a") as file:
                file.write("x")

        return run

    def recoverer() -> None:
        gateway, _ = shared or floor.open()
        while not done.exists() or done.stat().st_size < options.workers:
            gateway.sweep()
            time.sleep(0.001)

    works = [work(number) for number in range(options.workers)]
    floor.together(options.by, works + [recoverer] * options.recoverers)
    return floor.counted()


def one_key(directory: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Two pay with one idempotency key at the same moment; M-PESA takes what comes, and the answer is lost."""
    floor = Floor(directory, options.place, lost=True)
    meet = threading.Barrier(2) if options.by == "threads" else FORK.Barrier(2)

    def work() -> None:
        gateway, _ = floor.open()
        for number in range(options.times):
            meet.wait(60)
            if options.flow == "B2C":
                gateway.payout(phone_number=PHONE, amount=100, idempotency_key=f"N{number}")
            else:
                gateway.stk_push(phone_number=PHONE, amount=100, account_reference="N", idempotency_key=f"N{number}")

    floor.together(options.by, [work, work])
    return floor.counted()


def query_and_callback(directory: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The sweep's question says success, without a receipt, at the moment at which the callback says it with one."""
    floor = Floor(directory, options.place)
    posts = [_initiated(floor, "STK", number) for number in range(options.times)]
    floor.ahead = timedelta(seconds=31)
    meet = threading.Barrier(2) if options.by == "threads" else FORK.Barrier(2)

    def ask() -> None:
        gateway, _ = floor.open()
        for _ in posts:
            meet.wait(60)
            gateway.reconcile(limit=1)

    def receive() -> None:
        _, post = floor.open()
        for path, body in posts:
            meet.wait(60)
            floor.post(post, path, body)

    floor.together(options.by, [ask, receive])
    floor.ahead = timedelta(seconds=100)
    gateway, _ = floor.open()
    gateway.recover()
    return floor.counted()


def one_receipt(directory: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Two payments are reported with one receipt at the same moment."""
    floor = Floor(directory, options.place)
    pairs = []
    for number in range(options.times):
        first, second = _initiated(floor, "STK", 2 * number), _initiated(floor, "STK", 2 * number + 1)
        reported = stk_success(f"ws_CO_N{2 * number + 1}", 100, f"RCT{2 * number + 1:07d}")
        pairs.append((first, (second[0], reported)))
    meet = threading.Barrier(2) if options.by == "threads" else FORK.Barrier(2)

    def work(which: int) -> Callable[[], None]:
        def run() -> None:
            _, post = floor.open()
            for pair in pairs:
                meet.wait(60)
                floor.post(post, *pair[which])

        return run

    floor.together(options.by, [work(0), work(1)])
    return floor.counted()


def two_refunds(directory: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Two give back 60 of one payment of 100 at the same moment: both by reversal, or one of them by payout."""
    floor = Floor(directory, options.place, defect=DEFECTS.get(options.defect))
    gateway, post = floor.open()
    for number in range(options.times):
        floor.post(post, *_initiated(floor, "STK", number))
    ids = [UUID(row["id"]) for row in floor.place.transactions()]
    meet = threading.Barrier(2) if options.by == "threads" else FORK.Barrier(2)

    def work(which: int) -> Callable[[], None]:
        def run() -> None:
            mine, _ = floor.open()
            for number, each in enumerate(ids):
                meet.wait(60)
                try:
                    mine.refund(each, 60, as_payout=number % 3 == which, idempotency_key=f"{which} of {number}")
                except RefundExceedsPayment:
                    floor.record.tell("refused")

        return run

    floor.together(options.by, [work(0), work(1)])
    gateway, _ = floor.open()
    rows = [gateway.get(each) for each in ids]
    sent = collections.Counter(line["kind"] for line in floor.record.read("sent"))
    return {
        **floor.counted(),
        "refused": len(floor.record.read("refused")),
        "refunds sent": sent["Reversal"] + sent["B2CPayment"],
        "kinds sent": len(sent) - 1,
        "most reserved": max(sum(map(float, row.reserved.values())) for row in rows),
    }


def reversals_to_the_last_shilling(directory: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The results of two halves of one payment arrive at the same moment: it is reversed once, and announced once."""
    floor = Floor(directory, options.place)
    gateway, post = floor.open()
    posts = []
    for number in range(options.times):
        path, body = _initiated(floor, "STK", number)
        floor.post(post, path, body)
        payment = gateway.repository.find("callback_token", path.rpartition("/")[2])
        halves = []
        for half in "AB":
            child = gateway.reverse(payment, amount=50, idempotency_key=f"N{number}{half}")
            body = result(0, f"REV{number + 1:06d}{half}", child.conversation_id, child.originator_conversation_id)
            halves.append((f"reversal/result/{child.callback_token}", body))
        posts.append(halves)
    meet = threading.Barrier(2) if options.by == "threads" else FORK.Barrier(2)

    def work(which: int) -> Callable[[], None]:
        def run() -> None:
            _, mine = floor.open()
            for halves in posts:
                meet.wait(60)
                floor.post(mine, *halves[which])

        return run

    floor.together(options.by, [work(0), work(1)])
    floor.ahead = timedelta(seconds=100)
    gateway.recover()
    reversed_ = sum(line["status"] == "REVERSED" for line in floor.place.history())
    signals = collections.Counter(line["name"] for line in floor.record.read("signal"))
    return {
        **floor.counted(),
        "reversed": reversed_,
        "refund signals": signals["payment_refunded"],
        "reversed signals": signals["reversal_completed"],
    }


RACES = {
    race.__name__: race
    for race in (storm, one_key, query_and_callback, one_receipt, two_refunds, reversals_to_the_last_shilling)
}
"""The races by name."""


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.races", description=__doc__.partition("\n")[0])
    parser.add_argument("race", choices=RACES)
    parser.add_argument("--by", choices=["threads", "processes"], default="processes")
    parser.add_argument("--flow", choices=["STK", "C2B", "B2C"], default="B2C")
    parser.add_argument("--times", type=int, default=100, help="how often two meet")
    parser.add_argument("--payments", type=int, default=20)
    parser.add_argument("--copies", type=int, default=1, help="of each callback, by each worker")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--recoverers", type=int, default=0)
    parser.add_argument("--sleep", type=float, default=0.0, help="seconds that each receiver takes")
    parser.add_argument("--defect", choices=DEFECTS, help="in a storm, or among refunds")
    parser.add_argument("--place", default="core", help="core, django, flask, or one of them with :PORT/NAME")
    options = parser.parse_args()
    memory = Path("/dev/shm")
    where = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="mpesa-races-", dir=where))
    try:
        print(json.dumps(RACES[options.race](directory, options)))
    finally:
        shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
