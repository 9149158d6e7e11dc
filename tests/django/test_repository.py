"""What the repository on Django's ORM promises besides the contract."""

from __future__ import annotations

import threading
import traceback
import unittest
from decimal import Decimal
from uuid import uuid4

import pytest

pytest.importorskip("django", reason="Django is not installed: pip install 'mpesa-core[django]'")

from django.db import connections, transaction
from django.db.models import signals
from django.test import TestCase
from django.test.utils import CaptureQueriesContext, override_settings

from mpesa_core.errors import (
    DuplicateKey,
    InsideTransaction,
    InvalidField,
    StorageBusy,
    StorageRefused,
    StorageUnavailable,
)
from mpesa_core.payments.records import Key, Sweep
from mpesa_core.payments.subscriptions import SubscriptionKey
from mpesa_core.repository.protocol import InvoiceRepository, SubscriptionRepository, missing_operations
from mpesa_core.testing.contract import NOON, callback_draft, transaction_draft
from mpesa_core.testing.dues import invoice_draft
from mpesa_django.repository import DjangoRepository
from tests.django.stores import MODELS, Callback, Order, Transaction, empty_repository

DUE = (Sweep.UNANNOUNCED, Sweep.TO_ASK)


@pytest.fixture
def store(django_sqlite):
    """An empty repository on SQLite."""
    return empty_repository(django_sqlite)


@pytest.fixture
def on_postgres(django_postgres):
    """An empty repository on PostgreSQL."""
    return empty_repository(django_postgres)


def in_a_thread(work):
    """What the function returns in a thread of its own, which closes its connections."""
    found = []

    def run():
        try:
            found.append(work())
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    return found[0]


# The host's own fields


def test_a_row_is_the_hosts_own_instance(store, django_sqlite):
    """A row has the host's fields, by the name of the field or of its column, and is found by them."""
    order = Order.objects.using(django_sqlite).create(name="A-1")
    row = store.add(transaction_draft(host={"order": order, "note": "first"}))
    assert (Transaction, order, "first") == (type(row), row.order, row.note)
    again = store.change(row.id, 1, {"host": {"note": "second"}})
    assert ("second", order.pk) == (again.note, again.order_id)
    by_column = store.add(transaction_draft(host={"order_id": order.pk}))
    assert {row.id, by_column.id} == {each.id for each in order.transaction_set.all()}


@pytest.mark.parametrize(
    ("name", "words"), [("ordr", "Did you mean 'order'?"), ("status", "a field of your own"), ("pk", "order")]
)
def test_a_host_field_that_is_none(store, name, words):
    """An unknown name, and one of the core's, is refused with the names that there are; nothing is added."""
    draft = transaction_draft(host={name: 1})
    with pytest.raises(InvalidField, match=r"host: got ") as raised:
        store.add(draft)
    assert words in str(raised.value)
    assert store.get(draft.id) is None


def test_a_host_field_that_the_database_refuses(store):
    """An order that is not there is the host's mistake: it is said so, and nothing is added."""
    draft = transaction_draft(host={"order_id": 999_999})
    with pytest.raises(StorageRefused, match="see to the fields of your own"):
        store.add(draft)
    assert store.get(draft.id) is None


@pytest.mark.parametrize("alias", ["django_sqlite", "django_postgres", "django_mariadb"])
def test_a_refused_row_is_not_quoted(request, alias):
    """A database's error quotes the row; the error that leaves the repository, and its traceback, do not."""
    store = empty_repository(request.getfixturevalue(alias))
    draft = transaction_draft(phone_number="254708374149", idempotency_key="CANARYKEY", host={"note": None})
    with pytest.raises(StorageRefused, match=r"refused a row: .*see to the fields of your own") as raised:
        store.add(draft)
    shown = "".join(traceback.format_exception(raised.value))
    assert "254708374149" not in shown
    assert "CANARYKEY" not in shown


# What is written


def test_only_the_columns_that_change_are_written(store, django_sqlite):
    """An update names the columns of the change and the version, and leaves the host's own alone."""
    row = store.add(transaction_draft(host={"note": "n"}))
    with CaptureQueriesContext(connections[django_sqlite]) as queries:
        store.change(row.id, 1, {"checks": 1, "reason": "cancelled"})
    (update,) = [each["sql"] for each in queries if each["sql"].startswith("UPDATE")]
    assert {"checks", "reason", "version"} == {
        part.split('"')[1] for part in update.split(" SET ")[1].split(" WHERE ")[0].split(", ")
    }


