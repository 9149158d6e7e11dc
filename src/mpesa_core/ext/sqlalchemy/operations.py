"""How the repository works with a database: a session and a transaction for each operation, and errors at one edge."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar
from weakref import WeakSet

from sqlalchemy import Engine, event
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    ProgrammingError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.exc import (
    TimeoutError as PoolTimeout,
)
from sqlalchemy.orm import Session, sessionmaker

from mpesa_core.errors import ConfigurationError, MpesaError, StorageBusy, StorageRefused, StorageUnavailable

__all__ = ["Database", "is_outdated", "prepare_sqlite", "translated"]

_T = TypeVar("_T")

_OUTDATED: Final = "0A000"
"""PostgreSQL: the statement was prepared before a migration changed its columns. Prepared anew it can be executed."""
_UNDONE: Final = frozenset({"40001", "40P01", _OUTDATED, 1020, 1213})
"""The database refused at once: besides that, serialization failures and deadlocks of PostgreSQL and MySQL."""
_BUSY: Final = _UNDONE | {"55P03", 1205, 3572, "sqlite 5", "sqlite 6"}
"""Those, and waits for a lock that were in vain, which are not repeated here."""
_REFUSED: Final = frozenset({1364, 4025})
"""MySQL and MariaDB, as operational errors: no value for a column without a default, a check that failed."""
_ATTEMPTS: Final = 5

_engines: WeakSet[Engine] = WeakSet()


def _leave_the_parents_connections() -> None:
    """In a forked child: two processes on one connection would read each other's answers."""
    for engine in list(_engines):
        engine.dispose(close=False)  # the parent goes on with them


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_the_parents_connections)


class Database:
    """Sessions of the repository's own.

    Args:
        bind: an engine, or a sessionmaker.
        model: whose rows they are for: a sessionmaker may keep several databases apart.

    Attributes:
        bind: the engine, as a rule.
        sample: a session that nothing is done with.

    Raises:
        ConfigurationError: it is something else, such as a session that others use as well.
    """

    def __init__(self, bind: object, model: type[Any]) -> None:
        if not isinstance(bind, (Engine, sessionmaker)):
            problem = (
                f"engine_or_sessionmaker: got {type(bind).__name__}, expected an Engine or a sessionmaker, because "
                "each operation is a transaction of its own. With Flask-SQLAlchemy write db.engine; with an "
                "asynchronous engine make a synchronous one besides."
            )
            raise ConfigurationError([problem])
        self._sessions: sessionmaker[Any] = sessionmaker(bind) if isinstance(bind, Engine) else bind
        with translated(), self._sessions() as session:
            self.sample: Session = session
            self.bind = session.get_bind(model)
        if isinstance(self.bind, Engine):
            _engines.add(self.bind)

    def is_one_with(self, other: Database) -> bool:
        """Whether both work on one database, in which one transaction does for both."""
        return self.bind is other.bind

    def _session(self) -> Session:
        session: Session = self._sessions(bind=self.bind, expire_on_commit=False, autoflush=False)
        return session

    def read(self, work: Callable[[Session], _T]) -> _T:
        """Run ``work(session)``, which changes nothing; what it returns is detached."""
        with translated(), self._session() as session, _prepared_anew(session):
            _let_commit_by_itself(session)
            return work(session)

    def write(
        self, work: Callable[[Session], _T], refused: Callable[[Session], object], *, one_statement: bool = False
    ) -> _T:
        """Run ``work(session)`` in a transaction, committed when it returns; what it returns is detached.

        It is repeated where a rival was in its way and the database has undone it: after a deadlock, or where the key
        that was taken is free again.

        Args:
            work: what is done.
            refused: what is done after the database has refused it for a constraint; it raises for a key that is taken.
            one_statement: ``work`` executes one statement on PostgreSQL.
        """

        def in_session() -> _T:
            with self._session() as session, session.begin(), _prepared_anew(session):
                _take_sqlite_lock(session)
                if one_statement:
                    _let_commit_by_itself(session)
                return work(session)

        return self.attempt(in_session, refused)

    def attempt(self, work: Callable[[], _T], refused: Callable[[Session], object]) -> _T:
        """Run ``work()``, which is a transaction, as :meth:`write` does."""
        for attempt in range(_ATTEMPTS):
            last = attempt == _ATTEMPTS - 1
            try:
                with translated():
                    try:
                        return work()
                    except IntegrityError as error:
                        refusal = error
                    self.read(refused)  # out of the except clause: what it raises does not carry the row along
                    if last:
                        raise refusal
            except StorageBusy as error:
                if last or not _reasons(error.__cause__) & _UNDONE:
                    raise
        raise AssertionError  # pragma: no cover - the last attempt returns or raises


