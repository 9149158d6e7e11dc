"""The checks, for every Python that is here: ``nox`` runs them all, ``nox -s tests-3.13`` one of them."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["lint", "types", "tests", "core", "django"]

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
CONSTRAINTS = ["-c", "constraints.txt"]
EXTRAS = ["celery", "click", "cryptography", "django", "flask", "rich", "sqlalchemy"]
TOUCHING_DJANGO = ["tests/django", "tests/end_to_end", "tests/test_fronts.py"]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All tests, with every extra."""
    session.install("-e", ".[dev]", *CONSTRAINTS)
    session.run("pytest", *session.posargs)


def newer_python() -> str:
    """A Python for the newest Django, which wants 3.12: on the path, or pyenv's, whose shims may lead nowhere."""
    found = [shutil.which(f"python{version}") for version in reversed(PYTHONS[1:])]
    kept = [str(path) for path in Path.home().glob(".pyenv/versions/3.*/bin/python")]
    for python in filter(None, [*found, *sorted(kept, reverse=True)]):
        asked = [python, "-c", "import sqlite3, ssl, sys, venv; sys.exit(sys.version_info < (3, 12))"]
        if subprocess.run(asked, capture_output=True, check=False).returncode == 0:  # noqa: S603 - a Python of this machine's
            return python
    return PYTHONS[1]


@nox.session
@nox.parametrize("python,release", [(None, "~=5.2.0"), (newer_python(), ">=6")], ids=["5.2", "newest"])
def django(session: nox.Session, release: str) -> None:
    """What touches Django, on the oldest release that is supported and on the newest."""
    session.install("-e", ".[dev]", *CONSTRAINTS)
    session.install(f"django{release}")
    session.run("python", "-m", "django", "version")
    session.run("pytest", "-q", "-k", "django or fronts", *TOUCHING_DJANGO, *session.posargs)


@nox.session(python=PYTHONS[0])
def core(session: nox.Session) -> None:
    """The wheel's core alone: what it holds, and its tests where no extra but ``testing`` is installed."""
    with tempfile.TemporaryDirectory() as folder:
        session.run("python", "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ".")
        wheel = next(Path(folder).glob("*.whl"))
        session.run("python", ".ci/wheel_contents.py", str(wheel))
        session.install(f"{wheel}[testing]", *CONSTRAINTS)
    session.run("python", ".ci/core_alone.py", *EXTRAS)
    session.run("pytest", "-m", "not faults", *session.posargs)


@nox.session(python=PYTHONS[0])
def lint(session: nox.Session) -> None:
    """Style, formatting, and the direction of imports."""
    session.install("-e", ".[dev]", *CONSTRAINTS)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")


@nox.session(python=PYTHONS[0])
def types(session: nox.Session) -> None:
    """Two type checkers: users have either."""
    session.install("-e", ".[dev]", *CONSTRAINTS)
    session.run("mypy")
    session.run("pyright")


@nox.session(python=PYTHONS[0])
def bench(session: nox.Session) -> None:
    """Speed against a floor on the bare driver: ``nox -s bench -- --quick`` for a glance, or with names of rows."""
    session.install("-e", ".[dev]", *CONSTRAINTS)
    session.run("python", "-m", "benchmarks", *session.posargs)
