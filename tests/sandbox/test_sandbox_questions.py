from __future__ import annotations

from decimal import Decimal

import pytest

from mpesa_core.sandbox import Behaviour, Ending, Rules


def told(world, parameters):
    world.daraja.run_until_idle()
    return parameters(world.results("status")[-1])


def test_status_by_receipt(world, parameters):
    """A payment that came in is Completed, with its own identifiers and not the question's."""
    world.push()
    world.daraja.run_until_idle()
    (entry,) = world.daraja.ledger.entries
    _, answer = world.status(TransactionID=entry.receipt, Occasion="why")
    told_now = told(world, parameters)
    assert ("Completed", entry.receipt, 100, entry.conversation_id, 20261006095000) == tuple(
        told_now[name] for name in ("TransactionStatus", "ReceiptNo", "Amount", "ConversationID", "FinalisedTime")
    )
    result = world.results("status")[-1]
    assert answer["ConversationID"] == result["ConversationID"] != told_now["ConversationID"]
    assert {"Key": "Occasion", "Value": "why"} == result["ReferenceData"]["ReferenceItem"]
    assert "254712345678 - JANE DOE" == told_now["DebitPartyName"]


def test_status_by_originator(world, parameters):
    """A payout is found by the id that its sender gave it, although its answer was lost."""
    world.payout()
    world.status(OriginalConversationID="payout-1")
    told_now = told(world, parameters)
    entry = world.daraja.ledger.entries[0]
    assert ("Completed", "payout-1", entry.receipt) == tuple(
        told_now[name] for name in ("TransactionStatus", "OriginatorConversationID", "ReceiptNo")
    )


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (Behaviour(ending=Ending.NO_FUNDS), "Declined"),
        (Behaviour(ending=Ending.NEVER), "Pending Authorized"),
        (Behaviour(after=60), "Pending Authorized"),
        (Behaviour(query_says=Ending.NO_FUNDS), "Declined"),
        (Behaviour(query_says=Ending.EXPIRE), "Expired"),
        (Behaviour(query_says=Ending.NEVER), "Pending Authorized"),
        (Behaviour(ending=Ending.NO_FUNDS, query_says=Ending.PAY), "Completed"),
    ],
)
def test_status_of_what_was_not_paid(world, parameters, behaviour, expected):
    """The status word follows the payout, or the contradiction that was asked for; a question that works is code 0."""
    world.daraja.when(behaviour, api="b2c")
    world.payout()
    world.status(OriginatorConversationID="payout-1")
    world.daraja.deliver_due()
    result = world.results("status")[-1]
    found = parameters(result)
    assert (0, expected) == (result["ResultCode"], found["TransactionStatus"])
    assert found["ReceiptNo"] is None or world.daraja.ledger.get(found["ReceiptNo"]) is not None


@pytest.mark.parametrize("question", [{"TransactionID": "UJ61234567"}, {"OriginalConversationID": "nobody"}])
def test_status_of_what_is_unknown(world, question):
    """Nothing known is 2032, without parameters."""
    world.status(**question)
    world.daraja.run_until_idle()
    (result,) = world.results("status")
    assert (2032, "The transaction receipt number does not exist.") == (result["ResultCode"], result["ResultDesc"])
    assert "ResultParameters" not in result
    assert result["TransactionID"].endswith("0000000")


def test_status_of_another_organisations_payment(world):
    """Another organisation's receipt is unknown."""
    theirs = world.daraja.customer_pays(short_code="600200", amount=5).receipt
    world.status(TransactionID=theirs)
    world.daraja.run_until_idle()
    assert 2032 == world.results("status")[0]["ResultCode"]


def test_the_acknowledgement_may_echo_the_original(make_world):
    """With that rule on, the answer to a question has the originator id that was asked about."""
    for echo in (False, True):
        world = make_world(rules=Rules(status_echoes_originator=echo))
        world.payout()
        assert echo == (world.status(OriginalConversationID="payout-1")[1]["OriginatorConversationID"] == "payout-1")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "TransactionID"),
        ({"TransactionID": "UJ61234567", "IdentifierType": "9"}, "IdentifierType"),
        ({"TransactionID": "UJ61234567", "PartyA": "999999"}, "PartyA"),
        ({"TransactionID": "UJ61234567", "CommandID": "Status"}, "CommandID"),
    ],
)
def test_a_status_questions_fields_are_checked(world, changes, expected):
    """Each field is refused by its name."""
    status, answer = world.status(**changes)
    assert (400, f"Bad Request - Invalid {expected}") == (status, answer["errorMessage"])


def test_balance(world, parameters):
    """Accounts come in one text, and payments and payouts have moved the utility account."""
    world.push()
    world.payout()
    world.balance()
    world.daraja.run_until_idle()
    found = parameters(world.results("balance")[0])
    accounts = found["AccountBalance"].split("&")
    assert "Utility Account|KES|999900.00|999900.00|0.00|0.00" in accounts
    assert "Working Account|KES|1000000.00|1000000.00|0.00|0.00" in accounts
    assert all(6 == len(account.split("|")) for account in accounts)
    assert 20261006095000 == found["BOCompletedTime"]
    assert Decimal(999_900) == world.daraja.ledger.balances("174379").utility


def test_balance_with_a_locked_password(world, parameters):
    """This failure does carry parameters, and a reference item without a value."""
    world.daraja.when(Behaviour(ending=Ending.LOCKED_CREDENTIAL), api="balance")
    world.balance()
    world.daraja.run_until_idle()
    (result,) = world.results("balance")
    assert (8006, "API Password is locked. ") == (result["ResultCode"], parameters(result)["ErrorMsg"])
    assert {"Key": "QueueTimeoutURL"} == result["ReferenceData"]["ReferenceItem"]


def test_the_wrong_operator_learns_nothing(world):
    """A wrong operator's question fails with 2001."""
    world.balance(Initiator="nobody")
    world.status(Initiator="nobody", TransactionID="UJ61234567")
    world.daraja.run_until_idle()
    assert [2001, 2001] == [world.results(product)[0]["ResultCode"] for product in ("balance", "status")]