@pytest.mark.parametrize("host", [{}, {"note": "n"}])
def test_a_row_is_locked_before_it_is_changed(on_postgres, django_postgres, host):
    """Where the database has row locks, the change takes one and compares the version once more as it writes."""
    row = on_postgres.add(transaction_draft())
    with CaptureQueriesContext(connections[django_postgres]) as queries:
        on_postgres.change(row.id, 1, {"checks": 1, "host": host} if host else {"checks": 1})
    said = " ".join(each["sql"] for each in queries)
    lock, update = said.index("FOR UPDATE"), said.index("UPDATE", said.index("FOR UPDATE") + len("FOR UPDATE"))
    assert lock < update
    assert '"version" = 1' in said[update:].split(" WHERE ", 1)[1]


def test_what_postgresql_does_in_one_statement_is_one(on_postgres, django_postgres):
    """To record, to claim and to settle are a round trip each: no transaction is begun and ended around them."""
    callback, row = callback_draft(), on_postgres.add(transaction_draft())
    with CaptureQueriesContext(connections[django_postgres]) as queries:
        on_postgres.add_callback(callback)
        assert on_postgres.change_callback(callback.id, NOON, {"attempts": 1, "next_attempt_at": None})
        assert 7 == on_postgres.change(row.id, 1, {"checks": 7}).checks
    assert ["INSERT", "UPDATE", "WITH"] == [each["sql"].split()[0] for each in queries]


@pytest.mark.parametrize("signal", [signals.pre_save, signals.post_save])
def test_a_host_hears_of_each_callback_that_is_recorded(on_postgres, signal):
    """Receivers of Django's own signals get the instance, on PostgreSQL too, and what they raise undoes the row."""
    heard = []

    def hear(instance, **_more):
        heard.append(instance.pk)
        raise ValueError

    first, second = callback_draft(), callback_draft()
    signal.connect(hear, sender=Callback)
    try:
        with pytest.raises(ValueError):
            on_postgres.add_callback(first)
    finally:
        signal.disconnect(hear, sender=Callback)
    on_postgres.add_callback(second)
    assert [first.id] == heard
    assert (None, second.id) == (on_postgres.get_callback(first.id), on_postgres.get_callback(second.id).id)


def test_saving_an_instance_undoes_no_settlement(store):
    """A host that saves a payment which was settled meanwhile saves its own fields, and nothing that it has not seen."""
    stale = store.get(store.add(transaction_draft(host={"note": "old"})).id)
    settled = store.change(stale.id, 1, {"status": "SUCCESS", "mpesa_receipt_number": "R1", "generation": 1})
    stale.note = "new"
    stale.save()
    kept = store.get(stale.id)
    assert ("SUCCESS", "R1", settled.version, "new") == (
        kept.status,
        kept.mpesa_receipt_number,
        kept.version,
        kept.note,
    )
    kept.note = "newer"
    kept.save(update_fields=["note"])
    assert "newer" == store.get(stale.id).note


@pytest.mark.parametrize("how", ["save", "update_fields", "positional"])
def test_a_field_of_the_cores_is_not_saved(store, how):
    """Whoever edits one is told its name and what to do instead, and nothing is written."""
    row = store.add(transaction_draft(host={"note": "old"}))
    row.status, row.note = "SUCCESS", "new"
    arguments = {"positional": (False, False, None, ["status"])}.get(how, ())
    options = {"update_fields": ["status", "note"]} if how == "update_fields" else {}
    with pytest.raises(InvalidField, match=r"save: got 'status', expected .* QuerySet.update"):
        row.save(*arguments, **options)
    kept = store.get(row.id)
    assert ("PENDING", "old") == (kept.status, kept.note)


def test_a_new_row_of_a_hosts_is_saved_whole(store, django_sqlite):
    """An import makes rows by itself, and their own fields can be saved afterwards."""
    row = type(store.add(transaction_draft()))(transaction_type="C2B", status="SUCCESS", amount=Decimal(10), note="old")
    row.save(using=django_sqlite)
    row.note = "new"
    row.save()
    assert ("SUCCESS", "new") == (store.get(row.id).status, store.get(row.id).note)


def test_a_row_shows_no_phone_number(store):
    """Neither its text nor its repr has the customer's number or the callback's token."""
    row = store.add(transaction_draft(callback_token="secret-token", mpesa_receipt_number="R1"))
    shown = f"{row} {row!r}"
    assert "R1" in shown
    assert ("254708374149" in shown, "secret-token" in shown) == (False, False)


