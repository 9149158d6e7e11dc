"""Tests of the runners: jobs are hints, workers survive, and nothing keeps the interpreter alive."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from uuid import UUID

import pytest

from mpesa_core.tasks import InlineRunner, TaskRunner, ThreadRunner

PATIENCE = 20  # seconds until a test gives up; none of them waits that long unless it fails
SOURCE = str(Path(__file__).parent.parent / "src")


def ids(count):
    return [UUID(int=number) for number in range(1, count + 1)]


def new_threads(before):
    """The runners' threads that were not there before; other tests' threads may end at any time."""
    fresh = set(threading.enumerate()) - before
    return [thread.name for thread in fresh if thread.name.startswith(("mpesa-callbacks", "mpesa-sweep"))]


@pytest.fixture
def made():
    """Makes runners and stops them."""
    runners = []

    def make(*args, **kwargs):
        runners.append(ThreadRunner(*args, **kwargs))
        return runners[-1]

    yield make
    for runner in runners:
        runner.stop(wait=True, timeout=PATIENCE)


def test_nothing_runs_before_the_first_callback(made):
    """A runner that was only made has no thread; the first id starts it."""
    done = []
    before = set(threading.enumerate())
    runner = made(done.append)

    assert (False, []) == (runner.running, new_threads(before))
    assert runner.wait(0)

    runner.submit(UUID(int=1))

    assert runner.wait(PATIENCE)
    assert ([UUID(int=1)], True) == (done, runner.running)


def test_every_id_is_processed_once(made):
    """Five hundred ids from four threads each reach the process once."""
    done = []
    runner = made(done.append, workers=3)

    def submit(part):
        for each in part:
            runner.submit(each)

    threads = [threading.Thread(target=submit, args=(ids(500)[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert runner.wait(PATIENCE)
    assert ids(500) == sorted(done)


def test_workers_work_at_the_same_time(made):
    """Two slow callbacks do not wait for each other."""
    barrier = threading.Barrier(2, timeout=PATIENCE)
    met = []
    runner = made(lambda _id: met.append(barrier.wait()), workers=2)

    for each in ids(2):
        runner.submit(each)

    assert runner.wait(PATIENCE)
    assert [0, 1] == sorted(met)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, RecursionError])
def test_what_a_callback_raises_kills_no_worker_and_quotes_nothing(made, error, caplog):
    """The only worker goes on after any exception, and the log names class and place without the text."""
    caplog.set_level(logging.DEBUG)
    done = []

    def process(callback_id):
        if callback_id.int < 5:
            raise error("canary 254712345678")
        done.append(callback_id)

    runner = made(process, workers=1)
    for each in ids(5):
        runner.submit(each)

    assert runner.wait(PATIENCE)
    assert [UUID(int=5)] == done
    assert 4 == caplog.text.count(f"{error.__name__} at test_tasks.py")
    assert "canary" not in caplog.text
    assert "254712345678" not in caplog.text


def test_a_full_queue_drops_the_hint_and_returns_at_once(made):
    """The log is the queue of record, so whoever answers M-PESA never waits for room."""
    release, begun = threading.Event(), threading.Event()
    done = []

    def process(callback_id):
        begun.set()
        release.wait(PATIENCE)
        done.append(callback_id)

    runner = made(process, workers=1, capacity=2)
    runner.submit(UUID(int=1))
    assert begun.wait(PATIENCE)
    for each in ids(10)[1:]:
        runner.submit(each)
    release.set()

    assert runner.wait(PATIENCE)
    assert ids(3) == done


def test_a_sweep_runs_at_the_start_and_again_after_each_interval(made):
    """Recovery needs no callback to begin."""
    swept = threading.Semaphore(0)
    runner = made(lambda _id: None, sweep=swept.release, interval=0.01)

    assert not swept.acquire(timeout=0.05)
    runner.start()

    assert all(swept.acquire(timeout=PATIENCE) for _ in range(3))


def test_a_first_callback_starts_the_sweep_too(made):
    """Whoever receives also recovers."""
    swept = threading.Event()
    runner = made(lambda _id: None, sweep=swept.set, interval=1000)

    runner.submit(UUID(int=1))

    assert swept.wait(PATIENCE)


def test_a_sweep_that_fails_is_logged_and_tried_again(made, caplog):
    """An outage of the database does not end recovery, and its text does not reach the log."""
    tries = threading.Semaphore(0)

    def sweep():
        tries.release()
        raise ConnectionError("canary")

    runner = made(lambda _id: None, sweep=sweep, interval=0.01)
    runner.start()

    assert all(tries.acquire(timeout=PATIENCE) for _ in range(3))
    runner.stop()
    assert "ConnectionError at test_tasks.py" in caplog.text
    assert "canary" not in caplog.text


def test_stopping_finishes_what_was_submitted(made):
    """With wait, everything that was handed over is done, and the threads are gone."""
    done = []
    before = set(threading.enumerate())
    runner = made(done.append, workers=2, sweep=lambda: None)
    for each in ids(50):
        runner.submit(each)

    runner.stop(wait=True)

    assert (ids(50), False) == (sorted(done), runner.running)
    assert [] == new_threads(before)


def test_stopping_without_waiting_leaves_the_rest_to_the_sweep(made):
    """What waits is let go, and stop() does not wait for what is under way."""
    release, begun = threading.Event(), threading.Event()
    done = []

    def process(callback_id):
        begun.set()
        release.wait(PATIENCE)
        done.append(callback_id)

    runner = made(process, workers=1)
    for each in ids(5):
        runner.submit(each)
    assert begun.wait(PATIENCE)
    worker = next(thread for thread in threading.enumerate() if thread.name.startswith("mpesa-callbacks"))

    runner.stop(wait=False)
    release.set()
    worker.join(PATIENCE)

    assert ids(1) == done


def test_a_stopped_runner_lets_ids_go_until_it_is_started_again(made):
    """Stopping is final for submit(), and start() undoes it."""
    done = []
    runner = made(done.append)
    runner.stop()
    runner.submit(UUID(int=1))

    assert (True, [], False) == (runner.wait(0), done, runner.running)

    runner.start()
    runner.submit(UUID(int=2))

    assert runner.wait(PATIENCE)
    assert [UUID(int=2)] == done


def test_a_callback_may_stop_its_own_runner(made):
    """A worker does not wait for itself."""
    stopped = threading.Event()

    def process(_callback_id):
        runner.stop(wait=True)
        stopped.set()

    runner = made(process, workers=1)
    runner.submit(UUID(int=1))

    assert stopped.wait(PATIENCE)


def test_without_threads_to_be_had_the_hint_is_dropped(made, monkeypatch, caplog):
    """At interpreter shutdown no thread can be started: the sweep of another process has the callback."""

    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    runner = made(lambda _id: None)

    runner.submit(UUID(int=1))

    assert not runner.running
    assert "left to the next sweep" in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_threads_start_again_in_a_forked_child():
    """A prefork server makes the runner in the parent: the child works and sweeps by itself, even forked while a lock was held."""
    program = """
