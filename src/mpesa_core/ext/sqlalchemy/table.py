"""One of the host's mapped classes, and what the repository does with its rows."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Select,
    bindparam,
    insert,
    inspect,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Mapper, Session

from mpesa_core.errors import ConfigurationError, DuplicateKey, InvalidField
from mpesa_core.ext.sqlalchemy.operations import Database, translated
from mpesa_core.ext.sqlalchemy.statements import Statements
from mpesa_core.repository.rows import Kind, check_names, plain

__all__ = ["Change", "NotTogether", "Table", "equals"]

_R = TypeVar("_R")

Change = tuple[UUID, Any, Mapping[str, Any]]
"""Of one row: its id, what was expected, and the changes."""


def equals(column: Any, constant: str) -> ColumnElement[bool]:
    """That a column holds a constant of the core's, written out: with a parameter no partial index would do."""
    compared: ColumnElement[bool] = column == literal_column(f"'{constant}'")
    return compared


class NotTogether(Exception):  # noqa: N818 - it is no error: each is done by itself then
    """Several operations are not to be done by the same statements."""


class Table(Generic[_R]):
    """The rows of a mapped class.

    Args:
        model: the host's.
        mixed_in: the mixin that it has to have.
        kinds: of the core's fields.
        unique: what one row alone may have, each as the fields that make it; DuplicateKey names the first one of them.
        bind: where they are.

    Attributes:
        database: where they are.

    Raises:
        ConfigurationError: the class is not mapped, or lacks the mixin.
    """

    def __init__(
        self,
        model: type[Any],
        mixed_in: type,
        kinds: Mapping[str, Kind],
        unique: tuple[tuple[str, ...], ...],
        bind: object,
    ) -> None:
        mapper: Any = inspect(model, raiseerr=False)
        if not getattr(mapper, "is_mapper", False) or not issubclass(model, mixed_in):
            raise ConfigurationError([f"got {model!r}, expected a mapped class with {mixed_in.__name__} as a base."])
        self.model: Any = model  # its columns are the mixin's, and those of the host's own
        self._kinds = kinds
        self._unique = unique
        self.database = Database(bind, model)
        self._own = frozenset(mapper.column_attrs.keys()) - frozenset(kinds)
        self._changeable = frozenset(kinds) - {"id", "version"}
        self._drafted = tuple(name for name in kinds if name not in ("version", "host", "attempts", "resolved_at"))
        # What a relationship loads by a join, an UPDATE cannot return.
        self._returned_whole = all(each.lazy not in ("joined", False, "subquery") for each in mapper.relationships)
        self._insertion = self._inserted(mapper) if _is_plain(mapper) and not self._own else None
        self._statements = Statements[_R](mapper, self.database.bind, self.database.sample)
        # Made once for each set of columns: to build a statement takes longer than PostgreSQL takes to execute it.
        self._questions: dict[tuple[str, ...], Select[Any]] = {}
        self._updates: dict[tuple[Any, ...], Any] = {}

    # What is read

    def all(self, *where: ColumnElement[bool], order: tuple[str, ...], limit: int | None = None) -> list[_R]:
        """The rows that are asked for, in an order."""
        question = select(self.model).where(*where).order_by(*(getattr(self.model, name) for name in order))
        if limit is not None:
            question = question.limit(max(limit, 0))
        return self.database.read(lambda session: list(session.scalars(question).unique()))

    def first(self, order: tuple[str, ...] = ("id",), **values: Any) -> _R | None:
        """The first row, in an order, whose attributes have those values; or None."""
        question = self._questions.get(shape := (*values, "by", *order))
        if question is None:
            same = [getattr(self.model, name) == bindparam(f"is_{name}") for name in values]
            question = select(self.model).where(*same).order_by(*(getattr(self.model, name) for name in order))
            question = self._questions[shape] = question.limit(1)
        wanted = {f"is_{name}": value for name, value in values.items()}
        prepared = self._statements.prepared(question)
        if prepared is not None:
            with translated():
                return prepared.first(wanted)
        return self.database.read(lambda session: next(iter(session.scalars(question, wanted).unique()), None))

    def due(self, name: str, now: datetime, limit: int, *where: ColumnElement[bool]) -> list[_R]:
        """The rows whose time of that name is not after ``now``, in the order of it."""
        due = getattr(self.model, name) <= plain("now", Kind.TIME, now)
        return self.all(due, *where, order=(name, "id"), limit=limit)

    def latest(self, name: str, limit: int, before: UUID | None) -> list[_R]:
        """The rows in the order of the time of that name, the last one first, from before that one on."""
        moment = getattr(self.model, name)
        last = self.first(id=before) if before is not None else None
        question = select(self.model).order_by(moment.desc(), self.model.id.desc()).limit(max(limit, 0))
        if last is not None:
            at = getattr(last, name)
            question = question.where(moment <= at, or_(moment < at, self.model.id < before))
        return self.database.read(lambda session: list(session.scalars(question).unique()))

    # What is written

    def add(self, draft: Any) -> _R:
        """Record a row; as it is kept, with nothing of the caller's in it."""
        row: _R = self._put(draft, lambda session: _one(session, self.model, draft.id))
        return row

    def put(self, draft: Any) -> None:
        """Record a row."""
        self._put(draft, None)

    def _put(self, draft: Any, then: Callable[[Session], Any] | None) -> Any:
        values = self._values({name: getattr(draft, name) for name in self._drafted}, draft)

        insertion = self._insertion if then is None and not self._is_listened_to() else None
        refused = self._refusing(draft.id, values)
        if insertion is not None:
            self._write(insertion, {f"to_{name}": value for name, value in values.items()}, refused)
            return None

        def work(session: Session) -> Any:
            session.add(self.model(**values))
            session.flush()
            session.expunge_all()
            return then(session) if then is not None else None

        return self.database.write(work, refused, one_statement=then is None)

    def _inserted(self, mapper: Mapper[Any]) -> Any:
        table: Any = mapper.local_table
        return insert(table).inline().values({name: bindparam(f"to_{name}") for name in self._drafted})

    def _is_listened_to(self) -> bool:
        """Whether the host has something to say about a row that is inserted."""
        of_rows, of_sessions = inspect(self.model).dispatch, self.database.sample.dispatch
        listeners = (of_rows.before_insert, of_rows.after_insert, of_sessions.before_flush, of_sessions.after_flush)
        return any(map(bool, listeners))

    def _write(self, statement: Any, written: Mapping[str, Any], refused: Callable[[Session], None]) -> int:
        """Execute a statement as a transaction; how many rows it was about."""
        prepared = self._statements.prepared(statement)
        if prepared is not None:
            return self.database.attempt(lambda: prepared.count(written), refused)
        return self.database.write(
            lambda session: session.connection().execute(statement, written).rowcount, refused, one_statement=True
        )

    def change_version(self, row_id: UUID, version: int, changes: Mapping[str, Any]) -> _R | None:
        """Change the row and raise its version, if it is still the one given; the row as it is now, or None."""
        check_names(changes, self._changeable)
        values = self._values({name: value for name, value in changes.items() if name != "host"}, changes)
        refused = self._refusing(row_id, values)
        statement, written = self._update(row_id, "version", version, values, returning=True)
        prepared = self._statements.prepared(statement) if self._is_core(values) else None
        if prepared is not None:
            return self.database.attempt(lambda: prepared.first(written), refused)

        def work(session: Session) -> _R | None:
            if self._returned_whole and session.get_bind().dialect.update_returning:
                returned: _R | None = session.scalars(statement, written).first()
                return returned
            if not self._changed(session, row_id, "version", version, values):
                return None
            row: _R | None = _one(session, self.model, row_id)
            return row

        return self.database.write(work, refused, one_statement=self._returned_whole)

    def change_where(self, row_id: UUID, name: str, expected: object, changes: Mapping[str, Any]) -> bool:
        """Change the row, if its attribute of that name is still what was expected; whether it was so."""
        values = self._values(changes, {})
        refused = self._refusing(row_id, values)
        statement, written = self._update(row_id, name, expected, values, returning=False)
        prepared = self._statements.prepared(statement)
        if prepared is not None:
            return bool(self.database.attempt(lambda: prepared.count(written), refused))
        return self.database.write(
            lambda session: self._changed(session, row_id, name, expected, values), refused, one_statement=True
        )

    def change_all(self, session: Session, name: str, changes: Mapping[int, Change]) -> set[int]:
        """Change several rows, each if its attribute of that name is still what was expected; which ones were.

        Raises:
            NotTogether: they are not to be changed by the same statements.
        """
        key, was = self.model.id, getattr(self.model, name)
        # In one order, so that rivals queue for the rows instead of waiting for each other.
        locked = select(key, was).where(key.in_({change[0] for change in changes.values()})).order_by(key)
        now = {row[0]: row[1] for row in session.execute(locked.with_for_update())}
        shapes: dict[Any, list[dict[str, Any]]] = {}
        won = set()
        for index, (row_id, expected, changed) in changes.items():
            if "host" in changed:
                raise NotTogether
            if row_id in now and now.pop(row_id) == expected:  # popped: of two changes of one row, the first
                won.add(index)
                statement, written = self._update(row_id, name, expected, self._values(changed, {}), returning=False)
                shapes.setdefault(statement, []).append(written)
        for statement, written_rows in shapes.items():
            if session.connection().execute(statement, written_rows).rowcount != len(written_rows):
                raise NotTogether
        return won

    def read_all(
        self, session: Session, name: str, values: Collection[Any], order: tuple[str, ...] = ("id",)
    ) -> dict[Any, _R]:
        """For each of the values, the first row, in an order, whose attribute of that name has it."""
        attribute = getattr(self.model, name)
        question = select(self.model).where(attribute.in_(values)).order_by(*(getattr(self.model, by) for by in order))
        found: dict[Any, _R] = {}
        for row in session.scalars(question).unique():
            found.setdefault(getattr(row, name), row)
        session.expunge_all()  # what is read later is another snapshot
        return found

    def _changed(self, session: Session, row_id: UUID, name: str, expected: object, values: Mapping[str, Any]) -> bool:
        result = session.execute(*self._update(row_id, name, expected, values, returning=False))
        assert isinstance(result, CursorResult)
        return bool(result.rowcount)

    def _update(
        self, row_id: UUID, name: str, expected: object, values: Mapping[str, Any], *, returning: bool
    ) -> tuple[Any, dict[str, Any]]:
        """The statement that changes a row whose attribute is what was expected, and its parameters."""
        core = [each for each in values if each in self._kinds]
        shape = (name, expected is None, returning, *core)
        statement = self._updates.get(shape)
        if statement is None:
            attribute = getattr(self.model, name)
            same = attribute.is_(None) if expected is None else attribute == bindparam("expected")
            written: dict[str, Any] = {each: bindparam(f"to_{each}") for each in core}
            written |= {"version": self.model.version + 1} if name == "version" else {}
            statement = update(self.model).where(self.model.id == bindparam("row"), same)
            statement = statement.values(written or {"id": self.model.id})
            statement = statement.execution_options(synchronize_session=False)
            statement = self._updates[shape] = statement.returning(self.model) if returning else statement
        if len(core) < len(values):  # the host's own, which may be expressions
            statement = statement.values({each: value for each, value in values.items() if each not in self._kinds})
        return statement, {"row": row_id, "expected": expected, **{f"to_{each}": values[each] for each in core}}

    def _is_core(self, values: Mapping[str, Any]) -> bool:
        """Whether none of the values is of the host's own: those may be expressions."""
        return self._own.isdisjoint(values)

    def _values(self, core: Mapping[str, Any], source: Any) -> dict[str, Any]:
        """The attributes to set: the core's, checked, and those of the ``host`` of a draft or of changes."""
        host = source.get("host", {}) if isinstance(source, Mapping) else getattr(source, "host", {})
        values = {name: plain(name, self._kinds[name], value) for name, value in core.items()}
        for name, value in host.items():
            if name not in self._own:
                near = difflib.get_close_matches(str(name), sorted(self._own), 1)
                own = ", ".join(sorted(self._own)) or "it has none"
                raise InvalidField(
                    "host",
                    name,
                    expected=f"a column of your own on {self.model.__name__}: {own}",
                    remedy=f"Did you mean {near[0]!r}?" if near else "",
                )
            values[name] = value
        return values

    def _refusing(self, row_id: UUID, values: Mapping[str, Any]) -> Callable[[Session], None]:
        """Raise DuplicateKey for the key among the values that another row has; return where there is none."""

        def refused(session: Session) -> None:
            present = _one(session, self.model, row_id)
            if "id" in values and present is not None:
                raise DuplicateKey("id", row_id)
            for names in self._unique:
                wanted = {name: values[name] if name in values else getattr(present, name, None) for name in names}
                if None in wanted.values() or not any(name in values for name in names):
                    continue
                same = [getattr(self.model, name) == value for name, value in wanted.items()]
                owner = session.scalars(select(self.model.id).where(*same, self.model.id != row_id)).first()
                if owner is not None:
                    raise DuplicateKey(names[0], owner)

        return refused


def _one(session: Session, model: type[Any], row_id: UUID) -> Any:
    return session.scalars(select(model).where(model.id == row_id)).unique().first()


def _is_plain(mapper: Mapper[Any]) -> bool:
    """Whether a class is one table, whose columns are named as its attributes are."""
    names = {attribute.key: attribute.columns[0].key for attribute in mapper.column_attrs}
    return len(mapper.tables) == 1 and mapper.polymorphic_on is None and all(a == b for a, b in names.items())
