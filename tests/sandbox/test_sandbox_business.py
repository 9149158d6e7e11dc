"""Payments to businesses, taxes, Pochi, and payouts with an identity check."""

from __future__ import annotations

from decimal import Decimal

import pytest

from mpesa_core.sandbox import Behaviour, Customer, Delivery, Ending, Kind, Organisation, Rules


def codes(world, product="b2b"):
    world.daraja.run_until_idle()
    return [result["ResultCode"] for result in world.results(product)]


def test_a_business_is_paid_from_the_working_account(make_world, parameters):
    """Money leaves the working account, with the charge, and the result tells what is left."""
    world = make_world()
    status, answer = world.pay_business(Amount="190")
    world.daraja.run_until_idle()
    (entry,) = world.daraja.ledger.entries
    assert (200, "0") == (status, answer["ResponseCode"])
    assert (Kind.B2B, Decimal(190), "600000", "353353") == (
        entry.kind,
        entry.amount,
        entry.counterparty,
        entry.reference,
    )
    balances = world.daraja.ledger.balances("174379")
    assert (Decimal(999_810), Decimal(1_000_000)) == (balances.working, balances.utility)
    (result,) = world.results("b2b")
    told = parameters(result)
    assert ("0", entry.receipt) == (result["ResultCode"], result["TransactionID"])
    assert "{Amount={CurrencyCode=KES, MinimumAmount=99981000, BasicAmount=999810.00}}" == told["DebitAccountBalance"]
    assert ("190.00", "20261006095000", "600000 - Another Business") == (
        told["Amount"],
        told["TransCompletedTime"],
        told["ReceiverPartyPublicName"],
    )
    assert "Working Account|KES|999810.00|999810.00|0.00|0.00" == told["DebitPartyAffectedAccountBalance"]


@pytest.mark.parametrize(
    ("command", "changes", "moved"),
    [
        ("BusinessPayBill", {"PartyB": "600100"}, {("600100", "utility"): 50, ("174379", "working"): -50}),
        ("BusinessBuyGoods", {"PartyB": "600200"}, {("600100", "utility"): 50, ("174379", "working"): -50}),
        ("BusinessPayToBulk", {"PartyB": "600100"}, {("600100", "utility"): 50, ("174379", "working"): -50}),
        ("BusinessPayToBulk", {"PartyB": "174379"}, {("174379", "utility"): 50, ("174379", "working"): -50}),
        ("BusinessToBusinessTransfer", {"PartyB": "600100"}, {("600100", "working"): 50, ("174379", "working"): -50}),
        (
            "BusinessTransferFromMMFToUtility",
            {"PartyB": "174379"},
            {("174379", "utility"): 50, ("174379", "working"): -50},
        ),
        ("OrgRevenueSettlement", {"PartyB": "174379"}, {("174379", "settlement"): 50, ("174379", "utility"): -50}),
        ("MerchantToMerchantTransfer", {"PartyB": "600200"}, {("600100", "utility"): 50, ("174379", "utility"): -50}),
        (
            "MerchantTransferFromMerchantToWorking",
            {"PartyB": "174379"},
            {("174379", "working"): 50, ("174379", "utility"): -50},
        ),
        (
            "MerchantServicesMMFAccountTransfer",
            {"PartyB": "174379"},
            {("174379", "working"): 50, ("174379", "utility"): -50},
        ),
        ("AgencyFloatAdvance", {"PartyB": "600100"}, {("600100", "working"): 50, ("174379", "working"): -50}),
    ],
)
def test_each_command_moves_what_it_says(world, command, changes, moved):
    """Every command debits and credits its own accounts, where the receiver has books here."""
    accounts = [(code, name) for code in ("174379", "600100") for name in ("utility", "working", "settlement")]
    ledger = world.daraja.ledger
    before = {each: getattr(ledger.balances(each[0]), each[1]) for each in accounts}
    assert 200 == world.pay_business(CommandID=command, Amount="50", **changes)[0]
    assert ["0"] == codes(world)
    after = {each: getattr(ledger.balances(each[0]), each[1]) for each in accounts}
    assert moved == {each: after[each] - before[each] for each in accounts if after[each] != before[each]}


