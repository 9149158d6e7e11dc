"""What happens to the SQLite repository when the disk is full, the file cannot be written, others hold it, or it is killed.

The row numbers are those of the project's table of faults. The storm of row 24 makes 100,000 writes with MPESA_TRIALS=50.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from uuid import UUID

import pytest

from mpesa_core.errors import StorageBusy, StorageUnavailable
from mpesa_core.payments.records import Key, Status, Sweep
from mpesa_core.repository import SqliteRepository, sqlite
from tests.repository.rows_made import NOON, callback, draft
from tests.trials import scaled

ROOT = Path(__file__).resolve().parents[2]
TRIALS = scaled(2000)

pytestmark = pytest.mark.faults
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX")


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


def python(program, *arguments, **options):
    """A process of its own, running that program."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
        **options,
    )


# Row 22: the disk is full, or nothing can be written


def test_a_full_database_keeps_all_that_it_took(repository, path):
    """What was acknowledged before the file was full is there, what was refused is not, and rows can be read throughout."""
    repository._handle().connection.execute("PRAGMA max_page_count = 60")
    kept = []
    made = callback(raw_bytes=os.urandom(5000))

    def fill():
        nonlocal made
        for _ in range(1000):
            made = callback(raw_bytes=os.urandom(5000))
            repository.add_callback(made)
            kept.append(made)

    with pytest.raises(StorageUnavailable, match="SQLITE_FULL"):
        fill()
    assert 10 < len(kept) < 1000
    assert repository.get_callback(made.id) is None
    assert [one.raw_bytes for one in kept] == [repository.get_callback(one.id).raw_bytes for one in kept]
    repository.add_callback(made)  # a new connection has no such limit: there is room again
    other = SqliteRepository(path)
    assert made.raw_bytes == other.get_callback(made.id).raw_bytes
    other.close()


def test_a_change_that_finds_no_room_changes_nothing(repository):
    """A transaction whose change does not fit stays as it was, version and all."""
    row = repository.add(draft())
    connection = repository._handle().connection
    connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
    with pytest.raises(StorageUnavailable):
        repository.change(row.id, 1, {"status": Status.SUCCESS, "result_desc": "x" * 500_000})
    assert row == repository.get(row.id)


FULL_DISK = """
import resource, sys
from tests.repository.rows_made import callback
from mpesa_core.errors import StorageUnavailable
from mpesa_core.repository import SqliteRepository
store = SqliteRepository(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
for number in range(500):
    made = callback(raw_bytes=bytes([number % 256]) * 4000)
    try:
        store.add_callback(made)
    except StorageUnavailable as error:
        print("refused", made.id, flush=True)
        break
    print("kept", made.id, number, flush=True)
"""


@posix
def test_writes_that_the_system_refuses_lose_nothing(path):
    """Where the operating system refuses to let the file grow, all that was acknowledged is there, byte for byte."""
    out, err = python(FULL_DISK, path).communicate(timeout=60)
    lines = [line.split() for line in out.splitlines()]
    assert ("", "refused") == (err, lines[-1][0])
    repository = SqliteRepository(path)
    kept = {UUID(line[1]): bytes([int(line[2]) % 256]) * 4000 for line in lines[:-1]}
    assert len(kept) > 10
    assert kept == {row_id: repository.get_callback(row_id).raw_bytes for row_id in kept}
    assert repository.get_callback(UUID(lines[-1][1])) is None
    repository.close()


READ_ONLY = """
import os, sys
from tests.repository.rows_made import callback, draft
from mpesa_core.errors import StorageUnavailable
from mpesa_core.repository import SqliteRepository
if os.getuid() == 0:  # the superuser may write everywhere
    os.setgid(65534)
    os.setuid(65534)
try:
    store = SqliteRepository(sys.argv[1])
    store.add_callback(callback())
except StorageUnavailable as error:
    print("refused")
"""


@posix
@pytest.mark.parametrize("what", ["file", "directory"])
def test_a_file_that_may_not_be_written(what):
    """A read-only file, or a directory in which nothing can be made, is StorageUnavailable and no acknowledgement."""
    with tempfile.TemporaryDirectory() as folder:  # tmp_path is inside a directory that its owner alone may enter
        path = Path(folder, "payments.sqlite3")
        repository = SqliteRepository(path)
        row = repository.add(draft())
        repository.close()
        path.parent.chmod(0o777 if what == "file" else 0o555)
        path.chmod(0o444)
        out, err = python(READ_ONLY, path).communicate(timeout=60)
        assert ("refused\n", "") == (out, err)
        path.parent.chmod(0o755)
        path.chmod(0o644)
        again = SqliteRepository(path)
        assert row == again.get(row.id)
        assert [] == list(again.due_callbacks(NOON, 10))
        again.close()


