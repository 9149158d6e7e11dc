"""Express checkouts: another business is prompted to pay."""

from __future__ import annotations

from decimal import Decimal

import pytest

from mpesa_core.sandbox import Behaviour, Delivery, Ending, Kind


def told(world):
    world.daraja.run_until_idle()
    return world.bodies("/express")


def test_a_business_pays(world):
    """The money comes into the utility account, and the callback names request, receipt and conversation."""
    assert (200, {"code": "0", "status": "USSD Initiated Successfully"}) == world.prompt_business()
    (callback,) = told(world)
    (entry,) = world.daraja.ledger.entries
    assert (Kind.EXPRESS_CHECKOUT, Decimal(71), "000001", "174379") == (
        entry.kind,
        entry.amount,
        entry.counterparty,
        entry.short_code,
    )
    assert Decimal(1_000_071) == world.daraja.ledger.balances("174379").utility
    assert ("0", "r-1", "71.0", entry.receipt, "SUCCESS") == tuple(
        callback[name] for name in ("resultCode", "requestId", "amount", "transactionId", "status")
    )


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (Ending.CANCEL, "4001"),
        (Ending.KYC_FAILED, "4102"),
        (Ending.NO_NOMINATED_NUMBER, "4104"),
        (Ending.UNREACHABLE, "4201"),
        (Ending.INTERNAL_FAILURE, "4203"),
    ],
)
def test_it_does_not_pay(world, ending, code):
    """Each failure has its code as text, the payment's reference, and no receipt."""
    world.daraja.when(Behaviour(ending=ending))
    world.prompt_business()
    (callback,) = told(world)
    assert (code, "paymentRef") == (callback["resultCode"], callback["paymentReference"])
    assert {"transactionId", "conversationID", "status"}.isdisjoint(callback)
    assert () == world.daraja.ledger.entries


def test_a_payer_with_books_here(world):
    """A till that has an account here is debited, and one that is short does not pay."""
    world.prompt_business(primaryShortCode="600200")
    world.prompt_business(primaryShortCode="600200", amount="1000000", RequestRefID="r-2")
    assert ["0", "1"] == [each["resultCode"] for each in told(world)]
    assert Decimal(999_929) == world.daraja.ledger.balances("600100").working


def test_deliveries(world):
    """Twice, wrong, never: as for any callback."""
    world.daraja.script(
        Behaviour(deliver=(Delivery(copies=2), Delivery(says=Ending.CANCEL, delay=5))),
        Behaviour(deliver=()),
        Behaviour(ending=Ending.NEVER),
    )
    for _ in range(3):
        world.prompt_business()
    assert ["0", "0", "4001"] == [each["resultCode"] for each in told(world)]
    assert 2 == len(world.daraja.ledger.entries)


def test_its_payment_goes_back(world):
    """What came in can be reversed."""
    world.prompt_business()
    world.daraja.run_until_idle()
    receipt = world.daraja.ledger.entries[0].receipt
    world.reverse(receipt, Amount=71)
    world.daraja.run_until_idle()
    assert [0] == [each["ResultCode"] for each in world.results("reversal")]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("primaryShortCode", "till"),
        ("receiverShortCode", "600000"),
        ("receiverShortCode", "600200"),
        ("amount", "7.50"),
        ("paymentRef", ""),
        ("callbackUrl", "shop"),
        ("partnerName", ...),
        ("RequestRefID", ...),
    ],
)
def test_fields_are_checked(world, field, value):
    """Each field is refused by its name."""
    status, answer = world.prompt_business(**{field: value})
    assert (400, f"Bad Request - Invalid {field}") == (status, answer["errorMessage"])


def test_rules_match_it(world):
    """A rule may name amount, reference and short code."""
    for rule in ({"amount": 71}, {"reference": "paymentRef"}, {"short_code": "174379"}):
        world.daraja.forget_rules()
        world.daraja.when(Behaviour(ending=Ending.CANCEL), **rule)
        world.prompt_business()
        assert "4001" == told(world)[-1]["resultCode"]
