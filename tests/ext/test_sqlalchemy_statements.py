"""The short way to PostgreSQL: what it is taken for, and that nothing of the host's is passed by."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import pickle
import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'mpesa-core[sqlalchemy]'")

from sqlalchemy import JSON, Engine, String, create_engine, event, func, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Mapped, Session, deferred, mapped_column, registry, sessionmaker
from sqlalchemy.types import TypeDecorator

from mpesa_core.errors import DuplicateKey, StorageBusy, StorageRefused, StorageUnavailable
from mpesa_core.ext.sqlalchemy import CallbackMixin, SqlAlchemyRepository, TransactionMixin
from mpesa_core.ext.sqlalchemy.operations import Database
from mpesa_core.payments.records import Key, Status, Sweep
from mpesa_core.repository.protocol import JointChange, missing_operations
from mpesa_core.testing.contract import callback_draft, transaction_draft
from tests import trials
from tests.ext.stores import Base, Callback, Payment, empty_repository, repository_on

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
    ("class", "load"),
    ("all engines", "before_cursor_execute"),
    ("all sessions", "do_orm_execute"),
    ("all classes", "load"),
]


@pytest.mark.parametrize(("whose", "name"), LISTENERS)
def test_listeners_hear_of_each_operation(repository, engine, whose, name):
    """What the host listens to is told of a question and of a change, as by SQLAlchemy alone."""
    made = sessionmaker(engine)
    store = repository_on(made)
    row = store.add(transaction_draft())
    assert 2 == store.change(row.id, 1, {"checks": 1}).version
    heard, all_of = [], {"all engines": Engine, "all sessions": Session, "all classes": Base}
    target = {"engine": engine, "sessions": made, "class": Payment, **all_of}[whose]

    def hear(*_, **__):
        heard.append(name)

    event.listen(target, name, hear, propagate=whose == "all classes")
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


@pytest.mark.skipif(not hasattr(Session, "execution_options"), reason="needs SQLAlchemy 2.1")
def test_execution_options_of_the_hosts_sessions(alchemy_postgres, repository):
    """Where they name another schema, each row is written to that one and read from it."""
    schemas = {"schema_translate_map": {None: "branch"}}
    with alchemy_postgres.begin() as connection:
        connection.execute(text("DROP SCHEMA IF EXISTS branch CASCADE"))
        connection.execute(text("CREATE SCHEMA branch"))
        Base.metadata.create_all(connection.execution_options(**schemas))
    store = repository_on(sessionmaker(alchemy_postgres, execution_options=schemas))
    callback = callback_draft()
    store.add_callback(callback)
    row = store.add(transaction_draft())
    assert (row.id, callback.id) == (store.get(row.id).id, store.get_callback(callback.id).id)
    assert (None, None) == (repository.get(row.id), repository.get_callback(callback.id))


CLOSED = {"next_attempt_at": None, "processed": True}


def both(store, **fields):
    """A payment, and a callback that is open."""
    row, draft = store.add(transaction_draft(**fields)), callback_draft(next_attempt_at=NOW)
    store.add_callback(draft)
    return row, draft.id


def test_a_payment_and_its_callback_are_changed_by_one_statement(repository, engine, sessions):
    """Without a session; either way, the rows are the same."""
    hearing = sessionmaker(engine)
    event.listen(hearing, "after_begin", lambda *_: None)
    made = []
    for store in (repository, repository_on(hearing)):
        row, callback = both(store)
        sessions.clear()
        changed = store.change_with_callback(row.id, 1, {"status": Status.SUCCESS}, callback, NOW, CLOSED)
        assert store.change_with_callback(row.id, 2, {"checks": 1}, callback, NOW, {"attempts": 9}) is None
        assert store.change_with_callback(row.id, 1, {"checks": 1}, callback, None, {"attempts": 9}) is None
        made.append(
            (len(sessions), contents(changed), contents(store.get(row.id)), contents(store.get_callback(callback)))
        )
    assert [0, 3] == [each[0] for each in made]
    for _, changed, row, callback in made:
        assert changed == row
        assert (2, "SUCCESS", True, None, 0) == (
            row["version"],
            row["status"],
            callback["processed"],
            callback["next_attempt_at"],
            callback["attempts"],
        )


@contextlib.contextmanager
def waiting_for(engine, work):
    """Have a thread do something that waits for a lock; its result, at the end."""
    result = []
    thread = threading.Thread(target=lambda: result.append(work()))
    thread.start()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        waits = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        while not connection.scalar(waits):
            assert thread.is_alive()
            time.sleep(0.005)
    yield result
    thread.join()


@pytest.mark.parametrize("rival", ["claims", "settles", "notes", "neither"])
def test_a_rival_who_was_first_at_one_of_the_two(alchemy_postgres, repository, rival):
    """Both or neither, where the rival commits while its row is waited for; what it wrote stays."""
    row, callback = both(repository)
    said = {
        "claims": "UPDATE shop_callbacks SET next_attempt_at = now(), attempts = 5",
        "settles": "UPDATE shop_payments SET version = 2, checks = 5",
        "notes": "UPDATE shop_callbacks SET error = 'noted'; UPDATE shop_payments SET result_desc = 'noted'",
        "neither": "UPDATE shop_callbacks SET next_attempt_at = now(); UPDATE shop_payments SET version = 2",
    }

    def settle():
        return repository.change_with_callback(row.id, 1, {"checks": 1}, callback, NOW, {**CLOSED, "attempts": 1})

    with alchemy_postgres.connect() as connection:
        connection.exec_driver_sql(said[rival])
        with waiting_for(alchemy_postgres, settle) as result:
            connection.rollback() if rival == "neither" else connection.commit()
    kept, log = repository.get(row.id), repository.get_callback(callback)
    if rival in {"notes", "neither"}:
        assert (2, 1, 1, None) == (result[0].version, kept.checks, log.attempts, log.next_attempt_at)
    else:
        assert [None] == result
        assert {"claims": (1, 0, 5), "settles": (2, 5, 0)}[rival] == (kept.version, kept.checks, log.attempts)
        assert log.next_attempt_at is not None
    assert ["noted" if rival == "notes" else None] * 2 == [kept.result_desc, log.error]


def test_processes_race_for_a_payment_and_its_callback(alchemy_postgres, repository):
    """Of two who settle and one who claims, one alone gets anything, at each turn."""
    pairs = [both(repository) for _ in range(trials.scaled(60))]
    work = [("settle", 1), ("settle", 2), ("claim", 3)]
    context = multiprocessing.get_context("spawn")
    url = alchemy_postgres.url.render_as_string(hide_password=False)
    ids = [(row.id, callback) for row, callback in pairs]
    with context.Pool(len(work)) as pool:
        results = pool.map(_race, [(url, what, number, ids) for what, number in work], chunksize=1)
    for (row_id, callback), won in zip(ids, zip(*results, strict=True), strict=True):
        (number,) = [each for each in won if each]
        row, log = repository.get(row_id), repository.get_callback(callback)
        settled = number < 3
        assert (1 + settled, number if settled else 0) == (row.version, row.checks)
        assert (number, settled) == (log.attempts, log.processed)


def _race(what):
    url, work, number, ids = what
    engine = create_engine(url)
    store = repository_on(engine)
    won = []
    for row_id, callback in ids:
        changes = {"attempts": number}
        if work == "settle":
            changed = store.change_with_callback(row_id, 1, {"checks": number}, callback, NOW, {**CLOSED, **changes})
        else:
            changed = store.change_callback(callback, NOW, {"next_attempt_at": NOW + timedelta(days=1), **changes})
        won.append(number if changed else 0)
    engine.dispose()
    return won


def test_two_databases_have_no_joint_change(alchemy_postgres, alchemy_sqlite):
    """Where no transaction does for both, the operation is not there; what settles goes without it."""

    def bare(bind):
        return SqlAlchemyRepository(bind, transaction_model=Payment, callback_model=Callback)

    apart = bare(sessionmaker(binds={Payment: alchemy_postgres, Callback: alchemy_sqlite}))
    assert ("change_with_callback",) == missing_operations(apart, JointChange)
    with pytest.raises(AttributeError, match="different databases"):
        apart.change_with_callback(None, 1, {}, None, None, {})
    assert () == missing_operations(bare(alchemy_sqlite), JointChange)


def test_an_asynchronous_engines_synchronous_face(alchemy_postgres, sessions):
    """Its driver's cursors are coroutines: within `run_sync` it goes SQLAlchemy's whole way."""
    pytest.importorskip("greenlet", reason="greenlet is not installed: pip install 'sqlalchemy[asyncio]'")
    row = empty_repository(alchemy_postgres).add(transaction_draft())
    sessions.clear()

    async def ask():
        engine = create_async_engine(alchemy_postgres.url)
        async with engine.connect() as connection:
            found = await connection.run_sync(lambda _: repository_on(engine.sync_engine).get(row.id))
        await engine.dispose()
        return found

    assert (row.id, 1) == (asyncio.run(ask()).id, len(sessions))


def test_execution_options_of_the_hosts_engine(engine):
    """A schema that it puts in place of another one is the one that is asked."""
    elsewhere = engine.execution_options(schema_translate_map={None: "elsewhere"})
    with pytest.raises(StorageUnavailable, match=r"elsewhere\.shop_payments"):
        repository_on(elsewhere).get(transaction_draft().id)


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
        marked: Mapped[str | None] = mapped_column(onupdate="closed")

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
    assert (1, "by a function") == (kept.attempts, kept.touched)
    settled = own.change_with_callback(row.id, 2, {"checks": 1}, draft.id, NOW, {"attempts": 2})
    closed = own.get_callback(draft.id)
    assert (3, "changed", 2, "closed") == (settled.version, settled.marked, closed.attempts, closed.marked)


def test_what_is_loaded_later_is_not_loaded(engine, sessions):
    """A column that the host has deferred is left out, by the ordinary way."""
    tables = registry()

    @tables.mapped
    class Large(TransactionMixin):
        __tablename__ = "large_payments"
        notes: Mapped[str | None] = deferred(mapped_column(String))

    tables.metadata.create_all(engine)
    try:
        store = SqlAlchemyRepository(engine, transaction_model=Large, callback_model=Callback)
        row = store.add(transaction_draft(host={"notes": "long"}))
        sessions.clear()
        assert (False, 1) == ("notes" in vars(store.get(row.id)), len(sessions))
    finally:
        tables.metadata.drop_all(engine)


def test_an_expression_of_the_hosts(own, repository, sessions):
    """A column of the host's may be changed to what the database makes of it."""
    row = own.add(transaction_draft())
    sessions.clear()
    changed = own.change(row.id, 1, {"checks": 1, "host": {"marked": func.upper("done")}})
    assert ("DONE", 1) == (changed.marked, len(sessions))
    assert "changed" == own.change(row.id, 2, {"checks": 2}).marked, "it is not kept with the statement"
    row, callback = both(repository)
    changes = {"checks": 1, "host": {"order_id": func.length("seven")}}
    assert 5 == repository.change_with_callback(row.id, 1, changes, callback, NOW, CLOSED).order_id