def test_a_connection_that_may_only_read(repository):
    """SQLITE_READONLY is StorageUnavailable; the next operation has a new connection and works."""
    row = repository.add(draft())
    repository._handle().connection.execute("PRAGMA query_only = ON")
    with pytest.raises(StorageUnavailable, match="READONLY"):
        repository.change(row.id, 1, {"checks": 1})
    assert 2 == repository.change(row.id, 1, {"checks": 1}).version


def test_no_such_directory(tmp_path):
    """A file that cannot be opened is StorageUnavailable, and says which."""
    with pytest.raises(StorageUnavailable, match=r"nowhere.*CANTOPEN"):
        SqliteRepository(tmp_path / "nowhere" / "p.sqlite3")


def test_a_file_that_is_no_database(path):
    """Another file is not overwritten."""
    path.write_bytes(b"these are the accounts of 2019 " * 100)
    with pytest.raises(StorageUnavailable, match="NOTADB"):
        SqliteRepository(path)
    assert path.read_bytes().startswith(b"these are the accounts")


def test_a_damaged_file(repository, path):
    """Damage is StorageUnavailable and never a wrong row; once the file is whole again the same repository goes on."""
    row = repository.add(draft())
    repository._handle().connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.with_suffix(".whole")
    shutil.copy(path, whole)
    repository._discard()
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * (path.stat().st_size - 100))
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            repository.get(row.id)
    path.write_bytes(whole.read_bytes())
    assert row == repository.get(row.id)


# Row 23: locks


@pytest.fixture
def holder(path, repository):
    """A connection of another program that holds the write lock."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


@pytest.mark.parametrize(
    "work",
    [
        lambda store, row: store.add(draft()),
        lambda store, row: store.change(row.id, 1, {"checks": 1}),
        lambda store, row: store.add_callback(callback()),
        lambda store, row: store.change_callback(row.id, None, {"attempts": 1}),
    ],
    ids=["add", "change", "add_callback", "change_callback"],
)
def test_a_lock_that_outlasts_the_timeout(path, repository, work):
    """Each write is StorageBusy after the timeout, has changed nothing, and can be repeated; reads do not wait."""
    row = repository.add(draft())
    impatient = SqliteRepository(path, busy_timeout=0.05)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    before = time.monotonic()
    for _ in range(2):
        with pytest.raises(StorageBusy, match="repeat it"):
            work(impatient, row)
    assert 0.05 <= time.monotonic() - before < 25
    assert row == impatient.get(row.id)
    assert 1 == len(impatient.candidates("600000", row.amount, None))
    holder.execute("ROLLBACK")
    holder.close()
    work(impatient, row)
    impatient.close()


def test_a_lock_that_is_let_go_in_time(path, repository, holder):
    """A write waits for another program's transaction and then goes through."""
    timer = threading.Timer(0.2, holder.execute, ["ROLLBACK"])
    timer.start()
    row = repository.add(draft(idempotency_key="k"))
    timer.join()
    assert row == repository.find(Key.IDEMPOTENCY_KEY, "k")


@pytest.mark.parametrize("timeout", [0.003, 0.5, 30.0])
def test_waiting_ends_with_the_timeout(monkeypatch, timeout):
    """All sleeps together are as long as the timeout, and who has waited for a while tries more often than at first."""
    sleeps = []
    monkeypatch.setattr(sqlite.time, "monotonic", lambda: sum(sleeps))
    monkeypatch.setattr(sqlite.time, "sleep", sleeps.append)
    turn = sqlite._Turn(timeout)
    while turn.comes():
        pass
    assert pytest.approx(timeout) == sum(sleeps)
    assert max(sleeps) <= 0.008
    assert timeout < 0.1 or len(sleeps) > 100


def test_opening_while_another_program_writes(path, repository, holder):
    """Opening a file whose schema is up to date needs no lock."""
    other = SqliteRepository(path, busy_timeout=0)
    assert other.get(draft().id) is None
    other.close()


class Refusing:
    """A connection whose statements fail with one of SQLite's codes, until it is mended."""

    def __init__(self, connection, code, when):
        self.connection, self.code, self.when = connection, code, when

    def __getattr__(self, name):
        return getattr(self.connection, name)

    def execute(self, sql, *parameters):
        if self.code and sql.startswith(self.when):
            error = sqlite3.OperationalError("injected")
            error.sqlite_errorcode, error.sqlite_errorname = self.code, f"CODE_{self.code}"
            self.code = 0
            raise error
        return self.connection.execute(sql, *parameters)


