from __future__ import annotations

import hashlib
from decimal import Decimal

import pytest

from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.sandbox import MALFORMED, Behaviour, Delivery, Ending, Kind, Organisation, Rules

VALIDATE = "https://shop.example/pay/validate"


def test_registration_answers_as_each_version_does(world):
    """v1 says 0 and success, v2 eight zeros and Success, both under a misspelt id."""
    status, first = world.register("v1")
    _, second = world.register("v2")
    assert (200, "0", "success") == (status, first["ResponseCode"], first["ResponseDescription"])
    assert ("00000000", "Success") == (second["ResponseCode"], second["ResponseDescription"])
    assert "OriginatorCoversationID" in first


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ResponseType": "completed"}, (400, "400.002.02", "Bad Request - Invalid ResponseType")),
        ({"ConfirmationURL": ...}, (400, "400.002.02", "Bad Request - Invalid ConfirmationURL")),
        ({"ValidationURL": "https://x.example/sql"}, (400, "400.002.02", "Bad Request - Invalid ValidationURL")),
        ({"ShortCode": "999999"}, (400, "400.003.02", "Bad Request - Kindly use your own ShortCode")),
    ],
)
def test_registration_is_checked(world, changes, expected):
    """Spelling, URLs and ownership are checked."""
    status, answer = world.register(**changes)
    assert expected == (status, answer["errorCode"], answer["errorMessage"])


def test_registration_may_be_once_only(make_world):
    """With the production rule, a second registration is refused."""
    world = make_world(rules=Rules(register_once=True))
    assert 200 == world.register()[0]
    status, answer = world.register()
    assert (500, "500.003.1001", "Urls are already registered.") == (
        status,
        answer["errorCode"],
        answer["errorMessage"],
    )


def test_a_customer_pays_by_himself(world, reply):
    """Validation is asked, then the money moves, and the confirmation carries the receipt and the new balance."""
    world.register()
    world.replies[VALIDATE] = reply(ResultCode="0", ResultDesc="Accepted", ThirdPartyTransID="T-9")
    payment = world.daraja.customer_pays(amount="50.50", reference="inv 7", phone="0712345678")
    assert payment.paid
    assert payment.validated
    (validation,) = world.bodies("/validate")
    assert ("", "", "inv 7", "50.50") == tuple(
        validation[name] for name in ("TransactionType", "OrgAccountBalance", "BillRefNumber", "TransAmount")
    )
    assert [] == world.bodies("/confirm")
    world.daraja.run_until_idle()
    (told,) = world.bodies("/confirm")
    assert payment.receipt == validation["TransID"] == told["TransID"]
    assert ("1000050.50", "T-9", "2547 ***** 678", "Pay Bill") == tuple(
        told[name] for name in ("OrgAccountBalance", "ThirdPartyTransID", "MSISDN", "TransactionType")
    )
    (entry,) = world.daraja.ledger.entries
    assert (Kind.C2B, Decimal("50.50"), "254712345678") == (entry.kind, entry.amount, entry.phone)


@pytest.mark.parametrize("code", ["C2B00012", "1", 1])
def test_a_rejected_payment_does_not_happen(world, reply, code):
    """Any code but zero rejects: nothing moves and no confirmation comes."""
    world.register()
    world.replies[VALIDATE] = reply(ResultCode=code, ResultDesc="Rejected")
    payment = world.daraja.customer_pays(amount=50)
    world.daraja.run_until_idle()
    assert (False, str(code), True) == (payment.paid, payment.code, payment.validated)
    assert [] == world.bodies("/confirm")
    assert () == world.daraja.ledger.entries


def refuse(_):
    raise ConnectionRefusedError("nobody there")


@pytest.mark.parametrize(
    "failure", [refuse, 500, 200, HttpResponse(status=200, body=b"<html>"), HttpResponse(status=200, body=b"[]")]
)
@pytest.mark.parametrize(("response_type", "paid"), [("Completed", True), ("Cancelled", False)])
def test_a_failed_validation_leaves_it_to_the_response_type(world, failure, response_type, paid):
    """Where the application does not answer in form, the registered default decides."""
    world.register(ResponseType=response_type)
    world.replies[VALIDATE] = failure
    payment = world.daraja.customer_pays(amount=50)
    assert (paid, False) == (payment.paid, payment.validated)
    assert paid == bool(world.daraja.ledger.entries)


def test_a_late_validation_does_not_count(world, reply):
    """An answer after eight seconds is no answer."""
    world.register(ResponseType="Cancelled")

    def slow(_):
        world.wait(8.5)
        return reply(ResultCode="0", ResultDesc="Accepted")

    world.replies[VALIDATE] = slow
    payment = world.daraja.customer_pays(amount=50)
    assert (False, False) == (payment.paid, payment.validated)


