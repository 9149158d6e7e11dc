"""Flask-Migrate on the mixins: the first migration is whole and runs, and a second has nothing to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

for _needed in ("flask_migrate", "flask_sqlalchemy"):
    pytest.importorskip(_needed, reason="Flask-Migrate is not installed: pip install 'mpesa-core[dev]'")

URLS = {
    "sqlite": lambda request: f"sqlite:///{request.getfixturevalue('tmp_path') / 'shop.db'}",
    "postgres": lambda request: (
        f"postgresql+psycopg://mpesa@127.0.0.1:{request.getfixturevalue('postgres').port}/"
        f"{request.getfixturevalue('postgres_database')}"
    ),
    "mariadb": lambda request: (
        f"mysql+pymysql://mpesa@127.0.0.1:{request.getfixturevalue('mariadb').port}/"
        f"{request.getfixturevalue('mariadb_database')}?charset=utf8mb4"
    ),
}


@pytest.mark.parametrize("database", URLS)
def test_a_second_migration_finds_nothing(request, tmp_path, database):
    """A migration from the host's classes and the default ones makes tables that hold rows, and nothing is left over."""
    program = Path(__file__).with_name("migrated.py")
    folder = tmp_path / "migrations"
    done = subprocess.run(
        [sys.executable, str(program), str(folder), URLS[database](request)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    assert ["kept: 12.50 UTC", "written: 1"] == [line for line in done.stdout.splitlines() if ":" in line[:10]]
    [first] = (folder / "versions").glob("*.py")
    assert "from mpesa_core.ext.sqlalchemy import columns as mpesa_columns" in first.read_text()
    assert "No changes in schema detected" in done.stderr
