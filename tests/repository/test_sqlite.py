"""The SQLite repository: its file, its schema and migrations, its indexes and its connections."""

from __future__ import annotations

import gc
import os
import re
import sqlite3
import subprocess
import sys
import threading
from decimal import Decimal, localcontext
from pathlib import Path

import pytest

from mpesa_core.errors import ConfigurationError, DuplicateKey, StorageUnavailable
from mpesa_core.payments.records import Key, Status, Sweep
from mpesa_core.payments.subscriptions import SubscriptionKey
from mpesa_core.repository import SqliteRepository, sqlite
from tests.repository.rows_made import NOON, callback, draft

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path):
    """The file."""
    return tmp_path / "payments.sqlite3"


@pytest.fixture
def repository(path):
    """A fresh store."""
    made = SqliteRepository(path)
    yield made
    made.close()


def pragma(repository, name):
    """A pragma, as this thread's connection sees it."""
    return repository._handle().connection.execute(f"PRAGMA {name}").fetchone()[0]


# The file


def test_the_file_is_in_wal_mode_and_fully_synchronous(repository):
    """By default each operation is on the disk when it returns, and readers never wait for a writer."""
    assert ("wal", 2) == tuple(pragma(repository, name) for name in ("journal_mode", "synchronous"))


@pytest.mark.parametrize(("synchronous", "number"), [("OFF", 0), ("NORMAL", 1), ("FULL", 2), ("EXTRA", 3)])
def test_every_thread_gets_the_options(path, synchronous, number):
    """The options hold for the connections of all threads."""
    repository = SqliteRepository(path, synchronous=synchronous)
    found = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: found.append(pragma(repository, "synchronous")))
        thread.start()
        thread.join()
    repository.close()
    assert [number] * 2 == found


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"path": ":memory:"}, "MemoryRepository"),
        ({"path": ""}, "path"),
        ({"path": "x", "synchronous": "full"}, "synchronous: got 'full'"),
        ({"path": "x", "busy_timeout": -1}, "busy_timeout: got -1"),
        ({"path": "x", "busy_timeout": "5"}, "busy_timeout: got '5'"),
        ({"path": "x", "busy_timeout": float("nan")}, "busy_timeout: got nan"),
    ],
)
def test_wrong_options_are_refused(arguments, words, tmp_path, monkeypatch):
    """An option that cannot be is a ConfigurationError that names it, before any file is made."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        SqliteRepository(**arguments)
    assert [] == list(tmp_path.iterdir())


def test_every_wrong_option_is_named_at_once():
    """All problems are reported together."""
    with pytest.raises(ConfigurationError) as raised:
        SqliteRepository("", synchronous="no", busy_timeout=None)
    assert 3 == len(raised.value.problems)


def test_a_path_that_moves_with_the_working_directory(tmp_path, monkeypatch):
    """A relative path is fixed when the repository is made, so that another thread later opens the same file."""
    monkeypatch.chdir(tmp_path)
    repository = SqliteRepository("p.sqlite3")
    row = repository.add(draft())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = []
    thread = threading.Thread(target=lambda: found.append(repository.get(row.id)))
    thread.start()
    thread.join()
    repository.close()
    assert [row] == found


def test_times_are_stored_at_one_width(repository, path):
    """Times are text in UTC that sorts as time does, also without a fraction."""
    row = repository.add(draft(initiated_at=NOON.replace(microsecond=0), settled_at=NOON))
    stored = sqlite3.connect(path).execute("SELECT initiated_at, settled_at, amount FROM mpesa_transactions").fetchall()
    assert [("2026-03-01T09:00:00.000000+00:00", "2026-03-01T09:00:00.123456+00:00", 1000)] == stored
    assert NOON == row.settled_at


def test_amounts_do_not_depend_on_the_decimal_context(repository):
    """A host that works with few digits gets its amounts whole all the same."""
    with localcontext(prec=3):
        row = repository.add(draft(amount=Decimal("1234567.89")))
        assert "1234567.89" == str(repository.get(row.id).amount)
        assert [row.id] == [found.id for found in repository.candidates("600000", Decimal("1234567.890"), None)]


def test_a_change_writes_only_its_columns(repository):
    """Rivals that change different things do not put back each other's old values; the statement is a transaction."""
    row = repository.add(draft())
    written = []
    repository._handle().connection.set_trace_callback(written.append)
    repository.change(row.id, 1, {"checks": 3, "status": Status.PROCESSING})
    update = next(line for line in written if line.startswith("UPDATE"))
    assert "UPDATE mpesa_transactions SET checks = 3, status = 'PROCESSING', version = version + 1 WHERE" in update
    assert [update] == written


