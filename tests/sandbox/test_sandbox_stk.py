from __future__ import annotations

from decimal import Decimal

import pytest

from mpesa_core.sandbox import Behaviour, Ending, Kind, QueryAnswer, Rules


def callbacks(world):
    return [body["Body"]["stkCallback"] for body in world.bodies("/stk")]


def values(callback):
    return {item["Name"]: item.get("Value") for item in callback["CallbackMetadata"]["Item"]}


def test_a_push_is_accepted_paid_and_reported(world):
    """The default customer pays, the ledger has it, and the callback tells of it once."""
    status, answer = world.push()
    posted = world.daraja.deliver_due()
    assert (200, "0") == (status, answer["ResponseCode"])
    (entry,) = world.daraja.ledger.entries
    assert (Kind.STK_PUSH, Decimal(100), "174379", "INV-1") == (
        entry.kind,
        entry.amount,
        entry.short_code,
        entry.reference,
    )
    (callback,) = callbacks(world)
    assert answer["CheckoutRequestID"] == callback["CheckoutRequestID"] == entry.checkout_request_id
    assert answer["MerchantRequestID"] == callback["MerchantRequestID"]
    assert 0 == callback["ResultCode"]
    told = values(callback)
    assert (Decimal("100.00"), entry.receipt, 20261006095000, 254712345678) == (
        told["Amount"],
        told["MpesaReceiptNumber"],
        told["TransactionDate"],
        told["PhoneNumber"],
    )
    assert [200] == [each.status for each in posted]
    assert () == world.daraja.pending()


def test_a_till_takes_buy_goods(world):
    """A till's store number signs, and its till number is paid."""
    assert 200 == world.call("/mpesa/stkpush/v1/processrequest", world.till_fields())[0]
    world.daraja.run_until_idle()
    assert 0 == callbacks(world)[0]["ResultCode"]
    assert "600100" == world.daraja.ledger.entries[0].short_code


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"BusinessShortCode": "12"}, "BusinessShortCode"),
        ({"BusinessShortCode": ...}, "BusinessShortCode"),
        ({"Password": ...}, "Password"),
        ({"Timestamp": "2026-10-06"}, "Timestamp"),
        ({"Timestamp": "20261306095000"}, "Timestamp"),
        ({"TransactionType": "CustomerPaybillOnline"}, "TransactionType"),
        ({"TransactionType": "CustomerBuyGoodsOnline"}, "TransactionType"),
        ({"Amount": "0"}, "Amount"),
        ({"Amount": "10.50"}, "Amount"),
        ({"Amount": 10.0}, "Amount"),
        ({"Amount": True}, "Amount"),
        ({"Amount": -5}, "Amount"),
        ({"PartyA": "0712345678"}, "PartyA"),
        ({"PartyB": "shop"}, "PartyB"),
        ({"PhoneNumber": "0712345678"}, "PhoneNumber"),
        ({"PhoneNumber": "+254712345678"}, "PhoneNumber"),
        ({"PhoneNumber": "254201234567"}, "PhoneNumber"),
        ({"CallBackURL": "shop.example/pay"}, "CallBackURL"),
        ({"CallBackURL": "https://shop.example/mpesa/callback"}, "CallBackURL"),
        ({"CallBackURL": ...}, "CallBackURL"),
        ({"AccountReference": "thirteen-long"}, "AccountReference"),
        ({"AccountReference": ""}, "AccountReference"),
        ({"TransactionDesc": ...}, "Remarks"),
    ],
)
def test_a_field_out_of_form_is_refused(world, changes, expected):
    """Each field is refused by its name, and nothing happens."""
    status, answer = world.push(**changes)
    assert (400, "400.002.02") == (status, answer["errorCode"])
    assert f"Bad Request - Invalid {expected}" == answer["errorMessage"]
    world.daraja.run_until_idle()
    assert () == world.daraja.ledger.entries
    assert [] == world.received


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"Password": "bm90IHRoZSBwYXNzd29yZA=="}, "[MerchantValidate] - Wrong credentials"),
        ({"Timestamp": "20261006095001"}, "[MerchantValidate] - Wrong credentials"),
        ({"BusinessShortCode": "999999"}, "Merchant does not exist"),
        ({"BusinessShortCode": "600200"}, "Merchant does not exist"),
    ],
)
def test_merchant_and_password_are_checked(world, changes, expected):
    """A wrong password and an unknown merchant share one code, and a till number is no merchant."""
    status, answer = world.push(**changes)
    assert (500, "500.001.1001", expected) == (status, answer["errorCode"], answer["errorMessage"])


