"""The signals, on blinker: the contract between the SDK and the program that uses it.

Connect a receiver to any of them::

    from mpesa_core.signals import payment_confirmed

    @payment_confirmed.connect
    def mark_paid(sender, transaction, **kwargs):
        ...

Signals fire when no row lock is held and the settlement is durable: at least once always, exactly once while no
process dies in between. A receiver that raises is logged; it never undoes a settlement and never keeps another
receiver from running. Arguments may be added at any time, so a receiver takes ``**kwargs``. ``sender`` is the
gateway's ``sender``.

Receivers are held strongly unless ``weak=True`` is asked for, have no order, and may be coroutine functions.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, TypeVar

import attrs
from blinker import ANY, NamedSignal

from mpesa_core.outline import outline

__all__ = [
    "SIGNALS",
    "BlinkerBus",
    "Bus",
    "Reply",
    "Signal",
    "balance_received",
    "c2b_validation_received",
    "callback_received",
    "failed_reply",
    "invoice_created",
    "invoice_paid",
    "invoice_voided",
    "payment_cancelled",
    "payment_confirmed",
    "payment_denied",
    "payment_expired",
    "payment_failed",
    "payment_initiated",
    "payment_refunded",
    "payout_completed",
    "payout_failed",
    "reversal_completed",
    "reversal_failed",
    "settlement_conflict",
    "subscription_cancelled",
    "subscription_charged",
    "subscription_created",
    "subscription_disabled",
    "subscription_failed",
    "transfer_completed",
    "transfer_failed",
]

_log = logging.getLogger("mpesa_core.signals")
_F = TypeVar("_F", bound=Callable[..., Any])


class Signal(NamedSignal):
    """A blinker signal that holds its receivers strongly: a lambda or a closure stays connected."""

    def connect(self, receiver: _F, sender: Any = ANY, weak: bool = False) -> _F:
        """Call the receiver whenever the signal fires, for every sender or for one."""
        return super().connect(receiver, sender, weak)


payment_initiated = Signal("payment_initiated", "An STK push was accepted by M-PESA. Arguments: transaction.")
payment_confirmed = Signal(
    "payment_confirmed",
    "An STK push or a C2B payment is paid. Arguments: transaction; late (it had been given up before).",
)
payment_failed = Signal(
    "payment_failed",
    "An STK push was not paid. Arguments: transaction, result_code (int, or text), result_desc; outcome_known (False: "
    "it may yet turn out to be paid), late.",
)
payment_cancelled = Signal("payment_cancelled", "As well as payment_failed, by the customer. Arguments: the same.")
payment_expired = Signal("payment_expired", "As well as payment_failed, no answer in time. Arguments: the same.")
payment_denied = Signal("payment_denied", "As well as payment_failed, for funds, PIN or limits. Arguments: the same.")
payment_refunded = Signal(
    "payment_refunded",
    "Money of a payment is back, whole or in part. Arguments: transaction (the payment), refund (the reversal), amount "
    "(Decimal, shillings).",
)
c2b_validation_received = Signal(
    "c2b_validation_received",
    "M-PESA asks whether a customer's payment is welcome. Arguments: raw_payload. A receiver answers a rejection "
    '({"ResultCode": "C2B00012", "ResultDesc": "Rejected"}) or None; the first rejection wins.',
)
payout_completed = Signal("payout_completed", "A payout arrived. Arguments: transaction; late.")
payout_failed = Signal(
    "payout_failed",
    "A payout failed or timed out. Arguments: transaction, result_code, result_desc; outcome_known (pay again only if "
    "it is True), late.",
)
reversal_completed = Signal(
    "reversal_completed",
    "A payment is reversed, all of it. Arguments: transaction (the original, or the reversal itself where the original "
    "is not ours); reversal.",
)
reversal_failed = Signal(
    "reversal_failed",
    "A reversal failed. Arguments: transaction (the original, or the reversal where that is not ours), reversal, "
    "result_code, result_desc, outcome_known, late.",
)
transfer_completed = Signal(
    "transfer_completed", "A transfer between businesses arrived. Arguments: transaction; late."
)
transfer_failed = Signal(
    "transfer_failed",
    "A transfer between businesses failed or timed out. Arguments: transaction, result_code, result_desc; "
    "outcome_known, late.",
)
balance_received = Signal(
    "balance_received",
    "An account balance came. Arguments: raw_payload; balances (mpesa_core.daraja.balance.Balance objects), callback.",
)
callback_received = Signal(
    "callback_received", "A callback was processed, whatever became of it. Arguments: callback (its row), disposition."
)
settlement_conflict = Signal(
    "settlement_conflict",
    "Evidence contradicts what is known; a person has to look. Arguments: transaction (or None), callback, problem (a "
    "sentence).",
)
invoice_created = Signal("invoice_created", "An invoice was sent. Arguments: invoice.")
invoice_paid = Signal(
    "invoice_paid",
    "An invoice is paid in full, or more. Arguments: invoice; transaction (the payment that completed it).",
)
invoice_voided = Signal("invoice_voided", "Bill Manager cancelled an invoice at our word. Arguments: invoice.")
subscription_created = Signal(
    "subscription_created", "The customer agreed to a standing order. Arguments: subscription."
)
subscription_failed = Signal(
    "subscription_failed",
    "There is no standing order: the customer did not agree, or M-PESA refused. Arguments: subscription, result_code "
    "(int, or text), result_desc.",
)
subscription_charged = Signal(
    "subscription_charged",
    "As well as payment_confirmed, for a payment of a standing order. Arguments: subscription, transaction.",
)
subscription_disabled = Signal(
    "subscription_disabled", "The host recorded that the customer disabled a standing order. Arguments: subscription."
)
subscription_cancelled = Signal(
    "subscription_cancelled", "The host recorded that the customer cancelled a standing order. Arguments: subscription."
)

SIGNALS: Mapping[str, Signal] = {
    signal.name: signal
    for signal in (
        payment_initiated,
        payment_confirmed,
        payment_failed,
        payment_cancelled,
        payment_expired,
        payment_denied,
        payment_refunded,
        c2b_validation_received,
        payout_completed,
        payout_failed,
        reversal_completed,
        reversal_failed,
        transfer_completed,
        transfer_failed,
        balance_received,
        callback_received,
        settlement_conflict,
        invoice_created,
        invoice_paid,
        invoice_voided,
        subscription_created,
        subscription_failed,
        subscription_charged,
        subscription_disabled,
        subscription_cancelled,
    )
}
"""Every signal by name."""


@attrs.frozen
class Reply:
    """What one receiver answered.

    Attributes:
        receiver: the receiver.
        value: what it returned, or None.
        error: what it raised, or None.
    """

    receiver: Any
    value: Any = attrs.field(default=None, repr=False)
    # A receiver's own words may quote anything, so they are not shown.
    error: Exception | None = attrs.field(default=None, repr=lambda error: outline(error) if error else "None")


class Bus(Protocol):
    """What delivers signals: :class:`BlinkerBus`, or an adapter's own."""

    def deliver(self, signal: str, arguments: Mapping[str, Any]) -> list[Reply]:
        """Call every receiver of the signal, each in isolation."""
        ...

    async def adeliver(self, signal: str, arguments: Mapping[str, Any]) -> list[Reply]:
        """The same, awaiting the receivers that are coroutine functions."""
        ...


