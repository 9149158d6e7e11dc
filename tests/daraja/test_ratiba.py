"""Standing orders: the two editions, in which one number means two frequencies, and the envelopes of the answer."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pytest

from mpesa_core.daraja.operation import HttpResponse
from mpesa_core.daraja.ratiba import FREQUENCIES, Frequency, RatibaEdition
from mpesa_core.errors import InvalidField, OutcomeUnknown, RequestRefused
from tests.daraja import products as make
from tests.daraja.requested import body_of, context
from tests.sampled import sample

TABLE = {
    "one-off": ("1", "1"),
    "daily": ("2", "2"),
    "weekly": ("3", "3"),
    "bi-weekly": (None, "4"),
    "monthly": ("4", "5"),
    "bi-monthly": ("5", "6"),
    "quarterly": ("6", "7"),
    "half-yearly": ("7", "8"),
    "yearly": ("8", "9"),
}


@pytest.mark.parametrize("frequency", TABLE)
@pytest.mark.parametrize(("edition", "column"), [("2025", 0), ("2026", 1)])
def test_a_frequency_has_the_number_of_its_edition(frequency, edition, column):
    """Each frequency is sent as its edition's number; one that the edition lacks is refused."""
    number = TABLE[frequency][column]
    if number is None:
        with pytest.raises(InvalidField, match="frequency"):
            make.standing_order(frequency=frequency, edition=edition)
    else:
        operation = make.standing_order(frequency=frequency, edition=edition)
        assert number == body_of(operation.build(context()))["Frequency"]


def test_the_table_is_complete():
    """Every frequency is tested, and every edition."""
    assert set(Frequency) == set(TABLE)
    assert set(RatibaEdition) == set(FREQUENCIES)


@pytest.mark.parametrize(
    ("edition", "paybill", "till"),
    [
        ("2025", "Standing Order Customer Pay Bill", "Standing Order Customer Pay Marchant"),
        ("2026", "Standing Order Pay Bill Ext-Third Party", "Standing Order Merchant Payment Ext-Third Party"),
    ],
)
def test_a_till_is_named_as_one(edition, paybill, till):
    """The transaction type, the receiver and its type follow the account and the edition."""
    build = make.standing_order(edition=edition).build
    first, second = body_of(build(context())), body_of(build(context(till_number="555555")))
    keys = ("TransactionType", "ReceiverPartyIdentifierType", "BusinessShortCode")
    assert (paybill, "4", "174379") == tuple(first[key] for key in keys)
    assert (till, "2", "555555") == tuple(second[key] for key in keys)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "x" * 101),
        ("name", "a&b"),
        ("start", "20240905"),
        ("start", datetime(2024, 9, 5)),
        ("end", date(2024, 9, 4)),
        ("amount", 0),
        ("amount", "1.50"),
        ("frequency", "4"),
        ("frequency", 4),
        ("edition", "2027"),
        ("edition", None),
        ("phone_number", "12"),
        ("account_reference", "x" * 13),
        ("transaction_desc", "x" * 14),
        ("transaction_desc", ""),
        ("callback_url", "https://shop.example/mpesa"),
        ("custom_id", "with blank"),
        ("custom_id", "mine-1"),
    ],
)
def test_what_a_standing_order_cannot_say_is_refused(field, value):
    """The error names the field, at construction; a number of Daraja's for the frequency is not guessed at."""
    with pytest.raises(InvalidField) as caught:
        make.standing_order(**{field: value})
    assert field == caught.value.field


def test_there_is_no_edition_by_default():
    """Whoever does not say which table applies does not send one of them by accident."""
    with pytest.raises(TypeError, match="edition"):
        type(make.standing_order())(
            name="x", start=date(2026, 1, 1), end=date(2026, 1, 2), amount=1, frequency="daily",
            phone_number="0712345678", account_reference="x", callback_url="https://shop.example/x",
        )  # fmt: skip


def test_a_day_is_nairobis():
    """A start late in the evening of UTC is Nairobi's next day."""
    operation = make.standing_order(start=datetime(2024, 9, 4, 21, tzinfo=UTC))
    assert "20240905" == body_of(operation.build(context()))["StartDate"]


def answer(code, inner=None):
    """An answer with a code in its header, and perhaps another in its body."""
    whole = {"ResponseHeader": {"responseCode": code, "responseDescription": "words"}, "ResponseBody": {}}
    if inner is not None:
        whole["ResponseBody"] = {"responseCode": inner}
    return HttpResponse(status=200, body=json.dumps(whole).encode())


@pytest.mark.parametrize("code", ["1050", 1051])
def test_a_known_failure_is_a_refusal(code):
    """A name that is taken, or a field that is wrong, is refused with its meaning."""
    with pytest.raises(RequestRefused) as caught:
        make.standing_order().parse(answer(code))
    assert str(code) == caught.value.code
    assert caught.value.hint


@pytest.mark.parametrize(("code", "inner"), [("777", None), ("200", "1050"), ("0", None), (None, None), (True, None)])
def test_another_code_leaves_it_open(code, inner):
    """What is neither the code of an acceptance nor a known failure is unknown, and so are two codes that differ."""
    with pytest.raises(OutcomeUnknown):
        make.standing_order().parse(answer(code, inner))


def test_an_answer_is_read_in_either_case():
    """The camelCase of the callbacks is read like the PascalCase of the published answer."""
    text = sample("ratiba__response__accepted").body.replace(b"Response", b"response")
    found = make.standing_order().parse(HttpResponse(status=200, body=text))
    assert "4dd9b5d9-d738-42ba-9326-2cc99e966000" == found.response_ref_id