# Transactions of the caller's


@pytest.mark.parametrize("work", ["add", "change", "add_callback", "add_invoice"])
def test_inside_a_transaction_of_the_callers(store, django_sqlite, work):
    """What writes is refused with the remedies, and leaves the caller's transaction as it was; reading is allowed."""
    row = store.add(transaction_draft())
    drafts = {"add": transaction_draft(), "add_callback": callback_draft(), "add_invoice": invoice_draft()}
    with transaction.atomic(using=django_sqlite):
        with pytest.raises(InsideTransaction, match=r"on_commit=True.*non_atomic_requests"):
            store.change(row.id, 1, {}) if work == "change" else getattr(store, work)(drafts[work])
        Order.objects.using(django_sqlite).create(name="kept")
        assert row.id == store.get(row.id).id
    assert (1, 1) == (Order.objects.using(django_sqlite).count(), store.get(row.id).version)


def test_in_a_testcase(store, django_sqlite):
    """The transaction that Django's TestCase keeps open counts for nothing; duplicates are found in it too."""

    class Case(TestCase):
        databases = {django_sqlite}

        def test(self):
            row = store.add(transaction_draft(idempotency_key="k"))
            assert 2 == store.change(row.id, 1, {"checks": 1}).version
            with pytest.raises(DuplicateKey) as raised:
                store.add(transaction_draft(idempotency_key="k"))
            assert row.id == raised.value.owner

    result = unittest.TestResult()
    unittest.TestSuite([Case("test")]).run(result)
    assert ([], [], 1) == (result.errors, result.failures, result.testsRun)
    assert store.find(Key.IDEMPOTENCY_KEY, "k") is None, "the case is rolled back"


# Which database


class _Router:
    def db_for_write(self, model, **_hints):
        return "store_sqlite" if model in MODELS else None

    def db_for_read(self, model, **_hints):
        raise AssertionError("a replica may lag behind")


def test_the_routers_choose_the_database(store):
    """Without an alias the router's choice for writing is written to, and read from."""
    with override_settings(DATABASE_ROUTERS=[_Router()]):
        routed = DjangoRepository(*MODELS)
        row = routed.add(transaction_draft())
        assert row.id == routed.get(row.id).id
    assert row.id == store.get(row.id).id


def test_what_has_no_model_is_not_there(django_sqlite):
    """Without their models the operations of invoices and subscriptions are missing, and with them they are not."""
    bare = DjangoRepository(Transaction, Callback, using=django_sqlite)
    assert len(missing_operations(bare, InvoiceRepository)) == 6
    assert len(missing_operations(bare, SubscriptionRepository)) == 6
    full = DjangoRepository(*MODELS, using=django_sqlite)
    assert ((), ()) == (missing_operations(full, InvoiceRepository), missing_operations(full, SubscriptionRepository))
    with pytest.raises(AttributeError, match="invoice_model"):
        bare.get_invoice(uuid4())


# What databases do


def test_a_lock_that_another_holds_is_busy(on_postgres, django_postgres):
    """A lock timeout is StorageBusy: nothing was changed, and the change can be repeated."""
    row = on_postgres.add(transaction_draft())
    held, done = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic(using=django_postgres):
            Transaction.objects.using(django_postgres).select_for_update().get(pk=row.id)
            held.set()
            done.wait(30)
        connections.close_all()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(30)
    with connections[django_postgres].cursor() as cursor:
        cursor.execute("SET lock_timeout = '50ms'")
    try:
        with pytest.raises(StorageBusy):
            on_postgres.change(row.id, 1, {"checks": 1})
    finally:
        done.set()
        holder.join(30)
    with connections[django_postgres].cursor() as cursor:
        cursor.execute("SET lock_timeout = 0")
    assert 2 == on_postgres.change(row.id, 1, {"checks": 1}).version


def test_a_locked_sqlite_file_is_busy(store, django_sqlite):
    """A file that another writer keeps is StorageBusy."""
    row = store.add(transaction_draft())

    def impatient():
        with connections[django_sqlite].cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 20")
        try:
            store.change(row.id, 1, {"checks": 1})
        except StorageBusy as error:
            return error

    with transaction.atomic(using=django_sqlite):
        Order.objects.using(django_sqlite).create(name="held")
        assert isinstance(in_a_thread(impatient), StorageBusy)
    assert 1 == store.get(row.id).version


