"""The core's signals as Django's own, for ``@receiver``.

::

    from django.dispatch import receiver
    from mpesa_django.signals import payment_confirmed

    @receiver(payment_confirmed)
    def mark_paid(sender, transaction, **kwargs):
        transaction.order.mark_paid()

Each fires when the core says so, with the arguments that :mod:`mpesa_core.signals` lists and Django's ``signal``
besides. ``transaction`` is an instance of your model. ``sender`` is the model that the signal is about: that of the
transactions, but that of the callback log for ``callback_received``, ``c2b_validation_received`` and
``balance_received``, and those of invoices and subscriptions for theirs.

Receivers run in isolation: what one raises is logged, undoes nothing and stops no other. They may be coroutine
functions. As everywhere in Django they are held weakly: a closure needs ``weak=False``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import django.dispatch

from mpesa_core.signals import Reply, failed_reply
from mpesa_django.runners import close_left_connections

__all__ = [
    "SIGNALS",
    "DjangoBus",
    "Signal",
    "balance_received",
    "c2b_validation_received",
    "callback_received",
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


class Signal(django.dispatch.Signal):
    """Django's signal, but what a receiver raised is logged by the bus alone: Django's log would quote its text."""

    def _log_robust_failure(self, receiver: Any, err: Exception) -> None:
        pass


payment_initiated = Signal()
payment_confirmed = Signal()
payment_failed = Signal()
payment_cancelled = Signal()
payment_expired = Signal()
payment_denied = Signal()
payment_refunded = Signal()
c2b_validation_received = Signal()
payout_completed = Signal()
payout_failed = Signal()
reversal_completed = Signal()
reversal_failed = Signal()
transfer_completed = Signal()
transfer_failed = Signal()
balance_received = Signal()
callback_received = Signal()
settlement_conflict = Signal()
invoice_created = Signal()
invoice_paid = Signal()
invoice_voided = Signal()
subscription_created = Signal()
subscription_failed = Signal()
subscription_charged = Signal()
subscription_disabled = Signal()
subscription_cancelled = Signal()

SIGNALS: Mapping[str, Signal] = {name: value for name, value in globals().items() if isinstance(value, Signal)}
"""Every signal by name."""

_ABOUT_CALLBACKS = frozenset({"callback_received", "c2b_validation_received", "balance_received"})


class DjangoBus:
    """The core's bus on these signals.

    Args:
        transaction_model: the sender of the signals about transactions.
        callback_model: of those about callbacks.
        invoice_model: of those about invoices.
        subscription_model: of those about subscriptions.
    """

    def __init__(
        self, transaction_model: Any, callback_model: Any, invoice_model: Any = None, subscription_model: Any = None
    ) -> None:
        self._transactions = transaction_model
        self._callbacks = callback_model
        self._others = {"invoice": invoice_model, "subscription": subscription_model}

    def sender(self, signal: str) -> Any:
        """The model that a signal is about."""
        if signal in _ABOUT_CALLBACKS:
            return self._callbacks
        return self._others.get(signal.partition("_")[0], self._transactions)

    def hears(self, signal: str) -> bool:
        """Whether somebody listens to the signal."""
        return SIGNALS[signal].has_listeners(self.sender(signal))

    def deliver(self, signal: str, arguments: Mapping[str, Any]) -> list[Reply]:
        """Call every receiver of the signal, each in isolation; what one raises is logged and returned.

        A connection on which a receiver leaves autocommit off is given up: what follows is a transaction of its own.
        """
        try:
            return _replies(signal, SIGNALS[signal].send_robust(self.sender(signal), **arguments))
        finally:
            close_left_connections()

    async def adeliver(self, signal: str, arguments: Mapping[str, Any]) -> list[Reply]:
        """The same inside a running event loop."""
        return _replies(signal, await SIGNALS[signal].asend_robust(self.sender(signal), **arguments))


def _replies(signal: str, answers: Iterable[tuple[Any, Any]]) -> list[Reply]:
    return [
        failed_reply(signal, receiver, value) if isinstance(value, Exception) else Reply(receiver, value)
        for receiver, value in answers
    ]
