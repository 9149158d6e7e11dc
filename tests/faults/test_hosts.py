"""Hosts that harm themselves, with Django and with Flask, on SQLite and on PostgreSQL: payments do not suffer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.hosts import TROUBLES

pytestmark = pytest.mark.faults
ROOT = Path(__file__).parents[2]


def found(place):
    """What does not hold there, by the name of the trouble."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    command = [sys.executable, "-m", "tests.faults.hosts", "--place", place]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


def test_on_sqlite(on_sqlite):
    """Receivers that break their SQL or hang, a full disk, a lock, hostile requests: every promise is kept."""
    left_out = {"rolled back"} if on_sqlite == "flask" else set()
    assert {name: [] for name in set(TROUBLES) - left_out} == found(on_sqlite)


def test_on_a_server(on_postgres):
    """The same on PostgreSQL, with a host's own transaction around a settlement, which it rolls back."""
    assert {name: [] for name in TROUBLES} == found(on_postgres)
