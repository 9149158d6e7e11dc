"""Renewing an announcer's lease while its receivers run, so that a slow receiver is not announced to a second time."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from uuid import UUID

from mpesa_core.errors import StorageError
from mpesa_core.payments.records import TransactionRecord
from mpesa_core.repository.protocol import Repository

__all__ = ["LeaseKeeper", "renewed"]

_log = logging.getLogger("mpesa_core.settlement")


def renewed(
    row: TransactionRecord | None, generation: int, now: datetime, seconds: float
) -> dict[str, datetime] | None:
    """The change that renews a lease; None where the generation is announced, or another one is up."""
    if row is None or row.generation != generation or row.announce_until is None:
        return None
    return {"announce_until": now + timedelta(seconds=seconds)}


class LeaseKeeper:
    """One thread for all announcements of a process, started by the first; it renews at a third of the lease.

    Args:
        repository: where the rows are.
        clock: the time.
        seconds: the lease.
    """

    def __init__(self, repository: Repository, clock: Callable[[], datetime], seconds: float) -> None:
        self._repository = repository
        self._clock = clock
        self._seconds = seconds
        self._lock = threading.Lock()
        self._kept: dict[object, tuple[UUID, int]] = {}
        self._pid: int | None = None
        self._wake = threading.Event()

    @contextmanager
    def keep(self, row: TransactionRecord | None) -> Iterator[None]:
        """Keep the lease of a row that is being announced."""
        if row is None or row.announce_until is None:
            yield
            return
        key = object()
        with self._lock:
            self._kept[key] = (row.id, row.generation)
            if self._pid != os.getpid():  # threads do not survive a fork
                self._pid = os.getpid()
                threading.Thread(target=self._run, name="mpesa-lease", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                self._kept.pop(key, None)

    def _run(self) -> None:
        seen: set[object] = set()
        while True:
            self._wake.wait(self._seconds / 3)
            with self._lock:
                kept = dict(self._kept)
            for key in seen & kept.keys():  # it has been running for a whole interval
                self._renew(*kept[key])
            seen = set(kept)

    def _renew(self, transaction_id: UUID, generation: int) -> None:
        try:
            row = self._repository.get(transaction_id)
            changes = renewed(row, generation, self._clock(), self._seconds)
            if row is not None and changes is not None:
                self._repository.change(row.id, row.version, changes)
        except StorageError as error:
            _log.warning("The announcer's lease of transaction %s could not be renewed: %s", transaction_id, error)
