"""When a transaction is asked about, when time has run out for it, and when to stop asking. Durations are seconds."""

from __future__ import annotations

from datetime import datetime, timedelta

from mpesa_core.payments.machine import OPEN
from mpesa_core.payments.records import TransactionRecord, TransactionType
from mpesa_core.settings import Settings

__all__ = ["backoff", "deadline", "next_check", "patience"]


def deadline(row: TransactionRecord, settings: Settings) -> datetime:
    """After this an open transaction is TIMEOUT."""
    return row.initiated_at + patience(row.transaction_type, settings)


def patience(transaction_type: str, settings: Settings) -> timedelta:
    """How long a transaction of a type may stay open."""
    stk = transaction_type == TransactionType.STK_PUSH
    return timedelta(seconds=settings.stk_deadline if stk else settings.payout_deadline)


def next_check(
    row: TransactionRecord, settings: Settings, now: datetime, *, checks: int, status: str | None = None
) -> datetime | None:
    """When to ask next, after ``checks`` questions: ever more rarely, at the deadline in any case.

    Args:
        row: the transaction.
        settings: intervals, deadlines and the horizon.
        now: the time.
        checks: how many questions there were.
        status: the one that it is about to have, where that is another.

    Returns:
        The time; None when the horizon is past and nothing is asked any more.
    """
    end = row.initiated_at + timedelta(seconds=settings.horizon)
    wait = min(settings.query_interval * 2 ** min(checks, 20), settings.query_interval_longest)
    due = now + timedelta(seconds=wait)
    limit = deadline(row, settings)
    if (status or row.status) in OPEN:
        return min(due, limit) if now < limit else due
    return due if due <= end else None


def backoff(attempts: int, *, longest: float) -> timedelta:
    """How long a callback waits for its next attempt: one second, doubling."""
    return timedelta(seconds=min(2.0 ** min(attempts, 20), longest))
