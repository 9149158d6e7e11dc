"""The checks, for every Python that is here: ``nox`` runs them all, ``nox -s tests-3.13`` one of them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["lint", "types", "tests", "core"]

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
CONSTRAINTS = ["-c", "constraints.txt"]
EXTRAS = ["celery", "click", "cryptography", "django", "flask", "rich", "sqlalchemy"]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All tests, with every extra."""
    session.install("-e", ".[dev]", *CONSTRAINTS)
    session.run("pytest", *session.posargs)


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
