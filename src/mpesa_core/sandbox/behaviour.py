"""What the local Daraja does with a request: how it ends, what it delivers, answers, and says when asked.

A :class:`Behaviour` is chosen for each request by :meth:`LocalDaraja.when`, :meth:`LocalDaraja.script`, or, where the
magic numbers are switched on (they are in the command-line sandbox), by :data:`MAGIC_PHONES` and :data:`MAGIC_AMOUNTS`:
numbers that provoke a case as a card processor's test cards do.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

import attrs

from mpesa_core.sandbox.endings import ENDINGS, Api, Ending

__all__ = [
    "ENDINGS",
    "MAGIC_AMOUNTS",
    "MAGIC_PHONES",
    "MALFORMED",
    "Answer",
    "Api",
    "Behaviour",
    "Delivery",
    "Ending",
    "QueryAnswer",
]


class Answer(StrEnum):
    """What the caller gets back over HTTP."""

    NORMAL = "normal"
    LOST = "lost"
    """The connection drops without an answer; see ``Behaviour.accepted`` for whether the request was carried out."""
    NO_CONNECTION = "no_connection"
    """The connection is refused, so that no byte is sent (over real HTTP it is dropped instead)."""
    TRUNCATED = "truncated"
    """The normal answer, cut off after ``Behaviour.truncate_at`` bytes."""
    GARBAGE = "garbage"
    """HTTP 200, and a body that is no JSON."""
    EMPTY = "empty"
    """HTTP 200, and no body."""
    SPIKE_ARREST = "spike_arrest"
    """429 with the gateway's own ``fault`` body."""
    SYSTEM_BUSY = "system_busy"
    """500 with 500.003.02."""
    INTERNAL_ERROR = "internal_error"
    """500 that says nothing certain."""
    UNAVAILABLE = "unavailable"
    """503 with the firewall's HTML page."""
    FORBIDDEN = "forbidden"
    """403 with the firewall's HTML page, as after a burst."""
    GATEWAY_TIMEOUT = "gateway_timeout"
    """504 with the gateway's ``fault`` body: the request was passed on."""
    UNAUTHORIZED = "unauthorized"
    """The access token is refused, whatever it is."""


_CARRIED_OUT: Final = frozenset(
    {Answer.NORMAL, Answer.LOST, Answer.TRUNCATED, Answer.GARBAGE, Answer.EMPTY, Answer.GATEWAY_TIMEOUT}
)


class QueryAnswer(StrEnum):
    """An answer to an STK query that is no final result."""

    STILL_PROCESSING = "still_processing"
    """HTTP 200 with ResultCode "4999"."""
    BEING_PROCESSED = "being_processed"
    """HTTP 500, the older form of the same."""
    DOES_NOT_EXIST = "does_not_exist"
    """HTTP 500 "The transaction does not Exist": asked too early, or unknown."""
    INVALID_ID = "invalid_id"
    """HTTP 400 "Invalid CheckoutRequestID", which means the same."""
    NO_TRANSACTION = "no_transaction"
    """HTTP 404 with the bare code "01" and no request id."""
    SPIKE_ARREST = "spike_arrest"
    """HTTP 429 from the gateway."""


MALFORMED: Final = b'{"Body":{"stkCallback":{"MerchantRequestID":"29115-34620561-1","ResultCode":0,'
"""A body that breaks off in the middle."""


@attrs.frozen(kw_only=True)
class Delivery:
    """One callback about a payment's end.

    Attributes:
        delay: seconds from the decision to the delivery.
        early: deliver it before the HTTP answer to the request (the decision is then taken at once).
        copies: how often the same bytes are posted.
        says: tell of this ending instead of the true one (a contradiction, or a forgery where it says PAY).
        amount: report this amount in shillings instead of the true one.
        receipt: report this receipt instead of the true one.
        raw: post these bytes instead of a callback, such as :data:`MALFORMED`.
    """

    delay: float = 0.0
    early: bool = False
    copies: int = attrs.field(default=1, validator=attrs.validators.ge(1))
    says: Ending | None = None
    amount: Decimal | None = None
    receipt: str | None = None
    raw: bytes | None = None


