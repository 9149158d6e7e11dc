"""What happens to one payment: how it is asked for, what M-PESA knows of it, and everything that M-PESA posts about it.

A story is told with duplicates, contradictions and rubbish among the posts. It says how it may end once all of it was
posted, in any order, whoever died meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from tests.settlement.desk import confirmation, payout_success, result, stk_result, stk_success

__all__ = ["STORIES", "Payment", "Story"]

Body = dict[str, Any] | bytes


@attrs.frozen
class Payment:
    """One payment of a trial; its number makes everything that M-PESA calls it by.

    Attributes:
        number: from 1, within the trial.
        story: what happens to it.
    """

    number: int
    story: Story

    @property
    def key(self) -> str:
        return f"{self.story.flow}-{self.number}"

    @property
    def checkout(self) -> str:
        return f"ws_CO_{self.number}"

    @property
    def conversation(self) -> str:
        return f"AG_{self.number}"

    @property
    def receipt(self) -> str:
        return f"RCT{self.number:07d}"

    @property
    def amount(self) -> int:
        return 100 + self.number


@attrs.frozen(kw_only=True)
class Story:
    """One kind of payment.

    Attributes:
        flow: ``STK``, ``C2B`` or ``B2C``.
        posts: each a callback type and what makes the body.
        ends: the statuses in which it may end, once it was sent and everything was posted.
        paid: whether money moved at M-PESA.
        conflict: whether it leaves an open conflict, in every order.
        generations: how often it settles at the most.
        early: the first post comes before the answer to the request.
        reversed: the host gives it back as soon as it has succeeded.
        queue_timeout: the setting ``on_queue_timeout``.
    """

    flow: str
    posts: tuple[tuple[str, Callable[[Payment], Body]], ...]
    ends: frozenset[str]
    paid: bool = True
    conflict: bool = False
    generations: int = 1
    early: bool = False
    reversed: bool = False
    queue_timeout: str = "ask"


def _stk_paid(payment: Payment) -> Body:
    return stk_success(payment.checkout, payment.amount, payment.receipt)


def _stk_wrong_amount(payment: Payment) -> Body:
    return stk_success(payment.checkout, payment.amount - 1, payment.receipt)


def _stk_said(code: int) -> Callable[[Payment], Body]:
    return lambda payment: stk_result(code, "said so", payment.checkout)


def _confirmed(payment: Payment) -> Body:
    reference = payment.key if payment.story.flow == "STK" else "ANY"
    return confirmation(payment.receipt, f"{payment.amount}.00", reference)


def _payout_paid(payment: Payment) -> Body:
    return payout_success(payment.amount, payment.receipt, payment.conversation, originator=f"O-{payment.number}")


def _payout_said(code: int) -> Callable[[Payment], Body]:
    return lambda payment: result(code, "XXX0000000", payment.conversation, f"O-{payment.number}")


def _notice(payment: Payment) -> Body:
    return {"OriginatorConversationID": f"O-{payment.number}"}


def _rubbish(payment: Payment) -> Body:
    return b'{"Body":{"stkCallback":{"ResultCode":0,"number":%d' % payment.number


_PAID = ("STK", _stk_paid)
_OUT = ("B2C_RESULT", _payout_paid)
_SUCCESS = frozenset({"SUCCESS"})
_FAILED = frozenset({"FAILED"})

STORIES = {
    "stk paid": Story(flow="STK", posts=(_PAID,), ends=_SUCCESS),
    "stk paid, told three times": Story(flow="STK", posts=(_PAID, _PAID, _PAID), ends=_SUCCESS),
    "stk told before the answer": Story(flow="STK", posts=(_PAID, _PAID), ends=_SUCCESS, early=True),
    "stk and c2b, one receipt": Story(
        flow="STK", posts=(_PAID, ("C2B_CONFIRMATION", _confirmed), _PAID), ends=_SUCCESS
    ),
    "stk cancelled twice, and rubbish": Story(
        flow="STK",
        posts=(("STK", _stk_said(1032)), ("STK", _rubbish), ("STK", _stk_said(1032))),
        ends=_FAILED,
        paid=False,
    ),
    "stk expired, then paid": Story(
        flow="STK", posts=(("STK", _stk_said(1019)), _PAID, _PAID), ends=_SUCCESS, generations=2
    ),
    "stk paid and denied": Story(
        flow="STK", posts=(_PAID, ("STK", _stk_said(1))), ends=_SUCCESS | _FAILED, conflict=True
    ),
    "stk with another amount": Story(
        flow="STK",
        posts=(("STK", _stk_wrong_amount), ("STK", _stk_wrong_amount)),
        ends=frozenset({"PROCESSING"}),
        paid=False,
        conflict=True,
    ),
    "stk paid and given back": Story(
        flow="STK", posts=(_PAID, _PAID), ends=frozenset({"REVERSED"}), generations=2, reversed=True
    ),
    "c2b": Story(flow="C2B", posts=(("C2B_CONFIRMATION", _confirmed),), ends=_SUCCESS),
    "c2b told three times": Story(flow="C2B", posts=(("C2B_CONFIRMATION", _confirmed),) * 3, ends=_SUCCESS),
    "payout": Story(flow="B2C", posts=(_OUT,), ends=_SUCCESS),
    "payout told before the answer": Story(flow="B2C", posts=(_OUT, _OUT), ends=_SUCCESS, early=True),
    "payout, notice and result": Story(flow="B2C", posts=(("B2C_TIMEOUT", _notice), _OUT, _OUT), ends=_SUCCESS),
    "payout, notice as an outcome": Story(
        flow="B2C",
        posts=(("B2C_TIMEOUT", _notice), _OUT),
        ends=_SUCCESS,
        generations=2,
        queue_timeout="timeout",
    ),
    "payout failed": Story(flow="B2C", posts=(("B2C_RESULT", _payout_said(2001)),) * 2, ends=_FAILED, paid=False),
    "payout paid and denied": Story(
        flow="B2C", posts=(_OUT, ("B2C_RESULT", _payout_said(1))), ends=_SUCCESS | _FAILED, conflict=True
    ),
}
"""The stories by name."""
