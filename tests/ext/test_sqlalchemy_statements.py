"""The short way to PostgreSQL: what it is taken for, and that nothing of the host's is passed by."""

from __future__ import annotations

import logging
import pickle
import signal
from datetime import UTC, datetime
from decimal import Decimal

import pytest

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'mpesa-core[sqlalchemy]'")

from sqlalchemy import JSON, String, create_engine, event, func, inspect, text
from sqlalchemy.orm import Mapped, Session, deferred, mapped_column, registry, sessionmaker
from sqlalchemy.types import TypeDecorator

from mpesa_core.errors import DuplicateKey, StorageBusy, StorageRefused, StorageUnavailable
from mpesa_core.ext.sqlalchemy import CallbackMixin, SqlAlchemyRepository, TransactionMixin
from mpesa_core.ext.sqlalchemy.operations import Database
from mpesa_core.payments.records import Key, Status
from mpesa_core.testing.contract import callback_draft, transaction_draft
from tests.ext.stores import Callback, Payment, empty_repository, repository_on

NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


@pytest.fixture
def engine(alchemy_postgres):
    """An engine of the test's own, which it may listen to, with one connection."""
    made = create_engine(alchemy_postgres.url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    yield made
    assert 0 == made.pool.checkedout()
    made.dispose()


@pytest.fixture
def repository(alchemy_postgres, engine):
    empty_repository(alchemy_postgres)
    return repository_on(engine)


@pytest.fixture
def sessions(monkeypatch):
    """How many sessions were opened."""
    opened = []
    usual = Database._session
    monkeypatch.setattr(Database, "_session", lambda self: opened.append(self) or usual(self))
    return opened


def settle(store):
    """What a callback asks of a repository."""
    row = store.add(transaction_draft(checkout_request_id="ws_1", amount=Decimal("10.50"), reserved={"a": "1.10"}))
    draft = callback_draft(next_attempt_at=NOW)
    store.add_callback(draft)
    callback = store.get_callback(draft.id)
    assert store.change_callback(callback.id, NOW, {"next_attempt_at": None, "attempts": 1})
    assert not store.change_callback(callback.id, NOW, {"attempts": 2})
    found = store.find(Key.CHECKOUT_REQUEST_ID, "ws_1")
    changes = {"status": Status.SUCCESS, "short_code": "174379", "mpesa_receipt_number": "R1", "settled_at": NOW}
    changed = store.change(row.id, 1, {**changes, "raw_callback_payload": {"a": Decimal("0.1")}})
    assert store.change(row.id, 1, {"checks": 1}) is None
    return [callback, store.get_callback(draft.id), found, changed, store.get(row.id)]


def contents(row):
    return {attribute.key: getattr(row, attribute.key) for attribute in inspect(row).mapper.column_attrs}


def test_a_callback_is_settled_without_a_session(repository, sessions):
    """Each operation but the one that asks for the payment is a statement of the driver's."""
    settle(repository)
    assert 1 == len(sessions)


def test_rows_are_the_same_either_way(repository, engine, sessions):
    """Their values, those of the host's columns too, are what the ORM loads, and they are detached and unchanged."""
    rows = settle(repository)
    sessions.clear()
    hearing = sessionmaker(engine)
    event.listen(hearing, "do_orm_execute", lambda _: None)
    ordinary = repository_on(hearing)
    expected = [ordinary.get_callback(rows[1].id), ordinary.get(rows[3].id)]
    assert 2 == len(sessions)
    assert [contents(row) for row in expected] == [contents(row) for row in (rows[1], rows[3])]
    assert ["10.50", "{'a': Decimal('0.1')}"] == [str(rows[3].amount), str(rows[3].raw_callback_payload)]
    for row in (*expected, *rows):
        state = inspect(row)
        assert (True, False, (row.id,)) == (state.detached, state.modified, state.identity)
        assert contents(row) == contents(pickle.loads(pickle.dumps(row)))


def test_a_row_may_be_put_into_a_session_of_the_hosts(repository, engine):
    """It is a persistent row there: what the host changes in its own columns is written, and nothing else."""
    row = settle(repository)[-1]
    with Session(engine, expire_on_commit=False) as session, session.begin():
        session.add(row)
        row.order_id = 7
    assert (7, row.version) == (repository.get(row.id).order_id, repository.get(row.id).version)


LISTENERS = [
    *[("engine", name) for name in ("before_cursor_execute", "after_execute", "engine_connect", "begin", "commit")],
    *[("sessions", name) for name in ("do_orm_execute", "after_begin", "after_commit", "loaded_as_persistent")],
    *[("class", name) for name in ("load",)],
]


@pytest.mark.parametrize(("whose", "name"), LISTENERS)
def test_listeners_hear_of_each_operation(repository, engine, whose, name):
    """What the host listens to is told of a question and of a change, as by SQLAlchemy alone."""
    made = sessionmaker(engine)
    store = repository_on(made)
    row = store.add(transaction_draft())
    assert 2 == store.change(row.id, 1, {"checks": 1}).version
    heard, target = [], {"engine": engine, "sessions": made, "class": Payment}[whose]

    def hear(*_, **__):
        heard.append(name)

    event.listen(target, name, hear)
    try:
        store.get(row.id)
        assert heard or "commit" in name
        heard.clear()
        store.change(row.id, 2, {"checks": 2})
        assert heard
    finally:
        event.remove(target, name, hear)


def test_statements_are_logged(repository, caplog):
    """Somebody who has SQLAlchemy log its statements reads all of them."""
    row = repository.add(transaction_draft())
    with caplog.at_level(logging.INFO, "sqlalchemy.engine"):
        repository.get(row.id)
    assert "SELECT shop_payments" in caplog.text


def test_a_session_class_of_the_hosts_is_used(engine, alchemy_postgres):
    """Its methods are called, whatever they do."""
    called = []

    class Own(Session):
        def scalars(self, *arguments, **more):
            called.append("scalars")
            return super().scalars(*arguments, **more)

    empty_repository(alchemy_postgres)
    store = repository_on(sessionmaker(engine, class_=Own))
    row = store.add(transaction_draft())
    called.clear()
    store.get(row.id)
    assert ["scalars"] == called


class Reversed(TypeDecorator):
    """Kept from the last letter to the first; it has its own mind about one text."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value, dialect):
        if value == "odd":
            raise ValueError("odd")
        return value and value[::-1]

    def process_result_value(self, value, dialect):
        return value and value[::-1]


@pytest.fixture
def own(engine):
    """A host's own classes: columns of other names and types, defaults, and what changes with a row."""
    tables = registry()

    @tables.mapped
    class Paid(TransactionMixin):
        __tablename__ = "Own payments"
        account_reference: Mapped[str] = mapped_column("Reference %", Reversed, default="")
        details: Mapped[dict | None] = mapped_column(JSON)
        changed_at: Mapped[datetime | None] = mapped_column(onupdate=func.now())
        marked: Mapped[str | None] = mapped_column(onupdate="changed")

    @tables.mapped
    class Heard(CallbackMixin):
        __tablename__ = "own_callbacks"
        touched: Mapped[str | None] = mapped_column(onupdate=lambda: "by a function")
        large: Mapped[str | None] = deferred(mapped_column(String))

    tables.metadata.create_all(engine)
    yield SqlAlchemyRepository(engine, transaction_model=Paid, callback_model=Heard)
    tables.metadata.drop_all(engine)


def test_columns_of_the_hosts_own_kind(own, engine, sessions):
    """Their names, types and defaults are kept to, on the short way where it can, else on the ordinary one."""
    row = own.add(transaction_draft(account_reference="abc", host={"details": {"a": [1]}}))
    sessions.clear()
    read, changed = own.get(row.id), own.change(row.id, 1, {"account_reference": "xyz"})
    assert (0, "abc", {"a": [1]}, None) == (len(sessions), read.account_reference, read.details, read.changed_at)
    assert ("xyz", {"a": [1]}, "changed", True) == (
        changed.account_reference,
        changed.details,
        changed.marked,
        changed.changed_at is not None,
    )
    with engine.connect() as connection:
        assert "zyx" == connection.scalar(text('SELECT "Reference %" FROM "Own payments"'))
    draft = callback_draft(next_attempt_at=NOW)
    own.add_callback(draft)
    assert own.change_callback(draft.id, NOW, {"attempts": 1})
    kept = own.get_callback(draft.id)
    assert (1, "by a function", "large" in vars(kept)) == (kept.attempts, kept.touched, False)


def test_an_expression_of_the_hosts(own, sessions):
    """A column of the host's may be changed to what the database makes of it."""
    row = own.add(transaction_draft())
    sessions.clear()
    changed = own.change(row.id, 1, {"checks": 1, "host": {"marked": func.upper("done")}})
    assert ("DONE", 1) == (changed.marked, len(sessions))
    assert "changed" == own.change(row.id, 2, {"checks": 2}).marked, "it is not kept with the statement"


def test_a_type_of_the_hosts_that_refuses_a_value(own):
    """It is a row that is refused each time, and no failure of the database."""
    row = own.add(transaction_draft())
    with pytest.raises(StorageRefused, match="odd"):
        own.change(row.id, 1, {"account_reference": "odd"})
    assert 1 == own.get(row.id).version


def test_a_key_that_is_taken(repository):
    """The error names the owner, and the row is as it was."""
    first, second = (repository.add(transaction_draft(idempotency_key=each)) for each in "ab")
    with pytest.raises(DuplicateKey) as raised:
        repository.change(second.id, 1, {"idempotency_key": "a", "checks": 1})
    assert (first.id, 0) == (raised.value.owner, repository.get(second.id).checks)


def test_no_free_connection(repository, engine):
    """Where the pool has none left in time, nothing was begun; the next call has one again."""
    row = repository.add(transaction_draft())
    with engine.connect(), pytest.raises(StorageBusy, match="All connections are in use"):
        repository.change(row.id, 1, {"checks": 1})
    assert 2 == repository.change(row.id, 1, {"checks": 1}).version


def test_a_server_that_was_gone_costs_one_call(alchemy_postgres, sessions):
    """All connections of the pool are lost with the first one: the next call has a new one."""
    row = empty_repository(alchemy_postgres).add(transaction_draft())
    engine = create_engine(alchemy_postgres.url, pool_size=2, max_overflow=0)
    store = repository_on(engine)
    with engine.connect() as one, engine.connect() as two:
        pids = [each.scalar(text("SELECT pg_backend_pid()")) for each in (one, two)]
    sessions.clear()
    with alchemy_postgres.connect() as killer:
        for pid in pids:
            killer.execute(text(f"SELECT pg_terminate_backend({pid}, 5000)"))
    with pytest.raises(StorageUnavailable, match="read again"):
        store.change(row.id, 1, {"checks": 1})
    assert (2, 0) == (store.change(row.id, 1, {"checks": 1}).version, len(sessions))
    assert 0 == engine.pool.checkedout()
    engine.dispose()


def test_a_server_that_is_not_there():
    """Nothing was begun, and it is told as what it is."""
    engine = create_engine("postgresql+psycopg://mpesa@127.0.0.1:1/none")
    with pytest.raises(StorageUnavailable, match="refused"):
        repository_on(engine).get(transaction_draft().id)
    engine.dispose()


@pytest.mark.parametrize(("failures", "version"), [(2, 2), (9, 1)])
def test_what_the_database_undoes_is_repeated(repository, alchemy_postgres, failures, version):
    """A serialization failure is tried again, some times; then it is StorageBusy, and nothing was changed."""
    row = repository.add(transaction_draft())
    made = [
        "CREATE SEQUENCE undone",
        f"""CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('undone') <= {failures} THEN RAISE 'undone' USING ERRCODE = '40001'; END IF; RETURN NEW; END $$""",
        "CREATE TRIGGER undo BEFORE UPDATE ON shop_payments FOR EACH ROW EXECUTE FUNCTION undo()",
    ]
    with alchemy_postgres.begin() as connection:
        for statement in made:
            connection.exec_driver_sql(statement)
    try:
        if failures > 5:
            with pytest.raises(StorageBusy, match="Nothing was changed"):
                repository.change(row.id, 1, {"checks": 1})
        else:
            repository.change(row.id, 1, {"checks": 1})
    finally:
        with alchemy_postgres.begin() as connection:
            connection.exec_driver_sql("DROP FUNCTION undo CASCADE")
            connection.exec_driver_sql("DROP SEQUENCE undone")
    assert version == repository.get(row.id).version


class TimeLimitError(Exception):
    pass


def test_a_call_that_is_interrupted_leaves_no_answer_behind(repository, engine):
    """A time limit that strikes while the database is waited for (Celery's, say): the next call reads its own answer."""
    row = repository.add(transaction_draft(checkout_request_id="ws_1"))

    def strike(*_):
        raise TimeLimitError

    other = create_engine(engine.url)
    usual = signal.signal(signal.SIGALRM, strike)
    try:
        with other.begin() as locking:
            locking.execute(text("SELECT 1 FROM shop_payments FOR UPDATE"))
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(TimeLimitError):
                repository.change(row.id, 1, {"checks": 1})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, usual)
        other.dispose()
    assert "ws_1" == repository.get(row.id).checkout_request_id


def test_the_pools_connections_are_as_they_were(repository, engine):
    """A transaction of the host's that comes after is one."""
    row = repository.add(transaction_draft())
    repository.get(row.id)
    with pytest.raises(DuplicateKey):
        repository.add(transaction_draft(id=row.id))
    with engine.connect() as connection:
        assert not connection.connection.driver_connection.autocommit


def test_a_missing_table_is_unavailable(engine):
    """It is told what to do."""
    tables = registry()

    @tables.mapped
    class Nowhere(TransactionMixin):
        __tablename__ = "nowhere"

    store = SqlAlchemyRepository(engine, transaction_model=Nowhere, callback_model=Callback)
    with pytest.raises(StorageUnavailable, match="Create the tables"):
        store.get(transaction_draft().id)