@attrs.frozen(kw_only=True)
class Behaviour:
    """What becomes of one request. The default: it is paid at once, answered, and reported once.

    Attributes:
        ending: how it ends.
        code: a result code of your own instead of the ending's (then money moves only for 0).
        description: the text beside ``code``.
        after: seconds from the request to the decision; None for the sandbox's own pace (an expiring prompt takes a
            prompt's lifetime).
        deliver: the callbacks, each with its own delay; ``()`` for none.
        also_c2b: report an STK payment to the registered C2B confirmation URL as well, before or after its own
            callback. Nothing is reported where no URL is registered.
        queue_timeout: for payouts, reversals and questions: post the notice to QueueTimeOutURL as well, before or after
            the result. With ``deliver=()`` the notice is all that comes.
        queue_timeout_as_result: the notice is a Result with code 1 (as some SDKs expect) instead of the request itself.
        answer: what the caller gets back.
        accepted: whether the request is carried out although the answer is not normal; None for what is usual with that
            answer (yes for LOST, TRUNCATED, GARBAGE, EMPTY and GATEWAY_TIMEOUT; no for the others).
        truncate_at: bytes that are left of a TRUNCATED answer.
        answer_after: seconds until the HTTP answer.
        query: the first answers to STK queries about it, one each, before the true one.
        query_says: what STK queries, and transaction status questions, say in the end instead of the truth.
    """

    ending: Ending = Ending.PAY
    code: int | str | None = None
    description: str | None = None
    after: float | None = None
    deliver: tuple[Delivery, ...] = (Delivery(),)
    also_c2b: Literal["before", "after"] | None = None
    queue_timeout: Literal["before", "after"] | None = None
    queue_timeout_as_result: bool = False
    answer: Answer = Answer.NORMAL
    accepted: bool | None = None
    truncate_at: int = 20
    answer_after: float = 0.0
    query: tuple[QueryAnswer, ...] = ()
    query_says: Ending | None = None

    @property
    def carried_out(self) -> bool:
        """Whether a request that is in order is carried out."""
        if self.answer is Answer.NORMAL:
            return True
        return self.answer in _CARRIED_OUT if self.accepted is None else self.accepted

    def fits(self, api: Api) -> bool:
        """Whether this can happen to that call: one that names an ending that the call does not know cannot."""
        known = ENDINGS.get(api)
        if known is None:
            return True
        said = {delivery.says for delivery in self.deliver if delivery.says is not None}
        return (self.ending is Ending.NEVER or self.code is not None or self.ending in known) and said <= known.keys()


