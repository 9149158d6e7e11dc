from __future__ import annotations

from decimal import Decimal

import pytest

from mpesa_core.sandbox import Behaviour, Ending, Kind


def paid(world, amount=100):
    """The receipt of a payment that came in."""
    return world.daraja.customer_pays(amount=amount, reference="A").receipt


def test_a_payout_is_paid(world, parameters):
    """Money leaves the utility account, and the result carries receipt, receiver and balances."""
    status, answer = world.payout()
    world.daraja.run_until_idle()
    assert (200, "payout-1", "0") == (status, answer["OriginatorConversationID"], answer["ResponseCode"])
    (entry,) = world.daraja.ledger.entries
    assert (Kind.B2C, Decimal(200), "254712345678") == (entry.kind, entry.amount, entry.phone)
    assert Decimal(999_800) == world.daraja.ledger.balances("174379").utility
    (result,) = world.results("b2c")
    assert (0, "payout-1", answer["ConversationID"], entry.receipt) == tuple(
        result[name] for name in ("ResultCode", "OriginatorConversationID", "ConversationID", "TransactionID")
    )
    told = parameters(result)
    assert (200, entry.receipt, "06.10.2026 09:50:00", Decimal("999800.00")) == (
        told["TransactionAmount"],
        told["TransactionReceipt"],
        told["TransactionCompletedDateTime"],
        told["B2CUtilityAccountAvailableFunds"],
    )


def test_version_one_has_an_id_of_darajas_own(world):
    """v1 takes no OriginatorConversationID, so equal requests are two payouts."""
    first, second = world.payout("v1")[1], world.payout("v1")[1]
    world.daraja.run_until_idle()
    assert first["OriginatorConversationID"] != second["OriginatorConversationID"]
    assert 2 == len(world.daraja.ledger.entries)


def test_the_same_originator_id_pays_once(world):
    """A duplicate is refused, whatever else it says, and only one payout happens."""
    world.payout()
    status, answer = world.payout(Amount="999")
    assert (500, "500.002.1001", "Duplicate OriginatorConversationID.") == (
        status,
        answer["errorCode"],
        answer["errorMessage"],
    )
    world.daraja.run_until_idle()
    assert 1 == len(world.daraja.ledger.entries)


def test_a_refused_request_does_not_use_up_its_id(world):
    """An id is taken only by a request that was accepted."""
    assert 400 == world.payout(Amount="x")[0]
    assert 200 == world.payout()[0]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"OriginatorConversationID": ...}, "OriginatorConversationID"),
        ({"InitiatorName": ...}, "InitiatorName"),
        ({"SecurityCredential": ...}, "SecurityCredential"),
        ({"SecurityCredential": "not base64!"}, "SecurityCredential"),
        ({"CommandID": "Salary"}, "CommandID"),
        ({"Amount": "10.5"}, "Amount"),
        ({"PartyA": "999999"}, "PartyA"),
        ({"PartyB": "0712345678"}, "PartyB"),
        ({"Remarks": "x"}, "Remarks"),
        ({"Remarks": ...}, "Remarks"),
        ({"QueueTimeOutURL": ...}, "QueueTimeOutURL"),
        ({"ResultURL": "https://shop.example/exec"}, "ResultURL"),
        ({"Occassion": "x" * 101}, "Occassion"),
    ],
)
def test_a_payouts_fields_are_checked(world, changes, expected):
    """Each field is refused by its name."""
    status, answer = world.payout(**changes)
    assert (400, f"Bad Request - Invalid {expected}") == (status, answer["errorMessage"])
    assert () == world.daraja.ledger.entries


@pytest.mark.parametrize(("amount", "code"), [("9", 2), ("250001", 3)])
def test_limits_are_found_out_afterwards(world, amount, code):
    """Too little and too much are accepted and then fail."""
    assert 200 == world.payout(Amount=amount)[0]
    world.daraja.run_until_idle()
    assert [code] == [result["ResultCode"] for result in world.results("b2c")]
    assert () == world.daraja.ledger.entries


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (Ending.NO_FUNDS, 1),
        (Ending.WRONG_PIN, 2001),
        (Ending.NOT_PERMITTED, 2028),
        (Ending.NOT_A_CUSTOMER, 2040),
        (Ending.INTERNAL_FAILURE, 17),
    ],
)
def test_a_payout_that_fails(world, ending, code):
    """A failure has a TransactionID that looks like a receipt, no parameters, and moves nothing."""
    world.daraja.when(Behaviour(ending=ending))
    world.payout()
    world.daraja.run_until_idle()
    (result,) = world.results("b2c")
    assert code == result["ResultCode"]
    assert "ResultParameters" not in result
    assert 10 == len(result["TransactionID"])
    assert world.daraja.ledger.get(result["TransactionID"]) is None
    assert () == world.daraja.ledger.entries


def test_a_locked_operator(world):
    """The locked password's failure carries one parameter as an object, not a list."""
    world.daraja.when(Behaviour(ending=Ending.LOCKED_CREDENTIAL))
    world.payout()
    world.daraja.run_until_idle()
    (result,) = world.results("b2c")
    assert {"Key": "CreditPartyName", "Value": "254712345678 - JANE DOE"} == result["ResultParameters"][
        "ResultParameter"
    ]


def test_an_empty_account_pays_nothing(world):
    """The utility account's balance is checked when the payout is decided."""
    for number in range(5):
        world.payout(OriginatorConversationID=f"p{number}", Amount="250000")
    world.daraja.run_until_idle()
    assert [0, 0, 0, 0, 1] == [result["ResultCode"] for result in world.results("b2c")]
    assert Decimal(0) == world.daraja.ledger.balances("174379").utility


