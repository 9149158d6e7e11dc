"""The statements that each callback needs, on PostgreSQL by psycopg: compiled once, executed by the driver's cursor.

A session, its events and the ORM's loading take several times as long as PostgreSQL takes to answer. Here a statement
is what SQLAlchemy compiles, on a connection of the engine's own pool, and values go through the columns' types both
ways. Where the host has something to say on the way, or loads more with a row than its columns, nothing is prepared,
and the ordinary way is taken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import Column, Engine
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.orm.attributes import instance_dict, instance_state

from mpesa_core.errors import MpesaError
from mpesa_core.ext.sqlalchemy.operations import is_outdated, translated

__all__ = ["Prepared", "Statements"]

_R = TypeVar("_R")

_HEARD: Final = (
    "dispatch.before_execute",
    "dispatch.after_execute",
    "dispatch.before_cursor_execute",
    "dispatch.after_cursor_execute",
    "dispatch.engine_connect",
    "dispatch.set_connection_execution_options",
    "dispatch.begin",
    "dispatch.commit",
    "dispatch.rollback",
    "dialect.dispatch.do_execute",
    "dialect.dispatch.handle_error",
)
"""Of an engine. What its pool hears of, it hears of here, too."""
_HEARD_BY_SESSIONS: Final = (
    "do_orm_execute",
    "after_begin",
    "after_transaction_create",
    "after_transaction_end",
    "before_commit",
    "after_commit",
    "after_rollback",
    "after_soft_rollback",
    "loaded_as_persistent",
    "persistent_to_detached",
    "after_bulk_update",
)
_LATER: Final = frozenset({"select", True, "noload", None, "raise", "raise_on_sql", "dynamic", "write_only"})
"""What a relationship may be that is not loaded with its row."""

_of_engine: Final = attrgetter(*_HEARD)
_of_sessions: Final = attrgetter(*_HEARD_BY_SESSIONS)


class Statements(Generic[_R]):
    """Those of one mapped class.

    Args:
        mapper: of the class.
        bind: where its rows are.
        session: one such as the ordinary way would use; it is only looked at.

    Attributes:
        are_served: whether the class is one that statements can be prepared for.
    """

    def __init__(self, mapper: Mapper[Any], bind: object, session: Session) -> None:
        self._mapper = mapper
        self._fields = _fields(mapper)
        self.are_served = self._fields is not None
        self._engine = bind if isinstance(bind, Engine) and _is_psycopg(bind) and _is_plain(session) else None
        self._session = session
        self._prepared: dict[Any, Prepared[_R] | None] = {}

    def prepared(self, statement: Any) -> Prepared[_R] | None:
        """The statement, ready to be executed; None: take the ordinary way.

        Args:
            statement: with a value for each parameter when it is executed. It is kept: make it once.
        """
        if self._engine is None or not self.are_served or self._is_heard(self._engine):
            return None
        if statement not in self._prepared:
            self._prepared[statement] = self._compiled(statement)
        return self._prepared[statement]

    def _is_heard(self, engine: Engine) -> bool:
        """Whether somebody listens to what the ordinary way would tell of, or reads it in a log."""
        return (
            any(_of_engine(engine))
            or any(_of_sessions(self._session.dispatch))
            or bool(self._mapper.class_manager.dispatch.load)
            or engine.logger.isEnabledFor(logging.INFO)
            or bool(engine.get_execution_options())
            or bool(getattr(self._session, "execution_options", None))  # of SQLAlchemy 2.1: a schema map, say
        )

    def _compiled(self, statement: Any) -> Prepared[_R] | None:
        engine, fields = self._engine, self._fields
        assert engine is not None
        assert fields is not None
        if engine.dialect.server_version_info is None:  # it knows its server from the first connection on
            with translated(), engine.connect():
                pass
        compiled = statement.compile(dialect=engine.dialect)
        given = {}
        for column in (*compiled.insert_prefetch, *compiled.update_prefetch):
            default = column.default if column in compiled.insert_prefetch else column.onupdate
            if not default.is_scalar:
                return None  # a function of the host's, which is handed what is executed
            given[column.key] = default.arg
        if compiled.positional or compiled.post_compile_params or compiled.literal_execute_params:
            return None
        return Prepared(engine, self._mapper, fields, compiled, given)


class Prepared(Generic[_R]):
    """A statement."""

    def __init__(
        self,
        engine: Engine,
        mapper: Mapper[Any],
        fields: Mapping[str, tuple[str, Any]],
        compiled: Any,
        given: Mapping[str, Any],
    ) -> None:
        self._engine = engine
        self._mapper = mapper
        self._fields = fields
        self._text = str(compiled)
        self._error: Any = engine.dialect.loaded_dbapi.Error
        self._constants: dict[str, Any] = {}
        self._binds = []
        for bind, name in compiled.bind_names.items():
            convert = bind.type.dialect_impl(engine.dialect).bind_processor(engine.dialect)
            if bind.required and bind.key not in given:
                self._binds.append((name, bind.key, convert))
            else:
                value = given.get(bind.key, bind.effective_value)
                self._constants[name] = value if convert is None else convert(value)
        self._names: list[str] = []
        self._converted: list[tuple[str, Any]] = []

    # As a transaction by itself

    def first(self, values: Mapping[str, Any]) -> _R | None:
        """Execute it; the first row, detached and complete, or None.

        Raises:
            SQLAlchemyError: as SQLAlchemy's own connections do.
        """
        found = self._execute(values, self._fetched)
        return None if found is None else self._row(found)

    def count(self, values: Mapping[str, Any]) -> int:
        """Execute it; how many rows it was about.

        Raises:
            SQLAlchemyError: as SQLAlchemy's own connections do.
        """
        counted: int = self._execute(values, attrgetter("rowcount"))
        return counted

    # As a part of a session's transaction

    def all_in(self, session: Session, values: Mapping[str, Any]) -> list[_R]:
        """Execute it; the rows."""
        return [self._row(each) for each in self._found_in(session, values)]

    def values_in(self, session: Session, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Execute it; the attributes that it asks for."""
        return [self._attributes(each) for each in self._found_in(session, values)]

    def many_in(self, session: Session, values: Iterable[Mapping[str, Any]]) -> int:
        """Execute it for each of the values; how many rows it was about."""
        return session.connection().exec_driver_sql(self._text, [self._kept(each) for each in values]).rowcount

    def _found_in(self, session: Session, values: Mapping[str, Any]) -> Sequence[Any]:
        result: Any = session.connection().exec_driver_sql(self._text, self._kept(values))
        if not self._names:
            self._learn(result.cursor.description)
        found: Sequence[Any] = result.all()
        return found

    def _row(self, found: Sequence[Any]) -> _R:
        row: Any = self._mapper.class_manager.new_instance()
        instance_dict(row).update(self._attributes(found))
        instance_state(row).key = self._mapper.identity_key_from_instance(row)
        loaded: _R = row
        return loaded

    def _attributes(self, found: Sequence[Any]) -> dict[str, Any]:
        attributes = dict(zip(self._names, found, strict=True))
        for name, convert in self._converted:
            attributes[name] = convert(attributes[name])
        return attributes

    def _execute(self, values: Mapping[str, Any], answered: Callable[[Any], Any]) -> Any:
        parameters = self._kept(values)
        try:
            pooled = self._engine.raw_connection()
        except self._error as error:
            raise self._told(error) from error
        driver: Any = pooled.driver_connection
        in_transactions = not driver.autocommit
        try:
            if in_transactions:
                driver.autocommit = True
            answer = answered(driver.execute(self._text, parameters))
            if in_transactions:
                driver.autocommit = False
        except self._error as error:
            lost = self._engine.dialect.is_disconnect(error, driver, None)
            if lost:
                # As SQLAlchemy does: the others in the pool were lost along with it, most likely.
                self._engine.pool._invalidate(pooled, error)  # noqa: SLF001 - there is no other way to say so
            elif is_outdated(error):
                pooled.invalidate(error)
            elif in_transactions:
                driver.autocommit = False
            raise self._told(error, lost=lost) from error
        except BaseException:  # it may be in the middle of an answer
            pooled.invalidate()
            raise
        finally:
            if pooled.is_valid:
                pooled.close()
        return answer

    def _kept(self, values: Mapping[str, Any]) -> dict[str, Any]:
        parameters = self._constants.copy()
        try:
            for name, key, convert in self._binds:
                value = values[key]
                parameters[name] = value if convert is None else convert(value)
        except MpesaError:
            raise
        except Exception as error:  # of a type of the host's
            raise StatementError(str(error), self._text, None, error, hide_parameters=True) from error
        return parameters

    def _fetched(self, cursor: Any) -> Any:
        if not self._names:
            self._learn(cursor.description)
        return cursor.fetchone()

    def _learn(self, description: Any) -> None:
        """What the columns of the answer are to the rows: it is known when there is one."""
        dialect, names, converted = self._engine.dialect, [], []
        for column in description:
            name, kind = self._fields[column[0]]
            convert = kind.dialect_impl(dialect).result_processor(dialect, column[1])
            names.append(name)
            if convert is not None:
                converted.append((name, convert))
        self._converted, self._names = converted, names

    def _told(self, error: Exception, *, lost: bool = False) -> Exception:
        """The driver's error as SQLAlchemy tells it."""
        dialect = self._engine.dialect
        return DBAPIError.instance(
            self._text, None, error, self._error, hide_parameters=True, connection_invalidated=lost, dialect=dialect
        )


def _is_psycopg(engine: Engine) -> bool:
    dialect = engine.dialect
    return (dialect.name, dialect.driver, dialect.is_async) == ("postgresql", "psycopg", False)


def _is_plain(session: Session) -> bool:
    """Whether a session is SQLAlchemy's own, with nothing of the host's in its class."""
    return type(session).__bases__ == (Session,)


def _fields(mapper: Mapper[Any]) -> dict[str, tuple[str, Any]] | None:
    """The attribute and the type of each column; None where a row is more, or less, than the columns of one table."""
    if len(mapper.tables) > 1 or mapper.polymorphic_on is not None or mapper.inherits is not None:
        return None
    if any(each.lazy not in _LATER for each in mapper.relationships):
        return None
    fields = {}
    for attribute in mapper.column_attrs:
        column = attribute.columns[0]
        if not isinstance(column, Column) or len(attribute.columns) > 1 or attribute.deferred:
            return None
        if column.type.column_expression(column) is not None:
            return None  # it is read by a function of the database's
        fields[column.name] = attribute.key, column.type
    return fields