def is_outdated(error: BaseException) -> bool:
    """Whether a connection is to be given up because the driver has prepared its statements for other columns."""
    return getattr(error, "sqlstate", None) == _OUTDATED


@contextlib.contextmanager
def _prepared_anew(session: Session) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if error.orig is not None and is_outdated(error.orig):
            session.invalidate()
        raise


def _let_commit_by_itself(session: Session) -> None:
    """Have PostgreSQL make each statement's transaction, which saves the two round trips that begin and end one.

    Not where the host has something to say when one begins: a ``SET LOCAL`` for row level security, say.
    """
    bind: Any = session.get_bind()
    if bind.dialect.name == "postgresql" and not (session.dispatch.after_begin or bind.engine.dispatch.begin):
        session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})


def _take_sqlite_lock(session: Session) -> None:
    """Queue for SQLite's one writer at the beginning, unless the host's own listeners have begun already."""
    if session.get_bind().dialect.name == "sqlite":
        connection = session.connection()
        if not getattr(connection.connection.driver_connection, "in_transaction", True):
            connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """SQLAlchemy's errors as the core's."""
    try:
        yield
    except PoolTimeout as error:  # nothing was begun
        raise StorageBusy(f"All connections are in use: {error}. Nothing was changed; repeat it.") from error
    except StatementError as error:
        if isinstance(error.orig, MpesaError):  # a column's type has refused the value
            raise error.orig from None
        error.hide_parameters = True  # they are phone numbers and tokens, and a traceback is logged
        said = str(error.orig).partition("\n")[0]  # PostgreSQL shows the row below
        if _reasons(error) & _BUSY:
            raise StorageBusy(f"The database: {said}. Nothing was changed; repeat it.") from error
        if _is_refusal(error):
            problem = f"The database refused a row: {said}. Nothing was changed: see to the fields of your own."
            raise StorageRefused(problem) from error
        raise StorageUnavailable(f"The database: {said}. {_remedy(error)}") from error
    except SQLAlchemyError as error:
        raise StorageUnavailable(f"The database: {error}. It may have happened all the same: read again.") from error


def _reasons(error: BaseException | None) -> set[object]:
    """What the database calls the failure: an SQL state, MySQL's number (drivers give both), or SQLite's code."""
    cause: Any = getattr(error, "orig", None)
    states = {getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None)}
    return states | set(getattr(cause, "args", ())[:1]) | {f"sqlite {getattr(cause, 'sqlite_errorcode', 0) & 0xFF}"}


def _is_refusal(error: StatementError) -> bool:
    refused = isinstance(error, (IntegrityError, DataError)) or not isinstance(error, DBAPIError)
    return refused or bool(_reasons(error) & _REFUSED)


def _remedy(error: StatementError) -> str:
    if isinstance(error, ProgrammingError):
        return "Create the tables, or run your migrations."
    return "It may have happened all the same: read again."


def prepare_sqlite(engine: Engine, *, busy_timeout: float = 30.0) -> Engine:
    """Have each new connection of an SQLite engine use WAL, be durable, and wait for other writers.

    Call it once, right after the engine is made. Without it SQLite keeps readers and writers waiting for each other,
    and for five seconds at the most.

    Args:
        engine: of an SQLite file.
        busy_timeout: seconds to wait for other writers.

    Returns:
        The same engine.

    Raises:
        ConfigurationError: the engine is not SQLite's.
    """
    if engine.dialect.name != "sqlite":
        raise ConfigurationError([f"engine: got {engine.dialect.name}, expected sqlite; others need no preparation."])

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        try:
            cursor.execute(f"PRAGMA busy_timeout = {int(busy_timeout * 1000)}")
            cursor.execute("PRAGMA synchronous = FULL")
            _use_wal(cursor, busy_timeout)
        finally:
            cursor.close()

    return engine


def _use_wal(cursor: Any, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except Exception as error:
            # SQLite does not wait for the busy timeout here, where several open a new file together.
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (5, 6) or time.monotonic() >= deadline:
                raise
            time.sleep(0.01)
        else:
            return
