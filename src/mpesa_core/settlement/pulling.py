"""Reconciliation from pull transactions: payments whose confirmation never came are found in M-PESA's own list.

::

    slice by slice -> page by page -> which receipts nobody has -> record each -> process it like a C2B confirmation

A row is recorded in the callback log under an id that is made of what it says, so that any number of pulls record it
once; from there on it goes the way of every confirmation, through the same decision. Two pulls at once, a pull and a
late confirmation, or a pull that dies halfway and is run again, settle each payment once.

The pages of a slice may shift while they are read: a payment is listed late, or the oldest one falls out of the 48
hours. Both show (a row comes twice; a row of a later page stands on the first), and the slice is read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID, uuid5

import attrs

from mpesa_core.daraja.callbacks import CallbackType, decode_callback
from mpesa_core.daraja.codec import dumps
from mpesa_core.daraja.pull import PULL_PAGE_SIZE, PULL_WINDOW, PullPage, PullTransactions
from mpesa_core.errors import (
    Busy,
    ConfigurationError,
    InvalidField,
    NotSent,
    NotYet,
    OutcomeUnknown,
    RequestRefused,
    TokenRefused,
    UnexpectedAnswer,
)
from mpesa_core.payments.records import (
    PAYMENTS,
    CallbackDraft,
    Disposition,
    Key,
    Status,
    TransactionRecord,
)
from mpesa_core.settlement.effects import Procedure, StoreCall, send
from mpesa_core.settlement.engine import Applied, Engine

__all__ = ["PULL_NAMESPACE", "PullProgress", "PullReport", "pull"]

PULL_NAMESPACE: Final = UUID("e872f88e-1bb6-4253-b239-ac99f9fd81ba")
"""A row's callback id is ``uuid5(PULL_NAMESPACE, "short code:receipt:amount")``, in every pull the same.

The amount is in it so that a list which changes its mind about an amount is seen to contradict itself.
"""

_SLICE: Final = timedelta(hours=4)
_OVERLAP: Final = timedelta(minutes=1)
"""Between slices, because nobody documents whether the ends of a query belong to it; and M-PESA's clocks may differ."""
_READINGS: Final = 4
"""How often a slice whose pages shift is read."""
_LISTED_WITHIN: Final = timedelta(minutes=10)
"""How soon M-PESA lists a payment is not documented; a younger one that is not listed is not called missing yet."""
_SCAN_PAGE: Final = 500


@attrs.frozen(kw_only=True)
class PullProgress:
    """How far a pull has come.

    Attributes:
        done: the part of the span that has been read, 0 to 1.
        rows: payments that M-PESA listed so far.
        missing: of these, how many nobody had.
    """

    done: float
    rows: int
    missing: int


@attrs.frozen(kw_only=True)
class PullReport:
    """What M-PESA's list and ours say of each other. Payments are named by their receipts.

    Attributes:
        account: the settings' account that was asked about.
        short_code: its short code.
        start: of the span, in UTC.
        end: likewise.
        dry_run: nothing was recorded or settled.
        rows: payments that M-PESA listed.
        found: of these, how many we had, with the same amount.
        missing: those that we had not, when they were read.
        settled: of the missing ones, those that are settled now.
        enriched: of the missing ones, those of payments that had succeeded without a receipt, and have it now.
        waiting: of the missing ones, those that an STK payment may own whose callback is still to come. They are
            recorded; a worker's next sweeps settle them.
        conflicts: recorded for a person (see ``conflicts()``): another amount than ours, or one that several STK
            payments may own. In a dry run only the former, and nothing is recorded.
        unreadable: rows that made no sense; they are in the callback log.
        ours_only: payments that succeeded here and that M-PESA does not list, among those made between ``start`` and
            ``read_until``, more than a minute inside and more than ten minutes ago. None where the repository cannot
            say (it is no :class:`~mpesa_core.repository.protocol.SettledScan`), or nothing was read for certain.
        read_until: up to where the list was read for certain, or None.
        problem: why it was not read whole, or None. What was read has been settled; a pull from ``read_until`` goes on.
    """

    account: str
    short_code: str
    start: datetime
    end: datetime
    dry_run: bool = False
    rows: int = 0
    found: int = 0
    missing: tuple[str, ...] = ()
    settled: tuple[str, ...] = ()
    enriched: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    unreadable: int = 0
    ours_only: tuple[str, ...] | None = None
    read_until: datetime | None = None
    problem: str | None = None

    @property
    def complete(self) -> bool:
        """Whether the whole span was read."""
        return self.problem is None


