"""Pull transactions: rows in a list of lists, pages, and every way to say that there is nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from mpesa_core.daraja.callbacks import CallbackType, PullRow, Unreadable, decode_callback
from mpesa_core.daraja.codes import Outcome
from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.errors import InvalidField, RequestRefused, UnexpectedAnswer
from tests.daraja import products as make
from tests.daraja.requested import body_of, context
from tests.sampled import sample


def page(**body):
    """The page of an answer."""
    return make.pull().parse(HttpResponse(status=200, body=json.dumps(body).encode()))


def test_the_published_rows_are_read():
    """Two payments out of a list inside a list: receipt, exact amount, reference and Nairobi's time."""
    found = make.pull().parse(HttpResponse(status=200, body=sample("pull_query__response__rows").body))
    assert ("26178-42530161-2", "1000", "Success") == (found.reference, found.code, found.message)
    assert [(Decimal("168.00"), "37207636392"), (Decimal("647.00"), "37207636392")] == [
        (row.amount, row.account_reference) for row in found.rows
    ]
    assert ["yzlyrEsRG1", "ZobjR29vdz"] == [row.raw["transactionId"] for row in found.rows]
    assert datetime(2020, 8, 5, 7, 13, tzinfo=UTC) == found.rows[0].occurred_at
    assert all(isinstance(row, PullRow) for row in found.rows)
    assert not found.may_have_more


def test_a_masked_number_is_kept_as_it_came():
    """Since 2026 the number may be text with stars."""
    found = make.pull().parse(HttpResponse(status=200, body=sample("pull_query__response__rows_string_msisdn").body))
    assert ["2547 ***** 149"] == [row.phone_number for row in found.rows]
    assert ["MPESA"] == [row.sender for row in found.rows]


def test_a_row_is_recorded_with_the_short_code_that_was_asked_about():
    """The rows do not name it; what is recorded decodes to the same row with it, to the last digit."""
    found = make.pull().parse(HttpResponse(status=200, body=sample("pull_query__response__rows").body))
    recorded = found.recordings("600000")
    assert 2 == len(recorded)
    row = decode_callback(CallbackType.PULL, recorded[0])
    assert ("600000", Decimal("168.00"), found.rows[0].receipt_number) == (
        row.short_code,
        row.amount,
        row.receipt_number,
    )
    assert b'"168.00"' in recorded[0]


def test_a_complete_row_proves_a_payment():
    """A receipt and an amount are a success; a row without them is not read as one."""
    row = {"transactionId": "SC8F2IQMH5", "trxDate": "2026-02-05T10:13:00Z", "amount": "168.00", "billreference": "A1"}
    found = page(ResponseCode="1000", Response=[[row], [{"amount": "1"}]])
    assert [Outcome.SUCCESS, Outcome.UNKNOWN] == [each.outcome for each in found.rows]
    assert "SC8F2IQMH5" == found.rows[0].receipt_number
    assert isinstance(found.rows[1], Unreadable)


@pytest.mark.parametrize(
    "body",
    [
        {"ResponseRefID": "r-1", "ResponseCode": "1001", "Response": [[]]},
        {"RequestID": "r-1", "ResponseCode": "1001", "ResponseMessage": "none"},
        {"ResponseRefID": "r-1", "ResponseCode": 1001, "Response": "[[]]"},
        {"ResponseRefID": "r-1", "ResponseCode": "500", "ResponseMessage": "no transactions"},
        {"ResponseRefID": "r-1", "ResponseCode": "1001", "Response": None},
    ],
)
def test_nothing_is_an_empty_page(body):
    """As documented, as captured live, and with the code that means no transactions for the short code."""
    found = page(**body)
    assert ((), "r-1", False) == (found.rows, found.reference, found.may_have_more)


@pytest.mark.parametrize(
    "body",
    [
        {"ResponseCode": "1000"},
        {"ResponseCode": "1000", "Response": [[]]},
        {"ResponseCode": "1000", "Response": {"rows": 1}},
        {"ResponseCode": "1001", "Response": "text"},
        {"Response": [[]]},
        {"ResponseCode": True, "Response": [[]]},
    ],
)
def test_rows_that_are_announced_and_missing_are_no_empty_page(body):
    """Nobody concludes from a broken page that nothing was paid."""
    with pytest.raises(UnexpectedAnswer):
        page(**body)


def test_a_server_error_is_no_empty_page():
    """The code 500 means nothing of the kind with the status 500."""
    with pytest.raises(UnexpectedAnswer):
        make.pull().parse(HttpResponse(status=500, body=b'{"ResponseCode": "500"}'))


@pytest.mark.parametrize("maker", [make.pull, make.register_pull])
def test_another_code_is_a_refusal(maker):
    """A code that no page lists is not taken for an answer."""
    body = b'{"ResponseCode": "1999", "ResponseStatus": "1999", "ResponseMessage": "words", "ResponseDescription": "words"}'
    with pytest.raises(RequestRefused, match="words"):
        maker().parse(HttpResponse(status=200, body=body))


def test_a_full_page_may_have_another_one_after_it():
    """A hundred rows are a full page; the next offset is worth asking for."""
    rows = [{"transactionId": f"SC8F2IQM{each:02}", "amount": "1"} for each in range(100)]
    assert page(ResponseCode="1000", Response=[rows]).may_have_more
    assert not page(ResponseCode="1000", Response=[rows[1:]]).may_have_more
    assert "100" == body_of(make.pull(offset=100).build(context()))["OffSetValue"]


def test_times_are_sent_in_nairobis_time():
    """Whatever zone they come in."""
    hawaii = timezone(timedelta(hours=-10))
    operation = make.pull(start=datetime(2026, 1, 1, 11, tzinfo=hawaii), end=datetime(2026, 1, 2, tzinfo=UTC))
    body = body_of(operation.build(context()))
    assert ("2026-01-02 00:00:00", "2026-01-02 03:00:00") == (body["StartDate"], body["EndDate"])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("start", "2020-08-04"),
        ("start", datetime(2020, 8, 4)),
        ("end", datetime(2020, 8, 4, 5, 36, tzinfo=UTC)),
        ("offset", -1),
        ("offset", "0"),
        ("offset", True),
    ],
)
def test_what_a_query_cannot_say_is_refused(field, value):
    """The error names the field, at construction."""
    with pytest.raises(InvalidField) as caught:
        make.pull(**{field: value})
    assert field == caught.value.field


@pytest.mark.parametrize(("field", "value"), [("nominated_number", "12"), ("callback_url", "https://shop.example/sql")])
def test_what_a_registration_cannot_say_is_refused(field, value):
    """The error names the field, at construction."""
    with pytest.raises(InvalidField) as caught:
        make.register_pull(**{field: value})
    assert field == caught.value.field
