"""Several operations at once on PostgreSQL: how many statements they are, and what is done by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest

pytest.importorskip("django", reason="Django is not installed: pip install 'mpesa-core[django]'")

from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from mpesa_core.errors import DuplicateKey, InsideTransaction, InvalidField, StorageRefused
from mpesa_core.payments.records import Key
from mpesa_core.repository.protocol import Batches, missing_operations
from mpesa_core.testing.contract import NOON, callback_draft, transaction_draft
from tests.django.stores import Transaction, empty_repository

LATER = NOON + timedelta(minutes=1)
CLOSING = {"next_attempt_at": None, "processed": True}


@pytest.fixture
def store(django_postgres):
    """An empty repository on PostgreSQL."""
    return empty_repository(django_postgres)


def pairs(store, count):
    """So many payments, each with a callback that is open."""
    made = []
    for index in range(count):
        callback = callback_draft()
        store.add_callback(callback)
        made.append((store.add(transaction_draft(checkout_request_id=f"ws_{index}")).id, callback.id))
    return made


@pytest.mark.parametrize(("alias", "offered"), [("django_sqlite", False), ("django_postgres", True)])
def test_it_is_offered_where_it_pays(request, alias, offered):
    """On PostgreSQL, and not where one file's one writer waits for each row anyway."""
    repository = empty_repository(request.getfixturevalue(alias))
    assert (() if offered else ("batch",)) == missing_operations(repository, Batches)


def test_few_statements_and_one_commit(store, django_postgres):
    """Twenty settlements with their callbacks are two locks and two updates; twenty questions are one."""
    made = pairs(store, 20)
    joint = [("change_with_callback", (row, 1, {"checks": 7}, call, NOON, CLOSING)) for row, call in made]
    with CaptureQueriesContext(connections[django_postgres]) as queries:
        settled = store.batch(joint)
        found = store.batch([("find", (Key.CHECKOUT_REQUEST_ID, f"ws_{index}")) for index in range(20)])
    said = [each["sql"].split()[0] for each in queries]
    assert ["BEGIN", "SELECT", "SELECT", "UPDATE", "UPDATE", "COMMIT", "BEGIN", "SELECT", "COMMIT"] == said
    assert [(row, 2, 7) for row, _ in made] == [(each.id, each.version, each.checks) for each in settled]
    assert [each.id for each in settled] == [each.id for each in found]
    assert {None} == {store.get_callback(call).next_attempt_at for _, call in made}


def test_the_pairs_that_lost(store):
    """Where one of a pair was changed by another, or by one before it, neither of it is changed; the others are."""
    made = pairs(store, 4)
    store.change(made[1][0], 1, {"checks": 1})
    store.change_callback(made[2][1], NOON, {"next_attempt_at": LATER})
    joint = [("change_with_callback", (row, 1, {"checks": 7}, call, NOON, CLOSING)) for row, call in made]
    results = store.batch([*joint, joint[0], ("change_callback", (made[3][1], NOON, {"attempts": 9}))])
    assert [True, False, False, True, False, False] == [bool(each) for each in results]
    assert [7, 1, 0, 7] == [store.get(row).checks for row, _ in made]
    assert [None, NOON, LATER, None] == [store.get_callback(call).next_attempt_at for _, call in made]
    assert 0 == store.get_callback(made[3][1]).attempts


def test_what_is_done_by_itself(store):
    """The host's own fields, a key that is taken, and a field that is none: each has its own answer."""
    owner = store.add(transaction_draft(mpesa_receipt_number="R1"))
    rows = [store.add(transaction_draft()).id for _ in range(4)]
    plain, host, taken, wrong, refused = store.batch(
        [
            ("change", (rows[0], 1, {"checks": 7})),
            ("change", (rows[1], 1, {"checks": 7, "host": {"note": "n"}})),
            ("change", (rows[2], 1, {"mpesa_receipt_number": "R1"})),
            ("change", (rows[3], 1, {"chekcs": 7})),
            ("change", (rows[3], 1, {"host": {"note": None}})),
        ]
    )
    assert (7, 7, "n") == (plain.checks, host.checks, host.note)
    assert [DuplicateKey, InvalidField, StorageRefused] == [type(each) for each in (taken, wrong, refused)]
    assert owner.id == taken.owner
    assert [1, 1] == [store.get(row).version for row in rows[2:]]


def test_keys_that_are_kept_shortened(store):
    """A long key, and one that no database can hold, are found among others; each question has a row of its own."""
    keys = ["ws_" + "9" * 3000, "a\0", "b"]
    rows = [store.add(transaction_draft(checkout_request_id=key)).id for key in keys]
    found = store.batch([("find", (Key.CHECKOUT_REQUEST_ID, key)) for key in [*keys, keys[0], "none"]])
    assert [*rows, rows[0], None] == [each and each.id for each in found]
    assert found[0] is not found[3]


def test_inside_a_transaction_of_the_callers(store, django_postgres):
    """It is refused as every change is."""
    ((row, _),) = pairs(store, 1)
    with transaction.atomic(using=django_postgres), pytest.raises(InsideTransaction):
        store.batch([("change", (row, 1, {"checks": 7}))])
    assert 1 == Transaction.objects.using(django_postgres).get().version