def test_the_transfer_that_is_refused(world):
    """From the utility to the working account is refused by API with 21, as production reports say."""
    world.pay_business(CommandID="DisburseFundsToBusiness", PartyB="174379")
    assert [21] == codes(world)
    assert () == world.daraja.ledger.entries


@pytest.mark.parametrize(
    "changes",
    [
        {"RecieverIdentifierType": "2"},
        {"PartyB": "600200"},
        {"CommandID": "BusinessBuyGoods", "PartyB": "600100"},
        {"CommandID": "BusinessBuyGoods", "PartyB": "600200", "RecieverIdentifierType": "1"},
        {"CommandID": "BusinessTransferFromMMFToUtility", "PartyB": "600100"},
    ],
)
def test_a_wrong_receiver(world, changes):
    """A receiver that is no such identifier is SFC_IC0003, with a dummy TransactionID, and nothing moves."""
    assert 200 == world.pay_business(**changes)[0]
    assert ["SFC_IC0003"] == codes(world)
    (result,) = world.results("b2b")
    assert result["TransactionID"].endswith("0000000")
    assert () == world.daraja.ledger.entries


def test_receivers_by_the_house_rules(make_world):
    """A till may want type 2 only, and an unknown short code may not exist."""
    world = make_world(rules=Rules(tills_want_type_2=True, strict_receivers=True))
    till = {"CommandID": "BusinessBuyGoods", "PartyB": "600200"}
    world.pay_business(**till)
    world.pay_business(**till, RecieverIdentifierType="2")
    world.pay_business(PartyB="600000")
    world.remit()
    assert ["SFC_IC0003", "0", "SFC_IC0003", "0"] == codes(world)


def test_an_empty_working_account(make_world):
    """What the working account does not hold is not paid, however much the utility account holds."""
    world = make_world()
    world.pay_business(Amount="999999.50")
    world.pay_business(Amount="0.51")
    assert ["0", 1] == codes(world)
    assert Decimal("0.50") == world.daraja.ledger.balances("174379").working


def test_charges(make_world, parameters):
    """A charge is told in the result, and owed."""
    world = make_world()
    world.daraja = type(world.daraja)(
        [Organisation(business_charge=Decimal(77))], post=world.post, clock=lambda: world.now
    )
    world.pay_business()
    world.daraja.run_until_idle()
    (result,) = world.results("b2b")
    assert "Business Pay Bill Charge|KES|77.00" == parameters(result)["DebitPartyCharges"]
    assert Decimal(-77) == world.daraja.ledger.balances("174379").charges


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"Initiator": ...}, "Initiator"),
        ({"SecurityCredential": ""}, "SecurityCredential"),
        ({"CommandID": "Pay"}, "CommandID"),
        ({"SenderIdentifierType": "2"}, "SenderIdentifierType"),
        ({"RecieverIdentifierType": "3"}, "RecieverIdentifierType"),
        ({"Amount": "1.234"}, "Amount"),
        ({"PartyA": "999999"}, "PartyA"),
        ({"PartyB": "x"}, "PartyB"),
        ({"AccountReference": ...}, "AccountReference"),
        ({"AccountReference": "x" * 14}, "AccountReference"),
        ({"Requester": "0700000000"}, "Requester"),
        ({"Remarks": ...}, "Remarks"),
        ({"Occassion": "x" * 101}, "Occassion"),
        ({"QueueTimeOutURL": ...}, "QueueTimeOutURL"),
        ({"ResultURL": "shop"}, "ResultURL"),
        ({"OriginatorConversationID": "with space"}, "OriginatorConversationID"),
    ],
)
def test_fields_are_checked(world, changes, expected):
    """Each field is refused by its name."""
    status, answer = world.pay_business(**changes)
    assert (400, f"Bad Request - Invalid {expected}") == (status, answer["errorMessage"])


