"""STK push and query: what is sent for which account, and what is refused before it is sent."""

from __future__ import annotations

import base64
import json
from decimal import Decimal

import pytest

from mpesa_core.daraja.express import CheckIdentity, StkPush, StkQuery
from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.errors import ConfigurationError, InvalidField, RequestRefused, UnexpectedAnswer
from tests.daraja.requested import CONTEXT, PASSKEY, as_text, body_of, context
from tests.sampled import sample


def push(**changes):
    fields = {
        "phone_number": "0722111111",
        "amount": 1,
        "account_reference": "accountref",
        "transaction_desc": "txndesc",
        "callback_url": "https://mydomain.com/path",
    }
    return StkPush(**{**fields, **changes})


def test_a_paybill_push_is_the_published_request():
    """Field by field, the password and the timestamp of that moment among them."""
    request = push(payer_number="0722000000").build(CONTEXT)
    assert "/mpesa/stkpush/v1/processrequest" == request.path
    assert as_text(sample("stk_push__request__paybill").json) == as_text(body_of(request))


def test_the_password_is_short_code_passkey_and_nairobi_time():
    """Base64 of the three, with the timestamp that the request itself carries, three hours ahead of UTC."""
    body = body_of(push().build(CONTEXT))
    assert "20210628092408" == body["Timestamp"]
    assert f"174379{PASSKEY}20210628092408" == base64.b64decode(body["Password"]).decode()


def test_a_till_is_paid_by_its_own_number_under_its_store_number():
    """BusinessShortCode and password are the store's, PartyB is the till, and the type says buy goods."""
    body = body_of(push().build(context(short_code="600000", till_number="5551234")))
    assert ("600000", "5551234", "CustomerBuyGoodsOnline") == (
        body["BusinessShortCode"],
        body["PartyB"],
        body["TransactionType"],
    )
    assert base64.b64decode(body["Password"]).startswith(b"600000" + PASSKEY.encode())


def test_the_payer_is_the_phone_that_rings_unless_another_is_named():
    """PartyA and PhoneNumber are alike by default."""
    body = body_of(push().build(CONTEXT))
    assert ("254722111111", "254722111111") == (body["PartyA"], body["PhoneNumber"])


def test_the_description_is_always_sent():
    """Daraja refuses a push without one, although it calls it optional."""
    bare = StkPush(phone_number="0722111111", amount=1, account_reference="a", callback_url="https://mydomain.com/path")
    assert "Payment" == body_of(bare.build(CONTEXT))["TransactionDesc"]


@pytest.mark.parametrize(("amount", "sent"), [(1, b"1"), ("10.00", b"10"), (Decimal(150000), b"150000")])
def test_whole_shillings_are_sent_without_a_point(amount, sent):
    """10.00 shillings go out as 10."""
    assert b'"Amount":' + sent + b"," in push(amount=amount).build(CONTEXT).body


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("phone_number", "020123456"),
        ("phone_number", "+255712345678"),
        ("payer_number", "12345"),
        ("amount", 0),
        ("amount", "1.50"),
        ("amount", -1),
        ("amount", 1.0),
        ("account_reference", ""),
        ("account_reference", "x" * 13),
        ("account_reference", "a@b"),
        ("transaction_desc", "x" * 14),
        ("transaction_desc", ""),
        ("callback_url", "shop.example/pay"),
        ("callback_url", "https://shop.example/mpesa/"),
    ],
)
def test_what_daraja_would_refuse_is_refused_before_it_is_sent(field, value):
    """The error names the field, at construction."""
    with pytest.raises(InvalidField) as caught:
        push(**{field: value})
    assert field == caught.value.field


@pytest.mark.parametrize(("missing", "value"), [("short_code", ""), ("passkey", None)])
@pytest.mark.parametrize("operation", [push(), StkQuery(checkout_request_id="ws_CO_1")], ids=type)
def test_what_the_account_lacks_is_named(operation, missing, value):
    """A push and a query need a short code and its passkey."""
    with pytest.raises(ConfigurationError, match=missing):
        operation.build(context(**{missing: value}))


def test_a_query_is_the_published_request():
    """Field by field, the password aside (the published one is damaged)."""
    request = StkQuery(checkout_request_id="ws_CO_260520211133524545").build(CONTEXT)
    assert "/mpesa/stkpushquery/v1/query" == request.path
    expected = {**sample("stk_query__request").json, "Timestamp": "20210628092408"}
    found = body_of(request)
    assert f"174379{PASSKEY}20210628092408" == base64.b64decode(found["Password"]).decode()
    assert as_text({**expected, "Password": found["Password"]}) == as_text(found)


@pytest.mark.parametrize("value", ["", "  ", None, 5, "x" * 256])
def test_a_query_needs_an_id(value):
    """An empty, overlong or mistyped id is refused."""
    with pytest.raises(InvalidField, match="checkout_request_id"):
        StkQuery(checkout_request_id=value)


def answer(**changes):
    body = {**json.loads(sample("stk_query__response__success_triple_s").body), **changes}
    body = {key: value for key, value in body.items() if value != "absent"}
    return HttpResponse(status=200, body=json.dumps(body).encode())


def test_an_answer_about_another_push_is_not_believed():
    """A query's answer names the push that was asked about."""
    with pytest.raises(UnexpectedAnswer, match="another"):
        StkQuery(checkout_request_id="ws_CO_other").parse(answer())


def test_an_answer_without_a_result_is_no_answer():
    """Without ResultCode a question is refused by its ResponseCode, or says nothing."""
    query = StkQuery(checkout_request_id="ws_CO_13012021093521236557")
    with pytest.raises(RequestRefused):
        query.parse(answer(ResultCode="absent", ResponseCode="1"))
    with pytest.raises(UnexpectedAnswer):
        query.parse(answer(ResultCode="absent"))
    with pytest.raises(UnexpectedAnswer):
        query.parse(answer(ResultCode=None, ResponseCode=None))


def test_phone_numbers_and_urls_stay_out_of_the_repr():
    """A push is fit for a log line, and so is its acceptance."""
    text = repr(push(callback_url="https://shop.example/pay/s3cr3t"))
    assert "722111111" not in text
    assert "s3cr3t" not in text
    accepted = push().parse(HttpResponse(status=200, body=sample("stk_push__response__accepted_2024").body))
    assert "617172396192" not in repr(accepted)


def test_what_moves_money_says_so():
    """A push may never be repeated blindly; a query may."""
    assert (True, False) == (StkPush.moves_money, StkQuery.moves_money)
    assert (False, False) == (StkPush.needs_credential, StkQuery.needs_credential)


def test_an_identity_check_has_the_shape_of_a_push_without_money():
    """Initiator, password and type, and no amount, payer or receiver."""
    request = CheckIdentity(phone_number="0722111111", callback_url="https://mydomain.com/path").build(CONTEXT)
    body = body_of(request)
    assert "/mpesa/checkidentity/v1/processrequest" == request.path
    assert {
        "Initiator": CONTEXT.initiator_name,
        "BusinessShortCode": "174379",
        "Password": base64.b64encode(f"174379{PASSKEY}20210628092408".encode()).decode(),
        "Timestamp": "20210628092408",
        "TransactionType": "CheckIdentity",
        "PhoneNumber": "254722111111",
        "CallBackURL": "https://mydomain.com/path",
        "TransactionDesc": "Identity",
    } == body
