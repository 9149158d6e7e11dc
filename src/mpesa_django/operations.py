"""How a repository works with a database through Django: one transaction for each operation, and errors at one edge."""

from __future__ import annotations

import contextlib
import copy
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from django.db import DataError, Error, IntegrityError, ProgrammingError, connections, models, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from mpesa_core.errors import InsideTransaction, StorageBusy, StorageRefused, StorageUnavailable

__all__ = ["Database"]

_T = TypeVar("_T")

_OUTDATED: Final = "0A000"
"""PostgreSQL: the statement was prepared before a migration changed its columns. Prepared anew it can be executed."""
_AT_ONCE: Final = ("40001", "40P01", _OUTDATED)
_BUSY_STATES: Final = (*_AT_ONCE, "55P03")
"""PostgreSQL: serialization failure, deadlock, outdated; lock not available, which was waited for."""
_BUSY_NUMBERS: Final = (1020, 1205, 1213, 3572)
"""MySQL: changed since it was read, lock wait timeout, deadlock, lock not available."""
_REFUSED_NUMBERS: Final = (1364, 4025)
"""MySQL and MariaDB, as operational errors: no value for a column without a default, a check that failed."""
_BUSY_CODES: Final = (5, 6)
"""SQLite: busy, locked."""
_IDLE: Final = 10.0
"""Seconds after which a connection is looked at before it is used again."""
_ATTEMPTS: Final = 3


class Database:
    """The database of some models.

    Args:
        model: whose database it is, where a router decides.
        using: its alias; None asks the routers which one the model is written to. It is read from there too, because a
            replica lags behind.
    """

    def __init__(self, model: type[models.Model], using: str | None) -> None:
        self._model = model
        self._using = using
        self._joins = False
        self._local = threading.local()

    @property
    def alias(self) -> str:
        """The alias."""
        return self._using or router.db_for_write(self._model)

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """The thread's connection, which may not be open yet."""
        return connections[self.alias]

    def read(self, work: Callable[[BaseDatabaseWrapper], _T]) -> _T:
        """Run ``work(connection)``, which changes nothing."""
        connection = self.connection
        with _translated(connection.alias):
            self._freshen(connection)
            return work(connection)

    def write(
        self,
        connection: BaseDatabaseWrapper,
        work: Callable[[BaseDatabaseWrapper], _T],
        refused: Callable[[BaseDatabaseWrapper], object],
        *,
        one_statement: bool = False,
    ) -> _T:
        """Run ``work(connection)`` in a transaction of its own, committed when it returns.

        It is repeated where a rival was in its way and the database has undone it: after a deadlock, or where the key
        that was taken is free again.

        Args:
            connection: the thread's.
            work: what is done.
            refused: what is done after the database has refused it for a constraint; it raises for a key that is taken.
            one_statement: ``work`` executes one statement, on PostgreSQL.

        Raises:
            InsideTransaction: the caller has a transaction open, or has turned autocommit off.
        """
        for attempt in range(_ATTEMPTS):
            last = attempt == _ATTEMPTS - 1
            try:
                with _translated(connection.alias):
                    self._freshen(connection)
                    try:
                        with self._transaction(connection, one_statement=one_statement):
                            return work(connection)
                    except IntegrityError:
                        refused(connection)
                        if last:
                            raise
            except StorageBusy as error:
                if last or not _is_deadlock(error.__cause__):
                    raise
        raise AssertionError  # pragma: no cover - the last attempt returns or raises

    def joining(self) -> Database:
        """The same, writing as a part of the caller's transaction."""
        other = copy.copy(self)
        other._joins = True  # noqa: SLF001 - our own copy
        return other

    def in_transaction(self) -> bool:
        """Whether the caller has a transaction open, but for that of a TestCase: as ``atomic(durable=True)`` has it."""
        blocks: list[Any] = getattr(self.connection, "atomic_blocks", [])
        return bool(blocks) and not getattr(blocks[-1], "_from_testcase", False)

    def _transaction(
        self, connection: BaseDatabaseWrapper, *, one_statement: bool
    ) -> contextlib.AbstractContextManager[object]:
        if self._joins:
            return transaction.atomic(using=connection.alias)
        if one_statement and not connection.in_atomic_block and connection.get_autocommit():
            return contextlib.nullcontext()  # PostgreSQL makes a transaction of the statement, without two round trips
        return _own_transaction(connection)

    def _freshen(self, connection: BaseDatabaseWrapper) -> None:
        """Give up a connection that is broken, or too old: Django does so between requests, and a thread has none."""
        now = time.monotonic()
        used = getattr(self._local, "used", now)
        self._local.used = now
        if not connection.in_atomic_block and (connection.errors_occurred or now - used > _IDLE):
            connection.close_if_unusable_or_obsolete()


