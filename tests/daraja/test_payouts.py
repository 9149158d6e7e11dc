"""Payouts, reversals and the questions about them: what is sent, and what is refused before it is sent."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpesa_core.daraja.b2c import B2CCommand, B2CPayment
from mpesa_core.daraja.balance import AccountBalance, Balance, read_balances
from mpesa_core.daraja.reversal import Reversal
from mpesa_core.daraja.status import TransactionStatus
from mpesa_core.errors import ConfigurationError, InvalidField
from tests.daraja.requested import as_text, body_of, context
from tests.sampled import sample

URLS = {"result_url": "https://mydomain.com/result", "timeout_url": "https://mydomain.com/timeout"}


def payout(**changes):
    fields = {"phone_number": "254708374149", "amount": 200, "originator_conversation_id": "x-1", **URLS}
    return B2CPayment(**{**fields, **changes})


def reversal(**changes):
    return Reversal(**{"transaction_id": "PDU91HIVIT", "amount": 200, **URLS, **changes})


def status(**changes):
    return TransactionStatus(**{"transaction_id": "NEF61H8J60", **URLS, **changes})


def balance(**changes):
    return AccountBalance(**{**URLS, **changes})


def test_a_payout_of_version_1_is_the_published_request():
    """Field by field: no id of ours, and Occasion with one s."""
    operation = payout(
        version=1, originator_conversation_id=None, command="SalaryPayment", remarks="salary", occasion="June"
    )
    request = operation.build(context(short_code="600992"))
    assert "/mpesa/b2c/v1/paymentrequest" == request.path
    assert as_text(sample("b2c__request__v1").json) == as_text(body_of(request))


def test_a_payout_of_version_3_is_the_published_request():
    """Field by field: our own id, and Occassion with two."""
    operation = payout(
        phone_number="0700000012",
        amount=10,
        originator_conversation_id="600997_Test_32et3241ed8yu",
        remarks="remarked",
        occasion="ChristmasPay",
        result_url="https://mydomain.com/path",
        timeout_url="https://mydomain.com/path",
    )
    request = operation.build(context(short_code="600992", security_credential="RC6E9WDxXR4b9X2c6z3gp0oC5Th =="))
    assert "/mpesa/b2c/v3/paymentrequest" == request.path
    assert as_text(sample("b2c__request__v3").json) == as_text(body_of(request))


def test_a_payout_without_an_occasion_sends_none():
    """Neither spelling is there."""
    assert not {"Occasion", "Occassion"} & set(body_of(payout().build(context())))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("phone_number", "0201234567"),
        ("amount", 9),
        ("amount", "10.50"),
        ("amount", 10.0),
        ("command", "Salary"),
        ("command", None),
        ("remarks", "x"),
        ("remarks", "x" * 101),
        ("remarks", "a & b"),
        ("occasion", "x" * 101),
        ("occasion", "#"),
        ("result_url", "https://shop.example/exec"),
        ("timeout_url", "nowhere"),
        ("version", 2),
        ("version", True),
        ("originator_conversation_id", None),
        ("originator_conversation_id", ""),
        ("originator_conversation_id", "with blank"),
        ("originator_conversation_id", "x" * 129),
    ],
)
def test_what_a_payout_cannot_say_is_refused(field, value):
    """The error names the field, at construction."""
    with pytest.raises(InvalidField) as caught:
        payout(**{field: value})
    assert field == caught.value.field


def test_version_1_takes_no_id_of_ours():
    """An id that would not be sent is not accepted silently."""
    with pytest.raises(InvalidField, match="originator_conversation_id"):
        payout(version=1)


def test_a_reversal_is_the_published_request():
    """Field by field, the receiver's identifier type as it is misspelt among them."""
    operation = reversal(
        remarks="Payment reversal",
        result_url="https://mydomain.com/reversal/result",
        timeout_url="https://mydomain.com/reversal/queue",
    )
    request = operation.build(context(short_code="603021", initiator_name="apiop37"))
    assert "/mpesa/reversal/v1/request" == request.path
    assert as_text(sample("reversal__request").json) == as_text(body_of(request))


def test_a_reversal_may_have_cents_and_an_occasion():
    """A payment with cents goes back with cents, and whole shillings without a point."""
    body = body_of(reversal(amount="10.50", occasion="Wrong item").build(context()))
    assert (Decimal("10.50"), "Wrong item") == (body["Amount"], body["Occasion"])
    assert b'"Amount":200}' in reversal(amount="200.00").build(context()).body


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("transaction_id", "short"),
        ("transaction_id", "PDU91-HIVIT"),
        ("transaction_id", None),
        ("transaction_id", "x" * 21),
        ("amount", 0),
        ("amount", "1.001"),
        ("remarks", ""),
        ("occasion", "x" * 101),
    ],
)
def test_what_a_reversal_cannot_say_is_refused(field, value):
    """The error names the field."""
    with pytest.raises(InvalidField) as caught:
        reversal(**{field: value})
    assert field == caught.value.field


