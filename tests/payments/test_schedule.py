"""When a transaction is asked about."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from mpesa_core.payments.records import Status, TransactionType
from mpesa_core.payments.schedule import backoff, deadline, next_check
from mpesa_core.settings import Settings
from tests.payments.evidence import NOW, row

SETTINGS = Settings()


@given(st.integers(0, 60), st.floats(0, 900))
def test_open_payment_is_looked_at_by_its_deadline(checks, elapsed):
    """An open transaction's next question is never after its deadline, so that it is concluded there."""
    now = NOW + timedelta(seconds=elapsed)
    due = next_check(row(), SETTINGS, now, checks=checks)
    assert now < due <= max(deadline(row(), SETTINGS), now + timedelta(seconds=SETTINGS.query_interval_longest))
    if now < deadline(row(), SETTINGS):
        assert due <= deadline(row(), SETTINGS)


def test_questions_become_rarer():
    """The interval doubles from query_interval up to query_interval_longest."""
    given_up = row(status=Status.TIMEOUT)
    waits = [next_check(given_up, SETTINGS, NOW, checks=n) - NOW for n in (0, 1, 2, 30)]
    assert [30, 60, 120, 21600] == [wait.total_seconds() for wait in waits]


def test_asking_ends_at_the_horizon():
    """What is still unknown after the horizon is asked about no more."""
    given_up = row(status=Status.TIMEOUT)
    assert next_check(given_up, SETTINGS, NOW + timedelta(seconds=SETTINGS.horizon), checks=5) is None


def test_payouts_have_their_own_deadline():
    """A payout may take longer than a prompt."""
    payout = row(transaction_type=TransactionType.B2C)
    assert NOW + timedelta(seconds=SETTINGS.payout_deadline) == deadline(payout, SETTINGS)


def test_backoff_doubles_up_to_its_longest():
    """A callback waits one second, two, four, and no longer than it is told."""
    assert [1, 2, 4, 300] == [backoff(n, longest=300).total_seconds() for n in (0, 1, 2, 50)]
