"""Django's signals and the bus: every receiver in isolation, with the sender that the signal is about."""

import asyncio
import logging

import pytest

pytest.importorskip("django")

from django.db import connections
from django.test.utils import CaptureQueriesContext

from mpesa_core import signals as core
from mpesa_django import signals
from mpesa_django.signals import DjangoBus
from tests.django.hosting import Callback, Transaction
from tests.django.stores import Order

BUS = DjangoBus(Transaction, Callback, "invoice model", "subscription model")


@pytest.fixture
def connect():
    """Connects receivers, which this fixture holds and disconnects."""
    held = []

    def connected(signal, receiver, **options):
        signal.connect(receiver, weak=False, **options)
        held.append((signal, receiver, options))

    yield connected
    for signal, receiver, options in held:
        signal.disconnect(receiver, **options)


def raising(**_):
    raise RuntimeError("the number is 254712345678")


async def answering(**_):
    return "from a coroutine"


def test_every_signal_of_the_core_is_there():
    """The names are the core's, in the module and in SIGNALS."""
    assert set(core.SIGNALS) == set(signals.SIGNALS)
    assert {*core.SIGNALS} < {*signals.__all__}


def both_ways(signal, arguments):
    return BUS.deliver(signal, arguments), asyncio.run(BUS.adeliver(signal, arguments))


@pytest.mark.parametrize("database", ["django_sqlite", "django_postgres"])
def test_autocommit_that_a_receiver_leaves_off(connect, request, database):
    """What it began is rolled back and its connection given up; one that is as it should be is left, without a query."""
    alias = request.getfixturevalue(database)
    connection = connections[alias]
    connection.ensure_connection()
    before = connection.connection
    with CaptureQueriesContext(connection) as asked:
        BUS.deliver("payment_confirmed", {})
    assert (before, []) == (connection.connection, asked.captured_queries)

    def leaving(**_):
        connection.set_autocommit(False)
        Order.objects.using(alias).create(name="never committed")

    connect(signals.payment_confirmed, leaving)
    BUS.deliver("payment_confirmed", {})
    assert connection.get_autocommit()
    assert not Order.objects.using(alias).filter(name="never committed").exists()


def test_one_receiver_that_raises_stops_no_other(connect, caplog):
    """The error is a reply, the others ran, async ones too, and the log has the class without the text."""
    heard = []
    connect(signals.payment_confirmed, raising)
    connect(signals.payment_confirmed, lambda **given: heard.append(given))
    connect(signals.payment_confirmed, answering)
    with caplog.at_level(logging.WARNING):
        replies_of_both = both_ways("payment_confirmed", {"transaction": "row"})
    for replies in replies_of_both:
        assert [RuntimeError, type(None), type(None)] == [type(reply.error) for reply in replies]
        assert [None, None, "from a coroutine"] == [reply.value for reply in replies]
    assert 2 == len(heard)
    assert ["mpesa_core.signals"] * 2 == [record.name for record in caplog.records]
    assert "RuntimeError" in caplog.text
    assert "254712345678" not in caplog.text


def test_a_rejection_comes_back(connect):
    """What a receiver of a validation returns is its reply's value, for the core to judge."""
    rejection = {"ResultCode": "C2B00012", "ResultDesc": "Rejected"}
    connect(signals.c2b_validation_received, lambda **_: rejection)
    for replies in both_ways("c2b_validation_received", {"raw_payload": {}}):
        assert [rejection] == [reply.value for reply in replies]


@pytest.mark.parametrize(
    ("signal", "sender"),
    [
        ("payment_confirmed", Transaction),
        ("settlement_conflict", Transaction),
        ("callback_received", Callback),
        ("c2b_validation_received", Callback),
        ("balance_received", Callback),
        ("invoice_paid", "invoice model"),
        ("subscription_charged", "subscription model"),
    ],
)
def test_the_sender_is_the_model_that_it_is_about(connect, signal, sender):
    """A receiver that is connected for one sender hears of no other."""
    heard = []
    connect(signals.SIGNALS[signal], lambda sender, **_: heard.append(sender), sender=sender)
    connect(signals.SIGNALS[signal], lambda **_: heard.append("wrong"), sender=object())
    BUS.deliver(signal, {})
    assert [sender] == heard