MAGIC_PHONES: Final[Mapping[str, tuple[str, Behaviour]]] = MappingProxyType(
    {
        "254700000001": ("the customer cancels", Behaviour(ending=Ending.CANCEL)),
        "254700000002": ("the prompt expires", Behaviour(ending=Ending.EXPIRE)),
        "254700000003": ("wrong PIN", Behaviour(ending=Ending.WRONG_PIN)),
        "254700000004": ("not enough money", Behaviour(ending=Ending.NO_FUNDS)),
        "254700000005": ("the phone cannot be reached", Behaviour(ending=Ending.UNREACHABLE)),
        "254700000006": ("never decided", Behaviour(ending=Ending.NEVER)),
        "254700000007": ("payout: not an M-PESA customer", Behaviour(ending=Ending.NOT_A_CUSTOMER)),
        "254700000011": ("paid; the callback comes twice", Behaviour(deliver=(Delivery(copies=2),))),
        "254700000012": ("paid; the callback comes 30 seconds late", Behaviour(deliver=(Delivery(delay=30),))),
        "254700000013": ("paid; the callback comes before the answer", Behaviour(deliver=(Delivery(early=True),))),
        "254700000014": ("paid; the callback never comes", Behaviour(deliver=())),
        "254700000015": ("paid; the callback is malformed", Behaviour(deliver=(Delivery(raw=MALFORMED),))),
        "254700000016": ("paid; the callback tells of 1 shilling", Behaviour(deliver=(Delivery(amount=Decimal(1)),))),
        "254700000017": (
            "paid; the first callback says wrong PIN, the second paid",
            Behaviour(deliver=(Delivery(says=Ending.WRONG_PIN), Delivery(delay=2))),
        ),
        "254700000018": (
            "wrong PIN, and a later callback that says paid",
            Behaviour(ending=Ending.WRONG_PIN, deliver=(Delivery(), Delivery(delay=2, says=Ending.PAY))),
        ),
        "254700000021": ("paid; the answer is lost", Behaviour(answer=Answer.LOST)),
        "254700000022": ("not taken, and the answer is lost", Behaviour(answer=Answer.LOST, accepted=False)),
        "254700000023": ("429: spike arrest", Behaviour(answer=Answer.SPIKE_ARREST)),
        "254700000024": ("500: internal error, not taken", Behaviour(answer=Answer.INTERNAL_ERROR)),
        "254700000025": ("503: HTML, not taken", Behaviour(answer=Answer.UNAVAILABLE)),
        "254700000026": ("paid; the answer is cut off", Behaviour(answer=Answer.TRUNCATED)),
        "254700000027": ("paid; 504: gateway timeout", Behaviour(answer=Answer.GATEWAY_TIMEOUT)),
        "254700000028": ("paid; 500: internal error", Behaviour(answer=Answer.INTERNAL_ERROR, accepted=True)),
        "254700000031": (
            "paid; no callback; three queries are told that it is still processing",
            Behaviour(deliver=(), query=(QueryAnswer.STILL_PROCESSING,) * 3),
        ),
        "254700000032": ("paid; queries say cancelled", Behaviour(query_says=Ending.CANCEL)),
        "254700000033": ("paid; then reported through C2B too", Behaviour(also_c2b="after")),
        "254700000034": ("paid; reported through C2B first", Behaviour(also_c2b="before")),
        "254700000035": ("payout: queue timeout notice, then the result", Behaviour(queue_timeout="before")),
        "254700000036": (
            "payout: paid, but only the queue timeout notice comes",
            Behaviour(deliver=(), queue_timeout="before"),
        ),
    }
)
"""Phone numbers that provoke a case, with what happens."""

MAGIC_AMOUNTS: Final[Mapping[Decimal, tuple[str, Behaviour]]] = MappingProxyType(
    {
        Decimal(1001): ("the subscriber is locked by another session", Behaviour(ending=Ending.LOCKED_SUBSCRIBER)),
        Decimal(1019): ("the prompt expires", Behaviour(ending=Ending.EXPIRE)),
        Decimal(1032): ("the customer cancels", Behaviour(ending=Ending.CANCEL)),
        Decimal(1037): ("the phone cannot be reached", Behaviour(ending=Ending.UNREACHABLE)),
        Decimal(2001): ("wrong PIN, or wrong operator password", Behaviour(ending=Ending.WRONG_PIN)),
        Decimal(2040): ("payout: not an M-PESA customer", Behaviour(ending=Ending.NOT_A_CUSTOMER)),
        Decimal(4999): ("never decided", Behaviour(ending=Ending.NEVER)),
        Decimal(8006): ("the credential is locked", Behaviour(ending=Ending.LOCKED_CREDENTIAL)),
        Decimal(9001): ("not enough money", Behaviour(ending=Ending.NO_FUNDS)),
    }
)
"""Amounts in shillings that provoke a case, most of them spelled as its result code; a magic phone goes before."""
