"""What the contract does not ask of the repository on SQLAlchemy: the host's classes, its refusals, locks, indexes."""

from __future__ import annotations

import os
import traceback
from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

import pytest

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'mpesa-core[sqlalchemy]'")

from sqlalchemy import ForeignKey, UniqueConstraint, create_engine, event, func, inspect, select, text
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    registry,
    relationship,
    scoped_session,
    sessionmaker,
)

from mpesa_core.errors import (
    ConfigurationError,
    DuplicateKey,
    InvalidField,
    StorageBusy,
    StorageRefused,
    StorageUnavailable,
)
from mpesa_core.ext.sqlalchemy import SqlAlchemyRepository, TransactionMixin, prepare_sqlite
from mpesa_core.payments.records import Key, Status, Sweep
from mpesa_core.repository.protocol import (
    InvoiceRepository,
    Repository,
    SettledScan,
    SubscriptionRepository,
    missing_operations,
)
from mpesa_core.testing.contract import callback_draft, transaction_draft
from tests.ext.stores import Base, Bill, Callback, Payment, empty_repository, made_engine, repository_on

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def engine(alchemy_sqlite):
    return alchemy_sqlite


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def each_engine(request):
    return request.getfixturevalue(f"alchemy_{request.param}")


@pytest.fixture
def repository(engine):
    return empty_repository(engine)


def bare(engine, **models):
    return SqlAlchemyRepository(engine, transaction_model=Payment, callback_model=Callback, **models)


def test_operations_without_a_model_are_absent(engine):
    """Invoices and subscriptions are offered where they have a class, and the rest always."""
    assert ((), ()) == tuple(missing_operations(bare(engine), each) for each in (Repository, SettledScan))
    assert 6 == len(missing_operations(bare(engine), InvoiceRepository))
    assert 6 == len(missing_operations(bare(engine, invoice_model=Bill), SubscriptionRepository))
    assert () == missing_operations(bare(engine, invoice_model=Bill), InvoiceRepository)
    with pytest.raises(AttributeError, match="give the repository an invoice_model"):
        bare(engine).get_invoice(uuid4())


@pytest.mark.parametrize("name", ["before_insert", "after_insert"])
def test_a_host_hears_of_each_callback_that_is_recorded(repository, name):
    """Listeners to the host's class see the instance, as with any other row of theirs."""
    first, second = callback_draft(), callback_draft()
    heard = []

    def hear(_mapper, _connection, row):
        heard.append((type(row), row.id))

    event.listen(Callback, name, hear)
    try:
        repository.add_callback(first)
    finally:
        event.remove(Callback, name, hear)
    repository.add_callback(second)
    assert [(Callback, first.id)] == heard
    assert (first.id, second.id) == tuple(repository.get_callback(each.id).id for each in (first, second))


def test_rows_are_detached_instances_of_the_hosts_class(repository):
    """A row is the host's own, belongs to no session, and no two are one object."""
    added = repository.add(transaction_draft(host={"order_id": 7}))
    read = repository.get(added.id)
    changed = repository.change(added.id, 1, {"host": {"order_id": 8}})
    assert [(Payment, True, 7), (Payment, True, 7), (Payment, True, 8)] == [
        (type(row), inspect(row).detached, row.order_id) for row in (added, read, changed)
    ]
    assert 3 == len({id(row) for row in (added, read, changed)})


def test_a_row_that_was_added_is_as_it_is_kept(repository):
    """Nothing in it is the caller's own, which may change."""
    given = {"a": 1}
    row = repository.add(transaction_draft(conflicts=given, amount=Decimal(1)))
    given["b"] = 2
    assert ({"a": 1}, "1.00") == (row.conflicts, str(row.amount))


def test_a_write_queues_for_sqlite_at_its_beginning(repository, engine):
    """Its transaction has the write lock before its first statement, also where that would only read."""
    said = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_connection, _cursor, statement, *_):
        said.append(statement.split()[0])

    row = repository.add(transaction_draft())
    repository.change(row.id, 1, {})
    repository.get(row.id)
    event.remove(engine, "before_cursor_execute", note)
    assert ["BEGIN", "INSERT", "SELECT", "BEGIN", "UPDATE", "SELECT"] == said


