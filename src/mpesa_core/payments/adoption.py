"""Which STK payment a C2B confirmation belongs to, if any.

A short code with registered C2B URLs gets a confirmation for each STK payment too, with the same receipt and in
either order. One receipt is one settlement, so a confirmation first looks for the STK transaction that it is the
second report of.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import attrs

from mpesa_core.payments.decide import Evidence
from mpesa_core.payments.machine import OPEN, is_known
from mpesa_core.payments.records import Status, TransactionRecord

__all__ = [
    "Adopt",
    "Create",
    "Match",
    "Several",
    "Wait",
    "asked_since",
    "believable",
    "match",
    "phone_agrees",
    "plausible",
]


@attrs.frozen
class Adopt:
    """It is the second report of this STK payment."""

    row: TransactionRecord


@attrs.frozen
class Wait:
    """It may be an STK payment's whose own callback is still to come: look again at this time."""

    until: datetime


@attrs.frozen
class Several:
    """It may be any of these: a person has to say which."""

    rows: tuple[TransactionRecord, ...]


@attrs.frozen
class Create:
    """No STK payment has to do with it: the customer paid by himself."""


Match = Adopt | Wait | Several | Create

_LOOK_AGAIN: Final = timedelta(seconds=2)
_CLOCKS_APART: Final = timedelta(hours=1)
"""As much as a host's clock may be wrong, against M-PESA's, which says when the customer paid."""


_STALE: Final = timedelta(days=30)
"""M-PESA reports at once, and its list of what was missed goes back for 48 hours."""


def believable(occurred_at: datetime | None, received_at: datetime) -> datetime | None:
    """When the customer paid; None where it is not said, or so far from now that it tells of a clock, not of a payment.

    Args:
        occurred_at: as the confirmation says.
        received_at: when it came.
    """
    return occurred_at if occurred_at is not None and abs(received_at - occurred_at) <= _STALE else None


def asked_since(occurred_at: datetime | None, received_at: datetime, *, stk_deadline: float) -> datetime:
    """How far back an STK push may have been asked for that a confirmation belongs to; no older row is looked at.

    Most rows without a receipt are failures, and a till that always asks for the same amount has ever more of them.

    Args:
        occurred_at: when the customer paid, as :func:`believable` has it.
        received_at: when the confirmation came.
        stk_deadline: seconds that an STK push may take.
    """
    paid_at = received_at - _STALE if occurred_at is None else occurred_at
    return paid_at - timedelta(seconds=stk_deadline) - _CLOCKS_APART


def plausible(
    rows: Sequence[TransactionRecord], evidence: Evidence, occurred_at: datetime | None, *, stk_deadline: float
) -> tuple[TransactionRecord, ...]:
    """Those of the rows that the confirmation may belong to.

    A row is out when it has a receipt, has failed for certain, or has another phone number (where that can be seen,
    through a mask or by its hash). It is out too when the customer paid before it was asked for; and one that is no
    longer open, when he paid later than its prompt could have lived: next month's rent is not last month's.

    Args:
        rows: STK transactions of the same short code, amount and reference, without a receipt.
        evidence: the confirmation's.
        occurred_at: when the customer paid, where it is said.
        stk_deadline: seconds that an STK push may take.
    """

    def fits(row: TransactionRecord) -> bool:
        if row.mpesa_receipt_number is not None or not phone_agrees(row.phone_number, evidence.phone_number):
            return False
        succeeded = row.status in (Status.SUCCESS, Status.REVERSED)  # given back by a payout, it was paid all the same
        if is_known(row.status, row.settled_by) and not succeeded:
            return False
        if occurred_at is None:
            return True
        if occurred_at < row.initiated_at - _CLOCKS_APART:
            return False
        # A success that a wrong clock shut out would be counted twice, so it has more room than what was given up.
        room = _CLOCKS_APART if succeeded else timedelta(minutes=10)
        return row.status in OPEN or occurred_at <= row.initiated_at + timedelta(seconds=stk_deadline) + room

    return tuple(row for row in rows if fits(row))


def match(
    rows: Sequence[TransactionRecord], *, unprocessed: bool, received_at: datetime, now: datetime, grace: float
) -> Match:
    """What to do with a confirmation whose receipt nobody has.

    Args:
        rows: the plausible ones.
        unprocessed: one of them has a callback of its own that is not processed yet.
        received_at: when the confirmation came.
        now: the time.
        grace: seconds that it may wait for the STK payment's own callback.
    """
    if not rows:
        return Create()
    end = received_at + timedelta(seconds=grace)
    undecided = len(rows) > 1 or any(row.status in OPEN for row in rows)
    if unprocessed or (undecided and now < end):
        return Wait(min(now + _LOOK_AGAIN, end) if now < end else now + _LOOK_AGAIN)
    return Adopt(rows[0]) if len(rows) == 1 else Several(tuple(rows))


def phone_agrees(ours: str, said: str | None) -> bool:
    """Whether a number as M-PESA shows it can be ours: in full, masked with ``*``, or as a SHA-256 hash in hex."""
    if not ours or not said:
        return True
    text = re.sub(r"\s+", "", said)
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        return hashlib.sha256(ours.encode()).hexdigest() == text.lower()
    if re.fullmatch(r"[0-9]{10,13}", text):
        return ours == text
    head, star, tail = text.partition("*")
    if star and re.fullmatch(r"[0-9]*\*+[0-9]*", text):
        return ours.startswith(head) and ours.endswith(tail.replace("*", ""))
    return True