def pull(
    engine: Engine,
    account: str,
    start: datetime,
    end: datetime | None = None,
    *,
    dry_run: bool = False,
    progress: Callable[[PullProgress], object] | None = None,
    scans: bool = True,
) -> Procedure[PullReport]:
    """Compare M-PESA's list of a span of time with ours, and settle what was missed.

    Args:
        engine: the engine.
        account: name of the settings' account whose short code is asked about.
        start: aware; at most 48 hours back.
        end: aware; not in the future; None for now.
        dry_run: only compare.
        progress: called after each page; what it raises ends the pull.
        scans: the repository is a :class:`~mpesa_core.repository.protocol.SettledScan`.

    Raises:
        InvalidField: start or end: naive, too far back, in the future, or the wrong way round.
        ConfigurationError: no such account, or it has no short code.
        RequestRefused, TokenRefused: Daraja refused the first question (a short code that is not registered for pull
            transactions). Any other failure, and any later one, ends the pull with a report that is not complete.
        StorageError: what was recorded before stays recorded, and a worker's sweep settles it.
    """
    now = engine.clock()
    start, end = _span(start, end, now)
    short_code = engine.settings.account(account).short_code
    if not short_code:
        raise ConfigurationError([f"short_code: not set on account {account!r}, and pull transactions need it."])
    report = PullReport(account=account, short_code=short_code, start=start, end=end, dry_run=dry_run)
    work = _Pull(engine, report, progress)
    yield from work.read()
    if scans and work.read_until is not None:
        yield from work.look_the_other_way(min(work.read_until - _OVERLAP, now - _LISTED_WITHIN))
    return work.report()


def _span(start: datetime, end: datetime | None, now: datetime) -> tuple[datetime, datetime]:
    end = now if end is None else end
    for field, moment in (("start", start), ("end", end)):
        if not isinstance(moment, datetime) or moment.utcoffset() is None:
            raise InvalidField(field, moment, expected="a datetime with a time zone, such as datetime.now(UTC)")
    start, end, oldest = start.astimezone(UTC), end.astimezone(UTC), now - PULL_WINDOW
    if end <= start:
        raise InvalidField("end", end, expected=f"a time after start, {start.isoformat()}")
    if end > now:
        raise InvalidField("end", end, expected=f"a time that has come, {now.isoformat()} or earlier")
    if start < oldest - _OVERLAP or end <= oldest:  # "48 hours ago" was true when it was computed
        remedy = "M-PESA lists payments for 48 hours; older ones are in the statement of its organisation portal."
        raise InvalidField(
            "start", start, expected=f"at most 48 hours back, {oldest.isoformat()} or later", remedy=remedy
        )
    return max(start, oldest), end


@attrs.frozen
class _Row:
    """One payment of the list: what it is told apart by, and what is recorded of it."""

    receipt: str | None
    amount: Decimal | None
    recording: bytes

    @property
    def says(self) -> str:
        if self.receipt is None or self.amount is None:
            return hashlib.sha256(self.recording).hexdigest()
        return f"{self.receipt}:{self.amount:.2f}"