@pytest.mark.parametrize("changes", [{"InitiatorName": "nobody"}, {"SecurityCredential": "QUJDRA=="}])
def test_a_wrong_operator_is_found_out_afterwards(world, changes):
    """A wrong name or password is accepted and then fails with 2001."""
    assert 200 == world.payout(**changes)[0]
    world.daraja.run_until_idle()
    assert [2001] == [result["ResultCode"] for result in world.results("b2c")]
    assert () == world.daraja.ledger.entries


def test_a_credential_is_decrypted(world):
    """A password that was encrypted with the offered certificate is accepted, and another one is not."""
    pytest.importorskip("cryptography")
    from mpesa_core.initiator import security_credential

    for number, password in enumerate(("Safaricom999!*!", "wrong")):
        credential = security_credential(password, world.daraja.certificate, "http://localhost")
        world.payout(OriginatorConversationID=f"c{number}", SecurityCredential=credential)
    world.daraja.run_until_idle()
    assert [0, 2001] == [result["ResultCode"] for result in world.results("b2c")]


def test_a_payment_is_reversed(world, parameters):
    """The money goes back, under a receipt of its own that names the original, which is marked."""
    receipt = paid(world)
    before = world.daraja.ledger.balances("174379").utility
    assert 200 == world.reverse(receipt)[0]
    world.daraja.run_until_idle()
    (result,) = world.results("reversal")
    told = parameters(result)
    assert (0, Decimal("100.00"), receipt) == (result["ResultCode"], told["Amount"], told["OriginalTransactionID"])
    reversal = world.daraja.ledger.get(result["TransactionID"])
    assert (Kind.REVERSAL, receipt) == (reversal.kind, reversal.original_receipt)
    assert world.daraja.ledger.get(receipt).reversed
    assert before - 100 == world.daraja.ledger.balances("174379").utility


def test_a_payment_goes_back_once(world):
    """A second reversal of the same payment is R000001, and nothing more moves."""
    receipt = paid(world)
    world.reverse(receipt)
    world.reverse(receipt)
    world.daraja.run_until_idle()
    assert [0, "R000001"] == [result["ResultCode"] for result in world.results("reversal")]
    assert Decimal(100) == world.daraja.ledger.total(Kind.REVERSAL)


def test_a_payment_goes_back_in_parts(world):
    """Parts may go back until nothing is left, and never more than was paid."""
    receipt = paid(world)
    for amount in ("60", "60", "40", "1"):
        world.reverse(receipt, Amount=amount)
        world.daraja.run_until_idle()
    assert [0, 1, 0, "R000001"] == [result["ResultCode"] for result in world.results("reversal")]
    assert Decimal(100) == world.daraja.ledger.get(receipt).returned


def test_what_cannot_be_reversed(world):
    """An unknown receipt, a payout's, and another organisation's payment are R000002 with a dummy TransactionID."""
    world.payout()
    world.daraja.run_until_idle()
    payout = world.daraja.ledger.entries[0].receipt
    theirs = world.daraja.customer_pays(short_code="600200", amount=100).receipt
    for receipt in ("UJ61234567", payout, theirs):
        world.reverse(receipt)
    world.daraja.run_until_idle()
    results = world.results("reversal")
    assert ["R000002"] * 3 == [result["ResultCode"] for result in results]
    assert all(result["TransactionID"].endswith("0000000") and "ResultParameters" not in result for result in results)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"TransactionID": "lower"}, "TransactionID"),
        ({"CommandID": "Reversal"}, "CommandID"),
        ({"Amount": 0}, "Amount"),
        ({"ReceiverParty": "999999"}, "ReceiverParty"),
        ({"RecieverIdentifierType": "1"}, "RecieverIdentifierType"),
        ({"Remarks": ""}, "Remarks"),
    ],
)
def test_a_reversals_fields_are_checked(world, changes, expected):
    """Each field is refused by its name."""
    status, answer = world.reverse("UJ61234567", **changes)
    assert (400, f"Bad Request - Invalid {expected}") == (status, answer["errorMessage"])


def test_queue_timeout_notices(world):
    """The notice echoes the request, before or after the result, or comes alone."""
    world.daraja.script(
        Behaviour(queue_timeout="before"),
        Behaviour(queue_timeout="after"),
        Behaviour(queue_timeout="before", deliver=()),
        Behaviour(queue_timeout="before", ending=Ending.NEVER),
    )
    for number in range(4):
        world.payout(OriginatorConversationID=f"q{number}")
    world.daraja.run_until_idle()
    ends = [(url.rsplit("/", 1)[1]) for url, _ in world.received]
    assert ["timeout", "result", "result", "timeout", "timeout", "timeout"] == ends
    notices = world.bodies("b2c/timeout")
    assert ["q0", "q1", "q2", "q3"] == [notice["OriginatorConversationID"] for notice in notices]
    assert "SecurityCredential" in notices[0]
    assert "Result" not in notices[0]
    assert 3 == len(world.daraja.ledger.entries)


def test_a_queue_timeout_notice_as_a_result(world):
    """The form that some SDKs expect is offered as well."""
    world.daraja.when(Behaviour(queue_timeout="before", queue_timeout_as_result=True))
    world.payout()
    world.daraja.run_until_idle()
    (notice,) = world.bodies("b2c/timeout")
    assert (1, "1") == (notice["Result"]["ResultType"], notice["Result"]["ResultCode"])