import os, sys, threading
from uuid import UUID
from mpesa_core.tasks import ThreadRunner
done, swept = [], threading.Event()
def process(callback_id):
    done.append((os.getpid(), callback_id.int))
runner = ThreadRunner(process, sweep=swept.set, interval=1000)
runner.submit(UUID(int=1)); assert runner.wait(20)
lock = runner._lock(); lock.acquire()
child = os.fork()
if child == 0:
    swept.clear()
    assert not runner.running
    assert runner.wait(0)
    runner.submit(UUID(int=2))
    ok = runner.wait(20) and swept.wait(20) and done[-1] == (os.getpid(), 2)
    runner.stop(wait=True, timeout=20)
    os._exit(0 if ok else 1)
lock.release()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
runner.submit(UUID(int=3)); assert runner.wait(20) and done[-1] == (os.getpid(), 3)
print("fine")
"""
    assert "fine\n" == run(program)


def run(program):
    """The standard output of a program that ends by itself."""
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": SOURCE},
    )  # fmt: skip
    assert (0, "") == (finished.returncode, finished.stderr)
    return finished.stdout


def test_the_interpreters_exit_finishes_what_was_submitted():
    """A script that ends right after submitting has its callbacks processed."""
    program = """
from uuid import UUID
from mpesa_core.tasks import ThreadRunner
runner = ThreadRunner(lambda callback_id: print(callback_id.int), workers=1)
for number in range(5):
    runner.submit(UUID(int=number))
