"""Which STK payment a C2B confirmation belongs to."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from uuid import UUID

import pytest

from mpesa_core.payments.adoption import (
    Adopt,
    Create,
    Several,
    Wait,
    asked_since,
    believable,
    match,
    phone_agrees,
    plausible,
)
from mpesa_core.payments.machine import Source
from mpesa_core.payments.records import Status
from tests.payments.evidence import NOW, RECEIPT, row, success

CONFIRMATION = success(source=Source.CONFIRMATION, phone_number="2547 ***** 149")
PHONE = "254708374149"


def matched(*rows, unprocessed=False, waited=0.0, grace=120.0):
    return match(rows, unprocessed=unprocessed, received_at=NOW, now=NOW + timedelta(seconds=waited), grace=grace)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (PHONE, True),
        ("254708374148", False),
        ("2547 ***** 149", True),
        ("2547 ***** 148", False),
        ("25470****149", True),
        ("25471****149", False),
        (hashlib.sha256(PHONE.encode()).hexdigest(), True),
        (hashlib.sha256(PHONE.encode()).hexdigest().upper(), True),
        (hashlib.sha256(b"254708374148").hexdigest(), False),
        ("", True),
        (None, True),
        ("base64+/hash=", True),
        ("600134", True),
    ],
)
def test_phone_as_mpesa_shows_it(said, expected):
    """A number in full, masked or hashed rules a payment out only where it can be seen to be another."""
    assert expected is phone_agrees(PHONE, said)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"status": Status.PENDING}, True),
        ({"status": Status.SUCCESS, "settled_by": Source.QUERY}, True),
        ({"status": Status.SUCCESS, "settled_by": Source.CALLBACK, "mpesa_receipt_number": RECEIPT}, False),
        ({"status": Status.REVERSED, "settled_by": Source.REVERSAL}, True),
        ({"status": Status.TIMEOUT, "settled_by": Source.DEADLINE}, True),
        ({"status": Status.FAILED, "settled_by": Source.QUERY}, True),
        ({"status": Status.FAILED, "settled_by": Source.CALLBACK}, False),
        ({"status": Status.FAILED, "settled_by": Source.UNSENT}, False),
        ({"phone_number": "254711111111"}, False),
    ],
)
def test_which_payments_are_plausible(changes, expected):
    """A payment without a receipt that is not known to have failed, of a phone that may be the same."""
    found = plausible([row(**changes)], CONFIRMATION, NOW, stk_deadline=900)
    assert expected is bool(found)


def test_old_prompt_is_not_paid_by_a_later_visit():
    """A prompt that was given up long before the customer paid cannot be what he paid; an open one always may."""
    given_up = row(status=Status.TIMEOUT, settled_by=Source.DEADLINE)
    later = NOW + timedelta(days=1)
    assert () == plausible([given_up], CONFIRMATION, later, stk_deadline=900)
    assert (row(),) == plausible([row()], CONFIRMATION, later, stk_deadline=900)


@pytest.mark.parametrize("status", [Status.PROCESSING, Status.SUCCESS, Status.TIMEOUT])
@pytest.mark.parametrize(("paid", "expected"), [(-2 * 3600, False), (-1800, True), (60, True)])
def test_what_was_paid_before_the_prompt_is_not_its_payment(status, paid, expected):
    """A payment from long before a prompt is not what the prompt brought; a clock may be wrong by an hour."""
    prompted = row(status=status, settled_by=None if status == Status.PROCESSING else Source.QUERY)
    found = plausible([prompted], CONFIRMATION, NOW + timedelta(seconds=paid), stk_deadline=900)
    assert expected is bool(found)


@pytest.mark.parametrize(
    ("paid", "expected"), [(60, True), (900 + 3500, True), (900 + 3700, False), (30 * 86400, False)]
)
def test_success_without_a_receipt_is_not_the_owner_of_every_later_one(paid, expected):
    """A success by query that never got its receipt does not swallow what the customer pays later by himself."""
    settled = row(status=Status.SUCCESS, settled_by=Source.QUERY)
    assert expected is bool(plausible([settled], CONFIRMATION, NOW + timedelta(seconds=paid), stk_deadline=900))


def test_nobody_prompted_means_a_new_payment():
    """Without a plausible STK payment the confirmation is a payment of its own, at once."""
    assert Create() == matched()


@pytest.mark.parametrize("waited", [0, 30, 119.9])
def test_open_payment_is_waited_for(waited):
    """While an STK payment is open its own callback gets the chance to come first."""
    assert isinstance(matched(row(), waited=waited), Wait)


def test_grace_is_bounded():
    """When the grace is over the only plausible payment is adopted, open or not."""
    assert Adopt(row()) == matched(row(), waited=120)


def test_settled_payment_without_receipt_is_adopted_at_once():
    """A success by query lacks just this receipt."""
    settled = row(status=Status.SUCCESS, settled_by=Source.QUERY)
    assert Adopt(settled) == matched(settled)


def test_unprocessed_callback_is_waited_for_beyond_the_grace():
    """A callback of the payment that is in the log already speaks first, however long that takes."""
    assert isinstance(matched(row(), unprocessed=True, waited=3600), Wait)


def test_several_at_the_end_are_for_a_person():
    """Two payments that fit alike are not guessed between: they wait, and then a person says which."""
    rows = (row(), row(id=UUID(int=2)))
    assert isinstance(matched(*rows, waited=60), Wait)
    assert Several(rows) == matched(*rows, waited=120)


@pytest.mark.parametrize(
    ("apart", "expected"), [(0, True), (48, True), (24 * 29, True), (24 * 31, False), (-24 * 31, False)]
)
def test_time_of_another_year_tells_nothing(apart, expected):
    """A payment's time that is more than a month from when it was told says something of a clock, and decides nothing."""
    paid_at = NOW - timedelta(hours=apart)
    assert (paid_at if expected else None) == believable(paid_at, NOW)
    assert believable(None, NOW) is None


@pytest.mark.parametrize("occurred_at", [NOW - timedelta(days=2), None])
def test_nothing_plausible_was_asked_for_earlier(occurred_at):
    """No payment that is given up is plausible if it was asked for before what is looked at."""
    since = asked_since(occurred_at, NOW, stk_deadline=900)
    paid_at = occurred_at or NOW - timedelta(days=30)
    for status in (Status.SUCCESS, Status.TIMEOUT):
        asked = row(status=status, initiated_at=since - timedelta(seconds=1))
        assert () == plausible([asked], CONFIRMATION, paid_at, stk_deadline=900)