class _Pull:
    """One pull under way."""

    def __init__(self, engine: Engine, empty: PullReport, progress: Callable[[PullProgress], object] | None) -> None:
        self._engine = engine
        self._store = engine.store
        self._empty = empty
        self._short_code = empty.short_code
        self._progress = progress
        self._furthest = empty.start
        self._taken: set[str] = set()
        self._listed: set[str] = set()
        self._found = self._unreadable = 0
        self._missing: list[str] = []
        self._settled: list[str] = []
        self._enriched: list[str] = []
        self._waiting: list[str] = []
        self._conflicts: list[str] = []
        self._ours_only: list[str] | None = None
        self._problem: str | None = None
        self.read_until: datetime | None = None

    def report(self) -> PullReport:
        return attrs.evolve(
            self._empty,
            rows=len(self._taken),
            found=self._found,
            missing=tuple(self._missing),
            settled=tuple(self._settled),
            enriched=tuple(self._enriched),
            waiting=tuple(self._waiting),
            conflicts=tuple(self._conflicts),
            unreadable=self._unreadable,
            ours_only=None if self._ours_only is None else tuple(self._ours_only),
            read_until=self.read_until,
            problem=self._problem,
        )

    # -- reading M-PESA's list ---------------------------------------------------------------------------------------

    def read(self) -> Procedure[None]:
        """Walk the span in slices, oldest first, and stop where M-PESA does not answer."""
        start, end = self._empty.start, self._empty.end
        asked = False
        try:
            while True:
                until = min(start + _SLICE, end)
                steady = yield from self._slice(start, until)
                asked = True
                if steady and self._problem is None:
                    self.read_until = until
                elif self._problem is None:
                    self._problem = f"The list changed again and again while it was read, from {start} to {until}."
                self._tell(until)
                if until >= end:
                    return
                start = until - _OVERLAP
        except (RequestRefused, TokenRefused) as error:
            if not asked and not self._taken:
                raise
            self._problem = str(error)
        except (Busy, NotYet, NotSent, OutcomeUnknown, UnexpectedAnswer) as error:
            self._problem = str(error)

    def _slice(self, start: datetime, end: datetime) -> Procedure[bool]:
        """Read one slice, again where it changed meanwhile; whether it was read for certain."""
        for _ in range(_READINGS):
            if (yield from self._reading(start, end)):
                return True
        return False

    def _reading(self, start: datetime, end: datetime) -> Procedure[bool]:
        """Read the pages of a slice once; whether they held still."""
        first, more = yield from self._page(start, end, 0)
        later: set[str] = set()
        offset, steady = 0, True
        while more:
            offset += PULL_PAGE_SIZE
            said, more = yield from self._page(start, end, offset)
            again = said & (first | later)
            if again:  # moved on by one that came in before them
                steady = False
                if again == said:
                    break  # pages that bring nothing new might never end
            later |= said - first
            self._tell(start)
        if not later:
            return steady
        said, _ = yield from self._page(start, end, 0)
        return steady and said <= first  # else some moved up over the edge of a page, as one before them went away

    def _page(self, start: datetime, end: datetime, offset: int) -> Procedure[tuple[set[str], bool]]:
        """Read one page and deal with its payments; what they say, and whether there may be another page."""
        # Sent to the second, so the end is rounded up: nothing that came in before it may be left out.
        last = end if end.microsecond == 0 else end.replace(microsecond=0) + timedelta(seconds=1)
        question = PullTransactions(start=start, end=last, offset=offset)
        page: PullPage = yield from send(question, self._empty.account)
        recordings = page.recordings(self._short_code)
        rows = [
            _Row(message.receipt_number, message.amount, recording)
            for message, recording in zip(page.rows, recordings, strict=True)
        ]
        yield from self._take([row for row in rows if row.says not in self._taken])
        return {row.says for row in rows}, page.may_have_more

    def _tell(self, until: datetime) -> None:
        if self._progress is not None:
            self._furthest = max(self._furthest, until)  # slices overlap, and a bar does not go back
            done = (self._furthest - self._empty.start) / (self._empty.end - self._empty.start)
            self._progress(PullProgress(done=done, rows=len(self._taken), missing=len(self._missing)))

    # -- one payment of the list -------------------------------------------------------------------------------------

    def _take(self, rows: Sequence[_Row]) -> Procedure[None]:
        """Compare payments with ours; record those that are missing or contradict, and then process them."""
        recorded: list[tuple[_Row, UUID]] = []
        for row in rows:
            if row.says in self._taken:
                continue  # twice on one page
            self._taken.add(row.says)
            if (yield from self._is_known(row)) or self._empty.dry_run:
                continue
            recorded.append((row, (yield from self._record(row))))
        for row, callback_id in recorded:
            verdict = yield from self._engine.process(callback_id)
            if isinstance(verdict, Applied):
                (self._settled if verdict.announce else self._enriched).append(_receipt(row))
            else:
                yield from self._look_up(row, callback_id)

    def _is_known(self, row: _Row) -> Procedure[bool]:
        if row.receipt is None or row.amount is None:
            if self._empty.dry_run:  # otherwise it is counted when it has been processed
                self._unreadable += 1
            return False
        self._listed.add(row.receipt)
        owner = yield from self._store.find(Key.RECEIPT, (self._short_code, row.receipt))
        if owner is None:
            self._missing.append(row.receipt)
            return False
        if owner.amount == row.amount:
            self._found += 1
            return True
        if self._empty.dry_run:
            self._conflicts.append(row.receipt)
        return False

    def _record(self, row: _Row) -> Procedure[UUID]:
        message = decode_callback(CallbackType.PULL, row.recording)
        now = self._engine.clock()
        draft = CallbackDraft(
            id=uuid5(PULL_NAMESPACE, f"{self._short_code}:{row.says}"),
            callback_type=CallbackType.PULL,
            raw_bytes=row.recording,
            raw_body=message.raw,
            correlation_id=message.correlation_id,
            received_at=now,
            next_attempt_at=now,
        )
        return (yield from self._store.add_callback(draft))

    def _look_up(self, row: _Row, callback_id: UUID) -> Procedure[None]:
        """What became of a recorded payment that this pull did not settle itself."""
        callback = yield from self._store.get_callback(callback_id)
        if callback is None or callback.disposition == Disposition.UNREADABLE or row.receipt is None:
            self._unreadable += 1
            return
        if callback.next_attempt_at is not None:
            self._waiting.append(row.receipt)
            return
        owner = yield from self._store.find(Key.RECEIPT, (self._short_code, row.receipt))
        dismissed = callback.resolved_at is not None
        if owner is not None and owner.amount == row.amount and callback.disposition == Disposition.APPLIED:
            self._settled.append(row.receipt)
        elif owner is not None and (owner.amount == row.amount or dismissed):
            self._found += 1
        elif not dismissed:
            self._conflicts.append(row.receipt)

    # -- what M-PESA does not list -----------------------------------------------------------------------------------

    def look_the_other_way(self, until: datetime) -> Procedure[None]:
        """Find payments of ours, made well inside the span, that the list does not have."""
        start = self._empty.start
        missing: list[str] = []
        after: UUID | None = None
        edge = start
        while True:
            arguments = (self._short_code, edge, self._engine.clock(), _SCAN_PAGE, after)
            rows: Sequence[TransactionRecord] = yield StoreCall("settled_between", arguments)
            for row in rows:
                receipt = row.mpesa_receipt_number
                if receipt is None or receipt in self._listed or not _is_listed(row):
                    continue
                first, last = _paid(row)
                if start + _OVERLAP <= first and last <= until:
                    missing.append(receipt)
            if len(rows) < _SCAN_PAGE:
                break
            after, edge = rows[-1].id, rows[-1].confirmed_at or edge
        self._ours_only = missing


def _receipt(row: _Row) -> str:
    assert row.receipt is not None
    return row.receipt


def _is_listed(row: TransactionRecord) -> bool:
    """Whether M-PESA lists such a payment: one by a customer, of which the money stayed."""
    return row.status == Status.SUCCESS and row.transaction_type in PAYMENTS


def _paid(row: TransactionRecord) -> tuple[datetime, datetime]:
    """Between which times the customer paid: M-PESA's own time where the body that settled it says it."""
    for kind in (CallbackType.STK, CallbackType.C2B_CONFIRMATION, CallbackType.PULL):
        message = decode_callback(kind, dumps(row.raw_callback_payload))
        if message.receipt_number == row.mpesa_receipt_number and message.occurred_at is not None:
            return message.occurred_at, message.occurred_at
    return row.initiated_at, row.confirmed_at or row.initiated_at