@pytest.mark.parametrize(
    ("name", "said"), [("order", "order_id"), ("status", "a column of your own"), ("id", "a column of your own")]
)
def test_a_host_field_that_is_none_is_refused(repository, name, said):
    """An unknown name is told the nearest one, a field of the core's is not the host's, and nothing is recorded."""
    draft = transaction_draft(host={name: 7})
    with pytest.raises(InvalidField, match=said):
        repository.add(draft)
    assert repository.get(draft.id) is None


@pytest.mark.parametrize("amount", ["0.001", "10000000000000"])
def test_an_amount_is_never_rounded(repository, amount):
    """One that two decimals or fifteen digits do not hold is refused by the name of the field."""
    with pytest.raises(InvalidField, match="at most two decimals"):
        repository.add(transaction_draft(amount=Decimal(amount)))


def test_wide_keys_and_codes(each_engine):
    """A key wider than its column is found and unique by all of it; a code that no integer holds is left out."""
    repository = empty_repository(each_engine)
    row = repository.add(transaction_draft(idempotency_key="k" * 400, result_code=2**70, result_code_text=str(2**70)))
    assert row.id == repository.find("idempotency_key", "k" * 400).id
    assert repository.find("idempotency_key", "k" * 399) is None
    with pytest.raises(DuplicateKey) as raised:
        repository.add(transaction_draft(idempotency_key="k" * 400))
    assert row.id == raised.value.owner
    assert (None, str(2**70)) == (row.result_code, row.result_code_text)


@pytest.mark.parametrize("pair", [("a", "A"), ("a", "a "), ("e", "é")])
def test_keys_are_compared_to_the_letter(each_engine, pair):
    """Case, accents and blanks at the end tell keys apart, on every database."""
    repository = empty_repository(each_engine)
    rows = [repository.add(transaction_draft(checkout_request_id=key)) for key in pair]
    assert [row.id for row in rows] == [repository.find("checkout_request_id", key).id for key in pair]


def test_questions_of_the_hosts_own(each_engine):
    """The host's sessions read and sum the same rows in shillings."""
    repository = empty_repository(each_engine)
    for amount in ("10.50", "0.25"):
        repository.add(transaction_draft(amount=Decimal(amount)))
    with Session(each_engine) as session:
        assert Decimal("10.75") == session.scalar(select(func.sum(Payment.amount)))
        assert Decimal("10.50") == session.scalars(select(Payment).where(Payment.amount > 1)).one().amount


def test_what_is_given_as_engine(engine):
    """A sessionmaker will do; a session that others use, or a class that is not mapped, is refused."""
    sessions = sessionmaker(engine)
    for right in (sessions, sessionmaker(binds={Payment: engine, Callback: engine})):
        assert 1 == bare(right).add(transaction_draft()).version
    for wrong in (scoped_session(sessions), "sqlite://"):
        with pytest.raises(ConfigurationError, match="expected an Engine or a sessionmaker"):
            bare(wrong)
    for wrong in (Callback, TransactionMixin, int):
        with pytest.raises(ConfigurationError, match="TransactionMixin"):
            SqlAlchemyRepository(engine, transaction_model=wrong, callback_model=Callback)


def test_a_session_of_the_hosts_is_left_alone(repository, engine):
    """What the host has not committed does not go along with a payment."""
    other = create_engine(engine.url)
    with Session(other) as session:
        session.add(Payment(transaction_type="C2B", raw_callback_payload=None))
        repository.add(transaction_draft())
        session.rollback()
    other.dispose()
    with Session(engine) as session:
        assert 1 == session.scalar(select(func.count()).select_from(Payment))


def _locked(engine, row):
    connection = engine.connect()
    if engine.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(select(Payment.id).where(Payment.id == row.id).with_for_update())
    return connection


_IMPATIENT = {
    "sqlite": "PRAGMA busy_timeout = 20",
    "postgresql": "SET lock_timeout = '20ms'",
    "mysql": "SET innodb_lock_wait_timeout = 1",
}


