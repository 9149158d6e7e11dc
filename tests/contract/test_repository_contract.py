"""The core's own repositories run the contract that users run."""

from __future__ import annotations

import pytest

from mpesa_core.repository import MemoryRepository, SqliteRepository
from mpesa_core.testing import RepositoryContract


class TestMemoryRepository(RepositoryContract):
    """The store in memory."""

    host_fields = {"order": "A-17", "lines": [1, {"sku": "x"}]}

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
