"""A repository in one SQLite file, with the standard library's driver: the embedded default.

The file is in WAL mode; a write is ``BEGIN IMMEDIATE`` … ``COMMIT``, so that rivals queue for the busy timeout instead
of failing. How it is stored:

- times as ISO 8601 text in UTC with microseconds, always of one width, so that they sort and compare as text;
- amounts as whole cents, or as exact text where cents do not hold them;
- text as text, and text that UTF-8 cannot hold (a lone surrogate) as the bytes that Python writes for it;
- JSON as text in which a fraction is a number: it is read back as a :class:`~decimal.Decimal`, also where a float was
  written; what JSON cannot hold is left out of the two fields that keep M-PESA's bodies, and refused in the others;
- ``raw_bytes`` as a blob, exactly.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, TypeVar
from uuid import UUID

import attrs

try:
    import ctypes
except ImportError:  # a Python built without it; see _Handle.__del__
    ctypes = None  # type: ignore[assignment]

from mpesa_core.errors import ConfigurationError, DuplicateKey, MpesaError, StorageBusy, StorageUnavailable
from mpesa_core.payments.records import (
    UNIQUE_KEYS,
    CallbackDraft,
    CallbackRow,
    Key,
    Sweep,
    Transaction,
    TransactionDraft,
)
from mpesa_core.repository.columns import Columns, money_in, text_in, text_out, time_text
from mpesa_core.repository.rows import (
    CALLBACK,
    CALLBACK_CHANGES,
    TRANSACTION,
    TRANSACTION_CHANGES,
    Kind,
    check_names,
    plain,
    receipt_pair,
)
from mpesa_core.repository.sqlite_dues import DUES_SCHEMA, SqliteDues

__all__ = ["MIGRATIONS", "SqliteRepository"]

_T = TypeVar("_T")

_APPLICATION_ID: Final = 0x6D706573
"""Marks the file as ours, so that another program's schema version is not taken for our own."""

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE mpesa_transactions (
            seq INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            transaction_type TEXT NOT NULL,
            status TEXT NOT NULL,
            account TEXT NOT NULL,
            short_code TEXT NOT NULL,
            checkout_request_id TEXT,
            merchant_request_id TEXT,
            conversation_id TEXT,
            originator_conversation_id TEXT,
            mpesa_receipt_number TEXT,
            phone_number TEXT NOT NULL,
            amount NOT NULL,
            account_reference TEXT NOT NULL,
            transaction_desc TEXT NOT NULL,
            parent_id TEXT,
            idempotency_key TEXT,
            callback_token TEXT,
            result_code,
            result_code_text TEXT,
            result_desc TEXT,
            reason TEXT,
            raw_callback_payload TEXT,
            initiated_at TEXT NOT NULL,
            settled_at TEXT,
            settled_by TEXT,
            confirmed_at TEXT,
            generation INTEGER NOT NULL,
            announce_until TEXT,
            idempotency_locked INTEGER NOT NULL,
            next_check_at TEXT,
            checks INTEGER NOT NULL,
            conflicts TEXT NOT NULL,
            reserved TEXT NOT NULL,
            host TEXT NOT NULL,
            version INTEGER NOT NULL DEFAULT 1
        )""",
        """CREATE UNIQUE INDEX mpesa_idempotency_key ON mpesa_transactions (idempotency_key)
            WHERE idempotency_key IS NOT NULL""",
        """CREATE UNIQUE INDEX mpesa_callback_token ON mpesa_transactions (callback_token)
            WHERE callback_token IS NOT NULL""",
        """CREATE UNIQUE INDEX mpesa_checkout_request_id ON mpesa_transactions (checkout_request_id)
            WHERE checkout_request_id IS NOT NULL""",
        """CREATE UNIQUE INDEX mpesa_conversation_id ON mpesa_transactions (conversation_id)
            WHERE conversation_id IS NOT NULL""",
        """CREATE UNIQUE INDEX mpesa_receipt ON mpesa_transactions (short_code, mpesa_receipt_number)
            WHERE mpesa_receipt_number IS NOT NULL""",
        """CREATE INDEX mpesa_originator ON mpesa_transactions (originator_conversation_id, initiated_at)
            WHERE originator_conversation_id IS NOT NULL""",
        """CREATE INDEX mpesa_unsent ON mpesa_transactions (next_check_at)
            WHERE status = 'PENDING' AND next_check_at IS NOT NULL""",
        """CREATE INDEX mpesa_to_ask ON mpesa_transactions (next_check_at)
            WHERE status <> 'PENDING' AND next_check_at IS NOT NULL""",
        """CREATE INDEX mpesa_unannounced ON mpesa_transactions (announce_until)
            WHERE announce_until IS NOT NULL""",
        """CREATE INDEX mpesa_candidates ON mpesa_transactions (short_code, amount, initiated_at)
            WHERE transaction_type = 'STK_PUSH' AND mpesa_receipt_number IS NULL""",
        """CREATE TABLE mpesa_callbacks (
            seq INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            callback_type TEXT NOT NULL,
            raw_bytes BLOB NOT NULL,
            headers TEXT NOT NULL,
            source_ip TEXT,
            raw_body TEXT,
            token TEXT,
            correlation_id TEXT,
            related_transaction_id TEXT,
            received_at TEXT NOT NULL,
            next_attempt_at TEXT,
            processed INTEGER NOT NULL,
            disposition TEXT,
            error TEXT,
            attempts INTEGER NOT NULL DEFAULT 0,
            resolved_at TEXT
        )""",
        "CREATE INDEX mpesa_due_callbacks ON mpesa_callbacks (next_attempt_at) WHERE next_attempt_at IS NOT NULL",
        "CREATE INDEX mpesa_open_by_token ON mpesa_callbacks (token) WHERE next_attempt_at IS NOT NULL",
        "CREATE INDEX mpesa_open_by_correlation ON mpesa_callbacks (correlation_id) WHERE next_attempt_at IS NOT NULL",
        """CREATE INDEX mpesa_open_conflicts ON mpesa_callbacks (received_at)
            WHERE disposition = 'conflict' AND resolved_at IS NULL""",
    ),
    (
        """CREATE INDEX mpesa_proved ON mpesa_transactions (short_code, confirmed_at)
            WHERE mpesa_receipt_number IS NOT NULL""",
    ),
    DUES_SCHEMA,
)
"""The steps from one schema version to the next, from an empty file on; a step that was released never changes."""

_DUE_CALLBACKS: Final = "next_attempt_at <= ? ORDER BY next_attempt_at, seq LIMIT ?"
_OPEN: Final = "SELECT seq FROM mpesa_callbacks WHERE next_attempt_at IS NOT NULL"
_CONFLICTS: Final = "disposition = 'conflict' AND resolved_at IS NULL"
_SWEEPS: Final[Mapping[Sweep, str]] = {
    Sweep.UNSENT: "status = 'PENDING' AND next_check_at <= ? ORDER BY next_check_at, seq LIMIT ?",
    Sweep.UNANNOUNCED: "announce_until <= ? ORDER BY announce_until, seq LIMIT ?",
    Sweep.TO_ASK: "status <> 'PENDING' AND next_check_at <= ? ORDER BY next_check_at, seq LIMIT ?",
}
_CANDIDATES: Final = (
    "transaction_type = 'STK_PUSH' AND mpesa_receipt_number IS NULL AND short_code = ? AND amount = ?"
    " AND initiated_at >= ?"
    " AND (? IS NULL OR account_reference = ?) ORDER BY initiated_at, seq"
)
_OLDEST: Final = "ORDER BY initiated_at, seq LIMIT 1"
_PROVED: Final = "mpesa_receipt_number IS NOT NULL AND short_code = ? AND confirmed_at BETWEEN ? AND ?"

_LATEST: Final = "seq < ifnull((SELECT seq FROM {table} WHERE id = ?), 9223372036854775807) ORDER BY seq DESC LIMIT ?"


class SqliteRepository(SqliteDues):
    """Transactions and callbacks in one SQLite file.

    Any number of threads and processes may share the file, on one machine. Each thread of each process has a connection
    of its own, made when it first needs one, also after a fork; it is closed when its thread ends, or by :meth:`close`.

    Every operation raises:

    - StorageBusy: the file was locked by others for the whole busy timeout; nothing was changed.
    - StorageUnavailable: the disk is full, the file cannot be read or written, is damaged, or was closed.
    - InvalidField: a value of a wrong type, or a field name that is not in the records.

    Args:
        path: the file; it is made where it does not exist, its directory is not.
        synchronous: ``FULL`` (the default) has each operation on the disk when it returns; ``EXTRA`` the directory as
            well. With ``NORMAL`` a power failure may forget the last ones, and with ``OFF`` it may damage the file: for
            tests.
        busy_timeout: seconds to wait for other writers.

    Raises:
        ConfigurationError: an option is wrong, the file belongs to another program or to a newer version of the SDK, or
            SQLite is older than 3.35.
        StorageBusy: another process kept the file locked.
        StorageUnavailable: the file cannot be opened.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Literal["EXTRA", "FULL", "NORMAL", "OFF"] = "FULL",
        busy_timeout: float = 30.0,
    ) -> None:
        name = os.fspath(path)
        problems = []
        if not name or name == ":memory:":
            problems.append(
                f"path: got {name!r}, expected a file: every thread would see another one. Use MemoryRepository()."
            )
        if synchronous not in ("EXTRA", "FULL", "NORMAL", "OFF"):
            problems.append(f"synchronous: got {synchronous!r}, expected FULL, EXTRA, NORMAL or OFF.")
        if (
            isinstance(busy_timeout, bool)
            or not isinstance(busy_timeout, (int, float))
            or not 0 <= busy_timeout <= 86_400
        ):
            problems.append(f"busy_timeout: got {busy_timeout!r}, expected seconds, 0 to 86400.")
        if sqlite3.sqlite_version_info < (3, 35):
            problems.append(f"SQLite: got {sqlite3.sqlite_version}, expected 3.35 or newer. Use a newer Python.")
        if problems:
            raise ConfigurationError(problems)
        self.path = Path(name).absolute()
        self._synchronous = synchronous
        self._busy_timeout = float(busy_timeout)
        self._closed = False
        self._local = threading.local()
        self._handles: weakref.WeakValueDictionary[int, _Handle] = weakref.WeakValueDictionary()
        self._using(self._migrate)

    def __repr__(self) -> str:
        return f"<SqliteRepository {self.path}>"

    def close(self) -> None:
        """Close the connections of all threads of this process, after what each is doing; later operations fail."""
        self._closed = True
        with _forks:
            self._close_all()

    def _close_all(self) -> None:
        for reference in self._handles.valuerefs():
            handle = reference()
            if handle is not None and handle.pid == os.getpid():
                with handle.lock:
                    handle.connection.close()

    # Callbacks

    def add_callback(self, draft: CallbackDraft) -> UUID:
        """Record a callback; on the disk when it returns. The same id again changes nothing and returns the id."""
        values = _CALLBACKS.stored({name: getattr(draft, name) for name in _CALLBACK_DRAFT})
        self._using(_statement(_ADD_CALLBACK, values))
        return draft.id

    def get_callback(self, callback_id: UUID) -> CallbackRow | None:
        """The callback, or None."""
        return self._one_callback("id = ?", [str(callback_id)])

    def change_callback(
        self, callback_id: UUID, expected_next_attempt: datetime | None, changes: Mapping[str, Any]
    ) -> bool:
        """Apply the changes if ``next_attempt_at`` is still what was expected; whether it was so."""
        return self._using(_changing_callback(callback_id, expected_next_attempt, changes))

    def due_callbacks(self, now: datetime, limit: int) -> Sequence[CallbackRow]:
        """Callbacks whose ``next_attempt_at`` is not after ``now``, in the order of it."""
        return self._callbacks(_DUE_CALLBACKS, [time_text("now", now), max(limit, 0)])

    def open_callbacks(self, *, token: str | None = None, correlation_ids: Sequence[str] = ()) -> Sequence[CallbackRow]:
        """The callbacks that are not closed and have that token, or one of those correlation ids, oldest first."""
        found = []
        parameters: list[Any] = []
        if token is not None:
            found.append(f"{_OPEN} AND token = ?")
            parameters.append(text_in(token))
        if correlation_ids:
            found.append(f"{_OPEN} AND correlation_id IN ({', '.join('?' * len(correlation_ids))})")
            parameters += map(text_in, correlation_ids)
        if not found:
            return []
        # A union, because for an OR SQLite would rather go through all that is open.
        return self._callbacks(f"seq IN ({' UNION '.join(found)}) ORDER BY received_at, seq", parameters)

    def conflicts(self, limit: int, after: UUID | None = None) -> Sequence[CallbackRow]:
        """Callbacks with the disposition ``conflict`` that nobody resolved, oldest first, from after that one on."""
        where, parameters = _CONFLICTS, []
        if after is not None:
            edge = "SELECT received_at, seq FROM mpesa_callbacks WHERE id = ?"
            where += f" AND coalesce((received_at, seq) > ({edge}), 1)"
            parameters.append(str(after))
        return self._callbacks(f"{where} ORDER BY received_at, seq LIMIT ?", [*parameters, max(limit, 0)])

    # Transactions

    def add(self, draft: TransactionDraft) -> Transaction:
        """Record a transaction, with version 1.

        Raises:
            DuplicateKey: a unique key or the id is taken; nothing is changed.
        """
        drafted = {name: getattr(draft, name) for name in _TRANSACTION_DRAFT}
        (row,) = self._using(_statement(_ADD, _TRANSACTIONS.stored(drafted), draft.id, drafted))
        return _TRANSACTIONS.row(row)

    def get(self, transaction_id: UUID) -> Transaction | None:
        """The transaction, or None."""
        return self._one_transaction("id = ?", [str(transaction_id)])

    def find(self, key: Key, value: str | tuple[str, str]) -> Transaction | None:
        """The transaction with that key, or None (the oldest, where several have it)."""
        where, parameters = _has_key(Key(key), value)
        return self._one_transaction(f"{where} {_OLDEST}", parameters)

    def change(self, transaction_id: UUID, version: int, changes: Mapping[str, Any]) -> Transaction | None:
        """Apply the changes and raise the version, if it is still the one given; else None.

        Only the columns in ``changes`` are written.

        Raises:
            DuplicateKey: a unique key in the changes is taken by another row; nothing is changed.
        """
        return self._using(_changing(transaction_id, version, changes))

    def change_with_callback(
        self,
        transaction_id: UUID,
        version: int,
        changes: Mapping[str, Any],
        callback_id: UUID,
        expected_next_attempt: datetime | None,
        closing: Mapping[str, Any],
    ) -> Transaction | None:
        """:meth:`change` and :meth:`change_callback` together, with one commit: both, or neither.

        Raises:
            DuplicateKey: a unique key in the changes is taken by another row; nothing is changed.
        """
        return self._in_transaction(
            _changing_both(transaction_id, version, changes, callback_id, expected_next_attempt, closing)
        )

    def due(self, sweep: Sweep, now: datetime, limit: int) -> Sequence[Transaction]:
        """The transactions of one sweep that are due at ``now``, in the order of the time that makes them due."""
        return self._transactions(_SWEEPS[Sweep(sweep)], [time_text("now", now), max(limit, 0)])

    def candidates(
        self, short_code: str, amount: Decimal, reference: str | None, since: datetime | None = None
    ) -> Sequence[Transaction]:
        """STK_PUSH transactions of that short code and amount (by value) that have no receipt, oldest first."""
        text = None if reference is None else text_in(reference)
        cents = money_in(plain("amount", Kind.MONEY, amount))
        edge = "" if since is None else time_text("since", since)  # before every time
        return self._transactions(_CANDIDATES, [text_in(short_code), cents, edge, text, text])

    def settled_between(
        self, short_code: str, start: datetime, end: datetime, limit: int, after: UUID | None = None
    ) -> Sequence[Transaction]:
        """The transactions of a short code with a receipt whose ``confirmed_at`` is in the span, in the order of it."""
        where, parameters = _PROVED, [text_in(short_code), time_text("start", start), time_text("end", end)]
        last = self.get(after) if after is not None else None
        if last is not None and last.confirmed_at is not None:
            # The span begins anew at that time, so that no page goes through the ones before it.
            parameters[1] = time_text("after", last.confirmed_at)
            where += " AND (confirmed_at, seq) > (?, (SELECT seq FROM mpesa_transactions WHERE id = ?))"
            parameters += [parameters[1], str(after)]
        return self._transactions(f"{where} ORDER BY confirmed_at, seq LIMIT ?", [*parameters, max(limit, 0)])

    def latest(self, limit: int, before: UUID | None = None) -> Sequence[Transaction]:
        """Transactions in the order in which they were recorded, the last one first, from before that one on."""
        return self._transactions(_LATEST.format(table="mpesa_transactions"), [str(before), max(limit, 0)])

    def latest_callbacks(self, limit: int, before: UUID | None = None) -> Sequence[CallbackRow]:
        """Callbacks likewise."""
        return self._callbacks(_LATEST.format(table="mpesa_callbacks"), [str(before), max(limit, 0)])

    # Several at once

    def batch(self, calls: Sequence[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        """Several of ``find`` and of the changes with one commit; what each returned or raised."""
        works = [_prepared(name, arguments) for name, arguments in calls]

        def attempt(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], Any] | MpesaError) -> Any:
            try:
                return work if isinstance(work, MpesaError) else work(connection)
            except MpesaError as error:
                return error

        return self._in_transaction(lambda connection: [attempt(connection, work) for work in works])

    # How it is done

    def _callbacks(self, where: str, parameters: Iterable[Any]) -> list[CallbackRow]:
        sql = f"SELECT {_CALLBACK_COLUMNS} FROM mpesa_callbacks WHERE {where}"  # noqa: S608 - made of constants
        return [*map(_CALLBACKS.row, self._read(sql, parameters))]

    def _one_callback(self, where: str, parameters: Iterable[Any]) -> CallbackRow | None:
        return next(iter(self._callbacks(where, parameters)), None)

    def _transactions(self, where: str, parameters: Iterable[Any]) -> list[Transaction]:
        sql = f"SELECT {_TRANSACTION_COLUMNS} FROM mpesa_transactions WHERE {where}"  # noqa: S608 - made of constants
        return [*map(_TRANSACTIONS.row, self._read(sql, parameters))]

    def _one_transaction(self, where: str, parameters: Iterable[Any]) -> Transaction | None:
        return next(iter(self._transactions(where, parameters)), None)

    def _read(self, sql: str, parameters: Iterable[Any]) -> list[tuple[Any, ...]]:
        def read(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
            return connection.execute(sql, tuple(parameters)).fetchall()

        return self._using(read)

    def _in_transaction(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        def write(connection: sqlite3.Connection) -> _T:
            connection.execute("BEGIN IMMEDIATE")
            result = work(connection)
            connection.execute("COMMIT")
            return result

        return self._using(write)

    def _using(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run ``work`` on this thread's connection; afterwards no transaction is open, whatever happened.

        Where others have the file locked it is run again, until the busy timeout is over.
        """
        turn = None
        while True:
            if self._closed:
                raise StorageUnavailable(f"{self.path} was closed: make a new SqliteRepository.")
            try:
                with _forks:
                    return self._used(work)
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _BUSY:
                    self._discard()
                    raise StorageUnavailable(
                        f"{self.path}: {error} ({getattr(error, 'sqlite_errorname', type(error).__name__)}). "
                        "It may have happened all the same: read again, and see to the disk and the file's permissions."
                    ) from error
                turn = turn or _Turn(self._busy_timeout)
                if not turn.comes():
                    raise StorageBusy(
                        f"{self.path} is locked by others: {error}. Nothing was changed; repeat it."
                    ) from error

    def _used(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        handle = self._handle()
        with handle.lock:
            try:
                return work(handle.connection)
            finally:
                if handle.connection.in_transaction:
                    handle.connection.execute("ROLLBACK")

    def _handle(self) -> _Handle:
        handle: _Handle | None = getattr(self._local, "handle", None)
        if handle is None or handle.pid != os.getpid():
            handle = self._local.handle = _Handle(self._connect())
            self._handles[id(handle)] = handle
        return handle

    def _discard(self) -> None:
        """Never use a connection again that failed: a new one sees what there is now."""
        handle: _Handle | None = getattr(self._local, "handle", None)
        self._local.handle = None
        if handle is not None and handle.pid == os.getpid():
            with contextlib.suppress(sqlite3.Error):
                handle.connection.close()

    def _connect(self) -> sqlite3.Connection:
        # One thread works with it, another one may close it; who waits for others waits in _Turn.
        connection = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            self._use_wal(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise StorageUnavailable(f"{self.path} is on a file system where SQLite has no WAL: use a local disk.")

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Bring the schema to this version; of several processes one does it and the others wait."""
        if _schema(connection, self.path) == len(MIGRATIONS):
            return
        connection.execute("BEGIN EXCLUSIVE")
        for step in MIGRATIONS[_schema(connection, self.path) :]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")


class _Forks:
    """Has a fork wait until no thread is inside SQLite.

    SQLite keeps a process's locks on a file in that process's memory. A child that is forked while another thread holds
    one has a copy of it that nobody ever takes off, and finds the file locked for as long as it lives.
    """

    _PATIENCE = 10.0
    """Seconds; an operation that waits for another process longer than that does not hold up the fork."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._inside = self._forking = 0

    def __enter__(self) -> None:
        """No fork from here on."""
        with self._lock:
            while self._forking:
                self._changed.wait()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._forking:
                self._changed.notify_all()

    def before(self) -> None:
        """Wait, and let nobody in."""
        self._changed.acquire()
        self._forking += 1
        self._changed.wait_for(lambda: not self._inside, self._PATIENCE)

    def after_in_parent(self) -> None:
        """Go on."""
        self._forking -= 1
        self._changed.notify_all()
        self._changed.release()

    def after_in_child(self) -> None:
        """Begin anew: the other threads did not come along."""
        self.__init__()  # type: ignore[misc]


_forks: Final = _Forks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_forks.before, after_in_parent=_forks.after_in_parent, after_in_child=_forks.after_in_child
    )

_BUSY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)


class _Turn:
    """Waiting for one's turn, where others have the file locked: patient at first, and then eager.

    Whoever writes does best to do several writes in a row, with what it has read of the file; and nobody is to be
    overtaken for long. SQLite's own busy handler sleeps longer each time instead, up to a tenth of a second.

    Args:
        timeout: seconds.
    """

    def __init__(self, timeout: float) -> None:
        self._began = time.monotonic()
        self._timeout = timeout

    def comes(self) -> bool:
        """Sleep a little; False once the timeout is over."""
        waited = time.monotonic() - self._began
        if waited >= self._timeout:
            return False
        shortest, longest = _PATIENT if waited < _PATIENT[1] else _EAGER if waited < _LONG else _RESIGNED
        time.sleep(min(random.uniform(shortest, longest), self._timeout - waited))  # noqa: S311 - no secret
        return True


# Seconds between two tries, the least and the most; drawn anew each time, so that not all who wait try together.
_PATIENT: Final = (0.001, 0.005)
_EAGER: Final = (0.000_02, 0.000_2)
_RESIGNED: Final = (0.001, 0.008)

_LONG: Final = 0.25
"""Seconds after which it is no queue of writes that is waited for, but something that takes its time."""


class _Handle:
    """A connection, and the process that it belongs to."""

    __slots__ = ("__weakref__", "connection", "lock", "pid")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.lock = threading.Lock()
        self.pid = os.getpid()

    def __del__(self) -> None:
        if self.pid == os.getpid():
            with contextlib.suppress(sqlite3.Error):
                self.connection.close()
        else:
            # A forked child must not even close its parent's connection (source: SQLite's "How To Corrupt An SQLite
            # Database File", 2.6), and the interpreter closes what it frees: so it is never freed.
            _leak(self.connection)


_LEAKED: Final[list[sqlite3.Connection]] = []


def _leak(connection: sqlite3.Connection) -> None:
    if ctypes is not None and hasattr(ctypes, "pythonapi"):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
    else:
        _LEAKED.append(connection)


def _schema(connection: sqlite3.Connection, path: Path) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    if owner not in (0, _APPLICATION_ID) or (version and owner != _APPLICATION_ID):
        raise ConfigurationError(
            [f"path: {path} is another program's database (application_id {owner}); name another file."]
        )
    if version > len(MIGRATIONS):
        problem = (
            f"path: {path} has schema version {version}, made by a newer mpesa-core; expected {len(MIGRATIONS)} or "
            "older. Upgrade this program's mpesa-core."
        )
        raise ConfigurationError([problem])
    return int(version)


def _statement(
    sql: str, parameters: Sequence[Any], row_id: UUID | None = None, fields: Mapping[str, Any] | None = None
) -> Callable[[sqlite3.Connection], list[tuple[Any, ...]]]:
    """A statement that gives those fields to the transaction ``row_id``; where it is refused it changes nothing.

    Where no transaction is open it is one by itself.
    """

    def execute(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
        try:
            return connection.execute(sql, parameters).fetchall()
        except sqlite3.IntegrityError:
            if row_id is None:
                raise
            if connection.in_transaction:
                # The write lock is still held, so nobody can take the key away before we have seen who has it.
                _raise_duplicate(connection, row_id, fields or {})
                raise
        connection.execute("BEGIN IMMEDIATE")
        rows = execute(connection)  # whoever had the key may have let go of it
        connection.execute("COMMIT")
        return rows

    return execute


def _changing(
    transaction_id: UUID, version: int, changes: Mapping[str, Any]
) -> Callable[[sqlite3.Connection], Transaction | None]:
    sql = _change_sql(tuple(changes))
    return _changing_by(sql, [*_TRANSACTIONS.stored(changes), str(transaction_id), version], transaction_id, changes)


def _changing_by(
    sql: str, parameters: Sequence[Any], transaction_id: UUID, changes: Mapping[str, Any]
) -> Callable[[sqlite3.Connection], Transaction | None]:
    statement = _statement(sql, parameters, transaction_id, changes)

    def change(connection: sqlite3.Connection) -> Transaction | None:
        changed = statement(connection)
        return _TRANSACTIONS.row(changed[0]) if changed else None

    return change


@functools.lru_cache(maxsize=256)
def _change_sql(names: tuple[str, ...], condition: str = "") -> str:
    check_names(names, TRANSACTION_CHANGES)
    assignments = "".join(f"{name} = ?, " for name in names)
    return (
        f"UPDATE mpesa_transactions SET {assignments}version = version + 1"  # noqa: S608 - names were checked
        f" WHERE id = ? AND version = ?{condition} RETURNING {_TRANSACTION_COLUMNS}"
    )


def _changing_callback(
    callback_id: UUID, expected_next_attempt: datetime | None, changes: Mapping[str, Any]
) -> Callable[[sqlite3.Connection], bool]:
    sql = _change_callback_sql(tuple(changes))
    parameters = [*_CALLBACKS.stored(changes), *_as_expected(callback_id, expected_next_attempt)]
    return lambda connection: connection.execute(sql, parameters).rowcount > 0


@functools.lru_cache(maxsize=256)
def _change_callback_sql(names: tuple[str, ...]) -> str:
    check_names(names, CALLBACK_CHANGES)
    assignments = ", ".join(f"{name} = ?" for name in names) or "id = id"
    return f"UPDATE mpesa_callbacks SET {assignments} WHERE {_AS_EXPECTED}"  # noqa: S608 - names were checked


def _as_expected(callback_id: UUID, next_attempt: datetime | None) -> list[str | None]:
    return [str(callback_id), None if next_attempt is None else time_text("expected_next_attempt", next_attempt)]


def _changing_both(
    transaction_id: UUID,
    version: int,
    changes: Mapping[str, Any],
    callback_id: UUID,
    expected_next_attempt: datetime | None,
    closing: Mapping[str, Any],
) -> Callable[[sqlite3.Connection], Transaction | None]:
    close = _changing_callback(callback_id, expected_next_attempt, closing)
    sql = _change_sql(tuple(changes), _WITH_CALLBACK)
    expected = _as_expected(callback_id, expected_next_attempt)
    parameters = [*_TRANSACTIONS.stored(changes), str(transaction_id), version, *expected]
    change = _changing_by(sql, parameters, transaction_id, changes)

    def change_both(connection: sqlite3.Connection) -> Transaction | None:
        changed = change(connection)
        if changed is not None:
            close(connection)  # it is as the statement before saw it: the write lock is held
        return changed

    return change_both


def _finding(key: Key, value: object) -> Callable[[sqlite3.Connection], Transaction | None]:
    where, parameters = _has_key(Key(key), value)
    sql = f"SELECT {_TRANSACTION_COLUMNS} FROM mpesa_transactions WHERE {where} {_OLDEST}"  # noqa: S608 - made of constants

    def find(connection: sqlite3.Connection) -> Transaction | None:
        rows = connection.execute(sql, parameters).fetchall()
        return _TRANSACTIONS.row(rows[0]) if rows else None

    return find


_BATCHED: Final[Mapping[str, Callable[..., Callable[[sqlite3.Connection], Any]]]] = {
    "find": _finding,
    "change": _changing,
    "change_callback": _changing_callback,
    "change_with_callback": _changing_both,
}


def _prepared(name: str, arguments: tuple[Any, ...]) -> Callable[[sqlite3.Connection], Any] | MpesaError:
    """One of a batch, before the write lock is taken, or what is wrong with it."""
    try:
        return _BATCHED[name](*arguments)
    except MpesaError as error:
        return error


def _raise_duplicate(connection: sqlite3.Connection, row_id: UUID, fields: Mapping[str, Any]) -> None:
    """Raise DuplicateKey for the unique key among the fields that another row has; return where there is none."""
    for key in UNIQUE_KEYS:
        value: Any = fields.get(key)
        if key is Key.RECEIPT:
            present = connection.execute(
                "SELECT short_code, mpesa_receipt_number FROM mpesa_transactions WHERE id = ?", [str(row_id)]
            ).fetchone() or ("", None)
            receipt = fields.get(key, present[1])
            value = (text_out(fields.get("short_code", present[0])), text_out(receipt)) if receipt is not None else None
        if value is not None:
            where, parameters = _has_key(key, value)
            owner = connection.execute(
                f"SELECT id FROM mpesa_transactions WHERE {where} AND id <> ?",  # noqa: S608 - made of constants
                [*parameters, str(row_id)],
            ).fetchone()
            if owner is not None:
                raise DuplicateKey(key, UUID(owner[0]))
    if "id" in fields:
        raise DuplicateKey("id", row_id)


def _has_key(key: Key, value: object) -> tuple[str, list[Any]]:
    if key is not Key.RECEIPT:
        return f"{key} = ?", [text_in(value)]
    return "short_code = ? AND mpesa_receipt_number = ?", [text_in(part) for part in receipt_pair(value)]


_TRANSACTIONS: Final = Columns(Transaction, TRANSACTION)
_CALLBACKS: Final = Columns(CallbackRow, CALLBACK)
_TRANSACTION_DRAFT: Final = tuple(field.name for field in attrs.fields(TransactionDraft))
_CALLBACK_DRAFT: Final = tuple(field.name for field in attrs.fields(CallbackDraft))
_TRANSACTION_COLUMNS: Final = ", ".join(TRANSACTION)
_CALLBACK_COLUMNS: Final = ", ".join(CALLBACK)
_ADD: Final = (
    f"INSERT INTO mpesa_transactions ({', '.join(_TRANSACTION_DRAFT)})"  # noqa: S608 - made of constants
    f" VALUES ({', '.join('?' * len(_TRANSACTION_DRAFT))}) RETURNING {_TRANSACTION_COLUMNS}"
)
_AS_EXPECTED: Final = "id = ? AND next_attempt_at IS ?"
_WITH_CALLBACK: Final = f" AND EXISTS (SELECT 1 FROM mpesa_callbacks WHERE {_AS_EXPECTED})"  # noqa: S608 - a constant
_ADD_CALLBACK: Final = (
    f"INSERT INTO mpesa_callbacks ({', '.join(_CALLBACK_DRAFT)})"  # noqa: S608 - made of constants
    f" VALUES ({', '.join('?' * len(_CALLBACK_DRAFT))}) ON CONFLICT (id) DO NOTHING"
)
