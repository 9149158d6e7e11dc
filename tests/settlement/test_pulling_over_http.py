"""A pull by the real client over HTTP, against the local Daraja and its ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid5

import pytest

from mpesa_core.errors import RequestRefused
from mpesa_core.gateway import Gateway
from mpesa_core.payments.records import Status, TransactionDraft, TransactionType
from mpesa_core.repository.memory import MemoryRepository
from mpesa_core.sandbox import DarajaServer, LocalDaraja
from mpesa_core.sandbox.ledger import Entry, Kind
from mpesa_core.settings import Settings
from mpesa_core.settlement.engine import C2B_NAMESPACE

PHONE = "254708374149"


class Recorder:
    """A bus that keeps what it delivers."""

    def __init__(self):
        self.signals = []

    def deliver(self, signal, arguments):
        self.signals.append((signal, arguments))
        return []


def receipt(number):
    """A receipt of ten characters."""
    return f"SKL{number + 1:07d}"


def test_a_hundred_missed_ones_among_ten_thousand_over_http():
    """Registered, then pulled: exactly the 100 missed ones are found and announced once; a second pull finds none."""
    repository = MemoryRepository()
    begin = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=47)
    daraja = LocalDaraja(post=lambda url, body: 200)
    for number in range(10_000):
        at = begin + number * timedelta(seconds=16)
        paid = {"receipt": receipt(number), "amount": Decimal(100), "phone": PHONE, "reference": f"A{number}", "at": at}
        daraja.ledger.receive(Entry(kind=Kind.C2B, short_code="174379", **paid))
        if number % 100 != 7:
            repository.add(
                TransactionDraft(
                    id=uuid5(C2B_NAMESPACE, f"174379:{receipt(number)}"),
                    transaction_type=TransactionType.C2B,
                    status=Status.SUCCESS,
                    short_code="174379",
                    mpesa_receipt_number=receipt(number),
                    amount=Decimal(100),
                    initiated_at=at,
                    settled_at=at,
                    settled_by="confirmation",
                    confirmed_at=at,
                    generation=1,
                )
            )
    bus = Recorder()
    with DarajaServer(daraja) as server:
        settings = Settings(**daraja.settings(server.base_url), callback_base_url="https://shop.example/pay/")
        with Gateway(settings, repository, bus=bus, runner="inline") as gateway:
            start = datetime.now(UTC) - timedelta(hours=48)
            with pytest.raises(RequestRefused):
                gateway.pull(start)
            assert [False, True] == [gateway.register_pull(nominated_number=PHONE).already for _ in range(2)]
            first, second = gateway.pull(start), gateway.pull(start)
    missed = tuple(receipt(number) for number in range(7, 10_000, 100))
    assert (10_000, 9_900, missed, ()) == (first.rows, first.found, first.settled, first.ours_only)
    assert (10_000, 10_000, ()) == (second.rows, second.found, second.missing)
    assert first.complete
    assert second.complete
    fired = [arguments["transaction"] for signal, arguments in bus.signals if signal == "payment_confirmed"]
    assert list(missed) == [row.mpesa_receipt_number for row in fired]
