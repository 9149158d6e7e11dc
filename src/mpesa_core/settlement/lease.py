"""Renewing an announcer's lease while its receivers run, so that a slow receiver is not announced to a second time."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from mpesa_core.outline import outline
from mpesa_core.payments.records import TransactionRecord
from mpesa_core.repository.protocol import Repository
from mpesa_core.settlement.effects import Lease

__all__ = ["LeaseKeeper", "lease_of", "log_lost_renewal", "operations", "renewed"]

_log = logging.getLogger("mpesa_core.settlement")


def lease_of(row: TransactionRecord | None, lease: Lease | None) -> Lease | None:
    """The lease that a delivery is under: the one that it names, or that of its transaction; None where it has none."""
    if lease is not None or row is None or row.announce_until is None:
        return lease
    return Lease("", row.id, row.generation)


def operations(lease: Lease) -> tuple[str, str]:
    """The repository's operations that read and change the lease's row."""
    return (f"get_{lease.kind}", f"change_{lease.kind}") if lease.kind else ("get", "change")


def renewed(row: Any, lease: Lease, now: datetime, seconds: float) -> dict[str, datetime] | None:
    """The change that renews a lease; None where the generation is announced, or another one is up.

    Args:
        row: a transaction, or an invoice or subscription, which may have several signals to announce at a time.
        lease: what is being announced.
        now: the time.
        seconds: how long the lease is.
    """
    if row is None or row.announce_until is None:
        return None
    if str(lease.generation) not in row.unannounced if lease.kind else row.generation != lease.generation:
        return None
    return {"announce_until": now + timedelta(seconds=seconds)}


def log_lost_renewal(lease: Lease, error: Exception) -> None:
    """Log that a lease could not be renewed; where it lapses, the signal may be announced a second time."""
    kind = lease.kind or "transaction"
    _log.warning("The announcer's lease of %s %s could not be renewed: %s", kind, lease.id, outline(error))


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
        self._kept: dict[object, Lease] = {}
        self._running = False
        self._wake = threading.Event()
        _forked.add(self)

    @contextmanager
    def keep(self, row: TransactionRecord | None, lease: Lease | None = None) -> Iterator[None]:
        """Keep the lease of a row that is being announced."""
        key = self.hold(row, lease)
        try:
            yield
        finally:
            self.let_go([key])

    def hold(self, row: TransactionRecord | None, lease: Lease | None = None) -> object:
        """Keep the lease of a row until :meth:`let_go` is called with what this returns; None where it has none."""
        kept = lease_of(row, lease)
        if kept is None:
            return None
        key = object()
        with self._lock:
            self._kept[key] = kept
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="mpesa-lease", daemon=True).start()
        return key

    def let_go(self, keys: Collection[object]) -> None:
        """Keep those leases no longer."""
        if keys:
            with self._lock:
                for key in keys:
                    self._kept.pop(key, None)

    def _run(self) -> None:
        seen: set[object] = set()
        while True:
            self._wake.wait(self._seconds / 3)
            with self._lock:
                kept = dict(self._kept)
            for key in seen & kept.keys():  # it has been running for a whole interval
                self._renew(kept[key])
            seen = set(kept)

    def _renew(self, lease: Lease) -> None:
        get, change = (getattr(self._repository, name) for name in operations(lease))
        try:
            row = get(lease.id)
            changes = renewed(row, lease, self._clock(), self._seconds)
            if changes is not None:
                change(row.id, row.version, changes)
        except Exception as error:  # noqa: BLE001 - a store's driver may raise anything; the other leases go on
            log_lost_renewal(lease, error)

    def _after_fork(self) -> None:
        # The thread, and what is being announced, are the parent's. Were its leases renewed from here, nobody would
        # take them over when it dies.
        self._lock = threading.Lock()
        self._kept = {}
        self._running = False
        self._wake = threading.Event()


_forked: weakref.WeakSet[LeaseKeeper] = weakref.WeakSet()


def _after_fork() -> None:
    for keeper in list(_forked):
        keeper._after_fork()  # noqa: SLF001 - this module's own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
