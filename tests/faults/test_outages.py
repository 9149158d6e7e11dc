"""A PostgreSQL that crashes, ends connections, loses answers or is away, behind Django and behind Flask."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import trials

pytestmark = pytest.mark.faults
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", ["crash", "terminated", "cut", "down"])
def test_an_outage(kind, on_postgres):
    """Whatever the server does in the middle of a settlement, nothing acknowledged is lost and nothing happens twice."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    command = [sys.executable, "-m", "tests.faults.outages", "--place", on_postgres.partition(":")[0], "--kind", kind]
    times = ["--times", str(trials.scaled(4)), "--seed", str(trials.SEED)]
    done = subprocess.run([*command, *times], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    assert 0 < int(re.search(r"happened (\d+) times", done.stdout)[1])
