from __future__ import annotations

import pytest

from mpesa_core.repository.memory import MemoryRepository
from mpesa_core.repository.sqlite import SqliteRepository


@pytest.fixture(params=["memory", "sqlite"])
def repository(request, tmp_path):
    if request.param == "memory":
        yield MemoryRepository()
        return
    store = SqliteRepository(tmp_path / "payments.db", synchronous="NORMAL")
    yield store
    store.close()
