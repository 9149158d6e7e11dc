"""JSON in and out, and what the wire's values mean."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from decimal import Decimal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpesa_core.daraja.codec import (
    dumps,
    from_wire,
    loads,
    phone_of_party,
    scan,
    to_code,
    to_decimal,
    to_identifier,
    to_phone,
    to_receipt,
    to_shillings,
    to_text,
    to_wire,
    wire,
)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"Amount": 1.00}', {"Amount": Decimal("1.00")}),
        (b'{"Amount": 10}', {"Amount": 10}),
        (b'{"Amount": 0.1}', {"Amount": Decimal("0.1")}),
        (b"\xef\xbb\xbf[1]", [1]),
        (b"  null ", None),
        ('"é"'.encode(), "é"),
    ],
)
def test_json_is_read_exactly(body, expected):
    """Numbers with a point are Decimals with their digits, and a byte order mark is no error."""
    found = loads(body)
    assert expected == found
    assert repr(expected) == repr(found)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  \n",
        b"<html></html>",
        b'{"a": 1',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b"\xff\xfe{\x00}\x00",
        b'"\xc3\x28"',
        '{"a": 1}'.encode("utf-16"),
        b'{"a": 1, "a": 2}',
        b"{" + b",".join(b'"%d":1' % n for n in range(1_001)) + b"}",
        b'{"a": {"b": 1, "b": 1}}',
        b'{"\\u0000": 1, "\\u0000": 2}',
        b'{"a": 1e999}',
        b'{"a": 1e400}',
        b'{"a": 1e-9999999999999999999999999999}',
        b'{"a": ' + b"9" * 100_000 + b"}",
        b'{"a": 0.' + b"9" * 100_000 + b"}",
        b"[" * 100_000,
        b"[" + b"[]," * 10_000 + b"[]]",
        b"[" * 40 + b"]" * 40,
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b"[" * 5_000 + b"]" * 5_000,
    ],
)
def test_what_is_no_clear_json_is_a_value_error(body):
    """Broken, ambiguous, non-finite, overlong and overdeep JSON is refused with one kind of error that quotes nothing."""
    with pytest.raises(ValueError) as caught:
        loads(body)
    assert len(str(caught.value)) < 200


def test_reading_accepts_the_depth_that_it_promises():
    """Thirty-two levels are read, thirty-three containers inside one another are not."""
    assert loads(b"[" * 33 + b"]" * 33)
    with pytest.raises(ValueError):
        loads(b"[" * 34 + b"]" * 34)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (rb'{"a": "\ud800x"}', {"a": "\ufffdx"}),
        (rb'{"a": ["\udc00", {"b": "\u0000"}]}', {"a": ["\ufffd", {"b": "\ufffd"}]}),
        (rb'{"\ud83d": 1}', {"\ufffd": 1}),
        (rb'"\uD800"', "\ufffd"),
        (rb'{"a": "\ud83d\ude00"}', {"a": "\U0001f600"}),
    ],
)
def test_text_that_no_store_takes_is_mended(body, expected):
    """Lone surrogates and NUL become U+FFFD; a proper pair stays what it is."""
    found = loads(body)
    assert expected == found
    assert json.dumps(found, ensure_ascii=False).encode()


def test_keys_that_are_mended_into_one_are_ambiguous():
    """Two keys that differ only in what cannot be stored are a key twice."""
    with pytest.raises(ValueError):
        loads(rb'{"\ud800": 1, "\ud801": 2}')


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 262_144,
        b"[[]" + b",[]" * 87_000 + b"]",
        b"{" + b",".join(b'"%d":1' % n for n in range(25_000)) + b"}",
        b"[" + b",".join(b"{}" for _ in range(87_000)) + b"]",
        b'{"a":' + b"9" * 262_000 + b"}",
        b"[" + b"1e64," * 50_000 + b"1]",
        b'"' + b"\\ud800" * 43_000 + b'"',
        b'["' + b'\\ud800","' * 29_000 + b'"]',
        b'{"a":"' + b"\\" * 262_000 + b'"}',
    ],
    ids=["depth", "lists", "keys", "objects", "digits", "numbers", "surrogates", "texts", "escapes"],
)
def test_a_hostile_body_takes_no_time(body):
    """A quarter of a mebibyte of the worst is read or refused quickly (the best of three, against a busy machine)."""
    best = 10.0
    for _ in range(3):
        start = time.process_time()
        with suppress(ValueError):
            loads(body)
        best = min(best, time.process_time() - start)
    assert best < 0.1


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body):
    """Whatever comes, reading ends in a value or in a ValueError."""
    with suppress(ValueError):
        loads(body)


def test_writing_keeps_a_decimal_as_the_number_that_it_is():
    """Amounts are numbers with their own digits, and text is escaped."""
    assert b'{"a":1.00,"b":[null,true,"\\u00e9"],"c":3}' == dumps(
        {"a": Decimal("1.00"), "b": [None, True, "é"], "c": 3}
    )


@pytest.mark.parametrize("value", [1.5, Decimal("NaN"), object(), {1, 2}])
def test_what_json_has_no_form_for_is_not_written(value):
    """A float, among others, is refused: money is never one."""
    with pytest.raises(TypeError):
        dumps({"a": value})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        ("0", 0),
        (" 0 ", 0),
        (Decimal("0.0"), 0),
        (Decimal("-0.0"), 0),
        (Decimal("0E+5"), 0),
        (1032, 1032),
        ("1032", 1032),
        (Decimal("1032.00"), 1032),
        ("-1", -1),
        ("SFC_IC0003", "SFC_IC0003"),
        ("C2B00012", "C2B00012"),
        ("00", "00"),
        ("00000000", "00000000"),
        ("0.0", "0.0"),
        ("-0", "-0"),
        ("+0", "+0"),
        ("01", "01"),
        ("\u0660", "\u0660"),
        (Decimal("0.5"), "0.5"),
        (2**31 - 1, 2**31 - 1),
        (2**31, "2147483648"),
        ("9" * 30, "9" * 30),
        (True, None),
        (False, None),
        (None, None),
        ("", None),
        ("   ", None),
        ([0], None),
        ({"a": 0}, None),
        (0.0, None),
        ("x" * 65, None),
        (10**70, None),
    ],
)
def test_a_result_code_is_a_number_where_it_is_one(value, expected):
    """Zero is zero in every form that M-PESA has, and nothing else is: no boolean, no null, no odd text."""
    found = to_code(value)
    assert expected == found
    assert type(expected) is type(found)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, Decimal(1)),
        (Decimal("1.00"), Decimal("1.00")),
        ("190.00", Decimal("190.00")),
        (" 5 ", Decimal(5)),
        ("-1980.00", Decimal("-1980.00")),
        ("1,200.00", Decimal("1200.00")),
        ("1,234,567", Decimal(1234567)),
        ("1e3", Decimal("1E+3")),
        ("1,2", None),
        ("1,2000", None),
        ("12,00.00", None),
        ("", None),
        ("ten", None),
        ("NaN", None),
        ("Infinity", None),
        ("1e999999", None),
        ("1e99", None),
        ("9" * 41, None),
        (10**41, None),
        ("0x10", None),
        ("1_000", None),
        ("\u0661\u0662", None),
        (True, None),
        (None, None),
        (1.0, None),
        ([1], None),
    ],
)
def test_an_amount_is_read_exactly_or_not_at_all(value, expected):
    """Numbers and text become Decimals with their digits; a float, a boolean and odd text are none."""
    assert repr(expected) == repr(to_decimal(value))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (254708374149, "254708374149"),
        ("254708374149", "254708374149"),
        ("+254708374149", "254708374149"),
        ("2547 ***** 126", "2547 ***** 126"),
        ("254708***430", "254708***430"),
        ("bb" * 32, "bb" * 32),
        ("600000", "600000"),
        ("", None),
        (None, None),
        (True, None),
        ("x" * 256, None),
    ],
)
def test_a_phone_number_is_kept_as_it_was_sent(value, expected):
    """Number or text, masked or hashed."""
    assert expected == to_phone(value)


@pytest.mark.parametrize(
    ("party", "expected"),
    [
        ("254708374149 - JOHN DOE", "254708374149"),
        ("+254708374149 \u2013 JOHN - DOE", "254708374149"),
        ("2547 ***** 149 -  J", "2547 ***** 149"),
        ("600000 - ACME", None),
        ("254708374149-JOHN", None),
        ("", None),
        (None, None),
    ],
)
def test_the_phone_number_of_a_party_is_what_stands_before_its_name(party, expected):
    """Masked or not; a short code is none."""
    assert expected == phone_of_party(party)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("100.00"), "Decimal('100.00')"),
        (Decimal("100.1"), "Decimal('100.10')"),
        (100, "Decimal('100.00')"),
        ("100.00", "Decimal('100.00')"),
        ("-1,000", "Decimal('-1000.00')"),
        ("9999999999.99", "Decimal('9999999999.99')"),
        ("10000000000.00", "None"),
        (Decimal("10000000000.00"), "None"),
        (Decimal("0E+50"), "None"),
        ("0.001", "None"),
        ("\u0661.00", "None"),
        (Decimal("NaN"), "None"),
        (1.0, "None"),
        (None, "None"),
    ],
)
def test_shillings_have_two_decimals_or_are_none(value, expected):
    """Numbers and text, exactly; nothing of ten thousand million or more."""
    assert expected == repr(to_shillings(value))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("NLJ7RT61SV", "NLJ7RT61SV"),
        (" NLJ7RT61S0 ", "NLJ7RT61S0"),
        ("NLJ0000000", ""),
        ("0000", ""),
        (0, None),
        ("NLJ7 RT61SV", None),
        ("A" * 65, None),
        (None, None),
    ],
)
def test_a_receipt_is_one_a_dummy_or_none(value, expected):
    """A dummy, as M-PESA sends where there is no receipt, is empty text and no receipt."""
    assert expected == to_receipt(value)


def test_an_identifier_fits_the_column_that_it_is_found_by():
    """Text of 255 characters is one, and longer text is none."""
    assert "x" * 255 == to_identifier(" " + "x" * 255)
    assert to_identifier("x" * 256) is None


def test_scanned_json_has_exact_numbers_and_says_where_it_ends():
    """Amounts are Decimals, absurd numbers are refused, and what follows is left to the caller."""
    value, end = scan('{"Amount":1.00,"Amount":2.50} x')
    assert ({"Amount": Decimal("2.50")}, 29) == (value, end)
    with pytest.raises(ValueError, match="41 characters"):
        scan('{"Amount":' + "9" * 41 + "}")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("  a ", "a"),
        (5, "5"),
        (Decimal("1.00"), "1.00"),
        ("", None),
        (None, None),
        (False, None),
        ([], None),
        ("x" * 1025, None),
    ],
)
def test_text_is_text_and_numbers_are_their_digits(value, expected):
    """Blanks around it go; what is no text is None."""
    assert expected == to_text(value)


@attrs.frozen(kw_only=True)
class Example:
    amount: Decimal = attrs.field(metadata=wire("Amount"))
    name: str = attrs.field(metadata=wire("OriginatorCoversationID", "OriginatorConversationID"))
    note: str | None = attrs.field(default=None, metadata=wire("Note"))
    gap: str | None = attrs.field(default=None, metadata=wire("Gap", null=True))
    inner: str = "not on the wire"


def test_a_request_is_written_with_its_wire_names():
    """Whole shillings without a point, None left out unless it is to be null, and nothing that has no wire name."""
    example = Example(amount=Decimal("10.00"), name="x")
    assert {"Amount": 10, "OriginatorCoversationID": "x", "Gap": None} == to_wire(example)
    assert Decimal("10.50") == to_wire(attrs.evolve(example, amount=Decimal("10.50")))["Amount"]


def test_an_answer_is_read_by_any_of_its_names():
    """The second spelling is read, numbers become text, undocumented keys are ignored."""
    found = from_wire(Example, {"Amount": "1,200.00", "OriginatorConversationID": 7, "Other": []})
    assert Example(amount=Decimal("1200.00"), name="7") == found


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"Amount": 1},
        {"Amount": 1, "OriginatorConversationID": ""},
        {"Amount": "x", "OriginatorConversationID": "a"},
        {"Amount": True, "OriginatorConversationID": "a"},
        {"Amount": 1, "OriginatorConversationID": ["a"]},
        [],
    ],
)
def test_an_answer_without_what_it_must_have_is_a_value_error(body):
    """Missing, empty and mistyped fields are named."""
    with pytest.raises(ValueError):
        from_wire(Example, body)