class BlinkerBus:
    """The bus of the core: blinker's signals above, with one sender.

    A bus may have ``hears`` or leave it out: what nobody listens to need not be prepared.
    """

    def __init__(self, sender: Any = "mpesa_core", signals: Mapping[str, Signal] = SIGNALS) -> None:
        self.sender = sender
        self._signals = signals

    def _receivers(self, signal: str) -> Iterator[Any]:
        # blinker's own send() stops at the first exception, so the receivers are called from here.
        yield from list(self._signals[signal].receivers_for(self.sender))

    def hears(self, signal: str) -> bool:
        """Whether somebody listens to the signal: a receiver, or a bus that is made of this one and delivers itself."""
        own = (type(self).deliver, type(self).adeliver) != (BlinkerBus.deliver, BlinkerBus.adeliver)
        return own or bool(self._signals[signal].has_receivers_for(self.sender))

    def call(self, receiver: Any, arguments: Mapping[str, Any]) -> Any:
        """Call one receiver, to its end; an adapter puts around it what its framework's code expects.

        Raises:
            Exception: whatever the receiver raised.
        """
        value = receiver(self.sender, **arguments)
        return _outside_a_loop(partial(asyncio.run, _wait_for(value))) if inspect.isawaitable(value) else value

    async def acall(self, receiver: Any, arguments: Mapping[str, Any]) -> Any:
        """The same inside a running event loop."""
        value = receiver(self.sender, **arguments)
        return await value if inspect.isawaitable(value) else value

    def deliver(self, signal: str, arguments: Mapping[str, Any]) -> list[Reply]:
        """Call every receiver of the signal, each in isolation; what one raises is logged and returned."""
        replies = []
        for receiver in self._receivers(signal):
            call = partial(self.call, receiver, arguments)
            try:
                value = _outside_a_loop(call) if inspect.iscoroutinefunction(receiver) else call()
                replies.append(Reply(receiver, value))
            except Exception as error:  # noqa: BLE001 - a receiver may raise anything, and must not stop the others
                replies.append(failed_reply(signal, receiver, error))
        return replies

    async def adeliver(self, signal: str, arguments: Mapping[str, Any]) -> list[Reply]:
        """The same inside a running event loop."""
        replies = []
        for receiver in self._receivers(signal):
            try:
                replies.append(Reply(receiver, await self.acall(receiver, arguments)))
            except Exception as error:  # noqa: BLE001 - as above
                replies.append(failed_reply(signal, receiver, error))
        return replies


async def _wait_for(value: Any) -> Any:
    return await value


def _outside_a_loop(work: Callable[[], Any]) -> Any:
    """Do the work where no event loop runs: inside of one no coroutine can be run to its end.

    A program that has a loop in this thread (it asks for money in a coroutine) waits while another thread does it, in
    the same context.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(contextvars.copy_context().run, work).result()


def failed_reply(signal: str, receiver: Any, error: Exception) -> Reply:
    """Log what a receiver raised, by its class and place (its text may quote anything), and return it as a reply."""
    name = getattr(receiver, "__qualname__", type(receiver).__qualname__)
    _log.error("A receiver of %s, %s, raised %s", signal, name, outline(error))
    return Reply(receiver, error=error)
