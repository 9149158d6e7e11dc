"""Where a trial takes place: what keeps the rows, and what stands before the core and takes the callbacks in.

``core`` is the core's own SQLite repository and webhooks. ``django`` is Django's handler under ATOMIC_REQUESTS, its
signals, and the repository on its ORM; ``flask`` is a Flask app, its signals, and the repository on SQLAlchemy. Those
two have a file of SQLite's, or a PostgreSQL database: ``django:PORT/NAME``.

One process has one place. Its tables are made with a history: every change of a status, written down by triggers in the
transaction that makes it.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from mpesa_core.gateway import Gateway
from mpesa_core.repository.sqlite import SqliteRepository
from mpesa_core.settings import Settings
from mpesa_core.webhooks import WebhookRequest, Webhooks
from tests.test_wsgi import environ_of

__all__ = ["Place", "place_of"]

Hear = Callable[[str, Mapping[str, Any]], None]
Post = Callable[[str, bytes], tuple[int, Callable[[], object]]]
"""Posts a body to a path below the prefix: the status, and what is to be done once the answer was handed over."""

SAFARICOM = "196.201.214.200"
_PREFIX = "/pay/"
_TRANSACTION = [
    "id",
    "transaction_type",
    "status",
    "generation",
    "amount",
    "mpesa_receipt_number",
    "announce_until",
    "conflicts",
    "reserved",
    "idempotency_key",
    "settled_by",
    "reason",
]
_CALLBACK = ["id", "callback_type", "raw_bytes", "disposition", "next_attempt_at", "related_transaction_id"]
_SQLITE_HISTORY = (
    "CREATE TABLE history (id TEXT, generation INTEGER, was TEXT, was_by TEXT, status TEXT, settled_by TEXT)",
    """CREATE TRIGGER settled AFTER UPDATE OF status ON {table} BEGIN INSERT INTO history VALUES
        (new.id, new.generation, old.status, old.settled_by, new.status, new.settled_by); END""",
    """CREATE TRIGGER created AFTER INSERT ON {table} WHEN new.status <> 'PENDING' BEGIN
        INSERT INTO history VALUES
        (new.id, new.generation, 'PENDING', NULL, new.status, new.settled_by); END""",
)
_POSTGRES_HISTORY = """
CREATE TABLE history (n bigserial, id uuid, generation bigint, was text, was_by text, status text, settled_by text);
CREATE FUNCTION keep_history() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO history (id, generation, was, was_by, status, settled_by)
        VALUES (new.id, new.generation, old.status, old.settled_by, new.status, new.settled_by);
    ELSIF new.status <> 'PENDING' THEN
        INSERT INTO history (id, generation, was, was_by, status, settled_by)
        VALUES (new.id, new.generation, 'PENDING', NULL, new.status, new.settled_by);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER settled AFTER INSERT OR UPDATE OF status ON {table} FOR EACH ROW EXECUTE FUNCTION keep_history();
"""

_REFUSALS = {
    "full": """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
END $$""",
    "busy": """
CREATE SEQUENCE written;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    CASE nextval('written') % 4
        WHEN 1 THEN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01';
        WHEN 2 THEN RAISE EXCEPTION 'canceling statement due to lock timeout' USING ERRCODE = '55P03';
        WHEN 3 THEN RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001';
        ELSE RETURN new;
    END CASE;
