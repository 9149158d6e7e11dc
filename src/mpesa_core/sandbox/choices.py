"""Which behaviour a request gets: the rules that were made for it, then the magic numbers, then the default."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

import attrs

from mpesa_core.sandbox.behaviour import MAGIC_AMOUNTS, MAGIC_PHONES, Behaviour
from mpesa_core.sandbox.endings import Api

__all__ = ["MONEY", "Choices", "Subject"]

MONEY: Final = frozenset(
    {
        Api.STK_PUSH,
        Api.B2C,
        Api.B2C_IDENTITY,
        Api.POCHI,
        Api.B2B,
        Api.TAX,
        Api.EXPRESS_CHECKOUT,
        Api.REVERSAL,
        Api.C2B,
        Api.BILL_PAYMENT,
        Api.BONGA_REDEEM,
        Api.STANDING_ORDER,
    }
)
"""The calls that move money, or ask a customer or another business for it."""


@attrs.frozen(kw_only=True)
class Subject:
    """What a request is about, as far as it can be told; of a rule: what it wants, None for anything.

    Attributes:
        phone: the customer's, in M-PESA's form.
        amount: in shillings.
        reference: the account reference; for a reversal the receipt; for a payout its OriginatorConversationID.
        short_code: the organisation's (for a till: its store number).
    """

    phone: str | None = attrs.field(default=None, repr=False)
    amount: Decimal | None = None
    reference: str | None = None
    short_code: str | None = None

    def takes(self, other: Subject) -> bool:
        """Whether the other one has everything that this one wants."""
        mine, theirs = attrs.astuple(self), attrs.astuple(other)
        return all(want in (None, has) for want, has in zip(mine, theirs, strict=True))


@attrs.define(kw_only=True, eq=False)
class _Choice:
    behaviour: Behaviour
    apis: frozenset[Api]
    wants: Subject
    left: int | None


class Choices:
    """The rules of one local Daraja. Not safe by itself: its owner holds a lock.

    Args:
        default: where no rule says otherwise.
        magic: obey the magic numbers where no rule says otherwise.
    """

    def __init__(self, default: Behaviour, *, magic: bool) -> None:
        self._default = default
        self._magic = magic
        self._choices: list[_Choice] = []

    def add(
        self,
        behaviours: Iterable[Behaviour],
        wants: Subject,
        *,
        apis: Api | str | Iterable[Api | str] | None,
        times: int | None,
    ) -> None:
        """Rules that go before those that were there, in the order in which they are given."""
        chosen = MONEY if apis is None else frozenset(map(Api, [apis] if isinstance(apis, str) else apis))
        self._choices[:0] = [
            _Choice(behaviour=behaviour, apis=chosen, wants=wants, left=times) for behaviour in behaviours
        ]

    def clear(self) -> None:
        """Forget every rule."""
        self._choices.clear()

    def choose(self, api: Api, subject: Subject, *, use: bool) -> Behaviour:
        """The behaviour of a request; ``use`` counts it against the rule that it comes from."""
        for choice in self._choices:
            if api in choice.apis and choice.left != 0 and choice.wants.takes(subject) and choice.behaviour.fits(api):
                if use and choice.left is not None:
                    choice.left -= 1
                return choice.behaviour
        if api not in MONEY:
            return Behaviour()
        if self._magic:
            by_amount = None if subject.amount is None else MAGIC_AMOUNTS.get(subject.amount)
            for found in (MAGIC_PHONES.get(subject.phone or ""), by_amount):
                if found is not None and found[1].fits(api):
                    return found[1]
        return self._default if self._default.fits(api) else Behaviour()