def test_a_type_of_the_hosts_that_refuses_a_value(own):
    """It is a row that is refused each time, and no failure of the database."""
    row = own.add(transaction_draft())
    with pytest.raises(StorageRefused, match="odd"):
        own.change(row.id, 1, {"account_reference": "odd"})
    assert 1 == own.get(row.id).version


def test_a_batch_in_which_one_value_is_refused(own):
    """The others of it are done."""
    rows = [own.add(transaction_draft()) for _ in range(3)]
    kept = ["abc", "odd", "xyz"]
    results = own.batch(
        [("change", (row.id, 1, {"account_reference": each})) for row, each in zip(rows, kept, strict=True)]
    )
    assert isinstance(results[1], StorageRefused)
    assert ["abc", "INV-1", "xyz"] == [own.get(row.id).account_reference for row in rows]


def test_a_batch_is_the_same_either_way(repository, engine, sessions):
    """Its rows and its refusals, with the ORM and without it."""
    hearing, asked = sessionmaker(engine), []
    event.listen(hearing, "do_orm_execute", asked.append)
    made = []
    for store, name in ((repository, "a"), (repository_on(hearing), "b")):
        pairs = [both(store, idempotency_key=f"{name}{index}") for index in range(6)]
        calls = [("find", (Key.IDEMPOTENCY_KEY, f"{name}{index}")) for index in range(7)]
        calls += [("change", (pairs[0][0].id, version, {"settled_at": NOW, "checks": 7})) for version in (2, 1, 1)]
        calls += [("change_callback", (pairs[0][1], NOW, {"next_attempt_at": moment})) for moment in (None, NOW)]
        calls += [
            ("change_with_callback", (row.id, 1, {"amount": Decimal(index)}, callback, NOW, CLOSED))
            for index, (row, callback) in enumerate(pairs)
        ]
        results = store.batch(calls)
        given = ("id", "idempotency_key", "initiated_at")
        made.append(
            [
                {name: value for name, value in contents(each).items() if name not in given}
                if isinstance(each, Payment)
                else each
                for each in results
            ]
        )
        assert [f"{name}{index}" for index in range(6)] == [each.idempotency_key for each in results[:6]]
        assert [True, False] == [inspect(each).detached for each in results[:6]][:1] + results[11:12]
        assert [None, None, None, 2] == [results[6], results[7], results[9], results[8].version]
        assert [None, 2, 2] == [each and each.version for each in results[12:15]]
        assert bool(asked) is (name == "b")
    assert made[0] == made[1]


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


