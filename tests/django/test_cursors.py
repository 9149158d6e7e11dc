"""The cursor of the statements that each callback needs, and who looks on at them."""

from __future__ import annotations

import contextlib
from datetime import date, timedelta
from decimal import Decimal

import pytest

pytest.importorskip("django", reason="Django is not installed: pip install 'mpesa-core[django]'")
pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'mpesa-core[dev]'")

from django import VERSION
from django.db import connections, models, transaction
from django.test.utils import CaptureQueriesContext
from psycopg import ClientCursor

from mpesa_core.errors import StorageBusy, StorageUnavailable
from mpesa_core.payments.records import Key
from mpesa_core.testing.contract import NOON, callback_draft, transaction_draft
from mpesa_django.fields import ExactTextField, MomentField
from mpesa_django.models import AbstractMpesaCallbackLog, AbstractMpesaTransaction
from mpesa_django.repository import DjangoRepository
from tests.django.stores import MODELS, Callback, Transaction, empty_repository, made_database
from tests.django.test_repository import in_a_thread

OPTIONS = {
    "as Django has it": ({}, False),
    "prepared": ({"prepare_threshold": 0}, True),
    "prepared later": ({"prepare_threshold": 2}, True),
    "bound by the server": ({"server_side_binding": True}, False),
    "bound by the server, and prepared": ({"server_side_binding": True, "prepare_threshold": 0}, True),
    "of a factory": ({"prepare_threshold": 0, "cursor_factory": ClientCursor}, False),
}


@pytest.fixture(params=OPTIONS)
def case(request, postgres):
    """A database with some options, and whether statements are to be prepared there."""
    options, prepares = OPTIONS[request.param]
    name = postgres.new_database()
    server = {"HOST": "127.0.0.1", "PORT": postgres.port, "USER": "mpesa", "OPTIONS": options}
    with made_database("cursors", ENGINE="django.db.backends.postgresql", NAME=name, **server) as alias:
        yield alias, prepares
    postgres.drop_database(name)


@pytest.fixture
def prepared(django_prepared):
    """The alias of a database where statements are prepared."""
    return django_prepared


def settle(store):
    """A callback from its record to its close, and a payment; the payment as it is then."""
    callback, row = callback_draft(raw_body={"a": 1}), store.add(transaction_draft(host={"note": "mine"}))
    store.add_callback(callback)
    assert {"a": 1} == store.get_callback(callback.id).raw_body
    assert store.change_callback(callback.id, NOON, {"attempts": 1})
    assert not store.change_callback(callback.id, None, {"attempts": 2})
    settled = store.change(row.id, 1, {"checks": 7, "settled_at": NOON, "conflicts": {"a": {}}, "reason": None})
    assert (7, NOON, {"a": {}}, "mine") == (settled.checks, settled.settled_at, settled.conflicts, settled.note)
    closed = store.change_with_callback(row.id, 2, {"checks": 8}, callback.id, NOON, {"next_attempt_at": None})
    assert (8, None) == (closed.checks, store.get_callback(callback.id).next_attempt_at)
    again, found, claimed = store.batch(
        [
            (
                "change",
                (row.id, 3, {"amount": Decimal("10.50"), "result_code": 0, "raw_callback_payload": {"b": None}}),
            ),
            ("find", (Key.CHECKOUT_REQUEST_ID, "none")),
            ("change_callback", (callback.id, None, {"error": "none"})),
        ]
    )
    assert (Decimal("10.50"), {"b": None}, None, True) == (again.amount, again.raw_callback_payload, found, claimed)
    return again


def test_whatever_the_options(case):
    """The same comes of it, and statements are prepared where the project's options say so, and nowhere else."""
    alias, prepares = case
    store = empty_repository(alias)
    for _ in range(4):
        settle(store)
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT count(*) > 0 FROM pg_prepared_statements WHERE statement LIKE %s", ["%store_callback%"])
        assert (prepares,) == cursor.fetchone()


def test_logged_queries_are_complete(prepared):
    """Who captures queries, as assertNumQueries and the debug toolbar do, sees each of them with its values."""
    store = empty_repository(prepared)
    row = store.add(transaction_draft())
    with CaptureQueriesContext(connections[prepared]) as queries:
        store.get(row.id)
        store.change(row.id, 1, {"checks": 4711})
    assert ["SELECT", "WITH"] == [each["sql"].split()[0] for each in queries]
    assert "4711" in queries[1]["sql"]


def test_a_cursor_that_somebody_put_in_place_is_used(prepared, monkeypatch):
    """A tool that replaces the connection's cursor(), as the debug toolbar does, sees each statement."""
    store = empty_repository(prepared)
    row = store.add(transaction_draft())
    used, connection = [], connections[prepared]
    usual = connection.cursor
    monkeypatch.setattr(connection, "cursor", lambda: used.append(1) or usual())
    assert row.id == store.get(row.id).id
    assert [1] == used


