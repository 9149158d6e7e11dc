"""One of the host's mapped classes, and what the repository does with its rows."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    CursorResult,
    Select,
    and_,
    any_,
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
from mpesa_core.ext.sqlalchemy.statements import Prepared, Statements
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
        statements: those that are executed without a session.

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
        self.statements = Statements[_R](mapper, self.database.bind, self.database.sample)
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
        prepared = self.statements.prepared(question)
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
        values = self.values({name: getattr(draft, name) for name in self._drafted}, draft)

        insertion = self._insertion if then is None and not self._is_listened_to() else None
        refused = self.refusing(draft.id, values)
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
        prepared = self.statements.prepared(statement)
        if prepared is not None:
            return self.database.attempt(lambda: prepared.count(written), refused)
        return self.database.write(
            lambda session: session.connection().execute(statement, written).rowcount, refused, one_statement=True
        )

    def change_version(self, row_id: UUID, version: int, changes: Mapping[str, Any]) -> _R | None:
        """Change the row and raise its version, if it is still the one given; the row as it is now, or None."""
        values = self.changed_values(changes)
        refused = self.refusing(row_id, values)
        if self.is_core(values):
            statement, written = self.updating(row_id, "version", version, values, returning=True)
            prepared = self.statements.prepared(statement)
            if prepared is not None:
                return self.database.attempt(lambda: prepared.first(written), refused)
        return self.database.write(
            lambda session: self.changed(session, row_id, version, values), refused, one_statement=self._returned_whole
        )

    def changed(self, session: Session, row_id: UUID, version: int, values: Mapping[str, Any]) -> _R | None:
        """:meth:`change_version` in a session."""
        row: _R | None
        if self._returned_whole and session.get_bind().dialect.update_returning:
            row = session.scalars(*self.updating(row_id, "version", version, values, returning=True)).first()
        elif self.was_changed(session, row_id, "version", version, values):
            row = _one(session, self.model, row_id)
        else:
            row = None
        return row

    def change_where(self, row_id: UUID, name: str, expected: object, changes: Mapping[str, Any]) -> bool:
        """Change the row, if its attribute of that name is still what was expected; whether it was so."""
        values = self.values(changes, {})
        refused = self.refusing(row_id, values)
        statement, written = self.updating(row_id, name, expected, values)
        return bool(self._write(statement, written, refused))

    def lock_all(self, session: Session, name: str, ids: Collection[UUID]) -> dict[UUID, Any]:
        """Lock several rows; the attribute of that name that each of them has."""
        key = self.model.id
        if not ids:
            return {}
        # In one order, so that rivals queue for the rows instead of waiting for each other.
        question: Any = select(key, getattr(self.model, name)).order_by(key).with_for_update()
        prepared = self._among(("lock", name), "id", question)
        if prepared is not None:
            found = prepared.values_in(session, {"among": list(ids)})
            return {attributes["id"]: attributes[name] for attributes in found}
        return dict(map(tuple, session.execute(question.where(key.in_(ids)))))

    def change_all(self, session: Session, name: str, changes: Iterable[Change]) -> None:
        """Change several rows whose attribute of that name is what is expected: they are locked.

        Raises:
            NotTogether: they are not to be changed by the same statements.
        """
        shapes: dict[Any, list[dict[str, Any]]] = {}
        for row_id, expected, changed in changes:
            if "host" in changed:
                raise NotTogether
            statement, written = self.updating(row_id, name, expected, self.values(changed, {}))
            shapes.setdefault(statement, []).append(written)
        for statement, written_rows in shapes.items():
            prepared = self.statements.prepared(statement)
            if prepared is not None:
                count = prepared.many_in(session, written_rows)
            else:
                count = session.connection().execute(statement, written_rows).rowcount
            if count != len(written_rows):
                raise NotTogether

    def read_all(
        self, session: Session, name: str, values: Collection[Any], order: tuple[str, ...] = ("id",)
    ) -> dict[Any, _R]:
        """For each of the values, the first row, in an order, whose attribute of that name has it."""
        question: Any = select(self.model).order_by(*(getattr(self.model, by) for by in order))
        prepared = self._among(("read", *order), name, question)
        rows: Iterable[_R]
        if prepared is not None:
            rows = prepared.all_in(session, {"among": list(values)})
        else:
            rows = session.scalars(question.where(getattr(self.model, name).in_(values))).unique().all()
            session.expunge_all()  # what is read later is another snapshot
        found: dict[Any, _R] = {}
        for row in rows:
            found.setdefault(getattr(row, name), row)
        return found

    def _among(self, shape: tuple[str, ...], name: str, question: Any) -> Prepared[_R] | None:
        """A question for the rows whose attribute of that name is one of several, ready to be executed; or None."""
        asked = self._questions.get(shape := (*shape, "among", name))
        if asked is None:
            attribute = getattr(self.model, name)
            among = bindparam("among", type_=ARRAY(attribute.type))
            asked = self._questions[shape] = question.where(attribute == any_(among))
        return self.statements.prepared(asked)

    def was_changed(
        self, session: Session, row_id: UUID, name: str, expected: object, values: Mapping[str, Any]
    ) -> bool:
        """Change the row in a session, if its attribute of that name is still what was expected; whether it was so."""
        result = session.execute(*self.updating(row_id, name, expected, values))
        assert isinstance(result, CursorResult)
        return bool(result.rowcount)

    def updating(
        self,
        row_id: UUID,
        name: str,
        expected: object,
        values: Mapping[str, Any],
        *,
        returning: bool = False,
    ) -> tuple[Any, dict[str, Any]]:
        """The statement that changes a row whose attribute is what was expected, and its parameters."""
        core = [each for each in values if each in self._kinds]
        shape = (name, expected is None, returning, *core)
        statement = self._updates.get(shape)
        if statement is None:
            statement = self.update(self.same(name, expected), name, core)
            statement = self._updates[shape] = statement.returning(self.model) if returning else statement
        if len(core) < len(values):  # the host's own, which may be expressions
            statement = statement.values({each: value for each, value in values.items() if each not in self._kinds})
        return statement, self.parameters(row_id, expected, {each: values[each] for each in core})

    def same(self, name: str, expected: object, prefix: str = "") -> ColumnElement[bool]:
        """That it is that row, and its attribute is what was expected."""
        attribute = getattr(self.model, name)
        is_expected = attribute.is_(None) if expected is None else attribute == bindparam(f"{prefix}expected")
        return and_(self.model.id == bindparam(f"{prefix}row"), is_expected)

    def update(self, where: ColumnElement[bool], name: str, core: Collection[str], prefix: str = "") -> Any:
        """The statement that changes the fields of a row, and raises its version where that is what is compared."""
        written: dict[str, Any] = {each: bindparam(f"{prefix}to_{each}") for each in core}
        written |= {"version": self.model.version + 1} if name == "version" else {}
        statement = update(self.model).where(where).values(written or {"id": self.model.id})
        return statement.execution_options(synchronize_session=False)

    def parameters(self, row_id: UUID, expected: object, values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        """Those of :meth:`same` and :meth:`update`."""
        given = {f"{prefix}to_{each}": value for each, value in values.items()}
        return {f"{prefix}row": row_id, f"{prefix}expected": expected, **given}

    def changed_values(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """What is set by changes, checked."""
        check_names(changes, self._changeable)
        return self.values({name: value for name, value in changes.items() if name != "host"}, changes)

    def is_core(self, values: Mapping[str, Any]) -> bool:
        """Whether none of the values is of the host's own: those may be expressions."""
        return self._own.isdisjoint(values)

    def values(self, core: Mapping[str, Any], source: Any) -> dict[str, Any]:
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

    def refusing(self, row_id: UUID, values: Mapping[str, Any]) -> Callable[[Session], None]:
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
