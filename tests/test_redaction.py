"""Masking of phone numbers."""

from __future__ import annotations

import re
import time
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpesa_core.redaction import mask_phone, redact

SUBSCRIBERS = st.from_regex(r"[17][0-9]{8}", fullmatch=True)


def digits(text: str) -> str:
    """Only the digits."""
    return re.sub(r"\D", "", text)


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("254712345678", "2547…678"),
        ("+254112345678", "+2541…678"),
        ("0712345678", "07…678"),
        ("0712 345 678", "07…678"),
        ("712345678", "7…678"),
        (254712345678, "2547…678"),
        ("0201234567", "02…567"),
        ("somebody@shop.example", "so…ple"),
        ("12345678", "…"),
        ("1234", "…"),
        ("123", "123"),
        ("", ""),
        (None, "…"),
    ],
)
def test_mask_phone(value, masked):
    """A number keeps its prefix and last three digits, anything else less."""
    assert masked == mask_phone(value)


def test_mask_phone_of_a_number_too_long_to_write_out():
    """A whole number beyond the interpreter's limit for texts is masked too."""
    assert len(mask_phone(10**10_000)) < 10


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("call 0712345678 now", "call 07…678 now"),
        ("0112345678", "01…678"),
        ("tel:+254712345678.", "tel:+2547…678."),
        ("00254712345678", "002547…678"),
        ("+254 (0)712 345 678", "+254 (0)7…678"),
        ("2540712345678", "25407…678"),
        ('{"PhoneNumber":254712345678,"x":1}', '{"PhoneNumber":2547…678,"x":1}'),
        ('{"MSISDN": "254712345678"}', '{"MSISDN": "2547…678"}'),
        ("254708374149 - JOHN DOE", "2547…149 - JOHN DOE"),
        ("0712 345 678, 0712-345-678, 0712.345.678", "07…678, 07…678, 07…678"),
        ("254-712-345-678", "254-7…678"),
        ("712345678", "7…678"),
        ("712 345 678", "7…678"),
        ("\\n0712345678", "\\n07…678"),
        ("to%3A%2B254712345678", "to%3A%2B2547…678"),
        ("ws_CO_14102026101530123712345678", "ws_CO_14102026101530…678"),
        ("ws_CO_141020261015301712345678", "ws_CO_14102026101530…678"),
        ("WS_CO_1410202610153012112345678", "WS_CO_14102026101530…678"),
        (
            '{"CheckoutRequestID":"ws_CO_14102026101530123712345678"}',
            '{"CheckoutRequestID":"ws_CO_14102026101530…678"}',
        ),
    ],
)
def test_redact_masks(text, masked):
    """A phone number is masked in free text, in JSON, with separators and in a CheckoutRequestID."""
    assert masked == redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "ws_CO_191220191020363925",
        "29115-34620561-1",
        "5118-111210482-1",
        "2654-4b64-97ff-b827b542881d3130",
        "AG_20191219_00004e48cf7e3533f581",
        "07.06.2024 22:48:52",
        "01-12-2019 10:20:30",
        "2024-07-06 22:48:52.123456",
        "20191219102115",
        "took 0.123456789 s",
        "KES 7,123,456,789.00",
        "254708***430",
        "2547 ***** 126",
        "0201234567",
        "174379",
        "71234567",
        "bbff37ce0712345678ce4af4bbff37ce0712345678ce4af4bbff37ce0712af4a",
        "12345678-0712-4345-8678-071234567812",
        "",
    ],
)
def test_redact_leaves(text):
    """Identifiers, times, amounts, masked numbers and landlines stay as they are."""
    assert text == redact(text)


@given(SUBSCRIBERS, st.sampled_from(["", "0", "254", "+254", "00254"]), st.text(max_size=20), st.text(max_size=20))
def test_no_number_in_any_text_is_shown_whole(subscriber, prefix, before, after):
    """Whatever surrounds a number, its nine digits are not in what is shown."""
    before, after = re.sub(r"[0-9a-fA-F.,-]", "", before), re.sub(r"[0-9a-fA-F.,-]", "", after)
    assert subscriber not in digits(redact(f"{before} {prefix}{subscriber} {after}"))


@given(
    SUBSCRIBERS,
    st.sampled_from(["0", "254", "+254"]),
    st.lists(st.sampled_from(["", " ", "-", "\u00a0", " - "]), min_size=9),
)
def test_no_separators_hide_a_number(subscriber, prefix, gaps):
    """Spaces and dashes between any digits make no difference."""
    spread = "".join(gap + digit for gap, digit in zip(gaps, subscriber, strict=False))
    assert subscriber not in digits(redact(f"phone {prefix}{spread} end"))


@given(st.uuids())
def test_a_uuid_stays_readable(identifier: UUID):
    """A transaction's id can be found in the log."""
    assert f"transaction {identifier}." == redact(f"transaction {identifier}.")


@given(st.text())
def test_redacting_twice_changes_nothing_more(text):
    """What was masked once is left alone."""
    assert redact(text) == redact(redact(text))


@pytest.mark.parametrize(
    "hostile",
    [
        "0" * 262_144,
        "0(" * 131_072,
        "254(((" * 43_000,
        "07 1 2 3 4 5 6 7 " * 15_000,
        "ws_CO_1" * 37_000,
        "f" * 262_144 + "g",
    ],
    ids=range(6),
)
def test_a_hostile_text_takes_no_longer_than_its_length(hostile):
    """A quarter of a megabyte built against the patterns is read in linear time."""
    started = time.process_time()
    redact(hostile)
    assert time.process_time() - started < 1.0
