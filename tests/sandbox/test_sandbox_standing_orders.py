"""Standing orders: asked for, agreed to, and run."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from mpesa_core.sandbox import Behaviour, Ending, Kind, Rules

EXT = "Standing Order Pay Bill Ext-Third Party"


def told(world):
    """The codes and the data of every callback, whatever their spelling."""
    world.daraja.run_until_idle()
    found = []
    for body in world.bodies("/standing"):
        parts = {key.lower(): value for key, value in body.items()}
        header = {key.lower(): value for key, value in parts["responseheader"].items()}
        data = next(iter(parts["responsebody"].values()))
        items = [{key.lower(): value for key, value in item.items()} for item in data]
        found.append((header, {item["name"]: item["value"] for item in items}))
    return found


def test_a_customer_agrees(world):
    """The acceptance's reference comes back in the callback, with the id of the schedule; no money moves."""
    status, answer = world.standing_order()
    assert (200, "200") == (status, answer["ResponseHeader"]["responseCode"])
    ((header, data),) = told(world)
    assert ("0", answer["ResponseHeader"]["responseRefID"]) == (header["responsecode"], header["responserefid"])
    (order,) = world.daraja.standing_orders
    assert ("OKAY", "254******149", order.id) == (data["Status"], data["Msisdn"], data["TransactionID"])
    assert ("Rent", Decimal(4500), "FLAT-1", "4", "2025", date(2026, 11, 1), date(2027, 11, 1)) == (
        order.name,
        order.amount,
        order.reference,
        order.frequency,
        order.edition,
        order.start,
        order.end,
    )
    assert () == world.daraja.ledger.entries


def test_the_edition_of_2026(world):
    """It has a reference of the caller's own, a ninth frequency, and a second status."""
    world.standing_order(TransactionType=EXT, CustomStoId="mine-1", Frequency="9")
    ((header, data),) = told(world)
    assert ("mine-1", "ACTIVE", "OKAY") == (header["requestrefid"], data["status"], data["Status"])
    assert "2026" == world.daraja.standing_orders[0].edition


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (Ending.CANCEL, "1032"),
        (Ending.UNREACHABLE, "1037"),
        (Ending.WRONG_PIN, "2001"),
        (Ending.LOCKED_SUBSCRIBER, "1001"),
        (Ending.INTERNAL_FAILURE, "1025"),
    ],
)
def test_a_customer_does_not_agree(world, ending, code):
    """There is no order then, and the callback says so in PascalCase with a dummy id."""
    world.daraja.when(Behaviour(ending=ending))
    world.standing_order()
    ((header, data),) = told(world)
    assert (code, "ERROR", "0000000000", "*********149") == (
        header["responsecode"],
        data["Status"],
        data["TransactionID"],
        data["Msisdn"],
    )
    assert {"ResponseHeader", "ResponseBody"} == set(world.bodies("/standing")[0])
    assert () == world.daraja.standing_orders


def test_a_name_is_used_once(world):
    """A second order of the same name ends in 1050 for that customer, and not for another."""
    for phone in ("254708374149", "254708374149", "254712345678"):
        world.standing_order(PartyA=phone)
    assert ["0", "1050", "0"] == [header["responsecode"] for header, _ in told(world)]
    assert 2 == len(world.daraja.standing_orders)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"StandingOrderName": ""}, "StandingOrderName"),
        ({"StartDate": "2026-11-01"}, "StartDate"),
        ({"StartDate": "20261301"}, "StartDate"),
        ({"EndDate": "20261031"}, "EndDate"),
        ({"TransactionType": "Standing Order"}, "TransactionType"),
        ({"TransactionType": "Standing Order Customer Pay Marchant"}, "TransactionType"),
        ({"ReceiverPartyIdentifierType": "2"}, "ReceiverPartyIdentifierType"),
        ({"Amount": "45.5"}, "Amount"),
        ({"PartyA": "0708374149"}, "PartyA"),
        ({"CallBackURL": "x"}, "CallBackURL"),
        ({"AccountReference": "x" * 13}, "AccountReference"),
        ({"TransactionDesc": ""}, "TransactionDesc"),
        ({"Frequency": "9"}, "Frequency"),
        ({"Frequency": "0"}, "Frequency"),
        ({"TransactionType": EXT, "Frequency": "10"}, "Frequency"),
        ({"TransactionType": EXT, "CustomStoId": "with space"}, "CustomStoId"),
    ],
)
def test_fields_are_checked(world, changes, field):
    """Each field is refused by its name, in the product's own envelope."""
    status, answer = world.standing_order(**changes)
    assert (400, 400, f"Value in field '{field}' is invalid") == (
        status,
        answer["responseCode"],
        answer["responseMessage"],
    )


def test_a_short_code_of_somebody_else(world):
    """The captured refusal."""
    expected = "Value in field 'BusinessShortCode' can only be what was issued for this application"
    assert expected == world.standing_order(BusinessShortCode="600000")[1]["responseMessage"]


def test_it_runs(world):
    """A payment is an ordinary one: validated, confirmed with the order's account reference, and in the ledger."""
    world.register()
    world.standing_order()
    for _ in range(2):
        assert world.daraja.run_standing_order("FLAT-1").paid
    world.daraja.run_until_idle()
    confirmations = world.bodies("/confirm")
    assert [("FLAT-1", "4500.00", "Pay Bill")] * 2 == [
        (each["BillRefNumber"], each["TransAmount"], each["TransactionType"]) for each in confirmations
    ]
    assert 2 == len(world.bodies("/validate"))
    entries = world.daraja.ledger.entries
    assert [Kind.C2B] * 2 == [entry.kind for entry in entries]
    assert {each["TransID"] for each in confirmations} == {entry.receipt for entry in entries}


def test_it_runs_to_a_till(world):
    """An order to a till pays the till, without a reference."""
    world.register(ShortCode="600100")
    world.standing_order(
        BusinessShortCode="600200",
        TransactionType="Standing Order Customer Pay Marchant",
        ReceiverPartyIdentifierType="2",
    )
    world.daraja.run_standing_order()
    world.daraja.run_until_idle()
    (told_,) = world.bodies("/confirm")
    assert ("Customer Merchant Payment", "600100", "") == tuple(
        told_[name] for name in ("TransactionType", "BusinessShortCode", "BillRefNumber")
    )


def test_it_does_not_run(world):
    """A customer without money does not pay; no order, or several, is an error."""
    with pytest.raises(LookupError, match="found 0"):
        world.daraja.run_standing_order()
    world.standing_order()
    world.standing_order(PartyA="254712345678")
    with pytest.raises(LookupError, match="found 2"):
        world.daraja.run_standing_order("Rent")
    short = Behaviour(ending=Ending.NO_FUNDS)
    assert not world.daraja.run_standing_order("Rent", phone="0712345678", behaviour=short).paid
    assert () == world.daraja.ledger.entries


def test_it_takes_its_time(make_world):
    """The decision waits for the sandbox's pace."""
    world = make_world(rules=Rules(decide_after=30))
    world.standing_order()
    assert () == world.daraja.standing_orders
    world.wait(30)
    assert 1 == len(world.daraja.standing_orders)