def test_a_lock_is_busy(each_engine):
    """A row, or a file, that another keeps locked is StorageBusy, and nothing is changed."""
    row = empty_repository(each_engine).add(transaction_draft())
    impatient = create_engine(each_engine.url)

    @event.listens_for(impatient, "connect")
    def hurry(connection, _record):
        cursor = connection.cursor()
        cursor.execute(_IMPATIENT[impatient.dialect.name])
        cursor.close()
        connection.commit()

    with _locked(each_engine, row), pytest.raises(StorageBusy, match="Nothing was changed"):
        repository_on(impatient).change(row.id, 1, {"status": Status.FAILED})
    impatient.dispose()
    kept = repository_on(each_engine).get(row.id)
    assert (1, "PENDING") == (kept.version, kept.status)


def test_no_free_connection_is_busy(engine):
    """Where the pool has none left in time, nothing was begun."""
    small = create_engine(engine.url, pool_size=1, max_overflow=0, pool_timeout=0.01)
    with small.connect(), pytest.raises(StorageBusy, match="All connections are in use"):
        repository_on(small).get(uuid4())
    small.dispose()


def test_a_row_that_the_database_refuses(each_engine):
    """A column of the host's that must not be empty: it is said so, and nothing is added."""
    tables = registry()

    @tables.mapped
    class Paid(TransactionMixin):
        __tablename__ = "refusing_payments"
        order_id: Mapped[int]

    tables.metadata.create_all(each_engine)
    try:
        store = SqlAlchemyRepository(each_engine, transaction_model=Paid, callback_model=Callback)
        draft = transaction_draft()
        with pytest.raises(StorageRefused, match=r"refused a row: .*see to the fields of your own"):
            store.add(draft)
        assert store.get(draft.id) is None
    finally:
        tables.metadata.drop_all(each_engine)


def test_errors_hold_no_phone_number(engine, tmp_path):
    """What the database refused is told without the row, also in the traceback, which ends up in a log."""
    bare_engine = create_engine(f"sqlite:///{tmp_path / 'none.db'}")
    with pytest.raises(StorageUnavailable) as raised:
        repository_on(bare_engine).add(transaction_draft())
    bare_engine.dispose()
    repository = empty_repository(engine)
    repository.add(transaction_draft(idempotency_key="k"))
    with pytest.raises(DuplicateKey) as refused:
        repository.add(transaction_draft(idempotency_key="k"))
    for each in (raised, refused):
        assert "254708374149" not in "".join(traceback.format_exception(each.value))