def test_numbers_are_taken_where_text_is_usual(world):
    """Official samples mix numbers and text in one body."""
    assert 200 == world.push(BusinessShortCode=174379, Amount="1", PhoneNumber=254712345678)[0]


def test_the_wrong_receiver_is_found_out_afterwards(world):
    """A PartyB that does not belong to the merchant is accepted, and then not permitted."""
    world.push(PartyB="600200")
    world.daraja.run_until_idle()
    assert [2028] == [each["ResultCode"] for each in callbacks(world)]
    assert () == world.daraja.ledger.entries


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (Ending.CANCEL, 1032),
        (Ending.EXPIRE, 1019),
        (Ending.WRONG_PIN, 2001),
        (Ending.NO_FUNDS, 1),
        (Ending.UNREACHABLE, 1037),
        (Ending.LOCKED_SUBSCRIBER, 1001),
        (Ending.LOCKED_CREDENTIAL, 8006),
        (Ending.INTERNAL_FAILURE, 9999),
    ],
)
def test_a_push_that_is_not_paid(world, ending, code):
    """Each ending has M-PESA's own code, no items, and moves nothing; the query says the same as text."""
    world.daraja.when(Behaviour(ending=ending), api="stk_push")
    _, answer = world.push()
    world.daraja.run_until_idle()
    (callback,) = callbacks(world)
    assert code == callback["ResultCode"]
    assert "CallbackMetadata" not in callback
    assert () == world.daraja.ledger.entries
    status, told = world.query(answer["CheckoutRequestID"])
    assert (200, str(code)) == (status, told["ResultCode"])


def test_a_code_of_ones_own(world):
    """Any code can be made to happen."""
    world.daraja.when(Behaviour(code="SFC_IC0003", description="Whatever."))
    world.push()
    world.daraja.run_until_idle()
    (callback,) = callbacks(world)
    assert ("SFC_IC0003", "Whatever.") == (callback["ResultCode"], callback["ResultDesc"])
    assert () == world.daraja.ledger.entries


def test_an_undecided_push(world):
    """Never decided: no callback, and every query says still processing."""
    world.daraja.when(Behaviour(ending=Ending.NEVER))
    _, answer = world.push()
    world.daraja.run_until_idle()
    assert [] == world.received
    world.wait(86_400)
    world.token = None
    status, told = world.query(answer["CheckoutRequestID"])
    assert (200, "4999", "The transaction is still under processing") == (
        status,
        told["ResultCode"],
        told["ResultDesc"],
    )


def test_one_prompt_per_phone(world):
    """A second push to a phone with an open prompt is refused, until it is answered or has lapsed."""
    world.daraja.when(Behaviour(after=30), times=1)
    world.push()
    status, answer = world.push()
    assert (500, "500.001.1001") == (status, answer["errorCode"])
    assert answer["errorMessage"].startswith("Unable to lock subscriber")
    assert 200 == world.push(PhoneNumber="254112345678")[0]
    world.wait(30)
    assert 200 == world.push()[0]


def test_a_prompt_lapses(make_world):
    """A prompt that nobody answers locks the phone for its lifetime only."""
    world = make_world(rules=Rules(prompt_lifetime=60))
    world.daraja.when(Behaviour(ending=Ending.NEVER), times=1)
    world.push()
    world.wait(59)
    assert 500 == world.push()[0]
    world.wait(1)
    assert 200 == world.push()[0]


def test_an_expiring_prompt_takes_its_lifetime(world):
    """Expiry comes after the prompt's lifetime, not at once."""
    world.daraja.when(Behaviour(ending=Ending.EXPIRE))
    _, answer = world.push()
    world.wait(59)
    assert [] == world.daraja.deliver_due()
    assert "4999" == world.query(answer["CheckoutRequestID"])[1]["ResultCode"]
    world.wait(1)
    assert 1 == len(world.daraja.deliver_due())
    assert "1019" == world.query(answer["CheckoutRequestID"])[1]["ResultCode"]


def test_a_query_about_a_paid_push(world):
    """The answer is all text, without receipt and amount, and needs no delivered callback."""
    _, answer = world.push()
    status, told = world.query(answer["CheckoutRequestID"])
    assert (200, "0", "0") == (status, told["ResponseCode"], told["ResultCode"])
    assert all(isinstance(value, str) for value in told.values())
    assert answer["MerchantRequestID"] == told["MerchantRequestID"]