def test_a_receipt_is_sent_in_upper_case():
    """A receipt that a person typed in lower case is the same receipt."""
    assert "PDU91HIVIT" == reversal(transaction_id=" pdu91hivit ").transaction_id


def test_a_status_question_is_the_published_request():
    """Field by field, by receipt and by the original's conversation id."""
    operation = status(
        originator_conversation_id="7071-4170-a0e5-8345632bad442144258",
        remarks="OK",
        occasion="OK",
        result_url="http://myservice:8080/transactionstatus/result",
        timeout_url="http://myservice:8080/timeout",
    )
    request = operation.build(context(short_code="600782", initiator_name="testapiuser"))
    assert "/mpesa/transactionstatus/v1/query" == request.path
    assert as_text(sample("transaction_status__request").json) == as_text(body_of(request))


def test_a_status_question_needs_one_of_the_two():
    """By receipt alone, by conversation id alone, but not by neither."""
    assert "OriginalConversationID" not in body_of(status().build(context()))
    asked = body_of(status(transaction_id=None, originator_conversation_id="x-1").build(context()))
    assert ("x-1", False) == (asked["OriginalConversationID"], "TransactionID" in asked)
    with pytest.raises(InvalidField, match="transaction_id"):
        status(transaction_id=None)


def test_a_balance_question_is_the_published_request():
    """Field by field."""
    operation = balance(
        remarks="ok",
        result_url="http://myservice:8080/result",
        timeout_url="http://myservice:8080/queuetimeouturl",
    )
    credential = "SAFVNChNHfVtXEZMBuVo+a1Hwr+DtrUVN3zVg=="
    request = operation.build(
        context(short_code="600000", initiator_name="testapiuser", security_credential=credential)
    )
    assert "/mpesa/accountbalance/v1/query" == request.path
    assert as_text(sample("account_balance__request").json) == as_text(body_of(request))


@pytest.mark.parametrize("operation", [payout(), reversal(), status(), balance()], ids=type)
@pytest.mark.parametrize(
    ("missing", "value"), [("short_code", ""), ("initiator_name", None), ("security_credential", None)]
)
def test_what_the_account_lacks_is_named(operation, missing, value):
    """Each of the four needs the short code and the API operator with its password."""
    with pytest.raises(ConfigurationError, match=missing):
        operation.build(context(**{missing: value}))


@pytest.mark.parametrize("operation", [payout(), reversal(), status(), balance()], ids=type)
def test_urls_and_phone_numbers_stay_out_of_the_repr(operation):
    """The URLs hold tokens, and a payout holds a phone number."""
    assert "mydomain" not in repr(operation)
    assert "708374149" not in repr(operation)


def test_what_moves_money_says_so():
    """Payouts and reversals are never repeated blindly; questions may be; all carry the operator's credential."""
    calls = (B2CPayment, Reversal, TransactionStatus, AccountBalance)
    assert (True, True, False, False) == tuple(call.moves_money for call in calls)
    assert (True,) * 4 == tuple(call.needs_credential for call in calls)


def test_the_commands_are_those_of_the_page():
    """Unregistered recipients are supported no more."""
    assert {"SalaryPayment", "BusinessPayment", "PromotionPayment"} == set(B2CCommand)


def account(name, *amounts):
    current, available, reserved, uncleared = (None if each is None else Decimal(each) for each in amounts)
    return Balance(
        name=name, currency="KES", current=current, available=available, reserved=reserved, uncleared=uncleared
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Working Account|KES|346568.83|6186.83|340382.00|0.00",
            (account("Working Account", "346568.83", "6186.83", "340382.00", "0.00"),),
        ),
        (
            "Utility Account|KES|1.00|1.00|0.00|0.00&Charges Paid Account|KES|-1540.00|-1540.00|0.00|0.00",
            (
                account("Utility Account", "1.00", "1.00", "0.00", "0.00"),
                account("Charges Paid Account", "-1540.00", "-1540.00", "0.00", "0.00"),
            ),
        ),
        ("Working Account|KES|10.00", (account("Working Account", "10.00", None, None, None),)),
        ("Working Account|KES|ten||5", (account("Working Account", None, None, "5", None),)),
        (" Merchant Account | KES | 1,200.00 |1|2|3|4|5", (account("Merchant Account", "1200.00", "1", "2", "3"),)),
        ("", ()),
        ("&&|KES|1", ()),
    ],
)
def test_the_balance_string_is_read_into_accounts(text, expected):
    """Accounts by ampersand, parts by pipe; what is missing or no number is None."""
    assert expected == read_balances(text)


@given(st.text(alphabet="A|&K1.,- \u0661", max_size=300))
def test_any_balance_string_is_read(text):
    """Odd strings give odd accounts, never an exception, and no more of them than M-PESA could have."""
    assert len(read_balances(text)) <= 64
    assert len(read_balances(text * 50)) <= 64
