"""What the benchmarks of settling have in common: payments that wait, their callbacks, workers, and the invariant."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol
from uuid import uuid4

import attrs

from benchmarks.harness import Turn, require
from mpesa_core import Gateway, Repository, Settings, Status, TransactionType, WebhookRequest, Webhooks, signals
from mpesa_core.payments.records import TransactionDraft
from mpesa_core.testing.payloads import posted, stk_success

__all__ = [
    "SAFARICOM",
    "WARM",
    "Settle",
    "Settling",
    "Store",
    "body_of",
    "checkout_of",
    "gateway_on",
    "in_processes",
    "settle_share",
    "settler",
    "waiting",
]

SAFARICOM = "196.201.214.200"

WARM = 8
"""So many payments a process settles before it is timed: it connects, and statements are compiled and prepared."""

Settle = Callable[[bytes], None]
"""Settles the payment that a body tells of."""


def checkout_of(number: int) -> str:
    """The CheckoutRequestID of a payment."""
    return f"ws_CO_21112026120005{number:08d}"


def body_of(number: int) -> bytes:
    """Its callback."""
    return posted(stk_success(checkout_of(number), Decimal("100.00"), f"SK{number:07d}X"))


def waiting(number: int) -> TransactionDraft:
    """A payment that was asked for and waits for its callback."""
    return TransactionDraft(
        id=uuid4(),
        transaction_type=TransactionType.STK_PUSH,
        status=Status.PROCESSING,
        short_code="174379",
        checkout_request_id=checkout_of(number),
        merchant_request_id=f"29115-{number}-1",
        phone_number="254708374149",
        amount=Decimal("100.00"),
        account_reference=f"INV-{number}",
        transaction_desc="Payment",
        idempotency_key=f"order-{number}",
        initiated_at=datetime.now(UTC),
    )


def gateway_on(repository: Repository, sender: str = "bench") -> Gateway:
    """A gateway that works on a callback when the web server has its answer."""
    return Gateway(Settings(short_code="174379"), repository, runner="inline", sender=sender)


@contextmanager
def settler(repository: Repository) -> Iterator[tuple[Settle, list[str]]]:
    """The SDK as a program has it: from the request to the receiver of the signal, and what the receiver was told."""
    gateway = gateway_on(repository)
    webhooks = Webhooks(gateway)
    told: list[str] = []

    def mark_paid(_sender: object, transaction: Any, **_more: Any) -> None:
        told.append(transaction.checkout_request_id)

    headers = {"Content-Type": "application/json"}

    def settle(body: bytes) -> None:
        response = webhooks.receive(
            WebhookRequest(method="POST", path="stk/callback/", headers=headers, body=body, peer=SAFARICOM)
        )
        require(response.status == 200, f"answered with {response.status}")
        if response.after is not None:
            response.after()

    signals.payment_confirmed.connect(mark_paid, sender="bench")
    try:
        yield settle, told
    finally:
        signals.payment_confirmed.disconnect(mark_paid, sender="bench")
        gateway.close()


class Store(Protocol):
    """A database with tables of one of the sides."""

    def fill(self, numbers: Sequence[int]) -> None:
        """Empty it, and put in payments that wait for their callbacks."""

    def settled(self) -> list[str]:
        """The CheckoutRequestIDs of the payments that are paid, with a receipt."""
        ...

    def bodies(self) -> list[bytes]:
        """Every callback that was kept, exactly as it came."""
        ...


Worker = Callable[[], AbstractContextManager[tuple[Settle, list[str]]]]


@attrs.define
class Settling:
    """A side that settles payments, with one process or several.

    Attributes:
        store: where they are.
        worker: makes what settles, in the process where it works, and the list of what it told.
        count: payments in a turn, besides those that each process settles to be warm.
        processes: how many share them.
    """

    store: Store
    worker: Worker
    count: int
    processes: int = 1
    _told: list[str] = attrs.field(factory=list)
    _first: int = 0

    def ready(self) -> None:
        """New payments."""
        self._told.clear()
        self._first += len(self._numbers)
        self.store.fill(self._numbers)

    @property
    def _numbers(self) -> range:
        return range(self._first, self._first + self.count + self.processes * WARM)

    @property
    def _bodies(self) -> list[bytes]:
        return [body_of(number) for number in self._numbers]

    def work(self) -> Turn:
        """Settle them."""
        shares = [self._bodies[index :: self.processes] for index in range(self.processes)]
        done = [settle_share(self.worker, shares[0], None)] if self.processes == 1 else self._in_processes(shares)
        latencies = []
        for share in done:
            self._told += share.told
            latencies += share.latencies
        seconds = max(share.ended for share in done) - min(share.started for share in done)
        return Turn(self.count, seconds, latencies)

    def _in_processes(self, shares: Sequence[Sequence[bytes]]) -> list[_Done]:
        return in_processes([lambda wait, share=share: settle_share(self.worker, share, wait) for share in shares])

    def check(self) -> None:
        """Each settled once and told of once, and each body kept, with nothing else."""
        expected = sorted(map(checkout_of, self._numbers))
        require(sorted(self.store.settled()) == expected, "not every payment was settled")
        require(sorted(self._told) == expected, "not every payment was told of once")
        require(sorted(self.store.bodies()) == sorted(self._bodies), "not every body was kept")


@attrs.frozen
class _Done:
    started: float
    ended: float
    latencies: list[float]
    told: list[str]


def settle_share(worker: Worker, bodies: Sequence[bytes], wait: Callable[[], Any] | None) -> _Done:
    """One process's part: the first few bodies, by which it becomes warm, and then the others, which are timed."""
    clock = time.perf_counter
    latencies = []
    with worker() as (settle, told):
        for body in bodies[:WARM]:
            settle(body)
        if wait is not None:
            wait()
        started = before = clock()
        for body in bodies[WARM:]:
            settle(body)
            after = clock()
            latencies.append(after - before)
            before = after
    return _Done(started, before, latencies, told)


def in_processes(works: Sequence[Callable[[Callable[[], Any]], Any]]) -> list[Any]:
    """What several processes brought back; each gets what it waits with until all are ready."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(len(works))
    pipes = [context.Pipe(duplex=False) for _ in works]

    def run(work: Callable[[Callable[[], Any]], Any], pipe: Any) -> None:
        try:
            pipe.send(work(lambda: barrier.wait(60)))
        except BaseException as error:
            pipe.send(error if isinstance(error, Exception) else RuntimeError(repr(error)))
            raise

    processes = [context.Process(target=run, args=(work, pipe[1])) for work, pipe in zip(works, pipes, strict=True)]
    for process in processes:
        process.start()
    for _, sending in pipes:
        sending.close()
    results = [receiving.recv() for receiving, _ in pipes]
    for process in processes:
        process.join()
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results