def test_an_accepted_payment_may_still_fail(world, reply):
    """A customer without money passes validation and is never confirmed."""
    world.register()
    world.replies[VALIDATE] = reply(ResultCode=0, ResultDesc="Accepted")
    payment = world.daraja.customer_pays(amount=50, behaviour=Behaviour(ending=Ending.NO_FUNDS))
    world.daraja.run_until_idle()
    assert (False, True) == (payment.paid, payment.validated)
    assert [] == world.bodies("/confirm")


def test_validation_needs_to_be_switched_on(make_world):
    """Without external validation only the confirmation comes."""
    world = make_world()
    quiet = Organisation(short_code="174379", external_validation=False)
    world = type(world)((quiet, Organisation(short_code="600100", till_number="600200")))
    world.register()
    assert world.daraja.customer_pays(amount=50).validated is None
    world.daraja.run_until_idle()
    assert ["confirm"] == [url.rsplit("/", 1)[1] for url, _ in world.received]


def test_unregistered_payments_move_money_silently(world):
    """Without URLs there is nobody to tell."""
    assert world.daraja.customer_pays(amount=50).paid
    world.daraja.run_until_idle()
    assert [] == world.received
    assert 1 == len(world.daraja.ledger.entries)


def test_version_one_hashes_the_phone(world):
    """v1 callbacks carry SHA-256 of the number."""
    world.register("v1")
    world.daraja.customer_pays(amount=50, phone="254708374149")
    world.daraja.run_until_idle()
    assert hashlib.sha256(b"254708374149").hexdigest() == world.bodies("/confirm")[0]["MSISDN"]


def test_a_till_payment_has_no_reference(world):
    """A customer who pays a till types no account, and the store number is reported."""
    world.daraja.register_urls(
        short_code="600200", confirmation_url="https://shop.example/till/confirm", validation_url=VALIDATE
    )
    world.daraja.customer_pays(short_code="600200", amount=50, reference="ignored")
    world.daraja.run_until_idle()
    (told,) = world.bodies("till/confirm")
    assert ("", "600100", "Customer Merchant Payment") == tuple(
        told[name] for name in ("BillRefNumber", "BusinessShortCode", "TransactionType")
    )


def test_simulated_payments(world):
    """Both versions are accepted, v1 without a ResponseCode, and then go the way of a customer's own payment."""
    world.register()
    _, old = world.simulate("v1")
    _, new = world.simulate("v2")
    assert {"ConversationID", "OriginatorCoversationID", "ResponseDescription"} == set(old)
    assert {"OriginatorCoversationID", "ResponseCode", "ResponseDescription"} == set(new)
    assert () == world.daraja.ledger.entries
    world.daraja.run_until_idle()
    assert 2 == len(world.bodies("/validate")) == len(world.bodies("/confirm")) == len(world.daraja.ledger.entries)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"CommandID": "PayBill"}, "CommandID"),
        ({"CommandID": "CustomerBuyGoodsOnline"}, "CommandID"),
        ({"Amount": 0}, "Amount"),
        ({"Msisdn": "0712345678"}, "Msisdn"),
        ({"BillRefNumber": None}, "BillRefNumber"),
        ({"ShortCode": "999999"}, "ShortCode"),
    ],
)
def test_simulation_is_checked(world, changes, expected):
    """A simulation's fields are checked by name."""
    assert f"Bad Request - Invalid {expected}" == world.simulate(**changes)[1]["errorMessage"]


def test_a_till_is_simulated_without_a_reference(world):
    """Buy goods takes a null reference, as in the official sample."""
    changes = {"ShortCode": 600200, "CommandID": "CustomerBuyGoodsOnline", "BillRefNumber": None}
    assert 200 == world.simulate(**changes)[0]
    world.daraja.run_until_idle()
    assert "600100" == world.daraja.ledger.entries[0].short_code


def test_confirmations_misbehave_as_asked(world):
    """Twice, with a wrong amount, malformed, or not at all."""
    world.register()
    world.daraja.script(
        Behaviour(deliver=(Delivery(copies=2),)),
        Behaviour(deliver=(Delivery(amount=Decimal(1)),)),
        Behaviour(deliver=(Delivery(raw=MALFORMED),)),
        Behaviour(deliver=()),
        api="c2b",
    )
    for _ in range(4):
        world.daraja.customer_pays(amount=50)
    world.daraja.run_until_idle()
    confirmations = [body for url, body in world.received if url.endswith("/confirm")]
    assert 4 == len(confirmations)
    assert confirmations[0] == confirmations[1]
    assert b'"TransAmount":"1.00"' in confirmations[2]
    assert MALFORMED == confirmations[3]
    assert 4 == len(world.daraja.ledger.entries)
