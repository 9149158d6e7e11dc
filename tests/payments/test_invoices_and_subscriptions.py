"""The tables of invoices and subscriptions, and the signals that their rows carry."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import attrs
import pytest

from mpesa_core.daraja.callbacks import StandingOrderCallback
from mpesa_core.daraja.codes import Outcome
from mpesa_core.errors import IllegalTransition
from mpesa_core.payments import invoices, subscriptions
from mpesa_core.payments.dues import announced, first_signal, with_signal
from mpesa_core.payments.invoices import INVOICE_TRANSITIONS, OPEN_INVOICES, InvoiceRow, InvoiceStatus
from mpesa_core.payments.subscriptions import (
    SUBSCRIPTION_TRANSITIONS,
    Contradiction,
    SubscriptionRow,
    SubscriptionStatus,
    midnight_after,
)

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
PAYMENT = UUID(int=1)


def invoice(status=InvoiceStatus.SENT, **more):
    given = {"sent_at": None if status in ("pending", "refused") else NOW, **more}
    return InvoiceRow(
        id=UUID(int=9),
        short_code="174379",
        external_reference="E-1",
        account_reference="A-1",
        amount=Decimal(100),
        due_at=NOW,
        status=status,
        created_at=NOW,
        **given,
    )


def subscription(status=SubscriptionStatus.ACTIVE, **more):
    given = {"stopped_at": NOW if status in ("ended", "disabled", "cancelled") else None, **more}
    return SubscriptionRow(
        id=UUID(int=9),
        short_code="174379",
        name="Gym",
        account_reference="GYM",
        phone_number="254708374149",
        amount=Decimal(500),
        start_on=date(2026, 11, 1),
        end_on=date(2026, 11, 30),
        frequency="monthly",
        edition="2025",
        status=status,
        created_at=NOW,
        **given,
    )


def said(outcome, code=0, order="SC8F2IQMH5"):
    return StandingOrderCallback(
        outcome=outcome, result_code=code, standing_order_id=order if outcome is Outcome.SUCCESS else "0000000000"
    )


def moved(row, changes):
    """Where changes take a row; None where they leave it."""
    if changes is None or isinstance(changes, Contradiction) or "status" not in changes:
        return None
    return str(changes["status"])


@pytest.mark.parametrize("status", InvoiceStatus)
def test_every_step_of_an_invoice_is_in_the_table(status):
    """Whatever happens to an invoice in whatever status takes it where the table says, or nowhere."""
    for payments in ({}, {str(UUID(int=2)): "10"}):
        row = invoice(status, payments=payments)
        steps = {
            "accepted": lambda row: invoices.accepted(row, NOW),
            "refused": lambda row: invoices.refused(row, "no"),
            "part": lambda row: invoices.paid_by(row, PAYMENT, Decimal(10), NOW),
            "paid": lambda row: invoices.paid_by(row, PAYMENT, Decimal(100), NOW),
            "overdue": lambda row: invoices.overdue(row, NOW),
            "voided": lambda row: invoices.voided(row, NOW),
        }
        for name, step in steps.items():
            try:
                target = moved(row, step(row))
            except IllegalTransition as error:
                assert ("voided", status.value, "invoice") == (name, error.status, error.kind)
                continue
            assert target is None or target in INVOICE_TRANSITIONS[status], (name, target)


def test_every_transition_of_an_invoice_happens():
    """No line of the table is a dead one (sending a refused one again is tried with the gateway)."""
    reached = {
        (status, InvoiceStatus(target))
        for status in InvoiceStatus
        for changes in (
            invoices.accepted(invoice(status), NOW),
            invoices.refused(invoice(status), "no"),
            invoices.paid_by(invoice(status), PAYMENT, Decimal(1), NOW),
            invoices.paid_by(invoice(status), PAYMENT, Decimal(100), NOW),
            invoices.overdue(invoice(status), NOW),
            invoices.voided(invoice(status), NOW) if status not in ("paid", "part_paid", "refused") else None,
        )
        if (target := moved(invoice(status), changes)) is not None
    }
    every = {(status, target) for status, targets in INVOICE_TRANSITIONS.items() for target in targets}
    assert every - reached == {(InvoiceStatus.REFUSED, InvoiceStatus.PENDING)}


@pytest.mark.parametrize("status", InvoiceStatus)
def test_only_an_open_invoice_takes_a_payment(status):
    """And each payment once."""
    row = invoice(status)
    changes = invoices.paid_by(row, PAYMENT, Decimal(10), NOW)
    assert (status in OPEN_INVOICES) == (changes is not None)
    if changes is not None:
        paid = attrs.evolve(row, **changes)
        assert invoices.paid_by(paid, PAYMENT, Decimal(10), NOW) is None
        assert Decimal(10) == invoices.paid_so_far(paid)


@pytest.mark.parametrize(
    "amounts", [("100",), ("60", "40"), ("99.99", "0.01"), ("60", "60"), ("0.01",) * 5 + ("99.95",)]
)
def test_the_sum_decides(amounts):
    """It is paid by the payment that completes it, not before, and announced by that one."""
    row = invoice()
    for number, amount in enumerate(amounts, 1):
        assert InvoiceStatus.PAID != row.status
        row = attrs.evolve(row, **invoices.paid_by(row, UUID(int=number), Decimal(amount), NOW))
    assert InvoiceStatus.PAID == row.status
    assert ("invoice_paid", UUID(int=len(amounts))) == (first_signal(row).signal, first_signal(row).transaction_id)
    assert 1 == len(row.unannounced)


@pytest.mark.parametrize("status", SubscriptionStatus)
def test_every_step_of_a_subscription_is_in_the_table(status):
    """Whatever happens to a subscription in whatever status takes it where the table says, or nowhere."""
    row = subscription(status)
    outcomes = [said(outcome, code) for outcome, code in itertools.product(Outcome, (0, 1032))]
    steps = [
        *(lambda row, each=each: subscriptions.answered(row, each, NOW) for each in outcomes),
        lambda row: subscriptions.refused(row, "no", NOW),
        lambda row: subscriptions.charged(row, NOW + timedelta(days=1), NOW),
        lambda row: subscriptions.stopped(row, SubscriptionStatus.DISABLED, NOW),
        lambda row: subscriptions.stopped(row, SubscriptionStatus.CANCELLED, NOW),
        lambda row: subscriptions.ended(row, NOW + timedelta(days=99)),
    ]
    reached = set()
    for step in steps:
        try:
            target = moved(row, step(row))
        except IllegalTransition as error:
            assert (status.value, "subscription") == (error.status, error.kind)
            continue
        if target is not None:
            reached.add(SubscriptionStatus(target))
    assert SUBSCRIPTION_TRANSITIONS[status] == reached


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.PENDING])
@pytest.mark.parametrize("status", SubscriptionStatus)
def test_an_answer_that_says_nothing_settles_nothing(status, outcome):
    """It is a contradiction for a person, in every status."""
    assert isinstance(subscriptions.answered(subscription(status), said(outcome, 9999), NOW), Contradiction)


def test_the_order_of_the_same_answers_does_not_matter():
    """Success and its duplicates end in the same row, with the order's id, in any order with the first charge."""
    ends = set()
    for steps in itertools.permutations(("answer", "charge", "answer")):
        row = subscription(SubscriptionStatus.PENDING)
        for step in steps:
            if step == "answer":
                changes = subscriptions.answered(row, said(Outcome.SUCCESS), NOW)
            else:
                changes = subscriptions.charged(row, NOW, NOW)
            row = attrs.evolve(row, **(changes or {}))
        ends.add((row.status, row.standing_order_id, row.generation, len(row.unannounced)))
    assert {("active", "SC8F2IQMH5", 1, 1)} == ends


