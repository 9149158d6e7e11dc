"""A gateway with a scripted Daraja, a clock that stands still, and a record of every signal."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import attrs

from mpesa_core.daraja.answers import Accepted
from mpesa_core.daraja.callbacks import CallbackType, decode_callback
from mpesa_core.daraja.codec import dumps
from mpesa_core.daraja.express import StkPush, StkPushAccepted, StkQuery
from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.gateway import Gateway
from mpesa_core.payments.records import CallbackDraft
from mpesa_core.settings import Settings
from mpesa_core.testing.payloads import b2c_success as payout_success
from mpesa_core.testing.payloads import c2b_confirmation as confirmation
from mpesa_core.testing.payloads import result, stk_result, stk_success

__all__ = [
    "PHONE",
    "START",
    "Clock",
    "Deaf",
    "Desk",
    "ScriptedDaraja",
    "confirmation",
    "payout_success",
    "result",
    "stk_query",
    "stk_result",
    "stk_success",
]

START = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
PHONE = "254708374149"
SETTINGS = {
    "consumer_key": "key",
    "consumer_secret": "secret",
    "short_code": "174379",
    "passkey": "passkey",
    "initiator_name": "testapi",
    "security_credential": "ready-made",
    "callback_base_url": "https://shop.example/pay/",
    "queries_per_minute": None,
}


@attrs.define
class Clock:
    now: datetime = START

    def __call__(self):
        return self.now

    def forward(self, seconds):
        self.now += timedelta(seconds=seconds)


class ScriptedDaraja:
    """Answers each operation by its class: a value, an exception to raise, or a function of the operation."""

    def __init__(self):
        self.sent = []
        self.answers = {}
        self._numbers = itertools.count(1)

    def send(self, operation, *, account="default"):
        self.sent.append(operation)
        answer = self.answers.get(type(operation).__name__, self._accept)
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer(operation) if callable(answer) else answer

    def _accept(self, operation):
        number = next(self._numbers)
        if isinstance(operation, StkPush):
            return StkPushAccepted(
                merchant_request_id=f"29115-{number}-1", checkout_request_id=f"ws_CO_{number}", response_code="0"
            )
        return Accepted(
            conversation_id=f"AG_20261121_{number}",
            originator_conversation_id=getattr(operation, "originator_conversation_id", None) or f"10571-{number}-1",
            response_code="0",
        )

    def count(self, kind):
        return sum(type(operation).__name__ == kind for operation in self.sent)


class Desk:
    """The gateway under test and everything around it."""

    def __init__(self, repository, **settings):
        self.clock = Clock()
        self.daraja = ScriptedDaraja()
        self.repository = repository
        self.signals = []
        self.receivers = {}
        self.settings = Settings(**{**SETTINGS, **settings})
        self.gateway = Gateway(
            self.settings, repository, client=self.daraja, bus=self, runner="inline", clock=self.clock
        )

    # the bus: it records what is delivered and calls the test's own receivers
    def deliver(self, signal, arguments):
        self.signals.append((signal, dict(arguments)))
        for receiver in self.receivers.get(signal, ()):
            receiver(**arguments)
        return []

    async def adeliver(self, signal, arguments):
        return self.deliver(signal, arguments)

    def fired(self, *names):
        return [
            (name, arguments) for name, arguments in self.signals if name in names or (not names and name not in QUIET)
        ]

    def names(self):
        return [name for name, _ in self.signals if name not in QUIET]

    # what M-PESA posts
    def post(self, callback_type, body, token=None, process=True):
        raw = body if isinstance(body, bytes) else dumps(body)
        message = decode_callback(callback_type, raw)
        draft = CallbackDraft(
            id=uuid4(),
            callback_type=CallbackType(callback_type),
            raw_bytes=raw,
            token=token,
            correlation_id=message.correlation_id,
            received_at=self.clock(),
            next_attempt_at=self.clock(),
        )
        callback_id = self.repository.add_callback(draft)
        if process:
            self.gateway.process(callback_id)
        return callback_id

    def push(self, amount=100, reference="INV-1", **more):
        return self.gateway.stk_push(phone_number=PHONE, amount=amount, account_reference=reference, **more)

    def pay(self, amount=100, key="PAY-1", **more):
        return self.gateway.payout(phone_number=PHONE, amount=amount, idempotency_key=key, **more)

    def recover(self, seconds=0.0):
        self.clock.forward(seconds)
        return self.gateway.recover()


class Deaf(Desk):
    """One where nobody listens to callback_received."""

    deaf = True

    def hears(self, signal):
        return signal != "callback_received" or not self.deaf


QUIET = {"callback_received", "payment_initiated"}


def stk_query(code, description="said so", checkout="ws_CO_1"):
    """A client's answer to StkQuery, parsed by the real parser."""
    body = {
        "ResponseCode": "0",
        "ResponseDescription": "accepted",
        "MerchantRequestID": "29115-1-1",
        "CheckoutRequestID": checkout,
        "ResultCode": str(code),
        "ResultDesc": description,
    }
    return StkQuery(checkout_request_id=checkout).parse(HttpResponse(status=200, body=dumps(body)))