def test_a_missing_table_is_unavailable(tmp_path):
    """It is no fault of the payment's; the error says that the database failed."""
    engine = create_engine(f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(StorageUnavailable, match="no such table"):
        repository_on(engine).get(uuid4())
    engine.dispose()


@pytest.mark.parametrize("server", ["postgres", "mariadb"])
def test_a_lost_connection_is_unavailable(request, server):
    """The operation whose connection was cut says that it cannot tell; the next one has a new connection."""
    engine = request.getfixturevalue(f"alchemy_{server}")
    row = empty_repository(engine).add(transaction_draft())
    fresh = create_engine(engine.url, pool_size=1, max_overflow=0)
    repository = repository_on(fresh)
    repository.get(row.id)
    with fresh.connect() as connection:
        mine = connection.scalar(text("SELECT pg_backend_pid()" if server == "postgres" else "SELECT connection_id()"))
    with engine.connect() as killer:
        killer.execute(text(f"SELECT pg_terminate_backend({mine}, 5000)" if server == "postgres" else f"KILL {mine}"))
    with pytest.raises(StorageUnavailable):
        repository.change(row.id, 1, {"checks": 1})
    assert 2 == repository.change(row.id, 1, {"checks": 1}).version
    fresh.dispose()


def test_indexes_are_named_after_the_table():
    """They are there beside the host's own arguments of the table, and no name is longer than a server takes."""

    class Own(DeclarativeBase):
        pass

    class Wide(TransactionMixin, Own):
        __tablename__ = "a_table_of_a_very_long_name_in_a_shop_of_many_departments"
        order_id: Mapped[int | None] = mapped_column()
        __table_args__ = (UniqueConstraint("order_id", name="one_payment"),)

    names = {index.name for index in Wide.__table__.indexes}
    assert (12, True) == (len(names), max(map(len, names)) <= 63)
    assert "uq_shop_payments_short_code_mpesa_receipt_number" in {index.name for index in Payment.__table__.indexes}
    assert 5 == sum(index.unique for index in Wide.__table__.indexes)


def test_each_sweep_goes_by_its_index(repository, engine):
    """What recovery asks every few seconds is answered from the index of the rows that wait, and the last rows from theirs."""
    asked = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_connection, _cursor, statement, parameters, _context, _many):
        asked.append((statement, parameters))

    for sweep in Sweep:
        repository.due(sweep, NOW, 10)
        repository.due_invoices(sweep, NOW, 10) if sweep is not Sweep.UNSENT else None
    repository.due_callbacks(NOW, 10)
    repository.conflicts(10)
    repository.latest(10)
    repository.latest_callbacks(10)
    event.remove(engine, "before_cursor_execute", note)
    with engine.connect() as connection:
        plans = [
            "; ".join(str(step[-1]) for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values))
            for statement, values in asked
        ]
    assert 9 == len(plans)
    assert not any("PENDING" in values or "conflict" in values for _, values in asked), "a prepared plan could not tell"
    assert [] == [plan for plan in plans if "USING INDEX ix_shop" not in plan]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_has_connections_of_its_own(alchemy_postgres):
    """A pool that was filled before a fork (a server that preloads the app, RQ's worker) is not shared by two processes."""
    repository = empty_repository(alchemy_postgres)
    question = text("SELECT pg_backend_pid()")
    with alchemy_postgres.connect() as connection:
        ours = set(connection.scalars(text("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with alchemy_postgres.connect() as connection:
            theirs = connection.scalar(question)
        repository.add(transaction_draft(idempotency_key="child"))
        os.write(writing, str(theirs).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        theirs = int(pipe.read() or 0)
    assert 0 == os.waitpid(child, 0)[1]
    with alchemy_postgres.connect() as connection:
        assert connection.scalar(question) in ours, "the parent's own are still good"
    assert theirs not in {0, *ours}
    assert repository.find(Key.IDEMPOTENCY_KEY, "child") is not None


def test_prepared_sqlite(engine, alchemy_postgres):
    """Connections use WAL, are durable, and wait; another database is refused."""
    with engine.connect() as connection:
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "busy_timeout")]
    assert ["wal", 30000] == found
    with pytest.raises(ConfigurationError, match="expected sqlite"):
        prepare_sqlite(alchemy_postgres)


def test_flask_sqlalchemy(tmp_path):
    """The mixins and the repository work with Flask-SQLAlchemy's models and its engine."""
    flask = pytest.importorskip("flask")
    flask_sqlalchemy = pytest.importorskip("flask_sqlalchemy")

    class Own(DeclarativeBase):
        pass

    app = flask.Flask("shop")
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'flask.db'}"
    db = flask_sqlalchemy.SQLAlchemy(app, model_class=Own)

    from mpesa_core.ext.sqlalchemy import CallbackMixin

    class ShopPayment(TransactionMixin, db.Model):
        order_id: Mapped[int | None]

    class ShopCallback(CallbackMixin, db.Model):
        pass

    with app.app_context():
        db.create_all()
        repository = SqlAlchemyRepository(db.engine, transaction_model=ShopPayment, callback_model=ShopCallback)
        row = repository.add(transaction_draft(host={"order_id": 7}))
        repository.add_callback(callback_draft())
        assert 7 == db.session.get(ShopPayment, row.id).order_id
        db.session.remove()
        db.engine.dispose()
    assert "uq_shop_payment_callback_token" in {index.name for index in ShopPayment.__table__.indexes}


def test_the_tables_are_made_with_exact_times_and_room(alchemy_mariadb):
    """MariaDB keeps microseconds, and bodies of any size that is let in."""
    columns = {each["name"]: each["type"] for each in inspect(alchemy_mariadb).get_columns(Callback.__tablename__)}
    assert (6, "LONGBLOB") == (columns["received_at"].fsp, str(columns["raw_bytes"]).split()[0])
    assert set(Base.metadata.tables) == set(inspect(alchemy_mariadb).get_table_names())


def test_a_file_is_shared(tmp_path):
    """Two engines on one new file wait for each other."""
    with made_engine(f"sqlite:///{tmp_path / 'a.db'}") as one, made_engine(one.url) as two:
        row = repository_on(one).add(transaction_draft())
        assert 2 == repository_on(two).change(row.id, 1, {"checks": 1}).version


def test_merging_an_instance_undoes_no_settlement(each_engine):
    """A session of the host's writes columns of its own, and is told of those of the core's, which it read long ago."""
    store = empty_repository(each_engine)
    stale = store.add(transaction_draft())
    settled = store.change(stale.id, 1, {"status": Status.SUCCESS, "mpesa_receipt_number": "R1"})
    with Session(each_engine) as session:
        session.merge(stale)
        with pytest.raises(InvalidField, match="flush: got 'mpesa_receipt_number, status, version'"):
            session.commit()
    with Session(each_engine) as session, session.begin():
        session.get(Payment, stale.id).order_id = 7
        session.merge(settled)
    kept = store.get(stale.id)
    assert ("SUCCESS", "R1", settled.version) == (kept.status, kept.mpesa_receipt_number, kept.version)


@pytest.mark.parametrize("lazy", ["joined", "subquery", "selectin", "immediate"])
def test_what_is_loaded_with_a_row_is_there_after_each_operation(each_engine, lazy):
    """A receiver has `transaction.order`, where the class loads it with the row: after a change as after a question."""
    tables, name = registry(), f"loaded_{lazy}"

    @tables.mapped
    class Order:
        __tablename__ = f"{name}_orders"
        id: Mapped[int] = mapped_column(primary_key=True)

    @tables.mapped
    class Paid(TransactionMixin):
        __tablename__ = f"{name}_payments"
        order_id: Mapped[int | None] = mapped_column(ForeignKey(Order.id))
        order: Mapped[Order | None] = relationship(Order, lazy=lazy)

    tables.metadata.create_all(each_engine)
    try:
        with Session(each_engine) as session, session.begin():
            session.add(Order(id=7))
        store = SqlAlchemyRepository(each_engine, transaction_model=Paid, callback_model=Callback)
        added = store.add(transaction_draft(host={"order_id": 7}))
        changed = store.change(added.id, 1, {"checks": 1})
        assert ([7] * 3, 2) == ([row.order.id for row in (added, changed, store.get(added.id))], changed.version)
        assert store.change(added.id, 1, {"checks": 2}) is None
    finally:
        tables.metadata.drop_all(each_engine)


@pytest.mark.parametrize("listened_to", ["nothing", "engine", "sessions"])
def test_on_postgresql_one_statement_is_a_transaction_by_itself(alchemy_postgres, listened_to):
    """A read or a change is not begun and ended besides, unless the host has something to say when one begins."""
    repository = empty_repository(alchemy_postgres)
    engine = create_engine(alchemy_postgres.url)
    sessions = sessionmaker(engine)
    heard = []
    if listened_to == "engine":
        event.listen(engine, "begin", lambda _connection: heard.append("begin"))
    if listened_to == "sessions":
        event.listen(sessions, "after_begin", lambda *_: heard.append("begin"))
    repository = bare(sessions)
    row = repository.add(transaction_draft())
    commits = []

    @event.listens_for(engine, "before_cursor_execute")
    def _see(connection, *_):
        commits.append(connection.connection.driver_connection.autocommit)

    heard.clear()
    changed = repository.change(row.id, row.version, {"status": Status.PROCESSING})
    found = repository.get(row.id)
    assert ("PROCESSING", 2, 2) == (changed.status, changed.version, found.version)
    assert [listened_to == "nothing"] * 2 == commits
    assert ([] if listened_to == "nothing" else ["begin"] * 2) == heard
    with engine.connect() as connection:  # the pool's connections are as they were
        assert not connection.connection.driver_connection.autocommit
    engine.dispose()
