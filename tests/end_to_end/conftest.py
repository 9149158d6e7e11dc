"""The repositories that the stories are told on: the core's own, and those of Django's ORM and of SQLAlchemy."""

from __future__ import annotations

import pytest

from mpesa_core.repository.memory import MemoryRepository
from mpesa_core.repository.sqlite import SqliteRepository
from tests.django.databases import *  # noqa: F403 - fixtures
from tests.ext.databases import *  # noqa: F403 - fixtures


@pytest.fixture(params=["memory", "sqlite", "django_sqlite", "alchemy_sqlite"])
def repository(request, tmp_path):
    kind = request.param
    if kind == "memory":
        yield MemoryRepository()
    elif kind == "sqlite":
        store = SqliteRepository(tmp_path / "payments.db", synchronous="NORMAL")
        yield store
        store.close()
    elif kind.startswith("django"):
        yield _django(request, kind)
    else:
        yield _alchemy(request, kind)


def _django(request, database):
    pytest.importorskip("django", reason="Django is not installed: pip install 'mpesa-core[django]'")
    from tests.django.stores import empty_repository

    request.getfixturevalue("server_closing_connections")
    return empty_repository(request.getfixturevalue(database))


def _alchemy(request, database):
    pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'mpesa-core[sqlalchemy]'")
    from tests.ext.stores import empty_repository

    return empty_repository(request.getfixturevalue(database))
