"""The signal bus."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging

import pytest

from mpesa_core import signals
from mpesa_core.signals import SIGNALS, BlinkerBus, Signal

SEVEN = {
    "payment_confirmed": ("transaction",),
    "payment_failed": ("transaction", "result_code", "result_desc"),
    "c2b_validation_received": ("raw_payload",),
    "payout_completed": ("transaction",),
    "payout_failed": ("transaction", "result_code", "result_desc"),
    "reversal_completed": ("transaction",),
    "balance_received": ("raw_payload",),
}


@pytest.fixture
def bus():
    own = {"payment_confirmed": Signal("payment_confirmed")}
    made = BlinkerBus("shop", own)
    made.signal = own["payment_confirmed"]
    return made


@pytest.mark.parametrize(("name", "arguments"), SEVEN.items())
def test_seven_keep_their_names_and_arguments(name, arguments):
    """The seven signals that users were promised are there, and their documentation names their arguments."""
    for argument in arguments:
        assert argument in SIGNALS[name].__doc__


def test_every_signal_is_importable_and_documented():
    """Each signal is an attribute of the module under its own name, with its arguments documented."""
    for name, signal in SIGNALS.items():
        assert signal is getattr(signals, name)
        assert name in signals.__all__
        assert "Arguments:" in signal.__doc__


def test_receivers_are_held_strongly(bus):
    """A lambda that nobody else holds stays connected."""
    heard = []
    bus.signal.connect(lambda sender, **kwargs: heard.append(kwargs))
    gc.collect()
    bus.deliver("payment_confirmed", {"transaction": 1})
    assert [{"transaction": 1}] == heard


def test_a_bus_hears_where_there_is_a_receiver(bus):
    """Of its own sender or of any; what a bus of the host's delivers elsewhere as well is never left out."""

    class Forwarding(BlinkerBus):
        def deliver(self, signal, arguments):
            return super().deliver(signal, arguments)

    assert not bus.hears("payment_confirmed")
    assert Forwarding("shop", {"payment_confirmed": bus.signal}).hears("payment_confirmed")
    bus.signal.connect(lambda sender, **kwargs: None, sender="another")
    assert not bus.hears("payment_confirmed")
    bus.signal.connect(lambda sender, **kwargs: None, sender="shop")
    assert bus.hears("payment_confirmed")


def test_weak_receivers_on_request(bus):
    """With weak=True blinker's own habit is back."""
    bus.signal.connect(lambda sender, **kwargs: None, weak=True)
    gc.collect()
    assert [] == bus.deliver("payment_confirmed", {})


def test_connect_is_a_decorator(bus):
    """Connecting returns the receiver, so that it may stand above a function."""

    @bus.signal.connect
    def receiver(sender, **kwargs):
        return "heard"

    assert ["heard", "heard"] == [receiver(None), bus.deliver("payment_confirmed", {})[0].value]


def test_only_its_own_sender(bus):
    """A receiver of another gateway's sender is not called."""
    bus.signal.connect(lambda sender, **kwargs: sender, sender="elsewhere")
    bus.signal.connect(lambda sender, **kwargs: sender, sender="shop")
    assert ["shop"] == [reply.value for reply in bus.deliver("payment_confirmed", {})]


def test_receiver_that_raises_stops_nobody(bus, caplog):
    """Of three receivers the middle one raises: the others run, it is logged with its name, and its text is not."""
    ran = []

    def raising(sender, **kwargs):
        ran.append(2)
        raise ValueError("0712345678 said the secret")

    for receiver in (lambda sender, **kwargs: ran.append(1), raising, lambda sender, **kwargs: ran.append(3)):
        bus.signal.connect(receiver)
    with caplog.at_level(logging.DEBUG):
        replies = bus.deliver("payment_confirmed", {"transaction": 1})
    assert [1, 2, 3] == sorted(ran)
    assert 1 == sum(isinstance(reply.error, ValueError) for reply in replies)
    assert "raising" in caplog.text
    assert "payment_confirmed" in caplog.text
    assert "0712345678" not in caplog.text
    assert "secret" not in caplog.text


def test_coroutine_receivers(bus):
    """A coroutine function is awaited, from a thread without a loop and inside one alike."""

    async def receiver(sender, **kwargs):
        await asyncio.sleep(0)
        return kwargs["transaction"]

    bus.signal.connect(receiver)
    assert [7] == [reply.value for reply in bus.deliver("payment_confirmed", {"transaction": 7})]
    assert [8] == [reply.value for reply in asyncio.run(bus.adeliver("payment_confirmed", {"transaction": 8}))]


def test_coroutine_receivers_of_what_a_coroutine_does(bus):
    """A gateway that is used inside of an event loop has its receivers run to their end, in the same context."""
    whose = contextvars.ContextVar("whose")

    async def receiver(sender, **kwargs):
        await asyncio.sleep(0)
        return whose.get()

    class Receiver:
        async def __call__(self, sender, **kwargs):
            return whose.get()

    async def sell():
        whose.set("this sale's")
        return bus.deliver("payment_confirmed", {})

    other = Receiver()
    bus.signal.connect(receiver)
    bus.signal.connect(other)
    assert ["this sale's"] * 2 == [reply.value for reply in asyncio.run(sell())]


def test_coroutine_receiver_that_raises_stops_nobody(bus):
    """Isolation holds inside an event loop too."""

    async def raising(sender, **kwargs):
        raise KeyError("x")

    bus.signal.connect(raising)
    bus.signal.connect(lambda sender, **kwargs: "heard")
    replies = asyncio.run(bus.adeliver("payment_confirmed", {}))
    assert {"heard", None} == {reply.value for reply in replies}
