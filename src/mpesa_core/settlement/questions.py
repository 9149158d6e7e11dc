"""Asking M-PESA what became of a transaction. An answer is recorded in the log, and processed like a callback."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from mpesa_core.daraja.callbacks import CallbackType
from mpesa_core.daraja.codec import dumps
from mpesa_core.daraja.express import StkQuery, StkQueryAnswer
from mpesa_core.daraja.status import TransactionStatus
from mpesa_core.errors import Busy, DarajaError, MpesaError, NotSent, NotYet, OutcomeUnknown, UnexpectedAnswer
from mpesa_core.payments.records import CallbackDraft, TransactionRecord, TransactionType
from mpesa_core.routes import callback_urls
from mpesa_core.settings import Settings
from mpesa_core.settlement.effects import Procedure, Store, send

__all__ = ["Questions", "RateLimit"]

_log = logging.getLogger("mpesa_core.settlement")


class RateLimit:
    """So many a minute, evenly spaced, shared by every question of this process.

    Args:
        per_minute: how many; None for no limit. Daraja's sandbox refuses more than five a minute, one at a time.
    """

    def __init__(self, per_minute: int | None) -> None:
        self._per_minute = per_minute
        self._taken: deque[datetime] = deque()
        self._lock = threading.Lock()

    def take(self, now: datetime) -> bool:
        """Whether one more may be asked now; if so, it counts."""
        if self._per_minute is None:
            return True
        with self._lock:
            # A clock that jumped back would otherwise close the gate until it has caught up.
            while self._taken and not timedelta(0) <= now - self._taken[0] < timedelta(seconds=60):
                self._taken.popleft()
            if len(self._taken) >= self._per_minute:
                return False
            self._taken.append(now)
            return True


class Questions:
    """The procedures that ask.

    Args:
        settings: callback URLs and the rate.
        clock: the time, aware, in UTC.
        new_id: makes the ids of recorded answers.
    """

    def __init__(self, settings: Settings, clock: Callable[[], datetime], new_id: Callable[[], UUID]) -> None:
        self._settings = settings
        self._clock = clock
        self._new_id = new_id
        self._store = Store()
        self.limit = RateLimit(settings.queries_per_minute)

    def can_ask(self, row: TransactionRecord) -> bool:
        """Whether M-PESA offers a question about this transaction, with what is known of it."""
        if row.transaction_type == TransactionType.STK_PUSH:
            return row.checkout_request_id is not None
        if row.transaction_type in (TransactionType.C2B, TransactionType.BILL_PAYMENT, TransactionType.B2B_EXPRESS):
            return False
        return bool(row.originator_conversation_id or row.mpesa_receipt_number)

    def ask(self, row: TransactionRecord) -> Procedure[UUID | None]:
        """Ask about one transaction, if the rate allows.

        Returns:
            The id of the recorded answer, which is still to be processed; None where there is none: M-PESA could not
            say, could not be reached, or answers by a callback.
        """
        if not self.can_ask(row) or not self.limit.take(self._clock()):
            return None
        try:
            if row.transaction_type == TransactionType.STK_PUSH:
                return (yield from self._ask_stk(row))
            yield from self._ask_status(row)
        except (NotYet, Busy, NotSent, OutcomeUnknown, UnexpectedAnswer) as error:
            _log.info("Asking about transaction %s gave no answer: %s", row.id, error)
        except (DarajaError, MpesaError) as error:
            _log.warning("Asking about transaction %s failed: %s", row.id, error)
        return None

    def _ask_stk(self, row: TransactionRecord) -> Procedure[UUID]:
        assert row.checkout_request_id is not None
        answer: StkQueryAnswer = yield from send(StkQuery(checkout_request_id=row.checkout_request_id), row.account)
        now = self._clock()
        draft = CallbackDraft(
            id=self._new_id(),
            callback_type=CallbackType.STK_QUERY,
            raw_bytes=dumps(answer.raw),
            raw_body=answer.raw,
            token=row.callback_token,
            correlation_id=row.checkout_request_id,
            related_transaction_id=row.id,
            received_at=now,
            next_attempt_at=now,
        )
        return (yield from self._store.add_callback(draft))

    def _ask_status(self, row: TransactionRecord) -> Procedure[None]:
        question = TransactionStatus(
            transaction_id=row.mpesa_receipt_number,
            originator_conversation_id=None if row.mpesa_receipt_number else row.originator_conversation_id,
            result_url=callback_urls(self._settings, CallbackType.STATUS_RESULT, row.callback_token),
            timeout_url=callback_urls(self._settings, CallbackType.STATUS_TIMEOUT, row.callback_token),
            remarks="Status",
        )
        yield from send(question, row.account)
