from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from mpesa_core.sandbox import Entry, Kind, Ledger
from mpesa_core.sandbox.behaviour import Ending
from mpesa_core.sandbox.identifiers import Identifiers
from mpesa_core.sandbox.ledger import Declined

NOW = datetime(2026, 10, 6, 6, 50, tzinfo=UTC)


def entry(receipt, kind=Kind.C2B, amount=100, **more):
    return Entry(receipt=receipt, kind=kind, short_code="174379", amount=Decimal(amount), at=NOW, **more)


@pytest.fixture
def ledger():
    made = Ledger()
    made.open("174379", utility=Decimal(50), working=Decimal(7))
    return made


def test_money_in_and_out(ledger):
    """Balances follow the entries, and charges are counted apart."""
    ledger.receive(entry("A"))
    ledger.pay_out(entry("B", Kind.B2C, 120), charge=Decimal(5))
    balances = ledger.balances("174379")
    assert (Decimal(30), Decimal(7), Decimal(-5)) == (balances.utility, balances.working, balances.charges)
    assert Decimal(220) == ledger.total((Kind.C2B, Kind.B2C)) == ledger.total(Kind, short_code="174379")
    assert Decimal(0) == ledger.total(Kind.C2B, short_code="600000")


def test_a_receipt_is_one_movement(ledger):
    """A receipt cannot be entered twice."""
    ledger.receive(entry("A"))
    with pytest.raises(ValueError, match="receipt A"):
        ledger.receive(entry("A"))
    assert Decimal(150) == ledger.balances("174379").utility


def test_a_refused_movement_changes_nothing(ledger):
    """What the account does not hold is declined, and neither balance nor entries change."""
    with pytest.raises(Declined) as caught:
        ledger.pay_out(entry("A", Kind.B2C, 51))
    assert Ending.NO_FUNDS is caught.value.ending
    assert Decimal(50) == ledger.balances("174379").utility
    assert () == ledger.entries


def test_a_reversal_needs_the_money(ledger):
    """A payment cannot go back from an account that was emptied since."""
    ledger.receive(entry("A"))
    ledger.pay_out(entry("B", Kind.B2C, 100))
    with pytest.raises(Declined):
        ledger.give_back(entry("C", Kind.REVERSAL, 100, original_receipt="A"))
    assert not ledger.get("A").reversed


def test_an_unknown_organisation_has_no_balances(ledger):
    """There are no books for a stranger."""
    with pytest.raises(KeyError):
        ledger.balances("600000")


def test_entries_show_no_phone(ledger):
    """The phone number stays out of the repr."""
    assert "254712345678" not in repr(entry("A", phone="254712345678"))


@pytest.mark.parametrize(
    ("moment", "letters"),
    [
        (datetime(2019, 12, 19, 12, tzinfo=UTC), "NLJ"),
        (datetime(2024, 7, 6, 12, tzinfo=UTC), "SG6"),
        (datetime(2026, 10, 6, 12, tzinfo=UTC), "UJ6"),
        (datetime(2026, 10, 30, 21, 30, tzinfo=UTC), "UJV"),
    ],
)
def test_receipts_begin_with_the_date(moment, letters):
    """The first three characters are year, month and day in Nairobi, as in captured receipts."""
    source = Identifiers(1)
    assert letters == source.receipt(moment)[:3]
    assert letters + "0000000" == source.dummy_receipt(moment)


def test_identifiers_have_their_forms():
    """Conversation and checkout ids look like M-PESA's, and a seed repeats them."""
    first, second = Identifiers(3), Identifiers(3)
    assert first.conversation_id(NOW) == second.conversation_id(NOW)
    assert first.conversation_id(NOW).startswith("AG_20261006_2010")
    checkout = first.checkout_request_id(NOW, "254712345678")
    assert checkout.startswith("ws_CO_06102026095000")
    assert checkout.endswith("712345678")
    assert 344 == len(first.credential())