def test_a_migration_while_statements_are_prepared(alchemy_postgres, repository, engine):
    """A column of the host's gets another type: whoever finds statements prepared for the old one is asked to repeat."""
    row = repository.add(transaction_draft())

    def each_works(version):
        repository.due(Sweep.UNSENT, NOW, 5)
        assert version + 1 == repository.change(row.id, version, {"checks": version}).version
        assert version == repository.get(row.id).checks

    for version in range(1, 9):
        each_works(version)
    for kind, first in (("bigint", repository.get), ("integer", lambda _: repository.due(Sweep.UNSENT, NOW, 5))):
        with alchemy_postgres.begin() as connection:
            connection.execute(text(f"ALTER TABLE shop_payments ALTER order_id TYPE {kind}"))
        with pytest.raises(StorageBusy, match="Nothing was changed"):
            first(row.id)
        for version in range(9, 17) if kind == "bigint" else range(17, 19):
            each_works(version)


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


def test_a_call_that_is_interrupted_leaves_no_answer_behind(repository, engine, caplog):
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
    assert [] == caplog.records, "the pool had trouble with the connection"
    assert "ws_1" == repository.get(row.id).checkout_request_id


def test_the_pools_connections_are_as_they_were(repository, engine):
    """A transaction of the host's that comes after is one, also where the database has refused something."""

    def is_left_alone():
        driver = engine.raw_connection()
        try:
            return not driver.driver_connection.autocommit
        finally:
            driver.close()

    row = repository.add(transaction_draft())
    repository.get(row.id)
    assert is_left_alone()
    with pytest.raises(StorageRefused, match="out of range"):
        repository.change(row.id, 1, {"checks": 2**63})
    assert is_left_alone()


def test_a_missing_table_is_unavailable(engine):
    """It is told what to do."""
    tables = registry()

    @tables.mapped
    class Nowhere(TransactionMixin):
        __tablename__ = "nowhere"

    store = SqlAlchemyRepository(engine, transaction_model=Nowhere, callback_model=Callback)
    with pytest.raises(StorageUnavailable, match="Create the tables"):
        store.get(transaction_draft().id)