@contextlib.contextmanager
def _translated(alias: str) -> Iterator[None]:
    try:
        yield
    except Error as error:
        if _is_busy(error):
            if _state(error) == _OUTDATED and not connections[alias].in_atomic_block:
                connections[alias].close()  # and all that is prepared there
            raise StorageBusy(f"The database {alias!r}: {error}. Nothing was changed; repeat it.") from error
        if _is_refusal(error):  # it quotes the row
            raise StorageRefused(
                f"The database {alias!r} refused a row: {_kind(error)}. Nothing was changed: see to the fields of "
                "your own."
            ) from None
        raise StorageUnavailable(f"The database {alias!r}: {error}. {_remedy(error)}") from error


@contextlib.contextmanager
def _own_transaction(connection: BaseDatabaseWrapper) -> Iterator[None]:
    if not connection.in_atomic_block and not connection.get_autocommit():
        # Django would make a savepoint here, and what is acknowledged next would wait for somebody else's commit.
        raise InsideTransaction(
            f"A payment was to be recorded while autocommit is off on the database {connection.alias!r}, so nothing is "
            "durable before your own commit. Turn it on (set_autocommit(True), or leave AUTOCOMMIT out of the "
            "database's settings), and use transaction.atomic() where you need a transaction."
        )
    with contextlib.ExitStack() as stack:
        try:
            # By the same means Django lets the transaction of a TestCase be.
            stack.enter_context(transaction.atomic(using=connection.alias, durable=True))
        except RuntimeError:
            raise InsideTransaction(
                "A payment was to be recorded inside a transaction of yours (atomic() or ATOMIC_REQUESTS): its "
                "rollback would forget it after the money moved. Pass on_commit=True, which sends it after the "
                "commit, or decorate the view with @transaction.non_atomic_requests."
            ) from None
        yield


def _state(error: BaseException | None) -> str | None:
    """PostgreSQL's SQLSTATE."""
    return getattr(error.__cause__, "sqlstate", None) if error is not None else None


def _is_busy(error: Error) -> bool:
    cause: Any = error.__cause__
    return (
        _state(error) in _BUSY_STATES
        or (getattr(cause, "sqlite_errorcode", 0) & 0xFF) in _BUSY_CODES
        or (error.args[:1] or (None,))[0] in _BUSY_NUMBERS
    )


def _is_refusal(error: Error) -> bool:
    return isinstance(error, (IntegrityError, DataError)) or (error.args[:1] or (None,))[0] in _REFUSED_NUMBERS


def _is_deadlock(error: BaseException | None) -> bool:
    """Whether the database refused at once, a deadlock's victim say; a wait that was in vain is not repeated."""
    number = error.args[0] if error is not None and error.args else None
    return _state(error) in _AT_ONCE or number in (1020, 1213)


def _kind(error: Error) -> str:
    """What kind of refusal it was, and of which column or constraint, without the row."""
    cause: Any = error.__cause__
    about = getattr(cause, "diag", None)
    named = [getattr(about, name, None) for name in ("constraint_name", "column_name")]
    if about is None and getattr(cause, "sqlite_errorname", None):
        return str(error)  # it names table and column, and no value
    return " ".join([type(cause or error).__name__, *(f"({name})" for name in named if name)])


def _remedy(error: Error) -> str:
    if isinstance(error, ProgrammingError):
        return "Run manage.py migrate."
    return "It may have happened all the same: read again."
