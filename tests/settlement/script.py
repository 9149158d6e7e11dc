"""A scripted Daraja: what it answers, what really moved, and the callbacks that it posts."""

from __future__ import annotations

import functools
from datetime import timedelta
from decimal import Decimal

import attrs

from mpesa_core.daraja.answers import Accepted
from mpesa_core.daraja.b2c import B2CPayment
from mpesa_core.daraja.callbacks import CallbackType, stk_query_answer
from mpesa_core.daraja.codec import loads
from mpesa_core.daraja.express import StkPush, StkPushAccepted, StkQuery
from mpesa_core.daraja.reversal import Reversal
from mpesa_core.daraja.status import TransactionStatus
from mpesa_core.errors import Busy, NotSent, NotYet, OutcomeUnknown, RequestRefused
from mpesa_core.sandbox import bodies
from mpesa_core.sandbox.ledger import Balances

__all__ = ["Daraja", "Entry", "Letter", "Payment", "Plan", "Report"]

SHORT_CODE = "174379"


@attrs.frozen
class Report:
    """A callback that the script posts.

    Attributes:
        says: success, cancelled, failed, expired, unknown, short (another amount), other (another receipt), notice, c2b,
            c2b_odd (as c2b, with another reference).
        after: seconds after the request was accepted; 0 may be before its answer is seen.
        jobs: how many workers are told of it.
        plain: the URL has no token.
    """

    says: str
    after: float = 0.0
    jobs: int = 1
    plain: bool = False


@attrs.frozen(kw_only=True)
class Plan:
    """What becomes of one request.

    Attributes:
        answer: accepts, refuses, busy, unsent, lost (accepted, and the answer is lost), vanishes (never accepted, and
            nobody knows), belies (accepted, and the answer says refused).
        paid: whether money moves.
        amount: what moves where it is not what was asked for.
        reports: the callbacks.
        question: what questions are answered with once it is decided: success, failed, expired, pending, error.
        decided: seconds after which M-PESA knows.
        status_lost: how many status results are lost.
    """

    answer: str = "accepts"
    paid: bool = True
    amount: Decimal | None = None
    reports: tuple[Report, ...] = ()
    question: str = "success"
    decided: float = 0.0
    status_lost: int = 0

    @property
    def honest(self):
        """What M-PESA says about it can all be true."""
        says = {report.says for report in self.reports}
        if self.paid:
            return not says & {"other", "c2b_odd"}
        return not says & {"success", "c2b", "short", "other"} and self.question != "success"


@attrs.frozen
class Entry:
    """Money that really moved: ``in`` from a customer, ``out`` to one, ``back`` by a reversal."""

    kind: str
    receipt: str
    amount: Decimal
    payment: Payment
    original: str | None = None


@attrs.define(eq=False)
class Payment:
    """A request that Daraja saw, or a payment that a customer made by himself."""

    name: str
    kind: str
    plan: Plan
    amount: Decimal
    token: str | None = None
    reference: str = ""
    phone: str = "254708374149"
    checkout: str = ""
    conversation: str = ""
    originator: str = ""
    receipt: str = ""
    original: str | None = None
    at: object = None
    accepted: bool = False
    status_lost: int = 0


@attrs.define(eq=False)
class Letter:
    """A callback on its way."""

    at: object
    payment: Payment
    says: str
    callback_type: CallbackType
    token: str | None
    correlation_id: str | None
    raw_bytes: bytes
    body: object
    jobs: int


@functools.lru_cache(maxsize=8192)
def _stk(checkout, code, description, paid):
    body = bodies.stk_callback(
        merchant_request_id=f"m-{checkout}", checkout_request_id=checkout, code=code, description=description, paid=paid
    )
    return _both(body)


@functools.lru_cache(maxsize=8192)
def _c2b(receipt, moment, amount, reference, phone):
    body = bodies.c2b(
        transaction_type="Pay Bill",
        receipt=receipt,
        moment=moment,
        amount=amount,
        short_code=SHORT_CODE,
        reference=reference,
        balance=None,
        third_party_id="",
        msisdn=bodies.hashed_phone(phone),
        first_name="JOHN",
    )
    return _both(body)


_BALANCES = Balances(working=Decimal(0), utility=Decimal(0), charges=Decimal(0))


@functools.lru_cache(maxsize=8192)
def _result(kind, code, originator, conversation, receipt, amount, phone, original, moment):
    parameters = None
    if code == 0 and kind == "B2C":
        parameters = bodies.b2c_parameters(
            amount=amount, receipt=receipt, phone=phone, name="JANE DOE", moment=moment, balances=_BALANCES
        )
    elif code == 0:
        parameters = bodies.reversal_parameters(
            amount=amount,
            original=original,
            customer=f"{phone} - JANE DOE",
            organisation="174379 - SHOP",
            moment=moment,
            balances=_BALANCES,
        )
    body = bodies.result(
        code=code,
        description="done" if code == 0 else "no",
        originator_conversation_id=originator,
        conversation_id=conversation,
        transaction_id=receipt,
        parameters=parameters,
        reference_item=bodies.internal_results_url("b2c"),
    )
    return _both(body)


