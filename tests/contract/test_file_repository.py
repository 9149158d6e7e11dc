"""The example of the documentation, a repository written from the protocol alone, keeps the contract."""

from __future__ import annotations

import sys

import pytest

from mpesa_core.testing import RepositoryContract

if sys.platform == "win32":
    pytest.skip("the example locks with flock", allow_module_level=True)

from docs.examples.file_repository import FileRepository


class TestFileRepository(RepositoryContract):
    """Two dictionaries in a JSON file."""

    racers = 4
    rounds = 2
    host_fields = {"order": "A-17"}

    @pytest.fixture
    def repository(self, tmp_path):
        """A fresh store."""
        return FileRepository(tmp_path / "payments.json")

    @pytest.fixture
    def reopen(self, tmp_path):
        """Another handle on the file."""
        return lambda: FileRepository(tmp_path / "payments.json")
