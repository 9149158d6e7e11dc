"""A payment and its callback are changed in one commit, both or neither, whoever comes between."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from functools import partial

import pytest

pytest.importorskip("django", reason="Django is not installed: pip install 'mpesa-core[django]'")

from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext, override_settings

from mpesa_core.errors import DuplicateKey, InsideTransaction
from mpesa_core.testing.contract import NOON, callback_draft, transaction_draft
from mpesa_django.repository import DjangoRepository
from tests.django.stores import MODELS, Callback, Transaction, empty_repository
from tests.trials import scaled

LATER = NOON + timedelta(minutes=1)
CLOSING = {"next_attempt_at": None, "processed": True}


@pytest.fixture(params=["django_sqlite", "django_postgres", "django_mariadb"])
def alias(request):
    """The alias of each database."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def store(alias):
    """An empty repository on it."""
    return empty_repository(alias)


def both(store):
    """A payment and a callback that are there."""
    callback = callback_draft()
    store.add_callback(callback)
    return store.add(transaction_draft()).id, callback.id


def state(store, row_id, callback_id):
    """What of the two was changed."""
    row, callback = store.get(row_id), store.get_callback(callback_id)
    return row.checks, row.version, callback.next_attempt_at, callback.processed


@pytest.mark.parametrize("host", [{}, {"host": {"note": "n"}}], ids=["the core's", "and the host's"])
@pytest.mark.parametrize(
    ("version", "expected", "won"),
    [(1, NOON, True), (2, NOON, False), (1, LATER, False), (1, None, False), (2, LATER, False)],
)
def test_both_or_neither(store, version, expected, won, host):
    """Where one of the two is lost the other is not changed."""
    row_id, callback_id = both(store)
    row = store.change_with_callback(row_id, version, {"checks": 7, **host}, callback_id, expected, CLOSING)
    assert ((7, 2) if won else None) == (None if row is None else (row.checks, row.version))
    assert ((7, 2, None, True) if won else (0, 1, NOON, False)) == state(store, row_id, callback_id)


def test_a_key_that_is_taken_closes_nothing(store):
    """DuplicateKey names the owner, and neither of the two is changed."""
    owner = store.add(transaction_draft(mpesa_receipt_number="R1"))
    row_id, callback_id = both(store)
    with pytest.raises(DuplicateKey) as raised:
        store.change_with_callback(row_id, 1, {"mpesa_receipt_number": "R1"}, callback_id, NOON, CLOSING)
    assert owner.id == raised.value.owner
    assert (0, 1, NOON, False) == state(store, row_id, callback_id)


def test_inside_a_transaction_of_the_callers(store, alias):
    """It is refused as every change is."""
    row_id, callback_id = both(store)
    with transaction.atomic(using=alias), pytest.raises(InsideTransaction):
        store.change_with_callback(row_id, 1, {"checks": 7}, callback_id, NOON, CLOSING)
    assert (0, 1, NOON, False) == state(store, row_id, callback_id)


def test_one_statement_on_postgresql(django_postgres):
    """It is one round trip, whose commit is the only one."""
    store = empty_repository(django_postgres)
    row_id, callback_id = both(store)
    with CaptureQueriesContext(connections[django_postgres]) as queries:
        assert store.change_with_callback(row_id, 1, {"checks": 7}, callback_id, NOON, CLOSING) is not None
    assert ["WITH"] == [each["sql"].split()[0] for each in queries]


RIVALS = {
    "settled it": (Transaction, {"version": 2}, False),
    "claimed the callback": (Callback, {"next_attempt_at": LATER}, False),
    "saved the host's own field": (Transaction, {"note": "saved"}, True),
    "wrote down an error": (Callback, {"error": "tried"}, True),
}


@pytest.mark.parametrize("rival", RIVALS)
@pytest.mark.parametrize("commits", [True, False], ids=["commits", "rolls back"])
@pytest.mark.parametrize("host", [{}, {"host": {"order_id": None}}], ids=["one statement", "the ORM"])
def test_a_rival_that_was_there_first(django_postgres, rival, commits, host):
    """Who has one of the rows locked is waited for; both are changed after it, or neither, by what it left."""
    store = empty_repository(django_postgres)
    row_id, callback_id = both(store)
    model, changes, harmless = RIVALS[rival]
    done = []

    def change():
        try:
            done.append(store.change_with_callback(row_id, 1, {"checks": 7, **host}, callback_id, NOON, CLOSING))
        finally:
            connections.close_all()

    waiting = threading.Thread(target=change)
    with transaction.atomic(using=django_postgres):
        model._base_manager.using(django_postgres).update(**changes)
        waiting.start()
        with connections[django_postgres].cursor() as cursor:
            for _ in range(1000):
                cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
                if cursor.fetchone()[0]:
                    break
                time.sleep(0.005)
        assert [] == done
        transaction.set_rollback(not commits, using=django_postgres)
    waiting.join(60)
    checks, _, next_attempt_at, processed = state(store, row_id, callback_id)
    if harmless or not commits:
        assert (7, 7, None, True) == (done[0].checks, checks, next_attempt_at, processed)
    else:
        assert (None, 0, False) == (done[0], checks, processed)
    if harmless and commits and not host:
        kept = model._base_manager.using(django_postgres).values(*changes).get()
        assert changes == kept, "what the rival wrote is there still"


def test_many_at_once(django_postgres):
    """Of joint changes, claims and changes of the same two rows one wins each version, and no half of one is seen."""
    store = empty_repository(django_postgres)
    for _ in range(scaled(10)):
        row_id, callback_id = both(store)
        together = partial(store.change_with_callback, row_id, 1, {"checks": 7}, callback_id, NOON, CLOSING)
        claim = partial(store.change_callback, callback_id, NOON, {"next_attempt_at": LATER})
        results = race([together, together, claim, partial(store.change, row_id, 1, {"checks": 8})])
        assert [] == [each for each in results if isinstance(each, Exception)]
        joint = [each for each in results[:2] if each is not None]
        checks, version, next_attempt_at, processed = state(store, row_id, callback_id)
        assert len(joint) == (1 if processed else 0)
        assert processed == (checks == 7)
        assert (processed, processed) == (next_attempt_at is None, processed)
        assert bool(results[2]) == (next_attempt_at == LATER)
        assert (results[3] is not None) == (checks == 8)
        assert version <= 2


def race(work):
    """What each of the functions returned or raised, all begun together."""
    barrier, results = threading.Barrier(len(work)), [None] * len(work)

    def run(index):
        try:
            barrier.wait(30)
            results[index] = work[index]()
        except Exception as error:
            results[index] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(work))]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    return results


class _Router:
    apart = True

    def db_for_write(self, model, **_hints):
        if model not in MODELS:
            return None
        return "store_postgres" if self.apart and model is Callback else "store_sqlite"


def test_two_databases_have_no_commit_in_common(django_sqlite, django_postgres):
    """Where a router keeps callbacks elsewhere the operation is not there, and where it does so no more, it is."""
    router = _Router()
    with override_settings(DATABASE_ROUTERS=[router]):
        routed = DjangoRepository(*MODELS)
        assert not hasattr(routed, "change_with_callback")
        router.apart = False
        assert hasattr(routed, "change_with_callback")