@functools.lru_cache(maxsize=8192)
def _status(status, receipt, amount, originator, conversation, question, moment):
    parameters = None
    if status is not None:
        parameters = bodies.status_parameters(
            receipt=receipt,
            status=status,
            amount=amount,
            reason="Pay",
            initiated=moment,
            finalised=moment if status == "Completed" else None,
            debit_party="174379 - SHOP",
            credit_party="254708374149 - JANE DOE",
            account="Utility Account",
            originator_conversation_id=originator,
            conversation_id=conversation,
        )
    body = bodies.result(
        code=0 if status is not None else 2032,
        description="done",
        originator_conversation_id=question,
        conversation_id=question,
        transaction_id="OFR0000000",
        parameters=parameters,
        reference_item=bodies.internal_results_url("status"),
    )
    return _both(body)


@functools.lru_cache(maxsize=8192)
def _notice(originator, conversation):
    return _both(
        bodies.timeout_result(
            originator_conversation_id=originator, conversation_id=conversation, transaction_id="OFR0000000"
        )
    )


@functools.lru_cache(maxsize=8192)
def _query_answer(checkout, code):
    return stk_query_answer(
        {
            "ResponseCode": "0",
            "ResponseDescription": "The service request has been accepted successsfully",
            "MerchantRequestID": f"m-{checkout}",
            "CheckoutRequestID": checkout,
            "ResultCode": code,
            "ResultDesc": "told",
        }
    )


def _both(body):
    raw = bodies.dumps(body)
    return raw, loads(raw)


_STK_CODES = {"success": 0, "short": 0, "other": 0, "cancelled": 1032, "failed": 1, "expired": 1037, "unknown": 987654}
_RESULT_TYPES = {
    "B2C": (CallbackType.B2C_RESULT, CallbackType.B2C_TIMEOUT),
    "REVERSAL": (CallbackType.REVERSAL_RESULT, CallbackType.REVERSAL_TIMEOUT),
}
SHORT_BY = Decimal("40.00")