def test_a_till_needs_no_reference(world):
    """The account reference is for paybills."""
    answer = world.pay_business(CommandID="BusinessBuyGoods", PartyB="600200", AccountReference=..., Requester=...)
    assert 200 == answer[0]


def test_an_originator_id_is_used_once(world):
    """A duplicate is refused across products, and pays once."""
    assert 200 == world.pay_business(OriginatorConversationID="o-1")[0]
    for answer in (world.pay_business(OriginatorConversationID="o-1"), world.payout(OriginatorConversationID="o-1")):
        assert (500, "Duplicate OriginatorConversationID.") == (answer[0], answer[1]["errorMessage"])
    world.daraja.run_until_idle()
    assert 1 == len(world.daraja.ledger.entries)


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (Ending.NO_FUNDS, 1),
        (Ending.WRONG_PIN, 2001),
        (Ending.LOCKED_CREDENTIAL, 8006),
        (Ending.NOT_PERMITTED, 21),
        (Ending.UNKNOWN_RECEIVER, "SFC_IC0003"),
        (Ending.INTERNAL_FAILURE, 17),
    ],
)
@pytest.mark.parametrize("product", ["b2b", "tax"])
def test_failures(world, product, ending, code):
    """Each failure moves nothing, with its code as a number or as M-PESA's text."""
    world.daraja.when(Behaviour(ending=ending), api=product)
    _ = world.pay_business() if product == "b2b" else world.remit()
    assert [code] == codes(world)
    assert () == world.daraja.ledger.entries


def test_a_wrong_operator(world):
    """A wrong password is found out afterwards, and goes before a wrong receiver."""
    world.pay_business(SecurityCredential="QUJDRA==", PartyB="600200")
    assert [2001] == codes(world)


def test_status_questions_know_payments_to_businesses(world, parameters):
    """A question by receipt and by originator id is told of the payment, its parties and its account."""
    world.pay_business(OriginatorConversationID="o-1")
    world.daraja.run_until_idle()
    receipt = world.daraja.ledger.entries[0].receipt
    world.status(OriginalConversationID="o-1")
    world.status(TransactionID=receipt)
    world.daraja.run_until_idle()
    for result in world.results("status"):
        told = parameters(result)
        assert ("Completed", receipt, 239, "o-1") == (
            told["TransactionStatus"],
            told["ReceiptNo"],
            told["Amount"],
            told["OriginatorConversationID"],
        )
        assert ("174379 - Duka Limited", "600000 - Another Business") == (
            told["DebitPartyName"],
            told["CreditPartyName"],
        )
        assert "Working Account" == told["DebitAccountType"]


def test_a_receiver_hears_of_it(world):
    """A business that registered its URLs gets a confirmation of a transfer between organisations."""
    world.register(ShortCode="600100")
    world.pay_business(PartyB="600100", AccountReference="INV-9")
    world.daraja.run_until_idle()
    (told,) = world.bodies("/confirm")
    assert ("Organization To Organization Transfer", "174379", "600100", "INV-9", "239.00") == (
        told["TransactionType"],
        told["MSISDN"],
        told["BusinessShortCode"],
        told["BillRefNumber"],
        told["TransAmount"],
    )


def test_a_tax_is_remitted(world):
    """The authority is the only receiver, and the number of the registration goes along."""
    assert 200 == world.remit()[0]
    world.daraja.run_until_idle()
    (entry,) = world.daraja.ledger.entries
    assert (Kind.TAX, "572572", "PRN1234XN") == (entry.kind, entry.counterparty, entry.reference)
    for changes, field in (
        ({"PartyB": "600000"}, "PartyB"),
        ({"CommandID": "BusinessPayBill"}, "CommandID"),
        ({"AccountReference": ...}, "AccountReference"),
    ):
        assert f"Bad Request - Invalid {field}" == world.remit(**changes)[1]["errorMessage"]


