"""What somebody who looks after payments wants to see, fit to be shown: phone numbers are masked, nothing is secret.

Any program can show it; :func:`mpesa_flask.operations_page` is a page of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import attrs

from mpesa_core.payments.machine import OPEN
from mpesa_core.payments.records import CallbackRecord, Key, Status, Sweep, TransactionRecord
from mpesa_core.redaction import mask_phone, redact
from mpesa_core.repository.protocol import LatestScan, Repository, missing_operations
from mpesa_core.settings import Settings

__all__ = ["CallbackLine", "Overview", "TransactionLine", "overview"]

_AHEAD: Final = timedelta(days=3660)
"""Beyond every time that anything waits for."""
_LATE: Final = timedelta(minutes=1)
"""A worker sweeps more often than this; what is due for longer has nobody who works on it."""
_LOOKED_UP: Final = (
    Key.IDEMPOTENCY_KEY,
    Key.CHECKOUT_REQUEST_ID,
    Key.CONVERSATION_ID,
    Key.ORIGINATOR_CONVERSATION_ID,
)


@attrs.frozen(kw_only=True)
class TransactionLine:
    """A transaction.

    Attributes:
        id, transaction_type, status, short_code, amount, initiated_at, settled_at, reason: as
            :class:`~mpesa_core.payments.records.Transaction` has them.
        phone_number: masked.
        account_reference: a customer types it, so phone numbers in it are masked.
        receipt: M-PESA's, or None.
        said: M-PESA's code and words, masked likewise, or "".
        conflicts: how many are open.
        waits_for: ``to be sent``, ``to be announced``, ``the first answer``, ``a better answer``, or None.
        waits_until: when that is done at the latest.
        overdue: it should have been done a while ago, and nobody has.
    """

    id: UUID
    transaction_type: str
    status: str
    short_code: str
    amount: Decimal
    phone_number: str
    account_reference: str
    receipt: str | None
    said: str
    reason: str | None
    initiated_at: datetime
    settled_at: datetime | None
    conflicts: int
    waits_for: str | None
    waits_until: datetime | None
    overdue: bool


@attrs.frozen(kw_only=True)
class CallbackLine:
    """A callback.

    Attributes:
        id, callback_type, source_ip, attempts, received_at: as :class:`~mpesa_core.payments.records.CallbackRow` has
            them.
        disposition: what became of it, or ``open``.
        transaction: the id of the transaction that it is about, or None.
        problem: why it was put back, refused or not applied, or "".
        waits_until: when it is worked on next, or None: it is closed.
        overdue: it should have been worked on a while ago, and nobody has.
    """

    id: UUID
    callback_type: str
    disposition: str
    source_ip: str | None
    transaction: UUID | None
    problem: str
    attempts: int
    received_at: datetime
    waits_until: datetime | None
    overdue: bool


@attrs.frozen(kw_only=True)
class Overview:
    """What :func:`overview` found.

    Attributes:
        at: when.
        conflicts: contradictions that nobody has resolved, oldest first.
        waiting: transactions that something is still to be done about, first what is due first.
        open_callbacks: callbacks that are not worked on yet, likewise.
        transactions: those recorded last, the last one first; None where the repository cannot tell.
        callbacks: likewise.
        found: the transactions that the search names; None where nothing was searched for.
        limit: of each of the lists; a list as long as that may not be all.
    """

    at: datetime
    conflicts: Sequence[CallbackLine]
    waiting: Sequence[TransactionLine]
    open_callbacks: Sequence[CallbackLine]
    transactions: Sequence[TransactionLine] | None
    callbacks: Sequence[CallbackLine] | None
    found: Sequence[TransactionLine] | None
    limit: int

    @property
    def overdue(self) -> int:
        """How many should have been worked on a while ago: no worker is running."""
        return sum(line.overdue for line in self.waiting) + sum(line.overdue for line in self.open_callbacks)


def overview(
    repository: Repository,
    settings: Settings,
    now: datetime,
    *,
    search: str = "",
    transactions_before: UUID | None = None,
    callbacks_before: UUID | None = None,
    limit: int = 25,
) -> Overview:
    """What is in a repository, for people. It changes nothing and asks M-PESA nothing.

    Args:
        repository: where the payments are.
        settings: whose short codes a receipt is searched in.
        now: the time.
        search: a receipt, an id, an idempotency key, or an identifier of M-PESA's; "" for nothing.
        transactions_before: the last transaction of the page before.
        callbacks_before: the last callback of the page before.
        limit: how many of each list at the most.

    Raises:
        StorageBusy, StorageUnavailable: the repository's.
    """
    ahead = now + _AHEAD
    waiting = [row for sweep in Sweep for row in repository.due(sweep, ahead, limit)]
    lines = sorted({row.id: _transaction(row, now) for row in waiting}.values(), key=_due)[:limit]
    scan: Any = repository
    lists = not missing_operations(repository, LatestScan)
    return Overview(
        at=now,
        conflicts=[_callback(row, now) for row in repository.conflicts(limit)],
        waiting=lines,
        open_callbacks=[_callback(row, now) for row in repository.due_callbacks(ahead, limit)],
        transactions=[_transaction(row, now) for row in scan.latest(limit, transactions_before)] if lists else None,
        callbacks=[_callback(row, now) for row in scan.latest_callbacks(limit, callbacks_before)] if lists else None,
        found=[_transaction(row, now) for row in _search(repository, settings, search.strip())] if search else None,
        limit=limit,
    )


def _search(repository: Repository, settings: Settings, search: str) -> Sequence[TransactionRecord]:
    found = {row.id: row for row in _matches(repository, settings, search) if row is not None} if search else {}
    return list(found.values())


def _matches(repository: Repository, settings: Settings, search: str) -> Iterator[TransactionRecord | None]:
    with contextlib.suppress(ValueError):  # it is no id
        yield repository.get(UUID(search))
    for key in _LOOKED_UP:
        yield repository.find(key, search)
    accounts = map(settings.account, settings.account_names)
    codes = {code for account in accounts for code in (account.short_code, account.till_number) if code}
    for code in sorted(codes):
        yield repository.find(Key.RECEIPT, (code, search.upper()))


def _due(line: TransactionLine) -> tuple[datetime, UUID]:
    return line.waits_until or line.initiated_at, line.id


def _transaction(row: TransactionRecord, now: datetime) -> TransactionLine:
    waits_for, until = None, None
    if row.announce_until is not None:
        waits_for, until = "to be announced", row.announce_until
    elif row.next_check_at is not None:
        until = row.next_check_at
        if row.status == Status.PENDING:
            waits_for = "to be sent"
        else:
            waits_for = "the first answer" if row.status in OPEN else "a better answer"
    code = row.result_code_text
    return TransactionLine(
        id=row.id,
        transaction_type=str(row.transaction_type),
        status=str(row.status),
        short_code=row.short_code,
        amount=row.amount,
        phone_number=mask_phone(row.phone_number),
        account_reference=redact(row.account_reference),
        receipt=row.mpesa_receipt_number,
        said=redact(": ".join(filter(None, (code, row.result_desc)))),
        reason=row.reason,
        initiated_at=row.initiated_at,
        settled_at=row.settled_at,
        conflicts=len(row.conflicts),
        waits_for=waits_for,
        waits_until=until,
        overdue=until is not None and until + _LATE < now,
    )


def _callback(row: CallbackRecord, now: datetime) -> CallbackLine:
    until = row.next_attempt_at
    return CallbackLine(
        id=row.id,
        callback_type=str(row.callback_type),
        disposition=str(row.disposition or "open"),
        source_ip=row.source_ip,
        transaction=row.related_transaction_id,
        problem=redact(row.error or ""),
        attempts=row.attempts,
        received_at=row.received_at,
        waits_until=until,
        overdue=until is not None and until + _LATE < now,
    )
