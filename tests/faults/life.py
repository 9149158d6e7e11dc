"""One life of a process: the whole core in one place, counted step by step, until it ends or is killed.

A step is a point before or after a repository operation, a call to Daraja or the delivery of a signal. At one of them
the process can be killed (SIGKILL, by itself: nothing is cleaned up), at an earlier one it can be stopped until a rival
has lived in the same place.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import attrs

from mpesa_core.daraja.answers import Accepted
from mpesa_core.daraja.codec import dumps
from mpesa_core.daraja.express import StkPush, StkPushAccepted, StkQuery
from mpesa_core.daraja.status import TransactionStatus
from mpesa_core.errors import NotYet, StorageError
from mpesa_core.payments.records import Status
from mpesa_core.settings import Settings
from tests.faults.places import Place
from tests.faults.record import Record
from tests.faults.stories import Payment
from tests.settlement.desk import PHONE, SETTINGS, START, result

__all__ = ["Life", "Steps", "subject"]

PATHS = {
    "STK": "stk/callback",
    "C2B_CONFIRMATION": "c2b/confirm",
    "B2C_RESULT": "b2c/result",
    "B2C_TIMEOUT": "b2c/timeout",
    "REVERSAL_RESULT": "reversal/result",
    "STATUS_RESULT": "status/result",
}
_SUBJECTS = {"payment_refunded": "refund", "reversal_failed": "reversal"}


def subject(name: str, arguments: Mapping[str, Any]) -> Any:
    """The row whose settlement a signal announces; None for a signal that announces none."""
    return arguments.get(_SUBJECTS.get(name, "transaction"))


@attrs.define
class Steps:
    """Counts the steps of one process.

    Attributes:
        record: what outlives the process.
        kill_at: the step at which it is killed; 0 for none.
        kill_on: or the labels of which the first one kills it.
        stop_at: the step at which it waits for a rival; 0 for none.
        wait: lets the rival live.
    """

    record: Record
    kill_at: int = 0
    stop_at: int = 0
    wait: Callable[[], None] = lambda: None
    kill_on: frozenset[str] = frozenset()
    taken: int = 0

    def __call__(self, label: str) -> None:
        """One step."""
        self.taken += 1
        if self.taken == self.stop_at:
            self.wait()
        if self.taken == self.kill_at or label in self.kill_on:
            self.record.tell("killed", at=label)
            os.kill(os.getpid(), signal.SIGKILL)


class SteppedRepository:
    """A repository with a step before and after each operation."""

    def __init__(self, inner: Any, steps: Callable[[str], None]) -> None:
        self._inner = inner
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._inner, name)

        def stepped(*arguments: Any, **keywords: Any) -> Any:
            self._steps(f"before {name}")
            done = operation(*arguments, **keywords)
            self._steps(f"after {name}")
            return done

        return stepped


class Receivers:
    """A bus whose receivers write down what they saw, before anything is marked; with a step on both sides."""

    def __init__(self, record: Record, steps: Callable[[str], None], place: Place, *, all_ears: bool) -> None:
        self._record = record
        self._steps = steps
        self._place = place
        self._all_ears = all_ears
        self._bus = place.bus(self._hear)

    def hears(self, name: str) -> bool:
        """Whether somebody listens; to callbacks only with all ears, so that they are settled in each of the two ways."""
        return self._all_ears or name != "callback_received"

    def deliver(self, name: str, arguments: Mapping[str, Any]) -> list[Any]:
        self._steps(f"before {name}")
        replies: list[Any] = self._bus.deliver(name, arguments)
        self._steps(f"after {name}")
        return replies

    def _hear(self, name: str, arguments: Mapping[str, Any]) -> None:
        row = subject(name, arguments)
        facts = {"id": row.id, "generation": row.generation, "status": row.status} if row is not None else {}
        if row is not None and name not in ("payment_initiated", "settlement_conflict"):
            facts["seen"] = self._place.seen(row.id) or [row.status, row.generation]
        if name == "settlement_conflict" and arguments["callback"] is not None:
            facts["callback"] = arguments["callback"].id
        self._record.tell("signal", name=name, **facts)


class Mpesa:
    """The other side: takes what is sent, writes it down, and knows how each payment ends."""

    def __init__(self, life: Life) -> None:
        self._life = life

    def send(self, operation: Any, *, account: str = "default") -> Any:
        life = self._life
        life.steps(f"before {type(operation).__name__}")
        answer = self._answer(operation)
        life.steps(f"after {type(operation).__name__}")
        return answer

    def _answer(self, operation: Any) -> Any:
        life = self._life
        if isinstance(operation, StkQuery):
            raise NotYet("It is being processed.", status=500)
        if isinstance(operation, TransactionStatus):
            return Accepted(conversation_id=None, originator_conversation_id=None, response_code="0")
        stk = isinstance(operation, StkPush)
        url = operation.callback_url if stk else operation.result_url
        token = url.rstrip("/").rpartition("/")[2]
        if type(operation).__name__ == "Reversal":
            number = int(operation.transaction_id.removeprefix("RCT"))
            key, conversation = f"BACK-{number}", f"AG_R{number}"
        else:
            key = operation.account_reference if stk else operation.occasion
            number = int(key.partition("-")[2])
            conversation = f"AG_{number}"
        life.record.tell("sent", key=key, token=token)
        payment = life.payments.get(key)
        if payment is not None and payment.story.early:
            life.post(payment, 0)
        if stk:
            return StkPushAccepted(
                merchant_request_id=f"29115-{number}-1", checkout_request_id=f"ws_CO_{number}", response_code="0"
            )
        originator = getattr(operation, "originator_conversation_id", None) or f"10571-{key}"
        return Accepted(conversation_id=conversation, originator_conversation_id=originator, response_code="0")


class Life:
    """One process of a shop.

    Args:
        place: where it lives.
        record: what outlives it.
        payments: the payments of the trial.
        seed: of its identifiers and of the order in which M-PESA posts.
        age: seconds since the trial began.
        steps: the steps at which something happens to it.
        defect: wraps the repository, the bus or the webhooks in a defect; see :mod:`tests.faults.defects`.
    """

    def __init__(
        self,
        place: Place,
        record: Record,
        payments: Sequence[Payment],
        *,
        seed: str,
        age: float = 0.0,
        steps: Steps | None = None,
        defect: Any = None,
    ) -> None:
        self.record = record
        self.steps = steps or Steps(record)
        self.now = START + timedelta(seconds=age)
        self.payments = {payment.key: payment for payment in payments}
        self._random = random.Random(seed)
        repository: Any = SteppedRepository(place.repository(), self.steps)
        bus: Any = Receivers(record, self.steps, place, all_ears=random.Random(f"{seed} listens").random() < 0.5)
        if defect is not None:
            repository, bus = defect.repository(repository, bus)
        [notices] = {payment.story.queue_timeout for payment in payments if payment.story.flow == "B2C"} or {"ask"}
        self.gateway, self._receive = place.serve(
            Settings(**{**SETTINGS, "on_queue_timeout": notices}),
            repository,
            bus,
            client=Mpesa(self),
            clock=self.clock,
            new_id=lambda: UUID(int=self._random.getrandbits(128), version=4),
        )
        self.outage = False
        """Whether the database may fail: what it fails in is left to a later life, and a refusal is right."""
        self.acknowledge_first = defect is not None and defect.acknowledges_first

    def clock(self) -> datetime:
        return self.now

    # What the shop does.

    def initiate(self, payment: Payment) -> None:
        """Ask for a payment; the same call with the same key in every life."""
        if payment.story.flow == "STK":
            self.gateway.stk_push(
                phone_number=PHONE, amount=payment.amount, account_reference=payment.key, idempotency_key=payment.key
            )
        elif payment.story.flow == "B2C":
            self.gateway.payout(
                phone_number=PHONE, amount=payment.amount, occasion=payment.key, idempotency_key=payment.key
            )

    def give_back(self, payment: Payment) -> None:
        """Reverse a payment that has succeeded, and have M-PESA say twice that it did."""
        row = self.gateway.repository.find("idempotency_key", payment.key)
        if row is None or row.status not in (Status.SUCCESS, Status.REVERSED) or row.mpesa_receipt_number is None:
            return
        self.gateway.reverse(row, idempotency_key=f"BACK-{payment.number}")
        body = result(0, f"REV{payment.number:07d}", f"AG_R{payment.number}", f"O-R{payment.number}")
        for copy in range(2):
            self._post("REVERSAL_RESULT", body, f"BACK-{payment.number}", f"BACK-{payment.number}/{copy}")

    def live(self, *, initiate: bool = True) -> None:
        """Ask for every payment, take in whatever M-PESA has not yet seen acknowledged, and recover."""
        for payment in self.payments.values():
            if initiate:
                self._do(self.initiate, payment)
        posts = [(payment, index) for payment in self.payments.values() for index in range(len(payment.story.posts))]
        self._random.shuffle(posts)
        for payment, index in posts:
            self.post(payment, index)
        for payment in self.payments.values():
            if payment.story.reversed:
                self._do(self.give_back, payment)
        self._do(self.gateway.recover)

    def _do(self, work: Callable[..., Any], *given: Any) -> None:
        try:
            work(*given)
        except StorageError as error:
            if not self.outage:
                raise
            self.record.tell("failed", text=type(error).__name__)

    def sweep_until_quiet(self) -> None:
        """Let time pass, beyond every lease and deadline, and sweep as a worker does."""
        self.now += timedelta(seconds=61)
        self.live(initiate=False)
        for seconds in (130, 300, 1000, 172_800):
            self.now += timedelta(seconds=seconds)
            self.gateway.sweep()
        self.gateway.recover()

    # What M-PESA does.

    def post(self, payment: Payment, index: int) -> None:
        """Post one callback, unless it was acknowledged before or M-PESA never heard of the payment."""
        kind, body = payment.story.posts[index]
        self._post(kind, body(payment), payment.key, f"{payment.key}/{index}")

    def _post(self, kind: str, body: Any, key: str, name: str) -> None:
        told = self.record.read()
        tokens = [line["token"] for line in told if line["what"] == "sent" and line["key"] == key]
        if any(line["what"] == "acked" and line["name"] == name for line in told):
            return
        if not tokens and not key.startswith("C2B"):
            return
        path = PATHS[kind] + (f"/{tokens[0]}" if tokens and kind != "C2B_CONFIRMATION" else "")
        raw = body if isinstance(body, bytes) else dumps(body)
        facts = {"name": name, "digest": hashlib.sha256(raw).hexdigest()}
        if self.acknowledge_first:
            self.record.tell("acked", **facts)
        status, finish = self._receive(path, raw)
        if status == 503 and self.outage:
            self.record.tell("refused", name=name, status=status)
        elif status != 200:
            self.record.tell("violation", rule="answer", detail=f"{name} was answered {status}")
        elif not self.acknowledge_first:
            self.record.tell("acked", **facts)
        finish()