def test_notices_and_copies(world):
    """Deliveries are as for any result: notices, copies, late, early."""
    late = Behaviour(queue_timeout="before", deliver=(Delivery(copies=2), Delivery(delay=9)))
    world.daraja.script(late, Behaviour(deliver=(Delivery(early=True),)))
    world.pay_business()
    world.daraja.run_until_idle()
    assert ["timeout", "result", "result", "result"] == [url.rsplit("/", 1)[1] for url, _ in world.received]
    world.pay_business()
    assert 5 == len(world.received)


def test_a_pochi_is_paid(world, parameters):
    """Like a payout, under its own kind; an ordinary payout's command is taken too."""
    assert "pochi-1" == world.pochi()[1]["OriginatorConversationID"]
    world.pochi(OriginatorConversationID="pochi-2", CommandID="BusinessPayment")
    world.daraja.run_until_idle()
    assert [Kind.POCHI] * 2 == [entry.kind for entry in world.daraja.ledger.entries]
    assert Decimal(999_600) == world.daraja.ledger.balances("174379").utility
    assert 200 == parameters(world.results("b2c")[0])["TransactionAmount"]
    assert 500 == world.pochi()[0]
    assert (
        "Bad Request - Invalid OriginatorConversationID" == world.pochi(OriginatorConversationID=...)[1]["errorMessage"]
    )
    assert "Bad Request - Invalid CommandID" == world.payout(CommandID="BusinessPayToPochi")[1]["errorMessage"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [({}, 0), ({"IDNumber": "99999999"}, "R003"), ({"IDType": "05"}, "R002"), ({"PartyB": "254700000099"}, 0)],
)
def test_the_identity_is_checked(make_world, changes, code):
    """The document that is known must be the one that is named; of whom nothing is known, any is taken."""
    known = Customer(phone="254712345678", identities={"01": "12345678"})
    world = make_world(customers=[known])
    assert 200 == world.identity_payout(**changes)[0]
    assert [code] == codes(world, "b2c")
    assert (code == 0) == bool(world.daraja.ledger.total(Kind.B2C))


@pytest.mark.parametrize("changes", [{"IDType": ...}, {"IDType": "ID"}, {"IDNumber": ...}, {"IDNumber": "1 2"}])
def test_identity_fields_are_checked(world, changes):
    """Type and number of the document are needed."""
    status, answer = world.identity_payout(**changes)
    assert (400, f"Bad Request - Invalid {next(iter(changes))}") == (status, answer["errorMessage"])


def test_identity_endings_can_be_chosen(world):
    """A mismatch can be provoked where nothing is known of the customer."""
    world.daraja.when(Behaviour(ending=Ending.ID_MISMATCH), api="b2c_identity")
    world.identity_payout()
    assert ["R003"] == codes(world, "b2c")


def test_a_wrong_operator_goes_before_a_wrong_document(make_world):
    """Whose password is wrong learns nothing about a customer's documents."""
    world = make_world(customers=[Customer(phone="254712345678", identities={"01": "1"})])
    world.identity_payout(SecurityCredential="QUJDRA==")
    assert [2001] == codes(world, "b2c")


def test_nobody_hears_of_his_own_transfer(world):
    """Money between two accounts of one organisation is no customer's payment."""
    world.register()
    world.pay_business(CommandID="BusinessTransferFromMMFToUtility", PartyB="174379")
    assert ["0"] == codes(world)
    assert [] == world.bodies("/confirm")


@pytest.mark.parametrize(("reference", "expected"), [("353353", 353353), ("0353", "0353"), ("INV-1", "INV-1")])
def test_a_reference_that_looks_like_a_number(world, reference, expected):
    """It is one in a failure's reference items, unless digits would be lost."""
    world.daraja.when(Behaviour(ending=Ending.LOCKED_CREDENTIAL))
    world.pay_business(AccountReference=reference)
    world.daraja.run_until_idle()
    first = world.results("b2b")[0]["ReferenceData"]["ReferenceItem"][0]
    assert {"Key": "BillReferenceNumber", "Value": expected} == first
