"""The core's own repositories run the contract that users run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mpesa_core.repository import MemoryRepository, SqliteRepository
from mpesa_core.testing import RepositoryContract, contract


class TestMemoryRepository(RepositoryContract):
    """The store in memory."""

    host_fields = {"order": "A-17", "lines": [1, {"sku": "x"}]}
    test_what_is_done_survives_the_handle = None  # nothing does: it lives and dies with its handle

    @pytest.fixture
    def repository(self):
        """A fresh store."""
        return MemoryRepository()


class TestSqliteRepository(RepositoryContract):
    """The store in an SQLite file, with another handle on the same file."""

    host_fields = {"order": "A-17", "lines": [1, {"sku": "x"}]}

    @pytest.fixture
    def path(self, tmp_path):
        """The file."""
        return tmp_path / "payments.sqlite3"

    @pytest.fixture
    def repository(self, path):
        """A fresh store."""
        repository = SqliteRepository(path)
        yield repository
        repository.close()

    @pytest.fixture
    def reopen(self, path):
        """Another handle on the file."""
        return lambda: SqliteRepository(path)


def test_a_failing_promise_shows_its_values():
    """The contract's module is rewritten by pytest as test modules are, though it is an installed package's."""
    assert "AssertionRewritingHook" == type(contract.__loader__).__name__


def test_without_pytest_the_error_says_what_to_install():
    """Importing the contract where pytest is missing names the extra."""
    program = "import sys; sys.modules['pytest'] = None; import mpesa_core.testing"
    environment = os.environ | {"PYTHONPATH": str(Path(contract.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment)
    assert "ImportError: mpesa_core.testing needs pytest: install mpesa-core[testing]." == done.stderr.splitlines()[-1]