def change_alone(repository, row):
    """A change that is a statement by itself."""
    return repository.change(row.id, 1, {"checks": 1})


def change_in_a_batch(repository, row):
    """The same between BEGIN and COMMIT."""
    return repository.batch([("change", (row.id, 1, {"checks": 1}))])[0]


REFUSED = [
    (change_alone, "UPDATE"),
    (change_in_a_batch, "BEGIN"),
    (change_in_a_batch, "UPDATE"),
    (change_in_a_batch, "COMMIT"),
]
BUSY = [
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_BUSY_SNAPSHOT,
    sqlite3.SQLITE_BUSY_RECOVERY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PROTOCOL,
]


@pytest.mark.parametrize(("change", "when"), REFUSED)
@pytest.mark.parametrize("code", BUSY)
def test_a_refusal_that_is_over_in_time(repository, change, when, code):
    """A lock that is met at any statement of a write is waited for: the write goes through, once."""
    row = repository.add(draft())
    handle = repository._handle()
    handle.connection = Refusing(handle.connection, code, when)
    assert (2, 1) == ((changed := change(repository, row)).version, changed.checks)
    assert changed == repository.get(row.id)


@pytest.mark.parametrize(("change", "when"), REFUSED)
@pytest.mark.parametrize(
    ("code", "error"),
    [
        *((code, StorageBusy) for code in BUSY),
        (sqlite3.SQLITE_FULL, StorageUnavailable),
        (sqlite3.SQLITE_READONLY, StorageUnavailable),
        (sqlite3.SQLITE_IOERR_FSYNC, StorageUnavailable),
        (sqlite3.SQLITE_IOERR_WRITE, StorageUnavailable),
        (sqlite3.SQLITE_CANTOPEN, StorageUnavailable),
        (sqlite3.SQLITE_CORRUPT, StorageUnavailable),
        (sqlite3.SQLITE_NOTADB, StorageUnavailable),
        (sqlite3.SQLITE_NOMEM, StorageUnavailable),
        (sqlite3.SQLITE_INTERRUPT, StorageUnavailable),
    ],
)
def test_each_of_sqlites_refusals(repository, change, when, code, error):
    """A refusal at any statement of a write is the right error, leaves the row as it was, and can be repeated."""
    repository._busy_timeout = 0
    row = repository.add(draft())
    handle = repository._handle()
    handle.connection = Refusing(handle.connection, code, when)
    with pytest.raises(error):
        change(repository, row)
    assert row == repository.get(row.id)
    assert 2 == change(repository, row).version


# Row 24: many writers

STORM = """
import sys
from tests.repository.rows_made import NOON, callback, draft
from mpesa_core.repository import SqliteRepository
path, writes, row_id = sys.argv[1], int(sys.argv[2]), sys.argv[3]
from uuid import UUID
store = SqliteRepository(path)
sys.stdin.readline()
won = done = 0
while done < writes:
    store.add_callback(callback())
    row = store.get(UUID(row_id))
    if store.change(row.id, row.version, {"checks": row.checks + 1}) is not None:
        won += 1
    done += 2
print(done, won)
"""


