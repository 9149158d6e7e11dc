"""SIM swaps, names behind numbers, Bonga points and the IoT portal: what they refuse, and how they say no."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pytest

from mpesa_core.daraja.iot import IotAction, IotActionCall, IotQuestionCall
from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.errors import InvalidField, OutcomeUnknown, RequestRefused, UnexpectedAnswer
from tests.daraja import products as make
from tests.daraja.requested import context


def response(status=200, **body):
    """A JSON response."""
    return HttpResponse(status=status, body=json.dumps(body).encode())


@pytest.mark.parametrize(
    ("maker", "field", "value"),
    [
        (make.imsi, "phone_number", "12"),
        (make.swap, "phone_number", "0201234567"),
        (make.hakikisha, "phone_number", "12"),
        (make.hakikisha, "request_id", ""),
        (make.organisation, "identifier", "12"),
        (make.organisation, "identifier_type", "1"),
        (make.organisation, "identifier_type", True),
        (make.calculate, "points", 0),
        (make.calculate, "points", "40"),
        (make.calculate, "points", True),
        (make.redeem, "points", 0),
        (make.redeem, "amount", "1.50"),
        (make.redeem, "conversion_rate", 0.2),
        (make.redeem, "conversion_rate", 0),
        (make.redeem, "conversion_rate", "NaN"),
        (make.redeem, "phone_number", "12"),
        (make.redeem, "account_reference", "x" * 21),
        (make.iot, "call", "simactivation"),
        (make.iot, "body", ["msisdn"]),
        (make.iot, "body", {"share": 0.5}),
        (make.iot, "page", -1),
        (make.iot, "page_size", "10"),
    ],
)
def test_what_would_be_refused_is_not_sent(maker, field, value):
    """The error names the field, at construction."""
    with pytest.raises(InvalidField) as caught:
        maker(**{field: value})
    assert field == caught.value.field


@pytest.mark.parametrize(
    ("text", "day", "long_ago"),
    [
        ("01-05-2022", date(2022, 5, 1), False),
        ("31-12-2025 23:59", date(2025, 12, 31), False),
        ("01-01-1900 00:00", None, True),
        ("01-01-1900", None, True),
        ("31-02-2022", None, False),
        ("2022-05-01", None, False),
        ("", None, False),
        (None, None, False),
    ],
)
def test_a_swap_is_a_day_or_long_ago_or_not_known(text, day, long_ago):
    """The first of January 1900 means more than three months ago; an unreadable day is not taken for that."""
    found = make.swap().parse(response(responseCode="200", lastSwapDate=text))
    assert (day, long_ago) == (found.last_swap, found.swapped_long_ago)


@pytest.mark.parametrize("maker", [make.imsi, make.swap])
def test_a_refused_check_says_its_code(maker):
    """A code other than 200 in the answer is a refusal."""
    with pytest.raises(RequestRefused, match="no such number"):
        maker().parse(response(responseCode="1", responseDesc="no such number", imsi="1"))


def test_an_imsi_that_is_missing_is_no_answer():
    """An answer without it is not taken for one, and with it does not show it."""
    with pytest.raises(UnexpectedAnswer, match="imsi"):
        make.imsi().parse(response(responseCode="200", lastSwapDate="01-05-2022"))
    assert "9233817055099406" not in repr(make.imsi().parse(response(responseCode="200", imsi="9233817055099406")))


@pytest.mark.parametrize("status", [200, 400])
def test_an_unknown_customer_is_a_refusal_that_says_why(status):
    """The sentence of the body is the message, whatever the HTTP status."""
    body = {"header": {"status": "400", "message": "Error"}, "body": {"message": "The customer does not exist."}}
    with pytest.raises(RequestRefused, match="The customer does not exist"):
        make.hakikisha().parse(response(status, **body))


@pytest.mark.parametrize(
    "body",
    [
        {"header": {"status": "200"}, "body": {}},
        {"header": {"status": "200"}, "body": {"firstName": ""}},
        {"header": {}, "body": {"firstName": "john"}},
        {"header": {"status": "200"}, "body": None},
    ],
)
def test_a_name_that_is_missing_is_no_answer(body):
    """Neither a status without a name nor a name without a status."""
    with pytest.raises(UnexpectedAnswer):
        make.hakikisha().parse(response(**body))


def test_a_name_is_not_in_a_repr():
    """A customer's name is as private as the number."""
    body = {"header": {"status": "200"}, "body": {"firstName": "john"}}
    assert "john" not in repr(make.hakikisha().parse(response(**body)))


