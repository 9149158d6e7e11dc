"""C2B validation with a receiver that reads one row, at 200 a second: an answer is due before M-PESA decides itself."""

from __future__ import annotations

import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs

from benchmarks.harness import Reach, Scale, Turn, alone, benchmark, require
from benchmarks.settling import SAFARICOM, gateway_on, waiting
from mpesa_core import SqliteRepository, WebhookRequest, Webhooks, signals
from mpesa_core.payments.records import Key
from mpesa_core.testing.payloads import c2b_confirmation, posted

_A_SECOND = 200
_THREADS = 8
_ROWS = 100


@attrs.define
class _Validating:
    webhooks: Webhooks
    count: int
    _answers: list[tuple[int, bytes]] = attrs.field(factory=list)

    def ready(self) -> None:
        """Nothing."""
        self._answers.clear()

    def work(self) -> Turn:
        """Ask at a steady rate, whatever becomes of the ones before; the wait for a thread counts."""
        latencies: list[float] = []
        due: queue.SimpleQueue[tuple[int, float] | None] = queue.SimpleQueue()

        def ask() -> None:
            while (job := due.get()) is not None:
                number, at = job
                body = posted(c2b_confirmation(f"SV{number:07d}X", reference=f"INV-{number % _ROWS}"))
                response = self.webhooks.receive(
                    WebhookRequest(method="POST", path="c2b/validate/", body=body, peer=SAFARICOM)
                )
                latencies.append(time.perf_counter() - at)
                self._answers.append((number, response.body))

        threads = [threading.Thread(target=ask) for _ in range(_THREADS)]
        for thread in threads:
            thread.start()
        started = time.perf_counter()
        for number in range(self.count):
            at = started + number / _A_SECOND
            time.sleep(max(0.0, at - time.perf_counter()))
            due.put((number, at))
        for _ in threads:
            due.put(None)
        for thread in threads:
            thread.join()
        notes = {"longest ms": max(latencies) * 1000}
        return Turn(self.count, time.perf_counter() - started, latencies, notes)

    def check(self) -> None:
        """The receiver's own decision is in every answer: none was made without it when time was up."""
        require(len(self._answers) == self.count, "not every validation was answered")
        for number, body in self._answers:
            rejected = b"C2B00012" in body
            require(rejected == (number % _ROWS % 2 == 1), f"validation {number} was answered {body!r}")


@benchmark("C2B validation, 200 a second, one read", Reach(p99=50))
@contextmanager
def _sides(scale: Scale) -> Iterator[tuple[None, _Validating]]:
    folder = Path(tempfile.mkdtemp(prefix="mpesa-bench-"))
    try:
        with closing(SqliteRepository(folder / "shop.sqlite3")) as repository:
            for number in range(_ROWS):
                repository.add(waiting(number))

            def odd_are_refused(_sender: object, raw_payload: Any, **_more: Any) -> dict[str, str] | None:
                number = raw_payload["BillRefNumber"].removeprefix("INV-")
                row = repository.find(Key.IDEMPOTENCY_KEY, f"order-{number}")
                require(row is not None, f"the row of {number} was not found")
                return {"ResultCode": "C2B00012", "ResultDesc": "Rejected"} if int(number) % 2 else None

            signals.c2b_validation_received.connect(odd_are_refused, sender="bench")
            try:
                with closing(gateway_on(repository)) as gateway:
                    yield None, _Validating(Webhooks(gateway), scale.many(1000, 100))
            finally:
                signals.c2b_validation_received.disconnect(odd_are_refused, sender="bench")
    finally:
        shutil.rmtree(folder)


alone(__name__)