def test_eight_processes_write_without_one_locked_error(path):
    """Eight processes that open a new file together and write as fast as they can never meet a lock, and lose nothing."""
    first = draft()
    each = max(TRIALS // 8, 2)
    processes = [python(STORM, path, each, first.id, stdin=subprocess.PIPE) for _ in range(8)]
    store = SqliteRepository(path)
    store.add(first)
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    results = [process.communicate(timeout=600) for process in processes]
    assert [""] * 8 == [err for _, err in results]
    done, won = (sum(int(out.split()[index]) for out, _ in results) for index in (0, 1))
    row = store.get(first.id)
    assert (won, won + 1) == (row.checks, row.version)
    assert done // 2 == len(store.due_callbacks(NOON, done))
    store.close()


def test_many_open_a_new_file_together(tmp_path):
    """The schema is made once, and nobody fails while it is being made."""
    together = threading.Barrier(8)
    problems = []

    def open_it(path):
        together.wait(10)
        try:
            SqliteRepository(path).close()
        except BaseException as error:
            problems.append(error)

    for turn in range(8):
        threads = [threading.Thread(target=open_it, args=(tmp_path / f"{turn}.sqlite3",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [] == problems


@pytest.mark.parametrize("patience", [5.0, 0.0])
def test_a_lock_while_the_file_is_put_into_wal_mode(path, monkeypatch, patience):
    """A lock at that moment, for which SQLite does not wait by itself, is waited for as long as for any other."""
    codes = [sqlite3.SQLITE_BUSY]
    real = sqlite3.connect

    def connect(*arguments, **options):
        connection = real(*arguments, **options)
        return Refusing(connection, codes.pop(), "PRAGMA journal_mode =") if codes else connection

    monkeypatch.setattr(sqlite3, "connect", connect)
    with pytest.raises(StorageBusy, match="injected") if not patience else contextlib.nullcontext():
        SqliteRepository(path, busy_timeout=patience).close()
    monkeypatch.undo()
    connection = sqlite3.connect(path)
    assert ("wal" if patience else "delete",) == connection.execute("PRAGMA journal_mode").fetchone()
    connection.close()
    assert [] == codes


def test_many_processes_open_a_new_file_together(path):
    """What holds between threads holds between processes."""
    program = "import sys; from mpesa_core.repository import SqliteRepository; sys.stdin.readline(); SqliteRepository(sys.argv[1])"
    processes = [python(program, path, stdin=subprocess.PIPE) for _ in range(8)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [("", "")] * 8 == [process.communicate(timeout=60) for process in processes]


# Killed

WRITER = """
import sys
from tests.repository.rows_made import NOON, callback, draft
from mpesa_core.payments.records import Status
from mpesa_core.repository import SqliteRepository
store = SqliteRepository(sys.argv[1])
number = 0
while True:
    made = callback(raw_bytes=str(number).encode() * 200)
    store.add_callback(made)
    row = store.add(draft(idempotency_key=str(made.id)))
    store.change(row.id, 1, {"status": Status.SUCCESS, "announce_until": NOON, "mpesa_receipt_number": str(row.id)})
    print(number, made.id, row.id, flush=True)
    number += 1
"""


@posix
def test_a_killed_writer_loses_nothing_that_it_was_told_was_done(path):
    """After SIGKILL at any moment every acknowledged operation is there whole, and the file is sound."""
    acknowledged = []
    for turn in range(max(3, min(TRIALS // 500, 50))):
        process = python(WRITER, path)
        lines = [process.stdout.readline() for _ in range(20 + turn * 7)]
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate(timeout=60)
        complete = [line.split() for line in [*lines, *rest.splitlines(keepends=True)] if line.endswith("\n")]
        acknowledged += complete
        store = SqliteRepository(path)
        assert ("ok",) == store._handle().connection.execute("PRAGMA integrity_check").fetchone()
        for number, callback_id, row_id in complete:
            assert number.encode() * 200 == store.get_callback(UUID(callback_id)).raw_bytes
            row = store.get(UUID(row_id))
            assert (Status.SUCCESS, 2, row_id, NOON) == (
                row.status,
                row.version,
                row.mpesa_receipt_number,
                row.announce_until,
            )
        store.add(draft())
        store.close()
    store = SqliteRepository(path)
    fenced = store.due(Sweep.UNANNOUNCED, NOON, 100_000)
    assert {UUID(row_id) for _, _, row_id in acknowledged} <= {row.id for row in fenced}
    store.close()


HOLDER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE mpesa_transactions SET status = 'SUCCESS', version = version + 1")
print("held", flush=True)
time.sleep(60)
"""


@posix
def test_one_that_is_killed_in_the_middle_of_a_write_holds_nothing(path, repository):
    """The lock goes with the process, and so does its half of a write."""
    row = repository.add(draft())
    process = python(HOLDER, path)
    assert "held\n" == process.stdout.readline()
    process.kill()
    process.communicate(timeout=10)
    changed = repository.change(row.id, 1, {"status": Status.FAILED})
    assert (2, Status.FAILED) == (changed.version, changed.status)


@posix
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 warns of what is tried here
def test_a_child_forked_while_another_thread_writes_can_write(path):
    """SQLite's own locks of the parent's other threads do not stay locked in a child for ever."""
    store = SqliteRepository(path, synchronous="OFF", busy_timeout=1)
    row = store.add(draft())
    stop = threading.Event()

    def keep_writing():
        while not stop.is_set():
            store.change(row.id, store.get(row.id).version, {"checks": 1})

    writer = threading.Thread(target=keep_writing)
    writer.start()
    children = []
    for _ in range(8):
        reader, go = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            with contextlib.suppress(BaseException):
                signal.alarm(20)
                os.read(reader, 1)  # until the parent is quiet, so that nobody else holds the file
                status = 0 if store.change(row.id, store.get(row.id).version, {"checks": 2}) else 2
            os._exit(status)
        os.close(reader)
        children.append((child, go))
        time.sleep(0.005)
    stop.set()
    writer.join()
    ends = []
    for child, go in children:
        os.write(go, b"x")
        os.close(go)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    store.close()
    assert [0] * 8 == ends