END $$""",
}
_END_OTHERS = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid()"
)


class _File:
    """A file of SQLite's."""

    def __init__(self, directory: Path, table: str, key: Callable[[UUID], str]) -> None:
        self.path = directory / "trial.db"
        self._empty = directory / "empty.db"
        self._table = table
        self._key = key

    def prepare(self) -> None:
        """Add the history to the tables, and keep the file as it is now."""
        connection = sqlite3.connect(self.path, isolation_level=None)
        for statement in _SQLITE_HISTORY:
            connection.execute(statement.format(table=self._table))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        shutil.copyfile(self.path, self._empty)

    def empty(self) -> None:
        for old in self.path.parent.glob("trial.db*"):
            old.unlink()
        shutil.copyfile(self._empty, self.path)

    def query(self, sql: str) -> list[dict[str, Any]]:
        connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        connection.row_factory = sqlite3.Row
        try:
            return [dict(row) for row in connection.execute(sql)]
        finally:
            connection.close()

    def spoil(self, trouble: str, execute: Callable[[str], None]) -> None:
        pages = self.query("PRAGMA page_count")[0]["page_count"]
        pragma = {"full": f"max_page_count = {pages}", "read-only": "query_only = ON", "busy": "busy_timeout = 0"}
        execute(f"PRAGMA {pragma[trouble]}")

    def mend(self) -> None:
        pass  # it was spoiled for a connection

    def rival(self) -> None:
        connection = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
        connection.execute("BEGIN IMMEDIATE")
        threading.Timer(0.03, connection.close).start()

    def probe(self, transaction_id: UUID) -> list[Any]:
        connection = sqlite3.connect(self.path, timeout=0, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            question = f"SELECT status, generation FROM {self._table} WHERE id = ?"
            row = connection.execute(question, [self._key(transaction_id)]).fetchone()
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            return [str(error), 0]
        finally:
            connection.close()
        return list(row or ("absent", 0))


class _Server:
    """A PostgreSQL database: ``PORT/NAME``."""

    def __init__(self, where: str, tables: tuple[str, ...]) -> None:
        port, _, self.name = where.partition("/")
        self.port = int(port)
        self._table = tables[0]
        self._tables = tables

    def _connect(self) -> Any:
        import psycopg

        where = {"host": "127.0.0.1", "port": self.port, "user": "mpesa", "dbname": self.name}
        where["options"] = "-c default_transaction_read_only=off"
        return psycopg.connect(**where, autocommit=True, row_factory=psycopg.rows.dict_row)

    def execute(self, sql: str) -> None:
        with self._connect() as connection:
            connection.execute(sql)

    def prepare(self) -> None:
        self.execute(_POSTGRES_HISTORY.format(table=self._table))

    def empty(self) -> None:
        self.execute("; ".join(f"DELETE FROM {table}" for table in (*self._tables, "history")))

    def query(self, sql: str) -> list[dict[str, Any]]:
        with self._connect() as connection:
            return connection.execute(sql.replace("rowid", "n")).fetchall()

    def spoil(self, trouble: str, _execute: Callable[[str], None]) -> None:
        if trouble == "read-only":  # as after a failover
            self.execute(f"ALTER DATABASE {self.name} SET default_transaction_read_only = on; {_END_OTHERS}")
            return
        self.execute(_REFUSALS[trouble])
        for table in self._tables:
            self.execute(
                f"CREATE TRIGGER refused BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()"
            )

    def mend(self) -> None:
        self.execute(f"ALTER DATABASE {self.name} RESET default_transaction_read_only")
        self.execute("DROP FUNCTION IF EXISTS refuse CASCADE; DROP SEQUENCE IF EXISTS written")
        self.execute(_END_OTHERS)

    def rival(self) -> None:
        pass  # its triggers are enough

    def probe(self, transaction_id: UUID) -> list[Any]:
        import psycopg

        question = f"SELECT status, generation FROM {self._table} WHERE id = %s FOR UPDATE NOWAIT"
        try:
            with self._connect() as connection:
                row = connection.execute(question, [transaction_id]).fetchone()
        except (psycopg.errors.AdminShutdown, psycopg.errors.CrashShutdown):
            return []
        except psycopg.Error as error:
            return [str(error), 0] if error.sqlstate else []
        return list(row.values()) if row else ["absent", 0]


class Place:
    """One of them.

    Args:
        directory: for a file.
        where: a PostgreSQL database as ``PORT/NAME``, or nothing.
    """

    tables = ("mpesa_transactions", "mpesa_callbacks")
    key = staticmethod(str)
    framework = "core"
    refusals = ("full", "read-only")
    """What keeps everything from being written; see :meth:`spoiled`."""

    def __init__(self, directory: Path, where: str = "") -> None:
        self.directory = directory
        self.store = _Server(where, self.tables) if where else _File(directory, self.tables[0], self.key)
        self.on_server = bool(where)

    # Each process

    def make(self) -> None:
        """Make the tables; once, in a process of its own."""
        self._create()
        self.store.prepare()

    def empty(self) -> None:
        """Begin anew."""
        self.store.empty()

    def forked(self) -> None:
        """In a new process: let the connections be that its parent has open."""

    def leave(self) -> None:
        """Close this process's connections."""

    def bus(self, hear: Hear) -> Any:
        """A bus of which every receiver tells ``hear``."""
        return _Telling(hear)

    def repository(self) -> Any:
        """The repository."""
        return SqliteRepository(self.store.path)

    def serve(self, settings: Settings, repository: Any, bus: Any, **options: Any) -> tuple[Gateway, Post]:
        """The gateway, and how M-PESA reaches it."""
        gateway = Gateway(settings, repository, bus=bus, **{"runner": "inline", **options})
        webhooks = Webhooks(gateway)

        def post(path: str, raw: bytes) -> tuple[int, Callable[[], object]]:
            response = webhooks.receive(WebhookRequest(method="POST", path=path, body=raw, peer=SAFARICOM))
            return response.status, response.after or (lambda: None)

        return gateway, post

    def _create(self) -> None:
        SqliteRepository(self.store.path).close()

    # What a host may do

    def harms(self) -> dict[str, Callable[[], object]]:
        """What a receiver does to its database, each raising or leaving something broken behind."""
        raise NotImplementedError

    def receiving(self, name: str, receiver: Callable[[], object]) -> AbstractContextManager[object]:
        """Have one more receiver of a signal meanwhile, called after the others."""
        raise NotImplementedError

    def rolling_back(self) -> AbstractContextManager[object]:
        """A transaction of the host's, with a row of its own, that is rolled back at the end."""
        raise NotImplementedError

    @contextmanager
    def spoiled(self, trouble: str) -> Iterator[None]:
        """Have the database refuse what this thread writes meanwhile.

        ``full``: there is no room. ``read-only``: it may only be read. ``busy``: rivals are in the way of three writes
        out of four; on SQLite, at each :meth:`rival`.
        """
        self.store.spoil(trouble, self._execute)
        try:
            yield
        finally:
            self.store.mend()
            self.leave()

    def rival(self) -> None:
        """Have somebody else hold SQLite's lock for a moment."""
        self.store.rival()

    def ask(self, path: str, raw: bytes, changes: Mapping[str, Any]) -> tuple[int, bytes, Callable[[], object]]:
        """Make a request with changes to its environment: status and body, and what is to be done afterwards."""
        raise NotImplementedError

    def kept(self) -> list[tuple[Any, ...]]:
        """What was recorded of each request, as a front of :mod:`tests.fronts` tells it."""
        raise NotImplementedError

    def _execute(self, sql: str) -> None:
        raise NotImplementedError

    # What is there

    def transactions(self) -> list[dict[str, Any]]:
        """Every transaction: ids as text, the amount in shillings, ``conflicts`` and ``reserved`` as mappings."""
        rows = self.store.query(f"SELECT {', '.join(_TRANSACTION)} FROM {self.tables[0]} ORDER BY seq")
        for row in rows:
            row.update({name: json.loads(row[name]) for name in ("conflicts", "reserved")}, amount=row["amount"] // 100)
        return rows

    def callbacks(self) -> list[dict[str, Any]]:
        """Every callback, oldest first: ids as text."""
        return self.store.query(f"SELECT {', '.join(_CALLBACK)} FROM {self.tables[1]} ORDER BY seq")

    def history(self) -> list[dict[str, Any]]:
        """Every transition, in its order."""
        rows = self.store.query("SELECT * FROM history ORDER BY rowid")
        return [{**row, "id": str(UUID(str(row["id"])))} for row in rows]

    def seen(self, transaction_id: UUID) -> list[Any]:
        """Status and generation as a second connection reads them while it holds the lock, without waiting for it.

        What stood in its way, with 0, where it could not have the lock; nothing where the server could not be reached.
        """
        return self.store.probe(transaction_id)


class _Telling:
    """A bus without receivers."""

    def __init__(self, hear: Hear) -> None:
        self._hear = hear

    def deliver(self, name: str, arguments: Mapping[str, Any]) -> list[Any]:
        self._hear(name, arguments)
        return []


class _Hosted(Place):
    """A framework's application, and rows that are instances of a host's models."""

    key = staticmethod(lambda given: given.hex)
    application: Any

    def transactions(self) -> list[dict[str, Any]]:
        rows = [{name: getattr(row, name) for name in _TRANSACTION} for row in self._all("Transaction")]
        return [{**row, "id": str(row["id"])} for row in rows]

    def callbacks(self) -> list[dict[str, Any]]:
        rows = [{name: getattr(row, name) for name in _CALLBACK} for row in self._all("Callback")]
        related = "related_transaction_id"
        return [
            {
                **row,
                "id": str(row["id"]),
                related: row[related] and str(row[related]),
                "raw_bytes": bytes(row["raw_bytes"]),
            }
            for row in rows
        ]

    def _all(self, kind: str) -> list[Any]:
        raise NotImplementedError

    def ask(self, path: str, raw: bytes, changes: Mapping[str, Any]) -> tuple[int, bytes, Callable[[], object]]:
        environ = environ_of(_PREFIX + path, raw, **{"HTTP_HOST": "testserver", **changes})
        started: list[str] = []
        pieces = self.application(environ, lambda status, _headers, _error=None: started.append(status))
        answer = b"".join(pieces)
        return int(started[0].split()[0]), answer, getattr(pieces, "close", lambda: None)

    def kept(self) -> list[tuple[Any, ...]]:
        return [
            (
                bytes(row.raw_bytes),
                row.callback_type,
                row.token,
                row.headers,
                row.source_ip,
                row.disposition,
                row.error,
            )
            for row in self._all("Callback")
        ]

    def _post(self, path: str, raw: bytes) -> tuple[int, Callable[[], object]]:
        status, _, finish = self.ask(path, raw, {})
        return status, finish


class DjangoPlace(_Hosted):
    """Django's."""

    framework = "django"
    refusals = (*Place.refusals, "autocommit off")
    tables = ("store_transaction", "store_callback")

    def __init__(self, directory: Path, where: str = "") -> None:
        super().__init__(directory, where)
        import django
        from django.conf import settings

        sqlite = {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(directory / "trial.db"),
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL",
                "timeout": 30,
            },
        }
        database: dict[str, Any] = sqlite
        if self.on_server:
            server = {"HOST": "127.0.0.1", "PORT": self.store.port, "USER": "mpesa", "NAME": self.store.name}
            database = {"ENGINE": "django.db.backends.postgresql", **server}
        database.update(ATOMIC_REQUESTS=True, CONN_MAX_AGE=None)
        settings.configure(
            SECRET_KEY="of no importance",
            ALLOWED_HOSTS=["*"],
            DATABASES={"default": database},
            INSTALLED_APPS=["mpesa_django"],
            MIDDLEWARE=["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"],
            ROOT_URLCONF="tests.faults.urls",
            USE_TZ=True,
            LOGGING_CONFIG=None,
        )
        django.setup()
        # What follows needs Django to be configured.
        from django.core.handlers.wsgi import WSGIHandler
        from django.db import connections

        from mpesa_django import front, signals
        from tests.django import stores

        self._connections, self._front, self._signals, self._stores = connections, front, signals, stores
        self.application = WSGIHandler()
        self._inherited: list[Any] = []

    def _create(self) -> None:
        with self._connections["default"].schema_editor() as editor:
            for model in (self._stores.Order, *self._stores.MODELS):
                editor.create_model(model)
        self.leave()

    def forked(self) -> None:
        connection = self._connections["default"]
        self._inherited.append(connection.connection)  # kept: its end would be the end of the parent's
        connection.connection = None

    def leave(self) -> None:
        self._connections.close_all()

    def bus(self, hear: Hear) -> Any:
        for name, signal in self._signals.SIGNALS.items():
            signal.disconnect(dispatch_uid="trial")  # the parent's
            signal.connect(_receiver(hear, name), weak=False, dispatch_uid="trial")
        return self._signals.DjangoBus(*self._stores.MODELS)

    def repository(self) -> Any:
        return self._stores.DjangoRepository(*self._stores.MODELS)

    def serve(self, settings: Settings, repository: Any, bus: Any, **options: Any) -> tuple[Gateway, Post]:
        gateway = self._front.DjangoGateway(settings, repository, bus=bus, **{"runner": "inline", **options})
        self._front.front._gateway, self._front.front._webhooks = gateway, Webhooks(gateway)
        return gateway, self._post

    def _all(self, kind: str) -> list[Any]:
        order = {"Transaction": "initiated_at", "Callback": "received_at"}[kind]
        return list(getattr(self._stores, kind).objects.order_by(order, "pk"))

    def _execute(self, sql: str) -> None:
        with self._connections["default"].cursor() as cursor:
            cursor.execute(sql)

    @contextmanager
    def spoiled(self, trouble: str) -> Iterator[None]:
        if trouble != "autocommit off":
            with super().spoiled(trouble):
                yield
            return
        settings = self._connections["default"].settings_dict  # as the project's would have it
        settings["AUTOCOMMIT"] = False
        self.leave()
        try:
            yield
        finally:
            settings["AUTOCOMMIT"] = True
            self.leave()

    def harms(self) -> dict[str, Callable[[], object]]:
        from django.db import transaction

        order = self._stores.Order.objects
        wrong = "SELECT nothing FROM nowhere"

        def atomic() -> None:
            with transaction.atomic():
                order.create(name="lost")
                self._execute(wrong)

        def nested() -> None:
            with transaction.atomic():
                with suppress(Exception), transaction.atomic():
                    self._execute(wrong)
                order.create(name="kept")

        def swallowed() -> None:
            with transaction.atomic():
                with suppress(Exception):
                    self._execute(wrong)
                order.create(name="refused by a server")

        def autocommit_off() -> None:
            transaction.set_autocommit(False)
            order.create(name="never committed")

        def autocommit_off_and_broken() -> None:
            autocommit_off()
            self._execute(wrong)

        return {
            "plain": lambda: self._execute(wrong),
            "atomic": atomic,
            "nested": nested,
            "swallowed": swallowed,
            "autocommit off": autocommit_off,
            "autocommit off and broken": autocommit_off_and_broken,
            "closed": self._connections["default"].close,
        }

    @contextmanager
    def receiving(self, name: str, receiver: Callable[[], object]) -> Iterator[None]:
        signal = self._signals.SIGNALS[name]
        signal.connect(each := lambda **_arguments: receiver(), weak=False)
        try:
            yield
        finally:
            signal.disconnect(each)

    @contextmanager
    def rolling_back(self) -> Iterator[None]:
        from django.db import transaction

        with transaction.atomic():
            self._stores.Order.objects.create(name="rolled back")
            yield
            transaction.set_rollback(True)


class FlaskPlace(_Hosted):
    """Flask's, with SQLAlchemy."""

    framework = "flask"
    tables = ("shop_payments", "shop_callbacks")

    def __init__(self, directory: Path, where: str = "") -> None:
        super().__init__(directory, where)
        from sqlalchemy import create_engine

        from mpesa_core.ext.sqlalchemy import prepare_sqlite
        from tests.ext import stores
        from tests.flask import hosting

        self._stores, self._hosting = stores, hosting
        if self.on_server:
            url = f"postgresql+psycopg://mpesa@127.0.0.1:{self.store.port}/{self.store.name}"
            self._engine = create_engine(url)
        else:
            self._engine = prepare_sqlite(create_engine(f"sqlite:///{directory / 'trial.db'}"))
        self._app: Any = None
        self._shared: Any = None

    def _create(self) -> None:
        self._stores.Base.metadata.create_all(self._engine)
        self.leave()

    def forked(self) -> None:
        self._engine.dispose(close=False)

    def leave(self) -> None:
        if self._shared is not None:
            self._shared.remove()
        self._engine.dispose()

    def bus(self, hear: Hear) -> Any:
        from mpesa_core.signals import SIGNALS
        from mpesa_flask.surroundings import FlaskBus

        self._app = self._hosting.make_app(repository=self.repository())
        for name, signal in SIGNALS.items():
            signal.connect(_receiver(hear, name), sender=self._app, weak=False)
        return FlaskBus(self._app)

    def repository(self) -> Any:
        return self._stores.repository_on(self._engine)

    def serve(self, settings: Settings, repository: Any, bus: Any, **options: Any) -> tuple[Gateway, Post]:
        from mpesa_flask.surroundings import FlaskGateway

        gateway = FlaskGateway(self._app, settings, repository, **{"runner": "inline", **options})
        gateway.bus = gateway._driver._bus = bus
        self._app.extensions["mpesa"]._made["gateway"] = gateway
        self.application = self._app
        return gateway, self._post

    def _all(self, kind: str) -> list[Any]:
        from sqlalchemy import select
        from sqlalchemy.orm import Session

        model = {"Transaction": self._stores.Payment, "Callback": self._stores.Callback}[kind]
        order = {"Transaction": "initiated_at", "Callback": "received_at"}[kind]
        with Session(self._engine) as session:
            return list(session.scalars(select(model).order_by(order, "id")))

    def _execute(self, sql: str) -> None:
        with self._engine.connect() as connection:
            connection.exec_driver_sql(sql)

    def harms(self) -> dict[str, Callable[[], object]]:
        from sqlalchemy import text
        from sqlalchemy.orm import Session, scoped_session, sessionmaker

        shared = self._shared = scoped_session(sessionmaker(self._engine))  # as Flask-SQLAlchemy's is, for a thread
        wrong = text("SELECT nothing FROM nowhere")
        touched = text(f"SELECT count(*) FROM {self.tables[0]}")

        def left_broken() -> None:
            shared.execute(touched)
            shared.execute(wrong)

        def nested() -> None:
            with Session(self._engine) as session, session.begin():
                session.execute(touched)
                with suppress(Exception), session.begin_nested():
                    session.execute(wrong)

        def swallowed() -> None:
            with Session(self._engine) as session, session.begin():
                with suppress(Exception):
                    session.execute(wrong)
                session.execute(touched)

        def autocommit_off() -> None:
            shared.execute(touched)  # its transaction stays open

        return {
            "plain": lambda: self._execute("SELECT nothing FROM nowhere"),
            "left broken": left_broken,
            "nested": nested,
            "swallowed": swallowed,
            "left open": autocommit_off,
        }

    @contextmanager
    def receiving(self, name: str, receiver: Callable[[], object]) -> Iterator[None]:
        from mpesa_core.signals import SIGNALS

        SIGNALS[name].connect(each := lambda _sender, **_arguments: receiver(), sender=self._app)
        try:
            yield
        finally:
            SIGNALS[name].disconnect(each, sender=self._app)

    @contextmanager
    def rolling_back(self) -> Iterator[None]:
        from sqlalchemy.orm import Session

        with Session(self._engine) as session:
            session.add(self._stores.Callback(callback_type="STK", raw_bytes=b"the host's"))
            session.flush()
            yield
            session.rollback()


def _receiver(hear: Hear, name: str) -> Callable[..., None]:
    def receive(_sender: object = None, **arguments: Any) -> None:
        hear(name, {key: value for key, value in arguments.items() if key not in ("signal", "sender")})

    return receive


def place_of(text: str, directory: Path) -> Place:
    """The place that a command line names; see above."""
    name, _, where = text.partition(":")
    return {"core": Place, "django": DjangoPlace, "flask": FlaskPlace}[name](directory, where)