class Slow:
    """A connection that does something before each statement of a kind."""

    def __init__(self, connection, kind, work):
        self.connection, self.kind, self.work = connection, kind, work

    def __getattr__(self, name):
        return getattr(self.connection, name)

    def execute(self, sql, *parameters):
        if sql.startswith(self.kind):
            self.work()
        return self.connection.execute(sql, *parameters)


def test_a_key_that_is_let_go_of_while_it_is_asked_who_has_it(repository, path):
    """A write that was refused for a key goes through where its owner has let go of it, and names nobody."""
    owner = repository.add(draft(idempotency_key="k"))
    other = SqliteRepository(path)
    handle = repository._handle()
    handle.connection = Slow(handle.connection, "BEGIN", lambda: other.change(owner.id, 1, {"idempotency_key": None}))
    assert "k" == (row := repository.add(draft(idempotency_key="k"))).idempotency_key
    assert row == other.find(Key.IDEMPOTENCY_KEY, "k")
    other.close()


def test_an_interrupted_write_leaves_no_transaction_open(repository, monkeypatch):
    """A KeyboardInterrupt in the middle of a write undoes it, and the next operation works."""
    row = repository.add(draft(idempotency_key="k"))

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(sqlite, "_raise_duplicate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        repository.add(draft(idempotency_key="k"))
    assert repository._handle().connection.in_transaction is False
    assert 2 == repository.change(row.id, 1, {}).version


def test_every_key_at_once(repository):
    """Where several keys are taken by different rows, the key that is named goes with its owner."""
    keys = [key for key in Key if key is not Key.ORIGINATOR_CONVERSATION_ID]
    owners = {key: repository.add(draft(**{key: "x"})).id for key in keys}
    with pytest.raises(DuplicateKey) as raised:
        repository.add(draft(**dict.fromkeys(keys, "x")))
    assert owners[Key(raised.value.key)] == raised.value.owner
    row = repository.add(draft())
    with pytest.raises(DuplicateKey) as raised:
        repository.change(row.id, 1, dict.fromkeys(keys, "x"))
    assert owners[Key(raised.value.key)] == raised.value.owner


# The indexes


@pytest.mark.parametrize(
    ("work", "index"),
    [
        (lambda store: store.due_callbacks(NOON, 10), "mpesa_due_callbacks"),
        (lambda store: store.open_callbacks(token="t"), "mpesa_open_by_token"),
        (lambda store: store.open_callbacks(correlation_ids=["a", "b"]), "mpesa_open_by_correlation"),
        (lambda store: store.open_callbacks(token="t", correlation_ids=["a"]), "mpesa_open_by_token"),
        (lambda store: store.conflicts(10), "mpesa_open_conflicts"),
        (lambda store: store.conflicts(10, draft().id), "mpesa_open_conflicts"),
        (lambda store: store.due(Sweep.UNSENT, NOON, 10), "mpesa_unsent"),
        (lambda store: store.due(Sweep.TO_ASK, NOON, 10), "mpesa_to_ask"),
        (lambda store: store.due(Sweep.UNANNOUNCED, NOON, 10), "mpesa_unannounced"),
        (lambda store: store.candidates("600000", Decimal(10), None), "mpesa_candidates"),
        (lambda store: store.candidates("600000", Decimal(10), "INV-1"), "mpesa_candidates"),
        *[
            (lambda store, key=key: store.find(key, "x"), f"mpesa_{key}")
            for key in (Key.IDEMPOTENCY_KEY, Key.CALLBACK_TOKEN, Key.CHECKOUT_REQUEST_ID, Key.CONVERSATION_ID)
        ],
        (lambda store: store.find(Key.ORIGINATOR_CONVERSATION_ID, "x"), "mpesa_originator"),
        (lambda store: store.find(Key.RECEIPT, ("600000", "x")), "mpesa_receipt"),
        (lambda store: store.settled_between("600000", NOON, NOON, 10), "mpesa_proved"),
        (lambda store: store.latest(10, draft().id), "PRIMARY KEY"),
        (lambda store: store.latest_callbacks(10, draft().id), "PRIMARY KEY"),
    ],
)
def test_no_question_reads_the_whole_table(repository, monkeypatch, work, index):
    """Each lookup and each sweep goes by its own partial index, however large the tables grow."""
    asked = []
    monkeypatch.setattr(repository, "_read", lambda sql, parameters: asked.append((sql, tuple(parameters))) or [])
    work(repository)
    ((sql, parameters),) = asked
    plan = repository._handle().connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()
    steps = [step[-1] for step in plan]
    assert any(index in step for step in steps), steps
    assert [] == [step for step in steps if re.fullmatch(r"SCAN mpesa_\w+", step)]
    if "LIMIT" in sql and "initiated_at" not in sql:
        assert [] == [step for step in steps if "TEMP B-TREE FOR ORDER BY" in step]


class Asked:
    """A connection that only remembers what it was asked."""

    def execute(self, sql, parameters=()):
        self.sql, self.parameters = sql, parameters
        return iter(())


@pytest.mark.parametrize(
    ("work", "index"),
    [
        (lambda store: store.find_invoice("600000", "E-1"), "mpesa_invoice_reference"),
        (lambda store: store.payable_invoices("600000", "A-1", ["sent", "overdue"]), "mpesa_invoice_payable"),
        (lambda store: store.due_invoices(Sweep.UNANNOUNCED, NOON, 10), "mpesa_invoice_unannounced"),
        (lambda store: store.due_invoices(Sweep.TO_ASK, NOON, 10), "mpesa_invoice_due"),
        (lambda store: store.charging_subscriptions("600000", Decimal(5), "A"), "mpesa_subscription_charging"),
        (lambda store: store.due_subscriptions(Sweep.UNANNOUNCED, NOON, 10), "mpesa_subscription_unannounced"),
        (lambda store: store.due_subscriptions(Sweep.TO_ASK, NOON, 10), "mpesa_subscription_due"),
        (lambda store: store.find_subscription(SubscriptionKey.IDEMPOTENCY_KEY, "x"), "mpesa_subscription_key"),
        (lambda store: store.find_subscription(SubscriptionKey.CALLBACK_TOKEN, "x"), "mpesa_subscription_token"),
        (lambda store: store.find_subscription(SubscriptionKey.REQUEST_ID, "x"), "mpesa_subscription_request"),
        (lambda store: store.find_subscription(SubscriptionKey.RESPONSE_REF_ID, "x"), "mpesa_subscription_response"),
    ],
)
def test_no_question_reads_all_invoices_or_subscriptions(repository, monkeypatch, work, index):
    """Each lookup and each sweep of theirs goes by its own index, and none is sorted afterwards."""
    asked = Asked()
    with monkeypatch.context() as patched:
        patched.setattr(repository, "_using", lambda read: read(asked))
        work(repository)
    plan = repository._handle().connection.execute(f"EXPLAIN QUERY PLAN {asked.sql}", asked.parameters).fetchall()
    steps = [step[-1] for step in plan]
    assert any(index in step for step in steps), steps
    assert [] == [step for step in steps if step.startswith("SCAN") or "TEMP B-TREE" in step]


# The schema


def old_file(path, monkeypatch, steps):
    """A file as an older version left it, with one transaction in it."""
    with monkeypatch.context() as patched:
        patched.setattr(sqlite, "MIGRATIONS", sqlite.MIGRATIONS[:steps])
        repository = SqliteRepository(path)
        row = repository.add(draft(idempotency_key="old"))
        repository.close()
    return row


NEXT_STEPS = (
    ("ALTER TABLE mpesa_transactions ADD COLUMN shade TEXT", "UPDATE mpesa_transactions SET shade = 'green'"),
    ("CREATE INDEX mpesa_shade ON mpesa_transactions (shade)", "ALTER TABLE mpesa_callbacks ADD COLUMN hue TEXT"),
)


@pytest.mark.parametrize("steps", range(1, len(sqlite.MIGRATIONS) + 1))
def test_every_released_schema_is_brought_up_to_date(path, monkeypatch, steps):
    """A file of every earlier version opens with its rows, and has this version's schema afterwards."""
    row = old_file(path, monkeypatch, steps)
    repository = SqliteRepository(path)
    assert row == repository.find(Key.IDEMPOTENCY_KEY, "old")
    assert len(sqlite.MIGRATIONS) == pragma(repository, "user_version")
    repository.close()


@pytest.mark.parametrize("known", [1, 2], ids=["one step behind", "two steps behind"])
def test_steps_are_applied_in_order_and_once(path, monkeypatch, known):
    """A file gets exactly the steps that it lacks, keeps its rows, and nothing is done the next time."""
    future = (*sqlite.MIGRATIONS, *NEXT_STEPS)
    released = len(sqlite.MIGRATIONS)
    row = old_file(path, monkeypatch, released)
    monkeypatch.setattr(sqlite, "MIGRATIONS", future[: released + known])
    for _ in range(2):
        repository = SqliteRepository(path)
        connection = repository._handle().connection
        assert [("green",)] == connection.execute("SELECT shade FROM mpesa_transactions").fetchall()
        assert released + known == pragma(repository, "user_version")
        assert row == repository.get(row.id)
        repository.close()


def test_a_step_that_fails_leaves_the_file_as_it_was(path, monkeypatch):
    """All steps are one transaction: if the second one fails, the first one is undone and the version stays."""
    row = old_file(path, monkeypatch, len(sqlite.MIGRATIONS))
    with monkeypatch.context() as patched:
        patched.setattr(sqlite, "MIGRATIONS", (*sqlite.MIGRATIONS, NEXT_STEPS[0], ("NOT SQL",)))
        with pytest.raises(StorageUnavailable, match="syntax error"):
            SqliteRepository(path)
    repository = SqliteRepository(path)
    assert len(sqlite.MIGRATIONS) == pragma(repository, "user_version")
    assert row == repository.get(row.id)
    columns = [column[1] for column in repository._handle().connection.execute("PRAGMA table_info(mpesa_transactions)")]
    assert "shade" not in columns
    repository.close()


def test_a_newer_schema_is_refused(path, monkeypatch):
    """A file that a newer version made is not touched, and the error says what to upgrade."""
    with monkeypatch.context() as patched:
        patched.setattr(sqlite, "MIGRATIONS", (*sqlite.MIGRATIONS, *NEXT_STEPS))
        SqliteRepository(path).close()
    newer, known = len(sqlite.MIGRATIONS) + 2, len(sqlite.MIGRATIONS)
    with pytest.raises(ConfigurationError, match=rf"schema version {newer}, .* expected {known} or older.*Upgrade"):
        SqliteRepository(path)
    with sqlite3.connect(path) as connection:
        assert (newer,) == connection.execute("PRAGMA user_version").fetchone()
    connection.close()


@pytest.mark.parametrize("mark", ["PRAGMA user_version = 1", "PRAGMA application_id = 7"])
def test_another_programs_file_is_refused(path, mark):
    """A database that another program versions or marks as its own is left alone."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.execute(mark)
    connection.commit()
    connection.close()
    with pytest.raises(ConfigurationError, match="another program's database"):
        SqliteRepository(path)


def test_a_file_may_hold_the_hosts_own_tables(path):
    """A host's own unversioned file is shared, and its tables stay."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE orders (x)")
    connection.execute("INSERT INTO orders VALUES (1)")
    connection.commit()
    repository = SqliteRepository(path)
    repository.add(draft())
    assert [(1,)] == connection.execute("SELECT x FROM orders").fetchall()
    connection.close()
    repository.close()


# The connections


def test_a_thread_that_ends_closes_its_connection(repository):
    """A program that uses a new thread for each request does not gather connections."""
    repository.add(draft())

    def work():
        repository.due(Sweep.UNSENT, NOON, 1)

    for _ in range(50):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    gc.collect()
    assert 1 == len(repository._handles)


def test_each_thread_has_its_own_connection(repository):
    """No two threads share a connection."""
    both = threading.Barrier(4)
    seen = []

    def work():
        seen.append(id(repository._handle().connection))
        both.wait(10)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 4 == len(set(seen))


def test_closing_closes_for_all_threads(path):
    """After close every operation of every thread fails with a clear error, and the file can be removed."""
    repository = SqliteRepository(path)
    opened, closed = threading.Event(), threading.Event()
    errors = []

    def work():
        repository.add_callback(callback())
        opened.set()
        closed.wait(10)
        try:
            repository.add_callback(callback())
        except StorageUnavailable as error:
            errors.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    opened.wait(10)
    repository.close()
    closed.set()
    thread.join()
    with pytest.raises(StorageUnavailable, match="was closed"):
        repository.get(draft().id)
    assert "was closed" in errors[0]
    assert ["payments.sqlite3"] == [entry.name for entry in path.parent.iterdir()]
    repository.close()


def test_closing_while_others_work(path):
    """Closing waits for what each thread is doing: every operation either is done or says that it was closed."""
    repository = SqliteRepository(path, synchronous="OFF")
    done, problems = [], []
    started = threading.Barrier(5)

    def work():
        started.wait(10)
        while True:
            made = callback()
            try:
                repository.add_callback(made)
            except StorageUnavailable:
                return
            except BaseException as error:
                problems.append(error)
                return
            done.append(made.id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    started.wait(10)
    while len(done) < 50:
        pass
    repository.close()
    for thread in threads:
        thread.join(10)
    again = SqliteRepository(path)
    assert [] == problems
    assert [] == [row_id for row_id in done if again.get_callback(row_id) is None]
    again.close()


FORKS = """
import gc, os, sys, threading
from pathlib import Path
from tests.repository.rows_made import NOON, callback, draft
from mpesa_core.repository import SqliteRepository

path = sys.argv[1]
store = SqliteRepository(path)
row = store.add(draft())
parents = id(store._handle().connection)
ready, stop = threading.Event(), threading.Event()
elsewhere = threading.Thread(target=lambda: (store.get(row.id), ready.set(), stop.wait()))
elsewhere.start()  # its connection is inherited as well
ready.wait()

children = []
for number in range(4):
    child = os.fork()
    if child == 0:
        assert store.get(row.id) is not None
        assert id(store._handle().connection) != parents and store._handle().pid == os.getpid()
        for turn in range(25):
            store.add_callback(callback(error=f"{number}-{turn}"))
        gc.collect()
        store.close()
        sys.exit(0)  # not os._exit: the interpreter frees everything, and must not close the parent's connection
    children.append(child)
for turn in range(25):
    store.add_callback(callback(error=f"parent-{turn}"))
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
assert codes == [0] * 4, codes
assert Path(path + "-wal").exists(), "a child closed the parent's connection, and with it the log"
assert id(store._handle().connection) == parents
errors = {row.error for row in store.due_callbacks(NOON, 1000)}
assert len(errors) == 125, len(errors)
assert store._handle().connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
stop.set()
elsewhere.join()
store.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_never_uses_its_parents_connections(path):
    """Children of a fork work on the file with connections of their own, end, and do the parent's no harm."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", FORKS, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
    )
    assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.parametrize("with_ctypes", [True, False])
def test_a_childs_copy_of_a_connection_is_neither_closed_nor_freed(monkeypatch, with_ctypes):
    """A handle of another process goes, and its connection stays open for ever, also in a Python without ctypes."""
    if not with_ctypes:
        monkeypatch.setattr(sqlite, "ctypes", None)
    connection = sqlite3.connect(":memory:")
    handle = sqlite._Handle(connection)
    handle.pid = -1
    references = sys.getrefcount(connection)
    del handle
    gc.collect()
    assert references == sys.getrefcount(connection)  # one gone with the handle, one that nobody gives back
    assert (1,) == connection.execute("SELECT 1").fetchone()
    connection.close()
