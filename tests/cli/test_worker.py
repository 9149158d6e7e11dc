"""``mpesa worker`` as a process of its own, beside one that is killed; and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from mpesa_core.cli import upkeep
from mpesa_core.cli.stopping import Stop
from mpesa_core.gateway import Gateway
from mpesa_core.payments.records import Status
from mpesa_core.settlement.reconciliation import Reconciled
from mpesa_core.settlement.recovery import Recovered
from tests.cli.conftest import ended, environment

PROGRAM = """
from pathlib import Path
from mpesa_core import Gateway, Settings, SqliteRepository, signals

@signals.payment_confirmed.connect
def tell(sender, transaction, **more):
    with Path("heard").open("a") as heard:
        print(transaction.account_reference, file=heard)

gateway = Gateway(Settings(announce_lease=0.5, sweep_interval=0.1), SqliteRepository("payments.sqlite3"), runner="inline")
"""
KILLED = """
import os, signal, sys
from uuid import UUID
from mpesa_core import Gateway, Settings, SqliteRepository, signals

@signals.payment_confirmed.connect
def die(sender, **more):
    os.kill(os.getpid(), signal.SIGKILL)

Gateway(Settings(announce_lease=0.5), SqliteRepository("payments.sqlite3"), runner="inline").process(UUID(sys.argv[1]))
"""
_PATIENCE = 20.0


def until(reached):
    """Wait until something is so, but not for ever."""
    end = time.monotonic() + _PATIENCE
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_worker_announces_what_a_killed_process_settled(stored, start, tmp_path):
    """One process settles and dies in its first receiver; the worker announces it once, and ends on SIGTERM."""
    row, callback = stored.payment(), stored.callback()
    (tmp_path / "shop.py").write_text(PROGRAM)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(callback)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    left = stored.row(row.id)
    assert (-signal.SIGKILL, Status.SUCCESS, True) == (killed.returncode, left.status, left.idempotency_locked)

    worker = start("worker", MPESA_GATEWAY="shop:gateway")
    until(lambda: stored.row(row.id).announce_until is None)
    told = ended(worker, signal.SIGTERM)

    assert 0 == worker.returncode
    assert "INV-1\n" == (tmp_path / "heard").read_text()
    assert "Sweeping shop:gateway every 0.1 seconds" in told
    assert "0 callbacks processed, 1 announced late" in told
    assert told.endswith("Stopped.\n")


def test_a_worker_ends_on_interrupt(stored, start):
    """Ctrl-C, while it waits for the next sweep."""
    worker = start("worker", "--database", stored.path, "--unheard", "--interval", "60")
    assert "every 60 seconds" in worker.stdout.readline()
    told = ended(worker, signal.SIGINT)
    assert (0, "Stopped.\n") == (worker.returncode, told)


def test_a_sweep_that_fails_does_not_end_the_worker(mpesa, stored, heard, monkeypatch):
    """It is told on standard error without what it was about, and the next sweep goes on."""
    sweeps = [RuntimeError("for 254708374149"), (Recovered(), Reconciled()), (Recovered(callbacks=3), Reconciled())]

    def sweep(_gateway):
        result = sweeps.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(Gateway, "sweep", sweep)
    monkeypatch.setattr(upkeep.Stop, "wait", lambda _self, seconds: [0.5][seconds != 0.5] and not sweeps)
    done = mpesa("worker", "--database", stored.path, "--interval", "0.5")
    assert 0 == done.exit_code
    assert "A sweep failed and will be tried again: RuntimeError at" in done.stderr
    assert "254708374149" not in done.output
    lines = done.stdout.splitlines()
    assert 3 == len(lines)
    assert lines[1].endswith(
        "  3 callbacks processed, 0 announced late, 0 never sent; 0 asked about, 0 settled, 0 timed out"
    )


def test_a_sweep_that_fails_once_is_a_failure(mpesa, tmp_path, heard):
    """With --once the exit status tells a supervisor."""
    done = mpesa("worker", "--once", "--database", tmp_path / "missing" / "payments.sqlite3")
    assert 1 == done.exit_code
    assert "payments.sqlite3" in done.stderr


def test_the_second_signal_does_what_the_first_would_have_done_by_itself():
    """Whoever sends it twice does not want to wait for what is under way; afterwards all is as it was."""
    came = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: came.append(number))
    try:
        ours = signal.getsignal(signal.SIGTERM)
        with Stop() as stop:
            assert not stop.wait(0.01)
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.wait(_PATIENCE)
            assert [] == came
            os.kill(os.getpid(), signal.SIGTERM)
            assert [signal.SIGTERM] == came
        assert ours is signal.getsignal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