"""
    assert "0\n1\n2\n3\n4\n" == run(program)


def test_the_interpreters_exit_lets_go_of_what_hangs():
    """A receiver that never returns does not keep the process alive."""
    program = """
import threading
from uuid import UUID
import mpesa_core.tasks as tasks
tasks._EXIT_PATIENCE = 0.1
begun = threading.Event()
def hang(callback_id):
    begun.set()
    threading.Event().wait()
runner = tasks.ThreadRunner(hang, workers=1)
runner.submit(UUID(int=1))
begun.wait(20)
print("end")
"""
    assert "end\n" == run(program)


def test_a_runner_that_is_let_go_is_not_kept_by_its_exit_hook():
    """Making runners does not leak them."""
    import gc
    import weakref

    reference = weakref.ref(ThreadRunner(print))
    gc.collect()

    assert reference() is None


# --- inline


def test_an_inline_callback_is_processed_when_the_response_was_handed_over():
    """submit() only remembers; what it returns does the work, once."""
    done = []
    runner = InlineRunner(done.append)

    after = runner.submit(UUID(int=1))

    assert [] == done
    after()
    after()
    assert [UUID(int=1)] == done
    assert 0 == runner.drain()


def test_one_response_does_not_run_anothers_callback():
    """In a server with threads each response processes what belongs to it."""
    done = []
    runner = InlineRunner(done.append)
    first, second = runner.submit(UUID(int=1)), runner.submit(UUID(int=2))

    second()
    assert [UUID(int=2)] == done
    first()
    assert [UUID(int=2), UUID(int=1)] == done


def test_a_script_drains_what_it_submitted_in_order():
    """drain() processes everything, also what is submitted meanwhile, and says how many."""
    done = []

    def process(callback_id):
        done.append(callback_id)
        if callback_id.int == 1:
            runner.submit(UUID(int=9))

    runner = InlineRunner(process)
    afters = [runner.submit(each) for each in ids(3)]

    assert 4 == runner.drain()
    for after in afters:
        after()
    assert [*ids(3), UUID(int=9)] == done


def test_what_an_inline_callback_raises_goes_no_further(caplog):
    """Nobody waits for an answer any more: it is logged without its text, and the rest goes on."""
    done = []

    def process(callback_id):
        if callback_id.int == 1:
            raise ValueError("canary")
        done.append(callback_id)

    runner = InlineRunner(process)
    runner.submit(UUID(int=1))()
    runner.submit(UUID(int=1))
    runner.submit(UUID(int=2))
    runner.drain()

    assert [UUID(int=2)] == done
    assert "ValueError at test_tasks.py" in caplog.text
    assert "canary" not in caplog.text


def test_an_inline_script_can_be_interrupted():
    """Ctrl-C is the user's and is not swallowed."""

    def process(_callback_id):
        raise KeyboardInterrupt

    runner = InlineRunner(process)
    runner.submit(UUID(int=1))

    with pytest.raises(KeyboardInterrupt):
        runner.drain()


def test_an_adapter_that_never_comes_back_fills_no_memory():
    """Beyond the capacity the oldest are left to the sweep."""
    done = []
    runner = InlineRunner(done.append, capacity=3)
    for each in ids(10):
        runner.submit(each)

    assert 3 == runner.drain()
    assert ids(10)[-3:] == done


@pytest.mark.parametrize(("wait", "expected"), [(True, ids(2)), (False, [])])
def test_stopping_an_inline_runner_processes_or_leaves_what_is_left(wait, expected):
    """The same choice as for threads."""
    done = []
    runner = InlineRunner(done.append)
    runner.start()
    for each in ids(2):
        runner.submit(each)

    runner.stop(wait=wait)
    runner.drain()

    assert expected == done


def test_both_runners_are_task_runners():
    """They have what the gateway calls, under the same names."""
    runners: list[TaskRunner] = [ThreadRunner(print), InlineRunner(print)]

    assert all(callable(getattr(runner, name)) for runner in runners for name in ("submit", "start", "stop"))