def test_a_backend_of_somebodys_makes_its_own_cursors(prepared, monkeypatch):
    """What it does with each cursor, as django-tenants sets the schema of a tenant, is done before each statement."""
    store = empty_repository(prepared)
    row = store.add(transaction_draft())
    made = []

    class Tenants(type(connections[prepared])):
        def _cursor(self, name=None):
            made.append(1)
            return super()._cursor(name)

    monkeypatch.setattr(connections[prepared], "__class__", Tenants)
    assert row.id == store.get(row.id).id
    assert 4711 == store.change(row.id, 1, {"checks": 4711}).checks
    assert [1, 1] == made


def test_execute_wrappers_are_called(prepared):
    """A wrapper sees each statement, and what it raises stops it."""
    store = empty_repository(prepared)
    row = store.add(transaction_draft())
    seen = []

    def wrap(execute, sql, params, many, context):
        seen.append(sql.split()[0])
        return execute(sql, params, many, context)

    def refuse(*_):
        raise ZeroDivisionError

    with connections[prepared].execute_wrapper(wrap):
        store.change(row.id, 1, {"checks": 1})
        assert 1 == store.get(row.id).checks
    assert ["WITH", "SELECT"] == seen
    with connections[prepared].execute_wrapper(refuse), pytest.raises(ZeroDivisionError):
        store.change(row.id, 2, {"checks": 2})
    assert 1 == store.get(row.id).checks


def test_a_lost_connection_with_prepared_statements(prepared):
    """What met the loss is StorageUnavailable; the next connection prepares its statements anew."""
    store = empty_repository(prepared)
    row = settle(store)
    connections[prepared].connection.close()
    with pytest.raises(StorageUnavailable, match="read again"):
        store.change(row.id, 4, {"checks": 9})
    assert 9 == store.change(row.id, 4, {"checks": 9}).checks


def elsewhere(alias, statement):
    """Execute it, in the thread that this is."""
    with connections[alias].cursor() as cursor:
        cursor.execute(statement)


CHANGES = [
    "ADD COLUMN more text",
    "DROP COLUMN more",
    "ALTER COLUMN note TYPE text",
    "ALTER COLUMN note TYPE varchar(20)",
]


@pytest.mark.parametrize("age", [0, None])
def test_a_table_that_changes_meanwhile(prepared, monkeypatch, age):
    """A migration of the host's own, while statements of its table are prepared, costs one question at the most.

    However long connections are kept: the one with outdated statements is closed. A change is repeated by itself.
    """
    monkeypatch.setitem(connections[prepared].settings_dict, "CONN_MAX_AGE", age)
    connections[prepared].close()
    store = empty_repository(prepared)
    row = settle(store)
    for change in CHANGES:
        for _ in range(2):
            row = store.change(row.id, row.version, {"checks": 1})
            assert row.id == store.get(row.id).id
        in_a_thread(lambda change=change: elsewhere(prepared, f"ALTER TABLE store_transaction {change}"))
        with contextlib.suppress(StorageBusy):
            store.get(row.id)
        assert row.id == store.get(row.id).id
        in_a_thread(lambda: elsewhere(prepared, "ALTER TABLE store_transaction ALTER COLUMN note TYPE varchar(30)"))
        changed = store.change(row.id, row.version, {"checks": 2})
        assert row.version + 1 == changed.version
        row = changed


class _Shout(models.CharField):
    def from_db_value(self, value, _expression, _connection):
        return f"{value}!"

    def get_prep_value(self, value):
        return str(value).removesuffix("!")


class _Loud(ExactTextField):
    def get_prep_value(self, value):
        return value and value.upper()


class Peculiar(AbstractMpesaTransaction):
    shout = _Shout(max_length=20, default="hey")
    whole = models.JSONField(default=dict)
    local = models.DateTimeField(default=NOON)
    takes = models.DurationField(default=timedelta(hours=3))
    seen_from = models.GenericIPAddressField(default="10.0.0.1")

    class Meta(AbstractMpesaTransaction.Meta):
        app_label = "store"


class Plainer(AbstractMpesaTransaction):
    result_desc = _Loud(null=True)
    shout = _Shout(max_length=20, default="hey")
    whole = models.JSONField(default=dict)
    share = models.DecimalField(max_digits=8, decimal_places=3, default=Decimal("1.500"))
    on = models.DateField(default=date(2026, 1, 2))
    part = models.FloatField(default=0.1)

    class Meta(AbstractMpesaTransaction.Meta):
        app_label = "store"


@pytest.mark.parametrize("model", [Peculiar, Plainer])
def test_the_hosts_own_fields_are_read_as_the_orm_reads_them(prepared, model):
    """Whatever its columns hold and however it converts them, a row has the values that the ORM finds in it."""
    with connections[prepared].schema_editor() as editor:
        editor.create_model(model)
    store = DjangoRepository(model, Callback, using=prepared)
    row = store.add(transaction_draft(host={"whole": {"a": [0.5, None]}}))
    for index in range(4):
        changed = store.change(row.id, 1 + index, {"checks": index, "settled_at": NOON, "result_desc": "Done"})
    assert ("DONE" if model is Plainer else "Done") == changed.result_desc
    by_orm = model.objects.using(prepared).get()
    for got in (changed, store.get(row.id)):
        for field in model._meta.concrete_fields:
            expected, value = getattr(by_orm, field.attname), getattr(got, field.attname)
            assert (type(expected), repr(expected)) == (type(value), repr(value)), field.name
    assert ("hey!", {"a": [0.5, None]}) == (changed.shout, changed.whole)
    with connections[prepared].schema_editor() as editor:
        editor.delete_model(model)