@pytest.mark.parametrize(
    ("day", "moment"),
    [
        (date(2026, 11, 30), datetime(2026, 11, 30, 21, tzinfo=UTC)),
        (date(2026, 12, 31), datetime(2026, 12, 31, 21, tzinfo=UTC)),
        (date.max, datetime(9998, 12, 31, 21, tzinfo=UTC)),
    ],
)
def test_the_end_of_a_day_in_nairobi(day, moment):
    """It is three hours before midnight in UTC, and the last day there is does not overflow."""
    assert moment == midnight_after(day)


# -- the signals that a row carries --------------------------------------------------------------------------------


def test_signals_are_carried_in_order_and_taken_off_one_by_one():
    """The oldest comes first, each is taken off by its number, and the fence comes down with the last."""
    row = invoice()
    for signal in ("invoice_created", "invoice_paid"):
        row = attrs.evolve(row, **with_signal(row, signal, NOW, changes={}))
    assert (2, NOW) == (row.generation, row.announce_until)
    until = NOW + timedelta(seconds=60)
    seen = []
    while (due := first_signal(row)) is not None:
        seen.append((due.generation, due.signal))
        row = attrs.evolve(row, **announced(row, due.generation, until))
        assert (until if len(seen) == 1 else None) == row.announce_until
        assert announced(row, due.generation, until) is None
    assert [(1, "invoice_created"), (2, "invoice_paid")] == seen


def test_a_fence_that_is_up_stays_with_its_holder():
    """A signal that is added does not take the lease away from who is announcing."""
    lease = NOW + timedelta(seconds=60)
    row = invoice(announce_until=lease, unannounced={"9": {"signal": "invoice_created"}}, generation=9)
    changed = attrs.evolve(row, **with_signal(row, "invoice_voided", NOW, changes={}))
    assert (lease, 9) == (changed.announce_until, first_signal(changed).generation)
    assert {"9", "10"} == set(changed.unannounced)