def test_a_query_about_an_unknown_push(world):
    """An unknown id is told that the transaction does not exist."""
    status, told = world.query("ws_CO_unknown")
    assert (500, "500.001.1001", "The transaction does not Exist") == (status, told["errorCode"], told["errorMessage"])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (QueryAnswer.INVALID_ID, (400, "400.002.02", "Bad Request - Invalid CheckoutRequestID")),
        (QueryAnswer.NO_TRANSACTION, (404, "01", "No transaction found")),
        (QueryAnswer.BEING_PROCESSED, (500, "500.001.1001", "The transaction is being processed")),
    ],
)
def test_a_query_that_comes_too_early(make_world, answer, expected):
    """Before a push is visible, the query gets the configured answer of those that Daraja is known for."""
    world = make_world(rules=Rules(query_visible_after=20, unknown_query=answer))
    checkout = world.push()[1]["CheckoutRequestID"]
    status, told = world.query(checkout)
    assert expected == (status, told["errorCode"], told["errorMessage"])
    assert (answer is not QueryAnswer.NO_TRANSACTION) == ("requestId" in told)
    world.wait(20)
    assert "0" == world.query(checkout)[1]["ResultCode"]


def test_queries_in_sequence(world):
    """Scripted answers come first, one each, and then the truth."""
    script = (QueryAnswer.DOES_NOT_EXIST, QueryAnswer.STILL_PROCESSING, QueryAnswer.BEING_PROCESSED)
    world.daraja.when(Behaviour(query=(*script, QueryAnswer.SPIKE_ARREST)))
    checkout = world.push()[1]["CheckoutRequestID"]
    answers = [world.query(checkout) for _ in range(5)]
    assert [500, 200, 500, 429, 200] == [status for status, _ in answers]
    assert "4999" == answers[1][1]["ResultCode"]
    assert checkout == answers[2][1]["requestId"]
    assert "policies.ratelimit.SpikeArrestViolation" == answers[3][1]["fault"]["detail"]["errorcode"]
    assert "0" == answers[4][1]["ResultCode"]


def test_a_query_that_disagrees(world):
    """The query may be made to contradict the callback; the ledger keeps the truth."""
    world.daraja.when(Behaviour(query_says=Ending.CANCEL))
    checkout = world.push()[1]["CheckoutRequestID"]
    world.daraja.run_until_idle()
    assert "1032" == world.query(checkout)[1]["ResultCode"]
    assert 0 == callbacks(world)[0]["ResultCode"]
    assert 1 == len(world.daraja.ledger.entries)


def test_queries_are_limited(make_world):
    """With a limit, one query too many in a minute is a spike arrest with the time to wait."""
    world = make_world(rules=Rules(queries_per_minute=5))
    checkout = world.push()[1]["CheckoutRequestID"]
    assert [200] * 5 == [world.query(checkout)[0] for _ in range(5)]
    world.wait(20)
    assert 429 == world.query(checkout)[0]
    world.wait(40)
    assert 200 == world.query(checkout)[0]


def test_another_merchants_push_is_unknown(world):
    """A query under another short code finds nothing."""
    checkout = world.call("/mpesa/stkpush/v1/processrequest", world.till_fields())[1]["CheckoutRequestID"]
    assert 500 == world.query(checkout)[0]


def test_an_stk_payment_can_be_reported_through_c2b_too(world):
    """The confirmation has the same receipt, and comes before or after the STK callback as asked."""
    world.register()
    world.daraja.script(Behaviour(also_c2b="before"), Behaviour(also_c2b="after"))
    world.push()
    world.push()
    world.daraja.run_until_idle()
    ends = [url.rsplit("/", 1)[1] for url, _ in world.received]
    assert ["confirm", "stk", "stk", "confirm"] == ends
    receipts = {values(each)["MpesaReceiptNumber"] for each in callbacks(world)}
    assert receipts == {body["TransID"] for body in world.bodies("/confirm")}
    assert {"INV-1"} == {body["BillRefNumber"] for body in world.bodies("/confirm")}
    assert 2 == len(world.daraja.ledger.entries)


def test_stk_callbacks_may_mask_the_phone(make_world):
    """With the house rule on, the phone number comes masked, as text."""
    world = make_world(rules=Rules(mask_stk_phone=True))
    world.push()
    world.daraja.run_until_idle()
    assert "254712***678" == values(callbacks(world)[0])["PhoneNumber"]


def test_identifiers_and_receipts_are_unique(world):
    """A thousand payments in one second have a thousand receipts and identifiers."""
    for _ in range(1100):
        world.push()
    world.daraja.run_until_idle()
    entries = world.daraja.ledger.entries
    assert 1100 == len({entry.receipt for entry in entries}) == len({entry.checkout_request_id for entry in entries})
    assert all(entry.receipt.startswith("UJ6") and len(entry.receipt) == 10 for entry in entries)