class _Sealed(ExactTextField):
    """Sealed and opened by the database, as fields that pgcrypto encrypts are."""

    def get_placeholder_sql(self, value, compiler, connection):
        return "encode(convert_to(%s, 'UTF8'), 'base64')", (value,)

    if VERSION < (6, 1):

        def get_placeholder(self, value, compiler, connection):
            return self.get_placeholder_sql(value, compiler, connection)[0]

    def select_format(self, compiler, sql, params):
        return f"convert_from(decode({sql}, 'base64'), 'UTF8')", params


class SealedPayment(AbstractMpesaTransaction):
    result_desc = _Sealed(null=True)
    note = _Sealed(default="")

    class Meta(AbstractMpesaTransaction.Meta):
        app_label = "store"


class SealedCallback(AbstractMpesaCallbackLog):
    error = _Sealed(null=True)

    class Meta(AbstractMpesaCallbackLog.Meta):
        app_label = "store"


@pytest.mark.parametrize("model", [SealedPayment, SealedCallback])
def test_fields_that_the_database_itself_writes_and_reads(prepared, model):
    """What a field wraps around its column and its values, Django's way, is around them on each way to the database."""
    payment = model is SealedPayment
    with connections[prepared].schema_editor() as editor:
        editor.create_model(model)
    store = DjangoRepository(*((model, Callback) if payment else (Transaction, model)), using=prepared)
    if payment:
        row = store.add(transaction_draft(host={"note": "mine"}))
        found = [store.change(row.id, 1, {"result_desc": "Done"}), store.get(row.id)]
        assert [("Done", "mine")] * 2 == [(each.result_desc, each.note) for each in found]
    else:
        draft = callback_draft(error="tried")
        store.add_callback(draft)
        assert "tried" == store.get_callback(draft.id).error
        assert store.change_callback(draft.id, NOON, {"error": "Done"})
        assert "Done" == store.get_callback(draft.id).error
    with connections[prepared].cursor() as cursor:
        cursor.execute(f"SELECT {'result_desc' if payment else 'error'} FROM {model._meta.db_table}")
        assert [("RG9uZQ==",)] == cursor.fetchall()
    with connections[prepared].schema_editor() as editor:
        editor.delete_model(model)


class Stamped(AbstractMpesaCallbackLog):
    error = _Loud(null=True)
    resolved_at = MomentField(auto_now_add=True)

    class Meta(AbstractMpesaCallbackLog.Meta):
        app_label = "store"


class Made(AbstractMpesaCallbackLog):
    def __init__(self, *values, **named):
        super().__init__(*values, **({**named, "error": "made", "resolved_at": NOON} if named else {}))

    class Meta(AbstractMpesaCallbackLog.Meta):
        app_label = "store"


@pytest.mark.parametrize(("model", "error"), [(Stamped, "TRIED"), (Made, "made")])
def test_what_a_host_says_about_a_new_row_is_heard(prepared, model, error):
    """A field that sets itself, or writes its values otherwise, and a model with an __init__ of its own."""
    with connections[prepared].schema_editor() as editor:
        editor.create_model(model)
    store = DjangoRepository(Transaction, model, using=prepared)
    draft = callback_draft()
    store.add_callback(draft)
    assert store.change_callback(draft.id, NOON, {"error": "tried"} if error == "TRIED" else {})
    row = model.objects.using(prepared).get()
    assert (error, True) == (row.error, row.resolved_at is not None)
    with connections[prepared].schema_editor() as editor:
        editor.delete_model(model)


def test_with_a_pool(postgres):
    """Connections of psycopg's pool are used and given back as Django does it."""
    pytest.importorskip("psycopg_pool", reason="psycopg-pool is not installed: pip install 'mpesa-core[dev]'")
    name = postgres.new_database()
    server = {"HOST": "127.0.0.1", "PORT": postgres.port, "USER": "mpesa"}
    options = {"pool": {"min_size": 1, "max_size": 2}, "prepare_threshold": 0}
    with made_database("pooled", ENGINE="django.db.backends.postgresql", NAME=name, OPTIONS=options, **server) as alias:
        store = DjangoRepository(*MODELS, using=alias)
        try:
            for _ in range(3):
                settle(store)
                connections[alias].close()
            with transaction.atomic(using=alias):
                assert [] == list(store.due_callbacks(NOON, 5))
        finally:
            connections[alias].close()
            connections[alias].close_pool()
    postgres.drop_database(name)
