"""The ground that everything stands on: layers, tested versions, and the run in which nothing is skipped."""

from __future__ import annotations

import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mpesa_core
from tests import trials

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_module_has_its_place_in_the_house():
    """A module that no layer names would be free to import anything."""
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    placed = {name.strip(" ()") for layer in layers for name in layer.split("|")}
    modules = {f"mpesa_core.{module.name}" for module in pkgutil.iter_modules(mpesa_core.__path__)}
    assert set() == modules - placed


def test_the_constraints_are_names_and_versions_and_nothing_else():
    """No address, no option, no path: where packages come from is the installer's business.

    Django's newest release wants a newer Python than its oldest that is supported, so the Python may be said.
    """
    form = re.compile(r'[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*(; python_version (<|>=) "3\.[0-9]+")?')
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [] == [line for line in lines if not form.fullmatch(line)]


def test_every_requirement_has_a_tested_version():
    """What the core and the extras of a checkout require is pinned to what was tested."""
    pinned = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [
        *PROJECT["project"]["dependencies"],
        *extras["cli"],
        *extras["initiator"],
        *extras["testing"],
        *extras["dev"],
    ]
    names = {re.split(r"[\[<>=]", requirement)[0].lower() for requirement in wanted}
    assert set() == names - pinned - {"mpesa-core"}


SKIPPERS = {
    "test_mark.py": "import pytest\n@pytest.mark.skipif(True, reason='because')\ndef test_it(): pass\n",
    "test_call.py": "import pytest\ndef test_it(): pytest.skip('because')\n",
    "test_fixture.py": "import pytest\n@pytest.fixture\ndef it(): pytest.skip('because')\ndef test_it(it): pass\n",
    "test_module.py": "import pytest\npytest.importorskip('no_such_module', reason='because')\n",
}


def run_pytest(file: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Pytest on one file, with the hooks of these tests."""
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-ra", str(file)]
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    environ = {**os.environ, "PYTHONPATH": path, **environ}
    return subprocess.run(
        command,
        cwd=file.parent,
        env=environ,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("name", SKIPPERS)
def test_a_skip_fails_where_nothing_may_be_skipped(name, tmp_path):
    """Continuous integration cannot pass by leaving a test out, however it is left out."""
    file = tmp_path / name
    file.write_text(SKIPPERS[name])
    run = run_pytest(file, MPESA_NO_SKIPS="1")
    assert run.returncode in {1, 2}, run.stdout
    assert "because" in run.stdout
    assert " skipped" not in run.stdout.splitlines()[-1]
    assert run_pytest(file).returncode in {0, 5}


def test_an_expected_failure_is_no_skip(tmp_path):
    """Pytest reports both in the same way."""
    file = tmp_path / "test_it.py"
    file.write_text("import pytest\n@pytest.mark.xfail\ndef test_it(): assert 0\n")
    assert run_pytest(file, MPESA_NO_SKIPS="1").returncode == 0


def test_trials_are_scaled_and_repeatable(tmp_path):
    """The number and the seed come from the environment, and do not stay in it for the commands that tests start."""
    file = tmp_path / "test_it.py"
    file.write_text(
        "import os\nfrom tests import trials\ndef test_it():\n"
        "    assert (30, 1, 7) == (trials.scaled(3), trials.scaled(0), trials.SEED)\n"
        "    assert trials.rng('a').random() == trials.rng('a').random() != trials.rng('b').random()\n"
        "    assert not [name for name in os.environ if name.startswith('MPESA_')]\n"
    )
    run = run_pytest(file, MPESA_TRIALS="10", MPESA_SEED="7", MPESA_NO_SKIPS="0")
    assert run.returncode == 0, run.stdout
    assert "MPESA_SEED=7" in run.stdout
    assert trials.scaled(1) >= 1