class Daraja:
    """Answers by the plans, in the order in which requests come.

    Attributes:
        plans: what becomes of the next requests of each kind; the last one serves for all further.
        payments: everything that was asked for, by callback token.
        posts: tokens of the money-moving requests that arrived, each time.
        ledger: what really moved.
    """

    def __init__(self, world):
        self.world = world
        self.plans = {"STK": [], "B2C": [], "REVERSAL": []}
        self.payments = {}
        self.posts = []
        self.ledger = []
        self._receipts = 0

    # -- what the engine sends -------------------------------------------------------------------------------------

    def answer(self, operation):
        kind = type(operation)
        if kind is StkPush:
            return self._push(operation)
        if kind is StkQuery:
            return self._query(operation)
        if kind is TransactionStatus:
            return self._status_question(operation)
        if kind is B2CPayment:
            return self._payout(operation)
        assert kind is Reversal
        return self._reversal(operation)

    def _take(self, kind, token, amount, **fields):
        plans = self.plans[kind]
        plan = plans.pop(0) if len(plans) > 1 else plans[0]
        name = f"{kind.lower()}{sum(each.kind == kind for each in self.payments.values()) + 1}"
        payment = Payment(
            name, kind, plan, amount, token=token, at=self.world.now, status_lost=plan.status_lost, **fields
        )
        self.posts.append(token)
        self.payments[token] = payment
        if plan.answer == "unsent":
            raise NotSent("no connection")
        if plan.answer == "refuses":
            raise RequestRefused("Bad Request", status=400, code="400.002.02")
        if plan.answer == "busy":
            raise Busy("spike", status=429, code="500.003.02")
        if plan.answer == "vanishes":
            raise OutcomeUnknown("the connection broke")
        payment.accepted = True
        return payment

    def _move(self, payment, kind):
        plan = payment.plan
        payment.receipt = self.receipt()
        if plan.paid:
            amount = plan.amount or payment.amount
            self.ledger.append(Entry(kind, payment.receipt, amount, payment, payment.original))
        for report in plan.reports:
            self.post(payment, report)
        if plan.answer == "lost":
            raise OutcomeUnknown("the answer was lost")
        if plan.answer == "belies":
            raise RequestRefused("Bad Request", status=400, code="400.002.02")

    def receipt(self):
        self._receipts += 1
        return f"SFR7K{self._receipts:05d}"

    def _push(self, operation):
        token = _token(operation.callback_url)
        payment = self._take(
            "STK", token, operation.amount, reference=operation.account_reference, phone=operation.phone_number
        )
        payment.checkout = f"ws_CO_{token[-4:]}"
        self._move(payment, "in")
        return StkPushAccepted(
            merchant_request_id=f"m-{payment.checkout}", checkout_request_id=payment.checkout, response_code="0"
        )

    def _payout(self, operation):
        token = _token(operation.result_url)
        originator = operation.originator_conversation_id or f"o-{token[-4:]}"
        payment = self._take("B2C", token, operation.amount, phone=operation.phone_number, originator=originator)
        payment.conversation = f"AG_{token[-4:]}"
        self._move(payment, "out")
        return _accepted(payment)

    def _reversal(self, operation):
        token = _token(operation.result_url)
        payment = self._take(
            "REVERSAL", token, operation.amount, originator=f"o-{token[-4:]}", original=operation.transaction_id
        )
        payment.conversation = f"AG_{token[-4:]}"
        self._move(payment, "back")
        return _accepted(payment)

    def _query(self, operation):
        checkout = operation.checkout_request_id
        payment = next(each for each in self.payments.values() if each.checkout == checkout)
        plan = payment.plan
        known = self.world.now >= payment.at + timedelta(seconds=plan.decided)
        says = plan.question if known else "pending"
        if says == "pending":
            raise NotYet("The transaction is being processed", status=500, code="500.001.1001")
        if says == "error":
            raise OutcomeUnknown("the question got lost")
        return _query_answer(checkout, str(_STK_CODES[says]))

    def _status_question(self, operation):
        token = _token(operation.result_url)
        payment = self.payments.get(token)
        question = f"q-{self.world.new_id().int}"
        if payment is not None and payment.plan.question == "error":
            raise NotSent("no connection")
        if payment is not None and payment.status_lost > 0:
            payment.status_lost -= 1
        else:
            self._post_status(payment, token, question)
        return Accepted(conversation_id=question, originator_conversation_id=question, response_code="0")

    def _post_status(self, payment, token, question):
        if payment is None or not payment.accepted:
            payment = payment or Payment("nobody", "B2C", Plan(), Decimal(0))
            raw, body = _status(None, None, None, "", "", question, self.world.now)
            says = "unknown"
        else:
            known = self.world.now >= payment.at + timedelta(seconds=payment.plan.decided)
            says = payment.plan.question if known else "pending"
            word = {"success": "Completed", "failed": "Declined", "pending": "Initiated"}[says]
            receipt = payment.receipt if says == "success" else None
            raw, body = _status(
                word, receipt, payment.amount, payment.originator, payment.conversation, question, payment.at
            )
        letter = Letter(
            self.world.now, payment, f"status_{says}", CallbackType.STATUS_RESULT, token, question, raw, body, 1
        )
        self.world.letters.append(letter)

    # -- what it posts ---------------------------------------------------------------------------------------------

    def pay_by_hand(self, name, amount, reference, reports, phone="254708374149"):
        """A customer pays by himself, from the M-PESA menu."""
        payment = Payment(name, "C2B", Plan(reports=reports), Decimal(amount), reference=reference, phone=phone)
        payment.at = self.world.now
        payment.accepted = True
        payment.receipt = self.receipt()
        self.ledger.append(Entry("in", payment.receipt, payment.amount, payment))
        for report in reports:
            self.post(payment, report)
        return payment

    def post(self, payment, report):
        """Put a callback on its way."""
        at = self.world.now + timedelta(seconds=report.after)
        token, says = (None if report.plain else payment.token), report.says
        moved = payment.plan.amount or payment.amount
        if says in ("c2b", "c2b_odd"):
            reference = payment.reference if says == "c2b" else "typed"
            kind, token, correlation = CallbackType.C2B_CONFIRMATION, None, payment.receipt
            raw, body = _c2b(payment.receipt, payment.at, moved, reference, payment.phone)
        elif payment.kind == "STK":
            kind, correlation, code = CallbackType.STK, payment.checkout, _STK_CODES[says]
            receipt = self.receipt() if says == "other" else payment.receipt
            amount = payment.amount - SHORT_BY if says == "short" else moved
            paid = (amount, receipt, payment.at, int(payment.phone)) if code == 0 else None
            raw, body = _stk(payment.checkout, code, "told", paid)
        elif says == "notice":
            kind, correlation = _RESULT_TYPES[payment.kind][1], payment.conversation
            raw, body = _notice(payment.originator, payment.conversation)
        else:
            kind, correlation = _RESULT_TYPES[payment.kind][0], payment.conversation
            code = {"success": 0, "failed": 2001, "unknown": 987654}[says]
            raw, body = _result(
                payment.kind,
                code,
                payment.originator,
                payment.conversation,
                payment.receipt,
                moved,
                payment.phone,
                payment.original,
                payment.at,
            )
        self.world.letters.append(Letter(at, payment, says, kind, token, correlation, raw, body, report.jobs))


def _token(url):
    return url.rstrip("/").rpartition("/")[2]


def _accepted(payment):
    return Accepted(
        conversation_id=payment.conversation, originator_conversation_id=payment.originator, response_code="0"
    )
