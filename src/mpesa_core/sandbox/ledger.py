"""What really moved: the local Daraja's own books, which a test compares its application's books with."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal

import attrs

from mpesa_core.sandbox.endings import Ending

__all__ = ["Balances", "Declined", "Entry", "Kind", "Ledger", "Pocket"]


class Kind(StrEnum):
    """What moved money."""

    STK_PUSH = "STK_PUSH"
    C2B = "C2B"
    B2C = "B2C"
    POCHI = "POCHI"
    B2B = "B2B"
    TAX = "TAX"
    EXPRESS_CHECKOUT = "EXPRESS_CHECKOUT"
    REVERSAL = "REVERSAL"


class Declined(Exception):  # noqa: N818 - it names a state
    """The books do not allow it; ``ending`` says why."""

    def __init__(self, ending: Ending) -> None:
        self.ending = ending
        super().__init__(ending.value)


@attrs.frozen(kw_only=True)
class Entry:
    """One movement of money.

    Attributes:
        receipt: M-PESA's receipt; unique in the ledger.
        kind: what moved it.
        short_code: the organisation (for a till: its store number).
        amount: shillings, always positive; STK_PUSH, C2B and EXPRESS_CHECKOUT come in, the others go out.
        phone: the customer, ``2547…`` or ``2541…``; "" where it is a business.
        counterparty: the other business's short code or till; "" where it is a customer.
        reference: the account reference, or "".
        at: when, aware.
        checkout_request_id: of an STK payment, else None.
        originator_conversation_id, conversation_id: of the movement.
        original_receipt: of a reversal: the payment that it takes back.
        returned: how much of this payment was reversed.
    """

    receipt: str
    kind: Kind
    short_code: str
    amount: Decimal
    phone: str = attrs.field(default="", repr=False)
    counterparty: str = ""
    reference: str = ""
    at: datetime
    checkout_request_id: str | None = attrs.field(default=None, repr=False)
    originator_conversation_id: str | None = None
    conversation_id: str | None = None
    original_receipt: str | None = None
    returned: Decimal = Decimal(0)

    @property
    def reversed(self) -> bool:
        """Whether all of it went back."""
        return self.returned >= self.amount

    @property
    def incoming(self) -> bool:
        """Whether the organisation received it."""
        return self.kind in (Kind.STK_PUSH, Kind.C2B, Kind.EXPRESS_CHECKOUT)


@attrs.frozen(kw_only=True)
class Balances:
    """An organisation's accounts, in shillings.

    Payments come into the utility account, and payouts to customers leave it; payments to businesses leave the working
    account; ``settlement`` is what went to the bank.
    """

    utility: Decimal = Decimal(0)
    working: Decimal = Decimal(0)
    charges: Decimal = Decimal(0)
    settlement: Decimal = Decimal(0)


@attrs.frozen
class Pocket:
    """One account of an organisation.

    Attributes:
        short_code: whose.
        account: which.
    """

    short_code: str
    account: Literal["utility", "working", "settlement"] = "utility"


class Ledger:
    """The books of all organisations. Safe to read from any thread; only the local Daraja writes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._balances: dict[str, Balances] = {}

    def open(self, short_code: str, *, utility: Decimal, working: Decimal) -> None:
        """Begin an organisation's books."""
        with self._lock:
            self._balances[short_code] = Balances(utility=utility, working=working)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every movement, in the order in which it happened."""
        with self._lock:
            return tuple(self._entries.values())

    def get(self, receipt: str) -> Entry | None:
        """The movement of that receipt, or None."""
        with self._lock:
            return self._entries.get(receipt)

    def balances(self, short_code: str) -> Balances:
        """An organisation's accounts as they stand.

        Raises:
            KeyError: there is no such organisation.
        """
        with self._lock:
            return self._balances[short_code]

    def total(self, kinds: Kind | Iterable[Kind], *, short_code: str | None = None) -> Decimal:
        """The sum in shillings of the movements of one or several kinds."""
        wanted = {kinds} if isinstance(kinds, Kind) else set(kinds)
        chosen = [entry for entry in self.entries if entry.kind in wanted and short_code in (None, entry.short_code)]
        return sum((entry.amount for entry in chosen), Decimal(0))

    def transfer(
        self, entry: Entry, *, source: Pocket | None, target: Pocket | None, charge: Decimal = Decimal(0)
    ) -> None:
        """Money moves.

        Args:
            entry: the movement.
            source: the account that it leaves; None for a payer who has no books here, such as a customer.
            target: the account that it comes into; None likewise.
            charge: M-PESA's, in shillings, which the entry's organisation owes.

        Raises:
            Declined: the source does not hold enough.
        """
        with self._lock:
            if source is not None:
                self._afford(source, entry.amount)
            self._record(entry)
            if source is not None:
                self._shift(source, -entry.amount)
            if target is not None:
                self._shift(target, entry.amount)
            balances = self._balances[entry.short_code]
            self._balances[entry.short_code] = attrs.evolve(balances, charges=balances.charges - charge)

    def receive(self, entry: Entry) -> None:
        """Money comes into the utility account from a customer."""
        self.transfer(entry, source=None, target=Pocket(entry.short_code))

    def pay_out(self, entry: Entry, *, charge: Decimal = Decimal(0)) -> None:
        """Money goes from the utility account to a customer.

        Raises:
            Declined: the utility account does not hold enough.
        """
        self.transfer(entry, source=Pocket(entry.short_code), target=None, charge=charge)

    def give_back(self, entry: Entry) -> Entry:
        """A payment goes back, whole or in part; returns the payment as it now stands.

        Raises:
            Declined: the payment is unknown to that organisation, did not come in, went back already or is smaller than
                what is asked back, or the utility account does not hold enough.
        """
        with self._lock:
            original = self._entries.get(entry.original_receipt or "")
            if original is None or not original.incoming or original.short_code != entry.short_code:
                raise Declined(Ending.UNKNOWN_RECEIPT)
            if original.reversed:
                raise Declined(Ending.ALREADY_REVERSED)
            if entry.amount > original.amount - original.returned:
                raise Declined(Ending.NO_FUNDS)
            purse = Pocket(entry.short_code)
            self._afford(purse, entry.amount)
            self._record(entry)
            self._shift(purse, -entry.amount)
            returned = attrs.evolve(original, returned=original.returned + entry.amount)
            self._entries[original.receipt] = returned
            return returned

    def _afford(self, pocket: Pocket, amount: Decimal) -> None:
        held: Decimal = getattr(self._balances[pocket.short_code], pocket.account)
        if held < amount:
            raise Declined(Ending.NO_FUNDS)

    def _record(self, entry: Entry) -> None:
        if entry.receipt in self._entries:
            raise ValueError(f"receipt {entry.receipt} is in the ledger already; a receipt is one movement")
        self._entries[entry.receipt] = entry

    def _shift(self, pocket: Pocket, change: Decimal) -> None:
        balances = self._balances[pocket.short_code]
        held: Decimal = getattr(balances, pocket.account)
        self._balances[pocket.short_code] = attrs.evolve(balances, **{pocket.account: held + change})