@pytest.mark.parametrize("database", ["django_sqlite", "django_postgres"])
def test_with_autocommit_off_nothing_is_written(request, database):
    """It would wait for a commit of the caller's: refused, and nothing is there."""
    alias = request.getfixturevalue(database)
    store = empty_repository(alias)
    connections[alias].set_autocommit(False)
    try:
        with pytest.raises(InsideTransaction, match="autocommit is off"):
            store.add(transaction_draft(next_check_at=NOON))
    finally:
        connections[alias].commit()
        connections[alias].set_autocommit(True)
    assert [] == list(store.due(Sweep.UNSENT, NOON, 5))


@pytest.mark.parametrize("meets", ["a change", "a question"])
def test_a_connection_that_was_cut(on_postgres, django_postgres, meets):
    """The operation that meets it is StorageUnavailable, and the next one has a new connection."""
    row = on_postgres.add(transaction_draft())
    with connections[django_postgres].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (backend,) = cursor.fetchone()

    def cut():
        with connections[django_postgres].cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])

    in_a_thread(cut)
    with pytest.raises(StorageUnavailable, match="read again"):
        on_postgres.change(row.id, 1, {"checks": 1}) if meets == "a change" else on_postgres.get(row.id)
    assert 2 == on_postgres.change(row.id, 1, {"checks": 1}).version


def test_a_connection_that_lay_idle_is_looked_at(on_postgres, django_postgres, monkeypatch):
    """One that was cut while its thread had nothing to do is replaced before it is used."""
    row = on_postgres.add(transaction_draft())
    before = connections[django_postgres].connection
    monkeypatch.setattr("mpesa_django.operations._IDLE", -1.0)
    assert row.id == on_postgres.get(row.id).id
    assert before is not connections[django_postgres].connection


def test_a_table_that_is_missing(django_sqlite):
    """It is said what to do."""

    from mpesa_django.models import AbstractMpesaTransaction

    class Nowhere(AbstractMpesaTransaction):
        class Meta(AbstractMpesaTransaction.Meta):
            app_label = "nowhere"

    repository = DjangoRepository(Nowhere, Callback, using=django_sqlite)
    with pytest.raises(StorageUnavailable):
        repository.get(uuid4())


def test_amounts_are_never_rounded(store):
    """An amount that the column cannot hold is refused, not rounded."""
    for amount in ("0.001", "10000000000000"):
        with pytest.raises(InvalidField, match="amount: got "):
            store.add(transaction_draft(amount=Decimal(amount)))


QUESTIONS = {
    "due callbacks": lambda store: store.due_callbacks(NOON, 5),
    "open callbacks": lambda store: store.open_callbacks(token="t", correlation_ids=["a", "b"]),
    "conflicts": lambda store: store.conflicts(5),
    **{f"find {key}": lambda store, key=key: store.find(key, ("1", "R") if key is Key.RECEIPT else "x") for key in Key},
    **{f"due {sweep}": lambda store, sweep=sweep: store.due(sweep, NOON, 5) for sweep in Sweep},
    "candidates": lambda store: store.candidates("600000", Decimal(10), "A"),
    "settled": lambda store: store.settled_between("600000", NOON, NOON, 5),
    "invoice": lambda store: store.find_invoice("600000", "E"),
    "payable": lambda store: store.payable_invoices("600000", "A", ["sent"]),
    "charging": lambda store: store.charging_subscriptions("600000", Decimal(10), "A"),
    **{f"subscription {key}": lambda store, key=key: store.find_subscription(key, "x") for key in SubscriptionKey},
    **{f"invoices {sweep}": lambda store, sweep=sweep: store.due_invoices(sweep, NOON, 5) for sweep in DUE},
    **{f"subscriptions {sweep}": lambda store, sweep=sweep: store.due_subscriptions(sweep, NOON, 5) for sweep in DUE},
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_each_question_goes_by_an_index(store, django_sqlite, question):
    """None goes through all rows, so that none is slower for the payments of years ago."""
    with CaptureQueriesContext(connections[django_sqlite]) as queries:
        QUESTIONS[question](store)
    (asked,) = [each["sql"] for each in queries if each["sql"].startswith("SELECT")]
    with connections[django_sqlite].cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {asked}")
        plan = [row[3] for row in cursor.fetchall()]
    assert [] == [step for step in plan if step.startswith("SCAN")], plan
