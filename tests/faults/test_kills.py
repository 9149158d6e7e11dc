"""Processes that are really killed, and the four defects that the killing has to find."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import trials
from tests.faults.defects import DEFECTS

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system, nor SIGKILL"),
]
ROOT = Path(__file__).parents[2]


def kill(*arguments):
    """Run the command in a process of its own, which has no threads when it forks."""
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-m", "tests.faults.kills", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    return done


def test_nothing_is_lost_or_doubled_by_a_thousand_kills():
    """Killed at each step, stopped while a rival works, killed while recovering: every invariant holds afterwards."""
    done = kill("--kills", trials.scaled(1000), "--seed", trials.SEED)
    assert 0 == done.returncode, done.stdout + done.stderr
    places = set(re.findall(r"\d+ (?:before|after) (\w+)$", done.stdout, re.MULTILINE))
    operations = "add_callback get_callback change_callback due_callbacks open_callbacks add get find change due"
    signals = "callback_received payment_confirmed payout_completed payment_failed settlement_conflict"
    if trials.FACTOR >= 1:
        assert set() == {*operations.split(), *signals.split()} - places, "there are steps at which nobody was killed"


def test_nothing_is_lost_or_doubled_in_a_framework(on_sqlite):
    """The same through Django's and Flask's handlers, signals and repositories on SQLite."""
    done = kill("--kills", trials.scaled(60), "--seed", trials.SEED, "--place", on_sqlite)
    assert 0 == done.returncode, done.stdout + done.stderr


def test_nothing_is_lost_or_doubled_on_a_server(on_postgres):
    """And on PostgreSQL, where a receiver can lock its row from a second connection."""
    done = kill("--kills", trials.scaled(40), "--seed", trials.SEED + 1, "--place", on_postgres)
    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("window", ["settled", "announced"])
def test_a_signal_survives_its_announcer_in_a_framework(window, on_sqlite):
    """Between commit and signal, and between signal and mark."""
    done = kill("--kills", trials.scaled(8), "--window", window, "--seed", trials.SEED, "--place", on_sqlite)
    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("window", ["settled", "announced"])
def test_a_signal_survives_its_announcer_on_a_server(window, on_postgres):
    """The same with rows in PostgreSQL."""
    done = kill("--kills", trials.scaled(20), "--window", window, "--seed", trials.SEED, "--place", on_postgres)
    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("window", ["settled", "announced"])
def test_a_signal_survives_its_announcer(window):
    """Killed between commit and signal, and between signal and mark: announced by the sweep, once more at the most."""
    done = kill("--kills", trials.scaled(100), "--window", window, "--seed", trials.SEED)
    assert 0 == done.returncode, done.stdout + done.stderr


def test_kills_from_a_fresh_seed():
    """The same from a seed that was never tried; what fails names the trial."""
    done = kill("--kills", trials.scaled(50), "--seed", trials.fresh_seed())
    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_seeded_defect_is_found(defect):
    """Each of the four defects is found within 500 kills."""
    done = kill("--kills", 500, "--seed", trials.SEED, "--defect", defect)
    assert 1 == done.returncode, done.stdout + done.stderr
    found = re.search(r"found after (\d+) kills", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert 500 >= int(found[1])


def test_a_trial_can_be_run_again():
    """The command that a failure prints finds the same violation again."""
    done = kill("--kills", 500, "--seed", trials.SEED, "--defect", "no durable announcement")
    again = re.search(r"--trial (\S+)", done.stdout)
    assert again is not None
    repeated = kill("--trial", again[1], "--defect", "no durable announcement")
    assert 1 == repeated.returncode
    assert "I4 announced" in repeated.stdout