@pytest.mark.parametrize("code", ["4000", "0", 0])
def test_an_organisation_is_found_by_its_name(code):
    """4000 by the sample and 0 by the page's table: the name decides."""
    assert "Daraja" == make.organisation().parse(response(ResponseCode=code, OrganizationName="Daraja")).name
    with pytest.raises(UnexpectedAnswer):
        make.organisation().parse(response(ResponseCode=code, OrganizationName=""))


def test_a_till_is_asked_about_as_one():
    """The identifier's type is sent as text."""
    body = json.loads(make.organisation(identifier_type=2).build(context()).body)
    assert {"IdentifierType": "2", "Identifier": "666677"} == body


@pytest.mark.parametrize(
    "body",
    [
        {"amount": "8", "points": "41", "rate": "0.2"},
        {"amount": "eight", "points": "40", "rate": "0.2"},
        {"amount": "8", "points": "40"},
        None,
    ],
)
def test_a_value_of_points_is_complete_and_of_those_asked_about(body):
    """Another number of points, or no number, is no answer."""
    with pytest.raises(UnexpectedAnswer):
        make.calculate().parse(response(header={"responseCode": 200}, body=body))


@pytest.mark.parametrize(("code", "error"), [(6001, RequestRefused), ("6006", RequestRefused), (6004, OutcomeUnknown)])
def test_a_redemption_that_was_not_taken_says_what_is_known(code, error):
    """A failure is a refusal with its meaning; a server's trouble leaves it open."""
    with pytest.raises(error):
        make.redeem().parse(response(header={"responseCode": code, "responseMessage": "words"}, body=None))


def test_a_redemption_lost_in_the_sandbox_is_unknown():
    """The sandbox answers 404 with nothing in it, which proves nothing."""
    with pytest.raises(OutcomeUnknown):
        make.redeem().parse(HttpResponse(status=404))


@pytest.mark.parametrize(("rate", "literal"), [("0.2", b":0.2"), (Decimal("0.10"), b":0.10"), (2, b":2")])
def test_a_rate_is_sent_as_an_exact_number(rate, literal):
    """The one number with a point on the wire, written as it was given."""
    assert b'"conversionRate"' + literal in make.redeem(conversion_rate=rate).build(context()).body


PORTAL = {
    "allsims", "queryLifeCycleStatus", "querycustomerinfo", "simactivation", "getactivationtrends", "renameasset",
    "suspend_unsuspend_sub", "searchmessages", "filtermessages", "getallmessages", "sendsinglemessage", "deletemessage",
    "deleteMessageThread",
}  # fmt: skip


def test_every_call_of_the_portal_is_there_once():
    """The thirteen calls of the page, each a question or an action."""
    assert sorted(PORTAL) == sorted([*map(str, IotQuestionCall), *map(str, IotActionCall)])


def test_pages_go_into_the_query_string():
    """The calls that answer in pages take them there."""
    request = make.iot(call="getallmessages", page=0, page_size=20).build(context())
    assert "/simportal/v1/getallmessages?pageNo=0&pageSize=20" == request.path


def test_an_action_is_never_repeated_on_a_guess():
    """A lost answer to an action is unknown; to a question it is unexpected."""
    action = IotAction(call="suspend_unsuspend_sub", body={"msisdn": "0"})
    assert "/simportal/v1/suspend_unsuspend_sub" == action.build(context()).path
    with pytest.raises(OutcomeUnknown):
        action.parse(HttpResponse(status=504))
    with pytest.raises(UnexpectedAnswer):
        make.iot().parse(HttpResponse(status=504))


@pytest.mark.parametrize(("body", "wanted"), [(None, {}), ([1], {"items": [1]}), ({"a": 1}, {"a": 1})])
def test_an_answer_of_the_portal_has_a_body_of_any_kind(body, wanted):
    """Nothing, a list and an object are read alike."""
    assert wanted == make.iot().parse(response(header={"responseCode": 200}, body=body)).body


def test_another_code_of_the_portal_is_a_refusal():
    """A code that is not one of success is no answer."""
    with pytest.raises(RequestRefused, match="No data"):
        make.iot().parse(response(header={"responseCode": 1, "responseMessage": "No data"}, body={}))
